"""How well tickets meet the incidents that people told of: pure functions over arrays and frames.

All from the contingency table of incidents and tickets, so a million reports take seconds and no
pair is enumerated. A report that says that the work was not done (role not_fixed) may rightly reopen
the ticket or open one that follows it; it stays out of the clusters and has a figure of its own.
Not here: reading what people judged and what the pipeline linked (incidents), how it looks (console_links).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray


class Clustering(NamedTuple):
    """Shares of 1; 1 where there is nothing to be right or wrong about.

    pure: share of tickets of two reports and more whose reports are all of one incident.
    whole: share of incidents of two reports and more whose reports are all in one ticket.
    largest: reports of the largest ticket.
    """

    pair_precision: float
    pair_recall: float
    pair_f1: float
    pure: float
    whole: float
    b_cubed_precision: float
    b_cubed_recall: float
    b_cubed_f1: float
    tickets: int
    incidents: int
    largest: int


@dataclass(frozen=True, slots=True)
class Scores:
    """copies: by role, share of copies in the ticket of the report copied; `all` of them together. hard: by kind, share of hard
    pairs merged; `all`. recall_by_role: how much of its incident's other reports a report's ticket holds, on average.
    levels: by level, (reports that joined so, share of them whose ticket was opened by their own incident).
    followed: share of the not_fixed in a ticket of their incident, or in one that follows it."""

    clustering: Clustering
    copies: Mapping[str, float]
    hard: Mapping[str, float]
    recall_by_role: Mapping[str, float]
    levels: Mapping[str, tuple[int, float]]
    followed: float


def clustering(incident: NDArray[Any], ticket: NDArray[Any]) -> Clustering:
    """Both: one label a report, in the same order."""
    i, j, both = _contingency(incident, ticket)
    if not len(both):
        return Clustering(1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0, 0, 0)
    in_incident, in_ticket = np.bincount(i, both), np.bincount(j, both)
    shared, told, true = _pairs(both), _pairs(in_ticket), _pairs(in_incident)
    precision, recall = _share(shared, told), _share(shared, true)
    reports = both.sum()
    b_precision = float((both**2 / in_ticket[j]).sum() / reports)
    b_recall = float((both**2 / in_incident[i]).sum() / reports)
    return Clustering(
        precision, recall, _f1(precision, recall), _undivided(in_ticket, np.bincount(j)),
        _undivided(in_incident, np.bincount(i)),
        b_precision, b_recall, _f1(b_precision, b_recall), len(in_ticket), len(in_incident), int(in_ticket.max()),
    )  # fmt: skip


def evaluate(
    truth: pd.DataFrame, hard: pd.DataFrame, found: pd.DataFrame, follows: Mapping[Any, Any] | None = None
) -> Scores:
    """truth: report_id, incident, role, copy_of, one row a report in the order of arrival. hard: a, b, hard.
    found: report_id, ticket_id, and level if known. follows: ticket -> the ticket that it follows.

    Raises ValueError where a report of the truth has no ticket or several.
    """
    if found["report_id"].duplicated().any():
        raise ValueError("a report has several tickets")
    ticket_of = found.set_index("report_id")["ticket_id"]
    tickets = truth["report_id"].map(ticket_of)
    if tickets.isna().any():
        raise ValueError(f"{int(tickets.isna().sum())} reports have no ticket")
    table = truth.assign(ticket=pd.factorize(tickets)[0], ticket_id=tickets)
    kept = table[table["role"] != "not_fixed"]
    levels = found.set_index("report_id")["level"] if "level" in found else None
    return Scores(
        clustering(kept["incident"].to_numpy(), kept["ticket"].to_numpy()),
        _copies(kept, ticket_of),
        _hard(hard, ticket_of),
        recall_by(kept["incident"].to_numpy(), kept["ticket"].to_numpy(), kept["role"]),
        _levels(table, levels) if levels is not None else {},
        _followed(table, follows or {}),
    )


def recall_by(incident: NDArray[Any], ticket: NDArray[Any], by: pd.Series) -> dict[str, float]:
    """Per value of `by`: mean share of the incident's other reports that a report's ticket holds."""
    if not len(incident):
        return {}
    i, j = pd.factorize(incident)[0], pd.factorize(ticket)[0]
    _, cell, both = np.unique(_cells(i, j), return_inverse=True, return_counts=True)
    others = np.bincount(i)[i] - 1
    many = others > 0
    share = pd.Series((both[cell] - 1)[many] / others[many])
    return {name: float(mean) for name, mean in share.groupby(by.to_numpy()[many]).mean().items()}


class Divided(NamedTuple):
    """A group whose reports lie in several parts. parts: (label, positions of its reports), the largest first."""

    group: Any
    parts: list[tuple[Any, list[int]]]


def most_divided(group: NDArray[Any], part: NDArray[Any], most: int) -> list[Divided]:
    """The groups in most parts, worst first; of equals the one with more pairs apart, then the one seen first.

    Of tickets and incidents: what a ticket mixes. Of incidents and tickets: what an incident was torn into.
    """
    g, _, both = _contingency(group, part)
    parts, rows = np.bincount(g), np.bincount(g, both).astype(np.int64)
    apart = rows**2 - np.bincount(g, both.astype(np.int64) ** 2).astype(np.int64)
    order = np.lexsort((-apart, -parts))[:most]
    labels, first = pd.factorize(group)
    return [Divided(first[n], _parts(np.flatnonzero(labels == n), part)) for n in order if parts[n] > 1]


def _parts(rows: NDArray[Any], part: NDArray[Any]) -> list[tuple[Any, list[int]]]:
    found: dict[Any, list[int]] = {}
    for row in rows.tolist():
        found.setdefault(part[row], []).append(row)
    return sorted(found.items(), key=lambda item: -len(item[1]))


def _copies(kept: pd.DataFrame, ticket_of: pd.Series) -> dict[str, float]:
    copies = kept[kept["copy_of"].notna()]
    met = copies["ticket_id"].to_numpy() == copies["copy_of"].map(ticket_of).to_numpy()
    return _by(met, copies["role"])


def _hard(hard: pd.DataFrame, ticket_of: pd.Series) -> dict[str, float]:
    merged = hard["a"].map(ticket_of).to_numpy() == hard["b"].map(ticket_of).to_numpy()
    return _by(merged, hard["hard"])


def _by(flags: NDArray[Any], by: pd.Series) -> dict[str, float]:
    if not len(flags):
        return {}
    each = pd.Series(flags.astype(float)).groupby(by.to_numpy()).mean()
    return {**{name: float(mean) for name, mean in each.items()}, "all": float(flags.mean())}


def _levels(table: pd.DataFrame, levels: pd.Series) -> dict[str, tuple[int, float]]:
    """A ticket is of the incident of its first report in the order given."""
    firsts = table.drop_duplicates("ticket")
    opener = table["ticket"].map(firsts.set_index("ticket")["incident"])
    joined = ~table.index.isin(firsts.index)
    right = (opener == table["incident"])[joined]
    level = table["report_id"].map(levels)[joined]
    return {name: (len(r), float(r.mean())) for name, r in right.groupby(level)}


def _followed(table: pd.DataFrame, follows: Mapping[Any, Any]) -> float:
    again = table[table["role"] == "not_fixed"]
    earlier = table[(table["role"] != "not_fixed") & table["incident"].isin(again["incident"])]
    known = set(zip(earlier["incident"], earlier["ticket_id"], strict=True))
    met = sum(
        (incident, ticket) in known or (incident, follows.get(ticket)) in known
        for incident, ticket in zip(again["incident"], again["ticket_id"], strict=True)
    )
    return _share(met, len(again))


def _contingency(a: NDArray[Any], b: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """(incident, ticket, how many reports) of every cell that is not empty."""
    i, j = pd.factorize(a)[0], pd.factorize(b)[0]
    cells, both = np.unique(_cells(i, j), return_counts=True)
    width = int(j.max()) + 1 if len(j) else 1
    return cells // width, cells % width, both


def _cells(i: NDArray[Any], j: NDArray[Any]) -> NDArray[np.int64]:
    width = int(j.max()) + 1 if len(j) else 1
    return i.astype(np.int64) * width + j


def _undivided(counts: NDArray[Any], parts: NDArray[Any]) -> float:
    """Share of the groups of two and more that are in one part."""
    many = counts > 1
    return _share(int((parts[many] == 1).sum()), int(many.sum()))


def _pairs(counts: NDArray[Any]) -> int:
    counts = counts.astype(np.int64)
    return int((counts * (counts - 1) // 2).sum())


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 1.0


def _f1(precision: float, recall: float) -> float:
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0
