"""X (Twitter): posts that mention the city's account, through the X API v2.

In: mentions of one account, one Message per post; the payload holds the post as the API gave it and
the users, posts, media and places it refers to. Key: the first id of the post's edit history; an
edit has a new id and becomes a new version. Reach: the 800 newest mentions; a longer gap is filled
by search, which reaches 7 days back. Newest first, so `since_id` moves only when a pass is complete,
and each page's cursor remembers where the pass stands. Late posts are caught by reading
`overlap_minutes` again; ids already read there are in the cursor. Metrics are not followed: they
change without the post. Limits: 450 requests in 15 minutes. Cost: mentions of the app owner's own
account 0.001 US$ a post, others 0.005 (2026).

Options in kanal.toml:
  user_id          number of the account
  handle           its name, without @; tells own posts apart and fills long gaps
  bearer_env       name of the environment variable with the app's bearer token
  max_results      posts a page, 5 to 100 (100)
  overlap_minutes  how far back to look again (30)
  dialect          "tweet" or "post": names of the request fields before and since August 2026
                   ("tweet"); answers are understood in both
  api_base         another address of the API: https, or http on this machine
  timeout_seconds  longest silence of the server (30)
  pages_dir        folder of recorded answers (*.json), read instead of the API; needs no token
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

import requests

from pipelines.contracts import Batch, Stream
from pipelines.errors import PermanentError, SettingsError, TransientError
from pipelines.sources import http
from pipelines.sources.pages import objects_of, record, records, replay, word
from pipelines.sources.x_posts import decode, id_at, id_of, message_of, read_page

__all__ = ["VERSION", "decode", "pull"]

VERSION = "1"

log = logging.getLogger(__name__)

_REACH = 750  # mentions stop at about 800, without saying so
_SEARCH_DAYS = timedelta(days=7) - timedelta(minutes=5)
_LONGEST_WAIT = 3600.0  # a limit's window is 15 minutes; a reset further off is a clock gone wrong

_FIELDS = (
    "created_at,author_id,conversation_id,geo,lang,{note},edit_controls,{edits},{refs},"
    "in_reply_to_user_id,entities,attachments,public_metrics,possibly_sensitive,withheld"
)
_OLD = {"note": "note_tweet", "edits": "edit_history_tweet_ids", "refs": "referenced_tweets"}
_NEW = {"note": "note_post", "edits": "edit_history_post_ids", "refs": "referenced_posts"}
_EXPANSIONS = "author_id,geo.place_id,attachments.media_keys,in_reply_to_user_id,"
_OTHER_FIELDS = {
    "user_fields": "username,name,location,created_at,verified,protected",
    "place_fields": "full_name,name,country_code,place_type,geo,contained_within",
    "media_fields": "type,url,preview_image_url,alt_text,width,height,duration_ms",
}

_ADVICE = {
    400: "a field name or option is not accepted; if X no longer knows tweet.fields set dialect = \"post\"",
    401: "the bearer token is wrong or revoked: make a new one and set the variable named by bearer_env",
    402: "the account has no credits left: top up in the developer portal",
    403: "the app may not read mentions: enrol it in a project with access to them",
    404: "no such account or endpoint: check user_id and api_base",
}  # fmt: skip


# --- pull -----------------------------------------------------------------------------------


def pull(stream: Stream, cursor: dict[str, Any] | None, *, now: Callable[[], datetime]) -> Iterator[Batch]:
    """A Batch for each page of mentions newer than `cursor`, newest first.

    Raises TransientError (busy, down, quota with `retry_after`) or PermanentError (credentials,
    credits, usage cap); pages yielded before stay valid and the next pull goes on behind them.
    """
    if "pages_dir" in stream.options:
        yield from replay(stream, cursor or {}, now, read_page)
        return
    user = str(stream.options.get("user_id", ""))
    if id_of({"id": user}) is None:
        raise SettingsError(f"{stream.key}: user_id must be the account's number, not {user!r}")
    token = http.token_of(stream, "bearer_env", "X bearer token")
    api = http.Api(stream.key, "X", (token,))
    client = _client(stream, api, token, now)
    del token  # not in this frame, whose locals a traceback may show
    try:
        yield from _walk(stream, dict(cursor or {}), api, client, now)
    finally:
        client.session.close()


def _walk(
    stream: Stream, state: dict[str, Any], api: http.Api, client: Any, now: Callable[[], datetime]
) -> Iterator[Batch]:
    overlap = timedelta(minutes=http.number_of(stream, "overlap_minutes", 30, 0, 7 * 1440))
    since = state.get("since_id")
    walk = dict(state.get("pass") or _new_pass())
    seen, restarted = {*state.get("seen", ()), *walk["ids"]}, False
    while True:
        try:
            body = api.ask(_page, client, stream, walk, _back(since, overlap), now())
        except http.Refused as refused:
            if refused.status != 400 or not walk["next_token"] or restarted:
                raise
            walk, restarted = _new_pass(walk["ids"]), True  # the page token is no longer good
            continue
        posts = objects_of({"data": body.get("data", [])})
        _remember(walk, posts, since, overlap)
        fetched = now()
        messages = [
            message_of(post, body, fetched, f"{walk['edge']} {walk['count']}")
            for post in posts
            if word(post.get("id")) not in seen
        ]
        seen |= set(walk["ids"])
        token = word(record(body.get("meta")).get("next_token"))
        if token and token == walk["next_token"]:
            raise TransientError(api.say("gave the same page twice; the next pull tries again"), retry_after=60.0)
        if token:
            walk["next_token"] = token
        elif walk["edge"] == "mentions" and since and walk["count"] >= _REACH and _may_search(stream):
            floor = max(int(_back(since, overlap) or 0), id_at(now() - _SEARCH_DAYS))
            walk |= {"edge": "search", "next_token": None, "floor": str(floor)}
        else:
            newest = walk["newest_id"]
            after = {"since_id": newest, "seen": _window(seen, newest, overlap)} if newest else {}
            after = {k: v for k, v in state.items() if k not in ("since_id", "seen", "pass")} | after
            if messages or after != state:
                yield Batch(messages, after)
            return
        if messages:  # a page of nothing but known posts is cheaper to read again than to land
            state = {**state, "pass": dict(walk)}
            yield Batch(messages, state)


def _new_pass(ids: Iterable[str] = ()) -> dict[str, Any]:
    """Where a pass stands. ids: posts read in it that the next pass would meet again."""
    return {
        "edge": "mentions", "newest_id": None, "oldest_id": None, "next_token": None, "count": 0,
        "ids": list(ids),
    }  # fmt: skip


def _remember(walk: dict[str, Any], posts: list[dict[str, Any]], since: str | None, overlap: timedelta) -> None:
    ids = [int(i) for p in posts if (i := id_of(p))]
    if walk["newest_id"] is None:  # the first page decides: what comes later belongs to the next pass
        newest = max(ids + ([int(since)] if since else []), default=None)
        walk["newest_id"] = str(newest) if newest else None
    if walk["edge"] == "mentions" and ids:
        walk["oldest_id"] = str(min(ids))
    walk["count"] += len(posts)
    walk["ids"] = _window({*walk["ids"], *map(str, ids)}, walk["newest_id"], overlap)


def _window(ids: Iterable[str], newest: str | None, overlap: timedelta) -> list[str]:
    """The ids that a pass from `newest` minus the overlap would meet again."""
    floor = int(_back(newest, overlap) or 0)
    return sorted((i for i in set(ids) if int(i) > floor), key=int)


def _back(post_id: str | None, span: timedelta) -> str | None:
    """The id a post would have had `span` earlier."""
    if post_id is None:
        return None
    return str(max(int(post_id) - (int(span.total_seconds() * 1000) << 22), 0))


def _page(client: Any, stream: Stream, walk: dict[str, Any], floor: str | None, at: datetime) -> dict[str, Any]:
    dialect = stream.options.get("dialect", "tweet")
    if dialect not in ("tweet", "post"):
        raise SettingsError(f'{stream.key}: dialect must be "tweet" or "post", not {dialect!r}')
    names = _OLD if dialect == "tweet" else _NEW
    fields = _FIELDS.format(**names)
    kw: dict[str, Any] = {
        "max_results": int(http.number_of(stream, "max_results", 100, 5, 100)),
        # tweepy knows no post.fields, but sends what it does not know
        ("tweet_fields" if dialect == "tweet" else "post.fields"): fields,
        **_OTHER_FIELDS,
    }
    if dialect == "tweet":
        kw["expansions"] = _EXPANSIONS + "referenced_tweets.id,referenced_tweets.id.author_id,edit_history_tweet_ids"
    else:
        kw["expansions"] = _EXPANSIONS + "referenced_posts,edit_history_post_ids"
    if walk["edge"] == "mentions":
        user = str(stream.options["user_id"])
        return client.get_users_mentions(user, since_id=floor, pagination_token=walk["next_token"], **kw)
    reach = id_at(at - _SEARCH_DAYS)
    if int(floor or 0) < reach:
        log.warning("%s: more mentions than X keeps, older than search reaches: some are lost", stream.key)
    if int(walk["oldest_id"] or 0) <= reach:
        return {}  # X refuses to search there
    return client.search_recent_tweets(
        f"@{stream.options['handle'].lstrip('@')} -is:retweet",
        since_id=str(max(int(walk["floor"]), reach)), until_id=walk["oldest_id"],
        next_token=walk["next_token"], **(kw | {"max_results": max(kw["max_results"], 10)}),
    )  # fmt: skip


def _may_search(stream: Stream) -> bool:
    if isinstance(stream.options.get("handle"), str):
        return True
    log.warning("%s: more mentions than X keeps; set handle, so that search can fill the gap", stream.key)
    return False


def _client(stream: Stream, api: http.Api, token: str, now: Callable[[], datetime]) -> Any:
    import tweepy  # here: workers that only decode need not load it

    def check(response: requests.Response, body: Any) -> None:
        if response.status_code != 200:
            raise _refusal(api, response, record(body), now())
        if not isinstance(body, dict):
            raise http.not_json(api, response.status_code)
        if "errors" in body and "data" not in body and "meta" not in body:
            raise http.by_status(api, 404, _detail({}, records(body["errors"])), _ADVICE)

    # return_type dict: tweepy's own objects fail on answers that lack a field
    client = tweepy.Client(bearer_token=token, return_type=dict, wait_on_rate_limit=False)
    client.session = http.connect(stream, "https://api.twitter.com", check)
    return client


def _refusal(api: http.Api, response: requests.Response, body: dict[str, Any], at: datetime) -> Exception:
    status, title = response.status_code, str(body.get("title", ""))
    if status == 429 and (title == "UsageCapExceeded" or str(body.get("type", "")).endswith("usage-capped")):
        period = str(body.get("period", "")).lower()
        return PermanentError(
            api.say(f"says the {period} usage cap is reached; raise the cap in the developer portal or wait")
        )
    if status == 429:
        wait = _wait_until(response.headers.get("x-rate-limit-reset", ""), at)
        return TransientError(api.say(f"allows no more requests for {wait:.0f} s"), retry_after=wait)
    return http.by_status(api, status, _detail(body, records(body.get("errors"))), _ADVICE)


def _wait_until(reset: str, at: datetime) -> float:
    """Seconds until `reset`, a Unix time; 60 where it is none, so that nobody hammers."""
    if not reset.isascii() or not reset.isdigit() or len(reset) > 12:
        return 60.0
    return min(max(int(reset) - at.timestamp() + 1, 1.0), _LONGEST_WAIT)


def _detail(body: dict[str, Any], errors: list[dict[str, Any]]) -> str:
    """What X says of it; its own words only where they cannot quote a post."""
    said = [body.get("title"), *(e.get("message") or e.get("title") for e in errors[:3])]
    return "; ".join(s for s in said if isinstance(s, str))
