"""An object of the Graph API: what an answer holds and what a post, comment or message means."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.contracts import Draft, Message, Stream
from pipelines.errors import FilteredMessage, RejectedMessage
from pipelines.sources.fb_objects import PAYLOAD_TYPE, comments_of, decode, messages_of, read_page

NOW = datetime(2026, 10, 7, 3, 0, tzinfo=UTC)
PAGE = "7001"
STREAM = Stream("facebook", "uji", "facebook", {"page_id": PAGE})
CITIZEN = {"id": "9", "name": "Warga Contoh"}
FIELDS = [
    "id", "message", "story", "created_time", "from", "to", "name", "email", "place", "location",
    "latitude", "longitude", "street", "city", "attachment", "attachments", "subattachments", "data",
    "media", "image", "src", "type", "media_type", "mime_type", "size", "url", "target", "comments",
    "parent", "parent_id", "status_type", "permalink_url", "is_private",
]  # fmt: skip


def first_of(item: dict[str, Any], edge: str | None = "feed") -> Message:
    return messages_of({"id": f"{PAGE}_1", **item}, edge, NOW)[0]


def read(item: dict[str, Any], edge: str | None = "feed") -> Draft:
    return decode(first_of(item, edge), STREAM)


def test_a_post_is_read_whole() -> None:
    item = {
        "message": "Lampu jalan mati di Meruya Utara",
        "created_time": "2026-10-05T12:30:00+0000",
        "updated_time": "2026-10-06T12:30:00+0000",
        "from": CITIZEN,
        "permalink_url": f"https://www.facebook.com/{PAGE}/posts/1",
        "place": {
            "id": "55",
            "name": "Pasar Contoh",
            "location": {"city": "Jakarta", "street": "Jl. Contoh 1", "latitude": -6.19, "longitude": 106.73},
        },
        "attachments": {
            "data": [
                {
                    "media_type": "album",
                    "type": "album",
                    "subattachments": {"data": [file("photo", "a"), file("video_inline", "b")]},
                },
                {"media_type": "link", "type": "share", "url": "https://example.com/berita"},
            ]
        },
    }
    message = first_of(item)
    assert message.payload_type == "application/vnd.kanal.fb-object+json"
    assert (message.source_ref, message.edited_at) == (f"{PAGE}_1", None)
    assert decode(message, STREAM) == Draft(
        text="Lampu jalan mati di Meruya Utara",
        occurred_at=datetime(2026, 10, 5, 12, 30, tzinfo=UTC),
        author_ref="fb:9",
        author_name="Warga Contoh",
        sender_level="claimed",
        conversation_ref=f"{PAGE}_1",
        source_url=f"https://www.facebook.com/{PAGE}/posts/1",
        address_text="Pasar Contoh, Jl. Contoh 1, Jakarta",
        lat=-6.19,
        lon=106.73,
        accuracy_m=100.0,
        attachments=[
            {"type": "photo", "url": "https://scontent.example.com/a.jpg"},
            {"type": "video", "url": "https://scontent.example.com/b.jpg"},
        ],
        extra={"object": "post", "edge": "feed", "shared_links": ["https://example.com/berita"]},
    )


def test_a_comment_knows_its_post_and_what_it_answers() -> None:
    comment = {
        "id": "1_5",
        "message": "di sini juga",
        "created_time": "2026-10-05T12:31:00+0000",
        "from": CITIZEN,
        "parent": {"id": "1_4"},
        "attachment": file("photo", "c"),
        "permalink_url": "/7001/posts/1?comment_id=5",
    }
    (message,) = comments_of({"data": [comment]}, f"{PAGE}_1", "feed", NOW)
    draft = decode(message, STREAM)
    assert draft.conversation_ref == f"{PAGE}_1"
    assert draft.extra == {"object": "comment", "edge": "feed", "reply_to": "1_4"}
    assert draft.source_url == "https://www.facebook.com/7001/posts/1?comment_id=5"
    assert draft.attachments == [{"type": "photo", "url": "https://scontent.example.com/c.jpg"}]


def test_a_comment_recorded_alone_belongs_to_the_thread_its_id_names() -> None:
    alone = {"id": "1_5", "message": "di sini juga", "comment_count": 0}
    assert read(alone, None).conversation_ref == f"{PAGE}_1"
    assert read(alone | {"id": "5"}, None).conversation_ref is None


def test_a_recorded_private_message_is_private_and_its_made_up_address_is_left_out() -> None:
    item = {
        "id": "m_1",
        "message": "gotnya mampet",
        "from": {**CITIZEN, "email": "9@facebook.com"},
        "to": {"data": [{"id": PAGE}]},
        "attachments": {
            "data": [
                {"mime_type": "image/jpeg", "name": "got.jpg", "size": 1200, "image_data": {"url": "https://scontent.example.com/g.jpg"}},
                {"mime_type": "application/pdf", "name": "surat.pdf", "size": 5, "file_url": "https://scontent.example.com/s"},
            ]
        },
    }  # fmt: skip
    draft = read(item, edge=None)
    assert draft.private
    assert draft.contact_email is None
    assert draft.attachments == [
        {"type": "photo", "url": "https://scontent.example.com/g.jpg", "name": "got.jpg", "size": 1200},
        {"type": "file", "url": "https://scontent.example.com/s", "name": "surat.pdf", "size": 5},
    ]


def test_the_version_follows_what_the_author_can_edit_and_nothing_else() -> None:
    item: dict[str, Any] = {
        "message": "a",
        "attachments": {"data": [file("photo", "x")]},
        "place": {"id": "5"},
    }
    version = first_of(item).version
    signed = file("photo", "x")
    signed["media"]["image"]["src"] += "?oh=2"
    same: list[dict[str, Any]] = [
        item | {"attachments": {"data": [signed]}},
        item | {"updated_time": "2026-10-06T12:30:00+0000", "like_count": 3, "comments": {"data": []}},
        item | {"is_hidden": True, "permalink_url": "https://www.facebook.com/2"},
    ]
    other: list[dict[str, Any]] = [
        item | {"message": "b"},
        item | {"attachments": {"data": []}},
        item | {"attachments": {"data": [file("photo", "y")]}},
        item | {"place": {"id": "6"}},
    ]
    assert {first_of(i).version for i in same} == {version}
    assert len({version, *(first_of(i).version for i in other)}) == 5


@pytest.mark.parametrize(
    ("item", "edge", "reason"),
    [
        ({"message": "Terima kasih", "from": {"id": PAGE}}, "feed", "own_reply"),
        ({"message": "Pengumuman"}, "posts", "own_reply"),
        ({"from": CITIZEN, "status_type": "shared_story"}, "feed", "repost: of a shared story"),
        ({"from": CITIZEN, "parent_id": "5_6", "story": "Warga membagikan"}, "tagged", "repost: of 5_6"),
    ],
)
def test_the_pages_own_words_and_wordless_shares_are_filtered(item: dict[str, Any], edge: str, reason: str) -> None:
    with pytest.raises(FilteredMessage) as caught:
        read(item, edge)
    assert str(caught.value) == reason


def test_a_share_with_words_of_its_own_is_a_report() -> None:
    draft = read({"message": "di RW saya juga", "from": CITIZEN, "parent_id": "5_6", "status_type": "shared_story"})
    assert draft.text == "di RW saya juga"


def test_a_comment_under_the_pages_own_post_is_a_report_although_the_post_is_not() -> None:
    item = {
        "id": f"{PAGE}_1",
        "message": "Info",
        "comments": {"data": [{"id": "1_1", "message": "banjir lagi"}]},
    }
    own, comment = messages_of(item, "posts", NOW)
    with pytest.raises(FilteredMessage):
        decode(own, STREAM)
    draft = decode(comment, STREAM)
    assert (draft.text, draft.sender_level, draft.author_ref) == ("banjir lagi", "anonymous", None)


def test_a_sticker_or_picture_alone_is_something_to_look_at() -> None:
    assert read({"attachment": {"type": "sticker", "url": "https://www.facebook.com/s"}}).attachments == [
        {"type": "photo", "url": "https://www.facebook.com/s"}
    ]


@pytest.mark.parametrize(
    "payload",
    [
        b"{",
        b"[]",
        b"{}",
        b'{"object": 5}',
        b'{"object": {"message": " "}}',
        b'{"object": {"story": "W di sini"}}',
    ],
)
def test_an_object_with_nothing_to_read_is_set_aside_in_words_for_a_clerk(payload: bytes) -> None:
    with pytest.raises(RejectedMessage, match=r"Periksa kiriman aslinya|Ambil ulang"):
        decode(Message("1", "1", payload, PAYLOAD_TYPE, NOW), STREAM)


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ({}, (None, None)),
        ({"name": "Jakarta", "location": {"latitude": -6.2, "longitude": 106.8}}, ("Jakarta", None)),
        ({"name": "A", "location": {"street": "A", "latitude": -6.2, "longitude": 106.8}}, ("A", -6.2)),
        (
            {"name": "A", "location": {"street": "Jl. B", "latitude": "x", "longitude": 106.8}},
            ("A, Jl. B", None),
        ),
        ({"location": {"street": "Jl. B", "latitude": 0, "longitude": 0}}, ("Jl. B", None)),
    ],
)
def test_a_point_is_taken_only_of_a_place_with_a_street(place: dict[str, Any], expected: tuple[Any, Any]) -> None:
    draft = read({"message": "x", "place": place})
    assert (draft.address_text, draft.lat) == expected


@pytest.mark.parametrize(
    ("link", "kept"),
    [
        ("https://www.facebook.com/1/posts/2", True),
        ("https://m.facebook.com/1", True),
        ("https://facebook.com.example.com/1", False),
        ("javascript:alert(1)", False),
        ("//example.com/1", False),
        ("http://[::1", False),
        (7, False),
    ],
)
def test_an_address_is_kept_only_where_it_leads_to_facebook(link: object, kept: bool) -> None:
    assert (read({"message": "x", "permalink_url": link}).source_url == link) is kept


def test_objects_without_an_id_are_told_apart_by_their_address_then_by_content() -> None:
    page = {"data": [
        {"message": "sama", "permalink_url": "https://www.facebook.com/1"},
        {"message": "sama", "permalink_url": "https://www.facebook.com/2"},
        {"message": "sama"}, {"message": "lain"},
    ]}  # fmt: skip
    found = read_page(page, PurePosixPath("1.json"), NOW)
    assert len({m.source_ref for m in found}) == 4
    assert all(m.source_ref.startswith("sha256:") for m in found)


def test_decoding_depends_on_the_message_alone() -> None:
    whole = first_of({"message": "jalan rusak"})
    later = replace(whole, fetched_at=NOW + timedelta(days=400), origin="lain")
    assert decode(later, STREAM) == decode(whole, STREAM)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=5),
    max_leaves=25,
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(FIELDS), _json, max_size=8))
def test_whatever_json_comes_is_landed_whole_and_read_or_set_aside(item: dict[str, Any]) -> None:
    found = read_page({"data": [item]}, PurePosixPath("1.json"), NOW)
    own = {k: v for k, v in item.items() if k != "comments"}
    assert json.dumps(json.loads(found[0].payload)["object"]) == json.dumps(own)
    for message in found:
        assert message.source_ref
        try:
            draft = decode(message, STREAM)
        except (RejectedMessage, FilteredMessage):
            continue
        assert draft.text or draft.attachments
        draft.text.encode()


def file(kind: str, name: str) -> dict[str, Any]:
    return {
        "type": kind,
        "media": {"image": {"src": f"https://scontent.example.com/{name}.jpg"}},
        "target": {"id": name},
    }
