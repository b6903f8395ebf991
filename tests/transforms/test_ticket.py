"""Tickets: what an officer sees, and how it changes with every report, edit and status."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.contracts import REPORTS, TICKET_EVENTS, TICKETS, status_of, to_frame, to_table
from pipelines.transforms.contents import Clock
from pipelines.transforms.emergency import Alarms
from pipelines.transforms.route import Agency, Routing, Rule
from pipelines.transforms.ticket import Change, apply

SAID = datetime(2026, 10, 1, 2, 0, tzinfo=UTC)
CLOCKS = (
    Clock("coordination", None, timedelta(hours=6)),
    Clock("completion", None, timedelta(days=7)),
    Clock("completion", "lapor", timedelta(days=5)),
)
_DEFAULTS: dict[pa.DataType, Any] = {
    pa.string(): "x", pa.int32(): 0, pa.int64(): 0, pa.float64(): 0.5, pa.bool_(): False, pa.timestamp("us", tz="UTC"): SAID,
}  # fmt: skip


def report(number: int, **values: Any) -> dict[str, Any]:
    row = {f.name: None if f.nullable else _DEFAULTS[f.type] for f in REPORTS}
    return row | {
        "report_id": f"r{number:015d}", "channel": "jaki", "arrival": number, "occurred_at": SAID + timedelta(minutes=number),
        "text": f"laporan {number}", "kind": "complaint", "category": "jalan", "agency_id": "bina_marga", "unit": "Sudin A",
        "intake_unit": "Kelurahan A", "place_method": "named", "attachments": "[]", "extra": "{}",
    } | values  # fmt: skip


def frame(*rows: dict[str, Any]) -> pd.DataFrame:
    return to_frame(pa.Table.from_pylist(list(rows), schema=REPORTS))


def agency(name: str, kind: str = "dinas", office: str | None = None) -> Agency:
    return Agency(name, f"Dinas {name}", kind, office)


def rule(name: str, category: str | None, acts: str, upt: str | None = None) -> Rule:
    return Rule(name, frozenset([category] if category else []), None, None, frozenset(), acts, upt)


ROUTING = Routing(
    rules=(rule("jalan", "jalan", "bina_marga"), rule("pohon", "pohon", "pertamanan"), rule("bus", "bus", "dishub", "tj"),
           rule("lain", None, "biro")),
    alarms=Alarms([]),
    agencies={
        "bina_marga": agency("bina_marga", office="Sudin BM"), "pertamanan": agency("pertamanan", office="Sudin Taman"),
        "dishub": agency("dishub"), "tj": Agency("tj", "Dinas tj", "bumd", None, "dishub"),
        "lurah": agency("lurah", "kelurahan"), "biro": agency("biro"),
    },
    kota_names={"31.71": "Pusat", "31.74": "Selatan"},
    kelurahan_names={"31.71.07.1001": "Gelora", "31.74.01.1001": "Tebet"},
    channels={"jaki": (True, "Admin JAKI")},
)  # fmt: skip
NONE = to_frame(TICKETS.empty_table())
ID = "tr000000000000001"


def after(*changes: Change, first: dict[str, Any] | None = None) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The ticket of report 1 after these changes, and its history."""
    tickets, events = apply(NONE, frame(first or report(1)), list(changes), clocks=CLOCKS, routing=ROUTING)
    [ticket] = to_table(tickets, TICKETS).to_pylist()
    return ticket, to_table(events, TICKET_EVENTS).to_pylist()


def status(arrival: int, **event: Any) -> Change:
    return Change(
        arrival, "status", ID, event={"ticket_id": ID, "happened_at": SAID + timedelta(hours=arrival)} | event
    )


def decided(arrival: int, **values: Any) -> Change:
    nothing = dict.fromkeys(("category", "agency_id", "kind", "kelurahan_code"))
    event = nothing | {"report_id": ID[1:], "actor": "Sari", "reason": "sudah dicek", "happened_at": SAID} | values
    return Change(arrival, "decision", ID, event=event)


def joined(arrival: int, **values: Any) -> Change:
    return Change(arrival, "joined", ID, report=report(arrival, **values))


