"""How well reports are judged on real complaints: category, agency and place, each beside its yardstick.

    python -m benchmarks.jakarta_quality [--data FOLDER]

Reads an operator's folder of real reports, which is not part of this project: Jakarta's CRM of 2023 (only rows whose
report_id ends in an even digit: the others are kept unread for a last examination), flood reports of 2017 with
coordinates, and complaints of Surabaya, none of which lies in Jakarta. A missing file is said and skipped.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipelines import classifiers, places
from pipelines import knowledge as known
from pipelines.contracts import column
from pipelines.figures import calibration_error
from pipelines.settings import Settings, default_models_dir
from pipelines.transforms.classify import classify
from pipelines.transforms.gazetteer import Gazetteer
from pipelines.transforms.locate import locate
from pipelines.transforms.normalise import clean_text
from pipelines.transforms.redact import mask
from pipelines.transforms.route import route

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
_BINS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
# Our agencies -> the eight groups of the CRM file; every other agency is its "other".
GROUPS = {
    "bina_marga": "DINAS BINA MARGA", "perhubungan": "DINAS PERHUBUNGAN", "satpol_pp": "SATUAN POLISI PAMONG PRAJA",
    "kelurahan": "KELURAHAN", "pertamanan": "DINAS PERTAMANAN DAN HUTAN", "sda": "DINAS SUMBER DAYA AIR",
    "bp_bumd": "BADAN PEMBINAAN BADAN USAHA MILIK DAERAH",
    "dcktrp": "DINAS CIPTA KARYA, TATA RUANG, DAN PERTANAHAN",
}  # fmt: skip


def even_rows(path: Path) -> pd.DataFrame:
    """Rows of the CRM file whose report_id ends in an even digit; nothing else of it is kept."""
    rows = pd.read_csv(path, dtype=str, keep_default_na=False)
    return rows[rows["report_id"].str[-1].isin(list("02468"))].reset_index(drop=True)


def examined(path: Path, knowledge: known.Knowledge, model: Any) -> Iterator[str]:
    """The agency's figures on the rows that are kept unread: numbers only, no row is shown."""
    rows = pd.read_csv(path, dtype=str, keep_default_na=False)
    rows = rows[~rows["report_id"].str[-1].isin(list("02468")) & ~rows["report_id"].isin(_SEEN)].reset_index(drop=True)
    frame = reports(
        rows["text"].tolist(),
        category_reported=rows["category"].tolist(),
        kelurahan_reported=rows["kelurahan"].tolist(),
    )
    yield from _agencies(rows, judge(frame, knowledge, model), each=False)


_SEEN = frozenset(("JK2308260141",))  # of the unread rows one was once printed


def reports(texts: list[str], **fields: list[Any]) -> pd.DataFrame:
    """Masked reports as the classify step is given them; fields: other columns, missing ones are empty."""
    empty = [None] * len(texts)
    table = {
        "text": [mask(clean_text(t)) for t in texts],
        **{name: fields.get(name, empty) for name in _TEXTS},
        **{name: np.array(fields.get(name, empty), dtype=float) for name in ("lat", "lon")},
        "attachment_count": [0] * len(texts),
        "channel": ["jaki"] * len(texts),
    }
    return pd.DataFrame(table)


_TEXTS = (
    "title", "address_text", "kelurahan_reported", "kecamatan_reported", "kota_reported", "category_reported",
    "agency_reported", "status_reported",
)  # fmt: skip


def judge(frame: pd.DataFrame, knowledge: known.Knowledge, model: Any) -> pd.DataFrame:
    """classify, locate and route, as refining does."""
    classified = classify(frame, model=model, taxonomy=knowledge.taxonomy, thresholds=knowledge.thresholds)
    located = locate(classified, gazetteer=knowledge.gazetteer)
    return route(located, routing=knowledge.routing, accept_place=knowledge.accept_place)


# --- Jakarta: category, agency, place ---------------------------------------------------------


def jakarta(path: Path, knowledge: known.Knowledge, model: Any) -> Iterator[str]:
    rows = even_rows(path)
    frame = reports(
        rows["text"].tolist(),
        category_reported=rows["category"].tolist(),
        kelurahan_reported=rows["kelurahan"].tolist(),
    )
    judged = judge(frame, knowledge, model)
    yield from _categories(judged, knowledge, model.predict(column(frame, "text"))["category"].confidence)
    yield from _agencies(rows, judged)
    yield from _places(rows, frame, knowledge.gazetteer, knowledge.accept_place)


