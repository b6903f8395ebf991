"""When a load is started, and when a channel's inbox is looked into."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from pipelines import flow
from pipelines.defs import sensors
from pipelines.defs.backlog import Recorded, days_waiting, inbox_state
from pipelines.refine import versions_of
from pipelines.settings import Settings
from pipelines.sinks.duck import writer_lock
from pipelines.sinks.landing import BatchRef, Landing
from tests.conftest import stream_toml
from tests.defs.conftest import defs, run, tick, today, unfinished, write_mail

Project = Callable[..., Settings]
LOAD = "landed_not_loaded"
RANGE = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
COLUMNS = {"id": "no", "text": "isi"}


def land(settings: Settings, *, at: datetime | None = None) -> None:
    """Land the mailbox outside Dagster."""
    now = (lambda: at) if at else flow.utc_now
    [stream] = settings.streams_of("email")
    assert flow.land(settings, stream, run_id="made", now=now).error is None  # type: ignore[arg-type]


def load(settings: Settings, instance: dg.DagsterInstance, **how: object) -> dg.ExecuteInProcessResult:
    """The load job up to the warehouse, as if the rest had been published: drawing the report takes seconds."""
    result = run("load", instance, asset_selection=[dg.AssetKey("reports"), dg.AssetKey("tickets")], **how)
    settings.analytics.touch()
    settings.report.touch()
    return result


# --- load -----------------------------------------------------------------------------------


def test_nothing_landed_starts_nothing(project: Project, instance: dg.DagsterInstance) -> None:
    project()
    ticked = tick(LOAD, instance)
    assert (ticked.run_requests, ticked.skip_message) == ([], "everything landed is loaded")


def test_what_landed_is_loaded_once_and_then_there_is_quiet(
    project: Project, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    settings = project()
    cursor = None
    for text in ("Lampu jalan mati.", "Sampah menumpuk."):
        write_mail(tmp_path / "mails" / f"{len(text)}.eml", text)
        land(settings)
        ticked = tick(LOAD, instance, cursor)
        assert [r.partition_key for r in ticked.run_requests or []] == [today()]
        assert load(settings, instance).success
        quiet = tick(LOAD, instance, ticked.cursor)
        assert (quiet.run_requests, quiet.skip_message) == ([], "everything landed is loaded")
        cursor = quiet.cursor


def test_the_warehouse_may_be_locked_while_the_sensor_asks(project: Project, instance: dg.DagsterInstance) -> None:
    settings = project()
    land(settings)
    with writer_lock(settings.warehouse):
        assert tick(LOAD, instance).run_requests


def test_days_that_wait_become_one_run_over_their_range(project: Project, instance: dg.DagsterInstance) -> None:
    settings = project(stream_toml("sms", "gateway", "imap", source_dir="mails"))
    now = datetime.now(UTC)
    [email], [sms] = settings.streams_of("email"), settings.streams_of("sms")
    for stream, days in ((email, 3), (sms, 1)):
        assert flow.land(settings, stream, run_id="made", now=lambda days=days: now - timedelta(days=days)).messages
    [request] = tick(LOAD, instance).run_requests or []
    back = [(date.fromisoformat(today()) - timedelta(days=n)).isoformat() for n in (3, 1)]
    assert [request.tags[tag] for tag in RANGE] == back
    assert load(settings, instance, tags=request.tags).success
    assert not tick(LOAD, instance).run_requests


def test_an_entry_recorded_by_a_load_that_was_killed_is_loaded(project: Project, instance: dg.DagsterInstance) -> None:
    settings = project()
    land(settings)
    assert load(settings, instance).success
    cursor = tick(LOAD, instance).cursor
    [stream] = settings.streams_of("email")
    flow.land(settings, stream, run_id="made", since=date.fromisoformat(today()) - timedelta(days=1))
    assert Landing(settings.landing_dir).append_order(1, [BatchRef("email", "dki", 1)], versions_of(settings))
    ticked = tick(LOAD, instance, cursor)
    assert [r.partition_key for r in ticked.run_requests or []] == [today()]
    assert load(settings, instance).success
    assert not tick(LOAD, instance, ticked.cursor).run_requests


def test_what_the_command_line_loaded_is_looked_at_once(project: Project, instance: dg.DagsterInstance) -> None:
    settings = project()
    assert not flow.run(settings).failures
    ticked = tick(LOAD, instance)
    assert ticked.run_requests
    assert load(settings, instance).success
    assert not tick(LOAD, instance, ticked.cursor).run_requests


def test_another_warehouse_or_another_landing_is_loaded_anew(project: Project, instance: dg.DagsterInstance) -> None:
    settings = project()
    land(settings)
    assert load(settings, instance).success
    cursor = tick(LOAD, instance).cursor
    settings.warehouse.unlink()
    assert tick(LOAD, instance, cursor).run_requests
    other = project(data="other")
    assert not tick(LOAD, instance, cursor).run_requests
    land(other)
    assert tick(LOAD, instance, cursor).run_requests


def test_a_stream_that_cannot_be_read_keeps_no_other_from_being_loaded(
    project: Project, instance: dg.DagsterInstance
) -> None:
    settings = project()
    torn = Landing(settings.landing_dir).path(BatchRef("jaki", "utama", 0))
    torn.parent.mkdir(parents=True)
    torn.write_bytes(b"PAR1")
    ticked = tick(LOAD, instance)
    assert not ticked.run_requests
    land(settings)
    assert tick(LOAD, instance, ticked.cursor).run_requests


def test_loads_do_not_pile_up(project: Project, instance: dg.DagsterInstance) -> None:
    land(project())
    unfinished(instance, "load")
    ticked = tick(LOAD, instance)
    assert (ticked.run_requests, ticked.skip_message) == ([], "a load is queued or goes on")


def test_a_failed_load_is_left_alone_for_a_while_and_then_tried_again(
    project: Project, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = project()
    land(settings)
    with monkeypatch.context() as patch:
        patch.setattr(flow, "deliver", lambda _: 1 / 0)
        assert not run(
            "load", instance, asset_selection=[dg.AssetKey(k) for k in ("reports", "tickets", "crm")]
        ).success
    ticked = tick(LOAD, instance)
    assert not ticked.run_requests
    assert "the last load failed; the next is tried in" in (ticked.skip_message or "")
    later = datetime.now(UTC) + timedelta(minutes=6)
    monkeypatch.setattr(sensors, "utc_now", lambda: later)
    assert [r.partition_key for r in tick(LOAD, instance).run_requests or []] == [today()]


def test_a_snapshot_that_was_too_young_is_made_when_it_may_be(
    project: Project, instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = project()
    fired = {"dagster/sensor_name": LOAD}
    for number in range(2):
        write_mail(tmp_path / "mails" / f"9{number}.eml", f"Lampu mati nomor {number}.")
        land(settings)
        assert run("load", instance, partition_key=today(), tags=fired).success
    ticked = tick(LOAD, instance)
    assert not ticked.run_requests
    built = datetime.now(UTC) - timedelta(minutes=11)
    os.utime(settings.analytics, (built.timestamp(), built.timestamp()))
    ticked = tick(LOAD, instance, ticked.cursor)
    [request] = ticked.run_requests or []
    assert {k.to_user_string() for k in request.asset_selection or []} == {"analytics", "report"}
    again = tick(LOAD, instance, ticked.cursor)
    assert not again.run_requests, "asked for once for what is loaded now"


def test_the_order_log_is_read_once_and_a_lost_cursor_only_costs_a_reading(project: Project) -> None:
    settings = project()
    land(settings)
    flow.load(settings, run_id="made")
    landing = Landing(settings.landing_dir)
    recorded = Recorded.parse(None, landing)
    recorded.read(landing)
    assert json.loads(recorded.text()) == {
        "landing": str(settings.landing_dir),
        "entry": 0,
        "newest": {"email/dki": 0},
    }
    assert Recorded.parse(recorded.text(), landing) == recorded
    assert Recorded.parse(recorded.text(), Landing(settings.data_dir / "else")).entry == -1
    (settings.landing_dir / "_order" / "000000" / "000000000.json").unlink()
    assert Recorded.parse(recorded.text(), landing).entry == -1, "the log was put back to an older state"
    day = date.fromisoformat(today())
    assert days_waiting(landing, Recorded.parse(None, landing), -1) == (day, day)


# --- inboxes --------------------------------------------------------------------------------


def test_a_new_file_in_an_inbox_lands_its_channel_at_once(
    project: Project, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    (tmp_path / "inbox" / "juni").mkdir(parents=True)
    project(stream_toml("jaki", "utama", "export", inbox="inbox", settle_seconds=0, columns=COLUMNS))
    empty = tick("inbox_files", instance)
    assert (empty.run_requests, empty.skip_message) == ([], "no new file")
    (tmp_path / "inbox" / "juni" / "1.csv").write_text("no,isi\n1,Lampu jalan mati\n", "utf-8")
    unfinished(instance, "land_jaki")
    waits = tick("inbox_files", instance, empty.cursor)
    assert not waits.run_requests, "a run that goes on may have passed the file by"
    for record in instance.get_runs():
        instance.delete_run(record.run_id)
    found = tick("inbox_files", instance, waits.cursor)
    assert [(r.job_name, r.partition_key) for r in found.run_requests or []] == [("land_jaki", today())]
    assert not tick("inbox_files", instance, found.cursor).run_requests
    assert run("land_jaki", instance).success
    (tmp_path / "inbox" / "juni" / "1.csv").unlink()
    assert not tick("inbox_files", instance, found.cursor).run_requests, "a file taken away is nothing to land"


def test_hidden_files_and_folders_that_are_not_there_do_not_count(project: Project, tmp_path: Path) -> None:
    settings = project(stream_toml("jaki", "utama", "export", inbox="inbox", columns=COLUMNS))
    assert inbox_state(settings.streams) == ""
    (tmp_path / "inbox").mkdir()
    (tmp_path / "inbox" / ".1.csv.part").touch()
    assert inbox_state(settings.streams) == ""


def test_a_schedule_skips_while_its_channel_is_being_landed(project: Project) -> None:
    project()
    schedule = defs().get_repository_def().get_schedule_def("land_email_schedule")
    at = datetime(2026, 6, 1, 17, 1, tzinfo=UTC)

    def fire(instance: dg.DagsterInstance) -> list[str | None]:
        with dg.build_schedule_context(
            instance=instance, scheduled_execution_time=at, repository_def=defs().get_repository_def()
        ) as context:
            return [r.partition_key for r in schedule.evaluate_tick(context).run_requests or []]

    with dg.instance_for_test() as instance:
        assert fire(instance) == ["2026-06-02"], "the day begins in Jakarta at 17:00 UTC"
        unfinished(instance, "land_email")
        assert fire(instance) == []
