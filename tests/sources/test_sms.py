"""Reading SMS from inboxes made by hand: databases of both schemas, CSV exports, and damaged ones."""

from __future__ import annotations

import csv
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.contracts import WIB, Batch, Draft, Message, Stream
from pipelines.errors import FilteredMessage, PermanentError, RejectedMessage, SettingsError, TransientError
from pipelines.sources import sms, sms_inbox
from pipelines.sources.sms_parts import COLUMNS
from tests.peers.gammu import PHONE_ID, Piece, create, insert, text_parts

AT = datetime(2026, 10, 6, 8, 0, tzinfo=WIB)
NOW = AT + timedelta(minutes=5)
SENDER, OTHER = "+6281200000001", "+6281200000002"
LONG = "Lampu jalan di depan RPTRA mati sejak tiga malam, warga takut lewat karena gelap. " * 5


@pytest.fixture(params=[17, 18])
def inbox(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """An empty inbox of each schema."""
    path = tmp_path / "smsd.db"
    create(path, request.param)
    return path


def stream_of(path: Path, **options: Any) -> Stream:
    """A stream of the database, or of the folder of exports."""
    kind = "csv_dir" if path.is_dir() else "database"
    return Stream("sms", "uji", "sms", {kind: path.name} | options, str(path.parent))


def pull(path: Path, cursor: dict[str, Any] | None = None, *, at: datetime = NOW, **options: Any) -> list[Batch]:
    batches = list(sms.pull(stream_of(path, **options), cursor, now=lambda: at))
    return [Batch(b.messages, orjson.loads(orjson.dumps(b.cursor))) for b in batches]  # as landing keeps it


def messages(batches: Sequence[Batch]) -> list[Message]:
    return [m for b in batches for m in b.messages]


def decode(message: Message, **options: Any) -> Draft:
    return sms.decode(message, Stream("sms", "uji", "sms", options))


def texts(batches: Sequence[Batch]) -> list[str]:
    """What each message says, or None where parts of it are missing."""
    return [m.problem or decode(m).text for m in messages(batches)]


def identity(message: Message) -> tuple[str, str, datetime | None, str | None]:
    return message.source_ref, message.version, message.occurred_at, message.problem


def execute(path: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(path)) as con:
        con.execute(statement, values)
        con.commit()


def export(path: Path, folder: Path, name: str = "inbox.csv", where: str = "1", delimiter: str = ",") -> Path:
    """The table as a CSV export has it."""
    folder.mkdir(exist_ok=True)
    with closing(sqlite3.connect(path)) as con, (folder / name).open("w", encoding="utf-8", newline="") as file:
        rows = con.execute(f"SELECT * FROM inbox WHERE {where} ORDER BY ID")
        writer = csv.writer(file, delimiter=delimiter, quoting=csv.QUOTE_ALL)
        writer.writerow([column[0] for column in rows.description])
        writer.writerows(rows)
    return folder


# --- what comes back ------------------------------------------------------------------------


def test_an_sms_lands_with_its_row_as_it_stands(inbox: Path) -> None:
    insert(inbox, SENDER, text_parts("Jalan rusak di Gg. Mawar"), AT)
    before = inbox.read_bytes()
    [batch] = pull(inbox)
    [message] = batch.messages
    with closing(sqlite3.connect(inbox)) as con:
        con.row_factory = sqlite3.Row
        [row] = [dict(r) for r in con.execute("SELECT * FROM inbox")]
    assert message == Message(
        message.source_ref,
        message.version,
        orjson.dumps({"rows": [row]}),
        "application/json",
        NOW,
        AT.astimezone(UTC),
        None,
        "inbox 1",
    )
    assert decode(message) == Draft(
        text="Jalan rusak di Gg. Mawar",
        occurred_at=AT.astimezone(UTC),
        author_ref=SENDER,
        contact_phone=SENDER,
        sender_level="claimed",
        extra={"recipient": PHONE_ID},
    )
    assert SENDER not in message.source_ref + message.version + message.origin + str(batch.cursor)
    assert inbox.read_bytes() == before


def test_a_second_pull_brings_only_what_is_new(inbox: Path) -> None:
    insert(inbox, SENDER, text_parts("satu"), AT)
    insert(inbox, SENDER, text_parts(LONG), AT)
    first = pull(inbox)
    assert texts(first) == ["satu", LONG]
    assert pull(inbox, first[-1].cursor, at=NOW + timedelta(days=9)) == []
    insert(inbox, OTHER, text_parts("dua"), AT)
    assert texts(pull(inbox, first[-1].cursor)) == ["dua"]


def test_an_empty_inbox_brings_nothing(inbox: Path) -> None:
    assert pull(inbox) == []


def test_a_long_inbox_comes_in_batches_and_goes_on_where_it_was_cut_off(
    inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sms, "_CHUNK", 4)
    monkeypatch.setattr(sms, "_RECENT", 2)
    for number in range(3):
        insert(inbox, SENDER, text_parts(f"nomor {number}"), AT)
        insert(inbox, OTHER, text_parts(LONG, reference=number), AT + timedelta(minutes=number))
    later = AT + timedelta(days=1)
    batches = pull(inbox, at=later)
    assert len(batches) > 2
    assert sorted(texts(batches)) == sorted(["nomor 0", "nomor 1", "nomor 2", LONG, LONG, LONG])
    for cut in range(1, len(batches)):
        rest = pull(inbox, batches[cut - 1].cursor, at=later)
        assert messages([*batches[:cut], *rest]) == messages(batches)
        assert (rest or batches)[-1].cursor == batches[-1].cursor


def test_what_gammu_writes_into_a_row_later_makes_no_new_version(inbox: Path) -> None:
    insert(inbox, SENDER, text_parts("halo"), AT)
    before = pull(inbox)
    execute(inbox, "UPDATE inbox SET Processed = 'true', UpdatedInDB = '2027-01-01 00:00:00', TextDecoded = ''")
    assert pull(inbox, before[-1].cursor) == []
    assert [identity(m) for m in messages(pull(inbox))] == [identity(m) for m in messages(before)]


def test_a_row_numbered_first_and_committed_last_is_not_passed_over(inbox: Path) -> None:
    for number in (1, 2, 4):
        insert(inbox, SENDER, text_parts(f"nomor {number}"), AT, ID=number)
    before = pull(inbox)
    insert(inbox, SENDER, text_parts("nomor 3"), AT, ID=3)
    assert texts(pull(inbox, before[-1].cursor)) == ["nomor 3"]


# --- parts ----------------------------------------------------------------------------------


def test_a_first_row_that_commits_last_is_not_passed_over(inbox: Path) -> None:
    insert(inbox, SENDER, text_parts("dua"), AT, ID=2)
    [first] = pull(inbox)
    insert(inbox, SENDER, text_parts("satu"), AT, ID=1)
    assert texts(pull(inbox, first.cursor)) == ["satu"]


def test_a_long_sms_is_one_message_whatever_order_its_parts_came_in(inbox: Path) -> None:
    text = "Banjir 😀 " * 30
    insert(inbox, SENDER, list(reversed(text_parts(text))), AT)
    [message] = messages(pull(inbox))
    assert (decode(message).text, decode(message).extra) == (text, {"recipient": PHONE_ID, "parts": 5})
    assert message.origin == "inbox 5,4,3,2,1"


def test_parts_written_between_two_pulls_are_waited_for(inbox: Path) -> None:
    parts = text_parts(LONG)
    insert(inbox, SENDER, parts[:1], AT)
    insert(inbox, OTHER, text_parts("tunggal"), AT)
    first = pull(inbox)
    assert texts(first) == ["tunggal"]
    insert(inbox, SENDER, parts[1:], AT)
    second = pull(inbox, first[-1].cursor)
    assert texts(second) == [LONG]
    assert pull(inbox, second[-1].cursor, at=NOW + timedelta(days=1)) == []


def test_a_missing_part_is_told_once_its_wait_is_over_and_mended_when_it_comes(inbox: Path) -> None:
    one, two, three = text_parts(LONG)
    insert(inbox, SENDER, [one, three], AT)
    waiting = pull(inbox, at=AT + timedelta(seconds=659))
    assert messages(waiting) == []
    told = pull(inbox, waiting[-1].cursor, at=AT + timedelta(seconds=660))
    [incomplete] = messages(told)
    assert incomplete.problem == (
        "SMS panjang ini tidak lengkap: bagian 2 dari 3 tidak pernah sampai. Bila bagian itu menyusul, laporannya"
        " dibuat otomatis; bila tidak, minta pengirim mengirim ulang."
    )
    assert pull(inbox, told[-1].cursor, at=AT + timedelta(hours=5)) == []
    insert(inbox, SENDER, [two], AT + timedelta(minutes=1))
    mended = pull(inbox, told[-1].cursor, at=AT + timedelta(hours=5))
    [whole] = messages(mended)
    assert (whole.source_ref, decode(whole).text) == (incomplete.source_ref, LONG)
    assert whole.version != incomplete.version
    assert pull(inbox, mended[-1].cursor, at=AT + timedelta(days=9)) == []


def test_the_wait_is_a_setting(inbox: Path) -> None:
    insert(inbox, SENDER, text_parts(LONG)[:1], AT)
    assert messages(pull(inbox, at=AT + timedelta(seconds=59), multipart_wait_seconds=60)) == []
    assert len(messages(pull(inbox, at=AT + timedelta(seconds=60), multipart_wait_seconds=60))) == 1


def test_a_part_that_comes_after_three_days_stands_alone(inbox: Path) -> None:
    parts = text_parts(LONG)
    insert(inbox, SENDER, parts[:2], AT)
    told = pull(inbox, at=AT + timedelta(days=2))
    given_up = pull(inbox, told[-1].cursor, at=AT + timedelta(days=4))
    assert given_up == [Batch([], told[-1].cursor | {"open": {}})]
    insert(inbox, SENDER, parts[2:], AT)
    [late] = messages(pull(inbox, given_up[-1].cursor, at=AT + timedelta(days=5)))
    assert "bagian 1 dan 2 dari 3" in str(late.problem)


def test_two_senders_with_the_same_reference_are_not_mixed(inbox: Path) -> None:
    mine, yours = text_parts(LONG, reference=9), text_parts(LONG.upper(), reference=9)
    for number in (2, 0, 1):
        insert(inbox, SENDER, [mine[number]], AT)
        insert(inbox, OTHER, [yours[number]], AT)
    assert texts(pull(inbox)) == [LONG, LONG.upper()]


def test_a_reference_that_comes_round_again_is_another_message(inbox: Path) -> None:
    first, second = text_parts(LONG, reference=9), text_parts(LONG.upper(), reference=9)
    insert(inbox, SENDER, first[:2], AT)
    insert(inbox, SENDER, [second[2], second[0], second[1]], AT + timedelta(hours=6))
    lacking, whole = texts(pull(inbox, at=AT + timedelta(hours=7)))
    assert ("bagian 3 dari 3" in lacking, whole) == (True, LONG.upper())


def test_a_message_over_midnight_is_one_and_bears_the_time_of_its_first_part(inbox: Path) -> None:
    before, parts = datetime(2026, 12, 31, 23, 59, 59, tzinfo=WIB), text_parts(LONG)
    insert(inbox, SENDER, parts[:1], before)
    insert(inbox, SENDER, parts[1:], before + timedelta(seconds=4))
    [message] = messages(pull(inbox, at=before + timedelta(minutes=1)))
    assert (decode(message).text, message.occurred_at) == (LONG, before.astimezone(UTC))


def test_a_part_delivered_twice_is_told_once(inbox: Path) -> None:
    parts = text_parts(LONG)
    insert(inbox, SENDER, parts, AT)
    first = pull(inbox)
    insert(inbox, SENDER, parts[:1], AT)
    assert messages(pull(inbox, first[-1].cursor, at=AT + timedelta(hours=2))) == []


def test_more_open_messages_than_are_kept_in_sight_land_as_they_are(
    inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sms, "_OPEN_ROWS", 4)
    for reference in range(6):
        insert(inbox, SENDER, text_parts(LONG, reference=reference)[1:], AT)
    [batch] = pull(inbox)
    assert (len(batch.messages), len(batch.cursor["open"])) == (4, 4)


@pytest.mark.parametrize("at", ["0000-00-00 00:00:00", "2026-10-07 08:00:00", "2036-01-01 00:00:00"])
def test_a_gateway_without_a_usable_clock_makes_nothing_wait_for_ever(inbox: Path, at: str) -> None:
    insert(inbox, SENDER, text_parts(LONG)[:1], AT, ReceivingDateTime=at)
    insert(inbox, SENDER, text_parts("halo"), AT, ReceivingDateTime=at)
    lacking, whole = texts(pull(inbox))
    assert ("bagian 2 dan 3 dari 3" in lacking, whole) == (True, "halo")


# --- however it is cut off ------------------------------------------------------------------


# (text, its parts in the order they come, each so many messages later and perhaps twice, and whether
# all of them ever come)
Sent = list[tuple[str, list[tuple[int, Piece, bool]], bool]]


@st.composite
def arrivals(draw: st.DrawFn) -> Sent:
    """Messages more than an hour apart, whose references are soon used again."""
    found: Sent = []
    for number in range(draw(st.integers(1, 7))):
        text = f"{number} " + draw(st.text("abé😀", max_size=200))
        came = draw(st.permutations(text_parts(text, number % 2)))
        pieces = [(draw(st.integers(0, 3)), piece, draw(st.booleans())) for piece in came]
        kept = draw(st.sets(st.sampled_from(range(len(pieces))), min_size=1))
        whole = draw(st.booleans()) or len(kept) == len(pieces)
        found.append((text, pieces if whole else [p for n, p in enumerate(pieces) if n in kept], whole))
    return found


@settings(max_examples=40, deadline=None)
@given(arrivals(), st.data())
def test_each_message_lands_whole_once_and_none_is_lost(
    tmp_path_factory: pytest.TempPathFactory, sent: Sent, data: st.DataObject
) -> None:
    inbox = tmp_path_factory.mktemp("inbox") / "smsd.db"
    create(inbox, 18)
    rows: list[tuple[int, int, Piece, datetime, bool]] = []
    for number, (_, pieces, _) in enumerate(sent):
        at = AT + timedelta(minutes=61 * number)
        rows += [(number + late, number, piece, at, twice) for late, piece, twice in pieces]
    landed: list[Message] = []
    cursor: dict[str, Any] | None = None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sms, "_CHUNK", 6)
        patch.setattr(sms, "_RECENT", 5)
        for place, _, piece, at, twice in sorted(rows, key=lambda r: r[:2]):
            insert(inbox, SENDER, [piece] * (2 if twice and piece.udh else 1), at)
            if data.draw(st.booleans()):
                now = AT + timedelta(minutes=61 * place + 30)
                for batch in pull(inbox, cursor, at=now)[: data.draw(st.none() | st.integers(0, 2))]:
                    landed += batch.messages
                    cursor = batch.cursor
        for _ in range(2):
            for batch in pull(inbox, cursor, at=AT + timedelta(days=9)):
                landed += batch.messages
                cursor = batch.cursor
    assert len({(m.source_ref, m.version) for m in landed}) == len(landed)
    whole = [m for m in landed if not m.problem]
    assert sorted(decode(m).text for m in whole) == sorted(text for text, _, complete in sent if complete)
    never = {m.source_ref for m in landed if m.problem} - {m.source_ref for m in whole}
    assert len(never) == sum(not complete for _, _, complete in sent)


