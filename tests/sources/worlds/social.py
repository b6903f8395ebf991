"""X and Facebook: emulators of their APIs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from pipelines.contracts import Stream
from tests.peers.api_server import Answer, Asked, Fault
from tests.peers.graph_emulator import GraphEmulator, error, facebook_time
from tests.peers.x_emulator import XEmulator, post, snowflake
from tests.sources.contract import CANARY, SOME, START, World, words
from tests.sources.worlds.common import HttpWorld


class _Overlapping:
    """Mixed into an emulator: each page repeats some of what came before, in no order."""

    overlapping = False

    def answer(self, asked: Asked) -> Answer:
        status, body, headers = super().answer(asked)  # type: ignore[misc]
        if self.overlapping and status == 200 and body.get("data"):
            body["data"] = [body["data"][-1], *body["data"][1:-1], body["data"][0], *self.last[-2:]]
            self.last = body["data"][:3]
        return status, body, headers

    last: list[dict[str, Any]] = []


class _Generations:
    """Mixed into an emulator: its places in a list are good in their own generation only."""

    generation = 0
    places: tuple[str, ...] = ()  # the query's words for it

    def answer(self, asked: Asked) -> Answer:
        name = next((n for n in self.places if n in asked.query), "")
        given = asked.query.get(name, "")
        if given and not given.startswith(f"{self.generation}."):
            return 400, {"title": "Invalid Request"} | error(100, "OAuthException", "(#100) Invalid parameter"), {}
        query = asked.query | ({name: given.partition(".")[2]} if given else {})
        status, body, headers = super().answer(replace(asked, query=query))  # type: ignore[misc]
        where, word = ("meta", "next_token") if "meta" in body else ("cursors", "after")
        within = body.get(where) or body.get("paging", {}).get(where, {})
        if word in within:
            within[word] = f"{self.generation}.{within[word]}"
        return status, body, headers


class _X(_Generations, _Overlapping, XEmulator):
    places = ("pagination_token", "next_token")


class TwitterWorld(HttpWorld):
    source = "twitter"
    peer = "emulator of the X API v2 (tests/peers/x_emulator.py), both names of its fields"
    cannot = {
        "an item a month late comes": "X numbers posts by their time and lists by number: no old post shows up as new",
    }

    def __init__(self, server: _X, dialect: str = "tweet") -> None:
        super().__init__(server)
        self.x, server.remaining = server, {"mentions": 10_000, "search": 10_000}
        options = {"user_id": server.user_id, "handle": "dinas_contoh", "bearer_env": "KANAL_UJI_KONTRAK"}
        limits = {"max_results": 5, "timeout_seconds": 0.5, "dialect": dialect}
        self.stream = Stream("twitter", "uji", "twitter", options | limits | {"api_base": server.url})

    def say(self, *numbers: int, at: datetime | None = None) -> None:
        for n in numbers:
            made = at or self.now - timedelta(minutes=5, seconds=-n)
            self.x.posts.append(post(made, f"@dinas_contoh {words(n)}", n))

    def edit(self, number: int) -> None:
        [old] = [p for p in self.x.posts if p["text"].endswith(words(number))]
        self.x.posts.remove(old)
        new = post(self.now, f"@dinas_contoh {words(number, edited=True)}", number)
        self.x.posts.append(new | {"edit_history_tweet_ids": [old["id"], new["id"]]})

    def delete(self, number: int) -> None:
        self.x.posts = [p for p in self.x.posts if not p["text"].endswith(words(number))]

    def overlap(self) -> None:
        self.x.overlapping = True

    def outdate(self) -> Iterable[int]:
        self.x.generation += 1
        return SOME

    def faults(self) -> dict[str, Fault]:
        problem = {"title": "Too Many Requests", "type": "about:blank", "status": 429}
        top = {"data": [], "meta": {"result_count": 0, "next_token": f"0.t{snowflake(START + timedelta(days=9))}z"}}
        reset = {"x-rate-limit-remaining": "0", "x-rate-limit-reset": str(int(self.now.timestamp()) + 600)}
        return {
            "429 with reset": Fault(429, problem, reset),
            "429 without reset": Fault(429, problem),
            "expired": Fault(401, {"title": "Unauthorized", "type": "about:blank", "status": 401}),
            "empty page": Fault(200, top),
        }


class _Graph(_Generations, _Overlapping, GraphEmulator):
    places = ("after",)


class FacebookWorld(HttpWorld):
    source = "facebook"
    peer = "emulator of the Graph API (tests/peers/graph_emulator.py)"
    cannot = {
        "an item a month late comes": "a page's list shows a post at its own time; lookback_days says how far back is read",
    }

    def __init__(self, server: _Graph) -> None:
        super().__init__(server)
        self.graph, server.remaining = server, 10_000
        options = {"page_id": server.page_id, "token_env": "KANAL_UJI_KONTRAK", "api_base": server.url}
        self.stream = Stream("facebook", "uji", "facebook", options | {"max_results": 5, "timeout_seconds": 0.5})

    @property
    def posts(self) -> list[dict[str, Any]]:
        return self.graph.lists["feed"]

    def say(self, *numbers: int, at: datetime | None = None) -> None:
        for n in numbers:
            made = facebook_time(at or self.now - timedelta(hours=1, seconds=-n))
            author = {"id": "9", "name": "Warga"}
            own = {"id": f"{self.graph.page_id}_{n}", "message": words(n), "created_time": made, "from": author}
            self.posts.append(own)

    def edit(self, number: int) -> None:
        [item] = [p for p in self.posts if p["message"] == words(number)]
        item["message"] = words(number, edited=True)

    def delete(self, number: int) -> None:
        self.posts[:] = [p for p in self.posts if p["message"] != words(number)]

    def overlap(self) -> None:
        self.graph.overlapping = True

    def outdate(self) -> Iterable[int]:
        self.graph.generation += 1
        return SOME

    def faults(self) -> dict[str, Fault]:
        limit = error(4, "OAuthException", "Application request limit reached")
        usage = {self.graph.page_id: [{"type": "pages", "call_count": 100, "estimated_time_to_regain_access": 12}]}
        following = f"https://graph.facebook.com/v26.0/{self.graph.page_id}/feed?access_token={CANARY}&after=0.Anol"
        empty = {"data": [], "paging": {"cursors": {"after": "0.Anol"}, "next": following}}
        return {
            "429 with reset": Fault(429, limit, {"x-business-use-case-usage": json.dumps(usage)}),
            "429 without reset": Fault(429, limit),
            "expired": Fault(400, error(190, "OAuthException", f"Session of {CANARY} has expired", 463)),
            "empty page": Fault(200, empty),
        }


@contextmanager
def _twitter(dialect: str) -> Iterator[World]:
    with _X(token=CANARY, user_id="1001", now=START) as server:
        yield TwitterWorld(server, dialect)


@contextmanager
def _facebook() -> Iterator[World]:
    with _Graph(token=CANARY, page_id="7001") as server:
        yield FacebookWorld(server)


WORLDS = {
    "twitter": (TwitterWorld, lambda r, f: _twitter("tweet")),
    "twitter, names since 2026-08": (TwitterWorld, lambda r, f: _twitter("post")),
    "facebook": (FacebookWorld, lambda r, f: _facebook()),
}
