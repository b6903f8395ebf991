"""Housekeeping: Dagster's own records every night, landing's small files every hour, photos behind addresses.

Thirteen channels every five minutes are 3,700 runs a day, each with a file of about 140 KB under $DAGSTER_HOME.
Old ones go, but for the last success of each job and day, which keeps that day's partition shown as done.
A stream of webhooks may land 18,000 files an hour, which are merged; see sinks/compaction.
"""

from datetime import datetime, timedelta
from pathlib import Path

import dagster as dg

from pipelines import keep, media
from pipelines.contracts import WIB
from pipelines.defs import described
from pipelines.defs.resources import Kanal, again_or_failed, busy
from pipelines.errors import KanalError
from pipelines.flow import utc_now

_KEEP = timedelta(days=7)
_MOST = 10_000  # runs looked at a night
_DAYS = ("dagster/partition", "dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
_FINISHED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]


@dg.op
def delete_old_runs(context: dg.OpExecutionContext) -> None:
    """Delete what `old_runs` names, and the run's event file where Dagster keeps one."""
    instance = context.instance
    runs = old_runs(instance, utc_now())
    for run_id in runs:
        instance.delete_run(run_id)
        # With SQLite the emptied file stays behind otherwise.
        Path(instance.root_directory, "history", "runs", f"{run_id}.db").unlink(missing_ok=True)
    context.log.info("deleted %d old runs", len(runs))


@dg.job(
    executor_def=dg.in_process_executor,
    description="Delete runs older than a week, but for the last success of each job and day.",
    tags={"dagster/max_runtime": "3600"},
)
def tidy() -> None:
    delete_old_runs()


@dg.schedule(
    job=tidy,
    cron_schedule="40 2 * * *",
    execution_timezone=str(WIB),
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
def tidy_schedule() -> dg.RunRequest:
    return dg.RunRequest()


@dg.op
def merge_small_files(context: dg.OpExecutionContext, kanal: Kanal) -> None:
    """`kanal compact` over all streams; pulls, loads and other compactions may go on meanwhile."""
    try:
        done = keep.compact_all(kanal.settings(), progress=described.logged(context))
    except KanalError as error:
        raise again_or_failed(context, error) from None
    context.log.info("merged %d batches into %d segments", sum(d.batches for d in done), sum(d.segments for d in done))


@dg.job(
    executor_def=dg.in_process_executor,
    description="Merge the many small landing files of busy streams into segments.",
    tags={"dagster/max_runtime": "3600"},
)
def compact() -> None:
    merge_small_files()


@dg.schedule(
    job=compact,
    cron_schedule="25 * * * *",
    execution_timezone=str(WIB),
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
def compact_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    return dg.SkipReason("the last compact still runs") if busy(context, "compact") else dg.RunRequest()


@dg.op
def fetch_photos(context: dg.OpExecutionContext, kanal: Kanal) -> None:
    """`kanal media fetch`; what it lands, the next load takes up."""
    try:
        found = media.fetch(kanal.settings(), progress=described.logged(context)).as_dict()
    except KanalError as error:
        raise again_or_failed(context, error) from None
    context.log.info("%s", ", ".join(f"{name} {count}" for name, count in found.items() if name != "problems"))
    for problem, count in found["problems"].items():
        context.log.warning("%d failed: %s", count, problem)


@dg.job(
    executor_def=dg.in_process_executor,
    description="Fetch photos behind addresses from hosts that [media] allow names.",
    tags={"dagster/max_runtime": "3600"},
)
def fetch_media() -> None:
    fetch_photos()


@dg.schedule(
    job=fetch_media,
    cron_schedule="10,40 * * * *",
    execution_timezone=str(WIB),
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
def fetch_media_schedule(context: dg.ScheduleEvaluationContext, kanal: Kanal) -> dg.RunRequest | dg.SkipReason:
    if not kanal.settings().media.fetch:
        return dg.SkipReason("kanal.toml does not say [media] fetch = true")
    return dg.SkipReason("the last fetch still runs") if busy(context, "fetch_media") else dg.RunRequest()


def old_runs(instance: dg.DagsterInstance, now: datetime) -> list[str]:
    """Ids of finished runs older than a week, newest first, without the last success of each job and day."""
    filters = dg.RunsFilter(statuses=_FINISHED, created_before=now - _KEEP)
    kept, old = set(), []
    for run in instance.get_runs(filters=filters, limit=_MOST):
        shows = (run.job_name, *(run.tags.get(tag) for tag in _DAYS))
        if run.status == dg.DagsterRunStatus.SUCCESS and shows not in kept:
            kept.add(shows)
        else:
            old.append(run.run_id)
    return old
