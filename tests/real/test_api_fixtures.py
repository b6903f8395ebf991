"""Answers of the X API and the Graph API as client libraries recorded them: every one must be read.

They lie outside the repository: in the folder that KANAL_REAL_DATA names, else in ../shared/data
beside it. Without them these tests are skipped, and say so.
"""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pipelines.contracts import Draft, Message, Stream
from pipelines.errors import FilteredMessage, RejectedMessage
from pipelines.sources import facebook, twitter

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("KANAL_REAL_DATA") or ROOT.parent / "shared" / "data") / "api_fixtures"
NOW = datetime(2026, 10, 7, 3, 0, tzinfo=UTC)

if not DATA.is_dir():
    reason = f"no recorded answers at {DATA}: set KANAL_REAL_DATA to the folder that holds api_fixtures"
    warnings.warn(reason, stacklevel=1)
    pytest.skip(reason, allow_module_level=True)

X = DATA / "x_api_v2" / "testdata"
FACEBOOK = DATA / "facebook_graph" / "testdata" / "facebook"
# The page the recorded posts stand on. They name no author, so that none counts as the page's own.
PAGE = "19292868552"


def read(
    source: ModuleType, file: Path, folder: Path, **options: str
) -> tuple[list[Message], Counter[str], list[Draft]]:
    """(messages, what became of them, drafts) of one recorded answer, through pull and decode."""
    shutil.copy(file, folder / file.name)
    stream = Stream("uji", "uji", "uji", {"pages_dir": ".", **options}, str(folder))
    messages = [m for batch in source.pull(stream, None, now=lambda: NOW) for m in batch.messages]
    fates: Counter[str] = Counter()
    drafts = []
    for message in messages:
        try:
            drafts.append(source.decode(message, stream))
            fates["report"] += 1
        except FilteredMessage as error:
            fates[error.reason] += 1
        except RejectedMessage:
            fates["rejected"] += 1
    return messages, fates, drafts


def items_of(file: Path) -> list[dict[str, Any]]:
    """The items a person would count in the file."""
    page = json.loads(file.read_text("utf-8"))
    if "data" in page:
        return page["data"] if isinstance(page["data"], list) else [page["data"]]
    return [page] if "id" in page else list(page.values())


@pytest.mark.parametrize(
    "name",
    [
        "apis/searches/search_tweets_for_nyc.json",
        "apis/searches/search_tweets_query.json",
        "apis/timeline/timeline_mentions.json",
        "apis/timeline/timeline_reverse_chronological.json",
        "apis/timeline/timeline_tweets.json",
        "apis/tweet/tweet_quote_tweets_resp.json",
        "apis/tweet/tweet_resp.json",
        "apis/tweet/tweet_retweet_tweets_resp.json",
        "apis/tweet/tweets_by_user_bookmark.json",
        "apis/tweet/tweets_resp.json",
        "models/tweet.json",
    ],
)
def test_every_recorded_post_of_x_is_a_message_and_a_report_unless_a_repost(name: str, tmp_path: Path) -> None:
    items = items_of(X / name)
    messages, fates, drafts = read(twitter, X / name, tmp_path)
    reposts = [i for i in items if any(r["type"] == "retweeted" for r in i.get("referenced_tweets", ()))]
    assert [m.version for m in messages] == [i["id"] for i in items]
    assert fates == Counter({"report": len(items) - len(reposts)}) + Counter({"repost": len(reposts)})
    assert all(d.text and d.occurred_at and d.source_url for d in drafts)
    authors = [i["author_id"] for i in items if i not in reposts and "author_id" in i]
    assert [d.author_ref for d in drafts if d.author_ref] == [f"x:{a}" for a in authors]


@pytest.mark.parametrize(
    ("name", "fates"),
    [
        ("apidata/posts/feed_fields_p1.json", {"report": 5}),
        ("apidata/posts/feed_fields_p2.json", {"report": 5}),
        ("apidata/posts/feeds_default_fields_p1.json", {"report": 5}),
        ("apidata/posts/feeds_default_fields_p2.json", {"report": 5}),
        ("apidata/posts/multi_posts_data_fields.json", {"report": 2}),
        ("apidata/posts/single_post_data.json", {"report": 1}),
        ("apidata/posts/single_post_data_fields.json", {"report": 1}),
        ("apidata/comments/comment_info.json", {"report": 1}),
        ("apidata/comments/comments_info.json", {"report": 2}),
        ("apidata/comments/comments_p1.json", {"report": 10}),
        ("apidata/comments/comments_p2.json", {"report": 5}),
        ("apidata/messages/message_info.json", {"report": 1}),
        ("apidata/messages/messages_info.json", {"report": 2}),
        ("apidata/conversations/cvses_info.json", {"rejected": 2}),
        ("models/post.json", {"report": 1}),
        ("models/comment.json", {"report": 1}),
        ("models/message.json", {"report": 1}),
    ],
)
def test_every_recorded_object_of_facebook_is_accounted_for(name: str, fates: dict[str, int], tmp_path: Path) -> None:
    messages, found, drafts = read(facebook, FACEBOOK / name, tmp_path, page_id=PAGE)
    assert found == fates
    assert len({m.source_ref for m in messages}) == len(messages)
    assert all(d.occurred_at and (d.text or d.attachments) for d in drafts)
    assert [d.private for d in drafts] == ["message" in name] * len(drafts)


def test_comments_inside_recorded_posts_are_messages_of_their_own(tmp_path: Path) -> None:
    file = FACEBOOK / "apidata/posts/multi_posts_data.json"
    posts = items_of(file)
    nested = sum(len(p["comments"]["data"]) for p in posts)
    messages, _, drafts = read(facebook, file, tmp_path, page_id=PAGE)
    assert nested > 0
    assert len(messages) == len(posts) + nested
    assert {d.extra["object"] for d in drafts} == {"post", "comment"}


@pytest.mark.parametrize("source", [twitter, facebook])
def test_no_recorded_answer_stops_a_stream(source: ModuleType, tmp_path: Path) -> None:
    files = sorted(DATA.rglob("*.json"))
    assert len(files) > 40
    for number, file in enumerate(files):
        folder = tmp_path / str(number)
        folder.mkdir()
        messages, fates, _ = read(source, file, folder)
        assert sum(fates.values()) == len(messages)
