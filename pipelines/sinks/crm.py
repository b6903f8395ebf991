"""The CRM's store: tickets as officers see them, in crm.duckdb or PostgreSQL.

Delivery is an upsert guarded by the ticket's version, in one transaction with its watermark, both
in the CRM's own database: a second delivery changes nothing, an older version never overwrites a
newer one, and of equal versions (a rebuild by mended code) the one delivered last counts. Columns that officers own are written
once. Contacts go to PostgreSQL only, behind a function that checks a role and logs every call.

Belongs here: the store's tables and delivery. Not here: what the CRM sends back (sources/feedback).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import duckdb
import psycopg
import pyarrow as pa
from psycopg import errors, sql

from pipelines.contracts import OFFICER_COLUMNS, REPORTS, TICKETS, VAULT, describe
from pipelines.errors import KanalError, PermanentError, SettingsError, TransientError
from pipelines.settings import Settings, secret
from pipelines.sinks import duck
from pipelines.sinks.warehouse import Warehouse

_BATCH = 50_000  # tickets a transaction
_MEND = "restore it from a backup, or move it away: the next run makes a new one"


_REPORT_COLUMNS = (
    "report_id",
    "channel",
    "occurred_at",
    "title",
    "text",
    "kind",
    "source_url",
    "external_ref",
    "address_text",
    "lat",
    "lon",
    "kelurahan_code",
    "attachments",
    "private",
)
TICKET_REPORTS = pa.schema(
    [
        pa.field("ticket_id", pa.string(), nullable=False, metadata={"description": "The ticket"}),
        *(REPORTS.field(n) for n in _REPORT_COLUMNS),
        pa.field("level", pa.string(), nullable=False, metadata={"description": "How it came to this ticket"}),
        pa.field("version_no", pa.int32(), nullable=False, metadata={"description": "Version of the report"}),
    ],
    metadata={"description": "Every report of every ticket, masked: what citizens said"},
)
STATUS_EVENTS = pa.schema(
    [
        pa.field("event_no", pa.int64(), nullable=False, metadata={"description": "Rising number, never reused"}),
        pa.field("ticket_id", pa.string(), nullable=False, metadata={"description": "The ticket"}),
        pa.field("status", pa.string(), metadata={"description": "New status; null: unchanged"}),
        pa.field("category", pa.string(), metadata={"description": "Category the officer chose"}),
        pa.field("agency_id", pa.string(), metadata={"description": "Agency the officer chose"}),
        pa.field("unit", pa.string(), metadata={"description": "Unit the officer chose"}),
        pa.field("kelurahan_code", pa.string(), metadata={"description": "Area the officer chose"}),
        pa.field("note", pa.string(), metadata={"description": "Remark without personal data"}),
        pa.field("actor", pa.string(), metadata={"description": "Role that acted, never a name"}),
        pa.field("happened_at", pa.timestamp("us", tz="UTC"), nullable=False, metadata={"description": "When"}),
    ],
    metadata={"description": "Written by the CRM, read by Kanal: what officers did"},
)
_DELIVERY = pa.schema(
    [
        pa.field("name", pa.string(), nullable=False, metadata={"description": "What is counted"}),
        pa.field("value", pa.int64(), nullable=False, metadata={"description": "How far it has come"}),
    ],
    metadata={"description": "How far Kanal has delivered"},
)
TABLES = {"tickets": TICKETS, "ticket_reports": TICKET_REPORTS, "status_events": STATUS_EVENTS, "delivery": _DELIVERY}


class Store(Protocol):
    """A CRM store that is open for one delivery."""

    def watermark(self) -> int: ...

    def upsert(self, tickets: pa.Table, reports: pa.Table, contacts: pa.Table, watermark: int | None) -> int:
        """Write what is new or newer, and the watermark where given, in one transaction."""


def deliver(warehouse: Warehouse, store: Store, *, everything: bool = False) -> int:
    """Bring every ticket that changed since the store's watermark; returns how many were written.

    everything: look at all tickets, not only those with events past the watermark.
    """
    reached = warehouse.next_arrival()
    since = -1 if everything else store.watermark()
    changed = [
        ticket
        for (ticket,) in warehouse.con.execute(
            "SELECT ticket_id FROM ticket_events WHERE arrival >= ? GROUP BY ticket_id ORDER BY min(arrival), ticket_id",
            [since],
        ).fetchall()
    ]
    written = 0
    for start in range(0, len(changed), _BATCH):
        part = changed[start : start + _BATCH]
        # The watermark moves with the last part alone: a delivery cut short starts over, harmlessly.
        mark = reached if start + _BATCH >= len(changed) else None
        written += store.upsert(*_rows(warehouse, part), mark)
    if not changed and since != reached:
        store.upsert(TICKETS.empty_table(), TICKET_REPORTS.empty_table(), VAULT.empty_table(), reached)
    return written


def _rows(warehouse: Warehouse, ticket_ids: Sequence[str]) -> tuple[pa.Table, pa.Table, pa.Table]:
    tickets = warehouse.rows_of("tickets", "ticket_id", ticket_ids)
    con = warehouse.con
    con.register("_wanted", pa.table({"v": pa.array(ticket_ids, type=pa.string())}))
    columns = ", ".join(f"r.{c}" for c in _REPORT_COLUMNS)
    joined = "FROM links l JOIN reports r USING (report_id) WHERE l.ticket_id IN (SELECT v FROM _wanted)"
    reports = con.sql(
        f"SELECT l.ticket_id, {columns}, l.level, r.version_no {joined} ORDER BY l.arrival"
    ).to_arrow_table()
    contacts = con.sql(
        "SELECT v.* FROM vault v JOIN links l USING (report_id) WHERE l.ticket_id IN (SELECT v FROM _wanted) ORDER BY 1"
    ).to_arrow_table()
    con.unregister("_wanted")
    return tickets, reports, contacts


@contextmanager
def open_crm(settings: Settings) -> Iterator[Store]:
    """The store that kanal.toml names: PostgreSQL where [crm] url_env is set, else crm.duckdb."""
    if settings.crm_url_env:
        with _open_postgres(settings.crm_url_env) as store:
            yield store
        return
    con = duck.connect(settings.crm, _MIGRATIONS, mend=_MEND)
    try:
        yield DuckStore(con)
    finally:
        con.close()


# --- DuckDB ---------------------------------------------------------------------------------


def _create(con: duckdb.DuckDBPyConnection) -> None:
    for name, schema in TABLES.items():
        con.execute(duck.create_table(name, schema))
        duck.comment_on(con, name, schema)


# Tickets delivered before it came get theirs when they are delivered again.
_EMERGENCY_RULE = "ALTER TABLE tickets ADD COLUMN IF NOT EXISTS emergency_rule {text}"


def _add_emergency_rule(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(_EMERGENCY_RULE.format(text="VARCHAR"))
    duck.comment_on(con, "tickets", duck.some_of(TICKETS, "emergency_rule"))


# Who named the agency: before this came, only rules and people did. The confidence of tickets delivered before stays
# empty until they are delivered again, which `kanal rebuild` does.
_AGENCY_SOURCE = """
ALTER TABLE tickets ADD COLUMN IF NOT EXISTS agency_source {text} DEFAULT 'rule';
ALTER TABLE tickets ALTER COLUMN agency_source DROP DEFAULT;
UPDATE tickets SET agency_source = 'person' WHERE route_rule = 'keputusan' AND agency_source = 'rule';
ALTER TABLE tickets ADD COLUMN IF NOT EXISTS agency_confidence {real};
"""


def _add_agency_source(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(_AGENCY_SOURCE.format(text="VARCHAR", real="DOUBLE"))
    duck.comment_on(con, "tickets", duck.some_of(TICKETS, "agency_source", "agency_confidence"))


_MIGRATIONS = {
    "0001_create_tables": _create,
    "0002_emergency_rule": _add_emergency_rule,
    "0003_agency_source": _add_agency_source,
}


class DuckStore:
    """crm.duckdb; holds no contacts."""

    def __init__(self, con: duckdb.DuckDBPyConnection) -> None:
        self.con = con

    def watermark(self) -> int:
        with duck.transaction(self.con, mend=_MEND):
            reached = duck.one(self.con, "SELECT max(value) FROM delivery WHERE name = 'arrival'")
        return -1 if reached is None else reached

    def upsert(self, tickets: pa.Table, reports: pa.Table, contacts: pa.Table, watermark: int | None) -> int:
        con = self.con
        con.register("_tickets", tickets)
        con.register("_reports", reports)
        mine = [c for c in TICKETS.names if c not in (*OFFICER_COLUMNS, "ticket_id")]
        ours = ", ".join(f'"{c}" = n."{c}"' for c in mine)
        was, new = (", ".join(f'{t}."{c}"' for c in mine) for t in "tn")
        with duck.transaction(con, mend=_MEND):
            changed = duck.one(
                con,
                f"UPDATE tickets t SET {ours} FROM _tickets n WHERE t.ticket_id = n.ticket_id"
                f" AND t.version <= n.version AND row({was}) IS DISTINCT FROM row({new})",
            )
            added = duck.one(
                con, "INSERT INTO tickets BY NAME SELECT * FROM _tickets ANTI JOIN tickets USING (ticket_id)"
            )
            if reports.num_rows:
                con.execute("DELETE FROM ticket_reports WHERE report_id IN (SELECT report_id FROM _reports)")
                con.execute("INSERT INTO ticket_reports BY NAME SELECT * FROM _reports")
            if watermark is not None:
                con.execute("DELETE FROM delivery WHERE name = 'arrival'")
                con.execute("INSERT INTO delivery VALUES ('arrival', ?)", [watermark])
        con.unregister("_tickets")
        con.unregister("_reports")
        return int(changed) + int(added)


# --- PostgreSQL -----------------------------------------------------------------------------

_PG_TYPES = {
    pa.string(): "text",
    pa.int32(): "integer",
    pa.int64(): "bigint",
    pa.float64(): "double precision",
    pa.bool_(): "boolean",
    pa.timestamp("us", tz="UTC"): "timestamptz",
    pa.list_(pa.string()): "text[]",
}
_PG_KEYS = {"tickets": "ticket_id", "ticket_reports": "report_id", "status_events": "event_no", "delivery": "name"}
CONTACT_ROLE = "kanal_contacts"

# Contacts leave the database only through this function, for members of one role, and never silently.
_PG_CONTACTS = f"""
CREATE SCHEMA IF NOT EXISTS kanal_vault;
REVOKE ALL ON SCHEMA kanal_vault FROM PUBLIC;
CREATE TABLE IF NOT EXISTS kanal_vault.contacts (
    report_id text PRIMARY KEY, author_name text, author_ref text, phone text, email text);
