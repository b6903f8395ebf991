"""Addresses are read into phrases, one by one and many at once alike."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipelines.transforms.phrases import Reader, hash_of, kind_of, phrases, tokens, voiced


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("Jln. Melati Gang XII RT 03 RW. 05", ["jl", "melati", "gg", "12", "", "rw 5"]),
        ("Jl Melati No. 7, rumah Bapak Budi Santoso", ["jl", "melati", "", "", "", ""]),
        ("melati 128", ["melati", ""]),
        ("rw 7", ["rw 7"]),
        ("", []),
    ],
)
def test_spellings_are_one_and_houses_and_persons_are_no_words(address: str, words: list[str]) -> None:
    assert tokens(address) == words


def test_a_name_written_in_one_word_or_two_is_the_same_phrase() -> None:
    assert "kebonbaru" in phrases(tokens("Kebon Baru")).keys() & phrases(tokens("kebonbaru")).keys()


@pytest.mark.parametrize(
    ("phrase", "kind"), [("rw 5", "rw"), ("jl melati", "street"), ("melati 4", "street"), ("glodok", "name")]
)
def test_a_phrase_is_of_a_kind(phrase: str, kind: str) -> None:
    assert kind_of(phrase) == kind


def test_the_voice_hears_numbers_and_neighbours() -> None:
    assert voiced("Jln Melati II no 12 rw 05") == "jl melati znc no znobc rw zrwaf"
    assert voiced("kali judan") == "kali judan kalijudan"


_PIECES = [
    *"rw rt no jl gang rumah bapak kali judan zamrud dan blok iv x / , . - ( 0 5 007 12 31 99 100 12345 \u00e9".split(),
    "\n",
]
_ADDRESS = st.one_of(
    st.lists(st.sampled_from(_PIECES), max_size=70).map(" ".join),
    st.text(max_size=200),
    st.text(alphabet="rwj 15,.", max_size=400),
)


@given(st.lists(_ADDRESS, max_size=6))
@example(["", "jl 3 rw 5, bapak rw 7 / rumah 4 ibu x y z 12", "rw 100 no. 5 (gang iv)", "z 4 kali judan"])
def test_many_addresses_at_once_are_read_as_one_by_one(addresses: list[str]) -> None:
    read = Reader().read(addresses)
    end = 0
    for i, address in enumerate(addresses):
        found = dict.fromkeys(read.hashes[read.owner == i].tolist())
        assert list(found) == [hash_of(key) for key in phrases(tokens(address))]
        begin, end = end, end + read.lengths[i]
        assert " ".join(read.voiced[begin:end]) == voiced(address)


def test_a_reader_that_has_met_too_many_words_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.transforms.phrases._KEPT", 2)
    reader, rw_5 = Reader(), [hash_of(key) for key in phrases(tokens("jl melati rw 5"))]
    for _ in range(3):
        assert reader.read(["jl melati rw 5"]).hashes.tolist() == rw_5
