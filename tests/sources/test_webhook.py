"""What requests of every dialect mean."""

from __future__ import annotations

import json
import sys
from base64 import b64encode
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.contracts import Draft, Message, Stream
from pipelines.entries import entries
from pipelines.errors import FilteredMessage, RejectedMessage, SettingsError
from pipelines.settings import default_models_dir
from pipelines.sources import webhook, x_posts
from pipelines.sources.attached import described
from pipelines.sources.dialects import Item, all_of, of_stream, parsed
from tests.pictures import picture, scene

NOW = datetime(2026, 11, 26, 3, 0, tzinfo=UTC)
AT = datetime(2026, 11, 26, 1, 0, tzinfo=UTC)
STAMP = int(AT.timestamp())
DIALECTS: dict[str, dict[str, Any]] = {d["id"]: d for d in entries(default_models_dir() / "webhooks.toml", "dialect")}
_NAMES = st.sampled_from(
    "entry changes value messages messaging from id text body message item verb data payload includes event_type reports"
    " image location latitude longitude timestamp sender field contacts wa_id lat lon files".split()
)
JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=4),
    max_leaves=20,
)


def stream(dialect: str, **options: Any) -> Stream:
    return Stream("sms", "uji", "webhook", {"dialect": DIALECTS[dialect], "secret_env": "X", **options})


def take(dialect: str, value: Any, method: str = "POST") -> list[Message]:
    if isinstance(value, bytes):
        received = webhook.Received(method, value if method == "GET" else b"", b"" if method == "GET" else value)
    else:
        received = webhook.Received(method, b"", json.dumps(value).encode())
    return webhook.take(of_stream(stream(dialect)), received, NOW).messages


def read(dialect: str, value: Any, method: str = "POST", **options: Any) -> Draft:
    [message] = take(dialect, value, method)
    return webhook.decode(message, stream(dialect, **options))


def whatsapp(*messages: Mapping[str, Any]) -> dict[str, Any]:
    value = {
        "metadata": {"display_phone_number": "622100000001"},
        "contacts": [{"wa_id": "62899", "profile": {"name": "Lain"}}, {"wa_id": "6281200000001", "profile": {"name": "Warga"}}],
        "messages": [{"from": "6281200000001", "timestamp": str(STAMP), "id": f"wamid.{n}", **m} for n, m in enumerate(messages)],
    }  # fmt: skip
    return {
        "object": "whatsapp_business_account",
        "entry": [{"id": "2", "changes": [{"field": "messages", "value": value}]}],
    }


def page(**value: Any) -> dict[str, Any]:
    base = {
        "item": "comment", "verb": "add", "comment_id": "900_1", "post_id": "900_0", "message": "Got mampet",
        "from": {"id": "77", "name": "Warga"}, "created_time": STAMP, "post": {"permalink_url": "https://www.facebook.com/900/0"},
    }  # fmt: skip
    return {"object": "page", "entry": [{"id": "900", "changes": [{"field": "feed", "value": base | value}]}]}


def test_a_whatsapp_text_is_a_report_of_a_number_that_is_proved() -> None:
    assert read(
        "whatsapp", whatsapp({"type": "text", "text": {"body": "Banjir"}, "context": {"id": "wamid.z"}})
    ) == Draft(
        text="Banjir",
        occurred_at=AT,
        author_ref="6281200000001",
        author_name="Warga",
        contact_phone="6281200000001",
        sender_level="verified",
        extra={"recipient": "622100000001", "reply_to": "wamid.z", "type": "text"},
    )