# --- an inbox that is another one -----------------------------------------------------------


def test_an_inbox_made_anew_is_read_from_its_first_row(inbox: Path) -> None:
    insert(inbox, SENDER, text_parts("lama satu"), AT)
    insert(inbox, SENDER, text_parts("lama dua"), AT)
    before = pull(inbox)
    inbox.unlink()
    create(inbox, 17)
    for number in range(4):
        insert(inbox, SENDER, text_parts(f"baru {number}"), AT)
    after = pull(inbox, before[-1].cursor)
    assert texts(after) == ["baru 0", "baru 1", "baru 2", "baru 3"]
    assert not {m.source_ref for m in messages(after)} & {m.source_ref for m in messages(before)}


def test_an_inbox_whose_ids_begin_again_is_read_from_its_first_row(inbox: Path) -> None:
    insert(inbox, SENDER, text_parts("lama"), AT, ID=5000)
    before = pull(inbox)
    inbox.unlink()
    create(inbox, 18)
    insert(inbox, SENDER, text_parts("baru"), AT)
    assert texts(pull(inbox, before[-1].cursor)) == ["baru"]


def test_an_older_copy_put_back_loses_nothing_that_comes_after(inbox: Path, tmp_path: Path) -> None:
    insert(inbox, SENDER, text_parts("satu"), AT)
    shutil.copy(inbox, tmp_path / "cadangan.db")
    insert(inbox, SENDER, text_parts("dua"), AT)
    before = pull(inbox)
    shutil.copy(tmp_path / "cadangan.db", inbox)
    insert(inbox, SENDER, text_parts("dua lain"), AT)
    assert texts(pull(inbox, before[-1].cursor)) == ["satu", "dua lain"]


