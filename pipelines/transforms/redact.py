"""Normalised drafts -> masked drafts and a vault: personal tokens out of everything that travels on.

Phones, NIK, number plates and e-mail addresses in text become tokens; street numbers, RT/RW and JK
numbers survive, because a place or an older ticket is named by them. The author becomes a keyed
HMAC. Contacts go to the vault table and nowhere else.
"""

from __future__ import annotations

import hmac
import re
from functools import lru_cache

import pandas as pd

from pipelines.contracts import column, short_hash

_EMAIL = re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,4}")
# 16 digits, as NIK and family card numbers are; groups of four are common in letters.
_NIK = re.compile(r"(?<![\d.,-])\d{4}[ .-]?\d{4}[ .-]?\d{4}[ .-]?\d{4}(?![\d])")
# Mobile (08.., 628.., +62 8..) and Jakarta landline (021..); 9 to 13 digits in all.
_PHONE = re.compile(
    r"(?<![\w.,/-])(?:(?:\+|00)?62[ .-]?(?:\(0\))?|0)(?:8[1-9]|21)(?:[ .)-]{0,2}\d){6,10}(?![\d])"
    r"|\(021\)[ .-]?(?:\d[ .-]?){6,8}(?!\d)"
)
_PLATE_CODES = (
    "A|AA|AB|AD|AE|AG|B|BA|BB|BD|BE|BG|BH|BK|BL|BM|BN|BP|D|DA|DB|DC|DD|DE|DG|DH|DK|DL|DM|DN|DR|DT|E|EA|EB|F|G|H|K|KB"
    "|KH|KT|KU|L|M|N|P|PA|PB|R|S|T|W|Z"
)
_PLATE = re.compile(
    rf"(?<![\w/.-])(?:{_PLATE_CODES})[ -]?\d{{2,4}}[ -]?(?!RT\b|RW\b|KM\b|NO\b|DI\b|KE\b)[A-Z]{{2,3}}(?![\w])"
)
# In lower case only Jakarta's own letter with the full shape, or "b 12 an" would be a plate.
_PLATE_LOWER = re.compile(
    r"(?<![\w/.-])b ?\d{3,4} ?(?!rt\b|rw\b|kel\b|kec\b|dan\b|yg\b|rb\b|jt\b|org\b|kk\b|kg\b|km\b|thn\b|tahun\b)"
    r"[a-z]{3}(?![\w])"
)
_NAMED_PLATE = re.compile(
    r"(?i)\b(?:plat|nopol|no\.? ?pol(?:isi)?)(?: nomor| no\.?)?[ :.]{1,3}([a-z]{1,2} ?\d{1,4} ?[a-z]{0,3})\b"
)

TOKENS = {"email": "[SUREL]", "nik": "[NIK]", "phone": "[TELEPON]", "plate": "[PLAT]"}


def redact(drafts: pd.DataFrame, *, key: bytes) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Mask personal tokens and split contacts off.

    drafts: as normalise returns them, with `report_id`. key: secret of the author hash, 32 bytes.
    Returns (drafts with author_key and conversation_key instead of author_ref, author_name,
    contact_phone, contact_email, conversation_ref; vault rows of contracts.VAULT).
    """
    masked = drafts.assign(
        text=[mask(t) for t in column(drafts, "text")],
        title=[mask(t) if t else t for t in column(drafts, "title")],
        address_text=[mask(t) if t else t for t in column(drafts, "address_text")],
        author_key=[author_key(a, key) if a else None for a in column(drafts, "author_ref")],
        conversation_key=[short_hash(c) if c else None for c in column(drafts, "conversation_ref")],
    )
    contacts = ["author_name", "author_ref", "contact_phone", "contact_email"]
    vault = drafts[["report_id", *contacts]].rename(columns={"contact_phone": "phone", "contact_email": "email"})
    vault = vault[drafts[contacts].notna().any(axis=1)]
    return masked.drop(columns=[*contacts, "conversation_ref"]), vault.reset_index(drop=True)


def mask(text: str) -> str:
    """Replace e-mail addresses, NIK, phones and number plates by tokens; nothing else changes."""
    if "@" in text:
        text = _EMAIL.sub(TOKENS["email"], text)
    if not _has_digit(text):
        return text
    text = _NIK.sub(TOKENS["nik"], text)
    text = _PHONE.sub(TOKENS["phone"], text)
    text = _PLATE.sub(TOKENS["plate"], text)
    text = _PLATE_LOWER.sub(TOKENS["plate"], text)
    return _NAMED_PLATE.sub(_hide_plate, text)


def _hide_plate(match: re.Match[str]) -> str:
    start = match.start(1) - match.start()
    return match.group()[:start] + TOKENS["plate"]


_DIGIT = re.compile(r"\d\D?\d")


def _has_digit(text: str) -> bool:
    return _DIGIT.search(text) is not None


@lru_cache(maxsize=65_536)
def author_key(author_ref: str, key: bytes) -> str:
    """16 hex characters: the same author gives the same key, and nobody without `key` can go back."""
    return hmac.new(key, author_ref.encode("utf-8", "surrogatepass"), "sha256").hexdigest()[:16]
