"""Attempts to fetch a file: what lands is what is read, and what is torn is set aside."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.contracts import Message
from pipelines.errors import RejectedMessage
from pipelines.sources import fetched

AT = datetime(2026, 11, 20, 1, 2, 3, tzinfo=UTC)
URL = "https://foto.example.com/a.jpg"
FILE = {"type": "image/jpeg", "size": 4, "sha256": "0" * 64}


@pytest.mark.parametrize(
    ("said", "again"),
    [({"file": FILE, "data": b"foto"}, False), ({"problem": "the host answers 503", "again": True}, True)],
)
def test_an_attempt_is_read_back_as_it_was_made(said: dict[str, Any], again: bool) -> None:
    made = fetched.message("r1", URL, AT, **said)
    assert fetched.event(made) == {
        "report_id": "r1", "url": URL, "file": said.get("file"), "problem": said.get("problem"), "again": again,
        "happened_at": AT,
    }  # fmt: skip
    assert made.media == ((said["data"],) if "data" in said else ())
    assert b"foto" not in made.payload.replace(b"foto.example", b"")


def test_attempts_for_one_address_of_a_report_are_versions_of_one_item() -> None:
    first, second = fetched.message("r1", URL, AT, problem="x"), fetched.message("r1", URL, AT, file=FILE)
    assert first.source_ref == second.source_ref != fetched.message("r2", URL, AT, file=FILE).source_ref
    assert first.version != second.version


@given(st.binary(max_size=60) | st.recursive(st.none() | st.text(), st.lists).map(orjson.dumps))
def test_what_is_torn_is_set_aside_and_nothing_else_happens(payload: bytes) -> None:
    with pytest.raises(RejectedMessage):
        fetched.event(Message("a", "1", payload, fetched.PAYLOAD_TYPE, AT))


def test_an_attempt_is_never_a_report() -> None:
    with pytest.raises(RejectedMessage):
        fetched.decode(fetched.message("r1", URL, AT, file=FILE), fetched.STREAM)
    assert list(fetched.pull(fetched.STREAM, None, now=lambda: AT)) == []
