"""What the evidence in a made-up set connects: a bound on recall. The measures themselves are pipelines.agreement."""

from __future__ import annotations

from typing import Any

import pandas as pd


def reachable(truth: pd.DataFrame) -> float:
    """Share of same-incident pairs that a chain of evidence of one kind connects: points, streets or landmarks. Above
    it, recall is luck or learned from elsewhere. truth: incident, place, role."""
    kept = truth[truth["role"] != "not_fixed"]
    kinds = kept["place"].map({p: sum(_BITS.get(k, 0) for k in p.split("+")) for p in kept["place"].unique()})
    groups: dict[Any, list[tuple[int, int]]] = {}  # incident -> (kinds of evidence that connect, reports)
    true = 0
    for (incident, bits), count in kept.groupby(["incident", kinds]).size().items():
        true += count * (count - 1) // 2 + count * sum(n for _, n in groups.get(incident, ()))
        if not bits:  # nothing connects these, not even with one another
            groups.setdefault(incident, []).extend([(0, 1)] * count)
            continue
        apart = []
        for others, many in groups.get(incident, ()):
            if bits & others:
                bits, count = bits | others, count + many
            else:
                apart.append((others, many))
        groups[incident] = [*apart, (bits, count)]
    met = sum(n * (n - 1) // 2 for found in groups.values() for _, n in found)
    return met / true if true else 1.0


_BITS = {"point": 1, "street": 2, "landmark": 4}
