"""The keys by which reports that may tell of one incident find each other.

A key holds a place (cell of a grid, street, what it lies beside, RT and RW), an author or a part of the
text or of the photo, never a time: hours are kept beside it, and whoever asks says which hours. So no
bucket is capped, and none grows beyond what is said within a horizon. Not here: comparing (likeness).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.transforms.traits import Ragged, Traits, distinct, spans

HOUR = 3_600
CELL_M = 200.0  # a point finds those in its own cell and the eight around it
_BANDS, _ROWS = 6, 3  # 98.6% of texts with Jaccard 0.8 share a band
_LONG = 8  # words; shorter texts are alike by chance
_M = np.uint64(0x9E3779B97F4A7C15)
_SEEDS = np.random.default_rng(20170221).integers(1, 1 << 62, _BANDS * _ROWS, dtype=np.uint64) | np.uint64(1)

Found = tuple[NDArray[np.int64], NDArray[np.uint64]]  # rows, their keys


@dataclass(frozen=True, slots=True)
class Keys:
    """own: by which a report is found; probes: by which it looks. Ordered by report."""

    own: Ragged
    probes: Ragged


def keys_of(x: Traits) -> Keys:
    """Keys of every report, 63-bit numbers."""
    own: list[Found] = []
    probes: list[Found] = []
    _cells(x, own, probes)
    _ways(x, own, probes)
    _both([x.mark_more, x.area], 5, own, probes)
    _both([x.rt_no, x.rw_no, x.area], 6, own, probes)
    _texts(x, own, probes)
    _photos(x, own, probes)
    return Keys(_gathered(own, len(x)), _gathered(probes, len(x)))


def _cells(x: Traits, own: list[Found], probes: list[Found]) -> None:
    rows = np.flatnonzero(~np.isnan(x.x))
    east, north = (np.floor(v[rows] / CELL_M).astype(np.int64) for v in (x.x, x.y))
    own.append((rows, _mix(1, east, north)))
    probes += [(rows, _mix(1, east + dx, north + dy)) for dx in (-1, 0, 1) for dy in (-1, 0, 1)]


def _ways(x: Traits, own: list[Found], probes: list[Found]) -> None:
    """A street is known with its kelurahan. Where one of two does not name that, the name alone must do."""
    named, placed = x.way_alike != 0, x.area != 0
    _both([x.way_alike, x.area], 2, own, probes)
    for rows, own_kinds, asked in (
        (np.flatnonzero(named & placed), (3,), 4),
        (np.flatnonzero(named & ~placed), (3, 4), 3),
    ):
        own += [(rows, _mix(kind, x.way_alike[rows])) for kind in own_kinds]
        probes.append((rows, _mix(asked, x.way_alike[rows])))


def _both(parts: Sequence[NDArray[np.int64]], kind: int, own: list[Found], probes: list[Found]) -> None:
    """Reports that have all these parts find those that have the same."""
    rows = np.flatnonzero(np.logical_and.reduce([part != 0 for part in parts]))
    key = _mix(kind, *(part[rows] for part in parts))
    own.append((rows, key))
    probes.append((rows, key))


def _texts(x: Traits, own: list[Found], probes: list[Found]) -> None:
    """The same author's alike texts; and anybody's, where one of two does not say where."""
    lowest, counts = _minhash(x.words), np.diff(x.words.start)
    rows = np.flatnonzero((x.author != 0) & (counts > 0))
    for number in range(_ROWS):
        key = _mix(100 + number, x.author[rows], lowest[rows, number])
        own.append((rows, key))
        probes.append((rows, key))
    rows = np.flatnonzero(counts >= _LONG)
    lost = (np.isnan(x.x) & (x.way_alike == 0))[rows]
    placed = x.area[rows] != 0
    for band in range(_BANDS):
        parts = [lowest[rows, _ROWS * band + n] for n in range(_ROWS)]
        all_, lost_only = _mix(200 + band, *parts), _mix(300 + band, *parts)
        own += [(rows, all_), (rows[lost], lost_only[lost])]
        probes += [(rows[lost], all_[lost]), (rows[~lost], lost_only[~lost])]
        here = rows[placed], _mix(400 + band, *(part[placed] for part in parts), x.area[rows][placed])
        own.append(here)
        probes.append(here)


def _photos(x: Traits, own: list[Found], probes: list[Found]) -> None:
    """The same file, or one of four quarters of a picture's hash: a copy differs in three of them at most."""
    found = [(x.photos.owners(), _mix(10, x.photos.values))]
    pictures = x.pictures.values.astype(np.int64).view(np.uint64)
    quarters = ((pictures >> np.uint64(16 * n)) & np.uint64(0xFFFF) for n in range(4))
    found += [(x.pictures.owners(), _mix(11 + n, quarter)) for n, quarter in enumerate(quarters)]
    own += found
    probes += found


