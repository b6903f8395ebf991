"""One entry of the order log -> rows of the warehouse, in one transaction.

Belongs here: reading the entry's batches in their recorded order, deciding what is new, a repeat
or an edit, linking, and handing all rows to the warehouse at once. What a row means is decided in
transforms/; the result depends on the recorded order alone, not on how it was cut into entries.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, groupby
from typing import Any

import numpy as np
import orjson
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pipelines import moves
from pipelines.contracts import (
    LEDGER,
    REPORTS,
    TICKET_EVENTS,
    TICKETS,
    UNTOUCHED,
    VAULT,
    Stream,
    column,
    status_of,
    ticket_id_of,
    to_frame,
    to_table,
)
from pipelines.knowledge import Knowledge
from pipelines.linking import Linked, link_new, nothing
from pipelines.outcomes import COUNTS, Loaded, Outcomes, ids_of, loaded_of, repeats
from pipelines.refine import Refined
from pipelines.settings import Settings
from pipelines.sinks.landing import BatchRef, Entry, Landing
from pipelines.sinks.warehouse import Warehouse
from pipelines.transforms import ticket
from pipelines.transforms.acts import Acts
from pipelines.transforms.link import Turn

Refine = Callable[[pa.Table, Mapping[tuple[str, str], Stream]], Iterable[Refined]]
_ORDER = [(name, "ascending") for name in ("order_at", "channel", "stream", "sequence", "row")]


def read_entry(landing: Landing, entry: Entry) -> tuple[pa.Table, dict[BatchRef, Any]]:
    """(all messages of the entry in recorded order with lineage and `place`, footer of each batch)."""
    parts: list[pa.Table] = []
    footers: dict[BatchRef, Any] = {}
    for (channel, stream), refs in groupby(sorted(entry.batches), key=lambda ref: ref[:2]):
        sequences = [ref.sequence for ref in refs]
        runs = landing.runs(channel, stream, sequences)
        table = pa.concat_tables([landing.table(channel, stream, run) for run in runs]).combine_chunks()
        said = chain.from_iterable(landing.footers(channel, stream, run) for run in runs)
        footers |= {BatchRef(channel, stream, n): footer for n, footer in zip(sequences, said, strict=True)}
        # A clock that was set back must not put a stream's newer version before its older one.
        order_at = np.maximum.accumulate(table["fetched_at"].cast(pa.int64()).to_numpy())
        for name, value in (("channel", channel), ("stream", stream)):
            table = table.append_column(name, pa.array([value] * table.num_rows, pa.string()))
        parts.append(table.append_column("order_at", pa.array(order_at, pa.int64())))
    landed = pa.concat_tables(parts)
    landed = landed.take(pc.sort_indices(landed, sort_keys=_ORDER)).drop_columns(["order_at"]).combine_chunks()
    return landed.append_column("place", pa.array(np.arange(landed.num_rows, dtype=np.int64))), footers


def streams_for(footers: Mapping[BatchRef, Any], settings: Settings) -> dict[tuple[str, str], Stream]:
    """How to decode each stream: by kanal.toml where it still knows the stream, else by the footer."""
    configured = {(s.channel, s.name): s for s in settings.streams}
    found: dict[tuple[str, str], Stream] = {}
    for ref, footer in footers.items():
        key = (ref.channel, ref.stream)
        found[key] = configured.get(key) or Stream(*key, footer.source, footer.options, str(settings.path.parent))
    return found


@dataclass(frozen=True, slots=True)
class Prepared:
    """An entry being refined. sent: which of its messages were given to refine."""

    entry: Entry
    landed: pa.Table
    ids: list[str]
    footers: dict[BatchRef, Any]
    streams: dict[tuple[str, str], Stream]
    sent: np.ndarray
    parts: Iterable[Refined]
    seconds: float


def prepare(warehouse: Warehouse, landing: Landing, entry: Entry, settings: Settings, refine: Refine) -> Prepared:
    """Read an entry and hand what may be new to refine, whose workers go on while others are applied."""
    begin = time.perf_counter()
    landed, footers = read_entry(landing, entry)
    ids, streams = ids_of(landed), streams_for(footers, settings)
    stored = warehouse.rows_of("reports", "report_id", list(dict.fromkeys(ids)), "report_id, version").to_pylist()
    sent = ~repeats(ids, landed["version"].to_pylist(), {r["report_id"]: r["version"] for r in stored})
    parts = refine(landed.filter(pa.array(sent)), streams)
    return Prepared(entry, landed, ids, footers, streams, sent, parts, time.perf_counter() - begin)


def apply_entry(
    warehouse: Warehouse,
    prepared: Prepared,
    knowledge: Knowledge,
    refine: Refine,
    *,
    run_id: str,
    now: Callable[[], datetime],
    progress: Callable[[int], None] = lambda _: None,
) -> Loaded:
    """Link and write one recorded entry. Running it a second time fails on the ledger's key."""
    clock = _Clock()
    clock.laps["read"] = prepared.seconds
    state = Outcomes(prepared.landed, prepared.ids, warehouse)
    # What was a repeat when it was read may be none after the entries applied since.
    late = ~state.known_repeats() & ~prepared.sent
    parts = []
    for part in chain(prepared.parts, refine(prepared.landed.filter(pa.array(late)), prepared.streams)):
        parts.append(part)
        progress(part.reports.num_rows + len(part.aside) + len(part.events))
    progress(int(np.count_nonzero(~prepared.sent & ~late)))
    clock.lap("refine")
    state.settle(parts, knowledge)
    acts = moves.acts_of_entry(state, warehouse)
    reports, changes, linked = _link(state, acts, warehouse, knowledge)
    links = linked.links
    moves.settle(state, acts, links)
    clock.lap("link")
    tickets, history = _tickets(reports, changes, linked, acts, warehouse, knowledge)
    clock.lap("ticket")
    counts = state.tally(links)
    current = _with_files(_last_versions(reports), state, warehouse)
    rows = {
        "ledger": _ledger(counts, prepared, run_id, now(), clock.total()),
        "messages": state.messages(),
        "reports": to_table(current, REPORTS) if len(current) else REPORTS.empty_table(),
        "vault": _contacts(parts, reports),
        "links": moves.links(links, acts, linked.reasons),
        "tickets": to_table(tickets, TICKETS) if len(tickets) else TICKETS.empty_table(),
        "ticket_events": to_table(history, TICKET_EVENTS) if len(history) else TICKET_EVENTS.empty_table(),
        "report_versions": moves.versions(changes, links, warehouse),
        "acts": moves.rows(acts),
        "leaders": linked.leaders,
        "leader_keys": linked.keys,
    }
    known = [*state.before, *(event["report_id"] for _, event in state.events if "url" in event)]
    there = {"reports": known, "vault": known, "links": [moved.report_id for moved in acts.changed()]}
    warehouse.write(rows, there=there | {"tickets": [t for c in changes for t in c.touches]})
    clock.lap("write")
    loaded = loaded_of(counts)
    loaded.seconds = clock.laps
    return loaded


