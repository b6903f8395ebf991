"""Addresses -> the kelurahan that resolved reports teach, beside what names alone say of them.

Three witnesses are heard for each kelurahan that comes into question: a linear voice over the letters of the address
(ComplaintClassifier with the head `kelurahan`), a table of phrases (streets, RW and landmarks, with support and
purity) that a person can read and mend, and the names that locate heard. How far each is believed, and how often
the best is right, was fitted on resolved reports too.

Belongs here: reading an address into words and phrases, judging it. Not here: fitting (learning), files (learn).
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from heapq import nlargest
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.transforms.evidence import Heard, scores
from pipelines.transforms.gazetteer import Gazetteer

if TYPE_CHECKING:
    from pipelines.transforms.classifier import ComplaintClassifier

HEAD = "kelurahan"
PHRASE = 3  # words of the longest phrase
WITNESSES = ("voice", "phrases", "names", "unnamed", "same_kecamatan", "other_kecamatan")
SURENESS = ("share", "lead", "voice", "phrases", "agreed", "text")
_READ = 60  # tokens of an address; what stands behind is a story
_HIGHEST = 30  # the highest number that is a street's ("manukan rejo 4"), not a house's
_SILENT_BELOW = 0.001  # weight of a phrase: one that is a fifth in one kelurahan at best, or was seen far too often
_VOICED, _TOLD, _FEW = 6, 2, 5  # kelurahan that come into question: of the voice, of the phrases; candidates told
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


class Phrase(NamedTuple):
    """One line of the table. kind: street, rw or name; support: resolved reports that hold the phrase; purity: the
    share of them in this kelurahan."""

    kind: str
    phrase: str
    kelurahan_code: str
    support: int
    purity: float


class Judged(NamedTuple):
    """rows: of the gazetteer, most likely first, at most five; chances: of each, the first one's calibrated on resolved
    reports; words: the phrases that spoke for the first, with their counts."""

    rows: list[int]
    chances: list[float]
    words: list[str]


class Seen(NamedTuple):
    """What came into question for some addresses: one row a (address, kelurahan)."""

    features: NDArray[np.float64]  # (rows, WITNESSES)
    owner: NDArray[np.int64]  # which address
    label: NDArray[np.int64]  # which kelurahan: index of the voice's labels


# --- words ----------------------------------------------------------------------------------


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


def _keys(words: Sequence[str]) -> Iterator[str]:
    """The keys of `phrases`."""
    parts = [word if word.isalpha() else key_of(word) for word in words]
    for i, key in enumerate(parts):
        for part in parts[i + 1 : i + PHRASE]:
            if not key:
                break
            yield key
            if not part:
                key = ""
                break
            key += part
        if key:
            yield key


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


# --- judging --------------------------------------------------------------------------------


class Table:
    """The phrases as an address is judged by them. Lines of kelurahan that the gazetteer lacks are another city's."""

    def __init__(self, lines: Sequence[Phrase], gazetteer: Gazetteer) -> None:
        self._told: dict[str, list[tuple[int, float]]] = {}  # phrase -> (row, share)
        self._weight: dict[str, float] = {}
        self._said: dict[tuple[str, int], str] = {}
        for line in lines:
            row = gazetteer.row_of.get(line.kelurahan_code)
            if row is None:
                continue
            key = key_of(line.phrase)
            # A phrase of few reports proves little; one of very many is a word of the language.
            shrunk = line.purity * line.support / (line.support + 0.5)
            few = math.sqrt(min(1.0, line.support / 5)) * (1.0 if line.support < 300 else 0.3)
            self._told.setdefault(key, []).append((row, shrunk))
            self._weight[key] = max(self._weight.get(key, 0.0), line.purity**4 * few)
            self._said[key, row] = f"{line.phrase}: {round(line.support * line.purity)} of {line.support}"
        for key in [key for key, weight in self._weight.items() if weight < _SILENT_BELOW]:
            del self._told[key]  # said everywhere, so it tells nothing

    def votes(self, words: Sequence[str]) -> tuple[dict[int, float], list[str]]:
        """(row -> its share of the votes of an address' phrases, the phrases that are known)."""
        keys = [key for key in dict.fromkeys(_keys(words)) if key in self._told]
        total = sum(self._weight[key] for key in keys)
        found: dict[int, float] = {}
        for key in keys if total else ():
            weight = self._weight[key] / total
            for row, share in self._told[key]:
                found[row] = found.get(row, 0.0) + weight * share
        return found, keys

    def said(self, keys: Sequence[str], row: int) -> list[str]:
        """The three phrases that speak loudest for a kelurahan, with their counts."""
        ranked = sorted(
            ((-self._weight[key] * share, key) for key in keys for at, share in self._told[key] if at == row)
        )
        return [self._said[key, row] for _, key in ranked[:3]]


