"""People split, merge and pin: reports move, tickets follow, and every order of loading tells the same."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from pipelines.settings import Settings
from tests.acts_world import City, Tables, city, loaded, no_of, report_of, ticket_of
from tests.conftest import _settings as settings_in
from tests.made_up import JAKI

EXAMPLES = int(os.environ.get("EXAMPLES", "12"))
PHASES = [Phase.explicit, Phase.reuse, Phase.generate]

Make = Callable[..., Settings]
R, T = report_of, ticket_of


@pytest.fixture
def town(make_settings: Make) -> City:
    return city(make_settings(JAKI))


@pytest.fixture
def load(tmp_path: Path, town: City) -> Callable[..., Tables]:
    return lambda *sizes: loaded(town, tmp_path / "cuts", sizes)


def street(town: City) -> None:
    """Reports 1, 2 and 3 are one ticket; 5 and 6 another."""
    for number, at in ((1, 0), (2, 1), (3, -1), (5, 10), (6, 11)):
        town.say(number, at=at)


def test_what_was_split_off_is_a_ticket_of_its_own_named_by_its_earliest_report(
    town: City, load: Callable[..., Tables]
) -> None:
    street(town)
    town.act("split", T(1), R(3), R(2))
    found = load()
    assert found.parts == {T(1): {R(1)}, T(2): {R(2), R(3)}, T(5): {R(5), R(6)}}
    assert found.events == {T(1): ["opened", "joined", "joined", "split"], T(2): ["split"], T(5): ["opened", "joined"]}
    assert found.outcomes == ["event"]
    assert [found.tickets[t]["report_count"] for t in (T(1), T(2))] == [1, 2]


# --- in every order of loading --------------------------------------------------------------

CLUSTERS, WORDS = 3, ("Lubangnya makin dalam", "Mohon dibantu ya min", "Tolong, api membesar, rumah terbakar sekarang!")
op = st.one_of(
    st.tuples(st.just("say"), st.integers(0, CLUSTERS - 1), st.integers(-1, 1)),
    st.tuples(st.just("say"), st.integers(0, CLUSTERS - 1), st.integers(-1, 1)),
    st.tuples(st.just("cite"), st.integers(0, 9)),
    st.tuples(st.just("edit"), st.integers(0, 9), st.sampled_from(["isi", "kategori", "status"]), st.integers(0, 2)),
    st.tuples(st.just("status"), st.integers(0, 9), st.sampled_from(["proses", "selesai"])),
    st.tuples(st.just("split"), st.integers(0, CLUSTERS - 1), st.sets(st.integers(0, 9), min_size=1, max_size=3)),
    st.tuples(st.just("merge"), st.integers(0, CLUSTERS - 1), st.integers(0, CLUSTERS - 1)),
    st.tuples(st.just("pin"), st.integers(0, CLUSTERS - 1), st.integers(0, 9)),
    st.tuples(st.just("undo"), st.integers(0, 9)),
    st.tuples(st.just("undo"), st.integers(0, 9)),
)


class Teller:
    """Says what hypothesis drew. Reports come in clusters up the street; each cluster's first report opens its ticket."""

    def __init__(self, town: City) -> None:
        self.town, self.told, self.acts = town, 0, []
        self.of: dict[int, list[int]] = {c: [] for c in range(CLUSTERS)}
        for cluster in range(CLUSTERS):
            for at in (0, 1, -1):
                self.say(cluster, at)

    def say(self, cluster: int, at: int) -> None:
        self.told += 1
        self.of[cluster].append(self.told)
        self.town.say(self.told, at=cluster * 10 + at)

    def first(self, cluster: int) -> str:
        return T(self.of[cluster][0])

    def any(self, number: int) -> int:
        return 1 + number % self.told

    def tell(self, what: str, *how: Any) -> None:
        getattr(self, what)(*how)

    def cite(self, number: int) -> None:
        """A vague report far away that belongs to a ticket by the number it cites alone."""
        self.told += 1
        self.town.say(self.told, at=500, isi=f"Menyusul laporan {no_of(self.any(number))}, mohon dicek", kategori="")

    def edit(self, number: int, name: str, value: int) -> None:
        values = {"isi": WORDS, "kategori": ("", "Pohon", "Jalan"), "status": ("", "Proses", "Selesai")}
        self.town.say(self.any(number), **{name: values[name][value]})

    def status(self, number: int, status: str) -> None:
        self.town.status(T(self.any(number)), status)

    def split(self, cluster: int, numbers: set[int]) -> None:
        mine = self.of[cluster]
        self.acts.append(
            self.town.act("split", self.first(cluster), *{R(mine[n % len(mine)]): 0 for n in sorted(numbers)})
        )

    def merge(self, one: int, other: int) -> None:
        self.acts.append(self.town.act("merge", self.first(one), other_id=self.first(other)))

    def pin(self, cluster: int, number: int) -> None:
        self.acts.append(self.town.act("pin", self.first(cluster), R(self.any(number))))

    def undo(self, number: int) -> None:
        if self.acts:
            self.acts.append(self.town.act("undo", undoes=self.acts[number % len(self.acts)]))


@pytest.fixture(scope="session")
def judged(tmp_path_factory: pytest.TempPathFactory, model_cache: Path) -> Callable[[], City]:
    """Cities of their own that share one judge."""
    first = _city(tmp_path_factory.mktemp("first"), model_cache)

    def found() -> City:
        return City(settings_in(tmp_path_factory.mktemp("city"), model_cache, JAKI), first.judge)

    return found


def _city(place: Path, models: Path) -> City:
    return city(settings_in(place, models, JAKI))


@given(ops=st.lists(op, max_size=14), sizes=st.lists(st.integers(1, 9), max_size=6))
@settings(max_examples=EXAMPLES, phases=PHASES)
def test_however_the_order_is_cut_into_loads_the_tables_are_the_same(
    judged: Callable[[], City], ops: list[Any], sizes: list[int]
) -> None:
    town = judged()
    teller = Teller(town)
    for each in ops:
        teller.tell(*each)
    folder = town.settings.data_dir / "cuts"
    whole, cut = loaded(town, folder), loaded(town, folder, sizes)
    assert cut.hashes == whole.hashes
    reports = [r for members in whole.parts.values() for r in members]
    assert sorted(reports) == sorted(R(n) for n in range(1, teller.told + 1))


@given(ops=st.lists(op, max_size=10), last=op.filter(lambda o: o[0] in ("split", "merge", "pin", "undo")))
@settings(max_examples=EXAMPLES, phases=PHASES)
def test_an_undo_leaves_links_and_tickets_as_they_were_and_undoing_it_brings_the_decision_back(
    judged: Callable[[], City], ops: list[Any], last: Any
) -> None:
    town = judged()
    teller = Teller(town)
    for each in ops:
        teller.tell(*each)
    folder = town.settings.data_dir / "cuts"
    before = loaded(town, folder)
    teller.tell(*last)
    after = loaded(town, folder)
    if not teller.acts or after.outcomes[-1] != "event" or len(after.outcomes) == len(before.outcomes):
        return
    undo = town.act("undo", undoes=teller.acts[-1])
    undone = loaded(town, folder)
    town.act("undo", undoes=undo)
    again = loaded(town, folder)
    assert undone.outcomes[-1] == "event"
    assert (undone.parts, undone.live()) == (before.parts, before.live())
    if last[0] != "undo":
        assert undone.links == before.links
    assert (again.parts, again.live()) == (after.parts, after.live())
