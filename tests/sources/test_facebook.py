"""Facebook: pulling through facebook-sdk against an emulator of the Graph API."""

from __future__ import annotations

import hmac
import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from pipelines.contracts import Batch, Stream
from pipelines.errors import PermanentError, RejectedMessage, SettingsError, TransientError
from pipelines.sources import facebook
from tests.peers.api_server import Fault
from tests.peers.canary import told_by
from tests.peers.graph_emulator import GraphEmulator, error, facebook_time

NOW = datetime(2026, 10, 7, 3, 0, tzinfo=UTC)
TOKEN = "kanari-fb/7Q+Z=="
SECRET = "kanari-rahasia"
PROOF = hmac.new(SECRET.encode(), TOKEN.encode(), "sha256").hexdigest()
PAGE = "7001"


@pytest.fixture
def graph(monkeypatch: pytest.MonkeyPatch) -> Iterator[GraphEmulator]:
    monkeypatch.setenv("KANAL_UJI_FB", TOKEN)
    monkeypatch.setenv("KANAL_UJI_RAHASIA", SECRET)
    with GraphEmulator(token=TOKEN, page_id=PAGE) as server:
        yield server


def stream_of(graph: GraphEmulator, **options: Any) -> Stream:
    known = {"page_id": PAGE, "token_env": "KANAL_UJI_FB", "api_base": graph.url, "timeout_seconds": 5}
    return Stream("facebook", "uji", "facebook", {**known, "max_results": 5, **options})


def pull(graph: GraphEmulator, cursor: dict[str, Any] | None = None, at: datetime = NOW, **options: Any) -> list[Batch]:
    return list(facebook.pull(stream_of(graph, **options), cursor, now=lambda: at))


def refs(batches: list[Batch]) -> list[str]:
    return [m.source_ref for b in batches for m in b.messages]


def post(number: int, hours: float, text: str = "jalan rusak", **fields: Any) -> dict[str, Any]:
    made = facebook_time(NOW - timedelta(hours=hours))
    return {
        "id": f"{PAGE}_{number}",
        "message": text,
        "created_time": made,
        "from": {"id": "9", "name": "W"},
        **fields,
    }


def comments(of: dict[str, Any], count: int, first: int = 1) -> list[dict[str, Any]]:
    made = datetime.fromisoformat(of["created_time"])
    number = of["id"].split("_")[1]
    return [
        {
            "id": f"{number}_{n}",
            "message": f"masih gelap {n}",
            "created_time": facebook_time(made + timedelta(seconds=n)),
            "from": {"id": "8", "name": "W"},
        }
        for n in range(first, first + count)
    ]


# --- passes and cursors ---------------------------------------------------------------------


def test_a_pass_reads_every_page_of_posts_and_moves_since_at_its_end(graph: GraphEmulator) -> None:
    graph.lists["feed"] = [post(n, n) for n in range(1, 13)]
    batches = pull(graph)
    assert refs(batches) == [f"{PAGE}_{n}" for n in range(1, 13)]
    assert [len(b.messages) for b in batches] == [5, 5, 2]
    assert [b.cursor["since"] for b in batches] == [None, None, int(NOW.timestamp())]
    assert ["pass" in b.cursor for b in batches] == [True, True, False]
    assert json.loads(json.dumps(batches[-1].cursor)) == batches[-1].cursor
    assert {a.path for a in graph.asked} == {f"/v27.0/{PAGE}/feed"}


def test_comments_come_with_their_post_and_further_pages_of_them_after(graph: GraphEmulator) -> None:
    quiet, busy = post(1, 1), post(2, 2)
    graph.lists["feed"] = [quiet, busy]
    graph.comments = {quiet["id"]: comments(quiet, 2), busy["id"]: comments(busy, 120)}
    batches = pull(graph)
    assert [len(b.messages) for b in batches] == [2 + 2 + 50, 50, 20]
    assert sorted(refs(batches)) == sorted(
        [quiet["id"], busy["id"], *(c["id"] for cs in graph.comments.values() for c in cs)]
    )
    assert json.loads(batches[1].messages[0].payload) == {
        "kind": "comment",
        "edge": "feed",
        "post_id": busy["id"],
        "object": graph.comments[busy["id"]][69],
    }


