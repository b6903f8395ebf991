"""Redact: nothing personal survives in any common spelling, and what names places and tickets stays."""

from __future__ import annotations

import itertools

import orjson
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from read_cases import cases

from pipelines.contracts import column
from pipelines.transforms.redact import author_key, mask, redact

KEY = b"0123456789abcdef0123456789abcdef"
WORDS = st.sampled_from(["", "hubungi", "telp", "hp:", "wa ", "tolong", "\n", "warga,", "No.", "("])
BREAKS = st.sampled_from(["", " ", "-", "."])
WIDE = st.sampled_from([" - ", "–", " – ", "\u2011", "/", " / ", "_", ":", "=", "*", "·", "\n", "-\n", ","])
ZEROS = st.sampled_from("0０٠۰𝟎")


@pytest.mark.parametrize("case", cases("redact"), ids=lambda c: str(c["text"])[:40])
def test_a_written_case_is_masked_as_it_says(case: dict) -> None:
    assert mask(case["text"]) == case["masked"]


@given(
    before=WORDS, after=WORDS, start=st.sampled_from(["0", "62", "+62", "+62 ", "0062", "(+62) ", "+62-"]),
    body=st.tuples(st.integers(811, 899), st.integers(0, 9999), st.integers(0, 9999)), between=BREAKS,
)  # fmt: skip
def test_no_mobile_number_survives(
    before: str, after: str, start: str, body: tuple[int, int, int], between: str
) -> None:
    number = f"{start}{body[0]}{between}{body[1]:04d}{between}{body[2]:04d}"
    masked = mask(f"{before} {number} {after}")
    assert f"{body[2]:04d}" not in masked
    assert "[TELEPON]" in masked


@given(
    before=st.sampled_from(["", "hubungi ", "1.", "saksi 2,", "daftar\n10. ", "hp:"]), zero=ZEROS, between=WIDE | BREAKS,
    body=st.tuples(st.integers(811, 899), st.integers(0, 9999), st.integers(0, 9999)),
)  # fmt: skip
def test_no_mobile_number_survives_in_other_digits_or_between_other_signs(
    before: str, zero: str, between: str, body: tuple[int, int, int]
) -> None:
    number = f"0{body[0]}{between}{body[1]:04d}{between}{body[2]:04d}".translate(
        {0x30 + i: ord(zero) + i for i in range(10)}
    )
    assert mask(f"{before}{number} ya").replace("hp [", "hp:[") == f"{before}[TELEPON] ya"


@given(
    word=st.sampled_from(["wa ke", "hub", "Hubungi:", "kontak", "nomor", "no wa saya", "no hp", "telp", "HP"]),
    body=st.tuples(st.integers(811, 899), st.integers(0, 9999), st.integers(0, 9999)), between=WIDE | BREAKS,
)  # fmt: skip
def test_a_mobile_number_without_its_0_is_one_after_a_word_that_says_so(
    word: str, body: tuple[int, int, int], between: str
) -> None:
    assert mask(f"{word} {body[0]}{between}{body[1]:04d}{between}{body[2]:04d} ya") == f"{word} [TELEPON] ya"


@given(digits=st.text("0123456789", min_size=10, max_size=10), between=WIDE, zero=ZEROS)
def test_no_nik_survives_in_other_digits_or_between_other_signs(digits: str, between: str, zero: str) -> None:
    number = f"3174{digits}99"
    for cut in ((4, 8, 12), (6, 12)):
        spelt = between.join(number[a:b] for a, b in itertools.pairwise([0, *cut, 16]))
        spelt = spelt.translate({0x30 + i: ord(zero) + i for i in range(10)})
        assert mask(f"atas nama {spelt} – ya") == "atas nama [NIK] – ya"


@given(
    before=WORDS, digits=st.text("0123456789", min_size=10, max_size=10), between=BREAKS, province=st.integers(11, 94)
)
def test_no_nik_survives_in_groups_of_four_of_six_or_in_one(
    before: str, digits: str, between: str, province: int
) -> None:
    if 19 <= province <= 20:
        province = 31  # four groups that look like years are years
    number = f"{province}74{digits}99"
    for cut in ((4, 8, 12), (6, 12)):
        ends = [0, *cut, 16]
        spelt = between.join(number[a:b] for a, b in itertools.pairwise(ends))
        assert mask(f"{before} {spelt} ya") == f"{before} [NIK] ya"


@given(
    name=st.from_regex(r"[a-z0-9]([a-z0-9._+-]{0,20}[a-z0-9])?", fullmatch=True),
    host=st.from_regex(r"[a-z]{2,12}(\.[a-z]{2,5}){1,2}", fullmatch=True), at=st.sampled_from(["@", " (at) ", "[at]", "＠"]),
    dot=st.sampled_from([".", "[dot]", " (dot) "]),
)  # fmt: skip
def test_no_mail_address_survives(name: str, host: str, at: str, dot: str) -> None:
    assert mask(f"kirim ke {name}{at}{host.replace('.', dot)}, terima kasih") == "kirim ke [SUREL], terima kasih"


