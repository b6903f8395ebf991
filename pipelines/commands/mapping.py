"""`kanal mapping`: which column of a file means what."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.commands.common import AsJson, Config, started, told
from pipelines.errors import SettingsError

if TYPE_CHECKING:
    from pipelines.propose import Proposal

mapping = typer.Typer(name="mapping", no_args_is_help=True, help="Columns of exports: known layouts, and new ones.")


@mapping.command()
def new(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="CSV, XLSX, JSON, JSONL or ZIP.")],
    channel: Annotated[
        str | None, typer.Option(help="Channel of the stream.", show_default="the one that the file is named for")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the stream.", show_default="the file's")] = None,
    to: Annotated[Path | None, typer.Option("--out", help="Append the entry to this file, such as kanal.toml.")] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Propose a [[stream]] for a file from its header and a sample of its rows, and show what it would read.

    Prints the entry for kanal.toml, the first rows as Kanal would understand them (people masked), how many rows would go
    to quarantine and why, and all that had to be supposed. Nothing is landed.

    Example: `kanal mapping new rekap-oktober.xlsx --channel kecamatan`
    """
    from pipelines import console
    from pipelines.propose import propose

    with told():
        made = propose(started(config), file, channel=channel, name=name)
        if to is not None:
            console.append(to, f"\n{made.toml()}")
    if as_json:
        console.print_json({key: getattr(made, key) for key in type(made).__slots__} | {"toml": made.toml()})
    else:
        _print(made)


def _print(made: Proposal) -> None:
    from pipelines import console

    console.out.print(made.toml(), markup=False, soft_wrap=True)
    for number, row in enumerate(made.first, 1):
        console.out.print(console.table(f"row {number} as it would be read", ("field", "value"), list(row.items())))
    part = "" if made.whole else f" of the first {made.reports + made.quarantined:,} rows"
    console.out.print(f"{made.reports:,} reports, {made.quarantined:,} rows to quarantine{part}")
    for title, lines in (
        ("why", [f"{count:,} x {reason}" for reason, count in made.reasons.items()]),
        ("unsure, please look", made.unsure),
        ("columns that mean nothing", made.ignored),
        ("about the file", made.notes),
        ("named mappings that read it as it is", made.fits),
    ):
        if lines:
            console.out.print(f"\n{title}:", style="bold")
            for line in lines:
                console.out.print(f"  {line}", markup=False, soft_wrap=True)


@mapping.command(name="list")
def list_(config: Config = None, as_json: AsJson = False) -> None:
    """Show the named mappings: those of models/mappings.toml and of the files under [kanal] mappings."""
    from pipelines import console, streams

    with told():
        found = streams.mappings(started(config).mapping_files)
    rows = [(name, entry.get("channel"), entry.get("description")) for name, entry in found.items()]
    if as_json:
        console.print_json([dict(zip(("mapping", "channel", "description"), row, strict=True)) for row in rows])
    else:
        console.out.print(console.table("Mappings", ("mapping", "channel", "description"), rows))


@mapping.command()
def show(
    name: Annotated[str, typer.Argument(help="A named mapping.")], config: Config = None, as_json: AsJson = False
) -> None:
    """Show a named mapping written out as the [[stream]] it stands for.

    Example: `kanal mapping show jaki`
    """
    from pipelines import console, streams
    from pipelines.propose import Proposal

    with told():
        found = streams.mappings(started(config).mapping_files)
        if name not in found:
            raise SettingsError(f"mapping {name!r} is not one of {', '.join(found)}")
        options = streams.with_mapping({"inbox": f"inbox/{name}"}, found[name])
        ordered = {k: v for k, v in options.items() if not isinstance(v, dict)} | options
        made = Proposal(found[name].get("channel", "CHANNEL"), name.replace("_", "-"), ordered)
    if as_json:
        console.print_json(options)
    else:
        console.out.print(made.toml(), markup=False, soft_wrap=True)
