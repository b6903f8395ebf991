"""What the words of a report say of the spot: street, house, block, estate, kampung, RT/RW, landmark, put together.

Belongs here: asking each reader of words (address, premises, landmarks) where its marks stand. Not here: which kelurahan
is meant (locate).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from pipelines.transforms import address, homes, landmarks, premises
from pipelines.transforms.gazetteer import START, Gazetteer, join

KELURAHAN = frozenset(("kel", "kelurahan", "kelrhn", "klurahan", "desa"))
KECAMATAN = frozenset(("kec", "kecamatan", "kcmtn", "kcamatan"))
_SPACED = {code: " " for code in range(128) if not chr(code).isalnum()}  # words apart; every character keeps its place
_RT_RW = re.compile(r"r(?<![a-z]r)\.?[tw]")
_STREETS = frozenset(("jl", "jln", "jalan", "gg", "gang"))
_OWN = homes.HOMES | homes.CLOSINGS
_LANDMARKS = landmarks.NEAR_WORDS | landmarks.KINDS
_SIGNS = _STREETS | _LANDMARKS | premises.ESTATES | premises.HAMLETS | _OWN | KELURAHAN | KECAMATAN


class Words(NamedTuple):
    """A text as it is read. plain: in ASCII; folded: that in lower case; spaced: that with a blank for all that is
    neither letter nor digit; said: the tokens that are marks of an address."""

    spoken: str
    plain: str
    folded: str
    spaced: str
    tokens: list[str]
    said: frozenset[str]


class Spot(NamedTuple):
    """Columns of contracts.REPORTS; premises is four of them."""

    street: str | None
    rt: int | None
    rw: int | None
    premises: premises.Premises
    landmark: str | None

    @property
    def told(self) -> bool:
        """Whether it can be gone to: a number without a street, or a landmark alone, is none."""
        return bool(self.street or self.rt or self.rw or self.premises.estate or self.premises.hamlet)


def words_of(spoken: str) -> Words:
    """A text made ready for reading."""
    plain = _plain(spoken)
    folded = plain.lower()
    spaced = folded.translate(_SPACED)
    tokens = spaced.split()
    return Words(spoken, plain, folded, spaced, tokens, _SIGNS.intersection(tokens))


def elsewhere(read: Words) -> Words | None:
    """The same less the writer's own home; None where it tells of none."""
    kept = None if _OWN.isdisjoint(read.said) else homes.without_home(read.spoken, read.said)
    return words_of(kept) if kept else None


def spot(read: Words, gazetteer: Gazetteer) -> Spot:
    """What the words say of the spot. gazetteer: so that a name ends where an area's begins."""
    spoken, plain, folded, spaced, _, said = read
    place_at = partial(_place_at, gazetteer=gazetteer)
    rt, rw = address.rt_rw(folded) if _RT_RW.search(folded) else (None, None)
    street, behind = address.street(spoken, place_at) if not _STREETS.isdisjoint(said) else (None, None)
    inside = premises.premises(plain, folded, spaced, said, behind, place_at, in_street=street is not None)
    landmark = landmarks.landmark(spoken, plain, spaced, said, place_at) if not _LANDMARKS.isdisjoint(said) else None
    return Spot(street, rt, rw, inside, landmark)


def described(told: Spot) -> str | None:
    """The address put together from its words; None where they would lead nowhere."""
    if not told.told:
        return None
    number, block, estate, hamlet = told.premises
    parts = (
        told.street, block and f"Blok {block}", number and f"No. {number}", estate, hamlet,
        f"RT {told.rt:03d}" if told.rt else None, f"RW {told.rw:03d}" if told.rw else None,
    )  # fmt: skip
    return " ".join(part for part in parts if part)


def _place_at(words: Sequence[str], i: int, *, gazetteer: Gazetteer) -> int:
    """Of how many words from i on the longest name of a kelurahan or kecamatan is; 0 where there is none."""
    for n in (3, 2, 1):
        name = join("".join(words[i : i + n]))
        if i + n <= len(words) and len(name) >= START and name not in gazetteer.weak:
            known = any(m.level in ("kelurahan", "kecamatan") for m in gazetteer.names.get(name, ()))
            if known and not (i + n < len(words) and address.ends_street(words[i + n])):
                return n
    return 0


def _plain(text: str) -> str:
    if text.isascii():
        return text
    return unicodedata.normalize("NFKD", text).encode("ascii", "replace").decode().replace("?", " ")
