"""What each section of the trend report shows: its sentence, pictures and tables.

Belongs here: questions to the snapshot and how their answers are told. Not here: looks
(report.html.j2, charts), counting (marts).
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
from pipelines.sinks.mart_rows import UNKNOWN, UNKNOWN_NAME

_DAYS, _MONTHS, _HEAT_MONTHS, _HEAT_NARROW = 90, 24, 8, 4
_LIMIT, _PLACES = 10, 15
_LATE_START = timedelta(days=2)  # a first month that began so late is still a month


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
    comparable = row["complete"] and row["first"] <= before + _LATE_START
    today = row["built_at"].astimezone(WIB).date()
    last = min(row["newest"], max(today, row["first"]))  # a clock that was wrong somewhere does not stretch the page
    full = max(min(last, today - timedelta(days=1)), row["first"])
    return Span(row["month"], before, row["complete"], comparable, row["first"], last, full)


def sections(con: duckdb.DuckDBPyConnection, span: Span) -> list[Section]:
    """The page from top to bottom."""
    return [
        _volume(con, span),
        _categories(con, span),
        _over_time(con, span),
        _channels(con, span),
        _areas(con, span),
        _agencies(con),
        _sla(con, span),
        *sections_without_reports(con),
    ]


def sections_without_reports(con: duckdb.DuckDBPyConnection) -> list[Section]:
    """What can be told before the first report: streams heard of, messages set aside."""
    return [s for s in (_freshness(con), _quarantine(con)) if s]


# --- sections -------------------------------------------------------------------------------


def _volume(con: duckdb.DuckDBPyConnection, span: Span) -> Section:
    begin = span.full - timedelta(days=_DAYS - 1)
    counts = {
        row["said_day"]: row["n"]
        for row in ask(
            con, "SELECT said_day, count(*) AS n FROM reports WHERE said_day BETWEEN $begin AND $last GROUP BY 1",
            begin=begin - timedelta(days=6), last=span.full,
        )
    }  # fmt: skip
    days = [begin + timedelta(days=i) for i in range(_DAYS)]
    means = [sum(counts.get(d - timedelta(days=i), 0) for i in range(7)) / 7 for d in days]
    frame = pd.DataFrame({
        "day": [d.isoformat() for d in days], "reports": [counts.get(d, 0) for d in days], "mean": means,
    })  # fmt: skip
    rows = ask(
        con,
        "SELECT date_trunc('month', day)::DATE AS month, sum(reports)::BIGINT AS reports,"
        " sum(tickets_opened)::BIGINT AS tickets, sum(filtered)::BIGINT AS filtered,"
        " sum(quarantined)::BIGINT AS quarantined FROM volume_by_day WHERE day <= $last GROUP BY 1 ORDER BY 1 DESC LIMIT $most",
        last=span.last, most=_MONTHS,
    )[::-1]  # fmt: skip
    monthly = pd.DataFrame({
        "month": [say.short_month(r["month"]) for r in rows], "reports": [r["reports"] for r in rows],
        "complete": [span.first <= r["month"] + _LATE_START and r["month"] <= span.month and span.complete for r in rows],
    })  # fmt: skip
    busiest = max(days, key=lambda d: counts.get(d, 0))
    return Section(
        "volume",
        "Volume laporan",
        f"Rata-rata {say.number(means[-1], 1)} laporan per hari dalam 7 hari terakhir; hari tersibuk dalam {_DAYS} hari:"
        f" {say.day(busiest)} ({say.number(counts.get(busiest, 0))} laporan). Bulan yang belum utuh digambar pucat.",
        [
            _picture(
                f"Diagram batang laporan per hari dari {say.day(begin)} sampai {say.day(span.full)},"
                f" dengan garis rata-rata 7 hari; nilai terakhir rata-rata {say.number(means[-1], 1)}.",
                lambda width: charts.daily(frame.tail(_DAYS if width == charts.WIDE else _DAYS // 2), width),
            ),
            _picture(
                "Diagram batang laporan per bulan; bulan yang belum utuh lebih pucat. Angkanya ada di tabel di bawah.",
                lambda width: charts.months(monthly.tail(_MONTHS if width == charts.WIDE else 12), width),
            ),
        ],
        [
            Table(
                "Laporan per bulan",
                ["Bulan", "Laporan#", "Tiket dibuka#", "-Disaring#", "-Dikarantina#"],
                [[say.month(r["month"]), *map(say.number, (r["reports"], r["tickets"], r["filtered"], r["quarantined"]))]
                 for r in reversed(rows)],
                folded=True,
            )
        ],
    )  # fmt: skip


def _categories(con: duckdb.DuckDBPyConnection, span: Span) -> Section:
    rows = _lines(con, "categories", "category", span)
    return Section(
        "kategori",
        f"Kategori teratas, {_month(span)}",
        f"Sepuluh kategori dengan laporan terbanyak. {_compared(span)}",
        _ranking("Diagram batang kategori dengan laporan terbanyak", rows),
        [_top_table("Kategori", "Kategori lain", rows, span)],
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
        month=span.month, most=_HEAT_MONTHS, unknown=UNKNOWN, limit=_LIMIT,
    )  # fmt: skip
    months = sorted({r["month"] for r in rows})
    frame = pd.DataFrame({
        "month": [say.short_month(r["month"]) for r in rows], "name": [r["name"] for r in rows],
        "value": [r["value"] for r in rows],
    })  # fmt: skip
    newest = [say.short_month(m) for m in months[-_HEAT_NARROW:]]
    lead = "Jumlah laporan per bulan untuk kategori terbanyak; makin gelap makin banyak."
    if not rows:
        return Section("perkembangan", "Kategori dari bulan ke bulan", "Belum ada laporan dengan kategori yang pasti.")
    return Section(
        "perkembangan",
        "Kategori dari bulan ke bulan",
        lead,
        [
            _picture(
                f"Peta panas: {frame['name'].nunique()} kategori terbanyak kali {len(months)} bulan"
                f" sampai {say.month(months[-1])}, dengan jumlah laporan di setiap kotak.",
                lambda width: charts.heat(frame if width == charts.WIDE else frame[frame["month"].isin(newest)], width),
            )
        ],
    )


def _channels(con: duckdb.DuckDBPyConnection, span: Span) -> Section:
    rows = _lines(con, "channels", "channel", span)
    return Section(
        "kanal",
        f"Kanal teratas, {_month(span)}",
        f"Dari mana warga menyampaikan laporan. {_compared(span)}",
        _ranking("Diagram batang kanal dengan laporan terbanyak", rows),
        [_top_table("Kanal", "Kanal lain", rows, span)],
    )


def _areas(con: duckdb.DuckDBPyConnection, span: Span) -> Section:
    said = (
        "SELECT coalesce(kota, $unknown_name) AS kota, kecamatan, coalesce(kelurahan, $unknown_name) AS kelurahan,"
        " counted_kelurahan_code AS code, count(*) AS reports FROM reports LEFT JOIN areas a"
        " ON a.kelurahan_code = counted_kelurahan_code WHERE said_month = $month GROUP BY ALL"
    )
    values = {"unknown_name": UNKNOWN_NAME, "month": span.month}
    cities = ask(
        con, f"SELECT kota AS name, sum(reports)::BIGINT AS value FROM ({said}) GROUP BY 1"
        " ORDER BY kota = $unknown_name, value DESC, kota", **values,
    )  # fmt: skip
    places = ask(
        con, f"SELECT s.*, open, overdue, top_category_name FROM ({said}) s JOIN kelurahan_dashboard d"
        " ON d.kelurahan_code = s.code WHERE code <> $unknown ORDER BY reports DESC, code LIMIT $most",
        **values, unknown=UNKNOWN, most=_PLACES,
    )  # fmt: skip
    total = sum(row["value"] for row in cities)
    known = sum(row["value"] for row in cities if row["name"] != UNKNOWN_NAME)
    return Section(
        "wilayah",
        f"Wilayah, {_month(span)}",
        f"{say.percent(known / total if total else None)} laporan diketahui kelurahannya.",
        [_ranked("Diagram batang laporan per kota dan kabupaten administrasi", cities)] if cities else [],
        [
            Table(
                f"{_PLACES} kelurahan dengan laporan terbanyak",
                ["Kelurahan", "-Kecamatan", "Kota", "Laporan#", "-Terbuka#", "Lewat batas#", "-Kategori teratas 30 hari"],
                [[r["kelurahan"], r["kecamatan"] or say.NOTHING, r["kota"], say.number(r["reports"]), say.number(r["open"]),
                  say.number(r["overdue"]), r["top_category_name"] or say.NOTHING] for r in places],
            )
        ] if places else [],
    )  # fmt: skip


def _agencies(con: duckdb.DuckDBPyConnection) -> Section:
    rows = ask(
        con,
        "SELECT coalesce(any_value(agency_name), agency_id) AS name, count(*) FILTER (open) AS open,"
        " count(*) FILTER (overdue) AS overdue,"
        " count(*) FILTER (opened_at > b - INTERVAL 30 DAY AND opened_at <= b) AS opened,"
        " median(days_to_finish) AS days FROM tickets, (SELECT built_at AS b FROM about)"
        " WHERE superseded_by IS NULL GROUP BY agency_id ORDER BY open DESC, overdue DESC, agency_id LIMIT $most",
        most=_PLACES,
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
    alt = f"Diagram batang tiket terbuka per perangkat daerah, dibagi dalam dan lewat batas waktu; terbanyak {rows[0]['name']}." if rows else ""
    return Section(
        "perangkat-daerah",
        "Beban perangkat daerah",
        "Tiket yang sedang terbuka, dan berapa di antaranya melewati batas waktu penyelesaian.",
        [_picture(alt, lambda width: charts.load(frame, width))] if parts else [],
        [
            Table(
                "Perangkat daerah dengan tiket terbuka terbanyak",
                ["Perangkat daerah", "Terbuka#", "Lewat batas#", "-Masuk 30 hari#", "Median hari selesai#"],
                [[r["name"], *map(say.number, (r["open"], r["overdue"], r["opened"])), say.number(r["days"], 1)] for r in rows],
            )
        ],
    )


def _sla(con: duckdb.DuckDBPyConnection, span: Span) -> Section:
    rows = ask(
        con, "SELECT * FROM sla_by_month WHERE month <= $last ORDER BY month DESC LIMIT 12", last=span.last
    )[::-1]  # fmt: skip
    clocks = (("koordinasi tepat waktu", "coordination_ratio"), ("selesai tepat waktu", "in_time_ratio"))
    lines = [
        {"month": say.short_month(r["month"]), "clock": name, "share": r[column]}
        for name, column in clocks
        for r in rows
        if r[column] is not None
    ]
    frame = pd.DataFrame(lines)
    return Section(
        "batas-waktu",
        "Batas waktu layanan",
        "Dari tiket yang dibuka tiap bulan: berapa yang dikoordinasikan dan diselesaikan dalam batas waktunya. Bulan terakhir"
        " masih bisa berubah.",
        [
            _picture(
                "Diagram garis persentase koordinasi dan penyelesaian tepat waktu per bulan. Angkanya ada di tabel di bawah.",
                lambda width: charts.kept(frame if width == charts.WIDE else frame[frame["month"].isin(frame["month"].unique()[-6:])], width),
            )
        ] if lines else [],
        [
            Table(
                "Batas waktu menurut bulan tiket dibuka",
                ["Bulan", "-Tiket#", "Koordinasi tepat waktu#", "Selesai tepat waktu#", "-Terlambat#", "Median hari selesai#"],
                [[say.month(r["month"]), say.number(r["tickets"]), say.percent(r["coordination_ratio"]),
                  say.percent(r["in_time_ratio"]), say.number(r["late"]), say.number(r["median_days_to_finish"], 1)]
                 for r in reversed(rows)],
            )
        ],
    )  # fmt: skip


def _freshness(con: duckdb.DuckDBPyConnection) -> Section | None:
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
                [[r["name"], r["stream"], say.number(r["messages"]), say.moment(r["last_landed_at"]),
                  say.ago(r["hours_since_landed"])] for r in rows],
            )
        ],
    )  # fmt: skip


def _quarantine(con: duckdb.DuckDBPyConnection) -> Section | None:
    rows = ask(
        con,
        "SELECT coalesce(channel_name, channel) AS name, reason, count(*) AS n, max(landed_day) AS last FROM quarantine"
        " GROUP BY ALL ORDER BY n DESC, name, reason",
    )
    if not rows:
        return None
    shown = [[r["name"], r["reason"] or say.NOTHING, say.number(r["n"]), say.day(r["last"])] for r in rows[:_PLACES]]
    if rest := sum(r["n"] for r in rows[_PLACES:]):
        shown.append(["Lainnya", "alasan lain", say.number(rest), say.NOTHING])
    return Section(
        "karantina",
        "Pesan dikarantina",
        f"{say.number(sum(r['n'] for r in rows))} pesan tidak terbaca dan disisihkan dengan alasannya. Tidak ada yang dibuang.",
        tables=[Table("Karantina menurut kanal dan alasan", ["Kanal", "Alasan", "Pesan#", "-Terakhir"], shown)],
    )


# --- what sections share --------------------------------------------------------------------


def _month(span: Span) -> str:
    return say.month(span.month) + ("" if span.complete else " (bulan berjalan)")


def _compared(span: Span) -> str:
    if span.comparable:
        return f"Perubahan dihitung terhadap {say.month(span.before)}."
    return "Belum ada bulan pembanding yang utuh."


def _lines(con: duckdb.DuckDBPyConnection, what: str, key: str, span: Span) -> list[dict[str, Any]]:
    """The month's lines, most reports first, what is undecided last."""
    return ask(
        con,
        f"SELECT {key} AS key, coalesce({key}_name, {key}) AS name, reports AS value, * FROM top_{what}"
        f" WHERE period = 'month' AND period_start = $month ORDER BY {key} = $unknown, reports DESC, {key}",
        month=span.month,
        unknown=UNKNOWN,
    )


