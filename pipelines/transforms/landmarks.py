"""The landmark that a text names: after "depan" or "dekat", or a place of a public kind. Words only, no gazetteer.

Citizens write "halte x" or "sdn 03 pagi" without capitals, so the words behind a kind are a name only as far as
nothing says that the sentence goes on. Belongs here: what the words say. Not here: landmarks whose point is known
(models/gazetteer), streets (address).
"""

from __future__ import annotations

import re
from collections.abc import Set as AbstractSet

from pipelines.transforms.address import GENERIC, NEXT, SENTENCE, PlaceAt, found

_NEAR = re.compile(
    r"\b(?:depan|dpn|dekat|dkt|deket|seberang|sebrang|samping|sebelah|belakang|patokan(?:nya)?)\s*:?\s+"
    r"((?:[A-Z0-9][\w'&.-]*\s*){1,5})"
)
NEAR_WORDS = frozenset("depan dpn dekat dkt deket seberang sebrang samping sebelah belakang patokan patokannya".split())
_STREET = frozenset(("jalan", "jl", "jln", "gang", "gg"))
_NO_LANDMARK = frozenset(
    "pagar rumah jembatan jalan jl jln gang gg toko warung sekolah masjid gerbang saya kami rt rw no itu kantor".split()
)

# Kinds of places that are public; some of two words, by their second. With "tol" only its gates: the road is no place.
KINDS = frozenset(
    """
    stasiun halte pasar masjid mesjid musholla mushola musola musolla mushollah gereja vihara wihara terminal mal mall
    plaza puskesmas rsud rsu rsia rs sakit sd sdn sdit smp smpn smpit sma sman smait smk smkn tol universitas univ kampus
    spbu rptra
    """.split()
)
_FIRST = {"sakit": ("rumah",), "tol": ("gerbang", "exit", "pintu")}  # what must stand before such a second word
_SCHOOLS = frozenset(("sd", "sdn", "sdit", "smp", "smpn", "smpit", "sma", "sman", "smait", "smk", "smkn"))
_ABBREVIATED = frozenset("rs rsu rsud rsia univ sdn smpn sman smkn".split())  # a full stop ends no sentence there
_SHIFTS = frozenset(("pagi", "siang", "petang"))  # of schools: "sdn 03 pagi"
_UNITS = frozenset(
    "hari jam bulan minggu tahun thn th bln orang org kali x ribu juta rb jt meter mtr m km anak kelas".split()
)
_LONG = frozenset(("masjid", "mesjid", "musholla", "mushola", "gereja", "rsud", "rs"))  # have names of three words
# Between a kind and its name.
_SORTS = frozenset("bus bis busway transjakarta tj brt mrt lrt krl kereta api jami jamik agung negeri islam".split())
# Behind a kind these begin no name: a sort of it, or the sentence.
_NO_NAME = SENTENCE | frozenset(
    """
    tumpah kaget malam tradisional modern murah bebas liar krempyeng dadakan rakyat kecil pusat kelas tahun sakit swasta
    rujukan bersalin pelayanan publik komite favorit terbuka dasar menengah anak adik kakak pun guru siswa murid wali
    kepala petugas pegawai dokter perawat gratis pengajian selesai tutup buka besok siapa bagaimana mengapa meski
    sedangkan mohon kab surabaya dg bagus jelek gedung kantor parkiran toilet poli ugd igd bpjs online ppdb ditambah
    """.split()
)
_VERB = re.compile(r"(?:di|me[mn]|me(?=[lrwy])|ter)[a-z]{5,}|ber[a-z]{4,}|[a-z]{3,}(?:nya|kan)")
# Before a kind: where somebody goes or comes from, or a street of that name.
_PASSING = frozenset(
    "arah menuju ke dari jurusan tujuan trayek rute via jl jln jalan gg gang dokter guru siswa murid anak sampai sd".split()
)


def landmark(spoken: str, plain: str, spaced: str, said: AbstractSet[str], place_at: PlaceAt) -> str | None:
    """What is named behind "depan", "dekat" and the like in the capitals of a name, else a place of a public kind;
    as written.

    spoken: as written; plain: in ASCII; spaced: the same in lower case with blanks for all that is neither letter nor
    digit; said: its words, as far as they are of NEAR_WORDS or KINDS; place_at: as for address.street.
    """
    near = _near(spoken) if not NEAR_WORDS.isdisjoint(said) else None
    return near or (_public(plain, spaced, KINDS & said, place_at) if not KINDS.isdisjoint(said) else None)


