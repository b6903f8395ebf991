"""Mails in every state of repair -> Draft, filter or quarantine; nothing else ever."""

from __future__ import annotations

import base64
import quopri
from datetime import UTC, datetime
from email.message import EmailMessage
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.contracts import Draft, Message, Stream
from pipelines.errors import FilteredMessage, RejectedMessage
from pipelines.sources import imap, mail
from pipelines.sources.pictures import phash_of
from tests.pictures import scene

SAMPLES = Path(__file__).resolve().parents[2] / "samples" / "email"
FETCHED = datetime(2026, 10, 6, 3, 0, tzinfo=UTC)
OPTIONS = {"own_addresses": ["dki@jakarta.example.com"], "trusted_authserv": "mx.jakarta.example.com"}
STREAM = Stream("email", "dki", "imap", OPTIONS)


def decode(raw: bytes | str, *, received: datetime | None = None, stream: Stream = STREAM) -> Draft:
    data = raw.encode() if isinstance(raw, str) else raw
    return mail.decode(Message("ref", "ref", data, "message/rfc822", FETCHED, occurred_at=received), stream)


def written(body: str, *, head: str = "", subject: str = "Keluhan") -> str:
    top = "From: Sari <sari@example.com>\nDate: Mon, 04 May 2026 19:12:05 +0700\nMessage-ID: <a1@example.com>\n"
    return f"{top}Subject: {subject}\n{head}\n{body}"


def reply(body: str, *, head: str = "") -> str:
    return written(body, head=f"In-Reply-To: <b@example.com>\n{head}", subject="Re: Keluhan")


# --- the samples ----------------------------------------------------------------------------


def fate(raw: bytes) -> str:
    try:
        draft = decode(raw)
    except FilteredMessage as filtered:
        return filtered.reason
    except RejectedMessage:
        return "rejected"
    return draft.text[:24]


def test_every_sample_becomes_what_it_should() -> None:
    assert {path.name: fate(path.read_bytes()) for path in sorted(SAMPLES.glob("*.eml"))} == {
        "01-lampu-jalan.eml": "Selamat malam,\n\nLampu pe",
        "02-sampah-html.eml": "Yth. Bapak/Ibu Admin,\nSu",
        "03-banjir-qp.eml": "Assalamu\u2019alaikum,\n\nsetia",
        "04-jalan-berlubang-foto.eml": "Min, jalan berlubang bes",
        "05-trotoar-latin1.eml": "Kepada Satpol PP,\n\ntroto",
        "06-rembesan-salah-charset.eml": "Pipa PAM bocor di Jl. Te",
        "07-balasan-warga.eml": "Sudah seminggu lampunya ",
        "08-balasan-admin.eml": "own_reply",
        "09-balasan-otomatis.eml": "auto_reply",
        "10-gagal-terkirim.eml": "bounce",
        "11-diteruskan.eml": "Mohon bantuan Dinas Pert",
        "12-saran-bahasa-inggris.eml": "Dear Sir or Madam,\n\nThe ",
        "13-tanggal-rusak.eml": "Kabel internet menjuntai",
        "14-terpotong.eml": "Parkir liar di depan RSU",
    }


def test_a_whole_mail_becomes_a_whole_draft() -> None:
    assert decode((SAMPLES / "02-sampah-html.eml").read_bytes()) == Draft(
        text="Yth. Bapak/Ibu Admin,\nSudah tiga hari sampah di TPS dekat Pasar Palmerah"
        " https://maps.app.goo.gl/contoh123 tidak diangkut. Bau menyengat sampai ke rumah warga"
        " di Kel. Palmerah, Kec. Palmerah.\nMohon truknya dikirim.",
        title="Sampah menumpuk \u2013 TPS Palmerah",
        occurred_at=datetime(2026, 5, 13, 0, 41, tzinfo=UTC),
        author_ref="bagus.pratama@example.com",
        author_name="Bagus Pratama",
        contact_phone="0812-0000-1102",
        contact_email="bagus.pratama@example.com",
        sender_level="verified",
        conversation_ref="<a2@example.com>",
        extra={"sender_check": "pass"},
    )


# --- words ----------------------------------------------------------------------------------


QUOTED = "Pada tanggal Sel, 5 Mei 2026 pukul 08.30 Admin <\na@example.com> menulis:\n\n> lama\n> lagi"


