"""RFC 822 bytes -> Draft: who wrote what, when, in which thread, with which files.

Mail comes in every state of repair, and Python's parser fails on some of it, so the parts of it
that fail are asked through `_or`, headers are read raw, and bytes become text in mail_text.py.
What cannot be read at all is rejected with a reason; nothing else is raised but the filters:
bounces, automatic answers, our own mails, and what the receiving server marked as spam. Mails that
machines make but that answer nothing are kept, for web forms send complaints that way.

Nothing in `extra` is personal: it travels unmasked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import Message as Part
from email.policy import Compat32
from email.utils import parsedate_tz
from mimetypes import MimeTypes
from typing import Any, NamedTuple, TypeVar

from pipelines.contracts import Draft, Message, Stream
from pipelines.errors import FilteredMessage, RejectedMessage
from pipelines.sources.attached import described, kept
from pipelines.sources.mail_text import clean, has_forward, header_text, html_text, lines_of, split, text_of

T = TypeVar("T")

_DEPTH, _FILES, _LINES, _HEADER = 20, 100, 500_000, 4000  # beyond: a mail made to hurt
_COST = 15_000_000  # lines times multiparts, which the parser may look for in each line: some seconds
# What the parser is known to raise on odd mail: bad parameters, codecs, addresses, deep nesting.
_ODD = (ValueError, TypeError, LookupError, AttributeError, AssertionError, ArithmeticError, RecursionError)
_TYPES = MimeTypes(filenames=())  # built in, so that every machine says the same
_NOT_FILES = {"application/pkcs7-signature", "application/x-pkcs7-signature", "application/pgp-signature"}

_ADDRESS = r"[^\s<>@\"(),:;\\]{1,100}@[^\s<>@\"(),:;\\]{1,200}"
_NAMED = re.compile(rf'(?:"((?:[^"\\]|\\.){{0,200}})"|([^<>",]{{0,200}}))\s{{0,20}}<\s{{0,5}}({_ADDRESS})\s{{0,5}}>')
_BARE = re.compile(_ADDRESS)
_ID = re.compile(r"<[^<>\s]{1,300}>")
_PREFIX = re.compile(
    r"(?:(re|bls|balas|balasan|aw|sv)|(fwd?|tr|terusan|diteruskan|trs))\s?(?:\[\d+\])?:\s*", re.IGNORECASE
)
_ZONES = {"WIB": "+0700", "WITA": "+0800", "WIT": "+0900"}
_ZONE = re.compile(r"\b(WIB|WITA|WIT)\b", re.IGNORECASE)
_PHONE = re.compile(r"(?<![\d+])(?:\+?62|0)[ .-]?8\d{1,2}(?:[ .-]?\d){5,9}(?!\d)")
_PLACE = re.compile(
    r"\b(?:jl|jln|jalan|gg|gang|rt|rw|kel|kelurahan|kec|kecamatan|komplek|kompleks|perum\w*|rusun\w*|blok|kampung|kp)\b",
    re.IGNORECASE,
)
_AUTO_SUBJECT = re.compile(
    r"auto(?:matic|matis|mated)?[ -]?(?:reply|response|answer)|(?:balasan|jawaban|respon\w*) otomatis"
    r"|out of (?:the )?office|(?:sedang )?(?:cuti|tidak di kantor|di luar kantor)\b|vacation",
    re.IGNORECASE,
)
_BOUNCE_SUBJECT = re.compile(
    r"undeliver|delivery (?:status|failure|has failed)|mail delivery|failure notice|returned mail"
    r"|tidak terkirim|gagal (?:dikirim|terkirim)",
    re.IGNORECASE,
)


class _Raw(Compat32):
    """Headers as they stand, 8-bit bytes as surrogates; compat32 wraps those in objects.

    Cut short: the parser takes seconds for a header of 200,000 parameters.
    """

    def header_fetch_parse(self, name: str, value: str) -> str:
        return value[:_HEADER]


_POLICY = _Raw()


class _Sender(NamedTuple):
    name: str | None
    address: str | None


class _File(NamedTuple):
    data: bytes
    name: str
    claimed: str


@dataclass(slots=True)
class _Body:
    """texts: (text, whether it is HTML) in order. forwarded: texts of mails that were attached."""

    texts: list[tuple[str, bool]] = field(default_factory=list)
    forwarded: list[str] = field(default_factory=list)
    files: list[_File] = field(default_factory=list)


def media_of(raw: bytes) -> tuple[bytes, ...]:
    """The files of a mail that are to be kept: those that `decode` gives a sha256. Never raises."""
    body = _Body()
    try:
        _walk(_parse(raw), body, 0)
    except RejectedMessage:
        return ()
    return tuple(file.data for file in body.files if kept(file.data))


def decode(message: Message, stream: Stream) -> Draft:
    """A mail -> Draft.

    Options: own_addresses, trusted_authserv (see imap.py). Raises FilteredMessage (bounce,
    auto_reply, own_reply, spam) or RejectedMessage, and nothing else, whatever the bytes.
    """
    if message.problem:
        raise RejectedMessage(message.problem, stage="pull")
    mail = _parse(message.payload)
    headers = _headers(mail)
    subject, replies, forwards = _subject(headers)
    sender = _sender(headers.get("from", ""))
    check = _sender_check(headers, sender, stream.options.get("trusted_authserv"))
    automatic = _automatic(headers, subject, sender, replies=replies)
    if automatic and automatic != "kept":
        raise FilteredMessage(automatic)
    if check != "fail" and _is_own(sender.address, stream.options.get("own_addresses", ())):
        raise FilteredMessage("own_reply")
    if headers.get("x-spam-flag", "").strip().lower().startswith("yes"):
        raise FilteredMessage("spam", "marked by the mail server")
    body = _Body()
    _walk(mail, body, 0)
    text, signature = _own_words(body, replies=replies, forwards=forwards)
    if not text and not body.files and (replies or not subject):
        raise RejectedMessage(
            "Surel ini kosong atau hanya berisi kutipan surel lain. Periksa surel aslinya di kotak surat."
        )
    said, time_from = _time(headers, message)
    phone = _PHONE.search(signature)
    extra = {
        "time_from": time_from,
        "sender_check": check,
        "forwarded": True if forwards or body.forwarded else None,
        "automatic": True if automatic else None,
    }
    return Draft(
        text=text,
        title=subject or None,
        occurred_at=said,
        author_ref=sender.address,
        author_name=sender.name,
        contact_phone=phone[0] if phone else None,
        contact_email=_sender(headers.get("reply-to", "")).address or sender.address,
        sender_level="verified" if check == "pass" else "claimed" if sender.address else "anonymous",
        conversation_ref=_thread(headers),
        address_text=None if _PLACE.search(f"{subject}\n{text}") else _address_in(signature),
        attachments=[described(*file) for file in body.files],
        extra={k: v for k, v in extra.items() if v is not None},
    )


# --- structure ------------------------------------------------------------------------------


def _or(default: T, call: Callable[[], T]) -> T:
    """`call()`, or `default` where the mail library stumbles over odd mail."""
    try:
        return call()
    except _ODD:
        return default


def _parse(raw: bytes) -> Part:
    lines, multiparts = raw.count(b"\n"), raw.lower().count(b"multipart/")
    if lines <= _LINES and lines * multiparts <= _COST:
        mail: Part | None = _or(None, lambda: message_from_bytes(raw, policy=_POLICY))
        if mail is not None and mail.keys():
            return mail
    raise RejectedMessage("Susunan surel ini rusak dan tidak bisa dibaca. Periksa surel aslinya di kotak surat.")


def _headers(mail: Part) -> dict[str, str]:
    """Lower-case name -> value, the topmost of each: what our own server wrote stands on top."""
    headers: dict[str, str] = {}
    for name, value in mail.raw_items():
        headers.setdefault(name.lower(), str(value)[:20_000])
    return headers


def _walk(part: Part, body: _Body, depth: int) -> None:
    """Collect texts and files of a part and of what it holds."""
    kind = _or("text/plain", part.get_content_type)
    inner: Any = part.get_payload() if part.is_multipart() else None
    if depth > _DEPTH:
        return
    if kind == "message/rfc822" and isinstance(inner, list) and inner:
        _attached_mail(inner[0], body, depth)
    elif isinstance(inner, list):
        for child in _best(inner) if kind == "multipart/alternative" else inner:
            _walk(child, body, depth + 1)
    elif kind.startswith("multipart/"):
        _unbounded(part, body, depth)
    elif kind in ("text/plain", "text/html") and not _is_file(part):
        text = text_of(_bytes(part), _or(None, part.get_content_charset))
        body.texts.append((text, kind == "text/html"))
    elif kind not in _NOT_FILES and len(body.files) < _FILES:
        body.files.append(_file(part, kind))


def _best(children: list[Part]) -> list[Part]:
    """Of alternatives, the plain text if it says anything, else the last that can be read."""
    plain = [c for c in children if _or("", c.get_content_type) == "text/plain"]
    if plain and _bytes(plain[0]).strip():
        return [
            plain[0],
            *(c for c in children if _or("", c.get_content_maintype) not in ("text", "multipart")),
        ]
    return [c for c in children if _or("", c.get_content_type) == "text/html" or c.is_multipart()][-1:] or children[:1]


def _attached_mail(mail: Part, body: _Body, depth: int) -> None:
    """A mail that was forwarded as a file: its words come after the sender's."""
    inside = _Body(files=body.files)
    _walk(mail, inside, depth + 1)
    said = [header_text(_headers(mail).get("subject", "")), _plain(inside, quotes=True), *inside.forwarded]
    body.forwarded.append("\n".join(part for part in said if part))


