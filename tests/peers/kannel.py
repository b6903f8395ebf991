"""A real Kannel: bearerbox and smsbox on 127.0.0.1, with fakesmsc as the network that brings SMS.

What the network sends goes through bearerbox, which joins the parts of a long SMS, to smsbox, which
asks get-url. `smsc = fake` listens on all addresses, so it takes 127.0.0.1 alone.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.peers import need

# What docs/intake.md tells an operator to write.
QUERY = "token={token}&id=%I&from=%p&to=%P&smsc=%i&ts=%T&bin=%b&coding=%c&charset=%C&udh=%u"
_SECONDS = 30.0
_CONF = """
group = core
admin-port = {admin}
admin-port-ssl = false
admin-password = adm
status-password = st
admin-deny-ip = "*.*.*.*"
admin-allow-ip = "127.0.0.1"
admin-interface = "127.0.0.1"
smsbox-port = {box}
smsbox-interface = "127.0.0.1"
box-deny-ip = "*.*.*.*"
box-allow-ip = "127.0.0.1"
log-file = "{base}/bearerbox.log"
log-level = 1
dlr-storage = internal
store-type = spool
store-location = "{base}/spool"
sms-combine-concatenated-mo = true
sms-combine-concatenated-mo-timeout = {combine}

group = smsc
smsc = fake
smsc-id = FAKE1
port = {network}
connect-allow-ip = 127.0.0.1

group = smsbox
bearerbox-host = 127.0.0.1
sendsms-port = {sendsms}
sendsms-interface = "127.0.0.1"
log-file = "{base}/smsbox.log"
log-level = 1
http-request-retry = 20
http-queue-delay = 1

group = sendsms-user
username = u
password = p

group = sms-service
keyword = default
catch-all = true
max-messages = 0
omit-empty = true
get-url = "{url}?{query}"
"""


@dataclass
class Kannel:
    base: Path
    network: int
    admin: int
    fakesmsc: Path

    def deliver(self, *lines: str) -> None:
        """Bring SMS: each "SENDER RECIPIENT text|ucs2|udh-text WORDS", the latter two percent-encoded."""
        for line in lines:
            fake = [self.fakesmsc, "-H", "127.0.0.1", "-r", str(self.network), "-m", "1", line]
            # It stays after its message until it is told to go.
            process = subprocess.Popen(fake, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            assert process.stdout is not None
            try:
                end = time.monotonic() + _SECONDS
                for said in iter(process.stdout.readline, b""):
                    if b"sent message 1" in said.lower() or time.monotonic() > end:
                        break
            finally:
                time.sleep(0.1)
                process.terminate()
                process.wait(10)

    def log(self) -> str:
        return "".join(p.read_text("utf-8", "replace")[-3000:] for p in sorted(self.base.glob("*.log")))


def _free_ports(number: int) -> list[int]:
    held = [socket.socket() for _ in range(number)]
    for one in held:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


@contextmanager
def running_kannel(url: str, token: str, *, combine: int = 3) -> Iterator[Kannel]:
    """Kannel that hands what it receives to `url`. combine: seconds that it waits for parts."""
    bearerbox, smsbox = need("bearerbox", "kannel"), need("smsbox", "kannel")
    fakesmsc = need("/usr/lib/kannel/test/fakesmsc", "kannel-extras")
    base = Path(tempfile.mkdtemp(prefix="kannel"))
    started: list[subprocess.Popen[bytes]] = []
    try:
        (base / "spool").mkdir()
        admin, box, network, sendsms = _free_ports(4)
        conf = base / "kannel.conf"
        conf.write_text(
            _CONF.format(
                base=base, admin=admin, box=box, network=network, sendsms=sendsms, combine=combine, url=url,
                query=QUERY.format(token=token),
            )
        )  # fmt: skip
        for program, ready in ((bearerbox, admin), (smsbox, sendsms)):
            with (base / f"{program.name}.out").open("wb") as noise:
                started.append(subprocess.Popen([program, "-v", "4", conf], stdout=noise, stderr=noise, cwd=base))
            _await(ready)
        kannel = Kannel(base, network, admin, fakesmsc)
        _box_connected(kannel)
        yield kannel
    finally:
        for process in reversed(started):
            process.terminate()
        for process in reversed(started):
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)
        shutil.rmtree(base, ignore_errors=True)


def _await(port: int) -> None:
    end = time.monotonic() + _SECONDS
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"Kannel does not listen on {port}")


def _box_connected(kannel: Kannel) -> None:
    end = time.monotonic() + _SECONDS
    while time.monotonic() < end:
        with urllib.request.urlopen(f"http://127.0.0.1:{kannel.admin}/status.txt?password=st", timeout=5) as answer:
            if b"smsbox:(none)" in answer.read() or b"smsbox" in answer.read():
                return
        time.sleep(0.05)


def parts(sender: str, words: Sequence[str], reference: int) -> list[str]:
    """A long SMS in parts, as `deliver` takes them."""
    return [
        f"{sender} 1708 udh-text %05%00%03%{reference:02X}%{len(words):02X}%{number:02X} {text}"
        for number, text in enumerate(words, 1)
    ]
