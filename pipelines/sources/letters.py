"""Letters on paper: scans in a folder, beside what somebody typed of them.

In: one Message for each letter. Its scans (PDF or photos, several pages) and its transcript belong
together by name: `2026-11-03_agenda-17.pdf`, `2026-11-03_agenda-17 hal 2.jpg` and
`2026-11-03_agenda-17.txt` are one letter. Instead of a text file, a row of the agenda may hold what
was typed; its column Berkas names the scan. Nothing here reads a picture: a scan without transcript lands,
waits in quarantine, and becomes a report when its transcript comes, as a new version of the same letter.

A transcript is a .txt or .md file. Lines at its top may say what the letter's head says (Pengirim: ..,
Perihal: .., Tanggal: 3 November 2026); then a blank line, then the words. Key: path and name without page. Version: a
hash of the scans' bytes and of what was typed. Reach: what lies in the folder, subfolders included;
nothing is moved, changed or deleted. A letter waits while one of its files is being written: too
young, or a PDF, JPEG or PNG without its end. Limits: 1,000,000 characters a transcript, 100 files a
letter, some 10,000 letters a folder: begin another each year. Cost: none.

Options in kanal.toml (mapping = "letter" gives the columns):
  inbox            folder of scans and transcripts
  agenda           which files in it are agendas, such as "agenda*.xlsx" (none)
  settle_seconds   a file younger than this is still being written (10)
  columns, dates, constants and what else describes a table: see export.py
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from fnmatch import fnmatch
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson

from pipelines.contracts import Attachment, Batch, Draft, Message, Stream, short_hash
from pipelines.errors import RejectedMessage, SettingsError, TransientError
from pipelines.sources import cells, tables
from pipelines.sources.headings import fold, loose
from pipelines.sources.mail_text import clean, text_of
from pipelines.sources.mapping import Plan, plan_of
from pipelines.sources.options import Check
from pipelines.sources.pages import payload_of

VERSION = "1"
PAYLOAD_TYPE = "application/json"

_BATCH, _FILES, _CHUNK, _REMEMBERED = 200, 100, 1 << 20, 2_000
_TYPED = (".txt", ".md")
_MAX_TYPED = 1_000_000
_STALLED = 600  # seconds after which a scan without its end will not get it any more
_PAGE = re.compile(r"(?:[\s_.-]*(?:hal|halaman|page|foto|lampiran)[\s_.-]*\d{1,3}|\s*\(\d{1,3}\))$", re.IGNORECASE)
_DAY = re.compile(r"(?<!\d)(\d{4}-\d{2}-\d{2})(?!\d)")
_NOT_OURS = {"thumbs.db", "desktop.ini", ".ds_store"}
_UNFINISHED = (".tmp", ".part", ".partial", ".crdownload", ".filepart", ".swp")
# type -> (how its bytes begin, how they end)
_SCANS = {
    "application/pdf": (b"%PDF-", b"%%EOF"), "image/jpeg": (b"\xff\xd8\xff", b"\xff\xd9"), "image/png": (b"\x89PNG", b"IEND"),
    "image/tiff": (b"II*\0", b""), "image/tiff;big": (b"MM\0*", b""), "image/webp": (b"RIFF", b""),
}  # fmt: skip
_UNTYPED = (
    "Surat ini belum diketik: ada pindaiannya, tetapi belum ada salinan teksnya. Ketik isinya sebagai berkas .txt dengan nama"
    " yang sama di folder yang sama, atau isi barisnya di agenda; setelah itu surat ini menjadi laporan."
)
_SAYS_NOTHING = "Salinan teks surat ini kosong. Ketik isinya, lalu simpan lagi dengan nama yang sama."
_UNKNOWN = "bukan PDF, foto, ataupun salinan teks (.txt). Simpan sebagai salah satu dari itu, dengan nama yang sama."


@dataclass(slots=True)
class _Letter:
    """key: path and name without page. cells: of its agenda row."""

    key: str
    scans: list[Path] = field(default_factory=list)
    typed: list[Path] = field(default_factory=list)
    cells: dict[str, str] = field(default_factory=dict)
    origin: str = ""

    @property
    def ref(self) -> str:
        return self.key if len(self.key) <= 200 else f"id:{short_hash(self.key)}"

    def mark(self) -> str:
        """Changes with every change of a file or of the row; spares hashing scans that are known."""
        stats = [(path.name, path.stat()) for path in (*self.scans, *self.typed)]
        parts = [f"{name}|{stat.st_size}|{stat.st_mtime_ns}" for name, stat in stats]
        return short_hash(*parts, orjson.dumps(self.cells, option=orjson.OPT_SORT_KEYS).decode())


def pull(stream: Stream, cursor: dict[str, Any] | None, *, now: Callable[[], datetime]) -> Iterator[Batch]:
    """Batches of letters that are new or changed, by name. Raises SettingsError, or TransientError where a file cannot be read."""
    plan = _plan(stream)
    folder = Path(stream.root, plan.inbox or "")
    if not folder.is_dir():
        raise SettingsError(f"{stream.key}: inbox {folder} is not a folder")
    known: dict[str, str] = dict((cursor or {}).get("letters", {}))
    messages: list[Message] = []
    present: set[str] = set()
    before = dict(known)
    try:
        letters, asides = _letters(folder, stream, plan, now())
        found: list[Message | _Letter] = [*asides, *letters]
        for item in found:
            ref = item.source_ref if isinstance(item, Message) else item.ref
            name, mark = short_hash(ref), item.version if isinstance(item, Message) else item.mark()
            present.add(name)
            version, _, last = known.get(name, "").partition("/")
            if last == mark:
                continue
            made = item if isinstance(item, Message) else _message(item, folder, now())
            if made is None:  # changed while it was read: the next pull sees it whole
                continue
            known.pop(name, None)
            known[name] = f"{made.version}/{mark}"
            if made.version == version:  # touched, and the same
                continue
            if len(messages) == _BATCH:
                yield Batch(messages, {"letters": before})
                messages = []
            messages.append(made)
            before = dict(known)
    except OSError as error:
        raise TransientError(
            f"{stream.key}: cannot read {error.filename} ({error.strerror}); check its rights"
        ) from error
    if messages or known != (cursor or {}).get("letters", {}):
        gone = [name for name in known if name not in present]
        for name in gone[: max(len(gone) - _REMEMBERED, 0)]:
            del known[name]
        yield Batch(messages, {"letters": known})


def check(stream: Stream) -> None:
    """SettingsError where the stream's options will not do."""
    if _plan(stream).inbox is None:
        raise SettingsError(f"{stream.key}: name the inbox, the folder of scans and transcripts")
    Check(stream.key, stream.options).text("agenda")


