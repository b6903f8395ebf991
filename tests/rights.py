"""Files that may not be read, also where the tests run as root."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import gettempdir


def entered(folder: Path) -> None:
    """Let anybody come as far as a temporary folder."""
    for part in (folder, *folder.parents):
        if part == Path(gettempdir()):
            return
        part.chmod(part.stat().st_mode | 0o055)


@contextmanager
def somebody() -> Iterator[None]:
    """As one whom rights bind: tests may run as root. Do once before what is to be done: a module that is only then
    imported may lie where nobody else can go."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
