"""`kanal compact` over a running system: every command says of segments what it said of files."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

from pipelines import flow, keep
from pipelines.audit import audit
from pipelines.cli import app
from pipelines.defs import backlog
from pipelines.errors import PermanentError
from pipelines.rebuild import rebuild
from pipelines.settings import Settings
from pipelines.sinks import compaction
from pipelines.sinks.landing import BatchRef, Landing
from pipelines.status import status
from pipelines.trace import trace_thing
from tests.made_up import JAKI, KELURAHAN, ROWS, write

NOW = datetime(2026, 11, 20, 1, 0, tzinfo=UTC)
ONE_BY_ONE = JAKI.replace('name = "app"', 'name = "app"\nbatch_rows = 1')


@pytest.fixture
def ran(make_settings: Callable[..., Settings], tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Six batches of one report loaded, one more waiting, and one of another stream."""
    monkeypatch.setattr(compaction, "_LEAST", 2)
    settings = make_settings(ONE_BY_ONE + KELURAHAN)
    write(tmp_path / "jaki" / "1.csv")
    (tmp_path / "kelurahan").mkdir()
    assert not flow.run(settings, now=lambda: NOW).failures
    write(tmp_path / "jaki" / "2.csv", [ROWS[0] | {"isi": "Lubangnya makin dalam", "diubah": "04/10/2026 10:00"}])
    for stream in settings.streams:
        flow.land(settings, stream, run_id="r", now=lambda: NOW)
    return settings


def _told(settings: Settings) -> dict[str, Any]:
    landing = Landing(settings.landing_dir)
    found = audit(settings)
    return {
        "status": status(settings),
        "audit": (found.exact, found.streams),
        "trace": [
            trace_thing(settings, f"jaki/app/{n}/0", where=None, limit=5, verbatim=True).parts["verbatim"]
            for n in range(6)
        ],
        "said": backlog.last_said(landing, settings.streams[0]),
        "rows": backlog.rows_of_day(landing, "jaki", "app", NOW.date()),
        "days": backlog.days_waiting(landing, backlog.Recorded(str(landing.root)), -1),
    }


def test_every_command_says_of_segments_what_it_said_of_files(ran: Settings) -> None:
    before = _told(ran)
    assert before["audit"][0] and before["status"]["streams"][0]["waiting"] == 1
    [jaki] = keep.compact_all(ran, keep_newest=1)
    assert (jaki.stream, jaki.batches, jaki.files_before, jaki.files_after) == ("jaki/app", 6, 7, 2)
    assert _told(ran) == before


def test_what_waits_is_loaded_and_a_rebuild_is_the_same_from_segments_as_from_files(ran: Settings) -> None:
    plain = ran.data_dir.with_name("plain")
    shutil.copytree(ran.data_dir, plain, symlinks=True)
    other = Settings(ran.path, plain, ran.models_dir, ran.streams, workers=1)
    keep.compact_all(ran, keep_newest=1)
    for settings in (ran, other):
        assert flow.load(settings, run_id="l", now=lambda: NOW).reports == 1
        assert audit(settings).exact
    assert Landing(ran.landing_dir).files("jaki", "app") == [6]
    compacted, files = rebuild(ran, now=lambda: NOW), rebuild(other, now=lambda: NOW)
    assert compacted.before == compacted.after == files.after


def test_a_missing_segment_stops_its_stream_until_it_is_restored(ran: Settings) -> None:
    keep.compact_all(ran, keep_newest=1)
    folder = ran.landing_dir / "jaki" / "app" / "segments"
    folder.rename(folder.with_name("elsewhere"))
    failures: dict[str, str] = {}
    flow.load(ran, run_id="l", now=lambda: NOW, failures=failures)
    assert "landing file number 0 is missing; restore it from a backup" in failures["jaki/app"]
    found = audit(ran)
    assert "batch jaki/app number 3 is in the ledger, but its landing file is gone" in found.faults
    folder.with_name("elsewhere").rename(folder)
    assert flow.load(ran, run_id="l", now=lambda: NOW).reports == 1


def test_one_streams_trouble_stops_no_other(ran: Settings, tmp_path: Any) -> None:
    for n in range(3):
        rows = [{"isi": f"Trotoar rusak di Kelurahan Senen dekat halte {n}", "tanggal": "05/10/2026"}]
        write(tmp_path / "kelurahan" / f"{n}.csv", rows)
        flow.land(ran, ran.streams[1], run_id="r", now=lambda: NOW)
    torn = Landing(ran.landing_dir).path(BatchRef("jaki", "app", 1))
    torn.write_bytes(b"PAR1")
    with pytest.raises(PermanentError, match="jaki/app number 1 cannot be read"):
        keep.compact_all(ran, keep_newest=1)
    landing = Landing(ran.landing_dir)
    assert (landing.files("jaki", "app"), landing.files("kelurahan", "meja")) == (list(range(7)), [2])


def test_the_command_tells_what_it_merged_and_that_nothing_is_left(ran: Settings) -> None:
    def command(*more: str) -> Any:
        return CliRunner().invoke(app, ["compact", "--config", str(ran.path), "--keep-newest", "1", *more])

    shown = command("--channel", "jaki", "--json")
    [row] = orjson.loads(shown.stdout)
    assert {k: row[k] for k in ("stream", "batches", "segments", "files_before", "files_after")} == {
        "stream": "jaki/app", "batches": 6, "segments": 1, "files_before": 7, "files_after": 2,
    }  # fmt: skip
    assert "nothing to merge" in command().stdout
    refused = command("--channel", "qlue")
    assert (refused.exit_code, "nothing of 'qlue' has landed" in refused.stderr) == (1, True)
