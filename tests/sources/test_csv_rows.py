"""Cutting delimited text into records: any table reads back, and broken quotes cost one row."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.sources import csv_rows
from pipelines.sources.csv_rows import HOPELESS, TOO_LONG, UNCLOSED, Record, Records

CELL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=12) | st.sampled_from(
    ['"', '""', ";", ",", "\n", "\r\n", 'kata "dalam" kutip', " ", "'"]
)
TABLE = st.integers(2, 5).flatmap(lambda width: st.lists(st.lists(CELL, min_size=width, max_size=width), min_size=1))


def records(text: str, *, separator: str = ";", width: int | None = 3) -> list[Record]:
    found = Records(io.StringIO(text, newline=""), separator)
    found.width = width
    return list(found)


def rows(first: int, last: int, *, quoted: bool = True) -> list[str]:
    return [f'{n};2026;"laporan {n}"' if quoted else f"{n};2026;laporan {n}" for n in range(first, last)]


def told(lines: list[str]) -> list[Record]:
    return records("\r\n".join(lines) + "\r\n")


def good(first: int, last: int) -> list[Record]:
    return [Record([str(n), "2026", f"laporan {n}"]) for n in range(first, last)]


@settings(max_examples=300, deadline=None)
@given(TABLE, st.sampled_from(",;\t|"), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_any_table_that_was_written_reads_back(
    table: list[list[str]], separator: str, end: str, everything: bool
) -> None:
    out = io.StringIO(newline="")
    quoting: Any = csv.QUOTE_ALL if everything else csv.QUOTE_MINIMAL
    csv.writer(out, delimiter=separator, lineterminator=end, quoting=quoting).writerows(table)
    assert records(out.getvalue(), separator=separator, width=len(table[0])) == [Record(row) for row in table]


@given(st.text(st.sampled_from('ab";\n\r'), max_size=60))
def test_no_text_makes_it_raise_or_lose_a_line(text: str) -> None:
    found = records(text, width=2)
    letters = sum(c in "ab" for c in text)
    assert sum(c in "ab" for r in found for part in (*r.cells, r.raw) for c in part) == letters


@pytest.mark.parametrize("quoted", [True, False])
def test_a_quote_that_is_never_closed_takes_its_own_line_only(quoted: bool) -> None:
    broken = 'x;2026;"tidak ditutup'
    found = told([*rows(0, 5), broken, *rows(5, 90, quoted=quoted)])
    assert found == [*good(0, 5), Record([], UNCLOSED, f"{broken}\r\n"), *good(5, 90)]


def test_an_open_quote_at_the_end_of_the_file_is_set_aside() -> None:
    assert told([*rows(0, 3), '3;2026;"terpoto']) == [*good(0, 3), Record([], UNCLOSED, '3;2026;"terpoto\r\n')]


def test_stray_quotes_inside_a_quoted_cell_are_read_as_meant() -> None:
    assert told([*rows(0, 2), '2;2026;"pipa 3" bocor"', *rows(3, 5)]) == [
        *good(0, 2), Record(["2", "2026", 'pipa 3 bocor"']), *good(3, 5)
    ]  # fmt: skip


def test_quotes_in_the_middle_of_a_bare_cell_are_just_quotes() -> None:
    assert told(['1;2026;pipa 3" bocor', *rows(2, 3)]) == [Record(["1", "2026", 'pipa 3" bocor']), *good(2, 3)]


def test_lines_inside_a_sound_quoted_cell_are_not_taken_for_rows() -> None:
    text = 'daftar:\r\n1;2026;"satu\r\n2;2026;dua'
    assert told(['9;2026;"' + text.replace('"', '""') + '"']) == [Record(["9", "2026", text])]


def test_a_cell_of_ten_million_letters_is_cut_and_the_rest_goes_on() -> None:
    huge = "x;2026;" + '"' + "panjang sekali\r\n" * 600_000 + '"'
    found = told([*rows(0, 2), huge, *rows(2, 4)])
    assert found[:2] + found[3:] == good(0, 4)
    assert (found[2].problem, found[2].cells) == (TOO_LONG, [])
    assert huge.startswith(found[2].raw) and len(found[2].raw) == csv_rows.MAX_ROW


def test_a_line_of_ten_million_letters_without_quotes_is_cut_and_the_rest_goes_on() -> None:
    found = told([*rows(0, 2), "x;2026;" + "a" * 10_000_000, *rows(2, 4)])
    assert found[:2] + found[3:] == good(0, 4)
    assert found[2].problem == TOO_LONG


def test_a_quote_left_open_before_a_long_file_costs_one_row() -> None:
    found = told(['x;2026;"buka', *rows(0, 60_000, quoted=False)])
    assert found == [Record([], UNCLOSED, 'x;2026;"buka\r\n'), *good(0, 60_000)]


def test_a_file_made_of_open_quotes_is_given_up_instead_of_read_for_hours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_rows, "_RECOVERIES", 20)
    found = told(['x;2026;"buka', *rows(0, 2)] * 200)
    assert found[-1].problem == HOPELESS
    assert len(found) < 100


def test_a_file_that_only_seems_to_have_an_end_of_a_row_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_rows, "_MAX_SKIP", 2_000_000)
    found = told(['x;2026;"' + "a" * 5_000_000])
    assert [r.problem for r in found] == [TOO_LONG, HOPELESS]


def test_blank_lines_are_records_without_cells() -> None:
    assert told([*rows(0, 1), "", *rows(1, 2)]) == [*good(0, 1), Record([]), *good(1, 2)]
