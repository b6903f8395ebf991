"""Perceptual hashes: copies of a picture stay near, other pictures stay far, and pictures of nothing have none."""

from __future__ import annotations

from io import BytesIO
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from benchmarks.drawn import OTHERS, PHOTOS, hole, jpeg, page, street
from benchmarks.photos import copies
from pipelines.sources import pictures
from pipelines.sources.pictures import phash_of
from tests.pictures import picture, png_claiming

SAME = 6  # bits of 64


def distance(a: str | None, b: str | None) -> int:
    assert a is not None and b is not None
    return (int(a, 16) ^ int(b, 16)).bit_count()


def saved(of: Image.Image, kind: str, **options: Any) -> bytes:
    out = BytesIO()
    of.save(out, kind, **options)
    return out.getvalue()


@pytest.mark.parametrize("kind", PHOTOS)
def test_smaller_and_recompressed_copies_stay_within_the_distance(kind: str) -> None:
    seen = 0
    for seed in range(5):
        original = PHOTOS[kind](seed, 1200, 900)
        if (found := phash_of(jpeg(original, 92))) is None:  # too dark
            continue
        for done, data in copies(original, seed):
            if "cut" not in done:
                assert distance(phash_of(data), found) <= SAME, (seed, done)
                seen += 1
    assert seen >= 18


def test_a_picture_cut_by_a_hundredth_on_each_side_is_still_the_same() -> None:
    for seed in range(8):
        original = street(seed, 1200, 900)
        cut = dict(copies(original, seed))["cut by 1% on each side"]
        assert distance(phash_of(jpeg(original, 92)), phash_of(cut)) <= SAME


def test_pictures_of_different_things_are_apart_however_alike_they_are_made() -> None:
    hashes = [phash_of(jpeg(draw(seed, 320, 240))) for draw in PHOTOS.values() for seed in range(40)]
    told = [found for found in hashes if found]
    assert len(told) > 130
    assert min(distance(a, b) for a, b in combinations(told, 2)) > SAME


@pytest.mark.parametrize("kind", ["page", "black", "blank", "fade"])
def test_pictures_that_show_nothing_have_no_hash(kind: str) -> None:
    assert {phash_of(jpeg(OTHERS[kind](seed), quality)) for seed in range(20) for quality in (50, 90)} == {None}


@pytest.mark.parametrize("colour", ["black", "white", "brown"])
def test_a_picture_of_one_colour_has_no_hash(colour: str) -> None:
    assert {phash_of(picture(kind, (640, 480), colour)) for kind in ("JPEG", "PNG", "WEBP", "GIF")} == {None}


def test_what_a_picture_says_of_itself_does_not_matter_but_for_the_way_up() -> None:
    told, told_turned = Image.Exif(), Image.Exif()
    told[0x010F], told[0x0132], told_turned[0x0112] = "Ponsel", "2026:11:20 08:00:00", 8
    original = street(3)
    bare = phash_of(jpeg(original))
    assert phash_of(jpeg(original, exif=told, comment=b"Warga Satu")) == bare
    turned = jpeg(original.transpose(Image.Transpose.ROTATE_270), exif=told_turned)
    assert distance(phash_of(turned), bare) <= SAME
    with Image.open(BytesIO(turned)) as opened:
        assert distance(phash_of(jpeg(ImageOps.exif_transpose(opened))), bare) <= SAME, "turned for good, without EXIF"


def test_a_picture_is_the_same_in_every_format_and_of_several_the_first_counts() -> None:
    original, other = street(5), hole(5)
    found = phash_of(jpeg(original, 92))
    more = {"save_all": True, "append_images": [other]}
    for kind, options in (("PNG", {}), ("WEBP", {}), ("GIF", {}), ("GIF", more), ("WEBP", more), ("MPO", more)):
        assert distance(phash_of(saved(original, kind, **options)), found) <= SAME, (kind, options)
    for mode in ("L", "LA", "P", "RGBA", "1"):
        assert distance(phash_of(saved(original.convert(mode), "PNG")), found) <= SAME, mode
    assert distance(phash_of(saved(original.convert("CMYK"), "JPEG")), found) <= SAME


def test_what_lies_under_a_transparent_place_is_not_seen() -> None:
    shown = street(7).convert("RGBA")
    hidden = hole(7).convert("RGBA")
    hidden.putalpha(0)
    assert phash_of(saved(hidden, "PNG")) is None, "white"
    veiled = Image.alpha_composite(Image.new("RGBA", shown.size, "white"), shown)
    veiled.paste((200, 0, 0, 0), (0, 0, 80, 480))
    on_white = Image.new("RGB", shown.size, "white")
    on_white.paste(shown.convert("RGB").crop((80, 0, 640, 480)), (80, 0))
    assert phash_of(saved(veiled, "PNG")) == phash_of(saved(on_white, "PNG"))


def test_bombs_are_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    photo = saved(street(1, 1600, 1200), "JPEG", progressive=True)
    again = photo[photo.rindex(b"\xff\xda") : -2]
    assert phash_of(photo)
    monkeypatch.setattr(pictures, "_cells", lambda opened: pytest.fail("decoded"))
    assert phash_of(photo[:-2] + again * 40 + photo[-2:]) is None, "forty times over the whole picture"
    for side in (4_001, 20_000, 60_000):
        assert phash_of(png_claiming(side, side)) is None
    large = Image.new("L", (4_001, 4_000))
    assert phash_of(saved(large, "JPEG", progressive=True)) is None
    assert phash_of(saved(large, "WEBP")) is None


def test_a_photo_of_fifty_million_pixels_is_looked_at() -> None:
    original = street(2)
    large = original.resize((8_160, 6_120), Image.Resampling.BILINEAR)
    assert distance(phash_of(jpeg(large)), phash_of(jpeg(original))) <= SAME


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF"])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_a_picture_that_is_cut_off_has_no_hash(kind: str, share: float) -> None:
    whole = saved(street(4), kind)
    assert phash_of(whole) and phash_of(whole[: int(len(whole) * share)]) is None


@pytest.mark.parametrize("data", [b"", b"<html>", b"%PDF-1.7", b"\xff\xd8", b"GIF89a", b"RIFF....WEBP", b"\0" * 100])
def test_what_is_no_picture_has_no_hash(data: bytes) -> None:
    assert phash_of(data) is None


SMALL = {kind: saved(street(9, 64, 48), kind) for kind in ("JPEG", "PNG", "WEBP", "GIF")}


@given(st.sampled_from(sorted(SMALL)), st.integers(0, 5_000), st.binary(min_size=1, max_size=40))
def test_no_bytes_make_it_fail(kind: str, place: int, put: bytes) -> None:
    whole = SMALL[kind]
    place %= len(whole)
    found = phash_of(whole[:place] + put + whole[place + len(put) :])
    assert found is None or (len(found) == 16 and int(found, 16).bit_count() in range(8, 57))


def test_pages_and_screens_that_have_a_hash_are_not_taken_for_each_other() -> None:
    found = [phash_of(jpeg(draw(seed))) for draw in (OTHERS["chat"], page) for seed in range(60)]
    assert min(distance(a, b) for a, b in combinations(filter(None, found), 2)) > SAME
