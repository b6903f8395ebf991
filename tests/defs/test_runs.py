"""Runs in this process: what lands, what is loaded, what a broken warehouse stops, what is told of it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import duckdb
import pytest
from dagster._core.test_utils import freeze_time

from pipelines import audit, flow
from pipelines.contracts import KEYS, WIB
from pipelines.defs import checks
from pipelines.errors import KanalError, PermanentError, TransientError
from pipelines.settings import Settings
from pipelines.sinks.landing import BatchRef, Landing
from pipelines.sinks.warehouse import Warehouse, open_warehouse
from tests.conftest import stream_toml
from tests.defs.conftest import defs, metadata_of, plain, run, today, write_mail

Project = Callable[..., Settings]
RANGE = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")


def hashes(settings: Settings) -> dict[str, str]:
    with open_warehouse(settings.warehouse) as warehouse:
        return warehouse.table_hashes()


def yesterday() -> str:
    return (date.fromisoformat(today()) - timedelta(days=1)).isoformat()


# --- the same as without Dagster ------------------------------------------------------------


def test_the_same_messages_through_dagster_and_through_the_flow_give_the_same_tables(
    project: Project, instance: dg.DagsterInstance
) -> None:
    plain = project(data="plain")
    assert not flow.run(plain).failures
    ours = project(data="ours")
    shutil.copy(plain.landing_dir / "author.key", ours.data_dir / "author.key")
    ours.landing_dir.mkdir(mode=0o700)
    (ours.data_dir / "author.key").rename(ours.landing_dir / "author.key")
    assert run("land_email", instance).success
    assert run("land__crm", instance).success
    assert run("load", instance).success
    assert hashes(ours) == hashes(plain)
    assert audit.audit(ours).exact
    assert ours.analytics.exists()
    assert ours.report.exists()


def test_running_everything_again_changes_nothing(project: Project, instance: dg.DagsterInstance) -> None:
    settings = project()
    for _ in range(2):
        assert run("land_email", instance).success
        result = run("load", instance)
        assert result.success
    first = hashes(settings)
    assert metadata_of(result, "reports")["messages"] == 0
    assert run("load", instance).success
    assert hashes(settings) == first


# --- landing --------------------------------------------------------------------------------


def test_a_landing_run_tells_counts_and_when_each_stream_last_spoke(
    project: Project, instance: dg.DagsterInstance
) -> None:
    settings = project()
    result = run("land_email", instance)
    told = metadata_of(result, "landing/email")
    [row] = told["streams"]  # type: ignore[misc]
    assert (told["messages"], told["dagster/partition_row_count"], told["path"]) == (
        5,
        5,
        str(settings.landing_dir / "email"),
    )
    assert {k: row[k] for k in ("stream", "messages", "batches", "state")} == {
        "stream": "email/dki",
        "messages": 5,
        "batches": 1,
        "state": "done",
    }
    checks = result.get_asset_check_evaluations()
    assert {(c.check_name, c.passed, c.severity) for c in checks} == {
        ("spoke_lately", True, dg.AssetCheckSeverity.WARN),
        ("nothing_lost", True, dg.AssetCheckSeverity.WARN),
    }
    again = metadata_of(run("land_email", instance), "landing/email")
    assert (again["messages"], again["dagster/partition_row_count"]) == (0, 5)


def test_a_stream_that_fell_silent_is_a_warning_that_stops_nothing(
    project: Project, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    (tmp_path / "inbox").mkdir()
    (tmp_path / "inbox" / "lama.csv").write_text("no,kapan,isi\n1,2026-01-02 08:00,Lampu jalan mati\n", "utf-8")
    columns = {"id": "no", "text": "isi", "occurred_at": "kapan"}
    project(stream_toml("jaki", "utama", "export", inbox="inbox", settle_seconds=0, columns=columns))
    result = run("land_jaki", instance)
    [check] = [c for c in result.get_asset_check_evaluations() if c.check_name == "spoke_lately"]
    assert result.success
    assert (check.passed, check.description) == (False, "silent: jaki/utama")
    assert plain(check.metadata["streams"])[0]["last_said"] == "2026-01-02T08:00+07:00"


def test_one_stream_that_stops_is_told_and_the_others_land(project: Project, instance: dg.DagsterInstance) -> None:
    settings = project(stream_toml("email", "lain", "imap", source_dir="nowhere"))
    result = run("land_email", instance)
    [failure] = result.get_step_failure_events()
    assert not result.success
    assert "email/lain" in failure.step_failure_data.user_failure_data.description
    assert metadata_of(result, "landing/email")["messages"] == 5
    assert Landing(settings.landing_dir).sequences("email", "dki") == [0]


@pytest.mark.parametrize(
    ("error", "retries"),
    [
        (TransientError("email/dki: the server is busy", retry_after=0.01), 2),
        (TransientError("email/dki: the quota is used up", retry_after=900), 0),
        (PermanentError("email/dki: the password is wrong"), 0),
    ],
)
def test_only_what_a_short_wait_may_mend_is_tried_again(
    project: Project, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, error: KanalError, retries: int
) -> None:
    project()
    monkeypatch.setattr("pipelines.defs.resources._FIRST_WAIT", 0.01)
    monkeypatch.setattr(flow, "land", lambda _, stream, **__: flow.Pulled(stream.key, error=error))
    result = run("land_email", instance)
    asked = [e for e in result.all_events if e.event_type_value == "STEP_UP_FOR_RETRY"]
    [failure] = result.get_step_failure_events()
    assert len(asked) == retries
    assert failure.step_failure_data.user_failure_data.description == str(error)
    assert failure.step_failure_data.user_failure_data.metadata["transient"].value == isinstance(error, TransientError)
    assert failure.step_failure_data.error.cause is None


def test_a_person_who_asks_for_earlier_days_has_the_source_read_again(
    project: Project, instance: dg.DagsterInstance
) -> None:
    settings = project()
    run("land_email", instance)
    for fired, landed in (({"dagster/schedule_name": "land_email_schedule"}, 0), ({}, 5)):
        tags = {"dagster/partition": yesterday(), **fired}
        result = run("land_email", instance, partition_key=yesterday(), tags=tags)
        assert metadata_of(result, "landing/email")["messages"] == landed
    run("load", instance)
    with open_warehouse(settings.warehouse) as warehouse:
        assert [(r["messages"], r["repeats"]) for r in warehouse.reconciliation()] == [(10, 3)]


# --- load -----------------------------------------------------------------------------------


def test_a_month_is_backfilled_in_one_run_that_loads_what_waits_and_publishes(
    project: Project, instance: dg.DagsterInstance
) -> None:
    settings = project()
    run("land_email", instance)
    assert run("load", instance).success
    before = settings.analytics.resolve()
    first = (date.fromisoformat(today()) - timedelta(days=29)).isoformat()
    result = run("load", instance, tags={RANGE[0]: first, RANGE[1]: today()})
    keys = {m.partition for m in result.get_asset_materialization_events() if m.asset_key == dg.AssetKey("reports")}
    assert result.success
    assert len(keys) == 30
    assert before.exists()


def test_a_load_tells_counts_per_stream_and_rows_of_the_table(project: Project, instance: dg.DagsterInstance) -> None:
    settings = project()
    run("land_email", instance)
    result = run("load", instance)
    reports, tickets = metadata_of(result, "reports"), metadata_of(result, "tickets")
    [row] = reports["streams"]  # type: ignore[misc]
    assert {k: v for k, v in row.items() if v} == {
        "stream": "email/dki",
        "messages": 5,
        "reports": 3,
        "filtered": 1,
        "quarantined": 1,
        "opened": 3,
    }
    assert (reports["dagster/row_count"], tickets["dagster/row_count"], tickets["opened"]) == (3, 3, 3)
    assert reports["entry"] == 0
    assert metadata_of(result, "crm") == {"tickets_written": 3, "path": str(settings.crm)}
    assert metadata_of(result, "analytics")["path"] == str(settings.analytics.resolve())
    assert metadata_of(result, "report")["path"] == str(settings.report)
    assert {c.check_name for c in result.get_asset_check_evaluations() if c.passed} == {
        "landing_readable",
        "reconciled",
        "keys_unique",
        "confidence_in_range",
    }


def test_a_young_snapshot_stays_unless_a_person_asks(
    project: Project, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    project()
    for number, (fired, published) in enumerate((("sensor", True), ("sensor", False), ("person", True))):
        write_mail(tmp_path / "mails" / f"9{number}.eml", f"Lampu mati nomor {number}.")
        run("land_email", instance)
        tags = {"dagster/sensor_name": "landed_not_loaded"} if fired == "sensor" else {}
        result = run("load", instance, partition_key=today(), tags=tags)
        shown = {m.asset_key.to_user_string() for m in result.get_asset_materialization_events()}
        assert result.success
        assert shown == {"reports", "tickets", "crm"} | ({"analytics", "report"} if published else set())


def test_landing_that_cannot_be_read_is_told_and_the_rest_is_loaded_and_published(
    project: Project, instance: dg.DagsterInstance
) -> None:
    settings = project()
    run("land_email", instance)
    torn = Landing(settings.landing_dir).path(BatchRef("jaki", "utama", 0))
    torn.parent.mkdir(parents=True)
    torn.write_bytes(b"PAR1")
    result = run("load", instance)
    [check] = [c for c in result.get_asset_check_evaluations() if not c.passed]
    assert (check.check_name, check.blocking) == ("landing_readable", False)
    assert "restore it from a backup" in (check.description or "")
    assert metadata_of(result, "reports")["reports"] == 3
    assert result.success
    assert settings.report.exists()


# --- proofs ---------------------------------------------------------------------------------

BREAKS = {
    ("reports", "reconciled"): "UPDATE ledger SET reports = reports + 1",
    ("reports", "keys_unique"): "INSERT INTO reports SELECT * FROM reports LIMIT 1",
    ("reports", "confidence_in_range"): "UPDATE reports SET kind_confidence = 1.5",
    ("tickets", "reconciled"): "UPDATE tickets SET report_count = report_count + 1",
    ("tickets", "keys_unique"): "INSERT INTO links SELECT * FROM links LIMIT 1",
}


@pytest.mark.parametrize(("asset", "check"), BREAKS)
def test_a_broken_warehouse_fails_its_check_and_nothing_is_delivered_or_published(
    project: Project, instance: dg.DagsterInstance, asset: str, check: str
) -> None:
    settings = project()
    run("land_email", instance)
    flow.load(settings, run_id="made")
    with duckdb.connect(str(settings.warehouse)) as con:
        con.execute(BREAKS[asset, check])
    result = run("load", instance)
    failed = {
        (c.asset_key.to_user_string(), c.check_name) for c in result.get_asset_check_evaluations() if not c.passed
    }
    shown = {m.asset_key.to_user_string() for m in result.get_asset_materialization_events()}
    assert not result.success
    assert (asset, check) in failed
    assert shown == {"reports", "tickets"}
    assert not settings.analytics.exists()
    assert not settings.crm.exists()


def test_every_promise_of_the_warehouse_is_proved_by_one_check(project: Project) -> None:
    settings = project()
    with open_warehouse(settings.warehouse) as warehouse:
        promises = list(warehouse.violations())
    specs = {(spec.asset_key, spec.name) for spec in checks.SPECS}
    assert {checks.check_of(p) for p in promises} == specs
    assert len(promises) == sum(len(r.metadata) for r in checks.results(dict.fromkeys(promises, 0)))
    assert {p for p in promises if checks.check_of(p)[1] == "keys_unique"} == {
        f"{name}: key ({', '.join(key)}) twice" for name, key in KEYS.items()
    }


def test_a_warehouse_that_is_being_written_is_waited_for(
    project: Project, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    project()
    monkeypatch.setattr("pipelines.defs.resources._FIRST_WAIT", 0.01)
    busy = [TransientError("warehouse.duckdb is being written by process 1")]
    count = Warehouse.violations

    def violations(self: Warehouse) -> dict[str, int]:
        if busy:
            raise busy.pop()
        return count(self)

    monkeypatch.setattr(Warehouse, "violations", violations)
    assert run("load", instance).success


# --- what nobody may read -------------------------------------------------------------------


def test_no_word_of_a_citizen_and_no_secret_reaches_dagster(
    project: Project, instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, name, phone, token = "lubang sedalam betis", "Siti Contoh", "0812-0000-7531", "rahasia-9f3b"
    monkeypatch.setenv("KANAL_X_BEARER", token)
    project(
        stream_toml(
            "twitter",
            "dki",
            "twitter",
            user_id="1",
            handle="dki",
            bearer_env="KANAL_X_BEARER",
            api_base="http://127.0.0.1:9",
        )
    )
    mail = tmp_path / "mails" / "99.eml"
    write_mail(mail, f"{text}, hubungi {phone}.", sender=f"{name} <siti@example.com>", subject=text)
    monkeypatch.setattr("pipelines.defs.resources._FIRST_WAIT", 0.01)
    for job in ("land_email", "land_twitter", "load"):
        run(job, instance)
    told = "".join(repr(entry) for r in instance.get_runs() for entry in instance.all_logs(r.run_id)) + "".join(
        repr(r) for r in instance.get_runs()
    )
    assert "email/dki" in told
    for canary in (text, name, "siti@example.com", phone, token):
        assert canary not in told, canary
    assert not re.search(r"(?<![0-9a-f.])7531(?![0-9a-f])", told)  # in ids and times it may stand by chance


def test_partitions_are_days_of_jakarta_and_today_is_one() -> None:
    days = defs().get_repository_def().asset_graph.get(dg.AssetKey("reports")).partitions_def
    assert days is not None
    midnight = datetime(2026, 6, 1, tzinfo=WIB)
    for moment, last in ((midnight - timedelta(seconds=1), "2026-05-31"), (midnight, "2026-06-01")):
        with freeze_time(moment.astimezone(UTC)):
            assert days.get_last_partition_key() == last
