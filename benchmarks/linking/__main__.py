"""Kanal's linker beside datasketch and Splink, on one set of made-up incidents refined once by the project itself.

    python -m benchmarks.linking 10000 [--seed N] [--only kanal,datasketch,splink] [--json FILE] [--work FOLDER]

`make bench-linking` installs the two and runs it. Each linker runs in a process of its own and sees the reports alone;
thresholds of the others are chosen before, on a set of another seed.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks.incidents.__main__ import SEED
from benchmarks.linking.data import Made, made
from benchmarks.linking.runs import LINKERS, Bounds, GaveUpError, Run, absent, bounded, run, variants
from benchmarks.linking.table import lined_up, notes, rows

_TRAIN = 50_000  # reports at most of the set on which thresholds are chosen: as many as there are to link, as the more
# reports stand near each other in time, the higher must a threshold be; a window of Splink's is full from 20,000 on


def main(arguments: list[str] | None = None) -> None:
    asked = _asked(arguments)
    wanted = [name for name in LINKERS if name in asked.only.split(",")]
    for name in absent(wanted):
        wanted.remove(name)
        print(f"SKIPPED: {name} is not installed; make bench-linking installs and runs it", file=sys.stderr)
    bounds = Bounds(asked.minutes, asked.gib)
    with ExitStack() as stack:
        work = asked.work or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kanal-linking-")))
        work.mkdir(parents=True, exist_ok=True)
        say = sys.stderr
        print(f"making {asked.count:,} reports of seed {asked.seed}", file=say)
        here = made(asked.count, asked.seed, work, anew=asked.anew)
        others = [name for name in wanted if name != "kanal"]
        train = made(min(asked.count, _TRAIN), asked.seed + 1, work, anew=asked.anew) if others else None
        runs: list[Run] = []
        for linker in wanted:
            print(f"{linker}: tuning, linking", file=say)
            try:
                ways = list(variants(linker, train, bounds, anew=asked.anew))
            except GaveUpError as error:
                runs.append(Run(linker, {}, None, None, None, f"tuning: {error}"))
                continue
            runs += [run(name, chosen, here, bounds) for name, chosen in ways]
        texts = _texts(here, bounds) if "datasketch" in wanted else None
        linked = pq.read_metadata(here.reports).num_rows
        print(f"seed {asked.seed}, {linked:,} reports; thresholds chosen on seed {asked.seed + 1}")
        print(lined_up(rows(runs)))
        for note in notes(runs, texts):
            print(note)
        if asked.json:
            _write(asked.json, runs, texts)


def _texts(here: Made, bounds: Bounds) -> dict[str, Any]:
    out = here.folder / "texts.json"
    bounded("texts", "datasketch", here.folder, out, bounds=bounds._replace(minutes=float("inf")))
    return json.loads(out.read_text("utf-8"))


def _write(path: Path, runs: list[Run], texts: dict[str, Any] | None) -> None:
    told = [
        {
            **r._asdict(),
            "scores": r.scores
            and {
                **r.scores.clustering._asdict(),
                **{name: dict(getattr(r.scores, name)) for name in ("copies", "hard", "recall_by_role")},
            },
        }
        for r in runs
    ]
    path.write_text(json.dumps({"runs": told, "texts": texts}, indent=1) + "\n", "utf-8")


def _asked(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", type=int, nargs="?", default=10_000)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--only", default=",".join(LINKERS), help="some of kanal, datasketch, splink; with commas")
    parser.add_argument("--json", type=Path, help="a file for all figures")
    parser.add_argument("--work", type=Path, help="a folder that keeps sets and what was chosen, to run again")
    parser.add_argument("--anew", action="store_true", help="make sets and choose again")
    parser.add_argument("--minutes", type=float, default=30, help="a linker is given up after so many")
    parser.add_argument("--gib", type=float, default=12, help="or beyond so much memory")
    asked = parser.parse_args(arguments)
    if unknown := set(asked.only.split(",")) - set(LINKERS):
        parser.error(f"--only: unknown {', '.join(sorted(unknown))}; known: {', '.join(LINKERS)}")
    return asked


if __name__ == "__main__":
    main()
