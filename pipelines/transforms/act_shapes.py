"""The shapes of people's decisions on tickets, and what must be known before some of them can be applied.

Belongs here: what a decision says, what it did, why it was refused. Not here: applying one (acts).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import orjson

DECIDED, BRIDGED = "decision", "bridge"  # links.level of a report that people moved, or that moved with its ticket
MACHINE = "pipeline"  # actor of what nobody decided


class Asked(NamedTuple):
    """A decision as it landed. act: split | merge | pin | undo; see sources/acts for what each names."""

    arrival: int
    act_id: str
    act: str
    ticket_id: str | None
    other_id: str | None
    report_ids: Sequence[str]
    undoes: str | None
    actor: str
    reason: str
    happened_at: datetime


class Link(NamedTuple):
    """A row of contracts.LINKS."""

    report_id: str
    ticket_id: str
    level: str
    score: int
    explanation: str
    arrival: int

    @property
    def decision(self) -> str | None:
        """The decision that put the report here."""
        found: str | None = self._explained().get("keputusan")
        return found

    @property
    def through(self) -> str | None:
        """The ticket that the report matched, where people had moved that one's first report to this one."""
        found: str | None = self._explained().get("lewat")
        return found

    @property
    def witness(self) -> str | None:
        """The report that it was compared with when it was linked; None where people put it here."""
        found: str | None = self._explained().get("laporan")
        return found

    def decided(self, act_id: str, ticket_id: str, *, actor: str, reason: str) -> Link:
        """As a decision puts the report elsewhere; what the link was before stays with it."""
        before = {name: getattr(self, name) for name in ("ticket_id", "level", "score")}
        before["explanation"] = self._explained()
        why = {"alasan": reason, "oleh": actor, "keputusan": act_id, "sebelumnya": before}
        level = BRIDGED if actor == MACHINE else DECIDED
        return self._replace(ticket_id=ticket_id, level=level, score=1000, explanation=orjson.dumps(why).decode())

    def restored(self) -> Link:
        """As it was before the decision that put the report here."""
        before = self._explained()["sebelumnya"]
        return self._replace(**before | {"explanation": orjson.dumps(before["explanation"]).decode()})

    def led_on(self, ticket_id: str) -> Link:
        """As if the report had been linked to a ticket whose first report is now in this one."""
        why = self._explained()
        through = why.pop("lewat", self.ticket_id)
        why |= {"lewat": through} if through != ticket_id else {}
        return self._replace(ticket_id=ticket_id, explanation=orjson.dumps(why).decode())

    def because(self, why: Mapping[str, Any]) -> Link:
        """With the values compared when the report was linked, which stay with it wherever it went since. `lewat` stays as the
        link has it now and comes last, so that keys stand in the order they have without decisions."""
        whole = inner = self._explained()
        while "sebelumnya" in inner:
            inner = inner["sebelumnya"]["explanation"]
        through = {"lewat": inner.pop("lewat")} if "lewat" in inner else {}
        inner |= {name: value for name, value in why.items() if name != "lewat"} | through
        return self._replace(explanation=orjson.dumps(whole).decode())

    def _explained(self) -> dict[str, Any]:
        found: dict[str, Any] = orjson.loads(self.explanation)
        return found


class Move(NamedTuple):
    """arrival: of the report's link."""

    report_id: str
    arrival: int
    origin: str
    target: str


class Done(NamedTuple):
    """A decision that was applied: a row of contracts.ACTS, with its moves by arrival of the reports."""

    act_id: str
    act: str
    ticket_id: str
    other_id: str | None
    report_ids: Sequence[str]
    undoes: str | None
    moves: Sequence[Move]
    actor: str
    reason: str
    happened_at: datetime
    arrival: int


class Effect(NamedTuple):
    """What a decision does to tickets. tickets: all it touches; superseded: superseded_by as it is from now on, of those
    whose first report moved; made: the ticket that did not exist before."""

    done: Done
    tickets: Sequence[str]
    superseded: Mapping[str, str | None]
    made: str | None


class Refused(NamedTuple):
    """A decision that was not applied, and why: fault is one of FAULTS, with the ids that it is about."""

    asked: Asked
    fault: str
    about: Mapping[str, str]


FAULTS = {
    "repeat": "keputusan ini sudah berlaku",
    "unknown_ticket": "tiket {ticket} tidak ada di Kanal",
    "no_ticket": "laporan {report} belum ada di Kanal atau tidak punya tiket",
    "same_ticket": "tiketnya sama",
    "not_of_ticket": "laporan {report} tidak ada di tiket {ticket}, tetapi di {now}",
    "everything": "semua laporan tiket {ticket} disebut, jadi tidak ada yang tersisa",
    "others_pinned": "laporan lain di tiket {ticket} sudah dipasang di sana",
    "first_report": "laporan {report} adalah laporan pertama tiket {ticket}; gabungkan tiketnya",
    "unknown_act": "keputusan {act} tidak ada atau belum berlaku",
    "undone": "keputusan {act} sudah dibatalkan",
    "built_on": "laporan {report} sudah diatur lagi oleh keputusan lain ({by}); batalkan yang itu dulu",
}


class Wanted(NamedTuple):
    """What must be passed in for the decisions of an entry: links of these reports, and all links of these tickets
    and of the tickets that those reports are in."""

    tickets: list[str]
    reports: list[str]


def wanted(asked: Sequence[Asked], past: Sequence[Done]) -> Wanted:
    """Which links `Acts` needs to know of the time before these decisions."""
    done, here = {d.act_id: d for d in past}, {a.act_id: a for a in asked}
    where = {m.report_id: m.target for d in past for m in d.moves}
    tickets = {t for a in asked for t in (a.ticket_id, a.other_id) if t}
    reports = {r for a in asked for r in a.report_ids}
    undone = [a.undoes for a in asked if a.undoes]
    while undone:
        act_id = undone.pop()
        if before := here.get(act_id) or done.get(act_id):
            undone += [before.undoes] if before.undoes else []
        if act_id in done:
            tickets |= {t for m in done[act_id].moves for t in (m.origin, m.target)} | {done[act_id].ticket_id}
            reports |= {*done[act_id].report_ids, *(m.report_id for m in done[act_id].moves)}
    firsts = {first_of(t) for t in tickets}
    tickets |= {where[f] for f in firsts if f in where}
    return Wanted(sorted(tickets), sorted(reports | firsts))


def first_of(ticket_id: str) -> str:
    """The report that a ticket's id is derived from."""
    return ticket_id[1:]
