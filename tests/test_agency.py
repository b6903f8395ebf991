"""An operator's own classifier names agencies: from its training to the ticket, its trace, review and rebuild."""

from __future__ import annotations

import json
import random
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from pipelines import classifiers, flow
from pipelines.classifiers import folder_of
from pipelines.contracts import report_id_of, ticket_no_of
from pipelines.errors import PermanentError
from pipelines.rebuild import rebuild
from pipelines.review import Asked, decide
from pipelines.settings import Settings
from pipelines.settings import load as load_settings
from pipelines.sinks.warehouse import open_warehouse
from tests.made_up import JAKI, write
from tests.test_model import kanal, own, told  # noqa: F401 - own is a fixture

NOW = datetime(2026, 11, 20, 1, 0, tzinfo=UTC)
# Rules give all of "taman" to pertamanan; this operator's history gives its ponds, and wrongly its lamps, to sda.
SAID = {
    ("taman", "Dinas SDA"): ["kolam resapan meluap", "kolam resapan dangkal berlumpur", "pintu kolam resapan macet"],
    ("taman", "Distamhut"): ["bangku taman patah", "rumput taman tinggi", "ayunan taman berkarat"],
    ("penerangan_listrik", "DSDA"): ["lampu jalan padam", "lampu pju mati", "tiang lampu miring"],
}
POND = {"nomor": "JK2610050001", "tanggal": "05/10/2026 08:00", "isi": "Kolam resapan meluap dan berlumpur, sudah lama",
        "kategori": "Taman", "kelurahan": "Gelora"}  # fmt: skip
LAMP = {"nomor": "JK2610050002", "tanggal": "05/10/2026 09:00", "isi": "Lampu jalan padam, lampu pju mati sudah lama",
        "kategori": "Jaringan Listrik", "kelurahan": "Gelora"}  # fmt: skip
BENCH = {"nomor": "JK2610050003", "tanggal": "05/10/2026 10:00", "isi": "Bangku patah dan rumput tinggi mohon dicek",
         "kategori": "Taman", "kelurahan": "Tebet Timur"}  # fmt: skip
POND_NO = ticket_no_of(report_id_of("jaki", "app", POND["nomor"]))


def history(path: Path, *, agencies: bool = True, rows: int = 400) -> Path:
    """Labelled reports of an operator whose labels are those of models/."""
    rng = random.Random(5)
    lines = ["text,date,category" + (",agency" if agencies else "")]
    for i in range(rows):
        if i % 4:
            category, agency = rng.choice(list(SAID))
            words = " ".join(rng.sample([*SAID[category, agency], "mohon dicek", "sudah lama"], 3))
        else:  # nobody can tell whose pipes these are
            category, agency = "taman", rng.choice(["DSDA"] * 7 + ["Distamhut"] * 3)
            words = "pipa keran bocor " + rng.choice(["mohon dicek", "sudah lama"])
        named = f",{agency}" if agencies else ""
        lines.append(f"{words},2024-{1 + i * 12 // rows:02d}-{1 + i % 28:02d},{category}{named}")
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


@pytest.fixture
def ran(own: Settings, tmp_path: Path) -> Settings:
    """An installation whose trained classifier has judged three reports."""
    text = own.path.read_text("utf-8")
    own.path.write_text(f"{text}workers = 1\n{JAKI}", "utf-8")
    settings = load_settings(own.path)
    card = told(kanal(settings, "model", "train", "--from", history(tmp_path / "own.csv"), "--json", "--force"))
    assert card["heads"]["agency"]["labels"] == 2
    write(tmp_path / "jaki" / "oktober.csv", [POND, LAMP, BENCH])
    assert not flow.run(settings, now=lambda: NOW).failures
    return settings


def asked(settings: Settings, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(settings.analytics.resolve()), read_only=True) as con:
        return con.execute(sql).fetchall()


PUSAT, SELATAN = "Kota Administrasi Jakarta Pusat", "Kota Administrasi Jakarta Selatan"


def test_a_classifier_that_is_sure_names_the_agency_and_the_trace_says_so(ran: Settings) -> None:
    assert asked(
        ran, "SELECT external_ref, agency_id, unit, agency_source, route_rule FROM tickets ORDER BY external_ref"
    ) == [
        (POND["nomor"], "sda", f"Suku Dinas Sumber Daya Air {PUSAT}", "model", "taman"),
        (LAMP["nomor"], "bina_marga", f"Suku Dinas Bina Marga {PUSAT}", "rule", "lampu_jalan"),
        (BENCH["nomor"], "pertamanan", f"Suku Dinas Pertamanan dan Hutan Kota {SELATAN}", "model", "taman"),
    ]  # fmt: skip
    thought = asked(ran, "SELECT agency_model, agency_runner_up, agency_confidence FROM reports ORDER BY external_ref")
    assert [model for model, _, _ in thought] == ["sda", "sda", "pertamanan"]
    assert all(second not in (None, model) and 0.85 <= sure <= 1 for model, second, sure in thought)
    [ticket] = json.loads(kanal(ran, "trace", POND_NO, "--json").stdout)["tickets"]
    assert (ticket["agency_source"], ticket["route_rule"]) == ("model", "taman")
    assert ticket["unit"] == f"Suku Dinas Sumber Daya Air {PUSAT}"
    with duckdb.connect(str(ran.crm), read_only=True) as store:
        assert store.execute(
            "SELECT agency_id, agency_source FROM tickets WHERE external_ref = ?", [POND["nomor"]]
        ).fetchall() == [("sda", "model")]


