"""`kanal model`: train, measure and choose the classifier."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pipelines.commands.common import FAILED, AsJson, Config, settings_of, told

model = typer.Typer(name="model", no_args_is_help=True, help="Train, measure and choose the classifier.")

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

    with told():
        settings = settings_of(config)
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
        str | None, typer.Option("--model", help="Version to measure, or starter.", show_default="the one in use")
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

    with told():
        settings = settings_of(config)
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

    with told():
        settings = settings_of(config)
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

    with told():
        settings = settings_of(config)
        if version is None:
            version = classifiers.rollback(settings)
        else:
            classifiers.activate(settings, None if version == classifiers.STARTER else version)
    if as_json:
        console.print_json({"active": version})
    else:
        console.out.print(f"{version} judges from the next run on")
