"""Addresses are read into phrases, and judged by what resolved reports teach."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.knowledge import Knowledge
from pipelines.transforms.evidence import Place, scores, taught
from pipelines.transforms.hearing import hear
from pipelines.transforms.learned import HEAD, Learned, Phrase, Table
from pipelines.transforms.learning import Resolved, fit, table_of
from pipelines.transforms.phrases import Reader, phrases, tokens, voiced

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
def taught_by(own_knowledge: Knowledge, rows: list[tuple[str, str]]) -> tuple[Learned, list[Phrase]]:
    return fit(
        resolved(rows), own_knowledge.gazetteer, bits=14, c=1.0, seed=1, most_per_label=500, min_support=2, min_text=0.2,
        progress=lambda *_: None,
    )  # fmt: skip


@pytest.fixture(scope="module")
def learned(taught_by: tuple[Learned, list[Phrase]]) -> Learned:
    return taught_by[0]


def judge(learned: Learned, addresses: list[str]) -> list[Any]:
    heard = [hear(a, learned.gazetteer) for a in addresses]
    return learned.judge(addresses, heard, [False] * len(addresses))


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
    votes, told, spoken = table.votes(Reader().read(["Jalan Melati 5"]))
    assert sorted(told) == sorted(np.flatnonzero(votes[0])) == sorted((rows[CIPETE], rows[TEBET]))
    assert votes[0, rows[CIPETE]] == pytest.approx(2 * votes[0, rows[TEBET]], rel=1e-3)
    assert table.said(spoken, np.array([rows[CIPETE]])) == [["jl melati: 4 of 6"]]


def test_a_phrase_that_stands_everywhere_tells_nothing(own_knowledge: Knowledge) -> None:
    lines = [Phrase("name", "gg", code, 800, 0.1) for code in own_knowledge.gazetteer.codes[:10]]
    votes, told, spoken = Table(lines, own_knowledge.gazetteer).votes(Reader().read(["gg 5"]))
    assert not votes.any() and not len(told) and not len(spoken.line)


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


def plainly(
    learned: Learned, lines: list[Phrase], address: str
) -> tuple[dict[int, tuple[float, ...]], dict[int, list[str]]]:
    """(label -> what each witness says, row -> the phrases that speak loudest for it) of one address, step by step."""
    gazetteer, codes = learned.gazetteer, list(learned.voice.heads[HEAD].labels)
    told: dict[str, list[Phrase]] = {}
    for line in lines:
        told.setdefault("".join(f"#{w}" if w.isdigit() else w for w in line.phrase.split()), []).append(line)
    weight = {
        key: max(p.purity**4 * min(1.0, p.support / 5) ** 0.5 * (1 if p.support < 300 else 0.3) for p in some)
        for key, some in told.items()
    }
    keys = [key for key in phrases(tokens(address)) if weight.get(key, 0) >= 0.001]
    votes: dict[str, float] = {}
    for key in keys:
        for p in told[key]:
            share = p.purity * p.support / (p.support + 0.5) * weight[key] / sum(weight[k] for k in keys)
            votes[p.kelurahan_code] = votes.get(p.kelurahan_code, 0.0) + share
    chance = learned.voice.chances([voiced(address)], HEAD)[0]
    heard = hear(address, gazetteer)
    named = {gazetteer.codes[row]: weight for row, weight in scores(heard, gazetteer).items()}
    loudest = sorted(votes, key=votes.__getitem__, reverse=True)[:2]
    asked = {codes[i] for i in np.argsort(-chance)[:6]} | (set(codes) & {*named, *loudest})
    found = {}
    for code in asked:
        inside = code[:8] in heard.kecamatan
        found[codes.index(code)] = (
            float(np.log(chance[codes.index(code)] + 1e-4)), float(np.log(votes.get(code, 0.0) + 0.01)),
            named.get(code, 0.0), code not in named, inside, bool(heard.kecamatan) and not inside,
        )  # fmt: skip
    loud = {
        row: sorted((-weight[k] * p.purity * p.support / (p.support + 0.5), k, p) for k in keys for p in told[k]
                    if p.kelurahan_code == gazetteer.codes[row])
        for row in map(gazetteer.row_of.__getitem__, votes)
    }  # fmt: skip
    words = {
        row: [f"{p.phrase}: {round(p.support * p.purity)} of {p.support}" for *_, p in some[:3]]
        for row, some in loud.items()
    }
    return found, words


_PIECES = "jl melati ungu gang kersen jalan kenanga dekat pasar burung rw 5 7 , rt no kel. tebet kec cipete selatan kebon baru"


@settings(deadline=None)
@given(st.lists(st.lists(st.sampled_from(_PIECES.split()), max_size=14).map(" ".join), max_size=8))
def test_many_addresses_at_once_are_judged_as_a_plain_loop_judges_each(
    taught_by: tuple[Learned, list[Phrase]], addresses: list[str]
) -> None:
    learned, lines = taught_by
    seen, _ = learned.look(addresses, [hear(a, learned.gazetteer) for a in addresses])
    judged = judge(learned, addresses)
    for i, address in enumerate(addresses):
        if not address:
            assert i not in seen.owner
            continue
        features, words = plainly(learned, lines, address)
        mine = seen.owner == i
        assert seen.label[mine].tolist() == sorted(features)
        np.testing.assert_allclose(seen.features[mine], [features[label] for label in sorted(features)], atol=1e-6)
        assert judged[i].words == words.get(judged[i].rows[0], [])


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
