"""An operator's own history -> a classifier version: split by time, compared with the one in use, kept or refused.

Belongs here: the way of training on history. Not here: reading it (history), fitting (transforms/fitting),
where versions lie (classifiers).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any

import orjson

from pipelines import classifiers, history, rules
from pipelines import knowledge as known
from pipelines.contracts import KINDS
from pipelines.errors import SettingsError
from pipelines.evaluate import judge
from pipelines.figures import gain
from pipelines.settings import Settings

_KNOWS_STARTER = "starter"  # head of the starter's categories, where the operator's labels are others
_LEAST = 50  # newest rows without which no comparison means anything, and agencies named without which none are learned


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
    corrections: bool = True,
    progress: history.Progress,
) -> Trained:
    """Train on the older rows, judge the newest beside the classifier in use, and keep it if it is no worse.

    holdout: share of the rows, the newest, that the challenger never sees. force: keep a worse one too. refit: learn
    from all rows once the comparison is made. corrections: learn from what people decided in the review queue too.
    """
    meant = history.read_mapping(mapping)
    rows = history.read(settings, data, meant, only=only, progress=progress)
    cut = round(len(rows.texts) * (1 - holdout))
    newest = part(rows, cut, None)
    _check(data, rows, cut, meant)
    config = classifiers.table(settings, "training")
    weight = classifiers.table(settings, "corrections")["weight"]
    decided = rows_of_corrections(settings) if corrections and meant.taxonomy else Corrections()
    accept = known.load(settings).thresholds.accept
    asked = set(newest.texts)
    unasked = decided.where([text not in asked for text in decided.texts])
    challenger = fit(settings, part(rows, 0, cut), meant, config, progress, unasked, weight)
    progress("judging", 0, 1)
    found = judge(challenger.get_pipe("complaints"), newest, accept)
    champion = classifiers.build(settings, say=lambda said: progress(said, 0, 1))
    unseen = _unseen_by(classifiers.card_of(champion), rows, cut, only)
    compared = _compare(classifiers.load(classifiers.judged(champion)), challenger.get_pipe("complaints"), unseen)
    tolerance = classifiers.table(settings, "gate")["tolerance"]
    refused = _refusal(compared, tolerance, champion.name, len(unseen.texts))
    nlp = challenger
    if refit and (force or not refused):
        nlp = fit(settings, rows, meant, config, progress, decided, weight)
    card = {
        "trained_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "data": data.name, "digest": rows.digest, "rows": len(rows.texts), "learned_from": len(rows.texts) if refit else cut,
        "held_from": cut, "only": only, "corrections": len(decided.texts), "corrections_digest": decided.digest,
        "undated": rows.undated, "first_day": _first_day(rows.dates), "split_day": rows.dates[cut] or None,
        "last_day": rows.dates[-1] or None, "labels": {h: len({*v} - {None}) for h, v in rows.labels.items()},
        "small_labels": {head: sum(labels.values()) for head, labels in rows.small.items()},
        "unknown_labels": {head: sum(labels.values()) for head, labels in rows.unknown.items()},
        "also_in_training": _repeated(rows.texts, cut), "corpus": meant.corpus, "taxonomy": meant.taxonomy,
        "config": config, "heads": found, "champion": champion.name, "compared": compared,
    }  # fmt: skip
    if refused and not force:
        return Trained(None, card, refused)
    version = _version(settings, rows.digest, meant, config, holdout, only, decided.digest, weight, refit=refit)
    folder = classifiers.save(settings, nlp, version, card, judged=challenger if refit else None)
    classifiers.activate(settings, folder.name)
    return Trained(version, card)


def _check(data: Path, rows: history.History, cut: int, meant: history.HistoryMapping) -> None:
    """SettingsError where there is too little to learn from or to compare on, or nothing that tells a category."""
    labelled = [any(label is not None for label in row) for row in zip(*rows.labels.values(), strict=True)]
    if min(sum(labelled[:cut]), sum(labelled[cut:])) < _LEAST:
        strange = [label for labels in rows.unknown.values() for label, _ in labels.most_common(3)]
        hint = "; models/ does not know {}: name them under [names.HEAD] of the mapping, or say taxonomy = false there"
        raise SettingsError(
            f"{data}: {sum(labelled):,} rows with a label that counts are too few; training needs {_LEAST} to learn from and"
            f" {_LEAST} newer ones" + (hint.format(", ".join(map(repr, strange))) if strange else "")
        )
    if meant.corpus and meant.taxonomy:
        return
    if len({*rows.labels.get("category", ())[:cut]} - {None}) < 2:
        raise SettingsError(
            f"{data}: fewer than two categories, so it would judge none; give [columns] category, or learn from the corpus"
            " too: [labels] taxonomy and corpus = true"
        )


@dataclass(frozen=True, slots=True)
class Corrections:
    """What people decided in the review queue: masked texts, the days they were written, head -> decided id or None."""

    texts: list[str] = field(default_factory=list)
    days: list[str] = field(default_factory=list)
    labels: dict[str, list[str | None]] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        return blake2b(orjson.dumps([self.texts, self.days, self.labels]), digest_size=8).hexdigest()

    def where(self, kept: Sequence[bool]) -> Corrections:
        """Those that are marked True."""

        def some(values: Sequence[Any]) -> list[Any]:
            return [value for value, keep in zip(values, kept, strict=True) if keep]

        return Corrections(some(self.texts), some(self.days), {h: some(v) for h, v in self.labels.items()})


def rows_of_corrections(settings: Settings) -> Corrections:
    """Decisions in the published snapshot with their reports' text; none where nothing is published or decided.

    Of several decisions on one report the newest that names a head counts for it. Ids that models/ no longer has are
    passed over.
    """
    from pipelines.published import ask, open_snapshot

    if not settings.analytics.exists():
        return Corrections()
    with open_snapshot(settings) as con:
        if not ask(con, "FROM duckdb_tables() SELECT 1 AS there WHERE table_name = 'review_decisions'"):
            return Corrections()
        found = ask(con, _DECIDED)
    models = settings.models_dir
    there = {
        "category": set(known.taxonomy(models).names),
        "agency": set(rules.agencies(models / "agencies.toml")),
        "kind": set(KINDS),
    }
    spoken = [f"{row['title']}\n{row['text']}" if row["title"] else row["text"] for row in found]
    labels = {head: [row[head] if row[head] in ids else None for row in found] for head, ids in there.items()}
    return Corrections(spoken, [row["day"] for row in found], labels)


_DECIDED = """
SELECT r.title, r.text, strftime(r.occurred_at AT TIME ZONE 'Asia/Jakarta', '%Y-%m-%d') AS day, d.category, d.agency, d.kind
FROM (
    SELECT report_id, arg_max(category, rowid) AS category, arg_max(agency, rowid) AS agency, arg_max(kind, rowid) AS kind
    FROM review_decisions GROUP BY report_id
) d JOIN reports r USING (report_id)
WHERE d.category IS NOT NULL OR d.agency IS NOT NULL OR d.kind IS NOT NULL
ORDER BY r.occurred_at, r.report_id
"""


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
    decided: Corrections | None = None,
    weight: float = 1,
) -> Any:
    """The corpus first, as it has no date, then history and corrections in the order of their time. weight: how often
    a correction counts. Agencies are learned only where enough of the operator's own rows name one: of the corpus alone
    rules know better."""
    from pipelines.transforms.fitting import train

    lines = list(classifiers.corpus(settings.models_dir))
    starter = classifiers.heads(lines)
    if not meant.corpus:
        lines, starter = [], {"kind": []} if "kind" in rows.labels else {}
    elif not meant.taxonomy:  # another city's labels: what the starter knows helps as a head of its own
        starter = {"kind": starter["kind"], _KNOWS_STARTER: starter["category"]}
    decided = decided or Corrections()
    days = [*rows.dates, *decided.days]
    order = sorted(range(len(days)), key=days.__getitem__)  # stable: undated rows stay first
    own_texts = [*rows.texts, *decided.texts]
    texts = [line.text for line in lines] + [own_texts[i] for i in order]
    often = [1.0] * len(lines) + [1.0 if i < len(rows.texts) else weight for i in order]
    labels: dict[str, list[str | None]] = {}
    named = sum(agency is not None for told in (rows, decided) for agency in told.labels.get("agency", ()))
    heads = [h for h in dict.fromkeys((*starter, *rows.labels)) if h != "agency" or named >= _LEAST]
    for head in heads:
        own: Sequence[str | None] = [
            *rows.labels.get(head, [None] * len(rows.texts)),
            *decided.labels.get(head, [None] * len(decided.texts)),
        ]
        labels[head] = [*starter.get(head, [None] * len(lines)), *(own[i] for i in order)]
    leans_on = _KNOWS_STARTER if _KNOWS_STARTER in labels else ""
    try:
        return train(
            texts, labels, ordered=True, undated=len(lines), leans_on=leans_on, weights=often, progress=progress, **config
        )  # fmt: skip
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


def _unseen_by(card: dict[str, Any], rows: history.History, cut: int, only: str | None) -> history.History:
    """The newest rows that the champion never learned from before it was judged itself.

    card: the champion's; empty for the starter, which learned from no history. Of the same file that is told by the
    row; of another one by the day, and where there are no days nothing can be told and all rows count.
    """
    if not card:
        return part(rows, cut, None)
    if (card["digest"], card["only"]) == (rows.digest, only):
        return part(rows, max(cut, card["held_from"]), None)
    last = card["split_day"] or ""
    first = next((i for i in range(cut, len(rows.dates)) if rows.dates[i] > last), len(rows.dates))
    return part(rows, first if last and rows.dates[-1] else cut, None)


def _refusal(compared: dict[str, Any], tolerance: float, champion: str, rows: int) -> str:
    """Why the challenger is refused, in words; empty where it is not."""
    if rows < _LEAST:
        return (
            f"only {rows} of the newest rows are new to {champion}, which stays: too few to compare on. Give newer rows,"
            " or to use it all the same: --force"
        )
    worse = {head: c for head, c in compared.items() if c["gain"] < -tolerance}
    if not worse:
        return ""
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
