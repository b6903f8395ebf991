"""Classified, located reports -> who must act, how complete it is, whether it is an emergency.

Rules are data in models/routing.toml and emergency.toml: ordered, first that holds decides, and the
rule's id travels with the decision. Belongs here: reading those rules over a table.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from pipelines.contracts import column

_WORDS = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True)
class Rule:
    """One routing rule. categories empty: any; any/none: patterns over the folded text."""

    id: str
    categories: frozenset[str]
    any: re.Pattern[str] | None
    none: re.Pattern[str] | None
    areas: frozenset[str]
    agency: str
    upt: str | None


@dataclass(frozen=True, slots=True)
class Alarm:
    """One emergency rule: all of `all` and one of `any`, and nothing of `none`."""

    id: str
    any: re.Pattern[str]
    all: tuple[re.Pattern[str], ...]
    none: re.Pattern[str] | None


@dataclass(frozen=True, slots=True)
class Agency:
    """suku_dinas: name of its unit per kota, where it has such units."""

    id: str
    name: str
    kind: str
    suku_dinas: str | None


@dataclass(frozen=True, slots=True)
class Routing:
    """Everything routing knows. channels: id -> (geo_tagged, responsible)."""

    rules: Sequence[Rule]
    alarms: Sequence[Alarm]
    agencies: Mapping[str, Agency]
    kota_names: Mapping[str, str]
    kelurahan_names: Mapping[str, str]
    channels: Mapping[str, tuple[bool, str]]


def phrases(words: Sequence[str] | None) -> re.Pattern[str] | None:
    """A pattern that finds any of the phrases as whole words in folded text; None for none."""
    folded = sorted({fold(w).strip() for w in words or ()} - {""}, key=lambda w: (-len(w), w))
    return re.compile(rf" (?:{'|'.join(map(re.escape, folded))}) ") if folded else None


def fold(text: str) -> str:
    """Lower-case words with one blank around each: what rules are matched against."""
    return f" {_WORDS.sub(' ', text.lower()).strip()} "


def route(reports: pd.DataFrame, *, routing: Routing, accept_place: float) -> pd.DataFrame:
    """Add agency_id, unit, route_rule, intake_unit, completeness, emergency*, review_reason.

    reports: text, title, channel, category, category_source, place columns, lat, attachment_count.
    accept_place: place confidence below which a person should look.
    """
    by_category = _rules_by_category(routing.rules)
    rows = [
        _decide(row, by_category, routing, accept_place)
        for row in zip(*(column(reports, c) for c in _NEEDED), strict=True)
    ]
    return reports.assign(**pd.DataFrame(rows, columns=_ADDED, index=reports.index).to_dict("series"))


_NEEDED = (
    "text",
    "title",
    "channel",
    "category",
    "kota_code",
    "kelurahan_code",
    "place_method",
    "place_confidence",
    "address_text",
    "street",
    "lat",
    "attachment_count",
)
_ADDED = [
    "agency_id",
    "unit",
    "route_rule",
    "intake_unit",
    "completeness",
    "emergency",
    "emergency_rule",
    "review_reason",
]


def _rules_by_category(rules: Sequence[Rule]) -> dict[str | None, list[Rule]]:
    """The rules that can hold for each category, still in order; None: for the others."""
    named = {c for rule in rules for c in rule.categories}
    table: dict[str | None, list[Rule]] = {
        c: [r for r in rules if not r.categories or c in r.categories] for c in named
    }
    table[None] = [r for r in rules if not r.categories]
    return table


def _decide(row: tuple, by_category: Mapping[str | None, list[Rule]], routing: Routing, accept_place: float) -> tuple:
    (text, title, channel, category, kota, kelurahan, method, place_sure, address, street, lat, photos) = row
    folded = fold(f"{title} {text}" if title else text)
    rule = _first(by_category.get(category, by_category[None]), folded, kota)
    geo_tagged, responsible = routing.channels.get(channel, (False, channel))
    intake = f"Kelurahan {routing.kelurahan_names[kelurahan]}" if geo_tagged and kelurahan else responsible
    alarm = next((a.id for a in routing.alarms if _alarmed(a, folded)), None)
    reasons = []
    if category is None:
        reasons.append("kategori_tidak_yakin")
    if method == "ambiguous" or (method not in ("none", "outside") and place_sure < accept_place):
        reasons.append("lokasi_tidak_yakin")
    elif method == "none":
        reasons.append("lokasi_tidak_ada")
    complete = (
        0.4 * min(1.0, len(text) / 60)
        + 0.3 * bool(kelurahan)
        + 0.15 * bool(street or address or (lat is not None and lat == lat))
    )
    return (
        rule.agency,
        _unit(rule, kota, kelurahan, routing),
        rule.id,
        intake,
        round(complete + 0.15 * bool(photos), 3),
        alarm is not None,
        alarm,
        ",".join(reasons) or None,
    )


def _first(rules: Sequence[Rule], folded: str, kota: str | None) -> Rule:
    for rule in rules:
        if rule.areas and kota not in rule.areas:
            continue
        if rule.any and not rule.any.search(folded):
            continue
        if rule.none and rule.none.search(folded):
            continue
        return rule
    raise ValueError("routing rules must end in one without conditions")


def _alarmed(alarm: Alarm, folded: str) -> bool:
    return (
        bool(alarm.any.search(folded))
        and all(p.search(folded) for p in alarm.all)
        and not (alarm.none and alarm.none.search(folded))
    )


def _unit(rule: Rule, kota: str | None, kelurahan: str | None, routing: Routing) -> str:
    """The unit of the agency for that place: UPT, kelurahan, suku dinas; else the agency itself."""
    agency = routing.agencies[rule.upt or rule.agency]
    if rule.upt:
        return agency.name
    if agency.kind == "kelurahan":
        return f"Kelurahan {routing.kelurahan_names[kelurahan]}" if kelurahan else agency.name
    if agency.suku_dinas and kota:
        return f"{agency.suku_dinas} {routing.kota_names[kota]}"
    return agency.name
