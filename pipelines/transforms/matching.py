"""models/matching.toml and models/matters.toml as linking uses them: what counts for how much."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

DAY = 86_400
_LONG = re.compile(r"([a-z])\1{2,}")


BELIEF = ("reported", "model", "model_unsure", "runner_up", "words", "words_enough", "unknown")


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


@dataclass(frozen=True)
class Matching:
    """groups: what a report may be about -> its reach. points: evidence -> what it counts. words: word or two -> group ->
    weight. belief: how much each judgement of the matter counts. pin_m: how far a point without a stated accuracy may be
    off. beside: what finds the words behind "in front of"; ends_mark: words that such a name ends before; ends_way: the
    same for streets. unfixed: phrases of whoever says that a work called done is not. picture_bits: in how many of 64
    bits two hashes of one picture may differ."""

    levels: Mapping[str, Level]
    groups: Mapping[str, Reach]
    points: Mapping[str, float]
    words: Mapping[str, Mapping[str, float]]
    belief: Mapping[str, float]
    pin_m: float
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

    def spoken_of(self, words: Sequence[str]) -> dict[str, float]:
        """group -> how much of a text's words speak of it."""
        bare = [_bare(w) for w in words]
        said = {word: 1.0 for word in bare if word in self.words}
        for one, two in pairwise(bare):
            if one in self._begins and (both := f"{one} {two}") in self.words:
                said[both] = 1.5  # two words say more than one
        found: dict[str, float] = {}
        for word, weight in said.items():
            hit = self.words[word]
            for group, share in hit.items():
                found[group] = found.get(group, 0.0) + weight * share / len(hit)
        return found

    @cached_property
    def _begins(self) -> frozenset[str]:
        return frozenset(w.partition(" ")[0] for w in self.words if " " in w)

    def says_unfixed(self, folded: str) -> bool:
        return self._unfixed.search(folded) is not None

    @cached_property
    def _unfixed(self) -> re.Pattern[str]:
        return re.compile(rf"\b(?:{'|'.join(map(re.escape, sorted(self.unfixed)))})\b" if self.unfixed else r"(?!)")


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
