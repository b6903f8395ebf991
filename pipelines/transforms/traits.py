"""What linking compares of each report, as columns of numbers.

Belongs here: reading it out of a report's row, once, while refining; hashing of texts that is the same in
every process. Not here: by which keys reports find each other (blocks), how alike two are (likeness).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from hashlib import blake2b
from typing import Any

import numpy as np
import orjson
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.contracts import TRAITS, column
from pipelines.transforms.matching import Matching, hashed

_CITED = re.compile(r"\b(?:JK\d{10}|KN-[0-9A-Z]{4}-[0-9A-Z]{4}-[0-9A-Z]{4})\b", re.I)
_WORDS = re.compile(r"[^a-z0-9]+")
_NUMBER = re.compile(r"\d+")
_NUMERAL = re.compile(r"[ivx]+|\d+[a-z]?")
_TWICE = re.compile(r"(.)\1+")
_VOWELS = re.compile(r"[aeiou]+")
_STREET_KINDS = frozenset(("jalan", "gang", "perumahan", "komplek", "apartemen", "rusun", "kampung"))

_SINGLE = tuple(f.name for f in TRAITS if not pa.types.is_list(f.type))
M_LAT = 111_195.0  # metres in a degree
M_LON = M_LAT * 0.9942  # at 6.2 degrees south
_FAR = 1_000.0
_LEAST, _MOST = 0.02, 4  # of a group's share, and groups


@dataclass(frozen=True, slots=True)
class Ragged:
    """Lists of numbers, one after another: those of row i from start[i] to start[i + 1]."""

    values: NDArray[Any]
    start: NDArray[np.int64]

    def take(self, rows: NDArray[np.int64]) -> Ragged:
        counts = np.diff(self.start)[rows]
        start = np.concatenate(([0], np.cumsum(counts)))
        return Ragged(self.values[spans(self.start[rows], counts)], start)

    def owners(self) -> NDArray[np.int64]:
        """Row of each value."""
        return np.repeat(np.arange(len(self.start) - 1), np.diff(self.start))


def spans(begins: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """begin, begin + 1, ... of each span, one after another."""
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total) + np.repeat(begins - (ends - counts), counts)


@dataclass(frozen=True, slots=True)
class Traits:
    """TRAITS of many reports. kinds: how likely each group of the matching is, shape (reports, groups); top: the
    likeliest, -1 for none."""

    said_at: NDArray[np.int64]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    spread: NDArray[np.float64]
    area: NDArray[np.int64]
    way: NDArray[np.int64]
    way_alike: NDArray[np.int64]
    way_kind: NDArray[np.int64]
    way_letters: NDArray[np.int64]
    house: NDArray[np.int64]
    block_no: NDArray[np.int64]
    rt_no: NDArray[np.int64]
    rw_no: NDArray[np.int64]
    mark: NDArray[np.int64]
    mark_more: NDArray[np.int64]
    author: NDArray[np.int64]
    unfixed: NDArray[np.int64]
    words: Ragged
    kinds: NDArray[np.float32]
    top: NDArray[np.int64]
    photos: Ragged
    pictures: Ragged

    def __len__(self) -> int:
        return len(self.said_at)

    def take(self, rows: NDArray[np.int64]) -> Traits:
        values = (getattr(self, f.name) for f in fields(self))
        made: list[Any] = [v.take(rows) if isinstance(v, Ragged) else v[rows] for v in values]
        return Traits(*made)


def concat(parts: Sequence[Traits]) -> Traits:
    """Rows of all parts, one after another."""
    made: list[Any] = [_joined([getattr(p, f.name) for p in parts]) for f in fields(Traits)]
    return Traits(*made)


def _joined(values: Sequence[Any]) -> Any:
    if not isinstance(values[0], Ragged):
        return np.concatenate(values)
    counts = np.concatenate([np.diff(v.start) for v in values])
    return Ragged(np.concatenate([v.values for v in values]), np.concatenate(([0], np.cumsum(counts))))


def traits_of(table: pa.Table | pd.DataFrame, matching: Matching) -> Traits:
    """The columns TRAITS as they were made or stored, ready to compare."""
    single: list[Any] = [_numbers(table[f.name], f.type) for f in TRAITS if f.name in _SINGLE]
    groups, shares = ragged(table["groups"]), ragged(table["shares"])
    place = {group: n for n, group in enumerate(matching.groups)}
    kinds = np.zeros((len(groups.start) - 1, len(place)), dtype=np.float32)
    known = np.array([place.get(g, -1) for g in groups.values], dtype=np.int64)
    there = known >= 0  # a group that matching.toml no longer has says nothing
    kinds[groups.owners()[there], known[there]] = shares.values[there]
    top = np.where(kinds.any(axis=1), kinds.argmax(axis=1), -1)
    several: list[Any] = [ragged(table["words"]), kinds, top, ragged(table["photos"]), ragged(table["pictures"])]
    return Traits(*single, *several)


def _numbers(values: Any, kind: pa.DataType) -> NDArray[Any]:
    found = pa.chunked_array(values) if isinstance(values, pa.ChunkedArray) else pa.array(values)
    if pa.types.is_floating(kind):
        return np.asarray(
            found.cast(kind).to_numpy(zero_copy_only=False)
            if isinstance(found, pa.Array)
            else found.cast(kind).to_numpy()
        )
    return pc.fill_null(found.cast(kind), 0).to_numpy()


def ragged(lists: Any) -> Ragged:
    found = lists if isinstance(lists, pa.ChunkedArray) else pa.array(lists)
    whole = found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found
    if isinstance(whole, pa.ChunkedArray):
        whole = pa.concat_arrays(whole.chunks)
    counts = pc.fill_null(whole.value_lengths(), 0).to_numpy(zero_copy_only=False)
    values = whole.flatten().to_numpy(zero_copy_only=False)
    return Ragged(values, np.concatenate(([0], np.cumsum(counts))).astype(np.int64))


# --- reading them out of a report ------------------------------------------------------------


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


def traits(
    reports: pd.DataFrame, *, groups: Mapping[str, str], areas: Mapping[str, str], matching: Matching
) -> pa.Table:
    """TRAITS of reports (contracts.REPORTS columns), in their order. groups: category -> group; areas: kelurahan's
    code -> its name, folded."""
    rows = zip(*(column(reports, name) for name in READ), strict=True)
    made = [_of_one(dict(zip(READ, row, strict=True)), groups, areas, matching) for row in rows]
    columns = zip(*made, strict=True) if made else [[] for _ in TRAITS]
    return pa.table([pa.array(c, f.type, from_pandas=True) for c, f in zip(columns, TRAITS, strict=True)], TRAITS)


READ = (
    "channel", "title", "text", "address_text", "occurred_at", "lat", "lon", "place_method", "extra", "kelurahan_code", "street", "estate",
    "hamlet", "house_number", "block", "rt", "rw", "landmark", "author_key", "category", "category_model",
    "category_runner_up", "category_reported", "category_source", "attachments",
)  # fmt: skip


def _of_one(
    r: Mapping[str, Any], groups: Mapping[str, str], areas: Mapping[str, str], matching: Matching
) -> tuple[Any, ...]:
    heard = matching.heard(fold(r["text"]).split())
    x, y, spread = _point(r, matching)
    way = _way(r, areas, matching)
    mark, more = _mark(r, matching, beside=heard.beside)
    found = _kinds(r, heard.spoken, groups, matching)
    files = orjson.loads(r["attachments"]) if r["attachments"] not in (None, "[]") else []
    return (
        int(r["occurred_at"].timestamp()), x, y, spread, _code(r["kelurahan_code"]), hashed(way), *_alike(way),
        _first_number(r["house_number"]), hashed(r["block"]), r["rt"] or 0, r["rw"] or 0, hashed(mark), hashed(more),
        hashed(r["author_key"]), int(heard.unfixed), heard.numbers,
        list(found), list(found.values()),
        sorted({hashed(f["sha256"]) for f in files if f.get("sha256")}),
        sorted({_signed(int(f["phash"], 16)) for f in files if f.get("phash")}),
    )  # fmt: skip


def _signed(number: int) -> int:
    return number - (1 << 64) if number >> 63 else number


def _code(kelurahan: str | None) -> int:
    return int(kelurahan.replace(".", "")) if kelurahan else 0


def _first_number(text: str | None) -> int:
    found = _NUMBER.search(text) if text else None
    return int(found[0]) % 1_000_000 if found else 0


def _point(r: Mapping[str, Any], matching: Matching) -> tuple[float | None, float | None, float | None]:
    """(metres east, metres north, how far it may be off); a landmark's point is the landmark's, not the citizen's."""
    if r["lat"] is None or r["lat"] != r["lat"] or r["place_method"] == "landmark":
        return None, None, None
    accuracy = orjson.loads(r["extra"]).get("accuracy_m") if r["extra"] and "accuracy_m" in r["extra"] else None
    pin = matching.pins.get(r["channel"], matching.pin_m)
    spread = pin if not isinstance(accuracy, int | float) else min(max(float(accuracy), 5.0), _FAR)
    return r["lon"] * M_LON, r["lat"] * M_LAT, spread


