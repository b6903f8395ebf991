"""Many small files of landing -> few segments, so that a stream of single messages stays quick to list and read.

Rule, size-tiered: what landed since the last segment becomes a new one, at most 64 MB or 10,000
batches each; a segment before it that is no larger and less than half full goes into it. So a batch
is copied only into a segment at least twice as large as the one it was in, eight times at most in
its life, and of a stream's segments all but a handful are full.

Killed at any moment nothing is lost: a segment is on disk, and read back, before anything it
replaces goes; what is left over then is dropped by the next compaction. Two at once may both make
segments, which then overlap with equal content; a segment goes only when one other holds all of it.
The newest files stay, and so does the order log.

Belongs here: what is merged, and in which steps. Not here: the files' form (batches), who reads what (landing).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from pipelines.errors import PermanentError
from pipelines.sinks import batches
from pipelines.sinks.batches import SEGMENTS, UNREADABLE, BatchRef, Segment, Span, encode_segment
from pipelines.sinks.durable import put_if_absent, sync_dir
from pipelines.sinks.landing import SHARD, Landing

KEEP_NEWEST = 100  # files of a stream that stay as they are
_LEAST = 100  # new files below which it is not worth a segment
_MOST_BATCHES, _MOST_BYTES = 10_000, 64_000_000


class Piece(NamedTuple):
    """What may be merged: a file or a segment, with the bytes of the files its batches landed in."""

    first: int
    last: int
    size: int

    @property
    def weight(self) -> float:
        """1 is a full segment."""
        return max((self.last - self.first + 1) / _MOST_BATCHES, self.size / _MOST_BYTES)


@dataclass(slots=True)
class Compacted:
    """What became of a stream: batches merged, segments made, files and bytes before and after."""

    stream: str
    batches: int = 0
    segments: int = 0
    files_before: int = 0
    files_after: int = 0
    bytes_before: int = 0
    bytes_after: int = 0

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def compact(
    landing: Landing,
    channel: str,
    stream: str,
    *,
    keep_newest: int = KEEP_NEWEST,
    progress: Callable[[int, int], None] = lambda _done, _of: None,
) -> Compacted:
    """Merge what is ripe of one stream. progress(batches merged, of how many) after each segment.

    Raises PermanentError where a file cannot be read; nothing of it is deleted then.
    """
    result = Compacted(f"{channel}/{stream}")
    folder = landing.root / channel / stream
    result.files_before, result.bytes_before = _extent(folder)
    _drop_replaced(landing, channel, stream)
    groups = _ripe(landing, channel, stream, max(keep_newest, 1))
    total = sum(group[-1].last - group[0].first + 1 for group in groups)
    for group in groups:
        span = Span(group[0].first, group[-1].last)
        _make(landing, channel, stream, span, sum(piece.size for piece in group))
        _drop_replaced(landing, channel, stream)
        result.segments += 1
        result.batches += span.last - span.first + 1
        progress(result.batches, total)
    result.files_after, result.bytes_after = _extent(folder)
    return result


def plan(segments: Sequence[Piece], files: Sequence[Piece]) -> list[list[Piece]]:
    """Which pieces become one segment each, rising. segments: what is there; files: what is ripe, behind it."""
    gathered = sum(piece.weight for piece in files)
    pieces = list(files)
    for segment in reversed(segments):
        if segment.weight > gathered or segment.weight >= 0.5 or segment.last + 1 != pieces[0].first:
            break
        pieces.insert(0, segment)
        gathered += segment.weight
    groups: list[list[Piece]] = []
    size = 0
    for piece in pieces:
        if not groups or Piece(groups[-1][0].first, piece.last, size + piece.size).weight > 1:
            groups.append([])
            size = 0
        groups[-1].append(piece)
        size += piece.size
    return groups


def _ripe(landing: Landing, channel: str, stream: str, keep_newest: int) -> list[list[Piece]]:
    spans = landing.spans(channel, stream)
    floor = spans[-1].last if spans else -1
    ripe = landing.files(channel, stream, above=floor)[:-keep_newest]
    # Behind a gap nothing is merged: the floor would hide that a file is missing.
    ripe = [n for place, n in enumerate(ripe, floor + 1) if n == place]
    if len(ripe) < _LEAST:
        return []
    files = [Piece(n, n, landing.path(BatchRef(channel, stream, n)).stat().st_size) for n in ripe]
    return plan(_small_segments(landing.root / channel / stream / SEGMENTS, spans), files)


def _small_segments(folder: Path, spans: Sequence[Span]) -> list[Piece]:
    """The last segments, back to one that is full enough to stay: each is opened to learn its size."""
    found: list[Piece] = []
    for span in reversed(spans):
        try:
            found.insert(0, Piece(*span, Segment(folder / span.name, span).size))
        except FileNotFoundError:  # another compaction has just merged it
            break
        except UNREADABLE as error:
            raise PermanentError(f"segment {folder / span.name} cannot be read ({error}); restore it") from error
        if found[0].weight >= 0.5:
            break
    return found


def _make(landing: Landing, channel: str, stream: str, span: Span, size: int) -> None:
    """Publish one segment, proved before it has its name, durable when this returns."""
    refs = (BatchRef(channel, stream, n) for n in range(span.first, span.last + 1))
    data, footers, rows = encode_segment((landing.whole(ref) for ref in refs), size)
    written = Segment(pa.BufferReader(data), span)
    if written.footers != footers or not written.read(span.first, span.last).equals(rows):
        raise PermanentError(f"{channel}/{stream}: a segment does not read as its files do; nothing was deleted")
    put_if_absent(landing.root / channel / stream / SEGMENTS / span.name, data)


def _drop_replaced(landing: Landing, channel: str, stream: str) -> None:
    """Delete what one segment holds all of: files at or below the floor, smaller segments, emptied folders."""
    folder = landing.root / channel / stream
    spans = landing.spans(channel, stream)
    if not spans:
        return
    if spans[0].first or any(after.first > before.last + 1 for before, after in pairwise(spans)):
        raise PermanentError(
            f"{channel}/{stream}: a segment is missing in {folder / SEGMENTS}; restore it from a backup"
        )
    sync_dir(folder / SEGMENTS)  # another process may have made one and not have come so far
    for path in (folder / SEGMENTS).glob("*.parquet"):
        inner = batches.span_named(path.name)
        if inner and any(outer != inner and outer.first <= inner.first and inner.last <= outer.last for outer in spans):
            path.unlink(missing_ok=True)
    floor = spans[-1].last
    for shard in [p for p in folder.iterdir() if p.name.isdecimal() and int(p.name) * SHARD <= floor]:
        if (int(shard.name) + 1) * SHARD <= floor + 1:
            shutil.rmtree(shard, ignore_errors=True)  # also what pullers that were killed left behind
        else:
            for path in [p for p in shard.glob("*.parquet") if p.stem.isdecimal() and int(p.stem) <= floor]:
                path.unlink(missing_ok=True)


def _extent(folder: Path) -> tuple[int, int]:
    """(files, bytes) of a stream."""
    files = size = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                size += os.stat(f"{root}/{name}").st_size  # noqa: PTH116 - a Path for each costs three times as much
            except FileNotFoundError:
                continue
            files += 1
    return files, size
