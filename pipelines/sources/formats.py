"""Bytes of a file -> which format it is, and its text.

What a file is, its content says; its ending only tells text from text.
"""

from __future__ import annotations

import codecs
import io
import re
from pathlib import PurePosixPath
from typing import IO
from zipfile import ZipFile

from pipelines.sources.workbook import ZIP_ODD

FORMATS = ("csv", "json", "jsonl")  # what may be declared: the others cannot be mistaken
ENCODINGS = ("utf-8", "cp1252", "latin-1", "utf-16", "utf-16-le", "utf-16-be")
_HEAD = 8192
# What may lie in a ZIP beside the tables that name it.
NO_TABLE = re.compile(
    r"\.(?:jpe?g|jfif|png|gif|webp|hei[cf]|avif|bmp|tiff?|svg|mp4|m4v|mov|3gp|avi|webm|mkv|mp3|m4a|aac|amr|og[ag]|opus|wav"
    r"|pdf|docx?|pptx?|xml|rtf|ini|db)$",
    re.IGNORECASE,
)
# The words complete "Berkas NAMA ..", for a clerk.
NOT_READ = {
    "": "bukan CSV, XLSX, JSON atau ZIP. Buka di aplikasinya lalu simpan sebagai XLSX atau CSV.",
    "zip": "adalah ZIP di dalam ZIP. Buka dulu, lalu kirim isinya.",
    "html": "sebenarnya halaman HTML. Buka di Excel lalu simpan sebagai XLSX.",
    "ods": "adalah berkas OpenDocument. Simpan sebagai XLSX lalu kirim lagi.",
    "xls": "memakai format Excel lama (.xls). Buka di Excel lalu simpan sebagai XLSX.",
    "locked": "terkunci dengan kata sandi. Buka di Excel, hapus kata sandinya, simpan, lalu kirim lagi.",
}


def kind_of(file: IO[bytes], name: str, declared: str | None) -> str:
    """csv, json, jsonl, xlsx or zip, or what else it is: empty, html, ods, xls, locked, "" for unknown.

    declared: which of FORMATS a text is.
    """
    head = file.read(_HEAD)
    file.seek(0)
    if len(head) < _HEAD and not head.strip(b"\0 \t\r\n\xef\xbb\xbf"):
        return "empty"
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _kind_of_zip(file)
    if head.startswith(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"):
        return _kind_of_ole(file, head)
    start = head.removeprefix(codecs.BOM_UTF8).lstrip()
    if start[:64].lower().startswith((b"<!doctype", b"<html", b"<table", b"<meta", b"<head")):
        return "html"
    wide = head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    if _is_binary(head) and not wide:
        return ""
    if declared:
        return declared
    ending = PurePosixPath(name.lower()).suffix
    if ending in (".jsonl", ".ndjson"):
        return "jsonl"
    if ending == ".json" or (ending not in (".csv", ".tsv", ".txt") and start[:1] in (b"[", b"{")):
        return "jsonl" if _two_objects(start) else "json"
    return "csv"


def _is_binary(head: bytes) -> bool:
    odd = sum(byte < 32 and byte not in b"\t\r\n\f\0\x1a\x1b" for byte in head)
    return head.startswith((b"%PDF", b"\x1f\x8b", b"Rar!", b"7z\xbc\xaf", b"\x89PNG", b"\xff\xd8\xff")) or odd > 8


def _two_objects(start: bytes) -> bool:
    first, _, rest = start.partition(b"\n")
    return first.rstrip().endswith(b"}") and rest.lstrip().startswith(b"{")


def _kind_of_zip(file: IO[bytes]) -> str:
    try:
        with ZipFile(file) as archive:
            names = set(archive.namelist())
    except ZIP_ODD:
        names = set()
    file.seek(0)
    if "[Content_Types].xml" in names and any(n.startswith("xl/") for n in names):
        return "xlsx"
    return "ods" if {"mimetype", "content.xml"} <= names else "zip"


def _kind_of_ole(file: IO[bytes], head: bytes) -> str:
    """An old workbook, or one behind a password: the container's directory tells."""
    shift = min(int.from_bytes(head[30:32], "little"), 12)
    file.seek((int.from_bytes(head[48:52], "little") + 1) << shift)
    directory = file.read(65_536)
    file.seek(0)
    return "locked" if "EncryptedPackage".encode("utf-16-le") in directory else "xls"


def decoded(file: IO[bytes], declared: str | None) -> io.TextIOWrapper:
    """The file as text: as declared, else UTF-16 by its mark or its many NULs, else UTF-8 whose faulty bytes are cp1252.

    Bytes that a declared encoding does not know become half surrogates, which tables looks for.
    """
    head = file.read(64)
    file.seek(0)
    wide = "utf-16" if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else None
    if not wide and len(head) >= 8 and 4 * head[1::2].count(0) > 3 * len(head[1::2]) and head[::2].count(0) == 0:
        wide = "utf-16-le"  # as databases of Windows export it
    if declared or wide:
        name = {"utf-8": "utf-8-sig"}.get(declared, declared) if declared else str(wide)
        errors = "replace" if name.startswith("utf-16") else "surrogateescape"
        return io.TextIOWrapper(file, name, errors, newline="")
    codecs.register_error("kanal-cp1252", _as_cp1252)
    return io.TextIOWrapper(file, "utf-8-sig", "kanal-cp1252", newline="")


def _as_cp1252(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return error.object[error.start : error.end].decode("cp1252", "replace"), error.end
