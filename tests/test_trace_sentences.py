"""`kanal trace` tells why each report is in its ticket, and which tickets belong to it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from pipelines import flow
from pipelines.cli import app
from pipelines.contracts import report_id_of, ticket_no_of
from pipelines.published import ask, open_snapshot
from pipelines.settings import Settings, load
from tests.conftest import SAMPLES
from tests.made_up import JAKI, write

Make = Callable[..., Settings]
TREE = "Pohon tumbang menutup badan jalan, mobil tidak bisa lewat sama sekali, tolong petugas segera datang memotong"
HOUSE = "Jl. Kenanga II No. 12, depan Masjid Al Falah"
RUBBISH = {"kategori": "Sampah", "lon": "106.827000", "kelurahan": "Gambir"}
HOLE = {"kategori": "Jalan", "kelurahan": "Gelora"}
DRAIN = {"kategori": "Saluran Air", "kelurahan": "Menteng"}
FALLEN = {"kategori": "Pohon", "kelurahan": "Tebet Barat"}
POINT = {"lat": "-6.230000", "lon": "106.850000"}
ROWS: tuple[dict[str, str], ...] = (
    RUBBISH | {"nomor": "1", "tanggal": "05/10/2026 07:00", "isi": "Sampah menumpuk di pinggir jalan, bau menyengat",
               "lat": "-6.175000", "status": "Selesai"},
    RUBBISH | {"nomor": "2", "tanggal": "05/10/2026 09:00", "isi": "tumpukan sampah belum diangkut, bau sekali",
               "lat": "-6.175050"},
    HOLE | {"nomor": "3", "tanggal": "06/10/2026 06:00", "isi": "Jalan berlubang dalam sekali", "hp": "081200000003"},
    HOLE | {"nomor": "4", "tanggal": "06/10/2026 06:10", "isi": "Lubang di Jl. Teratai, hubungi 081200000004"},
    FALLEN | POINT | {"nomor": "5", "tanggal": "06/10/2026 07:00", "isi": TREE},
    FALLEN | {"nomor": "6", "tanggal": "06/10/2026 07:20", "isi": f"Ada pohon roboh di {HOUSE}"},
    FALLEN | POINT | {"nomor": "7", "tanggal": "06/10/2026 07:40", "isi": f"{TREE}. {HOUSE}"},
    DRAIN | {"nomor": "9", "tanggal": "07/10/2026 08:00", "isi": "Saluran mampet di Jl. Cempaka", "status": "Selesai"},
    DRAIN | {"nomor": "10", "tanggal": "09/10/2026 08:00", "isi": "Katanya selesai padahal belum tuntas, Jl. Cempaka"},
    {"nomor": "8", "tanggal": "07/10/2026 07:00", "isi": "Terima kasih petugas PPSU, got sudah bersih", "kategori": "PPSU"},
)  # fmt: skip
FIRST = "Membuka tiket ini karena tidak ada tiket terbuka yang cocok."
THEN = FIRST.replace("Membuka", "membuka").replace("ini", "itu")


def no(number: int) -> str:
    return ticket_no_of(report_id_of("jaki", "app", str(number)))


def kanal(*words: str, config: Settings) -> Result:
    return CliRunner().invoke(app, [*words, "--config", str(config.path)])


def trace(number: int | str, config: Settings) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(kanal("trace", str(number), "--json", config=config).stdout)
    return found


def whys(found: dict[str, Any]) -> list[str]:
    return [message["because"] for message in found["messages"]]


def related(found: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(row["ticket_no"], row["relation"], row["other_no"]) for row in found.get("related tickets", [])]


def _decided(place: Path, make: Make) -> Settings:
    write(place / "jaki" / "oktober.csv", ROWS)
    settings = make(JAKI)
    assert kanal("run", config=settings).exit_code == 0
    reason = "lubang yang sama, hubungi 081234567890"
    assert kanal("ticket", "merge", "3", "4", "--reason", reason, "--by", "Sari", config=settings).exit_code == 0
    assert kanal("run", config=settings).exit_code == 0
    return settings


@pytest.fixture
def decided(starting_from: Callable[..., Settings]) -> Settings:
    return starting_from(_decided)


def test_a_ticket_that_takes_up_a_closed_one_says_so_and_each_leads_to_the_other(decided: Settings) -> None:
    found = trace(2, decided)
    assert whys(found) == [
        f"Membuka tiket ini untuk menyusul tiket {no(1)} yang sudah ditutup: 6 m dari laporan JAKI tanggal 5 Oktober pukul"
        " 07.00, kelurahan sama, selisih 2 jam, keduanya tentang kebersihan."
    ]
    assert related(found) == related(trace(1, decided)) == [(no(2), "follows", no(1))]
    assert whys(trace(1, decided)) == [FIRST]


def test_a_report_that_says_a_work_is_not_done_says_so_in_its_sentence(decided: Settings) -> None:
    [sentence] = whys(trace(10, decided))
    assert sentence.startswith(
        f"Membuka tiket ini untuk menyusul tiket {no(9)} yang sudah ditutup, karena cocok dengan laporan JAKI tanggal 7"
        " Oktober pukul 08.00: Jalan Cempaka, kelurahan sama, selisih 2 hari, "
    )
    assert sentence.endswith("katanya belum tuntas.")


def test_a_report_that_shows_two_tickets_to_be_one_is_named_where_they_met(decided: Settings) -> None:
    found = trace(5, decided)
    first, moved, shown = whys(found)
    assert first == FIRST
    assert moved == (
        "Tiketnya ternyata satu masalah dengan tiket ini: laporan JAKI tanggal 6 Oktober pukul 07.40 cocok dengan keduanya;"
        f" sebelumnya di tiket {no(6)}: {THEN}"
    )
    assert re.fullmatch(
        r"Digabung karena kata-katanya hampir sama: 0 m dari laporan JAKI tanggal 6 Oktober pukul 07\.00, kelurahan sama,"
        r" selisih kurang dari satu jam, keduanya tentang pohon dan taman, \d\d% katanya sama \(keyakinan 0,\d\d\)\.",
        shown,
    )
    assert related(found) == [(no(6), "merged into", no(5))]


def test_what_a_person_decided_is_told_masked_with_what_it_was_before(decided: Settings) -> None:
    found = trace(3, decided)
    first, moved = whys(found)
    assert first == FIRST
    assert re.fullmatch(
        r"Tiketnya digabung ke tiket ini oleh Sari pada \d+ \w+( \d{4})? pukul \d\d\.\d\d dengan alasan “lubang yang sama,"
        rf" hubungi \[TELEPON\]”; sebelumnya di tiket {no(4)}: {THEN}",
        moved,
    )
    assert related(found) == [(no(4), "merged into", no(3))]
    assert trace(no(4), decided)["messages"] == found["messages"]


def test_thanks_have_no_ticket_and_so_no_sentence(decided: Settings) -> None:
    assert whys(trace("jaki/app/0/9", decided)) == [None]


def test_the_sentence_stands_whole_under_each_report_on_a_terminal_and_no_number_of_a_phone(decided: Settings) -> None:
    shown = kanal("trace", "3", config=decided).stdout
    assert [why for why in whys(trace(3, decided)) if why not in " ".join(shown.split())] == []
    assert "0812" not in shown
    of_mart = kanal("trace", "top_categories", "--where", "month=2026-10,category=sampah", config=decided).stdout
    assert f"menyusul tiket {no(1)}" in " ".join(of_mart.split())


def test_verbatim_adds_payloads_and_changes_no_sentence(decided: Settings) -> None:
    whole = json.loads(kanal("trace", "3", "--verbatim", "--json", config=decided).stdout)
    assert whys(whole) == whys(trace(3, decided))
    assert [json.loads(row["payload"]).get("hp") for row in whole["verbatim"]] == ["081200000003", None]


def _samples_ran(place: Path, make: Make) -> Settings:
    data = make("").data_dir
    settings = replace(load(SAMPLES / "kanal.toml"), data_dir=data)
    assert not flow.run(settings).failures
    return make("")


def test_on_the_samples_every_report_with_a_ticket_has_a_sentence_without_a_gap(
    starting_from: Callable[..., Settings],
) -> None:
    ran = starting_from(_samples_ran)
    with open_snapshot(ran) as con:
        largest = ask(con, "SELECT ticket_no FROM tickets ORDER BY report_count DESC, first_arrival LIMIT 6")
        levels = {row["report_id"]: row["level"] for row in ask(con, "SELECT report_id, level FROM links")}
    told = {m["report_id"]: m["because"] for row in largest for m in trace(row["ticket_no"], ran)["messages"]}
    assert len(set(told)) > len(largest)
    for report_id, sentence in told.items():
        begins = {"opened": "Membuka tiket ini", "bridge": "Tiketnya ternyata satu masalah"}
        assert sentence.startswith(begins.get(levels[report_id], "Digabung karena ")), sentence
        assert sentence.endswith(".")
        assert not re.search(r"None|_| ,|: \(|laporan [0-9a-z]{16}\b", sentence), sentence
