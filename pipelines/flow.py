"""The whole way: pull -> land -> refine -> link -> load -> deliver -> publish.

Knows no orchestrator and no terminal: the CLI and Dagster both call these functions and nothing
below them. Each may be killed at any moment and called again; what was done stays done.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from pipelines import knowledge as known
from pipelines import order
from pipelines.contracts import Stream
from pipelines.errors import KanalError, PermanentError, SettingsError
from pipelines.heads import gaps_of, tell_gap
from pipelines.load import Prepared, apply_entry, prepare
from pipelines.outcomes import Loaded
from pipelines.pull import into_landing
from pipelines.refine import judging, source_of, versions_of
from pipelines.settings import Settings
from pipelines.sinks.durable import put_if_absent
from pipelines.sinks.landing import Entry, Landing
from pipelines.sinks.warehouse import Warehouse, open_warehouse

FEEDBACK = Stream("_crm", "status", "feedback", {})
Progress = Callable[[str, int, int | None], None]  # (what, steps made since the last call, steps in all)


def utc_now() -> datetime:
    return datetime.now(UTC)


def new_run_id() -> str:
    return uuid.uuid4().hex[:16]


def silent(what: str, steps: int, total: int | None) -> None:
    """Progress for nobody."""


@dataclass(slots=True)
class Pulled:
    """What one stream brought; error: why it stopped, where it did; gaps: found now, in words."""

    stream: str
    messages: int = 0
    batches: int = 0
    seconds: float = 0.0
    error: KanalError | None = None
    gaps: list[str] = field(default_factory=list)


@dataclass(slots=True)
class RunResult:
    """What a run did. `streams` adds up Loaded.streams; failures: stream or stage -> what to do."""

    run_id: str
    pulled: list[Pulled] = field(default_factory=list)
    loaded: Loaded = field(default_factory=Loaded)
    delivered: int = 0
    snapshot: Path | None = None
    report: Path | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    @property
    def partial(self) -> bool:
        return bool(self.failures or self.gaps) or self.loaded.quarantined > 0

    @property
    def gaps(self) -> list[str]:
        """What can no longer be read, as this run found out."""
        return [gap for pulled in self.pulled for gap in pulled.gaps]


# --- pull -> land ---------------------------------------------------------------------------


def streams_of(settings: Settings, channel: str | None = None) -> tuple[Stream, ...]:
    """The configured streams, and the CRM's status events where all are asked for."""
    if channel is None:
        return (*settings.streams, feedback_stream(settings))
    return (feedback_stream(settings),) if channel == FEEDBACK.channel else settings.streams_of(channel)


def feedback_stream(settings: Settings) -> Stream:
    options = {"url_env": settings.crm_url_env} if settings.crm_url_env else {"database": str(settings.crm)}
    return replace(FEEDBACK, options=options, root=str(settings.path.parent))


def land(
    settings: Settings,
    stream: Stream,
    *,
    run_id: str,
    now: Callable[[], datetime] = utc_now,
    since: date | None = None,
    files: Sequence[Path] | None = None,
    progress: Progress = silent,
) -> Pulled:
    """Pull a stream to its end and land every batch; never raises a KanalError, but returns it.

    since: read again from where the stream stood when that day (Asia/Jakarta) began; what is known
    comes back as repeats. files: take these files instead of what the inbox holds.
    """
    begin = time.perf_counter()
    result = Pulled(stream.key)
    try:
        known.channel_of(known.channels(settings), stream)
        source, landing = source_of(stream.source), Landing(settings.landing_dir)
        told = gaps_of(landing.head(stream).cursor)
        for batch, written in into_landing(source, stream, landing, run_id=run_id, now=now, since=since, files=files):
            result.batches += written
            result.messages += len(batch.messages)
            result.gaps = [tell_gap(stream.key, gap) for gap in gaps_of(batch.cursor) if gap not in told]
            progress(f"pull {stream.key}", len(batch.messages), None)
    except KanalError as error:
        result.error = error
    result.seconds = time.perf_counter() - begin
    return result


def import_stream(settings: Settings, channel: str) -> Stream:
    """The one export stream of a channel that `kanal import` feeds."""
    found = [s for s in settings.streams_of(channel) if s.source == "export"]
    if len(found) != 1:
        names = ", ".join(s.key for s in found) or "none"
        raise SettingsError(f"{channel}: exactly one export stream can take files; found: {names}. Name it in full")
    return found[0]


# --- load -----------------------------------------------------------------------------------


def load(
    settings: Settings,
    *,
    run_id: str,
    now: Callable[[], datetime] = utc_now,
    progress: Progress = silent,
    failures: dict[str, str] | None = None,
) -> Loaded:
    """Refine, link and load everything landed and not yet in the ledger.

    Entries recorded but not applied (a run was killed in between) come first, as recorded.
    failures: gains an entry for each stream whose landing cannot be read; the others go on.
    """
    landing = Landing(settings.landing_dir)
    with open_warehouse(settings.warehouse) as warehouse:
        recorded = list(landing.order(above=warehouse.last_entry()))
        order.check(landing)
        groups, rows = order.pending(
            landing, warehouse.loaded(), recorded, settings.group_rows, failures, decodable(settings)
        )
        rows += sum(landing.footer(ref).rows for entry in recorded for ref in entry.batches)
        if not recorded and not groups:
            return Loaded()
        progress("load", 0, rows)
        versions = versions_of(settings)
        number = recorded[-1].number if recorded else warehouse.last_entry()
        entries = order.record(landing, recorded, groups, number, versions)
        return apply_entries(settings, warehouse, entries, messages=rows, run_id=run_id, now=now, progress=progress)


