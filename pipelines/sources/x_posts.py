"""A post of X: what one page of the API holds, and what a post means.

Used by the source `twitter`, which asks for the pages. Field names are understood as they were
before August 2026 (`tweet`) and since (`post`); the payload keeps those it came with.
"""

from __future__ import annotations

import html
import re
from datetime import UTC, datetime
from hashlib import sha256
from math import cos, hypot, radians
from pathlib import PurePosixPath
from typing import Any

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
    words,
)

PAYLOAD_TYPE = "application/vnd.kanal.x-post+json"

_EPOCH_MS = 1_288_834_974_657  # ids are milliseconds since then, shifted left by 22 bits
_FIRST_SNOWFLAKE = 29_700_859_247  # ids below carry no time
_ID = re.compile(r"[0-9]{1,19}")
_POINT_METRES = 30.0
_AREA_METRES = 3000.0  # a place wider than this says where the text is about, not where to go


def read_page(page: Any, name: PurePosixPath, fetched: datetime) -> list[Message]:
    """The messages of one recorded answer."""
    return [message_of(post, record(page), fetched, str(name)) for post in objects_of(page)]


def message_of(post: dict[str, Any], page: dict[str, Any], fetched: datetime, origin: str) -> Message:
    """One post of `page` as a Message: key the first id of its edit history, version its own id."""
    own = word(post.get("id"))
    payload = to_bytes({"post": post, "includes": includes_of(post, record(page.get("includes")))})
    if own is None:
        own = f"sha256:{sha256(payload).hexdigest()[:32]}"
    history = words(_either(post, "edit_history_tweet_ids", "edit_history_post_ids"))
    root = history[0] if history else own
    made = moment(post.get("created_at")) or time_of(own)
    edited = root != own
    return Message(
        root, own, payload, PAYLOAD_TYPE, fetched,
        occurred_at=(time_of(root) or made) if edited else made,
        edited_at=made,  # of the first version too: read after its edit, it must count as older
        origin=origin,
    )  # fmt: skip


def includes_of(post: dict[str, Any], includes: dict[str, Any]) -> dict[str, Any]:
    """The part of a page's `includes` that this post refers to, under the names it came with."""
    referred = {word(r.get("id")) for r in _references(post)} - {None}
    kept: dict[str, Any] = {}
    for name in ("tweets", "posts"):
        if found := [p for p in records(includes.get(name)) if word(p.get("id")) in referred]:
            kept[name] = found
    people = {word(post.get("author_id")), word(post.get("in_reply_to_user_id"))}
    people |= {word(p.get("author_id")) for found in kept.values() for p in found}
    keys = set(words(record(post.get("attachments")).get("media_keys")))
    wanted: dict[str, tuple[str, set[Any]]] = {
        "users": ("id", people - {None}),
        "media": ("media_key", keys),
        "places": ("id", {word(record(post.get("geo")).get("place_id"))} - {None}),
        "polls": ("id", set(words(record(post.get("attachments")).get("poll_ids")))),
    }
    for name, (key, ids) in wanted.items():
        if found := [v for v in records(includes.get(name)) if word(v.get(key)) in ids]:
            kept[name] = found
    return kept


def _references(post: dict[str, Any]) -> list[dict[str, Any]]:
    return records(_either(post, "referenced_tweets", "referenced_posts"))


def _either(post: dict[str, Any], old: str, new: str) -> Any:
    """A field by its name before or since August 2026."""
    return post[old] if old in post else post.get(new)


def id_of(post: dict[str, Any]) -> str | None:
    """The post's id where it is a number, as X's ids are."""
    value = word(post.get("id"))
    return value if value and _ID.fullmatch(value) else None


def time_of(post_id: str) -> datetime | None:
    """When a post was made, as its id says."""
    if not _ID.fullmatch(post_id) or not _FIRST_SNOWFLAKE < int(post_id) < 1 << 63:
        return None
    return datetime.fromtimestamp(((int(post_id) >> 22) + _EPOCH_MS) / 1000, UTC)


def id_at(time: datetime) -> int:
    """The lowest id a post made at `time` could have."""
    return max(int(time.timestamp() * 1000) - _EPOCH_MS, 0) << 22


# --- decode ---------------------------------------------------------------------------------


