"""The peers of all sixteen channels and the system that listens to them, in one temporary folder on 127.0.0.1.

Real: Dovecot, Gammu SMSD, Kannel, PostgreSQL as the CRM, `kanal intake`, the Dagster daemon with its own
schedules and sensors. Emulators: X (two accounts), Graph; a feed's server. All end with the block, however it ends.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import dagster as dg  # noqa: TID251 - the orchestrator is part of what runs
import psutil

from benchmarks.day import outlets
from benchmarks.day.outlets import HASHTAG, OWN, Outlet, now
from benchmarks.day.script import Item
from pipelines import classifiers, desk
from pipelines.settings import Settings, load
from tests.conftest import ROOT, stream_toml
from tests.intake.conftest import SECRETS as HOOKS
from tests.peers.api_server import ApiServer, Asked, Fault
from tests.peers.dovecot import PASSWORD, Mailbox, dovecot_server
from tests.peers.gammu import gammu_server
from tests.peers.graph_emulator import GraphEmulator
from tests.peers.intake import running
from tests.peers.kannel import running_kannel
from tests.peers.paper import Paper
from tests.peers.postgres import postgres_server
from tests.peers.x_emulator import XEmulator

PAGE = "7001"
OFFICES = {
    "pendopo": "Pendopo Balai Kota",
    "inspektorat": "Kantor Inspektorat",
    "walikota": "Walikota Jakarta Timur",
    "kecamatan": "Kecamatan Kembangan",
    "kelurahan": "Kelurahan Meruya Utara",
}
SECRETS = {
    "HARI_X": "kunci-x",
    "HARI_X_GUBERNUR": "kunci-x-2",
    "HARI_FB": "kunci-fb",
    "HARI_MAIL": PASSWORD,
    "HARI_FORMULIR": "kunci-formulir",
    **{name: HOOKS[name] for name in ("UJI_KANNEL", "UJI_META", "UJI_KATA", "UJI_MITRA")},
}
_FINISHED = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
_START_SECONDS = 120.0


@dataclass
class City:
    """A running system and its peers. crm_url: the CRM's database."""

    settings: Settings
    home: Path
    crm_url: str
    box: Mailbox
    x: XEmulator
    graph: GraphEmulator
    outlets: dict[str, Outlet]
    instance: dg.DagsterInstance
    roots: list[psutil.Process]
    daemon: subprocess.Popen[bytes]

    def loading(self) -> bool:
        """Whether a load is queued or goes on."""
        unfinished = [s for s in dg.DagsterRunStatus if s not in _FINISHED]
        return bool(self.instance.get_runs(filters=dg.RunsFilter(job_name="load", statuses=unfinished), limit=1))

    def stop(self) -> None:
        """End the daemon, letting runs that go on end; what it had not loaded stays in landing."""
        end_group(self.daemon)


