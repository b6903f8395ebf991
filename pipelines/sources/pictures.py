"""A picture's bytes -> its perceptual hash: what it looks like in 64 bits, which resized and recompressed copies keep.

Pure. The hash is ImageHash's `phash`, as other programs have it: 32 x 32 grey levels, their 64 lowest waves, each above
or below the median. Two pictures are as far apart as their hashes differ in bits; how near is one picture is for
whoever compares. What a picture says of itself (EXIF) does not count, but for the way up it is shown.

Belongs here: what a picture looks like. Not here: what bytes are and which are kept (attached).
"""

from __future__ import annotations

import warnings
from io import BytesIO
from threading import Lock

import numpy as np
from imagehash import phash
from PIL import Image, ImageOps

_FORMATS = ("JPEG", "PNG", "GIF", "WEBP")  # JPEG also opens MPO, which phones write
# Pixels of a picture that is looked at. A JPEG is decoded line by line at an eighth of its size; all else, and a
# progressive one, is held whole.
_MOST_PIXELS, _MOST_PIXELS_HELD = 52_000_000, 16_000_000
_MOST_SCANS = 40  # of a JPEG: each goes over the whole picture again, and costs its maker a few bytes
_SCAN = b"\xff\xda"
_DRAFT = (256, 256)  # a JPEG's sides after that are at least so long
_ONE_BY_ONE = Lock()  # pictures held at once, by however many threads
_SIDE = 32
# Measured by benchmarks/photos.py: photos lie on one side, empty ones, skies, pages and chats on the other.
_SAME_GREY, _PLAIN = 4, 0.7  # this share of cells within so many levels of the commonest one: a picture of one colour
_STEP, _SMOOTH = 2.0, 0.08  # fewer cells than this so many levels off their neighbours' mean: nothing is to be seen


def phash_of(data: bytes) -> str | None:
    """16 hex digits; None where there is no picture, it is cut off or too large to look at, or shows too little to
    be told from others. Never raises."""
    if data.startswith(b"\xff\xd8") and data.count(_SCAN) > _MOST_SCANS:
        return None
    try:
        with _ONE_BY_ONE, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd metadata
            with Image.open(BytesIO(data), formats=_FORMATS) as picture:
                by_line = picture.format in ("JPEG", "MPO") and not picture.info.get("progressive")
                if picture.width * picture.height > (_MOST_PIXELS if by_line else _MOST_PIXELS_HELD):
                    return None
                cells = _cells(picture)
    except Exception:  # noqa: BLE001 - bytes made to hurt may make a decoder raise anything
        return None
    return str(phash(cells)) if _is_telling(np.asarray(cells, dtype=np.float64)) else None


def _cells(picture: Image.Image) -> Image.Image:
    """32 x 32 grey levels of a picture as it is shown: first frame, right way up, on white where it lets light through."""
    picture.draft("L", _DRAFT)
    if picture.has_transparency_data:
        layers = picture if picture.mode == "RGBA" else picture.convert("RGBA")
        white = Image.new("L", picture.size, 255)
        grey = Image.composite(layers.convert("L"), white, layers.getchannel("A"))
    else:
        grey = picture.convert("L")
    small = grey.resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    if exif := picture.info.get("exif"):
        small.info["exif"] = exif
    return ImageOps.exif_transpose(small)


def _is_telling(levels: np.ndarray) -> bool:
    """Whether cells (grey levels, 32 x 32) show enough: neither one colour for the most part nor smooth all over.
    Hashes of others hang on noise and on rounding, or are the same for every page with some lines of text."""
    commonest = np.bincount(levels.astype(np.int64).ravel()).argmax()
    if (np.abs(levels - commonest) <= _SAME_GREY).mean() >= _PLAIN:
        return False
    around = (levels[:-2, 1:-1] + levels[2:, 1:-1] + levels[1:-1, :-2] + levels[1:-1, 2:]) / 4
    return bool((np.abs(levels[1:-1, 1:-1] - around) >= _STEP).mean() >= _SMOOTH)
