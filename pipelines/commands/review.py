"""`kanal review`: what waits for a person."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.commands.common import FAILED, PARTIAL, AsJson, Config, settings_of, told

review = typer.Typer(name="review", no_args_is_help=True, help="What waits for a person, and deciding it.")


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

    with told():
        rows, counts = queue(settings_of(config), reason=reason, channel=channel, limit=limit)
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
    with told():
        settings = settings_of(config)
        if file:
            asked, lines, faults = asked_in(file, reason=reason, by=by)
            outcomes = [*decide(settings, asked, lines=lines), *faults]
        else:
            outcomes = decide(settings, [Asked(report or "", reason or "", ok=ok, by=by, **values)])
    wrong = sum(t.fault is not None for t in outcomes)
    if as_json:
        console.print_json({"landed": len(outcomes) - wrong, "decisions": said(outcomes)})
    else:
        console.print_decisions(outcomes)
    if wrong:
        raise typer.Exit(PARTIAL if wrong < len(outcomes) else FAILED)
