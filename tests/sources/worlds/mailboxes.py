"""E-mail: a running Dovecot, and a folder of files."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from socket import create_connection, socket

import pytest

from pipelines.contracts import Stream
from tests.peers.dovecot import PASSWORD, Mailbox
from tests.peers.token_server import TokenServer
from tests.sources.contract import CANARY, SOME, World, words
from tests.sources.worlds.common import NO_HTTP, NO_SERVER, SILENT

_OLD_PASSWORD = "kata-sandi-lama"


def mail(number: int, text: str, at: datetime) -> bytes:
    head = f"From: sari@example.com\r\nSubject: Keluhan\r\nMessage-ID: <{number}@example.com>\r\n"
    return f"{head}Date: {at:%a, %d %b %Y %H:%M:%S +0000}\r\n\r\n{text}\r\n".encode()


class ImapWorld(World):
    source = "imap"
    peer = "Dovecot 2.3"
    secrets = (PASSWORD, _OLD_PASSWORD)
    cannot = {k: v for k, v in NO_HTTP.items() if "body that drips" not in k} | {
        "an edit is a new version of the same report": "a mail cannot be changed; another one is another report",
    }

    def __init__(self, box: Mailbox) -> None:
        super().__init__()
        self.box, self.door = box, Door(box.server.port)
        os.environ["KANAL_UJI_KONTRAK"] = PASSWORD
        options = {"host": "127.0.0.1", "port": self.door.port, "tls": "none", "user": box.user}
        limits = {"connect_seconds": 1, "read_seconds": 1, "batch_messages": 5, "folder": "Aduan"}
        self.stream = Stream("email", "uji", "imap", options | limits | {"password_env": "KANAL_UJI_KONTRAK"})
        box.recreate("Aduan")
        self.held: list[bytes] = []
        self.repeating = False

    def say(self, *numbers: int, at: datetime | None = None) -> None:
        new = [mail(n, words(n), at or self.now) for n in numbers]
        self.held += new
        self.box.add(*new, *(self.held[-3:] if self.repeating else ()), at=at or self.now, folder="Aduan")

    def delete(self, number: int) -> None:
        self.box.remove(number, folder="Aduan")

    def overlap(self) -> None:
        self.repeating = True  # a mail that was moved in twice

    def outdate(self) -> Iterable[int]:
        self.box.recreate("Aduan")  # a new UIDVALIDITY
        self.box.add(*reversed(self.held), folder="Aduan")
        return SOME

    @contextmanager
    def failing(self, fault: str, after: int) -> Iterator[None]:
        if fault == "expired":
            os.environ["KANAL_UJI_KONTRAK"] = _OLD_PASSWORD
            try:
                yield
            finally:
                os.environ["KANAL_UJI_KONTRAK"] = PASSWORD
            return
        # Mails are asked for after greeting, login and the folder: 3,000 bytes are in the midst of them.
        self.door.fault, self.door.room = fault, 3000 if after else 300
        try:
            yield
        finally:
            self.door.fault = None


class Door:
    """A way to a server on 127.0.0.1 that lets `room` bytes of answers through and then fails.

    fault: "cut" ends the connection, "silent" holds what follows back, "drip" hands it out byte by byte.
    """

    def __init__(self, target: int) -> None:
        self.target, self.fault, self.room = target, None, 0
        self._listener = socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(8)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    fault: str | None

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = create_connection(("127.0.0.1", self.target), 5)
            server.settimeout(None)
            threading.Thread(target=self._asked, args=(client, server), daemon=True).start()
            threading.Thread(target=self._answered, args=(client, server), daemon=True).start()

    def _asked(self, client: socket, server: socket) -> None:
        try:
            while data := client.recv(65536):
                server.sendall(data)
        except OSError:
            pass
        server.close()

    def _answered(self, client: socket, server: socket) -> None:
        fault, room, end = self.fault, self.room, time.monotonic() + 60
        try:
            while data := server.recv(65536):
                client.sendall(data[:room] if fault else data)
                if fault and len(data) > room:
                    if fault == "cut":
                        break
                    for byte in data[room:]:
                        if time.monotonic() > end:
                            break
                        time.sleep(SILENT if fault == "silent" else 0.1)
                        client.sendall(bytes([byte]))
                room -= len(data)
        except OSError:
            pass
        client.close()
        server.close()


class OAuthImapWorld(ImapWorld):
    peer = "Dovecot 2.3, by tokens of an OAuth 2.0 token server (tests/peers/token_server.py)"

    secrets = (CANARY,)

    def __init__(self, box: Mailbox, tokens: TokenServer) -> None:
        super().__init__(box)
        os.environ["KANAL_UJI_KONTRAK"] = CANARY
        self.tokens = tokens
        asking = {"auth": "oauth2", "token_url": tokens.token_url, "client_id": "aplikasi-uji", "timeout_seconds": 0.5}
        options = {k: v for k, v in self.stream.options.items() if k != "password_env"}
        self.stream = replace(self.stream, options=options | asking | {"client_secret_env": "KANAL_UJI_KONTRAK"})

    @contextmanager
    def failing(self, fault: str, after: int) -> Iterator[None]:
        if fault != "expired":
            with super().failing(fault, after):
                yield
            return
        self.tokens.revoke()
        self.tokens.key = "kunci-yang-baru"
        try:
            yield
        finally:
            self.tokens.key = CANARY


class MailFolderWorld(World):
    source = "imap"
    peer = "a folder of .eml files"
    cannot = NO_SERVER | {
        "an edit is a new version of the same report": "a mail cannot be changed; another one is another report",
    }

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder / "surat"
        self.folder.mkdir()
        options = {"source_dir": "surat", "batch_messages": 5}
        self.stream = Stream("email", "uji", "imap", options, str(folder))
        self.repeating = False

    def say(self, *numbers: int, at: datetime | None = None) -> None:
        for n in numbers:
            data = mail(n, words(n), at or self.now)
            for name in (f"{n:05d}.eml", *([f"salinan-{n}.eml"] if self.repeating else [])):
                (self.folder / name).write_bytes(data)

    def delete(self, number: int) -> None:
        (self.folder / f"{number:05d}.eml").unlink()

    def overlap(self) -> None:
        self.repeating = True

    def outdate(self) -> Iterable[int]:
        for path in sorted(self.folder.iterdir()):
            path.rename(path.with_name(f"baru-{path.name}"))
        return SOME


@contextmanager
def _imap(request: pytest.FixtureRequest) -> Iterator[World]:
    world = ImapWorld(request.getfixturevalue("box"))
    yield world
    world.door.close()


@contextmanager
def _oauth_imap(request: pytest.FixtureRequest) -> Iterator[World]:
    box = request.getfixturevalue("box")
    with TokenServer(box.server.tokens, box.user, CANARY) as tokens:
        world = OAuthImapWorld(box, tokens)
        yield world
        world.door.close()


WORLDS = {
    "imap": (ImapWorld, lambda r, f: _imap(r)),
    "imap, OAuth": (OAuthImapWorld, lambda r, f: _oauth_imap(r)),
    "imap, a folder of files": (MailFolderWorld, lambda r, f: nullcontext(MailFolderWorld(f))),
}
