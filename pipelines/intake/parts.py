"""Parts of long SMS that a gateway hands over one by one -> a Message that grows until it is whole.

Every part lands at once, since nobody may be answered before. All landed parts of one SMS are versions
of one Message, whose key is the id of the part that came first; each holds what has come so far. So
an SMS with a missing part stands in quarantine, and the part that comes late makes it a report. Which
parts belong together is what sms_parts says.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta

from pipelines.contracts import Message, Stream, short_hash
from pipelines.sinks.landing import BatchRef, Landing
from pipelines.sources.dialects import Dialect
from pipelines.sources.sms_parts import Row, assemble
from pipelines.sources.webhook import FORM, PARTS, form_item, part_in

_KEPT = 2000
_LATE = timedelta(days=3)  # networks give up on an SMS after one to three days
_FILES = 2000  # landing files looked through for parts that came before a restart


class Parts:
    """The parts of a stream that came lately."""

    def __init__(self, stream: Stream, dialect: Dialect) -> None:
        self._stream, self._dialect = stream, dialect
        self._rows: list[Row] = []
        self._count = 0
        self._last: datetime | None = None
        self.ready = False

    def is_part(self, message: Message) -> bool:
        return message.payload_type == FORM and part_in(self._dialect, form_item(message.payload)) is not None

    def recall(self, landing: Landing, now: datetime) -> None:
        """Take up the parts that landed before this process began."""
        channel, name = self._stream.channel, self._stream.name
        found: dict[str, tuple[datetime, bytes]] = {}
        for sequence in landing.sequences(channel, name)[: -_FILES - 1 : -1]:
            ref = BatchRef(channel, name, sequence)
            if landing.footer(ref).landed_at < now - _LATE:
                break
            rows = landing.read(ref, ["source_ref", "payload", "payload_type", "fetched_at"]).to_pylist()
            for row in reversed(rows):
                if row["payload_type"] == PARTS:
                    found.setdefault(row["source_ref"], (row["fetched_at"], row["payload"]))
        for ref_of, (at, payload) in reversed(found.items()):
            for raw, said_at in json.loads(payload)["parts"].items():
                self._add(ref_of, raw.encode("latin-1"), datetime.fromisoformat(said_at or at.isoformat()))
        self.ready = True

    def grown(self, message: Message) -> Message:
        """The SMS that this part belongs to, as far as it has come."""
        row = self._add(message.source_ref, message.payload, message.occurred_at or message.fetched_at)
        sms = next(
            found
            for found in assemble(self._rows)
            if any(other.mark == row.mark and other.part == row.part for other in found.parts.values())
        )
        parts = {str(r.cells["raw"]): r.at.isoformat() if r.at else None for r in sms.parts.values()}
        # Versions of one SMS land in the order in which they grew.
        at = max(message.fetched_at, self._last + timedelta(microseconds=1)) if self._last else message.fetched_at
        self._last = at
        return replace(
            message,
            source_ref=str(sms.first.cells["ref"]),
            version=short_hash(*sorted(r.mark for r in sms.parts.values())),
            payload=json.dumps({"parts": parts}).encode(),
            payload_type=PARTS,
            fetched_at=at,
            occurred_at=sms.at,
        )

    def _add(self, ref: str, raw: bytes, at: datetime) -> Row:
        item = form_item(raw)
        to = self._dialect.table.get("extra", {}).get("recipient", "")
        said = [
            self._dialect.get(item, "sender"),
            item.value.get(to),
            *(self._dialect.get(item, f) for f in ("udh", "text")),
        ]
        sender, recipient, udh, text = ((value or b"").decode("latin-1") for value in said)
        cells = {"SenderNumber": sender, "RecipientID": recipient, "ref": ref, "raw": raw.decode("latin-1")}
        self._count += 1
        mark = short_hash(sender, udh, text)  # not when: the network brings some parts twice
        row = Row(self._count, cells, at, part_in(self._dialect, item), mark)
        self._rows = [*self._rows[-_KEPT:], row]
        return row
