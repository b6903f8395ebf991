"""Options of an export stream in kanal.toml -> a Plan, and by it a row's cells -> who it is and a Draft.

Belongs here: which column means what, as declared. Not here: files (tables) and the text of single
cells (cells). Pure; the options are described in export.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from functools import lru_cache
from typing import Any

import orjson

from pipelines.contracts import Attachment, Draft, Stream, short_hash
from pipelines.errors import RejectedMessage
from pipelines.sources import cells
from pipelines.sources.by_hand import Rules, plain
from pipelines.sources.formats import ENCODINGS, FORMATS
from pipelines.sources.headings import fold, loose
from pipelines.sources.mail_text import MAX_CHARS, clean
from pipelines.sources.options import Check
from pipelines.sources.tables import SEPARATORS, Layout

# What a column may fill, and the Draft's field where it is just text.
_PLAIN = {
    "author_ref": "author_ref", "author_name": "author_name", "contact_phone": "contact_phone",
    "contact_email": "contact_email", "sender_level": "sender_level", "conversation_ref": "conversation_ref",
    "source_url": "source_url", "external_ref": "external_ref", "address": "address_text",
    "kelurahan": "kelurahan_reported", "kecamatan": "kecamatan_reported", "kota": "kota_reported",
    "category": "category_reported", "agency": "agency_reported", "status": "status_reported",
}  # fmt: skip
_SPECIAL = (
    "id", "text", "title", "occurred_at", "edited_at", "point", "lat", "lon", "accuracy_m", "rt_rw", "private",
    "anonymous", "attachments", "photo_sha256", "photo_phash",
)  # fmt: skip
FIELDS = (*_SPECIAL, *_PLAIN)
# Who said what, when and where: with no id of its own, a row is these. What clerks add later is not
# among them, so that a status makes a new version and not a new report.
_SAID = (
    "text", "title", "occurred_at", "author_ref", "author_name", "contact_phone", "contact_email", "address",
    "rt_rw", "kelurahan", "kecamatan", "kota", "point", "lat", "lon",
)  # fmt: skip
_LEVELS = ("verified", "claimed", "anonymous")
_PRIVATE = (*cells.YES, "rahasia", "privat")
_JOINS = {"text": "\n", "address": ", ", "id": "|", "attachments": "\n"}
_OPTIONS = {
    "inbox", "pattern", "stale_hours", "settle_seconds", "batch_rows", "batch_bytes", "format", "encoding", "separator", "header_row",
    "sheets", "records", "records_key", "short_rows", "fill_down", "columns", "constants", "extra", "only", "optional", "dates",
    "time_zone", "decimal", "private_values", "empty_values", "unescape_html", "literal_newlines", "by_hand",
    "skip_sheets", "must_read",
}  # fmt: skip
_MUST, _BE_READ = "Kolom", "di baris ini kosong atau tidak bisa dibaca. Perbaiki di berkas asal, lalu kirim ulang."
_MUST_READ = {
    "occurred_at": 'Tanggal di baris ini kosong atau bukan tanggal (misalnya "kemarin"). Tulis tanggalnya, misalnya'
    ' 5/11/2026, atau "sda" kalau sama dengan baris di atasnya; lalu kirim ulang.',
}
_WHOLE = re.compile(r"(\d+)\.0+")
# 2.0261E+13: of 20261103000123 a spreadsheet has kept how long it was, and not which
_ROUNDED = re.compile(r"'?\d(?:[.,]\d+)?E\+\d{1,3}", re.IGNORECASE)
ROUNDED = (
    "Nomor laporan di baris ini sudah dibulatkan Excel (misalnya 2,03E+13), jadi tidak diketahui lagi nomornya. Ambil ekspor"
    " asli, atau ubah kolomnya menjadi Teks sebelum disimpan, lalu kirim ulang."
)
_NO_ZERO = re.compile(r"8\d{8,11}")


@dataclass(frozen=True, slots=True)
class Pick:
    """Where a field's text comes from. columns are folded; first: the first filled one, else all joined."""

    columns: tuple[str, ...]
    join: str = " "
    first: bool = False

    def of(self, row: Mapping[str, str]) -> str:
        if len(self.columns) == 1:
            return row.get(self.columns[0], "")
        found = [cell for column in self.columns if (cell := row.get(column))]
        if not found:
            return ""
        return found[0] if self.first or len(found) == 1 else self.join.join(found)


