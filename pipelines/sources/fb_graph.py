"""The way to Facebook's Graph API: a small Protocol, facebook-sdk behind it, limits and refusals.

Used by the source `facebook`, which knows what to ask. facebook-sdk 3.1.0 is the newest there is and
knows no version after 3.1, checks no status, proves no app secret and puts the token into the URL, so
into every error's text; all that is mended here. Another client takes its place by being a `Graph`.
"""

from __future__ import annotations

import hmac
import json
import re
from typing import Any, Protocol

import requests

from pipelines.contracts import Stream
from pipelines.errors import KanalError, SettingsError, TransientError
from pipelines.sources import http
from pipelines.sources.pages import number, record, records, word

VERSION = "v27.0"  # of the Graph API, since 4 November 2026

_STOP_PERCENT = 80
_LONGEST_WAIT = 24 * 3600.0
_WAIT = 300.0
_BUSY = {4, 17, 32, 341, 613, *range(80_000, 80_015)}
_DOWN = {1, 2}
_TOKEN = {102, 190}
_ADVICE = {
    400: "a field or option is not accepted: check api_version, edges and page_id",
    403: "the token may not read this page",
    404: "no such page or version: check page_id, api_version and api_base",
}


class Graph(Protocol):
    """What the source asks of a client. Every method may raise TransientError or PermanentError,
    http.Refused with Facebook's own code among them, and none with a secret in it."""

    def list(self, path: str, **params: Any) -> dict[str, Any]:
        """One page of an edge: {"data": [...], "paging": {...}}."""

    def about_token(self) -> dict[str, Any]:
        """What Facebook says of the token in use: type, profile_id, scopes, expires_at."""

    def say(self, what: str) -> str:
        """`what` as the text of an error of this stream."""

    def close(self) -> None: ...


def connect(stream: Stream) -> Graph:
    """A client with the token and version that the stream's options name. Raises SettingsError."""
    version = stream.options.get("api_version", VERSION)
    if not isinstance(version, str) or not re.fullmatch(r"v[0-9]{1,3}\.[0-9]", version):
        raise SettingsError(f'{stream.key}: api_version must look like "{VERSION}", not {version!r}')
    return _Sdk(stream, version)