def test_nothing_new_leaves_no_trace_until_the_cursor_is_hours_old(graph: GraphEmulator) -> None:
    graph.lists["feed"] = [post(1, 1, attachments={"data": [photo("p1")]})]
    cursor = pull(graph)[-1].cursor
    assert pull(graph, cursor, NOW + timedelta(hours=1)) == []
    later = pull(graph, cursor, NOW + timedelta(hours=7))
    assert [b.messages for b in later] == [[]]
    assert later[0].cursor == {**cursor, "since": int((NOW + timedelta(hours=7)).timestamp())}


def test_what_is_new_or_edited_since_comes_alone_and_an_edit_is_a_new_version(graph: GraphEmulator) -> None:
    first, second = post(1, 30), post(2, 20)
    graph.lists["feed"] = [first, second]
    graph.comments = {first["id"]: comments(first, 3)}
    before = pull(graph)
    first["message"] = "jalan rusak di depan SDN"
    first["updated_time"] = facebook_time(NOW)
    graph.comments[first["id"]] += comments(first, 1, first=4)
    graph.comments[first["id"]][0]["message"] = "sudah terang"
    after = pull(graph, before[-1].cursor)
    assert refs(after) == [first["id"], "1_4", "1_1"]
    versions = [{m.source_ref: m.version for b in bs for m in b.messages} for bs in (before, after)]
    assert all(versions[0][ref] != versions[1][ref] for ref in (first["id"], "1_1"))
    assert pull(graph, after[-1].cursor) == []


def test_posts_older_than_the_look_back_are_not_asked_for_and_forgotten(graph: GraphEmulator) -> None:
    graph.lists["feed"] = [post(1, 24 * 20), post(2, 24 * 2)]
    cursor = pull(graph)[-1].cursor
    assert list(cursor["seen"]) == [f"{PAGE}_2"]
    pull(graph, cursor)
    assert graph.asked[-1].query["since"] == str(int((NOW - timedelta(days=7)).timestamp()))


@pytest.mark.parametrize("read", [1, 2, 3, 4])
def test_an_interrupted_pass_goes_on_behind_the_batches_that_were_landed(graph: GraphEmulator, read: int) -> None:
    posts = [post(n, n) for n in range(1, 13)]
    graph.lists["feed"] = posts
    graph.comments = {posts[2]["id"]: comments(posts[2], 120), posts[7]["id"]: comments(posts[7], 60)}
    whole = refs(pull(graph))
    first = list(islice(facebook.pull(stream_of(graph), None, now=lambda: NOW), read))
    assert first[-1].cursor["since"] is None
    rest = pull(graph, first[-1].cursor, NOW + timedelta(hours=1))
    assert refs([*first, *rest]) == whole
    assert rest[-1].cursor["since"] == int(NOW.timestamp())  # what came later is the next pass's
    assert len(whole) == len(set(whole)) == 12 + 180
    assert "pass" not in rest[-1].cursor


def test_a_failure_mid_pass_keeps_what_came_before_it(graph: GraphEmulator) -> None:
    graph.lists["feed"] = [post(n, n) for n in range(1, 13)]
    graph.faults.extend([None, Fault(500, error(2, "OAuthException", "Service temporarily unavailable"))])
    read: list[Batch] = []
    with pytest.raises(TransientError, match="facebook/uji: Facebook answered 500, code 2"):
        read.extend(facebook.pull(stream_of(graph), None, now=lambda: NOW))
    assert len(refs(read)) == 5
    assert len(refs([*read, *pull(graph, read[-1].cursor)])) == 12


