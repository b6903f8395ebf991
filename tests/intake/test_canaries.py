"""Secrets with values that would be noticed, every kind of failure forced, and everything written searched for them."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines import flow
from pipelines.audit import audit
from pipelines.settings import Settings
from tests.conftest import stream_toml
from tests.intake.conftest import (
    PUBLIC,
    SECRETS,
    STREAMS,
    UNLIMITED,
    Call,
    by_kannel,
    by_meta,
    by_partner,
    by_twilio,
    by_x,
    said,
    whatsapp,
)
from tests.intake.test_app import JASMIN, PAGE, POST, REPORT, TWILIO
from tests.peers.intake import landed, running

SENT = "kenari-isi-3d77"  # what somebody sent: in landing and in the warehouse, never in a log


def test_no_secret_is_written_anywhere_and_no_word_of_a_sender_is_logged(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    secrets = SECRETS | {"UJI_FORMULIR": "kenari-formulir-88d1"}
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    text = f'[intake]\npublic_url = "{PUBLIC}"\n{UNLIMITED}'
    text += stream_toml("balai_warga", "web", "form", secret_env="UJI_FORMULIR")
    settings = make_settings(text + "".join(stream_toml(*key.split("/"), "webhook", **o) for key, o in STREAMS.items()))
    token, word = SECRETS["UJI_KANNEL"], SECRETS["UJI_KATA"]
    bearer = {"authorization": f"Bearer {SECRETS['UJI_MITRA']}"}
    good = [
        by_kannel(f"id=k&from=081200000001&bin=Jalan+rusak+{SENT}&coding=0&charset=UTF-8"),
        Call("POST", f"/kirim/sms/jasmin?token={SECRETS['UJI_JASMIN']}", JASMIN.encode()),
        Call("GET", f"/kirim/sms/jasmin?token={SECRETS['UJI_JASMIN']}&{JASMIN}2"),
        by_twilio(TWILIO), by_meta("sms/whatsapp", whatsapp(said("wamid.1", f"Banjir {SENT}"))),
        by_meta("facebook/halaman", PAGE), by_x(POST), by_partner(REPORT),
        Call("POST", "/kirim/lapor/sederhana", b'{"reports":[{"id":"s","text":"Got mampet"}]}', bearer),
        by_meta("sms/whatsapp", b"{"),
    ]  # fmt: skip
    bad = [
        by_kannel(f"id=x&token={token}", token="salah"), by_kannel(f"id=x&bin={SENT}", token=token + "x"),
        Call("POST", f"/kirim/sms/twilio?token={SECRETS['UJI_TWILIO']}", b"a=%zz&b"), Call("POST", "/kirim/lapor/mitra", SENT.encode()),
        by_partner(body=SENT.encode()), by_partner(body=b"[" * 100_000), by_partner({"id": SENT}),
        Call("GET", f"/kirim/sms/whatsapp?hub.mode=x&hub.verify_token={word}&hub.challenge={SENT}"),
        Call("GET", f"/kirim/twitter/x?crc_token=%7B{SECRETS['UJI_X']}"), Call("GET", f"/{token}"), Call("GET", f"/kirim/{token}/{token}"),
        Call("POST", "/kirim/lapor/sederhana", b"x" * 4_000_001, bearer),
    ]  # fmt: skip
    with running(settings, secrets) as intake:
        assert [call.to(intake)[0] for call in good] == [200] * len(good)
        answers = [call.to(intake) for call in bad]
        assert all(400 <= status < 500 for status, _, _ in answers)
        for broken in (
            f"GET /kirim?{token} HTTP/9\r\n\r\n",
            f"{SENT}\r\n\r\n",
            f"POST /kirim/sms/kannel?token={token} HTTP/1.1\r\n\r\n",
        ):
            with socket.create_connection(("127.0.0.1", intake.port), 10) as raw:
                raw.sendall(broken.encode())
                answers.append((0, {}, raw.recv(1000)))
        page = Call("GET", "/kirim/../lapor/balai_warga/web"), Call("GET", "/lapor/balai_warga/web")
        answers += [call.to(intake) for call in page]
        tanda = re.findall(rb'name="tanda" value="([^"]*)"', answers[-1][2])[0].decode()
        time.sleep(3.1)
        for key in (tanda, secrets["UJI_FORMULIR"]):  # a good form, and one with the key itself where the token belongs
            parts = {"tanda": key, "uraian": f"Got mampet {SENT}", "telepon": "081200000001"}
            lines = "".join(
                f'--x\r\nContent-Disposition: form-data; name="{n}"\r\n\r\n{v}\r\n' for n, v in parts.items()
            )
            kind = {"content-type": "multipart/form-data; boundary=x"}
            told = Call("POST", "/lapor/balai_warga/web", f"{lines}--x--\r\n".encode(), kind).to(intake)
            assert told[0] == (303 if key == tanda else 422)
            assert secrets["UJI_FORMULIR"].encode() not in told[2]
        aside = settings.landing_dir.with_name("aside")
        settings.landing_dir.rename(aside)
        settings.landing_dir.write_text("no folder")
        assert by_partner({"id": "y", "text": SENT}).to(intake)[0] == 503
        settings.landing_dir.unlink()
        aside.rename(settings.landing_dir)
        figures = Call("GET", "/metrics").to(intake)[2]
        assert intake.stop() == 0
    result = flow.run(settings)
    assert result.failures == {} and audit(settings).exact
    printed = "".join(capfd.readouterr())
    log = intake.log.read_text()
    quiet = f"{printed}{log}{figures.decode()}{answers}"
    assert SENT not in quiet and "081200000001" not in quiet
    everything = [quiet.encode(), *(p.read_bytes() for p in Path(settings.data_dir).rglob("*") if p.is_file())]
    everything += _unpacked(settings)  # Parquet files are packed
    for name, value in secrets.items():
        assert not any(value.encode() in data for data in everything), name
    assert any(SENT.encode() in data for data in everything)


def _unpacked(settings: Settings) -> list[bytes]:
    return [m.payload for key in (*STREAMS, "balai_warga/web") for m in landed(settings, key)]
