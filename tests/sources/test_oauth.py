"""Mail by access tokens that Kanal gets itself: a token server on loopback, and the Dovecot that takes its tokens."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from pipelines.contracts import Stream
from pipelines.errors import PermanentError, SettingsError, TransientError
from pipelines.sources import imap, oauth
from tests.peers.api_server import Fault
from tests.peers.canary import told_by
from tests.peers.dovecot import Mailbox, dovecot, fresh_mailbox  # noqa: F401 - fixtures
from tests.peers.token_server import TokenServer
from tests.sources.test_imap import mail, now, payloads, pull

KEY = "kanari-kunci-7Qz4"
CREDENTIALS = {"client_secret_env": "KANAL_TEST_KEY"}
REFRESH = {"refresh_token_env": "KANAL_TEST_REFRESH", "client_secret_env": "KANAL_TEST_KEY"}
HTML = b"<html><body>Pemeliharaan</body></html>"


@pytest.fixture(autouse=True)
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KANAL_TEST_KEY", KEY)
    monkeypatch.setenv("KANAL_TEST_REFRESH", KEY)
    monkeypatch.setattr(oauth, "_kept", {})


@pytest.fixture
def tokens(box: Mailbox) -> Iterator[TokenServer]:
    with TokenServer(box.server.tokens, box.user, KEY) as server:
        yield server


def stream_of(box: Mailbox, tokens: TokenServer, **options: Any) -> Stream:
    fixed = {"host": "127.0.0.1", "port": box.server.port, "tls": "none", "user": box.user, "auth": "oauth2"}
    asking = {"token_url": tokens.token_url, "client_id": "aplikasi-uji", "timeout_seconds": 0.3}
    return Stream("email", "dki", "imap", fixed | asking | {"connect_seconds": 5, "read_seconds": 5} | options)


@pytest.mark.parametrize(
    ("options", "form"),
    [
        (
            CREDENTIALS,
            {
                "grant_type": "client_credentials",
                "client_secret": KEY,
                "scope": "https://outlook.office365.com/.default",
            },
        ),
        (REFRESH, {"grant_type": "refresh_token", "client_secret": KEY, "refresh_token": KEY}),
        ({"refresh_token_env": "KANAL_TEST_REFRESH"}, {"grant_type": "refresh_token", "refresh_token": KEY}),
        (CREDENTIALS | {"scope": "a b"}, {"grant_type": "client_credentials", "client_secret": KEY, "scope": "a b"}),
    ],
)
def test_mail_comes_with_a_token_kanal_asked_for(
    box: Mailbox, tokens: TokenServer, options: dict[str, str], form: dict[str, str]
) -> None:
    box.add(mail("satu"))
    assert payloads(pull(stream_of(box, tokens, **options))) == [mail("satu")]
    assert [asked.form for asked in tokens.asked] == [{"client_id": "aplikasi-uji"} | form]


def test_the_probe_asks_for_a_token_and_opens_the_folder(box: Mailbox, tokens: TokenServer) -> None:
    box.add(mail("satu"))
    assert imap.probe(stream_of(box, tokens, **CREDENTIALS), now=now) == (
        "logged in; folder INBOX opens read-only and holds 1 mails"
    )


@pytest.mark.parametrize(
    ("lifetime", "seconds", "requests"),
    [(3600, 3290, 1), (3600, 3310, 2), ("3600", 3290, 1), (60, 20, 1), (60, 40, 2), (None, 3290, 1), (0, 0, 2)],
)
def test_a_token_is_kept_until_shortly_before_it_ends(
    box: Mailbox, tokens: TokenServer, monkeypatch: pytest.MonkeyPatch, lifetime: Any, seconds: float, requests: int
) -> None:
    tokens.lifetime = lifetime
    pull(stream_of(box, tokens, **CREDENTIALS))
    later = time.monotonic() + seconds
    monkeypatch.setattr(oauth, "time", SimpleNamespace(monotonic=lambda: later))
    pull(stream_of(box, tokens, **CREDENTIALS))
    assert len(tokens.asked) == requests


def test_two_accounts_have_tokens_of_their_own(box: Mailbox, tokens: TokenServer) -> None:
    pull(stream_of(box, tokens, **CREDENTIALS))
    pull(stream_of(box, tokens, **REFRESH))
    assert len(tokens.issued) == 2


def test_a_kept_token_that_was_revoked_is_replaced_at_once(box: Mailbox, tokens: TokenServer) -> None:
    box.add(mail("satu"))
    stream = stream_of(box, tokens, **CREDENTIALS)
    pull(stream)
    tokens.revoke()
    assert payloads(pull(stream)) == [mail("satu")]
    assert len(tokens.issued) == 2


def test_a_session_that_ends_with_its_token_goes_on_with_the_next(box: Mailbox, tokens: TokenServer) -> None:
    box.add(mail("satu"), mail("dua"), mail("tiga"))
    stream = stream_of(box, tokens, batch_messages=1, **CREDENTIALS)
    batches = imap.pull(stream, None, now=now)
    first = next(batches)
    tokens.revoke()
    box.server.kick(box.user)
    with pytest.raises(TransientError, match="broke off"):
        list(batches)
    rest = pull(stream, first.cursor)
    assert payloads([first, *rest]) == [mail("satu"), mail("dua"), mail("tiga")]
    assert len(tokens.issued) == 2


# --- refusals -------------------------------------------------------------------------------


def entra(number: int, word: str) -> dict[str, Any]:
    """As Microsoft answers, with the secret repeated as careless servers do."""
    return {
        "error": word,
        "error_description": f"AADSTS{number}: wrong: {KEY}. Trace ID: 0",
        "error_codes": [number],
        "error_uri": f"https://login.microsoftonline.com/error?code={number}",
    }


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (401, entra(7000222, "invalid_client"), r"AADSTS7000222.*secret has expired.*KANAL_TEST_KEY"),
        (401, entra(7000215, "invalid_client"), r"its value, not its ID, into KANAL_TEST_KEY"),
        (400, entra(700016, "unauthorized_client"), r"check client_id and the tenant"),
        (400, entra(90002, "invalid_request"), r"no such tenant"),
        (400, entra(65001, "invalid_grant"), r"IMAP\.AccessAsApp.*New-ServicePrincipal"),
        (400, entra(700082, "invalid_grant"), r"not used for too long.*KANAL_TEST_REFRESH"),
        (400, entra(99999999, "invalid_client"), r"check client_id, and the client secret in KANAL_TEST_KEY"),
        (401, {"error": "invalid_client", "error_description": KEY}, r"client secret in KANAL_TEST_KEY"),
        (400, {"error": "invalid_grant", "error_description": KEY}, r"revoked or has expired.*KANAL_TEST_REFRESH"),
        (400, {"error": "invalid_scope"}, r"check scope"),
        (400, {"error": KEY}, r"answered 400; check the options"),
        (404, HTML, r"answered 404; check token_url"),
        (200, {"access_token": f"dengan spasi {KEY}"}, r"blanks or odd characters"),
    ],
)
def test_a_refusal_says_what_to_do_and_nothing_secret(
    box: Mailbox,
    tokens: TokenServer,
    caplog: pytest.LogCaptureFixture,
    status: int,
    body: Any,
    told: str,
) -> None:
    caplog.set_level(0)
    tokens.faults.append(Fault(status, body))
    with pytest.raises(PermanentError, match=told) as caught:
        pull(stream_of(box, tokens, **REFRESH))
    assert str(caught.value).startswith("email/dki: the token server ")
    assert KEY not in told_by(caught.value) + caplog.text


@pytest.mark.parametrize(
    "fault",
    [
        Fault(503, HTML, content_type="text/html"),
        Fault(500, entra(90033, "temporarily_unavailable")),
        Fault(400, {"error": "temporarily_unavailable"}),
        Fault(429, {"error": "invalid_request"}),
        Fault(200, HTML, content_type="text/html"),
        Fault(200, {"expires_in": 3600}),
        Fault(200, b'{"access_token": "x', broken=True),
        Fault(200, b" " * 2000, drip=0.1),
        Fault(200, {}, sleep=1.0),
        Fault(302, b"", {"location": "/lain"}),
    ],
    ids=lambda fault: f"{fault.status} {fault.body!r:.20} {fault.drip} {fault.sleep}",
)
def test_a_token_server_in_trouble_is_asked_again_by_the_next_pull(
    box: Mailbox, tokens: TokenServer, fault: Fault
) -> None:
    box.add(mail("satu"))
    stream = stream_of(box, tokens, **CREDENTIALS)
    tokens.faults.append(fault)
    with pytest.raises(TransientError, match="email/dki: the token server") as caught:
        pull(stream)
    assert KEY not in told_by(caught.value)
    assert len(tokens.asked) == 1
    assert payloads(pull(stream)) == [mail("satu")]


def test_no_token_server_is_a_reason_to_wait(box: Mailbox, tokens: TokenServer) -> None:
    with pytest.raises(TransientError, match="could not be read"):
        pull(stream_of(box, tokens, token_url="http://127.0.0.1:9/token", **CREDENTIALS))


def jwt(roles: list[str]) -> str:
    claims = {"iss": "https://sts.windows.net/penyewa/", "roles": roles}
    middle = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"e30.{middle}.tanda"


@pytest.mark.parametrize(
    ("template", "told"),
    [
        (jwt([]), r"the token lacks the permission IMAP\.AccessAsApp"),
        (jwt(["IMAP.AccessAsApp"]), r"check the account; .*New-ServicePrincipal"),
        ("buram", r"its owner agreed to this application"),
    ],
)
def test_a_token_the_mail_server_refuses_says_what_may_be_missing(
    box: Mailbox, tokens: TokenServer, template: str, told: str
) -> None:
    tokens.template, tokens.tokens = template, {}  # Dovecot never hears of it
    with pytest.raises(PermanentError, match=told) as caught:
        pull(stream_of(box, tokens, **CREDENTIALS))
    assert template not in told_by(caught.value)
    assert len(tokens.asked) == 1


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"token_url": "http://192.0.2.1/token"}, "token_url"),
        ({"token_url": "https://u:p@example.com/token"}, "token_url"),
        ({"token_url": 5}, "token_url"),
        ({"client_id": ""}, "client_id"),
        ({"client_id_env": "KANAL_TEST_MISSING"}, "KANAL_TEST_MISSING"),
        ({"client_secret_env": "KANAL_TEST_MISSING"}, "KANAL_TEST_MISSING"),
        ({"refresh_token_env": "KANAL_TEST_MISSING"}, "KANAL_TEST_MISSING"),
        ({"scope": "baris\nbaru"}, "scope"),
        ({"timeout_seconds": 0}, "timeout_seconds"),
    ],
)
def test_a_wrong_option_is_named(box: Mailbox, tokens: TokenServer, options: dict[str, Any], named: str) -> None:
    with pytest.raises(SettingsError, match=named) as caught:
        pull(stream_of(box, tokens, **CREDENTIALS | options))
    assert KEY not in told_by(caught.value)
