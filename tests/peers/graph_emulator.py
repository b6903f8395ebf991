"""The part of Facebook's Graph API that Kanal asks, on 127.0.0.1: a page's lists and comments.

Answers carry only the fields asked for, newest first, with comments nested as the request orders and
`paging.next` that holds the token, as the real one does. Errors come in Facebook's own envelope and
codes: 190 for a wrong token, 100 for a missing proof, field or object, 4 with 429 and
`estimated_time_to_regain_access` when the limit is used up. Picture addresses are signed anew for
every answer.
"""

from __future__ import annotations

import hmac
import itertools
import json
import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from tests.peers.api_server import Answer, ApiServer, Asked

_LISTS = ("feed", "tagged", "visitor_posts", "posts")


def facebook_time(at: datetime) -> str:
    """2026-10-03T04:05:06+0000"""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S+0000")


class GraphEmulator(ApiServer):
    """`lists` holds an edge's posts, `comments` those of a post by its id."""

    def __init__(self, *, token: str, page_id: str, app_secret: str | None = None) -> None:
        super().__init__()
        self.token, self.page_id, self.app_secret = token, page_id, app_secret
        self.lists: dict[str, list[dict[str, Any]]] = {edge: [] for edge in _LISTS}
        self.comments: dict[str, list[dict[str, Any]]] = {}
        self.remaining = 1000
        self.regain_minutes = 12
        self.stale: set[str] = set()  # `after` cursors refused once; given out anew they are good again
        self.deleted: set[str] = set()  # posts whose comments are gone
        self._signature = itertools.count(1)

    def answer(self, asked: Asked) -> Answer:
        used = 0 if self.remaining > 0 else 100
        regain = 0 if self.remaining > 0 else self.regain_minutes
        usage = [{"type": "pages", "call_count": used, "estimated_time_to_regain_access": regain}]
        headers = {"facebook-api-version": "v26.0"}
        headers["x-business-use-case-usage"] = json.dumps({self.page_id: usage})
        if self.remaining <= 0:
            return 429, error(4, "OAuthException", "Application request limit reached"), headers
        self.remaining -= 1
        status, body = self._answer(asked)
        return status, body, headers

    def _answer(self, asked: Asked) -> tuple[int, Any]:
        query = asked.query
        token = query.get("access_token")
        if token != self.token:
            return 400, error(190, "OAuthException", f"Malformed access token {token}", 463)
        if self.app_secret and query.get("appsecret_proof") != self._proof():
            said = "API calls from the server require an appsecret_proof argument"
            return 400, error(100, "GraphMethodException", said)
        path = re.fullmatch(r"/v\d+\.\d/(\w+)/(\w+)", asked.path)
        if path and path[1] == self.page_id and path[2] in _LISTS:
            items = self.lists[path[2]]
        elif path and path[2] == "comments" and path[1] in self.comments and path[1] not in self.deleted:
            items = self.comments[path[1]]
        else:
            return 400, error(100, "GraphMethodException", "Unsupported get request.", 33)
        if not 1 <= int(query.get("limit", "25")) <= 100 or query.get("after") in self.stale:
            self.stale.discard(query.get("after", ""))
            return 400, error(100, "OAuthException", "(#100) Invalid parameter")
        return 200, self._list(items, asked.path, query)

    def _proof(self) -> str:
        return hmac.new((self.app_secret or "").encode(), self.token.encode(), "sha256").hexdigest()

    def _list(self, items: list[dict[str, Any]], path: str, query: dict[str, str]) -> dict[str, Any]:
        found = sorted(items, key=lambda i: i["created_time"], reverse=True)
        if "since" in query:
            floor = datetime.fromtimestamp(int(query["since"]), UTC)
            found = [i for i in found if datetime.fromisoformat(i["created_time"]) >= floor]
        size = int(query.get("limit", "25"))
        begin = 0
        if "after" in query:
            ids = [f"A{i['id']}" for i in found]
            begin = ids.index(query["after"]) + 1 if query["after"] in ids else 0
        page = found[begin : begin + size]
        out: dict[str, Any] = {"data": [self._fields(i, query.get("fields", "id"), query) for i in page]}
        if page:
            out["paging"] = {"cursors": {"before": f"A{page[0]['id']}", "after": f"A{page[-1]['id']}"}}
            if begin + size < len(found):
                following = query | {"after": f"A{page[-1]['id']}"}
                out["paging"]["next"] = f"https://graph.facebook.com{path}?{urlencode(following)}"
        return out

    def _fields(self, item: dict[str, Any], fields: str, query: dict[str, str]) -> dict[str, Any]:
        names = {name.split(".")[0].split("{")[0]: name for name in _split(fields)}
        chosen = {k: self._signed(v) for k, v in item.items() if k in names or k == "id"}
        comments = self.comments.get(str(item["id"]), [])
        if "comments" in names and comments:
            inner = re.fullmatch(r"comments\.filter\(stream\)\.order\(\w+\)\.limit\((\d+)\)\{(.*)\}", names["comments"])
            if not inner:
                raise ValueError(f"the emulator does not understand {names['comments']}")
            nested = {"access_token": query["access_token"], "limit": inner[1], "fields": inner[2]}
            chosen["comments"] = self._list(comments, f"/v26.0/{item['id']}/comments", nested)
        return chosen

    def _signed(self, value: Any) -> Any:
        """Addresses of pictures with a signature that is never the same."""
        if isinstance(value, dict):
            return {k: self._signed(v) for k, v in value.items()}
        if isinstance(value, list):
            return [self._signed(v) for v in value]
        if isinstance(value, str) and value.startswith("https://scontent."):
            return f"{value}?oh={next(self._signature)}"
        return value


def error(code: int, kind: str, message: str, subcode: int | None = None) -> dict[str, Any]:
    """Facebook's envelope of an error."""
    said = {"message": message, "type": kind, "code": code, "fbtrace_id": "AbCdEf"}
    return {"error": said | ({"error_subcode": subcode} if subcode else {})}


def _split(fields: str) -> list[str]:
    """Field names at the outermost level: a,b{c,d} -> a and b{c,d}."""
    parts, depth, begin = [], 0, 0
    for at, letter in enumerate(fields):
        depth += (letter in "({") - (letter in ")}")
        if letter == "," and depth == 0:
            parts.append(fields[begin:at])
            begin = at + 1
    return [*parts, fields[begin:]]
