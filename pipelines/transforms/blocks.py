"""What of each report linking compares, and the keys by which reports that may match find each other.

A key holds the place (cell, street or kelurahan), the category group or text band, and a time bucket,
so no bucket is capped. All of it depends on one report alone, so it is made while refining. Not here:
deciding (link).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.contracts import column, ticket_id_of

UNKNOWN = "?"  # the group of a report without a category
DAY = 86_400
KM = 111.195  # of one degree of latitude
_CITED = re.compile(r"\b(?:JK\d{10}|KN-[0-9A-Z]{4}-[0-9A-Z]{4}-[0-9A-Z]{4})\b", re.I)
_WORDS = re.compile(r"[^a-z0-9]+")
_BANDS, _ROWS = 6, 3  # 98.6% of pairs with Jaccard 0.8 share a band


@dataclass(frozen=True, slots=True)
class Level:
    """Thresholds of one level; radius and horizon may differ per category group."""

    enabled: bool
    horizon_days: float
    min_similarity: float = 0.0
    radius_m: float = 0.0


@dataclass(frozen=True, slots=True)
class Matching:
    """levels: by name; radius_m and horizon_days: per category group, for place_time and near_text."""

    levels: Mapping[str, Level]
    radius_m: Mapping[str, float]
    horizon_days: Mapping[str, float]

    def reach(self, group: str) -> tuple[float, float]:
        """(metres, seconds) within which two reports of a group may be one incident."""
        level = self.levels["place_time"]
        return self.radius_m.get(group, level.radius_m), self.horizon_days.get(group, level.horizon_days) * DAY


class Leader(NamedTuple):
    """A ticket's first report, as later reports are compared with it. Stored as table `leaders`."""

    ticket_id: str
    arrival: int
    said_at: int  # epoch seconds
    group: str
    author_key: str | None
    text_key: str | None
    words: str  # folded text
    lat: float
    lon: float
    kelurahan_code: str | None
    street: str | None
    rt: int | None
    rw: int | None


def fold(text: str) -> str:
    return _WORDS.sub(" ", text.lower()).strip()


def text_key(text: str) -> str | None:
    """Hash of a text as compared: equal for equal words in equal order. None for no words."""
    folded = fold(text)
    return blake2b(folded.encode(), digest_size=8).hexdigest() if folded else None


def cited(text: str, own: str | None) -> tuple[str, ...]:
    """CRM and Kanal numbers a text cites, upper case, without its own."""
    found = dict.fromkeys(m.upper() for m in _CITED.findall(text))
    return tuple(n for n in found if n != own)


# What `prepare` says of each report: nothing of it depends on other reports, so it is made while refining.
PREPARED = (
    pa.field("words", pa.string()),
    pa.field("said_at", pa.int64()),
    pa.field("group", pa.string()),
    pa.field("cites", pa.list_(pa.string())),
    pa.field("own_keys", pa.list_(pa.int64())),
    pa.field("probe_keys", pa.list_(pa.int64())),
)


def prepare(reports: pd.DataFrame, *, groups: Mapping[str, str], matching: Matching) -> list[pa.Array]:
    """The columns PREPARED of reports (contracts.REPORTS columns), in their order."""
    refs = column(reports, "external_ref")
    said = [f"{t or ''} {x}" for t, x in zip(column(reports, "title"), column(reports, "text"), strict=True)]
    made = reports[list(_COMPARED)].assign(
        arrival=0,
        words=[fold(t) for t in column(reports, "text")],
        said_at=[int(t.timestamp()) for t in column(reports, "occurred_at")],
        group=[groups.get(c, UNKNOWN) if isinstance(c, str) else UNKNOWN for c in column(reports, "category")],
    )
    blocks = block(candidates(made), matching)
    columns = [pa.array(made[name], type=kind, from_pandas=True) for name, kind in (
        ("words", pa.string()), ("said_at", pa.int64()), ("group", pa.string()),
    )]  # fmt: skip
    cites = pa.array([cited(t, r) for t, r in zip(said, refs, strict=True)], pa.list_(pa.string()))
    keys = (
        pa.ListArray.from_arrays(pa.array(start.astype(np.int32)), pa.array(values))
        for start, values in ((blocks.own_start, blocks.own), (blocks.probe_start, blocks.probes))
    )
    return [*columns, cites, *keys]


