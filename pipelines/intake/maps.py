"""The city's areas, for citizens to choose from: kota, kecamatan, kelurahan; where outlines of kelurahan are known
also as plain maps, drawn here as SVG: no tiles, nothing of anybody else, no script.

A map shows the areas below one, two steps down to the kecamatan, where a touch is a point in a kelurahan. It is
an image button, so the browser tells the pixel that was touched. Belongs here: names, drawing, what lies at a
pixel. Not here: pages (forms), reading a gazetteer's files (pipelines/places).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any, NamedTuple

import shapely

WIDTHS = (320, 600)  # CSS pixels: the map of a phone and that of a desk
_TALLEST = 1.25  # of the width
_MARGIN = 0.05  # of the larger side
_NEAR = 10  # pixels beside an area that a finger may miss it by
_FAR = 0.5  # an area without which the map were smaller than this is in the list alone
_METRES = 111_320.0  # in a degree of latitude
_GAP = 0.0005  # degrees that neighbours may miss each other by
_SLACK = 300.0  # metres that a point may lie outside its kelurahan: a finger's width on the coarsest map
_WATER, _LAND, _LINE, _INK, _PIN = "#e6edf3", "#ffffff", "#1d4f7c", "#1b2733", "#a83a23"
_AROUND, _BORDER, _QUIET = "#f3f6f9", "#a9b7c3", "#4d5a67"


class Kelurahan(NamedTuple):
    """code: Kemendagri's, as 31.74.01.1002; kecamatan and kota are its first 8 and 5 characters."""

    code: str
    kelurahan: str
    kecamatan: str
    kota: str


class Landmark(NamedTuple):
    name: str
    lat: float
    lon: float


class Point(NamedTuple):
    """WGS84 degrees, and how far off the finger may have been, in metres."""

    lat: float
    lon: float
    accuracy_m: int


class Touched(NamedTuple):
    """The area that was touched; in the map of a kecamatan also the point."""

    code: str
    point: Point | None


class _Frame(NamedTuple):
    """A map's place on earth. across, down: degrees of a pixel."""

    west: float
    north: float
    across: float
    down: float
    width: int
    height: int

    def pixel(self, lon: float, lat: float) -> tuple[float, float]:
        return (lon - self.west) / self.across, (self.north - lat) / self.down


