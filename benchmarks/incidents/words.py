"""What fingers do to words: slips, long vowels, capitals, and the small edits of those who pass a text on."""

from __future__ import annotations

import re
from random import Random

from benchmarks.incidents.knowledge import phrases

_BLANKS = re.compile(r"\s+")
_MARKS = re.compile(r" +([,.;:!?)])")
_DOUBLE = re.compile(r"([,.;:])[,.;:]+")


_OWN = {"a": 0.7, "s": 0.5, "x": 0.7, "m": 0.75, "d": 0.6}  # share of texts with a detail
_JOINTS = (". ", ", ", "... ", " ", "! ", ". ")
_MINUTES = ("00", "15", "30", "45", "10", "20")


def tidy(text: str) -> str:
    """A text whose place was left out, without what stood around it."""
    text = _MARKS.sub(r"\1", _BLANKS.sub(" ", text).strip(" ,:"))
    return _DOUBLE.sub(r"\1", text)


def misspell(rng: Random, word: str) -> str:
    """One slip: two letters swapped, one dropped or doubled."""
    if len(word) < 4:
        return word
    i, way = 1 + int(rng.random() * (len(word) - 2)), rng.random()
    if way < 0.4:
        return word[:i] + word[i + 1] + word[i] + word[i + 2 :]
    return word[:i] + (word[i + 1 :] if way < 0.75 else word[i] + word[i:])


def typed(rng: Random, text: str, style: str) -> str:
    """The text as this style's writers type it."""
    if style in "md":
        return text
    luck = rng.random()
    if luck < 0.22:
        words = text.split(" ")
        i = int(rng.random() * len(words))
        if words[i].isalpha():
            words[i] = misspell(rng, words[i]) if luck < 0.14 else words[i] + words[i][-1] * (1 + int(rng.random() * 4))
        return " ".join(words)
    if luck < 0.27:
        return text.upper()
    if luck < 0.40:
        return text.lower()
    return text


def wrapped(rng: Random, text: str, style: str, *, bare: bool) -> str:
    """With something of one's own, a greeting, a closing, or as it is. bare: the text names no place."""
    known = phrases()
    if rng.random() < (0.95 if bare else _OWN[style]):
        detail = rng.choice(known["details"][style])
        if "{" in detail:
            hour = f"{int(24 * rng.random()):02}{rng.choice(':.')}{rng.choice(_MINUTES)}"
            detail = detail.format(
                siapa=rng.choice(known["who"]), n=2 + int(28 * rng.random()), jam=hour, hari=rng.choice(known["days"])
            )
        joint = ". " if style in "md" else rng.choice(_JOINTS)
        text = f"{text.rstrip('.')}{joint}{detail}" if rng.random() < 0.8 or style in "md" else f"{detail}, {text}"
    if style in "am" and rng.random() < 0.18:
        text = rng.choice(known["greetings"]) + text
    if style in "asmx" and rng.random() < 0.3:
        text = text.rstrip(".") + rng.choice(known["closings"])
    return text


def passed_on(rng: Random, text: str) -> str:
    """A forwarded text: a word before or behind, and up to three slips or lost words."""
    known = phrases()
    words = text.split(" ")
    for _ in range(int(rng.random() * 3) if len(words) > 9 else 0):
        i = int(rng.random() * len(words))
        if words[i].isalpha() and words[i].islower():  # names of places stay
            if rng.random() < 0.5 and len(words) > 8:
                del words[i]
            else:
                words[i] = misspell(rng, words[i])
    return rng.choice(known["forwards"]) + " ".join(words) + rng.choice(known["asides"])
