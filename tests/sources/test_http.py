"""HTTP for sources: timeouts, another base, errors without secrets."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from pipelines.contracts import Stream
from pipelines.errors import PermanentError, SettingsError, TransientError
from pipelines.sources import http
from tests.peers.api_server import Answer, ApiServer, Asked, Fault
from tests.peers.canary import told_by

HOST = "https://api.example.com"
TOKEN = "kanari-7Q/x+y=z"


class Echo(ApiServer):
    def answer(self, asked: Asked) -> Answer:
        return 200, {"path": asked.path, "query": asked.query}, {}


def stream(**options: Any) -> Stream:
    return Stream("twitter", "uji", "twitter", options)


def session_of(server: ApiServer, bodies: list[Any] | None = None, **options: Any) -> requests.Session:
    seen = [] if bodies is None else bodies
    return http.connect(stream(api_base=server.url, **options), HOST, lambda _, body: seen.append(body))


def api() -> http.Api:
    return http.Api("twitter/uji", "X", (TOKEN,))


def test_a_request_goes_to_the_base_that_settings_name_with_path_and_query_kept() -> None:
    bodies: list[Any] = []
    with Echo() as server:
        session_of(server, bodies).get(f"{HOST}/2/users?a=1&b=dua+kata")
    assert bodies == [{"path": "/2/users", "query": {"a": "1", "b": "dua kata"}}]


@pytest.mark.parametrize(
    "base",
    [
        "http://example.com",
        "http://127.0.0.1.example.com",
        "https://user:word@example.com",
        "https://example.com/v2",
        "ftp://127.0.0.1",
        "example.com",
        "",
        7,
    ],
)
def test_a_base_that_is_neither_https_nor_this_machine_is_refused(base: object) -> None:
    with pytest.raises(SettingsError, match="twitter/uji: api_base must be"):
        http.connect(stream(api_base=base), HOST, lambda *_: None)


def test_a_silent_server_is_a_transient_error_after_the_timeout() -> None:
    with Echo() as server:
        server.faults.append(Fault(sleep=0.5))
        session = session_of(server, timeout_seconds=0.1)
        with pytest.raises(TransientError, match="twitter/uji: X did not answer in time"):
            api().ask(session.get, f"{HOST}/2/users")


def test_an_answer_that_breaks_off_is_a_transient_error() -> None:
    with Echo() as server:
        server.faults.append(Fault(body=b'{"data": [', broken=True))
        with pytest.raises(TransientError, match="could not be read"):
            api().ask(session_of(server).get, f"{HOST}/2/users")


def test_a_server_that_is_not_there_tells_no_secret_in_text_causes_or_frames() -> None:
    with Echo() as server:
        gone = session_of(server)
    gone.params = {"access_token": TOKEN}
    with pytest.raises(TransientError) as caught:
        api().ask(gone.get, f"{HOST}/v26.0/me")
    text = told_by(caught.value)
    assert "twitter/uji" in text
    assert not any(form in text for form in (TOKEN, "kanari-7Q", "kanari-7Q%2Fx"))


def test_a_redirect_is_shown_to_the_check_and_not_followed_when_it_refuses() -> None:
    def check(response: requests.Response, _: Any) -> None:
        if response.status_code != 200:
            raise http.by_status(api(), response.status_code, "", {})

    with Echo() as server, Echo() as elsewhere:
        server.faults.append(Fault(302, headers={"location": f"{elsewhere.url}/curi"}))
        session = http.connect(stream(api_base=server.url), HOST, check)
        with pytest.raises(http.Refused, match="answered 302"):
            api().ask(session.get, f"{HOST}/2/users")
        assert elsewhere.asked == []


@pytest.mark.parametrize("body", [b"<html>sibuk</html>", b"", b'{"a": ', b"\xff\xfe", b"[" * 5000])
def test_a_body_that_is_no_json_reaches_the_check_as_none(body: bytes) -> None:
    bodies: list[Any] = []
    with Echo() as server:
        server.faults.append(Fault(body=body))
        session_of(server, bodies).get(f"{HOST}/2/users")
    assert bodies == [None]


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
def test_a_busy_or_failing_server_means_wait(status: int) -> None:
    error = http.by_status(api(), status, "", {}, wait=7.0)
    assert isinstance(error, TransientError)
    assert error.retry_after == 7.0


@pytest.mark.parametrize("status", [302, 400, 401, 402, 403, 404, 410, 451])
def test_a_refusal_means_stop_and_says_what_to_do(status: int) -> None:
    error = http.by_status(api(), status, "Title", {401: "make a new token"})
    assert isinstance(error, PermanentError)
    advice = "make a new token" if status == 401 else "check the options of this stream"
    assert str(error) == f"twitter/uji: X answered {status}: Title; {advice}"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("url: /me?access_token=EAABxyz&limit=5", "url: /me?access_token=***&limit=5"),
        ("next=access_token%3DEAABxyz", "next=access_token%3D***"),
        ("Authorization: Bearer AAAA.bbb", "Authorization: Bearer ***"),
        ("appsecret_proof=0af3'", "appsecret_proof=***'"),
        ("Malformed access token EAAG1234567890abcdefgh", "Malformed access token ***"),
        ("http://nama:sandi@proxy.example.com/", "http://***@proxy.example.com/"),
        ("jalan rusak di Meruya", "jalan rusak di Meruya"),
    ],
)
def test_what_looks_like_a_credential_is_masked(text: str, masked: str) -> None:
    assert http.redact(text) == masked


@given(st.text("abcXYZ019/+=&%_-.~", min_size=8, max_size=40), st.text(max_size=20), st.text(max_size=20))
def test_a_hidden_value_never_survives_in_any_spelling(value: str, before: str, after: str) -> None:
    prepared = requests.Request("GET", HOST, params={"access_token": value}).prepare().url
    for said in (value, repr(value), str(prepared)):
        assert value not in http.redact(f"{before}{said}{after}", (value,)).replace("***", "")


def test_wire_traces_are_dropped_and_warnings_are_masked(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with Echo() as server:
        session_of(server).get(f"{HOST}/me", params={"access_token": TOKEN})
    logging.getLogger("tweepy.client").warning("sent %s", f"Bearer {TOKEN}")
    assert [r.getMessage() for r in caplog.records] == ["sent Bearer ***"]


def test_a_missing_or_unusable_token_names_the_variable_and_never_the_value(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(SettingsError, match="bearer_env"):
        http.token_of(stream(), "bearer_env", "X bearer token")
    configured = stream(bearer_env="KANAL_UJI_TOKEN")
    monkeypatch.delenv("KANAL_UJI_TOKEN", raising=False)
    with pytest.raises(SettingsError, match="KANAL_UJI_TOKEN is not set"):
        http.token_of(configured, "bearer_env", "X bearer token")
    monkeypatch.setenv("KANAL_UJI_TOKEN", "kanari dua")
    with pytest.raises(SettingsError, match="KANAL_UJI_TOKEN holds blanks") as caught:
        http.token_of(configured, "bearer_env", "X bearer token")
    assert "kanari" not in str(caught.value)
    monkeypatch.setenv("KANAL_UJI_TOKEN", f"{TOKEN}\n")
    assert http.token_of(configured, "bearer_env", "X bearer token") == TOKEN


@pytest.mark.parametrize("value", [0, 101, "10", True, None])
def test_a_number_out_of_bounds_is_refused_with_its_bounds(value: object) -> None:
    with pytest.raises(SettingsError, match="max_results must be a number from 5 to 100"):
        http.number_of(stream(max_results=value), "max_results", 10, 5, 100)
