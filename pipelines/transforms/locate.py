"""Masked reports -> where: codes, street, RT/RW, landmark, point, with method and confidence.

"Outside the area" is a result. Belongs here: asking for each report what was said, and which of it counts. Not here:
finding names (hearing), weighing them (evidence), reading an address (spot), what was learned (learned).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from pipelines.contracts import column
from pipelines.transforms.evidence import Heard, Place, taught, weigh
from pipelines.transforms.gazetteer import Gazetteer, Point, join
from pipelines.transforms.hearing import READ, hear_words
from pipelines.transforms.premises import Premises
from pipelines.transforms.spot import Spot, described, elsewhere, spot, words_of

if TYPE_CHECKING:
    from pipelines.transforms.learned import Learned


# At the start of an address "jalan" is a street's kind; in a sentence it may be the thing that is broken.
_STREET = re.compile(r"^\s*jalan\s+", re.I)


def locate(reports: pd.DataFrame, *, gazetteer: Gazetteer, learned: Learned | None = None) -> pd.DataFrame:
    """Add the place columns of contracts.REPORTS.

    reports: text, title, address_text (masked), kelurahan_reported, kecamatan_reported,
    kota_reported, lat, lon. lat/lon stay as reported, or become a known landmark's point where that
    landmark lies in the kelurahan found; a kelurahan's centroid is never passed off as the place.
    learned: what resolved reports teach, asked where neither a point nor the source's fields tell the kelurahan.
    """
    points = gazetteer.locate_points(
        reports["lat"].to_numpy(dtype=float, na_value=np.nan), reports["lon"].to_numpy(dtype=float, na_value=np.nan)
    )
    columns = ("text", "title", "address_text", "kelurahan_reported", "kecamatan_reported", "kota_reported")
    reads = (
        _read(text, title, written, kelurahan, kecamatan, kota, gazetteer)
        for text, title, written, kelurahan, kecamatan, kota in zip(*(column(reports, c) for c in columns), strict=True)
    )
    if learned is None:  # one after the other: what was heard of many at once is costly to keep
        found = [_row(r, weigh(r.heard, point, gazetteer), gazetteer) for r, point in zip(reads, points, strict=True)]
    else:
        read = list(reads)
        places = [weigh(r.heard, point, gazetteer) for r, point in zip(read, points, strict=True)]
        places = _taught(read, places, points, column(reports, "address_text"), learned)
        found = [_row(r, place, gazetteer) for r, place in zip(read, places, strict=True)]
    table = dict(zip(_COLUMNS, zip(*found, strict=True), strict=True)) if found else dict.fromkeys(_COLUMNS, ())
    series = {c: pd.Series(values, index=reports.index, dtype=object) for c, values in table.items()}
    given, written = reports["lat"].notna(), reports["address_text"]
    added: dict[str, pd.Series] = {c: series[c] for c in _COLUMNS if c not in ("lat", "lon", "address_text")}
    added["place_confidence"] = series["place_confidence"].astype(float)
    added["lat"] = reports["lat"].where(given, series["lat"].astype(float))
    added["lon"] = reports["lon"].where(given, series["lon"].astype(float))
    added["address_text"] = written.where(written.notna(), series["address_text"])
    return reports.assign(**added)


_COLUMNS = (
    *Place._fields, "place_evidence", "street", "rt", "rw", *Premises._fields, "landmark", "postcode", "lat", "lon",
    "address_text",
)  # fmt: skip


class _Report(NamedTuple):
    """What was read of one report."""

    spoken: str
    heard: Heard
    postcode: str | None
    spot: Spot


def _read(
    text: str | None, title: str | None, written: str | None, kelurahan: str | None, kecamatan: str | None,
    kota: str | None, gazetteer: Gazetteer,
) -> _Report:  # fmt: skip
    """The writer's own home counts only where no other place is told."""
    fields = (kelurahan, kecamatan, kota)
    street = _STREET.sub("jl ", written) if written else None
    read = words_of("\n".join(part for part in (street, title, text) if part)[:READ])
    if there := elsewhere(read):
        heard, postcode = hear_words(there, fields, gazetteer)
        told = spot(there, gazetteer)
        if told.told or any(method != "reported" for _, method in heard.rows.values()):
            return _Report(there.spoken, heard, postcode, told)
    heard, postcode = hear_words(read, fields, gazetteer)
    return _Report(read.spoken, heard, postcode, spot(read, gazetteer))


def _taught(
    read: Sequence[_Report], places: list[Place], points: Sequence[Point | None], written: Sequence[str | None],
    learned: Learned,
) -> list[Place]:  # fmt: skip
    """The places, where nothing surer tells them, as resolved reports teach; their phrases join the evidence."""
    asked = [
        i
        for i, (report, place, point) in enumerate(zip(read, places, points, strict=True))
        if point is None and place.place_method not in ("reported", "outside")
        and (written[i] or learned.reads_text) and report.heard.outside < learned.gazetteer.weights.field
    ]  # fmt: skip
    judged = learned.judge(
        [written[i] or read[i].spoken for i in asked], [read[i].heard for i in asked], [not written[i] for i in asked]
    )
    found = list(places)
    for i, said in zip(asked, judged, strict=True):
        if said is not None:
            found[i] = taught(places[i], said.rows, said.chances, learned.gazetteer)
            read[i].heard.words.update(dict.fromkeys(said.words))
    return found


def _row(report: _Report, place: Place, gazetteer: Gazetteer) -> tuple[object, ...]:
    """One row of _COLUMNS."""
    _, heard, postcode, told = report
    landmark, lat, lon = told.landmark, None, None
    if heard.landmark:
        at_lat, at_lon, code = gazetteer.landmark_at[heard.landmark]
        if code is None or code == place.kelurahan_code:
            landmark, lat, lon = heard.landmark, at_lat, at_lon
        elif landmark and join(landmark) == join(heard.landmark):
            landmark = None  # it lies elsewhere
    evidence = ", ".join(heard.words) or None
    return (
        *place,
        evidence,
        told.street,
        told.rt,
        told.rw,
        *told.premises,
        landmark,
        postcode,
        lat,
        lon,
        described(told),
    )