class Areas:
    """names: code -> name, on every level; below: code -> codes of what is in it by name, "" the whole."""

    def __init__(
        self,
        kelurahan: Iterable[Kelurahan],
        outlines: Mapping[str, Any] | None = None,
        landmarks: Iterable[Landmark] = (),
    ) -> None:
        """outlines: code of a kelurahan -> polygon in degrees; any may lack."""
        self.names: dict[str, str] = {}
        for row in kelurahan:
            self.names |= {row.code: row.kelurahan, row.code[:8]: row.kecamatan, row.code[:5]: row.kota}
        below: defaultdict[str, list[str]] = defaultdict(list)
        for code in sorted(self.names, key=lambda code: (self.names[code], code)):
            below[above(code)].append(code)
        self.below = dict(below)
        self.kelurahan = [code for code in self.names if len(code) > 8]
        self._outlines = {code: shape for code, shape in (outlines or {}).items() if code in self.names}
        for length in (8, 5):
            parts: defaultdict[str, list[Any]] = defaultdict(list)
            for code, shape in self._outlines.items():
                if above(code) and len(above(code)) == length:
                    parts[above(code)].append(shape)
            self._outlines |= {code: _joined(shapes) for code, shapes in parts.items()}
        self._landmarks = tuple(landmarks)
        self._drawn: dict[tuple[str, int], str] = {}

    def mapped(self, code: str) -> bool:
        """Whether there is a map of what is in an area."""
        return any(c in self._outlines for c in self.below.get(code, ()))

    def off_the_map(self, code: str) -> list[str]:
        """The areas in one that its map does not show."""
        shown = self._shown(code)
        return [c for c in self.below[code] if c not in shown]

    def place(self, code: str) -> dict[str, str]:
        """The names of a kelurahan and of what it lies in."""
        return {
            "kelurahan": self.names[code],
            "kecamatan": self.names[code[:8]],
            "kota": self.names[code[:5]],
        }

    def is_in(self, code: str, point: Point) -> bool:
        """Whether a point may be one that was touched in this kelurahan."""
        if len(code) <= 8 or code not in self._outlines:
            return False
        return self._outlines[code].distance(shapely.Point(point.lon, point.lat)) * _METRES <= _SLACK

    def at(self, code: str, width: int, x: int, y: int) -> Touched | None:
        """What lies at a pixel of a map; None where nothing does. A keyboard's press is pixel 0, 0."""
        shown = self._shown(code)
        if not shown or (x, y) == (0, 0):
            return None
        frame = self._frame(code, width)
        lon, lat = frame.west + x * frame.across, frame.north - y * frame.down
        pressed = shapely.Point(lon, lat)
        away, found = min((self._outlines[c].distance(pressed), c) for c in shown)
        if away > _NEAR * frame.down:
            return None
        accuracy = math.ceil(_NEAR * frame.down * _METRES)
        return Touched(found, Point(round(lat, 5), round(lon, 5), accuracy) if len(code) == 8 else None)

    def picture(self, code: str, width: int, pin: Point | None = None) -> str:
        """The map of what is in an area as SVG. KeyError where there is none."""
        if not self.mapped(code):
            raise KeyError(code)
        drawn = self._drawn.get((code, width)) or self._drawn.setdefault((code, width), self._draw(code, width))
        if pin is None:
            return drawn
        x, y = self._frame(code, width).pixel(pin.lon, pin.lat)
        mark = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="7" fill="{_PIN}" stroke="#fff" stroke-width="3"/></svg>'
        return drawn.removesuffix("</svg>") + mark

    # --- drawing ---

    def _shown(self, code: str) -> list[str]:
        """The areas in one that its map shows: of the whole not what lies so far off that the rest would be tiny."""
        shown = [c for c in self.below.get(code, ()) if c in self._outlines]
        for _ in range(0 if code else len(shown) - 1):
            boxes = {c: self._outlines[c].bounds for c in shown}
            size, far = min((_size([b for o, b in boxes.items() if o != c]), c) for c in shown)
            if size >= _FAR * _size(list(boxes.values())):
                break
            shown.remove(far)
        return shown

    def _frame(self, code: str, width: int) -> _Frame:
        west, south, east, north = map(float, shapely.total_bounds([self._outlines[c] for c in self._shown(code)]))
        squeeze = math.cos(math.radians((south + north) / 2))
        margin = _MARGIN * max((east - west) * squeeze, north - south)
        wide, tall = (east - west) * squeeze + 2 * margin, north - south + 2 * margin
        down = max(wide / width, tall / (width * _TALLEST))
        return _Frame(
            (west + east) / 2 - width * down / squeeze / 2, north + margin, down / squeeze, down, width, math.ceil(tall / down)
        )  # fmt: skip

    def _draw(self, code: str, width: int) -> str:
        frame, shown = self._frame(code, width), self._shown(code)
        around = [c for c in self._outlines if len(c) == len(code) and c != code]
        labels = _Labels(frame)
        lines = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{frame.width}" height="{frame.height}"'
            f' viewBox="0 0 {frame.width} {frame.height}" font-family="Arial,Helvetica,sans-serif">',
            f'<rect width="100%" height="100%" fill="{_WATER}"/>',
        ]
        lines += [self._path(c, frame, _AROUND, _BORDER) for c in around]
        lines += [self._path(c, frame, _LAND, _LINE) for c in shown]
        for c in sorted(shown, key=lambda c: -self._outlines[c].area):
            middle = shapely.point_on_surface(max(shapely.get_parts(self._outlines[c]), key=shapely.area))
            labels.put(self.names[c], *frame.pixel(middle.x, middle.y), size=11 if width < 400 else 13, bold=True)
        if len(code) == 8:
            for mark in self._landmarks:
                x, y = frame.pixel(mark.lon, mark.lat)
                if 0 < x < frame.width and 0 < y < frame.height and labels.put(mark.name, x, y + 11, size=10):
                    lines.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{_QUIET}"/>')
        edge = f'<rect width="100%" height="100%" fill="none" stroke="{_QUIET}" stroke-width="2"/>'
        return "".join([*lines, *labels.lines, edge, "</svg>"])

    def _path(self, code: str, frame: _Frame, fill: str, line: str) -> str:
        box = shapely.box(
            frame.west - 9 * frame.across, frame.north - (frame.height + 9) * frame.down,
            frame.west + (frame.width + 9) * frame.across, frame.north + 9 * frame.down,
        )  # fmt: skip
        shape = shapely.intersection(shapely.simplify(self._outlines[code], 0.6 * frame.down), box)
        rings = []
        for polygon in shapely.get_parts(shape):
            if polygon.geom_type == "Polygon" and not polygon.is_empty:
                for ring in (polygon.exterior, *polygon.interiors):
                    pixels = (frame.pixel(lon, lat) for lon, lat in ring.coords[:-1])
                    rings.append("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in pixels) + "Z")
        return f'<path d="{"".join(rings)}" fill="{fill}" stroke="{line}" stroke-linejoin="round"/>' if rings else ""


class _Labels:
    """Names in a map, none over another: whichever comes too late is left out."""

    def __init__(self, frame: _Frame) -> None:
        self._frame = frame
        self._taken: list[tuple[float, float, float, float]] = []
        self.lines: list[str] = []

    def put(self, name: str, x: float, y: float, *, size: int, bold: bool = False) -> bool:
        """Write a name at a point, or a little above or below; bold: a word a line. Whether there was room."""
        rows = name.split() if bold else [name]
        half, tall = max(map(len, rows)) * size * 0.31, len(rows) * size * 1.1
        x = min(max(x, half + 2), self._frame.width - half - 2)
        for off in (0, -tall, tall) if bold else (0,):
            top = min(max(y + off - tall / 2, 2), self._frame.height - tall - 2)
            box = (x - half, top, x + half, top + tall)
            if not any(box[0] < o[2] and o[0] < box[2] and box[1] < o[3] and o[1] < box[3] for o in self._taken):
                break
        else:
            return False
        self._taken.append(box)
        spans = "".join(
            f'<tspan x="{x:.1f}" y="{top + size * (0.9 + 1.1 * n):.1f}">{escape(row)}</tspan>'
            for n, row in enumerate(rows)
        )
        look = f'fill="{_INK}" font-weight="bold"' if bold else f'fill="{_QUIET}"'
        self.lines.append(
            f'<text font-size="{size}" text-anchor="middle" {look} stroke="#fff" stroke-width="3" paint-order="stroke"'
            f' stroke-linejoin="round">{spans}</text>'
        )
        return True


def _joined(shapes: list[Any]) -> Any:
    """Outlines as one, without the slivers where neighbours do not meet."""
    wider = shapely.union_all(shapely.buffer(shapes, _GAP, join_style="mitre"))
    whole = shapely.buffer(wider, -_GAP, join_style="mitre")
    solid = [shapely.Polygon(part.exterior) for part in shapely.get_parts(whole)]
    return shapely.union_all(solid)


def above(code: str) -> str:
    """The code of what an area lies in; "" for a kota."""
    return code[:8] if len(code) > 8 else code[:5] if len(code) > 5 else ""


def _size(boxes: list[tuple[float, float, float, float]]) -> float:
    west, south, east, north = (f(b[i] for b in boxes) for i, f in enumerate((min, min, max, max)))
    return (east - west) * (north - south)
