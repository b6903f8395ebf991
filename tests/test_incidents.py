"""The made-up incidents that linking is measured on, and the measures."""

from __future__ import annotations

import csv
import re
from collections import Counter, defaultdict
from datetime import timedelta
from itertools import combinations, islice
from math import hypot

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.incidents import generate
from benchmarks.incidents.difficulty import best, words
from benchmarks.incidents.export import HEADER, SCHEMA, kanal_toml, row, tables, write
from benchmarks.incidents.knowledge import MAIN, WORDINGS, kinds
from benchmarks.incidents.measures import reachable
from benchmarks.incidents.places import M
from benchmarks.incidents.shapes import COPIES, HARD, Closing, HardPair, Report
from benchmarks.incidents.words import tidy
from pipelines.agreement import Clustering, clustering, evaluate, recall_by
from pipelines.settings import load
from pipelines.sources.headings import fold
from pipelines.sources.mapping import plan_of

COUNT, SEED = 6_000, 5


@pytest.fixture(scope="module")
def items():
    return list(generate(COUNT, SEED))


@pytest.fixture(scope="module")
def reports(items):
    return [i for i in items if isinstance(i, Report) and i.version == 1]


@pytest.fixture(scope="module")
def weeks():
    """Six weeks of reports and what stands between them: long enough for what comes back a month later."""
    return list(generate(60_000, SEED))


# --- the wordings ---


def test_the_wordings_tell_of_over_twenty_five_categories():
    assert len({k.category for k in kinds().values()}) > 25


@pytest.mark.parametrize("wordings", WORDINGS)
def test_every_kind_has_wordings_in_all_styles_with_valid_slots(wordings):
    known = kinds(wordings)
    assert list(known) == list(kinds())
    for name, kind in known.items():
        assert {style for styles in kind.lines.values() for style in styles} == set("axsmd"), name
    lines = _lines(wordings)
    assert len(lines) == len(set(lines)) > 700
    for line in lines:
        slots = re.findall(r"\{(\w+)\}", line)
        assert sorted(s for s in slots if s in ("di", "lok")) in (["di"], ["lok"]), line
        assert set(slots) <= {"di", "lok", "ukur", "sejak"} and line.count("{") == line.count("}") == len(slots), line


def test_no_unseen_wording_is_one_of_the_texts():
    texts, unseen = ({" ".join(re.findall(r"\w+", t.lower())) for t in _lines(w)} for w in WORDINGS)
    assert unseen.isdisjoint(texts)


def _lines(wordings: str) -> list[str]:
    return [t for k in kinds(wordings).values() for m in k.lines.values() for ts in m.values() for t in ts]


@pytest.mark.parametrize("wordings", WORDINGS)
def test_what_many_can_tell_of_has_a_dozen_wordings_that_share_few_words(wordings):
    common = []
    for kind in kinds(wordings).values():
        if kind.size == "one":
            continue
        told = [words(re.sub(r"\{\w+\}", "", t)) for ts in kind.lines[MAIN].values() for t in ts]
        assert len(told) >= 12, kind.name
        common += [len(a & b) / len(a | b) for a, b in combinations(told, 2)]
    assert np.mean(common) < 0.06
    assert np.mean([c > 0.5 for c in common]) < 0.002


# --- the reports ---


def test_the_same_seed_tells_the_same_and_another_does_not(items):
    assert list(islice(generate(COUNT, SEED), 500)) == items[:500]
    assert list(islice(generate(COUNT, SEED + 1), 500)) != items[:500]


def test_each_set_is_told_in_its_own_wordings(reports):
    unseen = [i for i in generate(2_000, SEED, "unseen") if isinstance(i, Report) and i.version == 1]
    assert len(unseen) == 2_000
    for told, own, other in ((unseen, "unseen", "texts"), (reports, "texts", "unseen")):
        assert _share_in(told, other) < 0.01 and _share_in(told, own) > 0.3
    assert not [r.text for r in unseen if re.search(r"[{}]|  | ,|,,", r.text)]


