"""Real exports of three systems, read by mapping alone: every row must be accounted for.

They lie outside the repository, in ../shared/data beside it. Without them these tests are skipped,
and say so. No text of theirs is shown, here or in a failure.
"""

from __future__ import annotations

import csv
import warnings
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipelines import knowledge, settings
from pipelines.contracts import Draft, Message, Stream
from pipelines.errors import RejectedMessage
from pipelines.sources import export

HERE = Path(__file__).resolve().parent
DATA = HERE.parents[2] / "shared" / "data"
NOW = datetime(2026, 10, 7, 3, 0, tzinfo=UTC)

if not DATA.is_dir():
    reason = f"no real exports at {DATA}: put the folder shared/data beside this repository"
    warnings.warn(reason, stacklevel=1)
    pytest.skip(reason, allow_module_level=True)

SETTINGS = settings.load(HERE / "kanal.toml")
CRM, QLUE, GRASP, DETIK, SURABAYA = SETTINGS.streams[:5]


def rows_of(path: str, source: str | None = None) -> list[dict[str, str]]:
    with (DATA / path).open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if source in (None, row.get("source"))]


def read(stream: Stream) -> tuple[list[Message], list[Draft | None]]:
    """(messages, draft of each, None where it was set aside)."""
    messages = [m for batch in export.pull(stream, None, now=lambda: NOW) for m in batch.messages]
    drafts: list[Draft | None] = []
    for message in messages:
        try:
            drafts.append(export.decode(message, stream))
        except RejectedMessage:
            drafts.append(None)
    return messages, drafts


def test_every_channel_of_the_real_settings_is_in_the_registry() -> None:
    registry = knowledge.channels(SETTINGS)
    assert all(knowledge.channel_of(registry, stream) for stream in SETTINGS.streams)


def test_every_row_of_the_crm_is_a_report_with_its_number_place_and_time() -> None:
    rows = rows_of("jakarta_crm_2023/reports_dev.csv")
    messages, drafts = read(CRM)
    assert len(messages) == len(rows) > 300
    assert [m.source_ref for m in messages] == [r["report_id"] for r in rows]
    kept = [d for d in drafts if d]
    assert len(kept) == len(rows)
    assert all(d.external_ref and d.kelurahan_reported and d.category_reported and d.occurred_at for d in kept)
    assert not any("&amp;" in d.text or "unread" in d.extra for d in kept)


@pytest.mark.parametrize("stream", [QLUE, GRASP, DETIK], ids=lambda s: s.channel)
def test_one_file_feeds_three_channels_and_every_row_is_in_one_of_them(stream: Stream) -> None:
    rows = rows_of("petabencana_2017/reports.csv", stream.channel)
    messages, drafts = read(stream)
    assert len(messages) == len(rows) > 40
    kept = [d for d in drafts if d]
    empty = [r for r in rows if not r["text"].strip() and not r["title"].strip() and r["has_image"] != "1"]
    assert len(kept) == len(rows) - len(empty)
    assert [d.occurred_at for d in kept] == [datetime.fromisoformat(r["created_at"]).replace(tzinfo=UTC) for r in rows]
    assert [(d.lat, d.lon) for d in kept] == [(float(r["lat"]), float(r["lon"])) for r in rows]


def test_every_row_of_another_citys_complaints_is_a_report() -> None:
    rows = rows_of("surabaya_complaints/complaints_dev.csv")
    messages, drafts = read(SURABAYA)
    assert len(messages) == len(rows) > 7000
    assert [m.source_ref for m in messages] == [r["id"] for r in rows]
    kept = [d for d in drafts if d]
    assert Counter(d.agency_reported for d in kept) == Counter(
        r["instansi"].strip() for r in rows if r["keluhan"].strip()
    )
    assert not any("\\n" in d.text or "unread" in d.extra for d in kept)
    assert sum("\n" in d.text for d in kept) > 1000
