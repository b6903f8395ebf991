"""`kanal` as a person or a script meets it: words, JSON, exit codes."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
from click.testing import Result
from typer.testing import CliRunner

from pipelines.cli import app
from pipelines.commands.common import FAILED, PARTIAL
from pipelines.settings import Settings
from pipelines.sinks.landing import BatchRef, Landing
from pipelines.sinks.warehouse import open_warehouse
from tests.conftest import stream_toml
from tests.made_up import JAKI, KELURAHAN, ROWS, write

Make = Callable[..., Settings]


def kanal(*words: Any, config: Settings | None = None) -> Result:
    where = ["--config", str(config.path)] if config else []
    return CliRunner().invoke(app, [*map(str, words), *where])


def told(result: Result) -> Any:
    return json.loads(result.stdout)


def _ran(place: Path, make: Make) -> Settings:
    write(place / "jaki" / "oktober.csv")
    settings = make(JAKI)
    assert kanal("run", config=settings).exit_code == 0
    return settings


@pytest.fixture
def ran(starting_from: Callable[..., Settings]) -> Settings:
    return starting_from(_ran)


COMMANDS = (
    "run", "import", "status", "trace", "audit", "rebuild", "doctor", "intake",
    "model train", "model evaluate", "model list", "model rollback",
    "gazetteer install", "mapping new", "mapping list", "mapping show", "desk template",
    "review list", "review decide", "link evaluate",
)  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_teaches_itself(command: str) -> None:
    result = kanal(*command.split(), "--help")
    assert result.exit_code == 0
    assert ("--json" in result.stdout) == (command != "intake")  # which prints no result
    assert len(result.stdout) > 400


def test_a_run_ends_with_a_table_the_top_lists_and_where_things_lie(tmp_path: Path, make_settings: Make) -> None:
    write(tmp_path / "jaki" / "oktober.csv")
    settings = make_settings(JAKI)
    result = kanal("run", config=settings)
    assert result.exit_code == 0
    plain = re.sub(r"\s+", " ", result.stdout)
    assert "stream pulled new repeats filtered quarantined opened joined seconds" in plain
    assert re.search(r"jaki/app 6 6 0 0 0 4 1", plain)
    for word in (
        "top_categories, 2026-10",
        "Jalan 2 1 33.3",
        "top_channels",
        str(settings.analytics),
        str(settings.report),
    ):
        assert word in plain
    again = kanal("run", config=settings)
    assert again.exit_code == 0
    assert "0 new messages" in again.stdout


def test_a_run_tells_a_script_all_of_it_as_json(tmp_path: Path, make_settings: Make) -> None:
    write(tmp_path / "jaki" / "oktober.csv")
    found = told(kanal("run", "--json", config=make_settings(JAKI)))
    [jaki, crm] = found["streams"]
    assert {k: jaki[k] for k in ("stream", "pulled", "new", "opened", "joined")} == {
        "stream": "jaki/app", "pulled": 6, "new": 6, "opened": 4, "joined": 1,
    }  # fmt: skip
    assert crm["stream"] == "_crm/status"
    assert (found["delivered"], found["failures"]) == (4, {})


def test_quarantine_and_failed_streams_make_a_run_partial(tmp_path: Path, make_settings: Make) -> None:
    write(tmp_path / "jaki" / "a.csv", [ROWS[0], {"nomor": "JK2610040009"}])
    settings = make_settings(JAKI)
    result = kanal("run", config=settings)
    assert result.exit_code == PARTIAL
    assert "1 messages were set aside" in result.stdout
    assert kanal("run", config=settings).exit_code == 0
    result = kanal(
        "run", config=make_settings(JAKI + stream_toml("sms", "pusat", "sms", database="x.db"), data="other")
    )
    assert result.exit_code == PARTIAL
    assert "failed sms/pusat" in result.stderr


def test_one_channel_alone_can_be_run(ran: Settings) -> None:
    found = told(kanal("run", "--channel", "jaki", "--since", "2026-11-01", "--json", config=ran))
    assert [s["stream"] for s in found["streams"]] == ["jaki/app"]
    assert found["streams"][0]["repeats"] == 6
    result = kanal("run", "--channel", "pos", config=ran)
    assert result.exit_code == FAILED
    assert "configured: jaki" in result.stderr


def test_files_are_imported_by_name(tmp_path: Path, make_settings: Make) -> None:
    file = write(tmp_path / "rekap.csv")
    settings = make_settings(JAKI.replace('inbox = "jaki"\n', ""))
    assert told(kanal("import", "jaki", file, "--json", config=settings))["streams"][0]["new"] == 6
    assert told(kanal("import", "jaki/app", file, "--json", config=settings))["streams"][0]["pulled"] == 0
    assert kanal("import", "jaki", tmp_path / "missing.csv", config=settings).exit_code == 2


def test_a_day_that_is_none_is_wrong_usage(ran: Settings) -> None:
    result = kanal("run", "--since", "kemarin", config=ran)
    assert result.exit_code == 2
    assert "2026-11-01" in result.stderr


@pytest.mark.parametrize(
    ("text", "told_of"),
    [
        ("[kanal]\nwarna = 1\n", "unknown key 'warna'"),
        ("[kanal", "is not valid TOML"),
        ('[[stream]]\nchannel = "jaki"\n', "`name` is missing"),
        ('[[stream]]\nchannel = "jaki"\nname = "../x"\nsource = "export"\n', "may hold a-z"),
        ('[[stream]]\nchannel = "jaki"\nname = "x"\nsource = "fax"\n', "is not one of"),
    ],
)
def test_wrong_settings_are_one_line_that_names_the_key(tmp_path: Path, text: str, told_of: str) -> None:
    path = tmp_path / "kanal.toml"
    path.write_text(text)
    result = CliRunner().invoke(app, ["run", "--config", str(path)])
    assert result.exit_code == FAILED
    assert told_of in re.sub(r"\s+", " ", result.stderr)
    assert "Traceback" not in result.stderr


def test_no_settings_at_all_says_how_to_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KANAL_CONFIG", raising=False)
    result = CliRunner().invoke(app, ["status"])
    assert result.exit_code == FAILED
    assert "samples/kanal.toml" in re.sub(r"\s+", " ", result.stderr)


def test_status_counts_what_waits_to_be_loaded(tmp_path: Path, ran: Settings) -> None:
    from pipelines import flow

    write(tmp_path / "jaki" / "november.csv", [ROWS[0] | {"nomor": "JK2611010001"}])
    flow.land(ran, ran.streams[0], run_id="r")
    found = told(kanal("status", "--json", config=ran))
    [row] = [r for r in found["streams"] if r["stream"] == "jaki/app"]
    assert {k: row[k] for k in ("batches", "messages", "waiting", "last_said")} == {
        "batches": 2, "messages": 7, "waiting": 1, "last_said": "2026-10-03 08:00",
    }  # fmt: skip
    assert kanal("status", config=ran).exit_code == 0


# --- audit and rebuild ---


def test_an_audit_is_exact_and_says_so(ran: Settings) -> None:
    result = kanal("audit", config=ran)
    assert result.exit_code == 0
    assert result.stdout.strip().endswith("exact")
    found = told(kanal("audit", "--json", config=ran))
    assert found["streams"] == [
        {"stream": "jaki/app", "landed": 6, "report": 6, "repeat": 0, "older": 0, "filtered": 0, "quarantined": 0, "event": 0,
         "pending": 0, "unaccounted": 0}
    ]  # fmt: skip


BREAKS: dict[str, tuple[str, str]] = {
    "a message that vanished": ("DELETE FROM messages WHERE row = 2", "message jaki/app/0/2 landed, but nothing says"),
    "a message of nobody": (
        "INSERT INTO messages SELECT * REPLACE (99 AS row) FROM messages WHERE row = 2", "holds 7 messages, 6 of them landed",
    ),
    "a batch in another entry": ("UPDATE ledger SET entry = 5", "was loaded as entry 5, but the order log says 0"),
    "a report in two tickets": (
        "INSERT INTO links SELECT * REPLACE ('t0' AS ticket_id) FROM links LIMIT 1", "links: key (report_id) twice",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", BREAKS)
def test_an_audit_names_what_is_wrong(ran: Settings, fault: str) -> None:
    sql, words = BREAKS[fault]
    with open_warehouse(ran.warehouse) as warehouse:
        warehouse.con.execute(sql)
    result = kanal("audit", config=ran)
    assert result.exit_code == FAILED
    assert words in result.stdout
    assert "NOT exact" in result.stdout
    assert kanal("rebuild", config=ran).exit_code == 0
    assert kanal("audit", config=ran).exit_code == 0


def test_an_audit_misses_a_landing_file_that_is_gone(ran: Settings) -> None:
    Landing(ran.landing_dir).path(BatchRef("jaki", "app", 0)).unlink()
    result = kanal("audit", config=ran)
    assert result.exit_code == FAILED
    assert "its landing file is gone" in result.stdout


def test_a_rebuild_shows_every_table_as_it_was_before(ran: Settings) -> None:
    found = told(kanal("rebuild", "--json", config=ran))
    assert found["messages"] == 6
    assert found["before"] == found["after"]
    result = kanal("rebuild", config=ran)
    assert result.exit_code == 0
    assert " no" not in result.stdout


def test_a_rebuild_replaces_a_warehouse_that_will_not_open(ran: Settings) -> None:
    ran.warehouse.write_bytes(b"broken" * 9999)
    assert kanal("run", config=ran).exit_code == PARTIAL
    assert kanal("rebuild", config=ran).exit_code == 0
    assert kanal("run", config=ran).exit_code == 0


# --- trace ---


def test_a_line_of_a_mart_leads_to_its_messages_and_a_message_back_to_the_line(ran: Settings) -> None:
    found = told(kanal("trace", "top_categories", "--where", "month=2026-10,category=jalan", "--json", config=ran))
    assert found["behind top_categories"] == [{"reports": 2, "tickets": 1}]
    assert [m["message"] for m in found["messages"]] == ["jaki/app/0/0", "jaki/app/0/1"]
    back = told(kanal("trace", "jaki/app/0/1", "--json", config=ran))
    assert {"figure": "top_categories", "where": "month=2026-10,category=jalan"} in back["counted in"]
    assert [t["external_ref"] for t in back["tickets"]] == ["JK2610010001"]
    with duckdb.connect(str(ran.analytics.resolve()), read_only=True) as snapshot:
        [(reports,)] = snapshot.execute(
            "SELECT reports FROM top_categories WHERE period = 'month' AND period_start = '2026-10-01' AND category = 'jalan'"
        ).fetchall()
    assert reports == 2


def test_every_figure_that_counts_a_message_leads_back_to_it(ran: Settings) -> None:
    for number in range(6):
        place = f"jaki/app/0/{number}"
        counted = told(kanal("trace", place, "--json", config=ran))["counted in"]
        assert counted
        for line in counted:
            found = told(kanal("trace", line["figure"], "--where", line["where"], "--json", config=ran))
            assert place in [m["message"] for m in found["messages"]], line


@pytest.mark.parametrize("name", ["JK2610010001", "jk2610010001", "JK2610010002"])
def test_a_ticket_is_found_by_the_number_of_any_of_its_reports(ran: Settings, name: str) -> None:
    found = told(kanal("trace", name, "--json", config=ran))
    assert len(found["messages"]) == 2
    assert [e["event"] for e in found["history"]] == ["opened", "joined"]
    number = found["tickets"][0]["ticket_no"]
    assert told(kanal("trace", number.lower(), "--json", config=ran))["tickets"] == found["tickets"]


def test_what_nobody_knows_is_told_with_what_can_be_asked(ran: Settings) -> None:
    for words in (["trace", "entah"], ["trace", "jaki/app/0/99"], ["trace", "top_categories", "--where", "warna=biru"],
                  ["trace", "JK2610010001", "--where", "a=b"], ["trace", "top_channels", "--where", "jaki"]):  # fmt: skip
        result = kanal(*words, config=ran)
        assert result.exit_code == FAILED
        assert "error:" in result.stderr


def test_verbatim_shows_the_message_as_fetched_and_is_logged_first(ran: Settings) -> None:
    masked = kanal("trace", "JK2610020003", "--json", config=ran).stdout
    assert "081200000003" not in masked
    assert not (ran.data_dir / "access.log").exists()
    [shown] = told(kanal("trace", "JK2610020003", "--verbatim", "--json", config=ran))["verbatim"]
    assert json.loads(shown["payload"])["hp"] == "081200000003"
    log = ran.data_dir / "access.log"
    assert log.stat().st_mode & 0o777 == 0o600
    assert json.loads(log.read_text())["messages"] == ["jaki/app/0/2"]


# --- doctor, model, gazetteer ---


def test_the_doctor_finds_what_a_run_would_stumble_over(
    tmp_path: Path, make_settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KANAL_TEST_PASSWORD", raising=False)
    mail = stream_toml("email", "dki", "imap", host="127.0.0.1", user="dki", password_env="KANAL_TEST_PASSWORD")
    settings = make_settings(JAKI + mail)
    result = kanal("doctor", config=settings)
    assert result.exit_code == FAILED
    assert "inbox jaki does not exist" in result.stdout
    assert "KANAL_TEST_PASSWORD is not set" in result.stdout
    (tmp_path / "jaki").mkdir()
    monkeypatch.setenv("KANAL_TEST_PASSWORD", "rahasia-sekali")
    found = told(kanal("doctor", "--json", config=settings))
    assert [c["check"] for c in found if c["ok"] is False] == []
    assert "rahasia-sekali" not in json.dumps(found)


def test_the_doctor_says_where_others_send_to_and_what_keeps_them_out(
    make_settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KANAL_TEST_FORM", raising=False)
    monkeypatch.setenv("KANAL_TEST_SENT", "rahasia-sekali")
    streams = stream_toml("sms", "twilio", "webhook", dialect="twilio", secret_env="KANAL_TEST_SENT")
    streams += stream_toml("sms", "lokal", "webhook", dialect="kannel", allow_from=["192.0.2.7"])
    streams += stream_toml("balai_warga", "web", "form", secret_env="KANAL_TEST_FORM")

    def found(more: str = "") -> dict[str, tuple[bool | None, str]]:
        result = kanal("doctor", "--json", config=make_settings(more + streams))
        assert "rahasia-sekali" not in result.stdout
        return {c["check"]: (c["ok"], c["detail"]) for c in json.loads(result.stdout)}

    before = found()
    assert before["sms/twilio"][0] is False and "set public_url in [intake]" in before["sms/twilio"][1]
    assert before["balai_warga/web"][0] is False and "KANAL_TEST_FORM is not set" in before["balai_warga/web"][1]
    monkeypatch.setenv("KANAL_TEST_FORM", "x")
    url = "https://masuk.example.id"
    after = found(f'[intake]\npublic_url = "{url}"\n')
    assert {key: after[key] for key in before if "/" in key} == {
        "sms/twilio": (True, f"source webhook, dialect twilio, at {url}/kirim/sms/twilio; its secret is set"),
        "sms/lokal": (
            True, f"source webhook, dialect kannel, at {url}/kirim/sms/lokal; no secret: known by allow_from alone",
        ),
        "balai_warga/web": (
            True, f"source form at {url}/lapor/balai_warga/web; the key that signs its pages is set",
        ),
    }  # fmt: skip


def test_the_doctor_says_whether_photos_are_fetched_and_which_login_is_missing(
    make_settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KANAL_TEST_LOGIN", raising=False)
    login = '[media]\nfetch = true\nallow = ["api.example.com"]\nlogins = {"api.example.com" = "KANAL_TEST_LOGIN"}\n'

    def found(more: str) -> tuple[bool | None, str]:
        checks = json.loads(kanal("doctor", "--json", config=make_settings(more + JAKI)).stdout)
        return next((c["ok"], c["detail"]) for c in checks if c["check"] == "photos")

    assert found("")[0] is None
    assert found("[media]\nfetch = true\n") == (
        False, "[media] fetch is on and allow names no host; name them, or set fetch = false",
    )  # fmt: skip
    assert found(login) == (False, "environment variable KANAL_TEST_LOGIN is not set; [media] logins names it")
    monkeypatch.setenv("KANAL_TEST_LOGIN", "rahasia:sekali")
    assert found(login) == (True, "fetched from api.example.com")


def test_the_doctor_minds_a_landing_zone_that_others_can_read(ran: Settings) -> None:
    ran.landing_dir.chmod(0o755)
    result = kanal("doctor", "--json", config=ran)
    assert result.exit_code == FAILED
    assert [c["check"] for c in told(result) if "chmod 700" in c["detail"]] == ["landing"]


def test_boundaries_are_checked_before_they_are_installed(tmp_path: Path, ran: Settings) -> None:
    square = {
        "type": "Polygon",
        "coordinates": [[[106.79, -6.21], [106.81, -6.21], [106.81, -6.19], [106.79, -6.19], [106.79, -6.21]]],
    }
    feature = {"type": "Feature", "properties": {"kode": "31.71.07.1001"}, "geometry": square}
    good, bad = tmp_path / "good.geojson", tmp_path / "bad.geojson"
    good.write_text(
        json.dumps({"type": "FeatureCollection", "features": [feature, feature | {"properties": {"kode": "99.99"}}]})
    )
    bad.write_text('{"type": "FeatureCollection", "features": []}')
    assert kanal("gazetteer", "install", bad, config=ran).exit_code == FAILED
    assert told(kanal("gazetteer", "install", good, "--json", config=ran)) == {
        "kelurahan": 267,
        "matched": 1,
        "unknown": 1,
    }
    write(tmp_path / "jaki" / "later.csv", [ROWS[0] | {"nomor": "JK2611010001", "kelurahan": ""}])
    kanal("run", config=ran)
    with open_warehouse(ran.warehouse) as warehouse:
        found = warehouse.con.execute(
            "SELECT place_method, kelurahan_code FROM reports WHERE external_ref = 'JK2611010001'"
        ).fetchall()
    assert found == [("polygon", "31.71.07.1001")]


# --- as a process ---


def test_a_terminated_run_stops_cleanly_and_the_next_one_goes_on(tmp_path: Path, ran: Settings) -> None:
    shutil.copytree(tmp_path / "jaki", tmp_path / "kelurahan")
    with (tmp_path / "both.toml").open("w") as file:
        file.write(ran.path.read_text() + KELURAHAN)
    command = [sys.executable, "-m", "pipelines.cli", "run", "--config", str(tmp_path / "both.toml")]
    running = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"COLUMNS": "200"}
    )
    assert running.stderr is not None
    for line in running.stderr:
        if line.startswith("load"):
            running.send_signal(signal.SIGTERM)
            break
    _, errors = running.communicate(timeout=60)
    assert running.returncode in (0, 1)
    assert "Traceback" not in errors
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert kanal("audit", "--config", tmp_path / "both.toml").exit_code == 0


def test_no_words_of_a_citizen_are_markup(tmp_path: Path, ran: Settings) -> None:
    r"""A text with \[/red] once crashed the table."""
    write(
        tmp_path / "jaki" / "aneh.csv",
        [ROWS[0] | {"nomor": "JK2611010001", "isi": r"rusak \[/red] [bold]parah[/] [link=x]"}],
    )
    assert kanal("run", config=ran).exit_code == 0
    result = kanal("trace", "JK2611010001", config=ran)
    assert result.exit_code == 0
    assert r"rusak \[/red] [bold]parah[/] [link=x]" in result.stdout
