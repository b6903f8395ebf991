"""kanal.toml and the environment -> frozen settings.

Put here what an operator may set, its default and its check. A secret is only ever the name of an
environment variable (keys ending in `_env`); its value is read by whoever uses it, through
`secret`, at the moment of use. Not here: what the pipeline knows of the domain (models/).
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from pipelines import streams
from pipelines.contracts import Stream
from pipelines.errors import SettingsError

_HOST = re.compile(r"(?:[a-z0-9-]{1,63}\.)+[a-z]{2,63}")
_SECTIONS = {
    "kanal": {"data_dir", "models_dir", "gazetteer", "registry", "dialects", "mappings", "workers", "group_rows"},
    "intake": {
        "public_url", "trusted_proxies", "monitors", "per_second", "burst", "max_body_bytes", "patience_seconds",
    },
    "snapshot": {"min_interval_minutes", "keep"},
    "crm": {"url_env"},
    "schedule": {"every_minutes", "channels"},
    "media": {"fetch", "allow", "max_bytes", "timeout_seconds", "per_run", "logins"},
    "alerts": {"webhook_env", "smtp_host", "smtp_port", "smtp_user_env", "smtp_password_env", "from", "to"},
}  # fmt: skip

_LISTS = {"registry", "dialects", "mappings", "to", "trusted_proxies", "monitors", "allow"}
_TEXTS = {"data_dir", "models_dir", "gazetteer", "smtp_host", "from", "public_url"}


@dataclass(frozen=True, slots=True)
class Alerts:
    """Where failures and stale channels are told; nothing set means nobody is told."""

    webhook_env: str | None = None
    smtp_host: str | None = None
    smtp_port: int = 25
    smtp_user_env: str | None = None
    smtp_password_env: str | None = None
    sender: str = "kanal@localhost"
    recipients: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Intake:
    """How `kanal intake` meets the world.

    public_url: where senders reach it, which some sign. trusted_proxies: whose X-Forwarded-For is
    believed. monitors: who besides this machine may ask for health and metrics. per_second, burst:
    requests an address may send. patience_seconds: how long headers, or a small body, may take. Addresses are
    single ones or networks.
    """

    public_url: str | None = None
    trusted_proxies: tuple[str, ...] = ("127.0.0.1", "::1")
    monitors: tuple[str, ...] = ()
    per_second: float = 20.0
    burst: int = 100
    max_body_bytes: int = 4_000_000
    patience_seconds: float = 10.0


@dataclass(frozen=True, slots=True)
class Media:
    """Whether photos are fetched from addresses that messages tell, and from which hosts.

    allow: host names, each exactly. max_bytes a file; timeout_seconds an address; per_run addresses asked a run.
    logins: (host, variable that holds `user:password` or a token for it).
    """

    fetch: bool = False
    allow: tuple[str, ...] = ()
    max_bytes: int = 10_000_000
    timeout_seconds: float = 20.0
    per_run: int = 200
    logins: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything an operator set, with defaults filled in. Paths are absolute.

    workers: processes that refine in parallel. group_rows: messages per warehouse transaction.
    every_minutes: between two pulls of a channel, channel_minutes: of those that have their own.
    """

    path: Path
    data_dir: Path
    models_dir: Path
    streams: tuple[Stream, ...]
    registry_overlays: tuple[Path, ...] = ()
    mapping_overlays: tuple[Path, ...] = ()
    gazetteer_path: Path | None = None
    workers: int = 2
    group_rows: int = 50_000
    snapshot_minutes: float = 10.0
    snapshots_kept: int = 3
    crm_url_env: str | None = None
    every_minutes: int = 5
    channel_minutes: Mapping[str, int] = field(default_factory=dict)
    alerts: Alerts = field(default_factory=Alerts)
    intake: Intake = field(default_factory=Intake)
    dialect_overlays: tuple[Path, ...] = ()
    media: Media = field(default_factory=Media)

    @property
    def gazetteer(self) -> Path:
        """The folder of places, or one file of kelurahan: the operator's own city, else that of models/."""
        return self.gazetteer_path or self.models_dir / "gazetteer"

    @property
    def landing_dir(self) -> Path:
        return self.data_dir / "landing"

    @property
    def media_dir(self) -> Path:
        return self.data_dir / "media"

    @property
    def warehouse(self) -> Path:
        return self.data_dir / "warehouse.duckdb"

    @property
    def crm(self) -> Path:
        return self.data_dir / "crm.duckdb"

    @property
    def analytics(self) -> Path:
        return self.data_dir / "analytics.duckdb"

    @property
    def report(self) -> Path:
        return self.data_dir / "report.html"

    @property
    def mapping_files(self) -> tuple[Path, ...]:
        """The files of named mappings that are there; of two with one id the later counts."""
        own = self.models_dir / "mappings.toml"
        return (*((own,) if own.exists() else ()), *self.mapping_overlays)

    def streams_of(self, channel: str | None) -> tuple[Stream, ...]:
        """Streams of one channel, or all; a channel without a stream is an error that says so."""
        if channel is None:
            return self.streams
        found = tuple(s for s in self.streams if channel in (s.channel, s.key))
        if not found:
            known = ", ".join(sorted({s.channel for s in self.streams})) or "none"
            raise SettingsError(f"no stream of channel {channel!r} in {self.path}; configured: {known}")
        return found


