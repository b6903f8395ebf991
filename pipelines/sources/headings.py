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
    while header and not header[-1].strip():
        header = header[:-1]
    names: dict[str, str] = {}
    for number, name in enumerate(header, 1):
        name = name.strip().strip("\ufeff") or f"kolom {number}"
        again = 1
        unique = name
        while fold(unique) in names:
            again += 1
            unique = f"{name} ({again})"
        names[fold(unique)] = unique
    return list(names.values())
