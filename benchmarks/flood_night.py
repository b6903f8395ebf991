"""One real night of floods: which reports came to one ticket, against a silver standard of which tell of one spot.

    python -m benchmarks.flood_night --out /tmp/malam [--data FOLDER] [--metres 100] [--hours 6] [--worst 10]

Reads petabencana_2017 of the operator's folder of real reports (20 to 22 February 2017), which is no part of this project; a
missing file is said and skipped. The reports land in the order in which they were said, each under its row's number from 0,
and come to tickets as in every run. No text is shown. --out gets flood_night.png, a map that is not to be passed on.

What the silver standard is and why, flood_silver says; its evidence and its neighbours are printed with every run.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson
import pandas as pd
from numpy.typing import NDArray

from benchmarks import flood_map
from benchmarks.flood_silver import HOURS, METRES, evidence, extent, spots
from pipelines import flow, incidents, settings
from pipelines.agreement import clustering
from pipelines.console_links import print_agreement
from pipelines.contracts import Message
from pipelines.sinks.landing import Landing
from pipelines.sinks.warehouse import open_warehouse

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
_AROUND = ((50.0, 75.0, 100.0, 150.0, 200.0), (3.0, 6.0, 12.0, 24.0))
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


# --- tickets against it ---------------------------------------------------------------------


class Night(NamedTuple):
    """judged: what incidents.judge found. tickets: of each row. links: row, street, rw, category, level, explanation,
    ticket_no, opened (its ticket), other (row compared with, or none) of every report with a ticket, in the order of arrival."""

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
                r.report_id = t.first_report_id AS opened, o.source_ref AS other
            FROM reports r JOIN links l USING (report_id) JOIN tickets t USING (ticket_id)
            LEFT JOIN reports o ON o.report_id = l.explanation ->> 'laporan' ORDER BY r.arrival"""
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


def missed(rows: pd.DataFrame, tickets: pd.Series, links: pd.DataFrame) -> str:
    """Of how many pairs of one incident in two tickets the categories already differ, or one is not known."""
    category = links.set_index("row")["category"].reindex(rows["row"]).fillna("").to_numpy(str)
    counts = Counter[str]()
    for group in rows.groupby("incident").indices.values():
        for a, b in zip(*(group[side] for side in np.triu_indices(len(group), 1)), strict=True):
            if tickets.iloc[a] != tickets.iloc[b]:
                known = category[a] and category[b]
                counts["one undecided" if not known else "same" if category[a] == category[b] else "different"] += 1
    return f"pairs of one incident in two tickets {counts.total():,}; their categories: {_counted(counts)}"


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
    return _counted(Counter(values.fillna("undecided")))


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {n:,}" for name, n in counts.most_common())


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
    print(missed(rows, found.tickets, found.links))
    print(*largest(rows, found.links), sep="\n")
    if asked.out:
        outlines = asked.data / "gazetteer" / "jakarta_kelurahan.geojson"
        print(f"map: {flood_map.draw(rows, found.links, outlines, asked.out)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
