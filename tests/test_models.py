"""The data files of models/: valid, consistent with each other, and free of anybody's data."""

from __future__ import annotations

import csv
import re
import shutil
import tomllib
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipelines import classifiers
from pipelines import knowledge as known
from pipelines.errors import SettingsError
from pipelines.settings import Settings, default_models_dir
from pipelines.transforms.agency import Trust
from pipelines.transforms.classify import fold_label
from pipelines.transforms.gazetteer import join
from pipelines.transforms.redact import mask
from pipelines.transforms.route import Rule, phrases
from pipelines.transforms.words import hear

MODELS = default_models_dir()
KINDS = {"complaint", "suggestion", "question", "opinion", "appreciation"}
# The sixteen of the published lists of 2019-10, 2019-11 and 2022-09.
CHANNELS = {
    "jaki": True, "qlue": True, "twitter": False, "facebook": False, "email": False, "balai_warga": False, "sms": False,
    "lapor": False, "governor_social": False, "governor_letter": False, "media": False, "pendopo": False,
    "inspektorat": False, "walikota": False, "kecamatan": False, "kelurahan": False,
}  # fmt: skip
# Jakarta with the Kepulauan Seribu: latitude, longitude.
SOUTH, NORTH, WEST, EAST = -6.40, -5.15, 106.35, 107.00


def toml(name: str) -> dict[str, Any]:
    return tomllib.loads((MODELS / name).read_text("utf-8"))


