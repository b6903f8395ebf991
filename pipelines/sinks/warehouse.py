"""warehouse.duckdb: reports, tickets, links, history, and the ledger that fences every batch.

One transaction holds everything one entry of the order log brings. Only the ledger has a primary
key; other keys are kept by the single writer and proved by `violations`. Anything else about the
pipeline can be rebuilt from landing into an empty file of this kind.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa

from pipelines.contracts import KEYS, WAREHOUSE, is_run_column
from pipelines.errors import PermanentError
from pipelines.sinks import duck

_REPLACED = {"reports": "report_id", "links": "report_id", "tickets": "ticket_id", "vault": "report_id"}


def _create(con: duckdb.DuckDBPyConnection) -> None:
    for name, schema in WAREHOUSE.items():
        con.execute(duck.create_table(name, schema, primary_key=KEYS["ledger"] if name == "ledger" else ()))
        duck.comment_on(con, name, schema)


MIGRATIONS = {"0001_create_tables": _create}


class Loads(NamedTuple):
    """The newest batch of a stream that is loaded, its id, and those before it that are not."""

    newest: int
    batch_id: str
    missing: frozenset[int]


class Warehouse:
    """An open warehouse. Make one with `open_warehouse`, which holds the writer's lock."""

    def __init__(self, con: duckdb.DuckDBPyConnection) -> None:
        self.con = con

    # --- what a load needs to know ---

    def last_entry(self) -> int:
        return self._one("SELECT coalesce(max(entry), -1) FROM ledger")

    def next_arrival(self) -> int:
        return self._one("SELECT coalesce(sum(messages), 0)::BIGINT FROM ledger")

    def loaded(self) -> dict[tuple[str, str], Loads]:
        """(channel, stream) -> what of it is in the ledger."""
        rows = self.con.execute(
            "SELECT channel, stream, max(sequence), arg_max(batch_id, sequence), count(*) FROM ledger GROUP BY ALL"
        ).fetchall()
        return {
            (channel, stream): Loads(newest, last, frozenset() if count > newest else self._missing(channel, stream))
            for channel, stream, newest, last, count in rows
        }

    def _missing(self, channel: str, stream: str) -> frozenset[int]:
        rows = self.con.execute(
            "SELECT unnest(range(max(sequence))) FROM ledger WHERE channel = $1 AND stream = $2"
            " EXCEPT SELECT sequence FROM ledger WHERE channel = $1 AND stream = $2",
            [channel, stream],
        ).fetchall()
        return frozenset(n for (n,) in rows)

    def rows_of(self, table: str, key: str, values: Sequence[Any], columns: str = "*") -> pa.Table:
        """Rows of `table` whose `key` is among `values`. Identifiers are constants of the callers."""
        wanted = pa.table({"v": pa.array(values, type=WAREHOUSE[table].field(key).type)})
        self.con.register("_wanted", wanted)
        found = self.con.sql(
            f'SELECT {columns} FROM "{table}" WHERE "{key}" IN (SELECT v FROM _wanted)'
        ).to_arrow_table()
        self.con.unregister("_wanted")
        return found

    def leaders_near(self, keys: pa.Array, first_hour: int, last_hour: int) -> tuple[pa.Table, pa.Table]:
        """(leaders, their keys) that share one of the probed keys and were said in these hours since 1970."""
        self.con.register("_probes", pa.table({"key": keys}))
        found: pa.Table = self.con.sql(
            "SELECT key, arrival FROM leader_keys WHERE hour BETWEEN ? AND ? AND key IN (SELECT key FROM _probes)",
            params=[first_hour, last_hour],
        ).to_arrow_table()
        self.con.unregister("_probes")
        return self.rows_of("leaders", "arrival", list(dict.fromkeys(found["arrival"].to_pylist()))), found

    def tickets_of_refs(self, refs: Sequence[str]) -> dict[str, str]:
        """CRM or Kanal number -> ticket_id; the earliest ticket where a number stands twice."""
        self.con.register("_refs", pa.table({"ref": pa.array(refs, type=pa.string())}))
        rows = self.con.execute(
            "SELECT ref, arg_min(ticket_id, first_arrival) FROM ("
            " SELECT external_ref AS ref, ticket_id, first_arrival FROM tickets"
            " UNION ALL SELECT ticket_no, ticket_id, first_arrival FROM tickets)"
            " WHERE ref IN (SELECT ref FROM _refs) GROUP BY ref"
        ).fetchall()
        self.con.unregister("_refs")
        return dict(rows)

    def acts(self) -> list[dict[str, Any]]:
        """People's decisions on tickets, in the order they were applied."""
        return self.con.sql("SELECT * FROM acts ORDER BY arrival").to_arrow_table().to_pylist()

    # --- writing ---

    def write(self, rows: Mapping[str, pa.Table], *, there: Mapping[str, Sequence[str]] | None = None) -> None:
        """Everything one entry brings, in one transaction; the ledger's key refuses a second time.

        there: keys of reports, links, tickets and vault that may be stored already; None: any.
        """
        with duck.transaction(self.con):
            duck.insert(self.con, "ledger", rows["ledger"])
            for name, table in rows.items():
                if name in _REPLACED:
                    duck.replace(self.con, name, table, _REPLACED[name], there=there[name] if there else None)
                elif name != "ledger":
                    duck.insert(self.con, name, table)

    # --- proofs ---

    def violations(self) -> dict[str, int]:
        """Rows that break a key or a promise; all zero is right."""
        found = {}
        for name, key in KEYS.items():
            columns = ", ".join(f'"{c}"' for c in key)
            found[f"{name}: key ({', '.join(key)}) twice"] = self._one(
                f'SELECT count(*) FROM (SELECT 1 FROM "{name}" GROUP BY {columns} HAVING count(*) > 1)'
            )
        for what, sql in _PROMISES.items():
            found[what] = self._one(sql)
        return found

    def of_another_shape(self) -> list[str]:
        """Tables whose columns are not those of the contracts, in whatever order."""
        rows = self.con.execute(
            "SELECT table_name, list(column_name) FROM duckdb_columns()"
            " WHERE NOT internal AND database_name = current_database() GROUP BY table_name"
        ).fetchall()
        there = {name: set(columns) for name, columns in rows}
        return [name for name, schema in WAREHOUSE.items() if there.get(name) != set(schema.names)]

    def table_hashes(self) -> dict[str, str]:
        """A hash over all rows of each table, without the columns that only say how they were made. Of a table of
        another version's shape the rows are only counted."""
        odd = self.of_another_shape()
        return {
            name: f"{self._one(f'SELECT count(*) FROM {name}')}:other columns"
            if name in odd
            else table_hash(self.con, name, schema)
            for name, schema in WAREHOUSE.items()
        }

    def reconciliation(self) -> list[dict[str, Any]]:
        """Per stream: messages and what became of them."""
        return (
            self.con.sql(
                "SELECT channel, stream, sum(messages)::BIGINT AS messages, sum(reports)::BIGINT AS reports,"
                " sum(repeats)::BIGINT AS repeats, sum(filtered)::BIGINT AS filtered,"
                " sum(quarantined)::BIGINT AS quarantined, sum(events)::BIGINT AS events"
                " FROM ledger GROUP BY ALL ORDER BY ALL"
            )
            .to_arrow_table()
            .to_pylist()
        )

    def _one(self, sql: str) -> Any:
        return duck.one(self.con, sql)


