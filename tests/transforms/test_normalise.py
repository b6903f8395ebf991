"""Normalise: one form for text, phones, times and language, and the citizen's words as they were."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.contracts import column
from pipelines.knowledge import Knowledge
from pipelines.transforms.normalise import author, clean_line, clean_text, language, normalise, phone

SPOKEN = {
    "Jalan ini sudah rusak dan belum diperbaiki, mohon segera": "id",
    "The street light in front of my house is broken": "en",
    "Dalan iki rusak ora ono sing ndandani": "jv",
    "Jalan ieu geus lila teu dibenerkeun, punten pisan": "su",
    "Kabel lepas, trotoar berlubang": "id",
    "Banjir is back di gang": "id",
    "123 456": "other",
    "": "other",
}
any_text = st.text() | st.text(
    st.sampled_from("a e\u0301\u200b\u00ad\r\n\t\u00a0\u2028\x85\x0b\x1c\ufeffK\u0308 \U0001f64f\ud800")
)


@given(any_text)
def test_clean_text_is_nfc_without_control_characters_and_stays_as_it_is(text: str) -> None:
    clean = clean_text(text)
    assert clean_text(clean) == clean
    assert unicodedata.is_normalized("NFC", clean)
    assert not [c for c in clean if unicodedata.category(c) in ("Cc", "Cs") and c != "\n"]
    assert "  " not in clean
    assert "\n\n" not in clean
    assert clean == clean.strip()


@given(st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), min_size=1))
def test_words_stay_as_they_were_said(text: str) -> None:
    assert clean_text(text) == text


def test_lines_stay_lines_and_a_title_has_but_one() -> None:
    assert clean_text("satu\r\n\r\n dua \u2028tiga\tempat") == "satu\ndua\ntiga empat"
    assert clean_line("satu\r\ndua") == "satu dua"
    assert clean_line(" \n ") is None


@pytest.mark.parametrize(
    ("raw", "want"),
    [
        ("0812-0000-1234", "+6281200001234"), ("+62 812 0000 1234", "+6281200001234"), ("6281200001234", "+6281200001234"),
        ("0062 812 0000 1234", "+6281200001234"), ("whatsapp:+6281200001234", "+6281200001234"), ("1708", "1708"),
        ("TELKOMSEL", "TELKOMSEL"), ("12", "12"), ("  ", None), (None, None),
    ],
)  # fmt: skip
def test_one_phone_has_one_spelling(raw: str | None, want: str | None) -> None:
    assert phone(raw) == want
    assert phone(want) == want


def test_an_author_is_a_phone_or_a_name_in_lower_case() -> None:
    assert [author(a) for a in ("0812-0000-1234", "Warga@Example.com", "fb:123", " ")] == [
        "+6281200001234", "warga@example.com", "fb:123", None,
    ]  # fmt: skip


@pytest.mark.parametrize(("text", "tag"), SPOKEN.items())
def test_a_language_is_told_by_its_frequent_words(text: str, tag: str, own_knowledge: Knowledge) -> None:
    assert language(text, own_knowledge.languages) == tag


def test_a_table_keeps_its_columns_and_a_missing_time_is_the_fetch() -> None:
    said, fetched = datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 1, 3, tzinfo=UTC)
    drafts = pd.DataFrame({
        "text": ["Lampu\u00a0 mati", None], "title": [" ", "Judul\n"], "address_text": [None, "Jl.  Kenanga"],
        "occurred_at": pd.to_datetime([said, None], utc=True), "fetched_at": pd.to_datetime([fetched, fetched], utc=True),
        "contact_phone": ["0812-0000-1234", None], "contact_email": [" Warga@Example.com", ""],
        "author_ref": [None, "Warga"],
    })  # fmt: skip
    clean = normalise(drafts, languages={"id": frozenset({"lampu", "mati"})})
    assert {c: column(clean, c) for c in clean} == {
        "text": ["Lampu mati", ""], "title": [None, "Judul"], "address_text": [None, "Jl. Kenanga"],
        "occurred_at": [said, fetched], "fetched_at": [fetched, fetched], "contact_phone": ["+6281200001234", None],
        "contact_email": ["warga@example.com", None], "author_ref": [None, "warga"], "language": ["id", "other"],
    }  # fmt: skip
