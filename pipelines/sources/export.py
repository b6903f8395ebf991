"""Exports: files of another system, or sheets that an office fills in, put into an inbox folder.

In: the rows of CSV, XLSX, JSON, JSON lines, and ZIP of those; one Message each, its payload the row's
filled cells as text. A cell of `attachments` that names a file of the same ZIP brings that file along,
as does a picture that lies on a row of a sheet read by hand: they are kept by their hash. Which column
means what is declared here and nowhere else, so a new channel of files needs no code. Key: the row's own
id where `columns.id` is declared and filled, else a hash of who said what, when and where, so that two
rows alike in all of that are one message. The version is a hash of all mapped cells: a row that is
exported again unchanged comes back as a repeat, an edited one as a new version, and columns that are
moved or mean nothing change nothing. Later rows and, by name (2.csv before 10.csv), later files count as
newer; `columns.edited_at` says it better.

Reach: whatever lies in the inbox, subfolders included. Files are known by the SHA-256 of their content
and are never moved, changed or deleted; the same content under any name brings nothing. A link that
leads out of the inbox is not followed, and folders that cannot be entered are told. A file that is still
being written waits for the next pull. A pull that was cut off goes on at the row where it stood. A whole
file that could not be read is one message in quarantine, and is read again once the options of the
stream, or the file, have changed.

An id that a spreadsheet rounded (2.03E+13) names nothing: its row is set aside.

Limits: 1,000,000 characters a row, and 50,000 a cell once it is decoded; 16,384 columns; 1,000 tables
a ZIP, 4 GB unpacked, 200 times its size; no ZIP inside a ZIP; no password; no .xls. A row that must
be set aside keeps its payload, up to those limits. A header without rows is a file without reports,
and no fault. Cost: none; memory follows the largest row and a workbook's shared strings, not the file.

Options in kanal.toml ([[stream]]; give the tables last):
  inbox           folder of the files, relative to kanal.toml; without it only `kanal import` feeds it
  pattern         which files in it count ("*"); hidden and temporary ones never do
  settle_seconds  a file younger than this is still being written (2)
  format          csv, json or jsonl, where a text's look and ending would mislead
  encoding        utf-8, cp1252, latin-1, utf-16, utf-16-le, utf-16-be (UTF-16 where it shows, else UTF-8,
                  and what is not UTF-8 in it is cp1252)
  separator       of CSV: "," ";" "|" or a tab (the one that shows the declared columns)
  header_row      row of the column names (the first of 20 that has all declared columns)
  sheets          sheets of a workbook (all visible ones that have the columns)
  records         JSON: where the array stands, such as "data.reports" (the file is the array)
  records_key     JSON: the reports stand in an object by their keys; the column that a key becomes
  short_rows      "aside", or "keep" where an exporter leaves out empty cells at the end ("aside")
  skip_sheets     sheets that hold no reports, whatever their columns
  by_hand         table: how to read a sheet that people fill in; see by_hand.py
  must_read       fields without which, or with an unreadable one, a row is set aside
  fill_down       columns whose blank cells repeat the one above, as merged cells do
  only            table: column -> value or values; other rows are not this stream's
  optional        fields whose columns a file may lack
  dates           formats of strptime (ISO, or day first: 4/5/2026 19.12, 4 Mei 2026); Excel's day
                  numbers and Unix times are understood as well
  time_zone       of times that name none ("Asia/Jakarta")
  decimal         "," or "." (whichever the number has)
  private_values  what makes a report private (ya, y, yes, true, 1, ada, benar, x, v, rahasia, privat)
  empty_values    further words for nothing, besides -, null, nan, nihil and Excel's errors
  unescape_html   undo &amp; and <br> in texts (true)
  literal_newlines  a written-out \\n is a line end (true)
  extra           columns that travel along as they are; nothing personal, they are not masked
  constants       table: field -> what holds where its column says nothing
  columns         table: field -> its column; case and blanks do not count. A list joins several;
                  {first = [..]} takes the first filled one; {columns = [..], join = " - "} joins so.
                  Fields of a JSON object inside another are named "lokasi.lat"
  batch_rows, batch_bytes  most rows (2,000) and bytes (8,000,000) a batch
  stale_hours     after how long without a message the stream counts as silent (24)

Fields of `columns`:
  id              names the row for ever; several columns together if need be
  text, title     what was said; one of them, or attachments, must be there
  occurred_at     when it was said; date and time may stand in two columns
  edited_at       when this version was made
  external_ref    the CRM's own number
  author_ref      account or number of the author (the e-mail address or phone, where it is not there)
  author_name, contact_phone, contact_email, sender_level (verified, claimed, anonymous)
  address, kelurahan, kecamatan, kota
  rt_rw           RT and RW of the address, in whatever way they stand in one cell
  lat, lon        degrees, WGS84; or `point` with both; accuracy_m in metres
  category, agency, status   as the source names them
  private         see private_values
  anonymous       by the same words: name and contacts stay in landing, and the sender counts as anonymous
  attachments     addresses or names of files; or yes, no or a count of photos
  photo_sha256    SHA-256 of the first photo's bytes, 64 hex digits; photo_phash: its perceptual hash, 64 bits as
                  16 hex digits (pHash as ImageHash has it). Where the file came along, its bytes count instead
  conversation_ref, source_url
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

import orjson

from pipelines.contracts import Batch, Draft, Message, Stream, short_hash
from pipelines.errors import PermanentError, RejectedMessage, SettingsError, TransientError
from pipelines.sources import tables
from pipelines.sources.attached import described
from pipelines.sources.folder import File, files_in, shown
from pipelines.sources.headings import fold
from pipelines.sources.inbox import Book
from pipelines.sources.mail_text import clean
from pipelines.sources.mapping import ROUNDED, Plan, plan_of

VERSION = "1"
PAYLOAD_TYPE = "application/json"

log = logging.getLogger(__name__)

_HEAD = 65_536  # bytes of a file that lands whole in quarantine; the file itself stays where it is
_CHUNK = 1 << 20
_MEDIA = "_kanal_media"  # in a payload: name in the row's cells -> Attachment, as JSON; no sheet's column
_NO_CONTENT = (
    "Baris ini tidak berisi isi laporan, judul, ataupun lampiran. Lengkapi di berkas asalnya, lalu ekspor ulang."
)
_BROKEN = "Isi baris ini rusak dan tidak bisa dibaca. Ekspor ulang dari sistem asalnya."


def pull(stream: Stream, cursor: dict[str, Any] | None, *, now: Callable[[], datetime]) -> Iterator[Batch]:
    """Batches of the inbox's rows that have not landed, file by file in the order of their names.

    Raises SettingsError (options, no such folder) or, when all else is read, TransientError for
    files that could not be opened.
    """
    plan = plan_of(stream)
    if plan.inbox is None:
        return
    folder = Path(stream.root, plan.inbox)
    if not folder.is_dir():
        raise SettingsError(f"{stream.key}: inbox {folder} is not a folder")
    files, missed = files_in(folder, plan.pattern)
    yield from _read(stream, plan, cursor, files, now, settle=plan.settle_seconds, missed=missed)


def import_files(
    stream: Stream, cursor: dict[str, Any] | None, files: Sequence[Path], *, now: Callable[[], datetime]
) -> Iterator[Batch]:
    """Batches of the rows of these files that have not landed, in the order given.

    Raises SettingsError, or PermanentError where one is no file.
    """
    plan = plan_of(stream)
    if absent := [str(path) for path in files if not Path(path).is_file()]:
        raise PermanentError(f"{stream.key}: no file at {', '.join(absent)}; nothing was imported")
    yield from _read(stream, plan, cursor, [File(shown(Path(path).name), Path(path)) for path in files], now)


def check(stream: Stream) -> None:
    """SettingsError where the stream's options will not do."""
    plan_of(stream)


