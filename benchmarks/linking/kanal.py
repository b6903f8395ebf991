"""Kanal's own linker over reports in their order, without landing, tickets or a warehouse."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa

from pipelines import knowledge
from pipelines.contracts import column, to_frame
from pipelines.settings import Settings, default_models_dir
from pipelines.transforms.blocks import PREPARED, Leader, blocks_of, candidates, prepare
from pipelines.transforms.link import link

_PREPARED_AT_ONCE = 2_000  # as refining does


def kanal(reports: pd.DataFrame, group_rows: int | None = None) -> list[str]:
    """The ticket of each report. reports: contracts.REPORTS columns, in rising `arrival`.

    group_rows: how many are linked at a time, by default as loading does; what is remembered between two groups, a
    warehouse would hold. Thanks get no ticket from Kanal: here each is its own.
    """
    here = default_models_dir()
    settings = Settings(here, here, here, ())
    known, at_once = knowledge.load(settings), group_rows or settings.group_rows
    older: dict[int, Leader] = {}
    keys, arrivals = np.zeros(0, np.int64), np.zeros(0, np.int64)
    tickets: dict[str, str] = {}
    of_ref: dict[str, str] = {}
    linkable = reports[reports["kind"] != "appreciation"]
    for start in range(0, len(linkable), at_once):
        new = _prepared(linkable.iloc[start : start + at_once], known)
        blocks = blocks_of(new)
        met = np.isin(keys, blocks.probes)
        refs = column(new, "external_ref")
        linked = link(
            candidates(new),
            column(new, "report_id"),
            refs,
            column(new, "cites"),
            blocks=blocks,
            older=[older[a] for a in np.unique(arrivals[met]).tolist()],
            older_keys=list(zip(keys[met].tolist(), arrivals[met].tolist(), strict=True)),
            tickets_of_ref=of_ref,
            closed=frozenset(),
            closings=(),
            matching=known.matching,
        )
        found = (column(linked.links, name) for name in ("report_id", "ticket_id", "level"))
        for report_id, ticket_id, level, ref in zip(*found, refs, strict=True):
            tickets[report_id] = ticket_id
            if ref and level == "opened":
                of_ref.setdefault(ref, ticket_id)
        older |= {leader.arrival: leader for leader in linked.leaders}
        keys, arrivals = np.concatenate((keys, linked.keys)), np.concatenate((arrivals, linked.arrivals))
    return [tickets.get(report_id, f"none {report_id}") for report_id in column(reports, "report_id")]


def _prepared(reports: pd.DataFrame, known: knowledge.Knowledge) -> pd.DataFrame:
    """The reports with the columns blocks.PREPARED, which refining would have added."""
    steps = range(0, len(reports), _PREPARED_AT_ONCE)
    parts = [reports.iloc[start : start + _PREPARED_AT_ONCE] for start in steps]
    made = [
        pa.table(prepare(part, groups=known.taxonomy.groups, matching=known.matching), schema=pa.schema(PREPARED))
        for part in parts
    ]
    added = to_frame(pa.concat_tables(made))
    added.index = reports.index
    return pd.concat([reports, added], axis=1)
