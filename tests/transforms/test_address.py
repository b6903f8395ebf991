"""What words say of the spot: on written cases (cases/address.tsv), on every spelling, and on texts made to hurt."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from read_cases import cases

from pipelines.contracts import column
from pipelines.knowledge import Knowledge
from pipelines.transforms.address import rt_rw
from pipelines.transforms.locate import locate

FIELDS = {
    "street": "street", "number": "house_number", "block": "block", "estate": "estate", "hamlet": "hamlet",
    "landmark": "landmark",
}  # fmt: skip
Read = Callable[..., dict]


@pytest.fixture
def read(own_knowledge: Knowledge, reports: Callable[..., pd.DataFrame]) -> Read:
    def of(text: str, **given: str) -> dict:
        frame = reports([text], **{name: [value] for name, value in given.items()})
        found = locate(frame, gazetteer=own_knowledge.gazetteer)
        return {c: column(found, c)[0] for c in found}

    return of


@pytest.mark.parametrize("case", cases("address"), ids=lambda c: str(c["text"])[:40])
def test_a_written_case_says_what_is_written_of_it(case: dict, read: Read) -> None:
    row = read(case["text"])
    assert {name: row[field] for name, field in FIELDS.items()} == {name: case[name] for name in FIELDS}


# --- every spelling -----------------------------------------------------------------------------

BOTH = (
    "rt{rt}/{rw}", "rt{rt:02}/{rw:02}", "RT {rt:03} RW {rw:03}", "rt{rt} rw{rw}", "rt.{rt}/rw.{rw}", "Rt.{rt:02}/Rw.{rw:03}",
    "RT/RW {rt}/{rw}", "rt/rw: {rt:02} / {rw:02}", "RT{rt:02}RW{rw:02}", "R.T. {rt:03} / R.W. {rw:03}", "rt {rt}, rw {rw}",
    "RT-{rt} RW-{rw}", "rt no {rt} rw no {rw}", "rtrw {rt}/{rw}", "RT : {rt} RW : {rw}", "RT {rt:03}/{rw:03}",
)  # fmt: skip


@settings(max_examples=300)
@given(
    spelling=st.sampled_from(BOTH), rt=st.integers(1, 99), rw=st.integers(1, 99),
    before=st.sampled_from(("", "jl melati no 12, ", "kel. x ", "lampu mati di ", "(")),
    behind=st.sampled_from(("", " mati", ", jakarta", ".", ")")),
)  # fmt: skip
def test_an_rt_and_rw_in_any_spelling_are_read_as_written(
    spelling: str, rt: int, rw: int, before: str, behind: str
) -> None:
    assert rt_rw((before + spelling.format(rt=rt, rw=rw) + behind).lower()) == (rt, rw)


HOUSES = ("no {}", "no. {}", "No.{}", "NO {}", "nomor {}", "Nomer {}", "no : {}", "nmr {}")
numbers = st.one_of(
    st.integers(1, 999).map(str),
    st.tuples(st.integers(1, 99), st.sampled_from("ABCEFH")).map(lambda n: f"{n[0]}{n[1]}"),
    st.tuples(st.integers(1, 99), st.integers(1, 99)).map(lambda n: f"{n[0]}-{n[1]}"),
)
own = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@own
@given(
    spelling=st.sampled_from(HOUSES), number=numbers, ends=st.sampled_from(("", ", jakarta", " rt 5/3", " mati", "."))
)
def test_a_house_number_in_any_spelling_is_read_as_written(read: Read, spelling: str, number: str, ends: str) -> None:
    row = read(f"Lampu mati di jl melati {spelling.format(number)}{ends}")
    assert (row["street"], row["house_number"]) == ("jalan melati", number)
    assert row["address_text"].startswith(f"jalan melati No. {number}")
    assert (row["rt"], row["rw"]) == ((5, 3) if "rt 5" in ends else (None, None))


BLOCKS = ("blok {}/{}", "Blok {} no {}", "BLOK {} No. {}", "blok. {}/{}", "blok {} nomor {}", "block {} no.{}")


@own
@given(
    spelling=st.sampled_from(BLOCKS),
    letter=st.sampled_from("ABCDEFGH"),
    lot=st.integers(1, 30),
    number=st.integers(1, 99),
)
def test_a_block_in_any_spelling_is_read_as_written(
    read: Read, spelling: str, letter: str, lot: int, number: int
) -> None:
    row = read(f"Got mampet di perumahan puri kenanga {spelling.format(f'{letter}{lot}', number)} rt 2")
    assert (row["block"], row["house_number"], row["estate"]) == (
        f"{letter}{lot}",
        str(number),
        "perumahan puri kenanga",
    )
    assert row["address_text"] == f"Blok {letter}{lot} No. {number} perumahan puri kenanga RT 002"


# --- whose place --------------------------------------------------------------------------------

SIGNED = "\nTerima kasih,\nBudi Contoh\nJl. Dahlia no 7 blok C2, RT 02 RW 04, Kel. Cawang"


def test_the_home_in_a_signature_is_no_place_where_the_text_names_one(read: Read) -> None:
    row = read("Lampu mati sejak kemarin malam di jl melati dekat lapangan, gelap sekali." + SIGNED)
    assert {c: row[c] for c in ("street", "house_number", "block", "rt", "rw", "kelurahan_code")} == {
        "street": "jalan melati", "house_number": None, "block": None, "rt": None, "rw": None, "kelurahan_code": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    "signed",
    [
        SIGNED,
        "\nHormat saya,\nSiti Contoh\nKomplek Anu Blok B2 RT 01/02 Kel. Gelora Tanah Abang Jakarta Pusat",
        "\n\nSalam,\nAni Contoh\nkel. Gelora, Tanah Abang",
        "\nWassalam\nKel. Gelora, Kec. Tanah Abang",
    ],
)
def test_a_signature_below_a_line_of_its_own_may_be_longer_than_the_report(read: Read, signed: str) -> None:
    alone = read("Got mampet di Kel. Kebon Baru.")
    row = read("Got mampet di Kel. Kebon Baru." + signed)
    assert row["kelurahan_code"] == alone["kelurahan_code"] == "31.74.01.1004"
    assert (row["block"], row["rt"], row["place_confidence"]) == (None, None, alone["place_confidence"])


def test_thanks_before_the_matter_hide_no_place(read: Read) -> None:
    row = read("Terima kasih min\nlampu mati di Jl. Melati no 9 RT 2/4 Kel. Kebon Baru")
    assert (row["street"], row["kelurahan_code"]) == ("jalan melati", "31.74.01.1004")
    late = read("Got mampet di Kel. Gelora.\nTerima kasih\nLokasi Jl. Melati no 9 RT 2/4 Kel. Kebon Baru")
    assert late["street"] == "jalan melati"


def test_the_home_in_a_signature_counts_where_nothing_else_is_named(read: Read) -> None:
    row = read("Lampu mati sejak kemarin malam, mohon segera diperbaiki karena gelap sekali di sini." + SIGNED)
    assert (row["street"], row["house_number"], row["block"], row["rt"], row["rw"]) == ("jalan dahlia", "7", "C2", 2, 4)


@pytest.mark.parametrize(
    "text",
    [
        "Saya Budi, tinggal di Jl. Dahlia no 7 RT 2/4, ingin melaporkan lampu mati di Jl. Melati no 9",
        "Lampu mati di Jl. Melati no 9. Rumah saya di Jl. Dahlia no 7 RT 2/4",
        "Alamat pelapor: Jl. Dahlia no 7 RT 2/4\nLampu mati di Jl. Melati no 9",
        "Lampu mati di Jl. Melati no 9 sejak lama sekali.\nHormat saya,\nBudi, Jl. Dahlia no 7 RT 2/4",
    ],
)
def test_where_the_writer_lives_is_not_where_it_happened(text: str, read: Read) -> None:
    row = read(text)
    assert (row["street"], row["house_number"], row["rt"], row["rw"]) == ("jalan melati", "9", None, None)


def test_a_place_told_after_the_thanks_is_the_place(read: Read) -> None:
    row = read("Mohon lampu RT 5 diperbaiki, sudah lama mati dan gelap. Terima kasih.\nLokasi: Jl. Melati no 9")
    assert (row["street"], row["house_number"], row["rt"]) == ("jalan melati", "9", 5)


def test_a_landmark_known_to_lie_elsewhere_is_not_told(read: Read) -> None:
    assert read("Sampah di stasiun jatinegara", kelurahan_reported="Marunda")["landmark"] is None


def test_a_number_alone_leads_nowhere_and_is_no_address(read: Read) -> None:
    row = read("pagar rumah no 5 roboh")
    assert (row["house_number"], row["address_text"]) == ("5", None)


# --- texts made to hurt -------------------------------------------------------------------------

UNITS = (
    "jl ", "jl jl jl no ", "no ", "no 1", "no 1-", "rt 1/2 ", "blok a ", "blok ", "blok 1-", "a/1 ", "c2/10 ", "1/", "pasar ",
    "sd 1 ", "masjid al ", "depan Aa ", "dekat pasar ", "komplek ", "perum a ", "kampung ", "kp.", "terima kasih\n", "\n",
    "saya tinggal di ", "alamat pelapor ", "rumah saya di ", "1", "12345 ", "\U0001f30a", "j\u0300\u0301l\u0310",
    "\u202e\u05e9\u05dc ", ".", ",", "-", "/", "ii/", " ",
)  # fmt: skip


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(units=st.lists(st.sampled_from(UNITS), min_size=1, max_size=6), size=st.integers(1, 6_000))
@example(units=["jl jl jl no "], size=100_000)
@example(units=["saya tinggal di ", "jl a ", "1/"], size=100_000)
@example(units=["terima kasih\n", "jl "], size=100_000)
def test_no_text_made_to_hurt_breaks_it_and_all_it_says_is_short(read: Read, units: list[str], size: int) -> None:
    text = ("".join(units) * (size // len("".join(units)) + 1))[:size]
    row = read(text, address_text=text[:300])
    for name, longest in (("house_number", 10), ("block", 8), ("estate", 120), ("hamlet", 80), ("landmark", 200)):
        assert row[name] is None or 0 < len(row[name].strip()) == len(row[name]) <= longest, name


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=300))
def test_any_text_at_all_is_read(read: Read, text: str) -> None:
    row = read(text)
    assert row["rt"] is None or 0 < row["rt"] < 1_000
