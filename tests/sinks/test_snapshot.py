"""How snapshots come and go: built aside, linked in one step, kept for their readers, due or not."""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from pipelines import knowledge
from pipelines.errors import TransientError
from pipelines.settings import Settings
from pipelines.sinks import marts, snapshot
from pipelines.sinks.mart_rows import ROWS, mart
from pipelines.sinks.warehouse import open_warehouse
from tests import made

NAMES = knowledge.names(made.settings(Path()))


def build(settings: Settings, rows: dict[str, pa.Table] | None = None, now: datetime = made.NOW) -> Path:
    with made.warehouse(settings, rows) as warehouse:
        return snapshot.build(settings, warehouse, NAMES, now)


def read(path: Path, sql: str, *values: Any) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(path), read_only=True) as con:
        con.execute("SET TimeZone = 'UTC'")
        return con.execute(sql, list(values)).fetchall()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return made.settings(tmp_path)


@pytest.fixture
def few() -> dict[str, pa.Table]:
    return made.rows(40, days=20)


# --- files ----------------------------------------------------------------------------------


def test_the_link_moves_to_each_new_snapshot_and_old_ones_go(tmp_path: Path) -> None:
    settings = made.settings(tmp_path, snapshots_kept=2)
    built = [build(settings) for _ in range(4)]
    assert [p.name for p in built] == [f"analytics-{n}.duckdb" for n in (1, 2, 3, 4)]
    assert sorted(p.name for p in (tmp_path / "snapshots").iterdir()) == ["analytics-3.duckdb", "analytics-4.duckdb"]
    assert str(settings.analytics.readlink()) == "snapshots/analytics-4.duckdb"
    assert oct(built[-1].stat().st_mode & 0o777) == "0o640"


def test_the_snapshot_in_use_is_never_deleted(settings: Settings) -> None:
    first = build(settings)
    build(settings)
    settings.analytics.unlink()
    settings.analytics.symlink_to(first)
    snapshot.prune(settings, keep=1)
    assert settings.analytics.exists()
    assert sorted(p.name for p in first.parent.iterdir()) == ["analytics-1.duckdb", "analytics-2.duckdb"]


_READER = """
import sys, duckdb
con = duckdb.connect(sys.argv[1], read_only=True)
print("open", flush=True)
sys.stdin.readline()
print(con.execute("SELECT count(*), sum(length(text)) FROM reports").fetchall(), flush=True)
"""


def test_a_reader_that_holds_an_old_snapshot_open_keeps_it(tmp_path: Path, few: dict[str, pa.Table]) -> None:
    settings = made.settings(tmp_path, snapshots_kept=1)
    first = build(settings, few)
    expected = read(first, "SELECT count(*), sum(length(text)) FROM reports")
    command = [sys.executable, "-c", _READER, str(settings.analytics)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "open\n"
        build(settings, made.rows(60, entry=1))
        build(settings)
        assert not first.exists()
        assert reader.communicate("go\n")[0] == f"{expected}\n"
    assert read(settings.analytics, "SELECT count(*) FROM reports") == [(100,)]


def test_what_a_killed_run_left_half_built_is_cleaned_up(settings: Settings) -> None:
    folder = settings.data_dir / "snapshots"
    folder.mkdir()
    for name in ("building.duckdb", "building.duckdb.wal"):
        (folder / name).write_bytes(b"half")
    (settings.data_dir / ".analytics.duckdb.new").symlink_to("nowhere")
    build(settings)
    assert [p.name for p in folder.iterdir()] == ["analytics-1.duckdb"]
    assert sorted(p.name for p in settings.data_dir.glob("*.new")) == []


def test_a_snapshot_that_cannot_be_written_leaves_the_last_one(settings: Settings) -> None:
    first = build(settings)
    (first.parent / "building.duckdb").mkdir()
    with pytest.raises(TransientError, match="the last one stays"):
        build(settings)
    assert settings.analytics.resolve() == first


def test_a_build_that_fails_half_way_leaves_the_warehouse_usable(
    settings: Settings, few: dict[str, pa.Table], monkeypatch: pytest.MonkeyPatch
) -> None:
    with made.warehouse(settings, few) as warehouse:
        with monkeypatch.context() as patch:
            patch.setitem(marts.MARTS, "about", mart("Wrong.", "SELECT nothing", nothing=(pa.string(), "Nothing")))
            with pytest.raises(duckdb.BinderException):
                snapshot.build(settings, warehouse, NAMES, made.NOW)
        assert not settings.analytics.is_symlink()
        path = snapshot.build(settings, warehouse, NAMES, made.NOW)
        assert read(path, "SELECT reports FROM about") == [(40,)]


# --- due ------------------------------------------------------------------------------------


@pytest.fixture
def published(settings: Settings, few: dict[str, pa.Table]) -> Settings:
    """Settings whose snapshot and report were made at NOW."""
    build(settings, few)
    settings.report.write_text("a report", "utf-8")
    return settings


def _due(settings: Settings, minutes: float, *, hurry: bool = False, more: dict[str, pa.Table] | None = None) -> bool:
    with made.warehouse(settings, more) as warehouse:
        return snapshot.due(settings, warehouse, made.NOW + timedelta(minutes=minutes), hurry=hurry)


def test_a_snapshot_is_due_when_there_is_none(settings: Settings) -> None:
    assert _due(settings, 0)


def test_the_same_contents_are_not_published_twice(published: Settings) -> None:
    assert not _due(published, 60)
    assert not _due(published, 60, hurry=True)


def test_new_contents_wait_for_the_interval_unless_in_a_hurry(published: Settings) -> None:
    assert not _due(published, 9, more=made.rows(10, entry=1))
    assert _due(published, 9, hurry=True)
    assert _due(published, 10)


def test_a_clock_set_back_does_not_stop_publishing(published: Settings) -> None:
    assert _due(published, -300, more=made.rows(10, entry=1))


def test_a_new_day_in_jakarta_is_due_because_open_tickets_got_older(published: Settings) -> None:
    assert not _due(published, 13.9 * 60, hurry=True)  # 23:54 in Jakarta
    assert _due(published, 14.1 * 60)


def test_a_missing_report_or_an_unreadable_snapshot_is_due(published: Settings) -> None:
    published.report.unlink()
    assert _due(published, 1)
    published.report.write_text("a report", "utf-8")
    assert not _due(published, 1)
    published.analytics.resolve().write_bytes(b"not a database")
    assert _due(published, 1)


def test_a_changed_definition_is_due(published: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(marts.MARTS, "agencies", ROWS["channels"])
    assert _due(published, 11)


def test_a_warehouse_that_was_rebuilt_is_due(published: Settings) -> None:
    with open_warehouse(published.warehouse) as warehouse:
        warehouse.con.execute("UPDATE reports SET model_version = 'm2'")
    assert _due(published, 11)
