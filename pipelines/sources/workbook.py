"""XLSX -> sheets of records, and what any ZIP container must keep to.

openpyxl reads it, streaming: dimensions a workbook claims are not believed, formulas come as the
value that was last computed, and numbers and times come as the text a person would type.

Belongs here: what a workbook holds. Not here: which row is the header (tables).
"""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, time, timedelta
from typing import IO, Any
from xml.etree.ElementTree import ParseError
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from openpyxl import load_workbook
from openpyxl.utils.exceptions import InvalidFileException

from pipelines.sources import sheet_marks
from pipelines.sources.by_hand import Marks
from pipelines.sources.csv_rows import Record

MAX_UNPACKED, MAX_MEMBERS = 4_000_000_000, 1_000
_MAX_RATIO, _RATIO_FROM = 200, 20_000_000  # a small file may be as repetitive as it likes
_MAX_BOOK, _MAX_STRINGS = 1_500_000_000, 100_000_000  # the shared strings are held in memory whole
_MAX_ROWS = 1_048_576  # Excel's own
_LAST = datetime.max - timedelta(seconds=1)  # noqa: DTZ901 - Excel knows no zone
_EXACT = 2**53  # whole numbers beyond are rounded by Excel itself

# ValueError: a directory that stands before the file's begin.
ZIP_ODD = (BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError)
# What openpyxl is known to raise on workbooks that other programs wrote or that were cut off.
BOOK_ODD = (
    *(*ZIP_ODD, InvalidFileException, ParseError, TypeError, LookupError, AttributeError),
    *(ArithmeticError, OSError, MemoryError),
)

CUT = "rusak atau terpotong. Buka di aplikasinya, simpan lagi, lalu kirim ulang."
BOMB = "mengembang tidak wajar saat dibuka, jadi tidak dibaca. Simpan isinya sebagai CSV lalu kirim lagi."


class Unreadable(Exception):  # noqa: N818 - data: the words complete "Berkas NAMA .."
    """Why a workbook cannot be read, for a clerk."""


def trouble(members: Sequence[ZipInfo], *, most: int = MAX_UNPACKED) -> str | None:
    """Why a ZIP is not opened; zipfile holds every member to the size it claims."""
    if sum(m.file_size for m in members) > most:
        return BOMB
    if any(m.file_size > _RATIO_FROM and m.file_size > _MAX_RATIO * m.compress_size for m in members):
        return BOMB
    if len(members) > 10 * MAX_MEMBERS:
        return f"berisi {len(members)} berkas, terlalu banyak. Bagi menjadi beberapa ZIP."
    return None


def is_packed_oddly(member: ZipInfo) -> bool:
    """Whether a member is packed as no office program packs: broken, bzip2 looks like a failing disk, and LZMA like nothing
    that zipfile names."""
    return member.compress_type not in (ZIP_STORED, ZIP_DEFLATED)


class Book:
    """An open workbook."""

    def __init__(self, book: Any) -> None:
        self._book = book
        self.archive: ZipFile = book._archive

    def pictures(self) -> list[ZipInfo]:
        """Members that hold the pictures of its sheets."""
        return [member for member in self.archive.infolist() if member.filename.startswith("xl/media/")]

    def titles(self, wanted: Sequence[str]) -> list[str]:
        """Sheets by name, case and blanks at the ends aside; all visible ones where none is wanted.

        Raises Unreadable where a wanted sheet is not there.
        """
        if not wanted:
            return [s.title for s in self._book.worksheets if s.sheet_state == "visible"]
        known = {s.title.strip().casefold(): s.title for s in self._book.worksheets}
        if absent := [w for w in wanted if w.strip().casefold() not in known]:
            raise Unreadable(f"tidak punya lembar {', '.join(absent)}. Perbaiki nama lembarnya, atau opsi sheets.")
        return [known[w.strip().casefold()] for w in wanted]

    def marks(self, title: str) -> Marks:
        """What a sheet shows beside its values; nothing where it is too large to have been filled in by hand."""
        # read-only sheets keep neither merges nor formulas nor pictures
        return sheet_marks.read(self.archive, self._book[title]._worksheet_path)

    def records(self, title: str) -> Iterator[Record]:
        """A record for each row of a sheet, blank ones included. May raise any of BOOK_ODD."""
        sheet = self._book[title]
        sheet.reset_dimensions()
        for number, row in enumerate(sheet.iter_rows(values_only=True), 1):
            if number > _MAX_ROWS:
                raise ValueError(number)
            yield Record([_text(value) for value in row])


@contextmanager
def opened(file: IO[bytes]) -> Iterator[Book]:
    """The workbook in a file that can seek. Raises Unreadable."""
    warnings.filterwarnings("ignore", module=r"openpyxl\b")  # of styles and extensions: no data
    try:
        with ZipFile(file) as archive:
            members = archive.infolist()
        why = CUT if any(map(is_packed_oddly, members)) else trouble(members, most=_MAX_BOOK)
        if any(m.filename.lower().endswith("sharedstrings.xml") and m.file_size > _MAX_STRINGS for m in members):
            why = "terlalu besar. Simpan sebagai CSV lalu kirim lagi."
        if not why:
            file.seek(0)
            book = load_workbook(file, read_only=True, data_only=True, keep_links=False)
    except BOOK_ODD:
        raise Unreadable(CUT) from None
    if why:
        raise Unreadable(why)
    try:
        yield Book(book)
    finally:
        book.close()


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < _EXACT else repr(value)
    if isinstance(value, datetime):
        if value < _LAST:
            value += timedelta(microseconds=500_000)  # times of day are fractions: 19:11:59.999998
        value = value.replace(microsecond=0)
        return value.date().isoformat() if value.time() == time() else value.isoformat(" ")
    if isinstance(value, time):
        return value.replace(microsecond=0).isoformat()
    return str(value)
