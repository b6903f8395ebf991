"""The silver standard of one incident, and the night's figures, on invented reports."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from benchmarks import flood_map, flood_night
from benchmarks.flood_night import around, largest, merged, missed, night, read
from benchmarks.flood_silver import evidence, extent, spots

_HEADER = (
    "created_at", "source", "lat", "lon", "text", "title", "flood_depth", "has_image", "rw_id", "kelurahan", "kecamatan", "kota",
)  # fmt: skip
_DEGREE = 1 / 111_195  # of latitude, a metre
_PLACE = ("Kampung Melayu", "Jatinegara", "Kota Administrasi Jakarta Timur")


def _file(folder: Path) -> Path:
    """Two spots 5 km apart: at one water of four reports 30 m apart and one that comes a day later, at the other two."""
    told = [
        ("2017-02-21T01:00:00", "qlue", 0, "Banjir setinggi lutut di gang kami, warga mengungsi"),
        ("2017-02-21T01:30:00", "grasp", 30, "air masuk rumah sudah 50 cm, banjir belum surut"),
        ("2017-02-21T02:00:00", "qlue", 60, "Banjir merendam rumah warga sejak subuh"),
        ("2017-02-21T03:00:00", "detik", 90, "genangan banjir tinggi, motor mogok"),
        ("2017-02-22T09:00:00", "qlue", 60, "banjir lagi, air naik ke rumah"),
        ("2017-02-21T01:10:00", "qlue", 5_000, "Banjir di jalan raya, macet total"),
        ("2017-02-21T01:20:00", "grasp", 5_010, "banjir di jalan raya semata kaki"),
    ]
    path = folder / "petabencana_2017" / "reports.csv"
    path.parent.mkdir(parents=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        sheet = csv.writer(file)
        sheet.writerow(_HEADER)
        for at, source, north, text in told:
            sheet.writerow((at, source, -6.22 + north * _DEGREE, 106.86, text, "", "", 1, north // 1_000, *_PLACE))
    return path


POINTS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60), st.integers(0, 30)), min_size=1, max_size=25)


@given(POINTS, st.integers(1, 25), st.integers(0, 12))
def test_spots_are_what_walking_from_report_to_report_finds(points, metres, hours) -> None:
    group = list(range(len(points)))
    for _ in points:
        for i, (x, y, t) in enumerate(points):
            for j, (u, v, s) in enumerate(points):
                if (x - u) ** 2 + (y - v) ** 2 <= metres**2 and abs(t - s) <= hours:
                    group[i] = group[j] = min(group[i], group[j])
    xyt = np.array(points, float)
    found = spots(xyt[:, :2], xyt[:, 2], metres, hours)
    assert [found[i] == found[j] for i in range(len(points)) for j in range(i)] == [
        group[i] == group[j] for i in range(len(points)) for j in range(i)
    ]


@given(POINTS, st.integers(1, 25), st.integers(0, 12))
def test_a_wider_standard_never_tears_a_spot(points, metres, hours) -> None:
    xyt = np.array(points, float)
    narrow, wide = (spots(xyt[:, :2], xyt[:, 2], m, h) for m, h in ((metres, hours), (metres + 5, hours + 1)))
    assert len(set(zip(narrow.tolist(), wide.tolist(), strict=True))) == len(set(narrow.tolist()))


def test_extent_is_the_distance_of_the_two_furthest() -> None:
    assert extent(np.array([[0.0, 0.0], [3.0, 4.0], [1.0, 1.0]])) == 5.0
    assert extent(np.zeros((1, 2))) == 0.0


def test_metres_of_the_map_are_metres_of_the_city() -> None:
    east, north = flood_map.metres(np.array([106.83, 106.84]), np.array([-6.20, -6.21]))
    assert (east[0], north[0]) == (0.0, 0.0)
    assert (east[1], north[1]) == (pytest.approx(1105.5, abs=2), pytest.approx(-1112, abs=2))


def test_a_night_comes_to_tickets_and_is_told_without_its_words(tmp_path: Path, model_cache: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "models").symlink_to(model_cache)
    rows = read(_file(tmp_path / "real"))
    rows = rows.assign(incident=spots(rows[["east", "north"]].to_numpy(), rows["hours"].to_numpy(), 100, 6))
    assert rows["incident"].tolist() == [0, 0, 0, 0, 1, 2, 2]
    found = night(rows, tmp_path, worst=3)
    assert found.judged["reports"] == {"in_file": 7, "judged": 7, "unknown": 0, "without_ticket": 0, "not_fixed": 0}
    assert found.judged["clustering"]["incidents"] == 3
    assert sorted(found.links["row"]) == [str(n) for n in range(7)]
    assert found.links["ticket_no"].nunique() == found.tickets.nunique()
    told = [*evidence(rows, found.links), *around(rows, found.tickets, 100, 6), merged(rows, found.tickets)]
    told += largest(rows, found.links)
    words = {word for text in rows["text"] for word in text.lower().split() if len(word) > 5 and word != "banjir"}
    assert not [line for line in told if words & set(line.lower().split())]
    tickets = pd.Series(range(len(rows)))
    assert missed(rows, tickets, found.links).startswith("pairs of one incident in two tickets 7; their categories: ")
    assert missed(rows, tickets * 0, found.links).startswith("pairs of one incident in two tickets 0;")
    pairs = sum(n * (n - 1) // 2 for n in found.tickets.value_counts())
    assert f"pairs in one ticket {pairs:,}" in "\n".join(told)
    picture = flood_map.draw(rows, found.links, tmp_path / "no outlines", tmp_path / "out")
    with Image.open(picture) as image:
        assert min(image.size) > 500


def test_without_the_real_reports_it_says_so_and_fails(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["flood_night", "--data", str(tmp_path)])
    assert flood_night.main() == 1
    assert "SKIPPED" in capsys.readouterr().err


def test_where_nobody_names_a_street_nothing_is_divided_by_none(tmp_path: Path) -> None:
    rows = read(_file(tmp_path))
    named = pd.DataFrame({"row": rows["row"], "street": None, "rw": None})
    assert any("0 0.00" in line for line in evidence(rows, named))
