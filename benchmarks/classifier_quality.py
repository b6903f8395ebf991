"""The classifier beside scikit-learn's LinearSVC and spaCy's own, trained on the same rows of a city's history.

    python -m benchmarks.classifier_quality [--data FILE] [--mapping FILE] [--without-spacy]

Learns from the first 80% by time, as `kanal model train` does, and judges the rest: accuracy, macro-F1, the gain with
its bootstrap interval, calibration, accuracy of the surest 80%, texts a second on one core. The file is no part of
this project: where it is missing, that is said and the exit code is 1.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import spacy
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import FeatureUnion
from sklearn.svm import LinearSVC
from spacy.training import Example

from pipelines import classifiers, history
from pipelines.evaluate import speed
from pipelines.figures import accuracy_at, figures, gain
from pipelines.settings import Settings, default_models_dir
from pipelines.training import fit, part

_HERE = Path(__file__).resolve().parent
_DATA = _HERE.parent.parent / "shared" / "data" / "surabaya_complaints" / "complaints_dev.csv"
_ONCE = 512
_EPOCHS = 10

Rival = Callable[[list[str]], tuple[list[str], np.ndarray]]  # texts -> labels and confidences


def linear_svc(texts: Sequence[str], labels: Sequence[str], *, sublinear: bool, balanced: bool) -> Rival:
    """TF-IDF of words 1-2 and characters 2-5 inside words, C 0.5."""
    features = FeatureUnion(
        [
            ("words", TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=sublinear)),
            ("letters", TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=sublinear)),
        ]
    )
    model = LinearSVC(C=0.5, class_weight="balanced" if balanced else None)
    model.fit(features.fit_transform(texts), labels)

    def judge(asked: list[str]) -> tuple[list[str], np.ndarray]:
        scores = model.decision_function(features.transform(asked))
        return model.classes_[scores.argmax(axis=1)].tolist(), scores.max(axis=1)

    return judge


def text_cat_bow(texts: Sequence[str], labels: Sequence[str]) -> Rival:
    """spaCy's TextCatBOW with its defaults, ten passes."""
    random.seed(1)
    spacy.util.fix_random_seed(1)
    nlp = spacy.blank("id")
    bow = {"@architectures": "spacy.TextCatBOW.v3", "exclusive_classes": True, "ngram_size": 1, "length": 262_144,
           "no_output_layer": False, "nO": None}  # fmt: skip
    nlp.add_pipe("textcat", config={"model": bow})
    names = sorted(set(labels))
    examples = [
        Example.from_dict(nlp.make_doc(text), {"cats": {name: float(name == label) for name in names}})
        for text, label in zip(texts, labels, strict=True)
    ]
    optimizer = nlp.initialize(lambda: examples)
    for _ in range(_EPOCHS):
        random.shuffle(examples)
        for batch in spacy.util.minibatch(examples, 64):
            nlp.update(batch, sgd=optimizer, drop=0.2)

    def judge(asked: list[str]) -> tuple[list[str], np.ndarray]:
        cats = [doc.cats for doc in nlp.pipe(asked)]
        best = [max(c, key=c.__getitem__) for c in cats]
        return best, np.array([c[b] for c, b in zip(cats, best, strict=True)])

    return judge


def pace(judge: Rival, texts: list[str]) -> int:
    """Texts a second, second time round."""
    judge(texts[:_ONCE])
    started = time.perf_counter()
    judge(texts)
    return round(len(texts) / (time.perf_counter() - started))


