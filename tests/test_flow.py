"""The whole way: what is pulled lands, loads, links, is delivered and published, once."""

from __future__ import annotations

import json
import multiprocessing
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import psutil
import pytest

from pipelines import flow, order
from pipelines.audit import audit
from pipelines.errors import PermanentError, TransientError
from pipelines.rebuild import rebuild
from pipelines.settings import Settings
from pipelines.settings import load as load_settings
from pipelines.sinks.duck import writer_lock
from pipelines.sinks.landing import BatchRef, Landing
from pipelines.sinks.warehouse import open_warehouse
from tests.conftest import stream_toml
from tests.made_up import JAKI, KELURAHAN, ROWS, write
from tests.peers.x_emulator import post

Make = Callable[..., Settings]


class Clock:
    """A clock that goes on a second with every look at it."""

    def __init__(self, start: datetime = datetime(2026, 11, 20, 1, 0, tzinfo=UTC)) -> None:
        self._ticks: Iterator[int] = iter(range(10_000_000))
        self._start = start

    def __call__(self) -> datetime:
        return self._start + timedelta(seconds=next(self._ticks))


NOW = Clock()
EDITED = datetime(2026, 11, 19, 1, 0, tzinfo=UTC)


def hashes(settings: Settings) -> dict[str, str]:
    with open_warehouse(settings.warehouse) as warehouse:
        return warehouse.table_hashes()


def rows(settings: Settings, sql: str) -> list[tuple[Any, ...]]:
    with open_warehouse(settings.warehouse) as warehouse:
        return warehouse.con.execute(sql).fetchall()


def run(settings: Settings, **what: Any) -> flow.RunResult:
    """Without hurry the snapshot and report of the last ten minutes stay."""
    return flow.run(settings, now=NOW, **{"hurry": False} | what)


def test_a_first_run_brings_tickets_with_everything_an_officer_needs(tmp_path: Path, make_settings: Make) -> None:
    write(tmp_path / "jaki" / "oktober.csv")
    settings = make_settings(JAKI)
    result = run(settings)
    assert not result.failures
    assert not result.partial
    counts = result.loaded.streams["jaki/app"]
    assert counts == {
        "messages": 6, "reports": 6, "repeats": 0, "filtered": 0, "quarantined": 0, "events": 0, "opened": 4, "joined": 1,
    }  # fmt: skip
    [ticket] = rows(settings, "SELECT * EXCLUDE (ticket_id) FROM tickets WHERE external_ref = 'JK2610010001'")
    found = dict(zip(_columns(settings, "tickets"), ticket, strict=True))
    assert (found["category"], found["agency_id"], found["kelurahan_code"], found["report_count"]) == (
        "jalan", "bina_marga", "31.71.07.1001", 2,
    )  # fmt: skip
    assert (found["status"], found["version"], found["channels"]) == ("menunggu", 2, ["jaki"])
    assert found["unit"] == "Suku Dinas Bina Marga Kota Administrasi Jakarta Pusat"
    assert audit(settings).exact
    assert result.snapshot is not None and result.snapshot.exists()
    assert settings.report.exists()


def _columns(settings: Settings, table: str) -> list[str]:
    return [
        name
        for (name,) in rows(settings, f"SELECT column_name FROM (DESCRIBE {table}) WHERE column_name <> 'ticket_id'")
    ]


def test_thanks_are_kept_as_a_report_without_a_ticket(tmp_path: Path, make_settings: Make) -> None:
    write(tmp_path / "jaki" / "oktober.csv")
    settings = make_settings(JAKI)
    run(settings)
    assert rows(settings, "SELECT external_ref FROM reports ANTI JOIN links USING (report_id)") == [("JK2610030005",)]


