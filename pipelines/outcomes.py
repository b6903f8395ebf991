"""What each message of one entry of the order log became: report, repeat, older, filtered, quarantined, event.

Belongs here: telling new from known, numbering versions, giving arrivals, counting. Not here: linking
and tickets (load), which start from what is settled here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from pipelines.contracts import MESSAGES, column, report_id_of, to_frame
from pipelines.refine import Refined
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
        for name in ("messages", "reports", "repeats", "filtered", "quarantined", "events", "opened", "joined"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for stage, seconds in other.seconds.items():
            self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds
        for stream, counts in other.streams.items():
            mine = self.streams.setdefault(stream, dict.fromkeys(counts, 0))
            for name, count in counts.items():
                mine[name] += count


class Outcomes:
    """What each message of one entry became, by its place in the recorded order."""

    def __init__(self, landed: pa.Table, warehouse: Warehouse) -> None:
        self.landed = landed.drop_columns(["payload"])
        self.base = warehouse.next_arrival()
        self.channel, self.stream = landed["channel"].to_pylist(), landed["stream"].to_pylist()
        self.refs, self.versions = landed["source_ref"].to_pylist(), landed["version"].to_pylist()
        self.sequences = landed["sequence"].to_pylist()
        self.edited = landed["edited_at"].to_pylist()
        self.ids = [report_id_of(*key) for key in zip(self.channel, self.stream, self.refs, strict=True)]
        before = warehouse.rows_of("reports", "report_id", list(dict.fromkeys(self.ids)))
        self.before: dict[str, dict[str, Any]] = {row["report_id"]: row for row in before.to_pylist()}
        self.outcome: list[str] = ["report"] * landed.num_rows
        self.stage: list[str | None] = [None] * landed.num_rows
        self.reason: list[str | None] = [None] * landed.num_rows
        self.events: list[tuple[int, dict[str, Any]]] = []
        self.reports = pd.DataFrame()

    def known_repeats(self) -> np.ndarray:
        """Messages that surely bring nothing: same version as stored, and the entry has no other."""
        versions: dict[str, set[str]] = {}
        for report_id, version in zip(self.ids, self.versions, strict=True):
            versions.setdefault(report_id, set()).add(version)
        flags = np.zeros(len(self.ids), dtype=bool)
        for place, (report_id, version) in enumerate(zip(self.ids, self.versions, strict=True)):
            row = self.before.get(report_id)
            if row is not None and row["version"] == version and len(versions[report_id]) == 1:
                flags[place] = True
                self.outcome[place] = "repeat"
        return flags

    def settle(self, parts: Sequence[Refined]) -> None:
        """Give each message its outcome, and each report version its number and arrival."""
        for part in parts:
            for place, outcome, stage, reason in part.aside:
                self.outcome[place], self.stage[place], self.reason[place] = outcome, stage, reason
            self.events += part.events
        seen_events: set[str] = set()
        for place, _ in list(self.events):
            self.outcome[place] = "event"
            seen_events.add(self.ids[place])
        table = pa.concat_tables([p.reports for p in parts]) if parts else None
        if table is None or not table.num_rows:
            return
        places = table["place"].to_pylist()
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

    def count(self, links: pd.DataFrame) -> Loaded:
        loaded = Loaded(messages=len(self.outcome))
        for place, outcome in enumerate(self.outcome):
            per = loaded.streams.setdefault(f"{self.channel[place]}/{self.stream[place]}", dict.fromkeys(COUNTS, 0))
            per[COUNTED[outcome]] += 1
            per["messages"] += 1
        for name in ("reports", "repeats", "filtered", "quarantined", "events"):
            setattr(loaded, name, sum(per[name] for per in loaded.streams.values()))
        for place, opened in self.links_by_place(links):
            per = loaded.streams[f"{self.channel[place]}/{self.stream[place]}"]
            per["opened" if opened else "joined"] += 1
        loaded.opened = sum(per["opened"] for per in loaded.streams.values())
        loaded.joined = sum(per["joined"] for per in loaded.streams.values())
        return loaded

    def links_by_place(self, links: pd.DataFrame) -> list[tuple[int, bool]]:
        if not len(links):
            return []
        linked_at = dict(zip(column(links, "report_id"), column(links, "level"), strict=True))
        found, done = [], set()
        for place, report_id in enumerate(self.ids):
            if self.outcome[place] == "report" and report_id in linked_at and report_id not in done:
                done.add(report_id)
                found.append((place, linked_at[report_id] == "opened"))
        return found

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
