"""Normalised drafts -> masked drafts and a vault: personal tokens out of everything that travels on.

Phones, NIK, number plates, e-mail addresses, handles and the author's own name in text become tokens;
street numbers, RT/RW and JK numbers survive, because a place or an older ticket is named by them, and
so do the handles of offices. The author becomes a keyed HMAC. Contacts go to the vault table and nowhere else.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable
from functools import lru_cache

import orjson
import pandas as pd

from pipelines.contracts import column

# Other spellings of ASCII, each one character for one, so that what is found stands at the same place in both.
_ASCII_OF = (
    {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}  # full width
    | {first + i: 0x30 + i for first in (0x0660, 0x06F0, 0x0966) for i in range(10)}  # Arabic, Persian, Devanagari
    | {0x1D7CE + i: 0x30 + i % 10 for i in range(50)}  # the digits of mathematics: bold, double, sans, fixed
    | dict.fromkeys((*range(0x2010, 0x2016), 0x2043, 0x2212), ord("-"))
    | dict.fromkeys((0xB7, 0x2022, 0x2219, 0x22C5), ord("."))
    | dict.fromkeys((0xA0, 0x2007, 0x2009, 0x202F), ord(" "))
    | dict.fromkeys((0xFE0F, 0x20E3), ord("-"))  # digits as key caps
)
_ODD = frozenset(map(chr, _ASCII_OF))

_EMAIL = re.compile(
    # From the beginning of a run and never back into it: a long one without a sign costs one reading.
    r"(?<![\w.+-])(?:\w++['&#])?[\w.+-]++(?:"
    r"(?:@|\s?[\[(]\s?(?:at|@)\s?[\])]\s?)[\w-]{1,63}"
    r"(?:(?:\.|\s?[\[(]\s?(?:dot|titik)\s?[\])]\s?)[\w-]{1,63}){1,4}"
    r"|\s{0,2}@\s{0,2}(?:gmail|yahoo|ymail|hotmail|outlook|icloud|live|rocketmail)"
    r"(?:\.\w{2,3}(?:\.\w{2})?|\s?[.,]\s?(?:com|co|net|id)\b(?:\.id\b)?)"
    r"|@(?:\s(?:[\w-]{1,63}\.){1,3}(?:com|net|org|id)|gmail|ymail|hotmail|rocketmail)\b)",
    re.I,
)
_HANDLE = re.compile(r"(?<![0-9@])@(?=_{0,3}[a-z])(\w(?:[\w.]{0,60}\w)?)", re.I)
_PROFILE = re.compile(
    r"\b(?:facebook|fb|instagram|twitter|tiktok|threads|x)\.(?:com|net)/"
    r"(?!(?:groups?|share|p|reels?|watch|photos?|permalink|stor(?:y|ies)|posts?|i|hashtag|search|explore|events?|profile)\b)"
    r"@?(\w(?:[\w.]{0,60}\w)?)",
    re.I,
)
# Words in the handle of an office: a citizen who calls it names who is meant. The short ones begin a word.
_OFFICIAL = re.compile(
    r"jakarta|pemprov|pemkot|dishub|satpol|kelurahan|kecamatan|gubernur|(?:\b|[_\d])(?:dki|pln|tj_|jsc|bumd)|dki\b",
    re.I,
)
# Seven digits with little between them: fewer are no number of a person.
_MANY_DIGITS = re.compile(r"\d(?:[ .,()/_:=*\n~|-]{0,3}\d){6}")
_WIDE = r"(?:[ ./_:=*\n~|-]{1,3}|,)"  # what people put between whole groups of digits
# Not the rest of a longer number; but the number of a list ("1.0812..") is none, unless a coordinate follows.
_LISTED = r"(?:(?<=^\d[.,])|(?<=\s\d[.,])|(?<=\s\d\d[.,]))(?=[+(]?\d{4})(?!\d{3,20}[, ]{1,3}10[5-7][.,])"
_ALONE = rf"(?<!\d)(?<!\d\d\d[=:*_])(?:(?<!\d[.,/-])|{_LISTED})"
_FREE = rf"(?<!\d)(?:(?<!\d[.,])|{_LISTED})(?<!jk)(?<!kn-)"
_NOT_RT = r"(?:(?<!r[tw])(?<!r[tw][ .:/])|(?=\(?0\d{6}))"
# 16 digits, as NIK and family card numbers are, in groups as letters show them; four years or two dates are not one.
_NIK = re.compile(
    r"(?=\d)"
    + _ALONE
    + rf"(?!(?:(?:19|20)\d\d{_WIDE}){{3}}(?:19|20)\d\d(?!\d))(?!\d\d?[./-]\d\d?[./-](?:19|20)\d\d(?!\d))"
    r"\d(?:[ .-]?\d){15}(?!\d)"
    # Between whole groups anything, but the same; or the end of a line. Not from a year on, nor from within a ticket's number.
    rf"|{_ALONE}(?<!jk)(?<!kn-)(?<!\d\d\d[ .,/-])(?=[1-9]\d{{3}})(?!20|19\d\d\D)"
    rf"(?:\d{{4}}(?P<four>{_WIDE})\d{{4}}(?P=four)\d{{4}}(?P=four)\d{{4}}|\d{{6}}(?P<six>{_WIDE})\d{{6}}(?P=six)\d{{4}}"
    r"|\d{4}\n\d{12}|\d{6}\n\d{10}|\d{8}\n\d{8}|\d{12}\n\d{4})(?!\d)"
    r"|(?<=nik)(?!\])\W{0,4}(?:no\w{0,3}\W{0,3})?\d(?:[ .-]?\d){11,18}(?!\d)"
    r"|(?<=ktp)\W{0,4}(?:no\w{0,3}\W{0,3})?\d(?:[ .-]?\d){11,18}(?!\d)",
    re.I,
)
# What follows the 8x of a mobile number if more stands between its groups: the same each time, or it is a list.
_GROUPS = (
    rf"(?:\d{{1,3}}(?P<a>{_WIDE})\d{{3,5}}(?:(?P=a)|[ .-])\d{{3,5}}|(?P<b>{_WIDE})\d{{3,5}}(?P=b)\d{{3,5}}"
    rf"|\d{{1,3}}{_WIDE}\d{{6,9}}|{_WIDE}\d{{7,9}}|\d{{0,3}}(?P<c>{_WIDE})\d{{3,4}}(?:(?P=c)\d{{2,3}}){{2}}"
    rf"|\d{{0,3}}(?P<d>{_WIDE})\d\d(?:(?P=d)\d\d){{2,3}})(?!\d)"
)
# Mobile numbers (08.., 628.., +62 8..), landlines with their area code, numbers abroad with a plus, and
# whatever stands after "telp" or "hp". Not JK numbers: those are tickets.
_PHONE = re.compile(
    rf"(?=[(+\d])(?:{_FREE}"
    + r"\(?(?:(?:\+|00)?62\)?[ .-]{0,2}(?:\(?0\)?[ .-]?)?|0)8[1-9]\)?(?:[ .)-]{0,2}\d){6,10}(?!\d)"
    r"(?!(?<=\s\d)[.,)] ?\d)"  # the 2 of "1. 0812.. 2. 0813.." stands alone
    rf"|{_FREE}{_NOT_RT}\(?(?:(?:\+|00)?62\)?{_WIDE}?(?:\(?0\)?{_WIDE}?)?|0)8[1-9]{_GROUPS}"
    rf"|{_FREE}(?<!\d/)(?:\(?0[2-7]\d{{1,2}}\)?|(?:\+|00)?62[ .-]?\(?[2-7]\d{{1,2}}\)?)"
    r"[ .-]{0,3}\d{3,4}[ .-]?\d{3,4}(?!\d)"
    rf"|{_FREE}(?<!\d/){_NOT_RT}\(?0[2-7]\d{{1,2}}\)?(?:(?P<e>{_WIDE})\d{{3,4}}(?:(?P=e)|-)\d{{3,4}}|{_WIDE}\d{{7,8}})(?!\d)"
    r"|(?<!\d)(?<!\d[ -])0[ -]{1,2}8(?:[ -]{1,2}\d){7,11}(?![ -]?\d)"  # one by one
    r"|\+\d(?:[ .()-]{0,2}\d){7,14}(?!\d))"
    r"|(?<=[pna])(?:(?<=telp)|(?<=tlp)|(?<=tlpn)|(?<=telpon)|(?<=telepon)|(?<=\bhp)|(?<=\bwa)|(?<=whatsapp))"
    r"[ .:=-]{0,3}(?:no\w{0,3}[ .:]{0,3})?\d(?:[ .-]?\d){6,15}(?!\d)",
    re.I,
)
# Without its first 0, a mobile number is one only after a word that says so.
_MAYBE_BARE = re.compile(r"(?<!\d)8[1-9]\d")
_BARE = re.compile(
    r"\b(?:wa|whatsapp|hp|te?le?po?n?|hub|hubungi|kontak|contact|nomor|nomer|no|cp|call|sms)\b[ .:=-]{0,3}"
    r"(?:(?:ke|di|no|nomor|nomer|hp|wa|telp|saya|kami|aja|saja|ini|pak|bu)\b[ .:=-]{1,3}){0,4}"
    rf"(8[1-9](?:\d{{7,10}}(?!\d)|{_GROUPS}))",
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

_PASSES = 20  # a text made to hurt could ask for one pass a word

TOKENS = {
    "email": "[SUREL]", "nik": "[NIK]", "phone": "[TELEPON]", "plate": "[PLAT]", "name": "[NAMA]", "handle": "[AKUN]",
}  # fmt: skip
# What stands where a name should, and is nobody's; and the words of the tokens.
_NOBODY = frozenset(
    "anonim anonymous pelapor warga masyarakat jakarta unknown penduduk pengguna pengirim admin facebook twitter"
    " surel nik telepon plat nama akun".split()
)
_WORDS = re.compile(r"[^\W_]+")
_NAME = re.compile(r"(.*?)(?:\s*\(@([\w.]{2,60})\))?\s*", re.S)
_REF = re.compile(r"(?:[a-z]{1,12}:)?@?([a-z_][\w.]{2,40})", re.I)


def redact(drafts: pd.DataFrame, *, key: bytes) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Mask personal tokens and split contacts off.

    drafts: as normalise returns them, with `report_id`. key: secret of the author hash, 32 bytes.
    Returns (drafts with author_key and conversation_key instead of author_ref, author_name,
    contact_phone, contact_email, conversation_ref; vault rows of contracts.VAULT, with the index of
    the drafts they come from). A thread's name may be a phone number, so its key is keyed as well.
    The author's own name is masked in text, title and the names of attached files.
    """
    refs = column(drafts, "author_ref")
    authors = list(zip(column(drafts, "author_name"), refs, strict=True))
    changed = {
        "text": [_mask_own(t, *a) for t, a in zip(column(drafts, "text"), authors, strict=True)],
        "title": [_mask_own(t, *a) if t else t for t, a in zip(column(drafts, "title"), authors, strict=True)],
        "address_text": [mask(t) if t else t for t in column(drafts, "address_text")],
        "author_key": [author_key(a, key) if a else None for a in refs],
        "conversation_key": [author_key(c, key) if c else None for c in column(drafts, "conversation_ref")],
    }
    if "attachments" in drafts:
        files = column(drafts, "attachments")
        changed["attachments"] = [_mask_files(f, *a) for f, a in zip(files, authors, strict=True)]
    masked = drafts.assign(**changed)
    contacts = ["author_name", "author_ref", "contact_phone", "contact_email"]
    vault = drafts[["report_id", *contacts]].rename(columns={"contact_phone": "phone", "contact_email": "email"})
    vault = vault[drafts[contacts].notna().any(axis=1)]
    return masked.drop(columns=[*contacts, "conversation_ref"]), vault