def _near(text: str) -> str | None:
    match = _NEAR.search(text)
    if not match:
        return None
    words = match.group(1).strip(" .,\n").split()
    while words and words[-1].strip(".,").lower() in _NO_LANDMARK:
        words.pop()
    if words and words[0].strip(".,").lower() in _STREET:  # it is the address' street
        return None
    return " ".join(words).strip(" .,") or None


def _public(plain: str, spaced: str, kinds: AbstractSet[str], place_at: PlaceAt) -> str | None:
    for start, at, kind in found(spaced, kinds):
        begin = start
        before, word = _word_before(spaced, begin)
        if kind in _FIRST:
            if word not in _FIRST[kind]:
                continue
            begin = before
            before, word = _word_before(spaced, begin)
        if (
            word in _PASSING
            or word.isdigit()
            or plain[begin - 1 : begin] in ("-", "/")
            or plain[at : at + 1] in _JOINED
        ):
            continue
        if end := _name_ends(plain, at, kind, place_at):
            return " ".join(plain[begin:end].split())
    return None


_JOINED = ("-", "/", "&")


def _word_before(spaced: str, at: int) -> tuple[int, str]:
    """(where it begins, the word) that stands before; (0, "") where there is none."""
    left = spaced[max(0, at - 24) : at].rstrip()
    word = left.rpartition(" ")[2]
    return at - len(spaced[max(0, at - 24) : at]) + len(left) - len(word), word


def _name_ends(text: str, at: int, kind: str, place_at: PlaceAt) -> int:
    """Where the name ends that stands behind a kind; 0 where none does."""
    school = kind in _SCHOOLS
    most = 3 if school or kind in _LONG else 2
    words: list[str] = []
    ends: list[int] = []
    at += text[at : at + 1] == "." and kind in _ABBREVIATED
    while match := NEXT.match(text, at):
        word = match.group(1)
        bare = word.strip("'-").lower()
        if not words and bare in _SORTS:
            at = match.end(1)
            continue
        if not words:
            proper = word[0].isupper() and not word.isupper()
            most += proper
        elif proper and word[0].islower() and len(words[-1]) > 2:  # but "Al ikhlas"
            break
        if len(words) == most or not _goes_on(bare, words, school=school):
            break
        words.append(bare)
        ends.append(match.end(1))
        if match.group(2) and not (match.group(2) == "." and len(bare) < 4):
            break
        at = match.end()
    if not words or GENERIC.issuperset(words) or not _is_name(kind, words, proper=proper):
        return 0
    if words[-1].isdigit() and _counts(text, ends[-1]):
        return 0
    named = place_at(words, 0)
    if named and not proper and len(words) > named and not words[named].isdigit():  # "pasar cawang becek"
        return ends[named - 1]
    return ends[-1]


def _counts(text: str, at: int) -> bool:
    """Whether the number that ends there is no name's: "smp 3 hari", "smp 39,5"."""
    match = NEXT.match(text, at)
    return text[at : at + 1] in ("\u00b0", "%") or (match is not None and match.group(1).lower() in _UNITS)


def _goes_on(word: str, words: list[str], *, school: bool) -> bool:
    """Whether a word is part of the name that began with words."""
    if word[:1].isdigit():
        return school and word.isdigit() and len(word) <= 3 and not any(w.isdigit() for w in words)
    if school and words and word in _SHIFTS:
        return True
    return bool(word) and word not in _NO_NAME and not _VERB.fullmatch(word) and not (words and words[-1].isdigit())


def _is_name(kind: str, words: list[str], *, proper: bool) -> bool:
    """Whether words can name a school at all: "smp" is also "sampai", "sd" also "s/d"."""
    numbered = any(w.isdigit() for w in words)
    if kind in ("sd", "smp", "sma", "smk"):
        return (proper or numbered) and not (kind == "sd" and words[0].isdigit() and len(words) == 1)
    return len(words) > 1 or len(words[0]) > 1
