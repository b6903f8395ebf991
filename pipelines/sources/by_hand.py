"""Sheets that people fill in by hand: what they mean by what they leave out, repeat and add.

A row of reports is told from what stands around it; "sda" takes the cell above; a heading that comes
again starts another table. Nothing is guessed: where a mark points at nothing, or a number is given
twice, the row is set aside with words for the clerk. Which words count is data: `by_hand` of a mapping.

    also       table: column -> other headings it goes by; punctuation and (hints) do not count
    ditto      cells that repeat the one above
    examples   first cells of rows that only show how to fill the sheet in
    totals     words that begin the first cell of sums and signatures: no reports, where text and date are blank

Belongs here: one sheet's rows. Not here: files (tables), what a workbook marks (workbook).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from pipelines.sources.headings import loose

_DITTO_ABOVE = (
    'Baris ini memakai tanda "sama dengan di atas" (sda), tetapi di atasnya tidak ada isi yang bisa diulang. Tulis isinya,'
    " lalu kirim ulang."
)
_TWICE = (
    "Nomor register di baris ini sudah dipakai baris lain yang isinya berbeda. Beri nomor sendiri atau kosongkan, lalu kirim"
    " ulang."
)
_FORMULA = (
    "Sel di baris ini berisi rumus yang belum pernah dihitung, jadi isinya tidak diketahui. Buka berkasnya di Excel, simpan,"
    " lalu kirim ulang."
)
SIDE_BY_SIDE = (
    "punya dua tabel berdampingan; yang kanan tidak dibaca. Pindahkan ke bawah tabel kiri atau ke lembar lain, lalu kirim"
    " ulang."
)


class Marks(NamedTuple):
    """What a sheet shows that its values do not. Rows and columns count from 1.

    merged: (first row, column, last row) of each range. uncomputed: row -> columns with a formula that nobody computed.
    photos: row -> names of pictures whose upper edge lies in it.
    """

    merged: tuple[tuple[int, int, int], ...] = ()
    uncomputed: Mapping[int, frozenset[int]] = {}
    photos: Mapping[int, tuple[str, ...]] = {}


@dataclass(frozen=True, slots=True)
class Rules:
    """Options as declared. names: loosely folded heading -> declared column. text, date, number, photo: declared columns."""

    names: Mapping[str, str]
    text: frozenset[str]
    date: frozenset[str]
    number: frozenset[str] = frozenset()
    photo: str | None = None
    ditto: frozenset[str] = frozenset()
    examples: frozenset[str] = frozenset()
    totals: tuple[str, ...] = ()


def plain(cell: str) -> str:
    return " ".join(cell.casefold().split()).strip(" .:")


@dataclass(slots=True)
class Sheet:
    """The rows of one sheet, in order."""

    rules: Rules
    marks: Marks = field(default_factory=Marks)
    _above: dict[str, str] = field(default_factory=dict)
    _numbers: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _carried: dict[tuple[int, int, int], str] = field(default_factory=dict)

    def cells(self, number: int, cells: Sequence[str]) -> list[str]:
        """A row's cells with what merged ranges say in each of their rows, in their first column.

        Not in the columns beside it: a text that is merged across two is no kategori as well.
        """
        filled = list(cells)
        for merge in self.marks.merged:
            first, column, last = merge
            if first <= number <= last and last > first:
                filled += [""] * (column - len(filled))
                if number == first:
                    self._carried[merge] = filled[column - 1]
                elif not filled[column - 1]:
                    filled[column - 1] = self._carried.get(merge, "")
        return filled

    def heading(self, cells: Sequence[str]) -> list[str]:
        """Cells as a heading, each column that goes by another name under its declared one."""
        taken: set[str] = {name for name in self.rules.names.values() if name in cells}
        found = []
        for cell in cells:
            name = self.rules.names.get(loose(cell))
            found.append(name if name and name not in taken else cell)
            taken.add(found[-1])
        return found

    def is_heading(self, heading: Sequence[str]) -> bool:
        """Whether a row is the heading of a table: two columns at least, one of them the text's."""
        known = set(heading) & set(self.rules.names.values())
        return len(known) >= 2 and bool(known & self.rules.text)

    def is_doubled(self, cells: Sequence[str]) -> bool:
        """Whether a heading holds two tables side by side."""
        names = [self.rules.names.get(loose(cell)) for cell in cells]
        return any(names.count(text) > 1 for text in self.rules.text) and any(
            names.count(d) > 1 for d in self.rules.date
        )

    def row(
        self, number: int, row: dict[str, str], column_of: Callable[[str], int]
    ) -> tuple[dict[str, str], str | None]:
        """(cells, why the row is set aside); no cells where the row is no report."""
        declared = set(self.rules.names.values())
        photos = self.marks.photos.get(number, ())
        if photos and self.rules.photo:
            named = [row[self.rules.photo]] if self.rules.photo in row else []
            row = row | {self.rules.photo: "; ".join([*named, *photos])}
        lacking = self.marks.uncomputed.get(number, frozenset())
        unknown = any(column_of(name) in lacking for name in declared)
        if unknown:
            row = row or {"(rumus)": str(number)}
        elif not declared & set(row) or self._is_other(row):
            return {}, None
        problem = _FORMULA if unknown else None
        for name in declared & set(row):
            if plain(row[name]) in self.rules.ditto or row[name].strip() in self.rules.ditto:
                row = row | {name: self._above.get(name, "")}
                problem = problem or (None if row[name] else _DITTO_ABOVE)
        row = {name: cell for name, cell in row.items() if cell}
        self._above |= {name: row[name] for name in declared & set(row)}
        return row, problem or self._twice(row)

    def _is_other(self, row: dict[str, str]) -> bool:
        """Whether a row is an example, a sum, a signature or the columns' numbers."""
        cells = [plain(cell).strip("()") for cell in row.values()]
        if cells[0] in self.rules.examples:
            return True
        if cells[0].isdecimal() and len(cells) > 2:
            first = int(cells[0][:9])
            if cells == [str(number) for number in range(first, first + len(cells))]:
                return True
        dated = any(name in row for name in self.rules.date)
        said = any(c.isalpha() for name in self.rules.text for c in row.get(name, ""))
        return not dated and not said and cells[0].startswith(self.rules.totals)

    def _twice(self, row: dict[str, str]) -> str | None:
        if not self.rules.number <= set(row) or not self.rules.number:
            return None
        number = "|".join(row[name] for name in sorted(self.rules.number))
        said = tuple(row.get(name, "") for name in sorted((*self.rules.text, *self.rules.date)))
        return _TWICE if self._numbers.setdefault(plain(number), said) != said else None