def test_advertising_opens_no_ticket_and_is_told_with_the_words_that_told(tmp_path: Path, make_settings: Make) -> None:
    offer = {"nomor": "JK2610040009", "tanggal": "04/10/2026 08:00", "isi": "Slot gacor maxwin, klik link di bio bosku"}
    write(tmp_path / "jaki" / "oktober.csv", [*ROWS, offer])
    settings = make_settings(JAKI)
    counts = run(settings).loaded.streams["jaki/app"]
    assert (counts["reports"], counts["filtered"]) == (6, 1)
    assert rows(settings, "SELECT source_ref, stage, reason FROM messages WHERE outcome = 'filtered'") == [
        ("JK2610040009", "decode", "spam: Judi daring: gacor, klik, klik link, link di bio, maxwin, slot gacor")
    ]
    assert audit(settings).exact


def test_a_second_run_pulls_nothing_and_changes_nothing(tmp_path: Path, make_settings: Make) -> None:
    write(tmp_path / "jaki" / "oktober.csv")
    settings = make_settings(JAKI)
    first = run(settings)
    before = hashes(settings)
    again = run(settings)
    assert (again.loaded.messages, again.delivered, again.failures) == (0, 0, {})
    assert [p.messages for p in again.pulled] == [0, 0]
    assert again.snapshot is None
    assert hashes(settings) == before
    assert settings.analytics.resolve() == first.snapshot


def test_the_same_file_twice_changes_nothing_and_one_edited_row_is_one_new_version(
    tmp_path: Path, make_settings: Make
) -> None:
    settings = make_settings(JAKI)
    file = write(tmp_path / "one.csv")
    (tmp_path / "jaki").mkdir()
    run(settings, channel="jaki", files=[file])
    before = hashes(settings)
    copy = shutil.copy(file, tmp_path / "another name.csv")
    assert run(settings, channel="jaki", files=[file, Path(copy)]).loaded.messages == 0
    assert hashes(settings) == before

    edited = write(
        tmp_path / "two.csv",
        [*ROWS[:3], ROWS[3] | {"isi": "Sampah di TPS sudah diangkut tapi baunya masih ada"}, *ROWS[4:]],
    )
    counts = run(settings, channel="jaki", files=[edited]).loaded.streams["jaki/app"]
    assert (counts["reports"], counts["repeats"], counts["opened"], counts["joined"]) == (1, 5, 0, 0)
    [(text, number)] = rows(settings, "SELECT text, version_no FROM reports WHERE external_ref = 'JK2610020004'")
    assert (text, number) == ("Sampah di TPS sudah diangkut tapi baunya masih ada", 2)
    assert rows(settings, "SELECT event, count(*) FROM ticket_events GROUP BY 1 ORDER BY 1") == [
        ("edited", 1), ("joined", 1), ("opened", 4),
    ]  # fmt: skip
    assert audit(settings).exact


def test_a_rebuild_from_landing_alone_gives_the_same_tables(tmp_path: Path, make_settings: Make) -> None:
    settings = make_settings(JAKI + KELURAHAN)
    write(
        tmp_path / "kelurahan" / "sheet.csv",
        [{"isi": "Trotoar rusak di Kelurahan Senen dekat halte", "tanggal": "05/10/2026"}],
    )
    for number, row in enumerate(ROWS):
        write(
            tmp_path / "jaki" / f"{number}.csv",
            [row, ROWS[0] | {"isi": f"Lubangnya makin dalam, sudah {number + 2} hari"}],
        )
        run(settings)
    before = hashes(settings)
    settings.warehouse.unlink()
    rebuilt = rebuild(settings, now=NOW)
    assert rebuilt.before == {}
    assert rebuilt.after == before == hashes(settings)
    assert rebuild(settings, now=NOW).before == before
    assert run(settings).loaded.messages == 0


