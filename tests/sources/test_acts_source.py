"""Decisions on tickets as messages: what is written is read again, and what cannot be used is refused in words."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import RejectedMessage
from pipelines.sources.acts import NEEDS, STREAM, decode, event, message, pull

AT = datetime(2026, 11, 20, 3, 0, tzinfo=UTC)
SPLIT = {"act": "split", "ticket_id": "t1", "report_ids": ["r2", "r3"], "actor": "Sari", "reason": "lubang lain"}


def test_a_decision_that_is_written_is_read_again_as_it_was() -> None:
    landed = message(SPLIT, AT)
    more = {"other_id": None, "undoes": None, "act_id": landed.source_ref, "happened_at": AT}
    assert event(landed) == SPLIT | more


def test_the_same_decision_at_the_same_time_is_one_message_and_a_later_one_another() -> None:
    one = message(SPLIT, AT)
    assert message(dict(reversed(SPLIT.items())), AT) == one
    assert message(SPLIT, AT.replace(minute=1)).source_ref != one.source_ref


def test_nothing_is_pulled_and_no_decision_is_a_report() -> None:
    assert list(pull(STREAM, None, now=lambda: AT)) == []
    with pytest.raises(RejectedMessage):
        decode(message(SPLIT, AT), STREAM)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"act": "gabung"}, "jenisnya tidak dikenal. Yang dikenal: split, merge, pin, undo"),
        ({"ticket_id": " "}, "ticket_id kosong"),
        ({"report_ids": []}, "report_ids kosong"),
        ({"report_ids": "r2"}, "report_ids kosong"),
        ({"report_ids": [7, " "]}, "report_ids kosong"),
        ({"act": "merge"}, "other_id kosong"),
        ({"act": "undo"}, "undoes kosong"),
        ({"act": "pin"}, "hanya satu laporan"),
        ({"reason": None}, "reason kosong"),
        ({"actor": 7}, "actor kosong"),
        ({"decided_at": "kemarin"}, "waktunya kosong atau tidak terbaca"),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_reason(wrong: dict[str, Any], why: str) -> None:
    landed = message(SPLIT, AT)
    with pytest.raises(RejectedMessage, match=why) as refused:
        event(replace(landed, payload=orjson.dumps(orjson.loads(landed.payload) | wrong)))
    assert refused.value.stage == "event"


NAMES = st.sampled_from(["act", "ticket_id", "other_id", "undoes", "report_ids", "reason", "actor", "decided_at"])
VALUES = st.none() | st.integers(0, 9) | st.text("ab ", max_size=3) | st.sampled_from([*NEEDS, AT.isoformat()])
SAID = st.dictionaries(NAMES, VALUES | st.lists(VALUES, max_size=3))


@given(said=SAID | st.lists(SAID, max_size=1) | st.just("teks"))
def test_whatever_lands_is_either_a_whole_decision_or_refused(said: Any) -> None:
    landed = replace(message(SPLIT, AT), payload=orjson.dumps(said))
    try:
        found = event(landed)
    except RejectedMessage:
        with pytest.raises(RejectedMessage, match="^Keputusan tentang tiket ini tidak bisa dipakai: "):
            event(landed)
    else:
        assert all(found[name] for name in (*NEEDS[found["act"]], "actor", "reason", "happened_at"))
        assert len(set(found["report_ids"])) == len(found["report_ids"])


def test_a_payload_that_is_no_json_is_refused() -> None:
    with pytest.raises(RejectedMessage, match="rusak"):
        event(replace(message(SPLIT, AT), payload=b"\xff{"))
