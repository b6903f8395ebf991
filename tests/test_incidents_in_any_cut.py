"""A made-up city's reports come out as the same tickets however the recorded order was written, cut and replayed."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.incidents import linked
from pipelines import flow
from pipelines.rebuild import rebuild
from pipelines.settings import Settings
from pipelines.sinks.landing import Entry, Landing
from pipelines.sinks.warehouse import open_warehouse

COUNT, SEED = 400, 20261127
pytestmark = pytest.mark.xdist_group("incidents in any cut")


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory, model_cache: Path) -> Settings:
    """Reports of ten hours through all channels, each landed alone when it was said, loaded as one entry."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(linked, "_CHUNK", 1)
        settings, _, _ = linked.land(COUNT, SEED, tmp_path_factory.mktemp("city"))
    (settings.data_dir / "models").symlink_to(model_cache)
    flow.load(settings, run_id="made")
    return settings


def hashes(settings: Settings) -> dict[str, str]:
    with open_warehouse(settings.warehouse) as warehouse:
        assert not any(warehouse.violations().values())  # no report in two tickets, none in none
        return warehouse.table_hashes()


def test_the_made_city_has_tickets_of_every_kind_of_link(city: Settings) -> None:
    with open_warehouse(city.warehouse) as warehouse:
        levels = {level for (level,) in warehouse.con.execute("SELECT DISTINCT level FROM links").fetchall()}
    assert levels >= {"opened", "near_text", "place_time", "same_author_text", "same_photo", "bridge"}, f"seed {SEED}"


@pytest.mark.parametrize("group_rows", [13, 90])
def test_other_cuts_of_the_order_give_the_same_tickets(city: Settings, tmp_path: Path, group_rows: int) -> None:
    shutil.copytree(city.landing_dir, tmp_path / "landing", ignore=shutil.ignore_patterns("_order"))
    (tmp_path / "models").symlink_to((city.data_dir / "models").resolve())
    other = replace(city, data_dir=tmp_path, group_rows=group_rows)
    flow.load(other, run_id="cut")
    assert hashes(other) == hashes(city)


def test_entries_that_name_their_batches_in_another_order_and_three_replays_give_the_same_tickets(
    city: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, told, rng = hashes(city), Landing.order, random.Random(SEED)

    def shuffled(landing: Landing, **above: int) -> Iterator[Entry]:
        for entry in told(landing, **above):
            yield replace(entry, batches=tuple(rng.sample(entry.batches, len(entry.batches))))

    monkeypatch.setattr(Landing, "order", shuffled)
    for _ in range(3):
        rebuild(city)
        assert hashes(city) == before, f"seed {SEED}"
