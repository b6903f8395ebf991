"""The trend report, drawn from real snapshots and read back as a page."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from selectolax.lexbor import LexborHTMLParser

from pipelines import knowledge
from pipelines.errors import PermanentError, TransientError
from pipelines.settings import Settings
from pipelines.sinks import charts, marts, report, snapshot
from pipelines.sinks import wording as say
from tests import made

HALF_YEAR = made.rows(3_000)
NAMES = knowledge.names(made.settings(Path()))


def publish(settings: Settings, rows: dict[str, pa.Table] | None, names: knowledge.Names = NAMES) -> LexborHTMLParser:
    """The page, parsed, of a warehouse that holds `rows`."""
    with made.warehouse(settings, rows) as warehouse:
        snapshot.build(settings, warehouse, names, made.NOW)
    return LexborHTMLParser(report.draw(settings, made.NOW).read_text("utf-8"))


def words(page: Any, selector: str) -> list[str]:
    return [" ".join(node.text().split()) for node in page.css(selector)]


def ask(settings: Settings, sql: str, *values: Any) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(settings.analytics.resolve()), read_only=True) as con:
        return con.execute(sql, list(values)).fetchall()


@pytest.fixture(scope="module")
def half_year(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, LexborHTMLParser]:
    settings = made.settings(tmp_path_factory.mktemp("report"))
    return settings, publish(settings, HALF_YEAR)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return made.settings(tmp_path)


def test_the_headline_figures_are_those_of_the_snapshot(half_year: tuple[Settings, LexborHTMLParser]) -> None:
    settings, page = half_year
    reports, before, tickets, waiting, late, still = ask(
        settings,
        "SELECT (SELECT sum(reports) FROM top_channels WHERE period = 'month' AND period_start = '2026-05-01'),"
        " (SELECT sum(reports) FROM top_channels WHERE period = 'month' AND period_start = '2026-04-01'),"
        " (SELECT sum(tickets) FROM top_channels WHERE period = 'month' AND period_start = '2026-05-01'),"
        " (SELECT count(*) FROM review_queue), count(*) FILTER (overdue), count(*) FILTER (open) FROM tickets",
    )[0]
    cards = dict(zip(words(page, ".cards dt"), words(page, ".cards .value"), strict=True))
    assert cards == cards | {
        "Laporan, Mei 2026": str(reports),
        "Tiket, Mei 2026": str(tickets),
        "Laporan seluruhnya": "3.000",
        "Menunggu ditinjau": str(waiting),
        "Lewat batas waktu": str(late),
    }
    notes = words(page, ".cards .note")
    assert notes[0] == f"{say.change(reports, before)} dari April 2026"
    assert notes[-1] == f"dari {still} tiket terbuka"
    assert words(page, "header p") == ["Semua kanal resmi dalam satu laporan. Data per 15 Juni 2026 pukul 10.00 WIB"]


def test_open_emergencies_stand_first_with_what_to_do_where_and_since_when(
    half_year: tuple[Settings, LexborHTMLParser],
) -> None:
    settings, page = half_year
    rows = ask(settings, "SELECT ticket_no, emergency_label, kelurahan, channel_name, since FROM emergencies")
    assert rows and words(page, "main section h2")[1] == "Darurat yang masih terbuka"
    cells = words(page, "#darurat tbody td")
    assert [cells[at : at + 5] for at in range(0, len(cells), 5)] == [
        [number, label, kelurahan or "Belum ditentukan", channel, say.moment(since)]
        for number, label, kelurahan, channel, since in rows
    ][:15]
    assert words(page, "#darurat .lead")[0].startswith(f"{len(rows)} tiket terbuka menyebut bahaya bagi jiwa.")


def test_without_an_open_emergency_the_report_says_nothing_of_them(settings: Settings) -> None:
    rows = made.rows(40, days=20)
    calm = pa.array([False] * rows["tickets"].num_rows)
    at = rows["tickets"].schema.get_field_index("emergency")
    rows["tickets"] = rows["tickets"].set_column(at, rows["tickets"].field(at), calm)
    assert publish(settings, rows).css("#darurat") == []


def test_the_category_table_lists_ten_then_the_rest_and_adds_up(half_year: tuple[Settings, LexborHTMLParser]) -> None:
    settings, page = half_year
    rows = [words(row, "td") for row in page.css("#kategori tbody tr")]
    expected = ask(
        settings,
        "SELECT category_name, reports, tickets, reports_before FROM top_categories WHERE period = 'month'"
        " AND period_start = '2026-05-01' AND category <> 'unknown' ORDER BY reports DESC, category LIMIT 10",
    )
    assert [(r[1], int(r[2]), int(r[3]), int(r[5])) for r in rows[:10]] == expected
    assert [r[1] for r in rows[10:]] == ["Kategori lain (4)", "Belum ditentukan", "Jumlah"]
    for column in (2, 3, 5):
        assert sum(int(r[column]) for r in rows[:-1]) == int(rows[-1][column])
    assert rows[-1][4] == "100,0%"


def test_the_command_in_the_footer_finds_the_reports_of_the_figure_it_names(
    half_year: tuple[Settings, LexborHTMLParser],
) -> None:
    settings, page = half_year
    command = words(page, "footer code")[0]
    found = re.fullmatch(r"kanal trace (\w+) --where (\S+)", command)
    assert found is not None
    sql, values = marts.lineage(found[1], dict(pair.split("=") for pair in found[2].split(",")))
    assert len(ask(settings, sql, *values)) == int(words(page, "#kategori tbody tr td")[2])


def test_a_silent_channel_is_told_of_in_the_summary(half_year: tuple[Settings, LexborHTMLParser]) -> None:
    _, page = half_year
    assert "Kanal tanpa kiriman baru lebih dari 7 hari: Pendopo Balai Kota (30 hari)." in words(page, ".findings li")


def test_every_picture_is_described_and_drawn_for_screen_and_phone(
    half_year: tuple[Settings, LexborHTMLParser],
) -> None:
    _, page = half_year
    figures = page.css("figure")
    assert len(figures) == 8
    for figure in figures:
        image, source = figure.css_first("img"), figure.css_first("source")
        assert len(image.attributes["alt"]) > 40
        assert figure.css_first("figcaption").text()
        for address, width in ((image.attributes["src"], charts.WIDE), (source.attributes["srcset"], charts.NARROW)):
            svg = base64.b64decode(address.removeprefix("data:image/svg+xml;base64,")).decode()
            assert f'width="{width}"' in svg
            assert not re.search(r"<script|<image|href=|url\((?!#)", svg)


def test_the_page_needs_nothing_from_anywhere_and_runs_nothing(half_year: tuple[Settings, LexborHTMLParser]) -> None:
    settings, page = half_year
    text = settings.report.read_text("utf-8")
    assert not re.search(r"https?:|<script|@import|\son\w+=", text)
    assert page.css_first("html").attributes["lang"] == "id"
    policy = page.css_first("meta[http-equiv]").attributes["content"]
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert len(text) < 600_000


def test_the_page_repeats_no_word_of_any_citizen(half_year: tuple[Settings, LexborHTMLParser]) -> None:
    settings, _ = half_year
    text = settings.report.read_text("utf-8")
    said = {said for table in ("text", "address_text") for said in HALF_YEAR["reports"][table].to_pylist()}
    assert [s for s in said if s in text] == []
    assert made.CANARY not in text


def test_hostile_names_and_reasons_are_only_ever_text(settings: Settings) -> None:
    evil = '"><script>alert(1)</script><img src=x onerror=alert(2)>'
    names = replace(
        NAMES,
        categories=dict.fromkeys(NAMES.categories, evil),
        channels={key: f"{evil}{key}" for key in NAMES.channels},
        agencies={key: f"{evil}{key}" for key in NAMES.agencies},
        kelurahan=NAMES.kelurahan.assign(kelurahan=evil, kecamatan=evil, kota=evil),
    )
    rows = made.rows(60, days=60)
    reasons = pa.array([evil if r else None for r in rows["messages"]["reason"].to_pylist()], pa.string())
    place = rows["messages"].schema.get_field_index("reason")
    rows["messages"] = rows["messages"].set_column(place, rows["messages"].field(place), reasons)
    page = publish(settings, rows, names)
    assert page.css("script") == []
    assert [dict(image.attributes) for image in page.css("img") if "onerror" in image.attributes] == []
    assert evil in words(page, "#kategori td")
    assert any(evil in image.attributes["alt"] for image in page.css("img"))
    for image in page.css("img"):
        svg = base64.b64decode(image.attributes["src"].split(",")[1]).decode()
        assert "<script" not in svg


def test_an_empty_warehouse_makes_a_page_that_says_so(settings: Settings) -> None:
    page = publish(settings, None)
    assert words(page, "h2") == ["Belum ada laporan", "Cara membaca angka"]
    assert "kanal run" in words(page, "main code")
    assert page.css("figure, table, .cards") == []


@pytest.mark.parametrize(
    ("reports", "days", "earlier"), [(1, 1, 0), (2, 2, 0), (12, 3, 1_000), (80, 9, 20), (60, 400, 0)]
)
def test_little_or_old_or_sparse_data_still_make_a_page(
    settings: Settings, reports: int, days: int, earlier: int
) -> None:
    until = made.NOW - timedelta(days=earlier)
    page = publish(settings, made.rows(reports, days=days, until=until))
    assert words(page, ".cards .value")[2] == str(reports)
    assert "nan" not in page.css_first("main").text().lower().split()


def test_thanks_alone_are_reports_without_tickets(settings: Settings) -> None:
    rows = made.rows(20, days=5)
    for name in ("tickets", "links", "ticket_events"):
        rows[name] = rows[name].slice(0, 0)
    page = publish(settings, rows)
    cards = dict(zip(words(page, ".cards dt"), words(page, ".cards .value"), strict=True))
    assert (cards["Tiket, Juni 2026"], cards["Ditujukan otomatis"], cards["Lewat batas waktu"]) == (
        "0",
        say.NOTHING,
        "0",
    )


def test_undecided_categories_alone_still_make_a_page(settings: Settings) -> None:
    rows = made.rows(20, days=5)
    for name in ("tickets", "reports"):
        place = rows[name].schema.get_field_index("category")
        nothing = pa.nulls(rows[name].num_rows, pa.string())
        rows[name] = rows[name].set_column(place, rows[name].field(place), nothing)
    page = publish(settings, rows)
    assert words(page, "#kategori tbody tr td")[1] == "Belum ditentukan"
    assert words(page, "#perkembangan .lead") == ["Belum ada laporan dengan kategori yang pasti."]


def test_a_page_that_cannot_be_written_leaves_the_old_one(settings: Settings) -> None:
    publish(settings, None)
    settings.report.unlink()
    settings.report.mkdir()
    with pytest.raises(TransientError, match="the last one stays"):
        report.draw(settings, made.NOW)
    assert sorted(settings.data_dir.glob(".report*")) == []


def test_without_a_snapshot_there_is_nothing_to_draw(settings: Settings) -> None:
    with pytest.raises(PermanentError, match="run: kanal run"):
        report.draw(settings, made.NOW)


def test_numbers_shares_changes_and_times_read_as_indonesian() -> None:
    assert [say.number(1234567), say.number(1234.56, 1), say.number(0), say.number(None)] == [
        "1.234.567",
        "1.234,6",
        "0",
        "–",
    ]
    assert [say.percent(0.1234), say.percent(1.0), say.percent(None)] == ["12,3%", "100,0%", "–"]
    assert [say.change(*pair) for pair in ((110, 100), (90, 100), (5, 5), (3, 0), (0, 0))] == [
        "▲ 10,0%",
        "▼ 10,0%",
        "tetap",
        "baru",
        "–",
    ]
    assert say.moment(made.NOW + timedelta(hours=14)) == "16 Juni 2026 pukul 00.00 WIB"
    assert [say.ago(hours) for hours in (0.4, 47.4, 48, 720.5, None)] == ["0 jam", "47 jam", "2 hari", "30 hari", "–"]
