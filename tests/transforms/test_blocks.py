"""The keys by which reports find each other: none is missed that they promise to find, and they mean the same tomorrow."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pipelines.transforms.blocks import CELL_M, Run, keys_of
from pipelines.transforms.likeness import LEVELS, NONE, compare
from pipelines.transforms.traits import M_LAT, M_LON, Ragged, Traits
from tests.transforms.told import GELORA, MATCHING, PLACE, SENAYAN, Row, read, report

BOTH = np.array([0, 1])


def lists(found: Ragged) -> list[set[int]]:
    return [set(found.values[a:b].tolist()) for a, b in zip(found.start, found.start[1:], strict=False)]


def meet(x: Traits) -> tuple[bool, bool]:
    """Whether the second report finds the first, and the first the second."""
    keys = keys_of(x)
    (own, other_own), (asked, other_asked) = lists(keys.own), lists(keys.probes)
    return bool(own & other_asked), bool(other_own & asked)


def keys_meet(one: Row, other: Row) -> tuple[bool, bool]:
    return meet(read(one, other))


# Few places, streets, marks and matters, so that levels hold; streets spelt with slips in vowels and doubled letters.
places = st.fixed_dictionaries({
    "kelurahan_code": st.sampled_from([None, GELORA, SENAYAN]),
    "street": st.sampled_from([None, "jalan kenanga", "jalan knanga", "jalan kenangga", "gang mawar"]),
    "house_number": st.sampled_from([None, "4", "5"]),
    "rt": st.sampled_from([None, 1, 2]),
    "rw": st.sampled_from([None, 3]),
    "landmark": st.sampled_from([None, "masjid nurul", "masjid agung"]),
    "kind": st.sampled_from(["jalan", "banjir", "kebakaran", "parkir_liar"]),
    "hours": st.floats(0, 400),
    "accuracy_m": st.sampled_from([None, 5, 800]),
})  # fmt: skip
spot = st.none() | st.tuples(st.floats(-CELL_M, CELL_M), st.floats(-CELL_M, CELL_M))


def placed(cells: dict[str, Any], at: tuple[float, float] | None, near: tuple[float, float]) -> Row:
    """A report so many metres north and east of a place; None: without a point."""
    if at is None:
        return report(**cells)
    return report(lat=near[0] + at[0] / M_LAT, lon=near[1] + at[1] / M_LON, **cells)


@given(places, places, spot, spot, st.tuples(st.floats(-6.4, -5.9), st.floats(106.6, 107.0)))
@settings(max_examples=200)
def test_no_pair_of_one_place_matter_and_time_is_missed_by_the_keys(
    one: dict[str, Any], other: dict[str, Any], a: Any, b: Any, near: tuple[float, float]
) -> None:
    """As long as points that are all they have in common lie at most 200 m apart, and slips leave a street its consonants."""
    assume(a is None or b is None or max(abs(a[0] - b[0]), abs(a[1] - b[1])) <= CELL_M)
    x = read(placed(one, a, near), placed(other, b, near))
    like = compare(x, BOTH, x, BOTH[::-1], MATCHING)
    if (like.level == LEVELS.index("place_time")).any():
        assert meet(x) == (True, True)


@given(st.integers(0, (1 << 64) - 1), st.sets(st.integers(0, 63), max_size=8))
def test_a_picture_finds_its_copies_wherever_three_bits_differ(picture: int, changed: set[int]) -> None:
    copy = picture ^ sum(1 << bit for bit in changed)
    x = read(*(report(files=[{"phash": f"{p:016x}"}]) for p in (picture, copy)))
    quarters = {bit // 16 for bit in changed}
    assert meet(x) == (len(quarters) < 4, len(quarters) < 4)
    held = compare(x, BOTH[:1], x, BOTH[1:], MATCHING).level[0] != NONE
    assert held == (len(changed) <= MATCHING.picture_bits)


def test_the_same_file_is_found_wherever_and_whenever_it_is_sent() -> None:
    photo = {"files": [{"sha256": "ab" * 32}]}
    assert keys_meet(report("satu", **photo, **PLACE), report("dua", hours=700, **photo)) == (True, True)


def test_a_street_without_its_kelurahan_is_found_by_name_alone_and_with_another_one_not_at_all() -> None:
    street = {"street": "jalan kenanga"}
    here, there = report(kelurahan_code=GELORA, **street), report(kelurahan_code=SENAYAN, **street)
    assert keys_meet(here, report(**street)) == (True, True)
    assert keys_meet(report(**street), report(**street)) == (True, True)
    assert keys_meet(here, there) == (False, False)


def test_reports_that_have_nothing_in_common_but_their_kelurahan_are_not_compared() -> None:
    assert keys_meet(report("lubang", kelurahan_code=GELORA), report("sampah", kelurahan_code=GELORA)) == (False, False)
    assert keys_meet(report(), report()) == (False, False)


# --- texts ---

VOCABULARY = [f"kata{n}" for n in range(2_000)]


def copies(count: int, kept: float, **cells: Any) -> tuple[Traits, list[float]]:
    """Pairs of a text and its copy with words dropped and added, one after another; how alike each pair is."""
    rng, rows, alike = random.Random(20260101), [], []
    for _ in range(count):
        words = rng.sample(VOCABULARY, 30)
        copy = [w for w in words if rng.random() < kept] + rng.sample(VOCABULARY, 1)
        rows += [report(" ".join(words), **cells), report(" ".join(copy), **cells)]
        alike.append(len({*words} & {*copy}) / len({*words} | {*copy}))
    return read(*rows), alike


def shared(x: Traits) -> float:
    """The share of neighbours that find each other."""
    keys = keys_of(x)
    own, asked = lists(keys.own), lists(keys.probes)
    return float(np.mean([bool(own[n] & asked[n + 1]) for n in range(0, len(own), 2)]))


@pytest.mark.parametrize("cells", [{}, {"kelurahan_code": GELORA}, {"author_key": "a"}])
def test_near_copies_are_found_nearly_always_by_words_alone(cells: dict[str, Any]) -> None:
    x, alike = copies(300, 0.97, **cells)
    assert np.mean(alike) > 0.9
    assert shared(x) >= 0.98


def test_an_author_who_says_much_the_same_is_found_more_often_than_not_and_other_texts_hardly_ever() -> None:
    x, alike = copies(300, 0.8, author_key="a")
    assert 0.55 < np.mean(alike) < 0.8
    assert shared(x) >= 0.9
    x, alike = copies(300, 0.0)
    assert shared(x) <= 0.01


def test_texts_of_few_words_are_not_looked_up_by_them() -> None:
    short = "tolong segera ditambal pak"
    assert keys_meet(report(short), report(short)) == (False, False)
    assert keys_meet(report(short, author_key="a"), report(short, author_key="a")) == (True, True)


def test_of_two_that_say_where_the_words_find_each_other_only_within_a_kelurahan() -> None:
    text = " ".join(VOCABULARY[:30])
    here = report(text, street="jalan kenanga", kelurahan_code=GELORA)
    assert keys_meet(here, report(text, street="gang mawar", kelurahan_code=GELORA)) == (True, True)
    assert keys_meet(here, report(text, street="gang mawar", kelurahan_code=SENAYAN)) == (False, False)
    assert keys_meet(here, report(text)) == (True, True)


# --- stored ---


def test_keys_are_the_same_in_every_process_and_order() -> None:
    rows = [report(f"laporan {n} {' '.join(VOCABULARY[n : n + 9])}", street="jalan kenanga", **PLACE) for n in range(9)]
    whole, back = keys_of(read(*rows)), keys_of(read(*rows[::-1]))
    assert lists(whole.own) == lists(back.own)[::-1]
    assert lists(whole.probes) == lists(back.probes)[::-1]
    assert all(key >= 0 for key in whole.own.values.tolist())
    # A stored key must mean the same tomorrow: these were written down when keys were first stored.
    [own] = lists(keys_of(read(report(street="jalan kenanga", **PLACE))).own)
    assert sorted(own) == [1720986563683488157, 6504229028423058738, 8204663899688463119]


def test_no_reports_have_no_keys() -> None:
    keys = keys_of(read())
    assert [k.start.tolist() for k in (keys.own, keys.probes)] == [[0], [0]]


# --- a run ---

keyed = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 30)), max_size=30)  # key, hour


def run(items: list[tuple[int, int]]) -> Run:
    keys, hours = (np.array([i[n] for i in items], np.int64) for n in (0, 1))
    return Run(keys, np.arange(len(items)), hours)


@given(keyed, keyed, st.lists(st.tuples(st.integers(0, 7), st.integers(0, 4)), max_size=20), st.integers(0, 12))
def test_pairs_are_those_of_a_plain_loop_each_once_also_of_runs_put_together(
    first: list[tuple[int, int]], more: list[tuple[int, int]], probes: list[tuple[int, int]], within: int
) -> None:
    both = [*first, *more]
    hours = [3, 8, 15, 21, 30]  # of each asking row
    probes = sorted(probes)
    plain = sorted({
        (asking, row)
        for key, asking in probes
        for row, (own, hour) in enumerate(both)
        if own == key and abs(hour - hours[asking]) <= within
    })  # fmt: skip
    asked, asking = (np.array([p[n] for p in probes], np.int64) for n in (0, 1))
    for made in (run(both), run(first).with_more(run(more), len(first))):
        a, b = made.pairs(asked, asking, np.array(hours), within)
        assert list(zip(a.tolist(), b.tolist(), strict=True)) == plain
        near = any(abs(hour - h) <= within for _, hour in both for h in hours)
        assert made.near(np.array(hours), within) >= near


def test_hours_are_beside_the_keys_never_in_them() -> None:
    one, other = (keys_of(read(report(hours=h, street="jalan kenanga"))) for h in (0, 5_000))
    assert lists(one.own) == lists(other.own)
