"""Percent-encoding and the alphabets of SMS."""

from __future__ import annotations

from urllib.parse import parse_qsl, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import RejectedMessage
from pipelines.sources.octets import charset_of, first, gsm, hexadecimal, pairs, text_in, without

CODINGS = {"0": "gsm", "1": "octets", "8": "utf-16-be"}


@given(st.lists(st.tuples(st.text(min_size=1), st.text()), max_size=8))
def test_pairs_come_as_pythons_own_reader_has_them(made: list[tuple[str, str]]) -> None:
    made = [(k.encode("utf-8", "replace").decode(), v.encode("utf-8", "replace").decode()) for k, v in made]
    raw = "&".join(f"{quote_plus(k)}={quote_plus(v)}" for k, v in made)
    assert [(k, v.decode()) for k, v in pairs(raw.encode(), strict=True)] == parse_qsl(raw, keep_blank_values=True)


@given(st.binary(max_size=60))
def test_no_query_breaks_the_reader(raw: bytes) -> None:
    assert first(pairs(raw)).keys() == {name for name, _ in pairs(raw)}


def test_a_name_is_taken_out_however_it_is_written_and_the_rest_stays_as_it_is() -> None:
    assert without(b"token=a&x=%2B+1&%74oken=b&tokens=c&&token", "token") == b"x=%2B+1&tokens=c"


@pytest.mark.parametrize(
    ("charset", "coding", "expected"),
    [
        ("UTF-8", "2", "utf-8"), ("UTF-16BE", "0", "utf-16-be"), ("", "8", "utf-16-be"), ("", "\x08", "utf-16-be"),
        ("", "", "gsm"), ("", "\x00", "gsm"), ("binary", "1", "octets"), ("EBCDIC", "8", "utf-16-be"), ("", "99", "octets"),
    ],
)  # fmt: skip
def test_the_charset_that_is_named_counts_else_the_codings_number(charset: str, coding: str, expected: str) -> None:
    assert charset_of(charset, coding, CODINGS) == expected


def test_the_7_bit_alphabet_is_read_with_its_escapes() -> None:
    assert gsm(b"\x00 \x02 \x1b\x28RT 03\x1b\x29 \x1b\x65 \x11 \x40 \x1b") == "@ $ {RT 03} € _ ¡  "
    assert gsm("Café".encode("latin-1")) == "Café"


def test_octets_that_are_no_words_are_set_aside() -> None:
    assert text_in("Halo é".encode(), "octets") == "Halo é"
    assert text_in(b"\xe9", "utf-8") == "é"
    with pytest.raises(RejectedMessage, match="data biner"):
        text_in(b"\x00\x01\x02", "octets")


def test_what_is_no_hexadecimal_stays_what_it_is() -> None:
    assert (hexadecimal(b"48616c6F"), hexadecimal(b"Halo"), hexadecimal(b"abc")) == (b"Halo", None, None)
