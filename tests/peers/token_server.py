"""An OAuth 2.0 token endpoint (RFC 6749, 4.4 and 6) whose tokens a real Dovecot takes.

It answers as Microsoft and Google document it. What it issues is written into `tokens`, which is where
Dovecot's introspection looks.
"""

from __future__ import annotations

from itertools import count
from typing import Any

from tests.peers.api_server import Answer, ApiServer, Asked

_numbers = count(1)


class TokenServer(ApiServer):
    """client_id "aplikasi-uji"; `key` is its secret and `refresh` the refresh token, both the canary."""

    def __init__(self, tokens: dict[str, str], user: str, key: str) -> None:
        super().__init__()
        self.tokens, self.user, self.key, self.refresh = tokens, user, key, key
        self.lifetime: Any = 3600
        self.template = "token-terbit-{}"
        self.issued: list[str] = []

    @property
    def token_url(self) -> str:
        return f"{self.url}/penyewa/oauth2/v2.0/token"

    def revoke(self) -> None:
        """No token issued so far is good any more."""
        for token in self.issued:
            self.tokens.pop(token, None)

    def answer(self, asked: Asked) -> Answer:
        form = asked.form
        if form.get("client_id") != "aplikasi-uji" or form.get("client_secret", self.key) != self.key:
            return 401, {"error": "invalid_client", "error_description": f"not {form}"}, {}
        if form.get("grant_type") == "refresh_token" and form.get("refresh_token") != self.refresh:
            return 400, {"error": "invalid_grant", "error_description": f"not {form}"}, {}
        token = self.template.format(next(_numbers))
        self.issued.append(token)
        self.tokens[token] = self.user
        return 200, {"token_type": "Bearer", "expires_in": self.lifetime, "access_token": token}, {}