def _unbounded(part: Part, body: _Body, depth: int) -> None:
    """A multipart whose boundary is missing or wrong: take the first line that looks like one."""
    raw = _bytes(part)
    found = re.search(rb"^--(\S{3,70})[ \t\r]*$", raw[:100_000], re.MULTILINE)
    if found and depth < _DEPTH:
        boundary = re.sub(rb'["\\]', b"", found[1])
        fixed = b'Content-Type: multipart/mixed; boundary="' + boundary + b'"\n\n' + raw
        again: Part | None = _or(None, lambda: message_from_bytes(fixed, policy=_POLICY))
        if again is not None and again.is_multipart():
            _walk(again, body, depth + 1)
            return
    body.texts.append((text_of(raw, None), False))


def _is_file(part: Part) -> bool:
    return _or(None, part.get_content_disposition) == "attachment" or bool(_or(None, part.get_filename))


def _bytes(part: Part) -> bytes:
    """A part's bytes, decoded as its header says, or as they stand where that fails."""
    data: Any = _or(None, lambda: part.get_payload(decode=True))
    if isinstance(data, bytes):
        return data
    return _or(b"", lambda: str(part.get_payload() or "").encode("utf-8", "surrogateescape"))


def _file(part: Part, kind: str) -> _File:
    # only the last step of a path, whichever system wrote it
    name = re.split(r"[/\\]", header_text(_or("", lambda: str(part.get_filename() or ""))))[-1].strip()[:200]
    if kind == "application/octet-stream":
        kind = _TYPES.guess_type(name, strict=False)[0] or kind
    return _File(_bytes(part), name, clean(kind)[:100])


