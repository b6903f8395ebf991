"""How alike two reports are: what each pair shows. Which level that reaches is in test_levels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.transforms import likeness
from pipelines.transforms.likeness import LEVELS, NONE, POINTS, bars, compare, overlap, points
from pipelines.transforms.traits import M_LAT, Ragged
from tests.transforms.told import GELORA, MATCHING, PLACE, SENAYAN, met, read, report, shown

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
        ({"street": "jalan kenanga"}, {"street": "jalan kenanga indah"}, set()),  # the same or not, who knows
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
        (0, {"point_here", "point_near", "placed"}),
        (19, {"point_here", "point_near", "placed"}),
        (21, {"point_here", "point_within", "placed"}),
        (29, {"point_here", "point_within", "placed"}),
        (31, {"point_within", "placed"}),
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


# --- what reading real reports taught ---


def test_words_filled_into_one_form_for_two_streets_are_two_matters_though_the_points_are_near() -> None:
    here = {"kind": "saluran_air", "accuracy_m": 20, **PLACE}
    second = report(text=f"{LONG} dangkal", street="jalan melati 2", **here)
    assert met(report(text=LONG, street="jalan melati v", hours=1, **here), second)[0] != "near_text"
    assert met(report(text=LONG, street="jalan melati 2", hours=1, **here), second)[0] == "near_text"


@pytest.mark.parametrize(
    ("metres", "level"), [(0, "place_time"), (150, "place_time"), (199, "place_time"), (330, None), (420, None)]
)
def test_one_flood_reaches_no_further_than_people_name_one_rw(metres: float, level: str | None) -> None:
    told = {"kind": "banjir", "channel": "qlue", **PLACE}
    assert met(report(north_m=metres, hours=1, **told), report(**told))[0] == level


def test_two_citizens_own_matters_at_one_counter_stay_two_though_said_within_minutes() -> None:
    counter = {"kind": "dukcapil", "street": "jalan kenanga", "kelurahan_code": GELORA}
    one = report(text="akta lahir keponakan saya belum jadi", **counter)
    assert met(report(text="bagaimana syarat membuat kartu keluarga", hours=0.05, **counter), one)[0] is None
    again = report(text="akta lahir keponakan saya belum jadi juga", hours=0.05, **counter)
    assert met(again, one)[0] == "near_text"


def test_what_bars_a_pair_has_a_name_each_and_all_of_them_are_against_it() -> None:
    here = {"kelurahan_code": GELORA, "street": "jalan kenanga", "house_number": "4", "rw": 1}
    other = {"kelurahan_code": SENAYAN, "street": "jalan mawar", "house_number": "94", "rw": 2}
    for key, name in (
        ("kelurahan_code", "another kelurahan"),
        ("street", "another street"),
        ("house_number", "another house"),
        ("rw", "another RW"),
    ):
        seen = shown(report(**here), report(**here | {key: other[key]}))
        arrays = {flag: np.array([value]) for flag, value in seen.items()}
        assert [bar for bar, there in bars(arrays).items() if there[0]] == [name]
        assert seen["against"]
