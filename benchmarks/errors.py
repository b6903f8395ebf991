"""What is judged wrongly on real reports: ids, our judgement and theirs, never a text. docs/quality.md groups them.

    python -m benchmarks.errors [--seed 7] [--all] [--data FOLDER]

Belongs here: listing the errors that the other benchmarks count. Of Jakarta's reports only those whose number ends in an
even digit are asked; of Surabaya's only the last fifth by time. Wrong places of a confidence below 0.5 are left out, as
nobody acts on them; of the topics the surest errors come first. A file that is absent is said and skipped.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from benchmarks import jakarta_quality, learned_places
from benchmarks.places import truth
from pipelines import classifiers, history, places
from pipelines import knowledge as known
from pipelines.contracts import column
from pipelines.entries import toml
from pipelines.settings import Settings, default_models_dir
from pipelines.training import fit, part
from pipelines.transforms.gazetteer import Gazetteer
from pipelines.transforms.hearing import hear
from pipelines.transforms.learning import fit as learn
from pipelines.transforms.locate import locate

_DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
_SURE = 0.5
_LAST = 0.8  # of Surabaya's reports by time: where those begin that are judged


class Error(NamedTuple):
    """id: as the file numbers the report, or the row's number from 0 where it has none."""

    id: str
    ours: str
    theirs: str
    sure: float


def agency(data: Path, settings: Settings) -> Iterator[Error]:
    rows = jakarta_quality.even_rows(data / "jakarta_crm_2023" / "reports_dev.csv")
    frame = jakarta_quality.reports(
        rows["text"].tolist(),
        category_reported=rows["category"].tolist(),
        kelurahan_reported=rows["kelurahan"].tolist(),
    )
    knowledge, model = known.load(settings), classifiers.load(classifiers.build(settings, say=_say))
    judged = jakarta_quality.judge(frame, knowledge, model)
    ours = judged["agency_id"].map(jakarta_quality.GROUPS).fillna("other")
    for i in rows.index[ours != rows["opd"]]:
        one = judged.loc[i]
        said = f"{one['agency_id']} by rule {one['route_rule']}, category {one['category']} ({one['category_source']})"
        yield Error(rows["report_id"][i], said, rows["opd_raw"][i], float(one["category_confidence"]))


def names(data: Path, _settings: Settings) -> Iterator[Error]:
    """Surabaya, by the names that its reports hold."""
    gazetteer = _surabaya(data)
    rows = pd.read_csv(data / "surabaya_complaints" / "complaints_dev.csv", dtype=str, keep_default_na=False)
    rows = rows.sort_values("tanggal_keluhan", kind="stable")
    rows = rows.assign(code=truth(rows, gazetteer))[int(len(rows) * _LAST) :]
    rows = rows[rows["code"].notna()]
    texts, addresses = (rows[c].str.replace("\\n", "\n", regex=False).tolist() for c in ("keluhan", "alamat"))
    found = locate(jakarta_quality.reports(texts, address_text=addresses), gazetteer=gazetteer)
    yield from _misplaced(rows["id"].tolist(), found, rows["code"].tolist(), gazetteer)


def learned(data: Path, settings: Settings) -> Iterator[Error]:
    """Surabaya, by what its older reports teach."""
    gazetteer = _surabaya(data)
    table = learned_places.history(data / "surabaya_complaints" / "complaints_dev.csv", gazetteer)
    older, newer = (
        learned_places.resolved(rows) for rows in (table[: int(len(table) * _LAST)], table[int(len(table) * _LAST) :])
    )
    config = toml(settings.models_dir / "classifier.toml")["learned"]
    taught, _ = learn(older, gazetteer, min_support=learned_places.SUPPORT, progress=_quiet, **config)
    heard = [hear(said, gazetteer) for said in newer.said]
    ids = table["id"].tolist()[len(older) :]
    for i, one in enumerate(taught.judge(newer.addresses, heard, newer.from_text)):
        if one is not None and one.chances[0] >= _SURE and gazetteer.codes[one.rows[0]] != newer.codes[i]:
            yield Error(
                ids[i], _name(gazetteer.codes[one.rows[0]], gazetteer), _name(newer.codes[i], gazetteer), one.chances[0]
            )