def decode(message: Message, stream: Stream) -> Draft:
    """A row -> Draft, by the options as they are now. Raises RejectedMessage where it says nothing."""
    if message.problem:
        raise RejectedMessage(message.problem, stage="pull")
    try:
        cells = orjson.loads(message.payload)
    except orjson.JSONDecodeError:
        cells = None
    if not isinstance(cells, dict) or not all(isinstance(cell, str) for cell in cells.values()):
        raise RejectedMessage(_BROKEN)
    found = _kept(cells.pop(_MEDIA, ""))
    draft = plan_of(stream).draft(_folded(cells))
    for file in draft.attachments:
        if "url" not in file and (kept := found.get(file.get("name", ""))):
            file.pop("elsewhere", None)  # what the bytes say counts, also where they say nothing of a phash
            file.pop("phash", None)
            file.update(kept)
    if not draft.text and not draft.title and not draft.attachments:
        raise RejectedMessage(_NO_CONTENT)
    return draft


# --- which files ----------------------------------------------------------------------------


def _digest(file: IO[bytes]) -> str:
    hashed = sha256()
    while chunk := file.read(_CHUNK):
        hashed.update(chunk)
    file.seek(0)
    return hashed.hexdigest()


def _mark(name: str, stat: os.stat_result) -> str:
    """Changes with every change of the file; spares reading it again to know that it is known."""
    return short_hash(name, str(stat.st_size), str(stat.st_mtime_ns), bits=60)


