"""What `kanal link evaluate` prints: how well tickets meet incidents, and where they do not; and what `kanal trace` prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.padding import Padding
from rich.text import Text

from pipelines.console import out, show, table

if TYPE_CHECKING:
    from pipelines.trace import Walked

_SOME = 6  # parts of a ticket or incident named in a line; --json has all


def print_agreement(found: Mapping[str, Any]) -> None:
    """What incidents.judge found."""
    _reports(found["reports"])
    _clusters(found)
    if found["levels"]:
        rows = [(name, level["joined"], _share(level["right"])) for name, level in found["levels"].items()]
        out.print(table("Joined by", ("level", "reports", "right"), rows, numbers=("reports", "right")))
    _by_kind("Copies", found["copies"], "found", found["copies_unknown"], "the report copied is not judged")
    _by_kind("Hard pairs", found["hard"], "merged", found["hard_unknown"], "one of the two is not judged")
    if found["recall_by_role"]:
        told = ", ".join(f"{role} {_share(share)}" for role, share in found["recall_by_role"].items())
        out.print(f"share of its incident's other reports in a report's ticket: {told}", markup=False, soft_wrap=True)
    if found["followed"] is not None:
        out.print(f"not fixed, and in its incident's ticket or one that follows it: {_share(found['followed'])}")
    _worst(found)


def _reports(counts: Mapping[str, int]) -> None:
    out.print(
        f"{counts['judged']:,} of {counts['in_file']:,} reports judged; {counts['unknown']:,} unknown (never landed);"
        f" {counts['without_ticket']:,} without a ticket (thanks, filtered or set aside), each counted as a ticket of one",
        soft_wrap=True,
    )


def _clusters(found: Mapping[str, Any]) -> None:
    c, largest = found["clustering"], found["largest"]
    rows = [
        (name, *(_share(c[f"{key}_{figure}"]) for figure in ("precision", "recall", "f1")))
        for name, key in (("pairs of reports", "pair"), ("B-cubed", "b_cubed"))
    ]
    columns = ("", "precision", "recall", "F1")
    title = f"{c['tickets']:,} tickets for {c['incidents']:,} incidents"
    out.print(table(title, columns, rows, numbers=columns[1:]))
    out.print(f"tickets of two reports and more that are pure: {_share(c['pure'])}")
    out.print(f"incidents of two reports and more that are in one ticket: {_share(c['whole'])}")
    if largest:
        out.print(
            f"largest ticket: {largest['ticket_no'] or '-'}, {largest['reports']:,} reports of"
            f" {largest['incidents']:,} {'incident' if largest['incidents'] == 1 else 'incidents'}"
        )
    out.print()


def _by_kind(title: str, kinds: Mapping[str, Mapping[str, Any]], what: str, unknown: int, why: str) -> None:
    if kinds:
        rows = [(kind or "-", told["of"], _share(told[what])) for kind, told in kinds.items()]
        out.print(table(title, ("kind", "how many", what), rows, numbers=("how many", what)))
    if unknown:
        out.print(f"{title.lower()} left out, as {why}: {unknown:,}\n")


def _worst(found: Mapping[str, Any]) -> None:
    if mixed := found["mixed"]:
        rows = [
            (t["ticket_no"], t["reports"], t["incidents"],
             _some([f"{part['incident']}: {_names(part['reports'])}" for part in t["of"]]))
            for t in mixed
        ]  # fmt: skip
        columns = ("ticket_no", "reports", "incidents", "incident: its reports")
        out.print()
        out.print(table("Tickets that mix most incidents", columns, rows, numbers=columns[1:3]))
    if torn := found["torn"]:
        rows = [
            (i["incident"], i["reports"], i["tickets"],
             _some([f"{t['ticket_no'] or 'no ticket'}: {t['first']['name']}" + _more(t["reports"] - 1) for t in i["in"]]))
            for i in torn
        ]  # fmt: skip
        columns = ("incident", "reports", "tickets", "ticket: its first report")
        out.print(table("Incidents torn into most tickets", columns, rows, numbers=columns[1:3]))


def _names(reports: Sequence[Mapping[str, str]]) -> str:
    return " ".join(r["name"] for r in reports[:2]) + _more(len(reports) - 2)


def _some(parts: Sequence[str]) -> str:
    return "; ".join(parts[:_SOME]) + (f"; and {len(parts) - _SOME} more" if len(parts) > _SOME else "")


def _more(count: int) -> str:
    return f" (+{count:,})" if count > 0 else ""


def _share(value: float) -> str:
    return show(f"{value:.4f}")


def print_walk(walked: Walked) -> None:
    """A walk, a table a part; messages in blocks, each with the sentence that says why its report is in its ticket."""
    for title, columns, rows in walked.tables:
        if "because" in columns:
            out.print(title, style="bold")
            for row in rows:
                _print_message(dict(zip(columns, row, strict=True)))
        else:
            out.print(table(title, columns, rows))
        out.print()


def _print_message(row: dict[str, Any]) -> None:
    words = [row.pop("text", None), row.pop("because")]
    out.print(Text("  ".join(map(str, filter(None, row.values())))), style="dim", soft_wrap=True)
    for line in filter(None, words):
        out.print(Padding(Text(line), (0, 0, 0, 4), expand=False))
