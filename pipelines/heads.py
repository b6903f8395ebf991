"""What a stream's newest cursor tells people: what reading cost, and what could not be read.

Used by run, status, Dagster and alerts, so that all say the same. The shapes are contracts.Batch's.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from pipelines.contracts import WIB

_MONTH = timedelta(days=30)
_COUNTED = ("posts", "owned", "users", "media")


def gaps_of(cursor: Mapping[str, Any] | None) -> list[dict[str, str]]:
    """The gaps on record, oldest first."""
    return list((cursor or {}).get("gaps", []))


def late_gaps(cursor: Mapping[str, Any] | None, now: datetime, within: timedelta = _MONTH) -> list[dict[str, str]]:
    """Those found lately: after a month a gap is history, and told by the snapshot alone."""
    return [g for g in gaps_of(cursor) if now - datetime.fromisoformat(g["found_at"]) < within]


def tell_gap(stream: str, gap: Mapping[str, str]) -> str:
    """A gap in words: what is lost, between when, and how to fill it."""
    begin, end = (datetime.fromisoformat(gap[k]).astimezone(WIB).strftime("%Y-%m-%d %H:%M WIB") for k in ("from", "to"))
    return f"{stream}: GAP from {begin} to {end}: {gap['what']} are lost; to fill it, {gap['fill']}"


def costs_of(cursor: Mapping[str, Any] | None, options: Mapping[str, Any], now: datetime) -> dict[str, Any] | None:
    """What reading cost this UTC day and in 30 days; None where the stream costs nothing."""
    spend = (cursor or {}).get("spend", {})
    budget = {k: options[k] for k in ("budget_usd_per_day", "budget_reads_per_day") if k in options}
    if not spend and not budget:
        return None
    today = now.astimezone(UTC).date()
    row = spend.get(today.isoformat(), {})
    since = (today - _MONTH).isoformat()
    return {
        "day": today.isoformat(),
        **{name: row.get(name, 0) for name in _COUNTED},
        "usd": row.get("usd", 0.0),
        **budget,
        "usd_30_days": round(sum(r.get("usd", 0.0) for day, r in spend.items() if day > since), 6),
    }


def tell_costs(stream: str, costs: Mapping[str, Any]) -> str:
    """What reading cost, in words."""
    reads = costs["posts"] + costs["owned"]
    of_reads = f" of {costs['budget_reads_per_day']:,}" if "budget_reads_per_day" in costs else ""
    of_usd = f" of {costs['budget_usd_per_day']:,.2f}" if "budget_usd_per_day" in costs else ""
    return (
        f"{stream}: {costs['day']} UTC {reads:,}{of_reads} posts and {costs['users']:,} users read,"
        f" {costs['usd']:.2f}{of_usd} US$; {costs['usd_30_days']:.2f} US$ in 30 days"
    )