def _share_in(told: list[Report], wordings: str) -> float:
    """How many texts hold a long stretch of one of the wordings."""
    stretches = re.compile(
        "|".join(re.escape(s) for t in _lines(wordings) for s in re.split(r"\{\w+\}", t) if len(s) > 25)
    )
    return float(np.mean([bool(stretches.search(r.text)) for r in told]))


def test_a_larger_set_begins_with_the_smaller_one(items):
    assert list(islice(generate(10 * COUNT, SEED), len(items))) == items


def test_as_many_reports_as_asked_for_in_the_order_in_which_they_were_said(items, reports):
    assert len(reports) == len({r.report_id for r in reports}) == COUNT
    times = [
        i.happened_at if isinstance(i, Closing) else i.edited_at or i.occurred_at
        for i in items
        if not isinstance(i, HardPair)
    ]
    assert times == sorted(times)


def test_shares_are_as_promised(reports):
    assert 0.5 < np.mean([r.lat is None for r in reports]) < 0.65
    assert np.mean([not r.place or r.place in ("area", "road") for r in reports]) < 0.06
    roles = Counter(r.role for r in reports)
    assert 0.07 < roles["near_copy"] / COUNT < 0.14
    assert all(roles[r] > 0.01 * COUNT for r in ("first", "paraphrase", *COPIES, "cited", "late"))
    sizes = Counter(Counter(r.incident for r in reports).values())
    assert sum(n for size, n in sizes.items() if size <= 3) > 0.8 * sum(sizes.values())
    assert 30 <= max(sizes) <= 65
    wrong = [r.category != kinds()[r.kind].label for r in reports if r.category]
    assert 0.1 < np.mean(wrong) < 0.25


def test_no_text_is_left_with_a_slot_or_a_hole(reports):
    for report in reports:
        assert report.text == report.text.strip()
        assert not re.search(r"[{}]|  | ,|,,", report.text), report.text
    assert tidy("gelap  , mohon dicek . ") == "gelap, mohon dicek."


def test_each_kind_of_hard_pair_is_planted_and_its_reports_are_of_two_incidents(weeks):
    told = {i.report_id: i for i in weeks if isinstance(i, Report) and i.version == 1}
    pairs = [i for i in weeks if isinstance(i, HardPair)]
    assert Counter(p.hard for p in pairs).keys() == set(HARD)
    assert len(pairs) > 0.02 * len(told)
    for a, b, hard in ((told[p.a], told[p.b], p.hard) for p in pairs):
        assert a.incident != b.incident
        apart = timedelta(seconds=abs(a.occurred_at - b.occurred_at))
        if hard == "recurring":
            assert timedelta(days=32) <= apart
        else:
            assert apart <= timedelta(days=1)
        if hard == "same_author_two_matters":
            assert a.author == b.author and a.kind != b.kind
        if hard in ("two_on_one_street", "next_door"):
            assert "number" in a.place and "number" in b.place
        if hard == "same_landmark_elsewhere":
            assert "landmark" in a.place and "landmark" in b.place


def test_a_later_version_is_another_text_of_the_same_report(items, reports):
    first = {r.report_id: r for r in reports}
    later = [i for i in items if isinstance(i, Report) and i.version == 2]
    assert later
    for report in later:
        before = first[report.report_id]
        assert report == before._replace(version=2, edited_at=report.edited_at, text=report.text)
        assert report.edited_at > before.occurred_at and report.text != before.text


def test_copies_have_their_sources_words_and_reposts_its_author(reports):
    first = {r.report_id: r for r in reports}
    for copy in (r for r in reports if r.role in COPIES):
        source = first[copy.copy_of]
        assert source.incident == copy.incident and source.occurred_at <= copy.occurred_at
        if copy.role == "cross_post":
            assert copy.text == source.text and copy.channel != source.channel
        if copy.role == "repost":
            assert copy.text.endswith(source.text) and copy.author == source.author
    near = [(r, first[r.copy_of]) for r in reports if r.role == "near_copy"]
    shared = [len(words(a.text) & words(b.text)) / len(words(b.text)) for a, b in near]
    assert np.mean(shared) > 0.9


