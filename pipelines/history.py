"""A CSV of labelled reports, as an operator exports it, -> texts with the labels each head learns from.

A mapping (TOML) tells the columns and how labels are meant:

    [columns]            # what is there under which name
    id = "id"
    text = "keluhan"     # or a list, joined by a line break
    date = "tanggal_keluhan"
    category = "topik"   # what `kanal model train` learns: category, agency, kind
    agency = "instansi"
    kind = "jenis"
    address = "alamat"   # what `kanal gazetteer learn` learns from: address or text, and kelurahan
    kelurahan = "kelurahan"
    kecamatan = "kecamatan"

    [labels]
    taxonomy = false     # false: the labels are another city's own, kept as they are
    corpus = true        # whether the starter's texts are learned from as well

    [min_rows]           # labels with fewer rows are left out of that head
    agency = 40

    [names.category]     # labels that no alias knows -> ids of models/taxonomy.toml (agency: agencies.toml)
    "Jalan bolong" = "jalan"

    [names.kelurahan]    # kelurahan that the gazetteer spells otherwise -> its name or code there
    "Bringin" = "Beringin"

Belongs here: reading such files. Not here: what is done with them (training, evaluate, learn).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipelines import entries, rules
from pipelines import knowledge as known
from pipelines.contracts import KINDS
from pipelines.entries import flag, slips, text, texts
from pipelines.errors import SettingsError
from pipelines.settings import Settings
from pipelines.transforms.classify import fold_label
from pipelines.transforms.normalise import clean_text
from pipelines.transforms.redact import mask

HEADS = ("category", "agency", "kind")
_LABELLED = ("id", "text", "date", *HEADS)
_COLUMNS = {*_LABELLED, "address", "kelurahan", "kecamatan"}
_ROWS = 20_000  # read at once
_NO_LABEL = frozenset(("", "-", "nan", "null", "none", "n/a", "#n/a"))  # what exports write where there is none
_YEARS = (2000, 2100)  # others stand for "no date": 0001, 1900, 9999

Progress = Callable[[str, int, int], None]  # (stage, done, of)


@dataclass(frozen=True, slots=True)
class HistoryMapping:
    """What a mapping file says; see above."""

    columns: Mapping[str, Any] = field(default_factory=lambda: {c: c for c in _COLUMNS})
    given: bool = False  # whether the columns were asked for: one that is asked for must be there
    taxonomy: bool = True
    corpus: bool = True
    min_rows: Mapping[str, int] = field(default_factory=dict)
    names: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class History:
    """Rows in the order of their time, masked as refining masks them.

    labels: head -> one label a row, None where it has none that counts. told: head -> how many rows had any label.
    unknown: head -> labels that no alias knows, with their rows. small: head -> labels left out as too few, with
    theirs. undated: rows without a readable date, which stand first. digest: of the file.
    """

    ids: list[str]
    texts: list[str]
    dates: list[str]
    labels: dict[str, list[str | None]]
    told: dict[str, int]
    unknown: dict[str, Counter[str]]
    small: dict[str, Counter[str]]
    undated: int
    digest: str


def read_mapping(path: Path | None) -> HistoryMapping:
    """The mapping of a file; without one, columns are named as what they hold."""
    if path is None:
        return HistoryMapping()
    raw = entries.toml(path)
    if odd := sorted(set(raw) - {"columns", "labels", "min_rows", "names"}):
        raise SettingsError(f"{path}: [{odd[0]}] is unknown; there are [columns], [labels], [min_rows], [names.HEAD]")
    with slips(path, "the mapping"):
        columns = _section(raw, "columns", _COLUMNS)
        for name, of_file in columns.items():
            if not (texts if isinstance(of_file, list) else text)(columns, name):
                raise TypeError(f"[columns] {name} names no column")
        labels = _section(raw, "labels", ("taxonomy", "corpus"))
        taxonomy, corpus = flag(labels, "taxonomy", default=True), flag(labels, "corpus", default=True)
        least = _section(raw, "min_rows", HEADS)
        if not all(type(n) is int for n in least.values()):
            raise TypeError("[min_rows] holds a whole number a head")
        names = _section(raw, "names", (*HEADS, "kelurahan"))
        for head in names:
            for label in _section(names, head):
                text(names[head], label)
    return HistoryMapping(columns, True, taxonomy, corpus, least, names)


def _section(raw: Mapping[str, Any], name: str, known_keys: Collection[str] = ()) -> dict[str, Any]:
    """A section that may be missing. TypeError and ValueError for `slips` to tell."""
    found = raw.get(name, {})
    if not isinstance(found, dict):
        raise TypeError(f"{name} must be a section, [{name}]")
    if known_keys and (odd := sorted(set(found) - set(known_keys))):
        raise ValueError(f"[{name}] {odd[0]} is unknown; there are {', '.join(sorted(known_keys))}")
    return found


def read(
    settings: Settings, data: Path, mapping: HistoryMapping, *, only: str | None = None, progress: Progress
) -> History:
    """Read and mask a CSV file. only: COLUMN=PATTERN, the rows to keep. SettingsError says what is wrong."""
    columns = columns_of(data, mapping, _LABELLED)
    if "text" not in columns:
        raise SettingsError(f"{data}: which column holds the text? Tell it by --mapping FILE, [columns] text")
    if not columns.keys() & set(HEADS):
        raise SettingsError(f"{data}: no column of labels ({', '.join(HEADS)}); tell which by --mapping FILE")
    kept: dict[str, list[str]] = {name: [] for name in columns}
    masked: list[str] = []
    of = sum(1 for _ in data.open("rb"))  # lines: texts may hold line breaks, so this is a bound
    for part in parts(data):
        chosen = part if only is None else part[_matching(part, only, data)]
        for name, of_file in columns.items():
            kept[name] += values(chosen, of_file)
        masked += [mask(clean_text(text.replace("\\n", "\n"))) for text in kept.pop("text")]
        kept["text"] = []
        progress("reading", min(len(masked), of), of)
    if not masked:
        raise SettingsError(f"{data}: no row" + (f" where {only}" if only else ""))
    order, dates, undated = in_time(kept.get("date"), len(masked))
    labels, told, unknown, small = {}, {}, {}, {}
    for head in HEADS:
        if head in columns:
            said = ["" if fold_label(label) in _NO_LABEL else label for label in (kept[head][i].strip() for i in order)]
            meant = _meant(head, said, settings, mapping)
            told[head] = sum(value != "" for value in said)
            unknown[head] = Counter(v for v, m in zip(said, meant, strict=True) if v and m is None)
            rows = Counter(m for m in meant if m is not None)
            small[head] = Counter({m: n for m, n in rows.items() if n < mapping.min_rows.get(head, 1)})
            labels[head] = [None if m in small[head] else m for m in meant]
    ids = kept.get("id") or [f"row {i + 2}" for i in range(len(masked))]
    return History(
        [ids[i] for i in order], [masked[i] for i in order], dates, labels, told, unknown, small, undated, _digest(data)
    )


def columns_of(data: Path, mapping: HistoryMapping, wanted: Sequence[str]) -> dict[str, list[str]]:
    """What is held, of what is wanted -> the file's columns for it. A column that the mapping names must be there."""
    with _as_csv(data):
        there = list(pd.read_csv(data, nrows=0, sep=_separator(data)))
    found = {}
    for name in (n for n in wanted if n in mapping.columns):
        given = mapping.columns[name]
        asked = [given] if isinstance(given, str) else list(given)
        lacking = [c for c in asked if c not in there]
        if lacking and mapping.given:
            raise SettingsError(f"{data}: no column {lacking[0]!r} for {name}; it has {', '.join(there)}")
        if not lacking:
            found[name] = asked
    return found


