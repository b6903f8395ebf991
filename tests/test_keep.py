"""`kanal compact`, `kanal media` and files that came along, over a running system: nothing that landed is lost on the way."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from hashlib import sha256
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import duckdb
import orjson
import pytest
from typer.testing import CliRunner

from pipelines import flow, keep, media
from pipelines.audit import audit
from pipelines.cli import app
from pipelines.defs import backlog
from pipelines.errors import PermanentError, SettingsError
from pipelines.published import open_snapshot
from pipelines.rebuild import rebuild
from pipelines.settings import Media as FetchRules
from pipelines.settings import Settings
from pipelines.sinks import compaction
from pipelines.sinks.landing import BatchRef, Landing
from pipelines.sinks.media import Media
from pipelines.sinks.warehouse import open_warehouse
from pipelines.sources.pictures import phash_of
from pipelines.status import status
from pipelines.trace import trace_thing
from tests.conftest import stream_toml
from tests.made_up import HEADER, JAKI, KELURAHAN, ROWS, write
from tests.pictures import picture, scene
from tests.sources.test_web import answer, serving

NOW = datetime(2026, 11, 20, 1, 0, tzinfo=UTC)
ONE_BY_ONE = JAKI.replace('name = "app"', 'name = "app"\nbatch_rows = 1')


@pytest.fixture
def ran(starting_from: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Six batches of one report loaded, one more waiting, and one of another stream."""
    monkeypatch.setattr(compaction, "_LEAST", 2)
    return starting_from(_ran)


def _ran(place: Path, make: Callable[..., Settings]) -> Settings:
    settings = make(ONE_BY_ONE + KELURAHAN)
    write(place / "jaki" / "1.csv")
    (place / "kelurahan").mkdir()
    assert not flow.run(settings, now=lambda: NOW).failures
    write(place / "jaki" / "2.csv", [ROWS[0] | {"isi": "Lubangnya makin dalam", "diubah": "04/10/2026 10:00"}])
    for stream in settings.streams:
        flow.land(settings, stream, run_id="r", now=lambda: NOW)
    return settings


def _told(settings: Settings) -> dict[str, Any]:
    landing = Landing(settings.landing_dir)
    found = audit(settings)
    return {
        "status": status(settings),
        "audit": (found.exact, found.streams),
        "trace": [
            trace_thing(settings, f"jaki/app/{n}/0", where=None, limit=5, verbatim=True).parts["verbatim"]
            for n in range(6)
        ],
        "said": backlog.last_said(landing, settings.streams[0]),
        "rows": backlog.rows_of_day(landing, "jaki", "app", NOW.date()),
        "days": backlog.days_waiting(landing, backlog.Recorded(str(landing.root)), -1),
    }


def test_every_command_says_of_segments_what_it_said_of_files(ran: Settings) -> None:
    before = _told(ran)
    assert before["audit"][0] and before["status"]["streams"][0]["waiting"] == 1
    [jaki] = keep.compact_all(ran, keep_newest=1)
    assert (jaki.stream, jaki.batches, jaki.files_before, jaki.files_after) == ("jaki/app", 6, 7, 2)
    assert _told(ran) == before


def test_what_waits_is_loaded_and_a_rebuild_is_the_same_from_segments_as_from_files(ran: Settings) -> None:
    plain = ran.data_dir.with_name("plain")
    shutil.copytree(ran.data_dir, plain, symlinks=True)
    other = Settings(ran.path, plain, ran.models_dir, ran.streams, workers=1)
    keep.compact_all(ran, keep_newest=1)
    for settings in (ran, other):
        assert flow.load(settings, run_id="l", now=lambda: NOW).reports == 1
        assert audit(settings).exact
    assert Landing(ran.landing_dir).files("jaki", "app") == [6]
    compacted, files = rebuild(ran, now=lambda: NOW), rebuild(other, now=lambda: NOW)
    assert compacted.before == compacted.after == files.after


def test_a_missing_segment_stops_its_stream_until_it_is_restored(ran: Settings) -> None:
    keep.compact_all(ran, keep_newest=1)
    folder = ran.landing_dir / "jaki" / "app" / "segments"
    folder.rename(folder.with_name("elsewhere"))
    failures: dict[str, str] = {}
    flow.load(ran, run_id="l", now=lambda: NOW, failures=failures)
    assert "landing file number 0 is missing; restore it from a backup" in failures["jaki/app"]
    found = audit(ran)
    assert "batch jaki/app number 3 is in the ledger, but its landing file is gone" in found.faults
    folder.with_name("elsewhere").rename(folder)
    assert flow.load(ran, run_id="l", now=lambda: NOW).reports == 1


