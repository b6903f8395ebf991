"""What the pipeline makes of a made-up set: landing -> tickets in a new folder, and how that meets the truth.

    python -m benchmarks.incidents.linked 10000 --seed 7 [--wordings unseen]

Reports land in the order in which they were said, as if each had been fetched at once, and the city's closings
between them, as the CRM's own events: of the ticket that the incident's first report opens.
Printed as `kanal link evaluate` does, with the worst errors by id (--worst).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import orjson
import pandas as pd

from benchmarks.incidents import generate
from benchmarks.incidents.__main__ import SEED
from benchmarks.incidents.export import HEADER, STREAM, kanal_toml, row
from benchmarks.incidents.knowledge import WORDINGS
from benchmarks.incidents.measures import reachable
from benchmarks.incidents.shapes import TRUTH, Closing, HardPair, Report
from pipelines import flow, incidents, settings
from pipelines.agreement import recall_by
from pipelines.console_links import print_agreement
from pipelines.contracts import Message, report_id_of, ticket_id_of
from pipelines.sinks.landing import Landing
from pipelines.sinks.warehouse import open_warehouse
from pipelines.sources import feedback

_CHUNK = 10_000  # messages of all channels that land together; fills whole entries of the order log


def land(
    count: int, seed: int, folder: Path, wordings: str = WORDINGS[0]
) -> tuple[settings.Settings, pd.DataFrame, pd.DataFrame]:
    """(settings, truth, hard pairs) of a set landed in `folder`; report_id is the channel's own number."""
    (folder / "kanal.toml").write_text(kanal_toml(), "utf-8")
    found = settings.load(folder / "kanal.toml")
    landing, streams = Landing(found.landing_dir), {s.channel: s for s in found.streams}
    heads = {c: landing.head(s) for c, s in streams.items()}
    truth, hard = [], []
    streams[flow.FEEDBACK.channel] = flow.FEEDBACK
    heads[flow.FEEDBACK.channel] = landing.head(flow.FEEDBACK)
    firsts: dict[str, str] = {}  # report -> its channel, where the city may close its incident
    closings = 0

    def items() -> Iterator[Report | Closing]:
        for item in generate(count, seed, wordings):
            if isinstance(item, HardPair):
                hard.append(item)
                continue
            if isinstance(item, Report) and item.version == 1:
                truth.append((item.report_id, item.channel, *item[-len(TRUTH) :]))
                firsts.update({item.report_id: item.channel} if item.role == "first" else {})
            yield item

    told = items()
    while chunk := list(islice(told, _CHUNK)):
        by_channel: dict[str, list[Message]] = {}
        for item in chunk:
            if isinstance(item, Report):
                by_channel.setdefault(item.channel, []).append(_message(item))
            else:
                first = report_id_of(firsts[item.report_id], STREAM, item.report_id)
                by_channel.setdefault(flow.FEEDBACK.channel, []).append(_closing(closings, first, item))
                closings += 1
        now = _said(chunk[-1])
        for channel, messages in by_channel.items():
            head = heads[channel]
            landed = landing.put(
                streams[channel], head, messages, {"n": head.sequence + 2}, source_version="1", run_id="made", now=now
            )
            heads[channel] = landed or head
    return (
        found,
        pd.DataFrame(truth, columns=["report_id", "channel", *TRUTH]),
        pd.DataFrame(hard, columns=HardPair._fields),
    )


def _message(report: Report) -> Message:
    cells = {name: str(value) for name, value in zip(HEADER, row(report), strict=True) if value not in (None, "")}
    said = _time(report.edited_at or report.occurred_at)
    version = str(report.version)
    return Message(report.report_id, version, orjson.dumps(cells), "application/json", said, origin="made")


def _closing(number: int, report_id: str, closing: Closing) -> Message:
    at = _time(closing.happened_at)
    event = {
        "event_no": number,
        "ticket_id": ticket_id_of(report_id),
        "status": closing.status,
        "happened_at": at.isoformat(),
    }
    return Message(f"{number:019d}", "1", orjson.dumps(event), feedback.PAYLOAD_TYPE, at, occurred_at=at, origin="made")


def _said(item: Report | Closing) -> datetime:
    return _time(item.happened_at if isinstance(item, Closing) else item.edited_at or item.occurred_at)


def _time(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _named(shares: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {share:.3f}" for name, share in shares.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", type=int, nargs="?", default=10_000)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--wordings", choices=WORDINGS, default=WORDINGS[0], help="unseen: not tuned on")
    parser.add_argument("--worst", type=int, default=0, help="tickets and incidents to name")
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
        told = incidents.truth_of(truth.rename(columns={"report_id": "source_ref"}), "the made-up truth")
        with open_warehouse(found.warehouse) as warehouse:
            judged = incidents.judge(
                warehouse.con, told, incidents.hard_of(hard, told, "the hard pairs"), worst=asked.worst
            )
            tickets = incidents.tickets_of(warehouse.con, told)
    print_agreement(judged)
    kept = truth[truth["role"] != "not_fixed"]
    names = kept["place"].where(kept["place"] != "", "nothing")
    print(
        "recall by what is told of the place: "
        + _named(recall_by(kept["incident"].to_numpy(), tickets[kept.index].to_numpy(), names))
    )
    print(f"same-incident pairs that the evidence named connects: {reachable(truth):.4f}")


if __name__ == "__main__":
    main()
