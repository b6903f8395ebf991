"""The house, block, estate and hamlet that a text names. Words only, no gazetteer.

Numbers count as a house's only where the words around say so: never an RT, a price, a phone, a year, a law's or a
school's number. Belongs here: what stands between the street and the RT. Not here: the street, RT and RW (address),
landmarks (landmarks).
"""

from __future__ import annotations

import re
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from pipelines.transforms.address import PlaceAt, found, name_of

_NO = r"n(?:omor|omer|omr|mr|o)[\s.:]{0,3}"
_VALUE = r"\d{1,4}(?:\s?-?\s?[abc]|-?[a-z])?(?![a-z0-9])(?:\s{0,2}[-/]\s{0,2}\d{1,4}[a-z]?(?![a-z0-9]))?"
_AT_END = r"(?![a-z0-9]|\s?[-/]\s?\d|[.,]\d{3})"
# Begins with a letter, and looks back from behind it, as the patterns of address do.
_NUMBER = re.compile(rf"n(?<![a-z0-9]n){_NO[1:]}(?P<number>{_VALUE}){_AT_END}(?!\s{{0,2}}(?:tahun|thn|th)\b)")
_BLOCK = re.compile(
    r"b(?<![a-z0-9]b)l(?:oc?k|oc|k)[\s.:]{1,3}(?P<head>\d{0,3}-?[a-z]{1,2}|\d{1,3})"
    rf"(?:(?P<apart>[\s.-]{{0,3}})(?P<digits>\d{{1,3}}[a-z]?)(?![a-z0-9]))?(?:\s{{0,2}}(?P<sep>[/-]|,?\s?{_NO})\s{{0,2}}"
    rf"(?P<number>{_VALUE}))?(?![a-z0-9])"
)
_SLASH = re.compile(r"/\s?(?P<number>\d{1,3}[a-z]?)(?![a-z0-9]|\s?[/-]\s?\d)")
_HEAD = re.compile(r"(?<![a-z0-9/.-])([a-z]{1,2}\d{0,2}|[ivx]{1,5}[a-z]?)\s?$")
_LOT = re.compile(r"[a-z]{1,2}\d{1,2}")
_ROMAN = re.compile(r"[ivx]+[a-z]?")
_RT_SLIP = re.compile(r"r[a-z]\d")  # "ri05/03"
# What a number may be of instead; and words that stand before "no" in any sentence.
_OTHER_NUMBER = frozenset(
    """
    hp telp tlp tlpn telpon telepon wa whatsapp sms call center rek rekening ktp kk nik nikk sim stnk polisi pol plat
    seri id kode urut antri antrian antrean tiket laporan lapor pengaduan aduan surat berkas registrasi pendaftaran
    perda perkada pergub perwali perpres permen pp uu undang pasal ayat sk skep keputusan peraturan instruksi se imb shm
    sertifikat sertipikat akta bus bis angkot lyn trayek rute koridor tps kamar lantai lt tiang gardu lampu pju meter
    pelanggan pel idpel nop spt anak juara ranking peringkat halaman kursi gate pintu loket poli bpjs jk jalur
    ada dan atau ke dari yang yg nya itu ini dengan dgn adalah punya minta ganti lihat sudah belum hubungi hub pakai
    oleh untuk utk jadi menjadi sebagai bukan kontak darurat cp gojek grab paket resi sd sdn smp smpn sma sman smk smkn
    tk paud sekolah rt rw tahun thn pada tersebut tsb saya kami sebelumnya
    """.split()
)
_NO_BLOCK = frozenset("di ke yg rt rw no gg jl km sd tk kk dg tp sm rs pt cv kv hp am pm wc ac ph pp uu".split())
_KNOWN_AS_BLOCK = re.compile(r"(?:terminal|halte|stasiun|mrt|pasar|plaza|mall?|arah|ke|dari)\s*$")
_SCHOOL = re.compile(r"\b(?:sdn?|mi|tk)\b[^,;\n]{0,30}$")

_ESTATE_OF = {
    "perum": "perumahan", "prum": "perumahan", "perumahan": "perumahan", "perumnas": "perumnas", "komplek": "komplek",
    "kompleks": "komplek", "komp": "komplek", "kompl": "komplek", "apartemen": "apartemen", "apartement": "apartemen",
    "apartment": "apartemen", "apart": "apartemen", "apt": "apartemen", "rusun": "rusun", "rusunawa": "rusunawa",
    "rusunami": "rusunami", "cluster": "cluster", "klaster": "cluster",
}  # fmt: skip
ESTATES = frozenset(_ESTATE_OF)
HAMLETS = frozenset(("kampung", "kp", "kampoeng", "kpg"))
_NO_ESTATE = frozenset("rakyat bulog peruri damri perhutani ppd jasa pertanian pegadaian tersebut ktp mbr".split())
_NO_HAMLET = frozenset("tangguh kumuh lain halaman inggris iklim siaga kb mandiri hijau bebas bersih".split())
_ENDS_HAMLET = re.compile(
    r"[ \t]*(?:[,.;:()\n!?/-]|$|\d|(?:rt|rw|gang|gg|no|kel|kelurahan|jl|jln|jalan|blok|kec)\b)", re.I
)


