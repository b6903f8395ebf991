"""Resolved reports -> what `learned` judges addresses by: voice, table of phrases, and how far each is believed.

Both weights are fitted on the newest quarter, judged by what the rest teaches, and then all reports teach. Belongs
here: fitting as pure functions. Not here: judging (learned), reading histories and files (learn).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.transforms.classifier import ComplaintClassifier
from pipelines.transforms.fitting import train
from pipelines.transforms.gazetteer import Gazetteer
from pipelines.transforms.hearing import hear
from pipelines.transforms.learned import (
    HEAD,
    SURENESS,
    WITNESSES,
    Learned,
    Phrase,
    Table,
    doubts,
    share_of,
)
from pipelines.transforms.phrases import key_of, kind_of, phrases, tokens, voiced

_HELD = 0.25  # share of the reports, the newest, on which both weights are fitted
_PRIOR = 3e-3  # pull of the witnesses' weights towards 0
_LEAST = 0.02  # purity below which a line says nothing

Progress = Callable[[str, int, int], None]  # (stage, done, of)


@dataclass(frozen=True, slots=True)
class Resolved:
    """Resolved reports in the order of their time, masked.

    addresses: as written, or a report's text where it has none; said: address and text together; codes: the kelurahan of
    each, all known to the gazetteer; days: ISO, "" where unknown; from_text: whether the address is the text.
    """

    addresses: list[str]
    said: list[str]
    codes: list[str]
    days: list[str]
    from_text: list[bool]

    def __len__(self) -> int:
        return len(self.codes)

    def part(self, start: int, end: int | None) -> Resolved:
        """Some of them, by their place in time."""
        return self.only(range(*slice(start, end).indices(len(self))))

    def only(self, rows: Sequence[int]) -> Resolved:
        """Some of them."""
        return Resolved(
            [self.addresses[i] for i in rows],
            [self.said[i] for i in rows],
            [self.codes[i] for i in rows],
            [self.days[i] for i in rows],
            [self.from_text[i] for i in rows],
        )


def fit(
    reports: Resolved, gazetteer: Gazetteer, *, bits: int, c: float, seed: int, most_per_label: int, min_support: int,
    min_text: float, progress: Progress,
) -> tuple[Learned, list[Phrase]]:  # fmt: skip
    """(what is learned, its table of phrases). ValueError where all reports are of one kelurahan.

    bits, c, seed, most_per_label: as fitting.train has them. min_support: different addresses, of different days, that
    must hold a phrase. min_text: share of reports without an address from which on texts are judged as well.
    """

    def taught(upto: int | None, stage: str) -> tuple[ComplaintClassifier, list[Phrase]]:
        some = reports.part(0, upto)
        labels = {HEAD: some.codes}
        nlp = train(
            [voiced(a) for a in some.addresses], labels, bits=bits, c=c, seed=seed, most_per_label=most_per_label,
            ordered=True, progress=lambda what, done, of: progress(f"{stage}: {what}", done, of),
        )  # fmt: skip
        return nlp.get_pipe("complaints"), table_of(some, min_support=min_support)

    reads_text = sum(reports.from_text) >= min_text * len(reports)
    if not reads_text:
        reports = reports.only([i for i, text in enumerate(reports.from_text) if not text])
    cut = round(len(reports) * (1 - _HELD))
    voice, lines = taught(cut, "trial")
    nothing = np.zeros(len(WITNESSES)), np.zeros(len(SURENESS) + 1)
    trial = Learned(voice, Table(lines, gazetteer), gazetteer, *nothing, reads_text)
    witnesses, sureness = _weights(trial, reports.part(cut, None), gazetteer)
    voice, lines = taught(None, "final")
    return Learned(voice, Table(lines, gazetteer), gazetteer, witnesses, sureness, reads_text), lines


def table_of(reports: Resolved, *, min_support: int) -> list[Phrase]:
    """The phrases that enough different addresses of different days (as far as days are known) hold."""
    different: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    days: dict[str, set[str]] = defaultdict(set)
    written: dict[str, Counter[str]] = defaultdict(Counter)
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for address, code, day in zip(reports.addresses, reports.codes, reports.days, strict=True):
        words = tokens(address)
        whole = tuple(words)
        for key, said in phrases(words).items():
            different[key].add(whole)
            days[key].add(day)
            written[key][said] += 1
            counts[key][code] += 1
    found = []
    for key in sorted(counts):
        if len(different[key]) < min_support or (len(days[key]) < 2 and days[key] != {""}):
            continue
        phrase = min(written[key], key=lambda p: (-written[key][p], p))
        support = counts[key].total()
        found += [
            Phrase(kind_of(phrase), phrase, code, support, round(n / support, 4))
            for code, n in sorted(counts[key].items(), key=lambda item: (-item[1], item[0]))
            if n / support >= _LEAST and key_of(phrase) == key
        ]
    return found


def _weights(
    trial: Learned, reports: Resolved, gazetteer: Gazetteer
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(witnesses, sureness) that make reports the trial has not seen most likely to be placed right."""
    from scipy.optimize import minimize
    from sklearn.linear_model import LogisticRegression

    heard = [hear(said, gazetteer) for said in reports.said]
    seen, _ = trial.look(reports.addresses, heard)
    wanted = trial.label_of[[gazetteer.row_of[code] for code in reports.codes]]
    right = seen.label == wanted[seen.owner]
    begins = np.flatnonzero(np.diff(seen.owner, prepend=-1))
    lengths = np.diff(begins, append=len(right))
    there = np.repeat(np.add.reduceat(right.astype(int), begins) > 0, lengths)  # else there is nothing to choose
    among = len(begins)

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        shares = share_of(seen.features @ weights, begins)
        missed = -np.log(shares[right] + 1e-12).sum() / among + _PRIOR * float(weights @ weights)
        slope = -(seen.features * (right - shares * there)[:, None]).sum(axis=0) / among + 2 * _PRIOR * weights
        return float(missed), slope

    witnesses = minimize(loss, np.zeros(len(WITNESSES)), jac=True, method="L-BFGS-B").x
    score = seen.features @ witnesses
    order = np.lexsort((seen.label, -score, seen.owner))
    told = doubts(seen, order, begins, share_of(score[order], begins), reports.from_text)
    hits = right[order[begins]]
    # One right and one wrong, of what is usual, keep the curve finite where all are right.
    usual = np.tile(told[:, :-1].mean(axis=0), (2, 1))
    often = np.append(np.ones(len(hits)), (0.5, 0.5))
    curve = LogisticRegression(C=1.0).fit(np.vstack((told[:, :-1], usual)), np.append(hits, (True, False)), often)
    return witnesses, np.append(curve.coef_[0], curve.intercept_[0])
