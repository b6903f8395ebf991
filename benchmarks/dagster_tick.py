"""What a tick of Dagster costs: runs fired by the real daemon, process start included.

    python -m benchmarks.dagster_tick [messages, default 500] [ticks, default 2]

Measures idle landing runs (nothing new), then the landing and the load of so many new messages, and
what the processes that only wait cost a minute. Ends after ten minutes at most.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import dagster as dg  # noqa: TID251 - it is what is measured
import psutil

from pipelines import classifiers
from pipelines import settings as kanal_settings

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 600.0
TOML = """
[kanal]
data_dir = "data"
[schedule]
every_minutes = 2
[[stream]]
channel = "jaki"
name = "utama"
source = "export"
inbox = "inbox"
settle_seconds = 0
[stream.columns]
id = "no"
text = "isi"
address = "alamat"
"""
WHAT = ("Lampu jalan mati", "Sampah menumpuk", "Jalan berlubang", "Saluran mampet", "Pohon tumbang", "Trotoar rusak")
STREETS = ("Kenanga", "Melati", "Mawar", "Cempaka", "Anggrek", "Dahlia", "Flamboyan", "Teratai")


def write_messages(path: Path, count: int) -> None:
    """A file of made-up complaints, the same for the same count."""
    rng = random.Random(count)
    rows = ["no,isi,alamat"]
    for number in range(count):
        where = f"Jalan {rng.choice(STREETS)} {rng.randrange(200)} RT {rng.randrange(1, 16):03d} RW {rng.randrange(1, 12):03d}"
        rows.append(f"{number},{rng.choice(WHAT)} sudah {rng.randrange(2, 30)} hari di {where},{where}")
    part = path.with_name(f".{path.name}")
    part.write_text("\n".join(rows), "utf-8")
    part.rename(path)


def tree(root: psutil.Process) -> list[psutil.Process]:
    return [root, *root.children(recursive=True)]


class Meter(threading.Thread):
    """CPU seconds of every process below `root`, by pid, looked at until it ends."""

    def __init__(self, root: psutil.Process) -> None:
        super().__init__(daemon=True)
        self.root, self.spent, self.stopped = root, dict[int, float](), threading.Event()

    def run(self) -> None:
        while not self.stopped.wait(0.03):
            with suppress(psutil.Error):
                for process in tree(self.root):
                    times = process.cpu_times()
                    self.spent[process.pid] = times.user + times.system


def measure(folder: Path, messages: int, ticks: int) -> None:
    (folder / "inbox").mkdir()
    (folder / "home").mkdir()
    (folder / "home" / "dagster.yaml").symlink_to(ROOT / "dagster.yaml")
    config = folder / "kanal.toml"
    config.write_text(TOML, "utf-8")
    classifiers.build(kanal_settings.load(config))
    environment = os.environ | {"DAGSTER_HOME": str(folder / "home"), "KANAL_CONFIG": str(config)}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    command = [sys.executable, "-W", "ignore", "-m", "dagster", "dev", "-h", "127.0.0.1", "-p", port]
    begin, pause, log = time.monotonic(), threading.Event(), (folder / "log").open("wb")
    made = dg.DagsterInstance.from_config(str(folder / "home"))  # or both make the databases at once
    process = subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True, stdout=log, stderr=log)
    try:
        with made as instance:

            def until(reached: Callable[[], bool]) -> None:
                while not reached():
                    if time.monotonic() - begin > LIMIT or process.poll() is not None:
                        raise SystemExit("gave up: Dagster did not get there in ten minutes")
                    pause.wait(0.5)

            def done(job: str) -> list[str]:
                filters = dg.RunsFilter(job_name=job, statuses=[dg.DagsterRunStatus.SUCCESS])
                return [r.run_id for r in instance.get_runs(filters=filters)]

            def report(run_id: str, what: str) -> None:
                stats, events = instance.get_run_stats(run_id), instance.all_logs(run_id)
                [pid] = {
                    e.dagster_event.engine_event_data.metadata["pid"].value
                    for e in events
                    if e.is_dagster_event
                    and e.dagster_event.is_engine_event
                    and "pid" in e.dagster_event.engine_event_data.metadata
                }
                wall, inside = stats.end_time - stats.launch_time, stats.end_time - stats.start_time
                print(
                    f"{what:34} wall {wall:5.2f} s (of it in steps {inside:5.2f} s)   CPU {meter.spent[int(pid)]:5.2f} s",
                    flush=True,
                )

            until(lambda: bool(done("land_jaki")))
            pause.wait(5)
            root = psutil.Process(process.pid)
            meter = Meter(root)
            meter.start()
            pause.wait(1)
            waiting, waited = dict(meter.spent), time.monotonic()
            seen = set(done("land_jaki"))
            for _ in range(ticks):
                until(lambda: bool(set(done("land_jaki")) - seen))
                [run_id] = set(done("land_jaki")) - seen
                seen.add(run_id)
                pause.wait(1)
                report(run_id, "idle tick: landing, nothing new")
            spent, minutes = (
                sum(meter.spent[pid] - before for pid, before in waiting.items()),
                (time.monotonic() - waited) / 60,
            )
            memory = sum(p.memory_full_info().pss for p in tree(root)) / 1e6
            print(
                f"{'daemon, server and UI, waiting':34} CPU {spent / minutes:5.2f} s a minute   memory {memory:.0f} MB"
            )
            write_messages(folder / "inbox" / "rekap.csv", messages)
            dropped = time.time()
            until(lambda: bool(done("load")))
            pause.wait(1)
            [load, *_] = done("load")
            report(
                min(set(done("land_jaki")) - seen, key=lambda r: instance.get_run_stats(r).end_time),
                f"landing {messages:,} messages",
            )
            report(load, f"load {messages:,} messages")
            meter.stopped.set()
            print(f"{'file dropped -> published':34} {instance.get_run_stats(load).end_time - dropped:5.1f} s")
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


if __name__ == "__main__":
    given = [int(a) for a in sys.argv[1:]]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        measure(Path(name), *(given + [500, 2][len(given) :]))
