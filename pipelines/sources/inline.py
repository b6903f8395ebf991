"""Files that came inside a webhook's JSON, in base64 -> bytes to keep, and their hashes in their place.

A dialect says which field of its media holds such bytes (`data`). That field always lands as what we put there,
never as it was sent, so nobody can claim a file that is not theirs. Pure.

Belongs here: taking out and telling of such files. Not here: other media, which only have an address (webhook).
"""

from __future__ import annotations

import binascii
import json
from base64 import b64decode
from collections.abc import Iterator
from typing import Any

from pipelines.contracts import Attachment
from pipelines.sources.attached import described
from pipelines.sources.dialects import Dialect, Item, all_of

MOST = 20  # files of one message that are kept
AT_ONCE = 200  # of one request: each is written durably before its sender is answered


def taken(dialect: Dialect, item: Item, most: int = MOST) -> tuple[bytes, ...]:
    """The files in an item, at most that many, in which their description takes the place of their bytes.

    ValueError, in words for the sender, where one is no base64 or there are too many; the item then holds none.
    """
    files: list[bytes] = []
    wrong = ""
    for holder, key in _places(dialect, item):
        value, holder[key] = holder[key], None
        data = b""
        try:
            if value is not None:
                data = b64decode(_text(value), validate=True)
        except (ValueError, binascii.Error):
            wrong = wrong or f"{key} of a file is no base64"
        if data:
            files.append(data)
            holder[key] = described(data, claimed=str(holder.get("type") or ""))
    if len(files) > most:
        wrong = f"a message may bring {MOST} files, a request {AT_ONCE}"
    if wrong:
        for holder, key in _places(dialect, item):
            holder[key] = None
        raise ValueError(wrong)
    return tuple(files)


def told(base: Any, key: str) -> Attachment | None:
    """The file that `taken` left a description of; None where there is none."""
    found = base.get(key) if isinstance(base, dict) and key else None
    if not isinstance(found, dict) or not isinstance(found.get("type"), str):
        return None
    file = Attachment(type=found["type"])
    if isinstance(found.get("size"), int):
        file["size"] = found["size"]
    if isinstance(found.get("sha256"), str):
        file["sha256"] = found["sha256"]
    if isinstance(found.get("phash"), str):
        file["phash"] = found["phash"]
    return file


def said(dialect: Dialect, item: Item) -> str:
    """An item as text that its version is made of: without how its pictures look, which is our word and not the
    sender's, so that a message that comes again is the same whichever release sees it."""
    looks = [
        (file, file.pop("phash"))
        for holder, key in _places(dialect, item)
        if isinstance(file := holder[key], dict) and "phash" in file
    ]
    text = json.dumps(item.value, sort_keys=True)
    for file, phash in looks:
        file["phash"] = phash
    return text


def _places(dialect: Dialect, item: Item) -> Iterator[tuple[dict[str, Any], str]]:
    """(object, name of its field) wherever a file's bytes may stand."""
    for spec in dialect.table.get("media", ()):
        if key := spec.get("data"):
            for base in all_of(item, spec["at"]) if "at" in spec else [item.value]:
                if isinstance(base, dict) and key in base:
                    yield base, key


def _text(value: Any) -> str:
    """base64 without line breaks and without what a data address begins with."""
    if not isinstance(value, str):
        raise ValueError("no text")  # noqa: TRY004 - as for a text that is none of base64
    head, comma, rest = value.partition(",")
    return "".join((rest if comma and head.startswith("data:") else value).split())
