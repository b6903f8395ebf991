"""The new reports of one entry, over what the warehouse remembers -> their links, and what to remember of them.

Belongs here: asking the warehouse for what may be alike, and telling what was compared. Not here: what is alike
(transforms/likeness), which ticket a report joins (transforms/link).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
import pandas as pd
import pyarrow as pa

from pipelines.contracts import LEADER_KEYS, LEADERS, LINKS, TRAITS, column, to_table
from pipelines.knowledge import Knowledge
from pipelines.sinks.warehouse import Warehouse
from pipelines.transforms import link
from pipelines.transforms.act_shapes import Effect, first_of
from pipelines.transforms.act_shapes import Link as Row
from pipelines.transforms.acts import Acts
from pipelines.transforms.blocks import HOUR, Keys
from pipelines.transforms.link import Asked, Formed, Link, State, Turn
from pipelines.transforms.matching import Matching
from pipelines.transforms.memory import Candidates, Memory
from pipelines.transforms.ticket import is_open
from pipelines.transforms.traits import Ragged, ragged, traits_of


@dataclass(frozen=True, slots=True)
class Linked:
    """links: rows of contracts.LINKS; follows: ticket opened -> the closed one that it takes up; leaders, keys: what to
    remember of the reports; reasons: what was compared, by report."""

    links: pd.DataFrame
    follows: Mapping[str, str] = field(default_factory=dict)
    leaders: pa.Table = field(default_factory=LEADERS.empty_table)
    keys: pa.Table = field(default_factory=LEADER_KEYS.empty_table)
    reasons: Mapping[str, dict[str, Any]] = field(default_factory=dict)


def nothing(acts: Acts) -> Linked:
    """What comes of no reports but people's decisions."""
    acts.until(None)
    return Linked(pd.DataFrame(columns=LINKS.names))


