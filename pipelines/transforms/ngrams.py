"""Texts -> hashed features: character 3-5-grams inside words, words, and pairs of neighbouring words.

A text is the sum of its words and pairs, so whatever is linear in the features can be worked out once
a word and remembered: the same words come again and again. Belongs here: features. Not here: what is
learned from them (fitting), judging by it (classifier).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

BATCH = 512  # texts judged at once: larger spills the caches
_MANY = 8_192  # texts written out at once while learning
_P = np.uint64(0x9E3779B97F4A7C15 | 1)
_SPREAD = np.uint64(0xD6E8FEB86659FD93)
_WORD = re.compile(r"[a-z0-9]+")
_LONG = re.compile(r"([a-z])\1{2,}")  # bangettt -> bangett, gggg -> gg
_DIGITS = str.maketrans("123456789", "000000000")
_LEET = re.compile(r"(?<=[a-z])[0-9](?=[a-z])")  # j4lan; not blok a12b
_LETTER = dict(zip("0123456789", ("o", "i", "", *"easgtbg"), strict=True))  # 2: said twice, jalan2an


def words_of(text: str) -> list[str]:
    """Lower-case ASCII words of a text, before `fold_word`."""
    if not text.isascii():
        text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return _WORD.findall(text.lower())


def split(texts: Sequence[str]) -> tuple[list[str], NDArray[np.int64]]:
    """(the words of all texts one after the other, how many each text has)."""
    met = [words_of(text) for text in texts]
    return list(chain.from_iterable(met)), np.fromiter(map(len, met), np.int64, len(met))


def fold_word(word: str) -> str:
    """What features are made of: letters for the digits that stand for them inside a word, other digits as 0, letters
    said three times or more said twice."""
    if not word.isalpha():
        word = _LEET.sub(lambda digit: _LETTER[digit.group()], word)
    return _LONG.sub(r"\1\1", word.translate(_DIGITS))


class Growing:
    """An array to whose end rows are added; adding often costs no more than adding once."""

    def __init__(self, shape: tuple[int, ...], kind: Any) -> None:
        self._room, self._rows = np.zeros((1024, *shape), kind), 0

    def add(self, rows: NDArray[Any]) -> None:
        needed = self._rows + len(rows)
        if needed > len(self._room):
            larger = np.zeros((max(needed, 2 * len(self._room)), *self._room.shape[1:]), self._room.dtype)
            larger[: self._rows] = self._room[: self._rows]
            self._room = larger
        self._room[self._rows : needed] = rows
        self._rows = needed

    @property
    def all(self) -> NDArray[Any]:
        return self._room[: self._rows]


class Lexicon:
    """Words as met in texts -> what each yields: its columns, and a hash from which pairs are made.

    columns: bucket -> column, or -1 for buckets that no column has; shape (2**bits,).
    """

    def __init__(self, columns: NDArray[np.int32], bits: int) -> None:
        self._columns, self._shift = columns, np.uint64(64 - bits)
        self.width = int(columns.max(initial=-1)) + 1
        self.clear()

    def clear(self) -> None:
        self.words: list[str] = []
        self._met: dict[str, int] = {}  # as met -> id
        self._ids: dict[str, int] = {}  # folded -> id
        self._hash_of = Growing((), np.uint64)
        self._ends = Growing((), np.int64)  # where each word's columns end in the pool
        self._pool = Growing((), np.int32)

    def ids(self, words: Sequence[str]) -> NDArray[np.int64]:
        """The id of each word, as met."""
        try:
            return np.fromiter(map(self._met.__getitem__, words), np.int64, len(words))
        except KeyError:  # a new word: rare once some thousand texts were read
            self._learn(sorted(set(words).difference(self._met)))
            return np.fromiter(map(self._met.__getitem__, words), np.int64, len(words))

    def _learn(self, met: Sequence[str]) -> None:
        folded = [fold_word(w) for w in met]
        new = [w for w in dict.fromkeys(folded) if w not in self._ids]
        if new:
            self._ids.update(zip(new, range(len(self.words), len(self.words) + len(new)), strict=True))
            self.words += new
            hashes, counts, pool = self._hash(new)
            self._hash_of.add(hashes)
            self._ends.add(len(self._pool.all) + np.cumsum(counts))
            self._pool.add(pool)
        self._met.update((w, self._ids[f]) for w, f in zip(met, folded, strict=True))

    def _hash(self, words: Sequence[str]) -> tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.int32]]:
        """Of each word: its hash, how many columns it has, and those columns one after the other."""
        buffer = np.frombuffer(f" {' '.join(words)} ".encode(), np.uint8)
        blank = buffer == 32
        owner = np.cumsum(blank) - 1  # a blank belongs to the word behind it
        blanks = np.concatenate(([0], np.cumsum(blank)))
        b = buffer.astype(np.uint64)
        hashes, owners = [], []
        # Character n-grams: a blank may stand at either end (it marks the word's edge), never inside.
        rolling = b.copy()
        for n in range(2, 6):
            rolling = rolling[:-1] * _P + b[n - 1 :]
            if n < 3 or not len(rolling):
                continue
            keep = blanks[n - 1 : len(b)] == blanks[1 : len(b) - n + 2]
            hashes.append(rolling[keep] + np.uint64(n))
            owners.append(owner[: len(b) - n + 1][keep])
        whole = _word_hashes(words)
        hashes.append(whole * np.uint64(3) + np.uint64(11))
        owners.append(np.arange(len(words)))
        column, of = self._column(np.concatenate(hashes)), np.concatenate(owners)
        known = column >= 0
        order = np.argsort(of[known], kind="stable")
        return whole, np.bincount(of[known], minlength=len(words)), column[known][order]

    def _column(self, hashes: NDArray[np.uint64]) -> NDArray[np.int32]:
        return self._columns[(hashes * _SPREAD) >> self._shift]

    def matrix(self, start: int = 0) -> sparse.csr_matrix:
        """How often each column occurs within each word met, from word `start` on; shape (words, columns)."""
        ends = self._ends.all
        begin = ends[start - 1] if start else 0
        indptr, columns = np.concatenate(([0], ends[start:] - begin)), self._pool.all[begin:]
        return sparse.csr_matrix((np.ones(len(columns), np.float32), columns, indptr), (len(indptr) - 1, self.width))

    def documents(self, ids: NDArray[np.int64], lengths: NDArray[np.int64]) -> sparse.csr_matrix:
        """log(1 + how often) each word occurs, shape (texts, words met), float32.

        Words of a text stand in an order of their own, not in that in which they were met, so that sums over
        them come out the same to the last bit in any company.
        """
        text = np.repeat(np.arange(len(lengths)), lengths)
        order = np.argsort(
            (text.astype(np.uint64) << np.uint64(40)) | ((self._hash_of.all[ids] * _SPREAD) >> np.uint64(24))
        )
        return _counted(text, ids[order], len(lengths), len(self.words))

    def pairs(self, ids: NDArray[np.int64], lengths: NDArray[np.int64]) -> sparse.csr_matrix:
        """log(1 + how often) each pair of neighbours occurs, shape (texts, columns), float32."""
        text = np.repeat(np.arange(len(lengths)), lengths)
        hashes = self._hash_of.all[ids]
        column = self._column(hashes[:-1] * _P + hashes[1:] + np.uint64(13))
        known = np.flatnonzero((text[:-1] == text[1:]) & (column >= 0))
        keys = np.sort(text[known] * max(1, self.width) + column[known])
        return _counted(*np.divmod(keys, max(1, self.width)), len(lengths), self.width)


def _counted(row: NDArray[np.int64], column: NDArray[np.int64], rows: int, width: int) -> sparse.csr_matrix:
    """log(1 + count) of (row, column), which come sorted so that equal ones are neighbours; keeps their order."""
    new = np.ones(len(row), bool)
    new[1:] = (row[1:] != row[:-1]) | (column[1:] != column[:-1])
    begins = np.flatnonzero(new)
    often = np.diff(begins, append=len(row))
    indptr = np.concatenate(([0], np.cumsum(np.bincount(row[begins], minlength=rows))))
    return sparse.csr_matrix((np.log1p(often).astype(np.float32), column[begins], indptr), (rows, width))


def _word_hashes(words: Sequence[str]) -> NDArray[np.uint64]:
    """A polynomial of each word's letters, modulo 2**64."""
    longest = max(map(len, words))
    letters = np.zeros((len(words), longest), np.uint64)
    for i, word in enumerate(words):
        letters[i, : len(word)] = np.frombuffer(word.encode(), np.uint8)
    powers = np.cumprod(np.concatenate((np.ones(1, np.uint64), np.full(longest - 1, _P, np.uint64))), dtype=np.uint64)
    return (letters * powers).sum(axis=1, dtype=np.uint64)


