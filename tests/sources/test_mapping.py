"""Declared columns -> who a row is and what it means; and settings that say what is wrong with them."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest

from pipelines.contracts import Draft, Stream
from pipelines.errors import SettingsError
from pipelines.sources import export, mapping
from pipelines.sources.headings import fold
from pipelines.sources.mapping import Plan, plan_of

COLUMNS = {"id": "No Laporan", "text": "Isi", "occurred_at": "Tanggal", "status": "Status"}
FULL = {"No Laporan": "JK1", "Isi": "Jalan rusak", "Tanggal": "04/05/2026 19:12", "Status": "Proses"}


def plan(**options: Any) -> Plan:
    return plan_of(Stream("jaki", "uji", "export", {"columns": COLUMNS} | options))


def row(**cells: str) -> dict[str, str]:
    return {fold(name): cell for name, cell in (FULL | cells).items() if cell}


def draft(columns: dict[str, Any], cells: dict[str, str], **options: Any) -> Draft:
    made = plan(columns={"text": "Isi", **columns}, **options)
    return made.draft({fold(name): cell for name, cell in ({"Isi": "Jalan rusak"} | cells).items()})


# --- identity -------------------------------------------------------------------------------


def test_the_rows_own_id_names_it_and_all_that_is_mapped_makes_its_version() -> None:
    ref, version = plan().identity(row())
    assert ref == "JK1"
    assert plan().identity(row(Isi="Jalan rusak parah")) == (ref, plan().identity(row(Isi="Jalan rusak parah"))[1])
    assert plan().identity(row(Isi="Jalan rusak parah"))[1] != version
    assert plan().identity(row(Status="Selesai"))[1] != version


def test_columns_that_move_are_renamed_or_mean_nothing_make_no_version() -> None:
    same = dict(reversed(row(Baru="x", Lain="y").items()))
    assert plan().identity(same) == plan().identity(row())
    renamed = plan(columns=COLUMNS | {"text": {"first": ["Isi", "Uraian"]}})
    old, new = row(), row(Uraian="Jalan rusak", Isi="")
    assert renamed.identity(old) == renamed.identity(new) == plan().identity(row())


@pytest.mark.parametrize("written", ["12345.0", " 12345 ", "'12345", "12345.00"])
def test_an_id_is_the_same_however_a_spreadsheet_writes_it(written: str) -> None:
    assert plan().identity(row(**{"No Laporan": written}))[0] == "12345"


def test_several_columns_may_make_the_id_and_all_of_them_must_be_filled() -> None:
    made = plan(columns=COLUMNS | {"id": ["Kelurahan", "No Laporan"]})
    assert made.identity(row(Kelurahan="Gambir"))[0] == "Gambir|JK1"
    assert made.identity(row())[0].startswith("isi:")
    either = plan(columns=COLUMNS | {"id": {"first": ["Nomor Baru", "No Laporan"]}})
    assert either.identity(row())[0] == "JK1"


@pytest.mark.parametrize("nothing", ["", "-", "#REF!", "null"])
def test_a_row_without_an_id_is_who_said_what_when_and_where(nothing: str) -> None:
    blank = {"No Laporan": nothing}
    ref, version = plan().identity(row(**blank))
    assert ref.startswith("isi:")
    assert plan().identity(row(**blank, Status="Selesai"))[0] == ref
    assert plan().identity(row(**blank, Status="Selesai"))[1] != version
    assert plan().identity(row(**blank, Isi="Got mampet"))[0] != ref
    assert plan().identity(row(**blank, Tanggal="05/05/2026"))[0] != ref


def test_an_id_of_endless_length_is_shortened() -> None:
    ref, _ = plan().identity(row(**{"No Laporan": "9" * 5_000}))
    assert ref.startswith("id:") and len(ref) < 30


# --- meaning --------------------------------------------------------------------------------


def test_a_row_becomes_a_draft_with_every_field() -> None:
    columns = {
        "id": "No", "title": "Judul", "occurred_at": ["Tanggal", "Jam"], "author_ref": "Akun", "author_name": "Nama",
        "contact_phone": "HP", "contact_email": "Surel", "sender_level": "Tingkat", "conversation_ref": "Utas",
        "source_url": "Tautan", "external_ref": "No", "address": ["Alamat", "RT/RW"], "kelurahan": "Kel", "kecamatan": "Kec",
        "kota": "Kota", "lat": "Lat", "lon": "Lon", "accuracy_m": "Akurasi", "category": "Kategori", "agency": "Dinas",
        "status": "Status", "private": "Rahasia?", "attachments": ["Foto 1", "Foto 2"],
    }  # fmt: skip
    cells = {
        "No": "JK1", "Judul": "Jalan &amp; got", "Tanggal": "04/05/2026", "Jam": "19.12", "Akun": "warga-7", "Nama": "Sari Contoh",
        "HP": "81200001101", "Surel": "sari@example.com", "Tingkat": "claimed", "Utas": "u1",
        "Tautan": "https://laporan.example.com/1?a=1&copy=2", "Alamat": "Jl. Sabang", "RT/RW": "RT 01/02", "Kel": "Gambir",
        "Kec": "Gambir", "Kota": "Jakarta Pusat", "Lat": "-6,1754", "Lon": "106,8272", "Akurasi": "12.5",
        "Kategori": "Sampah &amp; lainnya", "Dinas": "Dinas Bina Marga", "Status": "Proses", "Rahasia?": "YA", "Foto 1": "a.jpg",
        "Foto 2": "b.png", "Kedalaman": "30 cm", "Isi": "Jalan rusak\\nparah", "Lain": "x",
    }  # fmt: skip
    assert draft(columns, cells, extra=["kedalaman"]) == Draft(
        text="Jalan rusak\nparah", title="Jalan & got", occurred_at=datetime(2026, 5, 4, 12, 12, tzinfo=UTC),
        author_ref="warga-7", author_name="Sari Contoh", contact_phone="081200001101", contact_email="sari@example.com",
        sender_level="claimed", conversation_ref="u1", source_url="https://laporan.example.com/1?a=1&copy=2",
        external_ref="JK1", address_text="Jl. Sabang, RT 01/02", kelurahan_reported="Gambir", kecamatan_reported="Gambir",
        kota_reported="Jakarta Pusat", lat=-6.1754, lon=106.8272, accuracy_m=12.5, category_reported="Sampah & lainnya",
        agency_reported="Dinas Bina Marga", status_reported="Proses", private=True,
        attachments=[{"type": "image/jpeg", "name": "a.jpg"}, {"type": "image/png", "name": "b.png"}],
        extra={"kedalaman": "30 cm"},
    )  # fmt: skip


def test_what_cannot_be_read_is_left_out_and_only_named() -> None:
    made = draft(
        {"occurred_at": "Tgl", "lat": "Lat", "lon": "Lon", "accuracy_m": "Ak"},
        {"Tgl": "kemarin sore", "Lat": "NaN", "Lon": "Infinity", "Ak": "dekat"},
    )
    assert made == Draft(text="Jalan rusak", extra={"unread": ["occurred_at", "accuracy_m", "point"]})


def test_cells_that_say_nothing_are_empty_and_constants_fill_them() -> None:
    columns = {"kelurahan": "Kel", "kota": "Kota", "address": "Alamat", "status": "Status"}
    cells = {"Kel": "#N/A", "Kota": " - ", "Alamat": "NULL", "Status": "belum diisi"}
    made = draft(columns, cells, empty_values="Belum Diisi", constants={"kota": "Jakarta Timur", "private": True})
    assert made == Draft(text="Jalan rusak", kota_reported="Jakarta Timur", private=True)


def test_the_author_is_the_account_else_the_address_else_the_number() -> None:
    columns = {"author_ref": "Akun", "contact_email": "Surel", "contact_phone": "HP"}
    cells = {"Akun": "a7", "Surel": "sari@example.com", "HP": "0812-0000-1101"}
    authors = []
    for name in list(cells):
        authors.append(draft(columns, cells).author_ref)
        del cells[name]
    assert authors == ["a7", "sari@example.com", "0812-0000-1101"]


@pytest.mark.parametrize(
    ("value", "private"), [("ya", True), ("Rahasia", True), ("1", True), ("tidak", False), ("0", False), ("", False)]
)
def test_a_report_is_private_where_its_column_says_so(value: str, private: bool) -> None:
    assert draft({"private": "P"}, {"P": value}).private is private
    assert draft({"private": "P"}, {"P": value}, private_values=["Tertutup"]).private is False
    assert draft({"private": "P"}, {"P": "tertutup"}, private_values=["Tertutup"]).private is True


def test_columns_are_joined_as_declared_or_as_suits_the_field() -> None:
    cells = {"A": "satu", "B": "dua", "C": ""}
    assert draft({"text": ["A", "C", "B"]}, cells).text == "satu\ndua"
    assert draft({"text": {"columns": ["A", "B"], "join": " - "}}, cells).text == "satu - dua"
    assert draft({"text": {"first": ["C", "B", "A"]}}, cells).text == "dua"
    assert draft({"address": ["A", "B"]}, cells).address_text == "satu, dua"


def test_one_column_may_hold_the_point_and_a_decimal_sign_may_be_declared() -> None:
    assert draft({"point": "P"}, {"P": "-6.2, 106.8"}).lat == -6.2
    made = draft({"lat": "Lat", "lon": "Lon"}, {"Lat": "-6,2", "Lon": "106,8"}, decimal=",")
    assert (made.lat, made.lon) == (-6.2, 106.8)
    assert draft({"point": "P"}, {"P": "di depan masjid"}).extra == {"unread": ["point"]}


def test_only_rows_with_the_declared_values_are_wanted() -> None:
    made = plan(only={"Status": ["PROSES", "Selesai"]})
    assert [made.wants(row(Status=s)) for s in ("proses", "selesai", "Menunggu", "")] == [True, True, False, False]


# --- settings -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"inboks": "x"}, "unknown key 'inboks' in the stream; known: batch_bytes"),
        ({"columns": {"teks": "Isi"}}, "unknown key 'teks' in columns; known: accuracy_m, address"),
        ({"columns": {"id": "No"}}, "columns must name at least the column of `text`"),
        ({"columns": "Isi"}, r"columns must be a table \[stream.columns\]"),
        ({"columns": {"text": 5}}, "columns.text must be a text or a list of texts, not 5"),
        ({"columns": {"text": []}}, "columns.text names no column"),
        ({"columns": {"text": {"frist": ["Isi"]}}}, "unknown key 'frist' in columns.text"),
        ({"columns": {"text": {"join": "x"}}}, r"columns.text must be \{first"),
        ({"constants": {"id": "x"}}, "unknown key 'id' in constants"),
        ({"optional": ["lat"]}, "unknown key 'lat' in optional"),
        ({"only": {"Sumber": 5}}, "only must be a text or a list of texts"),
        ({"extra": [1]}, "extra must be a text or a list of texts"),
        ({"format": "xls"}, "format must be one of 'csv', 'json', 'jsonl', not 'xls'"),
        ({"encoding": "utf8"}, "encoding must be one of 'utf-8'"),
        ({"separator": "::"}, "separator must be one of ','"),
        ({"decimal": ""}, "decimal must be one of ',', '.'"),
        ({"short_rows": True}, "short_rows must be one of 'aside', 'keep'"),
        ({"time_zone": "Jakarta"}, "time_zone 'Jakarta' is no time zone, such as Asia/Jakarta"),
        ({"time_zone": "../x"}, "time_zone '../x' is no time zone"),
        ({"unescape_html": "no"}, "unescape_html must be true or false"),
        ({"batch_rows": 0}, "batch_rows must be a number from 1 to"),
        ({"header_row": "2"}, "header_row must be a number from 0 to"),
        ({"inbox": 5}, "inbox must be a text"),
        ({"records": ""}, "records must be a text"),
        ({"pattern": "../*.csv"}, r"pattern '../\*.csv' must stay inside the inbox"),
        ({"pattern": "/etc/*"}, r"pattern '/etc/\*' must stay inside the inbox"),
    ],
)
def test_options_that_are_wrong_are_named(options: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=f"^jaki/uji: {words}"):
        plan(**options)


def test_declared_columns_must_be_there_unless_their_field_is_optional() -> None:
    made = plan(
        columns=COLUMNS | {"title": {"first": ["Judul", "Perihal"]}, "lat": "Lat"},
        optional=["lat"],
        only={"Sumber": "x"},
    )
    assert made.layout.required == (
        ("No Laporan",),
        ("Isi",),
        ("Tanggal",),
        ("Status",),
        ("Judul", "Perihal"),
        ("Sumber",),
    )
    assert made.layout.mapped == {"nolaporan", "isi", "tanggal", "status", "judul", "perihal", "lat", "sumber"}


def test_every_option_and_field_is_told_in_the_sources_docstring() -> None:
    told = export.__doc__ or ""
    options, fields = told.split("Fields of `columns`:")
    listed = {name for line in re.findall(r"^  (\w[\w, ]*?)  ", options, re.MULTILINE) for name in line.split(", ")}
    assert listed == mapping._OPTIONS
    assert [name for name in mapping.FIELDS if not re.search(rf"\b{name}\b", fields)] == []


DIGEST, LOOKS = "a1" * 32, "c3a1f00f5a5a3c3c"
HASHES = {"photo_sha256": "Sidik", "photo_phash": "Rupa"}


@pytest.mark.parametrize(
    ("cells", "files"),
    [
        ({"Foto": "ya"}, [{"type": "photo", "sha256": DIGEST, "phash": LOOKS, "elsewhere": True}]),
        ({"Foto": "tidak"}, [{"type": "photo", "sha256": DIGEST, "phash": LOOKS, "elsewhere": True}]),
        ({}, [{"type": "photo", "sha256": DIGEST, "phash": LOOKS, "elsewhere": True}]),
        ({"Foto": "3"}, [{"type": "photo", "sha256": DIGEST, "phash": LOOKS, "elsewhere": True}, *[{"type": "photo"}] * 2]),
        (
            {"Foto": "https://a.id/1.jpg; https://a.id/2.png"},
            [
                {"type": "image/jpeg", "name": "1.jpg", "url": "https://a.id/1.jpg", "sha256": DIGEST, "phash": LOOKS, "elsewhere": True},
                {"type": "image/png", "name": "2.png", "url": "https://a.id/2.png"},
            ],
        ),
    ],
)  # fmt: skip
def test_the_first_photo_has_the_hashes_that_the_source_names(cells: dict[str, str], files: list[Any]) -> None:
    named = {"Sidik": DIGEST.upper(), "Rupa": LOOKS}
    assert draft({"attachments": "Foto"} | HASHES, cells | named).attachments == files


def test_one_hash_will_do_and_what_is_none_is_told_and_left_out() -> None:
    told = {"attachments": "Foto"} | HASHES
    found = draft(told, {"Foto": "ya", "Sidik": DIGEST, "Rupa": "tidak ada"})
    assert (found.attachments, found.extra) == (
        [{"type": "photo", "sha256": DIGEST, "elsewhere": True}], {"unread": ["photo_phash"]},
    )  # fmt: skip
    found = draft(told, {"Foto": "ya", "Sidik": DIGEST[:40], "Rupa": LOOKS})
    assert (found.attachments, found.extra) == (
        [{"type": "photo", "phash": LOOKS, "elsewhere": True}], {"unread": ["photo_sha256"]},
    )  # fmt: skip
    found = draft(told, {"Sidik": "x", "Rupa": "0" * 16})
    assert (found.attachments, found.extra) == ([], {"unread": ["photo_sha256", "photo_phash"]})
    assert draft(told, {"Sidik": "-", "Rupa": "null"}) == Draft(text="Jalan rusak")


def test_another_photo_makes_another_version_of_the_same_report() -> None:
    made = plan(columns={"text": "Isi", **HASHES})
    before, after = (made.identity({"isi": "Jalan rusak", "sidik": digest}) for digest in (DIGEST, "b2" * 32))
    assert before[0] == after[0] and before[1] != after[1]
