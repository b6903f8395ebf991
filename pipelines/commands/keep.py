"""`kanal compact`: what landed, kept small in hand."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.commands.common import AsJson, Config, settings_of, told


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
