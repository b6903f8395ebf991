"""What an export stream has read: the cursor's contents, kept small.

Files are known by the first 80 bits of their SHA-256. Beside each stands a mark of name, size and
time, which spares reading a known file again, and, where the file was set aside as a whole, the
fingerprint of the options it was read with.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_REMEMBERED = 2_000  # files that are no longer in the inbox; those that are stay known
_HALF_READ = 100


class Book:
    """cursor: {"done": ["digest/mark" or "digest/mark/fingerprint", oldest first],
    "parts": {digest: [rows landed, fingerprint]}}."""

    def __init__(self, cursor: Mapping[str, Any], fingerprint: str) -> None:
        self._fingerprint = fingerprint
        self._done: dict[str, tuple[str, str | None]] = {}
        for entry in cursor.get("done", ()):
            digest, mark, *aside = entry.split("/")
            self._done[digest] = (mark, aside[0] if aside else None)
        self._parts: dict[str, list[Any]] = dict(cursor.get("parts", {}))
        self._marks = {mark: digest for digest, (mark, _) in self._done.items() if self._is_good(digest)}
        self._present: set[str] = set()
        self.moved = False

    def _is_good(self, digest: str) -> bool:
        """Known, and not as a file that was set aside under other options."""
        return digest in self._done and self._done[digest][1] in (None, self._fingerprint)

    def knows_mark(self, mark: str) -> bool:
        """Whether a file was read that had this name, size and time."""
        if mark in self._marks:
            self._present.add(self._marks[mark])
        return mark in self._marks

    def knows(self, digest: str, mark: str) -> bool:
        """Whether this content was read; its new mark is remembered when the cursor next moves."""
        short = digest[:20]
        if not self._is_good(short):
            return False
        self._present.add(short)
        self._done[short] = (mark, self._done[short][1])
        return True

    def position(self, digest: str) -> int:
        """Rows of a file that have landed, read as it would be read now."""
        landed, fingerprint = self._parts.get(digest[:20], (0, self._fingerprint))
        return landed if fingerprint == self._fingerprint else 0

    def reached(self, digest: str, position: int) -> None:
        self._parts[digest[:20]] = [position, self._fingerprint]

    def forget(self, digest: str) -> None:
        """The file changed while it was read: whatever it is now, it is another."""
        self._parts.pop(digest[:20], None)

    def finished(self, digest: str, mark: str, *, aside: bool) -> None:
        short = digest[:20]
        self._parts.pop(short, None)
        self._done.pop(short, None)
        self._done[short] = (mark, self._fingerprint if aside else None)
        self._marks[mark] = short
        self._present.add(short)
        self.moved = True

    def cursor(self) -> dict[str, Any]:
        self.moved = False
        excess = len(self._done) - len(self._present) - _REMEMBERED
        for digest in [d for d in self._done if d not in self._present][: max(excess, 0)]:
            del self._done[digest]
        cursor: dict[str, Any] = {
            "done": ["/".join(filter(None, (digest, *entry))) for digest, entry in self._done.items()]
        }
        if self._parts:
            cursor["parts"] = dict(list(self._parts.items())[-_HALF_READ:])
        return cursor
