"""Dagster over a temporary folder: settings of a small project, its definitions, an instance."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path

import dagster as dg
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import Envelope

from pipelines import definitions
from pipelines.contracts import WIB
from pipelines.settings import Settings
from tests.conftest import SAMPLES, stream_toml

EMAIL = {"own_addresses": ["dki@jakarta.example.com"], "trusted_authserv": "mx.jakarta.example.com"}


def today() -> str:
    """Partition of now."""
    return datetime.now(UTC).astimezone(WIB).date().isoformat()


@pytest.fixture
def project(
    tmp_path: Path, make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Settings]:
    """project(more toml, data folder) -> Settings of one mailbox, read from a folder of mails, which Dagster finds."""

    def make(more: str = "", data: str = "data") -> Settings:
        mails = tmp_path / "mails"
        if not mails.exists():
            shutil.copytree(SAMPLES / "email", mails)
        made = make_settings(more + stream_toml("email", "dki", "imap", source_dir="mails", **EMAIL), data)
        monkeypatch.setenv("KANAL_CONFIG", str(made.path))
        return made

    return make


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def defs() -> dg.Definitions:
    """Definitions as Dagster loads them, for the settings of now."""
    return definitions.defs()


def run(job: str, instance: dg.DagsterInstance, **how: object) -> dg.ExecuteInProcessResult:
    """Run a job for today, in this process; failures are in the result."""
    if "tags" not in how:
        how.setdefault("partition_key", today())
    return defs().resolve_job_def(job).execute_in_process(instance=instance, raise_on_error=False, **how)  # type: ignore[arg-type]


def metadata_of(result: dg.ExecuteInProcessResult, key: str) -> dict[str, object]:
    """Metadata of an asset's newest materialisation in a run."""
    [*_, event] = [m for m in result.get_asset_materialization_events() if m.asset_key == dg.AssetKey(key.split("/"))]
    return {name: plain(value) for name, value in event.materialization.metadata.items()}


def plain(value: dg.MetadataValue) -> object:
    """A metadata value without its wrapping; a table as a list of rows."""
    return [dict(r.data) for r in value.records] if isinstance(value, dg.TableMetadataValue) else value.value


@dataclass
class Letters:
    """A mail server on loopback and what it was sent; `refuse` makes it answer with this line."""

    port: int
    mails: list[EmailMessage] = field(default_factory=list)
    refuse: str | None = None

    async def handle_DATA(self, server: object, session: object, envelope: Envelope) -> str:
        if self.refuse:
            return self.refuse
        self.mails.append(message_from_bytes(envelope.content, policy=default))  # type: ignore[arg-type]
        return "250 OK"

    @property
    def texts(self) -> list[str]:
        return [m.get_content() for m in self.mails]


@pytest.fixture
def letters() -> Iterator[Letters]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        made = Letters(probe.getsockname()[1])
    controller = Controller(made, hostname="127.0.0.1", port=made.port)
    controller.start()
    try:
        yield made
    finally:
        controller.stop()


def alerts_toml(letters: Letters) -> str:
    return f'[alerts]\nsmtp_host = "127.0.0.1"\nsmtp_port = {letters.port}\nto = ["jaga@example.com"]\n'
