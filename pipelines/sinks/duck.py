"""What the DuckDB stores share: DDL from contracts, named migrations, the writer's file lock.

Not here: what any one store holds.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from filelock import FileLock, Timeout

from pipelines.contracts import describe
from pipelines.errors import KanalError, PermanentError, TransientError

REBUILD = "run: kanal rebuild"
Migration = tuple[str, Callable[[duckdb.DuckDBPyConnection], None]]

_TYPES = {
    pa.string(): "VARCHAR",
    pa.int32(): "INTEGER",
    pa.int64(): "BIGINT",
    pa.float64(): "DOUBLE",
    pa.bool_(): "BOOLEAN",
    pa.date32(): "DATE",
    pa.timestamp("us", tz="UTC"): "TIMESTAMPTZ",
    pa.binary(): "BLOB",
    pa.list_(pa.string()): "VARCHAR[]",
    pa.list_(pa.int32()): "INTEGER[]",
    pa.list_(pa.int64()): "BIGINT[]",
    pa.list_(pa.float64()): "DOUBLE[]",
}


def create_table(name: str, schema: pa.Schema, *, primary_key: tuple[str, ...] = ()) -> str:
    """CREATE TABLE of a schema; identifiers come from contracts alone, never from input."""
    columns = [f'"{f.name}" {_TYPES[f.type]}{"" if f.nullable else " NOT NULL"}' for f in schema]
    if primary_key:
        columns.append(f"PRIMARY KEY ({', '.join(primary_key)})")
    return f'CREATE TABLE IF NOT EXISTS "{name}" ({", ".join(columns)})'


def some_of(schema: pa.Schema, *names: str) -> pa.Schema:
    """The schema with these columns alone: what a migration adds and comments, whatever later ones will add."""
    return pa.schema([schema.field(name) for name in names], metadata=schema.metadata)


def comment_on(con: duckdb.DuckDBPyConnection, name: str, schema: pa.Schema) -> None:
    """Descriptions of contracts as comments, so that any client shows them."""
    about = (schema.metadata or {}).get(b"description", b"").decode()
    con.execute(f'COMMENT ON TABLE "{name}" IS {quote(about)}')
    for field in schema:
        con.execute(f'COMMENT ON COLUMN "{name}"."{field.name}" IS {quote(describe(field))}')


def quote(text: str) -> str:
    """A SQL string literal: for the places that take no parameter."""
    return "'" + text.replace("'", "''") + "'"


def connect(
    path: Path,
    migrations: Mapping[str, Callable[[duckdb.DuckDBPyConnection], None]],
    *,
    mend: str = REBUILD,
) -> duckdb.DuckDBPyConnection:
    """Open for writing and bring the schema up to date. The file is readable by its owner only.

    mend: what to do about a damaged file. TransientError (locked, disk full) or PermanentError
    (damaged, no permission); what a migration does wrong stays as DuckDB says it.
    """
    try:
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        if path.exists() and not path.stat().st_size:
            path.unlink()  # a full disk leaves an empty file, which DuckDB refuses
    except OSError as error:
        raise failure(path, error) from error
    with told(path, mend=mend):
        con = duckdb.connect(str(path))
    try:
        with told(path, mend=mend):
            path.chmod(0o600)
            con.execute("SET TimeZone = 'UTC'")
            # At the default of 16 MB every load would rewrite parts of the file.
            con.execute("SET checkpoint_threshold = '256MB'")
            migrate(con, migrations)
    except BaseException:
        con.close()
        raise
    return con


_FULL = ("no space left", "disk quota", "disk is full", "file too large", "max_temp_directory_size")
_FORBIDDEN = ("permission denied", "read-only file system", "operation not permitted")
# Of the others a mistake in our SQL or a broken key speaks, which nothing but a change of code mends.
_FILE_ERRORS = (
    duckdb.IOException,
    duckdb.InternalException,
    duckdb.FatalException,
    duckdb.SerializationException,
    duckdb.OutOfMemoryException,
)


def failure(path: Path | str, error: Exception, *, mend: str = REBUILD) -> KanalError:
    """What happened to the file at `path`, and what to do, in words for an operator."""
    words = str(error).lower()
    kind = type(error).__name__
    if is_full(error):
        return TransientError(f"{path} cannot be written: no space left. Free space on its disk and try again")
    if isinstance(error, duckdb.IOException) and "lock" in words and "conflicting" in words:
        return TransientError(f"{path} is open in another program; close it and try again")
    if isinstance(error, duckdb.OutOfMemoryException):
        return TransientError(
            f"{path}: memory ran out ({kind}); lower group_rows or workers in kanal.toml, or try later"
        )
    if isinstance(error, OSError) or any(w in words for w in _FORBIDDEN):
        return PermanentError(f"{path} cannot be opened or written ({kind}); check the permissions of file and folder")
    return PermanentError(f"{path} cannot be read or written ({kind}). If it is damaged, {mend}")


def is_full(error: Exception) -> bool:
    """Whether the disk is full, by the words of the error."""
    return any(words in str(error).lower() for words in _FULL)


def of_the_file(error: duckdb.Error) -> bool:
    """Whether disk or file are at fault, not a key or our SQL."""
    if isinstance(error, duckdb.TransactionException):  # a COMMIT that fails says why in words alone
        return is_full(error)
    return isinstance(error, _FILE_ERRORS) or type(error) is duckdb.Error  # a wrong checksum has no class of its own


@contextmanager
def told(path: Path | str, *, mend: str = REBUILD) -> Iterator[None]:
    """What befalls the file, in our errors; broken keys and wrong SQL stay as DuckDB says them."""
    try:
        yield
    except OSError as error:
        raise failure(path, error, mend=mend) from error
    except duckdb.Error as error:
        if not of_the_file(error):
            raise
        raise failure(path, error, mend=mend) from error


def migrate(
    con: duckdb.DuckDBPyConnection, migrations: Mapping[str, Callable[[duckdb.DuckDBPyConnection], None]]
) -> None:
    """Run the named migrations not yet recorded, each with its record in one transaction."""
    con.execute("CREATE TABLE IF NOT EXISTS schema_migrations (name VARCHAR PRIMARY KEY, applied_at TIMESTAMPTZ)")
    done = {name for (name,) in con.execute("SELECT name FROM schema_migrations").fetchall()}
    pending = [name for name in migrations if name not in done]
    for name in pending:
        with transaction(con):
            migrations[name](con)
            con.execute("INSERT INTO schema_migrations VALUES (?, now())", [name])
    if pending:  # altered tables in a WAL have made files unopenable after a kill
        con.execute("CHECKPOINT")


def one(con: duckdb.DuckDBPyConnection, sql: str, parameters: Sequence[Any] = ()) -> Any:
    """First column of the first row, None where there is none. DuckDB refuses further work on a
    connection whose result was not fetched to its end, so fetchone alone will not do."""
    rows = con.execute(sql, list(parameters)).fetchall()
    return rows[0][0] if rows else None


@contextmanager
def transaction(con: duckdb.DuckDBPyConnection, *, mend: str = REBUILD) -> Iterator[None]:
    """BEGIN .. COMMIT; rolled back if the body raises. A full disk or damage is told as by `connect`."""
    file = one(con, "SELECT path FROM duckdb_databases() WHERE database_name = current_database()")
    with told(file or "the database in memory", mend=mend), bare_transaction(con):
        yield


@contextmanager
def bare_transaction(con: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """The same for a file that is attached: its errors stay as DuckDB says them."""
    con.execute("BEGIN")
    try:
        yield
    except BaseException:
        rollback(con)
        raise
    commit(con)


def commit(con: duckdb.DuckDBPyConnection) -> None:
    con.execute("COMMIT")


def rollback(con: duckdb.DuckDBPyConnection) -> None:
    try:
        con.execute("ROLLBACK")
    except duckdb.Error:
        return  # the failure that brought us here has ended the transaction already


def insert(con: duckdb.DuckDBPyConnection, name: str, rows: pa.Table) -> None:
    if rows.num_rows:
        con.register("_rows", rows)
        con.execute(f'INSERT INTO "{name}" BY NAME SELECT * FROM _rows')
        con.unregister("_rows")


def replace(
    con: duckdb.DuckDBPyConnection, name: str, rows: pa.Table, key: str, *, there: Sequence[str] | None = None
) -> None:
    """Delete the rows with these keys and insert the new ones: an upsert without an index.

    there: the keys that may be in the table already (None: any may); without an index a delete
    reads the whole table, so it is done only where there is something to delete.
    """
    if not rows.num_rows:
        return
    con.register("_rows", rows)
    if there is None or there:
        con.register("_there", rows.select([key]) if there is None else pa.table({key: pa.array(there, pa.string())}))
        con.execute(
            f'DELETE FROM "{name}" WHERE "{key}" IN (SELECT "{key}" FROM _there SEMI JOIN _rows USING ("{key}"))'
        )
        con.unregister("_there")
    con.execute(f'INSERT INTO "{name}" BY NAME SELECT * FROM _rows')
    con.unregister("_rows")


@contextmanager
def writer_lock(path: Path, *, wait_seconds: float = 60) -> Iterator[None]:
    """The one writer's lock beside `path`; waits, then TransientError says who holds it."""
    lock_path = path.with_name(path.name + ".lock")
    note = path.with_name(path.name + ".holder")
    lock = FileLock(str(lock_path))
    try:
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        lock.acquire(timeout=wait_seconds)
    except Timeout:
        holder = note.read_text("utf-8").strip() if note.exists() else "an unknown process"
        raise TransientError(
            f"{path.name} is being written by {holder}; waited {wait_seconds:g} s. Try again when it is done"
        ) from None
    except OSError as error:
        raise failure(lock_path, error) from error
    # DuckDB's log and what it spills lie beside the file and hold the same personal data.
    umask = os.umask(0o077)
    try:
        _note(note)
        yield
    finally:
        os.umask(umask)
        note.unlink(missing_ok=True)
        lock.release()


def _note(note: Path) -> None:
    try:
        note.write_text(f"process {os.getpid()}\n", "utf-8")
    except OSError as error:
        raise failure(note, error) from error
