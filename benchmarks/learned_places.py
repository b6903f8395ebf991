"""Places learned from resolved reports beside a LinearSVC: real complaints of Surabaya by time, first 80% -> last 20%.

Run: python -m benchmarks.learned_places [--inner]   (--inner: first 64% -> next 16%, for tuning)
Belongs here: the comparison. Not here: what is learned (transforms/learned).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_union
from sklearn.svm import LinearSVC

from pipelines import places
from pipelines.entries import toml
from pipelines.learn import code_of, curve, judged
from pipelines.transforms.gazetteer import Gazetteer
from pipelines.transforms.hearing import hear
from pipelines.transforms.learned import Learned
from pipelines.transforms.learning import Resolved, fit
from pipelines.transforms.locate import locate
from pipelines.transforms.normalise import clean_text
from pipelines.transforms.redact import mask

_DATA = Path("../shared/data")
SUPPORT = 2
_SPELT = {"Bringin": "Beringin"}


def history(file: Path, gazetteer: Gazetteer) -> pd.DataFrame:
    """Reports by time, with the code of the kelurahan that the city gave; those of none that is known are left out."""
    table = pd.read_csv(file, dtype=str, keep_default_na=False).sort_values("tanggal_keluhan", kind="stable")
    table = table[table["kelurahan"] != ""]
    pairs = zip(table["kelurahan"].replace(_SPELT), table["kecamatan"], strict=True)
    table = table.assign(code=[code_of(kelurahan, kecamatan, gazetteer) for kelurahan, kecamatan in pairs])
    known = table["code"] != ""
    print(f"{(~known).mean():.1%} of the reports are of a kelurahan that the gazetteer lacks: left out for all")
    return table[known]


def main(inner: bool) -> None:
    """Print the precision-coverage curves."""
    file, areas = _DATA / "surabaya_complaints/complaints_dev.csv", _DATA / "gazetteer/surabaya_kelurahan.csv"
    if not file.exists() or not areas.exists():
        sys.exit(f"SKIPPED: {file} or {areas} is absent; this benchmark measures nothing without it")
    gazetteer = places.read(areas)
    table = history(file, gazetteer)
    low, high = (0.64, 0.8) if inner else (0.8, 1.0)
    n = len(table)
    train, test = table[: int(n * low)], table[int(n * low) : int(n * high)]
    labels = [part["code"].tolist() for part in (train, test)]
    start = time.perf_counter()
    config: dict[str, Any] = toml(Path("models/classifier.toml"))["learned"]
    older, newer = (resolved(part) for part in (train, test))
    learned, lines = fit(older, gazetteer, min_support=SUPPORT, progress=lambda *_: None, **config)
    fitted = time.perf_counter()
    ours = judged(learned, newer, gazetteer)
    addresses = [mask(clean_text(v)) for v in test["alamat"]]
    alone = Resolved(addresses, addresses, newer.codes, newer.days, newer.from_text)
    by_address = judged(learned, alone, gazetteer)
    theirs, seconds = _peer(train["alamat"], test["alamat"], *labels)
    both = [part["alamat"] + "\n" + part["keluhan"] for part in (train, test)]
    theirs_both, _ = _peer(*both, *labels)
    print(f"{len(train):,} reports to learn from, {len(test):,} to place; {len(lines):,} lines of phrases")
    print(f"learned in {fitted - start:.1f} s; LinearSVC places {len(test) / seconds:,.0f}/s")
    print(*paces(learned, newer, gazetteer), sep="\n")
    print(f"chance and truth apart by {_gap(ours):.3f} (expected calibration error)\n")
    print("coverage  learned  its address alone  LinearSVC on the address  on address and text")
    curves = [curve(found) for found in (ours, by_address, theirs, theirs_both)]
    for (share, a), (_, b), (_, c), (_, d) in zip(*curves, strict=True):
        print(f"{share:8.0%}  {a:7.4f}  {b:17.4f}  {c:24.4f}  {d:19.4f}")
    low_high = _interval(ours, theirs)
    print(
        f"mean over the curve: {low_high[0]:+.4f} to LinearSVC on the address ({low_high[1]:+.4f} to {low_high[2]:+.4f})"
    )


def resolved(part: pd.DataFrame) -> Resolved:
    """Rows of the history as `kanal gazetteer learn` reads them."""
    addresses, texts = ([mask(clean_text(v.replace("\\n", "\n"))) for v in part[c]] for c in ("alamat", "keluhan"))
    said = [f"{a}\n{t}" if a else t for a, t in zip(addresses, texts, strict=True)]
    days = part["tanggal_keluhan"].str[:10].tolist()
    written = [a or t for a, t in zip(addresses, texts, strict=True)]
    return Resolved(written, said, part["code"].tolist(), days, [not a for a in addresses])


def paces(learned: Learned, reports: Resolved, gazetteer: Gazetteer) -> Iterator[str]:
    """Reports a second of CPU time: what is learned alone, then all of locate, on one core and in two processes at once."""
    heard = [hear(said, gazetteer) for said in reports.said]
    texts = [said.partition("\n")[2] or None for said in reports.said]

    def places(texts: list[str | None]) -> Callable[[], object]:
        empty = dict.fromkeys(("title", "kelurahan_reported", "kecamatan_reported", "kota_reported"))
        table = pd.DataFrame({"text": texts, "address_text": reports.addresses, "lat": np.nan, "lon": np.nan} | empty)
        return lambda: locate(table, gazetteer=gazetteer, learned=learned)

    for name, job in (
        ("what is learned alone", lambda: learned.judge(reports.addresses, heard, reports.from_text)),
        ("locate, address", places([None] * len(reports))),
        ("locate, address and text", places(texts)),
    ):
        context = get_context("fork")  # so that the job needs no pickling
        found = context.Queue()
        workers = [context.Process(target=lambda: found.put(_seconds(job))) for _ in range(2)]  # noqa: B023
        one = _seconds(job)
        for worker in workers:
            worker.start()
        two = max(found.get(timeout=600) for _ in workers)
        for worker in workers:
            worker.join()
        yield f"{name}: {len(reports) / one:,.0f}/s on one core, {2 * len(reports) / two:,.0f}/s on two"


def _seconds(job: Callable[[], object]) -> float:
    """The best of six rounds, after one to warm up; CPU time, as the machine may be shared."""
    job()
    rounds = []
    for _ in range(6):
        start = time.process_time()
        job()
        rounds.append(time.process_time() - start)
    return min(rounds)


def _peer(older: Any, newer: Any, codes: list[str], wanted: list[str]) -> tuple[list[tuple[float, bool]], float]:
    features = make_union(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True),
    )
    peer = LinearSVC().fit(features.fit_transform(older), codes)
    start = time.perf_counter()
    margins = peer.decision_function(features.transform(newer))
    best = np.sort(margins, axis=1)
    right = peer.classes_[margins.argmax(axis=1)] == np.array(wanted)
    seconds = time.perf_counter() - start
    return list(zip((best[:, -1] - best[:, -2]).tolist(), right.tolist(), strict=True)), seconds


def _gap(found: list[tuple[float, bool]]) -> float:
    chance, right = np.array([c for c, _ in found]), np.array([r for _, r in found], float)
    bins = np.minimum((chance * 10).astype(int), 9)
    return float(sum(abs(chance[bins == b].sum() - right[bins == b].sum()) for b in range(10)) / len(found))


def _interval(ours: list[tuple[float, bool]], theirs: list[tuple[float, bool]]) -> tuple[float, float, float]:
    """Gain of the mean precision over the ten coverages, with the middle 95% of 500 resamples of the reports."""
    rng = np.random.default_rng(1)

    def gain(rows: Any) -> float:
        pairs = [[p for _, p in curve([found[i] for i in rows])] for found in (ours, theirs)]
        return float(np.mean(pairs[0]) - np.mean(pairs[1]))

    many = sorted(gain(rng.integers(0, len(ours), len(ours))) for _ in range(500))
    return gain(range(len(ours))), many[12], many[487]


if __name__ == "__main__":
    main("--inner" in sys.argv)
