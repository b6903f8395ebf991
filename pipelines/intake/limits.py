"""How much one address may send, how much may be held at once, and which address that is.

A token bucket an address, kept for the addresses seen last. IPv6 counts by /64, which is what one
line gets.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Networks = tuple[IPv4Network | IPv6Network, ...]

_KEPT = 20_000
_NOWHERE = ip_address("0.0.0.0")  # noqa: S104 - an address that is in no list, not one to bind


def networks(written: Iterable[str]) -> Networks:
    return tuple(ip_network(value, strict=False) for value in written)


def inside(address: Address, among: Networks) -> bool:
    return any(address in network for network in among if network.version == address.version)


def address_of(peer: str | None, forwarded: Iterable[str], trusted: Networks) -> Address:
    """Who sent a request: the peer, or where that is a trusted proxy, the nearest address it names that is none.

    forwarded: values of X-Forwarded-For, in order. Only proxies that are trusted are believed, so what
    a sender writes there himself counts for nothing.
    """
    found = _parsed(peer)
    for hop in reversed([hop for value in forwarded for hop in value.split(",")][-20:]):
        if not inside(found, trusted):
            break
        found = _parsed(hop)
    return found


def _parsed(text: str | None) -> Address:
    try:
        found = ip_address((text or "").strip())
    except ValueError:
        return _NOWHERE
    return found.ipv4_mapped or found if isinstance(found, IPv6Address) else found


def _line(address: Address) -> object:
    """What counts as one sender."""
    return ip_network((address, 64), strict=False) if isinstance(address, IPv6Address) else address


class Buckets:
    """Token buckets by address. per_second: tokens that come back; burst: the most there are."""

    def __init__(self, per_second: float, burst: int) -> None:
        self._rate, self._most = per_second, float(burst)
        self._held: OrderedDict[object, tuple[float, float]] = OrderedDict()

    def take(self, address: Address, now: float) -> float:
        """Take one token; 0 where there was one, else seconds until there is. now: monotonic seconds."""
        key = _line(address)
        tokens, at = self._held.pop(key, (self._most, now))
        tokens = min(self._most, tokens + (now - at) * self._rate)
        taken = tokens >= 1
        self._held[key] = (tokens - 1 if taken else tokens, now)
        if len(self._held) > _KEPT:
            self._held.popitem(last=False)
        return 0.0 if taken else (1 - tokens) / self._rate

    def give(self, address: Address) -> None:
        """Give a token back: its request does not count."""
        key = _line(address)
        tokens, at = self._held.get(key, (self._most, 0.0))
        self._held[key] = (min(self._most, tokens + 1), at)


class Room:
    """Bytes of bodies held in memory, by all who share it."""

    def __init__(self, most: int) -> None:
        self._left = most

    def take(self, size: int) -> bool:
        if size > self._left:
            return False
        self._left -= size
        return True

    def give(self, size: int) -> None:
        self._left += size