CREATE TABLE IF NOT EXISTS kanal_vault.contact_access (
    accessed_at timestamptz NOT NULL DEFAULT now(), who text NOT NULL, ticket_id text NOT NULL, reason text NOT NULL);
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{CONTACT_ROLE}') THEN CREATE ROLE {CONTACT_ROLE} NOLOGIN; END IF;
END $$;
CREATE OR REPLACE FUNCTION contacts_of(wanted text, reason text)
RETURNS TABLE (report_id text, author_name text, phone text, email text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF length(trim(coalesce(reason, ''))) < 5 THEN RAISE EXCEPTION 'say why these contacts are needed'; END IF;
    INSERT INTO kanal_vault.contact_access (who, ticket_id, reason) VALUES (session_user, wanted, reason);
    RETURN QUERY SELECT c.report_id, c.author_name, c.phone, c.email FROM kanal_vault.contacts c
        JOIN {{schema}}.ticket_reports r ON r.report_id = c.report_id WHERE r.ticket_id = wanted ORDER BY 1;
END $$;
REVOKE ALL ON FUNCTION contacts_of(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION contacts_of(text, text) TO {CONTACT_ROLE};
"""


@contextmanager
def _open_postgres(variable: str) -> Iterator[Store]:
    con = _connected(variable)
    if isinstance(con, KanalError):
        raise con
    try:
        with con:
            _create_postgres(con)
            yield PostgresStore(con)
    except psycopg.Error as error:
        # Without the driver's words, which may hold a row.
        raise _failure(error) from None


def _failure(error: psycopg.Error) -> KanalError:
    said = f"{error.sqlstate}: {type(error).__name__}" if error.sqlstate else type(error).__name__
    if isinstance(error, errors.InsufficientPrivilege):
        return PermanentError(
            f"CRM store: PostgreSQL forbids Kanal's role something ({said}); let it create tables and schemas in the"
            f" database and own Kanal's, and give it CREATEROLE or make the role {CONTACT_ROLE} yourself"
        )
    if isinstance(error, (errors.UndefinedTable, errors.UndefinedColumn, errors.InvalidSchemaName)):
        return PermanentError(
            f"CRM store: a table or column that Kanal made is gone ({said}); restore it from a backup, or set"
            " url_env to an empty database, which Kanal fills anew"
        )
    if isinstance(error, errors.ReadOnlySqlTransaction):
        return TransientError(f"CRM store: PostgreSQL only reads at present ({said}); the next run tries again")
    if isinstance(error, psycopg.OperationalError):
        return TransientError(
            f"CRM store: the connection broke or the server is busy ({said}); the next run tries again"
        )
    return PermanentError(f"CRM store: PostgreSQL refused the delivery ({said}); look into its log")


def _connected(variable: str) -> psycopg.Connection | KanalError:
    """A connection, or the error to raise: raised here it would carry the driver's words and the
    URL, and with them a password."""
    url = secret(variable, what="CRM store")
    try:
        return psycopg.connect(url, connect_timeout=10, application_name="kanal")
    except psycopg.OperationalError as error:
        kind = type(error).__name__
    except psycopg.ProgrammingError:
        return SettingsError(f"CRM store: environment variable {variable} holds no PostgreSQL URL")
    return TransientError(f"CRM store: PostgreSQL cannot be reached ({kind}); check the URL and server")


def _create_postgres(con: psycopg.Connection) -> None:
    with con.transaction():
        con.execute("SELECT pg_advisory_xact_lock(4021706)")  # two first deliveries at once
        con.execute("CREATE TABLE IF NOT EXISTS schema_migrations (name text PRIMARY KEY, applied_at timestamptz)")
        done = {row[0] for row in con.execute("SELECT name FROM schema_migrations").fetchall()}
        if "0001_create_tables" not in done:
            for name, schema in TABLES.items():
                _create_postgres_table(con, name, schema)
            con.execute("INSERT INTO schema_migrations VALUES ('0001_create_tables', now())")
        if "0002_contacts" not in done:
            schema_name = con.execute("SELECT quote_ident(current_schema())").fetchone()
            con.execute(_PG_CONTACTS.replace("{schema}", schema_name[0] if schema_name else "public"))
            con.execute("INSERT INTO schema_migrations VALUES ('0002_contacts', now())")
        if "0003_numbers_are_the_databases" not in done:
            # A number given by hand made the next one of the identity collide, or went unread below it.
            con.execute("LOCK TABLE status_events")
            con.execute("ALTER TABLE status_events ALTER COLUMN event_no SET GENERATED ALWAYS")
            con.execute(
                "SELECT setval(pg_get_serial_sequence('status_events', 'event_no'), max(event_no))"
                " FROM status_events HAVING max(event_no) > 0"
            )
            con.execute("INSERT INTO schema_migrations VALUES ('0003_numbers_are_the_databases', now())")
        if "0004_emergency_rule" not in done:
            con.execute(_EMERGENCY_RULE.format(text="text"))
            _comment_postgres(con, "tickets", duck.some_of(TICKETS, "emergency_rule"))
            con.execute("INSERT INTO schema_migrations VALUES ('0004_emergency_rule', now())")
        if "0005_agency_source" not in done:
            con.execute(_AGENCY_SOURCE.format(text="text", real="double precision"))
            _comment_postgres(con, "tickets", duck.some_of(TICKETS, "agency_source", "agency_confidence"))
            con.execute("INSERT INTO schema_migrations VALUES ('0005_agency_source', now())")


def _create_postgres_table(con: psycopg.Connection, name: str, schema: pa.Schema) -> None:
    columns: list[sql.Composable] = [
        sql.SQL("{} {} {}").format(
            sql.Identifier(f.name),
            sql.SQL(_PG_TYPES[f.type]),
            sql.SQL("" if f.nullable else "NOT NULL"),
        )
        for f in schema
    ]
    if name == "status_events":  # the CRM only inserts; numbers are ours to give
        columns[0] = sql.SQL("event_no bigint GENERATED ALWAYS AS IDENTITY")
    key = sql.SQL("PRIMARY KEY ({})").format(sql.Identifier(_PG_KEYS[name]))
    con.execute(
        sql.SQL("CREATE TABLE IF NOT EXISTS {} ({})").format(sql.Identifier(name), sql.SQL(", ").join([*columns, key]))
    )
    _comment_postgres(con, name, schema)


def _comment_postgres(con: psycopg.Connection, name: str, schema: pa.Schema) -> None:
    for f in schema:
        con.execute(
            sql.SQL("COMMENT ON COLUMN {}.{} IS {}").format(
                sql.Identifier(name), sql.Identifier(f.name), sql.Literal(describe(f))
            )
        )


class PostgresStore:
    """The production CRM's database."""

    def __init__(self, con: psycopg.Connection) -> None:
        self.con = con

    def watermark(self) -> int:
        row = self.con.execute("SELECT max(value) FROM delivery WHERE name = 'arrival'").fetchone()
        return -1 if row is None or row[0] is None else row[0]

    def upsert(self, tickets: pa.Table, reports: pa.Table, contacts: pa.Table, watermark: int | None) -> int:
        with self.con.transaction():
            written = self._merge("tickets", tickets, "ticket_id", keep=OFFICER_COLUMNS, newer="version")
            self._merge("ticket_reports", reports, "report_id")
            self._merge("contacts", contacts, "report_id", schema="kanal_vault")
            if watermark is not None:
                self.con.execute(
                    "INSERT INTO delivery VALUES ('arrival', %s) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                    [watermark],
                )
        return written

    def _merge(
        self,
        table: str,
        rows: pa.Table,
        key: str,
        *,
        keep: Sequence[str] = (),
        newer: str | None = None,
        schema: str | None = None,
    ) -> int:
        if not rows.num_rows:
            return 0
        target = sql.Identifier(schema, table) if schema else sql.Identifier(table)
        staged = sql.Identifier(f"new_{table}")
        names = sql.SQL(", ").join(map(sql.Identifier, rows.column_names))
        self.con.execute(sql.SQL("CREATE TEMP TABLE {} (LIKE {}) ON COMMIT DROP").format(staged, target))
        with self.con.cursor() as cursor, cursor.copy(sql.SQL("COPY {} ({}) FROM STDIN").format(staged, names)) as copy:
            for row in zip(*(column.to_pylist() for column in rows.columns), strict=True):
                copy.write_row([_clean(value) for value in row])
        updates = sql.SQL(", ").join(
            sql.SQL("{0} = excluded.{0}").format(sql.Identifier(c))
            for c in rows.column_names
            if c != key and c not in keep
        )
        guard: sql.Composable = sql.SQL("")
        if newer:
            mine = [c for c in rows.column_names if c != key and c not in keep]
            was = sql.SQL(", ").join(sql.SQL("{}.{}").format(target, sql.Identifier(c)) for c in mine)
            new = sql.SQL(", ").join(sql.SQL("excluded.{}").format(sql.Identifier(c)) for c in mine)
            guard = sql.SQL("WHERE {0}.{1} <= excluded.{1} AND ROW({2}) IS DISTINCT FROM ROW({3})").format(
                target, sql.Identifier(newer), was, new
            )
        done = self.con.execute(
            sql.SQL(
                "INSERT INTO {target} ({names}) SELECT {names} FROM {staged} ON CONFLICT ({key}) DO UPDATE SET {updates} {guard}"
            ).format(target=target, names=names, staged=staged, key=sql.Identifier(key), updates=updates, guard=guard)
        )
        self.con.execute(sql.SQL("DROP TABLE {}").format(staged))
        return done.rowcount


def _clean(value: Any) -> Any:
    """PostgreSQL's text has no NUL; DuckDB's may."""
    return value.replace("\0", "") if isinstance(value, str) else value
