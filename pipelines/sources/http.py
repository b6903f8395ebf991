"""HTTP for sources that ask an API: timeouts, another base, and errors that carry no secret.

What the client libraries leave out. tweepy sets no timeout and names its host in a local variable;
facebook-sdk checks no status and puts the token into the URL, so into every error's text. A source
mounts `connect`'s session into its client, checks each answer in `on_answer`, and asks only through
`Api.ask`. No retries here: whoever calls waits and pulls again.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import PurePath
from typing import Any, TypeVar
from urllib.parse import quote, quote_plus, urlsplit, urlunsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError, ReadTimeoutError

from pipelines.contracts import Stream
from pipelines.errors import KanalError, PermanentError, SettingsError, TransientError
from pipelines.settings import secret

T = TypeVar("T")

LOOPBACK = {"127.0.0.1", "::1", "localhost"}
_CONNECT_SECONDS = 10.0
_PATIENCE = 5  # a whole answer may take so many times the longest silence
_CHUNK, _MOST = 65_536, 64_000_000  # bytes at a time, and of one answer
_SECRET = re.compile(
    r"(?i)(?P<key>(?:access_token|input_token|appsecret_proof|client_secret)(?:=|%3D)|\bBearer\s+)[^&\s'\"<>)]+"
    r"|\bEAA[A-Za-z0-9]{16,}|(?P<user>//)[^/@\s]+(?=@)"
)
_CHATTY = ("tweepy.client", "urllib3.connectionpool", "urllib3.util.retry")


class Refused(PermanentError):  # noqa: N818 - as KanalError's other children
    """The API refused one request. `code` is its own error code, where it has them."""

    def __init__(self, message: str, *, status: int, code: int | None = None, subcode: int | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.subcode = status, code, subcode


class TooLarge(requests.ConnectionError):
    """An answer without an end, or with one too far off."""


def redact(text: str, hidden: tuple[str, ...] = ()) -> str:
    """`text` without the values in `hidden`, and without anything that looks like a credential."""
    for value in hidden:
        for form in {value, quote(value, safe=""), quote_plus(value), repr(value)[1:-1]}:
            text = text.replace(form, "***")
    return _SECRET.sub(lambda m: f"{m['key'] or m['user'] or ''}***", text)


class _NoSecrets(logging.Filter):
    """Drops wire traces (headers, URLs, people's words) and masks what is left."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno <= logging.DEBUG or record.getMessage() == "Unexpected parameter: post.fields":
            return False
        record.msg, record.args = redact(record.getMessage()), ()
        return True


class _Watched:
    """A connection whose status line and headers come within five times the longest silence, or not at all.

    `read` watches over the body; a server that sends a byte of its headers now and then would hold http.client for ever.
    """

    def getresponse(self) -> Any:
        sock, late = self.sock, threading.Event()  # type: ignore[attr-defined] # http.client's, as super()'s

        def end() -> None:
            late.set()
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer((sock.gettimeout() or _CONNECT_SECONDS) * _PATIENCE, end)
        timer.daemon = True
        timer.start()
        try:
            answer = super().getresponse()  # type: ignore[misc]
        except (HTTPException, HTTPError, OSError, ValueError):
            if late.is_set():
                raise TimeoutError from None
            raise
        finally:
            timer.cancel()
        if late.is_set():  # what was there by then looks like all headers there are
            raise TimeoutError
        return answer


class _Plain(_Watched, HTTPConnection):
    pass


class _Secure(_Watched, HTTPSConnection):
    pass


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _Plain


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _Secure


class Watched(HTTPAdapter):
    """An adapter for requests whose answers must begin in time; `read` is for what follows."""

    def init_poolmanager(self, *args: Any, **kw: Any) -> None:
        super().init_poolmanager(*args, **kw)
        self.poolmanager.pool_classes_by_scheme = {"http": _PlainPool, "https": _SecurePool}


class _Transport(Watched):
    """Adds timeouts where the client gives none, and sends to `base` where settings name one."""

    def __init__(self, base: str | None, read_seconds: float) -> None:
        super().__init__(max_retries=0)  # a urllib3 retry would log the URL, token included
        self._base = urlsplit(base) if base else None
        self._timeout = (min(_CONNECT_SECONDS, read_seconds), read_seconds)

    def send(self, request: requests.PreparedRequest, **kw: Any) -> requests.Response:  # type: ignore[override]
        if self._base:
            _, _, path, query, fragment = urlsplit(str(request.url))
            request.url = urlunsplit((self._base.scheme, self._base.netloc, path, query, fragment))
            if self._base.hostname in LOOPBACK:
                kw["proxies"] = None
        kw["timeout"] = kw.get("timeout") or self._timeout
        return super().send(request, **kw)


@dataclass(frozen=True, slots=True)
class Api:
    """One stream's way to one API: what errors call it, and what they must never say."""

    key: str
    name: str
    hidden: tuple[str, ...] = field(default=(), repr=False)

    def say(self, what: str) -> str:
        return redact(f"{self.key}: {self.name} {what}", self.hidden)

    def ask(self, call: Callable[..., T], *args: Any, **kw: Any) -> T:
        """`call(*args, **kw)`. Raises TransientError where the network failed, PermanentError where the
        client did, with no secret in it.

        The error is raised outside the handler: `from None` alone would keep the original, whose
        text and frames hold the token, as its context.
        """
        failure: KanalError
        try:
            return call(*args, **kw)
        except KanalError as error:  # on_answer's, from below the client library
            failure = error
        except requests.Timeout:
            failure = TransientError(self.say("did not answer in time; the next pull tries again"))
        except requests.RequestException as error:
            failure = TransientError(self.say(f"could not be read ({_reason(error)}); the next pull tries again"))
        except Exception as error:  # noqa: BLE001 - the client's own fault, with the token in the locals of its frames
            failure = PermanentError(self.say(f"could not be asked: {_fault(error)}; report this as a fault of Kanal"))
        raise failure.with_traceback(None)


def connect(stream: Stream, prefix: str, on_answer: Callable[[requests.Response, Any], None]) -> requests.Session:
    """A session for `prefix` whose every answer passes `on_answer(response, body)`.

    body is the answer's JSON, or None where it is none. Options: `api_base`, another address of
    the API (https, or http on this machine); `timeout_seconds` (30), the longest silence borne; a
    whole answer may take five times that.
    """
    session = requests.Session()
    for name in _CHATTY:
        logger = logging.getLogger(name)
        if not any(isinstance(f, _NoSecrets) for f in logger.filters):
            logger.addFilter(_NoSecrets())
    seconds = number_of(stream, "timeout_seconds", 30, 0.1, 600)
    session.mount(prefix, _Transport(_base_of(stream), seconds))
    session.trust_env = urlsplit(prefix).hostname not in LOOPBACK  # no proxy to this machine

    def check(response: requests.Response, **_: Any) -> None:
        # Before a redirect is followed: elsewhere neither timeout nor base would hold.
        read(response, seconds)
        on_answer(response, _json_of(response))

    session.hooks["response"].append(check)
    return session


def token_of(stream: Stream, option: str, what: str) -> str:
    """The secret whose variable is named by `option`. SettingsError names the variable only."""
    name = stream.options.get(option)
    value = secret(name, what=f"{stream.key}: {what} ({option})").strip()
    if not re.fullmatch(r"[!-~]+", value):  # http.client would print it in its complaint
        raise SettingsError(f"{stream.key}: environment variable {name} holds blanks or odd characters")
    return value


def number_of(stream: Stream, option: str, default: float, low: float, high: float) -> float:
    """A numeric option within bounds. Raises SettingsError that names it."""
    value = stream.options.get(option, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise SettingsError(f"{stream.key}: {option} must be a number from {low} to {high}, not {value!r}")
    return value


def by_status(api: Api, status: int, detail: str, advice: Mapping[int, str], *, wait: float = 60.0) -> KanalError:
    """What a bare HTTP status means: wait (408, 425, 429, 5xx) or stop, with the advice for it."""
    said = f"answered {status}{': ' + detail[:300] if detail else ''}"
    if status in (408, 425, 429) or status >= 500:
        return TransientError(api.say(f"{said}; the next pull tries again"), retry_after=wait)
    return Refused(api.say(f"{said}; {advice.get(status, 'check the options of this stream')}"), status=status)


def not_json(api: Api, status: int) -> TransientError:
    """An answer of 200 that is no JSON object: a proxy's or a maintenance page."""
    return TransientError(api.say(f"answered {status} with something that is not a JSON object"), retry_after=60.0)


def read(response: requests.Response, silence: float, most: int = _MOST) -> None:
    """Read the body within five times `silence`, the seconds a server may say nothing: a timeout alone bears
    one that sends a byte now and then.

    Raises requests' own errors: Timeout where it takes longer, ConnectionError where it is cut off, TooLarge.
    """
    end, body = time.monotonic() + silence * _PATIENCE, bytearray()
    try:
        while chunk := response.raw.read1(_CHUNK, decode_content=True):
            body += chunk
            if time.monotonic() > end:
                raise requests.Timeout
            if len(body) > most:
                raise TooLarge(f"an answer of more than {most:,} bytes")
    except (HTTPError, OSError) as error:
        if isinstance(error, requests.RequestException):
            raise
        kind = requests.Timeout if isinstance(error, ReadTimeoutError) else requests.ConnectionError
        raise kind(error) from None
    finally:
        response.raw.release_conn()
    response._content = bytes(body)
    response._content_consumed = True  # type: ignore[attr-defined] # requests' own, untyped


def _json_of(response: requests.Response) -> Any:
    try:
        return json.loads(response.content)
    except (ValueError, RecursionError):
        return None


def address_of(stream: Stream, option: str, example: str) -> str:
    """The URL in `option`: https, or http on this machine; without query and account. Raises SettingsError."""
    url = stream.options.get(option)
    parts = urlsplit(url) if isinstance(url, str) else urlsplit("")
    plain = parts.scheme == "http" and parts.hostname in LOOPBACK
    if not parts.hostname or not (parts.scheme == "https" or plain) or parts.query or "@" in parts.netloc:
        raise SettingsError(f"{stream.key}: {option} must be as {example}, or http on this machine only")
    return str(url)


def _base_of(stream: Stream) -> str | None:
    if stream.options.get("api_base") is None:
        return None
    base = address_of(stream, "api_base", "https://HOST")
    if urlsplit(base).path.strip("/"):
        raise SettingsError(f"{stream.key}: api_base must be https://HOST, without a path")
    return base


def _fault(error: Exception) -> str:
    """Type and place of an unforeseen error; never its words, which may quote anything."""
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    where = f" at {PurePath(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else ""
    return f"{type(error).__name__}{where}"


def _reason(error: requests.RequestException) -> str:
    """The innermost cause, which says more than 'max retries exceeded with url'."""
    inner = error.args[0] if error.args else error
    inner = getattr(inner, "reason", None) or inner
    return f"{type(error).__name__}: {inner}"[:300]
