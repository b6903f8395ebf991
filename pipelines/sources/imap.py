"""E-mail: one folder of a mailbox over IMAP, or a folder of .eml files.

In: every mail of the folder, one Message each, its bytes as they came (RFC 822). Nothing is changed
on the server: the folder is opened read-only and no mail is marked as read. Key: SHA-256 of the
bytes, so a mailbox that is moved or renumbered brings nothing twice. Reach: what the folder still
holds. The cursor is (place, uidvalidity, uid), place a hash of server, account and folder. Where one of
the first two changes (the folder renamed or moved to another server, or renumbered) it is read again
from its first mail, and what is known comes back as repeats. Limits: a mail larger than
`max_message_bytes` lands as its header only and waits in quarantine. Cost: none. What mails mean:
mail.py.

Options in kanal.toml:
  host, port        the server (993 with tls, else 143)
  tls               "tls", "starttls", or "none", which only this machine's own server may have ("tls")
  ca_file           certificate to trust, where the server's own authority signed it
  user | user_env   the account, or the environment variable that holds it
  auth              "login" with a password or "oauth2" with an access token ("login")
  password_env      environment variable with the password
  token_env         environment variable with an access token that somebody else renews; they last about an hour
  token_url         where Kanal gets access tokens itself (auth = "oauth2"), one a connection, kept in memory until
                    shortly before it ends. https://login.microsoftonline.com/TENANT/oauth2/v2.0/token (Microsoft
                    365) or https://oauth2.googleapis.com/token (Gmail)
  client_id | client_id_env   the application registered there
  client_secret_env           environment variable with its secret
  refresh_token_env           environment variable with a refresh token (Gmail); without it the application asks for
                              itself, by client credentials (Microsoft 365)
  scope             what to ask for (https://outlook.office365.com/.default without a refresh token)
  timeout_seconds   longest silence of the token server (30); a whole answer may take five times that
  folder            folder to read ("INBOX")
  connect_seconds   longest wait for a connection (10)
  read_seconds      longest silence of the server (60)
  batch_messages    mails a batch, up to 200 (200)
  batch_bytes       bytes a batch, up to 8,000,000 (8,000,000); one larger mail is a batch of its own
  max_message_bytes largest mail that lands whole (30,000,000)
  source_dir        folder of *.eml files, read instead of a server; needs no account. Put files
                    there by renaming, so that none is read half-written; for some 10,000 files
  own_addresses     the mailbox's own addresses, or "@domain" for all of one: mails from them are
                    our replies
  trusted_authserv  name under which our server writes Authentication-Results; with it senders are
                    told apart from those who borrow a name
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from pipelines.contracts import Batch, Draft, Message, Stream
from pipelines.errors import SettingsError, TransientError
from pipelines.sources import mail
from pipelines.sources.http import number_of
from pipelines.sources.mailbox import Mailbox

VERSION = "1"
PAYLOAD_TYPE = "message/rfc822"

log = logging.getLogger(__name__)

_BATCH_MESSAGES, _BATCH_BYTES, _MAX_BYTES = 200, 8_000_000, 30_000_000
_HEADER_BYTES = 65_536  # of a mail too large to land whole


class _Limits(NamedTuple):
    """messages and bytes a batch, bytes a mail."""

    messages: int
    batch: int
    mail: int


def pull(stream: Stream, cursor: dict[str, Any] | None, *, now: Callable[[], datetime]) -> Iterator[Batch]:
    """A Batch for each group of mails newer than `cursor`, oldest first.

    Raises TransientError (down, disconnected, busy) or PermanentError (credentials, certificate,
    folder); batches yielded before stay valid and the next pull goes on behind them.
    """
    limits = _Limits(
        int(number_of(stream, "batch_messages", _BATCH_MESSAGES, 1, _BATCH_MESSAGES)),
        int(number_of(stream, "batch_bytes", _BATCH_BYTES, 1, _BATCH_BYTES)),
        int(number_of(stream, "max_message_bytes", _MAX_BYTES, 1000, 500_000_000)),
    )
    if "source_dir" in stream.options:
        yield from _read_files(stream, cursor or {}, limits, now)
        return
    mailbox = Mailbox(stream)
    try:
        yield from _read_mailbox(mailbox, cursor or {}, limits, now)
    finally:
        mailbox.close()


def probe(stream: Stream, *, now: Callable[[], datetime]) -> str:
    """Log in and open the folder, read-only; what it holds. Raises what `pull` would."""
    if "source_dir" in stream.options:
        return "reads a folder of files; no server is asked"
    mailbox = Mailbox(stream)
    try:
        return f"logged in; folder {mailbox.folder} opens read-only and holds {mailbox.count:,} mails"
    finally:
        mailbox.close()


def decode(message: Message, stream: Stream) -> Draft:
    """A mail -> Draft; see mail.decode."""
    return mail.decode(message, stream)


def _message(raw: bytes, fetched: datetime, received: datetime | None, origin: str) -> Message:
    digest = sha256(raw).hexdigest()
    media = mail.media_of(raw)
    return Message(digest, digest, raw, PAYLOAD_TYPE, fetched, occurred_at=received, origin=origin, media=media)


def _too_large(header: bytes, size: int, limit: int, plain: Message) -> Message:
    """The mail as its header only, with what a clerk can do about the rest."""
    problem = (
        f"Surel ini berukuran {size / 1e6:.1f} MB, lebih dari batas {limit / 1e6:.1f} MB, jadi hanya kepala"
        " suratnya yang disimpan. Buka surel aslinya di kotak surat, atau naikkan max_message_bytes."
    )
    return replace(plain, payload=header, problem=problem, media=())


# --- a folder of files ----------------------------------------------------------------------


def _read_files(
    stream: Stream, cursor: Mapping[str, Any], limits: _Limits, now: Callable[[], datetime]
) -> Iterator[Batch]:
    """Files not read before, in the order of their names. The cursor is `done`: content hashes."""
    folder = Path(stream.root, str(stream.options["source_dir"]))
    if not folder.is_dir():
        raise SettingsError(f"{stream.key}: source_dir {folder} is not a folder")
    done = set(cursor.get("done", ()))
    messages: list[Message] = []
    room = limits.batch
    for path in sorted(folder.rglob("*.eml"), key=lambda p: p.relative_to(folder).as_posix()):
        try:
            with path.open("rb") as file:
                raw, size = file.read(limits.mail + 1), path.stat().st_size
        except OSError as error:
            raise TransientError(f"{stream.key}: cannot read {path} ({error.strerror})") from error
        message = _message(raw, now(), None, path.relative_to(folder).as_posix())
        if size > limits.mail:
            message = _too_large(_header_of(raw), size, limits.mail, message)
        digest = message.source_ref[:16]
        if digest in done:
            continue
        if messages and (len(messages) == limits.messages or len(raw) > room):
            yield Batch(messages, {"done": sorted(done)})
            messages, room = [], limits.batch
        done.add(digest)
        messages.append(message)
        room -= len(raw)
    if messages:
        yield Batch(messages, {"done": sorted(done)})


def _header_of(raw: bytes) -> bytes:
    end = re.search(rb"\r?\n\r?\n", raw[:_HEADER_BYTES])
    return raw[: end.end() if end else _HEADER_BYTES]


# --- a mailbox ------------------------------------------------------------------------------


def _read_mailbox(
    mailbox: Mailbox, cursor: Mapping[str, Any], limits: _Limits, now: Callable[[], datetime]
) -> Iterator[Batch]:
    # Servers count UIDVALIDITY from 1, so another folder may well have the same: the place is compared too.
    where = {"place": mailbox.place, "uidvalidity": mailbox.uidvalidity}
    last = 0
    if cursor.get("uidvalidity") == mailbox.uidvalidity and cursor.get("place", mailbox.place) == mailbox.place:
        last = int(cursor["uid"])
    elif cursor:
        log.warning("%s: the folder was renumbered or moved; reading it again from its first mail", mailbox.key)
    state = start = where | {"uid": last}
    for uids in mailbox.uids_after(last):
        for first in range(0, len(uids), limits.messages):
            some = uids[first : first + limits.messages]
            sizes = mailbox.sizes(some)
            for part in _parts(some, sizes, limits.batch):
                state = where | {"uid": part[-1]}
                yield Batch(_read(mailbox, part, sizes, limits.mail, now), state)
    if state is start and state != cursor:
        yield Batch([], state)  # the new numbering is on record even while the folder is empty


def _parts(uids: Sequence[int], sizes: Mapping[int, int], room: int) -> Iterator[list[int]]:
    """`uids` in runs of at most `room` bytes each; a larger mail stands alone."""
    part: list[int] = []
    total = 0
    for uid in uids:
        size = sizes.get(uid, 0)
        if part and total + size > room:
            yield part
            part, total = [], 0
        part.append(uid)
        total += size
    if part:
        yield part


def _read(
    mailbox: Mailbox, uids: list[int], sizes: Mapping[int, int], limit: int, now: Callable[[], datetime]
) -> list[Message]:
    """A Message for each mail that is still there, in order."""
    large = [u for u in uids if sizes.get(u, 0) > limit]
    found = mailbox.whole([u for u in uids if u not in large]) | mailbox.headers(large, _HEADER_BYTES)
    messages = []
    for uid in uids:
        if uid in found:
            raw, received = found[uid]
            message = _message(raw, now(), received, f"{mailbox.folder}/{mailbox.uidvalidity}/{uid}")
            if not raw:
                message = _withheld(message)
            elif uid in large:
                message = _too_large(raw, sizes[uid], limit, message)
            messages.append(message)
    return messages


def _withheld(message: Message) -> Message:
    """A mail that is in the folder but that the server does not hand over."""
    digest = sha256(message.origin.encode()).hexdigest()
    problem = "Server surel tidak dapat menyerahkan isi surel ini. Buka dan teruskan surel itu dari kotak surat."
    return replace(message, source_ref=digest, version=digest, problem=problem)
