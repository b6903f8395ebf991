"""The part of the X API v2 that Kanal asks, on 127.0.0.1: mentions and recent search, and its bill.

Speaks the field names of before August 2026 and since: whichever the request uses, unless `dialect`
says that only one is known. Newest first, opaque page tokens that stay good while posts arrive,
`since_id` and `until_id` exclusive, 800 mentions at most, 7 days of search, a limit per window with
its headers, 401 without the token, 400 for what the API refuses.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

from tests.peers.api_server import Answer, ApiServer, Asked

_EPOCH_MS = 1_288_834_974_657
_PROBLEMS = "https://api.x.com/2/problems"
_PRICES = {"posts": 0.005, "owned": 0.001, "users": 0.010, "media": 0.005}
# What post.fields may name (openapi 2.167); the ids of what a post refers to come with its expansions
_POST_FIELDS = set(
    "attachments author_id context_annotations conversation_id created_at display_text_range edit_controls entities geo"
    " id lang note_post possibly_sensitive public_metrics reply_settings source text withheld".split()
)
_BY_EXPANSION = {
    "author_id": "author_id",
    "in_reply_to_user_id": "in_reply_to_user_id",
    "referenced_posts": "referenced_tweets",
}
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
    """`posts` mention the account, `public` do not; `other` holds users, media, places and posts they
    refer to. `now` is its clock; `bill` what it charged, a resource once a UTC day; `owner`: the
    account is the app owner's. `credits` and `cap`: dollars and posts left, None for no end."""

    def __init__(self, *, token: str, user_id: str, now: datetime, handle: str = "dinas_contoh") -> None:
        super().__init__()
        self.token, self.user_id, self.handle, self.now = token, user_id, handle, now
        self.posts: list[dict[str, Any]] = []
        self.public: list[dict[str, Any]] = []
        self.other: dict[str, list[dict[str, Any]]] = {"users": [], "media": [], "places": [], "tweets": []}
        self.dialect: str | None = None
        self.remaining = {"mentions": 450, "search": 450}
        self.reset = int(now.timestamp()) + 900
        self.mentions_kept = 800
        self.stale_tokens: set[str] = set()
        self.owner = False
        self.bill: dict[str, dict[str, Any]] = {}
        self.credits: float | None = None
        self.cap: int | None = None
        self._billed: set[tuple[str, str, str]] = set()

    def answer(self, asked: Asked) -> Answer:
        date = {"date": format_datetime(self.now.astimezone(UTC), usegmt=True)}
        if asked.headers.get("authorization") != f"Bearer {self.token}":
            return 401, _problem(401, "Unauthorized"), date
        endpoint = "search" if asked.path.endswith("/search/recent") else "mentions"
        limits = date | {"x-rate-limit-limit": "450", "x-rate-limit-reset": str(self.reset)}
        if self.now.timestamp() >= self.reset:
            self.remaining, self.reset = dict.fromkeys(self.remaining, 450), int(self.now.timestamp()) + 900
        if self.credits is not None and self.credits <= 0:
            return 402, _problem(402, "CreditsDepleted") | {"type": f"{_PROBLEMS}/credits"}, date
        if self.cap is not None and self.cap <= 0:
            said = {"title": "UsageCapExceeded", "period": "Monthly", "scope": "Product"}
            return 429, said | {"type": f"{_PROBLEMS}/usage-capped"}, date | {"x-rate-limit-limit": "450"}
        if self.remaining[endpoint] <= 0:
            return 429, _problem(429, "Too Many Requests"), limits | {"x-rate-limit-remaining": "0"}
        self.remaining[endpoint] -= 1
        status, body = self._answer(asked)
        self._charge(body, owned=endpoint == "mentions" and self.owner)
        return status, body, limits | {"x-rate-limit-remaining": str(self.remaining[endpoint])}

    def _charge(self, body: dict[str, Any], *, owned: bool) -> None:
        """Per resource returned in the answer, as X's price list has it."""
        day, includes = self.now.astimezone(UTC).date().isoformat(), body.get("includes", {})
        found = [("owned" if owned else "posts", "post", p["id"]) for p in body.get("data", [])]
        found += [("posts", "post", p["id"]) for kind in ("tweets", "posts") for p in includes.get(kind, [])]
        found += [("users", "user", u["id"]) for u in includes.get("users", [])]
        found += [("media", "media", m["media_key"]) for m in includes.get("media", [])]
        for counted, kind, one in found:
            if (day, kind, one) not in self._billed:
                self._billed.add((day, kind, one))
                row = self.bill.setdefault(day, {})
                row[counted] = row.get(counted, 0) + 1
                row["usd"] = round(row.get("usd", 0.0) + _PRICES[counted], 6)
                if self.credits is not None:
                    self.credits -= _PRICES[counted]
        if self.cap is not None:
            self.cap -= len(body.get("data", []))

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
        if names == "post" and (unknown := set(query["post.fields"].split(",")) - _POST_FIELDS):
            return _invalid("post.fields", ",".join(sorted(unknown)))
        size = int(query.get("max_results", "10"))
        if not (5 if mentions else 10) <= size <= 100:
            return _invalid("max_results", str(size))
        found = sorted(self.posts, key=lambda p: -int(p["id"]))
        if mentions:
            found, token = found[: self.mentions_kept], query.get("pagination_token")
        else:
            try:
                matches = search(query.get("query", ""))
            except ValueError:
                return _invalid("query", query.get("query", ""))
            found = sorted([*self.posts, *self.public], key=lambda p: -int(p["id"]))
            found = [p for p in found if matches(self._seen(p))]
            reach = int(snowflake(self.now - timedelta(days=7)))
            found, token = [p for p in found if int(p["id"]) >= reach], query.get("next_token")
            for name in ("since_id", "until_id"):
                if name in query and not reach <= int(query[name]) <= int(snowflake(self.now)) + (1 << 22):
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

    def _seen(self, one: dict[str, Any]) -> dict[str, Any]:
        """What search looks at: posts that mention the account hold its handle, whatever their text."""
        text = f"@{self.handle} {one['text']}" if one in self.posts else one["text"]
        author = next((u["username"] for u in self.other["users"] if u["id"] == one["author_id"]), "")
        kinds = {r["type"] for r in one.get("referenced_tweets", ())}
        return {"text": text.casefold(), "lang": one["lang"], "from": author, "retweet": "retweeted" in kinds}

    def _page(self, page: list[dict[str, Any]], query: dict[str, str], names: str) -> dict[str, Any]:
        asked = {"id", "text", "edit_history_tweet_ids", *query.get(f"{names}.fields", "").split(",")}
        expansions = set(query.get("expansions", "").split(","))
        if names == "post":
            asked |= {old for old, new in _RENAMED.items() if new in asked}
            asked |= {field for expansion, field in _BY_EXPANSION.items() if expansion in expansions}
        data = [{k: v for k, v in p.items() if k in asked} for p in page]
        referred = {r["id"] for p in page for r in p.get("referenced_tweets", ())}
        versions = {i for p in page for i in p.get("edit_history_tweet_ids", ())}
        wanted = {
            "author_id": ("users", "id", {p.get("author_id") for p in page}),
            "geo.place_id": ("places", "id", {p.get("geo", {}).get("place_id") for p in page}),
            "attachments.media_keys": ("media", "media_key", {
                key for p in page for key in p.get("attachments", {}).get("media_keys", ())
            }),
            "referenced_posts" if names == "post" else "referenced_tweets.id": ("tweets", "id", referred),
            f"edit_history_{names}_ids": ("tweets", "id", versions),
        }  # fmt: skip
        includes: dict[str, list[dict[str, Any]]] = {}
        for expansion, (kind, key, ids) in wanted.items():
            if expansion in expansions and (found := [o for o in self.other[kind] if o[key] in ids]):
                includes.setdefault(kind, []).extend(found)
        if names == "post":
            data = [{_RENAMED.get(k, k): v for k, v in p.items()} for p in data]
            if "tweets" in includes:
                includes["posts"] = includes.pop("tweets")
        return {"data": data} | ({"includes": includes} if includes else {})


