"""The two kinds of files landing consists of: one batch, and a segment of many.

A batch file's footer holds the cursor that became true with it. A segment holds the rows of batches
`first` to `last` one after the other, and under one key of its own footer every batch's footer as it
was, so that it answers for each batch as that batch's file did. Segments of a stream lie in its
folder `segments`, named by what they hold.

Belongs here: encoding and decoding. Not here: which file answers (landing), which are merged (compaction).
"""

from __future__ import annotations

import os
import re
from base64 import b64decode, b64encode
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.contracts import LANDED, Message

UNREADABLE = (OSError, pa.ArrowException, KeyError, ValueError)  # what a torn or foreign file raises
SEGMENTS = "segments"
_SEGMENT = re.compile(r"(\d{9,18})-(\d{9,18})\.parquet")
_GROUP_BYTES, _GROUP_ROWS = 8_000_000, 4_096  # a row group: what is decoded to answer for one batch
_ROWS = pa.schema(list(LANDED))
_PLACE = [pa.field("sequence", pa.int64()), pa.field("row", pa.int32())]


class BatchRef(NamedTuple):
    channel: str
    stream: str
    sequence: int


@dataclass(frozen=True, slots=True)
class Footer:
    """What a landed batch says of itself."""

    batch_id: str
    cursor: dict[str, Any]
    landed_at: datetime
    landed_day: date
    run_id: str
    source: str
    source_version: str
    options: dict[str, Any]
    rows: int


# --- one batch ------------------------------------------------------------------------------


def encode_batch(messages: Sequence[Message], day: date, footer: dict[str, Any]) -> bytes:
    """Bytes of a batch file. footer: the fields of Footer but rows, fit for JSON."""
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


def raw_footer_of(path: Path) -> dict[str, Any]:
    """A batch file's footer as it was put, with rows. Raises one of UNREADABLE."""
    metadata = pq.read_metadata(pa.BufferReader(path.read_bytes()))  # a third quicker than by name
    if not metadata.metadata or b"kanal" not in metadata.metadata:
        raise ValueError("it has no footer of Kanal")
    return _raw(metadata.metadata[b"kanal"], metadata.num_rows)


def footer_of(path: Path) -> Footer:
    """As raw_footer_of, read."""
    return footer_from(raw_footer_of(path))


def footer_from(raw: dict[str, Any]) -> Footer:
    return Footer(
        batch_id=raw["batch_id"],
        cursor=raw["cursor"],
        landed_at=datetime.fromisoformat(raw["landed_at"]),
        landed_day=date.fromisoformat(raw["landed_day"]),
        run_id=raw["run_id"],
        source=raw["source"],
        source_version=raw["source_version"],
        options=raw["options"],
        rows=raw["rows"],
    )