def mask(text: str) -> str:
    """Replace e-mail addresses, NIK, phones, number plates and handles but an office's; nothing else changes.

    Once more as long as something was found: a token may lay bare what stood against it.
    """
    for _ in range(_PASSES):
        if (masked := _mask(text)) == text:
            break
        text = masked
    return text


def _mask(text: str) -> str:
    """Patterns look at the ASCII shape of the text; what they find is replaced in the text itself."""
    shape = text if text.isascii() or _ODD.isdisjoint(text) else text.translate(_ASCII_OF)
    if "@" in shape or "at)" in shape or "at]" in shape or "AT)" in shape or "AT]" in shape:
        text, shape = _sub(_EMAIL, TOKENS["email"], text, shape)
        text, shape = _sub(_HANDLE, _hide_handle, text, shape)
    if ".com/" in shape or ".net/" in shape:
        text, shape = _sub(_PROFILE, _hide_profile, text, shape)
    if _MANY_DIGITS.search(shape):
        text, shape = _sub(_NIK, _after_name(TOKENS["nik"]), text, shape)
        text, shape = _sub(_PHONE, _after_name(TOKENS["phone"]), text, shape)
        if _MAYBE_BARE.search(shape):
            text, shape = _sub(_BARE, _hide_group(TOKENS["phone"]), text, shape)
    if _MAYBE_PLATE.search(shape):
        text, shape = _sub(_PLATE, TOKENS["plate"], text, shape)
        text, shape = _sub(_PLATE_LOWER, TOKENS["plate"], text, shape)
    if "pol" in (lower := shape.lower()) or "plat" in lower:
        text, shape = _sub(_NAMED_PLATE, _hide_group(TOKENS["plate"]), text, shape)
    return text


