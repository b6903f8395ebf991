"""Normalised drafts -> masked drafts and a vault: personal tokens out of everything that travels on.

Phones, NIK, number plates and e-mail addresses in text become tokens; street numbers, RT/RW and JK
numbers survive, because a place or an older ticket is named by them. The author becomes a keyed
HMAC. Contacts go to the vault table and nowhere else.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable
from functools import lru_cache

import pandas as pd

from pipelines.contracts import column

_EMAIL = re.compile(
    r"[\w.+-]{1,64}(?:@|\s?[\[(]\s?(?:at|@)\s?[\])]\s?)[\w-]{1,63}(?:\.[\w-]{1,63}){1,4}"
    r"|[\w.+-]{1,64}\s{0,2}@\s{0,2}(?:gmail|yahoo|ymail|hotmail|outlook|icloud|live|rocketmail)\.\w{2,3}(?:\.\w{2})?",
    re.I,
)
# Seven digits with little between them: fewer are no number of a person.
_MANY_DIGITS = re.compile(r"\d(?:[ .()/-]{0,3}\d){6}")
_ALONE = r"(?<!\d)(?<!\d[.,/-])"  # not the rest of a longer number
# 16 digits, as NIK and family card numbers are, in groups as letters show them; four years are not one.
_NIK = re.compile(
    _ALONE + r"(?!(?:(?:19|20)\d\d[ .-]){3}(?:19|20)\d\d(?!\d))\d(?:[ .-]?\d){15}(?!\d)"
    r"|(?<=nik)(?!\])\W{0,4}(?:no\w{0,3}\W{0,3})?\d(?:[ .-]?\d){11,18}(?!\d)"
    r"|(?<=ktp)\W{0,4}(?:no\w{0,3}\W{0,3})?\d(?:[ .-]?\d){11,18}(?!\d)",
    re.I,
)
# Mobile numbers (08.., 628.., +62 8..), landlines with their area code, numbers abroad with a plus, and
# whatever stands after "telp" or "hp". Not JK numbers: those are tickets.
_PHONE = re.compile(
    r"(?<!\d)(?<!\d[.,])(?<!jk)\(?(?:(?:\+|00)?62\)?[ .-]{0,2}(?:\(?0\)?[ .-]?)?|0)8[1-9]\)?(?:[ .)-]{0,2}\d){6,10}(?!\d)"
    r"|(?<!\d)(?<!\d[.,/])(?<!jk)(?:\(?0[2-7]\d{1,2}\)?|(?:\+|00)?62[ .-]?\(?[2-7]\d{1,2}\)?)[ .-]{0,3}\d{3,4}[ .-]?\d{3,4}(?!\d)"
    r"|\+\d(?:[ .()-]{0,2}\d){7,14}(?!\d)"
    r"|(?:(?<=telp)|(?<=tlp)|(?<=tlpn)|(?<=telpon)|(?<=telepon)|(?<=\bhp)|(?<=\bwa)|(?<=whatsapp))"
    r"[ .:=-]{0,3}(?:no\w{0,3}[ .:]{0,3})?\d(?:[ .-]?\d){6,15}(?!\d)",
    re.I,
)
_PLATE_CODES = (
    "A|AA|AB|AD|AE|AG|B|BA|BB|BD|BE|BG|BH|BK|BL|BM|BN|BP|D|DA|DB|DC|DD|DE|DG|DH|DK|DL|DM|DN|DR|DT|E|EA|EB|F|G|H|K|KB"
    "|KH|KT|KU|L|M|N|P|PA|PB|R|S|T|W|Z"
)
_NO_SUFFIX = (
    "RT|RW|KM|NO|DI|KE|YG|DR|RB|JT|KK|KG|TH|DAN|KEL|KEC|ORG|THN|ADA|INI|ITU|UTK|DGN|JLN|GG|JL|HP|WA|WIB|JAM|PCS|UNIT"
    "|CM|MM|M|LT|CC|GB|MB|TV|AC|PK|VA|LOK|BLN|TGL|HR|GR|ML|LTR|ORANG|TAHUN|HARI|RIBU|JUTA|DARI|YANG|METER"
)
# Begins with the digits and looks back, because digits are rarer than letters.
_MAYBE_PLATE = re.compile(r"\d(?:(?<=[A-Za-z]\d)|(?<=[A-Za-z][ .-]\d))\d{1,3}[ .-]?[A-Za-z]")
_PLATE = re.compile(
    rf"(?<![\w/.-])(?:{_PLATE_CODES})(?:[ .-]?\d{{4}}[ .-]?(?!(?:{_NO_SUFFIX})\b)[A-Z]{{1,3}}"
    rf"|[ .-]?\d{{2,3}}[ .-]?(?!(?:{_NO_SUFFIX})\b)[A-Z]{{2,3}})(?![\w])"
)
# In lower case only Jakarta's own letter with the full shape, or "b 12 an" would be a plate.
_PLATE_LOWER = re.compile(
    rf"(?<![\w/.-])b[ .-]?(?:\d{{4}}[ .-]?(?!(?:{_NO_SUFFIX})\b)[a-z]{{2,3}}|\d{{3}}[ .-]?(?!(?:{_NO_SUFFIX})\b)[a-z]{{3}})(?![\w])",
    re.I,
)
_NAMED_PLATE = re.compile(
    r"\b(?:plat|nopol|no\.? ?pol(?:isi)?)(?: nomor| no\.?)?[ :.]{1,3}([a-z]{1,2}[ .-]?\d{1,4}[ .-]?[a-z]{0,3})\b", re.I
)

TOKENS = {"email": "[SUREL]", "nik": "[NIK]", "phone": "[TELEPON]", "plate": "[PLAT]"}


def redact(drafts: pd.DataFrame, *, key: bytes) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Mask personal tokens and split contacts off.

    drafts: as normalise returns them, with `report_id`. key: secret of the author hash, 32 bytes.
    Returns (drafts with author_key and conversation_key instead of author_ref, author_name,
    contact_phone, contact_email, conversation_ref; vault rows of contracts.VAULT, with the index of
    the drafts they come from). A thread's name may be a phone number, so its key is keyed as well.
    """
    masked = drafts.assign(
        text=[mask(t) for t in column(drafts, "text")],
        title=[mask(t) if t else t for t in column(drafts, "title")],
        address_text=[mask(t) if t else t for t in column(drafts, "address_text")],
        author_key=[author_key(a, key) if a else None for a in column(drafts, "author_ref")],
        conversation_key=[author_key(c, key) if c else None for c in column(drafts, "conversation_ref")],
    )
    contacts = ["author_name", "author_ref", "contact_phone", "contact_email"]
    vault = drafts[["report_id", *contacts]].rename(columns={"contact_phone": "phone", "contact_email": "email"})
    vault = vault[drafts[contacts].notna().any(axis=1)]
    return masked.drop(columns=[*contacts, "conversation_ref"]), vault


