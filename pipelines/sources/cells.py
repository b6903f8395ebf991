"""What the text of one cell says: a time, a number, a point, yes or no, files, words.

Pure, and never raises: None says that there is nothing, or nothing that can be read. Not here: which
cell belongs to which field (mapping).
"""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from mimetypes import MimeTypes
from typing import Any

import orjson

from pipelines.contracts import Attachment
from pipelines.sources.mail_text import clean, html_text
from pipelines.sources.pages import point as point_of

YES = ("ya", "y", "yes", "true", "1", "ada", "benar", "x", "v")
NO = ("tidak", "t", "no", "n", "false", "0", "tidak ada", "bukan", "f")
NOTHING = ("", "-", "--", "null", "none", "nan", "n/a", "nihil", "(kosong)", "(blank)")
ERRORS = ("#REF!", "#N/A", "#VALUE!", "#NAME?", "#DIV/0!", "#NULL!", "#NUM!", "#GETTING_DATA")  # Excel's

_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            "januari january jan", "februari february pebruari feb peb", "maret march mar mrt", "april apr",
            "mei may", "juni june jun", "juli july jul", "agustus august agu agt ags aug", "september sept sep",
            "oktober october okt oct", "november nopember nov nop", "desember december des dec",
        ),
        1,
    )
    for name in names.split()
}  # fmt: skip
_CLOCK = r"(\d{1,2})[:.](\d{2})(?:[:.](\d{2})(?:[.,]\d{1,9})?)?(?:\s?([ap])\.?m\.?)?"
_DAY_FIRST = re.compile(
    rf"(?:[a-z']{{3,9}},?\s+)?(\d{{1,2}})\s?[/.\-\s]\s?(\d{{1,2}}|[a-z]{{3,9}})\.?\s?[/.\-\s,]\s?(\d{{4}}|\d{{2}})"
    rf"(?:[\st,-]{{1,3}}(?:(?:pukul|jam|pkl\.?)\s)?{_CLOCK})?",
    re.IGNORECASE,
)
_YEAR_FIRST = re.compile(rf"(\d{{4}})[/.-](\d{{1,2}})[/.-](\d{{1,2}})(?:[\st,]{{1,3}}{_CLOCK})?", re.IGNORECASE)
_SAID_CLOCK = re.compile(
    r"\s(?P<word>(?:pukul|jam|pkl\.?)\s{0,2})?(?P<hour>\d{1,2})(?:[.:](?P<minute>\d{2}))?\s?(?P<half>pagi|siang|sore|malam)?$",
    re.IGNORECASE,
)
_PART_OF_DAY = re.compile(r"\s0[.,](\d{3,17})$")
_ZONE = re.compile(r"\s?\(?\b(WIB|WITA|WIT|UTC|GMT)\)?$", re.IGNORECASE)
_ZONES = {"WIB": 7, "WITA": 8, "WIT": 9, "UTC": 0, "GMT": 0}
_SERIAL = re.compile(r"\d{5}(?:[.,]\d{1,17})?")
_SERIAL_DAY = re.compile(r"(\d{5})\s+(?=\d{1,2}[.:])")
_EXCEL_DAYS = range(20_000, 80_000)  # 1954 to 2119: what is a day and no other number
_EXCEL_ZERO = datetime(1899, 12, 30)  # noqa: DTZ001 - Excel knows no zone
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_NUMBER = re.compile(r"[+\-\u2212]?\s?\d{1,15}(?:[.,]\d{1,20})?")
_RT_RW = re.compile(
    r"(?:rt\W{0,3})?(\d{1,3})\W{1,5}rw\W{0,3}(\d{1,3})|(?:rt/rw\W{0,3})?(\d{1,3})\s?[/.\-]\s?(\d{1,3})", re.IGNORECASE
)
_RT_OR_RW = re.compile(r"(rt|rw)\W{0,3}(\d{1,3})", re.IGNORECASE)
_MARKUP = re.compile(r"</?(?:p|br|div|span|li|ul|ol|b|i|u|strong|em|a|table|td|tr)\b[^<>]{0,500}>", re.IGNORECASE)
_LITERAL = re.compile(r"\\{1,4}r\\{1,4}n|\\{1,4}[nr]")
_LIST = re.compile(r"[\n;|]|,(?=\s{0,9}https?://)|(?<=\w\.\w{3}),|(?<=\w\.\w{4}),")
_FILES = 100  # of one report
_HEX = re.compile(r"(?:0x)?([0-9a-f]+)")
_EITHER_BITS = 8  # that a hash of a picture has of each kind at least: of a black or white one it has next to none
_TYPES = MimeTypes(filenames=())  # built in, so that every machine says the same


