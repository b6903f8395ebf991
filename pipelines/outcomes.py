"""What each message of one entry of the order log became: report, repeat, older, filtered, quarantined, event.

Belongs here: telling new from known, numbering versions, giving arrivals, counting. Not here: linking
and tickets (load), which start from what is settled here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from pipelines.contracts import MESSAGES, column, report_id_of, to_frame
from pipelines.refine import Refined
from pipelines.sinks.landing import BatchRef
from pipelines.sinks.warehouse import Warehouse

COUNTED = {
    "report": "reports",
    "repeat": "repeats",
    "older": "repeats",
    "filtered": "filtered",
    "quarantined": "quarantined",
    "event": "events",
}
COUNTS = ("messages", "reports", "repeats", "filtered", "quarantined", "events", "opened", "joined")


@dataclass(slots=True)
class Loaded:
    """What one entry brought; seconds per stage."""

    messages: int = 0
    reports: int = 0
    repeats: int = 0
    filtered: int = 0
    quarantined: int = 0
    events: int = 0
    opened: int = 0
    joined: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    streams: dict[str, dict[str, int]] = field(default_factory=dict)

    def add(self, other: Loaded) -> None:
        """Take in what another entry brought."""
        for name in COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for stage, seconds in other.seconds.items():
            self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds
        for stream, counts in other.streams.items():
            mine = self.streams.setdefault(stream, dict.fromkeys(counts, 0))
            for name, count in counts.items():
                mine[name] += count


def ids_of(landed: pa.Table) -> list[str]:
    """report_id of each message."""
    keys = (landed[name].to_pylist() for name in ("channel", "stream", "source_ref"))
    return [report_id_of(*key) for key in zip(*keys, strict=True)]


def repeats(ids: Sequence[str], versions: Sequence[str], stored: Mapping[str, str]) -> np.ndarray:
    """Messages that surely bring nothing: same version as stored, and no other version beside them."""
    first = dict(zip(reversed(ids), reversed(versions), strict=True))
    mixed = {i for i, version in zip(ids, versions, strict=True) if first[i] != version}
    flags = (stored.get(i) == v and i not in mixed for i, v in zip(ids, versions, strict=True))
    return np.fromiter(flags, dtype=bool, count=len(ids))


class Outcomes:
    """What each message of one entry became, by its place in the recorded order."""

    def __init__(self, landed: pa.Table, ids: Sequence[str], warehouse: Warehouse) -> None:
        self.landed, self.ids = landed.drop_columns(["payload"]), ids
        self.base = warehouse.next_arrival()
        self.versions, self.edited = landed["version"].to_pylist(), landed["edited_at"].to_pylist()
        before = warehouse.rows_of("reports", "report_id", list(dict.fromkeys(ids)))
        self.before: dict[str, dict[str, Any]] = {row["report_id"]: row for row in before.to_pylist()}
        self.outcome: list[str] = ["report"] * landed.num_rows
        self.stage: list[str | None] = [None] * landed.num_rows
        self.reason: list[str | None] = [None] * landed.num_rows
        self.events: list[tuple[int, dict[str, Any]]] = []
        self.reports = pd.DataFrame()

    def known_repeats(self) -> np.ndarray:
        """As `repeats`, against what is stored now; they get their outcome here."""
        flags = repeats(self.ids, self.versions, {i: row["version"] for i, row in self.before.items()})
        for place in np.flatnonzero(flags).tolist():
            self.outcome[place] = "repeat"
        return flags

    def settle(self, parts: Sequence[Refined]) -> None:
        """Give each message its outcome, and each report version its number and arrival."""
        for part in parts:
            for place, outcome, stage, reason in part.aside:
                self.outcome[place], self.stage[place], self.reason[place] = outcome, stage, reason
            self.events += part.events
        self.events.sort(key=lambda placed: placed[0])
        for place, _ in self.events:
            self.outcome[place] = "event"
        table = pa.concat_tables([p.reports for p in parts]) if parts else None
        if table is None or not table.num_rows:
            return
        places = table["place"].to_pylist()
        if places != sorted(places):
            table = table.sort_by("place")
            places.sort()
        current = {i: (r["version"], r["version_no"], r["arrival"], r["edited_at"]) for i, r in self.before.items()}
        keep, numbers, arrivals = [], [], []
        for index, place in enumerate(places):
            report_id, version, edited = self.ids[place], self.versions[place], self.edited[place]
            known = current.get(report_id)
            if known is not None and known[0] == version:
                self.outcome[place] = "repeat"
                continue
            if known is not None and edited is not None and known[3] is not None and edited < known[3]:
                self.outcome[place] = "older"
                continue
            number, arrival = (1, self.base + place) if known is None else (known[1] + 1, known[2])
            current[report_id] = (version, number, arrival, edited)
            keep.append(index)
            numbers.append(number)
            arrivals.append(arrival)
        frame = to_frame(table.take(keep))
        self.reports = frame.assign(
            version_no=pd.array(numbers, dtype="int64"),
            arrival=pd.array(arrivals, dtype="int64"),
        )

    def tally(self, links: pd.DataFrame) -> dict[BatchRef, dict[str, int]]:
        """Counts of each batch: COUNTS."""
        batch_of = list(map(BatchRef, *(self.landed[n].to_pylist() for n in ("channel", "stream", "sequence"))))
        counts: dict[BatchRef, dict[str, int]] = {}
        for (ref, outcome), number in Counter(zip(batch_of, self.outcome, strict=True)).items():
            mine = counts.setdefault(ref, dict.fromkeys(COUNTS, 0))
            mine["messages"] += number
            mine[COUNTED[outcome]] += number
        levels = dict(zip(column(links, "report_id"), column(links, "level"), strict=True))
        for place, report_id in enumerate(self.ids):
            if self.outcome[place] == "report" and (level := levels.pop(report_id, None)):
                counts[batch_of[place]]["opened" if level == "opened" else "joined"] += 1
        return counts

    def messages(self) -> pa.Table:
        columns: dict[str, Any] = {
            n: self.landed[n] for n in ("channel", "stream", "sequence", "row", "source_ref", "version")
        }
        columns |= {"report_id": self.ids, "outcome": self.outcome, "stage": self.stage, "reason": self.reason}
        columns["landed_day"] = self.landed["landed_day"]
        return pa.table(
            [
                pa.chunked_array(c) if isinstance(c, pa.ChunkedArray) else pa.array(c, type=MESSAGES.field(n).type)
                for n, c in columns.items()
            ],
            schema=MESSAGES,
        )


def loaded_of(counts: Mapping[BatchRef, Mapping[str, int]]) -> Loaded:
    """The counts of one entry's batches, added up."""
    loaded = Loaded()
    for ref, mine in counts.items():
        per = loaded.streams.setdefault(f"{ref.channel}/{ref.stream}", dict.fromkeys(COUNTS, 0))
        for name, number in mine.items():
            per[name] += number
            setattr(loaded, name, getattr(loaded, name) + number)
    return loaded
