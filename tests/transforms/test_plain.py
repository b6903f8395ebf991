"""Plain everyday complaints (cases/plain.tsv), sent without a category, are taken for what they are."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pytest
from read_cases import cases

from pipelines.contracts import column
from pipelines.knowledge import Knowledge
from pipelines.transforms.classifier import ComplaintClassifier
from pipelines.transforms.classify import classify
from pipelines.transforms.route import assign

_PLAIN = cases("plain")


def agency_of(text: str | None, category: str | None, knowledge: Knowledge) -> tuple[str, str]:
    """(agency, rule) by the rules alone."""
    found = assign(text or "", channel="jaki", category=category, kota=None, kelurahan=None, routing=knowledge.routing)
    return found.agency_id, found.route_rule


def test_most_plain_complaints_get_their_category_and_hardly_one_a_wrong_one(
    own_classifier: ComplaintClassifier, own_knowledge: Knowledge, reports: Callable[..., pd.DataFrame]
) -> None:
    judged = classify(
        reports([case["text"] for case in _PLAIN]), model=own_classifier, taxonomy=own_knowledge.taxonomy,
        thresholds=own_knowledge.thresholds,
    )  # fmt: skip
    pairs = [(found, case["category"]) for found, case in zip(column(judged, "category"), _PLAIN, strict=True)]
    wrong = [(found, wanted) for found, wanted in pairs if found not in (None, wanted)]
    assert sum(found == wanted for found, wanted in pairs) >= 0.85 * len(pairs)
    assert len(wrong) <= 0.05 * len(pairs), wrong


@pytest.mark.parametrize("case", [c for c in _PLAIN if c["agency"]], ids=lambda c: c["text"])
def test_the_agency_of_a_plain_complaint_is_the_one_that_is_certain(case: dict, own_knowledge: Knowledge) -> None:
    assert agency_of(case["text"], case["category"], own_knowledge)[0] == case["agency"]


@pytest.mark.parametrize(
    ("text", "agency"),
    [
        ("saluran mampet", "sda"), ("air menggenang habis hujan", "sda"), ("toilet mampet", "biro_pemerintahan"),
        ("air ledeng keruh", "bp_bumd"), ("ada ular masuk rumah", "gulkarmat"), ("monyet lepas", "dkpkp"),
        ("sopir angkot ugal-ugalan", "perhubungan"), ("jalan ambles", "bina_marga"), ("sembako mahal", "ppkukm"),
    ],
)  # fmt: skip
def test_an_undecided_category_leaves_the_agency_to_the_words(text: str, agency: str, own_knowledge: Knowledge) -> None:
    assert agency_of(text, None, own_knowledge)[0] == agency