# --- words ----------------------------------------------------------------------------------


def _own_words(body: _Body, *, replies: bool, forwards: bool) -> tuple[str, str]:
    """(text, signature)."""
    whole = _plain(body, quotes=True)
    if forwards or (not replies and has_forward(whole)):
        text, signature = "\n".join(lines_of(whole)), ""
    else:
        text, signature = split(_plain(body, quotes=False) if replies else whole, reply=replies)
        if replies and not text:  # some programs put the answer inside the element that quotes
            text, signature = split(whole, reply=True)
    return "\n\n".join(part for part in (text, *body.forwarded) if part), signature


def _plain(body: _Body, *, quotes: bool) -> str:
    return "\n\n".join(
        said for text, html in body.texts if (said := html_text(text, quotes=quotes) if html else text.strip())
    )


def _address_in(signature: str) -> str | None:
    """The lines of a signature that name a street or an area."""
    return ", ".join(line for line in signature.split("\n") if _PLACE.search(line))[:300] or None


# --- headers --------------------------------------------------------------------------------


def _subject(headers: Mapping[str, str]) -> tuple[str, bool, bool]:
    """(subject without Re: and Fwd:, whether the mail replies, whether it forwards)."""
    subject = header_text(headers.get("subject", ""))[:1000]
    first = _PREFIX.match(subject)
    forwards = bool(first and first[2])
    replies = not forwards and bool(first or "in-reply-to" in headers or "references" in headers)
    while prefix := _PREFIX.match(subject):
        subject = subject[prefix.end() :]
    return subject, replies, forwards


