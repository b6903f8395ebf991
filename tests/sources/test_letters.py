"""Letters on paper: scan and transcript find each other in any order. All letters and people are invented."""

from __future__ import annotations

import hashlib
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from pipelines.contracts import Batch, Draft, Message, Stream
from pipelines.errors import RejectedMessage, SettingsError, TransientError
from pipelines.settings import default_models_dir
from pipelines.sources import letters
from pipelines.streams import mappings, with_mapping
from tests.rights import entered, somebody

NOW = datetime(2026, 11, 26, 3, 0, tzinfo=UTC)
LETTER = mappings((default_models_dir() / "mappings.toml",))["letter"]
PDF, JPEG = b"%PDF-1.4\n..\n%%EOF\n", b"\xff\xd8\xff\xe0..\xff\xd9"
TYPED = "Pengirim: Ketua RW 02 Contoh\nPerihal: Sampah\nTanggal: 1 November 2026\n\nDengan hormat,\nsampah menumpuk di TPS.\n"


def stream_of(folder: Path, **options: Any) -> Stream:
    return Stream("governor_letter", "surat", "letters", with_mapping({"inbox": "."} | options, LETTER), str(folder))


def put(path: Path, content: bytes | str, *, age: float = 60) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    os.utime(path, (NOW.timestamp() - age,) * 2)
    return path


def pull(stream: Stream, cursor: dict[str, Any] | None = None, later: float = 0) -> list[Batch]:
    return list(letters.pull(stream, cursor, now=lambda: NOW + timedelta(seconds=later)))


def messages(batches: list[Batch]) -> list[Message]:
    return [m for batch in batches for m in batch.messages]


