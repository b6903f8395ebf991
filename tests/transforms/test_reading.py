"""What linking reads out of a report's row, once, as numbers."""

from __future__ import annotations

import time
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.contracts import TRAITS
from pipelines.transforms.matching import hashed
from pipelines.transforms.reading import cited, fold
from pipelines.transforms.traits import M_LAT, M_LON
from tests.transforms.told import GELORA, MATCHING, PLACE, START, cells, one, read_from, report, table

BELIEF = MATCHING.belief


def test_a_report_is_read_whole() -> None:
    sha, picture = "ab" * 32, "ffffffffffffff00"
    found = one(
        text="Jalan bolong! Jalan", hours=1, kind="jalan", author_key="a1", street="jalan melati", house_number="12A",
        block="c", rt=3, rw=7, files=[{"sha256": sha, "phash": picture}, {"url": "https://contoh.id/x.jpg"}], **PLACE,
    )  # fmt: skip
    share = (BELIEF["model"] + BELIEF["words"]) / (BELIEF["model"] + BELIEF["words"] + BELIEF["unknown"])
    way = {name: found[name] for name in ("way_alike", "way_kind", "way_letters")}
    assert found == {
        "said_at": int(START.timestamp()) + 3600, "x": 106.8 * M_LON, "y": -6.2 * M_LAT, "spread": MATCHING.pin_m,
        "area": 3171071001, "way": hashed("jalan melati"), **way, "house": 12, "block_no": hashed("c"), "rt_no": 3, "rw_no": 7,
        "mark": 0, "mark_more": 0, "author": hashed("a1"), "unfixed": 0,
        "words": sorted(hashed(w) >> 32 for w in ("jalan", "bolong")), "groups": ["jalan"], "shares": [round(share, 3)],
        "photos": [hashed(sha)], "pictures": [-256],
    }  # fmt: skip


def test_a_report_that_says_nothing_has_nothing_to_compare() -> None:
    nothing = dict.fromkeys(TRAITS.names, 0) | dict.fromkeys(("x", "y", "spread"))
    nothing |= {name: [] for name in ("words", "groups", "shares", "photos", "pictures")}
    assert one() == nothing | {"said_at": int(START.timestamp())}


@pytest.mark.parametrize(
    ("accuracy", "off"), [(None, MATCHING.pin_m), (12.5, 12.5), (0, 5.0), (1, 5.0), (9_000, 1_000.0)]
)
def test_a_point_may_be_off_by_its_accuracy_within_limits_else_by_what_a_pin_is(accuracy: float, off: float) -> None:
    assert one(accuracy_m=accuracy, **PLACE)["spread"] == off


def test_where_a_channels_points_are_a_phones_they_may_be_off_by_what_is_known_of_it() -> None:
    assert one(channel="qlue", **PLACE)["spread"] == MATCHING.pins["qlue"] < MATCHING.pin_m
    assert one(channel="qlue", accuracy_m=300, **PLACE)["spread"] == 300
    assert one(channel="jaki", **PLACE)["spread"] == MATCHING.pin_m


def test_the_point_of_a_landmark_is_not_the_citizens() -> None:
    found = one(place_method="landmark", landmark="Stasiun Contoh", **PLACE)
    assert (found["x"], found["y"], found["spread"]) == (None, None, None)
    assert (found["mark"], found["mark_more"]) == (hashed("stasiun"), hashed("stasiun contoh"))


# --- streets ---


@pytest.mark.parametrize(
    ("street", "kept"),
    [
        ("jalan melati", "jalan melati"),
        ("jalan melati raya", "jalan melati raya"),
        ("jalan melati 5 belakang pasar", "jalan melati 5"),
        ("jalan melati iv ujung", "jalan melati iv"),
        ("jalan melati 5a ujung", "jalan melati 5a"),
        ("jalan melati sebelah masjid", "jalan melati"),
        ("jalan melati dpn warung", "jalan melati"),
        ("jalan melati ada lubang", "jalan melati"),
        ("jalan melati raya gelora", "jalan melati raya"),
        ("jalan melati gelora", "jalan melati"),
        ("jalan gelora", "jalan gelora"),  # the street that the kelurahan is named after
        ("gang senayan", "gang senayan"),
    ],
)
def test_a_street_ends_at_its_number_at_what_it_lies_beside_and_at_its_kelurahan(street: str, kept: str) -> None:
    assert one(street=street, kelurahan_code=GELORA)["way"] == hashed(kept)


