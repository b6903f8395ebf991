"""How alike two reports are: pairs -> the level at which they are one incident, and how strongly.

Evidence is counted in points, about the binary logarithm of how much likelier two reports of one
incident are to show it than two others (Fellegi and Sunter 1969); the points are models/matching.toml's.
What speaks against one incident (another kelurahan, another house) bars every level but the numbers
people cite; another matter bars those of words and place, as one address and one way of writing serve
for many matters. All arrays have one value a pair.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from pipelines.transforms.matching import DAY, Matching
from pipelines.transforms.traits import Ragged, Traits

LEVELS = ("external_ref", "cited", "same_photo", "same_author_text", "near_text", "place_time", "unfixed")
PHOTO, AUTHOR_TEXT, NEAR_TEXT, PLACE_TIME, UNFIXED = (LEVELS.index(name) for name in LEVELS[2:])
NONE = len(LEVELS)
POINTS = (
    "point_here", "point_near", "point_within", "point_beyond", "point_far", "area_same", "area_other", "way_same",
    "way_alike", "way_other", "house_same", "house_near", "rt_same", "rt_other", "mark_same", "mark_alike",
    "mark_other", "kind_first", "kind_unlike", "kind_doubtful", "kind_likely", "kind_same", "kind_sure",
    "kind_unknown", "soon", "later", "late", "author", "text_near", "text_some", "unfixed",
)  # fmt: skip
_STEP = 1 << 15  # pairs compared at a time: what fits into the processor's cache

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Likeness:
    """level: place in LEVELS, NONE where no level holds; score: 0..1000; reach_s: how far apart in time
    they may be; group: what both are likeliest about, place in Matching.groups."""

    level: NDArray[np.int8]
    score: NDArray[np.int16]
    reach_s: Floats
    group: NDArray[np.int16]

    def take(self, rows: NDArray[np.int64]) -> Likeness:
        return Likeness(*(getattr(self, name)[rows] for name in self.__slots__))


def compare(x: Traits, a: NDArray[np.int64], y: Traits, b: NDArray[np.int64], matching: Matching) -> Likeness:
    """Rows a of x beside rows b of y."""
    open_ = np.flatnonzero(~_barred(x, a, y, b, matching))
    steps = range(0, max(len(open_), 1), _STEP)
    parts = [_compare(x, a[rows], y, b[rows], matching) for rows in (open_[s : s + _STEP] for s in steps)]
    found = Likeness(*(np.concatenate([getattr(p, n) for p in parts]) for n in Likeness.__slots__))
    if len(open_) == len(a):
        return found
    none = np.full(len(a), NONE, np.int8), np.zeros(len(a), np.int16), np.zeros(len(a)), np.full(len(a), -1, np.int16)
    whole = Likeness(*none)
    for name in Likeness.__slots__:
        getattr(whole, name)[open_] = getattr(found, name)
    return whole


def _barred(x: Traits, a: NDArray[np.int64], y: Traits, b: NDArray[np.int64], matching: Matching) -> Bools:
    """Pairs that `evidence` would find spoken against whatever they are about: most of those that share a key, at little
    cost. Another kelurahan or street bars where not both have a point."""
    area, other_area = x.area[a], y.area[b]
    barred = (area != other_area) & (area != 0) & (other_area != 0)
    way, other_way = x.way[a], y.way[b]
    named = (way != other_way) & (way != 0) & (other_way != 0)
    letters = np.bitwise_count(x.way_letters[a] ^ y.way_letters[b])
    barred |= named & ((x.way_kind[a] != y.way_kind[b]) | (letters > matching.bands["letters_unclear"]))
    barred &= np.isnan(x.x[a]) | np.isnan(y.x[b])
    rw, other_rw = x.rw_no[a], y.rw_no[b]
    return barred | ((rw != other_rw) & (rw != 0) & (other_rw != 0))


def _compare(x: Traits, a: NDArray[np.int64], y: Traits, b: NDArray[np.int64], matching: Matching) -> Likeness:
    shown = _where_and_when(x, a, y, b, matching)
    # Of the others no words could make a level hold: the costly half of comparing is left out.
    asked = ~shown["against"] & (~shown["kind_other"] | (shown["unfixed"] & shown["placed"]))
    _texts(shown, x, a, y, b, matching, np.flatnonzero(asked))
    levels, horizon = matching.levels, DAY * 1.0
    level = np.full(len(a), NONE, dtype=np.int8)
    score = np.zeros(len(a), dtype=np.int16)
    free = ~shown["against"]
    one_matter = free & ~shown["kind_other"]
    reach = np.zeros(len(a))

    def holds(which: int, where: Bools, strength: Any, days: Any) -> None:
        seconds = np.broadcast_to(np.asarray(days, dtype=float) * horizon, level.shape)
        where = where & (level == NONE) & (shown["apart_s"] <= seconds)
        level[where], reach[where] = which, seconds[where]
        score[where] = np.clip(np.broadcast_to(strength, level.shape)[where], 0, 999).astype(np.int16)

    similar = shown["similar"]
    if (rule := levels["same_photo"]).enabled:
        holds(PHOTO, shown["photo"] & free, 990, rule.horizon_days)
    if (rule := levels["same_author_text"]).enabled:
        alike = shown["author"] & (similar >= rule.min_similarity) & one_matter
        holds(AUTHOR_TEXT, alike, 1000 * similar, rule.horizon_days)
    if (rule := levels["near_text"]).enabled:
        here = shown["placed"] & (similar >= rule.min_similarity)
        here |= shown["area_same"] & (similar >= rule.min_similarity_area) & (shown["words"] >= rule.min_words)
        anywhere = ~shown["placed"] & (similar >= rule.min_similarity_unplaced) & (shown["words"] >= rule.min_words)
        one_street = ~shown["way_other"]  # also where points are near: forms are filled in alike for each street
        holds(NEAR_TEXT, (here | anywhere) & one_matter & one_street, 1000 * similar, rule.horizon_days)
    if (rule := levels["place_time"]).enabled:
        total = points(shown, matching)
        enough = shown["placed"] & one_matter & (total >= rule.min_points)
        strength = 500 + 25 * (total - rule.min_points)
        holds(PLACE_TIME, enough, strength, shown["horizon_s"] / horizon)
    if (rule := levels["unfixed"]).enabled:  # such a text seldom says again what it is about
        holds(UNFIXED, shown["unfixed"] & shown["placed"] & free, 500 + 10 * points(shown, matching), rule.horizon_days)
    return Likeness(level, score, reach, shown["group"])


def points(shown: dict[str, Any], matching: Matching) -> Floats:
    """All evidence of each pair added up."""
    total = shown["group_points"].copy()
    for name, weight in matching.points.items():
        total += weight * shown[name]
    return total


def evidence(x: Traits, a: NDArray[np.int64], y: Traits, b: NDArray[np.int64], matching: Matching) -> dict[str, Any]:
    """What each pair shows: a flag for every name of [points], and what the levels ask for beside: placed (both tell one
    place), against (they tell two), kind_other (nothing that both may be about) ..."""
    shown = _where_and_when(x, a, y, b, matching)
    _texts(shown, x, a, y, b, matching, np.arange(len(a)))
    return shown


def fit(x: Traits, a: NDArray[np.int64], y: Traits, b: NDArray[np.int64], matching: Matching) -> Bools:
    """Pairs of which nothing that they tell of place and time speaks against one incident."""
    shown = _where_and_when(x, a, y, b, matching)
    late = shown["apart_s"] > shown["horizon_s"]
    found: Bools = ~(shown["against"] | shown["point_beyond"] | shown["point_far"] | late)
    return found


def _where_and_when(
    x: Traits, a: NDArray[np.int64], y: Traits, b: NDArray[np.int64], matching: Matching
) -> dict[str, Any]:
    """`evidence` but for what author, photos and words show."""
    both = x.kinds[a] * y.kinds[b]
    same_kind, group = both.sum(axis=1), both.argmax(axis=1).astype(np.int16)
    known: Bools = np.logical_and(x.top[a] >= 0, y.top[b] >= 0)
    group[same_kind == 0] = -1
    radius, horizon, houses, of_group = (v[group] for v in matching.reach)  # the last stands for: none in common
    apart = np.abs(x.said_at[a] - y.said_at[b]).astype(float)
    shown: dict[str, Any] = {"apart_s": apart, "group": group, "horizon_s": horizon, "group_points": of_group}
    _kinds(shown, same_kind, x.top[a] == y.top[b], known, matching)
    shown["unfixed"] = x.unfixed[a] != 0
    shown["soon"], shown["later"], shown["late"] = _bands(apart / horizon, matching, "later", "late")
    _places(shown, x, a, y, b, radius, houses, matching)
    return shown


def _kinds(shown: dict[str, Any], same: Floats, first: Any, known: Bools, matching: Matching) -> None:
    shown["kind_unknown"] = ~known
    shown["kind_first"] = known & first
    names = ("kind_unlike", "kind_doubtful", "kind_likely", "kind_same", "kind_sure")
    for name, there in zip(("kind_other", *names), _bands(same, matching, *names), strict=True):
        shown[name] = known & there


def _bands(value: Floats, matching: Matching, *names: str) -> list[Bools]:
    """Which values lie below the first band of matching.toml, and in each: a band goes on to the next. NaN is in none."""
    limits = [-np.inf, *(matching.bands[name] for name in names), np.inf]
    return [(value >= low) & (value < high) for low, high in pairwise(limits)]


def _places(
    shown: dict[str, Any],
    x: Traits,
    a: NDArray[np.int64],
    y: Traits,
    b: NDArray[np.int64],
    radius: Floats,
    houses: Floats,
    matching: Matching,
) -> None:
    bands = matching.bands
    area_same, area_other = _agree(x.area[a], y.area[b])
    way_same, way_other = _agree(x.way[a], y.way[b])
    letters = np.bitwise_count(x.way_letters[a] ^ y.way_letters[b])
    way_alike = way_other & (x.way_kind[a] == y.way_kind[b]) & (letters <= bands["letters_slip"])
    # A word more or less in a name neither joins nor bars.
    way_other &= ~((x.way_kind[a] == y.way_kind[b]) & (letters <= bands["letters_unclear"]))
    way = way_same | way_alike
    house_same, house_other = _agree(x.house[a], y.house[b])
    house_near = house_other & (np.abs(x.house[a] - y.house[b]) <= houses)
    _, block_other = _agree(x.block_no[a], y.block_no[b])
    house_same, house_other = house_same & ~block_other, (house_other & ~house_near) | block_other
    rt_same, rt_other = _agree(x.rt_no[a], y.rt_no[b])
    rw_same, rw_other = _agree(x.rw_no[a], y.rw_no[b])
    mark_same, _ = _agree(x.mark_more[a], y.mark_more[b])
    mark_alike, mark_other = _agree(x.mark[a], y.mark[b])
    metres = np.hypot(x.x[a] - y.x[b], x.y[a] - y.y[b])
    share = metres / (radius + x.spread[a] + y.spread[b])
    near, within, beyond, far = _bands(share, matching, "point_within", "point_beyond", "point_far")
    shown |= {
        "point_here": metres <= bands["here_m"], "point_near": near, "point_within": within, "point_beyond": beyond,
        "point_far": far, "area_same": area_same, "area_other": area_other, "way_same": way_same,
        "way_alike": way_alike, "way_other": way_other, "house_same": house_same & (way | (rt_same & rw_same)),
        "house_near": house_near, "house_other": house_other, "rt_same": rt_same & rw_same, "rt_other": rt_other,
        "rw_other": rw_other, "mark_same": mark_same, "mark_alike": mark_alike & ~mark_same, "mark_other": mark_other,
        "metres": metres,
    }  # fmt: skip
    placed = near | within | (way & ~area_other) | (area_same & (mark_same | (rt_same & rw_same)))
    shown["placed"], shown["point_off"] = placed, share > bands["point_off"]
    shown["against"] = np.logical_or.reduce(list(bars(shown).values()))


def bars(shown: Mapping[str, Any]) -> dict[str, Bools]:
    """What bars every level but the numbers that people cite: its name -> the pairs."""
    here = shown["point_near"] | shown["point_within"]
    way = shown["way_same"] | shown["way_alike"]
    return {
        "another kelurahan": shown["area_other"] & ~here, "another street": shown["way_other"] & ~here,
        "another house": shown["house_other"], "far apart": shown["point_off"], "another RW": shown["rw_other"],
        "another RT": shown["rt_other"] & ~way,
    }  # fmt: skip


def _agree(u: NDArray[np.int64], v: NDArray[np.int64]) -> tuple[Bools, Bools]:
    """(both say the same, both say something and not the same)."""
    said = (u != 0) & (v != 0)
    same = u == v
    return said & same, said & ~same


def _texts(
    shown: dict[str, Any],
    x: Traits,
    a: NDArray[np.int64],
    y: Traits,
    b: NDArray[np.int64],
    matching: Matching,
    asked: NDArray[np.int64],
) -> None:
    """asked: pairs whose words are compared; those of the others count as not alike."""
    shown["author"] = _agree(x.author[a], y.author[b])[0]
    shown["photo"] = _share(x.photos, a, y.photos, b) | _near(x.pictures, a, y.pictures, b, matching.picture_bits)
    size = np.diff(x.words.start)[a], np.diff(y.words.start)[b]
    common = np.zeros(len(a), dtype=np.int64)
    common[asked] = overlap(x.words, a[asked], y.words, b[asked])
    shown["words"] = np.minimum(*size)
    shown["similar"] = similar = common / np.maximum(size[0] + size[1] - common, 1)
    _, shown["text_some"], shown["text_near"] = _bands(similar, matching, "text_some", "text_near")


def overlap(x: Ragged, a: NDArray[np.int64], y: Ragged, b: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many values lists a of x and b of y have in common; values rise in each list."""
    left, right = (_matrix(r.take(rows)) for r, rows in ((x, a), (y, b)))
    return np.asarray(left.multiply(right).sum(axis=1)).ravel().astype(np.int64)


