"""Why a report is in its ticket: every level's sentence, whole, and sentences of explanations that lack anything."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.because import Decided, Heard, Named, because
from pipelines.contracts import LINKS, describe
from pipelines.kinship import group_names
from pipelines.knowledge import taxonomy
from pipelines.settings import default_models_dir
from pipelines.transforms.act_shapes import Link

OWN, OTHER, THIRD = "0wn0wn0wn0wn0wn0", "0therr0therr0the", "th1rdth1rdth1rdt"
T_OTHER, NO_OTHER = f"t{OTHER}", "KN-0THE-RR0T-HERR"
T_THIRD, NO_THIRD = f"t{THIRD}", "KN-TH1R-DTH1-RDTH"
NAMED = Named(
    {
        OWN: Heard("Twitter/X", datetime(2026, 5, 3, 5, 30, tzinfo=UTC)),
        OTHER: Heard("JAKI", datetime(2026, 5, 3, 2, 12, tzinfo=UTC)),
        THIRD: Heard("Balai Warga", datetime(2025, 12, 31, 17, 0, tzinfo=UTC)),
    },
    {
        "m1": Decided("merge", datetime(2026, 5, 4, 1, 0, tzinfo=UTC)),
        "s1": Decided("split", datetime(2026, 5, 5, 1, 0, tzinfo=UTC)),
        "p1": Decided("pin", datetime(2027, 1, 5, 1, 0, tzinfo=UTC)),
        "b1": Decided("merge", datetime(2026, 5, 3, 4, 0, tzinfo=UTC), THIRD),
        "b2": Decided("merge", datetime(2026, 5, 3, 4, 0, tzinfo=UTC), OWN),
    },
    {"jalan": "jalan", "hijau": "pohon dan taman"},
)
PLACE = {
    "laporan": OTHER, "selisih_jam": 3, "jarak_m": 12, "jalan": "jalan melati ii", "kelurahan": True, "kelompok": "jalan",
    "kemiripan": 0.21,
}  # fmt: skip
OPENED = {"ticket_id": T_OTHER, "level": "opened", "score": 1000, "explanation": {}}
ACTED = {"alasan": "lubang yang sama", "oleh": "Sari", "sebelumnya": OPENED}

SENTENCES: list[tuple[str, int, dict[str, Any], str]] = [
    ("opened", 1000, {}, "Membuka tiket ini karena tidak ada tiket terbuka yang cocok."),
    (
        "opened", 1000, PLACE | {"menyusul": T_THIRD, "laporan": THIRD, "selisih_jam": 2948},
        f"Membuka tiket ini untuk menyusul tiket {NO_THIRD} yang sudah ditutup: 12 m dari laporan Balai Warga tanggal"
        " 1 Januari pukul 00.00, Jalan Melati II, kelurahan sama, selisih 122 hari, keduanya tentang jalan.",
    ),
    (
        "opened", 1000, {"menyusul": T_THIRD, "laporan": OTHER, "selisih_jam": 60, "foto": True, "kemiripan": 0.0,
         "belum_tuntas": True},
        f"Membuka tiket ini untuk menyusul tiket {NO_THIRD} yang sudah ditutup, karena cocok dengan laporan JAKI tanggal"
        " 3 Mei pukul 09.12: selisih 2 hari, foto sama, katanya belum tuntas.",
    ),
    (
        "opened", 1000, {"menyusul": T_THIRD, "nomor": NO_THIRD},
        f"Membuka tiket ini untuk menyusul tiket {NO_THIRD} yang sudah ditutup: laporannya menyebut nomor {NO_THIRD}.",
    ),
    ("external_ref", 1000, {"nomor": "JK2605030001"}, "Digabung karena nomor CRM-nya sama: JK2605030001."),
    (
        "cited", 1000, {"nomor": NO_THIRD, "lewat": T_THIRD},
        f"Digabung karena laporannya menyebut nomor tiket {NO_THIRD}, lewat tiket {NO_THIRD} yang laporannya sudah"
        " dipindahkan ke tiket ini.",
    ),
    (
        "same_photo", 990, {"laporan": OTHER, "selisih_jam": 0, "kelompok": "hijau", "foto": True, "kemiripan": 0.1},
        "Digabung karena fotonya sama dengan laporan JAKI tanggal 3 Mei pukul 09.12: selisih kurang dari satu jam, keduanya"
        " tentang pohon dan taman (keyakinan 0,99).",
    ),
    (
        "same_author_text", 999, {"laporan": OTHER, "selisih_jam": 47, "pelapor": True, "kemiripan": 1.0},
        "Digabung karena pelapornya sama dan kata-katanya hampir sama dengan laporan JAKI tanggal 3 Mei pukul 09.12: selisih"
        " 47 jam, 100% katanya sama (keyakinan 0,99).",
    ),
    (
        "near_text", 657, {"laporan": OTHER, "selisih_jam": 5, "jarak_m": 1249, "kemiripan": 0.66, "jalan": None},
        "Digabung karena kata-katanya hampir sama: 1,2 km dari laporan JAKI tanggal 3 Mei pukul 09.12, jalan atau perumahan"
        " sama, selisih 5 jam, 66% katanya sama (keyakinan 0,66).",
    ),
    (
        "place_time", 742, PLACE,
        "Digabung karena tempat, waktu dan masalahnya sama: 12 m dari laporan JAKI tanggal 3 Mei pukul 09.12, Jalan Melati"
        " II, kelurahan sama, selisih 3 jam, keduanya tentang jalan (keyakinan 0,74).",
    ),
    (
        "place_time", 612,
        {"laporan": OTHER, "selisih_jam": 1, "jalan": "gang hr musa 12a", "kelurahan": True, "nomor_rumah": True,
         "rt_rw": True, "patokan": True, "pelapor": True, "foto": True, "kelompok": "satwa_liar", "kemiripan": 0.5,
         "lewat": T_THIRD},
        "Digabung karena tempat, waktu dan masalahnya sama dengan laporan JAKI tanggal 3 Mei pukul 09.12: Gang HR Musa 12A,"
        " nomor rumah sama, RT dan RW sama, patokan sama, kelurahan sama, selisih 1 jam, keduanya tentang satwa liar, pelapor"
        f" sama, foto sama, 50% katanya sama (keyakinan 0,61), lewat tiket {NO_THIRD} yang laporannya sudah dipindahkan ke"
        " tiket ini.",
    ),
    (
        "bridge", 1000, ACTED | {"keputusan": "b1", "oleh": "pipeline", "alasan": f"laporan {THIRD} cocok dengan keduanya"},
        "Tiketnya ternyata satu masalah dengan tiket ini: laporan Balai Warga tanggal 1 Januari pukul 00.00 cocok dengan"
        f" keduanya; sebelumnya di tiket {NO_OTHER}: membuka tiket itu karena tidak ada tiket terbuka yang cocok.",
    ),
    (
        "bridge", 1000, {"keputusan": "b2", "sebelumnya": OPENED},
        "Tiketnya ternyata satu masalah dengan tiket ini: laporan ini cocok dengan keduanya; sebelumnya di tiket"
        f" {NO_OTHER}: membuka tiket itu karena tidak ada tiket terbuka yang cocok.",
    ),
    (
        "decision", 1000, ACTED | {"keputusan": "m1"},
        "Tiketnya digabung ke tiket ini oleh Sari pada 4 Mei pukul 08.00 dengan alasan “lubang yang sama”; sebelumnya di"
        f" tiket {NO_OTHER}: membuka tiket itu karena tidak ada tiket terbuka yang cocok.",
    ),
    (
        "decision", 1000,
        {"keputusan": "s1", "oleh": "Budi", "alasan": "lubang  lain,\nseberang jalan",
         "sebelumnya": {"ticket_id": T_THIRD, "level": "decision", "score": 1000, "explanation": {
             "keputusan": "m1", "oleh": "Sari", "sebelumnya": {
                 "ticket_id": T_OTHER, "level": "place_time", "score": 742, "explanation": PLACE | {"lewat": T_THIRD}}}}},
        "Dipisahkan ke tiket ini oleh Budi pada 5 Mei pukul 08.00 dengan alasan “lubang lain, seberang jalan”; sebelumnya di"
        f" tiket {NO_THIRD}: tiketnya digabung ke tiket itu oleh Sari pada 4 Mei pukul 08.00; sebelumnya di tiket {NO_OTHER}:"
        " digabung karena tempat, waktu dan masalahnya sama: 12 m dari laporan JAKI tanggal 3 Mei pukul 09.12, Jalan Melati"
        f" II, kelurahan sama, selisih 3 jam, keduanya tentang jalan (keyakinan 0,74), lewat tiket {NO_THIRD} yang laporannya"
        " sudah dipindahkan ke tiket itu.",
    ),
    (
        "decision", 1000, {"keputusan": "p1", "oleh": "Sari", "alasan": "fotonya lubang ini"},
        "Dipasang di tiket ini oleh Sari pada 5 Januari 2027 pukul 08.00 dengan alasan “fotonya lubang ini”.",
    ),
    # as links of earlier versions hold them, and as none does
    (
        "place_time", 870, {"selisih_jam": 0, "kelompok": "jalan", "jarak_m": 10},
        "Digabung karena tempat, waktu dan masalahnya sama: jarak 10 m, selisih kurang dari satu jam, keduanya tentang jalan"
        " (keyakinan 0,87).",
    ),
    ("place_time", 870, {}, "Digabung karena tempat dan waktunya sama (keyakinan 0,87)."),
    (
        "near_text", 910, {"kemiripan": 0.91, "laporan": "g0neg0neg0neg0ne"},
        "Digabung karena kata-katanya hampir sama dengan laporan g0neg0neg0neg0ne: 91% katanya sama (keyakinan 0,91).",
    ),
    ("same_author_text", 1000, {"selisih_jam": 4},
     "Digabung karena pelapornya sama dan kata-katanya hampir sama: selisih 4 jam (keyakinan 1,00)."),
    ("external_ref", 1000, {}, "Digabung karena nomor CRM-nya sama."),
    ("cited", 1000, {}, "Digabung karena laporannya menyebut nomor tiket."),
    ("bridge", 1000, {"alasan": "laporan x cocok dengan keduanya"},
     "Tiketnya ternyata satu masalah dengan tiket ini: laporan x cocok dengan keduanya."),
    ("bridge", 1000, {}, "Tiketnya ternyata satu masalah dengan tiket ini."),
    ("decision", 1000, {}, "Dipindahkan ke tiket ini."),
    ("decision", 1000, {"sebelumnya": {}}, "Dipindahkan ke tiket ini; sebelumnya: digabung karena cocok."),
    ("masa_depan", 700, {"laporan": OTHER}, "Digabung karena cocok dengan laporan JAKI tanggal 3 Mei pukul 09.12."),
]  # fmt: skip


@pytest.mark.parametrize(("level", "score", "explanation", "sentence"), SENTENCES)
def test_every_level_has_its_sentence(level: str, score: int, explanation: dict[str, Any], sentence: str) -> None:
    assert because(level, score, explanation, NAMED, OWN) == sentence


def test_the_sentences_above_are_of_every_level_there_is() -> None:
    told = re.sub(r"\([^)]*\)", "", describe(LINKS.field("level")))
    assert {level.strip() for level in told.split("|")} == {level for level, *_ in SENTENCES} - {"masa_depan"}


def test_a_year_is_told_where_it_is_not_the_reports_own() -> None:
    why = {"laporan": THIRD}
    of_2025 = (
        "Digabung karena fotonya sama dengan laporan Balai Warga tanggal 1 Januari 2026 pukul 00.00 (keyakinan 0,99)."
    )
    assert because("same_photo", 990, why, NAMED) == of_2025
    assert because("same_photo", 990, why, NAMED, OWN) == of_2025.replace(" 2026", "")


def test_what_a_decision_did_to_a_link_and_took_back_is_told_as_linking_writes_it() -> None:
    link = Link(OWN, T_OTHER, "place_time", 742, orjson.dumps(PLACE).decode(), 7)
    moved = link.decided("m1", T_THIRD, actor="Sari", reason="lubang yang sama").because({"nomor_rumah": True})
    linked = (
        "igabung karena tempat, waktu dan masalahnya sama: 12 m dari laporan JAKI tanggal 3 Mei pukul 09.12, Jalan Melati II,"
        "{} kelurahan sama, selisih 3 jam, keduanya tentang jalan (keyakinan 0,74)."
    )
    assert _told(moved) == (
        "Tiketnya digabung ke tiket ini oleh Sari pada 4 Mei pukul 08.00 dengan alasan “lubang yang sama”; sebelumnya di"
        f" tiket {NO_OTHER}: d{linked.format(' nomor rumah sama,')}"
    )
    assert _told(moved.restored()) == f"D{linked.format(' nomor rumah sama,')}"
    assert _told(link.led_on(T_THIRD)) == (
        f"D{linked.format('')[:-1]}, lewat tiket {NO_OTHER} yang laporannya sudah dipindahkan ke tiket ini."
    )


def _told(link: Link) -> str:
    return because(link.level, link.score, orjson.loads(link.explanation), NAMED, OWN)


def test_every_group_of_the_taxonomy_has_a_name_that_people_read() -> None:
    models = default_models_dir()
    names = group_names(models)
    assert set(taxonomy(models).groups.values()) - names.keys() == set()
    assert [name for name in names.values() if "_" in name] == []


# --- whatever an explanation lacks ---

ids = st.sampled_from([OWN, OTHER, THIRD, "g0neg0neg0neg0ne"])
words = st.text(alphabet="abi1. \n“é")
reasons = st.fixed_dictionaries(
    {},
    optional={
        "laporan": ids, "selisih_jam": st.integers(0, 10_000), "jarak_m": st.integers(0, 60_000),
        "jalan": st.none() | words, "kelurahan": st.just(True), "nomor_rumah": st.just(True), "rt_rw": st.just(True),
        "patokan": st.just(True), "pelapor": st.just(True), "foto": st.just(True), "kelompok": words, "belum_tuntas": st.just(True),
        "kemiripan": st.floats(0, 1), "nomor": words, "menyusul": ids.map("t{}".format), "lewat": ids.map("t{}".format),
        "alasan": words, "oleh": words, "keputusan": st.sampled_from([*NAMED.decisions, "x"]),
    },
)  # fmt: skip
levels = st.sampled_from(sorted({level for level, *_ in SENTENCES}))


def before(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    link = st.fixed_dictionaries(
        {},
        optional={"ticket_id": ids.map("t{}".format), "level": levels, "score": st.integers(), "explanation": inner},
    )
    return st.builds(lambda why, was: {**why, "sebelumnya": was}, reasons, link)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from([*PLACE, *ACTED, "lewat", "explanation"]), inner),
    max_leaves=12,
)


@given(levels, st.integers(0, 1000), st.recursive(reasons, before, max_leaves=4), st.sampled_from([NAMED, Named()]))
def test_any_part_of_an_explanation_makes_one_whole_sentence(
    level: str, score: int, why: dict[str, Any], named: Named
) -> None:
    sentence = because(level, score, why, named, OWN)
    assert re.match(r"(Digabung|Membuka|Tiketnya|Dipindahkan|Dipisahkan|Dipasang) ", sentence)
    assert sentence.endswith(".")
    assert sentence == " ".join(sentence.split())
    assert [word for word in ("None", "True", "{") if word in sentence] == []


@given(st.text(), st.integers(), st.dictionaries(st.sampled_from([*PLACE, *ACTED, "nomor", "menyusul"]), anything))
def test_what_no_linker_wrote_is_told_as_far_as_it_can_be(level: str, score: int, why: dict[str, Any]) -> None:
    assert because(level, score, why, NAMED, OWN).startswith("Digabung karena cocok")


@given(reasons, st.data())
def test_what_is_left_out_of_an_explanation_is_left_out_of_the_sentence_and_nothing_else(
    why: dict[str, Any], data: st.DataObject
) -> None:
    flags = [name for name in ("nomor_rumah", "rt_rw", "patokan", "kelurahan") if name in why]
    left = data.draw(st.sampled_from(flags)) if flags else None
    words = {"nomor_rumah": "nomor rumah sama", "rt_rw": "RT dan RW sama", "patokan": "patokan sama", None: ""}
    fact = words.get(left, "kelurahan sama")
    whole = because("same_photo", 990, {"selisih_jam": 3, "jarak_m": 2} | why, NAMED, OWN)
    less = because("same_photo", 990, {"selisih_jam": 3, "jarak_m": 2} | {k: v for k, v in why.items() if k != left},
                   NAMED, OWN)  # fmt: skip
    assert less == whole.replace(f", {fact}", "", 1) if left else less == whole