def secret(name: str | None, *, what: str) -> str:
    """The value of environment variable `name`; SettingsError names the variable, never a value."""
    if not name:
        raise SettingsError(f"{what}: name the environment variable that holds it in kanal.toml")
    value = os.environ.get(name, "")
    if not value.strip():  # blanks too: an empty key would prove everybody
        raise SettingsError(f"{what}: environment variable {name} is not set")
    return value


def find() -> Path:
    """Where kanal.toml is: $KANAL_CONFIG, else ./kanal.toml."""
    path = Path(os.environ.get("KANAL_CONFIG") or "kanal.toml")
    if not path.exists():
        raise SettingsError(
            f"no settings at {path}. Give --config FILE, set KANAL_CONFIG, or start from samples/kanal.toml"
        )
    return path


def load(path: Path | None = None) -> Settings:
    """Read and check kanal.toml. Raises SettingsError that names the key at fault."""
    path = (path or find()).absolute()
    try:
        raw = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"no settings at {path}") from None
    except OSError as error:
        raise SettingsError(f"{path} cannot be read ({error.strerror}); --config names a file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not valid TOML: {error}") from error
    for section, keys in _SECTIONS.items():
        table = raw.get(section, {})
        if not isinstance(table, dict):
            raise SettingsError(f"{path}: {section} must be a section, written [{section}]")
        _known(table, keys, f"[{section}]", path)
        _typed(table, f"[{section}]", path)
    _known(raw, set(_SECTIONS) | {"stream"}, "the file", path)
    general, alerts, snapshot = raw.get("kanal", {}), raw.get("alerts", {}), raw.get("snapshot", {})
    root = path.parent

    def place(value: str) -> Path:
        return Path(os.path.normpath(root / value))

    data_dir = os.environ.get("KANAL_DATA_DIR")
    settings = Settings(
        path=path,
        data_dir=Path(data_dir).absolute() if data_dir else place(general.get("data_dir", "data")),
        models_dir=place(general["models_dir"]) if "models_dir" in general else default_models_dir(),
        streams=(),
        gazetteer_path=place(general["gazetteer"]) if "gazetteer" in general else None,
        registry_overlays=tuple(place(p) for p in general.get("registry", [])),
        mapping_overlays=tuple(place(p) for p in general.get("mappings", [])),
        workers=_number(general, "workers", os.cpu_count() or 1, 1, 64, path),
        group_rows=_number(general, "group_rows", 50_000, 1, 1_000_000, path),
        snapshot_minutes=_number(snapshot, "min_interval_minutes", 10, 0, 1440, path, whole=False),
        snapshots_kept=_number(snapshot, "keep", 3, 1, 100, path),
        crm_url_env=raw.get("crm", {}).get("url_env"),
        every_minutes=_number(raw.get("schedule", {}), "every_minutes", 5, 1, 60, path),
        channel_minutes=_channel_minutes(raw.get("schedule", {}).get("channels", {}), path),
        alerts=Alerts(
            webhook_env=alerts.get("webhook_env"),
            smtp_host=alerts.get("smtp_host"),
            smtp_port=_number(alerts, "smtp_port", 25, 1, 65535, path),
            smtp_user_env=alerts.get("smtp_user_env"),
            smtp_password_env=alerts.get("smtp_password_env"),
            sender=alerts.get("from", "kanal@localhost"),
            recipients=tuple(alerts.get("to", ())),
        ),
        intake=_intake(raw.get("intake", {}), path),
        media=_media(raw.get("media", {}), path),
        dialect_overlays=tuple(place(p) for p in general.get("dialects", [])),
    )
    return replace(settings, streams=streams.read(raw.get("stream", []), settings))


