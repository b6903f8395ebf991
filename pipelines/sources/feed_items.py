"""A feed's XML -> its items as plain fields, and what they are known by. Pure.

Belongs here: RSS and Atom. Not here: where a feed comes from (feed).
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson

from pipelines.contracts import Attachment, short_hash
from pipelines.sources import cells
from pipelines.sources.mail_text import MAX_CHARS, clean, html_text, text_of

_DECLARED = re.compile(rb"""<\?xml[^>]{0,200}?encoding\s*=\s*["']([\w.:-]{1,40})["']""")
_DECLARATION = re.compile(r"^\s*<\?xml[^>]{0,300}\?>")
_END = re.compile(r"</(?:\w+:)?(?:rss|feed|RDF)\s*>\s*(?:<!--.*?-->\s*)*\Z", re.DOTALL)
_EDITED = ("title", "link", "summary", "content", "author", "tags", "enclosures")
_ENCLOSURES = 20

ENTITIES = "declares entities, as XML bombs do, and is not read"
CUT = "is cut off or no feed"


class BadFeedError(ValueError):
    """No feed; its text is ENTITIES or CUT."""


def items(body: bytes, charset: str | None) -> list[dict[str, Any]]:
    """The items of a feed as plain fields, each once, oldest first as far as the feed is newest first.

    charset: as HTTP said. Raises BadFeedError. Items that stand in XML which is not well-formed are read as far as they go.
    """
    import feedparser  # here: other sources need it not

    declared = _DECLARED.search(body[:1_000])
    text = _DECLARATION.sub("", text_of(body, declared[1].decode() if declared else charset))
    if "<!ENTITY" in text.upper():
        raise BadFeedError(ENTITIES)
    if not _END.search(text):
        raise BadFeedError(CUT)
    parsed = feedparser.parse(
        io.BytesIO(text.encode("utf-8", "replace")), response_headers={"content-type": "application/xml; charset=utf-8"},
        sanitize_html=False, resolve_relative_uris=False,
    )  # fmt: skip
    if not parsed.get("version") and not parsed.entries:
        raise BadFeedError(CUT)
    name = _word(parsed.feed.get("title"))
    found = {key: item for entry in parsed.entries if (item := _item(entry, name)) and (key := key_of(item))}
    return list(reversed(found.values()))


def _item(entry: dict[str, Any], feed: str) -> dict[str, Any]:
    # dict.get: the entry's own would say `published` where nothing was updated
    item = {
        "id": _word(entry.get("id")), "link": _word(entry.get("link")), "title": _word(entry.get("title")),
        "summary": _word(entry.get("summary")), "content": [_word(c.get("value")) for c in entry.get("content", ())],
        "author": _word(entry.get("author")), "published": _word(entry.get("published")), "updated": _word(dict.get(entry, "updated")),
        "tags": [word for t in entry.get("tags") or () if (word := _word(t.get("term")))],
        "enclosures": [
            {"url": _word(e.get("href")), "type": _word(e.get("type")), "length": _word(e.get("length"))}
            for e in entry.get("enclosures", ())[:_ENCLOSURES]
        ],
        "feed": feed,
    }  # fmt: skip
    return {name: value for name, value in item.items() if value}


def _word(value: Any) -> str:
    return clean(value).strip() if isinstance(value, str) else ""


def key_of(item: Mapping[str, Any]) -> str:
    key = item.get("id") or item.get("link") or ""
    if not key:
        return "isi:" + short_hash(item.get("title", ""), item.get("published", ""), str(item.get("summary", ""))[:200])
    return key if len(key) <= 200 else f"id:{short_hash(key)}"


def version_of(item: Mapping[str, Any]) -> str:
    return short_hash(orjson.dumps({name: item.get(name) for name in _EDITED}, option=orjson.OPT_SORT_KEYS).decode())


def said(item: Mapping[str, Any]) -> str:
    return " ".join(plain(part) for part in (item.get("title", ""), item.get("summary", ""), *item.get("content", ())))


def plain(markup: str) -> str:
    return (
        html_text(markup, quotes=True)[:MAX_CHARS].strip()
        if "<" in markup or "&" in markup
        else markup[:MAX_CHARS].strip()
    )


def attachment(enclosure: Mapping[str, str]) -> Attachment | None:
    url = enclosure.get("url", "")
    if not url.startswith(("https://", "http://")):
        return None
    kept: Attachment = {"type": enclosure.get("type") or "file", "url": url[:2000]}
    if name := Path(urlsplit(url).path).name[:200]:
        kept["name"] = name
    if (size := enclosure.get("length", "")).isdecimal() and len(size) < 13:
        kept["size"] = int(size)
    return kept


def moment(written: str | None, zone: tzinfo) -> datetime | None:
    """A date of a feed (RFC 822, ISO 8601, or as people write) in UTC; without a zone it is of `zone`.

    feedparser's own reading takes such a date for UTC, seven hours late in Jakarta.
    """
    text = (written or "").strip()[:60]
    try:
        told = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError):
        return cells.moment(text, formats=(), zone=zone)
    try:
        if told.tzinfo is None:
            told = told.replace(tzinfo=UTC if text.endswith("-0000") else zone)
        return told.astimezone(UTC)
    except OverflowError:
        return None
