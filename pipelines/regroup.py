"""What people decide about which reports are one matter: split, merge, pin, undo.

A decision is tried on the published snapshot, with those that have landed since, so nobody who decides holds up a load
and a slip is told at once. It lands as a message of its own stream and is durable before it is told as done; the next
load applies it, and so does every rebuild. Belongs here: finding what was meant and trying it before it lands. Not
here: what a decision does (transforms/acts).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import duckdb

from pipelines.contracts import LANDED, Message, ticket_no_of
from pipelines.errors import PermanentError, RejectedMessage
from pipelines.flow import utc_now
from pipelines.moves import acts_of, asked_of
from pipelines.published import Rows, ask, open_snapshot
from pipelines.review import land, signed, sound
from pipelines.settings import Settings
from pipelines.sinks.landing import BatchRef, Landing
from pipelines.sources import acts as source
from pipelines.transforms.act_shapes import Asked, Done, Refused, first_of
from pipelines.transforms.acts import Acts

# Why a decision cannot be, and what to do.
_FAULTS = {
    "unknown_ticket": "{ticket} is no ticket in the snapshot; `kanal status` says what is not loaded yet",
    "no_ticket": "report {report} has no ticket, so there is nothing to move: thanks have none",
    "same_ticket": "name two tickets; these are one and the same",
    "not_of_ticket": "report {report} is not of {ticket} but of {now}; split it from that one",
    "everything": "that names every report of {ticket}; leave at least one where it is",
    "others_pinned": "every other report of {ticket} is pinned to it; undo those decisions first: `kanal trace {ticket}`",
    "first_report": "report {report} opened {ticket} and cannot leave it alone: its number goes with it. Split the others"
    " off (kanal ticket split), or merge the two (kanal ticket merge)",
    "unknown_act": "{act!r} is no decision and no ticket with one; `kanal trace KN-...` shows a ticket's decisions",
    "undone": "decision {act} is undone already; to bring it back, undo the decision that undid it: `kanal trace KN-...`",
    "built_on": "report {report} was decided upon again by {by}; undo that decision first",
}
_BEHIND = 1 << 60  # arrivals of what is not loaded yet
_AGAIN = {
    "split": "this has landed already",
    "merge": "{ticket} and {other} are one ticket already",
    "pin": "report {report} is pinned to {ticket} already",
    "undo": "this has landed already",
}


@dataclass(frozen=True, slots=True)
class Wish:
    """A decision as a person wrote it. tickets and reports: numbers or ids; undoes: a decision's id or a ticket; by: None
    for the account at the keyboard."""

    act: str
    reason: str
    tickets: Sequence[str] = ()
    reports: Sequence[str] = ()
    undoes: str | None = None
    by: str | None = None


@dataclass(slots=True)
class Regrouped:
    """What a decision will do with the next load. decision: its id; moves: a row a report with ticket_no as it stands and
    then; tickets: a row a ticket it touches with its reports now and then, and whom it is merged into."""

    decision: str
    moves: Rows = field(default_factory=list)
    tickets: Rows = field(default_factory=list)
    landed: bool = False


def decide(
    settings: Settings, wish: Wish, *, dry_run: bool = False, now: Callable[[], datetime] = utc_now
) -> Regrouped:
    """Try a decision and land it, unless dry_run. PermanentError says why it cannot be and what to do instead."""
    signature, at = signed(wish.reason, wish.by), now()
    with open_snapshot(settings) as con:
        landed = _landed(con, settings)
        book = _Book(con, _acts(con, landed))
        message = source.message({"act": wish.act} | _named(book, wish) | signature, at)
        found = _regrouped(con, book, _acts(con, [*landed, message]), message.source_ref)
    if not dry_run:
        land(settings, source.STREAM, [message], version=source.VERSION, at=at)
        found.landed = True
    return found


# --- what stands ----------------------------------------------------------------------------


def _acts(con: duckdb.DuckDBPyConnection, messages: Iterable[Message]) -> Acts:
    """The snapshot's decisions and these, all applied. Those that cannot be read will be set aside, so they do nothing."""
    asked: list[Asked] = []
    for message in messages:
        try:
            asked.append(asked_of(source.event(message), _BEHIND + len(asked)))
        except RejectedMessage:
            continue

    def links_by(key: str, values: Sequence[str]) -> Rows:
        return ask(con, f"SELECT * FROM links WHERE {key} IN (SELECT unnest(?::TEXT[]))", [list(values)])

    acts = acts_of(asked, ask(con, "SELECT * FROM ticket_decisions ORDER BY arrival"), links_by)
    acts.until(None)
    return acts


def _landed(con: duckdb.DuckDBPyConnection, settings: Settings) -> list[Message]:
    """Decisions that landed since the snapshot was made."""
    key = (source.STREAM.channel, source.STREAM.name)
    [row] = ask(con, "SELECT max(sequence) AS last FROM batches WHERE channel = ? AND stream = ?", key)
    landing, last = Landing(settings.landing_dir), -1 if row["last"] is None else row["last"]
    rows: Rows = []
    for sequence in landing.sequences(*key):
        if sequence > last:
            rows += landing.read(BatchRef(*key, sequence), columns=[f.name for f in LANDED]).to_pylist()
    fields = ("source_ref", "version", "payload", "payload_type", "fetched_at")
    return [Message(*(row[name] for name in fields)) for row in rows]


