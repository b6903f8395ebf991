"""Classified, located reports -> who must act, how complete it is, whether it is an emergency.

Rules are data in models/routing.toml and emergency.toml: ordered, the first that holds speaks, and its
id travels with the decision. Belongs here: reading those rules over a table, and which unit of an
agency acts. Not here: whether rule, classifier or source names the agency (agency).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import pandas as pd

from pipelines.contracts import column
from pipelines.transforms.agency import NOTHING, PERSON, RULE, Chosen, Opinion, Trust, choose, opinions
from pipelines.transforms.emergency import Alarms, Likeness

_WORDS = re.compile(r"[a-z0-9]+")
_WORD = 3  # letters before a 2 that means "said twice" (umbul2, gorong2), not a unit (m2)
BY_PERSON = "keputusan"  # route_rule of an agency that a person chose
_ENOUGH = 60  # characters that describe a matter


@dataclass(frozen=True, slots=True)
class Rule:
    """One routing rule. categories empty: any; any/none: folded phrases, None where there are none; certain: no
    other judgement counts against it; confidence: how often it is right, None for what Trust says of its kind."""

    id: str
    categories: frozenset[str]
    any: frozenset[str] | None
    none: frozenset[str] | None
    areas: frozenset[str]
    agency: str
    upt: str | None
    certain: bool = False
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class Agency:
    """suku_dinas: name of its unit per kota, where it has such units; parent: the agency it is itself a unit of."""

    id: str
    name: str
    kind: str
    suku_dinas: str | None
    parent: str | None = None


@dataclass(frozen=True)
class Routing:
    """Everything routing knows. channels: id -> (geo_tagged, responsible); names: folded name of an agency -> id."""

    rules: Sequence[Rule]
    alarms: Alarms
    agencies: Mapping[str, Agency]
    kota_names: Mapping[str, str]
    kelurahan_names: Mapping[str, str]
    channels: Mapping[str, tuple[bool, str]]
    trust: Trust = field(default_factory=Trust)
    names: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def owner(self) -> Mapping[str, str]:
        """Agency -> the one it is a unit of, or itself."""
        return {a.id: a.parent or a.id for a in self.agencies.values()}

    @cached_property
    def said(self) -> Mapping[str, Chosen]:
        """What each rule says by itself, by its id."""
        kinds = {True: self.trust.certain, False: self.trust.rule}
        return {
            r.id: Chosen(r.agency, RULE, kinds[r.certain] if r.confidence is None else r.confidence) for r in self.rules
        }

    @cached_property
    def phrases(self) -> Phrases:
        """Every phrase that a rule asks for."""
        groups = [g for rule in self.rules for g in (rule.any, rule.none) if g]
        return Phrases({phrase for group in groups for phrase in group})

    @cached_property
    def by_category(self) -> Mapping[str | None, Sequence[Rule]]:
        """The rules that can hold for each category, still in order; None: for the others."""
        table: dict[str | None, list[Rule]] = {
            c: [r for r in self.rules if not r.categories or c in r.categories]
            for c in {c for rule in self.rules for c in rule.categories}
        }
        table[None] = [r for r in self.rules if not r.categories]
        return table


class Phrases:
    """Finds which of many phrases stand in a text as whole words, in one pass for all rules: single words
    are looked up among the text's words, longer ones by their first two words."""

    def __init__(self, phrases: Iterable[str]) -> None:
        every = set(phrases)
        self._single = frozenset(p for p in every if " " not in p)
        self._longer: dict[str, list[str]] = {}
        for phrase in sorted(every - self._single):
            self._longer.setdefault(" ".join(phrase.split(" ", 2)[:2]), []).append(phrase)
        self._pairs = self._longer.keys()

    def within(self, words: Sequence[str]) -> set[str]:
        """The phrases found in folded words."""
        found = self._single.intersection(words)
        pairs = self._pairs & set(map(" ".join, pairwise(words)))
        if not pairs:
            return set(found)
        said = f" {' '.join(words)} "
        return {*found, *(p for pair in pairs for p in self._longer[pair] if p == pair or f" {p} " in said)}


def phrases(words: Sequence[str] | None) -> frozenset[str] | None:
    """Phrases as rules hold them; None for none."""
    folded = frozenset(" ".join(fold(w)) for w in words or ()) - {""}
    return folded or None


def fold(text: str) -> list[str]:
    """Lower-case words: what rules are matched against."""
    words = _WORDS.findall(text.lower())
    if "2" in text and any(w[-1] == "2" and len(w) > _WORD for w in words):
        return [part for w in words for part in _once(w)]
    return words


def _once(word: str) -> tuple[str, ...]:
    stem = word[:-1]
    return (stem, stem) if word[-1] == "2" and len(stem) >= _WORD and stem.isalpha() else (word,)


class Assigned(NamedTuple):
    """Who must act, whose judgement that is, and which rule held; intake_unit: who looks first."""

    agency_id: str
    unit: str
    agency_source: str
    agency_confidence: float
    route_rule: str
    intake_unit: str


def assign(
    said: str,
    *,
    channel: str,
    category: str | None,
    kota: str | None,
    kelurahan: str | None,
    routing: Routing,
    chosen: Chosen | None = None,
) -> Assigned:
    """Who must act on what was said there. chosen: what decides instead of the rules, so only its unit is looked
    for; where the rules name the same agency, their unit stands (a UPT is known to rules alone)."""
    rule = _first(_rules(routing, category), routing.phrases.within(fold(said)), kota)
    return _assigned(rule, chosen or routing.said[rule.id], channel, kota, kelurahan, routing)


def _rules(routing: Routing, category: str | None) -> Sequence[Rule]:
    rules = routing.by_category
    return rules[category] if category in rules else rules[None]


