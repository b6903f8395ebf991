"""The trend report: one HTML file in Indonesian that needs no network, drawn from the snapshot.

Belongs here: reading the snapshot, the headline figures and sentences, writing the page. What each
section shows is in report_sections, how it looks in report.html.j2, what is counted in marts.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import jinja2

from pipelines.contracts import WIB
from pipelines.errors import PermanentError, TransientError
from pipelines.settings import Settings
from pipelines.sinks import report_parts as parts
from pipelines.sinks import report_sections as sections
from pipelines.sinks import wording as say

_STALE_HOURS = 7 * 24  # desks open once a week


@dataclass(frozen=True, slots=True)
class Card:
    """A headline figure. warn: the reader should act on it."""

    title: str
    value: str
    note: str
    warn: bool = False


def draw(settings: Settings, now: datetime) -> Path:
    """Write settings.report from the snapshot; returns its path.

    PermanentError where there is no snapshot, TransientError where it cannot be read or the page
    not be written; a page already there stays.
    """
    if not settings.analytics.exists():
        raise PermanentError(f"report: there is no snapshot at {settings.analytics} yet; run: kanal run")
    try:
        with duckdb.connect(str(settings.analytics.resolve()), read_only=True) as con:
            html = page(con, now)
        _write(settings.report, html)
    except (duckdb.IOException, OSError) as error:
        raise TransientError(
            f"report: {settings.report} cannot be written from {settings.analytics} ({type(error).__name__});"
            " the last one stays. Check free space and permissions, then run: kanal run"
        ) from error
    return settings.report


def _write(path: Path, html: str) -> None:
    """All of it or nothing; two processes that draw at once do not mix their pages."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temp = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(html)
            file.flush()
            os.fsync(file.fileno())
        temp.chmod(0o640)
        temp.replace(path)
    except OSError:
        temp.unlink(missing_ok=True)
        raise


def page(con: duckdb.DuckDBPyConnection, now: datetime) -> str:
    """The whole page of an open snapshot."""
    con.execute("SET TimeZone = 'UTC'")
    about = parts.ask(con, "SELECT * FROM about")[0]
    span = parts.span_of(con) if about["reports"] else None
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return templates.get_template("report.html.j2").render(
        about=about,
        span=span,
        cards=_cards(con, about, span) if span else [],
        findings=_findings(con, span) if span else [],
        sections=sections.every(con, span) if span else sections.without_reports(con),
        example=_example(con, span) if span else None,
        drawn_at=say.moment(now),
        built_at=say.moment(about["built_at"]),
        number=say.number,
    )


def _cards(con: duckdb.DuckDBPyConnection, about: dict[str, Any], span: parts.Span) -> list[Card]:
    month, now, before = say.month(span.month), *_totals(con, span)
    live = parts.ask(
        con,
        "SELECT count(*) FILTER (open) AS open, count(*) FILTER (overdue) AS overdue,"
        " count(*) FILTER (open AND t.review_reason IS NOT NULL) AS review,"
        " count(*) FILTER (r.review_reason IS NULL) / nullif(count(*), 0) AS automatic"
        " FROM tickets t JOIN reports r ON r.report_id = t.first_report_id WHERE superseded_by IS NULL",
    )[0] | {"sla": _share_in_time(con, span)}
    channels = parts.ask(
        con,
        "SELECT count(*) FILTER (reports > 0) AS n FROM top_channels WHERE period = 'month' AND period_start = $month",
        month=span.month,
    )[0]["n"]
    since = say.day(about["first_occurred_at"].astimezone(WIB).date())
    return [
        Card(f"Laporan, {month}", say.number(now["reports"]), _against(span, now, before, "reports")),
        Card(f"Tiket, {month}", say.number(now["tickets"]), _against(span, now, before, "tickets")),
        Card("Laporan seluruhnya", say.number(about["reports"]), f"{say.number(about['tickets'])} tiket sejak {since}"),
        Card("Kanal yang menyampaikan", say.number(channels), month),
        Card("Ditujukan otomatis", say.percent(live["automatic"]), "tiket yang tidak perlu ditinjau petugas"),
        Card("Selesai tepat waktu", say.percent(live["sla"]), f"tiket yang dibuka {month}"),
        Card("Menunggu ditinjau", say.number(live["review"]), "tiket terbuka", warn=live["review"] > 0),
        Card(
            "Lewat batas waktu",
            say.number(live["overdue"]),
            f"dari {say.number(live['open'])} tiket terbuka",
            warn=live["overdue"] > 0,
        ),
    ]


