"""How long it takes to link new reports into a warehouse that remembers many, and to store what comes of it.

    python -m benchmarks.linking.stored 1000000 --work FOLDER [--new 2000]

The set is the one of `python -m benchmarks.linking` (made once in FOLDER). All but its last reports are linked in memory and
written into a warehouse; then the last are linked as loading does: asking that warehouse, and writing links, leaders, keys
and tickets in one transaction. Reading what is compared out of the new reports is timed apart: refining does it.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.incidents.__main__ import SEED
from benchmarks.linking.data import made
from benchmarks.linking.kanal import KEPT, known, prepared
from pipelines.contracts import LEADER_KEYS, LEADERS, LINKS, TICKETS, TRAITS, to_frame, to_table
from pipelines.linking import link_new
from pipelines.sinks import duck
from pipelines.sinks.warehouse import Warehouse, open_warehouse
from pipelines.transforms.acts import Acts
from pipelines.transforms.blocks import HOUR, Keys
from pipelines.transforms.contents import open_tickets
from pipelines.transforms.link import Asked, State, link
from pipelines.transforms.memory import Memory
from pipelines.transforms.traits import ragged, traits_of


def fill(warehouse: Warehouse, reports: pd.DataFrame, workers: int) -> None:
    """Link reports in memory and write what a warehouse remembers of them."""
    matching = known().matching
    state, acts = State(Memory(matching)), Acts()
    for start, table in prepared(reports[KEPT], 50_000, workers):
        ids, arrivals = table["report_id"].to_pylist(), table["arrival"].to_numpy()
        asked = list(map(Asked, arrivals.tolist(), ids, table["external_ref"].to_pylist(), table["cites"].to_pylist()))
        x, own = traits_of(table, matching), ragged(table["own_keys"])
        likely = state.memory.find(x, Keys(own, ragged(table["probe_keys"])))
        found = link(state, asked, likely, x, acts=acts)
        told, tickets = [m.told for m in found], [m.ticket_id for m in found]
        owners = own.owners()
        keys = {"key": own.values, "hour": x.said_at[owners] // HOUR, "arrival": arrivals[owners]}
        named = [pa.array(ids), pa.array(tickets), pa.array(arrivals), pa.array(told, LEADERS.field("told").type)]
        links = {
            "report_id": ids, "ticket_id": tickets, "level": [m.level for m in found], "score": [m.score for m in found],
            "explanation": "{}", "arrival": arrivals,
        }  # fmt: skip
        opened = np.array([m.level == "opened" for m in found])
        first = reports.iloc[start : start + len(found)][opened]
        duck.insert(warehouse.con, "leaders", pa.table([*named, *table.select(TRAITS.names).columns], schema=LEADERS))
        duck.insert(warehouse.con, "leader_keys", pa.table(keys, schema=LEADER_KEYS))
        duck.insert(warehouse.con, "links", to_table(pd.DataFrame(links), LINKS))
        duck.insert(warehouse.con, "tickets", to_table(open_tickets(first, known().clocks), TICKETS))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", type=int, nargs="?", default=1_000_000)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--new", type=int, default=2_000)
    parser.add_argument("--work", type=Path, required=True, help="a folder that keeps the set")
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args()
    columns = list(dict.fromkeys((*KEPT, *_OF_TICKETS)))
    reports = to_frame(pq.read_table(made(asked.count, asked.seed, asked.work).reports, columns=columns))
    reports = reports[reports["kind"] != "appreciation"].reset_index(drop=True)
    with (
        tempfile.TemporaryDirectory(prefix="kanal-stored-", dir=asked.work) as folder,
        open_warehouse(Path(folder) / "warehouse.duckdb") as warehouse,
    ):
        begin = time.perf_counter()
        fill(warehouse, reports.iloc[: -asked.new], asked.workers)
        warehouse.con.execute("CHECKPOINT")
        print(f"{len(reports) - asked.new:,} reports linked and remembered in {time.perf_counter() - begin:.1f} s")
        for name in ("leaders", "leader_keys"):
            print(f"{name}: {duck.one(warehouse.con, f'SELECT count(*) FROM {name}'):,} rows")
        print(f"file: {(Path(folder) / 'warehouse.duckdb').stat().st_size / 2**20:,.0f} MiB")
        _add(warehouse, reports.iloc[-asked.new :].reset_index(drop=True))
    print(f"at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MiB")


_OF_TICKETS = (
    "channel", "agency_id", "unit", "agency_source", "agency_confidence", "route_rule", "intake_unit", "category_confidence",
    "kecamatan_code", "kota_code", "attachment_count", "private", "emergency", "emergency_rule", "completeness",
    "review_reason", "status_reported",
)  # fmt: skip


def _add(warehouse: Warehouse, reports: pd.DataFrame) -> None:
    for run in range(3):  # the first reads the file, the last is what a warm day is
        begin = time.perf_counter()
        [(_, table)] = prepared(reports[KEPT], len(reports), 1)
        read = time.perf_counter()
        said = to_frame(table.select([*TRAITS.names, "cites", "own_keys", "probe_keys"]))
        new = pd.concat([reports, said], axis=1)
        linked = link_new(
            new, acts=Acts(), warehouse=warehouse, knowledge=known(), turns=(), form=lambda _: None  # type: ignore[arg-type, return-value]
        )  # fmt: skip
        done = time.perf_counter()
        warehouse.con.begin()
        opened = set(linked.links.loc[linked.links["level"] == "opened", "report_id"])
        tickets = open_tickets(new[new["report_id"].isin(opened)], known().clocks)
        for name, rows in (
            ("leaders", linked.leaders), ("leader_keys", linked.keys), ("links", to_table(linked.links, LINKS)),
            ("tickets", to_table(tickets, TICKETS)),
        ):  # fmt: skip
            duck.insert(warehouse.con, name, rows)
        warehouse.con.rollback() if run < 2 else warehouse.con.commit()
        stored = time.perf_counter()
        print(
            f"run {run + 1}: {len(reports):,} new: read {read - begin:.2f} s, linked {done - read:.2f} s, stored"
            f" {stored - done:.2f} s; joined {len(reports) - len(opened):,}"
        )


if __name__ == "__main__":
    main()
