"""Text, JSON and archives of every kind become rows, or are set aside with words for a clerk."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.sources import tables, workbook
from pipelines.sources.csv_rows import TOO_LONG, UNCLOSED
from pipelines.sources.headings import fold
from pipelines.sources.tables import Aside, Layout, Row, read

NEEDED = (("No",), ("Isi Laporan",))
MAPPED = frozenset(("no", "isilaporan"))


def layout(**options: Any) -> Layout:
    return Layout(**({"required": NEEDED, "mapped": MAPPED} | options))


def table(data: bytes | str, name: str = "a.csv", **options: Any) -> list[Row | Aside]:
    raw = data.encode() if isinstance(data, str) else data
    found = read(io.BytesIO(raw), name, layout(**options))
    # What lies beside them in a ZIP: tests/sources/test_attached.py.
    return [item._replace(beside=()) if isinstance(item, Row) else item for item in found]


def zipped(members: Mapping[str, bytes | str], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


PLAIN = "No;Isi Laporan;Kota\r\n1;Jalan rusak;Pusat\r\n2;Got mampet;\r\n"
ROWS = [
    Row("baris 2", {"No": "1", "Isi Laporan": "Jalan rusak", "Kota": "Pusat"}),
    Row("baris 3", {"No": "2", "Isi Laporan": "Got mampet"}),
]


# --- delimited text -------------------------------------------------------------------------


@pytest.mark.parametrize("separator", tables.SEPARATORS)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_the_separator_and_the_line_ends_are_found(separator: str, end: str) -> None:
    assert table(PLAIN.replace(";", separator).replace("\r\n", end)) == ROWS


def test_the_separator_is_the_one_that_shows_the_declared_columns() -> None:
    text = "No;Isi Laporan;Kota, Kecamatan, Kelurahan, RW\r\n1;a, b, c, d, e;f, g, h, i\r\n"
    assert table(text) == [
        Row("baris 2", {"No": "1", "Isi Laporan": "a, b, c, d, e", "Kota, Kecamatan, Kelurahan, RW": "f, g, h, i"})
    ]


def test_the_separator_that_excel_writes_in_a_first_line_of_its_own_is_believed() -> None:
    assert table(f"sep=;\r\n{PLAIN}") == [row._replace(place=f"baris {n}") for n, row in enumerate(ROWS, 3)]


@pytest.mark.parametrize(
    ("encoding", "declared"),
    [
        ("utf-8", None), ("utf-8-sig", None), ("utf-16", None), ("cp1252", None), ("utf-8", "utf-8"),
        ("utf-8-sig", "utf-8"), ("cp1252", "cp1252"), ("latin-1", "latin-1"), ("utf-16-le", "utf-16-le"),
        ("utf-16-be", "utf-16-be"), ("utf-16", "utf-16"),
    ],
)  # fmt: skip
def test_text_is_read_in_its_encoding(encoding: str, declared: str | None) -> None:
    text = "No;Isi Laporan\r\n1;Café di Jl. Sabang «ramai»\r\n"
    assert table(text.encode(encoding), encoding=declared) == [
        Row("baris 2", {"No": "1", "Isi Laporan": "Café di Jl. Sabang «ramai»"})
    ]


def test_lines_of_two_encodings_in_one_file_are_both_read() -> None:
    data = "No;Isi Laporan\r\n1;Café – satu\r\n".encode() + "2;Café – dua\r\n".encode("cp1252")
    assert [r.cells["Isi Laporan"] for r in table(data)] == ["Café – satu", "Café – dua"]  # type: ignore[union-attr]


def test_a_row_that_is_not_in_the_declared_encoding_is_set_aside_and_the_rest_goes_on() -> None:
    data = b"No;Isi Laporan\r\n1;Caf\xe9\r\n2;Jalan\r\n"
    assert table(data, encoding="utf-8") == [
        Row("baris 2", {"No": "1", "Isi Laporan": "Caf\udce9"}, tables.WRONG_ENCODING),
        Row("baris 3", {"No": "2", "Isi Laporan": "Jalan"}),
    ]


def test_titles_above_the_header_are_passed_over() -> None:
    above = "REKAP PENGADUAN;;\r\nBulan Mei 2026;;\r\n;;\r\n"
    assert table(above + PLAIN) == [row._replace(place=f"baris {n}") for n, row in enumerate(ROWS, 5)]


def test_the_header_may_be_declared_by_its_row() -> None:
    twice = "No;Isi Laporan;Kota\r\nno;isi laporan;x\r\n1;Jalan;Pusat\r\n"
    assert table(twice, header_row=2) == [Row("baris 3", {"no": "1", "isi laporan": "Jalan", "x": "Pusat"})]


def test_column_names_do_not_depend_on_case_or_blanks() -> None:
    assert table("\ufeffNO ;  isi\u00a0LAPORAN\r\n1;Jalan\r\n") == [
        Row("baris 2", {"NO": "1", "isi\u00a0LAPORAN": "Jalan"})
    ]


def test_columns_of_one_name_and_of_none_are_kept_apart() -> None:
    text = "No;Isi Laporan;Nama;nama;;Kota;;\r\n1;Jalan;a;b;c;d;;\r\n"
    assert table(text) == [
        Row("baris 2", {"No": "1", "Isi Laporan": "Jalan", "Nama": "a", "nama (2)": "b", "kolom 5": "c", "Kota": "d"})
    ]


def test_a_file_without_a_declared_column_is_set_aside_once_and_names_the_column_but_no_cell() -> None:
    [aside] = table("No;Uraian\r\n1;kata warga\r\n2;kata lain\r\n")
    assert aside == Aside("", (
        "Berkas a.csv tidak punya kolom Isi Laporan. Perbaiki judul kolomnya di berkas asal, atau sesuaikan"
        " [stream.columns] di kanal.toml; berkas dibaca lagi setelah itu."
    ))  # fmt: skip


def test_one_column_of_a_group_is_enough() -> None:
    found = table("No;Uraian\r\n1;Jalan\r\n", required=(("No",), ("Isi Laporan", "uraian")))
    assert found == [Row("baris 2", {"No": "1", "Uraian": "Jalan"})]


def test_rows_with_too_many_or_too_few_cells_are_set_aside_whole_and_the_rest_goes_on() -> None:
    text = "No;Isi Laporan;Kota\r\n1;Jalan; rusak;Pusat\r\n2\r\n3;Got mampet;Barat\r\n4;Trotoar &amp; got;\r\n5;Tanpa kota\r\n"
    assert table(text) == [
        Row("baris 2", {"No": "1", "Isi Laporan": "Jalan", "Kota": " rusak", "kolom 4": "Pusat"}, tables.TOO_MANY),
        Row("baris 3", {"No": "2"}, tables.TOO_FEW),
        Row("baris 4", {"No": "3", "Isi Laporan": "Got mampet", "Kota": "Barat"}),
        Row("baris 5", {"No": "4", "Isi Laporan": "Trotoar &amp", "Kota": " got"}, tables.TOO_MANY),
        Row("baris 6", {"No": "5", "Isi Laporan": "Tanpa kota"}),
    ]
    assert table(text, short_rows=True)[1] == Row("baris 3", {"No": "2"})


def test_a_separator_at_the_end_of_every_row_means_nothing() -> None:
    text = "No;Isi Laporan;Kota\r\n1;Jalan;Pusat;;\r\n2;Got;;;\r\n3;Trotoar &amp; got;;;\r\n"
    assert table(text) == [
        Row("baris 2", {"No": "1", "Isi Laporan": "Jalan", "Kota": "Pusat"}),
        Row("baris 3", {"No": "2", "Isi Laporan": "Got"}),
        Row("baris 4", {"No": "3", "Isi Laporan": "Trotoar &amp", "Kota": " got"}, tables.TOO_MANY),
    ]


def test_a_broken_quote_is_told_with_its_line() -> None:
    found = table('No;Isi Laporan\r\n1;"buka\r\n2;"Jalan"\r\n')
    assert found == [Row("baris 2", {}, UNCLOSED, '1;"buka\r\n'), Row("baris 3", {"No": "2", "Isi Laporan": "Jalan"})]


def test_five_thousand_columns_are_read_and_twenty_thousand_are_not() -> None:
    def wide(columns: int) -> str:
        return f"No;Isi Laporan;{';'.join(f'k{n}' for n in range(columns))}\r\n1;Jalan;{';'.join(['x'] * columns)}\r\n"

    [row] = table(wide(5_000))
    assert isinstance(row, Row) and len(row.cells) == 5_002 and row.problem is None
    assert table(wide(20_000)) == [Aside("", "Berkas a.csv punya 20002 kolom, terlalu banyak. Hapus yang tidak perlu.")]


def test_a_row_of_many_long_cells_keeps_its_short_ones_and_is_bounded() -> None:
    names = [f"k{n}" for n in range(20)]
    cells = dict.fromkeys(names, "x" * 90_000)
    text = f"No;Isi Laporan;{';'.join(names)}\r\n1;Jalan;{';'.join(cells.values())}\r\n"
    [row] = table(text)
    # the whole record is longer than one may be, so its cells were never told apart
    assert row == Row("baris 2", {}, TOO_LONG, text.partition("\r\n")[2][:1_000_000])
    assert tables._bounded("baris 2", {"No": "1", "k": "x" * 2_000_000, "Kota": "Pusat"}) == Row(
        "baris 2", {"No": "1", "k": "x" * 999_994, "Kota": "Pusat"}, TOO_LONG
    )


def test_blank_cells_of_declared_columns_repeat_the_one_above() -> None:
    text = "No;Isi Laporan;Kota\r\n1;a;Pusat\r\n2;b;\r\n;;\r\n3;c;Barat\r\n4;d;\r\n"
    found = table(text, fill_down=frozenset(["kota"]))
    assert [r.cells["Kota"] for r in found] == ["Pusat", "Pusat", "Barat", "Barat"]  # type: ignore[union-attr]


@pytest.mark.parametrize("data", [b"", b"\r\n \r\n", b"\xef\xbb\xbf", b";;\r\n;;\r\n"])
def test_an_empty_file_is_set_aside(data: bytes) -> None:
    [aside] = table(data)
    assert isinstance(aside, Aside) and aside.reason == "Berkas a.csv kosong. Ekspor ulang lalu kirim lagi."


def test_a_header_without_rows_is_a_file_without_reports() -> None:
    assert table("No;Isi Laporan\r\n") == []


def test_nul_bytes_do_not_end_a_file() -> None:
    assert table("No;Isi Laporan\r\n1;Ja\0lan\r\n2;Got\r\n") == [
        Row("baris 2", {"No": "1", "Isi Laporan": "Ja\0lan"}), Row("baris 3", {"No": "2", "Isi Laporan": "Got"})
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("data", "name", "words"),
    [
        (b"%PDF-1.7\n\x00\x01\x02", "a.csv", "bukan CSV, XLSX, JSON atau ZIP"),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(32)), "a.csv", "bukan CSV, XLSX, JSON atau ZIP"),
        (bytes(range(256)) * 20, "a.bin", "bukan CSV, XLSX, JSON atau ZIP"),
        (b"<html><table><tr><td>No</td></tr></table>", "laporan.xls", "sebenarnya halaman HTML"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(2000), "a.xls", "format Excel lama"),
        (b"PK\x03\x04 bukan zip", "a.xlsx", "rusak atau terpotong"),
        (b"PK\x05\x06" + bytes(18), "a.zip", "tidak berisi CSV, XLSX atau JSON"),
    ],
)
def test_what_is_no_table_is_set_aside_and_says_what_to_do(data: bytes, name: str, words: str) -> None:
    [aside] = table(data, name)
    assert isinstance(aside, Aside) and words in aside.reason and name in aside.reason


STARTS = (b"", b"PK\x03\x04", b"[", b"[{", b"{", b"\xff\xfe", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", b"a;a\r\n")


@settings(max_examples=300, deadline=None)
@given(
    st.builds(lambda head, tail: head + tail, st.sampled_from(STARTS), st.binary(max_size=300)),
    st.sampled_from(["a.csv", "a.json", "a.jsonl", "a.xlsx", "a"]),
)
def test_no_bytes_at_all_make_reading_raise(data: bytes, name: str) -> None:
    assert all(isinstance(item, (Row, Aside)) for item in table(data, name, required=(("a",),)))


# --- JSON -----------------------------------------------------------------------------------

ITEMS: list[dict[str, Any]] = [
    {"no": 1, "isi laporan": "Jalan rusak", "lokasi": {"lat": -6.2}, "foto": ["a.jpg"]},
    {"no": 2, "isi laporan": "Got", "kosong": None, "spasi": "  "},
]
JSON_ROWS = [
    {"no": "1", "isi laporan": "Jalan rusak", "lokasi.lat": "-6.2", "foto": '["a.jpg"]'},
    {"no": "2", "isi laporan": "Got"},
]


def objects(word: str) -> list[Row]:
    return [Row(f"{word} {n}", cells) for n, cells in enumerate(JSON_ROWS, 1)]


def test_json_is_an_array_or_an_object_with_a_declared_path_to_it() -> None:
    assert table(json.dumps(ITEMS), "a.json") == objects("objek")
    assert table(json.dumps({"data": {"daftar": ITEMS}}), "a.json", records=("data", "daftar")) == objects("objek")


def test_json_lines_are_known_by_their_ending_or_by_their_look() -> None:
    text = "".join(json.dumps(item) + "\n" for item in ITEMS)
    assert table(text, "a.jsonl") == table(text, "a.json") == table(text, "a") == objects("baris")
    assert table(text, "a.csv", format="jsonl") == objects("baris")


def test_a_broken_line_of_json_is_set_aside_and_the_lines_behind_it_go_on() -> None:
    text = "".join(f"{line}\n" for line in (json.dumps(ITEMS[0]), '{"no": 9, "isi', json.dumps(ITEMS[1])))
    assert table(text, "a.jsonl") == [
        Row("baris 1", JSON_ROWS[0]), Row("baris 2", {}, tables.NO_OBJECT, '{"no": 9, "isi\n'), Row("baris 3", JSON_ROWS[1])
    ]  # fmt: skip


def test_json_that_is_cut_off_keeps_what_stands_before() -> None:
    text = json.dumps(ITEMS)[:-30]
    assert table(text, "a.json") == [
        Row("objek 1", JSON_ROWS[0]),
        Aside("", "Berkas a.json bukan JSON yang utuh, jadi sisanya tidak terbaca. Ekspor ulang lalu kirim lagi."),
    ]


def test_json_of_other_fields_is_another_file() -> None:
    [aside] = table('[{"x": 1}, {"y": 2}]', "a.json")
    assert isinstance(aside, Aside) and "tidak punya kolom No, Isi Laporan" in aside.reason
    assert table('[{"no": 1}]', "a.json") == [Row("objek 1", {"no": "1"})]


def test_json_that_is_an_object_needs_the_option_records() -> None:
    [aside] = table('{"data": []}', "a.json")
    assert isinstance(aside, Aside) and "opsi records" in aside.reason


# --- ZIP ------------------------------------------------------------------------------------


def test_the_tables_of_a_zip_are_read_in_the_order_of_their_names_and_photos_are_passed_over() -> None:
    data = zipped(
        {"b/dua.csv": PLAIN, "a/satu.csv": PLAIN, "foto/1.jpg": b"x", "__MACOSX/._satu.csv": b"x", "kosong/": b""}
    )
    asked = read(io.BytesIO(data), "a.zip", layout())
    assert all(isinstance(row, Row) and row.beside for row in asked), "photos can be asked for"
    assert table(data, "a.zip") == [
        row._replace(place=f"{name}, {row.place}") for name in ("satu.csv", "dua.csv") for row in ROWS
    ]


def test_a_member_that_cannot_be_read_is_set_aside_and_the_others_go_on() -> None:
    data = zipped({"a.csv": "x;y\r\n1;2\r\n", "b.zip": zipped({"c.csv": PLAIN}), "c.csv": PLAIN, "d.json": "{"})
    found = table(data, "kec.zip")
    assert [(i.place, i.reason.partition(".")[0]) for i in found if isinstance(i, Aside)] == [
        ("a.csv", "Berkas kec"), ("b.zip", "Berkas kec"), ("d.json", "Berkas kec")
    ]  # fmt: skip
    assert [i for i in found if isinstance(i, Row)] == [row._replace(place=f"c.csv, {row.place}") for row in ROWS]
    assert "ZIP di dalam ZIP" in found[1].reason  # type: ignore[union-attr]


def test_names_in_a_zip_are_shown_and_nothing_else() -> None:
    found = table(zipped({"../../etc/x\ny.csv": PLAIN}), "a.zip")
    assert [r.place for r in found] == ["x?y.csv, baris 2", "x?y.csv, baris 3"]


@pytest.mark.parametrize("cut", [10, 100, -1, -30])
def test_a_truncated_zip_is_set_aside(cut: int) -> None:
    [aside] = table(zipped({"a.csv": PLAIN * 50})[:cut], "a.zip")
    assert isinstance(aside, Aside) and "rusak atau terpotong" in aside.reason


def test_a_zip_whose_data_are_damaged_keeps_the_rows_before_the_damage() -> None:
    body = "No;Isi Laporan\r\n" + "".join(f"{n};laporan {n}\r\n" for n in range(5_000))
    data = bytearray(zipped({"a.csv": body, "b.csv": PLAIN}, zipfile.ZIP_STORED))
    data[len(body) - 200] ^= 1
    found = table(bytes(data), "a.zip")
    asides = [i for i in found if isinstance(i, Aside)]
    assert [a.place for a in asides] == ["a.csv"]
    assert found[-2:] == [row._replace(place=f"b.csv, {row.place}") for row in ROWS]


def test_a_zip_that_swells_beyond_measure_is_not_opened() -> None:
    [aside] = table(zipped({"a.csv": b"0" * 30_000_000}), "a.zip")
    assert aside == Aside("", f"Berkas a.zip {workbook.BOMB}")


def test_a_zip_of_too_many_tables_is_not_opened() -> None:
    [aside] = table(zipped({f"{n}.csv": PLAIN for n in range(1_001)}), "a.zip")
    assert isinstance(aside, Aside) and "berisi 1001 tabel" in aside.reason


def test_a_member_behind_a_password_is_set_aside() -> None:
    data = bytearray(zipped({"a.csv": PLAIN}))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + offset] |= 1
    [aside] = table(bytes(data), "a.zip")
    assert isinstance(aside, Aside) and "terkunci dengan kata sandi" in aside.reason


def test_folding_leaves_only_what_tells_names_apart() -> None:
    assert {fold(n) for n in ("Isi Laporan", " isi  LAPORAN\n", "ISI\u00a0laporan", "\ufeffIsi Laporan")} == {
        "isilaporan"
    }
    assert fold("Lat") != fold("Lat.")


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2], ids=["lzma", "bzip2"])
def test_a_member_packed_as_no_office_program_packs_is_told_and_the_others_are_read(method: int) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.csv", "No,Isi Laporan\n1,a\n" * 50, method)
        archive.writestr("b.csv", "No,Isi Laporan\n2,b\n")
    broken = bytearray(out.getvalue())
    broken[60:70] = b"\xff" * 10
    aside, row = table(bytes(broken), "a.zip")
    words = "dikemas dengan cara yang tidak biasa. Buat lagi sebagai ZIP biasa, lalu kirim ulang."
    assert aside == Aside("a.csv", f"Berkas a.zip, a.csv, {words}")
    assert row == Row("b.csv, baris 2", {"No": "2", "Isi Laporan": "b"})


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
@given(places=st.lists(st.tuples(st.integers(0, 2_000), st.integers(0, 255)), min_size=1, max_size=4))
@settings(deadline=None, max_examples=60)
def test_no_broken_archive_makes_it_fail(method: int, places: list[tuple[int, int]]) -> None:
    data = bytearray(
        zipped({"a.csv": "No,Isi Laporan\n" + "1,lampu mati\n" * 30, "b.csv": "No,Isi Laporan\n2,b\n"}, method)
    )
    for place, byte in places:
        data[-1 - place % len(data)] = byte
    table(bytes(data), "a.zip")


def test_what_people_photograph_and_record_is_no_table() -> None:
    beside = ("a.jfif", "b.HEIF", "c.3gp", "d.opus", "e.tif", "f.bmp", "g.webm")
    assert len(table(zipped({"a.csv": "No,Isi Laporan\n1,a\n", **dict.fromkeys(beside, "x")}), "a.zip")) == 1


def test_a_header_that_comes_again_is_no_report() -> None:
    one = "No;Isi Laporan;Lain\n{0};laporan {0};\n"
    assert [row.cells for row in table(one.format(1) + one.format(2)) if isinstance(row, Row)] == [
        {"No": "1", "Isi Laporan": "laporan 1"}, {"No": "2", "Isi Laporan": "laporan 2"},
    ]  # fmt: skip


def test_a_column_without_a_name_or_with_one_that_is_there_twice_may_be_declared() -> None:
    needed = (("No",), ("Isi (2)",), ("kolom 4",))
    [row] = table("No,Isi,Isi,,Lain\n1,a,b,c,\n", required=needed, mapped=frozenset(("no", "isi(2)", "kolom4")))
    assert row == Row("baris 2", {"No": "1", "Isi": "a", "Isi (2)": "b", "kolom 4": "c"})


def test_a_member_without_a_name_is_read_as_any_other() -> None:
    data = zipped({"aaaa.csv": "No,Isi Laporan\n1,a\n", "b.csv": "No,Isi Laporan\n2,b\n"}).replace(
        b"aaaa.csv", b"\0aaa.csv"
    )
    assert table(data, "a.zip") == [
        Row("baris 2", {"No": "1", "Isi Laporan": "a"}), Row("b.csv, baris 2", {"No": "2", "Isi Laporan": "b"}),
    ]  # fmt: skip


def test_utf_16_is_known_without_its_mark() -> None:
    [row] = table("No;Isi Laporan\r\n1;lampu mati di café\r\n".encode("utf-16-le"))
    assert row == Row("baris 2", {"No": "1", "Isi Laporan": "lampu mati di café"})
