"""`kanal ticket`: a decision is tried before it lands, counts after the next run, on a rebuild too, and reaches the CRM."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
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
from pipelines.commands.common import FAILED
from pipelines.contracts import report_id_of, ticket_no_of
from pipelines.rebuild import rebuild
from pipelines.regroup import Wish, decide
from pipelines.settings import Settings
from pipelines.sinks.landing import Landing
from pipelines.sinks.warehouse import open_warehouse
from tests.made_up import JAKI, ROWS, write
from tests.peers.postgres import postgres, postgres_url  # noqa: F401 - fixtures

Make = Callable[..., Settings]
NUMBERS = ("JK2610010001", "JK2610010002", "JK2610020003", "JK2610020004", "JK2610030005")
HOLE, JOINED, LAMP, WASTE, THANKS = (report_id_of("jaki", "app", number) for number in NUMBERS)
HOLE_NO, JOINED_NO, LAMP_NO, WASTE_NO = map(ticket_no_of, (HOLE, JOINED, LAMP, WASTE))
SCHOOL = ROWS[1] | {"lat": "-6.220000", "kelurahan": ""}
# It is of the first report's ticket because it cites its number.
TOLD = (ROWS[0], SCHOOL | {"isi": f"Menyusul {HOLE_NO}: {SCHOOL['isi']}"}, *ROWS[2:])
NOW = datetime(2026, 11, 20, 1, 0, tzinfo=UTC)
WHY = ("--reason", "sudah dicek")


def kanal(settings: Settings, *words: Any) -> Result:
    return CliRunner().invoke(app, [*map(str, words), "--config", str(settings.path)])


def told(settings: Settings, *words: Any) -> Any:
    result = kanal(settings, *words, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def asked(settings: Settings, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(settings.analytics.resolve()), read_only=True) as con:
        return con.execute(sql).fetchall()


def landed(settings: Settings) -> list[int]:
    return Landing(settings.landing_dir).sequences("_tickets", "acts")


def _ran(place: Path, make: Make) -> Settings:
    write(place / "jaki" / "oktober.csv", TOLD)
    settings = make(JAKI)
    assert not flow.run(settings, now=lambda: NOW).failures
    return settings


@pytest.fixture
def ran(starting_from: Callable[..., Settings]) -> Settings:
    return starting_from(_ran)


def test_a_split_shows_what_moves_counts_after_the_next_run_and_is_delivered(ran: Settings) -> None:
    dry = told(ran, "ticket", "split", HOLE_NO, "JK2610010002", *WHY, "--dry-run")
    assert (dry["landed"], landed(ran)) == (False, [])
    found = told(ran, "ticket", "split", HOLE_NO.lower(), JOINED, *WHY, "--by", "Sari")
    assert found | {"decision": None, "landed": False} == dry
    assert [(m["report_id"], m["from"], m["to"]) for m in found["moves"]] == [(JOINED, HOLE_NO, JOINED_NO)]
    assert found["tickets"] == [
        {"ticket_no": HOLE_NO, "reports_now": 2, "reports_then": 1, "merged_into": None},
        {"ticket_no": JOINED_NO, "reports_now": 0, "reports_then": 1, "merged_into": None},
    ]
    result = flow.run(ran)
    assert (result.loaded.events, result.delivered, result.failures) == (1, 2, {})
    with duckdb.connect(str(ran.crm), read_only=True) as crm:
        delivered = crm.execute(
            "SELECT t.ticket_no, report_count, version, report_id FROM tickets t JOIN ticket_reports USING (ticket_id)"
            " WHERE t.ticket_no IN (?, ?) ORDER BY first_arrival", [HOLE_NO, JOINED_NO],
        ).fetchall()  # fmt: skip
    assert delivered == [(HOLE_NO, 1, 3, HOLE), (JOINED_NO, 1, 1, JOINED)]
    assert audit(ran).exact


def test_a_merge_leaves_the_figures_with_one_ticket_and_the_crm_with_a_pointer(ran: Settings) -> None:
    [(tickets,)] = asked(ran, "SELECT tickets FROM about")
    told(ran, "ticket", "merge", LAMP_NO, HOLE_NO, *WHY)
    flow.run(ran)
    assert asked(ran, "SELECT tickets FROM about") == [(tickets - 1,)]
    assert asked(ran, "SELECT sum(tickets)::INT FROM top_categories WHERE period = 'month'") == [(tickets - 1,)]
    assert asked(ran, f"SELECT DISTINCT ticket_no FROM review_queue WHERE ticket_no = '{LAMP_NO}'") == []
    with duckdb.connect(str(ran.crm), read_only=True) as crm:
        rows = crm.execute(
            "SELECT report_count, superseded_by FROM tickets WHERE ticket_no IN (?, ?) ORDER BY first_arrival",
            [HOLE_NO, LAMP_NO],
        ).fetchall()
    assert rows == [(3, None), (0, f"t{HOLE}")]
    assert audit(ran).exact


def test_the_trace_of_a_merged_ticket_leads_on_and_says_who_decided_when_and_why(ran: Settings) -> None:
    act = told(ran, "ticket", "merge", LAMP_NO, HOLE_NO, "--reason", "satu proyek galian", "--by", "Sari")["decision"]
    flow.run(ran)
    for name in (LAMP_NO, HOLE_NO, LAMP, "JK2610020003"):
        found = told(ran, "trace", name)
        assert {m["report_id"] for m in found["messages"]} == {HOLE, JOINED, LAMP}
        assert {m["ticket_no"] for m in found["messages"]} == {HOLE_NO}
        [decision] = found["ticket decisions"]
        assert [decision[k] for k in ("actor", "decision", "reason", "ticket_no", "other_no", "id")] == [
            "Sari", "merge", "satu proyek galian", HOLE_NO, LAMP_NO, act,
        ]  # fmt: skip
        assert "merged" in [e["event"] for e in found["history"]]
    assert [t["ticket_no"] for t in told(ran, "trace", LAMP_NO)["tickets"]] == [HOLE_NO, LAMP_NO]
    shown = kanal(ran, "trace", LAMP_NO).stdout
    assert "ticket decisions" in shown


def test_an_undo_takes_the_last_decision_of_a_ticket_and_by_its_id_an_undo_too(ran: Settings) -> None:
    def links() -> list[tuple[Any, ...]]:
        return asked(ran, "SELECT * FROM links ORDER BY report_id")

    before = links()
    pin = told(ran, "ticket", "pin", "JK2610010002", WASTE_NO, *WHY)["decision"]
    merge = told(ran, "ticket", "merge", LAMP_NO, WASTE_NO, *WHY)["decision"]  # before any of it is loaded
    flow.run(ran)
    after = links()
    undo = told(ran, "ticket", "undo", WASTE_NO, *WHY)["decision"]
    told(ran, "ticket", "undo", WASTE_NO, *WHY)
    assert f"nothing was decided about {WASTE_NO}" in " ".join(
        kanal(ran, "ticket", "undo", WASTE_NO, *WHY).output.split()
    )
    flow.run(ran)
    assert links() == before
    assert asked(ran, "SELECT undoes FROM ticket_decisions WHERE undoes IS NOT NULL") == [(merge,), (pin,)]
    for one in (asked(ran, "SELECT act_id FROM ticket_decisions ORDER BY arrival DESC LIMIT 1")[0][0], undo):
        told(ran, "ticket", "undo", one.upper(), *WHY)
    flow.run(ran)
    assert links() == after


def test_a_rebuild_and_later_reports_find_what_people_decided(tmp_path: Path, ran: Settings) -> None:
    told(ran, "ticket", "split", HOLE_NO, JOINED, *WHY)
    told(ran, "ticket", "merge", LAMP_NO, WASTE_NO, *WHY)
    flow.run(ran)
    another = SCHOOL | {"nomor": "JK2610040009", "tanggal": "02/10/2026 09:00", "pelapor": "", "hp": ""}
    edited = TOLD[1] | {"isi": "Sudah ditambal, tapi buruk", "diubah": "04/10/2026 10:00"}
    write(tmp_path / "jaki" / "later.csv", [another, edited])
    flow.run(ran)
    later = report_id_of("jaki", "app", "JK2610040009")
    assert asked(ran, f"SELECT ticket_id FROM links WHERE report_id = '{later}'") == [(f"t{JOINED}",)]
    with open_warehouse(ran.warehouse) as warehouse:
        assert not any(warehouse.violations().values())
        before = warehouse.table_hashes()
    assert rebuild(ran).after == before


def test_a_reviewers_decision_on_a_merged_tickets_number_is_one_on_the_ticket_that_has_its_report(
    ran: Settings,
) -> None:
    told(ran, "ticket", "merge", LAMP_NO, HOLE_NO, *WHY)
    flow.run(ran)
    [decision] = told(ran, "review", "decide", LAMP_NO, "--category", "trotoar", *WHY)["decisions"]
    assert decision["ticket_no"] == HOLE_NO
    flow.run(ran)
    assert asked(ran, f"SELECT category FROM tickets WHERE ticket_no = '{HOLE_NO}'") == [("trotoar",)]


def test_decisions_reach_a_crm_in_postgresql(
    tmp_path: Path,
    make_settings: Make,
    postgres_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KANAL_TEST_CRM", postgres_url)
    write(tmp_path / "jaki" / "oktober.csv", TOLD)
    settings = make_settings('[crm]\nurl_env = "KANAL_TEST_CRM"\n' + JAKI)
    flow.run(settings, now=lambda: NOW)

    def reports() -> dict[str, list[str]]:
        with psycopg.connect(postgres_url) as con:
            rows = con.execute(
                "SELECT t.ticket_no, array_agg(report_id ORDER BY occurred_at) FROM ticket_reports r"
                " JOIN tickets t USING (ticket_id) WHERE t.superseded_by IS NULL GROUP BY 1"
            ).fetchall()
        return {number: ids for number, ids in rows if number in (HOLE_NO, LAMP_NO, JOINED_NO)}

    decide(settings, Wish("merge", "sama", [HOLE_NO, LAMP_NO]), now=lambda: NOW)
    flow.run(settings)
    assert reports() == {HOLE_NO: [HOLE, JOINED, LAMP]}
    decide(settings, Wish("undo", "keliru", undoes=LAMP_NO), now=lambda: NOW + timedelta(hours=1))
    decide(settings, Wish("split", "lain", [HOLE_NO], [JOINED]), now=lambda: NOW + timedelta(hours=2))
    flow.run(settings)
    assert reports() == {HOLE_NO: [HOLE], JOINED_NO: [JOINED], LAMP_NO: [LAMP]}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("split", "KN-0000-0000-0000", JOINED), "KN-0000-0000-0000 is no ticket in the snapshot; `kanal status`"),
        (("split", HOLE_NO, "JK000"), "JK000 is no report in the snapshot"),
        (("split", HOLE_NO, LAMP), f"report {LAMP} is not of {HOLE_NO} but of {LAMP_NO}; split it from that one"),
        (("split", HOLE_NO, THANKS), f"report {THANKS} has no ticket"),
        (("split", HOLE_NO, HOLE, JOINED), f"that names every report of {HOLE_NO}; leave at least one"),
        (("split", LAMP_NO, LAMP), f"that names every report of {LAMP_NO}"),
        (("merge", HOLE_NO, HOLE_NO), "name two tickets"),
        (("pin", HOLE, LAMP_NO), f"report {HOLE} opened {HOLE_NO} and cannot leave it alone"),
        (("pin", THANKS, LAMP_NO), "thanks have none"),
        (("undo", "zzz"), "'zzz' is no decision and no ticket with one"),
        (("undo", HOLE_NO), f"nothing was decided about {HOLE_NO}"),
    ],
)  # fmt: skip
def test_a_decision_that_cannot_be_says_what_to_do_and_nothing_lands(
    ran: Settings, words: tuple[str, ...], said: str
) -> None:
    result = kanal(ran, "ticket", *words, *WHY)
    assert result.exit_code == FAILED
    assert said in " ".join(result.output.split())
    assert landed(ran) == []


def test_a_decision_is_tried_on_those_that_landed_before_it_and_are_not_loaded_yet(ran: Settings) -> None:
    told(ran, "ticket", "merge", LAMP_NO, HOLE_NO, *WHY)
    split = told(ran, "ticket", "split", HOLE_NO, JOINED, *WHY)["decision"]
    told(ran, "ticket", "pin", LAMP, JOINED_NO, *WHY)  # a ticket that no snapshot has yet
    for words, said in (
        (("merge", LAMP_NO, WASTE_NO), f"{LAMP_NO} was merged: its reports are in {JOINED_NO} now; name that one"),
        (("merge", HOLE_NO, LAMP_NO), f"{LAMP_NO} was merged"),
        (("pin", LAMP, JOINED_NO), f"report {LAMP} is pinned to {JOINED_NO} already"),
        (("undo", split), f"report {LAMP} was decided upon again by"),
    ):
        result = kanal(ran, "ticket", *words, *WHY)
        assert result.exit_code == FAILED
        assert said in " ".join(result.output.split())
    assert landed(ran) == [0, 1, 2]
    result = flow.run(ran)
    assert (result.loaded.events, result.loaded.quarantined) == (3, 0)


def test_a_decision_says_why_and_who_without_personal_data(ran: Settings) -> None:
    for words, said in (
        (("--reason", " "), "say in a sentence why (--reason)"),
        (("--reason", "ya", "--by", "sari@contoh.id"), "say who decides (--by)"),
    ):
        result = kanal(ran, "ticket", "merge", LAMP_NO, HOLE_NO, *words)
        assert result.exit_code == FAILED
        assert said in " ".join(result.output.split())
    assert kanal(ran, "ticket", "merge", LAMP_NO, HOLE_NO).exit_code == 2
    assert kanal(ran, "ticket", "split", HOLE_NO, *WHY).exit_code == 2
    assert landed(ran) == []


def test_in_a_terminal_the_moves_the_tickets_and_the_decisions_id_are_shown(ran: Settings) -> None:
    dry = kanal(ran, "ticket", "merge", LAMP_NO, HOLE_NO, *WHY, "--dry-run").stdout
    assert "Nothing was kept (--dry-run)" in dry
    kept = kanal(ran, "ticket", "merge", LAMP_NO, HOLE_NO, *WHY).stdout
    for words in ("Reports that move", LAMP, HOLE_NO, "Lampu PJU mati", "Decision kept: ", "kanal run"):
        assert words in kept
