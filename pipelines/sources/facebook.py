"""Facebook: posts on and about the city's page, and comments under them, through the Graph API.

In: for each edge of one page its posts and the comments of each post, one Message per post or
comment; the payload holds the object as the API gave it. Key: the object's own id; version: a hash of
what its author can edit, because Facebook gives no edit time and changes the address of a picture
with every answer. Reach: each pull looks again at posts of the last `lookback_days`, for new comments
and edits; a comment under an older post is not seen. Under a busy post the newest comments come first
and reading stops at a page that holds nothing new, so an edit further down is not seen. Facebook
lists about 600 posts of a page and year. Every batch's cursor remembers where the pass stands; it
holds the versions known, so nothing is handed over twice. Not read: private conversations, reactions.
Limits: by the page's number of active people; `estimated_time_to_regain_access` is waited for.
Cost: none. Needs the permissions pages_read_engagement and pages_read_user_content.

Options in kanal.toml:
  page_id          number of the page; tells the page's own posts and replies apart
  token_env        name of the environment variable with the page's access token
  app_secret_env   name of the one with the app's secret, where the app asks for proof of it
  api_version      version of the Graph API ("v26.0")
  edges            lists of the page to read, of feed, tagged, visitor_posts, posts (["feed"])
  lookback_days    how far back posts are looked at again (7)
  max_results      posts a page, 1 to 100 (25)
  api_base         another address of the API: https, or http on this machine
  timeout_seconds  longest silence of the server (30)
  pages_dir        folder of recorded answers (*.json), read instead of the API; needs no token
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import requests

from pipelines.contracts import Batch, Stream
from pipelines.errors import KanalError, SettingsError, TransientError
from pipelines.sources import http
from pipelines.sources.fb_objects import comments_of, decode, messages_of, read_page
from pipelines.sources.pages import number, record, records, replay, word

__all__ = ["VERSION", "decode", "pull"]

VERSION = "1"

_EDGES = ("feed", "tagged", "visitor_posts", "posts")
_COMMENTS = 50  # a page
_STALE = 6 * 3600  # seconds
_LONGEST_WAIT = 24 * 3600.0
_PLACES = ("after", "until", "__paging_token")

_FILES = "media_type,type,url,title,media{image},target"
_COMMENT_FIELDS = "id,message,created_time,from,parent{id},attachment,permalink_url,is_private"
_POST_FIELDS = (
    "id,message,story,created_time,updated_time,from,place,status_type,parent_id,permalink_url,"
    f"attachments{{{_FILES},subattachments{{{_FILES}}}}},"
    f"comments.filter(stream).order(reverse_chronological).limit({_COMMENTS}){{{_COMMENT_FIELDS}}}"
)

_BUSY = {4, 17, 32, 341, 613, *range(80_000, 80_015)}
_DOWN = {1, 2}
_TOKEN = {102, 190}
_GONE = (100, 33)  # code, subcode: the object was deleted, or may no longer be seen
_ADVICE = {
    400: "a field or option is not accepted: check api_version, edges and page_id",
    403: "the token may not read this page",
    404: "no such page or version: check page_id, api_version and api_base",
}


# --- pull -----------------------------------------------------------------------------------


def pull(stream: Stream, cursor: dict[str, Any] | None, *, now: Callable[[], datetime]) -> Iterator[Batch]:
    """A Batch for each page of posts, and for each further page of comments, that brings something.

    Raises TransientError (busy, down, limit with `retry_after`) or PermanentError (token,
    permission); batches yielded before stay valid and the next pull goes on behind them.
    """
    if "pages_dir" in stream.options:
        yield from replay(stream, cursor or {}, now, read_page)
        return
    if not re.fullmatch(r"[0-9]{1,25}", str(stream.options.get("page_id", ""))):
        raise SettingsError(f"{stream.key}: page_id must be the page's number")
    token = http.token_of(stream, "token_env", "page access token")
    proof = _proof(stream, token)
    api = http.Api(stream.key, "Facebook", (token, proof) if proof else (token,))
    graph = _graph(stream, api, token, proof)
    del token, proof  # not in this frame, whose locals a traceback may show
    try:
        yield from _walk(stream, dict(cursor or {}), api, graph, now)
    finally:
        graph.session.close()


def _walk(
    stream: Stream, state: dict[str, Any], api: http.Api, graph: Any, now: Callable[[], datetime]
) -> Iterator[Batch]:
    edges, limit = _edges(stream), int(http.number_of(stream, "max_results", 25, 1, 100))
    lookback = int(timedelta(days=http.number_of(stream, "lookback_days", 7, 0, 90)).total_seconds())
    since = state.get("since")
    floor = None if since is None else since - lookback
    seen: dict[str, list[Any]] = dict(state.get("seen", {}))  # key -> [version, Unix time it was made]
    walk = deepcopy(state.get("pass")) or _new_pass(now())
    restarted = False
    while walk["edge"] < len(edges):
        edge = edges[walk["edge"]]
        post = walk["comments"][0] if walk["comments"] else None
        try:
            if post:
                page = api.ask(_comments_page, graph, *post)
            else:
                page = api.ask(_posts_page, graph, stream, edge, limit, floor, walk["place"])
        except http.Refused as refused:
            if post and (refused.code, refused.subcode) == _GONE:
                page = {"data": []}
            elif refused.code == 100 and (post or walk["place"]) and not restarted:
                # A place in a list is good for a while only. What is known is in `seen`, but a page
                # of known comments no longer means that those below it are known.
                walk, restarted = _new_pass(now(), deep=True), True
                continue
            else:
                raise
        fetched = now()
        if post:
            messages = comments_of(page, post[0], edge, fetched)
        else:
            messages = [m for p in records(page["data"]) for m in messages_of(p, edge, fetched)]
        fresh = [m for m in messages if seen.get(m.source_ref, [None])[0] != m.version]
        for m in fresh:
            seen[m.source_ref] = [m.version, int((m.occurred_at or fetched).timestamp())]
        _advance(walk, page, {m.source_ref for m in fresh}, api)
        done = walk["edge"] >= len(edges)
        young = {k: v for k, v in seen.items() if v[1] >= walk["start"] - lookback}
        kept = {k: v for k, v in state.items() if k not in ("since", "seen", "pass")}
        if done:
            after = {**kept, "since": walk["start"], "seen": young}
        else:
            after = {**kept, "since": since, "seen": young, "pass": deepcopy(walk)}
        # Without news the cursor may stay where it is: the next pull only looks back a little further.
        if fresh or (done and ("pass" in state or since is None or walk["start"] - since > _STALE)):
            yield Batch(fresh, after)
            state = after


def _new_pass(at: datetime, *, deep: bool = False) -> dict[str, Any]:
    """Where a pass stands: place in the list of `edge`, and posts with more comments, [id, place].

    listed: the edge's last page was read. deep: read comments to their end, known or not.
    """
    start = int(at.timestamp())
    return {"edge": 0, "start": start, "place": None, "comments": [], "listed": False, "deep": deep}


def _advance(walk: dict[str, Any], page: dict[str, Any], fresh: set[str], api: http.Api) -> None:
    """Move `walk` behind `page`; fresh: keys in it that were not known."""
    if walk["comments"]:
        post, place = walk["comments"].pop(0)
        further = _place_after(page, place, api)
        if further and (fresh or walk["deep"]):
            walk["comments"].insert(0, [post, further])
    else:
        for post in records(page["data"]):
            comments = record(post.get("comments"))
            news = {word(c.get("id")) for c in records(comments.get("data"))} & fresh
            further = _place_after(comments, None, api)
            if further and word(post.get("id")) and (news or walk["deep"]):
                walk["comments"].append([post["id"], further])
        walk["place"] = _place_after(page, walk["place"], api)
        walk["listed"] = walk["place"] is None
    if walk["listed"] and not walk["comments"]:
        walk |= {"edge": walk["edge"] + 1, "place": None, "listed": False}


def _place_after(page: dict[str, Any], place: dict[str, str] | None, api: http.Api) -> dict[str, str] | None:
    """How to ask for the page behind `page`, None behind the last. Never Facebook's own address of
    it, which holds the token."""
    paging = record(page.get("paging"))
    following = paging.get("next")
    if not isinstance(following, str):
        return None
    after = word(record(paging.get("cursors")).get("after"))
    query = dict(parse_qsl(urlsplit(following).query))
    further = {"after": after} if after else {k: query[k] for k in _PLACES if k in query}
    if not further or further == place:
        raise TransientError(api.say("names no further page, or the same one twice; the next pull tries again"))
    return further


def _posts_page(
    graph: Any, stream: Stream, edge: str, limit: int, floor: int | None, place: dict[str, str] | None
) -> dict[str, Any]:
    since = {} if floor is None else {"since": floor}
    page_id = str(stream.options["page_id"])
    return graph.get_connections(page_id, edge, fields=_POST_FIELDS, limit=limit, **(since | (place or {})))


def _comments_page(graph: Any, post_id: str, place: dict[str, str]) -> dict[str, Any]:
    return graph.get_connections(
        post_id, "comments", fields=_COMMENT_FIELDS, filter="stream", order="reverse_chronological",
        limit=_COMMENTS, **place,
    )  # fmt: skip


# --- the client -----------------------------------------------------------------------------


def _edges(stream: Stream) -> list[str]:
    edges = stream.options.get("edges", ["feed"])
    if not isinstance(edges, list) or not edges or not set(map(str, edges)) <= set(_EDGES):
        raise SettingsError(f"{stream.key}: edges must list some of {', '.join(_EDGES)}")
    return edges


def _proof(stream: Stream, token: str) -> str | None:
    if "app_secret_env" not in stream.options:
        return None
    key = http.token_of(stream, "app_secret_env", "app secret")
    return hmac.new(key.encode(), token.encode(), "sha256").hexdigest()


def _graph(stream: Stream, api: http.Api, token: str, proof: str | None) -> Any:
    import facebook  # here: workers that only decode need not load it

    version = stream.options.get("api_version", "v26.0")
    if not isinstance(version, str) or not re.fullmatch(r"v[0-9]{1,3}\.[0-9]", version):
        raise SettingsError(f'{stream.key}: api_version must look like "v26.0", not {version!r}')

    def check(response: requests.Response, body: Any) -> None:
        error = record(record(body).get("error"))
        if error:
            raise _refusal(api, response, error)
        if response.status_code != 200:
            raise http.by_status(api, response.status_code, "", _ADVICE, wait=_wait_of(response))
        if not isinstance(record(body).get("data"), list):
            raise TransientError(api.say("answered 200 with something that is not a list"), retry_after=60.0)
        response.headers["content-type"] = "application/json"  # the client fails where it is missing

    session = http.connect(stream, "https://graph.facebook.com", check)
    if proof:
        session.params = {"appsecret_proof": proof}
    graph = facebook.GraphAPI(access_token=token, version="3.1", session=session)
    graph.version = version  # the constructor knows none after 3.1
    return graph


def _refusal(api: http.Api, response: requests.Response, error: dict[str, Any]) -> KanalError:
    code, subcode = (int(number(error.get(k)) or 0) for k in ("code", "error_subcode"))
    status = response.status_code
    said = f"answered {status}, code {code}{f'/{subcode}' if subcode else ''}: {word(error.get('message'))}"[:400]
    if code in _BUSY or status == 429:
        wait = _wait_of(response)
        return TransientError(api.say(f"{said}; it takes requests again in {wait:.0f} s"), retry_after=wait)
    if "reduce the amount of data" in said:
        return http.Refused(api.say(f"{said}: lower max_results"), status=status, code=code)
    if code in _DOWN or error.get("is_transient") is True or (status >= 500 and not code):
        return TransientError(api.say(f"{said}; the next pull tries again"), retry_after=60.0)
    if code in _TOKEN:
        advice = "the token has expired or was revoked: make a new one and set the variable named by token_env"
    elif code == 10 or 200 <= code <= 299:
        advice = "a permission is missing: pages_read_engagement and pages_read_user_content"
    elif "appsecret_proof" in said:
        advice = "the app asks for proof of its secret: set app_secret_env"
    else:
        advice = _ADVICE.get(status, _ADVICE[400])
    return http.Refused(api.say(f"{said}; {advice}"), status=status, code=code, subcode=subcode or None)


def _wait_of(response: requests.Response) -> float:
    """Seconds until Facebook takes requests again; 300 where it does not say."""
    try:
        usage = record(json.loads(response.headers.get("x-business-use-case-usage", "")))
    except (ValueError, RecursionError):
        usage = {}
    minutes = [number(u.get("estimated_time_to_regain_access")) for us in usage.values() for u in records(us)]
    wait = 60 * max((m for m in minutes if m is not None), default=0.0)
    after = str(response.headers.get("retry-after", ""))
    if not wait and after.isascii() and after.isdigit() and len(after) < 7:
        wait = float(after)
    return min(wait, _LONGEST_WAIT) if wait > 0 else 300.0
