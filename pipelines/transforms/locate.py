"""Masked reports -> where: codes, street, RT/RW, landmark, point, with method and confidence.

Evidence of every kind (coordinates, fields of the source, names in address and text, postcode) is
weighed together per kelurahan. A name counts less where it may be a street's, a route's or a daily
word; names that contradict each other give an ambiguous place with its candidates, never a confident
guess. "Outside the area" is a result. Belongs here: weighing. Not here: reading an address (address),
what names mean (gazetteer).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd

from pipelines.contracts import column
from pipelines.transforms import address
from pipelines.transforms.gazetteer import START, Gazetteer, Name, Point, join

_READ = 4_000  # characters of a text that are read: addresses stand at the beginning
_TOKEN = re.compile(r"[a-z0-9]+")
_KELURAHAN = frozenset(("kel", "kelurahan", "kelrhn", "klurahan", "desa"))
_KECAMATAN = frozenset(("kec", "kecamatan", "kcmtn", "kcamatan"))
# Before a name: it is a street's, a river's or a station's, which may lie elsewhere ...
_ROAD = frozenset(
    """
    jl jln jalan gg gang raya tol flyover fo underpass stasiun halte pasar terminal jembatan simpang perempatan
    pertigaan bundaran sungai kali waduk danau situ exit gerbang gt
    """.split()
)
# ... or where somebody goes to or comes from.
_TOWARDS = frozenset(("arah", "menuju", "ke", "dari", "jurusan", "tujuan", "trayek", "rute", "via"))
# After a daily word that is a kelurahan's name and asked for: the name ends here ("kel dukuh kec ..", not "dukuh kupang").
_CLOSING = frozenset("kec kecamatan rt rw jakarta jakpus jakut jakbar jaksel jaktim dki kota no".split()) | {""}
_SCHOOLS = frozenset("sd sdn smp smpn sma sman smk smkn tk paud".split())  # their number is no street's
_FIELD, _ASKED, _NAMED, _MISSPELT, _POSTCODE, _LANDMARK, _SHARED, _PASSING = 0.9, 0.85, 0.6, 0.6, 0.55, 0.55, 0.45, 0.35
_ENOUGH = 0.5  # less names no kelurahan
_PREFIX = re.compile(
    r"^(?:kelurahan|kel\.?|kecamatan|kec\.?|kota administrasi|kota adm\.?|kota|kabupaten administrasi|kabupaten)\s+",
    re.I,
)


class Place(NamedTuple):
    """The place columns of contracts.REPORTS, without what the address says."""

    kelurahan_code: str | None
    kecamatan_code: str | None
    kota_code: str | None
    place_method: str
    place_confidence: float
    place_candidates: list[str] | None = None


class _Heard:
    """What was said of a place: per kelurahan row (weight, method) and the words for it; what names only a
    kecamatan or kota, with its words; how strongly somewhere outside."""

    __slots__ = ("everyday", "kecamatan", "kota", "landmark", "outside", "row_words", "rows", "shared", "words")

    def __init__(self) -> None:
        self.rows: dict[int, tuple[float, str]] = {}
        self.row_words: dict[int, set[str]] = {}
        self.kecamatan: dict[str, dict[str, float]] = {}
        self.kota: dict[str, float] = {}
        self.shared: set[int] = set()
        self.everyday: list[tuple[Name, str]] = []
        self.outside = 0.0
        self.landmark: str | None = None
        self.words: dict[str, None] = {}

    def row(self, row: int, weight: float, method: str, words: str) -> None:
        if weight > self.rows.get(row, (0.0, ""))[0]:
            self.rows[row] = weight, method
        self.row_words.setdefault(row, set()).add(words)

    def area(self, code: str, weight: float, words: str) -> None:
        said = self.kecamatan.setdefault(code, {})
        said[words] = max(said.get(words, 0.0), weight)

    def town(self, code: str, weight: float) -> None:
        self.kota[code] = max(self.kota.get(code, 0.0), weight)


def locate(reports: pd.DataFrame, *, gazetteer: Gazetteer) -> pd.DataFrame:
    """Add the place columns of contracts.REPORTS.

    reports: text, title, address_text (masked), kelurahan_reported, kecamatan_reported,
    kota_reported, lat, lon. lat/lon stay as reported, or become a known landmark's point where that
    landmark lies in the kelurahan found; a kelurahan's centroid is never passed off as the place.
    """
    points = gazetteer.locate_points(
        reports["lat"].to_numpy(dtype=float, na_value=np.nan), reports["lon"].to_numpy(dtype=float, na_value=np.nan)
    )
    columns = ("text", "title", "address_text", "kelurahan_reported", "kecamatan_reported", "kota_reported")
    found = [
        _place(point, *values, gazetteer=gazetteer)
        for point, *values in zip(points, *(column(reports, c) for c in columns), strict=True)
    ]
    table = dict(zip(_COLUMNS, zip(*found, strict=True), strict=True)) if found else {c: () for c in _COLUMNS}
    series = {c: pd.Series(values, index=reports.index, dtype=object) for c, values in table.items()}
    given, written = reports["lat"].notna(), reports["address_text"]
    added: dict[str, pd.Series] = {c: series[c] for c in _COLUMNS if c not in ("lat", "lon", "address_text")}
    added["place_confidence"] = series["place_confidence"].astype(float)
    added["lat"] = reports["lat"].where(given, series["lat"].astype(float))
    added["lon"] = reports["lon"].where(given, series["lon"].astype(float))
    added["address_text"] = written.where(written.notna(), series["address_text"])
    return reports.assign(**added)


_COLUMNS = (
    *Place._fields, "place_evidence", "street", "rt", "rw", "landmark", "postcode", "lat", "lon", "address_text",
)  # fmt: skip


def _place(
    point: Point | None, text: str | None, title: str | None, written: str | None, kelurahan: str | None,
    kecamatan: str | None, kota: str | None, *, gazetteer: Gazetteer,
) -> tuple[object, ...]:  # fmt: skip
    """One row of _COLUMNS."""
    spoken = "\n".join(part for part in (written, title, text) if part)[:_READ]
    folded = _fold(spoken)
    tokens = _TOKEN.findall(folded)
    heard = _Heard()
    if kelurahan or kecamatan or kota:
        _read_fields(heard, kelurahan, kecamatan, kota, gazetteer)
    _read_names(heard, tokens, gazetteer)
    postcode = _read_postcode(heard, spoken, gazetteer)
    place = _weigh(heard, point, gazetteer)
    rt, rw = address.rt_rw(spoken) if "rt" in folded or "rw" in folded or "r." in folded else (None, None)
    street = (
        address.street(spoken, partial(_place_at, gazetteer=gazetteer)) if not _STREETS.isdisjoint(tokens) else None
    )
    landmark = address.landmark(spoken) if not address.NEAR_WORDS.isdisjoint(tokens) else None
    lat = lon = None
    if heard.landmark:
        at_lat, at_lon, code = gazetteer.landmark_at[heard.landmark]
        if code is None or code == place.kelurahan_code:
            landmark, lat, lon = heard.landmark, at_lat, at_lon
    parts = [street, f"RT {rt:03d}" if rt else None, f"RW {rw:03d}" if rw else None]
    described = " ".join(p for p in parts if p) or None
    return (*place, ", ".join(heard.words) or None, street, rt, rw, landmark, postcode, lat, lon, described)


_STREETS = frozenset(("jl", "jln", "jalan", "gg", "gang"))


def _fold(text: str) -> str:
    if not text.isascii():
        text = unicodedata.normalize("NFKD", text).encode("ascii", "replace").decode().replace("?", " ")
    return text.lower()


# --- reading ----------------------------------------------------------------------------------


def _read_fields(
    heard: _Heard, kelurahan: str | None, kecamatan: str | None, kota: str | None, gazetteer: Gazetteer
) -> None:
    """Fields the source filled in are the strongest words; a kecamatan that the gazetteer lacks, or a kota
    that it knows as outside, speaks for outside and against a kelurahan that only sounds alike."""
    asked = {"kota": kota, "kecamatan": kecamatan, "kelurahan": kelurahan}
    names = {level: join(_PREFIX.sub("", value.strip())) for level, value in asked.items() if value}
    meant = {level: _exact(name, level, gazetteer) for level, name in names.items() if name}
    if not meant.get("kelurahan", True) and meant.get("kecamatan", True):  # one slip is forgiven, not two
        meant["kelurahan"] = _nearly(names["kelurahan"], "kelurahan", gazetteer)
    elif not meant.get("kecamatan", True) and meant.get("kelurahan"):
        area = gazetteer.kecamatan_of[gazetteer.row_of[meant["kelurahan"][0].code]]
        meant["kecamatan"] = [m for m in _nearly(names["kecamatan"], "kecamatan", gazetteer) if m.code == area]
    unknown = [level for level, meanings in meant.items() if not meanings]
    abroad = "kecamatan" in unknown or (
        "kota" in unknown and any(m.level == "outside" for m in gazetteer.names.get(names["kota"], ()))
    )
    if abroad or (unknown and len(unknown) == len(meant) and unknown != ["kota"]):
        heard.outside = _FIELD
    for level, meanings in meant.items():
        for meaning in meanings:
            said = f"{level}={(asked[level] or '').strip()}"
            if level == "kelurahan":
                row = gazetteer.row_of[meaning.code]
                wrong = bool(meant.get("kecamatan")) and gazetteer.kecamatan_of[row] != meant["kecamatan"][0].code
                heard.row(row, _PASSING if abroad else 0.55 if wrong else _FIELD, "reported", said)
            elif level == "kecamatan":
                heard.area(meaning.code, _FIELD, said)
            else:
                heard.town(meaning.code, _FIELD)
            heard.words[said] = None


def _exact(name: str, level: str, gazetteer: Gazetteer) -> list[Name]:
    return [m for m in gazetteer.names.get(name, ()) if m.level == level]


def _nearly(name: str, level: str, gazetteer: Gazetteer) -> list[Name]:
    right = gazetteer.misspelt(name, level)
    return _exact(right, level, gazetteer) if right else []


def _read_names(heard: _Heard, tokens: Sequence[str], gazetteer: Gazetteer) -> None:
    """Longest names first, left to right; the words around tell kelurahan, kecamatan, street or route."""
    names, starts, after = gazetteer.names, gazetteer.starts, -1
    for i in [i for i, token in enumerate(tokens) if token[:START] in starts]:
        if i < after:
            continue
        for n in (4, 3, 2, 1):
            name = "".join(tokens[i : i + n])
            if name not in names or len(name) < START or i + n > len(tokens):
                continue
            before, behind = tokens[i - 1] if i else "", tokens[i + n] if i + n < len(tokens) else ""
            _read_name(heard, names[name], name, before, behind, " ".join(tokens[i : i + n]), gazetteer)
            after = i + n
            break
    for level, marks in (("kelurahan", _KELURAHAN), ("kecamatan", _KECAMATAN)):
        if not marks.isdisjoint(tokens):
            _read_misspelt(heard, tokens, level, marks, gazetteer)
    for meaning, words in heard.everyday:  # counts only where another word says the same
        if meaning.level == "kelurahan":
            row = gazetteer.row_of[meaning.code]
            if heard.kecamatan.get(gazetteer.kecamatan_of[row], {}).keys() - {words}:
                heard.row(row, _ENOUGH, "named", words)
                heard.words[words] = None
        elif gazetteer.kota_of_kecamatan[meaning.code] in heard.kota:
            heard.area(meaning.code, _ENOUGH, words)
            heard.words[words] = None


def _read_name(
    heard: _Heard, meanings: Sequence[Name], name: str, before: str, behind: str, words: str, gazetteer: Gazetteer
) -> None:
    levels = {m.level for m in meanings}
    asked = "kelurahan" if before in _KELURAHAN else "kecamatan" if before in _KECAMATAN else ""
    if asked not in levels:
        asked = ""
    passing = before in _ROAD or before in _TOWARDS or (address.ends_street(behind) and before not in _SCHOOLS)
    heard_it = False
    for level, code in meanings:
        if asked and level != asked:
            continue
        if not asked and name in gazetteer.weak and level in ("kelurahan", "kecamatan"):
            if not passing:
                heard.everyday.append((Name(level, code), words))
            continue
        heard_it = True
        weight = _ASKED if asked else _PASSING if passing else _NAMED
        if asked and name in gazetteer.weak and behind not in _CLOSING:
            weight = _SHARED
        if level == "kelurahan":
            row = gazetteer.row_of[code]
            if not asked and "kecamatan" in levels:  # 24 kelurahan share their kecamatan's name
                weight = min(weight, _SHARED)
                heard.shared.add(row)
            heard.row(row, weight, "named", words)
        elif level == "kecamatan":
            heard.area(code, weight, words)
        elif level == "kota":
            heard.town(code, 0.75)
        elif level == "outside":
            heard.outside = max(heard.outside, 0.8 if name.startswith(("kota", "kabupaten")) else weight + 0.05)
        else:
            near = before not in _TOWARDS
            heard.landmark = heard.landmark or (code if near else None)
            if row_code := gazetteer.landmark_at[code][2]:
                heard.row(gazetteer.row_of[row_code], _LANDMARK if near else _PASSING, "landmark", words)
    if heard_it:
        heard.words[words] = None


def _read_misspelt(
    heard: _Heard, tokens: Sequence[str], level: str, marks: frozenset[str], gazetteer: Gazetteer
) -> None:
    """A name that stands after "kel." or "kec." and is one slip away from a known one."""
    for i in [i + 1 for i, token in enumerate(tokens[:-1]) if token in marks]:
        tried = [("".join(tokens[i : i + n]), " ".join(tokens[i : i + n])) for n in (3, 2, 1) if i + n <= len(tokens)]
        if any(m.level == level for name, _ in tried for m in gazetteer.names.get(name, ())):
            continue
        for name, words in tried:
            if right := gazetteer.misspelt(name, level):
                code = next(m.code for m in gazetteer.names[right] if m.level == level)
                if level == "kelurahan":
                    heard.row(gazetteer.row_of[code], _MISSPELT, "named", words)
                else:
                    heard.area(code, _SHARED, words)
                heard.words[words] = None
                break


def _read_postcode(heard: _Heard, spoken: str, gazetteer: Gazetteer) -> str | None:
    """The first postcode of the gazetteer that is named."""
    for match in address.POSTCODE.finditer(spoken):
        if rows := gazetteer.postcodes.get(match.group()):
            for row in rows:
                heard.row(row, _POSTCODE if len(rows) == 1 else _PASSING, "postcode", match.group())
            heard.words[match.group()] = None
            return match.group()
    return None


def _place_at(words: Sequence[str], i: int, *, gazetteer: Gazetteer) -> bool:
    for n in (3, 2, 1):
        name = join("".join(words[i : i + n]))
        if i + n <= len(words) and len(name) >= START and name not in gazetteer.weak:
            known = any(m.level in ("kelurahan", "kecamatan") for m in gazetteer.names.get(name, ()))
            if known and not (i + n < len(words) and address.ends_street(words[i + n])):
                return True
    return False


# --- weighing ---------------------------------------------------------------------------------


def _scores(heard: _Heard, gazetteer: Gazetteer) -> dict[int, float]:
    """What all words together say for each kelurahan, 0..0.95."""
    areas = {gazetteer.kecamatan_of[row] for row in heard.rows} | heard.kecamatan.keys()
    found = {}
    for row, (said, method) in heard.rows.items():
        weight, kecamatan = said, gazetteer.kecamatan_of[row]
        if method != "reported":
            if heard.kecamatan.get(kecamatan, {}).keys() - heard.row_words[row]:
                weight += 0.15 if len(areas) < 3 else 0.0
            elif heard.kecamatan and kecamatan not in heard.kecamatan:
                weight -= 0.25
            if heard.kota and gazetteer.kota_of[row] not in heard.kota:
                weight -= 0.3
            elif heard.kota and row not in heard.shared:
                weight += 0.1
            if len(areas) > 2:  # a route, or a list: none of them is the place for sure
                weight -= 0.15
        found[row] = max(0.0, min(0.95, weight))
    return found


def _weigh(heard: _Heard, point: Point | None, gazetteer: Gazetteer) -> Place:
    """One decision from all evidence. Trust: polygon, fields, names that agree, nearest centroid, lone names."""
    if point is None and not (heard.rows or heard.kecamatan or heard.kota or heard.outside):
        return _NOWHERE
    scores = _scores(heard, gazetteer)
    ranked = sorted(scores, key=lambda r: (-scores[r], r))
    if point is not None and point.method != "outside":
        return _by_point(point, ranked, scores, heard, gazetteer)
    best = scores[ranked[0]] if ranked else 0.0
    if point is not None:
        if best >= _FIELD and heard.rows[ranked[0]][1] == "reported":
            return _result(gazetteer, ranked[0], "reported", 0.6)
        return Place(None, None, None, "outside", point.confidence)
    if best >= _ENOUGH and best > heard.outside:
        close = [r for r in ranked if best - scores[r] < 0.1]
        told = heard.rows[ranked[0]][1] == "reported" and heard.rows[ranked[1]][1] != "reported" if ranked[1:] else True
        if len(close) == 1 or told:
            doubt = 0.1 if heard.outside > _ENOUGH else 0.0
            return _result(gazetteer, ranked[0], heard.rows[ranked[0]][1], best - doubt)
        codes = [gazetteer.codes[r] for r in close[:5]]
        areas = {gazetteer.kecamatan_of[r] for r in close}
        if len(areas) == 1:
            area = areas.pop()
            return Place(None, area, gazetteer.kota_of_kecamatan[area], "kecamatan", round(min(0.8, best), 3), codes)
        return Place(None, None, None, "ambiguous", 0.3, codes)
    return _wider(heard, ranked, best, gazetteer)


def _wider(heard: _Heard, ranked: list[int], best: float, gazetteer: Gazetteer) -> Place:
    """No kelurahan is sure: outside, a kecamatan, a kota, or only what is possible."""
    codes = [gazetteer.codes[r] for r in ranked[:5]] or None
    areas = {code: max(said.values()) for code, said in heard.kecamatan.items()}
    if len(areas) > 2 and max(areas.values()) < _ASKED:  # a route again
        areas = dict.fromkeys(areas, 0.4)
    inside = max([*areas.values(), *heard.kota.values(), best, 0.0])
    if heard.outside and heard.outside >= inside:
        if inside < _ENOUGH or heard.outside >= inside + 0.15:
            return Place(None, None, None, "outside", round(heard.outside, 3), codes)
        return Place(None, None, None, "ambiguous", 0.3, codes)
    if areas and (top := max(areas.values())) > _PASSING and top >= max(heard.kota.values(), default=0.0) - 0.2:
        code = max(areas, key=lambda c: (areas[c], c))
        kota = gazetteer.kota_of_kecamatan[code]
        rivals = sum(top - weight < 0.1 for weight in areas.values()) > 1
        astray = bool(heard.kota) and kota not in heard.kota
        if not rivals and not astray:
            return Place(None, code, kota, "kecamatan", round(top * 0.9, 3), codes)
    if heard.kota:
        code = max(heard.kota, key=lambda c: (heard.kota[c], c))
        top = heard.kota[code] * (0.9 if len(heard.kota) == 1 else 0.5)
        return Place(None, None, code, "kota", round(top, 3), codes)
    if codes or areas:
        return Place(None, None, None, "ambiguous", 0.2, codes)
    return _NOWHERE


def _by_point(
    point: Point, ranked: list[int], scores: dict[int, float], heard: _Heard, gazetteer: Gazetteer
) -> Place:
    """A point inside the area, with or without words that agree."""
    named = scores.get(point.row, 0.0)
    if point.method == "polygon":
        return _result(gazetteer, point.row, "polygon", point.confidence + (0.02 if named else 0.0))
    beside = [r for r in ranked if r in point.near and scores[r] >= _SHARED]
    if beside:  # a kelurahan that is named and near: both count
        row = beside[0]
        method = "centroid" if row == point.row else heard.rows[row][1]
        return _result(gazetteer, row, method, min(0.97, max(scores[row], point.confidence if row == point.row else 0) + 0.1))
    if ranked and heard.rows[ranked[0]][1] == "reported" and scores[ranked[0]] >= _FIELD:
        return _result(gazetteer, ranked[0], "reported", 0.7, [gazetteer.codes[point.row]])
    return _result(
        gazetteer, point.row, "centroid", point.confidence * (0.9 if ranked else 1.0), [gazetteer.codes[r] for r in point.near]
    )


def _result(
    gazetteer: Gazetteer, row: int, method: str, confidence: float, others: Sequence[str] | None = None
) -> Place:
    code = gazetteer.codes[row]
    rest = [c for c in others or () if c != code]
    return Place(
        code, gazetteer.kecamatan_of[row], gazetteer.kota_of[row], method, round(min(0.99, confidence), 3), rest or None
    )


_NOWHERE = Place(None, None, None, "none", 0.0)
