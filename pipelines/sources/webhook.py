"""Webhooks: what SMS gateways, WhatsApp, social networks and partner systems send to `kanal intake`.

In: one Message for each message in a request. Nothing is pulled: what is sent lands by itself, before
the sender is told so. The payload is the body, or the query, as it came; where a request held several
messages, each lands as the body with the others taken out. Files inside JSON are kept beside landing, and their
hash stands in their place (inline). Secrets and signatures do not land. Key:
the sender's own id, else a hash of what was sent; a version changes only with the message, so a
request sent twice is a repeat. Limits: what the sender gave up sending is lost. Long SMS whose parts
the gateway does not join are joined as they come (intake); what stays incomplete is quarantined.

Options in kanal.toml:
  dialect         how the sender speaks: an entry of models/webhooks.toml, or of `[kanal] dialects`
  signature       which of the dialect's ways of proof is used, by its kind ("token"); the first
  secret_env      variable with the key or token that requests are checked with
  verify_token_env  variable with the word that Meta sends before anything else
  allow_from      addresses and networks that may send (["192.0.2.7", "198.51.100.0/24"]); whoever is
                  named here is not rate-limited, and may send unsigned where the dialect has but a token
  spam_senders    senders whose messages are advertising (["TELKOMSEL"])
  codes           first words that call an office: a set of models/sms_codes.toml, or {WORD = "office"}
  handle, user_id our own account, for the dialect x_activity
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_network
from typing import Any, NamedTuple

from pipelines.contracts import Attachment, Batch, Draft, Message, Stream, short_hash
from pipelines.errors import FilteredMessage, RejectedMessage, SettingsError
from pipelines.sources import inline, x_posts
from pipelines.sources.dialects import LEVELS, Dialect, Item, Path, all_of, first_of, of_stream, plain
from pipelines.sources.octets import charset_of, first, hexadecimal, pairs, text_in, without
from pipelines.sources.pages import moment, number, point, record, to_bytes
from pipelines.sources.sms_head import code_of, codes_of, sender_of
from pipelines.sources.sms_parts import Part, incomplete, missing_of, part_of

VERSION = "2"
FORM, JSON = "application/x-www-form-urlencoded", "application/json"
PARTS = "application/vnd.kanal.sms-parts+json"

_MEDIA_ID = re.compile(r"[A-Za-z0-9_.-]{1,200}")
_MOST_ITEMS = 1000
_MILLISECONDS = 1e11
_EMPTY = "Pesan ini tidak berisi tulisan atau lampiran. Tidak ada yang dapat ditindaklanjuti."
_PIN = "Pesan ini hanya berisi titik lokasi. Baca bersama pesan lain dari pengirim yang sama."


class Received(NamedTuple):
    """A request, as it came: the query without `?`, the body's bytes."""

    method: str
    query: bytes
    body: bytes


class Taken(NamedTuple):
    """What a request brought. skipped: receipts and the like, which are no utterances."""

    messages: list[Message]
    skipped: int


def pull(stream: Stream, cursor: dict[str, Any] | None, *, now: Callable[[], datetime]) -> Iterator[Batch]:
    """Nothing: what is sent has landed already. SettingsError where the stream's options are wrong."""
    check(stream)
    yield from ()


def check(stream: Stream) -> None:
    """SettingsError where the stream's options will not do."""
    dialect = of_stream(stream)
    way = way_of(stream, dialect)
    codes_of(stream)
    for option in ("allow_from", "spam_senders"):
        value = stream.options.get(option, [])
        if not isinstance(value, list) or not all(isinstance(v, str) and v for v in value):
            raise SettingsError(f'{stream.key}: {option} must be a list of texts, as ["192.0.2.7"]')
    try:
        for network in stream.options.get("allow_from", ()):
            ip_network(network, strict=False)
    except ValueError as error:
        raise SettingsError(f"{stream.key}: allow_from: {error}") from None
    if not stream.options.get("secret_env") and (way["kind"] != "token" or not stream.options.get("allow_from")):
        raise SettingsError(
            f"{stream.key}: set secret_env, the variable with the key that {dialect.id} is checked with"
        )
    if dialect.table.get("challenge", {}).get("kind") == "echo" and not stream.options.get("verify_token_env"):
        raise SettingsError(f"{stream.key}: set verify_token_env, the variable with the word that Meta asks for")


