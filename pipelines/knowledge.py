"""models/ and its cache -> what the transforms are passed: taxonomy, routing, gazetteer, matching, classifier.

Belongs here: reading those files, checking them, building the classifier once for each state of
corpus and config. Not here: what the pipeline does with them (transforms).
"""

from __future__ import annotations

import csv
import json
import shutil
import tomllib
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import shapely
from shapely.geometry import shape

from pipelines.contracts import Stream
from pipelines.errors import SettingsError
from pipelines.settings import Settings
from pipelines.transforms.blocks import Level, Matching
from pipelines.transforms.classify import Taxonomy, Thresholds, fold_label, words_pattern
from pipelines.transforms.gazetteer import Gazetteer
from pipelines.transforms.route import Agency, Alarm, Routing, Rule, phrases
from pipelines.transforms.ticket import Clock

if TYPE_CHECKING:
    from pipelines.transforms.classifier import ComplaintClassifier

_CLASSIFIER_FORMAT = "2"  # part of the cache key: raise it when classifier.py changes what it learns


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
    data_version: str


def load(settings: Settings) -> Knowledge:
    """Read models/, overlays and installed boundaries. SettingsError names the file and entry at fault."""
    models = settings.models_dir
    files = [models / name for name in _FILES] + list(settings.registry_overlays)
    boundaries = boundaries_file(settings)
    hashed = blake2b(digest_size=8)
    for path in [*files, *([boundaries] if boundaries.exists() else [])]:
        hashed.update(_bytes(path))
    registry = channels(settings)
    gazetteer = _gazetteer(models / "gazetteer", boundaries)
    classifier = _toml(models / "classifier.toml")
    return Knowledge(
        channels=registry,
        languages={tag: frozenset(words) for tag, words in _toml(models / "language.toml").items()},
        taxonomy=_taxonomy(models / "taxonomy.toml"),
        thresholds=Thresholds(**classifier["thresholds"], asks=words_pattern(classifier["thanks"]["asks"])),
        accept_place=float(classifier["place"]["accept"]),
        routing=_routing(models, gazetteer, registry),
        clocks=_clocks(models / "sla.toml"),
        gazetteer=gazetteer,
        matching=_matching(models / "matching.toml"),
        data_version=hashed.hexdigest(),
    )


