"""The warehouse: one transaction an entry, fenced by the ledger, its promises provable."""

from __future__ import annotations

import resource
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from pipelines.contracts import KEYS, WAREHOUSE, describe
from pipelines.errors import PermanentError, TransientError
from pipelines.sinks import duck
from pipelines.sinks.warehouse import Warehouse, open_warehouse
from tests import made


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "warehouse.duckdb"


def write(path: Path, **changed: pa.Table) -> dict[str, pa.Table]:
    rows = made.rows(300) | changed
    with open_warehouse(path) as warehouse:
        warehouse.write(rows)
    return rows


def count(warehouse: Warehouse, table: str) -> int:
    return duck.one(warehouse.con, f"SELECT count(*) FROM {table}")


def test_what_an_entry_brings_is_there_whole_and_keeps_every_promise(path: Path) -> None:
    rows = write(path)
    with open_warehouse(path) as warehouse:
        assert {name: count(warehouse, name) for name in WAREHOUSE} == {n: rows[n].num_rows for n in WAREHOUSE}
        assert not any(warehouse.violations().values())
        assert warehouse.last_entry() == 0
        assert warehouse.next_arrival() == rows["messages"].num_rows


def test_the_same_entry_a_second_time_is_refused_and_leaves_no_trace(path: Path) -> None:
    rows = write(path)
    with open_warehouse(path) as warehouse:
        before = warehouse.table_hashes()
        with pytest.raises(duckdb.ConstraintException):
            warehouse.write(rows)
        assert warehouse.table_hashes() == before


def test_a_new_version_replaces_its_report_and_ticket_and_adds_history(path: Path) -> None:
    rows = write(path)
    report, ticket = rows["reports"].slice(0, 1), rows["tickets"].slice(0, 1)
    newer = {name: table.slice(0, 0) for name, table in rows.items()}
    newer["reports"] = report.set_column(
        report.schema.get_field_index("text"), report.schema.field("text"), pa.array(["baru"])
    )
    newer["tickets"] = ticket
    with open_warehouse(path) as warehouse:
        warehouse.write(newer)
        assert count(warehouse, "reports") == rows["reports"].num_rows
        assert count(warehouse, "tickets") == rows["tickets"].num_rows
        assert warehouse.con.execute("SELECT count(*) FROM reports WHERE text = 'baru'").fetchall() == [(1,)]


BREAKS = {
    "links: key (report_id) twice": "INSERT INTO links SELECT * FROM links LIMIT 1",
    "links: report that does not exist": "UPDATE links SET report_id = 'nobody' WHERE report_id = (SELECT min(report_id) FROM links)",
    "links: ticket that does not exist": "UPDATE links SET ticket_id = 'nothing' WHERE report_id = (SELECT min(report_id) FROM links)",
    "reports: no ticket and no thanks": "DELETE FROM links WHERE report_id = (SELECT min(report_id) FROM links)",
    "tickets: report_count is not the number of links": "UPDATE tickets SET report_count = report_count + 1",
    "tickets: superseded_by is not where the first report is": "UPDATE tickets SET superseded_by = 'nothing'",
    "tickets: superseded, but with reports": "UPDATE tickets SET superseded_by = 'nothing'",
    "messages: not as many as the ledger says": "DELETE FROM messages WHERE row = 3",
    "messages: outcome is report, but there is no report": "DELETE FROM reports WHERE report_id = (SELECT min(report_id) FROM links)",
    "ledger: outcomes are not those of the messages": "UPDATE messages SET outcome = 'filtered' WHERE outcome = 'report'",
    "ledger: messages are not reports + repeats + filtered + quarantined + events": "UPDATE ledger SET reports = reports + 1",
    "confidence outside 0..1": "UPDATE reports SET place_confidence = 1.5",
}


@pytest.mark.parametrize("promise", BREAKS)
def test_each_broken_promise_is_found_by_its_proof(path: Path, promise: str) -> None:
    write(path)
    with open_warehouse(path) as warehouse:
        assert promise in warehouse.violations()
        warehouse.con.execute(BREAKS[promise])
        assert warehouse.violations()[promise] > 0


def test_the_hash_of_a_table_ignores_order_and_how_rows_were_made_and_nothing_else(tmp_path: Path) -> None:
    one, two, three = (tmp_path / f"{n}.duckdb" for n in "abc")
    rows = write(one)
    shuffled = {n: t.take(pa.array(range(t.num_rows - 1, -1, -1), pa.int64())) for n, t in rows.items()}
    ledger = rows["ledger"]
    shuffled["ledger"] = ledger.set_column(ledger.schema.get_field_index("run_id"), ledger.schema.field("run_id"),
                                           pa.array(["another"] * ledger.num_rows))  # fmt: skip
    write(two, **shuffled)
    with open_warehouse(one) as a, open_warehouse(two) as b:
        assert a.table_hashes() == b.table_hashes()
    links = rows["links"]
    write(three, links=links.set_column(links.schema.get_field_index("score"), links.schema.field("score"),
                                        pa.array([7] * links.num_rows, pa.int32())))  # fmt: skip
    with open_warehouse(one) as a, open_warehouse(three) as b:
        assert {n for n, h in a.table_hashes().items() if b.table_hashes()[n] != h} == {"links"}


