"""The gazetteer as locate asks it: names, postcodes, centroids, landmarks and, where installed, polygons.

Built from tables, so another city's files work the same. No I/O here (places reads the files).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pipelines.transforms.evidence import Weights

_LETTERS = re.compile(r"[^a-z0-9]+")
_KM_PER_DEGREE = 111.195
# How often the nearest centroid is right, by how much nearer it is than the second: (d2 - d1) / (d1 + d2). Measured on
# 1,102 points of 2017 that lie in a known kelurahan; 72% of them over all margins.
_MARGIN = (0.0, 0.11, 0.22, 0.33, 0.45)
_RIGHT = (0.38, 0.54, 0.72, 0.85, 0.95)
_REACH = 1.3  # of a kelurahan's own reach: farther from every centroid is outside
_EDGE = 0.4  # the same where boundaries are installed and none holds the point
LONG = 7  # letters of a name that `long_starts` holds; shorter names are of one or two words
START = 4  # letters of the shortest name that is looked for in text


class Name(NamedTuple):
    """One thing a name can mean: level is kelurahan, kecamatan, kota, landmark or outside."""

    level: str
    code: str


class Point(NamedTuple):
    """What a coordinate says: method polygon | centroid | outside, kelurahan row or -1, confidence,
    and the rows of the three nearest centroids, of which one is right for 95% of points."""

    method: str
    row: int
    confidence: float
    near: tuple[int, ...] = ()


def join(name: str) -> str:
    """A name as compared: ASCII letters and digits only, so Kramat Jati is kramatjati."""
    if not name.isascii():
        name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return _LETTERS.sub("", name.lower())


@dataclass(slots=True)
class Gazetteer:
    """kelurahan: columns kelurahan_code, kelurahan, kecamatan_code, kecamatan, kota_code, kota,
    postcode, lat, lon, aliases; kecamatan, kota, landmarks: as their files in models/gazetteer;
    everyday: names that are also daily words and say nothing alone; weights: how far words are believed."""

    kelurahan: pd.DataFrame
    kecamatan: pd.DataFrame
    kota: pd.DataFrame
    landmarks: pd.DataFrame
    outside: Sequence[str] = ()
    polygons: Sequence[Any] | None = None  # one shapely geometry a kelurahan row, or None where missing
    everyday: Iterable[str] = ()
    weights: Weights = field(kw_only=True)
    names: dict[str, tuple[Name, ...]] = field(init=False)
    starts: frozenset[str] = field(init=False)  # first letters of all names: most words begin none
    long_starts: frozenset[str] = field(init=False)
    weak: frozenset[str] = field(init=False)  # everyday names, joined
    stems: frozenset[str] = field(init=False)  # names of kelurahan that another one's name goes on from
    codes: list[str] = field(init=False)  # kelurahan codes by row
    row_of: dict[str, int] = field(init=False)
    folded: dict[str, str] = field(init=False)  # kelurahan code -> name in lower case
    postcodes: dict[str, list[int]] = field(init=False)
    kecamatan_of: list[str] = field(init=False)
    kota_of: list[str] = field(init=False)
    kota_of_kecamatan: dict[str, str] = field(init=False)
    rows_of_kecamatan: dict[str, list[int]] = field(init=False)
    landmark_at: dict[str, tuple[float, float, str | None]] = field(init=False)
    _misspelt: dict[str, dict[str, set[str]]] = field(init=False)  # level -> name less a letter -> names
    _xy: NDArray[np.float64] = field(init=False)
    _reach: NDArray[np.float64] = field(init=False)
    _tree: Any = field(init=False)
    _tree_rows: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self.codes = self.kelurahan["kelurahan_code"].tolist()
        self.row_of = {code: row for row, code in enumerate(self.codes)}
        self.folded = dict(zip(self.codes, self.kelurahan["kelurahan"].str.lower(), strict=True))
        self.kecamatan_of = self.kelurahan["kecamatan_code"].tolist()
        self.kota_of = self.kelurahan["kota_code"].tolist()
        self.kota_of_kecamatan = dict(zip(self.kecamatan["kecamatan_code"], self.kecamatan["kota_code"], strict=True))
        self.rows_of_kecamatan = {}
        for row, code in enumerate(self.kecamatan_of):
            self.rows_of_kecamatan.setdefault(code, []).append(row)
        self.postcodes = {}
        for row, postcode in enumerate(self.kelurahan["postcode"].astype(str)):
            self.postcodes.setdefault(postcode, []).append(row)
        self.landmark_at = {
            r.landmark: (float(r.lat), float(r.lon), r.kelurahan_code if r.kelurahan_code in self.row_of else None)
            for r in self.landmarks.itertuples()
        }
        self.names = self._index()
        self.weak = frozenset(map(join, self.everyday))
        own = sorted({(*map(join, name.split()),) for name in self.kelurahan["kelurahan"]})
        self.stems = frozenset("".join(a) for a in own if any(len(b) > len(a) and b[: len(a)] == a for b in own))
        self.starts = self._starts()
        self.long_starts = frozenset(name[:LONG] for name in self.names if len(name) >= LONG)
        self._misspelt = {level: self._less_a_letter(level) for level in ("kelurahan", "kecamatan")}
        self._xy = _project(self.kelurahan["lat"].to_numpy(float), self.kelurahan["lon"].to_numpy(float))
        self._reach = self._own_reach()
        self._tree, self._tree_rows = None, np.zeros(0, np.int64)
        if self.polygons is not None:
            rows = [i for i, shape in enumerate(self.polygons) if shape is not None]
            self._tree = shapely.STRtree([self.polygons[i] for i in rows])
            self._tree_rows = np.array(rows, dtype=np.int64)

    def _index(self) -> dict[str, tuple[Name, ...]]:
        names: dict[str, list[Name]] = {}

        def add(level: str, code: str, spellings: Iterable[str]) -> None:
            for spelling in spellings:
                known = names.setdefault(join(spelling), [])
                if Name(level, code) not in known:
                    known.append(Name(level, code))

        for table, level in ((self.kelurahan, "kelurahan"), (self.kecamatan, "kecamatan"), (self.kota, "kota")):
            for code, name, aliases in zip(table[f"{level}_code"], table[level], table["aliases"], strict=True):
                add(level, code, [name, *_split(aliases)])
        for name, aliases in zip(self.landmarks["landmark"], self.landmarks["aliases"], strict=True):
            add("landmark", name, [name, *_split(aliases)])
        for name in self.outside:
            add("outside", name, [name])
        names.pop("", None)
        return {name: tuple(meanings) for name, meanings in names.items()}

    def _starts(self) -> frozenset[str]:
        """What a word's first LONG letters may be where a name begins: as many letters as it has of any name as joined,
        from START on, or a short first word of one ("pd", "roa")."""
        short = set()
        for table, key in ((self.kelurahan, "kelurahan"), (self.kecamatan, "kecamatan"), (self.kota, "kota"),
                           (self.landmarks, "landmark")):  # fmt: skip
            for name, aliases in zip(table[key], table["aliases"], strict=True):
                short |= {join(spelling.split(maxsplit=1)[0]) for spelling in (name, *_split(aliases))}
        short |= {join(name.split(maxsplit=1)[0]) for name in self.outside}
        begun = {name[:n] for name in self.names for n in range(START, LONG + 1)}
        return frozenset(begun | {s for s in short if len(s) < START})

    def _less_a_letter(self, level: str) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for name, meanings in self.names.items():
            if len(name) > START and any(m.level == level for m in meanings):
                for form in _lesser(name):
                    found.setdefault(form, set()).add(name)
        return found

    def misspelt(self, name: str, level: str) -> str | None:
        """The one known name of that level that differs from `name` (joined, five letters or more) by one
        letter missing, added, changed or swapped with the next; None where there is none, or several."""
        if len(name) <= START:
            return None
        known = self._misspelt[level]
        meant = {right for form in _lesser(name) for right in known.get(form, ()) if _one_slip(name, right)}
        codes = {m.code for right in meant for m in self.names[right] if m.level == level}
        return min(meant) if len(codes) == 1 else None

    def _own_reach(self) -> NDArray[np.float64]:
        """How far (km) from its centroid a kelurahan may plausibly reach, without boundaries."""
        distances = np.sqrt(((self._xy[:, None, :] - self._xy[None, :, :]) ** 2).sum(axis=2))
        np.fill_diagonal(distances, np.inf)
        nearest = np.sort(distances, axis=1)[:, : min(4, len(distances))].mean(axis=1) if len(distances) > 1 else [3.0]
        return np.clip(np.asarray(nearest), 1.2, 15.0)

    def locate_points(self, lat: NDArray[np.float64], lon: NDArray[np.float64]) -> list[Point | None]:
        """The kelurahan of each coordinate (NaN: None): by polygon where installed, else by the
        nearest centroid, whose confidence falls as the second nearest comes close."""
        found: list[Point | None] = [None] * len(lat)
        # 0, 0 is what devices say that know no place.
        usable = (np.abs(lat) <= 90) & (np.abs(lon) <= 180) & ~((np.abs(lat) < 0.01) & (np.abs(lon) < 0.01))
        rows = np.flatnonzero(usable)  # NaN is no number, so not usable either
        if not len(rows):
            return found
        inside: dict[int, int] = {}
        if self._tree is not None:
            hits = self._tree.query(shapely.points(lon[rows], lat[rows]), predicate="intersects")
            for point, polygon in zip(*hits, strict=True):
                inside.setdefault(int(point), int(self._tree_rows[polygon]))
        xy = _project(lat[rows], lon[rows])
        distances = np.sqrt(((xy[:, None, :] - self._xy[None, :, :]) ** 2).sum(axis=2))
        nearest = min(3, len(self._xy))
        order = np.argpartition(distances, nearest - 1, axis=1)[:, :nearest]
        order = np.take_along_axis(order, np.argsort(np.take_along_axis(distances, order, 1), axis=1), 1)
        ranked = np.take_along_axis(distances, order, 1)
        d1, d2 = ranked[:, 0], ranked[:, min(1, nearest - 1)]
        margin = np.divide(d2 - d1, d1 + d2, out=np.ones(len(rows)), where=d1 + d2 > 0)
        sure = np.interp(margin, _MARGIN, _RIGHT).round(3).tolist()
        beyond = (d1 > self._reach[order[:, 0]] * (_EDGE if self._tree is not None else _REACH)).tolist()
        for k, (row, near) in enumerate(zip(rows.tolist(), order.tolist(), strict=True)):
            if k in inside:
                found[row] = Point("polygon", inside[k], 0.97, tuple(near))
            elif beyond[k]:
                found[row] = Point("outside", -1, 0.9)
            else:
                found[row] = Point("centroid", near[0], sure[k], tuple(near))
        return found


def _lesser(name: str) -> set[str]:
    """The name and all forms of it that lack one letter."""
    return {name, *(name[:i] + name[i + 1 :] for i in range(len(name)))}


def _one_slip(a: str, b: str) -> bool:
    if len(a) > len(b):
        a, b = b, a
    if len(b) - len(a) > 1:
        return False
    i = next((k for k, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), len(a))
    if len(a) < len(b):
        return a[i:] == b[i + 1 :]
    return a[i + 1 :] == b[i + 1 :] or (a[i : i + 2] == b[i : i + 2][::-1] and a[i + 2 :] == b[i + 2 :])


def _split(aliases: Any) -> list[str]:
    return [a for a in aliases.split("|") if a] if isinstance(aliases, str) else []


def _project(lat: NDArray[np.float64], lon: NDArray[np.float64]) -> NDArray[np.float64]:
    """Kilometres on a plane, good to 0.5% within a city: shape (n, 2)."""
    return np.column_stack((lat * _KM_PER_DEGREE, lon * _KM_PER_DEGREE * np.cos(np.radians(-6.2))))