def way_of(stream: Stream, dialect: Dialect) -> Mapping[str, Any]:
    """The way of proof that the stream uses."""
    wanted = stream.options.get("signature")
    for way in dialect.table["signature"]:
        if wanted in (None, way["kind"]):
            return way
    kinds = ", ".join(way["kind"] for way in dialect.table["signature"])
    raise SettingsError(f"{stream.key}: signature {wanted!r} is none of {dialect.id}'s: {kinds}")


# --- what a request holds -------------------------------------------------------------------


def take(dialect: Dialect, received: Received, now: datetime, origin: str = "webhook") -> Taken:
    """The messages of a request that has proved itself.

    Raises RejectedMessage, in words for the sender, where a strict dialect's body will not do. Any other
    dialect's lands as one Message with `problem`.
    """
    if dialect.encoding != "json":
        return _of_form(dialect, received, now, origin)
    try:
        body = json.loads(received.body)
        found = _of_json(dialect, received.body, body, now, origin) if isinstance(body, dict) else None
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError):  # also what can be read, but not written again
        found = None
    return _unreadable(dialect, received.body, now, origin) if found is None else found


def _of_json(dialect: Dialect, raw: bytes, body: dict[str, Any], now: datetime, origin: str) -> Taken:
    items = dialect.items_of(body)
    if len(items) > _MOST_ITEMS or (dialect.strict and not items):
        raise RejectedMessage(f"a request brings 1 to {_MOST_ITEMS} messages, not {len(items)}", stage="intake")
    if dialect.strict:
        for place, item in enumerate(items):
            if wrong := _wrong(dialect, item):
                raise RejectedMessage(f"message {place}: {wrong}", stage="intake")
    messages: list[Message] = []
    files: dict[int, tuple[bytes, ...]] = {}
    kept = 0
    for place, item in enumerate(items):
        try:
            files[place] = inline.taken(dialect, item, min(inline.MOST, inline.AT_ONCE - kept))
            kept += len(files[place])
        except ValueError as error:
            if dialect.strict:
                raise RejectedMessage(f"message {place}: {error}", stage="intake") from None
            files[place] = ()
    for place, item in enumerate(items):
        if dialect.skips(item):
            continue
        if dialect.table.get("reader") == "x_post":
            post = record(dialect.get(item, "post"))
            page = {"includes": record(dialect.get(item, "includes"))}
            messages.append(x_posts.message_of(post, page, now, origin))
            continue
        media = files[place]
        payload = raw if len(items) == 1 and not dialect.inlines else to_bytes(dialect.alone(body, item))
        said = inline.said(dialect, item)
        messages.append(replace(_message(dialect, item, said, payload, JSON, now, origin), media=media))
    return Taken(messages, len(items) - len(messages))


def _of_form(dialect: Dialect, received: Received, now: datetime, origin: str) -> Taken:
    form = dialect.encoding == "form" and received.method == "POST"
    payload = received.body if form else received.query
    for way in dialect.table["signature"]:
        payload = without(payload, way["param"]) if "param" in way else payload
    item = form_item(payload)
    if dialect.skips(item):
        return Taken([], 1)
    said = repr(sorted(item.value.items()))
    return Taken([_message(dialect, item, said, payload, FORM, now, origin)], 0)


def form_item(payload: bytes) -> Item:
    """A query or form as the one item it is: name -> first value, in bytes."""
    return Item(first(pairs(payload)), (), Path(0, ()), ())


def _message(dialect: Dialect, item: Item, said: str, payload: bytes, kind: str, now: datetime, origin: str) -> Message:
    own = plain(dialect.get(item, "id"))
    return Message(
        source_ref=own.strip() if own and _known(own) else f"isi:{short_hash(said)}",
        version=short_hash(said),
        payload=payload,
        payload_type=kind,
        fetched_at=now,
        occurred_at=_time(dialect, item),
        origin=origin,
    )


def _known(own: str | None) -> bool:
    """Whether a sender's id may be a key."""
    return own is not None and len(own) <= 200 and own.isprintable()


def _unreadable(dialect: Dialect, body: bytes, now: datetime, origin: str) -> Taken:
    if dialect.strict:
        raise RejectedMessage("the body is no JSON object", stage="intake")
    digest = short_hash(body.hex())
    problem = f"Kiriman webhook {dialect.id} ini bukan JSON yang utuh. Periksa pengirimnya, lalu minta dikirim ulang."
    return Taken([Message(f"isi:{digest}", digest, body, JSON, now, origin=origin, problem=problem)], 0)