def test_whatsapps_other_kinds_bring_files_places_and_buttons() -> None:
    photo = read(
        "whatsapp",
        whatsapp(
            {
                "type": "image",
                "image": {"id": "7", "mime_type": "image/jpeg", "caption": "Ini"},
            }
        ),
    )
    assert (photo.text, photo.attachments, photo.extra["media_ids"]) == (
        "Ini",
        [{"type": "image/jpeg", "url": "https://graph.facebook.com/v27.0/7"}],
        ["7"],
    )
    voice = read(
        "whatsapp",
        whatsapp({"type": "audio", "audio": {"id": "8", "mime_type": "audio/ogg; codecs=opus", "voice": True}}),
    )
    assert (voice.text, voice.attachments) == (
        "",
        [{"type": "audio/ogg; codecs=opus", "url": "https://graph.facebook.com/v27.0/8"}],
    )
    paper = read("whatsapp", whatsapp({"type": "document", "document": {"id": "9", "filename": "surat.pdf"}}))
    assert paper.attachments == [{"type": "file", "name": "surat.pdf", "url": "https://graph.facebook.com/v27.0/9"}]
    odd = read("whatsapp", whatsapp({"type": "image", "image": {"id": "../me?x=", "caption": "Ini"}}))
    assert odd.attachments == [{"type": "photo"}]
    button = read("whatsapp", whatsapp({"type": "button", "button": {"text": "Lapor", "payload": "x"}}))
    assert button.text == "Lapor"
    pin = whatsapp({"type": "location", "location": {"latitude": -6.2, "longitude": 106.8, "name": "SDN"}})
    with pytest.raises(RejectedMessage, match="titik lokasi"):
        read("whatsapp", pin)
    with pytest.raises(RejectedMessage, match="tidak berisi tulisan"):
        read("whatsapp", whatsapp({"type": "unsupported", "errors": [{"code": 131051}]}))


def test_whatsapps_reactions_new_numbers_and_deletions_are_no_utterances() -> None:
    for kind, value in (
        ("reaction", {"message_id": "wamid.0", "emoji": "👍"}),
        ("system", {"body": "User changed", "type": "user_changed_number"}),
        ("revoke", {"original_message_id": "wamid.0"}),
    ):
        assert take("whatsapp", whatsapp({"type": kind, kind: value})) == []


def test_what_a_citizen_mends_in_whatsapp_is_a_new_version_of_what_he_said() -> None:
    first = take("whatsapp", whatsapp({"type": "text", "text": {"body": "Bnjir"}}))[0]
    edit = {"original_message_id": "wamid.0", "message": {"type": "text", "text": {"body": "Banjir"}}}
    mended = take("whatsapp", whatsapp({"id": "wamid.lain", "type": "edit", "edit": edit}))[0]
    assert mended.source_ref == first.source_ref and mended.version != first.version
    assert webhook.decode(mended, stream("whatsapp")).text == "Banjir"
    edit["message"] = {"type": "image", "image": {"id": "7", "mime_type": "image/jpeg", "caption": "Ini"}}
    photo = read("whatsapp", whatsapp({"type": "edit", "edit": edit}))
    assert (photo.text, photo.attachments, photo.extra["media_ids"]) == (
        "Ini",
        [{"type": "image/jpeg", "url": "https://graph.facebook.com/v27.0/7"}],
        ["7"],
    )


def test_who_hides_his_number_in_whatsapp_is_known_by_his_id() -> None:
    value = whatsapp({"type": "text", "text": {"body": "Banjir"}, "from_user_id": "ID.7"})
    inner = value["entry"][0]["changes"][0]["value"]
    del inner["messages"][0]["from"]
    inner["contacts"] = [{"profile": {"name": "Warga"}, "user_id": "ID.7"}]
    draft = read("whatsapp", value)
    assert (draft.author_ref, draft.author_name, draft.contact_phone) == ("ID.7", "Warga", None)
    assert draft.sender_level == "verified"


@pytest.mark.parametrize("dialect", ["whatsapp", "meta_page", "x_activity", "json"])
def test_no_depth_of_nesting_stops_a_request(dialect: str) -> None:
    item = {
        "whatsapp": '{"entry":[{"changes":[{"value":{"messages":[{"id":"1","z":%s}]}}]}]}',
        "meta_page": '{"entry":[{"messaging":[{"sender":{"id":"1"},"z":%s}]}]}',
        "x_activity": '{"data":{"event_type":"post.create","payload":{"id":"1","z":%s}}}',
        "json": '{"reports":[{"id":"1","text":"x","z":%s}]}',
    }[dialect]
    for depth in range(sys.getrecursionlimit() - 150, sys.getrecursionlimit() + 10):
        body = item % ("[" * depth + "]" * depth)
        with suppress(RejectedMessage):
            received = webhook.Received("POST", b"", body.encode())
            [message] = webhook.take(of_stream(stream(dialect)), received, AT).messages
            with suppress(RejectedMessage):
                webhook.decode(message, stream(dialect))


