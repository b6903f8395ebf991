"""Reports in their recorded order -> the ticket each belongs to, with the reason.

Each report joins the best open ticket that matches, else opens one. Best: lowest level, then highest score,
then earliest arrival. By place and time it is compared with a ticket's witnesses only: its first report, and
those that first told what was left out before (a point, a street, a house, what it lies beside), so chains do
not creep; by the same words, author or photo with any of the ticket's reports. What matches or cites closed tickets
only opens one that follows the first of them. A report that belongs to two tickets makes them one. Thresholds live in
models/matching.toml. Pure: what older loads remember is passed in. Not here: which reports are alike (memory).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from pipelines.contracts import short_hash, ticket_id_of, ticket_no_of
from pipelines.transforms.act_shapes import Asked as Act
from pipelines.transforms.act_shapes import Effect, first_of
from pipelines.transforms.act_shapes import Link as Row
from pipelines.transforms.acts import Acts
from pipelines.transforms.likeness import LEVELS, PLACE_TIME, UNFIXED
from pipelines.transforms.memory import Candidates, Memory
from pipelines.transforms.traits import Traits

OPENED = "opened"
PIPELINE = "pipeline"
_POINT, _WAY, _HOUSE, _MARK, _NOTHING = 1, 2, 4, 8, 16


class Turn(NamedTuple):
    """From `arrival` on somebody acts on the ticket. open: whether it takes reports; None: as before. Where only a report
    is named, it is about that one's ticket."""

    arrival: int
    ticket_id: str | None
    open: bool | None
    report_id: str | None = None


class Asked(NamedTuple):
    """A report to link. ref: the CRM's own number of it; cites: numbers that its text cites."""

    arrival: int
    report_id: str
    ref: str | None
    cites: Sequence[str]


class Formed(NamedTuple):
    """A ticket that people split off: the number that its source gave it, and whether it takes new reports."""

    ticket_id: str
    ref: str | None
    open: bool


class Link(NamedTuple):
    """ticket_id: where a report belongs. other: place in memory of the report that it was compared with, -1 for none;
    through: ticket of that report when it was linked; number: that was cited, or under which it is known;
    follows: the closed ticket that the one opened here takes up; told: see State."""

    ticket_id: str
    level: str
    score: int
    other: int = -1
    through: str | None = None
    number: str | None = None
    follows: str | None = None
    told: int = 0


@dataclass(slots=True)
class State:
    """What the linking of further reports depends on, besides which are alike.

    By place in memory: ids, arrivals, tickets (as each was linked first) and told (kinds of evidence told on the way to
    it; 0: no witness). By ticket: first (place of its first report), shut and handled (somebody acts on it). refs:
    number -> ticket, and since: arrival of that ticket's first report.
    """

    memory: Memory
    ids: list[str] = field(default_factory=list)
    arrivals: list[int] = field(default_factory=list)
    said: list[int] = field(default_factory=list)
    tickets: list[str] = field(default_factory=list)
    told: list[int] = field(default_factory=list)
    first: dict[str, int] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    since: dict[str, int] = field(default_factory=dict)
    shut: set[str] = field(default_factory=set)
    handled: set[str] = field(default_factory=set)
    home: dict[str, str] = field(default_factory=dict)  # report -> ticket as linked, of those that turns name
    joined: dict[str, list[tuple[str, Link, int]]] = field(default_factory=dict)  # by ticket, since this state began


