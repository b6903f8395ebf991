"""Export files for tests: a few invented complaints of Jakarta as a channel's sheet would hold them."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.conftest import stream_toml

HEADER = ("nomor", "tanggal", "isi", "kategori", "lat", "lon", "kelurahan", "pelapor", "hp", "status", "diubah")
ROWS: tuple[dict[str, str], ...] = (
    {"nomor": "JK2610010001", "tanggal": "01/10/2026 07:15", "isi": "Jalan berlubang cukup dalam di depan SDN, sudah ada motor jatuh",
     "kategori": "Jalan", "lat": "-6.200000", "lon": "106.800000", "kelurahan": "Gelora", "pelapor": "Warga Satu", "hp": "081200000001"},
    {"nomor": "JK2610010002", "tanggal": "01/10/2026 09:40", "isi": "lubang jalan depan SDN sudah lama, bahaya buat anak sekolah",
     "kategori": "Jalan", "lat": "-6.200050", "lon": "106.800040", "kelurahan": "Gelora", "pelapor": "Warga Dua", "hp": "081200000002"},
    {"nomor": "JK2610020003", "tanggal": "02/10/2026 19:05", "kategori": "Jaringan Listrik",
     "isi": "Lampu PJU mati sepanjang Jl. Kenanga RT 03 RW 05, gelap sekali tiap malam",
     "kelurahan": "Kembangan Utara", "pelapor": "Warga Tiga", "hp": "081200000003"},
    {"nomor": "JK2610020004", "tanggal": "02/10/2026 20:30", "isi": "Sampah menumpuk di TPS dekat pasar, bau menyengat dan banyak lalat",
     "kategori": "Sampah", "lat": "-6.175000", "lon": "106.827000", "pelapor": "Warga Empat", "hp": "081200000004"},
    {"nomor": "JK2610030005", "tanggal": "03/10/2026 06:00", "isi": "Terima kasih petugas PPSU, got depan rumah kami sudah bersih",
     "kategori": "PPSU", "kelurahan": "Tebet Timur", "pelapor": "Warga Lima", "hp": "081200000005"},
    {"nomor": "JK2610030006", "tanggal": "03/10/2026 08:00", "isi": "Pohon tumbang menutup jalan Melati, mobil tidak bisa lewat",
     "kategori": "Pohon", "kelurahan": "Tebet Barat", "pelapor": "Warga Enam", "hp": "081200000006"},
)  # fmt: skip

JAKI = stream_toml(
    "jaki", "app", "export", inbox="jaki", settle_seconds=0,
    columns={
        "id": "nomor", "external_ref": "nomor", "text": "isi", "occurred_at": "tanggal", "category": "kategori", "lat": "lat",
        "lon": "lon", "kelurahan": "kelurahan", "author_name": "pelapor", "contact_phone": "hp", "status": "status",
        "edited_at": "diubah",
    },
)  # fmt: skip
KELURAHAN = stream_toml(
    "kelurahan", "meja", "export", inbox="kelurahan", settle_seconds=0,
    columns={"text": "isi", "occurred_at": "tanggal", "kelurahan": "kelurahan", "author_name": "pelapor"},
)  # fmt: skip


def write(path: Path, rows: Iterable[Mapping[str, str]] = ROWS, header: tuple[str, ...] = HEADER) -> Path:
    """A CSV file of rows; cells a row does not name are empty."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        sheet = csv.DictWriter(file, header, delimiter=";", restval="")
        sheet.writeheader()
        sheet.writerows(rows)
    return path
