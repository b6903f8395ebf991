"""One running intake with a stream of every dialect, and senders who sign as the vendors do."""

from __future__ import annotations

import hmac
import http.client
import json
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha1, sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import pytest

from pipelines.contracts import Message
from pipelines.settings import Settings
from pipelines.settings import load as load_settings
from tests.conftest import stream_toml
from tests.peers.intake import Intake, landed, running

PUBLIC = "https://masuk.example.id"
SECRETS = {
    "UJI_KANNEL": "kenari-kannel-7c1d",
    "UJI_JASMIN": "kenari-jasmin-2f8a",
    "UJI_TWILIO": "kenari-twilio-91be",
    "UJI_META": "kenari-meta-5d20",
    "UJI_KATA": "kenari-kata-64aa",
    "UJI_X": "kenari-x-0b3e",
    "UJI_MITRA": "kenari-mitra-e71c",
}
STREAMS = {
    "sms/kannel": {"dialect": "kannel", "secret_env": "UJI_KANNEL"},
    "sms/jasmin": {"dialect": "jasmin", "secret_env": "UJI_JASMIN"},
    "sms/twilio": {"dialect": "twilio", "secret_env": "UJI_TWILIO"},
    "sms/whatsapp": {"dialect": "whatsapp", "secret_env": "UJI_META", "verify_token_env": "UJI_KATA"},
    "facebook/halaman": {"dialect": "meta_page", "secret_env": "UJI_META", "verify_token_env": "UJI_KATA"},
    "twitter/x": {"dialect": "x_activity", "secret_env": "UJI_X", "handle": "akunuji"},
    "lapor/mitra": {"dialect": "json", "secret_env": "UJI_MITRA"},
    "lapor/sederhana": {"dialect": "json", "secret_env": "UJI_MITRA", "signature": "token"},
    "sms/lokal": {"dialect": "kannel", "allow_from": ["192.0.2.0/24"]},
}
UNLIMITED = "per_second = 100000\nburst = 1000000\n"
Answer = tuple[int, dict[str, str], bytes]


@dataclass(frozen=True)
class Call:
    """A request as a vendor sends it, proof included."""

    method: str
    target: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    def to(self, intake: Intake) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", intake.port, timeout=20)
        try:
            return self.over(connection)
        finally:
            connection.close()

    def over(self, connection: http.client.HTTPConnection) -> Answer:
        connection.putrequest(self.method, self.target, skip_accept_encoding=True)
        for name, value in self.headers.items():
            connection.putheader(name, value)
        if self.body or self.method == "POST":
            connection.putheader("content-length", str(len(self.body)))
        connection.endheaders(self.body or None)
        answer = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()


def _hex(secret: str, signed: bytes) -> str:
    return "sha256=" + hmac.new(SECRETS[secret].encode(), signed, sha256).hexdigest()


def by_kannel(query: str, token: str = SECRETS["UJI_KANNEL"]) -> Call:
    return Call("GET", f"/kirim/sms/kannel?token={token}&{query}")


def by_twilio(params: Mapping[str, str]) -> Call:
    target = "/kirim/sms/twilio"
    signed = PUBLIC + target + "".join(k + v for k, v in sorted(params.items()))
    proof = b64encode(hmac.new(SECRETS["UJI_TWILIO"].encode(), signed.encode(), sha1).digest()).decode()
    body = "&".join(f"{quote_plus(k)}={quote_plus(v)}" for k, v in params.items())
    headers = {"content-type": "application/x-www-form-urlencoded", "x-twilio-signature": proof}
    return Call("POST", target, body.encode(), headers)


def by_meta(key: str, value: Any) -> Call:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    headers = {"content-type": "application/json", "x-hub-signature-256": _hex("UJI_META", body)}
    return Call("POST", f"/kirim/{key}", body, headers)


def by_x(value: Any) -> Call:
    body = json.dumps(value).encode()
    proof = "sha256=" + b64encode(hmac.new(SECRETS["UJI_X"].encode(), body, sha256).digest()).decode()
    return Call("POST", "/kirim/twitter/x", body, {"x-twitter-webhooks-signature": proof})


def by_partner(*reports: Any, at: datetime | None = None, body: bytes | None = None) -> Call:
    body = json.dumps({"reports": list(reports)}).encode() if body is None else body
    stamp = str(int((at or datetime.now(UTC)).timestamp()))
    proof = _hex("UJI_MITRA", stamp.encode() + b"." + body)
    return Call("POST", "/kirim/lapor/mitra", body, {"x-kanal-timestamp": stamp, "x-kanal-signature": proof})


def whatsapp(*messages: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """A Cloud API notification, as Meta documents its shape."""
    value = {
        "messaging_product": "whatsapp",
        "metadata": {"display_phone_number": "622100000001", "phone_number_id": "100000000000001"},
        "contacts": [{"profile": {"name": "Warga Satu"}, "wa_id": "6281200000001"}],
        "messages": list(messages),
    } | more
    changes = [{"value": value, "field": "messages"}]
    return {"object": "whatsapp_business_account", "entry": [{"id": "200000000000002", "changes": changes}]}


def said(own: str, text: str) -> dict[str, Any]:
    return {"from": "6281200000001", "id": own, "timestamp": "1795654800", "type": "text", "text": {"body": text}}


@dataclass
class Site:
    """A running intake and its settings."""

    settings: Settings
    intake: Intake

    def landed(self, key: str) -> list[Message]:
        return landed(self.settings, key)

    def send(self, call: Call) -> Answer:
        return call.to(self.intake)

    def figure(self, name: str, **labels: str) -> float:
        text = self.send(Call("GET", "/metrics"))[2].decode()
        named = ",".join(f'{k}="{v}"' for k, v in sorted(labels.items()))
        return float(next((x.rsplit(" ", 1)[1] for x in text.splitlines() if x.startswith(f"{name}{{{named}}}")), 0))


def write_settings(folder: Path, more: str = UNLIMITED, streams: Mapping[str, Mapping[str, Any]] = STREAMS) -> Settings:
    path = folder / "kanal.toml"
    entries = "".join(stream_toml(*key.split("/"), "webhook", **options) for key, options in streams.items())
    path.write_text(f'[kanal]\ndata_dir = "data"\n[intake]\npublic_url = "{PUBLIC}"\n{more}{entries}', "utf-8")
    return load_settings(path)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One intake for a file of tests; each uses ids of its own."""
    settings = write_settings(tmp_path_factory.mktemp("intake"))
    with running(settings, SECRETS) as intake:
        yield Site(settings, intake)
