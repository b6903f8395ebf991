"""One IMAP folder, opened read-only: connecting, reading, and errors that carry no secret.

What the client library leaves out: it logs every line, counts a broken connection as a refused
login, and quotes mails and answers in its errors. `Mailbox` says what happened in Kanal's errors
and nothing of what a mail says. Options are described in imap.py.
"""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from pipelines.contracts import Stream, short_hash
from pipelines.errors import KanalError, PermanentError, SettingsError, TransientError
from pipelines.settings import secret
from pipelines.sources import oauth
from pipelines.sources.http import number_of

if TYPE_CHECKING:
    from imapclient import IMAPClient

T = TypeVar("T")

_LOOPBACK = {"127.0.0.1", "::1", "localhost"}
_UID_WINDOW = 50_000  # UIDs a SEARCH: imaplib gives up on an answer line of more than 1 MB
_WAIT = 60.0
# A dead connection, and what imapclient stumbles into where an answer is not what it expects.
_BROKEN = (OSError, ValueError, TypeError, AttributeError, LookupError)
_BROKE_OFF = "broke off"
_BUSY = {"UNAVAILABLE", "LIMIT", "INUSE", "OVERQUOTA", "THROTTLED"}  # RFC 5530; the last two: Gmail's limits
_PASSING = _BUSY | {"SERVERBUG", _BROKE_OFF}  # refusals that pass by themselves
# How Exchange and Gmail say so without a code
_BUSY_WORDS = re.compile(r"throttled|server unavailable|not connected|too many simultaneous connections", re.IGNORECASE)


class Found(NamedTuple):
    """raw: empty where the server does not hand the mail over. received: INTERNALDATE, aware UTC."""

    raw: bytes
    received: datetime | None


