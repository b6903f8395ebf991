"""Photos that reports only tell the address of: fetched where an operator allows it, kept by their hash.

Off unless [media] fetch says so, and then only from hosts on its list. What was tried is read from
landing (`_media/fetched`), where every attempt is a message: a file that is known is not fetched
again, a dead link is not asked for ever, and a rebuild knows all of it.

Belongs here: which addresses, how often. Not here: asking one (sources/web), what a report becomes (load).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

import orjson

from pipelines.audit import attached
from pipelines.contracts import Message
from pipelines.errors import PermanentError, RejectedMessage, SettingsError, TransientError
from pipelines.flow import Progress, new_run_id, silent, utc_now
from pipelines.settings import Settings, secret
from pipelines.sinks.landing import BatchRef, Landing
from pipelines.sinks.warehouse import open_warehouse
from pipelines.sources import fetched, imap, mail, web
from pipelines.sources.attached import MAX_BYTES, described

# How long after the n-th attempt that failed for a while the next may come; after the last there is none.
_AGAIN = (timedelta(hours=1), timedelta(hours=6), timedelta(days=1), timedelta(days=3))


@dataclass(slots=True)
class Fetched:
    """Attachments by what became of them. fetched: anew; known: for another report or version before; waiting: landed
    and not loaded yet; failed; later: failed before, and not asked yet or no more; left: for the next run; elsewhere:
    not on the list. problems: why, and how often."""

    fetched: int = 0
    known: int = 0
    waiting: int = 0
    failed: int = 0
    later: int = 0
    left: int = 0
    elsewhere: int = 0
    problems: dict[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(slots=True)
class _Tried:
    """What is known of an address: the file, or how often it failed and when last."""

    file: dict[str, Any] | None = None
    failures: int = 0
    last: datetime | None = None
    again: bool = True

    def waits(self, now: datetime) -> bool:
        if self.last is None:
            return False
        return not self.again or self.failures > len(_AGAIN) or now < self.last + _AGAIN[self.failures - 1]


def fetch(
    settings: Settings,
    *,
    now: Callable[[], datetime] = utc_now,
    progress: Progress = silent,
    allow_loopback: bool = False,
) -> Fetched:
    """Fetch what may be fetched, newest reports first, at most [media] per_run addresses; each lands at once.

    SettingsError where it is not switched on. allow_loopback: see web.fetch.
    """
    rules = settings.media
    if not rules.fetch or not rules.allow:
        raise SettingsError(
            f"{settings.path}: nothing is fetched unless [media] fetch = true and allow names the hosts, such as"
            ' allow = ["pbs.twimg.com"]'
        )
    logins = {host: secret(name, what=f"[media] logins of {host}").strip() for host, name in rules.logins}
    limits = web.Limits(frozenset(rules.allow), min(rules.max_bytes, MAX_BYTES), rules.timeout_seconds, logins)
    landing, result, run_id = Landing(settings.landing_dir), Fetched(), new_run_id()
    wanted, loaded = _wanted(settings)
    tried, waiting = _tried(landing, loaded)
    asked = 0
    for report_id, url in wanted:
        progress("fetch", 1, len(wanted))
        if not web.allowed(url, limits.allow, allow_loopback=allow_loopback):
            result.elsewhere += 1
            continue
        if (report_id, url) in waiting:
            result.waiting += 1
            continue
        at, known = now(), tried.setdefault(url, _Tried())
        if known.file and not landing.media.fault(known.file["sha256"], whole=False):
            result.known += 1
            made = fetched.message(report_id, url, at, file=known.file)
        elif known.waits(at):
            result.later += 1
            continue
        elif asked >= rules.per_run:
            result.left += 1
            continue
        else:
            asked += 1
            made = _attempt(report_id, url, at, limits, known, result, allow_loopback=allow_loopback)
        _land(landing, made, run_id, at)
    return result


def _attempt(
    report_id: str, url: str, at: datetime, limits: web.Limits, known: _Tried, result: Fetched, *, allow_loopback: bool
) -> Message:
    try:
        data = web.fetch(url, limits, allow_loopback=allow_loopback)
    except (PermanentError, TransientError) as error:
        result.failed += 1
        result.problems[str(error)] = result.problems.get(str(error), 0) + 1
        known.failures, known.last, known.again = known.failures + 1, at, isinstance(error, TransientError)
        return fetched.message(report_id, url, at, problem=str(error), again=known.again)
    result.fetched += 1
    known.file = dict(described(data))
    return fetched.message(report_id, url, at, file=known.file, data=data)


def _wanted(settings: Settings) -> tuple[list[tuple[str, str]], int]:
    """((report_id, address) of ticketed reports' attachments without bytes, the newest first; the newest batch of
    attempts that is loaded)."""
    with open_warehouse(settings.warehouse) as warehouse:
        rows = warehouse.con.execute(
            "SELECT report_id, attachments FROM reports SEMI JOIN links USING (report_id)"
            " WHERE contains(attachments, '\"url\"') ORDER BY arrival DESC"
        ).fetchall()
        loads = warehouse.loaded().get((fetched.STREAM.channel, fetched.STREAM.name))
    wanted = [
        (report_id, file["url"])
        for report_id, files in rows
        for file in orjson.loads(files)
        if file.get("url") and (not file.get("sha256") or file.get("elsewhere"))
    ]
    return list(dict.fromkeys(wanted)), loads.newest if loads else -1


def _tried(landing: Landing, loaded: int) -> tuple[dict[str, _Tried], set[tuple[str, str]]]:
    """(what landing knows of each address, the files that only wait to be loaded: report and address)."""
    found: dict[str, _Tried] = {}
    waiting: set[tuple[str, str]] = set()
    for sequence, event in _attempts(landing):
        known = found.setdefault(event["url"], _Tried())
        if event["file"]:
            known.file = event["file"]
            if sequence > loaded:
                waiting.add((event["report_id"], event["url"]))
        else:
            known.failures, known.last, known.again = known.failures + 1, event["happened_at"], event["again"]
    return found, waiting


def _attempts(landing: Landing) -> Iterator[tuple[int, dict[str, Any]]]:
    stream = fetched.STREAM
    for run in landing.runs(stream.channel, stream.name, landing.sequences(stream.channel, stream.name)):
        table = landing.table(stream.channel, stream.name, run, ["payload", "fetched_at"])
        for row in table.to_pylist():
            try:
                message = Message("", "", row["payload"], fetched.PAYLOAD_TYPE, row["fetched_at"])
                yield row["sequence"], fetched.event(message)
            except RejectedMessage:
                continue


def _land(landing: Landing, made: Message, run_id: str, at: datetime) -> None:
    stream = fetched.STREAM
    while True:  # another fetch may land meanwhile: this one then goes behind it
        head = landing.head(stream)
        if landing.put(stream, head, [made], {}, source_version=fetched.VERSION, run_id=run_id, now=at):
            return


def restore(settings: Settings, *, progress: Progress = silent) -> dict[str, int]:
    """Keep again what is missing or damaged and stands in landed mails, which hold their files themselves.

    {"restored": n, "lost": n}: what is lost is in a backup of media/ or nowhere.
    """
    landing = Landing(settings.landing_dir)
    with open_warehouse(settings.warehouse) as warehouse:
        files = attached(warehouse)
    gone = {digest: ref for digest, ref in files.items() if landing.media.fault(digest, whole=True)}
    for ref in sorted(set(gone.values())):
        progress("restore", 1, len(set(gone.values())))
        for data in _files_in(landing, ref):
            landing.media.heal(data, among=gone)
    lost = sum(landing.media.fault(digest, whole=True) is not None for digest in gone)
    return {"restored": len(gone) - lost, "lost": lost}


def _files_in(landing: Landing, ref: BatchRef) -> Iterator[bytes]:
    table = landing.read(ref, columns=["payload", "payload_type"])
    for payload, kind in zip(table["payload"].to_pylist(), table["payload_type"].to_pylist(), strict=True):
        if kind == imap.PAYLOAD_TYPE:
            yield from mail.media_of(payload)
