"""The warehouse as analysts see it: analytics.duckdb, a link to the newest of a few finished files.

Each snapshot is built aside, closed and made durable before the link is swapped, so a reader finds
an old whole one or a new whole one, and one who holds the old open keeps it. Files are never
written again. Not here: what is in it (mart_rows, marts).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from hashlib import blake2b
from pathlib import Path
from typing import Any, Protocol

import duckdb
import pandas as pd
import pyarrow as pa

from pipelines.contracts import BIG, DAY, REAL, TEXT, TIME, WIB, describe
from pipelines.errors import PermanentError, TransientError
from pipelines.settings import Settings
from pipelines.sinks import duck, marts
from pipelines.sinks.landing import BatchRef, Landing
from pipelines.sinks.mart_rows import UNKNOWN, UNKNOWN_NAME, Mart
from pipelines.sinks.warehouse import Warehouse

_FILE = re.compile(r"analytics-(\d+)\.duckdb")
_HALF_BUILT = "building.duckdb"  # the writer's lock is held while building: there is only ever one
_COUNTED = ("posts", "owned", "users", "media")
# The pipeline's own channels stand in no registry.
_OWN = {
    "_crm": "Status dari CRM",
    "_review": "Keputusan pemeriksa",
    "_tickets": "Keputusan tiket",
    "_media": "Berkas dari tautan",
}
_AREAS = ("kelurahan_code", "kelurahan", "kecamatan_code", "kecamatan", "kota_code", "kota")


class Names(Protocol):
    """What people call the ids; knowledge.names makes one. kelurahan: a row each with the names above it."""

    @property
    def categories(self) -> Mapping[str, str]: ...
    @property
    def agencies(self) -> Mapping[str, str]: ...
    @property
    def channels(self) -> Mapping[str, str]: ...
    @property
    def alarms(self) -> Mapping[str, str]: ...
    @property
    def kelurahan(self) -> pd.DataFrame: ...


def due(settings: Settings, warehouse: Warehouse, now: datetime, *, hurry: bool) -> bool:
    """Whether a new snapshot would differ from the last one, which is old enough unless `hurry`.

    A new day in Jakarta makes a difference too: what is open gets older without any message. True
    where snapshot or report are missing, or the snapshot cannot be read.
    """
    last = _about(settings)
    if last is None or not settings.report.exists():
        return True
    built, state = last
    if state == _state(warehouse) and built.astimezone(WIB).date() == now.astimezone(WIB).date():
        return False
    # A clock that was set back must not stop publishing for as long as it was ahead.
    return hurry or not timedelta(0) <= now - built < timedelta(minutes=settings.snapshot_minutes)


def build(settings: Settings, warehouse: Warehouse, names: Names, now: datetime) -> Path:
    """Make a snapshot, point analytics.duckdb at it and delete the oldest; returns the new file.

    Needs the writer's lock, which an open warehouse holds. TransientError where it cannot be
    written; the last snapshot then stays.
    """
    folder = _folder(settings)
    temp, path = folder / _HALF_BUILT, folder / f"analytics-{max(_numbers(settings), default=0) + 1}.duckdb"
    try:
        if not folder.is_dir():
            folder.mkdir(parents=True)
            folder.chmod(0o750)  # whatever the writer's umask says: analysts read here
        _remove(temp)  # of a run that was killed while building
        _fill(warehouse, temp, names, now, _heads(Landing(settings.landing_dir)))
        temp.chmod(0o640)
        _sync(temp)
        temp.rename(path)
        _sync(folder)
        _point(settings.analytics, path)
        prune(settings, keep=settings.snapshots_kept)
    except (duckdb.Error, OSError) as error:
        if not isinstance(error, (duckdb.IOException, OSError)) and not duck.is_full(error):
            with duck.told(settings.warehouse):  # what was read is damaged, or our SQL is wrong
                raise
        raise TransientError(
            f"the snapshot cannot be written to {folder} ({type(error).__name__}); the last one stays."
            " Check free space and permissions, then run: kanal run"
        ) from error
    return path


def prune(settings: Settings, *, keep: int) -> None:
    """Delete all but the newest `keep` snapshots, never the one that analytics.duckdb is.

    What a person asked to have erased is gone from snapshots only when the older ones are:
    build, then prune with keep=1.
    """
    current = settings.analytics.resolve()
    for number in sorted(_numbers(settings))[:-keep]:
        path = _folder(settings) / f"analytics-{number}.duckdb"
        if path.resolve() != current:
            _remove(path)


# --- building -------------------------------------------------------------------------------


def _fill(warehouse: Warehouse, path: Path, names: Names, now: datetime, heads: Mapping[str, pa.Table]) -> None:
    con, values = warehouse.con, {"now": now, "state": _state(warehouse)}
    con.execute(f"ATTACH {duck.quote(str(path))} AS snap (STORAGE_VERSION 'v1.0.0')")
    try:
        with _registered(con, names, heads), duck.bare_transaction(con):
            for name, mart in marts.MARTS.items():
                _create(con, name, mart, {key: value for key, value in values.items() if f"${key}" in mart.sql})
        con.execute("CHECKPOINT snap")
    finally:
        con.execute("DETACH snap")


def _create(con: duckdb.DuckDBPyConnection, name: str, mart: Mart, values: Mapping[str, Any]) -> None:
    """A table with the types its schema says, whatever its SQL would give, and what it means as comments."""
    con.register("_shape", mart.schema.empty_table())
    con.execute(f'CREATE TABLE snap."{name}" AS FROM _shape')
    con.unregister("_shape")
    columns = ", ".join(f'"{column}"' for column in mart.schema.names)
    con.execute(f'INSERT INTO snap."{name}" SELECT {columns} FROM ({mart.sql})', values)
    about = (mart.schema.metadata or {}).get(b"description", b"").decode()
    con.execute(f'COMMENT ON TABLE snap."{name}" IS {duck.quote(about)}')
    for field in mart.schema:
        con.execute(f'COMMENT ON COLUMN snap."{name}"."{field.name}" IS {duck.quote(describe(field))}')


@contextmanager
def _registered(con: duckdb.DuckDBPyConnection, names: Names, heads: Mapping[str, pa.Table]) -> Iterator[None]:
    """What marts read beside the warehouse: _categories, _agencies, _channels, _alarms, _areas, and `heads`."""
    tables: dict[str, pa.Table] = dict(heads)
    for table, key, known in (
        ("_categories", "category", {**names.categories, UNKNOWN: UNKNOWN_NAME}),
        ("_agencies", "agency_id", names.agencies),
        ("_channels", "channel", {**names.channels, **_OWN}),
        ("_alarms", "emergency_rule", names.alarms),
    ):
        columns = [pa.array(list(known), pa.string()), pa.array(list(known.values()), pa.string())]
        tables[table] = pa.table(columns, names=[key, f"{key.removesuffix('_id')}_name"])
    tables["_areas"] = pa.table({c: pa.array(names.kelurahan[c], pa.string(), from_pandas=True) for c in _AREAS})
    for table, rows in tables.items():
        con.register(table, rows)
    try:
        yield
    finally:
        for table in tables:
            con.unregister(table)


def _heads(landing: Landing) -> dict[str, pa.Table]:
    """What the streams' newest cursors tell people, as _gaps and _costs; see contracts.Batch."""
    gaps: list[dict[str, Any]] = []
    costs: list[dict[str, Any]] = []
    for channel, stream in landing.streams():
        own = {"channel": channel, "stream": stream}
        try:
            newest = landing.sequences(channel, stream)[-1:]
            cursor = landing.footer(BatchRef(channel, stream, newest[0])).cursor if newest else {}
        except PermanentError:  # a torn file is told where it is loaded; the others stay on show
            continue
        for gap in cursor.get("gaps", []):
            begun, ended, found = (datetime.fromisoformat(gap[k]) for k in ("from", "to", "found_at"))
            told = {"what": gap["what"], "fill": gap["fill"]}
            gaps.append(own | told | {"begun_at": begun, "ended_at": ended, "found_at": found})
        for day, row in cursor.get("spend", {}).items():
            costs.append(own | {"day": date.fromisoformat(day)} | {k: row.get(k, 0) for k in (*_COUNTED, "usd")})
    named = [("channel", TEXT), ("stream", TEXT)]
    lost = [("what", TEXT), ("fill", TEXT), ("begun_at", TIME), ("ended_at", TIME), ("found_at", TIME)]
    paid = [("day", DAY), *((name, BIG) for name in _COUNTED), ("usd", REAL)]
    return {
        "_gaps": pa.Table.from_pylist(gaps, schema=pa.schema([*named, *lost])),
        "_costs": pa.Table.from_pylist(costs, schema=pa.schema([*named, *paid])),
    }


