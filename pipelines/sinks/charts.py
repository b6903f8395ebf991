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
WIDE, NARROW = 760, 340  # points: each chart is drawn for both, or its words would shrink with the screen
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
        "labelColor": INK, "labelFontSize": 12, "titleColor": GREY, "titleFontSize": 12, "titleFontWeight": "normal",
        "gridColor": "#e3e8ed", "domainColor": "#b8c2cc", "tickColor": "#b8c2cc", "labelLimit": 260,
    },
    "legend": {"labelColor": INK, "labelFontSize": 12, "orient": "top", "title": None, "offset": 4},
    "text": {"color": INK, "fontSize": 12},
}  # fmt: skip


def daily(days: pd.DataFrame, width: int) -> str:
    """Bars of reports a day with their 7-day mean. days: day (ISO text), reports, mean."""
    x = alt.X("utcyearmonthdate(day):T", axis=alt.Axis(title=None, format="%-d %b", tickCount=width // 90, grid=False))
    base = alt.Chart(days)
    bars = base.mark_bar(color=PALE).encode(x, _count("reports", "laporan per hari"))
    line = base.mark_line(color=BLUE, strokeWidth=2.5).encode(x, alt.Y("mean:Q"))
    return _draw(bars + line, width, 200)


def months(rows: pd.DataFrame, width: int) -> str:
    """Bars of reports a month, a running month paler. rows: month (label), reports, complete."""
    bars = alt.Chart(rows).encode(_labels("month"), _count("reports", "laporan per bulan"))
    color = alt.condition("datum.complete", alt.value(BLUE), alt.value(PALE))
    shown = bars.mark_bar().encode(color=color)
    if len(rows) * 45 <= width:
        shown += bars.mark_text(dy=-7).encode(text=alt.Text("reports:Q", format=",d"))
    return _draw(shown, width, 200)


def ranked(rows: pd.DataFrame, width: int) -> str:
    """Horizontal bars, longest first as given, each with its number. rows: name, value."""
    bars = alt.Chart(rows).encode(
        alt.Y("name:N", sort=None, axis=_names(width)),
        alt.X("value:Q", axis=None, scale=alt.Scale(domain=[0, max(1, int(rows["value"].max() * 1.15))])),
    )
    text = bars.mark_text(align="left", dx=5).encode(text=alt.Text("value:Q", format=",d"))
    return _draw(bars.mark_bar(color=BLUE) + text, width, 26 * len(rows))


def load(rows: pd.DataFrame, width: int) -> str:
    """Horizontal bars in two parts. rows: name, part, place (order of the part), value."""
    names = list(dict.fromkeys(rows["name"]))
    parts = rows.sort_values("place")["part"].unique().tolist()
    bars = alt.Chart(rows).mark_bar().encode(
        alt.Y("name:N", sort=names, axis=_names(width)),
        alt.X("value:Q", axis=alt.Axis(title="tiket terbuka", format=",d", tickMinStep=1, tickCount=5)),
        alt.Color("part:N", scale=alt.Scale(domain=parts, range=[BLUE, RED])),
        alt.Order("place:Q"),
    )  # fmt: skip
    return _draw(bars, width, 28 * len(names))


def heat(rows: pd.DataFrame, width: int) -> str:
    """A cell for each name and month, darker for more. rows: name, month (label), value; in order."""
    names = list(dict.fromkeys(rows["name"]))
    cells = alt.Chart(rows).encode(
        alt.X("month:N", sort=None, axis=alt.Axis(title=None, labelAngle=0, orient="top", domain=False, ticks=False)),
        alt.Y("name:N", sort=names, axis=_names(width)),
    )
    most = max(1, int(rows["value"].max()))
    fill = cells.mark_rect(stroke="white", strokeWidth=2).encode(
        alt.Color("value:Q", scale=alt.Scale(domain=[0, most], range=["#eef3f8", BLUE]), legend=None)
    )
    color = alt.condition(f"datum.value > {most * 0.45}", alt.value("white"), alt.value(INK))
    text = cells.mark_text(fontSize=11).encode(text=alt.Text("value:Q", format=",d"), color=color)
    return _draw(fill + text, width, 28 * len(names))


def kept(rows: pd.DataFrame, width: int) -> str:
    """Two lines of shares by month. rows: month (label), clock, share (0..1)."""
    lines = alt.Chart(rows).mark_line(point=alt.OverlayMarkDef(size=45), strokeWidth=2.5).encode(
        _labels("month"),
        alt.Y("share:Q", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(title=None, format="%", tickCount=5)),
        alt.Color("clock:N", scale=alt.Scale(range=[BLUE, "#3f8f83"]), sort=None),
        strokeDash=alt.StrokeDash("clock:N", sort=None, legend=None),
    )  # fmt: skip
    return _draw(lines, width, 200)


def _count(field: str, title: str) -> alt.Y:
    return alt.Y(f"{field}:Q", axis=alt.Axis(title=title, format=",d", tickCount=5, tickMinStep=1, domain=False))


def _labels(field: str) -> alt.X:
    return alt.X(f"{field}:N", sort=None, axis=alt.Axis(title=None, labelAngle=0, labelOverlap="greedy"))


def _names(width: int) -> alt.Axis:
    # Long names end in dots; the table below a chart has them in full.
    return alt.Axis(title=None, domain=False, ticks=False, labelPadding=6, labelLimit=width // 2)


def _draw(chart: Any, width: int, height: int) -> str:
    """SVG text of exactly `width` points, its axes included."""
    spec = chart.properties(
        width=width, height=height, autosize=alt.AutoSizeParams(type="fit-x", contains="padding"), padding=2
    ).to_dict()
    return vl_convert.vegalite_to_svg(
        spec, config=_CONFIG, format_locale=_NUMBERS, time_format_locale=_DATES, allowed_base_urls=[]
    )
