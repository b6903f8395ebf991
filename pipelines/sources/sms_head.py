"""What the head of an SMS tells: who sent it, and which office its first word calls.

One judgement for every way an SMS comes (sms.py, playsms.py, webhook.py), so that a citizen is the same person by
all of them. Short codes (1708) and names (TELKOMSEL) stay as the network writes them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from pipelines.contracts import Stream
from pipelines.errors import SettingsError

_SCHEME = re.compile(r"(?:whatsapp|tel|sms):", re.IGNORECASE)
_PHONE = re.compile(r"\+?\d[\d ().-]{6,}")
_HEAD = re.compile(r"\s*([A-Za-z0-9]{2,20})(?:\s+|\s*#\s*)(?=\S)")


class Sender(NamedTuple):
    """ref: None where nobody is named. phone: None where that is no number to call back."""

    ref: str | None
    phone: str | None


def sender_of(raw: str | None) -> Sender:
    """The sender without `whatsapp:` and its like, and whether it is a phone number."""
    ref = _SCHEME.sub("", (raw or "").strip(), count=1).strip()
    return Sender(ref or None, ref if _PHONE.fullmatch(ref) else None)


def codes_of(stream: Stream) -> Mapping[str, str]:
    """The stream's `codes`, word -> office. Raises SettingsError."""
    codes = stream.options.get("codes", {})
    words = isinstance(codes, dict) and all(re.fullmatch(r"[A-Z0-9]{2,20}", str(word)) for word in codes)
    if not words or not all(isinstance(office, str) and office for office in codes.values()):
        raise SettingsError(
            f'{stream.key}: codes must name a set of models/sms_codes.toml, or be as {{DKI = "Pemprov"}}, in capitals'
        )
    return codes


def code_of(text: str, codes: Mapping[str, str]) -> str | None:
    """The code that begins a text, before a blank or #, in any case; None where its first word is none."""
    found = _HEAD.match(text)
    return found[1].upper() if found and found[1].upper() in codes else None
