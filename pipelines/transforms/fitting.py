"""Labelled texts -> a trained pipeline: features, the two voices of each head, and how sure they may be.

The linear voice is a balanced linear SVM a label; the deep one a small network that all heads share
(network). How sharp their probabilities are, and how often a choice of theirs is right, is fitted on texts held out,
the newest ones where the order tells the time. Belongs here: training as pure functions. Not here: where labels come from
(classifiers, history), judging (classifier).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from spacy.language import Language

from pipelines.transforms.classifier import (
    ComplaintClassifier,
    Head,
    Weights,
    blank,
    doubts,
    leaders,
    mixed,
    sharpened,
    softmax,
    unit,
)
from pipelines.transforms.network import Network, Task, fit_network, mean_of
from pipelines.transforms.ngrams import Lexicon, seen_in, vectors

_ECHO = 0.3  # how loud another head's scores are among the features of those that lean on it
_FACTORS = np.geomspace(0.2, 20, 80)  # sharpnesses to try
_SHARES = np.linspace(0, 1, 21)  # of the deep voice
_ENOUGH = 100  # held-out texts from which on they tell how sure choices may be

Progress = Callable[[str, int, int], None]  # (stage, done, of)


def _unseen(_stage: str, _done: int, _of: int) -> None:
    """Progress that nobody watches."""


@dataclass(frozen=True, slots=True)
class _Voices:
    """Fitted weights: linear and lean a head, and the network, whose tasks are the heads in order."""

    linear: dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]]
    lean: dict[str, NDArray[np.float32]]
    network: Network | None


def train(
    texts: Sequence[str],
    labels: Mapping[str, Sequence[str | None]],
    *,
    bits: int,
    c: float,
    seed: int,
    held: float = 0.2,
    soften: float = 1.0,
    units: int = 0,
    networks: int = 1,
    passes: int = 15,
    most_per_label: int = 5_000,
    ordered: bool = False,
    undated: int = 0,
    leans_on: str = "",
    weights: Sequence[float] | None = None,
    progress: Progress = _unseen,
) -> Language:
    """Fit every head on the texts that have a label for it; same input and seed: same weights.

    labels: head -> one label a text, None where it has none. bits, c, units: size of the feature hash,
    looseness of the SVM, hidden units (0: the linear voice alone). networks, passes: how many the deep voice is the
    mean of, and how often each reads all texts. held: share of the texts on which confidences are fitted, the last
    ones if `ordered`. undated: how many texts, in front of the others, are in no such order. soften: factor on the
    confidences' sharpness, below 1 where the texts to be judged are less clear than these. most_per_label: of a label
    with more texts the last ones are learned from. leans_on: a head whose scores are features of all others. weights:
    how often each text counts. A head of fewer than two labels is left out; ValueError where none is left.
    """
    rows = _kept(labels, most_per_label)
    texts = [texts[i] for i in rows]
    often = np.ones(len(rows)) if weights is None else np.asarray(weights, float)[rows]
    every = {head: tuple(sorted({v for v in values if v is not None})) for head, values in labels.items()}
    names = {head: known for head, known in every.items() if len(known) > 1}
    if not names:
        raise ValueError("no head has texts of two labels or more")
    leans_on = leans_on if leans_on in names else ""
    targets = {head: _target([labels[head][i] for i in rows], known) for head, known in names.items()}
    progress("features", 0, len(texts))
    seen = seen_in(texts, bits)
    buckets = np.flatnonzero(seen > 1).astype(np.int32)  # seen in one text only: nothing to learn from
    idf = (np.log((1 + len(texts)) / (1 + seen[buckets])) + 1).astype(np.float32)
    columns = np.full(1 << bits, -1, np.int32)
    columns[buckets] = np.arange(len(buckets), dtype=np.int32)
    matrix = vectors(Lexicon(columns, bits), texts, idf)
    fit = _Fit(names, leans_on, c=c, seed=seed, units=units, networks=networks, passes=passes, progress=progress)
    start = sum(i < undated for i in rows) if ordered else len(rows)
    aside = _aside(targets, held, start, seed)
    trial = fit(matrix[~aside], {h: t[~aside] for h, t in targets.items()}, often[~aside], "trial")
    sharp, sure = {}, {}
    for head, target in targets.items():
        told = aside & (target >= 0)
        heard, right = _scores(trial, names, leans_on, head, matrix[told]), target[told]
        sharp[head] = _sharpness(*heard, right)
        sure[head] = _sureness(mixed(*heard, sharp[head]), right) if ordered else ()
    voices = fit(matrix, targets, often, "final")
    nlp = blank()
    component: ComplaintClassifier = nlp.get_pipe("complaints")
    component.learn(_weights(voices, names, sharp, sure, soften, bits, buckets, idf, leans_on))
    return nlp


def _target(values: Sequence[str | None], names: Sequence[str]) -> NDArray[np.int64]:
    """Index of each label, -1 for none."""
    index: dict[str | None, int] = {None: -1} | {name: i for i, name in enumerate(names)}
    return np.array([index[value] for value in values], dtype=np.int64)


def _kept(labels: Mapping[str, Sequence[str | None]], most: int) -> list[int]:
    """Rows worth learning from: of every label of every head the last `most`."""
    kept: set[int] = set()
    for values in labels.values():
        count: dict[str, int] = {}
        for i in range(len(values) - 1, -1, -1):
            if (label := values[i]) is not None and count.get(label, 0) < most:
                count[label] = count.get(label, 0) + 1
                kept.add(i)
    return sorted(kept)


def _aside(targets: Mapping[str, NDArray[np.int64]], share: float, start: int, seed: int) -> NDArray[np.bool_]:
    """Which rows are held out: of each head the last ones, if it has enough from `start` on, where rows are in the order
    of time; else some of each label, unless those of other heads are enough."""
    aside = np.zeros(len(next(iter(targets.values()))), bool)
    rng = np.random.default_rng(seed)
    timeless = []
    for target in targets.values():
        have = start + np.flatnonzero(target[start:] >= 0)
        last = int(len(have) * share)
        if start and last < _ENOUGH:
            timeless.append(target)
        else:
            aside[have[len(have) - last :]] = True
    for target in timeless:
        if aside[target >= 0].sum() >= share * (target >= 0).sum() * 0.9:
            continue
        free = np.flatnonzero((target >= 0) & ~aside)
        for label in np.unique(target[free]):
            same = rng.permutation(free[target[free] == label])
            aside[same[: int(len(same) * share)]] = True
    return aside


@dataclass(frozen=True, slots=True)
class _Fit:
    """Fits all voices on some rows."""

    names: Mapping[str, tuple[str, ...]]
    leans_on: str
    c: float
    seed: int
    units: int
    networks: int
    passes: int
    progress: Progress

    def __call__(
        self,
        matrix: sparse.csr_matrix,
        targets: Mapping[str, NDArray[np.int64]],
        often: NDArray[np.float64],
        stage: str,
    ) -> _Voices:
        linear, lean, echo = {}, {}, None
        order = sorted(self.names, key=lambda head: head != self.leans_on)
        for done, head in enumerate(order):
            self.progress(f"{stage}: {head}", done, len(order))
            rows, features = targets[head] >= 0, matrix
            if echo is not None:
                features = sparse.hstack((matrix, sparse.csr_matrix(echo)), format="csr")
            coef, bias = self._linear(features[rows], targets[head][rows], often[rows], len(self.names[head]))
            linear[head] = coef[: matrix.shape[1]], bias
            lean[head] = coef[matrix.shape[1] :] * np.float32(_ECHO)
            if head == self.leans_on:
                echo = unit(matrix @ coef + bias).astype(np.float32) * np.float32(_ECHO)
        network = None
        if self.units:
            heads = [h for h in self.names if h != self.leans_on]
            told = np.flatnonzero(np.max([targets[h] for h in heads], axis=0) >= 0)
            tasks = [Task(targets[h][told], len(self.names[h])) for h in heads]
            network = mean_of([self._network(matrix[told], tasks, often[told], n, stage) for n in range(self.networks)])
        return _Voices(linear, lean, network)

    def _network(
        self, matrix: sparse.csr_matrix, tasks: list[Task], often: NDArray[np.float64], number: int, stage: str
    ) -> Network:
        def told(done: int, of: int) -> None:
            self.progress(f"{stage}: network {number + 1} of {self.networks}", done, of)

        return fit_network(
            matrix, tasks, often, units=self.units, passes=self.passes, seed=self.seed + number, progress=told
        )

    def _linear(
        self, matrix: sparse.csr_matrix, target: NDArray[np.int64], often: NDArray[np.float64], labels: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Weights (features, labels) and bias (labels) of a balanced SVM, each label against the rest; a label
        that these rows lack is never chosen."""
        from sklearn.svm import LinearSVC

        fitted = LinearSVC(C=self.c, class_weight="balanced", random_state=self.seed).fit(matrix, target, often)
        weights, bias = fitted.coef_.T, fitted.intercept_
        if weights.shape[1] == 1:  # of two labels only the second is fitted: the first is its opposite
            weights, bias = np.hstack((-weights, weights)), np.concatenate((-bias, bias))
        every, start = np.zeros((matrix.shape[1], labels), np.float32), np.full(labels, -2.0, np.float32)
        every[:, fitted.classes_], start[fitted.classes_] = weights, bias
        return every, start


