"""Landing: the immutable log of what every stream said, and the order it was applied in.

landing/<channel>/<stream>/<sequence // 1000>/<sequence>.parquet holds one batch; its footer holds
the cursor that became true with it, so messages and cursor are one atomic act. landing/_order/
holds the order log: which batches were applied together, with which versions. Everything else can
be rebuilt from here. Holds personal data: folders are 0700.

Many small files become few segments (compaction). The last batch a segment holds is the stream's
floor: up to it segments alone answer, whatever file lies there. A segment is durable before the
files it replaces go, so every reader finds each batch in one or the other; a puller that finds a
free name at or below the floor comes late and has lost.

Belongs here: putting, listing, reading. Not here: what a payload means, bytes of files (batches).
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import orjson
import pyarrow as pa

from pipelines.contracts import WIB, Message, Stream
from pipelines.errors import PermanentError
from pipelines.sinks import batches
from pipelines.sinks.batches import SEGMENTS, UNREADABLE, BatchRef, Footer, Segment, Span
from pipelines.sinks.durable import make_root, put_if_absent
from pipelines.sinks.media import Media

__all__ = ["ORDER", "BatchRef", "Entry", "Footer", "Head", "Landing"]

T = TypeVar("T")

SHARD = 1000  # files a folder; 100,000 files of a stream list in 60 ms
_TRIES = 5  # times compaction may take away what was just listed
_OPEN = 4  # segments a Landing keeps open
ORDER = "_order"


class Head(NamedTuple):
    """The newest batch of a stream: sequence -1 and cursor None before the first."""

    sequence: int
    cursor: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the order log: batches applied together, and the versions that applied them."""

    number: int
    batches: tuple[BatchRef, ...]
    versions: dict[str, str]