def _wrong(dialect: Dialect, item: Item) -> str | None:
    """What a partner must mend in an item; None where it will do."""
    if not isinstance(item.value, dict):
        return "it is no object"
    for field in dialect.table.get("required", ()):
        value = dialect.get(item, field)
        if not isinstance(value, str) or not value.strip():
            return f"{field} is missing, or is no text"
    if not _known(plain(dialect.get(item, "id"))):
        return "id has more than 200 characters, or one that cannot be printed"
    at = str(dialect.get(item, "time") or "").strip()
    if at and (_time(dialect, item) is None or not re.search(r"(?:[Zz]|[+-]\d\d:?\d\d)$", at)):
        return "time is not as 2026-11-26T09:30:00+07:00"
    lat, lon = dialect.get(item, "lat"), dialect.get(item, "lon")
    if (lat is not None or lon is not None) and point(lat, lon) is None:
        return "lat and lon are no place on earth, or no numbers"
    return None


# --- decode ---------------------------------------------------------------------------------


def decode(message: Message, stream: Stream) -> Draft:
    """A landed webhook -> Draft, by its dialect. Raises RejectedMessage or FilteredMessage."""
    if message.problem:
        raise RejectedMessage(message.problem, stage="pull")
    if message.payload_type == x_posts.PAYLOAD_TYPE:
        return x_posts.decode(message, stream)
    dialect = of_stream(stream)
    items = _items(dialect, message)
    item = items[0]
    if dialect.is_own(item):
        raise FilteredMessage("own_reply")
    named = sender_of(plain(dialect.get(item, "sender")))
    sender = named.ref or ""
    if sender.lower() in {name.lower() for name in stream.options.get("spam_senders", ())}:
        raise FilteredMessage("spam", "the sender is one of spam_senders")
    title, text = _word(dialect, item, "title"), _text(dialect, items)
    files, media_ids = _files(dialect, item)
    where = point(_number(dialect, item, "lat"), _number(dialect, item, "lon"))
    if not text.strip() and not title and not files:
        raise RejectedMessage(_PIN if where else _EMPTY)
    phone, table = _word(dialect, item, "phone"), dialect.table
    if phone is None and table.get("sender_is") == "phone":
        phone = named.phone
    someone = bool(sender or phone or _word(dialect, item, "email"))
    level = _word(dialect, item, "level")
    url = _word(dialect, item, "url")
    extra: dict[str, Any] = {name: plain(first_of(item, [path])) for name, path in table.get("extra", {}).items()}
    codes = codes_of(stream)
    code = code_of(text, codes)
    extra |= {"code": code, "parts": len(items) if len(items) > 1 else None, "media_ids": media_ids or None}
    return Draft(
        text=text,
        title=title,
        occurred_at=message.occurred_at,
        author_ref=f"{table.get('author_prefix', '')}{sender}" if sender else None,
        author_name=_word(dialect, item, "name"),
        contact_phone=phone,
        contact_email=_word(dialect, item, "email"),
        # A network names a sender; some gateways let anyone name one.
        sender_level=level if level in LEVELS else table.get("sender_level", "claimed") if someone else "anonymous",
        conversation_ref=_word(dialect, item, "conversation"),
        source_url=url if url and url.startswith(("https://", "http://")) else None,
        external_ref=_word(dialect, item, "external_ref"),
        address_text=_word(dialect, item, "address"),
        kelurahan_reported=_word(dialect, item, "kelurahan"),
        kecamatan_reported=_word(dialect, item, "kecamatan"),
        kota_reported=_word(dialect, item, "kota"),
        lat=where[0] if where else None,
        lon=where[1] if where else None,
        accuracy_m=_number(dialect, item, "accuracy_m"),
        category_reported=_word(dialect, item, "category"),
        agency_reported=_word(dialect, item, "agency") or (codes[code] if code else None),
        private=_word(dialect, item, "private") not in (None, "false", "0"),
        attachments=files,
        extra={k: v for k, v in extra.items() if v is not None},
    )


