"""`kanal gazetteer learn`: resolved reports teach streets, and later runs place by them."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import duckdb
import pytest
from click.testing import Result
from typer.testing import CliRunner

from pipelines import flow, learn, places
from pipelines.cli import app
from pipelines.commands.common import FAILED
from pipelines.errors import SettingsError
from pipelines.rebuild import rebuild
from pipelines.settings import Settings
from pipelines.sinks.warehouse import open_warehouse
from pipelines.transforms.hearing import hear
from tests.made_up import JAKI, write

Make = Callable[..., Settings]
STREETS = {
    "Cipete Utara": ("Jl. Melati Ungu", "Gang Kersen", "dekat Pasar Blok Tiga", "Jalan Anggur Raya"),
    "Kebon Baru": ("Jl Kenanga Putih", "gg. Sawo Kecik", "Lapangan Banteng Merah", "Jln Duku Manis"),
    "Gelora": ("Jalan Pinang Ranti Lama", "Gg Belimbing", "taman Burung Pipit", "Jl. Rambutan Aceh"),
}
KECAMATAN = {"Cipete Utara": "Kebayoran Baru", "Kebon Baru": "Tebet", "Gelora": "Tanah Abang"}


def history(path: Path, rows: int = 360, *, kelurahan: dict[str, str] | None = None) -> Path:
    """Invented resolved reports; one in twelve bears the wrong kelurahan, as real ones do."""
    rng = random.Random(7)
    with path.open("w", encoding="utf-8", newline="") as file:
        sheet = csv.writer(file)
        sheet.writerow(("address", "text", "kelurahan", "kecamatan", "date"))
        for i in range(rows):
            area = rng.choice(list(STREETS))
            street, label = rng.choice(STREETS[area]), area if i % 12 else rng.choice(list(STREETS))
            address = (
                f"{street} {rng.randint(1, 12)} no {rng.randint(40, 90)} RT {rng.randint(1, 9)} RW {rng.randint(1, 9)}"
            )
            said = rng.choice(("lampu mati", "got mampet", "sampah menumpuk"))
            day = f"2026-{1 + i * 9 // rows:02d}-{1 + i % 28:02d}"
            sheet.writerow((address, said, (kelurahan or {}).get(label, label), KECAMATAN[label], day))
    return path


def kanal(settings: Settings, *words: Any) -> Result:
    return CliRunner().invoke(app, [*map(str, words), "--config", str(settings.path)])


def taught(settings: Settings, file: Path, *words: Any) -> dict[str, Any]:
    result = kanal(settings, "gazetteer", "learn", "--from", file, "--json", *words)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout[result.stdout.index("{") :])


def told(settings: Settings) -> dict[str, Any]:
    """What the doctor finds of it."""
    result = kanal(settings, "doctor", "--json")
    return next(check for check in json.loads(result.stdout) if check["check"] == "learned places")


def placed(settings: Settings) -> dict[str, tuple[Any, ...]]:
    with duckdb.connect(str(settings.warehouse), read_only=True) as con:
        found = con.execute(
            "SELECT external_ref, kelurahan_code, place_method, place_evidence, place_confidence > 0.5 FROM reports"
        ).fetchall()
    return {ref: rest for ref, *rest in found}


def hashes(settings: Settings) -> dict[str, str]:
    with open_warehouse(settings.warehouse) as warehouse:
        assert not any(warehouse.violations().values())
        return warehouse.table_hashes()


WITH_ADDRESS = JAKI.replace('kelurahan = "kelurahan"', 'kelurahan = "kelurahan", address = "alamat"')
HEADER = (
    "nomor",
    "tanggal",
    "isi",
    "alamat",
    "kategori",
    "lat",
    "lon",
    "kelurahan",
    "pelapor",
    "hp",
    "status",
    "diubah",
)
NEW = {
    "nomor": "JK2610050001", "tanggal": "05/10/2026 08:00", "isi": "Lampu jalan padam sudah seminggu, mohon diperbaiki",
    "alamat": "jln melati ungu 4 no 55", "kategori": "Jaringan Listrik",
}  # fmt: skip
NAMED = NEW | {"nomor": "JK2610050002", "kelurahan": "Tebet Timur", "alamat": "jl melati ungu 9"}


def test_a_street_that_resolved_reports_taught_places_the_next_report_and_says_so(
    tmp_path: Path, make_settings: Make
) -> None:
    settings = make_settings(WITH_ADDRESS)
    write(tmp_path / "jaki" / "satu.csv", [NEW, NAMED], HEADER)
    flow.run(settings)
    assert placed(settings)["JK2610050001"][:2] == [None, "none"]

    found = taught(settings, history(tmp_path / "riwayat.csv"))
    assert (found["rows"], found["used"], found["unknown"], found["silent"]) == (360, 360, 0, 0)
    assert set(found["kinds"]) == {"name", "rw", "street"}
    assert [share for share, _ in found["curve"]] == [n / 10 for n in range(1, 11)]
    assert found["curve"][-1][1] > 0.8
    assert found["names"][0] < 0.3  # few of these words name a kelurahan
    assert found["learned"][0] > 0.5
    assert found["learned"][1] > 0.8

    write(tmp_path / "jaki" / "dua.csv", [NEW | {"nomor": "JK2610060001"}, NAMED | {"nomor": "JK2610060002"}], HEADER)
    flow.run(settings)
    now = placed(settings)
    assert now["JK2610050001"][:2] == [None, "none"]  # what was judged before stays until it is judged anew
    code, method, evidence, sure = now["JK2610060001"]
    assert (code, method, sure) == ("31.74.07.1010", "learned", True)
    assert "jl melati ungu: " in evidence
    assert now["JK2610060002"][:2] == ["31.74.01.1001", "reported"]  # the source's own field is surer

    before = hashes(settings)
    assert rebuild(settings).after != before  # the first report is judged by what is learned since
    assert placed(settings)["JK2610050001"][:2] == ["31.74.07.1010", "learned"]
    again = hashes(settings)
    assert rebuild(settings).after == again


def test_a_phrase_that_is_struck_out_of_the_file_speaks_no_more(tmp_path: Path, make_settings: Make) -> None:
    settings = make_settings(WITH_ADDRESS)
    [table, voice] = map(Path, taught(settings, history(tmp_path / "riwayat.csv"))["files"])
    assert (table, voice) == places.learned_files(settings)
    assert {path.stat().st_mode & 0o777 for path in (table, voice)} == {0o600}  # addresses, if not whose
    lines = table.read_text("utf-8").splitlines()
    table.write_text("\n".join(line for line in lines if "melati" not in line) + "\n", "utf-8")
    write(tmp_path / "jaki" / "satu.csv", [NEW], HEADER)
    flow.run(settings)
    assert "melati" not in (placed(settings)["JK2610050001"][2] or "")


def test_a_dry_run_measures_and_writes_nothing(tmp_path: Path, make_settings: Make) -> None:
    settings = make_settings("")
    found = taught(settings, history(tmp_path / "riwayat.csv"), "--dry-run")
    assert found["files"] == []
    assert not any(path.exists() for path in places.learned_files(settings))
    shown = kanal(settings, "gazetteer", "learn", "--from", tmp_path / "riwayat.csv", "--dry-run").stdout
    for words in (
        "The newest fifth, placed by what the rest teaches",
        "as runs place them",
        "names alone",
        "learned from",
        "nothing written (--dry-run)",
    ):
        assert words in shown


def test_a_mapping_tells_columns_and_names_that_the_gazetteer_spells_otherwise(
    tmp_path: Path, make_settings: Make
) -> None:
    settings = make_settings("")
    file = history(tmp_path / "riwayat.csv", kelurahan={"Gelora": "Glora Senayan"})
    assert taught(settings, file, "--dry-run")["unknown"] > 100
    mapping = tmp_path / "peta.toml"
    mapping.write_text(
        '[columns]\naddress = "address"\nkelurahan = "kelurahan"\n[names.kelurahan]\n"Glora Senayan" = "Gelora"\n'
    )
    assert taught(settings, file, "--dry-run", "--mapping", mapping)["unknown"] == 0


@pytest.mark.parametrize(
    ("header", "rows", "said"),
    [
        ("alamat,isi", 5, "which column holds the kelurahan"),
        ("kelurahan,isi", 5, "which column holds the address or text"),
        ("address,kelurahan", 150, "150 of 150 reports have words and a kelurahan"),
        ("address,kelurahan", 0, "0 of 0 reports"),
    ],
)
def test_a_history_that_cannot_teach_says_why(
    tmp_path: Path, make_settings: Make, header: str, rows: int, said: str
) -> None:
    file = tmp_path / "riwayat.csv"
    file.write_text("\n".join([header, *(f"jalan mawar {i},Gelora" for i in range(rows))]) + "\n", "utf-8")
    result = kanal(make_settings(""), "gazetteer", "learn", "--from", file)
    assert result.exit_code == FAILED
    assert said in " ".join(result.output.split())


def test_reports_of_one_kelurahan_alone_teach_nothing(tmp_path: Path, make_settings: Make) -> None:
    file = tmp_path / "riwayat.csv"
    file.write_text("\n".join(["address,kelurahan", *(f"jalan mawar {i},Gelora" for i in range(400))]) + "\n", "utf-8")
    result = kanal(make_settings(""), "gazetteer", "learn", "--from", file)
    assert result.exit_code == FAILED
    assert "nothing to learn" in result.output


def test_a_damaged_file_says_what_to_do_and_one_of_another_city_is_not_used(
    tmp_path: Path, make_settings: Make
) -> None:
    settings = make_settings("")
    taught(settings, history(tmp_path / "riwayat.csv"))
    gazetteer = places.read(settings.gazetteer)
    table, voice = places.learned_files(settings)
    assert learn.read(settings, gazetteer) is not None
    assert told(settings)["ok"] is True
    city = tmp_path / "kota.csv"
    city.write_text(
        "kelurahan_code,kelurahan,kecamatan_code,kecamatan,kota_code,kota,postcode,lat,lon\n"
        "35.78.01.1001,Karah,35.78.01,Jambangan,35.78,Kota Surabaya,60232,-7.31,112.71\n"
    )
    assert learn.read(settings, places.read(city)) is None
    whole = table.read_text("utf-8")
    table.write_text(whole.replace(",1.0\n", ",banyak\n", 1), "utf-8")
    with pytest.raises(SettingsError, match=r"line .* below the comments \(mend or delete it\) is wrong"):
        learn.read(settings, gazetteer)
    table.write_text(whole, "utf-8")
    for line in ("street,jl x,31.71.01.1001,-1,0.5", "street,jl x,31.71.01.1001,3,nan", "street,,31.71.01.1001,3,0.5"):
        table.write_text(f"{whole}{line}\n", "utf-8")
        with pytest.raises(SettingsError, match="it needs a phrase, a support of 1 or more and a purity from 0 to 1"):
            learn.read(settings, gazetteer)
    table.write_text(whole, "utf-16")
    with pytest.raises(SettingsError, match="is not UTF-8 text"):
        learn.read(settings, gazetteer)
    comments, lines = whole[: whole.index("kind,")], whole[whole.index("kind,") :]
    table.write_text(comments + lines.replace(".", "\0").replace(",", ";").replace("\0", ".").replace("1.0\n", "1,0\n"))
    mended = learn.read(settings, gazetteer)  # as an office program here writes it
    assert mended is not None
    table.write_text(whole, "utf-8")
    plain = learn.read(settings, gazetteer)
    assert plain is not None
    asked = (["jl melati ungu"], [hear("jl melati ungu", gazetteer)], [False])
    assert mended.judge(*asked) == plain.judge(*asked)
    good = voice.read_bytes()
    for at in range(200, len(good), len(good) // 60):  # whichever byte rots, it is told or does no harm
        voice.write_bytes(good[:at] + bytes([good[at] ^ 255]) + good[at + 1 :])
        with suppress(SettingsError):
            learn.read(settings, gazetteer)
    voice.write_bytes(good[:500])
    with pytest.raises(SettingsError, match="run `kanal gazetteer learn` again, or delete it"):
        learn.read(settings, gazetteer)
    assert told(settings)["ok"] is False
    table.unlink()
    assert told(settings)["ok"] is None


def test_finished_tickets_teach_too_but_not_those_that_learning_placed(tmp_path: Path, make_settings: Make) -> None:
    settings = make_settings("")
    settings.data_dir.mkdir(exist_ok=True)
    with duckdb.connect(str(settings.analytics)) as con:
        con.execute(
            "CREATE TABLE tickets AS SELECT 't' || i AS ticket_id, TIMESTAMPTZ '2026-01-01 00:00+00' + INTERVAL 1 DAY * i AS"
            " opened_at, CASE WHEN i % 2 = 0 THEN 'jl melati ' ELSE 'gg kersen ' END || i % 12 AS address_text, 'lampu mati'"
            " AS description, CASE WHEN i % 2 = 0 OR i % 13 = 0 THEN '31.74.07.1010' ELSE '31.74.01.1001' END AS"
            " kelurahan_code, CASE WHEN i < 300 THEN 'reported' ELSE 'learned' END AS place_method, 'selesai' AS status"
            " FROM range(400) t(i)"
        )
    result = kanal(settings, "gazetteer", "learn", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout[result.stdout.index("{") :])
    assert (found["rows"], found["used"]) == (300, 300)


@pytest.mark.parametrize(
    ("kelurahan", "kecamatan", "code"),
    [
        ("31.74.07.1010", "", "31.74.07.1010"),
        ("cipete utara", "", "31.74.07.1010"),
        ("CipeteUtara", "Kebayoran Baru", "31.74.07.1010"),
        ("Gelora Tanah Abang", "Tanah Abang", "31.71.07.1001"),
        ("Tidak Ada", "Tebet", ""),
        ("", "", ""),
    ],
)
def test_a_kelurahan_is_known_by_code_name_or_name_with_its_kecamatan_behind(
    make_settings: Make, kelurahan: str, kecamatan: str, code: str
) -> None:
    assert learn.code_of(kelurahan, kecamatan, places.read(make_settings("").gazetteer)) == code
