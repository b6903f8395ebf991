"""A made-up set as files: one inbox folder a channel with a kanal.toml, and the truth beside them."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa

from benchmarks.incidents.knowledge import channels
from benchmarks.incidents.shapes import TRUTH, Closing, HardPair, Report
from benchmarks.incidents.world import Item

_COLUMNS = {
    "id": "nomor", "external_ref": "no_crm", "occurred_at": "tanggal", "edited_at": "diubah", "title": "judul", "text": "isi",
    "address": "alamat", "rt_rw": "rt_rw", "kelurahan": "kelurahan", "kecamatan": "kecamatan", "lat": "lat", "lon": "lon",
    "accuracy_m": "akurasi", "category": "kategori", "author_ref": "akun", "attachments": "foto",
    "photo_sha256": "photo_sha256", "photo_phash": "photo_phash",
}  # fmt: skip
HEADER = tuple(_COLUMNS.values())
STREAM = "ekspor"


def kanal_toml() -> str:
    """Settings with an export stream for every channel of the set."""
    columns = "\n".join(f'{field} = "{name}"' for field, name in _COLUMNS.items())
    streams = (
        f'[[stream]]\nchannel = "{c}"\nname = "{STREAM}"\nsource = "export"\ninbox = "{c}"\n'
        f"\n[stream.columns]\n{columns}\n"
        for c in channels()
    )
    return '[kanal]\ndata_dir = "data"\n\n' + "\n".join(streams)


def row(report: Report) -> list[Any]:
    """The report as a row of its channel's export."""
    r = report
    return [
        r.report_id, r.external_ref, wib(r.occurred_at), wib(r.edited_at) if r.edited_at else None, r.title, r.text, r.address,
        r.rt_rw, r.kelurahan, r.kecamatan, r.lat, r.lon, r.accuracy_m, r.category, r.author,
        "ya" if r.photo_sha256 else "tidak", r.photo_sha256, r.photo_phash,
    ]  # fmt: skip


def wib(seconds: int) -> str:
    days, rest = divmod(seconds + 25_200, 86_400)
    return f"{_day(days)} {rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"


@lru_cache(maxsize=64)
def _day(days: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=days)).strftime("%Y-%m-%d")


def write(items: Iterable[Item], folder: Path) -> Iterator[Report]:
    """Write exports, kanal.toml, truth.csv, hard.csv and closings.csv into a new folder; the reports pass through.

    Raises FileExistsError where the folder holds a kanal.toml already.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "kanal.toml").open("x", encoding="utf-8") as file:
        file.write(kanal_toml())
    with ExitStack() as stack:

        def sheet(path: Path, header: Iterable[str]) -> Any:
            path.parent.mkdir(exist_ok=True)
            writer = csv.writer(stack.enter_context(path.open("x", encoding="utf-8", newline="")))
            writer.writerow(header)
            return writer

        exports = {c: sheet(folder / c / "laporan.csv", HEADER) for c in channels()}
        truth = sheet(folder / "truth.csv", ("source_ref", "channel", *TRUTH))
        hard = sheet(folder / "hard.csv", HardPair._fields)
        closings = sheet(folder / "closings.csv", Closing._fields)
        for item in items:
            if isinstance(item, Report):
                exports[item.channel].writerow(row(item))
                if item.version == 1:
                    truth.writerow((item.report_id, item.channel, *item[-len(TRUTH) :]))
                yield item
            elif isinstance(item, HardPair):
                hard.writerow(item)
            else:
                closings.writerow((wib(item.happened_at), *item[1:]))


_TYPES = {
    "version": pa.int8(), "occurred_at": pa.int64(), "edited_at": pa.int64(), "lat": pa.float64(), "lon": pa.float64(),
    "accuracy_m": pa.float64(), "incident": pa.int64(),
}  # fmt: skip
SCHEMA = pa.schema([(name, _TYPES.get(name, pa.string())) for name in Report._fields])


def tables(items: Iterable[Item], rows: int = 50_000) -> Iterator[pa.Table]:
    """The reports, later versions included, as Arrow tables of so many rows with the fields of Report."""
    batch: list[Report] = []
    for item in chain(items, (None,)):
        if isinstance(item, Report):
            batch.append(item)
        if batch and (item is None or len(batch) == rows):
            columns = zip(*batch, strict=True)
            yield pa.table([pa.array(c, f.type) for c, f in zip(columns, SCHEMA, strict=True)], schema=SCHEMA)
            batch = []