class _Clock:
    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = self._first = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.laps[name] = now - self._last
        self._last = now

    def total(self) -> float:
        return time.perf_counter() - self._first


def _link(
    state: Outcomes, acts: Acts, warehouse: Warehouse, knowledge: Knowledge
) -> tuple[pd.DataFrame, list[ticket.Change], Linked]:
    """Link what has no ticket yet, with people's decisions between; list what else happens to tickets, in recorded order."""
    reports = state.reports
    happened = [(state.base + place, event) for place, event in state.events]
    wanted = [*state.before, *(e["report_id"] for _, e in happened if "report_id" in e)]
    linked = {
        r["report_id"]: r["ticket_id"]
        for r in warehouse.rows_of("links", "report_id", wanted, "report_id, ticket_id").to_pylist()
    }
    if not len(reports):
        result = nothing(acts)
        changes = _people(happened, linked, acts) + moves.changes_of(acts)
        return reports, sorted(changes, key=lambda c: c.arrival), result
    ids = column(reports, "report_id")
    first, taken = [], set(linked)
    for index, (report_id, kind) in enumerate(zip(ids, column(reports, "kind"), strict=True)):
        if report_id not in taken and kind != "appreciation":
            taken.add(report_id)
            first.append(index)
    # A later version that is the first to need a ticket is linked where it stands in the order.
    places = column(reports, "place")
    new = reports.iloc[first].assign(arrival=[state.base + places[i] for i in first])
    turns = _turns(new, happened) + _turned_by_edits(state, reports, {ids[index]: index for index in first})
    result = link_new(
        new, acts=acts, warehouse=warehouse, knowledge=knowledge, turns=turns, form=moves.former(state, warehouse),
        named=[turn.report_id for turn in turns if turn.report_id],
    )  # fmt: skip
    changes = _changes(state, reports, linked, result.links, set(first), acts) + moves.changes_of(acts)
    new_links = zip(column(result.links, "report_id"), column(result.links, "ticket_id"), strict=True)
    changes += _people(happened, linked | dict(new_links), acts)
    return reports, sorted(changes, key=lambda c: c.arrival), result