# --- rows -> batches ------------------------------------------------------------------------


class _Batcher:
    """Messages of a batch to be. Of two that tell of one item, the later is fetched later: loading
    orders by that."""

    def __init__(self, plan: Plan, now: Callable[[], datetime]) -> None:
        self._plan, self._now = plan, now
        self._last: datetime | None = None
        self.messages: list[Message] = []
        self._seen: set[str] = set()
        self._bytes = 0
        self._fetched = self._tick()

    def _tick(self) -> datetime:
        time = self._now()
        if self._last is not None:
            time = max(time, self._last + timedelta(microseconds=1))
        self._last = time
        return time

    def full(self, size: int) -> bool:
        """Whether one more message of that size would be too much."""
        many = len(self.messages) >= self._plan.batch_rows
        return bool(self.messages) and (many or self._bytes + size > self._plan.batch_bytes)

    def add(self, ref: str, version: str, payload: bytes, **rest: Any) -> None:
        if ref in self._seen:
            self._fetched = self._tick()
            self._seen.clear()
        self._seen.add(ref)
        self._bytes += len(payload) + sum(map(len, rest.get("media", ())))
        payload_type = rest.pop("payload_type", PAYLOAD_TYPE)
        self.messages.append(Message(ref, version, payload, payload_type, self._fetched, **rest))

    def take(self) -> list[Message]:
        messages, self.messages = self.messages, []
        self._seen.clear()
        self._bytes, self._fetched = 0, self._tick()
        return messages


def _read(
    stream: Stream,
    plan: Plan,
    cursor: dict[str, Any] | None,
    files: Iterable[File],
    now: Callable[[], datetime],
    *,
    settle: float = 0,
    missed: Sequence[str] = (),
) -> Iterator[Batch]:
    """settle: seconds a file must have lain still. missed: what could not even be listed."""
    book = Book(cursor or {}, short_hash(VERSION, plan.fingerprint, bits=60))
    batcher, missed = _Batcher(plan, now), [*missed]
    for file in files:
        try:
            with file.path.open("rb") as opened:
                yield from _read_file(file, opened, plan, book, batcher, now, settle)
        except FileNotFoundError:
            continue  # taken away since it was listed
        except OSError as error:
            missed.append(f"{file.name} ({error.strerror})")
    if batcher.messages or book.moved:
        yield Batch(batcher.take(), book.cursor())
    if missed:
        raise TransientError(f"{stream.key}: cannot read {', '.join(missed)}; check its rights and the disk")


