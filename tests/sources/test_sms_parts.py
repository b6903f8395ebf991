"""Which rows of an inbox are one SMS, and what it says."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.contracts import WIB
from pipelines.errors import RejectedMessage
from pipelines.sources.sms_parts import Part, Row, Sms, assemble, incomplete, missing_of, part_of, row_of, text_of

AT = datetime(2026, 10, 6, 8, 0, tzinfo=WIB)
SENDER = "+6281200000001"
# Any text but half surrogate pairs, which no text has.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)


def row(
    number: int,
    text: str | bytes,
    udh: str = "",
    *,
    sender: str = SENDER,
    at: datetime | None = AT,
    coding: str = "Unicode_No_Compression",
    recipient: str = "gerbang",
) -> Row:
    data = text.encode("utf-16-be", "surrogatepass") if isinstance(text, str) else text
    cells = {
        "ID": number,
        "ReceivingDateTime": f"{at:%Y-%m-%d %H:%M:%S}" if at else "0000-00-00 00:00:00",
        "Text": data.hex().upper(),
        "SenderNumber": sender,
        "Coding": coding,
        "UDH": udh,
        "Class": -1,
        "RecipientID": recipient,
        "Status": 0,
    }
    return row_of(cells, WIB)


def said(found: Sequence[Sms]) -> list[tuple[list[int], bool]]:
    """IDs of each message in reading order, and whether it is whole."""
    return [([r.id for r in sms.rows], sms.complete) for sms in found]


def cells(*rows: Row) -> list[Any]:
    return [r.cells for r in rows]


# --- user data headers ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("udh", "part"),
    [
        ("", None),
        ("050003AA0302", Part((8, 0xAA), 3, 2)),
        ("050003aa0302", Part((8, 0xAA), 3, 2)),
        ("06080412340201", Part((16, 0x1234), 2, 1)),
        ("0B0504158200000003AA0201", Part((8, 0xAA), 2, 1)),  # ports first
        ("080003AA0201240101", Part((8, 0xAA), 2, 1)),  # a national alphabet behind
        ("0A0003AA020200030B0201", Part((8, 0x0B), 2, 1)),  # the last one counts
        ("050003AA0101", None),  # one of one stands alone
        ("050003AA0200", None),
        ("050003AA0203", None),
        ("050003AA0000", None),
        ("04000200AA", None),  # too short an element to say anything
        ("0605041582158A", None),
    ],
)
def test_a_header_says_which_part_an_sms_is(udh: str, part: Part | None) -> None:
    assert part_of(udh) == part


@pytest.mark.parametrize(
    "udh", ["05", "050003AA03", "050003AA030201", "0500FFAA0302", "050003AA0G02", "0500 3AA0302", "0"]
)
def test_a_damaged_header_is_no_header(udh: str) -> None:
    with pytest.raises(ValueError, match="hexadecimal|says|cut off"):
        part_of(udh)
    with pytest.raises(RejectedMessage, match="UDH"):
        text_of(cells(row(1, "halo", udh)))


@settings(deadline=None)
@given(st.text(max_size=30) | st.binary(max_size=20).map(bytes.hex))
def test_whatever_a_header_holds_it_is_read_or_refused(udh: str) -> None:
    try:
        part = part_of(udh)
    except ValueError:
        return
    assert part is None or (1 <= part.number <= part.total and part.total > 1)


# --- text -----------------------------------------------------------------------------------


@st.composite
def sent(draw: st.DrawFn) -> tuple[str, list[Row]]:
    """A text, and its rows as they came: cut anywhere, in any order."""
    text = draw(TEXTS)
    units = text.encode("utf-16-be")
    cuts = sorted(draw(st.lists(st.integers(0, len(units) // 2), min_size=1, max_size=11)))
    places = [0, *cuts, len(units) // 2]
    pieces = [units[2 * a : 2 * b] for a, b in pairwise(places)]
    wide, reference = draw(st.booleans()), draw(st.integers(0, 255))
    before, behind = draw(st.sampled_from(["", "05041582158A"])), draw(st.sampled_from(["", "240101", "25010D"]))
    rows = []
    for number, data in enumerate(pieces, 1):
        place = f"{len(pieces):02X}{number:02X}"
        element = f"0804{reference:04X}{place}" if wide else f"0003{reference:02X}{place}"
        header = before + element + behind
        later = AT + timedelta(seconds=draw(st.integers(0, 900)))
        coding = draw(st.sampled_from(["Default_No_Compression", "Unicode_No_Compression"]))
        rows.append(row(0, data, f"{len(header) // 2:02X}{header}", at=later, coding=coding))
    came = draw(st.permutations(rows))
    for order, each in enumerate(came):
        each.id = order
    return text, list(came)


@settings(deadline=None)
@given(sent())
def test_a_text_cut_anywhere_and_come_in_any_order_is_whole_again(both: tuple[str, list[Row]]) -> None:
    text, rows = both
    [sms] = assemble(rows)
    assert text_of(cells(*sms.rows)) == text
    assert (sms.complete, sms.first.id, sms.at) == (True, 0, min(r.at for r in rows if r.at))


@pytest.mark.parametrize(
    ("data", "text"), [(b"Halo", "Halo"), ("rél\r\n\tdua".encode(), "rél\r\n\tdua"), ("rél".encode("latin-1"), "rél")]
)
def test_octets_that_are_text_are_read_as_text(data: bytes, text: str) -> None:
    assert text_of(cells(row(1, data, coding="8bit"))) == text


def test_a_character_in_octets_may_begin_in_one_part_and_end_in_the_next() -> None:
    data = "kéé".encode()
    parts = [row(1, data[:2], "050003010201", coding="8bit"), row(2, data[2:], "050003010202", coding="8bit")]
    assert text_of(cells(*parts)) == "kéé"


@pytest.mark.parametrize(
    ("told", "damaged"),
    [
        ("biner", row(1, b"\x00\x01\xff", coding="8bit")),
        ("data untuk aplikasi", row(1, b"halo", "0605040B8423F0", coding="8bit")),
        ("dimampatkan", row(1, "", coding="Unicode_Compression")),
        ("Coding", row(1, "halo", coding="")),
        ("Text", row(1, b"\x00h\x00")),
        ("Text", row(1, b"h")),
    ],
)
def test_what_is_no_text_is_set_aside_with_the_reason(told: str, damaged: Row) -> None:
    with pytest.raises(RejectedMessage, match=told):
        text_of(cells(damaged))


@pytest.mark.parametrize("written", ["ZZZZ", "00 48", "0048004", "5.4E+30", "0048\n0", "48"])
def test_text_that_is_not_hexadecimal_is_set_aside(written: str) -> None:
    broken = row(1, "")
    with pytest.raises(RejectedMessage, match="Text") as told:
        text_of([{**broken.cells, "Text": written}])
    assert written not in str(told.value)


def test_half_a_surrogate_pair_is_shown_as_unreadable() -> None:
    assert text_of(cells(row(1, "jalan \ud83d rusak"))) == "jalan \ufffd rusak"


# --- which rows belong together -------------------------------------------------------------


def piece(number: int, total: int, place: int, reference: int = 7, **said: Any) -> Row:
    return row(number, said.pop("text", f"bagian {place}"), f"050003{reference:02X}{total:02X}{place:02X}", **said)


def test_an_sms_of_its_own_is_whole() -> None:
    assert said(assemble([row(1, "satu"), row(2, "dua")])) == [([1], True), ([2], True)]


def test_messages_come_in_the_order_of_their_first_rows() -> None:
    rows = [piece(1, 2, 2), row(2, "tunggal"), piece(3, 2, 1), piece(4, 2, 1, 8)]
    assert said(assemble(rows)) == [([3, 1], True), ([2], True), ([4], False)]


@pytest.mark.parametrize(
    "other",
    [
        {"sender": "+6281200000002"},
        {"recipient": "gerbang-lain"},
        {"reference": 8},
        {"at": AT + timedelta(hours=1, seconds=1)},
    ],
)
def test_parts_of_others_are_not_mixed_in(other: dict[str, Any]) -> None:
    rows = [piece(1, 2, 1), piece(2, 2, 2, **other), piece(3, 2, 2), piece(4, 2, 1, **other)]
    assert said(assemble(rows)) == [([1, 3], True), ([4, 2], True)]


def test_references_of_8_and_16_bits_are_not_the_same() -> None:
    rows = [piece(1, 2, 1), row(2, "lain", "06080400070202"), piece(3, 2, 2), row(4, "lain", "06080400070201")]
    assert said(assemble(rows)) == [([1, 3], True), ([4, 2], True)]


def test_a_reference_used_again_begins_a_new_message() -> None:
    later = AT + timedelta(minutes=5)
    rows = [piece(1, 2, 1), piece(2, 2, 2), piece(3, 2, 2, at=later), piece(4, 2, 1, at=later)]
    assert said(assemble(rows)) == [([1, 2], True), ([4, 3], True)]


def test_a_part_goes_to_the_message_that_lacks_it_and_is_closest_in_time() -> None:
    later = AT + timedelta(minutes=40)
    rows = [piece(1, 3, 1), piece(2, 3, 1, at=later), piece(3, 3, 2, at=later), piece(4, 3, 2), piece(5, 3, 3)]
    assert said(assemble(rows)) == [([1, 4, 5], True), ([2, 3], False)]


def test_parts_on_both_sides_of_midnight_are_one_message() -> None:
    before = datetime(2026, 12, 31, 23, 59, 58, tzinfo=WIB)
    [sms] = assemble([piece(1, 2, 2, at=before + timedelta(seconds=5)), piece(2, 2, 1, at=before)])
    assert (sms.complete, sms.at, sms.newest) == (
        True,
        datetime(2026, 12, 31, 16, 59, 58, tzinfo=UTC),
        datetime(2026, 12, 31, 17, 0, 3, tzinfo=UTC),
    )


def test_a_part_delivered_twice_counts_once() -> None:
    rows = [piece(1, 2, 1), piece(2, 2, 1), piece(3, 2, 2), piece(4, 2, 2)]
    assert said(assemble(rows)) == [([1, 3], True)]


def test_parts_without_a_time_are_joined_by_what_else_they_say() -> None:
    [sms] = assemble([piece(1, 2, 1, at=None), piece(2, 2, 2, at=None)])
    assert (sms.complete, sms.at, sms.newest) == (True, None, None)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 1), st.integers(0, 200)), max_size=30), st.integers(0, 30))
def test_rows_that_come_later_change_no_message_but_complete_it(came: list[tuple[int, int, int]], cut: int) -> None:
    rows = [
        piece(number, 3, place, reference, at=AT + timedelta(minutes=late), text=f"isi {number}")
        for number, (place, reference, late) in enumerate(came)
    ]
    before, after = assemble(rows[:cut]), assemble(rows)
    assert [s.first.id for s in after][: len(before)] == [s.first.id for s in before]
    assert all(old.parts.items() <= new.parts.items() for old, new in zip(before, after, strict=False))
    assert sorted(r.id for s in after for r in s.rows) == list(range(len(rows)))


# --- what is missing ------------------------------------------------------------------------


def test_missing_parts_are_named() -> None:
    assert missing_of([Part((8, 1), 4, 1), Part((8, 1), 4, 3)]) == [2, 4]
    assert missing_of([Part((8, 1), 2, 1), Part((8, 1), 2, 2)]) == []
    assert missing_of([None]) == []
    assert "bagian 2 dari 3" in incomplete(3, [2])
    assert "bagian 1, 2 dan 4 dari 5" in incomplete(5, [1, 2, 4])
    assert "bagian 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 dan lainnya dari 40" in incomplete(40, list(range(1, 40)))


# --- rows -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "at"),
    [
        ("2026-10-06 08:00:00", datetime(2026, 10, 6, 1, tzinfo=UTC)),
        ("2026-10-06T08:00:00", datetime(2026, 10, 6, 1, tzinfo=UTC)),
        ("2026-10-06 08:00:00+08", datetime(2026, 10, 6, tzinfo=UTC)),
        ("0000-00-00 00:00:00", None),
        ("0001-01-01 00:00:00", None),
        ("", None),
        (None, None),
        (20261006, datetime(2026, 10, 5, 17, tzinfo=UTC)),
    ],
)
def test_times_are_the_gateways_own(written: Any, at: datetime | None) -> None:
    assert row_of({"ReceivingDateTime": written}, WIB).at == at


def test_a_mark_stays_the_same_whatever_is_written_into_the_row_later() -> None:
    one = row(1, "halo")
    again = row_of({**one.cells, "Processed": "true", "UpdatedInDB": "2027-01-01 00:00:00", "TextDecoded": "x"}, WIB)
    other = row_of({**one.cells, "Text": "0041"}, WIB)
    assert (one.mark == again.mark, one.mark == other.mark) == (True, False)