def edited(arrival: int, before: dict[str, Any], **values: Any) -> Change:
    return Change(
        arrival, "edited", ID, report=before | {"edited_at": SAID + timedelta(hours=arrival)} | values, before=before
    )


def test_a_new_ticket_holds_what_its_report_said_and_when_it_is_due() -> None:
    ticket, events = after(first=report(1, title="Jalan rusak", external_ref="JK2610010001", private=True))
    assert (ticket["ticket_id"], ticket["description"], ticket["external_ref"]) == (
        ID,
        "Jalan rusak\nlaporan 1",
        "JK2610010001",
    )
    assert (ticket["status"], ticket["frozen"], ticket["version"], ticket["report_count"]) == ("menunggu", False, 1, 1)
    assert ticket["coordination_due_at"] - ticket["opened_at"] == timedelta(hours=6)
    assert ticket["completion_due_at"] - ticket["opened_at"] == timedelta(days=7)
    assert [(e["event"], e["actor"], e["report_id"]) for e in events] == [("opened", "pipeline", "r000000000000001")]


def test_a_channels_own_clock_goes_before_the_common_one() -> None:
    ticket, _ = after(first=report(1, channel="lapor"))
    assert ticket["completion_due_at"] - ticket["opened_at"] == timedelta(days=5)


def test_a_joining_report_adds_its_channel_files_and_urgency() -> None:
    ticket, events = after(
        joined(2, channel="twitter", attachment_count=2, emergency=True, completeness=0.9, private=True)
    )
    assert (ticket["report_count"], ticket["attachment_count"], ticket["channels"]) == (2, 2, ["jaki", "twitter"])
    assert (ticket["emergency"], ticket["private"], ticket["completeness"], ticket["version"]) == (True, True, 0.9, 2)
    assert ticket["last_report_at"] == SAID + timedelta(minutes=2)
    assert [e["event"] for e in events] == ["opened", "joined"]


def test_the_first_rule_that_flags_a_ticket_stays_through_joins_and_edits() -> None:
    fire, crash = ({"emergency": True, "emergency_rule": name} for name in ("kebakaran", "kecelakaan"))
    ticket, _ = after(joined(2, **fire), joined(3, **crash), joined(4))
    assert (ticket["emergency"], ticket["emergency_rule"]) == (True, "kebakaran")
    opened, _ = after(joined(2, **crash), first=report(1, **fire))
    assert (opened["emergency"], opened["emergency_rule"]) == (True, "kebakaran")
    calm, _ = after(joined(2))
    assert (calm["emergency"], calm["emergency_rule"]) == (False, None)


def test_a_joining_report_fills_in_what_the_first_did_not_say() -> None:
    first = report(1, category=None, review_reason="kategori_tidak_yakin", agency_id="biro", unit="Biro")
    ticket, _ = after(joined(2, kelurahan_code="31.74.01.1001", unit="Sudin B"), first=first)
    assert (ticket["category"], ticket["agency_id"], ticket["unit"], ticket["review_reason"]) == (
        "jalan",
        "bina_marga",
        "Sudin B",
        None,
    )
    assert ticket["kelurahan_code"] == "31.74.01.1001"


def test_an_edit_of_the_first_report_changes_the_ticket_and_of_another_does_not() -> None:
    first = report(1)
    ticket, _ = after(edited(2, first, text="lebih jelas", category="banjir"), first=first)
    assert (ticket["description"], ticket["category"], ticket["version"]) == ("lebih jelas", "banjir", 2)
    other = report(2)
    ticket, _ = after(joined(2), edited(3, other, text="lebih jelas", category="banjir", attachment_count=1))
    assert (ticket["description"], ticket["category"], ticket["attachment_count"], ticket["version"]) == (
        "laporan 1",
        "jalan",
        1,
        3,
    )


def test_after_an_officers_first_event_the_machine_only_suggests() -> None:
    first = report(1)
    ticket, events = after(
        status(2, status="koordinasi", actor="petugas"),
        edited(3, first, text="lebih jelas", category="banjir", agency_id="sda"),
        first=first,
    )
    assert (ticket["status"], ticket["frozen"], ticket["category"], ticket["agency_id"]) == (
        "koordinasi",
        True,
        "jalan",
        "bina_marga",
    )
    assert (ticket["suggested_category"], ticket["suggested_agency_id"], ticket["description"]) == (
        "banjir",
        "sda",
        "lebih jelas",
    )
    assert [(e["event"], e["actor"], e["status"]) for e in events][1] == ("status", "petugas", "koordinasi")