def _intake(raw: Mapping[str, Any], path: Path) -> Intake:
    for key in ("trusted_proxies", "monitors"):
        for value in raw.get(key, ()):
            try:
                ip_network(value, strict=False)
            except ValueError as error:
                raise SettingsError(f"{path}: {key} in [intake]: {error}") from None
    url = raw.get("public_url")
    if url and not re.fullmatch(r"https?://[^/?#@\s]+(?:/[^?#\s]*)?", url):
        raise SettingsError(f"{path}: public_url in [intake] must be as https://masuk.example.go.id")
    return Intake(
        public_url=url.rstrip("/") if url else None,
        trusted_proxies=tuple(raw.get("trusted_proxies", Intake().trusted_proxies)),
        monitors=tuple(raw.get("monitors", ())),
        per_second=_number(raw, "per_second", 20, 0.1, 100_000, path, whole=False),
        burst=_number(raw, "burst", 100, 1, 1_000_000, path),
        max_body_bytes=_number(raw, "max_body_bytes", 4_000_000, 1_000, 50_000_000, path),
        patience_seconds=_number(raw, "patience_seconds", 10, 0.1, 300, path, whole=False),
    )


def _media(table: Mapping[str, Any], path: Path) -> Media:
    fetch, allow = table.get("fetch", False), table.get("allow", [])
    if not isinstance(fetch, bool):
        raise SettingsError(f"{path}: fetch in [media] must be true or false")
    for host in allow:
        if not _HOST.fullmatch(host):
            raise SettingsError(f"{path}: allow in [media] takes host names alone, as pbs.twimg.com, not {host!r}")
    logins = table.get("logins", {})
    if not isinstance(logins, dict) or not all(isinstance(name, str) and name for name in logins.values()):
        raise SettingsError(f'{path}: logins in [media] must be as {{"api.twilio.com" = "KANAL_TWILIO_LOGIN"}}')
    if unknown := sorted(set(logins) - set(allow)):
        raise SettingsError(f"{path}: logins in [media] names {unknown[0]}, which allow does not")
    return Media(
        fetch=fetch,
        allow=tuple(allow),
        max_bytes=_number(table, "max_bytes", 10_000_000, 1, 25_000_000, path),
        timeout_seconds=_number(table, "timeout_seconds", 20, 1, 300, path, whole=False),
        per_run=_number(table, "per_run", 200, 1, 10_000, path),
        logins=tuple(sorted(logins.items())),
    )


def default_models_dir() -> Path:
    """models/ beside pipelines/, as in a clone; an installed Kanal sets kanal.models_dir."""
    return Path(__file__).resolve().parent.parent / "models"


def _channel_minutes(table: Any, path: Path) -> dict[str, int]:
    if not isinstance(table, dict):
        raise SettingsError(f"{path}: channels in [schedule] must be minutes by channel, as {{email = 1}}")
    return {channel: _number(table, channel, 5, 1, 60, path) for channel in table}


def _known(table: Mapping[str, Any], keys: set[str], where: str, path: Path) -> None:
    if unknown := sorted(set(table) - keys):
        raise SettingsError(f"{path}: unknown key {unknown[0]!r} in {where}; known: {', '.join(sorted(keys))}")


def _typed(table: Mapping[str, Any], where: str, path: Path) -> None:
    """Texts are texts and lists are lists; numbers are for _number, other options for their sources."""
    for key, value in table.items():
        if key in _TEXTS or key.endswith("_env"):
            if not isinstance(value, str) or not value:
                what = "the name of an environment variable" if key.endswith("_env") else "a text"
                # Not the value: somebody may have written the secret itself.
                raise SettingsError(f"{path}: {key} in {where} must be {what}, in quotes")
        elif key in _LISTS and (not isinstance(value, list) or not all(isinstance(v, str) and v for v in value)):
            raise SettingsError(f'{path}: {key} in {where} must be a list of texts, as ["a", "b"]')


def _number(
    table: Mapping[str, Any], key: str, default: int, low: float, high: float, path: Path, *, whole: bool = True
) -> int:
    value = table.get(key, default)
    kinds = (int,) if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
        what = "whole number" if whole else "number"
        raise SettingsError(f"{path}: {key} must be a {what} from {low} to {high}, not {value!r}")
    return value  # type: ignore[return-value]
