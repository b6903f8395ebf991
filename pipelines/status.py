"""What has landed, what waits to be loaded, how fresh each stream is: from landing and the snapshot.

Never opens the warehouse, so it may be asked at any time.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pipelines.contracts import WIB
from pipelines.errors import PermanentError
from pipelines.heads import costs_of, late_gaps
from pipelines.published import ask, open_snapshot
from pipelines.settings import Settings
from pipelines.sinks.landing import Landing

_LOADED = """
SELECT b.channel, b.stream, max(b.sequence) AS sequence, sum(b.messages)::BIGINT AS messages,
    sum(b.quarantined)::BIGINT AS quarantined, any_value(f.last_occurred_at) AS last_said
FROM batches b LEFT JOIN channel_freshness f USING (channel, stream) GROUP BY ALL
"""


def status(settings: Settings) -> dict[str, Any]:
    """A row a stream, configured or landed; `waiting` counts messages that no snapshot shows yet.

    `note` names a landing file that cannot be read, and what to do; without one it is None. `costs`:
    what reading a paid API cost today, None elsewhere. `gaps`: what could not be read, of 30 days.
    PermanentError where the snapshot cannot be read.
    """
    landing = Landing(settings.landing_dir)
    loaded: dict[tuple[str, str], dict[str, Any]] = {}
    about: dict[str, Any] = {}
    if settings.analytics.exists():
        with open_snapshot(settings) as con:
            loaded = {(r["channel"], r["stream"]): r for r in ask(con, _LOADED)}
            about = ask(con, "SELECT * FROM about")[0]
    options = {(s.channel, s.name): s.options for s in settings.streams}
    keys = set(options) | set(landing.streams())
    rows = [_row(landing, *key, loaded.get(key, {}), options.get(key, {})) for key in sorted(keys)]
    return {
        "streams": rows,
        "snapshot": settings.analytics if about else None,
        "built_at": about.get("built_at"),
        "tickets": about.get("tickets"),
    }


def _row(
    landing: Landing, channel: str, stream: str, loaded: dict[str, Any], options: Mapping[str, Any]
) -> dict[str, Any]:
    sequences = landing.sequences(channel, stream)
    newer = [n for n in sequences if n > loaded.get("sequence", -1)]
    waiting, landed, note, now = 0, None, None, datetime.now(UTC)
    cursor: dict[str, Any] | None = None
    for run in landing.runs(channel, stream, newer or sequences[-1:]):
        try:
            footers = landing.footers(channel, stream, run)
        except PermanentError as error:  # one torn file must not hide the other streams
            note = note or str(error)
            continue
        landed, cursor = footers[-1].landed_at, footers[-1].cursor
        waiting += sum(footer.rows for footer in footers) if newer else 0
    return {
        "stream": f"{channel}/{stream}",
        "batches": len(sequences),
        "messages": loaded.get("messages", 0) + waiting,
        "waiting": waiting,
        "last_landed": _wib(landed),
        "last_said": _wib(loaded.get("last_said")),
        "quarantined": loaded.get("quarantined", 0),
        "note": note,
        "costs": costs_of(cursor, options, now),
        "gaps": late_gaps(cursor, now),
    }


def _wib(at: datetime | None) -> str | None:
    return at.astimezone(WIB).strftime("%Y-%m-%d %H:%M") if at else None
