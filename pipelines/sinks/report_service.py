"""Sections of the trend report on what comes of reports: load and deadlines of agencies, streams that fell silent, messages
set aside.

Belongs here: questions to the snapshot and how their answers are told. Not here: the order of sections and what citizens
said (report_sections), what sections are made of (report_parts).
"""

from __future__ import annotations

import duckdb
import pandas as pd

from pipelines.sinks import charts
from pipelines.sinks import wording as say
from pipelines.sinks.report_parts import PLACES, Section, Span, Table, ask, picture


def agencies(con: duckdb.DuckDBPyConnection) -> Section:
    rows = ask(
        con,
        "SELECT coalesce(any_value(agency_name), agency_id) AS name, count(*) FILTER (open) AS open,"
        " count(*) FILTER (overdue) AS overdue,"
        " count(*) FILTER (opened_at > b - INTERVAL 30 DAY AND opened_at <= b) AS opened,"
        " median(days_to_finish) AS days FROM tickets, (SELECT built_at AS b FROM about)"
        " WHERE superseded_by IS NULL GROUP BY agency_id ORDER BY open DESC, overdue DESC, agency_id LIMIT $most",
        most=PLACES,
    )
    parts = [
        {"name": r["name"], "part": part, "place": place, "value": value}
        for r in rows
        if r["open"]
        for place, (part, value) in enumerate(
            (("dalam batas waktu", r["open"] - r["overdue"]), ("lewat batas waktu", r["overdue"]))
        )
    ]
    frame = pd.DataFrame(parts)
    most = rows[0]["name"] if rows else say.NOTHING
    alt = f"Diagram batang tiket terbuka per perangkat daerah, dibagi dalam dan lewat batas waktu; terbanyak {most}."
    return Section(
        "perangkat-daerah",
        "Beban perangkat daerah",
        "Tiket yang sedang terbuka, dan berapa di antaranya melewati batas waktu penyelesaian.",
        [picture("Tiket terbuka per perangkat daerah", alt, lambda width: charts.load(frame, width))] if parts else [],
        [
            Table(
                "Perangkat daerah dengan tiket terbuka terbanyak",
                ["Perangkat daerah", "Terbuka#", "Lewat batas#", "-Masuk 30 hari#", "Median hari selesai#"],
                [
                    [r["name"], *map(say.number, (r["open"], r["overdue"], r["opened"])), say.number(r["days"], 1)]
                    for r in rows
                ],
            )
        ],
    )


def sla(con: duckdb.DuckDBPyConnection, span: Span) -> Section:
    rows = ask(con, "SELECT * FROM sla_by_month WHERE month <= $last ORDER BY month DESC LIMIT 12", last=span.last)[
        ::-1
    ]
    clocks = (("koordinasi tepat waktu", "coordination_ratio"), ("selesai tepat waktu", "in_time_ratio"))
    shares = [
        {"month": say.short_month(r["month"]), "clock": name, "share": r[column]}
        for name, column in clocks
        for r in rows
        if r[column] is not None
    ]
    frame = pd.DataFrame(shares)
    newest = [say.short_month(r["month"]) for r in rows[-6:]]
    return Section(
        "batas-waktu",
        "Batas waktu layanan",
        "Dari tiket yang dibuka tiap bulan: berapa yang dikoordinasikan dan diselesaikan dalam batas waktunya. Bulan terakhir"
        " masih bisa berubah.",
        [
            picture(
                "Tepat waktu menurut bulan tiket dibuka",
                "Diagram garis persentase koordinasi dan penyelesaian tepat waktu per bulan. Angkanya ada di tabel di bawah.",
                lambda width: charts.kept(frame if width == charts.WIDE else frame[frame["month"].isin(newest)], width),
            )
        ]
        if shares
        else [],
        [
            Table(
                "Batas waktu menurut bulan tiket dibuka",
                [
                    "Bulan",
                    "-Tiket#",
                    "Koordinasi tepat waktu#",
                    "Selesai tepat waktu#",
                    "-Terlambat#",
                    "Median hari selesai#",
                ],
                [
                    [
                        say.month(r["month"]),
                        say.number(r["tickets"]),
                        say.percent(r["coordination_ratio"]),
                        say.percent(r["in_time_ratio"]),
                        say.number(r["late"]),
                        say.number(r["median_days_to_finish"], 1),
                    ]
                    for r in reversed(rows)
                ],
            )
        ],
    )


def freshness(con: duckdb.DuckDBPyConnection) -> Section | None:
    rows = ask(con, "SELECT *, coalesce(channel_name, channel) AS name FROM channel_freshness ORDER BY name, stream")
    if not rows:
        return None
    return Section(
        "kesegaran",
        "Kesegaran kanal",
        "Kapan tiap aliran terakhir mengirim sesuatu. Kanal yang lama diam bisa berarti sambungannya putus.",
        tables=[
            Table(
                "Aliran per kanal",
                ["Kanal", "Aliran", "-Pesan#", "Terakhir masuk", "Sejak#"],
                [
                    [
                        r["name"],
                        r["stream"],
                        say.number(r["messages"]),
                        say.moment(r["last_landed_at"]),
                        say.ago(r["hours_since_landed"]),
                    ]
                    for r in rows
                ],
            )
        ],
    )


def quarantine(con: duckdb.DuckDBPyConnection) -> Section | None:
    rows = ask(
        con,
        "SELECT coalesce(channel_name, channel) AS name, reason, count(*) AS n, max(landed_day) AS last FROM quarantine"
        " GROUP BY ALL ORDER BY n DESC, name, reason",
    )
    if not rows:
        return None
    shown = [[r["name"], r["reason"] or say.NOTHING, say.number(r["n"]), say.day(r["last"])] for r in rows[:PLACES]]
    if rest := sum(r["n"] for r in rows[PLACES:]):
        shown.append(["Lainnya", "alasan lain", say.number(rest), say.NOTHING])
    return Section(
        "karantina",
        "Pesan dikarantina",
        f"{say.number(sum(r['n'] for r in rows))} pesan tidak terbaca dan disisihkan dengan alasannya. Tidak ada yang dibuang.",
        tables=[Table("Karantina menurut kanal dan alasan", ["Kanal", "Alasan", "Pesan#", "-Terakhir"], shown)],
    )
