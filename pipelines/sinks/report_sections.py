"""The sections of the trend report, from top to bottom: a sentence, pictures, tables.

Belongs here: their order, and those on what citizens said. Not here: those on what came of it (report_service), what
sections are made of (report_parts), looks (report.html.j2, charts), counting (marts).
"""

from __future__ import annotations

from datetime import timedelta

import duckdb
import pandas as pd

from pipelines.sinks import charts
from pipelines.sinks import report_service as service
from pipelines.sinks import wording as say
from pipelines.sinks.mart_rows import UNKNOWN, UNKNOWN_NAME
from pipelines.sinks.report_parts import (
    LATE_START,
    LIMIT,
    PLACES,
    Section,
    Span,
    Table,
    ask,
    compared,
    lines,
    month_of,
    picture,
    ranked,
    ranking,
    top_table,
)

_DAYS, _MONTHS, _HEAT_MONTHS, _HEAT_NARROW = 90, 24, 8, 4


def every(con: duckdb.DuckDBPyConnection, span: Span) -> list[Section]:
    """The page from top to bottom."""
    return [
        *filter(None, [_emergencies(con)]),
        _volume(con, span),
        _categories(con, span),
        _over_time(con, span),
        _channels(con, span),
        _areas(con, span),
        service.agencies(con),
        service.sla(con, span),
        *without_reports(con),
    ]


def without_reports(con: duckdb.DuckDBPyConnection) -> list[Section]:
    """What can be told before the first report: streams heard of, messages set aside."""
    return [s for s in (service.freshness(con), service.quarantine(con)) if s]


def _emergencies(con: duckdb.DuckDBPyConnection) -> Section | None:
    """What cannot wait, before all figures; None where there is nothing."""
    rows = ask(
        con, "SELECT *, count(*) OVER () AS n FROM emergencies ORDER BY since DESC, ticket_no LIMIT $most", most=PLACES
    )
    if not rows:
        return None
    count = rows[0]["n"]
    told = f"{say.number(count)} tiket terbuka menyebut bahaya bagi jiwa. Pastikan 112 sudah dihubungi, lalu tindak lanjuti."
    shown = f" Yang terbaru {len(rows)} ditampilkan." if count > len(rows) else ""
    return Section(
        "darurat",
        "Darurat yang masih terbuka",
        told + shown,
        tables=[
            Table(
                "Tiket darurat terbuka, terbaru di atas",
                ["Tiket", "Keadaan", "Kelurahan", "-Kanal", "Sejak"],
                [
                    [
                        r["ticket_no"],
                        r["emergency_label"],
                        r["kelurahan"] or UNKNOWN_NAME,
                        r["channel_name"] or say.NOTHING,
                        say.moment(r["since"]),
                    ]
                    for r in rows
                ],
            )
        ],
    )


