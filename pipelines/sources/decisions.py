"""What people decided in the review queue: category, agency, kind or kelurahan of one report, and why.

In: `kanal review decide` (pipelines/review.py), one Message a decision, landed as it is made; nothing
is pulled. Key: a hash of the whole decision with its time, so the same message twice is one. The
stream needs no settings. Holds the name of whoever decided, as the history of a ticket does.

Belongs here: the form of such a message. Not here: whether its ids exist (outcomes, when it is
loaded) and what it does to a ticket (transforms/ticket).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from pipelines.contracts import KINDS, Batch, Draft, Message, Stream, short_hash
from pipelines.errors import RejectedMessage
from pipelines.sources.cells import record, stamp, word

VERSION = "1"
PAYLOAD_TYPE = "application/vnd.kanal.decision+json"
STREAM = Stream("_review", "decisions", "decisions", {})

DECIDED = ("category", "agency_id", "kind", "kelurahan_code")
_TEXTS = ("report_id", *DECIDED, "actor", "reason")


def message(decision: Mapping[str, Any], at: datetime) -> Message:
    """A decision -> the message that lands. decision: report_id, actor, reason, and those of DECIDED that were
    decided, each text; at: aware time of deciding."""
    said = {name: decision.get(name) for name in _TEXTS} | {"decided_at": at.astimezone(UTC).isoformat()}
    payload = orjson.dumps(said, option=orjson.OPT_SORT_KEYS)
    ref = short_hash(payload.decode())
    return Message(ref, ref, payload, PAYLOAD_TYPE, at, occurred_at=at, origin="kanal review decide")


def pull(stream: Stream, cursor: dict[str, Any] | None, *, now: Callable[[], datetime]) -> Iterator[Batch]:
    """Nothing: decisions land when they are made."""
    return iter(())


def decode(message: Message, stream: Stream) -> Draft:
    """Never a report: raises RejectedMessage. `event` says what a decision means."""
    raise RejectedMessage("Ini keputusan pemeriksa, bukan laporan warga. Tidak perlu ditindaklanjuti.")


def event(message: Message) -> dict[str, Any]:
    """A landed decision -> report_id, actor, reason (text), happened_at (aware UTC) and DECIDED, each text or None.

    Raises RejectedMessage where it cannot be read, decides nothing or gives no reason.
    """
    said = record(message.payload)
    if said is None:
        raise _rejected("isinya rusak dan tidak bisa dibaca")
    found: dict[str, Any] = {name: word(said.get(name)) for name in _TEXTS}
    if lacking := [name for name in ("report_id", "actor", "reason") if not found[name]]:
        raise _rejected(f"{lacking[0]} kosong")
    if not any(found[name] for name in DECIDED):
        raise _rejected("tidak ada yang diputuskan")
    if found["kind"] not in (None, *KINDS):
        raise _rejected(f"jenis laporannya tidak dikenal. Yang dikenal: {', '.join(KINDS)}")
    found["happened_at"] = _time(said.get("decided_at"))
    return found


def _rejected(why: str) -> RejectedMessage:
    return RejectedMessage(
        f"Keputusan pemeriksa ini tidak bisa dipakai: {why}. Putuskan lagi dengan kanal review decide.", stage="event"
    )


def _time(value: Any) -> datetime:
    if at := stamp(value):
        return at
    raise _rejected("waktunya kosong atau tidak terbaca")