@pytest.mark.parametrize("group_rows", [1, 3, 50_000])
def test_how_the_log_is_cut_into_loads_makes_no_difference(
    tmp_path: Path, make_settings: Make, group_rows: int
) -> None:
    inbox = tmp_path / "jaki"
    text = JAKI.replace("settle_seconds = 0", "settle_seconds = 0\nbatch_rows = 1")
    settings = make_settings(text)
    for number, row in enumerate(ROWS):
        write(inbox / f"{number}.csv", [row])
    write(inbox / "7.csv", [ROWS[0] | {"status": "Selesai", "diubah": "04/10/2026 10:00"}])
    write(inbox / "8.csv", [ROWS[1] | {"nomor": "JK2610040007", "tanggal": "04/10/2026 11:00"}])
    write(inbox / "9.csv", [ROWS[0] | {"status": "Proses", "diubah": "05/10/2026 10:00"}])
    # An older version that comes late, and one without a contact: neither takes the contact away.
    write(inbox / "91.csv", [ROWS[0] | {"status": "Koordinasi", "diubah": "02/10/2026 10:00", "hp": "081200000099"}])
    write(
        inbox / "92.csv", [ROWS[0] | {"isi": "Sudah ditambal", "diubah": "06/10/2026 10:00", "hp": "", "pelapor": ""}]
    )
    for stream in flow.streams_of(settings):
        flow.land(settings, stream, run_id="r", now=NOW)
    flow.author_secret(settings)
    other = replace(make_settings(text, data=f"cut{group_rows}"), group_rows=group_rows)
    shutil.copytree(settings.landing_dir, other.landing_dir)
    flow.load(settings, run_id="r", now=NOW)
    flow.load(other, run_id="r", now=NOW)
    assert hashes(other) == hashes(settings)
    assert rows(
        settings, "SELECT phone FROM vault v JOIN reports USING (report_id) WHERE external_ref = 'JK2610010001'"
    ) == [("+6281200000001",)]
    # The seventh report came while the ticket was closed, so it has a ticket of its own.
    assert rows(
        settings,
        "SELECT level FROM links WHERE report_id IN (SELECT report_id FROM reports WHERE external_ref = 'JK2610040007')",
    ) == [("opened",)]


def test_one_streams_failure_stops_no_other_and_is_told(tmp_path: Path, make_settings: Make) -> None:
    write(tmp_path / "jaki" / "oktober.csv")
    settings = make_settings(JAKI + stream_toml("sms", "pusat", "sms", database="nowhere.db"))
    result = run(settings)
    assert set(result.failures) == {"sms/pusat"}
    assert "nowhere.db" in result.failures["sms/pusat"]
    assert result.partial
    assert result.loaded.reports == 6


def test_a_channel_of_no_registry_is_an_error_that_says_where_to_add_it(tmp_path: Path, make_settings: Make) -> None:
    (tmp_path / "jaki").mkdir()
    settings = make_settings(JAKI.replace('"jaki"', '"kentongan"', 1))
    result = run(settings)
    assert "models/channels.toml" in result.failures["kentongan/app"]


def test_bad_rows_are_quarantined_with_a_reason_and_the_rest_goes_on(tmp_path: Path, make_settings: Make) -> None:
    write(tmp_path / "jaki" / "a.csv", [ROWS[0], {"nomor": "JK2610040009", "tanggal": "04/10/2026"}, ROWS[2]])
    (tmp_path / "jaki" / "b.xlsx").write_bytes(b"PK\x03\x04 torn")
    (tmp_path / "jaki" / "c.csv").write_text("kolom;lain\n1;2\n")
    settings = make_settings(JAKI)
    result = run(settings)
    assert result.partial
    assert not result.failures
    assert (result.loaded.reports, result.loaded.quarantined) == (2, 3)
    reasons = [r for (r,) in rows(settings, "SELECT reason FROM messages WHERE outcome = 'quarantined'")]
    assert all(len(reason) > 20 for reason in reasons)
    assert audit(settings).exact


