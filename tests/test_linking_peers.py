"""Kanal's linker beside others: the project's own part and the table, without the others installed."""

from __future__ import annotations

import json

import duckdb
import pandas as pd
import pytest

from benchmarks.incidents.linked import land
from benchmarks.linking import __main__ as cli
from benchmarks.linking import runs
from benchmarks.linking.data import Made, made, reports_of
from benchmarks.linking.kanal import kanal
from benchmarks.linking.table import lined_up, notes, rows
from benchmarks.linking.tuning import best, purest, scored
from pipelines import flow
from pipelines.agreement import evaluate

COUNT, SEED = 300, 3


@pytest.fixture(scope="module")
def work(tmp_path_factory, model_cache):
    folder = tmp_path_factory.mktemp("linking")
    (folder / "models").symlink_to(model_cache)
    return folder


@pytest.fixture(scope="module")
def here(work) -> Made:
    return made(COUNT, SEED, work)


def test_the_linker_alone_groups_as_the_pipeline_does_in_whatever_groups_it_links(here, work, tmp_path):
    reports = reports_of(here.reports)
    alone = dict(zip(reports["source_ref"], kanal(reports), strict=True))
    assert alone == dict(zip(reports["source_ref"], kanal(reports, group_rows=70), strict=True))
    settings, _, _ = land(COUNT, SEED, tmp_path)
    (settings.data_dir / "models").symlink_to((work / "models").resolve())
    flow.load(settings, run_id="made")
    with duckdb.connect(str(settings.warehouse), read_only=True) as con:
        piped = dict(con.sql("SELECT source_ref, ticket_id FROM reports JOIN links USING (report_id)").fetchall())
    assert {i: t for i, t in alone.items() if not t.startswith("none ")} == piped


def test_a_set_is_kept_and_names_reports_as_kanal_does_in_the_order_in_which_they_came(here, work):
    reports, truth = pd.read_parquet(here.reports), pd.read_parquet(here.truth)
    assert truth["report_id"].tolist() == reports["report_id"].tolist()
    assert reports["arrival"].is_monotonic_increasing and len(reports) > 0.9 * COUNT
    assert set(truth["copy_of"].dropna()) <= set(truth["report_id"])
    assert not {"incident", "role", "copy_of"} & set(reports.columns)
    before = here.reports.stat().st_mtime_ns
    assert made(COUNT, SEED, work).reports.stat().st_mtime_ns == before


def test_without_the_others_installed_kanal_is_measured_and_the_others_are_said_to_be_skipped(
    here, work, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(runs.importlib.util, "find_spec", lambda name: None)
    cli.main([str(COUNT), "--seed", str(SEED), "--work", str(work), "--json", str(tmp_path / "told.json")])
    said = capsys.readouterr()
    for name in ("datasketch", "splink"):
        assert f"SKIPPED: {name} is not installed; make bench-linking installs and runs it" in said.err
    told = json.loads((tmp_path / "told.json").read_text("utf-8"))["runs"]
    assert [r["name"] for r in told] == ["kanal"]
    reports = reports_of(here.reports)
    found = pd.DataFrame({"report_id": reports["report_id"], "ticket_id": kanal(reports)})
    meant = evaluate(pd.read_parquet(here.truth), pd.read_parquet(here.hard), found)
    assert told[0]["scores"]["b_cubed_f1"] == meant.clustering.b_cubed_f1
    seconds, cpu = told[0]["spent"]["total"]
    assert seconds > 0 and cpu > 0 and told[0]["spent"]["peak_mib"] > told[0]["spent"]["before_mib"] * 0.99 > 30
    row = next(line for line in said.out.splitlines() if line.startswith("kanal"))
    assert f"{meant.clustering.b_cubed_f1:.3f}" in row.split()


def test_an_unknown_linker_is_refused(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--only", "kanal,dedupe"])
    assert "unknown dedupe; known: kanal, datasketch, splink" in capsys.readouterr().err


@pytest.mark.parametrize(
    "bounds, said", [(runs.Bounds(0, 12), "0 minutes were not enough"), (runs.Bounds(30, 0.001), "0.001 GiB were not")]
)
def test_a_linker_beyond_its_bounds_is_given_up_and_the_table_says_so(here, bounds, said):
    given_up = runs.run("kanal", {}, here, bounds)
    assert given_up.scores is None and said in (given_up.gave_up or "")
    assert said in lined_up(rows([given_up])) and list(notes([given_up], None)) == []


def test_a_linker_that_fails_is_given_up_with_its_last_words(here, tmp_path):
    broken = Made(tmp_path)
    broken.reports.write_bytes(b"no parquet")
    failed = runs.run("kanal", {}, broken, runs.Bounds(30, 12))
    assert failed.scores is None and "parquet" in (failed.gave_up or "").lower()


def test_blocking_is_complete_where_every_pair_of_an_incident_is_looked_at():
    truth = pd.DataFrame({"incident": [1, 1, 1, 2, 1], "role": ["first", "late", "late", "first", "not_fixed"]})
    pairs = pd.DataFrame({"a": [0, 0, 0, 0], "b": [1, 2, 3, 4]})
    assert runs.completeness(truth, pairs) == (4, 2 / 3)


def test_the_best_threshold_is_that_of_the_highest_b_cubed_f1_and_the_purest_of_the_highest_recall_if_pure():
    truth = pd.DataFrame({"incident": [1, 1, 2, 2], "role": "first"})
    tried = [
        scored(truth, pd.Series(tickets).to_numpy(), threshold, "connected")
        for threshold, tickets in ((0.3, [0, 0, 0, 0]), (0.6, [0, 0, 2, 3]), (0.9, [0, 1, 2, 3]))
    ]
    assert (best(tried).threshold, purest(tried).threshold) == (0.6, 0.6)
    assert purest(tried[:1]) is None