def test_an_inbox_that_was_emptied_goes_on(inbox: Path) -> None:
    insert(inbox, SENDER, text_parts("lama"), AT)
    before = pull(inbox)
    execute(inbox, "DELETE FROM inbox")
    assert pull(inbox, before[-1].cursor) == []
    insert(inbox, SENDER, text_parts("baru"), AT)
    assert texts(pull(inbox, before[-1].cursor)) == ["baru"]


def test_rows_that_were_cleared_away_bring_nothing_twice_while_some_are_left(inbox: Path) -> None:
    for number in range(5):
        insert(inbox, SENDER, text_parts(f"nomor {number}"), AT)
    before = pull(inbox)
    execute(inbox, "DELETE FROM inbox WHERE ID <> 3")
    assert pull(inbox, before[-1].cursor) == []


def test_a_restored_inbox_brings_the_same_identities(inbox: Path, tmp_path: Path) -> None:
    insert(inbox, SENDER, text_parts("satu"), AT)
    insert(inbox, SENDER, text_parts(LONG), AT)
    shutil.copy(inbox, tmp_path / "cadangan.db")
    restored = pull(tmp_path / "cadangan.db")
    assert [identity(m) for m in messages(restored)] == [identity(m) for m in messages(pull(inbox))]


# --- what cannot be read --------------------------------------------------------------------


