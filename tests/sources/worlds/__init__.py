"""The world of each source: who is on the other side, and how the kit makes things happen there.

A module here names its worlds in `WORLDS`: what they are called -> (class, function of the test's request and a folder
that gives a context of the world). Nothing else needs to know of it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import pytest

from tests.sources.contract import World

Opens = Callable[[pytest.FixtureRequest, Path], AbstractContextManager[World]]
WORLDS: dict[str, tuple[type[World], Opens]] = {}
for _module in sorted(found.name for found in iter_modules(__path__)):
    WORLDS |= getattr(import_module(f"{__name__}.{_module}"), "WORLDS", {})