def link_new(
    new: pd.DataFrame,
    *,
    acts: Acts,
    warehouse: Warehouse,
    knowledge: Knowledge,
    turns: Sequence[Turn],
    form: Callable[[Effect], Formed],
    named: Iterable[str] = (),
) -> Linked:
    """Link reports that have no ticket yet.

    new: columns of contracts.REPORTS and refine.LINKING, in recorded order, arrival being their place in it; turns:
    what happens to tickets meanwhile; named: reports of older loads that turns name.
    """
    if not len(new):
        return nothing(acts)
    matching = knowledge.matching
    x = traits_of(new, matching)
    keys = Keys(ragged(new["own_keys"]), ragged(new["probe_keys"]))
    ids, arrivals = column(new, "report_id"), column(new, "arrival")
    refs, cites = column(new, "external_ref"), column(new, "cites")
    asked = [
        Asked(a, i, r, tuple(c) if c is not None else ()) for a, i, r, c in zip(arrivals, ids, refs, cites, strict=True)
    ]
    state = _remembered(x.said_at // HOUR, keys, asked, acts, warehouse, matching)
    for row in warehouse.rows_of("links", "report_id", list(named), "report_id, ticket_id").to_pylist():
        state.home[row["report_id"]] = row["ticket_id"]
    likely = state.memory.find(x, keys)
    stored = _stored(state, likely, warehouse)
    made = link.link(state, asked, likely, x, acts=acts, turns=turns, form=form, stored=stored)
    reasons = _reasons(state, made, ids, column(new, "street"), matching)
    links = pd.DataFrame({
        "report_id": ids, "ticket_id": [m.ticket_id for m in made], "level": [m.level for m in made],
        "score": [m.score for m in made], "explanation": [orjson.dumps(reasons.get(i, {})).decode() for i in ids],
        "arrival": arrivals,
    })  # fmt: skip
    follows = {m.ticket_id: m.follows for m in made if m.follows}
    return Linked(links, follows, *_to_remember(new, made, ids, arrivals, keys, x.said_at // HOUR), reasons)


def _remembered(
    hours: np.ndarray, keys: Keys, asked: Sequence[Asked], acts: Acts, warehouse: Warehouse, matching: Matching
) -> State:
    """What linking must know of older reports: those that share a key, and the first of each ticket that they are in or
    may come to by a decision."""
    within = int(matching.longest_s // HOUR) + 1
    span = (int(hours.min()) - within, int(hours.max()) + within) if len(hours) else (0, 0)
    table, found = warehouse.leaders_near(pa.array(keys.probes.values), *span)
    numbers = sorted({a.ref for a in asked if a.ref} | {n for a in asked for n in a.cites})
    of_ref = warehouse.tickets_of_refs(numbers)
    there = zip(table["ticket_id"].to_pylist(), table["arrival"].to_pylist(), strict=True)
    tickets = {acts.ticket_of(t, a) for t, a in there} | {acts.ticket_of(t) for t in of_ref.values()}
    known = set(table["report_id"].to_pylist())
    tickets |= acts.watched
    firsts = sorted(({first_of(t) for t in tickets} | acts.movable) - known)
    table = pa.concat_tables([table, warehouse.rows_of("leaders", "report_id", firsts)]).sort_by("arrival")
    arrivals = table["arrival"].to_numpy()
    memory = Memory(matching)
    x = traits_of(table, matching)
    rows = np.searchsorted(arrivals, found["arrival"].to_numpy())
    order = np.argsort(rows, kind="stable")
    start = np.searchsorted(rows[order], np.arange(len(arrivals) + 1))
    memory.add(x, Ragged(found["key"].to_numpy()[order], start.astype(np.int64)))
    state = State(
        memory, table["report_id"].to_pylist(), arrivals.tolist(), x.said_at.tolist(), table["ticket_id"].to_pylist(),
        table["told"].to_pylist(), refs=of_ref,
    )  # fmt: skip
    place = {report_id: n for n, report_id in enumerate(state.ids)}
    state.first |= {t: place[first_of(t)] for t in tickets if first_of(t) in place}
    asked_for = sorted({*tickets, *of_ref.values()})
    for row in warehouse.rows_of(
        "tickets", "ticket_id", asked_for, "ticket_id, status, frozen, first_arrival"
    ).to_pylist():
        state.since[row["ticket_id"]] = row["first_arrival"]
        if not is_open(row["status"]):
            state.shut.add(row["ticket_id"])
        if row["frozen"]:
            state.handled.add(row["ticket_id"])
    return state


def _stored(state: State, likely: Candidates, warehouse: Warehouse) -> Callable[[str], Iterable[Row]]:
    """Links of tickets as they are stored; at once of those that share a report with another ticket."""
    before = len(state.ids)
    older = likely.other < before
    shared = np.bincount(likely.report, minlength=1)[likely.report] > 1
    tickets = sorted({state.tickets[place] for place in likely.other[older & shared].tolist()})
    known: dict[str, list[Row]] = {ticket: [] for ticket in tickets}
    for row in warehouse.rows_of("links", "ticket_id", tickets).to_pylist():
        known[row["ticket_id"]].append(Row(**row))

    def of(ticket_id: str) -> Iterable[Row]:
        if ticket_id not in known:
            found = warehouse.rows_of("links", "ticket_id", [ticket_id]).to_pylist()
            known[ticket_id] = [Row(**row) for row in found]
        return known[ticket_id]

    return of


def _to_remember(
    new: pd.DataFrame, made: Sequence[Link], ids: Sequence[str], arrivals: Sequence[int], keys: Keys, hours: np.ndarray
) -> tuple[pa.Table, pa.Table]:
    named = {
        "report_id": pa.array(ids, pa.string()), "ticket_id": pa.array([m.ticket_id for m in made], pa.string()),
        "arrival": pa.array(arrivals, pa.int64()), "told": pa.array([m.told for m in made], LEADERS.field("told").type),
    }  # fmt: skip
    traits = to_table(new[TRAITS.names], TRAITS)
    leaders = pa.table([*named.values(), *traits.columns], schema=LEADERS)
    owners = keys.own.owners()
    of_keys = {"key": keys.own.values, "hour": hours[owners], "arrival": np.asarray(arrivals, dtype=np.int64)[owners]}
    return leaders, pa.table(of_keys, schema=LEADER_KEYS)


_SAID = {
    "area_same": "kelurahan", "house_same": "nomor_rumah", "rt_same": "rt_rw", "mark_same": "patokan", "author": "pelapor",
    "photo": "foto", "unfixed": "belum_tuntas",
}  # fmt: skip


_VALUES = ("metres", "apart_s", "similar", "group", "way_same", "way_alike", *_SAID)


def _reasons(
    state: State, made: Sequence[Link], ids: Sequence[str], streets: Sequence[str | None], matching: Matching
) -> dict[str, dict[str, Any]]:
    """What was compared, of every report that joined or followed a ticket: Indonesian names, for clerks."""
    begin = len(state.ids) - len(made)
    found: dict[str, dict[str, Any]] = {}
    rows = [n for n, m in enumerate(made) if m.other >= 0]
    others = np.array([made[n].other for n in rows], dtype=np.int64)
    shown = state.memory.shown(np.array(rows, dtype=np.int64) + begin, others)
    groups = list(matching.groups)
    values = {name: shown[name].tolist() for name in _VALUES}
    for k, n in enumerate(rows):
        m = made[n]
        why: dict[str, Any] = {"laporan": state.ids[m.other], "selisih_jam": int(values["apart_s"][k] // 3600)}
        if (metres := values["metres"][k]) == metres:
            why["jarak_m"] = round(metres)
        if values["way_same"][k] or values["way_alike"][k]:
            why["jalan"] = streets[n]
        why |= {name: True for flag, name in _SAID.items() if values[flag][k]}
        if values["group"][k] >= 0:
            why["kelompok"] = groups[values["group"][k]]
        why["kemiripan"] = round(values["similar"][k], 2)
        found[ids[n]] = why
    for n, m in enumerate(made):
        extra = {"nomor": m.number} if m.number else {}
        extra |= {"menyusul": m.follows} if m.follows else {}
        extra |= {"lewat": m.through} if m.through not in (None, m.ticket_id) else {}
        if extra:
            found[ids[n]] = found.get(ids[n], {}) | extra
    return found