def test_a_row_of_garbage_is_set_aside_and_the_rest_goes_on(inbox: Path) -> None:
    insert(inbox, SENDER, [Piece("ZZ", "8bit")], AT)
    insert(inbox, SENDER, [Piece("halo", "Default", "0500")], AT)
    insert(inbox, SENDER, text_parts("baik"), AT)
    broken, cut, good = messages(pull(inbox))
    assert decode(good).text == "baik"
    for message, why in ((broken, "Text"), (cut, "UDH")):
        with pytest.raises(RejectedMessage, match=why):
            decode(message)


def test_letters_that_are_none_in_a_column_we_do_not_use_do_no_harm(inbox: Path) -> None:
    insert(inbox, SENDER, text_parts("baik"), AT)
    execute(inbox, "UPDATE inbox SET TextDecoded = CAST(x'FF41' AS TEXT)")
    [message] = messages(pull(inbox))
    assert decode(message).text == "baik"
    assert orjson.loads(message.payload)["rows"][0]["TextDecoded"] == "\ufffdA"


def test_a_missing_database_says_what_to_check(tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match=r"sms/uji: there is no database .*smsd\.db; check the option database"):
        pull(tmp_path / "smsd.db")


@pytest.mark.parametrize("content", [b"", b"ini bukan basis data, hanya tulisan panjang " * 40])
def test_a_file_that_is_no_gammu_database_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "smsd.db"
    path.write_bytes(content)
    with pytest.raises(PermanentError, match="sms/uji: .*check the option database"):
        pull(path)