def search(query: str) -> Callable[[dict[str, Any]], bool]:
    """The operators Kanal and its settings use: words, phrases, @names, #tags, OR, parentheses, -,
    lang:, from:, is:retweet. ValueError for others, for too long a query and for broken ones."""
    if not 0 < len(query) <= 512:
        raise ValueError(query)
    tokens = re.findall(r'-?"[^"]+"|-?\(|\)|[^\s()]+', query)

    def group() -> Callable[[dict[str, Any]], bool]:
        options, terms = [], [term()]
        while tokens and tokens[0] != ")":
            if tokens[0] == "OR":
                tokens.pop(0)
                options.append(terms)
                terms = []
            terms.append(term())
        options.append(terms)
        return lambda post: any(all(t(post) for t in one) for one in options)

    def term() -> Callable[[dict[str, Any]], bool]:
        if not tokens:
            raise ValueError(query)
        token = tokens.pop(0)
        if token.startswith("-"):
            tokens.insert(0, token[1:])
            inner = term()
            return lambda post: not inner(post)
        if token == "(":
            inner = group()
            if not tokens or tokens.pop(0) != ")":
                raise ValueError(query)
            return inner
        name, _, value = token.partition(":")
        if value and name in ("lang", "from"):
            return lambda post: post[name] == value
        if token == "is:retweet":
            return lambda post: post["retweet"]
        if value or token in (")", "OR"):
            raise ValueError(query)
        word = re.escape(token.strip('"').casefold())
        return lambda post: bool(re.search(rf"(?<!\w){word}(?!\w)", post["text"]))

    found = group()
    if tokens:
        raise ValueError(query)
    return found


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
