"""Words out of mail: every charset, header, page, quote and signature people send."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.sources.mail_text import MAX_CHARS, header_text, html_text, split, text_of


@pytest.mark.parametrize(
    ("declared", "used"),
    [
        ("iso-8859-1", "utf-8"),
        ("us-ascii", "utf-8"),
        ("x-tidak-dikenal", "utf-8"),
        ("utf-8", "cp1252"),
        ("", "cp1252"),
        ("iso-8859-1", "cp1252"),
        ("rot13", "utf-8"),
        ("utf-16", "utf-16"),
        ("utf-7", "utf-7"),
        ("unicode_escape", "cp1252"),
        ("utf-8\0", "utf-8"),
        ("gb18030", "gb18030"),
    ],
)
def test_text_survives_a_wrong_charset(declared: str, used: str) -> None:
    text = "Air di kafe \u00e9lite \u201cmati\u201d sejak pagi, warga RT 03 tidak bisa memasak"
    assert text_of(text.encode(used), declared) == text


@pytest.mark.parametrize("text", ["Jalan\u2019", "Jalan \u00e9", "Sampah\u2026", "mati\u2019", "\u00e9"])
@pytest.mark.parametrize("declared", [None, "utf-8", "x-tidak-dikenal"])
def test_a_few_words_are_not_taken_for_chinese(text: str, declared: str | None) -> None:
    assert text_of(text.encode("cp1252"), declared) == text


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (
            "=?utf-8?b?TGFtcHUgbWF0aSDi?= =?utf-8?b?gJMgUlQgMDM=?=",
            "Lampu mati \u2013 RT 03",
        ),  # cut in a character
        ("=?UTF-8?Q?Caf=C3=A9_?= =?iso-8859-1?q?d=E9pan?= sekolah", "Caf\u00e9 d\u00e9pan sekolah"),
        ("Jalan =?utf-8?q?rusak?= =?utf-8?q?_parah?=", "Jalan rusak parah"),
        ("=?x-foo?q?tetap=20terbaca?=", "tetap terbaca"),
        ("=?utf-8?b?!!!?= sisa", "sisa"),
        ("Lampu\r\n\tmati", "Lampu mati"),
        (b"Caf\xc3\xa9".decode("ascii", "surrogateescape"), "Caf\u00e9"),
    ],
)
def test_headers_are_read_in_every_spelling(raw: str, text: str) -> None:
    assert header_text(raw) == text


def test_html_reads_as_it_looks() -> None:
    page = """<html><head><title>x</title><style>p{}</style></head><body>
    <p>Lampu   mati&nbsp;di <b>Jl. Melati</b></p><ul><li>RT 03</li><li>RW&#32;04</li></ul>
    <table><tr><td>Sejak</td><td>Senin</td></tr></table>satu<br>dua<script>jahat()</script>
    <div style="display:none">tak tampak</div><pre>a\nb</pre></body></html>"""
    assert html_text(page, quotes=True).split("\n") == [
        "Lampu mati di Jl. Melati", "RT 03", "RW 04", "Sejak Senin", "satu", "dua", "a", "b",
    ]  # fmt: skip


QUOTES = {
    "Gmail": "Pada tanggal Sel, 5 Mei 2026 pukul 08.30 Admin <\na@example.com> menulis:\n\n> lama\n> lagi",
    "Gmail, short": "Pada Rab, 6 Mei 2026 6.43 PM, Admin <a@example.com> menulis:\n> lama",
    "Gmail, English": "On Tue, May 5, 2026 at 8:30 AM Admin <a@example.com> wrote:\n> lama",
    "Gmail, by date": "2026-05-05 8:30 GMT+07:00 Admin <a@example.com>:\n\n> lama",
    "Yahoo": "Pada Selasa, 5 Mei 2026 08.30.00 WIB, Admin <a@example.com> menulis:\n\nlama",
    "Outlook": "______________\nDari: Admin\nDikirim: 5 Mei 2026 08.30\nKepada: Sari\nSubjek: K\n\nlama",
    "Outlook, bold": "*From:* Admin <a@example.com>\n*Sent:* May 5, 2026\n*To:* Sari\n*Subject:* K\n\nlama",
    "old": "-----Pesan Asli-----\nlama",
    "phone": "Dikirim dari ponsel\n\nPada Sel, 5 Mei 2026 pada 8:30, Admin <a@example.com> menulis:\n\nlama",
}


@pytest.mark.parametrize("name", QUOTES)
def test_a_reply_says_only_what_is_new(name: str) -> None:
    assert split(f"Masih mati juga, min.\n\n{QUOTES[name]}", reply=True) == ("Masih mati juga, min.", "")


def test_an_answer_below_the_quote_is_kept() -> None:
    assert split(f"{QUOTES['Gmail']}\n\nMasih mati juga.", reply=True).own == "Masih mati juga."


@pytest.mark.parametrize(
    ("own", "rest", "signature"),
    [
        ("Lampu mati di gang kami.", "Hormat saya,\nSari\nJl. Melati 3", "Hormat saya,\nSari\nJl. Melati 3"),
        ("The street light is broken.", "Best regards,\nGrace", "Best regards,\nGrace"),
        ("Lampu mati di gang kami.", "-- \nSari", "--\nSari"),
        ("Lampu mati.", "Dikirim dari iPhone saya", ""),
        ("Lampu mati.", "Sent from my iPhone", ""),
        ("Lampu mati.", "Disclaimer: hanya ditujukan kepada penerima.", ""),
    ],
)
def test_signatures_and_notices_are_set_apart(own: str, rest: str, signature: str) -> None:
    assert split(f"{own}\n\n{rest}", reply=False) == (own, signature)


@pytest.mark.parametrize(
    "letter",
    [
        "Yth. Gubernur\nSalam,\nLampu jalan mati di Jl. Melati",
        "Jangan sebut nama saya.\n\nPesan ini bersifat rahasia, mohon.",
        "Lampu mati di gang kami.\n\nSalam,\nNB: yang di depan masjid",
        "Perhatian: kabel listrik jatuh ke jalan",
        "Pada 5 Mei 2026 petugas menulis:\nsudah selesai. Padahal belum.",
        "> bukan kutipan, hanya tanda panah",
    ],
)
def test_complaints_that_look_like_signatures_notices_or_quotes_are_kept(letter: str) -> None:
    assert split(letter, reply=False) == (letter, "")


def takes(text: str) -> bool:
    """Whether a store takes the text: UTF-8, no NUL."""
    return "\0" not in text.encode().decode()


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=200),
    st.text(max_size=12) | st.sampled_from(["utf-7", "utf-16", "idna", "hz", "cp037"]),
)
def test_any_bytes_under_any_charset_become_text(data: bytes, charset: str) -> None:
    assert takes(text_of(data, charset))


@settings(max_examples=300, deadline=None)
@given(
    st.text(st.characters(), max_size=100) | st.binary(max_size=60).map(lambda b: b.decode("ascii", "surrogateescape"))
)
def test_any_header_becomes_text(value: str) -> None:
    assert takes(header_text(value))
    assert takes(header_text(f"=?utf-8?b?{value}?="))


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=200), st.booleans())
def test_any_page_becomes_text(page: str, quotes: bool) -> None:
    assert takes(html_text(f"<p>{page}<div class=gmail_quote>{page}", quotes=quotes))


LINES = st.sampled_from(
    [*"\n".join(QUOTES.values()).split("\n"), "", "--", "Salam,", "NB: x", "Disclaimer: penerima", "isi"]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(LINES | st.text(max_size=30), max_size=30), st.booleans())
def test_splitting_only_ever_takes_lines_away(lines: list[str], reply: bool) -> None:
    text = "\n".join(lines)
    own, signature = split(text, reply=reply)
    kept = iter(" ".join(text.split()).split(" "))
    assert all(word in kept for word in f"{own} {signature}".split())


def test_a_text_without_end_is_cut() -> None:
    assert len(split("keluhan " * 100_000, reply=True).own) <= MAX_CHARS
