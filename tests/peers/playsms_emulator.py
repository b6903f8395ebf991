"""playSMS's web services as WEBSERVICES.md and its source have them: op=ix and op=in, newest first, LIMIT c.

Ids come from the database's counter; times are UTC; `"` in a text is `'` in the answer; nothing found is ERR 501.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from tests.peers.api_server import Answer, ApiServer, Asked


class PlaySms(ApiServer):
    """One user's inbox. token: his webservices token."""

    def __init__(self, user: str, token: str) -> None:
        super().__init__()
        self.user, self.token = user, token
        self.rows: list[dict[str, Any]] = []
        self.next_id = 1

    @property
    def address(self) -> str:
        return f"{self.url}/playsms/index.php"

    def receive(self, src: str, msg: str, at: datetime, dst: str = "1708", kwd: str = "") -> dict[str, Any]:
        """A message comes in; at: aware."""
        row = {"id": str(self.next_id), "src": src, "dst": dst, "msg": msg, "dt": f"{at.astimezone(UTC):%F %T}"}
        self.next_id += 1
        self.rows.append(row | ({"kwd": kwd} if kwd else {}))
        return row

    def answer(self, asked: Asked) -> Answer:
        query = asked.query
        if asked.path != "/playsms/index.php" or query.get("app") != "ws":
            return 404, {}, {}
        if (query.get("u"), query.get("h")) != (self.user, self.token):
            return 200, self._error("100", "authentication failed"), {}
        if query.get("op") not in ("ix", "in"):
            return 200, self._error("101", "type of action is invalid or unknown"), {}
        last, most = int(query.get("last") or 0), int(query.get("c") or 100)
        found = [row for row in self.rows if int(row["id"]) > last and (query["op"] == "ix" or row.get("kwd"))]
        found.sort(key=lambda row: row["dt"], reverse=True)
        if not found:
            return 200, self._error("501", "no data returned or result is empty"), {}
        data = [row | {"msg": row["msg"].replace('"', "'")} for row in found[:most]]
        return 200, {"data": data, "error_string": None}, {}

    def _error(self, number: str, words: str) -> dict[str, Any]:
        return {"status": "ERR", "error": number, "error_string": f"{words} (u={self.user}&h={self.token})"}
