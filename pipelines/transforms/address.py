"""The address as written in a text: street, RT/RW, landmark phrase, postcode. Words only, no gazetteer.

Reads the citizen's own spelling (jl., jln, gg., rt05/03, RT 005 RW.003, rt/rw 5/3). Belongs here: what
the words say. Not here: which kelurahan that is (locate).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

# Each begins with a letter, and looks back from behind it: a pattern that begins so is searched for many times faster.
_BOTH = re.compile(
    r"r(?<![a-z]r)\.?t\.?\s{0,2}[/&-]?\s{0,2}r\.?w\.?[\s.:]{0,4}0*(\d{1,3})\s{0,2}[/&,-]\s{0,2}0*(\d{1,3})(?!\d)"
)
_RT = re.compile(r"r(?<![a-z]r)\.?t\.?[\s.:-]{0,4}(?:no[\s.]{0,2})?0*(\d{1,3})(?!\d)")
_RW = re.compile(r"r(?<![a-z]r)\.?w\.?[\s.:-]{0,4}(?:no[\s.]{0,2})?0*(\d{1,3})(?!\d)")
_SLASH = re.compile(r"r(?<![a-z]r)\.?t\.?[\s.:]{0,4}0*(\d{1,3})\s{0,2}[/-]\s{0,2}0*(\d{1,3})(?![\d/])")
# Not a price ("Rp 12500", "12.500"), not part of a longer number; a full stop may follow.
POSTCODE = re.compile(r"(?<!\d)(?<!\d[.,])(?<!rp)(?<!rp[ .])\d{5}(?!\d|[.,]\d)")
_STREET = re.compile(
    r"[jJgG](?<![^\W_][jJgG])(?:(?:(?<=[jJ])[lL][nN]?|(?<=[gG])[gG])\b[.:]{0,2}"
    r"|(?:(?<=[jJ])(?P<long>[aA][lL][aA][nN])|(?<=[gG])[aA][nN][gG])\b:?)\s*([\w'./-]+(?:[ \t]+[\w'./-]+){0,5})"
)
# Words that end a street's name, or show that "jalan" and "gang" are no name at all.
_STOP = frozenset(
    """
    rt rw no nomor nmr kel kelurahan kec kecamatan km dekat dkt depan dpn seberang samping belakang sebelah di yang yg
    ada banyak sudah sdh udah rusak berlubang lubang bolong macet banjir gelap mati dan ini itu menuju arah ke dari
    mohon mhn tolong tlg jakarta kota pas sampai sampe karena krn setiap tiap malam pagi siang sore tidak tdk gak ga
    ngga nggak belum blm parah sangat umum protokol tol lingkungan setapak kampung warga gang masuk keluar kaki tembus
    buntu licin becek hancur ancur amblas ambles turun naik sempit lebar terus pintas sepanjang penuh semua tersebut
    tsb lagi juga saja aja bisa harus kalau kalo dengan dgn pada untuk utk oleh agar jadi masih sekitar aspal beton cor
    pejalan rumah mengganggu melanggar menghalangi membahayakan terganggu akses nasional provinsi kiri kanan tikus
    antara kami kita saya tempat alternatif utama trotoar atau serta maupun hingga sebagai nya perumahan komplek kompleks
    apartemen wilayah rawan sepi ramai bapak ibu pak bu terhadap terdapat terjadi mengakibatkan menyebabkan sekali
    diperbaiki dijadikan dibuat digunakan telah tanpa perlu butuh segera lampu pohon parkir sampah got saluran
    """.split()
)
# Part of many names, no name alone.
_GENERIC = frozenset(("raya", "utama", "besar", "kecil", "baru", "lama", "inspeksi", "h", "haji", "kh", "dr", "prof"))
_SUFFIX = frozenset(("raya", "dalam", "ujung", "i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x"))
_NEAR = re.compile(
    r"\b(?:depan|dpn|dekat|dkt|deket|seberang|sebrang|samping|sebelah|belakang|patokan(?:nya)?)\s*:?\s+"
    r"((?:[A-Z0-9][\w'&.-]*\s*){1,5})"
)
NEAR_WORDS = frozenset("depan dpn dekat dkt deket seberang sebrang samping sebelah belakang patokan patokannya".split())
_NO_LANDMARK = frozenset(
    "pagar rumah jembatan jalan jl jln gang gg toko warung sekolah masjid gerbang saya kami rt rw no itu kantor".split()
)


def rt_rw(text: str) -> tuple[int | None, int | None]:
    """(RT, RW) as named first; None where not named or 0. text: in lower case."""
    if both := _BOTH.search(text):
        return int(both.group(1)) or None, int(both.group(2)) or None
    rt, rw = _RT.search(text), _RW.search(text)
    if rt and not rw and (slash := _SLASH.search(text)):
        return int(slash.group(1)) or None, int(slash.group(2)) or None
    return (int(rt.group(1)) or None) if rt else None, (int(rw.group(1)) or None) if rw else None


def street(text: str, place_at: Callable[[Sequence[str], int], bool]) -> str | None:
    """First street named, as "jalan x" or "gang x" in lower case, at most four words; None if there is none.

    place_at(words, i): whether a kelurahan or kecamatan is named from word i on; the street's name ends
    there ("jl anggrek cawang"), unless it begins so ("jl tebet timur raya").
    """
    for match in _STREET.finditer(text):
        long, rest = match.groups()
        named = rest.replace(".", ". ").split()
        # "jalan" is also the thing that is broken, so its name needs a capital, a digit or "raya".
        if long and not (rest[0].isupper() or rest[0].isdigit() or "raya" in (w.lower() for w in named[1:2])):
            continue
        words = _name(named)
        for i in range(1, len(words)):
            if not _GENERIC.issuperset(words[:i]) and place_at(words, i):
                words = words[:i]
                break
        if words and not _GENERIC.issuperset(words):
            return f"{'gang' if match.group()[0] in 'gG' else 'jalan'} {' '.join(words[:4])}"
    return None


def ends_street(word: str) -> bool:
    """Whether a word after a place's name makes it a street's: raya, dalam, a number or Roman numeral."""
    return word in _SUFFIX or word.isdigit()


def _name(named: Sequence[str]) -> list[str]:
    words = []
    for word in named:
        bare = word.strip(".,'-/").lower()
        if not bare or bare in _STOP or (bare[:2] in ("rt", "rw") and bare[2:3].isdigit()):
            break
        words.append(bare)
        if (word.endswith(".") and len(bare) > 3) or (bare.isdigit() and len(words) > 1):
            break
    return words


def landmark(text: str) -> str | None:
    """What stands after "depan", "dekat" and the like, in the capitals of a name."""
    match = _NEAR.search(text)
    if not match:
        return None
    words = match.group(1).strip(" .,\n").split()
    while words and words[-1].strip(".,").lower() in _NO_LANDMARK:
        words.pop()
    return " ".join(words).strip(" .,") or None
