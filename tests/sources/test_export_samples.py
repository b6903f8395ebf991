"""The sample exports: made up, dated, and read to the last row by mapping alone."""

from __future__ import annotations

import csv
import re
import tomllib
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipelines.contracts import Draft, Message, Stream
from pipelines.settings import load
from pipelines.sources import export

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "samples"
NOW = datetime(2026, 10, 7, 3, 0, tzinfo=UTC)
ROWS = {
    "jaki/ekspor": 139, "qlue/ekspor": 25, "lapor/ekspor": 25, "balai_warga/formulir": 15, "media/kliping": 8,
    "governor_letter/agenda": 6, "pendopo/meja": 8, "inspektorat/meja": 7, "walikota/jakarta-timur": 4,
    "walikota/jakarta-barat": 4, "kecamatan/meja": 8, "kelurahan/meruya-utara": 8,
}  # fmt: skip


def streams() -> dict[str, Stream]:
    return {s.key: s for s in load(SAMPLES / "kanal.toml").streams if s.source == "export"}


STREAMS = streams()


def read(key: str) -> tuple[list[Message], list[Draft]]:
    messages = [m for batch in export.pull(STREAMS[key], None, now=lambda: NOW) for m in batch.messages]
    return messages, [export.decode(m, STREAMS[key]) for m in messages]


def test_every_stream_of_the_samples_is_counted_here() -> None:
    assert set(STREAMS) == set(ROWS)


@pytest.mark.parametrize(("key", "rows"), ROWS.items())
def test_every_sample_row_is_a_report_of_2026_in_which_everything_can_be_read(key: str, rows: int) -> None:
    messages, drafts = read(key)
    assert len(messages) == rows
    for message, draft in zip(messages, drafts, strict=True):
        assert draft.occurred_at is not None
        assert draft.occurred_at == message.occurred_at
        assert datetime(2026, 5, 1, tzinfo=UTC) <= draft.occurred_at < datetime(2026, 11, 1, tzinfo=UTC)
        assert "unread" not in draft.extra
        assert draft.text or draft.attachments
    edited = [ref for ref, count in Counter(m.source_ref for m in messages).items() if count == 2]
    assert len(edited) == (key == "jaki/ekspor")


def test_sample_points_lie_near_the_kelurahan_they_name() -> None:
    with (ROOT / "models" / "gazetteer" / "kelurahan.csv").open(encoding="utf-8", newline="") as file:
        centres = {row["kelurahan"]: (float(row["lat"]), float(row["lon"])) for row in csv.DictReader(file)}
    for key in ("jaki/ekspor", "qlue/ekspor"):
        for draft in read(key)[1]:
            lat, lon = centres[draft.kelurahan_reported or ""]
            assert draft.lat is not None and abs(draft.lat - lat) < 0.06
            assert draft.lon is not None and abs(draft.lon - lon) < 0.06


def test_sample_categories_are_official_names() -> None:
    taxonomy = tomllib.loads((ROOT / "models" / "taxonomy.toml").read_text("utf-8"))
    names = {category["name"] for category in taxonomy["category"]}
    chosen = Counter(draft.category_reported for draft in read("jaki/ekspor")[1])
    assert set(chosen) <= names
    assert len(chosen) > 40


def test_sample_people_are_invented() -> None:
    for key in STREAMS:
        for message, draft in zip(*read(key), strict=True):
            text = message.payload.decode()
            assert all(p.startswith("0812-0000-") for p in re.findall(r"\b08\d{2}-?\d{4}-?\d{3,4}\b", text))
            assert all(host.endswith("example.com") for host in re.findall(r"https?://([^/\"]+)", text))
            assert all(mail.endswith("@example.com") for mail in re.findall(r"\S+@[\w.]+\w", text))
            assert not re.search(r"\b\d{16}\b", text)
            assert draft.contact_phone is None or draft.contact_phone.startswith("0812-0000-")