def test_a_reply_is_cut_and_a_first_mail_is_not() -> None:
    assert decode(reply(f"Masih mati.\n\n{QUOTED}")).text == "Masih mati."
    assert decode(written(f"Masih mati.\n\n{QUOTED}")).text == f"Masih mati.\n\n{QUOTED}"


def test_quoted_html_is_cut_from_a_reply() -> None:
    page = '<div>Masih mati.</div><div class="gmail_quote">Pada ... menulis:<blockquote>lama</blockquote></div>'
    assert decode(reply(page, head="Content-Type: text/html\n")).text == "Masih mati."


def test_an_answer_inside_the_quoting_element_is_kept() -> None:
    page = '<div class="gmail_quote"><p>Masih mati.</p><p>-----Pesan Asli-----</p><p>lama</p></div>'
    assert decode(reply(page, head="Content-Type: text/html\n")).text == "Masih mati."


def test_a_letter_that_only_looks_like_a_reply_is_kept_whole() -> None:
    letter = "Dari: Sari\nTanggal: 4 Mei 2026\nKepada: Dinas Bina Marga\nPerihal: Jalan\n\nJalan rusak parah."
    assert decode(written(letter)).text == letter


def test_a_reply_with_nothing_new_waits_for_a_person() -> None:
    with pytest.raises(RejectedMessage, match="kutipan"):
        decode(reply(QUOTED))


def test_an_address_in_the_signature_counts_where_the_text_has_none() -> None:
    closing = "\n\nHormat saya,\nSari\nJl. Melati RT 03 RW 04"
    assert (
        decode(written("Lampu mati sejak hari Senin, mohon dicek." + closing)).address_text == "Jl. Melati RT 03 RW 04"
    )
    assert decode(written("Lampu di Jl. Mawar mati sejak hari Senin kemarin." + closing)).address_text is None
    told_above = written("Lampu mati sejak hari Senin, mohon dicek." + closing, subject="Lampu Jl. Mawar mati")
    assert decode(told_above).address_text is None


# --- structure ------------------------------------------------------------------------------


def test_files_are_listed_with_safe_names_and_hashes() -> None:
    made = EmailMessage()
    made["From"], made["Subject"] = "sari@example.com", "Foto"
    made.set_content("Terlampir.")
    photo, page = scene(), b"<html>bukan foto"
    made.add_attachment(photo, maintype="image", subtype="jpeg", filename="../../etc/lubang jalan.jpg")
    made.add_attachment(b"%PDF-1", maintype="application", subtype="octet-stream", filename="surat.pdf")
    made.add_attachment(page, maintype="image", subtype="png", filename="foto.png")
    assert decode(made.as_bytes()).attachments == [
        {
            "type": "image/jpeg",
            "size": len(photo),
            "sha256": sha256(photo).hexdigest(),
            "phash": phash_of(photo),
            "name": "lubang jalan.jpg",
        },
        {"type": "application/pdf", "size": 6, "sha256": sha256(b"%PDF-1").hexdigest(), "name": "surat.pdf"},
        {"type": "application/octet-stream", "size": 16, "sha256": sha256(page).hexdigest(), "name": "foto.png"},
    ]
    assert mail.media_of(made.as_bytes()) == (photo, b"%PDF-1", page)
    assert mail.media_of(b"") == mail.media_of(b"\0\xff" * 50) == ()


def test_a_mail_forwarded_as_a_file_keeps_its_words_and_files() -> None:
    inner = EmailMessage()
    inner["From"], inner["Subject"] = "warga@example.com", "Pohon miring"
    inner.set_content("Pohon di Jl. Melati miring.")
    inner.add_attachment(b"foto", maintype="image", subtype="png", filename="pohon.png")
    outer = EmailMessage()
    outer["From"], outer["Subject"] = "rt@example.com", "Laporan warga"
    outer.set_content("Mohon ditindaklanjuti.")
    outer.add_attachment(inner)
    draft = decode(outer.as_bytes())
    assert draft.text == "Mohon ditindaklanjuti.\n\nPohon miring\nPohon di Jl. Melati miring."
    assert ([f["name"] for f in draft.attachments], draft.extra) == (
        ["pohon.png"],
        {"time_from": "fetched", "forwarded": True},
    )


