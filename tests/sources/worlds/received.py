"""What is sent to us: the intake on a real socket, with senders who send until they are told that it landed.

The intake runs in a thread, so that a kill costs milliseconds: its connections break off and its loop is left where
it stood. SIGKILL of the process: tests/intake/test_kills.py.
"""

from __future__ import annotations

import asyncio
import hmac
import http.client
import json
import os
import re
import socket
import threading
import tomllib
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from html import unescape
from pathlib import Path

import pytest
import uvicorn

from pipelines import flow
from pipelines.contracts import Stream
from pipelines.intake import committer
from pipelines.intake.app import build
from pipelines.intake.maps import Areas
from pipelines.intake.server import configured
from pipelines.settings import Settings, default_models_dir
from tests.sources.contract import CANARY, Killed, World, words
from tests.sources.worlds.common import NO_SERVER

_KEY = "KANAL_UJI_KONTRAK"
_SENT = dict.fromkeys(
    NO_SERVER, "Kanal is the server: senders that fail, drip or prove nothing are met in tests/intake"
) | dict.fromkeys(
    (
        "a cursor too old loses nothing that is there",
        "a cursor too old in the midst of a pull loses nothing that is there",
    ),
    "nothing is pulled, so there is no cursor",
)
_SENT["what is deleted stays and harms nothing"] = "what was sent and has landed cannot be called back"


class Intake:
    """A running intake that lands where `settings` say. now: its clock."""

    def __init__(self, settings: Settings, now: Callable[[], datetime]) -> None:
        self.dead = False
        # Named as TCP: else asyncio leaves Nagle's delay on, 40 ms an answer.
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.bind(("127.0.0.1", 0))
        listener.listen(100)
        self.port = listener.getsockname()[1]
        application = build(settings, [], Areas(()), run_id="uji", now=now)
        self._server = uvicorn.Server(configured(application, settings.intake, "127.0.0.1", self.port))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, args=(listener,), daemon=True)
        self._thread.start()  # who connects before it listens to them waits

    def _run(self, listener: socket.socket) -> None:
        try:
            self._loop.run_until_complete(self._server.serve([listener]))
        except RuntimeError:  # stopped midway
            tasks = asyncio.all_tasks(self._loop)
            for task in tasks:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        listener.close()
        self._loop.close()

    @contextmanager
    def line(self) -> Iterator[http.client.HTTPConnection]:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)) as line:
            yield line

    def die(self) -> None:
        """Nobody is answered any more. From any thread."""
        self.dead = True
        self._loop.call_soon_threadsafe(self._die)

    def _die(self) -> None:
        for connection in list(self._server.server_state.connections):
            connection.transport.abort()  # type: ignore[union-attr]
        self._loop.call_soon(self._loop.call_soon, self._loop.stop)  # once their ends are gone

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join()


class SentWorld(World):
    """Senders with things to send, in order; each is sent until it is answered well."""

    repeats = True
    cannot = _SENT

    def __init__(self) -> None:
        super().__init__()
        os.environ[_KEY] = CANARY
        self.intakes: dict[Path, Intake] = {}
        self.answered: dict[Path, set[int]] = {}
        self.clock: Callable[[], datetime] = lambda: self.now
        self.repeating = False

    def overlap(self) -> None:
        self.repeating = True

    @abstractmethod
    def to_send(self) -> int:
        """How many sendings there are, since the beginning."""

    def open(self, numbers: list[int], line: http.client.HTTPConnection) -> None:
        """What comes before those are sent."""

    @abstractmethod
    def send(self, number: int, line: http.client.HTTPConnection) -> bool:
        """Send the one of that number; whether the sender was told that all is well."""

    def land(self, settings: Settings, now: Callable[[], datetime]) -> flow.Pulled:
        """A pull, which brings nothing, and all that senders have to send."""
        result = flow.land(settings, self.stream, run_id="uji", now=now)
        assert (result.messages, result.batches) == (0, 0)
        where, self.clock = settings.data_dir, now
        if where not in self.intakes or self.intakes[where].dead:
            self.intakes[where] = Intake(settings, lambda: self.clock())
        intake = self.intakes[where]
        answered = self.answered.setdefault(where, set())
        left = [number for number in range(self.to_send()) if number not in answered]
        before = len(answered)

        def send(numbers: list[int]) -> None:
            with intake.line() as line:
                for number in numbers:
                    if self.send(number, line):
                        answered.add(number)

        lines = 1 if len(left) < 100 else 25  # few come one by one, so that each is a page; of many, some at once
        try:
            with intake.line() as line:
                self.open(left, line)
            with ThreadPoolExecutor(lines) as senders:
                list(senders.map(send, [left[n::lines] for n in range(lines)]))
        except (OSError, http.client.HTTPException):
            assert intake.dead
            raise Killed from None
        result.messages = len(answered) - before
        return result

    def die(self) -> None:
        for intake in self.intakes.values():
            if not intake.dead:
                intake.die()

    def close(self) -> None:
        for intake in self.intakes.values():
            intake.stop()


