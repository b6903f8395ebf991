"""People's decisions on tickets, within one entry: what must be known before, and the rows that come of it.

Belongs here: fetching what transforms/acts needs, and telling its results to links, tickets and history. Not here: what
a decision does (transforms/acts), the way of an entry (load).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import orjson
import pandas as pd
import pyarrow as pa

from pipelines.contracts import (
    ACTS,
    LINKS,
    READ_BY_TICKETS,
    REPORT_VERSIONS,
    REPORTS,
    column,
    status_of,
    to_table,
)
from pipelines.outcomes import Outcomes
from pipelines.sinks.warehouse import Warehouse
from pipelines.transforms.act_shapes import FAULTS, Asked, Done, Effect, Link, Move, wanted
from pipelines.transforms.acts import Acts
from pipelines.transforms.contents import Piece
from pipelines.transforms.link import Formed
from pipelines.transforms.ticket import Change, is_open

Row = Mapping[str, Any]
LinksBy = Callable[[str, Sequence[str]], list[dict[str, Any]]]  # (report_id or ticket_id, values) -> rows of links


def acts_of(asked: Sequence[Asked], stored: Iterable[Row], links_by: LinksBy) -> Acts:
    """The decisions that are to be applied, with what stands before them. stored: rows of contracts.ACTS in their order."""
    past = [done_of(row) for row in stored]
    if not asked:
        return Acts((), past)
    needs = wanted(asked, past)
    found = {row["report_id"]: row for row in links_by("report_id", needs.reports)}
    tickets = sorted({*needs.tickets, *(row["ticket_id"] for row in found.values())})
    found |= {row["report_id"]: row for row in links_by("ticket_id", tickets)}
    return Acts(asked, past, [Link(**{name: row[name] for name in Link._fields}) for row in found.values()])


def acts_of_entry(state: Outcomes, warehouse: Warehouse) -> Acts:
    """The decisions of an entry, over the warehouse as it is before it."""
    asked = [asked_of(act, state.base + place) for place, act in state.acts]
    return acts_of(asked, warehouse.acts(), lambda key, values: warehouse.rows_of("links", key, values).to_pylist())


def asked_of(act: Row, arrival: int) -> Asked:
    """What sources/acts says of a landed decision, at its place in the order."""
    return Asked(arrival, **{name: act[name] for name in Asked._fields if name != "arrival"})


def done_of(row: Row) -> Done:
    """A row of contracts.ACTS as it was applied."""
    moves = [Move(*move) for move in orjson.loads(row["moves"])]
    return Done(**{name: row[name] for name in Done._fields if name != "moves"}, moves=moves)


def settle(state: Outcomes, acts: Acts, found: pd.DataFrame) -> None:
    """Tell what became of the decisions that do not hold, and of statuses for tickets that were not there yet.

    found: the links that the entry made, as `link` gives them.
    """
    links = zip(*(column(found, name) for name in ("ticket_id", "level", "arrival")), strict=True)
    opened = {ticket_id: arrival for ticket_id, level, arrival in links if level == "opened"}
    state.unfounded(opened | {e.made: e.done.arrival for e in acts.effects if e.made})
    for refused in acts.refused:
        words = None if refused.fault == "repeat" else FAULTS[refused.fault].format(**refused.about)
        state.act_refused(refused.asked.arrival - state.base, words)


# --- what they do to tickets and reports ----------------------------------------------------


def changes_of(acts: Acts) -> list[Change]:
    """What the decisions of an entry do to tickets."""
    return [Change(e.done.arrival, "acted", e.tickets[0], effect=e) for e in acts.effects]


def stories(acts: Acts, warehouse: Warehouse) -> dict[str, list[Piece]]:
    """Of every ticket that the decisions of an entry touch: all versions of its reports, as stored before the entry."""
    told: dict[str, list[Piece]] = {t: [] for effect in acts.effects for t in effect.tickets}
    if not told:
        return told
    links = warehouse.rows_of("links", "ticket_id", list(told)).to_pylist()
    versions = _versions_of([link["report_id"] for link in links], warehouse)
    for link in links:
        before = None
        for arrival, report in versions[link["report_id"]]:
            told[link["ticket_id"]].append(Piece(link["arrival"] if before is None else arrival, report, before))
            before = report
    return told


def _versions_of(report_ids: Sequence[str], warehouse: Warehouse) -> dict[str, list[tuple[int, Row]]]:
    """report -> its stored versions since it has a ticket, oldest first; those before the last with the last one's words."""
    rows = {row["report_id"]: row for row in warehouse.rows_of("reports", "report_id", report_ids).to_pylist()}
    found: dict[str, list[tuple[int, Row]]] = defaultdict(list)
    kept = warehouse.rows_of("report_versions", "report_id", report_ids).sort_by("arrival").to_pylist()
    for version in kept:
        known = {name: version[name] for name in READ_BY_TICKETS}
        found[version["report_id"]].append((version["arrival"], rows[version["report_id"]] | known))
    return {report_id: found.get(report_id) or [(row["arrival"], row)] for report_id, row in rows.items()}


