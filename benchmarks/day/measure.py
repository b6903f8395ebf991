"""What became of a day: when each number came to the CRM, what landed, what the audit says, what it cost."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import psutil
import psycopg

from benchmarks.day.script import CHANNEL, Item, code_of
from pipelines import audit
from pipelines.settings import Settings
from pipelines.sinks.warehouse import open_warehouse


class Crm(threading.Thread):
    """Looks into the CRM's database twice a second. seen: number -> Unix time when its report was there first."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.url, self.seen, self.stopped = url, dict[int, float](), threading.Event()
        self.newest = time.time()

    def run(self) -> None:
        with psycopg.connect(self.url, autocommit=True) as con:
            while not self.stopped.wait(0.5):
                with suppress(psycopg.errors.UndefinedTable):  # before the first delivery
                    for (text,) in con.execute("SELECT text FROM ticket_reports").fetchall():
                        code = code_of(text)
                        if code is not None and code not in self.seen:
                            self.newest = self.seen[code] = time.time()


class Meter(threading.Thread):
    """Memory of the system's processes, shared pages counted once, looked at every two seconds."""

    def __init__(self, roots: list[psutil.Process]) -> None:
        super().__init__(daemon=True)
        self.roots, self.peak, self.stopped = roots, 0, threading.Event()
        self.before = self.cpu()

    def run(self) -> None:
        while not self.stopped.wait(2):
            total = 0
            for process in tree(self.roots):
                with suppress(psutil.Error):
                    total += process.memory_full_info().pss
            self.peak = max(self.peak, total)

    def cpu(self) -> float:
        """Seconds of CPU of all processes that are there, with those of their children that have ended."""
        total = 0.0
        for process in tree(self.roots):
            with suppress(psutil.Error):
                total += sum(process.cpu_times()[:4])
        return total


def tree(roots: list[psutil.Process]) -> list[psutil.Process]:
    found = []
    for root in roots:
        with suppress(psutil.Error):
            found += [root, *root.children(recursive=True)]
    return found


@dataclass
class Figures:
    """rows: one a channel, and all. faults: what is not as it should be, in words; none is a good day."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    exact: bool = False


def account(
    settings: Settings,
    items: list[Item],
    arrived: dict[int, float],
    seen: dict[int, float],
    outage: tuple[float, float],
) -> Figures:
    """Compare what was told with what the warehouse and the CRM hold. The daemon has ended."""
    figures = Figures()
    proof = audit.audit(settings, all_media=True)
    figures.exact = proof.exact
    figures.faults += proof.faults + [f"promise broken: {p} ({n})" for p, n in proof.proofs.items() if n]
    with open_warehouse(settings.warehouse) as warehouse:
        reports = warehouse.con.execute(
            "SELECT r.channel, r.report_id, r.text, r.kind, l.ticket_id FROM reports r LEFT JOIN links l USING (report_id)"
        ).fetchall()
    held = Counter(code_of(text) for _, _, text, _, _ in reports)
    edited = {code_of(text) for _, _, text, _, _ in reports if "Diperbarui:" in text}
    thanks = {code_of(text) for _, _, text, _, ticket in reports if ticket is None}
    if strangers := held.pop(None, 0):
        figures.faults.append(f"{strangers} reports bear no number")
    landed: dict[str, Counter[str]] = defaultdict(Counter)
    for row in proof.streams:
        landed[row["stream"].split("/")[0]].update({k: v for k, v in row.items() if k != "stream"})
    new = [i for i in items if i.kind == "new"]
    missed = [i.number for i in items if i.kind == "edit" and i.number not in edited]
    if missed:
        figures.faults.append(f"edits not found: {missed}")
    channels = sorted({CHANNEL.get(i.outlet, i.outlet) for i in new})
    for channel in [*channels, "all"]:
        own = {i.number for i in new if channel in ("all", CHANNEL.get(i.outlet, i.outlet))}
        counts = sum((landed[c] for c in channels), Counter[str]()) if channel == "all" else landed[channel]
        tickets = {t for c, _, _, _, t in reports if t and channel in ("all", c)}
        waits = [seen[n] - arrived[n] for n in own if n in seen and n in arrived]
        figures.rows.append(
            {
                "channel": channel,
                "arrived": len(own & arrived.keys()),
                "landed": counts["landed"],
                "reports": len(own & held.keys()),
                "repeats": counts["repeat"],
                "filtered": counts["filtered"],
                "aside": counts["quarantined"],
                "tickets": len(tickets),
                "no_ticket": len(own & thanks),
                "undelivered": len((own & held.keys()) - thanks - seen.keys()),
                "lost": len((own & arrived.keys()) - held.keys()),
                "doubled": sum(held[n] - 1 for n in own if held[n] > 1),
                **_seconds(waits),
            }
        )
    calm = [
        seen[i.number] - arrived[i.number]
        for i in new
        if i.number in seen
        and i.number in arrived
        and not (i.outlet == "facebook" and outage[0] <= arrived[i.number] <= outage[1])
    ]
    figures.rows.append({"channel": "all but the outage", **_seconds(calm)})
    return figures


def _seconds(waits: list[float]) -> dict[str, float | None]:
    """Seconds from arrival to ticket."""
    if not waits:
        return {"median": None, "p95": None, "max": None}
    return {
        "median": round(float(np.median(waits)), 1),
        "p95": round(float(np.percentile(waits, 95)), 1),
        "max": round(max(waits), 1),
    }
