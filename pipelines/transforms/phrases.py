"""Addresses -> words and phrases, one by one or many at once, and as the voice reads them.

A phrase is compared without its spaces, so it is known by a hash that two words' hashes make: no phrase of many
addresses has to be written out. Belongs here: reading addresses, the same in learning and judging. Not here: what
phrases tell (learned).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from itertools import chain, compress, pairwise
from operator import add
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.transforms.ngrams import Growing

PHRASE = 3  # words of the longest phrase
_READ = 60  # tokens of an address; what stands behind is a story
_HIGHEST = 30  # the highest number that is a street's ("manukan rejo 4"), not a house's
_TOKEN = re.compile(r"[a-z]+|\d+|[^\sa-z\d]")
_ROMAN = "i ii iii iv v vi vii viii ix x xi xii xiii xiv xv xvi xvii xviii xix xx".split()
_SAME = {
    "jln": "jl", "jalan": "jl", "jlan": "jl", "gang": "gg", "gng": "gg", "kelurahan": "kel", "kecamatan": "kec",
    "perumahan": "perum", "prum": "perum", "tmr": "timur", "brt": "barat", "utr": "utara", "dpn": "depan",
    **{roman: str(n) for n, roman in enumerate(_ROMAN, 1)},
}  # fmt: skip
_SILENT = frozenset("no nomor nomer nmr di dan yang yg kota kab provinsi indonesia".split())
_NUMBERED = frozenset("no nomor nomer nmr rt blok".split())
_PERSON = frozenset("rumah rmh bpk bapak pak ibu bu sdr sdri an nama haji almarhum alm hp telp wa".split())
_NO_NAME = frozenset("jl gg kel kec rt rw no".split())
_SPELT = str.maketrans("0123456789", "abcdefghij")  # the voice's features do not tell one digit from another

# --- one by one -----------------------------------------------------------------------------


def tokens(address: str) -> list[str]:
    """The words of an address as phrases are made of them; "" where none must reach across.

    What names a person or a house is left out: numbers after "no" or above 30, RT, words after "rumah", "bapak" and
    the like.
    """
    found: list[str] = []
    before, hidden = "", 0
    for said in _TOKEN.findall(_fold(address))[: 4 * _READ]:
        word = _SAME.get(said, said)
        if not word.isalnum():
            if word in "/,;()":
                found.append("")
            continue
        if word.isdigit():
            number = int(word) if len(word) < 5 else _HIGHEST + 1
            if before == "rw" and 0 < number < 100:
                found[-1] = f"rw {number}"
            elif 0 < number <= _HIGHEST and before not in _NUMBERED and not hidden:
                found.append(str(number))
            else:
                found.append("")
        elif word in _PERSON:
            hidden = 3  # this word and the two behind it
            found.append("")
        elif word not in _SILENT and word != "rt" and not hidden:
            found.append(word)
        before, hidden = word, max(0, hidden - 1)
    return found[:_READ]


def phrases(words: Sequence[str]) -> dict[str, str]:
    """Every phrase of an address (as `tokens`): as compared (spaces do not count: kali judan is kalijudan) -> as
    written."""
    found: dict[str, str] = {}
    keys = [key_of(word) for word in words]
    for i in range(len(words)):
        key = written = ""
        for word, part in zip(words[i : i + PHRASE], keys[i : i + PHRASE], strict=True):
            if not word:
                break
            key, written = key + part, f"{written} {word}" if written else word
            found.setdefault(key, written)
    return found


def key_of(phrase: str) -> str:
    """A phrase as compared."""
    if phrase.isalpha():  # most words
        return phrase
    return "".join(f"#{word}" if word.isdigit() else word for word in phrase.split())


def kind_of(phrase: str) -> str:
    """street, rw or name."""
    return "rw" if "rw " in phrase else "street" if phrase[:3] in ("jl ", "gg ") or phrase[-1].isdigit() else "name"


def voiced(address: str) -> str:
    """An address as the voice reads it: one spelling, numbers as words that tell them apart, neighbours joined as well."""
    found, before = [], ""
    for said in _TOKEN.findall(_fold(address))[: 2 * _READ]:
        word = _SAME.get(said, said)
        if word.isdigit():
            found.append(f"z{before if before in ('rw', 'rt', 'no') else 'n'}{word[:4].translate(_SPELT)}")
        elif word.isalnum():
            found.append(word)
        before = word
    names = [w for w in found if w[0] != "z" and w not in _NO_NAME]
    return " ".join([*found, *map("".join, pairwise(names))])


def _fold(address: str) -> str:
    address = address[:1000]
    if not address.isascii():
        address = unicodedata.normalize("NFKD", address).encode("ascii", "ignore").decode()
    return address.lower()


# --- many at once ---------------------------------------------------------------------------

_KEPT = 50_000  # words remembered
_MASK, _P = (1 << 64) - 1, 0x9E3779B97F4A7C15
_OTHER, _BREAK, _NUMBER, _WHO, _QUIET, _WORD = range(6)  # what a token is: up to _BREAK a sign, else a word
_FREE, _AFTER_RW, _AFTER_RT, _AFTER_NO = range(4)  # what a number stands behind


class Read(NamedTuple):
    """Addresses as they were read: hash of every phrase and which address holds it, in the order of `phrases`, each as
    often as it stands there; and the words of `voiced`, with how many each address has."""

    hashes: NDArray[np.uint64]
    owner: NDArray[np.int64]
    voiced: list[str]
    lengths: NDArray[np.int64]


def hash_of(key: str) -> int:
    """A phrase as compared -> 64 bits, so that hash_of(a + b) = hash_of(a) * _P**len(b) + hash_of(b)."""
    value = 0
    for letter in key.encode():
        value = (value * _P + letter) & _MASK
    return value


class Reader:
    """Reads many addresses at once as `tokens`, `phrases` and `voiced` do, and remembers the words it met."""

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self._ids: dict[str, int] = {}
        self._voiced: list[str] = []  # four a token: what the voice hears behind each of _FREE, _AFTER_RW, ..
        self._what = Growing((), np.int8)
        self._before = Growing((), np.int8)  # what it makes of a number behind it
        self._numbered = Growing((), bool)
        self._name = Growing((), bool)  # joined to its neighbour by the voice
        self._number = Growing((), np.int64)
        self._hash = Growing((2,), np.uint64)  # hash and _P**length of what it is in a phrase

    def read(self, addresses: Sequence[str]) -> Read:
        """All that is compared of addresses."""
        if len(self._ids) > _KEPT:
            self._forget()
        met = [_TOKEN.findall(_fold(address))[: 4 * _READ] for address in addresses]
        flat = list(chain.from_iterable(met))
        try:
            ids = np.fromiter(map(self._ids.__getitem__, flat), np.int64, len(flat))
        except KeyError:
            self._learn(sorted(set(flat).difference(self._ids)))
            ids = np.fromiter(map(self._ids.__getitem__, flat), np.int64, len(flat))
        lengths = np.fromiter(map(len, met), np.int64, len(met))
        owner = np.repeat(np.arange(len(met)), lengths)
        return Read(*self._phrases(ids, owner), *self._as_voiced(ids, owner, lengths))

    def _learn(self, tokens: Sequence[str]) -> None:
        self._ids.update(zip(tokens, range(len(self._ids), len(self._ids) + len(tokens)), strict=True))
        words = [_SAME.get(token, token) for token in tokens]
        numbers = [(int(w) if len(w) < 5 else _HIGHEST + 1) if w.isdigit() else 0 for w in words]
        parts = [f"#{n}" if w.isdigit() else w for w, n in zip(words, numbers, strict=True)]
        self._what.add(np.array([_what(w) for w in words], np.int8))
        self._before.add(np.array([_BEHIND.get(w, _FREE) for w in words], np.int8))
        self._numbered.add(np.array([w in _NUMBERED for w in words]))
        self._name.add(np.array([w.isalpha() and w[0] != "z" and w not in _NO_NAME for w in words]))
        self._number.add(np.array(numbers, np.int64))
        self._hash.add(np.array([(hash_of(p), pow(_P, len(p), 1 << 64)) for p in parts], np.uint64))
        for word in words:
            spelt = word[:4].translate(_SPELT)
            self._voiced += [f"z{mark}{spelt}" for mark in _MARKS] if word.isdigit() else [word] * 4

    def _phrases(
        self, ids: NDArray[np.int64], owner: NDArray[np.int64]
    ) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        what = self._what.all[ids]
        spoken = np.flatnonzero(what > _BREAK)  # only words stand before or hide each other
        before, hidden = np.full(len(spoken), -1), np.zeros(len(spoken), bool)
        for step in (1, 2):
            near = owner[spoken[step:]] == owner[spoken[:-step]]
            hidden[step:] |= near & (what[spoken[:-step]] == _WHO)
            if step == 1:
                before[1:][near] = ids[spoken[:-1]][near]
        behind, numbered = self._before.all[before], self._numbered.all[before]
        behind[before < 0], numbered[before < 0] = _FREE, False
        number, said = self._number.all[ids[spoken]], what[spoken]
        is_rw = (said == _NUMBER) & (behind == _AFTER_RW) & (number > 0) & (number < 100)
        is_street = (said == _NUMBER) & ~is_rw & (number > 0) & (number <= _HIGHEST) & ~numbered & ~hidden
        # What each token leaves: nothing, a gap that no phrase crosses, or a word of phrases.
        left, word = what == _BREAK, np.zeros(len(ids), bool)
        word[spoken] = is_rw | is_street | ((said == _WORD) & ~hidden)
        left[spoken] = word[spoken] | (said == _NUMBER) | (said == _WHO)
        rw = np.zeros(len(ids), bool)
        rw[spoken] = is_rw
        kept = np.flatnonzero(left)
        stays = np.ones(len(kept), bool)
        stays[:-1] = ~rw[kept[1:]]  # "rw 5" is one word: it takes the place of the "rw", or of what hid it
        kept = kept[stays]
        of = owner[kept]
        kept = kept[np.arange(len(kept)) - np.searchsorted(of, of) < _READ]
        part = self._hash.all[ids[kept]]
        part[rw[kept], 0] += _RW[0] * part[rw[kept], 1]
        part[rw[kept], 1] *= _RW[1]
        return _joined(part, word[kept], owner[kept])

    def _as_voiced(
        self, ids: NDArray[np.int64], owner: NDArray[np.int64], lengths: NDArray[np.int64]
    ) -> tuple[list[str], NDArray[np.int64]]:
        place = np.arange(len(ids)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        heard = (self._what.all[ids] > _BREAK) & (place < 2 * _READ)
        behind = self._before.all[np.roll(ids, 1)] * (place > 0)
        said = list(map(self._voiced.__getitem__, (4 * ids + behind)[heard].tolist()))
        names = np.flatnonzero(heard & self._name.all[ids])
        called = list(map(self._voiced.__getitem__, (4 * ids[names]).tolist()))
        near = owner[names[1:]] == owner[names[:-1]]
        said += compress(map(add, called[:-1], called[1:]), near.tolist())
        of = np.concatenate((owner[heard], owner[names[1:]][near]))
        order = np.argsort(of, kind="stable").tolist()
        return [said[i] for i in order], np.bincount(of, minlength=len(lengths))


_MARKS = ("n", "rw", "rt", "no")
_BEHIND = {mark: place for place, mark in enumerate(_MARKS) if place}
_RW = np.array((hash_of("rw"), pow(_P, 2, 1 << 64)), np.uint64)  # as in Reader._hash


def _what(word: str) -> int:
    if not word.isalnum():
        return _BREAK if word in "/,;()" else _OTHER
    if word.isdigit():
        return _NUMBER
    if word in _PERSON:
        return _WHO
    return _QUIET if word in _SILENT or word == "rt" else _WORD


def _joined(
    part: NDArray[np.uint64], word: NDArray[np.bool_], owner: NDArray[np.int64]
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """(hash of each run of up to PHRASE words of one address, its address), by where it begins, the short ones first."""
    hashes, there = np.zeros((len(part), PHRASE), np.uint64), np.zeros((len(part), PHRASE), bool)
    hashes[:, 0], there[:, 0] = part[:, 0], word
    for n in range(1, PHRASE):
        hashes[:-n, n] = hashes[:-n, n - 1] * part[n:, 1] + part[n:, 0]
        there[:-n, n] = there[:-n, n - 1] & word[n:] & (owner[n:] == owner[:-n])
    return hashes[there], np.repeat(owner, there.sum(axis=1))
