"""The places that the words of a report and its source's fields name, each with how much it says.

Names are looked for the longest first; one counts less where it may be a street's, a route's or a daily word. Belongs
here: finding what was said. Not here: weighing it (evidence), what names mean (gazetteer).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from operator import itemgetter
from typing import NamedTuple

from pipelines.transforms import address
from pipelines.transforms.evidence import PASSED, Heard
from pipelines.transforms.gazetteer import LONG, START, Gazetteer, Name, join
from pipelines.transforms.spot import KECAMATAN, KELURAHAN, Words, words_of

READ = 4_000  # characters of a text that are read: addresses stand at the beginning
_MARKS = 50  # times that "kel." is followed: a text that says it more often is no address
# Before a name: it is a street's ...
_ROAD = frozenset("jl jln jalan gg gang raya".split())
# ... a river's, a station's, an office's or an estate's, which may lie elsewhere ...
_THING = frozenset(
    """
    tol flyover fo underpass stasiun halte pasar terminal jembatan simpang perempatan pertigaan bundaran sungai kali
    waduk danau situ exit gerbang gt polsek polres koramil rs rsud sakit universitas kampus mall plaza taman perumnas
    apartemen apartment pondok puri villa royal patra
    """.split()
)
# ... or where somebody goes to or comes from.
_TOWARDS = frozenset(("arah", "menuju", "ke", "dari", "jurusan", "tujuan", "trayek", "rute", "via"))
# After a daily word that is a kelurahan's name and asked for: the name ends here ("kel dukuh kec ..", not "dukuh kupang").
_CLOSING = frozenset("kec kecamatan rt rw jakarta jakpus jakut jakbar jaksel jaktim dki kota no".split()) | {""}
_SCHOOLS = frozenset("sd sdn smp smpn sma sman smk smkn tk paud".split())  # their number is no street's
_PRIMARY = frozenset(("sd", "sdn"))  # bear their kelurahan's name; the others may bear the kecamatan's
_PEOPLE = frozenset("warga lurah daerah kampung kp kampoeng".split())
_SECTION = frozenset(("raya", "dalam", "ujung"))
_LANE = frozenset(("gang", "gg"))
_NUMBER = frozenset("no nomor nmr blok".split())
_COMPASS = frozenset("timur barat utara selatan tengah lor kidul wetan kulon".split())
# After a name: an estate or a street that only borrowed it, often from the kelurahan next door.
_BORROWED = frozenset(
    """
    indah jaya permai asri baru lama tama mukti mulya mulyo madya harapan kencana residence regency square plaza park
    kuburan
    """.split()
)
_BREAK = re.compile(r"[,;\n()/.|]")  # where a piece of an address ends
_COMMA = re.compile(r"[,;\n(|]")
_PREFIX = re.compile(
    r"^(?:kelurahan|kel\.?|kecamatan|kec\.?|kota administrasi|kota adm\.?|kota|kabupaten administrasi|kabupaten)\s+",
    re.I,
)

Fields = tuple[str | None, str | None, str | None]  # kelurahan, kecamatan, kota as the source filled them in


def hear(spoken: str, gazetteer: Gazetteer) -> Heard:
    """The places that are named in a text."""
    return hear_words(words_of(spoken[:READ]), (None, None, None), gazetteer)[0]


def hear_words(read: Words, fields: Fields, gazetteer: Gazetteer) -> tuple[Heard, str | None]:
    """(the places that words and fields name, the postcode)."""
    heard = Heard()
    if any(fields):
        _read_fields(heard, *fields, gazetteer)
    _read_names(heard, read, gazetteer)
    known = not gazetteer.postcodes.keys().isdisjoint(read.tokens)
    return heard, _read_postcode(heard, read.folded, gazetteer) if known else None


def _read_fields(
    heard: Heard, kelurahan: str | None, kecamatan: str | None, kota: str | None, gazetteer: Gazetteer
) -> None:
    """Fields the source filled in are the strongest words; a kecamatan that the gazetteer lacks, or a kota
    that it knows as outside, speaks for outside and against a kelurahan that only sounds alike."""
    asked = {"kota": kota, "kecamatan": kecamatan, "kelurahan": kelurahan}
    names = {level: join(_PREFIX.sub("", value.strip())) for level, value in asked.items() if value}
    meant = {level: _exact(name, level, gazetteer) for level, name in names.items() if name}
    if not meant.get("kelurahan", True) and meant.get("kecamatan", True):  # one slip is forgiven, not two
        meant["kelurahan"] = _nearly(names["kelurahan"], "kelurahan", gazetteer)
    elif not meant.get("kecamatan", True) and meant.get("kelurahan"):
        area = gazetteer.kecamatan_of[gazetteer.row_of[meant["kelurahan"][0].code]]
        meant["kecamatan"] = [m for m in _nearly(names["kecamatan"], "kecamatan", gazetteer) if m.code == area]
    unknown = [level for level, meanings in meant.items() if not meanings]
    abroad = "kecamatan" in unknown or (
        "kota" in unknown and any(m.level == "outside" for m in gazetteer.names.get(names["kota"], ()))
    )
    if abroad or (unknown and len(unknown) == len(meant) and unknown != ["kota"]):
        heard.outside = gazetteer.weights.field
    for level, meanings in meant.items():
        for meaning in meanings:
            said = f"{level}={(asked[level] or '').strip()}"
            if level == "kelurahan":
                row = gazetteer.row_of[meaning.code]
                wrong = bool(meant.get("kecamatan")) and gazetteer.kecamatan_of[row] != meant["kecamatan"][0].code
                heard.row(
                    row,
                    gazetteer.weights.passing if abroad else 0.55 if wrong else gazetteer.weights.field,
                    "reported",
                    said,
                )
            elif level == "kecamatan":
                heard.area(meaning.code, gazetteer.weights.field, said)
            else:
                heard.town(meaning.code, gazetteer.weights.field)
            heard.words[said] = None


def _exact(name: str, level: str, gazetteer: Gazetteer) -> list[Name]:
    return [m for m in gazetteer.names.get(name, ()) if m.level == level]


def _nearly(name: str, level: str, gazetteer: Gazetteer) -> list[Name]:
    right = gazetteer.misspelt(name, level)
    return _exact(right, level, gazetteer) if right else []


def _read_names(heard: Heard, read: Words, gazetteer: Gazetteer) -> None:
    """Longest names first, left to right; the words around tell kelurahan, kecamatan, street or route."""
    _, _, folded, spaced, tokens, said = read
    starts, after, at = gazetteer.starts, 0, 0  # at: where the token before `after` ends
    for i in [i for i, start in enumerate(map(_FIRST, tokens)) if start in starts]:
        if i < after or not (n := _longest(tokens, i, gazetteer)):
            continue
        at = _end(spaced, at, tokens[after:i])
        opening = folded[at : spaced.index(tokens[i], at)]
        after = i + n
        at = _end(spaced, at, tokens[i:after])
        closing = folded[at : spaced.index(tokens[after], at)] if after < len(tokens) else ""
        name, words = "".join(tokens[i:after]), " ".join(tokens[i:after])
        around = _around(tokens, i, after, opening, closing)
        _read_name(heard, gazetteer.names[name], name, around, words, gazetteer)
    for level, marks in (("kelurahan", KELURAHAN), ("kecamatan", KECAMATAN)):
        if not marks.isdisjoint(said):
            _read_misspelt(heard, tokens, level, marks, gazetteer)
    for meaning, words in heard.everyday:  # counts only where another word says the same
        if meaning.level == "kelurahan":
            row = gazetteer.row_of[meaning.code]
            if heard.kecamatan.get(gazetteer.kecamatan_of[row], {}).keys() - {words}:
                heard.row(row, gazetteer.weights.enough, "named", words)
                heard.words[words] = None
        elif gazetteer.kota_of_kecamatan[meaning.code] in heard.kota:
            heard.area(meaning.code, gazetteer.weights.enough, words)
            heard.words[words] = None


class _Around(NamedTuple):
    """The words before and behind a name ("" where there is none), and whether it opens or closes its
    piece of the address ("jl melati 5, cawang, jakarta timur"); first: no word stands before it."""

    before: str
    behind: str
    opens: bool
    closes: bool
    first: bool


_FIRST = itemgetter(slice(LONG))


def _longest(tokens: Sequence[str], i: int, gazetteer: Gazetteer) -> int:
    """Of how many words from i on the longest name is; 0 where there is none."""
    names = gazetteer.names
    if "".join(tokens[i : i + 4])[:LONG] not in gazetteer.long_starts:  # a short name, if any
        if i + 2 <= len(tokens) and (name := tokens[i] + tokens[i + 1]) in names and len(name) >= START:
            return 2
        return 1 if tokens[i] in names and len(tokens[i]) >= START else 0
    for n in (4, 3, 2, 1):
        if i + n <= len(tokens) and (name := "".join(tokens[i : i + n])) in names and len(name) >= START:
            return n
    return 0


def _end(spaced: str, read: int, words: Sequence[str]) -> int:
    """Where the last of words ends that follow each other from `read` on."""
    for word in words:
        read = spaced.index(word, read) + len(word)
    return read


def _around(tokens: Sequence[str], i: int, end: int, opening: str, closing: str) -> _Around:
    before = tokens[i - 1] if i else ""
    behind = tokens[end] if end < len(tokens) else ""
    opens = not i or (opening != " " and _COMMA.search(opening) is not None)
    closes = end == len(tokens) or (closing != " " and _BREAK.search(closing) is not None)
    return _Around(before, behind, opens, closes, not i)


def _kind(around: _Around) -> str:
    """What the words around a name make of it: one of evidence.KINDS."""
    before, behind, opens, closes, first = around
    if before in _TOWARDS:
        return "towards"
    if before in _THING:
        return "thing"
    if before in _PRIMARY:
        return "school"
    if not closes and behind in _BORROWED:
        return "borrowed"
    if behind in _LANE:
        return "lane"
    if not closes and behind in _COMPASS:
        return "compass"
    if behind in _SECTION and not closes:
        return "street"
    if before in _ROAD:
        return "numbered" if behind in _NUMBER or address.ends_street(behind) else "street"
    if before in _PEOPLE:
        return "people"
    if not closes and (behind in _NUMBER or (address.ends_street(behind) and before not in _SCHOOLS)):
        return "numbered"
    if opens and closes and not first:
        return "piece"
    return "alone" if opens or closes else "bare"


def _read_name(
    heard: Heard, meanings: Sequence[Name], name: str, around: _Around, words: str, gazetteer: Gazetteer
) -> None:
    weights, levels = gazetteer.weights, {m.level for m in meanings}
    asked = "kelurahan" if around.before in KELURAHAN else "kecamatan" if around.before in KECAMATAN else ""
    if asked not in levels:
        asked = ""
    kind = _kind(around)
    passing = kind in PASSED
    heard_it = False
    # A kelurahan called Ujung ("end") is meant where its name stands for itself, hardly where a street has an end.
    daily = name in gazetteer.weak or (name in _SECTION and kind != "piece")
    for level, code in meanings:
        if asked and level != asked:
            continue
        if not asked and daily and level in ("kelurahan", "kecamatan"):
            if not passing:
                heard.everyday.append((Name(level, code), words))
            continue
        heard_it = True
        weight = weights.asked if asked else weights.passing if passing else weights.named
        if asked and name in gazetteer.weak and around.behind not in _CLOSING:
            weight = weights.shared
        if level == "kelurahan":
            row = gazetteer.row_of[code]
            if not asked:
                weight = (
                    min(weights.word[kind], weights.stem)
                    if name in gazetteer.stems and kind != "lane"
                    else weights.word[kind]
                )
                if "kecamatan" in levels:  # 24 kelurahan share their kecamatan's name
                    weight = min(weight, weights.also_kecamatan.get(kind, weights.shared))
                    heard.shared.add(row)
            heard.row(row, weight, "named", words, "asked" if asked else kind)
        elif level == "kecamatan":
            heard.area(code, weight, words)
        elif level == "kota":
            heard.town(code, 0.75)
        elif level == "outside":
            heard.outside = max(heard.outside, 0.8 if name.startswith(("kota", "kabupaten")) else weight + 0.1)
        else:
            near = around.before not in _TOWARDS
            heard.landmark = heard.landmark or (code if near else None)
            if row_code := gazetteer.landmark_at[code][2]:
                heard.row(gazetteer.row_of[row_code], weights.landmark if near else weights.passing, "landmark", words)
    if heard_it:
        heard.words[words] = None


def _read_misspelt(
    heard: Heard, tokens: Sequence[str], level: str, marks: frozenset[str], gazetteer: Gazetteer
) -> None:
    """A name that stands after "kel." or "kec." and is one slip away from a known one."""
    for i in [i + 1 for i, token in enumerate(tokens[:-1]) if token in marks][:_MARKS]:
        tried = [("".join(tokens[i : i + n]), " ".join(tokens[i : i + n])) for n in (3, 2, 1) if i + n <= len(tokens)]
        if any(m.level == level for name, _ in tried for m in gazetteer.names.get(name, ())):
            continue
        for name, words in tried:
            if right := gazetteer.misspelt(name, level):
                code = next(m.code for m in gazetteer.names[right] if m.level == level)
                if level == "kelurahan":
                    heard.row(gazetteer.row_of[code], gazetteer.weights.misspelt, "named", words)
                else:
                    heard.area(code, gazetteer.weights.shared, words)
                heard.words[words] = None
                break


def _read_postcode(heard: Heard, folded: str, gazetteer: Gazetteer) -> str | None:
    """The first postcode of the gazetteer that is named."""
    for match in address.POSTCODE.finditer(folded):
        if rows := gazetteer.postcodes.get(match.group()):
            for row in rows:
                heard.row(
                    row,
                    gazetteer.weights.postcode if len(rows) == 1 else gazetteer.weights.passing,
                    "postcode",
                    match.group(),
                )
            heard.words[match.group()] = None
            return match.group()
    return None
