"""`kanal intake`: the server that webhooks are sent to."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.commands.common import Config, settings_of, told

if TYPE_CHECKING:
    from pipelines.intake.maps import Areas
    from pipelines.settings import Settings


def intake(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 8700,
    public: Annotated[
        bool,
        typer.Option("--public", help="Listen beyond this machine, without TLS in front. Read docs/intake.md first."),
    ] = False,
    config: Config = None,
) -> None:
    """Receive webhooks and the web form and append them to landing, until SIGTERM; `kanal run` brings them on.

    Answers a sender only when what it sent is durable. A stream with source webhook is at /kirim/CHANNEL/STREAM, one with
    source form at /lapor/CHANNEL/STREAM; /health and /metrics answer this machine only.

    Example: `kanal intake --port 8700`
    """
    with told():
        from pipelines.errors import SettingsError
        from pipelines.intake import server

        if not server.is_loopback(host) and not public:
            raise SettingsError(
                f"{host} is beyond this machine: whoever reaches it can send, and tokens and complaints travel unencrypted."
                " Put a proxy with TLS in front and keep 127.0.0.1, or say --public"
            )
        settings = settings_of(config)
        run_id = f"intake-{uuid.uuid4().hex[:16]}"
        server.serve(
            settings,
            _known(settings),
            _areas(settings),
            run_id=run_id,
            now=lambda: datetime.now(UTC),
            host=host,
            port=port,
        )


def _known(settings: Settings) -> list[tuple[str, str]]:
    """(id, name) of categories, by name. SettingsError where a stream's channel is in no registry: what it lands
    could not be loaded."""
    from pipelines import knowledge as known

    registry = known.channels(settings)
    for stream in settings.streams:
        if stream.source in ("webhook", "form"):
            known.channel_of(registry, stream)
    return sorted(known.taxonomy(settings.models_dir).names.items(), key=lambda named: named[1])


def _areas(settings: Settings) -> Areas:
    """What citizens choose a place from; none where there is no form to do so."""
    from pipelines import places
    from pipelines.intake import maps

    if not any(stream.source == "form" for stream in settings.streams):
        return maps.Areas(())
    rows = places.kelurahan_table(settings.gazetteer)[["kelurahan_code", "kelurahan", "kecamatan", "kota"]]
    outlines, landmarks = places.boundaries_file(settings), places.landmarks(settings.gazetteer)
    return maps.Areas(
        [maps.Kelurahan(*row) for row in rows.itertuples(index=False)],
        places.read_boundaries(outlines) if outlines.exists() else None,
        [maps.Landmark(*row) for row in landmarks[["landmark", "lat", "lon"]].itertuples(index=False)],
    )
