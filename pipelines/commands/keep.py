"""`kanal compact`, `kanal media`: what landed and what came along with it, kept in hand."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.commands.common import PARTIAL, AsJson, Config, settings_of, told


def compact(
    channel: Annotated[
        str | None, typer.Option(help="Only this channel, or one stream of it (channel/stream).")
    ] = None,
    keep_newest: Annotated[
        int, typer.Option("--keep-newest", min=1, help="Newest files of a stream that stay as they are.")
    ] = 100,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Merge a stream's many small landing files into segments of up to 64 MB or 10,000 batches.

    Nothing that landed changes: every batch keeps its number, its rows and its footer, and status, load, audit, trace and
    rebuild find it where they look. A segment is on disk and proved before the files it replaces are deleted, so it may
    be stopped or killed at any moment, and pulls, loads and other compactions may go on meanwhile. Streams with fewer
    than 100 files beyond the newest are left alone. Dagster does this every hour; twice changes nothing.

    Example: `kanal compact --channel balai_warga`
    """
    from pipelines import console, keep

    with told(), console.progress() as tick:
        done = keep.compact_all(settings_of(config), channel=channel, keep_newest=keep_newest, progress=tick)
    if as_json:
        console.print_json([row.as_dict() for row in done])
        return
    merged = [row for row in done if row.batches]
    if not merged:
        console.out.print(f"nothing to merge: {len(done):,} streams have few small files")
        return
    columns = tuple(merged[0].as_dict())
    rows = [list(row.as_dict().values()) for row in merged]
    console.out.print(console.table("Compacted", columns, rows, numbers=columns[1:]))


media = typer.Typer(name="media", no_args_is_help=True, help="Photos and files of reports: fetch, restore.")


@media.command()
def fetch(config: Config = None, as_json: AsJson = False) -> None:
    """Fetch photos that reports only tell the address of, from hosts that [media] allow names.

    Nothing is fetched unless kanal.toml says `[media] fetch = true`. Only https, only those hosts, no inner network, no
    file above max_bytes, and only what is a picture, film, sound or PDF. Every attempt lands in `_media/fetched`: the
    next load (`kanal run`) gives the report's attachment its hash, and delivers it. What failed for a while is asked
    again after an hour, six hours, a day and three days; a dead link, never.
    """
    from pipelines import console
    from pipelines.media import fetch as go

    with told(), console.progress() as tick:
        found = go(settings_of(config), progress=tick).as_dict()
    if as_json:
        console.print_json(found)
        return
    problems = found.pop("problems")
    console.out.print(console.table("Attachments with an address", tuple(found), [list(found.values())]))
    for problem, count in sorted(problems.items(), key=lambda item: -item[1]):
        console.out.print(f"{count:,} failed: {problem}", markup=False)


@media.command()
def restore(config: Config = None, as_json: AsJson = False) -> None:
    """Keep again the files that `kanal audit` misses or finds damaged, as far as they stand in landed mails.

    Files of ZIPs, forms and addresses are in media/ alone: restore those from a backup.
    """
    from pipelines import console
    from pipelines.media import restore as go

    with told(), console.progress() as tick:
        found = go(settings_of(config), progress=tick)
    if as_json:
        console.print_json(found)
    else:
        console.out.print(f"{found['restored']:,} restored from mails; {found['lost']:,} are in no mail")
    if found["lost"]:
        raise typer.Exit(PARTIAL)
