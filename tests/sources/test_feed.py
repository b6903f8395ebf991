"""Feeds of readers' letters from a real server on loopback and from files: every item once, edits as versions.

All letters, people and papers are invented.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.contracts import Batch, Draft, Message, Stream
from pipelines.errors import PermanentError, RejectedMessage, SettingsError, TransientError
from pipelines.sources import feed, feed_items
from pipelines.sources.feed_items import BadFeedError, items
from tests.peers.api_server import ApiServer, Fault
from tests.peers.paper import Paper, entry, rss

NOW = datetime(2026, 11, 26, 3, 0, tzinfo=UTC)
BOMB = '<?xml version="1.0"?><!DOCTYPE r [<!ENTITY a "aaaaaaaaaa">' + "".join(
    f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefghij", "bcdefghijk", strict=True)
) + "]>"  # fmt: skip
FILE_ENTITY = '<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/hostname">]>'


@pytest.fixture
def paper() -> Iterator[Paper]:
    with Paper() as server:
        yield server


def stream_of(server: ApiServer, **options: Any) -> Stream:
    return Stream("media", "surat", "feed", {"url": f"{server.url}/feed.xml", "timeout_seconds": 2} | options)


def pull(stream: Stream, cursor: dict[str, Any] | None = None) -> list[Batch]:
    return list(feed.pull(stream, cursor, now=lambda: NOW))


def messages(batches: list[Batch]) -> list[Message]:
    return [m for batch in batches for m in batch.messages]


def say(server: Paper, fault: Fault) -> None:
    server.before = None
    server.faults.append(fault)


# --- an address -----------------------------------------------------------------------------


def test_the_first_pull_brings_every_item_oldest_first_and_the_second_nothing(paper: Paper) -> None:
    paper.publish(entry(2), entry(1), etag='"a"')
    paper.next()
    [batch] = pull(stream_of(paper))
    assert [m.source_ref for m in batch.messages] == ["s-1", "s-2"]
    assert pull(stream_of(paper), batch.cursor) == []
    assert paper.asked[1].headers["if-none-match"] == '"a"'
    assert paper.asked[1].headers["if-modified-since"] == "Thu, 05 Nov 2026 10:00:00 GMT"


def test_an_edited_item_is_a_new_version_and_one_that_only_moves_or_is_dated_anew_is_none(paper: Paper) -> None:
    paper.next()
    paper.publish(entry(2), entry(1), etag='"a"')
    [first] = pull(stream_of(paper))
    paper.publish(entry(1, "Lampu jalan mati semua"), entry(2, date="Fri, 06 Nov 2026 10:00:00 +0700"), etag='"b"')
    [second] = pull(stream_of(paper), first.cursor)
    [message] = second.messages
    assert message.source_ref == "s-1"
    assert message.version != first.messages[0].version


def test_items_that_leave_the_feed_and_come_back_bring_nothing(paper: Paper) -> None:
    paper.next()
    cursor = None
    for etag, entries in (("1", [entry(1), entry(2)]), ("2", [entry(2)]), ("3", [entry(1), entry(2)])):
        paper.publish(*entries, etag=f'"{etag}"')
        batches = pull(stream_of(paper), cursor)
        assert len(messages(batches)) == (2 if cursor is None else 0)
        cursor = batches[-1].cursor


def test_a_pull_that_was_not_landed_is_repeated_whole(paper: Paper) -> None:
    """The cursor moves with the batch alone: a kill before it is durable loses nothing."""
    paper.publish(entry(1), etag='"a"')
    paper.next()
    assert [m.source_ref for m in messages(pull(stream_of(paper)))] == ["s-1"]
    assert [m.source_ref for m in messages(pull(stream_of(paper)))] == ["s-1"]


def test_keywords_choose_what_is_fetched_and_other_keywords_read_the_feed_anew(paper: Paper) -> None:
    paper.next()
    paper.publish(entry(1, "Harga cabai naik"), entry(2, "Sampah menumpuk"), entry(3, "Persampahan kota"), etag='"a"')
    [batch] = pull(stream_of(paper, keywords=["sampah"]))
    assert [m.source_ref for m in batch.messages] == ["s-2"]
    [more] = pull(stream_of(paper, keywords=["sampah", "cabai*"]), batch.cursor)
    assert [m.source_ref for m in more.messages] == ["s-1"]
    assert "if-none-match" not in paper.asked[-1].headers


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        (Fault(410), PermanentError, "gone for good"),
        (Fault(404), PermanentError, "answered 404"),
        (Fault(503), TransientError, "answered 503"),
        (Fault(429, headers={"Retry-After": "7"}), TransientError, "answered 429"),
        (Fault(200, b"<html><body>Pemeliharaan</body></html>", content_type="text/html"), TransientError, "cut off or no feed"),
        (Fault(200, b""), TransientError, "cut off or no feed"),
        (Fault(200, rss(entry(1))[:-20]), TransientError, "cut off or no feed"),
        (Fault(200, rss(entry(1)), broken=True), TransientError, "could not be read"),
        (Fault(200, (BOMB + "<rss><channel><title>&k;</title></channel></rss>").encode()), PermanentError, "XML bombs"),
        (Fault(200, rss(entry(1)).replace(b"<rss", FILE_ENTITY.encode() + b"<rss")), PermanentError, "XML bombs"),
        (Fault(200, b"x" * 200_000), PermanentError, "larger than 100,000 bytes"),
        (Fault(301, headers={"Location": "http://warta.example.com/feed"}), PermanentError, "not https"),
        (Fault(302, headers={"Location": "file:///etc/hostname"}), PermanentError, "not https"),
        (Fault(200, rss(), sleep=3), TransientError, "in time"),
    ],
)  # fmt: skip
def test_what_goes_wrong_is_told_as_what_to_do(paper: Paper, fault: Fault, kind: type, words: str) -> None:
    say(paper, fault)
    with pytest.raises(kind, match=words) as told:
        pull(stream_of(paper, max_bytes=100_000))
    assert paper.url not in str(told.value)
    if fault.headers.get("Retry-After"):
        assert told.value.retry_after == 7


def test_a_redirect_on_this_machine_is_followed_and_not_for_ever(paper: Paper) -> None:
    say(paper, Fault(301, headers={"Location": "/baru.xml"}))
    paper.faults.append(Fault(200, rss(entry(1)), content_type="application/rss+xml"))
    assert len(messages(pull(stream_of(paper)))) == 1
    paper.faults.extend(Fault(302, headers={"Location": "/lagi.xml"}) for _ in range(10))
    with pytest.raises(PermanentError, match="more than 5 times"):
        pull(stream_of(paper))


@pytest.mark.parametrize(
    ("url", "there", "may"),
    [
        ("https://a.example.com/", "https://b.example.com/", True), ("http://127.0.0.1:1/", "https://b.example.com/", True),
        ("http://127.0.0.1:1/", "http://localhost:2/", True), ("https://a.example.com/", "http://127.0.0.1/", False),
        ("https://a.example.com/", "http://b.example.com/", False), ("https://a.example.com/", "https://u:p@b.example.com/", False),
        ("https://a.example.com/", "ftp://b.example.com/", False),
    ],
)  # fmt: skip
def test_a_redirect_never_leaves_https(url: str, there: str, may: bool) -> None:
    assert feed.may_follow(url, there) is may


@pytest.mark.parametrize(
    "options",
    [
        {}, {"url": "http://warta.example.com/feed"}, {"url": "https://a:b@warta.example.com/"}, {"url": "ftp://x/"},
        {"url": "https://["}, {"url": "https://x/", "source_dir": "x"}, {"url": "https://x/", "keyword": ["a"]},
        {"url": "https://x/", "time_zone": "Jakarta"}, {"url": "https://x/", "keywords": [1]},
    ],
)  # fmt: skip
def test_options_that_will_not_do_are_told(options: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="media/surat"):
        feed.check(Stream("media", "surat", "feed", options))


def test_a_feed_of_ten_megabytes_is_read(paper: Paper) -> None:
    say(paper, Fault(200, rss(*(entry(n, "Sampah menumpuk di pasar. " * 180) for n in range(2_000)))))
    assert len(messages(pull(stream_of(paper)))) == 2_000


# --- what an item means ---------------------------------------------------------------------

ATOM = """<feed xmlns="http://www.w3.org/2005/Atom"><title>Suara Contoh</title><entry><id>tag:a,1</id>
<title type="html">Got &amp;amp; jalan</title>
<link href="https://kabar.example.com/1"/><author><name>Sari Contoh</name></author><published>2026-11-05T10:00:00+07:00</published>
<updated>2026-11-06T10:00:00Z</updated><category term="Suara"/>
<content type="html">&lt;p&gt;Got mampet&lt;br&gt;di pasar&lt;/p&gt;</content>
<link rel="enclosure" type="audio/mpeg" length="1234" href="https://kabar.example.com/suara.mp3"/></entry></feed>"""
RDF = """<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns="http://purl.org/rss/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/">
<channel rdf:about="https://x.example.com"><title>Lama</title></channel><item rdf:about="https://x.example.com/1"><title>Surat</title>
<link>https://x.example.com/1</link><description>Jalan rusak</description><dc:date>2026-11-05T03:00:00Z</dc:date></item></rdf:RDF>"""


