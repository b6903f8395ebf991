"""Linked reports, edits, status events and people's decisions -> tickets and their history.

A ticket starts from its first report and changes with everything that happens to it, in recorded
order, so its `version` counts changes however the log was cut into loads. After the first event
of an officer, or the first decision of the review queue, its category, agency, unit and area are
frozen; the machine's later opinions go to `suggested_*`. Pure: existing tickets are passed in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import orjson
import pandas as pd

from pipelines.contracts import TICKET_EVENTS, TICKETS, UNTOUCHED, column, short_hash, status_of, ticket_no_of
from pipelines.transforms.agency import MODEL, PERSON, REPORTED, Chosen
from pipelines.transforms.route import BY_PERSON, Routing, assign

_PLACE = ("kelurahan_code", "kecamatan_code", "kota_code", "place_method", "lat", "lon")
_AGENCY = ("agency_id", "unit", "agency_source", "agency_confidence", "route_rule", "intake_unit")
_JUDGED = ("category", "category_confidence", *_AGENCY)
_CLOSED = frozenset(("selesai", "ditolak"))


@dataclass(frozen=True, slots=True)
class Clock:
    """An SLA rule: which clock, for which reports (all, geo_tagged or a channel), how long."""

    clock: str
    channel: str | None
    limit: timedelta


class Change(NamedTuple):
    """Something that happened to a ticket at `arrival`: opened, joined, edited, status, decision or attached.

    report: the report's row (contracts.REPORTS) for the first three; before: its row as it was,
    for edits; event: what sources/feedback says, for status, sources/decisions, for decision, and sources/fetched, for attached.
    """

    arrival: int
    what: str
    ticket_id: str
    report: Mapping[str, Any] | None = None
    before: Mapping[str, Any] | None = None
    event: Mapping[str, Any] | None = None


def is_open(status: str) -> bool:
    return status not in _CLOSED


def apply(
    tickets: pd.DataFrame,
    opened: pd.DataFrame,
    changes: Sequence[Change],
    *,
    clocks: Sequence[Clock],
    routing: Routing,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """All tickets touched, as they are now, and the events to append.

    tickets: existing rows that changes touch; opened: report rows that open a ticket each;
    changes: everything else, rising arrival. Returns (contracts.TICKETS, contracts.TICKET_EVENTS).
    """
    fresh = open_tickets(opened, clocks)
    touched = {c.ticket_id for c in changes}
    still = fresh[~fresh["ticket_id"].isin(touched)]
    moving = (
        pd.concat([tickets, fresh[fresh["ticket_id"].isin(touched)]])
        if len(tickets)
        else fresh[fresh["ticket_id"].isin(touched)]
    )
    rows = {row["ticket_id"]: row for row in _records(moving)}
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
        row = rows.get(change.ticket_id)
        if row is None:  # a status for a ticket this warehouse never had
            continue
        events.append(_apply(row, change, routing))
        row["version"] += 1
    changed = pd.DataFrame(list(rows.values()), columns=TICKETS.names)
    result = pd.concat([still, changed]) if len(changed) and len(still) else changed if len(changed) else still
    return result.reset_index(drop=True), pd.DataFrame(events, columns=TICKET_EVENTS.names)


def open_tickets(reports: pd.DataFrame, clocks: Sequence[Clock]) -> pd.DataFrame:
    """One ticket a report, as it stands when just opened."""
    titles, texts = column(reports, "title"), column(reports, "text")
    channel, opened = column(reports, "channel"), column(reports, "occurred_at")
    same = [
        "kind",
        *_JUDGED,
        *_PLACE,
        "external_ref",
        "address_text",
        "attachment_count",
        "private",
        "emergency",
        "emergency_rule",
        "completeness",
        "review_reason",
    ]
    ids = column(reports, "report_id")
    columns = {name: reports[name] for name in same}
    status = [status_of(s) or UNTOUCHED for s in column(reports, "status_reported")]
    return pd.DataFrame(columns, index=reports.index).assign(
        ticket_id=[f"t{i}" for i in ids],
        ticket_no=[ticket_no_of(i) for i in ids],
        description=[f"{a}\n{b}" if isinstance(a, str) and a else b for a, b in zip(titles, texts, strict=True)],
        channels=[[c] for c in channel],
        report_count=1,
        opened_at=reports["occurred_at"],
        last_report_at=reports["occurred_at"],
        coordination_due_at=_due("coordination", channel, opened, clocks),
        completion_due_at=_due("completion", channel, opened, clocks),
        status=status,
        status_at=reports["occurred_at"],
        frozen=[s != UNTOUCHED for s in status],
        suggested_category=None,
        suggested_agency_id=None,
        suggested_unit=None,
        suggested_kelurahan_code=None,
        superseded_by=None,
        first_report_id=ids,
        first_arrival=reports["arrival"],
        version=1,
    )[TICKETS.names]


def _due(
    clock: str, channels: Sequence[str], opened: Sequence[datetime], clocks: Sequence[Clock]
) -> list[datetime | None]:
    """When each is due; a channel's own clock goes before the common one."""
    limits = {channel: _limit(clock, channel, clocks) for channel in set(channels)}
    return [o + limit if (limit := limits[c]) else None for c, o in zip(channels, opened, strict=True)]


