"""What every command shares: its options, its settings, and how an error of ours is told."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.errors import KanalError, SettingsError

if TYPE_CHECKING:
    from pipelines.settings import Settings

FAILED, PARTIAL = 1, 3

Config = Annotated[
    Path | None, typer.Option("--config", "-c", help="Settings file.", show_default="$KANAL_CONFIG or kanal.toml")
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, for scripts.")]


def settings_of(config: Path | None) -> Settings:
    from pipelines import settings

    return settings.load(config)


def started(config: Path | None) -> Settings:
    """The settings named; models/ as it comes where there are none yet: whoever starts has no kanal.toml."""
    from pipelines import settings

    if config is None:
        try:
            config = settings.find()
        except SettingsError:
            here = Path.cwd()
            return settings.Settings(here / "kanal.toml", here / "data", settings.default_models_dir(), ())
    return settings_of(config)


@contextmanager
def told() -> Iterator[None]:
    """Errors of ours as one line on stderr and exit code 1; SIGTERM ends as Ctrl-C does."""
    from pipelines.console import err

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KanalError as error:
        err.print(f"error: {error}", style="red", markup=False)
        raise typer.Exit(FAILED) from error
    except OSError as error:  # a disk that is full, a folder that may not be written
        err.print(f"error: {error}", style="red", markup=False)
        raise typer.Exit(FAILED) from error
    except KeyboardInterrupt:
        err.print("stopped; what was done stays done, run the command again to go on", markup=False)
        raise typer.Exit(FAILED) from None
