"""Where incidents happen: real kelurahan, invented streets in them, and how people name a spot."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from math import cos, hypot, pi, sin
from random import Random
from typing import NamedTuple

from benchmarks.incidents.knowledge import phrases
from benchmarks.incidents.words import misspell
from pipelines.settings import default_models_dir

M = 1 / 111_195  # degrees of latitude in a metre
M_LON = M / 0.9942
STREETS = 48  # a kelurahan
_LANDMARK_M = 140  # one a stretch of street


class Area(NamedTuple):
    name: str
    kecamatan: str
    lat: float
    lon: float
    reach_m: float  # from the middle; no farther, so that the nearest middle is its own


@dataclass(frozen=True, slots=True)
class Street:
    """A straight line of `length` metres from (lat, lon) in the direction (north, east)."""

    number: int
    kind: str  # Jl or Gg
    name: str
    area: Area
    lat: float
    lon: float
    north: float
    east: float
    length: float
    rw: int
    rt: int  # of its beginning
    landmarks: tuple[str, ...]


class Spot(NamedTuple):
    street: Street
    along: float
    lat: float
    lon: float
    house: int
    rt: int
    landmark: str


def areas() -> list[Area]:
    """All kelurahan but the islands'."""
    with (default_models_dir() / "gazetteer" / "kelurahan.csv").open(encoding="utf-8", newline="") as file:
        rows = [r for r in csv.DictReader(file) if r["kota_code"] != "31.01"]
    points = [(float(r["lat"]), float(r["lon"])) for r in rows]
    found = []
    for row, (lat, lon) in zip(rows, points, strict=True):
        near = min(hypot(lat - a, lon - o) for a, o in points if (a, o) != (lat, lon)) / M
        found.append(Area(row["kelurahan"], row["kecamatan"], lat, lon, min(0.48 * near, 900)))
    return found


def streets(rng: Random) -> list[list[Street]]:
    """STREETS of each area."""
    known = phrases()
    made: list[list[Street]] = []
    for area in areas():
        names: dict[str, None] = {}
        while len(names) < STREETS:
            own = rng.choice(known["people"]) if rng.random() < 0.1 else rng.choice(known["streets"])
            if rng.random() < 0.25:
                own += f" {rng.choice(known['streets'])}"
            names[own + rng.choice(known["suffixes"])] = None
        made.append([_street(rng, len(made) * STREETS + n, name, area) for n, name in enumerate(names)])
    return made


def _street(rng: Random, number: int, name: str, area: Area) -> Street:
    away, turn, way = area.reach_m * rng.random() ** 0.5, 2 * pi * rng.random(), 2 * pi * rng.random()
    length = min(80 + rng.expovariate(1 / 260), area.reach_m)
    north, east = sin(way), cos(way)
    lat = area.lat + (away * 0.8 * sin(turn) - north * length / 2) * M
    lon = area.lon + (away * 0.8 * cos(turn) - east * length / 2) * M_LON
    marks = tuple(rng.sample(phrases()["landmarks"], 1 + int(length // _LANDMARK_M)))
    kind = "Gg" if length < 220 and rng.random() < 0.5 else "Jl"
    return Street(
        number, kind, name, area, lat, lon, north, east, length, rng.randint(1, 14), rng.randint(1, 12), marks
    )


def spot(street: Street, along: float) -> Spot:
    """The place `along` metres from a street's beginning; a house every eight metres."""
    along = min(max(along, 0.0), street.length)
    lat, lon = street.lat + street.north * along * M, street.lon + street.east * along * M_LON
    mark = street.landmarks[min(int(along // _LANDMARK_M), len(street.landmarks) - 1)]
    return Spot(street, along, lat, lon, 1 + int(along / 8), street.rt + int(along // 90), mark)


def moved(rng: Random, lat: float, lon: float, metres: float) -> tuple[float, float]:
    turn = 2 * pi * rng.random()
    return lat + metres * sin(turn) * M, lon + metres * cos(turn) * M_LON


_NEAR = ("dekat", "depan", "seberang", "samping", "belakang", "sebelah")
_NEAR_SHORT = ("dkt", "dpn", "sblh", "dekat", "depan")
_ROAD = {"Jl": ("Jl. ", "Jl ", "jl ", "jln ", "Jln. ", "jalan ", "JL. "), "Gg": ("Gg. ", "gg ", "gang ", "Gang ")}
_HOUSE = (" No. {}", " no {}", " no.{}", " no{}", " nomor {}")
_RT = (" RT {a:02}/RW {b:02}", " RT {a}/{b}", " RT.{a:03}/{b:03}", " rt{a} rw{b}", " RT {a:02} RW {b:02}")
_KEL = (" Kel. {}", " kel {}", " {}", ", {}", " Kelurahan {}", " kelurahan {}")


def told(rng: Random, at: Spot, level: str, style: str) -> str:
    """How somebody names a spot in a text. level: number, street, corner, bare, landmark or area; none gives ""."""
    street = at.street
    formal, short = style == "m", style == "s"
    if level == "none":
        return ""
    if level == "area":
        return _area(rng, street.area, formal).strip(", ")
    near = f"{rng.choice(_NEAR_SHORT if short else _NEAR)} {at.landmark.lower() if short else at.landmark}"
    if level == "landmark":
        return near + _area(rng, street.area, formal)
    words = road(rng, street, formal)
    if level == "number":
        words += rng.choice(_HOUSE).format(at.house)
        if rng.random() < 0.5:
            words += rng.choice(_RT).format(a=at.rt, b=street.rw)
    elif level == "corner":
        words += f" {near}"
        return words + _area(rng, street.area, formal) if rng.random() < 0.75 else words
    if level != "bare":
        words += _area(rng, street.area, formal)
    return words.lower() if short and rng.random() < 0.6 else words


def road(rng: Random, street: Street, formal: bool) -> str:
    name = misspell(rng, street.name) if rng.random() < 0.06 else street.name
    if formal:
        return f"{'Jalan' if street.kind == 'Jl' else 'Gang'} {name}"
    return rng.choice(_ROAD[street.kind]) + name


def _area(rng: Random, area: Area, formal: bool) -> str:
    name = misspell(rng, area.name) if rng.random() < 0.03 else area.name
    if formal:
        return f", Kelurahan {name}, Kecamatan {area.kecamatan}" if rng.random() < 0.5 else f", Kelurahan {name}"
    return rng.choice(_KEL).format(name)


def preposed(rng: Random, phrase: str) -> str:
    """The phrase as it follows a verb."""
    if not phrase or phrase.startswith(_NEAR) or phrase.startswith(_NEAR_SHORT):
        return phrase
    return f"{'d ' if rng.random() < 0.05 else 'di '}{phrase}"
