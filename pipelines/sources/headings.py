"""What a column is called: names compared, and names made unlike each other."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

_HINT = re.compile(r"\([^()]*\)|\*")


@lru_cache(maxsize=65_536)
def fold(name: str) -> str:
    """A column's name without its blanks and capitals."""
    return "".join(unicodedata.normalize("NFKC", name).casefold().split()).strip("\ufeff\u200b")


def loose(heading: str) -> str:
    """A heading's letters and digits: "Tanggal (hh/bb/tttt) *" is "Tanggal"."""
    return "".join(c for c in _HINT.sub("", heading).casefold() if c.isalnum())


def names_of(header: list[str]) -> list[str]:
    """Column names that are there once: the second Nama is "Nama (2)", a blank one "kolom 7"."""
    width = max((number for number, name in enumerate(header, 1) if name.strip()), default=0)
    names: dict[str, str] = {}
    times: dict[str, int] = {}  # or a thousand columns of one name would be counted a thousand times
    for number, name in enumerate(header[:width], 1):
        name = name.strip().strip("\ufeff") or f"kolom {number}"
        unique, folded = name, fold(name)
        while fold(unique) in names:
            times[folded] = times.get(folded, 1) + 1
            unique = f"{name} ({times[folded]})"
        names[fold(unique)] = unique
    return list(names.values())
