"""SIGKILL while many send: whoever was answered 200 has landed."""

from __future__ import annotations

import http.client
import threading
import time
from pathlib import Path

from tests.intake.conftest import SECRETS, STREAMS, UNLIMITED, by_partner, write_settings
from tests.peers.intake import landed, start

KEY = "lapor/mitra"
SENDERS, KILLS = 8, 4


def test_whoever_was_answered_has_landed_however_often_the_server_dies(tmp_path: Path) -> None:
    settings = write_settings(tmp_path, UNLIMITED, {KEY: STREAMS[KEY]})
    intake = start(settings, SECRETS)
    port, over = intake.port, threading.Event()
    answered: list[str] = []
    sent: list[int] = [0] * SENDERS

    def send(me: int) -> None:
        while not over.is_set():
            own = f"{me}-{sent[me]}"
            sent[me] += 1
            try:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
                if by_partner({"id": own, "text": "Jalan rusak"}).over(connection)[0] == 200:
                    answered.append(own)
            except (OSError, http.client.HTTPException):
                time.sleep(0.02)
            finally:
                connection.close()

    senders = [threading.Thread(target=send, args=(n,)) for n in range(SENDERS)]
    for sender in senders:
        sender.start()
    try:
        for _ in range(KILLS):
            before = len(answered)
            end = time.monotonic() + 20
            while len(answered) < before + 40 and time.monotonic() < end:
                time.sleep(0.01)
            intake.kill()
            intake = start(settings, SECRETS, port=port)
    finally:
        over.set()
        for sender in senders:
            sender.join()
        intake.kill()
    there = {m.source_ref for m in landed(settings, KEY)}
    assert len(answered) >= 40 * KILLS
    assert set(answered) - there == set()