def _read_file(
    file: File,
    opened: IO[bytes],
    plan: Plan,
    book: Book,
    batcher: _Batcher,
    now: Callable[[], datetime],
    settle: float,
) -> Iterator[Batch]:
    stat = os.fstat(opened.fileno())
    mark = _mark(file.name, stat)
    if book.knows_mark(mark):
        return
    # In the future counts as well: by the writer's clock it may be now.
    if abs(now().timestamp() - stat.st_mtime) < settle:
        log.warning("%s was changed less than %g s ago and waits for the next pull", file.path, settle)
        return
    digest = _digest(opened)
    if _mark(file.name, os.fstat(opened.fileno())) != mark or book.knows(digest, mark):
        return
    start, aside = book.position(digest), False
    for position, item in enumerate(tables.read(opened, file.name, plan.layout)):
        aside = aside or isinstance(item, tables.Aside)
        if position < start:
            continue
        made = _message_of(item, file, opened, digest, plan)
        if made:
            if batcher.full(len(made["payload"]) + sum(map(len, made.get("media", ())))):
                yield Batch(batcher.take(), book.cursor())
            batcher.add(**made)
        book.reached(digest, position + 1)
    if _mark(file.name, os.fstat(opened.fileno())) == mark:  # else what was read is not what was hashed
        book.finished(digest, mark, aside=aside)
    else:
        book.forget(digest)


def _message_of(
    item: tables.Row | tables.Aside, file: File, opened: IO[bytes], digest: str, plan: Plan
) -> dict[str, Any] | None:
    """What makes the message of an item; None for a row that is not this stream's."""
    origin = f"{file.name}, {item.place}" if item.place else file.name
    if isinstance(item, tables.Aside):
        head = os.pread(opened.fileno(), _HEAD, 0)
        ref = short_hash("file", digest, item.place)
        return {
            "ref": f"berkas:{ref}", "version": ref, "payload": head, "payload_type": "application/octet-stream",
            "origin": origin, "problem": item.reason,
        }  # fmt: skip
    if item.problem and not item.cells:
        raw = item.raw.encode("utf-8", "surrogateescape")
        ref = sha256(raw).hexdigest()[:32]
        return {
            "ref": f"rusak:{ref}", "version": ref, "payload": raw, "payload_type": "text/plain", "origin": origin,
            "problem": item.problem,
        }  # fmt: skip
    row = _folded(item.cells)
    if not plan.wants(row):
        return None
    problem = item.problem or (ROUNDED if plan.is_rounded(row) else None)
    media = {} if problem else _media(item, plan, row)
    found = {name: described(data, name) for name, data in media.items()}
    told = {_MEDIA: orjson.dumps(found).decode()} if found else {}
    payload = _payload({column: cell for column, cell in item.cells.items() if column != _MEDIA} | told)
    if problem:  # its cells may stand in the wrong columns: no id is to be had from them
        ref = sha256(payload).hexdigest()[:32]
        return {"ref": f"rusak:{ref}", "version": ref, "payload": payload, "origin": origin, "problem": problem}
    ref, version = plan.identity(row)
    return {
        "ref": ref, "version": version, "payload": payload, "origin": origin,
        "occurred_at": plan.time("occurred_at", row), "edited_at": plan.time("edited_at", row),
        "media": tuple(media.values()),
    }  # fmt: skip


def _kept(told: str) -> dict[str, Any]:
    """What pull found beside the row; nothing where a sheet of old had a column of that name."""
    try:
        found = orjson.loads(told)
    except orjson.JSONDecodeError:
        return {}
    files = found.items() if isinstance(found, dict) else ()
    return {name: file for name, file in files if isinstance(file, dict)}


def _media(row: tables.Row, plan: Plan, folded: dict[str, str]) -> dict[str, bytes]:
    """Name as in the cell -> bytes, of the files of the same ZIP, or pictures of the same sheet, that a row names."""
    found: dict[str, bytes] = {}
    for name in plan.file_names(folded) if row.beside else ():
        if data := next(filter(None, (beside.get(name) for beside in row.beside)), None):
            found[name] = data
    return found


def _payload(cells: dict[str, str]) -> bytes:
    try:
        return orjson.dumps(cells)
    except TypeError:  # half a surrogate pair, which JSON can spell and UTF-8 cannot
        return orjson.dumps({clean(column): clean(cell) for column, cell in cells.items()})


def _folded(cells: dict[str, str]) -> dict[str, str]:
    return {fold(column): cell for column, cell in cells.items()}
