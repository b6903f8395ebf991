"""The whole way on real exports and recorded answers: every row accounted for, a rebuild the same, a second run nothing.

They lie outside the repository, in ../shared/data beside it. Without them this is skipped, and says so.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines import flow, settings
from pipelines.audit import audit
from pipelines.rebuild import rebuild
from pipelines.sinks.warehouse import open_warehouse

HERE = Path(__file__).resolve().parent
DATA = HERE.parents[2] / "shared" / "data"

if not DATA.is_dir():
    reason = f"no real exports at {DATA}: put the folder shared/data beside this repository"
    warnings.warn(reason, stacklevel=1)
    pytest.skip(reason, allow_module_level=True)


def test_every_row_is_accounted_for_and_a_rebuild_is_the_same(tmp_path: Path, model_cache: Path) -> None:
    (tmp_path / "models").symlink_to(model_cache)
    real = replace(settings.load(HERE / "kanal.toml"), data_dir=tmp_path)
    first = flow.run(real)
    assert not first.failures
    landed = {p.stream: p.messages for p in first.pulled}
    assert landed == {
        "jaki/crm_2023": 306, "qlue/banjir_2017": 926, "grasp/banjir_2017": 230, "detik/banjir_2017": 48,
        "surabaya/media_center_2022": 7_173, "twitter/rekaman": 15, "facebook/rekaman": 42, "_crm/status": 0,
    }  # fmt: skip
    assert first.loaded.messages == sum(landed.values())
    assert first.loaded.quarantined == 1  # a recorded post without text or attachment
    assert audit(real).exact
    with open_warehouse(real.warehouse) as warehouse:
        con = warehouse.con
        jaki = con.execute(
            "SELECT count(*), count(DISTINCT external_ref) FROM reports WHERE channel = 'jaki'"
        ).fetchall()
        inside = con.execute(
            "SELECT count(*) FROM reports WHERE channel = 'surabaya' AND kelurahan_code IS NOT NULL"
        ).fetchall()
        filtered = con.execute(
            "SELECT count(*) FROM messages WHERE outcome = 'filtered' AND channel IN ('jaki', 'surabaya')"
        ).fetchall()
    assert jaki == [(306, 306)]
    assert inside == [(0,)]
    assert filtered == [(0,)]
    replayed = rebuild(real)
    assert replayed.after == replayed.before
    second = flow.run(real)
    assert (second.loaded.messages, second.failures) == (0, {})
