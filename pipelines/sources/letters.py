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
young, or a PDF, JPEG or PNG without its end; and every letter waits while an agenda is. Pages come in the order people
count them. One file that cannot be read keeps its own letter only. Limits: 1,000,000 characters a transcript, 100 files a
letter, 25 MB a scan and 50 MB a letter that are kept (more is named but not kept), some 10,000 letters a
folder: begin another each year. Cost: none.

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
from pipelines.sources.attached import MAX_BYTES
from pipelines.sources.folder import File, files_in, shown
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
_MAX_MEDIA = 50_000_000  # bytes of scans of one letter, and of one batch
_STALLED = 600  # seconds after which a scan without its end will not get it any more
_PAGE = re.compile(r"(?:[\s_.-]*(?:hal|halaman|page|foto|lampiran)[\s_.-]*\d{1,3}|\s*\(\d{1,3}\))$", re.IGNORECASE)
_DAY = re.compile(r"(?<!\d)(\d{4}-\d{2}-\d{2})(?!\d)")
_NOT_OURS = {"thumbs.db", "desktop.ini", ".ds_store"}
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
_TWICE = (
    "Pindaian, atau nomor agenda dan tanggal, di baris ini sudah disebut baris lain yang isinya berbeda. Beri setiap surat"
    " barisnya dan pindaiannya sendiri, lalu simpan lagi."
)
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
    """Batches of letters that are new or changed, by name.

    Raises SettingsError or, when all else is read, TransientError for files that could not be.
    """
    plan = _plan(stream)
    folder = Path(stream.root, plan.inbox or "")
    if not folder.is_dir():
        raise SettingsError(f"{stream.key}: inbox {folder} is not a folder")
    known: dict[str, str] = dict((cursor or {}).get("letters", {}))
    messages: list[Message] = []
    present: set[str] = set()
    before, size = dict(known), 0
    letters, asides, missed = _letters(folder, stream, plan, now())
    found: list[Message | _Letter] = [*asides, *letters]
    for item in found:
        ref = item.source_ref if isinstance(item, Message) else item.ref
        name = short_hash(ref)
        present.add(name)
        version, _, last = known.get(name, "").partition("/")
        try:
            mark = item.version if isinstance(item, Message) else item.mark()
            if last == mark:
                continue
            made = item if isinstance(item, Message) else _message(item, folder, now())
        except OSError as error:
            missed += _why(error)
            continue
        if made is None:  # changed while it was read: the next pull sees it whole
            continue
        known.pop(name, None)
        known[name] = f"{made.version}/{mark}"
        if made.version == version:  # touched, and the same
            continue
        size += sum(map(len, made.media))
        if messages and (len(messages) == _BATCH or size > _MAX_MEDIA):
            yield Batch(messages, {"letters": before})
            messages, size = [], sum(map(len, made.media))
        messages.append(made)
        before = dict(known)
    if messages or known != (cursor or {}).get("letters", {}):
        gone = [name for name in known if name not in present]
        for name in gone[: max(len(gone) - _REMEMBERED, 0)]:
            del known[name]
        yield Batch(messages, {"letters": known})
    if missed:
        raise TransientError(f"{stream.key}: cannot read {', '.join(missed)}; check its rights and the disk")


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
    scans: list[Attachment] = letter["scans"]
    named = {loose(scan["name"]) for scan in scans}
    draft.attachments = [*scans] + [f for f in draft.attachments if loose(f.get("name", "")) not in named]
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


def _letters(folder: Path, stream: Stream, plan: Plan, now: datetime) -> tuple[list[_Letter], list[Message], list[str]]:
    """(letters all of whose files are whole, by name; messages of what is none; what could not be read).

    No letter is taken while an agenda is being written or cannot be read: it would come without its row.
    """
    agenda = str(stream.options.get("agenda") or "").lower()
    settle = Check(stream.key, stream.options).number("settle_seconds", 10, 0, 86_400)
    letters: dict[str, _Letter] = {}
    waiting: set[str] = set()
    asides: list[Message] = []
    files, missed = files_in(folder)
    agendas = [file for file in files if agenda and fnmatch(file.path.name.lower(), agenda)]
    try:
        for file in agendas:
            if _is_young(file.path, settle, now):
                return [], [], missed
            _of_agenda(file, plan, letters, asides, now)
    except OSError as error:
        return [], [], missed + _why(error)
    for file in files:
        if file in agendas or file.path.name.lower() in _NOT_OURS:
            continue
        key = key_of(file.name)
        letter = letters.setdefault(key, _Letter(key))
        try:
            whole = _sort_in(letter, file, asides, settle, now)
        except OSError as error:
            missed += _why(error)
            whole = False
        if not whole:
            waiting.add(key)
    found = [x for key, x in sorted(letters.items()) if key not in waiting and (x.scans or x.typed or x.cells)]
    return found, asides, missed


