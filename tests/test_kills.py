"""SIGKILL at named points between pull and publish, each followed by a plain run: nothing is lost or doubled.

A point is a function of ours and whether the process dies before it starts or after it returned,
at its n-th call. The child is the real pipeline with that one function wrapped.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pytest

from pipelines import flow
from pipelines.audit import audit
from pipelines.contracts import report_id_of
from pipelines.settings import Settings
from pipelines.settings import load as load_settings
from pipelines.sinks.landing import Head, Landing
from pipelines.sinks.warehouse import open_warehouse
from pipelines.sources import acts, decisions
from tests.made_up import JAKI, KELURAHAN, ROWS, write

NOW = datetime(2026, 11, 20, 1, 0, tzinfo=UTC)
CHILDREN = multiprocessing.get_context("forkserver")
CHILDREN.set_forkserver_preload(
    ["tests.test_kills", "spacy", "pipelines.transforms.classifier", "pipelines.sinks.report"]
)


class Point(NamedTuple):
    module: str
    function: str
    when: str
    call: int = 1


LANDING, WAREHOUSE, DUCK = "pipelines.sinks.landing", "pipelines.sinks.warehouse", "pipelines.sinks.duck"
SNAPSHOT, DURABLE = "pipelines.sinks.snapshot", "pipelines.sinks.durable"
POINTS = {
    "before the first batch is written": Point(DURABLE, "_write_synced", "before"),
    "after the first batch is written, before it has its name": Point(DURABLE, "_write_synced", "after"),
    "after the batch has its name, before the folder is synced": Point(DURABLE, "_sync_dir", "before", 6),
    "after the first batch of two streams landed": Point(LANDING, "Landing.put", "after"),
    "after the second batch landed": Point(LANDING, "Landing.put", "after", 2),
    "before the author key is read": Point("pipelines.flow", "author_secret", "before"),
    "before the order log names the batches": Point(LANDING, "Landing.append_order", "before"),
    "after the order log names the batches": Point(LANDING, "Landing.append_order", "after"),
    "while refining": Point("pipelines.refine", "redact", "after"),
    "after linking": Point("pipelines.transforms.link", "link", "after"),
    "before the transaction": Point(WAREHOUSE, "Warehouse.write", "before"),
    "in the transaction, after the ledger": Point(DUCK, "insert", "after", 1),
    "in the transaction, between two tables": Point(DUCK, "replace", "after", 1),
    "in the transaction, before it is committed": Point(DUCK, "commit", "before", 2),
    "after the transaction is committed": Point(DUCK, "commit", "after", 2),
    "after the load, before the warehouse is closed": Point("pipelines.flow", "apply_entries", "after"),
    "before delivery": Point("pipelines.flow", "deliver", "before"),
    "in the delivery's transaction": Point(DUCK, "commit", "before", 4),
    "after the delivery's transaction": Point(DUCK, "commit", "after", 4),
    "after the proof, before the snapshot": Point("pipelines.flow", "check", "after"),
    "with half a snapshot built": Point(SNAPSHOT, "_create", "after", 7),
    "with a snapshot built that nothing points at": Point(SNAPSHOT, "_point", "before"),
    "with a snapshot published and no report drawn": Point(SNAPSHOT, "build", "after"),
    "after everything": Point("pipelines.flow", "publish", "after"),
}


def _die_at(config: Path, point: Point) -> None:
    """Run the pipeline with one function wrapped so that it kills the process."""
    owner: Any = importlib.import_module(point.module)
    *path, name = point.function.split(".")
    for part in path:
        owner = getattr(owner, part)
    original, calls = getattr(owner, name), iter(range(1, 1_000_000))

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        mine = next(calls) == point.call
        if mine and point.when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(*args, **kwargs)
        if mine:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, wrapped)
    flow.run(load_settings(config), now=lambda: NOW)


def _results(settings: Settings) -> dict[str, Any]:
    """What must be the same however often the process died on the way."""
    with open_warehouse(settings.warehouse) as warehouse:
        found: dict[str, Any] = warehouse.table_hashes()
        found["tickets"] = warehouse.con.execute(
            "SELECT count(*), sum(report_count), sum(version) FROM tickets"
        ).fetchall()
    with duckdb.connect(str(settings.crm), read_only=True) as crm:
        found["crm"] = crm.execute("SELECT * FROM tickets ORDER BY ticket_id").fetchall()
    with duckdb.connect(str(settings.analytics.resolve()), read_only=True) as snapshot:
        found["snapshot"] = snapshot.execute("SELECT * FROM top_categories ORDER BY ALL").fetchall()
    return found


def _exports(folder: Path) -> None:
    write(folder / "jaki" / "1.csv", ROWS[:4])
    write(
        folder / "jaki" / "2.csv", [ROWS[0] | {"isi": "Lubangnya makin dalam", "diubah": "04/10/2026 10:00"}, *ROWS[4:]]
    )
    write(
        folder / "kelurahan" / "sheet.csv",
        [{"isi": "Trotoar rusak di Kelurahan Senen dekat halte", "tanggal": "05/10/2026"}],
    )


def _decided(settings: Settings) -> None:
    """People's decisions that are loaded together with the reports they are about."""
    at = NOW + timedelta(hours=1)
    report = report_id_of("jaki", "app", ROWS[2]["nomor"])
    said = {"report_id": report, "category": "pohon", "actor": "Sari", "reason": "sudah dicek"}
    landing = Landing(settings.landing_dir)
    landing.put(
        decisions.STREAM, Head(-1, None), [decisions.message(said, at)], {}, source_version="1", run_id="r", now=at
    )
    first, joined = (report_id_of("jaki", "app", row["nomor"]) for row in ROWS[:2])
    split = {"act": "split", "ticket_id": f"t{first}", "report_ids": [joined], "actor": "Sari", "reason": "lubang lain"}
    landing.put(acts.STREAM, Head(-1, None), [acts.message(split, at)], {}, source_version="1", run_id="r", now=at)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, model_cache: Path) -> dict[str, Any]:
    """Results of a run that nobody killed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    _exports(folder)
    settings = _settings(folder, model_cache)
    _decided(settings)
    result = flow.run(settings, now=lambda: NOW)
    assert (result.failures, result.loaded.events) == ({}, 2)
    return _results(settings)


def _settings(folder: Path, model_cache: Path) -> Settings:
    (folder / "data" / "landing").mkdir(parents=True, mode=0o700)
    (folder / "data" / "models").symlink_to(model_cache)
    # Drawn at random once for each installation: here the same, as results are compared.
    (folder / "data" / "landing" / "author.key").write_bytes(b"k" * 32)
    path = folder / "kanal.toml"
    path.write_text(f"[kanal]\nworkers = 1\n{JAKI}{KELURAHAN}", "utf-8")
    return load_settings(path)


@pytest.mark.parametrize("name", POINTS)
def test_killed_at_a_point_and_run_again_nothing_is_lost_or_doubled(
    name: str, tmp_path: Path, model_cache: Path, undisturbed: dict[str, Any]
) -> None:
    _exports(tmp_path)
    settings = _settings(tmp_path, model_cache)
    _decided(settings)
    child = CHILDREN.Process(target=_die_at, args=(settings.path, POINTS[name]))
    child.start()
    child.join(120)
    assert child.exitcode == -signal.SIGKILL, "the point was never reached"
    assert not flow.run(settings, now=lambda: NOW).failures
    assert _results(settings) == undisturbed
    assert audit(settings).exact
    assert settings.report.exists()
