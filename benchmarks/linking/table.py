"""What the runs came to, as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.linking.runs import Run

_HEADINGS = (
    "linker", "seconds", "CPU s", "MiB", "pair P", "R", "F1", "B3 P", "R", "F1", "pure", "largest", "near-copies", "hard merged",
)  # fmt: skip


def rows(runs: Sequence[Run]) -> list[list[str]]:
    """The one table, headings first."""
    return [list(_HEADINGS), *(_row(r) for r in runs)]


def _row(run: Run) -> list[str]:
    if run.scores is None or run.spent is None:
        return [run.name, f"gave up: {run.gave_up}", *[""] * (len(_HEADINGS) - 2)]
    c, (seconds, cpu) = run.scores.clustering, run.spent["total"]
    shares = (
        c.pair_precision, c.pair_recall, c.pair_f1, c.b_cubed_precision, c.b_cubed_recall, c.b_cubed_f1, c.pure,
    )  # fmt: skip
    near, hard = run.scores.copies.get("near_copy", 1.0), run.scores.hard.get("all", 0.0)
    return [
        run.name, f"{seconds:.1f}", f"{cpu:.1f}", f"{run.spent['peak_mib']:,.0f}", *(f"{s:.3f}" for s in shares),
        f"{c.largest:,}", f"{near:.3f}", f"{hard:.3f}",
    ]  # fmt: skip


def lined_up(table: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[n]) for row in table if row[2:3] != [""] or n == 0) for n in range(len(table[0]))]
    return "\n".join(
        "  ".join(cell.ljust(w) if n < 1 else cell.rjust(w) for n, (cell, w) in enumerate(zip(row, widths, strict=True)))
        .rstrip()
        for row in table
    )  # fmt: skip


def notes(runs: Sequence[Run], texts: dict[str, Any] | None) -> Iterator[str]:
    """What the table has no room for."""
    for run in runs:
        if run.spent is None:
            continue
        if len(run.spent["laps"]) > 1:
            laps = ", ".join(f"{name} {seconds:.1f} s" for name, (seconds, _) in run.spent["laps"].items())
            yield f"{run.name}: {laps}; chosen: " + ", ".join(f"{k} {v}" for k, v in run.chosen.items())
        if run.looked_at:
            pairs, found = run.looked_at
            yield f"{run.name}: {pairs:,} pairs looked at, with {found:.4f} of the same-incident pairs"
    yield from _ratios(runs)
    if texts:
        best = texts["best"]
        yield f"texts alone, of the first {texts['reports']:,} reports, {texts['pure']:.0%} of the tickets pure: " + (
            f"same-incident recall {best['pair_recall']:.3f} at best ({_way(best)})" if best else "never so pure"
        )
        for t in texts["fixed"]:
            yield (
                f"  {_way(t)}: recall {t['pair_recall']:.3f}, pure {t['pure']:.3f}, precision {t['pair_precision']:.3f},"
                f" B-cubed F1 {t['b_cubed_f1']:.3f}"
            )


def _way(tried: dict[str, Any]) -> str:
    return f"{tried['shingles']}, Jaccard {tried['threshold']:g}, {tried['way']}"


def _ratios(runs: Sequence[Run]) -> Iterator[str]:
    """Time of others in Kanal's, as they are and without training."""
    own = next((r.spent["total"] for r in runs if r.name == "kanal" and r.spent), None)
    for run in runs:
        if own is None or run.spent is None or run.name == "kanal":
            continue
        (seconds, cpu), laps = run.spent["total"], run.spent["laps"]
        trained = [laps[name] for name in ("prior and u", "EM") if name in laps]
        said = f"{run.name} : kanal in time {seconds / own[0]:.1f} : 1, of processors {cpu / own[1]:.1f} : 1"
        if trained:
            rest, rest_cpu = (all_ - sum(t[n] for t in trained) for n, all_ in enumerate((seconds, cpu)))
            said += f"; without training {rest / own[0]:.1f} : 1 and {rest_cpu / own[1]:.1f} : 1"
        yield said
