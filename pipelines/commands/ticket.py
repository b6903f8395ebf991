"""`kanal ticket`: which reports are one matter, where a person knows better."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.commands.common import AsJson, Config, settings_of, told

if TYPE_CHECKING:
    from pipelines.regroup import Wish

ticket = typer.Typer(
    name="ticket", no_args_is_help=True, help="Which reports are one matter: split, merge, pin, and undo."
)

Ticket = Annotated[str, typer.Argument(metavar="TICKET", help="A ticket number (KN-..., or the CRM's).")]
Reason = Annotated[str, typer.Option(help="Why, in a sentence without personal data. Needed.")]
By = Annotated[str | None, typer.Option(help="Who decides.", show_default="your account")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")]


@ticket.command()
def split(
    of: Ticket,
    reports: Annotated[
        list[str],
        typer.Argument(
            metavar="REPORT...", help="Reports that are another matter: report_id, or their own numbers (JK...)."
        ),
    ],
    reason: Reason,
    by: By = None,
    dry_run: DryRun = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Part a ticket in two: these reports are another matter than the rest of it.

    They become one ticket of their own, numbered after the earliest of them. A ticket keeps the number of its first report:
    if that one is named, the others leave instead. Nothing joins them again, on a rebuild neither; later reports are
    compared with both. `kanal trace KN-...` lists a ticket's reports. It counts from the next `kanal run` on.

    Example: `kanal ticket split KN-7W2K-0Q9Z-A1B2 9kx2m4v0a1b2c3d4 --reason "lubang lain, di seberang jalan"`
    """
    from pipelines.regroup import Wish

    _decide(Wish("split", reason, [of], reports, by=by), config, dry_run=dry_run, as_json=as_json)


@ticket.command()
def merge(
    one: Ticket,
    other: Ticket,
    reason: Reason,
    by: By = None,
    dry_run: DryRun = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Make two tickets one: the older keeps all reports, the younger points to it.

    No number goes away: the younger's says which ticket superseded it, and reports that match it later join the older.
    Status, agency and what officers decided of the older stay. It counts from the next `kanal run` on.

    Example: `kanal ticket merge KN-7W2K-0Q9Z-A1B2 KN-0Q9Z-A1B2-7W2K --reason "lubang yang sama"`
    """
    from pipelines.regroup import Wish

    _decide(Wish("merge", reason, [one, other], by=by), config, dry_run=dry_run, as_json=as_json)


@ticket.command()
def pin(
    report: Annotated[str, typer.Argument(metavar="REPORT", help="A report: report_id, or its own number (JK...).")],
    to: Ticket,
    reason: Reason,
    by: By = None,
    dry_run: DryRun = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Say that one report belongs to this ticket, and stays: only a decision that names it moves it, or a merge of its
    ticket. It counts from the next `kanal run` on.

    Example: `kanal ticket pin JK2306180342 KN-7W2K-0Q9Z-A1B2 --reason "foto menunjukkan lubang ini"`
    """
    from pipelines.regroup import Wish

    _decide(Wish("pin", reason, [to], [report], by=by), config, dry_run=dry_run, as_json=as_json)


@ticket.command()
def undo(
    decision: Annotated[
        str,
        typer.Argument(
            metavar="DECISION", help="A decision's id, or a ticket number: its last decision that still counts."
        ),
    ],
    reason: Reason,
    by: By = None,
    dry_run: DryRun = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Take a decision back: reports and tickets are as before it, and what has joined since because of it follows.

    An undo is a decision too: name it by its id to undo it. Where later decisions built on the one named, it says which
    must be undone first. It counts from the next `kanal run` on.

    Examples: `kanal ticket undo KN-7W2K-0Q9Z-A1B2 --reason "ternyata satu lubang"`,
    `kanal ticket undo 4m0c1s9d8e7f6g5h --reason "salah nomor"`
    """
    from pipelines.regroup import Wish

    _decide(Wish("undo", reason, undoes=decision, by=by), config, dry_run=dry_run, as_json=as_json)


def _decide(wish: Wish, config: Path | None, *, dry_run: bool, as_json: bool) -> None:
    from pipelines import console
    from pipelines.regroup import decide

    with told():
        outcome = decide(settings_of(config), wish, dry_run=dry_run)
    if as_json:
        console.print_json(
            {
                "decision": outcome.decision if outcome.landed else None, "landed": outcome.landed,
                "moves": outcome.moves, "tickets": outcome.tickets,
            }
        )  # fmt: skip
    else:
        console.print_regrouped(outcome)