def link(
    state: State,
    asked: Sequence[Asked],
    likely: Candidates,
    x: Traits,
    *,
    acts: Acts | None = None,
    turns: Sequence[Turn] = (),
    form: Callable[[Effect], Formed] | None = None,
    stored: Callable[[str], Iterable[Row]] = lambda _: (),
) -> list[Link]:
    """Decide for each report, in the order given (rising arrival).

    likely: what Memory.find said of them, by which they are remembered; x: their traits. acts: people's decisions,
    which apply between the reports; form: what the linker must know of a ticket that one of them made;
    stored: a ticket's links as they were before these reports.
    """
    acts = acts or Acts()
    pending: Iterator[Turn | None] = iter([*sorted(turns, key=lambda t: t.arrival), None])
    turn = next(pending)
    starts = np.searchsorted(likely.report, np.arange(len(asked) + 1)).tolist()
    others, levels, scores = likely.other.tolist(), likely.like.level.tolist(), likely.like.score.tolist()
    reach, evidence, said = likely.like.reach_s.tolist(), told_by(x).tolist(), x.said_at.tolist()
    found: list[Link] = []
    for n, report in enumerate(asked):
        while turn is not None and turn.arrival < report.arrival:
            _split_off(state, acts, form, turn.arrival)
            _turned(state, acts, turn)
            turn = next(pending)
        _split_off(state, acts, form, report.arrival)
        span = range(starts[n], starts[n + 1])
        fitting = _fitting(state, acts, span, others, levels, scores, reach, said[n]) if span else []
        ranked = [*_by_number(state, acts, report), *fitting] if report.ref or report.cites else fitting
        made = next((m for m in ranked if not m.follows), ranked[0]) if ranked else None
        state.ids.append(report.report_id)
        state.arrivals.append(report.arrival)
        state.said.append(said[n])
        if made is None or made.follows:
            made = _opened(state, report, made, evidence[n])
        else:
            made = made._replace(told=_witness(state, made, evidence[n]))
        state.tickets.append(made.ticket_id)
        state.told.append(made.told)
        state.home[report.report_id] = made.ticket_id
        state.joined.setdefault(made.ticket_id, []).append((report.report_id, made, report.arrival))
        if acts.follows(made.ticket_id, report.report_id):
            acts.joined(_row(state, report.report_id, made, report.arrival))
        if made.level != OPENED and any(m.ticket_id != made.ticket_id for m in fitting):
            _bridge(state, acts, report, made, fitting, stored)
        found.append(made)
    while turn is not None:
        _split_off(state, acts, form, turn.arrival)
        turn = next(pending)
    _split_off(state, acts, form, None)
    return found


def _row(state: State, report_id: str, made: Link, arrival: int) -> Row:
    """The link as people's decisions see it: what was compared is told later (Row.because)."""
    why = {"laporan": state.ids[made.other]} if made.other >= 0 else {}
    why |= {"lewat": made.through} if made.through not in (None, made.ticket_id) else {}
    return Row(report_id, made.ticket_id, made.level, made.score, orjson.dumps(why).decode(), arrival)


def _opened(state: State, report: Asked, made: Link | None, evidence: int) -> Link:
    ticket = ticket_id_of(report.report_id)
    state.first[ticket] = len(state.ids) - 1
    state.since[ticket] = report.arrival
    state.refs.setdefault(ticket_no_of(report.report_id), ticket)
    if report.ref:
        state.refs.setdefault(report.ref, ticket)
    opened = Link(ticket, OPENED, 1000, told=evidence)
    if made is None:
        return opened
    return opened._replace(other=made.other, number=made.number, follows=made.follows)


def _turned(state: State, acts: Acts, turn: Turn) -> None:
    ticket = turn.ticket_id
    if ticket is None:
        ticket = acts.at(turn.report_id or "", turn.arrival, state.home.get(turn.report_id or "", ""))
    state.handled.add(ticket)
    if turn.open is not None:
        (state.shut.discard if turn.open else state.shut.add)(ticket)


def _split_off(state: State, acts: Acts, form: Callable[[Effect], Formed] | None, until: int | None) -> None:
    """Apply people's decisions before this place in the order."""
    for effect in acts.until(until):
        if form is None:
            continue
        new = form(effect)
        first = effect.done.moves[0].arrival
        (state.shut.discard if new.open else state.shut.add)(new.ticket_id)
        state.since[new.ticket_id] = first
        state.first[new.ticket_id] = state.ids.index(first_of(new.ticket_id))
        for number in filter(None, (new.ref, ticket_no_of(first_of(new.ticket_id)))):
            if number not in state.refs or state.since[state.refs[number]] > first:
                state.refs[number] = new.ticket_id


