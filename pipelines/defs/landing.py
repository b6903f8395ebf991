"""landing/<channel>: one asset, job and schedule a channel, made from kanal.toml.

A channel that fails stops no other, and two runs of a channel at once lose nothing; so these runs
are in no pool. A new channel or stream appears when Dagster reloads the code location.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from typing import Any

import dagster as dg
import orjson

from pipelines import flow, heads
from pipelines import knowledge as known
from pipelines.contracts import LANDED, WIB, Stream
from pipelines.defs import backlog, described
from pipelines.defs.resources import DAYS, OWNERS, Kanal, again_or_failed, asked_days, busy, configured, day_of
from pipelines.errors import KanalError, PermanentError, TransientError
from pipelines.settings import Settings
from pipelines.sinks.landing import Landing

GROUP = "landing"
SPOKE, WHOLE = "spoke_lately", "nothing_lost"
_LATELY = timedelta(days=1)
_HOUR = timedelta(hours=1)
_MAX_RUNTIME = "1800"
_KINDS = {  # those that Dagster has a picture for; any other source is shown by its name
    "export": "file",
    "letters": "pdf",
    "feed": "rss",
    "imap": "mail",
    "sms": "sms",
    "playsms": "sms",
    "twitter": "x",
    "facebook": "facebook",
    "webhook": "http",
    "form": "html",
    "feedback": "crm",
}


def key_of(channel: str) -> dg.AssetKey:
    return dg.AssetKey([GROUP, channel])


def job_name(channel: str) -> str:
    return f"land_{re.sub('[^a-z0-9_]', '_', channel)}"


def channels_of(settings: Settings) -> list[str]:
    """Channels with a stream, sorted, and the CRM's own."""
    return sorted({s.channel for s in flow.streams_of(settings)})


def minutes(number: int, every: int) -> str:
    """Cron schedule of the channel with this number: neighbours start at different minutes."""
    return f"{number % every}-59/{every} * * * *"


def minutes_of(settings: Settings, channel: str) -> int:
    """Minutes between two pulls of the channel."""
    return settings.channel_minutes.get(channel, settings.every_minutes)


@dg.definitions
def landing() -> dg.Definitions:
    settings = configured()
    return _definitions(settings) if settings else dg.Definitions()


def _definitions(settings: Settings) -> dg.Definitions:
    assets, jobs, schedules, fed = [], [], [], {}
    for number, channel in enumerate(channels_of(settings)):
        asset = _asset(settings, channel)
        job = dg.define_asset_job(
            job_name(channel),
            selection=dg.AssetSelection.assets(asset),
            tags={"dagster/max_runtime": _MAX_RUNTIME},
            executor_def=dg.in_process_executor,
            description=f"Pull every stream of {channel} and land what is new.",
        )
        assets.append(asset)
        jobs.append(job)
        if any("inbox" in s.options for s in flow.streams_of(settings, channel)):
            fed[channel] = job
        schedules.append(_schedule(job.name, minutes(number, minutes_of(settings, channel))))
    sensors = [_inbox_files(fed)] if fed else []
    return dg.Definitions(assets=assets, jobs=jobs, schedules=schedules, sensors=sensors)


def _asset(settings: Settings, channel: str) -> dg.AssetsDefinition:
    streams, key = flow.streams_of(settings, channel), key_of(channel)
    speaks = channel != flow.FEEDBACK.channel  # officers may rest

    @dg.asset(
        key=key,
        group_name=GROUP,
        description=_description(settings, channel, streams),
        kinds={"parquet", *sorted({_KINDS.get(s.source, s.source) for s in streams})[:2]},
        tags=_tags(settings, channel),
        owners=OWNERS,
        partitions_def=DAYS,
        backfill_policy=dg.BackfillPolicy.single_run(),
        # Whether the channel was asked; whether it said anything is the check's.
        freshness_policy=dg.FreshnessPolicy.time_window(fail_window=_asked_within(settings, channel)),
        metadata={"dagster/column_schema": described.table_schema(LANDED)},
        check_specs=[
            dg.AssetCheckSpec(SPOKE, asset=key, description=_spoke_description(streams)),
            dg.AssetCheckSpec(WHOLE, asset=key, description="No run of the last day found a gap that cannot be read."),
        ]
        if speaks
        else [],
    )
    def land(context: dg.AssetExecutionContext, kanal: Kanal) -> Iterator[dg.MaterializeResult]:
        try:
            yield from _land(context, kanal.settings(), channel, checked=speaks)
        except KanalError as error:
            raise again_or_failed(context, error) from None

    return land


def _land(
    context: dg.AssetExecutionContext, settings: Settings, channel: str, *, checked: bool
) -> Iterator[dg.MaterializeResult]:
    """Land every stream; a stream that stops is told at the end, when the others are done."""
    now, streams = flow.utc_now(), flow.streams_of(settings, channel)
    since, progress = _since(context, now), described.logged(context)
    pulled = [flow.land(settings, s, run_id=context.run.run_id, since=since, progress=progress) for s in streams]
    stopped = [p.error for p in pulled if p.error]
    if len(stopped) < len(pulled):
        landing, today = Landing(settings.landing_dir), now.astimezone(WIB).date()
        cursors = {s.key: landing.head(s).cursor for s in streams}
        costs = {s.key: c for s in streams if (c := heads.costs_of(cursors[s.key], s.options, now))}
        metadata = described.pulled_metadata(pulled, costs) | {
            "dagster/partition_row_count": sum(backlog.rows_of_day(landing, s.channel, s.name, today) for s in streams),
            "path": dg.MetadataValue.path(settings.landing_dir / channel),
        }
        checks = [_spoke(landing, streams, now), _whole(cursors, now)] if checked else []
        yield dg.MaterializeResult(metadata=metadata, check_results=checks)
    if stopped:
        raise _together(stopped)


