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

from pipelines.contracts import REPORTS, TICKET_EVENTS, TICKETS, to_frame, to_table
from pipelines.transforms.route import Agency, Routing, Rule
from pipelines.transforms.ticket import Change, Clock, apply, status_of

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
        NONE, frame(report(1)), [status(2, status="selesai")._replace(ticket_id="tzz")], clocks=CLOCKS
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
