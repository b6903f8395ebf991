"""Drawn pictures: streets, holes in asphalt, night, patches of colour as photos; pages, chats and empty ones as what is none.

Each from a seed, the same on every machine with the same Pillow and numpy.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from io import BytesIO
from random import Random
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

Picture = Image.Image
Draw = Callable[[int, int, int], Picture]


def jpeg(picture: Picture, quality: int = 90, **options: Any) -> bytes:
    out = BytesIO()
    picture.convert("RGB").save(out, "JPEG", quality=quality, **options)
    return out.getvalue()


def street(seed: int, w: int = 640, h: int = 480) -> Picture:
    """Sky, houses, trees and a road with a dark patch, as from a phone: all are built alike."""
    r, s = Random(seed), max(w, h) / 1200
    horizon = int(h * r.uniform(0.3, 0.55))
    sky = np.array([r.randint(130, 230), r.randint(150, 235), r.randint(170, 255)])
    levels = sky * np.linspace(0.75, 1.2, h)[:, None, None] * (0.8 + 0.3 * _clouds(seed, w, h)[..., None])
    levels[horizon:] = r.randint(60, 130) * (0.6 + 0.7 * _clouds(seed + 1, w, h, (8, 32, 128), 0.6)[horizon:, :, None])
    picture = _of(levels)
    d = ImageDraw.Draw(picture)
    for _ in range(r.randint(3, 9)):
        x, wide, high = r.randint(-w // 12, w), int(r.randint(80, 350) * s), int(r.uniform(0.1, 0.5) * h)
        d.rectangle([x, horizon - high, x + wide, horizon + 20 * s], fill=_colour(r, 50, 230))
        for window in range(int(x + 10 * s), int(x + wide - 20 * s), max(2, int(40 * s))):
            d.rectangle([window, horizon - high * 0.8, window + 18 * s, horizon - high * 0.5], fill=_colour(r, 20, 90))
    for _ in range(r.randint(0, 5)):
        x, y = r.randint(0, w), horizon - r.randint(0, int(150 * s) + 1)
        for _ in range(40):
            _disc(d, x + r.gauss(0, 50 * s), y + r.gauss(0, 50 * s), r.randint(8, 35) * s, (r.randint(10, 60), 90, 20))
    vanishing = r.uniform(0.2, 0.8) * w
    for k in range(-4, 5):
        d.line([vanishing, horizon, vanishing + k * w * 0.35, h], fill=(225, 225, 215), width=max(1, int(6 * s)))
    for _ in range(r.randint(1, 4)):
        x, y, a, b = r.randint(0, w), r.randint(horizon, h), r.randint(40, 200) * s, r.randint(20, 100) * s
        d.ellipse([x - a, y - b, x + a, y + b], fill=(r.randint(10, 60),) * 3)
    return picture.filter(ImageFilter.GaussianBlur(r.uniform(0.3, 1.5) * s))


def hole(seed: int, w: int = 640, h: int = 480) -> Picture:
    """Asphalt from near with one dark hole about the middle: the most alike of what citizens send."""
    r = Random(seed)
    picture = _of((r.randint(60, 120) + 90 * _clouds(seed, w, h, (3, 6, 12, 48, 200), 0.5))[..., None] * np.ones(3))
    x, y, size = w * r.uniform(0.35, 0.65), h * r.uniform(0.35, 0.65), h * r.uniform(0.1, 0.4)
    edge = [
        (x + size * r.uniform(0.6, 1.2) * math.cos(t), y + 0.7 * size * r.uniform(0.6, 1.2) * math.sin(t))
        for t in np.linspace(0, 2 * math.pi, 24)
    ]
    ImageDraw.Draw(picture).polygon(edge, fill=(r.randint(15, 60),) * 3)
    return picture.filter(ImageFilter.GaussianBlur(max(w, h) / 600))


def night(seed: int, w: int = 640, h: int = 480) -> Picture:
    """A few lamps and the noise of a small sensor."""
    r = Random(seed)
    levels = _clouds(seed, w, h) * 18 + r.randint(2, 10)
    y, x = np.mgrid[:h, :w]
    for _ in range(r.randint(2, 7)):
        a, b, size = r.uniform(0, w), r.uniform(0, h * 0.7), r.uniform(0.012, 0.075) * max(w, h)
        levels = levels + 255 * np.exp(-((x - a) ** 2 + (y - b) ** 2) / (2 * size * size))
    return _of((levels + np.random.default_rng(seed).normal(0, 5, (h, w)))[..., None] * np.ones(3))


def patches(seed: int, w: int = 640, h: int = 480) -> Picture:
    """Discs and squares of any colour."""
    r = Random(seed)
    picture = Image.new("RGB", (w, h), _colour(r, 0, 255))
    d = ImageDraw.Draw(picture)
    for _ in range(r.randint(8, 30)):
        x, y = r.randint(-w // 12, w), r.randint(-h // 12, h)
        box = [x, y, x + r.uniform(0.03, 0.33) * w, y + r.uniform(0.03, 0.33) * w]
        (d.ellipse if r.random() < 0.5 else d.rectangle)(box, fill=_colour(r, 0, 255))
    return picture


def page(seed: int, w: int = 480, h: int = 640) -> Picture:
    """Some lines of text at the top of a white page."""
    r, s = Random(seed), h / 1200
    picture = Image.new("RGB", (w, h), "white")
    d, y = ImageDraw.Draw(picture), 80 * s
    for _ in range(r.randint(3, 10)):
        x, end = 80 * s, r.randint(400, 820) * s
        while x < end:
            word = r.randint(15, 70) * s
            d.rectangle([x, y, x + word, y + 12 * s], fill=(30, 30, 30))
            x += word + 10 * s
        y += 34 * s
    return picture


def chat(seed: int, w: int = 360, h: int = 640) -> Picture:
    """A messenger's screen, light or dark."""
    r, s = Random(seed), h / 1280
    dark = r.random() < 0.5
    picture = Image.new("RGB", (w, h), (18, 18, 18) if dark else "white")
    d, y = ImageDraw.Draw(picture), 100 * s
    d.rectangle([0, 0, w, 70 * s], fill=(7, 94, 84))
    while y < h - 150 * s:
        lines, left, wide = r.randint(1, 4), r.random() < 0.5, r.randint(200, 520) * s
        x, high = (20 * s if left else w - 20 * s - wide), (lines * 30 + 16) * s
        d.rectangle(
            [x, y, x + wide, y + high], fill=((45, 45, 45) if left else (5, 70, 60)) if dark else (220, 248, 198)
        )
        for k in range(lines):
            end = x + wide * r.uniform(0.3, 0.95)
            d.line(
                [x + 12 * s, y + (22 + k * 30) * s, end, y + (22 + k * 30) * s],
                fill=(128,) * 3,
                width=max(1, int(10 * s)),
            )
        y += high + r.randint(10, 60) * s
        if r.random() < 0.15:
            break
    return picture