def _assigned(
    rule: Rule, chosen: Chosen, channel: str, kota: str | None, kelurahan: str | None, routing: Routing
) -> Assigned:
    geo_tagged, responsible = routing.channels.get(channel, (False, channel))
    intake = f"Kelurahan {routing.kelurahan_names[kelurahan]}" if geo_tagged and kelurahan else responsible
    acting, source, confidence = chosen
    agency = acting if source in (RULE, PERSON) else routing.owner[acting]
    if acting == rule.agency and rule.upt:
        acting = rule.upt
    unit = _unit(routing.agencies[acting], kota, kelurahan, routing, upt=acting == rule.upt)
    return Assigned(agency, unit, source, confidence, BY_PERSON if source == PERSON else rule.id, intake)


def route(
    reports: pd.DataFrame, *, routing: Routing, accept_place: float, alike: Likeness | None = None
) -> pd.DataFrame:
    """Add agency_id, unit, agency_*, route_rule, intake_unit, completeness, emergency*, review_reason.

    reports: text, title, channel, category, place and address columns, lat, attachment_count, what source and
    classifier say of the agency. accept_place: place confidence below which a person should look. alike: who judges
    emergencies where no rule speaks.
    """
    words = [f"{t} {x}" if t else x for t, x in zip(column(reports, "title"), column(reports, "text"), strict=True)]
    danger = [alike.id if flagged else None for flagged in alike.of(words)] if alike else [None] * len(words)
    said, thought = opinions(reports, names=routing.names, known=routing.agencies, words=fold)
    pointers = zip(*(column(reports, c) for c in _POINTERS), strict=True)
    told = zip(*(column(reports, c) for c in _NEEDED), strict=True)
    rows = [
        _decide(row, sum(map(bool, p)), opinion, routing, accept_place, like)
        for row, p, opinion, like in zip(told, pointers, said, danger, strict=True)
    ]
    added = pd.DataFrame(rows, columns=_ADDED, index=reports.index).to_dict("series")
    return reports.drop(columns="agency_sure").assign(**thought, **added)


_NEEDED = (
    "text",
    "title",
    "channel",
    "category",
    "kota_code",
    "kecamatan_code",
    "kelurahan_code",
    "place_method",
    "place_confidence",
    "address_text",
    "lat",
    "attachment_count",
)
_POINTERS = ("street", "house_number", "block", "estate", "hamlet", "rt", "landmark")  # what leads to the spot
_ADDED = [
    *Assigned._fields,
    "completeness",
    "emergency",
    "emergency_rule",
    "review_reason",
]


def _decide(
    row: tuple, pointers: int, opinion: Opinion, routing: Routing, accept_place: float, like: str | None
) -> tuple:
    (text, title, channel, category, kota, kecamatan, kelurahan, method, place_sure, address, lat, photos) = row
    said = f"{title} {text}" if title else text
    words = fold(said)
    found = routing.phrases.within(words)
    rule = _first(_rules(routing, category), found, kota)
    chosen, unsure = routing.said[rule.id], False
    if opinion is not NOTHING:
        chosen, unsure = choose(
            chosen, opinion, channel=channel, certain=rule.certain, trust=routing.trust, owner=routing.owner
        )
    assigned = _assigned(rule, chosen, channel, kota, kelurahan, routing)
    alarm = routing.alarms.of(said, words, fold) or like
    has_point = lat is not None and lat == lat
    spot = 1.0 if has_point or pointers > 1 else 0.5 if pointers or address else 0.0
    area = 1.0 if kelurahan and place_sure >= accept_place else 0.5 if kelurahan or kecamatan else 0.0
    return (
        *assigned,
        _completeness(len(said), area, spot, photo=bool(photos)),
        alarm is not None,
        alarm,
        ",".join(_doubts(category, method, place_sure, accept_place, unsure=unsure)) or None,
    )


def _doubts(category: str | None, method: str, place_sure: float, accept_place: float, *, unsure: bool) -> list[str]:
    """Why a person should look; unsure: of the agency."""
    reasons = [] if category else ["kategori_tidak_yakin"]
    if unsure:
        reasons.append("instansi_tidak_yakin")
    if method == "none":
        reasons.append("lokasi_tidak_ada")
    elif method == "outside":
        reasons.append("di_luar_wilayah")
    elif method == "ambiguous" or place_sure < accept_place:
        reasons.append("lokasi_tidak_yakin")
    return reasons


def _completeness(length: int, area: float, spot: float, *, photo: bool) -> float:
    """0..1: 0.4 for what is described, 0.3 for the kelurahan (half for a doubtful one or only a kecamatan), 0.15 for
    the way to the spot (a point, or two of street, house, block, estate, kampung, RT and landmark; half for one, or
    for an address as typed), 0.15 for a file that came along."""
    return round(0.4 * min(1.0, length / _ENOUGH) + 0.3 * area + 0.15 * spot + 0.15 * photo, 3)


def _first(rules: Sequence[Rule], found: set[str], kota: str | None) -> Rule:
    for rule in rules:
        if rule.any and rule.any.isdisjoint(found):
            continue
        if rule.areas and kota not in rule.areas:
            continue
        if rule.none and not rule.none.isdisjoint(found):
            continue
        return rule
    raise ValueError("routing rules must end in one without conditions")


def _unit(agency: Agency, kota: str | None, kelurahan: str | None, routing: Routing, *, upt: bool) -> str:
    """The unit of the agency for that place: UPT, kelurahan, suku dinas; else the agency itself."""
    if upt:
        return agency.name
    if agency.kind == "kelurahan":
        return f"Kelurahan {routing.kelurahan_names[kelurahan]}" if kelurahan else agency.name
    if agency.suku_dinas and kota:
        return f"{agency.suku_dinas} {routing.kota_names[kota]}"
    return agency.name
