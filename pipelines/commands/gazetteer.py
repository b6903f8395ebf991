"""`kanal gazetteer`: what is known of places."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.commands.common import AsJson, Config, settings_of, told

gazetteer = typer.Typer(
    name="gazetteer", no_args_is_help=True, help="Places: learn from resolved reports, install boundaries."
)


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

    with told():
        result = places.install_boundaries(settings_of(config), file)
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

    with told(), console.stages() as tick:
        found = teach(settings_of(config), history, mapping, min_support=min_support, dry_run=dry_run, progress=tick)
    if as_json:
        console.print_json({name: getattr(found, name) for name in type(found).__slots__})
    else:
        console.print_learned(found)
