"""media/<aa>/<sha256>: photos and other files that came along, kept by what they are, beside landing.

Named by content alone, so equal files are one and no name of a person is on the disk. Written before
the message that tells of them (Landing.put), never changed. Personal data: folders are 0700.

Belongs here: keeping, finding, proving. Not here: what bytes are (sources/attached), fetching (pipelines/media).
"""

from __future__ import annotations

import re
from collections.abc import Container
from hashlib import sha256
from pathlib import Path

from pipelines.errors import PermanentError
from pipelines.sinks.durable import make_root, put_if_absent, sync_dir

_DIGEST = re.compile(r"[0-9a-f]{64}")


class Media:
    """The files under one folder. Any number of processes may keep and read at once."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def keep(self, data: bytes) -> str:
        """Keep bytes, durably; their SHA-256. Raises as put_if_absent does."""
        digest = sha256(data).hexdigest()
        path = self.path(digest)
        make_root(self.root)
        if not put_if_absent(path, data):
            sync_dir(path.parent)  # whoever was first may not have come so far
        return digest

    def heal(self, data: bytes, *, among: Container[str]) -> None:
        """Keep bytes whose hash is among these, in place of a damaged file."""
        digest = sha256(data).hexdigest()
        if digest in among:
            self.path(digest).unlink(missing_ok=True)
            self.keep(data)

    def path(self, digest: str) -> Path:
        """Where a file lies, if it is kept. ValueError where that is no SHA-256: it may come from a message."""
        if not _DIGEST.fullmatch(digest):
            raise ValueError("a file is named by 64 hexadecimal digits")
        return self.root / digest[:2] / digest

    def fault(self, digest: str, *, whole: bool) -> str | None:
        """missing or damaged; None where all is well. whole: read it and compare the hash."""
        try:
            path = self.path(digest)
            if not whole:
                return None if path.is_file() else "missing"
            with path.open("rb") as file:
                found = sha256()
                while chunk := file.read(1 << 20):
                    found.update(chunk)
            return None if found.hexdigest() == digest else "damaged"
        except (FileNotFoundError, ValueError):
            return "missing"
        except OSError as error:
            raise PermanentError(f"media: {self.root} cannot be read ({error.strerror})") from error