def test_a_rebuild_gives_the_same_tables_and_a_persons_agency_wins_on_it_too(ran: Settings) -> None:
    found = rebuild(ran, now=lambda: NOW)
    assert found.before == found.after
    [one] = decide(ran, [Asked(POND_NO, "kolam milik taman", agency="pertamanan", by="Sari")], now=lambda: NOW)
    assert one.fault is None
    flow.run(ran, now=lambda: NOW)
    ticket = (
        "SELECT agency_id, unit, agency_source, agency_confidence, route_rule FROM tickets"
        f" WHERE ticket_no = '{POND_NO}'"
    )
    wanted = [("pertamanan", f"Suku Dinas Pertamanan dan Hutan Kota {PUSAT}", "person", 1.0, "keputusan")]
    assert asked(ran, ticket) == wanted
    found = rebuild(ran, now=lambda: NOW)
    assert found.before == found.after
    flow.run(ran, now=lambda: NOW)
    assert asked(ran, ticket) == wanted


def test_an_unsure_classifier_that_differs_from_the_rule_makes_a_person_look(ran: Settings, tmp_path: Path) -> None:
    assert asked(ran, "SELECT count(*) FROM review_queue") == [(0,)]
    pipe = POND | {"nomor": "JK2610050009", "isi": "Pipa keran bocor, sudah lama mohon dicek"}
    write(tmp_path / "jaki" / "november.csv", [pipe])
    assert not flow.run(ran, now=lambda: NOW).failures
    [waiting] = json.loads(kanal(ran, "review", "list", "--reason", "instansi_tidak_yakin", "--json").stdout)["tickets"]
    assert [waiting[c] for c in ("agency_id", "agency_source", "agency_model", "route_rule")] == [
        "pertamanan", "rule", "sda", "taman",
    ]  # fmt: skip
    assert waiting["reasons"] == ["instansi belum pasti"]
    shown = kanal(ran, "review", "list", "--reason", "instansi_tidak_yakin").stdout
    assert "(rule taman; the model thinks of sda)" in " ".join(shown.split())


def test_agencies_are_learned_only_where_the_operators_own_rows_name_them(own: Settings, tmp_path: Path) -> None:
    told(kanal(own, "model", "train", "--from", history(tmp_path / "a.csv", agencies=False), "--json", "--force"))
    component = classifiers.load(classifiers.build(own))
    assert "agency" not in component.heads
    card = told(kanal(own, "model", "train", "--from", history(tmp_path / "b.csv"), "--json", "--force"))
    assert "agency" in classifiers.load(folder_of(own, card["version"])).heads


# --- stores of an older shape ---

OLDER = ("agency_source", "agency_confidence", "emergency_rule")


def test_a_warehouse_of_an_older_shape_is_told_and_a_rebuild_brings_it_up_to_date(ran: Settings) -> None:
    with open_warehouse(ran.warehouse) as warehouse:
        before = warehouse.table_hashes()
        for column in OLDER:
            warehouse.con.execute(f"ALTER TABLE tickets DROP COLUMN {column}")
        warehouse.con.execute("DELETE FROM schema_migrations WHERE name > '0001_create_tables'")
    with pytest.raises(PermanentError, match=r"another version of Kanal \(table tickets .*; run: kanal rebuild"):
        flow.deliver(ran)
    failed = flow.run(ran, now=lambda: NOW).failures
    assert "run: kanal rebuild" in failed["load"]
    found = rebuild(ran, now=lambda: NOW)
    assert found.before == before | {"tickets": "3:other columns"}
    assert found.after == before
    assert not flow.run(ran, now=lambda: NOW).failures


def test_landing_that_lost_a_batch_is_told_of_a_warehouse_of_an_older_shape_too(ran: Settings, tmp_path: Path) -> None:
    shutil.copytree(ran.landing_dir, tmp_path / "backup")
    write(tmp_path / "jaki" / "november.csv", [POND | {"nomor": "JK2610050009", "kelurahan": "Senen"}])
    flow.run(ran, now=lambda: NOW)
    with open_warehouse(ran.warehouse) as warehouse:
        warehouse.con.execute("ALTER TABLE tickets DROP COLUMN agency_source")
    shutil.rmtree(ran.landing_dir)
    shutil.copytree(tmp_path / "backup", ran.landing_dir)
    with pytest.raises(PermanentError, match="the old warehouse stays"):
        rebuild(ran, now=lambda: NOW)