def _sub(
    pattern: re.Pattern[str], token: str | Callable[[re.Match[str]], str], text: str, shape: str
) -> tuple[str, str]:
    """`pattern.sub` over the shape, done to the text as well: both are of one length, before and after."""
    if text is shape:
        text = pattern.sub(token, text)
        return text, text
    told, shown, done = [], [], 0
    for match in pattern.finditer(shape):
        new = token if isinstance(token, str) else token(match)
        told += [text[done : match.start()], new]
        shown += [shape[done : match.start()], new]
        done = match.end()
    return "".join([*told, text[done:]]), "".join([*shown, shape[done:]])


def _after_name(token: str) -> Callable[[re.Match[str]], str]:
    """The token, with a blank before it where the number's own name stands there ("hp: 08..")."""
    return lambda match: token if match.group()[0] in "+(" or match.group()[0].isdigit() else f" {token}"


def _hide_group(token: str) -> Callable[[re.Match[str]], str]:
    """The token instead of the pattern's group, which ends it; the words before stay."""
    return lambda match: match.group()[: match.start(1) - match.start()] + token


def _hide_handle(match: re.Match[str]) -> str:
    return match.group() if _OFFICIAL.search(match.group()) else TOKENS["handle"]


def _hide_profile(match: re.Match[str]) -> str:
    return match.group() if _OFFICIAL.search(match.group(1)) else _hide_group(TOKENS["handle"])(match)