def mask(text: str) -> str:
    """Replace e-mail addresses, NIK, phones and number plates by tokens; nothing else changes.

    Once more as long as something was found: a token may lay bare what stood against it.
    """
    while (masked := _mask(text)) != text:
        text = masked
    return text


def _mask(text: str) -> str:
    if "@" in text or "at)" in text or "at]" in text:
        text = _EMAIL.sub(TOKENS["email"], text)
    if _MANY_DIGITS.search(text):
        text = _NIK.sub(_after_name(TOKENS["nik"]), text)
        text = _PHONE.sub(_after_name(TOKENS["phone"]), text)
    if _MAYBE_PLATE.search(text):
        text = _PLATE.sub(TOKENS["plate"], text)
        text = _PLATE_LOWER.sub(TOKENS["plate"], text)
    if "pol" in (lower := text.lower()) or "plat" in lower:
        text = _NAMED_PLATE.sub(_hide_plate, text)
    return text


def _after_name(token: str) -> Callable[[re.Match[str]], str]:
    """The token, with a blank before it where the number's own name stands there ("hp: 08..")."""
    return lambda match: token if match.group()[0] in "+(" or match.group()[0].isdigit() else f" {token}"


def _hide_plate(match: re.Match[str]) -> str:
    start = match.start(1) - match.start()
    return match.group()[:start] + TOKENS["plate"]


@lru_cache(maxsize=65_536)
def author_key(author_ref: str, key: bytes) -> str:
    """16 hex characters: the same author gives the same key, and nobody without `key` can go back."""
    return hmac.new(key, author_ref.encode("utf-8", "surrogatepass"), "sha256").hexdigest()[:16]
