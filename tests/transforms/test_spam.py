"""Advertising is set aside, complaints about advertising are not (cases/spam.tsv)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from read_cases import cases

from pipelines.knowledge import Knowledge
from pipelines.transforms.spam import Spam

OWN = Spam({"gacor": "Judi", "dana cepat": "Pinjaman"}, frozenset(("klik", "hub wa")), frozenset(("tolong",)))


@pytest.mark.parametrize("case", cases("spam"), ids=lambda case: case["text"][:40])
def test_only_who_sells_and_calls_to_buy_is_set_aside(own_knowledge: Knowledge, case: dict[str, str]) -> None:
    assert (own_knowledge.spam.of(None, case["text"]) is not None) == (case["spam"] == "1")


def test_the_reason_names_the_ware_and_the_words_that_told() -> None:
    assert OWN.of("GACOR!!", "klik di sini") == "Judi: gacor, klik"
    assert OWN.of(None, "butuh Dana  cepat, hub. WA ya") == "Pinjaman: dana cepat, hub wa"


@pytest.mark.parametrize(
    "text", ["gacor", "klik di sini", "tolong blokir gacor, orang tinggal klik", "gacoran klik", ""]
)
def test_an_offer_without_a_call_a_call_without_an_offer_or_a_complaint_of_both_stays(text: str) -> None:
    assert OWN.of(None, text) is None


@given(st.text(max_size=300))
def test_any_text_is_read(text: str) -> None:
    assert OWN.of(text, None) == OWN.of(None, text)
