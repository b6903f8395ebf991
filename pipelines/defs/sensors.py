"""When to load: it asks landing, folders and Dagster, never the warehouse, for a reader blocks the writer.

A run too many finds nothing to do, so nothing here has to be exact; no run_key is relied on.
"""

from datetime import UTC, date, datetime, timedelta

import dagster as dg
import orjson

from pipelines.contracts import WIB
from pipelines.defs import backlog
from pipelines.defs.loading import ANALYTICS_KEY, JOB, REPORT_KEY, REPORTS_KEY
from pipelines.defs.resources import Kanal, busy, day_of
from pipelines.flow import utc_now
from pipelines.settings import Settings
from pipelines.sinks.landing import Landing

_FIRST, _LAST = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
_STOPPED = (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)


@dg.definitions
def sensors() -> dg.Definitions:
    return dg.Definitions(sensors=[_landed_not_loaded()])


def _landed_not_loaded() -> dg.SensorDefinition:
    @dg.sensor(
        name="landed_not_loaded",
        job_name=JOB,
        minimum_interval_seconds=20,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Starts `load` for the landing days that hold messages without a row in the ledger.",
    )
    def tick(context: dg.SensorEvaluationContext, kanal: Kanal) -> dg.SensorResult | dg.SkipReason:
        if busy(context, JOB):
            return dg.SkipReason("a load is queued or goes on")
        settings, now = kanal.settings(), utc_now()
        cursor = orjson.loads(context.cursor or "{}")
        landing = Landing(settings.landing_dir)
        recorded = backlog.Recorded.parse(cursor.get("recorded"), landing)
        recorded.read(landing)
        entry, loaded_at = _mark(context.instance, settings)
        published = f"{recorded.entry} {day_of(now)}"
        request, why = None, "everything landed is loaded"
        if (wait := _wait(context.instance, settings, now)) > timedelta(0):
            why = f"the last load failed; the next is tried in {wait.total_seconds():.0f} s"
        elif days := backlog.days_waiting(landing, recorded, entry):
            request = _request(*days)
        elif _last_failed(context.instance):
            request = _request(now.astimezone(WIB).date(), now.astimezone(WIB).date())
        elif published != cursor.get("published") and _snapshot_behind(settings, loaded_at, now):
            cursor["published"] = published
            request = dg.RunRequest(partition_key=day_of(now), asset_selection=[ANALYTICS_KEY, REPORT_KEY])
        cursor["recorded"] = recorded.text()
        return dg.SensorResult(
            run_requests=[request] if request else [],
            skip_reason=None if request else dg.SkipReason(why),
            cursor=orjson.dumps(cursor).decode(),
        )

    return tick


def _request(first: date, last: date) -> dg.RunRequest:
    start = datetime(first.year, first.month, first.day, tzinfo=WIB)
    end = datetime(last.year, last.month, last.day, tzinfo=WIB)
    if first == last:
        return dg.RunRequest(partition_key=day_of(start))
    return dg.RunRequest(tags={_FIRST: day_of(start), _LAST: day_of(end)})


def _mark(instance: dg.DagsterInstance, settings: Settings) -> tuple[int, datetime | None]:
    """(newest entry that a load committed to this very warehouse, when); (-1, None) where unknown."""
    event = instance.get_latest_materialization_event(REPORTS_KEY)
    if event is None or event.asset_materialization is None or not settings.warehouse.exists():
        return -1, None
    metadata = {name: value.value for name, value in event.asset_materialization.metadata.items()}
    if metadata.get("warehouse") != f"{settings.warehouse}#{settings.warehouse.stat().st_ino}":
        return -1, None
    return int(str(metadata["entry"])), datetime.fromtimestamp(event.timestamp, UTC)


def _last_run(instance: dg.DagsterInstance) -> dg.RunRecord | None:
    return next(iter(instance.get_run_records(filters=dg.RunsFilter(job_name=JOB), limit=1)), None)


def _last_failed(instance: dg.DagsterInstance) -> bool:
    last = _last_run(instance)
    return last is not None and last.dagster_run.status in _STOPPED


def _wait(instance: dg.DagsterInstance, settings: Settings, now: datetime) -> timedelta:
    """How long to leave alone what failed: as long as a channel waits for its next turn."""
    last = _last_run(instance)
    if last is None or last.dagster_run.status not in _STOPPED or last.end_time is None:
        return timedelta(0)
    return datetime.fromtimestamp(last.end_time, UTC) + timedelta(minutes=settings.every_minutes) - now


def _snapshot_behind(settings: Settings, loaded_at: datetime | None, now: datetime) -> bool:
    """Whether the snapshot is due: a load ended when the last one was too young, or a new day began."""
    if loaded_at is None:
        return False
    if not (settings.analytics.exists() and settings.report.exists()):
        return True
    built = datetime.fromtimestamp(settings.analytics.stat().st_mtime, UTC)
    old_enough = now - built >= timedelta(minutes=settings.snapshot_minutes)
    return old_enough and (loaded_at > built or day_of(built) < day_of(now))