def _turns(new: pd.DataFrame, happened: Iterable[tuple[int, Mapping[str, Any]]]) -> list[Turn]:
    """Tickets that history brings in as acted on, and what officers and the review queue do to tickets."""
    born = zip(*(column(new, name) for name in ("arrival", "report_id", "status_reported")), strict=True)
    turns = [Turn(a, ticket_id_of(r), ticket.is_open(s)) for a, r, said in born if (s := _acted(said))]
    for arrival, event in happened:
        if "ticket_id" in event:
            turns.append(
                Turn(arrival, event["ticket_id"], ticket.is_open(event["status"]) if event.get("status") else None)
            )
        elif "url" not in event:
            turns.append(Turn(arrival, None, None, event["report_id"]))
    return turns


def _acted(status_reported: str | None) -> str | None:
    status = status_of(status_reported)
    return None if status == UNTOUCHED else status


def _people(
    happened: Iterable[tuple[int, Mapping[str, Any]]], ticket_of: Mapping[str, str], acts: Acts
) -> list[ticket.Change]:
    """What officers did to tickets, what people decided of reports and so of their tickets, files fetched for them."""
    return [
        ticket.Change(arrival, "status", event["ticket_id"], event=event)
        if "ticket_id" in event
        else ticket.Change(
            arrival,
            "attached" if "url" in event else "decision",
            acts.at(event["report_id"], arrival, ticket_of[event["report_id"]]),
            event=event,
        )
        for arrival, event in happened
    ]


def _turned_by_edits(state: Outcomes, reports: pd.DataFrame, start: Mapping[str, int]) -> list[Turn]:
    """Statuses that versions after the linked one bring: a ticket's first report carries the source's status to it."""
    columns = zip(*(column(reports, c) for c in ("report_id", "place", "status_reported")), strict=True)
    return [
        Turn(state.base + place, ticket_id_of(report_id), ticket.is_open(status))
        for index, (report_id, place, label) in enumerate(columns)
        if index > start.get(report_id, -1) and (status := status_of(label))
    ]


def _changes(
    state: Outcomes,
    reports: pd.DataFrame,
    linked: Mapping[str, str],
    links: pd.DataFrame,
    first: set[int],
    acts: Acts,
) -> list[ticket.Change]:
    """Joins and edits, each with the report's row (and the row before, for edits)."""
    ids = column(reports, "report_id")
    ticket_of = dict(linked) | dict(zip(column(links, "report_id"), column(links, "ticket_id"), strict=True))
    levels = zip(column(links, "report_id"), column(links, "level"), strict=True)
    opened = {report_id for report_id, level in levels if level == "opened"}
    start = {ids[index]: index for index in first}
    after = [index for index, i in enumerate(ids) if i in ticket_of and index >= start.get(i, 0)]
    edited = {ids[index] for index in after if index != start.get(ids[index])}
    wanted = [index for index in after if ids[index] in edited or ids[index] not in opened]
    rows = to_table(reports.iloc[wanted], pa.schema([*REPORTS, pa.field("place", pa.int64())])).to_pylist()
    latest, changes = dict(state.before), []
    for index, row in zip(wanted, rows, strict=True):
        report_id, arrival = row["report_id"], state.base + row["place"]
        ticket_id = ticket_of[report_id]
        if index != start.get(report_id):
            before = latest[report_id]
            now = acts.at(report_id, arrival, ticket_id)
            changes.append(ticket.Change(arrival, "edited", now, report=row, before=before))
            if own := acts.left_behind(report_id, arrival, ticket_id):  # follows the words of its first report
                changes.append(changes[-1]._replace(ticket_id=own))
        elif report_id not in opened:
            changes.append(ticket.Change(arrival, "joined", ticket_id, report=row))
        latest[report_id] = row
    return changes


