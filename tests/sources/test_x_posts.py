"""A post of X: what a page holds and what a post means."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipelines.contracts import Draft, Message, Stream
from pipelines.errors import FilteredMessage, RejectedMessage
from pipelines.sources.x_posts import PAYLOAD_TYPE, decode, id_at, read_page, time_of

NOW = datetime(2026, 10, 7, 3, 0, tzinfo=UTC)
USER = "1001"
STREAM = Stream("twitter", "uji", "twitter", {"user_id": USER, "handle": "@dinas_contoh"})
FIELDS = [
    "id", "text", "created_at", "author_id", "note_tweet", "note_post", "full_text", "extended_tweet",
    "edit_history_tweet_ids", "edit_history_post_ids", "referenced_tweets", "referenced_posts", "type",
    "attachments", "media_keys", "entities", "urls", "url", "expanded_url", "geo", "place_id",
    "coordinates", "bbox", "full_name", "includes", "users", "tweets", "posts", "media", "places",
    "username", "name", "media_key", "withheld", "country_codes", "conversation_id", "lang",
]  # fmt: skip


def read(post: dict[str, Any], **includes: Any) -> Draft:
    (message,) = read_page({"data": [{"id": "5", **post}], "includes": includes}, PurePosixPath("1.json"), NOW)
    return decode(message, STREAM)


def test_an_id_tells_the_time_to_the_millisecond() -> None:
    assert time_of(str(id_at(NOW) + 4_194_303)) == NOW
    assert [time_of(i) for i in ("5", "x", "\u00b2", "9" * 30, "")] == [None] * 5


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"author_id": USER}, "own_reply"),
        ({"author_id": "3003"}, "own_reply"),
        ({"referenced_tweets": [{"type": "retweeted", "id": "7"}]}, "repost: of 7"),
        ({"referenced_tweets": [{"type": "reposted", "id": "7"}]}, "repost: of 7"),
    ],
)
def test_own_posts_and_reposts_are_filtered(fields: dict[str, Any], reason: str) -> None:
    users = [{"id": "3003", "name": "Dinas", "username": "Dinas_Contoh"}]
    with pytest.raises(FilteredMessage) as caught:
        read({"text": "x", **fields}, users=users)
    assert str(caught.value) == reason


@pytest.mark.parametrize("kind", ["quoted", "replied_to"])
def test_quotes_and_replies_of_citizens_are_reports(kind: str) -> None:
    assert read({"text": "masih rusak", "referenced_tweets": [{"type": kind, "id": "7"}]}).text == "masih rusak"


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"text": "pohon &amp; kabel &lt;tumbang&gt;"}, "pohon & kabel <tumbang>"),
        ({"full_text": "pohon tumbang menutup jalan", "text": "pohon tumb…"}, "pohon tumbang menutup jalan"),
        ({"extended_tweet": {"full_text": "pohon tumbang sekali"}, "text": "pohon…"}, "pohon tumbang sekali"),
        ({"note_post": {"text": "pohon tumbang besar"}, "text": "pohon…"}, "pohon tumbang besar"),
        (
            {
                "text": "lihat https://t.co/a ini https://t.co/b https://t.co/c",
                "entities": {
                    "urls": [
                        {"url": "https://t.co/a", "expanded_url": "https://example.com"},
                        {"url": "https://t.co/b", "media_key": "3_1"},
                        {"url": "https://t.co/c", "expanded_url": "https://x.com/u/status/5/photo/1"},
                    ]
                },
            },
            "lihat https://t.co/a ini",
        ),
    ],
)
def test_the_whole_text_is_read_without_escapes_and_picture_links(fields: dict[str, Any], text: str) -> None:
    assert read(fields).text == text


@pytest.mark.parametrize(
    ("geo", "place", "expected"),
    [
        ({}, {}, {}),
        ({"place_id": "p"}, {"full_name": "Jakarta Barat"}, {"address_text": "Jakarta Barat"}),
        (
            {"place_id": "p"},
            {"name": "Pasar Contoh", "geo": {"bbox": [106.80, -6.20, 106.81, -6.19]}},
            {"address_text": "Pasar Contoh", "lat": -6.195, "lon": 106.805, "accuracy_m": 784.9},
        ),
        ({"coordinates": {"coordinates": [0, 0]}}, {}, {}),
        ({"coordinates": {"coordinates": [106.8, 96.2]}}, {}, {}),
        ({"coordinates": {"coordinates": ["106.8", -6.2]}}, {}, {}),
        ({"place_id": "p"}, {"geo": {"bbox": [1, 2, 3]}}, {}),
    ],
)
def test_a_point_is_taken_only_where_it_says_something(
    geo: dict[str, Any], place: dict[str, Any], expected: dict[str, Any]
) -> None:
    draft = read({"text": "x", "geo": geo}, places=[{"id": "p", **place}])
    found = {k: getattr(draft, k) for k in ("address_text", "lat", "lon", "accuracy_m")}
    rounded = {k: round(v, 3) if isinstance(v, float) else v for k, v in found.items() if v is not None}
    assert rounded == expected


def test_media_without_their_object_are_still_counted() -> None:
    assert read({"attachments": {"media_keys": ["3_7", "13_8"]}}).attachments == [
        {"type": "photo"},
        {"type": "video"},
    ]


@pytest.mark.parametrize(
    "payload",
    [b"{", b"[]", b'{"post": {}}', b'{"post": {"id": "1", "text": "  "}}', b'{"post": 5}'],
)
def test_a_post_with_nothing_to_read_is_set_aside_in_words_for_a_clerk(payload: bytes) -> None:
    broken = Message("1", "1", payload, PAYLOAD_TYPE, NOW)
    with pytest.raises(RejectedMessage, match=r"Periksa kiriman aslinya|Ambil ulang"):
        decode(broken, STREAM)


def test_decoding_depends_on_the_message_alone() -> None:
    (whole,) = read_page({"data": [{"id": "5", "text": "jalan rusak"}]}, PurePosixPath("1.json"), NOW)
    later = replace(whole, fetched_at=NOW + timedelta(days=400), origin="lain")
    assert decode(later, STREAM) == decode(whole, STREAM)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=5),
    max_leaves=25,
)


@settings(max_examples=150, deadline=None)
@example({"id": [], "geo": {"place_id": []}, "referenced_tweets": [{"type": {}, "id": []}]}, {})
@given(
    st.dictionaries(st.sampled_from(FIELDS), _json, max_size=8),
    st.dictionaries(st.sampled_from(FIELDS), _json),
)
def test_whatever_json_comes_is_landed_whole_and_read_or_set_aside(post: dict[str, Any], page: dict[str, Any]) -> None:
    for message in read_page({**page, "data": [post]}, PurePosixPath("1.json"), NOW):
        assert message.source_ref
        assert message.version
        assert same(json.loads(message.payload)["post"], post)
        try:
            draft = decode(message, STREAM)
        except (RejectedMessage, FilteredMessage):
            continue
        assert draft.text or draft.attachments
        draft.text.encode()


def same(one: object, other: object) -> bool:
    return json.dumps(one) == json.dumps(other)
