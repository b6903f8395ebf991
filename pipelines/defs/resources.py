"""Where the settings are, and what every definition shares: partitions, pool, the executor."""

import os
from datetime import date, datetime
from pathlib import Path

import dagster as dg

from pipelines import knowledge as known
from pipelines import settings as kanal_settings
from pipelines.contracts import WIB
from pipelines.defs import backlog
from pipelines.errors import KanalError, SettingsError, TransientError
from pipelines.settings import Settings

FIRST_DAY = date(2026, 1, 1)
WAREHOUSE = "warehouse"  # the pool of one that everything which opens the warehouse runs in
OWNERS = ["team:data-engineering"]
_BUSY = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)
Runs = dg.AssetExecutionContext | dg.OpExecutionContext

# Bridges a hiccup. A longer one is the schedule's: a run that waits holds a place in the queue.
_RETRIES, _FIRST_WAIT, _LONGEST_WAIT = 2, 10.0, 60.0

# A label for people and backfills: what is loaded is driven by the ledger. Today is a partition.
DAYS = dg.DailyPartitionsDefinition(start_date=FIRST_DAY.isoformat(), timezone=str(WIB), end_offset=1)


class Kanal(dg.ConfigurableResource):
    """Path of kanal.toml, and nothing else: settings are read anew by each run."""

    config: str

    def settings(self) -> Settings:
        """Settings as they stand now; a Failure that says what is wrong with them."""
        try:
            return kanal_settings.load(Path(self.config))
        except SettingsError as error:
            raise failed(error) from None


def config_path() -> Path:
    """$KANAL_CONFIG, else ./kanal.toml, else the project's own samples/kanal.toml."""
    named = os.environ.get("KANAL_CONFIG")
    if named or Path("kanal.toml").is_file():
        return Path(named or "kanal.toml").absolute()
    return Path(__file__).resolve().parents[2] / "samples" / "kanal.toml"


def configured() -> Settings | None:
    """The settings that definitions are made from. None, with a warning, where they cannot be read:
    the definitions then hold no channel, and every run says why."""
    try:
        settings = kanal_settings.load(config_path())
        known.channels(settings)
        for stream in settings.streams:
            backlog.stale_after(stream)
        return settings
    except SettingsError as error:
        dg.get_dagster_logger().warning(f"no channels are defined: {error}")
        return None


def failed(error: KanalError) -> dg.Failure:
    """The error as Dagster shows it. Raise it `from None`: causes may quote what nobody may read."""
    return dg.Failure(str(error), metadata={"transient": isinstance(error, TransientError)}, allow_retries=False)


def again_or_failed(context: Runs, error: KanalError) -> dg.Failure | dg.RetryRequested:
    """What to raise, `from None`: a TransientError is tried again in a while, a few times; the rest fails.

    A RetryPolicy would try faults of the code again too, and tell of its own limit instead of the error.
    """
    wait = (error.retry_after or 0) if isinstance(error, TransientError) else None
    if wait is None or wait > _LONGEST_WAIT or context.retry_number >= _RETRIES:
        return failed(error)
    context.log.warning("tried again in a while: %s", error)
    return dg.RetryRequested(max_retries=_RETRIES, seconds_to_wait=max(wait, _FIRST_WAIT * 2**context.retry_number))


def busy(context: dg.ScheduleEvaluationContext | dg.SensorEvaluationContext, job: str) -> bool:
    """Whether a run of the job is queued or going on."""
    filters = dg.RunsFilter(job_name=job, statuses=list(_BUSY))
    return bool(context.instance.get_runs(filters=filters, limit=1))


def day_of(at: datetime) -> str:
    """Partition of an aware time."""
    return max(at.astimezone(WIB).date(), FIRST_DAY).isoformat()


def asked_days(context: dg.AssetExecutionContext) -> list[date]:
    """Landing days that a person asked for in Dagster; none where a schedule or sensor fired the run."""
    if {"dagster/schedule_name", "dagster/sensor_name"} & set(context.run.tags):
        return []
    asked = context.has_partition_key or context.has_partition_key_range
    return [date.fromisoformat(key) for key in context.partition_keys] if asked else []


@dg.definitions
def resources() -> dg.Definitions:
    # In one process a step costs 80 ms; the default executor starts a process for each: 4.6 s of CPU.
    return dg.Definitions(resources={"kanal": Kanal(config=str(config_path()))}, executor=dg.in_process_executor)
