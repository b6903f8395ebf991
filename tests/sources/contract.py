"""What every source keeps to, as cases for a world: its peer, and what may happen to it.

A new source writes one `World` (worlds/) and passes every case of `CASES`, or says in `cannot` why a
case has no meaning for it. Items are told apart by the number in their words, so the kit needs to know
nothing of ids. Whatever happens, three things hold: every item is landed, none is two reports, and
whoever reads the error learns which stream it was and nothing secret.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import ClassVar
from unittest.mock import patch

import pytest

from pipelines import flow
from pipelines.contracts import Message, Stream
from pipelines.errors import FilteredMessage, KanalError, PermanentError, TransientError
from pipelines.refine import source_of
from pipelines.settings import Settings, default_models_dir
from pipelines.sinks.landing import BatchRef, Landing
from tests.peers.canary import told_by

START = datetime(2026, 10, 7, 3, 0, tzinfo=UTC)
CANARY = "kanari-kontrak-5Xw9"  # every secret of every world
_NUMBER = re.compile(r"nomor urut (\d+)( \(diubah\))?")


def words(number: int, *, edited: bool = False) -> str:
    """What item `number` says."""
    return f"Lampu jalan mati di depan rumah nomor urut {number}" + (" (diubah)" if edited else "")


class World(ABC):
    """A source's peer as the kit handles it. Times are aware UTC."""

    source: ClassVar[str]
    peer: ClassVar[str]  # who is on the other side; docs/channels.md shows it
    cannot: ClassVar[Mapping[str, str]] = {}  # case -> why it has no meaning here
    repeats: ClassVar[bool] = False  # its peer tells again what it told before, so landing may hold it twice
    at_once: ClassVar[bool] = False  # its peer tells all it has in one answer, so a pull is one page
    secrets: ClassVar[tuple[str, ...]] = (CANARY,)  # what no error may tell
    stream: Stream

    def __init__(self) -> None:
        self.now, self.off = START, timedelta(0)  # the time, and by how much our own clock is wrong

    def land(self, settings: Settings, now: Callable[[], datetime]) -> flow.Pulled:
        """What makes things land: a pull, unless they are sent."""
        return flow.land(settings, self.stream, run_id="uji", now=now)

    def die(self) -> None:  # noqa: B027 - most have nothing to do
        """The process that lands has just ended; for worlds where it is not the one that pulls."""

    @abstractmethod
    def say(self, *numbers: int, at: datetime | None = None) -> None:
        """Citizens say these now, or said them at `at` and they show up only now."""

    def edit(self, number: int) -> None:
        """Its author changes it: it says `words(number, edited=True)` from now on."""
        raise NotImplementedError

    def delete(self, number: int) -> None:
        """It is gone from the peer."""
        raise NotImplementedError

    def overlap(self) -> None:
        """From now on the peer repeats items, in other orders and on more than one page."""
        raise NotImplementedError

    def outdate(self) -> Iterable[int]:
        """What the cursor says means nothing to the peer any more; the numbers of the items still there."""
        raise NotImplementedError

    @contextmanager
    def failing(self, fault: str, after: int) -> Iterator[None]:
        """While inside, the peer fails in this way once it has answered `after` times."""
        raise NotImplementedError
        yield


class Killed(BaseException):
    """The process ends here."""


