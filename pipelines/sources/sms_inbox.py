"""The table `inbox` of Gammu SMSD, in SQLite or PostgreSQL, read-only: connecting, reading, and clear errors.

Both give rows as cells by column name, timestamps as Gammu writes them, so that a gateway whose tables move
from one to the other brings the same messages. Not here: what rows mean (sms_parts.py), which are new (sms.py).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from pipelines.contracts import Stream
from pipelines.errors import KanalError, PermanentError, SettingsError, TransientError
from pipelines.settings import secret
from pipelines.sources.sms_parts import COLUMNS

if TYPE_CHECKING:
    import psycopg

T = TypeVar("T")
Cells = Mapping[str, Any]

_SCHEMAS = (17, 18)
_BUSY_SECONDS = 5.0
# SQLite's reasons that pass by themselves: somebody writes, or a crashed writer must clean up first.
_PASSING = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_PROTOCOL", "SQLITE_READONLY", "SQLITE_IOERR")
_WAIT = 60.0


class Inbox(Protocol):
    """An inbox of a schema we know. Every method may raise TransientError or PermanentError."""

    def behind(self, last: int, most: int) -> list[Cells]:
        """Rows whose ID is greater than `last`, by ID, at most so many."""

    def among(self, ids: Sequence[int]) -> list[Cells]:
        """The rows with these IDs that are still there."""

    def told(self) -> tuple[int, int, int | None]:
        """(schema, rows, newest ID)."""

    def close(self) -> None: ...


def open_inbox(stream: Stream) -> Inbox:
    """The inbox that `database` or `url_env` names. Raises SettingsError, TransientError or PermanentError."""
    if "url_env" in stream.options:
        return _Postgres(stream)
    return _Sqlite(stream.key, Path(stream.root, str(stream.options["database"])))


def _fit(where: str, versions: Sequence[Any], columns: set[str], advice: str) -> PermanentError | None:
    """Why an inbox will not do; None where it will."""
    lacking = sorted(set(COLUMNS) - columns)
    if versions and versions[-1] in _SCHEMAS and not lacking:
        return None
    return PermanentError(
        f"{where} has schema {versions[-1] if versions else 'none'} of Gammu SMSD"
        f"{' without ' + ', '.join(lacking) if lacking else ''}; Kanal reads 17 and 18. {advice}"
    )


# --- SQLite ---------------------------------------------------------------------------------


class _Sqlite:
    def __init__(self, key: str, path: Path) -> None:
        self._key, self._path = key, path
        if not path.is_file():
            raise PermanentError(
                f"{key}: there is no database {path}; check the option database, and that Gammu SMSD runs"
            )
        con = None
        try:
            con = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_BUSY_SECONDS)
            con.text_factory = lambda data: data.decode("utf-8", "replace")
            tables = {name for (name,) in con.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if not {"gammu", "inbox"} <= tables:
                raise PermanentError(
                    f"{key}: {path} is no Gammu SMSD database (it has no tables gammu and inbox);"
                    " check the option database"
                )
            versions = [version for (version,) in con.execute("SELECT Version FROM gammu")]
            # An ID that is the table's key is a whole number and rises; any other could lead us in circles.
            described = con.execute("PRAGMA table_info(inbox)").fetchall()
            columns = {name for _, name, kind, _, _, key in described if name != "ID" or (key and kind == "INTEGER")}
        except (sqlite3.Error, UnicodeDecodeError, KanalError) as error:  # sqlite3 decodes names by itself
            if con is not None:
                con.close()
            raise self._failure(error) from None
        advice = "Bring Gammu and its database up to date, or export the inbox and set csv_dir"
        if unfit := _fit(f"{key}: {path}", versions, columns, advice):
            con.close()
            raise unfit
        self._con = con

    def behind(self, last: int, most: int) -> list[Cells]:
        return self._read("SELECT * FROM inbox WHERE ID > ? ORDER BY ID LIMIT ?", last, most)

    def among(self, ids: Sequence[int]) -> list[Cells]:
        return self._read(f"SELECT * FROM inbox WHERE ID IN ({','.join('?' * len(ids))})", *ids)

    def told(self) -> tuple[int, int, int | None]:
        [row] = self._read(
            "SELECT (SELECT max(Version) FROM gammu) AS version, count(*) AS rows, max(ID) AS id FROM inbox"
        )
        return row["version"], row["rows"], row["id"]

    def _read(self, statement: str, *values: int) -> list[Cells]:
        """All fetched, because a lock left open would keep SMSD from writing."""
        try:
            answer = self._con.execute(statement, values)
            names = [column[0] for column in answer.description]
            return [dict(zip(names, row, strict=True)) for row in answer.fetchall()]
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise self._failure(error) from None

    def _failure(self, error: Exception) -> KanalError:
        if isinstance(error, KanalError):
            return error
        key, path = self._key, self._path
        name = str(getattr(error, "sqlite_errorname", type(error).__name__))
        if name.startswith(_PASSING):
            return TransientError(f"{key}: {path} is busy ({name}); the next pull tries again")
        if name.startswith("SQLITE_CANTOPEN"):
            return PermanentError(f"{key}: {path} cannot be opened; let Kanal's account read the file and its folder")
        return PermanentError(
            f"{key}: {path} cannot be read as an SQLite database ({name}); check the option database, or restore the"
            " file from its backup"
        )

    def close(self) -> None:
        self._con.close()


# --- PostgreSQL -----------------------------------------------------------------------------

_GRANT = "let its role read: GRANT SELECT ON inbox, gammu TO that role"


class _Postgres:
    def __init__(self, stream: Stream) -> None:
        self._key = stream.key
        connected = _connected(stream)
        if isinstance(connected, KanalError):
            raise connected
        self._con = connected
        try:
            versions = [row["Version"] for row in self._read('SELECT "Version" FROM gammu')]
            described = self._read(
                "SELECT attname, atttypid::regtype::text AS kind FROM pg_attribute"
                " WHERE attrelid = 'inbox'::regclass AND attnum > 0 AND NOT attisdropped"
            )
            # Only a whole number can be gone on from; any other ID could lead us in circles.
            columns = {r["attname"] for r in described if r["attname"] != "ID" or r["kind"] in ("integer", "bigint")}
            advice = "Bring Gammu and its database up to date"
            if unfit := _fit(f"{self._key}: the database", versions, columns, advice):
                raise unfit
        except KanalError:
            self.close()
            raise

    def behind(self, last: int, most: int) -> list[Cells]:
        return self._read('SELECT * FROM inbox WHERE "ID" > %s ORDER BY "ID" LIMIT %s', last, most)

    def among(self, ids: Sequence[int]) -> list[Cells]:
        return self._read('SELECT * FROM inbox WHERE "ID" = ANY(%s)', list(ids))

    def told(self) -> tuple[int, int, int | None]:
        [row] = self._read('SELECT (SELECT max("Version") FROM gammu) AS v, count(*) AS n, max("ID") AS id FROM inbox')
        return row["v"], row["n"], row["id"]

    def _read(self, statement: str, *values: Any) -> list[Cells]:
        """One read-only transaction, over before anything is done with its rows."""
        return _told_by(self._key, lambda: self._transaction(statement, values))

    def _transaction(self, statement: str, values: Sequence[Any]) -> list[Cells]:
        from psycopg.rows import dict_row

        with self._con.transaction(), self._con.cursor(row_factory=dict_row) as cursor:
            cursor.execute("SET LOCAL statement_timeout = '60s'")
            return list(cursor.execute(statement, values).fetchall())

    def close(self) -> None:
        self._con.close()


def _connected(stream: Stream) -> psycopg.Connection | KanalError:
    """A connection whose transactions can only read. An error is given back, or this frame would come with it:
    it holds the URL, and the driver's own error may repeat it."""
    import psycopg
    from psycopg.types.string import TextLoader

    variable = stream.options["url_env"]
    url = secret(variable, what=f"{stream.key}: URL of the gateway's PostgreSQL (url_env)")

    def connect() -> psycopg.Connection:
        # TCP's own patience with a peer that vanished is hours
        limits: dict[str, Any] = {"keepalives_idle": 30, "keepalives_interval": 10, "tcp_user_timeout": 60_000}
        return psycopg.connect(url, autocommit=True, connect_timeout=10, application_name="kanal", **limits)

    try:
        con = _told_by(stream.key, connect)
    except KanalError as error:
        return error.with_traceback(None)
    except psycopg.ProgrammingError as error:
        return SettingsError(
            f"{stream.key}: the variable {variable} holds no usable PostgreSQL URL ({type(error).__name__})"
        )
    con.read_only = True
    # As Gammu writes them, without a zone; a date that Python cannot hold stays a text
    con.execute("SET DateStyle = 'ISO, YMD'")
    for kind in ("timestamp", "timestamptz", "time"):
        con.adapters.register_loader(kind, TextLoader)
    return con


