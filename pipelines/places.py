"""Gazetteer files of any city -> the gazetteer that locate asks; and the operator's boundaries.

A folder needs kelurahan.csv alone, or a single such file is given: kecamatan and kota are then derived from it, and
what else a folder may hold (landmarks.csv, outside.csv, everyday.csv) is empty. Belongs here: reading and checking
those files. Not here: what names mean (transforms/gazetteer).
"""

from __future__ import annotations

import io
import json
import re
import shutil
import uuid
from pathlib import Path
from typing import Any

import pandas as pd
import shapely
from shapely.geometry import shape

from pipelines import entries
from pipelines.entries import number, slips
from pipelines.errors import SettingsError
from pipelines.settings import Settings, default_models_dir
from pipelines.transforms.evidence import KINDS, Weights
from pipelines.transforms.gazetteer import Gazetteer

_COLUMNS = {
    "kelurahan": ("kelurahan_code", "kelurahan", "kecamatan_code", "kecamatan", "kota_code", "kota", "postcode", "lat", "lon"),
    "kecamatan": ("kecamatan_code", "kecamatan", "kota_code", "aliases", "lat", "lon"),
    "kota": ("kota_code", "kota", "full_name", "aliases", "lat", "lon"),
    "landmarks": ("landmark", "aliases", "lat", "lon", "kelurahan_code"),
    "outside": ("name",),
    "everyday": ("name",),
}  # fmt: skip
# The same columns as compilations of Kemendagri's codes name them.
_ALSO = {
    "kode_kel": "kelurahan_code", "kode_kec": "kecamatan_code", "kode_kota": "kota_code", "kodepos": "postcode",
    "lng": "lon",
}  # fmt: skip
_TOWN = re.compile(r"^(?:kota administrasi|kabupaten administrasi|kota|kabupaten)\s+", re.I)


def files(gazetteer: Path) -> list[Path]:
    """The files of a gazetteer that are there."""
    if gazetteer.is_file():
        return [gazetteer]
    return [path for name in _COLUMNS if (path := gazetteer / f"{name}.csv").exists()] or [gazetteer / "kelurahan.csv"]


def read(gazetteer: Path, boundaries: Path | None = None, evidence: Path | None = None) -> Gazetteer:
    """The gazetteer of a folder or file, with polygons where there are boundaries. SettingsError says what is wrong.

    evidence: file of the weights; the project's own where not given.
    """
    kelurahan = kelurahan_table(gazetteer)
    tables = {
        name: _table(gazetteer / f"{name}.csv", name)
        for name in _COLUMNS
        if name != "kelurahan" and gazetteer.is_dir() and (gazetteer / f"{name}.csv").exists()
    }
    tables.setdefault("kota", _kota(kelurahan))
    tables.setdefault("kecamatan", _kecamatan(kelurahan))
    for name in ("landmarks", "outside", "everyday"):
        tables.setdefault(name, pd.DataFrame(columns=_COLUMNS[name], dtype=str))
    polygons = None
    if boundaries is not None and boundaries.exists():
        shapes = read_boundaries(boundaries)
        polygons = [shapes.get(code) for code in kelurahan["kelurahan_code"]]
    return Gazetteer(
        kelurahan, tables["kecamatan"], tables["kota"], tables["landmarks"], tables["outside"]["name"].tolist(), polygons,
        tables["everyday"]["name"].tolist(), weights=weights(evidence or default_models_dir() / "evidence.toml"),
    )  # fmt: skip


_WEIGHTS = {
    "believed": ("field", "asked", "named", "misspelt", "postcode", "landmark", "shared", "passing", "stem"),
    "together": (
        "enough", "twice", "rival", "kecamatan_agrees", "kecamatan_differs", "kota_agrees", "kota_differs", "route",
    ),
    "word": tuple(sorted(KINDS)),
    "also_kecamatan": (),
}  # fmt: skip


def weights(path: Path) -> Weights:
    """How far words about a place are believed. SettingsError names the section and key at fault."""
    raw = entries.toml(path)
    found: dict[str, dict[str, float]] = {}
    for section, needed in _WEIGHTS.items():
        given = entries.table(path, raw, section)
        with slips(path, f"[{section}]"):
            if unknown := sorted(set(given) - set(needed or KINDS)):
                raise ValueError(f"{unknown[0]} is unknown")
            found[section] = {key: number(given, key) for key in needed or given}
            if high := [key for key, value in found[section].items() if value > 1]:
                raise ValueError(f"{high[0]} must be from 0 to 1")
    return Weights(**found["believed"], **found["together"], word=found["word"], also_kecamatan=found["also_kecamatan"])


