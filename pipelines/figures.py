"""Judged labels against right ones -> the figures by which a classifier is compared. Pure.

Belongs here: what is computed. Not here: judging or reading files (evaluate, training).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_BINS = 10
_COVERAGES = (1.0, 0.9, 0.8, 0.7, 0.5)
_PAIRS, _EXAMPLES = 10, 5


def figures(
    wanted: Sequence[str], judged: Sequence[str], sure: NDArray[np.float64], accept: float, ids: Sequence[str] = ()
) -> dict[str, Any]:
    """All figures of one head. sure: confidence of each judgement, 0..1; accept: from where on it is believed.

    macro_f1 is over the labels that occur in `wanted`. calibration_error: over ten equal bins of confidence.
    accuracy_at: share judged, the least sure left out -> accuracy of these. confusion: the pairs most often
    taken for each other, with ids of examples.
    """
    labels = sorted(set(wanted) | set(judged))
    index = {label: i for i, label in enumerate(labels)}
    right = np.array([index[w] for w in wanted])
    said = np.array([index[j] for j in judged])
    hit = right == said
    table = confusion(right, said, len(labels))
    precision, recall, f1 = scores(table)
    rows = table.sum(axis=1)
    accepted = sure >= accept
    return {
        "rows": len(right),
        "labels": int((rows > 0).sum()),
        "accuracy": float(hit.mean()),
        "macro_f1": float(f1[rows > 0].mean()),
        "calibration_error": calibration_error(hit, sure),
        "accept": accept,
        "coverage": float(accepted.mean()),
        "accuracy_where_accepted": float(hit[accepted].mean()) if accepted.any() else 0.0,
        "accuracy_at": {f"{share:.1f}": accuracy_at(hit, sure, share) for share in _COVERAGES},
        "classes": [
            {
                "label": label, "rows": int(rows[i]), "precision": float(precision[i]), "recall": float(recall[i]),
                "f1": float(f1[i]),
            }
            for i, label in enumerate(labels)
        ],
        "confusion": _worst(table, labels, right, said, ids),
    }  # fmt: skip


def confusion(right: NDArray[np.int64], said: NDArray[np.int64], labels: int) -> NDArray[np.int64]:
    """How often label i (row) was judged j (column)."""
    return np.bincount(right * labels + said, minlength=labels * labels).reshape(labels, labels)


def scores(table: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Precision, recall and F1 of each label; 0 where there is nothing to divide."""
    hits = np.diag(table).astype(float)
    precision = hits / np.maximum(table.sum(axis=0), 1)
    recall = hits / np.maximum(table.sum(axis=1), 1)
    return precision, recall, 2 * precision * recall / np.maximum(precision + recall, 1e-12)


def calibration_error(hit: NDArray[np.bool_], sure: NDArray[np.float64]) -> float:
    """Mean distance between confidence and accuracy over ten equal bins, weighted by their rows."""
    bins = np.minimum((sure * _BINS).astype(int), _BINS - 1)
    gaps = [abs(hit[bins == b].mean() - sure[bins == b].mean()) * (bins == b).mean() for b in np.unique(bins)]
    return float(sum(gaps))


def accuracy_at(hit: NDArray[np.bool_], sure: NDArray[np.float64], share: float) -> float:
    """Accuracy of the surest share of the rows."""
    surest = np.argsort(-sure, kind="stable")[: max(1, int(len(hit) * share))]
    return float(hit[surest].mean())


def gain(
    wanted: Sequence[str], one: Sequence[str], other: Sequence[str], *, rounds: int = 1_000, seed: int = 1
) -> tuple[float, float, float]:
    """How much higher the macro-F1 of `one` is than that of `other`: (difference, lower and upper end of the 95%
    interval), by paired bootstrap over the rows."""
    labels = {label: i for i, label in enumerate(sorted({*wanted, *one, *other}))}
    right, a, b = (np.array([labels[v] for v in values]) for values in (wanted, one, other))
    rng = np.random.default_rng(seed)

    def difference(rows: NDArray[np.int64] | slice) -> float:
        told = [scores(confusion(right[rows], said[rows], len(labels)))[2] for said in (a, b)]
        there = np.bincount(right[rows], minlength=len(labels)) > 0
        return float(told[0][there].mean() - told[1][there].mean())

    drawn = [difference(rng.integers(0, len(right), len(right))) for _ in range(rounds)]
    low, high = np.quantile(drawn, (0.025, 0.975))
    return difference(slice(None)), float(low), float(high)


def _worst(
    table: NDArray[np.int64],
    labels: Sequence[str],
    right: NDArray[np.int64],
    said: NDArray[np.int64],
    ids: Sequence[str],
) -> list[dict[str, Any]]:
    wrong = table.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:_PAIRS]
    found = []
    for i, j in zip(*np.unravel_index(order, wrong.shape), strict=True):
        if wrong[i, j]:
            rows = np.flatnonzero((right == i) & (said == j))[:_EXAMPLES]
            examples = [ids[r] for r in rows] if ids else []
            found.append({"right": labels[i], "judged": labels[j], "rows": int(wrong[i, j]), "examples": examples})
    return found
