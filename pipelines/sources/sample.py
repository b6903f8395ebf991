"""A file of which nothing is declared -> its tables: where each stands, its columns, its first rows.

What `kanal mapping new` looks at. The files themselves are read as an export stream reads them; only
what a stream would declare (which row is the header, where a JSON keeps its reports) is found here.

Belongs here: finding tables. Not here: what columns mean (columns, propose).
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import PurePosixPath
from typing import IO, Any
from zipfile import ZipFile

from pipelines.errors import PermanentError
from pipelines.sources import formats, json_items, workbook
from pipelines.sources.csv_rows import MAX_ROW, Record, Records
from pipelines.sources.headings import names_of
from pipelines.sources.mail_text import clean
from pipelines.sources.tables import SEPARATORS

ROWS = 2_000  # looked at of each table
_HEADER_WITHIN = 20
_MAX_JSON = 64_000_000  # bytes of a file whose array is looked for
_DEPTH = 4
_ODD = (*workbook.BOOK_ODD, workbook.Unreadable, json_items.BadJsonError, PermanentError)
_CANNOT = {
    "": "is no CSV, XLSX, JSON or ZIP", "empty": "is empty", "html": "is an HTML page: save it as XLSX in Excel",
    "ods": "is an OpenDocument: save it as XLSX", "xls": "is an old .xls: save it as XLSX",
    "locked": "is locked with a password", "zip": "is a ZIP inside a ZIP",
}  # fmt: skip


@dataclass(slots=True)
class Table:
    """place: sheet or member, "" for the file itself. options: what a stream must declare to read it.

    rows: the filled cells of the first ROWS rows, column -> text. notes: what was odd about the file.
    """

    place: str
    columns: list[str]
    rows: list[dict[str, str]]
    options: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def tables(file: IO[bytes], name: str, is_name: Callable[[str], bool]) -> list[Table]:
    """The tables of a file that can seek, those with most rows first.

    is_name: whether a text is a known name of a column. Raises PermanentError where there is none.
    """
    kind = formats.kind_of(file, name, None)
    try:
        if kind == "xlsx":
            found = _sheets(file, is_name)
        elif kind == "zip":
            found = _members(file, is_name)
        else:
            found = _text(file, name, kind, is_name)
    except workbook.Unreadable as error:
        raise PermanentError(f"{name}: cannot be read ({error})") from None
    except (*workbook.BOOK_ODD, json_items.BadJsonError) as error:
        raise PermanentError(f"{name}: is damaged or cut off ({type(error).__name__})") from None
    found = [table for table in found if table.rows]
    if not found:
        raise PermanentError(f"{name}: holds no table with a header and rows")
    return sorted(found, key=lambda table: -len(table.rows))


def _members(file: IO[bytes], is_name: Callable[[str], bool]) -> list[Table]:
    found, unread = [], []
    with ZipFile(file) as archive:
        if why := workbook.trouble(archive.infolist()):
            raise workbook.Unreadable(why)
        names = sorted(n for n in archive.namelist() if not (n.endswith("/") or formats.NO_TABLE.search(n)))
        for name in names[:20]:
            short = PurePosixPath(name).name
            try:
                inner = _member(archive, name, is_name)
            except _ODD as error:
                unread.append(f"{short} cannot be read ({error})")
                continue
            for table in inner:
                table.place = f"{short}, {table.place}" if table.place else short
            found += inner
    if not found and unread:
        raise PermanentError("; ".join(unread))
    for table in found:
        table.notes += unread
    return found


def _member(archive: ZipFile, name: str, is_name: Callable[[str], bool]) -> list[Table]:
    if workbook.is_packed_oddly(archive.getinfo(name)):
        raise workbook.Unreadable("packed in an unusual way")
    data, short = io.BytesIO(archive.open(name).read(_MAX_JSON)), PurePosixPath(name).name
    kind = formats.kind_of(data, short, None)
    return _sheets(data, is_name) if kind == "xlsx" else _text(data, short, kind, is_name)


def _sheets(file: IO[bytes], is_name: Callable[[str], bool]) -> list[Table]:
    found = []
    with workbook.opened(file) as book:
        for title in book.titles(()):
            table = _table(book.records(title), is_name)
            if table:
                table.place = title
                found.append(table)
    return found


def _text(file: IO[bytes], name: str, kind: str, is_name: Callable[[str], bool]) -> list[Table]:
    if kind not in formats.FORMATS:
        raise PermanentError(f"{name}: {_CANNOT[kind]}")
    text = formats.decoded(file, None)
    try:
        if kind == "csv":
            head = text.read(MAX_ROW)
            notes = _encoding(file)
            table = _delimited(head, is_name)
            found = [table] if table else []
        elif kind == "jsonl":
            notes, found = [], [_of_objects(json_items.lines(text), {})]
        else:
            notes, found = [], [_json(text)]
    finally:
        text.detach()
    for table in found:
        table.notes += notes
    return found


def _encoding(file: IO[bytes]) -> list[str]:
    file.seek(0)
    head = file.read(MAX_ROW)
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return ["the file is UTF-16"]
    try:
        head[:-4].decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 8:
            return ["not all of it is UTF-8: the rest is read as cp1252 (Windows); look at names with accents"]
    return []


def _delimited(head: str, is_name: Callable[[str], bool]) -> Table | None:
    if head.startswith("sep=") and "\n" in head:
        head = head.partition("\n")[2]

    def evenness(separator: str) -> tuple[int, int]:
        widths = [len(r.cells) for r in islice(Records(io.StringIO(head, newline=""), separator), 60) if r.cells]
        most = max(set(widths), key=lambda w: (widths.count(w), w), default=1)
        return (widths.count(most) if most > 1 else 0), most

    separator = max(SEPARATORS, key=evenness)
    table = _table(Records(io.StringIO(head, newline=""), separator), is_name)
    if table:
        table.notes.append(f"separator {separator!r}")
    return table


def _table(records: Iterable[Record], is_name: Callable[[str], bool]) -> Table | None:
    """The header is the row that has most names of columns, else most texts; the first of such."""
    rows = [record.cells for record in islice(records, ROWS + _HEADER_WITHIN)]

    def look(number: int) -> tuple[int, int, int]:
        cells = [c.strip() for c in rows[number] if c.strip()]
        labels = {c.casefold() for c in cells if len(c) < 60 and not c.replace(".", "").replace(",", "").isdigit()}
        return sum(map(is_name, labels)), len(labels), -number

    start = max(range(min(len(rows), _HEADER_WITHIN)), key=look, default=None)
    if start is None or not look(start)[1]:
        return None
    names = names_of(list(rows[start]))
    below = [
        {name: cell for name, cell in zip(names, cells, strict=False) if cell and not cell.isspace()}
        for cells in rows[start + 1 :]
    ]
    table = Table("", names, [row for row in below if row][:ROWS])
    if start:
        table.notes.append(f"the header is row {start + 1}")
    return table


def _json(text: Any) -> Table:
    """The longest list of objects in the file, or object of objects by their keys."""
    head = text.read(_MAX_JSON)
    try:
        value = json.loads(head)
    except (ValueError, RecursionError):
        if not head.lstrip("\ufeff \t\r\n").startswith("["):
            raise json_items.BadJsonError("") from None
        return _of_objects(json_items.objects(io.StringIO(head), ()), {})
    path, keyed = max(_lists(value, ()), key=lambda found: found[2], default=((), False, 0))[:2]
    options: dict[str, Any] = {"records": ".".join(path)} if path else {}
    if keyed:
        options["records_key"] = "key"
    return _of_objects(json_items.objects(io.StringIO(head), path, "key" if keyed else None), options)


def _lists(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], bool, int]]:
    """(path, whether by key, objects) of all that may be the reports."""
    if isinstance(value, list):
        if count := sum(isinstance(item, dict) for item in value):
            yield path, False, count
    elif isinstance(value, dict) and len(path) < _DEPTH:
        inner = [item for item in value.values() if isinstance(item, dict)]
        alike = [frozenset(item) for item in inner]
        if len(inner) == len(value) >= 2 and len(set(alike)) <= len(alike) / 2 + 1 and any(map(str.isdigit, value)):
            yield path, True, len(inner)
            return
        for name, item in value.items():
            if "." not in name:
                yield from _lists(item, (*path, name))


def _of_objects(items: Iterator[json_items.Item], options: dict[str, Any]) -> Table:
    rows: list[dict[str, str]] = []  # names cleaned: half a surrogate pair can be declared nowhere
    with suppress(json_items.BadJsonError):  # the head of a longer file
        rows.extend(json_items.flat(item.value) for item in islice(items, ROWS) if item.value)
    filled = [{clean(name): clean(cell) for name, cell in row.items() if cell.strip()} for row in rows]
    names = dict.fromkeys(name for row in filled for name in row)
    return Table("", list(names), filled, options)
