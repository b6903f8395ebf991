"""What the texts alone give away: the more, the easier the set.

    python -m benchmarks.incidents.difficulty --reports 5000 --seed 7

Groups the first reports of a set by exact Jaccard of their words, word pairs or letters in fours, which no
MinHash can better, at every threshold, as connected groups and as "joins the first report that is near". Best is the
highest same-incident recall among those whose tickets are pure in 90 of 100.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator
from itertools import islice, pairwise, product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from benchmarks.incidents import generate
from benchmarks.incidents.__main__ import SEED
from benchmarks.incidents.shapes import Report
from pipelines.agreement import Clustering, clustering

PURE = 0.9
_WORD = re.compile(r"[a-z0-9]+")
_THRESHOLDS = [round(0.2 + 0.05 * n, 2) for n in range(16)]


def words(text: str) -> set[str]:
    return set(_WORD.findall(text.lower()))


def word_pairs(text: str) -> set[str]:
    found = _WORD.findall(text.lower())
    return {f"{a} {b}" for a, b in pairwise(found)} or set(found)


def fours(text: str) -> set[str]:
    joined = " ".join(_WORD.findall(text.lower()))
    return {joined[i : i + 4] for i in range(max(len(joined) - 3, 1))}


def alike(texts: list[str], features: Callable[[str], set[str]]) -> tuple[sparse.coo_matrix, NDArray[np.float64]]:
    """(pairs i < j that share a feature, Jaccard of each)."""
    known: dict[str, int] = {}
    rows, columns = [], []
    for row, text in enumerate(texts):
        for feature in features(text):
            rows.append(row)
            columns.append(known.setdefault(feature, len(known)))
    ones = np.ones(len(rows), dtype=np.float32)
    matrix = sparse.csr_matrix((ones, (rows, columns)), shape=(len(texts), len(known)))
    sizes = np.asarray(matrix.sum(axis=1)).ravel()
    common = sparse.triu(matrix @ matrix.T, k=1).tocoo()
    jaccard = common.data / (sizes[common.row] + sizes[common.col] - common.data)
    return common, jaccard


def groupings(common: sparse.coo_matrix, jaccard: NDArray[Any], threshold: float) -> Iterator[tuple[str, NDArray[Any]]]:
    """Tickets of texts that are near, in both ways."""
    near, size = jaccard >= threshold, common.shape[0]
    graph = sparse.coo_matrix((np.ones(int(near.sum())), (common.row[near], common.col[near])), shape=(size, size))
    yield "connected", connected_components(graph, directed=False)[1]
    by_later = graph.tocsc()
    ticket = np.arange(size)
    for later in range(size):
        for earlier in np.sort(by_later.indices[by_later.indptr[later] : by_later.indptr[later + 1]]):
            if ticket[earlier] == earlier:
                ticket[later] = earlier
                break
    yield "first", ticket


class Best(NamedTuple):
    """copies: share of copies found in the ticket of the report whose words they are."""

    threshold: float
    way: str
    score: Clustering
    copies: float


def best(reports: list[Report], texts: list[str], features: Callable[[str], set[str]]) -> Best | None:
    """The grouping with the highest recall whose tickets are pure enough; None if none is."""
    incident = np.array([r.incident for r in reports])
    at = {r.report_id: n for n, r in enumerate(reports)}
    copies = np.array([(n, at[r.copy_of]) for n, r in enumerate(reports) if r.copy_of]).reshape(-1, 2)
    common, jaccard = alike(texts, features)
    good = []
    for threshold in _THRESHOLDS:
        for way, ticket in groupings(common, jaccard, threshold):
            if (score := clustering(incident, ticket)).pure >= PURE:
                found = float((ticket[copies[:, 0]] == ticket[copies[:, 1]]).mean()) if len(copies) else 1.0
                good.append(Best(threshold, way, score, found))
    return max(good, key=lambda b: b.score.pair_recall, default=None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reports", type=int, default=5_000)
    parser.add_argument("--seed", type=int, default=SEED)
    asked = parser.parse_args()
    told = (i for i in generate(asked.reports, asked.seed) if isinstance(i, Report))
    reports = list(islice((r for r in told if r.version == 1 and r.role != "not_fixed"), asked.reports))
    print(f"seed {asked.seed}, {len(reports):,} reports; best text-only grouping with {PURE:.0%} of its tickets pure")
    said = {
        "text": [r.text for r in reports],
        "text and address": [f"{r.text} {r.address or ''} {r.kelurahan or ''}" for r in reports],
    }
    for (of, texts), features in product(said.items(), (words, word_pairs, fours)):
        name = f"{of}, {features.__name__}"
        if (found := best(reports, texts, features)) is None:
            print(f"{name:28}  none is so pure")
            continue
        score = found.score
        print(
            f"{name:28}  Jaccard {found.threshold:.2f} ({found.way}): same-incident recall {score.pair_recall:.3f}, copies found"
            f" {found.copies:.3f}, tickets pure {score.pure:.3f}, pair precision {score.pair_precision:.3f}, B-cubed F1"
            f" {score.b_cubed_f1:.3f}"
        )


if __name__ == "__main__":
    main()
