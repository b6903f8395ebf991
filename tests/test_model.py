"""`kanal model`: an operator's history is learned from, compared, kept or refused, measured and rolled back."""

from __future__ import annotations

import json
import os
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from pipelines import classifiers, history
from pipelines import knowledge as known
from pipelines.classifiers import folder_of, kept, version_in_use
from pipelines.cli import app
from pipelines.commands.common import FAILED
from pipelines.errors import SettingsError
from pipelines.settings import Settings, default_models_dir
from pipelines.training import Corrections, rows_of_corrections
from pipelines.transforms.classify import classify

WORDS = {
    "Lampu Kota": ["lampu taman padam", "penerangan gang mati", "tiang lampu roboh", "gelap gulita tiap malam"],
    "Air Minum": ["keran tidak mengalir", "air keruh bau", "meteran air bocor", "tagihan air melonjak"],
    "Sampah Liar": ["tumpukan sampah bau", "bak sampah penuh", "truk sampah tidak datang", "sampah dibuang di kali"],
}
OFFICE = {"Lampu Kota": "Dinas Terang", "Air Minum": "Dinas Basah", "Sampah Liar": "Dinas Resik"}
MAPPING = """
[columns]
id = "nomor"
text = "isi"
date = "tanggal"
category = "topik"
agency = "dinas"
[labels]
taxonomy = false
corpus = false
"""


@pytest.fixture
def own(tmp_path: Path) -> Settings:
    """An installation of its own, with a starter small enough to be trained here."""
    models = tmp_path / "models"
    (models / "corpus").mkdir(parents=True)
    for path in default_models_dir().iterdir():
        if path.name != "corpus":
            (models / path.name).symlink_to(path)
    for name, said in (("jalan", "jalan berlubang rusak aspal"), ("pohon", "pohon tumbang dahan rimbun")):
        lines = [f"{kind}\tbina_marga\t{said} {n} {kind}" for n in range(12) for kind in ("complaint", "question")]
        (models / "corpus" / f"{name}.tsv").write_text("\n".join(["kind\tagency\ttext", *lines]) + "\n", "utf-8")
    (tmp_path / "kanal.toml").write_text(f'[kanal]\ndata_dir = "data"\nmodels_dir = "{models}"\n', "utf-8")
    return Settings(tmp_path / "kanal.toml", tmp_path / "data", models, ())


def exported(path: Path, rows: int = 400, *, wrong: bool = False, seed: int = 1) -> Path:
    """A made-up city's history; wrong: its labels are drawn by lot."""
    rng = random.Random(seed)
    lines = ["nomor,isi,tanggal,topik,dinas"]
    for i in range(rows):
        topic = rng.choice(list(WORDS))
        said = " ".join(rng.sample([*WORDS[topic], "mohon dicek", "sudah lama", "terima kasih"], 3))
        label = rng.choice(list(WORDS)) if wrong else topic
        lines.append(f"K{i},{said},2024-{1 + i * 12 // rows:02d}-{1 + i % 28:02d},{label},{OFFICE[label]}")
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def mapped(tmp_path: Path, text: str = MAPPING) -> Path:
    path = tmp_path / "mapping.toml"
    path.write_text(text, "utf-8")
    return path


def kanal(settings: Settings, *args: object) -> Result:
    return CliRunner().invoke(app, [*map(str, args), "--config", str(settings.path)])


def trained(settings: Settings, tmp_path: Path, *args: object, data: Path | None = None) -> Result:
    data = data or exported(tmp_path / "history.csv")
    return kanal(settings, "model", "train", "--from", data, "--mapping", mapped(tmp_path), *args)