def test_every_table_and_column_says_what_it_is(path: Path) -> None:
    with open_warehouse(path) as warehouse:
        told = dict(warehouse.con.execute(
            "SELECT table_name || '.' || column_name, comment FROM duckdb_columns() WHERE NOT internal"
            " AND table_name <> 'schema_migrations'"
        ).fetchall())  # fmt: skip
    assert told == {f"{name}.{f.name}": describe(f) for name, schema in WAREHOUSE.items() for f in schema}
    assert all(told.values())


def test_only_the_ledger_has_a_primary_key(path: Path) -> None:
    with open_warehouse(path) as warehouse:
        keyed = warehouse.con.execute(
            "SELECT table_name, constraint_column_names FROM duckdb_constraints()"
            " WHERE constraint_type = 'PRIMARY KEY' AND table_name <> 'schema_migrations'"
        ).fetchall()
    assert keyed == [("ledger", list(KEYS["ledger"]))]


def test_migrations_run_once_in_order_and_are_recorded(tmp_path: Path) -> None:
    path, ran = tmp_path / "x.duckdb", []
    first = {"0001_a": lambda con: ran.append("a") or con.execute("CREATE TABLE a (x INTEGER)")}
    duck.connect(path, first).close()
    second = first | {"0002_b": lambda con: ran.append("b") or con.execute("ALTER TABLE a ADD COLUMN y INTEGER")}
    con = duck.connect(path, second)
    assert ran == ["a", "b"]
    assert [n for (n,) in con.execute("SELECT name FROM schema_migrations ORDER BY 1").fetchall()] == [
        "0001_a",
        "0002_b",
    ]
    con.close()


def test_a_migration_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "x.duckdb"

    def fails(con: duckdb.DuckDBPyConnection) -> None:
        con.execute("CREATE TABLE half (x INTEGER)")
        con.execute("SELECT nonsense")

    with pytest.raises(duckdb.BinderException):
        duck.connect(path, {"0001_half": fails})
    con = duck.connect(path, {})
    assert con.execute("SELECT count(*) FROM schema_migrations").fetchall() == [(0,)]
    assert con.execute("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'half'").fetchall() == [(0,)]
    con.close()


def test_a_damaged_file_is_an_error_that_says_how_to_get_it_back(path: Path) -> None:
    path.write_bytes(b"not a database" * 1000)
    with pytest.raises(PermanentError, match="kanal rebuild"), open_warehouse(path):
        pass


def test_a_file_that_another_program_holds_is_waited_for(path: Path, tmp_path: Path) -> None:
    import subprocess
    import sys

    write(path)
    code = f"import duckdb, sys; c = duckdb.connect({str(path)!r}); print('open', flush=True); sys.stdin.read()"
    holder = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        with pytest.raises(TransientError, match="open in another program"), open_warehouse(path):
            pass
    finally:
        holder.communicate("")
    with open_warehouse(path) as warehouse:
        assert warehouse.last_entry() == 0


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """No file may grow past `size` bytes, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_waited_for_and_the_file_stays_as_it_was(path: Path) -> None:
    write(path)
    with open_warehouse(path) as warehouse:
        before = warehouse.table_hashes()
        size = path.stat().st_size
        with (
            full_disk(size),
            pytest.raises(TransientError, match=r"warehouse\.duckdb cannot be written: no space left"),
        ):
            warehouse.write(made.rows(3000, entry=1))
    with open_warehouse(path) as warehouse:
        assert warehouse.table_hashes() == before


def test_a_full_disk_at_the_first_opening_leaves_nothing_that_must_be_cleared_away(path: Path) -> None:
    with full_disk(0), pytest.raises(TransientError, match="no space left"):
        duck.connect(path, {})
    path.write_bytes(b"")
    with open_warehouse(path) as warehouse:
        assert warehouse.last_entry() == -1


def test_a_bad_block_is_told_with_how_to_mend_it(path: Path) -> None:
    write(path)
    with path.open("r+b") as file:
        file.seek(3 * 4096 + 100)
        file.write(b"\xff" * (path.stat().st_size - 3 * 4096 - 100))
    with pytest.raises(PermanentError, match="If it is damaged, restore it"):
        duck.connect(path, {}, mend="restore it").close()


def test_what_lies_beside_the_file_is_for_its_owner_alone_too(path: Path) -> None:
    with open_warehouse(path) as warehouse:
        warehouse.write(made.rows(30))
        modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in path.parent.iterdir()}
    assert modes["warehouse.duckdb.wal"] == modes["warehouse.duckdb"] == 0o600
