"""Decisions as messages: what is written is read again, and what cannot be used is refused in words."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import RejectedMessage
from pipelines.sources import decisions
from pipelines.sources.decisions import STREAM, decode, event, message, pull

AT = datetime(2026, 11, 20, 3, 0, tzinfo=UTC)
JALAN = {"report_id": "r1", "category": "jalan", "actor": "Sari", "reason": "sudah dicek"}


def test_a_decision_that_is_written_is_read_again_as_it_was() -> None:
    found = event(message(JALAN, AT))
    assert found == JALAN | {"agency_id": None, "kind": None, "kelurahan_code": None, "happened_at": AT}


def test_the_same_decision_at_the_same_time_is_one_message_and_a_later_one_another() -> None:
    one = message(JALAN, AT)
    assert message(dict(reversed(JALAN.items())), AT) == one
    assert message(JALAN, AT.replace(minute=1)).source_ref != one.source_ref


def test_nothing_is_pulled_and_no_decision_is_a_report() -> None:
    assert list(pull(STREAM, None, now=lambda: AT)) == []
    with pytest.raises(RejectedMessage):
        decode(message(JALAN, AT), STREAM)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"report_id": " "}, "report_id kosong"),
        ({"reason": None}, "reason kosong"),
        ({"actor": 7}, "actor kosong"),
        ({"category": None}, "tidak ada yang diputuskan"),
        ({"kind": "gosip"}, "jenis laporannya tidak dikenal"),
        ({"decided_at": "kemarin"}, "waktunya kosong atau tidak terbaca"),
        ({"decided_at": "2026-11-20T03:00:00"}, "waktunya kosong atau tidak terbaca"),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_reason(wrong: dict[str, Any], why: str) -> None:
    landed = message(JALAN, AT)
    payload = orjson.dumps(orjson.loads(landed.payload) | wrong)
    with pytest.raises(RejectedMessage, match=why) as refused:
        event(replace(landed, payload=payload))
    assert refused.value.stage == "event"


NAMES = st.sampled_from(["report_id", "reason", "actor", "category", "kind", "decided_at"])
SAID = st.dictionaries(NAMES, st.none() | st.integers(0, 9) | st.text("ab ", max_size=3) | st.just(AT.isoformat()))


@given(st.binary() | SAID.map(orjson.dumps))
def test_whatever_lies_in_a_message_is_an_event_or_refused(payload: bytes) -> None:
    try:
        found = event(replace(message(JALAN, AT), payload=payload))
    except RejectedMessage:
        return
    assert found["reason"]
    assert any(found[name] for name in decisions.DECIDED)
