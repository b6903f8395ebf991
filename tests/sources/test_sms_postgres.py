"""Reading SMS from inboxes made by hand in a real PostgreSQL, of both schemas, and from databases that will not do."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import psycopg
import pytest

from pipelines.contracts import WIB, Batch, Message, Stream
from pipelines.errors import PermanentError, RejectedMessage, SettingsError, TransientError
from pipelines.sources import sms
from tests.peers.canary import told_by
from tests.peers.gammu import Piece, create, insert, text_parts
from tests.peers.gammu_backends import create_postgres, insert_postgres
from tests.peers.postgres import postgres, postgres_url  # noqa: F401 - fixtures

AT = datetime(2026, 10, 6, 8, 0, tzinfo=WIB)
NOW = AT + timedelta(minutes=5)
SENDER, OTHER = "+6281200000001", "+6281200000002"
LONG = "Lampu jalan di depan RPTRA mati sejak tiga malam, warga takut lewat karena gelap. " * 5
CANARY = "kanari-basisdata-9Pw2"


@pytest.fixture(params=[17, 18])
def url(postgres_url: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty inbox of each schema."""
    create_postgres(postgres_url, request.param)
    monkeypatch.setenv("KANAL_TEST_URL", postgres_url)
    return postgres_url


STREAM = Stream("sms", "uji", "sms", {"url_env": "KANAL_TEST_URL"})


def say(url: str, sender: str, pieces: Sequence[Piece], at: datetime = AT) -> None:
    with psycopg.connect(url) as con:
        insert_postgres(con, sender, pieces, at)


