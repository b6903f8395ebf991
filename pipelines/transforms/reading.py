"""Reports -> what linking compares of them (contracts.TRAITS), once, while refining.

Of all reports at once: each different name is looked at once, and what few reports have (a photo, a number cited, what the
place lies beside) is read of those alone. Hashes are the same in every process. Not here: words of texts (words).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from hashlib import blake2b
from typing import Any, TypeAlias

import numpy as np
import orjson
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.contracts import TRAITS
from pipelines.transforms.matching import Matching, hashed
from pipelines.transforms.traits import M_LAT, M_LON, Ragged
from pipelines.transforms.words import hear, tells_beside

_CITED = re.compile(r"\b(?:JK\d{10}|KN-[0-9A-Z]{4}-[0-9A-Z]{4}-[0-9A-Z]{4})\b", re.I)
_MAY_CITE = r"(?i)jk\d{10}|kn-"
_WORDS = re.compile(r"[^a-z0-9]+")
_NUMBER = re.compile(r"\d+")
_NUMERAL = re.compile(r"[ivx]+|\d+[a-z]?")
_TWICE = re.compile(r"(.)\1+")
_VOWELS = re.compile(r"[aeiou]+")
_STREET_KINDS = frozenset(("jalan", "gang", "perumahan", "komplek", "apartemen", "rusun", "kampung"))
_NEAR, _FAR = 5.0, 1_000.0  # metres that a point's stated accuracy may be taken for
_LEAST, _MOST = 0.02, 4  # of a group's share, and groups

READ = (
    "channel", "title", "text", "address_text", "occurred_at", "lat", "lon", "place_method", "extra", "kelurahan_code", "street", "estate",
    "hamlet", "house_number", "block", "rt", "rw", "landmark", "author_key", "category_model", "category_runner_up",
    "category_reported", "category_source", "attachments", "external_ref",
)  # fmt: skip

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Reports: TypeAlias = pa.Table | pd.DataFrame


def fold(text: str) -> str:
    return _WORDS.sub(" ", text.lower()).strip()


def text_key(text: str) -> str | None:
    """Hash of a text as compared: equal for equal words in equal order. None for no words."""
    folded = fold(text)
    return blake2b(folded.encode(), digest_size=8).hexdigest() if folded else None


def cited(reports: Reports) -> pa.Array:
    """CRM and Kanal numbers that title and text cite, upper case, without the report's own."""
    title, text, own = (_strings(reports, name) for name in ("title", "text", "external_ref"))
    either = [pc.fill_null(pc.match_substring_regex(c, _MAY_CITE), False) for c in (title, text)]
    rows = _rows(pc.or_(*either))
    found: list[Sequence[str]] = [()] * len(text)
    for row in rows.tolist():
        said = f"{title[row].as_py() or ''} {text[row].as_py() or ''}"
        numbers = dict.fromkeys(m.upper() for m in _CITED.findall(said))
        found[row] = tuple(n for n in numbers if n != own[row].as_py())
    return pa.array(found, pa.list_(pa.string()))


def traits(reports: Reports, *, groups: Mapping[str, str], areas: Mapping[str, str], matching: Matching) -> pa.Table:
    """TRAITS of reports (contracts.REPORTS columns), in their order. groups: category -> group; areas: kelurahan's
    code -> its name, folded."""
    strings = partial(_strings, reports)
    text = strings("text")
    heard = hear(text, matching)
    x, y, spread = _points(reports, matching)
    way, *alike = _ways(reports, areas, matching)
    mark, more = _marks(reports, heard.beside, matching)
    about, shares = _kinds(reports, heard.spoken, groups, matching)
    photos, pictures = _photos(strings("attachments"))
    rt, rw = (_arrow(reports, name).cast(pa.int64()).fill_null(0) for name in ("rt", "rw"))
    columns: dict[str, Any] = {
        "said_at": _seconds(reports), "x": x, "y": y, "spread": spread, "area": _each(strings("kelurahan_code"), _code),
        "way": way, "way_alike": alike[0], "way_kind": alike[1], "way_letters": alike[2],
        "house": _each(strings("house_number"), _first_number), "block_no": _each(strings("block"), hashed), "rt_no": rt,
        "rw_no": rw, "mark": mark, "mark_more": more, "author": _each(strings("author_key"), hashed),
        "unfixed": heard.unfixed.astype(np.int64), "words": _lists(heard.words), "groups": about, "shares": shares,
        "photos": photos, "pictures": pictures,
    }  # fmt: skip
    made = ((columns[f.name], f.type) for f in TRAITS)
    return pa.table([c.cast(t) if isinstance(c, pa.Array) else pa.array(c, t) for c, t in made], schema=TRAITS)


