"""An operator's own history -> a classifier version: split by time, compared with the one in use, kept or refused.

Belongs here: the way of training on history. Not here: reading it (history), fitting (transforms/fitting),
where versions lie (classifiers).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any

import orjson

from pipelines import classifiers, history
from pipelines import knowledge as known
from pipelines.errors import SettingsError
from pipelines.evaluate import judge
from pipelines.figures import gain
from pipelines.settings import Settings

_KNOWS_STARTER = "starter"  # head of the starter's categories, where the operator's labels are others
_LEAST = 50  # newest rows without which no comparison means anything


@dataclass(frozen=True, slots=True)
class Trained:
    """version: None where it was refused. card: what was learned from and how well it judges (card.json).
    refused: why, in words."""

    version: str | None
    card: dict[str, Any]
    refused: str = ""


def train_on(
    settings: Settings,
    data: Path,
    *,
    mapping: Path | None = None,
    only: str | None = None,
    holdout: float = 0.2,
    force: bool = False,
    refit: bool = True,
    progress: history.Progress,
) -> Trained:
    """Train on the older rows, judge the newest beside the classifier in use, and keep it if it is no worse.

    holdout: share of the rows, the newest, that the challenger never sees. force: keep a worse one too. refit: learn
    from all rows once the comparison is made.
    """
    meant = history.read_mapping(mapping)
    rows = history.read(settings, data, meant, only=only, progress=progress)
    cut = round(len(rows.texts) * (1 - holdout))
    newest = part(rows, cut, None)
    if len(newest.texts) < _LEAST or cut < _LEAST:
        raise SettingsError(
            f"{data}: {len(rows.texts)} rows are too few; training needs {_LEAST} to learn from and {_LEAST} newer ones"
        )
    config = classifiers.table(settings, "training")
    accept = known.load(settings).thresholds.accept
    challenger = fit(settings, part(rows, 0, cut), meant, config, progress)
    progress("judging", 0, 1)
    found = judge(challenger.get_pipe("complaints"), newest, accept)
    champion = classifiers.build(settings)
    compared = _compare(classifiers.load(champion), challenger.get_pipe("complaints"), newest)
    tolerance = classifiers.table(settings, "gate")["tolerance"]
    worse = {head: c for head, c in compared.items() if c["gain"] < -tolerance}
    nlp = fit(settings, rows, meant, config, progress) if refit and (not worse or force) else challenger
    card = {
        "trained_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "data": data.name, "digest": rows.digest, "rows": len(rows.texts), "learned_from": len(rows.texts) if refit else cut,
        "undated": rows.undated, "first_day": _first_day(rows.dates), "split_day": rows.dates[cut] or None,
        "last_day": rows.dates[-1] or None, "labels": {h: len({*v} - {None}) for h, v in rows.labels.items()},
        "small_labels": {head: sum(labels.values()) for head, labels in rows.small.items()},
        "unknown_labels": {head: sum(labels.values()) for head, labels in rows.unknown.items()},
        "also_in_training": _repeated(rows.texts, cut), "corpus": meant.corpus, "taxonomy": meant.taxonomy,
        "config": config, "heads": found, "champion": champion.name, "compared": compared,
    }  # fmt: skip
    if worse and not force:
        return Trained(None, card, _refusal(worse, champion.name))
    version = _version(settings, rows.digest, meant, config, holdout, only, refit=refit)
    folder = classifiers.save(settings, nlp, version, card)
    classifiers.activate(settings, folder.name)
    return Trained(version, card)


def part(rows: history.History, start: int, end: int | None) -> history.History:
    """Some of the rows, by their place in time."""
    cut = slice(start, end)
    labels = {head: values[cut] for head, values in rows.labels.items()}
    told = {head: sum(v is not None for v in values) for head, values in labels.items()}
    return history.History(
        rows.ids[cut],
        rows.texts[cut],
        rows.dates[cut],
        labels,
        told,
        rows.unknown,
        rows.small,
        rows.undated,
        rows.digest,
    )


def fit(
    settings: Settings,
    rows: history.History,
    meant: history.HistoryMapping,
    config: dict[str, Any],
    progress: history.Progress,
) -> Any:
    """The corpus first, as it has no date, then history in the order of its time."""
    from pipelines.transforms.fitting import train

    lines = list(classifiers.corpus(settings.models_dir))
    starter = classifiers.heads(lines)
    if not meant.corpus:
        lines, starter = [], {"kind": []} if "kind" in rows.labels else {}
    elif not meant.taxonomy:  # another city's labels: what the starter knows helps as a head of its own
        starter = {"kind": starter["kind"], _KNOWS_STARTER: starter["category"]}
    texts = [line.text for line in lines] + rows.texts
    labels: dict[str, list[str | None]] = {}
    for head in dict.fromkeys((*starter, *rows.labels)):
        own: Sequence[str | None] = rows.labels.get(head, [None] * len(rows.texts))
        labels[head] = [*starter.get(head, [None] * len(lines)), *own]
    leans_on = _KNOWS_STARTER if _KNOWS_STARTER in labels else ""
    try:
        return train(texts, labels, ordered=True, leans_on=leans_on, progress=progress, **config)
    except ValueError as error:
        raise SettingsError(f"nothing to learn from: {error}") from error


def _compare(champion: Any, challenger: Any, rows: history.History) -> dict[str, Any]:
    """head -> macro-F1 of both and the gain, over the rows whose label both know."""
    one, other = challenger.predict(rows.texts), champion.predict(rows.texts)
    found = {}
    for head, labels in rows.labels.items():
        if head not in one or head not in other:
            continue
        both = set(one[head].labels) & set(other[head].labels)
        kept = [i for i, label in enumerate(labels) if label in both]
        if not kept:
            continue
        wanted = [labels[i] or "" for i in kept]
        said = [[p[head].labels[p[head].first[i]] for i in kept] for p in (one, other)]
        better, low, high = gain(wanted, said[0], said[1])
        found[head] = {"rows": len(kept), "gain": better, "interval": [low, high]}
    return found


def _refusal(worse: dict[str, Any], champion: str) -> str:
    told = "; ".join(
        f"{head}: macro-F1 {c['gain']:+.3f} ({c['interval'][0]:+.3f} to {c['interval'][1]:+.3f}) over {c['rows']:,} rows"
        for head, c in worse.items()
    )
    return f"it judges worse than {champion}, which stays: {told}. To use it all the same: --force"


def _repeated(texts: Sequence[str], cut: int) -> float:
    """Share of the newest texts that stand, word for word, among the older ones as well."""
    older = set(texts[:cut])
    return sum(text in older for text in texts[cut:]) / (len(texts) - cut)


def _first_day(dates: Sequence[str]) -> str | None:
    return next((day for day in dates if day), None)


def _version(
    settings: Settings, digest: str, meant: history.HistoryMapping, config: dict[str, Any], *others: Any, refit: bool
) -> str:
    """A name that the same data, mapping, config and starter share."""
    told = orjson.dumps([
        digest, classifiers.starter_version(settings.models_dir), meant.columns, meant.taxonomy, meant.corpus,
        meant.min_rows, meant.names, config, others, refit,
    ])  # fmt: skip
    return f"own-{blake2b(told, digest_size=6).hexdigest()}"