def test_each_of_several_messages_is_read_as_if_it_had_come_alone() -> None:
    texts = ["satu", "dua", "tiga"]
    together = take("whatsapp", whatsapp(*({"type": "text", "text": {"body": t}} for t in texts)))
    assert [webhook.decode(m, stream("whatsapp")).text for m in together] == texts
    alone = take("whatsapp", whatsapp({"type": "text", "text": {"body": "satu"}}))
    assert (together[0].source_ref, together[0].version) == (alone[0].source_ref, alone[0].version)


def test_a_comment_and_a_private_message_of_a_page() -> None:
    assert read("meta_page", page()) == Draft(
        text="Got mampet",
        occurred_at=AT,
        author_ref="fb:77",
        author_name="Warga",
        sender_level="claimed",
        conversation_ref="900_0",
        source_url="https://www.facebook.com/900/0",
        extra={"object": "comment"},
    )
    attachments = [{"type": "image", "payload": {"url": "https://example.id/1.jpg"}}]
    message = {
        "sender": {"id": "55"},
        "recipient": {"id": "900"},
        "timestamp": STAMP * 1000,
        "message": {"mid": "m_1", "text": "Halo", "attachments": attachments},
    }
    private = read("meta_page", {"object": "page", "entry": [{"id": "900", "messaging": [message]}]})
    assert (private.text, private.private, private.occurred_at, private.author_ref) == ("Halo", True, AT, "fb:55")
    assert private.attachments == [{"type": "photo", "url": "https://example.id/1.jpg"}]


def test_a_pages_own_words_are_filtered_and_likes_are_not_taken() -> None:
    with pytest.raises(FilteredMessage, match="own_reply"):
        read("meta_page", page(**{"from": {"id": "900"}}))
    echo = {"sender": {"id": "900"}, "message": {"mid": "m", "text": "x", "is_echo": True}}
    with pytest.raises(FilteredMessage, match="own_reply"):
        read("meta_page", {"entry": [{"id": "900", "messaging": [echo]}]})
    for receipt in (
        page(item="reaction"),
        page(verb="remove"),
        {"entry": [{"id": "900", "messaging": [{"read": {"watermark": 1}}]}]},
    ):
        assert take("meta_page", receipt) == []


def test_feed_and_messenger_in_one_request_lose_nothing() -> None:
    both = page()
    both["entry"][0]["messaging"] = [{"sender": {"id": "55"}, "message": {"mid": "m_1", "text": "Halo"}}]
    assert [webhook.decode(m, stream("meta_page")).text for m in take("meta_page", both)] == ["Got mampet", "Halo"]


def test_an_edited_comment_is_a_new_version_of_the_same_report() -> None:
    [one], [other] = take("meta_page", page()), take("meta_page", page(verb="edited", message="Got mampet total"))
    assert one.source_ref == other.source_ref and one.version != other.version


def test_a_post_of_x_comes_as_the_one_that_is_pulled() -> None:
    post = {
        "id": "2080761390344937796",
        "author_id": "200",
        "text": "@akunuji banjir",
        "created_at": "2026-07-24T21:05:48.000Z",
    }
    users = {"users": [{"id": "200", "name": "Warga", "username": "warga"}]}
    event = {"data": {"event_type": "post.mention.create", "payload": post, "includes": users}}
    [message] = take("x_activity", event)
    assert message == x_posts.message_of(post, {"includes": users}, NOW, "webhook")
    assert webhook.decode(message, stream("x_activity", handle="akunuji")).author_name == "Warga (@warga)"
    event["data"]["event_type"] = "like.create"
    assert take("x_activity", event) == []


