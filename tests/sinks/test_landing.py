"""The landing zone: one atomic act for messages and cursor, whoever else is writing, whatever is killed."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.contracts import Message, Stream
from pipelines.errors import PermanentError, TransientError
from pipelines.sinks.durable import put_if_absent
from pipelines.sinks.landing import BatchRef, Head, Landing

STREAM = Stream("jaki", "app", "export", {"inbox": "jaki"})
MIDNIGHT = datetime(2026, 11, 20, 17, 0, tzinfo=UTC)  # in Jakarta
SAID = datetime(2026, 11, 19, 3, 4, 5, 678901, tzinfo=UTC)


def message(ref: str, payload: bytes = b"{}") -> Message:
    return Message(ref, "v1", payload, "application/json", MIDNIGHT, occurred_at=SAID, origin="file.csv row 1")


def put(
    landing: Landing, after: Head, refs: list[str], cursor: dict | None = None, now: datetime = MIDNIGHT
) -> Head | None:
    messages = [message(ref) for ref in refs]
    return landing.put(STREAM, after, messages, cursor or {"n": refs}, source_version="1", run_id="r", now=now)


def test_what_was_put_is_read_back_whole_with_its_cursor_and_footer(tmp_path: Path) -> None:
    landing = Landing(tmp_path)
    head = put(landing, landing.head(STREAM), ["a", "b"], {"last": "b"})
    assert head == Head(0, {"last": "b"}) == landing.head(STREAM)
    [ref] = [BatchRef("jaki", "app", n) for n in landing.sequences("jaki", "app")]
    rows = landing.read(ref).to_pylist()
    assert rows == [
        {
            "source_ref": name, "version": "v1", "occurred_at": SAID, "edited_at": None, "fetched_at": MIDNIGHT,
            "landed_day": datetime(2026, 11, 21).date(), "payload_type": "application/json", "payload": b"{}",
            "origin": "file.csv row 1", "problem": None,
        }
        for name in ("a", "b")
    ]  # fmt: skip
    footer = landing.footer(ref)
    assert (footer.cursor, footer.landed_at, footer.run_id, footer.rows) == ({"last": "b"}, MIDNIGHT, "r", 2)
    assert (footer.source, footer.options) == ("export", {"inbox": "jaki"})
    assert landing.streams() == [("jaki", "app")]


def test_an_empty_batch_is_written_only_if_the_cursor_moved(tmp_path: Path) -> None:
    landing = Landing(tmp_path)
    first = put(landing, Head(-1, None), ["a"], {"last": "a"})
    assert first is not None
    assert put(landing, first, [], {"last": "a"}) is first
    assert put(landing, first, [], {"last": "z"}) == Head(1, {"last": "z"})
    assert landing.sequences("jaki", "app") == [0, 1]


def test_whoever_comes_second_is_told_to_read_again_and_the_first_stays(tmp_path: Path) -> None:
    landing = Landing(tmp_path)
    start = landing.head(STREAM)
    assert put(landing, start, ["mine"]) is not None
    assert put(landing, start, ["yours"]) is None
    assert landing.read(BatchRef("jaki", "app", 0))["source_ref"].to_pylist() == ["mine"]


def test_folders_are_for_their_owner_alone(tmp_path: Path) -> None:
    put(Landing(tmp_path / "landing"), Head(-1, None), ["a"])
    for folder in [tmp_path / "landing", *(p for p in (tmp_path / "landing").rglob("*") if p.is_dir())]:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700, folder


def test_a_thousand_and_one_batches_stand_in_two_folders_and_the_newest_is_found(tmp_path: Path) -> None:
    landing, head = Landing(tmp_path), Head(998, None)
    for _ in range(3):
        head = put(landing, head, ["x"])
        assert head is not None
    assert [p.name for p in sorted((tmp_path / "jaki" / "app").iterdir())] == ["000000", "000001"]
    assert landing.head(STREAM).sequence == 1001
    assert landing.sequences("jaki", "app", above=999) == [1000, 1001]


def test_a_shard_folder_without_a_file_does_not_hide_the_newest_batch(tmp_path: Path) -> None:
    landing = Landing(tmp_path)
    put(landing, Head(-1, None), ["a"])
    (tmp_path / "jaki" / "app" / "000001").mkdir()
    (tmp_path / "jaki" / "app" / "000000" / ".0123.tmp").write_bytes(b"half")
    assert landing.head(STREAM).sequence == 0


def test_a_torn_file_stops_the_stream_with_words_for_an_operator(tmp_path: Path) -> None:
    landing = Landing(tmp_path)
    put(landing, Head(-1, None), ["a"])
    path = landing.path(BatchRef("jaki", "app", 0))
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(PermanentError, match="restore it from a backup"):
        landing.head(STREAM)
    with pytest.raises(PermanentError, match="restore it from a backup"):
        landing.read(BatchRef("jaki", "app", 0))


@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "b"]), st.sampled_from(["x", "y"]), st.integers(0, 40)), unique=True, min_size=1
    )
)
def test_an_entry_of_the_order_log_names_exactly_the_batches_it_was_given(
    tmp_path_factory: pytest.TempPathFactory, batches: list[tuple[str, str, int]]
) -> None:
    landing = Landing(tmp_path_factory.mktemp("order"))
    refs = [BatchRef(*b) for b in batches]
    assert landing.append_order(0, refs, {"code": "1"})
    assert not landing.append_order(0, [BatchRef("other", "x", 1)], {"code": "2"})
    [entry] = landing.order()
    assert (entry.number, list(entry.batches), entry.versions) == (0, sorted(refs), {"code": "1"})
    assert list(landing.order(above=0)) == []


# --- two processes ---


def _pull(root: Path, name: str, rounds: int, gate: multiprocessing.Barrier) -> None:
    """Take the next numbers of a shared counter, as a source takes what follows its cursor."""
    landing = Landing(root)
    gate.wait()
    done = 0
    while done < rounds:
        head = landing.head(STREAM)
        start = (head.cursor or {"next": 0})["next"]
        # Half of the batches land before midnight in Jakarta, half after it.
        now = MIDNIGHT + timedelta(seconds=start - rounds)
        refs = [f"{n:06d}" for n in range(start, start + 3)]
        if put(landing, head, refs, {"next": start + 3, "by": name}, now) is not None:
            done += 1


def test_two_processes_over_midnight_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    gate, rounds = context.Barrier(2), 40
    pullers = [context.Process(target=_pull, args=(tmp_path, name, rounds, gate)) for name in ("one", "two")]
    for puller in pullers:
        puller.start()
    for puller in pullers:
        puller.join(60)
        assert puller.exitcode == 0
    landing = Landing(tmp_path)
    tables = [landing.read(BatchRef("jaki", "app", n)) for n in landing.sequences("jaki", "app")]
    landed = [ref for table in tables for ref in table["source_ref"].to_pylist()]
    assert landed == [f"{n:06d}" for n in range(2 * rounds * 3)]
    assert len({day for table in tables for day in table["landed_day"].to_pylist()}) == 2


def _put_forever(root: Path) -> None:
    landing = Landing(root)
    while True:
        head = landing.head(STREAM)
        start = (head.cursor or {"next": 0})["next"]
        put(landing, head, [f"{n:06d}" for n in range(start, start + 200)], {"next": start + 200})


def test_a_puller_killed_at_any_moment_leaves_a_log_without_gap_or_tear(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    landing = Landing(tmp_path)
    for wanted in range(1, 16):
        puller = context.Process(target=_put_forever, args=(tmp_path,))
        puller.start()
        while len(landing.sequences("jaki", "app")) < 3 * wanted:
            assert puller.is_alive()
        os.kill(puller.pid or 0, signal.SIGKILL)
        puller.join(30)
    sequences = landing.sequences("jaki", "app")
    assert sequences == list(range(len(sequences)))
    landed = [ref for n in sequences for ref in landing.read(BatchRef("jaki", "app", n))["source_ref"].to_pylist()]
    assert landed == [f"{n:06d}" for n in range(200 * len(sequences))]
    assert landing.head(STREAM).cursor == {"next": len(landed)}


def test_put_if_absent_never_replaces_and_leaves_no_scraps(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "file"
    assert put_if_absent(path, b"first")
    assert not put_if_absent(path, b"second")
    assert path.read_bytes() == b"first"
    assert [p.name for p in path.parent.iterdir()] == ["file"]


def test_the_folder_that_holds_landing_can_be_reached_by_analysts(tmp_path: Path) -> None:
    umask = os.umask(0o022)
    try:
        put(Landing(tmp_path / "data" / "landing"), Head(-1, None), ["a"])
    finally:
        os.umask(umask)
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o750
    assert stat.S_IMODE((tmp_path / "data" / "landing").stat().st_mode) == 0o700


def test_a_full_disk_is_waited_for_and_leaves_no_scraps(tmp_path: Path) -> None:
    landing = Landing(tmp_path)
    head = put(landing, Head(-1, None), ["a"])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(TransientError, match=f"landing: {tmp_path}/jaki/app/000000 cannot be written .*free space"):
            put(landing, head, ["b"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [p.name for p in (tmp_path / "jaki" / "app" / "000000").iterdir()] == ["000000000.parquet"]
    assert put(landing, head, ["b"]) == Head(1, {"n": ["b"]})


def test_a_folder_that_cannot_be_written_is_for_a_person(tmp_path: Path) -> None:
    (tmp_path / "jaki").write_text("a file where a folder should be")
    with pytest.raises(PermanentError, match=f"landing: {tmp_path}/jaki/app/000000 cannot be written .*permissions"):
        put(Landing(tmp_path), Head(-1, None), ["a"])


def test_a_file_of_somebody_else_in_landing_is_told_as_such(tmp_path: Path) -> None:
    landing = Landing(tmp_path)
    put(landing, Head(-1, None), ["a"])
    ref = BatchRef("jaki", "app", 0)
    pq.write_table(pa.table({"x": [1]}), landing.path(ref))
    with pytest.raises(PermanentError, match="restore it from a backup"):
        landing.footer(ref)


def test_a_torn_entry_of_the_order_log_is_told_and_nothing_goes_past_it(tmp_path: Path) -> None:
    landing = Landing(tmp_path)
    for number in range(2):
        landing.append_order(number, [BatchRef("jaki", "app", number)], {"code": "1"})
    landing._order_path(0).write_bytes(b'{"batches": [["ja')
    with pytest.raises(PermanentError, match="entry 0 of the order log cannot be read .*restore it from a backup"):
        list(landing.order())
