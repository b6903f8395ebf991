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
from pathlib import Path

import dagster as dg  # noqa: TID251 - it is what is measured
import psutil

from pipelines import knowledge as known
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


def tree(root: psutil.Process) -> dict[int, psutil.Process]:
    return {p.pid: p for p in [root, *root.children(recursive=True)]}


def seconds(process: psutil.Process, *, ended: bool) -> float:
    """CPU of the process itself, or of the children it has seen end."""
    times = process.cpu_times()
    return times.children_user + times.children_system if ended else times.user + times.system


def measure(folder: Path, messages: int, ticks: int) -> None:
    (folder / "inbox").mkdir()
    (folder / "home").mkdir()
    (folder / "home" / "dagster.yaml").symlink_to(ROOT / "dagster.yaml")
    config = folder / "kanal.toml"
    config.write_text(TOML, "utf-8")
    known.build_classifier(kanal_settings.load(config))
    environment = os.environ | {"DAGSTER_HOME": str(folder / "home"), "KANAL_CONFIG": str(config)}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    command = [sys.executable, "-W", "ignore", "-m", "dagster", "dev", "-h", "127.0.0.1", "-p", port]
    begin, pause, log = time.monotonic(), threading.Event(), (folder / "log").open("wb")
    process = subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True, stdout=log, stderr=log)
    try:
        with dg.DagsterInstance.from_config(str(folder / "home")) as instance:

            def until(reached: Callable[[], bool]) -> None:
                while not reached():
                    if time.monotonic() - begin > LIMIT or process.poll() is not None:
                        raise SystemExit("gave up: Dagster did not get there in ten minutes")
                    pause.wait(0.5)

            def done(job: str) -> list[str]:
                filters = dg.RunsFilter(job_name=job, statuses=[dg.DagsterRunStatus.SUCCESS])
                return [r.run_id for r in instance.get_runs(filters=filters)]

            def report(run_id: str, what: str, cpu: float) -> None:
                stats = instance.get_run_stats(run_id)
                wall, inside = stats.end_time - stats.launch_time, stats.end_time - stats.start_time
                print(f"{what:34} wall {wall:5.2f} s (of it in steps {inside:5.2f} s)   CPU {cpu:5.2f} s", flush=True)

            until(lambda: bool(done("land_jaki")))
            server = next(
                p for p in tree(psutil.Process(process.pid)).values() if "api" in p.cmdline() and "grpc" in p.cmdline()
            )
            waiting = {p.pid: seconds(p, ended=False) for p in tree(psutil.Process(process.pid)).values()}
            waited = time.monotonic()
            for _ in range(ticks):
                known_runs, before = set(done("land_jaki")), seconds(server, ended=True)
                until(lambda known_runs=known_runs: bool(set(done("land_jaki")) - known_runs))
                pause.wait(1)  # until the code server has seen its child end
                [run_id] = set(done("land_jaki")) - known_runs
                report(run_id, "idle tick: landing, nothing new", seconds(server, ended=True) - before)
            spent = [
                seconds(p, ended=False) - waiting[p.pid]
                for p in tree(psutil.Process(process.pid)).values()
                if p.pid in waiting
            ]
            minutes = (time.monotonic() - waited) / 60
            memory = sum(p.memory_full_info().pss for p in tree(psutil.Process(process.pid)).values())
            print(
                f"{'daemon, server and UI, waiting':34} CPU {sum(spent) / minutes:5.2f} s a minute   memory {memory / 1e6:.0f} MB"
            )
            known_runs, before = set(done("land_jaki")), seconds(server, ended=True)
            write_messages(folder / "inbox" / "rekap.csv", messages)
            dropped = time.time()
            until(lambda: bool(done("load")))
            pause.wait(1)
            landing = min(set(done("land_jaki")) - known_runs, key=lambda r: instance.get_run_stats(r).end_time)
            [load] = done("load")
            report(landing, f"landing {messages:,} messages", float("nan"))
            report(load, f"load {messages:,} messages", float("nan"))
            print(f"{'both, and idle ticks in between':34} CPU {seconds(server, ended=True) - before:5.2f} s")
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
