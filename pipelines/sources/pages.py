"""What API sources share besides the wire: recorded pages on disk, and wary reading of JSON.

A recorded page is one answer of the API as it came, in a file. A folder of them (`pages_dir`) is
read instead of the API: for samples, replays and pages somebody else fetched. Files are known by
their content, so renaming one changes nothing, and they are never written.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any

from pipelines.contracts import Batch, Message, Stream
from pipelines.errors import RejectedMessage, SettingsError, TransientError

_BROKEN = object()

# (page, path relative to the folder, fetched_at) -> its messages
Reader = Callable[[Any, PurePosixPath, datetime], list[Message]]


def replay(stream: Stream, cursor: dict[str, Any], now: Callable[[], datetime], read: Reader) -> Iterator[Batch]:
    """A Batch for each page of `pages_dir` not yet read, in the order of their names.

    The cursor gains `done`, the content hashes read. A file that is no JSON becomes one Message
    with `problem`. Raises SettingsError where the folder is missing.
    """
    folder = Path(stream.root, str(stream.options["pages_dir"]))
    if not folder.is_dir():
        raise SettingsError(f"{stream.key}: pages_dir {folder} is not a folder")
    done = set(cursor.get("done", ()))
    for path in sorted(folder.rglob("*.json"), key=lambda p: p.relative_to(folder).as_posix()):
        try:
            data = path.read_bytes()
        except OSError as error:
            raise TransientError(f"{stream.key}: cannot read {path} ({error.strerror})") from error
        digest = sha256(data).hexdigest()[:32]
        if digest in done:
            continue
        done.add(digest)
        name, fetched = PurePosixPath(path.relative_to(folder).as_posix()), now()
        try:
            page = json.loads(data)
        except (ValueError, RecursionError):
            page = _BROKEN
        try:
            messages = [] if page is _BROKEN else read(page, name, fetched)
        except RecursionError:  # nested so deep that it can be read but not written again
            page = _BROKEN
        if page is _BROKEN:
            messages = [_unreadable(data, digest, name, fetched)]
        yield Batch(messages, {**cursor, "done": sorted(done)})


def _unreadable(data: bytes, digest: str, name: PurePosixPath, fetched: datetime) -> Message:
    problem = f"Berkas {name.name} bukan JSON yang utuh. Rekam ulang halaman itu lalu taruh di folder yang sama."
    return Message(
        f"page:{digest}", digest, data, "application/octet-stream", fetched, origin=str(name), problem=problem
    )


def objects_of(page: Any) -> list[dict[str, Any]]:
    """The items of an answer: a list or one under `data`, a bare object, or objects by id."""
    if isinstance(page, list):
        return records(page)
    page = record(page)
    if "data" in page:
        return records(page["data"]) if isinstance(page["data"], list) else records([page["data"]])
    if "id" in page or "message" in page or "text" in page:
        return [page]
    # ?ids=1,2 answers {"1": {...}, "2": {...}}; {"meta": ...} and {"errors": ...} hold no items.
    return [v for k, v in page.items() if isinstance(v, dict) and v.get("id") == k]


def record(value: Any) -> dict[str, Any]:
    """`value` if it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def records(value: Any) -> list[dict[str, Any]]:
    """The JSON objects in `value` if it is a list, else none."""
    return [v for v in value if isinstance(v, dict)] if isinstance(value, list) else []


def words(value: Any) -> list[str]:
    """The non-empty strings and whole numbers in `value` if it is a list, as text."""
    return [w for w in map(word, value) if w] if isinstance(value, list) else []


def word(value: Any) -> str | None:
    """A non-empty string, or a whole number as text (ids come as either); else None.

    Half a surrogate pair, which JSON can spell and UTF-8 cannot, becomes U+FFFD.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not value.strip():
        return None
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def number(value: Any) -> float | None:
    """A finite number, else None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or abs(value) > 1e300:
        return None
    return float(value) if math.isfinite(value) else None


def point(lat: Any, lon: Any) -> tuple[float, float] | None:
    """(lat, lon) in WGS84 degrees, None where they are no place on earth, or 0, 0."""
    lat, lon = number(lat), number(lon)
    if lat is None or lon is None or abs(lat) > 90 or abs(lon) > 180 or (lat == 0 and lon == 0):
        return None
    return lat, lon


def moment(value: Any) -> datetime | None:
    """ISO 8601 (2021-08-10T18:45:03+0000, ...03.000Z) -> aware UTC; None where it is no time."""
    if not isinstance(value, str):
        return None
    try:
        time = datetime.fromisoformat(value.strip())
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def to_bytes(value: Any) -> bytes:
    """JSON in UTF-8, keys in the order they came."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:  # half a surrogate pair: only an escape can hold it
        return json.dumps(value, separators=(",", ":")).encode()


def payload_of(message: Message) -> dict[str, Any]:
    """The payload's JSON object. Raises RejectedMessage where pull or JSON says it is unreadable."""
    if message.problem:
        raise RejectedMessage(message.problem, stage="pull")
    try:
        value = json.loads(message.payload)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise RejectedMessage("Isi pesan rusak dan tidak bisa dibaca. Ambil ulang dari kanal asalnya.")
    return value
