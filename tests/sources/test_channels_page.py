"""docs/channels.md shows every channel with its sources, and every peer that stands for one in tests."""

from __future__ import annotations

import re
import tomllib

from pipelines.settings import default_models_dir, load
from pipelines.streams import sources
from tests.conftest import ROOT, SAMPLES
from tests.sources.worlds import WORLDS

PAGE = (ROOT / "docs" / "channels.md").read_text("utf-8")


def rows(header: str) -> list[list[str]]:
    """The cells of the table under a header."""
    [table] = re.findall(rf"^{re.escape(header)}\n\|[-|]+\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in table.splitlines()]


def test_the_channels_are_those_of_the_registry_each_with_sources_there_are() -> None:
    table = rows("| channel | name | source | how it is meant |")
    entries = tomllib.loads((default_models_dir() / "channels.toml").read_text("utf-8"))["channel"]
    assert [(id_, name) for id_, name, _, _ in table] == [(f"`{e['id']}`", e["name"]) for e in entries]
    of = {id_.strip("`"): set(re.findall(r"`(\w+)`", named)) for id_, _, named, _ in table}
    assert {name for found in of.values() for name in found} == set(sources())
    ours = {(s.channel, s.source) for s in load(SAMPLES / "kanal.toml").streams}
    assert {(channel, source) for channel, source in ours if source not in of[channel]} == set()


def test_the_peers_are_those_of_the_worlds() -> None:
    assert {(source.strip("`"), peer) for source, peer in rows("| source | peer |")} == {
        (world.source, world.peer) for world, _ in WORLDS.values()
    }