@contextmanager
def city(items: dict[str, list[Item]], every: int) -> Iterator[City]:
    """Everything started, and the daemon's first runs done. every: minutes between two pulls of a channel."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hari", ignore_cleanup_errors=True)))
        pg = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pg", ignore_cleanup_errors=True)))
        crm_url = stack.enter_context(postgres_server(pg))
        box = Mailbox(stack.enter_context(dovecot_server()), "aduan")
        gammu = stack.enter_context(gammu_server(rest=1))
        x = stack.enter_context(XEmulator(token=SECRETS["HARI_X"], user_id="1001", now=now()))
        second = stack.enter_context(XEmulator(token=SECRETS["HARI_X_GUBERNUR"], user_id="1002", now=now()))
        graph = stack.enter_context(GraphEmulator(token=SECRETS["HARI_FB"], page_id=PAGE))
        graph.remaining = 1_000_000
        paper = stack.enter_context(Paper())
        for one in (x, second):
            with_clock(one)
        environment = SECRETS | {"HARI_CRM": crm_url}
        os.environ.update(environment)  # for the daemon, the intake and the audit at the end
        files = {name: folder / "inbox" / name for name in ("jaki", "qlue", "lapor", "letters")}
        servers = [x.url, second.url, graph.url, f"{paper.url}/feed.xml"]
        settings = write(folder, box, str(gammu.database), servers, every)
        for path in files.values():
            path.mkdir(parents=True)
        sheets = {}
        for channel, office in offices(settings).items():
            inbox = folder / next(s.options["inbox"] for s in settings.streams if s.channel == channel)
            inbox.mkdir(parents=True)
            sheets[channel] = outlets.Sheet(settings, office, inbox)
        classifiers.build(settings)
        intake = stack.enter_context(running(settings, environment))
        kannel = stack.enter_context(running_kannel(f"{intake.url}/kirim/sms/kannel", HOOKS["UJI_KANNEL"]))
        known: dict[str, Outlet] = {
            **{name: outlets.Export(files[name], name) for name in ("jaki", "qlue", "lapor")},
            "twitter": outlets.Posts(x, searched=True),
            "governor_social": outlets.Posts(second, searched=False),
            "facebook": outlets.Page(graph, items["facebook"]),
            "email": outlets.Mails(box),
            "balai_warga": outlets.WebForm(intake),
            "sms": outlets.Phones(gammu),
            "kannel": outlets.Network(kannel),
            "whatsapp": outlets.Hooks(intake),
            "lapor_api": outlets.Hooks(intake, partner=True),
            "governor_letter": outlets.Letters(files["letters"]),
            "media": outlets.Readers(paper),
            **sheets,
        }
        home = folder / "dagster"
        home.mkdir()
        (home / "dagster.yaml").symlink_to(ROOT / "dagster.yaml")
        # The instance comes first: two processes that both make its databases get in each other's way.
        instance = stack.enter_context(dg.DagsterInstance.from_config(str(home)))
        daemon = start_daemon(home, settings)
        stack.callback(end_group, daemon)
        roots = [psutil.Process(daemon.pid), psutil.Process(intake.process.pid)]
        made = City(settings, home, crm_url, box, x, graph, known, instance, roots, daemon)
        await_first_run(made)
        yield made


def account(handle: str, user_id: str, variable: str, server: str) -> dict[str, str]:
    return {"handle": handle, "user_id": user_id, "bearer_env": variable, "api_base": server}


def offices(settings: Settings) -> dict[str, desk.Office]:
    return {channel: desk.office_of(settings, name, channel) for channel, name in OFFICES.items()}


def write(folder: Path, box: Mailbox, database: str, servers: list[str], every: int) -> Settings:
    """kanal.toml of all sixteen channels."""
    x, second, graph, feed = servers
    path = folder / "kanal.toml"
    general = (
        f'[kanal]\ndata_dir = "data"\n[schedule]\nevery_minutes = {every}\n[crm]\nurl_env = "HARI_CRM"\n'
        "[intake]\nper_second = 1000\nburst = 1000\n"
    )
    mail = {"host": box.server.host, "port": box.server.port, "tls": "none", "user": box.user}
    streams = [
        stream_toml("jaki", "ekspor", "export", mapping="jaki", inbox="inbox/jaki"),
        stream_toml("qlue", "ekspor", "export", mapping="qlue", inbox="inbox/qlue"),
        stream_toml("lapor", "ekspor", "export", mapping="lapor_lines", inbox="inbox/lapor"),
        stream_toml("lapor", "mitra", "webhook", dialect="json", secret_env="UJI_MITRA"),
        stream_toml("twitter", "dki", "twitter", keywords=[HASHTAG], **account("dinas_contoh", "1001", "HARI_X", x)),
        stream_toml("governor_social", "x", "twitter", **account("gubernur_contoh", "1002", "HARI_X_GUBERNUR", second)),
        stream_toml("facebook", "dki", "facebook", page_id=PAGE, token_env="HARI_FB", edges=["feed", "conversations"], api_base=graph),
        stream_toml("email", "dki", "imap", password_env="HARI_MAIL", own_addresses=[OWN], **mail),
        stream_toml("balai_warga", "web", "form", secret_env="HARI_FORMULIR"),
        stream_toml("sms", "gerbang", "sms", database=database, spam_senders=["TELKOMSEL"]),
        stream_toml("sms", "kannel", "webhook", dialect="kannel", secret_env="UJI_KANNEL"),
        stream_toml("sms", "whatsapp", "webhook", dialect="whatsapp", secret_env="UJI_META", verify_token_env="UJI_KATA"),
        stream_toml("governor_letter", "surat", "letters", mapping="letter", inbox="inbox/letters"),
        stream_toml("media", "surat", "feed", url=feed),
    ]  # fmt: skip
    path.write_text(general + "".join(streams), "utf-8")
    desks = "\n".join(desk.stream_toml(office) for office in offices(load(path)).values())
    path.write_text(f"{path.read_text('utf-8')}\n{desks}", "utf-8")
    return load(path)


# --- the system -----------------------------------------------------------------------------


def start_daemon(home: Path, settings: Settings) -> subprocess.Popen[bytes]:
    with (home / "daemon.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "dagster._daemon", "run"],
            cwd=ROOT,
            env=os.environ | {"DAGSTER_HOME": str(home), "KANAL_CONFIG": str(settings.path)},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def await_first_run(running_city: City) -> None:
    """Until the daemon has finished a run, so that its own start is not measured."""
    end = time.monotonic() + _START_SECONDS
    finished = dg.RunsFilter(statuses=list(_FINISHED))
    while not running_city.instance.get_runs(filters=finished, limit=1):
        if running_city.daemon.poll() is not None or time.monotonic() > end:
            raise RuntimeError(f"the daemon did not start:\n{(running_city.home / 'daemon.log').read_text()[-3000:]}")
        time.sleep(0.5)


def end_group(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(30)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(10)


# --- what goes wrong in a day ---------------------------------------------------------------


def with_clock(x: XEmulator) -> None:
    """Let the emulator's clock be the real one."""

    def set_it(_: Asked) -> None:
        x.now = now()

    x.before = set_it


