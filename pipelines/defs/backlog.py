"""What landing and inboxes say without opening the warehouse: a reader would block the writer.

Pure of Dagster. Belongs here: cheap questions a sensor may ask every half minute.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from hashlib import blake2b
from pathlib import Path

import orjson
import pyarrow.compute as pc

from pipelines.contracts import Stream
from pipelines.errors import PermanentError, SettingsError
from pipelines.sinks.landing import BatchRef, Landing

_LOOK_BACK = 20
_STALE_HOURS = 24.0


@dataclass(slots=True)
class Recorded:
    """How far the order log was read: its newest entry, and the newest batch it names of each stream.

    The log of one landing only grows, so this is a cache and may be lost.
    """

    landing: str
    entry: int = -1
    newest: dict[str, int] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str | None, landing: Landing) -> Recorded:
        """From a sensor's cursor; from nothing where that speaks of another landing."""
        raw = orjson.loads(text) if text else {}
        known = cls(str(landing.root), raw.get("entry", -1), raw.get("newest", {}))
        here = known.entry < 0 or next(landing.order(above=known.entry - 1), None) is not None
        return known if raw.get("landing") == known.landing and here else cls(known.landing)

    def text(self) -> str:
        return orjson.dumps({"landing": self.landing, "entry": self.entry, "newest": self.newest}).decode()

    def read(self, landing: Landing) -> None:
        """Go on to the log's end."""
        for entry in landing.order(above=self.entry):
            self.entry = entry.number
            for ref in entry.batches:
                key = f"{ref.channel}/{ref.stream}"
                self.newest[key] = max(self.newest.get(key, -1), ref.sequence)


def days_waiting(landing: Landing, recorded: Recorded, applied: int) -> tuple[date, date] | None:
    """First and last landing day of what a load would bring: batches that no entry names, and those
    of entries after `applied` (a load was killed between recording and committing)."""
    days = [*_unnamed(landing, recorded.newest), *_unapplied(landing, applied)]
    return (min(days), max(days)) if days else None


def _unnamed(landing: Landing, newest: dict[str, int]) -> Iterator[date]:
    for channel, stream in landing.streams():
        sequences = landing.sequences(channel, stream, above=newest.get(f"{channel}/{stream}", -1))
        yield from _days(landing, [BatchRef(channel, stream, n) for n in sequences])


def _unapplied(landing: Landing, applied: int) -> Iterator[date]:
    for entry in landing.order(above=applied):
        streams: dict[tuple[str, str], list[BatchRef]] = {}
        for ref in entry.batches:
            streams.setdefault((ref.channel, ref.stream), []).append(ref)
        for refs in streams.values():
            yield from _days(landing, refs)


def _days(landing: Landing, refs: list[BatchRef]) -> Iterator[date]:
    """A stream's batches land in order, so the first and the last tell. None where they cannot be read:
    no load mends that, and the other streams must be loaded."""
    try:
        yield from [landing.footer(ref).landed_day for ref in {*refs[:1], *refs[-1:]}]
    except PermanentError:
        return


def rows_of_day(landing: Landing, channel: str, stream: str, day: date) -> int:
    """Messages of the stream that landed on that day or later."""
    rows = 0
    for sequence in reversed(landing.sequences(channel, stream)):
        footer = landing.footer(BatchRef(channel, stream, sequence))
        if footer.landed_day < day:
            break
        rows += footer.rows
    return rows


def last_said(landing: Landing, stream: Stream) -> datetime | None:
    """When the stream's newest message was said; when it was fetched where the source does not say.

    A batch of old messages may land last, so a few batches are looked at, until one is young enough.
    """
    found: list[datetime] = []
    for sequence in reversed(landing.sequences(stream.channel, stream.name)[-_LOOK_BACK:]):
        batch = landing.read(BatchRef(stream.channel, stream.name, sequence), columns=["occurred_at", "fetched_at"])
        if not batch.num_rows:
            continue
        fetched = pc.max(batch["fetched_at"]).as_py()
        # A clock that is ahead must not make a dead stream look alive.
        found.append(min(pc.max(pc.fill_null(batch["occurred_at"], batch["fetched_at"])).as_py(), fetched))
        if fetched - found[-1] < stale_after(stream):
            break
    return max(found, default=None)


def stale_after(stream: Stream) -> timedelta:
    """After how long without a message a stream counts as silent: its option `stale_hours`."""
    value = stream.options.get("stale_hours", _STALE_HOURS)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
        raise SettingsError(f"{stream.key}: stale_hours must be a number of hours above 0, not {value!r}")
    return timedelta(hours=value)


def inbox_state(streams: Iterable[Stream]) -> str:
    """A hash of what lies in the streams' inboxes, subfolders included: names, sizes, times. "" where nothing does."""
    seen = []
    for stream in streams:
        if isinstance(inbox := stream.options.get("inbox"), str):
            for path in sorted(Path(stream.root, inbox).rglob("*")):
                if path.is_file() and not path.name.startswith("."):
                    about = path.stat()
                    seen.append(f"{path}\0{about.st_size}\0{about.st_mtime_ns}")
    return blake2b("\n".join(seen).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest() if seen else ""
