"""One real night of floods: which reports came to one ticket, against a silver standard of which tell of one spot.

    python -m benchmarks.flood_night --out /tmp/malam [--data FOLDER] [--metres 100] [--hours 6] [--worst 10]

Reads petabencana_2017 of the operator's folder of real reports (20 to 22 February 2017), which is no part of this project; a
missing file is said and skipped. The reports land in the order in which they were said, each under its row's number from 0,
and come to tickets as in every run. No text is shown. --out gets flood_night.png, a map that is not to be passed on.

Silver, as nobody labelled them: reports are of one incident where a chain of reports connects them, each within METRES and
HOURS of the next. `evidence` prints what both numbers rest on: what people name of their place, where no point had a say, and
when the city fell silent. Nothing of models/matching.toml is read, and what the linker compares (a ticket's first report, a
radius of its own) is not what chains compare.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise, product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from benchmarks import flood_map
from pipelines import flow, incidents, settings
from pipelines.agreement import clustering
from pipelines.console_links import print_agreement
from pipelines.contracts import Message
from pipelines.sinks.landing import Landing
from pipelines.sinks.warehouse import open_warehouse

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
METRES, HOURS = 100.0, 6.0
_AROUND = ((50.0, 75.0, 100.0, 150.0, 200.0), (3.0, 6.0, 12.0, 24.0))
_BANDS = (0, 25, 50, 75, 100, 150, 200, 300, 500, 1_000, 2_000)
_FAR = 1_000  # metres from where on pairs are strangers
_GAPS = (0, 0.25, 1, 3, 6, 12, 24, 72)
_CHANNEL = "qlue"  # an app whose reports carry a point, as all three sources of the night do
_COLUMNS = {
    "id": "row", "occurred_at": "created_at", "title": "title", "text": "text", "lat": "lat", "lon": "lon",
    "kelurahan": "kelurahan", "kecamatan": "kecamatan", "kota": "kota", "attachments": "has_image",
}  # fmt: skip


# --- the night ------------------------------------------------------------------------------


def read(path: Path) -> pd.DataFrame:
    """The reports with said (aware UTC), hours since the first, and east, north in metres from their middle."""
    rows = pd.read_csv(path, dtype=str, keep_default_na=False)
    said = pd.to_datetime(rows["created_at"], format="mixed", utc=True)
    lat, lon = rows["lat"].astype(float), rows["lon"].astype(float)
    east, north = flood_map.metres(lon, lat)
    return rows.assign(
        row=rows.index.astype(str), said=said, hours=(said - said.min()).dt.total_seconds() / 3600,
        east=east, north=north, rw=rows["rw_id"].where(rows["rw_id"] != "null", ""),
    )  # fmt: skip


def land(rows: pd.DataFrame, folder: Path) -> settings.Settings:
    """Settings over `folder`, where every report has landed when it was said, in a stream of its source."""
    columns = "\n".join(f'{field} = "{name}"' for field, name in _COLUMNS.items())
    streams = (
        f'[[stream]]\nchannel = "{_CHANNEL}"\nname = "{name}"\nsource = "export"\ninbox = "{name}"\ntime_zone = "UTC"\n'
        f"\n[stream.columns]\n{columns}\n"
        for name in sorted(rows["source"].unique())
    )
    (folder / "kanal.toml").write_text('[kanal]\ndata_dir = "data"\n\n' + "\n".join(streams), "utf-8")
    found = settings.load(folder / "kanal.toml")
    landing = Landing(found.landing_dir)
    for stream in found.streams:
        messages = [_message(row) for _, row in rows[rows["source"] == stream.name].sort_values("said").iterrows()]
        now = messages[-1].fetched_at + timedelta(seconds=1)
        landing.put(stream, landing.head(stream), messages, {"n": 1}, source_version="1", run_id="night", now=now)
    return found


def _message(row: pd.Series) -> Message:
    cells = {name: row[name] for name in _COLUMNS.values() if row[name]}
    return Message(
        row["row"], "1", orjson.dumps(cells), "application/json", row["said"].to_pydatetime(), origin="night"
    )


# --- the silver standard --------------------------------------------------------------------


def spots(xy: NDArray[np.float64], hours: NDArray[np.float64], metres: float, apart: float) -> NDArray[np.int64]:
    """A label a report: the same where a chain of reports, each within metres and hours of the next, connects two.
    xy: metres, a row a report."""
    pairs = cKDTree(xy).query_pairs(metres, output_type="ndarray")
    pairs = pairs[np.abs(np.subtract(*hours[pairs].T)) <= apart]
    graph = coo_matrix((np.ones(len(pairs)), tuple(pairs.T)), shape=(len(xy), len(xy)))
    labels: NDArray[np.int64] = connected_components(graph, directed=False)[1].astype(np.int64)
    return labels


def evidence(rows: pd.DataFrame, named: pd.DataFrame) -> Iterator[str]:
    """What tells how far one incident reaches. named: row, street, rw (number) as the words alone name them."""
    xy, hours = rows[["east", "north"]].to_numpy(), rows["hours"].to_numpy()
    pairs = cKDTree(xy).query_pairs(_BANDS[-1], output_type="ndarray")
    apart = np.hypot(*(xy[pairs[:, 0]] - xy[pairs[:, 1]]).T)
    far = apart >= _FAR
    strangers = max(far.sum(), 1) / (_BANDS[-1] ** 2 - _FAR**2)  # pairs by area, where closeness means nothing any more
    told = named.set_index("row").reindex(rows["row"])  # words alone: no address came along
    yield "pairs of reports, and their density in times of that beyond 1,000 m; where both name a street, an RW, or lie in the"
    yield "polygon of an RW: how many pairs, and the share with the same"
    yield "          metres | pairs density | street    | RW named  | polygon"
    for low, high in pairwise(_BANDS):
        some = pairs[(apart >= low) & (apart < high)]
        same = [_agree(told[c].to_numpy(object), some) for c in ("street", "rw")]
        polygon = _agree(rows["rw"].where(rows["rw"] != "", None).to_numpy(object), some)
        dense = len(some) / (high**2 - low**2) / strangers
        words = " | ".join(f"{n:5} {share:.2f}" for n, share in (*same, polygon))
        yield f"  {low:5,} to {high:5,} | {len(some):6,} {dense:6.1f} | {words}"
    silences = pd.Series(np.diff(np.sort(hours))).nlargest(3)
    yield "longest silences of the whole city, hours: " + ", ".join(f"{s:.1f}" for s in silences)
    waits = _waits(xy, hours)
    shares = ", ".join(f"{h:g} {(waits <= h).mean():.2f}" for h in _GAPS[1:])
    yield f"hours since the last report within {METRES:.0f} m, {len(waits):,} reports, share within: {shares}"
    chance = np.random.default_rng(1)
    mixed = np.concatenate([_waits(xy, chance.permutation(hours)) for _ in range(20)])
    times = " ".join(
        f"{low:g}-{high:g}: {_within(waits, low, high) / max(_within(mixed, low, high) / 20, 1e-9):.1f}"
        for low, high in pairwise(_GAPS)
    )
    yield f"  times as many as if the night's times were dealt out anew: {times}"


def _agree(values: NDArray[np.object_], pairs: NDArray[np.int64]) -> tuple[int, float]:
    """(pairs in which both have a value, share of them with the same)."""
    a, b = values[pairs[:, 0]], values[pairs[:, 1]]
    both = pd.notna(a) & pd.notna(b)
    return int(both.sum()), float((a[both] == b[both]).mean()) if both.any() else 0.0


def _waits(xy: NDArray[np.float64], hours: NDArray[np.float64]) -> NDArray[np.float64]:
    """Hours from each report that follows another within METRES back to the last such."""
    order = np.argsort(hours, kind="stable")
    xy, hours = xy[order], hours[order]
    near = cKDTree(xy).query_ball_point(xy, METRES)
    before = ((n, max((m for m in some if m < n), default=-1)) for n, some in enumerate(near))
    return np.array([hours[n] - hours[m] for n, m in before if m >= 0])


def _within(waits: NDArray[np.float64], low: float, high: float) -> int:
    return int(((waits >= low) & (waits < high)).sum())


# --- tickets against it ---------------------------------------------------------------------


class Night(NamedTuple):
    """judged: what incidents.judge found. tickets: of each row. links: row, street, rw, category, level, explanation,
    ticket_no, opened (its ticket) of every report with a ticket, in the order of arrival."""

    judged: dict[str, Any]
    tickets: pd.Series
    links: pd.DataFrame


def night(rows: pd.DataFrame, folder: Path, worst: int) -> Night:
    """The reports through the pipeline, in `folder`; rows with incident, the silver one."""
    names = {"channel": _CHANNEL, "stream": rows["source"], "source_ref": rows["row"]}
    told = incidents.truth_of(pd.DataFrame(names).assign(incident=rows["incident"].astype(str)), "the night")
    found = land(rows, folder)
    flow.load(found, run_id="night", now=lambda: datetime.now(UTC))
    with open_warehouse(found.warehouse) as warehouse:
        links = warehouse.con.execute(
            """SELECT r.source_ref AS row, r.street, r.rw::VARCHAR AS rw, r.category, l.level, l.explanation, t.ticket_no,
                r.report_id = t.first_report_id AS opened
            FROM reports r JOIN links l USING (report_id) JOIN tickets t USING (ticket_id) ORDER BY r.arrival"""
        ).df()
        return Night(
            incidents.judge(warehouse.con, told, worst=worst), incidents.tickets_of(warehouse.con, told), links
        )


def around(rows: pd.DataFrame, tickets: pd.Series, metres: float, apart: float) -> Iterator[str]:
    """The same tickets against other silver standards: neighbours of the one chosen, and polygons of RW."""
    xy, hours = rows[["east", "north"]].to_numpy(), rows["hours"].to_numpy()
    alone = clustering(spots(xy, hours, metres, apart), np.arange(len(xy)))
    yield f"each report a ticket of its own: B-cubed F1 {alone.b_cubed_f1:.3f}"
    yield "metres, hours | incidents, of two and more; reports of the largest, its metres | pairs P R F1 | B-cubed P R F1 | pure"
    for m, h in product(sorted({*_AROUND[0], metres}), sorted({*_AROUND[1], apart})):
        if (m != metres) + (h != apart) < 2:  # one of the two changed at a time
            yield f"  {m:5.0f} {h:4.0f} " + _against(spots(xy, hours, m, h), xy, tickets)
    rw = pd.factorize(rows["rw"].where(rows["rw"] != "", "alone " + rows["row"]))[0]
    again = spots(np.c_[rw * 10.0, np.zeros(len(rw))], hours, 1.0, apart)
    yield f"  one RW {apart:3.0f} " + _against(again, xy, tickets)


def _against(labels: NDArray[np.int64], xy: NDArray[np.float64], tickets: pd.Series) -> str:
    sizes = np.bincount(labels)
    c = clustering(labels, tickets.to_numpy())
    return (
        f"| {len(sizes):5,} {(sizes > 1).sum():4,} {sizes.max():4} {extent(xy[labels == sizes.argmax()]):6,.0f}"
        f" | {c.pair_precision:.3f} {c.pair_recall:.3f} {c.pair_f1:.3f}"
        f" | {c.b_cubed_precision:.3f} {c.b_cubed_recall:.3f} {c.b_cubed_f1:.3f} | {c.pure:.3f}"
    )


def extent(xy: NDArray[np.float64]) -> float:
    """Metres between the two furthest of some points."""
    return float(max((np.hypot(*(xy - one).T).max() for one in xy), default=0.0))


def merged(rows: pd.DataFrame, tickets: pd.Series) -> str:
    """How far apart the pairs in one ticket are."""
    xy = rows[["east", "north"]].to_numpy()
    groups = tickets.groupby(tickets.to_numpy()).indices.values()
    apart = np.concatenate([_distances(xy[g]) for g in groups])
    counts = Counter(int(np.searchsorted((100, 200, 500, 1_000), d, side="right")) for d in apart)
    names = ("to 100 m", "to 200 m", "to 500 m", "to 1,000 m", "further")
    return f"pairs in one ticket {len(apart):,}: " + ", ".join(f"{n} {counts[i]:,}" for i, n in enumerate(names))


def _distances(xy: NDArray[np.float64]) -> NDArray[np.float64]:
    a, b = np.triu_indices(len(xy), 1)
    found: NDArray[np.float64] = np.hypot(*(xy[a] - xy[b]).T)
    return found


def largest(rows: pd.DataFrame, links: pd.DataFrame) -> Iterator[str]:
    """How large the largest ticket is, and by what its reports joined, without their words. links: rows of links
    with ticket_no, street, category."""
    counts = links["ticket_no"].value_counts()
    mine = links[links["ticket_no"] == counts.index[0]]
    there = rows.set_index("row").loc[mine["row"]]
    yield (
        f"largest ticket {counts.index[0]}: {len(mine)} reports, {extent(there[['east', 'north']].to_numpy()):,.0f} m across,"
        f" {np.ptp(there['hours'].to_numpy()):.1f} hours, {mine['street'].nunique()} streets named,"
        f" {there['kelurahan'].nunique()} kelurahan, {there['rw'].nunique()} RW by polygon"
    )
    yield f"  categories: {_counts(mine['category'])}"
    yield f"  joined by: {_counts(mine['level'])}"
    said = pd.DataFrame([orjson.loads(e) for e in mine["explanation"]])
    for name in said:
        yield f"  {name}: {_summed(said[name].dropna().tolist())}"
    for number, size in counts[:10].items():
        some = rows.set_index("row").loc[links.loc[links["ticket_no"] == number, "row"]]
        across, lasts = extent(some[["east", "north"]].to_numpy()), np.ptp(some["hours"].to_numpy())
        yield f"  {number}: {size} reports, {across:,.0f} m, {lasts:.1f} hours"


def _summed(values: Sequence[object]) -> str:
    """Numbers by their quartiles; words, which may be a person's, only counted."""
    if all(isinstance(v, (int, float)) for v in values):
        low, middle, high = np.percentile(np.array(values, float), (25, 50, 75))
        return f"{len(values)} told, quartiles {low:g}, {middle:g}, {high:g}, most {max(values):g}"  # type: ignore[type-var]
    return f"{len(values)} told, {len({str(v) for v in values})} different"


