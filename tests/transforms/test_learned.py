"""Addresses are read into phrases, and judged by what resolved reports teach."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.knowledge import Knowledge
from pipelines.transforms.evidence import Place, taught
from pipelines.transforms.hearing import hear
from pipelines.transforms.learned import Learned, Phrase, Table, _keys, key_of, kind_of, phrases, tokens, voiced
from pipelines.transforms.learning import Resolved, fit, table_of

CIPETE, KEBON, TEBET = "31.74.07.1010", "31.74.01.1004", "31.74.01.1001"


def resolved(rows: list[tuple[str, str]]) -> Resolved:
    """(address, kelurahan) of as many days."""
    words, codes = [a for a, _ in rows], [c for _, c in rows]
    days = [f"2026-{1 + i // 28:02d}-{1 + i % 28:02d}" for i in range(len(rows))]
    return Resolved(words, words, codes, days, [False] * len(rows))


@pytest.fixture(scope="module")
def rows() -> list[tuple[str, str]]:
    said = {CIPETE: ("jl melati ungu", "gang kersen"), TEBET: ("jalan kenanga", "dekat pasar burung")}
    kept = []
    for i in range(160):
        code = (CIPETE, TEBET)[i % 2]
        kept.append((f"{said[code][i // 2 % 2]} {i % 9} rw {i % 5 + 1}", code if i % 17 else (TEBET, CIPETE)[i % 2]))
    return kept


@pytest.fixture(scope="module")
def learned(own_knowledge: Knowledge, rows: list[tuple[str, str]]) -> Learned:
    found, _ = fit(
        resolved(rows), own_knowledge.gazetteer, bits=14, c=1.0, seed=1, most_per_label=500, min_support=2, min_text=0.2,
        progress=lambda *_: None,
    )  # fmt: skip
    return found


def judge(learned: Learned, addresses: list[str]) -> list[Any]:
    heard = [hear(a, learned.gazetteer) for a in addresses]
    return learned.judge(addresses, heard, [False] * len(addresses))


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


@given(st.lists(st.sampled_from(["", "a", "kali", "judan", "4", "rw 5", "jl"]), max_size=9))
def test_keys_alone_are_the_keys_of_the_phrases(words: list[str]) -> None:
    assert set(_keys(words)) == phrases(words).keys()


def test_the_voice_hears_numbers_and_neighbours() -> None:
    assert voiced("Jln Melati II no 12 rw 05") == "jl melati znc no znobc rw zrwaf"
    assert voiced("kali judan") == "kali judan kalijudan"


def test_only_what_different_addresses_of_different_days_hold_is_learned() -> None:
    once = Resolved(["jl sepi"] * 3, [""] * 3, [CIPETE] * 3, ["1", "2", "3"], [False] * 3)
    assert table_of(once, min_support=2) == []
    one_day = Resolved(["jl sepi", "jl sepi ujung"], [""] * 2, [CIPETE] * 2, ["1", "1"], [False] * 2)
    assert table_of(one_day, min_support=2) == []
    undated = Resolved(["jl sepi", "jl sepi ujung"], [""] * 2, [CIPETE, TEBET], ["", ""], [False] * 2)
    assert Phrase("street", "jl sepi", CIPETE, 2, 0.5) in table_of(undated, min_support=2)


def test_a_street_of_two_kelurahan_speaks_for_both_as_often_as_it_stood_there(own_knowledge: Knowledge) -> None:
    lines = [
        Phrase("street", "jl melati", CIPETE, 6, 0.6667),
        Phrase("street", "jl melati", TEBET, 6, 0.3333),
        Phrase("street", "jl melati", "35.78.01.1001", 6, 0.1),
    ]
    table, rows = Table(lines, own_knowledge.gazetteer), own_knowledge.gazetteer.row_of
    votes, keys = table.votes(tokens("Jalan Melati 5"))
    assert keys == [key_of("jl melati")]
    assert set(votes) == {rows[CIPETE], rows[TEBET]}
    assert votes[rows[CIPETE]] == pytest.approx(2 * votes[rows[TEBET]], rel=1e-3)
    assert table.said(keys, rows[CIPETE]) == ["jl melati: 4 of 6"]


def test_a_phrase_that_stands_everywhere_tells_nothing(own_knowledge: Knowledge) -> None:
    lines = [Phrase("name", "gg", code, 800, 0.1) for code in own_knowledge.gazetteer.codes[:10]]
    assert Table(lines, own_knowledge.gazetteer).votes(["gg", "5"]) == ({}, [])


def test_an_address_is_placed_where_its_street_was_however_it_is_spelt(learned: Learned) -> None:
    found = judge(learned, ["jln. melati ungu 7", "JL MELATI UNGU", "jlmelatiungu", "psr burung", ""])
    codes = [None if one is None else learned.gazetteer.codes[one.rows[0]] for one in found]
    assert codes == [CIPETE, CIPETE, CIPETE, TEBET, None]
    assert any(said.startswith("jl melati ungu: ") for said in found[1].words)
    assert found[0].chances[0] > 0.7


def test_a_kelurahan_that_is_named_outweighs_a_street(learned: Learned) -> None:
    [found] = judge(learned, ["jl melati ungu, kel. kebon baru, kec. tebet"])
    assert KEBON not in learned.voice.heads["kelurahan"].labels  # so it can only come from its name
    assert TEBET in [learned.gazetteer.codes[row] for row in found.rows]


@given(st.lists(st.one_of(st.text(max_size=120), st.sampled_from(["jl melati 3", "gang kersen", "rw 5"])), max_size=6))
def test_any_address_is_judged_the_same_alone_and_in_company(learned: Learned, addresses: list[str]) -> None:
    together = judge(learned, addresses)
    for address, one in zip(addresses, together, strict=True):
        [alone] = judge(learned, [address])
        assert (one is None) == (alone is None) == (not address)
        if one is not None:
            assert one.rows == alone.rows
            assert one.chances == pytest.approx(alone.chances, abs=1e-9)
            assert all(0 <= chance <= one.chances[0] <= 1 for chance in one.chances)
            assert len(one.rows) == len(set(one.rows)) <= 5


def test_what_was_learned_is_the_same_for_the_same_reports(
    learned: Learned, own_knowledge: Knowledge, rows: list[tuple[str, str]]
) -> None:
    again, lines = fit(
        resolved(rows), own_knowledge.gazetteer, bits=14, c=1.0, seed=1, most_per_label=500, min_support=2, min_text=0.2,
        progress=lambda *_: None,
    )  # fmt: skip
    np.testing.assert_array_equal(again.witnesses, learned.witnesses)
    np.testing.assert_array_equal(again.sureness, learned.sureness)
    assert all(0 < line.purity <= 1 and line.support >= 2 for line in lines)


NOWHERE = Place(None, None, None, "none", 0.0)


@pytest.mark.parametrize(
    ("before", "chances", "method", "code"),
    [
        (NOWHERE, [0.9, 0.04], "learned", CIPETE),
        (Place(CIPETE, "31.74.07", "31.74", "named", 0.6), [0.8, 0.1], "named", CIPETE),
        (Place(TEBET, "31.74.01", "31.74", "named", 0.6), [0.8, 0.1], "learned", CIPETE),
        (NOWHERE, [0.4, 0.3], "ambiguous", None),
        (Place(TEBET, "31.74.01", "31.74", "named", 0.6), [0.4, 0.3], "ambiguous", None),
        (Place(None, "31.74.01", "31.74", "kecamatan", 0.7), [0.4, 0.3], "kecamatan", None),
    ],
)
def test_learning_decides_where_it_is_sure_and_else_leaves_it_open(
    own_knowledge: Knowledge, before: Place, chances: list[float], method: str, code: str | None
) -> None:
    rows = own_knowledge.gazetteer.row_of
    place = taught(before, [rows[CIPETE], rows[TEBET]], chances, own_knowledge.gazetteer)
    assert (place.place_method, place.kelurahan_code) == (method, code)


def test_two_kelurahan_of_one_kecamatan_are_that_kecamatan(own_knowledge: Knowledge) -> None:
    rows = own_knowledge.gazetteer.row_of
    place = taught(NOWHERE, [rows[KEBON], rows[TEBET]], [0.45, 0.4], own_knowledge.gazetteer)
    assert place == Place(None, "31.74.01", "31.74", "kecamatan", 0.85, [KEBON, TEBET])