def scan(name: str, data: bytes, kind: str) -> dict[str, Any]:
    return {"type": kind, "name": name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def test_scans_of_several_pages_and_a_transcript_are_one_letter(tmp_path: Path) -> None:
    put(tmp_path / "2026-11-03_agenda-17.pdf", PDF)
    put(tmp_path / "2026-11-03_agenda-17 hal 2.jpg", JPEG)
    put(tmp_path / "2026-11-03_Agenda-17_foto_3.jpg", JPEG + b"\n")
    put(tmp_path / "2026-11-03_agenda-17.txt", TYPED)
    stream = stream_of(tmp_path)
    [batch] = pull(stream)
    [message] = batch.messages
    assert message.source_ref == "2026-11-03_agenda-17"
    assert message.media == (JPEG, PDF, JPEG + b"\n")
    assert letters.decode(message, stream) == Draft(
        text="Dengan hormat,\nsampah menumpuk di TPS.", title="Sampah", author_name="Ketua RW 02 Contoh",
        occurred_at=datetime(2026, 10, 31, 17, 0, tzinfo=UTC),
        attachments=[
            scan("2026-11-03_agenda-17 hal 2.jpg", JPEG, "image/jpeg"), scan("2026-11-03_agenda-17.pdf", PDF, "application/pdf"),
            scan("2026-11-03_Agenda-17_foto_3.jpg", JPEG + b"\n", "image/jpeg"),
        ],
    )  # fmt: skip
    assert pull(stream, batch.cursor) == []


def test_a_scan_waits_in_quarantine_until_somebody_has_typed_it(tmp_path: Path) -> None:
    stream = stream_of(tmp_path)
    put(tmp_path / "agenda-17.pdf", PDF)
    [first] = pull(stream)
    with pytest.raises(RejectedMessage, match="belum diketik"):
        letters.decode(first.messages[0], stream)
    put(tmp_path / "agenda-17.txt", "Sampah menumpuk.")
    [second] = pull(stream, first.cursor)
    [message] = second.messages
    assert message.source_ref == first.messages[0].source_ref
    assert message.version != first.messages[0].version
    assert letters.decode(message, stream).text == "Sampah menumpuk."


def test_a_transcript_that_comes_first_is_a_report_and_gains_its_scan_later(tmp_path: Path) -> None:
    stream = stream_of(tmp_path)
    put(tmp_path / "2026-11-03 agenda 5.md", "Sampah menumpuk.")
    [first] = pull(stream)
    draft = letters.decode(first.messages[0], stream)
    assert (draft.text, draft.occurred_at, draft.attachments) == (
        "Sampah menumpuk.", datetime(2026, 11, 2, 17, 0, tzinfo=UTC), [],
    )  # fmt: skip
    put(tmp_path / "2026-11-03 agenda 5 (1).png", b"\x89PNG....IEND\xaeB`\x82")
    [second] = pull(stream, first.cursor)
    assert [a["type"] for a in letters.decode(second.messages[0], stream).attachments] == ["image/png"]


def test_a_corrected_transcript_is_a_new_version_and_a_touched_file_is_none(tmp_path: Path) -> None:
    stream = stream_of(tmp_path)
    path = put(tmp_path / "a.txt", TYPED)
    [first] = pull(stream)
    put(path, TYPED, age=30)
    assert messages(pull(stream, first.cursor)) == []
    put(path, TYPED + "Terima kasih.", age=20)
    [second] = pull(stream, first.cursor)
    assert [m.source_ref for m in second.messages] == ["a"]


def test_a_scan_of_known_name_size_and_time_is_not_read_again(tmp_path: Path) -> None:
    """Hashing a year of scans at every pull would keep the disk busy."""
    stream = stream_of(tmp_path)
    put(tmp_path / "a.pdf", PDF)
    [first] = pull(stream)
    put(tmp_path / "a.pdf", PDF.replace(b"..", b"xx"))
    assert pull(stream, first.cursor) == []


def test_a_scan_too_large_to_keep_is_named_and_still_makes_the_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(letters, "MAX_BYTES", 30)
    stream = stream_of(tmp_path)
    put(tmp_path / "a.pdf", b"%PDF-" + b"x" * 40 + b"%%EOF")
    put(tmp_path / "a.txt", TYPED)
    [first] = pull(stream)
    [message] = first.messages
    assert message.media == ()
    assert letters.decode(message, stream).attachments == [{"type": "application/pdf", "name": "a.pdf", "size": 50}]
    put(tmp_path / "a.pdf", b"%PDF-" + b"y" * 41 + b"%%EOF")
    assert [m.version == message.version for m in messages(pull(stream, first.cursor))] == [False]


@pytest.mark.parametrize(("name", "data"), [("a.pdf", PDF[:-8]), ("a.jpg", JPEG[:-2]), ("a.png", b"\x89PNG..")])
def test_a_scan_without_its_end_waits_and_after_ten_minutes_is_taken_as_it_is(
    name: str, data: bytes, tmp_path: Path
) -> None:
    put(tmp_path / name, data)
    assert pull(stream_of(tmp_path)) == []
    assert len(messages(pull(stream_of(tmp_path), later=700))) == 1


def test_a_letter_waits_for_its_youngest_file_and_others_do_not_wait_for_it(tmp_path: Path) -> None:
    put(tmp_path / "a.pdf", PDF)
    put(tmp_path / "a.txt", TYPED, age=2)
    put(tmp_path / "b.txt", TYPED)
    put(tmp_path / "c.pdf.part", PDF)
    put(tmp_path / ".d.txt", TYPED)
    stream = stream_of(tmp_path)
    [first] = pull(stream)
    assert [m.source_ref for m in first.messages] == ["b"]
    assert [m.source_ref for m in messages(pull(stream, first.cursor, later=60))] == ["a"]


def agenda(path: Path, *rows: list[Any]) -> None:
    book = openpyxl.Workbook()
    for cells in [["AGENDA SURAT 2026"], ["No Agenda", "Tanggal Surat", "Dari", "Hal", "Isi Ringkas", "Berkas"], *rows]:
        book.active.append(cells)
    book.save(path)
    os.utime(path, (NOW.timestamp() - 60,) * 2)


def test_a_row_of_the_agenda_is_the_transcript_of_the_scan_it_names(tmp_path: Path) -> None:
    stream = stream_of(tmp_path, agenda="agenda*.xlsx")
    put(tmp_path / "S-17.pdf", PDF)
    agenda(
        tmp_path / "agenda-2026.xlsx",
        ["S-17", datetime(2026, 11, 3), "Ketua RW 02 Contoh", "Sampah", "Mohon sampah diangkut.", "S-17.pdf"],
        ["S-18", datetime(2026, 11, 4), "Warga Contoh", "Got", "Mohon got dikeruk.", None],
        ["S-19", datetime(2026, 11, 4), "Warga Contoh", "Jalan", "Mohon jalan ditambal.", "S-19.pdf"],
    )
    [first] = pull(stream)
    drafts = {m.source_ref.partition(":")[0]: letters.decode(m, stream) for m in first.messages}
    assert {ref: (d.title, d.text) for ref, d in drafts.items()} == {
        "s-17": ("Sampah", "Mohon sampah diangkut."), "agenda": ("Got", "Mohon got dikeruk."), "s-19": ("Jalan", "Mohon jalan ditambal."),
    }  # fmt: skip
    assert drafts["s-17"].attachments == [scan("S-17.pdf", PDF, "application/pdf")]
    assert drafts["s-17"].extra == {"Nomor Agenda": "S-17"}
    assert drafts["s-19"].attachments == [{"type": "application/pdf", "name": "S-19.pdf"}]
    put(tmp_path / "S-19.pdf", PDF)
    [message] = messages(pull(stream, first.cursor))
    assert letters.decode(message, stream).attachments == [scan("S-19.pdf", PDF, "application/pdf")]


def test_a_file_that_is_no_part_of_a_letter_waits_in_quarantine_once(tmp_path: Path) -> None:
    stream = stream_of(tmp_path)
    put(tmp_path / "surat.docx", b"PK\x03\x04....")
    put(tmp_path / "Thumbs.db", b"..")
    [batch] = pull(stream)
    [message] = batch.messages
    assert "bukan PDF, foto, ataupun salinan" in (message.problem or "")
    assert pull(stream, batch.cursor) == []


def test_a_pull_cut_off_between_batches_goes_on_where_it_stood(tmp_path: Path) -> None:
    for number in range(450):
        put(tmp_path / f"agenda-{number:03}.txt", f"Surat ke {number}")
    stream = stream_of(tmp_path)
    whole = [m.source_ref for m in messages(pull(stream))]
    assert len(whole) == 450 and len(set(whole)) == 450
    batches = pull(stream)
    assert len(batches) == 3
    for cut in range(3):
        rest = messages(pull(stream, batches[cut].cursor))
        assert [*(m.source_ref for b in batches[: cut + 1] for m in b.messages), *(m.source_ref for m in rest)] == whole


@pytest.mark.parametrize("typed", ["", "Perihal:\n", "\ufeff \n"])
def test_an_empty_transcript_is_told_to_the_clerk(typed: str, tmp_path: Path) -> None:
    put(tmp_path / "a.txt", typed)
    [message] = messages(pull(stream_of(tmp_path)))
    with pytest.raises(RejectedMessage, match="kosong"):
        letters.decode(message, stream_of(tmp_path))


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("2026-11-03_agenda-17.pdf", "2026-11-03_agenda-17"), ("2026/S-17 hal 2.jpg", "2026/s-17"), ("S-17_halaman_12.png", "s-17"),
        ("S-17 (2).jpg", "s-17"), ("S-17.2.pdf", "s-17.2"), ("foto 1.jpg", "foto 1"), ("S-17 lampiran 1 hal 2.jpg", "s-17"),
    ],
)  # fmt: skip
def test_a_letters_key_is_its_name_without_the_page(name: str, key: str) -> None:
    assert letters.key_of(name) == key


