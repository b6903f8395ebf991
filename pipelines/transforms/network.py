"""The deep voice: sparse features -> hidden units that all heads share -> scores of each head.

Plain numpy: Adam over the rows a batch touches, dropout, smoothed labels. Belongs here: fitting and
asking this network. Not here: what its scores mean (fitting, classifier).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

_BATCH = 128
_RATE = 5e-3  # of learning, falling to nothing
_DROP_FEATURES, _DROP_UNITS = 0.5, 0.3
_SMOOTH = 0.1  # of a label's share goes to all labels: citizens' and officers' labels are often wrong
_STEPS = 20_000  # at most: more texts are read in fewer passes, but at least in _LEAST
_LEAST = 3
_LOUD = 10.0  # keeps small gradients well above Adam's epsilon

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Task:
    """One head: the label index of each text, -1 for none, and how many labels there are."""

    target: NDArray[np.int64]
    labels: int


@dataclass(frozen=True, slots=True)
class Network:
    """hidden (columns, units), hidden_bias; per task out (units, labels) and out_bias."""

    hidden: Array
    hidden_bias: Array
    out: list[Array]
    out_bias: list[Array]

    def scores(self, matrix: sparse.csr_matrix, task: int) -> NDArray[np.float64]:
        """Shape (texts, labels)."""
        units = np.maximum(matrix @ self.hidden + self.hidden_bias, 0).astype(np.float64)
        return np.asarray(units @ self.out[task] + self.out_bias[task])


def mean_of(networks: Sequence[Network]) -> Network:
    """One network whose scores are the mean of theirs."""
    share = np.float32(1 / len(networks))
    return Network(
        np.hstack([n.hidden for n in networks]),
        np.concatenate([n.hidden_bias for n in networks]),
        [np.vstack(outs) * share for outs in zip(*(n.out for n in networks), strict=True)],
        [np.sum(biases, axis=0) * share for biases in zip(*(n.out_bias for n in networks), strict=True)],
    )


class _Adam:
    """One parameter and its moments; rows that a batch does not touch stay as they are."""

    def __init__(self, value: Array) -> None:
        self.value, self.steps = value, 0
        self._mean, self._square = np.zeros_like(value), np.zeros_like(value)

    def step(self, gradient: Array, rate: float, rows: NDArray[np.int64] | slice = slice(None)) -> None:
        self.steps += 1
        mean, square = self._mean[rows], self._square[rows]
        mean = mean + np.float32(0.1) * (gradient - mean)
        square = square + np.float32(0.01) * (gradient * gradient - square)
        self._mean[rows], self._square[rows] = mean, square
        scale = np.float32(rate * np.sqrt(1 - 0.99**self.steps) / (1 - 0.9**self.steps))
        self.value[rows] -= scale * mean / (np.sqrt(square) + np.float32(1e-8))


def fit_network(
    matrix: sparse.csr_matrix,
    tasks: Sequence[Task],
    often: NDArray[np.float64],
    *,
    units: int,
    passes: int,
    seed: int,
    progress: Callable[[int, int], None],
) -> Network:
    """matrix: (texts, columns) float32; often: how much each text counts. Same input and seed: same network."""
    rng = np.random.default_rng(seed)
    texts, columns = matrix.shape
    hidden = _Adam(rng.standard_normal((columns, units), np.float32) / np.float32(np.sqrt(units)))
    bias = _Adam(np.zeros(units, np.float32))
    outs = [_Adam(rng.standard_normal((units, t.labels), np.float32) * np.float32(0.05)) for t in tasks]
    out_biases = [_Adam(np.zeros(t.labels, np.float32)) for t in tasks]
    shares = [_balance(task) for task in tasks]
    passes = max(_LEAST, min(passes, _STEPS * _BATCH // max(1, texts)))
    steps, step = passes * -(-texts // _BATCH), 0
    for done in range(passes):
        progress(done, passes)
        order = rng.permutation(texts)
        for start in range(0, texts, _BATCH):
            rate, step = _RATE * (1 - step / steps) + 1e-5, step + 1
            rows = order[start : start + _BATCH]
            some, touched = _dropped(matrix[rows], rng)
            before = some @ hidden.value[touched] + bias.value
            mask = (rng.random(before.shape, np.float32) > _DROP_UNITS).astype(np.float32) / np.float32(1 - _DROP_UNITS)
            given = np.maximum(before, 0) * mask
            back = np.zeros_like(given)
            for task, share, out, out_bias in zip(tasks, shares, outs, out_biases, strict=True):
                target = task.target[rows]
                have = np.flatnonzero(target >= 0)
                if not len(have):
                    continue
                scale = (share[target[have]] * often[rows[have]] * _LOUD / _BATCH).astype(np.float32)
                wrong = _wrong(given[have] @ out.value + out_bias.value, target[have]) * scale[:, None]
                back[have] += wrong @ out.value.T
                out.step(given[have].T @ wrong, rate)
                out_bias.step(wrong.sum(axis=0), rate)
            back *= mask * (before > 0)
            bias.step(back.sum(axis=0), rate)
            hidden.step(np.asarray(some.T @ back), rate, touched)
    return Network(hidden.value, bias.value, [o.value for o in outs], [b.value for b in out_biases])


def _balance(task: Task) -> NDArray[np.float64]:
    """How much a text of each label counts: rare ones more, by the root of how rare; 1 on average."""
    count = np.bincount(task.target[task.target >= 0], minlength=task.labels)
    share = 1 / np.sqrt(np.maximum(count, 1))
    return np.asarray(share * count.sum() / (share * count).sum())


def _dropped(some: sparse.csr_matrix, rng: np.random.Generator) -> tuple[sparse.csr_matrix, NDArray[np.int64]]:
    """Rows with half their features dropped, over the columns they touch; and those columns."""
    touched, place = np.unique(some.indices, return_inverse=True)
    kept = rng.random(len(some.data), np.float32) > _DROP_FEATURES
    data = some.data * kept / np.float32(1 - _DROP_FEATURES)
    shape = (some.shape[0], len(touched))
    return sparse.csr_matrix((data.astype(np.float32), place.astype(np.int32), some.indptr), shape), touched


def _wrong(scores: Array, target: NDArray[np.int64]) -> Array:
    """Gradient of the cross-entropy to smoothed labels."""
    shifted = np.exp(scores - scores.max(axis=1, keepdims=True))
    chance = shifted / shifted.sum(axis=1, keepdims=True)
    chance -= np.float32(_SMOOTH / scores.shape[1])
    chance[np.arange(len(target)), target] -= np.float32(1 - _SMOOTH)
    return np.asarray(chance, np.float32)
