"""News feeds: RSS 2.0, RSS 1.0 (RDF) and Atom, from an address or a folder of files.

In: every item of the feed, one Message each, its fields as the feed has them. Key: the item's guid,
else its link, else a hash of title and date. The version is a hash of what an author can edit (title,
text, links, enclosures), so that a feed written anew changes nothing and a corrected letter is a new
version. An item that leaves the feed stays as it was.

Reach: what the feed still holds, usually the last 10 to 50 items; ask more often than they pass.
The cursor holds ETag and Last-Modified, so that an unchanged feed costs one answer of 304, and what was seen. Limits:
10 MB a feed; feeds that declare entities are refused unread (nothing a reader needs, and how XML
bombs are built). Cost: none.

What belongs here: a stream takes whole feeds of readers' letters and citizens' voices. A newspaper's whole
feed is no channel: everything that lands becomes a ticket unless it is spam. Where only such a feed exists, `keywords`
says which of its items are fetched at all; the others never land and are in no count.

Options in kanal.toml:
  url              https address of the feed, or http on this machine
  source_dir       folder of feed files (*.xml, *.rss, *.atom, *.rdf), read instead of an address
  keywords         words of which an item must hold one, whole or, with a * at its end, begun (all items)
  time_zone        of dates that name none ("Asia/Jakarta")
  timeout_seconds  longest silence of the server (30); a whole answer may take five times that
  max_bytes        largest feed (10,000,000)
  settle_seconds   a file younger than this is still being written (2)
  stale_hours      after how long without a message the stream counts as silent (24)
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urljoin, urlsplit

import orjson
import requests

from pipelines.contracts import Batch, Draft, Message, Stream, short_hash
from pipelines.errors import PermanentError, RejectedMessage, SettingsError, TransientError
from pipelines.sources.feed_items import (
    CUT,
    ENTITIES,
    BadFeedError,
    attachment,
    items,
    key_of,
    moment,
    plain,
    said,
    version_of,
)
from pipelines.sources.http import LOOPBACK, TooLarge, Watched, number_of, read
from pipelines.sources.options import Check
from pipelines.sources.pages import payload_of

VERSION = "1"
PAYLOAD_TYPE = "application/json"

log = logging.getLogger(__name__)

_FILES = (".xml", ".rss", ".atom", ".rdf")
_OPTIONS = {
    "url", "source_dir", "keywords", "time_zone", "timeout_seconds", "max_bytes", "settle_seconds", "stale_hours",
}  # fmt: skip
_REDIRECTS, _REMEMBERED = 5, 5_000

_FOR_CLERKS = {
    ENTITIES: "memuat deklarasi entity XML, jadi tidak dibaca demi keamanan. Minta umpan tanpa deklarasi itu.",
    CUT: "bukan umpan RSS atau Atom yang utuh. Unduh ulang lalu taruh di folder yang sama.",
}
_EMPTY = "Butir umpan ini tidak berisi judul maupun teks. Periksa di situs asalnya."


class _Answer(NamedTuple):
    """body None: unchanged since last time."""

    body: bytes | None
    charset: str | None
    etag: str | None
    modified: str | None


def pull(stream: Stream, cursor: dict[str, Any] | None, *, now: Callable[[], datetime]) -> Iterator[Batch]:
    """Batches of the items that are new or edited. Raises SettingsError, TransientError, PermanentError."""
    check(stream)
    known = dict(cursor or {})
    if "source_dir" in stream.options:
        yield from _files(stream, known, now)
        return
    wanted = _fingerprint(stream)
    if known.get("keywords", "") != wanted:  # other items are wanted: the whole feed again
        known = {"seen": known.get("seen", {})}
    answer = _fetch(stream, known)
    if answer.body is None:
        return
    try:
        entries = items(answer.body, answer.charset)
    except BadFeedError as error:
        kind = PermanentError if str(error) == ENTITIES else TransientError
        raise kind(f"{stream.key}: the feed {error}; look at its address in a browser") from None
    seen = dict(known.get("seen", {}))
    messages = _fresh(stream, entries, seen, now(), "umpan")
    after = {"etag": answer.etag, "modified": answer.modified, "keywords": wanted, "seen": _kept(seen, entries)}
    if messages or after != known:
        yield Batch(messages, after)


def check(stream: Stream) -> None:
    """SettingsError where the stream's options will not do."""
    given = Check(stream.key, stream.options)
    given.known(stream.options, _OPTIONS, "the stream")
    if ("url" in stream.options) == ("source_dir" in stream.options):
        raise given.wrong("name the feed's url, or a source_dir of feed files")
    url = given.text("url")
    if url and not _is_safe(url):
        raise given.wrong("url must be https://.., or http:// on this machine, without a user name in it")
    given.text("source_dir")
    given.zone()
    _keywords(given)
    number_of(stream, "timeout_seconds", 30, 0.1, 600)
    given.number("max_bytes", 10_000_000, 1_000, 100_000_000)
    given.number("settle_seconds", 2, 0, 86_400)


