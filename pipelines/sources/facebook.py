"""Facebook: posts on and about a page, comments under them, and private messages to it.

In: for each edge of one page its posts and the comments of each post, or its conversations and the
messages in each, one Message per post, comment or message; the payload holds the object as the Graph
API gave it. Key: the object's own id; version: a hash of what its author can edit, because Facebook
gives no edit time and changes the address of a picture with every answer. Reach: each pull looks again
at posts of the last `lookback_days`, for new comments and edits; a comment under an older post is not
seen. Under a busy post the newest comments come first and reading stops at a page that holds nothing
new, so an edit further down is not seen. Facebook lists about 600 posts of a page and year, and tells
what was said in a conversation for its newest 20 messages: where more came since the last pull, the
cursor gains a gap. Every batch's cursor remembers where the pass stands; it holds the versions known,
so nothing is handed over twice. Not read: reactions. Limits: by the page's number of active people;
at `usage_stop_percent` of them a pull asks no further, and `estimated_time_to_regain_access` is waited
for. Cost: none. Permissions: pages_read_engagement, pages_read_user_content; pages_messaging for
conversations.

Options in kanal.toml:
  page_id             number of the page; tells the page's own posts and replies apart
  token_env           name of the environment variable with the page's access token
  app_secret_env      name of the one with the app's secret, where the app asks for proof of it
  api_version         version of the Graph API ("v27.0")
  edges               lists of the page to read, of feed, tagged, visitor_posts, posts, conversations
                      (["feed"]); what people write in conversations is private
  lookback_days       how far back posts are looked at again (7)
  max_results         posts or conversations a page, 1 to 100 (25)
  usage_stop_percent  share of the limit at which a pull stops asking (80)
  api_base            another address of the API: https, or http on this machine
  timeout_seconds     longest silence of the server (30)
  pages_dir           folder of recorded answers (*.json), read instead of the API; needs no token
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from pipelines.contracts import Batch, Message, Stream, gap
from pipelines.errors import PermanentError, SettingsError, TransientError
from pipelines.sources import http
from pipelines.sources.fb_graph import Graph, connect
from pipelines.sources.fb_objects import comments_of, decode, is_withheld, messages_of, read_page, thread_of
from pipelines.sources.pages import moment, number, record, records, replay, word, words

__all__ = ["VERSION", "decode", "probe", "pull"]

VERSION = "2"

_TALKS = "conversations"
_COMMENTS = 50  # a page
_MESSAGES = 20  # a page: of older ones Facebook tells the id only
_STALE = 6 * 3600  # seconds
_LATE = 3600  # seconds a conversation may be listed late
_PLACES = ("after", "until", "__paging_token")

_FILES = "media_type,type,url,title,media{image},target"
_COMMENT_FIELDS = "id,message,created_time,from,parent{id},attachment,permalink_url,is_private"
_POST_FIELDS = (
    "id,message,story,created_time,updated_time,from,place,status_type,parent_id,permalink_url,"
    f"attachments{{{_FILES},subattachments{{{_FILES}}}}},"
    f"comments.filter(stream).order(reverse_chronological).limit({_COMMENTS}){{{_COMMENT_FIELDS}}}"
)
_MESSAGE_FIELDS = (
    "id,created_time,from,to,message,sticker,attachments{id,name,mime_type,size,file_url,image_data,video_data}"
)
_TALK_FIELDS = f"id,updated_time,messages.limit({_MESSAGES}){{{_MESSAGE_FIELDS}}}"

_GONE = (100, 33)  # code, subcode: the object was deleted, or may no longer be seen
_NEEDED = {
    "feed": ("pages_read_engagement", "pages_read_user_content"),
    "tagged": ("pages_read_engagement", "pages_read_user_content"),
    "visitor_posts": ("pages_read_engagement", "pages_read_user_content"),
    "posts": ("pages_read_engagement",),
    _TALKS: ("pages_messaging",),
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
    edges, graph = _edges(stream), connect(stream)
    try:
        yield from _Walk(stream, edges, dict(cursor or {}), graph, now).run()
    finally:
        graph.close()


def probe(stream: Stream, *, now: Callable[[], datetime]) -> str:
    """Ask Facebook about the token; PermanentError names the permission that is missing."""
    if "pages_dir" in stream.options:
        return "reads recorded pages; Facebook is not asked"
    edges, page_id = _edges(stream), str(stream.options["page_id"])
    graph = connect(stream)
    try:
        told = graph.about_token()
    finally:
        graph.close()
    if told.get("is_valid") is not True:
        said = word(record(told.get("error")).get("message")) or "it says no more"
        raise PermanentError(graph.say(f"does not know the token any more ({said}); {_RENEW}"))
    if told.get("type") != "PAGE" or word(told.get("profile_id")) not in (None, page_id):
        raise PermanentError(graph.say(f"says the token is not that of page {page_id}; {_RENEW}"))
    needed = dict.fromkeys(p for edge in edges for p in _NEEDED[edge])
    granted = words(told.get("scopes"))
    if missing := [p for p in needed if p not in granted]:
        raise PermanentError(
            graph.say(
                f"has not granted {', '.join(missing)}; add it to the app under App review > Permissions and features"
                f" (Advanced access) at developers.facebook.com, then: {_RENEW}"
            )
        )
    ends = [t for k in ("expires_at", "data_access_expires_at") if (t := number(told.get(k)))]
    until = datetime.fromtimestamp(min(ends), UTC).date().isoformat() if ends else None
    return f"the token is page {page_id}'s, grants {', '.join(needed)} and " + (
        f"expires on {until}" if until else "does not expire"
    )


_RENEW = (
    "make a page token with an account that manages the page (Graph API Explorer, or GET /me/accounts with a long-lived"
    " user token) and set the variable named by token_env"
)


class _Walk:
    """One pass over every edge: lists, and what hangs under their items, page after page."""

    def __init__(
        self, stream: Stream, edges: list[str], state: dict[str, Any], graph: Graph, now: Callable[[], datetime]
    ) -> None:
        self.stream, self.edges, self.state, self.graph, self.now = stream, edges, state, graph, now
        self.limit = int(http.number_of(stream, "max_results", 25, 1, 100))
        self.lookback = int(timedelta(days=http.number_of(stream, "lookback_days", 7, 0, 90)).total_seconds())
        self.since: int | None = state.get("since")
        self.floor = None if self.since is None else self.since - self.lookback
        self.seen: dict[str, list[Any]] = dict(state.get("seen", {}))  # key -> [version, Unix time it was made]
        self.gaps: list[dict[str, str]] = list(state.get("gaps", []))
        self.walk = deepcopy(state.get("pass")) or _new_pass(now())
        self.asked: set[tuple[Any, ...]] = set()  # pages; one that comes again leads in a circle

    def run(self) -> Iterator[Batch]:
        """A Batch for each page that brings something; the last one moves `since`."""
        restarted = False
        while self.walk["edge"] < len(self.edges):
            edge = self.edges[self.walk["edge"]]
            item = self.walk["comments"][0] if self.walk["comments"] else None
            self.asked.add(_page(edge, *(item or (None, self.walk["place"]))))
            try:
                page = self._below(edge, *item) if item else self._listed(edge)
            except http.Refused as refused:
                if item and (refused.code, refused.subcode) == _GONE:
                    page = {"data": []}
                elif refused.code == 100 and (item or self.walk["place"]) and not restarted:
                    # A place in a list is good for a while only. What is known is in `seen`, but a page
                    # of known comments no longer means that those below it are known.
                    self.walk, restarted = _new_pass(self.now(), deep=True), True
                    self.asked = set()
                    continue
                else:
                    raise
            fetched = self.now()
            messages = self._messages(page, edge, item[0] if item else None, fetched)
            fresh = [m for m in messages if self.seen.get(m.source_ref, [None])[0] != m.version]
            for m in fresh:
                self.seen[m.source_ref] = [m.version, int((m.occurred_at or fetched).timestamp())]
            self._advance(page, edge, {m.source_ref for m in fresh})
            batch = self._batch(fresh)
            if batch:
                yield batch
                self.state = batch.cursor

    def _batch(self, fresh: list[Message]) -> Batch | None:
        walk, state = self.walk, self.state
        done = walk["edge"] >= len(self.edges)
        young = {k: v for k, v in self.seen.items() if v[1] >= walk["start"] - self.lookback}
        kept = {k: v for k, v in state.items() if k not in ("since", "seen", "pass", "gaps")}
        if self.gaps:
            kept["gaps"] = self.gaps[-20:]
        if done:
            after = {**kept, "since": walk["start"], "seen": young}
        else:
            after = {**kept, "since": self.since, "seen": young, "pass": deepcopy(walk)}
        # Without news the cursor may stay where it is: the next pull only looks back a little further.
        stale = self.since is None or walk["start"] - self.since > _STALE
        news = fresh or kept.get("gaps") != state.get("gaps")
        return Batch(fresh, after) if news or (done and ("pass" in state or stale)) else None

    # --- what is asked ---

    def _listed(self, edge: str) -> dict[str, Any]:
        """A page of posts, or of conversations as far as they moved since the last pass."""
        path, place = f"{self.stream.options['page_id']}/{edge}", self.walk["place"] or {}
        if edge != _TALKS:
            since = {} if self.floor is None else {"since": self.floor}
            return self.graph.list(path, fields=_POST_FIELDS, limit=self.limit, **since, **place)
        # Conversations cannot be asked for by time; those that moved last come first.
        page = self.graph.list(path, fields=_TALK_FIELDS, platform="messenger", limit=self.limit, **place)
        moved = [t for t in records(page["data"]) if self._moved(t)]
        if len(moved) < len(records(page["data"])):
            page = {"data": moved}  # no paging: those behind are older still
        return page

    def _moved(self, talk: dict[str, Any]) -> bool:
        at = moment(talk.get("updated_time"))
        return self.since is None or at is None or at.timestamp() >= self.since - _LATE

    def _below(self, edge: str, item: str, place: dict[str, str]) -> dict[str, Any]:
        """A further page of a post's comments or of a conversation's messages."""
        if edge == _TALKS:
            return self.graph.list(f"{item}/messages", fields=_MESSAGE_FIELDS, limit=_MESSAGES, **place)
        return self.graph.list(
            f"{item}/comments", fields=_COMMENT_FIELDS, filter="stream", order="reverse_chronological",
            limit=_COMMENTS, **place,
        )  # fmt: skip

    def _messages(self, page: dict[str, Any], edge: str, item: str | None, fetched: datetime) -> list[Message]:
        if edge != _TALKS:
            if item:
                return comments_of(page, item, edge, fetched)
            return [m for p in records(page["data"]) for m in messages_of(p, edge, fetched)]
        talks = (
            [(item, page)] if item else [(word(t.get("id")), record(t.get("messages"))) for t in records(page["data"])]
        )
        return [m for talk, messages in talks for m in thread_of(self._told(messages), talk, fetched)]

    def _told(self, messages: dict[str, Any]) -> list[dict[str, Any]]:
        """The messages of a page that are not known by their age; where Facebook tells no more, a gap."""
        told: list[dict[str, Any]] = []
        for one in records(messages.get("data")):
            at = moment(one.get("created_time"))
            if self.floor is not None and at and at.timestamp() < self.floor:
                break
            if is_withheld(one):
                self._miss(at)
                break
            told.append(one)
        return told

    def _miss(self, end: datetime | None) -> None:
        """Messages between the last pass and `end` of which Facebook tells the id only."""
        begin = datetime.fromtimestamp(self.since, UTC) if self.since is not None else None
        if begin is None or end is None or begin >= end:
            return
        what = f"private messages beyond the newest {_MESSAGES} of a conversation"
        fill = f"read them in the page's inbox and enter them, or run: kanal import {self.stream.channel} FILE"
        found = gap(what, begin, end, found_at=self.now(), fill=fill)
        if not any((g["what"], g["from"]) == (found["what"], found["from"]) for g in self.gaps):
            self.gaps.append(found)

    # --- where it stands ---

    def _advance(self, page: dict[str, Any], edge: str, fresh: set[str]) -> None:
        """Move the pass behind `page`; fresh: keys in it that were not known."""
        walk = self.walk
        if walk["comments"]:
            item, _ = walk["comments"].pop(0)
            further = self._place_after(page, edge, item)
            if further and (fresh or walk["deep"]) and not _ended(page, edge):
                walk["comments"].insert(0, [item, further])
        else:
            for item in records(page["data"]):
                below = record(item.get("messages" if edge == _TALKS else "comments"))
                news = {word(c.get("id")) for c in records(below.get("data"))} & fresh
                further = self._place_after(below)
                if further and word(item.get("id")) and (news or walk["deep"]) and not _ended(below, edge):
                    walk["comments"].append([item["id"], further])
            walk["place"] = self._place_after(page, edge)
            walk["listed"] = walk["place"] is None
        if walk["listed"] and not walk["comments"]:
            walk |= {"edge": walk["edge"] + 1, "place": None, "listed": False}

    def _place_after(
        self, page: dict[str, Any], edge: str | None = None, item: str | None = None
    ) -> dict[str, str] | None:
        """How to ask for the page behind `page`, None behind the last; of which list, unless it came along in
        another. Never Facebook's own address of it, which holds the token."""
        paging = record(page.get("paging"))
        following = paging.get("next")
        if not isinstance(following, str):
            return None
        after = word(record(paging.get("cursors")).get("after"))
        query = dict(parse_qsl(urlsplit(following).query))
        further = {"after": after} if after else {k: query[k] for k in _PLACES if k in query}
        if not further or _page(edge, item, further) in self.asked:
            said = "names no further page, or the same one twice; the next pull tries again"
            raise TransientError(self.graph.say(said))
        return further


def _page(edge: str | None, item: str | None, place: dict[str, str] | None) -> tuple[Any, ...]:
    return edge, item, *sorted((place or {}).items())


def _ended(page: dict[str, Any], edge: str) -> bool:
    """Whether a conversation's page reached the messages of which Facebook tells the id only."""
    return edge == _TALKS and any(map(is_withheld, records(page.get("data"))))


def _new_pass(at: datetime, *, deep: bool = False) -> dict[str, Any]:
    """Where a pass stands: place in the list of `edge`, and posts with more comments, [id, place].

    listed: the edge's last page was read. deep: read comments to their end, known or not.
    """
    start = int(at.timestamp())
    return {"edge": 0, "start": start, "place": None, "comments": [], "listed": False, "deep": deep}


def _edges(stream: Stream) -> list[str]:
    if not re.fullmatch(r"[0-9]{1,25}", str(stream.options.get("page_id", ""))):
        raise SettingsError(f"{stream.key}: page_id must be the page's number")
    edges = stream.options.get("edges", ["feed"])
    if not isinstance(edges, list) or not edges or not set(map(str, edges)) <= set(_NEEDED):
        raise SettingsError(f"{stream.key}: edges must list some of {', '.join(_NEEDED)}")
    return edges
