"""Addresses -> the kelurahan that resolved reports teach, beside what names alone say of them.

Three witnesses are heard for each kelurahan that comes into question: a linear voice over the letters of the address
(ComplaintClassifier with the head `kelurahan`), a table of phrases (streets, RW and landmarks, with support and
purity) that a person can read and mend, and the names that locate heard. How far each is believed, and how often
the best is right, was fitted on resolved reports too.

Belongs here: judging addresses. Not here: reading them into words and phrases (phrases), fitting (learning), files
(learn).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.transforms.evidence import Heard, scores
from pipelines.transforms.gazetteer import Gazetteer
from pipelines.transforms.ngrams import BATCH
from pipelines.transforms.phrases import Read, Reader, hash_of, key_of

if TYPE_CHECKING:
    from pipelines.transforms.classifier import ComplaintClassifier

HEAD = "kelurahan"
WITNESSES = ("voice", "phrases", "names", "unnamed", "same_kecamatan", "other_kecamatan")
SURENESS = ("share", "lead", "voice", "phrases", "agreed", "text")
_SILENT_BELOW = 0.001  # weight of a phrase: one that is a fifth in one kelurahan at best, or was seen far too often
_VOICED, _TOLD, _FEW = 6, 2, 5  # kelurahan that come into question: of the voice, of the phrases; candidates told


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


class Spoken(NamedTuple):
    """Lines of the table that speak for addresses: one row a (address, line), in the order of their phrases."""

    line: NDArray[np.int64]
    owner: NDArray[np.int64]


class Table:
    """The phrases as addresses are judged by them. Lines of kelurahan that the gazetteer lacks are another city's."""

    def __init__(self, lines: Sequence[Phrase], gazetteer: Gazetteer) -> None:
        told: dict[str, list[tuple[int, float]]] = {}  # phrase -> (row, share)
        weights: dict[str, float] = {}
        said: dict[tuple[str, int], str] = {}
        for line in lines:
            row = gazetteer.row_of.get(line.kelurahan_code)
            if row is None:
                continue
            key = key_of(line.phrase)
            # A phrase of few reports proves little; one of very many is a word of the language.
            shrunk = line.purity * line.support / (line.support + 0.5)
            few = math.sqrt(min(1.0, line.support / 5)) * (1.0 if line.support < 300 else 0.3)
            told.setdefault(key, []).append((row, shrunk))
            weights[key] = max(weights.get(key, 0.0), line.purity**4 * few)
            said[key, row] = f"{line.phrase}: {round(line.support * line.purity)} of {line.support}"
        # What is said everywhere tells nothing.
        hashes = {key: hash_of(key) for key in sorted(told) if weights[key] >= _SILENT_BELOW}
        keys = sorted(hashes, key=hashes.__getitem__)
        rank = {key: place for place, key in enumerate(hashes)}
        flat = [(key, row, share) for key in keys for row, share in told[key]]
        self._hashes = np.array([hashes[key] for key in keys], np.uint64)
        self._weight = np.array([weights[key] for key in keys])
        self._lines = np.array([len(told[key]) for key in keys], np.int64)
        self._begins = np.cumsum(self._lines) - self._lines
        self._row = np.array([row for _, row, _ in flat], np.int64)
        self._share = np.array([share for _, _, share in flat])
        self._loud = np.array([weights[key] * share for key, _, share in flat])
        self._rank = np.array([rank[key] for key, _, _ in flat], np.int64)  # in the order of the alphabet
        self._said = [said[key, row] for key, row, _ in flat]
        self._rows = len(gazetteer.codes)

    def votes(self, read: Read) -> tuple[NDArray[np.float64], NDArray[np.int64], Spoken]:
        """What the phrases of addresses say: (each row's share of their votes, shape (addresses, rows); the places of the
        loudest rows of each in that array laid flat; the lines that spoke)."""
        addresses, keys = len(read.lengths), len(self._hashes)
        place = np.searchsorted(self._hashes, read.hashes)
        known = np.flatnonzero(self._hashes[np.minimum(place, keys - 1)] == read.hashes) if keys else place[:0]
        pairs = read.owner[known] * keys + place[known]
        once = np.sort(np.unique(pairs, return_index=True)[1])
        owner, key = np.divmod(pairs[once], max(1, keys))
        weight = self._weight[key] / np.bincount(owner, self._weight[key], addresses)[owner]
        many = self._lines[key]
        first = np.cumsum(many) - many
        line = np.arange(many.sum()) - np.repeat(first - self._begins[key], many)
        owner = np.repeat(owner, many)
        at = owner * self._rows + self._row[line]
        votes: NDArray[Any] = np.bincount(at, np.repeat(weight, many) * self._share[line], addresses * self._rows)
        found, heard = np.unique(at, return_index=True)
        order = np.lexsort((heard, -votes[found], found // self._rows))  # equal ones: as they were said
        told = found[order[_places(found // self._rows) < _TOLD]]
        return votes.reshape(addresses, self._rows), told, Spoken(line, owner)

    def said(self, spoken: Spoken, best: NDArray[np.int64]) -> list[list[str]]:
        """The three phrases that speak loudest for the best row of each address, with their counts."""
        fits = self._row[spoken.line] == best[spoken.owner]
        line, owner = spoken.line[fits], spoken.owner[fits]
        order = np.lexsort((self._rank[line], -self._loud[line], owner))
        order = order[_places(owner) < 3]
        found: list[list[str]] = [[] for _ in best]
        for at, one in zip(owner[order].tolist(), line[order].tolist(), strict=True):
            found[at].append(self._said[one])
        return found


def _places(owner: NDArray[np.int64]) -> NDArray[np.int64]:
    """0, 1, 2, .. among those of the same owner; owners come ascending."""
    return np.arange(len(owner)) - np.searchsorted(owner, owner)


@dataclass(frozen=True)
class Learned:
    """All that resolved reports taught.

    voice: judges addresses as phrases.voiced spells them, its labels are kelurahan codes. witnesses: how far each of
    WITNESSES is believed. sureness: the weights of SURENESS and a last one without any, in a logistic curve of how often
    the best is right. reads_text: whether it learned from texts too, for reports without an address.
    """

    voice: ComplaintClassifier
    table: Table
    gazetteer: Gazetteer
    witnesses: NDArray[np.float64]
    sureness: NDArray[np.float64]
    reads_text: bool = False
    _reader: Reader = field(default_factory=Reader, repr=False, compare=False)

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """Row of the gazetteer of each label of the voice."""
        return np.array([self.gazetteer.row_of[code] for code in self.voice.heads[HEAD].labels], np.int64)

    @cached_property
    def label_of(self) -> NDArray[np.int64]:
        """Label of the voice of each row of the gazetteer, -1 where it has none."""
        labels = np.full(len(self.gazetteer.codes), -1)
        labels[self.rows] = np.arange(len(self.rows))
        return labels

    @cached_property
    def _areas(self) -> tuple[Mapping[str, int], NDArray[np.int64]]:
        """(kecamatan -> number, number of the kecamatan of each row)."""
        number = {code: n for n, code in enumerate(dict.fromkeys(self.gazetteer.kecamatan_of))}
        return number, np.array([number[code] for code in self.gazetteer.kecamatan_of], np.int64)

    def judge(self, addresses: Sequence[str], heard: Sequence[Heard], from_text: Sequence[bool]) -> list[Judged | None]:
        """What is learned of each address; None where nothing is.

        heard: names of address and text together; from_text: whether the address is a report's whole text.
        """
        seen, spoken = self.look(addresses, heard)
        found: list[Judged | None] = [None] * len(addresses)
        if not len(seen.owner):
            return found
        score = seen.features @ self.witnesses
        order = np.lexsort((seen.label, -score, seen.owner))
        begins = np.flatnonzero(np.diff(seen.owner, prepend=-1))
        many = np.diff(begins, append=len(order))
        shares = share_of(score[order], begins)
        sure = 1 / (1 + np.exp(-np.clip(doubts(seen, order, begins, shares, from_text) @ self.sureness, -30, 30)))
        rest = np.maximum(1.0 - shares[begins], 1e-9)
        chance = np.minimum(np.repeat(sure, many), np.repeat(1 - sure, many) * shares / np.repeat(rest, many))
        chance[begins] = sure
        rows, owner = self.rows[seen.label[order]], seen.owner[begins]
        best = np.full(len(addresses), -1)
        best[owner] = rows[begins]
        said, rows_, chances = self.table.said(spoken, best), rows.tolist(), chance.tolist()
        ends = np.minimum(begins + _FEW, begins + many).tolist()
        for at, begin, end in zip(owner.tolist(), begins.tolist(), ends, strict=True):
            found[at] = Judged(rows_[begin:end], chances[begin:end], said[at])
        return found

    def look(self, addresses: Sequence[str], heard: Sequence[Heard]) -> tuple[Seen, Spoken]:
        """(what comes into question, with what each witness says; the phrases that spoke). An empty address has no row."""
        found, spoke = [Seen(np.zeros((0, len(WITNESSES))), _NONE, _NONE)], [Spoken(_NONE, _NONE)]
        for start in range(0, len(addresses), BATCH):
            seen, spoken = self._look(addresses[start : start + BATCH], heard[start : start + BATCH])
            found.append(seen._replace(owner=seen.owner + start))
            spoke.append(spoken._replace(owner=spoken.owner + start))
        return Seen(*map(np.concatenate, zip(*found, strict=True))), Spoken(
            *map(np.concatenate, zip(*spoke, strict=True))
        )

    def _look(self, addresses: Sequence[str], heard: Sequence[Heard]) -> tuple[Seen, Spoken]:
        read = self._reader.read(addresses)
        voice = self.voice.chances_of(read.voiced, read.lengths, HEAD) + 1e-4
        votes, told, spoken = self.table.votes(read)
        rows, labels = votes.shape[1], voice.shape[1]
        said = [
            (i, row, weight) for i, h in enumerate(heard) if h.rows for row, weight in scores(h, self.gazetteer).items()
        ]
        named = np.full(votes.shape, -1.0)
        at = np.array([i * rows + row for i, row, _ in said], np.int64)
        named.flat[at] = [weight for *_, weight in said]
        # Those in question: the voice's best, the loudest of the phrases, and all that are named.
        there = np.flatnonzero([bool(address) for address in addresses])
        top = np.argpartition(-voice[there], min(_VOICED, labels - 1), axis=1)[:, :_VOICED]
        owner, row = np.divmod(np.concatenate((told, at)), rows)
        label = self.label_of[row]
        known = (label >= 0) & np.isin(owner, there)
        asked = np.unique(np.concatenate(((there[:, None] * labels + top).ravel(), (owner * labels + label)[known])))
        owner, label = np.divmod(asked, labels)
        row = self.rows[label]
        number, area_of = self._areas
        areas = np.zeros((len(addresses), len(number)), bool)
        areas.flat[[i * len(number) + number[code] for i, h in enumerate(heard) for code in h.kecamatan]] = True
        inside, weight = areas[owner, area_of[row]], named[owner, row]
        some = np.asarray(areas.any(axis=1))[owner]
        features = (
            np.log(voice[owner, label]), np.log(votes[owner, row] + 0.01), np.maximum(weight, 0.0), weight < 0, inside,
            some & ~inside,
        )  # fmt: skip
        return Seen(np.column_stack(features).astype(float), owner, label), spoken


_NONE = np.zeros(0, np.int64)


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
