"""Is this installation fit to run? Settings, knowledge, credentials, stores, disk.

Each check says what it found and, where something is wrong, what to do. Reads and connects, but
changes nothing and pulls nothing. Secrets are looked for, never shown. `live` asks the streams' own
servers, through a source's `probe(stream, *, now) -> str`.
"""

from __future__ import annotations

import os
import shutil
import stat
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipelines import classifiers, learn, places
from pipelines import knowledge as known
from pipelines.contracts import Stream
from pipelines.errors import KanalError, SettingsError
from pipelines.refine import source_of
from pipelines.settings import Settings, secret
from pipelines.sinks import crm
from pipelines.sinks.landing import Landing
from pipelines.sinks.warehouse import open_warehouse
from pipelines.sources import webhook
from pipelines.sources.dialects import of_stream

_AT_ONCE = 8
_LEAST_FREE = 2 * 1024**3
# options that name something on this disk
_PATHS = ("inbox", "pages_dir", "source_dir", "database", "csv_dir", "detail_dir")
_SENT = {"webhook": "kirim", "form": "lapor"}  # sources that others send to, and the first part of their path
_RECORDED = ("pages_dir", "source_dir")  # with these a stream reads the disk, and needs no credentials


@dataclass(frozen=True, slots=True)
class Check:
    """ok: True fit, False to be mended before a run, None worth knowing."""

    name: str
    ok: bool | None
    detail: str


def doctor(settings: Settings) -> list[Check]:
    """All checks, in the order in which a run would stumble over them."""
    found = [Check("settings", True, f"{settings.path}: {len(settings.streams)} streams")]
    found += [_try("models", lambda: _models(settings))]
    found += [check for stream in settings.streams for check in _stream(settings, stream)]
    found += [
        _landing(settings),
        _try("warehouse", lambda: _warehouse(settings)),
        _try("CRM store", lambda: _crm(settings)),
    ]
    found += [
        _snapshot(settings),
        _disk(settings),
        _alerts(settings),
        _media(settings),
        _boundaries(settings),
        _learned(settings),
    ]
    return found


def _try(name: str, look: Callable[[], str]) -> Check:
    try:
        return Check(name, True, look())
    except KanalError as error:
        return Check(name, False, str(error))


# --- live -----------------------------------------------------------------------------------


def live(
    settings: Settings,
    channel: str | None = None,
    *,
    progress: Callable[[str, int, int | None], None] = lambda *_: None,
    seconds: float = 60.0,
) -> list[Check]:
    """Ask each stream's server with one cheap call whether we may read there, some at a time.

    One stream's failure or silence stops no other; after `seconds` a stream counts as silent.
    """
    streams, found = settings.streams_of(channel), dict[str, Check]()
    asked = [s for s in streams if hasattr(source_of(s.source), "probe")]
    progress("ask", 0, len(asked))
    # Daemons: a server that never answers must not keep the command from ending.
    for number in range(0, len(asked), _AT_ONCE):
        some = asked[number : number + _AT_ONCE]
        threads = [threading.Thread(target=_ask, args=(stream, found), daemon=True) for stream in some]
        for thread in threads:
            thread.start()
        end = time.monotonic() + seconds
        for thread in threads:
            thread.join(max(end - time.monotonic(), 0))
            progress("ask", 1, len(asked))
    return list(_answers(streams, asked, dict(found), seconds))


def _answers(
    streams: Sequence[Stream], asked: Sequence[Stream], found: dict[str, Check], seconds: float
) -> Iterator[Check]:
    for stream in streams:
        name = f"live {stream.key}"
        if stream not in asked:
            yield Check(name, True, f"source {stream.source} reads what is on this machine; there is nobody to ask")
        elif stream.key not in found:
            yield Check(name, False, f"no answer within {seconds:g} s; check the network and the server's address")
        else:
            yield found[stream.key]


def _ask(stream: Stream, found: dict[str, Check]) -> None:
    source: Any = source_of(stream.source)
    name = f"live {stream.key}"
    try:
        check = _try(name, lambda: source.probe(stream, now=lambda: datetime.now(UTC)))
    except Exception as error:  # noqa: BLE001 - one stream's fault; its words may hold a secret
        check = Check(name, False, f"could not be asked ({type(error).__name__}); this is a fault of Kanal, report it")
    found[stream.key] = check


# --- what is looked at ----------------------------------------------------------------------


def _models(settings: Settings) -> str:
    knowledge = known.load(settings)
    names = f"{len(knowledge.taxonomy.names)} categories, {len(knowledge.gazetteer.kelurahan)} kelurahan"
    version = classifiers.version_in_use(settings)
    if classifiers.folder_of(settings, version).exists():
        return f"{names}; classifier {version} is built"
    return f"{names}; the classifier will be built by the first run (kanal model train builds it now)"