def test_who_cites_a_report_cites_one_of_the_incident(reports):
    refs = {r.external_ref: r.incident for r in reports if r.external_ref}
    cited = [
        (refs[n], r.incident) for r in reports if r.role == "cited" for n in re.findall(r"JK\d{10}", r.text.upper())
    ]
    assert len(cited) == sum(r.role == "cited" for r in reports) > 50
    assert all(a == b for a, b in cited)


def test_resized_pictures_have_another_hash_and_nearly_the_same_look(reports):
    first = {r.report_id: r for r in reports}
    pairs = [(r, first[r.copy_of]) for r in reports if r.copy_of and r.photo_sha256 and first[r.copy_of].photo_sha256]
    flips = [(int(a.photo_phash, 16) ^ int(b.photo_phash, 16)).bit_count() for a, b in pairs]
    assert max(flips) <= 3
    assert 0.2 < np.mean([a.photo_sha256 == b.photo_sha256 for a, b in pairs]) < 0.8


def test_who_says_that_it_is_not_fixed_says_so_after_the_closing(weeks):
    closed = {i.incident: i for i in weeks if isinstance(i, Closing)}
    again = [i for i in weeks if isinstance(i, Report) and i.role == "not_fixed"]
    assert len(again) > 100
    assert all(r.occurred_at > closed[r.incident].happened_at for r in again)
    first = {i.incident: i.report_id for i in weeks if isinstance(i, Report) and i.role == "first"}
    assert all(c.report_id == first[c.incident] for c in closed.values())


def test_two_incidents_of_one_group_do_not_share_a_street_at_the_same_time_unless_planted(items, reports):
    hard = {frozenset((i.a, i.b)) for i in items if isinstance(i, HardPair)}
    by_street = defaultdict(list)
    for report in (r for r in reports if r.role == "first" and r.lat is not None and kinds()[r.kind].size != "one"):
        by_street[kinds()[report.kind].group].append(report)
    for found in by_street.values():
        for a, b in combinations(found, 2):
            near = hypot(a.lat - b.lat, a.lon - b.lon) / M < 40 and a.accuracy_m and b.accuracy_m
            if near and abs(a.occurred_at - b.occurred_at) < 7_200:
                assert frozenset((a.report_id, b.report_id)) in hard


# --- files ---


def test_exports_hold_every_report_and_kanal_reads_their_settings(tmp_path, items, reports):
    passed = list(write(items, tmp_path))
    assert passed == [i for i in items if isinstance(i, Report)]
    found = load(tmp_path / "kanal.toml")
    rows = 0
    for stream in found.streams:
        with (tmp_path / stream.channel / "laporan.csv").open(encoding="utf-8", newline="") as file:
            rows += sum(1 for _ in csv.DictReader(file))
    assert rows == len(passed)
    with (tmp_path / "truth.csv").open(encoding="utf-8", newline="") as file:
        truth = list(csv.DictReader(file))
    assert [(t["source_ref"], int(t["incident"]), t["role"]) for t in truth] == [
        (r.report_id, r.incident, r.role) for r in reports
    ]
    with pytest.raises(FileExistsError):
        list(write(items, tmp_path))
    assert "jaki" in kanal_toml()


def test_tables_hold_what_was_told(items):
    made = list(tables(iter(items), rows=2_500))
    assert all(t.schema == SCHEMA for t in made) and made[0].num_rows == 2_500
    assert [Report(**row) for t in made for row in t.to_pylist()] == [i for i in items if isinstance(i, Report)]


def test_texts_alone_find_less_than_half(reports):
    sample = [r for r in reports[:1_500] if r.role != "not_fixed"]
    found = best(sample, [r.text for r in sample], words)
    assert found is None or found.score.pair_recall < 0.54


# --- measures ---


