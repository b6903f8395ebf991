"""What senders meet at the intake, and what is in landing when they are answered."""

from __future__ import annotations

import json
import socket
import time
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipelines.cli import app
from pipelines.commands.common import FAILED
from pipelines.contracts import report_id_of
from pipelines.doctor import doctor
from pipelines.sinks.landing import Landing
from tests.intake.conftest import (
    SECRETS,
    STREAMS,
    UNLIMITED,
    Call,
    Site,
    by_kannel,
    by_meta,
    by_partner,
    by_twilio,
    by_x,
    said,
    whatsapp,
    write_settings,
)
from tests.peers.intake import landed, running, start
from tests.pictures import picture

REPORT = {"id": "M-1", "text": "Lampu jalan mati di RT 03"}
POST = {
    "data": {
        "event_uuid": "2080761390344937796",
        "filter": {"user_id": "100"},
        "event_type": "post.mention.create",
        "payload": {"id": "2080761390344937796", "author_id": "200", "text": "@akunuji banjir", "created_at": "2026-07-24T21:05:48.000Z"},
        "includes": {"users": [{"id": "200", "name": "Warga", "username": "warga"}]},
    }
}  # fmt: skip
PAGE = {
    "object": "page",
    "entry": [
        {
            "id": "900",
            "time": 1795654800,
            "changes": [
                {
                    "field": "feed",
                    "value": {
                        "item": "comment", "verb": "add", "comment_id": "900_1", "post_id": "900_0", "message": "Got mampet",
                        "from": {"id": "77", "name": "Warga"}, "created_time": 1795654800,
                    },
                }
            ],
        }
    ],
}  # fmt: skip
TWILIO = {
    "MessageSid": "SM01",
    "From": "+6281200000001",
    "To": "+622100000001",
    "Body": "Banjir & macet",
    "NumMedia": "0",
}
JASMIN = "id=j-1&from=081200000001&to=1708&origin-connector=smpp&content=Halo&binary=48616c6f&coding=%00"