def _counts(values: pd.Series) -> str:
    return ", ".join(f"{name} {n}" for name, n in values.fillna("undecided").value_counts().items())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the real reports")
    parser.add_argument("--out", type=Path, help="folder for the map; none is drawn without")
    parser.add_argument("--metres", type=float, default=METRES)
    parser.add_argument("--hours", type=float, default=HOURS)
    parser.add_argument("--worst", type=int, default=10, help="tickets and incidents to name")
    asked = parser.parse_args()
    path = asked.data / "petabencana_2017" / "reports.csv"
    if not path.exists():
        print(f"SKIPPED: {path} is not there", file=sys.stderr)
        return 1
    rows = read(path)
    labels = spots(rows[["east", "north"]].to_numpy(), rows["hours"].to_numpy(), asked.metres, asked.hours)
    rows = rows.assign(incident=labels)
    with tempfile.TemporaryDirectory(prefix="kanal-night-") as folder:
        found = night(rows, Path(folder), asked.worst)
    print(f"{len(rows):,} reports; categories: {_counts(found.links['category'])}")
    print(*evidence(rows, found.links[["row", "street", "rw"]]), "", sep="\n")
    print_agreement(found.judged)
    print("", *around(rows, found.tickets, asked.metres, asked.hours), merged(rows, found.tickets), sep="\n")
    print(*largest(rows, found.links), sep="\n")
    if asked.out:
        outlines = asked.data / "gazetteer" / "jakarta_kelurahan.geojson"
        print(f"map: {flood_map.draw(rows, found.links, outlines, asked.out)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
