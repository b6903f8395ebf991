"""The way between figures and messages, both ways, over the published snapshot.

From a line of a mart to its tickets and the landed messages behind them; from a ticket, report or
message to every figure that counts it. Masked, as the snapshot is; `verbatim` reads landing, holds
personal data and is written to access.log. Not here: what a line counts (sinks/marts).
"""

from __future__ import annotations

import getpass
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import orjson

from pipelines import kinship
from pipelines.contracts import WIB
from pipelines.errors import PermanentError
from pipelines.flow import utc_now
from pipelines.published import Rows, ask, open_snapshot
from pipelines.settings import Settings
from pipelines.sinks.landing import BatchRef, Landing
from pipelines.sinks.marts import FIGURES, MARTS, lineage

_TICKET = (
    "ticket_no", "external_ref", "emergency_label", "status", "category", "unit", "agency_source", "route_rule", "kelurahan",
    "report_count", "opened_at",
)  # fmt: skip
_MESSAGE = ("message", "report_id", "ticket_no", "link_level", "occurred_at", "text")
_NUMBER = re.compile(r"[0-9]{1,9}")  # as they fit the columns
_AS_MESSAGE = "concat_ws('/', r.channel, r.stream, r.sequence, r.row) AS message"
_VERBATIM = "verbatim"
BECAUSE = "because"  # of a message: why its report is in its ticket
_NEXT = re.compile(r",(?=\s*\w+\s*=)")  # names of units hold commas of their own
_SHOWN = 90  # characters of a text in a table; --json has it whole


@dataclass(slots=True)
class Walked:
    """One walk: parts by title, each a list of rows; counts of what was found before the limit."""

    parts: dict[str, Rows] = field(default_factory=dict)

    @property
    def tables(self) -> Iterator[tuple[str, tuple[str, ...], list[list[Any]]]]:
        """(title, columns, rows) fit for a terminal: times in WIB, texts cut but for payloads."""
        for title, rows in self.parts.items():
            columns = tuple(rows[0]) if rows else ("nothing",)
            most = None if title == _VERBATIM else _SHOWN  # who asks for payloads wants them whole
            yield (
                title,
                columns,
                [[_short(row.get(c), None if c == BECAUSE else most) for c in columns] for row in rows],
            )

    def as_dict(self) -> dict[str, Rows]:
        return self.parts


def top(con: duckdb.DuckDBPyConnection, mart: str, label: str, most: int = 8) -> tuple[str, list[list[Any]]]:
    """(newest month with reports, its first lines: name, reports, tickets, share in percent)."""
    newest = ask(con, f"SELECT max(period_start) AS m FROM {mart} WHERE period = 'month' AND reports > 0")[0]["m"]
    rows = ask(
        con,
        f"SELECT * FROM {mart} WHERE period = 'month' AND period_start = ? AND reports > 0"
        f" ORDER BY rank NULLS LAST, reports DESC LIMIT {int(most)}",
        [newest],
    )
    month = newest.strftime("%Y-%m") if newest else ""
    return month, [[r[label], r["reports"], r["tickets"], 100 * (r["share"] or 0)] for r in rows]


def trace_thing(settings: Settings, what: str, *, where: str | None, limit: int, verbatim: bool) -> Walked:
    """Walk from whatever `what` names: a mart, a ticket, a report or a landed message.

    PermanentError tells what can be asked where nothing fits.
    """
    with open_snapshot(settings) as con:
        if what in MARTS:
            walked = _from_mart(con, what, _conditions(where), limit)
        elif where:
            raise PermanentError(f"--where goes with a mart, not with {what!r}; marts: {', '.join(FIGURES)}")
        else:
            walked = _from_thing(con, what, limit)
        told = kinship.reasons(
            con, [row["report_id"] for row in walked.parts["messages"] if "report_id" in row], settings
        )
        for row in walked.parts["messages"]:
            row[BECAUSE] = told.get(row.get("report_id", ""))
    if verbatim:
        walked.parts[_VERBATIM] = _verbatim(settings, what, where, walked.parts["messages"])
    return walked