def decode(message: Message, stream: Stream) -> Draft:
    """A letter -> Draft. Raises RejectedMessage where nobody has typed it yet."""
    letter = payload_of(message)
    plan = _plan(stream)
    typed, row = letter.get("typed"), letter.get("row", {})
    if typed is None and not row:
        raise RejectedMessage(_UNTYPED)
    told = {fold(name): cell for name, cell in row.items()} | _head_and_words(typed or "", plan)
    draft = plan.draft(told)
    if not draft.text and not draft.title:
        raise RejectedMessage(_SAYS_NOTHING if typed is not None else _UNTYPED)
    if draft.occurred_at is None and (day := _DAY.search(letter["key"])):
        draft.occurred_at = cells.moment(day[1], formats=(), zone=plan.zone)
    scans: list[Attachment] = [
        {"type": s["type"], "name": s["name"], "size": s["size"], "sha256": s["sha256"]} for s in letter["scans"]
    ]
    named = {loose(scan["name"]) for scan in scans}
    draft.attachments = scans + [f for f in draft.attachments if loose(f.get("name", "")) not in named]
    return draft


def _plan(stream: Stream) -> Plan:
    described = {name: value for name, value in stream.options.items() if name != "agenda"}
    return plan_of(replace(stream, options=described))


def _head_and_words(typed: str, plan: Plan) -> dict[str, str]:
    """A transcript as cells: lines of its head by their names, and all the rest as the text."""
    names = plan.layout.hand.names if plan.layout.hand else {}
    text_column = plan.picks["text"].columns[0] if "text" in plan.picks else "isi"
    lines, found = typed.strip().split("\n"), {}
    while lines:
        name, colon, value = lines[0].partition(":")
        column = names.get(loose(name)) or (name if fold(name) in plan.layout.mapped else None)
        if not colon or column is None:
            break
        found[fold(column)] = value.strip()
        lines.pop(0)
    words = "\n".join(lines).strip()
    return {name: cell for name, cell in (found | ({text_column: words} if words else {})).items() if cell}


# --- which files are a letter ---------------------------------------------------------------


def _letters(folder: Path, stream: Stream, plan: Plan, now: datetime) -> tuple[list[_Letter], list[Message]]:
    """(letters all of whose files are whole, by name; messages of what is none)."""
    agenda = str(stream.options.get("agenda") or "")
    settle = Check(stream.key, stream.options).number("settle_seconds", 10, 0, 86_400)
    letters: dict[str, _Letter] = {}
    waiting: set[str] = set()
    asides: list[Message] = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        inner = path.relative_to(folder)
        lower = path.name.lower()
        hidden = any(part.startswith((".", "~$")) for part in inner.parts)
        if hidden or lower in _NOT_OURS or lower.endswith(_UNFINISHED):
            continue
        young = abs(now.timestamp() - path.stat().st_mtime) < settle
        if agenda and fnmatch(lower, agenda.lower()):
            if not young:
                _of_agenda(path, inner.as_posix(), plan, letters, asides, now)
            continue
        key = key_of(inner.as_posix())
        letter = letters.setdefault(key, _Letter(key))
        if lower.endswith(_TYPED):
            letter.typed.append(path)
        elif (kind := scan_type(path)) is not None:
            letter.scans.append(path)
            young = young or not _is_whole(path, kind, now)
        elif not young:
            asides.append(_unknown(path, inner.as_posix(), now))
        if young:
            waiting.add(key)
    whole = [x for key, x in sorted(letters.items()) if key not in waiting and (x.scans or x.typed or x.cells)]
    return whole, asides


