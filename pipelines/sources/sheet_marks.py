"""What a sheet of a workbook shows beside its values: merged cells, formulas never computed, pictures.

openpyxl's streaming reader drops all three, and its other reader holds the whole book in memory. Excel
writes them in the sheet's own XML, so one pass over that is enough. The parser underneath (expat)
stops entity bombs and fetches nothing.

Belongs here: that XML. Not here: what is made of it (by_hand).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from posixpath import normpath
from xml.etree.ElementTree import Element, iterparse
from xml.etree.ElementTree import fromstring as parsed
from zipfile import ZipFile

from openpyxl.utils import coordinate_to_tuple, range_boundaries

from pipelines.sources.by_hand import Marks

_MAX_SHEET, _MAX_MERGED = 64_000_000, 5_000


def read(archive: ZipFile, path: str) -> Marks:
    """Marks of the sheet at `path`. May raise what workbook.BOOK_ODD names."""
    if archive.getinfo(path).file_size > _MAX_SHEET:
        return Marks()
    merged: list[tuple[int, int, int]] = []
    uncomputed: dict[int, set[int]] = {}
    photos: dict[int, list[str]] = {}
    with archive.open(path) as file:
        for _, element in iterparse(file):  # noqa: S314 - as openpyxl itself reads it
            tag = element.tag.rpartition("}")[2]
            if tag == "mergeCell":
                column, first, _, last = range_boundaries(element.get("ref", ""))
                if column and first and last:  # whole columns have no rows
                    merged.append((first, column, last))
            elif tag == "c" and "r" in element.attrib:
                row, column = coordinate_to_tuple(element.attrib["r"])
                if _is_uncomputed(element):
                    uncomputed.setdefault(row, set()).add(column)
                if "vm" in element.attrib:  # a picture in the cell itself
                    photos.setdefault(row, []).append("foto dalam sel.png")
            elif tag == "row":
                element.clear()
            elif tag == "drawing":
                for row, name in _pictures(archive, path, element):
                    photos.setdefault(row, []).append(name)
    return Marks(
        tuple(merged[:_MAX_MERGED]),
        {row: frozenset(columns) for row, columns in uncomputed.items()},
        {row: tuple(names) for row, names in photos.items()},
    )


def _is_uncomputed(cell: Element) -> bool:
    tags = {child.tag.rpartition("}")[2]: child.text for child in cell}
    return "f" in tags and not tags.get("v") and cell.get("t") != "str"


def _pictures(archive: ZipFile, sheet: str, drawing: Element) -> Iterator[tuple[int, str]]:
    """(row, file name) of each picture that lies over a sheet."""
    identity = next((value for key, value in drawing.attrib.items() if key.endswith("}id")), "")
    target = _targets(archive, sheet).get(identity)
    if target not in archive.namelist():
        return
    images = _targets(archive, target or "")
    for anchor in parsed(archive.read(target or "")).iter():  # noqa: S314
        if not anchor.tag.endswith("Anchor"):
            continue
        row = next((e.text for e in anchor.iter() if e.tag.endswith("}row")), None)
        for blip in anchor.iter():
            if blip.tag.endswith("}blip") and row and row.isdecimal():
                image = next((images.get(v, "") for k, v in blip.attrib.items() if k.endswith("}embed")), "")
                yield int(row) + 1, PurePosixPath(image or "gambar.png").name


def _targets(archive: ZipFile, part: str) -> dict[str, str]:
    """Relation id -> member of the archive, for what a part refers to."""
    path = PurePosixPath(part)
    name = f"{path.parent}/_rels/{path.name}.rels"
    if name not in archive.namelist():
        return {}
    found = {}
    for relation in parsed(archive.read(name)).iter():  # noqa: S314
        if target := relation.get("Target"):
            full = target.lstrip("/") if target.startswith("/") else normpath(f"{path.parent}/{target}")
            found[relation.get("Id", "")] = full
    return found
