"""What was said of a report's place -> one decision, with method and confidence.

Evidence of every kind is weighed together per kelurahan; names that contradict each other give an
ambiguous place with its candidates, never a confident guess. Belongs here: weighing. Not here: how much
each kind of evidence counts (models/evidence.toml), finding it in a text (hearing).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pipelines.transforms.gazetteer import Gazetteer, Name, Point

# These say little of a kecamatan or kota either.
PASSED = frozenset(("towards", "thing", "street", "numbered", "borrowed", "compass"))
# What the words around a name can make of it: the keys of `word`.
KINDS = PASSED | {"piece", "lane", "school", "people", "alone", "bare"}


@dataclass(frozen=True, slots=True)
class Weights:
    """models/evidence.toml, where each is explained; all from 0 to 1. word: kind -> weight, for every kind of
    KINDS; also_kecamatan: the same for some of them."""

    field: float
    asked: float
    named: float
    misspelt: float
    postcode: float
    landmark: float
    shared: float
    passing: float
    stem: float
    word: Mapping[str, float]
    also_kecamatan: Mapping[str, float]
    enough: float
    twice: float
    rival: float
    kecamatan_agrees: float
    kecamatan_differs: float
    kota_agrees: float
    kota_differs: float
    route: float


class Place(NamedTuple):
    """The place columns of contracts.REPORTS, without what the address says."""

    kelurahan_code: str | None
    kecamatan_code: str | None
    kota_code: str | None
    place_method: str
    place_confidence: float
    place_candidates: list[str] | None = None


_POSSIBLE = 0.05  # a chance below which a kelurahan is no candidate
NOWHERE = Place(None, None, None, "none", 0.0)


class Heard:
    """What was said of a place: per kelurahan row (weight, method) and the words for it; what names only a
    kecamatan or kota, with its words; how strongly somewhere outside."""

    __slots__ = (
        "everyday",
        "kecamatan",
        "kinds",
        "kota",
        "landmark",
        "outside",
        "row_words",
        "rows",
        "shared",
        "words",
    )

    def __init__(self) -> None:
        self.rows: dict[int, tuple[float, str]] = {}
        self.row_words: dict[int, set[str]] = {}
        self.kinds: dict[int, set[str]] = {}
        self.kecamatan: dict[str, dict[str, float]] = {}
        self.kota: dict[str, float] = {}
        self.shared: set[int] = set()
        self.everyday: list[tuple[Name, str]] = []
        self.outside = 0.0
        self.landmark: str | None = None
        self.words: dict[str, None] = {}

    def row(self, row: int, weight: float, method: str, words: str, kind: str = "") -> None:
        if kind:
            self.kinds.setdefault(row, set()).add(kind)
        if weight > self.rows.get(row, (0.0, ""))[0]:
            self.rows[row] = weight, method
        self.row_words.setdefault(row, set()).add(words)

    def area(self, code: str, weight: float, words: str) -> None:
        said = self.kecamatan.setdefault(code, {})
        said[words] = max(said.get(words, 0.0), weight)

    def town(self, code: str, weight: float) -> None:
        self.kota[code] = max(self.kota.get(code, 0.0), weight)


def scores(heard: Heard, gazetteer: Gazetteer) -> dict[int, float]:
    """What all words together say for each kelurahan, 0..0.95."""
    if not heard.rows:
        return {}
    areas = {gazetteer.kecamatan_of[row] for row in heard.rows} | heard.kecamatan.keys()
    weights = gazetteer.weights
    one_town = len(gazetteer.kota) == 1  # that every report names its city says nothing
    others = {row for row, kinds in heard.kinds.items() if kinds != {"towards"}}
    found = {}
    for row, (said, method) in heard.rows.items():
        weight, kecamatan = said, gazetteer.kecamatan_of[row]
        if method != "reported":
            kinds = heard.kinds.get(row, set())
            if heard.kecamatan.get(kecamatan, {}).keys() - heard.row_words[row]:
                weight += weights.kecamatan_agrees if len(areas) < 3 else 0.0
            elif heard.kecamatan and kecamatan not in heard.kecamatan:
                weight -= weights.kecamatan_differs
            if heard.kota and gazetteer.kota_of[row] not in heard.kota:
                weight -= weights.kota_differs
            elif heard.kota and not one_town and row not in heard.shared:
                weight += weights.kota_agrees
            if len(kinds) > 1 and weight >= weights.enough:  # said twice, and each time in another way
                weight += weights.twice
            if any(
                other != row and (other not in heard.shared or gazetteer.kecamatan_of[other] != kecamatan)
                for other in others
            ):  # another kelurahan is named as well, if only as a street
                weight -= weights.rival
            if len(areas) > 2:  # a route, or a list: none of them is the place for sure
                weight -= weights.route
        found[row] = max(0.0, min(0.95, weight))
    return found


def weigh(heard: Heard, point: Point | None, gazetteer: Gazetteer) -> Place:
    """One decision from all evidence. Trust: polygon, fields, names that agree, nearest centroid, lone names."""
    if point is None and not (heard.rows or heard.kecamatan or heard.kota or heard.outside):
        return NOWHERE
    said = scores(heard, gazetteer)
    ranked = sorted(said, key=lambda r: (-said[r], r))
    if point is not None and point.method != "outside":
        return _by_point(point, ranked, said, heard, gazetteer)
    best = said[ranked[0]] if ranked else 0.0
    if point is not None:
        if best >= gazetteer.weights.field and heard.rows[ranked[0]][1] == "reported":
            return _result(gazetteer, ranked[0], "reported", 0.6)
        return Place(None, None, None, "outside", point.confidence)
    if (
        best >= gazetteer.weights.enough and best > heard.outside and heard.outside < gazetteer.weights.field
    ):  # no words outweigh fields that say elsewhere
        close = [r for r in ranked if best - said[r] < 0.1]
        told = heard.rows[ranked[0]][1] == "reported" and heard.rows[ranked[1]][1] != "reported" if ranked[1:] else True
        if len(close) == 1 or told:
            doubt = 0.1 if heard.outside > gazetteer.weights.enough else 0.0
            return _result(gazetteer, ranked[0], heard.rows[ranked[0]][1], best - doubt)
        codes = [gazetteer.codes[r] for r in close[:5]]
        areas = {gazetteer.kecamatan_of[r] for r in close}
        if len(areas) == 1:
            area = areas.pop()
            return Place(None, area, gazetteer.kota_of_kecamatan[area], "kecamatan", round(min(0.8, best), 3), codes)
        return Place(None, None, None, "ambiguous", 0.3, codes)
    return _wider(heard, ranked, best, gazetteer)


def _wider(heard: Heard, ranked: list[int], best: float, gazetteer: Gazetteer) -> Place:
    """No kelurahan is sure: outside, a kecamatan, a kota, or only what is possible."""
    codes = [gazetteer.codes[r] for r in ranked[:5]] or None
    areas = {code: max(said.values()) for code, said in heard.kecamatan.items()}
    if len(areas) > 2 and max(areas.values()) < gazetteer.weights.asked:  # a route again
        areas = dict.fromkeys(areas, 0.4)
    inside = max([*areas.values(), *heard.kota.values(), best, 0.0])
    if heard.outside and heard.outside >= inside:
        if inside < gazetteer.weights.enough or heard.outside >= inside + 0.15:
            return Place(None, None, None, "outside", round(heard.outside, 3), codes)
        return Place(None, None, None, "ambiguous", 0.3, codes)
    if (
        areas
        and (top := max(areas.values())) > gazetteer.weights.passing
        and top >= max(heard.kota.values(), default=0.0) - 0.2
    ):
        code = max(areas, key=lambda c: (areas[c], c))
        kota = gazetteer.kota_of_kecamatan[code]
        rivals = sum(top - weight < 0.1 for weight in areas.values()) > 1
        astray = bool(heard.kota) and kota not in heard.kota
        if not rivals and not astray:
            return Place(None, code, kota, "kecamatan", round(top * 0.9, 3), codes)
    if heard.kota:
        code = max(heard.kota, key=lambda c: (heard.kota[c], c))
        top = heard.kota[code] * (0.9 if len(heard.kota) == 1 else 0.5)
        return Place(None, None, code, "kota", round(top, 3), codes)
    if codes or areas:
        return Place(None, None, None, "ambiguous", 0.2, codes)
    return NOWHERE


def _by_point(point: Point, ranked: list[int], scores: dict[int, float], heard: Heard, gazetteer: Gazetteer) -> Place:
    """A point inside the area, with or without words that agree."""
    named = scores.get(point.row, 0.0)
    if point.method == "polygon":
        return _result(gazetteer, point.row, "polygon", point.confidence + (0.02 if named else 0.0))
    beside = [r for r in ranked if r in point.near and scores[r] >= gazetteer.weights.shared]
    if beside:  # a kelurahan that is named and near: both count
        row = beside[0]
        method = "centroid" if row == point.row else heard.rows[row][1]
        return _result(
            gazetteer, row, method, min(0.97, max(scores[row], point.confidence if row == point.row else 0) + 0.1)
        )
    if ranked and heard.rows[ranked[0]][1] == "reported" and scores[ranked[0]] >= gazetteer.weights.field:
        return _result(gazetteer, ranked[0], "reported", 0.7, [gazetteer.codes[point.row]])
    return _result(
        gazetteer,
        point.row,
        "centroid",
        point.confidence * (0.9 if ranked else 1.0),
        [gazetteer.codes[r] for r in point.near],
    )


def _result(
    gazetteer: Gazetteer, row: int, method: str, confidence: float, others: Sequence[str] | None = None
) -> Place:
    code = gazetteer.codes[row]
    rest = [c for c in others or () if c != code]
    return Place(
        code, gazetteer.kecamatan_of[row], gazetteer.kota_of[row], method, round(min(0.99, confidence), 3), rest or None
    )


def taught(place: Place, rows: Sequence[int], chances: Sequence[float], gazetteer: Gazetteer) -> Place:
    """What names alone found, and what resolved reports teach of the same address -> one decision.

    rows, chances: kelurahan that come into question, most likely first, and how likely. The chance of the first is
    calibrated on reports like this and has heard the names as well, so it counts; where it is too small for a
    kelurahan, their kecamatan may be sure still.
    """
    enough = gazetteer.weights.enough
    code, best = gazetteer.codes[rows[0]], chances[0]
    others = [gazetteer.codes[row] for row, chance in zip(rows[1:], chances[1:], strict=True) if chance >= _POSSIBLE]
    if best >= enough:
        method = place.place_method if place.kelurahan_code == code else "learned"
        return _result(gazetteer, rows[0], method, best, others)
    areas: dict[str, float] = {}
    for row, chance in zip(rows, chances, strict=True):
        area = gazetteer.kecamatan_of[row]
        areas[area] = areas.get(area, 0.0) + chance
    area = max(areas, key=lambda a: (areas[a], a))
    if areas[area] >= enough:
        kota = gazetteer.kota_of_kecamatan[area]
        return Place(None, area, kota, "kecamatan", round(areas[area], 3), [code, *others])
    if place.kelurahan_code is None and place.place_method != "none":
        return place
    return Place(None, None, None, "ambiguous", 0.3, [code, *others])
