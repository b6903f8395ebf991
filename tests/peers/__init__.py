"""Real servers for tests: an IMAP server, modems, a database, a browser, each on 127.0.0.1.

`need` finds a peer's program, installing its Debian package where that is allowed. One file per
peer starts and stops it. Not here: tests, and anything that pretends to be a server.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import pytest
from filelock import FileLock, Timeout

_PLACES = os.pathsep.join(("/usr/sbin", "/sbin", "/usr/local/sbin", os.environ.get("PATH", os.defpath)))
_INSTALL = Path(__file__).with_name("install.sh")
_SECONDS = 600
_SCRATCH = Path(tempfile.gettempdir()) / "kanal-peers"


def need(binary: str, package: str) -> Path:
    """Where `binary` is: a name to look up, or an absolute path, whose newest match it may glob for.

    Missing: as root with apt its package is installed, once for all test processes. Where that
    cannot be, the test fails under CI and is skipped elsewhere, with the reason.
    """
    _wait(package)
    if found := _find(binary):
        return found
    why = _install(package)
    if found := _find(binary):
        return found
    reason = f"{binary} is missing and {why or f'package {package} does not bring it'}; run {_INSTALL} {package}"
    if os.environ.get("CI"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def _find(binary: str) -> Path | None:
    if binary.startswith("/"):
        matches = sorted(Path("/").glob(binary[1:]))
        return matches[-1] if matches else None
    found = shutil.which(binary, path=_PLACES)
    return Path(found) if found else None


def _wait(package: str) -> None:
    """While another process installs it, its program may be there before the users and files that it needs."""
    if (lock := _SCRATCH / f"{package}.lock").exists():
        with suppress(Timeout), FileLock(lock, timeout=_SECONDS):
            pass


def _install(package: str) -> str | None:
    """Why `package` could not be installed; None where it was. Not tried again for a while."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return "only root with apt-get may install it"
    _SCRATCH.mkdir(mode=0o700, exist_ok=True)
    failed = _SCRATCH / f"{package}.failed"
    try:
        # One lock for all packages beside its own: apt itself takes one installation at a time.
        with (
            FileLock(_SCRATCH / f"{package}.lock", timeout=_SECONDS),
            FileLock(_SCRATCH / "apt.lock", timeout=_SECONDS),
        ):
            if failed.exists() and time.time() - failed.stat().st_mtime < _SECONDS:
                return f"was not installed a moment ago ({failed} says why)"
            done = subprocess.run(
                [str(_INSTALL), package],
                capture_output=True,
                text=True,
                timeout=_SECONDS,
                check=False,
            )
            if done.returncode == 0:
                return None
            failed.write_text(done.stdout + done.stderr, "utf-8")
            return f"could not be installed ({done.stderr.strip()[-300:]})"
    except (Timeout, subprocess.TimeoutExpired):
        return f"its installation took more than {_SECONDS} s"
