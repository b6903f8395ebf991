"""Kanal's own linker over reports in their order, without landing, tickets or a warehouse."""

from __future__ import annotations

import gc
import sys
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache

import pandas as pd
import pyarrow as pa

from pipelines import knowledge
from pipelines.refine import for_linking
from pipelines.settings import Settings, default_models_dir
from pipelines.transforms.acts import Acts
from pipelines.transforms.blocks import Keys
from pipelines.transforms.link import Asked, State, link
from pipelines.transforms.memory import Candidates, Memory
from pipelines.transforms.reading import READ
from pipelines.transforms.traits import Traits, ragged, traits_of

_READ_AT_ONCE = 10_000
KEPT = [*READ, "report_id", "arrival", "kind"]


def kanal(reports: pd.DataFrame, group_rows: int = 50_000, *, workers: int = 1) -> list[str]:
    """The ticket of each report. reports: contracts.REPORTS columns, in rising `arrival`.

    group_rows: how many are linked at a time; what a warehouse would hold between two groups stays in memory. workers:
    processes that read what is compared out of the reports, as refining does. Thanks get no ticket from Kanal: here
    each is its own.
    """
    state, acts, tickets = State(Memory(known().matching)), Acts(), dict[str, str]()
    linkable = reports.loc[reports["kind"] != "appreciation", KEPT]
    groups = prepared(linkable, group_rows, workers)
    with (
        _undisturbed(),
        ThreadPoolExecutor(1) as ahead,
    ):  # what is alike is found for one group while the one before is decided
        waiting = ahead.submit(_found, groups, state.memory)
        while group := waiting.result():
            waiting = ahead.submit(_found, groups, state.memory)
            asked, x, likely = group
            made = link(state, asked, likely, x, acts=acts)
            tickets |= {report.report_id: m.ticket_id for report, m in zip(asked, made, strict=True)}
    arrival_of = dict(zip(linkable["report_id"], linkable["arrival"], strict=True))
    return [
        acts.ticket_of(tickets[i], arrival_of[i]) if i in tickets else f"none {i}"
        for i in reports["report_id"].tolist()
    ]


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Without looking for rings of objects: there are none, and a million tuples to look at. Threads take turns often, as one
    has only short work to do between long work that needs no turn."""
    before = sys.getswitchinterval()
    gc.disable()
    sys.setswitchinterval(0.0002)
    try:
        yield
    finally:
        sys.setswitchinterval(before)
        gc.enable()


def _found(groups: Iterator[tuple[int, pa.Table]], memory: Memory) -> tuple[list[Asked], Traits, Candidates] | None:
    """The next group and what of it is alike; None behind the last."""
    if (group := next(groups, None)) is None:
        return None
    _, table = group
    columns = (table[name].to_pylist() for name in ("arrival", "report_id", "external_ref", "cites"))
    x = traits_of(table, memory.matching)
    return list(map(Asked, *columns)), x, memory.find(x, Keys(ragged(table["own_keys"]), ragged(table["probe_keys"])))


def prepared(reports: pd.DataFrame, rows: int, workers: int) -> Iterator[tuple[int, pa.Table]]:
    """(number of the first, the reports with the columns of refine.LINKING), so many at a time; of reports KEPT is read."""
    starts = range(0, len(reports), min(_READ_AT_ONCE, rows))
    whole = pa.Table.from_pandas(reports, preserve_index=False)
    parts = (whole.slice(start, starts.step) for start in starts)
    waiting: list[pa.Table] = []
    begin = 0
    with ProcessPoolExecutor(workers, initializer=gc.disable) as pool:
        for part in map(_read, parts) if workers == 1 else _bounded(pool, parts, 2 * workers):
            waiting.append(part)
            if sum(p.num_rows for p in waiting) >= rows:
                yield begin, pa.concat_tables(waiting)
                begin, waiting = begin + sum(p.num_rows for p in waiting), []
    if waiting:
        yield begin, pa.concat_tables(waiting)


def _bounded(pool: ProcessPoolExecutor, parts: Iterator[pa.Table], ahead: int) -> Iterator[pa.Table]:
    """In order, with no more than so many parts under way."""
    under_way = deque[Future[pa.Table]]()
    for part in parts:
        under_way.append(pool.submit(_read_sent, _sent(part)))
        if len(under_way) > ahead:
            yield under_way.popleft().result()
    yield from (future.result() for future in under_way)


def _sent(part: pa.Table) -> pa.Buffer:
    """A slice on its own: pickled, it would take all it was cut from with it."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, part.schema) as writer:
        writer.write_table(part)
    return sink.getvalue()


def _read_sent(part: pa.Buffer) -> pa.Table:
    return _read(pa.ipc.open_stream(part).read_all())


def _read(part: pa.Table) -> pa.Table:
    said = for_linking(part, known())
    kept = part.select(["report_id", "external_ref", "arrival"])
    return pa.table([*kept.columns, *said.columns], names=[*kept.column_names, *said.column_names])


@cache
def known() -> knowledge.Knowledge:
    here = default_models_dir()
    return knowledge.load(Settings(here, here, here, ()))
