"""What people decided about which reports are one matter: tickets split, merged, reports pinned, and such decisions undone.

In: `kanal ticket` (pipelines/regroup.py), one Message a decision, landed as it is made; nothing is pulled. Key: a hash of
the whole decision with its time, so the same message twice is one. The stream needs no settings. Holds the name of
whoever decided, as the history of a ticket does.

Belongs here: the form of such a message. Not here: whether it can be done and what it does (transforms/acts), which
depends on the tickets as they stand when it is applied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from pipelines.contracts import Batch, Draft, Message, Stream, short_hash
from pipelines.errors import RejectedMessage
from pipelines.sources.cells import record, stamp, word

VERSION = "1"
PAYLOAD_TYPE = "application/vnd.kanal.act+json"
STREAM = Stream("_tickets", "acts", "acts", {})

# What each decision must name.
NEEDS = {
    "split": ("ticket_id", "report_ids"),
    "merge": ("ticket_id", "other_id"),
    "pin": ("ticket_id", "report_ids"),
    "undo": ("undoes",),
}
_TEXTS = ("act", "ticket_id", "other_id", "undoes", "actor", "reason")


def message(act: Mapping[str, Any], at: datetime) -> Message:
    """A decision -> the message that lands. act: `act`, actor, reason, and of ticket_id, other_id, undoes (texts) and
    report_ids (list of texts) what NEEDS says; at: aware time of deciding."""
    said = {name: act.get(name) for name in _TEXTS}
    said |= {"report_ids": list(act.get("report_ids") or ()), "decided_at": at.astimezone(UTC).isoformat()}
    payload = orjson.dumps(said, option=orjson.OPT_SORT_KEYS)
    ref = short_hash(payload.decode())
    return Message(ref, ref, payload, PAYLOAD_TYPE, at, occurred_at=at, origin=f"kanal ticket {act['act']}")


def pull(stream: Stream, cursor: dict[str, Any] | None, *, now: Callable[[], datetime]) -> Iterator[Batch]:
    """Nothing: decisions land when they are made."""
    return iter(())


def decode(message: Message, stream: Stream) -> Draft:
    """Never a report: raises RejectedMessage. `event` says what a decision means."""
    raise RejectedMessage("Ini keputusan tentang tiket, bukan laporan warga. Tidak perlu ditindaklanjuti.")


def event(message: Message) -> dict[str, Any]:
    """A landed decision -> act_id, act, actor, reason (text), happened_at (aware UTC), report_ids (list, each once) and
    ticket_id, other_id, undoes, each text or None.

    Raises RejectedMessage where it cannot be read, names too little or gives no reason.
    """
    said = record(message.payload)
    if said is None:
        raise _rejected("isinya rusak dan tidak bisa dibaca")
    found: dict[str, Any] = {name: word(said.get(name)) for name in _TEXTS}
    named = said.get("report_ids")
    named = [word(r) for r in named] if isinstance(named, list) else []
    found["report_ids"] = list(dict.fromkeys(r for r in named if r))
    if found["act"] not in NEEDS:
        raise _rejected(f"jenisnya tidak dikenal. Yang dikenal: {', '.join(NEEDS)}")
    if lacking := [name for name in (*NEEDS[found["act"]], "actor", "reason") if not found[name]]:
        raise _rejected(f"{lacking[0]} kosong")
    if found["act"] == "pin" and len(found["report_ids"]) > 1:
        raise _rejected("hanya satu laporan yang bisa dipasang sekaligus")
    return found | {"act_id": message.source_ref, "happened_at": _time(said.get("decided_at"))}


def _rejected(why: str) -> RejectedMessage:
    return RejectedMessage(
        f"Keputusan tentang tiket ini tidak bisa dipakai: {why}. Putuskan lagi dengan kanal ticket.", stage="event"
    )


def _time(value: Any) -> datetime:
    if at := stamp(value):
        return at
    raise _rejected("waktunya kosong atau tidak terbaca")