def versions(changes: Iterable[Change], links: pd.DataFrame, warehouse: Warehouse) -> pa.Table:
    """Rows of report_versions that an entry brings: each edited version, and before the first of them the one it edits."""
    edits = [c for c in changes if c.what == "edited" and c.report and c.before]
    if not edits:
        return REPORT_VERSIONS.empty_table()
    ids = list(dict.fromkeys(c.report["report_id"] for c in edits if c.report))
    known = set(warehouse.rows_of("report_versions", "report_id", ids, "report_id")["report_id"].to_pylist())
    since = dict(warehouse.rows_of("links", "report_id", ids, "report_id, arrival").to_pandas().itertuples(index=False))
    since |= dict(zip(column(links, "report_id"), column(links, "arrival"), strict=True))
    rows: dict[tuple[str, int], Row] = {}
    for change in edits:
        report, before = change.report or {}, change.before or {}
        report_id = report["report_id"]
        if report_id not in known:
            known.add(report_id)
            rows[report_id, since[report_id]] = before
        rows[report_id, change.arrival] = report
    named = [
        {"report_id": report_id, "arrival": arrival} | {name: row[name] for name in READ_BY_TICKETS}
        for (report_id, arrival), row in rows.items()
    ]
    return pa.Table.from_pylist(named, schema=REPORT_VERSIONS)


# --- a ticket that was split off ------------------------------------------------------------


def former(state: Outcomes, warehouse: Warehouse) -> Callable[[Effect], Formed]:
    """What the linker must know of a ticket that a decision made: by its first report, as it stood then."""

    def form(effect: Effect) -> Formed:
        [move] = [m for m in effect.done.moves if f"t{m.report_id}" == effect.made]
        stored = _versions_of([move.report_id], warehouse).get(move.report_id, [])
        told = [row for _, row in stored] + _here(state, move, effect.done.arrival)
        said = [s for row in told if (s := status_of(row["status_reported"]))]
        refs = [row["external_ref"] for row in told if row["external_ref"]]
        return Formed(effect.made or "", refs[-1] if refs else None, is_open(said[-1]) if said else True)

    return form


def _here(state: Outcomes, move: Move, arrival: int) -> list[Row]:
    """Versions of a report that came in this entry before `arrival`, since it has a ticket."""
    if not len(state.reports):
        return []
    mine = state.reports[state.reports["report_id"] == move.report_id]
    rows = to_table(mine, pa.schema([*REPORTS, pa.field("place", pa.int64())])).to_pylist()
    return [row for row in rows if move.arrival <= state.base + row["place"] < arrival]


# --- rows -----------------------------------------------------------------------------------


def links(found: pd.DataFrame, acts: Acts, reasons: Mapping[str, Mapping[str, Any]]) -> pa.Table:
    """Rows of links that an entry brings: those made, and those that decisions changed, as they are at its end.

    reasons: what was compared when the reports of the entry were linked.
    """
    moved = {link.report_id: link.because(reasons.get(link.report_id, {})) for link in acts.changed()}
    made = found[~found["report_id"].isin(moved)] if len(found) else found
    rows = [to_table(made, LINKS)] if len(made) else []
    rows.append(pa.Table.from_pylist([link._asdict() for link in moved.values()], schema=LINKS))
    return pa.concat_tables(rows)


def rows(acts: Acts) -> pa.Table:
    """Rows of contracts.ACTS that an entry brings."""
    done = (effect.done for effect in acts.effects)
    named = [d._asdict() | {"moves": orjson.dumps([list(m) for m in d.moves]).decode()} for d in done]
    return pa.Table.from_pylist(named, schema=ACTS)
