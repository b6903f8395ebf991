"""Figures -> pictures: Vega-Lite charts drawn to SVG, for screen, phone and paper.

Pictures, not programs: an SVG prints, opens anywhere and runs nothing. Belongs here: how a chart
looks. Not here: what is counted (marts), which charts there are and what is said of them (report).
"""

from __future__ import annotations

from typing import Any

import altair as alt
import pandas as pd
import vl_convert

BLUE, PALE, RED, INK, GREY = "#1d4f7c", "#a9c3da", "#b5432a", "#1b2733", "#5b6875"
WIDE, NARROW = 960, 350  # points: each chart is drawn for both, or its words would shrink with the screen
_FONT = "Arial, Helvetica, Liberation Sans, sans-serif"
_NUMBERS = {"decimal": ",", "thousands": ".", "grouping": [3], "currency": ["Rp", ""]}
_MONTHS = "Januari Februari Maret April Mei Juni Juli Agustus September Oktober November Desember".split()
_DATES = {
    "dateTime": "%A, %e %B %Y %H.%M.%S",
    "date": "%d/%m/%Y",
    "time": "%H.%M.%S",
    "periods": ["AM", "PM"],
    "days": "Minggu Senin Selasa Rabu Kamis Jumat Sabtu".split(),
    "shortDays": "Min Sen Sel Rab Kam Jum Sab".split(),
    "months": _MONTHS,
    "shortMonths": ["Jan", "Feb", "Mar", "Apr", "Mei", "Jun", "Jul", "Agu", "Sep", "Okt", "Nov", "Des"],
}
_CONFIG = {
    "font": _FONT,
    "background": "transparent",
    "view": {"stroke": None},
    "axis": {
        "labelColor": INK,
        "labelFontSize": 12,
        "titleColor": GREY,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "gridColor": "#e3e8ed",
        "domainColor": "#b8c2cc",
        "tickColor": "#b8c2cc",
        "labelLimit": 260,
    },
    "legend": {
        "labelColor": INK,
        "labelFontSize": 12,
        "orient": "top",
        "title": None,
        "offset": 4,
        "columnPadding": 40,
        "labelLimit": 240,
    },
    "text": {"color": INK, "fontSize": 12},
}


def daily(days: pd.DataFrame, width: int) -> str:
    """Bars of reports a day with their 7-day mean. days: day (ISO text), reports, mean."""
    weeks = alt.TimeIntervalStep(interval="week", step=1)
    x = alt.X("utcyearmonthdate(day):T", axis=alt.Axis(title=None, format="%-d %b", tickCount=weeks, grid=False))
    base = alt.Chart(days)
    bars = base.mark_bar(color=PALE).encode(x, _count(days))
    line = base.mark_line(color=BLUE, strokeWidth=2.5).encode(x, alt.Y("mean:Q"))
    return _draw(bars + line, width, 200)


def months(rows: pd.DataFrame, width: int) -> str:
    """Bars of reports a month, a running month paler. rows: month (label), reports, complete."""
    bars = alt.Chart(rows).encode(_months(width), _count(rows))
    color = alt.condition("datum.complete", alt.value(BLUE), alt.value(PALE))
    shown = bars.mark_bar().encode(color=color)
    if len(rows) * _room(rows["reports"]) <= width:
        shown += bars.mark_text(dy=-7).encode(text=alt.Text("reports:Q", format=",d"))
    return _draw(shown, width, 200)


def ranked(rows: pd.DataFrame, width: int) -> str:
    """Horizontal bars, longest first as given, each with its number. rows: name, value."""
    free = width - _names_take(rows, width)[1]
    longest = rows["value"].max() * free / (free - _room(rows["value"]))  # room for its number behind the bar
    bars = alt.Chart(rows).encode(
        alt.Y("name:N", sort=None, axis=_names(rows, width)),
        alt.X("value:Q", axis=None, scale=alt.Scale(domain=[0, max(1, longest)])),
    )
    text = bars.mark_text(align="left", dx=5).encode(text=alt.Text("value:Q", format=",d"))
    return _draw(bars.mark_bar(color=BLUE) + text, width, 26 * len(rows))


