"""One file from an address that a citizen sent -> its bytes, and nothing else of the network touched.

An address from a message may lead anywhere, so: https and port 443 alone, a host exactly on the allow
list, every step of a redirect checked anew, the name resolved once and the connection made to the very
address that was checked, none of this machine's or an inner network. One deadline for all of it, no
answer larger than asked for, nothing unpacked, and only what shows itself to be a picture, film, sound
or PDF. A host that knows us by a login may also answer in JSON with the `url` where the file is, as
Meta does: that leads on as a redirect would.

Belongs here: asking once. Not here: which addresses, how often (pipelines/media).
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from ipaddress import IPv4Address
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import SplitResult, urljoin, urlsplit

from pipelines.errors import PermanentError, TransientError
from pipelines.sources.attached import type_of

_REDIRECTS, _HOPS = (301, 302, 303, 307, 308), 3
_WAIT = (408, 425, 429)
_CHUNK, _TOLD_BYTES = 65_536, 20_000
_LONGEST = 2_000  # characters of an address
_JSON = ("application/json", "text/javascript")  # Graph has had both
_HEADERS = {
    "Accept": "image/*, video/*, audio/*, application/pdf, application/json",
    "Accept-Encoding": "identity",
    "User-Agent": "Kanal",
}
_TLS = ssl.create_default_context()


class Limits(NamedTuple):
    """allow: hosts, lower case, each exactly; largest answer; seconds for all of it, redirects included; host ->
    `user:password` or token that it is told, and no other host."""

    allow: Collection[str]
    max_bytes: int
    seconds: float
    logins: Mapping[str, str] = MappingProxyType({})


def allowed(url: str, allow: Collection[str], *, allow_loopback: bool = False) -> bool:
    """Whether `fetch` would ask for an address at all."""
    try:
        _checked(url, allow, allow_loopback=allow_loopback)
    except PermanentError:
        return False
    return True


def fetch(url: str, limits: Limits, *, allow_loopback: bool = False) -> bytes:
    """The bytes behind `url`. PermanentError: asking again is useless; TransientError: it may be mended.

    No error holds the address: it may be personal. allow_loopback: for tests against this machine,
    over http and any port too; nothing an operator sets leads here.
    """
    deadline = time.monotonic() + limits.seconds
    for _ in range(_HOPS + 1):
        parts = _checked(url, limits.allow, allow_loopback=allow_loopback)
        login = limits.logins.get(parts.hostname or "")
        with _asked(parts, deadline, login, allow_loopback=allow_loopback) as answer:
            if answer.status in _REDIRECTS:
                url = urljoin(url, answer.getheader("Location") or "")
            elif login and answer.status == 200 and answer.headers.get_content_type() in _JSON:
                url = _told(_body(answer, _TOLD_BYTES))
            else:
                return _media(_body(answer, limits.max_bytes))
    raise PermanentError(f"the address leads on more than {_HOPS} times")


def _checked(url: str, allow: Collection[str], *, allow_loopback: bool) -> SplitResult:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise PermanentError("the address cannot be read") from None
    if len(url) > _LONGEST or not url.isascii() or any(c <= " " for c in url):
        raise PermanentError("the address holds what no address holds")
    if parts.scheme != "https" and not (allow_loopback and parts.scheme == "http"):
        raise PermanentError("only https addresses are fetched")
    if "@" in parts.netloc or host not in allow:
        raise PermanentError("the host is not on the allow list")
    if port not in (None, 443) and not allow_loopback:
        raise PermanentError("only port 443 is asked")
    return parts


def _resolved(host: str, port: int, *, allow_loopback: bool) -> str:
    """One address to connect to. IPv4 alone: no other kind of address can be wrapped in it."""
    try:
        found = socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_STREAM)
    except OSError:
        raise TransientError("the host's name cannot be resolved") from None
    addresses = [IPv4Address(entry[4][0]) for entry in found]
    for address in addresses:
        public = address.is_global and not address.is_multicast and not address.is_reserved
        if not public and not (allow_loopback and address.is_loopback):
            raise PermanentError("the host leads into an inner network")
    if not addresses:
        raise TransientError("the host has no address")
    return str(addresses[0])


@contextmanager
def _asked(
    parts: SplitResult, deadline: float, login: str | None, *, allow_loopback: bool
) -> Iterator[http.client.HTTPResponse]:
    """The answer to a GET, its head read. At the deadline the connection is shut, wherever it stands."""
    host, secure = parts.hostname or "", parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    address = _resolved(host, port, allow_loopback=allow_loopback)
    late = TransientError("the host takes too long")
    left = deadline - time.monotonic()
    if left <= 0:
        raise late
    connection = http.client.HTTPConnection(host, port)
    expired = threading.Event()
    try:
        plain = socket.create_connection((address, port), timeout=left)
        connection.sock = plain
        line = [plain]  # http.client lets go of it while the body still comes
        timer = threading.Timer(max(deadline - time.monotonic(), 0), _shut, (line, expired))
        timer.daemon = True
        timer.start()
        try:
            if secure:
                plain.settimeout(max(deadline - time.monotonic(), 0.001))
                connection.sock = line[0] = _TLS.wrap_socket(plain, server_hostname=host)
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.request("GET", target, headers=_HEADERS | _proof(login))
            yield connection.getresponse()
        finally:
            timer.cancel()
        if expired.is_set():
            raise late
    except TimeoutError:
        raise late from None
    except ssl.SSLCertVerificationError:
        raise PermanentError("the host's certificate is not valid") from None
    except (OSError, http.client.HTTPException, ValueError):
        raise (late if expired.is_set() else TransientError("the connection broke off")) from None
    except (PermanentError, TransientError):
        if expired.is_set():  # what was cut off may look like anything
            raise late from None
        raise
    finally:
        connection.close()


def _shut(line: list[socket.socket], expired: threading.Event) -> None:
    expired.set()
    try:
        socket.socket.shutdown(line[0], socket.SHUT_RDWR)  # not TLS's own, which would wait for an answer
    except OSError:
        return  # closed already


def _body(answer: http.client.HTTPResponse, most: int) -> bytes:
    if answer.status in _WAIT or answer.status >= 500:
        raise TransientError(f"the host answers {answer.status}")
    if answer.status != 200:
        raise PermanentError(f"the host answers {answer.status}")
    if (answer.getheader("Content-Encoding") or "identity").strip().lower() != "identity":
        raise PermanentError("the answer is packed, though that was not asked for")
    too_large = PermanentError(f"the file is larger than {most:,} bytes")
    length = answer.getheader("Content-Length") or ""
    if length.isdecimal() and int(length) > most:
        raise too_large
    data = bytearray()
    while chunk := answer.read1(_CHUNK):
        data += chunk
        if len(data) > most:
            raise too_large
    if length.isdecimal() and len(data) < int(length):
        raise TransientError("the connection broke off")
    return bytes(data)


def _media(data: bytes) -> bytes:
    if type_of(data) is None:
        raise PermanentError("it is no picture, film, sound or PDF")
    return data


def _told(data: bytes) -> str:
    try:
        url = json.loads(data)["url"]
    except (ValueError, LookupError, TypeError, RecursionError):
        url = None
    if not isinstance(url, str):
        raise PermanentError("the host names no address of the file")
    return url


def _proof(login: str | None) -> dict[str, str]:
    """A token has no colon, a login has."""
    if not login:
        return {}
    return {"Authorization": f"Basic {b64encode(login.encode()).decode()}" if ":" in login else f"Bearer {login}"}