def _sender(value: str) -> _Sender:
    """The first address of a header and the name beside it, as far as there is one."""
    value = value[:2000]
    if named := _NAMED.search(value):
        name = header_text(re.sub(r"\\(.)", r"\1", named[1] or named[2] or "")).strip("'\" ")[:200]
        return _Sender(name or None, header_text(named[3]).lower())
    bare = _BARE.search(value)
    return _Sender(None, header_text(bare[0]).lower()) if bare else _Sender(None, None)


def _time(headers: Mapping[str, str], message: Message) -> tuple[datetime | None, str | None]:
    """(when it was written, aware UTC; what says so, unless it is the Date header).

    received: the server's INTERNALDATE or its own Received header. fetched: nothing says, and the
    time is None.
    """
    dated = _or(None, lambda: _date(headers.get("date", "")))
    arrived = message.occurred_at or _or(None, lambda: _date(headers.get("received", "").rpartition(";")[2]))
    # A sender's clock may be anything; one that is right is not ahead of the server's.
    if dated and dated.year >= 2000 and dated <= (arrived or message.fetched_at) + timedelta(days=1):
        return dated, None
    return arrived, "received" if arrived else "fetched"


def _date(value: str) -> datetime | None:
    parts = parsedate_tz(_ZONE.sub(lambda zone: _ZONES[zone[1].upper()], value[:200]))
    if parts is None:
        return None
    return datetime(*parts[:6], tzinfo=UTC) - timedelta(seconds=parts[9] or 0)


def _thread(headers: Mapping[str, str]) -> str | None:
    """Message-ID of the mail that began the thread, as far as this one knows."""
    for name in ("references", "in-reply-to", "message-id"):
        if found := _ID.search(clean(headers.get(name, ""))):
            return found[0]
    return None


def _is_own(address: str | None, own: Any) -> bool:
    if address is None:
        return False
    known = {str(o).lower() for o in own} if isinstance(own, list | tuple) else {str(own).lower()}
    return address in known or f"@{address.rpartition('@')[2]}" in known


def _sender_check(headers: Mapping[str, str], sender: _Sender, authserv: Any) -> str | None:
    """pass | fail: what our server found of the sender's domain; None where it says nothing.

    Only the topmost result counts, and only under our server's name: a sender can write the rest.
    """
    results = headers.get("authentication-results", "")
    name, _, found = results.partition(";")
    if not authserv or not sender.address or name.split()[:1] != [str(authserv)]:
        return None
    domain = re.escape(sender.address.rpartition("@")[2])
    verdict = re.search(r"\bdmarc\s*=\s*(\w+)", found)
    if verdict and verdict[1].lower() in ("pass", "fail"):
        checked = re.search(r"\bheader\.from\s*=\s*([\w.-]+)", found)
        same = checked is None or re.fullmatch(rf"(?:.+\.)?{re.escape(checked[1])}", sender.address.rpartition("@")[2])
        return verdict[1].lower() if same else "fail"
    signed = re.search(rf"\bdkim\s*=\s*pass\b[^;]{{0,300}}\bheader\.(?:d|i)\s*=\s*@?{domain}(?![\w.-])", found)
    return "pass" if signed else None


def _automatic(headers: Mapping[str, str], subject: str, sender: _Sender, *, replies: bool) -> str | None:
    """bounce | auto_reply, "kept" for a machine's mail that answers nothing, None for a person's."""
    kind = headers.get("content-type", "").lower()
    local = (sender.address or "").partition("@")[0]
    nobody = headers.get("return-path", "").strip() == "<>"
    made = headers.get("auto-submitted", "no").strip().lower()
    if kind.startswith("multipart/report"):
        return "auto_reply" if "disposition-notification" in kind else "bounce"
    if local == "mailer-daemon" or ((local == "postmaster" or nobody) and _BOUNCE_SUBJECT.search(subject)):
        return "bounce"
    if made.startswith("auto-replied") or "x-autoreply" in headers or "x-autorespond" in headers:
        return "auto_reply"
    machine = nobody or not made.startswith("no")
    bulk = headers.get("precedence", "").strip().lower() in ("bulk", "junk", "auto_reply", "list")
    hinted = machine or bulk or "x-auto-response-suppress" in headers
    if (machine and replies) or (hinted and _AUTO_SUBJECT.match(subject)):
        return "auto_reply"
    return "kept" if machine else None
