"""Facebook: private messages to the page, how much of the limit is used, what the doctor asks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import pytest

from pipelines.contracts import Batch, Draft, Stream
from pipelines.errors import FilteredMessage, PermanentError, TransientError
from pipelines.sources import facebook
from tests.peers.graph_emulator import GraphEmulator, facebook_time

NOW = datetime(2026, 11, 7, 3, 0, tzinfo=UTC)
PAGE = "7001"


@pytest.fixture
def graph(monkeypatch: pytest.MonkeyPatch) -> Iterator[GraphEmulator]:
    monkeypatch.setenv("KANAL_UJI_FB", "kanari-fb")
    with GraphEmulator(token="kanari-fb", page_id=PAGE) as server:
        yield server


def stream_of(graph: GraphEmulator, **options: Any) -> Stream:
    known = {"page_id": PAGE, "token_env": "KANAL_UJI_FB", "api_base": graph.url, "timeout_seconds": 5}
    return Stream("facebook", "uji", "facebook", {**known, "edges": ["conversations"], **options})


def pull(graph: GraphEmulator, cursor: dict[str, Any] | None = None, at: datetime = NOW, **options: Any) -> list[Batch]:
    return list(facebook.pull(stream_of(graph, **options), cursor, now=lambda: at))


def refs(batches: list[Batch]) -> list[str]:
    return [m.source_ref for b in batches for m in b.messages]


def talk(graph: GraphEmulator, number: int, *hours: float) -> str:
    """A conversation with a message so many hours ago each; the page's own are added by the test."""
    name = f"t_{number}"
    graph.messages[name] = []
    graph.lists["conversations"].append({"id": name, "message_count": 0})
    for one in hours:
        write(graph, name, one)
    return name


def write(graph: GraphEmulator, name: str, hours: float, sender: str = "9", **fields: Any) -> str:
    made = facebook_time(NOW - timedelta(hours=hours))
    number = len(graph.messages[name]) + 1
    people = {"from": {"id": sender, "name": "Warga"}, "to": {"data": [{"id": PAGE, "name": "Dinas"}]}}
    one = {"id": f"m_{name}_{number}", "created_time": made, "message": f"got mampet {number}", **people, **fields}
    graph.messages[name].append(one)
    row = next(t for t in graph.lists["conversations"] if t["id"] == name)
    row["updated_time"] = max(made, row.get("updated_time", made))
    return str(one["id"])


def test_messages_are_private_and_keyed_by_their_own_id_in_their_conversation(graph: GraphEmulator) -> None:
    name = talk(graph, 1, 3)
    [batch] = pull(graph)
    [message] = batch.messages
    assert (message.source_ref, json.loads(message.payload)["conversation_id"]) == ("m_t_1_1", name)
    assert facebook.decode(message, stream_of(graph)) == Draft(
        text="got mampet 1",
        occurred_at=NOW - timedelta(hours=3),
        author_ref="fb:9",
        author_name="Warga",
        sender_level="claimed",
        conversation_ref=name,
        private=True,
        extra={"object": "message", "edge": "conversations"},
    )


def test_the_pages_own_answers_are_filtered(graph: GraphEmulator) -> None:
    name = talk(graph, 1, 3)
    write(graph, name, 2, sender=PAGE)
    answer = pull(graph)[0].messages[0]
    with pytest.raises(FilteredMessage, match="own_reply"):
        facebook.decode(answer, stream_of(graph))


def test_a_second_pull_asks_only_as_far_as_conversations_moved_and_brings_what_is_new(graph: GraphEmulator) -> None:
    names = [talk(graph, n, 24 * n) for n in range(1, 12)]
    first = pull(graph, max_results=5)
    assert sorted(refs(first)) == sorted(f"m_{n}_1" for n in names)
    new = write(graph, names[9], -1)
    asked = len(graph.asked)
    second = pull(graph, first[-1].cursor, NOW + timedelta(hours=2), max_results=5)
    assert refs(second) == [new]
    assert len(graph.asked) - asked == 1  # its older message is known by its age
    assert pull(graph, second[-1].cursor, NOW + timedelta(hours=3), max_results=5) == []


def test_of_messages_beyond_the_newest_twenty_only_that_they_exist_is_told_and_a_gap_says_so(
    graph: GraphEmulator,
) -> None:
    name = talk(graph, 1, *(48 + n for n in range(30)))
    first = pull(graph)
    assert len(refs(first)) == 20
    assert "gaps" not in first[-1].cursor  # what was there before the first pull was never promised
    later = [write(graph, name, -n / 100) for n in range(1, 26)]
    second = pull(graph, first[-1].cursor, NOW + timedelta(hours=1))
    assert sorted(refs(second)) == sorted(later[5:])
    [gap] = second[-1].cursor["gaps"]
    assert (gap["from"], gap["to"]) == (NOW.isoformat(), (NOW + timedelta(hours=5 / 100)).isoformat())
    assert "inbox" in gap["fill"]
    third = pull(graph, second[-1].cursor, NOW + timedelta(hours=8))
    assert third[-1].cursor["gaps"] == [gap]


