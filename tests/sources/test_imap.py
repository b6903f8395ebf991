"""Pulling mail from a real Dovecot, and from a folder of files."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from pipelines.contracts import Batch, Message, Stream
from pipelines.errors import PermanentError, RejectedMessage, SettingsError, TransientError
from pipelines.sources import imap, mailbox
from tests.peers.canary import told_by
from tests.peers.dovecot import PASSWORD, TOKEN, Dovecot, Mailbox, dovecot, fresh_mailbox  # noqa: F401

NOW = datetime(2026, 10, 6, 3, 0, tzinfo=UTC)
RECEIVED = datetime(2026, 5, 4, 12, 12, 5, tzinfo=UTC)


def now() -> datetime:
    return NOW


def mail(text: str, size: int = 0) -> bytes:
    padding = b"".join(b"x" * 70 + b"\r\n" for _ in range(size // 72))
    return b"From: sari@example.com\r\nSubject: Keluhan\r\n\r\n" + text.encode() + b"\r\n" + padding


@pytest.fixture(autouse=True)
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KANAL_TEST_PASSWORD", PASSWORD)
    monkeypatch.setenv("KANAL_TEST_TOKEN", TOKEN)


def plain(port: int, **options: Any) -> Stream:
    """A stream without TLS on this machine."""
    fixed = {"host": "127.0.0.1", "port": port, "tls": "none", "user": "aduan"}
    timeouts = {"connect_seconds": 5, "read_seconds": 5}
    return Stream("email", "dki", "imap", fixed | timeouts | {"password_env": "KANAL_TEST_PASSWORD"} | options)


def stream_of(box: Mailbox, **options: Any) -> Stream:
    own: dict[str, Any] = {"port": box.server.port, "user": box.user}
    return plain(**own | options)


def pull(stream: Stream, cursor: dict[str, Any] | None = None) -> list[Batch]:
    return list(imap.pull(stream, cursor, now=now))


def payloads(batches: list[Batch]) -> list[bytes]:
    return [m.payload for b in batches for m in b.messages]


# --- what comes back ------------------------------------------------------------------------


def test_a_mail_lands_as_it_is_and_nothing_changes_on_the_server(box: Mailbox) -> None:
    raw = mail("Lampu mati \u2013 RT 03")
    box.add(raw, at=RECEIVED)
    [batch] = pull(stream_of(box))
    digest, validity = sha256(raw).hexdigest(), batch.cursor["uidvalidity"]
    assert batch == Batch(
        [Message(digest, digest, raw, "message/rfc822", NOW, RECEIVED, None, f"INBOX/{validity}/1")],
        {"place": batch.cursor["place"], "uidvalidity": validity, "uid": 1},
    )
    assert b"\\Seen" not in box.flags()[1]


def test_the_probe_logs_in_opens_the_folder_read_only_and_changes_nothing(box: Mailbox, tmp_path: Path) -> None:
    box.add(mail("satu"), mail("dua"))
    told = imap.probe(stream_of(box), now=now)
    assert told == "logged in; folder INBOX opens read-only and holds 2 mails"
    assert b"\\Seen" not in box.flags()[1]
    with pytest.raises(PermanentError, match="does not open folder 'Tidak'"):
        imap.probe(stream_of(box, folder="Tidak"), now=now)
    files = Stream("email", "dki", "imap", {"source_dir": str(tmp_path)})
    assert imap.probe(files, now=now) == "reads a folder of files; no server is asked"


def test_a_second_pull_brings_only_what_is_new(box: Mailbox) -> None:
    stream = stream_of(box)
    box.add(mail("satu"), mail("dua"))
    cursor = pull(stream)[-1].cursor
    assert pull(stream, cursor) == []
    box.add(mail("tiga"))
    [batch] = pull(stream, cursor)
    assert (payloads([batch]), batch.cursor) == ([mail("tiga")], cursor | {"uid": 3})


def test_where_the_server_tells_no_next_uid_the_last_mail_does_not_come_again(
    box: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = stream_of(box)
    box.add(mail("satu"))
    examine = mailbox.Mailbox._examine
    monkeypatch.setattr(mailbox.Mailbox, "_examine", lambda self: (examine(self)[0], None, examine(self)[2]))
    cursor = pull(stream)[-1].cursor
    assert pull(stream, cursor) == []


def test_a_crowded_folder_is_searched_window_by_window(box: Mailbox, monkeypatch: pytest.MonkeyPatch) -> None:
    mails = [mail(f"nomor {n}") for n in range(12)]
    box.add(*mails)
    monkeypatch.setattr(mailbox, "_UID_WINDOW", 5)
    assert payloads(pull(stream_of(box))) == mails
    assert payloads(pull(stream_of(box), pull(stream_of(box))[0].cursor)) == mails[5:]


def test_an_empty_folder_is_remembered_once(box: Mailbox) -> None:
    [batch] = pull(stream_of(box))
    assert (batch.messages, batch.cursor["uid"]) == ([], 0)
    assert pull(stream_of(box), batch.cursor) == []


def test_a_renumbered_folder_is_read_again_and_brings_the_same_identities(box: Mailbox) -> None:
    stream = stream_of(box, folder="Aduan Warga")
    box.recreate("Aduan Warga")
    box.add(mail("satu"), mail("dua"), folder="Aduan Warga")
    before = pull(stream)
    box.recreate("Aduan Warga")
    box.add(mail("satu"), mail("tiga"), folder="Aduan Warga")
    after = pull(stream, before[-1].cursor)
    assert after[-1].cursor["uidvalidity"] != before[-1].cursor["uidvalidity"]
    assert payloads(after) == [mail("satu"), mail("tiga")]
    first, again = before[0].messages[0], after[0].messages[0]
    assert (first.source_ref, first.version) == (again.source_ref, again.version)


def identities(batches: list[Batch]) -> list[tuple[str, str]]:
    return [(m.source_ref, m.version) for b in batches for m in b.messages]


def test_a_folder_that_is_renamed_brings_the_same_identities(box: Mailbox) -> None:
    box.recreate("Aduan")
    box.add(mail("satu"), mail("dua"), folder="Aduan")
    before = pull(stream_of(box, folder="Aduan"))
    with box.server.connect(box.user) as client:
        client.rename_folder("Aduan", "Aduan 2026")
    with pytest.raises(PermanentError, match="check the option folder"):
        pull(stream_of(box, folder="Aduan"), before[-1].cursor)
    box.add(mail("tiga"), folder="Aduan 2026")
    after = pull(stream_of(box, folder="Aduan 2026"), before[-1].cursor)
    assert identities(after)[:2] == identities(before)
    assert payloads(after) == [mail("satu"), mail("dua"), mail("tiga")]
    assert pull(stream_of(box, folder="Aduan 2026"), after[-1].cursor) == []


def test_a_mailbox_that_moves_to_another_server_loses_and_doubles_nothing(dovecot: Dovecot) -> None:
    old, new = Mailbox(dovecot, "pindah-lama"), Mailbox(dovecot, "pindah-baru")
    for box in (old, new):  # there the mails have other numbers, and the folder by chance the same UIDVALIDITY
        box.recreate("Aduan")
        dovecot.number(box.user, "Aduan", 2_000_000_000)
    old.add(mail("satu"), mail("dua"), mail("tiga"), folder="Aduan")
    before = pull(stream_of(old, folder="Aduan"))
    new.add(mail("baru"), mail("tiga"), mail("dua"), mail("satu"), folder="Aduan")
    after = pull(stream_of(new, folder="Aduan"), before[-1].cursor)
    assert after[-1].cursor["uidvalidity"] == before[-1].cursor["uidvalidity"]
    assert payloads(after)[0] == mail("baru")
    assert sorted(identities(after)[1:]) == sorted(identities(before))


def test_a_cursor_of_before_places_were_recorded_goes_on(box: Mailbox) -> None:
    box.add(mail("satu"))
    [batch] = pull(stream_of(box))
    box.add(mail("dua"))
    older = {name: batch.cursor[name] for name in ("uidvalidity", "uid")}
    assert payloads(pull(stream_of(box), older)) == [mail("dua")]


def test_mails_that_vanish_meanwhile_are_no_matter(box: Mailbox) -> None:
    box.add(*(mail(f"nomor {n}") for n in range(1, 7)))
    batches = imap.pull(stream_of(box, batch_messages=2), None, now=now)
    assert payloads([next(batches)]) == [mail("nomor 1"), mail("nomor 2")]
    box.remove(3, 6)
    rest = list(batches)
    assert payloads(rest) == [mail("nomor 4"), mail("nomor 5")]
    assert rest[-1].cursor["uid"] >= 5


# --- sizes ----------------------------------------------------------------------------------


def test_batches_keep_to_their_limits_and_a_large_mail_stands_alone(box: Mailbox) -> None:
    mails = [
        mail("a"),
        mail("b"),
        mail("c", 30_000),
        mail("d"),
        mail("e", 9_000),
        mail("f", 9_000),
        mail("g"),
    ]
    box.add(*mails)
    batches = pull(stream_of(box, batch_messages=3, batch_bytes=10_000))
    assert [[m.payload for m in b.messages] for b in batches] == [
        mails[0:2], mails[2:3], mails[3:5], mails[5:6], mails[6:7],
    ]  # fmt: skip
    assert [b.cursor["uid"] for b in batches] == [2, 3, 5, 6, 7]


def test_a_mail_beyond_the_limit_lands_as_its_header_and_waits_for_a_person(box: Mailbox) -> None:
    large = mail("besar", 5_000)
    box.add(mail("kecil"), large, mail("kecil lagi"))
    stream = stream_of(box, max_message_bytes=2_000)
    [batch] = pull(stream)
    header = large[: large.index(b"\r\n\r\n") + 4]
    assert payloads([batch]) == [mail("kecil"), header, mail("kecil lagi")]
    problem = batch.messages[1].problem
    assert problem is not None
    assert "lebih dari batas" in problem
    with pytest.raises(RejectedMessage, match="lebih dari batas"):
        imap.decode(batch.messages[1], stream)
    assert [m.problem for m in batch.messages if m is not batch.messages[1]] == [None, None]


# --- ways in --------------------------------------------------------------------------------


@pytest.mark.parametrize(("tls", "port"), [("tls", "tls_port"), ("starttls", "port")])
def test_mail_comes_over_tls_where_the_certificate_is_known(box: Mailbox, tls: str, port: str) -> None:
    box.add(mail("satu"))
    server = box.server
    stream = stream_of(box, tls=tls, port=getattr(server, port), ca_file=str(server.ca_file))
    assert payloads(pull(stream)) == [mail("satu")]
    unknown = stream_of(box, tls=tls, port=getattr(server, port))
    with pytest.raises(PermanentError, match=r"not trusted .* ca_file"):
        pull(unknown)


def test_tls_on_a_port_without_it_is_told(box: Mailbox) -> None:
    with pytest.raises(PermanentError, match="check tls and port"):
        pull(stream_of(box, tls="tls"))


def test_mail_comes_with_an_oauth_token(box: Mailbox, monkeypatch: pytest.MonkeyPatch) -> None:
    box.add(mail("satu"))
    monkeypatch.setenv("KANAL_TEST_TOKEN", f"{TOKEN}:{box.user}")
    stream = stream_of(box, auth="oauth2", token_env="KANAL_TEST_TOKEN")
    assert payloads(pull(stream)) == [mail("satu")]
    monkeypatch.setenv("KANAL_TEST_TOKEN", "basi-sekali")
    with pytest.raises(PermanentError, match="KANAL_TEST_TOKEN") as caught:
        pull(stream)
    assert "basi" not in told_by(caught.value)


def test_the_user_may_come_from_the_environment(box: Mailbox, monkeypatch: pytest.MonkeyPatch) -> None:
    box.add(mail("satu"))
    monkeypatch.setenv("KANAL_TEST_USER", box.user)
    stream = stream_of(box, user_env="KANAL_TEST_USER")
    assert payloads(pull(stream)) == [mail("satu")]


def test_a_refused_password_is_named_by_its_variable_and_never_shown(
    box: Mailbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("KANAL_TEST_PASSWORD", "salah-sekali")
    with pytest.raises(PermanentError, match=r"AUTHENTICATIONFAILED.*KANAL_TEST_PASSWORD") as caught:
        pull(stream_of(box))
    assert "salah-sekali" not in told_by(caught.value) + caplog.text


def test_no_word_of_a_mail_is_logged(box: Mailbox, caplog: pytest.LogCaptureFixture) -> None:
    box.add(mail("sangat pribadi"))
    caplog.set_level(logging.DEBUG)
    assert payloads(pull(stream_of(box))) == [mail("sangat pribadi")]
    assert "pribadi" not in caplog.text
    assert PASSWORD not in caplog.text


@pytest.mark.parametrize("password", ["dua\r\na LOGOUT", "s\u00e9cret"])
def test_a_password_imap_cannot_carry_is_refused_before_it_is_sent(
    box: Mailbox, monkeypatch: pytest.MonkeyPatch, password: str
) -> None:
    monkeypatch.setenv("KANAL_TEST_PASSWORD", password)
    with pytest.raises(SettingsError, match="KANAL_TEST_PASSWORD") as caught:
        pull(stream_of(box))
    assert password not in told_by(caught.value)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"host": "mail.example.com"}, "tls"),
        ({"host": ""}, "host"),
        ({"tls": "ssl"}, "tls"),
        ({"auth": "ntlm"}, "auth"),
        ({"user": "dua kata"}, "user"),
        ({"password_env": "KANAL_TEST_UNSET"}, "KANAL_TEST_UNSET"),
        ({"batch_messages": 201}, "batch_messages"),
        ({"tls": "tls", "ca_file": "tidak-ada.pem"}, "ca_file"),
        ({"source_dir": "tidak-ada"}, "source_dir"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, Any], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        pull(plain(143, **options))


def test_a_missing_folder_is_named(box: Mailbox) -> None:
    with pytest.raises(PermanentError, match=r"folder 'Tidak Ada'.*option folder"):
        pull(stream_of(box, folder="Tidak Ada"))


# --- trouble --------------------------------------------------------------------------------


def test_a_broken_connection_is_told_and_the_next_pull_goes_on(box: Mailbox) -> None:
    mails = [mail(f"nomor {n}") for n in range(4)]
    box.add(*mails)
    stream = stream_of(box, batch_messages=2)
    batches = imap.pull(stream, None, now=now)
    first = next(batches)
    box.server.kick(box.user)
    with pytest.raises(TransientError, match="broke off"):
        list(batches)
    assert payloads([first, *pull(stream, first.cursor)]) == mails


@contextmanager
def fake_server(*lines: bytes) -> Iterator[int]:
    """Sends a line, then the next for each line it is sent; then nothing more."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        done = threading.Event()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection, connection.makefile("rb") as heard:
                for number, line in enumerate(lines):
                    asked = heard.readline() if number else b"*"
                    if line == b"CLOSE" or not asked:
                        return
                    tag = asked.split()[0]
                    connection.sendall(line.replace(b"TAG", tag))
                done.wait(5)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            done.set()
            thread.join(6)


