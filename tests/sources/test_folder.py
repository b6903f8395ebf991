"""An inbox's files: in order, none passed over in silence, none from elsewhere."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipelines.contracts import Batch, Stream
from pipelines.errors import TransientError
from pipelines.sources import export
from pipelines.sources.folder import files_in
from tests.rights import entered, somebody


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "kotak"
    folder.mkdir()
    entered(folder)
    yield folder
    for inner in folder.rglob("*"):
        if not inner.is_symlink():
            inner.chmod(0o755)


def names(folder: Path, pattern: str = "*") -> list[str]:
    return [file.name for file in files_in(folder, pattern)[0]]


def test_files_come_as_people_count_them_without_those_that_are_hidden_or_unfinished(box: Path) -> None:
    for name in ("10.csv", "2.csv", "b/1.csv", ".a.csv", "~$2.xlsx", "3.csv.part", "c.tmp"):
        (box / name).parent.mkdir(exist_ok=True)
        (box / name).touch()
    assert names(box) == ["2.csv", "10.csv", "b/1.csv"]
    assert names(box, "b/*.csv") == ["b/1.csv"]


@pytest.mark.parametrize("pattern", ["*", "luar/*"])
def test_a_link_that_leads_out_of_the_folder_is_told_and_not_followed(pattern: str, box: Path) -> None:
    outside = box.parent / "luar"
    outside.mkdir()
    (outside / "kanal.toml").touch()
    (box / "luar").symlink_to(outside)
    (box / "a.csv").symlink_to(outside / "kanal.toml")
    (box / "b.csv").touch()
    (box / "c.csv").symlink_to("b.csv")
    (box / "putaran.csv").symlink_to("putaran.csv")
    (box / "hilang.csv").symlink_to("tidak-ada.csv")
    found, missed = files_in(box, pattern)
    why = "(a link that leads out of the inbox)"
    if pattern == "*":
        assert ([file.name for file in found], missed) == (["b.csv", "c.csv"], [f"a.csv {why}"])
    else:
        assert (found, missed) == ([], [f"luar/kanal.toml {why}"])


def test_an_inbox_may_itself_be_a_link(box: Path) -> None:
    (box / "a.csv").touch()
    (box.parent / "lain").symlink_to(box)
    assert names(box.parent / "lain") == ["a.csv"]


@pytest.mark.parametrize("mode", [0o000, 0o444], ids=["closed", "listed but closed"])
def test_a_subfolder_that_cannot_be_entered_is_told_after_all_else_is_read(mode: int, box: Path) -> None:
    (box / "kelurahan").mkdir()
    for name in ("kelurahan/a.csv", "b.csv"):
        (box / name).write_text(f"Isi\n{name}\n")
    stream = Stream("jaki", "uji", "export", {"inbox": "kotak", "columns": {"text": "Isi"}}, str(box.parent))
    batches: list[Batch] = []

    def pull() -> list[str]:
        batches[:] = []
        batches.extend(export.pull(stream, None, now=lambda: datetime.now(UTC) + timedelta(hours=1)))
        return origins()

    def origins() -> list[str]:
        return [m.origin for batch in batches for m in batch.messages]

    assert pull() == ["b.csv, baris 2", "kelurahan/a.csv, baris 2"]
    (box / "kelurahan").chmod(mode)
    with somebody(), pytest.raises(TransientError, match=r"cannot read kelurahan\S* \(Permission denied\)"):
        pull()
    assert origins() == ["b.csv, baris 2"]


def test_a_name_that_is_no_text_is_shown_as_one(box: Path) -> None:
    with open(os.fsencode(box) + b"/lap\xff.csv", "wb") as file:  # noqa: PTH123 - a Path takes no bytes
        file.write(b"Isi\na\n")
    [file_] = files_in(box)[0]
    assert file_.name == "lap\ufffd.csv"
    assert file_.path.read_bytes() == b"Isi\na\n"