def _told_by(key: str, call: Callable[[], T]) -> T:
    """`call()`, the driver's errors in words that hold neither URL nor text. Raised outside the handlers."""
    import psycopg
    from psycopg import errors as pg

    failure: KanalError
    try:
        return call()
    except (pg.UndefinedTable, pg.UndefinedColumn):
        failure = PermanentError(
            f"{key}: the database is none of Gammu SMSD (it has no tables gammu and inbox); check the database and"
            " the schema (?options=-csearch_path=...) in the URL"
        )
    except pg.InsufficientPrivilege:
        failure = PermanentError(f"{key}: the database's inbox may not be read; {_GRANT}")
    except (pg.LockNotAvailable, pg.QueryCanceled):
        failure = TransientError(f"{key}: the database is busy; the next pull tries again", retry_after=_WAIT)
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        # Also a wrong password: libpq does not tell it from a server that is starting
        failure = TransientError(
            f"{key}: the gateway's PostgreSQL cannot be reached ({error.sqlstate or type(error).__name__}); check the"
            " server, and the URL and password in the variable that url_env names",
            retry_after=_WAIT,
        )
    except psycopg.DataError as error:
        failure = PermanentError(f"{key}: a row of the inbox cannot be read ({error.sqlstate or 'encoding'})")
    raise failure
