"""Microseconds a message of each step of refining, on one core: normalise, redact, classify, locate, route.

    python -m benchmarks.refine_speed [--messages 10000] [--rounds 5] [--against CHECKOUT]

Each round is a process of its own and is timed in CPU time, so other work on the machine counts less; the best of all
rounds is shown. With --against, rounds of this tree and of another checkout of it take turns, over the same messages.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parent.parent
_STEPS = ("normalise", "redact", "classify", "locate", "route")
_EMPTY = (
    "title", "address_text", "contact_phone", "contact_email", "author_name", "conversation_ref",
    "kelurahan_reported", "kecamatan_reported", "kota_reported", "agency_reported", "status_reported",
)  # fmt: skip
_CHUNK = 2_000  # messages a call, as refining does


def once(count: int, data_dir: Path) -> dict[str, float]:
    """CPU microseconds a message of each step, in this process and tree."""
    import pandas as pd

    from benchmarks import generate
    from pipelines import classifiers
    from pipelines import knowledge as known
    from pipelines.settings import Settings, default_models_dir
    from pipelines.transforms.classify import classify
    from pipelines.transforms.locate import locate
    from pipelines.transforms.normalise import normalise
    from pipelines.transforms.redact import redact
    from pipelines.transforms.route import route

    settings = Settings(data_dir, data_dir, default_models_dir(), ())
    knowledge = known.load(settings)
    model = classifiers.load(classifiers.build(settings))
    frame = _drafts(list(generate.messages(count)))
    chunks = [frame.iloc[i : i + _CHUNK] for i in range(0, count, _CHUNK)]
    steps: dict[str, Callable[[pd.DataFrame], Any]] = {
        "normalise": lambda f: normalise(f, languages=knowledge.languages),
        "redact": lambda f: redact(f, key=b"k" * 32)[0],
        "classify": lambda f: classify(f, model=model, taxonomy=knowledge.taxonomy, thresholds=knowledge.thresholds),
        "locate": lambda f: locate(f, gazetteer=knowledge.gazetteer),
        "route": lambda f: route(f, routing=knowledge.routing, accept_place=knowledge.accept_place),
    }
    spent = {}
    for name, step in steps.items():
        step(chunks[0].head(200))  # caches and lazy imports are no message's cost
        began = time.process_time()
        chunks = [step(chunk) for chunk in chunks]
        spent[name] = (time.process_time() - began) / count * 1e6
    return spent


def _drafts(messages: list[Any]) -> Any:
    """As refining hands them to normalise: Arrow-backed, one row a message."""
    import pandas as pd
    import pyarrow as pa

    rows = [json.loads(m.payload) for m in messages]
    empty = [None] * len(rows)
    texts: dict[str, list[Any]] = dict.fromkeys(_EMPTY, empty)
    texts |= {
        "text": [r["isi"] for r in rows], "author_ref": [r["akun"] for r in rows],
        "category_reported": [r["kategori"] if i % 2 else None for i, r in enumerate(rows)],
        "report_id": [f"r{i}" for i in range(len(rows))], "channel": ["jaki"] * len(rows),
    }  # fmt: skip
    table = {name: pa.array(values, pa.string()) for name, values in texts.items()}
    for name in ("lat", "lon"):
        table[name] = pa.array([float(r[name]) if r[name] else None for r in rows], pa.float64())
    for name in ("occurred_at", "fetched_at"):
        table[name] = pa.array([m.fetched_at for m in messages], pa.timestamp("us", tz="UTC"))
    table["attachment_count"] = pa.array([0] * len(rows), pa.int32())
    return pa.table(table).to_pandas(types_mapper=pd.ArrowDtype)


def _round(root: Path, count: int, data_dir: str) -> dict[str, float]:
    command = [sys.executable, str(Path(__file__).resolve()), "--once", data_dir, "--messages", str(count)]
    environment = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=root, env=environment)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--against", type=Path, help="another checkout, timed in turns with this one")
    parser.add_argument("--once", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.once:
        sys.path[:] = [p for p in sys.path if Path(p or ".").resolve() != Path(__file__).resolve().parent]
        print(json.dumps(once(asked.messages, asked.once)))
        return 0
    trees = {"now": _ROOT} | ({"before": asked.against.resolve()} if asked.against else {})
    best: dict[str, dict[str, float]] = {tree: {} for tree in trees}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(asked.rounds):
            for tree, root in trees.items():
                for step, spent in _round(root, asked.messages, f"{folder}/{tree}").items():
                    best[tree][step] = min(spent, best[tree].get(step, spent))
    print(f"microseconds a message, best of {asked.rounds} rounds of {asked.messages:,} messages")
    print(f"{'step':10}" + "".join(f"{tree:>10}" for tree in trees))
    for step in _STEPS:
        print(f"{step:10}" + "".join(f"{best[tree][step]:10.1f}" for tree in trees))
    print(f"{'all':10}" + "".join(f"{sum(best[tree].values()):10.1f}" for tree in trees))
    return 0


if __name__ == "__main__":
    sys.exit(main())