class _Refused(Exception):  # noqa: N818 - an answer, not a fault: the caller knows what it means
    """The server said NO or BAD to one command. `code`: its reason in brackets (RFC 5530)."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Mailbox:
    """One folder of one account, opened read-only. Every method may raise TransientError."""

    def __init__(self, stream: Stream) -> None:
        self.key = stream.key
        self.folder = str(stream.options.get("folder", "INBOX"))
        self.place = short_hash(str(stream.options.get("host")), _user_of(stream), self.folder)
        self._patience = _patience(stream)
        self._client = _connect(stream)
        try:
            self.uidvalidity, self._uidnext, self.count = self._examine()
        except KanalError:
            self.close()
            raise

    def _examine(self) -> tuple[int, int | None, int]:
        try:
            answer = self._ask(self._client.select_folder, self.folder, readonly=True)
        except _Refused as refused:
            code = refused.code
        else:
            if b"UIDVALIDITY" in answer:
                return answer[b"UIDVALIDITY"], answer.get(b"UIDNEXT"), answer.get(b"EXISTS", 0)
            code = "no UIDVALIDITY"
        raise _failure(self.key, f"does not open folder {self.folder!r}", code, "check the option folder")

    def uids_after(self, last: int) -> Iterator[list[int]]:
        """Rising UIDs greater than `last`, in windows whose answers imaplib can take."""
        if self._uidnext is None or self.count <= _UID_WINDOW:
            ranges = [f"{last + 1}:*"] if self._uidnext is None or self._uidnext > last + 1 else []
        else:
            firsts = range(last + 1, self._uidnext, _UID_WINDOW)
            ranges = [f"{first}:{first + _UID_WINDOW - 1}" for first in firsts]
        for uids in ranges:
            # N:* always holds the folder's last mail, also where that is older than N
            yield sorted(u for u in self._must("search", self._client.search, ["UID", uids]) if u > last)

    def sizes(self, uids: Sequence[int]) -> dict[int, int]:
        """Bytes of each mail that is still there."""
        answer = self._must("list sizes", self._client.fetch, uids, ["RFC822.SIZE"])
        return {uid: said[b"RFC822.SIZE"] for uid, said in answer.items() if b"RFC822.SIZE" in said}

    def whole(self, uids: list[int]) -> dict[int, Found]:
        """The bytes of each mail that is still there; none where the server does not hand them over."""
        return self._fetch(uids, "BODY.PEEK[]")

    def headers(self, uids: list[int], most: int) -> dict[int, Found]:
        """As `whole`, at most the first `most` bytes of each header."""
        return self._fetch(uids, f"BODY.PEEK[HEADER]<0.{most}>")

    def _fetch(self, uids: list[int], item: str) -> dict[int, Found]:
        if not uids:
            return {}
        try:
            answer = self._ask(self._client.fetch, uids, [item, "INTERNALDATE"])
        except _Refused as refused:
            if refused.code in _BUSY:  # else every mail would land as one that cannot be read
                raise self._not_now("hand over mails", refused.code) from None
            # One mail that is gone or damaged makes the server refuse all that were asked for.
            if len(uids) > 1:
                return {uid: found for one in uids for uid, found in self._fetch([one], item).items()}
            answer = {}
        found = {
            uid: Found(next((v for k, v in said.items() if k.startswith(b"BODY[")), None) or b"", _utc(said))
            for uid, said in answer.items()
        }
        return found | dict.fromkeys(self._still_there(set(uids) - set(found)), Found(b"", None))

    def _still_there(self, uids: set[int]) -> list[int]:
        if not uids:
            return []
        self._must("answer", self._client.noop)  # lets the server tell what is gone
        return self._must("search", self._client.search, ["UID", ",".join(map(str, sorted(uids)))])

    def _must(self, what: str, call: Callable[..., T], *args: Any) -> T:
        try:
            return self._ask(call, *args)
        except _Refused as refused:
            code = refused.code
        raise self._not_now(what, code)

    def _not_now(self, what: str, code: str) -> TransientError:
        return _later(f"{self.key}: the mail server refused to {what}{_shown(code)}")

    def _ask(self, call: Callable[..., T], *args: Any, **kw: Any) -> T:
        """`call`, its failures told without a word of any mail. Raises _Refused or TransientError."""
        from imapclient.exceptions import IMAPClientAbortError, IMAPClientError, ProtocolError

        try:
            with _ended_after(self._patience, self._client):
                return call(*args, **kw)
        except (IMAPClientAbortError, ProtocolError, *_BROKEN) as error:
            why: Exception = TransientError(
                f"{self.key}: the mail server broke off ({_reason(error)}); the next pull goes on from here",
                retry_after=_WAIT,
            )
        except IMAPClientError as error:
            why = _Refused(_code(error))
        raise why  # outside the handler: the library's error may quote a mail

    def close(self) -> None:
        with self._client:  # logs out, or drops a connection that is already dead
            pass


def _utc(said: Mapping[bytes, Any]) -> datetime | None:
    time = said.get(b"INTERNALDATE")
    try:
        return time.astimezone(UTC) if isinstance(time, datetime) and time.tzinfo else None
    except OverflowError:
        return None


# --- connecting -----------------------------------------------------------------------------


def _connect(stream: Stream) -> IMAPClient:
    """A client that is logged in. The password stays in this function's frames, which no error keeps."""
    from imapclient import IMAPClient, SocketTimeout
    from imapclient.exceptions import IMAPClientAbortError, IMAPClientError

    host, port, tls = _address(stream)
    context = _trust(stream) if tls != "none" else None
    timeout = SocketTimeout(
        number_of(stream, "connect_seconds", 10, 0.1, 600), number_of(stream, "read_seconds", 60, 0.1, 3600)
    )
    client = None
    try:
        login = _login(stream)
        client = IMAPClient(host, port, ssl=tls == "tls", ssl_context=context, timeout=timeout)
        # imapclient logs every line, people's words included, and makes each one up for it
        client._imap.debug = 0
        client.normalise_times = False
        if tls == "starttls":
            if not client.has_capability("STARTTLS"):
                raise PermanentError(f'{stream.key}: {host}:{port} offers no STARTTLS; set tls = "tls"')
            client.starttls(context)
        with _ended_after(_patience(stream), client):
            login(client)
        return client
    except KanalError as error:
        failure: KanalError = error
    except ssl.SSLCertVerificationError as error:
        failure = PermanentError(
            f"{stream.key}: the certificate of {host}:{port} is not trusted ({error.verify_message});"
            " if the server is yours, name its authority's certificate in ca_file"
        )
    except ssl.SSLError as error:
        said = f"{stream.key}: no TLS with {host}:{port} ({error.reason})"
        wrong_port = error.reason == "WRONG_VERSION_NUMBER"
        failure = PermanentError(f"{said}; check tls and port") if wrong_port else _later(said)
    except (IMAPClientAbortError, *_BROKEN) as error:
        failure = _later(f"{stream.key}: no connection to mail server {host}:{port} ({_reason(error)})")
    except IMAPClientError as error:
        failure = _later(f"{stream.key}: mail server {host}:{port} turned us away{_shown(_code(error))}")
    if client is not None:
        with contextlib.suppress(IMAPClientError, *_BROKEN):
            client.shutdown()
    raise failure.with_traceback(None)


def _patience(stream: Stream) -> float:
    """Seconds that one command may take in all: read_seconds bears a server that sends a byte now and then."""
    return 5 * number_of(stream, "read_seconds", 60, 0.1, 3600)