def report(data: Path, mapping: Path, *, with_spacy: bool) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(Path(folder), Path(folder), default_models_dir(), ())
        meant = history.read_mapping(mapping)
        rows = history.read(settings, data, meant, progress=_quiet)
        cut = round(len(rows.texts) * 0.8)
        older, newest = part(rows, 0, cut), part(rows, cut, None)
        started = time.perf_counter()
        nlp = fit(settings, older, meant, classifiers.table(settings, "training"), _quiet)
        component = nlp.get_pipe("complaints")
        yield f"{len(rows.texts):,} rows, {cut:,} to learn from; trained in {time.perf_counter() - started:.0f} s"
        predicted = component.predict(newest.texts)
        for head, labels in rows.labels.items():
            told = sum(label is not None for label in labels)
            learn = [i for i, label in enumerate(older.labels[head]) if label is not None]
            ask = [i for i, label in enumerate(newest.labels[head]) if label is not None]
            texts, wanted = [newest.texts[i] for i in ask], [newest.labels[head][i] or "" for i in ask]
            known_labels = len(set(labels) - {None})
            yield (
                f"\n{head}: {known_labels} labels; {1 - told / len(labels):.3f} of the rows have another one and are left"
                f" out; {len(learn):,} rows to learn from, {len(ask):,} to judge"
            )
            p = predicted[head]
            ours = [p.labels[p.first[i]] for i in ask]
            yield _line("ours", wanted, ours, p.confidence[ask], speed(component, texts * 4))
            given = [older.texts[i] for i in learn], [older.labels[head][i] or "" for i in learn]
            yield from _rivals(given, texts, wanted, ours, with_spacy=with_spacy)
        yield from _same_in_spacy(component, nlp, rows.texts)


def _rivals(
    given: tuple[list[str], list[str]], texts: list[str], wanted: list[str], ours: list[str], *, with_spacy: bool
) -> Iterator[str]:
    makers: dict[str, Callable[[], Rival]] = {
        f"LinearSVC{' sublinear' if sub else ''}{' balanced' if bal else ''}": (
            lambda sub=sub, bal=bal: linear_svc(*given, sublinear=sub, balanced=bal)
        )
        for sub in (False, True)
        for bal in (False, True)
    }
    if with_spacy:
        makers["TextCatBOW"] = lambda: text_cat_bow(*given)
    for name, make in makers.items():
        judge = make()
        theirs, sure = judge(texts)
        better, low, high = gain(wanted, ours, theirs)
        yield (
            f"{_line(name, wanted, theirs, sure, pace(judge, texts), calibrated=name == 'TextCatBOW')}"
            f"  our macro-F1 {better:+.3f} ({low:+.3f} to {high:+.3f})"
        )


def _line(
    name: str, wanted: list[str], judged: list[str], sure: np.ndarray, speed_: int, *, calibrated: bool = True
) -> str:
    hit = np.array([w == j for w, j in zip(wanted, judged, strict=True)])
    f: dict[str, Any] = figures(wanted, judged, np.clip(sure, 0, 1), 0.5)
    error = f"{f['calibration_error']:.3f}" if calibrated else "-"
    return (
        f"  {name:28} accuracy {f['accuracy']:.4f}  macro-F1 {f['macro_f1']:.4f}  surest 80% {accuracy_at(hit, sure, 0.8):.4f}"
        f"  calibration error {error:5}  {speed_:7,} texts/s"
    )


def _same_in_spacy(component: Any, nlp: Any, texts: list[str]) -> Iterator[str]:
    """The saved pipeline, through spaCy, beside predict in batches."""
    asked = (texts * 2)[:10_000]
    with tempfile.TemporaryDirectory() as folder:
        nlp.to_disk(folder)
        loaded = spacy.load(folder)
    told = component.predict(asked)
    wrong = 0
    started = time.perf_counter()
    for i, doc in enumerate(loaded.pipe(asked)):
        wrong += doc.cats != {f"{h}:{p.labels[p.first[i]]}": float(p.confidence[i]) for h, p in told.items()}
    seconds = time.perf_counter() - started
    yield f"\nspacy.load and nlp.pipe: {wrong} of {len(asked):,} texts judged otherwise; {len(asked) / seconds:,.0f} texts/s"


def _quiet(_stage: str, _done: int, _of: int) -> None:
    """Nobody watches."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=_DATA)
    parser.add_argument("--mapping", type=Path, default=_HERE / "surabaya.toml")
    parser.add_argument("--without-spacy", action="store_true", help="leave spaCy's own out: it takes minutes")
    asked = parser.parse_args()
    if not asked.data.exists():
        print(f"SKIPPED: {asked.data} is not there", file=sys.stderr)
        return 1
    for line in report(asked.data, asked.mapping, with_spacy=not asked.without_spacy):
        print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
