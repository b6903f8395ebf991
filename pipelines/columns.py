"""What a column is, by its name and by what its cells look like. Pure.

A column's look is counted once; each field then says how well name and look fit. What cells hold can
veto a name (a "tanggal" without dates is no date), and where it is plain (points, kelurahan, phones)
stand in for one. Belongs here: judging columns. Not here: reading files (sources/sample), choosing
among columns (propose).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

from pipelines.contracts import status_of
from pipelines.sources import cells

_WIB = ZoneInfo("Asia/Jakarta")
_JOINT = re.compile(r"(?<=[a-z])(?=[A-Z])|[^A-Za-z0-9]+")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.\w+")
_PHONE = re.compile(r"'?(?:\+?62|0)?8[\d\s.-]{7,14}")
_RT_RW = re.compile(
    r"(?:rt\D{0,3})?\d{1,3}\s*[/.\-]\s*(?:rw\D{0,3})?\d{1,3}|rt\D{0,4}\d{1,3}\D{1,6}rw\D{0,4}\d{1,3}", re.I
)
_CLOCK = re.compile(r"(?:pukul|jam|pkl\.?)?\s?\d{1,2}(?:[.:]\d{2}){0,2}(?:\s?wib)?", re.I)
_FILE = re.compile(r"\S+\.(?:jpe?g|png|gif|webp|heic|pdf|mp4|mov)\b", re.I)
_STAMP = re.compile(r"\d{5}(?:[.,]\d+)?|\d{10}|\d{13}")  # Excel's days, Unix times
_TWO_NUMBERS = re.compile(r"(\d{1,2})[/.\-](\d{1,2})[/.\-](\d{4}|\d{2})\b")


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Folded words that a city's data knows, by the field they speak for: kelurahan, kecamatan, kota, category, agency."""

    words: Mapping[str, frozenset[str]]
    names: Mapping[str, tuple[str, ...]]  # field -> names its column goes by, commonest first

    def is_name(self, text: str) -> bool:
        known = spelled(text)
        return any(known in names for names in self.names.values())


def spelled(name: str) -> str:
    """A column's name as words: TanggalLaporan, tanggal_laporan -> tanggal laporan."""
    return " ".join(part for part in _JOINT.split(name) if part).lower()


def fold(text: str) -> str:
    return " ".join(text.casefold().split())


@dataclass(slots=True)
class Look:
    """Shares (0..1) of a column's filled cells that look like something, and what was seen of its dates."""

    name: str
    filled: float = 0.0
    rows: int = 0
    distinct: float = 0.0
    words: float = 0.0  # mean
    shares: dict[str, float] = field(default_factory=dict)
    day_first: int = 0
    month_first: int = 0
    either: int = 0
    commas: float = 0.0


def looks(names: Iterable[str], rows: list[dict[str, str]], vocabulary: Vocabulary) -> list[Look]:
    return [_look(name, [row[name].strip() for row in rows if name in row], len(rows), vocabulary) for name in names]


def _look(name: str, filled: list[str], rows: int, vocabulary: Vocabulary) -> Look:
    filled = [c for c in filled if c.casefold() not in cells.NOTHING]
    look = Look(name, len(filled) / rows if rows else 0.0, len(filled))
    if not filled:
        return look
    count = len(filled)
    look.distinct = len(set(filled)) / count
    look.words = sum(len(c.split()) for c in filled) / count
    shares: Counter[str] = Counter()
    for cell in filled:
        shares.update(_kinds(cell, look, vocabulary))
    look.shares = {kind: n / count for kind, n in shares.items()}
    return look


_BARE_CLOCK = re.compile(r"\d{1,2}[.:]\d{2}")
# kind -> what a whole cell (folded) looks like then
_SHAPES = {
    "phone": _PHONE, "email": _EMAIL, "rt_rw": _RT_RW, "url": re.compile(r"https?://.*", re.DOTALL),
    "file": re.compile(rf"(?=.*{_FILE.pattern}).*|\[.*http.*", re.IGNORECASE | re.DOTALL),
    "crm_number": re.compile(r"jk\d{10}"), "yes_no": re.compile("|".join(map(re.escape, (*cells.YES, *cells.NO)))),
}  # fmt: skip


def _kinds(cell: str, look: Look, vocabulary: Vocabulary) -> Iterable[str]:
    """What one cell may be."""
    folded = fold(cell)
    value = cells.number(cell)
    if value is not None:
        look.commas += "," in cell
        yield from _of_number(cell, value)
    if _is_date(cell, look):
        yield "date"
    if _BARE_CLOCK.fullmatch(cell) or (value is None and _CLOCK.fullmatch(folded)):
        yield "clock"
    yield from (kind for kind, shape in _SHAPES.items() if shape.fullmatch(folded))
    if (pair := cells.pair(cell)) and cells.point(*pair):
        yield "point"
    if status_of(cell):
        yield "status"
    area = area_name(cell)
    yield from (level for level in ("kelurahan", "kecamatan", "kota") if area in vocabulary.words[level])
    yield from (kind for kind in ("category", "agency") if folded in vocabulary.words[kind])


def _of_number(cell: str, value: float) -> Iterable[str]:
    yield "number"
    if "." in cell or "," in cell:
        if -12 <= value <= 8:
            yield "lat"
        if 94 <= value <= 142:
            yield "lon"


def _is_date(cell: str, look: Look) -> bool:
    if not any(c.isdigit() for c in cell) or (cells.number(cell) is not None and not _STAMP.fullmatch(cell)):
        return False
    if said := _TWO_NUMBERS.match(cell):
        first, second = int(said[1]), int(said[2])
        look.day_first += first > 12 >= second
        look.month_first += second > 12 >= first
        look.either += first <= 12 and second <= 12
        if first <= 12 < second <= 31:
            return True  # month first: moment would say no
    return cells.moment(cell, formats=(), zone=_WIB) is not None


