"""Proof, from landing alone, that every landed message is accounted for.

Reads each landed batch again and looks for its messages in the warehouse: landed = reports +
repeats + filtered + quarantined + events, per stream and batch, every ticketed report in exactly
one ticket, every batch in exactly one entry of the order log, every file that a report tells of by its
hash kept under it. Opens the warehouse itself, under
the writer's lock: a proof of the snapshot would prove a copy.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.errors import PermanentError
from pipelines.flow import Progress, silent
from pipelines.settings import Settings
from pipelines.sinks.landing import BatchRef, Landing
from pipelines.sinks.media import Media
from pipelines.sinks.warehouse import Warehouse, open_warehouse

_MOST = 50  # faults told one by one
_COUNTS = ("report", "repeat", "older", "filtered", "quarantined", "event")
_IDENTITY = ("sequence", "row", "source_ref", "version")
_GROUP = 200_000  # messages compared at once
_SAMPLE = 200  # files that came along that are read whole


@dataclass(slots=True)
class Audit:
    """streams: a row a stream with landed, each outcome, pending and unaccounted; faults: what is
    wrong, in words; proofs: promise of the warehouse -> rows that break it; media: files that reports
    tell of, those read whole, missing and damaged."""

    streams: list[dict[str, Any]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    proofs: dict[str, int] = field(default_factory=dict)
    media: dict[str, int] = field(default_factory=dict)

    @property
    def exact(self) -> bool:
        return not self.faults and not any(self.proofs.values())


def audit(settings: Settings, *, all_media: bool = False, progress: Progress = silent) -> Audit:
    """Compare all of landing with the warehouse, and look for every file that came along.

    all_media: read every one of them and compare its hash; else some, chosen anew each time.
    """
    landing, result = Landing(settings.landing_dir), Audit()
    with open_warehouse(settings.warehouse) as warehouse:
        _entries(landing, warehouse, result)
        streams = landing.streams()
        for channel, stream in streams:
            progress("audit", 0, len(streams))
            result.streams.append(_stream(landing, warehouse, channel, stream, result))
            progress("audit", 1, len(streams))
        result.proofs = warehouse.violations()
        files = attached(warehouse)
    _media(settings, files, result, progress, whole=None if all_media else _SAMPLE)
    return result


def attached(warehouse: Warehouse) -> dict[str, BatchRef]:
    """SHA-256 of each file that a report tells of and that is kept -> the batch of such a report."""
    rows = warehouse.con.execute(
        "SELECT channel, stream, sequence, attachments FROM reports WHERE contains(attachments, '\"sha256\"') ORDER BY ALL"
    ).fetchall()
    return {
        file["sha256"]: BatchRef(*ref)
        for *ref, files in rows
        for file in orjson.loads(files)
        if file.get("sha256") and not file.get("elsewhere")
    }


def _media(
    settings: Settings, files: Mapping[str, BatchRef], result: Audit, progress: Progress, *, whole: int | None
) -> None:
    """Faults of files that are not there, or are another than their hash. whole: how many are read; None: all."""
    media = Media(settings.media_dir)
    read = set(files if whole is None else random.sample(sorted(files), min(whole, len(files))))
    result.media = {"files": len(files), "read": len(read), "missing": 0, "damaged": 0}
    for digest, ref in files.items():
        if fault := media.fault(digest, whole=digest in read):
            result.media[fault] += 1
            if len(result.faults) < _MOST:
                where = f"file {digest} of a report in {_name(ref)} is {fault}"
                result.faults.append(
                    f"{where}; restore {settings.media_dir} from a backup, or run: kanal media restore"
                )
        progress("media", 1, len(files))


def _entries(landing: Landing, warehouse: Warehouse, result: Audit) -> None:
    """Faults where order log, ledger and landing differ."""
    entry_of: dict[BatchRef, int] = {}
    for entry in landing.order():
        for ref in entry.batches:
            if ref in entry_of:
                result.faults.append(
                    f"{_name(ref)} stands in entries {entry_of[ref]} and {entry.number} of the order log"
                )
            entry_of[ref] = entry.number
    ledger = warehouse.con.sql("SELECT channel, stream, sequence, entry FROM ledger").fetchall()
    there = {key: set(landing.sequences(*key)) for key in {(channel, stream) for channel, stream, _, _ in ledger}}
    for channel, stream, sequence, number in ledger:
        ref = BatchRef(channel, stream, sequence)
        if entry_of.get(ref) != number:
            result.faults.append(
                f"{_name(ref)} was loaded as entry {number}, but the order log says {entry_of.get(ref)}"
            )
        if sequence not in there[channel, stream]:
            result.faults.append(f"{_name(ref)} is in the ledger, but its landing file is gone")


def _stream(landing: Landing, warehouse: Warehouse, channel: str, stream: str, result: Audit) -> dict[str, Any]:
    row: dict[str, Any] = {"stream": f"{channel}/{stream}", "landed": 0} | dict.fromkeys(_COUNTS, 0)
    row |= {"pending": 0, "unaccounted": 0}
    sequences = landing.sequences(channel, stream)
    if sequences != list(range(len(sequences))):
        result.faults.append(f"{channel}/{stream}: landing files are missing; restore them from a backup")
    loaded = {
        n
        for (n,) in warehouse.con.execute(
            "SELECT sequence FROM ledger WHERE channel = ? AND stream = ?", [channel, stream]
        ).fetchall()
    }
    newest = max(loaded, default=-1)
    parts: list[pa.Table] = []
    gathered = 0
    for run in landing.runs(channel, stream, sequences):
        try:
            batch = landing.table(channel, stream, run, columns=["source_ref", "version"])
        except PermanentError as error:
            result.faults.append(str(error))
            continue
        row["landed"] += batch.num_rows
        if waiting := [n for n in run if n not in loaded]:
            held_back = [n for n in waiting if n < newest]
            result.faults += [
                f"{_name(BatchRef(channel, stream, n))} is not loaded, but later ones are; run: kanal run"
                for n in held_back
            ]
            waits = pc.is_in(batch["sequence"], pa.array(waiting, pa.int64()))
            row["pending"] += pc.sum(waits).as_py() or 0
            batch = batch.filter(pc.invert(waits))
        parts.append(batch)
        gathered += batch.num_rows
        if gathered >= _GROUP:
            _compare(warehouse, channel, stream, parts, row, result)
            parts, gathered = [], 0
    _compare(warehouse, channel, stream, parts, row, result)
    stray = warehouse.con.execute(
        "SELECT count(*) FROM messages WHERE channel = ? AND stream = ?", [channel, stream]
    ).fetchall()[0][0]
    known = sum(row[name] for name in _COUNTS)
    if stray != known:
        result.faults.append(f"{channel}/{stream}: the warehouse holds {stray} messages, {known} of them landed")
    return row


def _compare(
    warehouse: Warehouse, channel: str, stream: str, parts: list[pa.Table], row: dict[str, Any], result: Audit
) -> None:
    """Match landed identities with table messages, one to one."""
    if not parts:
        return
    con = warehouse.con
    con.register("_landed", pa.concat_tables(parts))
    found = con.execute(
        f"SELECT m.outcome, count(*) FROM _landed l LEFT JOIN"
        f" (SELECT {', '.join(_IDENTITY)}, outcome FROM messages WHERE channel = ? AND stream = ?) m"
        f" USING ({', '.join(_IDENTITY)}) GROUP BY 1",
        [channel, stream],
    ).fetchall()
    for outcome, count in found:
        if outcome is None:
            row["unaccounted"] += count
        elif outcome in row:
            row[outcome] += count
        else:
            result.faults.append(f"{channel}/{stream}: {count} messages have unknown outcome {outcome}")
    if row["unaccounted"] and len(result.faults) < _MOST:
        missing = con.execute(
            f"SELECT l.sequence, l.row FROM _landed l ANTI JOIN"
            f" (SELECT {', '.join(_IDENTITY)} FROM messages WHERE channel = ? AND stream = ?) m"
            f" USING ({', '.join(_IDENTITY)}) ORDER BY ALL LIMIT {_MOST}",
            [channel, stream],
        ).fetchall()
        result.faults += [
            f"message {channel}/{stream}/{sequence}/{number} landed, but nothing says what became of it"
            for sequence, number in missing
        ]
    con.unregister("_landed")


def _name(ref: BatchRef) -> str:
    return f"batch {ref.channel}/{ref.stream} number {ref.sequence}"
