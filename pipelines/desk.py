"""The sheet that an office's desk fills in, as XLSX, and the stream that reads it.

Columns are those of the mapping `desk`; what may be chosen comes from models/. What Excel would spoil
is kept from it: RT/RW and phones are text cells, or 03/05 would become a day and 0812 lose its zero.

Belongs here: making the workbook. Not here: reading it back (sources/export with models/mappings.toml).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, time
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from openpyxl import Workbook
from openpyxl.styles import Alignment, Font, PatternFill, Protection
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.datavalidation import DataValidation
from openpyxl.worksheet.properties import PageSetupProperties
from openpyxl.worksheet.worksheet import Worksheet

from pipelines import knowledge, places
from pipelines.errors import PermanentError, SettingsError
from pipelines.settings import Settings
from pipelines.sources.headings import loose

ROWS = 500  # prepared for filling in; rows below them are read as well
_HEADING, _EXAMPLE = 2, 3
_RANKS = {"kelurahan": "kelurahan", "kecamatan": "kecamatan", "walikota": "kota", "kota": "kota", "kabupaten": "kota"}
_LATEST = date(2100, 1, 1)
_EARLIEST = date(2000, 1, 1)


class _Column(NamedTuple):
    """hint: for the clerk, under the heading's name in Petunjuk and as the cell's prompt. like: an example."""

    name: str
    width: int
    hint: str
    like: Any
    shape: str = "General"


_COLUMNS = (
    _Column("No Register", 13, "Nomor buku tamu. Boleh kosong; kalau diisi, jangan dipakai dua kali.", "CONTOH", "@"),
    _Column("Tanggal", 12, "Tanggal warga datang, misalnya 05/11/2026. Jangan tulis \"kemarin\".", date(2026, 11, 5), "dd/mm/yyyy"),
    _Column("Jam", 8, "Jam warga datang, misalnya 08:30. Boleh kosong.", time(8, 30), "hh:mm"),
    _Column("Nama Pelapor", 24, "Nama warga. Boleh kosong kalau warga tidak mau disebut.", "Ibu Sari Contoh"),
    _Column("No HP", 16, "Nomor yang bisa dihubungi. Boleh kosong.", "0812-0000-0000", "@"),
    _Column("Alamat Kejadian", 34, "Tempat kejadian, bukan rumah pelapor: jalan atau gang, dan patokan.", "Jl. Contoh, depan masjid"),
    _Column("RT/RW", 12, "RT dan RW tempat kejadian, misalnya 003/005.", "003/005", "@"),
    _Column("Kelurahan", 22, "Kelurahan tempat kejadian. Pilih dari daftar.", "", "@"),
    _Column("Kategori", 34, "Pilih yang paling dekat. Boleh kosong kalau ragu.", "Jaringan Listrik"),
    _Column("Uraian Laporan", 60, "Apa yang dilaporkan, dengan kata-kata warga. Wajib diisi.", "Lampu jalan mati tiga malam."),
    _Column("Rahasia", 10, "Ya kalau nama pelapor tidak boleh diketahui orang lain.", "Tidak"),
    _Column("Foto", 18, "Nama berkas foto, kalau ada; foto dan berkas ini dikirim dalam satu ZIP.", "lampu-1.jpg", "@"),
    _Column("Keterangan Petugas", 28, "Catatan petugas. Jangan menulis nama atau nomor orang di sini.", "Sudah diteruskan"),
)  # fmt: skip
_RULES = (
    "Satu laporan satu baris, di lembar Laporan. Baris CONTOH boleh dibiarkan: baris itu tidak dibaca.",
    "Tanggal dan Uraian Laporan wajib diisi. Baris tanpa tanggal yang terbaca disisihkan sampai diperbaiki.",
    'Kalau isinya sama dengan baris di atasnya, tulis "sda", atau gabungkan selnya.',
    "Baris kosong, baris jumlah dan tanda tangan tidak dibaca sebagai laporan.",
    "Boleh satu lembar tiap bulan: salin lembar Laporan, judul kolomnya jangan diubah.",
    "Kalau laporan diperbaiki, perbaiki di baris yang sama lalu kirim berkasnya lagi; No Register membuatnya tetap satu laporan.",
    "Foto boleh ditempel di atas lembar, di baris laporannya (bukan di dalam sel). Atau tulis nama berkasnya di kolom Foto, lalu"
    " kirim foto dan berkas ini dalam satu ZIP.",
    "Simpan sebagai XLSX lalu taruh di folder yang diberikan, atau kirim ke admin Kanal.",
)


@dataclass(frozen=True, slots=True)
class Office:
    """level: kelurahan, kecamatan or kota; "" for an office of the whole city. area: its names, level -> name."""

    name: str
    channel: str
    level: str
    area: dict[str, str]
    kelurahan: tuple[str, ...]


def office_of(settings: Settings, name: str, channel: str | None = None) -> Office:
    """The office by its name, as "Kelurahan Meruya Utara". Raises PermanentError where no such area is known."""
    if not name.isprintable() or not _slug(name):
        raise PermanentError(f"{name!r} is no name of an office: letters, in one line")
    table = places.kelurahan_table(settings.gazetteer)
    rank, _, rest = name.strip().partition(" ")
    level = _RANKS.get(rank.lower())
    if channel is not None and channel not in knowledge.channels(settings):
        raise SettingsError(f"channel {channel!r} is in no registry; add it to models/channels.toml")
    if level is None:
        if channel is None:
            ranks = ", ".join(_RANKS)
            raise PermanentError(f"{name!r} begins with none of {ranks}; for another office name its --channel")
        return Office(name, channel, "", {}, tuple(sorted(set(table["kelurahan"]))))
    rest = re.sub(r"^(?:administrasi|adm\.?)\s+", "", rest, flags=re.IGNORECASE)
    found = table[table[level].map(loose) == loose(rest)]
    if found.empty:
        close = sorted(n for n in set(table[level]) if loose(rest)[:4] and loose(n).startswith(loose(rest)[:4]))
        raise PermanentError(
            f"no {level} {rest!r} in the gazetteer" + (f"; perhaps {', '.join(close[:5])}" if close else "")
        )
    if level != "kota" and found[f"{level}_code"].nunique() > 1:
        raise PermanentError(f"there are several {level} {rest!r}; name the channel's office by its kota in kanal.toml")
    levels = ("kelurahan", "kecamatan", "kota")[("kelurahan", "kecamatan", "kota").index(level) :]
    area = {each: str(found[each].iloc[0]) for each in levels}
    return Office(
        name, channel or ("walikota" if level == "kota" else level), level, area, tuple(sorted(set(found["kelurahan"])))
    )


def _slug(name: str) -> str:
    """What a stream may be called."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower())[:60].strip("-")


