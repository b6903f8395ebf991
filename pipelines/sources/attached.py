"""Bytes that came along with a message -> what they are. Pure; what a name or a sender says is only believed
where bytes of that kind cannot be told.

Belongs here: the type of a file, and which are kept. Not here: where they are kept (sinks/media).
"""

from __future__ import annotations

import warnings
from hashlib import sha256
from io import BytesIO
from pathlib import PurePosixPath
from zipfile import ZipFile, ZipInfo

from PIL import Image

from pipelines.contracts import Attachment
from pipelines.sources.pictures import phash_of
from pipelines.sources.workbook import ZIP_ODD, is_packed_oddly

MAX_BYTES = 25_000_000  # a larger file is named but not kept
_MAX_PIXELS = 100_000_000
_IMAGES = {"JPEG": "image/jpeg", "PNG": "image/png", "GIF": "image/gif", "WEBP": "image/webp", "MPO": "image/jpeg"}
_TOLD = ("image/", "video/", "audio/", "application/pdf")  # what a claim is not believed about
_UNKNOWN = "application/octet-stream"
_BRANDS = {
    b"heic": "image/heic", b"heix": "image/heic", b"mif1": "image/heic", b"msf1": "image/heic", b"avif": "image/avif",
    b"qt  ": "video/quicktime", b"3gp4": "video/3gpp", b"3gp5": "video/3gpp", b"3gp6": "video/3gpp",
    b"M4A ": "audio/mp4",
}  # fmt: skip
_HEADS = {
    b"%PDF-": "application/pdf", b"OggS": "audio/ogg", b"ID3": "audio/mpeg", b"\xff\xfb": "audio/mpeg",
    b"#!AMR": "audio/amr", b"\x1aE\xdf\xa3": "video/webm",
}  # fmt: skip


def type_of(data: bytes) -> str | None:
    """Media type that bytes have: a picture that Pillow opens and finds whole, a film, sound or PDF by how it
    begins; None for anything else. A picture of over 100 million pixels is none: nobody could look at it."""
    if data[4:8] == b"ftyp":
        return _BRANDS.get(data[8:12], "video/mp4")
    if told := next((kind for head, kind in _HEADS.items() if data.startswith(head)), None):
        return told
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of large pictures: looked at below
            with Image.open(BytesIO(data), formats=list(_IMAGES)) as picture:
                if picture.width * picture.height > _MAX_PIXELS:
                    return None
                kind = _IMAGES[picture.format or ""]
                picture.verify()
    except Exception:  # noqa: BLE001 - bytes made to hurt may make a decoder raise anything
        return None
    return kind


def described(data: bytes, name: str = "", claimed: str = "") -> Attachment:
    """The attachment that bytes are; with its sha256 where they are to be kept, as `kept` says, and then the phash of a
    picture that shows enough."""
    kind = type_of(data) or (claimed if claimed and not claimed.startswith(_TOLD) else _UNKNOWN)
    found = Attachment(type=kind, size=len(data))
    if kept(data):
        found["sha256"] = sha256(data).hexdigest()
        if kind in _IMAGES.values() and (looks := phash_of(data)):
            found["phash"] = looks
    if name:
        found["name"] = name
    return found


def kept(data: bytes) -> bool:
    return 0 < len(data) <= MAX_BYTES


class Beside:
    """The files of a ZIP, found by the last part of their name where only one has it; names never become paths."""

    def __init__(self, archive: ZipFile, members: list[ZipInfo]) -> None:
        self._archive = archive
        self._named: dict[str, ZipInfo | None] = {}
        for member in members:
            name = _last(member.filename)
            self._named[name] = None if name in self._named else member

    def get(self, name: str) -> bytes | None:
        """Its bytes; None where there is none, it is locked, cut off, or too large to keep."""
        member = self._named.get(_last(name))
        if member is None or member.flag_bits & 1 or is_packed_oddly(member) or member.file_size > MAX_BYTES:
            return None
        try:
            with self._archive.open(member) as file:
                data = file.read(MAX_BYTES + 1)
        except ZIP_ODD:
            return None
        return data if kept(data) else None


def _last(path: str) -> str:
    return PurePosixPath(path.replace("\\", "/")).name.casefold()
