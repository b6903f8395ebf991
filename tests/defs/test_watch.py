"""Who is told of failures and silence, how often, and that a mail server's absence loses nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import duckdb
import pytest
from dagster._core.definitions.freshness import FreshnessState, FreshnessStateChange

from pipelines import alerts, flow
from pipelines.contracts import WIB
from pipelines.defs import watch
from pipelines.defs.resources import Kanal
from pipelines.errors import KanalError, PermanentError, TransientError
from pipelines.settings import Settings
from pipelines.sinks.landing import BatchRef, Head, Landing
from tests.conftest import stream_toml
from tests.defs.conftest import Letters, alerts_toml, run, tick

Project = Callable[..., Settings]
WRONG = PermanentError("email/dki: the password is wrong; set KANAL_MAIL_PASSWORD")
BUSY = TransientError("email/dki: the server is busy")


@pytest.fixture
def fail(monkeypatch: pytest.MonkeyPatch, instance: dg.DagsterInstance) -> Callable[[KanalError | None], None]:
    """fail(error): a landing run that ends with it; None: one that succeeds."""
    monkeypatch.setattr("pipelines.defs.resources._RETRIES", 0)

    def end(error: KanalError | None) -> None:
        monkeypatch.setattr(flow, "land", lambda _, stream, **__: flow.Pulled(stream.key, error=error))
        assert run("land_email", instance).success == (error is None)

    return end


def told(instance: dg.DagsterInstance, cursor: str | None) -> str | None:
    """Tick the alert sensor; its cursor."""
    return tick("tell_failures", instance, cursor).cursor


# --- failures -------------------------------------------------------------------------------


def test_a_failed_run_is_told_once_with_what_to_do(
    project: Project, instance: dg.DagsterInstance, letters: Letters, fail: Callable[..., None]
) -> None:
    project(alerts_toml(letters))
    cursor = told(instance, None)
    fail(WRONG)
    cursor = told(instance, told(instance, cursor))
    [mail] = letters.mails
    [run_id] = [r.run_id for r in instance.get_runs()]
    now = datetime.now(UTC).astimezone(WIB)
    assert (mail["Subject"], mail["To"], mail["From"]) == (
        "Kanal: land_email failed",
        "jaga@example.com",
        "kanal@localhost",
    )
    [text] = letters.texts
    assert text.startswith(f"land_email failed at {now:%Y-%m-%d}")
    assert text.endswith(f"(run {run_id})\n- {WRONG}\n")


def test_a_broken_warehouse_stops_publishing_and_the_alert_names_the_check(
    project: Project, instance: dg.DagsterInstance, letters: Letters
) -> None:
    settings = project(alerts_toml(letters))
    cursor = told(instance, None)
    assert run("land_email", instance).success
    flow.load(settings, run_id="made")
    with duckdb.connect(str(settings.warehouse)) as con:
        con.execute("INSERT INTO links SELECT * FROM links LIMIT 1")
    assert not run("load", instance).success
    told(instance, cursor)
    [text] = letters.texts
    assert "- check keys_unique of tickets: broken: links: key (report_id) twice." in text
    assert "Run: kanal audit, then kanal rebuild" in text
    assert not settings.analytics.exists()


def test_an_alert_waits_for_a_mail_server_that_is_away(
    project: Project, instance: dg.DagsterInstance, letters: Letters, fail: Callable[..., None]
) -> None:
    project(alerts_toml(letters))
    cursor = told(instance, None)
    fail(WRONG)
    letters.refuse = "451 come again"
    with pytest.raises(TransientError, match="does not take the mail"):
        told(instance, cursor)
    letters.refuse = None
    told(instance, cursor)
    assert len(letters.mails) == 1


def test_a_hiccup_is_told_when_it_lasts_and_a_lasting_failure_once_a_day(
    project: Project,
    instance: dg.DagsterInstance,
    letters: Letters,
    fail: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    project(alerts_toml(letters))
    cursor = told(instance, None)
    mails = []
    for error in (BUSY, None, BUSY, BUSY, BUSY, None, WRONG, BUSY):
        fail(error)
        cursor = told(instance, cursor)
        mails.append(len(letters.mails))
    assert mails == [0, 0, 0, 1, 1, 1, 2, 3]
    fail(BUSY)
    tomorrow = watch._ended
    monkeypatch.setattr(
        watch,
        "_ended",
        lambda r: tomorrow(r) + timedelta(days=r.dagster_run.run_id == instance.get_runs(limit=1)[0].run_id),
    )
    told(instance, cursor)
    assert len(letters.mails) == 4


def test_what_an_unforeseen_error_says_stays_out_of_the_alert(
    project: Project, instance: dg.DagsterInstance, letters: Letters, monkeypatch: pytest.MonkeyPatch
) -> None:
    project(alerts_toml(letters))
    cursor = told(instance, None)

    def land(*_: object, **__: object) -> None:
        raise ValueError("could not convert 'hubungi Siti 0812-0000-7531'")

    monkeypatch.setattr(flow, "land", land)
    assert not run("land_email", instance).success
    told(instance, cursor)
    [text] = letters.texts
    assert "- landing__email: ValueError; see the run in Dagster" in text
    assert "7531" not in text


def test_a_process_that_ended_is_told(project: Project, instance: dg.DagsterInstance, letters: Letters) -> None:
    project(alerts_toml(letters))
    cursor = told(instance, None)
    gone = instance.create_run_for_job(dg.job(name="load")(lambda: None))  # type: ignore[arg-type]
    instance.report_run_failed(gone, "killed")
    told(instance, cursor)
    assert "- its process ended or ran too long; see the run in Dagster" in letters.texts[0]


def test_where_nobody_is_to_be_told_the_sensors_say_so(project: Project, instance: dg.DagsterInstance) -> None:
    project()
    for sensor in ("tell_failures", "tell_silence"):
        assert tick(sensor, instance).skip_message == "nobody is told: set [alerts] in kanal.toml"


# --- silence --------------------------------------------------------------------------------


def test_a_stream_that_fell_silent_is_told_once_a_day_until_it_speaks(
    project: Project, instance: dg.DagsterInstance, letters: Letters, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = project(alerts_toml(letters) + stream_toml("sms", "gateway", "imap", source_dir="none", stale_hours=1))
    now = datetime.now(UTC)
    [email] = settings.streams_of("email")
    flow.land(settings, email, run_id="made")
    cursor, mails = None, []
    for hours in (23, 25, 26, 50):
        monkeypatch.setattr(flow, "utc_now", lambda hours=hours: now + timedelta(hours=hours))
        cursor = tick("tell_silence", instance, cursor).cursor
        mails.append(len(letters.mails))
    assert mails[0] == 0
    assert mails[1] == 1
    assert mails[3] == mails[2] + 1
    said = now.astimezone(WIB)
    assert f"- email/dki: nothing said since {said:%Y-%m-%d %H:%M} WIB (stale_hours = 24)" in letters.texts[0]
    assert "sms/gateway" not in "".join(letters.texts), "it never spoke: it may just have been set up"


def test_landing_that_cannot_be_read_is_told(project: Project, instance: dg.DagsterInstance, letters: Letters) -> None:
    settings = project(alerts_toml(letters))
    torn = Landing(settings.landing_dir).path(BatchRef("email", "dki", 0))
    torn.parent.mkdir(parents=True)
    torn.write_bytes(b"PAR1")
    tick("tell_silence", instance)
    assert "restore it from a backup" in letters.texts[0]


def test_a_channel_that_dagster_does_not_ask_is_told(
    project: Project, instance: dg.DagsterInstance, letters: Letters
) -> None:
    project(alerts_toml(letters))
    change = FreshnessStateChange(
        key=dg.AssetKey(["landing", "email"]),
        previous_state=FreshnessState.PASS,
        new_state=FreshnessState.FAIL,
        state_change_timestamp=datetime.now(UTC).timestamp(),
    )
    instance._report_runless_asset_event(change)
    cursor = tick("tell_silence", instance).cursor
    tick("tell_silence", instance, cursor)
    assert letters.texts == ["- email: land_email has not succeeded for too long; is its schedule on?\n"]


# --- sending --------------------------------------------------------------------------------


def test_a_webhook_gets_the_text_and_its_address_is_in_no_error(
    hook: tuple[str, list[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, bodies = hook
    monkeypatch.setenv("KANAL_HOOK", f"{url}/rahasia-9f3b")
    to = alerts.Alerts(webhook_env="KANAL_HOOK")
    assert alerts.anybody(to)
    alerts.tell(to, "Kanal: load failed", "- why")
    assert bodies == [b'{"text": "Kanal: load failed\\n- why"}']
    for path, kind in (("/503", TransientError), ("/404", PermanentError), ("/302", PermanentError)):
        monkeypatch.setenv("KANAL_HOOK", f"{url}/rahasia-9f3b{path}")
        with pytest.raises(kind, match=f"the webhook answered {path[1:]}") as caught:
            alerts.tell(to, "Kanal", "- why")
        assert "rahasia" not in repr(caught.value)
    monkeypatch.setenv("KANAL_HOOK", "http://127.0.0.1:9/rahasia-9f3b")
    with pytest.raises(TransientError, match="cannot be reached") as caught:
        alerts.tell(to, "Kanal", "- why")
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.fixture
def hook() -> Iterator[tuple[str, list[bytes]]]:
    """(address of a webhook on loopback, bodies it was sent); a path that ends in a number answers with it."""
    from http.server import BaseHTTPRequestHandler, HTTPServer
    from threading import Thread

    bodies: list[bytes] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            last = self.path.rpartition("/")[2]
            if not last.isdigit():
                bodies.append(body)
            self.send_response(int(last) if last.isdigit() else 200)
            self.send_header("Location", "http://127.0.0.1:9/")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = HTTPServer(("127.0.0.1", 0), Hook)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", bodies
    server.shutdown()
    server.server_close()


def test_a_mail_server_that_is_not_there_or_refuses_an_address_is_told_apart(letters: Letters) -> None:
    to = alerts.Alerts(smtp_host="127.0.0.1", smtp_port=9, recipients=("jaga@example.com",))
    with pytest.raises(TransientError, match=r"127\.0\.0\.1:9 does not take the mail \(ConnectionRefusedError\)"):
        alerts.tell(to, "Kanal", "- why")
    odd = alerts.Alerts(smtp_host="127.0.0.1", smtp_port=letters.port, recipients=("pindah@example.com",))
    with pytest.raises(PermanentError, match="refuses an address"):
        alerts.tell(odd, "Kanal", "- why")
    user = alerts.Alerts(
        smtp_host="127.0.0.1", smtp_port=letters.port, recipients=("jaga@example.com",), smtp_user_env="KANAL_NO_USER"
    )
    with pytest.raises(PermanentError, match="environment variable KANAL_NO_USER is not set"):
        alerts.tell(user, "Kanal", "- why")


def test_a_login_the_server_does_not_offer_is_a_matter_of_settings(
    letters: Letters, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KANAL_MAIL_USER", "kanal")
    monkeypatch.setenv("KANAL_MAIL_PASSWORD", "rahasia-9f3b")
    to = alerts.Alerts(
        smtp_host="127.0.0.1",
        smtp_port=letters.port,
        recipients=("jaga@example.com",),
        smtp_user_env="KANAL_MAIL_USER",
        smtp_password_env="KANAL_MAIL_PASSWORD",
    )
    with pytest.raises(PermanentError, match="refuses the login") as caught:
        alerts.tell(to, "Kanal", "- why")
    assert os.environ["KANAL_MAIL_PASSWORD"] not in repr(caught.value)


def test_nobody_is_told_where_nothing_is_set() -> None:
    assert not alerts.anybody(alerts.Alerts())
    assert not alerts.anybody(alerts.Alerts(smtp_host="127.0.0.1"))


# --- housekeeping ---------------------------------------------------------------------------


def test_the_small_landing_files_of_a_busy_stream_are_merged(project: Project, instance: dg.DagsterInstance) -> None:
    settings = project()
    landing, stream, head = Landing(settings.landing_dir), settings.streams[0], Head(-1, None)
    for n in range(205):
        won = landing.put(stream, head, [], {"n": n}, source_version="1", run_id="r", now=datetime.now(UTC))
        assert won is not None
        head = won
    assert run("compact", instance, tags={}).success
    assert (landing.files(*stream.key.split("/")), landing.head(stream)) == (list(range(105, 205)), head)


def test_photos_are_fetched_on_a_schedule_only_where_that_is_switched_on(
    project: Project, instance: dg.DagsterInstance
) -> None:
    from pipelines.defs.tidy import fetch_media_schedule

    def asked() -> dg.RunRequest | dg.SkipReason:
        kanal = Kanal(config=os.environ["KANAL_CONFIG"])
        with (
            dg.instance_for_test() as real,
            dg.build_schedule_context(real, resources={"kanal": kanal}) as context,
        ):
            return fetch_media_schedule(context)

    settings = project()
    assert asked() == dg.SkipReason("kanal.toml does not say [media] fetch = true")
    failed = run("fetch_media", instance, tags={})
    assert not failed.success
    settings.path.write_text(
        settings.path.read_text("utf-8") + '\n[media]\nfetch = true\nallow = ["pbs.example.id"]\n', "utf-8"
    )
    assert isinstance(asked(), dg.RunRequest)
    assert run("fetch_media", instance, tags={}).success


def test_old_runs_go_but_the_last_success_of_each_job_and_day(
    project: Project, instance: dg.DagsterInstance, fail: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipelines.defs import tidy

    project()
    for error in (None, None, WRONG):
        fail(error)
    now = datetime.now(UTC)
    failed, kept, old = [r.run_id for r in instance.get_runs()]
    assert tidy.old_runs(instance, now + timedelta(days=6)) == []
    assert tidy.old_runs(instance, now + timedelta(days=8)) == [failed, old]
    monkeypatch.setattr(tidy, "utc_now", lambda: now + timedelta(days=8))
    assert run("tidy", instance, tags={}).success
    assert kept in {r.run_id for r in instance.get_runs()}
    assert not {failed, old} & {r.run_id for r in instance.get_runs()}


def test_the_file_of_a_deleted_run_goes_with_it(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipelines.defs import tidy

    project()
    with dg.instance_for_test(temp_dir=str(tmp_path)) as instance:
        for _ in range(2):
            assert run("land_email", instance).success
        runs = tmp_path / "history" / "runs"
        kept, old = [r.run_id for r in instance.get_runs()]
        now = datetime.now(UTC)
        monkeypatch.setattr(tidy, "utc_now", lambda: now + timedelta(days=8))
        assert run("tidy", instance, tags={}).success
        assert (runs / f"{kept}.db").exists()
        assert not (runs / f"{old}.db").exists()