CAPABILITY = b"* CAPABILITY IMAP4rev1\r\nTAG OK siap\r\n"
HELLO = (b"* OK halo\r\n", CAPABILITY)
LOGGED_IN = b"TAG OK siap\r\n"
EXAMINED = b"* 1 EXISTS\r\n* OK [UIDVALIDITY 7]\r\n* OK [UIDNEXT 9]\r\nTAG OK [READ-ONLY] siap\r\n"
OPENED = (*HELLO, LOGGED_IN, EXAMINED, CAPABILITY)


@pytest.mark.parametrize(
    ("lines", "kind", "said"),
    [
        ((), TransientError, "no answer in time"),
        ((b"* BYE [UNAVAILABLE] penuh\r\n",), TransientError, "UNAVAILABLE"),
        ((b"omong kosong\r\n",), TransientError, "mail server"),
        ((*HELLO, b"TAG NO [UNAVAILABLE] nanti\r\n"), TransientError, "UNAVAILABLE"),
        ((*HELLO, b"TAG NO [ALERT] Too many simultaneous connections. (Failure)\r\n"), TransientError, "UNAVAILABLE"),
        ((*HELLO, b"TAG NO salah\r\n"), PermanentError, "KANAL_TEST_PASSWORD"),
        ((*HELLO, b"CLOSE"), TransientError, "broke off at the login"),
        ((*HELLO, LOGGED_IN, b"* 0 EXISTS\r\nTAG OK siap\r\n"), PermanentError, "no UIDVALIDITY"),
        ((*OPENED, b"TAG NO [INUSE] nanti\r\n"), TransientError, "refused to search"),
        ((*OPENED, b"CLOSE"), TransientError, "broke off"),
        (OPENED, TransientError, "no answer in time"),
        ((*OPENED, b"* SEARCH a b\r\nTAG OK siap\r\n"), TransientError, "broke off"),
        ((*OPENED[:-1], b"TAG OK tanpa isi\r\n"), TransientError, "broke off"),
    ],
)
def test_trouble_is_told_as_to_wait_or_to_stop(lines: tuple[bytes, ...], kind: type[Exception], said: str) -> None:
    with fake_server(*lines) as port, pytest.raises(kind, match=said) as caught:
        pull(plain(port, connect_seconds=0.5, read_seconds=0.5))
    assert PASSWORD not in told_by(caught.value)


