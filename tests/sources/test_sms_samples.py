"""The sample inbox: made up, dated, and read to the last row."""

from __future__ import annotations

import re
import sqlite3
import tomllib
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from pipelines.contracts import Stream
from pipelines.errors import FilteredMessage, RejectedMessage
from pipelines.sources import sms

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
INBOX = SAMPLES / "sms" / "inbox.db"
NOW = datetime(2026, 10, 7, 3, 0, tzinfo=UTC)
MINE = {"channel": "sms", "source": "sms"}


def stream() -> Stream:
    """The sample's stream as kanal.toml has it."""
    text = (SAMPLES / "kanal.toml").read_text("utf-8")
    entry = next(s for s in tomllib.loads(text)["stream"] if MINE.items() <= s.items())
    options = {k: v for k, v in entry.items() if k not in ("channel", "name", "source")}
    return Stream(entry["channel"], entry["name"], entry["source"], options, str(SAMPLES))


def test_every_row_is_in_a_report_or_set_aside_for_a_reason() -> None:
    messages = [m for batch in sms.pull(stream(), None, now=lambda: NOW) for m in batch.messages]
    fates: Counter[str] = Counter()
    parts = 0
    for message in messages:
        assert message.occurred_at is not None
        assert datetime(2026, 5, 1, tzinfo=UTC) <= message.occurred_at < datetime(2026, 11, 1, tzinfo=UTC)
        try:
            draft = sms.decode(message, stream())
        except FilteredMessage as error:
            fates[error.reason] += 1
        except RejectedMessage as error:
            fates[error.stage] += 1
        else:
            fates["report"] += 1
            parts += draft.extra.get("parts", 1)
    assert fates == {"report": 24, "spam": 1, "auto_reply": 1}
    with closing(sqlite3.connect(f"{INBOX.as_uri()}?mode=ro", uri=True)) as con:
        [(rows,)] = con.execute("SELECT count(*) FROM inbox")
    assert rows == parts + 2


def test_the_sample_names_nobody() -> None:
    with closing(sqlite3.connect(f"{INBOX.as_uri()}?mode=ro", uri=True)) as con:
        senders = {sender for (sender,) in con.execute("SELECT SenderNumber FROM inbox")}
        text = " ".join(text for (text,) in con.execute("SELECT TextDecoded FROM inbox"))
    assert all(re.fullmatch(r"\+6281200000\d{3}|1708|TELKOMSEL|\*888#", sender) for sender in senders)
    assert not re.findall(r"\b0?8\d{2}[- ]?\d{3,4}[- ]?\d{3,4}\b|@\w+|\d{16}", text)
