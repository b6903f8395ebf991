"""Every source against every case of the contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.streams import sources
from tests.peers.dovecot import dovecot, fresh_mailbox  # noqa: F401 - fixtures
from tests.peers.postgres import postgres, postgres_url  # noqa: F401 - fixtures
from tests.sources.contract import CASES, Kit
from tests.sources.worlds import WORLDS


@pytest.mark.parametrize(
    ("name", "case"),
    [(name, case) for name, (world, _) in WORLDS.items() for case in CASES if case not in world.cannot],
    ids=lambda value: value.replace(" ", "_").replace(",", ""),
)
def test_a_source_keeps_the_contract(name: str, case: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    _, open_world = WORLDS[name]
    (tmp_path / "dunia").mkdir()
    with open_world(request, tmp_path / "dunia") as world:
        CASES[case](Kit(world, tmp_path / "kanal"))


def test_every_source_has_a_world() -> None:
    assert {world.source for world, _ in WORLDS.values()} == set(sources())


@pytest.mark.parametrize("name", WORLDS)
def test_a_world_that_cannot_says_why_of_a_case_there_is(name: str) -> None:
    world, _ = WORLDS[name]
    assert set(world.cannot) <= set(CASES)
    assert all(len(why) > 10 for why in world.cannot.values())
