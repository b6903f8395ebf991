"""Linked reports, edits, status events and people's decisions -> tickets and their history.

A ticket starts from its first report and changes with everything that happens to it, in recorded
order, so its `version` counts changes however the log was cut into loads. After the first event
of an officer, or the first decision of the review queue, its category, agency, unit and area are
frozen; the machine's later opinions go to `suggested_*`. Pure: existing tickets are passed in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import orjson
import pandas as pd

from pipelines.contracts import TICKET_EVENTS, TICKETS, UNTOUCHED, column, short_hash
from pipelines.transforms.act_shapes import Effect
from pipelines.transforms.agency import MODEL, PERSON, REPORTED, Chosen
from pipelines.transforms.contents import Clock, Piece, edit, join, open_tickets, records, retell
from pipelines.transforms.route import BY_PERSON, Routing, assign

_ACTED = {
    "split": "split",
    "merge": "merged",
    "pin": "pinned",
    "undo": "undone",
}  # what each decision is called in history
_CLOSED = frozenset(("selesai", "ditolak"))


class Change(NamedTuple):
    """Something that happened to a ticket at `arrival`: opened, joined, edited, status, decision, attached or acted.

    report: the report's row (contracts.REPORTS) for the first three; before: its row as it was, for edits; event: what
    sources/feedback says, for status, sources/decisions, for decision, and sources/fetched, for attached; effect: what
    a decision on tickets does to all that it touches, for acted.
    """

    arrival: int
    what: str
    ticket_id: str
    report: Mapping[str, Any] | None = None
    before: Mapping[str, Any] | None = None
    event: Mapping[str, Any] | None = None
    effect: Effect | None = None

    @property
    def touches(self) -> Sequence[str]:
        """Every ticket that it changes."""
        return self.effect.tickets if self.effect else (self.ticket_id,)


def is_open(status: str) -> bool:
    return status not in _CLOSED


def apply(
    tickets: pd.DataFrame,
    opened: pd.DataFrame,
    changes: Sequence[Change],
    *,
    clocks: Sequence[Clock],
    routing: Routing,
    stories: Mapping[str, Sequence[Piece]] | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """All tickets touched, as they are now, and the events to append.

    tickets: existing rows that changes touch; opened: report rows that open a ticket each; changes: everything else,
    rising arrival; stories: what the reports of each ticket that an acted change touches said before.
    Returns (contracts.TICKETS, contracts.TICKET_EVENTS).
    """
    fresh = open_tickets(opened, clocks)
    touched = {ticket_id for c in changes for ticket_id in c.touches}
    still = fresh[~fresh["ticket_id"].isin(touched)]
    moving = (
        pd.concat([tickets, fresh[fresh["ticket_id"].isin(touched)]])
        if len(tickets)
        else fresh[fresh["ticket_id"].isin(touched)]
    )
    rows = {row["ticket_id"]: row for row in records(moving)}
    told = {ticket_id: list(pieces) for ticket_id, pieces in (stories or {}).items()}
    _begin(told, opened)
    events = [
        _opened_event(r, i, t, o)
        for r, i, t, o in zip(
            column(opened, "arrival"),
            column(opened, "report_id"),
            column(fresh, "ticket_id"),
            column(fresh, "opened_at"),
            strict=True,
        )
    ]
    for change in changes:
        if change.effect is not None:
            events += _acted(rows, told, change, change.effect, clocks)
            continue
        row = rows.get(change.ticket_id)
        if row is None:  # a status for a ticket this warehouse never had
            continue
        if change.report is not None and row["report_count"] and change.ticket_id in told:
            told[change.ticket_id].append(Piece(change.arrival, change.report, change.before))
        events.append(_apply(row, change, routing))
        row["version"] += 1
    changed = pd.DataFrame(list(rows.values()), columns=TICKETS.names)
    result = pd.concat([still, changed]) if len(changed) and len(still) else changed if len(changed) else still
    return result.reset_index(drop=True), pd.DataFrame(events, columns=TICKET_EVENTS.names)


def _begin(told: dict[str, list[Piece]], opened: pd.DataFrame) -> None:
    """The reports that open a ticket of which more will have to be told."""
    mine = [f"t{report_id}" in told for report_id in column(opened, "report_id")]
    for report in records(opened[mine]) if any(mine) else ():
        told[f"t{report['report_id']}"].append(Piece(report["arrival"], report))


def _acted(
    rows: dict[str, dict[str, Any]],
    told: dict[str, list[Piece]],
    change: Change,
    effect: Effect,
    clocks: Sequence[Clock],
) -> list[tuple[Any, ...]]:
    """Move the reports, and tell every ticket anew that has others now."""
    done = effect.done
    for move in done.moves:
        pieces = [p for p in told[move.origin] if p.report["report_id"] == move.report_id]
        told[move.origin] = [p for p in told[move.origin] if p.report["report_id"] != move.report_id]
        told[move.target] += pieces
    moved = {ticket_id for move in done.moves for ticket_id in (move.origin, move.target)}
    detail: dict[str, Any] = {"act_id": done.act_id, "reason": done.reason, "ticket_id": done.ticket_id}
    detail |= {name: value for name in ("other_id", "undoes") if (value := getattr(done, name))}
    detail |= {"report_ids": list(done.report_ids)} if done.report_ids else {}
    named = done.report_ids[0] if len(done.report_ids) == 1 else None
    events = []
    for ticket_id in effect.tickets:
        row = rows.get(ticket_id)
        version = row["version"] if row else 0
        if ticket_id in moved:
            row = retell(row, told[ticket_id], ticket_id, clocks)
        if row is None:
            continue
        if ticket_id in effect.superseded:
            row["superseded_by"] = effect.superseded[ticket_id]
        rows[ticket_id] = row | {"version": version + 1}
        mine = change._replace(ticket_id=ticket_id)
        events.append(_event(_ACTED[done.act], mine, done.happened_at, done.actor, named, None, detail))
    return events


def _apply(row: dict[str, Any], change: Change, routing: Routing) -> tuple[Any, ...]:
    if change.what == "status":
        return _status(row, change)
    if change.what == "decision":
        return _decision(row, change, routing)
    if change.what == "attached":
        return _attached(change)
    report = change.report or {}
    if change.what == "joined":
        join(row, report)
    else:
        edit(row, report, change.before or {})
    return _event(change.what, change, report["occurred_at"], "pipeline", report["report_id"], None, {})


def _attached(change: Change) -> tuple[Any, ...]:
    event = change.event or {}
    return _event("attached", change, event["happened_at"], "pipeline", event["report_id"], None, event["file"])


def _status(row: dict[str, Any], change: Change) -> tuple[Any, ...]:
    event, before = change.event or {}, row["agency_id"]
    if event.get("status"):
        row["status"], row["status_at"] = event["status"], event["happened_at"]
    row["frozen"] = True
    for name in ("category", "agency_id", "unit", "kelurahan_code", "kecamatan_code", "kota_code"):
        if event.get(name):
            row[name] = event[name]
            row["review_reason"] = None
    if event.get("agency_id") or event.get("unit"):
        row["route_rule"], row["agency_source"], row["agency_confidence"] = BY_PERSON, PERSON, 1.0
    if event.get("agency_id") and not event.get("unit") and event["agency_id"] != before:
        row["unit"] = event.get("agency_name") or event["agency_id"]  # which unit, only the officer could say
    detail = {k: event[k] for k in ("category", "agency_id", "unit", "kelurahan_code", "note") if event.get(k)}
    return _event(
        "status", change, event["happened_at"], event.get("actor") or "crm", None, event.get("status"), detail
    )


def decide(row: dict[str, Any], decision: Mapping[str, Any], routing: Routing) -> None:
    """Take over into a ticket's row (in place) what a person decided; what was not decided is looked up anew.

    decision: category, agency_id, kind, kelurahan_code, each text or None. Agency and unit follow
    category and area by the rules, but for an agency that a person chose, one that the source named,
    and one of the classifier as long as the category stays what it was; those keep their agency, and
    its unit follows. A ticket that somebody acts on already changes only where the decision names an agency.
    """
    category, agency, kelurahan = (decision[name] for name in ("category", "agency_id", "kelurahan_code"))
    row["kind"] = decision["kind"] or row["kind"]
    chosen = Chosen(agency, PERSON, 1.0) if agency else _kept(row, category, routing)
    if category:
        row["category"], row["category_confidence"] = category, 1.0
    if kelurahan:
        if kelurahan != row["kelurahan_code"] and row["place_method"] == "landmark":
            row["lat"] = row["lon"] = None  # the point was that of the landmark, not the citizen's
        row.update({"kelurahan_code": kelurahan, "place_method": "person"} | parents_of(kelurahan))
    by_person = row["route_rule"] == BY_PERSON
    if agency or (row["status"] == UNTOUCHED and (kelurahan or (category and not by_person))):
        assigned = assign(
            row["description"],
            channel=row["channels"][0],
            category=row["category"],
            kota=row["kota_code"],
            kelurahan=row["kelurahan_code"],
            routing=routing,
            chosen=chosen,
        )
        row.update(assigned._asdict())
    for name in ("category", "agency_id", "unit", "kelurahan_code"):
        if row[f"suggested_{name}"] == row[name]:
            row[f"suggested_{name}"] = None
    row["frozen"], row["review_reason"] = True, None


def _kept(row: Mapping[str, Any], category: str | None, routing: Routing) -> Chosen | None:
    """The ticket's agency, where a decision that names none leaves it; None where rules are to be asked anew."""
    source = row["agency_source"]
    if source == PERSON:
        return Chosen(row["agency_id"], PERSON, row["agency_confidence"])
    if source == REPORTED or (source == MODEL and category in (None, row["category"])):
        units = (a.id for a in routing.agencies.values() if (a.parent, a.name) == (row["agency_id"], row["unit"]))
        return Chosen(next(units, row["agency_id"]), source, row["agency_confidence"])
    return None


