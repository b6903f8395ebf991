"""The world of each source: who is on the other side, and how the kit makes things happen there."""

from __future__ import annotations

import csv
import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from socket import create_connection, socket
from typing import Any

import psycopg
import pytest

from pipelines.contracts import WIB, Stream
from pipelines.sources import playsms, sms
from tests.peers.api_server import Answer, ApiServer, Asked, Fault
from tests.peers.dovecot import PASSWORD, Mailbox
from tests.peers.gammu import create, insert, text_parts
from tests.peers.gammu_backends import create_postgres, insert_postgres, saved
from tests.peers.graph_emulator import GraphEmulator, error, facebook_time
from tests.peers.playsms_emulator import PlaySms
from tests.peers.token_server import TokenServer
from tests.peers.x_emulator import XEmulator, post, snowflake
from tests.sources.contract import CANARY, SOME, START, World, words

_SILENT = 2.5  # seconds, more than any world's timeout
_HTML = b"<html><head><title>Maintenance</title></head><body>Kami segera kembali</body></html>"

NO_HTTP = dict.fromkeys(
    (
        "too many requests with a reset waits for it",
        "too many requests without a reset waits too",
        "a server in trouble is asked again",
        "a page of html is no answer",
        "an empty page with a token is not the end",
        "a body that drips ends in time",
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

    def faults(self) -> dict[str, Fault]:
        """Each fault as this vendor answers it, besides those that all share."""
        raise NotImplementedError

    @contextmanager
    def failing(self, fault: str, after: int) -> Iterator[None]:
        shared = {
            "5xx": Fault(503, _HTML, content_type="text/html"),
            "html": Fault(200, _HTML, content_type="text/html"),
            "cut": Fault(200, b'{"data": [', broken=True),
            "drip": Fault(200, b" " * 2000, drip=0.1),
            "silent": Fault(200, {}, sleep=_SILENT),
        }
        self.server.faults.extend([*[None] * after, (shared | self.faults())[fault]])
        try:
            yield
        finally:
            self.server.faults.clear()


# --- X --------------------------------------------------------------------------------------


class _Overlapping:
    """Mixed into an emulator: each page repeats some of what came before, in no order."""

    overlapping = False

    def answer(self, asked: Asked) -> Answer:
        status, body, headers = super().answer(asked)  # type: ignore[misc]
        if self.overlapping and status == 200 and body.get("data"):
            body["data"] = [body["data"][-1], *body["data"][1:-1], body["data"][0], *self.last[-2:]]
            self.last = body["data"][:3]
        return status, body, headers

    last: list[dict[str, Any]] = []


class _Generations:
    """Mixed into an emulator: its places in a list are good in their own generation only."""

    generation = 0
    places: tuple[str, ...] = ()  # the query's words for it

    def answer(self, asked: Asked) -> Answer:
        name = next((n for n in self.places if n in asked.query), "")
        given = asked.query.get(name, "")
        if given and not given.startswith(f"{self.generation}."):
            return 400, {"title": "Invalid Request"} | error(100, "OAuthException", "(#100) Invalid parameter"), {}
        query = asked.query | ({name: given.partition(".")[2]} if given else {})
        status, body, headers = super().answer(replace(asked, query=query))  # type: ignore[misc]
        where, word = ("meta", "next_token") if "meta" in body else ("cursors", "after")
        within = body.get(where) or body.get("paging", {}).get(where, {})
        if word in within:
            within[word] = f"{self.generation}.{within[word]}"
        return status, body, headers


class _X(_Generations, _Overlapping, XEmulator):
    places = ("pagination_token", "next_token")


class TwitterWorld(HttpWorld):
    source = "twitter"
    peer = "emulator of the X API v2 (tests/peers/x_emulator.py), both names of its fields"
    cannot = {
        "an item a month late comes": "X numbers posts by their time and lists by number: no old post shows up as new",
    }

    def __init__(self, server: _X, dialect: str = "tweet") -> None:
        super().__init__(server)
        self.x, server.remaining = server, {"mentions": 10_000, "search": 10_000}
        options = {"user_id": server.user_id, "handle": "dinas_contoh", "bearer_env": "KANAL_UJI_KONTRAK"}
        limits = {"max_results": 5, "timeout_seconds": 0.5, "dialect": dialect}
        self.stream = Stream("twitter", "uji", "twitter", options | limits | {"api_base": server.url})

    def say(self, *numbers: int, at: datetime | None = None) -> None:
        for n in numbers:
            made = at or self.now - timedelta(minutes=5, seconds=-n)
            self.x.posts.append(post(made, f"@dinas_contoh {words(n)}", n))

    def edit(self, number: int) -> None:
        [old] = [p for p in self.x.posts if p["text"].endswith(words(number))]
        self.x.posts.remove(old)
        new = post(self.now, f"@dinas_contoh {words(number, edited=True)}", number)
        self.x.posts.append(new | {"edit_history_tweet_ids": [old["id"], new["id"]]})

    def delete(self, number: int) -> None:
        self.x.posts = [p for p in self.x.posts if not p["text"].endswith(words(number))]

    def overlap(self) -> None:
        self.x.overlapping = True

    def outdate(self) -> Iterable[int]:
        self.x.generation += 1
        return SOME

    def faults(self) -> dict[str, Fault]:
        problem = {"title": "Too Many Requests", "type": "about:blank", "status": 429}
        top = {"data": [], "meta": {"result_count": 0, "next_token": f"0.t{snowflake(START + timedelta(days=9))}z"}}
        reset = {"x-rate-limit-remaining": "0", "x-rate-limit-reset": str(int(self.now.timestamp()) + 600)}
        return {
            "429 with reset": Fault(429, problem, reset),
            "429 without reset": Fault(429, problem),
            "expired": Fault(401, {"title": "Unauthorized", "type": "about:blank", "status": 401}),
            "empty page": Fault(200, top),
        }


# --- Facebook -------------------------------------------------------------------------------


class _Graph(_Generations, _Overlapping, GraphEmulator):
    places = ("after",)


class FacebookWorld(HttpWorld):
    source = "facebook"
    peer = "emulator of the Graph API (tests/peers/graph_emulator.py)"
    cannot = {
        "an item a month late comes": "a page's list shows a post at its own time; lookback_days says how far back is read",
    }

    def __init__(self, server: _Graph) -> None:
        super().__init__(server)
        self.graph, server.remaining = server, 10_000
        options = {"page_id": server.page_id, "token_env": "KANAL_UJI_KONTRAK", "api_base": server.url}
        self.stream = Stream("facebook", "uji", "facebook", options | {"max_results": 5, "timeout_seconds": 0.5})

    @property
    def posts(self) -> list[dict[str, Any]]:
        return self.graph.lists["feed"]

    def say(self, *numbers: int, at: datetime | None = None) -> None:
        for n in numbers:
            made = facebook_time(at or self.now - timedelta(hours=1, seconds=-n))
            author = {"id": "9", "name": "Warga"}
            own = {"id": f"{self.graph.page_id}_{n}", "message": words(n), "created_time": made, "from": author}
            self.posts.append(own)

    def edit(self, number: int) -> None:
        [item] = [p for p in self.posts if p["message"] == words(number)]
        item["message"] = words(number, edited=True)

    def delete(self, number: int) -> None:
        self.posts[:] = [p for p in self.posts if p["message"] != words(number)]

    def overlap(self) -> None:
        self.graph.overlapping = True

    def outdate(self) -> Iterable[int]:
        self.graph.generation += 1
        return SOME

    def faults(self) -> dict[str, Fault]:
        limit = error(4, "OAuthException", "Application request limit reached")
        usage = {self.graph.page_id: [{"type": "pages", "call_count": 100, "estimated_time_to_regain_access": 12}]}
        following = f"https://graph.facebook.com/v26.0/{self.graph.page_id}/feed?access_token={CANARY}&after=0.Anol"
        empty = {"data": [], "paging": {"cursors": {"after": "0.Anol"}, "next": following}}
        return {
            "429 with reset": Fault(429, limit, {"x-business-use-case-usage": json.dumps(usage)}),
            "429 without reset": Fault(429, limit),
            "expired": Fault(400, error(190, "OAuthException", f"Session of {CANARY} has expired", 463)),
            "empty page": Fault(200, empty),
        }


# --- mail -----------------------------------------------------------------------------------


def mail(number: int, text: str, at: datetime) -> bytes:
    head = f"From: sari@example.com\r\nSubject: Keluhan\r\nMessage-ID: <{number}@example.com>\r\n"
    return f"{head}Date: {at:%a, %d %b %Y %H:%M:%S +0000}\r\n\r\n{text}\r\n".encode()


class ImapWorld(World):
    source = "imap"
    peer = "Dovecot 2.3"
    cannot = {k: v for k, v in NO_HTTP.items() if "drips" not in k} | {
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
            os.environ["KANAL_UJI_KONTRAK"] = "kata-sandi-lama"
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


class OAuthImapWorld(ImapWorld):
    peer = "Dovecot 2.3, by tokens of an OAuth 2.0 token server (tests/peers/token_server.py)"

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
                        time.sleep(_SILENT if fault == "silent" else 0.1)
                        client.sendall(bytes([byte]))
                room -= len(data)
        except OSError:
            pass
        client.close()
        server.close()


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


# --- SMS ------------------------------------------------------------------------------------


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
            "429 with reset": Fault(429, _HTML, {"retry-after": "600"}, content_type="text/html"),
            "429 without reset": Fault(429, _HTML, content_type="text/html"),
            "expired": Fault(200, {"status": "ERR", "error": "100", "error_string": f"no {CANARY}"}),
        }


# --- files ----------------------------------------------------------------------------------


class ExportWorld(World):
    source = "export"
    repeats = True
    peer = "CSV files (XLSX, JSON, ZIP: tests/sources/test_tables.py, test_workbook.py)"
    cannot = NO_SERVER

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder / "kotak"
        self.folder.mkdir()
        columns = {"id": "No", "text": "Isi", "occurred_at": "Waktu"}
        options = {"inbox": "kotak", "columns": columns, "batch_rows": 5, "settle_seconds": 0}
        self.stream = Stream("jaki", "uji", "export", options, str(folder))
        self.rows: dict[int, tuple[str, datetime]] = {}
        self.files, self.repeating = 0, False

    def say(self, *numbers: int, at: datetime | None = None) -> None:
        self.rows |= {n: (words(n), at or self.now) for n in numbers}
        repeated = list(reversed(self.rows)) if self.repeating else []
        self._write([*repeated, *numbers])

    def _write(self, numbers: list[int]) -> None:
        self.files += 1
        with (self.folder / f"{self.files}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["No", "Isi", "Waktu"])
            for n in numbers:
                text, at = self.rows[n]
                writer.writerow([f"JK{n}", text, f"{at.astimezone(WIB):%Y-%m-%d %H:%M:%S}"])

    def edit(self, number: int) -> None:
        self.rows[number] = (words(number, edited=True), self.rows[number][1])
        self._write([number])

    def delete(self, number: int) -> None:
        del self.rows[number]
        self._write(list(self.rows))

    def overlap(self) -> None:
        self.repeating = True

    def outdate(self) -> Iterable[int]:
        for path in self.folder.iterdir():
            path.unlink()
        self._write(list(self.rows))
        return SOME


# --- all of them ----------------------------------------------------------------------------


@contextmanager
def _twitter(dialect: str) -> Iterator[World]:
    with _X(token=CANARY, user_id="1001", now=START) as server:
        yield TwitterWorld(server, dialect)


@contextmanager
def _facebook() -> Iterator[World]:
    with _Graph(token=CANARY, page_id="7001") as server:
        yield FacebookWorld(server)


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


@contextmanager
def _postgres(request: pytest.FixtureRequest, schema: int) -> Iterator[World]:
    yield PostgresSmsWorld(request.getfixturevalue("postgres_url"), schema, request.getfixturevalue("monkeypatch"))


@contextmanager
def _playsms(request: pytest.FixtureRequest) -> Iterator[World]:
    with PlaySms("dinas", CANARY) as server:
        yield PlaySmsWorld(server, request.getfixturevalue("monkeypatch"))


@contextmanager
def _plain(world: World) -> Iterator[World]:
    yield world


WORLDS = {
    "twitter": (TwitterWorld, lambda r, f: _twitter("tweet")),
    "twitter, names since 2026-08": (TwitterWorld, lambda r, f: _twitter("post")),
    "facebook": (FacebookWorld, lambda r, f: _facebook()),
    "imap": (ImapWorld, lambda r, f: _imap(r)),
    "imap, OAuth": (OAuthImapWorld, lambda r, f: _oauth_imap(r)),
    "imap, a folder of files": (MailFolderWorld, lambda r, f: _plain(MailFolderWorld(f))),
    "sms": (SmsWorld, lambda r, f: _plain(SmsWorld(f, 17, r.getfixturevalue("monkeypatch")))),
    "sms, schema 18": (SmsWorld, lambda r, f: _plain(SmsWorld(f, 18, r.getfixturevalue("monkeypatch")))),
    "sms, PostgreSQL": (PostgresSmsWorld, lambda r, f: _postgres(r, 17)),
    "sms, PostgreSQL, schema 18": (PostgresSmsWorld, lambda r, f: _postgres(r, 18)),
    "sms, files": (SmsFilesWorld, lambda r, f: _plain(SmsFilesWorld(f, r.getfixturevalue("monkeypatch")))),
    "playsms": (PlaySmsWorld, lambda r, f: _playsms(r)),
    "export": (ExportWorld, lambda r, f: _plain(ExportWorld(f))),
}