def test_nobody_at_the_address_is_a_reason_to_wait() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(TransientError, match=f"127.0.0.1:{port}"):
        pull(plain(port))


@pytest.mark.parametrize(
    "refusal",
    [
        b"NO [OVERQUOTA] Account exceeded command or bandwidth limits.",  # Gmail
        b"NO [UNAVAILABLE] nanti",
        b"NO Server Unavailable. 15",  # Exchange, and the two below
        b"BAD Request is throttled. Suggested Backoff Time: 178755 milliseconds",
        b"BAD User is authenticated but not connected.",
    ],
)
def test_a_server_that_hands_over_no_mail_for_now_is_asked_again(refusal: bytes) -> None:
    lines = (
        *OPENED,
        b"* SEARCH 7\r\nTAG OK siap\r\n",
        b"* 1 FETCH (UID 7 RFC822.SIZE 50)\r\nTAG OK siap\r\n",
        b"TAG %s\r\n" % refusal,
        b"TAG OK siap\r\n",
        b"* SEARCH 7\r\nTAG OK siap\r\n",
        b"* BYE\r\nTAG OK siap\r\n",
    )
    with fake_server(*lines) as port, pytest.raises(TransientError, match="refused to hand over mails") as caught:
        pull(plain(port))
    assert caught.value.retry_after


