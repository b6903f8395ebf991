"""models/matching.toml and models/matters.toml as linking uses them: what counts for how much."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

DAY = 86_400
_LONG = re.compile(r"([a-z])\1{2,}")


BELIEF = ("reported", "model", "model_unsure", "runner_up", "words", "words_enough", "unknown")
# Where each band of a kind of evidence begins; one does not begin before the other.
RISING = (
    ("here_m",), ("point_within", "point_beyond", "point_far", "point_off"), ("letters_slip", "letters_unclear"),
    ("kind_unlike", "kind_doubtful", "kind_likely", "kind_same", "kind_sure"), ("later", "late"), ("text_some", "text_near"),
)  # fmt: skip
BANDS = tuple(name for names in RISING for name in names)


@dataclass(frozen=True, slots=True)
class Level:
    """When a level holds. horizon_days: how far apart in time; min_similarity: share of common words (Jaccard);
    min_similarity_unplaced, min_words: the same where one of two does not say where."""

    enabled: bool = True
    horizon_days: float = 0.0
    min_similarity: float = 0.0
    min_similarity_area: float = 1.0
    min_similarity_unplaced: float = 1.0
    min_words: float = 0.0
    min_points: float = 0.0
    min_score: float = 0.0


@dataclass(frozen=True, slots=True)
class Reach:
    """How far apart two reports of one kind of matter may be: in metres, in seconds, in house numbers. points: how much
    likelier than elsewhere two of them are one matter."""

    radius_m: float
    horizon_s: float
    houses: float
    points: float = 0.0


class Word(NamedTuple):
    """number: 32-bit hash; bare: without endings; key: place in Matching.keys, -1 where it says nothing alone; begins, ends: two
    words that do; unfixed: begins a phrase of [words]; beside: a place's name may follow."""

    number: int
    bare: str
    key: int
    begins: bool
    ends: bool
    unfixed: bool
    beside: bool


@lru_cache(maxsize=1 << 18)
def hashed(text: str | None) -> int:
    """A text as a 63-bit number, the same in every process, as Python's own hash is not; 0 for none."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest()) >> 1 if text else 0


@dataclass(frozen=True)
class Matching:
    """groups: what a report may be about -> its reach. points: evidence -> what it counts; bands: where each begins.
    words: word or two -> group -> weight. belief: how much each judgement of the matter counts. pin_m: how far a point
    without a stated accuracy may be off; pins: the same by channel. besides: in front of, near ...; beside: what finds
    the words behind these; ends_mark: words that such a name ends before; ends_way: the same for streets. unfixed:
    phrases of whoever says that a work called done is not. picture_bits: in how many of 64 bits two hashes of one
    picture may differ."""

    levels: Mapping[str, Level]
    groups: Mapping[str, Reach]
    points: Mapping[str, float]
    bands: Mapping[str, float]
    words: Mapping[str, Mapping[str, float]]
    belief: Mapping[str, float]
    pin_m: float
    pins: Mapping[str, float]
    besides: frozenset[str]
    beside: re.Pattern[str]
    ends_mark: frozenset[str]
    ends_way: frozenset[str]
    unfixed: frozenset[str]
    picture_bits: int

    @cached_property
    def reach(self) -> tuple[NDArray[np.float64], ...]:
        """radius_m, horizon_s, houses, points by group in order; last, where two have no group in common: a low one."""
        rows = [(r.radius_m, r.horizon_s, r.houses, r.points) for r in self.groups.values()]
        return tuple(np.array([*rows, tuple(np.quantile(np.array(rows), 0.25, axis=0))]).T)

    @cached_property
    def longest_s(self) -> float:
        """Beyond it no two reports are compared."""
        days = [level.horizon_days * DAY for level in self.levels.values()]
        return max(*days, *(r.horizon_s for r in self.groups.values()))

    def look(self, word: str) -> Word:
        """What a folded word means here; remembered, as a million texts share few words."""
        known = self._looked.get(word)
        if known is None:
            if len(self._looked) > 1 << 18:
                self._looked.clear()
            bare = _bare(word)
            if bare not in self._parts and word in self._parts:
                bare = word  # "bangku" is no "bang"
            known = self._looked[word] = Word(
                hashed(word) >> 32,
                bare,
                self.keys.get(bare, -1),
                bare in self._begins,
                bare in self._ends,
                word in self._unfixed,
                word in self.besides,
            )
        return known

    def pair(self, one: Word, other: Word) -> int:
        """Place in keys of two words, one behind the other; -1 for none."""
        return self.keys.get(f"{one.bare} {other.bare}", -1)

    @cached_property
    def kinds(self) -> tuple[str, ...]:
        """The groups by name."""
        return tuple(sorted(self.groups))

    @cached_property
    def keys(self) -> Mapping[str, int]:
        """Word or two -> its row in says."""
        return {word: n for n, word in enumerate(self.words)}

    @cached_property
    def says(self) -> NDArray[np.float64]:
        """How much each word or two speaks of each group, shape (keys, kinds); two words say more than one."""
        made = np.zeros((len(self.words), len(self.kinds)))
        for row, (word, hit) in zip(made, self.words.items(), strict=True):
            for group, share in hit.items():
                row[self.kinds.index(group)] = (1.5 if " " in word else 1.0) * share / len(hit)
        return made

    @cached_property
    def unfixed_phrases(self) -> tuple[tuple[str, ...], ...]:
        return tuple(tuple(phrase.split()) for phrase in sorted(self.unfixed))

    @cached_property
    def _looked(self) -> dict[str, Word]:
        return {}

    @cached_property
    def _parts(self) -> frozenset[str]:
        return frozenset(part for word in self.words for part in word.split())

    @cached_property
    def _begins(self) -> frozenset[str]:
        return frozenset(w.partition(" ")[0] for w in self.words if " " in w)

    @cached_property
    def _ends(self) -> frozenset[str]:
        return frozenset(w.partition(" ")[2] for w in self.words if " " in w)

    @cached_property
    def _unfixed(self) -> frozenset[str]:
        return frozenset(phrase[0] for phrase in self.unfixed_phrases)


def beside_pattern(words: Sequence[str]) -> re.Pattern[str]:
    """Finds up to three words behind any of these, in lower-case text."""
    return re.compile(rf"\b(?:{'|'.join(map(re.escape, words))})\s+((?:[a-z0-9']+ ?){{1,3}})")


@lru_cache(maxsize=1 << 16)
def _bare(word: str) -> str:
    word = _LONG.sub(r"\1", word)
    if word.endswith("2") and word[:-1].isalpha():
        word = word[:-1]
    for end in ("nya", "ku"):
        if word.endswith(end) and len(word) > len(end) + 2:
            return word[: -len(end)]
    return word