def _categories(judged: pd.DataFrame, knowledge: known.Knowledge, sure: np.ndarray) -> Iterator[str]:
    wanted = column(judged, "category_reported")
    first = column(judged, "category_model")
    telling = [w is not None and w not in knowledge.taxonomy.catch_all for w in wanted]
    right = np.array([f == w for f, w in zip(first, wanted, strict=True)])[telling]
    yield f"category, text alone, against the citizen's own choice ({sum(telling)} rows that name one): {right.mean():.3f}"
    gap = calibration_error(right, sure[telling])
    yield f"  the model's confidence in these: {sure[telling].mean():.3f} on average, calibration error {gap:.3f}"
    sources = judged["category_source"].value_counts().to_dict()
    yield f"  judgement that counted: {sources}"


def _agencies(rows: pd.DataFrame, judged: pd.DataFrame, *, each: bool = True) -> Iterator[str]:
    ours = judged["agency_id"].map(GROUPS).fillna("other")
    wanted = rows["opd"]
    named = wanted != "other"
    yield f"agency, {len(rows)} rows: {(ours == wanted).mean():.3f}; another team's model {(rows['peer_label'] == wanted).mean():.3f}"
    yield (
        f"agency, the {named.sum()} rows of the eight groups: {(ours == wanted)[named].mean():.3f};"
        f" another team's model {(rows['peer_label'] == wanted)[named].mean():.3f}"
    )
    category = rows["category"].str.strip().str.lower()
    majority = [_majority(wanted[(category == c) & (wanted.index != i)], wanted) for i, c in category.items()]
    yield f"  majority agency of the same category, this row left out: {(wanted == majority).mean():.3f}"
    for group in sorted(set(wanted)) if each else ():
        asked, said = wanted == group, ours == group
        hit = (asked & said).sum()
        yield f"    {group[:46]:46} rows {asked.sum():3d}  found {hit / max(1, asked.sum()):.2f}  right {hit / max(1, said.sum()):.2f}"


def _majority(same: pd.Series, everybody: pd.Series) -> str:
    return (same if len(same) else everybody).mode().iat[0]


def _places(rows: pd.DataFrame, frame: pd.DataFrame, gazetteer: Gazetteer, accept: float) -> Iterator[str]:
    bare = frame.assign(kelurahan_reported=None)
    found = locate(bare, gazetteer=gazetteer)
    wanted = [_code(k, gazetteer) for k in rows["kelurahan"]]
    yield f"place, text alone: {sum(w is not None for w in wanted)} of {len(rows)} rows name a kelurahan of the gazetteer"
    yield from _precision(found, wanted, accept)
    given = locate(frame, gazetteer=gazetteer)
    kept = [g == w for g, w in zip(column(given, "kelurahan_code"), wanted, strict=True) if w]
    yield f"  with the field kelurahan given: that kelurahan in {np.mean(kept):.3f}"


def _code(name: str, gazetteer: Gazetteer) -> str | None:
    from pipelines.transforms.gazetteer import join

    codes = [m.code for m in gazetteer.names.get(join(name), ()) if m.level == "kelurahan"]
    return codes[0] if codes else None


def _precision(found: pd.DataFrame, wanted: list[str | None], accept: float) -> Iterator[str]:
    code, sure = column(found, "kelurahan_code"), found["place_confidence"].to_numpy()
    yield f"  how: {found['place_method'].value_counts().to_dict()}"
    for low, high in pairwise(_BINS):
        rows = [
            i for i, (c, w) in enumerate(zip(code, wanted, strict=True))
            if c and w and low <= sure[i] and (sure[i] < high or high == 1.0)
        ]  # fmt: skip
        if rows:
            yield f"    confidence {low:.1f}-{high:.1f}: {len(rows):4d} placed, right {np.mean([code[i] == wanted[i] for i in rows]):.3f}"
    trusted = [i for i, w in enumerate(wanted) if w and code[i] and sure[i] >= accept]
    known_rows = sum(w is not None for w in wanted)
    right = np.mean([code[i] == wanted[i] for i in trusted]) if trusted else 0.0
    yield f"  from {accept:.2f} on: covers {len(trusted) / max(1, known_rows):.3f}, right {right:.3f}"


# --- coordinates, and another city ------------------------------------------------------------


