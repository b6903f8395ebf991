"""Texts -> their words, and what these say of a matter and a place, of many texts at once.

A million texts share few words, so each different word is looked at once and the rest are arrays of numbers. Belongs
here: words as linking compares them. Not here: the rest of a report (reading), which words say what (matching).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy import sparse

from pipelines.transforms.matching import Matching
from pipelines.transforms.traits import Ragged, distinct

# Of each byte of a text: itself in lower case where it is part of a word, else 0. Letters are a to z: Indonesian has no
# others, and one that only turns into them in lower case (the Turkish dotted I) ends a word here.
_LOWER = np.array([ord(chr(b).lower()) if b < 128 and chr(b).isalnum() else 0 for b in range(256)], dtype=np.uint8)


class Tokens(NamedTuple):
    """The words of texts in their order. codes: of each, its place in spelt; owners: its text; spelt: different words."""

    codes: NDArray[np.int64]
    owners: NDArray[np.int64]
    spelt: list[str]


@dataclass(frozen=True, slots=True)
class Heard:
    """words: hashes of each text's words, rising; spoken: how much of them speaks of each group, shape (texts, groups of
    Matching.kinds); beside: a place may be named by what it lies beside; unfixed: a work called done is not."""

    words: Ragged
    spoken: NDArray[np.float64]
    beside: NDArray[np.bool_]
    unfixed: NDArray[np.bool_]


def tokens(texts: pa.Array) -> Tokens:
    """Runs of letters and digits, in lower case. texts: strings or nulls."""
    whole = pa.concat_arrays([pc.fill_null(texts.cast(pa.large_string()), "")])
    bounds = np.frombuffer(whole.buffers()[1], dtype=np.int64)[whole.offset : whole.offset + len(whole) + 1]
    said = whole.buffers()[2]
    plain = _LOWER[np.frombuffer(said or b"", dtype=np.uint8)[bounds[0] : bounds[-1]]]
    bounds = bounds - bounds[0]
    inside = plain != 0
    first = inside.copy()
    first[1:] &= ~inside[:-1]
    starts = bounds[:-1][bounds[:-1] < len(plain)]
    first[starts] |= inside[starts]  # a text does not go on with the last word of the one before
    begins = np.flatnonzero(first)
    letters = plain[inside]
    kept = np.cumsum(inside)
    ends = np.append(kept[begins] - 1, len(letters)).astype(np.int64)
    words = pa.LargeStringArray.from_buffers(len(begins), pa.py_buffer(ends), pa.py_buffer(letters)).dictionary_encode()
    owners = np.searchsorted(bounds, begins, side="right") - 1
    return Tokens(words.indices.to_numpy().astype(np.int64), owners, words.dictionary.to_pylist())


def hear(texts: pa.Array, matching: Matching) -> Heard:
    """What linking compares of the words of texts."""
    codes, owners, spelt = tokens(texts)
    looked = [matching.look(word) for word in spelt]
    flags = np.array([(w.begins, w.ends, w.unfixed, w.beside) for w in looked], dtype=bool).reshape(len(looked), 4)
    begins, ends, unfixed, beside = flags.T
    key = np.array([w.key for w in looked], dtype=np.int64)
    number = np.array([w.number for w in looked], dtype=np.int64)
    one = np.flatnonzero(key[codes] >= 0)
    said = [(owners[one], key[codes[one]])]
    # Two words that say more than one; most that could begin such a pair do not.
    two = np.flatnonzero(begins[codes[:-1]] & ends[codes[1:]] & (owners[:-1] == owners[1:]))
    pairs, which = np.unique(codes[two] * len(spelt) + codes[two + 1], return_inverse=True)
    keys = [matching.pair(looked[p // len(spelt)], looked[p % len(spelt)]) for p in pairs.tolist()]
    of_pairs = np.array(keys, dtype=np.int64)[which]
    said.append((owners[two][of_pairs >= 0], of_pairs[of_pairs >= 0]))
    return Heard(
        _sets(owners, number[codes], len(texts)),
        _spoken(said, len(texts), matching),
        _any(owners[beside[codes]], len(texts)),
        _unfixed(codes, owners, np.flatnonzero(unfixed[codes]), spelt, len(texts), matching),
    )


def tells_beside(texts: pa.Array, matching: Matching) -> NDArray[np.bool_]:
    """Texts in which a place may be named by what it lies beside."""
    codes, owners, spelt = tokens(texts)
    beside = np.array([word in matching.besides for word in spelt], dtype=bool)
    return _any(owners[beside[codes]], len(texts))


def _sets(owners: NDArray[np.int64], numbers: NDArray[np.int64], count: int) -> Ragged:
    """The different numbers of each text, rising; of 32 bits each."""
    found = distinct((owners << 32) | numbers)
    start = np.searchsorted(found, np.arange(count + 1) << 32)
    return Ragged((found & 0xFFFFFFFF).astype(np.int32), start.astype(np.int64))


def _spoken(
    said: list[tuple[NDArray[np.int64], NDArray[np.int64]]], count: int, matching: Matching
) -> NDArray[np.float64]:
    """Each key counts once in a text; added up in the order of the keys, so that no digit depends on other texts."""
    rows, keys = (np.concatenate(parts) for parts in zip(*said, strict=True))
    each = len(matching.says)
    found = distinct(rows * each + keys)
    start = np.searchsorted(found, np.arange(count + 1) * each)
    shape = (count, each)
    return np.asarray(sparse.csr_array((np.ones(len(found)), found % each, start), shape=shape) @ matching.says)


def _any(rows: NDArray[np.int64], count: int) -> NDArray[np.bool_]:
    found = np.zeros(count, dtype=bool)
    found[rows] = True
    return found


def _unfixed(
    codes: NDArray[np.int64],
    owners: NDArray[np.int64],
    at: NDArray[np.int64],
    spelt: list[str],
    count: int,
    matching: Matching,
) -> NDArray[np.bool_]:
    """Texts with one of the phrases of [words]. at: words that begin one."""
    place = {word: code for code, word in enumerate(spelt)}
    rows = [np.zeros(0, np.int64)]
    for phrase in matching.unfixed_phrases:
        if all(word in place for word in phrase):
            here = at
            for n, word in enumerate(phrase):
                here = here[here + n < len(codes)]
                here = here[(codes[here + n] == place[word]) & (owners[here + n] == owners[here])]
            rows.append(owners[here])
    return _any(np.concatenate(rows), count)
