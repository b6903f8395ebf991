"""Files of SMS: CSV exports of Gammu's inbox, and what its files backend writes, as rows of that inbox.

Of the files backend only inboxformat = detail: its plain formats say neither what part of a long SMS a
file is nor how its text is written. Belongs here: what a file holds, pure. Not here: which are new (sms.py).
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Any, NamedTuple

from pipelines.sources.sms_parts import COLUMNS

Cells = Mapping[str, Any]

_NAME = re.compile(r"IN(\d{8})_(\d{6})_(\d\d)_.*\.(?:txt|bin|smsbackup)", re.DOTALL)
_SECTION = re.compile(r"\[SMSBackup(\d+)\]")
_UNITS = re.compile(r"(?:[0-9A-Fa-f]{4})+")


class NotAnInbox(Exception):  # noqa: N818 - an answer: the file is set aside, the others are read
    """Why a file holds no SMS we can read, in words for a clerk."""


class Kind(NamedTuple):
    """pattern of the files' names; rows: (name, bytes) -> rows, or NotAnInbox; advice for a clerk; media type."""

    pattern: str
    rows: Callable[[str, bytes], Iterable[Cells]]
    advice: str
    media_type: str


def _table(name: str, data: bytes) -> Iterable[Cells]:
    """The rows of an export; cells that a cut-off line lacks are None."""
    text = data.decode("utf-8-sig", "replace")
    header = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=";" if header.count(";") > header.count(",") else ",")
    try:
        lines = [line for line in reader if line]
    except csv.Error:
        raise NotAnInbox("bukan CSV yang utuh") from None
    names = [name.strip() for name in lines[0]] if lines else []
    if lacking := [name for name in COLUMNS if name not in names]:
        raise NotAnInbox(f"tidak punya kolom {', '.join(lacking)}")
    return [dict(zip(names, [*line, *[None] * len(names)], strict=False)) for line in lines[1:]]


def _backup(name: str, data: bytes) -> Iterable[Cells]:
    """The SMS of one file of the files backend, as it stands and as the inbox would have it.

    Its name makes the ID: local date, time, a number within that second; then the section's number.
    """
    named = _NAME.fullmatch(PurePath(name).name)
    sections: list[tuple[str, dict[str, str]]] = []
    for line in data.decode("utf-8", "replace").splitlines():
        if head := _SECTION.fullmatch(line.strip()):
            sections.append((head[1], {}))
        elif sections and "=" in line and not line.startswith(";"):  # which quotes the text
            key, _, value = line.partition("=")
            sections[-1][1][key.strip()] = value.strip()
    if not named or not sections or int(sections[-1][0]) > 99:
        raise NotAnInbox("bukan SMS dari Gammu dengan inboxformat = detail")
    return [_cells("".join(named.groups()) + f"{int(number):02d}", section) for number, section in sections]


def _cells(own: str, section: Mapping[str, str]) -> Cells:
    sender, texts = section.get("NumberUnicode", ""), sorted(key for key in section if re.fullmatch(r"Text\d+", key))
    if _UNITS.fullmatch(sender):
        sender = bytes.fromhex(sender).decode("utf-16-be", "replace")
    else:
        sender = section.get("Number", "").strip('"')
    return {key: value for key, value in section.items() if key not in texts} | {
        "ID": own,
        "ReceivingDateTime": _time(section.get("DateTime", "")),
        "Text": "".join(section[key] for key in texts),
        "SenderNumber": sender,
        "Coding": section.get("Coding", ""),
        "UDH": section.get("UDH", ""),
        "Class": section.get("Class", "-1"),
        "RecipientID": "",
        "Status": "-1",
    }


def _time(written: str) -> str:
    """20261006T013000Z, which is UTC, as the inbox has times."""
    try:
        return datetime.strptime(written.removesuffix("Z"), "%Y%m%dT%H%M%S").replace(tzinfo=UTC).isoformat()
    except ValueError:
        return ""


KINDS = {
    "csv_dir": Kind(
        "*.csv", _table, "Ekspor ulang tabel inbox Gammu sebagai CSV, dengan nama kolom di baris pertama.", "text/csv"
    ),
    "detail_dir": Kind("IN*", _backup, "Periksa berkasnya dan setelan inboxformat gateway SMS.", "text/plain"),
}
