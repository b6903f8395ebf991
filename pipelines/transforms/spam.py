"""Whether a text is advertising, by models/spam.toml.

It is only where a ware is offered, somebody calls to buy it, and nobody asks or complains: what is set aside opens no
ticket. Belongs here: reading a text for that. Not here: other messages nobody said (own replies, bounces: sources).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from pipelines.transforms.route import Phrases, fold


@dataclass(frozen=True)
class Spam:
    """wares: folded phrase -> label of what is offered; call: phrases that call to buy; unless: those of whoever asks
    or complains."""

    wares: Mapping[str, str]
    call: frozenset[str]
    unless: frozenset[str]

    @cached_property
    def _offers(self) -> Phrases:
        return Phrases(self.wares)

    @cached_property
    def _others(self) -> Phrases:
        return Phrases(self.call | self.unless)

    def of(self, *texts: str | None) -> str | None:
        """What is advertised, with the words that told, or None. texts: title and text of one message."""
        words = fold(" ".join(text for text in texts if text))
        offers = self._offers.within(words)
        if not offers:
            return None
        others = self._others.within(words)
        called = others & self.call
        if not called or others & self.unless:
            return None
        return f"{self.wares[min(offers)]}: {', '.join(sorted(offers | called))}"


def folded(phrases: Sequence[str]) -> list[str]:
    """Phrases as texts are compared with them."""
    return [" ".join(fold(phrase)) for phrase in phrases]
