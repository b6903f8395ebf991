"""`kanal link`: which reports came to one ticket, and whether they should have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.commands.common import Config, settings_of, told

link = typer.Typer(name="link", no_args_is_help=True, help="Measure how reports are joined into tickets.")


@link.callback()
def group() -> None:
    """Keeps `evaluate` a word of its own while it is the only command of the group."""


@link.command()
def evaluate(
    truth: Annotated[
        Path,
        typer.Argument(
            metavar="TRUTH.csv",
            exists=True,
            dir_okay=False,
            help="Which reports tell of one incident, as people judged it.",
        ),
    ],
    hard: Annotated[
        Path | None,
        typer.Option(
            metavar="HARD.csv",
            exists=True,
            dir_okay=False,
            help="Pairs that look like one incident and are two: columns a, b, hard.",
        ),
    ] = None,
    worst: Annotated[int, typer.Option(min=0, max=10_000, help="Worst tickets and incidents to name.")] = 10,
    json_out: Annotated[
        Path | None, typer.Option("--json", help="Write all figures to this file (- for stdout).")
    ] = None,
    config: Config = None,
) -> None:
    """Measure the tickets of the published snapshot against a file of incidents that people judged.

    TRUTH.csv has a row a report. It names reports by `report_id` (as `kanal trace` shows it), or by `channel` and
    `source_ref`, the channel's own number (and `stream`, where two streams of a channel number alike); `incident` is any
    label, equal for reports of one incident. Optional: `copy_of` (the report whose words these are), `role` (kinds to count
    copies by; `not_fixed` says that the work was not done: such reports stay out of the clusters). Other columns are
    ignored.

        channel,source_ref,incident
        jaki,JK2611010001,banjir gang mawar
        sms,4711,banjir gang mawar
        jaki,JK2611010002,lampu mati di pasar

    Pair precision is the share of pairs in one ticket that are of one incident, recall the share of an incident's pairs that
    are in one ticket. Pairs grow with the square of an incident, so B-cubed, which counts every report once, stands beside.
    Errors are named by id; walk on with `kanal trace KN-...`.

    Example: `kanal link evaluate kejadian.csv --hard mirip.csv --worst 20 --json angka.json`
    """
    from pipelines import console
    from pipelines.console_links import print_agreement
    from pipelines.incidents import evaluate_file

    with told():
        found = evaluate_file(settings_of(config), truth, hard, worst=worst)
        if json_out is not None and str(json_out) == "-":
            console.print_json(found)
            return
        if json_out is not None:
            console.write_json(json_out, found)
    print_agreement(found)
