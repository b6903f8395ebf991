"""SMS gateways: Gammu's database and files, and playSMS over HTTP."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, nullcontext
from datetime import datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from pipelines.contracts import WIB, Stream
from pipelines.sources import playsms, sms
from tests.peers.api_server import Fault
from tests.peers.gammu import create, insert, text_parts
from tests.peers.gammu_backends import create_postgres, insert_postgres, saved
from tests.peers.playsms_emulator import PlaySms
from tests.sources.contract import CANARY, World, words
from tests.sources.worlds.common import HTML, NO_SERVER, HttpWorld


class SmsWorld(World):
    source = "sms"
    peer = "Gammu SMSD's database, schema 17 and 18 (a running Gammu: tests/sources/test_sms_gateway.py)"
    cannot = NO_SERVER | {
        "an edit is a new version of the same report": "an SMS cannot be changed; another one is another report",
        "overlapping and reordered pages double nothing": "rows have numbers; parts in any order: tests/sources/test_sms.py",
    }

    def __init__(self, folder: Path, schema: int, patch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.path = folder / "smsd.db"
        self.schema = schema
        create(self.path, schema)
        self.stream = Stream("sms", "uji", "sms", {"database": "smsd.db"}, str(folder))
        patch.setattr(sms, "_CHUNK", 5)  # rows a page

    def say(self, *numbers: int, at: datetime | None = None) -> None:
        for n in numbers:
            insert(self.path, f"+62812000{n:05d}", text_parts(words(n)), at or self.now - timedelta(minutes=1))

    def delete(self, number: int) -> None:
        with closing(sqlite3.connect(self.path)) as con:
            con.execute("DELETE FROM inbox WHERE SenderNumber = ?", [f"+62812000{number:05d}"])
            con.commit()

    def outdate(self) -> Iterable[int]:
        with closing(sqlite3.connect(self.path)) as con:  # the table was emptied: numbers begin again
            con.execute("DELETE FROM inbox")
            con.execute("DELETE FROM sqlite_sequence")
            con.commit()
        return ()


class PostgresSmsWorld(World):
    source = "sms"
    peer = "Gammu SMSD's tables in PostgreSQL, schema 17 and 18 (a running Gammu: tests/sources/test_sms_backends.py)"
    cannot = SmsWorld.cannot

    def __init__(self, url: str, schema: int, patch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.url = url
        create_postgres(url, schema)
        patch.setenv("KANAL_UJI_KONTRAK", url)
        patch.setattr(sms, "_CHUNK", 5)
        self.stream = Stream("sms", "uji", "sms", {"url_env": "KANAL_UJI_KONTRAK"})

    def say(self, *numbers: int, at: datetime | None = None) -> None:
        with psycopg.connect(self.url) as con:
            for n in numbers:
                sent = at or self.now - timedelta(minutes=1)
                insert_postgres(con, f"+62812000{n:05d}", text_parts(words(n)), sent)

    def delete(self, number: int) -> None:
        with psycopg.connect(self.url) as con:
            con.execute('DELETE FROM inbox WHERE "SenderNumber" = %s', [f"+62812000{number:05d}"])

    def outdate(self) -> Iterable[int]:
        with psycopg.connect(self.url) as con:  # the table was emptied: numbers begin again
            con.execute("TRUNCATE inbox RESTART IDENTITY")
        return ()


class SmsFilesWorld(World):
    source = "sms"
    repeats = True  # only a pull's last page says that its files are done
    peer = "files of Gammu SMSD, inboxformat = detail (a running Gammu: tests/sources/test_sms_backends.py)"
    cannot = SmsWorld.cannot

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.folder = folder / "kotak"
        self.folder.mkdir()
        self.stream = Stream("sms", "uji", "sms", {"detail_dir": "kotak"}, str(folder))
        patch.setattr(sms, "_CHUNK", 5)

    def say(self, *numbers: int, at: datetime | None = None) -> None:
        for n in numbers:
            sent = (at or self.now - timedelta(minutes=1)) + timedelta(seconds=n // 100)
            name = f"IN{sent.astimezone(WIB):%Y%m%d_%H%M%S}_{n % 100:02d}_+62812000{n:05d}_00.txt"
            [piece] = text_parts(words(n))
            (self.folder / name).write_text(saved(f"+62812000{n:05d}", piece, at=sent))

    def delete(self, number: int) -> None:
        [path] = self.folder.glob(f"*_+62812000{number:05d}_00.txt")
        path.unlink()

    def outdate(self) -> Iterable[int]:
        for path in self.folder.iterdir():
            path.unlink()
        return ()


class PlaySmsWorld(HttpWorld):
    source = "playsms"
    peer = "emulator of playSMS's web services (tests/peers/playsms_emulator.py)"
    cannot = {
        "an edit is a new version of the same report": "an SMS cannot be changed; another one is another report",
        "overlapping and reordered pages double nothing": "there are no pages: the newest come in one answer",
        "an empty page with a token is not the end": "there are no pages: the newest come in one answer",
    }

    def __init__(self, server: PlaySms, patch: pytest.MonkeyPatch) -> None:
        super().__init__(server)
        self.sms = server
        patch.setattr(playsms, "_SIZES", (8, 10_000))  # the first answer is too small: a pull asks twice
        patch.setattr(playsms, "_CHUNK", 5)
        options = {"url": server.address, "user": server.user, "token_env": "KANAL_UJI_KONTRAK"}
        self.stream = Stream("sms", "uji", "playsms", options | {"timeout_seconds": 0.5})

    def say(self, *numbers: int, at: datetime | None = None) -> None:
        for n in numbers:
            self.sms.receive(f"+62812000{n:05d}", words(n), at or self.now - timedelta(minutes=1))

    def delete(self, number: int) -> None:
        self.sms.rows = [row for row in self.sms.rows if row["msg"] != words(number)]

    def outdate(self) -> Iterable[int]:
        self.sms.rows, self.sms.next_id = [], 1
        return ()

    def faults(self) -> dict[str, Fault]:
        return {
            "429 with reset": Fault(429, HTML, {"retry-after": "600"}, content_type="text/html"),
            "429 without reset": Fault(429, HTML, content_type="text/html"),
            "expired": Fault(200, {"status": "ERR", "error": "100", "error_string": f"no {CANARY}"}),
        }


@contextmanager
def _postgres(request: pytest.FixtureRequest, schema: int) -> Iterator[World]:
    yield PostgresSmsWorld(request.getfixturevalue("postgres_url"), schema, request.getfixturevalue("monkeypatch"))


@contextmanager
def _playsms(request: pytest.FixtureRequest) -> Iterator[World]:
    with PlaySms("dinas", CANARY) as server:
        yield PlaySmsWorld(server, request.getfixturevalue("monkeypatch"))


WORLDS = {
    "sms": (SmsWorld, lambda r, f: nullcontext(SmsWorld(f, 17, r.getfixturevalue("monkeypatch")))),
    "sms, schema 18": (SmsWorld, lambda r, f: nullcontext(SmsWorld(f, 18, r.getfixturevalue("monkeypatch")))),
    "sms, PostgreSQL": (PostgresSmsWorld, lambda r, f: _postgres(r, 17)),
    "sms, PostgreSQL, schema 18": (PostgresSmsWorld, lambda r, f: _postgres(r, 18)),
    "sms, files": (SmsFilesWorld, lambda r, f: nullcontext(SmsFilesWorld(f, r.getfixturevalue("monkeypatch")))),
    "playsms": (PlaySmsWorld, lambda r, f: _playsms(r)),
}
