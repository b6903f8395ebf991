"""The order log: which landed batches wait, and in which order they are to be applied.

Belongs here: proving that landing and its log are whole, and recording what comes next. Not here: applying it
(load), the files themselves (sinks/landing).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime

from pipelines.errors import PermanentError
from pipelines.sinks.landing import ORDER, BatchRef, Entry, Landing
from pipelines.sinks.warehouse import Loads


def check(landing: Landing) -> None:
    """PermanentError where the order log lacks an entry: what follows could not be replayed."""
    folder = landing.root / ORDER
    numbers = sorted(int(p.stem) for p in folder.rglob("*.json")) if folder.exists() else []
    if numbers != list(range(len(numbers))):
        gap = next(n for n, number in enumerate(numbers) if n != number)
        raise PermanentError(f"entry {gap} of the order log in {folder} is missing; restore it from a backup")


def record(
    landing: Landing,
    recorded: Sequence[Entry],
    groups: Sequence[Sequence[BatchRef]],
    number: int,
    versions: dict[str, str],
) -> Iterator[Entry]:
    """Recorded entries, then one new entry a group, recorded only when its turn has come."""
    yield from recorded
    for group in groups:
        number += 1
        if not landing.append_order(number, group, versions):
            raise PermanentError(
                f"entry {number} of the order log was written by another warehouse over the same landing;"
                " give each warehouse its own data_dir, then run: kanal rebuild"
            )
        yield from landing.order(above=number - 1)


def pending(
    landing: Landing,
    loaded: Mapping[tuple[str, str], Loads],
    recorded: Sequence[Entry],
    group_rows: int,
    failures: dict[str, str] | None = None,
    check: Callable[[str, str], None] = lambda *_: None,
) -> tuple[list[list[BatchRef]], int]:
    """(groups of landed batches that no entry names yet, their messages), in order of landing.

    A stream of which a batch is missing, or that `check` refuses, waits until that is mended.
    """
    named = {ref for entry in recorded for ref in entry.batches}
    waiting: list[tuple[datetime, BatchRef, int]] = []
    for channel, stream in landing.streams():
        try:
            found = _waiting(landing, channel, stream, loaded.get((channel, stream)), named)
            if found:
                check(channel, stream)
            waiting += found
        except PermanentError as error:
            if failures is None:
                raise
            failures[f"{channel}/{stream}"] = str(error)
    groups: list[list[BatchRef]] = []
    room = 0
    for _, ref, rows in sorted(waiting):
        if not groups or rows > room:
            groups.append([])
            room = group_rows
        groups[-1].append(ref)
        room -= rows
    return groups, sum(rows for _, _, rows in waiting)


def _waiting(
    landing: Landing, channel: str, stream: str, loads: Loads | None, named: set[BatchRef]
) -> list[tuple[datetime, BatchRef, int]]:
    """Batches of a stream that are neither loaded nor recorded, with a landing time that never falls."""
    sequences = landing.sequences(channel, stream)
    newest = loads.newest if loads else -1
    if sequences != list(range(len(sequences))) or newest >= len(sequences):
        missing = min(set(range(max([newest, *sequences[-1:]]) + 1)) - set(sequences))
        raise PermanentError(
            f"{channel}/{stream}: landing file number {missing} is missing; restore it from a backup. If landing as a"
            " whole was restored from an older one, run: kanal rebuild"
        )
    if loads and landing.footer(BatchRef(channel, stream, newest)).batch_id != loads.batch_id:
        raise PermanentError(
            f"{channel}/{stream}: landing file number {newest} is not the one that was loaded; landing was restored from"
            " another backup than the warehouse. Run: kanal rebuild"
        )
    left = sorted(loads.missing) if loads else []
    found, last = [], datetime.min.replace(tzinfo=UTC)
    waiting = [n for n in (*left, *sequences[newest + 1 :]) if BatchRef(channel, stream, n) not in named]
    for run in landing.runs(channel, stream, waiting):
        for sequence, footer in zip(run, landing.footers(channel, stream, run), strict=True):
            last = max(last, footer.landed_at)  # a clock set back must not put a batch before the one it follows
            found.append((last, BatchRef(channel, stream, sequence), footer.rows))
    return found
