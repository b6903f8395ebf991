"""X: recent search beside mentions, limits before they refuse, clocks that are off, what the doctor asks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import pytest

from pipelines.contracts import Batch, Stream
from pipelines.errors import PermanentError, SettingsError, TransientError
from pipelines.sources import twitter
from tests.peers.api_server import Fault
from tests.peers.x_emulator import XEmulator, post

NOW = datetime(2026, 10, 7, 3, 0, tzinfo=UTC)
USER = "1001"


@pytest.fixture
def x(monkeypatch: pytest.MonkeyPatch) -> Iterator[XEmulator]:
    monkeypatch.setenv("KANAL_UJI_X", "kanari")
    with XEmulator(token="kanari", user_id=USER, now=NOW) as server:
        server.other["users"] = [{"id": "1001", "name": "Dinas", "username": "dinas_contoh"}]
        yield server


def stream_of(x: XEmulator, **options: Any) -> Stream:
    known = {"bearer_env": "KANAL_UJI_X", "api_base": x.url, "max_results": 10, "timeout_seconds": 5}
    return Stream("twitter", "uji", "twitter", {**known, **options})


def pull(x: XEmulator, cursor: dict[str, Any] | None = None, at: datetime | None = None, **options: Any) -> list[Batch]:
    return list(twitter.pull(stream_of(x, **options), cursor, now=lambda: at or x.now))


def ids(batches: list[Batch]) -> list[str]:
    return [m.version for b in batches for m in b.messages]


def ago(minutes: float, text: str, serial: int = 0, **fields: Any) -> dict[str, Any]:
    return post(NOW - timedelta(minutes=minutes), text, serial, **fields)


BOTH = {"user_id": USER, "handle": "dinas_contoh", "keywords": ["banjir kemang", "#jakartabanjir"]}


# --- search ---------------------------------------------------------------------------------


def test_a_stream_of_keywords_needs_no_account_and_brings_what_matches(x: XEmulator) -> None:
    x.public = [
        ago(1, "Banjir Kemang sudah selutut"),
        ago(2, "kemang macet, tidak banjir"),
        ago(3, "air naik #jakartabanjir"),
        ago(4, "banjir kemang today", lang="en"),
        ago(5, "RT banjir kemang", referenced_tweets=[{"type": "retweeted", "id": "7"}]),
        ago(6, "banjir kemang kami tangani", author_id="1001"),
    ]
    found = pull(x, keywords=["banjir kemang", "#jakartabanjir"], handle="@dinas_contoh")
    assert ids(found) == [x.public[0]["id"], x.public[2]["id"]]
    asked = x.asked[-1]
    assert asked.path == "/2/tweets/search/recent"
    assert asked.query["query"] == '("banjir kemang" OR #jakartabanjir) lang:in -is:retweet -from:dinas_contoh'
    assert found[-1].cursor["query_since_id"] == x.public[0]["id"]
    assert pull(x, found[-1].cursor, keywords=["banjir kemang", "#jakartabanjir"], handle="@dinas_contoh") == []


@pytest.mark.parametrize(
    ("options", "query"),
    [
        ({"query": "got mampet"}, "(got mampet) lang:in -is:retweet"),
        ({"query": "got mampet", "lang": ""}, "(got mampet) -is:retweet"),
        ({"query": "got (lang:in OR lang:jv)"}, "(got (lang:in OR lang:jv)) -is:retweet"),
        ({"keywords": ["got"], "lang": "jv"}, "(got) lang:jv -is:retweet"),
    ],
)
def test_a_search_is_bounded_by_language_and_without_reposts(x: XEmulator, options: dict[str, Any], query: str) -> None:
    pull(x, **options)
    assert x.asked[-1].query["query"] == query


def test_a_post_that_mentions_and_matches_comes_once(x: XEmulator) -> None:
    x.posts = [ago(n, f"banjir kemang {n}", n) for n in range(1, 16)]
    x.public = [ago(20, "banjir kemang juga"), ago(30, "lain sama sekali")]
    found = pull(x, **BOTH)
    assert ids(found) == [p["id"] for p in [*x.posts, x.public[0]]]
    assert found[-1].cursor["since_id"] == found[-1].cursor["query_since_id"] == x.posts[0]["id"]
    assert pull(x, found[-1].cursor, **BOTH) == []


@pytest.mark.parametrize("read", [1, 2, 3, 4])
def test_a_pass_cut_off_anywhere_goes_on_and_each_post_comes_once(x: XEmulator, read: int) -> None:
    x.posts = [ago(n, "lampu mati", n) for n in range(1, 16)]
    x.public = [ago(n, "banjir kemang", n) for n in range(100, 116)]
    first = list(islice(twitter.pull(stream_of(x, **BOTH), None, now=lambda: NOW), read))
    rest = pull(x, first[-1].cursor, **BOTH)
    assert sorted(ids([*first, *rest])) == sorted(p["id"] for p in [*x.posts, *x.public])
    assert pull(x, [*first, *rest][-1].cursor, **BOTH) == []


def test_a_thousand_posts_of_one_moment_all_come(x: XEmulator) -> None:
    x.mentions_kept = 2000
    x.posts = [ago(5, "padam", n) for n in range(1000)]
    found = pull(x, user_id=USER, max_results=100)
    assert sorted(ids(found)) == sorted(p["id"] for p in x.posts)
    assert pull(x, found[-1].cursor, user_id=USER, max_results=100) == []


def test_a_page_that_leads_to_itself_ends_the_pull_and_loses_nothing(x: XEmulator) -> None:
    x.posts = [ago(n, "lampu mati") for n in range(1, 26)]
    page = {"data": x.posts[10:20], "meta": {"next_token": f"t{x.posts[9]['id']}z"}}
    x.faults.extend([None, Fault(body=page)])
    read: list[Batch] = []
    with pytest.raises(TransientError, match="the same page twice"):
        read.extend(twitter.pull(stream_of(x, user_id=USER), None, now=lambda: NOW))
    assert ids([*read, *pull(x, read[-1].cursor, user_id=USER)]) == [p["id"] for p in x.posts]


def test_pages_that_lead_to_each_other_end_the_pull_and_lose_nothing(x: XEmulator) -> None:
    x.posts = [ago(n, "lampu mati") for n in range(1, 26)]
    here, there = (f"t{x.posts[n]['id']}z" for n in (9, 14))
    x.faults.extend([None, *(Fault(body={"data": x.posts[10:15], "meta": {"next_token": t}}) for t in (there, here))])
    read: list[Batch] = []
    with pytest.raises(TransientError, match="the same page twice"):
        read.extend(twitter.pull(stream_of(x, user_id=USER), None, now=lambda: NOW))
    assert ids([*read, *pull(x, read[-1].cursor, user_id=USER)]) == [p["id"] for p in x.posts]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"query": "x" * 500}, "the search is 52. characters long and X takes 512"),
        ({"query": "got", "keywords": ["got"]}, "query or keywords, not both"),
        ({"keywords": "got"}, "keywords must be a list"),
        ({"keywords": [" "]}, "keywords must be a list"),
        ({"query": ""}, "query must be a text"),
        ({"user_id": USER, "mentions": False}, "mentions is true or false"),
        ({"user_id": "dinas", "query": "got"}, "user_id must be"),
        ({"query": "got", "prices": {"tweet": 1}}, "prices must be a table of post, owned, user, media"),
        ({"query": "got", "prices": {"post": "1"}}, r"prices\.post must be a number"),
        ({"query": "got", "budget_usd_per_day": "1"}, "budget_usd_per_day must be a number"),
    ],
)
def test_a_wrong_option_is_named_before_anything_is_asked(x: XEmulator, options: dict[str, Any], said: str) -> None:
    for ask in (lambda: pull(x, **options), lambda: twitter.probe(stream_of(x, **options), now=lambda: NOW)):
        with pytest.raises(SettingsError, match=f"twitter/uji: .*{said}"):
            ask()
    assert x.asked == []


# --- search reaches 7 days ------------------------------------------------------------------


def test_a_search_not_asked_for_ten_days_says_which_days_are_lost(x: XEmulator) -> None:
    options = {"query": "banjir"}
    x.now = NOW - timedelta(days=10)
    x.public = [post(x.now - timedelta(hours=2), "banjir")]
    cursor = pull(x, **options)[-1].cursor
    checked = x.now
    x.now = NOW
    x.public += [ago(60 * 24 * 8, "banjir hilang"), ago(60 * 24 * 6, "banjir")]
    found = pull(x, cursor, **options)
    assert ids(found) == [x.public[2]["id"]]
    [gap] = found[-1].cursor["gaps"]
    assert (gap["from"], gap["to"]) == (
        checked.isoformat(),
        (NOW - timedelta(days=7) + timedelta(minutes=5)).isoformat(),
    )
    assert pull(x, found[-1].cursor, **options) == []  # told once


def test_a_search_that_found_nothing_for_ten_days_has_no_gap(x: XEmulator) -> None:
    cursor: dict[str, Any] | None = None
    x.now = NOW - timedelta(days=10)
    x.public = [post(x.now, "banjir")]
    for day in range(11):
        x.now = NOW - timedelta(days=10 - day)
        for batch in pull(x, cursor, query="banjir"):
            cursor = batch.cursor
    assert "gaps" not in (cursor or {})


@pytest.mark.parametrize("days", [-1, 1])
def test_a_clock_that_is_a_day_off_loses_nothing(x: XEmulator, days: int) -> None:
    """What X searches is counted by X's clock, which each answer tells, a refusal too."""
    off = timedelta(days=days)
    x.now = NOW - timedelta(days=6, hours=12)
    x.public = [post(x.now, "banjir")]
    cursor = pull(x, query="banjir", at=x.now + off)[-1].cursor
    x.now = NOW
    x.public += [ago(60 * 24 * 6 + 60, "banjir"), ago(5, "banjir")]
    found = pull(x, cursor, query="banjir", at=NOW + off)
    assert sorted(ids(found)) == sorted(p["id"] for p in x.public[1:])