@dataclass(frozen=True)
class Learned:
    """All that resolved reports taught.

    voice: judges `voiced` addresses, its labels are kelurahan codes. witnesses: how far each of WITNESSES is believed.
    sureness: the weights of SURENESS and a last one without any, in a logistic curve of how often the best is right.
    reads_text: whether it learned from texts too, for reports without an address.
    """

    voice: ComplaintClassifier
    table: Table
    gazetteer: Gazetteer
    witnesses: NDArray[np.float64]
    sureness: NDArray[np.float64]
    reads_text: bool = False

    @cached_property
    def rows(self) -> list[int]:
        """Row of the gazetteer of each label of the voice."""
        return [self.gazetteer.row_of[code] for code in self.voice.heads[HEAD].labels]

    @cached_property
    def label_of(self) -> Mapping[int, int]:
        return {row: i for i, row in enumerate(self.rows)}

    def judge(self, addresses: Sequence[str], heard: Sequence[Heard], from_text: Sequence[bool]) -> list[Judged | None]:
        """What is learned of each address; None where nothing is.

        heard: names of address and text together; from_text: whether the address is a report's whole text.
        """
        seen, kept = self.look(addresses, heard)
        if not len(seen.owner):
            return [None] * len(addresses)
        score = seen.features @ self.witnesses
        order = np.lexsort((seen.label, -score, seen.owner))
        begins = np.flatnonzero(np.diff(seen.owner[order], prepend=-1))
        shares = share_of(score[order], begins)
        sure = 1 / (1 + np.exp(-np.clip(doubts(seen, order, begins, shares, from_text) @ self.sureness, -30, 30)))
        found: list[Judged | None] = [None] * len(addresses)
        labels = seen.label[order].tolist()
        ends = [*begins[1:].tolist(), len(labels)]
        for n, (begin, end) in enumerate(zip(begins.tolist(), ends, strict=True)):
            at, best = int(seen.owner[order[begin]]), float(sure[n])
            rows = [self.rows[i] for i in labels[begin : min(end, begin + _FEW)]]
            others = shares[begin + 1 : begin + len(rows)]
            rest = max(1.0 - float(shares[begin]), 1e-9)
            chances = [best, *(min(best, (1 - best) * float(s) / rest) for s in others)]
            found[at] = Judged(rows, chances, self.table.said(kept[at], rows[0]))
        return found

    def look(self, addresses: Sequence[str], heard: Sequence[Heard]) -> tuple[Seen, list[list[str]]]:
        """(what comes into question, with what each witness says; the known phrases of each address).

        An empty address has no row.
        """
        chances = np.log(self.voice.chances([voiced(a) for a in addresses], HEAD) + 1e-4)
        top = np.argpartition(-chances, min(_VOICED, chances.shape[1] - 1), axis=1)[:, :_VOICED].tolist()
        features: list[tuple[float, ...]] = []
        owner: list[int] = []
        label: list[int] = []
        kept: list[list[str]] = []
        for i, (address, said) in enumerate(zip(addresses, heard, strict=True)):
            votes, keys = self.table.votes(tokens(address)) if address else ({}, [])
            kept.append(keys)
            if not address:
                continue
            named = scores(said, self.gazetteer)
            told = nlargest(_TOLD, votes, key=votes.__getitem__)
            extra = {self.label_of[row] for row in (*named, *told) if row in self.label_of}
            for at in sorted({*top[i], *extra}):
                row = self.rows[at]
                in_area = self.gazetteer.kecamatan_of[row] in said.kecamatan
                features.append((
                    chances[i, at],
                    math.log(votes.get(row, 0.0) + 0.01),
                    named.get(row, 0.0),
                    float(row not in named),
                    float(in_area),
                    float(bool(said.kecamatan) and not in_area),
                ))  # fmt: skip
                owner.append(i)
                label.append(at)
        shape = (len(owner), len(WITNESSES))
        return Seen(np.array(features).reshape(shape), np.array(owner, np.int64), np.array(label, np.int64)), kept


def share_of(score: NDArray[np.float64], begins: NDArray[np.int64]) -> NDArray[np.float64]:
    """exp(score) over the sum of its address; begins: where each address' rows begin."""
    lengths = np.diff(begins, append=len(score))
    raised = np.exp(score - np.repeat(np.maximum.reduceat(score, begins), lengths))
    return np.asarray(raised / np.repeat(np.add.reduceat(raised, begins), lengths))


def doubts(
    seen: Seen, order: NDArray[np.int64], begins: NDArray[np.int64], shares: NDArray[np.float64], from_text: Sequence[bool]
) -> NDArray[np.float64]:  # fmt: skip
    """What tells how sure the best of each address is: SURENESS and a column of ones. order: best first in each."""
    best, share = order[begins], np.clip(shares[begins], 1e-6, 1 - 1e-6)
    voice = seen.features[order, 0]
    lengths = np.diff(begins, append=len(order))
    loudest = np.maximum.reduceat(voice, begins)
    below = np.where(voice == np.repeat(loudest, lengths), -np.inf, voice)
    second = np.maximum.reduceat(below, begins)
    lead = np.where(np.isfinite(second), loudest - second, 0.0)
    return np.column_stack((
        np.log(share / (1 - share)),
        lead,
        seen.features[best, 0],
        seen.features[best, 1],
        seen.features[best, 0] == loudest,
        np.asarray(from_text, float)[seen.owner[best]],
        np.ones(len(best)),
    ))  # fmt: skip
