"""Of real complaints hardly one may be taken for advertising. The files lie where KANAL_REAL_DATA says, else in
../shared/data; without them this is skipped, and says so. Only counts are shown, never a text.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import pandas as pd
import pytest

from pipelines import knowledge
from pipelines.settings import Settings, default_models_dir

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("KANAL_REAL_DATA") or ROOT.parent / "shared" / "data")
FILES = (("jakarta_crm_2023/reports_dev.csv", "text"), ("surabaya_complaints/complaints_dev.csv", "keluhan"))

if not all((DATA / name).exists() for name, _ in FILES):
    reason = f"no real complaints at {DATA}: set KANAL_REAL_DATA to the folder that holds {FILES[0][0]}"
    warnings.warn(reason, stacklevel=1)
    pytest.skip(reason, allow_module_level=True)


def test_of_real_complaints_no_one_in_two_hundred_is_set_aside_as_advertising(tmp_path: Path) -> None:
    spam = knowledge.load(Settings(tmp_path, tmp_path, default_models_dir(), ())).spam
    counts = []
    for name, column in FILES:
        texts = pd.read_csv(DATA / name, dtype=str, keep_default_na=False, usecols=[column])[column]
        counts.append((len(texts), sum(spam.of(None, text) is not None for text in texts)))
    assert sum(n for n, _ in counts) >= 7_000
    assert sum(taken for _, taken in counts) <= 0.005 * sum(n for n, _ in counts)
    print("\nreal complaints, set aside as advertising:", counts)
