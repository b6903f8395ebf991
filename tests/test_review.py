"""The review queue: what waits is listed, and what people decide counts, in every order and on replay."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest
from click.testing import Result
from typer.testing import CliRunner

from pipelines import flow
from pipelines.audit import audit
from pipelines.cli import app
from pipelines.commands.common import FAILED, PARTIAL
from pipelines.contracts import report_id_of, ticket_no_of
from pipelines.defs.backlog import Recorded, days_waiting
from pipelines.rebuild import rebuild
from pipelines.review import Asked, decide
from pipelines.settings import Settings
from pipelines.sinks.landing import Landing
from pipelines.sinks.warehouse import open_warehouse
from pipelines.sources import decisions
from pipelines.training import rows_of_corrections
from tests.made_up import JAKI, ROWS, write
from tests.peers.postgres import postgres, postgres_url  # noqa: F401 - fixtures

Make = Callable[..., Settings]
VAGUE = {"nomor": "JK2610040007", "tanggal": "04/10/2026 11:00", "isi": "Mohon dibantu ya min, sudah lama begini terus"}
NUMBERS = ("JK2610040007", "JK2610010001", "JK2610010002", "JK2610020003", "JK2610030005")
VAGUE_ID, JALAN_ID, JOINED_ID, PJU_ID, THANKS_ID = (report_id_of("jaki", "app", n) for n in NUMBERS)
VAGUE_NO = ticket_no_of(VAGUE_ID)
NOW = datetime(2026, 11, 20, 1, 0, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)


def kanal(settings: Settings, *words: Any) -> Result:
    return CliRunner().invoke(app, [*map(str, words), "--config", str(settings.path)])


def run(settings: Settings, at: datetime = NOW, *, hurry: bool = False) -> flow.RunResult:
    """Without hurry the snapshot and report of the last ten minutes stay."""
    return flow.run(settings, now=lambda: at, hurry=hurry)


def asked(settings: Settings, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(settings.analytics.resolve()), read_only=True) as con:
        return con.execute(sql).fetchall()


def hashes(settings: Settings) -> dict[str, str]:
    with open_warehouse(settings.warehouse) as warehouse:
        assert not any(warehouse.violations().values())
        return warehouse.table_hashes()


def land(settings: Settings, at: datetime, **decision: Any) -> None:
    """A decision as any writer of the stream may land it, checked by nobody."""
    landing = Landing(settings.landing_dir)
    said = {"report_id": VAGUE_ID, "actor": "Sari", "reason": "sudah dicek"} | decision
    landing.put(
        decisions.STREAM, landing.head(decisions.STREAM), [decisions.message(said, at)], {},
        source_version="1", run_id="r", now=at,
    )  # fmt: skip


def _ran(place: Path, make: Make) -> Settings:
    write(place / "jaki" / "oktober.csv", [*ROWS, VAGUE])
    settings = make(JAKI)
    assert not run(settings).failures
    return settings


@pytest.fixture
def ran(starting_from: Callable[..., Settings]) -> Settings:
    return starting_from(_ran)


TICKET = "category, agency_id, unit, kelurahan_code, place_method, review_reason, frozen, version"


def test_the_list_says_what_waits_why_and_what_the_machine_thinks(ran: Settings) -> None:
    result = kanal(ran, "review", "list", "--json")
    found = json.loads(result.stdout)
    assert found["waiting"] == {"kategori_tidak_yakin": 1, "lokasi_tidak_ada": 1}
    [ticket] = found["tickets"]
    assert (ticket["ticket_no"], ticket["report_id"], ticket["place"]) == (VAGUE_NO, VAGUE_ID, 1)
    assert ticket["reasons"] == ["kategori belum pasti", "lokasi tidak disebut"]
    assert set(ticket) >= {"category_model", "category_runner_up", "category_confidence", "candidates", "agency_name"}
    shown = kanal(ran, "review", "list").stdout
    for words in (
        VAGUE_NO,
        "kategori belum pasti; lokasi tidak disebut",
        "Mohon dibantu ya min",
        "undecided; the model",
    ):
        assert words in shown


def test_an_emergency_comes_first_and_says_to_call_112_wherever_officers_look(
    tmp_path: Path, make_settings: Make
) -> None:
    fire = VAGUE | {"nomor": "JK2610050009", "isi": "Tolong min rumah tetangga kebakaran, apinya udah gede bgt!!"}
    write(tmp_path / "jaki" / "oktober.csv", [*ROWS, VAGUE, fire])
    settings = make_settings(JAKI)
    assert not run(settings).failures
    number, label = ticket_no_of(report_id_of("jaki", "app", "JK2610050009")), "Telepon 112: Kebakaran sedang terjadi"
    asked_for = "SELECT ticket_no, emergency_rule, emergency_label FROM "
    assert asked(settings, f"{asked_for} emergencies") == [(number, "kebakaran", label)]
    [first, *_] = json.loads(kanal(settings, "review", "list", "--json").stdout)["tickets"]
    assert (first["ticket_no"], first["place"], first["emergency_label"]) == (number, 1, label)
    assert label in kanal(settings, "review", "list").stdout
    traced = json.loads(kanal(settings, "trace", number, "--json").stdout)
    assert [row["emergency_label"] for row in traced["tickets"]] == [label]
    assert label in settings.report.read_text("utf-8")
    with duckdb.connect(str(settings.crm)) as con:
        assert con.execute("SELECT ticket_no, emergency_rule FROM tickets WHERE emergency").fetchall() == [
            (number, "kebakaran")
        ]


def test_the_list_is_cut_by_reason_channel_and_number_and_an_unknown_reason_says_which_there_are(ran: Settings) -> None:
    def shown(*words: str) -> int:
        return len(json.loads(kanal(ran, "review", "list", "--json", *words).stdout)["tickets"])

    assert [shown("--reason", r) for r in ("lokasi_tidak_ada", "di_luar_wilayah")] == [1, 0]
    assert [shown("--channel", c) for c in ("jaki", "sms")] == [1, 0]
    wrong = kanal(ran, "review", "list", "--reason", "salah")
    assert wrong.exit_code == FAILED
    assert "kategori_tidak_yakin" in wrong.output


def test_a_decision_tells_what_it_will_change_counts_after_the_next_run_and_is_delivered(ran: Settings) -> None:
    words = (
        "--category",
        "Pohon",
        "--kelurahan",
        "Gelora",
        "--reason",
        "dahan, kata foto 081234567890",
        "--by",
        "Sari",
    )
    result = kanal(ran, "review", "decide", VAGUE_NO.lower(), *words, "--json")
    assert result.exit_code == 0, result.output
    [told] = json.loads(result.stdout)["decisions"]
    assert (told["report_id"], told["fault"]) == (VAGUE_ID, None)
    assert told["changes"]["category"] == {"from": None, "to": "pohon"}
    assert asked(ran, f"SELECT category FROM tickets WHERE ticket_no = '{VAGUE_NO}'") == [(None,)]

    again = flow.run(ran)
    assert (again.loaded.events, again.loaded.quarantined, again.delivered) == (1, 0, 1)
    unit = "Suku Dinas Pertamanan dan Hutan Kota Kota Administrasi Jakarta Pusat"
    ticket = ("pohon", "pertamanan", unit, "31.71.07.1001", "person", None, True, 2)
    assert asked(ran, f"SELECT {TICKET} FROM tickets WHERE ticket_no = '{VAGUE_NO}'") == [ticket]
    assert told["changes"]["unit"]["to"] == unit
    with duckdb.connect(str(ran.crm), read_only=True) as crm:
        assert crm.execute(f"SELECT {TICKET} FROM tickets WHERE ticket_no = '{VAGUE_NO}'").fetchall() == [ticket]
    assert asked(ran, "SELECT count(*) FROM review_queue") == [(0,)]
    assert "nothing waits" in kanal(ran, "review", "list").stdout
    # A phone number in a remark is masked on its way in, as in reports.
    [(reason,)] = asked(ran, "SELECT reason FROM review_decisions")
    assert reason.startswith("dahan, kata foto")
    assert "0812" not in reason
    learned = rows_of_corrections(ran)
    assert (learned.texts, learned.days) == ([VAGUE["isi"]], ["2026-10-04"])
    assert learned.labels == {"category": ["pohon"], "agency": [None], "kind": [None]}
    trace = json.loads(kanal(ran, "trace", VAGUE_NO, "--json").stdout)
    assert [e["event"] for e in trace["history"]] == ["opened", "decision"]
    assert [(d["actor"], d["category"], d["kelurahan_code"]) for d in trace["decisions"]] == [
        ("Sari", "pohon", "31.71.07.1001")
    ]
    assert audit(ran).exact


def test_what_the_next_model_learns_from_is_what_people_said_of_each_report(ran: Settings) -> None:
    told = decide(ran, [Asked(VAGUE_ID, "satu", category="jalan", by="Sari")], now=lambda: LATER)
    told += decide(ran, [Asked(VAGUE_NO, "dua", agency="Dishub", kind="question", by="Budi")], now=lambda: LATER)
    told += decide(ran, [Asked("JK2610020003", "tiga", ok=True, by="Budi")], now=lambda: LATER)
    assert [t.fault for t in told] == [None] * 3
    run(ran, LATER)
    assert asked(
        ran, "SELECT d.report_id, actor, d.reason, d.category, agency, d.kind, d.kelurahan_code, length(r.text) > 0"
        " FROM review_decisions d JOIN reports r USING (report_id)"
    ) == [
        (VAGUE_ID, "Sari", "satu", "jalan", None, None, None, True),
        (VAGUE_ID, "Budi", "dua", None, "perhubungan", "question", None, True),
        (PJU_ID, "Budi", "tiga", "penerangan_listrik", "bina_marga", "complaint", "31.73.08.1001", True),
    ]  # fmt: skip
    [ticket] = asked(ran, f"SELECT category, agency_id, kind, route_rule FROM tickets WHERE ticket_no = '{VAGUE_NO}'")
    assert ticket == ("jalan", "perhubungan", "question", "keputusan")


def test_of_contradictory_decisions_in_one_file_the_last_counts_and_is_learned_from(ran: Settings) -> None:
    asked_for = ["sampah", "pohon", "jalan", "banjir"]
    told = decide(ran, [Asked(VAGUE_NO, f"urut {c}", category=c) for c in asked_for], now=lambda: LATER)
    assert [t.fault for t in told] == [None] * 4
    run(ran, LATER)
    assert asked(ran, f"SELECT category FROM tickets WHERE ticket_no = '{VAGUE_NO}'") == [("banjir",)]
    assert rows_of_corrections(ran).labels["category"] == ["banjir"]


def test_a_decision_wins_over_a_later_version_of_its_report(tmp_path: Path, ran: Settings) -> None:
    decide(ran, [Asked(VAGUE_ID, "dicek", category="jalan")], now=lambda: LATER)
    run(ran, LATER)
    write(
        tmp_path / "jaki" / "later.csv",
        [VAGUE | {"isi": "Sampah menumpuk di TPS, bau menyengat", "kelurahan": "Gelora"}],
    )
    run(ran, LATER, hurry=True)
    assert asked(
        ran, "SELECT category, agency_id, description, suggested_category, suggested_kelurahan_code, review_reason"
        f" FROM tickets WHERE ticket_no = '{VAGUE_NO}'"
    ) == [("jalan", "bina_marga", "Sampah menumpuk di TPS, bau menyengat", "sampah", "31.71.07.1001", None)]  # fmt: skip
    before = hashes(ran)
    assert rebuild(ran, now=lambda: LATER).after == before


def test_a_decision_on_a_report_that_joined_is_one_on_the_ticket_it_joined(ran: Settings) -> None:
    [told] = decide(ran, [Asked(JOINED_ID, "bukan jalan", category="trotoar")], now=lambda: LATER)
    assert told.ticket_no == ticket_no_of(JALAN_ID)
    run(ran, LATER)
    assert asked(ran, f"SELECT category FROM tickets WHERE ticket_no = '{ticket_no_of(JALAN_ID)}'") == [("trotoar",)]
    assert asked(ran, "SELECT report_id FROM review_decisions") == [(JOINED_ID,)]


def test_the_same_decision_twice_counts_once_but_there_and_back_again_counts_thrice(ran: Settings) -> None:
    jalan, pohon = (Asked(VAGUE_ID, "dicek", category=c, by="Sari") for c in ("jalan", "pohon"))
    for one in (jalan, jalan, pohon, jalan, jalan):
        decide(ran, [one], now=lambda: LATER)
    loaded = run(ran, LATER).loaded
    assert (loaded.events, loaded.repeats) == (3, 2)
    assert asked(ran, f"SELECT category, version FROM tickets WHERE ticket_no = '{VAGUE_NO}'") == [("jalan", 4)]
    decide(ran, [jalan], now=lambda: LATER)
    loaded = run(ran, LATER).loaded
    assert (loaded.events, loaded.repeats) == (0, 1)
    assert audit(ran).exact


@pytest.mark.parametrize(
    ("decision", "why"),
    [
        ({"report_id": "takada", "category": "jalan"}, "laporannya belum ada di Kanal atau tidak punya tiket"),
        ({"report_id": THANKS_ID, "category": "jalan"}, "laporannya belum ada di Kanal atau tidak punya tiket"),
        ({"category": "lama", "agency_id": "bubar"}, "kategorinya tidak dikenal, dinasnya tidak dikenal"),
        ({"kelurahan_code": "99.99.99.9999"}, "kode kelurahannya tidak dikenal"),
        ({}, "tidak ada yang diputuskan"),
    ],
)
def test_a_decision_that_cannot_be_applied_is_set_aside_with_the_reason(
    ran: Settings, decision: dict[str, Any], why: str
) -> None:
    before = asked(ran, "SELECT sum(version) FROM tickets")
    land(ran, LATER, **decision)
    result = run(ran, LATER)
    assert (result.failures, result.loaded.quarantined, result.loaded.events) == ({}, 1, 0)
    [(stage, reason)] = asked(ran, "SELECT stage, reason FROM quarantine WHERE channel = '_review'")
    assert stage == "event"
    assert why in reason
    assert asked(ran, "SELECT sum(version) FROM tickets") == before
    assert audit(ran).exact


@pytest.mark.parametrize("group_rows", [1, 3, 50_000])
def test_reports_and_decisions_give_the_same_tables_however_they_are_cut_into_loads(
    tmp_path: Path, make_settings: Make, group_rows: int
) -> None:
    settings = make_settings(JAKI)
    stream = settings.streams[0]
    flow.author_secret(settings)
    early = NOW - timedelta(hours=1)
    land(settings, early, category="jalan")  # stands before its report in the order: set aside, however it is cut
    versions = [VAGUE, VAGUE | {"isi": "Pohon tumbang di Kelurahan Senen", "diubah": "05/10/2026 10:00"}]
    for number, rows in enumerate(([*ROWS, versions[0]], [versions[1]])):
        at = NOW + timedelta(hours=2 * number)
        write(tmp_path / "jaki" / f"{number}.csv", rows)
        flow.land(settings, stream, run_id="r", now=lambda at=at: at)
        land(settings, at + timedelta(hours=1), kind="question", kelurahan_code=["31.71.07.1001", None][number])
        land(settings, at + timedelta(hours=1), report_id=JOINED_ID, category="trotoar")  # the second time: a repeat
    other = replace(make_settings(JAKI, data=f"cut{group_rows}"), group_rows=group_rows)
    shutil.copytree(settings.landing_dir, other.landing_dir)
    for each in (settings, other):
        loaded = flow.load(each, run_id="r", now=lambda: NOW + timedelta(days=1))
        assert (loaded.events, loaded.repeats, loaded.quarantined) == (3, 1, 1)
    assert hashes(other) == hashes(settings)
    with open_warehouse(settings.warehouse) as warehouse:
        told = warehouse.con.execute(
            "SELECT kind, kelurahan_code, suggested_category FROM tickets WHERE first_report_id = ?", [VAGUE_ID]
        ).fetchall()
    assert told == [("question", "31.71.07.1001", "pohon")]
    assert rebuild(other).after == hashes(settings)


def test_what_people_decide_reaches_a_crm_in_postgresql_and_what_officers_do_later_wins(
    tmp_path: Path, make_settings: Make, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KANAL_TEST_CRM", postgres_url)
    write(tmp_path / "jaki" / "oktober.csv", [*ROWS, VAGUE])
    settings = make_settings('[crm]\nurl_env = "KANAL_TEST_CRM"\n' + JAKI)
    run(settings)
    decide(settings, [Asked(VAGUE_NO, "dicek", category="jalan")], now=lambda: LATER)
    run(settings, LATER)

    def delivered() -> list[tuple[Any, ...]]:
        with psycopg.connect(postgres_url) as con:
            return con.execute(
                "SELECT category, agency_id, review_reason, version FROM tickets WHERE ticket_no = %s", [VAGUE_NO]
            ).fetchall()

    assert delivered() == [("jalan", "bina_marga", None, 2)]
    with psycopg.connect(postgres_url) as con:
        con.execute(
            "INSERT INTO status_events (ticket_id, category, actor, happened_at) VALUES (%s, 'pohon', 'petugas', %s)",
            [f"t{VAGUE_ID}", LATER],
        )
    run(settings, LATER + timedelta(hours=1))
    assert delivered() == [("pohon", "bina_marga", None, 3)]
    before = hashes(settings)
    assert rebuild(settings).after == before


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--category", "jaln"), "'jaln' is no category; near ones: jalan (Jalan)"),
        (("--agency", "binamarga"), "bina_marga (Dinas Bina Marga)"),
        (("--kind", "gosip"), "kinds are complaint"),
        (("--kelurahan", "Gelorra"), "31.71.07.1001 (Gelora, Tanah Abang)"),
        (("--kelurahan", "zzzzzz"), "all are in models/gazetteer/kelurahan.csv"),
        (("--ok",), "name one with --category"),
        ((), "nothing is decided"),
    ],
)
def test_a_slip_is_told_with_what_is_near_and_nothing_lands(ran: Settings, words: tuple[str, ...], told: str) -> None:
    result = kanal(ran, "review", "decide", VAGUE_NO, *words, "--reason", "dicek")
    assert result.exit_code == FAILED
    assert told in " ".join(result.output.split())
    assert Landing(ran.landing_dir).sequences("_review", "decisions") == []


def test_a_decision_needs_a_reason_and_a_report_that_has_a_ticket(ran: Settings) -> None:
    [unreasoned, unknown, thanks, long] = decide(
        ran,
        [Asked(VAGUE_NO, " ", category="jalan"), Asked("KN-0", "x", ok=True), Asked(THANKS_ID, "x", ok=True),
         Asked(VAGUE_NO, "x" * 501, category="jalan")],
    )  # fmt: skip
    assert "--reason" in (unreasoned.fault or "")
    assert "no report and no ticket" in (unknown.fault or "")
    assert "thanks" in (thanks.fault or "")
    assert "500" in (long.fault or "")
    assert kanal(ran, "review", "decide").exit_code == 2
    assert kanal(ran, "review", "decide", VAGUE_NO, "--from", ran.path).exit_code == 2


def test_a_kelurahan_name_that_stands_twice_asks_for_the_code_or_the_kecamatan(ran: Settings) -> None:
    twice = "SELECT kelurahan, min(kecamatan), min(kelurahan_code) FROM areas GROUP BY 1 HAVING count(*) > 1"
    for name, kecamatan, code in asked(ran, twice):
        [several, one] = decide(
            ran, [Asked(VAGUE_NO, "x", kelurahan=name), Asked(VAGUE_NO, "x", kelurahan=f"{name}, {kecamatan}")]
        )
        assert code in (several.fault or "")
        assert one.fault is None


def test_a_file_of_decisions_lands_as_one_and_rows_at_fault_are_told_and_left_out(
    tmp_path: Path, ran: Settings
) -> None:
    file = tmp_path / "keputusan.csv"
    file.write_text(
        "ticket_no;category;kelurahan;ok;reason;by\n"
        f"{VAGUE_NO};sampah;;;dicek;Sari\n"
        "\n;;;;;\n"
        f"JK2610020003;;;ya;;\n"
        f"{VAGUE_NO};lama;;;dicek;\n"
        ";jalan;;;dicek;\n"
        f"{VAGUE_NO};;Gelora;mungkin;dicek;\n",
        "utf-8-sig",
    )
    result = kanal(ran, "review", "decide", "--from", file, "--reason", "rapat Senin", "--json")
    assert result.exit_code == PARTIAL
    told = json.loads(result.stdout)
    assert told["landed"] == 2
    assert [(t["line"], t["fault"] is None) for t in told["decisions"]] == [
        (2, True), (5, True), (6, False), (7, False), (8, False),
    ]  # fmt: skip
    assert Landing(ran.landing_dir).sequences("_review", "decisions") == [0]
    flow.run(ran)
    assert asked(ran, "SELECT reason, category FROM review_decisions") == [
        ("dicek", "sampah"), ("rapat Senin", "penerangan_listrik"),
    ]  # fmt: skip


def test_a_row_of_a_file_is_never_cut_short(tmp_path: Path, ran: Settings) -> None:
    file = tmp_path / "keputusan.csv"
    file.write_text(
        "report,category,reason\n"
        f"{VAGUE_NO},sampah,dahan patah, bukan jalan\n"
        f"{VAGUE_NO},sampah,dua\u2028baris\n"
        f'{VAGUE_NO},pohon,"dahan patah, bukan jalan"\n',
        "utf-8",
    )
    result = kanal(ran, "review", "decide", "--from", file, "--json")
    assert result.exit_code == PARTIAL
    told = {t["line"]: t["fault"] for t in json.loads(result.stdout)["decisions"]}
    assert told == {2: told[2], 3: None, 4: None}
    assert "put a text that holds the separator in quotes" in told[2]
    flow.run(ran)
    assert asked(ran, "SELECT reason FROM review_decisions ORDER BY ALL") == [
        ("dahan patah, bukan jalan",), ("dua\u2028baris",),
    ]  # fmt: skip


@pytest.mark.parametrize("by", ["", "  ", "y" * 101, "sari@contoh.id", "Sari 0812-0000-0000"])
def test_who_decides_is_a_name_without_phone_or_address(ran: Settings, by: str) -> None:
    (one,) = decide(ran, [Asked(VAGUE_NO, "dicek", category="sampah", by=by)])
    assert "say who decides (--by)" in str(one.fault)
    assert Landing(ran.landing_dir).sequences("_review", "decisions") == []


def test_personal_data_that_landed_with_a_decision_stays_there(ran: Settings) -> None:
    said = dict.fromkeys(("agency_id", "kind", "kelurahan_code")) | {"report_id": VAGUE_ID, "category": "sampah"}
    one = decisions.message(said | {"actor": "sari@contoh.id", "reason": "hubungi 081200000000"}, LATER)
    landing, stream = Landing(ran.landing_dir), decisions.STREAM
    landing.put(stream, landing.head(stream), [one], {}, source_version="1", run_id="r", now=LATER)
    run(ran, LATER)
    assert asked(ran, "SELECT actor, reason FROM review_decisions") == [("[SUREL]", "hubungi [TELEPON]")]


def test_words_of_another_encoding_are_told_as_any_other_slip(ran: Settings) -> None:
    odd = "kata\udcff"
    told = decide(ran, [Asked(odd, "dicek", category="sampah"), Asked(VAGUE_NO, odd, category=odd)])
    assert ["is no report" in str(told[0].fault), "is no category" in str(told[1].fault)] == [True, True]
    (one,) = decide(ran, [Asked(VAGUE_NO, odd, category="sampah")])
    assert one.fault is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"ticket_no,kategori\nKN-1,jalan\n", "'kategori' is unknown"),
        (b"category\njalan\n", "no column names the report"),
        (b"", "no column names the report"),
        (b"report,category\n\xff\xfe,1\n", "save it as CSV UTF-8"),
        (b'report,category,reason\nKN-1,jalan,"left open\nKN-2,jalan,x\n', "line 2 cannot be read"),
    ],
)
def test_a_file_that_is_none_of_decisions_says_what_to_mend(
    tmp_path: Path, ran: Settings, text: bytes, told: str
) -> None:
    file = tmp_path / "keputusan.csv"
    file.write_bytes(text)
    result = kanal(ran, "review", "decide", "--from", file)
    assert result.exit_code == FAILED
    assert told in " ".join(result.output.split())


def test_a_decision_that_waits_to_be_loaded_is_seen_by_the_sensor_that_starts_loads(ran: Settings) -> None:
    landing = Landing(ran.landing_dir)
    recorded = Recorded(str(landing.root))
    recorded.read(landing)
    assert days_waiting(landing, recorded, recorded.entry) is None
    decide(ran, [Asked(VAGUE_NO, "dicek", category="jalan")], now=lambda: LATER)
    assert days_waiting(landing, recorded, recorded.entry) == (date(2026, 11, 20), date(2026, 11, 20))


def test_a_snapshot_of_another_version_is_told_and_not_read(ran: Settings) -> None:
    path = ran.analytics.resolve()
    path.chmod(0o600)
    with duckdb.connect(str(path)) as con:
        con.execute("DROP TABLE review_queue")
    result = kanal(ran, "review", "list")
    assert result.exit_code == FAILED
    assert "another version of Kanal; run: kanal run" in " ".join(result.output.split())