def test_options_that_will_not_do_are_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="inbox"):
        letters.check(Stream("governor_letter", "surat", "letters", with_mapping({}, LETTER)))
    with pytest.raises(SettingsError, match="not a folder"):
        pull(stream_of(tmp_path, inbox="tak_ada"))


def test_pages_come_in_the_order_people_count_them(tmp_path: Path) -> None:
    for page in (10, 2, 1):
        put(tmp_path / f"agenda-9 hal {page}.txt", f"halaman {page}")
        put(tmp_path / f"agenda-9 hal {page}.pdf", PDF + b"\n" * page)
    stream = stream_of(tmp_path)
    [message] = messages(pull(stream))
    draft = letters.decode(message, stream)
    assert draft.text == "halaman 1\n\nhalaman 2\n\nhalaman 10"
    assert [file["name"] for file in draft.attachments] == [f"agenda-9 hal {page}.pdf" for page in (1, 2, 10)]


def test_a_file_that_cannot_be_read_is_told_and_the_letters_behind_it_are_read(tmp_path: Path) -> None:
    entered(tmp_path)
    for name in ("a.txt", "b hal 2.txt", "c.pdf"):
        put(tmp_path / name, TYPED).chmod(0)
    put(tmp_path / "b.txt", TYPED)
    put(tmp_path / "z" / "z.txt", TYPED)
    (tmp_path / "d.txt").symlink_to("/etc/hostname")
    stream, batches = stream_of(tmp_path), list[Batch]()
    assert len(messages(pull(stream_of(tmp_path / "z")))) == 1
    with somebody(), pytest.raises(TransientError) as caught:
        batches.extend(letters.pull(stream, None, now=lambda: NOW))
    assert [m.source_ref for m in messages(batches)] == ["z/z"]
    denied = ", ".join(f"{name} (Permission denied)" for name in ("a.txt", "b hal 2.txt", "c.pdf"))
    link = "d.txt (a link that leads out of the inbox)"
    assert str(caught.value) == f"governor_letter/surat: cannot read {link}, {denied}; check its rights and the disk"


