"""The CRM's status events, read from a real DuckDB file and a real PostgreSQL."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import duckdb
import orjson
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.contracts import STATUSES, Batch, Message, Stream
from pipelines.errors import PermanentError, RejectedMessage, SettingsError, TransientError
from pipelines.sources import feedback
from tests.peers.postgres import postgres, postgres_url  # noqa: F401 - fixtures

NOW = datetime(2026, 11, 20, 3, 0, tzinfo=UTC)
WIB = timezone(timedelta(hours=7))
AT = datetime(2026, 11, 19, 15, 4, 5, 678901, tzinfo=WIB)
ROW = (7, "t0abc", "proses", "jalan", "dbm", "sudin_bm_jaksel", "31.74.07.1005", "sudah dicek", "operator", AT)
BARE = (8, "t0abd", None, None, None, None, None, "menunggu suku cadang", None, AT)
_DDL = """CREATE TABLE status_events (event_no BIGINT NOT NULL, ticket_id TEXT NOT NULL, status TEXT,
    category TEXT, agency_id TEXT, unit TEXT, kelurahan_code TEXT, note TEXT, actor TEXT, happened_at TIMESTAMPTZ NOT NULL)"""


class Store:
    """A CRM store of either kind, empty, and the stream that reads it."""

    def __init__(self, stream: Stream, run: Callable[..., None]) -> None:
        self.stream, self.run = stream, run

    def create(self) -> None:
        self.run(_DDL)

    def add(self, *rows: tuple[Any, ...]) -> None:
        for row in rows:
            self.run(row)

    def pull(self, cursor: dict[str, Any] | None = None) -> list[Batch]:
        return list(feedback.pull(self.stream, cursor, now=lambda: NOW))


@pytest.fixture(params=["duckdb", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    if request.param == "duckdb":
        return _duck_store(tmp_path)
    url = request.getfixturevalue("postgres_url")
    monkeypatch.setenv("KANAL_TEST_CRM", url)
    return Store(_stream(url_env="KANAL_TEST_CRM"), _postgres_runner(url))


def _duck_store(folder: Path) -> Store:
    def run(what: str | tuple[Any, ...]) -> None:
        with duckdb.connect(str(folder / "crm.duckdb")) as con:
            if isinstance(what, str):
                con.execute(what)
            else:
                con.execute(f"INSERT INTO status_events VALUES ({', '.join('?' * len(what))})", what)

    return Store(_stream(database="crm.duckdb", root=str(folder)), run)


def _postgres_runner(url: str) -> Callable[..., None]:
    def run(what: str | tuple[Any, ...]) -> None:
        with psycopg.connect(url) as con:
            if isinstance(what, str):
                con.execute(what)
            else:
                con.execute(f"INSERT INTO status_events VALUES ({', '.join(['%s'] * len(what))})", what)

    return run


def _stream(root: str = ".", **options: Any) -> Stream:
    return Stream("_crm", "status", "feedback", options, root)


def _message(**fields: Any) -> Message:
    row = {"event_no": 7, "ticket_id": "t0abc", "status": "proses", "happened_at": "2026-11-19T08:04:05+00:00"} | fields
    return Message("7", "v", orjson.dumps(row), feedback.PAYLOAD_TYPE, NOW)


# --- pull -----------------------------------------------------------------------------------


def test_an_event_of_either_store_becomes_the_same_message_and_the_same_event(store: Store) -> None:
    store.create()
    store.add(ROW, BARE)
    [batch] = store.pull()
    assert batch.cursor == {"event_no": 8}
    first, second = batch.messages
    assert replace(first, payload=b"", version="") == Message(
        "0000000000000000007", "", b"", feedback.PAYLOAD_TYPE, NOW, AT.astimezone(UTC), None, "status_events 7"
    )
    assert feedback.event(first) == {
        "ticket_id": "t0abc",
        "status": "proses",
        "category": "jalan",
        "agency_id": "dbm",
        "unit": "sudin_bm_jaksel",
        "kelurahan_code": "31.74.07.1005",
        "note": "sudah dicek",
        "actor": "operator",
        "happened_at": AT.astimezone(UTC),
    }
    assert feedback.event(second) == {
        "ticket_id": "t0abd",
        "status": None,
        "category": None,
        "agency_id": None,
        "unit": None,
        "kelurahan_code": None,
        "note": "menunggu suku cadang",
        "actor": None,
        "happened_at": AT.astimezone(UTC),
    }


def test_a_store_without_the_table_brings_nothing(store: Store) -> None:
    store.run("CREATE TABLE something_else (x INTEGER)")
    assert store.pull() == []


def test_a_database_that_is_not_there_yet_brings_nothing_and_is_not_created(tmp_path: Path) -> None:
    assert list(feedback.pull(_stream(str(tmp_path), database="crm.duckdb"), None, now=lambda: NOW)) == []
    assert list(tmp_path.iterdir()) == []


def test_a_pull_goes_on_behind_its_cursor_and_repeats_nothing(store: Store) -> None:
    store.create()
    store.add(ROW)
    [first] = store.pull()
    assert store.pull(first.cursor) == []
    store.add(BARE)
    [second] = store.pull(first.cursor)
    assert [m.origin for m in second.messages] == ["status_events 8"]


def test_many_events_come_in_batches_of_a_thousand_whose_keys_sort_as_they_count(store: Store) -> None:
    store.create()
    store.run(
        "INSERT INTO status_events SELECT n, 't' || n, 'proses', NULL, NULL, NULL, NULL, NULL, NULL,"
        " TIMESTAMPTZ '2026-11-19 08:00:00+00' FROM generate_series(1, 2500) AS g(n)"
    )
    batches = store.pull()
    refs = [m.source_ref for b in batches for m in b.messages]
    assert [len(b.messages) for b in batches] == [1000, 1000, 500]
    assert [b.cursor["event_no"] for b in batches] == [1000, 2000, 2500]
    assert [int(r) for r in refs] == list(range(1, 2501))
    assert refs == sorted(refs)


def test_the_version_follows_the_content_alone(store: Store) -> None:
    store.create()
    store.add(ROW)
    [[a], [b]] = [[m.version for m in batch.messages] for batch in store.pull() + store.pull()]
    store.run("UPDATE status_events SET note = 'lain'")
    [[c]] = [[m.version for m in batch.messages] for batch in store.pull()]
    assert a == b != c


def test_a_table_with_other_columns_stops_the_stream_and_names_those_it_needs(store: Store) -> None:
    store.run("CREATE TABLE status_events (event_no BIGINT, ticket_id TEXT, happened_at TIMESTAMPTZ)")
    with pytest.raises(PermanentError, match=r"_crm/status: status_events .* lacks a column.*kelurahan_code"):
        store.pull()


def test_a_time_without_end_sets_one_event_aside_and_not_the_batch(store: Store) -> None:
    store.create()
    store.add(ROW)
    store.run(
        "INSERT INTO status_events (event_no, ticket_id, status, happened_at) VALUES (9, 't1', 'selesai', 'infinity')"
    )
    [batch] = store.pull()
    assert feedback.event(batch.messages[0])["status"] == "proses"
    assert batch.messages[1].occurred_at is None
    with pytest.raises(RejectedMessage, match="waktunya kosong atau tidak terbaca"):
        feedback.event(batch.messages[1])


def test_a_duckdb_file_that_another_program_writes_is_waited_for(tmp_path: Path) -> None:
    store = _duck_store(tmp_path)
    store.create()
    code = f"import duckdb; c = duckdb.connect({str(tmp_path / 'crm.duckdb')!r}); print('open', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        with pytest.raises(TransientError, match="open in another program"):
            store.pull()
        writer.communicate(b"\n")
    assert store.pull() == []


def test_the_duckdb_file_is_free_while_a_batch_is_being_landed(tmp_path: Path) -> None:
    store = _duck_store(tmp_path)
    store.create()
    store.add(ROW)
    for _ in feedback.pull(store.stream, None, now=lambda: NOW):
        store.add(BARE)
    [batch] = store.pull()
    assert len(batch.messages) == 2


def test_a_duckdb_file_that_this_process_is_writing_is_waited_for(tmp_path: Path) -> None:
    store = _duck_store(tmp_path)
    store.create()
    with duckdb.connect(str(tmp_path / "crm.duckdb")), pytest.raises(TransientError, match="by this process"):
        store.pull()


def test_a_file_that_is_no_duckdb_stops_the_stream(tmp_path: Path) -> None:
    (tmp_path / "crm.duckdb").write_bytes(b"bukan basis data" * 1000)
    with pytest.raises(PermanentError, match="cannot be read as a DuckDB file"):
        list(feedback.pull(_stream(str(tmp_path), database="crm.duckdb"), None, now=lambda: NOW))


def test_a_stream_without_a_store_says_which_options_it_needs() -> None:
    with pytest.raises(SettingsError, match="`database`.*`url_env`"):
        list(feedback.pull(_stream(), None, now=lambda: NOW))


# --- PostgreSQL alone -----------------------------------------------------------------------


@pytest.fixture
def server(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("KANAL_TEST_CRM", postgres_url)
    store = Store(_stream(url_env="KANAL_TEST_CRM"), _postgres_runner(postgres_url))
    store.create()
    return store


def test_an_event_numbered_first_and_committed_last_is_not_passed_over(server: Store, postgres_url: str) -> None:
    slow = psycopg.connect(postgres_url)
    slow.execute(
        "INSERT INTO status_events (event_no, ticket_id, status, happened_at) VALUES (1, 't1', 'proses', now())"
    )
    with psycopg.connect(postgres_url) as quick:
        quick.execute(
            "INSERT INTO status_events (event_no, ticket_id, status, happened_at) VALUES (2, 't1', 'selesai', now())"
        )
    timer = threading.Timer(0.5, slow.commit)
    timer.start()
    [batch] = server.pull()
    timer.join()
    slow.close()
    assert [m.origin for m in batch.messages] == ["status_events 1", "status_events 2"]


def test_a_writer_that_does_not_finish_is_waited_for_five_seconds_and_then_at_the_next_pull(
    server: Store,
    postgres_url: str,
) -> None:
    with psycopg.connect(postgres_url) as slow:
        slow.execute("INSERT INTO status_events (event_no, ticket_id, happened_at) VALUES (1, 't1', now())")
        with pytest.raises(TransientError, match="the CRM is busy writing status_events"):
            server.pull()
        slow.rollback()
    assert server.pull() == []


def test_a_role_that_may_only_read_is_told_what_to_grant(
    server: Store,
    postgres_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server.run("CREATE ROLE reader LOGIN; GRANT SELECT ON status_events TO reader")
    monkeypatch.setenv("KANAL_TEST_CRM", postgres_url.replace("//kanal@", "//reader@"))
    try:
        with pytest.raises(PermanentError, match="GRANT SELECT, UPDATE"):
            server.pull()
        server.run("GRANT UPDATE ON status_events TO reader")
        assert server.pull() == []
    finally:
        server.run("DROP OWNED BY reader; DROP ROLE reader")


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("postgresql://kanal:sangat-rahasia@127.0.0.1:1/crm", TransientError),
        ("postgresql://kanal:sangat-rahasia@/crm?tidak_ada=1", SettingsError),
    ],
)
def test_a_wrong_url_is_told_without_its_password(
    url: str, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KANAL_TEST_CRM", url)
    with pytest.raises(error) as caught:
        list(feedback.pull(_stream(url_env="KANAL_TEST_CRM"), None, now=lambda: NOW))
    seen: BaseException | None = caught.value
    while seen:
        assert "sangat-rahasia" not in repr(seen)
        seen = seen.__cause__ or seen.__context__


def test_an_unset_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KANAL_TEST_CRM", raising=False)
    with pytest.raises(SettingsError, match="KANAL_TEST_CRM is not set"):
        list(feedback.pull(_stream(url_env="KANAL_TEST_CRM"), None, now=lambda: NOW))


# --- event ----------------------------------------------------------------------------------


@pytest.mark.parametrize("status", STATUSES)
def test_every_status_is_known_also_with_blanks_and_capitals(status: str) -> None:
    assert feedback.event(_message(status=f" {status.replace('_', ' ').title()} "))["status"] == status


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"status": "beres"}, 'status "beres" tidak dikenal. Yang dikenal: menunggu, koordinasi'),
        ({"ticket_id": None}, "nomor tiketnya kosong"),
        ({"ticket_id": "  "}, "nomor tiketnya kosong"),
        ({"ticket_id": 5}, "nomor tiketnya kosong"),
        ({"kelurahan_code": "3174071005"}, 'kode kelurahan "3174071005" bukan kode Kemendagri'),
        ({"happened_at": None}, "waktunya kosong"),
        ({"happened_at": "kemarin"}, "waktunya kosong"),
        ({"happened_at": "2026-11-19T08:04:05"}, "waktunya kosong"),  # in which zone?
        ({"happened_at": "0001-01-01T00:00:00+14:00"}, "waktunya kosong"),
        ({"status": " ", "note": ""}, "tidak ada yang diubah"),
    ],
)
def test_an_event_that_cannot_be_applied_is_set_aside_with_what_to_do(fields: dict[str, Any], why: str) -> None:
    with pytest.raises(RejectedMessage) as caught:
        feedback.event(_message(**fields))
    assert why in caught.value.reason
    assert caught.value.reason.startswith("Kejadian dari CRM ini tidak bisa dipakai: ")
    assert caught.value.stage == "event"


@given(
    st.one_of(
        st.binary(),
        st.recursive(
            st.none() | st.text() | st.integers(0, 9),
            lambda x: (
                st.lists(x)
                | st.dictionaries(st.sampled_from(["ticket_id", "status", "happened_at", "note"]) | st.text(), x)
            ),
        ).map(orjson.dumps),
    )
)
def test_any_payload_is_an_event_or_set_aside(payload: bytes) -> None:
    try:
        found = feedback.event(Message("1", "v", payload, feedback.PAYLOAD_TYPE, NOW))
    except RejectedMessage:
        return
    assert found["ticket_id"]
    assert found["happened_at"].tzinfo is UTC


def test_a_status_event_is_never_a_report() -> None:
    with pytest.raises(RejectedMessage, match="bukan laporan warga"):
        feedback.decode(_message(), _stream())