def test_a_mail_the_server_does_not_hand_over_waits_for_a_person_and_stops_no_other() -> None:
    def answer(uid: int, text: bytes) -> bytes:
        date = b'INTERNALDATE "04-May-2026 19:12:05 +0700"'
        return b"* 1 FETCH (UID %d %s BODY[] {%d}\r\n%s)\r\nTAG OK siap\r\n" % (uid, date, len(text), text)

    lines = (
        *OPENED,
        b"* SEARCH 7 8\r\nTAG OK siap\r\n",
        b"* 1 FETCH (UID 7 RFC822.SIZE 50)\r\n* 2 FETCH (UID 8 RFC822.SIZE 50)\r\nTAG OK siap\r\n",
        b"TAG NO [SERVERBUG] rusak\r\n",  # both at once, then one by one
        b"TAG NO [SERVERBUG] rusak\r\n",
        b"TAG OK siap\r\n",
        b"* SEARCH 7\r\nTAG OK siap\r\n",
        answer(8, mail("delapan")),
        b"* BYE\r\nTAG OK siap\r\n",
    )
    with fake_server(*lines) as port:
        [batch] = pull(plain(port))
    assert (batch.cursor["uidvalidity"], batch.cursor["uid"]) == (7, 8)
    assert [(m.origin, m.payload, m.occurred_at) for m in batch.messages] == [
        ("INBOX/7/7", b"", None),
        ("INBOX/7/8", mail("delapan"), RECEIVED),
    ]
    assert [bool(m.problem) for m in batch.messages] == [True, False]


