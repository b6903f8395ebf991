"""How far apart the perceptual hashes of pictures lie: copies of one, and pictures of different things; and what it costs.

    python -m benchmarks.photos 300
    python -m benchmarks.photos --pairs 2000     photos alone, more of them, 320 x 240
    python -m benchmarks.photos --cost

Drawn pictures (benchmarks/drawn.py), saved as JPEG; of a kind so many. A copy goes through one of the things that
messengers and people do to a picture. Two pictures are told to be one where at most so many of 64 bits differ.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from io import BytesIO
from multiprocessing import get_context
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image, ImageEnhance

from benchmarks.drawn import OTHERS, PHOTOS, Picture, jpeg, street
from pipelines.sources.pictures import phash_of

WITHIN = (2, 4, 6, 8, 10, 12)
_ROTATED, _ORIENTATION = 6, 0x112


def copies(picture: Picture, seed: int) -> Iterator[tuple[str, bytes]]:
    """(what was done, the bytes that came of it)."""
    r = Random(seed)

    def smaller(of: Picture, share: float) -> Picture:
        way = r.choice((Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS))
        return of.resize((int(of.width * share), int(of.height * share)), way)

    yield "30-70% of the size", jpeg(smaller(picture, r.uniform(0.3, 0.7)), 85)
    yield "quality 40-80", jpeg(picture, r.randint(40, 80))
    small = jpeg(smaller(picture, r.uniform(0.3, 0.7)), r.randint(40, 80))
    yield "both", small
    yield "both, twice", jpeg(smaller(Image.open(BytesIO(small)), 0.6), r.randint(40, 80))
    exif = Image.Exif()
    exif[_ORIENTATION] = _ROTATED
    yield "turned by EXIF", jpeg(picture.transpose(Image.Transpose.ROTATE_90), 80, exif=exif)
    yield "15% lighter or darker", jpeg(ImageEnhance.Brightness(picture).enhance(r.choice((0.85, 1.15))), 80)
    w, h = picture.size
    for share in (0.01, 0.02, 0.04):
        x, y = int(w * share), int(h * share)
        yield f"cut by {share:.0%} on each side", jpeg(picture.crop((x, y, w - x, h - y)), 80)


def bits(data: bytes) -> np.ndarray | None:
    """The 64 bits of a picture's hash."""
    found = phash_of(data)
    return None if found is None else np.unpackbits(np.frombuffer(bytes.fromhex(found), np.uint8))


def shares(distances: np.ndarray) -> str:
    return ", ".join(f"{d} {(distances <= d).mean():.4%}" for d in WITHIN)


def apart(hashes: list[np.ndarray]) -> np.ndarray:
    """Distances of all pairs."""
    signs = np.array(hashes, np.float32) * 2 - 1
    return ((64 - signs @ signs.T) / 2).round().astype(np.int16)[np.triu_indices(len(hashes), 1)]


def measure(count: int) -> None:
    """Print what this file's docstring promises."""
    hashes: dict[str, list[np.ndarray]] = {}
    near: dict[str, list[int]] = {}
    lost: dict[str, int] = {}
    for name, draw in (PHOTOS | OTHERS).items():
        hashes[name] = []
        for seed in range(count):
            picture = draw(seed, *((1200, 900) if name in PHOTOS and seed < count // 5 else ()))
            original = bits(jpeg(picture, 92))
            if original is None:
                continue
            hashes[name].append(original)
            if name in PHOTOS and seed < count // 5:
                for done, data in copies(picture, seed):
                    copy = bits(data)
                    lost[done] = lost.get(done, 0) + (copy is None)
                    if copy is not None:
                        near.setdefault(done, []).append(int((copy != original).sum()))
    print("have a hash: " + ", ".join(f"{name} {len(found) / count:.1%}" for name, found in hashes.items()))
    print(f"copies within so many bits ({sum(map(len, near.values())):,}):")
    for done, distances in near.items():
        print(f"  {done}: {shares(np.array(distances))}; most {max(distances)}; without a hash {lost[done]}")
    print("pairs of different pictures within so many bits:")
    for name, found in hashes.items():
        if len(found) > 1:
            between = apart(found)
            print(f"  {name}: {shares(between)}; least {between.min()}; of {len(between):,}")
    every = apart([one for name in PHOTOS for one in hashes[name]])
    print(f"  photos of all kinds: {shares(every)}; least {every.min()}; of {len(every):,}")


def pairs(count: int) -> None:
    """Print how near pictures of different things of one kind come to each other."""
    for name, draw in PHOTOS.items():
        found = [one for seed in range(count) if (one := bits(jpeg(draw(seed, 320, 240)))) is not None]
        between = apart(found)
        near = ", ".join(f"{d} {(between <= d).sum():,}" for d in WITHIN)
        print(f"{name}: {near} of {len(between):,} pairs; least {between.min()}", flush=True)


def cost() -> None:
    """Print milliseconds and megabytes a picture, each in a process of its own."""
    small = street(1, 1200, 900)
    cases = {
        "JPEG of 1 MP": jpeg(small), "JPEG of 12 MP": jpeg(small.resize((4000, 3000))),
        "JPEG of 50 MP": jpeg(small.resize((8160, 6120))),
        "progressive JPEG of 16 MP": jpeg(small.resize((4000, 4000)), progressive=True),
    }  # fmt: skip
    for kind, mode in (("PNG", "RGBA"), ("WEBP", "RGB")):
        out = BytesIO()
        small.convert(mode).resize((4000, 4000)).save(out, kind)
        cases[f"{kind} of 16 MP"] = out.getvalue()
    for name, data in cases.items():
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            took, grown = pool.submit(_cost_of, jpeg(small), data).result()
        print(f"  {name}, {len(data) / 1e6:.1f} MB: {took:.0f} ms, {grown:.0f} MB")


def _cost_of(first: bytes, data: bytes) -> tuple[float, float]:
    """(milliseconds, megabytes more than before) that a hash takes, after a first one has loaded all it needs."""
    phash_of(first)
    before, begin = _most_memory(), time.perf_counter()
    phash_of(data)
    return (time.perf_counter() - begin) * 1000, _most_memory() - before


def _most_memory() -> float:
    """Megabytes that this process has held at once, its parent's aside."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", type=int, nargs="?", default=300)
    parser.add_argument("--pairs", type=int, metavar="COUNT", help="so many small pictures of a kind, and nothing else")
    parser.add_argument("--cost", action="store_true", help="what a hash costs, and nothing else")
    asked = parser.parse_args()
    if asked.cost:
        cost()
    elif asked.pairs:
        pairs(asked.pairs)
    else:
        measure(asked.count)


if __name__ == "__main__":
    main()