class Kit:
    """One stream of a world and what it landed in `folder`."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world, self.folder = world, folder
        self.settings = Settings(folder / "kanal.toml", folder / "data", default_models_dir(), (world.stream,))

    def again(self, name: str) -> Kit:
        """The same world, nothing landed."""
        return Kit(self.world, self.folder / name)

    def land(self) -> flow.Pulled:
        return self.world.land(self.settings, lambda: self.world.now + self.world.off)

    def land_well(self) -> flow.Pulled:
        """A pull, and another where the first says to try again for what is left."""
        pulled = self.land()
        assert pulled.error is None, str(pulled.error)
        return pulled

    def land_killed(self, put: int, *, before: bool) -> None:
        """A pull by a process that dies before or after it lands its `put`-th page."""
        original, calls = Landing.put, 0

        def dying(*args: object, **kw: object) -> object:
            nonlocal calls
            calls += 1
            if before and calls == put:
                self.world.die()
                raise Killed
            won = original(*args, **kw)  # type: ignore[arg-type]
            if calls == put:
                self.world.die()
                raise Killed
            return won

        with patch.object(Landing, "put", dying), pytest.raises(Killed):
            self.land()

    def messages(self) -> list[Message]:
        landing = Landing(self.settings.landing_dir)
        names = self.world.stream.channel, self.world.stream.name
        rows = [
            row
            for sequence in landing.sequences(*names)
            for row in landing.read(BatchRef(*names, sequence)).drop_columns(["landed_day"]).to_pylist()
        ]
        return [Message(**row) for row in rows]

    def landed(self) -> set[int]:
        """The numbers of the items landed."""
        source = source_of(self.world.stream.source)
        texts = [source.decode(m, self.world.stream).text for m in self.messages()]
        return {int(found[1]) for text in texts if (found := _NUMBER.search(text))}

    def batches(self) -> int:
        return len(Landing(self.settings.landing_dir).sequences(self.world.stream.channel, self.world.stream.name))

    def expect(self, *numbers: int, edited: tuple[int, ...] = (), repeats: bool = False) -> None:
        """Exactly these are landed, each as one report, the edited ones with their newest words.

        repeats: the peer repeated itself, so the same version may lie in landing twice.
        """
        source, said, refs = source_of(self.world.stream.source), {}, {}
        count: Counter[tuple[str, str]] = Counter()
        for message in self.messages():
            try:
                found = _NUMBER.search(source.decode(message, self.world.stream).text)
            except FilteredMessage:
                continue
            assert found, message.origin
            number = int(found[1])
            said[number] = bool(found[2])
            refs.setdefault(number, set()).add(message.source_ref)
            count[message.source_ref, message.version] += 1
        assert sorted(said) == sorted(numbers)
        assert {n for n, changed in said.items() if changed} == set(edited)
        assert {n: len(r) for n, r in refs.items() if len(r) != 1} == {}
        assert len({r for found in refs.values() for r in found}) == len(numbers)
        if not (repeats or self.world.repeats):
            assert {key: times for key, times in count.items() if times != 1} == {}

    def refused(self, fault: str, kind: type[KanalError], after: int) -> KanalError:
        """The error of a pull that meets this fault, once it was looked at."""
        with self.world.failing(fault, after):
            error = self.land().error
        assert isinstance(error, kind), f"{fault}: {error!r}"
        assert self.world.stream.key in str(error)
        assert len(str(error)) > len(self.world.stream.key) + 20
        told = told_by(error)
        assert [n for n, secret in enumerate(self.world.secrets) if secret in told] == []
        return error


Case = Callable[[Kit], None]
CASES: dict[str, Case] = {}


def case(function: Case) -> Case:
    CASES[function.__name__.replace("_", " ")] = function
    return function


SOME = tuple(range(1, 13))


# --- what comes, and that it comes once -----------------------------------------------------


@case
def the_first_pull_brings_everything(kit: Kit) -> None:
    kit.world.say(*SOME)
    kit.land_well()
    kit.expect(*SOME)


@case
def the_second_pull_is_empty(kit: Kit) -> None:
    kit.world.say(*SOME)
    kit.land_well()
    kit.land_well()
    before = kit.batches()
    assert (kit.land_well().messages, kit.batches()) == (0, before)
    kit.expect(*SOME)


@case
def what_is_said_later_comes_later(kit: Kit) -> None:
    kit.world.say(*SOME)
    kit.land_well()
    kit.world.now += timedelta(hours=1)
    kit.world.say(13, 14)
    kit.land_well()
    kit.expect(*SOME, 13, 14)


@case
def a_kill_between_any_two_pages_loses_nothing(kit: Kit) -> None:
    kit.world.say(*SOME)
    whole = kit.again("whole")
    whole.land_well()
    assert whole.batches() > 1 or kit.world.at_once, "one page is no trial"
    for put in range(1, whole.batches() + 1):
        for before in (True, False):
            trial = kit.again(f"{put}-{before}")
            trial.land_killed(put, before=before)
            trial.land_well()
            trial.land_well()
            trial.expect(*SOME)


@case
def overlapping_and_reordered_pages_double_nothing(kit: Kit) -> None:
    kit.world.overlap()
    kit.world.say(*SOME)
    kit.land_well()
    kit.world.now += timedelta(hours=1)
    kit.world.say(13, 14)
    kit.land_well()
    kit.land_well()
    kit.expect(*SOME, 13, 14, repeats=True)


@case
def a_thousand_items_of_one_moment_all_come(kit: Kit) -> None:
    at = kit.world.now - timedelta(minutes=5)
    kit.world.say(*range(1, 1001), at=at)
    kit.land_well()
    kit.world.say(1001, at=at)
    kit.land_well()
    kit.expect(*range(1, 1002))


@case
def an_item_a_month_late_comes(kit: Kit) -> None:
    kit.world.say(*SOME)
    kit.land_well()
    kit.world.say(13, at=kit.world.now - timedelta(days=30))
    kit.land_well()
    kit.expect(*SOME, 13)


@case
def an_edit_is_a_new_version_of_the_same_report(kit: Kit) -> None:
    kit.world.say(*SOME)
    kit.land_well()
    kit.world.now += timedelta(minutes=10)
    kit.world.edit(12)
    kit.land_well()
    kit.land_well()
    kit.expect(*SOME, edited=(12,))


@case
def what_is_deleted_stays_and_harms_nothing(kit: Kit) -> None:
    kit.world.say(*SOME)
    kit.land_well()
    kit.world.delete(12)
    kit.world.say(13)
    kit.land_well()
    kit.expect(*SOME, 13)


# --- clocks and cursors ---------------------------------------------------------------------


@case
def a_cursor_too_old_loses_nothing_that_is_there(kit: Kit) -> None:
    kit.world.say(*SOME)
    kit.land_well()
    _outdated(kit)


@case
def a_cursor_too_old_in_the_midst_of_a_pull_loses_nothing_that_is_there(kit: Kit) -> None:
    kit.world.say(*SOME)
    kit.land_killed(1, before=False)
    _outdated(kit)


def _outdated(kit: Kit) -> None:
    landed = kit.landed()
    kit.world.now += timedelta(minutes=10)
    there = kit.world.outdate()
    kit.world.say(13)
    kit.land_well()
    kit.land_well()
    kit.expect(*sorted({*landed, *there, 13}), repeats=True)


@case
def a_clock_a_day_ahead_loses_nothing(kit: Kit) -> None:
    _clock_off(kit, timedelta(days=1))


@case
def a_clock_a_day_behind_loses_nothing(kit: Kit) -> None:
    _clock_off(kit, -timedelta(days=1))


def _clock_off(kit: Kit, by: timedelta) -> None:
    kit.world.say(*SOME)
    kit.world.off = by
    kit.land()
    kit.world.off = timedelta(0)
    kit.world.now += timedelta(minutes=10)
    kit.world.say(13)
    kit.land_well()
    kit.world.now += timedelta(minutes=10)
    kit.world.say(14)
    kit.land_well()
    kit.expect(*SOME, 13, 14)


# --- a peer that fails ----------------------------------------------------------------------


def _fails(kit: Kit, fault: str, kind: type[KanalError] = TransientError) -> None:
    """At the first answer and at the second: said clearly, and mended by the next pull."""
    kit.world.say(*SOME)
    for after in (0, 1):
        kit.refused(fault, kind, after)
    kit.land_well()
    kit.land_well()
    kit.expect(*SOME)


@case
def too_many_requests_with_a_reset_waits_for_it(kit: Kit) -> None:
    kit.world.say(*SOME)
    error = kit.refused("429 with reset", TransientError, 1)
    assert isinstance(error, TransientError)
    assert error.retry_after
    assert 60 < error.retry_after < 3600
    kit.land_well()
    kit.expect(*SOME)


@case
def too_many_requests_without_a_reset_waits_too(kit: Kit) -> None:
    kit.world.say(*SOME)
    error = kit.refused("429 without reset", TransientError, 1)
    assert isinstance(error, TransientError)
    assert error.retry_after
    assert error.retry_after >= 30
    kit.land_well()
    kit.expect(*SOME)


@case
def a_server_in_trouble_is_asked_again(kit: Kit) -> None:
    _fails(kit, "5xx")


@case
def a_page_of_html_is_no_answer(kit: Kit) -> None:
    _fails(kit, "html")


@case
def a_body_cut_off_is_no_answer(kit: Kit) -> None:
    _fails(kit, "cut")


@case
def a_body_that_drips_ends_in_time(kit: Kit) -> None:
    _fails(kit, "drip")


@case
def headers_that_drip_end_in_time(kit: Kit) -> None:
    _fails(kit, "drip headers")


@case
def a_silent_server_is_left(kit: Kit) -> None:
    _fails(kit, "silent")


@case
def credentials_that_expire_midway_stop_the_stream(kit: Kit) -> None:
    _fails(kit, "expired", PermanentError)


@case
def an_empty_page_with_a_token_is_not_the_end(kit: Kit) -> None:
    kit.world.say(*SOME)
    with kit.world.failing("empty page", 1):
        kit.land()
    kit.land_well()
    kit.expect(*SOME)
