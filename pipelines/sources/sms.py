"""SMS: the inbox of a Gammu SMSD gateway, from its database (SQLite, PostgreSQL), its files, or CSV exports.

In: every SMS of the inbox, one Message each, the parts of a long one together; the payload is its
rows with all their columns, as they stand. The inbox is only ever read: `Processed` is for its
other readers. Key: hash of the first row's ID, sender, time and text; a version changes only with
what the SMS says. Reach: what the inbox still holds. The cursor is the newest rows read and the rows
of messages that are not whole; where none of the newest is there any more as it was (the table was
emptied or made anew, and IDs may begin again), the inbox is read from its first row, and what is
known comes back as repeats. Cost: none.

A message with a missing part waits, then lands and stands in quarantine; a part that comes later, for
three days, makes it whole and a report. Limits: schemas 17 and 18 of Gammu. A part that the network
delivers twice counts once. Files are read whole, so they are for some 100,000 SMS.

Options in kanal.toml, the first four instead of each other:
  database                the SQLite file that Gammu SMSD writes
  url_env                 environment variable with the URL of the PostgreSQL it writes to; a role that may SELECT
                          from inbox and gammu is enough
  detail_dir              the inboxpath of its files backend, with inboxformat = detail
  csv_dir                 folder of *.csv exports of the table inbox: first line the names of the columns. Put
                          files there by renaming, so that none is read half-written
  time_zone               zone of the gateway's clock; Gammu writes its local time ("Asia/Jakarta")
  multipart_wait_seconds  how long after its last part a message waits for those that are missing (660,
                          a minute more than Gammu's own MultipartTimeout)
  codes                   first words that call an office: a set of models/sms_codes.toml ("lapor_1708"), or
                          {WORD = "office"}; sets agency_reported and leaves the text as it is
  spam_senders            senders whose SMS are advertising, as Gammu writes them (["TELKOMSEL"])
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import orjson

from pipelines.contracts import Batch, Draft, Message, Stream, short_hash
from pipelines.errors import FilteredMessage, RejectedMessage, SettingsError, TransientError
from pipelines.sources.http import number_of
from pipelines.sources.sms_files import KINDS, Kind, NotAnInbox
from pipelines.sources.sms_head import codes_of, draft_of
from pipelines.sources.sms_inbox import Inbox, open_inbox
from pipelines.sources.sms_parts import (
    COLUMNS,
    Row,
    Sms,
    assemble,
    cell,
    incomplete,
    missing_of,
    part_of,
    row_of,
    text_of,
)

VERSION = "1"
PAYLOAD_TYPE = "application/json"

log = logging.getLogger(__name__)

_CHUNK = 500  # rows a batch
_RECENT = 100  # newest rows that are read again, for one numbered first and committed last
_OPEN_ROWS = 500  # rows of messages that wait for a part; more make the oldest land as they are
_LATE = timedelta(days=3)  # networks give up on an SMS after one to three days
_WAIT_SECONDS = 660
_USSD = "127"  # Class of the network's answers to codes like *888#


class _Options(NamedTuple):
    zone: ZoneInfo
    wait: timedelta


def pull(stream: Stream, cursor: dict[str, Any] | None, *, now: Callable[[], datetime]) -> Iterator[Batch]:
    """A Batch for each 500 rows of the inbox that are new, in the order of their IDs.

    Raises TransientError (the database is locked or away), SettingsError or PermanentError (no such file,
    not a Gammu database, another schema).
    """
    options = _options(stream)
    way = _way_of(stream)
    if way in KINDS:
        folder = Path(stream.root, stream.options[way])
        if not folder.is_dir():
            raise SettingsError(f"{stream.key}: {way} {folder} is not a folder")
        yield from _from_files(stream.key, KINDS[way], folder, cursor or {}, options, now)
        return
    with closing(open_inbox(stream)) as inbox:
        yield from _from_inbox(stream.key, inbox, cursor or {}, options, now)


def probe(stream: Stream, *, now: Callable[[], datetime]) -> str:
    """Open the database, read-only; its schema and what it holds. Raises what `pull` would."""
    if _way_of(stream) in KINDS:
        return "reads files; no gateway is asked"
    with closing(open_inbox(stream)) as inbox:
        return "the database opens; schema {}, {:,} SMS in the inbox, newest ID {}".format(*inbox.told())


def _way_of(stream: Stream) -> str:
    """The option that says where the inbox is. Raises SettingsError unless there is exactly one."""
    ways = [way for way in ("database", "url_env", *KINDS) if way in stream.options]
    if len(ways) == 1 and isinstance(stream.options[ways[0]], str) and stream.options[ways[0]]:
        return ways[0]
    raise SettingsError(
        f"{stream.key}: set one of `database`, Gammu's SQLite file, `url_env`, the variable with the URL of its"
        " PostgreSQL, `detail_dir`, its files, or `csv_dir`"
    )


def decode(message: Message, stream: Stream) -> Draft:
    """An SMS -> Draft. Raises RejectedMessage (unreadable, incomplete, data) or FilteredMessage."""
    if message.problem:
        raise RejectedMessage(message.problem, stage="pull")
    rows = _rows(message.payload)
    if cell(rows[0], "Class") == _USSD:
        raise FilteredMessage("auto_reply", "the network's answer to a USSD code")
    extra = {
        "recipient": cell(rows[0], "RecipientID"),
        "parts": len(rows) if len(rows) > 1 else None,
        "flash": cell(rows[0], "Class") == "0",
    }
    return draft_of(message, stream, sender=cell(rows[0], "SenderNumber"), text=text_of(rows), extra=extra)


def _rows(payload: bytes) -> list[dict[str, Any]]:
    """The rows of a payload, in reading order and none missing. Raises RejectedMessage."""
    try:
        rows = orjson.loads(payload)["rows"]
    except (orjson.JSONDecodeError, TypeError, KeyError):
        rows = None
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise RejectedMessage("Isi SMS rusak dan tidak bisa dibaca. Ambil ulang dari gateway SMS.")
    if any(row.get(name) is None for row in rows for name in COLUMNS):
        raise RejectedMessage("Baris SMS ini terpotong: ada kolom yang hilang. Ekspor ulang tabel inbox Gammu.")
    try:
        parts = [part_of(cell(row, "UDH")) for row in rows]
    except ValueError:  # text_of says so
        return rows
    if missing := missing_of(parts):
        raise RejectedMessage(incomplete(len(parts) + len(missing), missing))
    return rows


def _message(sms: Sms, fetched: datetime, where: str) -> Message:
    first, rows = sms.first, sms.rows
    said = (cell(row.cells, name) for row in rows for name in ("Coding", "UDH", "Text", "Class", "Status"))
    missing = missing_of([row.part for row in rows])
    return Message(
        source_ref=short_hash(cell(first.cells, "ID"), first.mark),
        version=short_hash(*said),
        payload=orjson.dumps({"rows": [row.cells for row in rows]}, default=_blob),
        payload_type=PAYLOAD_TYPE,
        fetched_at=fetched,
        occurred_at=sms.at,
        origin=f"{where} {','.join(cell(row.cells, 'ID') for row in rows)}",
        problem=incomplete(sms.total, missing) if missing else None,
    )


def _blob(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


def _options(stream: Stream) -> _Options:
    name, spam = stream.options.get("time_zone", "Asia/Jakarta"), stream.options.get("spam_senders", [])
    if not isinstance(spam, list) or not all(isinstance(sender, str) and sender for sender in spam):
        raise SettingsError(f'{stream.key}: spam_senders must be a list of senders, as ["TELKOMSEL"]')
    codes_of(stream)
    try:
        zone = ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, TypeError, OSError):
        raise SettingsError(f"{stream.key}: time_zone must name a zone, as Asia/Jakarta, not {name!r}") from None
    wait = number_of(stream, "multipart_wait_seconds", _WAIT_SECONDS, 0, 86_400)
    return _Options(zone, timedelta(seconds=wait))


def _due(sms: Sms, wait: timedelta, clock: datetime) -> bool:
    """Its wait is over, or the gateway's clock is so far off that waiting means nothing."""
    return sms.complete or sms.newest is None or abs(clock - sms.newest) >= wait


