"""Masked reports -> where: codes, street, RT/RW, landmark, point, with method and confidence.

Reads the citizen's own spelling: slang lexicons would turn gg. into "enggak" and kel. into
"keluarga". Evidence of every kind (coordinates, fields of the source, names in address and text,
postcode) is weighed together per kelurahan; names that contradict each other give an ambiguous
place with its candidates, never a confident guess. "Outside the area" is a result.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from pipelines.contracts import column
from pipelines.transforms.gazetteer import START, Gazetteer, Point, join

_RT = re.compile(r"\brt[\s.:]*0*(\d{1,3})\b", re.I)
_RW = re.compile(r"(?:\b|(?<=\d))rw[\s.:]*0*(\d{1,3})\b", re.I)
_RT_RW = re.compile(r"\brt\s*[./]?\s*(?:rw)?[\s.:]*0*(\d{1,3})\s*[/-]\s*(?:rw[\s.]*)?0*(\d{1,3})\b", re.I)
_POSTCODE = re.compile(r"(?<![\d.,])1[0-4]\d{3}(?![\d.,])")
# "jalan" alone is also the thing that is broken, so it needs a capital or a digit after it.
_STREET = re.compile(
    r"\b(?:(?:jl|jln|gg|gang)\b\.?\s*(?P<any>[\w'./-]+(?:\s+[\w'/-]+){0,4})"
    r"|[Jj](?:alan|ALAN)\s+(?P<cased>[A-Z0-9][\w'./-]*(?:\s+[A-Z0-9][\w'/-]*){0,4}))",
    re.I,
)
_CASED_START = re.compile(r"[A-Z0-9]")
_STREET_STOP = frozenset(
    """
    rt rw no nomor kel kelurahan kec kecamatan dekat dkt depan dpn seberang samping belakang sebelah di yang yg ada
    banyak sudah sdh rusak berlubang macet banjir gelap mati dan ini itu menuju arah ke dari mohon tolong tlg mhn
    jakarta kota pas sampai sampe karena krn setiap tiap malam pagi tidak gak belum blm parah sangat
    """.split()
)
_LANDMARK = re.compile(
    r"\b(?:depan|dpn|dekat|dkt|deket|seberang|sebrang|samping|sebelah|belakang|patokan(?:nya)?)\s*:?\s+"
    r"((?:[A-Z0-9][\w'&.-]*\s*){1,5})"
)
_TOKEN = re.compile(r"[A-Za-z0-9']+")
_KELURAHAN = frozenset(("kel", "kelurahan", "kelrhn", "desa"))
_KECAMATAN = frozenset(("kec", "kecamatan", "kcmtn"))
_ROAD = frozenset(
    ("jl", "jln", "jalan", "gg", "gang", "raya", "tol", "flyover", "underpass", "stasiun", "halte", "pasar", "terminal")
)
_GENERIC = frozenset(("kota", "menteng", "duri", "grogol"))  # names that mean more than one level in daily use


@dataclass(slots=True)
class _Evidence:
    """What speaks for each kelurahan row, and what names only a kecamatan or kota."""

    rows: dict[int, float] = field(default_factory=dict)
    kecamatan: dict[str, float] = field(default_factory=dict)
    kota: dict[str, float] = field(default_factory=dict)
    outside: float = 0.0
    landmark: str | None = None
    words: list[str] = field(default_factory=list)

    def add(self, table: dict, key: object, weight: float) -> None:
        table[key] = max(table.get(key, 0.0), weight)


def locate(reports: pd.DataFrame, *, gazetteer: Gazetteer) -> pd.DataFrame:
    """Add the place columns of contracts.REPORTS.

    reports: text, title, address_text (masked), kelurahan_reported, kecamatan_reported,
    kota_reported, lat, lon. Reported coordinates win over names where they agree or stand alone;
    lat/lon stay as reported, or become a known landmark's point; a
    kelurahan's centroid is never passed off as the place.
    """
    points = gazetteer.locate_points(
        reports["lat"].to_numpy(dtype=float, na_value=np.nan), reports["lon"].to_numpy(dtype=float, na_value=np.nan)
    )
    columns = ("text", "title", "address_text", "kelurahan_reported", "kecamatan_reported", "kota_reported")
    places = [
        _place(point, *values, gazetteer=gazetteer)
        for point, *values in zip(points, *(column(reports, c) for c in columns), strict=True)
    ]
    found = pd.DataFrame(places, index=reports.index)
    given = reports["lat"].notna()
    return reports.assign(**{c: found[c] for c in found if c not in ("lat", "lon", "address_text")}).assign(
        lat=reports["lat"].where(given, found["lat"]),
        lon=reports["lon"].where(given, found["lon"]),
        address_text=reports["address_text"].where(reports["address_text"].notna(), found["address_text"]),
    )


def _place(
    point: Point | None,
    text: str,
    title: str | None,
    address: str | None,
    kelurahan: str | None,
    kecamatan: str | None,
    kota: str | None,
    *,
    gazetteer: Gazetteer,
) -> dict[str, object]:
    spoken = "\n".join(part for part in (address, title, text) if isinstance(part, str) and part)
    evidence = _Evidence()
    _read_fields(evidence, kelurahan, kecamatan, kota, gazetteer)
    _read_names(evidence, spoken, gazetteer)
    _read_postcode(evidence, spoken, gazetteer)
    place = _weigh(evidence, point, gazetteer)
    place |= _address(spoken)
    if evidence.landmark:
        lat, lon, _ = gazetteer.landmark_at[evidence.landmark]
        place["landmark"] = evidence.landmark
        place["lat"], place["lon"] = lat, lon
    place["place_evidence"] = ", ".join(dict.fromkeys(evidence.words)) or None
    return place


def _read_fields(evidence: _Evidence, kelurahan: object, kecamatan: object, kota: object, gazetteer: Gazetteer) -> None:
    """Fields the source filled in: strong, but a name the gazetteer lacks speaks for outside."""
    known = asked = 0
    for level, value, weight in (("kota", kota, 0.8), ("kecamatan", kecamatan, 0.8), ("kelurahan", kelurahan, 0.85)):
        if not isinstance(value, str) or not (name := join(_PREFIX.sub("", value.strip()))):
            continue
        asked += 1
        meanings = [m for m in gazetteer.names.get(name, ()) if m.level == level]
        known += bool(meanings)
        for meaning in meanings:
            _speak(evidence, level, meaning.code, weight, gazetteer)
            evidence.words.append(f"{level}={value.strip()}")
    if asked and not known:
        evidence.outside = 0.8


_PREFIX = re.compile(
    r"^(?:kelurahan|kel\.?|kecamatan|kec\.?|kota administrasi|kota adm\.?|kota|kabupaten administrasi|kabupaten)\s+",
    re.I,
)


def _speak(evidence: _Evidence, level: str, code: str, weight: float, gazetteer: Gazetteer) -> None:
    if level == "kelurahan":
        evidence.add(evidence.rows, gazetteer.row_of[code], weight)
    elif level == "kecamatan":
        evidence.add(evidence.kecamatan, code, weight)
    elif level == "kota":
        evidence.add(evidence.kota, code, weight)


def _read_names(evidence: _Evidence, spoken: str, gazetteer: Gazetteer) -> None:
    """Longest names first, left to right; the word before tells kelurahan, kecamatan or a street."""
    tokens = [t.lower() for t in _TOKEN.findall(spoken[:4000])]
    names, i = gazetteer.names, 0
    while i < len(tokens):
        start = tokens[i] if len(tokens[i]) >= START else "".join(tokens[i : i + START])
        if start[:START] not in gazetteer.starts:
            i += 1
            continue
        for n in (4, 3, 2, 1):
            name = "".join(tokens[i : i + n])
            if i + n > len(tokens) or len(name) < START or name not in names or (n == 1 and name in _GENERIC):
                continue
            before = tokens[i - 1] if i else ""
            _read_name(evidence, names[name], before, " ".join(tokens[i : i + n]), gazetteer)
            i += n - 1
            break
        i += 1


def _read_name(evidence: _Evidence, meanings: tuple, before: str, words: str, gazetteer: Gazetteer) -> None:
    levels = {m.level for m in meanings}
    for meaning in meanings:
        weight = {"kelurahan": 0.6, "kecamatan": 0.6, "kota": 0.75, "landmark": 0.6, "outside": 0.6}[meaning.level]
        if before in _KELURAHAN:
            weight = 0.85 if meaning.level == "kelurahan" else 0.2
        elif before in _KECAMATAN:
            weight = 0.85 if meaning.level == "kecamatan" else 0.2
        elif before in _ROAD and meaning.level in ("kelurahan", "kecamatan"):
            weight = 0.35  # a street named after a place often leads to it, not through it
        elif meaning.level == "kelurahan" and "kecamatan" in levels:
            weight = 0.45  # 24 kelurahan share their kecamatan's name
        if meaning.level == "landmark":
            evidence.landmark = evidence.landmark or meaning.code
            if code := gazetteer.landmark_at[meaning.code][2]:
                evidence.add(evidence.rows, gazetteer.row_of[code], 0.55)
        elif meaning.level == "outside":
            evidence.outside = max(evidence.outside, weight)
        else:
            _speak(evidence, meaning.level, meaning.code, weight, gazetteer)
        evidence.words.append(words)


def _read_postcode(evidence: _Evidence, spoken: str, gazetteer: Gazetteer) -> None:
    for match in _POSTCODE.finditer(spoken[:4000]):
        rows = gazetteer.postcodes.get(match.group(), [])
        for row in rows:
            evidence.add(evidence.rows, row, 0.6 if len(rows) == 1 else 0.4)
        if rows:
            evidence.words.append(match.group())


def _weigh(evidence: _Evidence, point: Point | None, gazetteer: Gazetteer) -> dict[str, object]:
    """One decision from all evidence; see the module's docstring for the order of trust."""
    scores = {}
    for row, weight in evidence.rows.items():
        kecamatan, kota = gazetteer.kecamatan_of[row], gazetteer.kota_of[row]
        agree = evidence.kecamatan.get(kecamatan, 0.0)
        if evidence.kecamatan and not agree:
            weight -= 0.25
        if evidence.kota:
            weight += 0.1 if kota in evidence.kota else -0.3
        scores[row] = min(0.95, weight + (0.15 if agree else 0.0))
    if point is not None and point.method != "outside":
        named = scores.get(point.row, 0.0)
        if point.method == "polygon" or named or not scores:
            confidence = min(0.99, max(point.confidence, named) + (0.05 if named else 0.0))
            return _result(gazetteer, point.row, point.method, confidence, scores if scores and not named else None)
        best = max(scores, key=lambda r: (scores[r], -r))
        if gazetteer.kecamatan_of[best] == gazetteer.kecamatan_of[point.row] and scores[best] >= 0.6:
            return _result(gazetteer, best, "named", min(0.9, scores[best] + 0.1))
        if scores[best] >= 0.85 and point.confidence < 0.75:
            return _result(gazetteer, best, "named", 0.7)
        return _result(gazetteer, point.row, point.method, point.confidence * 0.8, scores)
    if point is not None:
        return _nowhere("outside", point.confidence)
    ranked = sorted(scores, key=lambda r: (-scores[r], r))
    if ranked and scores[ranked[0]] >= 0.5 and scores[ranked[0]] > evidence.outside - 0.2:
        if len(ranked) > 1 and scores[ranked[0]] - scores[ranked[1]] < 0.1:
            close = [r for r in ranked if scores[ranked[0]] - scores[r] < 0.1]
            return _nowhere("ambiguous", 0.3, close, gazetteer)
        method = "named" if scores[ranked[0]] < 0.84 else "reported" if evidence.words else "named"
        return _result(gazetteer, ranked[0], method, scores[ranked[0]])
    if evidence.outside and evidence.outside > max([*evidence.kota.values(), *evidence.kecamatan.values(), 0.0]):
        return _nowhere("outside", evidence.outside)
    if evidence.kecamatan:
        code = max(evidence.kecamatan, key=lambda c: (evidence.kecamatan[c], c))
        place = _nowhere("kecamatan", evidence.kecamatan[code] * 0.9, ranked, gazetteer)
        return place | {"kecamatan_code": code, "kota_code": gazetteer.kota_of_kecamatan[code]}
    if evidence.kota:
        code = max(evidence.kota, key=lambda c: (evidence.kota[c], c))
        return _nowhere("kota", evidence.kota[code] * 0.9, ranked, gazetteer) | {"kota_code": code}
    if ranked:
        return _nowhere("ambiguous", 0.2, ranked, gazetteer)
    return _nowhere("none", 0.0)