def test_many_mails_forwarded_in_one_are_all_read() -> None:
    inner = [
        f"--o\nContent-Type: message/rfc822\n\nFrom: w{n}@contoh.id\nSubject: Laporan {n}\n"
        + "".join(
            f'Content-Type: multipart/{kind}; boundary="{kind}{n}"\n\n--{kind}{n}\n' for kind in ("mixed", "related")
        )
        + f"Content-Type: text/plain\n\nJalan berlubang {n}\n--related{n}--\n--mixed{n}--\n"
        for n in range(40)
    ]
    body = "--o\n\nMohon ditindaklanjuti\n" + "".join(inner) + "--o--\n"
    draft = decode(written(body, head='Content-Type: multipart/mixed; boundary="o"\n'))
    assert [f"Laporan {n}\nJalan berlubang {n}" in draft.text for n in range(40)] == [True] * 40


@pytest.mark.parametrize("kind", ["multipart/mixed", 'multipart/mixed; boundary="salah"', "multipart/alternative"])
def test_a_wrong_boundary_does_not_lose_the_words(kind: str) -> None:
    body = "--asli\nContent-Type: text/plain\n\nLampu mati.\n--asli--\n"
    assert decode(written(body, head=f"Content-Type: {kind}\n")).text == "Lampu mati."


@pytest.mark.parametrize(
    "head",
    [
        'Content-Type: text/plain; charset*=a; charset*1=b\n',
        f'Content-Type: multipart/mixed; boundary*{"9" * 5000}=x\n',
        "Content-Transfer-Encoding: x-uuencode\n",
        "Content-Type: text/plain; charset=\n",
        "Content-Type: ; ; =\n",
    ],
)  # fmt: skip
def test_headers_the_mail_library_stumbles_over_leave_the_words_readable(head: str) -> None:
    assert "Lampu mati" in decode(written("Lampu mati.", head=head)).text


@pytest.mark.parametrize(
    "raw",
    [b"", b"\n\n", b"bukan surel", written("Content-Type: multipart/x\n" * 5000), written("\n" * 600_000)],
)
def test_what_is_no_mail_waits_for_a_person(raw: bytes | str) -> None:
    with pytest.raises(RejectedMessage, match="Periksa surel aslinya"):
        decode(raw)


@pytest.mark.timeout(30)
@pytest.mark.parametrize("tag", ["<div>", "<table><tr><td>", "<b><i>", "<br>", "<p id=appendonsend>"])
def test_html_made_to_hurt_costs_seconds_at_most(tag: str) -> None:
    assert decode(reply("<p>halo</p>" + tag * 12_000 + "x", head="Content-Type: text/html\n")).text.startswith("halo")
    assert decode(reply("<p>halo</p>" + tag * 200_000, head="Content-Type: text/html\n")).text == "halo"


# --- who, when, which thread ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "name", "address"),
    [
        ("Sari <Sari@Example.com>", "Sari", "sari@example.com"),
        ('"<bos@example.test>" <sari@example.com>', "<bos@example.test>", "sari@example.com"),
        ('"Wulandari, Sari" <sari@example.com>', "Wulandari, Sari", "sari@example.com"),
        ("=?utf-8?q?Andr=C3=A9?= <andre@example.com>", "Andr\u00e9", "andre@example.com"),
        ("sari@example.com (Sari)", None, "sari@example.com"),
        ("a@example.com, B <b@example.com>", "B", "b@example.com"),
        ("Sari", None, None),
        ("a@[127.0.0.1", None, "a@[127.0.0.1"),
    ],
)
def test_senders_are_read_in_every_spelling(header: str, name: str | None, address: str | None) -> None:
    draft = decode(f"From: {header}\nSubject: a\n\nLampu mati.")
    assert (draft.author_name, draft.author_ref) == (name, address)
    assert draft.sender_level == ("claimed" if address else "anonymous")


RECEIVED = datetime(2026, 5, 5, 1, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("date", "expected"),
    [
        ("Mon, 04 May 2026 19:12:05 +0700", (datetime(2026, 5, 4, 12, 12, 5, tzinfo=UTC), None)),
        ("Mon, 04 May 2026 19:12:05 WIB", (datetime(2026, 5, 4, 12, 12, 5, tzinfo=UTC), None)),
        ("Mon, 04 May 2026 19:12:05 -0000", (datetime(2026, 5, 4, 19, 12, 5, tzinfo=UTC), None)),
        ("Sen, 31 Sep 2026 25:61", (RECEIVED, "received")),
        ("Thu, 01 Jan 1970 00:00:00 +0000", (RECEIVED, "received")),
        ("Mon, 04 May 2099 19:12:05 +0700", (RECEIVED, "received")),
        ("Mon, 04 May 99999 19:12:05 +0700", (RECEIVED, "received")),
        ("Mon, 04 May 2026 19:12:05 +99999999999", (RECEIVED, "received")),
        ("", (RECEIVED, "received")),
    ],
)
def test_a_time_nobody_can_believe_gives_way_to_the_servers(date: str, expected: object) -> None:
    draft = decode(f"From: a@example.com\nDate: {date}\nSubject: a\n\nLampu mati.", received=RECEIVED)
    assert (draft.occurred_at, draft.extra.get("time_from")) == expected


