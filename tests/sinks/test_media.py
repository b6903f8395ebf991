"""Files that came along: kept by their hash before the message that tells of them."""

from __future__ import annotations

import stat
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest

from pipelines.contracts import Message, Stream
from pipelines.sinks import landing as landing_module
from pipelines.sinks.landing import Head, Landing
from pipelines.sinks.media import Media

NOW = datetime(2026, 11, 20, 1, 0, tzinfo=UTC)
DIGEST = sha256(b"foto").hexdigest()


def test_equal_bytes_are_one_file_for_its_owner_alone(tmp_path: Path) -> None:
    media = Media(tmp_path / "data" / "media")
    assert media.keep(b"foto") == media.keep(b"foto") == DIGEST
    assert [p.relative_to(media.root).as_posix() for p in media.root.rglob("*") if p.is_file()] == [
        f"{DIGEST[:2]}/{DIGEST}"
    ]
    for folder in (media.root, media.path(DIGEST).parent):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_what_is_missing_damaged_or_no_hash_is_told_apart(tmp_path: Path) -> None:
    media = Media(tmp_path / "media")
    media.keep(b"foto")
    assert (media.fault(DIGEST, whole=True), media.fault(DIGEST, whole=False)) == (None, None)
    media.path(DIGEST).write_bytes(b"lain")
    assert (media.fault(DIGEST, whole=True), media.fault(DIGEST, whole=False)) == ("damaged", None)
    media.path(DIGEST).unlink()
    assert (media.fault(DIGEST, whole=True), media.fault(DIGEST, whole=False)) == ("missing", "missing")
    assert media.fault("../../etc/passwd", whole=True) == "missing"
    with pytest.raises(ValueError):
        media.path("../../../etc/passwd")


def test_a_message_lands_only_after_what_came_along_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    landing = Landing(tmp_path / "landing")
    message = Message("a", "1", b"{}", "application/json", NOW, media=(b"foto", b"foto", b"surat"))
    there: list[int] = []
    original = landing_module.put_if_absent

    def watched(path: Path, data: bytes) -> bool:
        there.append(len([p for p in (tmp_path / "media").rglob("*") if p.is_file()]))
        return original(path, data)

    monkeypatch.setattr(landing_module, "put_if_absent", watched)
    landing.put(
        Stream("email", "dki", "imap", {}), Head(-1, None), [message], {}, source_version="1", run_id="r", now=NOW
    )
    assert there == [2]
