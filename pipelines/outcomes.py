"""What each message of one entry of the order log became: report, repeat, older, filtered, quarantined, event.

Belongs here: telling new from known, numbering versions, giving arrivals, counting. Not here: linking
and tickets (load), which start from what is settled here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import orjson
import pandas as pd
import pyarrow as pa

from pipelines.contracts import MESSAGES, column, report_id_of, ticket_id_of, to_frame
from pipelines.knowledge import Knowledge
from pipelines.refine import Refined, sane
from pipelines.sinks.landing import BatchRef
from pipelines.sinks.warehouse import Warehouse
from pipelines.transforms.redact import mask
from pipelines.transforms.ticket import parents_of

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
        self.base, self.warehouse = warehouse.next_arrival(), warehouse
        self.versions = landed["version"].to_pylist()
        times = zip(landed["edited_at"].to_pylist(), landed["fetched_at"].to_pylist(), strict=True)
        self.edited = [sane(edited, fetched) for edited, fetched in times]
        before = warehouse.rows_of("reports", "report_id", list(dict.fromkeys(ids)))
        self.before: dict[str, dict[str, Any]] = {row["report_id"]: row for row in before.to_pylist()}
        self.outcome: list[str] = ["report"] * landed.num_rows
        self.stage: list[str | None] = [None] * landed.num_rows
        self.reason: list[str | None] = [None] * landed.num_rows
        self.events: list[tuple[int, dict[str, Any]]] = []
        self.acts: list[tuple[int, dict[str, Any]]] = []  # decisions on tickets: whether they hold shows while linking
        self.reports = pd.DataFrame()

    def known_repeats(self) -> np.ndarray:
        """As `repeats`, against what is stored now; they get their outcome here."""
        flags = repeats(self.ids, self.versions, {i: row["version"] for i, row in self.before.items()})
        for place in np.flatnonzero(flags).tolist():
            self.outcome[place] = "repeat"
        return flags

    def settle(self, parts: Sequence[Refined], knowledge: Knowledge) -> None:
        """Give each message its outcome, and each report version its number and arrival."""
        for part in parts:
            for aside in part.aside:
                self._set_aside(*aside)
        self._settle_reports(parts)
        events = sorted((e for p in parts for e in p.events), key=lambda placed: placed[0])
        self._settle_acts([e for e in events if "act" in e[1]])
        self._settle_events([e for e in events if not e[1].keys() & {"act", "report_id"}], knowledge)
        named = [e for e in events if "report_id" in e[1]]
        self._settle_decisions([e for e in named if "url" not in e[1]], knowledge)
        self._settle_fetched([e for e in named if "url" in e[1]])

    def _settle_reports(self, parts: Sequence[Refined]) -> None:
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
        frame = to_frame(table.take(pa.array(keep, pa.int64())))
        self.reports = frame.assign(
            version_no=pd.array(numbers, dtype="int64"),
            arrival=pd.array(arrivals, dtype="int64"),
        )

    def _set_aside(self, place: int, outcome: str, stage: str, reason: str) -> None:
        # A reason may quote a file's name or what another system wrote.
        self.outcome[place], self.stage[place], self.reason[place] = outcome, stage, mask(reason)

    def _settle_events(self, events: Sequence[tuple[int, dict[str, Any]]], knowledge: Knowledge) -> None:
        """A status event counts once, and only if what it names exists."""
        if not events:
            return
        ids = [self.ids[place] for place, _ in events]
        rows = self.warehouse.rows_of("messages", "report_id", ids, "report_id, version, outcome").to_pylist()
        known = {(r["report_id"], r["version"]) for r in rows if r["outcome"] == "event"}
        named = [event["ticket_id"] for _, event in events]
        tickets = set(self.warehouse.rows_of("tickets", "ticket_id", named, "ticket_id")["ticket_id"].to_pylist())
        tickets |= self._may_open()
        fetched = self.landed["fetched_at"].to_pylist()
        for place, event in events:
            key = (self.ids[place], self.versions[place])
            if key in known:
                self.outcome[place] = "repeat"
            elif wrong := _wrong(event, tickets, knowledge, fetched[place]):
                self._set_aside(place, "quarantined", "event", f"Kejadian dari CRM ini tidak bisa dipakai: {wrong}.")
            else:
                known.add(key)
                self.outcome[place] = "event"
                agency = knowledge.routing.agencies.get(event["agency_id"] or "")
                more = parents_of(event["kelurahan_code"]) | ({"agency_name": agency.name} if agency else {})
                self.events.append((place, event | more))

    def _settle_acts(self, acts: Sequence[tuple[int, dict[str, Any]]]) -> None:
        """Decisions on tickets count from here on; `act_refused` takes back those that turn out not to hold."""
        fetched = self.landed["fetched_at"].to_pylist()
        for place, act in acts:
            act |= {name: mask(act[name]) for name in ("reason", "actor")}
            self.outcome[place] = "event"
            if odd := _odd_time(act, fetched[place]):
                self.act_refused(place, odd)
            else:
                self.acts.append((place, act))

    def _may_open(self) -> set[str]:
        """Tickets that this very entry may bring; `unfounded` takes back what was said of those that it does not."""
        splits = [act for _, act in self.acts if act["act"] == "split"]
        of = [act["ticket_id"] for act in splits]
        split = self.warehouse.rows_of("links", "ticket_id", of, "report_id")["report_id"].to_pylist() if of else []
        named = (r for act in splits for r in act["report_ids"])
        return {ticket_id_of(r) for r in (*self.ids, *split, *named)}

    def unfounded(self, tickets: Mapping[str, int]) -> None:
        """Set statuses aside that came before their ticket. tickets: arrival of each that this entry brought."""
        named = [event["ticket_id"] for _, event in self.events if "ticket_id" in event]
        if not named:
            return
        stored = self.warehouse.rows_of("tickets", "ticket_id", named, "ticket_id")["ticket_id"].to_pylist()
        since = dict(tickets) | dict.fromkeys(stored, -1)
        for place, event in self.events:
            if "ticket_id" in event and since.get(event["ticket_id"], self.base + place) >= self.base + place:
                words = "Kejadian dari CRM ini tidak bisa dipakai: tiketnya tidak ada di Kanal."
                self._set_aside(place, "quarantined", "event", words)

    def act_refused(self, place: int, why: str | None) -> None:
        """A decision on tickets that cannot be applied, or (why: None) was applied before."""
        self.outcome[place] = "repeat"
        if why:
            words = f"Keputusan tentang tiket ini tidak bisa dipakai: {why}. Putuskan lagi dengan kanal ticket."
            self._set_aside(place, "quarantined", "event", words)

    def _settle_decisions(self, decisions: Sequence[tuple[int, dict[str, Any]]], knowledge: Knowledge) -> None:
        """A decision counts where its report has a ticket by then, unless it says again what was decided last."""
        if not decisions:
            return
        ids = list(dict.fromkeys(d["report_id"] for _, d in decisions))
        ticketed = self._ticketed(ids)
        last = self._last_decisions(ids)
        fetched = self.landed["fetched_at"].to_pylist()
        for place, decision in decisions:
            decision |= {name: mask(decision[name]) for name in ("reason", "actor")}
            said = _said(decision)
            since = ticketed.get(decision["report_id"])
            if since is None or since >= place:
                wrong: str | None = "laporannya belum ada di Kanal atau tidak punya tiket"
            else:
                wrong = _unknown(decision, knowledge) or _odd_time(decision, fetched[place])
            if wrong:
                self._set_aside(
                    place, "quarantined", "event", f"Keputusan pemeriksa ini tidak bisa dipakai: {wrong}."
                    " Putuskan lagi dengan kanal review decide."
                )  # fmt: skip
            elif last.get(decision["report_id"]) == said:
                self.outcome[place] = "repeat"
            else:
                last[decision["report_id"]] = said
                self.outcome[place] = "event"
                self.events.append((place, decision))

    def _settle_fetched(self, attempts: Sequence[tuple[int, dict[str, Any]]]) -> None:
        """An attempt that brought a file counts where its report has a ticket by then; all are told as events."""
        ticketed = self._ticketed([a["report_id"] for _, a in attempts]) if attempts else {}
        for place, attempt in attempts:
            self.outcome[place] = "event"
            if attempt["file"] and ticketed.get(attempt["report_id"], place) < place:
                self.events.append((place, attempt))

    def _ticketed(self, ids: Sequence[str]) -> dict[str, int]:
        """Those of these reports that have a ticket, with the place from which on; -1: before this entry."""
        ticketed = dict.fromkeys(
            self.warehouse.rows_of("links", "report_id", ids, "report_id")["report_id"].to_pylist(), -1
        )
        if len(self.reports):
            columns = (column(self.reports, name) for name in ("report_id", "kind", "place"))
            for report_id, kind, place in zip(*columns, strict=True):
                if kind != "appreciation":
                    ticketed.setdefault(report_id, place)
        return ticketed

    def _last_decisions(self, report_ids: Sequence[str]) -> dict[str, tuple[Any, ...]]:
        """What was decided last of each of these reports, as `_said` tells it."""
        rows = self.warehouse.rows_of("ticket_events", "report_id", report_ids).to_pylist()
        found = {}
        for row in sorted((r for r in rows if r["event"] == "decision"), key=lambda r: r["arrival"]):
            found[row["report_id"]] = _said(orjson.loads(row["detail"]) | {"actor": row["actor"]})
        return found

    def tally(self, links: pd.DataFrame) -> dict[BatchRef, dict[str, int]]:
        """Counts of each batch: COUNTS."""
        batch_of = list(map(BatchRef, *(self.landed[n].to_pylist() for n in ("channel", "stream", "sequence"))))
        counts: dict[BatchRef, dict[str, int]] = {}
        for (ref, outcome), number in Counter(zip(batch_of, self.outcome, strict=True)).items():
            mine = counts.setdefault(ref, dict.fromkeys(COUNTS, 0))
            mine["messages"] += number
            mine[COUNTED[outcome]] += number
        for arrival, level in zip(column(links, "arrival"), column(links, "level"), strict=True):
            counts[batch_of[arrival - self.base]]["opened" if level == "opened" else "joined"] += 1
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


def _wrong(event: Mapping[str, Any], tickets: set[str], knowledge: Knowledge, fetched: datetime) -> str | None:
    """Why an event cannot be applied, in words for the CRM's clerk; None where it can."""
    found = [] if event["ticket_id"] in tickets else ["tiketnya tidak ada di Kanal"]
    if unknown := _unknown(event, knowledge):
        found.append(unknown)
    return ", ".join(found) or _odd_time(event, fetched)


