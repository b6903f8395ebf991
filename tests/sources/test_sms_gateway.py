"""Reading SMS from the inbox of a real Gammu SMSD."""

from __future__ import annotations

import csv
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipelines.contracts import Batch, Draft, Message, Stream
from pipelines.errors import RejectedMessage
from pipelines.sources import sms
from tests.peers.gammu import PHONE_ID, Gammu, Piece, running_gammu, text_parts  # noqa: F401 - a fixture

AT = datetime(2026, 10, 6, 1, 30, tzinfo=UTC)
LATER = AT + timedelta(hours=1)
SENDER = "+6281200000001"
LONG = "Saluran air di depan sekolah meluap tiap hujan, baunya menyengat dan jentiknya banyak. " * 5


class Reader:
    """Brings what is new since the last time."""

    def __init__(self, gateway: Gammu) -> None:
        self.stream = Stream("sms", "uji", "sms", {"database": gateway.database.name}, str(gateway.base))
        self.cursor: dict[str, Any] | None = None
        self.bring(AT + timedelta(days=30))

    def bring(self, now: datetime = LATER) -> list[Message]:
        batches: list[Batch] = list(sms.pull(self.stream, self.cursor, now=lambda: now))
        if batches:
            self.cursor = batches[-1].cursor
        return [m for b in batches for m in b.messages]

    def text(self, message: Message) -> str:
        return sms.decode(message, self.stream).text


@pytest.fixture
def reader(gateway: Gammu) -> Reader:
    return Reader(gateway)


def test_an_sms_of_a_real_gateway_is_a_report(gateway: Gammu, reader: Reader) -> None:
    gateway.deliver(SENDER, text_parts("Pohon tumbang di Jl. Kenanga {RT 03}"), AT)
    [message] = reader.bring()
    assert sms.decode(message, reader.stream) == Draft(
        text="Pohon tumbang di Jl. Kenanga {RT 03}",
        occurred_at=AT,
        author_ref=SENDER,
        contact_phone=SENDER,
        sender_level="claimed",
        extra={"recipient": PHONE_ID},
    )
    assert reader.bring() == []


def test_what_a_gateway_receives_comes_back_letter_by_letter(gateway: Gammu, reader: Reader) -> None:
    emoji = "Banjir 😀 sepaha di Kp. Contoh\n" * 12
    sixteen = [Piece("enam belas bit, ", "Default", "06080412340201"), Piece("dua bagian", "Default", "06080412340202")]
    ports = "0B05041582000000"
    ported = [Piece("dua bagian", "Default", f"{ports}03AA0202"), Piece("dengan port, ", "Default", f"{ports}03AA0201")]
    sent = [
        (SENDER, text_parts("Lampu mati")),
        (SENDER, list(reversed(text_parts(LONG, 1)))),
        ("+6281200000002", text_parts(emoji, 1)),
        ("+6281200000003", sixteen),
        ("+6281200000004", ported),
        ("1708", text_parts("Kode pendek")),
        ("TELKOMSEL", text_parts("Nama")),
        ("", text_parts("Tanpa pengirim")),
        (SENDER, [Piece("48616C6F", "8bit")]),
    ]
    for sender, pieces in sent:
        gateway.deliver(sender, pieces, AT)
    drafts = [sms.decode(m, reader.stream) for m in reader.bring()]
    assert [(d.author_ref, d.contact_phone, d.text) for d in drafts] == [
        (SENDER, SENDER, "Lampu mati"),
        (SENDER, SENDER, LONG),
        ("+6281200000002", "+6281200000002", emoji),
        ("+6281200000003", "+6281200000003", "enam belas bit, dua bagian"),
        ("+6281200000004", "+6281200000004", "dengan port, dua bagian"),
        ("1708", None, "Kode pendek"),
        ("TELKOMSEL", None, "Nama"),
        (None, None, "Tanpa pengirim"),
        (SENDER, SENDER, "Halo"),
    ]


def test_a_gap_is_told_and_the_late_part_makes_it_whole(gateway: Gammu, reader: Reader) -> None:
    one, two, three = text_parts(LONG, 2)
    gateway.deliver(SENDER, [three, one], AT)
    assert reader.bring(AT + timedelta(seconds=659)) == []
    [incomplete] = reader.bring()
    with pytest.raises(RejectedMessage, match="bagian 2 dari 3"):
        reader.text(incomplete)
    gateway.deliver(SENDER, [two], AT)
    [whole] = reader.bring()
    assert (reader.text(whole), whole.source_ref) == (LONG, incomplete.source_ref)
    assert whole.version != incomplete.version
    assert reader.bring() == []


def test_a_first_part_that_comes_late_makes_it_whole_too(gateway: Gammu, reader: Reader) -> None:
    one, two, three = text_parts(LONG, 3)
    gateway.deliver(SENDER, [two, three], AT)
    gateway.deliver(SENDER, [one], AT)
    [whole] = reader.bring(AT)
    assert reader.text(whole) == LONG


def test_an_export_of_a_real_inbox_brings_the_same_messages(gateway: Gammu, tmp_path: Path) -> None:
    gateway.deliver(SENDER, text_parts(LONG, 4), AT)
    rows = gateway.inbox()
    with (tmp_path / "inbox.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), quoting=csv.QUOTE_ALL)
        writer.writeheader()
        writer.writerows(rows)
    exported = Stream("sms", "uji", "sms", {"csv_dir": "."}, str(tmp_path))
    stored = Stream("sms", "uji", "sms", {"database": gateway.database.name}, str(gateway.base))

    def told(stream: Stream) -> list[tuple[str, str, datetime | None, str | None]]:
        messages = [m for b in sms.pull(stream, None, now=lambda: LATER) for m in b.messages]
        return [(m.source_ref, m.version, m.occurred_at, m.problem) for m in messages]

    assert told(exported) == told(stored)
    assert len(told(stored)) > 0


def test_reading_changes_nothing_in_a_real_inbox(gateway: Gammu, reader: Reader) -> None:
    gateway.deliver(SENDER, text_parts("Halo"), AT)
    before = gateway.inbox()
    assert len(reader.bring()) == 1
    assert gateway.inbox() == before