def _sort_in(letter: _Letter, file: File, asides: list[Message], settle: float, now: datetime) -> bool:
    """Put a file where it belongs in its letter; False where it is still being written."""
    young = _is_young(file.path, settle, now)
    if file.name.lower().endswith(_TYPED):
        with file.path.open("rb"):  # a letter whose page nobody may read is not taken without it
            letter.typed.append(file.path)
    elif (kind := scan_type(file.path)) is not None:
        letter.scans.append(file.path)
        return not young and _is_whole(file.path, kind, now)
    elif not young:
        asides.append(_unknown(file, now))
    return not young


def _is_young(path: Path, settle: float, now: datetime) -> bool:
    return abs(now.timestamp() - path.stat().st_mtime) < settle


def _why(error: OSError) -> list[str]:
    """What to tell of a file that cannot be read; nothing of one that was taken away since it was listed."""
    return [] if isinstance(error, FileNotFoundError) else [f"{shown(Path(error.filename).name)} ({error.strerror})"]


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
    if abs(now.timestamp() - stat.st_mtime) > _STALLED:
        return True
    with path.open("rb") as file:
        file.seek(max(stat.st_size - 2_048, 0))
        return end in file.read()


def _of_agenda(file: File, plan: Plan, letters: dict[str, _Letter], asides: list[Message], now: datetime) -> None:
    """Rows of an agenda, each to the letter whose scan it names, or as a letter of its own."""
    with file.path.open("rb") as opened:
        for item in tables.read(opened, file.name, plan.layout):
            origin = f"{file.name}, {item.place}" if item.place else file.name
            cells_of = {} if isinstance(item, tables.Aside) else item.cells
            reason = item.reason if isinstance(item, tables.Aside) else item.problem
            if not reason:
                key = _key_of_row(cells_of, file, plan)
                letter = letters.setdefault(key, _Letter(key))
                if not letter.cells or letter.cells == cells_of:
                    letter.cells, letter.origin = cells_of, origin
                    continue
                reason = _TWICE
            payload = orjson.dumps({"berkas": file.name, "sel": cells_of}, default=str)
            ref = short_hash(origin, reason, payload.decode())
            asides.append(Message(f"rusak:{ref}", ref, payload, PAYLOAD_TYPE, now, origin=origin, problem=reason))


def _key_of_row(cells_of: dict[str, str], agenda: File, plan: Plan) -> str:
    """That of the scan beside the agenda which a row names, else of the row itself."""
    row = {fold(column): cell for column, cell in cells_of.items()}
    names = plan.file_names(row) if "attachments" in plan.picks else []
    inner = Path(agenda.name).parent
    return (key_of((inner / names[0]).as_posix()) if names else "") or f"agenda:{plan.identity(row)[0]}"


def _unknown(file: File, now: datetime) -> Message:
    digest = _digest(file.path)
    payload = orjson.dumps({"berkas": file.name, "sha256": digest})
    problem = f"Berkas {Path(file.name).name[:80]} {_UNKNOWN}"
    return Message(f"berkas:{digest[:32]}", digest[:16], payload, PAYLOAD_TYPE, now, origin=file.name, problem=problem)


def _digest(path: Path) -> str:
    hashed = sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            hashed.update(chunk)
    return hashed.hexdigest()


def _message(letter: _Letter, folder: Path, now: datetime) -> Message | None:
    """A letter's Message; None where a file changed while it was read."""
    mark, paths, room = letter.mark(), [*letter.scans[:_FILES], *letter.typed], _MAX_MEDIA
    scans, media, hashes = [], [], []
    for path in letter.scans[:_FILES]:
        scan: dict[str, Any] = {
            "name": shown(path.name),
            "type": scan_type(path) or "file",
            "size": path.stat().st_size,
        }
        hashes.append(_digest(path))
        if 0 < scan["size"] <= min(MAX_BYTES, room):  # a larger one is named but not kept
            room -= scan["size"]
            scan["sha256"] = hashes[-1]  # and no phash: letters on one form look alike
            media.append(path.read_bytes())
        scans.append(scan)
    said: dict[str, Any] = {}
    if letter.typed:
        said["typed"] = "\n\n".join(map(_words, letter.typed))
    if letter.cells:
        said["row"] = letter.cells
    if letter.mark() != mark:
        return None
    version = short_hash(*sorted(hashes), orjson.dumps(said, option=orjson.OPT_SORT_KEYS).decode())
    payload = orjson.dumps({"key": letter.key, "scans": scans, **said})
    origin = shown(paths[0].relative_to(folder).as_posix()) if paths else letter.origin
    return Message(letter.ref, version, payload, PAYLOAD_TYPE, now, origin=origin, media=tuple(media))


def _words(path: Path) -> str:
    with path.open("rb") as file:
        return clean(text_of(file.read(_MAX_TYPED), None)).strip()