def words(cell: str, *, unescape: bool, literal_newlines: bool) -> str:
    """A citizen's text: entities and markup of web forms undone, and "\\n" that was written out."""
    cell = clean(cell)
    if unescape:
        if "<" in cell and _MARKUP.search(cell):
            cell = html_text(cell.replace("\n", "<br>"), quotes=True)
        elif "&" in cell:
            cell = html.unescape(cell)
    if literal_newlines and "\\" in cell:
        cell = _LITERAL.sub("\n", cell)
    return cell.strip()


def number(cell: str, *, comma: bool | None = None) -> float | None:
    """A finite number. comma: whether , is the decimal sign and . groups; None: whichever is there."""
    text = cell.strip().replace("\u2212", "-").replace("\u00a0", "").replace(" ", "")
    if comma or (comma is None and "," in text and "." not in text):
        text = text.replace(".", "").replace(",", ".") if comma else text.replace(",", ".")
    elif comma is False:
        text = text.replace(",", "")
    try:
        found = float(text) if len(text) < 60 and "_" not in text else math.nan
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def point(lat: str, lon: str, *, comma: bool | None = None) -> tuple[float, float] | None:
    """(lat, lon) in WGS84 degrees; None where they are no place on earth, or 0, 0."""
    return point_of(number(lat, comma=comma), number(lon, comma=comma))


def pair(cell: str) -> tuple[str, str] | None:
    """The two numbers of "-6.2, 106.8", "-6,2; 106,8" or "POINT(106.8 -6.2)", as (lat, lon) text."""
    text = cell.strip()[:200]
    swapped = text.upper().startswith("POINT")
    if swapped or "." in text:
        text = text.replace(",", " ")
    found = _NUMBER.findall(text)
    if len(found) != 2:
        return None
    return (found[1], found[0]) if swapped else (found[0], found[1])


def rt_rw(cell: str) -> str | None:
    """ "003/005", "RT 3 RW 5", "rt.3/rw.5" -> "RT 3 RW 5"; a lone RT or RW as it is.

    None for what Excel took for a day: of "2026-05-03" nobody knows which was the RT.
    """
    text = " ".join(cell.split())
    if found := _RT_RW.fullmatch(text):
        rt, rw = (found[1], found[2]) if found[1] else (found[3], found[4])
        return f"RT {int(rt)} RW {int(rw)}"
    if found := _RT_OR_RW.fullmatch(text):
        return f"{found[1].upper()} {int(found[2])}"
    return None


def stamp(value: object) -> datetime | None:
    """A time as programs write it (ISO 8601 with its zone), in UTC; None for anything else."""
    try:
        at = datetime.fromisoformat(value)  # type: ignore[arg-type]
        return at.astimezone(UTC) if at.tzinfo is not None else None
    except (TypeError, ValueError, OverflowError):
        return None


def moment(cell: str, *, formats: Sequence[str], zone: tzinfo) -> datetime | None:
    """Aware UTC. formats: those of strptime, which alone count beside ISO where there are any.

    Without them dates are day first: 4/5/2026 19.12, 04-05-26, Senin 4 Mei 2026 pukul 19.12 WIB.
    Excel's day numbers and Unix times are understood either way. A zone in the cell goes before `zone`.
    """
    text = cell.strip()
    if not 6 <= len(text) <= 60 and not _SERIAL.fullmatch(text):
        return None
    try:
        found = _moment(text, formats, zone)
        return None if found is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _spelled_clock(text: str) -> str:
    """Clocks as people write them behind a date -> 8:30: "jam 8", "pukul 2 siang", Excel's part of a day (0.354)."""
    if part := _PART_OF_DAY.search(text):
        seconds = round(float(f"0.{part[1]}") * 86_400)
        return f"{text[: part.start()]} {seconds // 3600}:{seconds // 60 % 60:02}"
    if not (said := _SAID_CLOCK.search(text)):
        return text
    hour, minute, half = int(said["hour"]), said["minute"] or "00", (said["half"] or "").lower()
    if not (said["word"] or half) or (half and not hour <= 12):
        return text
    later = {"siang": range(1, 5), "sore": range(1, 8), "malam": range(5, 12)}.get(half, range(0))
    return f"{text[: said.start()]} {hour + 12 if hour in later else hour}:{minute}"


