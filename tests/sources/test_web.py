"""An address from a stranger: asked over a real connection to this machine, or refused before anything is sent."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from pipelines.errors import PermanentError, TransientError
from pipelines.sources import web
from pipelines.sources.web import Limits
from tests.pictures import picture, png_claiming

PHOTO = picture()
LIMITS = Limits(frozenset({"localhost"}), 50_000, 5.0)
QUICK = LIMITS._replace(seconds=0.5)
Page = Callable[[BaseHTTPRequestHandler], None]


def answer(body: bytes = PHOTO, status: int = 200, length: int | None = None, **headers: str) -> Page:
    def page(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        request.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in headers.items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()
        request.wfile.write(body)

    return page


def leads_to(location: str) -> Page:
    return answer(b"", 302, Location=location)


def drip(before: bytes, drop: bytes) -> Page:
    """Sends for ever, a little at a time."""

    def page(request: BaseHTTPRequestHandler) -> None:
        request.wfile.write(before)
        for _ in range(200):
            request.wfile.write(drop)
            request.wfile.flush()
            time.sleep(0.05)

    return page


def flood(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.end_headers()
    for _ in range(10_000):
        request.wfile.write(PHOTO * 100)


@contextmanager
def serving(pages: dict[str, Page]) -> Iterator[tuple[str, list[str]]]:
    """(http://localhost:PORT, paths asked for)."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            try:
                pages.get(self.path, answer(b"", 404))(self)
            except (BrokenPipeError, ConnectionResetError):
                return

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://localhost:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def fetch(page: Page, limits: Limits = LIMITS) -> bytes:
    with serving({"/a.jpg?x=1": page}) as (base, _):
        return web.fetch(f"{base}/a.jpg?x=1", limits, allow_loopback=True)


def test_a_picture_comes_as_it_is_also_by_way_of_another_address_on_the_list() -> None:
    with serving({"/a": leads_to("/b?c"), "/b?c": answer(PHOTO)}) as (base, asked):
        assert web.fetch(f"{base}/a", LIMITS, allow_loopback=True) == PHOTO
        assert asked == ["/a", "/b?c"]


def test_a_login_is_told_to_its_own_host_and_to_none_that_it_leads_on_to() -> None:
    told: list[tuple[str, str | None]] = []

    def page(then: Page) -> Page:
        def asked(request: BaseHTTPRequestHandler) -> None:
            told.append((request.headers["Host"].split(":")[0], request.headers["Authorization"]))
            then(request)

        return asked

    with serving({"/photo": page(answer())}) as (second, _):
        elsewhere = second.replace("localhost", "127.0.0.1") + "/photo"
        with serving({"/media": page(leads_to(elsewhere))}) as (first, _):
            limits = LIMITS._replace(allow={"localhost", "127.0.0.1"}, logins={"localhost": "AC1:kenari"})
            assert web.fetch(f"{first}/media", limits, allow_loopback=True) == PHOTO
    assert told == [("localhost", "Basic QUMxOmtlbmFyaQ=="), ("127.0.0.1", None)]


def test_a_host_that_knows_us_may_say_in_json_where_the_file_is_and_both_are_told_the_token() -> None:
    told: list[str | None] = []

    def page(then: Page) -> Page:
        def asked(request: BaseHTTPRequestHandler) -> None:
            told.append(request.headers["Authorization"])
            then(request)

        return asked

    with serving({"/lookaside?mid=7": page(answer())}) as (files, _):
        said = json.dumps({"url": f"{files}/lookaside?mid=7", "mime_type": "image/jpeg", "id": "7"}).encode()
        with serving({"/v27.0/7": page(answer(said, Content_Type="application/json; charset=UTF-8"))}) as (graph, _):
            limits = LIMITS._replace(logins={"localhost": "EAAkenari"})
            assert web.fetch(f"{graph}/v27.0/7", limits, allow_loopback=True) == PHOTO
    assert told == ["Bearer EAAkenari"] * 2


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b'{"url": "http://127.0.0.1/a"}', "not on the allow list"),
        (b'{"url": "file:///etc/passwd"}', "only https"),
        (b'{"url": 7}', "names no address"),
        (b'["url"]', "names no address"),
        (b"[" * 10_000, "names no address"),
        (b"{", "names no address"),
        (b" " * 20_001, "larger than 20,000 bytes"),
    ],
)
def test_what_a_host_says_in_json_leads_nowhere_that_a_redirect_would_not(said: bytes, why: str) -> None:
    with serving({"/a": answer(said, Content_Type="application/json")}) as (base, asked):
        with pytest.raises(PermanentError, match=why):
            web.fetch(f"{base}/a", LIMITS._replace(logins={"localhost": "EAAkenari"}), allow_loopback=True)
        assert asked == ["/a"]


