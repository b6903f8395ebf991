"""`kanal mapping new`: a file nobody described, and what is made of it. People and places' stories are invented."""

from __future__ import annotations

import io
import json
import tomllib
import zipfile
from contextlib import suppress
from csv import writer as csv_writer
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from benchmarks import mapping_quality
from pipelines.cli import app
from pipelines.errors import PermanentError, SettingsError
from pipelines.propose import Proposal, propose
from pipelines.settings import Settings, default_models_dir, load
from pipelines.streams import mappings, with_mapping
from tests.conftest import SAMPLES

ROWS = [
    ["L-001", "05/13/2026 08:10", "Lampu jalan mati tiga malam di depan masjid", "0812-0000-1201", "Gambir", "106.82", "-6.17", "ya"],
    ["L-002", "05/14/2026 09:10", "Saluran mampet, air meluap ke jalan", "0812-0000-1202", "Cideng", "106.81", "-6.17", "tidak"],
    ["L-003", "05/02/2026 10:10", "Sampah menumpuk di pojok taman sejak lama", "0812-0000-1203", "Menteng", "106.83", "-6.19", "tidak"],
]  # fmt: skip
HEADER = ["Nomor", "Tanggal", "Isi Aduan", "HP", "Kelurahan", "Latitude", "Longitude", "Rahasia"]


@pytest.fixture(scope="module")
def ours() -> Settings:
    return load(SAMPLES / "kanal.toml")


def csv(rows: list[list[str]], header: list[str] = HEADER, separator: str = ";") -> str:
    return "\n".join(separator.join(cells) for cells in [header, *rows]) + "\n"


def made(folder: Path, settings: Settings, content: str | bytes, name: str = "jaki-baru.csv") -> Proposal:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return propose(settings, path)


def test_a_file_is_mapped_read_and_what_was_supposed_is_said(tmp_path: Path, ours: Settings) -> None:
    found = made(tmp_path, ours, csv(ROWS))
    assert found.options["columns"] == {
        "id": "Nomor", "text": "Isi Aduan", "occurred_at": "Tanggal", "lat": "Longitude", "lon": "Latitude",
        "kelurahan": "Kelurahan", "private": "Rahasia", "contact_phone": "HP",
    }  # fmt: skip
    assert found.options["dates"][1] == "%m/%d/%Y %H:%M"
    assert (found.channel, found.reports, found.quarantined, found.reasons) == ("jaki", 3, 0, {})
    assert found.first[0] == {
        "occurred_at": "2026-05-13 08:10 WIB", "text": ROWS[0][2], "kelurahan_reported": "Gambir", "lat": "-6.170000",
        "lon": "106.820000", "contact_phone": "[masked]", "author_ref": "[masked]", "private": True,
    }  # fmt: skip
    assert any("mm/dd: 2 of them" in line for line in found.unsure)
    assert any("the other way round" in line for line in found.unsure)


def test_the_entry_it_prints_reads_the_file(tmp_path: Path, ours: Settings) -> None:
    """The TOML, put into a kanal.toml, is good and says what the preview said."""
    found = made(tmp_path, ours, csv(ROWS))
    (tmp_path / "kanal.toml").write_text(found.toml(), "utf-8")
    stream = load(tmp_path / "kanal.toml").streams[0]
    assert stream.options == found.options


@pytest.mark.parametrize(
    ("dates", "words"),
    [
        (["04/05/2026", "05/06/2026", "06/07/2026"], "all 3 dates could be dd/mm or mm/dd"),
        (["14/05/2026", "05/16/2026", "06/07/2026"], "contradict each other"),
    ],
)
def test_dates_that_can_be_two_days_are_said(tmp_path: Path, ours: Settings, dates: list[str], words: str) -> None:
    rows = [[row[0], date, *row[2:]] for row, date in zip(ROWS, dates, strict=True)]
    found = made(tmp_path, ours, csv(rows))
    assert any(words in line for line in found.unsure)
    assert "dates" not in found.options


def test_columns_without_a_telling_name_are_known_by_their_cells_and_that_is_said(
    tmp_path: Path, ours: Settings
) -> None:
    found = made(tmp_path, ours, csv(ROWS, [f"f{n}" for n in range(8)]))
    assert found.options["columns"]["kelurahan"] == "f4"
    assert found.options["columns"]["text"] == "f2"
    assert found.options["columns"]["contact_phone"] == "f3"
    assert any("'f4' is taken for kelurahan by what its cells hold" in line for line in found.unsure)


def test_personal_columns_that_are_not_read_are_pointed_out(tmp_path: Path, ours: Settings) -> None:
    header = [*HEADER, "Kontak Petugas"]
    found = made(tmp_path, ours, csv([[*row, f"petugas{n}@example.com"] for n, row in enumerate(ROWS)], header))
    assert "contact_email" in found.options["columns"] or any("Kontak Petugas" in line for line in found.unsure)


