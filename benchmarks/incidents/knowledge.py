"""The package's data files, read: kinds of incidents, their wordings, channels' habits, small words."""

from __future__ import annotations

import csv
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pipelines.settings import default_models_dir

_HERE = Path(__file__).parent
WORDINGS = ("texts", "unseen")  # two hands; the linker is tuned while looking at the first
MAIN = "main"  # the matter of a kind that many can tell of


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of incident. lines: matter -> style -> wordings. group: of the taxonomy."""

    name: str
    category: str
    label: str
    group: str
    share: float
    hours: tuple[float, float]
    size: str
    spread_m: float
    measures: Sequence[str]
    lines: Mapping[str, Mapping[str, Sequence[str]]]
    weights: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Channel:
    """What reports of one channel carry. Shares of 1."""

    name: str
    share: float
    styles: str
    point: float
    pin: float
    fields: float
    category: float
    wrong: float
    photo: float
    title: bool


@cache
def kinds(wordings: str = WORDINGS[0]) -> Mapping[str, Kind]:
    """By name, in the order of kinds.toml. wordings: whose, one of WORDINGS."""
    categories = {c["id"]: c for c in _toml(default_models_dir() / "taxonomy.toml")["category"]}
    texts: dict[str, dict[str, dict[str, list[str]]]] = {}
    for path in sorted((_HERE / wordings).glob("*.tsv")):
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
                matter = texts.setdefault(row["type"], {}).setdefault(row["matter"], {})
                matter.setdefault(row["style"], []).append(row["text"])
    return {
        name: Kind(
            name, k["category"], categories[k["category"]]["name"], categories[k["category"]]["group"], k["share"],
            tuple(k["hours"]), k["size"], k["spread_m"], k.get("measures", ["lumayan"]), texts[name], _weights(texts[name]),
        )
        for name, k in _toml(_HERE / "kinds.toml").items()
    }  # fmt: skip


def _weights(matters: Mapping[str, Mapping[str, Sequence[str]]]) -> dict[str, float]:
    """How often each matter is the one: the main one in three of four, the others by their wordings."""
    count = {m: sum(map(len, styles.values())) for m, styles in matters.items()}
    side = sum(n for m, n in count.items() if m != MAIN)
    if MAIN not in count:
        return {m: n / side for m, n in count.items()}
    if not side:
        return {MAIN: 1.0}
    return {m: 0.75 if m == MAIN else 0.25 * n / side for m, n in count.items()}


@cache
def channels() -> Mapping[str, Channel]:
    return {name: Channel(name, **c) for name, c in _toml(_HERE / "channels.toml").items()}


@cache
def phrases() -> Mapping[str, Any]:
    found = _toml(_HERE / "phrases.toml")
    return found | {"streets": found["streets"].split()}


def _toml(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text("utf-8"))