# --- limits ---------------------------------------------------------------------------------


def test_a_limit_is_heeded_before_x_refuses(x: XEmulator) -> None:
    x.posts = [ago(n, "lampu mati") for n in range(1, 26)]
    x.remaining["mentions"] = 2
    read: list[Batch] = []
    with pytest.raises(TransientError, match="allows no more requests for 901 s") as caught:
        read.extend(twitter.pull(stream_of(x, user_id=USER), None, now=lambda: NOW))
    assert (len(x.asked), caught.value.retry_after) == (2, 901.0)
    x.now = NOW + timedelta(minutes=16)
    assert len(ids([*read, *pull(x, read[-1].cursor, user_id=USER)])) == 25


def test_an_empty_limit_of_mentions_does_not_keep_search_waiting(x: XEmulator) -> None:
    x.public = [ago(1, "banjir kemang")]
    x.remaining["mentions"] = 1
    assert len(ids(pull(x, **BOTH))) == 1


def test_credits_and_usage_caps_stop_and_say_what_to_do(x: XEmulator) -> None:
    x.credits = 0.0
    with pytest.raises(PermanentError, match="no credits left: top up"):
        pull(x, user_id=USER)
    x.credits, x.cap = None, 0
    with pytest.raises(PermanentError, match="monthly usage cap is reached"):
        pull(x, user_id=USER)
    assert len(x.asked) == 2


