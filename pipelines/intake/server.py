"""uvicorn, set up for the open: bounded headers and connections, patience that ends, a quiet log, a graceful end."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from ipaddress import ip_address
from typing import Any

import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

from pipelines.errors import PermanentError, SettingsError
from pipelines.intake.app import HEADER_BYTES, build
from pipelines.intake.maps import Areas
from pipelines.settings import Intake, Settings

log = logging.getLogger(__name__)

_CONNECTIONS = 1000
_END_SECONDS = 20


class Patient(H11Protocol):
    """Closes a connection whose next request is not there, headers and all, in time; uvicorn waits for ever."""

    seconds: float
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._deadline = self.loop.call_later(self.seconds, transport.close)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        asked = self.cycle is not None and not self.cycle.response_complete
        if asked and self._deadline:
            self._deadline.cancel()
            self._deadline = None
        elif not asked and self._deadline is None and not self.transport.is_closing():
            self._deadline = self.loop.call_later(self.seconds, self.transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._deadline:
            self._deadline.cancel()
        super().connection_lost(exc)


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            log.info("kanal intake listens on http://%s:%s", f"[{host}]" if ":" in host else host, port)


def is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def serve(
    settings: Settings,
    categories: Sequence[tuple[str, str]],
    areas: Areas,
    *,
    run_id: str,
    now: Callable[[], datetime],
    host: str,
    port: int,
) -> None:
    """Receive until SIGTERM or Ctrl-C; then answer and land what was accepted.

    Raises SettingsError (nothing to receive, options, secrets) or PermanentError (the port is taken).
    """
    if not any(stream.source in ("webhook", "form") for stream in settings.streams):
        raise SettingsError(f"{settings.path} has no stream with source webhook or form; docs/intake.md shows one")
    _logs_plainly()
    application = build(settings, categories, areas, run_id=run_id, now=now)
    config = configured(application, settings.intake, host, port)
    # uvicorn raises the signal again once it has ended gracefully: that is a good end.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    try:
        _Server(config).run()
    except SystemExit as error:
        if error.code:
            raise PermanentError(f"cannot listen on {host} port {port}; is another intake running?") from None
    log.info("kanal intake has ended; what it accepted has landed")


def configured(application: Starlette, intake: Intake, host: str, port: int) -> uvicorn.Config:
    return uvicorn.Config(
        application,
        host=host,
        port=port,
        http=type("_Patient", (Patient,), {"seconds": intake.patience_seconds}),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=_CONNECTIONS,
        h11_max_incomplete_event_size=HEADER_BYTES,
        timeout_keep_alive=10,
        timeout_graceful_shutdown=_END_SECONDS,
    )


def _end(*_: Any) -> None:
    sys.exit(0)


def _logs_plainly() -> None:
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    # Anybody may send what is no HTTP or no form, as often as he likes; the figures count what was refused.
    logging.getLogger("uvicorn").setLevel(logging.ERROR)
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