def _stream(settings: Settings, stream: Stream) -> Iterator[Check]:
    problems: list[str] = []
    try:
        known.channel_of(known.channels(settings), stream)
    except SettingsError as error:
        problems.append(str(error))
    source = source_of(stream.source)
    if hasattr(source, "check"):
        try:
            source.check(stream)
        except SettingsError as error:
            problems.append(str(error))
    for option in _PATHS:
        value = stream.options.get(option)
        if isinstance(value, str) and not Path(stream.root, value).exists():
            problems.append(f"{option} {value} does not exist; make it or correct the path")
    if not any(option in stream.options for option in _RECORDED):
        for option, value in stream.options.items():
            if option.endswith("_env"):
                try:
                    secret(value, what=option)
                except SettingsError as error:
                    problems.append(str(error))
    if not problems and stream.source in _SENT:
        detail = _sent(settings, stream, problems)
    else:
        detail = f"source {stream.source}"
    yield Check(stream.key, not problems, "; ".join(problems) or detail)


def _sent(settings: Settings, stream: Stream, problems: list[str]) -> str:
    """Where `kanal intake` takes a stream, and with what proof; adds what stands in its way to `problems`."""
    public = settings.intake.public_url
    at = f"{public or 'kanal intake'}/{_SENT[stream.source]}/{stream.key}"
    if stream.source == "form":
        return f"source form at {at}; the key that signs its pages is set"
    dialect = of_stream(stream)
    if webhook.way_of(stream, dialect).get("over") == "url_params" and not public:
        problems.append(
            f"set public_url in [intake]: {dialect.id} signs the address it sends to, and without it all is refused"
        )
    proof = "its secret is set" if stream.options.get("secret_env") else "no secret: known by allow_from alone"
    return f"source webhook, dialect {dialect.id}, at {at}; {proof}"


def _landing(settings: Settings) -> Check:
    folder = settings.landing_dir
    if not folder.exists():
        return Check("landing", None, "nothing landed yet; the first run makes it")
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & 0o077:
        return Check("landing", False, f"{folder} holds personal data but has mode {mode:04o}; run: chmod 700 {folder}")
    if not os.access(folder, os.W_OK):
        return Check("landing", False, f"{folder} is not writable for this user")
    return Check("landing", True, f"{len(Landing(folder).streams())} streams landed in {folder}")


def _warehouse(settings: Settings) -> str:
    if not settings.warehouse.exists():
        return "not there yet; the first run makes it"
    with open_warehouse(settings.warehouse, wait_seconds=5) as warehouse:
        return f"{warehouse.next_arrival():,} messages in {warehouse.last_entry() + 1:,} entries"


def _crm(settings: Settings) -> str:
    if settings.crm_url_env is None and not settings.crm.exists():
        return "not there yet; the first run makes it"
    with crm.open_crm(settings) as store:
        return f"delivered up to message {store.watermark():,}"


def _snapshot(settings: Settings) -> Check:
    if not settings.analytics.exists():
        return Check("snapshot", None, "not there yet; the first run publishes it")
    return Check("snapshot", True, f"{settings.analytics} -> {settings.analytics.resolve().name}")


def _disk(settings: Settings) -> Check:
    folder = next(p for p in (settings.data_dir, *settings.data_dir.parents) if p.exists())
    free = shutil.disk_usage(folder).free
    said = f"{free / 1024**3:.1f} GiB free for {settings.data_dir}"
    return Check("disk", free >= _LEAST_FREE, said if free >= _LEAST_FREE else f"{said}; make room before the next run")


def _alerts(settings: Settings) -> Check:
    alerts = settings.alerts
    if not alerts.webhook_env and not (alerts.smtp_host and alerts.recipients):
        return Check("alerts", None, "nobody is told of failures; set [alerts] in kanal.toml")
    missing = [
        n for n in (alerts.webhook_env, alerts.smtp_user_env, alerts.smtp_password_env) if n and not os.environ.get(n)
    ]
    if missing:
        return Check("alerts", False, f"environment variable {missing[0]} is not set")
    return Check("alerts", True, "webhook" if alerts.webhook_env else f"mail by {alerts.smtp_host}")


def _media(settings: Settings) -> Check:
    rules = settings.media
    if not rules.fetch:
        return Check("photos", None, "not fetched from addresses; [media] fetch and allow in kanal.toml would")
    if missing := [name for _, name in rules.logins if not os.environ.get(name, "").strip()]:
        return Check("photos", False, f"environment variable {missing[0]} is not set; [media] logins names it")
    if not rules.allow:
        return Check("photos", False, "[media] fetch is on and allow names no host; name them, or set fetch = false")
    return Check("photos", True, f"fetched from {', '.join(rules.allow)}")


def _boundaries(settings: Settings) -> Check:
    if places.boundaries_file(settings).exists():
        return Check("boundaries", True, "installed: coordinates are placed by polygon")
    return Check(
        "boundaries", None, "not installed: coordinates go to the nearest centroid (kanal gazetteer install FILE)"
    )


def _learned(settings: Settings) -> Check:
    if not all(path.exists() for path in places.learned_files(settings)):
        return Check("learned places", None, "none: streets tell no kelurahan (kanal gazetteer learn)")
    try:
        used = learn.read(settings, places.read(settings.gazetteer)) is not None
    except KanalError as error:
        return Check("learned places", False, str(error))
    if not used:
        return Check("learned places", False, f"of another city than {settings.gazetteer}: learn again, or delete them")
    return Check("learned places", True, f"in use: {places.learned_files(settings)[0]}")
