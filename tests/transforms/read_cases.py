"""The cases a person of the domain can add without Python: tab-separated files in cases/, one case a line.

The first line names the columns; lines that begin with # are remarks. Every text is invented. In cells, - means
"nothing" and \\n a new line.
"""

from __future__ import annotations

import csv
from pathlib import Path

_FOLDER = Path(__file__).resolve().parent / "cases"


def cases(name: str, folder: Path = _FOLDER) -> list[dict[str, str | None]]:
    """Rows of cases/<name>.tsv as column -> cell, None for -."""
    with (folder / f"{name}.tsv").open(encoding="utf-8", newline="") as file:
        lines = [line for line in file if line.strip() and not line.startswith("#")]
    rows = list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    for number, row in enumerate(rows, 1):
        if None in row or None in row.values():
            raise ValueError(f"{name}.tsv: case {number} has not one cell for every column: {row}")
    return [{k: None if v == "-" else v.replace("\\n", "\n") for k, v in row.items()} for row in rows]
