"""The way to X's API v2: one request a call, its limits, its clock, and what its refusals mean.

Used by the source `twitter`, which knows what to ask. tweepy sends; all else is ours, because its
own waiting for limits fires without a pause where X names no end, and it sets no timeout.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import requests

from pipelines.contracts import Stream
from pipelines.errors import PermanentError, SettingsError, TransientError
from pipelines.sources import http
from pipelines.sources.pages import record, records

_LONGEST_WAIT = 3600.0  # a limit's window is 15 minutes; a reset further off is a clock gone wrong
_SKEW = timedelta(seconds=5)  # less is the age of an answer

_FIELDS = (
    "created_at,conversation_id,geo,lang,edit_controls,entities,attachments,public_metrics,possibly_sensitive,withheld,"
)
# Since August 2026 the ids of what a post refers to come with their expansions, and are refused as fields
_OWN_FIELDS = {"tweet": "note_tweet,author_id,referenced_tweets,in_reply_to_user_id", "post": "note_post"}
# Not the edit history: its ids come with every post, and its expansion brings earlier versions, each paid for
_EXPANSIONS = "author_id,geo.place_id,attachments.media_keys,in_reply_to_user_id,"
_REFERRED = {"tweet": "referenced_tweets.id,referenced_tweets.id.author_id", "post": "referenced_posts"}
_OTHER_FIELDS = {
    "user_fields": "username,name,location,created_at,verified,protected",
    "place_fields": "full_name,name,country_code,place_type,geo,contained_within",
    "media_fields": "type,url,preview_image_url,alt_text,width,height,duration_ms",
}

_ADVICE = {
    400: "a field name or option is not accepted; if X no longer knows tweet.fields set dialect = \"post\"",
    401: "the bearer token is wrong or revoked: make a new one at console.x.com under the app's keys and tokens, and"
         " set the variable named by bearer_env",
    402: "the account has no credits left: top up at console.x.com under Billing",
    403: "the app may not read this: enrol it in a project with access to it at console.x.com",
    404: "no such account or endpoint: check user_id and api_base",
}  # fmt: skip


class XApi:
    """One stream's connection. Raises TransientError or PermanentError, never with a secret in it."""

    def __init__(self, stream: Stream, now: Callable[[], datetime]) -> None:
        self._dialect = stream.options.get("dialect", "tweet")
        if self._dialect not in _REFERRED:
            raise SettingsError(f'{stream.key}: dialect must be "tweet" or "post", not {self._dialect!r}')
        token = http.token_of(stream, "bearer_env", "X bearer token")
        self._api, self._now = http.Api(stream.key, "X", (token,)), now
        self.skew = timedelta(0)  # the API's clock is ours plus this
        self.heard = False  # whether an answer told its clock
        self._limits: dict[str, tuple[int, int | None, datetime]] = {}  # requests left, of, until
        self._asking = ""
        self._client = self._connect(stream, token)
        del token  # not in this frame, whose locals a traceback may show

    def now(self) -> datetime:
        """Now, by the API's clock as its answers tell it."""
        return self._now() + self.skew

    def close(self) -> None:
        self._client.session.close()

    def mentions(self, user: str, **how: Any) -> dict[str, Any]:
        """One page of mentions of the account with this number."""
        return self._ask("mentions", self._client.get_users_mentions, user, **how)

    def search(self, query: str, **how: Any) -> dict[str, Any]:
        """One page of recent search."""
        return self._ask("search", self._client.search_recent_tweets, query, **how)

    def left(self, endpoint: str) -> str:
        """What the last answer said of the endpoint's limit, in words."""
        remaining, limit, _ = self._limits.get(endpoint, (None, None, None))
        return (
            "it names no limit" if remaining is None else f"{remaining} of {limit or '?'} requests left in this window"
        )

    def error(self, what: str, *, retry_after: float) -> TransientError:
        return TransientError(self._api.say(what), retry_after=retry_after)

    def _ask(self, endpoint: str, call: Callable[..., Any], *args: Any, **how: Any) -> dict[str, Any]:
        remaining, _, until = self._limits.get(endpoint, (1, None, self.now()))
        if remaining <= 0 and until > self.now():
            raise self._full((until - self.now()).total_seconds())
        self._asking = endpoint
        # tweepy knows no post.fields, but sends what it does not know
        fields = _FIELDS + _OWN_FIELDS[self._dialect]
        how |= {"tweet_fields" if self._dialect == "tweet" else "post.fields": fields, **_OTHER_FIELDS}
        how["expansions"] = _EXPANSIONS + _REFERRED[self._dialect]
        return self._api.ask(call, *args, **how)

    def _connect(self, stream: Stream, token: str) -> Any:
        import tweepy  # here: workers that only decode need not load it

        def check(response: requests.Response, body: Any) -> None:
            self._heed(response)
            if response.status_code != 200:
                raise self._refusal(response, record(body))
            if not isinstance(body, dict):
                raise http.not_json(self._api, response.status_code)
            if "errors" in body and "data" not in body and "meta" not in body:
                raise http.by_status(self._api, 404, _detail({}, records(body["errors"])), _ADVICE)
            if not isinstance(body.get("meta"), dict):  # each page has it, an empty one too: this is no last page
                raise self.error("answered 200 with something that is not a list", retry_after=60.0)

        # return_type dict: tweepy's own objects fail on answers that lack a field
        client = tweepy.Client(bearer_token=token, return_type=dict, wait_on_rate_limit=False)
        client.session = http.connect(stream, "https://api.twitter.com", check)
        return client

    def _heed(self, response: requests.Response) -> None:
        """Note the API's clock and what is left of the endpoint's limit."""
        self.heard = True
        try:
            skew = parsedate_to_datetime(response.headers.get("date", "")) - self._now()
        except (ValueError, TypeError):
            pass
        else:
            self.skew = skew if abs(skew) > _SKEW else timedelta(0)
        remaining, reset, limit = (
            _whole(response.headers.get(f"x-rate-limit-{name}", "")) for name in ("remaining", "reset", "limit")
        )
        if remaining is not None and reset is not None:
            self._limits[self._asking] = (remaining, limit, datetime.fromtimestamp(reset + 1, UTC))

    def _refusal(self, response: requests.Response, body: dict[str, Any]) -> Exception:
        status, title = response.status_code, str(body.get("title", ""))
        if status == 429 and (title == "UsageCapExceeded" or str(body.get("type", "")).endswith("usage-capped")):
            period = str(body.get("period", "")).lower()
            said = f"says the {period} usage cap is reached; raise the cap at console.x.com or wait for the next {period or 'period'}"
            return PermanentError(self._api.say(said))
        if status == 429:
            reset = _whole(response.headers.get("x-rate-limit-reset", ""))
            # Without an end 60 s, so that nobody hammers.
            return self._full(60.0 if reset is None else reset + 1 - self.now().timestamp())
        return http.by_status(self._api, status, _detail(body, records(body.get("errors"))), _ADVICE)

    def _full(self, seconds: float) -> TransientError:
        wait = min(max(seconds, 1.0), _LONGEST_WAIT)
        return self.error(f"allows no more requests for {wait:.0f} s", retry_after=wait)


def _whole(value: str) -> int | None:
    return int(value) if value.isascii() and value.isdecimal() and len(value) <= 11 else None


def _detail(body: dict[str, Any], errors: list[dict[str, Any]]) -> str:
    """What X says of it; its own words only where they cannot quote a post."""
    said = [body.get("title"), *(e.get("message") or e.get("title") for e in errors[:3])]
    return "; ".join(s for s in said if isinstance(s, str))
