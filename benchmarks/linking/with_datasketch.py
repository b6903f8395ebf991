"""datasketch's MinHashLSH: reports are one incident where their words are near, as one would deduplicate texts.

128 permutations, as its documentation starts with; what the index finds is checked against the Jaccard that the
MinHashes estimate, as the index alone finds pairs below its threshold, too. Shingles, threshold and way of grouping are
chosen on a set of another seed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from datasketch import MinHash, MinHashLSH
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from benchmarks.incidents.difficulty import fours, word_pairs, words
from benchmarks.linking.data import Made, reports_of
from benchmarks.linking.measured import Laps
from benchmarks.linking.tuning import PURE, Scored, best, purest, scored
from pipelines.contracts import column

PERMUTATIONS = 128
SHINGLES: Mapping[str, Callable[[str], set[str]]] = {"words": words, "word_pairs": word_pairs, "fours": fours}
THRESHOLDS = (0.4, 0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9)
FIXED = (0.5, 0.7, 0.8, 0.9)  # what people take
_SWEPT = 10_000  # first reports of a set on which every threshold is tried: low ones cost with the square
SAID = ("text", "text and address")
_AT_ONCE = 200_000  # pairs whose MinHashes are compared in one step


def texts(reports: pd.DataFrame, said: str) -> list[str]:
    """What is compared of each report."""
    if said == "text":
        return column(reports, "text")
    parts = zip(*(column(reports, name) for name in ("text", "address_text", "kelurahan_code")), strict=True)
    return [" ".join(p for p in ps if p) for ps in parts]


def sketches(said: Iterable[str], shingles: Callable[[str], set[str]]) -> list[MinHash]:
    return MinHash.bulk(([s.encode() for s in shingles(t)] for t in said), num_perm=PERMUTATIONS)


def near(made: list[MinHash], threshold: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(earlier, later) of all pairs of texts whose estimated Jaccard reaches the threshold."""
    index = MinHashLSH(threshold=threshold, num_perm=PERMUTATIONS)
    earlier: list[int] = []
    later: list[int] = []
    for place, sketch in enumerate(made):
        found = index.query(sketch)
        earlier += found
        later += [place] * len(found)
        index.insert(place, sketch, check_duplication=False)
    values = np.array([sketch.hashvalues for sketch in made])
    a, b = np.array(earlier, np.int64), np.array(later, np.int64)
    alike = [
        (values[a[i : i + _AT_ONCE]] == values[b[i : i + _AT_ONCE]]).mean(axis=1) >= threshold
        for i in range(0, len(a), _AT_ONCE)
    ]
    kept = np.concatenate(alike) if alike else np.zeros(0, bool)
    return a[kept], b[kept]


def connected(earlier: NDArray[Any], later: NDArray[Any], count: int) -> NDArray[Any]:
    graph = coo_matrix((np.ones(len(earlier)), (earlier, later)), shape=(count, count))
    return connected_components(graph, directed=False)[1]


def first_match(earlier: NDArray[Any], later: NDArray[Any], count: int) -> NDArray[Any]:
    """Each text joins the first that opened a ticket and is near; else it opens one."""
    ticket = np.arange(count)
    order = np.lexsort((earlier, later))
    for b, a in zip(later[order].tolist(), earlier[order].tolist(), strict=True):
        if ticket[b] == b and ticket[a] == a:
            ticket[b] = a
    return ticket


_GROUP = {"connected": connected, "first_match": first_match}


def tune(train: Made) -> dict[str, Any]:
    """Per what is compared: shingles, threshold and grouping of the best B-cubed F1."""
    reports, truth = reports_of(train.reports), pd.read_parquet(train.truth)
    chosen = {}
    for said in SAID:
        tried = {name: list(_sweep(truth, texts(reports, said), name)) for name in SHINGLES}
        shingles = max(tried, key=lambda name: best(tried[name]).score.b_cubed_f1)
        found = best(tried[shingles])
        chosen[said] = {
            "said": said,
            "shingles": shingles,
            "threshold": found.threshold,
            "clustering": found.way,
            "tried": {name: [t.told() for t in all_] for name, all_ in tried.items()},
        }
    return chosen


def _sweep(truth: pd.DataFrame, said: list[str], shingles: str) -> Iterator[Scored]:
    """From the highest threshold down; low ones, which cost with the square, only while it does not get worse."""
    made, top = sketches(said, SHINGLES[shingles]), 0.0
    for threshold in sorted(THRESHOLDS, reverse=True):
        tried = _tried(truth, made, threshold)
        yield from tried
        reached = best(tried).score.b_cubed_f1
        if reached < top - 0.005:
            break
        top = max(top, reached)


def _tried(truth: pd.DataFrame, made: list[MinHash], threshold: float) -> list[Scored]:
    pairs = near(made, threshold)
    return [scored(truth, group(*pairs, len(made)), threshold, way) for way, group in _GROUP.items()]


def link(reports: pd.DataFrame, chosen: Mapping[str, Any], laps: Laps) -> NDArray[Any]:
    """The ticket of each report."""
    made = sketches(texts(reports, chosen["said"]), SHINGLES[chosen["shingles"]])
    laps.lap("sketch")
    pairs = near(made, chosen["threshold"])
    laps.lap("index and query")
    tickets = _GROUP[chosen["clustering"]](*pairs, len(made))
    laps.lap("cluster")
    return tickets


def text_alone(reports: pd.DataFrame, truth: pd.DataFrame) -> dict[str, Any]:
    """How far texts go on the set itself (its first reports): at fixed thresholds, and at the one that is best where
    tickets must be pure, which no one could know beforehand."""
    first, known = reports.head(_SWEPT), truth.head(_SWEPT)
    said = texts(first, "text")
    tried: dict[str, list[Scored]] = {}
    for name, shingles in SHINGLES.items():
        made = sketches(said, shingles)
        tried[name] = [t for threshold in THRESHOLDS for t in _tried(known, made, threshold)]
    pure = {name: found for name, all_ in tried.items() if (found := purest(all_))}
    top = max(pure, key=lambda name: pure[name].score.pair_recall, default=None)
    return {
        "reports": len(first),
        "pure": PURE,
        "best": None if top is None else {"shingles": top, **pure[top].told()},
        "fixed": [{"shingles": name, **t.told()} for name, all_ in tried.items() for t in all_ if t.threshold in FIXED],
    }
