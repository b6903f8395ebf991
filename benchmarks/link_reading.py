"""What linking did with reports, to be read by a person: every merge, and what nearly was one.

    python -m benchmarks.link_reading --config kanal.toml [--near 30] [--days 3] [--channel NAME] [--texts]

Reads the warehouse of these settings and changes nothing. Reports are named by channel and the channel's own number. A near
miss is the likeliest pair of two tickets that share a key and were said within --days: short of points, or with points enough
and barred by one thing alone. --texts shows the words too, as they are kept in the warehouse: on the operator's own machine
only. Reports of the held-out half, whose JK number ends in an odd digit, are neither shown nor counted.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import numpy as np
import orjson
import pandas as pd
from numpy.typing import NDArray

from pipelines import knowledge, settings
from pipelines.sinks.warehouse import open_warehouse
from pipelines.transforms.blocks import HOUR, Run
from pipelines.transforms.likeness import POINTS, bars, evidence, points
from pipelines.transforms.matching import DAY, Matching
from pipelines.transforms.traits import Traits, traits_of

_HELD_OUT = r"^JK\d*[13579]$"
_MOST = 2_000_000  # pairs compared; beyond it the days must be fewer


class Pair(NamedTuple):
    """Two reports. how: the level and score at which they came together; else what was lacking. short: points below
    min_points, negative above. shows: evidence that counts, with its points."""

    one: str
    other: str
    how: str
    short: float
    hours: float
    metres: float
    similar: float
    group: str
    shows: Mapping[str, float]
    ids: tuple[str, str]


def merges(con: duckdb.DuckDBPyConnection, matching: Matching) -> list[Pair]:
    """Every report that did not open its ticket, beside the one that it was compared with."""
    told = con.execute(
        """SELECT l.report_id, l.level, l.score, l.explanation, t.first_report_id FROM links l JOIN tickets t USING (ticket_id)
        WHERE l.level <> 'opened' ORDER BY l.arrival"""
    ).df()
    reports = _reports(con)
    x, rows = _traits(con, reports, matching)
    found, pairs = [], []
    for r in told.itertuples():
        other = orjson.loads(r.explanation).get("laporan") or r.first_report_id
        if r.report_id in rows and other in rows and r.report_id != other:
            pairs.append((rows[r.report_id], rows[other]))
            found.append(f"{r.level} {r.score}")
    sides = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return list(_pairs(x, sides, found, reports, matching))


def near_misses(con: duckdb.DuckDBPyConnection, matching: Matching, days: float, channel: str | None) -> list[Pair]:
    """The likeliest pair of any two tickets, nearest to joining first: those short of points, then those barred."""
    reports = _reports(con)
    if channel:
        reports = reports[reports["channel"] == channel].reset_index(drop=True)
    x, _ = _traits(con, reports, matching)
    keys = con.execute("SELECT key, arrival FROM leader_keys").df()
    place = pd.Series(reports.index, index=reports["arrival"])
    keys = keys[keys["arrival"].isin(place.index)]
    owners, hours = place.loc[keys["arrival"]].to_numpy(np.int64), x.said_at // HOUR
    order = np.argsort(keys["key"].to_numpy(), kind="stable")
    values = keys["key"].to_numpy()
    a, b = Run(values, owners, hours[owners]).pairs(values[order], owners[order], hours, int(days * DAY // HOUR))
    apart = np.abs(x.said_at[a] - x.said_at[b]) <= days * DAY
    ticket = pd.factorize(reports["ticket_id"])[0]
    kept = (b < a) & (ticket[a] != ticket[b]) & apart
    a, b = a[kept], b[kept]
    if len(a) > _MOST:
        raise SystemExit(f"{len(a):,} pairs within {days:g} days: ask for fewer --days or one --channel")
    shown = evidence(x, a, x, b, matching)
    short = matching.levels["place_time"].min_points - points(shown, matching)
    lacking = _lacking(shown)
    count = np.sum(list(lacking.values()), axis=0)
    rows = np.flatnonzero((count == 0) | ((count == 1) & (short <= 0)))
    best: dict[tuple[int, int], int] = {}
    for n in rows[np.lexsort((short[rows], count[rows]))].tolist():
        best.setdefault((min(ticket[a[n]], ticket[b[n]]), max(ticket[a[n]], ticket[b[n]])), n)
    chosen = np.array(sorted(best.values(), key=lambda n: (count[n], short[n])), dtype=np.int64)
    how = [next((name for name, there in lacking.items() if there[n]), _FREE[short[n] > 0]) for n in chosen.tolist()]
    return list(_pairs(x, np.c_[a[chosen], b[chosen]], how, reports, matching))


_FREE = {True: "short of points", False: "enough, but no witness or its ticket was closed"}


def _lacking(shown: Mapping[str, Any]) -> dict[str, NDArray[np.bool_]]:
    """What may keep two apart whatever the points: bar -> pairs."""
    barred = dict(bars(shown))
    return barred | {"no place in common": ~shown["placed"], "too late": shown["apart_s"] > shown["horizon_s"]}


def _reports(con: duckdb.DuckDBPyConnection) -> pd.DataFrame:
    """Linked reports that may be shown, in the order of arrival."""
    table = con.execute(
        """SELECT r.report_id, r.channel, r.source_ref, l.ticket_id, l.arrival FROM leaders l JOIN reports r USING (report_id)
        ORDER BY l.arrival"""
    ).df()
    now = con.execute("SELECT report_id, ticket_id FROM links").df().set_index("report_id")["ticket_id"]
    table["ticket_id"] = table["report_id"].map(now)
    return table[~table["source_ref"].str.match(_HELD_OUT)].reset_index(drop=True)


def _traits(
    con: duckdb.DuckDBPyConnection, reports: pd.DataFrame, matching: Matching
) -> tuple[Traits, Mapping[str, int]]:
    """(traits in the order of reports, row of each)."""
    table = con.sql("SELECT * FROM leaders ORDER BY arrival").to_arrow_table()
    rows = {report_id: n for n, report_id in enumerate(reports["report_id"])}
    there = np.array([report_id in rows for report_id in table["report_id"].to_pylist()], dtype=bool)
    return traits_of(table.filter(there), matching), rows


def _pairs(
    x: Traits, sides: NDArray[np.int64], how: Sequence[str], reports: pd.DataFrame, matching: Matching
) -> Iterator[Pair]:
    shown = evidence(x, sides[:, 0], x, sides[:, 1], matching)
    short = matching.levels["place_time"].min_points - points(shown, matching)
    groups = [*matching.groups, "-"]
    names = (reports["channel"] + "/" + reports["source_ref"]).tolist()
    ids = reports["report_id"].tolist()
    for n, (a, b) in enumerate(sides.tolist()):
        shows = {name: matching.points[name] for name in POINTS if name in matching.points and shown[name][n]}
        yield Pair(
            names[a], names[b], how[n], round(float(short[n]), 2), round(float(shown["apart_s"][n]) / HOUR, 1),
            round(float(shown["metres"][n]), 0), round(float(shown["similar"][n]), 2), groups[shown["group"][n]],
            {name: value for name, value in shows.items() if value}, (ids[a], ids[b]),
        )  # fmt: skip


def told(pair: Pair, texts: Mapping[str, str]) -> Iterator[str]:
    """A pair in a line, and its words, where they were asked for."""
    metres = "" if pair.metres != pair.metres else f", {pair.metres:.0f} m"
    shows = " ".join(f"{name} {value:+g}" for name, value in pair.shows.items())
    yield (
        f"{pair.one} | {pair.other} | {pair.how} | short {pair.short:+.2f} | {pair.group}, {pair.hours} h{metres}, words"
        f" {pair.similar} | {shows}"
    )
    yield from (f"    {texts[one]}" for one in pair.ids if one in texts)


def _texts(con: duckdb.DuckDBPyConnection, pairs: Sequence[Pair]) -> dict[str, str]:
    ids = sorted({one for pair in pairs for one in pair.ids})
    rows = con.execute(
        "SELECT report_id, coalesce(address_text, '-'), text FROM reports WHERE report_id IN (SELECT unnest(?))", [ids]
    )
    return {one: f"[{address}] {' '.join(text.split())}" for one, address, text in rows.fetchall()}


def _counted(pairs: Sequence[Pair]) -> str:
    return ", ".join(f"{name} {n:,}" for name, n in Counter(p.how for p in pairs).most_common())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True, help="kanal.toml of the warehouse")
    parser.add_argument("--near", type=int, default=30, help="near misses to show, of each thing lacking")
    parser.add_argument("--days", type=float, default=3.0, help="how far apart a near miss may be in time")
    parser.add_argument("--channel", help="near misses of this channel alone")
    parser.add_argument("--texts", action="store_true", help="their words too; never to be passed on")
    asked = parser.parse_args()
    found = settings.load(asked.config)
    matching = knowledge.load(found).matching
    with open_warehouse(found.warehouse) as warehouse:
        joined = merges(warehouse.con, matching)
        near = near_misses(warehouse.con, matching, asked.days, asked.channel)
        counts = Counter[str]()
        shown = [p for p in near if (counts.update([p.how]) or counts[p.how]) <= asked.near]
        texts = _texts(warehouse.con, [*joined, *shown]) if asked.texts else {}
    levels = Counter(p.how.split()[0] for p in joined)
    print(f"MERGES {len(joined):,}: " + ", ".join(f"{name} {n:,}" for name, n in levels.most_common()))
    print(*(line for pair in joined for line in told(pair, texts)), sep="\n")
    print(f"\nNEAR MISSES {len(near):,}: {_counted(near)}")
    print(*(line for pair in shown for line in told(pair, texts)), sep="\n")


if __name__ == "__main__":
    main()
