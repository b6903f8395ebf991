"""Pull -> landing, for one stream: every batch lands in its turn, and whoever else pulls may win a turn.

Belongs here: from where a stream is read, and going on from what another process landed. Not here: what a stream
brings (sources), how a batch becomes durable (sinks/landing), what a failure means for the others (flow).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

from pipelines.contracts import CARRIED, WIB, Batch, Stream
from pipelines.errors import SettingsError
from pipelines.sinks.landing import BatchRef, Landing


def into_landing(
    source: Any,
    stream: Stream,
    landing: Landing,
    *,
    run_id: str,
    now: Callable[[], datetime],
    since: date | None = None,
    files: Sequence[Path] | None = None,
) -> Iterator[tuple[Batch, bool]]:
    """Pull a stream to its end; yields each batch once it is durable, and whether it took a file of its own.

    since: read again from where the stream stood when that day (Asia/Jakarta) began. files: take these files instead
    of what the inbox holds. KanalError as pull and landing raise them; what landed before stays.
    """
    head = landing.head(stream)
    cursor = _since(landing, stream, since, head.cursor) if since else head.cursor
    while True:
        for batch in _batches(source, stream, cursor, files, now):
            won = landing.put(
                stream, head, batch.messages, batch.cursor, source_version=source.VERSION, run_id=run_id, now=now()
            )
            if won is None:
                break
            yield batch, won is not head
            head = won
        else:
            return
        # Another process landed this stream's next batch: go on from what it left.
        head = landing.head(stream)
        cursor = head.cursor


def _batches(
    source: Any,
    stream: Stream,
    cursor: dict[str, Any] | None,
    files: Sequence[Path] | None,
    now: Callable[[], datetime],
) -> Iterable[Batch]:
    if files is None:
        return source.pull(stream, cursor, now=now)
    if not hasattr(source, "import_files"):
        raise SettingsError(f"{stream.key}: source {stream.source} takes no files; import into an export stream")
    return source.import_files(stream, cursor, files, now=now)


def _since(landing: Landing, stream: Stream, day: date, newest: dict[str, Any] | None) -> dict[str, Any] | None:
    """Where the stream stood when `day` began, with what people are told of it as it is now."""
    carried = {key: newest[key] for key in CARRIED if newest and key in newest}
    before = _cursor_before(landing, stream, day)
    return {**(before or {}), **carried} if carried else before


def _cursor_before(landing: Landing, stream: Stream, day: date) -> dict[str, Any] | None:
    """The cursor of the newest batch landed before `day` began in Jakarta."""
    begin = datetime(day.year, day.month, day.day, tzinfo=WIB)
    for sequence in reversed(landing.sequences(stream.channel, stream.name)):
        footer = landing.footer(BatchRef(stream.channel, stream.name, sequence))
        if footer.landed_at < begin:
            return footer.cursor
    return None