def decode(message: Message, stream: Stream) -> Draft:
    """An item -> Draft. Raises RejectedMessage where it says nothing."""
    item = payload_of(message)
    zone = Check(stream.key, stream.options).zone()
    bodies = [*item.get("content", ()), item.get("summary") or ""]
    text = next((found for body in bodies if (found := plain(body))), "")
    title = " ".join(plain(item.get("title") or "").split())
    files = [f for f in map(attachment, item.get("enclosures", ())) if f]
    if not (text or title or files):
        raise RejectedMessage(_EMPTY)
    link = item.get("link") or ""
    extra = {"Media": item.get("feed"), "Rubrik": ", ".join(item.get("tags", ()))}
    return Draft(
        text=text or title,
        title=title or None,
        occurred_at=moment(item.get("published") or item.get("updated"), zone),
        author_name=item.get("author") or None,
        source_url=link if link.startswith(("https://", "http://")) else None,
        attachments=files,
        extra={name: value for name, value in extra.items() if value},
    )


# --- what is new ----------------------------------------------------------------------------


def _fresh(
    stream: Stream, entries: list[dict[str, Any]], seen: dict[str, str], fetched: datetime, origin: str
) -> list[Message]:
    """Messages of what `seen` (key -> version) does not hold yet, which it then does."""
    given = Check(stream.key, stream.options)
    wanted, zone = _keywords(given), given.zone()
    messages = []
    for item in entries:
        key, version = key_of(item), version_of(item)
        if seen.get(short_hash(key)) == version:
            continue
        if wanted and not wanted.search(said(item)):
            continue
        seen.pop(short_hash(key), None)
        seen[short_hash(key)] = version
        told, edited = (moment(item.get(name), zone) for name in ("published", "updated"))
        edited = None if edited == told else edited
        messages.append(
            Message(key, version, orjson.dumps(item), PAYLOAD_TYPE, fetched, told or edited, edited, origin)
        )
    return messages


def _kept(seen: dict[str, str], entries: list[dict[str, Any]]) -> dict[str, str]:
    """What the cursor remembers: all that the feed holds, and the newest of what has left it."""
    present = {short_hash(key_of(item)) for item in entries}
    gone = [key for key in seen if key not in present]
    for key in gone[: max(len(gone) - _REMEMBERED, 0)]:
        del seen[key]
    return seen


def _fingerprint(stream: Stream) -> str:
    words = Check(stream.key, stream.options).texts("keywords")
    return short_hash(*words, bits=60) if words else ""


def _keywords(given: Check) -> re.Pattern[str] | None:
    words = [word.strip() for word in given.texts("keywords")]
    if not words:
        return None
    ends = [re.escape(w.rstrip("*")) + (r"\w*" if w.endswith("*") else "") for w in words]
    return re.compile(rf"(?<!\w)(?:{'|'.join(ends)})(?!\w)", re.IGNORECASE)


# --- a folder of files ----------------------------------------------------------------------