def test_what_officers_do_in_the_crm_comes_back_freezes_the_ticket_and_is_never_overwritten(
    tmp_path: Path, make_settings: Make
) -> None:
    write(tmp_path / "jaki" / "oktober.csv")
    settings = make_settings(JAKI)
    run(settings)
    with duckdb.connect(str(settings.crm)) as crm:
        [(ticket,)] = crm.execute("SELECT ticket_id FROM tickets WHERE external_ref = 'JK2610020003'").fetchall()
        crm.execute(
            "INSERT INTO status_events (event_no, ticket_id, status, category, agency_id, actor, happened_at)"
            " VALUES (1, ?, 'Proses', 'pohon', 'pertamanan', 'petugas', '2026-11-20 03:00:00+00')",
            [ticket],
        )
        crm.execute(
            "UPDATE tickets SET status = 'proses', status_at = '2026-11-20 03:00:00+00' WHERE ticket_id = ?", [ticket]
        )
    result = run(settings)
    assert result.loaded.events == 1
    write(tmp_path / "jaki" / "later.csv", [ROWS[2] | {"isi": "Lampu jalan PJU masih mati di Jl. Kenanga RT 03 RW 05"}])
    run(settings)
    [found] = rows(
        settings,
        f"SELECT status, frozen, category, agency_id, suggested_category, version FROM tickets WHERE ticket_id = '{ticket}'",
    )
    assert found == ("proses", True, "pohon", "pertamanan", "penerangan_listrik", 3)
    with duckdb.connect(str(settings.crm), read_only=True) as crm:
        delivered = crm.execute(
            "SELECT status, category, version FROM tickets WHERE ticket_id = ?", [ticket]
        ).fetchall()
    assert delivered == [("proses", "pohon", 3)]
    before = hashes(settings)
    assert rebuild(settings, now=NOW).after == before


def test_since_reads_again_from_where_the_stream_stood_and_counts_repeats(tmp_path: Path, make_settings: Make) -> None:
    write(tmp_path / "jaki" / "oktober.csv")
    settings = make_settings(JAKI)
    run(settings)
    before = hashes(settings)
    result = run(settings, since=datetime(2026, 11, 1, tzinfo=UTC).date())
    assert (result.loaded.messages, result.loaded.repeats) == (6, 6)
    after = hashes(settings)
    assert {n for n in before if before[n] != after[n]} == {"messages", "ledger"}


def test_a_broken_promise_blocks_publishing_and_says_what_to_do(tmp_path: Path, make_settings: Make) -> None:
    write(tmp_path / "jaki" / "a.csv", ROWS[:2])
    settings = make_settings(JAKI)
    first = run(settings).snapshot
    with open_warehouse(settings.warehouse) as warehouse:
        warehouse.con.execute("INSERT INTO links SELECT * FROM links LIMIT 1")
    write(tmp_path / "jaki" / "b.csv", ROWS[2:])
    result = run(settings, hurry=True)
    assert "kanal rebuild" in result.failures["publish"]
    assert settings.analytics.resolve() == first
    assert not audit(settings).exact
    rebuild(settings, now=NOW)
    assert audit(settings).exact
    assert not run(settings, hurry=True).failures


def test_a_second_writer_waits_and_is_told_who_holds_the_warehouse(tmp_path: Path, make_settings: Make) -> None:
    settings = make_settings(JAKI)
    with (
        writer_lock(settings.warehouse),
        pytest.raises(TransientError, match="is being written by process"),
        open_warehouse(settings.warehouse, wait_seconds=0.1),
    ):
        pass


def test_two_warehouses_over_one_landing_are_refused_not_mixed(tmp_path: Path, make_settings: Make) -> None:
    write(tmp_path / "jaki" / "a.csv", ROWS[:2])
    settings = make_settings(JAKI)
    run(settings)
    write(tmp_path / "jaki" / "b.csv", ROWS[2:])
    for stream in settings.streams:
        flow.land(settings, stream, run_id="r", now=NOW)
    landing = Landing(settings.landing_dir)
    groups, _ = order.pending(landing, {}, list(landing.order()), 10)
    recorded = order.record(landing, [], groups, 0, {})
    landing.append_order(1, groups[0], {"code": "other"})
    with pytest.raises(PermanentError, match="own data_dir"):
        list(recorded)


