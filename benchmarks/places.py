"""Places: how often right, how fast beside rapidfuzz, and what hostile texts cost.

    python -m benchmarks.places [--data FOLDER]

Reads an operator's folder of real reports, which is not part of this project: complaints of Surabaya with the city's own
kelurahan (the first 80% by time are for tuning, the last 20% for the figure), and flood reports of 2017 whose
coordinates tell the truth and of which only the words are read. A missing file is said and skipped. rapidfuzz is
measured where it is installed.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.jakarta_quality import reports
from pipelines import places
from pipelines.contracts import column
from pipelines.settings import default_models_dir
from pipelines.transforms.gazetteer import Gazetteer, join
from pipelines.transforms.locate import locate

_DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
_SHARES = (0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
_ATTACKS = {
    "jl jl jl": "jl ", "jl. A. A.": "Jl. A. ", "rt/rw chain": "rt 05/", "rt rw rt rw": "rt rw ", "rtrtrt": "rt",
    "digits": "12345", "digits apart": "10110 ", "kel kel": "kel ", "names": "tebet cawang ", "near": "depan ",
    "near capitals": "dekat Aa ", "emoji": "\U0001f30a", "zalgo": "j\u0300\u0301\u0302l\u0310", "right to left": "\u202e\u05e9\u05dc ",
    "commas": ",", "one word": "a", "no no": "no ", "no 1-": "no 1-", "blok a blok": "blok a ", "slashes": "a/1 ",
    "pasar pasar": "pasar ", "masjid al": "masjid al ", "komplek komplek": "komplek a ", "kampung": "kampung ",
    "tinggal di": "saya tinggal di ", "rumah saya": "rumah saya di jl ", "thanks": "terima kasih\njl ",
}  # fmt: skip


def truth(rows: pd.DataFrame, gazetteer: Gazetteer) -> list[str | None]:
    """Codes of labels: kelurahan and kecamatan, or a kelurahan's name that only one bears ("wonorejo rungkut" is
    Wonorejo in Rungkut)."""
    table = gazetteer.kelurahan
    names = [join(k) for k in table["kelurahan"]]
    once = Counter(names)
    keys = zip(names, map(join, table["kecamatan"]), table["kelurahan_code"], strict=True)
    codes: dict[tuple[str, str], str] = {}
    for name, kecamatan, code in keys:
        codes[name, kecamatan] = code
        if once[name] == 1:
            codes[name, ""] = code
    found = []
    for kelurahan, kecamatan in zip(rows["kelurahan"].map(join), rows["kecamatan"].map(join), strict=True):
        name = kelurahan.removesuffix(kecamatan) if kelurahan != kecamatan else kelurahan
        found.append(codes.get((kelurahan, kecamatan)) or codes.get((name, kecamatan)) or codes.get((kelurahan, "")))
    return found


def surabaya(data: Path) -> Iterator[str]:
    path = data / "surabaya_complaints" / "complaints_dev.csv"
    gazetteer = places.read(data / "gazetteer" / "surabaya_kelurahan.csv", data / "none")
    rows = pd.read_csv(path, dtype=str, keep_default_na=False).sort_values("tanggal_keluhan", kind="stable")
    rows = rows.assign(code=truth(rows.fillna(""), gazetteer))
    last = int(len(rows) * 0.8)
    for part, some in (("first 80%, tuned on", rows[:last]), ("last 20%, unseen", rows[last:])):
        asked = some[some["code"].notna()]
        texts, addresses = (asked[c].str.replace("\\n", "\n", regex=False).tolist() for c in ("keluhan", "alamat"))
        for what, said in (("address and text", texts), ("address alone", [""] * len(asked))):
            found = locate(reports(said, address_text=addresses), gazetteer=gazetteer)
            yield f"Surabaya, {part}, {what}: {len(asked)} rows with a known kelurahan"
            yield from _curve(found, asked["code"].tolist())


def _curve(found: pd.DataFrame, wanted: list[str]) -> Iterator[str]:
    """Precision where the surest share of all rows is answered; equal confidences count with their mean."""
    code, sure = column(found, "kelurahan_code"), found["place_confidence"].to_numpy()
    answered = [i for i, c in enumerate(code) if c]
    table = pd.DataFrame({"sure": sure[answered], "right": [code[i] == wanted[i] for i in answered]})
    table["right"] = table.groupby("sure")["right"].transform("mean")
    right = table.sort_values("sure", ascending=False)["right"].to_numpy(float)
    shares = [f"{s:.2f}: {right[: int(s * len(code))].mean():.3f}" for s in _SHARES if s * len(code) <= len(right)]
    yield f"  answers {len(right) / len(code):.3f}, right {right.mean():.3f}; precision at coverage {', '.join(shares)}"
    for low in (0.9, 0.8, 0.7, 0.6, 0.5):
        some = right[: int((table["sure"] >= low).sum())]
        yield f"    confidence >= {low:.1f}: covers {len(some) / len(code):.3f}, right {some.mean() if len(some) else 0:.3f}"


def floods(data: Path, gazetteer: Gazetteer) -> Iterator[str]:
    rows = pd.read_csv(data / "petabencana_2017" / "reports.csv")
    rows["code"] = truth(rows.fillna({"kelurahan": "", "kecamatan": ""}), gazetteer)
    rows = rows[rows["code"].notna()]
    titles = rows["title"].where(rows["title"].notna(), None).tolist()
    found = locate(reports(rows["text"].fillna("").tolist(), title=titles), gazetteer=gazetteer)
    yield f"PetaBencana 2017, words against coordinates: {len(rows)} rows inside a kelurahan"
    sure = found["place_confidence"].to_numpy() >= 0.5
    for level, letters in (("kelurahan", 13), ("kecamatan", 8), ("kota", 5)):
        pairs = zip(column(found, f"{level}_code"), rows["code"], sure, strict=True)
        right = [code == wanted[:letters] for code, wanted, s in pairs if code and s]
        yield f"  {level:9} answers {len(right) / len(rows):.3f}, right {np.mean(right):.3f}"


def speed(data: Path) -> Iterator[str]:
    """One core, Surabaya's addresses; a hit is the labelled kelurahan."""
    gazetteer = places.read(data / "gazetteer" / "surabaya_kelurahan.csv", data / "none")
    rows = pd.read_csv(data / "surabaya_complaints" / "complaints_dev.csv", dtype=str, keep_default_na=False)
    wanted = truth(rows, gazetteer)
    for what, texts in (("addresses", rows["alamat"]), ("texts of 120 characters", rows["keluhan"].str[:120])):
        frame = reports(texts.tolist())
        locate(frame[:200], gazetteer=gazetteer)
        took = time.perf_counter()
        found = locate(frame, gazetteer=gazetteer)
        took = time.perf_counter() - took
        code, others = column(found, "kelurahan_code"), column(found, "place_candidates")
        guess = [c or (o[0] if o is not None and len(o) else None) for c, o in zip(code, others, strict=True)]
        answers = [(c, w) for c, w in zip(code, wanted, strict=True) if c and w]
        yield (
            f"{what}: locate {len(frame) / took:,.0f}/s on one core, answers {len(answers) / sum(map(bool, wanted)):.3f},"
            f" right {np.mean([c == w for c, w in answers]):.3f}; hit rate with its first candidate {_hits(guess, wanted):.3f}"
        )
        try:
            from rapidfuzz import fuzz, process
        except ImportError:
            yield "  SKIPPED: rapidfuzz is not installed"
            continue
        names = [n.lower() for n in gazetteer.kelurahan["kelurahan"]]
        some = frame["text"].str.lower().tolist()[:2000]
        took = time.perf_counter()
        best = [process.extractOne(t, names, scorer=fuzz.partial_ratio) for t in some]
        took = time.perf_counter() - took
        codes = [gazetteer.codes[b[2]] if b else None for b in best]
        surest = sorted((i for i, b in enumerate(best) if b and wanted[i]), key=lambda i: -best[i][1])
        same = surest[: round(len(answers) / len(frame) * len(some))]
        yield (
            f"  rapidfuzz extractOne(partial_ratio): {len(some) / took:,.0f}/s, hit rate {_hits(codes, wanted):.3f};"
            f" its surest, as many as locate answers: right {np.mean([codes[i] == wanted[i] for i in same]):.3f}"
        )


