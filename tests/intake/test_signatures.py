"""Proofs: the vendors' documented examples hold, and a request with one byte changed does not."""

from __future__ import annotations

import http.client
import random
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

import pytest

from pipelines.entries import entries
from pipelines.intake.signatures import Request, challenged, proved, signature, signed_url
from pipelines.settings import default_models_dir
from tests.intake.conftest import SECRETS, STREAMS, Call, Site, by_meta, by_partner, by_twilio, by_x, said, whatsapp
from tests.intake.test_app import PAGE, POST, TWILIO

NOW = datetime(2026, 11, 26, 3, 0, tzinfo=UTC)
DIALECTS = {d["id"]: d for d in entries(default_models_dir() / "webhooks.toml", "dialect")}
SEED = 20261126


def way(dialect: str) -> Mapping[str, Any]:
    return DIALECTS[dialect]["signature"][0]


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        (
            b"CallSid=CA1234567890ABCDE&Caller=%2B14158675309&Digits=1234&From=%2B14158675309&To=%2B18005551212",
            "RSOYDt4T1cUTdK1PDd93/VVr8B8=",
        ),
        (b"Sid=CA123&SidAccount=AC123&Digits=5678&Digits=1234&Digits=1234", "IK+Dwps556ElfBT0I3Rgjkr1wJU="),
    ],
)  # fmt: skip
def test_twilios_documented_examples_hold(form: bytes, expected: str) -> None:
    request = Request(
        "POST", "https://mycompany.com/myapp.php?foo=1&bar=2", b"", {"x-twilio-signature": expected}, form
    )
    assert proved(way("twilio"), "12345", request, NOW)
    assert not proved(way("twilio"), "12346", request, NOW)


def test_the_documented_example_of_the_hub_signature_holds() -> None:
    proof = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    request = Request("POST", None, b"", {"x-hub-signature-256": proof}, b"Hello, World!")
    assert proved(way("whatsapp"), "It's a Secret to Everybody", request, NOW)


def test_xs_published_challenge_is_answered_as_published() -> None:
    found = challenged(
        DIALECTS["x_activity"]["challenge"],
        b"crc_token=9b4507b3-9040-4669-9ca3-6b94edb50553",
        secret="z3ZX4v7mAAUGykl3EcmkqbartmuW8VFOOzCloLx9Q45P0hLrFu",
        word="",
    )
    assert found == ("application/json", '{"response_token": "sha256=Cytd4Sq+NvEcV3MMrXxWJGJx5A+y/lXzzU2Maartkx8="}')


def test_a_form_that_lost_an_equals_sign_is_not_the_one_that_was_signed() -> None:
    url = "https://masuk.example.id/x"
    assert signed_url(url, b"A=1&B=2") == b"https://masuk.example.id/xA1B2"
    for broken in (b"A1&B=2", b"A=1&B2", b"A=1&&B=2", b"A=1&B=2&"):
        with pytest.raises(ValueError, match="without ="):
            signed_url(url, broken)


def test_without_a_public_address_nothing_that_signs_it_is_believed() -> None:
    proof = signature(way("twilio"), "kunci", signed_url("", b"A=1"))
    assert not proved(way("twilio"), "kunci", Request("POST", None, b"", {"x-twilio-signature": proof}, b"A=1"), NOW)


def _mutated(call: Call, rng: random.Random) -> Call:
    """One byte of the body, of the target or of the proof is another one."""
    proof = next(name for name in call.headers if "signature" in name)
    part = rng.choice(["body", "body", "proof", "target", "stamp"])
    if part == "stamp":
        part = "stamp" if "x-kanal-timestamp" in call.headers else "proof"
    if part == "body":
        return replace(call, body=_other(call.body, rng, range(256)))
    if part == "target":
        return replace(call, target=_other(call.target.encode(), rng, range(0x21, 0x7F)).decode())
    name = proof if part == "proof" else "x-kanal-timestamp"
    changed = _other(call.headers[name].encode(), rng, range(0x21, 0x7F)).decode()
    return replace(call, headers={**call.headers, name: changed})


def _other(data: bytes, rng: random.Random, among: range) -> bytes:
    place = rng.randrange(len(data))
    byte = rng.choice([b for b in among if b != data[place]])
    return data[:place] + bytes([byte]) + data[place + 1 :]


def _same_form(one: Call, other: Call) -> bool:
    """%2b for %2B: another byte and the same form, which is what Twilio signs."""
    return one.target == other.target and one.headers == other.headers and "twilio" in one.target and (
        parse_qsl(one.body, keep_blank_values=True, strict_parsing=True) == _form(other.body)
    )  # fmt: skip


def _form(body: bytes) -> Any:
    try:
        return parse_qsl(body, keep_blank_values=True, strict_parsing=True)
    except ValueError:
        return None


def test_a_thousand_requests_with_one_byte_changed_are_refused_and_the_originals_are_not(site: Site) -> None:
    print(f"seed {SEED}")
    rng = random.Random(SEED)
    originals = [
        by_twilio(TWILIO | {"MessageSid": "SMmut"}),
        by_meta("sms/whatsapp", whatsapp(said("wamid.mut", "Banjir di RT 03"))),
        by_meta("facebook/halaman", PAGE),
        by_x(POST),
        by_partner({"id": "mut", "text": "Jalan rusak"}),
    ]
    connection = http.client.HTTPConnection("127.0.0.1", site.intake.port, timeout=20)
    statuses: dict[int, int] = {}
    tried = 0
    while tried < 1000:
        original = originals[tried % len(originals)]
        changed = _mutated(original, rng)
        if _same_form(original, changed):
            continue
        status, headers, _ = changed.over(connection)
        statuses[status] = statuses.get(status, 0) + 1
        tried += 1
        if headers.get("connection") == "close":
            connection.close()
    assert set(statuses) <= {400, 403, 404, 405}, statuses
    assert sum(statuses.values()) == 1000
    assert sum(len(site.landed(key)) for key in STREAMS) == 0
    assert [call.over(connection)[0] for call in originals] == [200] * len(originals)
    assert SECRETS["UJI_META"] not in site.intake.log.read_text()
