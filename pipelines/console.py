"""What `kanal` prints: tables, progress, and the words at the end of a run.

Results go to stdout, progress and errors to stderr, so a script can pipe the one and drop the
other. Not here: deciding anything.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from pipelines.contracts import WIB
from pipelines.errors import SettingsError
from pipelines.flow import Progress as Tick
from pipelines.flow import RunResult
from pipelines.learn import Outcome
from pipelines.regroup import Regrouped
from pipelines.review import Told
from pipelines.training import Trained

_WIDE = 160  # columns where there is no terminal to ask: a log or a file
out = Console(highlight=False, width=None if sys.stdout.isatty() else _WIDE)
err = Console(stderr=True, highlight=False)


def print_json(value: Any) -> None:
    """One JSON document on stdout; dates and paths as text."""
    data = orjson.dumps(value, default=str, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS)
    print(data.decode())


def write_json(path: Path, value: Any) -> None:
    """One JSON document in a file; SettingsError where it cannot be written."""
    try:
        path.write_bytes(orjson.dumps(value, default=str, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS))
    except OSError as error:
        raise SettingsError(f"{path} cannot be written: {error.strerror}") from error


def append(path: Path, text: str) -> None:
    """Text at the end of a file, made where it is not there; SettingsError where it cannot be written."""
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise SettingsError(f"{path} cannot be written: {error.strerror}") from error


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


@contextmanager
def stages() -> Iterator[Callable[[str, int, int], None]]:
    """A callback (stage, done, of) for training and measuring."""
    with progress() as tick:
        steps: dict[str, int] = {}

        def at(stage: str, done: int, of: int) -> None:
            tick(stage, done - steps.get(stage, 0), of)
            steps[stage] = done

        yield at


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
    for gap in result.gaps:
        err.print(gap, style="bold red", markup=False, soft_wrap=True)
    for name, what in result.failures.items():
        err.print(f"[red]failed[/red] {show(name)}: {show(what)}")


# --- classifiers ----------------------------------------------------------------------------


def print_figures(found: dict[str, Any]) -> None:
    """What `kanal model evaluate` found."""
    heads = found["heads"]
    columns = ("", *heads)
    names = (
        "rows",
        "labels",
        "accuracy",
        "macro_f1",
        "calibration_error",
        "accept",
        "coverage",
        "accuracy_where_accepted",
    )
    rows = [(name, *(_figure(heads[h][name]) for h in heads)) for name in names]
    rows += [
        (f"accuracy of the surest {float(share):.0%}", *(_figure(heads[h]["accuracy_at"][share]) for h in heads))
        for share in next(iter(heads.values()))["accuracy_at"]
    ]
    if "texts_per_second" in found:
        rows.append(("texts per second, one core", *([f"{found['texts_per_second']:,}"] * len(heads))))
    out.print(table(f"Classifier {found['model']} on {found['data']}", columns, rows, numbers=tuple(heads)))
    for head, told in heads.items():
        classes = [
            (c["label"], c["rows"], *(f"{c[k]:.2f}" for k in ("precision", "recall", "f1"))) for c in told["classes"]
        ]
        out.print(
            table(f"\n{head}: labels", ("label", "rows", "precision", "recall", "F1"), classes,
                  numbers=("rows", "precision", "recall", "F1"))
        )  # fmt: skip
        pairs = [(p["right"], p["judged"], p["rows"], " ".join(p["examples"])) for p in told["confusion"]]
        out.print(
            table(f"\n{head}: most often confused", ("right", "judged", "rows", "e.g."), pairs, numbers=("rows",))
        )
    if found.get("learned_from"):
        out.print(
            f"These figures flatter: {found['model']} learned from this very file. What it makes of rows it never saw"
            " is in its card: kanal model list",
            style="yellow", markup=False,
        )  # fmt: skip
    for head, labels in found.get("unknown_labels", {}).items():
        if labels:
            most = ", ".join(f"{label} ({rows:,})" for label, rows in list(labels.items())[:8])
            out.print(
                f"{head}: {sum(labels.values()):,} rows have labels that are no {head} here: {most}", markup=False
            )


def _figure(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else show(value)


def print_trained(made: Trained) -> None:
    """What was learned from, how it compares, and whether it judges from now on."""
    card = made.card
    rows = [
        (head, f["rows"], f["labels"], *(_figure(f[k]) for k in ("accuracy", "macro_f1", "calibration_error")),
         _figure(f["accuracy_at"]["0.8"]), _gained(card["compared"].get(head)))
        for head, f in card["heads"].items()
    ]  # fmt: skip
    columns = ("head", "rows", "labels", "accuracy", "macro-F1", "calibration error", "accuracy of the surest 80%",
               f"macro-F1 over {card['champion']}")  # fmt: skip
    out.print(table(f"The newest rows of {card['data']}, never learned from", columns, rows, numbers=columns[1:7]))
    for what, told in (
        ("are too few of their label", "small_labels"),
        ("have a label no alias knows", "unknown_labels"),
    ):
        for head, count in card[told].items():
            if count:
                out.print(f"{head}: {count:,} of {card['rows']:,} rows {what} and taught nothing", markup=False)
    if card["also_in_training"] > 0.01:
        out.print(f"{card['also_in_training']:.1%} of the newest texts stand word for word among the older ones")
    if made.version:
        out.print(f"\n{made.version} judges from the next run on; the one before: kanal model rollback", markup=False)
    else:
        err.print(f"refused: {made.refused}", style="red", markup=False)


def _gained(compared: dict[str, Any] | None) -> str:
    if compared is None:
        return "knows no such labels"
    low, high = compared["interval"]
    return f"{compared['gain']:+.3f} ({low:+.3f} to {high:+.3f})"


def print_learned(found: Outcome) -> None:
    """What was learned of places, and how right it is."""
    rows = [
        ("reports read", found.rows),
        ("learned from", found.used),
        ("of no kelurahan that is known", found.unknown),
        ("without words", found.silent),
        *((f"phrases: {kind}", n) for kind, n in found.kinds.items()),
    ]
    out.print(table("Learned", ("what", "count"), rows, numbers=("count",)))
    shares = [(f"surest {share:.0%}", f"{share:.1%}", f"{right:.1%}") for share, right in found.curve]
    for name, (share, right) in (("names alone", found.names), ("as runs place them", found.learned)):
        shares.append((name, f"{share:.1%}", f"{right:.1%}"))
    out.print("The newest fifth, placed by what the rest teaches:")
    out.print(table("", ("reports", "placed", "right"), shares, numbers=("placed", "right")))
    if found.files:
        out.print("Runs use it from now on. It can be read and mended: " + str(found.files[0]), soft_wrap=True)
    else:
        out.print("nothing written (--dry-run)")


_TEXT = 300  # characters of a ticket's text in the queue: enough to decide most of them


def print_queue(rows: Sequence[dict[str, Any]], waiting: dict[str, int]) -> None:
    """What waits for a person, a block a ticket, and how many wait for what."""
    for row in rows:
        alarm = f"[bold red]{show(row['emergency_label'])}[/bold red]  " if row["emergency"] else ""
        opened = row["opened_at"].astimezone(WIB)
        out.print(
            f"{row['place']:>4}  [bold]{row['ticket_no']}[/bold]  {alarm}{', '.join(row['channels'])}  {opened:%Y-%m-%d %H:%M}"
            f"  {row['days_open']:,.0f} days open  [yellow]{'; '.join(map(show, row['reasons']))}[/yellow]"
        )
        guesses = " or ".join(filter(None, (row["category_model"], row["category_runner_up"]))) or "-"
        counts = f"{row['category']} ({row['category_confidence']:.2f})" if row["category"] else "undecided"
        agency = f"{row['agency_name'] or row['agency_id']}, {row['unit']}" if row["unit"] else row["agency_name"]
        candidates = ", ".join(f"{code} {name}" for code, name in row["candidates"].items())
        place = f"{row['kelurahan']} ({row['kelurahan_code']})" if row["kelurahan_code"] else "no kelurahan"
        place += f", {row['place_method']}" + (f"; candidates: {candidates}" if candidates else "")
        for name, value in (
            ("kind", row["kind"]),
            ("category", f"{counts}; the model thinks of {guesses}"),
            ("agency", f"{agency} ({_named_by(row)})"),
            ("place", place),
            ("text", _cut(row["description"])),
        ):
            out.print(f"      {name:<9} {show(value)}", soft_wrap=True)
        out.print()
    told = "; ".join(f"{reason} {count:,}" for reason, count in waiting.items())
    out.print(f"{len(rows):,} shown. Waiting, by reason: {told}" if waiting else "nothing waits for a person")


def _named_by(row: dict[str, Any]) -> str:
    """Who named a ticket's agency, and what the classifier thinks where it differs."""
    source, rule, thought = row["agency_source"], row["route_rule"], row["agency_model"]
    told = f"rule {rule}" if source in ("rule", "person") else f"{source}, not rule {rule}"
    return told if thought in (None, row["agency_id"]) else f"{told}; the model thinks of {thought}"