def test_a_small_case_by_hand():
    # incidents aaa bb c; tickets: aa | ab | b | c
    incident = np.array(["a", "a", "a", "b", "b", "c"])
    ticket = np.array([1, 1, 2, 2, 3, 4])
    assert clustering(incident, ticket) == pytest.approx(
        Clustering(
            pair_precision=1 / 2, pair_recall=1 / 4, pair_f1=1 / 3, pure=1 / 2, whole=0.0,
            b_cubed_precision=(1 + 1 + 0.5 + 0.5 + 1 + 1) / 6, b_cubed_recall=(2 / 3 + 2 / 3 + 1 / 3 + 1 / 2 + 1 / 2 + 1) / 6,
            b_cubed_f1=2 * (5 / 6) * (11 / 18) / (5 / 6 + 11 / 18), tickets=4, incidents=3, largest=2,
        )
    )  # fmt: skip


LABELS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=40)


@given(LABELS)
def test_the_table_says_what_counting_every_pair_says(labels):
    incident, ticket = (np.array(x) for x in zip(*labels, strict=True))
    pairs = list(combinations(range(len(labels)), 2))
    true = {p for p in pairs if incident[p[0]] == incident[p[1]]}
    told = {p for p in pairs if ticket[p[0]] == ticket[p[1]]}
    found = clustering(incident, ticket)
    assert found.pair_precision == pytest.approx(len(true & told) / len(told) if told else 1)
    assert found.pair_recall == pytest.approx(len(true & told) / len(true) if true else 1)
    both = [np.sum((incident == i) & (ticket == t)) for i, t in labels]
    assert found.b_cubed_precision == pytest.approx(
        np.mean([n / np.sum(ticket == t) for n, (_, t) in zip(both, labels, strict=True)])
    )
    assert found.b_cubed_recall == pytest.approx(
        np.mean([n / np.sum(incident == i) for n, (i, _) in zip(both, labels, strict=True)])
    )
    many = [t for t in set(ticket.tolist()) if np.sum(ticket == t) > 1]
    pure = [len(set(incident[ticket == t])) == 1 for t in many]
    assert found.pure == pytest.approx(np.mean(pure) if pure else 1)


@given(LABELS, st.randoms(use_true_random=False))
def test_neither_order_nor_names_change_a_measure(labels, random):
    names = list(range(6))
    random.shuffle(names)
    shuffled = [(f"i{i}", names[t]) for i, t in labels]
    random.shuffle(shuffled)
    a, b = (clustering(*(np.array(x) for x in zip(*found, strict=True))) for found in (labels, shuffled))
    assert a == pytest.approx(b)


@given(st.lists(st.integers(0, 9), min_size=1))
def test_the_truth_itself_is_perfect(incident):
    labels = np.array(incident)
    perfect = clustering(labels, labels * 7)
    assert set(perfect[:8]) == {1.0} and perfect.tickets == perfect.incidents == len(set(incident))


def _truth(*rows: tuple[str, int, str, str | None]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["report_id", "incident", "role", "copy_of"])


def test_every_figure_of_a_small_set():
    truth = _truth(
        ("a", 1, "first", None), ("b", 1, "paraphrase", None), ("c", 1, "near_copy", "a"), ("d", 2, "first", None),
        ("e", 2, "repost", "d"), ("f", 3, "first", None), ("g", 1, "not_fixed", None), ("h", 2, "not_fixed", None),
    )  # fmt: skip
    hard = pd.DataFrame([("a", "d", "recurring"), ("d", "f", "next_door")], columns=["a", "b", "hard"])
    found = pd.DataFrame(
        [("a", 1, "opened"), ("b", 2, "opened"), ("c", 1, "near_text"), ("d", 3, "opened"), ("e", 2, "place_time"),
         ("f", 3, "place_time"), ("g", 9, "opened"), ("h", 8, "opened")],
        columns=["report_id", "ticket_id", "level"],
    )  # fmt: skip
    scores = evaluate(truth, hard, found, follows={9: 1, 8: 1})
    assert scores.copies == {"near_copy": 1.0, "repost": 0.0, "all": 0.5}
    assert scores.hard == {"recurring": 0.0, "next_door": 1.0, "all": 0.5}
    assert scores.levels == {"near_text": (1, 1.0), "place_time": (2, 0.0)}
    assert scores.followed == 0.5
    assert scores.recall_by_role == {"first": (0.5 + 0) / 2, "paraphrase": 0.0, "near_copy": 0.5, "repost": 0.0}
    assert scores.clustering.pair_precision == 1 / 3 and scores.clustering.pair_recall == 1 / 4