def test_what_an_officer_corrects_counts_and_ends_the_review() -> None:
    first = report(1, review_reason="lokasi_tidak_yakin")
    ticket, events = after(
        status(2, category="pohon", agency_id="pertamanan", unit="Sudin C", note="salah kategori"), first=first
    )
    assert (ticket["category"], ticket["agency_id"], ticket["unit"], ticket["review_reason"]) == (
        "pohon",
        "pertamanan",
        "Sudin C",
        None,
    )
    assert orjson.loads(events[1]["detail"]) == {
        "category": "pohon", "agency_id": "pertamanan", "unit": "Sudin C", "note": "salah kategori",
    }  # fmt: skip
    assert ticket["status"] == "menunggu"


def test_history_comes_in_with_its_status_and_moves_with_its_source() -> None:
    first = report(1, status_reported="Proses")
    ticket, _ = after(first=first)
    assert (ticket["status"], ticket["frozen"]) == ("proses", True)
    ticket, _ = after(edited(2, first, status_reported="Selesai"), first=first)
    assert (ticket["status"], ticket["status_at"]) == ("selesai", SAID + timedelta(hours=2))


UNSURE = report(1, category=None, agency_id="biro", unit="Dinas biro", route_rule="lain", place_method="none",
                intake_unit="Admin JAKI", review_reason="kategori_tidak_yakin,lokasi_tidak_ada")  # fmt: skip


def told(ticket: dict[str, Any], *names: str) -> tuple[Any, ...]:
    return tuple(ticket[name] for name in names)


def test_what_a_person_decides_is_taken_over_and_agency_unit_and_intake_follow_it() -> None:
    ticket, events = after(decided(2, category="jalan", kelurahan_code="31.74.01.1001", kind="question"), first=UNSURE)
    assert told(ticket, "category", "category_confidence", "kind", "review_reason", "frozen", "version") == (
        "jalan", 1.0, "question", None, True, 2,
    )  # fmt: skip
    assert told(ticket, "agency_id", "unit", "route_rule", "intake_unit") == (
        "bina_marga", "Sudin BM Selatan", "jalan", "Kelurahan Tebet",
    )  # fmt: skip
    assert told(ticket, "kelurahan_code", "kecamatan_code", "kota_code", "place_method") == (
        "31.74.01.1001", "31.74.01", "31.74", "person",
    )  # fmt: skip
    assert told(events[1], "event", "actor", "report_id", "status") == ("decision", "Sari", ID[1:], None)
    assert orjson.loads(events[1]["detail"]) == {
        "category": "jalan", "kelurahan_code": "31.74.01.1001", "kind": "question", "reason": "sudah dicek",
    }  # fmt: skip


def test_an_agency_that_a_person_chose_stays_with_later_decisions_on_category_and_place() -> None:
    ticket, _ = after(decided(2, agency_id="lurah"), decided(3, category="jalan"), first=UNSURE)
    assert told(ticket, "category", "agency_id", "unit", "route_rule") == ("jalan", "lurah", "Dinas lurah", "keputusan")
    ticket, _ = after(decided(2, agency_id="lurah"), decided(3, kelurahan_code="31.71.07.1001"), first=UNSURE)
    assert told(ticket, "agency_id", "unit", "route_rule") == ("lurah", "Kelurahan Gelora", "keputusan")


def test_an_agency_of_the_source_stays_with_a_decided_category_and_its_unit_follows_the_place() -> None:
    named = UNSURE | {"agency_id": "bina_marga", "unit": "Dinas bina_marga", "agency_source": "reported"}
    ticket, _ = after(decided(2, category="pohon", kelurahan_code="31.74.01.1001"), first=named)
    assert told(ticket, "category", "agency_id", "unit", "agency_source", "route_rule") == (
        "pohon", "bina_marga", "Sudin BM Selatan", "reported", "pohon",
    )  # fmt: skip


