"""Who is told of what: failed runs, and channels that are not asked or do not speak.

Plain sensors with their own cursors: Dagster's run failure sensor moves on when the mail server is
away, and the alert is lost. Here the cursor moves when people were told. Texts hold Kanal's own
words only: what an unforeseen error says may quote a message, so its type stands for it.
"""

import contextlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import dagster as dg
import orjson

from pipelines import alerts, flow, heads
from pipelines.contracts import WIB
from pipelines.defs import backlog
from pipelines.defs.landing import channels_of, job_name, key_of
from pipelines.defs.resources import Kanal
from pipelines.errors import KanalError, PermanentError
from pipelines.settings import Settings
from pipelines.sinks.landing import Landing

_NOBODY = "nobody is told: set [alerts] in kanal.toml"
_MOST = 50  # failed runs told at once, and remembered as told
_FAILURE, _SUCCESS = dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.SUCCESS


@dg.sensor(
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Tells people of failed runs: the first of a row, or the second where waiting may mend it; then once a day.",
)
def tell_failures(context: dg.SensorEvaluationContext, kanal: Kanal) -> dg.SensorResult | dg.SkipReason:
    settings = kanal.settings()
    if not alerts.anybody(settings.alerts):
        return dg.SkipReason(_NOBODY)
    cursor = orjson.loads(context.cursor or "{}")
    since = cursor.get("since") or flow.utc_now().isoformat()
    records = context.instance.get_run_records(
        filters=dg.RunsFilter(statuses=[_FAILURE], updated_after=datetime.fromisoformat(since)),
        order_by="update_timestamp",
        ascending=True,
        limit=_MOST,
    )
    told = cursor.get("told", [])
    new = [r for r in records if r.dagster_run.run_id not in told]
    worth = [r for r in new if worth_telling(context.instance, r)]
    failed: list[KanalError] = []
    if worth:
        names = ", ".join(sorted({_name(r.dagster_run) for r in worth}))
        text = "\n\n".join(_told(context.instance, r) for r in worth)
        failed = alerts.tell(settings.alerts, f"Kanal: {names} failed", text)
    if records:
        since = records[-1].update_timestamp.astimezone(UTC).isoformat()
    told = [*told, *(r.dagster_run.run_id for r in new)][-_MOST:]
    return dg.SensorResult(
        skip_reason=dg.SkipReason("; ".join([f"told of {len(worth)} of {len(new)} failed runs", *map(str, failed)])),
        cursor=orjson.dumps({"since": since, "told": told}).decode(),
    )


def worth_telling(instance: dg.DagsterInstance, record: dg.RunRecord) -> bool:
    """The second failure in a row; the first unless time may mend it; then the first of each day."""
    finished = dg.RunsFilter(job_name=record.dagster_run.job_name, statuses=[_FAILURE, _SUCCESS])
    earlier = [
        r
        for r in instance.get_run_records(filters=finished, cursor=record.dagster_run.run_id, limit=2)
        if r.dagster_run.run_id != record.dagster_run.run_id
    ]
    if not earlier or earlier[0].dagster_run.status == _SUCCESS:
        return not _transient(instance, record)
    if len(earlier) == 1 or earlier[1].dagster_run.status == _SUCCESS:
        return True
    return _ended(earlier[0]).date() != _ended(record).date()


def _ended(record: dg.RunRecord) -> datetime:
    return datetime.fromtimestamp(record.end_time or 0, WIB)


def _step_failures(instance: dg.DagsterInstance, record: dg.RunRecord) -> Iterator[dg.DagsterEvent]:
    for entry in instance.all_logs(record.dagster_run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE):
        yield entry.get_dagster_event()


def _transient(instance: dg.DagsterInstance, record: dg.RunRecord) -> bool:
    told = [e.step_failure_data.user_failure_data for e in _step_failures(instance, record)]
    return bool(told) and all(
        t is not None and "transient" in t.metadata and t.metadata["transient"].value for t in told
    )


def _name(run: dg.DagsterRun) -> str:
    """The job, or what a person asked for in a run of no job."""
    if not run.job_name.startswith("__"):
        return run.job_name
    return f"run of {', '.join(sorted(key.to_user_string() for key in run.asset_selection or ()))}"


