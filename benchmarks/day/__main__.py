"""A day of all sixteen channels, replayed at 50 times its speed into the running system.

    python -m benchmarks.day [--speed 50] [--hours 24] [--reports 526] [--every 1] [--json FILE]

The day's events come 50 times as fast; the system does not know. Clocks, polling intervals (`--every` minutes between
pulls of a channel, 20 s between looks of a sensor) and answers are real, and messages bear the real time. So the
seconds from arrival to ticket are those of a system that polls every minute, under 50 times the load of an ordinary day.
An arrival is when its peer had it: a mail in the mailbox, a row when its file was put there, a webhook when it was sent. A
ticket counts once it can be read in the CRM's database. Ends by itself: the day, then `--patience` seconds without
news. Exit code 1 where anything was lost, doubled or not as the audit demands.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time
from collections import Counter, defaultdict
from pathlib import Path
from types import FrameType
from typing import Any

from benchmarks.day.city import City, Misfortunes, city
from benchmarks.day.measure import Crm, Figures, Meter, account
from benchmarks.day.outlets import Teller
from benchmarks.day.script import Item, script

_LATEST = 900.0  # seconds after the day's end at which it is over, whatever is missing


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speed", type=float, default=50)
    parser.add_argument(
        "--hours", type=float, default=24, help="length of the day; a short one has all that a long one has"
    )
    parser.add_argument("--reports", type=int, default=526)
    parser.add_argument("--every", type=int, default=1, help="minutes between two pulls of a channel")
    parser.add_argument("--patience", type=float, default=150, help="seconds without a new ticket until it is over")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    items = script(args.reports)
    by_outlet: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        by_outlet[item.outlet].append(item)
    length = args.hours * 3600 / args.speed
    with city(by_outlet, args.every) as made:
        print(f"{len(items)} things are said in {length:.0f} s; all is started", file=sys.stderr, flush=True)
        figures, more = replay(made, items, by_outlet, length, args.patience)
    told = vars(args) | more | {"exact": figures.exact, "faults": figures.faults, "channels": figures.rows}
    if args.json:
        args.json.write_text(json.dumps(told, indent=1, default=str) + "\n", "utf-8")
    show(told)
    lost = sum(r.get(k, 0) for r in figures.rows for k in ("lost", "doubled", "undelivered"))
    return 1 if lost or figures.faults or more["failed_to_tell"] else 0


def replay(
    made: City, items: list[Item], by_outlet: dict[str, list[Item]], length: float, patience: float
) -> tuple[Figures, dict[str, Any]]:
    """Tell the day, wait for the last ticket, stop the system, account for all."""
    stop, begin = threading.Event(), time.time()
    crm, meter = Crm(made.crm_url), Meter(made.roots)
    tellers = {name: Teller(made.outlets[name], found, begin, length, stop) for name, found in by_outlet.items()}
    bad_luck = Misfortunes(made, begin, length, stop)
    threads: list[threading.Thread] = [crm, meter, bad_luck, *tellers.values()]
    for thread in threads:
        thread.start()
    try:
        for thread in (*tellers.values(), bad_luck):
            thread.join()
        ended = time.time()
        expected = {i.number for i in items if i.kind == "new"}
        # All there, or nothing more comes: thanks open no ticket, and edits may still be on their way.
        while time.time() - ended < _LATEST:
            quiet = time.time() - max(crm.newest, ended)
            if quiet > (patience / 2 if expected <= crm.seen.keys() else patience) and not made.loading():
                break
            time.sleep(1)
        cpu, wall = meter.cpu() - meter.before, time.time() - begin
    finally:
        stop.set()
        crm.stopped.set()
        meter.stopped.set()
    runs = Counter((r.job_name, r.status.value) for r in made.instance.get_runs())
    made.stop()
    arrived = {n: at for t in tellers.values() for n, at in t.arrived.items()}
    figures = account(made.settings, items, arrived, crm.seen, bad_luck.outage)
    return figures, {
        "kinds": dict(Counter(i.kind for i in items)),
        "wall_seconds": round(wall),
        "cpu_seconds": round(cpu),
        "peak_mib": round(meter.peak / 2**20),
        "load_average": os.getloadavg()[2],
        "runs": sum(runs.values()),
        "runs_failed": {job: n for (job, status), n in sorted(runs.items()) if status == "FAILURE"},
        "misfortunes": bad_luck.told,
        "failed_to_tell": [fault for t in tellers.values() for fault in t.failed],
    }


def show(told: dict[str, Any]) -> None:
    columns = list(told["channels"][0])
    print(" ".join(f"{c:>11}" if n else f"{c:18}" for n, c in enumerate(columns)))
    for row in told["channels"]:
        print(" ".join(f"{_cell(row.get(c)):>11}" if n else f"{row[c]:18}" for n, c in enumerate(columns)))
    for name, value in told.items():
        if name != "channels":
            print(f"{name}: {value}")


def _cell(value: Any) -> str:
    return "-" if value is None else str(value)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """Once: what is being cleaned up is not cut short by a second signal."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
