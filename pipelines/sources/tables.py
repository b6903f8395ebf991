"""Files -> rows of named cells: CSV, XLSX, JSON, JSON lines, and ZIP of those.

What a file is, its content says; its ending only tells text from text. Nothing in a file is trusted:
sizes, ratios, counts and nesting are capped, and names inside a ZIP are shown but never become
paths. What cannot be read becomes an Aside with words for a clerk, and the rest goes on.

Belongs here: which format, which table, which row is the header. Not here: what columns mean
(mapping), what a cell's text says (cells), how records are cut (csv_rows, json_items, workbook).
"""

from __future__ import annotations

import io
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import PurePosixPath
from shutil import copyfileobj
from tempfile import SpooledTemporaryFile
from typing import IO, NamedTuple, TextIO
from zipfile import ZipFile, ZipInfo

from pipelines.sources import formats, json_items, workbook
from pipelines.sources.attached import Beside
from pipelines.sources.by_hand import SIDE_BY_SIDE, Marks, Rules, Sheet
from pipelines.sources.csv_rows import MAX_ROW, TOO_LONG, Record, Records
from pipelines.sources.folder import is_hidden
from pipelines.sources.headings import fold, names_of

SEPARATORS = (",", ";", "\t", "|")

_MAX_COLUMNS = 16_384  # Excel's own
_HEADER_WITHIN = 20  # rows that titles may take before the header
_LOOK_AT = 100  # JSON objects looked at for the columns they have
_SPOOL = 16_000_000  # bytes of a workbook inside a ZIP that stay in memory
_SURROGATE = re.compile("[\udc80-\udcff]")

EMPTY = "kosong. Ekspor ulang lalu kirim lagi."
TOO_MANY = (
    "Sel di baris ini lebih banyak daripada judul kolomnya, jadi isinya mungkin bergeser. Biasanya ada tanda pemisah di"
    " dalam teks yang tidak diapit tanda kutip. Perbaiki di berkas asal, lalu kirim ulang."
)
TOO_FEW = (
    "Sel di baris ini kurang dari judul kolomnya. Biasanya ada ganti baris di dalam teks yang tidak diapit tanda kutip."
    " Perbaiki di berkas asal, lalu kirim ulang."
)
_LOCKED = "terkunci dengan kata sandi. Kirim ZIP tanpa kata sandi."
_PACKED = "dikemas dengan cara yang tidak biasa. Buat lagi sebagai ZIP biasa, lalu kirim ulang."
WRONG_ENCODING = "Huruf di baris ini tidak cocok dengan encoding yang ditetapkan di kanal.toml. Perbaiki opsi encoding."
NO_OBJECT = "Data ini bukan objek JSON yang utuh. Ekspor ulang lalu kirim lagi."


@dataclass(frozen=True, slots=True)
class Layout:
    """How a stream's files are laid out, as far as it is declared.

    required: groups of column names, one of each group must be there. mapped, fill_down: folded
    names; of the columns that mean something, and of those whose blank cells repeat the one above.
    skip_sheets: folded. hand: how to read a sheet that people fill in.
    """

    required: tuple[tuple[str, ...], ...]
    mapped: frozenset[str]
    format: str | None = None
    encoding: str | None = None
    separator: str | None = None
    header_row: int | None = None
    sheets: tuple[str, ...] = ()
    records: tuple[str, ...] = ()
    records_key: str | None = None
    short_rows: bool = False
    fill_down: frozenset[str] = frozenset()
    skip_sheets: frozenset[str] = frozenset()
    hand: Rules | None = None


class Row(NamedTuple):
    """cells: the filled ones, column -> text as it stood. place: where in the file, for a person.

    problem: why the row is set aside; raw: its text then, where its cells cannot be told apart.
    beside: the other files of the ZIP it stood in, and the pictures of its workbook.
    """

    place: str
    cells: dict[str, str]
    problem: str | None = None
    raw: str = ""
    beside: tuple[Beside, ...] = ()


class Aside(NamedTuple):
    """A file, sheet or ZIP member that cannot be read, or not further than the rows before."""

    place: str
    reason: str
    empty: bool = False


def read(file: IO[bytes], name: str, layout: Layout) -> Iterator[Row | Aside]:
    """Every row of a file that can seek. Raises OSError where the disk fails."""
    file.seek(0)
    yield from _read(file, name, "", layout, inside=False)