_FILES = (
    "channels.toml",
    "taxonomy.toml",
    "agencies.toml",
    "routing.toml",
    "sla.toml",
    "emergency.toml",
    "language.toml",
    "matching.toml",
    "classifier.toml",
    "gazetteer/kelurahan.csv",
    "gazetteer/kecamatan.csv",
    "gazetteer/kota.csv",
    "gazetteer/landmarks.csv",
    "gazetteer/outside.csv",
    "gazetteer/everyday.csv",
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
    kelurahan: pd.DataFrame


def names(settings: Settings) -> Names:
    """Names for whatever shows figures to people."""
    models = settings.models_dir
    return Names(
        _taxonomy(models / "taxonomy.toml").names,
        {e["id"]: e["name"] for e in _toml(models / "agencies.toml")["agency"]},
        {c.id: c.name for c in channels(settings).values()},
        _csv(models / "gazetteer" / "kelurahan.csv"),
    )


# --- the files ------------------------------------------------------------------------------


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from error


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(_bytes(path).decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not valid TOML: {error}") from error


def _csv(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype=str, keep_default_na=False, comment="#")


def channels(settings: Settings) -> dict[str, Channel]:
    """The registry with its overlays, by id."""
    found = {}
    for path in (settings.models_dir / "channels.toml", *settings.registry_overlays):
        for entry in _toml(path).get("channel", []):
            try:
                found[entry["id"]] = Channel(
                    entry["id"],
                    entry["name"],
                    entry["kind"],
                    bool(entry["geo_tagged"]),
                    entry["responsible"],
                    entry.get("description", ""),
                )
            except KeyError as error:
                raise SettingsError(f"{path}: channel {entry.get('id', '?')!r} lacks {error}") from error
    return found


def _taxonomy(path: Path) -> Taxonomy:
    entries = _toml(path)["category"]
    aliases: dict[str, str] = {}
    for entry in entries:
        for label in (entry["id"], entry["name"], *entry.get("aliases", ())):
            if aliases.setdefault(fold_label(label), entry["id"]) != entry["id"]:
                raise SettingsError(f"{path}: {label!r} names both {aliases[fold_label(label)]} and {entry['id']}")
    return Taxonomy(
        names={e["id"]: e["name"] for e in entries},
        aliases=aliases,
        catch_all=frozenset(e["id"] for e in entries if e.get("catch_all")),
        groups={e["id"]: e["group"] for e in entries},
    )


def _routing(models: Path, gazetteer: Gazetteer, channels: Mapping[str, Channel]) -> Routing:
    agencies = {
        e["id"]: Agency(e["id"], e["name"], e["kind"], e.get("suku_dinas"))
        for e in _toml(models / "agencies.toml")["agency"]
    }
    path = models / "routing.toml"
    rules = tuple(
        Rule(
            e["id"],
            frozenset(e.get("category", ())),
            phrases(e.get("any")),
            phrases(e.get("none")),
            frozenset(e.get("area", ())),
            e["agency"],
            e.get("upt"),
        )
        for e in _toml(path)["rule"]
    )
    for rule in rules:
        if unknown := {rule.agency, rule.upt or rule.agency} - set(agencies):
            raise SettingsError(f"{path}: rule {rule.id!r} names unknown agency {sorted(unknown)[0]!r}")
    if rules[-1].categories or rules[-1].any or rules[-1].areas:
        raise SettingsError(f"{path}: the last rule must hold for everything")
    alarms = tuple(_alarm(e) for e in _toml(models / "emergency.toml")["rule"])
    return Routing(
        rules=rules,
        alarms=alarms,
        agencies=agencies,
        kota_names=dict(zip(gazetteer.kota["kota_code"], gazetteer.kota["full_name"], strict=True)),
        kelurahan_names=dict(zip(gazetteer.kelurahan["kelurahan_code"], gazetteer.kelurahan["kelurahan"], strict=True)),
        channels={c.id: (c.geo_tagged, c.responsible) for c in channels.values()},
    )


def _alarm(entry: Mapping[str, Any]) -> Alarm:
    every = phrases(entry.get("all")) or frozenset()
    some = phrases(entry.get("any")) or every
    return Alarm(entry["id"], some, every, phrases(entry.get("none")))


def _clocks(path: Path) -> tuple[Clock, ...]:
    clocks = []
    for entry in _toml(path)["rule"]:
        days = entry.get("limit_days", entry.get("limit_working_days", 0))
        limit = timedelta(days=days, hours=entry.get("limit_hours", 0))
        applies = entry["applies_to"]
        channel = applies.removeprefix("channel=") if applies.startswith("channel=") else None
        if applies == "all" or channel:
            clocks.append(Clock(entry["clock"], channel, limit))
    return tuple(clocks)


def _matching(path: Path) -> Matching:
    raw = _toml(path)
    levels = {
        name: Level(
            bool(e.get("enabled", True)),
            float(e.get("horizon_days", 0)),
            float(e.get("min_similarity", 0)),
            float(e.get("radius_m", 0)),
        )
        for name, e in raw["level"].items()
    }
    groups = raw.get("group", {})
    return Matching(
        levels,
        {g: float(e["radius_m"]) for g, e in groups.items() if "radius_m" in e},
        {g: float(e["horizon_days"]) for g, e in groups.items() if "horizon_days" in e},
    )


def boundaries_file(settings: Settings) -> Path:
    """Where `kanal gazetteer install` puts the operator's polygons."""
    return settings.data_dir / "gazetteer" / "boundaries.geojson"


_TABLES = ("kelurahan", "kecamatan", "kota", "landmarks", "outside", "everyday")


def _gazetteer(folder: Path, boundaries: Path) -> Gazetteer:
    tables = {name: _csv(folder / f"{name}.csv") for name in _TABLES}
    for name in ("kelurahan", "kecamatan", "kota"):
        tables[name] = tables[name].astype({"lat": float, "lon": float})
    polygons = None
    if boundaries.exists():
        shapes = read_boundaries(boundaries)
        polygons = [shapes.get(code) for code in tables["kelurahan"]["kelurahan_code"]]
    return Gazetteer(
        tables["kelurahan"],
        tables["kecamatan"],
        tables["kota"],
        tables["landmarks"],
        tables["outside"]["name"].tolist(),
        polygons,
        tables["everyday"]["name"].tolist(),
    )


def read_boundaries(path: Path) -> dict[str, Any]:
    """Kemendagri code -> geometry of a GeoJSON FeatureCollection; SettingsError says what is wrong.

    The code is looked for in the properties kode, kelurahan_code, code, kode_kel.
    """
    try:
        features = json.loads(path.read_text("utf-8"))["features"]
        found = {}
        for feature in features:
            properties = feature["properties"]
            code = next(
                (properties[k] for k in ("kode", "kelurahan_code", "code", "kode_kel") if k in properties), None
            )
            if isinstance(code, str) and feature.get("geometry"):
                found[code] = shapely.make_valid(shape(feature["geometry"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, shapely.errors.ShapelyError) as error:
        raise SettingsError(f"{path} is not a GeoJSON FeatureCollection of kelurahan: {error}") from error
    if not found:
        raise SettingsError(f"{path}: no feature has a code in kode, kelurahan_code, code or kode_kel")
    return found


def install_boundaries(settings: Settings, file: Path) -> dict[str, int]:
    """Check a GeoJSON file and copy it to where `load` finds it.

    Returns kelurahan (all there are), matched (those with a polygon now) and unknown (polygons of
    other codes). SettingsError where the file has no polygon of any known kelurahan.
    """
    codes = set(_csv(settings.models_dir / "gazetteer" / "kelurahan.csv")["kelurahan_code"])
    shapes = read_boundaries(file)
    matched = len(codes & set(shapes))
    if not matched:
        raise SettingsError(f"{file}: no polygon carries the code of a kelurahan of models/gazetteer/kelurahan.csv")
    target = boundaries_file(settings)
    target.parent.mkdir(parents=True, exist_ok=True)
    temp = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    shutil.copyfile(file, temp)
    temp.replace(target)
    return {"kelurahan": len(codes), "matched": matched, "unknown": len(set(shapes) - codes)}


# --- the classifier -------------------------------------------------------------------------


def corpus(models: Path) -> Iterator[tuple[str, str, str]]:
    """(category, kind, text) of every line of models/corpus/*.tsv, in a fixed order."""
    for path in sorted((models / "corpus").glob("*.tsv")):
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
                yield path.stem, row["kind"], row["text"]


def training(settings: Settings) -> dict[str, Any]:
    """How the classifier is trained: the arguments of classifier.train."""
    return _toml(settings.models_dir / "classifier.toml")["training"]


def classifier_version(models: Path) -> str:
    """Hash of all that decides the weights: corpus, config, and the code's format."""
    hashed = blake2b(_CLASSIFIER_FORMAT.encode(), digest_size=8)
    for path in (models / "classifier.toml", *sorted((models / "corpus").glob("*.tsv"))):
        hashed.update(path.name.encode() + b"\0" + _bytes(path))
    return hashed.hexdigest()


def classifier_dir(settings: Settings) -> Path:
    return settings.data_dir / "models" / classifier_version(settings.models_dir)


def build_classifier(settings: Settings, *, say: Callable[[str], None] = lambda _: None) -> Path:
    """Train from corpus and config unless this very state was trained before; returns its folder."""
    folder = classifier_dir(settings)
    if folder.exists():
        return folder
    from pipelines.transforms.classifier import train

    rows = list(corpus(settings.models_dir))
    say(f"training the classifier on {len(rows):,} texts (once for this corpus and config)")
    config = training(settings)
    nlp = train(
        [t for _, _, t in rows], {"category": [c for c, _, _ in rows], "kind": [k for _, k, _ in rows]}, **config
    )
    folder.parent.mkdir(parents=True, exist_ok=True)
    temp = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
    nlp.to_disk(temp)
    try:
        temp.rename(folder)  # a folder that another process finished first stays
    except OSError:
        shutil.rmtree(temp)
    return folder


@lru_cache(maxsize=2)
def load_classifier(folder: Path) -> ComplaintClassifier:
    """The trained component of a folder that build_classifier returned."""
    import spacy

    from pipelines.transforms import classifier as _registered  # noqa: F401 - registers the factory

    return spacy.load(folder).get_pipe("complaints")