def test_an_agency_of_the_classifier_stays_with_a_decided_place_but_not_with_another_category() -> None:
    thought = report(1, agency_id="dishub", unit="Dinas tj", agency_source="model", agency_confidence=0.9)
    ticket, _ = after(decided(2, kelurahan_code="31.74.01.1001"), first=thought)
    assert told(ticket, "agency_id", "unit", "agency_source", "agency_confidence") == (
        "dishub",
        "Dinas tj",
        "model",
        0.9,
    )
    ticket, _ = after(decided(2, category="jalan"), first=thought)
    assert told(ticket, "category", "agency_id", "agency_source") == ("jalan", "dishub", "model")
    ticket, _ = after(decided(2, category="pohon"), first=thought)
    assert told(ticket, "agency_id", "unit", "agency_source", "agency_confidence") == (
        "pertamanan", "Dinas pertamanan", "rule", 0.78,
    )  # fmt: skip


def test_a_person_who_names_the_agency_is_its_source_be_it_a_reviewer_or_an_officer() -> None:
    thought = report(1, agency_id="dishub", agency_source="model", agency_confidence=0.9)
    for change in (decided(2, agency_id="pertamanan"), status(2, agency_id="pertamanan")):
        ticket, _ = after(change, edited(3, thought, agency_id="sda", agency_source="model"), first=thought)
        assert told(ticket, "agency_id", "agency_source", "agency_confidence", "suggested_agency_id") == (
            "pertamanan", "person", 1.0, "sda",
        )  # fmt: skip


def test_where_the_rules_agree_with_the_chosen_agency_their_unit_stands() -> None:
    ticket, _ = after(decided(2, category="bus", agency_id="dishub"), first=UNSURE)
    assert told(ticket, "agency_id", "unit", "route_rule") == ("dishub", "Dinas tj", "keputusan")


def test_a_later_decision_replaces_what_it_names_and_keeps_the_rest() -> None:
    ticket, events = after(
        decided(2, category="jalan", kind="question"),
        decided(3, category="pohon", reason="ternyata dahan"),
        first=UNSURE,
    )
    assert told(ticket, "category", "kind", "agency_id", "version") == ("pohon", "question", "pertamanan", 3)
    assert [orjson.loads(e["detail"]).get("reason") for e in events] == [None, "sudah dicek", "ternyata dahan"]


def test_a_person_wins_over_what_the_machine_thinks_later() -> None:
    late = {
        "category": "pohon",
        "agency_id": "pertamanan",
        "unit": "Sudin Taman",
        "review_reason": "lokasi_tidak_yakin",
    }
    ticket, _ = after(
        decided(2, category="jalan"),
        edited(3, UNSURE, text="lebih jelas", kelurahan_code="31.71.07.1001", **late),
        joined(4, **late),
        first=UNSURE,
    )
    assert told(ticket, "category", "agency_id", "unit", "review_reason", "description", "kelurahan_code") == (
        "jalan", "bina_marga", "Dinas bina_marga", None, "lebih jelas", None,
    )  # fmt: skip
    assert told(ticket, "suggested_category", "suggested_agency_id", "suggested_kelurahan_code") == (
        "pohon", "pertamanan", "31.71.07.1001",
    )  # fmt: skip
    agreed, _ = after(
        decided(2, category="jalan"), edited(3, UNSURE, **late), decided(4, category="pohon"), first=UNSURE
    )
    assert told(agreed, "category", "suggested_category", "suggested_agency_id") == ("pohon", None, None)


def test_a_report_that_joins_does_not_put_a_decided_ticket_back_into_the_queue() -> None:
    ticket, _ = after(decided(2, kelurahan_code="31.71.07.1001"), joined(3, review_reason="x"), first=UNSURE)
    assert told(ticket, "review_reason", "category", "suggested_category") == (None, None, "jalan")


