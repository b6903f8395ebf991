"""Made-up complaints for benchmarks: any number, the same for the same seed.

Texts are those of the classifier's corpus with a place and a detail drawn at random, so lengths and
words are what the pipeline meets; 8% tell of an incident told before (near-copies, paraphrases by
place and time, and word-for-word repeats by the same author). One in three carries a point.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import orjson

from pipelines import classifiers
from pipelines.contracts import WIB, Message
from pipelines.settings import default_models_dir

SEED = 20261126
COPIES = 0.08
START = datetime(2026, 1, 1, tzinfo=WIB)
DAYS = 180
_DETAIL = (
    "sudah {n} hari", "dari tadi pagi", "dekat rumah nomor {n}", "sejak jam {n}", "kurang lebih {n} meter", "tiap malam",
    "depan warung", "setelah hujan kemarin", "tolong segera ditangani ya", "sudah lapor RT belum ada tindakan", "mohon dicek",
)  # fmt: skip
_NAMES = ("Melati", "Mawar", "Kenanga", "Cempaka", "Anggrek", "Flamboyan", "Dahlia", "Bougenville", "Teratai", "Seruni")


def messages(count: int, *, seed: int = SEED, fetched_at: datetime | None = None) -> Iterator[Message]:
    """`count` messages in the order in which they were said, as an export stream would land them."""
    rng = np.random.default_rng(seed)
    texts = [
        (line.category, line.text)
        for line in classifiers.corpus(default_models_dir())
        if line.kind == "complaint" and line.category != "lainnya"
    ]
    areas = _areas(default_models_dir() / "gazetteer" / "kelurahan.csv")
    recent: list[dict[str, str]] = []
    for n in range(count):
        said = START + timedelta(seconds=n * DAYS * 86_400 / count)
        if recent and rng.random() < COPIES:
            row = _again(recent[int(rng.integers(len(recent)))], rng)
        else:
            row = _fresh(texts, areas, rng)
            recent.append(row)
            if len(recent) > 2_000:
                recent.pop(0)
        row = row | {"id": f"JK{said:%y%m%d}{n % 10_000:04d}-{n}", "tanggal": said.strftime("%d/%m/%Y %H:%M:%S")}
        payload = orjson.dumps(row)
        yield Message(row["id"], f"{n:x}", payload, "application/json", fetched_at or said, origin=f"made row {n}")


def _areas(path: Path) -> list[tuple[str, float, float]]:
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(line for line in file if not line.startswith("#"))
        return [(r["kelurahan"], float(r["lat"]), float(r["lon"])) for r in rows]


def _fresh(
    texts: list[tuple[str, str]], areas: list[tuple[str, float, float]], rng: np.random.Generator
) -> dict[str, str]:
    category, text = texts[int(rng.integers(len(texts)))]
    kelurahan, lat, lon = areas[int(rng.integers(len(areas)))]
    parts = [text, _detail(rng)]
    if rng.random() < 0.6:
        parts.insert(
            1,
            f"di Jl. {_NAMES[int(rng.integers(10))]} {rng.integers(1, 40)} RT {rng.integers(1, 16)}/RW {rng.integers(1, 13)}",
        )
    if rng.random() < 0.5:
        parts.append(f"Kel. {kelurahan}")
    row = {"isi": " ".join(parts), "kategori": category, "akun": f"warga{rng.integers(200_000)}", "lat": "", "lon": ""}
    if rng.random() < 0.34:
        row |= {"lat": f"{lat + rng.normal(0, 0.004):.6f}", "lon": f"{lon + rng.normal(0, 0.004):.6f}"}
    return row


def _again(row: dict[str, str], rng: np.random.Generator) -> dict[str, str]:
    """The same incident once more: word for word, reworded a little, or from a few metres away."""
    told = dict(row)
    way = rng.random()
    if way < 0.3:
        return told
    told["akun"] = f"warga{rng.integers(200_000)}"
    if way < 0.7:
        told["isi"] = f"{row['isi']} {_detail(rng)}"
    if row["lat"]:
        told["lat"] = f"{float(row['lat']) + rng.normal(0, 0.00008):.6f}"
        told["lon"] = f"{float(row['lon']) + rng.normal(0, 0.00008):.6f}"
    return told


def _detail(rng: np.random.Generator) -> str:
    return _DETAIL[int(rng.integers(len(_DETAIL)))].format(n=int(rng.integers(2, 60)))
