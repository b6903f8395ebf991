"""Live channels: what Dagster shows of costs and gaps, and that no secret is told by anything anywhere."""

from __future__ import annotations

import io
import logging
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import facebook
import pytest
import tweepy
from rich.console import Console
from rich.traceback import Traceback

from pipelines import flow
from pipelines.commands.common import FAILED, PARTIAL
from pipelines.contracts import Stream
from pipelines.defs import resources
from pipelines.settings import Settings
from tests.defs.conftest import metadata_of, run
from tests.peers.api_server import Fault
from tests.peers.canary import told_by
from tests.peers.graph_emulator import GraphEmulator
from tests.peers.social import APP, FB, PROOF, SECRETS, X, graph, kanal, lately, mailbox, page, secrets, twitter, x  # noqa: F401
from tests.peers.x_emulator import XEmulator

Make = Callable[..., Settings]


def test_dagster_shows_costs_and_a_gap_and_warns_of_it(
    x: XEmulator, make_settings: Make, monkeypatch: pytest.MonkeyPatch, instance: dg.DagsterInstance
) -> None:
    settings = make_settings(twitter(x.url))
    monkeypatch.setenv("KANAL_CONFIG", str(settings.path))
    lately(settings, x)
    result = run("land_twitter", instance)
    told = metadata_of(result, "landing/twitter")
    assert (told["reads_today"], told["usd_today"]) == (1, 0.015)
    assert "GAP from" in str(told["gaps"])
    [check] = [c for c in result.get_asset_check_evaluations() if c.check_name == "nothing_lost"]
    assert (result.success, check.passed, "GAP from" in str(check.description)) == (True, False, True)


# --- secrets --------------------------------------------------------------------------------

FAULTS: dict[str, Callable[[str], Fault] | None] = {  # what a server says that echoes what it was sent
    "401": lambda sent: Fault(401, {"title": f"Bearer {sent}", "error": {"code": 190, "message": f"Malformed {sent}"}}),
    "403": lambda sent: Fault(403, {"title": sent, "error": {"code": 200, "message": f"needs {sent}"}}),
    "429": lambda sent: Fault(429, {"title": sent, "error": {"code": 4, "message": sent}}),
    "500": lambda sent: Fault(500, {"title": sent, "error": {"code": 2, "message": f"/me?access_token={sent}"}}),
    "html": lambda sent: Fault(503, f"<html>{sent}</html>".encode(), content_type="text/html"),
    "html with 200": lambda sent: Fault(200, f"<html>{sent}</html>".encode(), content_type="text/html"),
    "bad json": lambda sent: Fault(200, f'{{"data": [{sent}'.encode()),
    "cut body": lambda _: Fault(200, b'{"data": []}', broken=True),
    "silence": lambda _: Fault(sleep=0.6),
    "redirect": lambda sent: Fault(302, sent, {"location": f"http://127.0.0.1:9/?access_token={sent}&input_token=1"}),
    "refused connection": None,
    "no such host": None,
    "the client's own fault": None,
}


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dg.DagsterInstance]]:
    """An instance that keeps its runs and logs in a folder."""
    folder = tmp_path_factory.mktemp("dagster")
    with dg.DagsterInstance.local_temp(str(folder)) as instance:
        yield folder, instance


@pytest.mark.parametrize("kind", FAULTS)
def test_no_secret_is_told_by_run_doctor_dagster_logs_or_landing(
    kind: str,
    x: XEmulator,
    graph: GraphEmulator,
    make_settings: Make,
    tmp_path: Path,
    stored: tuple[Path, dg.DagsterInstance],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(resources, "_RETRIES", 0)
    bases = _broken(kind, x, graph, monkeypatch)
    settings = make_settings(
        twitter(bases[0], timeout_seconds=0.3) + page(bases[1], timeout_seconds=0.3) + mailbox(), data="data"
    )
    monkeypatch.setenv("KANAL_CONFIG", str(settings.path))
    ran, asked = kanal("run", config=settings), kanal("doctor", "--live", config=settings)
    assert (ran.exit_code, asked.exit_code) == (PARTIAL, FAILED)
    assert all(s.key in ran.output and s.key in asked.output for s in settings.streams)
    told = ran.output + asked.output + "".join(_with_locals(settings, s) for s in settings.streams)
    folder, instance = stored
    for job in ("land_twitter", "land_facebook", "land_email"):
        result = run(job, instance)
        assert not result.success
        told += "".join(map(str, instance.all_logs(result.run_id)))
    told += caplog.text + "".join(capfd.readouterr())
    assert not [s for s in SECRETS if s in told]
    files = [p for place in (tmp_path, folder) for p in place.rglob("*") if p.is_file() and "models" not in p.parts]
    assert any(folder in p.parents for p in files)
    assert not [(p, s) for p in files for s in SECRETS if s.encode() in p.read_bytes()]


def _broken(kind: str, x: XEmulator, graph: GraphEmulator, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """Let every request fail in one way; the addresses to ask."""
    if kind == "refused connection":
        return "http://127.0.0.1:9", "http://127.0.0.1:9"
    if kind == "no such host":

        def unknown(host: str, *_: Any, **__: Any) -> Any:
            raise socket.gaierror(socket.EAI_NONAME, f"unknown host {host}")

        monkeypatch.setattr(socket, "getaddrinfo", unknown)
        return "https://api.example.invalid", "https://graph.example.invalid"
    if kind == "the client's own fault":

        def fault(self: Any, *_: Any, **__: Any) -> Any:
            held = getattr(self, "bearer_token", None) or self.access_token
            raise AttributeError(f"cannot read {held}")

        monkeypatch.setattr(tweepy.Client, "_make_request", fault)
        monkeypatch.setattr(facebook.GraphAPI, "request", fault)
    elif fault := FAULTS[kind]:
        x.faults.extend([fault(X)] * 12)
        graph.faults.extend([fault(f"{FB} {PROOF} {APP}")] * 12)
    return x.url, graph.url


def _with_locals(settings: Settings, stream: Stream) -> str:
    """The stream's error as crash reports show it, with the locals of every frame."""
    error = flow.land(settings, stream, run_id="x").error
    assert error is not None
    screen = Console(file=io.StringIO(), width=400)
    screen.print(Traceback.from_exception(type(error), error, error.__traceback__, show_locals=True))
    return told_by(error) + screen.file.getvalue()  # type: ignore[attr-defined]
