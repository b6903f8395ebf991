"""What belongs together in the published snapshot, and why: sentences of links, tickets merged into or following others.

Belongs here: looking up what a sentence names. Not here: its words (because), the walk between figures and messages (trace).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import orjson

from pipelines import entries
from pipelines.because import Decided, Heard, Named, because
from pipelines.entries import slips, text
from pipelines.published import Rows, ask
from pipelines.settings import Settings

MERGED, FOLLOWS = "merged into", "follows"
_AMONG = "IN (SELECT unnest(?::TEXT[]))"


def reasons(con: duckdb.DuckDBPyConnection, report_ids: Sequence[str], settings: Settings) -> dict[str, str]:
    """Report -> why it is in its ticket, in a sentence. Thanks have no ticket, so no sentence.

    SettingsError where models/matching.toml cannot be read.
    """
    links = ask(
        con, f"SELECT report_id, level, score, explanation FROM links WHERE report_id {_AMONG}", [list(report_ids)]
    )
    whys = {row["report_id"]: orjson.loads(row["explanation"]) for row in links}
    named = _named(con, whys, settings)
    return {
        row["report_id"]: because(row["level"], row["score"], whys[row["report_id"]], named, row["report_id"])
        for row in links
    }


def related(con: duckdb.DuckDBPyConnection, ticket_ids: Sequence[str], limit: int) -> Rows:
    """Tickets merged into these, and those that they or these follow or are followed by; a row a pair, read from left to
    right: ticket_no, relation, other_no; with status and opened_at of the first."""
    return ask(
        con,
        f"""
        WITH here AS (SELECT ticket_id FROM tickets WHERE ticket_id {_AMONG} OR superseded_by {_AMONG})
        SELECT a.ticket_no, p.relation, b.ticket_no AS other_no, a.status, a.opened_at
        FROM (
            SELECT ticket_id, '{MERGED}' AS relation, superseded_by AS other FROM tickets WHERE ticket_id IN (FROM here)
            UNION ALL
            SELECT ticket_id, '{FOLLOWS}', follows FROM tickets WHERE ticket_id IN (FROM here) OR follows IN (FROM here)) p
        JOIN tickets a USING (ticket_id) JOIN tickets b ON b.ticket_id = p.other
        ORDER BY a.first_arrival, p.relation LIMIT {int(limit)}
        """,
        [list(ticket_ids), list(ticket_ids)],
    )


def group_names(models: Path) -> dict[str, str]:
    """What people call the groups of matching.toml; those without a name are left out. SettingsError names what is wrong."""
    path, found = models / "matching.toml", {}
    for group, e in entries.table(path, entries.toml(path), "group").items():
        with slips(path, f"[group.{group}]"):
            if "name" in e:
                found[group] = text(e, "name")
    return found


def _named(con: duckdb.DuckDBPyConnection, whys: Mapping[str, Any], settings: Settings) -> Named:
    every = [inner for why in whys.values() for inner in _inside(why)]
    acts = sorted({why["keputusan"] for why in every if why.get("keputusan")})
    # A link and the decision that it led to have one place in the order.
    decided = ask(
        con,
        "SELECT a.act_id, a.act, a.happened_at, CASE WHEN a.actor = 'pipeline' THEN l.report_id END AS shown_by"
        f" FROM ticket_decisions a LEFT JOIN links l USING (arrival) WHERE a.act_id {_AMONG}",
        [acts],
    )
    decisions = {row["act_id"]: Decided(row["act"], row["happened_at"], row["shown_by"]) for row in decided}
    shown = {d.shown_by for d in decisions.values() if d.shown_by}
    reports = sorted({*whys, *shown, *(why["laporan"] for why in every if why.get("laporan"))})
    heard = ask(
        con,
        f"SELECT report_id, coalesce(channel_name, channel) AS channel, occurred_at FROM reports WHERE report_id {_AMONG}",
        [reports],
    )
    said = {row["report_id"]: Heard(row["channel"], row["occurred_at"]) for row in heard}
    return Named(said, decisions, group_names(settings.models_dir))


def _inside(why: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """An explanation, and those that it holds of the links before it."""
    yield why
    if isinstance(before := (why.get("sebelumnya") or {}).get("explanation"), dict):
        yield from _inside(before)
