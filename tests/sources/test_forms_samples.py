"""The samples of letters and of a feed: made up, and read whole."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from types import ModuleType

import pytest

from pipelines.settings import load
from pipelines.sources import feed, letters
from tests.conftest import SAMPLES

LATER = datetime.now(UTC) + timedelta(hours=1)


@pytest.mark.parametrize(
    ("key", "source", "titles"),
    [
        ("governor_letter/pindaian", letters, ["Permohonan penebangan pohon", "Saluran air tersumbat"]),
        ("media/suara-pembaca", feed, ["Halte tanpa atap di Cempaka Putih", "Zebra cross di depan sekolah pudar"]),
    ],
)
def test_every_item_is_a_report_with_its_date(key: str, source: ModuleType, titles: list[str]) -> None:
    [stream] = load(SAMPLES / "kanal.toml").streams_of(key)
    source.check(stream)
    messages = [m for batch in source.pull(stream, None, now=lambda: LATER) for m in batch.messages]
    drafts = [source.decode(m, stream) for m in messages]
    assert [d.title for d in drafts] == titles
    for draft in drafts:
        assert draft.occurred_at is not None and draft.occurred_at.year == 2026
        assert len(draft.text) > 100 and "<" not in draft.text
        assert draft.attachments or source is feed
        assert re.fullmatch(r"(?:.*example\.com.*)?", draft.source_url or "")