def test_a_database_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "lain.db"
    execute(path, "CREATE TABLE tamu (nama TEXT)")
    with pytest.raises(PermanentError, match="no tables gammu and inbox"):
        pull(path)


def test_a_truncated_database_is_refused(inbox: Path) -> None:
    insert(inbox, SENDER, text_parts("nomor") * 200, AT)
    inbox.write_bytes(inbox.read_bytes()[: 6 * 4096 + 100])
    with pytest.raises(PermanentError, match="restore the file from its backup"):
        pull(inbox)


@pytest.mark.parametrize("schema", [7, 16, 19])
def test_another_schema_is_refused_by_its_number(tmp_path: Path, schema: int) -> None:
    create(tmp_path / "smsd.db", schema)
    with pytest.raises(PermanentError, match=f"has schema {schema} of Gammu SMSD; Kanal reads 17 and 18"):
        pull(tmp_path / "smsd.db")


def test_the_probe_tells_schema_and_inbox_and_refuses_what_a_pull_would(inbox: Path, tmp_path: Path) -> None:
    insert(inbox, SENDER, [Piece("got mampet", "7bit")], AT)
    told = sms.probe(stream_of(inbox), now=lambda: NOW)
    assert told.startswith("the database opens; schema 1")
    assert told.endswith(", 1 SMS in the inbox, newest ID 1")
    with pytest.raises(PermanentError, match="there is no database"):
        sms.probe(stream_of(tmp_path / "lain.db"), now=lambda: NOW)
    assert sms.probe(stream_of(tmp_path), now=lambda: NOW) == "reads files; no gateway is asked"


def test_a_database_that_does_not_say_its_schema_is_refused(inbox: Path) -> None:
    execute(inbox, "DELETE FROM gammu")
    with pytest.raises(PermanentError, match="has schema none"):
        pull(inbox)


def test_an_inbox_that_lacks_a_column_is_refused_by_its_name(inbox: Path) -> None:
    execute(inbox, "ALTER TABLE inbox RENAME COLUMN UDH TO Kepala")
    with pytest.raises(PermanentError, match="without UDH"):
        pull(inbox)