def draft(body: str, **options: Any) -> Draft:
    [item] = items(body.encode(), None)
    stream = Stream("media", "surat", "feed", {"url": "https://x/"} | options)
    return feed.decode(Message("x", "1", orjson.dumps(item), feed.PAYLOAD_TYPE, NOW), stream)


def test_an_atom_entry_is_a_letter_with_its_author_and_recording() -> None:
    assert draft(ATOM) == Draft(
        text="Got mampet\ndi pasar", title="Got & jalan", occurred_at=datetime(2026, 11, 5, 3, 0, tzinfo=UTC),
        author_name="Sari Contoh", source_url="https://kabar.example.com/1",
        attachments=[{"type": "audio/mpeg", "url": "https://kabar.example.com/suara.mp3", "name": "suara.mp3", "size": 1234}],
        extra={"Media": "Suara Contoh", "Rubrik": "Suara"},
    )  # fmt: skip


def test_rdf_is_read_as_well() -> None:
    found = draft(RDF)
    assert (found.text, found.occurred_at) == ("Jalan rusak", datetime(2026, 11, 5, 3, 0, tzinfo=UTC))


@pytest.mark.parametrize(
    ("date", "hour"),
    [
        ("Thu, 05 Nov 2026 10:00:00 +0700", 3), ("Thu, 05 Nov 2026 10:00:00 GMT", 10), ("Thu, 05 Nov 2026 10:00:00", 3),
        ("Thu, 05 Nov 2026 10:00:00 WIB", 3), ("2026-11-05T10:00:00", 3), ("2026-11-05T10:00:00Z", 10), ("5 November 2026 10.00", 3),
        ("Thu, 05 Nov 2026 10:00:00 -0000", 10),
    ],
)  # fmt: skip
def test_a_date_without_a_zone_is_jakartas(date: str, hour: int) -> None:
    found = draft(rss(entry(1, date=date)).decode())
    assert found.occurred_at == datetime(2026, 11, 5, hour, 0, tzinfo=UTC)


