"""What `kanal` prints: tables, progress, and the words at the end of a run.

Results go to stdout, progress and errors to stderr, so a script can pipe the one and drop the
other. Not here: deciding anything.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import orjson
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from pipelines.flow import Progress as Tick
from pipelines.flow import RunResult

_WIDE = 160  # columns where there is no terminal to ask: a log or a file
out = Console(highlight=False, width=None if sys.stdout.isatty() else _WIDE)
err = Console(stderr=True, highlight=False)


def print_json(value: Any) -> None:
    """One JSON document on stdout; dates and paths as text."""
    data = orjson.dumps(value, default=str, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS)
    print(data.decode())


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], *, numbers: Sequence[str] = ()) -> Table:
    """A table fit for stdout; the columns named in `numbers` stand right."""
    made = Table(
        title=title, title_justify="left", title_style="bold", header_style="dim", box=SIMPLE_HEAD, pad_edge=False
    )
    for name in columns:
        kept = name in numbers or name in _UNBROKEN
        made.add_column(name, justify="right" if name in numbers else "left", overflow="fold", no_wrap=kept)
    for row in rows:
        made.add_row(*(show(value) for value in row))
    return made


def show(value: Any) -> str:
    """A value as people read it."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.1f}"
    return escape(str(value))


_UNBROKEN = (
    "stream",
    "message",
    "ticket_no",
    "external_ref",
    "report_id",
    "occurred_at",
    "opened_at",
    "happened_at",
    "figure",
)


@contextmanager
def progress() -> Iterator[Tick]:
    """A callback for flow: bars on a terminal, one line a stage elsewhere."""
    if not err.is_terminal:
        yield _Lines()
        return
    bars = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=err,
        transient=True,
    )
    tasks: dict[str, TaskID] = {}

    def tick(what: str, steps: int, total: int | None) -> None:
        if what not in tasks:
            tasks[what] = bars.add_task(what, total=total)
        bars.update(tasks[what], advance=steps, total=total)

    with bars:
        yield tick


class _Lines:
    """Says each stage once."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def __call__(self, what: str, steps: int, total: int | None) -> None:
        said = f"{what}: {total:,}" if total else what
        if said not in self._said:
            self._said.add(said)
            err.print(said, markup=False)


_RUN_COLUMNS = ("stream", "pulled", "new", "repeats", "filtered", "quarantined", "opened", "joined", "seconds")


def run_rows(result: RunResult) -> list[dict[str, Any]]:
    """A row a stream: what was pulled, and what became of everything loaded in this run."""
    rows: dict[str, dict[str, Any]] = {}
    for pulled in result.pulled:
        rows[pulled.stream] = dict.fromkeys(_RUN_COLUMNS, 0) | {
            "stream": pulled.stream,
            "pulled": pulled.messages,
            "seconds": round(pulled.seconds, 2),
        }
    for stream, counts in result.loaded.streams.items():
        row = rows.setdefault(stream, dict.fromkeys(_RUN_COLUMNS, 0) | {"stream": stream})
        row |= {name: counts[name] for name in ("repeats", "filtered", "quarantined", "opened", "joined")}
        row["new"] = counts["reports"] + counts["events"]
    return list(rows.values())


def print_run(result: RunResult) -> None:
    """The table every run ends with, and what went wrong."""
    rows = run_rows(result)
    total = {name: sum(row[name] for row in rows) for name in _RUN_COLUMNS[1:]}
    total["seconds"] = sum(result.seconds.values())
    shown = [
        [row[name] for name in _RUN_COLUMNS] for row in rows if row["pulled"] or row["new"] or row["stream"][0] != "_"
    ]
    made = table("This run", _RUN_COLUMNS, [*shown, ["all", *total.values()]], numbers=_RUN_COLUMNS[1:])
    out.print(made)
    stages = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in result.seconds.items())
    out.print(f"\n{stages}; {result.delivered:,} tickets delivered to the CRM store")
    if not total["pulled"] and not total["new"] and not result.failures:
        out.print("0 new messages: everything the channels hold is in the store already")
    if result.loaded.quarantined:
        out.print(
            f"[yellow]{result.loaded.quarantined:,} messages were set aside; read why in table quarantine of the"
            " snapshot, mend the source or the mapping, and send them again[/yellow]"
        )
    for name, what in result.failures.items():
        err.print(f"[red]failed[/red] {show(name)}: {show(what)}")