# --- the database ---------------------------------------------------------------------------


def _from_inbox(
    key: str, inbox: Inbox, cursor: Mapping[str, Any], options: _Options, now: Callable[[], datetime]
) -> Iterator[Batch]:
    """The cursor is `recent`, the newest IDs read with their rows' marks, and `open`, the IDs of
    messages that may still get a part, each with whether it is in a landed message."""

    def behind(last: int) -> list[Row]:
        return [row_of(cells, options.zone) for cells in inbox.behind(last, _CHUNK)]

    recent = {int(number): mark for number, mark in cursor.get("recent", {}).items()}
    # As long as fewer are known all are, and one that commits late may be numbered before the first of them
    chunk = behind(min(recent) - 1 if len(recent) >= _RECENT else -1)
    carried: list[Row] = []
    if recent and not _continues(chunk, recent):
        log.warning("%s: the inbox is not the one read before; reading it again from its first row", key)
        recent, chunk = {}, behind(-1)
    else:
        carried = _reopened(inbox, cursor.get("open", {}), options.zone)
    last = dict(cursor)
    while True:
        end = len(chunk) < _CHUNK
        fresh = [row for row in chunk if row.id not in recent]
        found = assemble(sorted([*carried, *fresh], key=lambda row: row.id))
        known = sorted([*recent.items(), *((row.id, row.mark) for row in fresh)])
        recent = dict(known[-_RECENT:])
        ready, carried = _settle(found, recent, options.wait, now() if end else None)
        state = {
            "recent": {str(number): mark for number, mark in recent.items()},
            "open": {str(row.id): row.landed for row in carried},
        }
        if ready or (state != last and known):
            yield Batch([_message(sms, now(), "inbox") for sms in ready], state)
        if end:
            return
        last, chunk = state, behind(chunk[-1].id)


