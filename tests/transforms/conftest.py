"""What the tests of the transforms share: the project's own knowledge, the trained classifier, and reports as tables."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipelines import classifiers
from pipelines import knowledge as known
from pipelines.settings import Settings, default_models_dir
from pipelines.transforms.classifier import ComplaintClassifier


@pytest.fixture(scope="session")
def own_settings(model_cache: Path) -> Settings:
    return Settings(model_cache.parent, model_cache.parent, default_models_dir(), ())


@pytest.fixture(scope="session")
def own_knowledge(own_settings: Settings) -> known.Knowledge:
    return known.load(own_settings)


@pytest.fixture(scope="session")
def own_classifier(own_settings: Settings) -> ComplaintClassifier:
    return classifiers.load(classifiers.build(own_settings))


@pytest.fixture(scope="session")
def reports() -> Callable[..., pd.DataFrame]:
    """reports(texts, column=values, ..) -> masked reports; columns not given are empty."""

    def make(texts: list[str], **given: list[Any]) -> pd.DataFrame:
        words = ("title", "address_text", "kelurahan_reported", "kecamatan_reported", "kota_reported",
                 "category_reported", "agency_reported", "status_reported")  # fmt: skip
        empty = [None] * len(texts)
        table: dict[str, Any] = {"text": texts, "channel": given.get("channel", ["jaki"] * len(texts))}
        table |= {name: given.get(name, empty) for name in words}
        table |= {name: np.array(given.get(name, empty), dtype=float) for name in ("lat", "lon")}
        return pd.DataFrame(table | {"attachment_count": given.get("attachment_count", [0] * len(texts))})

    return make