@pytest.mark.parametrize(
    ("key", "call", "answer", "own"),
    [
        ("sms/kannel", by_kannel("id=k-1&from=081200000001&bin=Halo&coding=0&charset=UTF-8"), b"", "k-1"),
        ("sms/jasmin", Call("POST", f"/kirim/sms/jasmin?token={SECRETS['UJI_JASMIN']}", JASMIN.encode()), b"ACK/Jasmin", "j-1"),
        ("sms/twilio", by_twilio(TWILIO), b"<Response/>", "SM01"),
        ("sms/whatsapp", by_meta("sms/whatsapp", whatsapp(said("wamid.1", "Halo"))), b"EVENT_RECEIVED", "wamid.1"),
        ("facebook/halaman", by_meta("facebook/halaman", PAGE), b"EVENT_RECEIVED", "900_1"),
        ("twitter/x", by_x(POST), b"", "2080761390344937796"),
        ("lapor/mitra", by_partner(REPORT), b'{"reports":["%s"]}' % report_id_of("lapor", "mitra", "M-1").encode(), "M-1"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_whoever_is_answered_has_landed_and_hears_what_his_kind_expects(
    site: Site, key: str, call: Call, answer: bytes, own: str
) -> None:
    status, _, body = site.send(call)
    assert (status, body) == (200, answer)
    assert own in [m.source_ref for m in site.landed(key)]


def test_what_lands_is_what_was_sent_and_neither_token_nor_signature(site: Site) -> None:
    query = "id=k-2&from=%2B6281200000001&bin=Jalan+rusak%21&coding=0&charset=UTF-8&lain=x"
    site.send(by_kannel(query))
    call = by_twilio(TWILIO | {"MessageSid": "SM02"})
    site.send(call)
    own = {m.source_ref: m for key in ("sms/kannel", "sms/twilio") for m in site.landed(key)}
    assert (own["k-2"].payload, own["k-2"].payload_type) == (query.encode(), "application/x-www-form-urlencoded")
    assert own["SM02"].payload == call.body


def test_a_request_with_several_messages_lands_as_several_and_receipts_do_not_land(site: Site) -> None:
    value = whatsapp(said("wamid.a", "satu"), said("wamid.b", "dua"), statuses=[{"id": "wamid.x", "status": "read"}])
    assert site.send(by_meta("sms/whatsapp", value))[0] == 200
    found = {m.source_ref: json.loads(m.payload) for m in site.landed("sms/whatsapp")}
    for own, text in (("wamid.a", "satu"), ("wamid.b", "dua")):
        assert found[own]["entry"][0]["changes"][0]["value"]["messages"] == [said(own, text)]
    assert "wamid.x" not in found
    before = len(found)
    receipt = by_twilio({"MessageSid": "SM03", "MessageStatus": "delivered", "SmsStatus": "delivered"})
    assert site.send(receipt)[0] == 200
    assert site.send(by_meta("sms/whatsapp", whatsapp(statuses=[{"id": "wamid.x"}], messages=[])))[0] == 200
    assert len(site.landed("sms/whatsapp")) == before
    assert "SM03" not in {m.source_ref for m in site.landed("sms/twilio")}
    assert site.figure("kanal_intake_messages_total", outcome="skipped", stream="sms/twilio") == 1


def test_what_was_sent_twice_lands_once_and_what_was_changed_is_a_new_version(site: Site) -> None:
    first, changed = {"id": "M-9", "text": "Got mampet"}, {"id": "M-9", "text": "Got mampet, sudah banjir"}
    for report in (first, first, changed):
        assert site.send(by_partner(report))[0] == 200
    versions = [m.version for m in site.landed("lapor/mitra") if m.source_ref == "M-9"]
    assert len(versions) == len(set(versions)) == 2
    assert site.figure("kanal_intake_messages_total", outcome="repeated", stream="lapor/mitra") == 1


def test_a_sender_without_an_id_is_known_by_what_it_sent(site: Site) -> None:
    for _ in range(2):
        assert site.send(by_kannel("from=081200000009&bin=Tanpa+nomor&coding=0&charset=UTF-8"))[0] == 200
    assert len([m for m in site.landed("sms/kannel") if m.source_ref.startswith("isi:")]) == 1


@pytest.mark.parametrize(
    "call",
    [
        by_kannel("id=buruk&bin=x", token="salah"),
        Call("GET", "/kirim/sms/kannel?id=buruk&bin=x"),
        Call("POST", "/kirim/sms/twilio", b"MessageSid=buruk", {"x-twilio-signature": "AAAA"}),
        Call("POST", "/kirim/sms/whatsapp", b"{}", {}),
        Call("POST", "/kirim/lapor/mitra", b'{"reports":[]}', {"x-kanal-timestamp": "1795654800", "x-kanal-signature": "sha256=00"}),
        Call("POST", "/kirim/lapor/sederhana", b'{"reports":[]}', {"authorization": "Bearer salah"}),
        by_partner({"id": "buruk", "text": "lama"}, at=datetime.now(UTC) - timedelta(seconds=301)),
        by_partner({"id": "buruk", "text": "kelak"}, at=datetime.now(UTC) + timedelta(days=1)),
        Call("GET", "/kirim/sms/lokal?id=buruk&bin=x"),
        Call("GET", "/kirim/sms/lokal?id=buruk&bin=x", headers={"x-forwarded-for": "203.0.113.9"}),
        Call("GET", "/kirim/sms/whatsapp?hub.mode=subscribe&hub.verify_token=salah&hub.challenge=1"),
    ],
)  # fmt: skip
def test_whoever_proves_nothing_is_refused_and_told_no_reason(site: Site, call: Call) -> None:
    assert site.send(call)[::2] == (403, b"refused\n")
    assert not any(m.source_ref == "buruk" for key in STREAMS for m in site.landed(key))


def test_other_paths_and_methods_lead_nowhere(site: Site) -> None:
    calls = [
        Call("GET", "/"), Call("GET", "/kirim/sms/tiada"), Call("POST", "/kirim/../landing"), Call("GET", "/docs"),
        Call("DELETE", "/kirim/sms/kannel"), Call("GET", "/kirim/lapor/mitra"),
    ]  # fmt: skip
    assert [site.send(call)[0] for call in calls] == [404, 404, 404, 404, 405, 405]


def test_a_body_that_nobody_would_read_is_not_answered_as_taken(site: Site) -> None:
    target = f"/kirim/sms/kannel?token={SECRETS['UJI_KANNEL']}&id=k-post&from=081200000001"
    assert site.send(Call("POST", target, b"Jalan rusak"))[0] == 405


def test_metas_word_and_xs_challenge_are_answered(site: Site) -> None:
    word = SECRETS["UJI_KATA"]
    asked = Call("GET", f"/kirim/sms/whatsapp?hub.mode=subscribe&hub.verify_token={word}&hub.challenge=1158201444")
    status, headers, body = site.send(asked)
    assert (status, headers["content-type"], body) == (200, "text/plain; charset=utf-8", b"1158201444")
    status, _, body = site.send(Call("GET", "/kirim/twitter/x?crc_token=9b4507b3-9040-4669-9ca3-6b94edb50553"))
    assert status == 200 and json.loads(body)["response_token"].startswith("sha256=")


def test_xs_challenge_signs_no_body_that_would_be_taken(site: Site) -> None:
    assert site.send(Call("GET", "/kirim/twitter/x?crc_token=%7B%22data%22%3A%7B%7D%7D"))[0] == 403


def test_metas_challenge_sends_no_page_back(site: Site) -> None:
    word = SECRETS["UJI_KATA"]
    asked = f"/kirim/sms/whatsapp?hub.mode=subscribe&hub.verify_token={word}&hub.challenge=%3Cscript%3E"
    assert site.send(Call("GET", asked))[0] == 403


@pytest.mark.parametrize(
    ("reports", "told"),
    [
        ([], b"a request brings 1 to 1000 messages, not 0"),
        ([{"text": "x"}], b"message 0: id is missing, or is no text"),
        ([REPORT, {"id": "M-2", "text": " "}], b"message 1: text is missing, or is no text"),
        ([{"id": "M-2", "text": "x", "time": "2026-11-26 09:30"}], b"message 0: time is not as 2026-11-26T09:30:00+07:00"),
        ([{"id": "M\n2", "text": "x"}], b"message 0: id has more than 200 characters, or one that cannot be printed"),
        ([{"id": "M-2", "text": "x", "lat": 200, "lon": 1}], b"message 0: lat and lon are no place on earth, or no numbers"),
        (["x"], b"message 0: it is no object"),
    ],
)  # fmt: skip
def test_a_partner_is_told_what_to_mend_and_nothing_of_it_lands(site: Site, reports: list[object], told: bytes) -> None:
    assert site.send(by_partner(*reports))[::2] == (400, told + b"\n")
    assert "M-2" not in {m.source_ref for m in site.landed("lapor/mitra")}


def test_a_vendors_broken_body_lands_for_quarantine(site: Site) -> None:
    assert site.send(by_meta("sms/whatsapp", b'{"entry": ['))[0] == 200
    broken = [m for m in site.landed("sms/whatsapp") if m.problem]
    assert [m.payload for m in broken] == [b'{"entry": [']


def test_a_body_that_is_too_large_is_refused_before_it_is_read(site: Site) -> None:
    big = Call("POST", "/kirim/lapor/mitra", b"x" * 4_000_001)
    assert site.send(big)[0] == 413
    with socket.create_connection(("127.0.0.1", site.intake.port), 10) as raw:
        raw.sendall(b"POST /kirim/lapor/mitra HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(41):
            raw.sendall(b"186a0\r\n" + b"x" * 100_000 + b"\r\n")
        assert b" 413 " in raw.recv(1000)


def test_headers_that_are_too_large_are_refused_and_endless_ones_cut_off(site: Site) -> None:
    for length, end, status in ((40_000, b"\r\n\r\n", b" 431 "), (200_000, b"", b" 400 ")):
        with socket.create_connection(("127.0.0.1", site.intake.port), 10) as raw:
            raw.sendall(b"GET /kirim/sms/kannel HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * length + end)
            assert status in raw.recv(1000)


def test_health_and_figures_are_for_this_machine_alone(site: Site) -> None:
    status, _, body = site.send(Call("GET", "/health"))
    told = json.loads(body)
    assert (status, told["ok"], told["landing_writable"], told["streams"]) == (200, True, True, len(STREAMS))
    assert b"kanal_intake_commit_seconds_count" in site.send(Call("GET", "/metrics"))[2]
    outside = {"x-forwarded-for": "203.0.113.9"}
    assert [site.send(Call("GET", path, headers=outside))[0] for path in ("/health", "/metrics")] == [404, 404]


# --- servers of their own -------------------------------------------------------------------


def test_one_address_may_send_so_much_and_another_goes_on(tmp_path: Path) -> None:
    streams = {key: STREAMS[key] for key in ("sms/kannel", "sms/lokal")}
    settings = write_settings(tmp_path, "per_second = 0.1\nburst = 3\n", streams)
    with running(settings, SECRETS) as intake:

        def status(address: str, stream: str = "kannel") -> tuple[int, str | None]:
            call = Call("GET", f"/kirim/sms/{stream}?id=a", headers={"x-forwarded-for": f"198.51.100.1, {address}"})
            answer = call.to(intake)
            return answer[0], answer[1].get("retry-after")

        assert [status("203.0.113.1") for _ in range(4)] == [(403, None)] * 3 + [(429, "10")]
        assert status("203.0.113.2") == (403, None)
        assert [status("192.0.2.7", "lokal")[0] for _ in range(5)] == [200] * 5


def test_whoever_proves_himself_is_not_rate_limited(tmp_path: Path) -> None:
    streams = {key: STREAMS[key] for key in ("sms/twilio", "lapor/mitra")}
    settings = write_settings(tmp_path, "per_second = 0.1\nburst = 2\n", streams)
    with running(settings, SECRETS) as intake:
        assert [by_twilio(TWILIO | {"MessageSid": f"SM{n}"}).to(intake)[0] for n in range(5)] == [200] * 5
        assert by_partner({"text": "x"}).to(intake)[0] == 400
        wrong = Call("POST", "/kirim/sms/twilio", b"MessageSid=buruk", {"x-twilio-signature": "AAAA"})
        assert [wrong.to(intake)[0] for _ in range(3)] == [403, 403, 429]


def test_whoever_sent_much_and_stops_gives_its_room_back(tmp_path: Path) -> None:
    settings = write_settings(tmp_path, "patience_seconds = 0.5\n")
    with running(settings, SECRETS) as intake, socket.create_connection(("127.0.0.1", intake.port), 10) as raw:
        raw.sendall(
            b"POST /kirim/lapor/mitra HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n" + b"x" * 2_900_000
        )
        assert b" 408 " in raw.recv(1000)


def test_slow_senders_are_let_go(tmp_path: Path) -> None:
    settings = write_settings(tmp_path, "patience_seconds = 0.3\n")
    with running(settings, SECRETS) as intake:
        with socket.create_connection(("127.0.0.1", intake.port), 10) as raw:
            raw.sendall(b"POST /kirim/lapor/mitra HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
            assert b" 408 " in raw.recv(1000)
        with socket.create_connection(("127.0.0.1", intake.port), 10) as raw:
            raw.sendall(b"POST /kirim/lapor/mitra HT")
            assert raw.recv(1000) == b""
        with socket.create_connection(("127.0.0.1", intake.port), 10) as raw:
            raw.sendall(b"GET /kirim/sms/tiada HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = b""
            while not answer.endswith(b"unknown\n"):
                answer += raw.recv(1000)
            raw.sendall(b"GET /kirim")
            assert raw.recv(1000) == b""


def test_where_landing_cannot_be_written_the_sender_is_told_to_come_again(tmp_path: Path) -> None:
    settings = write_settings(tmp_path)
    settings.data_dir.mkdir()
    settings.landing_dir.write_text("no folder")
    with running(settings, SECRETS) as intake:
        call = by_partner(REPORT)
        status, headers, _ = call.to(intake)
        assert status == 503 and int(headers["retry-after"]) > 0
        status, _, body = Call("GET", "/health").to(intake)
        assert status == 503 and json.loads(body)["failing"] == ["lapor/mitra"]
        settings.landing_dir.unlink()
        assert call.to(intake)[0] == 200
        assert [m.source_ref for m in landed(settings, "lapor/mitra")] == ["M-1"]
        assert Call("GET", "/health").to(intake)[0] == 200


def test_another_process_may_land_the_same_stream(tmp_path: Path) -> None:
    settings = write_settings(tmp_path)
    stream = next(s for s in settings.streams if s.key == "lapor/mitra")
    landing = Landing(settings.landing_dir)
    with running(settings, SECRETS) as intake:
        for number in range(3):
            assert by_partner(REPORT | {"id": f"M-{number}"}).to(intake)[0] == 200
            head, now = landing.head(stream), datetime.now(UTC)
            other = landed(settings, stream.key)[-1]
            assert landing.put(stream, head, [other], {}, source_version="1", run_id="lain", now=now)
    assert [m.source_ref for m in landed(settings, stream.key)] == ["M-0", "M-0", "M-1", "M-1", "M-2", "M-2"]


def test_told_to_end_it_answers_and_lands_what_it_accepted(tmp_path: Path) -> None:
    settings = write_settings(tmp_path)
    intake = start(settings, SECRETS)
    call = by_partner(REPORT)
    head = f"POST {call.target} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(call.body)}\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in call.headers.items())
    with socket.create_connection(("127.0.0.1", intake.port), 10) as raw:
        raw.sendall(head.encode() + b"\r\n" + call.body[:10])
        time.sleep(0.3)
        intake.process.terminate()
        time.sleep(0.3)
        raw.sendall(call.body[10:])
        assert b" 200 " in raw.recv(1000)
    assert intake.process.wait(30) == 0
    assert [m.source_ref for m in landed(settings, "lapor/mitra")] == ["M-1"]


def test_a_secret_that_is_not_set_keeps_it_from_starting(tmp_path: Path) -> None:
    settings = write_settings(tmp_path, UNLIMITED, {"sms/kannel": STREAMS["sms/kannel"]})
    with pytest.raises(RuntimeError, match="environment variable UJI_KANNEL is not set"):
        start(settings, {})


@pytest.mark.parametrize("key", ["sms/kannel", "lapor/sederhana", "sms/twilio", "sms/whatsapp"])
def test_a_blank_secret_would_prove_everybody_and_keeps_it_from_starting(tmp_path: Path, key: str) -> None:
    settings = write_settings(tmp_path, UNLIMITED, {key: STREAMS[key]})
    with pytest.raises(RuntimeError, match=f"environment variable {STREAMS[key]['secret_env']} is not set"):
        start(settings, SECRETS | {STREAMS[key]["secret_env"]: " \n"})


def test_it_listens_beyond_this_machine_only_when_told_so_by_name(tmp_path: Path) -> None:
    settings = write_settings(tmp_path)
    refused = CliRunner().invoke(app, ["intake", "--config", str(settings.path), "--host", "0.0.0.0"])
    assert refused.exit_code == FAILED
    assert "0.0.0.0 is beyond this machine" in refused.output and "--public" in refused.output


def test_without_a_webhook_stream_there_is_nothing_to_receive(tmp_path: Path) -> None:
    settings = write_settings(tmp_path, UNLIMITED, {})
    refused = CliRunner().invoke(app, ["intake", "--config", str(settings.path)])
    assert refused.exit_code == FAILED and "no stream with source webhook or form" in refused.output


def test_a_port_that_is_taken_is_told(site: Site) -> None:
    with pytest.raises(RuntimeError, match=f"cannot listen on 127.0.0.1 port {site.intake.port}"):
        start(site.settings, SECRETS, port=site.intake.port)


def test_the_doctor_knows_what_a_webhook_stream_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("UJI_KATA")
    found = {check.name: check for check in doctor(write_settings(tmp_path)) if check.name in STREAMS}
    assert {name for name, check in found.items() if not check.ok} == {"sms/whatsapp", "facebook/halaman"}
    assert "environment variable UJI_KATA is not set" in found["sms/whatsapp"].detail


def test_a_file_inside_a_partners_report_is_kept_before_the_answer(site: Site) -> None:
    photo = picture(size=(30, 20))
    files = [{"name": "a.jpg", "data": b64encode(photo).decode()}]
    status, _, _ = site.send(by_partner({"id": "berkas-1", "text": "Lampu mati", "files": files}))
    digest = sha256(photo).hexdigest()
    assert status == 200
    assert (site.settings.media_dir / digest[:2] / digest).read_bytes() == photo
    [landed] = [m for m in site.landed("lapor/mitra") if m.source_ref == "berkas-1"]
    assert digest.encode() in landed.payload and b64encode(photo) not in landed.payload
    before = len(site.landed("lapor/mitra"))
    status, _, told = site.send(by_partner({"id": "berkas-2", "text": "x", "files": [{"data": "bukan base64!"}]}))
    assert (status, told) == (400, b"message 0: data of a file is no base64\n")
    assert len(site.landed("lapor/mitra")) == before
