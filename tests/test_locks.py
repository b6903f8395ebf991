"""The lock files pin what pyproject.toml asks for, in the versions that are the same for both environments, and name no host."""

from __future__ import annotations

import re
import tomllib

import pytest

from tests.conftest import ROOT

LOCKS = {"requirements.lock": "dev", "benchmarks/requirements.lock": "bench"}
PIN = re.compile(r"^([a-z0-9-]+)(?:\[[a-z0-9,-]+\])?==(\S+)", re.MULTILINE)


def pins(lock: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for name, version in PIN.findall((ROOT / lock).read_text("utf-8")):
        found.setdefault(name, set()).add(version)
    return found


@pytest.mark.parametrize(("lock", "extra"), LOCKS.items())
def test_a_lock_pins_all_that_is_asked_for(lock: str, extra: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"][extra]]
    names = {re.split(r"[\[<>=~! ;]", line)[0].lower().replace("_", "-") for line in asked}
    assert names - pins(lock).keys() == set(), "make lock pins anew"


def test_both_locks_pin_the_same_versions() -> None:
    one, other = (pins(lock) for lock in LOCKS)
    assert {name: (one[name], other[name]) for name in one.keys() & other.keys() if one[name] != other[name]} == {}


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_host(lock: str) -> None:
    assert (
        re.findall(r"https?://\S+|--(?:index-url|find-links|extra-index-url)\S*", (ROOT / lock).read_text("utf-8"))
        == []
    )