# --- a folder of files ----------------------------------------------------------------------


def test_files_land_once_whatever_they_are_called(tmp_path: Path) -> None:
    (tmp_path / "b.eml").write_bytes(mail("dua"))
    (tmp_path / "a.eml").write_bytes(mail("satu"))
    (tmp_path / "catatan.txt").write_bytes(b"bukan surel")
    stream = Stream("email", "dki", "imap", {"source_dir": tmp_path.name}, str(tmp_path.parent))
    [batch] = pull(stream)
    assert [(m.origin, m.payload) for m in batch.messages] == [
        ("a.eml", mail("satu")),
        ("b.eml", mail("dua")),
    ]
    assert pull(stream, batch.cursor) == []
    (tmp_path / "a.eml").rename(tmp_path / "z.eml")
    (tmp_path / "dalam").mkdir()
    (tmp_path / "dalam" / "c.eml").write_bytes(mail("tiga"))
    [more] = pull(stream, batch.cursor)
    assert [m.origin for m in more.messages] == ["dalam/c.eml"]
    assert set(batch.cursor["done"]) < set(more.cursor["done"])


def test_files_keep_to_the_limits_of_batches_too(tmp_path: Path) -> None:
    for name, size in (("a", 0), ("b", 0), ("c", 5_000), ("d", 9_000_000), ("e", 0)):
        (tmp_path / f"{name}.eml").write_bytes(mail(name, size))
    limits = {"batch_bytes": 1_000, "max_message_bytes": 8_000}
    batches = pull(Stream("email", "dki", "imap", {"source_dir": str(tmp_path)} | limits))
    assert [[m.origin for m in b.messages] for b in batches] == [
        ["a.eml", "b.eml"],
        ["c.eml"],
        ["d.eml"],
        ["e.eml"],
    ]
    assert [m.origin for b in batches for m in b.messages if m.problem] == ["d.eml"]
    assert batches[2].messages[0].payload == b"From: sari@example.com\r\nSubject: Keluhan\r\n\r\n"