def _matrix(lists: Ragged) -> sparse.csr_matrix:
    ones = np.ones(len(lists.values), dtype=np.int32)
    made = sparse.csr_matrix(
        (ones, lists.values, lists.start.astype(np.int32)), shape=(len(lists.start) - 1, 2**31 - 1)
    )
    made.has_canonical_format = True  # each list is rising, without repeats
    return made


def _share(x: Ragged, a: NDArray[np.int64], y: Ragged, b: NDArray[np.int64]) -> Bools:
    """Lists that have a value in common."""
    rows, u, v = _product(x, a, y, b)
    found = np.zeros(len(a), dtype=bool)
    found[rows[u == v]] = True
    return found


def _near(x: Ragged, a: NDArray[np.int64], y: Ragged, b: NDArray[np.int64], bits: int) -> Bools:
    """Lists with two values that differ in so many bits at most."""
    rows, u, v = _product(x, a, y, b)
    found = np.zeros(len(a), dtype=bool)
    found[rows[np.bitwise_count(u.view(np.uint64) ^ v.view(np.uint64)) <= bits]] = True
    return found


def _product(
    x: Ragged, a: NDArray[np.int64], y: Ragged, b: NDArray[np.int64]
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """(pair, value of x, value of y): every value of one beside every value of the other."""
    many = np.diff(x.start)[a], np.diff(y.start)[b]
    rows = np.flatnonzero((many[0] > 0) & (many[1] > 0))
    left, right = many[0][rows], many[1][rows]
    pair = np.repeat(rows, left * right)
    place = np.arange(len(pair)) - np.repeat(np.cumsum(left * right) - left * right, left * right)
    width = np.repeat(right, left * right)
    u = x.values[x.start[a[pair]] + place // np.maximum(width, 1)]
    v = y.values[y.start[b[pair]] + place % np.maximum(width, 1)]
    return pair, u, v