def _items(dialect: Dialect, message: Message) -> list[Item]:
    """The message as items: one, or the parts of a long SMS in reading order. Raises RejectedMessage."""
    try:
        if message.payload_type == PARTS:
            found = [form_item(raw.encode("latin-1")) for raw in json.loads(message.payload)["parts"]]
        elif message.payload_type == FORM:
            found = [form_item(message.payload)]
        else:
            found = dialect.items_of(json.loads(message.payload))[:1]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        found = []
    if not found:
        raise RejectedMessage("Isi webhook rusak dan tidak bisa dibaca. Minta pengirimnya mengirim ulang.")
    parts = [part_in(dialect, item) for item in found]
    if parts[0] is None:
        return found
    if missing := missing_of(parts):
        raise RejectedMessage(incomplete(parts[0].total, missing))
    return [item for _, item in sorted(zip(parts, found, strict=True), key=lambda pair: pair[0] or Part((8, 0), 1, 1))]


def part_in(dialect: Dialect, item: Item) -> Part | None:
    """Which part of a long SMS an item is, as its user data header says; None where it stands alone."""
    udh = dialect.get(item, "udh")
    if not isinstance(udh, bytes):
        return None
    try:
        return part_of(udh.decode("ascii") if re.fullmatch(rb"[0-9A-Fa-f]+", udh) else udh.hex())
    except ValueError:
        return None


def _text(dialect: Dialect, items: list[Item]) -> str:
    """What the items say together: their bytes are joined first, as a letter may be cut in two."""
    octets = dialect.table.get("octets")
    if not octets:
        value = dialect.get(items[0], "text")
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else plain(value) or ""
    values = items[0].value
    data = b"".join(_octets(dialect, item, octets.get("hex", "")) for item in items)
    named = [values.get(octets.get(key, ""), b"").decode("latin-1") for key in ("charset", "coding")]
    return text_in(data, charset_of(named[0], named[1], octets.get("codings", {})))


def _octets(dialect: Dialect, item: Item, written_in_hex: str) -> bytes:
    for path in dialect.fields.get("text", ()):
        value = first_of(item, [path])
        if isinstance(value, bytes):
            found = hexadecimal(value) if path == written_in_hex else value
            if found is not None:
                return found
    return b""


def _word(dialect: Dialect, item: Item, field: str) -> str | None:
    value = plain(dialect.get(item, field))
    return value.strip() if value else None


def _number(dialect: Dialect, item: Item, field: str) -> float | None:
    value = dialect.get(item, field)
    try:
        return number(value if isinstance(value, (int, float)) else float(plain(value) or "nan"))
    except ValueError:
        return None


def _time(dialect: Dialect, item: Item) -> datetime | None:
    if dialect.table.get("time", "iso") == "iso":
        return moment(plain(dialect.get(item, "time")))
    seconds = _number(dialect, item, "time")
    if seconds is None or not 0 < seconds < 1e13:
        return None
    return datetime.fromtimestamp(seconds / 1000 if seconds > _MILLISECONDS else seconds, UTC)


def _files(dialect: Dialect, item: Item) -> tuple[list[Attachment], list[str]]:
    """(files that came along, their ids at the sender). Nothing is fetched."""
    files: list[Attachment] = []
    ids: list[str] = []
    for spec in dialect.table.get("media", ()):
        bases = all_of(item, spec["at"]) if "at" in spec else [item.value]
        for count in range(inline.MOST if any("{n}" in v for v in spec.values()) else 1):
            found = [_file(item, base, spec, count) for base in bases]
            if not any(found):
                break
            for file, own in filter(None, found):
                files.append(file)
                ids += [own] if own else []
    return files[: inline.MOST], ids[: inline.MOST]


def _file(item: Item, base: Any, spec: Mapping[str, str], count: int) -> tuple[Attachment, str | None] | None:
    def at(key: str) -> str | None:
        path = spec.get(key, "").replace("{n}", str(count))
        return plain(first_of(item._replace(value=base), [path])) if path else None

    url, own = (base if isinstance(base, str) else at("url")), at("id")
    if own and not url and "by_id" in spec and _MEDIA_ID.fullmatch(own):
        url = spec["by_id"].replace("{id}", own)
    kept = inline.told(base, spec.get("data", ""))
    if not (url or own or kept):
        return None
    kind = spec.get("kind", "file")
    if kind == "type":
        kind = plain(record(base).get("type")) or "file"
    file = Attachment(type=at("type") or {"image": "photo"}.get(kind, kind))
    if url and url.startswith(("https://", "http://")):
        file["url"] = url
    if name := at("name"):
        file["name"] = name
    if (size := number(_whole(at("size")))) is not None and size >= 0:
        file["size"] = int(size)
    return Attachment(**{**file, **kept}) if kept else file, own


def _whole(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() and len(text) < 16 else None