def _way(r: Mapping[str, Any], areas: Mapping[str, str], matching: Matching) -> str | None:
    """Street, estate or kampung, without what a text without commas hangs on to it."""
    name = r["street"] or r["estate"] or r["hamlet"]
    return _cut(name, areas.get(r["kelurahan_code"] or "", ""), matching.ends_way) if name else None


@lru_cache(maxsize=1 << 16)
def _cut(name: str, area: str, ends: frozenset[str]) -> str:
    """A name up to its number, or to a word that begins something else, or to the name of its kelurahan."""
    kept = name.split()[:2]
    for word in name.split()[2:]:
        if word in ends or _NUMERAL.fullmatch(kept[-1]):
            break
        kept.append(word)
    if area and len(kept) > len(area.split()) + 1 and kept[-len(area.split()) :] == area.split():
        kept = kept[: -len(area.split())]
    return " ".join(kept)


@lru_cache(maxsize=1 << 16)
def _alike(way: str | None) -> tuple[int, int, int]:
    """(way_alike, way_kind, way_letters) of a street's name: what fingers get wrong is left out of the first, changes a
    bit or two of the last. The first is its consonants in alphabetical order; short names stay as they are."""
    if not way:
        return 0, 0, 0
    kind, _, name = way.partition(" ")
    if kind not in _STREET_KINDS or not name:
        kind, name = "", way
    words = name.split()
    numerals = " ".join(w for w in words if _NUMERAL.fullmatch(w))
    letters = "".join(w for w in words if not _NUMERAL.fullmatch(w))
    consonants = "".join(sorted(set(_VOWELS.sub("", letters))))
    if len(consonants) < 3:
        consonants = _TWICE.sub(r"\1", letters)
    bits = sum((3 if letters.count(c) > 1 else 1) << 2 * (ord(c) - 97) for c in set(letters) if "a" <= c <= "z")
    return hashed(f"{kind} {consonants} {numerals}"), hashed(f"{kind} {numerals}"), bits


