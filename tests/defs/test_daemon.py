"""The real daemon: it lands by schedule and by inbox, loads what landed, and every run ends well."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import duckdb
import pytest

from pipelines import audit
from pipelines.settings import Settings
from tests.conftest import ROOT, stream_toml
from tests.defs.conftest import MAILS

PATIENCE = 150.0  # seconds; it takes 45 to 75, most of it waiting for a minute to begin


def instance_of(home: Path) -> dg.DagsterInstance:
    """An instance with the project's dagster.yaml and its databases in a folder."""
    home.mkdir()
    (home / "dagster.yaml").symlink_to(ROOT / "dagster.yaml")
    return dg.DagsterInstance.from_config(str(home))


@contextmanager
def daemon(home: Path) -> Iterator[subprocess.Popen[bytes]]:
    """dagster-daemon over this project with its home in a folder; it and its children end with the block."""
    command = [sys.executable, "-m", "dagster._daemon", "run"]
    with (home / "daemon.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | {"DAGSTER_HOME": str(home)},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@pytest.mark.xdist_group("daemon")
def test_the_daemon_lands_by_schedule_and_by_inbox_and_loads_both(
    project: Callable[..., Settings], tmp_path: Path
) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    (inbox / "rekap.csv").write_text("no,isi\n1,Lampu jalan mati di Jalan Melati\n2,Saluran mampet\n", "utf-8")
    jaki = stream_toml("jaki", "utama", "export", inbox="inbox", settle_seconds=0, columns={"id": "no", "text": "isi"})
    settings = project("[schedule]\nevery_minutes = 1\n[snapshot]\nmin_interval_minutes = 0\n" + jaki)
    reader: duckdb.DuckDBPyConnection | None = None
    home, stop, begin = tmp_path / "dagster", threading.Event(), time.monotonic()
    # The instance comes first: two processes that both make its databases get in each other's way.
    with instance_of(home) as instance, daemon(home) as process:
        while True:
            runs = instance.get_runs()
            if reader is None and settings.analytics.exists():
                reader = duckdb.connect(str(settings.analytics.resolve()), read_only=True)  # and never lets go
            loaded = instance.get_latest_materialization_event(dg.AssetKey("reports"))
            done = loaded is not None and loaded.asset_materialization.metadata["dagster/row_count"].value == 5
            if done and not [r for r in runs if r.job_name == "load" and not r.is_finished]:
                break
            told = f"runs: {[(r.job_name, r.status.value) for r in runs]}\n{(home / 'daemon.log').read_text()[-3000:]}"
            assert process.poll() is None, told
            assert time.monotonic() - begin < PATIENCE, told
            stop.wait(1)
        runs = instance.get_runs()
    fired = {(r.job_name, r.tags.get("dagster/schedule_name") or r.tags.get("dagster/sensor_name")) for r in runs}
    assert {
        ("land_email", "land_email_schedule"),
        ("land_jaki", "inbox_files"),
        ("load", "landed_not_loaded"),
    } <= fired
    assert {r.status for r in runs if r.is_finished} == {dg.DagsterRunStatus.SUCCESS}
    found = audit.audit(settings)
    assert found.exact
    assert {r["stream"]: r["landed"] for r in found.streams} == {"email/dki": len(MAILS), "jaki/utama": 2}
    assert settings.analytics.exists()
    assert reader is not None
    assert reader.execute("SELECT count(*) > 0 FROM reports").fetchall() == [(True,)]
    reader.close()
    assert not {"history", "storage", "schedules", ".logs_queue"} & {p.name for p in ROOT.iterdir()}