def _continues(chunk: Sequence[Row], recent: Mapping[int, str]) -> bool:
    """Whether rows read before are still there, and none is another one now."""
    same = [row.mark == recent[row.id] for row in chunk if row.id in recent]
    return any(same) and all(same)


def _reopened(inbox: Inbox, opened: Mapping[str, bool], zone: ZoneInfo) -> list[Row]:
    """The rows of messages that waited for a part when the last batch landed."""
    found = inbox.among([int(number) for number in opened]) if opened else []
    rows = [row_of(cells, zone) for cells in found]
    for row in rows:
        row.landed = opened[str(row.id)]
    return rows


def _settle(
    found: Sequence[Sms], recent: Mapping[int, str], wait: timedelta, clock: datetime | None
) -> tuple[list[Sms], list[Row]]:
    """(messages to land now, rows to keep in sight), which are marked as landed where they are.

    clock: None while there are more rows to read, when a missing part may be among them. Messages
    that are whole stay in sight for as long as their rows are read again, so that a part delivered
    twice is known.
    """
    ready: list[Sms] = []
    kept: list[Row] = []
    for sms in sorted(found, key=lambda sms: max(row.id for row in sms.parts.values()), reverse=True):
        if sms.complete:
            keep = sms.total > 1 and any(row.id in recent for row in sms.parts.values())
        else:
            keep = clock is None or sms.newest is None or abs(clock - sms.newest) <= _LATE
        keep = keep and len(kept) + len(sms.parts) <= _OPEN_ROWS
        if not sms.landed and (not keep or sms.complete or (clock is not None and _due(sms, wait, clock))):
            ready.append(sms)
            for row in sms.parts.values():
                row.landed = True
        if keep:
            kept += sms.parts.values()
    return sorted(ready, key=lambda sms: sms.first.id), sorted(kept, key=lambda row: row.id)


# --- files ----------------------------------------------------------------------------------


def _from_files(
    key: str,
    kind: Kind,
    folder: Path,
    cursor: Mapping[str, Any],
    options: _Options,
    now: Callable[[], datetime],
) -> Iterator[Batch]:
    """The cursor is `done`, hashes of the files read, and `held`, rows of messages that wait for a part.

    All files are read together, because a message may begin in one and end in the next.
    """
    done, held = set(cursor.get("done", ())), set(cursor.get("held", ()))
    files: dict[str, tuple[str, bytes]] = {}
    for path in sorted(folder.rglob(kind.pattern), key=lambda p: p.relative_to(folder).as_posix()):
        try:
            data = path.read_bytes()
        except OSError as error:
            raise TransientError(f"{key}: cannot read {path} ({error.strerror})") from error
        files.setdefault(sha256(data).hexdigest()[:32], (path.relative_to(folder).as_posix(), data))
    if done >= set(files) and not held:
        return
    messages: list[Message] = []
    rows: dict[str, Row] = {}
    for digest, (name, data) in files.items():
        try:
            for cells in kind.rows(name, data):
                row = row_of(cells, options.zone)
                seen = f"{row.id}.{row.mark}"
                row.landed = (digest in done and seen not in held) or (seen in rows and rows[seen].landed)
                rows[seen] = row
        except NotAnInbox as problem:
            if digest not in done:
                messages.append(_unreadable(kind, name, data, digest, str(problem), now()))
    found = assemble(sorted(rows.values(), key=lambda row: (row.id, row.mark)))
    waiting = [sms for sms in found if not sms.landed and not _due(sms, options.wait, now())]
    ready = [sms for sms in found if not sms.landed and _due(sms, options.wait, now())]
    messages += [_message(sms, now(), "inbox") for sms in ready]
    state = {
        "done": sorted(done | set(files)),
        "held": sorted(f"{row.id}.{row.mark}" for sms in waiting for row in sms.rows),
    }
    while len(messages) > _CHUNK:  # only the last batch says that the files are done
        yield Batch(messages[:_CHUNK], dict(cursor))
        messages = messages[_CHUNK:]
    if messages or state != cursor:
        yield Batch(messages, state)


def _unreadable(kind: Kind, name: str, data: bytes, digest: str, why: str, fetched: datetime) -> Message:
    problem = f"Berkas {name} {why}. {kind.advice}"
    return Message(f"file:{digest}", digest, data, kind.media_type, fetched, origin=name, problem=problem)