_PROMISES = {
    "messages: not as many as the ledger says": (
        "SELECT count(*) FROM (SELECT channel, stream, sequence, messages AS n FROM ledger WHERE messages > 0"
        " EXCEPT SELECT channel, stream, sequence, count(*) FROM messages GROUP BY ALL)"
    ),
    "ledger: messages are not reports + repeats + filtered + quarantined + events": (
        "SELECT count(*) FROM ledger WHERE messages <> reports + repeats + filtered + quarantined + events"
    ),
    "ledger: outcomes are not those of the messages": (
        "SELECT count(*) FROM (SELECT channel, stream, sequence, reports, repeats, filtered, quarantined, events FROM ledger"
        " WHERE messages > 0 EXCEPT SELECT channel, stream, sequence, count(*) FILTER (outcome = 'report'),"
        " count(*) FILTER (outcome IN ('repeat', 'older')), count(*) FILTER (outcome = 'filtered'),"
        " count(*) FILTER (outcome = 'quarantined'), count(*) FILTER (outcome = 'event') FROM messages GROUP BY ALL)"
    ),
    "messages: outcome is report, but there is no report": (
        "SELECT count(*) FROM messages ANTI JOIN reports USING (report_id) WHERE outcome = 'report'"
    ),
    "links: report that does not exist": "SELECT count(*) FROM links ANTI JOIN reports USING (report_id)",
    "links: ticket that does not exist": "SELECT count(*) FROM links ANTI JOIN tickets USING (ticket_id)",
    "reports: no ticket and no thanks": (
        "SELECT count(*) FROM reports ANTI JOIN links USING (report_id) WHERE kind <> 'appreciation'"
    ),
    "tickets: report_count is not the number of links": (
        "SELECT count(*) FROM tickets t LEFT JOIN (SELECT ticket_id, count(*) AS n FROM links GROUP BY 1) l"
        " USING (ticket_id) WHERE t.report_count IS DISTINCT FROM coalesce(l.n, 0)"
    ),
    "tickets: superseded_by is not where the first report is": (
        "SELECT count(*) FROM tickets t LEFT JOIN links l ON l.report_id = t.first_report_id"
        " WHERE t.superseded_by IS DISTINCT FROM nullif(l.ticket_id, t.ticket_id)"
    ),
    "tickets: superseded, but with reports": (
        "SELECT count(*) FROM tickets WHERE (superseded_by IS NULL) = (report_count = 0)"
    ),
    "confidence outside 0..1": (
        "SELECT count(*) FROM reports WHERE NOT (kind_confidence BETWEEN 0 AND 1 AND category_confidence BETWEEN 0 AND 1"
        " AND agency_confidence BETWEEN 0 AND 1 AND place_confidence BETWEEN 0 AND 1 AND completeness BETWEEN 0 AND 1)"
    ),
}