@pytest.mark.parametrize("read", [1, 2, 3])
def test_a_pass_cut_off_goes_on_and_each_message_and_post_comes_once(
    graph: GraphEmulator, read: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(facebook, "_MESSAGES", 4)
    monkeypatch.setattr(facebook, "_TALK_FIELDS", facebook._TALK_FIELDS.replace("limit(20)", "limit(4)"))
    for number in range(1, 4):
        talk(graph, number, *(number + n / 10 for n in range(10)))
    graph.lists["feed"] = [{"id": f"{PAGE}_1", "message": "x", "created_time": facebook_time(NOW)}]
    edges = ["feed", "conversations"]
    first = list(islice(facebook.pull(stream_of(graph, edges=edges), None, now=lambda: NOW), read))
    rest = pull(graph, first[-1].cursor, edges=edges)
    messages = [m["id"] for ms in graph.messages.values() for m in ms]
    assert sorted(refs([*first, *rest])) == sorted([f"{PAGE}_1", *messages])
    assert pull(graph, rest[-1].cursor, edges=edges) == []


def test_recorded_conversations_are_read_too() -> None:
    page = {"data": [{"id": "t_1", "messages": {"data": [{"id": "m_1", "message": "got", "from": {"id": "9"}}]}}]}
    [message] = facebook.read_page(page, "x.json", NOW)  # type: ignore[arg-type]
    draft = facebook.decode(message, Stream("facebook", "uji", "facebook", {"page_id": PAGE}))
    assert (draft.text, draft.private, draft.conversation_ref) == ("got", True, "t_1")


# --- how much of the limit is used ----------------------------------------------------------


def test_a_pull_stops_asking_before_the_limit_and_goes_on_with_the_next(graph: GraphEmulator) -> None:
    graph.lists["feed"] = [
        {"id": f"{PAGE}_{n}", "message": "x", "created_time": facebook_time(NOW - timedelta(hours=n))}
        for n in range(12)
    ]
    graph.used = 85
    read: list[Batch] = []
    options = {"edges": ["feed"], "max_results": 5}
    with pytest.raises(TransientError, match="85 % of its limit is used") as caught:
        read.extend(facebook.pull(stream_of(graph, **options), None, now=lambda: NOW))
    assert (len(refs(read)), len(graph.asked), caught.value.retry_after) == (5, 1, 300.0)
    graph.used = 79
    assert len(refs([*read, *pull(graph, read[-1].cursor, **options)])) == 12


def test_the_share_at_which_a_pull_stops_is_a_setting(graph: GraphEmulator) -> None:
    graph.used, graph.lists["feed"] = 85, [
        {"id": f"{PAGE}_{n}", "message": "x", "created_time": facebook_time(NOW - timedelta(hours=n))} for n in range(12)
    ]  # fmt: skip
    assert len(refs(pull(graph, edges=["feed"], max_results=5, usage_stop_percent=95))) == 12


# --- what the doctor asks -------------------------------------------------------------------


def test_the_probe_names_the_page_its_permissions_and_when_the_token_ends(graph: GraphEmulator) -> None:
    stream = stream_of(graph, edges=["feed", "conversations"])
    told = "the token is page 7001's, grants pages_read_engagement, pages_read_user_content, pages_messaging and "
    assert facebook.probe(stream, now=lambda: NOW) == told + "does not expire"
    graph.token_facts["expires_at"] = int(datetime(2027, 1, 5, tzinfo=UTC).timestamp())
    assert facebook.probe(stream, now=lambda: NOW) == told + "expires on 2027-01-05"
    assert [a.path for a in graph.asked] == ["/v27.0/debug_token"] * 2


@pytest.mark.parametrize(
    ("facts", "scopes", "said"),
    [
        ({}, ["pages_read_engagement"], "has not granted pages_read_user_content, pages_messaging; add it to the app"),
        ({"type": "USER"}, None, "is not that of page 7001; make a page token"),
        ({"profile_id": "7002"}, None, "is not that of page 7001"),
        (
            {"is_valid": False, "error": {"message": "Session has expired"}},
            None,
            r"does not know the token any more \(Session has expired\)",
        ),
    ],
)
def test_the_probe_says_what_is_missing_and_where_to_get_it(
    graph: GraphEmulator, facts: dict[str, Any], scopes: list[str] | None, said: str
) -> None:
    graph.token_facts |= facts
    graph.scopes = scopes if scopes is not None else graph.scopes
    with pytest.raises(PermanentError, match=said):
        facebook.probe(stream_of(graph, edges=["feed", "conversations"]), now=lambda: NOW)


def test_a_pull_without_the_permission_says_how_to_find_out_which(graph: GraphEmulator) -> None:
    graph.scopes.remove("pages_messaging")
    with pytest.raises(PermanentError, match="kanal doctor --live says which"):
        pull(graph)