@pytest.mark.parametrize("read", [1, 2])
def test_a_place_that_is_no_longer_good_starts_the_pass_again(graph: GraphEmulator, read: int) -> None:
    posts = [post(n, n) for n in range(1, 8)]
    graph.lists["feed"] = posts
    graph.comments = {posts[0]["id"]: comments(posts[0], 120)}
    first = list(islice(facebook.pull(stream_of(graph, max_results=10), None, now=lambda: NOW), read))
    ((_, place),) = first[-1].cursor["pass"]["comments"]
    graph.stale.add(place["after"])
    rest = pull(graph, first[-1].cursor, max_results=10)
    # Known comments are read past: those below them may not be known.
    assert sorted(refs([*first, *rest])) == sorted(
        [*(p["id"] for p in posts), *(c["id"] for c in graph.comments[posts[0]["id"]])]
    )


def test_a_post_deleted_in_between_does_not_stop_the_pass(graph: GraphEmulator) -> None:
    posts = [post(n, n) for n in range(1, 3)]
    graph.lists["feed"] = posts
    graph.comments = {p["id"]: comments(p, 60) for p in posts}
    first = list(islice(facebook.pull(stream_of(graph), None, now=lambda: NOW), 1))
    graph.deleted.add(posts[0]["id"])
    rest = pull(graph, first[0].cursor)
    assert refs(rest) == [f"2_{n}" for n in range(10, 0, -1)]
    assert "pass" not in rest[-1].cursor


def test_a_busy_post_is_read_only_as_far_as_it_brings_something_new(graph: GraphEmulator) -> None:
    busy = post(1, 1)
    graph.lists["feed"] = [busy]
    graph.comments = {busy["id"]: comments(busy, 300)}
    cursor = pull(graph)[-1].cursor
    asked = len(graph.asked)
    graph.comments[busy["id"]] += comments(busy, 60, first=301)
    assert len(refs(pull(graph, cursor))) == 60
    assert len(graph.asked) - asked == 3  # 50 new, 10 new and 40 known, 50 known


def test_each_edge_is_read_and_an_object_on_two_of_them_comes_once(graph: GraphEmulator) -> None:
    graph.lists["feed"] = [post(1, 1), post(2, 2)]
    graph.lists["tagged"] = [post(2, 2), post(3, 3)]
    assert refs(pull(graph, edges=["feed", "tagged"])) == [f"{PAGE}_{n}" for n in (1, 2, 3)]


def test_a_next_page_without_cursors_is_asked_for_by_its_own_parameters(graph: GraphEmulator) -> None:
    older = f"https://graph.facebook.com/v27.0/{PAGE}/feed?access_token={TOKEN}&until=1790000000&__paging_token=abc"
    graph.faults.append(Fault(body={"data": [post(1, 1)], "paging": {"next": older}}))
    batches = pull(graph)
    assert graph.asked[1].query["until"] == "1790000000"
    assert graph.asked[1].query["__paging_token"] == "abc"
    assert TOKEN not in repr(batches)


@pytest.mark.parametrize("following", ["https://graph.facebook.com/v27.0/feed?access_token=x", "", "?"])
def test_a_next_page_that_is_nowhere_is_an_error_and_not_the_end(graph: GraphEmulator, following: str) -> None:
    graph.faults.append(Fault(body={"data": [post(1, 1)], "paging": {"next": following}}))
    with pytest.raises(TransientError, match="names no further page"):
        pull(graph)


def test_pages_that_lead_to_each_other_end_the_pull(graph: GraphEmulator) -> None:
    graph.lists["feed"] = [post(n, n) for n in range(1, 9)]
    for after in ("A1", "A2", "A1"):
        further = {"cursors": {"after": after}, "next": f"https://graph.facebook.com/x?after={after}"}
        graph.faults.append(Fault(body={"data": [post(1, 1)], "paging": further}))
    with pytest.raises(TransientError, match="same one twice"):
        pull(graph)


# --- errors ---------------------------------------------------------------------------------


