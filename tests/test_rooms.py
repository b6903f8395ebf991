"""The house keeps its walls: imports run one way, and only the front door knows the orchestrator."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

PIPELINES = ROOT / "pipelines"
ROOMS = ("sources", "transforms", "sinks")
# What each room may import of ours; everything else of ours is behind a wall.
MAY = {
    "sources": {"contracts", "errors", "settings", "sources"},
    "transforms": {"contracts", "errors", "transforms"},
    "sinks": {"contracts", "errors", "settings", "sinks"},
}
FOUNDATIONS = {"contracts", "errors", "settings", "streams"}
DOORS = {"defs", "definitions", "cli", "commands", "intake"}
# What faces the public can append to landing: it knows nothing that reads a report.
INTAKE = FOUNDATIONS | {"intake", "sources", "sinks.landing"}


def modules() -> list[Path]:
    return sorted(PIPELINES.rglob("*.py"))


def room_of(path: Path) -> str:
    parts = path.relative_to(PIPELINES).parts
    return parts[0] if len(parts) > 1 else path.stem


def imports(path: Path) -> set[str]:
    """Dotted names a module imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide which room is meant"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def ours(path: Path) -> set[str]:
    """Rooms and modules of ours that a module imports; pipelines itself only for its version."""
    return {
        name.split(".")[1]
        for name in imports(path)
        if name.startswith("pipelines.") and name != "pipelines.__version__"
    }


@pytest.mark.parametrize(
    "path", [p for p in modules() if room_of(p) in ROOMS], ids=lambda p: p.relative_to(PIPELINES).as_posix()
)
def test_the_middle_rooms_import_only_the_foundations_and_themselves(path: Path) -> None:
    assert ours(path) <= MAY[room_of(path)]


@pytest.mark.parametrize("name", sorted(FOUNDATIONS))
def test_the_foundations_import_nothing_above_them(name: str) -> None:
    assert ours(PIPELINES / f"{name}.py") <= FOUNDATIONS


def test_only_the_front_door_imports_dagster() -> None:
    knowing = {room_of(p) for p in modules() if any(n.split(".")[0] == "dagster" for n in imports(p))}
    assert knowing == {"defs", "definitions"}


def test_nothing_imports_the_front_doors() -> None:
    for path in modules():
        if room_of(path) not in DOORS:
            assert not ours(path) & DOORS, path
    for path in (PIPELINES / "intake").glob("*.py"):
        assert not ours(path) & (DOORS - {"intake"}), path


@pytest.mark.parametrize("path", sorted((PIPELINES / "intake").glob("*.py")), ids=lambda p: p.name)
def test_what_faces_the_public_can_append_to_landing_and_nothing_else(path: Path) -> None:
    known = {name.removeprefix("pipelines.") for name in imports(path) if name.startswith("pipelines.")}
    assert {name for name in known if not any(name == may or name.startswith(f"{may}.") for may in INTAKE)} == set()


def test_the_intake_that_runs_has_loaded_neither_the_warehouse_nor_the_crm() -> None:
    code = "import sys, pipelines.intake.server; print(*sorted({'duckdb', 'psycopg', 'spacy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_asking_the_command_line_for_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from pipelines.cli import app;"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0;"
        "print(*sorted({'dagster', 'spacy', 'pandas', 'duckdb', 'pyarrow', 'starlette', 'uvicorn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_a_whole_run_loads_no_dagster() -> None:
    code = "import sys, pipelines.flow, pipelines.cli; print('dagster' in sys.modules, 'spacy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


@pytest.mark.parametrize("room", [*ROOMS, "defs", "commands", "intake"])
def test_every_room_opens_by_saying_what_belongs_there_and_what_does_not(room: str) -> None:
    sign = ast.get_docstring(ast.parse((PIPELINES / room / "__init__.py").read_text("utf-8"))) or ""
    assert len(sign) > 60
    assert "not" in sign.lower()


@pytest.mark.parametrize("path", modules(), ids=lambda p: p.relative_to(PIPELINES).as_posix())
def test_every_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text("utf-8"))), path


@pytest.mark.parametrize("room", ROOMS)
def test_the_linter_holds_the_same_walls(room: str, tmp_path: Path) -> None:
    """A module that breaks a wall is refused by ruff where it would stand."""
    intruder = PIPELINES / room / "zz_intruder.py"
    others = [other for other in ROOMS if other != room]
    source = (
        "".join(f"from pipelines.{other} import thing as {other}\n" for other in [*others, "flow"]) + "import dagster\n"
    )
    config = PIPELINES / room / "ruff.toml"
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--config", str(config), "--select", "TID251", "--output-format", "concise",
         "--stdin-filename", str(intruder), "--no-cache", "-"],
        input=source, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.count("TID251") == 4, done.stdout + done.stderr
