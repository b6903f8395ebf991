"""Choosing a threshold where the truth may be looked at: on a set of another seed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import pandas as pd
from numpy.typing import NDArray

from pipelines.agreement import Clustering, clustering

PURE = 0.9


class Scored(NamedTuple):
    """A grouping that was tried, and how it met the truth."""

    threshold: float
    way: str
    score: Clustering

    def told(self) -> dict[str, Any]:
        return {"threshold": self.threshold, "way": self.way, **self.score._asdict()}


def scored(truth: pd.DataFrame, tickets: NDArray[Any], threshold: float, way: str) -> Scored:
    """truth: incident and role, in the order of the tickets; reports that work was not done stay out."""
    kept = (truth["role"] != "not_fixed").to_numpy()
    return Scored(threshold, way, clustering(truth["incident"].to_numpy()[kept], tickets[kept]))


def best(tried: Iterable[Scored]) -> Scored:
    """The highest B-cubed F1."""
    return max(tried, key=lambda t: t.score.b_cubed_f1)


def purest(tried: Iterable[Scored], pure: float = PURE) -> Scored | None:
    """The highest recall of same-incident pairs where so many of the tickets of two and more are pure; None if none."""
    return max((t for t in tried if t.score.pure >= pure), key=lambda t: t.score.pair_recall, default=None)
