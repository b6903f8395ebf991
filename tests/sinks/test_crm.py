"""The CRM's store: delivery is an upsert guarded by version, the same in DuckDB and in PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pyarrow as pa
import pytest

from pipelines.contracts import TICKETS
from pipelines.errors import KanalError, PermanentError, SettingsError, TransientError
from pipelines.settings import Settings
from pipelines.sinks import crm
from pipelines.sinks.warehouse import Warehouse
from tests import made
from tests.peers.canary import told_by
from tests.peers.postgres import postgres, postgres_url  # noqa: F401 - fixtures

Query = Callable[[str], list[tuple[Any, ...]]]


@pytest.fixture(params=["duckdb", "postgresql"])
def settings(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    found = made.settings(tmp_path / "data")
    if request.param == "duckdb":
        return found
    monkeypatch.setenv("KANAL_TEST_CRM", request.getfixturevalue("postgres_url"))
    return replace(found, crm_url_env="KANAL_TEST_CRM")


@pytest.fixture
def query(settings: Settings) -> Query:
    def ask(sql: str) -> list[tuple[Any, ...]]:
        if settings.crm_url_env:
            import os

            with psycopg.connect(os.environ[settings.crm_url_env], options="-c TimeZone=UTC") as con:
                found = con.execute(sql)
                return found.fetchall() if found.description else []
        with duckdb.connect(str(settings.crm)) as con:
            con.execute("SET TimeZone = 'UTC'")
            return con.execute(sql).fetchall()

    return ask


@contextmanager
def opened(settings: Settings, rows: dict[str, pa.Table] | None) -> Iterator[Warehouse]:
    with made.warehouse(settings, rows) as warehouse:
        yield warehouse


def deliver(settings: Settings, warehouse: Warehouse, *, everything: bool = False) -> int:
    with crm.open_crm(settings) as store:
        return crm.deliver(warehouse, store, everything=everything)


TOLD = "ticket_id, ticket_no, category, description, channels, report_count, private, opened_at, status, version"


def test_every_ticket_arrives_with_its_reports_and_a_second_delivery_writes_nothing(
    settings: Settings, query: Query
) -> None:
    rows = made.rows(300)
    with opened(settings, rows) as warehouse:
        assert deliver(settings, warehouse) == rows["tickets"].num_rows
        assert deliver(settings, warehouse) == 0
        assert deliver(settings, warehouse, everything=True) == 0
        ours = warehouse.con.execute(f"SELECT {TOLD} FROM tickets ORDER BY ticket_id").fetchall()
    assert query(f"SELECT {TOLD} FROM tickets ORDER BY ticket_id") == ours
    assert query("SELECT count(*) FROM ticket_reports") == [(rows["links"].num_rows,)]


def test_a_newer_version_is_written_and_what_officers_own_stays(settings: Settings, query: Query) -> None:
    rows = made.rows(300)
    with opened(settings, rows) as warehouse:
        deliver(settings, warehouse)
    [(ticket,)] = query("SELECT min(ticket_id) FROM tickets")
    query(f"UPDATE tickets SET status = 'proses', status_at = '2026-06-20 00:00:00+00' WHERE ticket_id = '{ticket}'")
    with opened(settings, None) as warehouse:
        warehouse.con.execute("UPDATE tickets SET version = version + 1, description = 'lebih baru', status = 'selesai'"
                              " WHERE ticket_id = ?", [ticket])  # fmt: skip
        assert deliver(settings, warehouse, everything=True) == 1
    assert query(f"SELECT description, status FROM tickets WHERE ticket_id = '{ticket}'") == [("lebih baru", "proses")]


def test_an_older_version_changes_nothing(settings: Settings, query: Query) -> None:
    rows = made.rows(300)
    with opened(settings, rows) as warehouse:
        deliver(settings, warehouse)
    before = query(f"SELECT {TOLD} FROM tickets ORDER BY ticket_id")
    with opened(settings, None) as warehouse:
        warehouse.con.execute("UPDATE tickets SET version = version - 1, description = 'lebih tua'")
        assert deliver(settings, warehouse, everything=True) == 0
    assert query(f"SELECT {TOLD} FROM tickets ORDER BY ticket_id") == before


def test_the_watermark_moves_only_with_the_rows_it_stands_for(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crm, "_BATCH", 50)
    rows = made.rows(300)
    with opened(settings, rows) as warehouse, crm.open_crm(settings) as store:
        assert store.watermark() == -1
        crm.deliver(warehouse, store)
        assert store.watermark() == warehouse.next_arrival()
        crm.deliver(warehouse, store)
        assert store.watermark() == warehouse.next_arrival()


def test_the_store_has_every_column_of_the_contract(settings: Settings, query: Query) -> None:
    with opened(settings, made.rows(20)) as warehouse:
        deliver(settings, warehouse)
    names = query(
        "SELECT column_name FROM information_schema.columns WHERE table_name = 'tickets' ORDER BY ordinal_position"
    )
    assert [n for (n,) in names] == TICKETS.names


OLDER = """
ALTER TABLE tickets DROP COLUMN agency_source;
ALTER TABLE tickets DROP COLUMN agency_confidence;
ALTER TABLE tickets DROP COLUMN emergency_rule;
DELETE FROM schema_migrations WHERE name LIKE '%agency_source' OR name LIKE '%emergency_rule'
"""


def test_a_store_of_an_older_shape_gets_who_named_the_agency_and_keeps_what_officers_own(
    settings: Settings, query: Query
) -> None:
    rows = made.rows(20)
    with opened(settings, rows) as warehouse:
        deliver(settings, warehouse)
        for statement in OLDER.split(";"):
            query(statement)
        query("UPDATE tickets SET status = 'proses'")
        query("UPDATE tickets SET route_rule = 'keputusan' WHERE ticket_id = (SELECT min(ticket_id) FROM tickets)")
        n = rows["tickets"].num_rows
        with crm.open_crm(settings) as store:
            assert store.watermark() == warehouse.next_arrival()
        told = "SELECT agency_source, agency_confidence FROM tickets ORDER BY ticket_id"
        assert query(told) == [("person", None), *[("rule", None)] * (n - 1)]
        assert deliver(settings, warehouse, everything=True) == n
        assert query(told) == [("rule", 0.78)] * n
        assert query("SELECT DISTINCT status FROM tickets") == [("proses",)]
        assert deliver(settings, warehouse, everything=True) == 0
        later = made.rows(20, entry=1)
        warehouse.write(later)
        assert deliver(settings, warehouse, everything=True) == later["tickets"].num_rows


def test_contacts_never_reach_the_duckdb_store(tmp_path: Path) -> None:
    settings = made.settings(tmp_path / "data")
    with opened(settings, made.rows(300)) as warehouse:
        deliver(settings, warehouse)
    assert made.CANARY.encode() not in settings.crm.read_bytes()


def test_contacts_reach_officers_of_one_role_only_with_a_reason_and_every_look_is_logged(
    tmp_path: Path,
    postgres_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KANAL_TEST_CRM", postgres_url)
    settings = replace(made.settings(tmp_path / "data"), crm_url_env="KANAL_TEST_CRM")
    with opened(settings, made.rows(300)) as warehouse:
        deliver(settings, warehouse)
        [(ticket,)] = warehouse.con.execute(
            "SELECT min(ticket_id) FROM links SEMI JOIN vault USING (report_id)"
        ).fetchall()
    with psycopg.connect(postgres_url, autocommit=True) as con:
        con.execute("DROP ROLE IF EXISTS petugas")
        con.execute("CREATE ROLE petugas")
        con.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO petugas")
        con.execute("SET ROLE petugas")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            con.execute("SELECT * FROM kanal_vault.contacts")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            con.execute("SELECT * FROM contacts_of(%s, 'perlu menelepon pelapor')", [ticket])
        con.execute("RESET ROLE")
        con.execute("GRANT kanal_contacts TO petugas")
        con.execute("SET ROLE petugas")
        with pytest.raises(psycopg.errors.RaiseException, match="say why"):
            con.execute("SELECT * FROM contacts_of(%s, '')", [ticket])
        found = con.execute(
            "SELECT author_name, phone FROM contacts_of(%s, 'perlu menelepon pelapor')", [ticket]
        ).fetchall()
        con.execute("RESET ROLE")
        log = con.execute("SELECT ticket_id, reason FROM kanal_vault.contact_access").fetchall()
    assert found
    assert set(found) == {("Warga Contoh", made.CANARY)}
    assert log == [(ticket, "perlu menelepon pelapor")]


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("postgresql://kanal:rahasia-sekali@127.0.0.1:1/crm", TransientError),
        ("postgresql://kanal:rahasia-sekali@127.0.0.1:notaport/crm", KanalError),
        ("rahasia-sekali", KanalError),
    ],
)
def test_a_store_that_cannot_be_reached_is_told_without_its_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, kind: type[Exception]
) -> None:
    monkeypatch.setenv("KANAL_TEST_CRM", url)
    settings = replace(made.settings(tmp_path / "data"), crm_url_env="KANAL_TEST_CRM")
    with pytest.raises(kind) as caught, crm.open_crm(settings):
        pass
    assert "rahasia" not in told_by(caught.value)


def test_a_url_variable_that_is_not_set_names_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KANAL_TEST_CRM", raising=False)
    settings = replace(made.settings(tmp_path / "data"), crm_url_env="KANAL_TEST_CRM")
    with pytest.raises(SettingsError, match="KANAL_TEST_CRM is not set"), crm.open_crm(settings):
        pass


@pytest.fixture
def in_postgres(tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("KANAL_TEST_CRM", postgres_url)
    return replace(made.settings(tmp_path / "data"), crm_url_env="KANAL_TEST_CRM")


def test_a_role_that_may_not_make_what_kanal_needs_is_told_what_to_grant(
    in_postgres: Settings, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as con:
        con.execute("DROP ROLE IF EXISTS terbatas")
        con.execute("CREATE ROLE terbatas LOGIN PASSWORD 'rahasia'")
        con.execute("GRANT ALL ON SCHEMA public TO terbatas")
    limited = psycopg.conninfo.make_conninfo(postgres_url, user="terbatas", password="rahasia")
    monkeypatch.setenv("KANAL_TEST_CRM", limited)
    with pytest.raises(PermanentError, match="CREATEROLE or make the role kanal_contacts") as caught:
        deliver_nothing(in_postgres)
    assert "rahasia" not in told_by(caught.value)


def deliver_nothing(settings: Settings) -> None:
    with crm.open_crm(settings):
        pass


def cut_off_and_deliver(settings: Settings, warehouse: Warehouse, url: str) -> None:
    with crm.open_crm(settings) as store:
        with psycopg.connect(url, autocommit=True) as con:
            con.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'kanal' AND datname = current_database()"
            )
        crm.deliver(warehouse, store)


def test_a_server_that_goes_away_during_a_delivery_is_waited_for(in_postgres: Settings, postgres_url: str) -> None:
    with opened(in_postgres, made.rows(20)) as warehouse:
        with pytest.raises(TransientError, match="the connection broke"):
            cut_off_and_deliver(in_postgres, warehouse, postgres_url)
        assert deliver(in_postgres, warehouse) > 0


def test_a_table_that_somebody_dropped_is_told(in_postgres: Settings, query: Query, postgres_url: str) -> None:
    with opened(in_postgres, made.rows(20)) as warehouse:
        deliver(in_postgres, warehouse)
        with psycopg.connect(postgres_url, autocommit=True) as con:
            con.execute("DROP TABLE delivery")
        with pytest.raises(PermanentError, match="that Kanal made is gone .*UndefinedTable"):
            deliver(in_postgres, warehouse)


def test_postgresql_gives_the_numbers_of_events_and_refuses_others(in_postgres: Settings, postgres_url: str) -> None:
    with crm.open_crm(in_postgres):
        pass
    with psycopg.connect(postgres_url, autocommit=True) as con:
        told = "INSERT INTO status_events (ticket_id, status, actor, happened_at) VALUES ('t', 'koordinasi', 'kelurahan', now())"
        con.execute(told)
        with pytest.raises(psycopg.errors.GeneratedAlways):
            con.execute("INSERT INTO status_events (event_no, ticket_id, happened_at) VALUES (2, 't', now())")
        con.execute(told)
        numbers = con.execute("SELECT event_no FROM status_events ORDER BY 1").fetchall()
    assert numbers == [(1,), (2,)]


def test_numbers_given_by_hand_before_no_longer_stand_in_the_way(in_postgres: Settings, postgres_url: str) -> None:
    with crm.open_crm(in_postgres):
        pass
    with psycopg.connect(postgres_url, autocommit=True) as con:
        con.execute("ALTER TABLE status_events ALTER COLUMN event_no SET GENERATED BY DEFAULT")
        con.execute("DELETE FROM schema_migrations WHERE name LIKE '0003%'")
        con.execute(
            "INSERT INTO status_events (event_no, ticket_id, happened_at) VALUES (1, 't', now()), (7, 't', now())"
        )
        with crm.open_crm(in_postgres):
            pass
        con.execute("INSERT INTO status_events (ticket_id, happened_at) VALUES ('t', now())")
        assert con.execute("SELECT event_no FROM status_events ORDER BY 1").fetchall() == [(1,), (7,), (8,)]


def test_an_empty_file_left_by_a_full_disk_is_filled_and_a_damaged_one_is_told(tmp_path: Path) -> None:
    settings = made.settings(tmp_path)
    settings.crm.write_bytes(b"")
    with opened(settings, made.rows(20)) as warehouse:
        assert deliver(settings, warehouse) > 0
        settings.crm.write_bytes(b"broken" * 9999)
        with pytest.raises(PermanentError, match="If it is damaged, restore it from a backup, or move it away"):
            deliver(settings, warehouse)


def test_a_rebuild_by_mended_code_reaches_the_store_though_versions_are_equal(settings: Settings, query: Query) -> None:
    with opened(settings, made.rows(100)) as warehouse:
        deliver(settings, warehouse)
        [(ticket,)] = warehouse.con.execute("SELECT min(ticket_id) FROM tickets").fetchall()
        warehouse.con.execute("UPDATE tickets SET description = 'terbaca benar' WHERE ticket_id = ?", [ticket])
        assert deliver(settings, warehouse, everything=True) == 1
        assert deliver(settings, warehouse, everything=True) == 0
    assert query(f"SELECT description FROM tickets WHERE ticket_id = '{ticket}'") == [("terbaca benar",)]


def test_a_store_of_before_gets_the_column_that_says_which_rule_flagged_a_ticket(
    settings: Settings, query: Query
) -> None:
    with opened(settings, made.rows(300)) as warehouse:
        deliver(settings, warehouse)
        asked = "SELECT ticket_id, emergency_rule FROM tickets WHERE emergency ORDER BY 1"
        flagged = warehouse.con.execute(asked).fetchall()
        assert flagged and query(asked) == flagged
        for old in (
            "ALTER TABLE tickets DROP COLUMN emergency_rule",
            "DELETE FROM schema_migrations WHERE name LIKE '%_emergency_rule'",
        ):
            query(old)
        assert deliver(settings, warehouse, everything=True) == len(flagged)
    assert query(asked) == flagged