@pytest.mark.parametrize("rows", [[("a", 1)], [("a", 1), ("a", 2), ("b", 1)]])
def test_a_report_without_a_ticket_or_with_two_is_an_error(rows):
    truth = _truth(("a", 1, "first", None), ("b", 1, "paraphrase", None))
    with pytest.raises(ValueError, match="ticket"):
        evaluate(
            truth, pd.DataFrame(columns=["a", "b", "hard"]), pd.DataFrame(rows, columns=["report_id", "ticket_id"])
        )


def test_recall_by_leaves_out_who_stands_alone():
    incident, ticket = np.array([1, 1, 1, 2]), np.array([5, 5, 6, 7])
    assert recall_by(incident, ticket, pd.Series(["x", "y", "y", "z"])) == {"x": 0.5, "y": 0.25}


def test_pairs_are_reachable_through_a_report_that_names_both():
    rows = [
        (1, "point", "first"), (1, "street", "late"), (1, "point+number+street", "late"), (1, "area", "late"),
        (2, "point", "first"), (2, "landmark", "late"), (3, "", "first"), (2, "point", "not_fixed"),
    ]  # fmt: skip
    assert reachable(pd.DataFrame(rows, columns=["incident", "place", "role"])) == 3 / 7


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=2, max_size=30))
def test_one_ticket_for_all_recalls_all(rows):
    incident = np.array([i for i, _ in rows])
    found = clustering(incident, np.zeros(len(rows), dtype=int))
    assert found.pair_recall == found.b_cubed_recall == 1.0 and found.largest == len(rows)


PLACES = st.sampled_from(("", "area", "point", "street", "landmark", "point+number+street", "street+landmark"))


@given(st.lists(st.tuples(st.integers(0, 2), PLACES), min_size=2, max_size=14))
def test_reachable_is_what_walking_from_report_to_report_finds(rows):
    kinds_of = [set(place.split("+")) & {"point", "street", "landmark"} for _, place in rows]
    group = list(range(len(rows)))
    for _ in rows:
        for a, b in combinations(range(len(rows)), 2):
            if rows[a][0] == rows[b][0] and kinds_of[a] & kinds_of[b]:
                group[a] = group[b] = min(group[a], group[b])
    true = [(a, b) for a, b in combinations(range(len(rows)), 2) if rows[a][0] == rows[b][0]]
    met = sum(group[a] == group[b] for a, b in true)
    frame = pd.DataFrame([(i, p, "first") for i, p in rows], columns=["incident", "place", "role"])
    assert reachable(frame) == pytest.approx(met / len(true) if true else 1)


def test_photos_of_an_export_are_hashes_of_the_report(reports, tmp_path):
    (tmp_path / "kanal.toml").write_text(kanal_toml(), "utf-8")
    plans = {s.channel: plan_of(s) for s in load(tmp_path / "kanal.toml").streams}
    told = reports[:500]
    assert 100 < sum(r.photo_sha256 is not None for r in told) < 450
    for report in told:
        cells = zip(HEADER, row(report), strict=True)
        draft = plans[report.channel].draft({fold(name): str(cell) for name, cell in cells if cell is not None})
        photo = {"type": "photo", "sha256": report.photo_sha256, "phash": report.photo_phash, "elsewhere": True}
        assert draft.attachments == ([photo] if report.photo_sha256 else [])
        assert not {"unread", "photo_sha256", "photo_phash"} & draft.extra.keys()
