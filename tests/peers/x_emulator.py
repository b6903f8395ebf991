"""The part of the X API v2 that Kanal asks, on 127.0.0.1: mentions and recent search.

Speaks the field names of before August 2026 and since: whichever the request uses, unless `dialect`
says that only one is known. Newest first, opaque page tokens that stay good while posts arrive,
`since_id` and `until_id` exclusive, 800 mentions at most, 7 days of search, a limit per window with
its headers, 401 without the token, 400 for what the API refuses.
"""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.peers.api_server import Answer, ApiServer, Asked

_EPOCH_MS = 1_288_834_974_657
_RENAMED = {
    "note_tweet": "note_post",
    "edit_history_tweet_ids": "edit_history_post_ids",
    "referenced_tweets": "referenced_posts",
}


def snowflake(at: datetime, serial: int = 0) -> str:
    """The id X would give a post made at `at`."""
    return str(((int(at.timestamp() * 1000) - _EPOCH_MS) << 22) + serial)


def post(at: datetime, text: str, serial: int = 0, **fields: Any) -> dict[str, Any]:
    """A post in the names of before August 2026, made at `at`."""
    own = snowflake(at, serial)
    made = at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"
    known = {"author_id": "2001", "conversation_id": own, "lang": "in", "edit_history_tweet_ids": [own]}
    return {"id": own, "text": text, "created_at": made, **known, **fields}


class XEmulator(ApiServer):
    """`posts` mention the account; `other` holds users, media, places and posts they refer to."""

    def __init__(self, *, token: str, user_id: str, now: datetime) -> None:
        super().__init__()
        self.token, self.user_id, self.now = token, user_id, now
        self.posts: list[dict[str, Any]] = []
        self.other: dict[str, list[dict[str, Any]]] = {"users": [], "media": [], "places": [], "tweets": []}
        self.dialect: str | None = None
        self.remaining = 450
        self.reset = int(now.timestamp()) + 900
        self.mentions_kept = 800
        self.stale_tokens: set[str] = set()

    def answer(self, asked: Asked) -> Answer:
        if asked.headers.get("authorization") != f"Bearer {self.token}":
            return 401, _problem(401, "Unauthorized"), {}
        limits = {"x-rate-limit-limit": "450", "x-rate-limit-reset": str(self.reset)}
        if self.remaining <= 0:
            return 429, _problem(429, "Too Many Requests"), limits | {"x-rate-limit-remaining": "0"}
        self.remaining -= 1
        status, body = self._answer(asked)
        return status, body, limits | {"x-rate-limit-remaining": str(self.remaining)}

    def _answer(self, asked: Asked) -> tuple[int, Any]:
        mentions = re.fullmatch(r"/2/users/(\d+)/mentions", asked.path)
        query = asked.query
        if not mentions and asked.path != "/2/tweets/search/recent":
            return 404, _problem(404, "Not Found")
        if mentions and mentions[1] != self.user_id:
            return 200, {"errors": [_not_found(mentions[1])]}
        names = "post" if "post.fields" in query else "tweet"
        if self.dialect and names != self.dialect:
            return _invalid(f"{names}.fields", query.get(f"{names}.fields", ""))
        size = int(query.get("max_results", "10"))
        if not (5 if mentions else 10) <= size <= 100:
            return _invalid("max_results", str(size))
        found = sorted(self.posts, key=lambda p: -int(p["id"]))
        if mentions:
            found, token = found[: self.mentions_kept], query.get("pagination_token")
        else:
            reach = int(snowflake(self.now - timedelta(days=7)))
            found, token = [p for p in found if int(p["id"]) >= reach], query.get("next_token")
            for name in ("since_id", "until_id"):
                if name in query and int(query[name]) < reach:
                    return _invalid(name, query[name])
        found = [p for p in found if int(p["id"]) > int(query.get("since_id", 0))]
        found = [p for p in found if int(p["id"]) < int(query.get("until_id", 1 << 63))]
        if token is not None:
            place = re.fullmatch(r"t(\d+)z", token)
            if not place or token in self.stale_tokens:
                return _invalid("pagination_token" if mentions else "next_token", token)
            found = [p for p in found if int(p["id"]) < int(place[1])]
        page = found[:size]
        if not page:
            return 200, {"meta": {"result_count": 0}}
        meta = {"newest_id": page[0]["id"], "oldest_id": page[-1]["id"], "result_count": len(page)}
        if len(found) > size:
            meta["next_token"] = f"t{page[-1]['id']}z"
        return 200, self._page(page, query, names) | {"meta": meta}

    def _page(self, page: list[dict[str, Any]], query: dict[str, str], names: str) -> dict[str, Any]:
        asked = {"id", "text", "edit_history_tweet_ids", *query.get(f"{names}.fields", "").split(",")}
        expansions = set(query.get("expansions", "").split(","))
        if names == "post":
            asked |= {old for old, new in _RENAMED.items() if new in asked}
            if "author_id" in expansions:
                asked.add("author_id")
        data = [{k: v for k, v in p.items() if k in asked} for p in page]
        wanted = {
            "users": ("id", "author_id", {p.get("author_id") for p in page}),
            "places": ("id", "geo.place_id", {p.get("geo", {}).get("place_id") for p in page}),
            "media": ("media_key", "attachments.media_keys", {
                key for p in page for key in p.get("attachments", {}).get("media_keys", ())
            }),
            "tweets": ("id", "referenced_posts" if names == "post" else "referenced_tweets.id", {
                r["id"] for p in page for r in p.get("referenced_tweets", ())
            }),
        }  # fmt: skip
        includes = {
            kind: found
            for kind, (key, expansion, ids) in wanted.items()
            if expansion in expansions and (found := [o for o in self.other[kind] if o[key] in ids])
        }
        if names == "post":
            data = [{_RENAMED.get(k, k): v for k, v in p.items()} for p in data]
            if "tweets" in includes:
                includes["posts"] = includes.pop("tweets")
        return {"data": data} | ({"includes": includes} if includes else {})


def rate_limit_reset(seconds: float) -> dict[str, str]:
    """The headers of a 429 that ends `seconds` from the machine's own now."""
    return {"x-rate-limit-remaining": "0", "x-rate-limit-reset": str(int(time.time() + seconds))}


def _problem(status: int, title: str) -> dict[str, Any]:
    return {"title": title, "type": "about:blank", "status": status, "detail": title}


def _not_found(user_id: str) -> dict[str, Any]:
    kind = {"resource_type": "user", "parameter": "id", "title": "Not Found Error"}
    return kind | {
        "resource_id": user_id,
        "value": user_id,
        "detail": f"Could not find user with id: [{user_id}].",
    }


def _invalid(parameter: str, value: str) -> tuple[int, dict[str, Any]]:
    error = {"parameters": {parameter: [value]}, "message": f"The `{parameter}` value [{value}] is not valid"}
    return 400, {
        "errors": [error],
        "title": "Invalid Request",
        "detail": "One or more parameters to your request was invalid.",
        "type": "https://api.twitter.com/2/problems/invalid-request",
    }