def _files(stream: Stream, cursor: dict[str, Any], now: Callable[[], datetime]) -> Iterator[Batch]:
    """A Batch for each file not yet read, by name. The cursor is `done`, content hashes, and `seen`."""
    folder = Path(stream.root, str(stream.options["source_dir"]))
    if not folder.is_dir():
        raise SettingsError(f"{stream.key}: source_dir {folder} is not a folder")
    given = Check(stream.key, stream.options)
    most, settle = (
        int(given.number("max_bytes", 10_000_000, 1, 100_000_000)),
        given.number("settle_seconds", 2, 0, 86_400),
    )
    done, seen = set(cursor.get("done", ())), dict(cursor.get("seen", {}))
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in _FILES and not p.name.startswith(".")):
        try:
            if abs(now().timestamp() - path.stat().st_mtime) < settle:
                continue
            with path.open("rb") as file:
                body = file.read(most + 1)
        except OSError as error:
            raise TransientError(f"{stream.key}: cannot read {path} ({error.strerror})") from error
        digest = short_hash(sha256(body).hexdigest(), _fingerprint(stream))
        if digest in done:
            continue
        done.add(digest)
        try:
            if len(body) > most:
                raise BadFeedError(CUT)
            messages = _fresh(stream, entries := items(body, None), seen, now(), path.name)
        except BadFeedError as error:
            problem = f"Berkas {path.name[:80]} {_FOR_CLERKS[str(error)]}"
            messages, entries = [
                Message(f"berkas:{digest}", digest, body[:65_536], "application/octet-stream", now(), origin=path.name, problem=problem)
            ], []  # fmt: skip
        yield Batch(messages, {"done": sorted(done), "seen": _kept(seen, entries)})


# --- an address -----------------------------------------------------------------------------


def _is_safe(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return False
    return (
        bool(host)
        and "@" not in parts.netloc
        and (parts.scheme == "https" or (parts.scheme == "http" and host in LOOPBACK))
    )


def may_follow(url: str, there: str) -> bool:
    """Whether a redirect stays within what the option itself might name, and leaves no https."""
    return _is_safe(there) and (urlsplit(there).scheme == "https" or urlsplit(url).scheme == "http")


def _fetch(stream: Stream, known: Mapping[str, Any]) -> _Answer:
    """One conditional GET; redirects only to what the option itself might name. Raises TransientError, PermanentError."""
    url = str(stream.options["url"])
    headers = {"Accept": "application/rss+xml, application/atom+xml, application/xml, text/xml", "User-Agent": "Kanal"}
    headers |= {"If-None-Match": known["etag"]} if known.get("etag") else {}
    headers |= {"If-Modified-Since": known["modified"]} if known.get("modified") else {}
    seconds = number_of(stream, "timeout_seconds", 30, 0.1, 600)
    try:
        with requests.Session() as session:
            session.trust_env = urlsplit(url).hostname not in LOOPBACK
            for scheme in ("https://", "http://"):
                session.mount(scheme, Watched(max_retries=0))
            for _ in range(_REDIRECTS + 1):
                with session.get(
                    url, headers=headers, timeout=(min(10.0, seconds), seconds), stream=True, allow_redirects=False
                ) as answer:
                    if not (answer.is_redirect or answer.is_permanent_redirect):
                        return _read(stream, answer)
                    there = urljoin(url, answer.headers["location"])
                if not may_follow(url, there):
                    raise PermanentError(
                        f"{stream.key}: the feed redirects to an address that is not https; correct url"
                    )
                url = there
    except requests.Timeout:
        raise TransientError(
            f"{stream.key}: the feed's server did not answer in time; the next pull tries again"
        ) from None
    except requests.RequestException as error:
        why = type(error).__name__
        raise TransientError(f"{stream.key}: the feed could not be read ({why}); the next pull tries again") from None
    raise PermanentError(f"{stream.key}: the feed redirects more than {_REDIRECTS} times; correct url")


def _read(stream: Stream, answer: requests.Response) -> _Answer:
    status = answer.status_code
    if status == 304:
        return _Answer(None, None, None, None)
    if status == 410:
        raise PermanentError(f"{stream.key}: the feed is gone for good (410); take its stream out or correct url")
    if status in (408, 425, 429) or status >= 500:
        wait = answer.headers.get("retry-after", "")
        raise TransientError(
            f"{stream.key}: the feed's server answered {status}; the next pull tries again",
            retry_after=min(float(wait), 86_400) if wait.isdecimal() else 60.0,
        )
    if status != 200:
        raise PermanentError(f"{stream.key}: the feed's server answered {status}; correct url")
    most = int(stream.options.get("max_bytes", 10_000_000))
    try:
        read(answer, number_of(stream, "timeout_seconds", 30, 0.1, 600), most)
    except TooLarge:
        raise PermanentError(
            f"{stream.key}: the feed is larger than {most:,} bytes; raise max_bytes if it is one"
        ) from None
    charset = re.search(r"charset=[\"']?([\w.:-]{1,40})", answer.headers.get("content-type", ""))
    return _Answer(
        answer.content, charset[1] if charset else None, answer.headers.get("etag"), answer.headers.get("last-modified")
    )
