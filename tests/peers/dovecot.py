"""A real IMAP server: Dovecot on 127.0.0.1, one for each test process, a mailbox for each test.

`dovecot` starts it once (0.2 s): plain text with STARTTLS on one port, TLS on another, passwords
and OAuth tokens. `box` is an empty account on it. Any name is a user; PASSWORD and TOKEN
let everybody in.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path

import pytest
from imapclient import IMAPClient

from tests.peers import need

PASSWORD = "rahasia"
TOKEN = "token-yang-berlaku"
_START_SECONDS = 10.0

_CONF = """
base_dir = {base}/run
state_dir = {base}/state
log_path = {base}/dovecot.log
instance_name = kanal-{port}
protocols = imap
listen = 127.0.0.1
ssl = yes
ssl_cert = <{base}/cert.pem
ssl_key = <{base}/key.pem
disable_plaintext_auth = no
auth_mechanisms = plain login xoauth2 oauthbearer
auth_failure_delay = 0
first_valid_uid = 1
mail_fsync = never
mail_location = sdbox:{base}/mail/%u
namespace inbox {{
  inbox = yes
  separator = /
}}
passdb {{
  driver = static
  mechanisms = plain login
  args = password={password}
}}
passdb {{
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = {base}/oauth2.conf.ext
}}
userdb {{
  driver = static
  args = uid=nobody gid=nogroup home={base}/mail/%u
}}
service imap-login {{
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = {tls_port}
    ssl = yes
  }}
}}
# Without this a failed login slows the next ones from the same address.
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
protocol imap {{
  mail_max_userip_connections = 50
}}
"""

_OAUTH = """
introspection_mode = auth
introspection_url = http://127.0.0.1:{port}/introspect
username_attribute = email
active_attribute = active
active_value = true
"""


@dataclass(frozen=True, slots=True)
class Dovecot:
    """A running server. `ca_file` is the certificate it shows, good for 127.0.0.1 and localhost."""

    host: str
    port: int
    tls_port: int
    ca_file: Path
    base: Path

    def connect(self, user: str) -> IMAPClient:
        """A client of its own, logged in, that may write."""
        client = IMAPClient(self.host, self.port, ssl=False, timeout=10)
        client.login(user, PASSWORD)
        return client

    def kick(self, user: str) -> None:
        """End the user's sessions, as a restart or an administrator does."""
        self._doveadm("kick", user)

    def _doveadm(self, *words: str) -> None:
        command = [str(need("doveadm", "dovecot")), "-c", str(self.base / "dovecot.conf"), *words]
        subprocess.run(command, check=True, capture_output=True, timeout=30)


@dataclass(frozen=True, slots=True)
class Mailbox:
    """One account's INBOX."""

    server: Dovecot
    user: str

    def add(self, *mails: bytes, at: datetime | None = None, folder: str = "INBOX") -> None:
        """Append mails in one go; `at` becomes their INTERNALDATE."""
        with self.server.connect(self.user) as client:
            items = [{"msg": mail, "date": at} if at else mail for mail in mails]
            client.multiappend(folder, items)

    def remove(self, *uids: int, folder: str = "INBOX") -> None:
        with self.server.connect(self.user) as client:
            client.select_folder(folder)
            client.delete_messages(list(uids))
            client.expunge()

    def recreate(self, folder: str) -> None:
        """Make `folder` anew and empty, so that its UIDVALIDITY differs from before."""
        with self.server.connect(self.user) as client:
            if client.folder_exists(folder):
                client.delete_folder(folder)
            client.create_folder(folder)

    def flags(self, folder: str = "INBOX") -> dict[int, tuple[bytes, ...]]:
        with self.server.connect(self.user) as client:
            client.select_folder(folder, readonly=True)
            return dict(client.get_flags(client.search()))


@pytest.fixture(scope="session")
def dovecot() -> Iterator[Dovecot]:
    """Dovecot for this test process."""
    with dovecot_server() as server:
        yield server


@contextmanager
def dovecot_server() -> Iterator[Dovecot]:
    """A server of its own. Skips, or fails under CI, where it cannot run."""
    program = need("dovecot", "dovecot")
    if os.geteuid() != 0:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("Dovecot drops privileges, so only root can start it")
    base = Path(tempfile.mkdtemp(prefix="dv"))  # short: its unix sockets' paths end at 108 characters
    introspection = ThreadingHTTPServer(("127.0.0.1", 0), _Introspection)
    threading.Thread(target=introspection.serve_forever, daemon=True).start()
    try:
        server = _configure(base, introspection.server_port)
        with (base / "stderr").open("wb") as stderr:
            process = subprocess.Popen([str(program), "-F", "-c", str(base / "dovecot.conf")], stderr=stderr)
        try:
            _wait(server, process)
            yield server
        finally:
            process.terminate()
            process.wait(10)
    finally:
        introspection.shutdown()
        introspection.server_close()
        shutil.rmtree(base, ignore_errors=True)


_numbers = count(1)


@pytest.fixture(name="box")
def fresh_mailbox(dovecot: Dovecot) -> Mailbox:
    return Mailbox(dovecot, f"aduan{next(_numbers)}")


def _configure(base: Path, introspection_port: int) -> Dovecot:
    base.chmod(0o755)
    for name in ("run", "state", "mail"):
        (base / name).mkdir()
    shutil.chown(base / "mail", "nobody")
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
            ),
            *("-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
            *("-keyout", str(base / "key.pem"), "-out", str(base / "cert.pem")),
        ],
        check=True,
        capture_output=True,
        timeout=60,
    )
    port, tls_port = _free_ports()
    (base / "oauth2.conf.ext").write_text(_OAUTH.format(port=introspection_port))
    (base / "dovecot.conf").write_text(_CONF.format(base=base, port=port, tls_port=tls_port, password=PASSWORD))
    return Dovecot("127.0.0.1", port, tls_port, base / "cert.pem", base)


def _free_ports() -> tuple[int, int]:
    with socket.socket() as first, socket.socket() as second:
        first.bind(("127.0.0.1", 0))
        second.bind(("127.0.0.1", 0))
        return first.getsockname()[1], second.getsockname()[1]


def _wait(server: Dovecot, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + _START_SECONDS
    while True:
        try:
            socket.create_connection((server.host, server.port), 0.2).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > end:
                logs = [
                    p.read_text(errors="replace") for p in server.base.glob("*") if p.name in ("stderr", "dovecot.log")
                ]
                raise RuntimeError("Dovecot did not start:\n" + "\n".join(logs)) from None
            time.sleep(0.02)


class _Introspection(BaseHTTPRequestHandler):
    """Tells Dovecot whose token it was given: `TOKEN` is everybody's, `TOKEN:<user>` is the user's."""

    def do_GET(self) -> None:
        token, _, user = self.headers.get("Authorization", "").removeprefix("Bearer ").partition(":")
        body = f'{{"active": {str(token == TOKEN).lower()}, "email": "{user}"}}'.encode()
        self.send_response(200 if token == TOKEN else 401)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Keep test output clean."""
