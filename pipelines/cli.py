"""`kanal`: the pipeline from a terminal. Each command calls flow or a neighbour of it and prints.

Exit codes: 0 done; 1 failed (the message says what to do); 2 wrong usage; 3 partial: some stream or
message was set aside, everything else is done. Nothing heavy is imported before a command needs it.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines import __version__
from pipelines.commands.common import FAILED, PARTIAL, AsJson, Config, settings_of, told
from pipelines.commands.desk import desk
from pipelines.commands.gazetteer import gazetteer
from pipelines.commands.intake import intake
from pipelines.commands.keep import compact, media
from pipelines.commands.link import link
from pipelines.commands.mapping import mapping
from pipelines.commands.model import model
from pipelines.commands.review import review
from pipelines.commands.ticket import ticket

if TYPE_CHECKING:
    from pipelines.flow import RunResult
    from pipelines.settings import Settings

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Every complaint channel in, one routed ticket store out.\n\nStart with `kanal doctor`, then `kanal run`."
    " Settings come from --config, else $KANAL_CONFIG, else ./kanal.toml.\n\nExit codes: 0 done, 1 failed, 2 wrong usage,"
    " 3 partial (something was set aside, the rest is done).",
)
for group in (model, gazetteer, mapping, desk, review, ticket, link, media):
    app.add_typer(group)
for command in (intake, compact):
    app.command()(command)


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
    with told():
        _run(settings_of(config), as_json=as_json, channel=channel, since=_day(since))


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
    with told():
        _run(settings_of(config), as_json=as_json, channel=channel, files=[f.absolute() for f in files])


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
                "gaps": result.gaps,
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
    from pipelines.published import open_snapshot
    from pipelines.trace import top

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
    """Show per stream what has landed, what waits to be loaded, how fresh it is, what it cost and what it missed.

    Reads landing and the published snapshot only, so it never disturbs a running load.
    """
    from pipelines import console
    from pipelines.heads import tell_costs, tell_gap
    from pipelines.status import status as look

    with told():
        found = look(settings_of(config))
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
        if row["costs"]:
            console.out.print(tell_costs(row["stream"], row["costs"]), markup=False, soft_wrap=True)
        for gap in row["gaps"]:
            console.out.print(tell_gap(row["stream"], gap), style="red", markup=False, soft_wrap=True)
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

    Under each report stands in a sentence why it is in its ticket; of a ticket, those merged into it and those that it
    follows or that follow it.

    Examples: `kanal trace top_categories --where month=2026-05,category=jalan`,
    `kanal trace KN-7W2K-0Q9Z-A1B2`, `kanal trace JK2306180342`, `kanal trace jaki/app/0/17`
    """
    from pipelines import console
    from pipelines.console_links import print_walk
    from pipelines.trace import Walked, trace_thing

    with told():
        walked: Walked = trace_thing(settings_of(config), what, where=where, limit=limit, verbatim=verbatim)
    if as_json:
        console.print_json(walked.as_dict())
        return
    print_walk(walked)


@app.command()
def audit(
    all_media: Annotated[
        bool,
        typer.Option("--all-media", help="Read every file that came along, not a sample of 200, and compare hashes."),
    ] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Prove that every landed message is accounted for: landed = reports + repeats + filtered + quarantined + events.

    Reads all of landing and compares it with the warehouse; looks for every photo and file that a report tells of.
    Exit code 1 where anything is missing or doubled.
    """
    from pipelines import console
    from pipelines.audit import audit as prove

    with told():
        settings = settings_of(config)
        with console.progress() as tick:
            found = prove(settings, all_media=all_media, progress=tick)
    if as_json:
        console.print_json(
            {
                "exact": found.exact,
                "streams": found.streams,
                "faults": found.faults,
                "proofs": found.proofs,
                "media": found.media,
            }
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

    with told():
        settings = settings_of(config)
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
def doctor(
    config: Config = None,
    live: Annotated[
        bool, typer.Option("--live", help="Ask each stream's server too, with one cheap call: may we read there?")
    ] = False,
    channel: Annotated[
        str | None, typer.Option(help="With --live: only this channel, or one stream of it (channel/stream).")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check settings, models, credentials, stores and disk before a run; changes nothing.

    With --live it also asks every stream's server whether the credentials are good and which permission is missing,
    and says where to get it. Exit code 1 where something must be mended first.

    Examples: `kanal doctor`, `kanal doctor --live`, `kanal doctor --live --channel twitter`
    """
    from pipelines import console
    from pipelines.doctor import doctor as examine
    from pipelines.doctor import live as ask

    with told():
        settings = settings_of(config)
        if channel is not None and not live:
            raise typer.BadParameter("is for --live", param_hint="--channel")
        if live:
            with console.progress() as tick:
                checks = ask(settings, channel, progress=tick)
            checks = checks if channel else [*examine(settings), *checks]
        else:
            checks = examine(settings)
    if as_json:
        console.print_json([{"check": c.name, "ok": c.ok, "detail": c.detail} for c in checks])
    else:
        marks = {True: "ok", False: "MEND", None: "note"}
        console.out.print(
            console.table("Doctor", ("", "check", "finding"), [(marks[c.ok], c.name, c.detail) for c in checks])
        )
    if any(c.ok is False for c in checks):
        raise typer.Exit(FAILED)


if __name__ == "__main__":
    app()
