"""What the head of an SMS tells: who sent it, and which office its first word calls.

One judgement for every way an SMS comes (sms.py, playsms.py, webhook.py), so that a citizen is the same person by
all of them. Short codes (1708) and names (TELKOMSEL) stay as the network writes them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from pipelines.contracts import Draft, Message, Stream
from pipelines.errors import FilteredMessage, RejectedMessage, SettingsError

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


def draft_of(
    message: Message, stream: Stream, *, sender: str, text: str, extra: Mapping[str, Any], keyword: str = ""
) -> Draft:
    """An SMS -> Draft. keyword: the first word, where the gateway took it away from the text. What is empty in `extra`
    is left out. Raises FilteredMessage or RejectedMessage."""
    codes, who = codes_of(stream), sender_of(sender)
    if (who.ref or "").lower() in {name.lower() for name in stream.options.get("spam_senders", ())}:
        raise FilteredMessage("spam", "the sender is one of spam_senders")
    if not text.strip():
        raise RejectedMessage("SMS ini kosong. Tidak ada yang dapat ditindaklanjuti.")
    code = keyword.upper() if keyword.upper() in codes else code_of(text, codes)
    return Draft(
        text=text,
        occurred_at=message.occurred_at,
        author_ref=who.ref,
        contact_phone=who.phone,
        # The network names the sender, but a gateway may put any number or name there.
        sender_level="claimed" if who.ref else "anonymous",
        agency_reported=codes[code] if code else None,
        extra={k: v for k, v in {"code": code, **extra}.items() if v},
    )
