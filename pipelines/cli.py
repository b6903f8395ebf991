"""`kanal`: the pipeline from a terminal. Each command calls flow or a neighbour of it and prints.

Exit codes: 0 done; 1 failed (the message says what to do); 2 wrong usage; 3 partial: some stream or
message was set aside, everything else is done. Nothing heavy is imported before a command needs it.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines import __version__
from pipelines.errors import KanalError

if TYPE_CHECKING:
    from pipelines.flow import RunResult
    from pipelines.settings import Settings

FAILED, PARTIAL = 1, 3

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Every complaint channel in, one routed ticket store out.\n\nStart with `kanal doctor`, then `kanal run`."
    " Settings come from --config, else $KANAL_CONFIG, else ./kanal.toml.\n\nExit codes: 0 done, 1 failed, 2 wrong usage,"
    " 3 partial (something was set aside, the rest is done).",
)
model = typer.Typer(no_args_is_help=True, help="Train, measure and choose the classifier.")
review = typer.Typer(no_args_is_help=True, help="What waits for a person, and deciding it.")
gazetteer = typer.Typer(no_args_is_help=True, help="Places: learn from resolved reports, install boundaries.")
app.add_typer(model, name="model")
app.add_typer(gazetteer, name="gazetteer")
app.add_typer(review, name="review")

Config = Annotated[
    Path | None, typer.Option("--config", "-c", help="Settings file.", show_default="$KANAL_CONFIG or kanal.toml")
]
Mapping = Annotated[
    Path | None,
    typer.Option(
        exists=True,
        dir_okay=False,
        help="TOML that tells the columns and labels; see docs/engineer.md.",
        show_default="columns named text, category, agency, kind, date, id",
    ),
]
Only = Annotated[str | None, typer.Option(help="Only rows where COLUMN matches a pattern, e.g. 'report_id=*[02468]'.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, for scripts.")]


def _settings(config: Path | None) -> Settings:
    from pipelines import settings

    return settings.load(config)


@contextmanager
def _told() -> Iterator[None]:
    """Errors of ours as one line on stderr and exit code 1; SIGTERM ends as Ctrl-C does."""
    from pipelines.console import err

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KanalError as error:
        err.print(f"error: {error}", style="red", markup=False)
        raise typer.Exit(FAILED) from error
    except KeyboardInterrupt:
        err.print("stopped; what was done stays done, run the command again to go on", markup=False)
        raise typer.Exit(FAILED) from None


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"kanal {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Common to every command."""