def test_a_used_up_limit_says_how_long_to_wait(graph: GraphEmulator) -> None:
    graph.lists["feed"] = [post(n, n) for n in range(1, 13)]
    graph.remaining = 1
    read: list[Batch] = []
    with pytest.raises(TransientError, match="takes requests again in 720 s") as caught:
        read.extend(facebook.pull(stream_of(graph), None, now=lambda: NOW))
    assert caught.value.retry_after == 720.0
    graph.remaining = 100
    assert len(refs([*read, *pull(graph, read[-1].cursor)])) == 12


@pytest.mark.parametrize("code", [4, 17, 32, 341, 613, 80_001])
@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({}, 300.0),
        ({"x-business-use-case-usage": "{"}, 300.0),
        ({"x-business-use-case-usage": '{"7001": [{"estimated_time_to_regain_access": 2}, {}, 5]}'}, 120.0),
        ({"x-business-use-case-usage": '{"7001": [{"estimated_time_to_regain_access": 1e9}]}'}, 86400.0),
        ({"retry-after": "90"}, 90.0),
    ],
)
def test_every_code_for_too_many_requests_means_wait(
    graph: GraphEmulator, code: int, headers: dict[str, str], wait: float
) -> None:
    graph.faults.append(Fault(400, error(code, "OAuthException", "limit"), headers))
    with pytest.raises(TransientError) as caught:
        pull(graph)
    assert caught.value.retry_after == wait
    assert len(graph.asked) == 1


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (400, error(190, "OAuthException", "expired", 463), "code 190/463: expired; the token has expired"),
        (400, error(102, "OAuthException", "session"), "set the variable named by token_env"),
        (403, error(10, "OAuthException", "no"), "a permission is missing"),
        (403, error(200, "OAuthException", "no"), "pages_read_user_content"),
        (400, error(12, "OAuthException", "deprecated"), "check api_version"),
        (400, error(100, "OAuthException", "(#100) no field", 33), "check api_version, edges and page_id"),
        (500, error(1, "OAuthException", "Please reduce the amount of data"), "lower max_results"),
        (200, error(368, "OAuthException", "policy"), "code 368"),
        (404, b"nothing", "check page_id, api_version"),
        (302, b"", "answered 302"),
    ],
)
def test_what_only_a_person_can_mend_is_permanent_and_says_what_to_do(
    graph: GraphEmulator, status: int, body: Any, said: str
) -> None:
    graph.faults.append(Fault(status, body))
    with pytest.raises(PermanentError, match=f"facebook/uji: Facebook .*{said}"):
        pull(graph)
    assert len(graph.asked) == 1


@pytest.mark.parametrize(
    "fault",
    [
        Fault(500, error(1, "OAuthException", "unknown")),
        Fault(400, error(99, "OAuthException", "later") | {"error": {"code": 99, "is_transient": True}}),
        Fault(503, b"<html>", content_type="text/html"),
        Fault(500, {"ok": True}),
        Fault(200, b"<html>masuk dulu</html>", content_type="text/html"),
        Fault(200, b'{"data": [{"id": "1"'),
        Fault(200, [1, 2]),
        Fault(200, {"paging": {}}),
        Fault(200, b""),
        Fault(200, b'{"data": []}', broken=True),
        Fault(429, b"slow down"),
    ],
)
def test_a_broken_answer_is_transient(graph: GraphEmulator, fault: Fault) -> None:
    graph.faults.append(fault)
    with pytest.raises(TransientError, match="facebook/uji: Facebook"):
        pull(graph)


def test_an_answer_without_a_content_type_is_read(graph: GraphEmulator) -> None:
    graph.faults.append(Fault(body={"data": [post(1, 1)]}, content_type=None))
    assert refs(pull(graph)) == [f"{PAGE}_1"]


