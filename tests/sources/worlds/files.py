"""What lies on this machine: a gateway's database, exports, scans of letters."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable
from contextlib import nullcontext
from datetime import datetime
from pathlib import Path

import pytest

from pipelines.contracts import WIB, Stream
from pipelines.settings import default_models_dir
from pipelines.sources import letters
from pipelines.streams import mappings, with_mapping
from tests.sources.contract import SOME, World, words
from tests.sources.worlds.common import NO_SERVER


class ExportWorld(World):
    source = "export"
    repeats = True
    peer = "CSV files (XLSX, JSON, ZIP: tests/sources/test_tables.py, test_workbook.py)"
    cannot = NO_SERVER

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder / "kotak"
        self.folder.mkdir()
        columns = {"id": "No", "text": "Isi", "occurred_at": "Waktu"}
        options = {"inbox": "kotak", "columns": columns, "batch_rows": 5, "settle_seconds": 0}
        self.stream = Stream("jaki", "uji", "export", options, str(folder))
        self.rows: dict[int, tuple[str, datetime]] = {}
        self.files, self.repeating = 0, False

    def say(self, *numbers: int, at: datetime | None = None) -> None:
        self.rows |= {n: (words(n), at or self.now) for n in numbers}
        repeated = list(reversed(self.rows)) if self.repeating else []
        self._write([*repeated, *numbers])

    def _write(self, numbers: list[int]) -> None:
        self.files += 1
        with (self.folder / f"{self.files}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["No", "Isi", "Waktu"])
            for n in numbers:
                text, at = self.rows[n]
                writer.writerow([f"JK{n}", text, f"{at.astimezone(WIB):%Y-%m-%d %H:%M:%S}"])

    def edit(self, number: int) -> None:
        self.rows[number] = (words(number, edited=True), self.rows[number][1])
        self._write([number])

    def delete(self, number: int) -> None:
        del self.rows[number]
        self._write(list(self.rows))

    def overlap(self) -> None:
        self.repeating = True

    def outdate(self) -> Iterable[int]:
        for path in self.folder.iterdir():
            path.unlink()
        self._write(list(self.rows))
        return SOME


class LettersWorld(World):
    source = "letters"
    peer = "a folder of scans and transcripts, and agendas in CSV"
    cannot = NO_SERVER

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.folder = folder / "surat"
        self.folder.mkdir()
        layout = mappings((default_models_dir() / "mappings.toml",))["letter"]
        options = with_mapping({"inbox": "surat", "agenda": "agenda*.csv"}, layout)
        self.stream = Stream("governor_letter", "uji", "letters", options, str(folder))
        patch.setattr(letters, "_BATCH", 5)  # letters a page
        self.told: list[int] = []
        self.agendas, self.repeating = 0, False

    def say(self, *numbers: int, at: datetime | None = None) -> None:
        for path in self.folder.iterdir():  # put there once more, as they were
            os.utime(path, (self.now.timestamp() - 60,) * 2)
        for n in numbers:
            if len(numbers) < 100:  # each picture costs two flushes of the disk
                self._put(f"{n:05d}.pdf", b"%PDF-1.4\n" + f"{n} {at or self.now}".encode() + b"\n%%EOF\n")
            if not self.repeating:
                self._put(f"{n:05d}.txt", words(n).encode())
        self.told += numbers
        if self.repeating:  # what was typed stands in agendas, of which each repeats the ones before
            self.agendas += 1
            rows = "".join(f"{n},{words(n)},{n:05d}.pdf\n" for n in (*reversed(self.told), *self.told[-3:]))
            self._put(f"agenda-{self.agendas}.csv", f"Nomor Agenda,Isi,Berkas\n{rows}".encode())

    def _put(self, name: str, data: bytes) -> None:
        path = self.folder / name
        path.write_bytes(data)
        os.utime(path, (self.now.timestamp() - 60,) * 2)

    def edit(self, number: int) -> None:
        self._put(f"{number:05d}.txt", words(number, edited=True).encode())

    def delete(self, number: int) -> None:
        for path in self.folder.glob(f"{number:05d}.*"):
            path.unlink()

    def overlap(self) -> None:
        self.repeating = True

    def outdate(self) -> Iterable[int]:
        for path in self.folder.iterdir():  # copied back from somewhere: no time of a file is as it was
            os.utime(path, (self.now.timestamp() - 90,) * 2)
        return SOME


WORLDS = {
    "export": (ExportWorld, lambda r, f: nullcontext(ExportWorld(f))),
    "letters": (LettersWorld, lambda r, f: nullcontext(LettersWorld(f, r.getfixturevalue("monkeypatch")))),
}
