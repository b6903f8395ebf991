"""Each linker's runs, in processes of their own, bounded in time and memory."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from benchmarks.linking.data import Made
from benchmarks.linking.measured import resident_mib
from pipelines.agreement import Scores, evaluate

LINKERS = ("kanal", "datasketch", "splink")
_ROOT = Path(__file__).resolve().parents[2]


class Bounds(NamedTuple):
    minutes: float
    gib: float


class Run(NamedTuple):
    """One linker over the set. scores, spent: None where it was given up, for the reason `gave_up`.

    spent: laps and total (seconds, CPU seconds), peak_mib, before_mib. looked_at: (pairs that blocking gave, share of
    the same-incident pairs among them), for Splink.
    """

    name: str
    chosen: dict[str, Any]
    scores: Scores | None
    spent: dict[str, Any] | None
    looked_at: tuple[int, float] | None
    gave_up: str | None


class GaveUpError(Exception):
    """A run took longer or more memory than it may, or failed."""


def absent(linkers: Sequence[str]) -> list[str]:
    """Those whose package is not installed."""
    return [name for name in linkers if name != "kanal" and importlib.util.find_spec(name) is None]


def variants(linker: str, train: Made | None, bounds: Bounds, *, anew: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    """(name, what was chosen on the training set) of each way in which a linker is run.

    Tuning has no bound on its time: it is not what is measured.
    """
    if linker == "kanal" or train is None:
        yield linker, {}
        return
    kept = train.folder / f"{linker}.json"
    if anew or not kept.exists():
        bounded("tune", linker, train.folder, kept, bounds=bounds._replace(minutes=float("inf")))
    for way, chosen in json.loads(kept.read_text("utf-8")).items():
        yield f"{linker}, {_NAMES.get(way, way)}", chosen


_NAMES = {"em": "EM", "labels": "m from labels", "pure": "m from labels, pure tickets"}


def run(name: str, chosen: dict[str, Any], made: Made, bounds: Bounds) -> Run:
    """Link the set and meet the truth."""
    out = made.folder / name.replace(", ", "-").replace(" ", "_")
    out.mkdir(exist_ok=True)
    (out / "chosen.json").write_text(json.dumps(chosen), "utf-8")
    told = {k: v for k, v in chosen.items() if k not in ("tried", "model")}
    try:
        bounded("link", name.split(",")[0], made.reports, out / "chosen.json", out, bounds=bounds)
    except GaveUpError as error:
        return Run(name, told, None, None, None, str(error))
    truth = pd.read_parquet(made.truth)
    scores = evaluate(truth, pd.read_parquet(made.hard), pd.read_parquet(out / "tickets.parquet"))
    spent = json.loads((out / "spent.json").read_text("utf-8"))
    pairs = out / "pairs.parquet"
    return Run(name, told, scores, spent, completeness(truth, pd.read_parquet(pairs)) if pairs.exists() else None, None)


def completeness(truth: pd.DataFrame, pairs: pd.DataFrame) -> tuple[int, float]:
    """(pairs, share of the same-incident pairs among them). pairs: a, b, rows of the truth."""
    incident = truth["incident"].where(truth["role"] != "not_fixed", -1).to_numpy()
    a, b = incident[pairs["a"].to_numpy()], incident[pairs["b"].to_numpy()]
    sizes = truth.loc[truth["role"] != "not_fixed", "incident"].value_counts()
    true = int((sizes * (sizes - 1) // 2).sum())
    return len(pairs), float(((a == b) & (a >= 0)).sum() / true) if true else 1.0


def bounded(step: str, linker: str, *paths: Path, bounds: Bounds) -> None:
    """Run benchmarks.linking.one. Raises GaveUpError beyond the bounds, or with the last line of what went wrong."""
    begin = time.monotonic()
    command = [sys.executable, "-m", "benchmarks.linking.one", step, linker, *map(str, paths)]
    with subprocess.Popen(command, cwd=_ROOT, stderr=subprocess.PIPE, text=True) as child:
        while child.poll() is None:
            wrong = None
            if time.monotonic() - begin > bounds.minutes * 60:
                wrong = f"{bounds.minutes:g} minutes were not enough"
            elif resident_mib(child.pid) > bounds.gib * 1024:
                wrong = f"{bounds.gib:g} GiB were not enough"
            if wrong:
                child.kill()
                raise GaveUpError(wrong)
            time.sleep(0.2)
        said = child.stderr.read() if child.stderr else ""
        if child.returncode:
            raise GaveUpError(said.strip().rsplit("\n", 1)[-1] or f"ended with {child.returncode}")
