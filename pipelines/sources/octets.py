"""Raw bytes of forms and SMS -> text: percent-encoding, GSM 03.38, and what a gateway says of a text's coding.

A form's values are kept as bytes until something says how they are to be read: Kannel sends UCS-2 as
it is, percent-encoded, and names the charset beside it.

Belongs here: bytes and alphabets, pure. Not here: which field holds what (dialects).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import unquote_to_bytes

from pipelines.sources.sms_parts import octet_text

Pairs = list[tuple[str, bytes]]

_GSM = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§"
    "¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_GSM_MORE = dict(zip(b"\x0a\x14\x28\x29\x2f\x3c\x3d\x3e\x40\x65", "\f^{}\\[~]|€", strict=True))
_CHARSETS = {"utf-8", "utf-16-be", "utf-16", "us-ascii", "ascii", "iso-8859-1", "latin-1", "windows-1252"}
_NAMES = {"utf-16be": "utf-16-be", "gsm": "gsm", "gsm-7": "gsm", "binary": "octets", "8-bit": "octets"}


def pairs(raw: bytes, *, strict: bool = False) -> Pairs:
    """A query string or form -> (name, value as bytes), in order.

    strict: ValueError where a pair is no NAME=VALUE. What is signed is names and values run together,
    so a lost `=` would go unnoticed.
    """
    found: Pairs = []
    for part in raw.split(b"&") if raw else []:
        name, equals, value = part.partition(b"=")
        if strict and not equals:
            raise ValueError("a pair without =")
        if part:
            found.append(
                (_text(unquote_to_bytes(name.replace(b"+", b" "))), unquote_to_bytes(value.replace(b"+", b" ")))
            )
    return found


def without(raw: bytes, name: str) -> bytes:
    """A query string without the pairs called `name`; the others stay as they are."""
    return b"&".join(part for part in raw.split(b"&") if part and _name_of(part) != name)


def _name_of(part: bytes) -> str:
    return _text(unquote_to_bytes(part.partition(b"=")[0].replace(b"+", b" ")))


def first(found: Pairs) -> dict[str, bytes]:
    """Name -> first value."""
    values: dict[str, bytes] = {}
    for name, value in found:
        values.setdefault(name, value)
    return values


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def charset_of(charset: str, coding: str, codings: Mapping[str, str]) -> str:
    """How a text is to be read: by the charset named, else by its coding's number, which may be a byte."""
    named = _NAMES.get(charset.strip().lower(), charset.strip().lower())
    if named in _CHARSETS or named in _NAMES.values():
        return named
    number = coding.strip() if coding.strip().isdecimal() else str(ord(coding[0])) if coding else "0"
    return codings.get(number, "octets")


def text_in(data: bytes, charset: str) -> str:
    """Bytes as text. Raises RejectedMessage where they are data and no words."""
    if charset == "octets":
        return octet_text(data)
    if charset == "gsm":
        return gsm(data)
    if charset == "utf-16-be":
        return data.decode("utf-16-be", "replace")
    try:
        return data.decode(charset)
    except UnicodeDecodeError:
        return data.decode("latin-1")


def hexadecimal(data: bytes) -> bytes | None:
    """The octets that a text in hexadecimal stands for; None where it is none."""
    return bytes.fromhex(data.decode()) if re.fullmatch(rb"(?:[0-9A-Fa-f]{2})+", data) else None


def gsm(data: bytes) -> str:
    """Septets, one an octet, as the 7-bit alphabet has them; where one is no septet it is Latin-1."""
    if any(octet > 0x7F for octet in data):
        return data.decode("latin-1")
    text, octets = [], iter(data)
    for octet in octets:
        if octet == 0x1B:
            octet = next(octets, 0x20)
            text.append(_GSM_MORE.get(octet, _GSM[octet]))
        else:
            text.append(_GSM[octet])
    return "".join(text)
