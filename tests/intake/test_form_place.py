"""The web form from a blank page to a ticket in a real browser: the place on a map, the photo's bytes, the keyboard."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from html import unescape
from pathlib import Path

import pytest
import requests
import shapely

from pipelines import flow, places
from pipelines.audit import audit
from pipelines.contracts import Attachment
from pipelines.published import ask, open_snapshot
from pipelines.settings import Settings
from pipelines.sinks.warehouse import open_warehouse
from pipelines.sources import form
from tests.conftest import stream_toml
from tests.intake.conftest import UNLIMITED
from tests.intake.test_form import SAID, SECRET, STREAM, TOO_FAST, Site, photo
from tests.intake.test_maps import TEBET, TEBET_BARAT, jakarta, pixel_in, squares
from tests.peers.chromium import Page, browser
from tests.peers.intake import running

# Text on its ground, as WCAG 2.2 reckons: what is too faint (4.5:1; 3:1 where it is large) as text and ratio.
FAINT = """
(() => {
  const part = v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = c => c.match(/[0-9.]+/g).map(Number).slice(0, 3).map(part).reduce((s, v, i) => s + v * [.2126, .7152, .0722][i], 0);
  const ground = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor;
    if (c !== 'rgba(0, 0, 0, 0)') return c; } return 'rgb(255, 255, 255)'; };
  const found = [];
  for (const e of document.querySelectorAll('body *')) {
    const text = [...e.childNodes].filter(n => n.nodeType === 3 && n.textContent.trim()).map(n => n.textContent.trim()).join(' ');
    if ((!text && !e.matches('input,select,textarea')) || e.closest('svg,.trap')) continue;
    const style = getComputedStyle(e), size = parseFloat(style.fontSize), bold = style.fontWeight >= 700;
    const two = [light(style.color), light(ground(e))].sort((a, b) => b - a), ratio = (two[0] + .05) / (two[1] + .05);
    if (ratio < (size >= 24 || (bold && size >= 18.66) ? 3 : 4.5)) found.push([text, ratio]);
    if (e.matches('input:not([type=hidden],[type=image]),select,textarea')) {
      const edge = [light(style.borderTopColor), light(ground(e.parentElement))].sort((a, b) => b - a);
      if ((edge[0] + .05) / (edge[1] + .05) < 3) found.push([e.id, 'edge']);
    }
  }
  return found;
})()
"""


@pytest.fixture
def site(make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Site]:
    """A form over a city with outlines."""
    monkeypatch.setenv("UJI_FORMULIR", SECRET["UJI_FORMULIR"])
    settings = make_settings(
        f"[intake]\n{UNLIMITED}" + stream_toml("balai_warga", "web", "form", secret_env="UJI_FORMULIR")
    )
    features = [
        {"type": "Feature", "properties": {"kode": code}, "geometry": shapely.geometry.mapping(shape)}
        for code, shape in squares().items()
    ]
    (tmp_path / "kota.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}), "utf-8")
    places.install_boundaries(settings, tmp_path / "kota.geojson")
    with running(settings, SECRET) as intake:
        yield Site(settings, intake)


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with browser() as opened:
        yield opened


def reach(page: Page, wanted: str) -> None:
    """Tab until what has the focus is this: an id, or what a button says."""
    for _ in range(80):
        page.tab()
        if page.ask("document.activeElement.id || document.activeElement.textContent") == wanted:
            return
    raise AssertionError(f"the keyboard does not reach {wanted}")


def walk(page: Page, width: int) -> None:
    """From a map of the city to a point in Tebet Barat, touch by touch."""
    size = 320 if width < 680 else 600
    for code, wanted in (("", "31.74"), ("31.74", TEBET), (TEBET, TEBET_BARAT)):
        page.touch(f".wide{size}", *pixel_in(jakarta(), code, size, wanted))


@pytest.mark.parametrize(("width", "height"), [(360, 740), (1280, 800)])
def test_a_form_filled_by_keyboard_with_photo_and_point_becomes_a_ticket_and_the_audit_is_exact(
    site: Site, page: Page, tmp_path: Path, width: int, height: int
) -> None:
    page.open(site.address, width=width, height=height)
    assert page.ask(FAINT) == []
    reach(page, "uraian")
    page.write("Got mampet sejak Senin,\nairnya naik ke jalan")
    reach(page, "lokasi")
    page.write("depan gang")
    reach(page, "Tunjuk di peta")
    page.enter()
    assert page.ask(FAINT) == [] and page.ask("document.documentElement.scrollWidth") == width
    page.picture(tmp_path / f"map-{width}.png")
    walk(page, width)
    assert page.ask("document.querySelector('#titik').textContent").endswith("Kecamatan Tebet, Jakarta Selatan")
    assert page.ask(FAINT) == []
    reach(page, "telepon")
    page.write("nol delapan")
    page.enter()  # Enter in a field sends the form, not the first button in it
    assert page.ask("[document.activeElement.id, document.title.slice(0, 3)]") == ["perbaiki", "Ada"]
    assert page.ask(FAINT) == []
    reach(page, "telepon")
    page.ask("document.activeElement.value = ''")
    picture = photo(400 + width)
    (tmp_path / "foto.jpg").write_bytes(picture)
    page.choose("#foto", tmp_path / "foto.jpg")
    time.sleep(TOO_FAST)
    reach(page, "Kirim laporan")
    page.enter()
    assert page.ask("document.querySelector('h1').textContent") == "Laporan Anda diterima"
    assert page.ask(FAINT) == []
    assert all(address.startswith((site.intake.url, "data:")) for address in page.requests)

    [message] = site.landed()
    digest = sha256(picture).hexdigest()
    draft = form.decode(message, STREAM)
    assert draft.text == "Got mampet sejak Senin,\r\nairnya naik ke jalan"
    assert draft.attachments == [
        Attachment(type="image/jpeg", size=len(picture), sha256=digest, name="foto.jpg")
    ] and len(message.payload) < 1000  # fmt: skip
    assert draft.lat is not None and squares()[TEBET_BARAT].distance(shapely.Point(draft.lon, draft.lat)) < 0.003
    assert flow.run(site.settings).failures == {}
    with open_snapshot(site.settings) as con:
        [ticket] = ask(con, "SELECT kelurahan_code, place_method, lat, attachment_count FROM tickets")
    with open_warehouse(site.settings.warehouse) as warehouse:
        [(kept,)] = warehouse.con.execute("SELECT attachments FROM reports").fetchall()
    assert (ticket["kelurahan_code"], ticket["lat"], ticket["attachment_count"]) == (TEBET_BARAT, draft.lat, 1)
    assert json.loads(kept)[0]["sha256"] == digest
    assert (site.settings.media_dir / digest[:2] / digest).read_bytes() == picture
    found = audit(site.settings, all_media=True)
    assert found.exact and found.media == {"files": 1, "read": 1, "missing": 0, "damaged": 0}


def test_the_keyboard_alone_chooses_a_kelurahan_by_way_of_the_map_and_nothing_typed_is_lost(
    site: Site, page: Page, tmp_path: Path
) -> None:
    page.open(site.address, width=360, height=740)
    page.type("#uraian", SAID["uraian"])
    (tmp_path / "foto.jpg").write_bytes(photo())
    page.choose("#foto", tmp_path / "foto.jpg")
    reach(page, "Tunjuk di peta")
    page.enter()
    for name in ("Jakarta Selatan", "Tebet", jakarta().names[TEBET_BARAT]):
        spoken = [(role, said) for role, said, _ in page.spoken() if role in ("button", "heading")]
        assert ("heading", "Tunjuk tempatnya") in spoken and [
            r for r, said in spoken if r == "button" and not said
        ] == []
        reach(page, name)
        page.enter()
    assert page.ask("document.querySelector('#kelurahan').value") == TEBET_BARAT
    assert page.ask("document.querySelector('#uraian').value") == SAID["uraian"]
    assert "Pilih lagi fotonya" in page.ask("document.body.textContent")
    assert page.ask("location.hash") == "#tempat"


def test_a_point_can_be_taken_away_and_a_touch_beside_the_city_is_told(site: Site, page: Page) -> None:
    page.open(site.address, width=360, height=740)
    page.press("[value='peta:semua']")
    page.touch(".wide320", 2, 2)
    assert "di luar wilayah" in page.ask("document.querySelector('[role=alert]').textContent")
    walk(page, 360)
    page.press("[value=hapus]")
    left = page.ask("[document.querySelector('#kelurahan').value, document.querySelector('[name=titik]')]")
    assert left == [TEBET_BARAT, None]


def test_a_place_that_was_made_up_is_not_believed(site: Site) -> None:
    token = site.old_token()
    bad = [
        {"kelurahan": "31.99.01.1001"}, {"kelurahan": "<script>"}, {"kelurahan": TEBET},
        {"kelurahan": TEBET_BARAT, "titik": "-7.0,110.0,50"}, {"kelurahan": TEBET_BARAT, "titik": "x"}, {"titik": "-6.2,106.8,50"},
    ]  # fmt: skip
    for place in bad:
        answer = site.send({"tanda": token} | SAID | place)
        assert answer.status_code == 422 and 'id="kelurahan-salah"' in answer.text, place
        assert "<script>" not in answer.text and 'name="titik"' not in answer.text
    steps = ["peta:99", "peta:<b>", "pilih:99", "pilih:", "hapus", "kembali", "peta:"]
    assert [site.send({"tanda": token, "langkah": step} | SAID).status_code for step in steps] == [200] * len(steps)
    touched = site.send({"tanda": token, "peta320.x": "99999999", "peta320.y": "-1", "di": "<b>"} | SAID)
    for pixel in ("9" * 4000, "12345x", "²"):
        at = {"tanda": token, "peta320.x": pixel, "peta320.y": pixel, "di": TEBET}
        assert site.send(at | SAID).status_code == 200, pixel
    assert touched.status_code == 200 and SAID["uraian"] in unescape(touched.text) and "<b>" not in touched.text
    assert site.landed() == []
    assert site.send({"tanda": token, "kelurahan": TEBET_BARAT} | SAID).status_code == 200
    draft = form.decode(site.landed()[0], STREAM)
    place = (draft.kelurahan_reported, draft.kecamatan_reported, draft.kota_reported, draft.lat)
    assert place == (jakarta().names[TEBET_BARAT], "Tebet", "Jakarta Selatan", None)


def test_a_map_is_a_picture_that_may_be_kept_and_others_are_unknown(site: Site) -> None:
    answer = requests.get(f"{site.address}?peta={TEBET}&lebar=320", timeout=20)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/svg+xml")
    assert (
        answer.headers["content-security-policy"] == "default-src 'none'"
        and "max-age" in answer.headers["cache-control"]
    )
    assert re.match(r'<svg xmlns="http://www.w3.org/2000/svg" width="320"', answer.text)
    for query in (
        "peta=99&lebar=320",
        f"peta={TEBET}&lebar=321",
        f"peta={TEBET}",
        "peta=&lebar=%3Cb%3E",
        f"peta={TEBET_BARAT}&lebar=320",
    ):
        assert requests.get(f"{site.address}?{query}", timeout=20).status_code == 404, query