def test_personal_data_stays_in_landing_and_vault(tmp_path: Path, make_settings: Make) -> None:
    canary, email = "0812-0000-9876", "kenari.rahasia@example.com"
    row = ROWS[0] | {
        "isi": f"Jalan rusak, hubungi saya {canary} atau {email}",
        "pelapor": "Kenari Rahasia",
        "hp": canary,
    }
    write(tmp_path / "jaki" / "a.csv", [row])
    settings = make_settings(JAKI)
    run(settings)
    assert rows(settings, "SELECT author_name, phone FROM vault") == [("Kenari Rahasia", "+6281200009876")]
    for path in (settings.crm, settings.analytics.resolve(), settings.report):
        data = path.read_bytes()
        for word in (canary, "81200009876", email, "Kenari Rahasia"):
            assert word.encode() not in data, (path.name, word)
    [(text,)] = rows(settings, "SELECT text FROM reports")
    assert text == "Jalan rusak, hubungi saya [TELEPON] atau [SUREL]"


def _land_at(config: Path, start: datetime, gate: Any, results: Any) -> None:
    settings = load_settings(config)
    gate.wait()
    results.put(flow.land(settings, settings.streams[0], run_id="r", now=Clock(start)).messages)


def test_two_processes_pulling_one_stream_over_midnight_land_every_row_once(
    tmp_path: Path, make_settings: Make
) -> None:
    for number in range(6):
        many = [ROWS[0] | {"nomor": f"JK2610{number:02d}{n:04d}"} for n in range(300)]
        write(tmp_path / "jaki" / f"{number}.csv", many)
    settings = make_settings(JAKI.replace("settle_seconds = 0", "settle_seconds = 0\nbatch_rows = 25"))
    context = multiprocessing.get_context("forkserver")
    gate, results = context.Barrier(2), context.Queue()
    # One process's clock shows the last seconds of a day in Jakarta, the other's the first of the next.
    starts = (datetime(2026, 11, 20, 16, 59, 50, tzinfo=UTC), datetime(2026, 11, 20, 17, 0, tzinfo=UTC))
    pullers = [context.Process(target=_land_at, args=(settings.path, start, gate, results)) for start in starts]
    for puller in pullers:
        puller.start()
    brought = [results.get(timeout=120), results.get(timeout=120)]
    for puller in pullers:
        puller.join(60)
    landing = Landing(settings.landing_dir)
    refs = [BatchRef("jaki", "app", n) for n in landing.sequences("jaki", "app")]
    landed = [ref for batch in refs for ref in landing.read(batch)["source_ref"].to_pylist()]
    assert sum(brought) == len(landed) == len(set(landed)) == 1_800
    assert run(settings).loaded.reports == 1_800
    assert audit(settings).exact


def _run_with_workers(config: Path) -> None:
    flow.run(replace(load_settings(config), workers=2), now=NOW)


def test_workers_of_a_killed_run_do_not_outlive_it(tmp_path: Path, make_settings: Make) -> None:
    """They once stayed for ever, 200 MB each."""
    write(tmp_path / "jaki" / "a.csv", [ROWS[0] | {"nomor": f"JK26{n:08d}"} for n in range(12_000)])
    settings = make_settings(JAKI)
    parent = multiprocessing.get_context("spawn").Process(target=_run_with_workers, args=(settings.path,))
    parent.start()
    process = psutil.Process(parent.pid)
    workers: list[psutil.Process] = []
    while len(workers) < 3:  # a fork server and two workers
        assert parent.is_alive()
        workers = [p for p in process.children(recursive=True) if "resource_tracker" not in " ".join(p.cmdline())]
    parent.kill()
    parent.join(30)
    _, alive = psutil.wait_procs(workers, timeout=30)
    assert alive == []


def test_an_entry_of_nothing_but_older_versions_is_loaded(tmp_path: Path, make_settings: Make) -> None:
    """It once stopped every later load and rebuild."""
    write(tmp_path / "jaki" / "1.csv", [ROWS[0] | {"diubah": "05/10/2026 10:00"}])
    settings = make_settings(JAKI)
    run(settings)
    write(tmp_path / "jaki" / "2.csv", [ROWS[0] | {"isi": "lama", "diubah": "03/10/2026 10:00"}])
    result = run(settings)
    assert (result.failures, result.loaded.repeats) == ({}, 1)
    assert rows(settings, "SELECT outcome FROM messages ORDER BY sequence") == [("report",), ("older",)]


