"""[[stream]] entries of kanal.toml -> streams, with what they name put in its place.

A stream may name a mapping (models/mappings.toml), a dialect (webhooks.toml) or a set of codes (sms_codes.toml); its
options then hold the thing itself, so that what landed can be read without any file. Not here: what options mean, which
each source says.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.contracts import Stream
from pipelines.errors import SettingsError

if TYPE_CHECKING:
    from pipelines.settings import Settings

# What makes a module of sources/ a kind of channel: its docstring lists options for kanal.toml, and it pulls.
_SOURCE = re.compile(r"^Options in kanal\.toml\b.*^def pull\(", re.MULTILINE | re.DOTALL)
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")
_MAPPED = ("export", "letters")  # sources whose options a named mapping may give


@cache
def sources() -> tuple[str, ...]:
    """What a stream's `source` may be, sorted. Found by their text: importing them all would cost a second."""
    found = (Path(__file__).parent / "sources").glob("*.py")
    return tuple(sorted(path.stem for path in found if _SOURCE.search(path.read_text("utf-8"))))


def read(entries: list[dict[str, Any]], settings: Settings) -> tuple[Stream, ...]:
    """The streams of a settings file. SettingsError names the entry at fault."""
    found = _streams(entries, settings)
    dialects = (settings.models_dir / "webhooks.toml", *settings.dialect_overlays)
    found = _filled(found, "dialect", lambda: named(dialects, "dialect"), only="webhook")
    codes = (settings.models_dir / "sms_codes.toml",)
    return _filled(found, "codes", lambda: {i: e.get("codes", {}) for i, e in named(codes, "set").items()})


def mappings(files: Sequence[Path]) -> dict[str, dict[str, Any]]:
    """Named mappings, id -> entry: `description`, `channel`, and options of a stream. SettingsError names file and entry."""
    return {i: {k: v for k, v in entry.items() if k != "id"} for i, entry in named(files, "mapping").items()}


def named(files: Sequence[Path], kind: str) -> dict[str, dict[str, Any]]:
    """The [[kind]] entries of TOML files by their id, later files first. SettingsError names file and entry."""
    found: dict[str, dict[str, Any]] = {}
    for path in files:
        try:
            entries = tomllib.loads(path.read_text("utf-8")).get(kind, [])
        except OSError as error:
            raise SettingsError(f"{path} cannot be read ({error.strerror}); [kanal] names it") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SettingsError(f"{path} is not valid TOML: {error}") from error
        for number, entry in enumerate(entries if isinstance(entries, list) else [None], 1):
            if not isinstance(entry, dict) or not isinstance(entry.get("id"), str):
                raise SettingsError(f"{path}: write each {kind} as [[{kind}]] with an id; number {number} is not so")
            found[entry["id"]] = entry
    return found


def with_mapping(options: Mapping[str, Any], mapping: Mapping[str, Any]) -> dict[str, Any]:
    """A mapping's options with a stream's own over them: tables key by key, all else as a whole.

    `columns.KEY = false` takes a column away. What comes out is what a stream without a mapping would have
    said, so that landing's footers and marks of files read tell the whole truth.
    """
    merged = {key: value for key, value in mapping.items() if key not in ("description", "channel")}
    for key, value in options.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = {**merged[key], **value} if both else value
    if isinstance(columns := merged.get("columns"), dict):
        merged["columns"] = {name: column for name, column in columns.items() if column is not False}
        if isinstance(merged.get("optional"), list) and "optional" not in options:
            merged["optional"] = [name for name in merged["optional"] if name in merged["columns"]]
    return merged


def _streams(entries: list[dict[str, Any]], settings: Settings) -> tuple[Stream, ...]:
    path, root = settings.path, settings.path.parent
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise SettingsError(f"{path}: write each stream as [[stream]], in two brackets")
    streams, seen = [], set()
    named = any(isinstance(entry, dict) and "mapping" in entry for entry in entries)
    known = mappings(settings.mapping_files) if named else {}
    for number, entry in enumerate(entries, 1):
        where = f"[[stream]] number {number} in {path}"
        for key in ("channel", "name", "source"):
            if not isinstance(entry.get(key), str):
                raise SettingsError(f"{where}: `{key}` is missing or no text")
        for key in ("channel", "name"):
            # These become folder names, so nothing that could climb out or clash on any system.
            if not _NAME.fullmatch(entry[key]):
                raise SettingsError(f"{where}: {key} {entry[key]!r} may hold a-z, 0-9, _ . - only")
        if entry["source"] not in sources():
            raise SettingsError(f"{where}: source {entry['source']!r} is not one of {', '.join(sources())}")
        for key, value in entry.items():
            if key.endswith("_env") and (not isinstance(value, str) or not value):
                # Not the value: somebody may have written the secret itself.
                what = "must be the name of an environment variable, in quotes"
                raise SettingsError(f"{path}: {key} in [[stream]] number {number} {what}")
        options = {k: v for k, v in entry.items() if k not in ("channel", "name", "source")}
        if "mapping" in options:
            options = with_mapping(options, _mapping(options.pop("mapping"), entry["source"], known, where))
        stream = Stream(entry["channel"], entry["name"], entry["source"], options, str(root))
        if stream.key in seen:
            raise SettingsError(f"{where}: stream {stream.key} is there twice")
        seen.add(stream.key)
        streams.append(stream)
    return tuple(streams)


def _filled(
    streams: tuple[Stream, ...], option: str, known: Callable[[], Mapping[str, Any]], *, only: str | None = None
) -> tuple[Stream, ...]:
    """Streams with the thing itself where `option` holds its name. known: reads what there is, where it is asked for."""

    def asks(stream: Stream) -> bool:
        return isinstance(stream.options.get(option), str) and only in (None, stream.source)

    if not any(map(asks, streams)):
        return streams
    things, found = known(), []
    for stream in streams:
        if asks(stream):
            name = stream.options[option]
            if name not in things:
                raise SettingsError(f"{stream.key}: {option} {name!r} is not one of {', '.join(sorted(things))}")
            stream = replace(stream, options={**stream.options, option: things[name]})
        found.append(stream)
    return tuple(found)


def _mapping(name: Any, source: str, known: Mapping[str, dict[str, Any]], where: str) -> dict[str, Any]:
    if source not in _MAPPED:
        raise SettingsError(f"{where}: source {source!r} takes no mapping; only {' and '.join(_MAPPED)} do")
    if name not in known:
        raise SettingsError(f"{where}: mapping {name!r} is not one of {', '.join(sorted(known)) or 'none'}")
    return known[name]