# --- what was meant -------------------------------------------------------------------------


class _Book:
    """Numbers of tickets and reports -> ids, and back."""

    def __init__(self, con: duckdb.DuckDBPyConnection, acts: Acts) -> None:
        self._con, self._acts = con, acts
        # Tickets of decisions that are not loaded yet stand in no snapshot.
        self._made = {ticket_no_of(first_of(e.made)): e.made for e in acts.effects if e.made}

    def ticket(self, ref: str) -> str:
        """The ticket that a number names. PermanentError where there is none, or it was merged into another."""
        found = self._ticket(ref)
        if (now := self._acts.ticket_of(found)) != found:
            raise PermanentError(f"{ref} was merged: its reports are in {self.no(now)} now; name that one")
        return found

    def _ticket(self, ref: str) -> str:
        if ref.upper() in self._made or ref.lower() in self._made.values():
            return self._made.get(ref.upper(), ref.lower())
        rows = ask(
            self._con,
            "SELECT ticket_id FROM tickets WHERE ticket_no = upper(?) OR ticket_id = lower(?)"
            " OR upper(external_ref) = upper(?) ORDER BY first_arrival LIMIT 1",
            [ref, ref, ref],
        )
        if not rows:
            raise PermanentError(_FAULTS["unknown_ticket"].format(ticket=ref))
        return str(rows[0]["ticket_id"])

    def report(self, ref: str) -> str:
        """The report that an id or its source's number names. PermanentError where there is none, or several."""
        rows = ask(
            self._con,
            "SELECT report_id FROM reports WHERE report_id = lower(?) OR upper(external_ref) = upper(?) ORDER BY arrival",
            [ref, ref],
        )
        if len(rows) > 1:
            ids = ", ".join(row["report_id"] for row in rows[:5])
            raise PermanentError(f"{ref} is the number of {len(rows)} reports; name one by its report_id: {ids}")
        if not rows:
            raise PermanentError(
                f"{ref} is no report in the snapshot; `kanal trace KN-...` shows the report_id of each of a ticket's reports"
            )
        return str(rows[0]["report_id"])

    def decision(self, ref: str) -> str:
        """A decision's own id, or of a ticket the last one that is in force and undoes none."""
        if ref.lower() in self._acts.past:
            return ref.lower()
        try:
            ticket = self._ticket(ref)
        except PermanentError as error:
            raise PermanentError(_FAULTS["unknown_act"].format(act=ref)) from error
        for done in reversed(self._acts.past.values()):
            if done.act != "undo" and self._acts.in_force(done.act_id) and ticket in _tickets_of(done):
                return done.act_id
        raise PermanentError(f"nothing was decided about {ref} that is still in force")

    @staticmethod
    def no(ticket_id: str) -> str:
        """The number that people know a ticket by."""
        return ticket_no_of(first_of(ticket_id))


def _tickets_of(done: Done) -> set[str | None]:
    return {done.ticket_id, done.other_id, *(t for m in done.moves for t in (m.origin, m.target))}


def _named(book: _Book, wish: Wish) -> dict[str, Any]:
    """The ids that were meant."""
    if wish.undoes is not None:
        return {"undoes": book.decision(sound(wish.undoes).strip())}
    tickets = [book.ticket(sound(ref).strip()) for ref in wish.tickets]
    reports = [book.report(sound(ref).strip()) for ref in wish.reports]
    return {"ticket_id": tickets[0], "other_id": tickets[1] if len(tickets) > 1 else None, "report_ids": reports}


# --- what it will do ------------------------------------------------------------------------


def _regrouped(con: duckdb.DuckDBPyConnection, book: _Book, acts: Acts, act_id: str) -> Regrouped:
    for refused in acts.refused:
        if refused.asked.act_id == act_id:
            raise PermanentError(_told(refused, book))
    [effect] = [e for e in acts.effects if e.done.act_id == act_id]
    texts = {
        row["report_id"]: row["text"]
        for row in ask(
            con,
            "SELECT report_id, text FROM reports WHERE report_id IN (SELECT unnest(?::TEXT[]))",
            [[m.report_id for m in effect.done.moves]],
        )
    }
    found = Regrouped(act_id)
    found.moves = [
        {
            "report_id": m.report_id, "from": book.no(m.origin), "to": book.no(m.target), "text": texts.get(m.report_id),
        }
        for m in effect.done.moves
    ]  # fmt: skip
    for ticket_id in effect.tickets:
        then = acts.count(ticket_id)
        left = sum(m.origin == ticket_id for m in effect.done.moves)
        came = sum(m.target == ticket_id for m in effect.done.moves)
        into = effect.superseded.get(ticket_id)
        found.tickets.append(
            {
                "ticket_no": book.no(ticket_id), "reports_now": then + left - came, "reports_then": then,
                "merged_into": book.no(into) if into else None,
            }
        )  # fmt: skip
    return found


def _told(refused: Refused, book: _Book) -> str:
    asked = refused.asked
    if refused.fault == "repeat":
        names = {"ticket": asked.ticket_id, "other": asked.other_id}
        words = {name: book.no(value) for name, value in names.items() if value}
        return _AGAIN[asked.act].format(report=next(iter(asked.report_ids), ""), **words)
    about = {k: book.no(v) if k in ("ticket", "now") else v for k, v in refused.about.items()}
    return _FAULTS[refused.fault].format(**about)
