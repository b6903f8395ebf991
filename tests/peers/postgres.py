"""A real PostgreSQL: one server for each test process, a fresh database for each test.

`postgres` starts it once (about 2 s) on a unix socket in a folder of its own, so it needs no port
and nobody else reaches it. `postgres_url` is a new, empty database on it; every connection is a
superuser's, without a password. Nothing survives the tests, so nothing is synced to disk.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.peers import need

USER = "kanal"
_START_SECONDS = 30.0
_INSTALLED = "/usr/lib/postgresql/*/bin/initdb"  # Debian keeps it off the PATH
_SETTINGS = {
    "listen_addresses": "",
    "max_connections": "40",
    "shared_buffers": "16MB",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "autovacuum": "off",
    "timezone": "Asia/Jakarta",  # not UTC, so that forgetting a zone shows
}


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """URL of the `postgres` database of this test process's server."""
    base = Path(tempfile.mkdtemp(prefix="pg"))  # short: its unix socket's path ends at 107 characters
    try:
        with postgres_server(base) as url:
            yield url
    finally:
        shutil.rmtree(base, ignore_errors=True)


_numbers = count(1)


@pytest.fixture
def postgres_url(postgres: str) -> str:
    """URL of a fresh database; it goes away with the server."""
    name = f"test{next(_numbers)}"
    with psycopg.connect(postgres, autocommit=True) as con:
        con.execute(f"CREATE DATABASE {name}")
    return url_of(postgres, name)


def url_of(server: str, database: str) -> str:
    """The server's URL with another database in it."""
    return server.replace("/postgres?", f"/{database}?", 1)


@contextmanager
def postgres_server(base: Path) -> Iterator[str]:
    """A server whose files are all in `base`, an empty folder with a short path; stopped at the end.

    Skips, or fails under CI, where it cannot be had. As root it runs as the user `postgres` or
    `nobody`, because PostgreSQL refuses root.
    """
    initdb = Path(shutil.which("initdb") or need(_INSTALLED, "postgresql"))
    who = _user()
    if who:
        shutil.chown(base, who["user"], who["group"])
    data, log = base / "data", base / "log"
    made = subprocess.run(
        [initdb, "-D", data, "-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=base,
        env=_environment(),
        check=False,
        **who,
    )
    if made.returncode:
        raise RuntimeError(f"initdb failed: {made.stderr}")
    settings = [word for name, value in _SETTINGS.items() for word in ("-c", f"{name}={value}")]
    with log.open("wb") as out:
        server = subprocess.Popen(
            [initdb.with_name("postgres"), "-D", data, "-k", base, *settings],
            stdout=out,
            stderr=out,
            cwd=base,
            env=_environment(),
            **who,
        )
    try:
        url = f"postgresql://{USER}@/postgres?host={base}"
        _wait(url, server, log)
        yield url
    finally:
        server.send_signal(2)  # "fast": rolls back what is open and goes
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _environment() -> dict[str, str]:
    """Without PGDATA, PGHOST and their like, which would turn the server or initdb elsewhere."""
    return {k: v for k, v in os.environ.items() if not k.startswith("PG")} | {"LC_ALL": "C"}


def _user() -> dict[str, Any]:
    """Whom to run the server as, as keywords of subprocess; {}: as who we are."""
    if os.geteuid() != 0:
        return {}
    import grp
    import pwd

    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": name, "group": grp.getgrgid(entry.pw_gid).gr_name, "extra_groups": []}
    reason = "PostgreSQL refuses to run as root, and there is no user postgres or nobody"
    if os.environ.get("CI"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def _wait(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + _START_SECONDS
    while True:
        try:
            psycopg.connect(url, connect_timeout=2).close()
            return
        except psycopg.OperationalError:
            if server.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"PostgreSQL did not start:\n{log.read_text(errors='replace')}") from None
            time.sleep(0.05)
