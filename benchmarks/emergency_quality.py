"""How well emergencies are told from complaints: on written cases, and how many real complaints are flagged.

    python -m benchmarks.emergency_quality [--data FOLDER] [--show]

The cases are invented (tests/transforms/cases/emergency.tsv); the rules were written looking at the half called tune.
FOLDER: real complaints, not part of this project; where it is missing that is said and left out. --show prints the
flagged ones: whether they are emergencies only a reader can say.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from benchmarks.jakarta_quality import even_rows
from pipelines import knowledge as known
from pipelines.settings import Settings, default_models_dir
from pipelines.transforms.emergency import Alarms
from pipelines.transforms.normalise import clean_text
from pipelines.transforms.redact import mask
from pipelines.transforms.route import fold

_ROOT = Path(__file__).resolve().parent.parent
_CASES = _ROOT / "tests" / "transforms" / "cases" / "emergency.tsv"
_DATA = _ROOT.parent / "shared" / "data"


def flags(alarms: Alarms, texts: Sequence[str]) -> list[str | None]:
    """Rule that flags each text."""
    return [alarms.of(t, fold(t), fold) for t in texts]


def written(alarms: Alarms) -> None:
    """Recall and precision on each part of the cases."""
    with _CASES.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader((x for x in file if not x.startswith("#")), delimiter="\t", quoting=csv.QUOTE_NONE))
    for half in ("tune", "test", "other"):
        part = [r for r in rows if r["half"] == half]
        flagged = [f is not None for f in flags(alarms, [r["text"] for r in part])]
        now = sum(r["emergency"] == "ya" for r in part)
        right = sum(f and r["emergency"] == "ya" for f, r in zip(flagged, part, strict=True))
        wrong = sum(flagged) - right
        print(f"{half}: recall {right}/{now} = {right / now:.3f}, wrongly flagged {wrong} of {len(part) - now}")


def real(alarms: Alarms, name: str, texts: Sequence[str], *, show: bool) -> None:
    """How many real complaints are flagged; masked texts of those if asked for."""
    found = [(rule, text) for rule, text in zip(flags(alarms, texts), texts, strict=True) if rule]
    print(f"{name}: {len(found)} of {len(texts)} flagged, {1000 * len(found) / len(texts):.2f} per thousand")
    for rule, text in found if show else ():
        print(f"  {rule}: {mask(clean_text(text))[:400]!r}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=_DATA)
    parser.add_argument("--show", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        alarms = known.load(Settings(Path(folder), Path(folder), default_models_dir(), ())).routing.alarms
    written(alarms)
    surabaya = args.data / "surabaya_complaints" / "complaints_dev.csv"
    jakarta = args.data / "jakarta_crm_2023" / "reports_dev.csv"
    for path in (surabaya, jakarta):
        if not path.exists():
            print(f"NOT MEASURED: {path} is missing; say --data FOLDER")
        elif path == surabaya:
            texts = pd.read_csv(path, dtype=str, keep_default_na=False)["keluhan"].str.replace("\\n", "\n")
            real(alarms, "Surabaya", list(texts), show=args.show)
        else:
            real(alarms, "Jakarta, even rows", list(even_rows(path)["text"]), show=args.show)


if __name__ == "__main__":
    main()
