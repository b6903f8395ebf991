"""What people meet of live channels: the doctor that asks, costs and gaps."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import duckdb

from pipelines import doctor, flow
from pipelines.commands.common import FAILED, PARTIAL
from pipelines.settings import Settings
from pipelines.sinks.landing import Landing
from tests.conftest import stream_toml
from tests.peers.api_server import Fault
from tests.peers.gammu import create
from tests.peers.graph_emulator import GraphEmulator
from tests.peers.social import SECRETS, graph, kanal, lately, mailbox, page, secrets, twitter, x  # noqa: F401
from tests.peers.x_emulator import XEmulator, post

Make = Callable[..., Settings]


# --- the doctor that asks -------------------------------------------------------------------


def test_the_doctor_asks_each_stream_and_one_that_fails_stops_no_other(
    x: XEmulator, graph: GraphEmulator, make_settings: Make, tmp_path: Path
) -> None:
    create(tmp_path / "smsd.db", 17)
    graph.scopes.remove("pages_messaging")
    streams = [
        twitter(x.url),
        page(graph.url, edges=["feed", "conversations"]),
        mailbox(),
        stream_toml("sms", "1708", "sms", database="smsd.db"),
        stream_toml("governor_social", "x", "twitter", pages_dir="."),
        stream_toml("jaki", "utama", "export", inbox=".", columns={"text": "isi"}),
    ]
    settings = make_settings("".join(streams))
    result = kanal("doctor", "--live", "--json", config=settings)
    found = {c["check"]: (c["ok"], c["detail"]) for c in json.loads(result.stdout) if c["check"].startswith("live ")}
    assert result.exit_code == FAILED
    assert list(found) == [f"live {s.key}" for s in settings.streams]
    assert [ok for ok, _ in found.values()] == [True, False, False, True, True, True]
    told = [detail for _, detail in found.values()]
    assert told[0].startswith("query can be read (449 of 450 requests left")
    assert "has not granted pages_messaging; add it to the app under App review" in told[1]
    assert "no connection to mail server" in told[2]
    assert told[3] == "the database opens; schema 17, 0 SMS in the inbox, newest ID None"
    assert told[4] == "reads recorded pages; X is not asked"
    assert "there is nobody to ask" in told[5]
    assert not [s for s in SECRETS if s in result.output]


def test_the_doctor_asks_one_channel_alone(x: XEmulator, make_settings: Make) -> None:
    settings = make_settings(twitter(x.url) + mailbox())
    result = kanal("doctor", "--live", "--channel", "twitter", config=settings)
    assert (result.exit_code, "live twitter/dki" in result.stdout, "email" in result.stdout) == (0, True, False)
    assert kanal("doctor", "--channel", "twitter", config=settings).exit_code == 2


def test_a_server_that_never_answers_is_told_and_not_waited_for(x: XEmulator, make_settings: Make) -> None:
    settings = make_settings(twitter(x.url, timeout_seconds=20))
    x.faults.append(Fault(sleep=3.0))
    [check] = doctor.live(settings, seconds=0.3)
    assert (check.ok, check.detail) == (False, "no answer within 0.3 s; check the network and the server's address")


# --- costs and gaps -------------------------------------------------------------------------


def test_a_gap_and_the_costs_are_told_by_run_status_and_snapshot_and_the_gap_is_told_once(
    x: XEmulator, make_settings: Make
) -> None:
    settings = make_settings(twitter(x.url, budget_usd_per_day=2.5))
    long_ago = lately(settings, x)
    first = kanal("run", "--json", config=settings)
    [gap] = json.loads(first.stdout)["gaps"]
    assert first.exit_code == PARTIAL
    assert gap.startswith("twitter/dki: GAP from ")
    assert "to fill it, export them from X and run: kanal import twitter FILE" in gap
    second = kanal("run", "--json", config=settings)
    assert (second.exit_code, json.loads(second.stdout)["gaps"]) == (0, [])
    [row] = [r for r in json.loads(kanal("status", "--json", config=settings).stdout)["streams"] if r["costs"]]
    day = x.now.date().isoformat()
    assert row["costs"] == {
        "day": day, "posts": 1, "owned": 0, "users": 1, "media": 0, "usd": 0.015,
        "budget_usd_per_day": 2.5, "usd_30_days": 0.015,
    }  # fmt: skip
    assert [g["from"] for g in row["gaps"]] == [long_ago.isoformat()]
    shown = kanal("status", config=settings).stdout
    assert f"twitter/dki: {day} UTC 1 posts and 1 users read, 0.01 of 2.50 US$" in shown.replace("0.02", "0.01")
    assert "twitter/dki: GAP from" in shown
    with duckdb.connect(str(settings.analytics), read_only=True) as con:
        assert con.execute("SELECT stream, begun_at = ? FROM gaps", [long_ago]).fetchall() == [("dki", True)]
        told = con.execute("SELECT channel_name, day::VARCHAR, posts, users, usd FROM reading_costs").fetchall()
    assert told == [("Twitter/X @DKIJakarta", day, 1, 1, 0.015)]


def test_reading_again_from_an_earlier_day_keeps_what_was_paid_and_what_was_lost(
    x: XEmulator, make_settings: Make
) -> None:
    settings = make_settings(twitter(x.url))
    long_ago = lately(settings, x)
    assert flow.run(settings).gaps
    x.now += timedelta(minutes=1)  # found anew, a gap would bear another time
    before = Landing(settings.landing_dir).head(settings.streams[0]).cursor or {}
    again = flow.run(settings, since=long_ago.date() + timedelta(days=2))
    after = Landing(settings.landing_dir).head(settings.streams[0]).cursor or {}
    assert again.gaps == []
    assert (after["spend"], after["gaps"]) == (before["spend"], before["gaps"]) == (x.bill, before["gaps"])


def test_a_run_cut_off_between_pages_goes_on_from_what_landed(x: XEmulator, make_settings: Make) -> None:
    settings = make_settings(twitter(x.url, max_results=10))
    x.public = [post(x.now - timedelta(minutes=n), f"banjir {n}", n) for n in range(1, 36)]
    x.faults.extend([None, None, Fault(503, b"<html>")])
    stream, landing = settings.streams[0], Landing(settings.landing_dir)
    cut = flow.land(settings, stream, run_id="satu")
    assert (cut.messages, "503" in str(cut.error), landing.head(stream).sequence) == (20, True, 1)
    rest = flow.land(settings, stream, run_id="dua")
    assert (rest.messages, rest.error) == (15, None)
    assert flow.land(settings, stream, run_id="tiga").batches == 0
