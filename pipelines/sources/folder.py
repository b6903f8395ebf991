"""An inbox folder -> its files, in the order of their names as people count them.

Hidden files, temporary ones and those that a program has not finished are none. Whatever cannot be looked into is
told, so that no file is passed over in silence. A link that leads out of the folder is told and not followed: who may
put files into an inbox may not thereby show Kanal's own files to others.

Belongs here: which files there are. Not here: whether they are known (inbox), what they hold (export, letters).
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

from pipelines.sources.mail_text import clean

_UNFINISHED = (".tmp", ".part", ".partial", ".crdownload", ".filepart", ".swp")


class File(NamedTuple):
    """name: path inside the folder, as it is shown and stored: text, even where the system's is not."""

    name: str
    path: Path


def files_in(folder: Path, pattern: str = "*") -> tuple[list[File], list[str]]:
    """(files, what could not be looked into and why), 2.csv before 10.csv, subfolders included."""
    found: list[File] = []
    missed: list[str] = []
    root = folder.resolve()

    def name_of(path: Path) -> str:
        return shown(path.relative_to(folder).as_posix())

    def untold(error: OSError) -> None:  # rglob passes over these without a word
        missed.append(f"{name_of(Path(error.filename))} ({error.strerror})")

    for _ in os.walk(folder, onerror=untold):
        pass
    for path in folder.rglob(pattern):
        hidden = is_hidden(path.relative_to(folder).as_posix())
        if hidden or path.name.lower().endswith(_UNFINISHED) or not _is_file(path):
            continue
        may_leave = os.path.islink(path) or "/" in pattern  # noqa: PTH114 - never fails, as is_symlink may
        if may_leave and not path.resolve().is_relative_to(root):
            missed.append(f"{name_of(path)} (a link that leads out of the inbox)")
        else:
            found.append(File(name_of(path), path))
    return sorted(found, key=lambda file: natural(file.name)), missed


def is_hidden(path: str) -> bool:
    """Whether a file, in a folder or in a ZIP, is one that people do not see: .a, ~$a.xlsx, what a Mac adds."""
    return any(part.startswith((".", "~$", "__MACOSX")) and part != ".." for part in path.split("/"))


def natural(name: str) -> list[tuple[int, str]]:
    """A key to sort names by: 2.csv before 10.csv."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d{1,18})", name.casefold())]


def shown(name: str) -> str:
    """A file's name as text: bytes that are no UTF-8, which the system keeps as halves of pairs, become \ufffd."""
    return clean(os.fsencode(name).decode("utf-8", "replace")) if not name.isascii() else name


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return True  # opening it says why not
