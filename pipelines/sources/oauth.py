"""OAuth 2.0 access tokens for mailboxes that take no password: Microsoft 365, Gmail.

Client credentials (an application with a key of its own) or a refresh token (a person agreed once). A token
is kept in memory until shortly before it ends, and nowhere else. Errors name what to do and where, and
hold neither key nor token. Options are described in imap.py.
"""

from __future__ import annotations

import base64
import json
import re
import threading
import time
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import requests

from pipelines.contracts import Stream, short_hash
from pipelines.errors import PermanentError, SettingsError
from pipelines.settings import secret
from pipelines.sources.http import Api, address_of, by_status, connect, not_json, token_of

_MICROSOFT = "login.microsoftonline.com"
_ENDPOINTS = f"https://{_MICROSOFT}/TENANT/oauth2/v2.0/token or https://oauth2.googleapis.com/token"
_MICROSOFT_SCOPE = "https://outlook.office365.com/.default"
_EARLY, _SHORTEST, _USUAL = 300.0, 30.0, 3600.0  # seconds: before its end, margin of a short one, where none is told
_ROLE = "IMAP.AccessAsApp"
_SERVICE_PRINCIPAL = (
    f"grant the application {_ROLE} (Office 365 Exchange Online) with admin consent, register it in Exchange with"
    " New-ServicePrincipal, and give it the mailbox with Add-MailboxPermission -AccessRights FullAccess"
)
# What Microsoft's number, else OAuth's word (RFC 6749, 5.2), asks of a person. {secret}, {refresh}: their variables.
_ADVICE = {
    "AADSTS7000222": "the client secret has expired: make a new one in Entra (App registrations, Certificates &"
    " secrets) and put its value into {secret}",
    "AADSTS7000215": "that is not the client secret: put its value, not its ID, into {secret}",
    "AADSTS700016": "there is no such application in this tenant: check client_id and the tenant in token_url",
    "AADSTS90002": "there is no such tenant: check token_url",
    "AADSTS900023": "there is no such tenant: check token_url",
    "AADSTS1002012": f"scope must be {_MICROSOFT_SCOPE}",
    "AADSTS70011": f"scope must be {_MICROSOFT_SCOPE}",
    "AADSTS65001": _SERVICE_PRINCIPAL,
    "AADSTS700082": "the refresh token was not used for too long: let the account's owner agree again, and put the"
    " new one into {refresh}",
    "AADSTS50173": "the refresh token ended with a changed password: let the account's owner agree again, and put the"
    " new one into {refresh}",
    "invalid_client": "check client_id, and the client secret in {secret}",
    "invalid_grant": "the refresh token was revoked or has expired: let the account's owner agree again, and put the"
    " new one into {refresh}. Google ends them after 7 days while the consent screen is in testing",
    "unauthorized_client": "the application may not ask this way: check client_id, and what it is registered for",
    "unsupported_grant_type": "this server gives no tokens this way: check token_url, and whether refresh_token_env"
    " is needed",
    "invalid_scope": "check scope",
    "invalid_request": "check token_url, client_id and scope",
}
_PASSING = {"temporarily_unavailable", "server_error"}


class Grant(NamedTuple):
    """token: to log in with. fresh: it was asked for just now, so another one would be no better."""

    token: str
    fresh: bool


_lock = threading.Lock()
_kept: dict[str, tuple[str, float]] = {}  # what it was asked with -> token, when to ask anew (monotonic)


def grant_of(stream: Stream) -> Grant:
    """An access token for the stream's account.

    Raises TransientError (no answer, 5xx, HTML), PermanentError (refused), SettingsError.
    """
    url, form, hidden = _request(stream)
    key = short_hash(url, *(f"{name}={value}" for name, value in sorted(form.items())))
    with _lock:
        token, until = _kept.get(key, ("", 0.0))
    if time.monotonic() < until:
        return Grant(token, fresh=False)
    asked = time.monotonic()
    token, seconds = _ask(stream, url, form, hidden)
    with _lock:
        _kept[key] = token, asked + seconds - min(_EARLY, max(_SHORTEST, seconds / 10))
    return Grant(token, fresh=True)


def forget(token: str) -> None:
    """Ask for another one next time: the mail server refused this one."""
    with _lock:
        for key in [key for key, (kept, _) in _kept.items() if kept == token]:
            del _kept[key]


def advice(stream: Stream, token: str) -> str:
    """What to look at where the mail server refuses a token that was given just now."""
    if urlsplit(str(stream.options.get("token_url"))).hostname == _MICROSOFT or _is_app(token):
        if _is_app(token) and _ROLE not in _roles(token):
            return f"the token lacks the permission {_ROLE}: {_SERVICE_PRINCIPAL}"
        return f"check the account; {_SERVICE_PRINCIPAL}"
    return "check the account, that its owner agreed to this application, and that scope covers reading mail by IMAP"


