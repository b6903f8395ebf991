"""A dialect of webhooks: where in a request the messages lie, and which of their fields means what.

A dialect is a table of models/webhooks.toml, which explains every key; settings put it into the
stream's options, so that it lands with each batch and decoding needs no file.

Belongs here: reading that table, its paths and conditions, pure. Not here: HTTP and signatures
(intake), Messages and Drafts (webhook).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from pipelines.contracts import Stream
from pipelines.errors import SettingsError
from pipelines.sources.pages import word

_KEYS = {
    "id", "name", "methods", "encoding", "items", "strict", "required", "skip", "own", "fields", "time", "sender_level",
    "sender_is", "author_prefix", "extra", "media", "octets", "reader", "signature", "challenge", "answer",
}  # fmt: skip
FIELDS = {
    "id", "text", "title", "time", "sender", "name", "phone", "email", "level", "lat", "lon", "accuracy_m", "address",
    "kelurahan", "kecamatan", "kota", "category", "agency", "conversation", "url", "external_ref", "private", "udh",
    "post", "includes",
}  # fmt: skip
_MEDIA = {"at", "kind", "url", "name", "type", "size", "id", "by_id", "data"}
LEVELS = ("verified", "claimed", "anonymous")
_SIGNED = {
    "hmac": {"kind", "header", "prefix", "algorithm", "digest", "over", "timestamp", "window"},
    "token": {"kind", "param", "header", "prefix"},
}
_MOST_KNOWN = 64
_known: dict[int, Dialect] = {}  # by the identity of the table, which each holds: messages come by the thousand
_STEP = re.compile(r"([^.\[\]]+)(?:\[(?:([^=\]]+)=(@?)([^\]]+))?(\])|)")


class Step(NamedTuple):
    """One part of a path. each: of a list, the elements whose `key` is `value`, or all."""

    name: str
    each: bool
    key: str
    by_item: bool
    value: str


class Path(NamedTuple):
    ups: int
    steps: tuple[Step, ...]


class Item(NamedTuple):
    """One message of a body. around: the objects that hold it, outermost first; trail: its place in each list."""

    value: Any
    around: tuple[Any, ...]
    path: Path
    trail: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Dialect:
    """A checked table. Lists of paths stand where the table has one path or several."""

    id: str
    methods: tuple[str, ...]
    encoding: str
    items: tuple[Path, ...]
    fields: Mapping[str, tuple[str, ...]]
    table: Mapping[str, Any]

    @property
    def strict(self) -> bool:
        return bool(self.table.get("strict"))

    @property
    def inlines(self) -> bool:
        """Whether its messages may hold files themselves."""
        return any("data" in media for media in self.table.get("media", ()))

    def items_of(self, body: Any) -> list[Item]:
        """The messages in a body, in its order; the body itself where the dialect has no list."""
        if not self.items:
            return [Item(body, (), Path(0, ()), ())]
        return [
            Item(v, around, path, trail) for path in self.items for v, around, trail in _walk(body, path.steps, body)
        ]

    def get(self, item: Item, field: str) -> Any:
        """The first filled value of a field; None where there is none."""
        return first_of(item, self.fields.get(field, ()))

    def skips(self, item: Item) -> bool:
        return any(_holds(item, rule) for rule in self.table.get("skip", ()))

    def is_own(self, item: Item) -> bool:
        return any(_holds(item, rule) for rule in self.table.get("own", ()))

    def alone(self, body: Any, item: Item) -> Any:
        """The body with this item as its only one: what lands where there were several."""
        others = [path.steps for path in self.items if path != item.path]
        return _pruned(body, item.path.steps, list(item.trail), others) if self.items else body


def of_stream(stream: Stream) -> Dialect:
    """The dialect of a stream. SettingsError where it names none or the table is wrong."""
    table = stream.options.get("dialect")
    if not isinstance(table, Mapping):
        raise SettingsError(f"{stream.key}: `dialect` must name an entry of models/webhooks.toml")
    where = f"{stream.key}: dialect {table.get('id', '')!r}"
    known = _known.get(id(table))
    if known is not None and known.table is table:
        return known
    try:
        found = _checked(table)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SettingsError(f"{where} is wrong: {error}; models/webhooks.toml explains the keys") from error
    if len(_known) >= _MOST_KNOWN:
        _known.clear()
    _known[id(table)] = found
    return found


def _checked(table: Mapping[str, Any]) -> Dialect:
    _only(table, _KEYS, "the dialect")
    _only(table["fields"], FIELDS, "fields")
    for rule in (*table.get("skip", ()), *table.get("own", ())):
        _only(rule, {"at", "in", "not_in", "same"}, "a condition")
        parsed(rule["at"])
    for media in table.get("media", ()):
        _only(media, _MEDIA, "media")
    if table["encoding"] not in ("query", "form", "json"):
        raise ValueError(f"encoding {table['encoding']!r} is none of query, form, json")
    if not set(table["methods"]) <= {"GET", "POST"} or not table["methods"]:
        raise ValueError("methods are GET and POST")
    if table.get("time", "iso") not in ("unix", "iso"):
        raise ValueError("time is neither unix nor iso")
    if table.get("sender_level", "claimed") not in LEVELS:
        raise ValueError(f"sender_level is none of {', '.join(LEVELS)}")
    if table.get("reader") not in (None, "x_post"):
        raise ValueError("reader is not x_post")
    for media in table.get("media", ()):
        if "data" in media and (table["encoding"] != "json" or table.get("reader") or "." in media["data"]):
            raise ValueError("data of media is one field's name, in a dialect of JSON")
        if "by_id" in media and not re.fullmatch(r"https://[^{}]+\{id\}[^{}]*", media["by_id"]):
            raise ValueError("by_id of media is an https address that holds {id} once")
    if not table["signature"]:
        raise ValueError("signature names no way of proof")
    for way in table["signature"]:
        _only(way, _SIGNED[way["kind"]], "a signature")
    fields = {name: _list(value) for name, value in table["fields"].items()}
    paths = [*table.get("extra", {}).values(), *(p for found in fields.values() for p in found)]
    for path in paths:
        parsed(path)
    return Dialect(
        id=str(table["id"]),
        methods=tuple(table["methods"]),
        encoding=table["encoding"],
        items=tuple(parsed(path) for path in _list(table.get("items", []))),
        fields=fields,
        table=table,
    )


def _only(table: Mapping[str, Any], known: set[str], what: str) -> None:
    if unknown := sorted(set(table) - known):
        raise ValueError(f"{what} has unknown key {unknown[0]!r}")


def _list(value: Any) -> tuple[str, ...]:
    found = (value,) if isinstance(value, str) else tuple(value)
    if not all(isinstance(path, str) for path in found):
        raise TypeError("a path is a text")
    return found


# --- paths ----------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def parsed(path: str) -> Path:
    """A path of the table. ValueError where it is none."""
    rest = path.lstrip("^")
    steps: list[Step] = []
    place = 0
    while place < len(rest):
        found = _STEP.match(rest, place)
        if not found:
            raise ValueError(f"{path!r} is no path")
        name, key, by_item, value, each = found.groups()
        steps.append(Step(name, bool(each), key or "", bool(by_item), value or ""))
        place = found.end()
        if place < len(rest):
            if rest[place] != ".":
                raise ValueError(f"{path!r} is no path")
            place += 1
    return Path(len(path) - len(rest), tuple(steps))


def all_of(item: Item, path: str) -> list[Any]:
    """Every value at a path, seen from the item."""
    ups, steps = parsed(path)
    if ups > len(item.around):
        return []
    start = item.around[-ups] if ups else item.value
    return [value for value, _, _ in _walk(start, steps, item.value)]


def first_of(item: Item, paths: Sequence[str]) -> Any:
    """The first value that is there and no empty text."""
    return next((v for path in paths for v in all_of(item, path) if v is not None and v != "" and v != b""), None)


def _walk(
    value: Any, steps: Sequence[Step], item: Any, around: tuple[Any, ...] = (), trail: tuple[int, ...] = ()
) -> Iterator[tuple[Any, tuple[Any, ...], tuple[int, ...]]]:
    if not steps:
        yield value, around, trail
        return
    step = steps[0]
    if not isinstance(value, dict) or step.name not in value:
        # The names of form fields may hold dots themselves.
        whole = ".".join(s.name for s in steps)
        if len(steps) > 1 and isinstance(value, dict) and whole in value:
            yield value[whole], (*around, value), trail
        return
    inner, outside = value[step.name], (*around, value)
    if not step.each:
        yield from _walk(inner, steps[1:], item, outside, trail)
        return
    wanted = step.value
    if step.by_item:
        wanted = plain(next((v for v, _, _ in _walk(item, parsed(step.value).steps, item)), None)) or ""
    for place, element in enumerate(inner if isinstance(inner, list) else ()):
        if not step.key or (isinstance(element, dict) and plain(element.get(step.key)) == wanted):
            yield from _walk(element, steps[1:], item, outside, (*trail, place))


def plain(value: Any) -> str | None:
    """A text, number or truth value as text; bytes as UTF-8."""
    if isinstance(value, bytes):
        return word(value.decode("utf-8", "replace"))
    if isinstance(value, bool):
        return str(value).lower()
    return word(str(value)) if isinstance(value, float) else word(value)


def _holds(item: Item, rule: Mapping[str, Any]) -> bool:
    found = first_of(item, [rule["at"]])
    if found is None:
        return False
    if "same" in rule:
        return plain(found) == plain(first_of(item, [rule["same"]]))
    if "in" in rule:
        return plain(found) in rule["in"]
    return plain(found) not in rule.get("not_in", ())


def _pruned(node: Any, steps: Sequence[Step], trail: list[int], others: list[tuple[Step, ...]]) -> Any:
    if not steps:
        return node
    name, each = steps[0].name, steps[0].each
    aside = {o[0].name for o in others if o} - {name}
    copy = {key: value for key, value in node.items() if key not in aside}
    deeper = [o[1:] for o in others if o and o[0].name == name]
    inner = node[name][trail[0]] if each else node[name]
    rest = _pruned(inner, steps[1:], trail[1:] if each else trail, deeper)
    return copy | {name: [rest] if each else rest}