def floods(path: Path, knowledge: known.Knowledge, boundaries: Mapping[str, Any] | None) -> Iterator[str]:
    rows = pd.read_csv(path)
    gazetteer = knowledge.gazetteer
    wanted = _codes_by_name(rows, gazetteer)
    frame = reports([""] * len(rows), lat=rows["lat"].tolist(), lon=rows["lon"].tolist())
    inside = sum(w is not None for w in wanted)
    yield f"coordinates: {len(rows)} points, {inside} inside a kelurahan"
    yield "  nearest centroid:"
    yield from _precision(locate(frame, gazetteer=gazetteer), wanted, knowledge.accept_place)
    yield from _beyond(locate(frame, gazetteer=gazetteer), wanted)
    if boundaries:
        g = gazetteer
        codes = g.kelurahan["kelurahan_code"]
        with_polygons = Gazetteer(
            g.kelurahan,
            g.kecamatan,
            g.kota,
            g.landmarks,
            g.outside,
            [boundaries.get(c) for c in codes],
            weights=g.weights,
        )
        yield "  with boundaries installed:"
        yield from _precision(locate(frame, gazetteer=with_polygons), wanted, knowledge.accept_place)
        yield from _beyond(locate(frame, gazetteer=with_polygons), wanted)
    else:
        yield "  SKIPPED: no boundaries file"


def _beyond(found: pd.DataFrame, wanted: list[str | None]) -> Iterator[str]:
    rows = [i for i, w in enumerate(wanted) if w is None]
    methods = found["place_method"].iloc[rows].value_counts().to_dict()
    yield f"  the {len(rows)} points in no kelurahan: {methods}"


def _codes_by_name(rows: pd.DataFrame, gazetteer: Gazetteer) -> list[str | None]:
    from pipelines.transforms.gazetteer import join

    table = gazetteer.kelurahan
    keys = zip(table["kelurahan"], table["kecamatan"], table["kelurahan_code"], strict=True)
    codes = {(join(kel), join(kec)): code for kel, kec, code in keys}
    return [
        codes.get((join(str(kel)), join(str(kec))))
        for kel, kec in zip(rows["kelurahan"], rows["kecamatan"], strict=True)
    ]


def surabaya(path: Path, knowledge: known.Knowledge) -> Iterator[str]:
    rows = pd.read_csv(path, dtype=str, keep_default_na=False)
    texts, addresses = rows["keluhan"].tolist(), rows["alamat"].tolist()
    fields = {"kelurahan_reported": rows["kelurahan"].tolist(), "kecamatan_reported": rows["kecamatan"].tolist()}
    for title, given in (("text and address alone", {}), ("with its kelurahan and kecamatan fields", fields)):
        found = locate(reports(texts, address_text=addresses, **given), gazetteer=knowledge.gazetteer)
        placed = found["kota_code"].notna()
        sure = placed & (found["place_confidence"] >= knowledge.accept_place)
        kelurahan = sure & found["kelurahan_code"].notna()
        yield (
            f"Surabaya, {len(rows)} rows, {title}: in Jakarta with confidence {sure.mean():.4f}"
            f" (a kelurahan {kelurahan.mean():.4f}); unsure {(placed & ~sure).mean():.4f}"
        )
        yield f"  how: {found['place_method'].value_counts().to_dict()}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the real reports")
    parser.add_argument("--examine", action="store_true", help="the rows kept unread instead: agency figures alone")
    asked = parser.parse_args()
    data = asked.data
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(Path(folder), Path(folder), default_models_dir(), ())
        knowledge = known.load(settings)
        model = classifiers.load(classifiers.build(settings, say=print))
        outlines = data / "gazetteer" / "jakarta_kelurahan.geojson"
        boundaries = places.read_boundaries(outlines) if outlines.exists() else None
        crm = data / "jakarta_crm_2023" / "reports_dev.csv"
        if asked.examine and crm.exists():
            print(*examined(crm, knowledge, model), sep="\n")
            return 0
        steps = (
            (crm, lambda p: jakarta(p, knowledge, model)),
            (data / "petabencana_2017" / "reports.csv", lambda p: floods(p, knowledge, boundaries)),
            (data / "surabaya_complaints" / "complaints_dev.csv", lambda p: surabaya(p, knowledge)),
        )
        missing = 0
        for path, step in steps:
            if not path.exists():
                missing += 1
                print(f"SKIPPED: {path} is not there", file=sys.stderr)
                continue
            for line in step(path):
                print(line, flush=True)
    return 1 if missing == len(steps) else 0


if __name__ == "__main__":
    sys.exit(main())
