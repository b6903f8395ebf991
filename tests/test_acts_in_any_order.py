"""Decisions on tickets give the same tables in every order of loading, and an undo is as if nothing had been decided."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.acts_world import FAR, City, city, loaded, no_of, report_of, ticket_of
from tests.conftest import _settings as settings_in
from tests.made_up import JAKI

R, T = report_of, ticket_of
# An example loads a city several times over; to make a failing one small takes longer than all other tests together.
EXAMPLES = int(os.environ.get("KANAL_EXAMPLES", "6"))
PHASES = [phase for phase in Phase if phase is not Phase.shrink or not os.environ.get("CI")]
FEW = settings(max_examples=EXAMPLES, phases=PHASES)

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
        self.town.say(self.told, at=cluster * FAR + at)

    def first(self, cluster: int) -> str:
        return T(self.of[cluster][0])

    def any(self, number: int) -> int:
        return 1 + number % self.told

    def tell(self, what: str, *how: Any) -> None:
        getattr(self, what)(*how)

    def cite(self, number: int) -> None:
        """A vague report far away that belongs to a ticket by the number it cites alone."""
        self.told += 1
        self.town.say(
            self.told, at=9 * FAR, isi=f"Menyusul laporan {no_of(self.any(number))}, mohon dicek", kategori=""
        )

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
    first = city(settings_in(tmp_path_factory.mktemp("first"), model_cache, JAKI))

    def found() -> City:
        return City(settings_in(tmp_path_factory.mktemp("city"), model_cache, JAKI), first.judge)

    return found


@given(ops=st.lists(op, max_size=14), sizes=st.lists(st.integers(1, 9), max_size=6))
@FEW
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
@FEW
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
    assert (undone.parts, undone.live(), undone.links) == (before.parts, before.live(), before.links)
    assert (again.parts, again.live(), again.links) == (after.parts, after.live(), after.links)


@given(
    ops=st.lists(op.filter(lambda o: o[0] != "pin"), max_size=10),
    cluster=st.integers(0, CLUSTERS - 1),
    numbers=st.sets(st.integers(0, 9), min_size=1),
)
@FEW
def test_what_is_split_and_merged_again_is_what_it_was(
    judged: Callable[[], City], ops: list[Any], cluster: int, numbers: set[int]
) -> None:
    town = judged()
    teller = Teller(town)
    for each in ops:
        teller.tell(*each)
    folder = town.settings.data_dir / "cuts"
    before = loaded(town, folder)
    teller.split(cluster, numbers)
    parted = loaded(town, folder)
    if parted.outcomes[-1] != "event":
        return
    [made] = [t for t, of in parted.parts.items() if t not in before.parts]
    [whole] = [t for t, of in before.parts.items() if parted.parts[made] <= of]
    town.act("merge", made, other_id=whole)
    merged = loaded(town, folder)
    assert parted.parts != before.parts
    assert (merged.parts, merged.live()) == (before.parts, before.live())
