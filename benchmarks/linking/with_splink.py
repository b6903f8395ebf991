"""Splink on DuckDB, trained as its documentation advises and tuned on a set of another seed.

Two ways to its m probabilities: expectation maximisation over the reports to be linked, which needs no truth, and from
the incidents of the training set. Threshold and way of clustering are those of the best B-cubed F1 on the training set.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from splink import DuckDBAPI, Linker

from benchmarks.linking import model
from benchmarks.linking.columns import compared
from benchmarks.linking.data import Made, reports_of
from benchmarks.linking.measured import Laps
from benchmarks.linking.tuning import Scored, best, purest, scored
from pipelines import knowledge
from pipelines.settings import Settings, default_models_dir

U_PAIRS = 1e8
SURE_RECALL = 0.11  # of model.SURE on the training set, where 0.9997 of its pairs are right
MEMORY = "10GiB"
_FLOOR = -6.0  # match weight below which no pair is kept; all thresholds tried lie above
_WEIGHTS = [float(w) for w in range(-4, 25)]


def _table(reports: pd.DataFrame, **more: pa.Array) -> pa.Table:
    here = default_models_dir()
    table = compared(reports, knowledge.load(Settings(here, here, here, ())).taxonomy.groups)
    for name, column in more.items():
        table = table.append_column(name, column)
    return table


def _linker(table: pa.Table, settings: Any, spill: Path) -> tuple[Linker, DuckDBAPI]:
    api = DuckDBAPI()
    con = api.duckdb_con
    con.execute(f"SET memory_limit = '{MEMORY}'")
    con.execute(f"SET temp_directory = '{spill}'")
    con.register("refined", table)
    con.execute("CREATE TABLE reports AS SELECT * REPLACE (words::BIT AS words) FROM refined")
    return Linker(api.register("reports"), settings, log_level=logging.ERROR), api


def _prior_and_u(linker: Linker, laps: Laps) -> None:
    linker.training.estimate_probability_two_random_records_match(model.SURE, recall=SURE_RECALL)
    linker.training.estimate_u_using_random_sampling(max_pairs=U_PAIRS, seed=1)
    laps.lap("prior and u")


def _em(linker: Linker, laps: Laps) -> None:
    for rule in model.TRAINING:
        linker.training.estimate_parameters_using_expectation_maximisation(rule)
    laps.lap("EM")


def _predict(linker: Linker, laps: Laps, weight: float) -> tuple[Any, Any]:
    """(pairs looked at, those of this match weight and more)."""
    pairs = linker.inference.compute_blocked_pairs_for_predict()
    laps.lap("block")
    predicted = linker.inference.predict(threshold_match_weight=weight, warning_mode="never")
    laps.lap("predict")
    return pairs, predicted


def _edges(api: DuckDBAPI, predicted: Any) -> pd.DataFrame:
    """Rows of two reports (earlier, later) and the weight of their match."""
    return api.duckdb_con.sql(
        "SELECT least(unique_id_l, unique_id_r) AS earlier, greatest(unique_id_l, unique_id_r) AS later, match_weight"
        f" FROM {predicted.physical_name}"
    ).df()


def connected(edges: pd.DataFrame, count: int, weight: float) -> NDArray[Any]:
    """What Splink's own clustering makes of these edges."""
    near = edges[edges["match_weight"] >= weight]
    graph = coo_matrix((np.ones(len(near)), (near["earlier"], near["later"])), shape=(count, count))
    return connected_components(graph, directed=False)[1]


def first_report(edges: pd.DataFrame, count: int, weight: float) -> NDArray[Any]:
    """Each report joins the ticket whose first report it matches best, so that no chain creeps; else it opens one."""
    near = edges[edges["match_weight"] >= weight].sort_values(["later", "match_weight"], ascending=[True, False])
    ticket = np.arange(count)
    for later, earlier in zip(near["later"].tolist(), near["earlier"].tolist(), strict=True):
        if ticket[later] == later and ticket[earlier] == earlier:
            ticket[later] = earlier
    return ticket


_CLUSTER: Mapping[str, Callable[[pd.DataFrame, int, float], NDArray[Any]]] = {
    "connected": connected,
    "first_report": first_report,
}


def tune(train: Made, spill: Path) -> dict[str, Any]:
    """Per way to m: threshold and clustering of the best B-cubed F1; `labels` brings the trained model along, and `pure`
    is the same model where it finds most with tickets that are pure."""
    truth = pd.read_parquet(train.truth)
    known = truth["incident"].where(truth["role"] != "not_fixed")
    table = _table(reports_of(train.reports), incident=pa.array(known, pa.int64(), from_pandas=True))
    chosen: dict[str, Any] = {}
    settings: Any = model.settings()
    for way in ("em", "labels"):
        linker, api = _linker(table, settings, spill)
        if way == "em":
            _prior_and_u(linker, Laps())
            settings = linker.misc.save_model_to_json()  # both ways have these in common
            _em(linker, Laps())
        else:
            linker.training.estimate_m_from_label_column("incident")
        _, predicted = _predict(linker, Laps(), _FLOOR)
        tried = list(_sweep(truth, _edges(api, predicted)))
        trained = linker.misc.save_model_to_json() if way == "labels" else None
        chosen[way] = _chosen(best(tried), tried, trained)
        if way == "labels" and (pure := purest(tried)):
            chosen["pure"] = _chosen(pure, tried, trained)
        api.duckdb_con.close()
    return chosen


def _chosen(found: Scored, tried: Iterable[Scored], trained: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "weight": found.threshold,
        "clustering": found.way,
        "tried": [t.told() for t in tried],
        "model": trained,
    }


def _sweep(truth: pd.DataFrame, edges: pd.DataFrame) -> Iterator[Scored]:
    for weight in _WEIGHTS:
        for way, cluster in _CLUSTER.items():
            yield scored(truth, cluster(edges, len(truth), weight), weight, way)


def link(reports: pd.DataFrame, chosen: Mapping[str, Any], spill: Path, laps: Laps) -> tuple[NDArray[Any], pa.Table]:
    """(the ticket of each report, the pairs of reports that were looked at)."""
    table = _table(reports)
    laps.lap("columns")
    linker, api = _linker(table, chosen["model"] or model.settings(), spill)
    if not chosen["model"]:
        _prior_and_u(linker, laps)
        _em(linker, laps)
    pairs, predicted = _predict(linker, laps, chosen["weight"])
    if chosen["clustering"] == "connected":
        clustered = linker.clustering.cluster_pairwise_predictions_at_threshold(
            predicted, threshold_match_weight=chosen["weight"]
        )
        rows = api.duckdb_con.sql(f"SELECT cluster_id FROM {clustered.physical_name} ORDER BY unique_id").fetchnumpy()
        tickets = np.asarray(rows["cluster_id"])
    else:
        tickets = first_report(_edges(api, predicted), len(reports), chosen["weight"])
    laps.lap("cluster")
    looked_at = api.duckdb_con.sql(f"SELECT join_key_l AS a, join_key_r AS b FROM {pairs.physical_name}")
    return tickets, looked_at.to_arrow_table()
