"""Files that people edit by hand -> entries that are checked: TOML tables, lists of texts, numbers.

Belongs here: reading such a file so that a slip is a SettingsError with file and entry. Not here:
what an entry means (knowledge).
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from typing import Any

from pipelines.errors import SettingsError


def read(path: Path) -> bytes:
    """The bytes of a file. SettingsError where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from error


def toml(path: Path) -> dict[str, Any]:
    """A TOML file. SettingsError where it is none."""
    try:
        return tomllib.loads(read(path).decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not valid TOML: {error}") from error


def table(path: Path, raw: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The section [name] of a file that was read."""
    found = raw.get(name)
    if not isinstance(found, dict):
        raise SettingsError(f"{path}: the section [{name}] is missing")
    return found


def entries(path: Path, name: str, known: Collection[str] = ()) -> list[dict[str, Any]]:
    """The entries [[name]] of a file, each with an id that no other has, and no key but `known` (if given)."""
    found = toml(path).get(name, [])
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise SettingsError(f"{path}: write each {name} as [[{name}]], in two brackets")
    ids: set[str] = set()
    for number, entry in enumerate(found, 1):
        own = entry.get("id")
        if not isinstance(own, str) or not own:
            raise SettingsError(f"{path}: {name} number {number} lacks 'id', a text")
        if own in ids:
            raise SettingsError(f"{path}: {name} {own!r} is there twice")
        ids.add(own)
        if known and (unknown := sorted(set(entry) - set(known))):
            raise SettingsError(f"{path}: {name} {own!r} has unknown key {unknown[0]!r}; known: {', '.join(known)}")
    return found


@contextmanager
def slips(path: Path, what: str) -> Iterator[None]:
    """Whatever goes wrong in here is a slip in the entry `what` of the file."""
    try:
        yield
    except KeyError as error:
        raise SettingsError(f"{path}: {what} lacks {error}") from error
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise SettingsError(f"{path}: {what} is wrong: {error}") from error


def text(entry: Mapping[str, Any], key: str) -> str:
    """A text that must be there. KeyError or TypeError, for `slips` to tell."""
    value = entry[key]
    if not isinstance(value, str) or not value:
        raise TypeError(f"{key} must be a text, in quotes")
    return value


def texts(entry: Mapping[str, Any], key: str) -> list[str]:
    """A list of texts, empty where there is none. TypeError, for `slips` to tell."""
    value = entry.get(key, [])
    if not isinstance(value, list) or not all(isinstance(v, str) and v for v in value):
        raise TypeError(f'{key} must be a list of texts, as ["a", "b"]')
    return value


def number(entry: Mapping[str, Any], key: str, default: float | None = None) -> float:
    """A number of 0 or more; without a default it must be there. KeyError or TypeError, as above."""
    value = entry[key] if default is None else entry.get(key, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0:
        raise TypeError(f"{key} must be a number of 0 or more")
    return float(value)


def signed(entry: Mapping[str, Any], key: str) -> float:
    """A number of either sign; it must be there. KeyError or TypeError, as above."""
    value = entry[key]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not isfinite(value):
        raise TypeError(f"{key} must be a number")
    return float(value)


def flag(entry: Mapping[str, Any], key: str, *, default: bool | None = None) -> bool:
    """true or false; without a default it must be there. KeyError or TypeError, as above."""
    value = entry[key] if default is None else entry.get(key, default)
    if not isinstance(value, bool):
        raise TypeError(f"{key} must be true or false, without quotes")
    return value
