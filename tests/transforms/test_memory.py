"""What linking remembers: the same candidates for every way in which it is cut up, those of a plain loop over all pairs."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.transforms import memory
from pipelines.transforms.blocks import keys_of
from pipelines.transforms.likeness import LEVELS
from pipelines.transforms.memory import Candidates, Memory
from pipelines.transforms.traits import Traits
from tests.transforms.crowd import pairs, rows
from tests.transforms.told import MATCHING, PLACE, read, report, shown


def told(found: Candidates) -> list[tuple[Any, ...]]:
    like = found.like
    parts = (found.report, like.level, -like.score.astype(int), found.other, like.reach_s)
    return list(zip(*(p.tolist() for p in parts), strict=True))


def plain(x: Traits) -> list[tuple[Any, ...]]:
    return [(n, *pair) for n, found in pairs(x).items() for pair in found]


@pytest.fixture(scope="module")
def crowd() -> Traits:
    return read(*rows(random.Random(20260302), 240, days=90))


@pytest.fixture(scope="module")
def every_pair(crowd: Traits) -> list[tuple[Any, ...]]:
    found = plain(crowd)
    assert {LEVELS[pair[1]] for pair in found} == set(LEVELS) - {"external_ref", "cited"}
    return found


@pytest.mark.parametrize("chunk", [1, 7, 100, 240, 5_000])
@pytest.mark.parametrize("shelf", [1, 30, 101, 100_000])
def test_candidates_are_those_of_a_plain_loop_for_every_chunk_and_shelf(
    crowd: Traits, every_pair: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch, chunk: int, shelf: int
) -> None:
    monkeypatch.setattr(memory, "_CHUNK", chunk)
    monkeypatch.setattr(memory, "_FULL", shelf)
    remembered, seen = Memory(MATCHING), []
    assert told(remembered.find(crowd, keys_of(crowd), seen.append)) == every_pair
    assert (remembered.size, sum(seen)) == (240, 240)
    assert all(len(s.traits) <= max(shelf, chunk) for s in remembered.shelves)


@given(st.integers(0, 1 << 30), st.lists(st.integers(0, 20), max_size=4))
@settings(max_examples=8)
def test_candidates_are_the_same_in_loads_of_any_size_added_or_found(seed: int, sizes: list[int]) -> None:
    x = read(*rows(random.Random(seed), 60, days=40))
    remembered, found, begin = Memory(MATCHING), list[tuple[Any, ...]](), 0
    for size in (*sizes, 60):
        part = x.take(np.arange(begin, min(begin + size, 60)))
        found += [(n + begin, *rest) for n, *rest in told(remembered.find(part, keys_of(part)))]
        begin = min(begin + size, 60)
    assert found == plain(x)
    half, rest = x.take(np.arange(30)), x.take(np.arange(30, 60))
    remembered = Memory(MATCHING)
    remembered.add(half, keys_of(half).own)
    later = [(n + 30, *more) for n, *more in told(remembered.find(rest, keys_of(rest)))]
    assert later == [pair for pair in found if pair[0] >= 30]


def test_nothing_is_found_among_nothing() -> None:
    none, some = read(), read(report("lubang", **PLACE))
    assert told(Memory(MATCHING).find(none, keys_of(none))) == []
    assert told(Memory(MATCHING).find(some, keys_of(some))) == []
    remembered = Memory(MATCHING)
    remembered.add(none, keys_of(none).own)
    assert (remembered.size, remembered.shelves) == (0, [])
    assert remembered.fit([])


@pytest.mark.parametrize("shelf", [1, 3, 100])
def test_the_evidence_of_any_two_places_is_that_of_their_reports(monkeypatch: pytest.MonkeyPatch, shelf: int) -> None:
    monkeypatch.setattr(memory, "_FULL", shelf)
    monkeypatch.setattr(memory, "_CHUNK", 2)
    reports = rows(random.Random(7), 9)
    remembered, x = Memory(MATCHING), read(*reports)
    remembered.find(x, keys_of(x))
    one, other = np.array([8, 0, 3, 8, 3]), np.array([0, 8, 3, 7, 5])
    found = remembered.shown(one, other)
    for k, (a, b) in enumerate(zip(one.tolist(), other.tolist(), strict=True)):
        assert {n: repr(v[k].item()) for n, v in found.items()} == {
            n: repr(v) for n, v in shown(reports[a], reports[b]).items()
        }


def test_two_places_fit_unless_something_speaks_against_them() -> None:
    here = {"kind": "jalan", "accuracy_m": 5, **PLACE}
    reports = [
        report(**here),
        report(**here, hours=24 * 13),
        report(**here, hours=24 * 15),  # such a matter stays 14 days
        report(**here, north_m=50),  # beyond 40 m
        report(**here, rw=1),
        report(**here, rw=2),
        report(),
    ]
    remembered, x = Memory(MATCHING), read(*reports)
    remembered.find(x, keys_of(x))
    fits = [(a, b) for a in range(7) for b in range(a + 1, 7) if remembered.fit([(a, b)])]
    apart = {(0, 2), (4, 5)} | {(2, n) for n in (3, 4, 5, 6)} | {(n, 3) for n in (0, 1, 2)} | {(3, 4), (3, 5)}
    apart |= {(1, 6), (2, 6)}  # of no known matter: a short while only
    assert fits == [(a, b) for a in range(7) for b in range(a + 1, 7) if (a, b) not in apart]
    assert not remembered.fit([(0, 1), (0, 2)])