def _mark(r: Mapping[str, Any], matching: Matching, *, beside: bool) -> tuple[str | None, str | None]:
    """First word, and first two, of what the place lies beside; else of the landmark found. beside: the text may name it."""
    texts = (r["text"] if beside else None, r["address_text"])
    for text in filter(None, texts):
        for found in matching.beside.finditer(text.lower()):
            if (mark := _two(fold(found[1]).split(), matching))[0]:
                return mark
    return _two(fold(r["landmark"]).split(), matching) if r["landmark"] else (None, None)


def _two(words: Sequence[str], matching: Matching) -> tuple[str | None, str | None]:
    kept = []
    for word in words[:2]:
        if word in matching.ends_mark:
            break
        kept.append(word.lstrip("0") if word.isdigit() else _TWICE.sub(r"\1", word))
    return (kept[0], " ".join(kept)) if kept else (None, None)


def _kinds(
    r: Mapping[str, Any], spoken: Mapping[str, float], groups: Mapping[str, str], matching: Matching
) -> dict[str, float]:
    """What a report may be about: group -> share, of four judgements that may differ."""
    belief, points = matching.belief, dict[str, float]()
    sure = r["category_source"] in ("model", "agreed")
    for category, weight in (
        (r["category_reported"], belief["reported"]),
        (r["category_model"], belief["model"] if sure else belief["model_unsure"]),
        (r["category_runner_up"], belief["runner_up"]),
    ):
        if group := groups.get(category or ""):
            points[group] = points.get(group, 0.0) + weight
    if spoken:
        scale = belief["words"] / max(sum(spoken.values()), belief["words_enough"])
        for group, hits in spoken.items():
            points[group] = points.get(group, 0.0) + scale * hits
    total = sum(points.values()) + belief["unknown"]
    best = sorted([(-weight, group) for group, weight in points.items() if weight >= _LEAST * total])[:_MOST]
    return {group: round(-weight / total, 3) for weight, group in best}
