"""A folder or file of places -> the Gazetteer that locate asks. Any city's: only its kelurahan are needed.

Belongs here: reading and checking those tables, deriving the ones that are not there, and the operator's
boundaries. Not here: what names mean (transforms/gazetteer), the other knowledge (knowledge).
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pandas as pd
import shapely
from shapely.geometry import shape

from pipelines import entries
from pipelines.entries import slips
from pipelines.errors import SettingsError
from pipelines.transforms.gazetteer import Gazetteer

_COLUMNS = {
    "kelurahan": ("kelurahan_code", "kelurahan", "kecamatan_code", "kecamatan", "kota_code", "kota", "postcode", "lat", "lon"),
    "kecamatan": ("kecamatan_code", "kecamatan", "kota_code", "aliases", "lat", "lon"),
    "kota": ("kota_code", "kota", "full_name", "aliases", "lat", "lon"),
    "landmarks": ("landmark", "aliases", "lat", "lon", "kelurahan_code"),
    "outside": ("name",),
    "everyday": ("name",),
}  # fmt: skip
# As public compilations of Kemendagri's codes name their columns.
_ALSO = {
    "kode_kel": "kelurahan_code", "kode_kec": "kecamatan_code", "kode_kota": "kota_code", "kodepos": "postcode",
    "lng": "lon",
}  # fmt: skip
_TITLE = r"^(?:Kota|Kabupaten)(?: Administrasi)? "  # nobody says it of a city whose name is clear


def files(place: Path) -> list[Path]:
    """What `read` reads of a gazetteer: a folder's tables that are there, or the one file."""
    if place.is_file():
        return [place]
    there = [place / f"{name}.csv" for name in _COLUMNS if (place / f"{name}.csv").exists()]
    if place / "kelurahan.csv" not in there:
        raise SettingsError(f"{place} is no gazetteer: it must be a folder with kelurahan.csv, or such a file itself")
    return there


def csv(path: Path) -> pd.DataFrame:
    """A table of texts. SettingsError where it has no header or is not UTF-8."""
    try:
        return pd.read_csv(io.BytesIO(entries.read(path)), dtype=str, keep_default_na=False, comment="#")
    except (ValueError, pd.errors.ParserError) as error:  # ValueError: no header, not UTF-8
        raise SettingsError(f"{path} is no CSV with a header: {error}") from error


def kelurahan(place: Path) -> pd.DataFrame:
    """The kelurahan of a gazetteer, in the columns of models/gazetteer/kelurahan.csv; lat, lon in degrees."""
    return _table("kelurahan", files(place)[0])


def read(place: Path, boundaries: Path) -> Gazetteer:
    """The gazetteer in a folder, or in one file of kelurahan; boundaries: GeoJSON, used where it exists.

    kecamatan and kota are taken from the kelurahan where they have no file of their own; without the others,
    no landmark, no place outside and no daily word is known. SettingsError names the file and column at fault.
    """
    given = {"kelurahan" if path == place else path.stem: path for path in files(place)}
    tables = {name: _table(name, path) for name, path in given.items()}
    rows = tables["kelurahan"]
    for name, above in (("kecamatan", ["kota_code"]), ("kota", [])):
        if name not in tables:
            tables[name] = _derived(rows, name, above)
    polygons = None
    if boundaries.exists():
        shapes = read_boundaries(boundaries)
        polygons = [shapes.get(code) for code in rows["kelurahan_code"]]
    names = {name: tables[name]["name"].tolist() if name in tables else [] for name in ("outside", "everyday")}
    landmarks = tables.get("landmarks", pd.DataFrame(columns=list(_COLUMNS["landmarks"])))
    return Gazetteer(
        rows, tables["kecamatan"], tables["kota"], landmarks, names["outside"], polygons, names["everyday"]
    )


def _table(name: str, path: Path) -> pd.DataFrame:
    table = csv(path).rename(columns=_ALSO)
    if lacking := [c for c in _COLUMNS[name] if c not in table]:
        raise SettingsError(f"{path}: the column {lacking[0]} is missing")
    if name not in ("kelurahan", "kecamatan", "kota"):
        return table
    with slips(path, "lat or lon"):
        table = table.astype({"lat": float, "lon": float})
    code = table[f"{name}_code"]
    if code.duplicated().any():
        raise SettingsError(f"{path}: {code[code.duplicated()].iloc[0]} is there twice")
    return table if "aliases" in table else table.assign(aliases="")


def _derived(rows: pd.DataFrame, name: str, above: list[str]) -> pd.DataFrame:
    first = {column: (column, "first") for column in (name, *above)}
    table = rows.groupby(f"{name}_code", as_index=False).agg(**first, lat=("lat", "mean"), lon=("lon", "mean"))
    full = table[name]
    return table.assign(full_name=full, aliases=full, **{name: full.str.replace(_TITLE, "", regex=True)})


def read_boundaries(path: Path) -> dict[str, Any]:
    """Kemendagri code -> geometry of a GeoJSON FeatureCollection; SettingsError says what is wrong.

    The code is looked for in the properties kode, kelurahan_code, code, kode_kel.
    """
    try:
        features = json.loads(path.read_text("utf-8"))["features"]
        found = {}
        for feature in features:
            properties = feature["properties"]
            code = next(
                (properties[k] for k in ("kode", "kelurahan_code", "code", "kode_kel") if k in properties), None
            )
            if isinstance(code, str) and feature.get("geometry"):
                found[code] = shapely.make_valid(shape(feature["geometry"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, shapely.errors.ShapelyError) as error:
        raise SettingsError(f"{path} is not a GeoJSON FeatureCollection of kelurahan: {error}") from error
    if not found:
        raise SettingsError(f"{path}: no feature has a code in kode, kelurahan_code, code or kode_kel")
    return found
