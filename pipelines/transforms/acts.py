"""People's decisions on which reports are one matter -> where each report belongs, from each decision on.

One rule carries everything: a ticket that has reports has its own first report among them. So a decision is a set of
moves of reports; a ticket is superseded when its first report is elsewhere, by the ticket that has it, and revived
when it comes back. An undo is the moves turned round, with what has joined since because of them. Decisions apply in
arrival order between the reports that are linked (link), each against what stands then. Pure: what is stored of the
tickets and reports that decisions name is passed in (act_shapes.wanted says which).
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence

from pipelines.contracts import ticket_id_of
from pipelines.transforms.act_shapes import (
    BRIDGED,
    DECIDED,
    MACHINE,
    Asked,
    Done,
    Effect,
    Link,
    Move,
    Refused,
    first_of,
)


class _FaultError(Exception):
    def __init__(self, fault: str, **about: str) -> None:
        super().__init__(fault)
        self.fault, self.about = fault, about


class Acts:
    """The decisions of one entry, applied one by one; what earlier ones did (past) still leads reports.

    links: what `wanted` asked for. The linker calls `until` before each report, `ticket_of` for each candidate and
    `joined` for each link it makes.
    """

    def __init__(self, asked: Iterable[Asked] = (), past: Iterable[Done] = (), links: Iterable[Link] = ()) -> None:
        self._asked = deque(sorted(asked, key=lambda a: a.arrival))
        self.past: dict[str, Done] = {}
        self._undos: dict[str, list[str]] = defaultdict(list)
        self._order: dict[str, int] = {}
        self._decided_on: set[str] = set()
        self._where: dict[str, str] = {}  # of every report that was ever moved
        self._by_arrival: dict[int, str] = {}
        self._moves: dict[str, list[tuple[Done, Move]]] = defaultdict(list)
        self._naming: dict[str, list[Done]] = defaultdict(list)  # splits and pins, by the reports they name
        for done in past:
            self._remember(done)
        self._links: dict[str, Link] = {}
        self._members: dict[str, set[str]] = defaultdict(set)
        self.watched = {t for a in self._asked for t in (a.ticket_id, a.other_id) if t}
        self._named = {r for a in self._asked for r in a.report_ids} | {first_of(t) for t in self.watched}
        for link in links:
            self.watched.add(link.ticket_id)
            self._keep(link)
        self._history: dict[str, list[tuple[int, str]]] = defaultdict(list)
        self.movable = frozenset(self._links)  # reports of earlier entries that these decisions may move
        self.effects: list[Effect] = []
        self.refused: list[Refused] = []

    # --- what the linker asks ---

    def until(self, arrival: int | None) -> list[Effect]:
        """Apply the decisions before this place in the order (None: all that are left); those that made a ticket."""
        if not self._asked:
            return []
        start = len(self.effects)
        while self._asked and (arrival is None or self._asked[0].arrival < arrival):
            self._decide(self._asked.popleft())
        return [effect for effect in self.effects[start:] if effect.made]

    def ticket_of(self, ticket_id: str, witness: int | None = None) -> str:
        """Where a report goes that matches this ticket: on to where people moved what it was compared with.

        witness: arrival of the link of the report that it matched; without one, the ticket's first.
        """
        if not self._where:
            return ticket_id
        report = self._by_arrival.get(witness) if witness is not None else None
        return self._where.get(report or first_of(ticket_id), ticket_id)

    def follows(self, ticket_id: str, report_id: str) -> bool:
        """Whether it must be told (`joined`) of a report that was linked to this ticket."""
        return ticket_id in self.watched or report_id in self._named

    def joined(self, link: Link) -> None:
        """A report was linked. link.ticket_id is where it went, after `ticket_of`."""
        if self.follows(link.ticket_id, link.report_id):
            self._keep(link)

    def watch(self, ticket_id: str, links: Iterable[Link]) -> None:
        """Know all links of a further ticket, which a report shows to be one with another."""
        self.watched.add(ticket_id)
        for link in links:
            if link.report_id not in self._links:
                self._keep(link)

    def bridge(self, asked: Asked) -> None:
        """Make two tickets one that a report just linked belongs to both of; both are `untouched`."""
        self._decide(asked)

    def untouched(self, ticket_id: str) -> bool:
        """Whether no person ever decided about this ticket."""
        return ticket_id not in self._decided_on

    # --- what became of reports in this entry ---

    def changed(self) -> list[Link]:
        """Links that the decisions of this entry changed, as they are now."""
        return [self._links[report_id] for report_id in self._history]

    def at(self, report_id: str, arrival: int, first: str) -> str:
        """The ticket a report was in when something came at `arrival`; first: at the start of the entry, or as linked."""
        for moved, ticket_id in reversed(self._history.get(report_id, ())):
            if moved < arrival:
                return ticket_id
        return first

    def left_behind(self, report_id: str, arrival: int, first: str) -> str | None:
        """The ticket that this report opened, where people had moved it away by then; None where it opened none."""
        if report_id not in self._where:
            return None
        own = ticket_id_of(report_id)
        away = self.at(report_id, arrival, first) != own
        return own if away and (first == own or self._opened(report_id, arrival)) else None

    def _opened(self, report_id: str, arrival: int) -> bool:
        """Whether decisions before `arrival` moved this report from or to a ticket of its own."""
        own = ticket_id_of(report_id)
        return any(d.arrival < arrival and own in (m.origin, m.target) for d, m in self._moves.get(report_id, ()))

    def count(self, ticket_id: str) -> int:
        """Reports of a ticket whose links were passed in."""
        return len(self._members[ticket_id])

    # --- applying one ---

    def _decide(self, asked: Asked) -> None:
        try:
            if asked.act_id in self.past:
                raise _FaultError("repeat")
            moves, about, other = _KINDS[asked.act](self, asked)
            self._apply(asked, moves, about, other)
        except _FaultError as fault:
            self.refused.append(Refused(asked, fault.fault, fault.about))

    def _split(self, asked: Asked) -> _Decided:
        ticket = self._resolve(asked.ticket_id)
        members, named = self._members[ticket], set(asked.report_ids)
        for report in asked.report_ids:
            now = self._link(report).ticket_id
            if now != ticket:
                raise _FaultError("not_of_ticket", report=report, ticket=ticket, now=now)
        if named == members:
            raise _FaultError("everything", ticket=ticket)
        if first_of(ticket) in named:  # the id stays with its first report, so the others leave
            named = {m for m in members - named if not self._pinned(m)}
            if not named:
                raise _FaultError("others_pinned", ticket=ticket)
        other = ticket_id_of(min(named, key=lambda r: self._links[r].arrival))
        return dict.fromkeys(named, other), ticket, other

    def _merge(self, asked: Asked) -> _Decided:
        if asked.ticket_id == asked.other_id:
            raise _FaultError("same_ticket")
        pair = {self._resolve(asked.ticket_id), self._resolve(asked.other_id)}
        if len(pair) == 1:
            raise _FaultError("repeat")
        older, younger = sorted(pair, key=lambda t: self._links[first_of(t)].arrival)
        return dict.fromkeys(self._members[younger], older), older, younger

    def _pin(self, asked: Asked) -> _Decided:
        [report] = asked.report_ids
        link, ticket = self._link(report), self._resolve(asked.ticket_id)
        if link.ticket_id == ticket:
            if self._pinned(report):
                raise _FaultError("repeat")
            return {}, ticket, None
        if first_of(link.ticket_id) == report:
            raise _FaultError("first_report", report=report, ticket=link.ticket_id)
        return {report: ticket}, ticket, None

    def _undo(self, asked: Asked) -> _Decided:
        done = self.past.get(asked.undoes or "")
        if done is None:
            raise _FaultError("unknown_act", act=asked.undoes or "")
        if not self.in_force(done.act_id):
            raise _FaultError("undone", act=done.act_id)
        stays = {m.report_id: pin for m in done.moves if (pin := self._pinned(m.report_id, since=done))}
        root, again = self._root(done)
        # To where the decision itself put them or found them: tickets may have been merged and parted in between.
        ends = {m.report_id: m.target if again else m.origin for m in root.moves}
        back = {m.report_id: ends.get(m.report_id, m.origin) for m in done.moves if m.report_id not in stays}
        for move in done.moves:
            link = self._links[move.report_id]
            as_decided = again or link.decision == root.act_id or all(m.report_id != link.report_id for m in root.moves)
            if move.report_id in back and not (link.ticket_id == move.target and as_decided):
                raise _FaultError("built_on", report=move.report_id, by=self._last_mover(move.report_id))
        if stays and not back:
            report, pin = next(iter(stays.items()))
            raise _FaultError("built_on", report=report, by=pin)
        back = {r: t if first_of(t) in back else self.ticket_of(t) for r, t in back.items()}
        left = sorted({m.target for m in done.moves if m.report_id in back})
        for ticket in left:  # what came since because of what now goes back goes with it
            for report in self._members[ticket] - back.keys():
                link = self._links[report]
                led_by = next((r for r in (link.witness, first_of(link.through or "")) if r in back), None)
                if led_by and link.arrival > done.arrival and not self._pinned(report, since=done):
                    back[report] = back[led_by]
        for ticket in left:  # a ticket that loses its first report keeps nothing
            home = back.get(first_of(ticket), ticket)
            for report in sorted(self._members[ticket] - back.keys()) if home != ticket else ():
                if pin := self._pinned(report, since=done):
                    raise _FaultError("built_on", report=report, by=pin)
                if self._links[report].level in (DECIDED, BRIDGED):
                    raise _FaultError("built_on", report=report, by=self._last_mover(report))
                back[report] = home
        return back, done.ticket_id, done.other_id

    def _apply(self, asked: Asked, moves: Mapping[str, str], about: str, other: str | None) -> None:
        ordered = sorted(
            Move(r, self._links[r].arrival, self._links[r].ticket_id, target)
            for r, target in moves.items()
            if self._links[r].ticket_id != target
        )
        ordered.sort(key=lambda m: m.arrival)
        self._prove(ordered)
        done = Done(
            asked.act_id, asked.act, about, other, asked.report_ids, asked.undoes, ordered, asked.actor, asked.reason,
            asked.happened_at, asked.arrival,
        )  # fmt: skip
        made = [m.target for m in ordered if first_of(m.target) == m.report_id and not self._exists(m.target)]
        superseded = {
            own: None if m.target == own else m.target
            for m in ordered
            if m.origin == (own := ticket_id_of(m.report_id)) or m.target == own or self._exists(own)
        }
        for move in ordered:
            self._move(move, asked)
        self._remember(done)
        touched = dict.fromkeys([about, *(t for m in ordered for t in (m.origin, m.target)), *superseded])
        self.effects.append(Effect(done, list(touched), superseded, made[0] if made else None))

    def _prove(self, moves: Sequence[Move]) -> None:
        """Refuse moves after which a ticket would have reports, but not its first."""
        where = {m.report_id: m.target for m in moves}
        for ticket in dict.fromkeys(t for m in moves for t in (m.target, m.origin)):
            first = first_of(ticket)
            stays = where.get(first) or (
                self._links[first].ticket_id if first in self._links else self.ticket_of(ticket)
            )
            left = {m for m in self._members[ticket] if where.get(m, ticket) == ticket}
            if stays != ticket and (left or any(m.target == ticket for m in moves)):
                raise _FaultError("built_on", report=first, by=self._last_mover(first))

    def _root(self, done: Done) -> tuple[Done, bool]:
        """The decision that undoing this one takes back (False) or, of an undo, brings back (True)."""
        again = False
        while done.undoes:
            done, again = self.past[done.undoes], not again
        return done, again

    def _move(self, move: Move, asked: Asked) -> None:
        link = self._links[move.report_id]
        if not asked.undoes:
            link = link.decided(asked.act_id, move.target, actor=asked.actor, reason=asked.reason)
        else:
            root, again = self._root(self.past[asked.undoes])
            origin = next((m.origin for m in root.moves if m.report_id == link.report_id), None)
            if again and origin:
                link = link.led_on(origin).decided(root.act_id, move.target, actor=root.actor, reason=root.reason)
            else:
                link = (link.restored() if link.decision == root.act_id else link).led_on(move.target)
        self._members[move.origin].discard(move.report_id)
        self.watched.add(move.target)
        self._keep(link)
        self._history[move.report_id].append((asked.arrival, move.target))

    # --- what is known ---

    def in_force(self, act_id: str) -> bool:
        """Whether a decision counts: nobody undid it, or somebody undid that."""
        return not any(self.in_force(undo) for undo in self._undos[act_id])

    def _remember(self, done: Done) -> None:
        self._order[done.act_id] = len(self.past)
        self.past[done.act_id] = done
        if done.actor != MACHINE:
            self._decided_on.update((done.ticket_id, done.other_id or done.ticket_id))
            self._decided_on.update(t for m in done.moves for t in (m.origin, m.target))
        if done.undoes:
            self._undos[done.undoes].append(done.act_id)
        for move in done.moves:
            self._where[move.report_id] = move.target
            self._by_arrival[move.arrival] = move.report_id
            self._moves[move.report_id].append((done, move))
        for report_id in done.report_ids if done.act in ("split", "pin") else ():
            self._naming[report_id].append(done)

    def _keep(self, link: Link) -> None:
        self._links[link.report_id] = link
        self._members[link.ticket_id].add(link.report_id)

    def _link(self, report_id: str) -> Link:
        if report_id not in self._links:
            raise _FaultError("no_ticket", report=report_id)
        return self._links[report_id]

    def _exists(self, ticket_id: str) -> bool:
        link = self._links.get(first_of(ticket_id))
        return link is not None and (link.ticket_id == ticket_id or self._opened(link.report_id, 1 << 62))

    def _resolve(self, ticket_id: str | None) -> str:
        if not ticket_id or not self._exists(ticket_id):
            raise _FaultError("unknown_ticket", ticket=ticket_id or "")
        return self._links[first_of(ticket_id)].ticket_id

    def _pinned(self, report_id: str, *, since: Done | None = None) -> str | None:
        """The decision that keeps a report where it is; since: made after this one."""
        for done in reversed(self._naming.get(report_id, ())):
            if since and self._order[done.act_id] <= self._order[since.act_id]:
                return None
            if self.in_force(done.act_id):
                return done.act_id if done.act == "pin" else None
        return None

    def _last_mover(self, report_id: str) -> str:
        moves = self._moves.get(report_id)
        return moves[-1][0].act_id if moves else ""


_Decided = tuple[Mapping[str, str], str, str | None]  # report -> ticket, the ticket it is about, the other one
_KINDS: dict[str, Callable[[Acts, Asked], _Decided]] = {
    "split": Acts._split,
    "merge": Acts._merge,
    "pin": Acts._pin,
    "undo": Acts._undo,
}