def rows_of(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Rows of a batch file. Raises one of UNREADABLE."""
    with pq.ParquetFile(pa.BufferReader(path.read_bytes())) as file:
        return _landed(file.read(columns=columns, use_threads=False), columns)


def whole(path: Path) -> tuple[dict[str, Any], pa.Table]:
    """(raw footer, rows) of a batch file, opened once. Raises one of UNREADABLE."""
    with pq.ParquetFile(pa.BufferReader(path.read_bytes())) as file:
        return _raw(file.metadata.metadata[b"kanal"], file.metadata.num_rows), _landed(file.read(use_threads=False))


def placed(sequence: int, path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """As rows_of, with their sequence and row."""
    table = rows_of(path, columns)
    return _with_place(table, np.full(table.num_rows, sequence), np.arange(table.num_rows))


def _with_place(table: pa.Table, sequences: np.ndarray, rows: np.ndarray) -> pa.Table:
    table = table.append_column(_PLACE[0], pa.array(sequences, pa.int64()))
    return table.append_column(_PLACE[1], pa.array(rows, pa.int32()))


def _raw(footer: bytes, rows: int) -> dict[str, Any]:
    raw: dict[str, Any] = orjson.loads(footer)
    return raw | {"rows": rows}


def _landed(table: pa.Table, columns: Sequence[str] | None = None) -> pa.Table:
    """In LANDED's order and types, whatever a version of Parquet made of them."""
    schema = _ROWS if columns is None else pa.schema([LANDED.field(name) for name in columns])
    table = table.select(schema.names).replace_schema_metadata(None)
    return table if table.schema.equals(schema) else table.cast(schema)


# --- segments -------------------------------------------------------------------------------


class Span(NamedTuple):
    """Sequences a segment holds, both ends included."""

    first: int
    last: int

    @property
    def name(self) -> str:
        return f"{self.first:09d}-{self.last:09d}.parquet"


def spans_in(folder: Path) -> tuple[Span, ...]:
    """Segments of a stream, rising, without those that lie within another.

    Asked until two answers agree: of names that come and go while a large folder is read, a listing
    may show neither the old nor the new.
    """
    before = None
    while (now := _listed(folder)) != before:
        before = now
    return now


def _listed(folder: Path) -> tuple[Span, ...]:
    try:
        names = os.listdir(folder)  # noqa: PTH208 - a Path for each name costs ten times as much
    except FileNotFoundError:
        return ()
    found = sorted((span for span in map(span_named, names) if span), key=lambda s: (s.first, -s.last))
    kept: list[Span] = []
    for span in found:
        if not kept or span.last > kept[-1].last:
            kept.append(span)
    return tuple(kept)


def span_named(name: str) -> Span | None:
    """What a file of this name holds; None where it is no segment."""
    found = _SEGMENT.fullmatch(name)
    return Span(int(found[1]), int(found[2])) if found else None


def span_of(spans: Sequence[Span], sequence: int) -> Span | None:
    """The segment of these that holds the batch."""
    index = bisect_right(spans, sequence, key=lambda span: span.first) - 1
    return spans[index] if index >= 0 and spans[index].last >= sequence else None


def encode_segment(
    batches: Iterable[tuple[dict[str, Any], pa.Table]], size: int
) -> tuple[bytes, list[dict[str, Any]], pa.Table]:
    """(bytes of a segment of these (raw footer, rows), the footers, the rows), the latter to prove it by.

    size: bytes of the files that the batches landed in.
    """
    sink, footers, groups = pa.BufferOutputStream(), [], []
    with pq.ParquetWriter(sink, _ROWS, compression="zstd", write_statistics=False, store_schema=False) as writer:
        for footer, group in _groups(batches):
            footers += footer
            if group.num_rows:
                groups.append(group)
                writer.write_table(group, row_group_size=max(group.num_rows, 1))
        index = pa.compress(orjson.dumps(footers), codec="zstd", asbytes=True)
        writer.add_key_value_metadata({"kanal_batches": b64encode(index).decode(), "kanal_size": str(size)})
    return sink.getvalue().to_pybytes(), footers, pa.concat_tables([_ROWS.empty_table(), *groups])


def _groups(
    batches: Iterable[tuple[dict[str, Any], pa.Table]],
) -> Iterator[tuple[list[dict[str, Any]], pa.Table]]:
    """(footers, rows) for each row group; a batch is never cut."""
    footers: list[dict[str, Any]] = []
    tables: list[pa.Table] = [_ROWS.empty_table()]
    rows = size = 0
    for footer, table in batches:
        footers.append(footer)
        tables.append(table)
        rows, size = rows + table.num_rows, size + table.nbytes
        if rows >= _GROUP_ROWS or size >= _GROUP_BYTES:
            yield footers, pa.concat_tables(tables).combine_chunks()
            footers, tables, rows, size = [], tables[:1], 0, 0
    yield footers, pa.concat_tables(tables).combine_chunks()


class Segment:
    """An open segment. Stays readable when compaction has replaced it by a larger one.

    size: bytes of the files its batches landed in. Opening and reading raise one of UNREADABLE.
    """

    def __init__(self, file: Path | pa.BufferReader, span: Span) -> None:
        self.span = span
        self._file = pq.ParquetFile(file)
        about = self._file.metadata.metadata or {}
        packed, self.size = b64decode(about[b"kanal_batches"]), int(about[b"kanal_size"])
        with pa.input_stream(pa.py_buffer(packed), compression="zstd") as stream:
            self.footers: list[dict[str, Any]] = orjson.loads(stream.read())
        self._starts = np.concatenate([[0], np.cumsum([f["rows"] for f in self.footers], dtype=np.int64)])
        if len(self.footers) != span.last - span.first + 1 or self._starts[-1] != self._file.metadata.num_rows:
            raise ValueError("it does not hold the batches its name says")

    def footer(self, sequence: int) -> Footer:
        return footer_from(self.footers[sequence - self.span.first])

    def read(self, first: int, last: int, columns: Sequence[str] | None = None) -> pa.Table:
        """LANDED rows of batches first to last, both included, in order."""
        begin, end = (int(self._starts[n - self.span.first]) for n in (first, last + 1))
        at = self._groups_at
        groups = [n for n in range(len(at) - 1) if at[n] < end and at[n + 1] > begin]
        if not groups:
            return _landed(_ROWS.empty_table(), columns)
        table = _landed(self._file.read_row_groups(groups, columns=columns, use_threads=False), columns)
        return table.slice(begin - int(at[groups[0]]), end - begin)

    def batches(self, sequences: Sequence[int], columns: Sequence[str] | None = None) -> pa.Table:
        """As `read`, of rising sequences, with the columns sequence and row."""
        parts = []
        for _, run in groupby(enumerate(sequences), key=lambda pair: pair[1] - pair[0]):
            numbers = [n for _, n in run]
            at = numbers[0] - self.span.first
            starts = self._starts[at : at + len(numbers) + 1]
            counts = np.diff(starts)
            rows = np.arange(starts[-1] - starts[0]) - np.repeat(starts[:-1] - starts[0], counts)
            parts.append(_with_place(self.read(numbers[0], numbers[-1], columns), np.repeat(numbers, counts), rows))
        return pa.concat_tables(parts)

    @cached_property
    def _groups_at(self) -> np.ndarray:
        metadata = self._file.metadata
        rows = [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)]
        return np.concatenate([[0], np.cumsum(rows, dtype=np.int64)])
