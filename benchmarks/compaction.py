"""A stream of single messages before and after `kanal compact`: listing, status, loading's reading, a put.

python -m benchmarks.compaction [100000 [folder]]: so many batches of one message each are written as Landing.put
writes them, but without waiting for the disk; then each thing is done, once, with small files and with
segments. Told are CPU seconds. The folder is made and left empty again.
"""

from __future__ import annotations

import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

from pipelines.contracts import Message, Stream
from pipelines.load import read_entry
from pipelines.settings import Settings
from pipelines.sinks.batches import BatchRef, encode_batch
from pipelines.sinks.compaction import compact
from pipelines.sinks.landing import Entry, Landing
from pipelines.status import status

STREAM = Stream("balai_warga", "formulir", "webhook", {"dialect": "form", "secret_env": "FORMULIR"})
KEY = (STREAM.channel, STREAM.name)
BEGIN = datetime(2026, 11, 1, tzinfo=UTC)
_ENTRY = 50_000  # messages a transaction of the warehouse


def fill(landing: Landing, count: int) -> None:
    """Batches 0..count-1 of one invented message of about 600 bytes each, five a second."""
    for n in range(count):
        at = BEGIN + timedelta(seconds=n / 5)
        said = {"isi": f"Lampu jalan mati di RT {n % 17:03} RW {n % 12:03}, laporan ke-{n}. " * 6, "id": f"{n:032x}"}
        message = Message(f"{n:032x}", "1", orjson.dumps(said), "application/json", at, occurred_at=at)
        footer = {
            "batch_id": f"{n * 7919:032x}", "cursor": {"n": n}, "landed_at": at.isoformat(),
            "landed_day": at.date().isoformat(), "run_id": "intake", "source": "webhook", "source_version": "1",
            "options": dict(STREAM.options),
        }  # fmt: skip
        path = landing.path(BatchRef(*KEY, n))
        if n % 1000 == 0:
            path.parent.mkdir(parents=True)
        path.write_bytes(encode_batch([message], at.date(), footer))


def measures(settings: Settings, count: int) -> dict[str, Callable[[], Any]]:
    refs = tuple(BatchRef(*KEY, n) for n in range(min(count, _ENTRY)))

    def put() -> None:
        landing = Landing(settings.landing_dir)
        head = landing.head(STREAM)
        for n in range(100):
            message = Message(f"baru-{head.sequence}-{n}", "1", b"{}", "application/json", BEGIN)
            won = landing.put(STREAM, head, [message], {"n": n}, source_version="1", run_id="b", now=BEGIN)
            assert won is not None
            head = won

    def audited() -> int:
        landing = Landing(settings.landing_dir)
        runs = landing.runs(*KEY, landing.sequences(*KEY))
        return sum(landing.table(*KEY, run, columns=["source_ref", "version"]).num_rows for run in runs)

    return {
        "list all batches": lambda: len(Landing(settings.landing_dir).sequences(*KEY)),
        "newest batch and cursor": lambda: Landing(settings.landing_dir).head(STREAM),
        "kanal status, nothing loaded": lambda: status(settings)["streams"][0]["messages"],
        f"read an entry of {len(refs):,} to load": lambda: (
            read_entry(Landing(settings.landing_dir), Entry(0, refs, {}))[0].num_rows
        ),
        "read all as the audit does": audited,
        "100 puts": put,
    }


def timed(call: Callable[[], Any]) -> float:
    """CPU seconds, system's included: the machine may have other work."""
    begin = time.process_time()
    call()
    return time.process_time() - begin


def main(count: int, parent: str | None) -> None:
    folder = Path(tempfile.mkdtemp(dir=parent))
    try:
        settings = Settings(folder, folder, folder, ())
        landing = Landing(settings.landing_dir)
        print(f"writing {count:,} batches: {timed(lambda: fill(landing, count)):.0f} s")
        before = {name: timed(call) for name, call in measures(settings, count).items()}
        rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        begin = time.process_time()
        done = compact(landing, *KEY)
        seconds = time.process_time() - begin
        more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - rss) / 1024
        print(
            f"compacting: {seconds:.1f} CPU s, {done.batches / seconds:,.0f} batches a second, {more:.0f} MiB more than"
            f" reading took; {done.files_before:,} files, {done.bytes_before / 1e6:,.0f} MB ->"
            f" {done.files_after:,} files, {done.bytes_after / 1e6:,.0f} MB"
        )
        after = {name: timed(call) for name, call in measures(settings, count).items()}
        for name, seconds in before.items():
            print(f"{name:<40} {seconds:9.3f} s {after[name]:9.3f} s   {seconds / after[name]:7.1f} times")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000, sys.argv[2] if len(sys.argv) > 2 else None)