def _result(
    gazetteer: Gazetteer, row: int, method: str, confidence: float, against: dict[int, float] | None = None
) -> dict[str, object]:
    kelurahan = gazetteer.kelurahan
    codes = [
        kelurahan["kelurahan_code"].iat[r] for r in sorted(against or {}, key=lambda r: (-(against or {})[r], r))[:5]
    ]
    return {
        "kelurahan_code": kelurahan["kelurahan_code"].iat[row],
        "kecamatan_code": gazetteer.kecamatan_of[row],
        "kota_code": gazetteer.kota_of[row],
        "place_method": method,
        "place_confidence": round(confidence, 3),
        "place_candidates": codes or None,
        "lat": None,
        "lon": None,
    }


def _nowhere(
    method: str, confidence: float, rows: list[int] | None = None, gazetteer: Gazetteer | None = None
) -> dict[str, object]:
    codes = [gazetteer.kelurahan["kelurahan_code"].iat[r] for r in (rows or [])[:5]] if gazetteer is not None else None
    return {
        "kelurahan_code": None,
        "kecamatan_code": None,
        "kota_code": None,
        "place_method": method,
        "place_confidence": round(confidence, 3),
        "place_candidates": codes or None,
        "lat": None,
        "lon": None,
    }


def _address(spoken: str) -> dict[str, object]:
    """Street, RT, RW, landmark phrase and postcode as written; no claim where they are."""
    head = spoken[:4000]
    both = _RT_RW.search(head)
    rt = int(both.group(1)) if both else _number(_RT.search(head))
    rw = int(both.group(2)) if both else _number(_RW.search(head))
    street = _street(head)
    landmark = _LANDMARK.search(head)
    postcode = _POSTCODE.search(head)
    parts = [street, f"RT {rt:03d}" if rt else None, f"RW {rw:03d}" if rw else None]
    return {
        "street": street,
        "rt": rt,
        "rw": rw,
        "landmark": landmark.group(1).strip(" .,") if landmark else None,
        "postcode": postcode.group() if postcode else None,
        "address_text": " ".join(p for p in parts if p) or None,
    }


def _number(match: re.Match[str] | None) -> int | None:
    return int(match.group(1)) if match else None


def _street(text: str) -> str | None:
    """First street named, as "jalan x" or "gang x" in lower case; None if it is only the word."""
    for match in _STREET.finditer(text):
        cased = match.group("cased")
        if cased and not _CASED_START.match(cased):
            continue
        words = []
        for word in (match.group("any") or cased or "").replace("\n", " ").split():
            bare = word.strip(".,'").lower()
            if bare in _STREET_STOP or not bare or re.fullmatch(r"(?:rt|rw)\d+.*", bare):
                break
            words.append(bare)
            if word.endswith((",", ".")) and len(bare) > 2:
                break
        if words:
            kind = "gang" if match.group()[:1].lower() == "g" else "jalan"
            return f"{kind} {' '.join(words[:4])}"
    return None
