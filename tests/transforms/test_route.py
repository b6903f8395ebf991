"""Route on written cases (cases/route.tsv), and the promises that hold for any report."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from read_cases import cases

from pipelines.contracts import column
from pipelines.knowledge import Knowledge
from pipelines.transforms.agency import Chosen, Opinion, Trust, choose
from pipelines.transforms.route import Phrases, fold, phrases, route


def located(reports: pd.DataFrame, knowledge: Knowledge, codes: list[str | None], **given: list[Any]) -> pd.DataFrame:
    """The reports as locate would give them: certain of `codes`."""
    gazetteer = knowledge.gazetteer
    rows = [gazetteer.row_of[c] if c else None for c in codes]
    place = {
        "category": [None] * len(rows),
        "kelurahan_code": codes,
        "kecamatan_code": [None if r is None else gazetteer.kecamatan_of[r] for r in rows],
        "kota_code": [None if r is None else gazetteer.kota_of[r] for r in rows],
        "place_method": ["none" if r is None else "named" for r in rows],
        "place_confidence": [0.0 if r is None else 0.9 for r in rows],
        "agency_model": [None] * len(rows),
        "agency_runner_up": [None] * len(rows),
        "agency_sure": [0.0] * len(rows),
    } | {name: [None] * len(rows) for name in ("street", "house_number", "block", "estate", "hamlet", "rt", "landmark")}
    numbers = ("place_confidence", "agency_sure")
    return reports.assign(
        **{k: pd.Series(v, dtype=float if k in numbers else object) for k, v in (place | given).items()}
    )


@pytest.mark.parametrize("case", cases("route"), ids=lambda c: f"{c['category']}: {c['text'][:30]}")
def test_a_written_case_goes_to_whom_it_says(
    case: dict, own_knowledge: Knowledge, reports: Callable[..., pd.DataFrame]
) -> None:
    frame = located(reports([case["text"]]), own_knowledge, [case["kelurahan"]], category=[case["category"]])
    routed = route(frame, routing=own_knowledge.routing, accept_place=0.5)
    found = {c: column(routed, c)[0] for c in ("agency_id", "unit", "route_rule", "emergency_rule", "emergency")}
    assert found == {
        "agency_id": case["agency"], "unit": case["unit"], "route_rule": case["rule"], "emergency_rule": case["alarm"],
        "emergency": case["alarm"] is not None,
    }  # fmt: skip


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_every_report_gets_an_agency_a_unit_and_somebody_who_looks_first(
    data: st.DataObject, own_knowledge: Knowledge, reports: Callable[..., pd.DataFrame]
) -> None:
    routing = own_knowledge.routing
    said = sorted({p for r in routing.rules for p in (r.any or ())})
    text = data.draw(st.text(max_size=80) | st.lists(st.sampled_from(said), max_size=6).map(" ".join))
    category = data.draw(st.none() | st.sampled_from(sorted(own_knowledge.taxonomy.names)) | st.just("unknown"))
    code = data.draw(st.none() | st.sampled_from(own_knowledge.gazetteer.codes))
    channel = data.draw(st.sampled_from([*routing.channels, "baru"]))
    frame = located(reports([text], channel=[channel]), own_knowledge, [code], category=[category])
    routed = route(frame, routing=routing, accept_place=0.5)
    row = {c: column(routed, c)[0] for c in routed}
    rule = next(r for r in routing.rules if r.id == row["route_rule"])
    assert row["agency_id"] == rule.agency
    assert not rule.categories or category in rule.categories
    assert row["agency_id"] in routing.agencies
    assert row["unit"]
    assert row["intake_unit"]
    assert 0 <= row["completeness"] <= 1
    assert row["emergency"] == (row["emergency_rule"] is not None)


def test_the_kelurahan_looks_first_where_the_channel_brings_a_point_else_its_admin(
    own_knowledge: Knowledge, reports: Callable[..., pd.DataFrame]
) -> None:
    frame = located(
        reports(["lubang"] * 3, channel=["jaki", "jaki", "email"]), own_knowledge,
        ["31.74.01.1001", None, "31.74.01.1001"],
    )  # fmt: skip
    routed = route(frame, routing=own_knowledge.routing, accept_place=0.5)
    channels = own_knowledge.channels
    assert column(routed, "intake_unit") == [
        "Kelurahan Tebet Timur", channels["jaki"].responsible, channels["email"].responsible,
    ]  # fmt: skip


def test_completeness_counts_what_an_officer_needs(
    own_knowledge: Knowledge, reports: Callable[..., pd.DataFrame]
) -> None:
    long = "Lubang cukup dalam di tengah jalan dan sudah membuat dua motor terjatuh"
    frame = located(
        reports(["", "x" * 30, long, long, long], attachment_count=[0, 0, 0, 0, 2]), own_knowledge,
        [None, None, "31.74.01.1001", "31.74.01.1001", "31.74.01.1001"],
        place_confidence=[0.0, 0.0, 0.9, 0.3, 0.9], street=[None, None, None, None, "jalan kenanga"],
        house_number=[None, None, None, None, "12A"],
    )  # fmt: skip
    routed = route(frame, routing=own_knowledge.routing, accept_place=0.5)
    assert column(routed, "completeness") == [0.0, 0.2, 0.7, 0.55, 1.0]


@pytest.mark.parametrize(
    ("told", "share"),
    [
        ({}, 0.0),
        ({"street": "jalan kenanga"}, 0.5),
        ({"landmark": "SDN Contoh 03 Pagi"}, 0.5),
        ({"address_text": "dekat warung"}, 0.5),
        ({"street": "jalan kenanga", "house_number": "12A"}, 1.0),
        ({"estate": "perumahan kenanga", "block": "C2"}, 1.0),
        ({"hamlet": "kampung kenanga", "rt": 5}, 1.0),
        ({"street": "jalan kenanga", "landmark": "Stasiun Tebet"}, 1.0),
        ({"lat": -6.2}, 1.0),
    ],
)
def test_two_things_that_lead_to_the_spot_are_as_good_as_a_point(
    told: dict, share: float, own_knowledge: Knowledge, reports: Callable[..., pd.DataFrame]
) -> None:
    given = {name: [value] for name, value in told.items()}
    frame = located(reports([""]), own_knowledge, [None], **given)
    routed = route(frame, routing=own_knowledge.routing, accept_place=0.5)
    assert column(routed, "completeness") == [round(0.15 * share, 3)]


@pytest.mark.parametrize(
    ("category", "method", "sure", "reason"),
    [
        ("jalan", "named", 0.9, None), ("jalan", "named", 0.4, "lokasi_tidak_yakin"),
        ("jalan", "ambiguous", 0.3, "lokasi_tidak_yakin"), ("jalan", "none", 0.0, "lokasi_tidak_ada"),
        ("jalan", "outside", 0.9, "di_luar_wilayah"), (None, "named", 0.9, "kategori_tidak_yakin"),
        (None, "none", 0.0, "kategori_tidak_yakin,lokasi_tidak_ada"),
    ],
)  # fmt: skip
def test_a_person_looks_where_the_machine_is_unsure(
    category: str | None, method: str, sure: float, reason: str | None, own_knowledge: Knowledge,
    reports: Callable[..., pd.DataFrame],
) -> None:  # fmt: skip
    frame = located(
        reports(["lubang"]), own_knowledge, [None], category=[category], place_method=[method], place_confidence=[sure]
    )
    assert column(route(frame, routing=own_knowledge.routing, accept_place=0.5), "review_reason") == [reason]


@given(
    st.lists(st.sampled_from(["lampu", "merah", "mati", "jalan", "rusak", "got", "umbul2", "m2"]), max_size=12),
    st.sets(
        st.lists(st.sampled_from(["lampu", "merah", "mati", "jalan", "rusak", "umbul"]), min_size=1, max_size=4).map(
            " ".join
        )
    ),
)
def test_one_pass_finds_what_a_search_for_each_phrase_finds(words: list[str], wanted: set[str]) -> None:
    said = fold(" ".join(words))
    assert Phrases(wanted).within(said) == {p for p in wanted if f" {p} " in f" {' '.join(said)} "}


def test_a_word_said_twice_is_written_with_a_two() -> None:
    assert fold("Umbul2, gorong2 12 m2 B2") == ["umbul", "umbul", "gorong", "gorong", "12", "m2", "b2"]
    assert phrases(["Umbul-umbul", ""]) == {"umbul umbul"}
    assert phrases([]) is None


# --- which judgement names the agency ---

TEBET = "31.74.01.1001"
SELATAN = "Kota Administrasi Jakarta Selatan"
# Rule `taman` (pertamanan, not certain) holds for the first, `lampu_jalan` (bina_marga, certain) for the second.
POND, LAMP = ("Kolam resapan meluap", "taman"), ("Lampu jalan padam seminggu", "penerangan_listrik")
JUDGED = ("agency_id", "unit", "agency_source", "agency_confidence", "route_rule", "review_reason")


def judged(
    said: tuple[str, str], knowledge: Knowledge, reports: Callable[..., pd.DataFrame], *, channel: str = "jaki",
    reported: str | None = None, status: str | None = None, **model: Any,
) -> tuple[Any, ...]:  # fmt: skip
    """How one report in Tebet Timur is routed; model: agency_model and agency_sure."""
    frame = reports([said[0]], channel=[channel], agency_reported=[reported], status_reported=[status])
    frame = located(frame, knowledge, [TEBET], category=[said[1]], **{k: [v] for k, v in model.items()})
    routed = route(frame, routing=knowledge.routing, accept_place=0.5)
    assert "agency_sure" not in routed
    return tuple(column(routed, c)[0] for c in JUDGED)


def test_without_a_head_for_agencies_the_rule_decides_with_its_own_confidence(
    own_knowledge: Knowledge, reports: Callable[..., pd.DataFrame]
) -> None:
    trust = own_knowledge.routing.trust
    taman = f"Suku Dinas Pertamanan dan Hutan Kota {SELATAN}"
    assert judged(POND, own_knowledge, reports) == ("pertamanan", taman, "rule", trust.rule, "taman", None)
    lamp = f"Suku Dinas Bina Marga {SELATAN}"
    assert judged(LAMP, own_knowledge, reports) == ("bina_marga", lamp, "rule", trust.certain, "lampu_jalan", None)
    weak = judged(("Mohon dibantu", "lainnya"), own_knowledge, reports)
    assert weak[2:5] == ("rule", 0.35, "lainnya")


def test_a_certain_rule_goes_before_a_sure_model_and_a_clerk(
    own_knowledge: Knowledge, reports: Callable[..., pd.DataFrame]
) -> None:
    alone = judged(LAMP, own_knowledge, reports)
    assert judged(LAMP, own_knowledge, reports, agency_model="sda", agency_sure=0.99) == alone
    assert judged(LAMP, own_knowledge, reports, channel="pendopo", reported="Dinas Sosial") == alone


def test_a_sure_model_goes_before_a_rule_that_is_not_certain_and_the_unit_follows(
    own_knowledge: Knowledge, reports: Callable[..., pd.DataFrame]
) -> None:
    def told(agency: str, said: tuple[str, str] = POND) -> tuple[Any, ...]:
        return judged(said, own_knowledge, reports, agency_model=agency, agency_sure=0.9)

    assert told("sda") == ("sda", f"Suku Dinas Sumber Daya Air {SELATAN}", "model", 0.9, "taman", None)
    assert told("kelurahan")[:3] == ("kelurahan", "Kelurahan Tebet Timur", "model")
    # A label that is a unit or company names the agency it belongs to, and stands as the unit.
    assert told("pam_jaya")[:3] == ("bp_bumd", "Perumda Air Minum Jaya", "model")
    # Of one agency the rules may know the unit.
    keeper = ("Juru parkir minta uang", "parkir_liar")
    assert told("perhubungan", keeper)[:3] == ("perhubungan", "Unit Pengelola Perparkiran", "model")


def test_an_unsure_model_leaves_the_rule_and_a_person_looks_where_they_differ(
    own_knowledge: Knowledge, reports: Callable[..., pd.DataFrame]
) -> None:
    trust = own_knowledge.routing.trust

    def told(agency: str, sure: float, said: tuple[str, str] = POND) -> tuple[Any, ...]:
        return judged(said, own_knowledge, reports, agency_model=agency, agency_sure=sure)[2:]

    assert told("sda", trust.accept - 0.01) == ("rule", trust.rule, "taman", "instansi_tidak_yakin")
    assert told("sda", trust.doubt) == ("rule", trust.rule, "taman", "instansi_tidak_yakin")
    assert told("sda", trust.doubt - 0.01) == ("rule", trust.rule, "taman", None)
    assert told("up_ragunan", 0.8) == ("rule", 0.8, "taman", None)  # of the same agency: both say so
    assert told("sda", 0.6, LAMP) == ("rule", trust.certain, "lampu_jalan", None)


@pytest.mark.parametrize(
    ("channel", "status", "label", "agency", "unit", "source"),
    [
        # clerks at desks and in the national system are believed, citizens' tags are not
        ("pendopo", None, "Dinas Sosial", "dinsos", f"Suku Dinas Sosial {SELATAN}", "reported"),
        ("lapor", "Menunggu", "dinas  SOSIAL", "dinsos", f"Suku Dinas Sosial {SELATAN}", "reported"),
        ("twitter", None, "Dinas Sosial", "pertamanan", f"Suku Dinas Pertamanan dan Hutan Kota {SELATAN}", "rule"),
        ("jaki", "Menunggu", "Kelurahan Tebet Timur", "pertamanan", f"Suku Dinas Pertamanan dan Hutan Kota {SELATAN}", "rule"),
        # whoever acts already is a fact, by whatever channel
        ("jaki", "Proses", "Kelurahan Tebet Timur", "kelurahan", "Kelurahan Tebet Timur", "reported"),
        ("jaki", "Selesai", "Suku Dinas Sosial Jakarta Selatan", "dinsos", f"Suku Dinas Sosial {SELATAN}", "reported"),
        ("lapor", None, "RSUD Tebet", "dinkes", "Rumah Sakit Umum Daerah", "reported"),
        # who is in no list is nobody
        ("lapor", "Proses", "Pemerintah Provinsi DKI Jakarta", "pertamanan", f"Suku Dinas Pertamanan dan Hutan Kota {SELATAN}", "rule"),
    ],
)  # fmt: skip
def test_who_is_named_by_a_clerk_or_acts_already_is_believed(
    channel: str, status: str | None, label: str, agency: str, unit: str, source: str, own_knowledge: Knowledge,
    reports: Callable[..., pd.DataFrame],
) -> None:  # fmt: skip
    found = judged(POND, own_knowledge, reports, channel=channel, status=status, reported=label)
    assert found[:3] == (agency, unit, source)
    trust = own_knowledge.routing.trust
    acted = trust.acted if status not in (None, "Menunggu") else trust.reported
    assert found[3:] == (acted if source == "reported" else trust.rule, "taman", None)


def test_who_acts_already_goes_before_a_certain_rule_and_a_clerk_before_a_sure_model(
    own_knowledge: Knowledge, reports: Callable[..., pd.DataFrame]
) -> None:
    assert judged(LAMP, own_knowledge, reports, reported="Dinas Sosial", status="Koordinasi")[0] == "dinsos"
    found = judged(
        POND, own_knowledge, reports, channel="pendopo", reported="Dinsos", agency_model="sda", agency_sure=0.99
    )
    assert found[:3] == ("dinsos", f"Suku Dinas Sosial {SELATAN}", "reported")


def test_labels_of_another_citys_classifier_name_no_agency(
    own_knowledge: Knowledge, reports: Callable[..., pd.DataFrame]
) -> None:
    assert judged(POND, own_knowledge, reports, agency_model="Dinas Terang", agency_sure=0.99)[0] == "pertamanan"
    frame = located(
        reports(["a", "b"]), own_knowledge, [None, None], agency_model=["sda", "Dinas Terang"],
        agency_runner_up=["Dinas Basah", "dinsos"],
    )  # fmt: skip
    routed = route(frame, routing=own_knowledge.routing, accept_place=0.5)
    assert (column(routed, "agency_model"), column(routed, "agency_runner_up")) == (["sda", None], [None, "dinsos"])


shares = st.floats(0, 1)
agencies = st.sampled_from(["sda", "perhubungan", "up_spll"])
OWNER = {"sda": "sda", "perhubungan": "perhubungan", "up_spll": "perhubungan"}


@given(
    st.builds(Chosen, agencies, st.just("rule"), shares),
    st.builds(Opinion, st.none() | agencies, shares, st.none() | agencies, st.booleans()),
    st.sampled_from(["lapor", "twitter"]),
    st.booleans(),
)
def test_one_of_the_judgements_counts_and_a_person_looks_only_where_two_unsure_ones_differ(
    rule: Chosen, opinion: Opinion, channel: str, certain: bool
) -> None:
    trust = Trust(clerks=frozenset(["lapor"]))
    found, unsure = choose(rule, opinion, channel=channel, certain=certain, trust=trust, owner=OWNER)
    assert found.agency == {"rule": rule.agency, "model": opinion.model, "reported": opinion.reported}[found.source]
    assert found.source != "model" or (opinion.sure >= trust.accept and not certain)
    assert 0 <= found.confidence <= 1
    assert found.source != "reported" or opinion.acted or (channel == "lapor" and not certain)
    if unsure:
        assert found == rule
        assert OWNER[opinion.model or ""] != OWNER[rule.agency]
        assert max(opinion.sure, rule.confidence) < trust.accept