def decode(message: Message, stream: Stream) -> Draft:
    """A post -> Draft. Own posts and reposts are filtered; a post with nothing to read is rejected."""
    payload = payload_of(message)
    post, includes = record(payload.get("post")), record(payload.get("includes"))
    author = word(post.get("author_id"))
    user = next((u for u in records(includes.get("users")) if word(u.get("id")) == author and author), {})
    name, handle = word(user.get("name")), word(user.get("username"))
    own = str(stream.options.get("handle") or "").lstrip("@").casefold()
    if (author and author == str(stream.options.get("user_id"))) or (handle and handle.casefold() == own):
        raise FilteredMessage("own_reply")
    references = {word(r.get("type")): word(r.get("id")) for r in _references(post)}
    for kind in ("retweeted", "reposted"):
        if kind in references:
            raise FilteredMessage("repost", f"of {references[kind]}")
    text, files = _text(post), _attachments(post, includes)
    if not text and not files:
        raise RejectedMessage("Kiriman ini tidak berisi teks atau lampiran. Periksa kiriman aslinya di X.")
    post_id = id_of(post)
    history = words(_either(post, "edit_history_tweet_ids", "edit_history_post_ids"))
    extra = {
        "lang": word(post.get("lang")),
        "edits": len(history) - 1 if len(history) > 1 else None,
        "quoted": references.get("quoted"),
        "reply_to": references.get("replied_to"),
        "withheld": words(record(post.get("withheld")).get("country_codes")) or None,
    }
    return Draft(
        text=text,
        occurred_at=message.occurred_at,
        author_ref=f"x:{author}" if author else None,
        author_name=f"{name} (@{handle})" if name and handle else name or handle,
        sender_level="claimed" if author else "anonymous",
        conversation_ref=word(post.get("conversation_id")),
        source_url=f"https://x.com/i/status/{post_id}" if post_id else None,
        attachments=files,
        extra={k: v for k, v in extra.items() if v is not None},
        **_place(record(post.get("geo")), includes),
    )


def _text(post: dict[str, Any]) -> str:
    """The whole text as the author typed it, without the link X appends for each picture."""
    note = record(_either(post, "note_tweet", "note_post"))
    longer = record(post.get("extended_tweet"))  # and full_text: how older recordings keep a long post
    text = next(
        (
            w
            for part, key in ((note, "text"), (longer, "full_text"), (post, "full_text"), (post, "text"))
            if (w := word(part.get(key)))
        ),
        "",
    )
    links = [u for part in (note, longer, post) for u in records(record(part.get("entities")).get("urls"))]
    media = {word(u.get("url")) for u in links if _is_media_link(u)} - {None}
    text = text.rstrip()
    while last := next((url for url in media if url and text.endswith(url)), None):
        text = text[: -len(last)].rstrip()
    return html.unescape(text)


def _is_media_link(link: dict[str, Any]) -> bool:
    shown, target = word(link.get("display_url")) or "", word(link.get("expanded_url")) or ""
    return "media_key" in link or shown.startswith(("pic.twitter.com/", "pic.x.com/")) or bool(
        re.search(r"/status/\d{1,20}/(photo|video)/\d", target[:500])
    )  # fmt: skip


def _attachments(post: dict[str, Any], includes: dict[str, Any]) -> list[Attachment]:
    known = {word(m.get("media_key")): m for m in records(includes.get("media"))}
    files: list[Attachment] = []
    for key in words(record(post.get("attachments")).get("media_keys")):
        media = record(known.get(key))
        # a key starts with the kind of media, which is all there is where X left the object out
        kind = word(media.get("type")) or {"3": "photo"}.get(key.split("_")[0], "video")
        file = Attachment(type="photo" if kind == "photo" else "video")
        if url := word(media.get("url")) or word(media.get("preview_image_url")):
            file["url"] = url
        files.append(file)
    return files


def _place(geo: dict[str, Any], includes: dict[str, Any]) -> dict[str, Any]:
    """lat, lon, accuracy_m and address_text from an exact point, or a place small enough."""
    place_id = word(geo.get("place_id"))
    place = next((p for p in records(includes.get("places")) if place_id and word(p.get("id")) == place_id), {})
    address = word(place.get("full_name")) or word(place.get("name"))
    found: dict[str, Any] = {"address_text": address} if address else {}
    exact = record(geo.get("coordinates")).get("coordinates")
    if isinstance(exact, list) and len(exact) == 2 and (where := point(exact[1], exact[0])):
        return found | {"lat": where[0], "lon": where[1], "accuracy_m": _POINT_METRES}
    box = record(place.get("geo")).get("bbox")
    if not isinstance(box, list) or len(box) != 4:
        return found
    low, high = point(box[1], box[0]), point(box[3], box[2])
    if low is None or high is None:
        return found
    lat, lon = (low[0] + high[0]) / 2, (low[1] + high[1]) / 2
    metres = 111_320 * hypot(high[0] - low[0], (high[1] - low[1]) * cos(radians(lat)))
    if number(metres) is None or metres > _AREA_METRES:
        return found
    return found | {"lat": lat, "lon": lon, "accuracy_m": max(round(metres / 2, 1), _POINT_METRES)}
