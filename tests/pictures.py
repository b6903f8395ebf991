"""Pictures for tests: small real ones, and one that unpacks to any size."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO

from PIL import Image

from benchmarks.drawn import jpeg, street


def picture(kind: str = "JPEG", size: tuple[int, int] = (8, 6), colour: str = "brown") -> bytes:
    out = BytesIO()
    Image.new("RGB", size, colour).save(out, kind)
    return out.getvalue()


def scene(seed: int = 1, quality: int = 90, width: int = 640) -> bytes:
    """A picture that shows enough to have a perceptual hash; the same seed draws the same street."""
    drawn = street(seed)
    return jpeg(drawn.resize((width, width * 3 // 4)), quality)


def png_claiming(width: int, height: int) -> bytes:
    """A PNG of a few bytes that unpacks to any size: a bomb, where somebody decodes it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
