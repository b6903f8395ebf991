"""Proofs of the warehouse after each load; while one fails, nothing is delivered or published.

They open the warehouse itself, under the writer's lock: a proof of the snapshot would prove a copy.
"""

from collections.abc import Iterator, Mapping

import dagster as dg

from pipelines.defs.loading import REPORTS_KEY, TICKETS_KEY
from pipelines.defs.resources import WAREHOUSE, Kanal, again_or_failed
from pipelines.errors import KanalError
from pipelines.sinks.warehouse import open_warehouse

RECONCILED, UNIQUE, IN_RANGE = "reconciled", "keys_unique", "confidence_in_range"
_OF_TICKETS = ("tickets:", "ticket_events:", "links:", "leaders:", "leader_keys:")

SPECS = [
    dg.AssetCheckSpec(
        RECONCILED,
        asset=REPORTS_KEY,
        blocking=True,
        description=(
            "Every landed message is accounted for: reports + repeats + filtered + quarantined + events, in ledger and tables."
        ),
    ),
    dg.AssetCheckSpec(
        UNIQUE, asset=REPORTS_KEY, blocking=True, description="No message, report, contact or batch is there twice."
    ),
    dg.AssetCheckSpec(IN_RANGE, asset=REPORTS_KEY, blocking=True, description="Every confidence lies in 0..1."),
    dg.AssetCheckSpec(
        RECONCILED,
        asset=TICKETS_KEY,
        blocking=True,
        description=("Every link joins a report and a ticket that exist, and tickets count their reports right."),
    ),
    dg.AssetCheckSpec(UNIQUE, asset=TICKETS_KEY, blocking=True, description="No ticket, link or event is there twice."),
]


def check_of(violation: str) -> tuple[dg.AssetKey, str]:
    """Which check a promise of the warehouse belongs to, by its words (sinks/warehouse.py)."""
    key = TICKETS_KEY if violation.startswith(_OF_TICKETS) else REPORTS_KEY
    if violation.startswith("confidence"):
        return key, IN_RANGE
    return key, UNIQUE if ": key (" in violation else RECONCILED


@dg.multi_asset_check(name="prove_warehouse", specs=SPECS, pool=WAREHOUSE)
def prove_warehouse(context: dg.AssetCheckExecutionContext, kanal: Kanal) -> Iterator[dg.AssetCheckResult]:
    """Count what breaks each promise; one opening of the warehouse for all."""
    settings = kanal.settings()
    try:
        with open_warehouse(settings.warehouse) as warehouse:
            violations = warehouse.violations()
    except KanalError as error:
        raise again_or_failed(context.op_execution_context, error) from None
    yield from results(violations)


def results(violations: Mapping[str, int]) -> Iterator[dg.AssetCheckResult]:
    """One result a check, with the rows that break each of its promises."""
    for spec in SPECS:
        mine = {what: rows for what, rows in violations.items() if check_of(what) == (spec.asset_key, spec.name)}
        broken = sorted(what for what, rows in mine.items() if rows)
        yield dg.AssetCheckResult(
            asset_key=spec.asset_key,
            check_name=spec.name,
            passed=not broken,
            description=f"broken: {'; '.join(broken)}. Run: kanal audit, then kanal rebuild" if broken else "holds",
            metadata=mine,
        )