def values(part: pd.DataFrame, columns: Sequence[str]) -> list[str]:
    """The cells of one column, or of several joined by a line break."""
    found: list[str] = (part[columns[0]] if len(columns) == 1 else part[list(columns)].agg("\n".join, axis=1)).tolist()
    return found


def parts(data: Path) -> Iterator[pd.DataFrame]:
    """A CSV file piece by piece, all cells as text."""
    with _as_csv(data):
        yield from pd.read_csv(data, dtype=str, keep_default_na=False, chunksize=_ROWS, sep=_separator(data))


@contextmanager
def _as_csv(data: Path) -> Iterator[None]:
    try:
        yield
    except UnicodeDecodeError as error:
        raise SettingsError(f"{data} is not UTF-8 text; save it as CSV UTF-8") from error
    except (ValueError, OSError) as error:  # ParserError is a ValueError
        raise SettingsError(f"{data} is no CSV with a header: {error}") from error


def _separator(data: Path) -> str:
    with data.open("rb") as file:
        return separator(file.readline(1 << 16).decode("utf-8", "replace"))


def separator(header: str) -> str:
    """What stands between the cells of a CSV file, by its first line: office programs here write semicolons."""
    return ";" if header.count(";") > header.count(",") else ","


def _matching(part: pd.DataFrame, only: str, data: Path) -> list[bool]:
    name, _, pattern = only.partition("=")
    if name not in part or not pattern:
        raise SettingsError(f"--only {only!r}: write COLUMN=PATTERN with a column of {data}")
    return [fnmatchcase(value, pattern) for value in part[name]]


def in_time(said: Sequence[str] | None, rows: int) -> tuple[list[int], list[str], int]:
    """(rows by time, their days, how many have none); without dates the file's order is the time's."""
    if said is None:
        return list(range(rows)), [""] * rows, rows
    written = pd.Series(said, dtype=object).str.strip()
    iso = written.str.match(r"\d{4}").astype(bool)
    year_first, day_first = (
        pd.to_datetime(written.where(iso == there), errors="coerce", dayfirst=not there, format="mixed", utc=True)
        for there in (True, False)
    )
    times = year_first.where(iso, day_first)
    times = times.where(times.dt.year.between(*_YEARS))
    known_times = times.notna().to_numpy()
    order = np.lexsort((times.astype("int64").to_numpy() * known_times, known_times)).tolist()
    days = times.dt.strftime("%Y-%m-%d").fillna("").tolist()
    return order, [days[i] for i in order], int((~known_times).sum())


def _meant(head: str, values: Sequence[str], settings: Settings, mapping: HistoryMapping) -> list[str | None]:
    """Each label as this head knows it; None for none and for an unknown one."""
    explicit = {fold_label(k): v for k, v in mapping.names.get(head, {}).items()}
    if not mapping.taxonomy and head != "kind":
        return [explicit.get(fold_label(v), v) or None for v in values]
    table = _aliases(head, settings)
    for label, target in explicit.items():
        if target not in table.values():
            raise SettingsError(f"[names.{head}] {label!r}: there is no {head} {target!r}")
    table |= explicit
    return [table.get(fold_label(v)) for v in values]


def _aliases(head: str, settings: Settings) -> dict[str, str]:
    """Folded label -> id."""
    if head == "kind":
        return {kind: kind for kind in KINDS}
    if head == "agency":
        return dict(rules.agency_aliases(settings.models_dir / "agencies.toml"))
    return dict(known.taxonomy(settings.models_dir).aliases)


def _digest(data: Path) -> str:
    hashed = blake2b(digest_size=8)
    with data.open("rb") as file:
        while block := file.read(1 << 20):
            hashed.update(block)
    return hashed.hexdigest()
