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
from typing import Protocol

import duckdb
import pyarrow as pa

from pipelines.contracts import OFFICER_COLUMNS, REPORTS, TICKETS, VAULT
from pipelines.settings import Settings
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
        from pipelines.sinks.crm_postgres import open_postgres

        with open_postgres(settings.crm_url_env) as store:
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
EMERGENCY_RULE = "ALTER TABLE tickets ADD COLUMN IF NOT EXISTS emergency_rule {text}"


def _add_emergency_rule(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(EMERGENCY_RULE.format(text="VARCHAR"))
    duck.comment_on(con, "tickets", duck.some_of(TICKETS, "emergency_rule"))


# Who named the agency: before this came, only rules and people did. The confidence of tickets delivered before stays
# empty until they are delivered again, which `kanal rebuild` does.
AGENCY_SOURCE = """
ALTER TABLE tickets ADD COLUMN IF NOT EXISTS agency_source {text} DEFAULT 'rule';
ALTER TABLE tickets ALTER COLUMN agency_source DROP DEFAULT;
UPDATE tickets SET agency_source = 'person' WHERE route_rule = 'keputusan' AND agency_source = 'rule';
ALTER TABLE tickets ADD COLUMN IF NOT EXISTS agency_confidence {real};
"""


def _add_agency_source(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(AGENCY_SOURCE.format(text="VARCHAR", real="DOUBLE"))
    duck.comment_on(con, "tickets", duck.some_of(TICKETS, "agency_source", "agency_confidence"))


FOLLOWS = "ALTER TABLE tickets ADD COLUMN IF NOT EXISTS follows {text}"


def _add_follows(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(FOLLOWS.format(text="VARCHAR"))
    duck.comment_on(con, "tickets", duck.some_of(TICKETS, "follows"))


_MIGRATIONS = {
    "0001_create_tables": _create,
    "0002_emergency_rule": _add_emergency_rule,
    "0003_agency_source": _add_agency_source,
    "0004_follows": _add_follows,
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
