"""Memory and speed of the export source on one large CSV: python benchmarks/export_memory.py [MEGABYTES]

Writes a CSV of that size (1000) into a temporary folder, pulls it to its end in a process of its own,
prints that process's peak resident memory before and after, and rows a second, and deletes the file.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from pipelines.contracts import Stream
from pipelines.sources import export

_HEADER = "No Laporan;Tanggal;Isi Laporan;Kategori;Kelurahan;Lat;Lon;Foto\r\n"
_TEXTS = (
    "Selamat pagi, jalan di depan pasar berlubang dalam dan sudah dua kali pengendara motor jatuh. Mohon ditambal.",
    '"Lampu jalan mati; gelap sejak Senin.\nWarga RT 03 RW 05 takut lewat, mohon ""segera"" diperbaiki."',
    '"Sampah menumpuk di TPS, tidak diangkut empat hari, baunya sampai ke rumah warga. Terima kasih &amp; salam."',
)


def write(path: Path, megabytes: int) -> int:
    """Fill the file with rows; returns how many."""
    rows = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        size = file.write(_HEADER)
        while size < megabytes * 1_000_000:
            size += file.write(
                "".join(
                    f"JK{rows + n:010d};{1 + n % 28:02d}/05/2026 {n % 24:02d}:{n % 60:02d};{_TEXTS[n % 3]};Jalan;"
                    f"Kelurahan {n % 267};-6,{200_000 + n};106,{800_000 + n};foto-{rows + n}.jpg\r\n"
                    for n in range(1000)
                )
            )
            rows += 1000
    return rows


def read(path: Path) -> None:
    columns = {
        "id": "No Laporan", "external_ref": "No Laporan", "occurred_at": "Tanggal", "text": "Isi Laporan",
        "category": "Kategori", "kelurahan": "Kelurahan", "lat": "Lat", "lon": "Lon", "attachments": "Foto",
    }  # fmt: skip
    stream = Stream("jaki", "ukur", "export", {"columns": columns}, str(path.parent))
    before, start = _peak(), time.perf_counter()
    rows = batches = 0
    for batch in export.import_files(stream, None, [path], now=lambda: datetime.now(UTC)):
        rows += len(batch.messages)
        batches += 1
    seconds = time.perf_counter() - start
    print(f"{rows:,} rows in {batches:,} batches, {seconds:.1f} s: {rows / seconds:,.0f} rows/s")
    print(f"peak resident memory {_peak():,.0f} MB, of which {before:,.0f} MB before the first row")


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    if sys.argv[1:2] == ["--read"]:
        read(Path(sys.argv[2]))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ekspor.csv"
        rows = write(path, int(sys.argv[1]) if sys.argv[1:] else 1000)
        print(f"{path.stat().st_size / 1e6:,.0f} MB, {rows:,} rows")
        sys.stdout.flush()
        subprocess.run([sys.executable, __file__, "--read", str(path)], check=True)


if __name__ == "__main__":
    main()