def _by_number(state: State, acts: Acts, report: Asked) -> list[Link]:
    """The ticket with the CRM's number of this report; then those whose numbers it cites, which it follows if closed."""
    if report.ref and (ticket := state.refs.get(report.ref)):
        return [Link(acts.ticket_of(ticket), LEVELS[0], 1000, through=ticket, number=report.ref)]
    found = []
    for number in report.cites if state.memory.matching.levels["cited"].enabled else ():
        if ticket := state.refs.get(number):
            now = acts.ticket_of(ticket)
            cited = Link(now, LEVELS[1], 1000, through=ticket, number=number)
            found.append(cited._replace(through=None, follows=now) if now in state.shut else cited)
    return found


def _fitting(
    state: State,
    acts: Acts,
    span: range,
    others: list[int],
    levels: list[int],
    scores: list[int],
    reach: list[float],
    said: int,
) -> list[Link]:
    """The best link to each ticket that matches, best first."""
    found: dict[str, Link] = {}
    for k in span:
        other = others[k]
        before = state.tickets[other]
        ticket = acts.ticket_of(before, state.arrivals[other])
        if ticket in found:
            continue
        if levels[k] == UNFIXED and ticket not in state.shut:
            continue
        if levels[k] in (PLACE_TIME, UNFIXED):
            first = state.first.get(ticket)
            if not (state.told[other] or ticket_id_of(state.ids[other]) == ticket):
                continue
            if first is not None and abs(said - state.said[first]) > reach[k]:
                continue
        follows = ticket if ticket in state.shut else None
        found[ticket] = Link(ticket, LEVELS[levels[k]], scores[k], other, before, follows=follows)
    return list(found.values())


def _bridge(
    state: State, acts: Acts, report: Asked, made: Link, fitting: Sequence[Link], stored: Callable[[str], Iterable[Row]]
) -> None:
    """Let the other tickets that match become one with this report's, where nothing speaks against it, nobody acts on the
    younger and nobody ever decided about either."""
    rule = state.memory.matching.levels["bridge"]
    here = len(state.ids) - 1
    for other in fitting if rule.enabled else ():
        kept, ticket = acts.ticket_of(made.ticket_id), other.ticket_id
        if other.follows or ticket == kept or acts.ticket_of(ticket) != ticket or other.score < rule.min_score:
            continue
        firsts = state.first.get(kept), state.first.get(ticket)
        if firsts[0] is None or firsts[1] is None:
            continue
        older, younger = (kept, ticket) if firsts[0] < firsts[1] else (ticket, kept)
        if younger in state.handled or older in state.shut or not (acts.untouched(older) and acts.untouched(younger)):
            continue
        pairs = [(firsts[0], firsts[1]), *([(made.other, other.other)] if made.other >= 0 else [])]
        if state.memory.fit([pair for pair in pairs if pair[0] != pair[1]]):
            why = f"laporan {report.report_id} cocok dengan keduanya"
            for one in (older, younger):
                acts.watch(one, [*stored(one), *(_row(state, *made) for made in state.joined.get(one, ()))])
            act_id = short_hash("bridge", older, younger, str(report.arrival))
            at = datetime.fromtimestamp(state.said[here], UTC)
            acts.bridge(Act(report.arrival, act_id, "merge", older, younger, (), None, PIPELINE, why, at))


def _witness(state: State, made: Link, evidence: int) -> int:
    """A report is a witness where it tells a kind of evidence that nobody told on the way to it, and surely belongs."""
    if (
        made.other < 0
        or made.level != LEVELS[PLACE_TIME]
        or made.score < state.memory.matching.levels["bridge"].min_score
    ):
        return 0
    before = state.told[made.other] or _NOTHING
    return before | evidence if evidence & ~before else 0


def told_by(x: Traits) -> NDArray[np.int64]:
    """Kinds of evidence for its place that each report tells, as bits; never 0."""
    told = np.full(len(x), _NOTHING, dtype=np.int64)
    for flag, bit in ((~np.isnan(x.x), _POINT), (x.way != 0, _WAY), (x.house != 0, _HOUSE), (x.mark_more != 0, _MARK)):
        told[flag] |= bit
    return told