def seen_in(texts: Sequence[str], bits: int) -> NDArray[np.int64]:
    """In how many texts each of the 2**bits buckets occurs."""
    lexicon, seen = Lexicon(np.arange(1 << bits, dtype=np.int32), bits), np.zeros(1 << bits, np.int64)
    for start in range(0, len(texts), _MANY):
        words, lengths = split(texts[start : start + _MANY])
        ids = lexicon.ids(words)
        both = lexicon.documents(ids, lengths) @ lexicon.matrix() + lexicon.pairs(ids, lengths)
        seen += np.bincount(both.indices, minlength=1 << bits)
    return seen


def vectors(lexicon: Lexicon, texts: Sequence[str], idf: NDArray[np.float32]) -> sparse.csr_matrix:
    """Weighted features of texts, shape (texts, columns), float32.

    A row is the sum of its words and pairs over the root of the sum of their squares: nearly of length 1, and
    unlike a row of exactly that length it can be had without writing out its features.
    """
    parts = []
    for start in range(0, len(texts), _MANY):
        met, lengths = split(texts[start : start + _MANY])
        ids = lexicon.ids(met)
        words = lexicon.matrix() @ sparse.diags(idf, dtype=np.float32)
        said, pairs = lexicon.documents(ids, lengths), lexicon.pairs(ids, lengths)
        shrink = sparse.diags(1 / size(said, squares(words), pairs, idf), dtype=np.float32)
        parts.append(shrink @ (said @ words + pairs @ sparse.diags(idf, dtype=np.float32)))
    return sparse.vstack(parts, format="csr") if parts else sparse.csr_matrix((0, len(idf)), dtype=np.float32)


def squares(words: sparse.csr_matrix) -> NDArray[np.float64]:
    """The square of each row's length."""
    rows = np.repeat(np.arange(words.shape[0]), np.diff(words.indptr))
    return np.bincount(rows, words.data.astype(np.float64) ** 2, words.shape[0]).astype(np.float64)


def size(
    said: sparse.csr_matrix, word_squares: NDArray[np.float64], pairs: sparse.csr_matrix, idf: NDArray[np.float32]
) -> NDArray[np.float64]:
    """What the sum of each text is divided by; 1 for a text without any feature."""
    total = np.zeros(said.shape[0])
    for matrix, each in ((said, word_squares), (pairs, idf.astype(np.float64) ** 2)):
        rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
        total += np.bincount(rows, matrix.data.astype(np.float64) ** 2 * each[matrix.indices], matrix.shape[0])
    return np.sqrt(np.where(total > 0, total, 1.0))
