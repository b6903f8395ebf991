"""Landing -> tickets on made-up messages: messages per second, seconds a stage, peak memory.

    python -m benchmarks.pipeline 100000 1000000

Each size runs in a new folder and a new process. Landing is written first and not counted; counted
are load (read, refine, link, ticket, write), deliver and publish, as `kanal run` does them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import psutil

from benchmarks.generate import COPIES, DAYS, SEED, START, messages

_BATCH = 2_000
_TOML = """
[kanal]
data_dir = "data"

[[stream]]
channel = "jaki"
name = "app"
source = "export"
dates = ["%d/%m/%Y %H:%M:%S"]
columns = {id = "id", external_ref = "nomor", text = "isi", occurred_at = "tanggal", category = "kategori", lat = "lat", lon = "lon", author_ref = "akun"}
"""  # noqa: E501


def measure(count: int, folder: Path) -> dict[str, object]:
    """Run one size in `folder`; figures as a dict."""
    from pipelines import flow, settings
    from pipelines.sinks.landing import Landing

    path = folder / "kanal.toml"
    path.write_text(_TOML, "utf-8")
    found = settings.load(path)
    [stream] = found.streams
    landing = Landing(found.landing_dir)
    now = START.astimezone(UTC) + timedelta(days=DAYS + 1)
    made, head = messages(count, fetched_at=now), landing.head(stream)
    begin = time.perf_counter()
    while batch := list(islice(made, _BATCH)):
        landed = landing.put(stream, head, batch, {"n": head.sequence + 2}, source_version="1", run_id="bench", now=now)
        head = landed or head
    seconds = {"(made and landed)": time.perf_counter() - begin}
    from pipelines.classifiers import build

    begin = time.perf_counter()
    build(found)
    seconds["(classifier built)"] = time.perf_counter() - begin
    with _Peak() as peak:
        begin = time.perf_counter()
        loaded = flow.load(found, run_id="bench", now=lambda: datetime.now(UTC))
        seconds |= {"load": time.perf_counter() - begin} | {f"  {k}": v for k, v in loaded.seconds.items()}
        for name, step in (
            ("deliver", lambda: flow.deliver(found)),
            ("publish", lambda: flow.publish(found, hurry=True)),
        ):
            lap = time.perf_counter()
            step()
            seconds[name] = time.perf_counter() - lap
        total = time.perf_counter() - begin
    return {
        "messages": count, "seconds": seconds, "total": total, "per_second": count / total, "cpu": peak.cpu_seconds,
        "peak_mib": peak.most / 2**20, "opened": loaded.opened, "joined": loaded.joined, "quarantined": loaded.quarantined,
    }  # fmt: skip


class _Peak:
    """Most memory (unshared pages) and the CPU seconds of this process and its children, looked at ten times a second."""

    def __enter__(self) -> _Peak:
        self.most = 0
        self._cpu: dict[int, float] = {}
        self._before = sum(psutil.Process().cpu_times()[:2])
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    @property
    def cpu_seconds(self) -> float:
        return sum(self._cpu.values()) - self._before

    def _look(self) -> None:
        me = psutil.Process()
        while not self._done.wait(0.1):
            try:
                mine = [me, *me.children(recursive=True)]
                self.most = max(self.most, sum(p.memory_full_info().uss for p in mine))
                self._cpu |= {p.pid: sum(p.cpu_times()[:2]) for p in mine}
            except psutil.NoSuchProcess:
                continue


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", nargs="*", type=int, default=[100_000, 1_000_000])
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(measure(asked.sizes[0], asked.one)))
        return
    print(f"seed {SEED}, {COPIES:.0%} planted duplicates, {os.cpu_count()} cores")
    results = []
    for size in asked.sizes:
        with tempfile.TemporaryDirectory(prefix="kanal-bench-") as folder:
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.pipeline", str(size), "--one", folder],
                check=True,
                stdout=subprocess.PIPE,
            )
        found = json.loads(done.stdout)
        results.append(found)
        print(
            f"\n{size:,} messages: {found['total']:.1f} s, {found['per_second']:,.0f} a second, {found['cpu']:.0f} CPU-s,"
            f" peak {found['peak_mib']:,.0f} MiB,"
            f" {found['opened']:,} tickets opened, {found['joined']:,} joined, {found['quarantined']:,} quarantined"
        )
        for name, seconds in found["seconds"].items():
            print(f"  {name:22} {seconds:8.1f} s  {1e6 * seconds / size:8.1f} us a message")
    if len(results) > 1:
        first, last = results[0], results[-1]
        print(
            f"\n{last['messages'] / first['messages']:.0f} times the messages: {last['total'] / first['total']:.1f} times the time,"
            f" {last['peak_mib'] / first['peak_mib']:.1f} times the memory"
        )


if __name__ == "__main__":
    main()