def test_an_inbox_whose_ids_are_no_key_is_refused(tmp_path: Path) -> None:
    create(tmp_path / "smsd.db", 17)
    execute(tmp_path / "smsd.db", "CREATE TABLE salinan AS SELECT * FROM inbox")
    execute(tmp_path / "smsd.db", "DROP TABLE inbox")
    execute(tmp_path / "smsd.db", "ALTER TABLE salinan RENAME TO inbox")
    with pytest.raises(PermanentError, match="without ID"):
        pull(tmp_path / "smsd.db")


def test_a_locked_database_is_tried_again_later(inbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sms_inbox, "_BUSY_SECONDS", 0.05)
    insert(inbox, SENDER, text_parts("halo"), AT)
    with closing(sqlite3.connect(inbox, isolation_level=None)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        with pytest.raises(TransientError, match=r"sms/uji: .*is busy \(SQLITE_BUSY\); the next pull tries again"):
            pull(inbox)
    assert texts(pull(inbox)) == ["halo"]


def test_a_database_left_in_the_middle_of_a_write_is_tried_again_later(inbox: Path, tmp_path: Path) -> None:
    insert(inbox, SENDER, text_parts("halo"), AT)
    with closing(sqlite3.connect(inbox, isolation_level=None)) as writer:
        writer.execute("PRAGMA cache_size = 1")
        writer.execute("PRAGMA cache_spill = 1")
        writer.execute("BEGIN")
        writer.execute("UPDATE inbox SET Text = hex(randomblob(60000))")
        writer.execute("UPDATE inbox SET SMSCNumber = hex(randomblob(60000))")
        for name in ("smsd.db", "smsd.db-journal"):
            shutil.copy(tmp_path / name, tmp_path / name.replace("smsd", "mati"))
        writer.execute("ROLLBACK")
    with pytest.raises(TransientError, match="SQLITE_READONLY"):
        pull(tmp_path / "mati.db")


def test_the_gateway_may_write_while_batches_land(inbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sms, "_CHUNK", 2)
    for number in range(4):
        insert(inbox, SENDER, text_parts(f"nomor {number}"), AT)
    batches: Iterator[Batch] = sms.pull(stream_of(inbox), None, now=lambda: NOW)
    first = next(batches)
    insert(inbox, SENDER, text_parts("sementara"), AT)
    assert texts([first, *batches]) == ["nomor 0", "nomor 1", "nomor 2", "nomor 3", "sementara"]


def test_a_database_in_wal_mode_is_read_while_the_gateway_has_it_open(inbox: Path) -> None:
    with closing(sqlite3.connect(inbox)) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        insert(inbox, SENDER, text_parts("halo"), AT)
        assert texts(pull(inbox)) == ["halo"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, "set one of `database`"),
        ({"database": "a.db", "csv_dir": "b"}, "set one of `database`"),
        ({"database": 3}, "set one of `database`"),
        ({"database": "a.db", "time_zone": "Jakarta"}, "time_zone must name a zone"),
        ({"database": "a.db", "time_zone": 7}, "time_zone must name a zone"),
        ({"database": "a.db", "multipart_wait_seconds": -1}, "multipart_wait_seconds must be a number"),
        ({"database": "a.db", "spam_senders": "TELKOMSEL"}, "spam_senders must be a list"),
        ({"csv_dir": "tidak-ada"}, "csv_dir .* is not a folder"),
    ],
)
def test_wrong_settings_are_told(tmp_path: Path, options: dict[str, Any], told: str) -> None:
    with pytest.raises(SettingsError, match=f"sms/uji: {told}"):
        list(sms.pull(Stream("sms", "uji", "sms", options, str(tmp_path)), None, now=lambda: NOW))


def test_the_gateways_clock_is_a_setting(inbox: Path) -> None:
    insert(inbox, SENDER, text_parts("halo"), AT)
    [message] = messages(pull(inbox, time_zone="Asia/Makassar"))
    assert message.occurred_at == AT.astimezone(UTC) - timedelta(hours=1)


# --- senders --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sender", "phone", "level"),
    [
        ("+6281200000001", "+6281200000001", "claimed"),
        ("081200000001", "081200000001", "claimed"),
        ("1708", None, "claimed"),
        ("TELKOMSEL", None, "claimed"),
        ("", None, "anonymous"),
    ],
)
def test_senders_stay_as_the_network_names_them(inbox: Path, sender: str, phone: str | None, level: str) -> None:
    insert(inbox, sender, text_parts("LAPOR jalan rusak"), AT)
    [message] = messages(pull(inbox))
    assert decode(message) == Draft(
        text="LAPOR jalan rusak",
        occurred_at=AT.astimezone(UTC),
        author_ref=sender or None,
        contact_phone=phone,
        sender_level=level,
        extra={"recipient": PHONE_ID},
    )


