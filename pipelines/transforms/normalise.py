"""Drafts -> the same, clean: NFC text, UTC times, one spelling for phones, a language tag.

Belongs here: form. Not here: masking (redact), meaning (classify, locate). The citizen's spelling
stays: slang and abbreviations are the classifier's business.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache

import pandas as pd
import phonenumbers

from pipelines.contracts import column

# Control characters, and those that show nothing: soft hyphens, joiners, marks of direction, byte order.
_CONTROL = re.compile(
    r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ufffe\uffff]"
)
_NEWLINE = re.compile(r"\r\n?|[\x0b\x0c\x1c-\x1f\x85\u2028\u2029]")
_BLANKS = re.compile(r"[^\S\n]{2,}|[^\S\n ]")
_LINES = re.compile(r" ?\n\s*")
_WORD = re.compile(r"[a-z]{2,}")
_SHORT_CODE = re.compile(r"\d{3,6}")


def normalise(drafts: pd.DataFrame, *, languages: Mapping[str, frozenset[str]]) -> pd.DataFrame:
    """Clean every Draft column that has a form.

    drafts: one row a message with the columns of contracts.Draft plus `fetched_at`.
    languages: tag -> its telltale words. Returns a new frame with the same columns and `language`.
    """
    texts = [clean_text(t) for t in column(drafts, "text")]
    titles = [clean_line(t) for t in column(drafts, "title")]
    occurred = drafts["occurred_at"].where(drafts["occurred_at"].notna(), drafts["fetched_at"])
    return drafts.assign(
        text=texts,
        title=titles,
        address_text=[clean_line(a) for a in column(drafts, "address_text")],
        occurred_at=occurred,
        contact_phone=[phone(p) for p in column(drafts, "contact_phone")],
        contact_email=[
            e.strip().lower() if isinstance(e, str) and e.strip() else None for e in column(drafts, "contact_email")
        ],
        author_ref=[author(a) for a in column(drafts, "author_ref")],
        language=[language(t, languages) for t in texts],
    )


def clean_text(text: str | None) -> str:
    """NFC, no control or invisible characters, single blanks, no empty lines."""
    if not isinstance(text, str) or not text:
        return ""
    if not text.isascii():
        text = text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    if not text.isprintable():  # most are: then there is nothing to take out
        text = _CONTROL.sub("", _NEWLINE.sub("\n", text))
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)  # last: what stood apart may have come together
    text = _BLANKS.sub(" ", text)
    return (_LINES.sub("\n", text) if "\n" in text else text).strip()


def clean_line(text: str | None) -> str | None:
    """As clean_text, on one line; None where nothing is left."""
    cleaned = clean_text(text).replace("\n", " ")
    return cleaned or None


@lru_cache(maxsize=65_536)
def phone(raw: str | None) -> str | None:
    """E.164 where the number is valid in Indonesia or abroad, else as given; None if empty.

    Short codes (1708) and alphanumeric senders (TELKOMSEL) stay as they are.
    """
    if not isinstance(raw, str) or not (given := raw.strip()):
        return None
    compact = re.sub(r"^(?:whatsapp|tel):", "", given, flags=re.I)
    if _SHORT_CODE.fullmatch(compact) or not any(c.isdigit() for c in compact):
        return given
    if compact.startswith("00"):  # phonenumbers reads 0062 812.. as a number inside Indonesia
        compact = f"+{compact[2:]}"
    try:
        number = phonenumbers.parse(compact, "ID")
    except phonenumbers.NumberParseException:
        return given
    if not phonenumbers.is_valid_number(number):
        return given
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def author(raw: str | None) -> str | None:
    """One spelling for an author reference: phones in E.164, addresses in lower case."""
    if not isinstance(raw, str) or not (given := raw.strip()):
        return None
    if given[0] in "+0123456789(" and ":" not in given:
        return phone(given)
    return given.lower()


def language(text: str, languages: Mapping[str, frozenset[str]]) -> str:
    """The tag whose telltale words occur most in the first 400 characters; other if none does."""
    words = _WORD.findall(text[:400].lower())
    best, most = "other", 0
    for tag, telltale in languages.items():
        hits = sum(map(telltale.__contains__, words))
        if hits > most:
            best, most = tag, hits
    return best
