"""The published snapshot, as it is read: by whoever shows figures, tickets or decisions to people.

Belongs here: opening it and asking it. Not here: what is in it (sinks/marts), making one (sinks/snapshot).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import duckdb

from pipelines.errors import PermanentError
from pipelines.settings import Settings
from pipelines.sinks import duck

Rows = list[dict[str, Any]]


@contextmanager
def open_snapshot(settings: Settings) -> Iterator[duckdb.DuckDBPyConnection]:
    """The newest published snapshot, read-only: a load or a publication is never held up."""
    if not settings.analytics.exists():
        raise PermanentError(f"no snapshot at {settings.analytics} yet; run: kanal run")
    unreadable = f"the snapshot {settings.analytics} cannot be read; run: kanal run"
    try:
        con = duckdb.connect(str(settings.analytics.resolve()), read_only=True)
    except duckdb.Error as error:
        raise PermanentError(unreadable) from error
    try:
        yield con
    except (duckdb.CatalogException, duckdb.BinderException) as error:
        raise PermanentError(
            f"the snapshot {settings.analytics} was made by another version of Kanal; run: kanal run"
        ) from error
    except duckdb.Error as error:
        if not duck.of_the_file(error):
            raise
        raise PermanentError(unreadable) from error
    finally:
        con.close()


def ask(con: duckdb.DuckDBPyConnection, sql: str, parameters: Sequence[Any] = ()) -> Rows:
    """Rows of a query as dicts; times aware."""
    found: Rows = con.sql(sql, params=list(parameters)).to_arrow_table().to_pylist()
    return found
