"""/lapor/CHANNEL/STREAM: the web form in Indonesian, which works without JavaScript, and what is sent with it.

A page carries a signed token: when it was opened, and the number its report will have. A form without
a valid one, or sent faster than people type, is shown again with all that was typed; so spam must open
a page for each report, and pressing twice is one report. The place is chosen from a list, or where there are
maps by touching one, kota, kecamatan, point: each step is the same form sent, so what was typed rides along.
"""

from __future__ import annotations

import hmac
import re
import secrets
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, select_autoescape
from starlette.responses import RedirectResponse, Response

from pipelines.contracts import Message, Stream, report_id_of
from pipelines.intake.maps import WIDTHS, Areas, Point, above
from pipelines.sources import form
from pipelines.sources.attached import type_of
from pipelines.sources.form import Sent

MAX_BYTES = form.PHOTOS * form.PHOTO_BYTES + 500_000
DRAINED = 100_000_000  # bytes of photos as phones make them, which are told to be too large
_SOONEST, _LATEST = 3, 86_400  # seconds from opening the page to sending it
_TOKEN = re.compile(r"([0-9]{1,12})\.([0-9a-f]{24})\.([0-9a-f]{64})")
_NUMBER = re.compile(r"[0-9a-z]{16}")
_EMAIL = re.compile(r"[^@\s]+@[^@\s.]+\.[^@\s]+")
_PHONE = re.compile(r"\+?[\d ().-]{7,}")
_POINT = re.compile(r"(-?[0-9]{1,3}\.[0-9]{1,8}),(-?[0-9]{1,3}\.[0-9]{1,8}),([0-9]{1,5})")
_PIXEL = re.compile(r"[0-9]{1,5}")
_WHOLE = "semua"  # the map of the whole city
_HERE = Path(__file__).parent
_STYLE = (_HERE / "form.css").read_text("utf-8")
_PAGES = Environment(
    loader=FileSystemLoader(_HERE), autoescape=select_autoescape(("html.j2",)), trim_blocks=True, lstrip_blocks=True
)
_HEADERS = {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "content-security-policy": (
        f"default-src 'none'; img-src 'self' data:; style-src 'sha256-{b64encode(sha256(_STYLE.encode()).digest()).decode()}';"
        " form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
}


_PICTURE = _HEADERS | {"cache-control": "public, max-age=3600", "content-security-policy": "default-src 'none'"}


@dataclass(frozen=True, slots=True)
class Page:
    """One stream's form. categories: (id, name), and areas, to choose from. path: where it is."""

    stream: Stream
    categories: Sequence[tuple[str, str]]
    areas: Areas

    @property
    def path(self) -> str:
        return f"/lapor/{self.stream.key}"

    def blank(self, key: str, now: datetime) -> Response:
        return self._shown({}, {}, self._token(key, now, secrets.token_hex(12)), 200)

    def thanks(self, number: str) -> Response | None:
        """The page after sending; None where the number is none of ours."""
        if not _NUMBER.fullmatch(number):
            return None
        return self._html("thanks", 200, number=number.upper())

    def picture(self, code: str, width: str) -> Response | None:
        """The map of an area; None where there is none."""
        area = "" if code == _WHOLE else code
        if width not in map(str, WIDTHS) or not self.areas.mapped(area):
            return None
        return Response(self.areas.picture(area, int(width)), 200, _PICTURE, "image/svg+xml")

    def sent(self, form_sent: Sent, key: str, now: datetime) -> Message | Response:
        """The Message to land, or the next page: with what is to be mended, or of choosing a place."""
        stale, number = self._stale(form_sent.fields.get("tanda", ""), key, now)
        if step := self._step(form_sent, self._token_again(form_sent, key, now)):
            return step
        errors = self._errors(form_sent, stale)
        if errors:
            return self._shown(form_sent.fields, errors, self._token_again(form_sent, key, now), 422)
        return form.message_of(form_sent, number, now, self._place(form_sent.fields))

    def refused(self, status: int, headers: Mapping[str, str]) -> Response:
        """The page for a citizen whose request is not taken. Loading it again sends again what was typed."""
        answer = self._html("refused", status, why=status, photos=form.PHOTOS, megabytes=form.PHOTO_BYTES // 1_000_000)
        answer.headers.update(headers)
        return answer

    def to_thanks(self, message: Message) -> Response:
        number = report_id_of(self.stream.channel, self.stream.name, message.source_ref)
        return RedirectResponse(f"{self.path}?diterima={number}", 303, _HEADERS)

    # --- the place ---

    def _step(self, form_sent: Sent, token: str) -> Response | None:
        """The page that another button than the one that sends asks for; None where it was that one."""
        fields = {**form_sent.fields, "tanda": token}
        if form_sent.files or form_sent.cut:
            fields["lagi"] = "ya"  # the browser does not keep them from page to page
        word, _, code = fields.get("langkah", "").partition(":")
        touched = next((w for w in WIDTHS if f"peta{w}.x" in fields), None)
        if touched:
            area = fields.get("di", "")
            x, y = (int(n) if _PIXEL.fullmatch(n := fields.get(f"peta{touched}.{axis}", "")) else 0 for axis in "xy")
            found = self.areas.at(area, touched, x, y)
            if found is None:
                return self._map(area, fields, missed=True)
            if found.point is None:
                return self._map(found.code, fields)
            fields |= {"kelurahan": found.code, "titik": "{},{},{}".format(*found.point)}
        elif word == "peta":
            return self._map("" if code == _WHOLE else code, fields)
        elif word == "pilih":
            fields |= {"kelurahan": code, "titik": ""}
        elif word == "hapus":
            fields["titik"] = ""
        elif word != "kembali":
            return None
        return self._shown(fields, {}, token, 200)

    def _map(self, code: str, fields: Mapping[str, str], *, missed: bool = False) -> Response:
        """The page on which an area in `code`, or a point, is chosen."""
        if code not in self.areas.below:
            code = ""
        kept = {name: text for name in (*form.FIELDS, "tanda", "lagi") if (text := fields.get(name))}
        return self._html(
            "map", 200, code=code, areas=self.areas, above=above(code), kept=kept, missed=missed, widths=WIDTHS, whole=_WHOLE
        )  # fmt: skip

    def _point(self, fields: Mapping[str, str]) -> Point | None:
        """The point that was touched, where it may lie in the kelurahan that is chosen."""
        found = _POINT.fullmatch(fields.get("titik", ""))
        point = Point(float(found[1]), float(found[2]), int(found[3])) if found else None
        return point if point and self.areas.is_in(fields.get("kelurahan", ""), point) else None

    def _place(self, fields: Mapping[str, str]) -> dict[str, Any]:
        if not (code := fields.get("kelurahan")):
            return {}
        point = self._point(fields)
        return self.areas.place(code) | (point._asdict() if point else {})

    # --- tokens ---

    def _token(self, key: str, now: datetime, number: str) -> str:
        opened = f"{int(now.timestamp())}.{number}"
        return f"{opened}.{self._proof(key, opened)}"

    def _proof(self, key: str, opened: str) -> str:
        return hmac.new(key.encode(), f"{self.stream.key}|{opened}".encode(), sha256).hexdigest()

    def _stale(self, token: str, key: str, now: datetime) -> tuple[str | None, str]:
        """(why the page does not count any more, in words for a citizen; the report's number)."""
        found = _TOKEN.fullmatch(token)
        if not found or not hmac.compare_digest(self._proof(key, f"{found[1]}.{found[2]}"), found[3]):
            return "Halaman ini sudah tidak berlaku. Isian Anda masih ada: tekan Kirim sekali lagi.", ""
        age = now.timestamp() - int(found[1])
        if age > _LATEST:
            return "Halaman ini dibuka terlalu lama. Isian Anda masih ada: tekan Kirim sekali lagi.", ""
        if age < _SOONEST:
            return "Formulir terkirim terlalu cepat. Periksa isiannya, lalu tekan Kirim sekali lagi.", ""
        return None, found[2]

    def _token_again(self, form_sent: Sent, key: str, now: datetime) -> str:
        """The same token while it is good, so that the report keeps its number; else a new one."""
        token = form_sent.fields.get("tanda", "")
        return token if self._stale(token, key, now)[0] is None else self._token(key, now, secrets.token_hex(12))

    # --- what was filled in ---

    def _errors(self, form_sent: Sent, stale: str | None) -> dict[str, str]:
        """Field -> what is to be mended, in words for a citizen. stale: why the page itself does not count."""
        text = {name: form_sent.fields.get(name, "").strip() for name in form.FIELDS}
        errors = {"uraian": stale} if stale else {}
        for name, most in form.FIELDS.items():
            if len(text[name]) > most:
                errors[name] = f"Terlalu panjang: paling banyak {most} huruf."
        if len(text["uraian"]) < 10:
            errors["uraian"] = "Ceritakan dulu apa yang terjadi, paling sedikit 10 huruf."
        if text["kategori"] and text["kategori"] not in dict(self.categories):
            errors["kategori"] = "Pilih jenis masalah dari daftar, atau kosongkan."
        if text["kelurahan"] and text["kelurahan"] not in self.areas.kelurahan:
            errors["kelurahan"] = "Pilih kelurahan dari daftar, atau kosongkan."
        elif text["titik"] and self._point(text) is None:
            errors["kelurahan"] = (
                "Titik di peta tidak cocok dengan kelurahannya. Tunjuk sekali lagi, atau kirim tanpa titik."
            )
        if text["telepon"] and not _PHONE.fullmatch(text["telepon"]):
            errors["telepon"] = "Tulis nomor telepon dengan angka, misalnya 0812 0000 0000, atau kosongkan."
        if text["email"] and not _EMAIL.fullmatch(text["email"]):
            errors["email"] = "Tulis alamat email yang lengkap, misalnya nama@contoh.id, atau kosongkan."
        if form_sent.cut:
            errors["foto"] = (
                f"Foto-fotonya terlalu besar: paling banyak {form.PHOTOS}, masing-masing sampai"
                f" {form.PHOTO_BYTES // 1_000_000} MB. Kecilkan dulu, lalu pilih lagi."
            )
        elif len(form_sent.files) > form.PHOTOS:
            errors["foto"] = f"Paling banyak {form.PHOTOS} foto."
        elif any(len(file.data) > form.PHOTO_BYTES for file in form_sent.files):
            errors["foto"] = f"Foto lebih dari {form.PHOTO_BYTES // 1_000_000} MB. Kecilkan dulu, lalu pilih lagi."
        elif any(type_of(file.data) not in form.PHOTO_TYPES for file in form_sent.files):
            errors["foto"] = "Berkas ini bukan foto JPEG, PNG, WebP atau HEIC."
        elif errors and form_sent.files:
            errors["foto"] = "Pilih lagi fotonya: peramban tidak menyimpannya."
        return errors

    def _shown(self, fields: Mapping[str, str], errors: Mapping[str, str], token: str, status: int) -> Response:
        point = self._point(fields)
        return self._html(
            "form",
            status,
            fields={name: fields.get(name, "") for name in form.FIELDS} | ({} if point else {"titik": ""}),
            again="lagi" in fields and "foto" not in errors,
            errors=errors,
            token=token,
            categories=self.categories,
            areas=self.areas,
            point=point,
            whole=_WHOLE,
            limits=form.FIELDS,
            photos=form.PHOTOS,
            types=form.PHOTO_TYPES,
            megabytes=form.PHOTO_BYTES // 1_000_000,
        )

    def _html(self, name: str, status: int, **values: Any) -> Response:
        title = self.stream.options.get("title", "Balai Warga")
        page = _PAGES.get_template(f"{name}.html.j2").render(title=title, style=_STYLE, action=self.path, **values)
        return Response(page, status, _HEADERS, "text/html")