def test_a_post_that_comes_after_its_own_edit_does_not_undo_it(tmp_path: Path, make_settings: Make) -> None:
    """X lists newest first, and a webhook may deliver in any order."""
    first, second = (
        post(EDITED, "@dinas_contoh lampu mati", 1),
        post(EDITED + timedelta(minutes=9), "lampu mati RW 04", 2),
    )
    second["edit_history_tweet_ids"] = [first["id"], second["id"]]
    (tmp_path / "halaman").mkdir()
    (tmp_path / "halaman" / "1.json").write_text(json.dumps({"data": [second, first]}))
    settings = make_settings(
        stream_toml("twitter", "dki", "twitter", user_id="1001", handle="dinas_contoh", pages_dir="halaman")
    )
    assert not run(settings).failures
    assert rows(settings, "SELECT text FROM reports") == [("lampu mati RW 04",)]
    assert sorted(rows(settings, "SELECT outcome FROM messages")) == [("older",), ("report",)]


def test_a_clock_that_was_set_back_does_not_let_an_older_version_win(tmp_path: Path, make_settings: Make) -> None:
    settings = make_settings(JAKI)
    write(tmp_path / "jaki" / "1.csv", [ROWS[0]])
    flow.land(settings, settings.streams[0], run_id="r", now=Clock(datetime(2026, 11, 20, 3, 0, tzinfo=UTC)))
    write(tmp_path / "jaki" / "2.csv", [ROWS[0] | {"isi": "lebih baru"}])
    flow.land(settings, settings.streams[0], run_id="r", now=Clock(datetime(2026, 11, 20, 1, 0, tzinfo=UTC)))
    run(settings)
    assert rows(settings, "SELECT text, version_no FROM reports") == [("lebih baru", 2)]


def _act(settings: Settings, number: int, ticket: str, **event: str) -> None:
    names = ["event_no", "ticket_id", "happened_at", *event]
    marks = ", ".join("?" * len(names))
    with duckdb.connect(str(settings.crm)) as crm:
        crm.execute(
            f"INSERT INTO status_events ({', '.join(names)}) VALUES ({marks})",
            [number, ticket, "2026-11-20 03:00:00+00", *event.values()],
        )


def test_reading_again_what_officers_did_does_it_no_second_time(tmp_path: Path, make_settings: Make) -> None:
    write(tmp_path / "jaki" / "oktober.csv")
    settings = make_settings(JAKI)
    run(settings)
    [(ticket,)] = rows(settings, "SELECT ticket_id FROM tickets WHERE external_ref = 'JK2610020003'")
    _act(settings, 1, ticket, status="proses")
    _act(settings, 2, ticket, status="selesai")
    run(settings)
    before = rows(settings, "SELECT * FROM tickets ORDER BY ticket_id")
    result = run(settings, since=datetime(2026, 11, 1, tzinfo=UTC).date())
    assert (result.loaded.events, result.loaded.repeats) == (0, 8)
    assert rows(settings, "SELECT * FROM tickets ORDER BY ticket_id") == before


def test_an_event_that_names_what_does_not_exist_is_set_aside(tmp_path: Path, make_settings: Make) -> None:
    write(tmp_path / "jaki" / "oktober.csv")
    settings = make_settings(JAKI)
    run(settings)
    [(ticket,)] = rows(settings, "SELECT ticket_id FROM tickets WHERE external_ref = 'JK2610020003'")
    wrong = ({"category": "Jalan rusak parah"}, {"agency_id": "Dinas PU"}, {"kelurahan_code": "99.99.99.9999"})
    for number, event in enumerate(wrong):
        _act(settings, number, ticket, **event)
    _act(settings, 8, "t0000000000000000", status="proses")
    _act(settings, 9, ticket, kelurahan_code="31.74.01.1001", agency_id="sda")
    result = run(settings)
    assert (result.loaded.quarantined, result.loaded.events, result.partial) == (4, 1, True)
    found = rows(
        settings,
        f"SELECT kelurahan_code, kecamatan_code, kota_code, agency_id, unit FROM tickets WHERE ticket_id = '{ticket}'",
    )
    assert found == [("31.74.01.1001", "31.74.01", "31.74", "sda", "Dinas Sumber Daya Air")]
    assert audit(settings).exact


