"""The warehouse built anew from landing alone, in the recorded order.

Belongs here: replaying the order log beside the old warehouse, and the swap. Not here: applying an
entry (load).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import duckdb

from pipelines import order
from pipelines.errors import KanalError, PermanentError
from pipelines.flow import Progress, apply_entries, check, new_run_id, silent, utc_now
from pipelines.outcomes import Loaded
from pipelines.refine import versions_of
from pipelines.settings import Settings
from pipelines.sinks.duck import writer_lock
from pipelines.sinks.landing import Landing
from pipelines.sinks.warehouse import open_warehouse, opened


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """before, after: table -> hash of its rows (before is empty without an old warehouse, and counts rows where the old
    one had other columns);
    other_versions: entries whose recorded code, model or data are not those of now."""

    loaded: Loaded
    before: dict[str, str]
    after: dict[str, str]
    other_versions: int


def rebuild(settings: Settings, *, now: Callable[[], datetime] = utc_now, progress: Progress = silent) -> Rebuilt:
    """Replay the order log into a new warehouse, prove it, and put it in the old one's place.

    Killed on the way it leaves the old warehouse as it was. Entries not yet recorded are left to
    the next load. Raises PermanentError where landing cannot be read or a proof fails.
    """
    landing = Landing(settings.landing_dir)
    order.check(landing)
    entries = list(landing.order())
    versions = versions_of(settings)
    messages = sum(landing.footer(ref).rows for entry in entries for ref in entry.batches)
    target = settings.warehouse.with_name("rebuilt.duckdb")
    with writer_lock(settings.warehouse):
        before = _hashes(settings.warehouse)
        _remove(target)
        with open_warehouse(target) as warehouse:
            progress("load", 0, messages)
            loaded = apply_entries(
                settings, warehouse, entries, messages=messages, run_id=new_run_id(), now=now, progress=progress
            )
            check(warehouse)
            after = warehouse.table_hashes()
        if (fewer := _rows(before, "ledger") - _rows(after, "ledger")) > 0:
            raise PermanentError(
                f"landing holds {fewer} batches fewer than the warehouse was made of; the old warehouse stays. Restore"
                f" landing from a newer backup, or move {settings.warehouse} away and rebuild again"
            )
        # The old one's log goes first: beside the new file it would be replayed into it.
        _wal(settings.warehouse).unlink(missing_ok=True)
        target.replace(settings.warehouse)
    return Rebuilt(loaded, before, after, sum(entry.versions != versions for entry in entries))


def _hashes(path: Path) -> dict[str, str]:
    """Table hashes of the old warehouse; empty where there is none or it cannot be opened."""
    if not path.exists():
        return {}
    try:
        with opened(path, any_shape=True) as warehouse:
            return warehouse.table_hashes()
    except (KanalError, duckdb.Error):
        return {}


def _rows(hashes: dict[str, str], table: str) -> int:
    return int(hashes.get(table, "0").partition(":")[0])


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    _wal(path).unlink(missing_ok=True)


def _wal(path: Path) -> Path:
    return path.with_name(f"{path.name}.wal")
