"""The gazetteer: what names mean, what slips of the pen it forgives, and where coordinates lie."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.knowledge import Knowledge
from pipelines.transforms.gazetteer import Gazetteer, Name, join


@pytest.fixture(scope="module")
def gazetteer(own_knowledge: Knowledge) -> Gazetteer:
    return own_knowledge.gazetteer


def meant(gazetteer: Gazetteer, name: str) -> set[tuple[str, str]]:
    return set(gazetteer.names.get(join(name), ()))


@given(st.text())
def test_a_joined_name_is_letters_and_digits_and_stays_so(name: str) -> None:
    assert join(join(name)) == join(name)
    assert join(name).isascii()
    assert join(name) == "" or join(name).isalnum()


def test_blanks_case_and_accents_make_no_other_name(gazetteer: Gazetteer) -> None:
    spellings = ("Kramat Jati", "KRAMATJATI", "kramat-jati", "Kramát Jati")
    assert [meant(gazetteer, s) for s in spellings] == [meant(gazetteer, "Kramatjati")] * 4
    assert {level for level, _ in meant(gazetteer, "Kramatjati")} == {"kelurahan", "kecamatan"}


@pytest.mark.parametrize(
    ("written", "level", "right"),
    [
        ("cawamg", "kelurahan", "cawang"), ("cawng", "kelurahan", "cawang"), ("cawnag", "kelurahan", "cawang"),
        ("cawaang", "kelurahan", "cawang"), ("kebonsirhi", "kelurahan", "kebonsirih"), ("cxwxng", "kelurahan", None),
        ("caw", "kelurahan", None), ("cilandak", "kelurahan", None), ("jagakrsa", "kecamatan", "jagakarsa"),
    ],
)  # fmt: skip
def test_one_slip_of_the_pen_is_forgiven_and_two_are_not(
    written: str, level: str, right: str | None, gazetteer: Gazetteer
) -> None:
    assert gazetteer.misspelt(written, level) == right


def test_a_misspelt_name_that_may_mean_two_places_means_none(gazetteer: Gazetteer) -> None:
    rows = pd.DataFrame({
        "kelurahan_code": ["1", "2"], "kelurahan": ["Melati", "Melavi"], "kecamatan_code": ["k", "k"],
        "kecamatan": ["Kebun", "Kebun"], "kota_code": ["t", "t"], "kota": ["Taman", "Taman"], "postcode": ["1", "2"],
        "lat": [-6.2, -6.3], "lon": [106.8, 106.9], "aliases": ["", ""],
    })  # fmt: skip
    kecamatan = pd.DataFrame({"kecamatan_code": ["k"], "kecamatan": ["Kebun"], "kota_code": ["t"], "aliases": [""]})
    kota = pd.DataFrame({"kota_code": ["t"], "kota": ["Taman"], "aliases": [""]})
    landmarks = pd.DataFrame(columns=["landmark", "aliases", "lat", "lon", "kelurahan_code"])
    small = Gazetteer(rows, kecamatan, kota, landmarks, weights=gazetteer.weights)
    assert small.misspelt("melati", "kelurahan") is None  # itself, or a slip of the other
    assert small.misspelt("melatii", "kelurahan") == "melati"
    assert small.misspelt("melaxi", "kelurahan") is None
    assert [p.row for p in small.locate_points(np.array([-6.2]), np.array([106.8])) if p] == [0]


def test_every_kelurahan_is_found_at_its_own_centroid(gazetteer: Gazetteer) -> None:
    lat, lon = gazetteer.kelurahan["lat"].to_numpy(float), gazetteer.kelurahan["lon"].to_numpy(float)
    points = gazetteer.locate_points(lat, lon)
    assert [p.row for p in points if p] == list(range(len(gazetteer.codes)))
    assert {p.method for p in points if p} == {"centroid"}
    assert all(len(p.near) == 3 and p.near[0] == p.row for p in points if p)


@given(st.floats(-6.4, -6.08), st.floats(106.68, 106.98))
def test_a_points_confidence_is_a_share_and_its_neighbours_are_the_nearest(
    own_knowledge: Knowledge, lat: float, lon: float
) -> None:
    g = own_knowledge.gazetteer
    (point,) = g.locate_points(np.array([lat]), np.array([lon]))
    assert point is not None
    assert 0 <= point.confidence <= 1
    if point.method == "centroid":
        a, b = g.kelurahan["lat"].to_numpy(float) - lat, g.kelurahan["lon"].to_numpy(float) - lon
        away = np.hypot(a, b * np.cos(np.radians(-6.2)))
        assert point.near == tuple(np.argsort(away, kind="stable")[:3])


def test_names_of_other_towns_are_outside_unless_a_street_here_bears_them(gazetteer: Gazetteer) -> None:
    assert Name("outside", "Bekasi") in meant(gazetteer, "Bekasi")
    assert {level for level, _ in meant(gazetteer, "Raya Bekasi")} == {"kota"}
