"""An inbox of exports: every row lands once, however often it is pulled, cut off or exported again."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import openpyxl
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines import flow
from pipelines.contracts import Batch, Draft, Message, Stream
from pipelines.errors import PermanentError, RejectedMessage, SettingsError, TransientError
from pipelines.settings import load
from pipelines.sinks.landing import Landing
from pipelines.sources import export, inbox, tables
from pipelines.sources.attached import described
from pipelines.sources.csv_rows import UNCLOSED
from pipelines.sources.mapping import ROUNDED
from tests.pictures import picture, scene

NOW = datetime(2026, 10, 7, 3, 0, tzinfo=UTC)
TICK = timedelta(microseconds=1)
COLUMNS = {"id": "No", "text": "Isi", "occurred_at": "Tanggal"}


def now() -> datetime:
    return NOW


@pytest.fixture
def box(tmp_path: Path) -> Path:
    (tmp_path / "kotak").mkdir()
    return tmp_path / "kotak"


def stream_of(folder: Path, **options: Any) -> Stream:
    return Stream("jaki", "uji", "export", {"inbox": folder.name, "columns": COLUMNS} | options, str(folder.parent))


def put(path: Path, data: str | bytes, *, age: float = 60) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    touch(path, age=age)
    return path


def touch(path: Path, *, age: float) -> None:
    os.utime(path, (NOW.timestamp() - age,) * 2)


def csv(numbers: Sequence[int], *, word: str = "laporan") -> str:
    return "No;Isi;Tanggal\r\n" + "".join(f"{n};{word} {n};04/05/2026 19:12\r\n" for n in numbers)


def pull(stream: Stream, cursor: dict[str, Any] | None = None) -> list[Batch]:
    return list(export.pull(stream, cursor, now=now))


def messages(batches: Sequence[Batch]) -> list[Message]:
    return [m for batch in batches for m in batch.messages]


def refs(batches: Sequence[Batch]) -> list[str]:
    return [m.source_ref for m in messages(batches)]


# --- what comes back ------------------------------------------------------------------------


def test_a_row_lands_as_its_cells_with_its_number_time_and_place(box: Path) -> None:
    put(box / "mei.csv", "No|Isi|Tanggal|Lain\r\nJK1|Jalan &amp; got|04/05/2026 19:12|\r\n")
    [batch] = pull(stream_of(box))
    [message] = batch.messages
    payload = b'{"No":"JK1","Isi":"Jalan &amp; got","Tanggal":"04/05/2026 19:12"}'
    time = datetime(2026, 5, 4, 12, 12, tzinfo=UTC)
    assert message == Message("JK1", message.version, payload, "application/json", NOW, time, None, "mei.csv, baris 2")
    assert export.decode(message, stream_of(box)) == Draft(text="Jalan & got", occurred_at=time)
    assert [entry.count("/") for entry in batch.cursor.pop("done")] == [1]
    assert batch.cursor == {}


def test_the_same_files_again_bring_no_batch_under_any_name_and_any_date(box: Path) -> None:
    path = put(box / "mei.csv", csv(range(5)))
    cursor = pull(stream_of(box))[-1].cursor
    assert pull(stream_of(box), cursor) == []
    put(box / "salinan.csv", path.read_bytes())
    touch(path, age=3600)
    path.rename(box / "juni.csv")
    assert pull(stream_of(box), cursor) == []


def test_an_export_with_one_row_edited_has_exactly_one_new_version(box: Path) -> None:
    put(box / "1.csv", csv(range(100)))
    put(box / "2.csv", "Tanggal,ISI ,Baru,No\n" + "".join(
        f"04/05/2026 19:12,{'sudah diperbaiki' if n == 7 else f'laporan {n}'},x,{n}\n" for n in range(100)))  # fmt: skip
    found = messages(pull(stream_of(box)))
    assert len(found) == 200
    versions = {(m.source_ref, m.version) for m in found}
    assert len(versions) == 101
    assert [
        m.source_ref
        for m in found[100:]
        if (m.source_ref, m.version) not in {(o.source_ref, o.version) for o in found[:100]}
    ] == ["7"]


def test_identical_rows_without_an_id_are_one_message_landed_twice(box: Path) -> None:
    put(
        box / "a.csv",
        "No;Isi;Tanggal\r\n;Jalan rusak;04/05/2026\r\n;Jalan rusak;04/05/2026\r\n;Jalan rusak;05/05/2026\r\n",
    )
    first, second, other = messages(pull(stream_of(box)))
    assert (first.source_ref, first.version) == (second.source_ref, second.version)
    assert other.source_ref != first.source_ref


def test_later_rows_and_files_are_newer_where_they_tell_of_the_same_item(box: Path) -> None:
    put(box / "10.csv", csv([1], word="paling baru"))
    put(box / "2.csv", csv([1], word="baru"))
    put(box / "1.csv", csv([1, 2]) + csv([1], word="ralat").partition("\r\n")[2])
    found = [(m.source_ref, orjson.loads(m.payload)["Isi"], m.fetched_at) for m in messages(pull(stream_of(box)))]
    assert found == [
        ("1", "laporan 1", NOW), ("2", "laporan 2", NOW), ("1", "ralat 1", NOW + TICK), ("1", "baru 1", NOW + 2 * TICK),
        ("1", "paling baru 1", NOW + 3 * TICK),
    ]  # fmt: skip


def test_edited_at_is_read_where_a_column_says_it(box: Path) -> None:
    put(box / "a.csv", "No;Isi;Tanggal;Diubah\r\n1;Jalan;04/05/2026;05/05/2026 07:00\r\n")
    [message] = messages(pull(stream_of(box, columns=COLUMNS | {"edited_at": "Diubah"})))
    assert message.edited_at == datetime(2026, 5, 5, tzinfo=UTC)


def test_many_files_share_a_batch_and_a_large_one_takes_several(box: Path) -> None:
    for n in range(30):
        put(box / f"{n}.csv", csv([n]))
    assert [len(b.messages) for b in pull(stream_of(box))] == [30]
    put(box / "besar.csv", csv(range(100, 350)))
    assert [len(b.messages) for b in pull(stream_of(box, batch_rows=100))] == [100, 100, 80]
    size = len(messages(pull(stream_of(box)))[-1].payload)
    by_size = pull(stream_of(box, batch_bytes=size * 50))
    assert max(sum(len(m.payload) for m in b.messages) for b in by_size) <= size * 50
    assert len(messages(by_size)) == 280


def test_one_file_feeds_the_streams_that_its_rows_name(box: Path) -> None:
    put(box / "a.csv", "No;Isi;Tanggal;Kanal\r\n1;a;;Qlue\r\n2;b;;JAKI\r\n3;c;;qlue \r\n4;d;;\r\n")
    assert refs(pull(stream_of(box, only={"kanal": "qlue"}))) == ["1", "3"]
    assert refs(pull(stream_of(box, only={"kanal": "jaki"}))) == ["2"]
    [nothing] = pull(stream_of(box, only={"kanal": "sms"}))
    assert (nothing.messages, len(nothing.cursor["done"])) == ([], 1)
    assert pull(stream_of(box, only={"kanal": "sms"}), nothing.cursor) == []


def test_a_workbook_and_a_zip_say_where_a_row_stood(box: Path) -> None:
    book: Any = openpyxl.Workbook()
    out = io.BytesIO()
    book.active.title = "Mei"
    for row in (["No", "Isi", "Tanggal"], [1.0, "Jalan", datetime(2026, 5, 4, 19, 12)]):
        book.active.append(row)
    book.save(out)
    put(box / "kantor" / "a.xlsx", out.getvalue())
    [message] = messages(pull(stream_of(box)))
    assert (message.source_ref, message.origin) == ("1", "kantor/a.xlsx, lembar Mei, baris 2")
    assert (
        export.decode(message, stream_of(box)).occurred_at
        == message.occurred_at
        == datetime(2026, 5, 4, 12, 12, tzinfo=UTC)
    )


# --- quarantine -----------------------------------------------------------------------------


def test_a_file_of_the_same_zip_that_a_row_names_comes_along(box: Path) -> None:
    packed, photo, video = io.BytesIO(), picture(), b"\0\0\0\x18ftypmp42"
    rows = "nomor;isi;foto\n1;Lubang;satu.jpg, https://example.com/x.jpg\n2;Banjir;foto/dua.mp4\n3;Sampah;tiga.jpg\n"
    with ZipFile(packed, "w") as made:
        made.writestr("rekap.csv", rows + "4;Pohon;SATU.JPG;lebih\n")
        made.writestr("foto/Satu.jpg", photo)
        made.writestr("foto/dua.mp4", video)
        made.writestr("foto/bukan.jpg", b"tidak disebut")
    put(box / "1.zip", packed.getvalue())
    stream = stream_of(box, columns={"id": "nomor", "text": "isi", "attachments": "foto"}, separator=";")
    one, two, three, aside = messages(pull(stream))
    assert [m.media for m in (one, two, three, aside)] == [(photo,), (video,), (), ()]
    assert aside.problem
    plain = put(box / "2.csv", rows)
    assert [(m.source_ref, m.version) for m in messages(pull(stream))[-3:]] == [
        (m.source_ref, m.version) for m in (one, two, three)
    ], f"{plain.name} holds the same reports"
    kept = {"type": "image/jpeg", "size": len(photo), "sha256": sha256(photo).hexdigest(), "name": "satu.jpg"}
    assert [export.decode(m, stream).attachments for m in (one, two, three)] == [
        [kept, {"type": "image/jpeg", "name": "x.jpg", "url": "https://example.com/x.jpg"}],
        [{"type": "video/mp4", "size": len(video), "sha256": sha256(video).hexdigest(), "name": "dua.mp4"}],
        [{"type": "image/jpeg", "name": "tiga.jpg"}],
    ]


@pytest.mark.parametrize("photo", [picture(), scene()], ids=["shows nothing", "shows a street"])
def test_what_the_bytes_say_counts_before_what_the_row_says_of_them(photo: bytes, box: Path) -> None:
    packed = io.BytesIO()
    with ZipFile(packed, "w") as made:
        row = f"1;Lubang;satu.jpg;{'a1' * 32};c3a1f00f5a5a3c3c\n2;Banjir;dua.jpg;{'b2' * 32};\n"
        made.writestr("rekap.csv", "nomor;isi;foto;sidik;rupa\n" + row)
        made.writestr("satu.jpg", photo)
    put(box / "1.zip", packed.getvalue())
    columns = {"id": "nomor", "text": "isi", "attachments": "foto", "photo_sha256": "sidik", "photo_phash": "rupa"}
    stream = stream_of(box, columns=columns, separator=";")
    assert [export.decode(m, stream).attachments for m in messages(pull(stream))] == [
        [described(photo, "satu.jpg")],
        [{"type": "image/jpeg", "name": "dua.jpg", "sha256": "b2" * 32, "elsewhere": True}],
    ]


@pytest.mark.parametrize("told", ["", "x", "[]", '{"satu.jpg": 1}'])
def test_no_sheet_can_claim_a_file_that_did_not_come_along(told: str, box: Path) -> None:
    put(box / "1.jsonl", orjson.dumps({"nomor": "1", "isi": "Lubang", "foto": "satu.jpg", "_kanal_media": "{}"}))
    stream = stream_of(box, columns={"id": "nomor", "text": "isi", "attachments": "foto"})
    [message] = messages(pull(stream))
    cells = orjson.loads(message.payload)
    assert "_kanal_media" not in cells
    old = replace(message, payload=orjson.dumps(cells | {"_kanal_media": told}))
    assert export.decode(old, stream).attachments == [{"type": "image/jpeg", "name": "satu.jpg"}]


def test_what_cannot_be_read_is_set_aside_and_the_rest_goes_on(box: Path) -> None:
    put(
        box / "1.csv",
        'No;Isi;Tanggal\r\n1;"buka;x\r\n2;"Jalan";\r\n3;Got; mampet;x\r\n4;Lampu;kemarin\r\n5;;04/05/2026\r\n',
    )
    put(box / "2.csv", "Nomor;Uraian\r\n1;x\r\n")
    put(box / "3.csv", b"PK\x03\x04")
    put(box / "4.csv", csv([6]))
    stream = stream_of(box)
    fates = {}
    for message in messages(pull(stream)):
        try:
            fates[message.origin] = export.decode(message, stream).text
        except RejectedMessage as error:
            fates[message.origin] = error.reason.partition(".")[0] + f" ({error.stage})"
    assert fates == {
        "1.csv, baris 2": f"{UNCLOSED.partition('.')[0]} (pull)",
        "1.csv, baris 3": "Jalan",
        "1.csv, baris 4": f"{tables.TOO_MANY.partition('.')[0]} (pull)",
        "1.csv, baris 5": "Lampu",
        "1.csv, baris 6": "Baris ini tidak berisi isi laporan, judul, ataupun lampiran (decode)",
        "2.csv": "Berkas 2 (pull)",
        "3.csv": "Berkas 3 (pull)",
        "4.csv, baris 2": "laporan 6",
    }


def test_what_is_set_aside_keeps_its_payload_within_bounds(box: Path) -> None:
    put(
        box / "1.csv",
        b'No;Isi;Tanggal\r\n1;"Caf\xe9\r\n2;"Jalan";\r\n3;Got; mampet;x\r\n4;"' + b"panjang " * 1_500_000 + b'";x\r\n',
    )
    put(box / "2.csv", b"Nomor;Uraian\r\n" + b"1;x\r\n" * 50_000)
    quote, _, many, long, whole = messages(pull(stream_of(box)))
    assert (quote.payload, quote.payload_type) == ('1;"Café\r\n'.encode(), "text/plain")
    assert orjson.loads(many.payload) == {"No": "3", "Isi": "Got", "Tanggal": " mampet", "kolom 4": "x"}
    assert (long.payload[:20], len(long.payload)) == (b'4;"panjang panjang p', 1_000_000)
    assert (whole.payload, whole.payload_type) == ((box / "2.csv").read_bytes()[:65_536], "application/octet-stream")


def test_a_file_set_aside_as_a_whole_is_read_again_once_the_options_have_changed(box: Path) -> None:
    put(box / "1.csv", csv([1]))
    put(box / "2.csv", "Nomor;Isi;Tanggal\r\n2;Jalan;\r\n")
    cursor = pull(stream_of(box))[-1].cursor
    assert pull(stream_of(box), cursor) == []
    mended = stream_of(box, columns=COLUMNS | {"id": {"first": ["No", "Nomor"]}})
    [batch] = pull(mended, cursor)
    assert [m.origin for m in batch.messages] == ["2.csv, baris 2"]
    assert pull(mended, batch.cursor) == []


@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b'{"Isi": 5}', b"null", b"\xff"])
def test_a_payload_that_is_no_row_is_set_aside(payload: bytes, box: Path) -> None:
    with pytest.raises(RejectedMessage, match="Isi baris ini rusak"):
        export.decode(Message("1", "v", payload, "application/json", NOW), stream_of(box))


def test_half_a_character_in_json_does_not_stop_a_file(box: Path) -> None:
    put(
        box / "a.json",
        '[{"No": 1, "Isi": "rusak \\ud83d", "Tanggal": ""}, {"No": 2, "Isi": "\\ud83d\\ude4f", "\\ud83d": "x"}]',
    )
    stream = stream_of(box)
    assert [export.decode(m, stream).text for m in messages(pull(stream))] == ["rusak \ufffd", "\U0001f64f"]


# --- cut off, half written, taken away ------------------------------------------------------


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    files=st.lists(st.integers(0, 40), min_size=1, max_size=5),
    stops=st.lists(st.integers(0, 4), max_size=12),
    batch_rows=st.integers(1, 17),
)
def test_however_a_pull_is_cut_off_every_row_lands_once_and_in_order(
    tmp_path_factory: pytest.TempPathFactory, files: list[int], stops: list[int], batch_rows: int
) -> None:
    folder = tmp_path_factory.mktemp("kotak")
    for number, rows in enumerate(files):
        put(folder / f"{number}.csv", csv([number * 100 + n for n in range(rows)]))
    stream = stream_of(folder, batch_rows=batch_rows)
    cursor, landed = None, []
    for stop in [*stops, None]:
        for count, batch in enumerate(export.pull(stream, cursor, now=now)):
            if count == stop:
                break
            landed.append(batch)
            cursor = orjson.loads(orjson.dumps(batch.cursor))
    assert refs(landed) == [str(number * 100 + n) for number, rows in enumerate(files) for n in range(rows)]
    assert pull(stream, cursor) == []


def test_a_half_landed_file_starts_again_where_it_would_be_read_otherwise(box: Path) -> None:
    put(box / "a.csv", csv(range(10)))
    first = pull(stream_of(box, batch_rows=4))[0]
    assert refs(pull(stream_of(box, batch_rows=4), first.cursor)) == [str(n) for n in range(4, 10)]
    assert refs(pull(stream_of(box, batch_rows=4, literal_newlines=False), first.cursor)) == [str(n) for n in range(10)]


def test_a_file_that_is_still_being_written_waits_for_the_next_pull(box: Path) -> None:
    path = put(box / "a.csv", csv([1]), age=1)
    put(box / "b.csv", csv([2]))
    put(box / "jam maju.csv", csv([3]), age=-3600)
    [batch] = pull(stream_of(box))
    assert refs([batch]) == ["2", "3"]
    touch(path, age=2)
    assert refs(pull(stream_of(box), batch.cursor)) == ["1"]
    touch(path, age=1)
    assert refs(pull(stream_of(box, settle_seconds=0))) == ["1", "2", "3"]


def test_a_file_that_grows_while_it_is_read_is_read_again_as_what_it_became(box: Path) -> None:
    path = put(box / "a.csv", csv(range(6)))
    stream, landed = stream_of(box, batch_rows=2), []
    for batch in export.pull(stream, None, now=now):
        landed.append(batch)
        put(path, csv(range(8)), age=30)
    assert set(refs(landed)) <= {str(n) for n in range(8)}
    again = pull(stream, landed[-1].cursor)
    assert refs(again) == [str(n) for n in range(8)]
    assert pull(stream, again[-1].cursor) == []


def test_files_that_are_hidden_temporary_or_not_asked_for_are_left_alone(box: Path) -> None:
    for name in (".a.csv", "~$a.xlsx", "a.csv.part", "b.TMP", ".sembunyi/a.csv", "catatan.md"):
        put(box / name, csv([1]))
    put(box / "dalam" / "a.csv", csv([2]))
    assert refs(pull(stream_of(box, pattern="*.csv"))) == ["2"]


def test_a_file_that_cannot_be_opened_does_not_stop_the_others_and_is_told(box: Path) -> None:
    put(box / "1.csv", csv([1]))
    (box / "2.csv").symlink_to(box / "2.csv.asli")
    (box / "3.csv").symlink_to("/proc/self/mem")  # a file that opens and does not read
    put(box / "4.csv", csv([4]))
    pulling = export.pull(stream_of(box, settle_seconds=0), None, now=now)
    assert refs([next(pulling)]) == ["1", "4"]
    with pytest.raises(TransientError, match=r"jaki/uji: cannot read 3.csv \(.+\); check its rights and the disk"):
        next(pulling)


def test_a_folder_that_is_not_there_stops_the_stream(box: Path) -> None:
    with pytest.raises(SettingsError, match=r"jaki/uji: inbox .*lain is not a folder"):
        pull(stream_of(box, inbox="lain"))
    assert pull(Stream("jaki", "uji", "export", {"columns": COLUMNS})) == []


# --- the cursor -----------------------------------------------------------------------------


def test_the_cursor_forgets_files_that_are_long_gone_but_never_one_in_the_inbox(
    box: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "_REMEMBERED", 3)
    stream, cursor = stream_of(box), None
    for n in range(12):
        put(box / f"{n}.csv", csv([n]))
        cursor = pull(stream, cursor)[-1].cursor
    assert cursor is not None
    assert len(cursor["done"]) == 12
    for n in range(10):
        (box / f"{n}.csv").unlink()
    put(box / "baru.csv", csv([99]))
    cursor = pull(stream, cursor)[-1].cursor
    assert len(cursor["done"]) == 3 + 3
    assert pull(stream, cursor) == []


def test_thousands_of_files_make_a_cursor_of_some_ten_kilobytes(box: Path) -> None:
    for n in range(2_000):
        put(box / f"{n}.csv", f"No;Isi;Tanggal\r\n{n};x;\r\n")
    cursor = pull(stream_of(box))[-1].cursor
    assert len(cursor["done"]) == 2_000
    assert len(orjson.dumps(cursor)) < 80_000


def test_a_known_file_is_not_read_again_to_know_it(box: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(box / "a.csv", csv([1]))
    cursor = pull(stream_of(box))[-1].cursor
    read: list[Any] = []
    monkeypatch.setattr(export, "_digest", read.append)
    assert (pull(stream_of(box), cursor), read) == ([], [])


# --- by hand, and into the real landing -----------------------------------------------------


def test_files_are_imported_by_hand_once_whatever_their_age(box: Path, tmp_path: Path) -> None:
    stream = Stream("jaki", "uji", "export", {"columns": COLUMNS}, str(tmp_path))
    files = [put(tmp_path / "b.csv", csv([2]), age=0), put(tmp_path / "a.csv", csv([1]), age=0)]
    [batch] = export.import_files(stream, None, files, now=now)
    assert [(m.source_ref, m.origin) for m in batch.messages] == [("2", "b.csv, baris 2"), ("1", "a.csv, baris 2")]
    assert list(export.import_files(stream, batch.cursor, files, now=now)) == []
    put(box / "c.csv", csv([1]))
    assert pull(stream_of(box), batch.cursor) == []  # the same content in the inbox
    with pytest.raises(PermanentError, match=r"jaki/uji: no file at .*tidak-ada.csv; nothing was imported"):
        list(export.import_files(stream, None, [*files, tmp_path / "tidak-ada.csv"], now=now))


def test_a_stream_of_exports_lands_and_lands_no_more(tmp_path: Path, box: Path) -> None:
    (tmp_path / "kanal.toml").write_text(
        '[[stream]]\nchannel = "jaki"\nname = "uji"\nsource = "export"\ninbox = "kotak"\nbatch_rows = 10\n'
        '[stream.columns]\nid = "No"\ntext = "Isi"\noccurred_at = "Tanggal"\n'
    )
    put(box / "a.csv", csv(range(25)))
    config = load(tmp_path / "kanal.toml")
    [stream] = config.streams
    first, again = (flow.land(config, stream, run_id=run, now=now) for run in "ab")
    assert (first.error, first.messages, first.batches) == (None, 25, 3)
    assert (again.error, again.messages, again.batches) == (None, 0, 0)
    assert Landing(config.landing_dir).head(stream).sequence == 2


def test_ids_that_excel_rounded_are_set_aside_instead_of_being_one_report(box: Path) -> None:
    put(box / "a.csv", 'No;Isi;Tanggal\n2.0261E+13;a;\n2.0261E+13;b;\n"2,02E+13";c;\n20261103000123;d;\n')
    found = messages(pull(stream_of(box)))
    assert [m.problem for m in found] == [ROUNDED, ROUNDED, ROUNDED, None]
    assert len({m.source_ref for m in found}) == 4
    assert found[-1].source_ref == "20261103000123"


def test_a_phone_that_excel_rounded_is_nobodys_and_is_told(box: Path) -> None:
    stream = stream_of(box, columns=COLUMNS | {"contact_phone": "HP"})
    put(box / "a.csv", "No;Isi;Tanggal;HP\n1;a;;6,28E+12\n")
    [message] = messages(pull(stream))
    assert export.decode(message, stream) == Draft(text="a", extra={"unread": ["contact_phone"]})
