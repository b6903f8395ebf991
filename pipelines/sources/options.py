"""Options of a stream in kanal.toml, as they must be: a slip is told with its stream and option.

Belongs here: shapes that any source asks for. Not here: what an option means (each source).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pipelines.errors import SettingsError


class Check:
    """Options as they must be. Every method raises SettingsError that names the stream and the option."""

    def __init__(self, key: str, options: Mapping[str, Any]) -> None:
        self._key, self._options = key, options

    def wrong(self, what: str) -> SettingsError:
        return SettingsError(f"{self._key}: {what}")

    def known(self, given: Mapping[str, Any], known: set[str], where: str) -> None:
        if unknown := sorted(set(given) - known):
            raise self.wrong(f"unknown key {unknown[0]!r} in {where}; known: {', '.join(sorted(known))}")

    def table(self, name: str) -> dict[str, Any]:
        value = self._options.get(name, {})
        if not isinstance(value, dict):
            raise self.wrong(f"{name} must be a table [stream.{name}], not {value!r}")
        return value

    def text(self, name: str) -> str | None:
        value = self._options.get(name)
        if value is not None and (not isinstance(value, str) or not value):
            raise self.wrong(f"{name} must be a text, not {value!r}")
        return value

    def texts(self, name: str) -> list[str]:
        return self.texts_of(name, self._options.get(name, []))

    def texts_of(self, name: str, value: Any) -> list[str]:
        values = [value] if isinstance(value, str) else value
        if not isinstance(values, list) or not all(isinstance(v, str) and v for v in values):
            raise self.wrong(f"{name} must be a text or a list of texts, not {value!r}")
        return values

    def choice(self, name: str, known: Sequence[str]) -> str | None:
        value = self._options.get(name)
        if value is not None and value not in known:
            raise self.wrong(f"{name} must be one of {', '.join(map(repr, known))}, not {value!r}")
        return value

    def flag(self, name: str) -> bool:
        value = self._options.get(name, True)
        if not isinstance(value, bool):
            raise self.wrong(f"{name} must be true or false, not {value!r}")
        return value

    def number(self, name: str, default: float, low: float, high: float) -> float:
        value = self._options.get(name, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
            raise self.wrong(f"{name} must be a number from {low} to {high}, not {value!r}")
        return value

    def zone(self) -> tzinfo:
        name = self.text("time_zone") or "Asia/Jakarta"
        try:
            return ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise self.wrong(f"time_zone {name!r} is no time zone, such as Asia/Jakarta or UTC") from None

    def pattern(self) -> str:
        pattern = self.text("pattern") or "*"
        if pattern.startswith("/") or ".." in pattern.split("/"):
            raise self.wrong(f"pattern {pattern!r} must stay inside the inbox, such as *.csv or 2026/*.xlsx")
        return pattern