def _conditions(where: str | None) -> dict[str, str]:
    found = {}
    for part in _NEXT.split((where or "").rstrip(", ")):
        if not part.strip():
            continue
        key, equals, value = part.partition("=")
        if not equals:
            raise PermanentError(f"--where {part!r}: write column=value, several with a comma between")
        found[key.strip()] = value.strip()
    return found


def _from_mart(con: duckdb.DuckDBPyConnection, mart: str, where: Mapping[str, str], limit: int) -> Walked:
    sql, parameters = lineage(mart, where)
    behind = f"(SELECT row_number() OVER () AS n, * FROM ({sql}))"
    counted = ask(con, f"SELECT count(*) AS reports, count(DISTINCT ticket_id) AS tickets FROM {behind}", parameters)
    tickets = ask(
        con,
        f"SELECT {_columns(_TICKET)} FROM tickets SEMI JOIN {behind} b USING (ticket_id)"
        f" ORDER BY first_arrival LIMIT {int(limit)}",
        parameters,
    )
    messages = ask(
        con,
        f"SELECT {_AS_MESSAGE}, r.report_id, r.ticket_no, r.link_level, r.occurred_at, r.text FROM {behind} r"
        f" ORDER BY n LIMIT {int(limit)}",
        parameters,
    )
    return Walked({f"behind {mart}": counted, "tickets": tickets, "messages": messages})


def _from_thing(con: duckdb.DuckDBPyConnection, what: str, limit: int) -> Walked:
    place = what.split("/")
    if len(place) == 4 and all(_NUMBER.fullmatch(number) for number in place[2:]):
        landed = ask(
            con,
            "SELECT channel, stream, sequence, row, report_id, outcome, stage, reason FROM messages"
            " WHERE channel = ? AND stream = ? AND sequence = ? AND row = ?",
            [place[0], place[1], int(place[2]), int(place[3])],
        )
        if not landed:
            raise PermanentError(
                f"no message {what} in the snapshot; `kanal status` says whether it waits to be loaded"
            )
        walked = _around(con, "r.report_id = ?", [landed[0]["report_id"]], limit)
        parts = {"message": landed} | walked.parts
        parts["messages"] = parts["messages"] or [{"message": what}]
        return Walked(parts)
    raw = what.strip()
    known = (
        "t.ticket_no = ? OR t.external_ref IN (?, ?) OR r.external_ref IN (?, ?) OR t.ticket_id = ? OR r.report_id = ?"
    )
    upper, lower = raw.upper(), raw.lower()
    walked = _around(con, f"({known})", [upper, raw, upper, raw, upper, lower, lower], limit)
    if not walked.parts["messages"]:
        raise PermanentError(
            f"{what!r} is no mart, ticket, report or message in the snapshot. Try: kanal trace top_categories --where"
            f" month=2026-05,category=jalan; marts: {', '.join(n for n, m in MARTS.items() if m.trace)}"
        )
    return walked