class _Sdk:
    """facebook-sdk, with what it leaves out."""

    def __init__(self, stream: Stream, version: str) -> None:
        import facebook  # here: workers that only decode need not load it

        self._stop = http.number_of(stream, "usage_stop_percent", _STOP_PERCENT, 1, 100)
        self._used, self._regain = 0.0, 0.0
        token = http.token_of(stream, "token_env", "page access token")
        hidden: tuple[str, ...] = (token,)
        if "app_secret_env" in stream.options:
            key = http.token_of(stream, "app_secret_env", "app secret")
            hidden += (key, hmac.new(key.encode(), token.encode(), "sha256").hexdigest())
        self._api = http.Api(stream.key, "Facebook", hidden)
        self._session = http.connect(stream, "https://graph.facebook.com", self._check)
        if len(hidden) > 1:
            self._session.params = {"appsecret_proof": hidden[-1]}
        self._client = facebook.GraphAPI(access_token=token, version="3.1", session=self._session)
        self._client.version = version  # the constructor knows none after 3.1

    def list(self, path: str, **params: Any) -> dict[str, Any]:
        page = self._get(path, params)
        if not isinstance(page.get("data"), list):
            raise TransientError(self.say("answered 200 with something that is not a list"), retry_after=60.0)
        self._hide(page)
        return page

    def _hide(self, value: Any) -> None:
        """Facebook writes the token into the address of every further page; no frame of a caller may hold it."""
        if isinstance(value, list):
            for one in value:
                self._hide(one)
        elif isinstance(value, dict):
            for name, one in value.items():
                if name in ("next", "previous") and isinstance(one, str):
                    value[name] = http.redact(one, self._api.hidden)
                else:
                    self._hide(one)

    def about_token(self) -> dict[str, Any]:
        return record(self._get("debug_token", {}, itself=True).get("data"))

    def say(self, what: str) -> str:
        return self._api.say(what)

    def close(self) -> None:
        self._session.close()

    def _get(self, path: str, params: dict[str, Any], *, itself: bool = False) -> dict[str, Any]:
        if self._used >= self._stop:
            wait = self._regain or _WAIT
            said = (
                f"says {self._used:.0f} % of its limit is used, so nothing more is asked for now (usage_stop_percent)"
            )
            raise TransientError(self.say(f"{said}; the next pull goes on from here"), retry_after=wait)
        client = self._client

        def call() -> dict[str, Any]:
            # The client writes the token into the parameters: only into these, which no error's frame holds.
            own = {"input_token": client.access_token} if itself else {}
            return client.request(f"{client.version}/{path}", {**params, **own})

        return self._api.ask(call)

    def _check(self, response: requests.Response, body: Any) -> None:
        self._used, self._regain = usage_of(response)
        error = record(record(body).get("error"))
        if error:
            raise self._refusal(response, error)
        if response.status_code != 200:
            wait = _wait_of(response)
            raise http.by_status(self._api, response.status_code, "", _ADVICE, wait=wait)
        if not isinstance(body, dict):
            raise http.not_json(self._api, response.status_code)
        response.headers["content-type"] = "application/json"  # the client fails where it is missing

    def _refusal(self, response: requests.Response, error: dict[str, Any]) -> KanalError:
        code, subcode = (int(number(error.get(k)) or 0) for k in ("code", "error_subcode"))
        status = response.status_code
        said = f"answered {status}, code {code}{f'/{subcode}' if subcode else ''}: {word(error.get('message'))}"[:400]
        if code in _BUSY or status == 429:
            wait = _wait_of(response)
            return TransientError(self.say(f"{said}; it takes requests again in {wait:.0f} s"), retry_after=wait)
        if "reduce the amount of data" in said:
            return http.Refused(self.say(f"{said}: lower max_results"), status=status, code=code)
        if code in _DOWN or error.get("is_transient") is True or (status >= 500 and not code):
            return TransientError(self.say(f"{said}; the next pull tries again"), retry_after=60.0)
        if code in _TOKEN:
            advice = "the token has expired or was revoked: make a new one and set the variable named by token_env"
        elif code == 10 or 200 <= code <= 299:
            advice = (
                "a permission is missing: pages_read_engagement and pages_read_user_content for posts, pages_messaging"
                " for conversations; kanal doctor --live says which"
            )
        elif "appsecret_proof" in said:
            advice = "the app asks for proof of its secret: set app_secret_env"
        else:
            advice = _ADVICE.get(status, _ADVICE[400])
        return http.Refused(self.say(f"{said}; {advice}"), status=status, code=code, subcode=subcode or None)


def usage_of(response: requests.Response) -> tuple[float, float]:
    """(percent of the limit that is used, seconds until it may be asked again) as the headers say."""
    rows = [_json(response, "x-app-usage")]
    rows += [row for found in _json(response, "x-business-use-case-usage").values() for row in records(found)]
    percents = [number(row.get(k)) for row in rows for k in ("call_count", "total_cputime", "total_time")]
    minutes = [number(row.get("estimated_time_to_regain_access")) for row in rows]
    wait = 60 * max((m for m in minutes if m is not None), default=0.0)
    return max((p for p in percents if p is not None), default=0.0), min(max(wait, 0.0), _LONGEST_WAIT)


def _wait_of(response: requests.Response) -> float:
    """Seconds until Facebook takes requests again; 300 where it does not say."""
    _, wait = usage_of(response)
    after = str(response.headers.get("retry-after", ""))
    if not wait and after.isascii() and after.isdecimal() and len(after) < 7:
        wait = float(after)
    return min(wait, _LONGEST_WAIT) if wait > 0 else _WAIT


def _json(response: requests.Response, header: str) -> dict[str, Any]:
    try:
        return record(json.loads(response.headers.get(header, "")))
    except (ValueError, RecursionError):
        return {}