class Landing:
    """The log under one folder. Any number of processes may put and read at once."""

    def __init__(self, root: Path) -> None:
        self.root, self.media = root, Media(root.with_name("media"))
        self._spans: dict[tuple[str, str], tuple[Span, ...]] = {}
        self._segments: dict[Path, Segment] = {}

    def head(self, stream: Stream) -> Head:
        """Newest sequence and its cursor, read from that batch's footer."""
        newest = _newest(self._dir(stream.channel, stream.name))
        newest = max(newest, self.floor(stream.channel, stream.name))
        if newest < 0:
            return Head(-1, None)
        return Head(newest, self.footer(BatchRef(stream.channel, stream.name, newest)).cursor)

    def put(
        self,
        stream: Stream,
        after: Head,
        messages: Sequence[Message],
        cursor: dict[str, Any],
        *,
        source_version: str,
        run_id: str,
        now: datetime,
    ) -> Head | None:
        """Land one batch behind `after`. None: another process was first, re-read the head.

        What came along with its messages is kept first, so that no message tells of a file that is not there.
        An empty batch that does not move the cursor is not written and returns `after`.
        """
        if not messages and cursor == after.cursor:
            return after
        sequence, batch_id = after.sequence + 1, uuid.uuid4().hex
        day = now.astimezone(WIB).date()
        footer = {
            "batch_id": batch_id,
            "cursor": cursor,
            "landed_at": now.isoformat(),
            "landed_day": day.isoformat(),
            "run_id": run_id,
            "source": stream.source,
            "source_version": source_version,
            "options": dict(stream.options),
        }
        ref = BatchRef(stream.channel, stream.name, sequence)
        make_root(self.root)
        for data in (data for message in messages for data in message.media):
            self.media.keep(data)
        made = put_if_absent(self.path(ref), batches.encode_batch(messages, day, footer))
        if made and sequence > self.floor(*ref[:2]):
            return Head(sequence, cursor)
        if self.footer(ref).batch_id == batch_id:  # compaction took it up already
            return Head(sequence, cursor)
        if made:  # the name was free because compaction had emptied it: segments answer for it
            self.path(ref).unlink(missing_ok=True)
        return None

    def streams(self) -> list[tuple[str, str]]:
        """(channel, stream) of everything that ever landed, sorted."""
        return sorted(
            (channel.name, stream.name)
            for channel in _inside(self.root)
            if channel.is_dir() and channel.name != ORDER
            for stream in _inside(channel)
            if stream.is_dir()
        )

    def sequences(self, channel: str, stream: str, *, above: int = -1) -> list[int]:
        """Sequences of a stream greater than `above`, rising."""
        found: list[int] = []
        for _ in range(_TRIES):
            files = self.files(channel, stream, above=above)
            spans = self.spans(channel, stream)  # after the files: what went in between is in a segment
            floor, covered = (spans[-1].last if spans else -1), above
            found = []
            for span in spans:
                found += range(max(span.first, covered + 1), span.last + 1)
                covered = max(covered, span.last)
            found += [n for n in files if n > floor]
            if not found or found[-1] - found[0] + 1 == len(found):
                break  # else a file is missing, or came while its folder was read
        return found

    def files(self, channel: str, stream: str, *, above: int = -1) -> list[int]:
        """Sequences greater than `above` of which a file of their own lies there, rising."""
        found: list[int] = []
        folder = self._dir(channel, stream)
        for shard in _shards(folder):
            if (int(shard) + 1) * SHARD > above:
                found += [n for n in _numbered(folder / shard) if n > above]
        return sorted(found)

    def spans(self, channel: str, stream: str) -> tuple[Span, ...]:
        """What the stream's segments hold, as it is now."""
        now = batches.spans_in(self._dir(channel, stream) / SEGMENTS)
        self._spans[channel, stream] = now
        return now

    def floor(self, channel: str, stream: str) -> int:
        """The newest sequence in a segment, as it is now; -1 without one."""
        spans = self.spans(channel, stream)
        return spans[-1].last if spans else -1

    def path(self, ref: BatchRef) -> Path:
        """Where the batch's own file lies, or lay."""
        shard = f"{ref.sequence // SHARD:06d}"
        return self._dir(ref.channel, ref.stream) / shard / f"{ref.sequence:09d}.parquet"

    def read(self, ref: BatchRef, columns: list[str] | None = None) -> pa.Table:
        """LANDED rows of one batch, in landing order."""
        n = ref.sequence
        return self._asked(ref, lambda s: s.read(n, n, columns), lambda path: batches.rows_of(path, columns))

    def footer(self, ref: BatchRef) -> Footer:
        return self._asked(ref, lambda s: s.footer(ref.sequence), batches.footer_of)

    def whole(self, ref: BatchRef) -> tuple[dict[str, Any], pa.Table]:
        """(footer as it was put, with rows; LANDED rows) of one batch."""
        n = ref.sequence
        return self._asked(ref, lambda s: (s.footers[n - s.span.first], s.read(n, n)), batches.whole)

    def runs(self, channel: str, stream: str, sequences: Sequence[int]) -> list[list[int]]:
        """These batches, rising, grouped by the file that answers for them."""
        spans = self.spans(channel, stream)
        groups: list[list[int]] = []
        for span, run in groupby(sequences, key=lambda n: batches.span_of(spans, n)):
            numbers = list(run)
            groups += [[n] for n in numbers] if span is None else [numbers]
        return groups

    def table(self, channel: str, stream: str, run: Sequence[int], columns: list[str] | None = None) -> pa.Table:
        """LANDED rows of one of `runs`, with their sequence and row."""
        ref = BatchRef(channel, stream, run[0])
        # Compaction only ever replaces a segment by one that holds all of it.
        return self._asked(ref, lambda s: s.batches(run, columns), lambda path: batches.placed(run[0], path, columns))

    def footers(self, channel: str, stream: str, run: Sequence[int]) -> list[Footer]:
        """Footers of one of `runs`."""
        ref = BatchRef(channel, stream, run[0])
        return self._asked(ref, lambda s: [s.footer(n) for n in run], lambda path: [batches.footer_of(path)])

    def _asked(self, ref: BatchRef, in_segment: Callable[[Segment], T], in_file: Callable[[Path], T]) -> T:
        """What the batch's segment or, above the floor, its file says."""
        spans = self._spans.get(ref[:2], ())
        for _ in range(_TRIES):
            span = batches.span_of(spans, ref.sequence)
            path = self.path(ref) if span is None else self._dir(*ref[:2]) / SEGMENTS / span.name
            try:
                if span is not None:
                    return in_segment(self._segment(path, span))
                found = in_file(path)
            except FileNotFoundError as error:
                gone: Exception = error
            except UNREADABLE as error:
                if span is not None or ref.sequence > self.floor(*ref[:2]):
                    raise _unreadable(ref, path, error) from error
                gone = error
            else:
                # A file at or below the floor is a late puller's, and not the batch.
                if ref.sequence > self.floor(*ref[:2]):
                    return found
                gone = FileNotFoundError(f"{path} is replaced by a segment")
            before, spans = spans, self.spans(*ref[:2])
            if spans == before:
                break
        raise _unreadable(ref, path, gone) from gone

    def _segment(self, path: Path, span: Span) -> Segment:
        if path not in self._segments:
            opened = Segment(path, span)
            for old in list(self._segments)[: 1 - _OPEN]:
                self._segments.pop(old, None)
            self._segments[path] = opened
        return self._segments[path]

    # --- the order log ---

    def append_order(self, number: int, batches: Sequence[BatchRef], versions: dict[str, str]) -> bool:
        """Record entry `number`; False: somebody else recorded it, read it instead."""
        runs: list[list[Any]] = []
        for ref in sorted(batches):
            if runs and runs[-1][:2] == [ref.channel, ref.stream] and runs[-1][3] == ref.sequence - 1:
                runs[-1][3] = ref.sequence
            else:
                runs.append([ref.channel, ref.stream, ref.sequence, ref.sequence])
        make_root(self.root)
        return put_if_absent(self._order_path(number), orjson.dumps({"batches": runs, "versions": versions}))

    def order(self, *, above: int = -1) -> Iterator[Entry]:
        """Entries of the order log after `above`, in order."""
        number = above + 1
        while (path := self._order_path(number)).exists():
            try:
                raw = orjson.loads(path.read_bytes())
                batches = [BatchRef(c, s, n) for c, s, first, last in raw["batches"] for n in range(first, last + 1)]
                entry = Entry(number, tuple(batches), raw["versions"])
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise PermanentError(
                    f"entry {number} of the order log cannot be read ({path}: {type(error).__name__});"
                    " restore it from a backup: nothing may be loaded past it"
                ) from error
            yield entry
            number += 1

    def _order_path(self, number: int) -> Path:
        return self.root / ORDER / f"{number // SHARD:06d}" / f"{number:09d}.json"

    def _dir(self, channel: str, stream: str) -> Path:
        return self.root / channel / stream


# --- files ---


def _unreadable(ref: BatchRef, path: Path, error: Exception) -> PermanentError:
    return PermanentError(
        f"landing file {ref.channel}/{ref.stream} number {ref.sequence} cannot be read ({path.name}: {error});"
        " restore it from a backup: nothing may be loaded past it"
    )


def _inside(folder: Path) -> list[Path]:
    return [folder / name for name in _names(folder)]


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 - a Path for each name costs ten times as much
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise PermanentError(
            f"landing: {folder} cannot be listed ({error.strerror}); use the account that Kanal runs under"
        ) from error


def _shards(folder: Path) -> list[str]:
    return sorted(name for name in _names(folder) if name.isdecimal())


def _numbered(shard: Path) -> list[int]:
    stems = (name.removesuffix(".parquet") for name in _names(shard) if name.endswith(".parquet"))
    return [int(stem) for stem in stems if stem.isdecimal()]


def _newest(folder: Path) -> int:
    # A shard folder may exist before its first file is linked, so look further down.
    for shard in reversed(_shards(folder)):
        if found := _numbered(folder / shard):
            return max(found)
    return -1
