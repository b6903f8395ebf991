"""Workbooks as Excel, as other programs and as people with bad intent write them."""

from __future__ import annotations

import io
import re
import tracemalloc
import zipfile
from collections.abc import Callable
from datetime import date, datetime, time
from typing import Any

import openpyxl
import pytest

from pipelines.sources import workbook
from pipelines.sources.csv_rows import TOO_LONG
from pipelines.sources.tables import Aside, Layout, Row, read

Cells = list[list[Any]]


def book(*sheets: tuple[str, Cells], change: Callable[[Any], None] = lambda _: None) -> bytes:
    made: Any = openpyxl.Workbook()
    made.remove(made.active)
    for title, rows in sheets:
        sheet = made.create_sheet(title)
        for row in rows:
            sheet.append(row)
    change(made)
    out = io.BytesIO()
    made.save(out)
    return out.getvalue()


def edited(data: bytes, member: str, change: Callable[[str], str]) -> bytes:
    """The workbook with one of its members rewritten."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            text = source.read(name)
            target.writestr(name, change(text.decode()).encode() if name == member else text)
    return out.getvalue()


def table(data: bytes, name: str = "a.xlsx", **options: Any) -> list[Row | Aside]:
    needed = {"required": (("No",), ("Isi",)), "mapped": frozenset(("no", "isi"))}
    found = read(io.BytesIO(data), name, Layout(**(needed | options)))
    # What lies beside them in a ZIP: tests/sources/test_attached.py.
    return [item._replace(beside=()) if isinstance(item, Row) else item for item in found]


SHEET1 = "xl/worksheets/sheet1.xml"
HEADER = ["No", "Isi", "Nilai"]
PLAIN: Cells = [HEADER, [1, "Jalan rusak", "x"], [2, "Got mampet", None]]


def plain(title: str = "Data") -> list[Row]:
    return [
        Row(f"lembar {title}, baris 2", {"No": "1", "Isi": "Jalan rusak", "Nilai": "x"}),
        Row(f"lembar {title}, baris 3", {"No": "2", "Isi": "Got mampet"}),
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (12345.0, "12345"), (3174071005900001.0, "3174071005900001"), (-6.1754, "-6.1754"), (1e20, "1e+20"), (0, "0"),
        (True, "TRUE"), (datetime(2026, 5, 4, 19, 12, 5), "2026-05-04 19:12:05"),
        (datetime(2026, 5, 4, 19, 11, 59, 999_998), "2026-05-04 19:12:00"), (datetime(2026, 5, 4), "2026-05-04"),
        (date(2026, 5, 4), "2026-05-04"), (time(7, 30), "07:30:00"), ("=1+1", None), ("#REF!", "#REF!"),
        ("0812-0000-1101", "0812-0000-1101"), ("baris\nbaru", "baris\nbaru"),
    ],
)  # fmt: skip
def test_a_cell_comes_as_a_person_would_type_it(value: Any, text: str | None) -> None:
    [row] = table(book(("Data", [HEADER, [1, "Jalan", value]])))
    assert row.cells == {"No": "1", "Isi": "Jalan"} | ({} if text is None else {"Nilai": text})  # type: ignore[union-attr]


def test_a_formula_comes_as_the_value_that_was_last_computed() -> None:
    data = book(("Data", [HEADER, [1, '=A2&" laporan"', "x"]]))
    data = edited(
        data,
        SHEET1,
        lambda xml: re.sub(r'<c r="B2"([^>]*)>.*?</c>', '<c r="B2" t="str"><f>A2</f><v>1 laporan</v></c>', xml),
    )
    assert table(data) == [Row("lembar Data, baris 2", {"No": "1", "Isi": "1 laporan", "Nilai": "x"})]


def shared(data: bytes) -> bytes:
    """The workbook with its texts where Excel keeps them, the first in two runs of formatting."""
    texts: list[str] = []

    def take(found: re.Match[str]) -> str:
        texts.append(found[2])
        return f'<c r="{found[1]}" t="s"><v>{len(texts) - 1}</v></c>'

    def declare(xml: str) -> str:
        kind = "application/vnd.openxmlformats-officedocument.spreadsheetml.sharedStrings+xml"
        return xml.replace("</Types>", f'<Override PartName="/xl/sharedStrings.xml" ContentType="{kind}"/></Types>')

    data = edited(data, SHEET1, lambda xml: re.sub(r'<c r="(\w+)" t="inlineStr"><is><t>(.*?)</t></is></c>', take, xml))
    out = io.BytesIO(edited(data, "[Content_Types].xml", declare))
    items = "".join(f"<si><r><t>{t[:1]}</t></r><r><rPr><b/></rPr><t>{t[1:]}</t></r></si>" for t in texts)
    with zipfile.ZipFile(out, "a") as archive:
        archive.writestr(
            "xl/sharedStrings.xml",
            f'<sst xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">{items}</sst>',
        )
    return out.getvalue()


def test_texts_are_found_where_excel_keeps_them_and_without_their_formatting() -> None:
    data = shared(book(("Data", PLAIN)))
    assert "Jalan rusak" not in zipfile.ZipFile(io.BytesIO(data)).read(SHEET1).decode()
    assert table(data) == plain()


def test_all_visible_sheets_that_have_the_columns_are_read() -> None:
    def hide(made: Any) -> None:
        made["Rahasia"].sheet_state = "hidden"

    data = book(("Mei", PLAIN), ("Kosong", []), ("Rahasia", PLAIN), ("Juni", PLAIN), change=hide)
    assert table(data) == [*plain("Mei"), *plain("Juni")]


def test_a_sheet_beside_the_data_that_is_something_else_is_told_once() -> None:
    data = book(("Rekap", [["Bulan", "Jumlah"], ["Mei", 3]]), ("Mei", PLAIN))
    found = table(data)
    assert found[:-1] == plain("Mei")
    assert isinstance(found[-1], Aside)
    assert found[-1].reason.startswith("Berkas a.xlsx, lembar Rekap, tidak punya kolom No, Isi.")
    assert table(data, sheets=(" mei",)) == plain("Mei")


def test_a_workbook_without_the_columns_is_one_message_and_an_absent_sheet_another() -> None:
    data = book(("A", [["x"], [1]]), ("B", [["y"], [1]]))
    assert [(a.place, a.reason.partition(".")[0]) for a in table(data) if isinstance(a, Aside)] == [("", "Berkas a")]
    [aside] = table(data, sheets=("Mei",))
    assert aside == Aside("", "Berkas a.xlsx tidak punya lembar Mei. Perbaiki nama lembarnya, atau opsi sheets.")


def test_a_workbook_without_any_cell_is_empty() -> None:
    assert table(book(("A", []), ("B", []))) == [
        Aside("", "Berkas a.xlsx, lembar A, kosong. Ekspor ulang lalu kirim lagi.", empty=True)
    ]


def test_merged_cells_hold_their_value_once_and_may_be_filled_down() -> None:
    rows: Cells = [["No", "Isi", "Kelurahan"], [1, "Jalan", "Gambir"], [2, "Got", None], [3, "Lampu", "Cideng"]]

    def merge(made: Any) -> None:
        made["Data"].merge_cells("C2:C3")

    data = book(("Data", rows), change=merge)
    assert [r.cells.get("Kelurahan") for r in table(data)] == ["Gambir", None, "Cideng"]  # type: ignore[union-attr]
    filled = table(data, fill_down=frozenset(["kelurahan"]))
    assert [r.cells.get("Kelurahan") for r in filled] == ["Gambir", "Gambir", "Cideng"]  # type: ignore[union-attr]


def test_rows_shorter_than_the_header_are_whole() -> None:
    assert table(book(("Data", [[*HEADER, "Kota"], [1, "Jalan"]])), mapped=frozenset(("no", "isi", "kota"))) == [
        Row("lembar Data, baris 2", {"No": "1", "Isi": "Jalan"})
    ]


def test_a_note_beside_the_table_travels_along() -> None:
    assert table(book(("Data", [HEADER, [1, "Jalan", None, None, "cek lagi"]]))) == [
        Row("lembar Data, baris 2", {"No": "1", "Isi": "Jalan", "kolom 5": "cek lagi"})
    ]


def test_a_workbook_inside_a_zip_is_read() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("kec/mei.xlsx", book(("Data", PLAIN)))
    assert table(out.getvalue(), "a.zip") == [row._replace(place=f"mei.xlsx, {row.place}") for row in plain()]


# --- damage and intent ----------------------------------------------------------------------


@pytest.mark.parametrize("cut", [8, 500, -1, -100])
def test_a_truncated_workbook_is_set_aside(cut: int) -> None:
    assert table(book(("Data", PLAIN))[:cut]) == [Aside("", f"Berkas a.xlsx {workbook.CUT}")]


def test_a_workbook_behind_a_password_is_set_aside() -> None:
    header = bytearray(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504))
    header[30:32] = (9).to_bytes(2, "little")
    header[48:52] = (1).to_bytes(4, "little")
    data = bytes(header) + bytes(512) + "EncryptedPackage".encode("utf-16-le").ljust(512, b"\0")
    [aside] = table(data)
    assert isinstance(aside, Aside) and "terkunci dengan kata sandi" in aside.reason


def test_a_sheet_that_breaks_off_keeps_the_rows_before_and_the_other_sheets() -> None:
    rows: Cells = [HEADER, *([n, f"laporan {n}", "x"] for n in range(2_000))]
    data = edited(book(("Satu", rows), ("Dua", PLAIN)), SHEET1, lambda xml: xml[: len(xml) // 2])
    found = table(data)
    [place] = [n for n, item in enumerate(found) if isinstance(item, Aside)]
    assert found[place] == Aside("lembar Satu", f"Berkas a.xlsx, lembar Satu, {workbook.CUT}")
    assert place > 500
    assert found[place + 1 :] == plain("Dua")


def peak_of(call: Callable[[], Any]) -> tuple[Any, int]:
    """(result, peak of bytes that Python allocated)."""
    tracemalloc.start()
    try:
        return call(), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_dimensions_that_a_workbook_claims_allocate_nothing() -> None:
    data = edited(
        book(("Data", PLAIN)),
        SHEET1,
        lambda xml: re.sub(r'<dimension ref="[^"]*"', '<dimension ref="A1:XFD1048576"', xml),
    )
    found, peak = peak_of(lambda: table(data))
    assert found == plain()
    assert peak < 20_000_000


def test_rows_numbered_beyond_what_excel_has_are_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    data = edited(book(("Data", PLAIN)), SHEET1, lambda xml: xml.replace('r="3"', 'r="99999999999"'))
    monkeypatch.setattr(workbook, "_MAX_ROWS", 50_000)
    assert table(data) == [plain()[0], Aside("lembar Data", f"Berkas a.xlsx, lembar Data, {workbook.CUT}")]
    last = edited(book(("Data", PLAIN)), SHEET1, lambda xml: xml.replace('r="3"', 'r="50000"'))
    assert table(last) == [plain()[0], plain()[1]._replace(place="lembar Data, baris 50000")]


def test_a_cell_in_a_column_that_cannot_be_is_damage() -> None:
    data = edited(book(("Data", PLAIN)), SHEET1, lambda xml: xml.replace('r="A2"', 'r="AAAAAAAA2"'))
    assert table(data) == [Aside("", f"Berkas a.xlsx, lembar Data, {workbook.CUT}")]


def test_entities_that_multiply_are_refused() -> None:
    bomb = (
        '<!DOCTYPE x [<!ENTITY a0 "haha">'
        + "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
        + "]>"
    )
    data = edited(book(("Data", PLAIN)), SHEET1, lambda xml: bomb + re.sub(r"<v>1</v>", "<v>&a11;</v>", xml, count=1))
    found, peak = peak_of(lambda: table(data))
    assert [type(item) for item in found] == [Aside]
    assert peak < 200_000_000  # where expat itself stops


def test_a_workbook_that_swells_beyond_measure_is_not_opened() -> None:
    data = edited(book(("Data", PLAIN)), SHEET1, lambda xml: xml + " " * 30_000_000)
    assert table(data) == [Aside("", f"Berkas a.xlsx {workbook.BOMB}")]


def test_shared_strings_too_large_for_memory_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workbook, "_MAX_STRINGS", 10)
    [aside] = table(shared(book(("Data", PLAIN))))
    assert aside == Aside("", "Berkas a.xlsx terlalu besar. Simpan sebagai CSV lalu kirim lagi.")


@pytest.mark.parametrize("member", ["xl/workbook.xml", "xl/styles.xml", "[Content_Types].xml", SHEET1])
@pytest.mark.parametrize("change", [lambda xml: "", lambda xml: xml[:50], lambda xml: "<a/>"])
def test_a_workbook_with_a_damaged_part_is_read_or_set_aside(member: str, change: Callable[[str], str]) -> None:
    found = table(edited(book(("Data", PLAIN)), member, change))
    assert found == plain() or isinstance(found[-1], Aside)


def test_a_cell_of_ten_million_letters_is_set_aside_and_the_rest_goes_on() -> None:
    data = book(("Data", PLAIN))
    data = edited(data, SHEET1, lambda xml: xml.replace("Jalan rusak", "Jalan" + "xyz" * 3_500_000))
    found = table(data)
    assert isinstance(found[0], Row) and found[0].problem == TOO_LONG
    assert sum(map(len, found[0].cells.values())) == 1_000_000
    assert found[1] == plain()[1]


def test_the_last_day_that_there_is_does_not_end_the_sheet() -> None:
    book = openpyxl.Workbook()
    sheet = book.worksheets[0]
    for value in (datetime(2026, 5, 4), 2_958_465.99999999, datetime(2026, 5, 5)):
        sheet.append([value])
    sheet["A2"].number_format = "yyyy-mm-dd"
    out = io.BytesIO()
    book.save(out)
    with workbook.opened(out) as opened:
        assert [record.cells for record in opened.records("Sheet")] == [
            ["2026-05-04"],
            ["9999-12-31 23:59:59"],
            ["2026-05-05"],
        ]
