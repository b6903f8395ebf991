"""How often each rule of models/routing.toml is right: on the corpus, and on real reports of Jakarta.

    python -m benchmarks.routing_rules [--rows FILE.csv] [--least 1]

Per rule, in the order of the file: whether it is certain, then for either set the texts it decided, how many of them
rightly, and the precision. On the corpus the category is the text's own; on the real rows it is judged as refining
does, and agencies are compared as the eight groups and "other" of that file. The last lines add up certain rules,
rules with conditions, and rules that take what is left of a category.

FILE: reports of Jakarta's CRM of 2023, not part of this project; only rows whose report_id ends in an even digit are
kept. Where it is missing that is said, and the corpus is measured alone.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks.jakarta_quality import DATA, GROUPS, even_rows, judge, reports
from pipelines import classifiers
from pipelines import knowledge as known
from pipelines.contracts import column
from pipelines.settings import Settings, default_models_dir
from pipelines.transforms.normalise import clean_text
from pipelines.transforms.redact import mask
from pipelines.transforms.route import assign

Tally = Mapping[str, list[int]]  # rule -> [texts it decided, of these rightly]


def on_corpus(settings: Settings, knowledge: known.Knowledge) -> Tally:
    """Every text of the corpus whose agency can be told."""
    found: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for line in classifiers.corpus(settings.models_dir):
        if line.agency:
            said = mask(clean_text(line.text))
            decided = assign(
                said, channel="jaki", category=line.category, kota=None, kelurahan=None, routing=knowledge.routing
            )
            _count(found[decided.route_rule], right=decided.agency_id == line.agency)
    return found


def on_rows(path: Path, settings: Settings, knowledge: known.Knowledge) -> Tally:
    """The even rows of Jakarta's CRM, with the starter."""
    rows = even_rows(path)
    model = classifiers.load(classifiers.build_starter(settings, say=print))
    judged = judge(
        reports(
            rows["text"].tolist(),
            category_reported=rows["category"].tolist(),
            kelurahan_reported=rows["kelurahan"].tolist(),
        ),
        knowledge,
        model,
    )
    found: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    by_rule = zip(column(judged, "route_rule"), column(judged, "agency_id"), rows["opd"], strict=True)
    for rule, agency, wanted in by_rule:
        _count(found[rule], right=GROUPS.get(agency, "other") == wanted)
    return found


def _count(tally: list[int], *, right: bool) -> None:
    tally[0] += 1
    tally[1] += right


def told(knowledge: known.Knowledge, sets: Mapping[str, Tally], least: int) -> Iterator[str]:
    """A line a rule with at least `least` texts in any set, then the sums."""
    columns = "".join(f"{f'{name}: texts':>16}{'right':>7}{'precision':>11}" for name in sets)
    yield f"{'rule':26}{'certain':9}{columns}"
    sums: dict[str, dict[str, list[int]]] = defaultdict(lambda: {name: [0, 0] for name in sets})
    for rule in knowledge.routing.rules:
        counts = {name: tally.get(rule.id, [0, 0]) for name, tally in sets.items()}
        kind = "certain" if rule.certain else "with conditions" if rule.any else "what is left"
        for name, (texts, right) in counts.items():
            sums[kind][name][0] += texts
            sums[kind][name][1] += right
        if max(texts for texts, _ in counts.values()) >= least:
            yield f"{rule.id:26}{'certain' if rule.certain else '':9}{_figures(counts)}"
    for kind, counts in sums.items():
        yield f"{f'all {kind}':35}{_figures(counts)}"


def _figures(counts: Mapping[str, list[int]]) -> str:
    return "".join(
        f"{texts:16d}{right:7d}{f'{right / texts:.3f}' if texts else '-':>11}" for texts, right in counts.values()
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=Path, default=DATA / "jakarta_crm_2023" / "reports_dev.csv")
    parser.add_argument("--least", type=int, default=1, help="rules that decided fewer texts have no line")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(Path(folder), Path(folder), default_models_dir(), ())
        knowledge = known.load(settings)
        sets = {"corpus": on_corpus(settings, knowledge)}
        if asked.rows.exists():
            sets["Jakarta"] = on_rows(asked.rows, settings, knowledge)
        else:
            print(f"SKIPPED: {asked.rows} is not there", file=sys.stderr)
        print(*told(knowledge, sets, asked.least), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
