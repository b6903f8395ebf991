"""A newspaper's server on 127.0.0.1: one RSS feed of readers' letters, known by its ETag."""

from __future__ import annotations

from tests.peers.api_server import Answer, ApiServer, Asked, Fault

HEAD = '<?xml version="1.0" encoding="UTF-8"?><rss version="2.0"><channel><title>Surat Pembaca Contoh</title>'


def entry(
    number: int, text: str = "Lampu jalan mati", date: str = "Thu, 05 Nov 2026 10:00:00 +0700", more: str = ""
) -> str:
    return (
        f"<item><title>Surat {number}</title><guid isPermaLink='false'>s-{number}</guid><link>https://warta.example.com/{number}</link>"
        f"<description>{text}</description><pubDate>{date}</pubDate>{more}</item>"
    )  # fmt: skip


def rss(*entries: str) -> bytes:
    return (HEAD + "".join(entries) + "</channel></rss>").encode()


class Paper(ApiServer):
    """Serves one feed, by ETag."""

    body, etag = rss(), '"1"'

    def answer(self, asked: Asked) -> Answer:
        return 404, {}, {}

    def publish(self, *entries: str, etag: str) -> None:
        self.body, self.etag = rss(*entries), etag

    def next(self) -> None:
        """Queue what the server says to the next request."""
        self.before = self._choose

    def _choose(self, asked: Asked) -> None:
        same = asked.headers.get("if-none-match") == self.etag
        whole = Fault(
            200, self.body, {"ETag": self.etag, "Last-Modified": "Thu, 05 Nov 2026 10:00:00 GMT"}, "application/rss+xml"
        )
        self.faults.append(Fault(304, b"", {"ETag": self.etag}) if same else whole)
