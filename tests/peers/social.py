"""Live channels for tests: emulators of X and Facebook with secrets that must never be told.

Import the fixtures `secrets`, `x` and `graph`; `twitter`, `page` and `mailbox` are their streams.
"""

from __future__ import annotations

import hmac
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from pipelines.cli import app
from pipelines.settings import Settings
from pipelines.sinks.landing import Head, Landing
from tests.conftest import stream_toml
from tests.peers.graph_emulator import GraphEmulator
from tests.peers.x_emulator import XEmulator, post, snowflake

X, FB, APP, MAIL = "kanari-x-7QpZ", "kanari-fb/7Q+Z==", "kanari-rahasia-5T", "kanari-sandi-9K"
PROOF = hmac.new(APP.encode(), FB.encode(), "sha256").hexdigest()
SECRETS = (X, FB, APP, MAIL, PROOF, "kanari")


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("X", X), ("FB", FB), ("APP", APP), ("MAIL", MAIL)):
        monkeypatch.setenv(f"KANAL_UJI_{name}", value)


@pytest.fixture
def x(secrets: None) -> Iterator[XEmulator]:
    with XEmulator(token=X, user_id="1001", now=datetime.now(UTC)) as server:
        yield server


@pytest.fixture
def graph(secrets: None) -> Iterator[GraphEmulator]:
    with GraphEmulator(token=FB, page_id="7001", app_secret=APP) as server:
        yield server


def kanal(*words: Any, config: Settings) -> Result:
    return CliRunner().invoke(app, [*map(str, words), "--config", str(config.path)])


def twitter(base: str, **options: Any) -> str:
    known = {"bearer_env": "KANAL_UJI_X", "api_base": base, "query": "banjir"}
    return stream_toml("twitter", "dki", "twitter", **{**known, **options})


def page(base: str, **options: Any) -> str:
    known = {"page_id": "7001", "token_env": "KANAL_UJI_FB", "app_secret_env": "KANAL_UJI_APP", "api_base": base}
    return stream_toml("facebook", "dki", "facebook", **{**known, **options})


def mailbox() -> str:
    """A mailbox whose server is away."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = {"host": "127.0.0.1", "port": port, "tls": "none", "user": "aduan", "password_env": "KANAL_UJI_MAIL"}
    return stream_toml("email", "dki", "imap", **options)


def lately(settings: Settings, x: XEmulator) -> datetime:
    """Let the stream have been read ten days ago, and never since; when that was."""
    long_ago = (x.now - timedelta(days=10)).replace(microsecond=0)
    stream = settings.streams[0]
    cursor = {"query_since_id": snowflake(long_ago), "query_seen": [], "checked": {"query": long_ago.isoformat()}}
    put = Landing(settings.landing_dir).put
    assert put(stream, Head(-1, None), [], cursor, source_version="2", run_id="lama", now=long_ago)
    x.public = [post(x.now - timedelta(minutes=5), "banjir di jalan raya", author_id="3")]
    x.other["users"] = [{"id": "3", "name": "Warga", "username": "warga3"}]
    return long_ago
