"""Is a request from who it says, and the answers to vendors' challenges. Pure; over raw bytes.

What is compared is compared in constant time and as it is written: a signature in another spelling is
refused, though it may decode to the same. Nothing here says why a proof failed.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from base64 import b64encode
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from pipelines.sources.octets import first, pairs

# Without braces and quotes: X's challenge signs whatever it is asked to with the key that signs its
# posts, and must not sign a body that we would take. Meta's is sent back, and must not be a page.
_CHALLENGE = re.compile(r"[A-Za-z0-9_=.+/:-]{1,256}")


class Request(NamedTuple):
    """What a proof is about. url: as the sender knows it, None where nobody said; header names in lower case."""

    method: str
    url: str | None
    query: bytes
    headers: Mapping[str, str]
    body: bytes


def proved(way: Mapping[str, Any], secret: str, request: Request, now: datetime) -> bool:
    """Whether the request carries the proof that `way`, a signature of models/webhooks.toml, asks for."""
    if way["kind"] == "token":
        param = first(pairs(request.query)).get(way["param"], b"") if "param" in way else b""
        given = request.headers.get(way["header"], "").encode("latin-1") if "header" in way else param
        return hmac.compare_digest((way.get("prefix", "") + secret).encode(), given)
    signed = _signed(way, request, now)
    given = request.headers.get(way["header"], "").encode("latin-1")
    return signed is not None and hmac.compare_digest(signature(way, secret, signed).encode(), given)


def signature(way: Mapping[str, Any], secret: str, signed: bytes) -> str:
    """The header's value that a sender with `secret` gives for these bytes."""
    digest = hmac.new(secret.encode(), signed, getattr(hashlib, way["algorithm"])).digest()
    return way.get("prefix", "") + (digest.hex() if way["digest"] == "hex" else b64encode(digest).decode())


def _signed(way: Mapping[str, Any], request: Request, now: datetime) -> bytes | None:
    """The bytes that the sender signed; None where there can be none."""
    if way["over"] == "body":
        return request.body
    if way["over"] == "time_body":
        stamp = request.headers.get(way["timestamp"], "")
        if not re.fullmatch(r"[0-9]{1,12}", stamp) or abs(now.timestamp() - int(stamp)) > way["window"]:
            return None
        return stamp.encode() + b"." + request.body
    if request.url is None:
        return None
    try:
        return signed_url(request.url, request.body)
    except ValueError:
        return None


def signed_url(url: str, form: bytes) -> bytes:
    """Twilio's way: the URL, then each name and its values, sorted. ValueError where the form is not whole."""
    values: dict[bytes, set[bytes]] = {}
    for name, value in pairs(form, strict=True):
        values.setdefault(name.encode(), set()).add(value)
    return url.encode() + b"".join(name + value for name in sorted(values) for value in sorted(values[name]))


def challenged(challenge: Mapping[str, Any], query: bytes, *, secret: str, word: str) -> tuple[str, str] | None:
    """(media type, body) that answers a vendor's challenge; None where the query is none, or is not for us.

    secret: what the stream signs with. word: what the vendor was told to ask with.
    """
    asked = {name: value.decode("utf-8", "replace") for name, value in first(pairs(query)).items()}
    if challenge["kind"] == "hmac":
        token = asked.get(challenge["param"], "")
        if not _CHALLENGE.fullmatch(token):
            return None
        way = {"algorithm": "sha256", "digest": "base64", "prefix": challenge["prefix"]}
        return "application/json", json.dumps({challenge["key"]: signature(way, secret, token.encode())})
    told, echo = asked.get(challenge["token"], ""), asked.get(challenge["echo"], "")
    if any(asked.get(name) != value for name, value in challenge["when"].items()) or not _CHALLENGE.fullmatch(echo):
        return None
    return ("text/plain", echo) if hmac.compare_digest(told.encode(), word.encode()) else None