def stream_toml(office: Office) -> str:
    """The [[stream]] that reads what the office sends."""
    slug = _slug(office.name)
    lines = [
        "[[stream]]", f'channel = "{office.channel}"', f'name = "{slug}"', 'source = "export"', 'mapping = "desk"',
        f'inbox = "inbox/{slug}"',
    ]  # fmt: skip
    if office.area:
        lines += ["", "[stream.constants]", *(f'{level} = "{name}"' for level, name in office.area.items())]
    return "\n".join(lines) + "\n"


def write(settings: Settings, office: Office, path: Path) -> None:
    """The template. Raises PermanentError where the file is there already or cannot be written."""
    book = Workbook()
    book.remove(book.worksheets[0])
    sheet, guide, lists = (book.create_sheet(title) for title in ("Laporan", "Petunjuk", "Pilihan"))
    columns = [c for c in _COLUMNS if c.name != "Kelurahan" or len(office.kelurahan) > 1]
    choices = {
        "Kategori": sorted(knowledge.taxonomy(settings.models_dir).names.values()),
        "Kelurahan": list(office.kelurahan),
    }
    _reports(sheet, columns, office)
    for number, (name, values) in enumerate(choices.items(), 1):
        lists.cell(1, number, name)
        for row, value in enumerate(values, 2):
            lists.cell(row, number, value)
    lists.sheet_state = "hidden"
    _validate(sheet, columns, {name: len(values) for name, values in choices.items()})
    _guide(guide, columns, office)
    for other in (guide, lists):
        other.protection.sheet = True
    try:
        with path.open("xb") as file:
            book.save(file)
    except FileExistsError:
        raise PermanentError(f"{path} is there already; give another --out") from None
    except OSError as error:
        raise PermanentError(f"{path} cannot be written: {error.strerror}") from error


