"""JSON and JSON lines -> objects, one at a time, however long the file.

Decodes from a window that grows with the object at hand, so memory follows the largest object and
not the file. Numbers keep the digits they were written with, and NaN and Infinity, which many
programs write and JSON forbids, come as text instead of ending the file: what a streaming parser
in C would not do.

Belongs here: where an object ends. Not here: what its fields are called (tables) or mean (cells).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TextIO

MAX_OBJECT = 16_000_000  # characters of one object, or of anything that stands before the array
_DEPTH = 6
_CHUNK = 65_536
_LONGEST_TOKEN = 16  # of what is no text: -Infinity, or an escape inside a text
_DECODER = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=str)

NOT_JSON = "bukan JSON yang utuh"
TOO_LARGE = f"satu objeknya lebih dari {MAX_OBJECT // 1_000_000} juta huruf"


class Item(NamedTuple):
    """value: an object's fields, or None where it is none; raw: the line then, for JSON lines."""

    value: dict[str, Any] | None
    raw: str = ""


class BadJsonError(ValueError):
    """Nothing behind this point can be read; its text says why, for a clerk."""


class _Window:
    """The part of a text that is being looked at."""

    def __init__(self, text: TextIO) -> None:
        self._text, self._held, self._at = text, "", 0

    def _more(self) -> bool:
        kept = self._held[self._at :]
        if len(kept) > MAX_OBJECT:
            raise BadJsonError(TOO_LARGE)
        chunk = self._text.read(max(_CHUNK, len(kept)))  # doubling: each character is decoded about twice
        self._held, self._at = kept + chunk, 0
        return bool(chunk)

    def peek(self) -> str:
        """The next character that is no blank; empty at the end."""
        while True:
            while self._at < len(self._held):
                if self._held[self._at] not in " \t\r\n\ufeff":
                    return self._held[self._at]
                self._at += 1
            if not self._more():
                return ""

    def take(self, *wanted: str) -> str:
        found = self.peek()
        if found not in wanted:
            raise BadJsonError(NOT_JSON)
        self._at += 1
        return found

    def value(self) -> Any:
        self.peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._held, self._at)
            except RecursionError:
                raise BadJsonError("bersarang terlalu dalam") from None
            except json.JSONDecodeError as error:
                cut_off = error.msg.startswith("Unterminated") or len(self._held) - error.pos < _LONGEST_TOKEN
                if not cut_off or not self._more():
                    raise BadJsonError(NOT_JSON) from None
                continue
            if end < len(self._held):
                self._at = end
                return value
            if not self._more():  # a number may go on behind the window's end
                self._at = len(self._held)
                return value


def objects(text: TextIO, path: Sequence[str], key: str | None = None) -> Iterator[Item]:
    """The objects of the array that `path` leads to; no path: the file is the array.

    key: they may also stand in an object by their keys, {"101": {..}}; each key then becomes the field
    of that name.

    Raises BadJsonError where the file is cut off or is no JSON; what was yielded before stays good.
    """
    window = _Window(text)
    for name in path:
        if not _enter(window, name):
            raise BadJsonError(f"tidak punya daftar laporan di {'.'.join(path)}")
    if key and window.peek() == "{":
        yield from _by_key(window, key)
        return
    if window.peek() == "{":
        raise BadJsonError("bukan daftar laporan; sebut letak daftarnya di opsi records")
    window.take("[")
    if window.peek() == "]":
        return
    while True:
        value = window.value()
        yield Item(value if isinstance(value, dict) else None)
        if window.take(",", "]") == "]":
            return


def _by_key(window: _Window, key: str) -> Iterator[Item]:
    window.take("{")
    if window.peek() == "}":
        return
    while True:
        name = window.value()
        window.take(":")
        value = window.value()
        yield Item({key: name} | value if isinstance(value, dict) else None)
        if window.take(",", "}") == "}":
            return


def _enter(window: _Window, name: str) -> bool:
    """Go to the value of field `name` of the object ahead; False where it has none."""
    window.take("{")
    if window.peek() == "}":
        return False
    while True:
        key = window.value()
        window.take(":")
        if key == name:
            return True
        window.value()
        if window.take(",", "}") == "}":
            return False


def lines(text: TextIO) -> Iterator[Item]:
    """The object of each line that is not blank."""
    while line := text.readline(MAX_OBJECT):
        if len(line) == MAX_OBJECT:
            yield Item(None, line)
            while line and line[-1] != "\n":
                line = text.readline(MAX_OBJECT)
            continue
        if not line.strip(" \t\r\n\ufeff"):
            continue
        try:
            value = _DECODER.decode(line.strip("\ufeff"))
        except (ValueError, RecursionError):
            value = None
        yield Item(value) if isinstance(value, dict) else Item(None, line)


def flat(value: dict[str, Any]) -> dict[str, str]:
    """An object's filled fields as text: {"lokasi": {"lat": -6.2}} is {"lokasi.lat": "-6.2"}.

    Lists, and objects nested deeper than six, stay JSON.
    """
    cells: dict[str, str] = {}
    _flatten(value, "", _DEPTH, cells)
    return cells


def _flatten(value: dict[str, Any], prefix: str, depth: int, cells: dict[str, str]) -> None:
    for key, inner in value.items():
        name = f"{prefix}{key}"
        if isinstance(inner, dict) and depth:
            _flatten(inner, f"{name}.", depth - 1, cells)
        elif isinstance(inner, bool):
            cells[name] = "true" if inner else "false"
        elif isinstance(inner, str):
            cells[name] = inner
        elif inner is not None and inner != []:
            cells[name] = json.dumps(inner, ensure_ascii=False)
