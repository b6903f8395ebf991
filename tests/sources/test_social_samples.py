"""The sample pages of the social channels: made up, dated, and read to the last item."""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import pytest

from pipelines.contracts import Stream
from pipelines.errors import FilteredMessage
from pipelines.sources import facebook, twitter

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
NOW = datetime(2026, 10, 7, 3, 0, tzinfo=UTC)
FOLDERS = [
    (twitter, "twitter", {"user_id": "1000001", "handle": "pemprov_contoh"}, 15,
     {"own_reply": 1, "repost": 1}),
    (facebook, "facebook", {"page_id": "100000000000001"}, 13, {"own_reply": 3, "repost": 1}),
    (twitter, "governor_social", {"user_id": "1000002", "handle": "gubernur_contoh"}, 14,
     {"own_reply": 1, "repost": 1}),
]  # fmt: skip


@pytest.mark.parametrize(("source", "folder", "options", "reports", "filtered"), FOLDERS)
def test_every_sample_is_a_report_or_filtered_and_one_is_edited(
    source: ModuleType, folder: str, options: dict[str, str], reports: int, filtered: dict[str, int]
) -> None:
    stream = Stream(folder, "uji", source.__name__, {"pages_dir": folder, **options}, str(SAMPLES))
    messages = [m for batch in source.pull(stream, None, now=lambda: NOW) for m in batch.messages]
    fates: Counter[str] = Counter()
    for message in messages:
        assert message.occurred_at is not None
        assert datetime(2026, 5, 1, tzinfo=UTC) <= message.occurred_at < datetime(2026, 11, 1, tzinfo=UTC)
        try:
            draft = source.decode(message, stream)
        except FilteredMessage as error:
            fates[error.reason] += 1
        else:
            fates["report"] += 1
            assert draft.text
            assert draft.conversation_ref
    assert fates == {"report": reports, **filtered}
    edited = [ref for ref, count in Counter(m.source_ref for m in messages).items() if count == 2]
    assert len(edited) == (0 if folder == "governor_social" else 1)


@pytest.mark.parametrize("folder", [f[1] for f in FOLDERS])
def test_samples_name_nobody(folder: str) -> None:
    text = "".join(p.read_text("utf-8") for p in sorted((SAMPLES / folder).glob("*.json")))
    phones = re.findall(r"\b0?8[0-9]{2}[- ]?[0-9]{3,4}[- ]?[0-9]{3,4}\b", re.sub(r"[0-9]{12,}", "", text))
    assert all(re.match(r"0812-0000-|0811-0000-", p) for p in phones)
    assert all("contoh" in handle for handle in re.findall(r"@(\w+)", text))
    hosts = set(re.findall(r"https://([^/\"]+)", text))
    assert hosts <= {"pbs.example.com", "scontent.example.com", "x.com", "t.co", "www.facebook.com"}