def _ranking(alt: str, rows: Sequence[dict[str, Any]]) -> list[Picture]:
    shown = [row for row in rows if row["key"] != UNKNOWN and row["value"]][:_LIMIT]
    return [_ranked(alt, shown)] if shown else []


def _ranked(alt: str, rows: Sequence[dict[str, Any]]) -> Picture:
    frame = pd.DataFrame({"name": [r["name"] for r in rows], "value": [r["value"] for r in rows]})
    told = ", ".join(f"{r['name']} {say.number(r['value'])}" for r in rows[:3])
    return _picture(f"{alt}: {told}{' dan seterusnya' if len(rows) > 3 else ''}.", lambda width: charts.ranked(frame, width))


def _top_table(title: str, others: str, rows: Sequence[dict[str, Any]], span: Span) -> Table:
    """The first ten, then the rest, the undecided and the sum, so that the column adds up."""
    known = [r for r in rows if r["key"] != UNKNOWN]
    shown = [_top_row(str(i), r["name"], [r], span) for i, r in enumerate(known[:_LIMIT], 1) if r["value"]]
    if rest := [r for r in known[_LIMIT:] if r["value"] or r["reports_before"]]:
        shown.append(_top_row("", f"{others} ({len(rest)})", rest, span))
    if undecided := [r for r in rows if r["key"] == UNKNOWN]:
        shown.append(_top_row("", undecided[0]["name"], undecided, span))
    shown.append(_top_row("", "Jumlah", rows, span))
    return Table(
        f"{title} menurut laporan, {_month(span)}",
        ["-No.", title, "Laporan#", "-Tiket#", "-Bagian#", f"-{say.short_month(span.before)}#", "Perubahan#"],
        shown,
        total=True,
    )


def _top_row(place: str, name: str, rows: Sequence[dict[str, Any]], span: Span) -> list[str]:
    now, before = (sum(r[c] for r in rows) for c in ("reports", "reports_before"))
    shares = [r["share"] for r in rows if r["share"] is not None]
    change = say.change(now, before) if span.comparable else say.NOTHING
    then = say.number(before) if span.comparable else say.NOTHING
    return [place, name, say.number(now), say.number(sum(r["tickets"] for r in rows)), say.percent(sum(shares)), then, change]


def _picture(alt: str, draw: Callable[[int], str]) -> Picture:
    # As images, not inline: the ids inside one SVG would clash with those of the next.
    wide, narrow = (
        "data:image/svg+xml;base64," + b64encode(draw(width).encode()).decode() for width in (charts.WIDE, charts.NARROW)
    )
    return Picture(alt, wide, narrow)