class WebhookWorld(SentWorld):
    source = "webhook"
    peer = (
        "senders signing as partners do (dialect json) to the intake on a socket (other dialects, Kannel: tests/intake)"
    )

    def __init__(self) -> None:
        super().__init__()
        table = tomllib.loads((default_models_dir() / "webhooks.toml").read_text("utf-8"))["dialect"]
        [dialect] = [entry for entry in table if entry["id"] == "json"]
        options = {"dialect": dialect, "secret_env": _KEY, "allow_from": ["127.0.0.1"]}
        self.stream = Stream("lapor", "uji", "webhook", options)
        self.said: dict[int, dict[str, str]] = {}
        self.bodies: list[bytes] = []

    def say(self, *numbers: int, at: datetime | None = None) -> None:
        time = (at or self.now).isoformat()
        self.said |= {n: {"id": f"LP-{n}", "text": words(n), "time": time} for n in numbers}
        size = 5 if len(numbers) < 100 else 200
        for start in range(0, len(numbers), size):
            self._ready(numbers[start : start + size])

    def _ready(self, numbers: Iterable[int]) -> None:
        repeated = list(self.said)[-7::-1] if self.repeating else []
        body = json.dumps({"reports": [self.said[n] for n in (*repeated, *numbers)]}).encode()
        self.bodies += [body, body] if self.repeating else [body]

    def edit(self, number: int) -> None:
        self.said[number] = self.said[number] | {"text": words(number, edited=True)}
        self._ready([number])

    def to_send(self) -> int:
        return len(self.bodies)

    def send(self, number: int, line: http.client.HTTPConnection) -> bool:
        body, stamp = self.bodies[number], str(int(self.now.timestamp()))
        proof = hmac.new(CANARY.encode(), f"{stamp}.".encode() + body, sha256).hexdigest()
        headers = {"x-kanal-timestamp": stamp, "x-kanal-signature": f"sha256={proof}"}
        line.request("POST", f"/kirim/{self.stream.key}", body, headers)
        answer = line.getresponse()
        answer.read()
        return answer.status == 200


@dataclass
class _Citizen:
    """Who has a page open since `opened`. token: of the page; None before it was asked for."""

    number: int
    opened: datetime
    token: str | None = None


class FormWorld(SentWorld):
    source = "form"
    cannot = _SENT | {
        "an edit is a new version of the same report": "another text is another report; another place or photo for the"
        " same text is a version: tests/intake/test_form.py"
    }
    peer = "citizens filling in the intake's page over a socket (headless Chromium: tests/intake/test_form.py)"

    def __init__(self) -> None:
        super().__init__()
        self.stream = Stream("balai_warga", "uji", "form", {"secret_env": _KEY})
        self.citizens: dict[int, _Citizen] = {}
        self.presses: list[tuple[int, str]] = []

    def say(self, *numbers: int, at: datetime | None = None) -> None:
        for n in numbers:
            self.citizens[n] = _Citizen(n, (at or self.now) - timedelta(seconds=30))
            self.presses += [(n, words(n))] * (2 if self.repeating else 1)
        if self.repeating:
            self.presses += [(n, words(n)) for n in reversed(self.citizens)]

    def to_send(self) -> int:
        return len(self.presses)

    def open(self, numbers: list[int], line: http.client.HTTPConnection) -> None:
        clock = self.clock
        for citizen in [self.citizens[self.presses[n][0]] for n in numbers]:
            if citizen.token is None:
                self.clock = lambda: citizen.opened  # noqa: B023 - done with before the next turn
                citizen.token = self._asked(citizen, "GET", b"", line)[1]
        self.clock = clock

    def send(self, number: int, line: http.client.HTTPConnection) -> bool:
        who, text = self.presses[number]
        citizen, clock = self.citizens[who], self.clock
        for _ in range(2):
            form = _multipart({"tanda": citizen.token or "", "uraian": text})
            done, token = self._asked(citizen, "POST", form, line)
            if done:
                return True
            citizen.token = token  # the page is shown again, and sent again a moment later
            self.clock = lambda: clock() + timedelta(seconds=5)
        return False

    def _asked(self, citizen: _Citizen, method: str, body: bytes, line: http.client.HTTPConnection) -> tuple[bool, str]:
        """(whether thanks were said, the token of the page that was shown instead)."""
        address = (
            f"198.18.{citizen.number // 250}.{citizen.number % 250}"  # by the proxy: each has an address of its own
        )
        headers = {"content-type": "multipart/form-data; boundary=batas", "x-forwarded-for": address}
        line.request(method, f"/lapor/{self.stream.key}", body, headers)
        answer = line.getresponse()
        page = answer.read().decode()
        found = re.findall(r'name="tanda" value="([^"]*)"', page)
        return answer.status == 303, unescape(found[0]) if found else ""


def _multipart(fields: dict[str, str]) -> bytes:
    parts = [f'--batas\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n' for k, v in fields.items()]
    return ("".join(parts) + "--batas--\r\n").encode()


@contextmanager
def _sent(world: SentWorld, patch: pytest.MonkeyPatch) -> Iterator[World]:
    patch.setattr(committer, "_GATHER", 0.0)
    patch.setattr(committer, "_EVERY", 0.0)  # senders come one after the other: nobody to gather
    yield world
    world.close()


WORLDS = {
    "webhook": (WebhookWorld, lambda r, f: _sent(WebhookWorld(), r.getfixturevalue("monkeypatch"))),
    "form": (FormWorld, lambda r, f: _sent(FormWorld(), r.getfixturevalue("monkeypatch"))),
}