@app.command()
def run(
    config: Config = None,
    channel: Annotated[
        str | None, typer.Option(help="Only this channel, or one stream of it (channel/stream).")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            help="Read again what was there since this day (YYYY-MM-DD, Asia/Jakarta); known messages count as repeats."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Pull every channel, land, refine, link, load, deliver to the CRM store and publish the snapshot.

    Running it again brings only what is new. One stream's failure stops no other; the exit code is then 3.

    Examples: `kanal run`, `kanal run --channel jaki`, `kanal run --channel email --since 2026-11-01`
    """
    with _told():
        _run(_settings(config), as_json=as_json, channel=channel, since=_day(since))


@app.command(name="import")
def import_files(
    channel: Annotated[
        str, typer.Argument(help="Channel with an export stream, or one stream of it (channel/stream).")
    ],
    files: Annotated[
        list[Path], typer.Argument(help="CSV, XLSX, JSON, JSONL or ZIP files.", exists=True, dir_okay=False)
    ],
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Take files into a channel's export stream, then load, deliver and publish as `run` does.

    A file is known by its content: importing it twice changes nothing. A row with a known id and other content is a
    new version of the same report.

    Example: `kanal import jaki rekap-november.xlsx`
    """
    with _told():
        _run(_settings(config), as_json=as_json, channel=channel, files=[f.absolute() for f in files])


def _run(settings: Settings, *, as_json: bool, **what: Any) -> None:
    from pipelines import console, flow

    with console.progress() as tick:
        result = flow.run(settings, progress=tick, **what)
    if as_json:
        console.print_json(
            {
                "run_id": result.run_id,
                "streams": console.run_rows(result),
                "delivered": result.delivered,
                "snapshot": result.snapshot,
                "report": result.report,
                "seconds": result.seconds,
                "failures": result.failures,
            }
        )
    else:
        console.print_run(result)
        _print_figures(settings, result)
    if result.partial:
        raise typer.Exit(PARTIAL)


def _print_figures(settings: Settings, result: RunResult) -> None:
    """Top categories and channels of the newest month, and where everything lies."""
    from pipelines import console
    from pipelines.trace import open_snapshot, top

    if not settings.analytics.exists():
        return
    with open_snapshot(settings) as con:
        for mart, label in (("top_categories", "category_name"), ("top_channels", "channel_name")):
            month, rows = top(con, mart, label)
            if rows:
                console.out.print()
                console.out.print(
                    console.table(
                        f"{mart}, {month}",
                        (label, "reports", "tickets", "share %"),
                        rows,
                        numbers=("reports", "tickets", "share %"),
                    )
                )
    console.out.print(f"\nsnapshot  {settings.analytics}\nreport    {settings.report}", soft_wrap=True)
    if result.snapshot is None and "publish" not in result.failures:
        console.out.print("(unchanged: it holds the same already)")


def _day(text: str | None) -> date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a day; write it as 2026-11-01", param_hint="--since") from None


@app.command()
def status(config: Config = None, as_json: AsJson = False) -> None:
    """Show per stream what has landed, what waits to be loaded, and how fresh it is.

    Reads landing and the published snapshot only, so it never disturbs a running load.
    """
    from pipelines import console
    from pipelines.status import status as look

    with _told():
        found = look(_settings(config))
    if as_json:
        console.print_json(found)
        return
    columns = ("stream", "batches", "messages", "waiting", "last_landed", "last_said", "quarantined")
    rows = [[row[c] for c in columns] for row in found["streams"]]
    console.out.print(
        console.table(
            "Streams (times in WIB)", columns, rows, numbers=("batches", "messages", "waiting", "quarantined")
        )
    )
    for row in found["streams"]:
        if row["note"]:
            console.out.print(f"{row['stream']}: {row['note']}", style="yellow", markup=False)
    console.out.print(f"\nsnapshot: {found['snapshot'] or 'none yet; run: kanal run'}", soft_wrap=True)


@app.command()
def trace(
    what: Annotated[
        str,
        typer.Argument(
            help="A mart (top_categories), a ticket (KN-..., JK..., ticket_id), a report_id, or a message (channel/stream/sequence/row)."
        ),
    ],
    where: Annotated[str | None, typer.Option(help="The line of the mart: column=value, comma separated.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Most rows to show.")] = 20,
    verbatim: Annotated[
        bool,
        typer.Option(
            "--verbatim", help="Show messages as they were fetched: personal data. Needs landing, and is logged."
        ),
    ] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Walk from a figure to the tickets and messages behind it, or from a message to every figure that counts it.

    Examples: `kanal trace top_categories --where month=2026-05,category=jalan`,
    `kanal trace KN-7W2K-0Q9Z-A1B2`, `kanal trace JK2306180342`, `kanal trace jaki/app/0/17`
    """
    from pipelines import console
    from pipelines.trace import Walked, trace_thing

    with _told():
        walked: Walked = trace_thing(_settings(config), what, where=where, limit=limit, verbatim=verbatim)
    if as_json:
        console.print_json(walked.as_dict())
        return
    for title, columns, rows in walked.tables:
        console.out.print(console.table(title, columns, rows))
        console.out.print()


@app.command()
def audit(config: Config = None, as_json: AsJson = False) -> None:
    """Prove that every landed message is accounted for: landed = reports + repeats + filtered + quarantined + events.

    Reads all of landing and compares it with the warehouse. Exit code 1 where anything is missing or doubled.
    """
    from pipelines import console
    from pipelines.audit import audit as prove

    with _told():
        settings = _settings(config)
        with console.progress() as tick:
            found = prove(settings, progress=tick)
    if as_json:
        console.print_json(
            {"exact": found.exact, "streams": found.streams, "faults": found.faults, "proofs": found.proofs}
        )
    else:
        columns = tuple(found.streams[0]) if found.streams else ("stream",)
        console.out.print(
            console.table("Landed messages", columns, [list(r.values()) for r in found.streams], numbers=columns[1:])
        )
        for fault in (*found.faults, *(f"{what}: {rows:,} rows" for what, rows in found.proofs.items() if rows)):
            console.out.print(f"wrong: {fault}", style="red", markup=False)
        pending = sum(row["pending"] for row in found.streams)
        console.out.print(
            f"\n{'exact' if found.exact else 'NOT exact'}"
            + (f"; {pending:,} messages wait for the next load" if pending else "")
        )
    if not found.exact:
        raise typer.Exit(FAILED)


@app.command()
def rebuild(config: Config = None, as_json: AsJson = False) -> None:
    """Build the warehouse anew from landing alone, in the recorded order, and put it in the old one's place.

    The old warehouse stays until the new one is proved; then tickets that differ are delivered to the CRM store. The next
    run publishes. With unchanged code, model and data every table comes out the
    same; --json prints a hash of each.
    """
    from pipelines import console, flow
    from pipelines.rebuild import rebuild as replay

    with _told():
        settings = _settings(config)
        with console.progress() as tick:
            rebuilt = replay(settings, progress=tick)
        delivered = flow.deliver(settings, everything=True)
    if as_json:
        console.print_json(
            {
                "messages": rebuilt.loaded.messages, "before": rebuilt.before, "after": rebuilt.after,
                "delivered": delivered,
            }
        )  # fmt: skip
        return
    rows = [
        (name, rebuilt.after[name], rebuilt.before.get(name) in (None, rebuilt.after[name])) for name in rebuilt.after
    ]
    console.out.print(
        console.table(
            f"Rebuilt from {rebuilt.loaded.messages:,} landed messages", ("table", "rows:hash", "as before"), rows
        )
    )
    console.out.print(f"{delivered:,} tickets differed in the CRM store and were delivered anew")
    if rebuilt.other_versions:
        console.out.print(
            f"{rebuilt.other_versions:,} entries were first loaded by other versions of code, model or data"
        )


@app.command()
def doctor(config: Config = None, as_json: AsJson = False) -> None:
    """Check settings, models, credentials, stores and disk before a run; changes nothing.

    Exit code 1 where something must be mended first.
    """
    from pipelines import console
    from pipelines.doctor import doctor as examine

    with _told():
        checks = examine(_settings(config))
    if as_json:
        console.print_json([{"check": c.name, "ok": c.ok, "detail": c.detail} for c in checks])
    else:
        marks = {True: "ok", False: "MEND", None: "note"}
        console.out.print(
            console.table("Doctor", ("", "check", "finding"), [(marks[c.ok], c.name, c.detail) for c in checks])
        )
    if any(c.ok is False for c in checks):
        raise typer.Exit(FAILED)


@model.command()
def train(
    data: Annotated[
        Path | None,
        typer.Option(
            "--from", exists=True, dir_okay=False, help="CSV of your labelled reports.", show_default="models/corpus"
        ),
    ] = None,
    mapping: Mapping = None,
    only: Only = None,
    holdout: Annotated[
        float, typer.Option(min=0.05, max=0.5, help="Share of the rows, the newest, to compare classifiers on.")
    ] = 0.2,
    force: Annotated[bool, typer.Option("--force", help="Use it even where it judges worse.")] = False,
    refit: Annotated[bool, typer.Option(help="Learn from the newest rows too, once they were compared on.")] = True,
    corrections: Annotated[
        bool, typer.Option(help="Learn from what people decided in the review queue, too (labels of models/ only).")
    ] = True,
    keep: Annotated[int, typer.Option(min=1, help="Versions to keep.")] = 5,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Train the classifier on your own history, and use it if it judges no worse than the one in use.

    The older rows are learned from, the newest are judged by both; a worse one is refused (exit code 1). Without --from
    the starter is built from models/corpus, which runs do by themselves.

    Example: `kanal model train --from laporan-2024.csv --mapping laporan.toml`
    """
    from pipelines import classifiers, console
    from pipelines.training import train_on

    with _told():
        settings = _settings(config)
        if data is None:
            folder = classifiers.build_starter(settings, say=lambda said: console.err.print(said, markup=False))
            if as_json:
                console.print_json({"version": folder.name, "folder": folder})
            else:
                console.out.print(f"starter {folder.name}: {folder}", soft_wrap=True)
            return
        with console.stages() as tick:
            made = train_on(
                settings, data, mapping=mapping, only=only, holdout=holdout, force=force, refit=refit,
                corrections=corrections, progress=tick,
            )  # fmt: skip
        old = classifiers.forget(settings, keep=keep) if made.version else []
    if as_json:
        console.print_json({"version": made.version, "refused": made.refused or None, "removed": old, **made.card})
    else:
        console.print_trained(made)
    if made.version is None:
        raise typer.Exit(FAILED)


@model.command()
def evaluate(
    data: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="CSV with labelled texts.", show_default="the corpus, cross-validated"
        ),
    ] = None,
    mapping: Mapping = None,
    only: Only = None,
    version: Annotated[
        str | None, typer.Option("--model", help="Version to measure.", show_default="the one in use")
    ] = None,
    json_out: Annotated[
        Path | None, typer.Option("--json", help="Write all figures to this file (- for stdout).")
    ] = None,
    config: Config = None,
) -> None:
    """Measure the classifier on labelled texts that it never saw.

    Prints per head accuracy, macro-F1, calibration, what is decided at the threshold, accuracy where the least sure are
    left out, every label, and the pairs most often confused, with ids of examples. Without --data the corpus is
    cross-validated.

    Example: `kanal model evaluate --data laporan.csv --mapping laporan.toml --json metrics.json`
    """
    from pipelines import console
    from pipelines.evaluate import evaluate_corpus, evaluate_file

    with _told():
        settings = _settings(config)
        with console.stages() as tick:
            if data is None:
                found = evaluate_corpus(settings, progress=tick)
            else:
                found = evaluate_file(settings, data, mapping=mapping, only=only, version=version, progress=tick)
        if json_out is not None and str(json_out) == "-":
            console.print_json(found)
            return
        if json_out is not None:
            console.write_json(json_out, found)
    console.print_figures(found)


@model.command(name="list")
def versions(config: Config = None, as_json: AsJson = False) -> None:
    """Show the versions that are kept, and which one judges."""
    from pipelines import classifiers, console

    with _told():
        settings = _settings(config)
        cards, active = classifiers.kept(settings), classifiers.version_in_use(settings)
    if as_json:
        console.print_json({"active": active, "versions": cards})
        return
    columns = ("version", "active", "trained at", "data", "rows", "macro-F1")
    rows: list[tuple[Any, ...]] = [
        (
            card["version"], card["active"], card["trained_at"], card["data"], card["rows"],
            ", ".join(f"{head} {figures['macro_f1']:.3f}" for head, figures in card["heads"].items()),
        )
        for card in cards
    ]  # fmt: skip
    if active not in [card["version"] for card in cards]:
        rows.insert(0, (active, True, None, "models/corpus", None, None))
    console.out.print(console.table("Classifiers", columns, rows, numbers=("rows",)))


@model.command()
def rollback(
    version: Annotated[
        str | None,
        typer.Argument(help="Version to use, or starter.", show_default="the one before the last change"),
    ] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Let another version judge from the next run on. What was judged stays as it is."""
    from pipelines import classifiers, console

    with _told():
        settings = _settings(config)
        if version is None:
            version = classifiers.rollback(settings)
        else:
            classifiers.activate(settings, None if version == classifiers.STARTER else version)
    if as_json:
        console.print_json({"active": version})
    else:
        console.out.print(f"{version} judges from the next run on")


@gazetteer.command()
def install(
    file: Annotated[
        Path,
        typer.Argument(
            exists=True, dir_okay=False, help="GeoJSON FeatureCollection of kelurahan, with Kemendagri codes."
        ),
    ],
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Install kelurahan boundaries, so that coordinates are placed by polygon instead of the nearest centroid.

    The file is checked first: every polygon must carry the code of a known kelurahan in `kode`, `kelurahan_code`,
    `code` or `kode_kel`. It is copied into the data folder and used from the next run on.
    """
    from pipelines import console, places

    with _told():
        result = places.install_boundaries(_settings(config), file)
    if as_json:
        console.print_json(result)
        return
    console.out.print(
        f"{result['matched']:,} of {result['kelurahan']:,} kelurahan have a boundary now;"
        f" {result['unknown']:,} polygons have a code that the gazetteer does not know"
    )


@gazetteer.command()
def learn(
    history: Annotated[
        Path | None,
        typer.Option(
            "--from",
            exists=True,
            dir_okay=False,
            help="CSV of resolved reports.",
            show_default="finished tickets of the snapshot",
        ),
    ] = None,
    mapping: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="TOML with [columns] address, text, kelurahan, kecamatan, date.",
            show_default="columns are named so",
        ),
    ] = None,
    min_support: Annotated[
        int, typer.Option(min=2, help="Different addresses, of different days, that must hold a phrase.")
    ] = 2,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Measure only; write nothing.")] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Learn which streets, landmarks and RW belong to which kelurahan from reports whose kelurahan is known.

    The newest fifth is first placed by what the rest teaches, which gives the figures; then all teach. Runs use it from
    then on where neither a point nor the source's own fields tell the kelurahan, and `place_method` is `learned` where
    it decided. learned.csv in the data folder can be read and mended; to stop using it, delete it.

    Example: `kanal gazetteer learn --from riwayat.csv --mapping riwayat.toml --dry-run`
    """
    from pipelines import console
    from pipelines.learn import learn as teach

    with _told(), console.stages() as tick:
        found = teach(_settings(config), history, mapping, min_support=min_support, dry_run=dry_run, progress=tick)
    if as_json:
        console.print_json({name: getattr(found, name) for name in type(found).__slots__})
    else:
        console.print_learned(found)


@review.command(name="list")
def review_list(
    reason: Annotated[
        str | None, typer.Option(help="Only what waits for this, e.g. kategori_tidak_yakin, lokasi_tidak_ada.")
    ] = None,
    channel: Annotated[str | None, typer.Option(help="Only tickets this channel told of.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Most tickets to show.")] = 20,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Show the tickets that wait for a person: emergencies first, then the longest open, each with why it waits.

    Reads the published snapshot (table review_queue), so it holds up no run. What was decided leaves the list with the
    next `kanal run`.

    Example: `kanal review list --reason kategori_tidak_yakin --channel jaki`
    """
    from pipelines import console
    from pipelines.review import queue

    with _told():
        rows, counts = queue(_settings(config), reason=reason, channel=channel, limit=limit)
    if as_json:
        console.print_json({"waiting": counts, "tickets": rows})
    else:
        console.print_queue(rows, counts)


@review.command(name="decide")
def review_decide(
    report: Annotated[
        str | None, typer.Argument(help="A ticket number (KN-..., or the CRM's) or a report_id.", show_default=False)
    ] = None,
    category: Annotated[str | None, typer.Option(help="Category: id or name of models/taxonomy.toml.")] = None,
    agency: Annotated[str | None, typer.Option(help="Agency: id or name of models/agencies.toml.")] = None,
    kind: Annotated[str | None, typer.Option(help="complaint, suggestion, question, opinion or appreciation.")] = None,
    kelurahan: Annotated[
        str | None, typer.Option(help="Kelurahan: Kemendagri code, name, or 'name, kecamatan'.")
    ] = None,
    ok: Annotated[bool, typer.Option("--ok", help="What is not named otherwise is right as it stands.")] = False,
    reason: Annotated[str | None, typer.Option(help="Why, in a sentence without personal data. Needed.")] = None,
    by: Annotated[str | None, typer.Option(help="Who decides.", show_default="your account")] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            "--from",
            exists=True,
            dir_okay=False,
            help="Many at once: CSV with the columns report, category, agency, kind, kelurahan, ok, reason, by.",
        ),
    ] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Decide what the machine was unsure of. The decision counts from the next `kanal run` on, before any later opinion
    of the machine, on a rebuild too, and the next model learns from it.

    What is not decided stays; agency and unit follow a decided category or kelurahan by the rules, unless a person chose
    the agency or acts on the ticket already. Deciding again replaces what was decided before; all of it stays in the
    ticket's history (`kanal trace`). Needs write access to landing. With --from, rows at fault are told and left out
    (exit code 3), the others land.

    Examples: `kanal review decide KN-7W2K-0Q9Z-A1B2 --category pohon --reason "dahan patah, bukan jalan"`,
    `kanal review decide KN-7W2K-0Q9Z-A1B2 --ok --reason "sudah sesuai"`, `kanal review decide --from keputusan.csv`
    """
    from pipelines import console
    from pipelines.review import Asked, asked_in, decide, said

    values = {"category": category, "agency": agency, "kind": kind, "kelurahan": kelurahan}
    if (report is None) == (file is None) or (file and (ok or any(values.values()))):
        raise typer.BadParameter(
            "name one report and what is decided, or a file with --from (then only --reason and --by beside it)"
        )
    with _told():
        settings = _settings(config)
        if file:
            asked, lines, faults = asked_in(file, reason=reason, by=by)
            told = [*decide(settings, asked, lines=lines), *faults]
        else:
            told = decide(settings, [Asked(report or "", reason or "", ok=ok, by=by, **values)])
    wrong = sum(t.fault is not None for t in told)
    if as_json:
        console.print_json({"landed": len(told) - wrong, "decisions": said(told)})
    else:
        console.print_decisions(told)
    if wrong:
        raise typer.Exit(PARTIAL if wrong < len(told) else FAILED)


if __name__ == "__main__":
    app()