def test_two_rows_of_an_agenda_that_name_one_scan_are_not_one_letter(tmp_path: Path) -> None:
    put(
        tmp_path / "agenda.csv",
        "Nomor Agenda,Isi,Berkas\n17,surat satu,scan.pdf\n18,surat dua,scan.pdf\n17,surat satu,scan.pdf\n",
    )
    put(tmp_path / "scan.pdf", PDF)
    stream = stream_of(tmp_path, agenda="agenda*")
    told, letter = messages(pull(stream))
    assert told.problem == letters._TWICE
    assert told.origin == "agenda.csv, baris 3"
    assert letters.decode(letter, stream).text == "surat satu"


def test_one_number_in_the_agendas_of_two_years_is_two_letters(tmp_path: Path) -> None:
    for year in (2025, 2026):
        put(
            tmp_path / f"agenda {year}.csv",
            f"Nomor Agenda,Tanggal Surat,Isi\n17,3/11/{year},surat {year}\n18,,surat {year} lain\n",
        )
    stream = stream_of(tmp_path, agenda="agenda*")
    found = messages(pull(stream))
    assert sorted(letters.decode(m, stream).text for m in found) == [
        "surat 2025", "surat 2025 lain", "surat 2026", "surat 2026 lain",
    ]  # fmt: skip


def test_no_letter_loses_its_row_while_the_agenda_is_being_written(tmp_path: Path) -> None:
    agenda = put(tmp_path / "agenda.csv", "Nomor Agenda,Isi,Berkas\n17,surat satu,scan.pdf\n")
    put(tmp_path / "scan.pdf", PDF)
    stream = stream_of(tmp_path, agenda="agenda*")
    [batch] = pull(stream)
    put(agenda, agenda.read_bytes() + b"18,surat dua,\n", age=1)
    assert pull(stream, batch.cursor) == []
    assert [letters.decode(m, stream).text for m in messages(pull(stream, batch.cursor, later=60))] == ["surat dua"]
