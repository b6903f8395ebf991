"""Linking: the ticket each report joins, follows or opens, and which tickets a report makes one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from pipelines.contracts import short_hash, ticket_id_of, ticket_no_of
from pipelines.transforms.act_shapes import Asked as Act
from pipelines.transforms.act_shapes import Done
from pipelines.transforms.acts import Acts
from pipelines.transforms.link import Link, Turn
from tests.transforms.crowd import LONG, Crowd, Linked, name_of, number_of
from tests.transforms.told import GELORA, MATCHING, SENAYAN, START, Row, report

AREA = {"kelurahan_code": GELORA, "kind": "banjir"}
POINT = {"lat": -6.2, "lon": 106.8, "accuracy_m": 5, **AREA}  # radius of a flood 150 m: within 160 m, near within 80
STREET = {"street": "jalan kenanga", **AREA}
CRM = "JK2306180342"


def t(number: int) -> str:
    return ticket_id_of(name_of(number))


def no(number: int) -> str:
    return ticket_no_of(name_of(number))


def linked(
    *reports: Row | dict[str, Any], refs: Sequence[str | None] = (), cites: Sequence[Sequence[str]] = (),
    turns: Sequence[Turn] = (), acts: Acts | None = None, **off: bool,
) -> Linked:  # fmt: skip
    """Reports at arrival 0, 10, 20 ... Levels that are named are switched on or off."""
    crowd = Crowd.of([report(**r) if "text_key" not in r else r for r in reports], refs, cites)
    crowd.turns = list(turns)
    levels = {**MATCHING.levels, **{name: replace(MATCHING.levels[name], enabled=on) for name, on in off.items()}}
    return crowd.link(replace(MATCHING, levels=levels), acts=acts)


def joined(found: Linked) -> list[int]:
    """By report, the number of the first report of the ticket it is in."""
    return [number_of(ticket) for ticket in found.tickets]


def levels(found: Linked) -> list[str]:
    return [link.level for link in found.links]


# --- which ticket ---


def test_two_reports_of_one_matter_are_one_ticket_and_the_link_says_what_was_compared() -> None:
    found = linked(POINT, POINT | {"hours": 1})
    score = found.links[1].score
    assert found.links == [
        Link(t(0), "opened", 1000, told=17),
        Link(t(0), "place_time", score, other=0, through=t(0)),
    ]
    assert 560 < score < 1000


@pytest.mark.parametrize(
    "other", [{"lat": -6.203}, {"kind": "pohon"}, {"hours": 25}, {"kelurahan_code": SENAYAN, "lat": -6.203}]
)
def test_another_place_matter_or_time_is_another_ticket(other: dict[str, Any]) -> None:
    assert levels(linked(POINT, POINT | other)) == ["opened", "opened"]


def test_of_two_that_match_the_better_level_wins_then_the_score_then_the_older() -> None:
    here, asked = {**POINT, "text": LONG}, {**POINT, "text": LONG, "author_key": "a"}
    far, same = POINT | {"lat": -6.201}, {"text": LONG, "author_key": "a"}
    assert joined(linked(far, same, asked, bridge=False)) == [0, 1, 1]
    assert joined(linked(far, POINT | {"lat": -6.1992}, POINT | {"lat": -6.1996}, bridge=False)) == [0, 1, 1]
    twin = POINT | {"lat": -6.199, "house_number": "4"}, POINT | {"lat": -6.199, "house_number": "900"}
    assert joined(linked(*twin, POINT | {"lat": -6.199}, bridge=False)) == [0, 1, 0]
    assert joined(linked(here, asked)) == [0, 0]


def test_chains_do_not_creep_along_points() -> None:
    steps = [report(north_m=100.0 * n, **POINT) for n in range(4)]
    assert joined(linked(*steps)) == [0, 0, 2, 2]


def test_chains_do_not_creep_along_time() -> None:
    steps = [POINT, STREET | POINT | {"hours": 20}, STREET | {"hours": 40}]
    assert joined(linked(*steps)) == [0, 0, 2]
    assert joined(linked(*steps[:2], STREET | {"hours": 23})) == [0, 0, 0]


def test_a_report_that_first_tells_the_street_leads_those_that_tell_nothing_else() -> None:
    found = linked(POINT, POINT | STREET | {"hours": 1}, STREET | {"hours": 2})
    assert joined(found) == [0, 0, 0]
    assert [link.other for link in found.links] == [-1, 0, 1]
    assert [link.told for link in found.links] == [17, 19, 0]


def test_one_that_joined_by_words_or_just_so_leads_nobody_by_place() -> None:
    by_words = linked({"text": LONG, **POINT}, {"text": LONG, **POINT, **STREET}, STREET)
    assert (levels(by_words)[1], joined(by_words)) == ("near_text", [0, 0, 2])
    hole = {"kind": "jalan", "author_key": "a"}
    weak = linked(POINT | hole, POINT | STREET | hole, STREET | hole)
    assert (levels(weak)[1], joined(weak)) == ("place_time", [0, 0, 2])
    assert weak.links[1].score < MATCHING.levels["bridge"].min_score


def test_by_the_same_words_a_report_joins_through_any_report_of_a_ticket() -> None:
    found = linked(POINT, {"text": LONG, **POINT}, {"text": LONG})
    assert (joined(found), found.links[2].other) == ([0, 0, 0], 1)


# --- numbers ---


def test_the_crms_own_number_comes_first_and_brings_history_back_to_its_ticket_even_when_closed() -> None:
    asked = [POINT, {"lat": -6.1, "lon": 106.9, "kind": "pohon"}]
    for turns in ([], [Turn(5, t(0), open=False)]):
        found = linked(*asked, refs=[CRM, CRM], turns=turns)
        assert found.links[1] == Link(t(0), "external_ref", 1000, through=t(0), number=CRM)


def test_a_cited_number_ours_or_the_crms_leads_to_its_ticket_whatever_speaks_against_it() -> None:
    other = {"kelurahan_code": SENAYAN, "kind": "pohon", "hours": 24 * 300}
    for number in (CRM, no(0)):
        found = linked(POINT, other, refs=[CRM, None], cites=[[], ["JK0000000000", number]])
        assert found.links[1] == Link(t(0), "cited", 1000, through=t(0), number=number)
    assert levels(linked(POINT, other, cites=[[], [no(0)]], cited=False)) == ["opened", "opened"]


def test_of_cited_tickets_the_first_open_one_is_joined_and_a_closed_one_followed() -> None:
    apart = [{"lat": -6.2 + n / 10, "lon": 106.8} for n in range(4)]
    cites = [[], [], [no(0), no(1)], [no(0)]]
    found = linked(*apart, cites=cites, turns=[Turn(15, t(0), open=False)])
    assert joined(found) == [0, 1, 1, 3]
    assert found.links[3] == Link(t(3), "opened", 1000, number=no(0), follows=t(0), told=17)


def test_whoever_cites_a_closed_ticket_joins_the_open_one_that_already_follows_it() -> None:
    found = linked(POINT, POINT, POINT, cites=[[], [no(0)], [no(0)]], turns=[Turn(5, t(0), open=False)])
    assert joined(found) == [0, 1, 1]
    assert [link.follows for link in found.links] == [None, t(0), None]


# --- closed tickets ---


def test_what_matches_a_closed_ticket_only_opens_one_that_follows_it() -> None:
    found = linked(POINT, POINT, POINT, turns=[Turn(5, t(0), open=False)])
    assert joined(found) == [0, 1, 1]
    assert found.links[1] == Link(t(1), "opened", 1000, other=0, follows=t(0), told=17)
    assert found.links[2].follows is None


def test_whoever_says_that_a_work_is_not_done_takes_up_the_closed_ticket_of_the_place_whatever_it_is_about() -> None:
    again = POINT | {"text": "katanya sudah selesai", "kind": None, "hours": 24 * 20}
    found = linked(POINT, again, turns=[Turn(5, t(0), open=False)])
    assert found.links[1] == Link(t(1), "opened", 1000, other=0, follows=t(0), told=17)
    assert linked(POINT, again).links[1] == Link(t(1), "opened", 1000, told=17)
    late = again | {"hours": 24 * 31}
    assert linked(POINT, late, turns=[Turn(5, t(0), open=False)]).links[1].follows is None


def test_a_ticket_that_is_opened_again_takes_reports_again() -> None:
    found = linked(POINT, POINT, turns=[Turn(3, t(0), open=False), Turn(5, None, open=True, report_id=name_of(0))])
    assert joined(found) == [0, 0]


def test_a_ticket_that_comes_in_closed_takes_no_report_after_it() -> None:
    assert joined(linked(POINT, POINT, turns=[Turn(0, t(0), open=False)])) == [0, 1]


# --- tickets that a report shows to be one ---

BOTH = [POINT, STREET, POINT | STREET]


def test_a_report_that_belongs_to_two_tickets_makes_them_one_the_older() -> None:
    assert joined(linked(*BOTH[:2])) == [0, 1]
    acts = Acts()
    found = linked(*BOTH, BOTH[1], acts=acts)
    assert joined(found) == [0, 0, 0, 0]
    assert [link.ticket_id for link in found.links] == [t(0), t(1), t(1), t(0)]
    assert found.links[3].through == t(1)
    [effect] = acts.effects
    assert (effect.superseded, effect.done.actor) == ({t(1): t(0)}, "pipeline")
    assert [(m.report_id, m.origin, m.target) for m in effect.done.moves] == [(name_of(n), t(1), t(0)) for n in (1, 2)]
    assert {row.level for row in acts.changed()} == {"bridge"}
    assert joined(linked(*BOTH, bridge=False)) == [0, 1, 1]


def test_one_that_cites_a_ticket_and_surely_belongs_to_another_makes_them_one() -> None:
    assert joined(linked(*BOTH[:2], STREET, cites=[[], [], [no(0)]])) == [0, 0, 0]


@pytest.mark.parametrize(("acted", "ends"), [(0, [0, 0, 0]), (1, [0, 1, 1])])
def test_tickets_stay_two_where_somebody_acts_on_the_younger(acted: int, ends: list[int]) -> None:
    assert joined(linked(*BOTH, turns=[Turn(15, t(acted), None)])) == ends
    assert joined(linked(*BOTH, turns=[Turn(15, None, None, name_of(acted))])) == ends


@pytest.mark.parametrize("shut", [0, 1])
def test_a_closed_ticket_becomes_one_with_no_other(shut: int) -> None:
    found = linked(*BOTH, turns=[Turn(15, t(shut), open=False)])
    assert joined(found) == [0, 1, 1 - shut]


@pytest.mark.parametrize("ticket", [0, 1])
def test_tickets_stay_two_where_people_decided_about_either(ticket: int) -> None:
    pinned = Done("d1", "pin", t(ticket), None, [name_of(ticket)], None, [], "Sari", "sudah dicek", START, 0)
    assert joined(linked(*BOTH, acts=Acts(past=[pinned]))) == [0, 1, 1]


def test_tickets_that_people_took_apart_again_are_not_made_one_again() -> None:
    act_id = short_hash("bridge", t(0), t(1), "20")
    undo = Act(25, "d1", "undo", None, None, (), act_id, "Sari", "dua genangan", START)
    acts = Acts(asked=[undo])
    assert joined(linked(*BOTH, BOTH[2], acts=acts)) == [0, 1, 1, 1]
    assert acts.refused == []


@pytest.mark.parametrize(
    "differ",
    [
        ({"house_number": "4"}, {"house_number": "900"}),
        ({"rw": 1}, {"rw": 2}),
        ({"hours": 0}, {"hours": 30}),
    ],
)
def test_tickets_stay_two_where_their_first_reports_differ_in_house_rw_or_time(
    differ: tuple[dict[str, Any], ...],
) -> None:
    one, other = differ
    between = {"hours": other.get("hours", 0) / 2}
    assert joined(linked(STREET | one, STREET | other, STREET | between)) == [0, 1, 0]
    assert joined(linked(STREET, STREET | between)) == [0, 0]


def test_a_report_that_belongs_to_another_ticket_but_just_so_leaves_it_apart() -> None:
    dear = replace(MATCHING.levels["bridge"], min_score=999)
    crowd = Crowd.of([report(**r) for r in BOTH])
    assert joined(crowd.link(replace(MATCHING, levels={**MATCHING.levels, "bridge": dear}))) == [0, 1, 1]


def test_nothing_links_to_nothing() -> None:
    assert linked() == Linked([], [])


def test_what_people_split_off_leads_reports_within_the_time_of_its_own_first_report() -> None:
    said = [POINT | {"hours": 20}, POINT, POINT | STREET | {"hours": 30}]
    split = Act(25, "d1", "split", t(0), None, (name_of(1), name_of(2)), None, "Sari", "dua genangan", START)
    for hours, ends in ((40, [0, 1, 1, 3]), (20, [0, 1, 1, 1])):
        found = linked(*said, STREET | {"hours": hours}, acts=Acts(asked=[split]))
        assert joined(found) == ends
