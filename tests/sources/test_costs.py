"""What reading costs: the ledger against the emulator's own bill, and budgets that are never passed."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.contracts import Stream
from pipelines.errors import TransientError
from pipelines.sources import twitter
from pipelines.sources.costs import KEPT_DAYS, Ledger
from tests.peers.x_emulator import XEmulator, post

NOON = datetime(2026, 10, 7, 12, 0, tzinfo=UTC)
LATE = datetime(2026, 10, 7, 23, 50, tzinfo=UTC)
GENTLY = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(autouse=True)
def _token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KANAL_UJI_TOKEN", "kanari")


class Reader:
    """A stream and what it landed."""

    def __init__(self, x: XEmulator, **options: Any) -> None:
        known = {"user_id": "1001", "bearer_env": "KANAL_UJI_TOKEN", "api_base": x.url, "max_results": 10}
        self.x, self.stream = x, Stream("twitter", "uji", "twitter", {**known, **options})
        self.cursor: dict[str, Any] | None = None
        self.ids: list[str] = []

    def pull(self, most: int | None = None) -> None:
        for batch in islice(twitter.pull(self.stream, self.cursor, now=lambda: self.x.now), most):
            self.cursor = batch.cursor
            self.ids += [m.version for m in batch.messages]

    @property
    def spend(self) -> dict[str, Any]:
        return (self.cursor or {}).get("spend", {})


def emulator(now: datetime) -> XEmulator:
    x = XEmulator(token="kanari", user_id="1001", now=now)
    x.other["users"] = [{"id": str(n), "name": f"Warga {n}", "username": f"warga{n}"} for n in range(10)]
    x.other["media"] = [{"media_key": "3_1", "type": "photo"}]
    x.other["tweets"] = [{"id": "55", "text": "asal", "author_id": "3"}]
    return x


def said(at: datetime, number: int, **fields: Any) -> dict[str, Any]:
    return post(at, f"jalan rusak {number}", number, author_id=str(number % 10), **fields)


def test_the_ledger_holds_what_x_bills_posts_authors_media_and_posts_referred_to() -> None:
    with emulator(NOON) as x:
        x.posts = [said(NOON - timedelta(minutes=n), n) for n in range(1, 25)]
        x.posts[3] |= {"attachments": {"media_keys": ["3_1"]}, "referenced_tweets": [{"type": "quoted", "id": "55"}]}
        reader = Reader(x)
        reader.pull()
        assert reader.spend == x.bill == {"2026-10-07": {"posts": 25, "users": 10, "media": 1, "usd": 0.23}}


@pytest.mark.parametrize("dialect", ["tweet", "post"])
def test_earlier_versions_of_a_post_are_not_paid_for(dialect: str) -> None:
    with emulator(NOON) as x:
        first, second = said(NOON - timedelta(minutes=9), 1), said(NOON - timedelta(minutes=8), 1)
        x.posts = [second | {"edit_history_tweet_ids": [first["id"], second["id"]]}]
        x.other["tweets"].append(first)
        reader = Reader(x, dialect=dialect)
        reader.pull()
        assert reader.spend == x.bill == {"2026-10-07": {"posts": 1, "users": 1, "usd": 0.015}}


def test_mentions_of_the_owners_account_cost_a_fifth() -> None:
    with emulator(NOON) as x:
        x.owner, x.posts = True, [said(NOON, 1)]
        reader = Reader(x, owned=True)
        reader.pull()
        assert reader.spend == x.bill == {"2026-10-07": {"owned": 1, "users": 1, "usd": 0.011}}


def test_the_overlap_costs_nothing_on_the_same_utc_day_and_is_paid_again_on_the_next() -> None:
    with emulator(LATE) as x:
        x.posts = [said(LATE - timedelta(minutes=n), n) for n in range(1, 6)]
        reader = Reader(x)
        reader.pull()
        before = reader.cursor
        reader.pull()
        assert reader.cursor == before
        x.now = LATE + timedelta(minutes=15)  # 00:05 UTC: the five are met again in the overlap
        reader.pull()
        assert reader.ids == [p["id"] for p in x.posts]
        assert reader.spend == x.bill
        assert reader.spend["2026-10-08"]["posts"] == 5
        again = reader.cursor
        reader.pull()
        assert reader.cursor == again


@GENTLY
@given(st.lists(st.tuples(st.integers(0, 25), st.integers(0, 600), st.none() | st.integers(1, 3)), max_size=6))
def test_posts_are_counted_as_x_counts_them_however_pulls_are_cut_off(
    steps: list[tuple[int, int, int | None]],
) -> None:
    with emulator(NOON) as x:
        reader, number = Reader(x), 0
        for arrivals, minutes, most in steps:
            x.now += timedelta(minutes=minutes)
            for _ in range(arrivals):
                number += 1
                x.posts.append(said(x.now - timedelta(seconds=number % 50), number))
            reader.pull(most)
            if most:
                reader.pull()  # the same day, so what was read and not landed is not billed again
        posts = {day: row["posts"] for day, row in reader.spend.items()}
        assert posts == {day: row["posts"] for day, row in x.bill.items()}


@GENTLY
@given(st.floats(0, 3), st.integers(0, 120), st.booleans())
def test_a_budget_is_never_passed_and_reading_goes_on_the_next_day(budget: float, posts: int, cut: bool) -> None:
    with emulator(NOON) as x:
        x.posts = [
            said(NOON - timedelta(minutes=n), n, referenced_tweets=[{"type": "quoted", "id": "55"}])
            for n in range(posts)
        ]
        reader = Reader(x, budget_usd_per_day=budget, max_results=100)
        for _ in range(2):
            with contextlib.suppress(TransientError):
                reader.pull(1 if cut else None)
        assert all(row["usd"] <= budget for row in x.bill.values())
        generous = Reader(x)
        generous.cursor, generous.ids = reader.cursor, reader.ids
        generous.pull()
        assert generous.ids == [p["id"] for p in x.posts]


def test_a_spent_budget_says_how_much_and_until_when() -> None:
    with emulator(NOON) as x:
        x.posts = [said(NOON - timedelta(minutes=n), n) for n in range(60)]
        reader = Reader(x, budget_usd_per_day=0.7)
        with pytest.raises(TransientError, match=r"twitter/uji: .*0\.\d\d US\$ and \d+ posts so far") as caught:
            reader.pull()
        assert caught.value.retry_after == 12 * 3600
        spent, asked = x.bill["2026-10-07"]["usd"], len(x.asked)
        with pytest.raises(TransientError, match="goes on at 00:00 UTC"):
            reader.pull()
        assert (x.bill["2026-10-07"]["usd"], len(x.asked)) == (spent, asked)
        x.now += timedelta(days=1)
        with contextlib.suppress(TransientError):
            reader.pull()
        assert x.bill["2026-10-08"]["usd"] <= 0.7
        assert len(set(reader.ids)) == len(reader.ids) > 20


def test_a_budget_of_reads_stops_too() -> None:
    with emulator(NOON) as x:
        x.posts = [said(NOON - timedelta(minutes=n), n) for n in range(60)]
        reader = Reader(x, budget_reads_per_day=40)
        with pytest.raises(TransientError, match="budget_reads_per_day"):
            reader.pull()
        assert 20 <= x.bill["2026-10-07"]["posts"] <= 40


def test_days_older_than_35_are_forgotten() -> None:
    ledger = Ledger(Stream("twitter", "uji", "twitter", {}), {})
    for day in range(50):
        ledger.charge(NOON + timedelta(days=day), "post", str(day), {})
    spend = ledger.kept(())["spend"]
    assert (len(spend), min(spend)) == (KEPT_DAYS, "2026-10-22")


def test_prices_are_settings() -> None:
    stream = Stream("twitter", "uji", "twitter", {"prices": {"post": 0.02, "user": 0}})
    ledger = Ledger(stream, {})
    ledger.charge(NOON, "post", "1", {"user": ["7"], "media": ["3_1"]})
    assert ledger.kept(("1",)) == {
        "spend": {"2026-10-07": {"posts": 1, "users": 1, "media": 1, "usd": 0.025}},
        "paid": {"day": "2026-10-07", "posts": ["1"]},
    }