def _around(con: duckdb.DuckDBPyConnection, condition: str, parameters: Sequence[Any], limit: int) -> Walked:
    """Tickets, history, all messages of those tickets, and the figures that count them."""
    joined = "reports r LEFT JOIN tickets t USING (ticket_id)"
    # A ticket merged into another has no reports: the way goes on to the one that has its first.
    merged = f"FROM tickets t JOIN reports r ON r.report_id = t.first_report_id WHERE t.superseded_by IS NOT NULL AND {condition}"
    found = ask(
        con,
        f"SELECT coalesce(r.ticket_id, r.report_id) AS id FROM {joined} WHERE {condition}"
        f" UNION SELECT t.ticket_id {merged} UNION SELECT t.superseded_by {merged}",
        [*parameters, *parameters, *parameters],
    )
    parameters = [[row["id"] for row in found]]
    among = "IN (SELECT unnest(?::TEXT[]))"
    mine = f"FROM {joined} WHERE coalesce(r.ticket_id, r.report_id) {among}"
    messages = ask(
        con,
        f"SELECT {_AS_MESSAGE}, r.report_id, t.ticket_no, r.link_level, r.occurred_at, r.text {mine}"
        f" ORDER BY r.arrival LIMIT {int(limit)}",
        parameters,
    )
    tickets = ask(
        con,
        f"SELECT {_columns(_TICKET)} FROM tickets WHERE ticket_id {among} ORDER BY first_arrival LIMIT {int(limit)}",
        parameters,
    )
    history = ask(
        con,
        "SELECT happened_at, event, actor, report_id, status FROM ticket_events"
        f" WHERE ticket_id {among} ORDER BY arrival LIMIT {int(limit)}",
        parameters,
    )
    decisions = ask(
        con,
        "SELECT decided_at, actor, reason, report_id, category, agency, kind, kelurahan_code FROM review_decisions"
        f" WHERE ticket_id {among} ORDER BY rowid LIMIT {int(limit)}",
        parameters,
    )
    regrouped = ask(
        con,
        "SELECT a.happened_at AS decided_at, a.actor, a.act AS decision, a.reason, t.ticket_no, o.ticket_no AS other_no,"
        " a.report_ids, a.undoes, a.act_id AS id FROM ticket_decisions a LEFT JOIN tickets t USING (ticket_id)"
        " LEFT JOIN tickets o ON o.ticket_id = a.other_id"
        f" WHERE a.arrival IN (SELECT arrival FROM ticket_events WHERE ticket_id {among})"
        f" ORDER BY a.arrival LIMIT {int(limit)}",
        parameters,
    )
    figures = []
    for name, mart in FIGURES.items():
        if mart.trace:
            keys = {k: e for k, e in mart.trace.items() if k != "week"}
            picked = ", ".join(f"{e}::VARCHAR AS {k}" for k, e in keys.items())
            # A figure of tickets does not count a report that has none.
            only = " AND t.ticket_id IS NOT NULL" if "t." in picked else ""
            for row in ask(con, f"SELECT DISTINCT {picked} {mine}{only} ORDER BY ALL LIMIT {int(limit)}", parameters):
                # What a figure has no value for cannot be asked for by value: the rest leads there too.
                line = ",".join(f"{k}={v}" for k, v in row.items() if v is not None)
                figures += [{"figure": name, "where": line}] if line else []
    told = {
        "decisions": decisions,
        "ticket decisions": regrouped,
        "related tickets": kinship.related(con, parameters[0], limit),
    }
    decided = {title: rows for title, rows in told.items() if rows}
    return Walked({"tickets": tickets, "history": history} | decided | {"messages": messages, "counted in": figures})


def _columns(names: Sequence[str]) -> str:
    return ", ".join(names)


def _verbatim(settings: Settings, what: str, where: str | None, messages: Rows) -> Rows:
    """Payloads as fetched; who asked for what is on disk before anything is shown."""
    places = [row["message"].split("/") for row in messages]
    log = settings.data_dir / "access.log"
    entry = {
        "at": utc_now().isoformat(), "user": user_name(), "asked": what, "where": where,
        "messages": [row["message"] for row in messages],
    }  # fmt: skip
    try:
        _append(log, orjson.dumps(entry) + b"\n")
    except OSError as error:
        raise PermanentError(
            f"--verbatim is written to {log} first, and that cannot be written ({error.strerror});"
            " run it as Kanal's account, with free space"
        ) from error
    landing = Landing(settings.landing_dir)
    shown = []
    for channel, stream, sequence, row in places:
        table = landing.read(BatchRef(channel, stream, int(sequence)), columns=["payload", "payload_type", "origin"])
        found = table.slice(int(row), 1).to_pylist()[0]
        shown.append(
            {
                "message": "/".join((channel, stream, sequence, row)), "origin": found["origin"],
                "type": found["payload_type"], "payload": found["payload"].decode("utf-8", "replace"),
            }
        )  # fmt: skip
    return shown


def _append(log: Path, line: bytes) -> None:
    handle = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(handle, line)
        os.fsync(handle)
    finally:
        os.close(handle)


def user_name() -> str:
    """Who is at the keyboard, for logs and decisions."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # an account without a name, as in containers
        return f"uid {os.getuid()}"


def _short(value: Any, most: int | None) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(WIB).strftime("%Y-%m-%d %H:%M")
    if isinstance(value, str) and most and len(value) > most:
        return f"{value[:most].rstrip()} ..."
    return value
