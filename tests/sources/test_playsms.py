"""SMS pulled from playSMS: an emulator made from its documents and its source."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from pipelines.contracts import Batch, Draft, Message, Stream
from pipelines.errors import FilteredMessage, PermanentError, RejectedMessage, SettingsError, TransientError
from pipelines.sources import playsms
from tests.peers.api_server import Fault
from tests.peers.canary import told_by
from tests.peers.playsms_emulator import PlaySms

AT = datetime(2026, 10, 6, 1, 0, tzinfo=UTC)
TOKEN = "kanari-playsms-3Kd8"
SENDER = "+6281200000001"


@pytest.fixture(name="server")
def emulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[PlaySms]:
    monkeypatch.setenv("KANAL_TEST_PLAYSMS", TOKEN)
    with PlaySms("dinas", TOKEN) as server:
        yield server


def stream_of(server: PlaySms, **options: Any) -> Stream:
    fixed = {"url": server.address, "user": "dinas", "token_env": "KANAL_TEST_PLAYSMS", "timeout_seconds": 0.3}
    return Stream("sms", "gerbang", "playsms", fixed | options)


def pull(stream: Stream, cursor: dict[str, Any] | None = None) -> list[Batch]:
    batches = list(playsms.pull(stream, cursor, now=lambda: AT))
    return [Batch(b.messages, orjson.loads(orjson.dumps(b.cursor))) for b in batches]


def texts(batches: list[Batch], stream: Stream) -> list[str]:
    return [playsms.decode(m, stream).text for b in batches for m in b.messages]


def test_an_sms_lands_as_playsms_tells_it(server: PlaySms) -> None:
    row = server.receive(SENDER, "Lampu mati di RT 03", AT)
    stream = stream_of(server)
    [batch] = pull(stream)
    [message] = batch.messages
    assert (orjson.loads(message.payload), message.occurred_at, message.origin) == (row, AT, "playSMS 1")
    assert playsms.decode(message, stream) == Draft(
        text="Lampu mati di RT 03",
        occurred_at=AT,
        author_ref=SENDER,
        contact_phone=SENDER,
        sender_level="claimed",
        extra={"recipient": "1708"},
    )
    assert server.asked[0].query == {
        "app": "ws", "u": "dinas", "h": TOKEN, "op": "ix", "last": "0", "c": "1000", "format": "json",
    }  # fmt: skip


def test_a_second_pull_brings_only_what_is_new(server: PlaySms) -> None:
    server.receive(SENDER, "satu", AT)
    stream = stream_of(server)
    [first] = pull(stream)
    assert pull(stream, first.cursor) == []
    server.receive(SENDER, "dua", AT)
    assert texts(pull(stream, first.cursor), stream) == ["dua"]


def test_more_new_sms_than_an_answer_holds_are_asked_for_again_and_none_is_lost(
    server: PlaySms, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(playsms, "_SIZES", (3, 8))
    monkeypatch.setattr(playsms, "_CHUNK", 2)
    for number in range(7):
        server.receive(SENDER, f"pesan {number}", AT + timedelta(minutes=number))
    stream = stream_of(server)
    batches = pull(stream)
    assert texts(batches, stream) == [f"pesan {number}" for number in range(7)]
    assert [len(b.messages) for b in batches] == [2, 2, 2, 1]
    server.receive(SENDER, "pesan 7", AT)
    with pytest.raises(PermanentError, match="tells only the newest"):
        pull(stream)


def test_an_sms_numbered_first_and_stored_last_is_not_passed_over(server: PlaySms) -> None:
    late = [server.receive(SENDER, "satu", AT), server.receive(SENDER, "tiga", AT)]
    server.rows.remove(late[0])
    server.receive(SENDER, "dua", AT)
    server.rows.remove(late[1])
    stream = stream_of(server)
    [batch] = pull(stream)
    server.rows += late
    assert texts(pull(stream, batch.cursor), stream) == ["satu", "tiga"]


def test_an_inbox_whose_ids_begin_again_is_read_from_its_start(server: PlaySms) -> None:
    for text in ("satu", "dua"):
        server.receive(SENDER, text, AT)
    stream = stream_of(server)
    [batch] = pull(stream)
    server.rows, server.next_id = [], 1
    assert pull(stream, batch.cursor) == []
    server.receive(SENDER, "tiga", AT)
    [after] = pull(stream, batch.cursor)
    assert texts([after], stream) == ["tiga"]
    assert pull(stream, after.cursor) == []


def test_the_time_zone_is_a_setting(server: PlaySms) -> None:
    server.receive(SENDER, "satu", AT)
    [batch] = pull(stream_of(server, time_zone="Asia/Jakarta"))
    assert batch.messages[0].occurred_at == AT - timedelta(hours=7)


def test_a_time_that_is_none_leaves_it_open(server: PlaySms) -> None:
    server.receive(SENDER, "satu", AT)
    server.rows[0]["dt"] = "0000-00-00 00:00:00"
    [batch] = pull(stream_of(server))
    assert batch.messages[0].occurred_at is None


def test_a_keyword_that_calls_an_office_names_it_and_the_text_stays(server: PlaySms) -> None:
    server.receive(SENDER, "jalan rusak", AT, kwd="tangkab")
    server.receive(SENDER, "Tangkab#jalan rusak", AT, kwd="LAIN")
    stream = stream_of(server, op="in", codes={"TANGKAB": "Pemerintah Kabupaten Tangerang"})
    drafts = [playsms.decode(m, stream) for b in pull(stream) for m in b.messages]
    office = "Pemerintah Kabupaten Tangerang"
    assert [(d.text, d.agency_reported, d.extra["keyword"], d.extra["code"]) for d in drafts] == [
        ("jalan rusak", office, "tangkab", "TANGKAB"),
        ("Tangkab#jalan rusak", office, "LAIN", "TANGKAB"),
    ]


def test_advertising_empty_and_broken_sms_are_set_aside(server: PlaySms) -> None:
    server.receive("TELKOMSEL", "Promo", AT)
    server.receive(SENDER, "  ", AT)
    stream = stream_of(server, spam_senders=["telkomsel"])
    [batch] = pull(stream)
    with pytest.raises(FilteredMessage):
        playsms.decode(batch.messages[0], stream)
    with pytest.raises(RejectedMessage, match="kosong"):
        playsms.decode(batch.messages[1], stream)
    for payload in (b"[]", b"{"):
        with pytest.raises(RejectedMessage, match="rusak"):
            playsms.decode(Message("a", "b", payload, "application/json", AT), stream)


def test_the_probe_logs_in(server: PlaySms) -> None:
    assert playsms.probe(stream_of(server), now=lambda: AT) == "logged in; the inbox is empty"
    server.receive(SENDER, "satu", AT)
    assert playsms.probe(stream_of(server), now=lambda: AT) == "logged in; the newest SMS has ID 1"


@pytest.mark.parametrize(
    ("number", "told"),
    [
        ("100", "token in KANAL_TEST_PLAYSMS"),
        ("104", "put it into KANAL_TEST_PLAYSMS"),
        ("105", "enable webservices"),
        ("106", "allow this machine's address"),
        ("999", "WEBSERVICES.md"),
    ],
)
def test_a_refusal_says_what_to_do_and_nothing_secret(
    server: PlaySms, caplog: pytest.LogCaptureFixture, number: str, told: str
) -> None:
    caplog.set_level(0)
    server.faults.append(Fault(200, {"status": "ERR", "error": number, "error_string": TOKEN}))
    with pytest.raises(PermanentError, match=told) as caught:
        pull(stream_of(server))
    assert TOKEN not in told_by(caught.value) + caplog.text


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault(200, b"<html>", content_type="text/html"), TransientError),
        (Fault(200, {"data": [{"id": "x"}]}), TransientError),
        (Fault(200, {"data": {}}), TransientError),
        (Fault(503, b""), TransientError),
        (Fault(200, {}, sleep=1), TransientError),
        (Fault(302, b"", {"location": f"/?h={TOKEN}"}), PermanentError),
        (Fault(404, b""), PermanentError),
    ],
)
def test_trouble_is_told_as_to_wait_or_to_stop(
    server: PlaySms, caplog: pytest.LogCaptureFixture, fault: Fault, kind: type[Exception]
) -> None:
    caplog.set_level(0)
    server.faults.append(fault)
    with pytest.raises(kind, match="sms/gerbang: playSMS") as caught:
        pull(stream_of(server))
    assert TOKEN not in told_by(caught.value) + caplog.text
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"url": "http://192.0.2.1/index.php"}, "url"),
        ({"url": "https://sms.example/index.php?app=ws"}, "url"),
        ({"user": ""}, "user"),
        ({"op": "sx"}, "op"),
        ({"token_env": "KANAL_TEST_MISSING"}, "KANAL_TEST_MISSING"),
        ({"time_zone": "Asia/Batavia"}, "time_zone"),
        ({"codes": {"dki": "x"}}, "codes"),
    ],
)
def test_a_wrong_option_is_named(server: PlaySms, options: dict[str, Any], named: str) -> None:
    with pytest.raises(SettingsError, match=named) as caught:
        pull(stream_of(server, **options))
    assert TOKEN not in told_by(caught.value)
