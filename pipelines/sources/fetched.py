"""What became of addresses of photos: the file kept for a report's attachment, or why there is none.

In: `kanal media fetch` (pipelines/media.py), one Message an attempt, landed as it is made; nothing is
pulled. So what was tried, when and how often is in landing, and is rebuilt with all else. Key: a hash
of report and address; the version is a hash of the whole. The stream needs no settings. Holds
addresses that citizens sent.

Belongs here: the form of such a message. Not here: fetching (web), which are fetched (pipelines/media),
what it does to a report (outcomes, load).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import orjson

from pipelines.contracts import Batch, Draft, Message, Stream, short_hash
from pipelines.errors import RejectedMessage
from pipelines.sources.cells import stamp

VERSION = "1"
PAYLOAD_TYPE = "application/vnd.kanal.fetched+json"
STREAM = Stream("_media", "fetched", "fetched", {})


def message(
    report_id: str,
    url: str,
    at: datetime,
    *,
    file: dict[str, Any] | None = None,
    problem: str | None = None,
    again: bool = False,
    data: bytes | None = None,
) -> Message:
    """An attempt -> the message that lands. file: type, size, sha256 and phash of what is kept; problem: why there is
    none, and whether asking again may help; data: the bytes, where they are new."""
    said = {
        "report_id": report_id, "url": url, "file": file, "problem": problem, "again": again,
        "at": at.astimezone(UTC).isoformat(),
    }  # fmt: skip
    payload = orjson.dumps(said, option=orjson.OPT_SORT_KEYS)
    ref, version = short_hash(report_id, url), short_hash(payload.decode())
    media = () if data is None else (data,)
    return Message(ref, version, payload, PAYLOAD_TYPE, at, occurred_at=at, origin="kanal media fetch", media=media)


def pull(stream: Stream, cursor: dict[str, Any] | None, *, now: Callable[[], datetime]) -> Iterator[Batch]:
    """Nothing: attempts land when they are made."""
    return iter(())


def decode(message: Message, stream: Stream) -> Draft:
    """Never a report: raises RejectedMessage. `event` says what an attempt brought."""
    raise RejectedMessage("Ini catatan pengambilan berkas, bukan laporan warga. Tidak perlu ditindaklanjuti.")


def event(message: Message) -> dict[str, Any]:
    """A landed attempt -> report_id, url, file (type, size, sha256, phash; or None), problem, again, happened_at (aware UTC).

    Raises RejectedMessage where it cannot be read.
    """
    try:
        said = orjson.loads(message.payload)
    except orjson.JSONDecodeError:
        said = None
    at = stamp(said.get("at")) if isinstance(said, dict) else None
    if at is None or not all(isinstance(said.get(name), str) for name in ("report_id", "url")):
        raise RejectedMessage("Catatan pengambilan berkas ini rusak dan tidak bisa dibaca.", stage="event")
    file = said.get("file")
    return {
        "report_id": said["report_id"], "url": said["url"], "file": file if isinstance(file, dict) else None,
        "problem": said.get("problem"), "again": bool(said.get("again")), "happened_at": at,
    }  # fmt: skip