def _read(file: IO[bytes], name: str, place: str, layout: Layout, *, inside: bool) -> Iterator[Row | Aside]:
    kind = formats.kind_of(file, place if inside else name, layout.format)
    if kind == "empty":
        yield _aside(name, place, EMPTY)
    elif kind == "xlsx":
        yield from _workbook(file, name, place, layout, inside=inside)
    elif kind == "zip" and not inside:
        yield from _archive(file, name, layout)
    elif kind in ("csv", "json", "jsonl"):
        yield from _text(file, name, place, layout, kind)
    else:
        yield _aside(name, place, formats.NOT_READ[kind])


# --- text -----------------------------------------------------------------------------------


def _text(file: IO[bytes], name: str, place: str, layout: Layout, kind: str) -> Iterator[Row | Aside]:
    text = formats.decoded(file, layout.encoding)
    try:
        if kind == "csv":
            yield from _delimited(text, name, place, layout)
        else:
            yield from _json(text, name, place, layout, kind)
    except workbook.ZIP_ODD:
        yield _aside(name, place, workbook.CUT)
    finally:
        text.detach()


def _delimited(text: TextIO, name: str, place: str, layout: Layout) -> Iterator[Row | Aside]:
    head = text.read(MAX_ROW)
    text.seek(0)
    before = 0
    said = re.match(r"sep=(.)\r?\n", head)  # a first line that Excel understands
    if said:
        head, before = head[said.end() :], 1
        text.readline()
    records = Records(text, layout.separator or (said[1] if said else _sniffed(head, layout)))
    yield from _table(enumerate(records, 1 + before), name, place, layout, cut=records)


def _sniffed(head: str, layout: Layout) -> str:
    """The separator that shows most of the columns asked for; among equals, the most even table."""

    def found(separator: str) -> tuple[int, int]:
        rows = [r.cells for r in islice(Records(io.StringIO(head, newline=""), separator), _HEADER_WITHIN)]
        best = min(rows, key=lambda cells: len(_lacking(cells, layout)), default=[])
        even = sum(len(cells) == len(best) for cells in rows) if len(best) > 1 else 0
        return -len(_lacking(best, layout)), even

    return max(SEPARATORS, key=found)


def _json(text: TextIO, name: str, place: str, layout: Layout, kind: str) -> Iterator[Row | Aside]:
    rows = _json_rows(text, name, place, layout, kind)
    first = list(islice(rows, _LOOK_AT))
    columns = {column for row in first if isinstance(row, Row) for column in row.cells}
    # An object leaves out what is empty, so only a file in which nothing fits is another file.
    if columns and len(missing := _missing(columns, layout)) == len(layout.required):
        yield _lacks(name, place, missing)
    else:
        yield from chain(first, rows)


def _json_rows(text: TextIO, name: str, place: str, layout: Layout, kind: str) -> Iterator[Row | Aside]:
    word = "baris" if kind == "jsonl" else "objek"
    items = json_items.lines(text) if kind == "jsonl" else json_items.objects(text, layout.records, layout.records_key)
    try:
        for number, item in enumerate(items, 1):
            where = _within(place, f"{word} {number}")
            if item.value is None:
                yield Row(where, {}, NO_OBJECT, item.raw[:MAX_ROW])
            else:
                cells = json_items.flat(item.value)
                yield _bounded(where, {column: cell for column, cell in cells.items() if cell.strip()})
    except json_items.BadJsonError as error:
        yield _aside(name, place, f"{error}, jadi sisanya tidak terbaca. Ekspor ulang lalu kirim lagi.")


# --- workbooks and archives -----------------------------------------------------------------


def _workbook(file: IO[bytes], name: str, place: str, layout: Layout, *, inside: bool) -> Iterator[Row | Aside]:
    """The rows of each sheet asked for; of every visible sheet that has the columns, where none is."""
    with SpooledTemporaryFile(_SPOOL) as spool:
        if inside:  # going back and forth in a packed member would unpack it again and again
            copyfileobj(file, spool)
            spool.seek(0)
        try:
            with workbook.opened(spool if inside else file) as book:
                pictures = (Beside(book.archive, book.pictures()),) if layout.hand else ()
                for item in _sheets(book, name, place, layout):
                    yield item._replace(beside=pictures) if isinstance(item, Row) else item
        except workbook.Unreadable as error:
            yield _aside(name, place, str(error))