def test_one_streams_trouble_stops_no_other(ran: Settings, tmp_path: Path) -> None:
    for n in range(3):
        rows = [{"isi": f"Trotoar rusak di Kelurahan Senen dekat halte {n}", "tanggal": "05/10/2026"}]
        write(tmp_path / "kelurahan" / f"{n}.csv", rows)
        flow.land(ran, ran.streams[1], run_id="r", now=lambda: NOW)
    torn = Landing(ran.landing_dir).path(BatchRef("jaki", "app", 1))
    torn.write_bytes(b"PAR1")
    with pytest.raises(PermanentError, match="jaki/app number 1 cannot be read"):
        keep.compact_all(ran, keep_newest=1)
    landing = Landing(ran.landing_dir)
    assert (landing.files("jaki", "app"), landing.files("kelurahan", "meja")) == (list(range(7)), [2])


def test_the_command_tells_what_it_merged_and_that_nothing_is_left(ran: Settings) -> None:
    def command(*more: str) -> Any:
        return CliRunner().invoke(app, ["compact", "--config", str(ran.path), "--keep-newest", "1", *more])

    shown = command("--channel", "jaki", "--json")
    [row] = orjson.loads(shown.stdout)
    assert {k: row[k] for k in ("stream", "batches", "segments", "files_before", "files_after")} == {
        "stream": "jaki/app", "batches": 6, "segments": 1, "files_before": 7, "files_after": 2,
    }  # fmt: skip
    assert "nothing to merge" in command().stdout
    refused = command("--channel", "qlue")
    assert (refused.exit_code, "nothing of 'qlue' has landed" in refused.stderr) == (1, True)


# --- files that came along ------------------------------------------------------------------

PHOTOS = JAKI.replace('edited_at = "diubah"', 'edited_at = "diubah", attachments = "foto"')
MAIL = stream_toml("email", "dki", "imap", source_dir="mails")


def _with_photos(make_settings: Callable[..., Settings], folder: Path) -> tuple[Settings, list[bytes]]:
    """A ZIP of two rows with a photo each and a mail with one, loaded; the photos."""
    photos = [picture(colour=colour) for colour in ("red", "green", "blue")]
    sheet = write(folder / "x.csv", [ROWS[0] | {"foto": "a.jpg"}, ROWS[3] | {"foto": "b.jpg"}], (*HEADER, "foto"))
    (folder / "jaki").mkdir()
    with ZipFile(folder / "jaki" / "1.zip", "w") as made:
        made.write(sheet, "rekap.csv")
        for name, photo in zip(("a.jpg", "b.jpg"), photos, strict=False):
            made.writestr(f"foto Warga Satu/{name}", photo)
    (folder / "mails").mkdir()
    mail = EmailMessage()
    mail["From"], mail["Subject"] = "Warga Tujuh <tujuh@example.com>", "Pohon tumbang"
    mail.set_content("Pohon tumbang di Jl. Melati, Tebet Barat.")
    mail.add_attachment(photos[2], maintype="image", subtype="jpeg", filename="Warga Tujuh.jpg")
    (folder / "mails" / "1.eml").write_bytes(mail.as_bytes())
    settings = make_settings(PHOTOS + MAIL)
    assert not flow.run(settings, now=lambda: NOW).failures
    return settings, photos


def _kept(settings: Settings) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in settings.media_dir.rglob("*") if p.is_file()}