def _unknown(event: Mapping[str, Any], knowledge: Knowledge) -> str | None:
    """Which ids of an event models/ does not know, in words; None where it knows all."""
    checks = (
        ("category", event["category"] in knowledge.taxonomy.names, "kategorinya tidak dikenal"),
        ("agency_id", event["agency_id"] in knowledge.routing.agencies, "dinasnya tidak dikenal"),
        ("kelurahan_code", event["kelurahan_code"] in knowledge.gazetteer.row_of, "kode kelurahannya tidak dikenal"),
    )
    return ", ".join(words for name, fits, words in checks if event[name] and not fits) or None


def _odd_time(event: Mapping[str, Any], fetched: datetime) -> str | None:
    return None if sane(event["happened_at"], fetched) else "waktunya di masa depan atau sebelum tahun 2000"


def _said(decision: Mapping[str, Any]) -> tuple[Any, ...]:
    """What two decisions must share to be the same one, made twice."""
    return tuple(decision.get(n) for n in ("category", "agency_id", "kind", "kelurahan_code", "reason", "actor"))


def loaded_of(counts: Mapping[BatchRef, Mapping[str, int]]) -> Loaded:
    """The counts of one entry's batches, added up."""
    loaded = Loaded()
    for ref, mine in counts.items():
        per = loaded.streams.setdefault(f"{ref.channel}/{ref.stream}", dict.fromkeys(COUNTS, 0))
        for name, number in mine.items():
            per[name] += number
            setattr(loaded, name, getattr(loaded, name) + number)
    return loaded
