"""`kanal mapping new`: how many columns it maps right without help.

    python -m benchmarks.mapping_quality [--data FOLDER]

Truth are the mappings of samples/kanal.toml and, for an operator's folder of real exports (not part of this project),
those of tests/real/kanal.toml. A column is right where the proposal gives it the field that people gave it, or leaves
it alone where they did. Prints each file's count and what differs; last, both sets with their headers hidden
("kolom 1", "kolom 2"), as the dictionary of names has seen these files: that is what the cells alone tell.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipelines import columns, propose
from pipelines.errors import KanalError
from pipelines.settings import Settings, load
from pipelines.sources import export, sample
from pipelines.sources.headings import fold

_ALSO = {"external_ref", "source_url"}
_ROOT = Path(__file__).resolve().parent.parent


def fields(options: dict[str, Any]) -> dict[str, set[str]]:
    """folded column -> fields that read it; no id of several columns, which only people can know of."""
    found: dict[str, set[str]] = {}
    also = options.get("by_hand", {}).get("also", {})
    for name, value in options["columns"].items():
        names = value.get("first", value.get("columns")) if isinstance(value, dict) else value
        columns = [names] if isinstance(names, str) else names
        if name == "id" and len(columns) > 1 and not isinstance(value, dict):
            continue
        for column in columns:
            for heading in (column, *also.get(column, ())):
                found.setdefault(fold(heading), set()).add(name)
    return found


def files(settings: Settings) -> Iterator[tuple[Path, dict[str, Any]]]:
    """(first file, options) of each export stream; one of streams over the same file."""
    seen = set()
    for stream in settings.streams:
        if stream.source != "export":
            continue
        plan = export.plan_of(stream)
        folder = Path(stream.root, plan.inbox or "")
        if (path := next(iter(sorted(folder.glob(plan.pattern))), None)) and path not in seen:
            seen.add(path)
            yield path, dict(stream.options)


def judge(settings: Settings, path: Path, options: dict[str, Any]) -> tuple[int, int, list[str]]:
    """(right, columns, what differs)."""
    with path.open("rb") as file:
        names = sample.tables(file, path.name, propose.vocabulary(settings).is_name)[0].columns
    truth, mine = fields(options), fields(propose.propose(settings, path).options)
    parts = isinstance(options["columns"].get("id"), list)
    wrong = []
    for name in names:
        want, got = truth.get(fold(name), set()), mine.get(fold(name), set()) - ({"id"} if parts else set())
        # That an id is the CRM's number or an address as well is for people to know.
        if (want - _ALSO or want) != (got - _ALSO or got):
            wrong.append(f"{name}: {'/'.join(sorted(want)) or '-'} taken for {'/'.join(sorted(got)) or '-'}")
    return len(names) - len(wrong), len(names), wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=_ROOT.parent / "shared" / "data")
    real = parser.parse_args().data
    for what, config in (("samples", "samples/kanal.toml"), ("real", "tests/real/kanal.toml")):
        settings = load(_ROOT / config)
        right = every = 0
        for path, options in files(settings) if what == "samples" else real_files(settings, real):
            try:
                good, count, wrong = judge(settings, path, options)
            except KanalError as error:
                good, count, wrong = 0, len(options["columns"]), [str(error)]
            right, every = right + good, every + count
            print(f"{path.name:32} {good}/{count}  {'; '.join(wrong)}")
        if every:
            print(f"{what}: {right}/{every} = {right / every:.3f}\n")
    blind(load(_ROOT / "samples/kanal.toml"), real)


def blind(settings: Settings, folder: Path) -> None:
    """Fields found by the look of cells alone, of those that people declared."""
    known = propose.vocabulary(settings)
    found = [*files(settings), *real_files(load(_ROOT / "tests/real/kanal.toml"), folder)]
    right = wrong = declared = 0
    for path, options in found:
        with path.open("rb") as file:
            table = sample.tables(file, path.name, known.is_name)[0]
        hidden = {name: f"kolom {n}" for n, name in enumerate(table.columns, 1)}
        rows = [{hidden[name]: cell for name, cell in row.items()} for row in table.rows]
        chosen = propose.choose(columns.looks(hidden.values(), rows, known), known)
        truth = {hidden[n]: fields(options, table.columns).get(fold(n), set()) for n in table.columns}
        declared += sum(map(bool, truth.values()))
        for name, column in chosen.items():
            good = name in truth[column]
            right, wrong = right + good, wrong + (not good)
    print(f"headers hidden: {right}/{declared} declared columns found, {wrong} taken for something else")


def real_files(settings: Settings, folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    seen = set()
    for stream in settings.streams:
        if stream.source == "export":
            path = folder / Path(stream.options["inbox"]).name / stream.options["pattern"]
            if path.exists() and path not in seen:
                seen.add(path)
                yield path, dict(stream.options)


if __name__ == "__main__":
    main()
