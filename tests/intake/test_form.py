"""The web form, as a browser, a machine and a citizen without JavaScript meet it."""

from __future__ import annotations

import json
import re
import socket
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from html import unescape
from io import BytesIO
from pathlib import Path

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipelines import flow
from pipelines.contracts import Attachment, Draft, Message, Stream, report_id_of
from pipelines.errors import FilteredMessage, RejectedMessage
from pipelines.published import ask, open_snapshot
from pipelines.settings import Settings
from pipelines.sources import form
from pipelines.sources.pictures import phash_of
from tests.conftest import stream_toml
from tests.intake.conftest import SECRETS, UNLIMITED, by_partner, write_settings
from tests.peers.chromium import Page, browser
from tests.peers.intake import Intake, landed, running
from tests.pictures import scene

KEY = "balai_warga/web"
SECRET = {"UJI_FORMULIR": "kenari-formulir-88d1"}
STREAM = Stream("balai_warga", "web", "form", {"secret_env": "UJI_FORMULIR"})
NOW = datetime(2026, 11, 26, 3, 0, tzinfo=UTC)
SAID = {"uraian": "Lampu jalan mati di depan SDN, gelap sekali tiap malam", "lokasi": "Jl. Kenanga RT 03 RW 05, Gelora"}
JSONS = st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["uraian", "lat", "lon", "data", "type", "name", "kelurahan", "situs"]), inner
        )
    ),
    max_leaves=8,
)
TOO_FAST = 3.1  # seconds after which a form is not


def photo(size: int = 40) -> bytes:
    out = BytesIO()
    Image.new("RGB", (size, size), (200, 40, 40)).save(out, "JPEG")
    return out.getvalue()


@dataclass
class Site:
    settings: Settings
    intake: Intake
    opened: list[str] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"{self.intake.url}/lapor/{KEY}"

    def token(self, page: str | None = None) -> str:
        page = page or requests.get(self.address, timeout=20).text
        return unescape(re.findall(r'name="tanda" value="([^"]*)"', page)[0])

    def old_token(self) -> str:
        """Of a page that was opened long enough ago, one by one."""
        if not self.opened:
            self.opened = [self.token() for _ in range(30)]
            time.sleep(TOO_FAST)
        return self.opened.pop()

    def send(self, fields: dict[str, str], *files: tuple[str, bytes]) -> requests.Response:
        parts: list = [(name, (None, text)) for name, text in fields.items()]
        parts += [("foto", (name, data, "image/jpeg")) for name, data in files]
        return requests.post(self.address, files=parts, timeout=20)

    def landed(self) -> list[Message]:
        return landed(self.settings, KEY)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    settings = write_settings(tmp_path_factory.mktemp("form"), UNLIMITED, {})
    settings.path.write_text(
        settings.path.read_text() + stream_toml("balai_warga", "web", "form", secret_env="UJI_FORMULIR")
    )
    with running(settings, SECRET) as intake:
        yield Site(settings, intake)


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with browser() as opened:
        yield opened


def test_a_form_that_was_sent_lands_with_its_photos_and_its_number_is_shown(site: Site) -> None:
    token, picture = site.old_token(), scene()
    more = {
        "kategori": "penerangan_listrik",
        "nama": "Warga Satu",
        "telepon": "0812 0000 0001",
        "email": "w@example.id",
        "rahasia": "ya",
    }
    answer = site.send({"tanda": token} | SAID | more, ("lampu.jpg", picture))
    message = site.landed()[-1]
    assert answer.status_code == 200 and report_id_of("balai_warga", "web", message.source_ref).upper() in answer.text
    assert form.decode(message, STREAM) == Draft(
        text=SAID["uraian"], occurred_at=message.occurred_at, author_ref="0812 0000 0001", author_name="Warga Satu",
        contact_phone="0812 0000 0001", contact_email="w@example.id", sender_level="claimed", address_text=SAID["lokasi"],
        category_reported="penerangan_listrik", private=True,
        attachments=[
            Attachment(
                type="image/jpeg", size=len(picture), sha256=sha256(picture).hexdigest(), phash=phash_of(picture) or "",
                name="lampu.jpg",
            )
        ],
    )  # fmt: skip
    assert token.rsplit(".", 1)[1].encode() not in message.payload