_COMPARED = ("report_id", "lat", "lon", "author_key", "text_key", "kelurahan_code", "street", "rt", "rw")


def candidates(reports: pd.DataFrame) -> list[Leader]:
    """What linking looks at, one Leader a report, in the order given. reports: with the columns PREPARED."""
    columns = ("arrival", "said_at", "group", "author_key", "text_key", "words")
    places = ("kelurahan_code", "street", "rt", "rw")
    return list(
        map(
            Leader,
            [ticket_id_of(i) for i in column(reports, "report_id")],
            *(column(reports, c) for c in columns),
            _numbers(reports, "lat"),
            _numbers(reports, "lon"),
            *(column(reports, c) for c in places),
        )
    )


def blocks_of(reports: pd.DataFrame) -> Blocks:
    """The keys that `prepare` gave these reports, in their order now."""
    own, probes = (pa.array(reports[name]) for name in ("own_keys", "probe_keys"))
    return Blocks(*_flat(own), *_flat(probes))


def _flat(lists: pa.Array | pa.ChunkedArray) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    whole = lists.combine_chunks() if isinstance(lists, pa.ChunkedArray) else lists
    counts = whole.value_lengths().to_numpy(zero_copy_only=False)
    start = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
    return whole.flatten().to_numpy(zero_copy_only=False), start


def _numbers(reports: pd.DataFrame, name: str) -> list[float]:
    return reports[name].to_numpy(dtype=float, na_value=np.nan).tolist()


@dataclass(frozen=True, slots=True)
class Blocks:
    """Per report the keys it is found by (own) and those it must probe: 64-bit keys of all reports
    in one array, those of report i from start[i] to start[i + 1]."""

    own: NDArray[np.int64]
    own_start: NDArray[np.int64]
    probes: NDArray[np.int64]
    probe_start: NDArray[np.int64]


def block(items: Sequence[Leader], matching: Matching) -> Blocks:
    """A key holds the place (cell, street or kelurahan), the category group or text band, and a time
    bucket as wide as the horizon; probing visits the neighbours, so nothing in reach is missed."""
    own: list[tuple[NDArray[np.int64], NDArray[np.uint64]]] = []
    probes: list[tuple[NDArray[np.int64], NDArray[np.uint64]]] = []
    said = np.array([i.said_at for i in items], dtype=np.int64)
    for kind, rows, parts, horizon, near in _kinds(items, matching):
        bucket = np.floor_divide(said[rows], horizon).astype(np.int64)
        own.append((rows, _mix(kind, *parts, bucket)))
        probes += [(rows, _mix(kind, *p, bucket + step)) for p in near for step in (-1, 0, 1)]
    return Blocks(*_gather(own, len(items)), *_gather(probes, len(items)))


