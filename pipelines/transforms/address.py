"""The address as written in a text: street, RT/RW, postcode, any name's end. Words only, no gazetteer.

Reads the citizen's own spelling (jl., jln, gg., rt05/03, RT 005 RW.003, rt/rw 5/3). Belongs here: what
the words say. Not here: house, block and estate
(premises), landmarks (landmarks), which kelurahan that is (locate).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

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
STOP = frozenset(
    """
    rt rw no nomor nomer nmr kel kelurahan kec kecamatan km dekat dkt depan dpn seberang samping belakang sebelah di yang yg
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
# The same where a name needs no "jl": there the sentence goes on in more ways.
SENTENCE = STOP | frozenset(
    """
    adalah akan akhirnya apa apabila apakah ataupun aman anggota baik bahkan bahwa bbrp beberapa bersama bila
    bikin blk blm block blok bukan cuma dalam dapat dapet demi depannya didepan dll dlm dong dpt dsb dulu gmn gimana hampir
    hanya hari hidup hilang ikut jam jangan jd jg jika jl jln jual jualan jalur justru kalo kapan kav kedua keduanya
    kebanyakan kembali kemarin kemudian kenapa kerja ketua khususnya klo kmrn knp kok kotor krna kurang lagi lain lainnya
    lalu lantai lebih lewat lokasi lt lurah maka makin maksimal malah mana masing mau melalui membawa membantu mgkn
    milik minta mulai namun nih nmr nunggu nutup nyala opname orang padahal padam para persis pihak posisi pukul
    rame rata saat saatnya sama sambil satu sblm sby se sebelahnya sebelum sebenarnya
    sehingga sejak sekarang sekolah selain selalu selama seluruh sementara senilai sendiri seperti sering
    sesuai setelah setempat seharusnya sisi skrg smp smpe smua spt sm supaya sy tanpa tapi td tdi tepat tepatnya terakhir
    terima terimakasih terkait terlalu terlebih terdampak ternyata tetap tetapi tgl tiba timbul tower tp trimakasih trs
    tuh unit usaha via volume waktu walau warung wc yaa yaitu zonasi hunian penghuni kios lapak pedagang pungli
    terdekat rp dekatnya pembangunan perbaikan proyek air bau sound toa suara jalan jl gg dk mereka meminta tertera tujuan
    ket ktp
    """.split()
)
# Part of many names, no name alone.
GENERIC = frozenset(("raya", "utama", "besar", "kecil", "baru", "lama", "inspeksi", "h", "haji", "kh", "dr", "prof"))
_OF_ESTATES = frozenset("taman griya graha pondok puri permata bukit villa vila the puncak bumi wisma".split())
_SUFFIX = frozenset(("raya", "dalam", "ujung", "i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x"))
PlaceAt = Callable[[Sequence[str], int], int]  # how many words from that one on name an area; 0: none does


def rt_rw(text: str) -> tuple[int | None, int | None]:
    """(RT, RW) as named first; None where not named or 0. text: in lower case."""
    if both := _BOTH.search(text):
        return int(both.group(1)) or None, int(both.group(2)) or None
    rt, rw = _RT.search(text), _RW.search(text)
    if rt and not rw and (slash := _SLASH.search(text)):
        return int(slash.group(1)) or None, int(slash.group(2)) or None
    return (int(rt.group(1)) or None) if rt else None, (int(rw.group(1)) or None) if rw else None


def street(text: str, place_at: PlaceAt) -> tuple[str | None, str | None]:
    """(street, number): the first one named, as "jalan x" or "gang x" in lower case, at most four words; the number
    that stands right behind it, if it can only be a house's ("jl x 389", "jl x 8/40"). None where there is none.

    place_at(words, i): whether a kelurahan or kecamatan is named from word i on; the street's name ends
    there ("jl anggrek cawang"), unless it begins so ("jl tebet timur raya").
    """
    for match in _STREET.finditer(text):
        long, rest = match.groups()
        named = rest.replace(".", ". ").split()
        # "jalan" is also the thing that is broken, so its name needs a capital, a digit or "raya".
        if long and not (rest[0].isupper() or rest[0].isdigit() or "raya" in (w.lower() for w in named[1:2])):
            continue
        words, number = _name(named)
        for i in range(1, len(words)):
            if not GENERIC.issuperset(words[:i]) and place_at(words, i):
                words, number = words[:i], None
                break
        if words and not GENERIC.issuperset(words):
            kind = "gang" if match.group()[0] in "gG" else "jalan"
            return f"{kind} {' '.join(words[:4])}", number if len(words) <= 4 else None
    return None, None


def ends_street(word: str) -> bool:
    """Whether a word after a place's name makes it a street's: raya, dalam, a number or Roman numeral."""
    return word in _SUFFIX or word.isdigit()


def _name(named: Sequence[str]) -> tuple[list[str], str | None]:
    words: list[str] = []
    for word in named:
        bare = word.strip(".,'-/").lower()
        if not bare or bare in STOP or (bare[:2] in ("rt", "rw", "no") and bare[2:3].isdigit()):
            break
        bare, _, house = bare.partition("/")
        if bare.isdigit() and words and len(bare) > 2:  # so high a number is a house's
            return words, bare.lstrip("0") or None
        words.append(bare)
        if house:
            return words, house.lstrip("0").upper() if house[0].isdigit() and house.isalnum() else None
        if (word.endswith(".") and len(bare) > 3) or (bare.isdigit() and len(words) > 1):
            break
    return words, None


_LOT = re.compile(r"[a-z]{1,2}\d")  # "c2": a block
NEXT = re.compile(r"[ \t]*([\w'&-]+)([^\w \t]?)")


def found(spaced: str, marks: Iterable[str]) -> list[tuple[int, int, str]]:
    """(begin, end, mark) of every place where one of the marks stands as a word, in order. spaced: words apart by
    blanks."""
    padded, places = f" {spaced} ", []
    for mark in marks:
        at = padded.find(f" {mark} ")
        while at >= 0:
            places.append((at, at + len(mark), mark))
            at = padded.find(f" {mark} ", at + 1)
    return sorted(places)


def name_of(text: str, at: int, most: int, place_at: PlaceAt) -> tuple[list[str], int]:
    """(words in lower case, where they end) of a name that begins at `at` and has at most that many words.

    A name ends at a word that is none, at a mark, behind a number, before an area's name, and, where it began with a
    capital, at a word without one.
    """
    words: list[str] = []
    end, proper = at + (text[at : at + 1] == "."), False
    while len(words) < most and (match := NEXT.match(text, end)):
        word = match.group(1)
        bare = word.strip("'-").lower()
        if not bare or bare in SENTENCE or (bare[:2] in ("rt", "rw", "no", "lt") and bare[2:3].isdigit()):
            break
        if not words:
            proper = word[0].isupper() and not word.isupper()
        elif proper and word[0].islower():
            break
        if (bare[0].isdigit() and (not words or len(bare) > 2)) or (words and _LOT.match(bare)):
            break
        words.append(bare)
        end = match.end(1)
        if bare[0].isdigit() or (match.group(2) and not (match.group(2) == "." and len(bare) < 4)):
            break
        end = match.end()
    for i in range(place_at(words, 0) or 1, len(words)):
        if not (GENERIC | _OF_ESTATES).issuperset(words[:i]) and place_at(words, i):
            return words[:i], end
    return words, end