def _moment(text: str, formats: Sequence[str], zone: tzinfo) -> datetime | None:
    if said := _ZONE.search(text):
        text, zone = text[: said.start()], timezone(timedelta(hours=_ZONES[said[1].upper()]))
    text = _spelled_clock(text)
    if (day := _SERIAL_DAY.match(text)) and int(day[1]) in _EXCEL_DAYS:  # a day's number, and a clock of its own
        text = f"{(_EXCEL_ZERO + timedelta(days=int(day[1]))).date()} {text[day.end() :]}"
    for shape in formats:
        try:
            return _aware(datetime.strptime(text, shape), zone)  # noqa: DTZ007 - the zone is put in here
        except ValueError:
            continue
    if text.isdecimal() and len(text) in (10, 13):
        return _EPOCH + timedelta(milliseconds=int(text) * (1000 if len(text) == 10 else 1))
    if _SERIAL.fullmatch(text):
        days = float(text.replace(",", "."))
        seconds = round(days * 86_400)
        return _aware(_EXCEL_ZERO + timedelta(seconds=seconds), zone) if int(days) in _EXCEL_DAYS else None
    try:
        return _aware(datetime.fromisoformat(text), zone)
    except ValueError:
        return None if formats else _written(text, zone)


def _aware(time: datetime, zone: tzinfo) -> datetime:
    return time if time.tzinfo else time.replace(tzinfo=zone)


def _written(text: str, zone: tzinfo) -> datetime | None:
    if found := _DAY_FIRST.fullmatch(text):
        day, month, year, *clock = found.groups()
    elif found := _YEAR_FIRST.fullmatch(text):
        year, month, day, *clock = found.groups()
    else:
        return None
    month_number = int(month) if month.isdecimal() else _MONTHS.get(month.lower())
    if month_number is None:
        return None
    hour, minute, second, half = clock
    hours = int(hour or 0)
    if half:
        hours = hours % 12 + (12 if half.lower() == "p" else 0)
    full_year = int(year) + (2000 if len(year) == 2 else 0)
    return datetime(full_year, month_number, int(day), hours, int(minute or 0), int(second or 0), tzinfo=zone)


def yes(cell: str, *, values: Sequence[str] = YES) -> bool:
    return " ".join(cell.casefold().split()) in values


def files(cell: str) -> list[Attachment]:
    """Files named in a cell: addresses or names apart by line ends, ; | or commas, or a JSON list.

    A bare yes or a count says that there are photos, without naming them.
    """
    text = cell.strip()
    if text[:1] in ("[", "{"):
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            found = None
        if isinstance(found, (list, dict)):
            return [f for f in map(_file_of, found[:_FILES] if isinstance(found, list) else [found]) if f]
    if yes(text, values=NO):
        return []
    if yes(text) or re.fullmatch(r"\d{1,2}(?: ?(?:foto|photo|gambar))?", text, re.IGNORECASE):
        return [{"type": "photo"}] * (int(text.split()[0]) if text[:1].isdecimal() else 1)
    return [f for f in map(_file_of, _LIST.split(text)[:_FILES]) if f]


def digest(cell: str, *, digits: int) -> str | None:
    """A hash of so many hex digits, in lower case."""
    found = _HEX.fullmatch(cell.strip().lower())
    return found[1] if found and len(found[1]) == digits else None


def phash(cell: str) -> str | None:
    """A perceptual hash of 64 bits as 16 hex digits; None also for that of a picture that shows nothing."""
    found = digest(cell, digits=16)
    return found if found and _EITHER_BITS <= int(found, 16).bit_count() <= 64 - _EITHER_BITS else None


def _file_of(item: Any) -> Attachment | None:
    if isinstance(item, dict):
        named = next((item[k] for k in ("url", "link", "href", "name", "nama", "file", "path") if item.get(k)), None)
        return _file_of(named) if isinstance(named, str) else None
    if not isinstance(item, str) or not (text := clean(item).strip().strip("\"'")[:2000]):
        return None
    address = text.lower().startswith(("http://", "https://"))
    name = re.split(r"[/\\]", re.split(r"[?#]", text)[0] if address else text)[-1][:200]
    found: Attachment = {"type": _TYPES.guess_type(name)[0] or ("photo" if address else "file")}
    if name:
        found["name"] = name
    if address:
        found["url"] = text
    return found


def record(payload: bytes) -> dict[str, Any] | None:
    """The JSON object that Kanal or the CRM wrote of an event; None where it is none."""
    try:
        found = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None


def word(value: Any) -> str | None:
    """A text of such a record without blanks around; None for none, or for what is no text."""
    return value.strip() or None if isinstance(value, str) else None
