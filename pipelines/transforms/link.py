"""Reports in their recorded order -> the ticket each belongs to, with the reason.

Each report joins the first open ticket that matches, else opens one. Candidates are tickets' first
reports only, so chains do not creep; they come from blocking keys that carry place and time, so no
bucket is capped. Best candidate: lowest level, then highest score, then earliest arrival.
Thresholds live in models/matching.toml. Pure: leaders of older loads are passed in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
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
    keys: list[tuple[int, int]]  # (key, arrival of the leader)


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


def block(items: Sequence[Leader], matching: Matching) -> tuple[list[NDArray[np.int64]], list[NDArray[np.int64]]]:
    """(keys each report is found by, keys it must probe), one array of 64-bit keys a report.

    A key holds the place (cell, street or kelurahan), the category group or text band, and a time
    bucket as wide as the horizon; probing visits the neighbours, so nothing in reach is missed.
    """
    bands = _bands([i.words for i in items])
    own, probes = [], []
    for item, band in zip(items, bands, strict=True):
        mine: list[int] = []
        asked: list[int] = []
        for kind, parts, horizon, near in _blocks(item, band, matching):
            bucket = int(item.said_at // horizon)
            mine.append(hash_key(kind, *parts, bucket))
            asked += [hash_key(kind, *p, b) for p in near for b in (bucket - 1, bucket, bucket + 1)]
        own.append(np.array(mine, dtype=np.int64))
        probes.append(np.array(asked, dtype=np.int64))
    return own, probes


def hash_key(*parts: Any) -> int:
    """Stable 64-bit key (Python's own hash of text differs between processes)."""
    return int.from_bytes(blake2b(repr(parts).encode(), digest_size=8).digest(), signed=True)


def _blocks(item: Leader, band: Sequence[int], matching: Matching) -> Iterator[tuple[str, tuple, float, list[tuple]]]:
    """Per block: (kind, own parts, horizon in seconds, parts to probe)."""
    levels = matching.levels
    if levels["same_author_text"].enabled and item.author_key and item.text_key:
        parts: tuple[Any, ...] = (item.author_key, item.text_key)
        yield "a", parts, levels["same_author_text"].horizon_days * _DAY, [parts]
    if levels["near_text"].enabled and len(item.words.split()) >= 6:
        for number, value in enumerate(band):
            parts = (number, value, item.kelurahan_code)
            yield "t", parts, levels["near_text"].horizon_days * _DAY, [parts]
    if not levels["place_time"].enabled or item.group == _UNKNOWN:
        return
    radius, horizon = matching.reach(item.group)
    if item.lat == item.lat:
        side = radius / 1000 / _KM
        x, y = int(item.lat // side), int(item.lon // (side * 1.01))
        cells = [(item.group, x + dx, y + dy) for dx in (-1, 0, 1) for dy in (-1, 0, 1)]
        yield "g", (item.group, x, y), horizon, cells
    if item.street and item.kelurahan_code:
        parts = (item.group, item.kelurahan_code, item.street)
        yield "s", parts, horizon, [parts]


_SEEDS = np.random.default_rng(20170221).integers(1, 1 << 62, _BANDS * _ROWS, dtype=np.uint64) | np.uint64(1)


def _bands(texts: Sequence[str]) -> list[list[int]]:
    """MinHash bands over word pairs: texts that share most pairs share a band."""
    if not texts:
        return []
    hashes: list[int] = []
    starts: list[int] = []
    memo: dict[str, int] = {}
    for text in texts:
        starts.append(len(hashes))
        words = text.split() or [""]
        for pair in zip(words, words[1:] or [""], strict=False):
            joined = " ".join(pair)
            value = memo.get(joined)
            if value is None:
                value = memo[joined] = int.from_bytes(blake2b(joined.encode(), digest_size=8).digest())
            hashes.append(value)
    mixed = np.array(hashes, dtype=np.uint64)
    signature = np.empty((len(texts), _BANDS * _ROWS), dtype=np.uint64)
    for i, seed in enumerate(_SEEDS):
        turned = mixed * seed
        signature[:, i] = np.minimum.reduceat(turned ^ (turned >> np.uint64(29)), starts)
    folded = signature.reshape(len(texts), _BANDS, _ROWS)
    combined = folded[:, :, 0]
    for row in range(1, _ROWS):
        combined = combined * np.uint64(0x9E3779B97F4A7C15) + folded[:, :, row]
    return combined.tolist()


def link(
    items: Sequence[Leader],
    report_ids: Sequence[str],
    own_refs: Sequence[str | None],
    cites: Sequence[tuple[str, ...]],
    *,
    blocks: tuple[list[NDArray[np.int64]], list[NDArray[np.int64]]],
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
    own, probes = blocks
    by_arrival = {leader.arrival: leader for leader in older}
    index: dict[int, list[Leader]] = {}
    for key, arrival in older_keys:
        if arrival in by_arrival:
            index.setdefault(key, []).append(by_arrival[arrival])
    refs, shut = dict(tickets_of_ref), set(closed)
    pending = iter([*sorted(closings), None])
    change = next(pending)
    rows, leaders, keys = [], [], []
    for item, report_id, ref, cited_refs, mine, asked in zip(
        items, report_ids, own_refs, cites, own, probes, strict=True
    ):
        while change is not None and change.arrival < item.arrival:
            (shut.discard if change.open else shut.add)(change.ticket_id)
            change = next(pending)
        level, score, why, ticket = _best(item, ref, cited_refs, asked.tolist(), index, refs, shut, matching)
        if ticket is None:
            ticket = item.ticket_id
            level, score, why = "opened", 1000, {}
            leaders.append(item)
            for key in mine.tolist():
                keys.append((key, item.arrival))
                index.setdefault(key, []).append(item)
            if ref:
                refs.setdefault(ref, ticket)
        rows.append((report_id, ticket, level, score, orjson.dumps(why).decode(), item.arrival))
    columns = ["report_id", "ticket_id", "level", "score", "explanation", "arrival"]
    return Linked(pd.DataFrame(rows, columns=columns), leaders, keys)


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
