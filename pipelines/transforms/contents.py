"""What a ticket holds, told by its reports: one at a time as they come, or anew where people moved some of them.

The two agree: a ticket told anew from all versions of its reports, in the order they came, is what it had become one by
one. Belongs here: what a report gives to a ticket. Not here: what people decide (ticket, acts).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa

from pipelines.contracts import REPORTS, TICKETS, UNTOUCHED, column, status_of, ticket_no_of, to_frame

_PLACE = ("kelurahan_code", "kecamatan_code", "kota_code", "place_method", "lat", "lon")
_AGENCY = ("agency_id", "unit", "agency_source", "agency_confidence", "route_rule", "intake_unit")
_JUDGED = ("category", "category_confidence", *_AGENCY)
# What the reports say of a ticket whoever acts on it.
_GATHERED = (
    "report_count", "attachment_count", "channels", "private", "emergency", "emergency_rule", "completeness",
    "address_text", "last_report_at",
)  # fmt: skip
_FOLLOWS = (*_GATHERED, *_JUDGED, *_PLACE, "kind", "review_reason")
_SCHEMA = pa.schema([*REPORTS])


@dataclass(frozen=True, slots=True)
class Clock:
    """An SLA rule: which clock, for which reports (all, geo_tagged or a channel), how long."""

    clock: str
    channel: str | None
    limit: timedelta


class Piece(NamedTuple):
    """One version of a report that a ticket has, at its place in the recorded order. report: its row (contracts.REPORTS;
    of versions before the last the words may be missing); before: the version before, None where it got its ticket."""

    arrival: int
    report: Mapping[str, Any]
    before: Mapping[str, Any] | None = None


def retell(
    row: dict[str, Any] | None, pieces: Iterable[Piece], ticket_id: str, clocks: Sequence[Clock]
) -> dict[str, Any]:
    """A ticket's row as its reports make it: what officers own, its clocks and its number stay as in `row` (None: new).

    pieces: all versions of all its reports; none: a superseded ticket, which keeps its words and counts nothing.
    """
    told = sorted(pieces, key=lambda p: (p.before is not None or p.report["report_id"] != ticket_id[1:], p.arrival))
    if not told:
        return (row or {}) | {"report_count": 0, "attachment_count": 0}
    first = to_frame(pa.Table.from_pylist([dict(told[0].report)], schema=_SCHEMA)).assign(arrival=told[0].arrival)
    [anew] = records(open_tickets(first, clocks))
    for piece in told[1:]:
        if piece.before is None:
            join(anew, piece.report)
        else:
            edit(anew, piece.report, piece.before)
    if row is None:
        return anew
    return row | {name: anew[name] for name in (_GATHERED if row["frozen"] else _FOLLOWS)}


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
        follows=reports.get("follows"),
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


def join(row: dict[str, Any], report: Mapping[str, Any]) -> None:
    """Another report, taken into a ticket's row (in place)."""
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


def edit(row: dict[str, Any], report: Mapping[str, Any], before: Mapping[str, Any]) -> None:
    """A new version of one of its reports, or of its first while that is elsewhere, taken into a ticket's row (in place)."""
    if row["report_count"]:  # else it is superseded and only follows the words of its first report
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


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as plain values."""
    columns = {name: column(frame, name) for name in frame.columns}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