@contextlib.contextmanager
def _ended_after(seconds: float, client: IMAPClient) -> Iterator[None]:
    """Shuts the connection where what is inside takes longer, so that it fails."""

    def end() -> None:
        with contextlib.suppress(OSError):
            client.socket().shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _address(stream: Stream) -> tuple[str, int, str]:
    """Host, port and tls. Raises SettingsError."""
    host, tls = stream.options.get("host"), stream.options.get("tls", "tls")
    if not isinstance(host, str) or not re.fullmatch(r"[\w.:-]+", host):
        raise SettingsError(f"{stream.key}: host must name the mail server, not {host!r}")
    if tls not in ("tls", "starttls", "none"):
        raise SettingsError(f'{stream.key}: tls must be "tls", "starttls" or "none", not {tls!r}')
    if tls == "none" and host not in _LOOPBACK:
        raise SettingsError(f'{stream.key}: tls = "none" would show the password to the network; use "tls"')
    return host, int(number_of(stream, "port", 993 if tls == "tls" else 143, 1, 65535)), tls


def _trust(stream: Stream) -> ssl.SSLContext:
    name = stream.options.get("ca_file")
    try:
        return ssl.create_default_context(cafile=str(Path(stream.root, name)) if name else None)
    except OSError as error:
        raise SettingsError(
            f"{stream.key}: ca_file {name} holds no certificate we can read ({_reason(error)})"
        ) from None


def _login(stream: Stream) -> Callable[[IMAPClient], None]:
    """What logs a client in. Raises SettingsError; the result raises errors that hold no secret."""
    auth = stream.options.get("auth", "login")
    if auth not in ("login", "oauth2"):
        raise SettingsError(f'{stream.key}: auth must be "login" or "oauth2", not {auth!r}')
    user = _user_of(stream)
    if auth == "oauth2" and "token_url" in stream.options:
        return _with_grant(stream, user)
    what, option = ("password", "password_env") if auth == "login" else ("access token", "token_env")
    variable = stream.options.get(option)
    word = secret(variable, what=f"{stream.key}: {what} of the mailbox ({option})")
    if not re.fullmatch(r"[ -~]+", word):  # imaplib would print it in its complaint
        del word  # nor may this frame's locals show it
        raise SettingsError(f"{stream.key}: environment variable {variable} holds line breaks or non-ASCII characters")

    def login(client: IMAPClient) -> None:
        code = _tried(client.login, _quoted(user), word) if auth == "login" else _tried(client.oauth2_login, user, word)
        if code is not None:
            advice = f"check the account and the environment variable {variable}"
            raise _failure(stream.key, _refusal(code, what), code, advice)

    return login


def _user_of(stream: Stream) -> str:
    if "user_env" in stream.options:
        user = secret(stream.options["user_env"], what=f"{stream.key}: user of the mailbox (user_env)")
    else:
        user = str(stream.options.get("user", ""))
    if not re.fullmatch(r"[!-~]+", user):
        raise SettingsError(f"{stream.key}: user or user_env must name the account of the mailbox, in ASCII")
    return user


def _with_grant(stream: Stream, user: str) -> Callable[[IMAPClient], None]:
    """As `_login`, with a token that is asked for. One that was kept and is refused is replaced once."""
    grant = oauth.grant_of(stream)

    def login(client: IMAPClient) -> None:
        nonlocal grant
        code = _tried(client.oauth2_login, user, grant.token)
        if code is not None and code not in _PASSING:
            oauth.forget(grant.token)
            if not grant.fresh:
                grant = oauth.grant_of(stream)
                code = _tried(client.oauth2_login, user, grant.token)
        if code is not None:
            advice = oauth.advice(stream, grant.token)
            raise _failure(stream.key, _refusal(code, "access token"), code, advice)

    return login


def _tried(call: Callable[..., Any], *words: str) -> str | None:
    """None where the login succeeded, else the server's code; _BROKE_OFF where there was no answer."""
    from imapclient.exceptions import IMAPClientAbortError, LoginError

    try:
        call(*words)
    except LoginError as error:
        # imapclient says LoginError also where the connection broke off
        return _BROKE_OFF if isinstance(error.__context__, IMAPClientAbortError) else _code(error)
    return None


def _refusal(code: str, what: str) -> str:
    return "broke off at the login" if code == _BROKE_OFF else f"refused the login of this {what}"


def _quoted(user: str) -> str:
    """As an IMAP quoted string: imaplib quotes the password but not the name."""
    escaped = user.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _failure(key: str, what: str, code: str, advice: str) -> KanalError:
    if code in _PASSING:
        return TransientError(
            f"{key}: the mail server {what}{_shown(code)}; the next pull tries again", retry_after=_WAIT
        )
    return PermanentError(f"{key}: the mail server {what}{_shown(code)}; {advice}")


def _later(what: str) -> TransientError:
    return TransientError(f"{what}; the next pull tries again", retry_after=_WAIT)


def _code(error: BaseException) -> str:
    """The reason in brackets, and nothing else of what the server said: that may quote a mail."""
    if _BUSY_WORDS.search(str(error)[:500]):
        return "UNAVAILABLE"
    found = re.search(r"\[([A-Z][A-Z0-9-]{2,30})\]", str(error)[:500])
    return found[1] if found else ""


def _shown(code: str) -> str:
    return f" ({code})" if code and code != _BROKE_OFF else ""


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return type(error).__name__