def _mask_own(text: str, name: str | None, ref: str | None) -> str:
    """`mask`, and then without its author's own name and handle, as whole words in any case.

    In that order, because a name is often half of a mail address; and masked again, as `mask` says why.
    """
    text = mask(text)
    if not text or not (own := _own(name, ref)):
        return text
    lower, unnamed = text.lower(), text
    for first, spelt in own:
        if first in lower:
            unnamed = re.sub(spelt, TOKENS["name"], unnamed, flags=re.I)
    return text if unnamed == text else mask(unnamed)


@lru_cache(maxsize=65_536)
def _own(name: str | None, ref: str | None) -> tuple[tuple[str, str], ...]:
    """Patterns of the author's name and handles, each after what must stand in a lower-case text for it to be there.

    name: "Full Name", a handle, or "Full Name (@handle)". Numbers, mail addresses, short words and nobody's names give
    no pattern: the first two are masked as such.
    """
    found = []
    full = _NAME.fullmatch(name) if name else None
    words = _WORDS.findall(full.group(1)) if full else []
    if len("".join(words)) >= (4 if len(words) > 1 else 6) and any(
        w.lower() not in _NOBODY and not w.isdigit() for w in words
    ):
        spelt = r"[\W_]{0,3}".join(map(re.escape, words))
        found.append((words[0].lower(), rf"(?<![^\W_])@?{spelt}(?![^\W_])"))
    account = _REF.fullmatch(ref) if ref else None
    handles = (full and full.group(2), account and account.group(1))
    found += [
        (handle.lower(), rf"(?<![\w.])@?{re.escape(handle)}(?!\w)")
        for handle in handles
        if handle and (len(handle) >= 6 or re.search(r"[\d_.]", handle)) and handle.lower() not in _NOBODY
    ]
    return tuple(found)


def _mask_files(files: str | None, name: str | None, ref: str | None) -> str | None:
    """The JSON list of attachments with their names masked; the very same string where none is named."""
    if not files or '"name":"' not in files:
        return files
    masked = [
        f | {"name": _mask_own(f["name"], name, ref)} if isinstance(f.get("name"), str) else f
        for f in orjson.loads(files)
    ]
    return orjson.dumps(masked).decode()


@lru_cache(maxsize=65_536)
def author_key(author_ref: str, key: bytes) -> str:
    """16 hex characters: the same author gives the same key, and nobody without `key` can go back."""
    return hmac.new(key, author_ref.encode("utf-8", "surrogatepass"), "sha256").hexdigest()[:16]
