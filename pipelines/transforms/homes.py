"""Where the writer lives, which is not where it happened: a signature's address, "saya tinggal di .. ingin melaporkan".

Mail brings its signature apart (sources/mail); other channels leave it in the text. Belongs here: finding those words.
Not here: whether another place is told (locate), which alone makes them count for nothing.
"""

from __future__ import annotations

import re
from collections.abc import Set as AbstractSet

# Where somebody lives, told beside what is reported: "saya tinggal di .. ingin melaporkan", "alamat pelapor ..", and as the
# last words of a text "rumah saya di ..". A full stop ends it behind a word, not behind "jl." or "no.".
_SENDER = re.compile(r"\balamat (?:pelapor|pengirim)\b[^\n;!?]{0,160}?(?=$|[\n;!?]|(?<=\w{4})\.(?:\s|$))", re.I)
_LIVES = re.compile(
    r"\b(?:saya|kami)\b[^\n.;!?]{0,40}?\b(?:(?:ber)?(?:tempat )?tinggal|(?:ber)?(?:domisili|alamat)) di\b[^\n;!?]{0,120}?"
    r"[\s,](?=(?:ingin|mau|hendak|mohon|melapor\w*|lapor\w*|mengadu\w*|menyampaikan)\b)",
    re.I,
)
_LAST = re.compile(
    r"(?:^|[\n.!?])\s{0,3}(?:rumah (?:saya|kami) (?:ada )?di|alamat (?:rumah )?(?:saya|kami))\b[^\n;!?]{0,120}$", re.I
)
_CLOSING = re.compile(
    r"(?:\n|[.!,]\s)[ \t]{0,3}(?:terima ?kasih|trima ?kasih|makasih|trims|tks|salam|hormat (?:saya|kami)|wassalam\w{0,10})\b",
    re.I,
)
# Behind a closing that is a line of its own, as letters have it: what follows is a signature however long it is.
_NAME_BELOW = re.compile(r"[ ,.]{0,3}(?:dan salam|kami|saya|pak|bu|min|admin)?[ ,.]{0,3}\n")
_TOLD_LATE = re.compile(r"\b(?:lokasi|tkp|titik|kejadian|alamat)\b", re.I)
# Without one of these near the end there is no home to be told there.
_MARKS = ("jl", "jalan", "gang", "gg", " rt", "\nrt", "blok", "kompl", "perum", "rusun", "kp", " no", "kel")
_SIGNED = 240  # characters below a closing that are still a signature
_ADDRESS = re.compile(
    r"\b(?:jl|jln|jalan|gg|gang|rt|rw|no|blok|komplek|kompleks|perum|perumahan|rusun|kp|kel|kelurahan)\b|\brt\d", re.I
)
_LIVING = frozenset(("tinggal", "domisili", "berdomisili", "beralamat"))
HOMES = _LIVING | {"alamat", "rumah"}
CLOSINGS = frozenset("kasih terimakasih trimakasih makasih trims tks salam hormat wassalam wassalamualaikum".split())


def without_home(text: str, said: AbstractSet[str]) -> str | None:
    """The text less what it tells of the writer's own home, in a signature or in so many words; None where it tells
    of none. said: its words, as far as they are of HOMES or CLOSINGS."""
    kept = _SENDER.sub(" ", text) if "alamat" in said else text
    kept = kept if _LIVING.isdisjoint(said) else _LIVES.sub(" ", kept)
    end = kept[-_SIGNED:].lower()
    if any(mark in end for mark in _MARKS):
        if last := _LAST.search(kept, max(0, len(kept) - _SIGNED)):
            kept = kept[: last.start()]
        closing = None if CLOSINGS.isdisjoint(said) else _CLOSING.search(kept, max(0, len(kept) - _SIGNED))
        if closing and _signs(kept, closing.start(), closing.end()):
            kept = kept[: closing.start()]
    return kept if kept != text else None


def _signs(text: str, above: int, below: int) -> bool:
    """Whether an address stands below a closing, and is not what the text was to tell."""
    if _ADDRESS.search(text, below) is None or _TOLD_LATE.search(text, below):
        return False
    alone = "\n" in text[above : above + 2] and _NAME_BELOW.match(text, below) is not None
    return above > 0 and (alone or above > len(text) - below)
