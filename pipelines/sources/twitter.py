"""X (Twitter): posts that mention an account, and posts that a search finds, through the X API v2.

In: mentions of one account, recent search, or both, one Message per post; the payload holds the post
as the API gave it and the users, posts, media and places it refers to. Key: the first id of the
post's edit history; an edit has a new id and becomes a new version. Reach: the 800 newest mentions,
beyond which search of the handle goes on, and 7 days of search. What lies further back cannot be
read: the cursor then gains a gap, which run, status, Dagster and the snapshot tell once found. Newest
first, so `since_id` moves only when a pass is complete, and each page's cursor remembers where the
pass stands. Late posts are caught by reading `overlap_minutes` again; ids already read there are in
the cursor. Metrics are not followed: they change without the post. Limits: 450 requests in 15 minutes
and endpoint, heeded before X refuses. Cost (2026): a post 0.005 US$, a mention of the app owner's own
account 0.001, an author 0.010, each once a UTC day; costs.py keeps the ledger and the budget.

Options in kanal.toml:
  user_id          number of the account whose mentions are read
  handle           its name, without @; tells own posts apart and fills long gaps
  mentions         false where user_id only tells own posts apart and nothing but the search is read
  query            what to search, in X's operators: "(jalan OR got) rusak Jakarta"
  keywords         words and phrases to search instead, any of them: ["banjir kemang", "#jakartabanjir"]
  lang             language searched for, "" for any ("in", which is X's name of Indonesian)
  owned            true where the account is the app owner's own: mentions then cost a fifth
  bearer_env       name of the environment variable with the app's bearer token
  max_results      posts a page, 5 to 100 (100)
  overlap_minutes  how far back to look again (30)
  dialect          "tweet" or "post": names of the request fields before and since August 2026
                   ("tweet"); answers are understood in both
  budget_usd_per_day, budget_reads_per_day, prices   see costs.py
  api_base         another address of the API: https, or http on this machine
  timeout_seconds  longest silence of the server (30)
  pages_dir        folder of recorded answers (*.json), read instead of the API; needs no token
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from pipelines.contracts import Batch, Stream, gap
from pipelines.errors import SettingsError
from pipelines.sources import http
from pipelines.sources.costs import Ledger
from pipelines.sources.pages import moment, objects_of, record, records, replay, word
from pipelines.sources.x_api import XApi
from pipelines.sources.x_posts import decode, id_at, id_of, includes_of, message_of, read_page, time_of

__all__ = ["VERSION", "decode", "probe", "pull"]

VERSION = "3"

_REACH = 750  # mentions stop at about 800, without saying so
_SEARCH_DAYS = timedelta(days=7) - timedelta(minutes=5)
_STALE = timedelta(hours=6)  # a pass without news is put on record this often
_LONGEST_QUERY = 512
_LEAST = {"mentions": 5, "search": 10, "query": 10}  # posts a page, as X has it
_KEYS = {"mentions": ("since_id", "seen"), "query": ("query_since_id", "query_seen")}
_ALONG = {"tweets": "post", "posts": "post", "users": "user", "media": "media"}  # includes -> what costs.py counts
_LOST = {
    "mentions": "mentions older than X keeps and than search reaches",
    "handle": "mentions older than X keeps (with the option handle, search would fill the gap)",
    "query": "search results older than the 7 days that X searches",
}


class _Plan(NamedTuple):
    user: str | None
    handle: str | None
    query: str | None
    overlap: timedelta
    size: int
    owned: bool


# --- pull -----------------------------------------------------------------------------------


def pull(stream: Stream, cursor: dict[str, Any] | None, *, now: Callable[[], datetime]) -> Iterator[Batch]:
    """A Batch for each page of posts newer than `cursor`, newest first; mentions, then search.

    Raises TransientError (busy, down, quota or budget with `retry_after`) or PermanentError
    (credentials, credits, usage cap); pages yielded before stay valid and the next pull goes on
    behind them.
    """
    if "pages_dir" in stream.options:
        yield from replay(stream, cursor or {}, now, read_page)
        return
    plan, ledger = _plan(stream), Ledger(stream, cursor or {})
    x = XApi(stream, now)
    try:
        state = dict(cursor or {})
        begun = _leg_of(state.get("pass"))
        # A pass that was broken off goes on first; one over a leg that is read no more is dropped.
        for leg in sorted(_legs(plan), key=lambda leg: leg != begun):
            state = yield from _Pass(stream, plan, x, ledger, leg, state, now).run()
    finally:
        x.close()


def probe(stream: Stream, *, now: Callable[[], datetime]) -> str:
    """Ask for what was said in the last ten seconds: free, unless something was."""
    if "pages_dir" in stream.options:
        return "reads recorded pages; X is not asked"
    plan, found = _plan(stream), []
    Ledger(stream, {})
    x = XApi(stream, now)
    try:
        for leg in _legs(plan):
            since = str(id_at(now() - timedelta(seconds=10)))
            if leg == "mentions":
                x.mentions(str(plan.user), since_id=since, max_results=_LEAST[leg])
            else:
                x.search(str(plan.query), since_id=since, max_results=_LEAST[leg])
            found.append(f"{leg} can be read ({x.left('mentions' if leg == 'mentions' else 'search')})")
        if abs(x.skew) > timedelta(minutes=2):
            found.append(f"this machine's clock is {abs(x.skew).total_seconds() / 60:.0f} minutes off X's")
    finally:
        x.close()
    return "; ".join(found)


def _plan(stream: Stream) -> _Plan:
    options, user = stream.options, None
    query, mentions = _query_of(stream), options.get("mentions", True)
    if "user_id" in options or query is None:
        user = str(options.get("user_id", ""))
        if id_of({"id": user}) is None:
            raise SettingsError(f"{stream.key}: user_id must be the account's number, not {user!r}")
    if not isinstance(mentions, bool) or (not mentions and query is None):
        raise SettingsError(f"{stream.key}: mentions is true or false, and false only beside query or keywords")
    handle = options.get("handle")
    if handle is not None and not isinstance(handle, str):
        raise SettingsError(f"{stream.key}: handle must be the account's name, not {handle!r}")
    overlap = timedelta(minutes=http.number_of(stream, "overlap_minutes", 30, 0, 7 * 1440))
    size = int(http.number_of(stream, "max_results", 100, 5, 100))
    owned = options.get("owned") is True
    return _Plan(user if mentions else None, handle.lstrip("@") if handle else None, query, overlap, size, owned)


def _query_of(stream: Stream) -> str | None:
    """The search in X's operators, without reposts and own posts: what is not wanted is not paid for."""
    query, words, lang = (stream.options.get(k) for k in ("query", "keywords", "lang"))
    if query is None and words is None:
        return None
    if query is not None and words is not None:
        raise SettingsError(f"{stream.key}: set query or keywords, not both")
    if words is not None:
        if not isinstance(words, list) or not words or not all(isinstance(w, str) and w.strip() for w in words):
            raise SettingsError(f'{stream.key}: keywords must be a list of words or phrases, as ["banjir kemang"]')
        query = " OR ".join(f'"{w.strip()}"' if len(w.split()) > 1 else w.strip() for w in words)
    if not isinstance(query, str) or not query.strip():
        raise SettingsError(f"{stream.key}: query must be a text in X's search operators")
    lang = "in" if lang is None else lang
    parts = [f"({query.strip()})"] + ([f"lang:{lang}"] if lang and "lang:" not in query else []) + ["-is:retweet"]
    if handle := str(stream.options.get("handle") or "").lstrip("@"):
        parts.append(f"-from:{handle}")
    whole = " ".join(parts)
    if len(whole) > _LONGEST_QUERY:
        raise SettingsError(
            f"{stream.key}: the search is {len(whole)} characters long and X takes {_LONGEST_QUERY}; use fewer words, or"
            f" a second stream for some of them. It reads: {whole[:80]}..."
        )
    return whole