# --- the last one ---------------------------------------------------------------------------


def _state(warehouse: Warehouse) -> str:
    """Equal for equal contents and equal definitions of marts."""
    loaded = warehouse.con.execute(
        "SELECT epoch_us(max(loaded_at)), (SELECT count(*) FROM tickets), (SELECT sum(version) FROM tickets),"
        " (SELECT list_sort(list(DISTINCT concat_ws(' ', code_version, model_version, data_version))) FROM reports)"
        " FROM ledger"
    ).fetchall()
    told = (marts.version(), warehouse.last_entry(), warehouse.next_arrival(), loaded)
    return blake2b(repr(told).encode(), digest_size=12).hexdigest()


def _about(settings: Settings) -> tuple[datetime, str] | None:
    """(built_at, state) of the last snapshot; None where there is none that can be read."""
    if not settings.analytics.exists():
        return None
    try:
        # By its own name: two connections of a process to one name share one file, even after a swap.
        con = duckdb.connect(str(settings.analytics.resolve()), read_only=True)
    except duckdb.Error:
        return None
    try:
        rows = con.execute("SELECT epoch_us(built_at), state FROM about").fetchall()
    except duckdb.Error:
        return None
    finally:
        con.close()
    return (datetime.fromtimestamp(rows[0][0] / 1e6, WIB), rows[0][1]) if rows else None


# --- files ----------------------------------------------------------------------------------


def _folder(settings: Settings) -> Path:
    return settings.data_dir / "snapshots"


def _numbers(settings: Settings) -> list[int]:
    folder = _folder(settings)
    found = [_FILE.fullmatch(p.name) for p in folder.iterdir()] if folder.exists() else []
    return [int(m[1]) for m in found if m]


def _point(link: Path, target: Path) -> None:
    """Swap the link in one step; relative, so that the data folder can be moved or mounted elsewhere."""
    temp = link.with_name(f".{link.name}.new")
    temp.unlink(missing_ok=True)
    temp.symlink_to(os.path.relpath(target, link.parent))
    temp.replace(link)
    _sync(link.parent)


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.with_name(path.name + ".wal").unlink(missing_ok=True)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
