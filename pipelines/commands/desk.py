"""`kanal desk`: sheets for offices where citizens come by."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.commands.common import AsJson, Config, started, told

desk = typer.Typer(name="desk", no_args_is_help=True, help="Sheets that offices fill in.")


@desk.callback()
def _group() -> None:
    """Keeps `template` a command of its own."""


@desk.command()
def template(
    office: Annotated[str, typer.Option(help='The office, as "Kelurahan Meruya Utara" or "Kecamatan Kembangan".')],
    out: Annotated[Path, typer.Option(help="The XLSX to write.", dir_okay=False)],
    channel: Annotated[
        str | None,
        typer.Option(help="Its channel.", show_default="kelurahan, kecamatan or walikota, by the office's name"),
    ] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Write the sheet an office fills in, and print the [[stream]] that reads it.

    Drop-downs of categories and of the office's own kelurahan come from models/. A filled-in sheet goes into the stream's
    inbox, or in by `kanal import`.

    Example: `kanal desk template --office "Kelurahan Meruya Utara" --out meruya-utara.xlsx`
    """
    from pipelines import console
    from pipelines import desk as making

    with told():
        settings = started(config)
        found = making.office_of(settings, office, channel)
        making.write(settings, found, out)
    entry = making.stream_toml(found)
    if as_json:
        console.print_json({"file": out, "stream": entry, "kelurahan": len(found.kelurahan)})
    else:
        console.out.print(f"{out} is written. Its stream:\n\n{entry}", markup=False, soft_wrap=True)