def floods(data: Path, _settings: Settings) -> Iterator[Error]:
    """PetaBencana, by words against coordinates."""
    gazetteer = places.read(default_models_dir() / "gazetteer", data / "none")
    rows = pd.read_csv(data / "petabencana_2017" / "reports.csv")
    rows = rows.assign(code=truth(rows.fillna({"kelurahan": "", "kecamatan": ""}), gazetteer))
    rows = rows[rows["code"].notna()]
    titles = rows["title"].where(rows["title"].notna(), None).tolist()
    found = locate(jakarta_quality.reports(rows["text"].fillna("").tolist(), title=titles), gazetteer=gazetteer)
    yield from _misplaced([f"row {i}" for i in rows.index], found, rows["code"].tolist(), gazetteer)


def topic(data: Path, settings: Settings) -> Iterator[Error]:
    """Surabaya's topics, judged by a classifier of its own older reports."""
    meant = history.read_mapping(Path(__file__).with_name("surabaya.toml"))
    rows = history.read(settings, data / "surabaya_complaints" / "complaints_dev.csv", meant, progress=_quiet)
    cut = round(len(rows.texts) * _LAST)
    nlp = fit(settings, part(rows, 0, cut), meant, classifiers.table(settings, "training"), _quiet)
    newest = part(rows, cut, None)
    judged = nlp.get_pipe("complaints").predict(newest.texts)["category"]
    labels = newest.labels["category"]
    for i in judged.confidence.argsort(kind="stable")[::-1].tolist():
        said = judged.labels[judged.first[i]]
        if labels[i] not in (None, said):
            yield Error(newest.ids[i], said, labels[i] or "", float(judged.confidence[i]))


def _surabaya(data: Path) -> Gazetteer:
    return places.read(data / "gazetteer" / "surabaya_kelurahan.csv", data / "none")


def _misplaced(ids: list[str], found: pd.DataFrame, wanted: list[str], gazetteer: Gazetteer) -> Iterator[Error]:
    codes, sure = column(found, "kelurahan_code"), column(found, "place_confidence")
    for number, code, right, chance in zip(ids, codes, wanted, sure, strict=True):
        if code and chance >= _SURE and code != right:
            yield Error(number, _name(code, gazetteer), _name(right, gazetteer), chance)


def _name(code: str, gazetteer: Gazetteer) -> str:
    row = gazetteer.row_of[code]
    return f"{gazetteer.kelurahan['kelurahan'].iat[row]} ({gazetteer.kelurahan['kecamatan'].iat[row]})"


def _quiet(*_: object) -> None:
    """Nobody watches."""


def _say(line: str) -> None:
    print(line, file=sys.stderr)


# What is asked, how many of its errors are sampled, and the file it needs.
_ASKED: dict[str, tuple[Callable[[Path, Settings], Iterator[Error]], int, str]] = {
    "agency": (agency, 14, "jakarta_crm_2023/reports_dev.csv"),
    "place by names": (names, 10, "surabaya_complaints/complaints_dev.csv"),
    "place as learned": (learned, 4, "surabaya_complaints/complaints_dev.csv"),
    "place of floods": (floods, 4, "petabencana_2017/reports.csv"),
    "topic, the surest": (topic, 8, "surabaya_complaints/complaints_dev.csv"),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=_DATA, help="folder of the real reports")
    parser.add_argument("--seed", type=int, default=7, help="of the sample")
    parser.add_argument("--all", action="store_true", help="every error instead of a sample of 40")
    asked = parser.parse_args()
    skipped = 0
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(Path(folder), Path(folder), default_models_dir(), ())
        for what, (listed, number, file) in _ASKED.items():
            if not (asked.data / file).exists():
                skipped += 1
                print(f"SKIPPED: {what}: {asked.data / file} is not there", file=sys.stderr)
                continue
            found = list(listed(asked.data, settings))
            some = found if asked.all else _sample(found, number, asked.seed, first=what.startswith("topic"))
            print(f"\n{what}: {len(found)} errors, {len(some)} shown")
            for error in some:
                print(f"  {error.id}\t{error.sure:.2f}\tours {error.ours}\ttheirs {error.theirs}", flush=True)
    return 1 if skipped == len(_ASKED) else 0


def _sample(found: list[Error], number: int, seed: int, *, first: bool) -> list[Error]:
    if first or len(found) <= number:
        return found[:number]
    chosen = random.Random(seed).sample(range(len(found)), number)
    return [found[i] for i in sorted(chosen)]


if __name__ == "__main__":
    sys.exit(main())
