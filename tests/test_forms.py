"""Desks, letters and named mappings on the whole way: landed, loaded, rebuilt. Everybody is invented."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import openpyxl

from pipelines import desk, flow
from pipelines.audit import audit
from pipelines.rebuild import rebuild
from pipelines.settings import Settings, load
from pipelines.sinks.warehouse import open_warehouse

Make = Callable[..., Settings]
LETTERS = """
[[stream]]
channel = "governor_letter"
name = "surat"
source = "letters"
mapping = "letter"
inbox = "surat"
"""


def aged(path: Path) -> None:
    os.utime(path, (path.stat().st_mtime - 60,) * 2)


def rows(settings: Settings, query: str) -> list[tuple]:
    with open_warehouse(settings.warehouse) as warehouse:
        return warehouse.con.execute(query).fetchall()


def test_a_letter_waits_in_quarantine_and_is_a_ticket_once_it_is_typed(tmp_path: Path, make_settings: Make) -> None:
    settings = make_settings(LETTERS)
    (tmp_path / "surat").mkdir()
    scan = tmp_path / "surat" / "2026-11-03_agenda-17.pdf"
    scan.write_bytes(b"%PDF-1.4\n%%EOF")
    aged(scan)
    first = flow.run(settings)
    assert (first.loaded.messages, first.loaded.quarantined) == (1, 1)
    typed = scan.with_suffix(".txt")
    typed.write_text("Perihal: Sampah\n\nSampah menumpuk di TPS Jalan Contoh, mohon diangkut.", "utf-8")
    aged(typed)
    second = flow.run(settings)
    assert (second.loaded.messages, second.loaded.quarantined) == (1, 0)
    assert rows(settings, "SELECT outcome FROM messages ORDER BY sequence") == [("quarantined",), ("report",)]
    assert rows(settings, "SELECT title, attachment_count FROM reports") == [("Sampah", 1)]
    assert flow.run(settings).loaded.messages == 0
    assert audit(settings).exact
    again = rebuild(settings)
    assert again.before == again.after


def test_a_changed_mapping_is_another_version_of_the_data_and_a_rebuild_reads_all_anew(
    tmp_path: Path, make_settings: Make
) -> None:
    own = tmp_path / "own.toml"
    own.write_text('[[mapping]]\nid = "uji"\ncolumns = {id = "No", text = "Isi", address = "Tempat"}\n', "utf-8")
    stream = '[[stream]]\nchannel = "pendopo"\nname = "uji"\nsource = "export"\nmapping = "uji"\ninbox = "kotak"\n'
    settings = make_settings(f'mappings = ["own.toml"]\n{stream}')
    (tmp_path / "kotak").mkdir()
    file = tmp_path / "kotak" / "1.csv"
    file.write_text("No;Isi;Tempat;Lokasi\n1;Lampu jalan mati;Jl. Contoh;Jl. Misal\n", "utf-8")
    aged(file)
    flow.run(settings)
    own.write_text(own.read_text("utf-8").replace("Tempat", "Lokasi"), "utf-8")
    changed = load(settings.path)
    assert rows(changed, "SELECT address_text FROM reports") == [("Jl. Contoh",)]
    assert rebuild(changed).other_versions == 1
    assert rows(changed, "SELECT address_text FROM reports") == [("Jl. Misal",)]
    again = rebuild(changed)
    assert again.before == again.after


def test_a_template_filled_in_becomes_tickets_of_its_office(tmp_path: Path, make_settings: Make) -> None:
    settings = make_settings("")
    office = desk.office_of(settings, "Kelurahan Meruya Utara")
    path = tmp_path / "inbox" / "kelurahan-meruya-utara" / "buku.xlsx"
    path.parent.mkdir(parents=True)
    desk.write(settings, office, path)
    book = openpyxl.load_workbook(path)
    sheet = book["Laporan"]
    column = {cell.value: cell.column for cell in sheet[2]}
    for number, (day, text) in enumerate(
        (("05/11/2026", "Lampu jalan mati"), ("kemarin", "Got mampet"), ("sda", "Sampah menumpuk"))
    ):
        sheet.cell(4 + number, column["Tanggal"], day)
        sheet.cell(4 + number, column["Uraian Laporan"], text)
    book.save(path)
    aged(path)
    settings = make_settings(desk.stream_toml(office))
    result = flow.run(settings)
    assert (result.loaded.messages, result.loaded.quarantined) == (3, 2)  # sda under "kemarin" repeats it
    assert rows(settings, "SELECT text, kelurahan_code FROM reports") == [("Lampu jalan mati", "31.73.08.1002")]
    assert rows(settings, "SELECT count(*) FROM tickets") == [(1,)]