def _scores(
    voices: _Voices, names: Mapping[str, tuple[str, ...]], leans_on: str, head: str, matrix: sparse.csr_matrix
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """What each voice says, before any sharpness."""
    weights, bias = voices.linear[head]
    scores = (matrix @ weights + bias).astype(np.float64)
    if len(voices.lean[head]):
        base, base_bias = voices.linear[leans_on]
        scores += unit(matrix @ base + base_bias) @ voices.lean[head]
    if voices.network is None or head == leans_on:
        return scores, None
    return scores, voices.network.scores(matrix, [h for h in names if h != leans_on].index(head))


def _sharpness(
    linear: NDArray[np.float64], deep: NDArray[np.float64] | None, right: NDArray[np.int64]
) -> tuple[float, float, float, float]:
    """Head.sharpness: what makes the probabilities of held-out texts most likely to be right."""
    if not len(right):
        return 1.0, 1.0, 0.5 if deep is not None else 0.0, 1.0
    first = _best(lambda factor: softmax(linear * factor), right, _FACTORS)
    if deep is None:
        return first, 1.0, 0.0, 1.0
    second = _best(lambda factor: softmax(deep * factor), right, _FACTORS)
    one, other = softmax(linear * first), softmax(deep * second)
    share = _best(lambda part: one * (1 - part) + other * part, right, _SHARES)
    mean = one * (1 - share) + other * share
    return first, second, share, _best(lambda factor: sharpened(mean, factor), right, _FACTORS)


def _sureness(chance: NDArray[np.float64], right: NDArray[np.int64]) -> tuple[float, ...]:
    """Head.sureness: how often choices on held-out texts were right, by what is doubtful about them.

    Sharpness alone cannot tell it: labels of people are wrong now and then however clear the text is, so the top
    probabilities promise too much. No slope is below 0: a greater lead never makes less sure.
    """
    if len(right) < _ENOUGH:
        return ()
    from scipy.optimize import minimize

    first, _, best, next_best = leaders(chance.copy())
    told = doubts(best, next_best)
    scale = np.append(told[:, :-1].std(axis=0) + 1e-9, 1.0)  # both doubts are pulled to 0 alike, the start is not
    # One right and one wrong, of what is usual, keep the curve finite where all are right.
    told = np.vstack((told, told.mean(axis=0), told.mean(axis=0))) / scale
    hit, often = np.append(first == right, (1, 0)), np.append(np.ones(len(right)), (0.5, 0.5))

    def loss(curve: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        logit, pull = told @ curve, np.append(curve[:-1], 0.0)
        missed = float(often @ (np.logaddexp(0, logit) - hit * logit)) + 0.5 * float(pull @ pull)
        return missed, told.T @ (often * (1 / (1 + np.exp(-logit)) - hit)) + pull

    bounds = [(0, None)] * (len(scale) - 1) + [(None, None)]
    curve = minimize(loss, np.zeros(len(scale)), jac=True, method="L-BFGS-B", bounds=bounds).x / scale
    return tuple(curve.tolist())


def _best(
    chances: Callable[[float], NDArray[np.float64]], right: NDArray[np.int64], tried: NDArray[np.float64]
) -> float:
    rows = np.arange(len(right))
    losses = [-np.log(chances(value)[rows, right] + 1e-12).mean() for value in tried]
    return float(tried[int(np.argmin(losses))])


def _weights(
    voices: _Voices,
    names: Mapping[str, tuple[str, ...]],
    sharp: Mapping[str, tuple[float, float, float, float]],
    sure: Mapping[str, tuple[float, ...]],
    soften: float,
    bits: int,
    buckets: NDArray[np.int32],
    idf: NDArray[np.float32],
    leans_on: str,
) -> Weights:
    heads, network = {}, voices.network
    tasks = [] if network is None else [head for head in names if head != leans_on]
    for head, known in names.items():
        weights, bias = voices.linear[head]
        out, out_bias = np.zeros((0, 0), np.float32), np.zeros(0, np.float32)
        if network is not None and head in tasks:
            out, out_bias = network.out[tasks.index(head)], network.out_bias[tasks.index(head)]
        linear, deep, share, both = sharp[head]
        sharpness = linear, deep, share, both * soften
        heads[head] = Head(known, weights, bias, voices.lean[head], out, out_bias, sharpness, sure[head])
    hidden = np.zeros((len(idf), 0), np.float32) if network is None else network.hidden
    hidden_bias = np.zeros(0, np.float32) if network is None else network.hidden_bias
    return Weights(bits, buckets, idf, heads, hidden, hidden_bias, leans_on)