def _cut(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= _TEXT else f"{flat[:_TEXT].rstrip()} ..."


def print_decisions(told: Sequence[Told]) -> None:
    """What each decision will change, and those that did not land."""
    landed = [t for t in told if t.fault is None]
    rows = [(t.ticket_no, name, *pair) for t in landed for name, pair in t.changes.items()]
    if rows:
        out.print(table("With the next load", ("ticket_no", "column", "now", "then"), rows))
    for t in (t for t in landed if not t.changes):
        out.print(f"{t.ticket_no}: stays as it is, and is now what a person said")
    for t in (t for t in landed if t.note):
        out.print(f"{t.ticket_no}: {t.note}", style="yellow", markup=False)
    if landed:
        out.print(f"\nDecisions kept: {len(landed):,}. They count from the next run on: kanal run")
    for t in told:
        if t.fault is not None:
            where = f"line {t.line}, {t.ref or 'no report'}: " if t.line else ""
            err.print(f"[red]not decided[/red] {show(where)}{show(t.fault)}", soft_wrap=True)


def print_regrouped(outcome: Regrouped) -> None:
    """What a decision on tickets will do, and whether it landed."""
    moves = [(r["report_id"], r["from"], r["to"], _cut(r["text"] or "")) for r in outcome.moves]
    if moves:
        out.print(table("Reports that move", ("report_id", "from", "to", "text"), moves))
    rows = [(r["ticket_no"], r["reports_now"], r["reports_then"], r["merged_into"]) for r in outcome.tickets]
    columns = ("ticket_no", "reports now", "then", "merged into")
    out.print(table("Tickets", columns, rows, numbers=columns[1:3]))
    if outcome.landed:
        out.print(f"\nDecision kept: {outcome.decision}. It counts from the next run on: kanal run", markup=False)
    else:
        out.print("\nNothing was kept (--dry-run)", markup=False)