def test_where_no_street_is_named_an_estate_counts_then_a_kampung() -> None:
    names = {"street": "jalan melati", "estate": "perumahan asri", "hamlet": "kampung baru"}
    assert one(**names)["way"] == hashed("jalan melati")
    assert one(**names | {"street": None})["way"] == hashed("perumahan asri")
    assert one(hamlet="kampung baru")["way"] == hashed("kampung baru")


def alike(*streets: str) -> int:
    """How many different streets these are taken for."""
    return len({(f["way_alike"], f["way_kind"]) for f in (one(street=s) for s in streets)})


def test_slips_in_spelling_leave_a_street_alike() -> None:
    assert alike("jalan kenanga", "jalan knanga", "jalan kenangga", "jalan kennaga", "jalan kenanag") == 1
    assert alike("jalan kebon jeruk", "jalan kebonjeruk", "jalan kbon jeruk") == 1


@pytest.mark.parametrize(
    ("street", "other"),
    [
        ("jalan melati i", "jalan melati ii"),
        ("jalan melati", "jalan melati 2"),
        ("jalan melati 2", "jalan melati 2a"),
        ("jalan melati", "gang melati"),
        ("jalan kenanga", "jalan mawar"),
        ("jalan ya", "jalan yu"),
    ],
)
def test_another_number_kind_or_name_is_another_street(street: str, other: str) -> None:
    assert alike(street, other) == 2


NAMES = st.from_regex(r"[a-z]{4,12}", fullmatch=True).filter(
    lambda n: len(set(n) - set("aeiou")) > 2 and set(n) - set("ivx")
)


@given(NAMES, st.data())
def test_any_letter_doubled_any_vowel_dropped_and_any_neighbours_swapped_leave_a_street_alike(
    name: str, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(name) - 2))
    slips = [name[: at + 1] + name[at:], name[:at] + name[at + 1] + name[at] + name[at + 2 :]]
    slips += [name[:at] + name[at + 1 :]] if name[at] in "aeiou" else []
    asked = one(street=f"jalan {name}")
    for slip in slips:
        found = one(street=f"jalan {slip}")
        assert (found["way_alike"], found["way_kind"]) == (asked["way_alike"], asked["way_kind"])
        assert (found["way_letters"] ^ asked["way_letters"]).bit_count() <= 2


# --- what it lies beside ---


@pytest.mark.parametrize(
    ("text", "first", "two"),
    [
        ("Lubang di depan Masjid Al-Ikhlas", "masjid", "masjid al"),
        ("lubang dpn indomaret yg baru", "indomaret", "indomaret"),
        ("lubang sblh INDOMMARET fresh", "indomaret", "indomaret fresh"),
        ("lubang dekat sdn 05 pagi", "sdn", "sdn 5"),
        ("lubang di depan rumah saya", None, None),
        ("lubang di depan, banyak motor jatuh", None, None),
        ("lubang di tengah jalan", None, None),
    ],
)
def test_what_a_place_lies_beside_is_read_from_the_text(text: str, first: str | None, two: str | None) -> None:
    found = one(text=text)
    assert (found["mark"], found["mark_more"]) == (hashed(first), hashed(two))


def test_the_address_says_what_it_lies_beside_where_the_text_does_not_and_a_landmark_where_neither_does() -> None:
    found = one(text="lubang", address_text="Jl. Melati, seberang Toko Maju", landmark="Stasiun Contoh")
    assert found["mark_more"] == hashed("toko maju")
    assert one(text="lubang", address_text="Jl. Melati", landmark="Stasiun Contoh")["mark_more"] == hashed(
        "stasiun contoh"
    )


# --- what it is about ---


def kinds(text: str = "", **cells: Any) -> dict[str, float]:
    found = one(text=text, **cells)
    return dict(zip(found["groups"], found["shares"], strict=True))


def part(weight: float, *others: float) -> float:
    return round(weight / (weight + sum(others) + BELIEF["unknown"]), 3)