def black(seed: int, w: int = 640, h: int = 480) -> Picture:
    """A covered lens: dark, with a sensor's noise."""
    return _even(seed, w, h, Random(seed).randint(0, 20), 4)


def blank(seed: int, w: int = 640, h: int = 480) -> Picture:
    """A wall or a white sky."""
    return _even(seed, w, h, Random(seed).randint(60, 255), 8)


def fade(seed: int, w: int = 640, h: int = 480) -> Picture:
    """From light to dark in some direction, or from the middle out."""
    r = Random(seed)
    y, x = np.mgrid[:h, :w] / np.array([h, w])[:, None, None]
    turn = r.uniform(0, 2 * math.pi)
    if seed % 2:
        levels = r.randint(30, 180) * (y * math.sin(turn) + x * math.cos(turn)) + 100
    else:
        levels = 230 - r.randint(60, 200) * ((y - r.uniform(0.3, 0.7)) ** 2 + (x - r.uniform(0.3, 0.7)) ** 2)
    return _of(levels[..., None] * np.ones(3))


PHOTOS: dict[str, Draw] = {"street": street, "hole": hole, "night": night, "patches": patches}
OTHERS: dict[str, Draw] = {"page": page, "chat": chat, "black": black, "blank": blank, "fade": fade}


def _clouds(
    seed: int, w: int, h: int, grains: tuple[int, ...] = (4, 8, 16, 32, 64, 128), fall: float = 1.0
) -> np.ndarray:
    """Noise of several grains, 0 to 1, h x w; the share of a grain goes with its width to the power of fall."""
    rng, found = np.random.default_rng(seed), np.zeros((h, w))
    for grain in grains:
        coarse = rng.integers(0, 256, (max(2, h * grain // max(w, h) + 1), grain + 1), dtype=np.uint8)
        fine = Image.fromarray(coarse).resize((w, h), Image.Resampling.BICUBIC)
        found += np.asarray(fine, np.float64) / 255 / grain**fall
    found -= found.min()
    return found / found.max()


def _even(seed: int, w: int, h: int, level: int, noise: float) -> Picture:
    return _of(level + np.random.default_rng(seed).normal(0, noise, (h, w, 3)))


def _of(levels: np.ndarray) -> Picture:
    return Image.fromarray(levels.clip(0, 255).astype(np.uint8))


def _colour(r: Random, least: int, most: int) -> tuple[int, int, int]:
    return r.randint(least, most), r.randint(least, most), r.randint(least, most)


def _disc(d: ImageDraw.ImageDraw, x: float, y: float, size: float, colour: tuple[int, int, int]) -> None:
    d.ellipse([x - size, y - size, x + size, y + size], fill=colour)
