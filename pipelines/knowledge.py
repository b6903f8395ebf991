"""models/ -> what the transforms are passed: taxonomy, routing, gazetteer, matching.

Belongs here: reading those files, checking them, building the classifier once for each state of
corpus and config. Not here: what the pipeline does with them (transforms).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd

from pipelines import entries, places, rules
from pipelines.contracts import Stream
from pipelines.entries import flag, number, signed, slips, text, texts
from pipelines.errors import SettingsError
from pipelines.settings import Settings
from pipelines.transforms.classify import Taxonomy, Thresholds, fold_label, words_pattern
from pipelines.transforms.contents import Clock
from pipelines.transforms.gazetteer import Gazetteer
from pipelines.transforms.likeness import POINTS
from pipelines.transforms.matching import BANDS, BELIEF, DAY, RISING, Level, Matching, Reach, beside_pattern
from pipelines.transforms.reading import fold
from pipelines.transforms.route import Routing
from pipelines.transforms.spam import Spam, folded


@dataclass(frozen=True, slots=True)
class Channel:
    """An entry of models/channels.toml or of an overlay."""

    id: str
    name: str
    kind: str
    geo_tagged: bool
    responsible: str
    description: str = ""


@dataclass(frozen=True, slots=True)
class Knowledge:
    """Everything the transforms judge by; `data_version` is a hash of the files it came from."""

    channels: Mapping[str, Channel]
    languages: Mapping[str, frozenset[str]]
    taxonomy: Taxonomy
    thresholds: Thresholds
    accept_place: float
    routing: Routing
    clocks: tuple[Clock, ...]
    gazetteer: Gazetteer
    matching: Matching
    spam: Spam
    data_version: str


def load(settings: Settings) -> Knowledge:
    """Read models/, overlays and installed boundaries; what is learned of places is part of the version.

    Files that still say what they said are not read anew: a run asks several times. SettingsError names the file and
    entry at fault.
    """
    boundaries = places.boundaries_file(settings)
    files = [settings.models_dir / name for name in _FILES]
    files += [*settings.registry_overlays, *settings.dialect_overlays, *settings.mapping_files]
    files += places.files(settings.gazetteer)
    files += [path for path in (boundaries, *places.learned_files(settings)) if path.exists()]
    hashed = blake2b(digest_size=8)
    for path in files:
        hashed.update(entries.read(path))
    key: tuple[Path | str, ...] = (*files, hashed.hexdigest())
    if key not in _read:
        _read.clear()  # one process seldom reads two states, and each is large
        _read[key] = _judging_by(settings, boundaries, hashed.hexdigest())
    return _read[key]


_read: dict[tuple[Path | str, ...], Knowledge] = {}


def _judging_by(settings: Settings, boundaries: Path, version: str) -> Knowledge:
    models = settings.models_dir
    registry = channels(settings)
    looks = {c.id: (c.geo_tagged, c.responsible) for c in registry.values()}
    gazetteer = places.read(settings.gazetteer, boundaries, models / "evidence.toml")
    categories = taxonomy(models)
    thresholds, accept_place = _thresholds(models / "classifier.toml")
    return Knowledge(
        channels=registry,
        languages=_languages(models / "language.toml"),
        taxonomy=categories,
        thresholds=thresholds,
        accept_place=accept_place,
        routing=rules.routing(
            models,
            gazetteer,
            looks,
            categories.names,
            kinds={c.id: c.kind for c in registry.values()},
            thresholds=thresholds,
        ),
        clocks=rules.clocks(models / "sla.toml", registry),
        gazetteer=gazetteer,
        matching=_matching(models, frozenset(categories.groups.values()), registry),
        spam=_spam(models / "spam.toml"),
        data_version=version,
    )


_FILES = (
    "channels.toml",
    "taxonomy.toml",
    "agencies.toml",
    "routing.toml",
    "sla.toml",
    "emergency.toml",
    "emergencies.tsv",
    "evidence.toml",
    "language.toml",
    "matching.toml",
    "matters.toml",
    "spam.toml",
    "classifier.toml",
    "webhooks.toml",
)


def channel_of(registry: Mapping[str, Channel], stream: Stream) -> Channel | None:
    """The registry's entry of a stream (None for the CRM's own); SettingsError tells how to add one."""
    if stream.channel.startswith("_"):
        return None
    if channel := registry.get(stream.channel):
        return channel
    raise SettingsError(
        f"channel {stream.channel!r} is in no registry; add it to models/channels.toml or to an overlay"
        " named under [kanal] registry"
    )


@dataclass(frozen=True, slots=True)
class Names:
    """What people call the ids that travel: id -> name. area: codes of every level."""

    categories: Mapping[str, str]
    agencies: Mapping[str, str]
    channels: Mapping[str, str]
    alarms: Mapping[str, str]
    kelurahan: pd.DataFrame


def names(settings: Settings) -> Names:
    """Names for whatever shows figures to people."""
    models = settings.models_dir
    return Names(
        taxonomy(models).names,
        {a.id: a.name for a in rules.agencies(models / "agencies.toml").values()},
        {c.id: c.name for c in channels(settings).values()},
        rules.alarm_labels(models / "emergency.toml"),
        places.kelurahan_table(settings.gazetteer),
    )


# --- the files ------------------------------------------------------------------------------


def channels(settings: Settings) -> dict[str, Channel]:
    """The registry with its overlays, by id."""
    found = {}
    for path in (settings.models_dir / "channels.toml", *settings.registry_overlays):
        for entry in entries.entries(path, "channel"):
            with slips(path, f"channel {entry['id']!r}"):
                found[entry["id"]] = Channel(
                    entry["id"],
                    text(entry, "name"),
                    text(entry, "kind"),
                    flag(entry, "geo_tagged"),
                    text(entry, "responsible"),
                    entry.get("description", ""),
                )
    return found


def taxonomy(models: Path) -> Taxonomy:
    """Categories with their labels. SettingsError names the entry at fault."""
    path = models / "taxonomy.toml"
    found = entries.entries(path, "category")
    aliases: dict[str, str] = {}
    for entry in found:
        with slips(path, f"category {entry['id']!r}"):
            text(entry, "group")
            flag(entry, "catch_all", default=False)
            for label in (entry["id"], text(entry, "name"), *texts(entry, "aliases")):
                if aliases.setdefault(fold_label(label), entry["id"]) != entry["id"]:
                    raise SettingsError(f"{path}: {label!r} names both {aliases[fold_label(label)]} and {entry['id']}")
    return Taxonomy(
        names={e["id"]: e["name"] for e in found},
        aliases=aliases,
        catch_all=frozenset(e["id"] for e in found if e.get("catch_all")),
        groups={e["id"]: e["group"] for e in found},
    )


_LEVELS = ("cited", "same_photo", "same_author_text", "near_text", "place_time", "unfixed", "bridge")


def _matching(models: Path, groups: frozenset[str], channels: Collection[str]) -> Matching:
    """matching.toml and matters.toml. groups: all that the taxonomy has; channels: all that the registry has."""
    path = models / "matching.toml"
    raw = entries.toml(path)
    given = entries.table(path, raw, "level")
    if odd := sorted(set(given) ^ set(_LEVELS)):
        what = "is unknown" if odd[0] in given else "is missing"
        raise SettingsError(f"{path}: [level.{odd[0]}] {what}; the levels are {', '.join(_LEVELS)}")
    levels = {}
    for name, e in given.items():
        with slips(path, f"[level.{name}]"):
            values = {key: number(e, key) for key in e if key not in ("enabled", "description")}
            levels[name] = Level(enabled=flag(e, "enabled", default=True), **values)
    reach = {}
    for group, e in entries.table(path, raw, "group").items():
        with slips(path, f"[group.{group}]"):
            reach[group] = Reach(
                number(e, "radius_m"), number(e, "horizon_days") * DAY, number(e, "houses", 0), signed(e, "points")
            )
    with slips(path, "[group]"):
        if missing := sorted(groups - set(reach)):
            raise ValueError(f"[group.{missing[0]}] is missing; taxonomy.toml has it")
    with slips(path, "[points], [bands], [belief], [words], [pin], pin_m or picture_bits"):
        points, bands, belief, words = (
            entries.table(path, raw, name) for name in ("points", "bands", "belief", "words")
        )
        pins = entries.table(path, raw, "pin")
        for given_names, names, section in ((points, POINTS, "points"), (bands, BANDS, "bands")):
            if odd := sorted(set(given_names) - set(names)):
                raise ValueError(f"[{section}] {odd[0]} is unknown")
        if odd := sorted(set(pins) - set(channels)):
            raise ValueError(f"[pin] {odd[0]} is no channel of channels.toml")
        ends, beside = frozenset(texts(words, "ends")), texts(words, "beside")
        return Matching(
            levels,
            reach,
            {name: signed(points, name) for name in POINTS if name in points},
            _bands(bands),
            _matters(models / "matters.toml", groups),
            {name: number(belief, name) for name in BELIEF},
            number(raw, "pin_m"),
            {channel: number(pins, channel) for channel in pins},
            frozenset(beside),
            beside_pattern(beside),
            ends,
            ends | frozenset(beside),
            frozenset(texts(words, "unfixed")),
            int(number(raw, "picture_bits")),
        )


def _bands(given: Mapping[str, Any]) -> Mapping[str, float]:
    found = {name: number(given, name) for name in BANDS}
    for low, high in (pair for names in RISING for pair in pairwise(names)):
        if found[low] > found[high]:
            raise ValueError(f"[bands] {high} must not be below {low}: each goes on to the next")
    return found


def _matters(path: Path, groups: frozenset[str]) -> Mapping[str, Mapping[str, float]]:
    """Word or two -> group -> weight."""
    found: dict[str, dict[str, float]] = {}
    for group, e in entries.toml(path).items():
        with slips(path, f"[{group}]"):
            if group not in groups:
                raise ValueError("taxonomy.toml has no such group")
            for key, weight in (("words", 1.0), ("weak", 0.5)):
                for word in texts(e, key):
                    if word != fold(word) or word.count(" ") > 1:
                        raise ValueError(f"{word!r} must be one word or two, of lower-case letters and digits")
                    found.setdefault(word, {}).setdefault(group, weight)
    return found


def _spam(path: Path) -> Spam:
    raw = entries.toml(path)
    wares: dict[str, str] = {}
    for e in entries.entries(path, "ware", ("id", "label", "any")):
        with slips(path, f"ware {e['id']!r}"):
            wares |= dict.fromkeys(folded(texts(e, "any")), text(e, "label"))
    with slips(path, "the head of the file"):
        call, unless = (frozenset(folded(texts(raw, key))) for key in ("call", "unless"))
        if "" in wares or not (wares and call and unless):
            raise ValueError("call and unless must name words, and each ware its own")
    return Spam(wares, call, unless)


def _languages(path: Path) -> dict[str, frozenset[str]]:
    raw = entries.toml(path)
    with slips(path, "a language"):
        return {tag: frozenset(texts(raw, tag)) for tag in raw}


def _thresholds(path: Path) -> tuple[Thresholds, float]:
    """When the classifier is believed, and from which confidence on a place is."""
    raw = entries.toml(path)
    with slips(path, "[thresholds], [thanks] or [place]"):
        given = entries.table(path, raw, "thresholds")
        shares = {key: number(given, key) for key in given}
        accept = number(entries.table(path, raw, "place"), "accept")
        asks = texts(entries.table(path, raw, "thanks"), "asks")
        if not asks or max(*shares.values(), accept) > 1:
            raise ValueError("thresholds are shares from 0 to 1, and asks names words")
        return Thresholds(**shares, asks=words_pattern(asks)), accept