# --- columns ---------------------------------------------------------------------------------


def _arrow(reports: Reports, name: str) -> pa.Array:
    found = reports[name] if isinstance(reports, pa.Table) else pa.array(reports[name], from_pandas=True)
    return pa.concat_arrays(found.chunks or [pa.array([], found.type)]) if isinstance(found, pa.ChunkedArray) else found


def _strings(reports: Reports, name: str) -> pa.Array:
    return _arrow(reports, name).cast(pa.string())


def _rows(flags: pa.Array) -> Ints:
    return np.flatnonzero(flags.to_numpy(zero_copy_only=False))


def _told(strings: pa.Array) -> pa.Array:
    """Which are neither null nor empty."""
    return pc.fill_null(pc.greater(pc.binary_length(strings), 0), False)


def _coded(strings: pa.Array) -> tuple[Ints, list[str]]:
    """(of each, its place among the different ones: one behind the last for null; these)."""
    found = strings.dictionary_encode()
    return found.indices.fill_null(len(found.dictionary)).to_numpy().astype(np.int64), found.dictionary.to_pylist()


def _each(strings: pa.Array, number: Callable[[str], int]) -> Ints:
    """A number of each string, 0 for null; asked once of each different one."""
    codes, known = _coded(strings)
    return np.array([*map(number, known), 0], dtype=np.int64)[codes]


def _lists(found: Ragged) -> pa.Array:
    return pa.ListArray.from_arrays(pa.array(found.start.astype(np.int32)), pa.array(found.values))


# --- when and where --------------------------------------------------------------------------


def _seconds(reports: Reports) -> pa.Array:
    return _arrow(reports, "occurred_at").cast(pa.timestamp("s", "UTC"), safe=False).cast(pa.int64())


def _points(reports: Reports, matching: Matching) -> tuple[pa.Array, pa.Array, pa.Array]:
    """(metres east, metres north, how far it may be off); a landmark's point is the landmark's, not the citizen's."""
    lat, lon = (_arrow(reports, name).cast(pa.float64()) for name in ("lat", "lon"))
    there = pc.and_(pc.is_valid(lat), pc.invert(pc.fill_null(pc.is_nan(lat), True)))
    there = pc.and_(there, pc.fill_null(pc.not_equal(_strings(reports, "place_method"), "landmark"), True))
    codes, channels = _coded(_strings(reports, "channel"))
    off = np.array([*(matching.pins.get(c, matching.pin_m) for c in channels), matching.pin_m], dtype=float)[codes]
    extra = _strings(reports, "extra")
    told = pc.fill_null(pc.match_substring(extra, '"accuracy_m"'), False)
    for row in _rows(pc.and_(there, told)).tolist():
        accuracy = orjson.loads(extra[row].as_py()).get("accuracy_m")
        if isinstance(accuracy, int | float):
            off[row] = min(max(float(accuracy), _NEAR), _FAR)
    east, north = pc.multiply(lon, M_LON), pc.multiply(lat, M_LAT)
    none = pa.scalar(None, pa.float64())
    x, y, spread = (pc.if_else(there, value, none) for value in (east, north, pa.array(off)))
    return x, y, spread


def _code(kelurahan: str) -> int:
    return int(kelurahan.replace(".", "") or 0)


def _first_number(text: str) -> int:
    found = _NUMBER.search(text)
    return int(found[0]) % 1_000_000 if found else 0


