"""Classify: whose judgement counts, and what it says where nobody is sure."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.contracts import column
from pipelines.knowledge import Knowledge
from pipelines.transforms.classifier import ComplaintClassifier
from pipelines.transforms.classify import NONE, Thresholds, choose, classify

LIMITS = Thresholds(accept=0.5, override=0.85, reported=0.65, kind=0.6, thanks=0.9)


@pytest.mark.parametrize(
    ("model", "sure", "reported", "catch_all", "want"),
    [
        ("jalan", 0.9, "jalan", False, ("jalan", 0.9, "agreed")),
        ("jalan", 0.2, "jalan", False, ("jalan", 0.65, "agreed")),
        ("pohon", 0.84, "jalan", False, ("jalan", 0.65, "reported")),
        ("pohon", 0.85, "jalan", False, ("pohon", 0.85, "model")),
        ("pohon", 0.5, "pelayanan", True, ("pohon", 0.5, "model")),
        ("pohon", 0.49, "pelayanan", True, ("pelayanan", 0.325, "reported")),
        ("pohon", 0.5, None, False, ("pohon", 0.5, "model")),
        ("pohon", 0.49, None, False, (None, 0.0, "none")),
        (NONE, 0.99, None, False, (None, 0.0, "none")),
        (NONE, 0.99, "jalan", False, ("jalan", 0.65, "reported")),
    ],
)  # fmt: skip
def test_the_citizens_choice_stands_unless_it_says_little_or_the_model_is_very_sure(
    model: str, sure: float, reported: str | None, catch_all: bool, want: tuple
) -> None:
    assert choose(model, sure, reported, catch_all=catch_all, thresholds=LIMITS) == want


@given(
    st.sampled_from(["jalan", "pohon", NONE]), st.floats(0, 1), st.none() | st.sampled_from(["jalan", "pelayanan"]),
    st.booleans(),
)  # fmt: skip
def test_a_category_is_empty_exactly_where_nobody_judged(
    model: str, sure: float, reported: str | None, catch_all: bool
) -> None:
    category, confidence, source = choose(model, sure, reported, catch_all=catch_all, thresholds=LIMITS)
    assert (category is None) == (source == "none") == (confidence == 0.0)
    assert 0 <= confidence <= 1


def test_labels_of_channels_become_categories_whatever_their_case(own_knowledge: Knowledge) -> None:
    taxonomy = own_knowledge.taxonomy
    assert [taxonomy.category_of(x) for x in ("PARKIR  LIAR", " Jalan ", "Banjir", "Statistik Pusat", None, 3)] == [
        "parkir_liar", "jalan", "banjir", None, None, None,
    ]  # fmt: skip


class Fixed:
    """A judge whose opinion is known."""

    def explain(self, texts: list[str], head: str) -> tuple[dict, list[str]]:
        self.texts = texts

        def head_of(labels: list[str], first: list[int], sure: list[float]) -> SimpleNamespace:
            return SimpleNamespace(
                labels=labels, first=np.array(first), second=np.zeros(len(first), int), confidence=np.array(sure)
            )

        return {
            "category": head_of(["jalan", NONE], [0, 1], [0.9, 0.9]),
            "kind": head_of(["complaint", "question"], [1, 1], [0.59, 0.6]),
        }, ["lubang", ""]


def test_a_table_is_judged_by_title_and_text_and_unsure_kinds_are_complaints(
    own_knowledge: Knowledge, reports: Callable[..., pd.DataFrame]
) -> None:
    judge = Fixed()
    frame = reports(["lubang besar", "halo"], title=["Jalan", None], category_reported=[None, "Pohon"])
    found = classify(frame, model=judge, taxonomy=own_knowledge.taxonomy, thresholds=LIMITS)
    assert judge.texts == ["Jalan\nlubang besar", "halo"]
    added = ("kind", "kind_confidence", "category", "category_confidence", "category_source", "category_model",
             "category_runner_up", "category_evidence", "category_reported", "category_label")  # fmt: skip
    assert {c: column(found, c) for c in added} == {
        "kind": ["complaint", "question"], "kind_confidence": [0.5, 0.6], "category": ["jalan", "pohon"],
        "category_confidence": [0.9, 0.65], "category_source": ["model", "reported"], "category_model": ["jalan", None],
        "category_runner_up": ["jalan", "jalan"], "category_evidence": ["lubang", ""],
        "category_reported": [None, "pohon"], "category_label": [None, "Pohon"],
    }  # fmt: skip


def test_the_trained_classifier_knows_plain_cases(
    own_knowledge: Knowledge, own_classifier: ComplaintClassifier, reports: Callable[..., pd.DataFrame]
) -> None:
    plain = {
        "Jalan berlubang cukup dalam, sudah banyak motor jatuh, mohon segera ditambal": "jalan",
        "Lampu PJU padam sudah seminggu, jalanan jadi gelap gulita": "penerangan_listrik",
        "Banyak mobil parkir liar di bahu jalan depan ruko": "parkir_liar",
        "Pohon besar miring dan rimbun, mohon dipangkas sebelum tumbang": "pohon",
        "Sampah menumpuk belum diangkut petugas, baunya menyengat": "sampah",
    }
    found = classify(
        reports(list(plain)), model=own_classifier, taxonomy=own_knowledge.taxonomy,
        thresholds=own_knowledge.thresholds,
    )  # fmt: skip
    assert column(found, "category") == list(plain.values())
    assert set(column(found, "kind")) == {"complaint"}
    assert all(column(found, "category_evidence"))


def test_nothing_said_is_nothing_judged(
    own_knowledge: Knowledge, own_classifier: ComplaintClassifier, reports: Callable[..., pd.DataFrame]
) -> None:
    for texts in ([], ["", "?!", "zzzqqq"]):
        found = classify(
            reports(texts), model=own_classifier, taxonomy=own_knowledge.taxonomy, thresholds=own_knowledge.thresholds
        )
        assert column(found, "category") == [None] * len(texts)
        assert column(found, "category_source") == ["none"] * len(texts)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Terima kasih petugas, got depan rumah kami sudah bersih sekarang", "appreciation"),
        ("Lampu jalan sudah beberapa hari mati, mohon diperbaiki. Terima kasih", "complaint"),
        ("TOLONG dibersihkan, terimakasih banyak petugas", "complaint"),
        ("Butuh dipangkas agar rapi. Sukses selalu", "complaint"),
        ("Selamat pagi, saya melaporkan dua lubang di depan toko roti. Sekian terima kasih", "complaint"),
        ("Terima kasih sudah dibalas, tapi data saya masih salah. Terima kasih", "complaint"),
        ("Saya belum dapat jatah, kok bisa begitu ya pak. Terima kasih banyak, sehat selalu", "complaint"),
    ],
)
def test_whoever_asks_for_something_complains_however_politely_it_ends(
    own_knowledge: Knowledge, own_classifier: ComplaintClassifier, text: str, kind: str
) -> None:
    """Complaints that end in thanks were once taken for thanks, and got no ticket."""
    said = pd.DataFrame({"text": [text], "title": [None], "category_reported": [None]})
    found = classify(said, model=own_classifier, taxonomy=own_knowledge.taxonomy, thresholds=own_knowledge.thresholds)
    assert found["kind"].tolist() == [kind]
