"""Photos as evidence, end to end: what a report's photo is by its bytes and by its looks stands in its attachments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import orjson

from pipelines import flow, media
from pipelines.audit import audit
from pipelines.rebuild import rebuild
from pipelines.settings import Media as FetchRules
from pipelines.settings import Settings
from pipelines.sinks.landing import Landing
from pipelines.sinks.warehouse import open_warehouse
from pipelines.sources import form
from pipelines.sources.attached import described
from tests.conftest import stream_toml
from tests.made_up import HEADER, JAKI, ROWS, write
from tests.pictures import picture, scene
from tests.sources.test_web import answer, serving

NOW = datetime(2026, 11, 20, 1, 0, tzinfo=UTC)
MORE = ("foto", "sidik", "rupa")
NAMED = JAKI.replace(
    'edited_at = "diubah"', 'edited_at = "diubah", attachments = "foto", photo_sha256 = "sidik", photo_phash = "rupa"'
)
MAIL = stream_toml("email", "dki", "imap", source_dir="mails")
FORM = stream_toml("balai_warga", "web", "form", secret_env="UJI_FORMULIR")
DIGEST, LOOKS = "a1" * 32, "c3a1f00f5a5a3c3c"


def _reports(settings: Settings) -> dict[str, tuple[list[dict[str, Any]], int]]:
    """channel and source_ref where it is the row's own -> (attachments, attachment_count)."""
    with open_warehouse(settings.warehouse) as warehouse:
        rows = warehouse.con.execute(
            "SELECT channel, source_ref, attachments, attachment_count FROM reports ORDER BY ALL"
        ).fetchall()
    return {ref if channel == "jaki" else channel: (orjson.loads(files), n) for channel, ref, files, n in rows}


def test_one_photo_sent_through_mail_form_and_export_is_told_to_be_one(
    make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    photo, smaller, flat = scene(), scene(quality=60, width=320), picture()
    mail = EmailMessage()
    mail["From"], mail["Subject"] = "Warga Tujuh <tujuh@example.com>", "Jalan berlubang"
    mail.set_content("Jalan berlubang di Jl. Melati, Tebet Barat.")
    for number, data in enumerate((photo, flat, photo[:5_000])):
        mail.add_attachment(data, maintype="image", subtype="jpeg", filename=f"{number}.jpg")
    (tmp_path / "mails").mkdir()
    (tmp_path / "mails" / "1.eml").write_bytes(mail.as_bytes())
    told = ({"foto": "a.jpg"}, {"foto": "ya", "sidik": DIGEST, "rupa": LOOKS}, {"foto": "2", "rupa": "bukan"})
    sheet = write(tmp_path / "x.csv", [r | t for r, t in zip(ROWS, told, strict=False)], (*HEADER, *MORE))
    (tmp_path / "jaki").mkdir()
    with ZipFile(tmp_path / "jaki" / "1.zip", "w") as packed:
        packed.write(sheet, "rekap.csv")
        packed.writestr("a.jpg", smaller)
    settings = make_settings(NAMED + MAIL + FORM)
    landing, stream = Landing(settings.landing_dir), next(s for s in settings.streams if s.source == "form")
    sent = form.Sent({"uraian": "Jalan berlubang di Tebet Barat"}, [form.Upload("b.jpg", photo)])
    made = form.message_of(sent, "nomor", NOW)
    assert landing.put(stream, landing.head(stream), [made], {}, source_version=form.VERSION, run_id="r", now=NOW)
    assert not flow.run(settings, now=lambda: NOW).failures

    found = _reports(settings)
    assert found == {
        "email": ([described(data, f"{n}.jpg") for n, data in enumerate((photo, flat, photo[:5_000]))], 3),
        "balai_warga": ([described(photo, "b.jpg")], 1),
        ROWS[0]["nomor"]: ([described(smaller, "a.jpg")], 1),
        ROWS[1]["nomor"]: ([{"type": "photo", "sha256": DIGEST, "phash": LOOKS, "elsewhere": True}], 1),
        ROWS[2]["nomor"]: ([{"type": "photo"}, {"type": "photo"}], 2),
    }  # fmt: skip
    (mailed, blank, cut), ((filled,), _), ((packed_,), _) = (
        found["email"][0], found["balai_warga"], found[ROWS[0]["nomor"]],
    )  # fmt: skip
    assert mailed["sha256"] == filled["sha256"] != packed_["sha256"]
    assert mailed["phash"] == filled["phash"]
    assert (int(mailed["phash"], 16) ^ int(packed_["phash"], 16)).bit_count() <= 6
    assert "phash" not in blank | cut and {"sha256"} <= blank.keys() & cut.keys()
    proved = audit(settings, all_media=True)
    assert (proved.exact, proved.media["files"]) == (True, 4), "a hash that a source names is no file of ours"
    rebuilt = rebuild(settings, now=lambda: NOW)
    assert rebuilt.before == rebuilt.after


def test_a_photo_that_is_fetched_says_more_than_the_hash_its_source_named_and_relinks_nothing(
    make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    photo = scene()
    with serving({"/a.jpg": answer(photo)}) as (base, asked):
        rows = [row | {"foto": f"{base}/a.jpg", "sidik": DIGEST, "rupa": LOOKS} for row in (ROWS[0], ROWS[3])]
        write(tmp_path / "jaki" / "1.csv", rows, (*HEADER, *MORE))
        settings = replace(
            make_settings(NAMED), media=FetchRules(fetch=True, allow=("localhost",), timeout_seconds=5.0)
        )
        assert not flow.run(settings, now=lambda: NOW).failures
        linked = _links(settings)
        first = media.fetch(settings, now=lambda: NOW, allow_loopback=True)
        assert (first.fetched, first.known, asked) == (1, 1, ["/a.jpg"])
        assert not flow.run(settings, now=lambda: NOW).failures
        assert media.fetch(settings, now=lambda: NOW, allow_loopback=True).as_dict()["fetched"] == 0
    known = {"name": "a.jpg", "url": f"{base}/a.jpg", **described(photo)}
    assert _reports(settings) == {row["nomor"]: ([known], 1) for row in rows}
    assert _links(settings) == linked and len({ticket for _, ticket in linked}) == 2
    assert audit(settings, all_media=True).exact


def _links(settings: Settings) -> list[tuple[str, str]]:
    with open_warehouse(settings.warehouse) as warehouse:
        return warehouse.con.execute("SELECT report_id, ticket_id FROM links ORDER BY ALL").fetchall()
