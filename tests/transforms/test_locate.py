"""Locate on written cases (cases/locate.tsv), on coordinates, and on any text at all."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from read_cases import cases

from pipelines.contracts import column
from pipelines.knowledge import Knowledge
from pipelines.transforms.gazetteer import Gazetteer
from pipelines.transforms.locate import locate

METHODS = {
    "polygon", "centroid", "reported", "named", "postcode", "landmark", "kecamatan", "kota", "outside", "ambiguous",
    "none",
}  # fmt: skip
WORDS = (
    "kel. Cawang", "Tebet Timur", "kec senen", "Jakarta Barat", "Surabaya", "jl kenanga", "gg.", "rt 05/03", "RW", "12950",
    "Monas", "dekat", "arah", "Kramat", "Baru", "Stasiun Jatinegara", "Kota", "\n", "kelurahan", "kebonjeruk", "é", "0",
)  # fmt: skip
texts = st.one_of(st.text(max_size=200), st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join))


@pytest.mark.parametrize("case", cases("locate"), ids=lambda c: str(c["text"])[:40])
def test_a_written_case_is_located_as_it_says(
    case: dict, own_knowledge: Knowledge, reports: Callable[..., pd.DataFrame]
) -> None:
    frame = reports(
        [case["text"] or ""], kelurahan_reported=[case["kel"]], kecamatan_reported=[case["kec"]],
        kota_reported=[case["kota"]],
    )  # fmt: skip
    found = locate(frame, gazetteer=own_knowledge.gazetteer)
    row = {c: column(found, c)[0] for c in found}
    assert {
        "method": row["place_method"],
        "place": _name(row, own_knowledge.gazetteer),
        "sure": "yes" if row["place_confidence"] >= own_knowledge.accept_place else "no",
        "street": row["street"],
        "rt": row["rt"],
        "rw": row["rw"],
    } == {
        **{k: case[k] for k in ("method", "place", "sure", "street")},
        **{k: int(case[k]) if case[k] else None for k in ("rt", "rw")},
    }


def _name(row: dict, gazetteer: Gazetteer) -> str | None:
    for level, table in (
        ("kelurahan", gazetteer.kelurahan), ("kecamatan", gazetteer.kecamatan), ("kota", gazetteer.kota)
    ):  # fmt: skip
        if code := row[f"{level}_code"]:
            return table.loc[table[f"{level}_code"] == code, level].iat[0]
    return None


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=texts, title=st.none() | texts, address=st.none() | texts, kelurahan=st.none() | texts,
    kecamatan=st.none() | texts, kota=st.none() | texts,
    lat=st.none() | st.floats(-7, -5) | st.floats(allow_nan=True), lon=st.none() | st.floats(106, 107.5) | st.floats(),
)  # fmt: skip
def test_no_text_breaks_it_and_every_code_exists_below_its_parent(
    own_knowledge: Knowledge, reports: Callable[..., pd.DataFrame], text: str, title: str | None, address: str | None,
    kelurahan: str | None, kecamatan: str | None, kota: str | None, lat: float | None, lon: float | None,
) -> None:  # fmt: skip
    gazetteer = own_knowledge.gazetteer
    frame = reports(
        [text], title=[title], address_text=[address], kelurahan_reported=[kelurahan], kecamatan_reported=[kecamatan],
        kota_reported=[kota], lat=[lat], lon=[lon],
    )  # fmt: skip
    found = locate(frame, gazetteer=gazetteer)
    row = {c: column(found, c)[0] for c in found}
    assert row["place_method"] in METHODS
    assert 0 <= row["place_confidence"] <= 1
    code, area, town = row["kelurahan_code"], row["kecamatan_code"], row["kota_code"]
    if code:
        assert gazetteer.kecamatan_of[gazetteer.row_of[code]] == area
    if area:
        assert gazetteer.kota_of_kecamatan[area] == town
    if town:
        assert town in set(gazetteer.kota["kota_code"])
    assert set(row["place_candidates"] or ()) <= set(gazetteer.row_of)
    if row["place_method"] in ("outside", "none", "ambiguous"):
        assert (code, area, town) == (None, None, None)


def test_many_reports_at_once_are_located_as_each_alone(
    own_knowledge: Knowledge, reports: Callable[..., pd.DataFrame]
) -> None:
    written = [str(c["text"] or "") for c in cases("locate")]
    together = locate(reports(written), gazetteer=own_knowledge.gazetteer)
    alone = [locate(reports([t]), gazetteer=own_knowledge.gazetteer) for t in written]
    for name in together:
        assert column(together, name) == [column(one, name)[0] for one in alone]


def test_an_empty_table_stays_empty(own_knowledge: Knowledge, reports: Callable[..., pd.DataFrame]) -> None:
    assert len(locate(reports([]), gazetteer=own_knowledge.gazetteer)) == 0


def test_a_point_without_words_is_only_as_sure_as_its_nearest_centroid_is_clear(
    own_knowledge: Knowledge, reports: Callable[..., pd.DataFrame]
) -> None:
    kelurahan = own_knowledge.gazetteer.kelurahan.set_index("kelurahan")
    a, b = kelurahan.loc["Tebet Timur"], kelurahan.loc["Tebet Barat"]
    lat, lon = [a.lat, (a.lat + b.lat) / 2], [a.lon, (a.lon + b.lon) / 2]
    found = locate(reports(["", ""], lat=lat, lon=lon), gazetteer=own_knowledge.gazetteer)
    at, between = found["place_confidence"]
    assert column(found, "place_method") == ["centroid", "centroid"]
    assert column(found, "kelurahan_code")[0] == a.kelurahan_code
    assert at > 0.9
    assert between < own_knowledge.accept_place
    assert column(found, "lat") == lat  # the point as reported, not the centroid


def test_a_name_beside_the_point_decides_where_the_point_alone_does_not(
    own_knowledge: Knowledge, reports: Callable[..., pd.DataFrame]
) -> None:
    kelurahan = own_knowledge.gazetteer.kelurahan.set_index("kelurahan")
    a, b = kelurahan.loc["Tebet Timur"], kelurahan.loc["Tebet Barat"]
    lat, lon = (a.lat + b.lat) / 2, (a.lon + b.lon) / 2
    said = ["Got mampet di Tebet Barat", "Got mampet di Tebet Timur", "Got mampet di Marunda"]
    found = locate(reports(said, lat=[lat] * 3, lon=[lon] * 3), gazetteer=own_knowledge.gazetteer)
    codes = column(found, "kelurahan_code")
    assert codes[:2] == [b.kelurahan_code, a.kelurahan_code]
    assert (found["place_confidence"].iloc[:2] >= own_knowledge.accept_place).all()
    assert codes[2] in (a.kelurahan_code, b.kelurahan_code)
    assert found["place_confidence"].iat[2] < own_knowledge.accept_place


@pytest.mark.parametrize(
    ("lat", "lon", "method"),
    [
        (-7.25, 112.75, "outside"),
        (0.0, 0.0, "none"),
        (np.nan, 106.8, "none"),
        (123.0, 456.0, "none"),
        (np.inf, 1.0, "none"),
    ],
)
def test_a_point_elsewhere_is_outside_and_a_point_of_no_device_is_none(
    lat: float, lon: float, method: str, own_knowledge: Knowledge, reports: Callable[..., pd.DataFrame]
) -> None:
    found = locate(reports(["lampu mati"], lat=[lat], lon=[lon]), gazetteer=own_knowledge.gazetteer)
    assert column(found, "place_method") == [method]
    assert column(found, "kota_code") == [None]


def test_boundaries_decide_where_they_are_installed(
    own_knowledge: Knowledge, reports: Callable[..., pd.DataFrame]
) -> None:
    g = own_knowledge.gazetteer
    row = g.row_of[g.codes[40]]
    lat, lon = float(g.kelurahan["lat"].iat[row]), float(g.kelurahan["lon"].iat[row])
    shapes = [
        shapely.box(lon - 0.05, lat - 0.05, lon + 0.05, lat + 0.05) if r == row else None for r in range(len(g.codes))
    ]
    bounded = Gazetteer(g.kelurahan, g.kecamatan, g.kota, g.landmarks, g.outside, shapes, weights=g.weights)
    found = locate(reports(["di Marunda"], lat=[lat + 0.04], lon=[lon]), gazetteer=bounded)
    assert (column(found, "kelurahan_code"), column(found, "place_method")) == ([g.codes[40]], ["polygon"])


def test_a_landmark_lends_its_point_only_where_the_report_lies_beside_it(
    own_knowledge: Knowledge, reports: Callable[..., pd.DataFrame]
) -> None:
    said = ["Sampah di Stasiun Jatinegara", "Sampah di Stasiun Jatinegara"]
    found = locate(reports(said, kelurahan_reported=[None, "Marunda"]), gazetteer=own_knowledge.gazetteer)
    lat, lon, _ = own_knowledge.gazetteer.landmark_at["Stasiun Jatinegara"]
    assert column(found, "landmark") == ["Stasiun Jatinegara", None]
    assert column(found, "lat") == [lat, None]
    assert column(found, "lon") == [lon, None]


def test_lanes_lie_in_the_kampung_they_are_named_after_and_estates_need_not(
    own_knowledge: Knowledge, reports: Callable[..., pd.DataFrame]
) -> None:
    texts = [
        "got mampet di cawang gang 3",
        "got mampet di cawang indah",
        "got mampet di taman cawang",
        "warga cawang mengeluh",
    ]
    found = locate(reports(texts), gazetteer=own_knowledge.gazetteer)
    assert column(found, "place_method") == ["named", "ambiguous", "ambiguous", "named"]


def test_a_text_that_only_asks_for_a_kelurahan_names_no_place(
    own_knowledge: Knowledge, reports: Callable[..., pd.DataFrame]
) -> None:
    found = locate(reports(["kel " * 25_000]), gazetteer=own_knowledge.gazetteer)
    assert column(found, "place_method") == ["none"]


def test_words_do_not_outweigh_fields_that_say_another_city(
    own_knowledge: Knowledge, reports: Callable[..., pd.DataFrame]
) -> None:
    """Kalisari is a kelurahan of both cities; however often it is named, the kecamatan is not Jakarta's."""
    frame = reports(
        ["Jl Melati, Kalisari\nwarga Kalisari"], kelurahan_reported=["Kalisari"], kecamatan_reported=["Mulyorejo"]
    )
    found = locate(frame, gazetteer=own_knowledge.gazetteer)
    assert column(found, "kelurahan_code") == [None]
    assert column(found, "place_method")[0] in ("outside", "ambiguous")


@pytest.mark.parametrize(
    ("address", "text", "street"),
    [
        ("jalan kenanga 152", "banjir setiap hujan", "jalan kenanga"),
        ("Jalan Kenanga No. 152", "banjir setiap hujan", "jalan kenanga"),
        (None, "jalan kenanga rusak", None),  # in a sentence it may be the thing that is broken
        ("dekat pasar", "jalan becek sekali", None),
    ],
)
def test_at_the_start_of_an_address_jalan_is_a_streets_kind(
    address: str | None, text: str, street: str | None, own_knowledge: Knowledge, reports: Callable[..., pd.DataFrame]
) -> None:
    found = locate(reports([text], address_text=[address]), gazetteer=own_knowledge.gazetteer)
    assert found["street"].tolist() == [street]
