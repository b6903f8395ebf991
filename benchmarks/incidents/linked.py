"""What the pipeline makes of a made-up set: landing -> tickets in a new folder, and how that meets the truth.

    python -m benchmarks.incidents.linked 10000 --seed 7 [--wordings unseen]

Reports land in the order in which they were said, as if each had been fetched at once. The city's
closings are not sent.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import duckdb
import orjson
import pandas as pd

from benchmarks.incidents import generate
from benchmarks.incidents.__main__ import SEED
from benchmarks.incidents.export import HEADER, kanal_toml, row
from benchmarks.incidents.knowledge import WORDINGS
from benchmarks.incidents.measures import Scores, evaluate, reachable, recall_by
from benchmarks.incidents.shapes import HARD, TRUTH, HardPair, Report
from pipelines import flow, settings
from pipelines.contracts import Message
from pipelines.sinks.landing import Landing

_CHUNK = 10_000  # messages of all channels that land together; fills whole entries of the order log


def land(
    count: int, seed: int, folder: Path, wordings: str = WORDINGS[0]
) -> tuple[settings.Settings, pd.DataFrame, pd.DataFrame]:
    """(settings, truth, hard pairs) of a set landed in `folder`."""
    (folder / "kanal.toml").write_text(kanal_toml(), "utf-8")
    found = settings.load(folder / "kanal.toml")
    landing, streams = Landing(found.landing_dir), {s.channel: s for s in found.streams}
    heads = {c: landing.head(s) for c, s in streams.items()}
    truth, hard = [], []

    def reports() -> Iterator[Report]:
        for item in generate(count, seed, wordings):
            if isinstance(item, Report):
                if item.version == 1:
                    truth.append((item.report_id, *item[-len(TRUTH) :]))
                yield item
            elif isinstance(item, HardPair):
                hard.append(item)

    told = reports()
    while chunk := list(islice(told, _CHUNK)):
        by_channel: dict[str, list[Message]] = {}
        for report in chunk:
            by_channel.setdefault(report.channel, []).append(_message(report))
        now = _time(chunk[-1].edited_at or chunk[-1].occurred_at)
        for channel, messages in by_channel.items():
            head = heads[channel]
            landed = landing.put(
                streams[channel], head, messages, {"n": head.sequence + 2}, source_version="1", run_id="made", now=now
            )
            heads[channel] = landed or head
    return found, pd.DataFrame(truth, columns=["report_id", *TRUTH]), pd.DataFrame(hard, columns=HardPair._fields)


def _message(report: Report) -> Message:
    cells = {name: str(value) for name, value in zip(HEADER, row(report), strict=True) if value not in (None, "")}
    said = _time(report.edited_at or report.occurred_at)
    version = str(report.version)
    return Message(report.report_id, version, orjson.dumps(cells), "application/json", said, origin="made")


def _time(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def links(found: settings.Settings) -> pd.DataFrame:
    """report_id (the source's), ticket_id, level of every report in the warehouse."""
    with duckdb.connect(str(found.warehouse), read_only=True) as con:
        return con.execute(
            "SELECT r.source_ref AS report_id, l.ticket_id, l.level FROM reports r JOIN links l USING (report_id)"
        ).df()


def show(scores: Scores) -> None:
    c = scores.clustering
    print(f"pairs: precision {c.pair_precision:.4f}, recall {c.pair_recall:.4f}, F1 {c.pair_f1:.4f}")
    print(f"B-cubed: precision {c.b_cubed_precision:.4f}, recall {c.b_cubed_recall:.4f}, F1 {c.b_cubed_f1:.4f}")
    print(
        f"tickets {c.tickets:,} for {c.incidents:,} incidents; pure {c.pure:.4f} of those with two and more; largest {c.largest}"
    )
    print("copies found: " + _named(scores.copies))
    print("hard pairs merged: " + _named({k: scores.hard[k] for k in (*HARD, "all") if k in scores.hard}))
    print("recall by role: " + _named(scores.recall_by_role))
    print("joined by level: " + ", ".join(f"{name} {n:,} (right {r:.3f})" for name, (n, r) in scores.levels.items()))
    print(f"not fixed, and in its incident's ticket or one that follows it: {scores.followed:.3f}")


def _named(shares: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {share:.3f}" for name, share in shares.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", type=int, nargs="?", default=10_000)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--wordings", choices=WORDINGS, default=WORDINGS[0], help="unseen: not tuned on")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kanal-incidents-") as folder:
        begin = time.perf_counter()
        found, truth, hard = land(asked.count, asked.seed, Path(folder), asked.wordings)
        made = time.perf_counter()
        loaded = flow.load(found, run_id="made", now=lambda: datetime.now(UTC))
        print(
            f"seed {asked.seed}, {len(truth):,} reports made and landed in {made - begin:.1f} s, loaded in"
            f" {time.perf_counter() - made:.1f} s; quarantined {loaded.quarantined}"
        )
        linked = links(found)
    alone = truth.loc[~truth["report_id"].isin(linked["report_id"]), "report_id"]
    if len(alone):
        print(f"{len(alone):,} reports have no ticket; counted as tickets of one")
        rest = pd.DataFrame({"report_id": alone, "ticket_id": "none " + alone, "level": "none"})
        linked = pd.concat([linked, rest])
    show(evaluate(truth, hard, linked))
    kept = truth[truth["role"] != "not_fixed"]
    tickets = kept["report_id"].map(linked.set_index("report_id")["ticket_id"])
    names = kept["place"].where(kept["place"] != "", "nothing")
    print(
        "recall by what is told of the place: "
        + _named(recall_by(kept["incident"].to_numpy(), tickets.to_numpy(), names))
    )
    print(f"same-incident pairs that the evidence named connects: {reachable(truth):.4f}")


if __name__ == "__main__":
    main()
