"""docs/adding-a-channel.md is walked as it stands: its files, put where it says, bring a ticket and keep the contract."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from importlib import util
from pathlib import Path

import duckdb
import pytest

from tests.conftest import ROOT
from tests.sources.contract import CANARY

PAGE = (ROOT / "docs" / "adding-a-channel.md").read_text("utf-8")
BLOCK = re.compile(r"^`([\w/.-]+)`, (a new file|at its end)[^\n]*:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SAID = "Lampu jalan mati di depan SDN Kenanga, gelap sekali tiap malam"


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory, model_cache: Path) -> Path:
    """A copy of the project after the walk."""
    copy = tmp_path_factory.mktemp("jalan") / "kanal"
    asked = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, copy / name)
    for name, where, block in BLOCK.findall(PAGE):
        assert (copy / name).exists() == (where == "at its end"), name
        with (copy / name).open("a", encoding="utf-8") as file:
            file.write(block)
    (copy / "data").mkdir()
    (copy / "data" / "models").symlink_to(model_cache)
    return copy


def done(walked: Path, *command: str, **environment: str) -> str:
    """What a command said that ended well in the copy."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("KANAL_", "PYTEST_"))}
    env |= {"PYTHONPATH": str(walked), "PYTHONDONTWRITEBYTECODE": "1", **environment}
    run = [sys.executable, "-m", *command]
    told = subprocess.run(run, cwd=walked, capture_output=True, text=True, check=False, env=env)
    assert told.returncode == 0, told.stdout[-3000:] + told.stderr[-3000:]
    return told.stdout


def test_every_block_of_the_page_has_a_file_to_go_to() -> None:
    assert [(name, where) for name, where, _ in BLOCK.findall(PAGE)] == [
        ("pipelines/sources/hotline.py", "a new file"),
        ("models/channels.toml", "at its end"),
        ("kanal.toml", "a new file"),
        ("tests/sources/worlds/hotline.py", "a new file"),
    ]
    assert PAGE.count("```") == 2 * len(BLOCK.findall(PAGE))


def test_what_was_said_on_the_new_channel_is_a_ticket(walked: Path) -> None:
    spec = util.spec_from_file_location("walked_hotline", walked / "tests/sources/worlds/hotline.py")
    assert spec and spec.loader
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    settings = walked / "kanal.toml"
    with module.CallCentre() as centre:
        centre.put(17, SAID, datetime(2026, 11, 20, 3, 0, tzinfo=UTC))
        assert 'api_base = "http://127.0.0.1:8790"' in settings.read_text("utf-8")
        text = settings.read_text("utf-8").replace("http://127.0.0.1:8790", centre.url)
        settings.write_text(text, "utf-8")
        live = done(walked, "pipelines.cli", "doctor", "--live", KANAL_HOTLINE_TOKEN=CANARY)
        said = done(walked, "pipelines.cli", "run", "--channel", "hotline", KANAL_HOTLINE_TOKEN=CANARY)
    assert "the token is good" in live
    assert "hotline/pusat" in said and CANARY not in live + said
    with duckdb.connect(str(walked / "data/analytics.duckdb"), read_only=True) as con:
        found = con.execute("SELECT description, category, agency_id IS NOT NULL, channels FROM tickets").fetchall()
    assert found == [(SAID, "penerangan_listrik", True, ["hotline"])]


def test_the_new_source_keeps_the_contract_and_the_walls_of_the_house(walked: Path) -> None:
    kit = ("tests/sources/test_contract.py", "tests/test_rooms.py", "-k", "hotline or test_every_source_has_a_world")
    assert re.search(r"\b2\d passed", done(walked, "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *kit))
    ours = ("pipelines/sources/hotline.py", "tests/sources/worlds/hotline.py")
    done(walked, "ruff", "check", "--no-cache", *ours)
    done(walked, "ruff", "format", "--no-cache", "--check", *ours)