def test_without_any_time_the_draft_says_so() -> None:
    draft = decode("From: a@example.com\nSubject: a\n\nLampu mati.")
    assert (draft.occurred_at, draft.extra) == (None, {"time_from": "fetched"})


@pytest.mark.parametrize(
    ("head", "thread"),
    [
        ("", "<a1@example.com>"),
        ("In-Reply-To: <b@example.com>\n", "<b@example.com>"),
        (
            "References: <r1@example.com>\n\t<r2@example.com>\nIn-Reply-To: <r2@example.com>\n",
            "<r1@example.com>",
        ),
        ("References: rusak\nIn-Reply-To: <>\n", "<a1@example.com>"),
    ],
)
def test_a_thread_is_named_by_its_first_mail(head: str, thread: str) -> None:
    assert decode(written("Lampu mati.", head=head)).conversation_ref == thread


def authenticated(result: str, sender: str = "sari@example.com") -> str:
    head = f"Authentication-Results: {result}\n" if result else ""
    return f"{head}From: {sender}\nSubject: a\n\nLampu mati."


@pytest.mark.parametrize(
    ("result", "level"),
    [
        ("mx.jakarta.example.com; dmarc=pass header.from=example.com", "verified"),
        ("mx.jakarta.example.com; dmarc=pass (p=none) header.from=lain.test", "claimed"),
        ("mx.jakarta.example.com; dmarc=fail header.from=example.com", "claimed"),
        ("mx.jakarta.example.com; dkim=pass header.d=example.com", "verified"),
        ("mx.jakarta.example.com; dkim=pass header.d=example.com.lain.test", "claimed"),
        ("mx.lain.test; dmarc=pass header.from=example.com", "claimed"),
        (
            "mx.jakarta.example.com; none\nAuthentication-Results: mx.jakarta.example.com; dmarc=pass",
            "claimed",
        ),
        ("", "claimed"),
    ],
)
def test_a_sender_is_verified_only_by_our_own_server(result: str, level: str) -> None:
    assert decode(authenticated(result)).sender_level == level


def test_our_own_mails_are_filtered_and_those_who_borrow_our_name_are_not() -> None:
    own = "DKI@jakarta.example.com"
    with pytest.raises(FilteredMessage, match="own_reply"):
        decode(authenticated("mx.jakarta.example.com; dmarc=pass", own))
    forged = decode(authenticated("mx.jakarta.example.com; dmarc=fail", own))
    assert (forged.sender_level, forged.extra["sender_check"]) == ("claimed", "fail")
    domain = Stream("email", "dki", "imap", {"own_addresses": ["@jakarta.example.com"]})
    with pytest.raises(FilteredMessage, match="own_reply"):
        decode(authenticated("", own), stream=domain)


@pytest.mark.parametrize(
    ("head", "subject", "reason"),
    [
        ("Auto-Submitted: auto-replied\n", "Terima kasih", "auto_reply"),
        ("X-Autoreply: yes\n", "Terima kasih", "auto_reply"),
        ("Precedence: bulk\n", "Out of office: cuti", "auto_reply"),
        ("Auto-Submitted: auto-generated\nIn-Reply-To: <b@example.com>\n", "Keluhan", "auto_reply"),
        ("Content-Type: multipart/report; report-type=disposition-notification\n", "Dibaca", "auto_reply"),
        ("Content-Type: multipart/report; report-type=delivery-status\n", "Gagal", "bounce"),
        ("Return-Path: <>\n", "Undelivered Mail Returned to Sender", "bounce"),
        ("X-Spam-Flag: YES\n", "Menang undian", "spam"),
    ],
)
def test_what_machines_answer_is_filtered(head: str, subject: str, reason: str) -> None:
    with pytest.raises(FilteredMessage) as caught:
        decode(written("Isi.", head=head, subject=subject))
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("head", "subject"),
    [
        ("Auto-Submitted: auto-generated\n", "Formulir pengaduan"),
        ("Auto-Submitted: no\n", "Keluhan"),
        ("Precedence: list\nList-Id: <warga.example.com>\n", "Keluhan warga"),
        ("X-Auto-Response-Suppress: All\n", "Keluhan"),
        ("", "Balasan otomatis kalian tidak membantu"),
        ("Return-Path: <>\n", "Keluhan"),
    ],
)
def test_a_citizens_mail_that_passed_through_machines_is_kept(head: str, subject: str) -> None:
    assert decode(written("Lampu mati.", head=head, subject=subject)).text == "Lampu mati."