def _told(instance: dg.DagsterInstance, record: dg.RunRecord) -> str:
    """A failed run in words: what said so, and where to look."""
    run = record.dagster_run
    lines = [f"{_name(run)} failed at {_ended(record):%Y-%m-%d %H:%M} WIB (run {run.run_id})"]
    for entry in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION):
        evaluation = entry.get_dagster_event().asset_check_evaluation_data
        if not evaluation.passed and evaluation.blocking:
            lines.append(
                f"- check {evaluation.check_name} of {evaluation.asset_key.to_user_string()}: {evaluation.description}"
            )
    for event in _step_failures(instance, record):
        failure = event.step_failure_data
        if failure.user_failure_data:
            lines += [f"- {line}" for line in (failure.user_failure_data.description or "").splitlines()]
        elif failure.error and failure.error.cls_name != "DagsterAssetCheckFailedError":
            lines.append(f"- {event.step_key}: {_root_class(failure.error)}; see the run in Dagster")
    if len(lines) == 1:
        lines.append("- its process ended or ran too long; see the run in Dagster")
    return "\n".join(lines)


def _root_class(error: object) -> str:
    """Class of the innermost cause."""
    while getattr(error, "cause", None):
        error = error.cause  # type: ignore[attr-defined]
    return str(getattr(error, "cls_name", None) or "error")


# --- silence --------------------------------------------------------------------------------


@dg.sensor(
    minimum_interval_seconds=3600,  # each stream falls silent at its own minute, and none is urgent to the minute
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Tells people of channels that Dagster did not ask in time, and of streams that fell silent; once, then once a day."
    " Of gaps that cannot be read it tells once.",
)
def tell_silence(context: dg.SensorEvaluationContext, kanal: Kanal) -> dg.SensorResult | dg.SkipReason:
    settings, now = kanal.settings(), flow.utc_now()
    if not alerts.anybody(settings.alerts):
        return dg.SkipReason(_NOBODY)
    told: dict[str, str] = orjson.loads(context.cursor or "{}")
    today = now.astimezone(WIB).date().isoformat()
    lost_now = dict(lost(settings, now))
    found = dict([*not_asked(context.instance, channels_of(settings)), *silent(settings, now)]) | lost_now
    new = [what for what in found if told.get(what) != today and not (what in lost_now and what in told)]
    if new:
        alerts.tell(
            settings.alerts,
            f"Kanal: {len(new)} channels or streams are silent or lost something",
            "\n".join(found[w] for w in sorted(new)),
        )
    return dg.SensorResult(
        skip_reason=dg.SkipReason(f"told of {len(new)} of {len(found)}"),
        cursor=orjson.dumps(dict.fromkeys(found, today)).decode(),
    )


def not_asked(instance: dg.DagsterInstance, channels: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(key, words) of channels whose freshness policy fails: no landing run succeeded in its window."""
    keys = {key_of(channel): channel for channel in channels}
    for key, record in instance.get_freshness_state_records(list(keys)).items():
        if record.freshness_state == "FAIL":
            channel = keys[key]
            yield (
                f"asked {channel}",
                f"- {channel}: {job_name(channel)} has not succeeded for too long; is its schedule on?",
            )


def lost(settings: Settings, now: datetime) -> Iterator[tuple[str, str]]:
    """(key, words) of what could not be read, as the runs of the last 30 days found out."""
    landing = Landing(settings.landing_dir)
    for stream in settings.streams:
        with contextlib.suppress(PermanentError):  # `silent` tells of a landing that cannot be read
            for gap in heads.late_gaps(landing.head(stream).cursor, now):
                yield f"gap {stream.key} {gap['what']} {gap['from']}", f"- {heads.tell_gap(stream.key, gap)}"


def silent(settings: Settings, now: datetime) -> Iterator[tuple[str, str]]:
    """(key, words) of streams that once spoke and have not for their hours, or whose landing cannot be read."""
    landing = Landing(settings.landing_dir)
    for stream in settings.streams:
        patience = backlog.stale_after(stream)
        try:
            said = backlog.last_said(landing, stream)
        except PermanentError as error:
            yield f"read {stream.key}", f"- {error}"
            continue
        if said is not None and now - said > patience:
            last = f"{said.astimezone(WIB):%Y-%m-%d %H:%M} WIB"
            yield (
                f"spoke {stream.key}",
                f"- {stream.key}: nothing said since {last} (stale_hours = {patience / timedelta(hours=1):g})",
            )
