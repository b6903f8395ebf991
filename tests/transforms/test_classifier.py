"""The component inside spaCy: the same judgement by every way of asking, and the same weights for the same corpus."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import spacy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import sparse

from pipelines import classifiers
from pipelines.settings import Settings
from pipelines.transforms.classifier import ComplaintClassifier, blank
from pipelines.transforms.fitting import train
from pipelines.transforms.network import Task, fit_network, mean_of
from pipelines.transforms.ngrams import BATCH, Lexicon, fold_word, seen_in, vectors, words_of

SAID = [
    "Jalan berlubang cukup dalam", "lampu pju padam bangettttt 2 hari", "", "   ", "?!", "Pohon tumbang menimpa kabel",
    "sampah sampah sampah", "a", "é", "Mohon info jadwal layanan KTP", "x" * 3_000, "jalan\nrusak",
]  # fmt: skip
KIND = {"bits": 12, "c": 0.3, "seed": 7}
DEEP = KIND | {"units": 8, "passes": 5}
TINY = [
    f"{word} {n}"
    for word in ("jalan rusak berlubang", "pohon tumbang rimbun", "sampah bau menumpuk")
    for n in "abcdefgh"
]
LABELS = {"category": [w.split()[0] for w in TINY], "kind": ["complaint", "question"] * 12}


def the_same(one: dict, other: dict) -> bool:
    return all(
        one[h].labels == other[h].labels
        and np.array_equal(one[h].first, other[h].first)
        and np.array_equal(one[h].second, other[h].second)
        and np.array_equal(one[h].confidence, other[h].confidence)
        for h in one
    )


def test_predict_explain_and_nlp_pipe_say_the_same(own_settings: Settings) -> None:
    nlp = spacy.load(classifiers.build(own_settings))
    component: ComplaintClassifier = nlp.get_pipe("complaints")
    said = SAID * 60  # more than one batch
    predicted = component.predict(said)
    explained, evidence = component.explain(said, "category")
    assert len(said) > BATCH
    assert the_same(predicted, explained)
    assert evidence == component.evidence(said, "category", predicted["category"].first)
    for i, doc in enumerate(nlp.pipe(said)):
        assert doc.cats == {f"{h}:{p.labels[p.first[i]]}": float(p.confidence[i]) for h, p in predicted.items()}
    assert nlp(said[0]).cats == next(iter(nlp.pipe(said[:1]))).cats


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(max_size=60) | st.sampled_from(SAID), max_size=8))
def test_a_text_is_judged_the_same_in_any_company(own_classifier: ComplaintClassifier, texts: list[str]) -> None:
    together, evidence = own_classifier.explain(texts, "category")
    for i, text in enumerate(texts):
        alone, words = own_classifier.explain([text], "category")
        for head, prediction in alone.items():
            assert together[head].first[i] == prediction.first[0]
            assert together[head].confidence[i] == pytest.approx(prediction.confidence[0], abs=1e-6)
        assert evidence[i] == words[0]


def test_saved_and_loaded_it_judges_the_same(tmp_path: Path) -> None:
    nlp = train(TINY, LABELS, leans_on="kind", **DEEP)
    nlp.to_disk(tmp_path / "model")
    loaded = spacy.load(tmp_path / "model").get_pipe("complaints")
    assert the_same(nlp.get_pipe("complaints").predict(SAID), loaded.predict(SAID))
    copied = blank().get_pipe("complaints").from_bytes(loaded.to_bytes())
    assert the_same(loaded.predict(SAID), copied.predict(SAID))


def test_the_same_corpus_and_seed_give_the_same_weights() -> None:
    one, other = (train(TINY, LABELS, **DEEP).get_pipe("complaints") for _ in range(2))
    assert one.to_bytes() == other.to_bytes()


def test_softened_confidences_are_lower_and_the_choice_is_the_same() -> None:
    hard = train(TINY, LABELS, **KIND).get_pipe("complaints").predict(TINY)["category"]
    soft = train(TINY, LABELS, soften=0.5, **KIND).get_pipe("complaints").predict(TINY)["category"]
    assert np.array_equal(hard.first, soft.first)
    assert (soft.confidence < hard.confidence).all()


def test_a_text_without_a_label_for_a_head_teaches_that_head_nothing() -> None:
    some = {**LABELS, "agency": ["a", "b", None] * 8}
    component = train(TINY, some, **DEEP).get_pipe("complaints")
    assert component.heads["agency"].labels == ("a", "b")  # nothing is not a label, nor is it the first one
    known = [i for i, label in enumerate(some["agency"]) if label]
    only = train([TINY[i] for i in known], {h: [v[i] for i in known] for h, v in some.items()}, **KIND)
    said = component.heads["agency"].weights.shape, only.get_pipe("complaints").heads["agency"].weights.shape
    assert said[0][1] == said[1][1] == 2


def test_several_networks_speak_as_the_mean_of_their_scores() -> None:
    texts = sparse.random(30, 40, 0.3, format="csr", dtype=np.float32, random_state=1)
    tasks = [Task(np.arange(30) % 3, 3), Task(np.arange(30) % 2, 2)]
    fitted = [
        fit_network(texts, tasks, np.ones(30), units=4, passes=3, seed=seed, progress=lambda *_: None)
        for seed in (1, 2)
    ]
    for task in (0, 1):
        mean = (fitted[0].scores(texts, task) + fitted[1].scores(texts, task)) / 2
        assert np.allclose(mean_of(fitted).scores(texts, task), mean, atol=1e-5)


def test_an_empty_label_is_a_label_and_none_is_not() -> None:
    odd = {"category": [None if i % 3 == 0 else "" if i % 3 == 1 else "x" for i in range(24)]}
    assert train(TINY, odd, **KIND).get_pipe("complaints").heads["category"].labels == ("", "x")


def test_of_a_frequent_label_the_last_texts_are_learned_from() -> None:
    early, late = ["kata lama"] * 8, ["kata baru"] * 8
    both = {"category": ["x"] * 16 + ["y"] * 8}
    nlp = train(early + late + ["lain sekali"] * 8, both, most_per_label=8, **KIND)
    lexicon = nlp.get_pipe("complaints").weights.buckets
    assert len(lexicon) == len(
        train(late + ["lain sekali"] * 8, {"category": ["x"] * 8 + ["y"] * 8}, **KIND)
        .get_pipe("complaints")
        .weights.buckets
    )


def test_a_head_of_one_label_is_left_out() -> None:
    component = train(TINY, {**LABELS, "agency": ["a"] * 24}, leans_on="agency", **KIND).get_pipe("complaints")
    assert set(component.heads) == {"category", "kind"}
    with pytest.raises(ValueError, match="two labels or more"):
        train(TINY, {"agency": ["a"] * 24}, **KIND)


def test_what_was_remembered_can_be_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    component = train(TINY, LABELS, **KIND).get_pipe("complaints")
    want = component.explain(SAID, "category")
    monkeypatch.setattr("pipelines.transforms.classifier._WORDS_KEPT", 0)
    again = component.explain(SAID, "category")
    assert the_same(want[0], again[0])
    assert want[1] == again[1]


def test_an_untrained_component_has_no_opinion() -> None:
    assert blank().get_pipe("complaints").predict(["apa saja"]) == {}
    assert blank()("apa saja").cats == {}


def test_evidence_names_words_of_the_text_that_speak_for_the_label(own_classifier: ComplaintClassifier) -> None:
    said = ["Pohon besar mau tumbang di depan rumah, mohon dipangkas pohonnya"]
    predicted, evidence = own_classifier.explain(said, "category")
    assert predicted["category"].labels[predicted["category"].first[0]] == "pohon"
    assert set(evidence[0].split()) <= {fold_word(w) for w in words_of(said[0])}
    assert evidence[0].split()[0] in ("pohon", "pohonnya", "dipangkas", "tumbang")


# --- features, against a plain way of adding up --------------------------------------------------


def summed(text: str) -> list[float]:
    """Values of a text's features, in order: what each word and pair adds, over the root of all their squares."""
    words = [fold_word(w) for w in words_of(text)]
    found: Counter[str] = Counter()
    total = 0.0
    for word, times in Counter(words).items():
        edged = f" {word} "
        inside = Counter(edged[i : i + n] for n in (3, 4, 5) for i in range(len(edged) - n + 1))
        inside[f"word:{word}"] = 1
        for gram, often in inside.items():
            found[gram] += math.log1p(times) * often
            total += (math.log1p(times) * often) ** 2
    for pair, times in Counter(itertools.pairwise(words)).items():
        found[f"pair:{pair}"] = math.log1p(times)
        total += math.log1p(times) ** 2
    return sorted(value / math.sqrt(total) for value in found.values())


