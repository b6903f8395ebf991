"""Masked reports -> kind, category and what the model thinks of the agency, with confidence and runner-up.

Two judgements meet: the classifier's and the citizen's own choice. Which one counts is a rule, and
`category_source` names it. Where neither is sure enough the category stays empty and the report
waits for review. Belongs here: that rule, and every question the model is asked, in one pass. Not
here: the model itself (classifier), which agency counts (agency).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pandas as pd

from pipelines.contracts import column


class Classifier(Protocol):
    """What classify asks of the trained component (transforms/classifier.py)."""

    def explain(self, texts: list[str], head: str) -> tuple[Mapping[str, Any], list[str]]: ...


@dataclass(frozen=True, slots=True)
class Taxonomy:
    """names: id -> official name; aliases: folded label -> id; catch_all: ids that say little;
    groups: id -> coarse group, within which reports may be one incident."""

    names: Mapping[str, str]
    aliases: Mapping[str, str]
    catch_all: frozenset[str]
    groups: Mapping[str, str]

    def category_of(self, label: object) -> str | None:
        """Category id of a label as a channel writes it; None for no or an unknown label."""
        if not isinstance(label, str):
            return None
        return self.aliases.get(fold_label(label))


@dataclass(frozen=True, slots=True)
class Thresholds:
    """When a judgement counts; confidences 0..1, from models/classifier.toml.

    accept: the model alone is believed from here on. override: from here on it is believed against
    the citizen's choice. reported: how far a citizen's choice is believed where the model is unsure.
    kind: below it the kind is a complaint, by far the most frequent; thanks: the same for
    thanks, which open no ticket. agency, agency_doubt: see agency.Trust
    (accept, doubt). asks: words of whoever asks for
    something, which thanks alone never do.
    """

    accept: float
    override: float
    reported: float
    kind: float
    thanks: float
    agency: float = 0.85
    agency_doubt: float = 0.60
    asks: re.Pattern[str] | None = None


THANKS = "appreciation"
NONE = "lainnya"  # the corpus' label for texts that belong to no category


def fold_label(label: str) -> str:
    return " ".join(label.lower().split())


def classify(reports: pd.DataFrame, *, model: Classifier, taxonomy: Taxonomy, thresholds: Thresholds) -> pd.DataFrame:
    """Add kind*, category* columns of contracts.REPORTS, agency_model and agency_runner_up as the model labels them
    (None where it judges no agency), and agency_sure, its confidence, which route takes away.

    reports: text, title (masked), category_reported (label as written, or None).
    """
    spoken = [
        f"{title}\n{text}" if title else text
        for title, text in zip(column(reports, "title"), column(reports, "text"), strict=True)
    ]
    judged, evidence = model.explain(spoken, "category")
    category, kind = judged["category"], judged.get("kind")
    labels = column(reports, "category_reported")
    reported = [taxonomy.category_of(label) for label in labels]
    first = [category.labels[i] for i in category.first]
    second = [category.labels[i] for i in category.second]
    sure = category.confidence.tolist()
    chosen = [
        choose(f, c, r, catch_all=r in taxonomy.catch_all, thresholds=thresholds)
        for f, c, r in zip(first, sure, reported, strict=True)
    ]
    kinds = [kind.labels[i] for i in kind.first] if kind else ["complaint"] * len(spoken)
    kind_sure = kind.confidence.tolist() if kind else [0.5] * len(spoken)
    certain = [
        k == "complaint"
        or (
            c >= (thresholds.thanks if k == THANKS else thresholds.kind)
            and not (k == THANKS and asks(text, thresholds))
        )
        for k, c, text in zip(kinds, kind_sure, spoken, strict=True)
    ]
    return reports.drop(columns="category_reported").assign(
        kind=[k if ok else "complaint" for k, ok in zip(kinds, certain, strict=True)],
        kind_confidence=[round(c, 3) if ok else 0.5 for c, ok in zip(kind_sure, certain, strict=True)],
        category=[c for c, _, _ in chosen],
        category_confidence=[round(p, 3) for _, p, _ in chosen],
        category_source=[s for _, _, s in chosen],
        category_model=[None if f == NONE else f for f in first],
        category_runner_up=[None if s == NONE else s for s in second],
        category_evidence=evidence,
        category_reported=reported,
        category_label=labels,
        **_agency(judged.get("agency"), len(spoken)),
    )


def _agency(judged: Any, reports: int) -> dict[str, Any]:
    """The columns that the head for agencies fills, where the model has one."""
    if judged is None:
        empty = pd.array([None] * reports, dtype="string")
        return {"agency_model": empty, "agency_runner_up": empty, "agency_sure": 0.0}
    names = judged.labels
    return {
        "agency_model": [names[i] for i in judged.first],
        "agency_runner_up": [names[i] for i in judged.second],
        "agency_sure": judged.confidence,
    }


def words_pattern(words: Sequence[str]) -> re.Pattern[str]:
    """Any of these words or phrases, whole, in lower-case text."""
    return re.compile(rf"\b(?:{'|'.join(re.escape(w.lower()) for w in words)})\b")


def asks(text: str, thresholds: Thresholds) -> bool:
    """Whether a text asks for something: then it is no mere thanks, however it ends."""
    return thresholds.asks is not None and thresholds.asks.search(text.lower()) is not None


def choose(
    model: str, confidence: float, reported: str | None, *, catch_all: bool, thresholds: Thresholds
) -> tuple[str | None, float, str]:
    """(category that counts or None, its confidence, whose judgement it is).

    The citizen's choice stands unless it is a catch-all or the model is very sure of another; the
    model alone stands from `accept` on; otherwise a person decides.
    """
    if reported and model == reported:
        return reported, max(confidence, thresholds.reported), "agreed"
    if reported and not catch_all:
        if model != NONE and confidence >= thresholds.override:
            return model, confidence, "model"
        return reported, thresholds.reported, "reported"
    if model != NONE and confidence >= thresholds.accept:
        return model, confidence, "model"
    if reported:  # a catch-all is better than nothing, but only just
        return reported, thresholds.reported / 2, "reported"
    return None, 0.0, "none"
