"""models/agencies.toml, routing.toml, emergency.toml and sla.toml -> who acts, and by when.

Belongs here: reading those files and checking that they name only what exists; SettingsError says
which file and entry. Not here: applying the rules (transforms), the other files of models/ (knowledge).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from pipelines import entries
from pipelines.entries import flag, number, slips, text, texts
from pipelines.errors import SettingsError
from pipelines.transforms.agency import Trust
from pipelines.transforms.classify import Thresholds, fold_label
from pipelines.transforms.contents import Clock
from pipelines.transforms.emergency import Alarm, Alarms, Pair
from pipelines.transforms.gazetteer import Gazetteer
from pipelines.transforms.route import Agency, Routing, Rule, fold, phrases


def agencies(path: Path) -> dict[str, Agency]:
    """agencies.toml, by id."""
    found = {}
    for e in entries.entries(path, "agency", ("id", "name", "kind", "parent", "suku_dinas", "aliases")):
        with slips(path, f"agency {e['id']!r}"):
            office = text(e, "suku_dinas") if "suku_dinas" in e else None
            parent = text(e, "parent") if "parent" in e else None
            found[e["id"]] = Agency(e["id"], text(e, "name"), text(e, "kind"), office, parent)
    for agency in found.values():
        if agency.parent is not None and agency.parent not in found:
            raise SettingsError(f"{path}: agency {agency.id!r} names unknown parent {agency.parent!r}")
    return found


def agency_aliases(path: Path, folded: Callable[[str], str] = fold_label) -> dict[str, str]:
    """Folded names and aliases of agencies and of their offices -> id. Names of several agencies name none."""
    found: dict[str, str | None] = {}
    for e in entries.entries(path, "agency"):
        with slips(path, f"agency {e['id']!r}"):
            office = [e["suku_dinas"]] if "suku_dinas" in e else []
            for label in {folded(v) for v in (e["id"], text(e, "name"), *office, *texts(e, "aliases"))}:
                found[label] = e["id"] if label not in found else None
    return {label: agency for label, agency in found.items() if agency}


_RULE_KEYS = ("id", "category", "any", "none", "area", "agency", "upt", "certain", "confidence", "why")
_PHRASE = re.compile(r"(?:[a-z0-9]+|[a-z0-9]{3,}\*)(?: (?:[a-z0-9]+|[a-z0-9]{3,}\*))*")
_ALARM_KEYS = ("id", "label", "any", "together", "none")


def routing(
    models: Path,
    gazetteer: Gazetteer,
    channels: Mapping[str, tuple[bool, str]],
    categories: Mapping[str, str],
    *,
    kinds: Mapping[str, str],
    thresholds: Thresholds,
) -> Routing:
    """Who acts, and what is an emergency: agencies.toml, routing.toml and emergency.toml, which name only what exists.

    kinds: channel -> its kind.
    """
    known = agencies(models / "agencies.toml")
    path = models / "routing.toml"
    rules = []
    for e in entries.entries(path, "rule", _RULE_KEYS):
        with slips(path, f"rule {e['id']!r}"):
            rule = Rule(
                e["id"],
                frozenset(texts(e, "category")),
                phrases(texts(e, "any")),
                phrases(texts(e, "none")),
                frozenset(texts(e, "area")),
                text(e, "agency"),
                text(e, "upt") if "upt" in e else None,
                flag(e, "certain", default=False),
                _share(e, "confidence") if "confidence" in e else None,
            )
        for what, named, there in (
            ("agency", {rule.agency, rule.upt or rule.agency}, known),
            ("category", rule.categories, categories),
            ("area", rule.areas, set(gazetteer.kota["kota_code"])),
        ):
            if unknown := sorted(named - set(there)):
                raise SettingsError(f"{path}: rule {rule.id!r} names unknown {what} {unknown[0]!r}")
        rules.append(rule)
    if not rules or rules[-1].categories or rules[-1].any or rules[-1].none or rules[-1].areas:
        raise SettingsError(f"{path}: the last rule must hold for everything")
    return Routing(
        rules=tuple(rules),
        alarms=alarms(models / "emergency.toml"),
        agencies=known,
        kota_names=dict(zip(gazetteer.kota["kota_code"], gazetteer.kota["full_name"], strict=True)),
        kelurahan_names=dict(zip(gazetteer.kelurahan["kelurahan_code"], gazetteer.kelurahan["kelurahan"], strict=True)),
        channels=channels,
        trust=_trust(path, kinds, thresholds),
        names=agency_aliases(models / "agencies.toml", lambda label: " ".join(fold(label))),
    )


_CONFIDENCES = ("certain", "rule", "reported", "acted")


def _trust(path: Path, kinds: Mapping[str, str], thresholds: Thresholds) -> Trust:
    """[trust] of routing.toml; what it does not say is as Trust has it."""
    raw = entries.toml(path).get("trust", {})
    with slips(path, "[trust]"):
        if odd := sorted(set(raw) - {*_CONFIDENCES, "clerks"}):
            raise ValueError(f"{odd[0]} is unknown; there are {', '.join(_CONFIDENCES)} and clerks")
        named = set(texts(raw, "clerks"))
        if unknown := sorted(named - set(kinds.values())):
            raise ValueError(f"clerks names {unknown[0]!r}, and no channel is of that kind")
        return Trust(
            **{key: _share(raw, key) for key in _CONFIDENCES if key in raw},
            clerks=frozenset(channel for channel, kind in kinds.items() if kind in named),
            accept=thresholds.agency,
            doubt=thresholds.agency_doubt,
        )


def _share(entry: Mapping[str, Any], key: str) -> float:
    share = number(entry, key)
    if share > 1:
        raise ValueError(f"{key} must be a share from 0 to 1")
    return share


def alarm_labels(path: Path) -> dict[str, str]:
    """What officers read of each rule of emergency.toml, by id."""
    found = {}
    for e in entries.entries(path, "rule", _ALARM_KEYS):
        with slips(path, f"rule {e['id']!r}"):
            found[e["id"]] = text(e, "label")
    learned = entries.table(path, entries.toml(path), "learned")
    with slips(path, "[learned]"):
        return found | {text(learned, "id"): text(learned, "label")}


def alarms(path: Path) -> Alarms:
    """The rules of emergency.toml, ready to read texts."""
    raw = entries.toml(path)
    lists = entries.table(path, raw, "words")
    found = []
    for e in entries.entries(path, "rule", _ALARM_KEYS):
        with slips(path, f"rule {e['id']!r}"):
            text(e, "label")
            some, pairs = texts(e, "any"), [_pair(said, lists) for said in texts(e, "together")]
            if not some and not pairs:
                raise TypeError("it asks for nothing: give `any` or `together`")
            found.append(Alarm(e["id"], _stems(some), pairs, _stems(texts(e, "none"))))
    with slips(path, "the head of the file"):
        unless, calm = _stems(texts(raw, "unless")), _stems(texts(raw, "calm"))
        window, reads = int(number(raw, "window")), int(number(raw, "reads"))
        frequent = frozenset(texts(raw, "frequent"))
        same = _spellings(entries.table(path, raw, "spellings"))
        return Alarms(found, unless=unless, calm=calm, window=window, reads=reads, frequent=frequent, spellings=same)


def _spellings(read_as: Mapping[str, object]) -> dict[str, str]:
    """[spellings]: each way of writing a word -> that word."""
    found: dict[str, str] = {}
    for plain in read_as:
        for word in _stems(texts(read_as, plain)):
            if not word.isalnum() or word in found or word in read_as:
                raise ValueError(f"spellings: {word!r} must be one word, written once, that is read as no other's")
            found[word] = plain
    return found


def _pair(said: str, lists: Mapping[str, object]) -> Pair:
    """Two lists of [words], named as "one + other"."""
    names = [name.strip() for name in said.split("+")]
    if len(names) != 2:
        raise ValueError(f'together must name two lists of [words], as "one + other", not {said!r}')
    if unknown := next((name for name in names if name not in lists), None):
        raise ValueError(f"together names the list {unknown!r}, which is not in [words]")
    one, other = (_stems(texts(lists, name)) for name in names)
    return one, other


def _stems(phrases: Sequence[str]) -> Sequence[str]:
    """The phrases, each made of words in lower case; a star ends a stem of at least three letters."""
    for phrase in phrases:
        if not _PHRASE.fullmatch(phrase):
            raise ValueError(f"{phrase!r} must be words in lower case; a star may end a stem of three letters or more")
    return phrases


_CLOCKS = ("coordination", "completion", "first_action", "red_mark", "agency_reply", "close_without_reply")
_LIMITS = ("limit_hours", "limit_days", "limit_working_days")


def clocks(path: Path, channels: Collection[str]) -> tuple[Clock, ...]:
    """sla.toml: the clocks for all and for single channels; those for others are only checked."""
    found = []
    for entry in entries.entries(path, "rule", ("id", "clock", "applies_to", *_LIMITS, "source")):
        with slips(path, f"rule {entry['id']!r}"):
            hours, days, working = (number(entry, key, 0) for key in _LIMITS)
            limit = timedelta(days=days or working, hours=hours)
            clock, applies = text(entry, "clock"), text(entry, "applies_to")
            if clock not in _CLOCKS:
                raise ValueError(f"clock {clock!r} is none of {', '.join(_CLOCKS)}")
            if not limit:
                raise ValueError(f"it has no limit; give one of {', '.join(_LIMITS)}")
            channel = applies.removeprefix("channel=") if applies.startswith("channel=") else None
            if channel not in (None, *channels):
                raise ValueError(f"applies_to names the channel {channel!r}, which is in no registry")
            if channel is None and applies not in ("all", "geo_tagged"):
                raise ValueError(f"applies_to {applies!r} is none of all, geo_tagged, channel=<id>")
        if applies == "all" or channel:
            found.append(Clock(clock, channel, limit))
    return tuple(found)