def test_what_a_report_is_about_follows_label_model_and_words_each_for_its_weight() -> None:
    label, model, unsure, words = (BELIEF[name] for name in ("reported", "model", "model_unsure", "words"))
    assert kinds(category_reported="jalan") == {"jalan": part(label)}
    assert kinds(category_model="jalan", category_source="model") == {"jalan": part(model)}
    assert kinds(category_model="jalan", category_source="none") == {"jalan": part(unsure)}
    assert kinds("aspal berlubang") == {"jalan": part(words)}
    assert kinds("aspal berlubang", category_reported="pohon") == {
        "jalan": part(words, label),
        "hijau": part(label, words),
    }
    assert kinds("selamat pagi", category_reported="bukan_kategori") == {}


def test_a_word_written_twice_or_with_an_ending_says_the_same() -> None:
    assert kinds("lampunya") == kinds("lampu") == kinds("lampu2") == kinds("lampuuu") == kinds("lampu lampu")
    assert "hijau" in kinds("bangku")  # no ending of ours
    assert kinds("bang") == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Katanya sudah selesai tapi masih bolong", 1),
        ("laporan saya ditutup, padahal", 1),
        ("STATUS: SELESAI?", 1),
        ("semoga lekas selesai", 0),
        ("kapan selesainya", 0),
    ],
)
def test_whoever_says_that_a_work_called_done_is_not_is_heard(text: str, said: int) -> None:
    assert one(text=text)["unfixed"] == said


def test_citations_are_read_in_any_case_and_a_reports_own_number_is_none() -> None:
    text = "Melanjutkan laporan jk2305290094 dan KN-7W2K-0Q9Z-A1B2, bukan JK23052900945"
    found = cited(
        cells(report(text), report("", title=text), report(text, external_ref="JK2305290094"), report("biasa"))
    )
    both = ["JK2305290094", "KN-7W2K-0Q9Z-A1B2"]
    assert found.to_pylist() == [both, both, both[1:], []]


# --- numbers ---


def test_a_hash_means_the_same_in_every_process() -> None:
    assert hashed("jalan melati") == 5080606721179770610  # written down when traits were first stored
    assert hashed(None) == hashed("") == 0


WEIRD = st.text(max_size=200) | st.text(alphabet="dpn epan'0 \t\n²٣İßﬁ-", max_size=200)


@given(WEIRD, WEIRD, WEIRD, st.sampled_from([None, "12A", "²", "no", "99999999999999"]))
def test_any_text_is_read(text: str, address: str, street: str, house: str | None) -> None:
    found = one(
        text=text, address_text=address, street=street, hamlet=fold(text), landmark=address, house_number=house,
        author_key=text.encode("utf-8", "replace").hex(), **PLACE,
    )  # fmt: skip
    assert found["words"] == sorted(set(found["words"]))
    assert sum(found["shares"]) <= 1.001
    assert found["shares"] == sorted(found["shares"], reverse=True)
    assert len(found["groups"]) == len(set(found["groups"])) <= 4


@pytest.mark.parametrize("piece", ["depan ", "a", "depan   \t", "'", "12 ", "jalan lubang ", "selesai padaha", "İ"])
def test_a_very_long_text_is_read_in_a_moment(piece: str) -> None:
    text = piece * (400_000 // len(piece))
    begin = time.process_time()
    one(text=text, address_text=text, street=text, landmark=text)
    assert time.process_time() - begin < 5  # what grows with the square of the length takes minutes


def test_reports_are_read_alike_alone_and_among_others_from_a_table_and_from_a_frame() -> None:
    rows = [
        report(
            "Lampu jalan mati dekat pasar, lapor lagi JK2305290094", kind="jalan", street="jalan melati", rt=3, **PLACE
        ),
        report("", address_text="depan masjid raya", channel="qlue", accuracy_m=7, **PLACE),
        report("pohon tumbang", category_reported="pohon", files=[{"sha256": "a"}], kelurahan_code=GELORA),
        report("aspal berlubang aspal", landmark="Stasiun Contoh", place_method="landmark", author_key="a"),
    ]
    whole = table(*rows)
    assert pa.concat_tables([table(row) for row in rows]).to_pylist() == whole.to_pylist()
    assert table(*reversed(rows)).to_pylist() == whole.to_pylist()[::-1]
    assert read_from(cells(*rows)).to_pylist() == whole.to_pylist()
    assert table().to_pylist() == []