def execute(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as con:
        con.execute(statement)  # type: ignore[call-overload]


def pull(cursor: dict[str, Any] | None = None, *, at: datetime = NOW, stream: Stream = STREAM) -> list[Batch]:
    batches = list(sms.pull(stream, cursor, now=lambda: at))
    return [Batch(b.messages, orjson.loads(orjson.dumps(b.cursor))) for b in batches]


def messages(batches: Sequence[Batch]) -> list[Message]:
    return [m for b in batches for m in b.messages]


def texts(batches: Sequence[Batch]) -> list[str]:
    return [m.problem or sms.decode(m, STREAM).text for m in messages(batches)]


def identity(message: Message) -> tuple[str, str, datetime | None, str | None]:
    return message.source_ref, message.version, message.occurred_at, message.problem


def test_a_gateway_that_moves_from_sqlite_to_postgresql_brings_the_same_identities(url: str, tmp_path: Path) -> None:
    create(tmp_path / "smsd.db", 17)
    sent = [
        (SENDER, text_parts("Pohon tumbang {RT 03}")),
        (OTHER, text_parts("Banjir 😀 sepaha di Kp. Contoh\n" * 12, 1)),
        ("1708", text_parts("Kode pendek")),
        ("", [Piece("48616C6F", "8bit")]),
        (SENDER, [*text_parts(LONG, 2)][:2]),
    ]
    for sender, pieces in sent:
        say(url, sender, pieces)
        insert(tmp_path / "smsd.db", sender, pieces, AT)
    later = AT + timedelta(hours=1)
    ours = messages(pull(at=later))
    stream = Stream("sms", "uji", "sms", {"database": "smsd.db"}, str(tmp_path))
    theirs = messages(pull(at=later, stream=stream))
    assert [identity(m) for m in ours] == [identity(m) for m in theirs]
    assert [m.problem or sms.decode(m, STREAM) for m in ours] == [m.problem or sms.decode(m, stream) for m in theirs]
    assert len(ours) == 5


def test_a_second_pull_brings_only_what_is_new(url: str) -> None:
    say(url, SENDER, text_parts("satu"))
    [first] = pull()
    assert pull(first.cursor) == []
    say(url, SENDER, text_parts("dua"))
    assert texts(pull(first.cursor)) == ["dua"]


def test_a_long_inbox_comes_in_batches(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sms, "_CHUNK", 4)
    for number in range(10):
        say(url, SENDER, text_parts(f"pesan {number}"))
    batches = pull()
    assert [len(b.messages) for b in batches] == [4, 4, 2]
    assert texts(pull(batches[0].cursor)) == [f"pesan {number}" for number in range(4, 10)]


def test_a_row_numbered_first_and_committed_last_is_not_passed_over(url: str) -> None:
    with psycopg.connect(url) as late:
        insert_postgres(late, SENDER, text_parts("terlambat"), AT)
        say(url, OTHER, text_parts("lebih dulu"))
        [first] = pull()
        assert texts([first]) == ["lebih dulu"]
        late.commit()
    assert texts(pull(first.cursor)) == ["terlambat"]


def test_parts_in_any_order_late_and_missing_are_one_message(url: str) -> None:
    one, two, three = text_parts(LONG, 7)
    say(url, SENDER, [three, one])
    [waiting] = pull()
    assert waiting.messages == []
    [told] = pull(waiting.cursor, at=AT + timedelta(hours=1))
    [incomplete] = told.messages
    with pytest.raises(RejectedMessage, match="bagian 2 dari 3"):
        sms.decode(incomplete, STREAM)
    say(url, SENDER, [two])
    [mended] = pull(told.cursor, at=AT + timedelta(hours=2))
    [whole] = mended.messages
    assert (sms.decode(whole, STREAM).text, whole.source_ref) == (LONG, incomplete.source_ref)
    assert pull(mended.cursor, at=AT + timedelta(hours=3)) == []


def test_an_inbox_whose_ids_begin_again_is_read_from_its_first_row(url: str) -> None:
    for text in ("satu", "dua"):
        say(url, SENDER, text_parts(text))
    [first] = pull()
    execute(url, "TRUNCATE inbox RESTART IDENTITY")
    say(url, SENDER, text_parts("tiga"))
    [after] = pull(first.cursor)
    assert texts([after]) == ["tiga"]
    assert pull(after.cursor) == []


@pytest.mark.parametrize("at", ["infinity", "0001-01-01 00:00:00 BC"])
def test_a_time_that_python_cannot_hold_leaves_it_open(url: str, at: str) -> None:
    say(url, SENDER, text_parts("satu"))
    execute(url, f"""UPDATE inbox SET "ReceivingDateTime" = '{at}'""")
    [message] = messages(pull())
    assert (message.occurred_at, sms.decode(message, STREAM).text) == (None, "satu")


def test_times_are_read_alike_whatever_the_server_is_set_to(url: str) -> None:
    say(url, SENDER, text_parts("satu"))
    with psycopg.connect(url, autocommit=True) as con:
        con.execute(f"ALTER DATABASE {con.info.dbname} SET DateStyle = 'SQL, DMY'")  # type: ignore[call-overload]
    assert [m.occurred_at for m in messages(pull())] == [AT]


def test_a_role_that_may_only_read_is_enough(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    say(url, SENDER, text_parts("satu"))
    role = f"pembaca_{psycopg.conninfo.conninfo_to_dict(url)['dbname']}"
    execute(url, f"CREATE ROLE {role} LOGIN")
    monkeypatch.setenv("KANAL_TEST_URL", url.replace("kanal@", f"{role}@"))
    with pytest.raises(PermanentError, match="GRANT SELECT ON inbox, gammu"):
        pull()
    execute(url, f"GRANT SELECT ON inbox, gammu TO {role}")
    assert texts(pull()) == ["satu"]


def test_a_superuser_cannot_make_kanal_write(url: str) -> None:
    with closing(sms.open_inbox(STREAM)) as inbox, pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        inbox._transaction('UPDATE inbox SET "Processed" = true RETURNING 1', ())  # type: ignore[attr-defined]


def test_the_gateway_may_write_while_batches_land(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sms, "_CHUNK", 2)
    for number in range(4):
        say(url, SENDER, text_parts(f"pesan {number}"))
    batches = sms.pull(STREAM, None, now=lambda: NOW)
    next(batches)
    with psycopg.connect(url) as con:
        con.execute("SET lock_timeout = '1s'")
        con.execute('ALTER TABLE inbox ADD COLUMN "Lain" text')  # nothing of ours holds the table
    assert texts(list(batches)) == ["pesan 2", "pesan 3"]


def test_a_connection_that_ends_midway_is_told_and_the_next_pull_goes_on(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sms, "_CHUNK", 2)
    for number in range(4):
        say(url, SENDER, text_parts(f"pesan {number}"))
    batches = sms.pull(STREAM, None, now=lambda: NOW)
    first = next(batches)
    execute(url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'kanal'")
    with pytest.raises(TransientError, match="sms/uji: the gateway's PostgreSQL cannot be reached"):
        list(batches)
    assert texts(pull(first.cursor)) == ["pesan 2", "pesan 3"]


def test_the_probe_tells_schema_and_inbox(url: str) -> None:
    say(url, SENDER, text_parts(LONG))
    assert sms.probe(STREAM, now=lambda: NOW).endswith("3 SMS in the inbox, newest ID 3")


# --- databases that will not do -------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ('UPDATE gammu SET "Version" = 16', "has schema 16 of Gammu SMSD; Kanal reads 17 and 18"),
        ("DELETE FROM gammu", "has schema none"),
        ('ALTER TABLE inbox DROP COLUMN "UDH"', "without UDH"),
        ('ALTER TABLE inbox ALTER COLUMN "ID" TYPE text', "without ID"),
        ("DROP TABLE inbox", "has no tables gammu and inbox"),
        ("DROP TABLE gammu", "has no tables gammu and inbox"),
    ],
)
def test_a_database_that_will_not_do_is_refused(url: str, statement: str, told: str) -> None:
    execute(url, statement)
    for ask in (pull, lambda: sms.probe(STREAM, now=lambda: NOW)):
        with pytest.raises(PermanentError, match=told):
            ask()


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        (f"postgresql://kanal:{CANARY}@127.0.0.1:9/smsd", TransientError),
        (f"postgresql://kanal:{CANARY}@/smsd?host=/tidak/ada", TransientError),
        (f"postgresql://kanal:{CANARY}@127.0.0.1:9/smsd?salah={CANARY}", SettingsError),
        (f"bukan url {CANARY}", SettingsError),
    ],
)
def test_no_word_of_the_url_is_told(monkeypatch: pytest.MonkeyPatch, written: str, kind: type[Exception]) -> None:
    monkeypatch.setenv("KANAL_TEST_URL", written)
    with pytest.raises(kind, match="url_env|KANAL_TEST_URL") as caught:
        pull()
    assert CANARY not in told_by(caught.value)


def test_a_variable_that_is_not_set_is_named() -> None:
    with pytest.raises(SettingsError, match="KANAL_TEST_MISSING"):
        pull(stream=Stream("sms", "uji", "sms", {"url_env": "KANAL_TEST_MISSING"}))


def test_only_one_place_may_be_named() -> None:
    with pytest.raises(SettingsError, match="set one of"):
        pull(stream=Stream("sms", "uji", "sms", {"url_env": "KANAL_TEST_URL", "database": "smsd.db"}))