@pytest.mark.parametrize("login", ["EAAkenari", "AC1:kenari"])
@pytest.mark.parametrize("status", [200, 302, 401, 403, 404, 429, 500])
def test_no_error_tells_the_login_that_a_host_echoes(login: str, status: int) -> None:
    def echo(request: BaseHTTPRequestHandler) -> None:
        sent = request.headers["Authorization"]
        kind = "application/json" if status == 200 else "text/plain"
        told = json.dumps({"url": f"https://elsewhere.example/{login}"}).encode()
        answer(told, status, Location=f"https://elsewhere.example/{sent}", Content_Type=kind, X_Sent=sent)(request)

    limits = LIMITS._replace(logins={"localhost": login})
    with serving({"/a": echo}) as (base, _), pytest.raises((PermanentError, TransientError)) as failed:
        web.fetch(f"{base}/a", limits, allow_loopback=True)
    assert login not in "".join(traceback.format_exception(failed.value))


def test_json_of_a_host_that_does_not_know_us_is_no_picture() -> None:
    with serving({"/b": answer()}) as (base, asked):
        said = json.dumps({"url": f"{base}/b"}).encode()
        page = answer(said, Content_Type="application/json")
        with serving({"/a": page}) as (stranger, _), pytest.raises(PermanentError, match="no picture"):
            web.fetch(f"{stranger}/a", LIMITS, allow_loopback=True)
        assert asked == []


@pytest.mark.parametrize(
    ("page", "why"),
    [
        (answer(b"<html><script>"), "no picture, film, sound or PDF"),
        (answer(b"<svg onload=alert(1)>", Content_Type="image/jpeg"), "no picture, film, sound or PDF"),
        (answer(png_claiming(40_000, 40_000)), "no picture, film, sound or PDF"),
        (answer(gzip.compress(b"\0" * 10_000_000), Content_Encoding="gzip"), "packed"),
        (answer(PHOTO, length=50_001), "larger than 50,000 bytes"),
        (flood, "larger than 50,000 bytes"),
        (answer(b"", 404), "answers 404"),
        (answer(PHOTO, 206), "answers 206"),
        (leads_to("file:///etc/passwd"), "only https"),
        (leads_to("ftp://localhost/a"), "only https"),
        (leads_to("http://127.0.0.1/a"), "not on the allow list"),
        (leads_to("http://169.254.169.254/latest/meta-data"), "not on the allow list"),
        (leads_to("http://[::1]/a"), "not on the allow list"),
        (leads_to("http://2130706433/a"), "not on the allow list"),
        (leads_to("http://localhost@example.com/a"), "not on the allow list"),
        (leads_to("//example.com/a"), "not on the allow list"),
        (leads_to("http://localhost:x/a"), "cannot be read"),
        (leads_to("http://localhost/\xe9.jpg"), "no address holds"),
        (leads_to("/a.jpg?x=1"), "more than 3 times"),
    ],
)  # fmt: skip
def test_what_asking_again_does_not_mend_is_refused_for_good(page: Page, why: str) -> None:
    with pytest.raises(PermanentError, match=why) as error:
        fetch(page)
    assert "localhost" not in str(error.value), "an address may be personal"