def test_pressing_twice_is_one_report(site: Site) -> None:
    token, before = site.old_token(), len(site.landed())
    for _ in range(2):
        assert site.send({"tanda": token} | SAID).status_code == 200
    assert len(site.landed()) == before + 1


def test_going_back_and_writing_of_something_else_is_another_report_and_a_mended_place_is_a_version(site: Site) -> None:
    token, before = {"tanda": site.old_token()}, len(site.landed())
    for change in ({}, {"lokasi": "Jl. Mawar, di tikungan"}, {"uraian": "Sampah di kali belum diangkut seminggu"}):
        assert site.send(token | SAID | change).status_code == 200
    first, mended, other = site.landed()[before:]
    assert first.source_ref == mended.source_ref != other.source_ref
    assert first.version != mended.version


@pytest.mark.parametrize(
    ("change", "files", "told"),
    [
        ({"uraian": "pendek"}, [], "paling sedikit 10 huruf"),
        ({"uraian": "x" * 5001}, [], "paling banyak 5000 huruf"),
        ({"telepon": "nol delapan"}, [], "Tulis nomor telepon dengan angka"),
        ({"email": "bukan"}, [], "alamat email yang lengkap"),
        ({"kategori": "ngarang"}, [], "Pilih jenis masalah dari daftar"),
        ({}, [("a.jpg", b"bukan foto")], "bukan foto JPEG"),
        ({}, [("a.jpg", photo())] * 4, "Paling banyak 3 foto"),
        ({}, [("a.jpg", photo() + b"x" * 5_000_000)], "Foto lebih dari 5 MB"),
        ({"uraian": "pendek"}, [("a.jpg", photo())], "Pilih lagi fotonya"),
    ],
)  # fmt: skip
def test_what_is_to_be_mended_is_told_at_its_field_and_nothing_typed_is_lost(
    site: Site, change: dict[str, str], files: list[tuple[str, bytes]], told: str
) -> None:
    token, before = site.old_token(), len(site.landed())
    fields = {"tanda": token} | SAID | {"nama": '"><script>alert(1)</script>'} | change
    answer = site.send(fields, *files)
    assert answer.status_code == 422 and told in answer.text
    shown = unescape(answer.text)
    assert all(text in shown for name, text in fields.items() if name not in ("kategori",))
    assert "<script>" not in answer.text
    assert site.token(answer.text) == token
    assert len(site.landed()) == before


def test_a_form_without_a_page_of_ours_or_sent_too_fast_is_shown_again(site: Site) -> None:
    before, good = len(site.landed()), site.old_token()
    opened, number, proof = good.split(".")
    forged = [
        "", "x", f"{opened}.{number}.{'0' * 64}", f"{int(opened) - 1}.{number}.{proof}", f"{opened}.{'0' * 24}.{proof}",
    ]  # fmt: skip
    for token in forged:
        answer = site.send({"tanda": token} | SAID)
        assert answer.status_code == 422 and "sudah tidak berlaku" in answer.text and SAID["lokasi"] in answer.text
    answer = site.send({"tanda": site.token()} | SAID, ("a.jpg", photo()))
    assert answer.status_code == 422 and "terlalu cepat" in answer.text and "Pilih lagi fotonya" in answer.text
    assert len(site.landed()) == before


def test_the_field_that_people_do_not_see_makes_it_spam(site: Site) -> None:
    token = site.old_token()
    assert site.send({"tanda": token, "situs": "http://promo.example"} | SAID).status_code == 200
    message = site.landed()[-1]
    assert b"promo.example" in message.payload
    with pytest.raises(FilteredMessage, match="spam"):
        form.decode(message, STREAM)


