"""Delimited text -> records of cells, wary of what real exports do with quotes.

Python's csv does the cutting, in strict mode and line by line, so that a record can be judged with
the lines it was made of in hand. Of eight hostile files DuckDB's reader, seven times faster, refused
five whole and dropped a row of two more; csv alone lost 90 of 101 rows behind one open quote, and
gave up at one long cell. What is added here:

- a quote that is never closed takes one line, not the rest of the file: where the lines it swallowed
  are rows of their own, the first line alone is set aside and reading goes on behind it
- a stray quote inside a quoted cell is read as it was meant where the row still has its cells
- a record longer than MAX_ROW is set aside and skipped to its end without being held in memory

Belongs here: where a record ends. Not here: what its cells are called (tables) or mean (cells).
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple, TextIO

MAX_ROW = 1_000_000  # characters of one record
_MAX_SKIP = 64_000_000  # characters skipped in search of the end of one record
_RECOVERIES = 1_000  # each may parse MAX_ROW again: a file made to hurt is given up

UNCLOSED = (
    "Tanda kutip di baris ini tidak ditutup, jadi isinya tidak bisa dipisahkan dari baris berikutnya."
    " Perbaiki tanda kutipnya di berkas asal, lalu kirim ulang."
)
TOO_LONG = (
    f"Baris ini lebih dari {MAX_ROW:,} huruf, jadi hanya awalnya yang disimpan. Lihat baris aslinya di berkas;"
    " kalau memang satu laporan, ringkas lalu kirim ulang."
).replace(",000,000", ".000.000")
HOPELESS = (
    "Terlalu banyak tanda kutip rusak di berkas ini, jadi sisanya mulai dari sini tidak dibaca."
    " Ekspor ulang dari aplikasi asalnya, sebaiknya sebagai XLSX."
)


class Record(NamedTuple):
    """cells: empty for a blank line. problem: why they could not be told apart; raw: the text then."""

    cells: list[str]
    problem: str | None = None
    raw: str = ""


class _TooLong(Exception):  # noqa: N818 - a signal inside this module
    pass


class _Lines:
    """Lines as csv.reader takes them, remembering those of the record at hand."""

    def __init__(self, text: TextIO) -> None:
        self._text = text
        self._again: deque[str] = deque()
        self.begin()

    def begin(self) -> None:
        self.taken: list[str] = []
        self.ended = False
        self._size = 0

    def push_back(self, lines: list[str]) -> None:
        self._again.extendleft(reversed(lines))

    def take(self) -> str:
        """A line with its end, or a piece of one that is longer than MAX_ROW; empty at the end."""
        return self._again.popleft() if self._again else self._text.readline(MAX_ROW)

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self.take()
        if not line:
            self.ended = True
            raise StopIteration
        self.taken.append(line)
        self._size += len(line)
        if self._size >= MAX_ROW:
            raise _TooLong
        return line


class Records:
    """The records of a text, in order. `width`, the header's cells, is set once it is known: it
    tells a row that was swallowed from a line of somebody's text."""

    def __init__(self, text: TextIO, separator: str) -> None:
        self._lines, self._separator = _Lines(text), separator
        self._recoveries = 0
        self.width: int | None = None

    def __iter__(self) -> Iterator[Record]:
        # Process-wide, and only ever raised: the default of 131,072 is less than a citizen may write.
        csv.field_size_limit(max(csv.field_size_limit(), 2 * MAX_ROW))
        lines = self._lines
        reader = csv.reader(lines, delimiter=self._separator, strict=True)
        while self._recoveries <= _RECOVERIES:
            lines.begin()
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error:
                yield self._aside_first() if self._swallowed() else self._leniently()
            except _TooLong:
                yield self._aside_first() if self._swallowed() else self._skip()
            else:
                broken = len(lines.taken) > 1 and len(cells) != self.width and self._swallowed()
                yield self._aside_first() if broken else Record(cells)
        yield Record([], HOPELESS)

    def _swallowed(self) -> bool:
        """Whether most lines behind the record's first are rows of their own."""
        inner = [line for line in self._lines.taken[1:] if line.strip()]
        if not inner or not self.width or self.width < 2:
            return False
        return 2 * sum(self._is_row(line) for line in inner) > len(inner)

    def _is_row(self, line: str) -> bool:
        try:
            return len(next(csv.reader([line], delimiter=self._separator, strict=True))) == self.width
        except csv.Error:
            return False

    def _aside_first(self) -> Record:
        first, *rest = self._lines.taken
        self._recoveries += 1
        self._lines.push_back(rest)
        return Record([], UNCLOSED, first)

    def _leniently(self) -> Record:
        taken = self._lines.taken
        # One line more tells a quote that is still open at the end: it takes that line in as well.
        reader = csv.reader([*taken, "."], delimiter=self._separator)
        cells = next(reader)
        if self._lines.ended or reader.line_num > len(taken):
            return Record([], UNCLOSED, "".join(taken))
        return Record(cells)

    def _skip(self) -> Record:
        """Past the end of a record too long to hold: the first line end outside quotes."""
        taken = self._lines.taken
        raw = "".join(taken)[:MAX_ROW]
        inside, last, skipped = sum(line.count('"') for line in taken) % 2 == 1, taken[-1], 0
        while inside or last[-1] not in "\r\n":
            last = self._lines.take()
            skipped += len(last)
            if not last:
                break
            if skipped > _MAX_SKIP:
                self._recoveries = _RECOVERIES + 1
                break
            inside ^= last.count('"') % 2 == 1
        return Record([], TOO_LONG, raw)
