"""What bytes are, said by the bytes: neither a name nor a sender is believed."""

from __future__ import annotations

from hashlib import sha256
from io import BytesIO
from zipfile import ZIP_DEFLATED, ZipFile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.sources import attached
from pipelines.sources.attached import Beside, described, type_of
from pipelines.sources.pictures import phash_of
from tests.pictures import picture, png_claiming, scene


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (picture("JPEG"), "image/jpeg"),
        (picture("PNG"), "image/png"),
        (picture("WEBP"), "image/webp"),
        (picture("GIF"), "image/gif"),
        (b"%PDF-1.7 ...", "application/pdf"),
        (b"\0\0\0\x18ftypmp42....", "video/mp4"),
        (b"\0\0\0\x18ftypheic....", "image/heic"),
        (b"OggS....", "audio/ogg"),
        (picture("PNG")[:40], None),
        (picture("TIFF"), None),
        (b"<html><script>alert(1)</script>", None),
        (b"\xff\xd8\xff\xe0 no picture", None),
        (b"MZ\x90\0", None),
        (b"", None),
    ],
)
def test_a_type_is_told_by_the_bytes(data: bytes, kind: str | None) -> None:
    assert type_of(data) == kind


def test_a_picture_too_large_to_look_at_is_none_and_is_not_decoded() -> None:
    assert type_of(png_claiming(9_000, 9_000)) == "image/png"
    assert type_of(png_claiming(20_000, 20_000)) is None
    assert type_of(png_claiming(60_000, 60_000)) is None


def test_a_claim_counts_only_for_what_cannot_be_told() -> None:
    page = b"<html><script>alert(1)</script>"
    assert described(page, "foto.jpg", "image/jpeg")["type"] == "application/octet-stream"
    assert described(picture("PNG"), "surat.pdf", "application/pdf")["type"] == "image/png"
    assert described(b"PK..", "surat.docx", "application/msword") == {
        "type": "application/msword", "size": 4, "sha256": sha256(b"PK..").hexdigest(), "name": "surat.docx",
    }  # fmt: skip


def test_a_picture_that_shows_enough_is_described_by_what_it_looks_like_too() -> None:
    photo = scene()
    assert described(photo, "foto.jpg") == {
        "type": "image/jpeg", "size": len(photo), "sha256": sha256(photo).hexdigest(), "phash": phash_of(photo),
        "name": "foto.jpg",
    }  # fmt: skip
    for other in (photo[: len(photo) // 2], picture(), png_claiming(9_000, 9_000), b"%PDF-1.7 " + photo):
        assert described(other) == {
            "type": type_of(other), "size": len(other), "sha256": sha256(other).hexdigest(),
        }, "cut off, empty, a bomb, no picture"  # fmt: skip


def test_what_is_too_large_or_empty_is_named_and_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attached, "MAX_BYTES", 10)
    assert described(b"x" * 11, "besar.bin") == {"type": "application/octet-stream", "size": 11, "name": "besar.bin"}
    assert "sha256" in described(b"x" * 10)
    assert "sha256" not in described(b"")


@given(st.one_of(st.binary(max_size=200), st.binary(max_size=60).map(lambda b: picture()[:100] + b + picture()[100:])))
def test_no_bytes_make_it_fail(data: bytes) -> None:
    assert type_of(data) is None or "/" in str(type_of(data))


def test_a_file_beside_a_table_is_found_by_the_last_part_of_its_name_if_only_one_has_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(attached, "MAX_BYTES", 1_000)
    packed = BytesIO()
    with ZipFile(packed, "w", ZIP_DEFLATED) as made:
        for name, data in (
            ("foto/Satu.JPG", b"satu"), ("a/dua.jpg", b"dua"), ("b/dua.jpg", b"lain"), ("../../etc/tiga.jpg", b"tiga"),
            ("besar.jpg", b"0" * 1_001), ("kosong.jpg", b""),
        ):  # fmt: skip
            made.writestr(name, data)
    with ZipFile(packed) as archive:
        beside = Beside(archive, archive.infolist())
        found = {
            name: beside.get(name)
            for name in (
                "foto/satu.jpg", "C:\\foto\\SATU.jpg", "dua.jpg", "tiga.jpg", "besar.jpg", "kosong.jpg", "tidak ada", "",
            )
        }  # fmt: skip
    assert {name: data for name, data in found.items() if data} == {
        "foto/satu.jpg": b"satu", "C:\\foto\\SATU.jpg": b"satu", "tiga.jpg": b"tiga",
    }  # fmt: skip
