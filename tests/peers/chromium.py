"""A real browser: headless Chromium, spoken to over its DevTools pipe, so it needs no port.

`browser` starts it with an empty profile and no way to any network but what the page itself asks
for; `Page` loads a file at a given size and tells what went on. Not here: what a page should show.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.peers import need

_SECONDS = 60
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--disable-features=DialMediaRouteProvider",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--no-proxy-server",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
    "about:blank",
)


class Page:
    """One tab. requests: addresses it asked for; said: console messages, errors and warnings."""

    def __init__(self, write: int, read: int) -> None:
        self._write, self._read, self._buffer, self._number = write, read, b"", 0
        self._session: str | None = None
        self.requests: list[str] = []
        self.said: list[str] = []
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "DOM"):
            self._call(f"{domain}.enable")

    def open(self, file: Path | str, *, width: int, height: int = 800) -> None:
        """Load a file, or an address, in a window of that many CSS pixels, anew."""
        self.requests.clear()
        self.said.clear()
        self._call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        self._loaded = False
        self._call("Page.navigate", url=file if isinstance(file, str) else file.resolve().as_uri())
        self._settle()

    def _settle(self) -> None:
        while not self._loaded:
            self._event(self._message())

    def choose(self, selector: str, *files: Path) -> None:
        """Put files into a file field, as a person does in the dialogue."""
        node = self._node(selector)
        self._call("DOM.setFileInputFiles", nodeId=node, files=[str(file.resolve()) for file in files])

    def type(self, selector: str, text: str) -> None:
        """Type into a field."""
        self._call("DOM.focus", nodeId=self._node(selector))
        self._call("Input.insertText", text=text)

    def press(self, selector: str) -> None:
        """Click, and wait for the page that comes."""
        self._loaded = False
        self.ask(f"document.querySelector({json.dumps(selector)}).click()")
        self._settle()

    def touch(self, selector: str, x: float, y: float) -> None:
        """Click at a pixel of a thing, and wait for the page that comes."""
        left, top = self.ask(
            f"(e => (e.scrollIntoView(), [e.getBoundingClientRect().x, e.getBoundingClientRect().y]))"
            f"(document.querySelector({json.dumps(selector)}))"
        )
        self._loaded = False
        for kind in ("mousePressed", "mouseReleased"):
            self._call("Input.dispatchMouseEvent", type=kind, x=left + x, y=top + y, button="left", clickCount=1)
        self._settle()

    def tab(self) -> None:
        """The Tab key."""
        self._key("Tab", 9)

    def enter(self) -> None:
        """The Enter key, and wait for the page that comes."""
        self._loaded = False
        self._key("Enter", 13, text="\r")
        self._settle()

    def write(self, text: str) -> None:
        """Type into whatever has the focus."""
        self._call("Input.insertText", text=text)

    def _key(self, name: str, code: int, **more: str) -> None:
        for kind in ("keyDown" if more else "rawKeyDown", "keyUp"):
            self._call("Input.dispatchKeyEvent", type=kind, key=name, code=name, windowsVirtualKeyCode=code, **more)

    def spoken(self) -> list[tuple[str, str, str]]:
        """What a screen reader tells of each thing in the page: role, name, description."""
        found = self._call("Accessibility.getFullAXTree")["nodes"]
        return [
            (n["role"]["value"], n.get("name", {}).get("value", ""), n.get("description", {}).get("value", ""))
            for n in found
            if not n["ignored"]
        ]

    def _node(self, selector: str) -> int:
        root = self._call("DOM.getDocument")["root"]["nodeId"]
        return self._call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]

    def ask(self, javascript: str) -> Any:
        """The value of an expression in the page."""
        found = self._call("Runtime.evaluate", expression=javascript, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise ValueError(found["exceptionDetails"]["text"])
        return found["result"].get("value")

    def picture(self, file: Path) -> None:
        """A PNG of the whole page, as tall as it is."""
        shot = self._call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        file.write_bytes(base64.b64decode(shot["data"]))

    def print(self, file: Path) -> None:
        """A PDF, on the paper the page asks for."""
        self._call("Emulation.clearDeviceMetricsOverride")
        printed = self._call("Page.printToPDF", printBackground=True, preferCSSPageSize=True)
        file.write_bytes(base64.b64decode(printed["data"]))

    def _call(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._write, data) :]
        while True:
            answer = self._message()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise ValueError(f"{method}: {answer['error']['message']}")
                return answer["result"]
            self._event(answer)

    def _event(self, message: dict[str, Any]) -> None:
        method, params = message.get("method"), message.get("params", {})
        if method == "Page.loadEventFired":
            self._loaded = True
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Runtime.consoleAPICalled":
            self.said.append(f"{params['type']}: {[a.get('value') for a in params['args']]}")
        elif method == "Runtime.exceptionThrown":
            self.said.append(f"exception: {params['exceptionDetails']['text']}")
        elif method == "Log.entryAdded":
            self.said.append(f"{params['entry']['level']}: {params['entry']['text']}")

    def _message(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            part = os.read(self._read, 1 << 20)
            if not part:
                raise EOFError("Chromium closed its pipe")
            self._buffer += part
        text, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(text)


# Chromium reads commands from descriptor 3 and answers on 4; subprocess itself cannot renumber them.
_START = """
import fcntl, os, sys
read, write = (fcntl.fcntl(int(fd), fcntl.F_DUPFD, 10) for fd in sys.argv[1:3])
os.dup2(read, 3), os.dup2(write, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""


@contextmanager
def browser() -> Iterator[Page]:
    """A page in a browser of its own; both are gone afterwards."""
    program = need("chromium", "chromium")
    its_read, our_write = os.pipe()
    our_read, its_write = os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [sys.executable, "-c", _START, str(its_read), str(its_write), str(program), *_FLAGS]
        process = subprocess.Popen(
            [*command, f"--user-data-dir={profile}"],
            pass_fds=(its_read, its_write),
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(its_read)
        os.close(its_write)
        try:
            yield Page(our_write, our_read)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(_SECONDS)
            os.close(our_read)
            os.close(our_write)
