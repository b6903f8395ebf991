"""Compaction: what a stream says is the same before, during and after, whoever is reading, pulling or killed."""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from pipelines.contracts import Message, Stream
from pipelines.errors import PermanentError
from pipelines.sinks import batches, compaction, durable
from pipelines.sinks.batches import Segment, Span, spans_in
from pipelines.sinks.compaction import Piece, compact, plan
from pipelines.sinks.landing import BatchRef, Head, Landing

STREAM = Stream("jaki", "app", "export", {"inbox": "jaki"})
KEY = ("jaki", "app")
NOW = datetime(2026, 11, 20, 3, 0, tzinfo=UTC)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments of a few batches, so that their sizes can be played through."""
    _shrink(monkeypatch.setattr)


def _shrink(setattr_: Callable[..., Any] = setattr) -> None:
    setattr_(compaction, "_LEAST", 2)
    setattr_(compaction, "_MOST_BATCHES", 16)
    setattr_(batches, "_GROUP_ROWS", 5)


def message(ref: str, at: datetime = NOW) -> Message:
    return Message(ref, f"v{ref}", f'{{"isi": "{ref}"}}'.encode(), "application/json", at, origin=f"berkas, {ref}")


def put(landing: Landing, after: Head, refs: list[str], cursor: dict[str, Any] | None = None) -> Head | None:
    at = NOW + timedelta(seconds=after.sequence)
    return landing.put(
        STREAM, after, [message(ref, at) for ref in refs], cursor or {"n": refs}, source_version="1", run_id="r", now=at
    )


def fill(landing: Landing, count: int, rows: int = 1) -> Head:
    head = landing.head(STREAM)
    for _ in range(count):
        n = head.sequence + 1
        won = put(landing, head, [f"{n}-{row}" for row in range(rows)], {"after": n})
        assert won is not None
        head = won
    return head


def said(landing: Landing) -> dict[str, Any]:
    """Everything a stream says, read one by one and in bulk."""
    sequences = landing.sequences(*KEY)
    refs = [BatchRef(*KEY, n) for n in sequences]
    bulk = [landing.table(*KEY, run) for run in landing.runs(*KEY, sequences)]
    return {
        "sequences": sequences,
        "rows": [landing.read(ref).to_pylist() for ref in refs],
        "footers": [landing.footer(ref) for ref in refs],
        "head": landing.head(STREAM),
        "bulk": [row for table in bulk for row in table.to_pylist()],
    }


def test_a_compacted_stream_says_what_it_said_in_fewer_files(tmp_path: Path) -> None:
    landing = Landing(tmp_path)
    fill(landing, 1_203, rows=2)
    before = said(landing)
    done = compact(landing, *KEY, keep_newest=10)
    assert (done.batches, done.segments, done.files_before, done.files_after) == (1_193, 1, 1_203, 11)
    assert said(landing) == before == said(Landing(tmp_path))
    assert [p.name for p in sorted((tmp_path / "jaki" / "app").iterdir())] == ["000001", "segments"]
    assert spans_in(tmp_path / "jaki" / "app" / "segments") == (Span(0, 1_192),)
    assert landing.sequences(*KEY, above=1_190) == list(range(1_191, 1_203))
    assert compact(landing, *KEY, keep_newest=10).segments == 0


def test_rows_of_any_batches_are_read_with_their_place(tmp_path: Path, small: None) -> None:
    landing, head = Landing(tmp_path), Head(-1, None)
    for n in range(12):
        won = put(landing, head, [f"{n}-{row}" for row in range(n % 4)], {"n": n})
        assert won is not None
        head = won
    compact(landing, *KEY, keep_newest=3)
    wanted = [0, 1, 3, 4, 7, 8, 10]
    tables = [landing.table(*KEY, run, columns=["version", "source_ref"]) for run in landing.runs(*KEY, wanted)]
    assert len(tables) == 2, "one for the segment, one for the file"
    assert [list(row.values()) for table in tables for row in table.to_pylist()] == [
        [f"v{n}-{row}", f"{n}-{row}", n, row] for n in wanted for row in range(n % 4)
    ]


def test_the_newest_file_stays_whatever_is_asked(tmp_path: Path, small: None) -> None:
    landing = Landing(tmp_path)
    head = fill(landing, 9)
    compact(landing, *KEY, keep_newest=0)
    assert landing.files(*KEY) == [8]
    assert landing.head(STREAM) == head


def test_streams_with_little_and_the_order_log_are_left_alone(tmp_path: Path) -> None:
    landing = Landing(tmp_path)
    fill(landing, 199)
    landing.append_order(0, [BatchRef(*KEY, 0)], {"code": "1"})
    assert compact(landing, *KEY).segments == 0
    assert len(landing.files(*KEY)) == 199
    assert landing.streams() == [KEY]
    assert [entry.number for entry in landing.order()] == [0]


# --- the rule -------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 4_000), min_size=1, max_size=60))
@settings(max_examples=60, deadline=None)
def test_a_batch_is_rarely_copied_and_segments_stay_few(rounds: list[int]) -> None:
    """Each round lands that many batches of 4 kB and compacts: segments tile, none too large, each copy doubles."""
    segments: list[Piece] = []
    copies: dict[int, int] = {}
    landed = 0
    for count in rounds:
        files = [Piece(n, n, 4_000) for n in range(landed, landed + count)]
        made = [Piece(g[0].first, g[-1].last, sum(p.size for p in g)) for g in plan(segments, files)]
        gone = [s for s in segments if any(m.first <= s.first and s.last <= m.last for m in made)]
        for piece in gone:
            copies[piece.first] = copies.get(piece.first, 0) + 1
        segments = [s for s in segments if s not in gone] + made
        landed += count
        ends = [s.first for s in segments] + [landed]
        assert [s.last + 1 for s in segments] == ends[1:], "they tile"
        assert all(s.weight <= 1 for s in segments)
        small = [s.weight for s in segments if s.weight < 0.5]
        assert len(small) <= 16
    assert max(copies.values(), default=0) <= 14, "log2 of 10,000, as each copy at least doubles"


def test_segments_are_bounded_in_batches_and_in_bytes() -> None:
    files = [Piece(n, n, 1_000) for n in range(25_000)]
    assert [(g[0].first, g[-1].last) for g in plan([], files)] == [(0, 9_999), (10_000, 19_999), (20_000, 24_999)]
    large = [Piece(n, n, 30_000_000) for n in range(5)]
    assert [(g[0].first, g[-1].last) for g in plan([], large)] == [(0, 1), (2, 3), (4, 4)]
    half = [Piece(0, 5_999, 6_000_000), Piece(6_000, 6_099, 100_000)]
    assert [(g[0].first, g[-1].last) for g in plan(half, files[6_100:6_300])] == [(6_000, 6_299)]


def test_small_segments_grow_into_larger_ones(tmp_path: Path, small: None) -> None:
    landing = Landing(tmp_path)
    for _ in range(8):
        fill(landing, 3)
        compact(landing, *KEY, keep_newest=1)
    assert [tuple(s) for s in landing.spans(*KEY)] == [(0, 10), (11, 22)]
    assert said(landing)["sequences"] == list(range(24))


# --- latecomers -----------------------------------------------------------------------------


def test_a_puller_that_wins_below_the_floor_has_lost_and_leaves_nothing(tmp_path: Path, small: None) -> None:
    landing = Landing(tmp_path)
    late = fill(landing, 4)
    fill(landing, 6)
    before = said(landing)
    compact(landing, *KEY, keep_newest=1)
    assert not landing.path(BatchRef(*KEY, 4)).exists()
    assert put(landing, late, ["late"]) is None
    assert put(Landing(tmp_path), late, ["late"]) is None
    assert said(landing) == before
    assert landing.files(*KEY) == [9]


def test_a_batch_that_compaction_took_up_before_its_puller_looked_has_won(
    tmp_path: Path, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    landing = Landing(tmp_path)
    head = fill(landing, 4)

    def overtaken(path: Path, data: bytes) -> bool:
        made = durable.put_if_absent(path, data)
        monkeypatch.undo()
        _shrink(monkeypatch.setattr)
        fill(Landing(tmp_path), 3)
        compact(Landing(tmp_path), *KEY, keep_newest=1)
        return made

    monkeypatch.setattr("pipelines.sinks.landing.put_if_absent", overtaken)
    assert put(landing, head, ["mine"], {"mine": 1}) == Head(4, {"mine": 1})
    assert landing.spans(*KEY) == (Span(0, 6),)
    assert landing.read(BatchRef(*KEY, 4))["source_ref"].to_pylist() == ["mine"]


def test_what_a_killed_latecomer_left_below_the_floor_is_read_by_nobody_and_swept_away(
    tmp_path: Path, small: None
) -> None:
    landing, old = Landing(tmp_path), Landing(tmp_path)
    fill(landing, 8)
    before = said(old)
    compact(landing, *KEY, keep_newest=1)
    path = landing.path(BatchRef(*KEY, 4))
    path.write_bytes(batches.encode_batch([message("stray")], NOW.date(), {"batch_id": "x", "cursor": {}}))
    assert said(Landing(tmp_path)) == before
    assert said(old) == before, "a reader that listed before compaction is not fooled either"
    for read in (Landing(tmp_path).read, lambda ref: Landing(tmp_path).table(*KEY, [ref.sequence], ["source_ref"])):
        assert read(BatchRef(*KEY, 4))["source_ref"].to_pylist() == ["4-0"], "nor one that never listed"
    assert Landing(tmp_path).footer(BatchRef(*KEY, 4)) == before["footers"][4]
    compact(landing, *KEY, keep_newest=1)
    assert not path.exists()


def test_a_reader_with_an_old_listing_finds_what_has_moved_twice(tmp_path: Path, small: None) -> None:
    landing, reader = Landing(tmp_path), Landing(tmp_path)
    fill(landing, 4)
    before = said(reader)["rows"]
    compact(landing, *KEY, keep_newest=1)
    assert [reader.read(BatchRef(*KEY, n)).to_pylist() for n in range(4)] == before
    fill(landing, 5)
    compact(landing, *KEY, keep_newest=1)
    assert spans_in(tmp_path / "jaki" / "app" / "segments") == (Span(0, 7),)
    fresh = Landing(tmp_path)
    fresh._spans[KEY] = (Span(0, 2),)
    assert [fresh.read(BatchRef(*KEY, n)).to_pylist() for n in range(4)] == before
    assert [row["row"] for row in fresh.table(*KEY, [0, 1, 2]).to_pylist()] == [0, 0, 0]


# --- what is broken -------------------------------------------------------------------------


def test_a_torn_file_is_told_and_nothing_is_deleted(tmp_path: Path, small: None) -> None:
    landing = Landing(tmp_path)
    fill(landing, 8)
    path = landing.path(BatchRef(*KEY, 3))
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(PermanentError, match="jaki/app number 3 cannot be read .*restore it from a backup"):
        compact(landing, *KEY, keep_newest=1)
    assert landing.files(*KEY) == list(range(8))


def test_behind_a_missing_file_nothing_is_merged(tmp_path: Path, small: None) -> None:
    landing = Landing(tmp_path)
    fill(landing, 12)
    landing.path(BatchRef(*KEY, 5)).unlink()
    compact(landing, *KEY, keep_newest=1)
    assert landing.spans(*KEY) == (Span(0, 4),)
    assert landing.sequences(*KEY) == [*range(5), *range(6, 12)]


def test_a_torn_or_missing_segment_is_told_and_nothing_is_deleted(tmp_path: Path, small: None) -> None:
    landing = Landing(tmp_path)
    fill(landing, 20)
    compact(landing, *KEY, keep_newest=1)
    first, second = landing.spans(*KEY)
    folder = tmp_path / "jaki" / "app" / "segments"
    whole = (folder / first.name).read_bytes()
    (folder / first.name).write_bytes(whole[:-9])
    with pytest.raises(PermanentError, match="number 3 cannot be read .*restore it from a backup"):
        Landing(tmp_path).read(BatchRef(*KEY, 3))
    (folder / first.name).unlink()
    assert Landing(tmp_path).sequences(*KEY) == list(range(second.first, 20))
    with pytest.raises(PermanentError, match="segment is missing .*restore"):
        compact(Landing(tmp_path), *KEY, keep_newest=1)
    (folder / first.name).write_bytes(whole)
    assert Landing(tmp_path).sequences(*KEY) == list(range(20))


def test_a_segment_that_does_not_hold_what_its_name_says_is_refused(tmp_path: Path, small: None) -> None:
    landing = Landing(tmp_path)
    fill(landing, 8)
    compact(landing, *KEY, keep_newest=1)
    folder = tmp_path / "jaki" / "app" / "segments"
    (folder / Span(0, 6).name).rename(folder / Span(0, 7).name)
    with pytest.raises(ValueError, match="does not hold"):
        Segment(folder / Span(0, 7).name, Span(0, 7))
    with pytest.raises(PermanentError, match="cannot be read"):
        Landing(tmp_path).read(BatchRef(*KEY, 3))


# --- any order of things --------------------------------------------------------------------


class _Killed(BaseException):
    """The process dies here."""


class Interleaved(RuleBasedStateMachine):
    """A stream with compaction beside one without: they say the same after whatever happened."""

    folder: Path

    @initialize(seed=st.integers(0, 2**32))
    def start(self, seed: int) -> None:
        root = Interleaved.folder / f"{seed}-{len(list(Interleaved.folder.iterdir()))}"
        self.kept, self.plain = Landing(root / "kept"), Landing(root / "plain")
        self.reader = Landing(root / "kept")  # keeps what it listed
        self.heads = [Head(-1, None)]

    @rule(rows=st.lists(st.sampled_from("abc"), max_size=3), stale=st.integers(0, 6))
    def put(self, rows: list[str], stale: int) -> None:
        """From the newest head, or as a puller that read it long ago."""
        after = self.heads[max(-1 - stale, -len(self.heads))]
        cursor = {"after": after.sequence, "rows": rows}
        won, plain = put(self.kept, after, rows, cursor), put(self.plain, after, rows, cursor)
        assert won == plain
        if won is not None:
            self.heads.append(won)

    @rule(keep=st.integers(1, 4))
    def compact(self, keep: int) -> None:
        compact(Landing(self.kept.root), *KEY, keep_newest=keep)

    @rule(keep=st.integers(1, 4), step=st.integers(1, 12))
    def compact_and_die(self, keep: int, step: int) -> None:
        """Die before the step-th thing that changes the disk."""
        steps = iter(range(1, 10_000))
        saved = [(Path, "unlink"), (os, "link"), (durable, "_write_synced"), (durable, "_sync_dir"), (Path, "mkdir")]
        originals = [getattr(owner, name) for owner, name in saved]

        def dying(original: Callable[..., Any]) -> Callable[..., Any]:
            def call(*args: Any, **kwargs: Any) -> Any:
                if next(steps) >= step:
                    raise _Killed
                return original(*args, **kwargs)

            return call

        try:
            for (owner, name), original in zip(saved, originals, strict=True):
                setattr(owner, name, dying(original))
            compact(Landing(self.kept.root), *KEY, keep_newest=keep)
        except _Killed:
            pass
        finally:
            for (owner, name), original in zip(saved, originals, strict=True):
                setattr(owner, name, original)

    @rule(number=st.integers(0, 40))
    def leave_a_stray(self, number: int) -> None:
        """A puller that won a free name below the floor and was killed before it looked."""
        path = self.kept.path(BatchRef(*KEY, number))
        if number <= self.kept.floor(*KEY) and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(batches.encode_batch([message("stray")], NOW.date(), {"batch_id": "x", "cursor": {}}))

    @invariant()
    def they_say_the_same(self) -> None:
        if not hasattr(self, "kept"):
            return
        plain = said(self.plain)
        plain["footers"] = [(f.cursor, f.landed_at, f.rows, f.options) for f in plain["footers"]]
        for landing in (self.kept, self.reader, Landing(self.kept.root)):
            found = said(landing)
            found["footers"] = [(f.cursor, f.landed_at, f.rows, f.options) for f in found["footers"]]
            assert found == plain


def test_puts_compactions_and_kills_in_any_order_change_nothing_that_is_read(tmp_path: Path, small: None) -> None:
    Interleaved.folder = tmp_path
    run_state_machine_as_test(
        Interleaved,
        settings=settings(
            max_examples=20, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


# --- processes ------------------------------------------------------------------------------

# Everything by which compaction changes the disk.
_STEPS = [
    (Path, "unlink"),
    (os, "link"),
    (os, "unlink"),
    (os, "rmdir"),
    (durable, "_write_synced"),
    (durable, "_sync_dir"),
]


def _compact_killed_at(root: Path, step: int) -> None:
    steps = iter(range(1, 10_000))
    for owner, name in _STEPS:
        original = getattr(owner, name)

        def dying(*args: Any, _original: Callable[..., Any] = original, **kwargs: Any) -> Any:
            if next(steps) == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return _original(*args, **kwargs)

        setattr(owner, name, dying)
    compact(Landing(root), *KEY, keep_newest=1)


def test_killed_before_any_step_nothing_that_is_read_changes_and_the_next_one_finishes(
    tmp_path: Path, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.sinks.landing.SHARD", 5)  # so that whole folders go, too
    monkeypatch.setattr(compaction, "SHARD", 5)
    landing = Landing(tmp_path / "whole")
    fill(landing, 5)
    compact(landing, *KEY, keep_newest=1)
    fill(landing, 19)
    before = said(landing)
    context, step, died = multiprocessing.get_context("fork"), 0, True
    while died:
        step += 1
        root = tmp_path / str(step)
        shutil.copytree(landing.root, root)
        child = context.Process(target=_compact_killed_at, args=(root, step))
        child.start()
        child.join(30)
        died = child.exitcode == -signal.SIGKILL
        assert died or child.exitcode == 0
        assert said(Landing(root)) == before, step
        compact(Landing(root), *KEY, keep_newest=1)
        assert said(Landing(root)) == before, step
        names = [p.name for p in sorted((root / "jaki" / "app").rglob("*.parquet"))]
        assert names == ["000000023.parquet", "000000000-000000015.parquet", "000000016-000000022.parquet"], step
    assert step > 30


def _pull(root: Path, rounds: int) -> None:
    """Take the next numbers of a shared counter, as a source takes what follows its cursor."""
    landing, done = Landing(root), 0
    while done < rounds:
        head = landing.head(STREAM)
        start = (head.cursor or {"next": 0})["next"]
        if random.random() < 0.2:  # a puller that is slow, so that others pass it
            for _ in range(20):
                landing.head(STREAM)
        done += put(landing, head, [f"{n:06d}" for n in range(start, start + 3)], {"next": start + 3}) is not None


def _compact_forever(root: Path) -> None:
    _shrink()
    while True:
        compact(Landing(root), *KEY, keep_newest=1)


def _counted(landing: Landing, batches_: int) -> None:
    sequences = landing.sequences(*KEY)
    assert sequences == list(range(batches_))
    tables = [landing.table(*KEY, run) for run in landing.runs(*KEY, sequences)]
    landed = [ref for table in tables for ref in table["source_ref"].to_pylist()]
    assert landed == [f"{n:06d}" for n in range(3 * batches_)]
    assert landing.head(STREAM).cursor == {"next": 3 * batches_}


def test_three_pullers_and_two_compactions_at_once_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    pullers = [context.Process(target=_pull, args=(tmp_path, 120)) for _ in range(3)]
    compactors = [context.Process(target=_compact_forever, args=(tmp_path,)) for _ in range(2)]
    for process in (*pullers, *compactors):
        process.start()
    reader, seen = Landing(tmp_path), 0
    while any(puller.is_alive() for puller in pullers):
        _counted_so_far = reader.sequences(*KEY)
        assert _counted_so_far == list(range(len(_counted_so_far))) and len(_counted_so_far) >= seen
        seen = len(_counted_so_far)
        for n in _counted_so_far[-30::7]:
            assert reader.read(BatchRef(*KEY, n)).num_rows == 3
    for puller in pullers:
        puller.join(60)
        assert puller.exitcode == 0
    for compactor in compactors:
        assert compactor.is_alive(), "a compaction failed"
        compactor.kill()
        compactor.join(30)
    assert reader.floor(*KEY) > 100
    _counted(Landing(tmp_path), 360)


def test_compactions_killed_at_any_moment_while_a_puller_goes_on_lose_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    puller = context.Process(target=_pull, args=(tmp_path, 400))
    puller.start()
    kills = 0
    while puller.is_alive():
        compactor = context.Process(target=_compact_forever, args=(tmp_path,))
        compactor.start()
        compactor.join(random.uniform(0.01, 0.15))
        assert compactor.is_alive(), "the compaction failed"
        os.kill(compactor.pid or 0, signal.SIGKILL)
        compactor.join(30)
        kills += 1
    assert puller.exitcode == 0
    assert kills > 3
    compact(Landing(tmp_path), *KEY, keep_newest=1)
    _counted(Landing(tmp_path), 400)