def _totals(con: duckdb.DuckDBPyConnection, span: parts.Span) -> tuple[dict[str, int], dict[str, int]]:
    """(reports and tickets of the month, of the month before)."""
    sql = (
        "SELECT coalesce(sum(reports), 0)::BIGINT AS reports, coalesce(sum(tickets), 0)::BIGINT AS tickets"
        " FROM top_channels WHERE period = 'month' AND period_start = $month"
    )
    return parts.ask(con, sql, month=span.month)[0], parts.ask(con, sql, month=span.before)[0]


def _against(span: parts.Span, now: dict[str, int], before: dict[str, int], what: str) -> str:
    if not span.comparable or not before[what]:
        return "belum ada pembanding" if span.complete else "bulan berjalan"
    return f"{say.change(now[what], before[what])} dari {say.month(span.before)}"


def _share_in_time(con: duckdb.DuckDBPyConnection, span: parts.Span) -> float | None:
    rows = parts.ask(con, "SELECT in_time_ratio FROM sla_by_month WHERE month = $month", month=span.month)
    return rows[0]["in_time_ratio"] if rows else None


def _findings(con: duckdb.DuckDBPyConnection, span: parts.Span) -> list[str]:
    """What a reader with half a minute should know, in sentences."""
    now, before = _totals(con, span)
    month, against = say.month(span.month), span.comparable and before["reports"]
    compared = (
        f", {say.change_words(now['reports'], before['reports'])} dari {say.month(span.before)}" if against else ""
    )
    told = [f"Sepanjang {month} warga menyampaikan {say.number(now['reports'])} laporan{compared}."]
    top = _top(con, "categories", "category", span)
    if top:
        first = f"{top[0]['name']} ({say.percent(top[0]['share'])})"
        rest = _listed([f"{row['name']} ({say.percent(row['share'])})" for row in top[1:3]])
        told.append(f"Yang terbanyak dilaporkan: {first}" + (f", disusul {rest}." if rest else "."))
    if against and (risen := max(top, key=lambda row: row["change"], default=None)) and risen["change"] > 0:
        told.append(
            f"Kenaikan terbesar: {risen['name']}, dari {say.number(risen['reports_before'])}"
            f" menjadi {say.number(risen['reports'])} laporan."
        )
    if channels := _top(con, "channels", "channel", span):
        told.append(f"Kanal terbesar: {channels[0]['name']}, {say.percent(channels[0]['share'])} dari semua laporan.")
    late = parts.ask(
        con,
        "SELECT coalesce(agency_name, agency_id) AS name, sum(overdue)::BIGINT AS overdue FROM agency_load GROUP BY agency_id, agency_name"
        " HAVING sum(overdue) > 0 ORDER BY 2 DESC, 1 LIMIT 1",
    )
    if late:
        told.append(
            f"Tiket lewat batas waktu terbanyak ada di {late[0]['name']}: {say.number(late[0]['overdue'])} tiket."
        )
    silent = parts.ask(
        con,
        "SELECT coalesce(channel_name, channel) AS name, min(hours_since_landed) AS hours FROM channel_freshness"
        " WHERE NOT starts_with(channel, '_') GROUP BY ALL"
        f" HAVING min(hours_since_landed) > {_STALE_HOURS} ORDER BY 2 DESC",
    )
    if silent:
        names = _listed([f"{row['name']} ({say.ago(row['hours'])})" for row in silent[:4]])
        told.append(f"Kanal tanpa kiriman baru lebih dari 7 hari: {names}.")
    return told


def _top(con: duckdb.DuckDBPyConnection, what: str, key: str, span: parts.Span) -> list[dict[str, Any]]:
    return parts.ask(
        con,
        f"SELECT coalesce({key}_name, {key}) AS name, * FROM top_{what} WHERE period = 'month' AND period_start = $month"
        f" AND rank IS NOT NULL ORDER BY rank, {key}",
        month=span.month,
    )


def _listed(words: Sequence[str]) -> str:
    """a, b dan c"""
    return " dan ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def _example(con: duckdb.DuckDBPyConnection, span: parts.Span) -> str:
    """A command that asks for the reports behind the largest figure of the page."""
    top = _top(con, "categories", "category", span)
    return f"kanal trace top_categories --where month={span.month:%Y-%m},category={top[0]['category'] if top else 'unknown'}"