def test_what_is_no_form_is_refused(site: Site) -> None:
    bodies = [
        (b"a=b", "application/x-www-form-urlencoded"), (b"", "multipart/form-data; boundary=x"), (b"x", ""),
        (b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nb', "multipart/form-data; boundary=x"),
        (b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n' * 50 + b"--x--\r\n", "multipart/form-data; boundary=x"),
    ]  # fmt: skip
    for body, kind in bodies:
        answer = requests.post(site.address, data=body, headers={"content-type": kind}, timeout=20)
        assert answer.status_code in (400, 422), body
    assert [requests.get(f"{site.address}?diterima={n}", timeout=20).status_code for n in ("<b>", "0" * 16)] == [
        404,
        200,
    ]


def test_photos_too_large_to_be_read_cost_nothing_that_was_typed(site: Site) -> None:
    token, before = site.old_token(), len(site.landed())
    fields = {"tanda": token} | SAID | {"nama": "Warga Satu", "telepon": "0812 0000 0001"}
    large = [(f"{n}.jpg", photo() + b"x" * 9_000_000) for n in range(3)]
    answer = site.send(fields, *large)
    assert answer.status_code == 422 and "Foto-fotonya terlalu besar: paling banyak 3" in answer.text
    assert all(text in unescape(answer.text) for text in fields.values())
    map_asked = site.send(fields | {"langkah": "peta:semua"}, *large)
    assert map_asked.status_code == 200 and SAID["uraian"] in map_asked.text
    assert len(site.landed()) == before


def test_whoever_is_refused_reads_why_in_his_own_language(tmp_path: Path) -> None:
    settings = write_settings(tmp_path, "per_second = 0.1\nburst = 3\npatience_seconds = 0.5\n", {})
    settings.path.write_text(
        settings.path.read_text() + stream_toml("balai_warga", "web", "form", secret_env="UJI_FORMULIR")
    )
    with running(settings, SECRET) as intake:
        its = Site(settings, intake)
        token = its.token()
        time.sleep(TOO_FAST)
        settings.data_dir.mkdir(exist_ok=True)
        settings.landing_dir.write_text("no folder")
        busy = its.send({"tanda": token} | SAID)
        assert (busy.status_code, busy.headers["retry-after"]) == (503, "5")
        settings.landing_dir.unlink()
        with socket.create_connection(("127.0.0.1", intake.port), 10) as raw:
            raw.sendall(f"POST /lapor/{KEY} HTTP/1.1\r\nHost: x\r\nContent-Length: 100000001\r\n\r\n".encode())
            large = ""
            while "</html>" not in large:
                large += raw.recv(10_000).decode()
        assert " 413 " in large and "terlalu besar" in large
        many = requests.get(its.address, timeout=20)
        assert many.status_code == 429
        for page in (busy.text, many.text):
            assert "Laporan belum terkirim" in page and "muat ulang halaman ini" in page and 'lang="id"' in page
        assert busy.headers["content-security-policy"] == many.headers["content-security-policy"]


def test_forms_that_hold_all_they_may_keep_no_vendor_out(tmp_path: Path) -> None:
    settings = write_settings(tmp_path, UNLIMITED)
    settings.path.write_text(
        settings.path.read_text() + stream_toml("balai_warga", "web", "form", secret_env="UJI_FORMULIR")
    )
    with running(settings, SECRETS | SECRET) as intake, ExitStack() as held:
        head = f"POST /lapor/{KEY} HTTP/1.1\r\nHost: x\r\nContent-Length: 15400000\r\n\r\n".encode()
        for size in (15_000_000, 15_000_000, 15_000_000, 15_000_000, 3_999_990):
            raw = held.enter_context(socket.create_connection(("127.0.0.1", intake.port), 10))
            raw.sendall(head + b"x" * size)
        time.sleep(0.5)
        assert by_partner({"id": "M-1", "text": "Lampu jalan mati"}).to(intake)[0] == 200


def test_the_page_may_load_nothing_run_nothing_and_stand_in_no_frame(site: Site) -> None:
    policy = requests.get(site.address, timeout=20).headers["content-security-policy"]
    assert requests.head(site.address, timeout=20).status_code == 200
    assert "default-src 'none'" in policy and "script-src" not in policy and "frame-ancestors 'none'" in policy


@pytest.mark.parametrize("width", [1280, 360])
def test_a_citizen_fills_it_in_in_a_browser_and_is_thanked(site: Site, page: Page, tmp_path: Path, width: int) -> None:
    page.open(site.address, width=width)
    page.picture(tmp_path / f"form-{width}.png")
    assert page.ask("document.documentElement.scrollWidth") == width
    page.type("#uraian", "Got mampet sejak Senin, airnya naik ke jalan")
    page.type("#lokasi", "Jl. Melati RT 01, Tebet Barat")
    (tmp_path / "foto.jpg").write_bytes(photo(400))
    page.choose("#foto", tmp_path / "foto.jpg")
    time.sleep(TOO_FAST)
    before = len(site.landed())
    page.press("button")
    assert page.ask("document.querySelector('h1').textContent") == "Laporan Anda diterima"
    page.picture(tmp_path / f"thanks-{width}.png")
    assert page.said == []
    assert all(address.startswith((site.intake.url, "data:")) for address in page.requests)
    message = site.landed()[before]
    draft = form.decode(message, STREAM)
    assert (draft.text, draft.sender_level) == ("Got mampet sejak Senin, airnya naik ke jalan", "anonymous")
    assert [a["name"] for a in draft.attachments] == ["foto.jpg"]


def test_every_field_has_a_name_and_the_keyboard_reaches_them_in_order(site: Site, page: Page) -> None:
    page.open(site.address, width=360)
    spoken = page.spoken()
    fields = [name for role, name, _ in spoken if role in ("textbox", "combobox", "checkbox", "button")]
    assert [f for f in fields if f] == fields
    order = []
    for _ in range(11):
        page.tab()
        order.append(page.ask("document.activeElement.id || document.activeElement.tagName"))
    assert order == [
        "A",
        "uraian",
        "lokasi",
        "kelurahan",
        "kategori",
        "nama",
        "telepon",
        "email",
        "rahasia",
        "foto",
        "BUTTON",
    ]


def test_what_is_to_be_mended_is_read_out(site: Site, page: Page, tmp_path: Path) -> None:
    page.open(site.address, width=360)
    time.sleep(TOO_FAST)
    page.press("button")
    page.picture(tmp_path / "mend.png")
    spoken = page.spoken()
    assert "alert" in [role for role, _, _ in spoken]
    [told] = [text for role, name, text in spoken if role == "textbox" and name.startswith("Apa yang terjadi")]
    assert "paling sedikit 10 huruf" in told
    assert page.ask("document.title").startswith("Ada yang perlu dibetulkan")


def test_a_form_becomes_a_ticket(make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UJI_FORMULIR", SECRET["UJI_FORMULIR"])
    settings = make_settings(
        f"[intake]\n{UNLIMITED}" + stream_toml("balai_warga", "web", "form", secret_env="UJI_FORMULIR")
    )
    with running(settings, SECRET) as intake:
        its = Site(settings, intake)
        token = its.token()
        time.sleep(TOO_FAST)
        assert its.send({"tanda": token} | SAID, ("a.jpg", photo())).status_code == 200
    assert flow.run(settings).failures == {}
    with open_snapshot(settings) as con:
        [ticket] = ask(con, "SELECT channels, category, attachment_count FROM tickets")
    assert ticket["category"] == "penerangan_listrik"


def test_a_form_that_landed_with_its_photos_inside_still_reads() -> None:
    payload = {
        "fields": {"uraian": "Lampu mati"},
        "files": [{"name": "a.jpg", "type": "image/jpeg", "data": b64encode(b"x" * 10).decode()}],
    }
    draft = form.decode(Message("1", "1", json.dumps(payload).encode(), form.PAYLOAD_TYPE, NOW), STREAM)
    assert draft.attachments == [Attachment(type="image/jpeg", name="a.jpg", size=10)] and draft.lat is None


@given(fields=JSONS, place=JSONS, files=JSONS)
def test_no_payload_breaks_the_reading(fields: object, place: object, files: object) -> None:
    payload = json.dumps({"fields": fields, "place": place, "files": files}).encode()
    with suppress(RejectedMessage, FilteredMessage):
        form.decode(Message("1", "1", payload, form.PAYLOAD_TYPE, NOW), STREAM)


def test_a_payload_that_is_broken_is_set_aside() -> None:
    message = Message("1", "1", b"{", form.PAYLOAD_TYPE, NOW)
    with pytest.raises(RejectedMessage, match="rusak"):
        form.decode(message, STREAM)
