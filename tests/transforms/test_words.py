"""Words of texts, and what they say, of many at once as of one after another."""

from __future__ import annotations

import re

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from pipelines.transforms.matching import hashed
from pipelines.transforms.words import Heard, hear, tells_beside, tokens
from tests.transforms.told import MATCHING

_PHRASES = [*MATCHING.unfixed, *MATCHING.besides, *list(MATCHING.words)[::7], *(w for w in MATCHING.words if " " in w)]
SAID = st.lists(
    st.sampled_from(_PHRASES) | st.sampled_from(["lampunya", "jalaaan", "rt2", "ü", "bangku"]) | st.text(max_size=6)
)
TEXTS = st.lists(st.none() | st.builds(" ".join, SAID) | st.text(), max_size=6)


def plain(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", re.sub(r"[A-Z]", lambda m: m[0].lower(), text))


@given(TEXTS, st.integers(0, 3))
def test_words_are_runs_of_letters_and_digits_and_no_word_goes_on_in_the_next_text(
    texts: list[str | None], before: int
) -> None:
    whole = pa.array(["didepan"] * before + texts, pa.string())
    codes, owners, spelt = tokens(whole[before:])  # a slice begins in the middle of its bytes
    found: list[list[str]] = [[] for _ in texts]
    for code, owner in zip(codes.tolist(), owners.tolist(), strict=True):
        found[owner].append(spelt[code])
    assert found == [plain(text or "") for text in texts]
    assert len(set(spelt)) == len(spelt)


def one_by_one(text: str) -> tuple[list[int], dict[str, float], bool, bool]:
    """What `hear` says of a text, read from its beginning to its end."""
    words, keys = plain(text), set[str]()
    looked = [MATCHING.look(word) for word in words]
    for n, word in enumerate(looked):
        keys.add(word.bare)
        if n:
            keys.add(f"{looked[n - 1].bare} {word.bare}")
    spoken: dict[str, float] = {}
    for key in keys & MATCHING.words.keys():
        for group, share in MATCHING.words[key].items():
            weight = 1.5 if " " in key else 1.0
            spoken[group] = spoken.get(group, 0.0) + weight * share / len(MATCHING.words[key])
    said = f" {' '.join(words)} "
    return (
        sorted({hashed(word) >> 32 for word in words}),
        {group: round(points, 9) for group, points in spoken.items()},
        any(word in MATCHING.besides for word in words),
        any(f" {phrase} " in said for phrase in MATCHING.unfixed),
    )


def told(heard: Heard, row: int) -> tuple[list[int], dict[str, float], bool, bool]:
    spoken = dict(zip(MATCHING.kinds, heard.spoken[row].tolist(), strict=True))
    return (
        heard.words.values[heard.words.start[row] : heard.words.start[row + 1]].tolist(),
        {group: round(points, 9) for group, points in spoken.items() if points},
        bool(heard.beside[row]),
        bool(heard.unfixed[row]),
    )


@given(TEXTS)
def test_many_texts_say_what_each_says_alone(texts: list[str | None]) -> None:
    heard = hear(pa.array(texts, pa.string()), MATCHING)
    assert [told(heard, row) for row in range(len(texts))] == [one_by_one(text or "") for text in texts]
    assert tells_beside(pa.array(texts, pa.string()), MATCHING).tolist() == heard.beside.tolist()


def test_what_a_text_says_depends_on_no_other_to_the_last_digit() -> None:
    texts = [" ".join(list(MATCHING.words)[n::5]) for n in range(5)]
    together = hear(pa.array(texts), MATCHING).spoken
    for row, text in enumerate(texts):
        assert hear(pa.array([text]), MATCHING).spoken[0].tolist() == together[row].tolist()
        assert hear(pa.array(["halo", *texts[::-1]]), MATCHING).spoken[5 - row].tolist() == together[row].tolist()