def test_a_batch_below_the_newest_is_loaded_too_and_a_missing_one_stops_its_stream(
    tmp_path: Path, make_settings: Make
) -> None:
    text = JAKI.replace("settle_seconds = 0", "settle_seconds = 0\nbatch_rows = 1")
    settings = make_settings(text + KELURAHAN)
    write(tmp_path / "kelurahan" / "sheet.csv", [{"isi": "Trotoar rusak di Kelurahan Senen", "tanggal": "05/10/2026"}])
    write(tmp_path / "jaki" / "oktober.csv", ROWS[:3])
    for stream in settings.streams:
        flow.land(settings, stream, run_id="r", now=NOW)
    hidden, path = tmp_path / "hidden", Landing(settings.landing_dir).path(BatchRef("jaki", "app", 1))
    path.rename(hidden)
    result = run(settings)
    assert "number 1 is missing" in result.failures["jaki/app"]
    assert result.loaded.reports == 1
    hidden.rename(path)
    result = run(settings)
    assert (result.failures, result.loaded.reports) == ({}, 3)
    assert audit(settings).exact


def test_landing_restored_from_an_older_backup_is_told_and_a_rebuild_goes_on_from_it(
    tmp_path: Path, make_settings: Make
) -> None:
    write(tmp_path / "jaki" / "1.csv", ROWS[:2])
    settings = make_settings(JAKI)
    run(settings)
    shutil.copytree(settings.landing_dir, tmp_path / "backup")
    write(tmp_path / "jaki" / "2.csv", ROWS[2:4])
    run(settings)
    shutil.rmtree(settings.landing_dir)
    shutil.copytree(tmp_path / "backup", settings.landing_dir)
    assert "kanal rebuild" in run(settings).failures["jaki/app"]
    with pytest.raises(PermanentError, match="the old warehouse stays"):
        rebuild(settings, now=NOW)
    settings.warehouse.unlink()
    rebuild(settings, now=NOW)
    assert run(settings).failures == {}
    assert rows(settings, "SELECT count(*) FROM reports") == [(4,)]


def test_a_hole_in_the_order_log_is_never_replayed_over(tmp_path: Path, make_settings: Make) -> None:
    settings = make_settings(JAKI)
    for number in range(3):
        write(tmp_path / "jaki" / f"{number}.csv", [ROWS[number]])
        run(settings)
    (settings.landing_dir / "_order" / "000000" / "000000001.json").unlink()
    with pytest.raises(PermanentError, match="entry 1 of the order log"):
        rebuild(settings, now=NOW)
    assert "entry 1 of the order log" in run(settings).failures["load"]


def test_a_mapping_that_was_broken_stops_its_own_stream_alone(tmp_path: Path, make_settings: Make) -> None:
    write(tmp_path / "jaki" / "oktober.csv")
    write(tmp_path / "kelurahan" / "sheet.csv", [{"isi": "Trotoar rusak di Kelurahan Senen", "tanggal": "05/10/2026"}])
    settings = make_settings(JAKI + KELURAHAN)
    for stream in settings.streams:
        flow.land(settings, stream, run_id="r", now=NOW)
    broken = make_settings(JAKI.replace('text = "isi"', 'teks = "isi"') + KELURAHAN)
    result = run(broken)
    assert "teks" in result.failures["jaki/app"]
    assert result.loaded.reports == 1
    assert run(make_settings(JAKI + KELURAHAN)).loaded.reports == 6
