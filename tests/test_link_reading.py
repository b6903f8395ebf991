"""The list of merges and near misses that a person reads, on invented reports."""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import link_reading
from benchmarks.link_reading import merges, near_misses
from pipelines import flow, knowledge
from pipelines.settings import Settings
from pipelines.sinks.warehouse import open_warehouse

_AT = "Jl. Kenanga No. 4"
_TOLD = [
    ("JK2601010002", "2026-01-01 08:00", "Jalan berlubang dalam sekali, motor sering jatuh", _AT),
    ("JK2601010004", "2026-01-01 09:00", "Lubang di jalan belum ditambal, aspal rusak parah", _AT),
    ("JK2601010006", "2026-01-01 10:00", "Aspal berlubang, jalan rusak, tolong segera ditambal", "Jl. Kenanga No. 90"),
    ("JK2601010007", "2026-01-01 11:00", "Jalan rusak berlubang besar, ban motor pecah", _AT),
    ("JK2601010008", "2026-01-01 12:00", "Jalan rusak dan berlubang, lubangnya dalam", "Jl. Melati No. 4"),
]  # fmt: skip
_STREAM = """
[[stream]]
channel = "jaki"
name = "ekspor"
source = "export"
inbox = "masuk"

[stream.columns]
id = "id"
occurred_at = "at"
text = "text"
address = "address"
kelurahan = "kelurahan"
"""


@pytest.fixture
def loaded(tmp_path: Path, make_settings: Callable[..., Settings]) -> Settings:
    (tmp_path / "masuk").mkdir()
    with (tmp_path / "masuk" / "a.csv").open("w", encoding="utf-8", newline="") as file:
        sheet = csv.writer(file)
        sheet.writerow(("id", "at", "text", "address", "kelurahan"))
        sheet.writerows((*row, "Gelora") for row in _TOLD)
    os.utime(tmp_path / "masuk" / "a.csv", (1_767_300_000, 1_767_300_000))  # what was just written waits
    found = make_settings(_STREAM)
    assert not flow.run(found).failures
    return found


def test_merges_and_near_misses_are_named_with_what_they_show_and_the_held_out_half_is_not(loaded: Settings) -> None:
    matching = knowledge.load(loaded).matching
    with open_warehouse(loaded.warehouse) as warehouse:
        joined = merges(warehouse.con, matching)
        near = near_misses(warehouse.con, matching, 3.0, None)
        none = near_misses(warehouse.con, matching, 3.0, "email")
    assert [(p.one, p.other, p.how.split()[0], p.group) for p in joined] == [
        ("jaki/JK2601010004", "jaki/JK2601010002", "place_time", "jalan")
    ]
    assert {"way_same", "house_same", "area_same"} < set(joined[0].shows)
    assert joined[0].short < 0
    assert [(p.one, p.how) for p in near] == [("jaki/JK2601010006", "another house")]
    assert none == []


def test_texts_are_printed_only_when_asked_for(loaded: Settings, tmp_path: Path, monkeypatch, capsys) -> None:
    asked = ["link_reading", "--config", str(tmp_path / "data.toml")]
    monkeypatch.setattr(sys, "argv", asked)
    link_reading.main()
    silent = capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", [*asked, "--texts"])
    link_reading.main()
    spoken = capsys.readouterr().out
    assert "JK2601010004" in silent
    assert "motor sering jatuh" not in silent
    assert "motor sering jatuh" in spoken
    assert "JK2601010007" not in spoken
    assert "ban motor pecah" not in spoken
