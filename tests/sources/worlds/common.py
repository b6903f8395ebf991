"""What worlds share: why a case has no meaning, and a peer that fails over HTTP."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager

from tests.peers.api_server import ApiServer, Fault
from tests.sources.contract import CANARY, World

SILENT = 2.5  # seconds, more than any world's timeout
HTML = b"<html><head><title>Maintenance</title></head><body>Kami segera kembali</body></html>"

NO_HTTP = dict.fromkeys(
    (
        "too many requests with a reset waits for it",
        "too many requests without a reset waits too",
        "a server in trouble is asked again",
        "a page of html is no answer",
        "an empty page with a token is not the end",
        "a body that drips ends in time",
        "headers that drip end in time",
    ),
    "there is no HTTP",
)
NO_SERVER = NO_HTTP | dict.fromkeys(
    (
        "a body cut off is no answer",
        "a silent server is left",
        "credentials that expire midway stop the stream",
    ),
    "there is no server",
)


class HttpWorld(World):
    """A world whose peer is an emulator on a real socket."""

    def __init__(self, server: ApiServer) -> None:
        super().__init__()
        self.server = server
        os.environ["KANAL_UJI_KONTRAK"] = CANARY

    @abstractmethod
    def faults(self) -> dict[str, Fault]:
        """Each fault as this vendor answers it, besides those that all share."""

    @contextmanager
    def failing(self, fault: str, after: int) -> Iterator[None]:
        shared = {
            "5xx": Fault(503, HTML, content_type="text/html"),
            "html": Fault(200, HTML, content_type="text/html"),
            "cut": Fault(200, b'{"data": [', broken=True),
            "drip": Fault(200, b" " * 2000, drip=0.1),
            "drip headers": Fault(drip_headers=0.1),
            "silent": Fault(200, {}, sleep=SILENT),
        }
        self.server.faults.extend([*[None] * after, (shared | self.faults())[fault]])
        try:
            yield
            assert not self.server.faults, "the fault was not met"
        finally:
            self.server.faults.clear()