def _kinds(items: Sequence[Leader], matching: Matching) -> Iterator[tuple[int, Any, list[Any], Any, list[list[Any]]]]:
    """Per kind of block: (number, rows it holds for, own parts, horizons in seconds, parts to probe)."""
    levels, hashed = matching.levels, _Hashed()
    kelurahan = hashed.all(i.kelurahan_code for i in items)
    if levels["same_author_text"].enabled:
        rows = _where(i.author_key and i.text_key for i in items)
        parts = [hashed.all(getattr(items[r], name) for r in rows) for name in ("author_key", "text_key")]
        yield 1, rows, parts, levels["same_author_text"].horizon_days * DAY, [parts]
    if levels["near_text"].enabled:
        rows = _where(i.words.count(" ") >= 5 for i in items)
        bands = _bands([items[r].words for r in rows])
        for number in range(_BANDS):
            parts = [bands[:, number], kelurahan[rows]]
            yield 10 + number, rows, parts, levels["near_text"].horizon_days * DAY, [parts]
    if not levels["place_time"].enabled:
        return
    reach = {group: matching.reach(group) for group in {i.group for i in items}}
    groups = hashed.all(i.group for i in items)
    radius = np.array([reach[i.group][0] for i in items])
    horizon = np.array([reach[i.group][1] for i in items])
    rows = _where(i.group != UNKNOWN and i.lat == i.lat for i in items)
    side = radius[rows] / 1000 / KM
    x = np.floor_divide(np.array([items[r].lat for r in rows]), side).astype(np.int64)
    y = np.floor_divide(np.array([items[r].lon for r in rows]), side * 1.01).astype(np.int64)
    around = [[groups[rows], x + dx, y + dy] for dx in (-1, 0, 1) for dy in (-1, 0, 1)]
    yield 2, rows, [groups[rows], x, y], horizon[rows], around
    rows = _where(i.group != UNKNOWN and i.street and i.kelurahan_code for i in items)
    parts = [groups[rows], kelurahan[rows], hashed.all(items[r].street for r in rows)]
    yield 3, rows, parts, horizon[rows], [parts]


def _where(flags: Iterable[Any]) -> NDArray[np.int64]:
    return np.flatnonzero(np.fromiter((bool(f) for f in flags), dtype=bool))


class _Hashed:
    """Texts as 64-bit numbers, the same in every process, as Python's own hash is not."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}

    def all(self, texts: Iterable[str | None]) -> NDArray[np.uint64]:
        return np.array([self._one(t or "") for t in texts], dtype=np.uint64)

    def _one(self, text: str) -> int:
        value = self._known.get(text)
        if value is None:
            value = self._known[text] = int.from_bytes(blake2b(text.encode(), digest_size=8).digest())
        return value


_M = np.uint64(0x9E3779B97F4A7C15)


def _mix(kind: int, *parts: NDArray[Any]) -> NDArray[np.uint64]:
    """One key of several parts."""
    mixed = np.full(len(parts[0]), kind, dtype=np.uint64)
    for part in parts:
        mixed = (mixed ^ part.astype(np.uint64)) * _M
        mixed ^= mixed >> np.uint64(32)
    return mixed


def _gather(
    found: Sequence[tuple[NDArray[np.int64], NDArray[np.uint64]]], count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(keys ordered by report, where each report's begin)."""
    rows = np.concatenate([r for r, _ in found]) if found else np.zeros(0, np.int64)
    keys = np.concatenate([k for _, k in found]) if found else np.zeros(0, np.uint64)
    order = np.argsort(rows, kind="stable")
    return keys[order].view(np.int64), np.searchsorted(rows[order], np.arange(count + 1)).astype(np.int64)


_SEEDS = np.random.default_rng(20170221).integers(1, 1 << 62, _BANDS * _ROWS, dtype=np.uint64) | np.uint64(1)


def _bands(texts: Sequence[str]) -> NDArray[np.uint64]:
    """MinHash bands over word pairs, shape (texts, bands): texts that share most pairs share a band."""
    hashed = _Hashed()
    words = [t.split() for t in texts]  # two words at least
    counts = np.array([len(w) for w in words], dtype=np.int64)
    if not len(counts):
        return np.zeros((0, _BANDS), dtype=np.uint64)
    flat = hashed.all(w for ws in words for w in ws)
    first = np.ones(len(flat), dtype=bool)
    first[np.cumsum(counts) - 1] = False  # the last word of a text begins no pair
    pairs = _mix(0, flat[:-1][first[:-1]], flat[1:][first[:-1]])
    starts = np.concatenate(([0], np.cumsum(counts - 1)[:-1]))
    bands = np.zeros((len(texts), _BANDS), dtype=np.uint64)
    for number, seed in enumerate(_SEEDS):
        turned = pairs * seed
        lowest = np.minimum.reduceat(turned ^ (turned >> np.uint64(29)), starts)
        bands[:, number // _ROWS] = bands[:, number // _ROWS] * _M + lowest
    return bands
