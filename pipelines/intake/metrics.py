"""What the intake counts, as Prometheus reads it. Labels are streams and outcomes, never what was sent."""

from __future__ import annotations

from collections import defaultdict

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)
_HELP = {
    "kanal_intake_requests_total": "Requests by stream and outcome; accepted ones are durable in landing",
    "kanal_intake_messages_total": "Messages by stream: landed, repeated (durable before), skipped (receipts)",
    "kanal_intake_batches_total": "Batches landed by stream",
    "kanal_intake_failures_total": "Batches that could not be landed, by stream",
    "kanal_intake_waiting": "Messages that wait to be landed",
    "kanal_intake_oldest_waiting_seconds": "Age of the oldest message that waits",
    "kanal_intake_commit_seconds": "Seconds a batch took to be durable",
}


class Metrics:
    def __init__(self) -> None:
        self._counts: defaultdict[tuple[str, tuple[tuple[str, str], ...]], float] = defaultdict(float)
        self._commits = [0] * (len(_BUCKETS) + 1)
        self._seconds = 0.0

    def count(self, name: str, by: float = 1, **labels: str) -> None:
        self._counts[f"kanal_intake_{name}_total", tuple(sorted(labels.items()))] += by

    def committed(self, seconds: float) -> None:
        self._seconds += seconds
        self._commits[next((n for n, bound in enumerate(_BUCKETS) if seconds <= bound), len(_BUCKETS))] += 1

    def text(self, waiting: int, oldest: float) -> str:
        """The exposition format, version 0.0.4."""
        lines: list[str] = []
        for name in sorted({name for name, _ in self._counts}):
            lines += [f"# HELP {name} {_HELP[name]}", f"# TYPE {name} counter"]
            for (other, labels), value in sorted(self._counts.items()):
                if other == name:
                    named = ",".join(f'{key}="{value}"' for key, value in labels)
                    lines.append(f"{name}{{{named}}} {value:g}")
        for name, gauge in (("kanal_intake_waiting", waiting), ("kanal_intake_oldest_waiting_seconds", oldest)):
            lines += [f"# HELP {name} {_HELP[name]}", f"# TYPE {name} gauge", f"{name} {gauge:g}"]
        name, total = "kanal_intake_commit_seconds", 0
        lines += [f"# HELP {name} {_HELP[name]}", f"# TYPE {name} histogram"]
        for bound, count in zip((*map(str, _BUCKETS), "+Inf"), self._commits, strict=True):
            total += count
            lines.append(f'{name}_bucket{{le="{bound}"}} {total}')
        lines += [f"{name}_sum {self._seconds:g}", f"{name}_count {total}"]
        return "\n".join(lines) + "\n"