def apply_entries(
    settings: Settings,
    warehouse: Warehouse,
    entries: Iterable[Entry],
    *,
    messages: int,
    run_id: str,
    now: Callable[[], datetime] = utc_now,
    progress: Progress = silent,
) -> Loaded:
    """Apply entries in order, each in one transaction; what they brought together."""
    landing, total = Landing(settings.landing_dir), Loaded()
    with judging(settings, author_secret(settings), messages=messages) as (knowledge, refine):

        def applied(ready: Prepared) -> Loaded:
            return apply_entry(
                warehouse, ready, knowledge, refine, run_id=run_id, now=now,
                progress=lambda steps: progress("load", steps, messages),
            )  # fmt: skip

        ready: Prepared | None = None
        for entry in entries:
            # The next entry is being refined by the workers while this process links the one before.
            following = prepare(warehouse, landing, entry, settings, refine)
            if ready is not None:
                total.add(applied(ready))
            ready = following
        if ready is not None:
            total.add(applied(ready))
    return total


def decodable(settings: Settings) -> Callable[[str, str], None]:
    """Raises SettingsError where a stream's options will not do to decode its messages."""
    streams = {(s.channel, s.name): s for s in settings.streams}

    def check(channel: str, name: str) -> None:
        stream = streams.get((channel, name))
        if stream and hasattr(source := source_of(stream.source), "check"):
            source.check(stream)

    return check


def author_secret(settings: Settings) -> bytes:
    """Key of the authors' hash: made once, beside landing, so that landing alone rebuilds all."""
    path = settings.landing_dir / "author.key"
    if not path.exists():
        put_if_absent(path, os.urandom(32))
        path.chmod(0o600)
    return path.read_bytes()


# --- deliver, publish -----------------------------------------------------------------------


def deliver(settings: Settings, *, everything: bool = False) -> int:
    """Bring the CRM store up to date; returns tickets written. everything: compare all of them."""
    from pipelines.sinks import crm

    with open_warehouse(settings.warehouse) as warehouse, crm.open_crm(settings) as store:
        return crm.deliver(warehouse, store, everything=everything)


def publish(
    settings: Settings, *, now: Callable[[], datetime] = utc_now, hurry: bool = False
) -> tuple[Path, Path] | None:
    """Prove the warehouse, then build the snapshot and draw the report from it.

    None: the last snapshot holds the same already, or is younger than the setting allows (unless
    `hurry`). Raises PermanentError where a proof fails: nothing is published then.
    """
    from pipelines.sinks import report, snapshot

    with open_warehouse(settings.warehouse) as warehouse:
        if not snapshot.due(settings, warehouse, now(), hurry=hurry):
            return None
        check(warehouse)
        path = snapshot.build(settings, warehouse, known.names(settings), now())
    return path, report.draw(settings, now())


def check(warehouse: Warehouse) -> None:
    """PermanentError where a key or a promise of the warehouse is broken."""
    if broken := {what: rows for what, rows in warehouse.violations().items() if rows}:
        told = "; ".join(f"{what} ({rows})" for what, rows in broken.items())
        raise PermanentError(
            f"the warehouse breaks its promises, nothing is published: {told}. Run: kanal audit, then kanal rebuild"
        )


# --- the whole way --------------------------------------------------------------------------


def run(
    settings: Settings,
    *,
    channel: str | None = None,
    since: date | None = None,
    files: Sequence[Path] | None = None,
    now: Callable[[], datetime] = utc_now,
    progress: Progress = silent,
    hurry: bool = True,
) -> RunResult:
    """Everything once. One stream's or stage's failure is told in the result and stops no other.

    files: import these into the channel's export stream instead of pulling.
    """
    result = RunResult(new_run_id())
    streams = (import_stream(settings, channel or ""),) if files is not None else streams_of(settings, channel)
    clock = _Stages(result)
    for stream in streams:
        pulled = land(settings, stream, run_id=result.run_id, now=now, since=since, files=files, progress=progress)
        result.pulled.append(pulled)
        if pulled.error:
            result.failures[stream.key] = str(pulled.error)
    clock.lap("pull")
    steps: list[tuple[str, Callable[[], None]]] = [
        (
            "load",
            lambda: _into(
                result,
                "loaded",
                load(settings, run_id=result.run_id, now=now, progress=progress, failures=result.failures),
            ),
        ),
        ("deliver", lambda: _into(result, "delivered", deliver(settings))),
        ("publish", lambda: _published(result, publish(settings, now=now, hurry=hurry))),
    ]
    for name, step in steps:
        progress(name, 0, None)
        try:
            step()
        except KanalError as error:
            result.failures[name] = str(error)
            if name == "load":
                break
        clock.lap(name)
    return result


def _into(result: RunResult, name: str, value: Any) -> None:
    setattr(result, name, value)


def _published(result: RunResult, made: tuple[Path, Path] | None) -> None:
    if made is not None:
        result.snapshot, result.report = made


class _Stages:
    def __init__(self, result: RunResult) -> None:
        self._result, self._last = result, time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self._result.seconds[name] = now - self._last
        self._last = now
