"""Sheets as clerks really fill them in. Every office, person and story here is invented."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openpyxl.drawing.image import Image
from PIL import Image as Picture

from pipelines.contracts import Draft, Message, Stream
from pipelines.errors import RejectedMessage
from pipelines.settings import default_models_dir
from pipelines.sources import export
from pipelines.sources.by_hand import Marks, Sheet, loose
from pipelines.sources.mapping import plan_of
from pipelines.streams import mappings, with_mapping

NOW = datetime(2026, 11, 26, 3, 0, tzinfo=UTC)
DESK = mappings((default_models_dir() / "mappings.toml",))["desk"]
HEAD = ["No", "Tanggal", "Jam", "Nama", "Alamat", "RT/RW", "Uraian"]
LAMP = ["1", "05/11/2026", "08:30", "Ibu Sari Contoh", "Jl. Contoh", "003/005", "Lampu jalan mati"]


def stream_of(folder: Path, **options: Any) -> Stream:
    given = {"inbox": ".", "settle_seconds": 0, "constants": {"kelurahan": "Meruya Utara"}} | options
    return Stream("kelurahan", "uji", "export", with_mapping(given, DESK), str(folder))


def book_of(rows: Sequence[Sequence[Any]], change: Callable[[Any], None] | None = None) -> bytes:
    book = openpyxl.Workbook()
    for cells in rows:
        book.active.append(list(cells))
    if change:
        change(book.active)
    kept = io.BytesIO()
    book.save(kept)
    return kept.getvalue()


def read(folder: Path, content: bytes, name: str = "buku.xlsx", **options: Any) -> tuple[list[Draft], list[str]]:
    """(drafts, reasons of what was set aside), through pull and decode."""
    (folder / name).write_bytes(content)
    stream = stream_of(folder, **options)
    drafts, reasons = [], []
    for message in messages(stream):
        try:
            drafts.append(export.decode(message, stream))
        except RejectedMessage as error:
            reasons.append(error.reason)
    return drafts, reasons


def messages(stream: Stream) -> list[Message]:
    return [m for batch in export.pull(stream, None, now=lambda: NOW) for m in batch.messages]


def wib(draft: Draft) -> str:
    assert draft.occurred_at is not None
    return draft.occurred_at.astimezone(plan_of(stream_of(Path())).zone).strftime("%d/%m %H:%M")


def test_a_row_is_understood_under_the_clerks_own_headings(tmp_path: Path) -> None:
    head = [
        "NO.",
        "Hari/Tanggal",
        "Pukul",
        "NAMA WARGA",
        "Lokasi (jalan/gang) *",
        "RT-RW",
        "URAIAN PENGADUAN :",
        "Warna",
    ]
    [draft], reasons = read(tmp_path, book_of([["BUKU TAMU"], [], head, [*LAMP, "biru"]]))
    assert reasons == []
    assert draft == Draft(
        text="Lampu jalan mati", occurred_at=datetime(2026, 11, 5, 1, 30, tzinfo=UTC), author_name="Ibu Sari Contoh",
        sender_level="verified", address_text="Jl. Contoh, RT 3 RW 5", kelurahan_reported="Meruya Utara",
    )  # fmt: skip


def test_what_stands_around_the_reports_is_no_report(tmp_path: Path) -> None:
    rows = [
        ["Rekap Laporan"], HEAD, [f"({n})" for n in range(1, 8)],
        ["CONTOH", "01/01/2026", "08:00", "Ibu Contoh", "Jl. Contoh", "001/002", "Ini contoh pengisian"],
        LAMP, [], ["2"], [None] * 7, HEAD, ["2", "06/11/2026", "9.15", "Bpk. Adi Misal", "Gg. Misal", "RT 1", "Got mampet"],
        ["Jumlah", None, None, None, None, None, 2], ["TOTAL : 2 laporan"], [None, None, None, "Mengetahui,"],
        [None, None, None, "Lurah Contoh"], [None, None, None, "NIP. 1970"],
    ]  # fmt: skip
    drafts, reasons = read(tmp_path, book_of(rows))
    assert [d.text for d in drafts] == ["Lampu jalan mati", "Got mampet"]
    assert reasons == []


@pytest.mark.parametrize("mark", ["sda", "S.D.A.", "idem", '"', "''", "〃", '-"-'])
def test_a_mark_of_repetition_takes_the_cell_above(mark: str, tmp_path: Path) -> None:
    second = ["2", mark, "9.00", "Bpk. Adi Misal", mark, mark, "Got mampet"]
    _, draft = read(tmp_path, book_of([HEAD, LAMP, second]))[0]
    assert (wib(draft), draft.address_text) == ("05/11 09:00", "Jl. Contoh, RT 3 RW 5")


def test_a_mark_of_repetition_under_nothing_sets_the_row_aside(tmp_path: Path) -> None:
    drafts, [reason] = read(tmp_path, book_of([HEAD, ["1", "sda", "", "", "", "", "Got mampet"]]))
    assert drafts == []
    assert "tidak ada isi yang bisa diulang" in reason


def test_merged_cells_hold_for_each_of_their_rows_and_for_no_column_beside(tmp_path: Path) -> None:
    rows = [
        HEAD,
        LAMP,
        ["2", None, "09:00", "Bpk. Adi Misal", None, None, "Got mampet"],
        ["3", "06/11/2026", "", "Ibu X", "", "", "Sampah"],
    ]

    def merge(sheet: Any) -> None:
        sheet.merge_cells("B2:B3")
        sheet.merge_cells("E2:F3")

    drafts, _ = read(tmp_path, book_of(rows, merge))
    assert [(wib(d), d.address_text) for d in drafts] == [
        ("05/11 08:30", "Jl. Contoh"), ("05/11 09:00", "Jl. Contoh"), ("06/11 00:00", None),
    ]  # fmt: skip


def test_a_heading_of_two_rows_is_one_heading(tmp_path: Path) -> None:
    rows = [
        ["No", "Tanggal", "Jam", "Pelapor", None, "Keluhan"], [None, None, None, "Nama", "No HP", None],
        ["1", "05/11/2026", "8.30", "Ibu Sari Contoh", 81200001201, "Lampu mati"],
    ]  # fmt: skip

    def merge(sheet: Any) -> None:
        for area in ("A1:A2", "B1:B2", "C1:C2", "D1:E1", "F1:F2"):
            sheet.merge_cells(area)

    [draft], _ = read(tmp_path, book_of(rows, merge))
    assert (draft.text, draft.author_name, draft.contact_phone) == ("Lampu mati", "Ibu Sari Contoh", "081200001201")


@pytest.mark.parametrize(
    ("day", "clock", "told"),
    [
        ("05/11/2026", "8.30", "05/11 08:30"), ("5-11-2026", "08.30 WIB", "05/11 08:30"), ("5 November 2026", "jam 8", "05/11 08:00"),
        (datetime(2026, 11, 5), time(8, 30), "05/11 08:30"), (46331, 0.3541666667, "05/11 08:30"), ("05/11/26", "", "05/11 00:00"),
        ("Kamis, 5 November 2026", "pukul 2 siang", "05/11 14:00"), ("05/11/2026", "8.30 pagi", "05/11 08:30"),
        ("05/11/2026", "jam 7 malam", "05/11 19:00"), ("05/11/2026", "sehabis magrib", "05/11 00:00"),
    ],
)  # fmt: skip
def test_days_and_clocks_are_read_in_the_ways_clerks_write_them(
    day: Any, clock: Any, told: str, tmp_path: Path
) -> None:
    [draft], _ = read(tmp_path, book_of([HEAD, ["1", day, clock, *LAMP[3:]]]))
    assert wib(draft) == told
    assert draft.extra.get("unread") == (["occurred_at"] if clock == "sehabis magrib" else None)


@pytest.mark.parametrize("day", ["kemarin", "hari Minggu", "", "31/02/2026", "2026"])
def test_a_day_that_is_none_is_never_guessed(day: str, tmp_path: Path) -> None:
    drafts, [reason] = read(tmp_path, book_of([HEAD, ["1", day, *LAMP[2:]]]))
    assert drafts == []
    assert "Tulis tanggalnya" in reason


@pytest.mark.parametrize(
    ("cell", "told"),
    [("003/005", "RT 3 RW 5"), ("RT 03 RW 05", "RT 3 RW 5"), ("rt.3/rw.5", "RT 3 RW 5"), ("RW 05", "RW 5"), (datetime(2026, 5, 3), None)],
)  # fmt: skip
def test_rt_and_rw_in_one_cell(cell: Any, told: str | None, tmp_path: Path) -> None:
    """Excel makes a day of 03/05; nobody can say which was the RT."""
    [draft], _ = read(tmp_path, book_of([HEAD, [*LAMP[:4], None, cell, LAMP[6]]]))
    assert draft.address_text == told
    assert draft.extra.get("unread") == (None if told else ["rt_rw"])


def test_every_sheet_is_read_hidden_rows_and_columns_too_but_no_hidden_sheet(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.active.title = "November"
    for title, text, state in (
        ("Desember", "Got mampet", "visible"),
        ("Pilihan", "x", "visible"),
        ("Lama", "Sampah", "hidden"),
    ):
        sheet = book.create_sheet(title)
        sheet.append(HEAD)
        sheet.append([*LAMP[:6], text])
        sheet.sheet_state = state
    book.active.append(HEAD)
    book.active.append(LAMP)
    book.active.row_dimensions[2].hidden = True
    book.active.column_dimensions["D"].hidden = True
    kept = io.BytesIO()
    book.save(kept)
    drafts, reasons = read(tmp_path, kept.getvalue())
    assert [d.text for d in drafts] == ["Lampu jalan mati", "Got mampet"]
    assert drafts[0].author_name == "Ibu Sari Contoh"
    assert reasons == []


def test_a_formula_counts_as_it_was_computed_and_sets_the_row_aside_where_it_never_was(tmp_path: Path) -> None:
    content = book_of([HEAD, ["=ROW()-1", *LAMP[1:]], ["2", "=DATE(2026,11,5)", *LAMP[2:]]])
    drafts, [reason] = read(tmp_path, content)
    assert [d.text for d in drafts] == ["Lampu jalan mati"]  # the number's column means nothing
    assert "rumus yang belum pernah dihitung" in reason
    computed = with_cell(content, "<f>DATE(2026,11,5)</f><v></v>", "<f>DATE(2026,11,5)</f><v>46331</v>")
    drafts, reasons = read(tmp_path, computed)
    assert (len(drafts), reasons) == (2, [])


def test_a_sheet_that_is_an_xml_bomb_is_set_aside(tmp_path: Path) -> None:
    bomb = "<!DOCTYPE r [<!ENTITY a 'aaaaaaaaaa'>" + "".join(
        f"<!ENTITY {b} '{f'&{a};' * 10}'>" for a, b in zip("abcdefghi", "bcdefghij", strict=True)
    )
    kept = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(book_of([HEAD, LAMP]))) as old, zipfile.ZipFile(kept, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name.endswith("sheet1.xml"):
                data = (bomb + "]>").encode() + data.replace(b"Lampu", b"&j;").replace(b"<v>0</v>", b"<v>&j;</v>")
            new.writestr(name, data)
    drafts, [reason] = read(tmp_path, kept.getvalue())
    assert drafts == []
    assert "rusak atau terpotong" in reason


def with_cell(content: bytes, before: str, after: str) -> bytes:
    kept = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(kept, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name.endswith("sheet1.xml"):
                text = data.decode().replace("<v />", "<v></v>").replace("<v/>", "<v></v>")
                assert before in text
                data = text.replace(before, after).encode()
            new.writestr(name, data)
    return kept.getvalue()


def test_a_picture_on_the_sheet_is_kept_as_the_photo_of_its_row(tmp_path: Path) -> None:
    kept = io.BytesIO()
    Picture.new("RGB", (4, 4)).save(kept, "PNG")

    def paste(sheet: Any) -> None:
        sheet.add_image(Image(kept), "I3")

    book = book_of([HEAD, LAMP, ["2", *LAMP[1:6], "Got mampet"]], paste)
    with zipfile.ZipFile(io.BytesIO(book)) as archive:
        data = archive.read("xl/media/image1.png")
    photo = {"type": "image/png", "name": "image1.png", "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    first, second = read(tmp_path, book)[0]
    assert first.attachments == []
    assert second.attachments == [photo]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("buku.xlsx", book)
    assert [d.attachments for d in read(tmp_path, packed.getvalue())[0]] == [[], [photo]]


def test_of_two_tables_side_by_side_the_left_is_read_and_the_right_is_told(tmp_path: Path) -> None:
    drafts, [reason] = read(tmp_path, book_of([[*HEAD, None, *HEAD], [*LAMP, None, *LAMP[:6], "Got mampet"]]))
    assert [d.text for d in drafts] == ["Lampu jalan mati"]
    assert "dua tabel berdampingan" in reason


def test_a_register_number_used_twice_sets_the_second_aside_and_a_corrected_row_is_a_new_version(
    tmp_path: Path,
) -> None:
    head = ["No Register", *HEAD[1:]]
    drafts, [reason] = read(tmp_path, book_of([head, LAMP, [*LAMP[:6], "Got mampet"]]))
    assert [d.text for d in drafts] == ["Lampu jalan mati"]
    assert "sudah dipakai baris lain" in reason
    other = tmp_path / "lain"
    other.mkdir()
    read(other, book_of([head, LAMP]), "1.xlsx")
    read(other, book_of([head, [*LAMP[:6], "Lampu jalan mati semua"]]), "2.xlsx")
    first, second = messages(stream_of(other))
    assert first.source_ref == second.source_ref
    assert first.version != second.version


def test_csv_is_read_in_the_same_way(tmp_path: Path) -> None:
    text = ";".join(HEAD) + "\n" + ";".join(LAMP) + "\n2;sda;9.00;Bpk. Adi Misal;;;Got mampet\nJumlah;;;;;;2\n"
    drafts, reasons = read(tmp_path, text.encode(), "buku.csv")
    assert [wib(d) for d in drafts] == ["05/11 08:30", "05/11 09:00"]
    assert reasons == []


RULES = plan_of(stream_of(Path())).layout.hand
CELL = st.sampled_from(["", "sda", "1", "Jumlah", "CONTOH", "05/11/2026", "Lampu mati", "(2)"]) | st.text(max_size=6)


@given(
    rows=st.lists(
        st.dictionaries(st.sampled_from([*HEAD, "Uraian Laporan", "Tanggal"]), CELL.filter(str.strip)), max_size=8
    )
)
def test_no_rows_break_it_and_a_filled_text_is_never_dropped(rows: list[dict[str, str]]) -> None:
    assert RULES is not None
    sheet = Sheet(RULES, Marks())
    for number, row in enumerate(filter(None, rows), 1):
        kept, problem = sheet.row(number, row, lambda name: 0)
        text, day = row.get("Uraian Laporan", ""), row.get("Tanggal", "")
        if (day or any(c.isalpha() for c in text)) and next(iter(row.values())).strip(" .:()").casefold() != "contoh":
            assert kept or problem


@given(heading=st.text(max_size=20))
def test_a_heading_read_loosely_stays_what_it_is(heading: str) -> None:
    assert loose(loose(heading)) == loose(heading)
