"""Dagster over a temporary folder: settings of a small project, its definitions, an instance."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from email.utils import format_datetime
from pathlib import Path

import dagster as dg
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import Envelope
from dagster._core.definitions.sensor_definition import SensorExecutionData
from dagster._core.utils import make_new_run_id

from pipelines import definitions
from pipelines.contracts import WIB
from pipelines.defs.resources import Kanal, config_path
from pipelines.settings import Settings
from tests.conftest import stream_toml

EMAIL = {"own_addresses": ["dki@jakarta.example.com"], "trusted_authserv": "mx.jakarta.example.com"}


# Three become reports; the city's own reply is filtered, an empty mail is set aside.
MAILS = (
    ("ani@example.com", "Lampu jalan mati di Jalan Kenanga RT 003 RW 004, sudah tiga hari gelap."),
    ("budi@example.com", "Sampah menumpuk di depan pasar, mohon diangkut."),
    ("citra@example.com", "Jalan berlubang dalam di dekat halte, banyak motor jatuh."),
    ("dki@jakarta.example.com", "Terima kasih, laporan Anda kami teruskan."),
    ("dodi@example.com", ""),
)


def write_mail(path: Path, text: str, *, sender: str = "warga@example.com", subject: str = "Laporan") -> None:
    """A mail of this minute."""
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = sender, "dki@jakarta.example.com", subject
    mail["Date"], mail["Message-ID"] = format_datetime(datetime.now(UTC)), f"<{path.stem}@example.com>"
    mail.set_content(text)
    path.write_bytes(mail.as_bytes())


def today() -> str:
    """Partition of now."""
    return datetime.now(UTC).astimezone(WIB).date().isoformat()


@pytest.fixture
def project(
    tmp_path: Path, make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Settings]:
    """project(more toml, data folder) -> Settings that Dagster finds, of one mailbox: the folder mails/."""

    def make(more: str = "", data: str = "data") -> Settings:
        mails = tmp_path / "mails"
        if not mails.exists():
            mails.mkdir()
            for number, (sender, text) in enumerate(MAILS):
                write_mail(mails / f"{number}.eml", text, sender=sender, subject="Laporan" if text else "")
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

    async def handle_RCPT(self, server: object, session: object, envelope: Envelope, address: str, _: object) -> str:
        if address.startswith("pindah"):
            return "550 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: object, session: object, envelope: Envelope) -> str:
        if self.refuse:
            return self.refuse
        self.mails.append(message_from_bytes(envelope.content, policy=default))  # type: ignore[arg-type]
        return "250 OK"

    @property
    def texts(self) -> list[str]:
        return [m.get_content().replace("\r\n", "\n") for m in self.mails]


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


def tick(sensor: str, instance: dg.DagsterInstance, cursor: str | None = None) -> SensorExecutionData:
    """One evaluation of a sensor, as the daemon does it."""
    found = defs()
    resources = {"kanal": Kanal(config=str(config_path()))}
    context = dg.build_sensor_context(
        instance=instance,
        cursor=cursor,
        repository_def=found.get_repository_def(),
        resources=resources,
        sensor_name=sensor,
    )
    with context:
        return found.get_repository_def().get_sensor_def(sensor).evaluate_tick(context)


def unfinished(instance: dg.DagsterInstance, job: str) -> None:
    """A run of the job that goes on."""
    instance.add_run(dg.DagsterRun(job_name=job, run_id=make_new_run_id(), status=dg.DagsterRunStatus.STARTED))
