"""The web form of Balai Warga: what a citizen typed into `kanal intake`'s page, and the photos that came along.

In: one Message for each form sent. Nothing is pulled: what is sent lands by itself, before the page
says thanks. The payload is JSON: the fields as typed, the place that was chosen, and the files by their
SHA-256, whose bytes are kept beside landing (version 1 had them in base64). Key: the text, and a number that
the page was given when it was opened: pressing twice is one report, what is mended beside the text is a version of
it, and whoever goes back and writes of something else has made another report. A form in which the field that people
do not see is filled lands and is filtered as spam.

Options in kanal.toml:
  secret_env    variable with the key that pages are signed with, any long random text
  title         what stands at the top of the page ("Balai Warga")
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from hashlib import sha256
from typing import Any, NamedTuple

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from pipelines.contracts import Attachment, Batch, Draft, Message, Stream, short_hash
from pipelines.errors import FilteredMessage, RejectedMessage, SettingsError
from pipelines.sources.attached import described
from pipelines.sources.pages import number as finite
from pipelines.sources.pages import point, record

VERSION = "2"
PAYLOAD_TYPE = "application/vnd.kanal.form+json"
# What the page asks, and how many characters each may have.
FIELDS = {
    "uraian": 5000,
    "lokasi": 300,
    "kelurahan": 20,
    "titik": 60,
    "kategori": 60,
    "nama": 100,
    "telepon": 30,
    "email": 200,
    "rahasia": 5,
    "situs": 300,
}
TRAP = "situs"  # not seen by people
PHOTOS, PHOTO_BYTES = 3, 5_000_000
PHOTO_TYPES = ("image/jpeg", "image/png", "image/webp", "image/heic")
_MOST_PARTS = 40


class Upload(NamedTuple):
    name: str
    data: bytes


class Sent(NamedTuple):
    """A form as it came. fields: name -> text, the first of each. cut: there was more, too large to be taken."""

    fields: dict[str, str]
    files: list[Upload]
    cut: bool = False


def pull(stream: Stream, cursor: dict[str, Any] | None, *, now: Callable[[], datetime]) -> Iterator[Batch]:
    """Nothing: what is sent has landed already. SettingsError where the stream's options are wrong."""
    check(stream)
    yield from ()


def check(stream: Stream) -> None:
    """SettingsError where the stream's options will not do."""
    if not stream.options.get("secret_env"):
        raise SettingsError(f"{stream.key}: set secret_env, the variable with the key that pages are signed with")
    if not isinstance(stream.options.get("title", ""), str):
        raise SettingsError(f"{stream.key}: title must be a text")


def read(body: bytes, content_type: str, *, cut: bool = False) -> Sent:
    """A multipart form -> its fields and files; of one that was cut off, those that are whole. ValueError where it is none."""
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise ValueError("no multipart form")
    sent, part = Sent({}, [], cut), _Part()

    def begin() -> None:
        part.begin()
        if part.count > _MOST_PARTS:
            raise ValueError("too many parts")

    def end() -> None:
        name, file = part.named()
        if file is not None and (file or part.data):
            sent.files.append(Upload(file, bytes(part.data)))
        elif file is None and name:
            sent.fields.setdefault(name, part.data.decode("utf-8", "replace"))

    parser = MultipartParser(
        options[b"boundary"],
        {
            "on_part_begin": begin,
            "on_header_field": lambda data, start, stop: part.field.extend(data[start:stop]),
            "on_header_value": lambda data, start, stop: part.value.extend(data[start:stop]),
            "on_header_end": part.header,
            "on_part_data": lambda data, start, stop: part.data.extend(data[start:stop]),
            "on_part_end": end,
        },
    )
    try:
        parser.write(body)
        if not cut:
            parser.finalize()
    except FormParserError as error:
        raise ValueError("a form that is not whole") from error
    return sent


class _Part:
    """The part of a form that is being read."""

    def __init__(self) -> None:
        self.count = 0
        self.begin()

    def begin(self) -> None:
        self.count += 1
        self.field, self.value, self.data = bytearray(), bytearray(), bytearray()
        self.disposition = b""

    def header(self) -> None:
        if self.field.lower() == b"content-disposition":
            self.disposition = bytes(self.value)
        self.field, self.value = bytearray(), bytearray()

    def named(self) -> tuple[str, str | None]:
        """(name of the field, name of the file or None)."""
        _, options = parse_options_header(self.disposition)
        file = options.get(b"filename")
        name = options.get(b"name", b"").decode("utf-8", "replace")
        return name, None if file is None else file.decode("utf-8", "replace").replace("\\", "/").rsplit("/", 1)[-1][
            :100
        ]


def message_of(sent: Sent, number: str, now: datetime, place: Mapping[str, Any] | None = None) -> Message:
    """A form that was looked through -> Message; number: the page's own.

    The report's number hangs on the text too: a page that is sent again with another text loses neither.
    place: kelurahan, kecamatan and kota by name, and lat, lon (WGS84) and accuracy_m of a point in it.
    """
    fields = {name: sent.fields[name] for name in FIELDS if sent.fields.get(name, "").strip()}
    files = [described(f.data, f.name) for f in sent.files]
    said = [f"{name}={text}" for name, text in fields.items()] + [sha256(f.data).hexdigest() for f in sent.files]
    payload = json.dumps({"fields": fields, "place": dict(place or {}), "files": files}, ensure_ascii=False)
    data, media = payload.encode("utf-8", "replace"), tuple(f.data for f in sent.files)
    own = short_hash(number, " ".join(fields.get("uraian", "").split()))
    return Message(own, short_hash(*said), data, PAYLOAD_TYPE, now, occurred_at=now, origin="form", media=media)


def decode(message: Message, stream: Stream) -> Draft:
    """A form -> Draft. Raises RejectedMessage (unreadable) or FilteredMessage (filled in by a machine)."""
    if message.problem:
        raise RejectedMessage(message.problem, stage="pull")
    try:
        payload = json.loads(message.payload)
        fields, files = dict(payload["fields"]), [_file(f) for f in payload["files"]]
        place = record(payload.get("place"))
    except (ValueError, KeyError, TypeError):
        raise RejectedMessage("Isi formulir rusak dan tidak bisa dibaca.") from None
    if fields.get(TRAP):
        raise FilteredMessage("spam", "a field that people do not see was filled")
    phone, email = fields.get("telepon"), fields.get("email")
    where = point(place.get("lat"), place.get("lon"))
    return Draft(
        text=fields.get("uraian", ""),
        occurred_at=message.occurred_at,
        author_ref=phone or email,
        author_name=fields.get("nama"),
        contact_phone=phone,
        contact_email=email,
        sender_level="claimed" if phone or email else "anonymous",
        address_text=fields.get("lokasi"),
        kelurahan_reported=place.get("kelurahan"),
        kecamatan_reported=place.get("kecamatan"),
        kota_reported=place.get("kota"),
        lat=where[0] if where else None,
        lon=where[1] if where else None,
        accuracy_m=finite(place.get("accuracy_m")) if where else None,
        category_reported=fields.get("kategori"),
        private="rahasia" in fields,
        attachments=files,
    )


def _file(told: Any) -> Attachment:
    """A file as the payload tells of it; of version 1, which held the bytes themselves, its size."""
    if "data" not in told:
        return Attachment(**dict(told))  # type: ignore[typeddict-item]
    size = len(told["data"]) * 3 // 4 - told["data"].count("=")
    return Attachment(type=told["type"], name=told["name"], size=size)
