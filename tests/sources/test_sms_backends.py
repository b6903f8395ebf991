"""A real Gammu SMSD on PostgreSQL and on files: what it writes there is what its SQLite would bring."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipelines.contracts import Batch, Message, Stream
from pipelines.errors import RejectedMessage
from pipelines.sources import sms
from tests.peers.gammu import Gammu, Piece, text_parts
from tests.peers.gammu_backends import files_gateway, postgres_gateway, saved
from tests.peers.postgres import postgres, url_of  # noqa: F401 - a fixture

AT = datetime(2026, 10, 6, 1, 30, tzinfo=UTC)
LATER = AT + timedelta(hours=1)
SENDER = "+6281200000001"
LONG = "Saluran air di depan sekolah meluap tiap hujan, baunya menyengat dan jentiknya banyak. " * 5

Pull = Callable[[datetime], list[Message]]


class Reader:
    """Brings what is new since the last time."""

    def __init__(self, gateway: Gammu, stream: Stream) -> None:
        self.gateway, self.stream = gateway, stream
        self.cursor: dict[str, Any] | None = None
        self.bring(AT + timedelta(days=30))

    def bring(self, now: datetime = LATER) -> list[Message]:
        batches: list[Batch] = list(sms.pull(self.stream, self.cursor, now=lambda: now))
        if batches:
            self.cursor = batches[-1].cursor
        return [m for b in batches for m in b.messages]


@pytest.fixture(scope="module", params=["postgres", "files"])
def backend(request: pytest.FixtureRequest) -> Iterator[tuple[Gammu, Stream]]:
    if request.param == "files":
        with files_gateway() as gateway:
            yield gateway, Stream("sms", "uji", "sms", {"detail_dir": "inbox"}, str(gateway.base))
        return
    import psycopg

    server = request.getfixturevalue("postgres")
    with psycopg.connect(server, autocommit=True) as con:
        con.execute("CREATE DATABASE gerbang")
    url = url_of(server, "gerbang")
    with postgres_gateway(url) as gateway, pytest.MonkeyPatch.context() as patch:
        patch.setenv("KANAL_TEST_URL", url)
        yield gateway, Stream("sms", "uji", "sms", {"url_env": "KANAL_TEST_URL"})


@pytest.fixture
def reader(backend: tuple[Gammu, Stream]) -> Reader:
    return Reader(*backend)


def test_what_a_gateway_receives_comes_back_letter_by_letter(reader: Reader) -> None:
    emoji = "Banjir 😀 sepaha di Kp. Contoh\n" * 12
    sixteen = [Piece("enam belas bit, ", "Default", "06080412340201"), Piece("dua bagian", "Default", "06080412340202")]
    sent = [
        (SENDER, text_parts("Pohon tumbang di Jl. Kenanga {RT 03} = 5; [tutup]")),
        (SENDER, list(reversed(text_parts(LONG, 1)))),
        ("+6281200000002", text_parts(emoji, 1)),
        ("+6281200000003", sixteen),
        ("1708", text_parts("Kode pendek")),
        ("TELKOMSEL", text_parts("Nama")),
        (SENDER, [Piece("48616C6F", "8bit")]),
    ]
    for second, (sender, pieces) in enumerate(sent):
        reader.gateway.deliver(sender, pieces, AT + timedelta(seconds=second))
    found = reader.bring()
    drafts = [sms.decode(m, reader.stream) for m in found]
    assert [(d.author_ref, d.contact_phone, d.text, d.sender_level, d.occurred_at) for d in drafts] == [
        (SENDER, SENDER, "Pohon tumbang di Jl. Kenanga {RT 03} = 5; [tutup]", "claimed", AT),
        (SENDER, SENDER, LONG, "claimed", AT + timedelta(seconds=1)),
        ("+6281200000002", "+6281200000002", emoji, "claimed", AT + timedelta(seconds=2)),
        ("+6281200000003", "+6281200000003", "enam belas bit, dua bagian", "claimed", AT + timedelta(seconds=3)),
        ("1708", None, "Kode pendek", "claimed", AT + timedelta(seconds=4)),
        ("TELKOMSEL", None, "Nama", "claimed", AT + timedelta(seconds=5)),
        (SENDER, SENDER, "Halo", "claimed", AT + timedelta(seconds=6)),
    ]
    assert reader.bring() == []


def test_a_gap_is_told_and_the_late_part_makes_it_whole(reader: Reader) -> None:
    one, two, three = text_parts(LONG, 2)
    at = AT + timedelta(minutes=10)
    reader.gateway.deliver(SENDER, [three, one], at)
    assert reader.bring(at + timedelta(seconds=659)) == []
    [incomplete] = reader.bring(at + timedelta(hours=1))
    with pytest.raises(RejectedMessage, match="bagian 2 dari 3"):
        sms.decode(incomplete, reader.stream)
    reader.gateway.deliver(SENDER, [two], at)
    [whole] = reader.bring(at + timedelta(hours=2))
    assert sms.decode(whole, reader.stream).text == LONG
    assert whole.version != incomplete.version
    assert reader.bring(at + timedelta(hours=3)) == []


# --- files made by hand ---------------------------------------------------------------------


def files(folder: Path) -> Stream:
    return Stream("sms", "uji", "sms", {"detail_dir": "."}, str(folder))


def pull(folder: Path, cursor: dict[str, Any] | None = None) -> list[Batch]:
    return list(sms.pull(files(folder), cursor, now=lambda: LATER))


def test_a_file_may_hold_all_parts_and_quote_them_in_its_comments(tmp_path: Path) -> None:
    parts = text_parts(LONG, 3)
    (tmp_path / f"IN20261006_083000_00_{SENDER}_00.txt").write_text(saved(SENDER, *reversed(parts), at=AT))
    [batch] = pull(tmp_path)
    [message] = batch.messages
    assert sms.decode(message, files(tmp_path)).text == LONG
    assert (message.occurred_at, message.origin) == (
        AT,
        "inbox 202610060830000002,202610060830000001,202610060830000000",
    )
    assert pull(tmp_path, batch.cursor) == []


@pytest.mark.parametrize("data", [b"", b"Halo\n", b"[SMSBackup100]\nText00 = 0048\n", b"\xff\xfe"])
def test_a_file_of_another_form_is_set_aside_and_the_others_are_read(tmp_path: Path, data: bytes) -> None:
    (tmp_path / f"IN20261006_083000_00_{SENDER}_00.txt").write_bytes(data)
    (tmp_path / f"IN20261006_083001_00_{SENDER}_00.txt").write_text(saved(SENDER, *text_parts("Halo"), at=AT))
    (tmp_path / "OUT.txt").write_text("lain")
    [batch] = pull(tmp_path)
    broken, whole = batch.messages
    with pytest.raises(RejectedMessage, match="inboxformat = detail"):
        sms.decode(broken, files(tmp_path))
    assert sms.decode(whole, files(tmp_path)).text == "Halo"


def test_a_cut_off_file_is_never_taken_for_a_whole_one(tmp_path: Path) -> None:
    text = saved(SENDER, *text_parts("Lampu jalan mati di depan RPTRA"), at=AT)
    path = tmp_path / f"IN20261006_083000_00_{SENDER}_00.txt"
    for end in range(len(text) - 200):
        path.write_text(text[:end])
        [batch] = pull(tmp_path)
        for message in batch.messages:
            with contextlib.suppress(RejectedMessage):
                assert sms.decode(message, files(tmp_path)).text == "Lampu jalan mati di depan RPTRA"
