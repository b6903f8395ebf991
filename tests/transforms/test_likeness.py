"""How alike two reports are: what each pair shows, which level it reaches, and what bars it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.transforms import likeness
from pipelines.transforms.likeness import LEVELS, NONE, POINTS, compare, overlap, points
from pipelines.transforms.traits import M_LAT, Ragged
from tests.transforms.told import GELORA, MATCHING, PLACE, SENAYAN, Row, met, read, report, shown

LONG = "sudah seminggu warga mengeluh karena belum ada petugas yang datang ke sini"
SURE = {"accuracy_m": 5, "kind": "jalan"}  # radius 30 m + twice 5 m
BARE = {"kind_unknown", "soon"}
FLAGS = {*POINTS, "kind_other", "house_other", "rw_other", "placed", "against", "photo"}


def flags(one: dict[str, Any], other: dict[str, Any]) -> set[str]:
    return {name for name, value in shown(report(**one), report(**other)).items() if name in FLAGS and value}


# --- evidence ---


@pytest.mark.parametrize(
    ("one", "other", "seen"),
    [
        ({}, {}, set()),
        ({"kelurahan_code": GELORA}, {}, set()),
        ({"kelurahan_code": GELORA}, {"kelurahan_code": GELORA}, {"area_same"}),
        ({"kelurahan_code": GELORA}, {"kelurahan_code": SENAYAN}, {"area_other", "against"}),
        ({"street": "jalan kenanga"}, {"street": "jalan kenanga"}, {"way_same", "placed"}),
        ({"street": "jalan kenanga"}, {"street": "jalan kennga"}, {"way_alike", "placed"}),
        ({"street": "jalan kenanga"}, {"street": "gang kenanga"}, {"way_other", "against"}),
        ({"street": "jalan melati i"}, {"street": "jalan melati ii"}, {"way_other", "against"}),
        ({"street": "jalan kenanga"}, {"street": "jalan mawar"}, {"way_other", "against"}),
        ({"street": "jalan kenanga", "house_number": "4"}, {"street": "jalan kenanga", "house_number": "4"},
         {"way_same", "house_same", "placed"}),
        ({"house_number": "4"}, {"house_number": "4"}, set()),  # on which street?
        ({"house_number": "4"}, {"house_number": "5"}, {"house_near"}),
        ({"house_number": "4"}, {"house_number": "94"}, {"house_other", "against"}),
        ({"house_number": "4", "block": "a"}, {"house_number": "4", "block": "b"}, {"house_other", "against"}),
        ({"rt": 1, "rw": 2}, {"rt": 1, "rw": 2}, {"rt_same"}),
        ({"rt": 1}, {"rt": 1}, set()),
        ({"rt": 1}, {"rt": 2}, {"rt_other", "against"}),
        ({"rw": 1}, {"rw": 2}, {"rw_other", "against"}),
        ({"rt": 1, "street": "jalan kenanga"}, {"rt": 2, "street": "jalan kenanga"}, {"rt_other", "way_same", "placed"}),
        ({"rt": 1, "rw": 2, "kelurahan_code": GELORA}, {"rt": 1, "rw": 2, "kelurahan_code": GELORA},
         {"rt_same", "area_same", "placed"}),
        ({"landmark": "masjid nurul"}, {"landmark": "masjid nurul iman"}, {"mark_same"}),
        ({"landmark": "masjid nurul"}, {"landmark": "masjid agung"}, {"mark_alike"}),
        ({"landmark": "masjid nurul"}, {"landmark": "pasar"}, {"mark_other"}),
        ({"landmark": "masjid nurul", "kelurahan_code": GELORA}, {"landmark": "masjid nurul", "kelurahan_code": GELORA},
         {"mark_same", "area_same", "placed"}),
        ({"author_key": "a"}, {"author_key": "a"}, {"author"}),
        ({"author_key": "a"}, {"author_key": "b"}, set()),
        ({"text": "satu dua tiga empat"}, {"text": "satu dua tiga"}, {"text_near"}),
        ({"text": "satu dua tiga empat"}, {"text": "satu dua lima"}, {"text_some"}),
        ({"text": "satu dua tiga empat"}, {"text": "satu lima enam"}, set()),
        ({"text": "katanya sudah selesai"}, {}, {"unfixed"}),
        ({}, {"text": "katanya sudah selesai"}, set()),  # who spoke first cannot mean the later one's ticket
        ({"files": [{"sha256": "a"}]}, {"files": [{"sha256": "b"}, {"sha256": "a"}]}, {"photo"}),
        ({"files": [{"sha256": "a"}]}, {"files": [{"sha256": "b"}]}, set()),
        ({"files": [{"phash": "00000000000000ff"}]}, {"files": [{"phash": "f" * 16}, {"phash": "8000000000000001"}]}, set()),
        ({"files": [{"phash": "80000000000000ff"}]}, {"files": [{"phash": "f" * 16}, {"phash": "800000000000003f"}]}, {"photo"}),
    ],
)  # fmt: skip
def test_a_pair_shows_what_both_say_and_nothing_else(
    one: dict[str, Any], other: dict[str, Any], seen: set[str]
) -> None:
    assert flags(one, other) == BARE | seen


@pytest.mark.parametrize(
    ("metres", "seen"),
    [
        (0, {"point_near", "placed"}),
        (19, {"point_near", "placed"}),
        (21, {"point_within", "placed"}),
        (39, {"point_within", "placed"}),
        (41, {"point_beyond"}),
        (63, {"point_beyond"}),
        (65, {"point_far"}),
        (87, {"point_far"}),
        (89, {"point_far", "against"}),
        (90_000, {"point_far", "against"}),
    ],
)
def test_points_lie_as_far_apart_as_radius_and_what_both_may_be_off_allow(metres: float, seen: set[str]) -> None:
    point = {"lat": -6.2, "lon": 106.8, **SURE}
    found = flags(point, point | {"lat": -6.2 + metres / M_LAT})
    assert found == {"kind_first", "kind_sure", "soon", *seen}


def test_another_kelurahan_street_or_rt_is_excused_where_points_agree_and_another_house_or_rw_is_not() -> None:
    here = {"lat": -6.2, "lon": 106.8, "kelurahan_code": GELORA, "street": "jalan kenanga", "rt": 1, "rw": 1, **SURE}
    assert "against" not in flags(here, here | {"kelurahan_code": SENAYAN})
    assert "against" not in flags(here, here | {"street": "jalan mawar", "rt": None})
    for other in ({"rw": 2}, {"house_number": "94"}):
        assert "against" in flags(here | {"house_number": "4"}, here | other)


@pytest.mark.parametrize(("days", "seen"), [(1.3, "soon"), (1.5, "later"), (4.8, "later"), (5.0, "late"), (13, "late")])
def test_time_counts_by_how_long_such_a_matter_stays(days: float, seen: str) -> None:
    assert flags({"kind": "jalan", "hours": 24 * days}, {"kind": "jalan"}) & {"soon", "later", "late"} == {seen}


@pytest.mark.parametrize(
    ("one", "other", "seen"),
    [
        ({"kind": "jalan"}, {"kind": "trotoar"}, {"kind_first", "kind_sure"}),  # of one group
        ({"kind": "jalan"}, {"kind": "pohon"}, {"kind_other"}),
        ({"kind": "jalan"}, {}, {"kind_unknown"}),
        ({"kind": "jalan"}, {"category_reported": "pohon", "text": "aspal"}, {"kind_first", "kind_sure"}),
        ({"category_reported": "pohon", "text": "aspal berlubang"}, {"kind": "pohon"}, {"kind_same"}),
    ],
)
def test_the_matter_is_compared_by_all_that_it_may_be(
    one: dict[str, Any], other: dict[str, Any], seen: set[str]
) -> None:
    assert {f for f in flags(one, other) if f.startswith("kind")} == seen


def test_points_are_the_sum_of_what_is_seen_and_of_the_groups_own() -> None:
    one = report(street="jalan kenanga", author_key="a", **SURE)
    seen = {name: np.array([value]) for name, value in shown(one, one).items()}
    names = ("way_same", "author", "kind_first", "kind_sure", "soon")
    expected = sum(MATCHING.points[n] for n in names) + MATCHING.groups["jalan"].points
    assert points(seen, MATCHING).tolist() == pytest.approx([expected])


# --- levels ---

SAME_SPOT = {"kelurahan_code": GELORA, "landmark": "masjid nurul", "kind": "jalan"}
PAIRS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "same_photo": ({"files": [{"sha256": "a"}]}, {"files": [{"sha256": "a"}], "hours": 29 * 24}),
    "same_author_text": (
        {"text": LONG, "author_key": "a"},
        {"text": f"{LONG} pak", "author_key": "a", "hours": 29 * 24},
    ),
    "near_text": ({"text": LONG}, {"text": LONG, "hours": 6 * 24}),
    "place_time": (SAME_SPOT, SAME_SPOT | {"hours": 20}),
}
BARS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "kelurahan": ({"kelurahan_code": GELORA}, {"kelurahan_code": SENAYAN}),
    "street": ({"street": "jalan kenanga"}, {"street": "gang mawar"}),
    "house": ({"house_number": "4"}, {"house_number": "94"}),
    "block": ({"block": "a"}, {"block": "b"}),
    "rw": ({"rw": 1}, {"rw": 2}),
    "rt": ({"rt": 1}, {"rt": 2}),
    "far point": ({"lat": -6.2, "lon": 106.8, "accuracy_m": 5}, {"lat": -6.205, "lon": 106.8, "accuracy_m": 5}),
}  # fmt: skip


@pytest.mark.parametrize("level", PAIRS)
def test_each_level_holds_within_its_time_and_not_beyond(level: str) -> None:
    one, other = PAIRS[level]
    assert met(report(**one), report(**other))[0] == level
    rule = MATCHING.levels[level].horizon_days or MATCHING.groups["jalan"].horizon_s / 86_400
    assert met(report(**one), report(**other | {"hours": 24 * rule + 1})) == (None, 0)


@pytest.mark.parametrize("level", PAIRS)
@pytest.mark.parametrize("bar", BARS)
def test_what_speaks_against_one_place_bars_every_level(level: str, bar: str) -> None:
    (one, other), (a, b) = PAIRS[level], BARS[bar]
    assert met(report(**one | a), report(**other | b)) == (None, 0)


@pytest.mark.parametrize("level", PAIRS)
def test_a_level_that_is_switched_off_never_holds(level: str) -> None:
    one, other = PAIRS[level]
    off = replace(MATCHING, levels={**MATCHING.levels, level: replace(MATCHING.levels[level], enabled=False)})
    assert met(report(**one), report(**other), off)[0] != level


def test_the_first_level_that_holds_is_the_one_told_with_its_score() -> None:
    whole = {"text": LONG, "author_key": "a", "files": [{"sha256": "a"}], **SAME_SPOT}
    asked = report(**whole)
    assert met(asked, report(**whole)) == ("same_photo", 990)
    assert met(asked, report(**whole | {"files": []})) == ("same_author_text", 999)
    assert met(asked, report(**whole | {"files": [], "author_key": "b"})) == ("near_text", 999)
    level, score = met(asked, report(**whole | {"files": [], "author_key": "b", "text": "lubang"}))
    assert level == "place_time"
    assert 500 <= score < 999


def test_words_must_be_the_nearer_the_less_is_known_of_the_place() -> None:
    words = LONG.split()
    some = " ".join([*words[:9], "satu", "dua", "tiga"])  # 9 of 15 words in common: 0.6
    more = " ".join([*words[:10], "satu"])  # 10 of 13: 0.77
    street, area = {"street": "jalan kenanga"}, {"kelurahan_code": GELORA}
    found = [
        [met(report(LONG, **cells), report(copy, **cells))[0] for copy in (some, more, LONG)]
        for cells in (street, area, {})
    ]
    assert found == [["near_text"] * 3, [None, "near_text", "near_text"], [None, None, "near_text"]]


def test_few_words_are_the_same_by_chance() -> None:
    assert met(report("tolong segera ditambal"), report("tolong segera ditambal")) == (None, 0)
    here = {"street": "jalan kenanga"}
    assert met(report("tolong segera ditambal", **here), report("tolong segera ditambal", **here)) == ("near_text", 999)


# --- what is one matter ---


def test_a_hole_and_a_broken_road_at_one_spot_are_one_matter_by_words_alone() -> None:
    one, other = (report(text, accuracy_m=10, street="jalan kenanga", **PLACE)
                  for text in ("jalan berlubang besar", "jalanan rusak parah di sini"))  # fmt: skip
    assert met(one, other)[0] == "place_time"


ADDRESS = {"street": "jalan kenanga", "house_number": "4", "rt": 3, "rw": 4, "landmark": "masjid nurul", **PLACE}


@pytest.mark.parametrize("author", [None, "a"])
@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ada parkir liar di jalan kenanga rt 3 rw 4 gelora", "ada pohon tumbang di jalan kenanga rt 3 rw 4 gelora"),
        ("mobil parkir sembarangan", "pohon besar mau tumbang"),
    ],
)
def test_parked_cars_and_a_tree_never_are_one_matter_at_whichever_address(
    author: str | None, labelled: bool, one: str, other: str
) -> None:
    kinds = ("parkir_liar", "pohon") if labelled else (None, None)
    pair = [report(t, kind=k, author_key=author, **ADDRESS) for t, k in zip((one, other), kinds, strict=True)]
    assert met(*pair) == met(*pair[::-1]) == (None, 0)


def test_the_same_photo_is_one_matter_whatever_two_people_call_it() -> None:
    photo = {"files": [{"sha256": "a"}], **ADDRESS}
    assert (
        met(report("parkir liar", kind="parkir_liar", **photo), report("pohon", kind="pohon", **photo))[0]
        == "same_photo"
    )


def test_reports_that_do_not_say_where_are_one_matter_by_author_photo_or_the_very_words_alone() -> None:
    one = {"text": "jalan berlubang dan banyak motor jatuh setiap malam di sini", "kind": "jalan"}
    other = one | {"text": "jalan berlubang sudah dua minggu belum juga ditambal"}
    assert met(report(**one), report(**other)) == (None, 0)
    assert met(report(**one, author_key="a"), report(**other, author_key="a")) == (None, 0)
    assert met(report(**one), report(**one))[0] == "near_text"
    edited = one["text"].replace("malam", "sore").replace("motor", "mobil")
    assert met(report(**one), report(**one | {"text": edited})) == (None, 0)
    assert met(report(**one, author_key="a"), report(**one | {"text": edited}, author_key="a"))[0] == "same_author_text"


cells = st.fixed_dictionaries({
    "text": st.sampled_from(["", LONG, f"{LONG} pak", "jalan berlubang", "pohon tumbang", "katanya sudah selesai"]),
    "kind": st.sampled_from([None, "jalan", "pohon", "banjir"]),
    "kelurahan_code": st.sampled_from([None, GELORA, SENAYAN]),
    "street": st.sampled_from([None, "jalan kenanga", "jalan kennga", "gang mawar"]),
    "house_number": st.sampled_from([None, "4", "6", "94"]),
    "rt": st.sampled_from([None, 1, 2]),
    "rw": st.sampled_from([None, 1, 2]),
    "landmark": st.sampled_from([None, "masjid nurul", "masjid agung"]),
    "author_key": st.sampled_from([None, "a", "b"]),
    "hours": st.sampled_from([0, 1, 30, 200, 700]),
    "lat": st.sampled_from([None, -6.2, -6.2003, -6.21]),
    "lon": st.just(106.8),
    "accuracy_m": st.sampled_from([None, 5]),
    "files": st.sampled_from([[], [], [{"phash": "0" * 16}], [{"phash": "0" * 15 + "7"}]]),
})  # fmt: skip
rows = st.builds(lambda c: report(**c), cells)


@given(rows, rows)
@settings(max_examples=300)
def test_likeness_is_the_same_from_both_sides_but_for_who_says_that_a_work_is_not_done(one: Row, other: Row) -> None:
    even = replace(MATCHING, points={**MATCHING.points, "unfixed": 0.0})
    assert met(one, other, even) == met(other, one, even)


@given(rows, rows)
@settings(max_examples=300)
def test_what_is_against_or_too_far_in_time_meets_at_no_level_and_another_matter_by_photo_alone(
    one: Row, other: Row
) -> None:
    seen, (level, score) = shown(one, other), met(one, other)
    assert (level is None) == (score == 0)
    if seen["against"] or seen["apart_s"] > MATCHING.longest_s:
        assert level is None
    if seen["kind_other"]:
        assert level in (None, "same_photo")


def test_many_pairs_are_compared_as_each_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    spots = [report(LONG[: 8 * n], kind="jalan", north_m=7.0 * n, hours=n, accuracy_m=5, **PLACE) for n in range(9)]
    x = read(*spots)
    a, b = (v.ravel() for v in np.meshgrid(np.arange(9), np.arange(9)))
    whole = compare(x, a, x, b, MATCHING)
    alone = [met(spots[m], spots[n]) for m, n in zip(a, b, strict=True)]
    named = [None if n == NONE else LEVELS[n] for n in whole.level.tolist()]
    assert list(zip(named, whole.score.tolist(), strict=True)) == alone
    monkeypatch.setattr(likeness, "_STEP", 7)
    again = compare(x, a, x, b, MATCHING)
    assert [getattr(again, n).tolist() for n in again.__slots__] == [
        getattr(whole, n).tolist() for n in whole.__slots__
    ]
    assert len(compare(x, a[:0], x, b[:0], MATCHING).level) == 0


sets = st.lists(st.sets(st.integers(0, 9)), min_size=1, max_size=5)


@given(sets, sets, st.data())
def test_common_words_are_counted_as_sets_do(one: list[set[int]], other: list[set[int]], data: st.DataObject) -> None:
    x, y = (Ragged(np.array([v for s in some for v in sorted(s)], np.int64), np.cumsum([0, *map(len, some)]))
            for some in (one, other))  # fmt: skip
    pairs = data.draw(st.lists(st.tuples(st.integers(0, len(one) - 1), st.integers(0, len(other) - 1)), max_size=9))
    a, b = (np.array([p[n] for p in pairs], np.int64) for n in (0, 1))
    assert overlap(x, a, y, b).tolist() == [len(one[i] & other[j]) for i, j in pairs]
