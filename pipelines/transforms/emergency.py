"""A report's words -> the emergency rule that calls for 112, or none.

Words are data (models/emergency.toml). A danger is read where it is told: what makes it harmless ("takut", "bisa")
counts only inside its own clause, what tells of another time or of a request ("minggu lalu") in the whole text.
Belongs here: finding those words, in time linear in the text. Not here: who acts (route).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

_CLAUSE = re.compile(r"[.,;:!?\n]+")
_KNOWN = 65_536  # words remembered
_STEM = 3  # letters a stem ("kebakar*") has at least
_DRAWN_OUT = re.compile(r"(.)\1{2,}")  # "tolonggg"

Pair = tuple[Sequence[str], Sequence[str]]


@dataclass(frozen=True, slots=True)
class Alarm:
    """One emergency rule. any: phrases that are enough; together: pairs of lists, one of each within `window`
    words; none: what silences it in the same clause. Phrases are words in lower case, each maybe a stem: "kebakar*"."""

    id: str
    any: Sequence[str]
    together: Sequence[Pair]
    none: Sequence[str]


@dataclass(frozen=True, slots=True)
class _Phrase:
    words: tuple[str, ...]
    roles: tuple[int, ...]


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
        roles: dict[str, set[int]] = {}
        self._roles = 0
        frequent = set(map(self._plain, frequent))

        def role(phrases: Iterable[str]) -> int:
            for phrase in phrases:
                roles.setdefault(" ".join(map(self._plain, phrase.lower().split())), set()).add(self._roles)
            self._roles += 1
            return self._roles - 1

        self._calm, self._unless = role(calm), role(unless)
        self._rules = [
            (a.id, role(a.any), [(role(one), role(other)) for one, other in a.together], role(a.none)) for a in alarms
        ]
        opening = {n for _, some, pairs, _ in self._rules for n in (some, *(left for left, _ in pairs))}
        exact: dict[str, list[_Phrase]] = {}
        stems: dict[str, list[_Phrase]] = {}
        for phrase, found in sorted(roles.items()):
            words = tuple(phrase.split())
            table = stems if words[0].endswith("*") else exact
            table.setdefault(words[0].removesuffix("*"), []).append(_Phrase(words[1:], tuple(sorted(found))))
        # A text is read only if it has all words of a phrase that can start an alarm. Each is looked up by one of them:
        # its longest that is not frequent, most often its rarest.
        keys: dict[str, list[frozenset[str]]] = {}
        for phrase, found in roles.items():
            if not opening.isdisjoint(found):
                words = tuple(phrase.split())
                key = max(words, key=lambda word: (word not in frequent, len(word)))
                keys.setdefault(key, []).append(frozenset(w for w in words if not w.endswith("*")))
        self._starting, self._asking = _starting(exact, stems), _asking(keys)

    def of(self, text: str, words: Sequence[str], fold: Callable[[str], list[str]]) -> str | None:
        """Id of the first rule that holds for a text, else None. words: fold(text), which the caller has at hand."""
        words = list(map(self._plain, words))
        present = set(words)
        wanted = filter(None, map(self._asking, present))
        if not any(need <= present for needs in wanted for need in needs) or self._is_calm(words):
            return None
        places, clauses = self._read(
            [list(map(self._plain, fold(clause))) for clause in _CLAUSE.split(text[: self._reads])]
        )
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

    def _is_calm(self, words: Sequence[str]) -> bool:
        return any(
            self._calm in phrase.roles and _follows(words, at, phrase.words)
            for at, word in enumerate(words, 1)
            for phrase in self._starting(word)
        )

    def _read(self, spoken: Sequence[Sequence[str]]) -> tuple[list[list[int]], list[int]]:
        """(per role the positions of its phrases, per position its clause)."""
        places: list[list[int]] = [[] for _ in range(self._roles)]
        clauses: list[int] = []
        for number, words in enumerate(spoken):
            start = len(clauses)
            for at, word in enumerate(words):
                for phrase in self._starting(word):
                    if _follows(words, at + 1, phrase.words):
                        for role in phrase.roles:
                            places[role].append(start + at)
            clauses.extend([number] * len(words))
        return places, clauses


def _plain(spellings: Mapping[str, str]) -> Callable[[str], str]:
    """word -> the word it is read as; letters said three times or more count once: "tolonggg"."""

    @lru_cache(_KNOWN)
    def plain(word: str) -> str:
        once = _DRAWN_OUT.sub(r"\1", word) if word.isalpha() else word
        return spellings.get(once, once)

    return plain


def _starting(
    exact: Mapping[str, Sequence[_Phrase]], stems: Mapping[str, Sequence[_Phrase]]
) -> Callable[[str], Sequence[_Phrase]]:
    """word -> phrases that may begin with it."""
    longest = max(map(len, stems), default=0)

    @lru_cache(_KNOWN)
    def starting(word: str) -> Sequence[_Phrase]:
        found = list(exact.get(word, ()))
        for length in range(_STEM, min(len(word), longest) + 1):
            found += stems.get(word[:length], ())
        return found

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
        return found

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