def parents_of(kelurahan_code: str | None) -> dict[str, str]:
    """Kecamatan and kota of a kelurahan: Kemendagri's codes hold those above them."""
    if not kelurahan_code:
        return {}
    return {"kecamatan_code": kelurahan_code[:8], "kota_code": kelurahan_code[:5]}


def _decision(row: dict[str, Any], change: Change, routing: Routing) -> tuple[Any, ...]:
    decision = change.event or {}
    decide(row, decision, routing)
    names = ("category", "agency_id", "kind", "kelurahan_code", "reason")
    detail = {name: decision[name] for name in names if decision[name]}
    return _event("decision", change, decision["happened_at"], decision["actor"], decision["report_id"], None, detail)


def _event(
    what: str,
    change: Change,
    at: datetime,
    actor: str,
    report_id: str | None,
    status: str | None,
    detail: dict[str, Any],
) -> tuple[Any, ...]:
    event_id = short_hash(change.ticket_id, what, str(change.arrival))
    return (
        event_id,
        change.ticket_id,
        what,
        at,
        actor,
        report_id,
        status,
        orjson.dumps(detail).decode(),
        change.arrival,
    )


def _opened_event(arrival: int, report_id: str, ticket_id: str, at: datetime) -> tuple[Any, ...]:
    return (
        short_hash(ticket_id, "opened", str(arrival)),
        ticket_id,
        "opened",
        at,
        "pipeline",
        report_id,
        None,
        "{}",
        arrival,
    )