def _volume(con: duckdb.DuckDBPyConnection, span: Span) -> Section:
    begin = span.full - timedelta(days=_DAYS - 1)
    counts = {
        row["said_day"]: row["n"]
        for row in ask(
            con,
            "SELECT said_day, count(*) AS n FROM reports WHERE said_day BETWEEN $begin AND $last GROUP BY 1",
            begin=begin - timedelta(days=6),
            last=span.full,
        )
    }
    days = [begin + timedelta(days=i) for i in range(_DAYS)]
    means = [sum(counts.get(d - timedelta(days=i), 0) for i in range(7)) / 7 for d in days]
    frame = pd.DataFrame(
        {
            "day": [d.isoformat() for d in days],
            "reports": [counts.get(d, 0) for d in days],
            "mean": means,
        }
    )
    rows = ask(
        con,
        "SELECT date_trunc('month', day)::DATE AS month, sum(reports)::BIGINT AS reports,"
        " sum(tickets_opened)::BIGINT AS tickets, sum(filtered)::BIGINT AS filtered,"
        " sum(quarantined)::BIGINT AS quarantined FROM volume_by_day WHERE day <= $last GROUP BY 1 ORDER BY 1 DESC LIMIT $most",
        last=span.last,
        most=_MONTHS,
    )[::-1]
    monthly = pd.DataFrame(
        {
            "month": [say.short_month(r["month"]) for r in rows],
            "reports": [r["reports"] for r in rows],
            "complete": [
                span.first <= r["month"] + LATE_START and r["month"] <= span.month and span.complete for r in rows
            ],
        }
    )
    busiest = max(days, key=lambda d: counts.get(d, 0))
    return Section(
        "volume",
        "Volume laporan",
        f"Rata-rata {say.number(means[-1], 1)} laporan per hari dalam 7 hari terakhir; hari tersibuk dalam {_DAYS} hari:"
        f" {say.day(busiest)} ({say.number(counts.get(busiest, 0))} laporan).",
        [
            picture(
                "Laporan per hari (batang) dan rata-rata 7 hari (garis)",
                f"Diagram batang laporan per hari dari {say.day(begin)} sampai {say.day(span.full)},"
                f" dengan garis rata-rata 7 hari; nilai terakhir rata-rata {say.number(means[-1], 1)}.",
                lambda width: charts.daily(frame.tail(_DAYS if width == charts.WIDE else _DAYS // 2), width),
            ),
            picture(
                "Laporan per bulan; pucat: bulan yang belum utuh",
                "Diagram batang laporan per bulan; bulan yang belum utuh lebih pucat. Angkanya ada di tabel di bawah.",
                lambda width: charts.months(monthly.tail(_MONTHS if width == charts.WIDE else 12), width),
            ),
        ],
        [
            Table(
                "Laporan per bulan",
                ["Bulan", "Laporan#", "Tiket dibuka#", "-Disaring#", "-Dikarantina#"],
                [
                    [
                        say.month(r["month"]),
                        *map(say.number, (r["reports"], r["tickets"], r["filtered"], r["quarantined"])),
                    ]
                    for r in reversed(rows)
                ],
                folded=True,
            )
        ],
    )


def _categories(con: duckdb.DuckDBPyConnection, span: Span) -> Section:
    rows = lines(con, "categories", "category", span)
    return Section(
        "kategori",
        f"Kategori teratas, {month_of(span)}",
        f"Sepuluh kategori dengan laporan terbanyak. {compared(span)}",
        ranking("Laporan per kategori", rows),
        [top_table("Kategori", "Kategori lain", rows, span)],
    )


def _over_time(con: duckdb.DuckDBPyConnection, span: Span) -> Section:
    rows = ask(
        con,
        "WITH m AS (SELECT DISTINCT period_start FROM top_categories WHERE period = 'month' AND period_start <= $month"
        " ORDER BY 1 DESC LIMIT $most),"
        " c AS (SELECT category, sum(reports) AS n FROM top_categories JOIN m USING (period_start)"
        " WHERE period = 'month' AND category <> $unknown GROUP BY 1 HAVING n > 0 ORDER BY n DESC, category LIMIT $limit)"
        " SELECT m.period_start AS month, coalesce(category_name, c.category) AS name, coalesce(reports, 0) AS value"
        " FROM m CROSS JOIN c LEFT JOIN (SELECT * FROM top_categories WHERE period = 'month') t"
        " ON t.period_start = m.period_start AND t.category = c.category ORDER BY c.n DESC, c.category, m.period_start",
        month=span.month,
        most=_HEAT_MONTHS,
        unknown=UNKNOWN,
        limit=LIMIT,
    )
    months = sorted({r["month"] for r in rows})
    frame = pd.DataFrame(
        {
            "month": [say.short_month(r["month"]) for r in rows],
            "name": [r["name"] for r in rows],
            "value": [r["value"] for r in rows],
        }
    )
    newest = [say.short_month(m) for m in months[-_HEAT_NARROW:]]
    if not rows:
        return Section("perkembangan", "Kategori dari bulan ke bulan", "Belum ada laporan dengan kategori yang pasti.")
    return Section(
        "perkembangan",
        "Kategori dari bulan ke bulan",
        "Apakah sebuah masalah sedang tumbuh, surut, atau berulang pada musimnya.",
        [
            picture(
                "Laporan per bulan untuk kategori terbanyak; makin gelap makin banyak",
                f"Peta panas: {frame['name'].nunique()} kategori terbanyak kali {len(months)} bulan"
                f" sampai {say.month(months[-1])}, dengan jumlah laporan di setiap kotak.",
                lambda width: charts.heat(frame if width == charts.WIDE else frame[frame["month"].isin(newest)], width),
            )
        ],
    )


def _channels(con: duckdb.DuckDBPyConnection, span: Span) -> Section:
    rows = lines(con, "channels", "channel", span)
    return Section(
        "kanal",
        f"Kanal teratas, {month_of(span)}",
        f"Dari mana warga menyampaikan laporan. {compared(span)}",
        ranking("Laporan per kanal", rows),
        [top_table("Kanal", "Kanal lain", rows, span)],
    )


def _areas(con: duckdb.DuckDBPyConnection, span: Span) -> Section:
    said = (
        "SELECT coalesce(kota, $unknown_name) AS kota, kecamatan, coalesce(kelurahan, $unknown_name) AS kelurahan,"
        " counted_kelurahan_code AS code, count(*) AS reports FROM reports LEFT JOIN areas a"
        " ON a.kelurahan_code = counted_kelurahan_code WHERE said_month = $month GROUP BY ALL"
    )
    values = {"unknown_name": UNKNOWN_NAME, "month": span.month}
    cities = ask(
        con,
        f"SELECT kota AS name, sum(reports)::BIGINT AS value FROM ({said}) GROUP BY 1"
        " ORDER BY kota = $unknown_name, value DESC, kota",
        **values,
    )
    places = ask(
        con,
        f"SELECT s.*, open, overdue, top_category_name FROM ({said}) s JOIN kelurahan_dashboard d"
        " ON d.kelurahan_code = s.code WHERE code <> $unknown ORDER BY reports DESC, code LIMIT $most",
        **values,
        unknown=UNKNOWN,
        most=PLACES,
    )
    total = sum(row["value"] for row in cities)
    known = sum(row["value"] for row in cities if row["name"] != UNKNOWN_NAME)
    return Section(
        "wilayah",
        f"Wilayah, {month_of(span)}",
        f"{say.percent(known / total if total else None)} laporan diketahui kelurahannya.",
        [ranked("Laporan per kota dan kabupaten administrasi", cities)] if cities else [],
        [
            Table(
                f"{PLACES} kelurahan dengan laporan terbanyak",
                [
                    "Kelurahan",
                    "-Kecamatan",
                    "Kota",
                    "Laporan#",
                    "-Terbuka#",
                    "Lewat batas#",
                    "-Kategori teratas 30 hari",
                ],
                [
                    [
                        r["kelurahan"],
                        r["kecamatan"] or say.NOTHING,
                        r["kota"],
                        say.number(r["reports"]),
                        say.number(r["open"]),
                        say.number(r["overdue"]),
                        r["top_category_name"] or say.NOTHING,
                    ]
                    for r in places
                ],
            )
        ]
        if places
        else [],
    )