def test_twilio_brings_text_files_and_where_they_are() -> None:
    form = (
        b"MessageSid=SM1&From=whatsapp%3A%2B6281200000001&To=whatsapp%3A%2B6221&Body=Jalan+%C3%A9&ProfileName=Warga&NumMedia=2"
        b"&MediaUrl0=https%3A%2F%2Fexample.id%2F0&MediaContentType0=image%2Fjpeg&MediaUrl1=https%3A%2F%2Fexample.id%2F1"
        b"&MediaContentType1=image%2Fpng&Latitude=-6.2&Longitude=106.8&SmsStatus=received"
    )
    draft = read("twilio", form)
    assert (draft.text, draft.contact_phone, draft.author_name, draft.lat, draft.lon) == (
        "Jalan é",
        "+6281200000001",
        "Warga",
        -6.2,
        106.8,
    )
    assert draft.attachments == [
        {"type": "image/jpeg", "url": "https://example.id/0"},
        {"type": "image/png", "url": "https://example.id/1"},
    ]


@pytest.mark.parametrize(
    ("query", "text"),
    [
        (b"content=Halo&binary=48616c6f&coding=0", "Halo"),
        (b"content=%00B&binary=00420061&coding=%08", "Ba"),
        (b"content=&binary=D83DDE00&coding=8", "😀"),
        (b"content=a%00b&binary=610062&coding=%00", "a@b"),
        (b"content=tanpa+biner&coding=0", "tanpa biner"),
    ],
)
def test_jasmins_octets_are_read_by_their_coding(query: bytes, text: str) -> None:
    for method in ("GET", "POST"):
        assert read("jasmin", b"id=1&from=081200000001&to=1708&origin-connector=c&" + query, method).text == text


def test_a_partners_report_fills_what_it_names() -> None:
    report = {
        "id": "A-1", "number": "LPR-1", "title": "Lampu", "text": "Lampu mati", "time": "2026-11-26T08:00:00+07:00",
        "sender": {"id": "u1", "name": "Warga", "phone": "081200000001", "email": "w@example.id", "level": "verified"},
        "lat": -6.2, "lon": 106.8, "accuracy_m": 5, "address": "Jl. Uji", "kelurahan": "Gelora", "kecamatan": "Tanah Abang",
        "kota": "Jakarta Pusat", "category": "Jalan", "agency": "Bina Marga", "url": "https://example.id/A-1", "private": True,
        "files": [{"type": "image/jpeg", "name": "a.jpg", "size": 12, "url": "https://example.id/a.jpg"}],
    }  # fmt: skip
    assert read("json", {"reports": [report]}) == Draft(
        text="Lampu mati", title="Lampu", occurred_at=AT, author_ref="u1", author_name="Warga", contact_phone="081200000001",
        contact_email="w@example.id", sender_level="verified", source_url="https://example.id/A-1", external_ref="LPR-1",
        address_text="Jl. Uji", kelurahan_reported="Gelora", kecamatan_reported="Tanah Abang", kota_reported="Jakarta Pusat",
        lat=-6.2, lon=106.8, accuracy_m=5.0, category_reported="Jalan", agency_reported="Bina Marga", private=True,
        attachments=[{"type": "image/jpeg", "name": "a.jpg", "size": 12, "url": "https://example.id/a.jpg"}],
    )  # fmt: skip


@pytest.mark.parametrize("size", ["²", "-1", "9" * 40, "dua belas"])
def test_a_size_that_is_no_number_costs_the_file_only_its_size(size: str) -> None:
    file = {"type": "image/jpeg", "name": "a.jpg", "url": "https://example.id/a.jpg"}
    report = {"id": "A-1", "text": "Lampu mati", "files": [file | {"size": size}]}
    assert read("json", {"reports": [report]}).attachments == [file]


def _with_files(*files: Any) -> dict[str, Any]:
    return {"reports": [{"id": "A-1", "text": "Lampu mati", "files": list(files)}, {"id": "A-2", "text": "Got mampet"}]}