def every(texts: list[str], bits: int) -> sparse.csr_matrix:
    return vectors(Lexicon(np.arange(1 << bits, dtype=np.int32), bits), texts, np.ones(1 << bits, np.float32))


@settings(deadline=None)
@given(st.lists(st.text(st.sampled_from("ab c1é.!"), max_size=30), min_size=1, max_size=6))
def test_a_text_is_the_sum_of_its_words_and_pairs(texts: list[str]) -> None:
    matrix = every(texts, 20)
    assert matrix.shape == (len(texts), 1 << 20)
    for text, row in zip(texts, matrix, strict=True):
        assert sorted(row.data.tolist()) == pytest.approx(summed(text), rel=1e-5)  # 2**20: hardly a collision
    assert seen_in(texts, 20).sum() == matrix.nnz


def test_equal_texts_have_equal_rows_and_order_of_words_matters_only_to_pairs() -> None:
    a, b, c = every(["jalan rusak parah", "JALAN, rusak! parah", "parah rusak jalan"], 18)
    assert (a != b).nnz == 0
    assert math.isclose(a.sum(), c.sum(), rel_tol=1e-6)
    assert (abs(a - c) > 1e-6).nnz == 4  # two pairs here, two others there


@given(st.text())
def test_words_are_ascii_letters_and_digits_folded_for_good(text: str) -> None:
    for word in words_of(text):
        folded = fold_word(word)
        assert re.fullmatch(r"[a-z0]+", folded)
        assert fold_word(folded) == folded


