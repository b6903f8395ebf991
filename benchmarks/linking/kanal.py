"""Kanal's own linker over reports in their order, without landing, tickets or a warehouse."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from functools import cache

import pandas as pd
import pyarrow as pa

from pipelines import knowledge
from pipelines.contracts import to_frame
from pipelines.refine import for_linking
from pipelines.settings import Settings, default_models_dir
from pipelines.transforms.acts import Acts
from pipelines.transforms.blocks import Keys
from pipelines.transforms.link import Asked, State, link
from pipelines.transforms.memory import Memory
from pipelines.transforms.traits import READ, ragged, traits_of

_READ_AT_ONCE = 10_000
KEPT = list(dict.fromkeys((*READ, "report_id", "external_ref", "arrival", "kind")))


def kanal(reports: pd.DataFrame, group_rows: int = 50_000, *, workers: int = 1) -> list[str]:
    """The ticket of each report. reports: contracts.REPORTS columns, in rising `arrival`.

    group_rows: how many are linked at a time; what a warehouse would hold between two groups stays in memory. workers:
    processes that read what is compared out of the reports, as refining does. Thanks get no ticket from Kanal: here
    each is its own.
    """
    matching = known().matching
    state, acts, tickets = State(Memory(matching)), Acts(), dict[str, str]()
    linkable = reports.loc[reports["kind"] != "appreciation", KEPT]
    for _, table in prepared(linkable, group_rows, workers):
        ids, arrivals = table["report_id"].to_pylist(), table["arrival"].to_pylist()
        refs, cites = table["external_ref"].to_pylist(), table["cites"].to_pylist()
        asked = list(map(Asked, arrivals, ids, refs, cites))
        x = traits_of(table, matching)
        likely = state.memory.find(x, Keys(ragged(table["own_keys"]), ragged(table["probe_keys"])))
        made = link(state, asked, likely, x, acts=acts)
        tickets |= {report_id: m.ticket_id for report_id, m in zip(ids, made, strict=True)}
    arrival_of = dict(zip(linkable["report_id"], linkable["arrival"], strict=True))
    return [
        acts.ticket_of(tickets[i], arrival_of[i]) if i in tickets else f"none {i}"
        for i in reports["report_id"].tolist()
    ]


def prepared(reports: pd.DataFrame, rows: int, workers: int) -> Iterator[tuple[int, pa.Table]]:
    """(number of the first, the reports with the columns of refine.LINKING), so many at a time; of reports KEPT is read."""
    starts = range(0, len(reports), min(_READ_AT_ONCE, rows))
    whole = pa.Table.from_pandas(reports, preserve_index=False)
    parts = (whole.slice(start, starts.step) for start in starts)
    waiting: list[pa.Table] = []
    begin = 0
    with ProcessPoolExecutor(workers) as pool:
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
        under_way.append(pool.submit(_read, part))
        if len(under_way) > ahead:
            yield under_way.popleft().result()
    yield from (future.result() for future in under_way)


def _read(part: pa.Table) -> pa.Table:
    said = for_linking(to_frame(part), known())
    kept = part.select(["report_id", "external_ref", "arrival"])
    return pa.table([*kept.columns, *said.columns], names=[*kept.column_names, *said.column_names])


@cache
def known() -> knowledge.Knowledge:
    here = default_models_dir()
    return knowledge.load(Settings(here, here, here, ()))
