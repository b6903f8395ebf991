"""What Dagster sees: every asset, check, job, schedule and sensor by name."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._core.instance.config import dagster_instance_config
from dagster._utils.schedules import is_valid_cron_schedule

from pipelines.contracts import REPORTS, TICKETS
from pipelines.defs import landing
from pipelines.defs.landing import minutes
from pipelines.defs.resources import config_path
from pipelines.settings import Settings
from tests.conftest import ROOT, stream_toml
from tests.defs.conftest import defs, run

TWO_MORE = stream_toml("jaki", "utama", "export", inbox="inbox", columns={"id": "no", "text": "isi"}) + stream_toml(
    "sms", "gateway", "sms", database="smsd.db", stale_hours=72
)


def test_the_graph_is_one_landing_asset_a_channel_and_the_load_behind_them(project: Callable[..., Settings]) -> None:
    project(TWO_MORE)
    graph = defs().get_repository_def().asset_graph
    parents = {
        key.to_user_string(): sorted(p.to_user_string() for p in graph.get(key).parent_keys)
        for key in graph.get_all_asset_keys()
    }
    landed = ["landing/_crm", "landing/email", "landing/jaki", "landing/sms"]
    assert parents == {
        **{key: [] for key in landed},
        "reports": landed,
        "tickets": ["reports"],
        "crm": ["tickets"],
        "analytics": ["reports", "tickets"],
        "report": ["analytics"],
    }
    assert sorted(c.to_user_string() for c in graph.asset_check_keys) == [
        "landing/email:nothing_lost",
        "landing/email:spoke_lately",
        "landing/jaki:nothing_lost",
        "landing/jaki:spoke_lately",
        "landing/sms:nothing_lost",
        "landing/sms:spoke_lately",
        "reports:confidence_in_range",
        "reports:keys_unique",
        "reports:landing_readable",
        "reports:reconciled",
        "tickets:keys_unique",
        "tickets:reconciled",
    ]


def test_jobs_schedules_and_sensors_are_these_and_start_by_themselves(project: Callable[..., Settings]) -> None:
    project(TWO_MORE)
    found = defs().get_repository_def()
    jobs = ["compact", "fetch_media", "land__crm", "land_email", "land_jaki", "land_sms", "load", "tidy"]
    assert sorted(j.name for j in found.get_all_jobs() if not j.name.startswith("__")) == jobs
    assert {s.name: (s.cron_schedule, s.execution_timezone, s.default_status.value) for s in found.schedule_defs} == {
        "land__crm_schedule": ("0-59/5 * * * *", "Asia/Jakarta", "RUNNING"),
        "land_email_schedule": ("1-59/5 * * * *", "Asia/Jakarta", "RUNNING"),
        "land_jaki_schedule": ("2-59/5 * * * *", "Asia/Jakarta", "RUNNING"),
        "land_sms_schedule": ("3-59/5 * * * *", "Asia/Jakarta", "RUNNING"),
        "compact_schedule": ("25 * * * *", "Asia/Jakarta", "RUNNING"),
        "fetch_media_schedule": ("10,40 * * * *", "Asia/Jakarta", "RUNNING"),
        "tidy_schedule": ("40 2 * * *", "Asia/Jakarta", "RUNNING"),
    }
    assert {s.name: s.default_status.value for s in found.sensor_defs} == dict.fromkeys(
        ["inbox_files", "landed_not_loaded", "tell_failures", "tell_silence"], "RUNNING"
    )


def test_a_channel_may_be_pulled_every_minute(project: Callable[..., Settings]) -> None:
    project("[schedule]\nevery_minutes = 20\nchannels = {email = 1, sms = 2}\n" + TWO_MORE)
    schedules = {s.name: s.cron_schedule for s in defs().get_repository_def().schedule_defs}
    assert [schedules[f"land_{channel}_schedule"] for channel in ("email", "jaki", "sms")] == [
        "0-59/1 * * * *",
        "2-59/20 * * * *",
        "1-59/2 * * * *",
    ]
    assert all(is_valid_cron_schedule(str(cron)) for cron in schedules.values())


def test_only_what_opens_the_warehouse_is_in_its_pool(project: Callable[..., Settings]) -> None:
    project(TWO_MORE)
    found = defs().get_repository_def()
    pools = {
        node.name: node.definition.pool
        for job in found.get_all_jobs()
        if not job.name.startswith("__")
        for node in job.nodes
    }
    assert {name for name, pool in pools.items() if pool == "warehouse"} == {
        "load_landed",
        "prove_warehouse",
        "deliver",
        "publish",
    }
    assert not {name for name, pool in pools.items() if pool not in (None, "warehouse")}


def test_every_run_is_one_process_and_ends_some_day(project: Callable[..., Settings]) -> None:
    project(TWO_MORE)
    for job in defs().get_repository_def().get_all_jobs():
        assert job.executor_def == dg.in_process_executor, job.name
        assert job.name.startswith("__") or int(job.tags["dagster/max_runtime"]) <= 3600


def test_assets_say_what_they_are_and_what_their_columns_mean(project: Callable[..., Settings]) -> None:
    project(TWO_MORE)
    graph = defs().get_repository_def().asset_graph
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert node.description, key
        assert node.owners == ["team:data-engineering"], key
        assert node.kinds, key
        assert node.partitions_def.timezone == "Asia/Jakarta"  # type: ignore[union-attr]
        assert node.backfill_policy == dg.BackfillPolicy.single_run()
    for name, schema in (("reports", REPORTS), ("tickets", TICKETS)):
        shown = graph.get(dg.AssetKey(name)).metadata["dagster/column_schema"]
        assert [c.name for c in shown.columns] == schema.names
        assert all(c.description for c in shown.columns)
    jaki = graph.get(dg.AssetKey(["landing", "jaki"]))
    assert "JAKI" in jaki.description
    assert "Exports: files of another system" in jaki.description
    assert "Options in kanal.toml" not in jaki.description


def test_without_settings_definitions_load_and_every_run_says_what_to_do(
    tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KANAL_CONFIG", str(tmp_path / "missing.toml"))
    keys = {k.to_user_string() for k in defs().get_repository_def().asset_graph.get_all_asset_keys()}
    assert keys == {"reports", "tickets", "crm", "analytics", "report"}
    [failure] = run("load", instance).get_step_failure_events()
    assert failure.step_failure_data.user_failure_data.description == f"no settings at {tmp_path}/missing.toml"


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ('[[stream]]\nchannel = "jaki"\nname = "a"\nsource = "telepathy"\n', "source 'telepathy' is not one of"),
        (stream_toml("jaki", "a", "export", stale_hours=0), "stale_hours must be a number of hours above 0"),
    ],
)
def test_a_fault_in_the_settings_is_told_and_hides_no_definition(
    tmp_path: Path, more: str, problem: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "kanal.toml"
    path.write_text(more, "utf-8")
    monkeypatch.setenv("KANAL_CONFIG", str(path))
    dg.get_dagster_logger().propagate = True
    found = defs().get_repository_def()
    assert "load" in [j.name for j in found.get_all_jobs()]
    assert problem in caplog.text


def test_settings_are_those_named_else_of_the_folder_else_the_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KANAL_CONFIG", raising=False)
    assert config_path() == ROOT / "samples" / "kanal.toml"
    (tmp_path / "kanal.toml").touch()
    assert config_path() == tmp_path / "kanal.toml"
    monkeypatch.setenv("KANAL_CONFIG", "elsewhere.toml")
    assert config_path() == tmp_path / "elsewhere.toml"


def test_dagsters_own_settings_are_valid_name_no_path_and_send_nothing() -> None:
    config, _ = dagster_instance_config(str(ROOT))
    raw = yaml.safe_load((ROOT / "dagster.yaml").read_text("utf-8"))
    assert config["telemetry"] == {"enabled": False}
    assert config["concurrency"]["pools"] == {"default_limit": 1, "granularity": "run"}
    assert config["run_monitoring"]["enabled"] is True
    assert not {"storage", "local_artifact_storage", "run_storage", "event_log_storage"} & set(raw)


def test_the_project_says_where_its_definitions_are() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["dg"]
    assert project == {
        "directory_type": "project",
        "project": {"root_module": "pipelines", "code_location_name": "kanal"},
    }


def test_the_command_line_does_not_import_dagster() -> None:
    code = "import sys, pipelines.cli, pipelines.flow, pipelines.alerts; print('dagster' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert told.stdout.strip() == "False"


def test_the_page_for_engineers_names_every_job_sensor_schedule_and_check(project: Callable[..., Settings]) -> None:
    project()
    found, page = defs().get_repository_def(), (ROOT / "docs" / "orchestration.md").read_text("utf-8")
    names = {s.name for s in found.sensor_defs} | {c.name for c in found.asset_graph.asset_check_keys}
    names |= {j.name for j in found.get_all_jobs()} | {s.name for s in found.schedule_defs} | {"inbox_files"}
    general = {re.sub("^land_(email|_crm)", "land_<channel>", n) for n in names if not n.startswith("__")}
    assert {n for n in general if f"`{n}`" not in page} == set()


@pytest.mark.parametrize("every", [1, 7, 60])
def test_neighbouring_channels_start_at_different_minutes_of_a_valid_schedule(every: int) -> None:
    crons = [minutes(number, every) for number in range(61)]
    assert all(is_valid_cron_schedule(cron) for cron in crons)
    assert len(set(crons)) == every


def test_what_arrives_by_itself_has_its_landing_too_which_tells_when_it_falls_silent(
    project: Callable[..., Settings], instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UJI_KUNCI", "rahasia")
    settings = project(
        stream_toml("sms", "kannel", "webhook", dialect="kannel", secret_env="UJI_KUNCI")
        + stream_toml("balai_warga", "web", "form", secret_env="UJI_KUNCI")
    )
    for channel in ("sms", "balai_warga"):
        done = run(f"land_{channel}", instance)
        assert done.success
        checks = {check.check_name: check for check in done.get_asset_check_evaluations()}
        assert {name: check.passed for name, check in checks.items()} == {"spoke_lately": False, "nothing_lost": True}
        assert "silent" in (checks["spoke_lately"].description or "")
    assert not settings.landing_dir.exists()


def test_a_source_is_shown_by_its_picture_or_by_its_name(
    project: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(landing._KINDS, "feed")
    project(stream_toml("media", "surat", "feed", source_dir="."))
    graph = defs().get_repository_def().asset_graph
    assert {c: graph.get(dg.AssetKey(["landing", c])).kinds for c in ("email", "media", "_crm")} == {
        "email": {"parquet", "mail"},
        "media": {"parquet", "feed"},
        "_crm": {"parquet", "crm"},
    }
