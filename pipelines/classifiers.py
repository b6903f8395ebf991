"""Which classifier judges: the starter, trained from models/corpus, or one trained on an operator's history.

Each version is a folder of data_dir/models that spaCy loads; active.json names the operator's choice, and
without it the starter judges. Belongs here: versions and where they lie. Not here: training on history
(training), what is learned (transforms/fitting).
"""

from __future__ import annotations

import csv
import io
import re
import shutil
import time
import uuid
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from pipelines import entries, rules
from pipelines.contracts import KINDS
from pipelines.entries import number, slips, text
from pipelines.errors import SettingsError
from pipelines.knowledge import taxonomy
from pipelines.settings import Settings
from pipelines.transforms.emergency import HEAD, NO, YES, Likeness
from pipelines.transforms.route import fold

if TYPE_CHECKING:
    from spacy.language import Language

    from pipelines.transforms.classifier import ComplaintClassifier

STARTER = "starter"
_JUDGED = "before_refit"  # folder inside a version's: the same training without the newest rows
_VERSION = re.compile(r"[\w-]+")
_LEFT_BEHIND = 86_400  # seconds after which a folder begun by a training that was killed is swept away
# What reading damaged weights may raise.
DAMAGED = (
    OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, EOFError, NotImplementedError, MemoryError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip
_FORMAT = "5"  # part of the starter's version: raise it when what is learned from the same corpus changes


class Line(NamedTuple):
    """One text of the corpus; agency None where none can be told."""

    category: str
    kind: str
    agency: str | None
    text: str


def corpus(models: Path) -> Iterator[Line]:
    """Every line of models/corpus/*.tsv, in a fixed order. SettingsError names the file and line at fault."""
    categories, agencies = taxonomy(models).names, rules.agencies(models / "agencies.toml")
    for path in sorted((models / "corpus").glob("*.tsv")):
        if path.stem not in categories:
            raise SettingsError(f"{path}: {path.stem!r} is no category of taxonomy.toml; name the file after one")
        with slips(path, "the file"):
            lines = io.StringIO(entries.read(path).decode("utf-8"), newline="")
        rows = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        if lacking := sorted({"kind", "agency", "text"} - set(rows.fieldnames or ())):
            raise SettingsError(
                f"{path}: the first line must name the columns kind, agency and text; {lacking[0]} is missing"
            )
        for row in rows:
            if row["kind"] not in KINDS or not row["text"]:
                raise SettingsError(f"{path}: line {rows.line_num} lacks a kind or a text between its tabs")
            agency = row["agency"] or None
            if agency and agency not in agencies:
                raise SettingsError(f"{path}: line {rows.line_num}: {agency!r} is no agency of agencies.toml")
            yield Line(path.stem, row["kind"], agency, row["text"])


def table(settings: Settings, section: str) -> dict[str, Any]:
    """The numbers under a section of classifier.toml."""
    path = settings.models_dir / "classifier.toml"
    given = entries.table(path, entries.toml(path), section)
    with slips(path, f"[{section}]"):
        for key in given:
            number(given, key)
    return given


# --- versions -------------------------------------------------------------------------------


def starter_version(models: Path) -> str:
    """Hash of all that decides the starter's weights: corpus, config, and the code's format."""
    hashed = blake2b(_FORMAT.encode(), digest_size=8)
    for path in (models / "classifier.toml", *sorted((models / "corpus").glob("*.tsv"))):
        hashed.update(path.name.encode() + b"\0" + entries.read(path))
    return hashed.hexdigest()


def version_in_use(settings: Settings) -> str:
    """The version whose judgements count."""
    return _active(settings).get("version") or starter_version(settings.models_dir)


def folder_of(settings: Settings, version: str) -> Path:
    return settings.data_dir / "models" / version


def kept_folder(settings: Settings, version: str) -> Path:
    """Folder of a version that is there. SettingsError names those that are."""
    folder = folder_of(settings, version)
    if not _VERSION.fullmatch(version) or not (folder / "meta.json").exists():
        there = ", ".join(card["version"] for card in kept(settings)) or "none"
        raise SettingsError(f"no version {version!r} is kept; there are: {there}; or: {STARTER} (kanal model list)")
    return folder


def build(settings: Settings, *, say: Callable[[str], None] = lambda _: None) -> Path:
    """Folder of the version in use; the starter and the judge of emergencies are trained unless this very state was."""
    _build_likeness(settings)
    version = version_in_use(settings)
    folder = folder_of(settings, version)
    if folder.exists():
        return folder
    if version != starter_version(settings.models_dir):
        raise SettingsError(
            f"{_choice(settings)} names version {version}, which is not there; choose another: kanal model rollback"
        )
    return build_starter(settings, say=say)


def build_starter(settings: Settings, *, say: Callable[[str], None] = lambda _: None) -> Path:
    """Folder of the starter, trained unless it was."""
    folder = folder_of(settings, starter_version(settings.models_dir))
    if folder.exists():
        return folder
    from pipelines.transforms.fitting import train

    rows = list(corpus(settings.models_dir))
    say(f"training the classifier on {len(rows):,} texts (once for this corpus and config)")
    config = table(settings, "training") | table(settings, "starter")
    learned = {
        head: labels for head, labels in heads(rows).items() if head != "agency"
    }  # rules know better: docs/quality.md
    save(settings, train([r.text for r in rows], learned, **config), folder.name, {})
    return folder


def likeness(settings: Settings) -> Likeness:
    """Who judges emergencies where no rule speaks."""
    told = _likeness_table(settings)
    with slips(settings.models_dir / "emergency.toml", "[learned]"):
        return Likeness(text(told, "id"), number(told, "accept"), load(_build_likeness(settings)))


def _build_likeness(settings: Settings) -> Path:
    """Folder of the judge of emergencies, trained unless it was: it takes a second."""
    path = settings.models_dir / "emergencies.tsv"
    told, mine = _likeness_table(settings), entries.read(path)
    version = blake2b(f"{starter_version(settings.models_dir)}{told}".encode() + mine, digest_size=8).hexdigest()
    folder = folder_of(settings, f"emergency-{version}")
    if folder.exists():
        return folder
    from pipelines.transforms.fitting import train

    with slips(path, "the file"):
        lines = [line for line in mine.decode("utf-8").splitlines() if not line.startswith("#")]
        rows = list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
        own = [(row["text"], YES if row["emergency"] == "ya" else NO) for row in rows]
    # What the corpus tells of danger the rules find, and are better at.
    alarms = rules.alarms(settings.models_dir / "emergency.toml")
    other = [line.text for line in corpus(settings.models_dir) if not alarms.of(line.text, fold(line.text), fold)]
    with slips(settings.models_dir / "emergency.toml", "[learned]"):
        config: dict[str, Any] = {
            "bits": int(number(told, "bits")), "c": number(told, "c"), "seed": int(number(told, "seed")),
            "weights": [1.0] * len(other) + [number(told, "weight")] * len(own),
        }  # fmt: skip
    labels = {HEAD: [NO] * len(other) + [label for _, label in own]}
    return save(
        settings,
        train([*other, *(words for words, _ in own)], labels, most_per_label=len(other), **config),
        folder.name,
        {},
    )


def _likeness_table(settings: Settings) -> dict[str, Any]:
    path = settings.models_dir / "emergency.toml"
    return entries.table(path, entries.toml(path), "learned")


def heads(rows: list[Line]) -> dict[str, list[str | None]]:
    """The corpus' label of each text for each head."""
    return {
        "category": [r.category for r in rows],
        "kind": [r.kind for r in rows],
        "agency": [r.agency for r in rows],
    }


def save(
    settings: Settings, nlp: Language, version: str, card: Mapping[str, Any], *, judged: Language | None = None
) -> Path:
    """Keep a trained pipeline under its version, with its card; a folder that another process finished first stays.

    judged: what was compared before it learned from the newest rows as well; the next one is compared with that.
    """
    folder = folder_of(settings, version)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temp = folder.with_name(f".{version}.{uuid.uuid4().hex}")
    try:
        nlp.to_disk(temp)
        if judged is not None:
            judged.to_disk(temp / _JUDGED)
        if card:
            (temp / "card.json").write_bytes(orjson.dumps(dict(card), default=str, option=orjson.OPT_INDENT_2))
        temp.rename(folder)
    except OSError:
        if not folder.exists():  # else another process finished it first
            raise
    finally:
        shutil.rmtree(temp, ignore_errors=True)
    return folder


def load(folder: Path) -> ComplaintClassifier:
    """The trained component of a version's folder."""
    return _load(folder.resolve())


@lru_cache(maxsize=4)
def _load(folder: Path) -> ComplaintClassifier:
    import spacy

    from pipelines.transforms import classifier as _registered  # noqa: F401 - registers the factory

    try:
        return spacy.load(folder).get_pipe("complaints")
    except DAMAGED as error:
        raise SettingsError(
            f"the classifier in {folder} is damaged ({type(error).__name__}); remove that folder and train it again, or"
            f" choose another: kanal model rollback {STARTER}"
        ) from error


def judged(folder: Path) -> Path:
    """Folder of a version as it was before it learned from its newest rows: it can be judged on them fairly."""
    before = folder / _JUDGED
    return before if before.exists() else folder


def card_of(folder: Path) -> dict[str, Any]:
    """The card of an operator's version; empty for the starter."""
    path = folder / "card.json"
    if not path.exists():
        return {}
    try:
        card = orjson.loads(path.read_bytes())
        return {**card, "trained_at": card["trained_at"]}
    except (ValueError, TypeError, KeyError) as error:
        raise SettingsError(f"{path} is damaged; remove its folder and train that version again") from error


def kept(settings: Settings) -> list[dict[str, Any]]:
    """Cards of the operator's versions that are kept, newest first; `active` tells the one in use."""
    now = version_in_use(settings)
    cards = [
        card_of(path.parent) | {"version": path.parent.name, "active": path.parent.name == now}
        for path in (settings.data_dir / "models").glob("[!.]*/card.json")
    ]
    return sorted(cards, key=lambda card: card["trained_at"], reverse=True)


def activate(settings: Settings, version: str | None) -> None:
    """Let a version judge from the next run on; None: the starter. The one before is remembered for rollback."""
    if version is not None:
        kept_folder(settings, version)
    try:
        chosen = _active(settings)
    except SettingsError:  # damaged: choosing anew mends it
        chosen = {}
    same = chosen.get("version") == version
    before = chosen.get("before" if same else "version")
    path = _choice(settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    temp = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    temp.write_bytes(orjson.dumps({"version": version, "before": before}))
    temp.replace(path)


def rollback(settings: Settings) -> str:
    """Let the version judge that did before the last change; returns it, or `starter`."""
    chosen = _active(settings)
    if not chosen:
        raise SettingsError("nothing to roll back to: no other version ever judged here")
    before = chosen.get("before")
    activate(settings, before)
    return before or STARTER


def forget(settings: Settings, *, keep: int) -> list[str]:
    """Remove the oldest versions beyond `keep`, never the one in use or the one before it; returns them. What killed
    trainings left behind goes too."""
    for half in (settings.data_dir / "models").glob(".own-*"):
        if time.time() - half.stat().st_mtime > _LEFT_BEHIND:
            shutil.rmtree(half, ignore_errors=True)
    needed = {version_in_use(settings), _active(settings).get("before")}
    old = [card["version"] for card in kept(settings)[keep:] if card["version"] not in needed]
    for version in old:
        shutil.rmtree(folder_of(settings, version))
    return old


def _choice(settings: Settings) -> Path:
    return settings.data_dir / "models" / "active.json"


def _active(settings: Settings) -> dict[str, Any]:
    try:
        chosen = orjson.loads(_choice(settings).read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError:
        chosen = None
    names = (chosen.get("version"), chosen.get("before")) if isinstance(chosen, dict) else (0,)
    if not all(name is None or (isinstance(name, str) and _VERSION.fullmatch(name)) for name in names):
        raise SettingsError(f"{_choice(settings)} is damaged; to mend it: kanal model rollback {STARTER}")
    return chosen