def test_an_item_without_words_is_set_aside() -> None:
    with pytest.raises(RejectedMessage, match="tidak berisi"):
        draft(rss("<item><guid>1</guid></item>").decode())


@pytest.mark.parametrize("charset", ["utf-8", "cp1252", "utf-16"])
def test_letters_survive_every_charset(charset: str) -> None:
    body = rss(entry(1, "Café di trotoar")).decode().replace("UTF-8", charset).encode(charset)
    assert items(body, None)[0]["summary"] == "Café di trotoar"


def test_xml_that_is_not_well_formed_is_read_as_far_as_it_goes() -> None:
    body = rss(entry(1, "Got & saluran <b>mampet"), entry(2)).decode()
    assert {item["id"] for item in items(body.encode(), None)} == {"s-1", "s-2"}


@pytest.mark.parametrize(
    "disguise",
    [
        lambda t: t.encode("utf-16"),
        lambda t: t.replace("ENTITY", "entity").encode(),
        lambda t: b"\xef\xbb\xbf" + t.encode(),
    ],
)
def test_a_bomb_in_disguise_is_refused(disguise: Any) -> None:
    with pytest.raises(BadFeedError, match="XML bombs"):
        items(disguise(BOMB.replace('<?xml version="1.0"?>', "") + rss(entry(1)).decode()), None)


@given(body=st.binary(max_size=300) | st.text(max_size=200).map(lambda t: rss(entry(1, t))))
def test_no_bytes_break_it(body: bytes) -> None:
    try:
        for item in items(body, None):
            assert feed_items.key_of(item)
    except BadFeedError:
        pass


# --- a folder of files ----------------------------------------------------------------------


def put(path: Path, body: bytes, age: float = 60) -> None:
    path.write_bytes(body)
    os.utime(path, (NOW.timestamp() - age,) * 2)


def test_files_are_read_once_by_content_and_a_broken_one_waits_in_quarantine(tmp_path: Path) -> None:
    stream = Stream("media", "surat", "feed", {"source_dir": "."}, str(tmp_path))
    put(tmp_path / "1.xml", rss(entry(1)))
    put(tmp_path / "2.rss", rss(entry(1), entry(2))[:-9])
    put(tmp_path / "3.xml", BOMB.encode() + rss())
    put(tmp_path / "4.xml", rss(entry(4)), age=1)
    put(tmp_path / "5.txt", rss(entry(5)))
    batches = pull(stream)
    found = messages(batches)
    assert [m.source_ref for m in found if not m.problem] == ["s-1"]
    assert [m.problem.split()[2] for m in found if m.problem] == ["bukan", "memuat"]
    assert pull(stream, batches[-1].cursor) == []
    later = list(feed.pull(stream, batches[-1].cursor, now=lambda: NOW + timedelta(minutes=1)))
    assert [m.source_ref for m in messages(later)] == ["s-4"]
    assert pull(stream, batches[0].cursor)[0].messages[0].problem  # resumed behind the first file
