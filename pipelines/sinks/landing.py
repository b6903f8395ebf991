"""Landing: the immutable log of what every stream said, and the order it was applied in.

landing/<channel>/<stream>/<sequence // 1000>/<sequence>.parquet holds one batch; its footer holds
the cursor that became true with it, so messages and cursor are one atomic act. landing/_order/
holds the order log: which batches were applied together, with which versions. Everything else can
be rebuilt from here. Holds personal data: folders are 0700.

Belongs here: putting, listing, reading. Not here: what a payload means.
"""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.contracts import LANDED, WIB, Message, Stream
from pipelines.errors import KanalError, PermanentError, TransientError

_SHARD = 1000  # files a folder; 100,000 files of a stream list in 60 ms
ORDER = "_order"


class Head(NamedTuple):
    """The newest batch of a stream: sequence -1 and cursor None before the first."""

    sequence: int
    cursor: dict[str, Any] | None


class BatchRef(NamedTuple):
    channel: str
    stream: str
    sequence: int


@dataclass(frozen=True, slots=True)
class Footer:
    """What a landing file says of itself."""

    batch_id: str
    cursor: dict[str, Any]
    landed_at: datetime
    landed_day: date
    run_id: str
    source: str
    source_version: str
    options: dict[str, Any]
    rows: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the order log: batches applied together, and the versions that applied them."""

    number: int
    batches: tuple[BatchRef, ...]
    versions: dict[str, str]


def put_if_absent(path: Path, data: bytes) -> bool:
    """Make `path` hold `data`, durably, unless it exists; True if we made it.

    The compare-and-swap everything rests on. os.link fails where a rename would silently replace,
    and the name appears only when the bytes are on disk. TransientError where the disk is full,
    PermanentError where the folder cannot be written.
    """
    try:
        _make_dirs(path.parent)
        return _linked(path, data)
    except OSError as error:
        raise _unwritten(path.parent, error) from error


def _linked(path: Path, data: bytes) -> bool:
    temp = path.parent / f".{uuid.uuid4().hex}.tmp"
    try:
        _write_synced(temp, data)
        os.link(temp, path)
    except FileExistsError:
        return False
    finally:
        temp.unlink(missing_ok=True)
    _sync_dir(path.parent)
    return True


def _unwritten(folder: Path, error: OSError) -> KanalError:
    why = error.strerror or type(error).__name__
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return TransientError(f"landing: {folder} cannot be written ({why}); free space on its disk and try again")
    return PermanentError(f"landing: {folder} cannot be written ({why}); check its permissions and its disk")


class Landing:
    """The log under one folder. Any number of processes may put and read at once."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def head(self, stream: Stream) -> Head:
        """Newest sequence and its cursor, read from that file's footer."""
        newest = _newest(self._dir(stream.channel, stream.name), ".parquet")
        if newest is None:
            return Head(-1, None)
        sequence, path = newest
        return Head(sequence, _footer(path).cursor)

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
        path = self.path(BatchRef(stream.channel, stream.name, sequence))
        _make_root(self.root)
        if not put_if_absent(path, _encode(messages, day, footer)) and _footer(path).batch_id != batch_id:
            return None
        return Head(sequence, cursor)

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
        for shard in _shards(self._dir(channel, stream)):
            if (int(shard.name) + 1) * _SHARD > above:
                found += [n for n, _ in _numbered(shard, ".parquet") if n > above]
        return sorted(found)

    def path(self, ref: BatchRef) -> Path:
        shard = f"{ref.sequence // _SHARD:06d}"
        return self._dir(ref.channel, ref.stream) / shard / f"{ref.sequence:09d}.parquet"

    def read(self, ref: BatchRef, columns: list[str] | None = None) -> pa.Table:
        """LANDED rows of one batch, in landing order."""
        try:
            return pq.read_table(self.path(ref), columns=columns, partitioning=None).replace_schema_metadata(None)
        except (OSError, pa.ArrowException) as error:
            raise PermanentError(
                f"landing file {ref.channel}/{ref.stream} number {ref.sequence} cannot be read ({error}); "
                "restore it from a backup: nothing may be loaded past it"
            ) from error

    def footer(self, ref: BatchRef) -> Footer:
        return _footer(self.path(ref))

    # --- the order log ---

    def append_order(self, number: int, batches: Sequence[BatchRef], versions: dict[str, str]) -> bool:
        """Record entry `number`; False: somebody else recorded it, read it instead."""
        runs: list[list[Any]] = []
        for ref in sorted(batches):
            if runs and runs[-1][:2] == [ref.channel, ref.stream] and runs[-1][3] == ref.sequence - 1:
                runs[-1][3] = ref.sequence
            else:
                runs.append([ref.channel, ref.stream, ref.sequence, ref.sequence])
        _make_root(self.root)
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
        return self.root / ORDER / f"{number // _SHARD:06d}" / f"{number:09d}.json"

    def _dir(self, channel: str, stream: str) -> Path:
        return self.root / channel / stream


