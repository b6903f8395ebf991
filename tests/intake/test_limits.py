"""How much one address may send, and which address that is."""

from __future__ import annotations

from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st

from pipelines.intake.limits import Buckets, Room, address_of, networks

PROXY = networks(("127.0.0.1", "10.0.0.0/8"))
ONE, OTHER = ip_address("203.0.113.1"), ip_address("203.0.113.2")


def test_a_bucket_gives_its_burst_and_then_as_much_as_comes_back() -> None:
    buckets = Buckets(2.0, 3)
    assert [buckets.take(ONE, 100.0) for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]
    assert buckets.take(OTHER, 100.0) == 0.0
    assert [buckets.take(ONE, 100.5) for _ in range(2)] == [0.0, 0.5]


@given(st.lists(st.floats(0, 5), max_size=60))
def test_no_rhythm_gets_more_than_burst_and_rate(pauses: list[float]) -> None:
    buckets, now, taken = Buckets(2.0, 3), 1000.0, 0
    for pause in pauses:
        now += pause
        taken += buckets.take(ONE, now) == 0.0
    assert taken <= 3 + 2.0 * (now - 1000.0) + 1e-6


def test_a_whole_ipv6_line_counts_as_one_address() -> None:
    buckets = Buckets(0.1, 1)
    assert buckets.take(ip_address("2001:db8::1"), 1.0) == 0.0
    assert buckets.take(ip_address("2001:db8::ffff:2"), 1.0) > 0
    assert buckets.take(ip_address("2001:db8:0:1::1"), 1.0) == 0.0


def test_only_trusted_proxies_are_believed_and_only_as_far_as_they_are() -> None:
    def found(peer: str | None, *forwarded: str) -> str:
        return str(address_of(peer, forwarded, PROXY))

    assert found("203.0.113.9", "192.0.2.1") == "203.0.113.9"
    assert found("127.0.0.1") == "127.0.0.1"
    assert found("127.0.0.1", "192.0.2.1") == "192.0.2.1"
    assert found("127.0.0.1", "192.0.2.66, 192.0.2.1, 10.1.1.1") == "192.0.2.1"
    assert found("127.0.0.1", "192.0.2.66", "192.0.2.1") == "192.0.2.1"
    assert found("::ffff:127.0.0.1", "192.0.2.1") == "192.0.2.1"
    assert found("127.0.0.1", "tipu daya") == "0.0.0.0"
    assert found(None) == "0.0.0.0"


def test_room_that_was_taken_is_there_again_when_given_back() -> None:
    room = Room(10)
    assert (room.take(7), room.take(4)) == (True, False)
    room.give(7)
    assert room.take(10)
