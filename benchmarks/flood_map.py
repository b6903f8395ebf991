"""The night's tickets on a map: the largest coloured, the rest grey, each joined by a line to the report that it was compared with."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
import shapely

from pipelines import places

LARGEST = 20
_MIDDLE = (106.83, -6.2)  # degrees east and north: where the map's 0, 0 lies
_DEGREE = 111_195.0  # metres
_COLORS = ("#d62728", "#1f77b4", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf", "#8c564b", "#e377c2", "#bcbd22", "#111111")
_SHAPES = ("circle", "triangle-up")
_GREY, _LINE, _INK = "#9aa5b1", "#d3dae1", "#1b2733"
_HEIGHT, _SIDE = 900, 390  # points: of the city's map, of a close one
_NEAR = 0.06  # km that a close map shows at least on each side of its middle


def metres(lon: Any, lat: Any) -> tuple[Any, Any]:
    """(east, north) of points on a plane that touches the middle of Jakarta; off by less than 0.1% in the city."""
    return (lon - _MIDDLE[0]) * _DEGREE * math.cos(math.radians(_MIDDLE[1])), (lat - _MIDDLE[1]) * _DEGREE


def draw(rows: pd.DataFrame, links: pd.DataFrame, outlines: Path, out: Path) -> Path:
    """Write flood_night.png into `out`. rows: row, east, north, incident; links: row, ticket_no, other (row compared with, or
    none)."""
    points = _points(rows, links)
    lines = _outlines(outlines) if outlines.exists() else pd.DataFrame(columns=["x", "y", "ring", "order"])
    x, y = (_most(points[c]) for c in ("x", "y"))
    beyond = int((~(points["x"].between(*x) & points["y"].between(*y))).sum())
    torn = points.groupby("incident")["ticket_no"].nunique().idxmax()
    mixed = points[points["rank"] == 1]
    split = points[points["incident"] == torn]
    city = _panel(
        points, lines, x, y, round(_HEIGHT * (x[1] - x[0]) / (y[1] - y[0])), _HEIGHT, 26,
        [f"{len(points) - beyond:,} reports of the night by ticket", f"kelurahan in outline; {beyond} reports lie beyond the map"],
    )  # fmt: skip
    near = [
        _panel(points, lines, *_around(some), _SIDE, _SIDE, 90, words, ringed=split)
        for some, words in (
            (mixed, ["The largest ticket", "a line leads to the report that each was compared with"]),
            (split, [f"The spot torn into most tickets: {split['ticket_no'].nunique()}", "its reports are ringed"]),
        )
    ]
    chart = alt.hconcat(city, alt.vconcat(*near, spacing=40), _key(points), spacing=30)
    out.mkdir(parents=True, exist_ok=True)
    path = out / "flood_night.png"
    with alt.data_transformers.enable("default", max_rows=None):
        chart.configure_view(stroke=_LINE).configure(background="white").save(path, scale_factor=1.5)
    return path


def _points(rows: pd.DataFrame, links: pd.DataFrame) -> pd.DataFrame:
    """A row a report with x, y in km, those of the report that it was compared with (its own for none), and its ticket's
    name in the legend."""
    table = rows[["row", "east", "north", "incident"]].merge(links[["row", "ticket_no", "other"]], on="row")
    table = table.assign(x=table["east"] / 1000, y=table["north"] / 1000)
    by_row = table.set_index("row")
    other = table["other"].where(table["other"].isin(by_row.index), table["row"])
    counts = table["ticket_no"].value_counts()
    ranks = {number: rank for rank, number in enumerate(counts.index[:LARGEST], 1)}
    named = {
        n: f"{rank:2}  {n}  {counts[n]} reports, {_across(table[table['ticket_no'] == n]):,.0f} m"
        for n, rank in ranks.items()
    }
    return table.assign(
        x0=other.map(by_row["x"]), y0=other.map(by_row["y"]),
        rank=table["ticket_no"].map(ranks).fillna(0).astype(int), ticket=table["ticket_no"].map(named),
    ).sort_values("rank")  # fmt: skip


def _across(some: pd.DataFrame) -> float:
    xy = some[["east", "north"]].to_numpy()
    return float(max(np.hypot(*(xy - one).T).max() for one in xy))


def _most(values: pd.Series) -> tuple[float, float]:
    """Whole km around all of the values but the most far out."""
    low, high = values.quantile([0.005, 0.995])
    return float(math.floor(low)), float(math.ceil(high))


def _around(some: pd.DataFrame) -> tuple[tuple[float, float], tuple[float, float]]:
    """A square, in km, with room around some reports."""
    low, high = some[["x", "y"]].min(), some[["x", "y"]].max()
    half = max(_NEAR, 0.7 * float((high - low).max()))
    x, y = ((low + high) / 2).astype(float)
    return (x - half, x + half), (y - half, y + half)


def _outlines(path: Path) -> pd.DataFrame:
    """x, y in km of every kelurahan's rings."""
    return pd.DataFrame(_rings(path), columns=["x", "y", "ring", "order"])