@pytest.mark.parametrize(
    ("page", "why"),
    [
        (answer(b"", 503), "answers 503"),
        (answer(b"", 429), "answers 429"),
        (answer(PHOTO, length=len(PHOTO) + 1), "broke off"),
        (lambda request: request.connection.shutdown(socket.SHUT_RDWR), "broke off"),
        (drip(b"HTTP/1.1 200 OK\r\n\r\n" + PHOTO, b"\0"), "takes too long"),
        (drip(b"HTTP/1.1 200 OK\r\n\r\n<html>", b"\0"), "takes too long"),
        (drip(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", b"\0"), "takes too long"),
        (drip(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"), "takes too long"),
        (drip(b"HTTP/1.1 200 OK\r\nX-Long: ", b"x"), "takes too long"),
        (lambda request: time.sleep(2), "takes too long"),
        (lambda request: request.wfile.write(b"garbage\r\n\r\n"), "broke off"),
    ],
)  # fmt: skip
def test_what_may_mend_is_told_as_such_and_nobody_can_hold_the_line(page: Page, why: str) -> None:
    with pytest.raises(TransientError, match=why):
        fetch(page, QUICK)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://foto.example.com/a.jpg", "only https"),
        ("file:///etc/passwd", "only https"),
        ("https://foto.example.com:8443/a.jpg", "only port 443"),
        ("https://example.com/a.jpg", "not on the allow list"),
        ("https://x.foto.example.com/a.jpg", "not on the allow list"),
        ("https://foto.example.com./a.jpg", "not on the allow list"),
        ("https://foto.example.com@evil.example/a.jpg", "not on the allow list"),
        ("https://foto.example.com\\@evil.example/a.jpg", "not on the allow list"),
        ("https://127.0.0.1/a.jpg", "not on the allow list"),
        ("https://foto.example.com/" + "a" * 2_000, "no address holds"),
        ("https://foto.example.com/a b", "no address holds"),
        ("https://foto.example.com/a\r\nHost: x", "no address holds"),
        ("https://[x", "cannot be read"),
        ("", "only https"),
    ],
)  # fmt: skip
def test_most_addresses_are_refused_before_anything_is_asked(
    url: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", None)
    with pytest.raises(PermanentError, match=why):
        web.fetch(url, LIMITS._replace(allow=frozenset({"foto.example.com"})))
    assert not web.allowed(url, {"foto.example.com"})


def _resolving(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> list[Any]:
    """The name leads to these addresses; every connection that is tried."""
    tried: list[Any] = []
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443)) for address in addresses]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: found)

    def connect(address: Any, timeout: float | None = None) -> Any:
        tried.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "create_connection", connect)
    return tried


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
     "255.255.255.255", "198.18.0.1", "192.0.2.1"],
)  # fmt: skip
def test_a_name_on_the_list_that_leads_into_an_inner_network_is_refused(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = _resolving(monkeypatch, "8.8.8.8", address)
    with pytest.raises(PermanentError, match="inner network"):
        web.fetch("https://localhost/a.jpg", LIMITS)
    assert tried == []


def test_a_name_that_changes_its_mind_is_asked_once_and_connected_to_what_was_checked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried = _resolving(monkeypatch, "8.8.8.8")
    with pytest.raises(TransientError, match="broke off"):
        web.fetch("https://localhost/a.jpg", LIMITS)
    assert tried == [("8.8.8.8", 443)]


def test_without_the_tests_own_argument_this_machine_is_never_asked() -> None:
    with serving({"/a.jpg": answer(PHOTO)}) as (base, asked):
        port = base.rpartition(":")[2]
        for url in (f"{base}/a.jpg", f"https://localhost:{port}/a.jpg", "https://localhost/a.jpg"):
            with pytest.raises(PermanentError):
                web.fetch(url, LIMITS)
        assert asked == []
