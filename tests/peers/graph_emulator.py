"""The part of Facebook's Graph API that Kanal asks, on 127.0.0.1: a page's lists, comments and
conversations, and what it knows of a token.

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

_LISTS = ("feed", "tagged", "visitor_posts", "posts", "conversations")
_TOLD = 20  # newest messages of a conversation whose contents are told
SCOPES = ("pages_read_engagement", "pages_read_user_content", "pages_messaging")


def facebook_time(at: datetime) -> str:
    """2026-10-03T04:05:06+0000"""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S+0000")


class GraphEmulator(ApiServer):
    """`lists` holds an edge's posts or conversations, `comments` those of a post by its id, `messages`
    those of a conversation. `scopes` are granted; `used`: percent of the limit that the headers name."""

    def __init__(self, *, token: str, page_id: str, app_secret: str | None = None) -> None:
        super().__init__()
        self.token, self.page_id, self.app_secret = token, page_id, app_secret
        self.lists: dict[str, list[dict[str, Any]]] = {edge: [] for edge in _LISTS}
        self.comments: dict[str, list[dict[str, Any]]] = {}
        self.messages: dict[str, list[dict[str, Any]]] = {}
        self.scopes = list(SCOPES)
        self.token_facts: dict[str, Any] = {"type": "PAGE", "is_valid": True, "expires_at": 0, "profile_id": page_id}
        self.used = 0
        self.remaining = 1000
        self.regain_minutes = 12
        self.stale: set[str] = set()  # `after` cursors refused once; given out anew they are good again
        self.deleted: set[str] = set()  # posts whose comments are gone
        self._signature = itertools.count(1)

    def answer(self, asked: Asked) -> Answer:
        used = self.used if self.remaining > 0 else 100
        regain = 0 if self.remaining > 0 else self.regain_minutes
        usage = [{"type": "pages", "call_count": used, "estimated_time_to_regain_access": regain}]
        headers = {"facebook-api-version": "v27.0"}
        headers["x-app-usage"] = json.dumps({"call_count": 1, "total_cputime": 0, "total_time": 1})
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
        if re.fullmatch(r"/v\d+\.\d/debug_token", asked.path):
            return 200, {"data": {**self.token_facts, "scopes": self.scopes, "app_id": "9001"}}
        path = re.fullmatch(r"/v\d+\.\d/(\w+)/(\w+)", asked.path)
        if refused := self._forbidden(path[2] if path else ""):
            return refused
        if path and path[1] == self.page_id and path[2] in _LISTS:
            items = self.lists[path[2]]
        elif path and path[2] == "messages" and path[1] in self.messages and path[1] not in self.deleted:
            items = self._messages(path[1])
        elif path and path[2] == "comments" and path[1] in self.comments and path[1] not in self.deleted:
            items = self.comments[path[1]]
        else:
            return 400, error(100, "GraphMethodException", "Unsupported get request.", 33)
        if not 1 <= int(query.get("limit", "25")) <= 100 or query.get("after") in self.stale:
            self.stale.discard(query.get("after", ""))
            return 400, error(100, "OAuthException", "(#100) Invalid parameter")
        return 200, self._list(items, asked.path, query)

    def _forbidden(self, edge: str) -> tuple[int, Any] | None:
        if edge in ("conversations", "messages"):
            scope, code = "pages_messaging", 200
        else:
            scope, code = "pages_read_engagement", 10
        if scope in self.scopes:
            return None
        return 403, error(code, "OAuthException", f"(#{code}) Requires {scope} permission to manage the object.")

    def _messages(self, talk: str) -> list[dict[str, Any]]:
        """A conversation's messages, newest first; of all but the newest only that they exist."""
        found = sorted(self.messages[talk], key=lambda m: m["created_time"], reverse=True)
        return found[:_TOLD] + [{k: m[k] for k in ("id", "created_time")} for m in found[_TOLD:]]

    def _proof(self) -> str:
        return hmac.new((self.app_secret or "").encode(), self.token.encode(), "sha256").hexdigest()

    def _list(self, items: list[dict[str, Any]], path: str, query: dict[str, str]) -> dict[str, Any]:
        found = sorted(
            items, key=lambda i: i.get("updated_time" if "/conversations" in path else "created_time"), reverse=True
        )
        if "since" in query and "/conversations" in path:
            raise ValueError("conversations cannot be asked for by time")
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
            chosen["comments"] = self._list(comments, f"/v27.0/{item['id']}/comments", nested)
        if "messages" in names and str(item["id"]) in self.messages:
            inner = re.fullmatch(r"messages\.limit\((\d+)\)\{(.*)\}", names["messages"])
            if not inner:
                raise ValueError(f"the emulator does not understand {names['messages']}")
            nested = {"access_token": query["access_token"], "limit": inner[1], "fields": inner[2]}
            chosen["messages"] = self._list(self._messages(str(item["id"])), f"/v27.0/{item['id']}/messages", nested)
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
