"""Named mappings: what a stream names stands for the options written out, and its own options go before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipelines import knowledge
from pipelines.errors import SettingsError
from pipelines.settings import Settings, default_models_dir, load
from pipelines.sources import export
from pipelines.sources.mapping import plan_of
from pipelines.streams import mappings, with_mapping

OURS = mappings((default_models_dir() / "mappings.toml",))
OWN = """
[[mapping]]
id = "kentongan"
description = "uji"
dates = ["%d/%m/%Y"]
optional = ["category", "status"]
[mapping.columns]
id = "No"
text = "Isi"
category = "Kategori"
status = "Status"
[mapping.constants]
kota = "Jakarta Barat"
"""
STREAM = '[[stream]]\nchannel = "jaki"\nname = "uji"\nsource = "export"\n'


def settings_of(folder: Path, stream: str, *, own: str | None = OWN) -> Settings:
    head = '[kanal]\nmappings = ["own.toml"]\n' if own else ""
    (folder / "own.toml").write_text(own or "", "utf-8")
    (folder / "kanal.toml").write_text(head + STREAM + stream, "utf-8")
    return load(folder / "kanal.toml")


def options_of(folder: Path, stream: str) -> dict[str, Any]:
    return dict(settings_of(folder, stream).streams[0].options)


def test_a_mapping_stands_for_its_options_written_out(tmp_path: Path) -> None:
    written = (
        'dates = ["%d/%m/%Y"]\noptional = ["category", "status"]\n'
        'columns = {id = "No", text = "Isi", category = "Kategori", status = "Status"}\nconstants = {kota = "Jakarta Barat"}\n'
    )
    assert options_of(tmp_path, 'mapping = "kentongan"\n') == options_of(tmp_path, written)


def test_a_streams_own_options_go_before_key_by_key_and_false_takes_a_column_away(tmp_path: Path) -> None:
    found = options_of(
        tmp_path,
        'mapping = "kentongan"\ninbox = "kotak"\ndates = ["%Y"]\n[stream.columns]\ntext = "Uraian"\nstatus = false\n',
    )
    assert found == {
        "inbox": "kotak", "dates": ["%Y"], "optional": ["category"], "constants": {"kota": "Jakarta Barat"},
        "columns": {"id": "No", "text": "Uraian", "category": "Kategori"},
    }  # fmt: skip


def test_an_operators_file_goes_before_ours(tmp_path: Path) -> None:
    own = OWN.replace("kentongan", "qlue")
    found = settings_of(tmp_path, 'mapping = "qlue"\n', own=own).streams[0].options
    assert found["columns"]["text"] == "Isi"
    assert (
        settings_of(tmp_path, 'mapping = "qlue"\n', own=None).streams[0].options["columns"] == OURS["qlue"]["columns"]
    )


@pytest.mark.parametrize(
    ("stream", "words"),
    [
        ('mapping = "tak_ada"\n', "mapping 'tak_ada' is not one of .*kentongan"),
        ("mapping = 3\n", "mapping 3 is not one of"),
    ],
)
def test_a_mapping_that_is_not_there_is_told_with_those_that_are(tmp_path: Path, stream: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        settings_of(tmp_path, stream)


@pytest.mark.parametrize("own", ["[[mapping]]\nname = 1\n", "mapping = 1\n", "= 1"])
def test_a_file_of_mappings_that_is_none_is_told(tmp_path: Path, own: str) -> None:
    with pytest.raises(SettingsError, match=r"own\.toml"):
        settings_of(tmp_path, 'mapping = "qlue"\n', own=own)


def test_a_source_without_columns_takes_no_mapping(tmp_path: Path) -> None:
    path = tmp_path / "kanal.toml"
    path.write_text(STREAM.replace("export", "imap") + 'mapping = "qlue"\n', "utf-8")
    with pytest.raises(SettingsError, match="source 'imap' takes no mapping"):
        load(path)


def test_a_change_of_a_named_mapping_is_another_version_of_the_data(tmp_path: Path) -> None:
    before = knowledge.load(settings_of(tmp_path, 'mapping = "kentongan"\n')).data_version
    assert knowledge.load(settings_of(tmp_path, 'mapping = "kentongan"\n')).data_version == before
    changed = OWN.replace('"Kategori"', '"Jenis"')
    assert knowledge.load(settings_of(tmp_path, 'mapping = "kentongan"\n', own=changed)).data_version != before


@pytest.mark.parametrize("name", OURS)
def test_every_mapping_of_ours_is_a_good_stream_and_says_where_it_comes_from(name: str, tmp_path: Path) -> None:
    assert len(OURS[name]["description"]) > 40
    assert OURS[name].get("channel", "jaki") in knowledge.channels(settings_of(tmp_path, 'mapping = "qlue"\n'))
    stream = settings_of(tmp_path, f'mapping = "{name}"\n').streams[0]
    assert plan_of(stream).picks
    export.check(stream)


def test_a_mapping_is_not_changed_by_those_who_use_it() -> None:
    mapping = {"columns": {"text": "Isi", "status": "S"}, "optional": ["status"], "description": "x"}
    with_mapping({"columns": {"status": False}}, mapping)
    assert mapping == {"columns": {"text": "Isi", "status": "S"}, "optional": ["status"], "description": "x"}
