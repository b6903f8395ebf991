"""Texts -> hashed counts of character 3-5-grams inside words and of word 1-2-grams.

What a word yields is worked out once and remembered, as the same words come again and again; a batch
of texts is then put together by numpy. Belongs here: features. Not here: what is learned from them
(classifier).
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

BATCH = 512  # texts put together at once: larger spills the caches
_P = np.uint64(0x9E3779B97F4A7C15 | 1)
_SPREAD = np.uint64(0xD6E8FEB86659FD93)
_WORD = re.compile(r"[a-z0-9]+")
_LONG = re.compile(r"([a-z])\1{2,}")  # bangettt -> bangett, gggg -> gg
_DIGITS = str.maketrans("123456789", "000000000")


def words_of(text: str) -> list[str]:
    """Lower-case ASCII words of a text, before `fold_word`."""
    if not text.isascii():
        text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return _WORD.findall(text.lower())


def fold_word(word: str) -> str:
    """What features are made of: digits as 0, letters said three times or more said twice."""
    return _LONG.sub(r"\1\1", word.translate(_DIGITS))


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
        self._hashes = np.zeros(0, np.uint64)
        self._starts = np.zeros(1, np.int64)
        self._pool = np.zeros(0, np.int32)

    def ids(self, texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(word ids of all texts one after the other, words in each text)."""
        met = [words_of(t) for t in texts]
        flat = list(chain.from_iterable(met))
        if new := sorted(set(flat) - self._met.keys()):
            self._learn(new)
        ids = np.fromiter(map(self._met.__getitem__, flat), np.int64, len(flat))
        return ids, np.fromiter(map(len, met), np.int64, len(met))

    def _learn(self, met: Sequence[str]) -> None:
        folded = [fold_word(w) for w in met]
        new = [w for w in dict.fromkeys(folded) if w not in self._ids]
        if new:
            self._ids.update(zip(new, range(len(self.words), len(self.words) + len(new)), strict=True))
            self.words += new
            hashes, counts, pool = self._hash(new)
            self._hashes = np.concatenate((self._hashes, hashes))
            self._starts = np.concatenate((self._starts, self._starts[-1] + np.cumsum(counts)))
            self._pool = np.concatenate((self._pool, pool))
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

    def counts(self, ids: NDArray[np.int64], lengths: NDArray[np.int64]) -> sparse.csr_matrix:
        """How often each column occurs, shape (texts, columns), float32; rows of empty texts are empty."""
        short = len(lengths) * self.width < 1 << 31
        kind: Any = np.int32 if short else np.int64  # short keys sort in a third of the time
        width = kind(max(1, self.width))
        text = np.repeat(np.arange(len(lengths), dtype=kind), lengths)
        many = self._starts[ids + 1] - self._starts[ids]
        offsets = np.repeat(self._starts[ids] - np.concatenate(([0], np.cumsum(many)[:-1])), many)
        keys = np.repeat(text * width, many) + self._pool[offsets + np.arange(len(offsets))]
        if len(ids) > 1:
            first, second = self._hashes[ids[:-1]], self._hashes[ids[1:]]
            column = self._column(first * _P + second + np.uint64(13))
            pair = (text[:-1] == text[1:]) & (column >= 0)
            keys = np.concatenate((keys, text[:-1][pair] * width + column[pair]))
        keys.sort()
        begins = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1]))) if len(keys) else keys
        often = (
            np.diff(np.concatenate((begins, [len(keys)]))).astype(np.float32) if len(keys) else np.zeros(0, np.float32)
        )
        rows, columns = np.divmod(keys[begins], width)
        indptr = np.concatenate(([0], np.cumsum(np.bincount(rows, minlength=len(lengths)))))
        return sparse.csr_matrix((often, columns.astype(np.int32), indptr), shape=(len(lengths), self.width))


def _word_hashes(words: Sequence[str]) -> NDArray[np.uint64]:
    """A polynomial of each word's letters, modulo 2**64."""
    longest = max(map(len, words))
    letters = np.zeros((len(words), longest), np.uint64)
    for i, word in enumerate(words):
        letters[i, : len(word)] = np.frombuffer(word.encode(), np.uint8)
    powers = np.cumprod(np.concatenate((np.ones(1, np.uint64), np.full(longest - 1, _P, np.uint64))), dtype=np.uint64)
    return (letters * powers).sum(axis=1, dtype=np.uint64)


def features(texts: Sequence[str], bits: int) -> sparse.csr_matrix:
    """Hashed counts over all 2**bits buckets, shape (len(texts), 2**bits), float32."""
    lexicon = Lexicon(np.arange(1 << bits, dtype=np.int32), bits)
    parts = [lexicon.counts(*lexicon.ids(texts[i : i + BATCH])) for i in range(0, len(texts), BATCH)]
    return sparse.vstack(parts, format="csr") if parts else sparse.csr_matrix((0, 1 << bits), dtype=np.float32)


def weigh(counts: sparse.csr_matrix, idf: NDArray[np.float32]) -> sparse.csr_matrix:
    """log(1 + count) * idf, each row of length 1."""
    matrix = counts.copy()
    matrix.data = np.log1p(matrix.data) * idf[matrix.indices]
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    norm = np.sqrt(np.bincount(rows, matrix.data**2, matrix.shape[0]))
    matrix.data /= np.where(norm > 0, norm, 1)[rows].astype(np.float32)
    return matrix
