"""How sure a trained classifier may be: fitted on texts held out, and never more than labels bear out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import spacy
import srsly
from hypothesis import given, settings
from hypothesis import strategies as st
from spacy.language import Language

from pipelines.figures import calibration_error
from pipelines.transforms.classifier import ComplaintClassifier, blank, doubts
from pipelines.transforms.fitting import _aside, _sureness, train

WORDS = {"jalan": "aspal berlubang retak", "pohon": "dahan tumbang rimbun", "sampah": "bau menumpuk tercecer"}
SHAPE = {"bits": 12, "c": 0.3, "seed": 7, "units": 8, "passes": 5}


def history(rows: int, seed: int) -> tuple[list[str], list[str | None]]:
    """Clear texts, of whose labels one in four is another's: offices differ."""
    rng = np.random.default_rng(seed)
    names = sorted(WORDS)
    about = rng.integers(0, 3, rows)
    labelled = np.where(rng.random(rows) < 0.25, (about + 1) % 3, about)
    texts = [" ".join([names[i], *rng.choice(WORDS[names[i]].split(), 2), f"rt {rng.integers(1, 99)}"]) for i in about]
    return texts, [names[i] for i in labelled]


@pytest.fixture(scope="module")
def trained() -> Language:
    texts, labels = history(900, 1)
    return train(texts, {"category": labels}, ordered=True, **SHAPE)


def component(nlp: Language) -> ComplaintClassifier:
    return nlp.get_pipe("complaints")


def without_curve(model: ComplaintClassifier) -> ComplaintClassifier:
    heads = {name: replace(head, sureness=()) for name, head in model.heads.items()}
    other: ComplaintClassifier = blank().get_pipe("complaints")
    other.learn(replace(model.weights, heads=heads))
    return other


def test_where_offices_differ_a_clear_text_is_judged_no_surer_than_they_agree(trained: Language) -> None:
    texts, labels = history(1_000, 2)
    judged = component(trained).predict(texts)["category"]
    hit = np.array([judged.labels[i] == label for i, label in zip(judged.first, labels, strict=True)])
    assert hit.mean() == pytest.approx(0.75, abs=0.05)
    assert judged.confidence.mean() == pytest.approx(hit.mean(), abs=0.05)
    assert calibration_error(hit, judged.confidence) < 0.06


def test_the_curve_changes_how_sure_and_not_what(trained: Language) -> None:
    texts = [*history(200, 3)[0], "", "jalan sampah pohon", "lain sekali"]
    one, other = (m.predict(texts)["category"] for m in (component(trained), without_curve(component(trained))))
    assert np.array_equal(one.first, other.first)
    assert np.array_equal(one.second, other.second)
    assert not np.array_equal(one.confidence, other.confidence)
    chance = component(trained).chances(texts, "category")
    assert np.array_equal(other.confidence, chance.max(axis=1).round(9))


def test_a_curve_travels_with_its_pipeline_and_nlp_pipe_says_the_same(trained: Language, tmp_path: Path) -> None:
    trained.to_disk(tmp_path / "model")
    loaded = spacy.load(tmp_path / "model")
    texts = [*history(600, 4)[0], "", "jalan sampah pohon"]
    judged = component(trained).predict(texts)["category"]
    assert component(loaded).heads["category"].sureness == component(trained).heads["category"].sureness != ()
    for i, doc in enumerate(loaded.pipe(texts)):
        assert doc.cats == {f"category:{judged.labels[judged.first[i]]}": float(judged.confidence[i])}


def test_a_version_saved_before_there_were_curves_judges_as_it_did(trained: Language) -> None:
    raw = srsly.msgpack_loads(component(trained).to_bytes())
    del raw["meta"]["sureness"]
    old = component(blank()).from_bytes(srsly.msgpack_dumps(raw))
    texts = history(50, 5)[0]
    want = without_curve(component(trained)).predict(texts)["category"]
    assert np.array_equal(old.predict(texts)["category"].confidence, want.confidence)


def test_softened_a_version_with_a_curve_is_less_sure_too(trained: Language) -> None:
    texts, labels = history(900, 1)
    soft = component(train(texts, {"category": labels}, ordered=True, soften=0.5, **SHAPE)).predict(texts)["category"]
    hard = component(trained).predict(texts)["category"]
    assert np.array_equal(hard.first, soft.first)
    assert (soft.confidence <= hard.confidence).all()


def test_without_an_order_of_time_or_with_few_texts_the_probability_is_the_confidence() -> None:
    texts, labels = history(900, 1)
    for given_, ordered in ((900, False), (90, True)):
        model = train(texts[:given_], {"category": labels[:given_]}, ordered=ordered, **SHAPE)
        assert component(model).heads["category"].sureness == ()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(100, 300), st.floats(0, 1), st.floats(0.1, 20))
def test_a_greater_lead_never_makes_less_sure(seed: int, rows: int, agree: float, sharp: float) -> None:
    rng = np.random.default_rng(seed)
    chance = rng.dirichlet(np.ones(4) / sharp, rows) + 1e-9
    right = np.where(rng.random(rows) < agree, chance.argmax(axis=1), rng.integers(0, 4, rows))
    lead, share, start = _sureness(chance, right)
    assert lead >= 0
    assert share >= 0
    assert np.isfinite([lead, share, start]).all()


def test_the_curve_reads_the_lead_and_the_share() -> None:
    read = doubts(np.array([0.6, 1.0]), np.array([0.3, 0.0]))
    assert read[0] == pytest.approx([np.log(2), np.log(0.6), 1])
    assert read[1] == pytest.approx([np.log(1e12), 0, 1])  # a lead over nothing is great, and finite


def test_the_newest_of_what_has_a_date_is_held_out_and_some_of_every_label_of_what_has_none() -> None:
    corpus = np.repeat([0, 1, 2], 100)  # as files come: label after label
    nothing = np.full(300, -1)
    targets = {
        "kind": np.concatenate((corpus, np.full(600, -1))),
        "topic": np.concatenate((nothing, np.arange(600) % 5)),
    }
    aside = _aside(targets, 0.2, 300, seed=1)
    assert np.flatnonzero(aside[300:]).tolist() == list(range(480, 600))
    assert np.bincount(corpus[aside[:300]]).tolist() == [20, 20, 20]


def test_too_few_dated_rows_tell_nothing_so_some_of_every_label_are_held_out() -> None:
    topic = np.concatenate((np.repeat([0, 1], 500), np.zeros(40, int)))
    aside = _aside({"topic": topic}, 0.2, 1_000, seed=1)
    assert np.bincount(topic[aside]).tolist() == [108, 100]


def test_where_every_row_has_a_date_the_newest_are_held_out_however_few() -> None:
    assert np.flatnonzero(_aside({"topic": np.arange(20) % 2}, 0.2, 0, seed=1)).tolist() == [16, 17, 18, 19]
