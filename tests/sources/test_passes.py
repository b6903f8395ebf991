"""However pulls are cut off and whatever arrives meanwhile, each item comes, and comes once."""

from __future__ import annotations

import contextlib
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import islice
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.contracts import Stream
from pipelines.errors import TransientError
from pipelines.sources import facebook, twitter
from tests.peers.api_server import Fault
from tests.peers.graph_emulator import GraphEmulator, facebook_time
from tests.peers.x_emulator import XEmulator, post

START = datetime(2026, 10, 1, tzinfo=UTC)
# (batches landed before the pull is cut off, or None for all; requests until one fails; items that
# arrive after it, each so many minutes late)
STEPS = st.lists(
    st.tuples(
        st.none() | st.integers(0, 4),
        st.none() | st.integers(0, 4),
        st.lists(st.integers(0, 25), max_size=14),
    ),
    min_size=1,
    max_size=6,
)
GENTLY = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(autouse=True)
def _token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KANAL_UJI_TOKEN", "kanari")


class Landed:
    """What a stream landed: each item's count, and the newest cursor."""

    def __init__(self, source: ModuleType, stream: Stream) -> None:
        self.source, self.stream = source, stream
        self.cursor: dict[str, Any] | None = None
        self.count: Counter[tuple[str, str]] = Counter()

    def pull(self, now: datetime, most: int | None = None) -> None:
        with contextlib.suppress(TransientError):
            for batch in islice(self.source.pull(self.stream, self.cursor, now=lambda: now), most):
                self.count.update((m.source_ref, m.version) for m in batch.messages)
                self.cursor = batch.cursor


@GENTLY
@given(STEPS)
def test_no_post_of_x_is_lost_or_doubled(steps: list[tuple[int | None, int | None, list[int]]]) -> None:
    with XEmulator(token="kanari", user_id="1001", now=START) as x:
        options = {"user_id": "1001", "bearer_env": "KANAL_UJI_TOKEN", "api_base": x.url, "max_results": 5}
        landed = Landed(twitter, Stream("twitter", "uji", "twitter", options))
        now, serial = START, 0
        for most, fails, arrivals in steps:
            now += timedelta(minutes=10)
            for late in arrivals:
                serial += 1
                x.posts.append(post(now - timedelta(minutes=late), "jalan rusak", serial))
            x.faults.extend([*[None] * fails, Fault(503)] if fails is not None else [])
            landed.pull(now, most)
            x.faults.clear()
        for _ in range(2):  # one to end a pass that was cut off, one for what came since
            landed.pull(now)
        assert landed.count == Counter((p["id"], p["id"]) for p in x.posts)
        assert "pass" not in (landed.cursor or {})


@GENTLY
@given(STEPS, st.data())
def test_no_post_or_comment_of_facebook_is_lost_or_doubled(
    steps: list[tuple[int | None, int | None, list[int]]], data: st.DataObject
) -> None:
    with GraphEmulator(token="kanari", page_id="7001") as graph, pytest.MonkeyPatch.context() as patch:
        patch.setattr(facebook, "_COMMENTS", 3)
        patch.setattr(facebook, "_POST_FIELDS", facebook._POST_FIELDS.replace("limit(50)", "limit(3)"))
        options = {"page_id": "7001", "token_env": "KANAL_UJI_TOKEN", "api_base": graph.url, "max_results": 3}
        landed = Landed(facebook, Stream("facebook", "uji", "facebook", options))
        now, serial = START, 0
        for most, fails, arrivals in steps:
            now += timedelta(hours=1)
            for late in arrivals:
                serial += 1
                made = facebook_time(now - timedelta(minutes=late, seconds=-(serial % 60)))
                item = {"id": f"7001_{serial}", "message": "jalan rusak", "created_time": made}
                posts = graph.lists["feed"]
                if posts and data.draw(st.sampled_from([True, False])):
                    below = data.draw(st.sampled_from(posts))["id"]
                    item["id"] = f"{below.split('_')[1]}_{serial}"
                    item["created_time"] = facebook_time(now + timedelta(seconds=serial))
                    graph.comments.setdefault(below, []).append(item)
                else:
                    posts.append(item)
            graph.faults.extend([*[None] * fails, Fault(503)] if fails is not None else [])
            landed.pull(now, most)
            graph.faults.clear()
        for _ in range(2):
            landed.pull(now)
        items = [*graph.lists["feed"], *(c for cs in graph.comments.values() for c in cs)]
        assert Counter(ref for ref, _ in landed.count.elements()) == Counter(i["id"] for i in items)
        assert "pass" not in (landed.cursor or {})
