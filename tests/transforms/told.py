"""Reports as refining hands them to linking, made of the few columns that a test is about. Every text is invented."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import orjson
import pandas as pd
import pyarrow as pa

from pipelines import knowledge as known
from pipelines.contracts import REPORTS, to_frame
from pipelines.settings import default_models_dir
from pipelines.transforms import reading
from pipelines.transforms.likeness import LEVELS, NONE, compare, evidence
from pipelines.transforms.matching import Matching
from pipelines.transforms.reading import text_key
from pipelines.transforms.traits import M_LAT, Traits, traits_of

GROUPS: Mapping[str, str] = known.taxonomy(default_models_dir()).groups
MATCHING: Matching = known._matching(default_models_dir(), frozenset(GROUPS.values()), {"qlue"})
START = datetime(2026, 3, 2, tzinfo=UTC)
GELORA, SENAYAN = "31.71.07.1001", "31.74.07.1002"
AREAS = {GELORA: "gelora", SENAYAN: "senayan"}
PLACE = {"lat": -6.2, "lon": 106.8, "kelurahan_code": GELORA}
_COLUMNS = pa.schema([REPORTS.field(name) for name in reading.READ])

Row = dict[str, Any]


def report(text: str = "", *, hours: float = 0.0, north_m: float = 0.0, kind: str | None = None, **cells: Any) -> Row:
    """A row of contracts.REPORTS as far as linking reads it. kind: a category that the classifier is sure of; files:
    attachments as a list; accuracy_m: of the point."""
    row = dict.fromkeys(_COLUMNS.names) | {"text": text, "occurred_at": START + timedelta(hours=hours)} | cells
    row["text_key"] = text_key(text)
    if row["lat"] is not None:
        row["lat"] += north_m / M_LAT
    if kind:
        row |= {"category": kind, "category_model": kind, "category_source": "model"}
    row["attachments"] = orjson.dumps(row.pop("files", [])).decode()
    row["extra"] = orjson.dumps({"accuracy_m": a} if (a := row.pop("accuracy_m", None)) is not None else {}).decode()
    return row


def cells(*reports: Row) -> pa.Table:
    """contracts.REPORTS of the reports, as far as linking reads it."""
    return pa.Table.from_pylist(list(reports), schema=_COLUMNS)


def read_from(reports: pa.Table | pd.DataFrame, matching: Matching = MATCHING) -> pa.Table:
    return reading.traits(reports, groups=GROUPS, areas=AREAS, matching=matching)


def table(*reports: Row, matching: Matching = MATCHING) -> pa.Table:
    """contracts.TRAITS of the reports."""
    return read_from(to_frame(cells(*reports)), matching)


def read(*reports: Row, matching: Matching = MATCHING) -> Traits:
    return traits_of(table(*reports, matching=matching), matching)


def one(**cells: Any) -> dict[str, Any]:
    """contracts.TRAITS of a single report, by name."""
    [row] = table(report(**cells)).to_pylist()
    return row


def met(one: Row, other: Row, matching: Matching = MATCHING) -> tuple[str | None, int]:
    """(level at which the first, said later, meets the other, its score); None: they do not meet."""
    x = read(one, other, matching=matching)
    like = compare(x, np.array([0]), x, np.array([1]), matching)
    level = int(like.level[0])
    return (None if level == NONE else LEVELS[level]), int(like.score[0])


def shown(one: Row, other: Row, matching: Matching = MATCHING) -> dict[str, Any]:
    """The evidence of a pair, in plain values."""
    x = read(one, other, matching=matching)
    found = evidence(x, np.array([0]), x, np.array([1]), matching)
    return {name: values[0].item() for name, values in found.items()}