@pytest.mark.parametrize("kind", ["xlsx", "json", "jsonl", "keyed", "zip", "utf-16", "cp1252"])
def test_every_format_gives_the_same_columns(kind: str, tmp_path: Path, ours: Settings) -> None:
    objects: list[dict[str, Any]] = [dict(zip(HEADER, row, strict=True)) for row in ROWS]
    name, options = f"jaki.{kind}", {}
    if kind == "xlsx":
        book = openpyxl.Workbook()
        for cells in [["Rekap Aduan"], [], HEADER, *ROWS]:
            book.active.append(cells)
        kept = io.BytesIO()
        book.save(kept)
        content = kept.getvalue()
    elif kind == "json":
        content, options = (
            json.dumps({"meta": {"n": 3}, "hasil": {"data": objects}}).encode(),
            {"records": "hasil.data"},
        )
    elif kind == "keyed":
        name, content = "jaki.json", json.dumps({"laporan": {str(n): o for n, o in enumerate(objects)}}).encode()
        options = {"records": "laporan", "records_key": "key"}
    elif kind == "jsonl":
        content = "".join(json.dumps(o) + "\n" for o in objects).encode()
    elif kind == "zip":
        kept = io.BytesIO()
        with zipfile.ZipFile(kept, "w") as archive:
            archive.writestr("isi/jaki.csv", csv(ROWS))
            archive.writestr("isi/foto.jpg", b"\xff\xd8")
        content = kept.getvalue()
    else:
        name, content = "jaki.csv", csv(ROWS).replace("masjid", "café").encode(kind)
    found = made(tmp_path, ours, content, name)
    assert found.options["columns"]["text"] == "Isi Aduan"
    assert found.options["columns"]["occurred_at"] == "Tanggal"
    assert {k: v for k, v in found.options.items() if k in ("records", "records_key")} == options
    assert (found.reports, found.quarantined) == (3, 0)
    if kind == "cp1252":
        assert any("cp1252" in line for line in found.notes)


def test_the_crms_own_number_names_the_row_and_is_its_reference(tmp_path: Path, ours: Settings) -> None:
    rows = [[f"JK26050{n}0162", *row[1:]] for n, row in enumerate(ROWS, 1)]
    found = made(tmp_path, ours, csv(rows, ["report_id", *HEADER[1:]])).options["columns"]
    assert (found["id"], found["external_ref"]) == ("report_id", "report_id")


def test_rows_that_will_wait_in_quarantine_are_counted_with_their_reason(tmp_path: Path, ours: Settings) -> None:
    found = made(tmp_path, ours, csv([*ROWS, ["L-004", "05/20/2026 11:00", "", "", "Gambir", "", "", ""]]))
    assert (found.reports, found.quarantined) == (3, 1)
    assert "tidak berisi isi laporan" in next(iter(found.reasons))


@pytest.mark.parametrize(
    "content", [b"", b"%PDF-1.7", b"a;b\n1;2\n3;4\n", b"<html><table></table>", b"{}", b"PK\x03\x04"]
)
def test_a_file_without_a_table_of_reports_is_refused_in_words(content: bytes, tmp_path: Path, ours: Settings) -> None:
    with pytest.raises(PermanentError, match="berkas"):
        made(tmp_path, ours, content, "berkas.dat")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=400) | st.text(max_size=300).map(str.encode))
def test_no_file_breaks_it(content: bytes, tmp_path: Path, ours: Settings) -> None:
    with suppress(PermanentError):
        assert made(tmp_path, ours, content, "x.csv").options["columns"]


def test_the_samples_are_mapped_as_people_mapped_them(ours: Settings) -> None:
    wrong = {path.name: mapping_quality.judge(ours, path, options)[2] for path, options in mapping_quality.files(ours)}
    assert {name: slips for name, slips in wrong.items() if slips} == {}


# --- the command ----------------------------------------------------------------------------


def test_the_command_prints_the_entry_and_can_append_it(tmp_path: Path) -> None:
    out, config = tmp_path / "kanal.toml", ["--config", str(SAMPLES / "kanal.toml")]
    file = str(SAMPLES / "pendopo" / "pendopo-2026.csv")
    result = CliRunner().invoke(app, ["mapping", "new", file, "--out", str(out), "--name", "meja", *config])
    assert result.exit_code == 0
    assert 'channel = "pendopo"\nname = "meja"' in result.stdout
    assert "8 reports, 0 rows to quarantine" in result.stdout
    assert "0812-0000" not in result.stdout
    assert "Anwar" not in result.stdout
    assert load(out).streams[0].options["columns"]["text"] == "Uraian"


