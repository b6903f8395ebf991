"""How well emergencies are told from complaints: on written cases, and how many real complaints are flagged.

    python -m benchmarks.emergency_quality [--data FOLDER] [--show]

The cases are invented. models/emergencies.tsv: the rules were written looking at the half called tune, and the trained
judge learned from all of it, so only the rules are measured there. emergency_fresh.tsv of tests/transforms/cases was
written before its author had read a rule, and is told apart by line of the file: rules were mended looking at even
lines, odd lines were only measured.
FOLDER: real complaints, not part of this project; where it is missing that is said and left out. --show prints the
flagged ones: whether they are emergencies only a reader can say; and what even lines of the fresh set get wrong.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from benchmarks.jakarta_quality import even_rows
from pipelines import classifiers
from pipelines import knowledge as known
from pipelines.settings import Settings, default_models_dir
from pipelines.transforms.emergency import Alarms, Likeness
from pipelines.transforms.normalise import clean_text
from pipelines.transforms.redact import mask
from pipelines.transforms.route import fold

_ROOT = Path(__file__).resolve().parent.parent
_WRITTEN = _ROOT / "models" / "emergencies.tsv"
_FRESH = _ROOT / "tests" / "transforms" / "cases" / "emergency_fresh.tsv"
_DATA = _ROOT.parent / "shared" / "data"


def flags(alarms: Alarms, texts: Sequence[str], alike: Likeness | None = None) -> list[str | None]:
    """Rule that flags each text, or the trained judge's name where no rule does and it is asked."""
    told = [alarms.of(t, fold(t), fold) for t in texts]
    return (
        [rule or (alike.id if like else None) for rule, like in zip(told, alike.of(texts), strict=True)]
        if alike
        else told
    )


def read(path: Path) -> list[dict[str, str]]:
    """Rows of a file of cases, each with its line in the file (1: the first) as `line`."""
    with path.open(encoding="utf-8", newline="") as file:
        lines = [(n, x) for n, x in enumerate(file, 1) if not x.startswith("#")]
    rows = csv.DictReader((x for _, x in lines), delimiter="\t", quoting=csv.QUOTE_NONE)
    return [{**row, "line": str(n)} for row, (n, _) in zip(rows, lines[1:], strict=True)]


def wilson(right: int, of: int) -> str:
    """A share with its 95% interval: "45/51 = 0.882 (0.766..0.945)"."""
    if not of:
        return "0/0"
    share, z2 = right / of, 1.96**2
    middle, half = share + z2 / (2 * of), (z2 * (share * (1 - share) / of + z2 / (4 * of * of))) ** 0.5
    low, high = ((middle + sign * half) / (1 + z2 / of) for sign in (-1, 1))
    return f"{right}/{of} = {share:.3f} ({low:.3f}..{high:.3f})"


def written(alarms: Alarms, alike: Likeness, *, show: bool) -> None:
    """Recall and precision on each part of the cases, with 95% intervals; what even lines of the fresh set get wrong."""
    parts = {half: [r for r in read(_WRITTEN) if r["half"] == half] for half in ("tune", "test", "other")}
    fresh = read(_FRESH)
    parts["fresh, even lines"] = [r for r in fresh if int(r["line"]) % 2 == 0]
    parts["fresh, odd lines"] = [r for r in fresh if int(r["line"]) % 2]
    parts["fresh, all"] = fresh
    judged = {f"{name}, rules and judge": part for name, part in parts.items() if name.startswith("fresh")}
    for name, part in (parts | judged).items():
        found = flags(alarms, [r["text"] for r in part], alike if name in judged else None)
        asked = [r["emergency"] in ("ya", "1") for r in part]
        right = sum(f is not None and a for f, a in zip(found, asked, strict=True))
        flagged = sum(f is not None for f in found)
        print(
            f"{name}: recall {wilson(right, sum(asked))}, precision {wilson(right, flagged)}, "
            f"wrongly flagged {flagged - right} of {len(part) - sum(asked)}"
        )
        for row, rule, ask in zip(part, found, asked, strict=True) if show and name == "fresh, even lines" else ():
            if (rule is not None) != ask:
                print(f"  {row['line']} {rule or '-'}: {row['text']}")


def real(alarms: Alarms, alike: Likeness, name: str, texts: Sequence[str], *, show: bool) -> None:
    """How many real complaints are flagged; masked texts of those if asked for."""
    found = [(rule, text) for rule, text in zip(flags(alarms, texts, alike), texts, strict=True) if rule]
    print(f"{name}: {len(found)} of {len(texts)} flagged, {1000 * len(found) / len(texts):.2f} per thousand")
    for rule, text in found if show else ():
        print(f"  {rule}: {mask(clean_text(text))[:400]!r}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=_DATA)
    parser.add_argument("--show", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(Path(folder), Path(folder), default_models_dir(), ())
        alarms, alike = known.load(settings).routing.alarms, classifiers.likeness(settings)
    written(alarms, alike, show=args.show)
    surabaya = args.data / "surabaya_complaints" / "complaints_dev.csv"
    jakarta = args.data / "jakarta_crm_2023" / "reports_dev.csv"
    for path in (surabaya, jakarta):
        if not path.exists():
            print(f"NOT MEASURED: {path} is missing; say --data FOLDER")
        elif path == surabaya:
            texts = pd.read_csv(path, dtype=str, keep_default_na=False)["keluhan"].str.replace("\\n", "\n")
            real(alarms, alike, "Surabaya", list(texts), show=args.show)
        else:
            real(alarms, alike, "Jakarta, even rows", list(even_rows(path)["text"]), show=args.show)


if __name__ == "__main__":
    main()