@given(
    rt=st.integers(1, 199), rw=st.integers(1, 99), house=st.integers(1, 999), year=st.integers(1990, 2030),
    month=st.integers(1, 12), day=st.integers(1, 28), postcode=st.integers(10110, 14540), number=st.integers(1, 9999),
    price=st.integers(1, 999), hour=st.integers(0, 23),
)  # fmt: skip
def test_what_names_a_place_a_ticket_a_time_or_a_price_survives(
    rt: int, rw: int, house: int, year: int, month: int, day: int, postcode: int, number: int, price: int, hour: int
) -> None:
    text = (
        f"Jl. Kenanga {house % 40 + 1} No. {house} RT {rt:03d}/RW {rw:03d}, rt{rt}/{rw}, {postcode}."
        f" JK{year % 100:02d}{month:02d}{day:02d}{number:04d} tahun {year}, {day:02d}-{month:02d}-{year} jam {hour:02d}.30"
        f" Rp {price}.500.000 dan Rp{price}000, blok B {house} sejak {day}/{month}/{year}"
        f" s.d. {day:02d}/{month:02d}/{year} - {day:02d}-{month:02d}-{year}, {hour:02d}:30 - {hour:02d}:45 dan {year}/{year + 1}"
        f"\nRp 1.08{price % 9}.{price:03d}.000, rute {house}/{price}, no {house}-{number} RT {rt:03d}/{rw:03d}\n{postcode} hub RT"
    )
    assert mask(text) == text


@given(
    st.text()
    | st.lists(st.sampled_from(["0812-0000-1234", "B 1234 ABC", "a@example.com", "RT 05", "3174", "."])).map(" ".join)
)
def test_masking_twice_is_masking_once(text: str) -> None:
    assert mask(mask(text)) == mask(text)


def test_contacts_go_to_the_vault_and_nowhere_else() -> None:
    drafts = pd.DataFrame({
        "report_id": ["a", "b"], "text": ["hub 0812-0000-1234", "lampu mati"], "title": [None, "dari warga@example.com"],
        "address_text": ["Jl. Kenanga RT 05", None], "author_ref": ["+6281200001234", None],
        "author_name": ["Warga Contoh", None], "contact_phone": ["+6281200001234", None],
        "contact_email": ["warga@example.com", None], "conversation_ref": ["benang-1", None],
    })  # fmt: skip
    masked, vault = redact(drafts, key=KEY)
    assert {c: column(masked, c) for c in masked} == {
        "report_id": ["a", "b"], "text": ["hub [TELEPON]", "lampu mati"], "title": [None, "dari [SUREL]"],
        "address_text": ["Jl. Kenanga RT 05", None], "author_key": [author_key("+6281200001234", KEY), None],
        "conversation_key": [column(masked, "conversation_key")[0], None],
    }  # fmt: skip
    assert {c: column(vault, c) for c in vault} == {
        "report_id": ["a"], "author_name": ["Warga Contoh"], "author_ref": ["+6281200001234"],
        "phone": ["+6281200001234"], "email": ["warga@example.com"],
    }  # fmt: skip


def _drafts(**given: str | None) -> pd.DataFrame:
    names = "report_id text title address_text author_ref author_name contact_phone contact_email conversation_ref"
    return pd.DataFrame(
        {n: [given.get(n)] for n in [*names.split(), *(["attachments"] if "attachments" in given else [])]}
    )


@pytest.mark.parametrize(
    ("name", "ref", "text", "masked"),
    [
        ("Sari Contoh Dewi", None, "Saya SARI  contoh dewi, bukan Sari.", "Saya [NAMA], bukan Sari."),
        (
            "Sari Dewi (@sari_dewi9)",
            "x:1",
            "Hormat, Sari Dewi\nig: sari_dewi9 @sari_dewi9",
            "Hormat, [NAMA]\nig: [NAMA] [AKUN]",
        ),
        ("Sari Dewi", None, "tulis ke sari.dewi@example.com", "tulis ke [SUREL]"),
        ("Sari", None, "Sari di Jalan Sari", "Sari di Jalan Sari"),
        ("Canarina", None, "dari canarina, bukan canarinawati", "dari [NAMA], bukan canarinawati"),
        ("Warga", "sms:1708", "warga resah", "warga resah"),
        ("Warga Jakarta", None, "warga Jakarta resah", "warga Jakarta resah"),
        (None, "fb:sari.contoh", "facebook.com/sari.contoh ya, sari.contoh", "facebook.com/[AKUN] ya, [NAMA]"),
        (None, None, "RT @warga_contoh: jalan rusak @pemprov_contoh", "RT [AKUN]: jalan rusak @pemprov_contoh"),
    ],
)
def test_the_authors_own_name_and_handle_are_masked(name: str | None, ref: str | None, text: str, masked: str) -> None:
    drafts = _drafts(report_id="a", text=text, title=text.replace("\n", " "), author_name=name, author_ref=ref)
    result, _ = redact(drafts, key=KEY)
    assert column(result, "text") == [masked]
    assert column(result, "title") == [masked.replace("\n", " ")]


def test_the_names_of_attached_files_are_masked_and_the_rest_of_their_json_stays() -> None:
    files = [
        {"type": "image", "name": "KTP_Sari_Dewi.jpg", "size": 4, "sha256": "00", "url": None},
        {"type": "image", "name": "081200001234.jpg"}, {"type": "image", "name": None}, {"type": "image", "name": "rusak.jpg"},
    ]  # fmt: skip
    drafts = _drafts(report_id="a", text="", author_name="Sari Dewi", attachments=orjson.dumps(files).decode())
    masked, _ = redact(drafts, key=KEY)
    files[0]["name"], files[1]["name"] = "KTP_[NAMA].jpg", "[TELEPON].jpg"
    assert orjson.loads(column(masked, "attachments")[0]) == files


def test_an_author_is_known_again_only_with_the_same_key() -> None:
    assert author_key("warga", KEY) == author_key("warga", KEY)
    assert author_key("warga", KEY) != author_key("warga", KEY[::-1])
    assert author_key("warga", KEY) != author_key("warga2", KEY)