def kelurahan_table(gazetteer: Path) -> pd.DataFrame:
    """kelurahan.csv of a folder, or the file itself: a row a kelurahan, with aliases (maybe empty)."""
    path = gazetteer if gazetteer.is_file() else gazetteer / "kelurahan.csv"
    if not path.exists():
        raise SettingsError(f"{gazetteer} is no gazetteer: it must be a folder with kelurahan.csv, or such a file")
    table = _table(path, "kelurahan")
    code = table["kelurahan_code"]
    if (odd := (code.str[:8] != table["kecamatan_code"]) | (code.str[:5] != table["kota_code"])).any():
        raise SettingsError(
            f"{path}: {code[odd].iloc[0]} and the codes above it must be Kemendagri's, as 31.74.07.1001"
        )
    return table if "aliases" in table else table.assign(aliases="")


def landmarks(gazetteer: Path) -> pd.DataFrame:
    """Landmarks with a known position: landmark, lat, lon; maybe none."""
    path = gazetteer / "landmarks.csv"
    if not path.exists():
        return pd.DataFrame(columns=["landmark", "lat", "lon"])
    with slips(path, "lat or lon"):
        return _table(path, "landmarks").astype({"lat": float, "lon": float})


def _table(path: Path, name: str) -> pd.DataFrame:
    try:
        table = pd.read_csv(io.BytesIO(entries.read(path)), dtype=str, keep_default_na=False, comment="#")
    except (ValueError, pd.errors.ParserError) as error:  # ValueError: no header, not UTF-8
        raise SettingsError(f"{path} is no CSV with a header: {error}") from error
    table = table.rename(columns={there: ours for there, ours in _ALSO.items() if ours not in table})
    if lacking := [c for c in _COLUMNS[name] if c not in table]:
        raise SettingsError(f"{path}: the column {lacking[0]} is missing")
    if name in ("kelurahan", "kecamatan", "kota"):
        with slips(path, "lat or lon"):
            table = table.astype({"lat": float, "lon": float})
        code = table[f"{name}_code"]
        if code.duplicated().any():
            raise SettingsError(f"{path}: {code[code.duplicated()].iloc[0]} is there twice")
    return table


def _kecamatan(kelurahan: pd.DataFrame) -> pd.DataFrame:
    columns = {"kecamatan": "first", "kota_code": "first", "lat": "mean", "lon": "mean"}
    return kelurahan.groupby("kecamatan_code", as_index=False).agg(columns).assign(aliases="")


def _kota(kelurahan: pd.DataFrame) -> pd.DataFrame:
    """Towns go by their bare name: "Kota Surabaya" is Surabaya."""
    table = kelurahan.groupby("kota_code", as_index=False).agg({"kota": "first", "lat": "mean", "lon": "mean"})
    full = table["kota"]
    return table.assign(full_name=full, aliases=full, kota=[_TOWN.sub("", name) for name in full])


# --- boundaries -----------------------------------------------------------------------------


def boundaries_file(settings: Settings) -> Path:
    """Where `kanal gazetteer install` puts the operator's polygons."""
    return settings.data_dir / "gazetteer" / "boundaries.geojson"


def learned_files(settings: Settings) -> tuple[Path, Path]:
    """Where `kanal gazetteer learn` puts the phrases it learned, and the rest."""
    folder = settings.data_dir / "gazetteer"
    return folder / "learned.csv", folder / "learned.bin"


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


def install_boundaries(settings: Settings, file: Path) -> dict[str, int]:
    """Check a GeoJSON file and copy it to where `load` finds it.

    Returns kelurahan (all there are), matched (those with a polygon now) and unknown (polygons of
    other codes). SettingsError where the file has no polygon of any known kelurahan.
    """
    codes = set(kelurahan_table(settings.gazetteer)["kelurahan_code"])
    shapes = read_boundaries(file)
    matched = len(codes & set(shapes))
    if not matched:
        raise SettingsError(f"{file}: no polygon carries the code of a kelurahan of {settings.gazetteer}")
    target = boundaries_file(settings)
    target.parent.mkdir(parents=True, exist_ok=True)
    temp = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    shutil.copyfile(file, temp)
    temp.replace(target)
    return {"kelurahan": len(codes), "matched": matched, "unknown": len(set(shapes) - codes)}