def table_hash(con: duckdb.DuckDBPyConnection, name: str, schema: pa.Schema) -> str:
    """Order-free 128-bit hash of a table: equal for equal rows, whatever their order in the file."""
    columns = ", ".join(f'coalesce("{f.name}"::VARCHAR, chr(0))' for f in schema if not is_run_column(f))
    [row] = con.execute(
        f"SELECT count(*), coalesce(sum(('0x' || h[:15])::BIGINT), 0), coalesce(sum(('0x' || h[17:31])::BIGINT), 0)"
        f' FROM (SELECT md5(concat_ws(chr(1), {columns})) AS h FROM "{name}")'
    ).fetchall()
    return f"{row[0]}:{int(row[1]):x}:{int(row[2]):x}"


@contextmanager
def open_warehouse(path: Path, *, wait_seconds: float = 60) -> Iterator[Warehouse]:
    """Hold the writer's lock and an open, migrated warehouse; closed on the way out."""
    with duck.writer_lock(path, wait_seconds=wait_seconds), opened(path) as warehouse:
        yield warehouse


@contextmanager
def opened(path: Path, *, any_shape: bool = False) -> Iterator[Warehouse]:
    """An open, migrated warehouse, for whoever holds the writer's lock already.

    PermanentError where its columns are those of another version (any_shape: not then): landing gives them all anew, a
    migration could only guess them.
    """
    con = duck.connect(path, MIGRATIONS)
    try:
        warehouse = Warehouse(con)
        if not any_shape and (odd := warehouse.of_another_shape()):
            raise PermanentError(
                f"{path} was made by another version of Kanal (table {odd[0]} has other columns); {duck.REBUILD}"
            )
        yield warehouse
    finally:
        con.close()
