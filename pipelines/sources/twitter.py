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

import html
import logging
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from math import cos, hypot, radians
from pathlib import PurePosixPath
from typing import Any

import requests

from pipelines.contracts import Attachment, Batch, Draft, Message, Stream
from pipelines.errors import FilteredMessage, PermanentError, RejectedMessage, SettingsError, TransientError
from pipelines.sources import http
from pipelines.sources.pages import (
    moment, number, objects_of, payload_of, point, record, records, replay, to_bytes, word, words,
)  # fmt: skip

VERSION = "1"
PAYLOAD_TYPE = "application/vnd.kanal.x-post+json"

log = logging.getLogger(__name__)

_EPOCH_MS = 1_288_834_974_657  # ids are milliseconds since then, shifted left by 22 bits
_FIRST_SNOWFLAKE = 29_700_859_247  # ids below carry no time
_REACH = 750  # mentions stop at about 800, without saying so
_SEARCH_DAYS = timedelta(days=7) - timedelta(minutes=5)
_POINT_METRES = 30.0
_AREA_METRES = 3000.0  # a place wider than this says where the text is about, not where to go

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
        yield from replay(stream, cursor or {}, now, _read_page)
        return
    user = str(stream.options.get("user_id", ""))
    if not user.isdigit():
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
    since, seen = state.get("since_id"), set(state.get("seen", ()))
    walk = state.get("pass") or _new_pass()
    restarted = False
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
            _message(post, body, fetched, f"{walk['edge']} {walk['count']}")
            for post in posts
            if post.get("id") not in seen
        ]
        seen |= set(walk["ids"])
        token = word(record(body.get("meta")).get("next_token"))
        if token:
            walk["next_token"] = token
        elif walk["edge"] == "mentions" and since and walk["count"] >= _REACH and _may_search(stream):
            walk |= {"edge": "search", "next_token": None}
        else:
            newest = walk["newest_id"]
            after = {"since_id": newest, "seen": _window(seen, newest, overlap)}
            after = {k: v for k, v in state.items() if k not in ("since_id", "seen", "pass")} | after
            if messages or after != state:
                yield Batch(messages, after)
            return
        yield Batch(messages, {**state, "pass": dict(walk)})


def _new_pass(ids: Iterable[str] = ()) -> dict[str, Any]:
    """Where a pass stands. ids: posts read in it that the next pass would meet again."""
    return {
        "edge": "mentions", "newest_id": None, "oldest_id": None, "next_token": None, "count": 0, "ids": list(ids),
    }  # fmt: skip