_RANK = re.compile(
    r"^(?:kelurahan|kel|kecamatan|kec|kota administrasi|kota adm|kota|kabupaten administrasi|kab)\b\.?\s*"
)


def is_value(cell: str, vocabulary: Vocabulary) -> bool:
    """Whether a cell is something that no column is called: a day, a phone, an address of e-mail or the web, a point."""
    kinds = set(_kinds(cell, Look(""), vocabulary))
    return bool(kinds & {"date", "phone", "email", "url", "point", "crm_number"})


def area_name(cell: str) -> str:
    """An area's name without its rank, letters alone: Kel. Kebon Jeruk, KEBONJERUK -> kebonjeruk."""
    return "".join(c for c in _RANK.sub("", fold(cell)) if c.isalnum())


# --- fields ---------------------------------------------------------------------------------

# field -> (kinds of which the best share tells, share below which the name is not believed)
_HOLDS: dict[str, tuple[tuple[str, ...], float]] = {
    "occurred_at": (("date",), 0.5), "edited_at": (("date",), 0.5), "clock": (("clock",), 0.5),
    "lat": (("lat", "lon"), 0.5), "lon": (("lat", "lon"), 0.5), "point": (("point",), 0.5),
    "accuracy_m": (("number",), 0.5), "contact_phone": (("phone",), 0.3), "contact_email": (("email",), 0.3),
    "kelurahan": (("kelurahan",), 0.3), "kecamatan": (("kecamatan",), 0.3), "kota": (("kota",), 0.3),
    "private": (("yes_no",), 0.5), "source_url": (("url",), 0.5), "attachments": (("file", "url", "yes_no"), 0.5),
    "external_ref": (("crm_number",), 0.5), "rt_rw": (("rt_rw",), 0.3), "status": (("status",), 0.0),
    "category": (("category",), 0.0), "agency": (("agency",), 0.0),
}  # fmt: skip
# What cells alone may say, and from which share on.
_PLAIN = {
    "contact_email": 0.8, "contact_phone": 0.8, "kelurahan": 0.7, "kecamatan": 0.7, "point": 0.9, "lat": 0.95, "lon": 0.95,
    "category": 0.5, "agency": 0.5, "external_ref": 0.8, "status": 0.8, "occurred_at": 0.9,
}  # fmt: skip


def named(field_name: str, column: str, vocabulary: Vocabulary) -> float:
    """How well a column's name says a field, 0..1: a known name, the end of a nested one, or a part."""
    names = vocabulary.names.get(field_name, ())
    whole, last = spelled(column), spelled(column.rpartition(".")[2])
    for text, worth in ((whole, 1.0), (last, 0.9)):
        if text in names:
            return worth - 0.005 * names.index(text)
    parts = set(whole.split())
    within = [n for n in names if len(n) > 3 and set(n.split()) <= parts]
    return 0.5 + 0.02 * max(len(n.split()) for n in within) if within else 0.0


def fit(field_name: str, look: Look, vocabulary: Vocabulary, *, city: bool) -> float:
    """How well a column is a field; 0 where it is not. city: whether the file's places are of the gazetteer."""
    name = named(field_name, look.name, vocabulary)
    if not look.rows:  # an empty column can only go by its name
        return 0.4 * name if name > 0.8 and field_name not in ("id", "text") else 0.0
    if field_name == "id":
        return _id(look, name)
    if field_name in ("text", "title"):
        return _words(field_name, look, name)
    if field_name == "author_name":
        return name if look.words < 8 and look.shares.get("number", 0) < 0.2 else 0.0
    if field_name not in _HOLDS:
        return name if name > 0.6 else 0.0
    kinds, least = _HOLDS[field_name]
    share = max(look.shares.get(kind, 0.0) for kind in kinds)
    if field_name in ("kelurahan", "kecamatan", "kota") and not city and look.words < 5:
        least = 0.0  # another city's names: only the column's name can tell
    if field_name in ("lat", "lon") and look.shares.get(field_name, 0.0) < share:
        name *= 0.8
    if field_name in ("category", "agency") and (look.words > 12 or look.shares.get("number", 0) > 0.5):
        return 0.0
    if field_name == "attachments" and look.shares.get("yes_no", 0) == share and look.shares.get("file", 0) < 0.5:
        share *= 0.5  # yes or no: only the column's name says of what
    if name and share >= least:
        return name + 0.3 * share
    own = look.shares.get(field_name if field_name in ("lat", "lon") else kinds[0], 0.0)
    plain = _PLAIN.get(field_name)
    few = look.distinct < 0.5 or field_name not in ("category", "agency", "status")
    return 0.45 * own if plain and own >= plain and few and look.rows >= 3 else 0.0


def _id(look: Look, name: float) -> float:
    unique = look.distinct > 0.98 and look.filled > 0.98 and look.words < 3
    if look.rows and not unique and not (look.distinct > 0.9 and name > 0.9):
        return 0.0
    if name:
        return name + 0.3 * unique
    return 0.4 if unique and look.shares.get("crm_number", 0) > 0.8 else 0.0


def _words(field_name: str, look: Look, name: float) -> float:
    """Texts are long and differ; a title is shorter than a text."""
    if (
        look.words < 1.5
        or look.shares.get("number", 0) > 0.5
        or look.shares.get("url", 0) > 0.5
        or look.shares.get("date", 0) > 0.5
    ):
        return 0.0
    length = min(look.words / 15, 1.0)
    if field_name == "title":
        return name if look.words < 25 else 0.5 * name
    if name:
        return name + 0.5 * length
    return 0.5 * length if look.words >= 8 and look.distinct > 0.6 else 0.0