def test_the_app_secret_is_proved_and_never_sent(graph: GraphEmulator) -> None:
    graph.app_secret = SECRET
    posts = [post(n, n) for n in range(1, 8)]
    graph.lists["feed"], graph.comments = posts, {posts[0]["id"]: comments(posts[0], 60)}
    with pytest.raises(PermanentError, match="set app_secret_env"):
        pull(graph)
    assert len(refs(pull(graph, app_secret_env="KANAL_UJI_RAHASIA"))) == 67
    assert SECRET not in repr(graph.asked)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"page_id": "halaman"}, "page_id must be"),
        ({"page_id": "../me"}, "page_id must be"),
        ({"token_env": None}, "token_env"),
        ({"app_secret_env": "KANAL_TIDAK_ADA"}, "KANAL_TIDAK_ADA is not set"),
        ({"api_version": "26.0"}, "api_version must look like"),
        ({"api_version": "v27.0/../.."}, "api_version must look like"),
        ({"edges": ["reactions"]}, "edges must list some of feed"),
        ({"edges": []}, "edges must list"),
        ({"edges": "feed"}, "edges must list"),
        ({"lookback_days": 365}, "lookback_days must be"),
        ({"max_results": 101}, "max_results must be"),
        ({"pages_dir": "tidak/ada"}, "pages_dir .* is not a folder"),
    ],
)
def test_a_wrong_option_is_named(graph: GraphEmulator, options: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=f"facebook/uji: .*{said}"):
        pull(graph, **options)
    assert graph.asked == []


@pytest.mark.parametrize(
    "fault",
    [
        Fault(400, error(190, "OAuthException", f"Malformed access token {TOKEN}")),
        Fault(500, error(2, "OAuthException", f"/me?access_token={TOKEN}")),
        Fault(500, error(2, "OAuthException", PROOF)),
        Fault(200, TOKEN),
        Fault(200, b"{}", broken=True),
        Fault(sleep=1.0),
    ],
)
def test_no_secret_is_in_any_error_log_cursor_or_payload(
    graph: GraphEmulator, fault: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    posts = [post(n, n) for n in range(1, 8)]
    graph.lists["feed"], graph.comments = posts, {posts[0]["id"]: comments(posts[0], 60)}
    batches = pull(graph, app_secret_env="KANAL_UJI_RAHASIA")
    assert graph.asked[0].query["appsecret_proof"] == PROOF
    graph.faults.append(fault)
    with pytest.raises((TransientError, PermanentError)) as caught:
        pull(graph, timeout_seconds=0.3, app_secret_env="KANAL_UJI_RAHASIA")
    told = told_by(caught.value) + caplog.text + repr(batches)
    assert not [s for s in (TOKEN, "kanari-fb", SECRET, PROOF) if s in told]


def test_a_server_that_is_not_there_tells_no_secret(graph: GraphEmulator) -> None:
    gone = stream_of(graph, api_base="http://127.0.0.1:9")
    with pytest.raises(TransientError, match="could not be read") as caught:
        list(facebook.pull(gone, None, now=lambda: NOW))
    assert "kanari" not in told_by(caught.value)


# --- recorded pages -------------------------------------------------------------------------


def test_recorded_pages_hold_posts_with_comments_and_need_no_token(tmp_path: Path) -> None:
    folder = tmp_path / "rekaman"
    folder.mkdir()
    whole = post(1, 1)
    page = {"data": [whole | {"comments": {"data": comments(whole, 2)}}, post(2, 2)]}
    (folder / "1.json").write_text(json.dumps(page))
    (folder / "2.json").write_text('{"data": [')
    stream = Stream("facebook", "uji", "facebook", {"pages_dir": "rekaman"}, str(tmp_path))
    batches = list(facebook.pull(stream, None, now=lambda: NOW))
    assert refs(batches[:1]) == [f"{PAGE}_1", "1_1", "1_2", f"{PAGE}_2"]
    assert json.loads(batches[0].messages[0].payload) == {"kind": "post", "object": whole}
    with pytest.raises(RejectedMessage, match=r"2\.json bukan JSON yang utuh"):
        facebook.decode(batches[1].messages[0], stream)
    assert list(facebook.pull(stream, batches[-1].cursor, now=lambda: NOW)) == []


def photo(target: str) -> dict[str, Any]:
    image = {"height": 720, "width": 540, "src": "https://scontent.example.com/1.jpg"}
    return {"type": "photo", "media": {"image": image}, "target": {"id": target}}
