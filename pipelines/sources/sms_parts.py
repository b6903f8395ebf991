"""Rows of a Gammu inbox -> whole SMS: which rows are parts of one message, and what it says.

A long SMS comes in parts, one row each, told apart by the user data header (UDH) that every part
carries: a reference, how many parts there are, and which one this is. References come round again
(8 bits, and some phones always take the same), so parts belong together only where sender, recipient,
reference and count agree and the network stamped them within `_SPAN` of each other. Rows also come
late, out of order, twice and never. TextDecoded is not used: it holds the whole text in the first
row of a set, or each row's own, or half of it, depending on what Gammu had when it wrote.

Belongs here: all of that, pure. Not here: databases, files, Messages (sms.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from pipelines.contracts import short_hash
from pipelines.errors import RejectedMessage

# What Kanal reads of an inbox; schemas 17 and 18 both have it.
COLUMNS = ("ID", "ReceivingDateTime", "Text", "SenderNumber", "Coding", "UDH", "Class", "RecipientID", "Status")

_SPAN = timedelta(hours=1)
_SETS = 20  # newest sets of one sender and reference that a part is compared with
_CONCATENATED_8, _CONCATENATED_16, _PORTS = 0x00, 0x08, {0x04, 0x05}
_UNITS = re.compile(r"(?:[0-9A-Fa-f]{4})*")
_OCTETS = re.compile(r"(?:[0-9A-Fa-f]{2})*")
_BINARY = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


class Part(NamedTuple):
    """Place of one part in its message. reference: (bits of it, its number); number counts from 1."""

    reference: tuple[int, int]
    total: int
    number: int


@dataclass(slots=True)
class Row:
    """One row of the inbox.

    cells: all its columns, as read. at: when the network took it, aware UTC, None where the row does
    not say. part: None where it stands alone. mark: changes with what was said, by whom and when,
    and not with what Gammu or others write into the row later. landed: it is in a landed message.
    """

    id: int
    cells: Mapping[str, Any]
    at: datetime | None
    part: Part | None
    mark: str
    landed: bool = False


@dataclass(slots=True)
class Sms:
    """A message as far as it has come. parts: number -> row, in the order of their IDs."""

    total: int
    parts: dict[int, Row]

    @property
    def rows(self) -> list[Row]:
        """In reading order."""
        return [self.parts[number] for number in sorted(self.parts)]

    @property
    def first(self) -> Row:
        """The row that was written first; parts that come later do not change it."""
        return next(iter(self.parts.values()))

    @property
    def complete(self) -> bool:
        return len(self.parts) == self.total

    @property
    def landed(self) -> bool:
        return all(row.landed for row in self.parts.values())

    @property
    def at(self) -> datetime | None:
        """When the network took its first part."""
        return min((row.at for row in self.parts.values() if row.at), default=None)

    @property
    def newest(self) -> datetime | None:
        """When the network took its last part."""
        return max((row.at for row in self.parts.values() if row.at), default=None)


def row_of(cells: Mapping[str, Any], zone: ZoneInfo, *, landed: bool = False) -> Row:
    """A row with what its cells mean. Never raises: what cannot be read stands alone, `text_of` says why."""
    try:
        part = part_of(cell(cells, "UDH"))
    except ValueError:
        part = None
    number = cell(cells, "ID")
    said = ("SenderNumber", "ReceivingDateTime", "UDH", "Text")
    mark = short_hash(*(cell(cells, name) for name in said))
    time = _time(cell(cells, "ReceivingDateTime"), zone)
    return Row(int(number) if re.fullmatch(r"-?\d{1,18}", number) else 0, cells, time, part, mark, landed)


def cell(cells: Mapping[str, Any], name: str) -> str:
    """A cell as text, the same from a database and from a file; empty where it is missing."""
    value = cells.get(name)
    return "" if value is None else str(value).strip()


def _time(text: str, zone: ZoneInfo) -> datetime | None:
    """Gammu writes 0000-00-00 where the network gave no time."""
    try:
        time = datetime.fromisoformat(text)
        return (time if time.tzinfo else time.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


# --- parts ----------------------------------------------------------------------------------


def part_of(udh: str) -> Part | None:
    """What a UDH in hex says of concatenation; other elements of it are passed over.

    None where the SMS stands alone. Raises ValueError where that is no UDH.
    """
    part = None
    for kind, data in _elements(udh):
        if kind == _CONCATENATED_8 and len(data) == 3:
            found = Part((8, data[0]), data[1], data[2])
        elif kind == _CONCATENATED_16 and len(data) == 4:
            found = Part((16, data[0] << 8 | data[1]), data[2], data[3])
        else:
            continue
        if 1 <= found.number <= found.total:  # as the standard has it, else the element does not count
            part = found
    return part if part and part.total > 1 else None


def _elements(udh: str) -> Iterator[tuple[int, bytes]]:
    if not udh:
        return
    if not _OCTETS.fullmatch(udh):
        raise ValueError("not hexadecimal")
    data = bytes.fromhex(udh)
    if data[0] != len(data) - 1:
        raise ValueError("not as long as it says")
    place = 1
    while place < len(data):
        end = place + 2 + data[place + 1] if place + 1 < len(data) else len(data) + 1
        if end > len(data):
            raise ValueError("an element is cut off")
        yield data[place], data[place + 2 : end]
        place = end


def assemble(rows: Iterable[Row]) -> list[Sms]:
    """Rows in the order of their IDs -> messages, in the order of their first rows.

    A part that the network delivered twice counts once. The same rows give the same messages,
    and a row that comes behind them changes none but the one it completes.
    """
    found: list[Sms] = []
    sets: dict[tuple[Any, ...], list[Sms]] = {}
    for row in rows:
        part = row.part
        if part is None:
            found.append(Sms(1, {1: row}))
            continue
        who = (cell(row.cells, "RecipientID"), cell(row.cells, "SenderNumber"))
        same = sets.setdefault((*who, part.reference, part.total), [])
        near = [sms for sms in reversed(same[-_SETS:]) if _distance(sms, row) <= _SPAN]
        if any(part.number in sms.parts and sms.parts[part.number].mark == row.mark for sms in near):
            continue
        waiting = [sms for sms in near if part.number not in sms.parts]
        if waiting:
            home = min(waiting, key=lambda sms: _distance(sms, row))
            home.parts[part.number] = row
        else:
            same.append(Sms(part.total, {part.number: row}))
            found.append(same[-1])
    return found


def _distance(sms: Sms, row: Row) -> timedelta:
    if row.at is None or sms.at is None:
        return timedelta(0)
    return abs(sms.at - row.at)


def missing_of(parts: Sequence[Part | None]) -> list[int]:
    """Numbers of the parts that are not there."""
    if not parts or parts[0] is None:
        return []
    there = {part.number for part in parts if part}
    return [number for number in range(1, parts[0].total + 1) if number not in there]


def incomplete(total: int, missing: Sequence[int]) -> str:
    """What a clerk should know of a message with missing parts."""
    numbers = [str(n) for n in missing]
    if len(numbers) > 10:
        numbers = [*numbers[:10], "lainnya"]
    listed = numbers[0] if len(numbers) == 1 else f"{', '.join(numbers[:-1])} dan {numbers[-1]}"
    return (
        f"SMS panjang ini tidak lengkap: bagian {listed} dari {total} tidak pernah sampai. Bila bagian itu"
        " menyusul, laporannya dibuat otomatis; bila tidak, minta pengirim mengirim ulang."
    )


# --- text -----------------------------------------------------------------------------------


def text_of(rows: Sequence[Mapping[str, Any]]) -> str:
    """What the cells of a message's rows say, in reading order.

    Gammu writes UTF-16 units in hex for both text codings, and a character may begin in one part
    and end in the next, so parts are joined before they are read. Raises RejectedMessage.
    """
    texts = []
    for octets, run in groupby(rows, key=lambda cells: cell(cells, "Coding") == "8bit"):
        data = bytes.fromhex("".join(map(_hexadecimal, run)))
        texts.append(octet_text(data) if octets else data.decode("utf-16-be", "replace"))
    return "".join(texts)


def _hexadecimal(cells: Mapping[str, Any]) -> str:
    written, coding = cell(cells, "Text"), cell(cells, "Coding")
    try:
        kinds = {kind for kind, _ in _elements(cell(cells, "UDH"))}
    except ValueError:
        raise _unreadable("kepala SMS (kolom UDH) bukan kode yang utuh") from None
    if coding in ("Default_Compression", "Unicode_Compression"):
        raise _unreadable("isinya dimampatkan dan Gammu tidak menyimpannya")
    if coding not in ("Default_No_Compression", "Unicode_No_Compression", "8bit"):
        raise _unreadable("pengodeannya (kolom Coding) tidak dikenal")
    if not (_OCTETS if coding == "8bit" else _UNITS).fullmatch(written):
        raise _unreadable("isinya (kolom Text) bukan kode heksadesimal yang utuh")
    if coding == "8bit" and kinds & _PORTS:
        raise RejectedMessage("SMS ini berisi data untuk aplikasi ponsel, bukan tulisan. Tidak perlu ditindaklanjuti.")
    return written


def octet_text(data: bytes) -> str:
    """8-bit SMS are mostly data; those that are text say nothing of their alphabet."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    if _BINARY.search(text):
        raise RejectedMessage("SMS ini berisi data biner, bukan tulisan. Tidak perlu ditindaklanjuti.")
    return text


def _unreadable(why: str) -> RejectedMessage:
    return RejectedMessage(f"SMS ini tidak terbaca: {why}. Periksa barisnya di tabel inbox Gammu.")