def _remember(walk: dict[str, Any], posts: list[dict[str, Any]], since: str | None, overlap: timedelta) -> None:
    ids = [int(i) for p in posts if (i := word(p.get("id"))) and i.isdigit()]
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
    oldest_searched = _id_at(at - _SEARCH_DAYS)
    if int(floor or 0) < oldest_searched:
        log.warning("%s: more mentions than X keeps, older than search reaches: some are lost", stream.key)
    return client.search_recent_tweets(
        f"@{stream.options['handle'].lstrip('@')} -is:retweet",
        since_id=str(max(int(floor or 0), oldest_searched)), until_id=walk["oldest_id"],
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
        reset = str(response.headers.get("x-rate-limit-reset", ""))
        wait = max(int(reset) - at.timestamp() + 1, 1.0) if reset.isdigit() and len(reset) < 13 else 60.0
        return TransientError(api.say(f"allows no more requests for {wait:.0f} s"), retry_after=wait)
    return http.by_status(api, status, _detail(body, records(body.get("errors"))), _ADVICE)


def _detail(body: dict[str, Any], errors: list[dict[str, Any]]) -> str:
    """What X says of it; its own words only where they cannot quote a post."""
    said = [body.get("title"), *(e.get("message") or e.get("title") for e in errors[:3])]
    return "; ".join(s for s in said if isinstance(s, str))


# --- what one page holds --------------------------------------------------------------------


def _read_page(page: Any, name: PurePosixPath, fetched: datetime) -> list[Message]:
    return [_message(post, record(page), fetched, str(name)) for post in objects_of(page)]


def _message(post: dict[str, Any], page: dict[str, Any], fetched: datetime, origin: str) -> Message:
    own = word(post.get("id"))
    payload = to_bytes({"post": post, "includes": _includes_of(post, record(page.get("includes")))})
    if own is None:
        own = f"sha256:{sha256(payload).hexdigest()[:32]}"
    history = words(_either(post, "edit_history_tweet_ids", "edit_history_post_ids"))
    root = history[0] if history else own
    made = moment(post.get("created_at")) or _time_of(own)
    edited = root != own
    return Message(
        root, own, payload, PAYLOAD_TYPE, fetched,
        occurred_at=(_time_of(root) or made) if edited else made,
        edited_at=made if edited else None,
        origin=origin,
    )  # fmt: skip


def _includes_of(post: dict[str, Any], includes: dict[str, Any]) -> dict[str, Any]:
    """The part of a page's `includes` that this post refers to, under the names it came with."""
    referred = {word(r.get("id")) for r in _references(post)}
    kept: dict[str, Any] = {}
    for name in ("tweets", "posts"):
        if found := [p for p in records(includes.get(name)) if word(p.get("id")) in referred]:
            kept[name] = found
    people = {word(post.get("author_id")), word(post.get("in_reply_to_user_id"))}
    people |= {word(p.get("author_id")) for found in kept.values() for p in found}
    keys = set(words(record(post.get("attachments")).get("media_keys")))
    wanted = {
        "users": ("id", people - {None}),
        "media": ("media_key", keys),
        "places": ("id", {record(post.get("geo")).get("place_id")} - {None}),
        "polls": ("id", set(words(record(post.get("attachments")).get("poll_ids")))),
    }
    for name, (key, ids) in wanted.items():
        if found := [v for v in records(includes.get(name)) if word(v.get(key)) in ids]:
            kept[name] = found
    return kept


def _references(post: dict[str, Any]) -> list[dict[str, Any]]:
    return records(_either(post, "referenced_tweets", "referenced_posts"))


def _either(post: dict[str, Any], old: str, new: str) -> Any:
    """A field by its name before or since August 2026."""
    return post[old] if old in post else post.get(new)


def _time_of(post_id: str) -> datetime | None:
    if not post_id.isdigit() or not _FIRST_SNOWFLAKE < int(post_id) < 1 << 63:
        return None
    return datetime.fromtimestamp(((int(post_id) >> 22) + _EPOCH_MS) / 1000, UTC)


def _id_at(time: datetime) -> int:
    return (int(time.timestamp() * 1000) - _EPOCH_MS) << 22


# --- decode ---------------------------------------------------------------------------------


def decode(message: Message, stream: Stream) -> Draft:
    """A post -> Draft. Own posts and reposts are filtered; a post with nothing to read is rejected."""
    payload = payload_of(message)
    post, includes = record(payload.get("post")), record(payload.get("includes"))
    author = word(post.get("author_id"))
    user = next((u for u in records(includes.get("users")) if word(u.get("id")) == author and author), {})
    name, handle = word(user.get("name")), word(user.get("username"))
    own = str(stream.options.get("handle") or "").lstrip("@").casefold()
    if (author and author == str(stream.options.get("user_id"))) or (handle and handle.casefold() == own):
        raise FilteredMessage("own_reply")
    references = {word(r.get("type")): word(r.get("id")) for r in _references(post)}
    for kind in ("retweeted", "reposted"):
        if kind in references:
            raise FilteredMessage("repost", f"of {references[kind]}")
    text, files = _text(post), _attachments(post, includes)
    if not text and not files:
        raise RejectedMessage("Kiriman ini tidak berisi teks atau lampiran. Periksa kiriman aslinya di X.")
    post_id = word(post.get("id"))
    history = words(_either(post, "edit_history_tweet_ids", "edit_history_post_ids"))
    extra = {
        "lang": word(post.get("lang")),
        "edits": len(history) - 1 if len(history) > 1 else None,
        "quoted": references.get("quoted"),
        "reply_to": references.get("replied_to"),
        "withheld": words(record(post.get("withheld")).get("country_codes")) or None,
    }
    return Draft(
        text=text,
        occurred_at=message.occurred_at,
        author_ref=f"x:{author}" if author else None,
        author_name=f"{name} (@{handle})" if name and handle else name or handle,
        sender_level="claimed" if author else "anonymous",
        conversation_ref=word(post.get("conversation_id")),
        source_url=f"https://x.com/i/status/{post_id}" if post_id and post_id.isdigit() else None,
        attachments=files,
        extra={k: v for k, v in extra.items() if v is not None},
        **_place(record(post.get("geo")), includes),
    )


def _text(post: dict[str, Any]) -> str:
    """The whole text as the author typed it, without the link X appends for each picture."""
    note = record(_either(post, "note_tweet", "note_post"))
    text = word(note.get("text")) or word(post.get("text")) or ""
    links = [u for part in (note, post) for u in records(record(part.get("entities")).get("urls"))]
    media = {word(u.get("url")) for u in links if _is_media_link(u)} - {None}
    text = text.rstrip()
    while last := next((url for url in media if url and text.endswith(url)), None):
        text = text[: -len(last)].rstrip()
    return html.unescape(text)


def _is_media_link(link: dict[str, Any]) -> bool:
    shown, target = word(link.get("display_url")) or "", word(link.get("expanded_url")) or ""
    return "media_key" in link or shown.startswith(("pic.twitter.com/", "pic.x.com/")) or bool(
        re.search(r"/status/\d{1,20}/(photo|video)/\d", target[:500])
    )  # fmt: skip


def _attachments(post: dict[str, Any], includes: dict[str, Any]) -> list[Attachment]:
    known = {word(m.get("media_key")): m for m in records(includes.get("media"))}
    files: list[Attachment] = []
    for key in words(record(post.get("attachments")).get("media_keys")):
        media = record(known.get(key))
        # a key starts with the kind of media, which is all there is where X left the object out
        kind = word(media.get("type")) or {"3": "photo"}.get(key.split("_")[0], "video")
        file = Attachment(type="photo" if kind == "photo" else "video")
        if url := word(media.get("url")) or word(media.get("preview_image_url")):
            file["url"] = url
        files.append(file)
    return files


def _place(geo: dict[str, Any], includes: dict[str, Any]) -> dict[str, Any]:
    """lat, lon, accuracy_m and address_text from an exact point, or a place small enough."""
    place_id = word(geo.get("place_id"))
    place = next((p for p in records(includes.get("places")) if place_id and word(p.get("id")) == place_id), {})
    address = word(place.get("full_name")) or word(place.get("name"))
    found: dict[str, Any] = {"address_text": address} if address else {}
    exact = record(geo.get("coordinates")).get("coordinates")
    if isinstance(exact, list) and len(exact) == 2 and (where := point(exact[1], exact[0])):
        return found | {"lat": where[0], "lon": where[1], "accuracy_m": _POINT_METRES}
    box = record(place.get("geo")).get("bbox")
    if not isinstance(box, list) or len(box) != 4:
        return found
    low, high = point(box[1], box[0]), point(box[3], box[2])
    if low is None or high is None:
        return found
    lat, lon = (low[0] + high[0]) / 2, (low[1] + high[1]) / 2
    metres = 111_320 * hypot(high[0] - low[0], (high[1] - low[1]) * cos(radians(lat)))
    if number(metres) is None or metres > _AREA_METRES:
        return found
    return found | {"lat": lat, "lon": lon, "accuracy_m": max(round(metres / 2, 1), _POINT_METRES)}