def test_files_inside_a_partners_report_are_kept_and_their_hash_stands_in_their_place() -> None:
    photo = picture()
    inside = b64encode(photo).decode()
    body = _with_files(
        {"name": "a.jpg", "type": "text/html", "data": inside},
        {"data": f"data:image/png;base64,{inside[:20]}\n{inside[20:]}"},
        {"data": ""}, {"data": None, "url": "https://example.id/b.jpg"},
    )  # fmt: skip
    first, second = take("json", body)
    assert (first.media, second.media) == ((photo, photo), ())
    assert inside.encode() not in first.payload
    kept = {"type": "image/jpeg", "size": len(photo), "sha256": sha256(photo).hexdigest()}
    assert webhook.decode(first, stream("json")).attachments == [
        {"name": "a.jpg", **kept}, kept, {"type": "file", "url": "https://example.id/b.jpg"},
    ]  # fmt: skip
    assert take("json", body)[0].version == first.version
    assert take("json", _with_files({"data": b64encode(picture(colour="red")).decode()}))[0].version != first.version


def test_a_photo_inside_a_report_tells_what_it_looks_like_and_that_is_no_part_of_its_version(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    photo = scene()
    body = _with_files({"data": b64encode(photo).decode()}, {"data": b64encode(photo).decode()})
    found = take("json", body)[0]
    assert webhook.decode(found, stream("json")).attachments == [described(photo)] * 2
    assert described(photo)["phash"]
    monkeypatch.setattr("pipelines.sources.attached.phash_of", lambda data: None)
    other = take("json", body)[0]
    assert (other.source_ref, other.version) == (found.source_ref, found.version)
    assert other.payload != found.payload


@pytest.mark.parametrize("data", ["sha256:" + "0" * 64, {"sha256": "0" * 64, "type": "image/jpeg"}, "x", 7, ["eA=="]])
def test_nobody_can_claim_a_file_that_is_not_his(data: Any) -> None:
    with pytest.raises(RejectedMessage, match="message 0: data of a file is no base64"):
        take("json", _with_files({"data": data}))
    lenient = Stream("sms", "uji", "webhook", {"dialect": DIALECTS["json"] | {"strict": False}, "secret_env": "X"})
    received = webhook.Received("POST", b"", json.dumps(_with_files({"data": data, "url": "https://a"})).encode())
    first, _ = webhook.take(of_stream(lenient), received, NOW).messages
    assert first.media == () and webhook.decode(first, lenient).attachments == [{"type": "file", "url": "https://a"}]


def test_a_message_brings_twenty_files_at_most() -> None:
    with pytest.raises(RejectedMessage, match="20 files"):
        take("json", _with_files(*[{"data": "eA=="}] * 21))
    assert len(take("json", _with_files(*[{"data": "eA=="}] * 20))[0].media) == 20
    full = [{"id": str(n), "text": "x", "files": [{"data": "eA=="}] * 20} for n in range(11)]
    assert len(take("json", {"reports": full[:10]})) == 10
    with pytest.raises(RejectedMessage, match="message 10: .* a request 200"):
        take("json", {"reports": full})


def test_advertisers_that_are_named_are_filtered() -> None:
    with pytest.raises(FilteredMessage, match="spam"):
        read("kannel", b"id=1&from=TELKOMSEL&bin=Promo&charset=UTF-8", "GET", spam_senders=["telkomsel"])


@pytest.mark.parametrize("dialect", sorted(DIALECTS))
@given(body=JSONS.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=80))
def test_no_body_breaks_a_dialect_and_no_message_is_of_unknown_fate(dialect: str, body: bytes) -> None:
    source = stream(dialect)
    try:
        taken = webhook.take(of_stream(source), webhook.Received("POST", b"", body), NOW)
    except RejectedMessage:
        assert DIALECTS[dialect].get("strict")
        return
    for message in taken.messages:
        with suppress(RejectedMessage, FilteredMessage):
            assert isinstance(webhook.decode(message, source), Draft)


# --- dialects -------------------------------------------------------------------------------