def _reports(sheet: Worksheet, columns: list[_Column], office: Office) -> None:
    sheet["A1"] = f"Buku laporan warga: {office.name}"
    sheet["A1"].font = Font(bold=True, size=14)
    grey, blue = PatternFill("solid", fgColor="EEEEEE"), PatternFill("solid", fgColor="DCE6F1")
    for number, column in enumerate(columns, 1):
        heading = sheet.cell(_HEADING, number, column.name)
        heading.font, heading.fill = Font(bold=True), blue
        heading.alignment = Alignment(wrap_text=True, vertical="center")
        like = office.kelurahan[0] if column.name == "Kelurahan" else column.like
        example = sheet.cell(_EXAMPLE, number, like)
        example.font, example.fill, example.number_format = Font(italic=True, color="777777"), grey, column.shape
        sheet.column_dimensions[get_column_letter(number)].width = column.width
        for row in range(_EXAMPLE + 1, _EXAMPLE + 1 + ROWS):
            cell = sheet.cell(row, number)
            cell.protection, cell.number_format = Protection(locked=False), column.shape
            cell.alignment = Alignment(wrap_text=column.width > 30, vertical="top")
    sheet.freeze_panes = f"A{_HEADING + 1}"
    sheet.auto_filter.ref = f"A{_HEADING}:{get_column_letter(len(columns))}{_EXAMPLE + ROWS}"
    protection = sheet.protection
    protection.sheet = True  # without a password: it keeps the headings from slips, not from people
    for allowed in ("formatCells", "formatColumns", "formatRows", "insertRows", "deleteRows", "sort", "autoFilter"):
        setattr(protection, allowed, False)
    sheet.page_setup.orientation, sheet.page_setup.fitToHeight = "landscape", 0
    sheet.sheet_properties.pageSetUpPr = PageSetupProperties(fitToPage=True)
    sheet.print_title_rows = f"{_HEADING}:{_HEADING}"


def _validate(sheet: Worksheet, columns: list[_Column], counts: dict[str, int]) -> None:
    """What a cell takes. Lists stand in a sheet of their own: Excel allows 255 characters inside a rule."""
    rules: dict[str, DataValidation] = {
        "Tanggal": DataValidation(
            type="date", operator="between", formula1=_serial(_EARLIEST), formula2=_serial(_LATEST),
            error="Tulis tanggal, misalnya 05/11/2026.",
        ),
        "Jam": DataValidation(type="time", operator="between", formula1="0", formula2="0.999988", error="Tulis jam, misalnya 08:30."),
        "Rahasia": DataValidation(type="list", formula1='"Ya,Tidak"', error="Pilih Ya atau Tidak."),
    }  # fmt: skip
    for number, (name, count) in enumerate(counts.items(), 1):
        letter = get_column_letter(number)
        rules[name] = DataValidation(
            type="list",
            formula1=f"Pilihan!${letter}$2:${letter}${count + 1}",
            error="Pilih dari daftar, atau kosongkan.",
        )
    for number, column in enumerate(columns, 1):
        letter = get_column_letter(number)
        rule = rules.get(column.name)
        if rule is None:
            rule = DataValidation()  # takes anything; its prompt still helps
        rule.allow_blank, rule.showErrorMessage, rule.showInputMessage = True, rule.type is not None, True
        rule.errorTitle, rule.promptTitle, rule.prompt = column.name, column.name, column.hint
        rule.add(f"{letter}{_EXAMPLE + 1}:{letter}{_EXAMPLE + ROWS}")
        sheet.add_data_validation(rule)


def _guide(sheet: Worksheet, columns: list[_Column], office: Office) -> None:
    sheet["A1"] = f"Cara mengisi buku laporan warga {office.name}"
    sheet["A1"].font = Font(bold=True, size=14)
    row = 3
    for number, rule in enumerate(_RULES, 1):
        sheet.cell(row, 1, f"{number}.")
        sheet.cell(row, 2, rule).alignment = Alignment(wrap_text=True, vertical="top")
        row += 1
    row += 1
    for column in columns:
        sheet.cell(row, 1, column.name).font = Font(bold=True)
        sheet.cell(row, 2, column.hint).alignment = Alignment(wrap_text=True, vertical="top")
        row += 1
    sheet.column_dimensions["A"].width, sheet.column_dimensions["B"].width = 22, 90


def _serial(day: date) -> str:
    return str((pd.Timestamp(day) - pd.Timestamp("1899-12-30")).days)