class Premises(NamedTuple):
    """Columns of contracts.REPORTS of the same names."""

    house_number: str | None = None
    block: str | None = None
    estate: str | None = None
    hamlet: str | None = None


def premises(
    plain: str,
    folded: str,
    spaced: str,
    said: AbstractSet[str],
    behind: str | None,
    place_at: PlaceAt,
    *,
    in_street: bool,
) -> Premises:
    """House number, block, estate and hamlet.

    plain: in ASCII; folded: that in lower case; spaced: that with blanks for all that is neither letter nor digit; said: its
    words, as far as they are marks of ESTATES or HAMLETS; behind: the number that address.street found behind the
    street; in_street: whether it found one. place_at: as there.
    """
    estate = _estate(plain, spaced, ESTATES & said, place_at) if not ESTATES.isdisjoint(said) else None
    hamlet = _hamlet(plain, spaced, HAMLETS & said, place_at) if not HAMLETS.isdisjoint(said) else None
    block, number = _block(folded)
    if block is None and "/" in folded and (estate or in_street):
        block, number = _slashed(folded, in_estate=estate is not None)
    number = number or behind
    if number is None:
        lot, number = _numbered(folded, spaced)
        block = block or (lot if estate else None)
    return Premises(number, block, estate, hamlet)


def _numbered(text: str, spaced: str) -> tuple[str | None, str | None]:
    """("B2", "12A") of "b2 no 12a"; the first is None where no such word stands before "no". text: in lower case;
    spaced: its words apart."""
    for match in _NUMBER.finditer(text):
        before = spaced[max(0, match.start() - 24) : match.start()].rstrip().rpartition(" ")[2]
        if before not in _OTHER_NUMBER:
            lot = _LOT.fullmatch(before) and before[:2] not in _NO_BLOCK
            return before.upper() if lot else None, _tidy(match.group("number"))
    return None, None


def _block(text: str) -> tuple[str | None, str | None]:
    """(block, number) after "blok". text: in lower case."""
    for match in _BLOCK.finditer(text):
        head, apart, digits, sep, number = match.group("head", "apart", "digits", "sep", "number")
        if head in _NO_BLOCK:
            continue
        bare = not digits and not number
        if bare and (head == "m" or _KNOWN_AS_BLOCK.search(text, max(0, match.start() - 12), match.start())):
            continue  # Blok M and its like are quarters
        if digits and digits.isdigit() and number and apart and sep == "-":  # "j 19 - 40"
            number = f"{digits}-{number}"
        elif digits and (number or not apart):
            head += digits
        elif digits:
            number = digits
        return head.replace("-", "").upper(), _tidy(number) if number else None
    return None, None


def _slashed(text: str, *, in_estate: bool) -> tuple[str | None, str | None]:
    """(block, number) of "c2/10", and the number of "ii/12": a lane's and a house's. text: in lower case."""
    for match in _SLASH.finditer(text):
        left = _HEAD.search(text, max(0, match.start() - 8), match.start())
        if not left or _SCHOOL.search(text, max(0, match.start() - 40), match.start()):
            continue
        head = left.group(1)
        if _ROMAN.fullmatch(head):
            return None, _tidy(match.group("number"))
        letters = head.rstrip("0123456789")
        if (
            letters.isalpha()
            and letters not in _NO_BLOCK
            and (in_estate or head != letters)
            and not _RT_SLIP.match(head)
        ):
            return head.upper(), _tidy(match.group("number"))
    return None, None


def _tidy(number: str) -> str:
    """ "031 - a" is 31A; "4 - 5" is 4-5."""
    if number.isdigit():
        return number.lstrip("0") or "0"
    first, dash, second = "".join(number.upper().split()).partition("-")
    return (first.lstrip("0") or "0") + (dash if second[:1].isdigit() else "") + second


def _estate(plain: str, spaced: str, marks: AbstractSet[str], place_at: PlaceAt) -> str | None:
    for _, end, mark in found(spaced, marks):
        words, _ = name_of(plain, end, 4, place_at)
        if words and words[0] not in ESTATES and words[0] not in _NO_ESTATE:
            return f"{_ESTATE_OF[mark]} {' '.join(words)}"
    return None


def _hamlet(plain: str, spaced: str, marks: AbstractSet[str], place_at: PlaceAt) -> str | None:
    for _, behind, _ in found(spaced, marks):
        words, end = name_of(plain, behind, 2, place_at)
        if not words or words[0] in _NO_HAMLET or words[0].isdigit() or place_at(["kampung", *words], 0):
            continue
        if plain[behind:end].lstrip(". ")[:1].isupper() or _ENDS_HAMLET.match(plain, end):
            return f"kampung {' '.join(words)}"
    return None
