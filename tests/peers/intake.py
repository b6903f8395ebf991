"""The real `kanal intake` in a process of its own, on a free port of 127.0.0.1."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipelines.contracts import Message
from pipelines.settings import Settings
from pipelines.sinks.landing import BatchRef, Landing

_SECONDS = 30.0
_LISTENS = re.compile(r"listens on http://127\.0\.0\.1:(\d+)")


@dataclass
class Intake:
    """A running intake. log: all it wrote, to stdout and stderr."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> int:
        """SIGTERM; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(_SECONDS)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(_SECONDS)


def start(settings: Settings, secrets: Mapping[str, str], *, port: int = 0) -> Intake:
    """Start it and wait until it listens. RuntimeError with its log where it does not."""
    log = settings.path.with_suffix(".intake.log")
    before = log.stat().st_size if log.exists() else 0
    with log.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "pipelines.cli", "intake", "--config", str(settings.path), "--port", str(port)],
            stdout=out,
            stderr=out,
            env={**os.environ, **secrets},
            cwd=Path(__file__).parents[2],
        )
    end = time.monotonic() + _SECONDS
    while True:
        text = log.read_bytes()[before:].decode("utf-8", "replace")
        if found := _LISTENS.search(text):
            return Intake(process, int(found[1]), log)
        if process.poll() is not None or time.monotonic() > end:
            process.kill()
            raise RuntimeError(f"the intake did not start:\n{text}")
        time.sleep(0.02)


@contextmanager
def running(settings: Settings, secrets: Mapping[str, str]) -> Iterator[Intake]:
    intake = start(settings, secrets)
    try:
        yield intake
    finally:
        intake.kill()


def landed(settings: Settings, key: str) -> list[Message]:
    """Every message of a stream, in landing order."""
    landing = Landing(settings.landing_dir)
    channel, stream = key.split("/")
    found = []
    for sequence in landing.sequences(channel, stream):
        for row in landing.read(BatchRef(channel, stream, sequence)).to_pylist():
            del row["landed_day"]
            found.append(Message(**row))
    return found
