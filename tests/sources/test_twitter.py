"""X: pulling through tweepy against an emulator of the API, and what a post means."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from pipelines.contracts import Batch, Draft, Stream
from pipelines.errors import PermanentError, RejectedMessage, SettingsError, TransientError
from pipelines.sources import twitter
from tests.peers.api_server import Fault
from tests.peers.canary import told_by
from tests.peers.x_emulator import XEmulator, post, snowflake

NOW = datetime(2026, 10, 7, 3, 0, tzinfo=UTC)
TOKEN = "kanari-x-7QpZ"
USER = "1001"


@pytest.fixture
def x(monkeypatch: pytest.MonkeyPatch) -> Iterator[XEmulator]:
    monkeypatch.setenv("KANAL_UJI_X", TOKEN)
    with XEmulator(token=TOKEN, user_id=USER, now=NOW) as server:
        yield server


def stream_of(x: XEmulator, **options: Any) -> Stream:
    known = {"user_id": USER, "handle": "dinas_contoh", "bearer_env": "KANAL_UJI_X", "api_base": x.url}
    return Stream("twitter", "uji", "twitter", {**known, "max_results": 5, "timeout_seconds": 5, **options})


def pull(x: XEmulator, cursor: dict[str, Any] | None = None, at: datetime = NOW, **options: Any) -> list[Batch]:
    return list(twitter.pull(stream_of(x, **options), cursor, now=lambda: at))


def ids(batches: list[Batch]) -> list[str]:
    return [m.version for b in batches for m in b.messages]


def ago(minutes: float, text: str = "jalan rusak", serial: int = 0, **fields: Any) -> dict[str, Any]:
    return post(NOW - timedelta(minutes=minutes), text, serial, **fields)


def decoded(x: XEmulator, *posts: dict[str, Any], **options: Any) -> list[Draft]:
    x.posts = list(posts)
    return [twitter.decode(m, stream_of(x)) for b in pull(x, **options) for m in b.messages]


# --- pull: passes and cursors ---------------------------------------------------------------


def test_a_pass_reads_every_page_newest_first_and_moves_since_id_at_its_end(x: XEmulator) -> None:
    x.posts = [ago(m) for m in range(100, 112)]
    newest = x.posts[0]["id"]
    batches = pull(x)
    assert [len(b.messages) for b in batches] == [5, 5, 2]
    assert ids(batches) == [p["id"] for p in x.posts]
    assert ["since_id" in b.cursor for b in batches] == [False, False, True]
    assert batches[-1].cursor["since_id"] == newest
    assert "pass" not in batches[-1].cursor
    assert json.loads(json.dumps(batches[-1].cursor)) == batches[-1].cursor


def test_a_second_pull_brings_only_what_is_new_and_a_third_nothing(x: XEmulator) -> None:
    x.posts = [ago(m) for m in (60, 70)]
    first = pull(x)
    x.posts.append(ago(5))
    second = pull(x, first[-1].cursor)
    assert ids(second) == [x.posts[-1]["id"]]
    assert pull(x, second[-1].cursor) == []


def test_an_overlap_of_many_pages_without_news_leaves_no_trace(x: XEmulator) -> None:
    x.posts = [ago(m) for m in range(1, 13)]
    cursor = pull(x)[-1].cursor
    assert pull(x, cursor) == []
    assert len(x.asked) == 6


def test_an_account_without_mentions_leaves_no_trace(x: XEmulator) -> None:
    assert pull(x) == []


@pytest.mark.parametrize("pages_read", [1, 2])
def test_an_interrupted_pass_goes_on_behind_the_pages_that_were_landed(x: XEmulator, pages_read: int) -> None:
    x.posts = [ago(m) for m in range(100, 112)]
    old = pull(x)[-1].cursor
    x.posts += [ago(m) for m in range(40, 52)]
    read = list(islice(twitter.pull(stream_of(x), old, now=lambda: NOW), pages_read))
    x.posts.append(ago(1))  # newer than the pass: the next one brings it
    rest = pull(x, read[-1].cursor)
    later = pull(x, rest[-1].cursor)
    expected = sorted((p["id"] for p in x.posts[12:-1]), reverse=True)
    assert ids([*read, *rest]) == expected
    assert all(b.cursor["since_id"] == old["since_id"] for b in [*read, *rest[:-1]])
    assert rest[-1].cursor["since_id"] == expected[0]
    assert ids(later) == [x.posts[-1]["id"]]


def test_a_failure_mid_pass_keeps_the_pages_before_it(x: XEmulator) -> None:
    x.posts = [ago(m) for m in range(100, 112)]
    x.faults.extend([None, Fault(503, b"<html>sibuk</html>", content_type="text/html")])
    read: list[Batch] = []
    with pytest.raises(TransientError, match="twitter/uji: X answered 503"):
        read.extend(twitter.pull(stream_of(x), None, now=lambda: NOW))
    assert len(ids(read)) == 5
    assert len(ids([*read, *pull(x, read[-1].cursor)])) == 12


def test_a_page_token_that_is_no_longer_good_starts_the_pass_again(x: XEmulator) -> None:
    x.posts = [ago(m) for m in range(1, 13)]
    first = next(iter(twitter.pull(stream_of(x), None, now=lambda: NOW)))
    x.stale_tokens.add(first.cursor["pass"]["next_token"])
    with pytest.raises(PermanentError, match="answered 400"):  # the page before it leads there again
        pull(x, first.cursor)
    x.posts.append(ago(0.5))
    again = pull(x, first.cursor)
    # The newest page is known from before; what came since and what was left are there once.
    assert sorted(ids([first, *again])) == sorted(p["id"] for p in x.posts)
    assert again[-1].cursor["since_id"] == x.posts[-1]["id"]


def test_a_post_that_is_indexed_late_is_found_in_the_overlap_and_nothing_twice(x: XEmulator) -> None:
    x.posts = [ago(m) for m in (1, 20, 25)]
    cursor = pull(x, overlap_minutes=30)[-1].cursor
    late, too_late = ago(15, "telat"), ago(50, "terlalu telat")
    x.posts += [late, too_late]
    assert ids(pull(x, cursor, overlap_minutes=30)) == [late["id"]]
    assert int(x.asked[-1].query["since_id"]) < int(late["id"])


def test_more_mentions_than_x_keeps_are_filled_by_search(x: XEmulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(twitter, "_REACH", 20)
    x.mentions_kept = 20
    x.posts = [ago(2000)]
    cursor = pull(x)[-1].cursor
    x.posts += [ago(m) for m in range(100, 145)]
    found = pull(x, cursor, max_results=10)
    assert ids(found) == [p["id"] for p in x.posts[1:]]
    assert {a.path for a in x.asked[-5:]} == {f"/2/users/{USER}/mentions", "/2/tweets/search/recent"}
    assert x.asked[-1].query["query"] == "@dinas_contoh -is:retweet"
    assert "gaps" not in found[-1].cursor


def test_without_a_handle_what_lies_beyond_the_wall_is_a_gap(x: XEmulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(twitter, "_REACH", 20)
    x.mentions_kept = 20
    x.posts = [ago(2000)]
    cursor = pull(x)[-1].cursor
    x.posts += [ago(-m) for m in range(1, 46)]
    x.now = later = NOW + timedelta(hours=1)
    found = pull(x, cursor, later, max_results=10, handle=None)
    assert len(ids(found)) == 20
    [gap] = found[-1].cursor["gaps"]
    assert (gap["from"], gap["to"]) == (NOW.isoformat(), (NOW + timedelta(minutes=26)).isoformat())
    assert "with the option handle" in gap["what"]


def test_what_search_no_longer_reaches_is_put_on_record_once_and_does_not_stop_the_stream(
    x: XEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(twitter, "_REACH", 5)
    x.mentions_kept = 5
    long_ago, later = NOW - timedelta(days=20), NOW - timedelta(days=9)
    x.now, x.posts = long_ago, [post(long_ago, "lama")]
    cursor = pull(x, at=long_ago)[-1].cursor
    x.now = NOW
    x.posts += [post(later - timedelta(minutes=m), "jalan rusak") for m in range(10)]
    found = pull(x, cursor)
    assert len(ids(found)) == 5
    assert found[-1].cursor["gaps"] == [
        {
            "what": "mentions older than X keeps and than search reaches",
            "from": long_ago.isoformat(),
            "to": (later - timedelta(minutes=4)).isoformat(),
            "found_at": NOW.isoformat(),
            "fill": "export them from X and run: kanal import twitter FILE",
        }
    ]
    x.posts += [ago(m) for m in range(3)]
    again = pull(x, found[-1].cursor)
    assert len(ids(again)) == 3
    assert again[-1].cursor["gaps"] == found[-1].cursor["gaps"]


def test_an_edit_is_a_new_version_of_the_same_post(x: XEmulator) -> None:
    first = ago(20, "lampu mati di Jalan Panjang")
    x.posts = [first]
    before = pull(x)
    edited = ago(10, "lampu mati di Jalan Panjang RW 04", edit_history_tweet_ids=[first["id"]])
    edited["edit_history_tweet_ids"].append(edited["id"])
    x.posts = [edited]
    after = pull(x, before[-1].cursor)
    (old,), (new,) = before[0].messages, after[0].messages
    assert (old.source_ref, old.version) == (first["id"], first["id"])
    assert (new.source_ref, new.version) == (first["id"], edited["id"])
    assert old.edited_at == old.occurred_at
    assert new.occurred_at == old.occurred_at == NOW - timedelta(minutes=20)
    assert new.edited_at == NOW - timedelta(minutes=10)
    assert twitter.decode(new, stream_of(x)).extra == {"lang": "in", "edits": 1}


# --- pull: errors ---------------------------------------------------------------------------


def test_a_used_up_limit_says_how_long_to_wait(x: XEmulator) -> None:
    x.posts = [ago(m) for m in range(1, 13)]
    x.remaining["mentions"] = 2
    read: list[Batch] = []
    with pytest.raises(TransientError, match="allows no more requests for 901 s") as caught:
        read.extend(twitter.pull(stream_of(x), None, now=lambda: NOW))
    assert caught.value.retry_after == 901.0
    x.remaining["mentions"] = 450
    assert len(ids([*read, *pull(x, read[-1].cursor)])) == 12


@pytest.mark.parametrize(
    ("reset", "wait"),
    [(None, 60.0), ("soon", 60.0), ("²", 60.0), ("9" * 40, 60.0), ("0", 1.0), ("99999999999", 3600.0)],
)
def test_a_limit_without_a_sensible_reset_never_means_at_once(x: XEmulator, reset: str | None, wait: float) -> None:
    headers = {} if reset is None else {"x-rate-limit-reset": reset.encode().decode("latin-1")}
    x.faults.append(Fault(429, {"title": "Too Many Requests"}, headers))
    with pytest.raises(TransientError) as caught:
        pull(x)
    assert caught.value.retry_after == wait
    assert len(x.asked) == 1


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (401, {"title": "Unauthorized"}, "set the variable named by bearer_env"),
        (402, {"title": "CreditsDepleted"}, "no credits left"),
        (403, {"title": "Client Forbidden"}, "enrol it"),
        (404, {"title": "Not Found"}, "check user_id"),
        (429, {"title": "UsageCapExceeded", "period": "Monthly"}, "monthly usage cap is reached"),
        (200, {"errors": [{"title": "Not Found Error"}]}, "Not Found Error; no such account"),
        (410, b"gone", "answered 410"),
    ],
)
def test_what_only_a_person_can_mend_is_permanent_and_says_what_to_do(
    x: XEmulator, status: int, body: Any, said: str
) -> None:
    x.faults.append(Fault(status, body))
    with pytest.raises(PermanentError, match=said):
        pull(x)
    assert len(x.asked) == 1


@pytest.mark.parametrize(
    "fault",
    [
        Fault(500, ["x"]),
        Fault(503, b"<html>", content_type="text/html"),
        Fault(200, b"<html>masuk dulu</html>", content_type="text/html"),
        Fault(200, b'{"data": [{"id": "1"'),
        Fault(200, [1, 2]),
        Fault(200, b""),
        Fault(200, b'{"data": []}', broken=True),
    ],
)
def test_a_broken_answer_is_transient(x: XEmulator, fault: Fault) -> None:
    x.faults.append(fault)
    with pytest.raises(TransientError, match="twitter/uji: X"):
        pull(x)


@pytest.mark.parametrize("body", [{}, {"title": "Service Unavailable", "status": 503}, {"data": []}])
def test_an_answer_that_is_no_list_is_not_the_last_page(x: XEmulator, body: dict[str, Any]) -> None:
    x.posts = [ago(n) for n in range(1, 13)]
    x.faults.extend([None, Fault(body=body)])
    read: list[Batch] = []
    with pytest.raises(TransientError, match="not a list"):
        read.extend(twitter.pull(stream_of(x), None, now=lambda: NOW))
    read = list(islice(twitter.pull(stream_of(x), None, now=lambda: NOW), 1))
    assert ids([*read, *pull(x, read[-1].cursor)]) == [p["id"] for p in x.posts]


def test_a_wrong_token_is_permanent(x: XEmulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KANAL_UJI_X", "lain")
    with pytest.raises(PermanentError, match="answered 401: Unauthorized"):
        pull(x)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"user_id": "dinas"}, "user_id must be"),
        ({"user_id": "²"}, "user_id must be"),
        ({"bearer_env": None}, "bearer_env"),
        ({"max_results": 4}, "max_results must be"),
        ({"overlap_minutes": -1}, "overlap_minutes must be"),
        ({"dialect": "lama"}, "dialect must be"),
        ({"pages_dir": "tidak/ada"}, "pages_dir .* is not a folder"),
    ],
)
def test_a_wrong_option_is_named(x: XEmulator, options: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=f"twitter/uji: .*{said}"):
        pull(x, **options)
    assert x.asked == []


@pytest.mark.parametrize(
    "fault",
    [
        Fault(401, {"title": f"Bearer {TOKEN}"}),
        Fault(500, {"title": TOKEN}),
        Fault(400, {"errors": [{"message": f"token {TOKEN}"}]}),
        Fault(200, TOKEN),
        Fault(200, b"{}", broken=True),
        Fault(sleep=1.0),
    ],
)
def test_the_token_is_in_no_error_log_cursor_or_payload(
    x: XEmulator, fault: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    x.posts = [ago(m) for m in range(1, 8)]
    batches = pull(x)
    x.faults.append(fault)
    with pytest.raises((TransientError, PermanentError)) as caught:
        pull(x, timeout_seconds=0.3)
    assert TOKEN not in told_by(caught.value)
    assert TOKEN not in caplog.text
    assert TOKEN not in repr(batches)


# --- both dialects --------------------------------------------------------------------------


def rich(x: XEmulator) -> dict[str, Any]:
    x.other["users"] = [{"id": "2001", "name": "Warga Contoh", "username": "warga_contoh"}]
    x.other["media"] = [{"media_key": "3_1", "type": "photo", "url": "https://pbs.example.com/1.jpg"}]
    x.other["tweets"] = [{"id": "55", "text": "sudah ditangani?", "author_id": "2002"}]
    x.other["places"] = [
        {
            "id": "0121",
            "full_name": "Kembangan, Jakarta Barat",
            "geo": {"bbox": [106.70, -6.22, 106.76, -6.16]},
        }
    ]
    return ago(
        3,
        "lubang di depan ruko yang…",
        conversation_id="54",
        note_tweet={"text": "lubang di depan ruko yang dalam &amp; berair " + "sekali " * 50},
        attachments={"media_keys": ["3_1"]},
        geo={"place_id": "0121", "coordinates": {"type": "Point", "coordinates": [106.73, -6.19]}},
        referenced_tweets=[{"type": "replied_to", "id": "54"}, {"type": "quoted", "id": "55"}],
    )


@pytest.mark.parametrize("dialect", ["tweet", "post"])
def test_old_and_new_field_names_mean_the_same(x: XEmulator, dialect: str, caplog: pytest.LogCaptureFixture) -> None:
    x.dialect = dialect
    whole = rich(x)
    (draft,) = decoded(x, whole, dialect=dialect)
    assert draft == Draft(
        text="lubang di depan ruko yang dalam & berair " + ("sekali " * 50).rstrip(),
        occurred_at=NOW - timedelta(minutes=3),
        author_ref="x:2001",
        author_name="Warga Contoh (@warga_contoh)",
        sender_level="claimed",
        conversation_ref="54",
        source_url=f"https://x.com/i/status/{whole['id']}",
        address_text="Kembangan, Jakarta Barat",
        lat=-6.19,
        lon=106.73,
        accuracy_m=30.0,
        attachments=[{"type": "photo", "url": "https://pbs.example.com/1.jpg"}],
        extra={"lang": "in", "quoted": "55", "reply_to": "54"},
    )
    assert caplog.text == ""


def test_a_dialect_that_x_no_longer_knows_says_which_option_to_set(x: XEmulator) -> None:
    x.dialect = "post"
    with pytest.raises(PermanentError, match='set dialect = "post"'):
        pull(x)


def test_the_payload_holds_the_post_as_given_and_only_what_it_refers_to(x: XEmulator) -> None:
    whole = rich(x)
    x.other["users"].append({"id": "9999", "name": "Orang Lain", "username": "orang_lain"})
    x.posts = [whole, ago(9, author_id="9999")]
    message = pull(x)[0].messages[0]
    assert message.payload_type == "application/vnd.kanal.x-post+json"
    assert json.loads(message.payload) == {
        "post": whole,
        "includes": {k: v[:1] for k, v in x.other.items()},
    }


# --- recorded pages -------------------------------------------------------------------------


def test_recorded_pages_are_read_once_by_content_and_need_no_token(tmp_path: Path) -> None:
    stream = Stream("twitter", "uji", "twitter", {"pages_dir": "rekaman"}, str(tmp_path))
    folder = tmp_path / "rekaman"
    folder.mkdir()
    (folder / "1.json").write_text(json.dumps({"data": [ago(9), ago(8)], "meta": {"result_count": 2}}))
    (folder / "2.json").write_text("{ rusak")
    first = list(twitter.pull(stream, None, now=lambda: NOW))
    assert [[bool(m.problem) for m in b.messages] for b in first] == [[False, False], [True]]
    assert "2.json bukan JSON yang utuh" in str(first[1].messages[0].problem)
    (folder / "1.json").rename(folder / "3.json")
    (folder / "4.json").write_text(json.dumps({"data": ago(1)}))
    second = list(twitter.pull(stream, first[-1].cursor, now=lambda: NOW))
    assert ids(second) == [snowflake(NOW - timedelta(minutes=1))]
    with pytest.raises(RejectedMessage) as caught:
        twitter.decode(first[1].messages[0], stream)
    assert caught.value.stage == "pull"


def test_a_page_nested_too_deep_is_one_problem_and_does_not_stop_the_stream(tmp_path: Path) -> None:
    depths = (200, *range(850, 1000), 5000)  # among them those that can be read but not written again
    for depth in depths:
        (tmp_path / f"{depth}.json").write_text('{"data":[{"id":"1","x":' + "[" * depth + "]" * depth + "}]}")
    stream = Stream("twitter", "uji", "twitter", {"pages_dir": "."}, str(tmp_path))
    batches = list(twitter.pull(stream, None, now=lambda: NOW))
    assert [len(b.messages) for b in batches] == [1] * len(depths)
    assert sum(bool(m.problem) for b in batches for m in b.messages) >= 1