# --- anything at all ------------------------------------------------------------------------


def survives(raw: bytes) -> None:
    """decode gives a Draft that every store takes, or sets the mail aside."""
    try:
        draft = decode(raw)
    except (FilteredMessage, RejectedMessage) as aside:
        str(aside).encode()
        return
    words = [
        draft.text,
        draft.title,
        draft.author_ref,
        draft.author_name,
        draft.conversation_ref,
        draft.contact_email,
    ]
    words += [value for file in draft.attachments for value in file.values() if isinstance(value, str)]
    for word in words:
        assert word is None or "\0" not in word.encode().decode()
    assert draft.occurred_at is None or draft.occurred_at.tzinfo is UTC


PIECES = st.sampled_from(
    [path.read_bytes() for path in sorted(SAMPLES.glob("*.eml"))]
    + [written("Lampu mati.").encode(), reply(QUOTED).encode()]
)
TOKENS = st.sampled_from(
    [
        *(
            b"\r\n\r\n",
            b"\n",
            b"\0",
            b"\xff\xfe",
            b"\xed\xa0\x80",
            b"<",
            b">",
            b'"',
            b"(" * 3000,
            b"&#xD800;",
        ),
        *(b"=?utf-8?q?", b"?=", b"=?x?b?////?=", b"; charset*=x; charset*1=y", b"; boundary*99999999="),
        *(
            b"\nContent-Type: multipart/mixed; boundary=",
            b"\nContent-Type: message/rfc822\n\n",
            b"\n--batas-02\n",
        ),
        *(
            b"\nFrom: a@[127.0.0.1",
            b"\nDate: 1 Jan 0000 99:99 +9",
            b"\nMessage-ID: <>",
            b"\nReferences: <\x80>",
        ),
        *(b"\nContent-Transfer-Encoding: base64\n", b"\nContent-Type: text/html; charset=utf-7\n\n<p>"),
        *(b"\nContent-Disposition: attachment; filename*=utf-7''+2AA-", b"; charset*=utf-7''+2AA-"),
        *(b"<div>" * 50, b"; filename*0*=''%FF", b"\nPada 1 Mei 2026"),
    ]
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    raw = draw(PIECES)
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(raw)))
        to = draw(st.integers(at, min(at + draw(st.sampled_from([0, 1, 5, 400])), len(raw))))
        raw = raw[:at] + draw(TOKENS | st.binary(max_size=8)) + raw[to:]
    return raw


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_are_decoded_or_set_aside(raw: bytes) -> None:
    survives(raw)


@settings(max_examples=500, deadline=None)
@given(mutated())
def test_any_damaged_mail_is_decoded_or_set_aside(raw: bytes) -> None:
    survives(raw)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=300), st.sampled_from(["8bit", "base64", "quoted-printable"]))
def test_a_body_reads_the_same_in_every_encoding(text: str, encoding: str) -> None:
    data = text.encode("utf-8", "replace")
    coded = {"8bit": data, "base64": base64.encodebytes(data), "quoted-printable": quopri.encodestring(data)}[encoding]
    head = f"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: {encoding}\n"
    whole = written("", head=head).encode() + coded
    plain = written("", head=head.replace(encoding, "8bit")).encode() + data
    assert decode(whole).text == decode(plain).text


def test_an_imap_message_that_could_not_be_read_is_rejected_with_its_problem() -> None:
    with pytest.raises(RejectedMessage) as caught:
        imap.decode(Message("r", "r", b"", "message/rfc822", FETCHED, problem="Terlalu besar."), STREAM)
    assert (caught.value.reason, caught.value.stage) == ("Terlalu besar.", "pull")