def test_photos_of_a_zip_and_a_mail_are_kept_and_officers_find_them_by_their_hash(
    make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    settings, photos = _with_photos(make_settings, tmp_path)
    digests = [sha256(photo).hexdigest() for photo in photos]
    assert _kept(settings) == dict(zip(digests, photos, strict=True))
    with duckdb.connect(str(settings.crm), read_only=True) as crm:
        rows = crm.execute("SELECT channel, attachments FROM ticket_reports ORDER BY channel DESC").fetchall()
    files = [file for _, attachments in rows for file in orjson.loads(attachments)]
    assert sorted(file["sha256"] for file in files) == sorted(digests)
    assert {(file["type"], file["size"]) for file in files} == {("image/jpeg", len(photos[0]))}
    assert "Tujuh" not in str(files), "a file's name may be that of its author"
    assert not any("Warga" in str(path) for path in settings.media_dir.rglob("*"))
    with open_snapshot(settings) as con:
        for (table,) in con.execute("SELECT table_name FROM duckdb_tables()").fetchall():
            assert not any(digests[2] in str(row) for row in con.execute(f"FROM {table}").fetchall()), table


def test_the_audit_proves_that_every_file_is_there_and_has_its_hash(
    make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    settings, photos = _with_photos(make_settings, tmp_path)
    found = audit(settings)
    assert (found.exact, found.media) == (True, {"files": 3, "read": 3, "missing": 0, "damaged": 0})
    first, _, third = (sha256(photo).hexdigest() for photo in photos)
    kept = Media(settings.media_dir)
    kept.path(first).write_bytes(b"lain")
    kept.path(third).unlink()
    found = audit(settings, all_media=True)
    assert (found.exact, found.media) == (False, {"files": 3, "read": 3, "missing": 1, "damaged": 1})
    assert sorted(found.faults)[0].startswith(f"file {min(first, third)} of a report in batch ")
    shown = CliRunner().invoke(app, ["audit", "--all-media", "--config", str(settings.path)])
    assert (shown.exit_code, shown.stdout.count("kanal media restore")) == (1, 2)


def test_only_a_sample_is_read_unless_all_is_asked_for(
    make_settings: Callable[..., Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, _ = _with_photos(make_settings, tmp_path)
    monkeypatch.setattr("pipelines.audit._SAMPLE", 1)
    assert audit(settings).media == {"files": 3, "read": 1, "missing": 0, "damaged": 0}
    assert audit(settings, all_media=True).media["read"] == 3


# --- files that reports only tell the address of --------------------------------------------


def _allowing(settings: Settings, **more: Any) -> Settings:
    """As no kanal.toml can say: a host on this machine."""
    rules: dict[str, Any] = {"fetch": True, "allow": ("localhost",), "timeout_seconds": 5.0} | more
    return replace(settings, media=FetchRules(**rules))


def _told_addresses(make_settings: Callable[..., Settings], folder: Path, base: str) -> Settings:
    """Four reports with an address each, one of them with two and one not on the list."""
    told = [f"{base}/a.jpg", f"{base}/gone.jpg https://example.com/x.jpg", f"{base}/busy.jpg", f"{base}/a.jpg"]
    rows = [row | {"foto": foto} for row, foto in zip((ROWS[0], ROWS[2], ROWS[3], ROWS[5]), told, strict=True)]
    write(folder / "jaki" / "1.csv", [row | {"foto": row["foto"].replace(" ", "|")} for row in rows], (*HEADER, "foto"))
    settings = make_settings(PHOTOS)
    assert not flow.run(settings, now=lambda: NOW).failures
    return settings


def _attachments(settings: Settings) -> dict[str, Any]:
    with duckdb.connect(str(settings.crm), read_only=True) as crm:
        rows = crm.execute("SELECT external_ref, attachments FROM ticket_reports ORDER BY 1").fetchall()
    return {ref: orjson.loads(attachments) for ref, attachments in rows}


PHOTO = scene()
FILE = {"type": "image/jpeg", "size": len(PHOTO), "sha256": sha256(PHOTO).hexdigest(), "phash": phash_of(PHOTO)}
PAGES = {"/a.jpg": answer(PHOTO), "/gone.jpg": answer(b"", 404), "/busy.jpg": answer(b"", 503)}


def test_nothing_is_fetched_unless_settings_say_so(make_settings: Callable[..., Settings], tmp_path: Path) -> None:
    with serving(PAGES) as (base, asked):
        settings = _told_addresses(make_settings, tmp_path, base)
        for rules in (FetchRules(), FetchRules(allow=("localhost",)), FetchRules(fetch=True)):
            with pytest.raises(SettingsError, match="nothing is fetched unless"):
                media.fetch(replace(settings, media=rules), allow_loopback=True)
        found = media.fetch(_allowing(settings))
        assert (found.elsewhere, found.fetched, asked) == (5, 0, []), "this machine is never asked in production"
    shown = CliRunner().invoke(app, ["media", "fetch", "--config", str(settings.path)])
    assert (shown.exit_code, "nothing is fetched unless" in shown.stderr) == (1, True)


def test_a_fetched_photo_reaches_its_reports_and_a_rebuild_knows_it(
    make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    with serving(PAGES) as (base, asked):
        settings = _allowing(_told_addresses(make_settings, tmp_path, base))
        before = _attachments(settings)
        found = media.fetch(settings, now=lambda: NOW, allow_loopback=True)
        assert (found.fetched, found.known, found.failed, found.elsewhere) == (1, 1, 2, 1)
        assert sorted(asked) == ["/a.jpg", "/busy.jpg", "/gone.jpg"], "an address is asked once for two reports"
        assert _kept(settings) == {FILE["sha256"]: PHOTO}
        again = media.fetch(settings, now=lambda: NOW, allow_loopback=True)
        assert (again.waiting, again.later, again.fetched + again.known, len(asked)) == (2, 2, 0, 3)
        result = flow.run(settings, now=lambda: NOW)
        assert (result.failures, result.loaded.events, result.delivered) == ({}, 4, 2)
    after = _attachments(settings)
    with_photo = {ROWS[0]["nomor"], ROWS[5]["nomor"]}
    assert after == {
        ref: [file | FILE if ref in with_photo else file for file in files] for ref, files in before.items()
    }
    found_ = audit(settings, all_media=True)
    assert (found_.exact, found_.media["files"]) == (True, 1)
    rebuilt = rebuild(settings, now=lambda: NOW)
    assert rebuilt.before == rebuilt.after
    with open_snapshot(settings) as con:
        events = con.execute("SELECT event, actor FROM ticket_events WHERE event = 'attached'").fetchall()
    assert events == [("attached", "pipeline")] * 2


def test_a_dead_link_is_not_asked_for_ever_and_a_busy_host_is_asked_later(
    make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    with serving(PAGES) as (base, asked):
        settings = _allowing(_told_addresses(make_settings, tmp_path, base))
        hours = (0, 0.5, 1, 2, 7, 8, 31, 32, 103, 104, 500, 9_000)
        for hour in hours:
            media.fetch(settings, now=lambda hour=hour: NOW + timedelta(hours=hour), allow_loopback=True)
    assert (asked.count("/a.jpg"), asked.count("/gone.jpg"), asked.count("/busy.jpg")) == (1, 1, 5)


def test_the_result_does_not_depend_on_how_the_log_was_cut_and_an_edit_gets_its_photo_again(
    make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    with serving(PAGES) as (base, asked):
        settings = _allowing(_told_addresses(make_settings, tmp_path, base))
        media.fetch(settings, now=lambda: NOW, allow_loopback=True)
        edited = ROWS[0] | {"foto": f"{base}/a.jpg", "isi": "Lubangnya makin dalam", "diubah": "04/10/2026 10:00"}
        later = NOW + timedelta(hours=2)
        write(tmp_path / "jaki" / "2.csv", [edited], (*HEADER, "foto"))
        flow.land(settings, settings.streams[0], run_id="r", now=lambda: later)
        cut = replace(settings, data_dir=tmp_path / "cut", group_rows=1)
        shutil.copytree(settings.data_dir, cut.data_dir, symlinks=True)
        hashes = []
        for each in (settings, cut):
            flow.load(each, run_id="l", now=lambda: later)
            with open_warehouse(each.warehouse) as warehouse:
                tables = warehouse.table_hashes()
            hashes.append((tables["reports"], tables["tickets"], tables["ticket_events"]))
        assert hashes[0] == hashes[1]
        found = media.fetch(settings, now=lambda: later, allow_loopback=True)
        assert (found.known, asked.count("/a.jpg")) == (1, 1), "the edited version has lost it, and needs no fetching"
        assert not flow.run(settings, now=lambda: later).failures
    assert _attachments(settings)[ROWS[0]["nomor"]][0].items() >= FILE.items()


def test_at_most_so_many_addresses_are_asked_a_run(make_settings: Callable[..., Settings], tmp_path: Path) -> None:
    with serving(PAGES) as (base, asked):
        settings = _allowing(_told_addresses(make_settings, tmp_path, base), per_run=1)
        found = media.fetch(settings, now=lambda: NOW, allow_loopback=True)
        assert (found.fetched, found.known, found.left, asked) == (1, 1, 2, ["/a.jpg"])


def test_files_of_mails_are_restored_from_landing_and_the_others_are_told(
    make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    settings, photos = _with_photos(make_settings, tmp_path)
    first, second, third = (sha256(photo).hexdigest() for photo in photos)
    kept = Media(settings.media_dir)
    kept.path(first).unlink()
    kept.path(third).write_bytes(b"lain")
    assert media.restore(settings) == {"restored": 1, "lost": 1}
    assert _kept(settings) == {second: photos[1], third: photos[2]}
    shown = CliRunner().invoke(app, ["media", "restore", "--config", str(settings.path)])
    assert (shown.exit_code, "0 restored from mails; 1 are in no mail" in shown.stdout) == (3, True)
