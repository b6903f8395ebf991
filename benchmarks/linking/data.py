"""A made-up set, landed and refined by the project itself: what all linkers get, and the truth beside it.

Kept as Parquet in a folder, so that linkers can be run again. Columns of the reports are contracts.REPORTS; of each
report its first version, in the recorded order, as a report is linked by that. The truth's columns are in a file of
their own, which no linker is given.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.incidents.linked import land
from pipelines import order
from pipelines.contracts import REPORTS, to_frame
from pipelines.flow import author_secret
from pipelines.load import read_entry, streams_for
from pipelines.refine import judging
from pipelines.settings import Settings
from pipelines.sinks.landing import Entry, Landing


class Made(NamedTuple):
    """Where a set lies. truth: report_id (as Kanal names it), incident, role, copy_of, place, kind."""

    folder: Path

    @property
    def reports(self) -> Path:
        return self.folder / "reports.parquet"

    @property
    def truth(self) -> Path:
        return self.folder / "truth.parquet"

    @property
    def hard(self) -> Path:
        return self.folder / "hard.parquet"


def made(count: int, seed: int, work: Path, *, anew: bool = False) -> Made:
    """The set of so many reports, made if `work` does not hold it yet."""
    found = Made(work / f"{count}-{seed}")
    if anew:
        shutil.rmtree(found.folder, ignore_errors=True)
    if not found.hard.exists():
        found.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="kanal-linking-", dir=work) as folder:
            settings, truth, hard = land(count, seed, Path(folder))
            _share_classifier(settings, work)
            reports = first_versions(pa.concat_tables(_refined(settings)))
        _keep(found, reports, truth, hard)
    return found


def _share_classifier(settings: Settings, work: Path) -> None:
    """All sets of a folder are judged by one classifier, built once: its folder's name is the hash of what made it."""
    (work / "models").mkdir(exist_ok=True)
    (settings.data_dir / "models").symlink_to((work / "models").resolve())


def _refined(settings: Settings) -> Iterator[pa.Table]:
    """contracts.REPORTS rows of all that landed, in the recorded order, `arrival` counted through."""
    landing, before = Landing(settings.landing_dir), 0
    groups, rows = order.pending(landing, {}, [], settings.group_rows)
    with judging(settings, author_secret(settings), messages=rows) as (_, refine):
        for number, group in enumerate(groups):
            landed, footers = read_entry(landing, Entry(number, group, {}))
            parts = refine(landed, streams_for(footers, settings))
            table = pa.concat_tables([part.reports for part in parts]).sort_by("place")
            arrivals = pc.add(table["place"], before)
            yield table.set_column(table.column_names.index("arrival"), REPORTS.field("arrival"), arrivals).select(
                REPORTS.names
            )
            before += landed.num_rows


def first_versions(reports: pa.Table) -> pa.Table:
    """The first version of each report, in the order given."""
    ids = reports["report_id"].to_pandas()
    return reports.filter(pa.array(~ids.duplicated().to_numpy()))


def _keep(found: Made, reports: pa.Table, truth: pd.DataFrame, hard: pd.DataFrame) -> None:
    """Both name reports by Kanal's ids. Raises ValueError where refining set a report aside."""
    ids = dict(zip(reports["source_ref"].to_pylist(), reports["report_id"].to_pylist(), strict=True))
    if lost := set(truth["report_id"]) - set(ids):
        raise ValueError(f"{len(lost)} reports of the set came to nothing, {min(lost)} among them")
    arrived = truth.assign(**{name: truth[name].map(ids) for name in ("report_id", "copy_of")})
    arrived = arrived.set_index("report_id").loc[reports["report_id"].to_pylist()].reset_index()
    pq.write_table(reports, found.reports)
    arrived.to_parquet(found.truth)
    hard.assign(**{name: hard[name].map(ids) for name in ("a", "b")}).to_parquet(found.hard)


def reports_of(path: Path) -> pd.DataFrame:
    """The reports as transforms take them, in the order in which they came."""
    return to_frame(pq.read_table(path))
