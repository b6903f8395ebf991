"""reports, tickets -> crm, analytics, report: one job, one run at a time.

The ledger says what is loaded; the run's days are a label. What a run was killed over is done by
the next one.
"""

from collections.abc import Iterator

import dagster as dg

from pipelines import flow
from pipelines.contracts import REPORTS, TICKETS
from pipelines.defs import described
from pipelines.defs.landing import channels_of, key_of
from pipelines.defs.resources import DAYS, OWNERS, WAREHOUSE, Kanal, again_or_failed, asked_days, configured
from pipelines.errors import KanalError
from pipelines.settings import Settings
from pipelines.sinks import crm, duck
from pipelines.sinks.marts import MARTS
from pipelines.sinks.warehouse import open_warehouse

REPORTS_KEY, TICKETS_KEY, CRM_KEY = dg.AssetKey("reports"), dg.AssetKey("tickets"), dg.AssetKey("crm")
ANALYTICS_KEY, REPORT_KEY = dg.AssetKey("analytics"), dg.AssetKey("report")
JOB, READABLE = "load", "landing_readable"
_MAX_RUNTIME = "3600"  # a load that is cut short loses nothing: the next goes on behind the last group


def warehouse_mark(settings: Settings, entry: int) -> described.Metadata:
    """What the warehouse held after a load: newest entry, and which file. A rebuilt one is another."""
    return {"entry": entry, "warehouse": f"{settings.warehouse}#{settings.warehouse.stat().st_ino}"}


def _spec(
    key: dg.AssetKey, about: str, *, group: str, deps: list[dg.AssetKey], kinds: set[str], **more: object
) -> dg.AssetSpec:
    return dg.AssetSpec(
        key,
        description=about,
        group_name=group,
        deps=deps,
        kinds=kinds,
        owners=OWNERS,
        partitions_def=DAYS,
        metadata=more,
        skippable=group == "published",
    )


@dg.definitions
def loading() -> dg.Definitions:
    settings = configured()
    landed = [key_of(channel) for channel in channels_of(settings)] if settings else []
    store = "postgres" if settings and settings.crm_url_env else "duckdb"
    assets = [_load(landed), _deliver(store), _publish()]
    job = dg.define_asset_job(
        JOB,
        selection=dg.AssetSelection.assets(*assets),
        executor_def=dg.in_process_executor,
        tags={"dagster/max_runtime": _MAX_RUNTIME, "dagster/priority": "1"},
        description="Refine, link and load everything landed and not yet loaded; deliver it; publish.",
    )
    return dg.Definitions(assets=assets, jobs=[job])


def _load(landed: list[dg.AssetKey]) -> dg.AssetsDefinition:
    @dg.multi_asset(
        name="load_landed",
        pool=WAREHOUSE,
        backfill_policy=dg.BackfillPolicy.single_run(),
        check_specs=[
            dg.AssetCheckSpec(READABLE, asset=REPORTS_KEY, description="Every landed file of every stream can be read.")
        ],
        specs=[
            _spec(
                REPORTS_KEY,
                described.about(REPORTS),
                group="warehouse",
                deps=landed,
                kinds={"duckdb", "python"},
                **{"dagster/column_schema": described.table_schema(REPORTS, unique=("report_id",))},
            ),
            _spec(
                TICKETS_KEY,
                described.about(TICKETS),
                group="warehouse",
                deps=[REPORTS_KEY],
                kinds={"duckdb", "python"},
                **{"dagster/column_schema": described.table_schema(TICKETS, unique=("ticket_id",))},
            ),
        ],
    )
    def load_landed(context: dg.AssetExecutionContext, kanal: Kanal) -> Iterator[dg.MaterializeResult]:
        settings = kanal.settings()
        failures: dict[str, str] = {}
        try:
            loaded = flow.load(
                settings, run_id=context.run.run_id, failures=failures, progress=described.logged(context)
            )
            with open_warehouse(settings.warehouse) as warehouse:
                mark = warehouse_mark(settings, warehouse.last_entry())
                reports, tickets = (
                    duck.one(warehouse.con, f"SELECT count(*) FROM {t}") for t in ("reports", "tickets")
                )
        except KanalError as error:
            raise again_or_failed(context, error) from None
        common = mark | {"path": dg.MetadataValue.path(settings.warehouse)}
        yield dg.MaterializeResult(
            asset_key=REPORTS_KEY,
            metadata=described.loaded_metadata(loaded) | common | {"dagster/row_count": reports},
            check_results=[_readable(failures)],
        )
        changes = {"opened": loaded.opened, "joined": loaded.joined}
        yield dg.MaterializeResult(asset_key=TICKETS_KEY, metadata=common | changes | {"dagster/row_count": tickets})

    return load_landed


def _readable(failures: dict[str, str]) -> dg.AssetCheckResult:
    """Streams that could not be loaded. Not blocking: what the others brought goes on its way."""
    told = "; ".join(failures.values()) or "every stream could be read"
    return dg.AssetCheckResult(asset_key=REPORTS_KEY, check_name=READABLE, passed=not failures, description=told)


def _deliver(store: str) -> dg.AssetsDefinition:
    schema = crm.TABLES["tickets"]

    @dg.multi_asset(
        name="deliver",
        pool=WAREHOUSE,
        backfill_policy=dg.BackfillPolicy.single_run(),
        specs=[
            _spec(
                CRM_KEY,
                "The CRM's own store, brought up to date with the tickets. Officers' columns stay theirs.",
                group="published",
                deps=[TICKETS_KEY],
                kinds={store},
                **{"dagster/column_schema": described.table_schema(schema, unique=("ticket_id",))},
            )
        ],
    )
    def deliver(context: dg.AssetExecutionContext, kanal: Kanal) -> dg.MaterializeResult:
        settings = kanal.settings()
        try:
            written = flow.deliver(settings)
        except KanalError as error:
            raise again_or_failed(context, error) from None
        place = "PostgreSQL" if settings.crm_url_env else dg.MetadataValue.path(settings.crm)
        return dg.MaterializeResult(metadata={"tickets_written": written, "path": place})

    return deliver


def _publish() -> dg.AssetsDefinition:
    @dg.multi_asset(
        name="publish",
        pool=WAREHOUSE,
        backfill_policy=dg.BackfillPolicy.single_run(),
        specs=[
            _spec(
                ANALYTICS_KEY,
                "analytics.duckdb: masked reports, tickets and figures, for any DuckDB client. A"
                " snapshot, so its readers disturb no load.",
                group="published",
                deps=[REPORTS_KEY, TICKETS_KEY],
                kinds={"duckdb"},
                tables=described.tables_of({name: mart.schema for name, mart in MARTS.items()}),
            ),
            _spec(
                REPORT_KEY,
                "report.html: trends by category, channel, area and agency, in one file for a browser.",
                group="published",
                deps=[ANALYTICS_KEY],
                kinds={"altair"},
            ),
        ],
    )
    def publish(context: dg.AssetExecutionContext, kanal: Kanal) -> Iterator[dg.MaterializeResult]:
        settings = kanal.settings()
        try:
            made = flow.publish(settings, hurry=bool(asked_days(context)))
        except KanalError as error:
            raise again_or_failed(context, error) from None
        if made is None:
            context.log.info("nothing new to publish, or the last snapshot is younger than [snapshot] allows")
            return
        for key, path in zip((ANALYTICS_KEY, REPORT_KEY), made, strict=True):
            yield dg.MaterializeResult(
                asset_key=key, metadata={"path": dg.MetadataValue.path(path), "bytes": path.stat().st_size}
            )

    return publish
