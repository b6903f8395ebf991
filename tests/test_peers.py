"""Peers are handed out whole."""

from __future__ import annotations

from pathlib import Path
from threading import Thread

import pytest
from filelock import FileLock

from tests import peers


def test_a_program_is_not_used_while_its_package_is_still_being_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It lies there before the users and files that it needs."""
    monkeypatch.setattr(peers, "_SCRATCH", tmp_path)
    found: list[Path] = []
    asking = Thread(target=lambda: found.append(peers.need("sh", "dash")))
    with FileLock(tmp_path / "dash.lock"):
        asking.start()
        asking.join(0.5)
        assert found == []
    asking.join(30)
    assert [path.name for path in found] == ["sh"]