def test_the_networks_answers_to_codes_are_no_reports(inbox: Path) -> None:
    insert(inbox, "*888#", text_parts("Pulsa Anda Rp5.000"), AT, Class=127, Status=2)
    [message] = messages(pull(inbox))
    with pytest.raises(FilteredMessage, match="auto_reply"):
        decode(message)


def test_advertising_is_told_by_its_sender_alone(inbox: Path) -> None:
    insert(inbox, "TELKOMSEL", text_parts("Paket murah"), AT)
    [message] = messages(pull(inbox))
    assert decode(message).text == "Paket murah"
    with pytest.raises(FilteredMessage, match="spam"):
        decode(message, spam_senders=["Telkomsel"])


def test_a_flash_sms_is_a_report_like_any_other(inbox: Path) -> None:
    insert(inbox, SENDER, text_parts("Kebakaran di Gg. Melati"), AT, Class=0)
    [message] = messages(pull(inbox))
    assert decode(message).extra == {"recipient": PHONE_ID, "flash": True}


@pytest.mark.parametrize("text", ["", " \n "])
def test_an_empty_sms_is_set_aside(inbox: Path, text: str) -> None:
    insert(inbox, SENDER, text_parts(text), AT)
    [message] = messages(pull(inbox))
    with pytest.raises(RejectedMessage, match="kosong"):
        decode(message)


def test_a_message_that_pull_found_incomplete_is_set_aside_with_that_reason(inbox: Path) -> None:
    insert(inbox, SENDER, text_parts(LONG)[:2], AT)
    [message] = messages(pull(inbox, at=AT + timedelta(hours=1)))
    with pytest.raises(RejectedMessage, match="bagian 3 dari 3") as told:
        decode(message)
    assert told.value.stage == "pull"
    without = Message("a", "b", message.payload, message.payload_type, NOW)
    with pytest.raises(RejectedMessage, match="bagian 3 dari 3"):
        decode(without)


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-9, 300)
    | st.text(max_size=12)
    | st.sampled_from(["050003AA0201", "050003AA0202", "0041", "8bit", "Default_No_Compression"])
)
ROWS = st.lists(st.fixed_dictionaries(dict.fromkeys(COLUMNS, LEAVES)) | LEAVES, max_size=3)
PAYLOADS = (ROWS | LEAVES).map(lambda rows: orjson.dumps({"rows": rows})) | ROWS.map(orjson.dumps)


@settings(deadline=None)
@given(PAYLOADS | st.binary(max_size=40))
def test_whatever_a_payload_holds_it_is_read_or_set_aside(payload: bytes) -> None:
    try:
        draft = decode(Message("a", "b", payload, "application/json", NOW))
    except (RejectedMessage, FilteredMessage):
        return
    assert draft.text.strip()


# --- CSV exports ----------------------------------------------------------------------------


@pytest.fixture
def mixed(inbox: Path) -> Path:
    """An inbox with a bit of everything."""
    insert(inbox, SENDER, text_parts('Halo, "jalan rusak";\nsekali'), AT)
    insert(inbox, OTHER, list(reversed(text_parts("Banjir 😀 " * 30))), AT)
    insert(inbox, SENDER, text_parts(LONG)[::2], AT)
    insert(inbox, "1708", [Piece("48616C6F", "8bit")], AT)
    insert(inbox, "", text_parts("tanpa nama"), AT)
    return inbox


@pytest.mark.parametrize("delimiter", [",", ";"])
def test_an_export_brings_the_same_messages_as_the_database(mixed: Path, tmp_path: Path, delimiter: str) -> None:
    later = AT + timedelta(hours=1)
    folder = export(mixed, tmp_path / "ekspor", delimiter=delimiter)
    ours, theirs = messages(pull(folder, at=later)), messages(pull(mixed, at=later))
    assert [identity(m) for m in ours] == [identity(m) for m in theirs]
    assert [decode(m) for m in ours if not m.problem] == [decode(m) for m in theirs if not m.problem]


def test_a_file_is_known_by_its_content(mixed: Path, tmp_path: Path) -> None:
    folder = export(mixed, tmp_path / "ekspor")
    [first] = pull(folder)
    (folder / "inbox.csv").rename(folder / "lain.csv")
    shutil.copy(folder / "lain.csv", folder / "salinan.csv")
    assert pull(folder, first.cursor) == []