def _tickets(
    reports: pd.DataFrame,
    changes: list[ticket.Change],
    linked: Linked,
    acts: Acts,
    warehouse: Warehouse,
    knowledge: Knowledge,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    links = linked.links
    touched = list(dict.fromkeys(ticket_id for c in changes for ticket_id in c.touches))
    existing = to_frame(warehouse.rows_of("tickets", "ticket_id", touched))
    opened = {
        r for r, level in zip(column(links, "report_id"), column(links, "level"), strict=True) if level == "opened"
    }
    arrivals = dict(zip(column(links, "report_id"), column(links, "arrival"), strict=True))
    rows, seen = [], set()
    if len(reports):
        kinds = column(reports, "kind")
        for index, report_id in enumerate(column(reports, "report_id")):
            if report_id in opened and report_id not in seen and kinds[index] != "appreciation":
                seen.add(report_id)
                rows.append(index)
        first = reports.iloc[rows]
        ids = column(first, "report_id")
        first = first.assign(
            arrival=[arrivals[i] for i in ids], follows=[linked.follows.get(ticket_id_of(i)) for i in ids]
        )
    else:
        first = pd.DataFrame(columns=REPORTS.names)
    told = moves.stories(acts, warehouse)
    return ticket.apply(existing, first, changes, clocks=knowledge.clocks, routing=knowledge.routing, stories=told)


def _last_versions(reports: pd.DataFrame) -> pd.DataFrame:
    return reports.drop_duplicates("report_id", keep="last") if len(reports) else reports


def _with_files(current: pd.DataFrame, state: Outcomes, warehouse: Warehouse) -> pd.DataFrame:
    """The versions to be stored, and those stored that a file was fetched for, with what they now have."""
    attempts = [(place, event) for place, event in state.events if "url" in event]
    if not attempts:
        return current
    here = set(column(current, "report_id")) if len(current) else set()
    others = list(dict.fromkeys(e["report_id"] for _, e in attempts if e["report_id"] not in here))
    stored = to_frame(warehouse.rows_of("reports", "report_id", others)).assign(place=-1)
    both = pd.concat([current, stored], ignore_index=True) if here else stored
    files = dict(zip(column(both, "report_id"), column(both, "attachments"), strict=True))
    since = dict(zip(column(both, "report_id"), column(both, "place"), strict=True))
    for place, event in attempts:
        if since[event["report_id"]] < place:  # else it was for a version that has been edited since
            files[event["report_id"]] = with_file(files[event["report_id"]], event["url"], event["file"])
    return both.assign(attachments=[files[report_id] for report_id in column(both, "report_id")])


_OF_BYTES = ("type", "size", "sha256", "phash")


def with_file(attachments: str, url: str, file: Mapping[str, Any]) -> str:
    """The JSON list of attachments, that of the address with type, size and hashes of its bytes in place of what was
    told of them."""
    known = {name: file[name] for name in _OF_BYTES if name in file}
    found = [
        {name: a[name] for name in a if name not in (*_OF_BYTES, "elsewhere")} | known if a.get("url") == url else a
        for a in orjson.loads(attachments)
    ]
    return orjson.dumps(found).decode()


def _contacts(parts: Iterable[Refined], reports: pd.DataFrame) -> pa.Table:
    """Contacts of the versions that were kept, each report's last; a later version without any keeps
    those known."""
    found = [p.vault for p in parts]
    if not len(reports) or not found:
        return VAULT.empty_table()
    frame = to_frame(pa.concat_tables(found)).sort_values("place", kind="stable")
    frame = frame[frame["place"].isin(column(reports, "place"))].drop_duplicates("report_id", keep="last")
    return to_table(frame, VAULT)


def _ledger(
    counts: Mapping[BatchRef, Mapping[str, int]], prepared: Prepared, run_id: str, now: datetime, seconds: float
) -> pa.Table:
    nothing = dict.fromkeys(COUNTS, 0)
    total = max(1, prepared.landed.num_rows)
    rows = []
    for ref, footer in prepared.footers.items():
        mine = counts.get(ref, nothing)
        rows.append(
            {
                **ref._asdict(), **mine, "entry": prepared.entry.number, "batch_id": footer.batch_id,
                "landed_at": footer.landed_at, "landed_day": footer.landed_day, "tickets_opened": mine["opened"],
                "tickets_joined": mine["joined"], "run_id": run_id, "loaded_at": now,
                "seconds": seconds * mine["messages"] / total,
            }
        )  # fmt: skip
    return pa.Table.from_pylist(rows, schema=LEDGER)
