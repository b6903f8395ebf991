"""What every room's tests share: settings over a temporary folder, and a classifier built once."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from filelock import FileLock

from pipelines import classifiers
from pipelines.settings import Settings, default_models_dir
from pipelines.settings import load as load_settings

hypothesis.settings.register_profile("kanal", deadline=None, print_blob=True)  # timings are no tests
hypothesis.settings.load_profile("kanal")

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = ROOT / "samples"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """While one process builds the classifier, the others do what has no need of it."""
    needy: list[pytest.Item] = []
    others: list[pytest.Item] = []
    for item in items:
        (needy if "model_cache" in getattr(item, "fixturenames", ()) else others).append(item)
    items[:] = [*needy[:1], *others, *needy[1:]]


@pytest.fixture(scope="session")
def model_cache(request: pytest.FixtureRequest) -> Path:
    """Folder with the classifier of this corpus, config and code, built once and kept in pytest's cache."""
    code = blake2b(digest_size=8)
    for path in (*sorted((ROOT / "pipelines/transforms").glob("*.py")), ROOT / "requirements.lock"):
        code.update(path.read_bytes())
    assert request.config.cache is not None, "the classifier lies in pytest's cache"
    data = request.config.cache.mkdir(f"classifier-{code.hexdigest()}")
    with FileLock(f"{data}.lock"):
        for other in data.parent.glob("classifier-*"):
            if other.is_dir() and other != data:
                shutil.rmtree(other, ignore_errors=True)
        classifiers.build(Settings(data, data, default_models_dir(), ()))
    return data / "models"


@pytest.fixture
def make_settings(tmp_path: Path, model_cache: Path) -> Callable[..., Settings]:
    """make_settings(toml text, name of the data folder) -> Settings; paths in the text start at tmp_path."""
    return partial(_settings, tmp_path, model_cache)


def _settings(place: Path, model_cache: Path, text: str, data: str = "data") -> Settings:
    folder = place / data
    folder.mkdir(exist_ok=True)
    if not (folder / "models").exists():
        (folder / "models").symlink_to(model_cache)
    path = place / f"{data}.toml"
    path.write_text(f'[kanal]\ndata_dir = "{data}"\nworkers = 1\n{text}', "utf-8")
    return load_settings(path)


Build = Callable[[Path, Callable[..., Settings]], Settings]


@pytest.fixture(scope="session")
def _built() -> dict[Build, tuple[Path, Path]]:
    return {}


@pytest.fixture
def starting_from(
    tmp_path: Path, model_cache: Path, tmp_path_factory: pytest.TempPathFactory, _built: dict[Build, tuple[Path, Path]]
) -> Callable[[Build], Settings]:
    """starting_from(build) -> Settings over a copy of what build(folder, make_settings) made once for all tests."""

    def start(build: Build) -> Settings:
        if build not in _built:
            place = tmp_path_factory.mktemp(build.__name__)
            _built[build] = place, build(place, partial(_settings, place, model_cache)).path
        place, path = _built[build]
        shutil.copytree(place, tmp_path, symlinks=True, dirs_exist_ok=True)
        return load_settings(tmp_path / path.name)

    return start


def stream_toml(channel: str, name: str, source: str, **options: Any) -> str:
    """One [[stream]] entry."""
    lines = [f'channel = "{channel}"', f'name = "{name}"', f'source = "{source}"']
    lines += [f"{k} = {_toml(v)}" for k, v in options.items()]
    return "\n[[stream]]\n" + "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k} = {_toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return str(value) if isinstance(value, (int, float)) else f'"{value}"'
