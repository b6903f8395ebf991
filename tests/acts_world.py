"""A small city for decisions on tickets: reports, edits, statuses and decisions land one by one, in the order they are said,
and are loaded by the real engine in entries cut at will."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from pipelines import flow
from pipelines.contracts import Message, Stream, report_id_of, short_hash, ticket_id_of, ticket_no_of
from pipelines.load import apply_entry, prepare
from pipelines.refine import Judge, _refine_here, make_judge
from pipelines.settings import Settings
from pipelines.sinks.landing import BatchRef, Entry, Landing
from pipelines.sinks.warehouse import Warehouse, open_warehouse
from pipelines.sources import acts
from tests.made_up import HEADER

START = datetime.fromisoformat("2026-10-01T01:00:00+00:00")
CRM = Stream("_crm", "status_events", "feedback", {})
HOLE = {"isi": "Jalan berlubang cukup dalam, sudah ada motor jatuh", "kategori": "Jalan", "lon": "106.8"}
STEP = 0.000045  # degrees, 5 m: one step up the street is the same hole, a thousand are another part of the city
FAR = 1000


def report_of(number: int) -> str:
    return report_id_of("jaki", "app", str(number))


def ticket_of(number: int) -> str:
    return ticket_id_of(report_of(number))


def no_of(number: int) -> str:
    return ticket_no_of(report_of(number))


@dataclass
class City:
    """settings: with the stream jaki/app. What is said stands in `order`."""

    settings: Settings
    judge: Judge
    order: list[BatchRef] = field(default_factory=list)
    cells: dict[int, dict[str, str]] = field(default_factory=dict)

    def say(self, number: int, *, at: int = 0, **cells: str) -> str:
        """A hole in the street `at` steps up; a number that was used is an edit of that report."""
        place = {"lat": f"{-6.2 + at * STEP:.6f}"} if number not in self.cells else {}
        now = self.now
        row = self.cells.get(number, HOLE | {"tanggal": now.strftime("%d/%m/%Y %H:%M")}) | place | cells
        if number in self.cells:
            row |= {"diubah": now.strftime("%d/%m/%Y %H:%M")}
        self.cells[number] = row
        payload = orjson.dumps({name: row.get(name, "") for name in HEADER} | {"nomor": str(number)})
        version = short_hash(payload.decode())
        self._land(self.settings.streams[0], Message(str(number), version, payload, "application/json", now))
        return report_of(number)

    def status(self, ticket_id: str, status: str, **more: str) -> None:
        said = {
            "ticket_id": ticket_id,
            "status": status,
            "actor": "kelurahan",
            "happened_at": self.now.isoformat(),
        } | more
        ref = str(len(self.order)).zfill(19)
        self._land(CRM, Message(ref, ref, orjson.dumps(said), "application/vnd.kanal.status-event+json", self.now))

    def act(self, act: str, ticket: str | None = None, *reports: str, **more: Any) -> str:
        """Returns the decision's id."""
        said = {
            "act": act,
            "ticket_id": ticket,
            "report_ids": list(reports),
            "actor": "Sari",
            "reason": "sudah dicek",
        } | more
        message = acts.message(said, self.now)
        self._land(acts.STREAM, message)
        return message.source_ref

    @property
    def now(self) -> datetime:
        return START + timedelta(minutes=len(self.order))

    def _land(self, stream: Stream, message: Message) -> None:
        landing = Landing(self.settings.landing_dir)
        head = landing.head(stream)
        assert landing.put(stream, head, [message], {}, source_version="1", run_id="r", now=self.now)
        self.order.append(BatchRef(stream.channel, stream.name, head.sequence + 1))

    def load(self, path: Path, sizes: Iterable[int] = ()) -> Tables:
        """Everything said, into a new warehouse, in entries of these sizes and one of the rest."""
        landing = Landing(self.settings.landing_dir)
        refine = partial(_refine_here, self.judge)
        left, number = list(self.order), 0
        with open_warehouse(path) as warehouse:
            for size in (*sizes, len(left)):
                part, left = left[:size], left[size:]
                if part:
                    ready = prepare(warehouse, landing, Entry(number, tuple(part), {}), self.settings, refine)
                    apply_entry(warehouse, ready, self.judge.knowledge, refine, run_id="r", now=lambda: self.now)
                    number += 1
            return Tables.of(warehouse)


@dataclass(frozen=True)
class Tables:
    """What a warehouse holds, in plain values."""

    hashes: dict[str, str]
    parts: dict[str, frozenset[str]]  # ticket -> its reports
    tickets: dict[str, dict[str, Any]]  # without the version, and those that are superseded only by what they point to
    links: dict[str, tuple[Any, ...]]
    events: dict[str, list[str]]
    outcomes: list[str]
    reasons: list[str]

    @staticmethod
    def of(warehouse: Warehouse) -> Tables:
        assert {what: n for what, n in warehouse.violations().items() if n} == {}
        links = _rows(warehouse, "SELECT * FROM links")
        parts: dict[str, set[str]] = {}
        for link in links:
            parts.setdefault(link["ticket_id"], set()).add(link["report_id"])
        tickets = {}
        for row in _rows(warehouse, "SELECT * EXCLUDE (version) FROM tickets"):
            tickets[row["ticket_id"]] = row if row["superseded_by"] is None else {"superseded_by": row["superseded_by"]}
        events: dict[str, list[str]] = {}
        for row in _rows(warehouse, "SELECT ticket_id, event FROM ticket_events ORDER BY arrival"):
            events.setdefault(row["ticket_id"], []).append(row["event"])
        told = _rows(warehouse, "SELECT outcome, reason FROM messages WHERE channel = '_tickets' ORDER BY sequence")
        return Tables(
            warehouse.table_hashes(),
            {ticket: frozenset(reports) for ticket, reports in parts.items()},
            tickets,
            {link["report_id"]: tuple(link.values())[1:] for link in links},
            events,
            [row["outcome"] for row in told],
            [row["reason"] for row in told if row["reason"]],
        )

    def live(self) -> dict[str, dict[str, Any]]:
        return {ticket_id: row for ticket_id, row in self.tickets.items() if row["superseded_by"] is None}


def _rows(warehouse: Warehouse, sql: str) -> list[dict[str, Any]]:
    return warehouse.con.sql(sql).to_arrow_table().to_pylist()


def city(settings: Settings) -> City:
    return City(settings, make_judge(settings, flow.author_secret(settings)))


Cities = Callable[[], City]
Say = Callable[[City], Any]


def loaded(city: City, folder: Path, sizes: Sequence[int] = ()) -> Tables:
    """As City.load, into a warehouse nobody else uses."""
    folder.mkdir(exist_ok=True)
    return city.load(folder / f"{len(list(folder.iterdir()))}.duckdb", sizes)
