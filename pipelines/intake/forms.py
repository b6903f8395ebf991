"""/lapor/CHANNEL/STREAM: the web form in Indonesian, which works without JavaScript, and what is sent with it.

A page carries a signed token: when it was opened, and the number its report will have. A form without
a valid one, or sent faster than people type, is shown again with all that was typed; so spam must open
a page for each report, and pressing twice is one report.
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
from pipelines.sources import form
from pipelines.sources.form import Sent

MAX_BYTES = form.PHOTOS * form.PHOTO_BYTES + 500_000
_SOONEST, _LATEST = 3, 86_400  # seconds from opening the page to sending it
_TOKEN = re.compile(r"([0-9]{1,12})\.([0-9a-f]{24})\.([0-9a-f]{64})")
_NUMBER = re.compile(r"[0-9a-z]{16}")
_EMAIL = re.compile(r"[^@\s]+@[^@\s.]+\.[^@\s]+")
_PHONE = re.compile(r"\+?[\d ().-]{7,}")
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
        f"default-src 'none'; img-src data:; style-src 'sha256-{b64encode(sha256(_STYLE.encode()).digest()).decode()}';"
        " form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
}


@dataclass(frozen=True, slots=True)
class Page:
    """One stream's form. categories: (id, name) to choose from. path: where it is."""

    stream: Stream
    categories: Sequence[tuple[str, str]]

    @property
    def path(self) -> str:
        return f"/lapor/{self.stream.key}"

    def blank(self, key: str, now: datetime) -> Response:
        return self._shown({}, {}, self._token(key, now, secrets.token_hex(12)), 200)

    def thanks(self, number: str) -> Response | None:
        """The page after sending; None where the number is none of ours."""
        if not _NUMBER.fullmatch(number):
            return None
        return self._html(200, done=number.upper(), action=self.path, errors={})

    def sent(self, form_sent: Sent, key: str, now: datetime) -> Message | Response:
        """The Message to land, or the page again with what is to be mended."""
        stale, number = self._stale(form_sent.fields.get("tanda", ""), key, now)
        errors = self._errors(form_sent, stale)
        if errors:
            return self._shown(form_sent.fields, errors, self._token_again(form_sent, key, now), 422)
        return form.message_of(form_sent, number, now)

    def to_thanks(self, message: Message) -> Response:
        number = report_id_of(self.stream.channel, self.stream.name, message.source_ref)
        return RedirectResponse(f"{self.path}?diterima={number}", 303, _HEADERS)

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
        if text["telepon"] and not _PHONE.fullmatch(text["telepon"]):
            errors["telepon"] = "Tulis nomor telepon dengan angka, misalnya 0812 0000 0000, atau kosongkan."
        if text["email"] and not _EMAIL.fullmatch(text["email"]):
            errors["email"] = "Tulis alamat email yang lengkap, misalnya nama@contoh.id, atau kosongkan."
        if len(form_sent.files) > form.PHOTOS:
            errors["foto"] = f"Paling banyak {form.PHOTOS} foto."
        elif any(len(file.data) > form.PHOTO_BYTES for file in form_sent.files):
            errors["foto"] = f"Foto lebih dari {form.PHOTO_BYTES // 1_000_000} MB. Kecilkan dulu, lalu pilih lagi."
        elif any(form.photo_type(file.data) is None for file in form_sent.files):
            errors["foto"] = "Berkas ini bukan foto JPEG, PNG, WebP atau HEIC."
        elif errors and form_sent.files:
            errors["foto"] = "Pilih lagi fotonya: peramban tidak menyimpannya."
        return errors

    def _shown(self, fields: Mapping[str, str], errors: Mapping[str, str], token: str, status: int) -> Response:
        return self._html(
            status,
            fields={name: fields.get(name, "") for name in form.FIELDS},
            errors=errors,
            token=token,
            action=self.path,
            categories=self.categories,
            limits=form.FIELDS,
            photos=form.PHOTOS,
            megabytes=form.PHOTO_BYTES // 1_000_000,
        )

    def _html(self, status: int, **values: Any) -> Response:
        title = self.stream.options.get("title", "Balai Warga")
        page = _PAGES.get_template("form.html.j2").render(title=title, style=_STYLE, **values)
        return Response(page, status, _HEADERS, "text/html")
