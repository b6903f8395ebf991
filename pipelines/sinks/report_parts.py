"""What the trend report is made of: the month it speaks of, sections, pictures, tables, rankings.

Belongs here: shapes that the template knows, and what several sections share. Not here: what each
section shows (report_sections), looks (report.html.j2, charts), counting (marts).
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import duckdb
import pandas as pd

from pipelines.contracts import WIB
from pipelines.sinks import charts
from pipelines.sinks import wording as say
from pipelines.sinks.mart_rows import UNKNOWN

LIMIT, PLACES = 10, 15  # rows of a ranking and of a table of places, agencies or reasons
LATE_START = timedelta(days=2)  # a first month that began so late is still a month


@dataclass(frozen=True, slots=True)
class Span:
    """The month the page speaks of: the latest complete one, else the running one.

    comparable: the month before lies wholly in the data. first, last: oldest and newest day of it;
    full: newest day that is over.
    """

    month: date
    before: date
    complete: bool
    comparable: bool
    first: date
    last: date
    full: date


@dataclass(frozen=True, slots=True)
class Picture:
    """caption: what it shows; alt: what is to be seen, for those who do not see it. wide, narrow: data addresses."""

    caption: str
    alt: str
    wide: str
    narrow: str


@dataclass(frozen=True, slots=True)
class Table:
    """columns: titles; a trailing # sets numbers to the right, a leading - hides it on phones.

    total: the last row sums up. folded: shown on demand.
    """

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    total: bool = False
    folded: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    id: str
    title: str
    lead: str
    pictures: Sequence[Picture] = ()
    tables: Sequence[Table] = field(default=())


def ask(con: duckdb.DuckDBPyConnection, sql: str, **values: Any) -> list[dict[str, Any]]:
    return con.sql(sql, params=values).to_arrow_table().to_pylist()


def span_of(con: duckdb.DuckDBPyConnection) -> Span:
    """Of a snapshot that holds reports."""
    row = ask(
        con,
        "SELECT coalesce(max(period_start) FILTER (complete), min(period_start)) AS month,"
        " coalesce(bool_or(complete), false) AS complete,"
        " (SELECT min(said_day) FROM reports) AS first, (SELECT max(said_day) FROM reports) AS newest,"
        " (SELECT built_at FROM about) AS built_at FROM top_channels WHERE period = 'month' AND reports > 0",
    )[0]
    before = (row["month"] - timedelta(days=1)).replace(day=1)
    comparable = row["complete"] and row["first"] <= before + LATE_START
    today = row["built_at"].astimezone(WIB).date()
    last = min(row["newest"], max(today, row["first"]))  # a clock that was wrong somewhere does not stretch the page
    full = max(min(last, today - timedelta(days=1)), row["first"])
    return Span(row["month"], before, row["complete"], comparable, row["first"], last, full)


# --- what sections share --------------------------------------------------------------------


def month_of(span: Span) -> str:
    return say.month(span.month) + ("" if span.complete else " (bulan berjalan)")


def compared(span: Span) -> str:
    if span.comparable:
        return f"Perubahan dihitung terhadap {say.month(span.before)}."
    return "Belum ada bulan pembanding yang utuh."


def lines(con: duckdb.DuckDBPyConnection, what: str, key: str, span: Span) -> list[dict[str, Any]]:
    """The month's lines, most reports first, what is undecided last."""
    return ask(
        con,
        f"SELECT {key} AS key, coalesce({key}_name, {key}) AS name, reports AS value, * FROM top_{what}"
        f" WHERE period = 'month' AND period_start = $month ORDER BY {key} = $unknown, reports DESC, {key}",
        month=span.month,
        unknown=UNKNOWN,
    )


def ranking(caption: str, rows: Sequence[dict[str, Any]]) -> list[Picture]:
    shown = [row for row in rows if row["key"] != UNKNOWN and row["value"]][:LIMIT]
    return [ranked(caption, shown)] if shown else []


def ranked(caption: str, rows: Sequence[dict[str, Any]]) -> Picture:
    frame = pd.DataFrame({"name": [r["name"] for r in rows], "value": [r["value"] for r in rows]})
    told = ", ".join(f"{r['name']} {say.number(r['value'])}" for r in rows[:3])
    more = " dan seterusnya" if len(rows) > 3 else ""
    return picture(
        caption, f"Diagram batang, terbanyak di atas: {told}{more}.", lambda width: charts.ranked(frame, width)
    )


def top_table(title: str, others: str, rows: Sequence[dict[str, Any]], span: Span) -> Table:
    """The first ten, then the rest, the undecided and the sum, so that the column adds up."""
    known = [r for r in rows if r["key"] != UNKNOWN]
    first = [r for r in known if r["value"]][:LIMIT]
    shown = [_top_row(str(place), r["name"], [r], span) for place, r in enumerate(first, 1)]
    if rest := [r for r in known if r not in first and (r["value"] or r["reports_before"])]:
        shown.append(_top_row("", f"{others} ({len(rest)})", rest, span))
    if undecided := [r for r in rows if r["key"] == UNKNOWN]:
        shown.append(_top_row("", undecided[0]["name"], undecided, span))
    shown.append(_top_row("", "Jumlah", rows, span))
    return Table(
        f"{title} menurut laporan, {month_of(span)}",
        ["-No.", title, "Laporan#", "-Tiket#", "-Bagian#", f"-{say.short_month(span.before)}#", "Perubahan#"],
        shown,
        total=True,
    )


def _top_row(place: str, name: str, rows: Sequence[dict[str, Any]], span: Span) -> list[str]:
    now, before = (sum(r[c] for r in rows) for c in ("reports", "reports_before"))
    shares = [r["share"] for r in rows if r["share"] is not None]
    change = say.change(now, before) if span.comparable else say.NOTHING
    then = say.number(before) if span.comparable else say.NOTHING
    return [
        place,
        name,
        say.number(now),
        say.number(sum(r["tickets"] for r in rows)),
        say.percent(sum(shares)),
        then,
        change,
    ]


def picture(caption: str, alt: str, draw: Callable[[int], str]) -> Picture:
    """draw: SVG text for a width."""
    # As images, not inline: the ids inside one SVG would clash with those of the next.
    wide, narrow = (
        "data:image/svg+xml;base64," + b64encode(draw(width).encode()).decode()
        for width in (charts.WIDE, charts.NARROW)
    )
    return Picture(caption, alt, wide, narrow)