def test_rows_exported_before_do_not_come_again(mixed: Path, tmp_path: Path) -> None:
    folder = export(mixed, tmp_path / "ekspor", "satu.csv")
    [first] = pull(folder, at=AT + timedelta(hours=1))
    insert(mixed, SENDER, text_parts("baru"), AT)
    export(mixed, folder, "dua.csv")
    assert texts(pull(folder, first.cursor, at=AT + timedelta(hours=1))) == ["baru"]


def test_a_message_may_begin_in_one_export_and_end_in_the_next(inbox: Path, tmp_path: Path) -> None:
    insert(inbox, SENDER, text_parts(LONG), AT)
    folder = export(inbox, tmp_path / "ekspor", "satu.csv", "ID = 1")
    [waiting] = pull(folder)
    assert (waiting.messages, len(waiting.cursor["held"])) == ([], 1)
    assert pull(folder, waiting.cursor) == []
    [told] = pull(folder, waiting.cursor, at=AT + timedelta(hours=1))
    assert "bagian 2 dan 3" in str(told.messages[0].problem)
    export(inbox, folder, "dua.csv", "ID > 1")
    [whole] = pull(folder, told.cursor, at=AT + timedelta(hours=1))
    assert (texts([whole]), whole.messages[0].source_ref) == ([LONG], told.messages[0].source_ref)
    assert pull(folder, whole.cursor, at=AT + timedelta(hours=1)) == []


def test_a_large_export_comes_in_batches_and_is_done_with_the_last(
    inbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sms, "_CHUNK", 2)
    for number in range(5):
        insert(inbox, SENDER, text_parts(f"nomor {number}"), AT)
    batches = pull(export(inbox, tmp_path / "ekspor"))
    assert [len(b.messages) for b in batches] == [2, 2, 1]
    assert [bool(b.cursor) for b in batches] == [False, False, True]


def test_an_export_that_is_none_is_set_aside_and_the_others_are_read(mixed: Path, tmp_path: Path) -> None:
    folder = export(mixed, tmp_path / "ekspor")
    (folder / "a.csv").write_text("nama,umur\nsari,30\n")
    (folder / "b.csv").write_bytes(b"")
    (folder / "c.csv").write_bytes(b'"ID"\n"' + b"x" * 2_100_000 + b'"\n')
    batches = pull(folder)
    problems = [m.problem for m in messages(batches) if m.payload_type == "text/csv"]
    assert [p and p.split(". ")[0] for p in problems] == [
        f"Berkas a.csv tidak punya kolom {', '.join(COLUMNS)}",
        f"Berkas b.csv tidak punya kolom {', '.join(COLUMNS)}",
        "Berkas c.csv bukan CSV yang utuh",
    ]
    assert len(messages(batches)) == 3 + 4
    assert pull(folder, batches[-1].cursor) == []


def test_a_truncated_export_loses_only_its_last_row(inbox: Path, tmp_path: Path) -> None:
    insert(inbox, SENDER, text_parts("utuh"), AT)
    insert(inbox, SENDER, text_parts("ini terpotong"), AT)
    folder = export(inbox, tmp_path / "ekspor")
    whole = (folder / "inbox.csv").read_bytes()
    (folder / "inbox.csv").write_bytes(whole[: whole.rindex(b"00690020")])
    first = pull(folder)
    cut, good = messages(first)  # the row was cut off before its ID
    assert decode(good).text == "utuh"
    with pytest.raises(RejectedMessage, match="terpotong"):
        decode(cut)
    (folder / "lagi.csv").write_bytes(whole)
    assert texts(pull(folder, first[-1].cursor)) == ["ini terpotong"]


def test_an_export_put_over_another_brings_the_same_identities(mixed: Path, tmp_path: Path) -> None:
    folder = export(mixed, tmp_path / "ekspor", where="ID < 3")
    first = pull(folder)
    export(mixed, folder)
    second = pull(folder, first[-1].cursor)
    again = {identity(m) for m in messages(second)}
    assert ({identity(m) for m in messages(first)} < again, len(again)) == (True, 4)


def test_a_database_whose_schema_is_garbled_is_refused(inbox: Path) -> None:
    raw = inbox.read_bytes()
    assert raw.count(b"TextDecoded")
    inbox.write_bytes(raw.replace(b"TextDecoded", b"Text\xff\xfecoded"[:11]))
    with pytest.raises(PermanentError, match="sms/uji: .*restore the file from its backup"):
        pull(inbox)