@dataclass(frozen=True, slots=True)
class Plan:
    """A stream's options, checked. fingerprint changes whenever files would be read in another way."""

    layout: Layout
    picks: Mapping[str, Pick]
    constants: Mapping[str, str]
    extra: tuple[tuple[str, str], ...]  # (folded, as declared)
    only: Mapping[str, frozenset[str]]
    dates: tuple[str, ...]
    zone: tzinfo
    comma: bool | None
    must_read: tuple[str, ...]
    private_values: tuple[str, ...]
    empty: frozenset[str]
    unescape: bool
    literal_newlines: bool
    inbox: str | None
    pattern: str
    settle_seconds: float
    batch_rows: int
    batch_bytes: int
    fingerprint: str = field(default="", compare=False)

    def wants(self, row: Mapping[str, str]) -> bool:
        """Whether a row (folded columns) belongs to this stream, by `only`."""
        return all(fold(row.get(column, "")) in values for column, values in self.only.items())

    def identity(self, row: Mapping[str, str]) -> tuple[str, str]:
        """(source_ref, version) of a row with folded columns.

        source_ref: the row's own id where it is whole, else a hash of who said what, when and where.
        version: a hash of all that is mapped, by field, so that neither the order nor the renaming of
        columns nor columns without meaning make a new version.
        """
        values = {name: text for name, pick in self.picks.items() if (text := pick.of(row).strip())}
        extra = [f"{name}={text}" for folded, name in self.extra if (text := row.get(folded, "").strip())]
        version = short_hash(*(f"{name}={values[name]}" for name in sorted(values)), *extra)
        if pick := self.picks.get("id"):
            parts = [row.get(column, "").strip().casefold() not in self.empty for column in pick.columns]
            if any(parts) if pick.first else all(parts):
                return _reference(values["id"]), version
        return "isi:" + short_hash(*(f"{name}={values[name]}" for name in _SAID if name in values)), version

    def is_rounded(self, row: Mapping[str, str]) -> bool:
        """Whether a row's own id is a number that a spreadsheet rounded: many rows then have the same."""
        columns = self.picks["id"].columns if "id" in self.picks else ()
        return any(_ROUNDED.fullmatch(row.get(column, "").strip()) for column in columns)

    def time(self, name: str, row: Mapping[str, str]) -> datetime | None:
        """occurred_at or edited_at, aware UTC; None where there is none to be read."""
        cell = self._cell(name, row)
        return self._moment(name, cell, row)[0] if cell else None

    def _moment(self, name: str, cell: str, row: Mapping[str, str]) -> tuple[datetime | None, bool]:
        """(time, whether all of it was read): of date and clock in two columns the date alone will do."""
        if (found := cells.moment(cell, formats=self.dates, zone=self.zone)) is not None:
            return found, True
        pick = self.picks.get(name)
        first = clean(row.get(pick.columns[0], "")).strip() if pick and not pick.first and len(pick.columns) > 1 else ""
        return cells.moment(first, formats=self.dates, zone=self.zone) if first else None, False

    def _cell(self, name: str, row: Mapping[str, str]) -> str:
        """A field's text, else its constant; empty where the cell says that it is."""
        pick = self.picks.get(name)
        given = pick.of(row) if pick else ""
        text = clean(given)[:MAX_CHARS].strip() if given else ""
        return text if text and text.casefold() not in self.empty else self.constants.get(name, "")

    def file_names(self, row: Mapping[str, str]) -> list[str]:
        """Names in the attachments' cell, but addresses."""
        files = cells.files(self._cell("attachments", row))
        return [f["name"] for f in files if "name" in f and "url" not in f]

    def draft(self, row: Mapping[str, str]) -> Draft:
        """What a row with folded columns means. Fields that hold something unreadable are named in
        extra["unread"]: what they hold may be personal, and stays in landing. RejectedMessage where one that
        must be read cannot be."""
        unread: list[str] = []
        plain = {target: self._cell(name, row) or None for name, target in _PLAIN.items()}
        draft = Draft(
            text=self._words("text", row),
            title=self._words("title", row) or None,
            occurred_at=self._occurred(row, unread),
            accuracy_m=self._read("accuracy_m", row, lambda c: cells.number(c, comma=self.comma), unread),
            private=cells.yes(self._cell("private", row), values=self.private_values),
            attachments=self._photos(row, unread),
            **plain,  # type: ignore[arg-type]
        )
        homes = self._read("rt_rw", row, cells.rt_rw, unread)
        draft.address_text = ", ".join(filter(None, (self._words("address", row), homes))) or None
        draft.category_reported = self._words("category", row) or None
        draft.agency_reported = self._words("agency", row) or None
        self._contacts(draft, unread)
        if cells.yes(self._cell("anonymous", row), values=self.private_values):
            draft.author_name = draft.contact_phone = draft.contact_email = None
            draft.sender_level = "anonymous"
        if place := self._point(row, unread):
            draft.lat, draft.lon = place
        draft.extra = {name: text for folded, name in self.extra if (text := clean(row.get(folded, "")).strip())}
        if unread:
            draft.extra["unread"] = unread
        for name in self.must_read:
            lost = name in unread if name != "occurred_at" else draft.occurred_at is None
            if lost or not self._cell(name, row):
                raise RejectedMessage(_MUST_READ.get(name, f"{_MUST} {self.picks[name].columns[0]} {_BE_READ}"))
        return draft

    def _occurred(self, row: Mapping[str, str], unread: list[str]) -> datetime | None:
        cell = self._cell("occurred_at", row)
        found, whole = self._moment("occurred_at", cell, row) if cell else (None, True)
        if not whole:
            unread.append("occurred_at")
        return found

    def _words(self, name: str, row: Mapping[str, str]) -> str:
        cell = self._cell(name, row)
        return cells.words(cell, unescape=self.unescape, literal_newlines=self.literal_newlines)

    def _read(self, name: str, row: Mapping[str, str], read: Callable[[str], Any], unread: list[str]) -> Any:
        cell = self._cell(name, row)
        found = read(cell) if cell else None
        if cell and found is None:
            unread.append(name)
        return found

    def _point(self, row: Mapping[str, str], unread: list[str]) -> tuple[float, float] | None:
        pair = self._cell("point", row)
        both = cells.pair(pair) if pair else (self._cell("lat", row), self._cell("lon", row))
        found = cells.point(*both, comma=self.comma) if both else None
        if found is None and (pair or (both and any(both))):
            unread.append("point")
        return found

    def _photos(self, row: Mapping[str, str], unread: list[str]) -> list[Attachment]:
        """The row's files; the first with the hashes that the source names. A hash is of a photo, whatever else the
        row says of photos."""
        files = [file.copy() for file in cells.files(self._cell("attachments", row))]
        digest = self._read("photo_sha256", row, lambda c: cells.digest(c, digits=64), unread)
        looks = self._read("photo_phash", row, cells.phash, unread)
        if digest or looks:
            first = files[0] if files else Attachment(type="photo")
            first |= {"sha256": digest} if digest else {}
            first |= {"phash": looks} if looks else {}
            first["elsewhere"] = True
            files[:1] = [first]
        return files

    def _contacts(self, draft: Draft, unread: list[str]) -> None:
        if draft.external_ref:
            draft.external_ref = _reference(draft.external_ref)
        for name in ("author_ref", "contact_phone"):
            value = (getattr(draft, name) or "").removeprefix("'").strip()
            if whole := _WHOLE.fullmatch(value):
                value = whole[1]
            if _ROUNDED.fullmatch(value):
                unread.append(name)
                value = ""
            if name == "contact_phone" and _NO_ZERO.fullmatch(value):
                value = f"0{value}"  # a spreadsheet takes 0812.. for a number and drops the zero
            setattr(draft, name, value or None)
        draft.author_ref = draft.author_ref or draft.contact_email or draft.contact_phone
        if draft.sender_level not in _LEVELS:
            draft.sender_level = None


