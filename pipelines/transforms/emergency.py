"""A report's words -> the emergency rule that calls for 112, or none; and a trained judge where no rule speaks.

Words are data (models/emergency.toml). A danger is read where it is told: what makes it harmless ("takut", "bisa")
counts only inside its own clause, what tells of another time or of a request ("minggu lalu") in the whole text.
Belongs here: finding those words, in time linear in the text. Not here: who acts (route).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

_CLAUSE = re.compile(r"[.,;:!?\n]+")
_KNOWN = 65_536  # words remembered
_STEM = 3  # letters a stem ("kebakar*") has at least
_DRAWN_OUT = re.compile(r"(.)\1{2,}")  # "tolonggg"

Pair = tuple[Sequence[str], Sequence[str]]
HEAD, YES, NO = "emergency", "ya", "tidak"  # of the judge that learned how emergencies are told


class Chances(Protocol):
    """What is asked of the trained component (transforms/classifier.py)."""

    def chances(self, texts: Sequence[str], head: str) -> NDArray[np.float64]: ...


@dataclass(frozen=True, slots=True)
class Likeness:
    """The judge that speaks where no rule does. id: the rule it is named as; accept: the chance it flags from."""

    id: str
    accept: float
    model: Chances

    def of(self, texts: Sequence[str]) -> list[bool]:
        """Whether each text is told as emergencies are. The labels are in the order of the alphabet."""
        return (self.model.chances(texts, HEAD)[:, (NO, YES).index(YES)] >= self.accept).tolist()


@dataclass(frozen=True, slots=True)
class Alarm:
    """One emergency rule. any: phrases that are enough; together: pairs of lists, one of each within `window`
    words; none: what silences it in the same clause. Phrases are words in lower case, each maybe a stem: "kebakar*"."""

    id: str
    any: Sequence[str]
    together: Sequence[Pair]
    none: Sequence[str]


class Alarms:
    """All rules, ready to read texts. unless: phrases that silence any rule in their clause; calm: in the whole text;
    window: words between the two of a pair, at most; reads: characters searched for danger; frequent: words not
    worth looking for; spellings: word -> the word it is read as, in texts and in phrases alike."""

    def __init__(
        self,
        alarms: Sequence[Alarm],
        *,
        unless: Sequence[str] = (),
        calm: Sequence[str] = (),
        window: int = 12,
        reads: int = 400,
        frequent: Collection[str] = (),
        spellings: Mapping[str, str] | None = None,
    ) -> None:
        self._window, self._reads, self._plain = window, reads, _plain(spellings or {})
        roles: dict[tuple[str, ...], set[int]] = {}
        self._roles = 0

        def words(phrase: str) -> tuple[str, ...]:
            return tuple(map(self._plain, phrase.lower().split()))

        def role(phrases: Iterable[str]) -> int:
            for phrase in phrases:
                roles.setdefault(words(phrase), set()).add(self._roles)
            self._roles += 1
            return self._roles - 1

        self._unless = role(unless)
        self._rules = [
            (a.id, role(a.any), [(role(one), role(other)) for one, other in a.together], role(a.none)) for a in alarms
        ]
        self._starting = _starting(roles)
        self._calming = _starting({words(phrase): {0} for phrase in calm})
        # A text is read only if it has all words of a phrase that can start an alarm. Each is looked up by one of them:
        # its longest that is not frequent, most often its rarest.
        opening = {n for _, some, pairs, _ in self._rules for n in (some, *(left for left, _ in pairs))}
        common = set(map(self._plain, frequent))
        keys: dict[str, list[frozenset[str]]] = {}
        for phrase, found in roles.items():
            if not opening.isdisjoint(found):
                key = max(phrase, key=lambda word: (word not in common, len(word)))
                keys.setdefault(key, []).append(frozenset(w for w in phrase if not w.endswith("*")))
        self._asking = _asking(keys)
        self._idle: set[str] = set()  # words seen that no alarm starts with

    def of(self, text: str, words: Sequence[str], fold: Callable[[str], list[str]]) -> str | None:
        """Id of the first rule that holds for a text, else None. words: fold(text), which the caller has at hand."""
        if not self._is_worth_reading(words):
            return None
        plain = list(map(self._plain, words))
        if next(self._spoken(plain, self._calming), None):
            return None
        places, clauses = self._read([fold(clause) for clause in _CLAUSE.split(text[: self._reads])])
        quiet = {clauses[p] for p in places[self._unless]}
        for name, some, pairs, none in self._rules:
            silent = quiet | {clauses[p] for p in places[none]}
            if any(clauses[p] not in silent for p in places[some]):
                return name
            for left, right in pairs:
                said = [p for p in places[left] if clauses[p] not in silent]
                if said and _near(said, [p for p in places[right] if clauses[p] not in silent], self._window):
                    return name
        return None

    def _is_worth_reading(self, words: Sequence[str]) -> bool:
        """Whether all words of some phrase that can start an alarm are there, in any order."""
        present: set[str] | None = None
        for word in set(words) - self._idle:
            needs = self._asking(self._plain(word))
            if not needs:
                if len(self._idle) >= _KNOWN:
                    self._idle.clear()
                self._idle.add(word)
                continue
            if present is None:
                present = set(map(self._plain, words))
            if any(need <= present for need in needs):
                return True
        return False

    def _read(self, spoken: Sequence[Sequence[str]]) -> tuple[list[list[int]], list[int]]:
        """(per role the positions of its phrases, per position its clause)."""
        places: list[list[int]] = [[] for _ in range(self._roles)]
        clauses: list[int] = []
        for number, words in enumerate(spoken):
            start = len(clauses)
            for at, roles in self._spoken(list(map(self._plain, words)), self._starting):
                for role in roles:
                    places[role].append(start + at)
            clauses.extend([number] * len(words))
        return places, clauses

    @staticmethod
    def _spoken(words: Sequence[str], starting: Callable[[str], _Begun | None]) -> Iterator[tuple[int, Iterable[int]]]:
        """(position, roles) of each phrase in plain words."""
        for at, begun in enumerate(map(starting, words), 1):
            if begun is None:
                continue
            if begun.alone:
                yield at - 1, begun.alone
            following = words[at] if at < len(words) else ""
            for rest, roles in (*begun.longer.get(following, ()), *begun.stemmed):
                if _follows(words, at, rest):
                    yield at - 1, roles


class _Begun(NamedTuple):
    """Phrases that may begin with a word: roles of those of that word alone; (other words, roles) of the longer ones
    by their second word; of those whose second word is a stem."""

    alone: Sequence[int]
    longer: Mapping[str, Sequence[tuple[Sequence[str], Iterable[int]]]]
    stemmed: Sequence[tuple[Sequence[str], Iterable[int]]]


def _plain(spellings: Mapping[str, str]) -> Callable[[str], str]:
    """word -> the word it is read as; letters said three times or more count once: "tolonggg"."""

    @lru_cache(_KNOWN)
    def plain(word: str) -> str:
        once = _DRAWN_OUT.sub(r"\1", word) if word.isalpha() else word
        return spellings.get(once, once)

    return plain


def _starting(phrases: Mapping[tuple[str, ...], set[int]]) -> Callable[[str], _Begun | None]:
    """word -> the phrases that may begin with it, None for none."""
    exact: dict[str, list[tuple[str, ...]]] = {}
    stems: dict[str, list[tuple[str, ...]]] = {}
    for phrase in sorted(phrases):
        table = stems if phrase[0].endswith("*") else exact
        table.setdefault(phrase[0].removesuffix("*"), []).append(phrase)
    longest = max(map(len, stems), default=0)

    @lru_cache(_KNOWN)
    def starting(word: str) -> _Begun | None:
        found = list(exact.get(word, ()))
        for length in range(_STEM, min(len(word), longest) + 1):
            found += stems.get(word[:length], ())
        if not found:
            return None
        longer: dict[str, list[tuple[Sequence[str], Iterable[int]]]] = {}
        stemmed = []
        for phrase in found:
            if len(phrase) == 1:
                continue
            entry = (phrase[1:], tuple(sorted(phrases[phrase])))
            if phrase[1].endswith("*"):
                stemmed.append(entry)
            else:
                longer.setdefault(phrase[1], []).append(entry)
        alone = {role for phrase in found if len(phrase) == 1 for role in phrases[phrase]}
        return _Begun(tuple(sorted(alone)), longer, stemmed)

    return starting


def _asking(keys: Mapping[str, Sequence[frozenset[str]]]) -> Callable[[str], Sequence[frozenset[str]]]:
    """word -> per phrase of which it is the key the words that must be there; keys may be stems."""
    stems = {k[:-1]: needs for k, needs in keys.items() if k.endswith("*")}
    beginnings = tuple(stems)

    @lru_cache(_KNOWN)
    def asking(word: str) -> Sequence[frozenset[str]]:
        found = list(keys.get(word, ()))
        if word.startswith(beginnings):
            found += [need for stem, needs in stems.items() if word.startswith(stem) for need in needs]
        return sorted({need - {word} for need in found}, key=len)

    return asking


def _follows(words: Sequence[str], at: int, wanted: Sequence[str]) -> bool:
    if len(words) - at < len(wanted):
        return False
    return all(
        word.startswith(w[:-1]) if w.endswith("*") else word == w
        for word, w in zip(words[at : at + len(wanted)], wanted, strict=True)
    )


def _near(some: Sequence[int], others: Sequence[int], window: int) -> bool:
    """Whether two ascending lists of positions have a pair at most `window` apart; one position is no pair."""
    i = j = 0
    while i < len(some) and j < len(others):
        if 0 < abs(some[i] - others[j]) <= window:
            return True
        if some[i] <= others[j]:
            i += 1
        else:
            j += 1
    return False