# --- encoding ---


def _encode(messages: Sequence[Message], day: date, footer: dict[str, Any]) -> bytes:
    columns = {
        "source_ref": [m.source_ref for m in messages],
        "version": [m.version for m in messages],
        "occurred_at": [m.occurred_at for m in messages],
        "edited_at": [m.edited_at for m in messages],
        "fetched_at": [m.fetched_at for m in messages],
        "landed_day": [day] * len(messages),
        "payload_type": [m.payload_type for m in messages],
        "payload": [m.payload for m in messages],
        "origin": [m.origin for m in messages],
        "problem": [m.problem for m in messages],
    }
    table = pa.table(columns, schema=LANDED.with_metadata({"kanal": orjson.dumps(footer)}))
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", write_statistics=False)
    return sink.getvalue().to_pybytes()


def _footer(path: Path) -> Footer:
    try:
        metadata = pq.read_metadata(path)
    except (OSError, pa.ArrowException) as error:
        raise PermanentError(f"landing file {path} cannot be read ({error}); restore it from a backup") from error
    if not metadata.metadata or b"kanal" not in metadata.metadata:
        raise PermanentError(f"landing file {path} is none of Kanal's: it has no footer; restore it from a backup")
    raw = orjson.loads(metadata.metadata[b"kanal"])
    return Footer(
        batch_id=raw["batch_id"],
        cursor=raw["cursor"],
        landed_at=datetime.fromisoformat(raw["landed_at"]),
        landed_day=date.fromisoformat(raw["landed_day"]),
        run_id=raw["run_id"],
        source=raw["source"],
        source_version=raw["source_version"],
        options=raw["options"],
        rows=metadata.num_rows,
    )


# --- files ---


def _inside(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise PermanentError(
            f"landing: {folder} cannot be listed ({error.strerror}); use the account that Kanal runs under"
        ) from error


def _shards(folder: Path) -> list[Path]:
    return sorted(p for p in _inside(folder) if p.name.isdigit())


def _numbered(shard: Path, suffix: str) -> list[tuple[int, Path]]:
    return [(int(p.stem), p) for p in _inside(shard) if p.suffix == suffix and p.stem.isdigit()]


def _newest(folder: Path, suffix: str) -> tuple[int, Path] | None:
    # A shard folder may exist before its first file is linked, so look further down.
    for shard in reversed(_shards(folder)):
        if found := _numbered(shard, suffix):
            return max(found)
    return None


def _make_dirs(folder: Path) -> None:
    """mkdir -p with mode 0700 that is durable: a new folder's parent is synced too."""
    if folder.is_dir():
        return
    _make_dirs(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)
    _sync_dir(folder.parent)


def _make_root(root: Path) -> None:
    """The folder that holds landing is for analysts too: the snapshot lies there. Landing itself is not."""
    try:
        if not root.is_dir():
            root.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            _make_dirs(root)
    except OSError as error:
        raise _unwritten(root, error) from error


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_dir(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
