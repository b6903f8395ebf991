"""The CRM's store in PostgreSQL, which production uses: its tables, contacts behind a role, delivery.

Belongs here: what PostgreSQL does otherwise than DuckDB. Not here: the tables' shapes and what is delivered (crm).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
import pyarrow as pa
from psycopg import errors, sql

from pipelines.contracts import OFFICER_COLUMNS, TICKETS, describe
from pipelines.errors import KanalError, PermanentError, SettingsError, TransientError
from pipelines.settings import secret
from pipelines.sinks import duck
from pipelines.sinks.crm import AGENCY_SOURCE, EMERGENCY_RULE, FOLLOWS, TABLES, Store

_TYPES = {
    pa.string(): "text",
    pa.int32(): "integer",
    pa.int64(): "bigint",
    pa.float64(): "double precision",
    pa.bool_(): "boolean",
    pa.timestamp("us", tz="UTC"): "timestamptz",
    pa.list_(pa.string()): "text[]",
}
_KEYS = {"tickets": "ticket_id", "ticket_reports": "report_id", "status_events": "event_no", "delivery": "name"}
CONTACT_ROLE = "kanal_contacts"

# Contacts leave the database only through this function, for members of one role, and never silently.
_CONTACTS = f"""
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
def open_postgres(variable: str) -> Iterator[Store]:
    """The store behind the URL that the environment variable holds, made where it is new. KanalError without a secret."""
    con = _connected(variable)
    if isinstance(con, KanalError):
        raise con
    try:
        with con:
            _create(con)
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


def _create(con: psycopg.Connection) -> None:
    with con.transaction():
        con.execute("SELECT pg_advisory_xact_lock(4021706)")  # two first deliveries at once
        con.execute("CREATE TABLE IF NOT EXISTS schema_migrations (name text PRIMARY KEY, applied_at timestamptz)")
        done = {row[0] for row in con.execute("SELECT name FROM schema_migrations").fetchall()}
        if "0001_create_tables" not in done:
            for name, schema in TABLES.items():
                _create_table(con, name, schema)
            con.execute("INSERT INTO schema_migrations VALUES ('0001_create_tables', now())")
        if "0002_contacts" not in done:
            schema_name = con.execute("SELECT quote_ident(current_schema())").fetchone()
            con.execute(_CONTACTS.replace("{schema}", schema_name[0] if schema_name else "public"))
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
            con.execute(EMERGENCY_RULE.format(text="text"))
            _comment(con, "tickets", duck.some_of(TICKETS, "emergency_rule"))
            con.execute("INSERT INTO schema_migrations VALUES ('0004_emergency_rule', now())")
        if "0005_agency_source" not in done:
            con.execute(AGENCY_SOURCE.format(text="text", real="double precision"))
            _comment(con, "tickets", duck.some_of(TICKETS, "agency_source", "agency_confidence"))
            con.execute("INSERT INTO schema_migrations VALUES ('0005_agency_source', now())")
        if "0006_follows" not in done:
            con.execute(FOLLOWS.format(text="text"))
            _comment(con, "tickets", duck.some_of(TICKETS, "follows"))
            con.execute("INSERT INTO schema_migrations VALUES ('0006_follows', now())")


def _create_table(con: psycopg.Connection, name: str, schema: pa.Schema) -> None:
    columns: list[sql.Composable] = [
        sql.SQL("{} {} {}").format(
            sql.Identifier(f.name),
            sql.SQL(_TYPES[f.type]),
            sql.SQL("" if f.nullable else "NOT NULL"),
        )
        for f in schema
    ]
    if name == "status_events":  # the CRM only inserts; numbers are ours to give
        columns[0] = sql.SQL("event_no bigint GENERATED ALWAYS AS IDENTITY")
    key = sql.SQL("PRIMARY KEY ({})").format(sql.Identifier(_KEYS[name]))
    con.execute(
        sql.SQL("CREATE TABLE IF NOT EXISTS {} ({})").format(sql.Identifier(name), sql.SQL(", ").join([*columns, key]))
    )
    _comment(con, name, schema)


def _comment(con: psycopg.Connection, name: str, schema: pa.Schema) -> None:
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