@pytest.mark.parametrize("name", mappings((default_models_dir() / "mappings.toml",)))
def test_a_mapping_is_shown_as_the_stream_it_stands_for(name: str, tmp_path: Path) -> None:
    shown = CliRunner().invoke(app, ["mapping", "show", name, "--config", str(SAMPLES / "kanal.toml")]).stdout
    (tmp_path / "kanal.toml").write_text(shown.replace("CHANNEL", "jaki"), "utf-8")
    entry = mappings((default_models_dir() / "mappings.toml",))[name]
    assert load(tmp_path / "kanal.toml").streams[0].options == with_mapping({"inbox": f"inbox/{name}"}, entry)


def test_the_command_lists_and_shows_mappings() -> None:
    config = ["--config", str(SAMPLES / "kanal.toml")]
    assert "clippings" in CliRunner().invoke(app, ["mapping", "list", *config]).stdout
    shown = CliRunner().invoke(app, ["mapping", "show", "clippings", *config]).stdout
    assert 'extra = ["Media", "Rubrik"]' in shown
    assert CliRunner().invoke(app, ["mapping", "show", "nothing", *config]).exit_code == 1


@pytest.mark.parametrize(
    ("file", "fits"),
    [
        ("jaki/jaki-2026-05-07.csv", "jaki"), ("lapor/lapor-2026.jsonl", "lapor_lines"), ("walikota/jakarta-barat-2026.xlsx", "desk"),
        ("media/media-2026.csv", "clippings"), ("governor_letter/surat-2026.xlsx", "letter"), ("qlue/qlue-2026.xlsx", "qlue"),
    ],
)  # fmt: skip
def test_a_named_mapping_that_reads_the_file_is_pointed_out(file: str, fits: str, ours: Settings) -> None:
    assert fits in propose(ours, SAMPLES / file).fits


def test_a_file_without_a_header_is_told_and_nobody_in_its_first_row_is_shown(tmp_path: Path, ours: Settings) -> None:
    with pytest.raises(PermanentError) as caught:
        made(tmp_path, ours, csv(ROWS[1:], header=ROWS[0]))
    assert str(caught.value) == (
        "jaki-baru.csv: its first row seems to be a report already, so no column has a name; put a row of names on top"
    )


@pytest.mark.parametrize("name", ["", "Isi", "Isi\x7f Aduan\x01", 'Isi "Aduan" \\ #', "Isi\nAduan"])
def test_whatever_a_column_is_called_the_entry_reads_the_file_as_shown(
    name: str, tmp_path: Path, ours: Settings
) -> None:
    out = io.StringIO()
    writer = csv_writer(out)
    writer.writerows([["Isi", *HEADER[:2], name, *HEADER[3:]], *(["-", *row] for row in ROWS)])
    found = made(tmp_path, ours, out.getvalue())
    assert (found.reports, found.quarantined) == (3, 0)
    [entry] = tomllib.loads(found.toml())["stream"]
    assert {key: entry[key] for key in found.options} == found.options


def test_half_a_letter_in_a_columns_name_stops_nothing(tmp_path: Path, ours: Settings) -> None:
    rows = [{"Nomor": n, "Isi Aduan\ud800": f"Lampu jalan nomor {n} mati sejak tiga malam"} for n in range(9)]
    found = made(tmp_path, ours, json.dumps(rows), "jaki.json")
    assert found.options["columns"]["text"] == "Isi Aduan\ufffd"
    found.toml().encode()


def test_of_a_zip_what_can_be_read_is_mapped_and_the_rest_is_said(tmp_path: Path, ours: Settings) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a.csv", csv(ROWS))
        archive.writestr("b.zip", b"PK\x05\x06" + b"\0" * 18)
        archive.writestr("c.csv", csv(ROWS), zipfile.ZIP_LZMA)
    found = made(tmp_path, ours, out.getvalue(), "jaki.zip")
    assert found.notes[-2:] == [
        "b.zip cannot be read (b.zip: is a ZIP inside a ZIP)", "c.csv cannot be read (packed in an unusual way)",
    ]  # fmt: skip
    assert found.reports == 3


def test_a_channel_that_nobody_registered_is_told_before_anything_is_written(tmp_path: Path, ours: Settings) -> None:
    (tmp_path / "a.csv").write_text(csv(ROWS))
    with pytest.raises(SettingsError, match="in no registry"):
        propose(ours, tmp_path / "a.csv", channel='a"b')
    [entry] = tomllib.loads(propose(ours, tmp_path / "a.csv", name='Rekap "Mei"').toml())["stream"]
    assert entry["name"] == 'Rekap "Mei"'