def _mix(kind: int, *parts: NDArray[np.int64] | NDArray[np.uint64]) -> NDArray[np.uint64]:
    """One key of several parts. The kind is spread over all bits, or small parts of two kinds would fall together."""
    mixed = np.full(len(parts[0]), kind, dtype=np.uint64) * _M
    for part in parts:
        mixed = (mixed ^ part.view(np.uint64)) * _M
        mixed ^= mixed >> np.uint64(32)
    return mixed


def _gathered(found: Sequence[Found], count: int) -> Ragged:
    rows = np.concatenate([r for r, _ in found])
    keys = np.concatenate([k for _, k in found])
    order = np.argsort(rows.astype(np.uint16) if count <= 1 << 16 else rows, kind="stable")  # of 16 bits: by radix
    start = np.concatenate(([0], np.cumsum(np.bincount(rows, minlength=count))))
    return Ragged((keys[order] >> np.uint64(1)).view(np.int64), start)


def _minhash(words: Ragged) -> NDArray[np.uint64]:
    """Shape (texts, bands x rows); zero for texts without words."""
    lowest = np.zeros((len(words.start) - 1, len(_SEEDS)), dtype=np.uint64)
    said = np.flatnonzero(np.diff(words.start))
    values = words.values.astype(np.int64).view(np.uint64) + np.uint64(1)
    for number, seed in enumerate(_SEEDS if len(said) else ()):
        turned = values * seed
        turned = (turned ^ (turned >> np.uint64(29))) * _M
        lowest[said, number] = np.minimum.reduceat(turned ^ (turned >> np.uint64(32)), words.start[:-1][said])
    return lowest


class Run:
    """Keys of some reports, sorted. rows, hours: of each key, the report's number and when it was said, in hours since 1970."""

    def __init__(
        self, keys: NDArray[np.int64], rows: NDArray[np.int64], hours: NDArray[np.int64], *, merge: bool = False
    ) -> None:
        """merge: the keys are two sorted runs, which are sorted sooner that way."""
        order = np.argsort(keys, kind="stable" if merge else None)
        self.keys, self.rows, self.hours = keys[order], rows[order].astype(np.int32), hours[order].astype(np.int32)
        self.first, self.last = (int(hours.min()), int(hours.max())) if len(hours) else (0, -1)

    def with_more(self, other: Run, rows: int) -> Run:
        """Both together; the other's reports are counted on from `rows`."""
        return Run(
            np.concatenate([self.keys, other.keys]),
            np.concatenate([self.rows, other.rows + rows]),
            np.concatenate([self.hours, other.hours]),
            merge=True,
        )

    def near(self, hours: NDArray[np.int64], within: int) -> bool:
        """Whether any of its reports was said within so many hours of any of these."""
        return bool(len(hours)) and self.first <= int(hours.max()) + within and self.last >= int(hours.min()) - within

    def pairs(
        self, probes: NDArray[np.int64], asking: NDArray[np.int64], hours: NDArray[np.int64], within: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(asking row, row found), each pair once: those that share a key and were said within so many hours.

        probes: sorted keys, each of the row in asking at its place; hours: by asking row.
        """
        if not len(self.keys):
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        begins = np.searchsorted(self.keys, probes)
        hit = np.flatnonzero(self.keys[np.minimum(begins, len(self.keys) - 1)] == probes)
        begins, asking = begins[hit], asking[hit]
        counts = np.searchsorted(self.keys, probes[hit], side="right") - begins
        left = np.repeat(asking, counts)
        where = spans(begins, counts)
        near = np.abs(self.hours[where] - hours[left]) <= within
        codes = distinct((left[near] << 32) | self.rows[where[near]].astype(np.int64))
        return codes >> 32, codes & 0xFFFFFFFF
