"""python -m benchmarks.incidents COUNT --out FOLDER --seed N: write the set and say what is in it."""

from __future__ import annotations

import argparse
import re
import resource
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from benchmarks.incidents import generate
from benchmarks.incidents.export import write
from benchmarks.incidents.knowledge import WORDINGS
from benchmarks.incidents.shapes import HARD, ROLES, HardPair, Report
from benchmarks.incidents.world import Item

SEED = 20261126
_WORDS = re.compile(r"[^\W\d_]{2,}")
_SEEN = 100_000  # texts of which words are counted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int, nargs="?", default=100_000)
    parser.add_argument("--out", type=Path, required=True, help="a folder without a kanal.toml")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--wordings", choices=WORDINGS, default=WORDINGS[0], help="unseen: not tuned on")
    asked = parser.parse_args()
    begin, told, hard = time.perf_counter(), _Summary(), Counter[str]()

    def counted() -> Iterator[Item]:
        for item in generate(asked.count, asked.seed, asked.wordings):
            if isinstance(item, HardPair):
                hard[item.hard] += 1
            yield item

    bar = Progress("reports", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), disable=not sys.stderr.isatty())
    with bar:
        task = bar.add_task("", total=asked.count)
        for number, report in enumerate(write(counted(), asked.out)):
            told.add(report)
            if number % 1_000 == 0:
                bar.update(task, completed=told.reports)
        bar.update(task, completed=told.reports)
    print(f"seed {asked.seed}, {time.perf_counter() - begin:.1f} s, at most {_peak_mib():,.0f} MiB, in {asked.out}")
    told.show()
    print("hard pairs: " + ", ".join(f"{name} {hard[name]:,}" for name in HARD))


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class _Summary:
    def __init__(self) -> None:
        self.reports = self.versions = self.bare = 0
        self.roles, self.places, self.channels = Counter[str](), Counter[str](), Counter[str]()
        self.sizes, self.lengths, self.words = Counter[int](), Counter[int](), set[str]()

    def add(self, report: Report) -> None:
        if report.version > 1:
            self.versions += 1
            return
        self.reports += 1
        self.bare += report.lat is None
        self.roles[report.role] += 1
        self.places.update(report.place.split("+") if report.place else ["nothing"])
        self.channels[report.channel] += 1
        self.sizes[report.incident] += 1
        self.lengths[len(report.text)] += 1
        if self.reports <= _SEEN:
            self.words.update(_WORDS.findall(report.text.lower()))

    def show(self) -> None:
        sizes = Counter(self.sizes.values())
        print(f"{self.reports:,} reports of {len(self.sizes):,} incidents, {self.versions:,} later versions")
        print(f"without coordinates {self.bare / self.reports:.1%}; most reports of one incident {max(sizes)}")
        print("reports by size of their incident: " + _shares(_grouped(sizes), self.reports))
        for name, counter, order in (
            ("role", self.roles, ROLES),
            ("place told", self.places, None),
            ("channel", self.channels, None),
        ):
            known = {k: counter[k] for k in order} if order else dict(counter.most_common())
            print(f"{name}: {_shares(known, self.reports)}")
        lengths = sorted(self.lengths.elements())
        marks = ", ".join(
            f"{p}% {lengths[min(len(lengths) - 1, len(lengths) * p // 100)]}" for p in (1, 10, 50, 90, 99)
        )
        print(
            f"characters of a text: {marks}; distinct words in the first {min(_SEEN, self.reports):,}: {len(self.words):,}"
        )


def _grouped(sizes: Counter[int]) -> dict[str, int]:
    grouped = Counter[str]()
    for size, times in sorted(sizes.items()):
        name = str(size) if size < 4 else "4-9" if size < 10 else "10-29" if size < 30 else "30 and more"
        grouped[name] += size * times
    return dict(grouped)


def _shares(counts: dict[str, int], whole: int) -> str:
    return ", ".join(f"{name} {n / whole:.1%}" for name, n in counts.items())


if __name__ == "__main__":
    main()
