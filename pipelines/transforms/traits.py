"""What linking compares of each report, as columns of numbers ready to compare.

Not here: reading it out of a report (reading), by which keys reports find each other (blocks), how alike two are (likeness).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.contracts import TRAITS
from pipelines.transforms.matching import Matching

_SINGLE = tuple(f.name for f in TRAITS if not pa.types.is_list(f.type))
M_LAT = 111_195.0  # metres in a degree
M_LON = M_LAT * 0.9942  # at 6.2 degrees south


@dataclass(frozen=True, slots=True)
class Ragged:
    """Lists of numbers, one after another: those of row i from start[i] to start[i + 1]."""

    values: NDArray[Any]
    start: NDArray[np.int64]

    def take(self, rows: NDArray[np.int64]) -> Ragged:
        counts = np.diff(self.start)[rows]
        start = np.concatenate(([0], np.cumsum(counts)))
        return Ragged(self.values[spans(self.start[rows], counts)], start)

    def owners(self) -> NDArray[np.int64]:
        """Row of each value."""
        return np.repeat(np.arange(len(self.start) - 1), np.diff(self.start))


def distinct(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """The different ones, rising. numpy's own `unique` hashes, which takes up to seventy times as long as sorting here."""
    found = np.sort(values)
    new = np.ones(len(found), dtype=bool)
    new[1:] = found[1:] != found[:-1]
    return found[new]


def spans(begins: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """begin, begin + 1, ... of each span, one after another."""
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total) + np.repeat(begins - (ends - counts), counts)


@dataclass(frozen=True, slots=True)
class Traits:
    """TRAITS of many reports. kinds: how likely each group of the matching is, shape (reports, groups); top: the
    likeliest, -1 for none."""

    said_at: NDArray[np.int64]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    spread: NDArray[np.float64]
    area: NDArray[np.int64]
    way: NDArray[np.int64]
    way_alike: NDArray[np.int64]
    way_kind: NDArray[np.int64]
    way_letters: NDArray[np.int64]
    house: NDArray[np.int64]
    block_no: NDArray[np.int64]
    rt_no: NDArray[np.int64]
    rw_no: NDArray[np.int64]
    mark: NDArray[np.int64]
    mark_more: NDArray[np.int64]
    author: NDArray[np.int64]
    unfixed: NDArray[np.int64]
    words: Ragged
    kinds: NDArray[np.float32]
    top: NDArray[np.int64]
    photos: Ragged
    pictures: Ragged

    def __len__(self) -> int:
        return len(self.said_at)

    def take(self, rows: NDArray[np.int64], *, lists: bool = True) -> Traits:
        """lists: False leaves the lists empty, which place and time have no need of."""
        none = Ragged(np.zeros(0, np.int64), np.zeros(len(rows) + 1, np.int64))
        values = (getattr(self, f.name) for f in fields(self))
        made: list[Any] = [v[rows] if not isinstance(v, Ragged) else v.take(rows) if lists else none for v in values]
        return Traits(*made)


def concat(parts: Sequence[Traits]) -> Traits:
    """Rows of all parts, one after another."""
    made: list[Any] = [_joined([getattr(p, f.name) for p in parts]) for f in fields(Traits)]
    return Traits(*made)


def _joined(values: Sequence[Any]) -> Any:
    if not isinstance(values[0], Ragged):
        return np.concatenate(values)
    counts = np.concatenate([np.diff(v.start) for v in values])
    return Ragged(np.concatenate([v.values for v in values]), np.concatenate(([0], np.cumsum(counts))))


def traits_of(table: pa.Table | pd.DataFrame, matching: Matching) -> Traits:
    """The columns TRAITS as they were made or stored, ready to compare."""
    single: list[Any] = [_numbers(table[f.name], f.type) for f in TRAITS if f.name in _SINGLE]
    groups, shares = ragged(table["groups"]), ragged(table["shares"])
    place = {group: n for n, group in enumerate(matching.groups)}
    kinds = np.zeros((len(groups.start) - 1, len(place)), dtype=np.float32)
    known = np.array([place.get(g, -1) for g in groups.values], dtype=np.int64)
    there = known >= 0  # a group that matching.toml no longer has says nothing
    kinds[groups.owners()[there], known[there]] = shares.values[there]
    top = np.where(kinds.any(axis=1), kinds.argmax(axis=1), -1)
    several: list[Any] = [ragged(table["words"]), kinds, top, ragged(table["photos"]), ragged(table["pictures"])]
    return Traits(*single, *several)


def _numbers(values: Any, kind: pa.DataType) -> NDArray[Any]:
    found = pa.chunked_array(values) if isinstance(values, pa.ChunkedArray) else pa.array(values)
    if pa.types.is_floating(kind):
        return np.asarray(
            found.cast(kind).to_numpy(zero_copy_only=False)
            if isinstance(found, pa.Array)
            else found.cast(kind).to_numpy()
        )
    return pc.fill_null(found.cast(kind), 0).to_numpy()


def ragged(lists: Any) -> Ragged:
    found = lists if isinstance(lists, pa.ChunkedArray) else pa.array(lists)
    whole = found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found
    if isinstance(whole, pa.ChunkedArray):
        whole = pa.concat_arrays(whole.chunks)
    counts = pc.fill_null(whole.value_lengths(), 0).to_numpy(zero_copy_only=False)
    values = whole.flatten().to_numpy(zero_copy_only=False)
    return Ragged(values, np.concatenate(([0], np.cumsum(counts))).astype(np.int64))
