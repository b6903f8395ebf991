"""What officers did: the status events that the CRM writes into its store.

In: rows of the table `status_events`, one Message each, in the order of their numbers. Key: the
event's number, padded so that its text sorts as it counts. Reach: everything since event 0; the
cursor is the last number read. The table is only ever read. A store or table that is not there yet
brings nothing. Limits: a row changed after it was read is not read again; the CRM corrects itself
by another event. Cost: none. In PostgreSQL a read waits up to five seconds for writers that are in
the middle of an event, so that no number committed late is passed over.

Options (the flow sets them from [crm] in kanal.toml):
  database  the CRM's DuckDB file, opened read-only for as long as one batch takes
  url_env   environment variable with the URL of the CRM's PostgreSQL, used instead
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import orjson
import psycopg
from psycopg import errors as pg

from pipelines.contracts import STATUSES, Batch, Draft, Message, Stream, short_hash
from pipelines.errors import KanalError, PermanentError, RejectedMessage, SettingsError, TransientError
from pipelines.settings import secret
from pipelines.sources.cells import record, stamp, word

VERSION = "1"
PAYLOAD_TYPE = "application/vnd.kanal.status-event+json"

_BATCH = 1000
_COLUMNS = (
    *("event_no", "ticket_id", "status", "category", "agency_id", "unit"),
    *("kelurahan_code", "note", "actor", "happened_at"),
)
_NAMES = ", ".join(_COLUMNS[:-1])
# happened_at is read as a number or a text: an infinite time would make the driver refuse the whole batch.
_FROM_DUCKDB = (
    f"SELECT {_NAMES}, epoch_us(happened_at) FROM status_events WHERE event_no > ? ORDER BY event_no LIMIT {_BATCH}"
)
_FROM_POSTGRES = (
    f"SELECT {_NAMES}, happened_at::text FROM status_events WHERE event_no > %s ORDER BY event_no LIMIT {_BATCH}"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_KELURAHAN = re.compile(r"\d\d\.\d\d\.\d\d\.\d{4}")

Row = tuple[Any, ...]


def pull(stream: Stream, cursor: dict[str, Any] | None, *, now: Callable[[], datetime]) -> Iterator[Batch]:
    """A Batch for each 1,000 events behind the cursor {"event_no": last number read}.

    Raises TransientError (store busy or away), SettingsError or PermanentError (no such store, or
    a table without the columns agreed on).
    """
    read = _reader(stream)
    last = int((cursor or {}).get("event_no", -1))
    while rows := read(last):
        fetched = now()
        last = rows[-1][0]
        yield Batch([_message(row, fetched) for row in rows], {"event_no": last})
        if len(rows) < _BATCH:
            return


def decode(message: Message, stream: Stream) -> Draft:
    """Never a report: raises RejectedMessage. `event` says what a status event means."""
    raise RejectedMessage("Ini catatan status dari CRM, bukan laporan warga. Tidak perlu ditindaklanjuti.")


def event(message: Message) -> dict[str, Any]:
    """A landed status event -> what happened to which ticket.

    Returns ticket_id (text), happened_at (aware UTC) and status (one of contracts.STATUSES), category,
    agency_id, unit, kelurahan_code, note, actor, each text or None. Raises RejectedMessage where
    the CRM wrote something that cannot be applied.
    """
    if message.problem:
        raise RejectedMessage(message.problem, stage="pull")
    row = record(message.payload)
    if row is None:
        raise _rejected("isinya rusak dan tidak bisa dibaca. Minta admin CRM mengirim ulang kejadian ini")
    found: dict[str, Any] = {name: word(row.get(name)) for name in _COLUMNS[1:-1]}
    if not found["ticket_id"]:
        raise _rejected("nomor tiketnya kosong. Minta admin CRM mengisi ticket_id")
    found["status"] = _status(found["status"])
    code = found["kelurahan_code"]
    if code and not _KELURAHAN.fullmatch(code):
        raise _rejected(
            f"kode kelurahan {_shown(code)} bukan kode Kemendagri (contoh 31.74.07.1005). Minta admin CRM memperbaikinya"
        )
    found["happened_at"] = _time(row.get("happened_at"))
    if not any(found[name] for name in ("status", "category", "agency_id", "unit", "kelurahan_code", "note")):
        raise _rejected("tidak ada yang diubah. Minta admin CRM mengisi status, kategori, dinas, wilayah atau catatan")
    return found


def _rejected(why: str) -> RejectedMessage:
    return RejectedMessage(f"Kejadian dari CRM ini tidak bisa dipakai: {why}.", stage="event")


def _status(label: str | None) -> str | None:
    """A status in any spelling of blanks and capitals -> ours."""
    if label is None:
        return None
    folded = "_".join(label.lower().split())
    if folded not in STATUSES:
        raise _rejected(f"status {_shown(label)} tidak dikenal. Yang dikenal: {', '.join(STATUSES)}")
    return folded


def _time(value: Any) -> datetime:
    if at := stamp(value):
        return at
    raise _rejected(
        "waktunya kosong atau tidak terbaca. Minta admin CRM mengisi kolom happened_at dengan tanggal dan jam"
    )


def _shown(value: str) -> str:
    return f'"{value[:40]}"'


def _message(row: Row, fetched: datetime) -> Message:
    fields = dict(zip(_COLUMNS, row, strict=True))
    payload = orjson.dumps(fields)
    try:
        at = _time(fields["happened_at"])
    except RejectedMessage:  # `event` will say so
        at = None
    # Padded: messages read in one go are applied in the order of this text.
    return Message(
        f"{fields['event_no']:019d}",
        short_hash(payload.decode()),
        payload,
        PAYLOAD_TYPE,
        fetched,
        occurred_at=at,
        origin=f"status_events {fields['event_no']}",
    )


def _reader(stream: Stream) -> Callable[[int], list[Row]]:
    """Reads up to _BATCH rows behind a number; connected only while it does."""
    name, database = stream.options.get("url_env"), stream.options.get("database")
    if name:
        url = secret(name, what=f"{stream.key}: URL of the CRM store")
        return lambda last: _from_postgres(stream.key, url, last)
    if not isinstance(database, str) or not database:
        raise SettingsError(f"{stream.key}: set `database`, the CRM's DuckDB file, or `url_env`")
    path = Path(stream.root, database)
    return lambda last: _from_duckdb(stream.key, path, last)


def _from_duckdb(key: str, path: Path, last: int) -> list[Row]:
    if not path.exists():
        return []
    try:
        con = duckdb.connect(str(path), read_only=True)
        try:
            rows = con.execute(_FROM_DUCKDB, [last]).fetchall()
        finally:
            con.close()
    except duckdb.CatalogException:  # no table: nothing was delivered yet
        return []
    except duckdb.BinderException:
        raise _other_columns(key, str(path)) from None
    except duckdb.ConnectionException as error:
        raise TransientError(f"{key}: {path} is being written by this process; the next pull tries again") from error
    except duckdb.IOException as error:
        if "lock" in str(error).lower():
            raise TransientError(f"{key}: {path} is open in another program; the next pull tries again") from error
        raise PermanentError(f"{key}: {path} cannot be read as a DuckDB file; restore it from its backup") from error
    return [(*row[:-1], _iso(row[-1])) for row in rows]


def _iso(micros: int | None) -> str | None:
    try:
        return None if micros is None else (_EPOCH + timedelta(microseconds=micros)).isoformat()
    except OverflowError:  # infinity, or a year past 9999
        return None


def _from_postgres(key: str, url: str, last: int) -> list[Row]:
    """Like _from_duckdb. Errors are raised outside the handlers: the driver's may repeat the URL."""
    failure: KanalError
    try:
        with psycopg.connect(
            url, connect_timeout=10, application_name="kanal", options="-c TimeZone=UTC -c DateStyle=ISO"
        ) as con:
            con.execute("SET LOCAL lock_timeout = '5s'")
            con.execute("SET LOCAL statement_timeout = '30s'")
            # An event may be numbered first and committed last. SHARE waits until those under way
            # are done, so every number up to the highest one seen is there or never will be.
            con.execute("LOCK TABLE status_events IN SHARE MODE")
            return con.execute(_FROM_POSTGRES, [last]).fetchall()
    except pg.UndefinedTable:
        return []
    except pg.UndefinedColumn:
        failure = _other_columns(key, "PostgreSQL")
    except pg.InsufficientPrivilege:
        failure = PermanentError(
            f"{key}: the CRM store's role may not read or lock status_events; GRANT SELECT, UPDATE on it"
        )
    except (pg.LockNotAvailable, pg.QueryCanceled):
        failure = TransientError(f"{key}: the CRM is busy writing status_events; the next pull tries again")
    except psycopg.OperationalError as error:
        failure = TransientError(
            f"{key}: the CRM's PostgreSQL cannot be reached ({type(error).__name__}); check the URL and the server"
        )
    except psycopg.ProgrammingError as error:
        failure = SettingsError(
            f"{key}: the variable that url_env names holds no usable PostgreSQL URL ({type(error).__name__})"
        )
    except psycopg.Error as error:
        failure = PermanentError(f"{key}: PostgreSQL refused to read status_events ({error.sqlstate})")
    raise failure


def _other_columns(key: str, where: str) -> PermanentError:
    return PermanentError(f"{key}: status_events in {where} lacks a column; it must have {', '.join(_COLUMNS)}")
