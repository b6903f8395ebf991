"""What a linker costs: wall and CPU seconds of its parts, and the most memory of the process it runs in."""

from __future__ import annotations

import resource
import time
from pathlib import Path
from typing import NamedTuple


class Spent(NamedTuple):
    """Seconds on the wall and of the processors, children's included."""

    seconds: float
    cpu: float


class Laps:
    """Seconds since the lap before, by name, from the moment at which this is made."""

    def __init__(self) -> None:
        self.laps: dict[str, Spent] = {}
        self._last = self._first = _now()

    def lap(self, name: str) -> None:
        now = _now()
        self.laps[name] = _between(self._last, now)
        self._last = now

    def total(self) -> Spent:
        """Of all laps that were ended."""
        return _between(self._first, self._last)


def _now() -> Spent:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return Spent(time.perf_counter(), sum(u.ru_utime + u.ru_stime for u in used))


def _between(start: Spent, end: Spent) -> Spent:
    return Spent(end.seconds - start.seconds, end.cpu - start.cpu)


def peak_mib() -> float:
    """The most resident memory that this process had.

    Linux' own figure where there is one: ru_maxrss of a fresh process begins with what its parent had.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def resident_mib(pid: int) -> float:
    """What a process has now; 0 where it has ended or the system does not say."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:")), 0.0)