def _ways(reports: Reports, areas: Mapping[str, str], matching: Matching) -> Ints:
    """way, way_alike, way_kind and way_letters of each: street, estate or kampung, without what a text without commas hangs on
    to it."""
    names = _strings(reports, "hamlet")
    for name in ("estate", "street"):
        better = _strings(reports, name)
        names = pc.if_else(_told(better), better, names)
    codes, known = _coded(names)
    area_codes, kelurahan = _coded(_strings(reports, "kelurahan_code"))
    named = [*(areas.get(code, "") for code in kelurahan), ""]
    both, which = np.unique(codes * len(named) + area_codes, return_inverse=True)
    spelt = [*known, ""]
    cut = [_cut(spelt[n // len(named)], named[n % len(named)], matching.ends_way) for n in both.tolist()]
    return np.array([(hashed(way), *_alike(way)) for way in cut], dtype=np.int64).reshape(-1, 4)[which].T


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
def _alike(way: str) -> tuple[int, int, int]:
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


def _marks(reports: Reports, beside: NDArray[np.bool_], matching: Matching) -> Ints:
    """First word, and first two, of what each place lies beside: by the text, else the address, else the landmark found.
    beside: where the text may name it."""
    text, address, landmark = (_strings(reports, name) for name in ("text", "address_text", "landmark"))
    codes, known = _coded(landmark)
    found = np.array([*(_two(fold(name).split(), matching) for name in known), (0, 0)], dtype=np.int64)[codes]
    for names, rows in ((address, tells_beside(address, matching)), (text, beside)):
        for row in np.flatnonzero(rows).tolist():
            if (mark := _behind(names[row].as_py().lower(), matching))[0]:
                found[row] = mark
    return found.T


def _behind(text: str, matching: Matching) -> tuple[int, int]:
    marks = (_two(fold(found[1]).split(), matching) for found in matching.beside.finditer(text))
    return next((mark for mark in marks if mark[0]), (0, 0))


def _two(words: Sequence[str], matching: Matching) -> tuple[int, int]:
    kept = []
    for word in words[:2]:
        if word in matching.ends_mark:
            break
        kept.append(word.lstrip("0") if word.isdigit() else _TWICE.sub(r"\1", word))
    return (hashed(kept[0]), hashed(" ".join(kept))) if kept else (0, 0)


# --- what about ------------------------------------------------------------------------------


def _kinds(
    reports: Reports, spoken: Floats, groups: Mapping[str, str], matching: Matching
) -> tuple[pa.Array, pa.Array]:
    """What each may be about: groups and their shares, likeliest first, of four judgements that may differ."""
    belief, place = matching.belief, {group: n for n, group in enumerate(matching.kinds)}
    source = _strings(reports, "category_source")
    sure = pc.fill_null(pc.is_in(source, pa.array(["model", "agreed"])), False).to_numpy(zero_copy_only=False)
    points = np.zeros_like(spoken)
    for name, weight in (
        ("category_reported", np.full(len(sure), belief["reported"])),
        ("category_model", np.where(sure, belief["model"], belief["model_unsure"])),
        ("category_runner_up", np.full(len(sure), belief["runner_up"])),
    ):
        group = _each(_strings(reports, name), lambda category: place.get(groups.get(category, ""), -1) + 1) - 1
        rows = np.flatnonzero(group >= 0)
        points[rows, group[rows]] += weight[rows]
    points += spoken * (belief["words"] / np.maximum(spoken.sum(axis=1), belief["words_enough"]))[:, None]
    total = points.sum(axis=1) + belief["unknown"]
    best = np.argsort(-points, axis=1, kind="stable")[:, :_MOST]  # of equals the first by name
    shares = np.take_along_axis(points, best, axis=1)
    kept = (shares > 0) & (shares >= _LEAST * total[:, None])
    shares = np.round(shares / total[:, None], 3)
    start = pa.array(np.concatenate(([0], np.cumsum(kept.sum(axis=1)))).astype(np.int32))
    names = pa.array(matching.kinds, pa.string()).take(pa.array(best[kept]))
    return pa.ListArray.from_arrays(start, names), pa.ListArray.from_arrays(start, pa.array(shares[kept]))


def _photos(attachments: pa.Array) -> tuple[list[list[int]], list[list[int]]]:
    """(hashes of the sha256 of each file, perceptual hashes of each picture)."""
    photos: list[list[int]] = [[] for _ in range(len(attachments))]
    pictures: list[list[int]] = [[] for _ in range(len(attachments))]
    for row in _rows(pc.fill_null(pc.not_equal(attachments, "[]"), False)).tolist():
        files = orjson.loads(attachments[row].as_py())
        photos[row] = sorted({hashed(f["sha256"]) for f in files if f.get("sha256")})
        pictures[row] = sorted({_signed(int(f["phash"], 16)) for f in files if f.get("phash")})
    return photos, pictures


def _signed(number: int) -> int:
    return number - (1 << 64) if number >> 63 else number
