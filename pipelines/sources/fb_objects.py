"""An object of Facebook's Graph API: what an answer holds, and what a post, comment or message means.

Used by the source `facebook`, which asks for the answers.
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from hashlib import sha256
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from pipelines.contracts import Attachment, Draft, Message, Stream
from pipelines.errors import FilteredMessage, RejectedMessage
from pipelines.sources.pages import (
    moment,
    number,
    objects_of,
    payload_of,
    point,
    record,
    records,
    to_bytes,
    word,
)

PAYLOAD_TYPE = "application/vnd.kanal.fb-object+json"

_POINT_METRES = 100.0
_HOSTS = ("facebook.com", "fb.com", "fb.watch")


# --- what one answer holds ------------------------------------------------------------------


def read_page(page: Any, name: PurePosixPath, fetched: datetime) -> list[Message]:
    """The messages of one recorded answer: posts with the comments in them, comments, or messages."""
    origin = str(name)
    return [m for item in objects_of(page) for m in messages_of(item, None, fetched, origin)]


def messages_of(item: dict[str, Any], edge: str | None, fetched: datetime, origin: str | None = None) -> list[Message]:
    """One object and the comments nested in it, or the messages of a conversation. edge: the list of
    the page it stood in, if known."""
    if "messages" in item:
        return thread_of(records(record(item["messages"]).get("data")), word(item.get("id")), fetched)
    own = {key: value for key, value in item.items() if key != "comments"}
    kind = _kind_of(own)
    first = _message(kind, own, None, edge, fetched, origin or edge or "")
    post_id = word(item.get("id")) if kind == "post" else None
    return [first, *comments_of(record(item.get("comments")), post_id, edge, fetched, origin)]


def comments_of(
    page: dict[str, Any], post_id: str | None, edge: str | None, fetched: datetime, origin: str | None = None
) -> list[Message]:
    """The comments of one answer; post_id: the post they stand under, if known."""
    comments = records(page.get("data"))
    return [_message("comment", c, post_id, edge, fetched, origin or f"{edge} comments") for c in comments]


def thread_of(messages: list[dict[str, Any]], talk: str | None, fetched: datetime) -> list[Message]:
    """Private messages of one conversation; talk: its id."""
    return [_message("message", m, None, "conversations", fetched, "conversations", talk) for m in messages]


def is_withheld(message: dict[str, Any]) -> bool:
    """Whether Facebook tells of a private message that it exists, and nothing of it."""
    return not {"from", "message", "attachments", "sticker"} & set(message)


def _kind_of(item: dict[str, Any]) -> str:
    if "to" in item or str(item.get("id", "")).startswith("m_"):
        return "message"
    if "comment_count" in item or "attachment" in item or "parent" in item:  # fields only comments have
        return "comment"
    return "post"


def _message(
    kind: str,
    item: dict[str, Any],
    post_id: str | None,
    edge: str | None,
    fetched: datetime,
    origin: str,
    talk: str | None = None,
) -> Message:
    context = {"kind": kind, "edge": edge, "post_id": post_id, "conversation_id": talk}
    payload = to_bytes({**{k: v for k, v in context.items() if v}, "object": item})
    version = _version_of(item)
    ref = word(item.get("id")) or f"sha256:{_hash(word(item.get('permalink_url')) or version)}"
    made = moment(item.get("created_time"))
    return Message(ref, version, payload, PAYLOAD_TYPE, fetched, occurred_at=made, origin=origin)


def _version_of(item: dict[str, Any]) -> str:
    """A hash of what the author can edit: words, place, which files. Not the addresses of files, which
    are signed anew for every answer, and not `updated_time`, which every comment moves."""
    files = [[_type_of(f), word(record(f.get("target")).get("id"))] for f in _files_of(item)]
    place = word(record(item.get("place")).get("id"))
    return _hash(json.dumps([word(item.get("message")), place, files]))


def _hash(text: str) -> str:
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:24]


# --- decode ---------------------------------------------------------------------------------


def decode(message: Message, stream: Stream) -> Draft:
    """A post, comment or private message -> Draft.

    The page's own words are filtered, and so are posts shared without a word; an object with nothing
    to read is rejected.
    """
    payload = payload_of(message)
    item, kind = record(payload.get("object")), word(payload.get("kind"))
    sender = record(item.get("from"))
    author, page_id = word(sender.get("id")), word(stream.options.get("page_id"))
    if (author and author == page_id) or (kind == "post" and payload.get("edge") == "posts"):
        raise FilteredMessage("own_reply")
    text = word(item.get("message")) or ""
    if not text and (item.get("status_type") == "shared_story" or word(item.get("parent_id"))):
        raise FilteredMessage("repost", f"of {word(item.get('parent_id')) or 'a shared story'}")
    files = [file for f in _files_of(item) if (file := _attachment(f))]
    if not text and not files:
        raise RejectedMessage("Kiriman ini tidak berisi teks atau lampiran. Periksa kiriman aslinya di Facebook.")
    ref = word(item.get("id"))
    extra = {
        "object": kind,
        "edge": word(payload.get("edge")),
        "reply_to": word(record(item.get("parent")).get("id")),
        "shared_links": [u for f in _files_of(item) if _type_of(f) == "share" and (u := word(f.get("url")))],
    }
    return Draft(
        text=text,
        occurred_at=message.occurred_at,
        author_ref=f"fb:{author}" if author else None,
        author_name=word(sender.get("name")),
        contact_email=_email_of(sender),
        sender_level="claimed" if author else "anonymous",
        conversation_ref=word(payload.get("post_id"))
        or word(payload.get("conversation_id"))
        or _thread_of(kind, ref, page_id),
        source_url=_address(item.get("permalink_url")),
        private=kind == "message" or item.get("is_private") is True,
        attachments=files,
        extra={k: v for k, v in extra.items() if v},
        **_place(record(item.get("place"))),
    )


def _thread_of(kind: str | None, ref: str | None, page_id: str | None) -> str | None:
    """The post an object is, or, as a comment's id POST_COMMENT says, stands under."""
    if kind == "comment" and ref and page_id and re.fullmatch(r"[0-9]{1,25}_[0-9]{1,25}", ref):
        return f"{page_id}_{ref.split('_')[0]}"
    return ref if kind == "post" else None