def told(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_a_version_learned_from_history_judges_from_then_on_and_can_be_rolled_back(
    own: Settings, tmp_path: Path
) -> None:
    starter = version_in_use(own)
    found = told(trained(own, tmp_path, "--json"))
    assert version_in_use(own) == found["version"] != starter
    assert found["heads"]["category"]["rows"] == found["heads"]["agency"]["rows"] == 80
    assert found["heads"]["agency"]["accuracy"] > 0.95
    assert (found["split_day"], found["learned_from"], found["undated"]) == ("2024-10-21", 400, 0)
    folder = folder_of(own, found["version"])
    assert [p for p in folder.rglob("*") if p.suffix in (".pkl", ".pickle")] == []
    component = classifiers.load(folder)
    said = component.predict(["lampu taman padam"])
    assert [said[h].labels[said[h].first[0]] for h in ("category", "agency")] == ["Lampu Kota", "Dinas Terang"]
    assert kanal(own, "model", "rollback").exit_code == 0
    assert version_in_use(own) == starter
    assert kanal(own, "model", "rollback").exit_code == 0
    assert version_in_use(own) == found["version"]
    assert kanal(own, "model", "rollback", "starter").exit_code == 0
    assert version_in_use(own) == starter
    listed = told(kanal(own, "model", "list", "--json"))
    assert listed["active"] == starter
    assert [(v["version"], v["active"]) for v in listed["versions"]] == [(found["version"], False)]


def test_a_worse_version_is_refused_unless_forced(own: Settings, tmp_path: Path) -> None:
    good = told(trained(own, tmp_path, "--json"))["version"]
    confused = exported(tmp_path / "confused.csv", wrong=True, seed=2)
    lines = exported(tmp_path / "later.csv", 100, seed=3).read_text().splitlines()[1:]
    later = [line.replace(",2024-", ",2025-") for line in lines]
    confused.write_text(confused.read_text() + "\n".join(later) + "\n")
    refused = trained(own, tmp_path, data=confused)
    assert refused.exit_code == FAILED
    assert f"refused: it judges worse than {good}" in refused.output
    assert "--force" in refused.output
    assert version_in_use(own) == good
    assert [card["version"] for card in kept(own)] == [good]
    forced = told(trained(own, tmp_path, "--force", "--json", data=confused))
    assert version_in_use(own) == forced["version"] != good
    assert forced["compared"]["category"]["interval"][1] < 0


def test_a_version_is_compared_as_it_was_before_it_learned_from_the_newest_rows(own: Settings, tmp_path: Path) -> None:
    data = exported(tmp_path / "history.csv")
    # November and December are worded as no month before: only who learned from them can be right
    words = {"Lampu Kota": "zamrud ungu", "Air Minum": "topas jingga", "Sampah Liar": "safir kelabu"}
    lines = data.read_text().splitlines()
    for i, line in enumerate(lines):
        number, _, day, topic, office = line.split(",")
        if day >= "2024-11" and i:
            lines[i] = ",".join([number, words[topic], day, topic, office])
    data.write_text("\n".join(lines) + "\n")
    first = told(trained(own, tmp_path, "--json", data=data))
    again = told(trained(own, tmp_path, "--json", "--keep", 3, "--no-refit", data=data))
    assert again["champion"] == first["version"] != again["version"]
    assert again["compared"]["category"] == {"rows": 80, "gain": 0.0, "interval": [0.0, 0.0]}
    assert again["heads"] == first["heads"]
    assert [p for p in folder_of(own, first["version"]).rglob("*") if p.suffix in (".pkl", ".pickle")] == []


def test_rows_that_the_version_in_use_learned_from_before_it_was_judged_compare_nothing(
    own: Settings, tmp_path: Path
) -> None:
    data = exported(tmp_path / "history.csv", 1_000)
    good = told(trained(own, tmp_path, "--json", "--holdout", 0.1, data=data))["version"]
    wider = told(trained(own, tmp_path, "--json", "--holdout", 0.3, "--force", data=data))
    assert (wider["champion"], wider["compared"]["agency"]["rows"]) == (good, 100)
    older = exported(tmp_path / "older.csv", 300)
    older.write_text(older.read_text().replace(",2024-", ",2023-"))
    refused = trained(own, tmp_path, data=older)
    assert refused.exit_code == FAILED
    assert f"only 0 of the newest rows are new to {wider['version']}" in " ".join(refused.output.split())
    newer = exported(tmp_path / "newer.csv", 300)
    newer.write_text(newer.read_text().replace(",2024-", ",2025-"))
    assert told(trained(own, tmp_path, "--json", data=newer))["compared"]["agency"]["rows"] == 60


DECIDED = """
CREATE TABLE reports AS FROM (VALUES
    ('a', NULL, 'lubang menganga di tanjakan', TIMESTAMPTZ '2024-03-01 20:00+00'),
    ('b', 'Tanya', 'dahan menjuntai ke kabel', TIMESTAMPTZ '2024-01-01 00:00+00'),
    ('c', NULL, 'belum diputuskan', TIMESTAMPTZ '2024-01-02 00:00+00'),
    ('d', NULL, 'namanya sudah tidak ada', TIMESTAMPTZ '2024-05-02 00:00+00')
) t(report_id, title, text, occurred_at);
CREATE TABLE review_decisions AS FROM (VALUES
    ('a', 'pohon', 'bina_marga', NULL, TIMESTAMPTZ '2024-06-01 00:00+00'),
    ('a', 'jalan', NULL, NULL, TIMESTAMPTZ '2024-06-02 00:00+00'),
    ('b', 'pohon', NULL, 'question', TIMESTAMPTZ '2024-06-01 00:00+00'),
    ('c', NULL, NULL, NULL, TIMESTAMPTZ '2024-06-01 00:00+00'),
    ('d', 'kategori_lama', NULL, 'complaint', TIMESTAMPTZ '2024-06-01 00:00+00'),
    ('hilang', 'jalan', NULL, NULL, TIMESTAMPTZ '2024-06-01 00:00+00')
) t(report_id, category, agency, kind, decided_at);
"""


def published(settings: Settings, sql: str) -> None:
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    with duckdb.connect(str(settings.analytics)) as con:
        con.execute(sql)


def test_decisions_of_the_review_queue_are_read_with_the_newest_word_on_each_head(own: Settings) -> None:
    assert rows_of_corrections(own) == Corrections()
    published(own, DECIDED)
    assert rows_of_corrections(own) == Corrections(
        texts=["Tanya\ndahan menjuntai ke kabel", "lubang menganga di tanjakan", "namanya sudah tidak ada"],
        days=["2024-01-01", "2024-03-02", "2024-05-02"],
        labels={
            "category": ["pohon", "jalan", None],
            "agency": [None, "bina_marga", None],
            "kind": ["question", None, "complaint"],
        },
    )


def test_a_snapshot_without_decisions_teaches_nothing(own: Settings) -> None:
    published(own, "CREATE TABLE reports (report_id TEXT)")
    assert rows_of_corrections(own) == Corrections()


def test_a_model_learns_what_people_decided_unless_told_not_to(own: Settings, tmp_path: Path) -> None:
    published(
        own,
        "CREATE TABLE reports AS SELECT i::TEXT AS report_id, NULL::TEXT AS title, 'gorong gorong ambles ' || i AS text,"
        " TIMESTAMPTZ '2024-03-01 00:00+00' AS occurred_at FROM range(40) t(i);"
        "CREATE TABLE review_decisions AS SELECT report_id, 'saluran_air' AS category, NULL::TEXT AS agency,"
        " NULL::TEXT AS kind, occurred_at AS decided_at FROM reports",
    )
    data = tmp_path / "own.csv"
    said = [("jalan berlubang parah", "jalan"), ("pohon tumbang besar", "pohon")]
    rows = [f"{said[i % 2][0]} {i},{said[i % 2][1]},2024-{1 + i // 50:02d}-01" for i in range(300)]
    data.write_text("\n".join(["text,category,date", *rows]) + "\n")

    def judged(*args: str) -> tuple[int, str]:
        card = told(kanal(own, "model", "train", "--from", data, "--json", "--force", *args))
        component = classifiers.load(folder_of(own, card["version"]))
        category = component.predict(["gorong gorong ambles"])["category"]
        return card["corrections"], category.labels[category.first[0]]

    assert judged() == (40, "saluran_air")
    without, label = judged("--no-corrections")
    assert (without, label != "saluran_air") == (0, True)


def test_a_correction_is_kept_out_of_training_while_its_own_text_is_asked(own: Settings) -> None:
    decided = Corrections(["a", "b"], ["2024-01-01", "2024-01-02"], {"category": ["jalan", None]})
    assert decided.where([False, True]) == Corrections(["b"], ["2024-01-02"], {"category": [None]})


def test_figures_on_a_file_that_was_learned_from_say_that_they_flatter(own: Settings, tmp_path: Path) -> None:
    told(trained(own, tmp_path, "--json"))
    data = tmp_path / "history.csv"
    result = kanal(own, "model", "evaluate", "--data", data, "--mapping", mapped(tmp_path))
    assert "These figures flatter" in result.output


def test_old_versions_are_removed_but_not_the_one_to_roll_back_to(own: Settings, tmp_path: Path) -> None:
    made = [
        told(
            trained(own, tmp_path, "--json", "--force", "--keep", 1, data=exported(tmp_path / f"{n}.csv", 300, seed=n))
        )
        for n in range(3)
    ]
    assert {card["version"] for card in kept(own)} == {made[1]["version"], made[2]["version"]}
    assert made[2]["removed"] == [made[0]["version"]]
    assert not folder_of(own, made[0]["version"]).exists()
    assert kanal(own, "model", "rollback").exit_code == 0
    assert version_in_use(own) == made[1]["version"]


def test_the_same_history_gives_the_same_version(own: Settings, tmp_path: Path) -> None:
    one, other = (told(trained(own, tmp_path, "--json", "--force")) for _ in range(2))
    assert one["version"] == other["version"]


def test_it_is_measured_on_rows_it_never_saw(own: Settings, tmp_path: Path) -> None:
    told(trained(own, tmp_path, "--json"))
    fresh = exported(tmp_path / "fresh.csv", 120, seed=9)
    fresh.write_text(fresh.read_text() + "K900,lampu taman padam,2025-01-01,Topik Baru,Dinas Terang\n")
    target = tmp_path / "metrics.json"
    result = kanal(own, "model", "evaluate", "--data", fresh, "--mapping", mapped(tmp_path), "--json", target)
    assert result.exit_code == 0, result.output
    found = json.loads(target.read_text())
    category = found["heads"]["category"]
    assert (found["rows"], category["rows"], category["left_out"], category["labels"]) == (121, 120, 1, 3)
    assert category["macro_f1"] > 0.95
    assert set(category["accuracy_at"]) == {"1.0", "0.9", "0.8", "0.7", "0.5"}
    assert found["texts_per_second"] > 0
    assert "Dinas Terang" in result.output
    some = kanal(
        own, "model", "evaluate", "--data", fresh, "--mapping", mapped(tmp_path), "--only", "nomor=K1*", "--json", "-"
    )
    assert json.loads(some.stdout)["rows"] == 31
    other = kanal(own, "model", "evaluate", "--data", fresh, "--mapping", mapped(tmp_path), "--model", "own-none")
    assert (other.exit_code, "kanal model list" in other.output) == (FAILED, True)


def test_labels_of_the_taxonomy_are_found_by_name_and_alias_and_others_are_counted(
    own: Settings, tmp_path: Path
) -> None:
    data = tmp_path / "own.csv"
    rows = ["text,category,agency", "jalan berlubang,Jalan Rusak,DBM", "pohon tumbang,POHON ,Dinas Entah", "apa,Entah,"]
    data.write_text("\n".join(rows) + "\n")
    found = history.read(own, data, history.read_mapping(None), progress=lambda *_: None)
    assert found.labels == {"category": ["jalan", "pohon", None], "agency": ["bina_marga", None, None]}
    assert found.unknown == {"category": {"Entah": 1}, "agency": {"Dinas Entah": 1}}
    assert found.told == {"category": 3, "agency": 2}
    assert found.ids == ["row 2", "row 3", "row 4"]
    named = mapped(tmp_path, '[columns]\ntext = "text"\ncategory = "category"\n[names.category]\nEntah = "jalan"\n')
    assert history.read(own, data, history.read_mapping(named), progress=lambda *_: None).labels == {
        "category": ["jalan", "pohon", "jalan"]
    }


def test_rows_stand_in_the_order_of_their_time_and_undated_ones_first(own: Settings, tmp_path: Path) -> None:
    data = tmp_path / "own.csv"
    rows = [
        "text,category,date",
        "c,jalan,03/02/2024 10:00",
        "x,jalan,kemarin",
        "a,jalan,31/01/2024",
        "b,jalan,01/02/2024",
    ]
    data.write_text("\n".join(rows) + "\n")
    found = history.read(own, data, history.read_mapping(None), progress=lambda *_: None)
    assert (found.texts, found.undated) == (["x", "a", "b", "c"], 1)
    assert found.dates == ["", "2024-01-31", "2024-02-01", "2024-02-03"]


def test_texts_are_masked_before_anything_is_learned_and_written_line_breaks_are_breaks(
    own: Settings, tmp_path: Path
) -> None:
    data = tmp_path / "own.csv"
    data.write_text("text,category\nhubungi 081200000000\\nsegera,jalan\n")
    found = history.read(own, data, history.read_mapping(None), progress=lambda *_: None)
    assert "081200000000" not in found.texts[0]
    assert found.texts[0].endswith("\nsegera")


def test_labels_with_few_rows_are_left_out_of_their_head(own: Settings, tmp_path: Path) -> None:
    data = tmp_path / "own.csv"
    data.write_text("text,category,agency\n" + "a,jalan,sda\n" * 3 + "b,pohon,sda\n")
    mapping = replace(history.read_mapping(None), min_rows={"category": 2})
    found = history.read(own, data, mapping, progress=lambda *_: None)
    assert found.labels == {"category": ["jalan"] * 3 + [None], "agency": ["sda"] * 4}
    assert found.small["category"] == {"pohon": 1}


@pytest.mark.parametrize(
    ("mapping", "says"),
    [
        ('[columns]\ntext = "tidak ada"\ncategory = "topik"\n', "no column 'tidak ada' for text; it has nomor, isi"),
        ('[columns]\ntext = "isi"\n', "no column of labels"),
        ('[columns]\nteks = "isi"\n', "[columns] teks is unknown"),
        ('[columns]\nid = "nomor"\n', "which column holds the text?"),
        ('[kolom]\ntext = "isi"\n', "[kolom] is unknown"),
        ('[columns]\ntext = "isi"\ncategory = "topik"\n[names.category]\nx = "bukan"\n', "there is no category 'bukan'"),
        ('[columns]\ntext = "isi"\ncategory = "topik"\n[labels]\ntaxonomy = "ya"\n', "taxonomy must be true or false"),
        ("tidak = [", "is not valid TOML"),
        ("columns = 3\n", "columns must be a section"),
        ("[columns]\ntext = 3\n", "text must be a text"),
        ("[columns]\ntext = []\n", "[columns] text names no column"),
        ('[columns]\ntext = "isi"\n[min_rows]\ntopik = 3\n', "[min_rows] topik is unknown"),
        ('[columns]\ntext = "isi"\n[min_rows]\ncategory = "3"\n', "a whole number a head"),
        ('[columns]\ntext = "isi"\n[names]\ncategory = 3\n', "category must be a section"),
        ('[columns]\ntext = "isi"\n[names.category]\nx = 3\n', "x must be a text"),
    ],
)  # fmt: skip
def test_a_wrong_mapping_is_told_with_what_to_do(own: Settings, tmp_path: Path, mapping: str, says: str) -> None:
    data = exported(tmp_path / "history.csv", 10)
    result = kanal(own, "model", "evaluate", "--data", data, "--mapping", mapped(tmp_path, mapping))
    assert result.exit_code == FAILED
    assert says in " ".join(result.output.split())


def test_too_few_rows_are_refused_with_how_many_it_takes(own: Settings, tmp_path: Path) -> None:
    result = trained(own, tmp_path, data=exported(tmp_path / "few.csv", 60))
    assert (result.exit_code, "60 rows with a label that counts are too few" in " ".join(result.output.split())) == (
        FAILED,
        True,
    )


def test_rolling_back_where_nothing_was_chosen_says_so(own: Settings) -> None:
    result = kanal(own, "model", "rollback")
    assert (result.exit_code, "nothing to roll back to" in result.output) == (FAILED, True)
    result = kanal(own, "model", "rollback", "own-none")
    assert (result.exit_code, "no version 'own-none' is kept" in result.output) == (FAILED, True)


def test_a_chosen_version_that_was_removed_by_hand_is_told(own: Settings, tmp_path: Path) -> None:
    import shutil

    version = told(trained(own, tmp_path, "--json"))["version"]
    shutil.rmtree(folder_of(own, version))
    with pytest.raises(SettingsError, match="kanal model rollback"):
        classifiers.build(own)


def test_a_history_of_which_nothing_would_be_learned_is_refused(own: Settings, tmp_path: Path) -> None:
    strange = '[columns]\ntext = "isi"\ncategory = "topik"\n'
    one = MAPPING.replace('category = "topik"', 'category = "jenis"')
    data = exported(tmp_path / "history.csv")
    lines = data.read_text().splitlines()
    data.write_text("\n".join([lines[0] + ",jenis", *(f"{line},sama" for line in lines[1:])]) + "\n")
    before = version_in_use(own)
    for mapping, says in ((strange, "models/ does not know"), (one, "fewer than two categories")):
        result = kanal(own, "model", "train", "--force", "--from", data, "--mapping", mapped(tmp_path, mapping))
        assert result.exit_code == FAILED
        assert says in " ".join(result.output.split())
    assert version_in_use(own) == before


def test_a_version_that_judges_no_kind_leaves_the_run_going(own: Settings, tmp_path: Path) -> None:
    told(trained(own, tmp_path, "--json"))
    model = classifiers.load(classifiers.build(own))
    assert set(model.heads) == {"category", "agency"}
    settings = known.load(own)
    reports = pd.DataFrame(
        {"text": ["lampu taman padam", ""], "title": [None, None], "category_reported": [None, None]}
    )
    judged = classify(reports, model=model, taxonomy=settings.taxonomy, thresholds=settings.thresholds)
    assert judged[["kind", "kind_confidence"]].to_numpy().tolist() == [["complaint", 0.5]] * 2
    assert judged["category_model"][0] == "Lampu Kota"


@pytest.mark.parametrize("name", ["", ".", "..", "../landing", "active.json", "own-none/..", "own none"])
def test_only_a_version_that_is_kept_can_be_chosen_or_measured(own: Settings, tmp_path: Path, name: str) -> None:
    told(trained(own, tmp_path, "--json"))
    (own.data_dir / "landing").mkdir()
    now = version_in_use(own)
    data = tmp_path / "history.csv"
    for words in (("rollback", name), ("evaluate", "--data", data, "--mapping", mapped(tmp_path), "--model", name)):
        result = kanal(own, "model", *words)
        assert result.exit_code == FAILED
        assert f"no version {name!r} is kept" in " ".join(result.output.split())
    assert version_in_use(own) == now


@pytest.mark.parametrize("damage", [b"{", b"[]", b"3", b"\xff", b'{"version": 3}', b'{"version": "../landing"}'])
def test_a_damaged_choice_is_told_and_choosing_anew_mends_it(own: Settings, tmp_path: Path, damage: bytes) -> None:
    told(trained(own, tmp_path, "--json"))
    (own.data_dir / "models" / "active.json").write_bytes(damage)
    result = kanal(own, "model", "list")
    assert result.exit_code == FAILED
    assert "kanal model rollback starter" in " ".join(result.output.split())
    assert kanal(own, "model", "rollback", "starter").exit_code == 0
    assert told(kanal(own, "model", "list", "--json"))["active"] == classifiers.starter_version(own.models_dir)


def test_a_damaged_version_says_which_folder_and_what_to_do(own: Settings, tmp_path: Path) -> None:
    folder = folder_of(own, told(trained(own, tmp_path, "--json"))["version"])
    weights = folder / "complaints"
    good = weights.read_bytes()
    flipped = good[: len(good) // 2] + bytes([good[len(good) // 2] ^ 255]) + good[len(good) // 2 + 1 :]
    for bad in (b"", b"\x80", good[:1000], os.urandom(1000), flipped):
        weights.write_bytes(bad)
        classifiers._load.cache_clear()
        with pytest.raises(SettingsError, match="is damaged .* kanal model rollback starter"):
            classifiers.load(folder)
    weights.write_bytes(good)
    (folder / "card.json").write_bytes(b"{}")
    result = kanal(own, "model", "list")
    assert (result.exit_code, "card.json is damaged" in " ".join(result.output.split())) == (FAILED, True)


def test_training_the_same_again_keeps_what_to_roll_back_to(own: Settings, tmp_path: Path) -> None:
    starter = version_in_use(own)
    for _ in range(2):
        told(trained(own, tmp_path, "--json", "--force"))
    assert kanal(own, "model", "rollback").exit_code == 0
    assert version_in_use(own) == starter


def test_a_training_that_was_killed_or_could_not_write_leaves_no_version(own: Settings, tmp_path: Path) -> None:
    half = own.data_dir / "models" / ".own-0123456789ab.f00"
    half.mkdir(parents=True)
    (half / "card.json").write_text("{")
    assert kept(own) == []
    classifiers.forget(own, keep=5)
    assert half.exists()  # it may still be at work
    os.utime(half, (0, 0))
    classifiers.forget(own, keep=5)
    assert not half.exists()

    class Full:
        def to_disk(self, path: Path) -> None:
            path.mkdir()
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        classifiers.save(own, Full(), "own-x", {})  # type: ignore[arg-type]
    assert list((own.data_dir / "models").iterdir()) == []


def test_a_folder_that_may_not_be_written_is_told_without_a_traceback(own: Settings, tmp_path: Path) -> None:
    own.data_dir.write_text("a file where the folder should be")
    result = trained(own, tmp_path)
    assert result.exit_code == FAILED
    assert isinstance(result.exception, SystemExit)
    assert "error:" in result.output


def test_files_as_office_programs_write_them_are_read(own: Settings, tmp_path: Path) -> None:
    data = tmp_path / "own.csv"
    told_ = {"category": ["jalan", None, "pohon"]}
    data.write_text("text;category\na;Jalan Rusak\nb;#N/A\nc;POHON\n", "utf-8-sig")
    assert history.read(own, data, history.read_mapping(None), progress=lambda *_: None).labels == told_
    data.write_text("text,category\ncaf\u00e9,jalan\n", "cp1252")
    with pytest.raises(SettingsError, match="is not UTF-8 text; save it as CSV UTF-8"):
        history.read(own, data, history.read_mapping(None), progress=lambda *_: None)


def test_each_date_is_read_by_its_own_form_and_stand_ins_for_none_are_none() -> None:
    said = ["kapan", "2024-02-03", "04/02/2024", "2024-02-05 10:00:00", "9999-12-31", "0001-01-01", "", "06/02/2024"]
    order, days, undated = history.in_time(said, len(said))
    assert days == ["", "", "", "", "2024-02-03", "2024-02-04", "2024-02-05", "2024-02-06"]
    assert (order, undated) == ([0, 4, 5, 6, 1, 2, 3, 7], 4)
