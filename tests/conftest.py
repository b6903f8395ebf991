"""What every room's tests share: settings over a temporary folder, and a classifier built once."""

from __future__ import annotations

import shutil
from collections.abc import Callable
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

    def make(text: str, data: str = "data") -> Settings:
        folder = tmp_path / data
        folder.mkdir(exist_ok=True)
        if not (folder / "models").exists():
            (folder / "models").symlink_to(model_cache)
        path = tmp_path / f"{data}.toml"
        path.write_text(f'[kanal]\ndata_dir = "{data}"\nworkers = 1\n{text}', "utf-8")
        return load_settings(path)

    return make


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
