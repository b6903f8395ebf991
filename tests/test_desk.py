"""The sheet for an office's desk: Excel takes it, a clerk fills it in, and it is read back as it was meant."""

from __future__ import annotations

import re
import tomllib
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from typer.testing import CliRunner

from pipelines import desk, knowledge, streams
from pipelines.cli import app
from pipelines.contracts import Stream
from pipelines.errors import PermanentError
from pipelines.settings import Settings, load
from pipelines.sources import export
from tests.conftest import SAMPLES


@pytest.fixture(scope="module")
def ours() -> Settings:
    return load(SAMPLES / "kanal.toml")


def made(folder: Path, settings: Settings, name: str, channel: str | None = None) -> Path:
    path = folder / "buku.xlsx"
    desk.write(settings, desk.office_of(settings, name, channel), path)
    return path


def stream_of(folder: Path, settings: Settings, office: str) -> Stream:
    entry = desk.stream_toml(desk.office_of(settings, office)).replace(
        'inbox = "inbox/', 'settle_seconds = 0\ninbox = "./'
    )
    folder.mkdir(exist_ok=True)
    (folder / "kanal.toml").write_text(re.sub(r'inbox = ".*"', 'inbox = "."\npattern = "*.xlsx"', entry), "utf-8")
    return load(folder / "kanal.toml").streams[0]


def read(stream: Stream) -> list[Any]:
    now = datetime(2026, 11, 26, tzinfo=UTC)
    return [export.decode(m, stream) for b in export.pull(stream, None, now=lambda: now) for m in b.messages]


def test_an_untouched_template_holds_no_report_and_nothing_to_quarantine(tmp_path: Path, ours: Settings) -> None:
    made(tmp_path, ours, "Kelurahan Meruya Utara")
    assert read(stream_of(tmp_path, ours, "Kelurahan Meruya Utara")) == []


def test_a_filled_template_is_read_as_it_was_meant(tmp_path: Path, ours: Settings) -> None:
    path = made(tmp_path, ours, "Kecamatan Kembangan")
    book = openpyxl.load_workbook(path)
    sheet = book["Laporan"]
    heads = [cell.value for cell in sheet[2]]
    row = dict(zip(heads, range(1, len(heads) + 1), strict=True))
    for name, value in {
        "No Register": "A-1", "Tanggal": date(2026, 11, 5), "Jam": time(8, 30), "Nama Pelapor": "Ibu Sari Contoh",
        "No HP": "0812-0000-1201", "Alamat Kejadian": "Jl. Contoh", "RT/RW": "003/005", "Kelurahan": "Srengseng",
        "Kategori": "Sampah", "Uraian Laporan": "Sampah menumpuk", "Rahasia": "Ya", "Foto": "sampah.jpg",
        "Keterangan Petugas": "diteruskan",
    }.items():  # fmt: skip
        sheet.cell(4, row[name], value)
    book.save(path)
    [draft] = read(stream_of(tmp_path, ours, "Kecamatan Kembangan"))
    assert (draft.text, draft.category_reported, draft.private, draft.contact_phone) == (
        "Sampah menumpuk", "Sampah", True, "0812-0000-1201",
    )  # fmt: skip
    assert (draft.address_text, draft.kelurahan_reported, draft.kecamatan_reported, draft.kota_reported) == (
        "Jl. Contoh, RT 3 RW 5", "Srengseng", "Kembangan", "Jakarta Barat",
    )  # fmt: skip
    assert draft.occurred_at.isoformat() == "2026-11-05T01:30:00+00:00"
    assert draft.attachments == [{"type": "image/jpeg", "name": "sampah.jpg"}]
    assert draft.extra == {"Keterangan Petugas": "diteruskan"}