# --- what the doctor asks -------------------------------------------------------------------


def test_the_probe_reads_each_kind_and_costs_nothing(x: XEmulator) -> None:
    x.posts, x.public = [ago(1, "lampu mati")], [ago(1, "banjir kemang")]
    told = twitter.probe(stream_of(x, **BOTH), now=lambda: NOW)
    assert told == (
        "mentions can be read (449 of 450 requests left in this window);"
        " query can be read (449 of 450 requests left in this window)"
    )
    assert x.bill == {}


def test_the_probe_tells_of_a_clock_that_is_off(x: XEmulator) -> None:
    told = twitter.probe(stream_of(x, user_id=USER), now=lambda: NOW - timedelta(hours=1))
    assert "this machine's clock is 60 minutes off X's" in told


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault(401, {"title": "Unauthorized"}), "make a new one at console.x.com"),
        (Fault(403, {"title": "Client Forbidden"}), "enrol it"),
        (Fault(402, {"title": "CreditsDepleted"}), "top up at console.x.com"),
        (Fault(200, {"errors": [{"title": "Not Found Error"}]}), "check user_id"),
    ],
)
def test_the_probe_says_what_is_missing_and_where_to_get_it(x: XEmulator, fault: Fault, said: str) -> None:
    x.faults.append(fault)
    with pytest.raises(PermanentError, match=said):
        twitter.probe(stream_of(x, user_id=USER), now=lambda: NOW)
