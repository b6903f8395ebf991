"""Requests of one stream -> batches in landing; a request is answered when its batch is durable.

Under light load a batch lands 20 ms after its first message and 200 ms after the batch before, so that
nobody waits longer and landing gets five small files a second at most; where many wait, they make a
full batch at once. Full queue, full disk: the sender is told to come again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import NamedTuple

from pipelines.contracts import Message, Stream
from pipelines.errors import KanalError, TransientError
from pipelines.intake.metrics import Metrics
from pipelines.sinks.landing import Head, Landing

log = logging.getLogger(__name__)

_GATHER, _EVERY = 0.02, 0.2  # seconds
_ENOUGH = 64  # messages that make a batch at once
_BATCH = 1000
_MOST = 5000  # messages that may wait
_RECENT = 20_000  # durable ids remembered
_RACES = 100  # batches of other processes to stand behind before giving up


class _Waiting(NamedTuple):
    messages: Sequence[Message]
    since: float
    durable: asyncio.Future[None]


class Committer:
    """The way of one stream into landing. Everything but the writing happens in the event loop."""

    def __init__(
        self,
        landing: Landing,
        stream: Stream,
        metrics: Metrics,
        *,
        source_version: str,
        run_id: str,
        now: Callable[[], datetime],
    ) -> None:
        self._landing, self._stream, self._metrics = landing, stream, metrics
        self._source_version, self._run_id, self._now = source_version, run_id, now
        self._queue: deque[_Waiting] = deque()
        self._some, self._enough = asyncio.Event(), asyncio.Event()
        self._closing = False
        self._head: Head | None = None
        self._recent: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._landing_since: float | None = None
        self.waiting = 0
        self.broken: str | None = None  # why the last batch could not be landed

    @property
    def oldest(self) -> float:
        """Seconds that the oldest message has waited, one that is being landed included."""
        first = self._landing_since or (self._queue[0].since if self._queue else None)
        return 0.0 if first is None else time.monotonic() - first

    async def land(self, messages: Sequence[Message]) -> int:
        """Come back when all are durable; how many were so before. Raises KanalError where they cannot be."""
        fresh = [m for m in messages if (m.source_ref, m.version) not in self._recent]
        if fresh:
            if self._closing or self.waiting + len(fresh) > _MOST:
                raise TransientError(f"{self._stream.key}: too many messages wait", retry_after=2)
            durable = asyncio.get_running_loop().create_future()
            self._queue.append(_Waiting(fresh, time.monotonic(), durable))
            self.waiting += len(fresh)
            self._some.set()
            if self.waiting >= _ENOUGH:
                self._enough.set()
            await durable
        return len(messages) - len(fresh)

    async def run(self) -> None:
        """Land what comes until `close`."""
        last = float("-inf")
        while True:
            await self._some.wait()
            if not self._queue:  # woken to end
                return
            left = max(self._queue[0].since + _GATHER, last + _EVERY) - time.monotonic()
            if left > 0 and not self._closing:
                with suppress(TimeoutError):
                    async with asyncio.timeout(left):
                        await self._enough.wait()
            last = time.monotonic()
            await self._commit(self._taken())
            if not self._queue and not self._closing:
                self._some.clear()

    def close(self) -> None:
        """Take nothing more; `run` ends when what waits has landed."""
        self._closing = True
        self._some.set()
        self._enough.set()

    def _taken(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        size = 0
        while self._queue and (not batch or size + len(self._queue[0].messages) <= _BATCH):
            batch.append(self._queue.popleft())
            size += len(batch[-1].messages)
        self.waiting -= size
        if self.waiting < _ENOUGH and not self._closing:
            self._enough.clear()
        return batch

    async def _commit(self, batch: list[_Waiting]) -> None:
        messages = [m for waiting in batch for m in waiting.messages]
        begin = time.monotonic()
        failure: Exception | None = None
        self._landing_since = batch[0].since
        try:
            await asyncio.to_thread(self._put, messages)
        except KanalError as error:
            failure = error
        except Exception as error:  # noqa: BLE001 - whatever it is, senders must be told; its text may quote them
            failure = TransientError(f"{self._stream.key}: {type(error).__name__} while landing")
        self._landing_since = None
        if failure:
            if self.broken is None:  # once, not five times a second
                log.error("%s", failure)
            self._head = None
            self._metrics.count("failures", stream=self._stream.key)
        else:
            self._metrics.count("batches", stream=self._stream.key)
            self._metrics.count("messages", len(messages), stream=self._stream.key, outcome="landed")
            self._metrics.committed(time.monotonic() - begin)
            self._remember(messages)
            if self.broken is not None:
                log.info("%s: lands again", self._stream.key)
        self.broken = str(failure) if failure else None
        for waiting in batch:
            if waiting.durable.done():
                continue
            if failure:
                waiting.durable.set_exception(failure)
            else:
                waiting.durable.set_result(None)

    def _put(self, messages: Sequence[Message]) -> None:
        for _ in range(_RACES):
            head = self._head or self._landing.head(self._stream)
            self._head = self._landing.put(
                self._stream,
                head,
                messages,
                head.cursor or {},
                source_version=self._source_version,
                run_id=self._run_id,
                now=self._now(),
            )
            if self._head is not None:
                return
        raise TransientError(f"{self._stream.key}: other processes land this stream without a pause", retry_after=5)

    def _remember(self, messages: Sequence[Message]) -> None:
        for message in messages:
            self._recent[message.source_ref, message.version] = None
        while len(self._recent) > _RECENT:
            self._recent.popitem(last=False)
