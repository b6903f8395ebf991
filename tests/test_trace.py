"""Trace, status and rebuild over files that are damaged or hold what nobody thought of."""

from __future__ import annotations

import getpass
import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from pipelines import knowledge, rebuild
from pipelines.contracts import Message, Stream
from pipelines.errors import PermanentError
from pipelines.settings import Settings
from pipelines.sinks import snapshot
from pipelines.sinks.landing import BatchRef, Head, Landing
from pipelines.status import status
from pipelines.trace import Walked, trace_thing
from tests import made

UNIT = "Suku Dinas Jalan, Jembatan, dan Trotoar"
START = Head(-1, None)
AT = datetime(2026, 11, 19, 3, 0, tzinfo=UTC)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A snapshot in which every ticket is of one unit with commas in its name."""
    found = made.settings(tmp_path)
    rows = made.rows(60)
    tickets = rows["tickets"]
    units = pa.array([UNIT] * tickets.num_rows)
    rows["tickets"] = tickets.set_column(
        tickets.schema.get_field_index("unit"), tickets.schema.field("unit"), units
    )  # fmt: skip
    with made.warehouse(found, rows) as warehouse:
        snapshot.build(found, warehouse, knowledge.names(found), made.NOW)
    return found


def walk(settings: Settings, what: str, where: str | None = None, *, verbatim: bool = False) -> Walked:
    return trace_thing(settings, what, where=where, limit=5, verbatim=verbatim)


def first_message(settings: Settings) -> str:
    return str(walk(settings, "agency_load", f"unit={UNIT}").parts["messages"][0]["message"])


def land(settings: Settings, name: str, after: Head = START) -> Head | None:
    message = Message("a", "v1", b"{}", "application/json", AT, occurred_at=AT, origin="file.csv row 1")
    stream = Stream("jaki", name, "export", {})
    return Landing(settings.landing_dir).put(
        stream, after, [message], {"n": after.sequence}, source_version="1", run_id="r", now=AT
    )


def test_a_value_with_commas_can_be_asked_for_and_what_is_printed_can_be_walked(settings: Settings) -> None:
    found = walk(settings, first_message(settings)).parts["counted in"]
    [line] = {row["where"] for row in found if "unit=" in row["where"]}
    assert line.endswith(f",unit={UNIT}")
    [figure] = {row["figure"] for row in found if row["where"] == line}
    assert walk(settings, figure, line).parts["messages"]


def test_an_unknown_key_after_a_comma_is_still_told(settings: Settings) -> None:
    with pytest.raises(PermanentError, match="is not told apart by 'warna'"):
        walk(settings, "top_categories", "category=jalan,warna=biru")


@pytest.mark.parametrize("row", ["²", "٣", "99999999999999999999", "-1"])
def test_a_place_that_is_no_number_is_nobody(settings: Settings, row: str) -> None:
    with pytest.raises(PermanentError, match="is no mart, ticket, report or message"):
        walk(settings, f"jaki/ekspor/0/{row}")


def test_a_payload_is_shown_whole_and_an_account_without_a_name_is_logged_by_its_number(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.setattr(getpass, "getuser", nameless)
    channel, stream, sequence, row = first_message(settings).split("/")
    payloads = [Message(str(n), "v1", b"x" * 500, "text/plain", AT, occurred_at=AT) for n in range(100)]
    landing, head = Landing(settings.landing_dir), START
    for n in range(int(sequence) + 1):
        landed = landing.put(
            Stream(channel, stream, "export", {}), head, payloads, {"n": n}, source_version="1", run_id="r", now=AT
        )
        assert landed is not None
        head = landed
    walked = trace_thing(settings, f"{channel}/{stream}/{sequence}/{row}", where=None, limit=1, verbatim=True)
    [(columns, rows)] = [(columns, rows) for title, columns, rows in walked.tables if title == "verbatim"]
    assert rows[0][columns.index("payload")] == "x" * 500
    assert json.loads((settings.data_dir / "access.log").read_text())["user"].startswith("uid ")


def test_a_snapshot_that_cannot_be_read_says_how_to_make_a_new_one(settings: Settings) -> None:
    settings.analytics.resolve().write_bytes(b"broken" * 9999)
    with pytest.raises(PermanentError, match="cannot be read; run: kanal run"):
        walk(settings, "top_categories")
    with pytest.raises(PermanentError, match="cannot be read; run: kanal run"):
        status(settings)


def test_one_torn_landing_file_hides_no_other_stream(tmp_path: Path) -> None:
    settings = made.settings(tmp_path)
    head = land(settings, "torn")
    assert head is not None
    land(settings, "torn", after=head)
    land(settings, "whole")
    Landing(settings.landing_dir).path(BatchRef("jaki", "torn", 1)).write_bytes(b"PAR1")
    told = {row["stream"]: row for row in status(settings)["streams"]}
    assert {name: (row["batches"], row["waiting"], row["note"] is None) for name, row in told.items()} == {
        "jaki/torn": (2, 1, False),
        "jaki/whole": (1, 1, True),
    }
    assert "restore it from a backup" in told["jaki/torn"]["note"]


def test_an_old_warehouse_with_bad_blocks_does_not_stop_a_rebuild(tmp_path: Path) -> None:
    settings = made.settings(tmp_path)
    with made.warehouse(settings, made.rows(300)):
        pass
    assert rebuild._hashes(settings.warehouse)
    with settings.warehouse.open("r+b") as file:
        size = settings.warehouse.stat().st_size
        file.seek(4 * 4096)
        file.write(b"\xff" * (size - 4 * 4096))
    assert rebuild._hashes(settings.warehouse) == {}