# --- asking ---------------------------------------------------------------------------------


def _request(stream: Stream) -> tuple[str, dict[str, str], tuple[str, ...]]:
    """(token endpoint, form to post, secrets in it). Raises SettingsError."""
    url = address_of(stream, "token_url", _ENDPOINTS)
    if "client_id_env" in stream.options:
        client = secret(stream.options["client_id_env"], what=f"{stream.key}: the application's ID (client_id_env)")
    else:
        client = stream.options.get("client_id", "")
    if not isinstance(client, str) or not client:
        raise SettingsError(f"{stream.key}: client_id or client_id_env must name the application")
    form = {"client_id": client}
    refreshed = "refresh_token_env" in stream.options
    if "client_secret_env" in stream.options or not refreshed:
        form["client_secret"] = token_of(stream, "client_secret_env", "the application's secret")
    scope = stream.options.get("scope")
    if refreshed:
        form |= {
            "grant_type": "refresh_token",
            "refresh_token": token_of(stream, "refresh_token_env", "refresh token of the mailbox"),
        }
    else:
        form["grant_type"] = "client_credentials"
        scope = scope or _MICROSOFT_SCOPE
    if scope is not None:
        if not isinstance(scope, str) or not re.fullmatch(r"[!-~]+(?: [!-~]+)*", scope):
            raise SettingsError(f"{stream.key}: scope must be a text, as {_MICROSOFT_SCOPE}")
        form["scope"] = scope
    return url, form, tuple(form[name] for name in ("client_secret", "refresh_token") if name in form)


def _ask(stream: Stream, url: str, form: dict[str, str], hidden: tuple[str, ...]) -> tuple[str, float]:
    """(access token, seconds it lasts)."""
    api = Api(stream.key, "the token server", hidden)

    def check(response: requests.Response, body: Any) -> None:
        said = body if isinstance(body, dict) else {}
        if not response.ok or response.is_redirect:
            raise _refused(stream, api, response.status_code, said)
        if not isinstance(said.get("access_token"), str):
            raise not_json(api, response.status_code)

    session = connect(stream, url, check)
    answer = api.ask(session.post, url, data=form, allow_redirects=False).json()
    token, seconds = answer["access_token"].strip(), answer.get("expires_in", _USUAL)
    if not re.fullmatch(r"[!-~]+", token):  # imaplib would print it in its complaint
        del token, answer
        raise PermanentError(api.say("gave a token with blanks or odd characters; check token_url"))
    try:
        return token, min(max(float(seconds), 0.0), 86_400.0)  # some write the number as a text
    except (TypeError, ValueError):
        return token, _USUAL


def _refused(stream: Stream, api: Api, status: int, said: dict[str, Any]) -> Exception:
    """The error of an answer that is no token. Of its words only codes are shown: they may repeat the request."""
    word = said.get("error") if isinstance(said.get("error"), str) else ""
    word = word if re.fullmatch(r"[a-z_]{1,40}", word or "") else ""
    found = re.search(r"\bAADSTS\d{5,8}\b", str(said.get("error_description", ""))[:2000])
    number = found[0] if found else ""
    codes = " ".join(filter(None, (word, number)))
    if status in (408, 425, 429) or status >= 500 or word in _PASSING:
        return by_status(api, 503 if word in _PASSING else status, codes, {})
    advised = _ADVICE.get(number) or _ADVICE.get(word or "")
    if not advised:
        return by_status(api, status, codes, {404: "check token_url"}) if status >= 400 else not_json(api, status)
    names = {
        "secret": stream.options.get("client_secret_env") or "client_secret_env",
        "refresh": stream.options.get("refresh_token_env") or "refresh_token_env",
    }
    return PermanentError(api.say(f"gives no token ({codes}): {advised.format(**names)}"))


# --- what a Microsoft token says ------------------------------------------------------------


def _claims(token: str) -> dict[str, Any]:
    """What a token in JWT form says of itself; {} where it is none. Not verified: only advice rests on it."""
    try:
        middle = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4)))
    except (ValueError, IndexError):
        return {}
    return claims if isinstance(claims, dict) else {}


def _is_app(token: str) -> bool:
    claims = _claims(token)
    return "microsoft" in str(claims.get("iss")) or "sts.windows.net" in str(claims.get("iss"))


def _roles(token: str) -> list[str]:
    roles = _claims(token).get("roles", [])
    return roles if isinstance(roles, list) else []
