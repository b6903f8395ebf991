"""What the city says in a day: made-up reports of all sixteen channels, each with a number in its text.

`script` is the whole day as a list of Items, the same for the same seed: when, through which outlet (one way
into a channel), and what. Not here: how an outlet is spoken to (outlets) and what became of it (measure).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import orjson

from benchmarks import generate

# Reports of an ordinary day by outlet, some 500 in all, most of them through JAKI. One channel may have several outlets.
OUTLETS = {
    "jaki": 290, "qlue": 8, "twitter": 40, "facebook": 28, "email": 35, "balai_warga": 16, "sms": 14, "kannel": 9,
    "whatsapp": 8, "lapor": 20, "lapor_api": 8, "governor_social": 12, "governor_letter": 3, "media": 4, "pendopo": 7,
    "inspektorat": 3, "walikota": 6, "kecamatan": 6, "kelurahan": 9,
}  # fmt: skip
CHANNEL = {"kannel": "sms", "whatsapp": "sms", "lapor_api": "lapor"}  # of outlets that are not called like it
_HOURS = (1, 1, 1, 1, 2, 4, 8, 10, 10, 9, 8, 7, 7, 7, 7, 7, 8, 8, 9, 9, 8, 6, 3, 2)
_EDITS = {"jaki": 12, "twitter": 4, "facebook": 4, "media": 1}
_NOISE = {"twitter": 6, "governor_social": 3, "facebook": 4, "email": 4, "sms": 2}  # reposts, own replies, spam
DESKS = ("pendopo", "inspektorat", "walikota", "kecamatan", "kelurahan")
_CLOSED = 0.74  # desks are closed from about 18:00
_CODE = re.compile(r"\bq(\d{5})\b")


@dataclass(frozen=True, slots=True)
class Item:
    """One thing said. at: part of the day, 0 to 1. kind: new, edit (of the same number), or noise, which is filtered."""

    number: int
    outlet: str
    at: float
    text: str
    category: str
    lat: str
    lon: str
    kind: str = "new"


def script(reports: int, seed: int = generate.SEED) -> list[Item]:
    """`reports` new items, and the edits and the noise that go with as many, in order of time."""
    rng = np.random.default_rng(seed)
    shares = np.array(list(OUTLETS.values()), float)
    counts = np.maximum(1, np.floor(reports * shares / shares.sum()).astype(int))
    counts[0] += max(0, reports - counts.sum())
    outlets = np.repeat(list(OUTLETS), counts)
    rng.shuffle(outlets)
    hours = np.array(_HOURS, float)
    times = np.sort((rng.choice(24, len(outlets), p=hours / hours.sum()) + rng.random(len(outlets))) / 24)
    told = []
    # Eight in a hundred tell of an incident told before, and as outlets are drawn alone, mostly through another one.
    for number, (message, outlet, at) in enumerate(
        zip(islice(generate.messages(len(outlets), seed=seed), len(outlets)), outlets, times, strict=True)
    ):
        row = orjson.loads(message.payload)
        text = f"{row['isi']} (catatan q{number:05d})"
        at = at * _CLOSED if outlet in DESKS else at
        told.append(Item(number, str(outlet), float(at), text, row["kategori"], row["lat"], row["lon"]))
    return sorted(told + _edits(told, reports, rng) + _noise(told, reports), key=lambda i: i.at)


def code_of(text: str | None) -> int | None:
    """The number that a text bears."""
    found = _CODE.search(text or "")
    return int(found[1]) if found else None


def _edits(told: list[Item], reports: int, rng: np.random.Generator) -> list[Item]:
    found = []
    for outlet, count in _EDITS.items():
        first = [i for i in told if i.outlet == outlet and i.at < 0.8]
        for item in first[: max(1, count * reports // 526)]:
            at = item.at + 0.05 + 0.1 * float(rng.random())
            found.append(replace(item, at=at, text=f"{item.text} Diperbarui: masih sama.", kind="edit"))
    return found


def _noise(told: list[Item], reports: int) -> list[Item]:
    """Each answers or repeats something that was said before it."""
    found = []
    for outlet, count in _NOISE.items():
        first = [i for i in told if i.outlet == outlet and i.at < 0.9]
        for n, item in enumerate(first[: max(1, count * reports // 526)]):
            found.append(replace(item, at=item.at + 0.04 + n / 1e6, kind="noise"))
    return found
