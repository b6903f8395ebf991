"""Linking against a plain loop, in crowds where every level and rule happens, and in loads of any size."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.transforms.likeness import LEVELS
from tests.transforms.crowd import Crowd, Linked, number_of, plain


@pytest.fixture(scope="module", params=(0, 1, 2, 3, 4, 6))
def crowd(request: pytest.FixtureRequest) -> tuple[Crowd, Linked]:
    made = Crowd.random(request.param, 260)
    return made, made.link()


def told_apart(found: Linked) -> Linked:
    return found._replace(links=[link._replace(told=0) for link in found.links])


def test_every_report_goes_where_a_plain_loop_would_put_it(crowd: tuple[Crowd, Linked]) -> None:
    made, found = crowd
    assert told_apart(found) == plain(made)


def test_every_level_and_rule_happens_in_these_crowds(crowd: tuple[Crowd, Linked]) -> None:
    _, found = crowd
    assert {link.level for link in found.links} == {"opened", *LEVELS} - {"unfixed"}  # by which nothing joins
    assert any(link.follows for link in found.links)
    assert any(link.told for link in found.links if link.level == "place_time")
    assert any(ticket != link.ticket_id for ticket, link in zip(found.tickets, found.links, strict=True))


@pytest.mark.parametrize("size", [1, 7, 100])
def test_loads_of_any_size_link_as_one_load_does(crowd: tuple[Crowd, Linked], size: int) -> None:
    made, whole = crowd
    assert made.link(sizes=[size] * (260 // size - 1)) == whole


@given(st.integers(0, 1 << 30), st.lists(st.integers(0, 12), max_size=5))
@settings(max_examples=8)
def test_any_crowd_in_any_loads_is_linked_as_a_plain_loop_does(seed: int, sizes: list[int]) -> None:
    made = Crowd.random(seed, 60)
    found = made.link(sizes=sizes)
    assert told_apart(found) == plain(made)
    for report_no, ticket in enumerate(found.tickets):  # a ticket that has reports has its first among them
        assert found.tickets[number_of(ticket)] == ticket, report_no
