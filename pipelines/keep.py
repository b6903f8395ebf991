"""Keeping what landed in hand: every stream's small files merged into segments.

Belongs here: which streams, one after the other, and that one's trouble stops no other. Not here:
how a stream is compacted (sinks/compaction).
"""

from __future__ import annotations

from pipelines.errors import KanalError, PermanentError
from pipelines.flow import Progress, silent
from pipelines.settings import Settings
from pipelines.sinks.compaction import KEEP_NEWEST, Compacted, compact
from pipelines.sinks.landing import Landing


def compact_all(
    settings: Settings, *, channel: str | None = None, keep_newest: int = KEEP_NEWEST, progress: Progress = silent
) -> list[Compacted]:
    """Compact every stream that ever landed, or those of one channel (or channel/stream).

    Raises PermanentError, when all else is done, for streams that cannot be read; nothing of theirs is deleted.
    """
    landing = Landing(settings.landing_dir)
    streams = [(c, s) for c, s in landing.streams() if channel in (None, c, f"{c}/{s}")]
    if channel is not None and not streams:
        raise PermanentError(f"nothing of {channel!r} has landed; `kanal status` lists the streams")
    done, stopped = [], []
    for name, stream in streams:
        reached = 0

        def tick(batches: int, of: int, key: str = f"compact {name}/{stream}") -> None:
            nonlocal reached
            progress(key, batches - reached, of)
            reached = batches

        try:
            done.append(compact(landing, name, stream, keep_newest=keep_newest, progress=tick))
        except KanalError as error:
            stopped.append(str(error))
    if stopped:
        raise PermanentError("\n".join(stopped))
    return done