def test_whoever_acts_on_a_ticket_keeps_it_unless_the_decision_names_an_agency() -> None:
    acted = status(2, status="proses")
    ticket, _ = after(acted, decided(3, category="jalan"), first=UNSURE)
    assert told(ticket, "category", "agency_id", "unit", "status") == ("jalan", "biro", "Dinas biro", "proses")
    ticket, _ = after(acted, decided(3, agency_id="pertamanan"), first=UNSURE)
    assert told(ticket, "agency_id", "unit", "status") == ("pertamanan", "Dinas pertamanan", "proses")
    corrected = status(2, agency_id="pertamanan", unit="Seksi Pohon")
    ticket, _ = after(corrected, decided(3, category="jalan"), first=UNSURE)
    assert told(ticket, "agency_id", "unit") == ("pertamanan", "Seksi Pohon")


def test_the_point_of_a_landmark_goes_when_a_person_says_another_kelurahan() -> None:
    named = {"lat": -6.2, "lon": 106.8, "kelurahan_code": "31.71.07.1001"}
    for method, point in (("landmark", (None, None)), ("polygon", (-6.2, 106.8))):
        ticket, _ = after(decided(2, kelurahan_code="31.74.01.1001"), first=UNSURE | named | {"place_method": method})
        assert told(ticket, "lat", "lon") == point


@pytest.mark.parametrize(
    ("label", "status"),
    [
        ("Menunggu Validasi", "menunggu_validasi"),
        (" SELESAI ", "selesai"),
        ("TL Ditolak", "tl_ditolak"),
        ("entah", None),
        (None, None),
    ],
)
def test_a_status_is_read_in_any_spelling(label: str | None, status: str | None) -> None:
    assert status_of(label) == status


def test_a_status_for_a_ticket_nobody_has_changes_nothing() -> None:
    tickets, events = apply(
        NONE,
        frame(report(1)),
        [status(2, status="selesai")._replace(ticket_id="tzz")],
        clocks=CLOCKS,
        routing=ROUTING,
    )
    assert len(tickets) == len(events) == 1


changes = st.lists(
    st.one_of(
        st.builds(
            lambda c, k: ("joined", {"channel": c, "category": k}), st.sampled_from(["jaki", "sms"]), st.sampled_from(["jalan", None])
        ),
        st.builds(lambda k: ("edited", {"category": k}), st.sampled_from(["jalan", "pohon", None])),
        st.builds(
            lambda s, k: ("status", {"status": s, "category": k}),
            st.sampled_from(["proses", "selesai", None]), st.sampled_from(["taman", None]),
        ),
        st.builds(
            lambda k, a, p: ("decision", {"category": k, "agency_id": a, "kelurahan_code": p}),
            st.sampled_from(["jalan", "bus", None]), st.sampled_from(["lurah", None]),
            st.sampled_from(["31.71.07.1001", "31.74.01.1001", None]),
        ),
    ),
    max_size=12,
)  # fmt: skip


@given(changes, st.integers(0, 12))
def test_a_ticket_is_the_same_however_its_changes_are_cut_into_loads(
    wanted: list[tuple[str, dict[str, Any]]], cut: int
) -> None:
    first, row, made = report(1), report(1), []
    for arrival, (what, values) in enumerate(wanted, 2):
        if what == "joined":
            made.append(joined(arrival, **values))
        elif what == "edited":
            made.append(edited(arrival, row, **values))
            row = row | values
        elif what == "decision":
            made.append(decided(arrival, **values))
        else:
            made.append(status(arrival, **values))
    whole, history = apply(NONE, frame(first), made, clocks=CLOCKS, routing=ROUTING)
    early, one = apply(NONE, frame(first), made[:cut], clocks=CLOCKS, routing=ROUTING)
    late, two = (
        apply(to_frame(to_table(early, TICKETS)), frame(), made[cut:], clocks=CLOCKS, routing=ROUTING)
        if made[cut:]
        else (early, one.iloc[:0])
    )
    assert to_table(late, TICKETS).to_pylist() == to_table(whole, TICKETS).to_pylist()
    assert (
        to_table(one, TICKET_EVENTS).to_pylist() + to_table(two, TICKET_EVENTS).to_pylist()
        == to_table(history, TICKET_EVENTS).to_pylist()
    )
    [ticket] = to_table(whole, TICKETS).to_pylist()
    assert ticket["version"] == len(wanted) + 1
    assert len({e["event_id"] for e in to_table(history, TICKET_EVENTS).to_pylist()}) == len(history)
