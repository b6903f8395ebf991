"""What the text of one cell says, in the many ways people and programs write it."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.sources import cells

WIB = ZoneInfo("Asia/Jakarta")
EVENING = datetime(2026, 5, 4, 12, 12, tzinfo=UTC)  # 19.12 in Jakarta
MIDNIGHT = datetime(2026, 5, 3, 17, 0, tzinfo=UTC)


def moment(text: str, *formats: str, zone: Any = WIB) -> datetime | None:
    return cells.moment(text, formats=formats, zone=zone)


@pytest.mark.parametrize(
    ("cell", "found"),
    [
        ("a1" * 32, "a1" * 32), (f" 0x{'A1' * 32} ", "a1" * 32), ("a1" * 31, None), ("a1" * 33, None), ("g1" * 32, None),
        ("-" + "a1" * 31 + "b", None), ("١" * 64, None), ("", None),
    ],
)  # fmt: skip
def test_a_hash_is_so_many_hex_digits(cell: str, found: str | None) -> None:
    assert cells.digest(cell, digits=64) == found


@pytest.mark.parametrize(
    ("cell", "found"),
    [
        ("C3A1F00F5A5A3C3C", "c3a1f00f5a5a3c3c"), ("c3a1f00f5a5a3c3", None), ("c3a1f00f5a5a3c3c" * 4, None), ("3.2E+18", None),
        ("0" * 16, None), ("8" + "0" * 15, None), ("f" * 16, None),
    ],
)  # fmt: skip
def test_a_perceptual_hash_has_64_bits_and_is_of_a_picture_that_shows_something(cell: str, found: str | None) -> None:
    assert cells.phash(cell) == found


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-05-04 19:12", EVENING), ("2026-05-04T19:12:00", EVENING), ("2026-05-04T12:12:00Z", EVENING),
        ("2026-05-04T19:12:00+07:00", EVENING), ("2026-05-04T19:12:00.000", EVENING), ("20260504", MIDNIGHT),
        ("04/05/2026 19:12", EVENING), ("4/5/2026 19.12", EVENING), ("4-5-2026, 19:12", EVENING),
        ("04.05.2026 19:12:00", EVENING), ("4/5/26", MIDNIGHT), ("4 Mei 2026", MIDNIGHT), ("04 May 2026", MIDNIGHT),
        ("Senin, 4 Mei 2026 pukul 19.12 WIB", EVENING), ("Senin 4 mei 2026 jam 19:12", EVENING),
        ("4-Mei-26 19:12", EVENING), ("04/05/2026 07:12 PM", EVENING), ("04/05/2026 12:00 AM", MIDNIGHT),
        ("04/05/2026 21:12 WIT", EVENING), ("04/05/2026 20:12 (WITA)", EVENING), ("04/05/2026 12:12 UTC", EVENING),
        ("2026/05/04 19:12", EVENING), ("2026-5-4 19.12", EVENING), ("2026-05-04", MIDNIGHT), ("46146", MIDNIGHT),
        ("46146.8", EVENING), ("46146,8", EVENING), ("1777896720", EVENING), ("1777896720000", EVENING),
        ("  04/05/2026 19:12  ", EVENING),
    ],
)  # fmt: skip
def test_a_time_is_read_day_first_and_in_jakarta(text: str, time: datetime) -> None:
    assert moment(text) == time


@pytest.mark.parametrize(
    "text",
    [
        "", "kemarin", "31/02/2026", "05/13/2026", "32 Mei 2026", "4 Foo 2026", "2026", "12345", "99999", "1234567",
        "04/05/2026 25:00", "0001-01-01", "9999-12-31T23:59:59-12:00", "04/05", "19:12", "4/5/2026 19.12 dan lagi",
        "9" * 12, "9" * 400, "\u0664/\u0665/2026x",
    ],
)  # fmt: skip
def test_what_is_no_time_is_none(text: str) -> None:
    assert moment(text) is None


def test_declared_formats_alone_count_beside_what_cannot_be_mistaken() -> None:
    assert moment("05/04/2026 07:12 PM", "%m/%d/%Y %I:%M %p") == EVENING
    assert moment("04/05/2026", "%m/%d/%Y %I:%M %p", "%d.%m.%Y") is None
    assert moment("2026-05-04 19:12", "%d.%m.%Y") == moment("46146.8", "%d.%m.%Y") == EVENING


def test_a_zone_in_the_cell_goes_before_the_declared_one() -> None:
    assert moment("2026-05-04 12:12", zone=UTC) == moment("2026-05-04 19:12 WIB", zone=UTC) == EVENING


@given(st.datetimes(datetime(2000, 1, 1), datetime(2099, 12, 31)))
def test_every_time_reads_back_as_it_was_written(time: datetime) -> None:
    whole = time.replace(second=0, microsecond=0)
    expected = whole.replace(tzinfo=WIB).astimezone(UTC)
    months = "Januari Februari Maret April Mei Juni Juli Agustus September Oktober November Desember".split()
    for text in (
        whole.isoformat(), whole.strftime("%d/%m/%Y %H:%M"), whole.strftime("%d-%m-%y %H.%M"),
        f"{whole.day} {months[whole.month - 1]} {whole.year} pukul {whole:%H.%M} WIB",
        repr((whole - datetime(1899, 12, 30)) / timedelta(days=1)),
    ):  # fmt: skip
        assert moment(text) == expected


@given(st.text(max_size=70) | st.text(st.sampled_from("0123456789/:.- WIBTZ+"), max_size=40))
def test_no_text_makes_reading_raise(text: str) -> None:
    assert moment(text) is None or moment(text).tzinfo is UTC  # type: ignore[union-attr]
    number = cells.number(text)
    assert number is None or math.isfinite(number)
    cells.pair(text)
    cells.files(text)
    cells.words(text, unescape=True, literal_newlines=True)


@pytest.mark.parametrize(
    ("text", "comma", "number"),
    [
        ("-6.1754", None, -6.1754), ("-6,1754", None, -6.1754), ("\u22126,1754", None, -6.1754), (" 106 ", None, 106.0),
        ("1.234,5", True, 1234.5), ("1,234.5", False, 1234.5), ("1.234,5", None, None), ("nan", None, None),
        ("NaN", None, None), ("Infinity", None, None), ("-inf", None, None), ("1e999", None, None), ("", None, None),
        ("1_000", None, None), ("enam", None, None), ("9" * 100, None, None), ("1e3", None, 1000.0),
    ],
)  # fmt: skip
def test_a_number_is_finite_or_none(text: str, comma: bool | None, number: float | None) -> None:
    assert cells.number(text, comma=comma) == number


@pytest.mark.parametrize(
    "text", ["-6.2, 106.8", "-6.2,106.8", "-6,2; 106,8", "-6,2 106,8", "POINT(106.8 -6.2)", "lat: -6.2 lon: 106.8"]
)
def test_both_coordinates_may_stand_in_one_cell(text: str) -> None:
    pair = cells.pair(text)
    assert pair is not None
    assert cells.point(*pair) == (-6.2, 106.8)


@pytest.mark.parametrize("point", [("0", "0"), ("-6.2", ""), ("106.8", "-6.2"), ("-6.2", "206"), ("nan", "106.8")])
def test_what_is_no_place_on_earth_is_no_point(point: tuple[str, str]) -> None:
    assert cells.point(*point) is None


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ("Jalan &amp; got &quot;rusak&quot;", 'Jalan & got "rusak"'), ("satu\\ndua\\r\\ntiga", "satu\ndua\ntiga"),
        ("satu\\\\ndua", "satu\ndua"), ("<p>satu</p><p>dua &amp; tiga<br>empat</p>", "satu\ndua & tiga\nempat"),
        ("lebar < 5 m dan > 3 m", "lebar < 5 m dan > 3 m"), ("baris\r\nbaru\r", "baris\nbaru"), ("Ja\0lan \ud83d", "Jalan \ufffd"),
        ("C:\\foto", "C:\\foto"),
    ],
)  # fmt: skip
def test_a_text_loses_what_the_exporter_put_around_it(cell: str, text: str) -> None:
    assert cells.words(cell, unescape=True, literal_newlines=True) == text


def test_a_text_is_left_alone_where_that_is_asked_for() -> None:
    assert cells.words("a &amp; <b>b</b>\\n", unescape=False, literal_newlines=False) == "a &amp; <b>b</b>\\n"


PHOTO = {"type": "image/jpeg", "name": "a.jpg"}
LINK = {"type": "image/jpeg", "name": "a.jpg", "url": "https://foto.example.com/x/a.jpg?k=1"}


@pytest.mark.parametrize(
    ("cell", "files"),
    [
        ("", []), ("a.jpg", [PHOTO]), ("a.jpg, a.jpg;a.jpg\na.jpg | a.jpg", [PHOTO] * 5), (r"C:\foto\a.jpg", [PHOTO]),
        (LINK["url"], [LINK]), (f"{LINK['url']},{LINK['url']}", [LINK] * 2), (f"{LINK['url']} ; a.jpg", [LINK, PHOTO]),
        ('["a.jpg", "https://foto.example.com/x/a.jpg?k=1"]', [PHOTO, LINK]), ('[{"nama": "a.jpg"}, {}, 5, null]', [PHOTO]),
        ('{"url": "https://foto.example.com/x/a.jpg?k=1"}', [LINK]), ("1", [{"type": "photo"}]), ("0", []), ("Ada", [{"type": "photo"}]),
        ("tidak ada", []), ("2 foto", [{"type": "photo"}] * 2), ("[rusak", [{"type": "file", "name": "[rusak"}]),
        ("https://foto.example.com/123", [{"type": "photo", "name": "123", "url": "https://foto.example.com/123"}]),
        ("surat ketua RW.pdf", [{"type": "application/pdf", "name": "surat ketua RW.pdf"}]),
    ],
)  # fmt: skip
def test_files_are_named_counted_or_just_there(cell: str, files: list[Any]) -> None:
    assert cells.files(cell) == files