def _rings(path: Path) -> Iterator[tuple[float, float, str, int]]:
    for code, shape in places.read_boundaries(path).items():
        for part, polygon in enumerate(shapely.get_parts(shape)):
            for order, (lon, lat) in enumerate(shapely.get_coordinates(polygon)):
                east, north = metres(lon, lat)
                yield east / 1000, north / 1000, f"{code}/{part}", order


def _panel(
    points: pd.DataFrame, lines: pd.DataFrame, x: tuple[float, float], y: tuple[float, float], width: int, height: int,
    size: int, words: list[str], ringed: pd.DataFrame | None = None,
) -> alt.LayerChart:  # fmt: skip
    """A map of a part of the city; axes in km."""
    east = alt.X(
        "x:Q", scale=alt.Scale(domain=list(x), nice=False), axis=alt.Axis(title="km east of 106.83", grid=False)
    )
    north = alt.Y(
        "y:Q", scale=alt.Scale(domain=list(y), nice=False), axis=alt.Axis(title="km north of -6.20", grid=False)
    )
    inside = points[points["x"].between(*x) & points["y"].between(*y)]
    rest, named = inside[inside["rank"] == 0], inside[inside["rank"] > 0]
    ends = {"x2": "x0:Q", "y2": "y0:Q"}
    layers = [
        alt.Chart(lines).mark_line(color=_LINE, strokeWidth=0.7, clip=True).encode(
            east, north, detail="ring:N", order="order:Q"
        ),
        alt.Chart(rest).mark_rule(color=_GREY, strokeWidth=0.8, clip=True).encode(east, north, **ends),
        alt.Chart(rest).mark_point(filled=True, color=_GREY, opacity=0.7, size=size * 0.6, clip=True).encode(east, north),
        alt.Chart(named).mark_rule(strokeWidth=1, opacity=0.7, clip=True).encode(east, north, color=_color(), **ends),
        alt.Chart(named).mark_point(filled=True, opacity=0.9, size=size, clip=True).encode(
            east, north, color=_color(), shape=_shape()
        ),
        alt.Chart(named.groupby("rank", as_index=False)[["x", "y"]].max()).mark_text(
            dx=9, dy=-7, fontSize=11, fontWeight="bold", color=_INK, clip=True
        ).encode(east, north, text="rank:Q"),
    ]  # fmt: skip
    if ringed is not None:
        layers.append(
            alt.Chart(ringed).mark_point(filled=False, color=_INK, strokeWidth=1.2, size=size * 2.2, clip=True).encode(
                east, north
            )
        )  # fmt: skip
    title = alt.TitleParams(words[0], subtitle=words[1:], anchor="start")
    return alt.layer(*layers).properties(width=width, height=height, title=title)


def _color() -> alt.Color:
    ranks = list(range(1, LARGEST + 1))
    shown = alt.Scale(domain=ranks, range=[_COLORS[(n - 1) % len(_COLORS)] for n in ranks])
    return alt.Color("rank:O", scale=shown, legend=None)


def _shape() -> alt.Shape:
    ranks = list(range(1, LARGEST + 1))
    shown = alt.Scale(domain=ranks, range=[_SHAPES[(n - 1) // len(_COLORS) % len(_SHAPES)] for n in ranks])
    return alt.Shape("rank:O", scale=shown, legend=None)


def _key(points: pd.DataFrame) -> alt.LayerChart:
    """The largest tickets: mark, rank, number, reports, metres across."""
    rows = points[points["rank"] > 0].drop_duplicates("rank")[["rank", "ticket"]]
    base = alt.Chart(rows).encode(alt.Y("rank:O", axis=None))
    marks = base.mark_point(filled=True, size=90).encode(x=alt.value(8), color=_color(), shape=_shape())
    words = base.mark_text(align="left", font="monospace", fontSize=12, color=_INK).encode(
        x=alt.value(22), text="ticket:N"
    )
    title = alt.TitleParams(f"The {len(rows)} largest tickets", anchor="start")
    return alt.layer(marks, words).properties(width=330, height=22 * LARGEST, title=title)
