"""How well a classifier judges: on its own corpus, cross-validated, or on an operator's labelled file.

Belongs here: asking it and timing it. Not here: reading labelled files (history), what is computed (figures).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines import classifiers, history
from pipelines import knowledge as known
from pipelines.errors import SettingsError
from pipelines.figures import figures
from pipelines.settings import Settings

if TYPE_CHECKING:
    from pipelines.transforms.classifier import ComplaintClassifier, Prediction

_PARTS = 5  # of the corpus: each is judged by a classifier that never saw it
_TIMED = 20_000  # texts at most by which the speed is taken


def evaluate_corpus(settings: Settings, *, progress: history.Progress) -> dict[str, Any]:
    """Figures over the whole corpus, each text judged by a classifier trained on the other parts."""
    from sklearn.model_selection import StratifiedKFold

    from pipelines.transforms.fitting import train

    config = classifiers.table(settings, "training") | classifiers.table(settings, "starter")
    accept = known.load(settings).thresholds.accept
    rows = list(classifiers.corpus(settings.models_dir))
    labels = classifiers.heads(rows)
    texts = [row.text for row in rows]
    judged: dict[str, list[str]] = {head: [""] * len(rows) for head in labels}
    sure = {head: np.zeros(len(rows)) for head in labels}
    parts = StratifiedKFold(_PARTS, shuffle=True, random_state=int(config["seed"])).split(texts, labels["category"])
    for part, (fit, aside) in enumerate(parts):
        progress("judging", part, _PARTS)
        nlp = train([texts[i] for i in fit], {h: [v[i] for i in fit] for h, v in labels.items()}, **config)
        found = nlp.get_pipe("complaints").predict([texts[i] for i in aside])
        for head, prediction in found.items():
            for place, i in enumerate(aside):
                judged[head][i] = prediction.labels[prediction.first[place]]
                sure[head][i] = prediction.confidence[place]
    told = {h: _told(labels[h], judged[h], sure[h], accept, ()) for h in judged}
    return {"data": "corpus, cross-validated", "model": classifiers.starter_version(settings.models_dir), "heads": told}


def evaluate_file(
    settings: Settings,
    data: Path,
    *,
    mapping: Path | None = None,
    only: str | None = None,
    version: str | None = None,
    progress: history.Progress,
) -> dict[str, Any]:
    """Figures over a CSV that the classifier never saw, per head that the file has labels for."""
    rows = history.read(settings, data, history.read_mapping(mapping), only=only, progress=progress)
    if version is None:
        folder = classifiers.build(settings)
    elif version == classifiers.STARTER:
        folder = classifiers.build_starter(settings)
    else:
        folder = classifiers.kept_folder(settings, version)
    component = classifiers.load(folder)
    found = judge(component, rows, known.load(settings).thresholds.accept)
    if not found:
        raise SettingsError(
            f"{data}: no label is one that classifier {folder.name} knows (it has {', '.join(component.heads) or 'no head'})"
        )
    learned_from = classifiers.card_of(folder).get("digest") == rows.digest
    return {
        "data": data.name, "digest": rows.digest, "learned_from": learned_from,
        "model": folder.name, "rows": len(rows.texts), "heads": found,
        "unknown_labels": {head: dict(labels.most_common()) for head, labels in rows.unknown.items()},
        "texts_per_second": speed(component, rows.texts),
    }  # fmt: skip


def judge(component: ComplaintClassifier, rows: history.History, accept: float) -> dict[str, Any]:
    """head -> its figures over the rows whose label the classifier knows; `left_out`: rows with another label."""
    found = {}
    predicted = component.predict(rows.texts)
    for head, labels in rows.labels.items():
        if head not in predicted or not set(labels) & set(predicted[head].labels):
            continue
        told = set(predicted[head].labels)
        known_labels = [label if label in told else None for label in labels]
        figures_ = _told(known_labels, _first(predicted[head]), predicted[head].confidence, accept, rows.ids)
        found[head] = figures_ | {"left_out": rows.told[head] - figures_["rows"]}
    return found


def _first(prediction: Prediction) -> list[str]:
    return [prediction.labels[i] for i in prediction.first]


def _told(
    wanted: Sequence[str | None], judged: Sequence[str], sure: np.ndarray, accept: float, ids: Sequence[str]
) -> dict[str, Any]:
    rows = [i for i, label in enumerate(wanted) if label is not None]
    return figures(
        [wanted[i] or "" for i in rows],
        [judged[i] for i in rows],
        sure[rows],
        accept,
        [ids[i] for i in rows] if ids else (),
    )


def speed(component: ComplaintClassifier, texts: Sequence[str]) -> int:
    """Texts a second through predict on this core, all words met before."""
    some = list(texts[:_TIMED])
    component.predict(some)
    started = time.perf_counter()
    component.predict(some)
    return round(len(some) / (time.perf_counter() - started))
