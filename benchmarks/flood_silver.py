"""The silver standard of one incident on the flood night, and what it rests on.

Nobody labelled these reports. Two are of one incident where a chain of reports connects them, each within METRES and HOURS
of the next. METRES is how far apart people still name the same street and the same RW; HOURS is just below the longest
silence of the whole city, which parts two rains. Points and times alone decide, streets and RW only chose the numbers.
Nothing of models/matching.toml is read, and chains are not what the linker compares: a ticket's witnesses, a radius and what is
told of matter and place.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

METRES, HOURS = 100.0, 6.0
_BANDS = (0, 25, 50, 75, 100, 150, 200, 300, 500, 1_000, 2_000)
_FAR = 1_000  # metres from where on pairs are strangers
_GAPS = (0, 0.25, 1, 3, 6, 12, 24, 72)


def spots(xy: NDArray[np.float64], hours: NDArray[np.float64], metres: float, apart: float) -> NDArray[np.int64]:
    """A label a report: the same where a chain of reports, each within metres and hours of the next, connects two.
    xy: metres, a row a report."""
    pairs = cKDTree(xy).query_pairs(metres, output_type="ndarray")
    pairs = pairs[np.abs(np.subtract(*hours[pairs].T)) <= apart]
    graph = coo_matrix((np.ones(len(pairs)), tuple(pairs.T)), shape=(len(xy), len(xy)))
    labels: NDArray[np.int64] = connected_components(graph, directed=False)[1].astype(np.int64)
    return labels


def extent(xy: NDArray[np.float64]) -> float:
    """Metres between the two furthest of some points."""
    return float(max((np.hypot(*(xy - one).T).max() for one in xy), default=0.0))


def evidence(rows: pd.DataFrame, named: pd.DataFrame) -> Iterator[str]:
    """What tells how far one incident reaches. named: row, street, rw (number) as the words alone name them."""
    xy, hours = rows[["east", "north"]].to_numpy(), rows["hours"].to_numpy()
    pairs = cKDTree(xy).query_pairs(_BANDS[-1], output_type="ndarray")
    apart = np.hypot(*(xy[pairs[:, 0]] - xy[pairs[:, 1]]).T)
    far = apart >= _FAR
    strangers = max(far.sum(), 1) / (_BANDS[-1] ** 2 - _FAR**2)  # pairs by area, where closeness means nothing any more
    told = named.set_index("row").reindex(rows["row"])  # words alone: no address came along
    yield "pairs of reports, and their density in times of that beyond 1,000 m; where both name a street, an RW, or lie in the"
    yield "polygon of an RW: how many pairs, and the share with the same"
    yield "          metres | pairs density | street    | RW named  | polygon"
    for low, high in pairwise(_BANDS):
        some = pairs[(apart >= low) & (apart < high)]
        same = [_agree(told[c].to_numpy(object), some) for c in ("street", "rw")]
        polygon = _agree(rows["rw"].where(rows["rw"] != "", None).to_numpy(object), some)
        dense = len(some) / (high**2 - low**2) / strangers
        words = " | ".join(f"{n:5} {share:.2f}" for n, share in (*same, polygon))
        yield f"  {low:5,} to {high:5,} | {len(some):6,} {dense:6.1f} | {words}"
    silences = pd.Series(np.diff(np.sort(hours))).nlargest(3)
    yield "longest silences of the whole city, hours: " + ", ".join(f"{s:.1f}" for s in silences)
    waits = _waits(xy, hours)
    shares = ", ".join(f"{h:g} {(waits <= h).mean():.2f}" for h in _GAPS[1:])
    yield f"hours since the last report within {METRES:.0f} m, {len(waits):,} reports, share within: {shares}"
    chance = np.random.default_rng(1)
    mixed = np.concatenate([_waits(xy, chance.permutation(hours)) for _ in range(20)])
    times = " ".join(
        f"{low:g}-{high:g}: {_within(waits, low, high) / max(_within(mixed, low, high) / 20, 1e-9):.1f}"
        for low, high in pairwise(_GAPS)
    )
    yield f"  times as many as if the night's times were dealt out anew: {times}"


def _agree(values: NDArray[np.object_], pairs: NDArray[np.int64]) -> tuple[int, float]:
    """(pairs in which both have a value, share of them with the same)."""
    a, b = values[pairs[:, 0]], values[pairs[:, 1]]
    both = pd.notna(a) & pd.notna(b)
    return int(both.sum()), float((a[both] == b[both]).mean()) if both.any() else 0.0


def _waits(xy: NDArray[np.float64], hours: NDArray[np.float64]) -> NDArray[np.float64]:
    """Hours from each report that follows another within METRES back to the last such."""
    order = np.argsort(hours, kind="stable")
    xy, hours = xy[order], hours[order]
    near = cKDTree(xy).query_ball_point(xy, METRES)
    before = ((n, max((m for m in some if m < n), default=-1)) for n, some in enumerate(near))
    return np.array([hours[n] - hours[m] for n, m in before if m >= 0])


def _within(waits: NDArray[np.float64], low: float, high: float) -> int:
    return int(((waits >= low) & (waits < high)).sum())