def table(name: str) -> list[dict[str, str]]:
    with (MODELS / "gazetteer" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


KELURAHAN, KECAMATAN, KOTA = table("kelurahan"), table("kecamatan"), table("kota")
LANDMARKS, OUTSIDE, EVERYDAY = table("landmarks"), table("outside"), table("everyday")
CATEGORIES = toml("taxonomy.toml")["category"]
RULES = toml("routing.toml")["rule"]
AGENCIES = toml("agencies.toml")["agency"]
CORPUS = list(classifiers.corpus(MODELS))
LISTS = {
    "category": CATEGORIES, "routing rule": RULES, "agency": AGENCIES, "channel": toml("channels.toml")["channel"],
    "emergency rule": toml("emergency.toml")["rule"], "SLA rule": toml("sla.toml")["rule"],
}  # fmt: skip


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("data")
    return Settings(folder, folder, MODELS, ())


# --- lists --------------------------------------------------------------------------------------


def test_every_file_is_read_into_what_the_pipeline_judges_by(settings: Settings) -> None:
    knowledge = known.load(settings)
    assert len(knowledge.data_version) == 16
    assert known.load(settings).data_version == knowledge.data_version


@pytest.mark.parametrize("name", LISTS)
def test_ids_are_plain_and_named_once(name: str) -> None:
    ids = [entry["id"] for entry in LISTS[name]]
    assert [i for i, n in Counter(ids).items() if n > 1] == []
    assert [i for i in ids if not re.fullmatch(r"[a-z0-9_]+", i)] == []


def test_the_sixteen_official_channels_are_registered(settings: Settings) -> None:
    registry = known.channels(settings)
    assert {c.id: c.geo_tagged for c in registry.values()} == CHANNELS
    assert all(c.name and c.responsible for c in registry.values())
    sightings = Counter(seen for entry in LISTS["channel"] for seen in entry["seen_in"])
    assert sightings == {"2019-10": 11, "2019-11": 13, "2022-09": 13}  # 2019-10 names the website as a twelfth


def test_a_channel_claims_no_dates_that_no_source_gives() -> None:
    assert [c["id"] for c in LISTS["channel"] if not c["sources"]] == []
    assert [c["id"] for c in LISTS["channel"] if "valid_from" in c or "valid_to" in c] == []


def test_agencies_belong_to_agencies() -> None:
    ids = {a["id"] for a in AGENCIES}
    assert [a["id"] for a in AGENCIES if a.get("parent", a["id"]) not in ids] == []
    assert [
        a["id"] for a in AGENCIES if a["kind"] in ("upt", "rsud", "puskesmas", "bumd") and not a.get("parent")
    ] == []
    assert [n for n, c in Counter(a["name"] for a in AGENCIES).items() if c > 1] == []


# --- taxonomy and routing -----------------------------------------------------------------------


def test_every_category_has_texts_to_learn_from_and_a_rule_that_needs_nothing_else() -> None:
    ids = {c["id"] for c in CATEGORIES}
    assert {p.stem for p in (MODELS / "corpus").glob("*.tsv")} == ids
    fallback = {c for r in RULES if not (r.get("any") or r.get("none") or r.get("area")) for c in r.get("category", ())}
    assert fallback == ids


def test_a_label_names_one_category_and_no_label_is_both_mapped_and_set_aside() -> None:
    labels = Counter(fold_label(x) for c in CATEGORIES for x in {c["id"], c["name"], *c.get("aliases", ())})
    written = {fold_label(x) for c in CATEGORIES for x in (c["id"], c["name"], *c.get("aliases", ()))}
    owners = {
        label: {c["id"] for c in CATEGORIES if label in map(fold_label, (c["id"], c["name"], *c["aliases"]))}
        for label in written
    }
    assert {label: own for label, own in owners.items() if len(own) > 1} == {}
    assert labels.keys() & {fold_label(x) for x in toml("taxonomy.toml")["unmapped"]["labels"]} == set()


@pytest.fixture
def slipped(tmp_path: Path) -> Callable[[str, str, str], Settings]:
    """Settings over a copy of models/ in which the first `old` of a file has become `new`."""

    def make(name: str, old: str, new: str) -> Settings:
        models = tmp_path / "models"
        shutil.copytree(MODELS, models)
        text = (models / name).read_text("utf-8")
        assert old in text
        (models / name).write_text(text.replace(old, new, 1), "utf-8")
        return Settings(tmp_path, tmp_path, models, ())

    return make


SLIPS = [
    ("channels.toml", 'id = "jaki"\n', "", "channels.toml: channel number 1 lacks 'id'"),
    (
        "channels.toml",
        "geo_tagged = true",
        'geo_tagged = "false"',
        "channel 'jaki' is wrong: geo_tagged must be true or",
    ),
    ("channels.toml", 'id = "qlue"', 'id = "jaki"', "channel 'jaki' is there twice"),
    ("taxonomy.toml", 'name = "Jalan"\n', "", "taxonomy.toml: category 'jalan' lacks 'name'"),
    (
        "taxonomy.toml",
        'aliases = ["Jalan Rusak", "Jalan Berlubang"]',
        'aliases = "Jalan Rusak"',
        "'jalan' is wrong: aliases must be",
    ),
    ("taxonomy.toml", 'id = "galian"', 'id = "jalan"', "category 'jalan' is there twice"),
    ("agencies.toml", 'name = "Dinas Bina Marga"\n', "", "agencies.toml: agency 'bina_marga' lacks 'name'"),
    ("routing.toml", 'category = ["jalan"]', 'category = ["jaln"]', "rule 'jalan_marka' names unknown category 'jaln'"),
    (
        "routing.toml",
        'category = ["jalan"]',
        'category = "jalan"',
        "rule 'jalan_marka' is wrong: category must be a list",
    ),
    ("routing.toml", 'category = ["jalan"]', 'kategori = ["jalan"]', "rule 'jalan_marka' has unknown key 'kategori'"),
    ("routing.toml", "[[rule]]", "[rule]", "routing.toml"),
    ("routing.toml", "certain = true", 'certain = "ya"', "is wrong: certain must be true or false"),
    ("routing.toml", "confidence = 0.40", "confidence = 40", "rule 'halte' is wrong: confidence must be a share"),
    ("routing.toml", "reported = 0.80", "reportet = 0.80", r"\[trust\] is wrong: reportet is unknown"),
    ("routing.toml", 'clerks = ["national_system"', 'clerks = ["nasional"', "clerks names 'nasional', and no channel"),
    ("agencies.toml", 'parent = "bina_marga"', 'parent = "bina"', "'up_alkal_bina_marga' names unknown parent 'bina'"),
    ("emergency.toml", "none = [", "nobody = [", "emergency.toml: rule 'bunuh_diri' has unknown key 'nobody'"),
    ("emergency.toml", "lompat + ketinggian", "lompat + tinggian", "names the list 'tinggian', which is not in"),
    ("emergency.toml", "lompat + ketinggian", "lompat", "together must name two lists"),
    ("emergency.toml", '"khawatir*"', '"kh*"', "'kh[*]' must be words in lower case"),
    ("emergency.toml", '"bpk", "babeh"', '"bpk", "gak"', "'gak' must be one word, written once"),
    ("emergency.toml", "window = 12", 'window = "12"', "window must be a number"),
    ("sla.toml", 'applies_to = "all"', 'applies_to = "semua"', "rule 'coordination' is wrong: applies_to 'semua'"),
    ("sla.toml", "channel=lapor", "channel=lapir", "names the channel 'lapir', which is in no registry"),
    ("sla.toml", 'clock = "coordination"', 'clock = "koordinasi"', "clock 'koordinasi' is none of coordination"),
    ("sla.toml", "limit_hours = 6", 'limit_hours = "6"', "limit_hours must be a number"),
    ("sla.toml", "limit_hours = 6\n", "", "rule 'coordination' is wrong: it has no limit"),
    ("matching.toml", "[level.near_text]", "[level.neartext]", r"\[level.near_text\] is missing"),
    (
        "matching.toml",
        "horizon_days = 30",
        'horizon_days = "30"',
        r"\[level.same_photo\] is wrong: horizon_days must be",
    ),
    (
        "matching.toml",
        "[level.cited]",
        "[level.quoted]\n[level.cited]",
        r"\[level.quoted\] is unknown; the levels are cited",
    ),
    ("matching.toml", "min_words = 8", "min_word = 8", r"\[level.near_text\] is wrong: .*min_word"),
    (
        "matching.toml",
        "[group.jalan]",
        "[group.jalanan]",
        r"\[group\] is wrong: \[group.jalan\] is missing; taxonomy.toml",
    ),
    (
        "matching.toml",
        "radius_m = 30",
        "radius_m = -30",
        r"\[group.jalan\] is wrong: radius_m must be a number of 0 or more",
    ),
    ("matching.toml", "points = -3.2", 'points = "-3.2"', r"\[group.jalan\] is wrong: points must be a number"),
    ("matching.toml", "way_other =", "street_other =", r"\[points\] street_other is unknown"),
    ("matching.toml", "late = -2.9", "late = nan", "late must be a number"),
    ("matching.toml", "here_m = 30", "near_m = 30", r"\[bands\] near_m is unknown"),
    ("matching.toml", "late = 0.35", "late = 0.05", r"\[bands\] late must not be below later"),
    ("matching.toml", "here_m = 30", "", r"\[bands\].* lacks 'here_m'"),
    ("matching.toml", "qlue = 40", "glue = 40", r"\[pin\] glue is no channel of channels.toml"),
    ("matching.toml", "runner_up = 0.2", "", r"\[belief\].* lacks 'runner_up'"),
    ("matching.toml", "[belief]", "[trust]", r"the section \[belief\] is missing"),
    ("matching.toml", "pin_m = 150", "", "lacks 'pin_m'"),
    ("matching.toml", "qlue = 40", "qlue = -40", r"\[pin\].* qlue must be a number of 0 or more"),
    ("matching.toml", "[pin]\nqlue", "[pins]\nqlue", r"the section \[pin\] is missing"),
    ("matters.toml", "[parkir]", "[parkiran]", r"matters.toml: \[parkiran\] is wrong: taxonomy.toml has no such group"),
    (
        "matters.toml",
        '"jalan rusak"',
        '"jalan rusak parah"',
        "'jalan rusak parah' must be one word or two, of lower-case",
    ),
    ("matters.toml", '"jalan rusak"', '"Jalan rusak"', "'Jalan rusak' must be one word or two, of lower-case"),
    ("matters.toml", '"jalan rusak"', '"jalan-rusak"', "'jalan-rusak' must be one word or two, of lower-case"),
    ("matters.toml", "words = [", 'words = "lubang"\nwords_ = [', r"\[jalan\] is wrong: words must be a list of texts"),
    ("classifier.toml", "accept = 0.45", "", "classifier.toml"),
    ("classifier.toml", "[thanks]", "[terimakasih]", r"the section \[thanks\] is missing"),
    ("evidence.toml", "twice = 0.1", "twice = 1.1", r"evidence.toml: \[together\] is wrong: twice must be from 0 to 1"),
    ("evidence.toml", "piece = 0.85", "peace = 0.85", r"evidence.toml: \[word\] is wrong: peace is unknown"),
    ("evidence.toml", "stem = 0.45", "", r"evidence.toml: \[believed\] lacks 'stem'"),
    ("evidence.toml", "[also_kecamatan]", "[kecamatan]", r"the section \[also_kecamatan\] is missing"),
    ("language.toml", "id = [", "id = 5\nen_ = [", "language.toml"),
    ("gazetteer/kota.csv", "full_name", "nama", "kota.csv: the column full_name is missing"),
    ("gazetteer/kelurahan.csv", "-5.73369", "-5,73369", "kelurahan.csv"),
]


@pytest.mark.parametrize(("name", "old", "new", "words"), SLIPS)
def test_a_slip_in_a_file_is_told_with_file_and_entry(
    slipped: Callable[[str, str, str], Settings], name: str, old: str, new: str, words: str
) -> None:
    with pytest.raises(SettingsError, match=words) as caught:
        known.load(slipped(name, old, new))
    assert name in str(caught.value)


def test_a_text_of_an_unknown_category_and_a_corpus_without_header_are_told(
    slipped: Callable[[str, str, str], Settings],
) -> None:
    models = slipped("corpus/jalan.tsv", "kind\tagency\ttext\n", "").models_dir
    with pytest.raises(SettingsError, match=r"jalan\.tsv: the first line must name the columns kind, agency and text"):
        list(classifiers.corpus(models))
    (models / "corpus" / "jalan.tsv").write_text("kind\tagency\ttext\nkeluhan\t\tlubang\n", "utf-8")
    with pytest.raises(SettingsError, match=r"jalan\.tsv: line 2 lacks a kind or a text"):
        list(classifiers.corpus(models))
    (models / "corpus" / "jalan.tsv").write_text("kind\tagency\ttext\ncomplaint\tdinas_entah\tlubang\n", "utf-8")
    with pytest.raises(SettingsError, match=r"jalan\.tsv: line 2: 'dinas_entah' is no agency"):
        list(classifiers.corpus(models))
    (models / "corpus" / "jalan.tsv").rename(models / "corpus" / "jaln.tsv")
    with pytest.raises(SettingsError, match=r"jaln\.tsv: 'jaln' is no category of taxonomy\.toml"):
        list(classifiers.corpus(models))


def test_two_categories_with_one_label_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "taxonomy.toml"
    entry = '[[category]]\nid = "{0}"\nname = "{0}"\ngroup = "x"\naliases = ["Lubang"]\n'
    path.write_text(entry.format("jalan") + entry.format("trotoar"), "utf-8")
    with pytest.raises(SettingsError, match="'Lubang' names both jalan and trotoar"):
        known.taxonomy(tmp_path)


def test_every_group_of_categories_has_its_radius_and_horizon_and_its_words() -> None:
    """But for what is nobody's matter in particular."""
    groups = {c["group"] for c in CATEGORIES}
    assert set(toml("matching.toml")["group"]) == groups
    assert set(toml("matters.toml")) == groups - {"lainnya"}


def test_words_of_matters_are_found_as_they_are_written_and_named_once_a_group(settings: Settings) -> None:
    """Endings are taken off before looking: a word that has one would never be found."""
    matching = known.load(settings).matching
    for group, lists in toml("matters.toml").items():
        words = [*lists.get("words", ()), *lists.get("weak", ())]
        assert [w for w, n in Counter(words).items() if n > 1] == [], group
        spoken = hear(pa.array(words), matching).spoken[:, matching.kinds.index(group)]
        assert [w for w, points in zip(words, spoken, strict=True) if not points] == [], group


def test_phrases_of_unfixed_work_are_found_as_they_are_written(settings: Settings) -> None:
    matching = known.load(settings).matching
    phrases_of = toml("matching.toml")["words"]["unfixed"]
    assert hear(pa.array(phrases_of), matching).unfixed.all()
    assert [p for p in phrases_of if p != " ".join(fold_label(p).split())] == []


def test_routing_names_only_what_exists() -> None:
    agencies, categories = {a["id"] for a in AGENCIES}, {c["id"] for c in CATEGORIES}
    parents = {a["id"]: a.get("parent") for a in AGENCIES}
    for rule in RULES:
        assert rule["agency"] in agencies, rule["id"]
        assert set(rule.get("category", ())) <= categories, rule["id"]
        assert set(rule.get("area", ())) <= {k["kota_code"] for k in KOTA}, rule["id"]
        assert rule["why"], rule["id"]
        if "upt" in rule:
            assert parents[rule["upt"]] == rule["agency"], rule["id"]


def test_a_rule_is_certain_by_words_of_the_text_never_by_a_category_alone(settings: Settings) -> None:
    routing = known.load(settings).routing
    certain = [rule for rule in routing.rules if rule.certain]
    assert [rule.id for rule in certain if not rule.any or rule.confidence is not None] == []
    assert len(certain) == 10
    trust = routing.trust
    assert trust.doubt < trust.rule < trust.accept < trust.certain
    assert trust.clerks == {
        "lapor",
        "governor_letter",
        "media",
        "pendopo",
        "inspektorat",
        "walikota",
        "kecamatan",
        "kelurahan",
    }


def test_models_of_an_older_shape_are_read_with_what_is_usual(slipped: Callable[[str, str, str], Settings]) -> None:
    settings = slipped("routing.toml", "\n[trust]\n", "\n[[unread]]\n")
    path = settings.models_dir / "classifier.toml"
    kept = [x for x in path.read_text("utf-8").splitlines() if not x.startswith(("agency = ", "agency_doubt = "))]
    path.write_text("\n".join(kept), "utf-8")
    assert known.load(settings).routing.trust == Trust()


def test_every_routing_rule_can_decide(settings: Settings) -> None:
    """Some category and one of its phrases lead to each rule, past all rules before it."""
    routing = known.load(settings).routing
    reached = set()
    for rule in routing.rules:
        for category in sorted(rule.categories) or [None]:
            rules = routing.by_category.get(category, routing.by_category[None])
            for phrase in sorted(rule.any or {""}):
                found = routing.phrases.within(phrase.split())
                first = next(r for r in rules if _holds(r, found))
                reached.add(first.id)
    assert [r.id for r in routing.rules if r.id not in reached] == []


def _holds(rule: Rule, found: set[str]) -> bool:
    return not (rule.any and rule.any.isdisjoint(found)) and not (rule.none and not rule.none.isdisjoint(found))


def test_no_rule_asks_twice_for_the_same_or_asks_for_what_it_refuses() -> None:
    for rule in (*RULES, *LISTS["emergency rule"]):
        asked, refused = phrases(rule.get("any")) or frozenset(), phrases(rule.get("none")) or frozenset()
        assert len(asked) == len(rule.get("any", ())), rule["id"]
        assert asked.isdisjoint(refused), rule["id"]


def test_whoever_builds_the_crm_reads_every_emergency_rule_with_its_label() -> None:
    page = (Path(__file__).parents[1] / "docs" / "crm.md").read_text("utf-8")
    lacking = [r["id"] for r in LISTS["emergency rule"] if f"| `{r['id']}` | {r['label']} |" not in page]
    assert lacking == []


def test_a_stem_that_finds_a_spelling_of_a_word_finds_that_word_too() -> None:
    """Else "kobong*" would miss a text's "kobong" once that is read as another word."""
    spelled = toml("emergency.toml")["spellings"]
    phrases_of = [*toml("emergency.toml")["words"].values(), toml("emergency.toml")["unless"]]
    phrases_of += [rule.get(key, ()) for rule in LISTS["emergency rule"] for key in ("any", "none")]
    stems = {w[:-1] for some in phrases_of for phrase in some for w in phrase.split() if w.endswith("*")}
    lost = [
        (stem, word)
        for plain, words in spelled.items()
        for word in words
        for stem in stems
        if word.startswith(stem) and not plain.startswith(stem)
    ]
    assert lost == []


def test_thresholds_are_shares_and_a_citizens_choice_is_not_lightly_overruled() -> None:
    limits = toml("classifier.toml")["thresholds"]
    assert all(0 < v < 1 for v in limits.values())
    assert limits["accept"] < limits["override"]
    assert limits["reported"] < limits["override"]


def test_languages_have_words_in_lower_case_named_once() -> None:
    for tag, words in toml("language.toml").items():
        assert words == [w.lower() for w in words], tag
        assert [w for w, n in Counter(words).items() if n > 1] == [], tag


# --- gazetteer ----------------------------------------------------------------------------------


def test_the_province_has_267_kelurahan_44_kecamatan_and_6_kota() -> None:
    assert (len(KELURAHAN), len(KECAMATAN), len(KOTA)) == (267, 44, 6)
    assert len({k["kelurahan_code"] for k in KELURAHAN}) == 267
    assert len({k["kecamatan_code"] for k in KECAMATAN}) == 44
    assert len({k["kota_code"] for k in KOTA}) == 6


def test_codes_are_of_one_system_and_each_lies_below_its_parent() -> None:
    kota = {k["kota_code"]: k["kota"] for k in KOTA}
    kecamatan = {k["kecamatan_code"]: k["kecamatan"] for k in KECAMATAN}
    for row in KELURAHAN:
        assert re.fullmatch(r"31\.\d\d\.\d\d\.1\d{3}", row["kelurahan_code"])
        assert row["kelurahan_code"].startswith(f"{row['kecamatan_code']}.")
        assert row["kecamatan_code"].startswith(f"{row['kota_code']}.")
        assert (kecamatan[row["kecamatan_code"]], kota[row["kota_code"]]) == (row["kecamatan"], row["kota"])
    assert all(k["kecamatan_code"].startswith(f"{k['kota_code']}.") and k["kota_code"] in kota for k in KECAMATAN)
    assert {r["kecamatan_code"] for r in KELURAHAN} == set(kecamatan)
    assert {k["kota_code"]: k["bps_code"] for k in KOTA} == {  # the two systems collide: 31.73 is not 3173
        "31.01": "3101", "31.71": "3173", "31.72": "3175", "31.73": "3174", "31.74": "3171", "31.75": "3172",
    }  # fmt: skip


@pytest.mark.parametrize(
    "rows", [KELURAHAN, KECAMATAN, KOTA, LANDMARKS], ids=["kelurahan", "kecamatan", "kota", "landmarks"]
)
def test_centroids_and_landmarks_lie_in_jakarta(rows: list[dict[str, str]]) -> None:
    astray = [r for r in rows if not (SOUTH < float(r["lat"]) < NORTH and WEST < float(r["lon"]) < EAST)]
    assert astray == []
    assert len({(r["lat"], r["lon"]) for r in rows}) == len(rows)


def test_postcodes_have_five_digits_of_jakarta() -> None:
    assert [r["kelurahan"] for r in KELURAHAN if not re.fullmatch(r"1[0-4]\d{3}", r["postcode"])] == []


def test_a_landmark_lies_in_a_kelurahan_that_exists() -> None:
    assert {r["kelurahan_code"] for r in LANDMARKS} <= {r["kelurahan_code"] for r in KELURAHAN}
    assert len({join(r["landmark"]) for r in LANDMARKS}) == len(LANDMARKS)


@pytest.mark.parametrize(
    ("rows", "name"),
    [(KELURAHAN, "kelurahan"), (KECAMATAN, "kecamatan"), (KOTA, "kota"), (LANDMARKS, "landmark"), (OUTSIDE, "name")],
    ids=["kelurahan", "kecamatan", "kota", "landmarks", "outside"],
)
def test_a_spelling_names_one_row_of_its_file(rows: list[dict[str, str]], name: str) -> None:
    owners: dict[str, set[str]] = {}
    for row in rows:
        for spelling in (row[name], *filter(None, row.get("aliases", "").split("|"))):
            owners.setdefault(join(spelling), set()).add(row[name])
    assert {s: own for s, own in owners.items() if len(own) > 1} == {}
    assert [s for s in owners if len(s) < 4 and s not in {join(r[name]) for r in rows}] == []  # never matched


def test_no_place_outside_is_also_one_inside(settings: Settings) -> None:
    names = known.load(settings).gazetteer.names
    assert {n: m for n, m in names.items() if {x.level for x in m} > {"outside"}} == {}


def test_a_shared_name_is_a_kelurahan_and_its_own_kecamatan_or_kota_and_nothing_else(settings: Settings) -> None:
    gazetteer = known.load(settings).gazetteer
    for name, meanings in gazetteer.names.items():
        codes = sorted((m.code for m in meanings if m.level in ("kelurahan", "kecamatan", "kota")), key=len)
        for wide, narrow in pairwise(codes):
            assert narrow.startswith(wide) or name in SHARED_APART, name


# A kelurahan in one kecamatan that bears the name of another kecamatan.
SHARED_APART = {"jatinegara"}


def test_everyday_names_are_names_of_areas(settings: Settings) -> None:
    names = known.load(settings).gazetteer.names
    for row in EVERYDAY:
        levels = {m.level for m in names.get(join(row["name"]), ())}
        assert levels & {"kelurahan", "kecamatan"}, row
        assert row["because"], row
    assert len({join(r["name"]) for r in EVERYDAY}) == len(EVERYDAY)


# --- corpus -------------------------------------------------------------------------------------


def test_the_corpus_has_2500_texts_that_differ_in_more_than_names_and_numbers() -> None:
    """Names: words with a capital that do not begin the text."""
    masked = {re.sub(r"\d+", "0", re.sub(r"(?<=\S\s)[A-Z]\w*", "X", text)).lower() for *_, text in CORPUS}
    assert len(masked) >= 2_500
    assert len(masked) >= 0.98 * len(CORPUS)


def test_every_line_of_the_corpus_has_a_kind_and_a_text_of_sensible_length() -> None:
    assert {line.kind for line in CORPUS} == KINDS
    for path in sorted((MODELS / "corpus").glob("*.tsv")):
        lines = path.read_text("utf-8").splitlines()
        assert lines[0] == "kind\tagency\ttext", path.name
        assert [line for line in lines if line.count("\t") != 2] == [], path.name
    assert [t for *_, t in CORPUS if not 8 <= len(t) <= 1_000 or t != t.strip()] == []
    assert min(Counter(line.category for line in CORPUS).values()) >= 50


def test_the_same_text_stands_under_one_category_and_once() -> None:
    assert [t for t, n in Counter(t.lower() for *_, t in CORPUS).items() if n > 1] == []


def test_the_corpus_names_nobody() -> None:
    """No phone, NIK, plate, mail address, account or link; the province's own account may be called upon."""
    assert [t for *_, t in CORPUS if mask(t) != t] == []
    accounts = {a.lower() for *_, t in CORPUS for a in re.findall(r"(?<!\w)@(\w+)", t)}
    assert accounts <= {"dkijakarta"}
    assert [t for *_, t in CORPUS if re.search(r"https?://|www\.|(?<!JK)(?<!\d)\d{7}", t)] == []


def test_the_classifiers_version_follows_corpus_and_config(tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "classifier.toml").write_text("[training]\n", "utf-8")
    (tmp_path / "corpus" / "jalan.tsv").write_text("kind\ttext\ncomplaint\tlubang\n", "utf-8")
    first = classifiers.starter_version(tmp_path)
    assert classifiers.starter_version(tmp_path) == first
    (tmp_path / "corpus" / "jalan.tsv").write_text("kind\ttext\ncomplaint\tlubang dalam\n", "utf-8")
    assert classifiers.starter_version(tmp_path) != first
