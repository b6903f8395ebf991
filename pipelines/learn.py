"""Resolved reports -> data_dir/gazetteer: learned.csv (phrases a person can mend) and learned.bin (the rest).

Reports come from an operator's history (a CSV file and a mapping, as history.py has it) or from finished tickets in
the snapshot. Belongs here: reading both, keeping and reading what was learned. Not here: what is learned
(transforms/learned), fitting it (transforms/learning).
"""

from __future__ import annotations

import csv
import io
import os
import uuid
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from pipelines import classifiers, entries, history, places
from pipelines.entries import slips
from pipelines.errors import SettingsError
from pipelines.settings import Settings
from pipelines.transforms.evidence import weigh
from pipelines.transforms.gazetteer import Gazetteer, join
from pipelines.transforms.learned import SURENESS, WITNESSES, Learned, Phrase, Table
from pipelines.transforms.normalise import clean_text
from pipelines.transforms.redact import mask

if TYPE_CHECKING:
    from pipelines.transforms.learning import Resolved

_LEAST = 200  # reports below which nothing can be measured
_MAGIC = b"kanal-learned-1\n"
_COMMENT = (
    "# Learned by `kanal gazetteer learn`, which overwrites it. support: resolved reports that hold the phrase; purity:\n"
    "# the share of them in this kelurahan. Lines may be deleted or mended.\n"
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """rows: read; used: with an address or text and a kelurahan that the gazetteer knows; unknown: without such a
    kelurahan; silent: without any words. kinds: street, rw, name -> phrases. curve: (share of the newest fifth that is
    placed, surest first; how often that is right), by what the four before it teach; names, learned: share of that fifth
    that is placed with some confidence, and how often that is right, by names alone and by what is learned. files:
    written, or empty."""

    rows: int
    used: int
    unknown: int
    silent: int
    kinds: dict[str, int]
    curve: list[tuple[float, float]]
    names: tuple[float, float]
    learned: tuple[float, float]
    files: list[Path]


def learn(
    settings: Settings, data: Path | None, mapping: Path | None, *, min_support: int, dry_run: bool,
    progress: history.Progress,
) -> Outcome:  # fmt: skip
    """Learn from a file, or from the snapshot where none is given. SettingsError says what is wrong."""
    from pipelines.transforms import learning

    gazetteer = places.read(settings.gazetteer)
    rows = _snapshot(settings) if data is None else _file(data, history.read_mapping(mapping), gazetteer, progress)
    reports = _resolved(rows)
    if len(reports) < _LEAST:
        raise SettingsError(
            f"{len(reports)} of {len(rows)} reports have words and a kelurahan that {settings.gazetteer} knows; at least"
            f" {_LEAST} are needed. Check the mapping's [columns] and [kanal] gazetteer, or learn when more are resolved"
        )
    config = classifiers.table(settings, "learned") | {"min_support": min_support}
    try:
        cut = len(reports) * 4 // 5
        trial, _ = learning.fit(reports.part(0, cut), gazetteer, progress=progress, **config)
        newest = reports.part(cut, None)
        found = judged(trial, newest, gazetteer)
        alone = by_names(newest, gazetteer)
        learned, lines = learning.fit(reports, gazetteer, progress=progress, **config)
    except ValueError as error:
        raise SettingsError(f"nothing to learn: {error}") from error
    kinds = Counter({line.phrase: line.kind for line in lines}.values())
    files = [] if dry_run else write(settings, learned, lines)
    unknown, silent = (sum(not row[i] for row in rows) for i in (2, 1))
    enough = gazetteer.weights.enough
    return Outcome(
        len(rows), len(reports), unknown, silent, dict(sorted(kinds.items())), curve(found), _sure(alone, enough),
        _sure(found, enough), files,
    )  # fmt: skip


def judged(learned: Learned, reports: Resolved, gazetteer: Gazetteer) -> list[tuple[float, bool]]:
    """(chance, right) of each report, as locate places it by words; a chance of 0, and wrong, where nothing is known."""
    from pipelines.transforms.hearing import hear

    heard = [hear(said, gazetteer) for said in reports.said]
    asked = [i for i, text in enumerate(reports.from_text) if learned.reads_text or not text]
    said = learned.judge(
        [reports.addresses[i] for i in asked], [heard[i] for i in asked], [reports.from_text[i] for i in asked]
    )
    found = by_names(reports, gazetteer)
    for i, one in zip(asked, said, strict=True):
        if one is not None:
            found[i] = one.chances[0], gazetteer.codes[one.rows[0]] == reports.codes[i]
    return found


def by_names(reports: Resolved, gazetteer: Gazetteer) -> list[tuple[float, bool]]:
    """(confidence, right) of each report as names alone place it; a confidence of 0, and wrong, where they do not."""
    from pipelines.transforms.hearing import hear

    places = [weigh(hear(said, gazetteer), None, gazetteer) for said in reports.said]
    return [
        (place.place_confidence, place.kelurahan_code == code) if place.kelurahan_code else (0.0, False)
        for place, code in zip(places, reports.codes, strict=True)
    ]


def _sure(found: list[tuple[float, bool]], enough: float) -> tuple[float, float]:
    """(share that is placed, how often that is right)."""
    placed = [right for chance, right in found if chance >= enough]
    return len(placed) / len(found), sum(placed) / max(len(placed), 1)


def curve(found: list[tuple[float, bool]]) -> list[tuple[float, float]]:
    """(coverage, precision) at every tenth, surest first."""
    ranked = [right for _, right in sorted(found, key=lambda f: -f[0])]
    upto = [(q / 10, max(1, round(len(ranked) * q / 10))) for q in range(1, 11)]
    return [(share, sum(ranked[:n]) / n) for share, n in upto]


# --- files ----------------------------------------------------------------------------------


def write(settings: Settings, learned: Learned, lines: list[Phrase]) -> list[Path]:
    """Put both files in the place of the old ones, each whole."""
    out = io.StringIO()
    out.write(_COMMENT)
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(Phrase._fields)
    rows.writerows(lines)
    meta = {
        "witnesses": dict(zip(WITNESSES, learned.witnesses.tolist(), strict=True)),
        "sureness": dict(zip((*SURENESS, "start"), learned.sureness.tolist(), strict=True)),
        "reads_text": learned.reads_text,
    }
    binary = _MAGIC + orjson.dumps(meta) + b"\n" + learned.voice.to_bytes()
    table, voice = places.learned_files(settings)
    _replace(voice, binary)
    _replace(table, out.getvalue().encode())
    return [table, voice]


def _replace(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def read(settings: Settings, gazetteer: Gazetteer) -> Learned | None:
    """What was learned; None where nothing was, or of another city's kelurahan. SettingsError where a file is damaged."""
    import numpy as np

    from pipelines.transforms.classifier import blank

    table, path = places.learned_files(settings)
    if not (table.exists() and path.exists()):
        return None
    damaged = f"{path} is damaged or of another version of Kanal; run `kanal gazetteer learn` again, or delete it"
    try:
        magic, meta, voice_bytes = entries.read(path).split(b"\n", 2)
        if magic + b"\n" != _MAGIC:
            raise SettingsError(damaged)
        told = orjson.loads(meta)
        voice = blank().get_pipe("complaints").from_bytes(voice_bytes)
        witnesses = np.array([told["witnesses"][name] for name in WITNESSES])
        sureness = np.array([told["sureness"][name] for name in (*SURENESS, "start")])
        labels = voice.heads["kelurahan"].labels
    except classifiers.DAMAGED as error:
        raise SettingsError(damaged) from error
    if not set(labels) <= gazetteer.row_of.keys():
        return None
    return Learned(voice, Table(_lines(table), gazetteer), gazetteer, witnesses, sureness, told["reads_text"])


def _lines(path: Path) -> list[Phrase]:
    try:
        lines = [line for line in entries.read(path).decode("utf-8-sig").splitlines() if not line.startswith("#")]
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path} is not UTF-8 text; save it as CSV UTF-8, or delete it") from error
    rows = csv.DictReader(lines, delimiter=history.separator(lines[0] if lines else ""))
    if lines and (lacking := [name for name in Phrase._fields if name not in (rows.fieldnames or ())]):
        raise SettingsError(f"{path}: the column {lacking[0]} is missing; mend it, or delete the file")
    found = []
    for number, row in enumerate(rows, 2):
        with slips(path, f"line {number} below the comments (mend or delete it)"):
            support, purity = int(row["support"]), float(row["purity"].replace(",", "."))
            if not row["phrase"] or support < 1 or not 0 <= purity <= 1:
                raise ValueError("it needs a phrase, a support of 1 or more and a purity from 0 to 1")
            found.append(Phrase(row["kind"], row["phrase"], row["kelurahan_code"], support, purity))
    return found


# --- resolved reports -----------------------------------------------------------------------

_Row = tuple[
    str, str, str, str, bool
]  # day, address or text, kelurahan code or "", both together, whether it is the text


def _resolved(rows: list[_Row]) -> Resolved:
    from pipelines.transforms.learning import Resolved

    kept = sorted((row for row in rows if row[1] and row[2]), key=lambda row: row[0])  # stable: undated ones stay first
    days, words, codes, said, from_text = (list(v) for v in zip(*kept, strict=True)) if kept else ([], [], [], [], [])
    return Resolved(words, said, codes, [day[:10] for day in days], from_text)


_ASKED = ("date", "address", "text", "kelurahan", "kecamatan")


def _file(data: Path, meant: history.HistoryMapping, gazetteer: Gazetteer, progress: history.Progress) -> list[_Row]:
    columns = history.columns_of(data, meant, _ASKED)
    if "kelurahan" not in columns or not columns.keys() & {"address", "text"}:
        lacking = "kelurahan" if "kelurahan" not in columns else "address or text"
        raise SettingsError(f"{data}: which column holds the {lacking}? Tell it by --mapping FILE, [columns]")
    cells: dict[str, list[str]] = {name: [] for name in _ASKED}
    of = sum(1 for _ in data.open("rb"))  # lines: texts may hold line breaks, so this is a bound
    for part in history.parts(data):
        for name in _ASKED:
            cells[name] += history.values(part, columns[name]) if name in columns else [""] * len(part)
        progress("reading", min(len(cells["date"]), of), of)
    order, days, _ = history.in_time(cells["date"] if "date" in columns else None, len(cells["date"]))
    found = []
    for n, i in enumerate(order):
        address, text = (mask(clean_text(cells[c][i].replace("\\n", "\n"))).strip() for c in ("address", "text"))
        said = cells["kelurahan"][i].strip()
        code = code_of(meant.names.get("kelurahan", {}).get(said, said), cells["kecamatan"][i].strip(), gazetteer)
        found.append((days[n], address or text, code, f"{address}\n{text}" if address else text, not address))
    return found


def code_of(kelurahan: str, kecamatan: str, gazetteer: Gazetteer) -> str:
    """The code of a kelurahan told by code or name; "" where it is unknown, or several and the kecamatan does not tell.

    The kecamatan may stand behind the name, as registers write it where two share one ("Wonorejo Rungkut").
    """
    if kelurahan in gazetteer.row_of:
        return kelurahan
    name, area = join(kelurahan), join(kecamatan)
    short = name.removesuffix(area) if area else name
    said = gazetteer.names.get(name) or gazetteer.names.get(short, ())
    meant = [m.code for m in said if m.level == "kelurahan"]
    if len(meant) > 1:
        areas = {m.code for m in gazetteer.names.get(area, ()) if m.level == "kecamatan"}
        meant = [code for code in meant if gazetteer.kecamatan_of[gazetteer.row_of[code]] in areas]
    return meant[0] if len(meant) == 1 else ""


_TICKETS = """
SELECT strftime(opened_at AT TIME ZONE 'Asia/Jakarta', '%Y-%m-%dT%H:%M:%S') AS day, address_text, description, kelurahan_code
FROM tickets WHERE status = 'selesai' AND place_method <> 'learned' ORDER BY opened_at, ticket_id
"""


def _snapshot(settings: Settings) -> list[_Row]:
    """Finished tickets. What resolved reports alone placed is left out: it must not teach itself."""
    from pipelines.published import ask, open_snapshot

    with open_snapshot(settings) as con:
        found = ask(con, _TICKETS)
    return [
        (
            r["day"], r["address_text"] or r["description"], r["kelurahan_code"] or "",
            f"{r['address_text']}\n{r['description']}" if r["address_text"] else r["description"], not r["address_text"],
        )
        for r in found
    ]  # fmt: skip
