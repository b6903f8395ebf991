"""Which level a pair of reports reaches, and what bars it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.transforms import likeness
from tests.transforms.told import GELORA, MATCHING, PLACE, SENAYAN, Row, met, read, report, shown

LONG = "sudah seminggu warga mengeluh karena belum ada petugas yang datang ke sini"

SPOT = {"kelurahan_code": GELORA, "landmark": "masjid nurul"}
SAME_SPOT = SPOT | {"kind": "jalan"}
PAIRS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "same_photo": ({"files": [{"sha256": "a"}]}, {"files": [{"sha256": "a"}], "hours": 29 * 24}),
    "same_author_text": (
        {"text": LONG, "author_key": "a"},
        {"text": f"{LONG} pak", "author_key": "a", "hours": 29 * 24},
    ),
    "near_text": ({"text": LONG}, {"text": LONG, "hours": 6 * 24}),
    "place_time": (SAME_SPOT, SAME_SPOT | {"hours": 20}),
    "unfixed": ({"text": "katanya sudah selesai", **SPOT}, {"kind": "pohon", **SPOT, "hours": -29 * 24}),
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
    late = report(**other | {"hours": one.get("hours", 0) + 24 * rule + 1})
    assert met(report(**one), late) == (None, 0)


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
@settings(max_examples=150)
def test_likeness_is_the_same_from_both_sides_but_for_who_says_that_a_work_is_not_done(one: Row, other: Row) -> None:
    levels = {**MATCHING.levels, "unfixed": replace(MATCHING.levels["unfixed"], enabled=False)}
    even = replace(MATCHING, points={**MATCHING.points, "unfixed": 0.0}, levels=levels)
    assert met(one, other, even) == met(other, one, even)


@given(rows, rows)
@settings(max_examples=150)
def test_what_is_against_or_too_far_in_time_meets_at_no_level_and_another_matter_at_none_of_words(
    one: Row, other: Row
) -> None:
    seen, (level, score) = shown(one, other), met(one, other)
    assert (level is None) == (score == 0)
    if seen["against"] or seen["apart_s"] > MATCHING.longest_s:
        assert level is None
    if seen["kind_other"]:
        assert level in (None, "same_photo", "unfixed")


@given(rows, rows)
@settings(max_examples=150)
def test_what_is_left_out_before_it_is_compared_is_what_would_be_against(one: Row, other: Row) -> None:
    x = read(one, other)
    left_out = likeness._barred(x, np.array([0]), x, np.array([1]), MATCHING)[0]
    assert not left_out or shown(one, other)["against"]


def test_words_that_are_left_out_of_comparing_would_have_changed_no_level_and_no_score(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = "kemarin sore begini dan pagi ini juga sama seperti minggu lalu"  # speaks of no matter
    texts = ("", LONG, f"{LONG} pak", plain, f"{plain} katanya sudah selesai")
    kinds, files = (None, "jalan", "pohon"), ([], [{"sha256": "a"}])
    x = read(*(
        report(text, kind=kind, files=some, author_key=author, hours=hours, **SPOT)
        for text in texts for kind in kinds for some in files for author, hours in ((None, 0), ("a", 30))
    ))  # fmt: skip
    a, b = (side.ravel() for side in np.indices((len(x), len(x))))
    found = likeness.compare(x, a, x, b, MATCHING)
    assert {likeness.LEVELS[n] for n in np.unique(found.level) if n != likeness.NONE} == PAIRS.keys()
    seen = likeness.evidence(x, a, x, b, MATCHING)
    assert (seen["kind_other"] & seen["unfixed"] & seen["text_near"]).any()
    some, compared = likeness._texts, list[int]()

    def all_of_them(shown: Any, x: Any, a: Any, y: Any, b: Any, matching: Any, asked: Any) -> None:
        compared.append(len(a) - len(asked))
        some(shown, x, a, y, b, matching, np.arange(len(a)))

    monkeypatch.setattr(likeness, "_texts", all_of_them)
    whole = likeness.compare(x, a, x, b, MATCHING)
    assert sum(compared) > 0
    assert {n: getattr(found, n).tolist() for n in found.__slots__} == {
        n: getattr(whole, n).tolist() for n in whole.__slots__
    }