def _limit(clock: str, channel: str, clocks: Sequence[Clock]) -> timedelta | None:
    mine = [c for c in clocks if c.clock == clock and c.channel in (None, channel)]
    return max(mine, key=lambda c: c.channel is not None).limit if mine else None


def _apply(row: dict[str, Any], change: Change, routing: Routing) -> tuple[Any, ...]:
    if change.what == "status":
        return _status(row, change)
    if change.what == "decision":
        return _decision(row, change, routing)
    if change.what == "attached":
        return _attached(change)
    report = change.report or {}
    if change.what == "joined":
        _join(row, report)
    else:
        _edit(row, report, change.before or {})
    return _event(change.what, change, report["occurred_at"], "pipeline", report["report_id"], None, {})


def _attached(change: Change) -> tuple[Any, ...]:
    event = change.event or {}
    return _event("attached", change, event["happened_at"], "pipeline", event["report_id"], None, event["file"])


def _join(row: dict[str, Any], report: Mapping[str, Any]) -> None:
    row["report_count"] += 1
    row["attachment_count"] += report["attachment_count"]
    if report["channel"] not in row["channels"]:
        row["channels"] = [*row["channels"], report["channel"]]
    _gather(row, report)
    row["last_report_at"] = max(row["last_report_at"], report["occurred_at"])
    if row["category"] is None and report["category"] is not None:
        _judge(row, report, _JUDGED)
        if not row["frozen"]:  # else a person has looked already
            row["review_reason"] = report["review_reason"]
    if row["kelurahan_code"] is None and report["kelurahan_code"] is not None:
        _judge(row, report, _PLACE)
        if row["agency_id"] == report["agency_id"] and not row["frozen"]:
            row["unit"], row["intake_unit"] = report["unit"], report["intake_unit"]


def _edit(row: dict[str, Any], report: Mapping[str, Any], before: Mapping[str, Any]) -> None:
    row["attachment_count"] += report["attachment_count"] - before["attachment_count"]
    _gather(row, report)
    if row["first_report_id"] != report["report_id"]:
        return
    row["description"] = f"{report['title']}\n{report['text']}" if report["title"] else report["text"]
    row["address_text"] = report["address_text"] or row["address_text"]
    if report["external_ref"]:
        row["external_ref"] = report["external_ref"]
    _judge(row, report, (*_JUDGED, *_PLACE))
    if not row["frozen"]:
        row["review_reason"] = report["review_reason"]
    status = status_of(report["status_reported"])
    if status and status != row["status"]:
        row["status"], row["status_at"], row["frozen"] = status, report["edited_at"] or report["occurred_at"], True


def _gather(row: dict[str, Any], report: Mapping[str, Any]) -> None:
    row["private"] = row["private"] or report["private"]
    row["emergency"] = row["emergency"] or report["emergency"]
    row["emergency_rule"] = row["emergency_rule"] or report["emergency_rule"]
    row["completeness"] = max(row["completeness"], report["completeness"])
    row["address_text"] = row["address_text"] or report["address_text"]


def _judge(row: dict[str, Any], report: Mapping[str, Any], columns: Sequence[str]) -> None:
    """The machine's opinion: taken over, or only suggested once an officer has acted."""
    if not row["frozen"]:
        row.update({c: report[c] for c in columns})
        return
    for name in ("category", "agency_id", "unit", "kelurahan_code"):
        if name in columns and report[name] != row[name]:
            row[f"suggested_{name}"] = report[name]


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


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    columns = {name: column(frame, name) for name in frame.columns}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