def _sheets(book: workbook.Book, name: str, place: str, layout: Layout) -> Iterator[Row | Aside]:
    read, others = False, []
    for title in book.titles(layout.sheets):
        if fold(title) in layout.skip_sheets:
            continue
        where = _within(place, f"lembar {_shown(title)}")
        rows = _sheet(book, title, name, where, layout)
        first = next(rows, None)
        if isinstance(first, Aside) and not layout.sheets:
            others.append(first)
            continue
        read = True
        yield from chain([first] if first else [], rows)
    wrong = [aside for aside in others if not aside.empty]
    if read:
        yield from wrong
    elif others:  # one message for the file, not one for each sheet
        yield (wrong or others)[0]._replace(place=place)
    else:
        yield _aside(name, place, EMPTY)


def _sheet(book: workbook.Book, title: str, name: str, where: str, layout: Layout) -> Iterator[Row | Aside]:
    try:
        marks = book.marks(title) if layout.hand else None
        yield from _table(enumerate(book.records(title), 1), name, where, layout, marks=marks)
    except workbook.BOOK_ODD:
        yield _aside(name, where, workbook.CUT)


def _archive(file: IO[bytes], name: str, layout: Layout) -> Iterator[Row | Aside]:
    try:
        archive = ZipFile(file)
    except workbook.ZIP_ODD:
        yield _aside(name, "", workbook.CUT)
        return
    with archive:
        members = [m for m in archive.infolist() if not (m.filename.endswith("/") or is_hidden(m.filename))]
        tables = [m for m in members if not formats.NO_TABLE.search(m.filename)]
        why = workbook.trouble(members)
        if len(tables) > workbook.MAX_MEMBERS:
            why = f"berisi {len(tables)} tabel, terlalu banyak. Bagi menjadi beberapa ZIP."
        if why or not tables:
            yield _aside(name, "", why or "tidak berisi CSV, XLSX atau JSON. Periksa isinya lalu kirim lagi.")
            return
        beside = Beside(archive, [m for m in members if formats.NO_TABLE.search(m.filename)])
        for member in sorted(tables, key=lambda m: m.filename):
            for item in _member(archive, member, name, layout):
                yield item._replace(beside=(beside, *item.beside)) if isinstance(item, Row) else item


def _member(archive: ZipFile, member: ZipInfo, name: str, layout: Layout) -> Iterator[Row | Aside]:
    place = _shown(PurePosixPath(member.filename).name)
    if member.flag_bits & 1 or workbook.is_packed_oddly(member):
        yield _aside(name, place, _LOCKED if member.flag_bits & 1 else _PACKED)
        return
    try:
        with archive.open(member) as file:
            yield from _read(file, name, place, layout, inside=True)
    except workbook.ZIP_ODD:
        yield _aside(name, place, workbook.CUT)


# --- header and rows ------------------------------------------------------------------------


def _table(
    records: Iterable[tuple[int, Record]],
    name: str,
    place: str,
    layout: Layout,
    *,
    cut: Records | None = None,
    marks: Marks | None = None,
) -> Iterator[Row | Aside]:
    """The rows below the header. cut: the reader of a text, whose rows may lack cells at their end. marks: of a sheet."""
    sheet = Sheet(layout.hand, marks or Marks()) if layout.hand else None
    records = ((n, r._replace(cells=sheet.cells(n, r.cells))) for n, r in records) if sheet else iter(records)
    above, header, doubled = [], None, False
    for number, record in islice(records, max(_HEADER_WITHIN, layout.header_row or 0)):
        above.append(record)
        cells = sheet.heading(record.cells) if sheet else record.cells
        fits = not _lacking(cells, layout) and (sheet is None or sheet.is_heading(cells))
        if number == layout.header_row or (layout.header_row is None and fits):
            header, doubled = cells, sheet is not None and sheet.is_doubled(record.cells)
            break
    missing = _lacking(header, layout) if header else []
    if header is None or missing:
        filled = [r.cells for r in above if r.problem or any(cell.strip() for cell in r.cells)]
        closest = min((_lacking(cells, layout) for cells in filled), key=len, default=[])
        yield _lacks(name, place, missing or closest) if filled else _aside(name, place, EMPTY)._replace(empty=True)
        return
    names = names_of(header)
    if len(names) > _MAX_COLUMNS:
        yield _aside(name, place, f"punya {len(names)} kolom, terlalu banyak. Hapus yang tidak perlu.")
        return
    records = ((n, r) for n, r in records if r.cells != header)  # files laid end to end bring it again
    if not cut:
        yield from _rows(records, names, place, layout, most=_MAX_COLUMNS, least=0, sheet=sheet)
        if doubled:
            yield _aside(name, place, SIDE_BY_SIDE)
        return
    cut.width = len(header)
    first = list(islice(records, _HEADER_WITHIN))
    lengths = [len(r.cells) for _, r in first if any(cell.strip() for cell in r.cells)]
    # Some exporters end every row with a separator. In one row alone it means that its cells have moved.
    cut.width = max(cut.width, min(lengths, default=0))
    reach = 1 + max((i for i, n in enumerate(names) if fold(n) in layout.mapped), default=0)
    least = 0 if layout.short_rows else reach
    yield from _rows(chain(first, records), names, place, layout, most=cut.width, least=least, sheet=sheet)