def test_paths_lead_through_lists_by_key_and_outward() -> None:
    inner = {"from": "b"}
    around = {"people": [{"id": "a", "n": 1}, {"id": "b", "n": 2}], "list": [{"x": 1}, {"y": 0}, {"x": 3}], "a.b": 4}
    item = Item(inner, (around,), parsed(""), ())
    assert all_of(item, "^people[id=@from].n") == [2]
    assert all_of(item, "^people[id=a].n") == [1]
    assert all_of(item, "^list[].x") == [1, 3]
    assert all_of(item, "^a.b") == [4]
    assert all_of(item, "^^people") == all_of(item, "tiada.apa") == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"encoding": "xml"}, "encoding 'xml'"),
        ({"methods": ["PUT"]}, "methods"),
        ({"fields": {"warna": "x"}}, "unknown key 'warna'"),
        ({"skip": [{"at": "a[", "in": []}]}, "is no path"),
        ({"signature": [{"kind": "rsa"}]}, "rsa"),
        ({"signature": []}, "no way of proof"),
        ({"media": [{"link": "x"}]}, "unknown key 'link'"),
        ({"sender_level": "sure"}, "sender_level"),
        ({"answers": 1}, "unknown key 'answers'"),
        ({"time": "julian"}, "time"),
        ({"reader": "telepathy"}, "reader"),
        ({"media": [{"data": "a.b"}]}, "data of media"),
        ({"media": [{"id": "id", "by_id": "http://files.example/{id}"}]}, "by_id of media"),
        ({"media": [{"id": "id", "by_id": "https://files.example/7"}]}, "by_id of media"),
        ({"encoding": "form"}, "data of media"),
    ],
)  # fmt: skip
def test_a_slip_in_a_dialect_is_named(change: dict[str, Any], told: str) -> None:
    source = Stream("sms", "uji", "webhook", {"dialect": DIALECTS["json"] | change, "secret_env": "X"})
    with pytest.raises(SettingsError, match="sms/uji: dialect 'json' is wrong") as error:
        webhook.check(source)
    assert told in str(error.value)


@pytest.mark.parametrize(
    ("dialect", "options", "told"),
    [
        ("twilio", {"secret_env": None}, "set secret_env"), ("kannel", {"secret_env": None}, "set secret_env"),
        ("whatsapp", {}, "set verify_token_env"), ("json", {"signature": "rsa"}, "none of json's: hmac, token"),
        ("kannel", {"allow_from": "192.0.2.1"}, "allow_from must be a list"), ("kannel", {"allow_from": ["sini"]}, "allow_from:"),
    ],
)  # fmt: skip
def test_a_stream_that_could_not_be_proved_is_refused(dialect: str, options: dict[str, Any], told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        webhook.check(stream(dialect, **options))


def test_nothing_is_pulled() -> None:
    assert list(webhook.pull(stream("kannel"), None, now=lambda: NOW)) == []


def _places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(place for key, child in inner for place in _places(child, (*at, key)))]


def _with(value: Any, at: tuple[Any, ...], new: Any) -> Any:
    if not at:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[at[0]] = _with(value[at[0]], at[1:], new)
    return copy


WHOLE = {
    "whatsapp": whatsapp({"text": {"body": "x"}}, {"image": {"id": "7", "caption": "y"}, "location": {"latitude": 1, "longitude": 2}}),
    "meta_page": page(photos=["https://example.id/1.jpg"]),
    "x_activity": {"data": {"event_type": "post.create", "payload": {"id": "1", "text": "x"}, "includes": {"users": [{"id": "2"}]}}},
    "json": {"reports": [
        {"id": "1", "text": "x", "time": "2026-11-26T08:00:00Z", "sender": {"id": "2"}, "files": [{"url": "https://a", "data": "eA=="}]},
    ]},
}  # fmt: skip


@pytest.mark.parametrize("dialect", sorted(WHOLE))
@given(data=st.data(), new=JSONS)
def test_nothing_in_a_notification_may_be_taken_for_granted(dialect: str, data: st.DataObject, new: Any) -> None:
    body = _with(WHOLE[dialect], data.draw(st.sampled_from(_places(WHOLE[dialect]))), new)
    source = stream(dialect)
    with suppress(RejectedMessage):
        taken = webhook.take(of_stream(source), webhook.Received("POST", b"", json.dumps(body).encode()), NOW)
        for message in taken.messages:
            assert message.source_ref and message.version
            with suppress(RejectedMessage, FilteredMessage):
                assert isinstance(webhook.decode(message, source), Draft)
