"""Areas to choose from, and the plain maps of them."""

from __future__ import annotations

from functools import cache
from xml.etree import ElementTree

import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from pipelines.intake.maps import WIDTHS, Areas, Kelurahan, Landmark, Point
from pipelines.places import kelurahan_table
from pipelines.settings import default_models_dir

TEBET, TEBET_BARAT = "31.74.01", "31.74.01.1002"


@cache
def table() -> list[tuple[Kelurahan, float, float]]:
    rows = kelurahan_table(default_models_dir() / "gazetteer")
    names = rows[["kelurahan_code", "kelurahan", "kecamatan", "kota"]].itertuples(index=False)
    return [(Kelurahan(*row), *at) for row, at in zip(names, zip(rows["lat"], rows["lon"], strict=True), strict=True)]


def squares() -> dict[str, shapely.Polygon]:
    """An outline for each kelurahan: a square around its middle."""
    return {row.code: shapely.box(lon - 0.003, lat - 0.003, lon + 0.003, lat + 0.003) for row, lat, lon in table()}


@cache
def jakarta() -> Areas:
    return Areas([row for row, _, _ in table()], squares(), [Landmark("Pasar <Uji> & Co", -6.23, 106.85)])


def pixel_in(areas: Areas, code: str, width: int, wanted: str) -> tuple[int, int]:
    """A pixel of a map at which an area is touched."""
    pixels = [(x, y) for y in range(3, width * 5 // 4, 3) for x in range(3, width, 3)]
    there = [p for p in pixels if (found := areas.at(code, width, *p)) and found.code == wanted]
    return there[len(there) // 2]


def test_areas_are_found_from_the_whole_down_by_name() -> None:
    areas = jakarta()
    assert [areas.names[code] for code in areas.below[""]] == [
        "Jakarta Barat", "Jakarta Pusat", "Jakarta Selatan", "Jakarta Timur", "Jakarta Utara", "Kepulauan Seribu",
    ]  # fmt: skip
    assert TEBET in areas.below["31.74"] and TEBET_BARAT in areas.below[TEBET]
    assert areas.place(TEBET_BARAT) == {"kelurahan": areas.names[TEBET_BARAT], "kecamatan": "Tebet", "kota": "Jakarta Selatan"}  # fmt: skip
    assert len(areas.kelurahan) == 267


@pytest.mark.parametrize("width", WIDTHS)
def test_touching_leads_from_the_city_to_a_point(width: int) -> None:
    areas = jakarta()
    for code, wanted in (("", "31.74"), ("31.74", TEBET)):
        found = areas.at(code, width, *pixel_in(areas, code, width, wanted))
        assert found is not None and found.point is None
    x, y = pixel_in(areas, TEBET, width, TEBET_BARAT)
    found = areas.at(TEBET, width, x, y)
    assert found is not None and found.point is not None
    assert areas.is_in(TEBET_BARAT, found.point)
    pin = ElementTree.fromstring(areas.picture(TEBET, width, found.point))[-1]
    assert (float(pin.attrib["cx"]), float(pin.attrib["cy"])) == pytest.approx((x, y), abs=0.6)


@given(code=st.sampled_from(["", "31.74", TEBET, "31.01", "31.01.01", "99", TEBET_BARAT]), width=st.sampled_from(WIDTHS),
       x=st.integers(-10, 700), y=st.integers(-10, 900))  # fmt: skip
def test_a_touch_is_in_the_area_it_names_or_nowhere(code: str, width: int, x: int, y: int) -> None:
    areas = jakarta()
    found = areas.at(code, width, x, y)
    if found is not None:
        assert found.code in areas.below[code]
        assert (found.point is not None) == (len(code) == 8)
        assert found.point is None or areas.is_in(found.code, found.point)


def test_a_keyboards_press_is_no_touch() -> None:
    assert all(jakarta().at(code, width, 0, 0) is None for code in ("", "31.74", TEBET) for width in WIDTHS)


def test_islands_far_off_are_left_to_the_list_and_have_their_own_map() -> None:
    areas = jakarta()
    assert areas.off_the_map("") == ["31.01"]
    assert areas.off_the_map("31.01") == [] and areas.mapped("31.01")


@pytest.mark.parametrize("width", WIDTHS)
def test_every_map_is_whole_svg_that_runs_and_loads_nothing(width: int) -> None:
    areas = jakarta()
    for code in areas.below:
        root = ElementTree.fromstring(areas.picture(code, width))
        kinds = {element.tag.rsplit("}", 1)[1] for element in root.iter()}
        assert kinds <= {"svg", "rect", "path", "circle", "text", "tspan"}
        assert not [
            a for element in root.iter() for a in element.attrib if a in ("style", "href") or a.startswith("on")
        ]
        assert int(root.attrib["width"]) == width and int(root.attrib["height"]) <= width * 1.25 + 1
    assert "Pasar &lt;Uji&gt; &amp; Co" in areas.picture(TEBET, width)


def test_without_outlines_there_are_names_and_no_maps() -> None:
    areas = Areas([row for row, _, _ in table()])
    assert TEBET_BARAT in areas.below[TEBET]
    assert not areas.mapped("") and areas.at("", 320, 100, 100) is None
    assert not areas.is_in(TEBET_BARAT, Point(-6.23, 106.85, 50))
    with pytest.raises(KeyError):
        areas.picture("", 320)


def test_a_kelurahan_without_an_outline_is_in_the_list_alone() -> None:
    some = {code: shape for code, shape in squares().items() if code != TEBET_BARAT}
    areas = Areas([row for row, _, _ in table()], some)
    assert TEBET_BARAT in areas.below[TEBET] and areas.off_the_map(TEBET) == [TEBET_BARAT]