def _reference(text: str) -> str:
    """An id as its owner writes it: no apostrophe of a spreadsheet, no .0 of a number column."""
    text = clean(text).strip().removeprefix("'").strip()
    if whole := _WHOLE.fullmatch(text):
        text = whole[1]
    return text if len(text) <= 200 else f"id:{short_hash(text)}"


def plan_of(stream: Stream) -> Plan:
    """The Plan of a stream. Raises SettingsError that names the stream and the option at fault."""
    return _plan(stream.key, orjson.dumps(dict(stream.options), default=str))


@lru_cache(maxsize=256)
def _plan(key: str, options: bytes) -> Plan:
    given: dict[str, Any] = orjson.loads(options)
    check = Check(key, given)
    check.known(given, _OPTIONS, "the stream")
    columns = check.table("columns")
    check.known(columns, set(FIELDS), "columns")
    picks = {name: _pick(check, name, value) for name, value in columns.items()}
    if not {"text", "title", "attachments"} & set(picks):
        raise check.wrong("columns must name at least the column of `text` (or of `title` or `attachments`)")
    constants = check.table("constants")
    check.known(constants, set(FIELDS) - {"id", "edited_at"}, "constants")
    extra = tuple((fold(name), name) for name in check.texts("extra"))
    only = {column: check.texts_of("only", value) for column, value in check.table("only").items()}
    optional = check.texts("optional")
    check.known(dict.fromkeys(optional), set(picks), "optional")
    declared = [c for name in picks if name not in optional for c in _declared(columns[name])]
    must_read = check.texts("must_read")
    check.known(dict.fromkeys(must_read), set(picks), "must_read")
    mapped = {c for p in picks.values() for c in p.columns}
    layout = Layout(
        required=(*dict.fromkeys(declared), *((column,) for column in only)),
        mapped=frozenset(mapped | {folded for folded, _ in extra} | set(map(fold, only))),
        format=check.choice("format", FORMATS),
        encoding=check.choice("encoding", ENCODINGS),
        separator=check.choice("separator", SEPARATORS),
        header_row=int(check.number("header_row", 0, 0, 10_000)) or None,
        sheets=tuple(check.texts("sheets")),
        records=tuple((check.text("records") or "").split(".")) if "records" in given else (),
        records_key=check.text("records_key"),
        short_rows=check.choice("short_rows", ("aside", "keep")) == "keep",
        fill_down=frozenset(map(fold, check.texts("fill_down"))),
        skip_sheets=frozenset(map(fold, check.texts("skip_sheets"))),
        hand=_rules(check, columns, check.texts("extra")) if "by_hand" in given else None,
    )
    return Plan(
        layout=layout,
        picks=picks,
        constants={name: _constant(value) for name, value in constants.items()},
        extra=extra,
        only={fold(column): frozenset(map(fold, values)) for column, values in only.items()},
        dates=tuple(check.texts("dates")),
        zone=check.zone(),
        comma={",": True, ".": False}.get(check.choice("decimal", (",", ".")) or ""),
        must_read=tuple(must_read),
        private_values=("true", *map(str.casefold, check.texts("private_values") or _PRIVATE)),  # true: a constant
        empty=frozenset(v.casefold() for v in (*cells.NOTHING, *cells.ERRORS, *check.texts("empty_values"))),
        unescape=check.flag("unescape_html"),
        literal_newlines=check.flag("literal_newlines"),
        inbox=check.text("inbox"),
        pattern=check.pattern(),
        settle_seconds=check.number("settle_seconds", 2, 0, 86_400),
        batch_rows=int(check.number("batch_rows", 2_000, 1, 10_000)),
        batch_bytes=int(check.number("batch_bytes", 8_000_000, 1, 64_000_000)),
        fingerprint=short_hash(orjson.dumps(given, option=orjson.OPT_SORT_KEYS).decode(), bits=60),
    )


