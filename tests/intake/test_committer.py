"""Requests of one stream become batches: few, full, durable before anybody is told, and none lost at the end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pipelines.contracts import Message, Stream
from pipelines.errors import KanalError, TransientError
from pipelines.intake.committer import Committer
from pipelines.intake.metrics import Metrics
from pipelines.sinks.landing import BatchRef, Landing

STREAM = Stream("sms", "uji", "webhook", {})
NOW = datetime(2026, 11, 26, 3, 0, tzinfo=UTC)


def message(own: str, version: str = "1") -> Message:
    return Message(own, version, own.encode(), "text/plain", NOW)


class Gate(Landing):
    """A landing that writes only while it is open."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.open = threading.Event()
        self.open.set()

    def put(self, *args: Any, **more: Any) -> Any:
        assert self.open.wait(30)
        return super().put(*args, **more)


def with_committer(landing: Landing, act: Callable[[Committer], Awaitable[None]]) -> Metrics:
    metrics = Metrics()

    async def main() -> None:
        committer = Committer(landing, STREAM, metrics, source_version="1", run_id="uji", now=lambda: NOW)
        running = asyncio.create_task(committer.run())
        await act(committer)
        committer.close()
        await running

    asyncio.run(main())
    return metrics


@pytest.fixture
def landing(tmp_path: Path) -> Gate:
    return Gate(tmp_path / "landing")


def landed(landing: Landing) -> list[list[str]]:
    """Ids, batch by batch."""
    sequences = landing.sequences(STREAM.channel, STREAM.name)
    return [landing.read(BatchRef("sms", "uji", n))["source_ref"].to_pylist() for n in sequences]


def test_whoever_comes_back_is_in_landing_and_many_share_a_batch(landing: Gate) -> None:
    async def act(committer: Committer) -> None:
        async def one(number: int) -> None:
            await committer.land([message(f"m{number}")])
            assert f"m{number}" in {own for batch in landed(landing) for own in batch}

        await asyncio.gather(*(one(n) for n in range(50)))

    with_committer(landing, act)
    batches = landed(landing)
    assert sorted(own for batch in batches for own in batch) == sorted(f"m{n}" for n in range(50))
    assert len(batches) == 1


def test_the_messages_of_one_request_stay_together_in_their_order(landing: Gate) -> None:
    async def act(committer: Committer) -> None:
        await asyncio.gather(*(committer.land([message(f"{n}.{k}") for k in range(400)]) for n in range(5)))

    with_committer(landing, act)
    batches = landed(landing)
    assert all(len(batch) <= 1000 for batch in batches)
    for n in range(5):
        own = [f"{n}.{k}" for k in range(400)]
        [home] = [batch for batch in batches if own[0] in batch]
        assert home[home.index(own[0]) :][:400] == own


def test_what_is_durable_already_is_not_landed_again_and_a_new_version_is(landing: Gate) -> None:
    async def act(committer: Committer) -> None:
        assert await committer.land([message("a")]) == 0
        assert await committer.land([message("a")]) == 1
        assert await committer.land([message("a", "2"), message("b")]) == 0
        assert await committer.land([]) == 0

    with_committer(landing, act)
    assert landed(landing) == [["a"], ["a", "b"]]


def test_what_only_waits_is_not_taken_for_durable(landing: Gate) -> None:
    async def act(committer: Committer) -> None:
        landing.open.clear()
        twice = [asyncio.create_task(committer.land([message("a")])) for _ in range(2)]
        await asyncio.sleep(0.1)
        assert not any(task.done() for task in twice)
        landing.open.set()
        await asyncio.gather(*twice)

    with_committer(landing, act)
    assert {own for batch in landed(landing) for own in batch} == {"a"}


def test_a_full_queue_sends_whoever_comes_next_away_and_keeps_what_it_has(landing: Gate) -> None:
    async def act(committer: Committer) -> None:
        landing.open.clear()

        def more(number: int) -> asyncio.Task[int]:
            return asyncio.create_task(committer.land([message(f"{number}.{k}") for k in range(1000)]))

        held = [more(0)]
        await asyncio.sleep(0.2)
        assert committer.waiting == 0 and committer.oldest > 0.1  # being landed, which does not end
        held += [more(n) for n in range(1, 6)]
        await asyncio.sleep(0.1)
        assert committer.waiting == 5000
        with pytest.raises(TransientError, match="too many messages wait") as error:
            await committer.land([message("lagi")])
        assert error.value.retry_after
        landing.open.set()
        await asyncio.gather(*held)
        await committer.land([message("nanti")])
        assert committer.waiting == 0

    with_committer(landing, act)
    assert sorted(map(len, landed(landing))) == [1, *[1000] * 6]


def test_what_cannot_be_landed_is_told_to_all_who_wait_and_lands_when_it_can(tmp_path: Path) -> None:
    (tmp_path / "landing").write_text("no folder")

    async def act(committer: Committer) -> None:
        waiting = [committer.land([message(f"m{n}")]) for n in range(3)]
        told = await asyncio.gather(*waiting, return_exceptions=True)
        assert [isinstance(error, KanalError) for error in told] == [True] * 3
        assert committer.broken is not None
        (tmp_path / "landing").unlink()
        await asyncio.gather(*(committer.land([message(f"m{n}")]) for n in range(3)))
        assert committer.broken is None

    metrics = with_committer(Landing(tmp_path / "landing"), act)
    assert landed(Landing(tmp_path / "landing")) == [["m0", "m1", "m2"]]
    assert 'kanal_intake_failures_total{stream="sms/uji"} 1\n' in metrics.text(0, 0)


def test_at_the_end_what_waits_lands_and_nothing_more_is_taken(landing: Gate) -> None:
    async def act(committer: Committer) -> None:
        landing.open.clear()
        held = [asyncio.create_task(committer.land([message(own)])) for own in ("a", "b")]
        await asyncio.sleep(0.1)
        late = asyncio.create_task(committer.land([message("c")]))
        await asyncio.sleep(0)
        committer.close()
        with pytest.raises(TransientError):
            await committer.land([message("d")])
        landing.open.set()
        await asyncio.gather(*held, late)

    with_committer(landing, act)
    assert sorted(own for batch in landed(landing) for own in batch) == ["a", "b", "c"]


def test_figures_are_in_the_form_that_prometheus_reads() -> None:
    metrics = Metrics()
    metrics.count("requests", stream="sms/uji", outcome="accepted")
    metrics.count("requests", 2, stream="sms/uji", outcome="too many")
    for seconds in (0.004, 0.03, 99.0):
        metrics.committed(seconds)
    lines = [line for line in metrics.text(3, 0.25).splitlines() if not line.startswith("#")]
    assert lines == [
        'kanal_intake_requests_total{outcome="accepted",stream="sms/uji"} 1',
        'kanal_intake_requests_total{outcome="too many",stream="sms/uji"} 2',
        "kanal_intake_waiting 3",
        "kanal_intake_oldest_waiting_seconds 0.25",
        'kanal_intake_commit_seconds_bucket{le="0.005"} 1',
        'kanal_intake_commit_seconds_bucket{le="0.01"} 1',
        'kanal_intake_commit_seconds_bucket{le="0.025"} 1',
        *(
            f'kanal_intake_commit_seconds_bucket{{le="{bound}"}} 2'
            for bound in ("0.05", "0.1", "0.2", "0.5", "1.0", "5.0")
        ),
        'kanal_intake_commit_seconds_bucket{le="+Inf"} 3',
        "kanal_intake_commit_seconds_sum 99.034",
        "kanal_intake_commit_seconds_count 3",
    ]