def _rows(
    records: Iterable[tuple[int, Record]],
    names: list[str],
    place: str,
    layout: Layout,
    *,
    most: int,
    least: int,
    sheet: Sheet | None = None,
) -> Iterator[Row]:
    """Rows with `least` to `most` cells; the others have lost or won some, so they are set aside."""
    width = len(names)
    down = {n: "" for n in names if fold(n) in layout.fill_down}
    for number, (cells, problem, raw) in records:
        where = _within(place, f"baris {number}")
        if problem:
            yield Row(where, {}, problem, raw)
            continue
        if sheet and sheet.is_heading(heading := sheet.heading(cells)):
            names = names_of(heading)  # another table, or the next page of this one
            width = len(names)
            continue
        row = {name: cell for name, cell in zip(names, cells, strict=False) if cell and not cell.isspace()}
        if len(cells) > width:
            row |= {f"kolom {n}": cell for n, cell in enumerate(cells[width:], width + 1) if cell.strip()}
        if sheet:
            row, problem = sheet.row(number, row, lambda name: names.index(name) + 1 if name in names else 0)  # noqa: B023
        if not row and not problem:
            continue
        if len(cells) > most:
            problem = TOO_MANY
        elif len(cells) < least:
            problem = TOO_FEW
        elif layout.encoding and any(_SURROGATE.search(cell) for cell in row.values()):
            problem = WRONG_ENCODING
        if down:
            down |= {name: row[name] for name in down if name in row}
            row |= {name: cell for name, cell in down.items() if cell}
        yield _bounded(where, row, problem)


def _bounded(where: str, row: dict[str, str], problem: str | None = None) -> Row:
    if sum(map(len, row.values())) <= MAX_ROW:
        return Row(where, row, problem)
    room, kept = MAX_ROW, {}
    for name, cell in sorted(row.items(), key=lambda item: len(item[1])):  # the long ones pay
        kept[name] = cell[:room]
        room -= len(kept[name])
    return Row(where, {name: kept[name] for name in row if kept[name]}, TOO_LONG)


def _missing(columns: Collection[str], layout: Layout) -> list[str]:
    have = {fold(column) for column in columns}
    return [group[0] for group in layout.required if not any(fold(name) in have for name in group)]


def _lacking(header: list[str], layout: Layout) -> list[str]:
    """Required columns that a header has not, neither as written nor as `names_of` tells them apart."""
    return _missing(header, layout) and _missing(names_of(header), layout)


def _lacks(name: str, place: str, missing: list[str]) -> Aside:
    return _aside(
        name,
        place,
        f"tidak punya kolom {', '.join(missing)}. Perbaiki judul kolomnya di berkas asal, atau sesuaikan"
        " [stream.columns] di kanal.toml; berkas dibaca lagi setelah itu.",
    )


def _aside(name: str, place: str, words: str) -> Aside:
    shown = _shown(PurePosixPath(name).name)
    return Aside(place, f"Berkas {shown}, {place}, {words}" if place else f"Berkas {shown} {words}")


def _within(place: str, part: str) -> str:
    return f"{place}, {part}" if place else part


def _shown(name: str) -> str:
    """A name from a file, fit to be shown: one line, and not long."""
    return "".join(c if c.isprintable() else "?" for c in name)[:80]
