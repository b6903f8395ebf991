"""News feeds: a server with ETags whose address leads on to the feed, and a folder of files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import datetime
from pathlib import Path

from pipelines.contracts import Stream
from tests.peers.api_server import Answer, ApiServer, Asked, Fault
from tests.sources.contract import SOME, World, words
from tests.sources.worlds.common import NO_SERVER, HttpWorld

_NO_PAGES = {"an empty page with a token is not the end": "a feed is one page"}


def rss(entries: Iterable[tuple[int, str, datetime]]) -> bytes:
    """Items as they are given, newest first as feeds are."""
    items = "".join(
        f"<item><guid>surat-{n}</guid><title>Surat</title><description>{text}</description>"
        f"<pubDate>{at:%a, %d %b %Y %H:%M:%S +0000}</pubDate></item>"
        for n, text, at in entries
    )
    return f'<rss version="2.0"><channel><title>Suara Pembaca</title>{items}</channel></rss>'.encode()


class _Paper(ApiServer):
    """An address that leads to a feed with an ETag."""

    content_type = "application/rss+xml"
    edition = 0
    body = rss(())

    def answer(self, asked: Asked) -> Answer:
        if asked.path == "/umpan":
            return 302, b"", {"location": "/umpan.xml"}
        etag = f'"{self.edition}"'
        if asked.headers.get("if-none-match") == etag:
            return 304, b"", {"etag": etag}
        return 200, self.body, {"etag": etag}


class FeedWorld(HttpWorld):
    source = "feed"
    peer = "HTTP server with ETags and a redirect (tests/sources/worlds/feeds.py)"
    at_once = True
    cannot = _NO_PAGES | {"credentials that expire midway stop the stream": "there are no credentials"}

    def __init__(self, server: _Paper) -> None:
        super().__init__(server)
        self.paper = server
        self.stream = Stream("media", "uji", "feed", {"url": f"{server.url}/umpan", "timeout_seconds": 0.5})
        self.items: dict[int, tuple[str, datetime]] = {}
        self.repeating = False

    def _publish(self) -> None:
        entries = [(n, *self.items[n]) for n in reversed(self.items)]
        self.paper.body = rss([*entries[3:], *entries[:6], *entries[:3]] if self.repeating else entries)
        self.paper.edition += 1

    def say(self, *numbers: int, at: datetime | None = None) -> None:
        self.items |= {n: (words(n), at or self.now) for n in numbers}
        self._publish()

    def edit(self, number: int) -> None:
        self.items[number] = (words(number, edited=True), self.items[number][1])
        self._publish()

    def delete(self, number: int) -> None:
        del self.items[number]
        self._publish()

    def overlap(self) -> None:
        self.repeating = True

    def outdate(self) -> Iterable[int]:
        self.paper.edition += 100  # the server was set up anew: its ETags mean nothing
        for gone in SOME[:4]:
            del self.items[gone]  # and meanwhile the feed has moved on
        self._publish()
        return SOME[4:]

    def faults(self) -> dict[str, Fault]:
        return {"429 with reset": Fault(429, b"", {"retry-after": "600"}), "429 without reset": Fault(429, b"")}


class FeedFolderWorld(World):
    source = "feed"
    peer = "a folder of feed files"
    cannot = NO_SERVER

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder / "umpan"
        self.folder.mkdir()
        self.stream = Stream("media", "uji", "feed", {"source_dir": "umpan"}, str(folder))
        self.items: dict[int, tuple[str, datetime]] = {}
        self.files, self.repeating = 0, False

    def _write(self, numbers: Iterable[int]) -> None:
        self.files += 1
        path = self.folder / f"{self.files:04d}.xml"
        path.write_bytes(rss((n, *self.items[n]) for n in numbers))
        os.utime(path, (self.now.timestamp() - 60,) * 2)

    def say(self, *numbers: int, at: datetime | None = None) -> None:
        self.items |= {n: (words(n), at or self.now) for n in numbers}
        for start in range(0, len(numbers), 100 if len(numbers) > 100 else 5):
            new = numbers[start : start + (100 if len(numbers) > 100 else 5)]
            self._write([*new, *(reversed(self.items) if self.repeating else ())])

    def edit(self, number: int) -> None:
        self.items[number] = (words(number, edited=True), self.items[number][1])
        self._write([number])

    def delete(self, number: int) -> None:
        del self.items[number]
        self._write(self.items)

    def overlap(self) -> None:
        self.repeating = True

    def outdate(self) -> Iterable[int]:
        for path in self.folder.iterdir():
            path.unlink()
        self._write(self.items)
        return SOME


@contextmanager
def _feed() -> Iterator[World]:
    with _Paper() as server:
        yield FeedWorld(server)


WORLDS = {
    "feed": (FeedWorld, lambda r, f: _feed()),
    "feed, a folder of files": (FeedFolderWorld, lambda r, f: nullcontext(FeedFolderWorld(f))),
}
