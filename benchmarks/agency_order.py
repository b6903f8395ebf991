"""Where rules and a classifier both name the agency: how often each is right, and what the order of agency.choose makes
of the two, for several thresholds.

    python -m benchmarks.agency_order [--parts 3]

No operator's history is at hand whose agencies are ours, so the corpus stands in for one: every text is judged by a
head for agencies that was trained on the other parts, and by the rules, its category given. About two minutes.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.model_selection import StratifiedKFold

from pipelines import classifiers
from pipelines import knowledge as known
from pipelines.settings import Settings, default_models_dir
from pipelines.transforms.agency import RULE, Opinion, choose
from pipelines.transforms.fitting import train
from pipelines.transforms.normalise import clean_text
from pipelines.transforms.redact import mask
from pipelines.transforms.route import Routing, assign

_BINS = (0.0, 0.3, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 1.01)
_ACCEPT = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)


class Judged(NamedTuple):
    """One text: the agency that acts, the rule that holds, what the head says and how sure it is."""

    wanted: str
    rule: str
    model: str
    sure: float


def judged(settings: Settings, routing: Routing, parts: int) -> list[Judged]:
    """Every text of the corpus whose agency can be told, in the order of the files."""
    lines = [line for line in classifiers.corpus(settings.models_dir) if line.agency]
    texts = [mask(clean_text(line.text)) for line in lines]
    config = classifiers.table(settings, "training") | {"networks": 1, "passes": 10}  # as the starter: time
    model, sure = [""] * len(lines), np.zeros(len(lines))
    folds = StratifiedKFold(parts, shuffle=True, random_state=int(config["seed"]))
    for fit, aside in folds.split(texts, [line.category for line in lines]):
        head = {"agency": [lines[i].agency for i in fit]}
        found = train([texts[i] for i in fit], head, **config).get_pipe("complaints")
        said = found.predict([texts[i] for i in aside])["agency"]
        for place, i in enumerate(aside):
            model[i], sure[i] = said.labels[said.first[place]], said.confidence[place]
    held = [
        assign(text, channel="jaki", category=line.category, kota=None, kelurahan=None, routing=routing).route_rule
        for line, text in zip(lines, texts, strict=True)
    ]
    return [Judged(line.agency or "", r, m, float(s)) for line, r, m, s in zip(lines, held, model, sure, strict=True)]


def told(rows: Sequence[Judged], routing: Routing) -> Iterator[str]:
    """Both alone, both by confidence where they differ, and the order for each threshold."""
    certain = {rule.id for rule in routing.rules if rule.certain}
    by_rule = [routing.said[row.rule].agency for row in rows]
    yield (
        f"{len(rows)} texts: rules right in {np.mean([r == row.wanted for r, row in zip(by_rule, rows, strict=True)]):.4f},"
        f" the head in {np.mean([row.model == row.wanted for row in rows]):.4f}"
    )
    yield "confidence   texts   head | differ from a rule that is not certain   head   rule"
    for low, high in pairwise(_BINS):
        inside = [(r, row) for r, row in zip(by_rule, rows, strict=True) if low <= row.sure < high]
        differ = [
            (r, row) for r, row in inside if row.rule not in certain and routing.owner[row.model] != routing.owner[r]
        ]
        yield (
            f"{low:.2f}-{min(high, 1):.2f}   {len(inside):7d}  {_share(row.model == row.wanted for _, row in inside)} |"
            f" {len(differ):37d}  {_share(row.model == row.wanted for _, row in differ)}"
            f"  {_share(r == row.wanted for r, row in differ)}"
        )
    yield f"accept   right   the head decides   a person looks (doubt {routing.trust.doubt:.2f})"
    for accept in _ACCEPT:
        trust = replace(routing.trust, accept=accept)
        found = [
            choose(
                routing.said[row.rule], Opinion(row.model, row.sure), channel="jaki", certain=row.rule in certain,
                trust=trust, owner=routing.owner,
            )
            for row in rows
        ]  # fmt: skip
        right = [
            (one.agency if one.source == RULE else routing.owner[one.agency]) == row.wanted
            for (one, _), row in zip(found, rows, strict=True)
        ]
        heard, looks = np.mean([one.source != RULE for one, _ in found]), np.mean([unsure for _, unsure in found])
        yield f"{accept:.2f}    {np.mean(right):.4f}   {heard:16.3f}   {looks:14.3f}"


def _share(right: Iterator[bool]) -> str:
    values = list(right)
    return f"{np.mean(values):.3f}" if values else "    -"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--parts", type=int, default=3, help="the head learns from all parts but one")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(Path(folder), Path(folder), default_models_dir(), ())
        routing = known.load(settings).routing
        print(*told(judged(settings, routing, asked.parts), routing), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