def load(rows: pd.DataFrame, width: int) -> str:
    """Horizontal bars in two parts. rows: name, part, place (order of the part), value."""
    names = list(dict.fromkeys(rows["name"]))
    parts = rows.sort_values("place")["part"].unique().tolist()
    bars = (
        alt.Chart(rows)
        .mark_bar()
        .encode(
            alt.Y("name:N", sort=names, axis=_names(rows, width)),
            alt.X("value:Q", axis=alt.Axis(title=None, format=",d", tickMinStep=1, tickCount=5)),
            alt.Color("part:N", scale=alt.Scale(domain=parts, range=[BLUE, RED]), legend=_legend(width)),
            alt.Order("place:Q"),
        )
    )
    return _draw(bars, width, 28 * len(names))


def heat(rows: pd.DataFrame, width: int) -> str:
    """A cell for each name and month, darker for more. rows: name, month (label), value; in order."""
    names = list(dict.fromkeys(rows["name"]))
    cells = alt.Chart(rows).encode(
        _months(width, domain=False, ticks=False),
        alt.Y("name:N", sort=names, axis=_names(rows, width)),
    )
    most = max(1, int(rows["value"].max()))
    fill = cells.mark_rect(stroke="white", strokeWidth=2).encode(
        alt.Color(
            "value:Q", scale=alt.Scale(domain=[0, most / 2, most], range=["#eef3f8", "#8fb3d4", BLUE]), legend=None
        )
    )
    color = alt.condition(f"datum.value > {most * 0.7}", alt.value("white"), alt.value(INK))
    text = cells.mark_text(fontSize=11).encode(text=alt.Text("value:Q", format=",d"), color=color)
    return _draw(fill + text, width, 28 * len(names))


def kept(rows: pd.DataFrame, width: int) -> str:
    """Two lines of shares by month. rows: month (label), clock, share (0..1)."""
    lines = (
        alt.Chart(rows)
        .mark_line(point=alt.OverlayMarkDef(size=45), strokeWidth=2.5)
        .encode(
            _months(width),
            alt.Y("share:Q", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(title=None, format="%", tickCount=5)),
            alt.Color("clock:N", scale=alt.Scale(range=[BLUE, "#3f8f83"]), sort=None, legend=_legend(width)),
            strokeDash=alt.StrokeDash("clock:N", sort=None, legend=_legend(width)),
        )
    )
    return _draw(lines, width, 200)


def _count(rows: pd.DataFrame) -> alt.Y:
    axis = alt.Axis(title=None, format=",d", tickCount=5, tickMinStep=1, domain=False, minExtent=_room(rows["reports"]))
    return alt.Y("reports:Q", axis=axis)


def _room(values: pd.Series) -> int:
    """Points that the longest number takes. Pictures are measured in one font and shown in the
    reader's, which may be a fifth wider: without room heads and tails are cut off."""
    return 8 * len(f"{int(values.max()):,}") + 10


def _months(width: int, **axis: Any) -> alt.X:
    """Labels such as "Mei 26", in two lines where there is little room."""
    lines = "datum.label" if width > NARROW else "split(datum.label, ' ')"
    return alt.X(
        "month:N", sort=None, axis=alt.Axis(title=None, labelAngle=0, labelExpr=lines, labelOverlap="greedy", **axis)
    )


def _legend(width: int) -> alt.Legend:
    return alt.Legend(columns=0 if width > NARROW else 1, direction="horizontal" if width > NARROW else "vertical")


def _names(rows: pd.DataFrame, width: int) -> alt.Axis:
    """Names, of which long ones end in dots: the table below a chart has them in full."""
    limit, extent = _names_take(rows, width)
    return alt.Axis(title=None, domain=False, ticks=False, labelPadding=6, labelLimit=limit, minExtent=extent)


def _names_take(rows: pd.DataFrame, width: int) -> tuple[int, int]:
    """(points after which a name is cut, points to keep free: again for a wider font)."""
    limit = int(width * (0.34 if width > NARROW else 0.42))
    return limit, min(int(limit * 1.2), 8 * int(rows["name"].str.len().max()))


def _draw(chart: Any, width: int, height: int) -> str:
    """SVG text of exactly `width` points, its axes included."""
    spec = chart.properties(
        width=width, height=height, autosize=alt.AutoSizeParams(type="fit-x", contains="padding"), padding=2
    ).to_dict()
    return vl_convert.vegalite_to_svg(
        spec, config=_CONFIG, format_locale=_NUMBERS, time_format_locale=_DATES, allowed_base_urls=[]
    )