def _legs(plan: _Plan) -> list[str]:
    return (["mentions"] if plan.user else []) + (["query"] if plan.query else [])


def _leg_of(walk: dict[str, Any] | None) -> str | None:
    """Which leg a pass in the cursor belongs to; `search` is how mentions go on beyond their wall."""
    return {"search": "mentions"}.get(walk["edge"], walk["edge"]) if walk else None


class _Pass:
    """One leg read from its newest post down to where the last pass began."""

    def __init__(
        self, stream: Stream, plan: _Plan, x: XApi, ledger: Ledger, leg: str, state: dict[str, Any],
        now: Callable[[], datetime],
    ) -> None:  # fmt: skip
        self.stream, self.plan, self.x, self.ledger, self.leg, self.now = stream, plan, x, ledger, leg, now
        self.state = {k: v for k, v in state.items() if k != "pass" or _leg_of(v) == leg}
        self.since_key, self.seen_key = _KEYS[leg]
        self.since: str | None = state.get(self.since_key)
        self.walk = dict(self.state.get("pass") or _new_pass(leg))
        self.last = state  # what landed last
        self.tokens = {self.walk["next_token"]}  # of pages asked for; one that comes again leads in a circle
        self.seen = {i for _, key in _KEYS.values() for i in state.get(key, ())} | set(self.walk["ids"])

    def run(self) -> Generator[Batch, None, dict[str, Any]]:
        """Yields a Batch for each page that brings something; returns the state behind the pass."""
        walk, restarted = self.walk, False
        if self.leg == "query" and not walk["next_token"] and self.x.heard:
            self._miss("query", self.x.now() - _SEARCH_DAYS)
        while True:
            heard = self.x.heard
            try:
                body = self._page()
            except http.Refused as refused:
                if refused.status == 400 and walk["next_token"] and not restarted:
                    restarted = True  # the page token is no longer good
                    walk |= _new_pass(self.leg, walk["ids"])
                    self.tokens = set()
                elif refused.status == 400 and self.leg == "query" and not heard and not walk["next_token"]:
                    self._miss("query", self.x.now() - _SEARCH_DAYS)  # X does not search so far back
                else:
                    raise
                continue
            posts = objects_of({"data": body.get("data", [])})
            self._remember(posts)
            fetched = self.now()
            origin = f"{walk['edge']} {walk['count']}"
            fresh = [post for post in posts if word(post.get("id")) not in self.seen]
            messages = [message_of(post, body, fetched, origin) for post in fresh]
            paid = self._charge(posts, body)
            self.seen |= set(walk["ids"]) | {i for p in fresh if (i := id_of(p))}
            token = word(record(body.get("meta")).get("next_token"))
            if token in self.tokens - {None}:
                raise self.x.error("gave the same page twice; the next pull tries again", retry_after=60.0)
            if token:
                walk["next_token"] = token
                self.tokens.add(token)
            elif not self._goes_on_in_search():
                after = self._done()
                if messages or after != self.last:
                    yield Batch(messages, after)
                return after
            # A page of nothing but known posts is cheaper to read again than to land, unless it was paid for.
            if messages or paid:
                self.state = self.last = self._told() | {"pass": dict(walk)}
                yield Batch(messages, self.state)

    # --- where it stands ---

    def _remember(self, posts: list[dict[str, Any]]) -> None:
        walk, ids = self.walk, [int(i) for p in posts if (i := id_of(p))]
        walk.setdefault("start", self.x.now().isoformat(timespec="seconds"))
        if walk["newest_id"] is None:  # the first page decides: what comes later belongs to the next pass
            newest = max(ids + ([int(self.since)] if self.since else []), default=None)
            walk["newest_id"] = str(newest) if newest else None
        if walk["edge"] == "mentions" and ids:
            walk["oldest_id"] = str(min(ids))
        walk["count"] += len(posts)
        walk["ids"] = self._window({*walk["ids"], *map(str, ids)})

    def _window(self, ids: Iterable[str]) -> list[str]:
        """The ids that a pass from the newest post minus the overlap would meet again."""
        floor = int(_back(self.walk["newest_id"], self.plan.overlap) or 0)
        return sorted((i for i in set(ids) if int(i) > floor), key=int)

    def _told(self) -> dict[str, Any]:
        """The state with the ledger as it is now."""
        again = {i for _, key in _KEYS.values() for i in self.state.get(key, ())} | set(self.walk["ids"])
        return self.state | self.ledger.kept(again)

    def _done(self) -> dict[str, Any]:
        """The state behind the whole pass."""
        walk, key = self.walk, self.since_key
        after = {k: v for k, v in self.state.items() if k != "pass"}
        if walk["newest_id"]:
            own = {*self.state.get(self.seen_key, ()), *walk["ids"]}
            after |= {key: walk["newest_id"], self.seen_key: self._window(own)}
        again = {i for _, name in _KEYS.values() for i in after.get(name, ())}
        after |= self.ledger.kept(again)
        checked = moment(after.get("checked", {}).get(self.leg))
        start = walk["start"]
        if walk["newest_id"] and (
            after != self.last or checked is None or (moment(start) or checked) - checked > _STALE
        ):
            after["checked"] = {**after.get("checked", {}), self.leg: start}
        return after

    def _charge(self, posts: list[dict[str, Any]], body: dict[str, Any]) -> bool:
        """Put what the page brought into the ledger; False where the UTC day had paid for all of it."""
        kind, at, paid = self._kind(), self.x.now(), False
        for post in posts:
            along: dict[str, list[str]] = {}
            for name, found in includes_of(post, record(body.get("includes"))).items():
                if what := _ALONG.get(name):
                    ids = [i for one in records(found) if (i := word(one.get("id")) or word(one.get("media_key")))]
                    along[what] = along.get(what, []) + ids
            paid |= self.ledger.charge(at, kind, word(post.get("id")) or "", along)
        return paid

    def _kind(self) -> str:
        return "owned" if self.walk["edge"] == "mentions" and self.plan.owned else "post"

    # --- what is asked ---

    def _page(self) -> dict[str, Any]:
        walk, edge, at = self.walk, self.walk["edge"], self.x.now()
        floor, reach = int(_back(self.since, self.plan.overlap) or 0), id_at(at - _SEARCH_DAYS)
        if edge == "search" and int(walk["oldest_id"] or 0) <= reach:
            return {}  # X refuses to search there
        least = _LEAST[edge]
        size = self.ledger.room(at, self._kind(), max(self.plan.size, least), least)
        if edge == "mentions":
            since = str(floor) if self.since else None
            token = walk["next_token"]
            return self.x.mentions(str(self.plan.user), since_id=since, pagination_token=token, max_results=size)
        if edge == "search":
            floor = int(walk["floor"])
            query, until = f"@{self.plan.handle} -is:retweet", walk["oldest_id"]
        else:
            query, until = str(self.plan.query), None
        if edge == "query" and not self.x.heard:
            reach = 0  # our clock may be off: X says whether it searches so far back
        since = str(max(floor, reach)) if edge == "search" or self.since else None
        return self.x.search(query, since_id=since, until_id=until, next_token=walk["next_token"], max_results=size)

    def _goes_on_in_search(self) -> bool:
        """Whether mentions ended at their wall, with more below that search may find."""
        walk = self.walk
        if walk["edge"] != "mentions" or not self.since or walk["count"] < _REACH:
            return False
        if self.plan.handle is None:
            self._miss("handle", time_of(walk["oldest_id"] or ""))
            return False
        reach = self.x.now() - _SEARCH_DAYS
        oldest = time_of(walk["oldest_id"] or "") or reach
        self._miss("mentions", min(reach, oldest))
        floor = max(int(_back(self.since, self.plan.overlap) or 0), id_at(reach))
        walk |= {"edge": "search", "next_token": None, "floor": str(floor)}
        return True

    def _miss(self, what: str, end: datetime | None) -> None:
        """Put on record what can no longer be read: from where the last pass began until `end`."""
        checked = moment(self.state.get("checked", {}).get(self.leg))
        begin = max((t for t in (time_of(self.since or ""), checked) if t), default=None)
        if begin is None or end is None or begin >= end:
            return
        fill = f"export them from X and run: kanal import {self.stream.channel} FILE"
        found = gap(_LOST[what], begin, end, found_at=self.x.now(), fill=fill)
        known = self.state.get("gaps", [])
        if not any(g["what"] == found["what"] and g["from"] == found["from"] for g in known):
            self.state = self.state | {"gaps": [*known, found][-20:]}


def _new_pass(leg: str, ids: Iterable[str] = ()) -> dict[str, Any]:
    """Where a pass stands. ids: posts read in it that the next pass would meet again."""
    return {
        "edge": leg, "newest_id": None, "oldest_id": None, "next_token": None, "count": 0, "ids": list(ids),
    }  # fmt: skip


def _back(post_id: str | None, span: timedelta) -> str | None:
    """The id a post would have had `span` earlier."""
    if post_id is None:
        return None
    return str(max(int(post_id) - (int(span.total_seconds() * 1000) << 22), 0))
