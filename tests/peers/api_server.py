"""An HTTP API on 127.0.0.1 for tests: real sockets, faults on demand, a log of what was asked.

`ApiServer` answers GET and POST through `answer`; a subclass says what an API would. A queued `Fault` is
given instead, once: any status, headers and bytes, a pause, or a connection that breaks off.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

_JSON = "application/json; charset=utf-8"
Answer = tuple[int, Any, dict[str, str]]  # status, JSON value or bytes, headers


@dataclass(frozen=True)
class Fault:
    """One answer that is not the API's. body: bytes as they are, else JSON."""

    status: int = 200
    body: Any = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str | None = _JSON
    sleep: float = 0.0  # seconds before it
    drip: float = 0.0  # seconds between its bytes
    drip_headers: float = 0.0  # seconds between the bytes of its headers, for eight seconds
    broken: bool = False  # promise more bytes than come


@dataclass(frozen=True)
class Asked:
    """One request as it arrived."""

    path: str
    query: dict[str, str]
    headers: dict[str, str]
    form: dict[str, str] = field(default_factory=dict)  # what was posted


class ApiServer(ABC):
    """Serves while used as a context manager; `url` is its address."""

    content_type = _JSON

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.faults: deque[Fault | None] = deque()  # None: let one request through
        self.before: Callable[[Asked], None] | None = None  # sees each request before it is answered

    @abstractmethod
    def answer(self, asked: Asked) -> Answer:
        """What the vendor would answer."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # header and body in one write: unbuffered costs 40 ms a request
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                api._serve(self)

            def do_POST(self) -> None:
                api._serve(self, self.rfile.read(int(self.headers.get("Content-Length", 0))))

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _serve(self, handler: BaseHTTPRequestHandler, body: bytes = b"") -> None:
        parts = urlsplit(handler.path)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        headers, form = {k.lower(): v for k, v in handler.headers.items()}, dict(parse_qsl(body.decode("latin-1")))
        asked = Asked(parts.path, query, headers, form)
        self.asked.append(asked)
        if self.before:
            self.before(asked)
        fault = self.faults.popleft() if self.faults else None
        if fault is None:
            status, body, headers = self.answer(asked)
            fault = Fault(status, body, headers, self.content_type)
        if fault.sleep:
            time.sleep(fault.sleep)
        if fault.drip_headers:
            _, body, _ = self.answer(asked)
            _drip_headers(handler, fault.drip_headers, body if isinstance(body, bytes) else json.dumps(body).encode())
            return
        data = fault.body if isinstance(fault.body, bytes) else json.dumps(fault.body).encode()
        handler.send_response_only(fault.status)  # no Date of this machine: an emulator has its own clock
        if fault.content_type:
            handler.send_header("content-type", fault.content_type)
        for name, value in fault.headers.items():
            handler.send_header(name, value)
        handler.send_header("content-length", str(len(data) + (100 if fault.broken else 0)))
        handler.end_headers()
        for byte in data if fault.drip else ():
            handler.wfile.write(bytes([byte]))
            handler.wfile.flush()
            time.sleep(fault.drip)
        handler.wfile.write(b"" if fault.drip else data)
        handler.wfile.flush()
        handler.close_connection = fault.broken


def _drip_headers(handler: BaseHTTPRequestHandler, seconds: float, data: bytes) -> None:
    """A good answer in the end, eight seconds after its first byte."""
    with contextlib.suppress(OSError):  # whoever asked has left
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nx-drip: ")
        for _ in range(int(8 / seconds)):
            handler.wfile.write(b"x")
            handler.wfile.flush()
            time.sleep(seconds)
        handler.wfile.write(b"\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n" % (_JSON.encode(), len(data)) + data)
    handler.close_connection = True
