"""SMS: the inbox of a playSMS gateway, asked over its web services.

In: every SMS of one user's inbox (or of his keywords), one Message each; the payload is playSMS's item, which
has `'` where the citizen wrote `"`. Key: hash of its ID, sender, receiver, time and text. Reach: what the inbox
still holds. The cursor is the newest items read; older ones are asked for again, for one numbered first and
committed last, and where none is there as it was, the inbox is read from its start. Limits: playSMS answers the
newest first and cannot page, so whatever is new is asked for in one answer of up to 100,000; a long SMS is joined
by playSMS's own gateway or comes as separate ones. Cost: none. Protocol: WEBSERVICES.md of playSMS 1.4.

Options in kanal.toml:
  url               address of playSMS, as https://sms.example.go.id/index.php
  user              whose inbox
  token_env         environment variable with the user's webservices token
  op                "ix", the inbox, or "in", what came for the user's keywords ("ix"). They number differently
  time_zone         zone of playSMS's times; it stores UTC ("UTC")
  codes             first words that call an office: a set of models/sms_codes.toml, or {WORD = "office"}
  spam_senders      senders whose SMS are advertising, as playSMS writes them
  timeout_seconds   longest silence of the server (30); a whole answer may take five times that
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import orjson
import requests

from pipelines.contracts import Batch, Draft, Message, Stream, short_hash
from pipelines.errors import KanalError, PermanentError, RejectedMessage, SettingsError
from pipelines.sources.http import Api, Refused, address_of, by_status, connect, not_json, token_of
from pipelines.sources.sms_head import codes_of, draft_of

VERSION = "1"
PAYLOAD_TYPE = "application/json"

log = logging.getLogger(__name__)

_SIZES = (1_000, 10_000, 100_000)  # items an answer: more only where the smaller answer was full
_CHUNK = 500  # items a batch
_RECENT = 100
_NOTHING = "501"
_ADVICE = {
    "100": "check user and the token in {token}",
    "101": "check op, and the version of playSMS",
    "102": "check user and the token in {token}",
    "104": "make a webservices token in the user's preferences and put it into {token}",
    "105": "enable webservices in the user's preferences",
    "106": "allow this machine's address in the user's preferences (webservices IP range)",
}
_STATUS = {
    301: "set url to where it leads",
    302: "set url to where it leads",
    401: "check url",
    403: "check url, and who may reach it",
    404: "check url",
}


class _Item(NamedTuple):
    id: int
    mark: str
    cells: Mapping[str, Any]


def pull(stream: Stream, cursor: dict[str, Any] | None, *, now: Callable[[], datetime]) -> Iterator[Batch]:
    """A Batch for each 500 SMS that are new, in the order of their IDs.

    Raises TransientError (no answer, 5xx, 429), PermanentError (refused; more than 100,000 new ones) or SettingsError.
    """
    zone = _zone(stream)
    codes_of(stream)
    ask = _asking(stream)
    recent: dict[int, str] = {int(number): mark for number, mark in (cursor or {}).get("recent", {}).items()}
    # As long as fewer are known all are, and one that is stored late may be numbered before the first of them
    found = _since(stream.key, ask, min(recent) - 1 if len(recent) >= _RECENT else 0)
    same = [item.mark == recent[item.id] for item in found if item.id in recent]
    if recent and not (any(same) and all(same)):
        log.warning("%s: the inbox is not the one read before; reading it again from its start", stream.key)
        recent, found = {}, _since(stream.key, ask, 0)
    fresh = [item for item in found if item.id not in recent]
    for first in range(0, len(fresh), _CHUNK):
        some = fresh[first : first + _CHUNK]
        recent = dict(sorted([*recent.items(), *((item.id, item.mark) for item in some)])[-_RECENT:])
        messages = [_message(item, zone, now()) for item in some]
        yield Batch(messages, {"recent": {str(number): mark for number, mark in recent.items()}})


def probe(stream: Stream, *, now: Callable[[], datetime]) -> str:
    """Ask for the newest SMS. Raises what `pull` would."""
    found = _asking(stream)(0, 1)
    return f"logged in; the newest SMS has ID {found[-1].id}" if found else "logged in; the inbox is empty"


def decode(message: Message, stream: Stream) -> Draft:
    """An item -> Draft. Raises RejectedMessage or FilteredMessage."""
    try:
        cells = orjson.loads(message.payload)
    except orjson.JSONDecodeError:
        cells = None
    if not isinstance(cells, dict):
        raise RejectedMessage("Isi SMS rusak dan tidak bisa dibaca. Ambil ulang dari gateway SMS.")
    keyword = _text(cells, "kwd")
    return draft_of(
        message, stream, sender=_text(cells, "src"), text=_text(cells, "msg"), keyword=keyword,
        extra={"recipient": _text(cells, "dst"), "keyword": keyword},
    )  # fmt: skip


def _text(cells: Mapping[str, Any], name: str) -> str:
    value = cells.get(name)
    return "" if value is None else str(value)


def _message(item: _Item, zone: ZoneInfo, fetched: datetime) -> Message:
    try:
        at = datetime.fromisoformat(_text(item.cells, "dt")).replace(tzinfo=zone).astimezone(UTC)
    except (ValueError, OverflowError):
        at = None
    ref = short_hash(str(item.id), item.mark)
    payload = orjson.dumps(item.cells)
    return Message(ref, item.mark, payload, PAYLOAD_TYPE, fetched, occurred_at=at, origin=f"playSMS {item.id}")


def _zone(stream: Stream) -> ZoneInfo:
    name = stream.options.get("time_zone", "UTC")
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, TypeError, OSError):
        raise SettingsError(f"{stream.key}: time_zone must name a zone, as UTC, not {name!r}") from None


# --- asking ---------------------------------------------------------------------------------


def _since(key: str, ask: Callable[[int, int], list[_Item]], last: int) -> list[_Item]:
    """Every item behind `last`, by ID. A full answer may lack the oldest, so it is asked for again, larger."""
    for most in _SIZES:
        found = ask(last, most)
        if len(found) < most:
            return found
    raise PermanentError(
        f"{key}: playSMS holds {_SIZES[-1]:,} SMS or more that were not read, and tells only the newest of them;"
        " delete the oldest in playSMS once they are kept elsewhere"
    )


def _asking(stream: Stream) -> Callable[[int, int], list[_Item]]:
    """(last ID read, items at most) -> items behind it, by ID."""
    url = address_of(stream, "url", "https://sms.example.go.id/index.php")
    user, op, variable = stream.options.get("user"), stream.options.get("op", "ix"), stream.options.get("token_env")
    if not isinstance(user, str) or not user:
        raise SettingsError(f"{stream.key}: user must name whose inbox it is")
    if op not in ("ix", "in"):
        raise SettingsError(f'{stream.key}: op must be "ix" or "in", not {op!r}')

    def check(response: requests.Response, body: Any) -> None:
        if failure := _failure(api, response, body, str(variable)):
            raise failure

    session = connect(stream, url, check)
    token = token_of(stream, "token_env", "webservices token")
    api = Api(stream.key, "playSMS", (token,))
    # With the session, and not in `ask`, whose frame an error keeps
    session.params = {"app": "ws", "u": user, "h": token, "op": op, "format": "json"}

    def ask(last: int, most: int) -> list[_Item]:
        body = api.ask(session.get, url, params={"last": last, "c": most}, allow_redirects=False).json()
        items = {}
        for cells in body.get("data", []):
            said = [_text(cells, name) for name in ("src", "dst", "dt", "msg")]
            items[int(cells["id"])] = _Item(int(cells["id"]), short_hash(*said), cells)
        return [items[number] for number in sorted(items)]

    return ask


def _failure(api: Api, response: requests.Response, body: Any, variable: str) -> KanalError | None:
    """Why an answer holds no items; None where it does, or says that there are none."""
    status = response.status_code
    if status >= 300:
        wait = response.headers.get("retry-after", "")
        seconds = min(max(float(wait), 60.0), 3600.0) if wait.isdecimal() and len(wait) < 9 else 60.0
        return by_status(api, status, "", _STATUS, wait=seconds)
    if not isinstance(body, dict):
        return not_json(api, status)
    if body.get("status") == "ERR":
        code = _text(body, "error")
        if code == _NOTHING:
            return None
        advice = _ADVICE.get(code, "look it up in playSMS's WEBSERVICES.md").format(token=variable)
        return Refused(api.say(f"refused (ERR {code[:10]}); {advice}"), status=status)
    items = body.get("data")
    if isinstance(items, list) and all(isinstance(i, dict) and _text(i, "id").isdecimal() for i in items):
        return None
    return not_json(api, status)
