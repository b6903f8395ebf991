"""A backlog in a mailbox: python -m benchmarks.mail_backlog [MAILS]

Fills a folder of a real Dovecot on loopback (needs root) with 50,000 mails of 1 to 40 KB, every hundredth with a
photo of 300 KB, and lands them by `flow.land` in a process of its own: seconds, mails a second, that process's
peak resident memory, and before the pull. Then a second pull, which finds nothing, and the same landed mails
counted by their identities.
"""

from __future__ import annotations

import base64
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

_WORDS = "jalan lampu mati banjir saluran sampah pohon tumbang warga rusak gelap mohon segera diperbaiki RT RW".split()


def mails(count: int) -> Iterator[bytes]:
    """Made-up complaints; seed 7."""
    draw = random.Random(7)
    photo = base64.encodebytes(draw.randbytes(222_000)).replace(b"\n", b"\r\n")
    for number in range(count):
        head = (
            f"From: warga{number % 5000}@example.com\r\nTo: aduan@example.go.id\r\nSubject: Aduan {number}\r\n"
            f"Message-ID: <{number}@example.com>\r\nDate: Mon, 05 Oct 2026 08:00:00 +0700\r\nMIME-Version: 1.0\r\n"
        ).encode()
        words = " ".join(draw.choices(_WORDS, k=draw.randrange(100, 6000)))
        text = "\r\n".join(words[i : i + 76] for i in range(0, len(words), 76)).encode()
        if number % 100:
            yield head + b"Content-Type: text/plain; charset=utf-8\r\n\r\n" + text + b"\r\n"
            continue
        yield (
            head + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\n" + text
            + b"\r\n--b\r\nContent-Type: image/jpeg\r\nContent-Transfer-Encoding: base64\r\n\r\n" + photo + b"--b--\r\n"
        )  # fmt: skip


def pull(folder: str, port: int, user: str) -> None:
    """In a process of its own: land all, and print what it took."""
    from pipelines import flow
    from pipelines.contracts import Stream
    from pipelines.settings import Settings, default_models_dir

    options = {"host": "127.0.0.1", "port": port, "tls": "none", "user": user, "password_env": "KANAL_BENCH"}
    stream = Stream("email", "dki", "imap", options)
    settings = Settings(Path(folder, "kanal.toml"), Path(folder, "data"), default_models_dir(), (stream,))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = {}
    for name in ("first", "second"):
        begin = time.monotonic()
        pulled = flow.land(settings, stream, run_id="bench", now=lambda: datetime.now(UTC))
        if pulled.error:
            raise pulled.error
        found[name] = {"mails": pulled.messages, "seconds": round(time.monotonic() - begin, 2)}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps(found | {"rss_before_mb": before // 1024, "rss_peak_mb": peak // 1024}))


def main(count: int) -> None:
    import os

    from pipelines.sinks.landing import BatchRef, Landing
    from tests.peers.dovecot import PASSWORD, dovecot_server

    with dovecot_server() as server, tempfile.TemporaryDirectory() as folder:
        total, begin = 0, time.monotonic()
        with server.connect("backlog") as client:
            some: list[bytes] = []
            for mail in mails(count):
                some.append(mail)
                total += len(mail)
                if len(some) == 200:
                    client.multiappend("INBOX", some)
                    some = []
            if some:
                client.multiappend("INBOX", some)
        print(f"{count:,} mails, {total / 1e6:,.0f} MB, filled in {time.monotonic() - begin:.0f} s")
        command = [sys.executable, "-m", "benchmarks.mail_backlog", "--pull", folder, str(server.port), "backlog"]
        answer = subprocess.run(
            command, env=os.environ | {"KANAL_BENCH": PASSWORD}, check=True, capture_output=True, text=True
        )
        print(answer.stdout.strip())
        landing = Landing(Path(folder, "data/landing"))
        sequences = landing.sequences("email", "dki")
        refs = [
            ref
            for sequence in sequences
            for ref in landing.read(BatchRef("email", "dki", sequence))["source_ref"].to_pylist()
        ]
        print(f"landed {len(refs):,} mails, {len(set(refs)):,} identities, {len(sequences):,} batches")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--pull"]:
        pull(sys.argv[2], int(sys.argv[3]), sys.argv[4])
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 50_000)