class Misfortunes(threading.Thread):
    """An outage of Facebook for two hours, a burst of 429 at X, a mailbox session that is kicked out, as parts of
    a day. outage: its begin and end as Unix times."""

    def __init__(self, made: City, begin: float, length: float, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.city, self.begin, self.length, self.stopped = made, begin, length, stop
        self.outage = (begin + length * 14 / 24, begin + length * 16 / 24)
        self.told: list[str] = []

    def run(self) -> None:
        steps = [(7 / 24, self._burst), (11 / 24, self._kick), (14 / 24, self._out), (16 / 24, self._back)]
        for at, step in steps:
            if self.stopped.wait(max(0.0, self.begin + at * self.length - time.time())):
                return
            step()

    def _burst(self) -> None:
        reset = {"x-rate-limit-remaining": "0", "x-rate-limit-reset": str(int(time.time()) + 30)}
        self.city.x.faults.extend([Fault(429, {"title": "Too Many Requests"}, reset)] * 3)
        self.told.append("X answered 429 to three requests")

    def _kick(self) -> None:
        """As soon as somebody is logged in."""
        end = time.time() + 150
        while time.time() < end and not self.stopped.wait(0.3):
            with suppress(subprocess.CalledProcessError):
                self.city.box.server.kick(self.city.box.user)
                self.told.append("Dovecot ended a mailbox session")
                return

    def _out(self) -> None:
        server: ApiServer = self.city.graph
        server.before = lambda _: server.faults.append(Fault(503, b"<html>down</html>", content_type="text/html"))

    def _back(self) -> None:
        self.city.graph.before = None
        self.city.graph.faults.clear()
        self.told.append(f"Facebook was away for {self.outage[1] - self.outage[0]:.0f} s")
