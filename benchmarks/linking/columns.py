"""What Splink compares, made of refined reports: its own columns, with nothing of Kanal's linking keys.

Splink wants tidy columns that say one thing each, and equality joins for blocking; so times become overlapping spans,
points overlapping cells, and texts a vector beside their words.
"""

from __future__ import annotations

import re
from zlib import crc32

import numpy as np
import orjson
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.contracts import column

SPAN_DAYS = 14  # two sets of spans, shifted by half: whatever is within 7 days of another shares one, nothing beyond 14
CELL_M = 600  # likewise four sets of cells: points within 300 m of another share one
BITS = 1_024  # of which each word of a text sets one
_KM = 111.195  # of one degree of latitude
_NARROW = 0.9942  # cosine of Jakarta's latitude
_NUMBER = re.compile(r"\d+")
_WORD = re.compile(r"[a-z0-9]+")
_CITED = re.compile(r"\bJK\d{10}\b", re.I)


def compared(reports: pd.DataFrame, groups: dict[str, str]) -> pa.Table:
    """The table that Splink is given. reports: contracts.REPORTS columns; groups: category -> its group."""
    texts = [" ".join(_WORD.findall(t.lower())) for t in column(reports, "text")]
    likely = [a or b for a, b in zip(column(reports, "category"), column(reports, "category_model"), strict=True)]
    extra = [orjson.loads(e) for e in column(reports, "extra")]
    said = np.array([t.timestamp() for t in column(reports, "occurred_at")])
    plain = ("street", "landmark", "kelurahan_code", "kecamatan_code", "author_key", "text_key", "rt", "rw")
    return pa.table(
        {
            "unique_id": pa.array(range(len(reports)), pa.int64()),
            **{name: pa.array(column(reports, name)) for name in plain},
            "house_number": pa.array(column(reports, "house_number"), pa.string()),
            "house": pa.array([_first_number(h) for h in column(reports, "house_number")], pa.int32()),
            "said_at": pa.array(said, pa.float64()),
            **_spans(said),
            "lat": pa.array(column(reports, "lat"), pa.float64()),
            "lon": pa.array(column(reports, "lon"), pa.float64()),
            "cells": _cells(_floats(reports, "lat"), _floats(reports, "lon")),
            "category": pa.array(likely, pa.string()),
            "runner_up": pa.array(column(reports, "category_runner_up"), pa.string()),
            "matter": pa.array([groups.get(c) if c else None for c in likely], pa.string()),
            "words": words(texts),
            "photo": pa.array([e.get("photo_sha256") for e in extra], pa.string()),
            "looks": pa.array([_bits(e.get("photo_phash")) for e in extra], pa.uint64()),
            "numbers": _numbers(reports),
        }
    )


def words(texts: list[str]) -> pa.Array:
    """The words of each text as a bit each of BITS, written as text: 20 times as fast to compare as lists are. In
    one of 16 texts of 12 words two words share a bit."""
    marks = np.zeros((len(texts), BITS), np.uint8)
    for row, text in enumerate(texts):
        marks[row, [crc32(word.encode()) % BITS for word in text.split()]] = 1
    letters = pa.py_buffer((marks + ord("0")).tobytes())
    ends = pa.py_buffer(np.arange(0, (len(texts) + 1) * BITS, BITS, dtype=np.int64))
    return pa.LargeStringArray.from_buffers(len(texts), ends, letters)


def _spans(said: NDArray[np.float64]) -> dict[str, pa.Array]:
    """Numbers of the spans that hold each time."""
    spans = said / 86_400 / SPAN_DAYS
    return {
        name: pa.array(np.floor(spans + shift).astype(np.int32)) for name, shift in (("span_a", 0), ("span_b", 0.5))
    }


def _cells(lat: NDArray[np.float64], lon: NDArray[np.float64]) -> pa.Array:
    """Names of the four cells that hold each point; none for none."""
    north, east = lat * _KM * 1000 / CELL_M, lon * _KM * _NARROW * 1000 / CELL_M
    named = [
        None if x != x else [f"{set_} {int(x + dx)} {int(y + dy)}" for set_, (dx, dy) in enumerate(_SHIFTS)]
        for x, y in zip(north, east, strict=True)
    ]
    return pa.array(named, pa.list_(pa.string()))


_SHIFTS = ((0, 0), (0, 0.5), (0.5, 0), (0.5, 0.5))


def _floats(reports: pd.DataFrame, name: str) -> NDArray[np.float64]:
    return reports[name].to_numpy(dtype=float, na_value=np.nan)


def _first_number(house: str | None) -> int | None:
    found = _NUMBER.search(house or "")
    return int(found.group()[:6]) if found else None


def _bits(phash: str | None) -> int | None:
    return int(phash, 16) if phash else None


def _numbers(reports: pd.DataFrame) -> pa.Array:
    """CRM numbers that each report bears or cites."""
    said = zip(*(column(reports, name) for name in ("external_ref", "title", "text")), strict=True)
    found = [sorted({*_CITED.findall(f"{t or ''} {x}".upper()), *([r.upper()] if r else [])}) for r, t, x in said]
    return pa.array([f or None for f in found], pa.list_(pa.string()))