@pytest.mark.parametrize(
    ("plain", "noisy"),
    [
        ("jalan berlubang besar bahaya", "j4lan berlub4ng bes4r b4haya"),
        ("jalan berlubang besar bahaya", "jalannn berlubangggg besarrr bahayaaaa"),
        ("jalan berlubang besar bahaya", "jln brlubang bsr bhaya"),
        ("banjir sudah selutut di kampung kami", "b4nj1r sud4h selutut d1 k4mpung k4mi"),
        ("banjir sudah selutut di kampung kami", "banjirrr sdh slutut, di kmpung kita please help"),
        ("banjir sudah selutut di kampung kami", "banjire wis sak dengkul nang kampung"),
        ("sampah menumpuk bau menyengat", "s4mp4h menumpuk b4u menyeng4t"),
        ("sampah menumpuk bau menyengat", "sampahh numpuk baunya nyengat bangetttt sumpah"),
        ("pohon tumbang menutup jalan", "p0h0n tumb4ng nutup jalan"),
        ("lampu pju mati gelap", "the street lights pju mati, gelap bgt every night"),
    ],
)
def test_typos_drawn_out_letters_digits_for_letters_and_mixed_languages_change_no_category(
    own_classifier: ComplaintClassifier, plain: str, noisy: str
) -> None:
    category = own_classifier.predict([plain, noisy])["category"]
    assert category.first[0] == category.first[1], [category.labels[i] for i in category.first]


@pytest.mark.parametrize(
    ("word", "folded"),
    [("j4l4n", "jalan"), ("b4nj1r", "banjir"), ("p0h0n", "pohon"), ("jalan2an", "jalanan"), ("a12b", "a00b"), ("rt05", "rt00"),
     ("112", "000"), ("bangettt", "bangett"), ("m4ti5", "mati0")],
)  # fmt: skip
def test_digits_inside_a_word_are_the_letters_they_stand_for(word: str, folded: str) -> None:
    assert fold_word(word) == folded
