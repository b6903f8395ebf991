"""What linking remembers of linked reports: their traits and keys, so that later ones find them.

On shelves, each a stretch of the recorded order, so that a growing memory costs nobody but those who ask
for its time. Not here: deciding (link).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.transforms.blocks import HOUR, Keys, Run
from pipelines.transforms.likeness import NONE, Likeness, compare, evidence, fit
from pipelines.transforms.matching import Matching
from pipelines.transforms.traits import Ragged, Traits, concat, distinct

_FULL = 1 << 16  # reports on a shelf
_CHUNK = 1 << 13  # reports whose candidates are found at once; the result does not depend on it


@dataclass(frozen=True, slots=True)
class Candidates:
    """Pairs at which a level holds, best first for each report. report: row asked; other: place in memory."""

    report: NDArray[np.int64]
    other: NDArray[np.int64]
    like: Likeness


@dataclass(slots=True)
class _Shelf:
    begin: int  # place of its first report
    traits: Traits
    run: Run


@dataclass(slots=True)
class Memory:
    """Reports in their order; places count from 0."""

    matching: Matching
    size: int = 0
    shelves: list[_Shelf] = field(default_factory=list)

    def add(self, x: Traits, own: Ragged) -> None:
        """Put further reports behind those that are there. own: their keys, as blocks.keys_of gives them."""
        if not len(x):
            return
        owners = own.owners()
        run = Run(own.values, owners, x.said_at[owners] // HOUR)
        last = self.shelves[-1] if self.shelves else None
        if last is not None and len(last.traits) + len(x) <= _FULL:
            last.run = last.run.with_more(run, len(last.traits))
            last.traits = concat([last.traits, x])
        else:
            self.shelves.append(_Shelf(self.size, x, run))
        self.size += len(x)

    def find(self, x: Traits, keys: Keys, progress: Callable[[int], None] = lambda _: None) -> Candidates:
        """What of these reports and of those before each is alike; they are remembered on the way."""
        found = []
        for begin in range(0, len(x), _CHUNK):
            rows = np.arange(begin, min(begin + _CHUNK, len(x)))
            part, own = x.take(rows), keys.own.take(rows)
            mine = self._candidates(part, Keys(own, keys.probes.take(rows)))
            found.append(Candidates(mine.report + begin, mine.other, mine.like))
            self.add(part, own)
            progress(len(rows))
        return _all_of(found) if found else self._candidates(x, keys)

    def _candidates(self, x: Traits, keys: Keys) -> Candidates:
        hours, within = x.said_at // HOUR, int(self.matching.longest_s // HOUR) + 1
        asked = keys.probes.owners()
        order = np.argsort(keys.probes.values)
        probes, asking = keys.probes.values[order], asked[order]
        found = []
        for shelf in self.shelves:
            if shelf.run.near(hours, within):
                a, b = shelf.run.pairs(probes, asking, hours, within)
                found.append(_holding(a, b, compare(x, a, shelf.traits, b, self.matching), shelf.begin))
        owners = keys.own.owners()
        a, b = Run(keys.own.values, owners, hours[owners]).pairs(probes, asking, hours, within)
        earlier = b < a
        a, b = a[earlier], b[earlier]
        found.append(_holding(a, b, compare(x, a, x, b, self.matching), self.size))
        all_ = _all_of(found)
        best = np.lexsort((all_.other, -all_.like.score.astype(np.int64), all_.like.level, all_.report))
        return Candidates(all_.report[best], all_.other[best], all_.like.take(best))

    def fit(self, pairs: Sequence[tuple[int, int]]) -> bool:
        """Whether nothing speaks against any of these pairs of places."""
        if not pairs:
            return True
        one, other = (np.array(side, dtype=np.int64) for side in zip(*pairs, strict=True))
        rows = np.arange(len(pairs))
        return bool(fit(self._at(one, lists=False), rows, self._at(other, lists=False), rows, self.matching).all())

    def shown(self, one: NDArray[np.int64], other: NDArray[np.int64]) -> dict[str, Any]:
        """The evidence of pairs of places."""
        rows = np.arange(len(one))
        return evidence(self._at(one), rows, self._at(other), rows, self.matching)

    def _at(self, places: NDArray[np.int64], *, lists: bool = True) -> Traits:
        """Traits of reports at any places."""
        shelf = np.array([s.begin for s in self.shelves]).searchsorted(places, side="right") - 1
        which = distinct(shelf) if len(places) else np.zeros(1, np.int64)  # no rows of some shelf
        parts = [self.shelves[n].traits.take(places[shelf == n] - self.shelves[n].begin, lists=lists) for n in which]
        if len(parts) == 1:
            return parts[0]
        back = np.argsort(np.concatenate([np.flatnonzero(shelf == n) for n in which]), kind="stable")
        return concat(parts).take(back, lists=lists)


def _holding(a: NDArray[np.int64], b: NDArray[np.int64], like: Likeness, begin: int) -> Candidates:
    rows = np.flatnonzero(like.level != NONE)
    return Candidates(a[rows], b[rows] + begin, like.take(rows))


def _all_of(parts: Sequence[Candidates]) -> Candidates:
    likes = [p.like for p in parts]
    like = Likeness(*(np.concatenate([getattr(k, name) for k in likes]) for name in Likeness.__slots__))
    return Candidates(np.concatenate([p.report for p in parts]), np.concatenate([p.other for p in parts]), like)
