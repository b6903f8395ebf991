"""Reports in their recorded order -> the ticket each belongs to, with the reason.

Each report joins the first open ticket that matches, else opens one. Candidates are tickets' first
reports only, so chains do not creep; they come from blocking keys that carry place and time, so no
bucket is capped. Best candidate: lowest level, then highest score, then earliest arrival.
Thresholds live in models/matching.toml. Pure: leaders of older loads are passed in.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
import orjson
import pandas as pd
from numpy.typing import NDArray

from pipelines.contracts import column, ticket_id_of

LEVELS = ("external_ref", "cited", "same_author_text", "near_text", "place_time")
_CITED = re.compile(r"\b(?:JK\d{10}|KN-[0-9A-Z]{4}-[0-9A-Z]{4}-[0-9A-Z]{4})\b", re.I)
_WORDS = re.compile(r"[^a-z0-9]+")
_BANDS, _ROWS = 6, 3  # 98.6% of pairs with Jaccard 0.8 share a band
_DAY = 86_400
_KM = 111.195
_UNKNOWN = "?"


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
        return self.radius_m.get(group, level.radius_m), self.horizon_days.get(group, level.horizon_days) * _DAY


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


class Closing(NamedTuple):
    """From `arrival` on the ticket is open or not: a status event."""

    arrival: int
    ticket_id: str
    open: bool


class Linked(NamedTuple):
    """links: rows of contracts.LINKS; leaders and keys: what to remember of the tickets opened."""

    links: pd.DataFrame
    leaders: list[Leader]
    keys: NDArray[np.int64]
    arrivals: NDArray[np.int64]  # of the leader that each key leads to


def nothing() -> Linked:
    """What comes of no reports."""
    columns = ["report_id", "ticket_id", "level", "score", "explanation", "arrival"]
    return Linked(pd.DataFrame(columns=columns), [], np.zeros(0, np.int64), np.zeros(0, np.int64))


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


def candidates(reports: pd.DataFrame, *, groups: Mapping[str, str]) -> list[Leader]:
    """What linking looks at, one Leader a report, in the order given."""
    seconds = [int(t.timestamp()) for t in column(reports, "occurred_at")]
    group = [groups.get(c, _UNKNOWN) if isinstance(c, str) else _UNKNOWN for c in column(reports, "category")]
    columns = ("author_key", "text_key", "kelurahan_code", "street", "rt", "rw")
    given = (column(reports, c) for c in columns)
    return [
        Leader(ticket_id_of(i), a, s, g, author, key, fold(t), lat, lon, kelurahan, street, rt, rw)
        for i, a, s, g, t, lat, lon, author, key, kelurahan, street, rt, rw in zip(
            column(reports, "report_id"),
            column(reports, "arrival"),
            seconds,
            group,
            column(reports, "text"),
            _numbers(reports, "lat"),
            _numbers(reports, "lon"),
            *given,
            strict=True,
        )
    ]


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
        yield 1, rows, parts, levels["same_author_text"].horizon_days * _DAY, [parts]
    if levels["near_text"].enabled:
        rows = _where(i.words.count(" ") >= 5 for i in items)
        bands = _bands([items[r].words for r in rows])
        for number in range(_BANDS):
            parts = [bands[:, number], kelurahan[rows]]
            yield 10 + number, rows, parts, levels["near_text"].horizon_days * _DAY, [parts]
    if not levels["place_time"].enabled:
        return
    reach = {group: matching.reach(group) for group in {i.group for i in items}}
    groups = hashed.all(i.group for i in items)
    radius = np.array([reach[i.group][0] for i in items])
    horizon = np.array([reach[i.group][1] for i in items])
    rows = _where(i.group != _UNKNOWN and i.lat == i.lat for i in items)
    side = radius[rows] / 1000 / _KM
    x = np.floor_divide(np.array([items[r].lat for r in rows]), side).astype(np.int64)
    y = np.floor_divide(np.array([items[r].lon for r in rows]), side * 1.01).astype(np.int64)
    around = [[groups[rows], x + dx, y + dy] for dx in (-1, 0, 1) for dy in (-1, 0, 1)]
    yield 2, rows, [groups[rows], x, y], horizon[rows], around
    rows = _where(i.group != _UNKNOWN and i.street and i.kelurahan_code for i in items)
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


def link(
    items: Sequence[Leader],
    report_ids: Sequence[str],
    own_refs: Sequence[str | None],
    cites: Sequence[tuple[str, ...]],
    *,
    blocks: Blocks,
    older: Sequence[Leader],
    older_keys: Sequence[tuple[int, int]],
    tickets_of_ref: Mapping[str, str],
    closed: frozenset[str],
    closings: Sequence[Closing],
    matching: Matching,
) -> Linked:
    """Decide for each report, in the order given (rising arrival).

    blocks: what `block` said of items. older, older_keys: leaders of earlier loads that share a
    probed key. tickets_of_ref: CRM and Kanal numbers -> ticket, for numbers these reports own or
    cite. closed: tickets not open at the start; closings: what changes on the way.
    """
    by_arrival = {leader.arrival: leader for leader in older}
    index: dict[int, list[Leader]] = {}
    for key, arrival in older_keys:
        if arrival in by_arrival:
            index.setdefault(key, []).append(by_arrival[arrival])
    refs, shut = dict(tickets_of_ref), set(closed)
    pending = iter([*sorted(closings), None])
    change = next(pending)
    rows, opened = [], []
    for place, (item, report_id, ref, cited_refs) in enumerate(zip(items, report_ids, own_refs, cites, strict=True)):
        while change is not None and change.arrival < item.arrival:
            (shut.discard if change.open else shut.add)(change.ticket_id)
            change = next(pending)
        asked = blocks.probes[blocks.probe_start[place] : blocks.probe_start[place + 1]].tolist()
        level, score, why, ticket = _best(item, ref, cited_refs, asked, index, refs, shut, matching)
        if ticket is None:
            ticket = item.ticket_id
            level, score, why = "opened", 1000, {}
            opened.append(place)
            for key in blocks.own[blocks.own_start[place] : blocks.own_start[place + 1]].tolist():
                index.setdefault(key, []).append(item)
            if ref:
                refs.setdefault(ref, ticket)
        rows.append((report_id, ticket, level, score, orjson.dumps(why).decode() if why else "{}", item.arrival))
    columns = ["report_id", "ticket_id", "level", "score", "explanation", "arrival"]
    return Linked(pd.DataFrame(rows, columns=columns), [items[p] for p in opened], *_keys_of(opened, items, blocks))


def _keys_of(opened: list[int], items: Sequence[Leader], blocks: Blocks) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Own keys of the reports that opened a ticket, and their arrivals."""
    if not opened:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    counts = np.diff(blocks.own_start)
    owner = np.repeat(np.arange(len(items)), counts)
    mine = np.isin(owner, opened)
    arrivals = np.array([i.arrival for i in items], dtype=np.int64)
    return blocks.own[mine], arrivals[owner[mine]]