def _asked_within(settings: Settings, channel: str) -> timedelta:
    return timedelta(minutes=max(60, 6 * minutes_of(settings, channel)))


def _since(context: dg.AssetExecutionContext, now: datetime) -> date | None:
    """A person who asks for days before today wants the source read again from there."""
    days = asked_days(context)
    return days[0] if days and days[0].isoformat() < day_of(now) else None


def _together(errors: list[KanalError]) -> KanalError:
    """One error for the streams that stopped: transient where waiting may mend them all."""
    told = "\n".join(str(e) for e in errors)
    waits = [e.retry_after or 0 for e in errors if isinstance(e, TransientError)]
    return TransientError(told, retry_after=max(waits)) if len(waits) == len(errors) else PermanentError(told)


def _spoke(landing: Landing, streams: tuple[Stream, ...], now: datetime) -> dg.AssetCheckResult:
    """Whether every stream of the channel has said something within its hours."""
    rows, silent = [], []
    for stream in streams:
        said, patience = backlog.last_said(landing, stream), backlog.stale_after(stream)
        if said is None or now - said > patience:
            silent.append(stream.key)
        last = said.astimezone(WIB).isoformat(timespec="minutes") if said else "never"
        rows.append(dg.TableRecord({"stream": stream.key, "last_said": last, "stale_hours": patience / _HOUR}))
    return dg.AssetCheckResult(
        check_name=SPOKE,
        passed=not silent,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"silent: {', '.join(silent)}" if silent else "every stream has spoken lately",
        metadata={"streams": dg.MetadataValue.table(rows)},
    )


def _whole(cursors: Mapping[str, dict[str, Any] | None], now: datetime) -> dg.AssetCheckResult:
    """Whether nothing was found lost lately."""
    gaps = [heads.tell_gap(key, g) for key, cursor in cursors.items() for g in heads.late_gaps(cursor, now, _LATELY)]
    return dg.AssetCheckResult(
        check_name=WHOLE,
        passed=not gaps,
        severity=dg.AssetCheckSeverity.WARN,
        description="\n".join(gaps) if gaps else "nothing was lost",
    )


def _spoke_description(streams: tuple[Stream, ...]) -> str:
    hours = sorted({f"{backlog.stale_after(s) / _HOUR:g}" for s in streams})
    return f"The newest message of every stream was said within {' or '.join(hours)} hours (its option stale_hours)."


def _description(settings: Settings, channel: str, streams: tuple[Stream, ...]) -> str:
    entry = _registered(settings, channel)
    said = f"**{entry.name}.** {entry.description}" if entry else "What officers did with tickets, as the CRM tells it."
    names = ", ".join(f"`{s.name}` ({s.source})" for s in streams[:10]) + (" ..." if len(streams) > 10 else "")
    parts = [said, f"Streams: {names}"]
    parts += [described.catalogue_entry(source) for source in sorted({s.source for s in streams})]
    return "\n\n".join(parts)


def _tags(settings: Settings, channel: str) -> dict[str, str]:
    entry = _registered(settings, channel)
    return {"kind": entry.kind, "geo_tagged": str(entry.geo_tagged).lower()} if entry else {}


def _registered(settings: Settings, channel: str) -> known.Channel | None:
    return known.channels(settings).get(channel)


def _schedule(job: str, cron: str) -> dg.ScheduleDefinition:
    @dg.schedule(
        name=f"{job}_schedule",
        job_name=job,
        cron_schedule=cron,
        execution_timezone=str(WIB),
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )
    def tick(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        if busy(context, job):
            return dg.SkipReason(f"the last {job} still runs")
        return dg.RunRequest(partition_key=day_of(context.scheduled_execution_time))

    return tick


def _inbox_files(jobs: dict[str, Any]) -> dg.SensorDefinition:
    @dg.sensor(
        name="inbox_files",
        jobs=list(jobs.values()),
        minimum_interval_seconds=20,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Starts a channel's landing as soon as a file appears or changes in one of its inboxes.",
    )
    def tick(context: dg.SensorEvaluationContext, kanal: Kanal) -> dg.SensorResult:
        settings, requests = kanal.settings(), []
        seen = orjson.loads(context.cursor or "{}")
        for channel in jobs:
            state = backlog.inbox_state([s for s in settings.streams if s.channel == channel])
            if state != seen.get(channel, "") and not busy(context, job_name(channel)):
                seen[channel] = state
                if state:
                    requests.append(dg.RunRequest(job_name=job_name(channel), partition_key=day_of(flow.utc_now())))
        return dg.SensorResult(
            run_requests=requests,
            skip_reason=None if requests else dg.SkipReason("no new file"),
            cursor=orjson.dumps(seen).decode(),
        )

    return tick