def _email_of(sender: dict[str, Any]) -> str | None:
    """The sender's own address; @facebook.com ones are made up by Facebook and reach nobody."""
    address = word(sender.get("email"))
    return None if address is None or address.lower().endswith("@facebook.com") else address


def _files_of(item: dict[str, Any]) -> list[dict[str, Any]]:
    """What is attached: a comment's one attachment, a post's list, an album's pictures one by one."""
    one = record(item.get("attachment"))
    outer = [one] if one else records(record(item.get("attachments")).get("data"))
    files: list[dict[str, Any]] = []
    for file in outer:
        files += records(record(file.get("subattachments")).get("data")) or [file]
    return files


def _type_of(file: dict[str, Any]) -> str:
    """photo, video, share (a link, an event: not a file) or file."""
    if mime := word(file.get("mime_type")):
        return {"image": "photo", "video": "video", "audio": "audio"}.get(mime.split("/")[0], "file")
    said = f"{word(file.get('media_type')) or ''} {word(file.get('type')) or ''}".lower()
    for part, kind in (("video", "video"), ("photo", "photo"), ("sticker", "photo"), ("animated", "photo")):
        if part in said:
            return kind
    return "file" if "file" in said else "share"


def _attachment(file: dict[str, Any]) -> Attachment | None:
    kind = _type_of(file)
    if kind == "share":
        return None
    found = Attachment(type=kind)
    image, data = record(record(file.get("media")).get("image")), record(file.get("image_data"))
    data = data or record(file.get("video_data"))
    addresses = (image.get("src"), data.get("url"), file.get("file_url"), file.get("url"))
    if url := next((u for a in addresses if (u := word(a))), None):
        found["url"] = url
    if name := word(file.get("name")):
        found["name"] = name
    if (size := number(file.get("size"))) is not None and size >= 0:
        found["size"] = int(size)
    return found


def _address(value: Any) -> str | None:
    """Public address of an object, whole; None where it leads elsewhere than to Facebook."""
    link = word(value)
    if link is None:
        return None
    if link.startswith("/") and not link.startswith("//"):
        link = f"https://www.facebook.com{link}"
    try:
        parts = urlsplit(link)
        host = parts.hostname or ""
    except ValueError:
        return None
    known = any(host == h or host.endswith(f".{h}") for h in _HOSTS)
    return link if parts.scheme in ("http", "https") and known else None


def _place(place: dict[str, Any]) -> dict[str, Any]:
    """address_text, and the point of a place that has a street: a city's point is just its middle."""
    location = record(place.get("location"))
    street = word(location.get("street"))
    named = [w for w in (word(place.get("name")), street, word(location.get("city"))) if w]
    found: dict[str, Any] = {"address_text": ", ".join(dict.fromkeys(named))} if named else {}
    where = point(location.get("latitude"), location.get("longitude"))
    if street and where:
        found |= {"lat": where[0], "lon": where[1], "accuracy_m": _POINT_METRES}
    return found