def _best(
    item: Leader,
    ref: str | None,
    cited_refs: tuple[str, ...],
    asked: list[int],
    index: Mapping[int, list[Leader]],
    refs: Mapping[str, str],
    shut: set[str],
    matching: Matching,
) -> tuple[str, int, dict[str, Any], str | None]:
    if ref and (ticket := refs.get(ref)):
        return "external_ref", 1000, {"nomor": ref}, ticket
    for number in cited_refs if matching.levels["cited"].enabled else ():
        if (ticket := refs.get(number)) and ticket not in shut:
            return "cited", 1000, {"nomor": number}, ticket
    best: tuple[int, int, int] | None = None
    chosen: tuple[str, int, dict[str, Any], str | None] = ("opened", 1000, {}, None)
    seen: set[int] = set()
    for key in asked:
        for leader in index.get(key, ()):
            if leader.arrival in seen or leader.ticket_id in shut:
                continue
            seen.add(leader.arrival)
            found = compare(item, leader, matching)
            if found is None:
                continue
            level, score, why = found
            rank = (LEVELS.index(level), -score, leader.arrival)
            if best is None or rank < best:
                best, chosen = rank, (level, score, why, leader.ticket_id)
    return chosen


def compare(item: Leader, leader: Leader, matching: Matching) -> tuple[str, int, dict[str, Any]] | None:
    """(level, score 0..1000, values compared) of the first level that holds; None if none does."""
    apart = abs(item.said_at - leader.said_at)
    levels = matching.levels
    rule = levels["same_author_text"]
    same_text = item.text_key is not None and item.text_key == leader.text_key
    same_author = item.author_key and item.author_key == leader.author_key
    if rule.enabled and same_text and same_author and apart <= rule.horizon_days * _DAY:
        return "same_author_text", 1000, {"selisih_jam": apart // 3600}
    if item.group != leader.group:
        return None
    radius, horizon = matching.reach(item.group)
    metres = distance_m(item, leader)
    place = _same_place(item, leader, metres, radius)
    rule = levels["near_text"]
    if rule.enabled and apart <= rule.horizon_days * _DAY and place is not False:
        alike = 1.0 if same_text else similarity(item.words, leader.words)
        long_enough = place or (item.kelurahan_code == leader.kelurahan_code and len(item.words.split()) >= 12)
        if alike >= rule.min_similarity and long_enough:
            why: dict[str, Any] = {"kemiripan": round(alike, 3), "selisih_jam": apart // 3600} | _metres(metres)
            return "near_text", int(alike * 1000), why
    if levels["place_time"].enabled and place and item.group != _UNKNOWN and apart <= horizon:
        near = 1 - metres / radius if metres is not None and radius else 0.5
        why = {"selisih_jam": apart // 3600, "kelompok": item.group} | _metres(metres)
        if metres is None:
            why["jalan"] = item.street
        return "place_time", int(500 + 499 * near * (1 - apart / (2 * horizon))), why
    return None


def _same_place(item: Leader, leader: Leader, metres: float | None, radius: float) -> bool | None:
    """True, False, or None where one of them does not say."""
    if metres is not None:
        return metres <= radius
    if item.street and leader.street and item.kelurahan_code and leader.kelurahan_code:
        same = item.street == leader.street and item.kelurahan_code == leader.kelurahan_code
        return same and _agree(item.rt, leader.rt) and _agree(item.rw, leader.rw)
    if item.kelurahan_code and leader.kelurahan_code and item.kelurahan_code != leader.kelurahan_code:
        return False
    return None


def _agree(a: int | None, b: int | None) -> bool:
    return a is None or b is None or a == b


def _metres(metres: float | None) -> dict[str, int]:
    return {} if metres is None else {"jarak_m": round(metres)}


def distance_m(a: Leader, b: Leader) -> float | None:
    """Metres between two points on a local plane; None where either lacks one."""
    if a.lat != a.lat or b.lat != b.lat:
        return None
    dx, dy = (a.lat - b.lat) * _KM, (a.lon - b.lon) * _KM * 0.9942  # cos(6.2 degrees)
    return 1000.0 * (dx * dx + dy * dy) ** 0.5


def similarity(a: str, b: str) -> float:
    """Jaccard of the two texts' words."""
    left, right = set(a.split()), set(b.split())
    union = len(left | right)
    return len(left & right) / union if union else 0.0
