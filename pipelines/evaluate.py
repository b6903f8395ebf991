"""How well the classifier judges: on its own corpus, cross-validated, or on an operator's labelled file.

Belongs here: reading labelled texts and computing figures. Not here: judging (transforms).
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipelines import knowledge as known
from pipelines.errors import SettingsError
from pipelines.settings import Settings
from pipelines.transforms.classify import NONE, Thresholds
from pipelines.transforms.normalise import clean_text
from pipelines.transforms.redact import mask

_PARTS = 5  # of the corpus: each is judged by a classifier that never saw it


def evaluate_corpus(settings: Settings) -> dict[str, Any]:
    """Figures over the whole corpus, each text judged by a classifier trained on the other parts."""
    from sklearn.model_selection import StratifiedKFold

    from pipelines.transforms.classifier import train

    knowledge, config = known.load(settings), known.training(settings)
    rows = list(known.corpus(settings.models_dir))
    texts, categories, kinds = [t for _, _, t in rows], [c for c, _, _ in rows], [k for _, k, _ in rows]
    judged: list[str] = [""] * len(rows)
    sure = np.zeros(len(rows))
    kind_right = 0
    splits = StratifiedKFold(_PARTS, shuffle=True, random_state=config["seed"]).split(texts, categories)
    for fit, held in splits:
        nlp = train(
            [texts[i] for i in fit],
            {"category": [categories[i] for i in fit], "kind": [kinds[i] for i in fit]},
            **config,
        )
        prediction = nlp.get_pipe("complaints").predict([texts[i] for i in held])
        category, kind = prediction["category"], prediction["kind"]
        for place, i in enumerate(held):
            judged[i] = category.labels[category.first[place]]
            sure[i] = category.confidence[place]
            kind_right += kind.labels[kind.first[place]] == kinds[i]
    return figures(categories, judged, sure, knowledge.thresholds) | {"kind_accuracy": kind_right / len(rows)}


def evaluate_file(settings: Settings, data: Path, *, text: str, label: str, only: str | None = None) -> dict[str, Any]:
    """Figures over a CSV that the classifier never saw. Labels no alias knows are counted apart."""
    frame = pd.read_csv(data, dtype=str, keep_default_na=False)
    for name in (text, label):
        if name not in frame:
            raise SettingsError(f"{data}: no column {name!r}; it has {', '.join(frame.columns)}")
    if only:
        name, _, pattern = only.partition("=")
        if name not in frame or not pattern:
            raise SettingsError(f"--only {only!r}: write COLUMN=PATTERN with a column of {data}")
        frame = frame[[fnmatchcase(value, pattern) for value in frame[name]]]
    knowledge = known.load(settings)
    wanted = [knowledge.taxonomy.category_of(value) for value in frame[label]]
    kept = [i for i, value in enumerate(wanted) if value is not None]
    if not kept:
        raise SettingsError(f"{data}: no label in column {label!r} is a category of models/taxonomy.toml")
    spoken = [mask(clean_text(frame[text].iat[i])) for i in kept]
    component = known.load_classifier(known.build_classifier(settings))
    category = component.predict(spoken)["category"]
    judged = [category.labels[i] for i in category.first]
    found = figures([wanted[i] or "" for i in kept], judged, category.confidence, knowledge.thresholds)
    return found | {"unknown_labels": len(frame) - len(kept)}


def figures(wanted: Sequence[str], judged: Sequence[str], sure: np.ndarray, thresholds: Thresholds) -> dict[str, Any]:
    """Accuracy, macro-F1, expected calibration error, and what holds at the accept threshold."""
    right = np.array([w == j for w, j in zip(wanted, judged, strict=True)])
    accepted = (sure >= thresholds.accept) & np.array([j != NONE for j in judged])
    labels = sorted(set(wanted) | set(judged))
    classes = [_class(name, wanted, judged) for name in labels]
    present = [c for c in classes if c["rows"]]
    return {
        "rows": len(wanted),
        "accuracy": float(right.mean()),
        "macro_f1": float(np.mean([c["f1"] for c in present])),
        "calibration_error": calibration_error(right, sure),
        "coverage": float(accepted.mean()),
        "accuracy_where_accepted": float(right[accepted].mean()) if accepted.any() else 0.0,
        "classes": classes,
    }


def _class(name: str, wanted: Sequence[str], judged: Sequence[str]) -> dict[str, Any]:
    hits = sum(w == name == j for w, j in zip(wanted, judged, strict=True))
    rows, called = sum(w == name for w in wanted), sum(j == name for j in judged)
    precision, recall = hits / called if called else 0.0, hits / rows if rows else 0.0
    both = precision + recall
    f1 = 2 * precision * recall / both if both else 0.0
    return {"label": name, "rows": rows, "precision": precision, "recall": recall, "f1": f1}


def calibration_error(right: np.ndarray, sure: np.ndarray) -> float:
    """Mean distance between confidence and accuracy over ten equal bins, weighted by their rows."""
    bins = np.minimum((sure * 10).astype(int), 9)
    gaps = [
        abs(right[bins == b].mean() - sure[bins == b].mean()) * (bins == b).mean()
        for b in range(10)
        if (bins == b).any()
    ]
    return float(sum(gaps))
