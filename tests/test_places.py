"""Places of any city: a file of its kelurahan is enough, and kanal.toml says which one counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipelines import places, settings
from pipelines.contracts import column
from pipelines.errors import SettingsError
from pipelines.transforms.gazetteer import Name, join
from pipelines.transforms.locate import locate

_CITY = """kode_kel,kelurahan,kode_kec,kecamatan,kode_kota,kota,kodepos,lat,lng
99.01.01.1001,Melati Kidul,99.01.01,Melati,99.01,Kota Puspa,61111,-7.30,112.50
99.01.01.1002,Melati,99.01.01,Melati,99.01,Kota Puspa,61112,-7.30,112.50
99.01.02.1001,Kenanga,99.01.02,Cempaka,99.01,Kota Puspa,61113,-7.30,112.50
99.01.02.1002,Dahlia Wetan,99.01.02,Cempaka,99.01,Kota Puspa,61114,-7.30,112.50
"""


@pytest.fixture
def city(tmp_path: Path) -> Path:
    path = tmp_path / "puspa.csv"
    path.write_text(_CITY, "utf-8")
    return path


def placed(city: Path, address: str) -> tuple[str | None, str | None, str]:
    """(kelurahan, kecamatan, method) of an address in that city."""
    gazetteer = places.read(city, city / "none")
    empty = [None]
    frame = pd.DataFrame({
        "text": [""], "title": empty, "address_text": [address], "kelurahan_reported": empty,
        "kecamatan_reported": empty, "kota_reported": empty, "lat": [np.nan], "lon": [np.nan],
    })  # fmt: skip
    found = locate(frame, gazetteer=gazetteer)
    codes = dict(zip(gazetteer.codes, gazetteer.kelurahan["kelurahan"], strict=True))
    kelurahan = column(found, "kelurahan_code")[0]
    return codes.get(kelurahan), column(found, "kecamatan_code")[0], column(found, "place_method")[0]


def test_a_file_of_kelurahan_alone_makes_a_gazetteer(city: Path) -> None:
    gazetteer = places.read(city, city / "none")
    assert gazetteer.kota.to_dict("records") == [
        {"kota_code": "99.01", "kota": "Puspa", "lat": -7.3, "lon": 112.5, "full_name": "Kota Puspa",
         "aliases": "Kota Puspa"}
    ]  # fmt: skip
    assert gazetteer.kecamatan["kecamatan"].tolist() == ["Melati", "Cempaka"]
    assert gazetteer.names[join("Puspa")] == (Name("kota", "99.01"),)
    assert gazetteer.postcodes == {"61111": [0], "61112": [1], "61113": [2], "61114": [3]}


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("Jl. Mangga 4, Kenanga, Kota Puspa", ("Kenanga", "99.01.02", "named")),
        ("kenanga gang 3 no 5", ("Kenanga", "99.01.02", "named")),
        ("kel. dahlia wetan kec. cempaka", ("Dahlia Wetan", "99.01.02", "named")),
        ("jl kenanga", (None, None, "ambiguous")),
        ("kenanga indah blok b", (None, None, "ambiguous")),
        ("pasar kenanga", (None, None, "ambiguous")),
        ("jl kenanga 5, dahlia wetan", ("Dahlia Wetan", "99.01.02", "named")),
    ],
)
def test_words_around_a_name_tell_a_kelurahan_from_a_street_that_bears_its_name(
    address: str, expected: tuple[str | None, str | None, str], city: Path
) -> None:
    assert placed(city, address) == expected


def test_a_name_that_a_neighbours_name_goes_on_from_is_no_confident_guess(city: Path) -> None:
    assert places.read(city, city / "none").stems == {"melati"}
    assert placed(city, "jl mangga 4, melati") == (None, "99.01.01", "kecamatan")
    assert placed(city, "jl mangga 4, kel. melati") == ("Melati", "99.01.01", "named")


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("di ujung gang dekat pos", (None, None, "none")),
        ("lampu mati dari ujung ke ujung", (None, None, "none")),
        ("kenanga gang 3, parkir di ujung jalan", ("Kenanga", "99.01.02", "named")),
        ("jl mangga 4, ujung, kota puspa", ("Ujung", "99.01.02", "named")),
        ("kelurahan ujung kota puspa", ("Ujung", "99.01.02", "named")),
        ("ujung, kec. cempaka", ("Ujung", "99.01.02", "named")),
    ],
)
def test_a_kelurahan_called_end_is_not_meant_by_the_end_of_a_street(
    address: str, expected: tuple[str | None, str | None, str], city: Path
) -> None:
    city.write_text(_CITY + "99.01.02.1003,Ujung,99.01.02,Cempaka,99.01,Kota Puspa,61115,-7.30,112.50\n", "utf-8")
    assert placed(city, address) == expected


def test_an_operator_names_the_gazetteer_in_kanal_toml(city: Path) -> None:
    config = city.with_name("kanal.toml")
    config.write_text('[kanal]\ngazetteer = "puspa.csv"\n', "utf-8")
    assert settings.load(config).gazetteer == city
    config.write_text("[kanal]\n", "utf-8")
    assert settings.load(config).gazetteer == settings.default_models_dir() / "gazetteer"


def test_a_folder_without_kelurahan_says_what_a_gazetteer_is(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"is no gazetteer: it must be a folder with kelurahan\.csv"):
        places.read(tmp_path, tmp_path / "none")


def test_a_missing_column_is_named(city: Path) -> None:
    city.write_text(_CITY.replace("kode_kota", "town"), "utf-8")
    with pytest.raises(SettingsError, match=r"puspa\.csv: the column kota_code is missing"):
        places.read(city, city / "none")


def test_codes_that_do_not_hold_those_above_them_are_refused(city: Path) -> None:
    """Whoever decides a kelurahan has its kecamatan and kota read off its code."""
    city.write_text(_CITY.replace("99.01.01.1002", "9901011002"), "utf-8")
    with pytest.raises(SettingsError, match=r"puspa\.csv: 9901011002 and the codes above it must be Kemendagri's"):
        places.read(city, city / "none")
