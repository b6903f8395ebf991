"""One linker in a process of its own: python -m benchmarks.linking.one STEP LINKER ..., as benchmarks.linking calls it.

tune LINKER TRAIN_FOLDER OUT.json             choose on a set with its truth
link LINKER REPORTS.parquet CHOSEN.json OUT   link reports without it: OUT/tickets.parquet, OUT/spent.json
texts datasketch FOLDER OUT.json              how far texts alone go on a set
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from benchmarks.linking.data import Made, reports_of
from benchmarks.linking.kanal import kanal
from benchmarks.linking.measured import Laps, peak_mib


def tune(linker: str, train: Made, out: Path) -> None:
    if linker == "splink":
        from benchmarks.linking import with_splink

        chosen = with_splink.tune(train, out.parent / "spill")
    else:
        from benchmarks.linking import with_datasketch

        chosen = with_datasketch.tune(train)
    out.write_text(json.dumps(chosen), "utf-8")


def link(linker: str, reports: Path, chosen: dict[str, Any], out: Path) -> None:
    frame, pairs = reports_of(reports), None
    if linker == "splink":
        from benchmarks.linking import with_splink as peer

        before, laps = peak_mib(), Laps()
        tickets, pairs = peer.link(frame, chosen, out / "spill", laps)
    elif linker == "datasketch":
        from benchmarks.linking import with_datasketch as texts

        before, laps = peak_mib(), Laps()
        tickets = texts.link(frame, chosen, laps)
    else:
        before, laps = peak_mib(), Laps()
        tickets = kanal(frame)
        laps.lap("prepare and link")
    spent = {"laps": laps.laps, "total": laps.total(), "peak_mib": peak_mib(), "before_mib": before}
    if pairs is not None:
        pq.write_table(pairs, out / "pairs.parquet")
    pd.DataFrame({"report_id": frame["report_id"], "ticket_id": tickets}).to_parquet(out / "tickets.parquet")
    (out / "spent.json").write_text(json.dumps(spent), "utf-8")


def texts(folder: Made, out: Path) -> None:
    from benchmarks.linking.with_datasketch import text_alone

    found = text_alone(reports_of(folder.reports), pd.read_parquet(folder.truth))
    out.write_text(json.dumps(found), "utf-8")


if __name__ == "__main__":
    step, name, *paths = sys.argv[1:]
    given = [Path(p) for p in paths]
    if step == "tune":
        tune(name, Made(given[0]), given[1])
    elif step == "texts":
        texts(Made(given[0]), given[1])
    else:
        link(name, given[0], json.loads(given[1].read_text("utf-8")), given[2])