def _hits(guess: list[str | None], wanted: list[str | None]) -> float:
    return float(np.mean([g == w for g, w in zip(guess, wanted, strict=False) if w]))


def attacks(gazetteer: Gazetteer) -> Iterator[str]:
    yield "hostile texts, milliseconds at 10 kB and 100 kB:"
    for name, unit in _ATTACKS.items():
        costs = []
        for size in (10_000, 100_000):
            frame = reports([""]).assign(text=[(unit * size)[:size]])
            took = []
            for _ in range(3):
                start = time.perf_counter()
                locate(frame, gazetteer=gazetteer)
                took.append(time.perf_counter() - start)
            costs.append(min(took) * 1000)
        yield f"  {name:14} {costs[0]:7.2f} {costs[1]:7.2f}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=_DATA, help="folder of the real reports")
    data = parser.parse_args().data
    own = places.read(default_models_dir() / "gazetteer", data / "none")
    for line in attacks(own):
        print(line, flush=True)
    for folder, step in (
        ("surabaya_complaints", lambda: surabaya(data)),
        ("petabencana_2017", lambda: floods(data, own)),
        ("surabaya_complaints", lambda: speed(data)),
    ):
        if not (data / folder).exists():
            print(f"SKIPPED: {data / folder} is not there", file=sys.stderr)
            continue
        for line in step():
            print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