@pytest.mark.parametrize("office", ["Kelurahan Meruya Utara", "Kecamatan Kembangan", "Kota Jakarta Timur"])
def test_excels_limits_hold(office: str, tmp_path: Path, ours: Settings) -> None:
    book = openpyxl.load_workbook(made(tmp_path, ours, office))
    sheet = book["Laporan"]
    assert sheet.freeze_panes == "A3"
    assert (book["Pilihan"].sheet_state, book["Petunjuk"].sheet_state) == ("hidden", "visible")
    assert sheet.protection.sheet and not sheet["A4"].protection.locked and sheet["A2"].protection.locked
    lists = {}
    for rule in sheet.data_validations.dataValidation:
        assert len(rule.promptTitle or "") <= 32 and len(rule.errorTitle or "") <= 32
        assert len(rule.prompt or "") <= 255 and len(rule.error or "") <= 225
        if rule.type == "list":
            lists[rule.promptTitle] = rule.formula1
            assert len(rule.formula1) <= 255
            if found := re.fullmatch(r"Pilihan!\$(\w)\$2:\$\1\$(\d+)", rule.formula1):
                values = [c.value for c in book["Pilihan"][found[1]][1 : int(found[2])]]
                assert (
                    all(values)
                    and len(set(values)) == len(values)
                    and book["Pilihan"][f"{found[1]}{int(found[2]) + 1}"].value is None
                )
    assert set(lists) == {"Kategori", "Rahasia"} | ({"Kelurahan"} if office != "Kelurahan Meruya Utara" else set())
    taxonomy = knowledge.taxonomy(ours.models_dir)
    assert {c.value for c in book["Pilihan"]["A"][1:] if c.value} == set(taxonomy.names.values())


def test_every_column_of_the_template_is_one_the_desk_mapping_reads(tmp_path: Path, ours: Settings) -> None:
    from pipelines.streams import mappings

    entry = mappings(ours.mapping_files)["desk"]
    declared = {c for v in entry["columns"].values() for c in ([v] if isinstance(v, str) else v)} | set(entry["extra"])
    book = openpyxl.load_workbook(made(tmp_path, ours, "Kecamatan Kembangan"))
    assert {cell.value for cell in book["Laporan"][2]} == declared - {"Kecamatan", "Kota"}


@pytest.mark.parametrize(
    ("office", "channel", "words"),
    [
        ("Kelurahan Meruya Utra", None, "no kelurahan 'Meruya Utra'.*Meruya"),
        ("Pendopo Balai Kota", None, "begins with none of"),
        ("Pendopo Balai Kota", "tak_ada", "in no registry"),
        ("Kantor\x01Aneh", "pendopo", "is no name of an office"),
        ("Meja\nTamu", "pendopo", "is no name of an office"),
        ("\u2014", "pendopo", "is no name of an office"),
    ],
)  # fmt: skip
def test_an_office_that_is_not_known_is_told(office: str, channel: str | None, words: str, ours: Settings) -> None:
    with pytest.raises(PermanentError, match=words):
        desk.office_of(ours, office, channel)


def test_an_office_of_the_whole_city_chooses_among_all_kelurahan(ours: Settings) -> None:
    found = desk.office_of(ours, "Pendopo Balai Kota", "pendopo")
    assert (found.channel, found.area, len(found.kelurahan)) == ("pendopo", {}, 267)
    assert "stream.constants" not in desk.stream_toml(found)


def test_the_command_writes_once_and_prints_the_stream(tmp_path: Path) -> None:
    words = ["desk", "template", "--office", "kelurahan meruya utara", "--out", str(tmp_path / "m.xlsx")]
    words += ["--config", str(SAMPLES / "kanal.toml")]
    first, second = CliRunner().invoke(app, words), CliRunner().invoke(app, words)
    assert (first.exit_code, second.exit_code) == (0, 1)
    assert 'mapping = "desk"' in first.stdout and 'kecamatan = "Kembangan"' in first.stdout
    assert "is there already" in second.stderr


def test_an_office_may_be_called_what_it_likes_in_one_line(tmp_path: Path, ours: Settings) -> None:
    for number, name in enumerate(("=cmd|' /C calc'!A0", "Ruang / 2 : ?*" * 9, 'Meja "Tamu" \\ 1')):
        office = desk.office_of(ours, name, "pendopo")
        desk.write(ours, office, tmp_path / f"{number}.xlsx")
        [entry] = tomllib.loads(desk.stream_toml(office))["stream"]
        (stream,) = streams.read([entry], ours)
        assert stream.channel == "pendopo"
        for sheet in openpyxl.load_workbook(tmp_path / f"{number}.xlsx"):
            assert not [cell.value for row in sheet.iter_rows() for cell in row if cell.data_type == "f"]