def key_of(name: str) -> str:
    """2026/agenda-17 hal 2.jpg -> 2026/agenda-17"""
    stem = name[: -len(suffix)] if (suffix := Path(name).suffix) else name
    while (shorter := _PAGE.sub("", stem)) != stem and Path(shorter).name:
        stem = shorter
    return stem.strip().casefold()


def scan_type(path: Path) -> str | None:
    """Media type of a scan, by its first bytes; None where it is none."""
    with path.open("rb") as file:
        head = file.read(16)
    if head[4:8] == b"ftyp":
        return "image/heic"
    return next((kind.partition(";")[0] for kind, (start, _) in _SCANS.items() if head.startswith(start)), None)


def _is_whole(path: Path, kind: str, now: datetime) -> bool:
    """Whether a scan has its end, or is too old to get it any more."""
    end = _SCANS.get(kind, (b"", b""))[1]
    stat = path.stat()
    if now.timestamp() - stat.st_mtime > _STALLED:
        return True
    with path.open("rb") as file:
        file.seek(max(stat.st_size - 2_048, 0))
        return end in file.read()


def _of_agenda(
    path: Path, name: str, plan: Plan, letters: dict[str, _Letter], asides: list[Message], now: datetime
) -> None:
    """Rows of an agenda, each to the letter whose scan it names, or as a letter of its own."""
    with path.open("rb") as file:
        for item in tables.read(file, path.name, plan.layout):
            origin = f"{name}, {item.place}" if item.place else name
            if isinstance(item, tables.Aside) or item.problem:
                reason = item.reason if isinstance(item, tables.Aside) else item.problem
                cells_of = {} if isinstance(item, tables.Aside) else item.cells
                payload = orjson.dumps({"berkas": name, "sel": cells_of}, default=str)
                ref = short_hash(origin, reason or "", payload.decode())
                asides.append(Message(f"rusak:{ref}", ref, payload, PAYLOAD_TYPE, now, origin=origin, problem=reason))
                continue
            row = {fold(column): cell for column, cell in item.cells.items()}
            files = cells.files(plan.picks["attachments"].of(row)) if "attachments" in plan.picks else []
            inner = Path(name).parent.as_posix()
            key = (
                key_of(f"{'' if inner == '.' else inner + '/'}{files[0]['name']}")
                if files and "name" in files[0]
                else ""
            )
            key = key or f"agenda:{plan.identity(row)[0]}"
            letter = letters.setdefault(key, _Letter(key))
            letter.cells, letter.origin = item.cells, origin


def _unknown(path: Path, name: str, now: datetime) -> Message:
    digest = _digest(path)
    payload = orjson.dumps({"berkas": name, "sha256": digest})
    problem = f"Berkas {path.name[:80]} {_UNKNOWN}"
    return Message(f"berkas:{digest[:32]}", digest[:16], payload, PAYLOAD_TYPE, now, origin=name, problem=problem)


def _digest(path: Path) -> str:
    hashed = sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            hashed.update(chunk)
    return hashed.hexdigest()


def _message(letter: _Letter, folder: Path, now: datetime) -> Message | None:
    """A letter's Message; None where a file changed while it was read."""
    mark, paths = letter.mark(), [*letter.scans[:_FILES], *letter.typed]
    scans = [
        {"name": p.name, "type": scan_type(p) or "file", "size": p.stat().st_size, "sha256": _digest(p)}
        for p in letter.scans[:_FILES]
    ]
    said: dict[str, Any] = {}
    if letter.typed:
        said["typed"] = "\n\n".join(map(_words, letter.typed))
    if letter.cells:
        said["row"] = letter.cells
    if letter.mark() != mark:
        return None
    version = short_hash(
        *sorted(str(scan["sha256"]) for scan in scans), orjson.dumps(said, option=orjson.OPT_SORT_KEYS).decode()
    )
    payload = orjson.dumps({"key": letter.key, "scans": scans, **said})
    origin = paths[0].relative_to(folder).as_posix() if paths else letter.origin
    return Message(letter.ref, version, payload, PAYLOAD_TYPE, now, origin=origin)


def _words(path: Path) -> str:
    with path.open("rb") as file:
        return clean(text_of(file.read(_MAX_TYPED), None)).strip()