def _rules(check: Check, columns: Mapping[str, Any], extra: Sequence[str]) -> Rules:
    """How a sheet that people fill in is read."""
    given = check.table("by_hand")
    check.known(given, {"also", "ditto", "examples", "totals"}, "by_hand")
    also = given.get("also", {})
    if not isinstance(also, dict):
        raise check.wrong("by_hand.also must be a table: column -> other headings")
    of = {name: frozenset(c for group in _declared(value) for c in group) for name, value in columns.items()}
    declared = (*dict.fromkeys(c for name in columns for c in of[name]), *extra)
    check.known(also, set(declared), "by_hand.also")
    names = {
        loose(heading): column for column, value in also.items() for heading in check.texts_of("by_hand.also", value)
    }
    words = {
        key: [plain(w) for w in check.texts_of(f"by_hand.{key}", given.get(key, []))] for key in given if key != "also"
    }
    return Rules(
        names=names | {loose(column): column for column in declared},
        text=of.get("text", frozenset()) | of.get("title", frozenset()),
        date=of.get("occurred_at", frozenset()),
        number=of.get("id", frozenset()),
        photo=next(iter(of.get("attachments", ())), None),
        ditto=frozenset(words.get("ditto", ())) | frozenset(given.get("ditto", ())),
        examples=frozenset(words.get("examples", ())),
        totals=tuple(words.get("totals", ())),
    )


def _constant(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _declared(value: Any) -> list[tuple[str, ...]]:
    """Groups of column names of which one each must be there."""
    if isinstance(value, dict):
        return [tuple(value["first"])] if "first" in value else [(c,) for c in value["columns"]]
    return [(value,)] if isinstance(value, str) else [(c,) for c in value]


def _pick(check: Check, name: str, value: Any) -> Pick:
    join = _JOINS.get(name, " ")
    if isinstance(value, dict):
        check.known(value, {"columns", "join", "first"}, f"columns.{name}")
        if ("first" in value) == ("columns" in value) or not isinstance(value.get("join", ""), str):
            raise check.wrong(f'columns.{name} must be {{first = [..]}} or {{columns = [..], join = ".."}}')
        names = check.texts_of(f"columns.{name}", value.get("first", value.get("columns")))
        return Pick(tuple(map(fold, names)), value.get("join", join), "first" in value)
    names = check.texts_of(f"columns.{name}", value)
    if not names:
        raise check.wrong(f"columns.{name} names no column")
    return Pick(tuple(map(fold, names)), join)
