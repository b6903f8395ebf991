"""SP4N-LAPOR! by its named mappings: nested reports keyed by TrackingID. Everybody and everything is invented."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pipelines.contracts import Draft, Message, Stream
from pipelines.errors import RejectedMessage
from pipelines.settings import default_models_dir
from pipelines.sources import export
from pipelines.streams import mappings, with_mapping

NOW = datetime(2026, 11, 26, 3, 0, tzinfo=UTC)
KNOWN = mappings((default_models_dir() / "mappings.toml",))
REPORT: dict[str, Any] = {
    "laporan": {"judul": "Lampu padam", "isi": "<p>Lampu jalan padam &amp; gelap.</p>", "rahasia": False, "anonim": False},
    "pelapor": {"id": 7001, "namadepan": "Sari", "namabelakang": "Contoh", "email": "sari@example.com", "telpon": "0812-0000-1201"},
    "topic": {"id": 12, "parent": 3, "topic_name": "Jalan"},
    "area": {"id": 129, "nama": "Meruya Utara", "latitude": "-6.19551", "longitude": "106.744"},
    "disposisi": {"instansi": {"id": 151, "nama": "Dinas Bina Marga"}},
    "status": "Proses",
    "TanggalLaporanMasuk": "2026-11-05 09:12:44",
    "TanggalLaporanAktivitasTerakhir": "2026-11-06 10:00:00",
    "tindak_lanjut": [
        {"tanggal": "2026-11-05 10:00:00", "status": "Belum", "oleh": "Admin Contoh"},
        {"tanggal": "2026-11-06 10:00:00", "status": "Proses", "oleh": "Petugas Misal"},
    ],
    "lampiran": [{"nama": "lampu.jpg", "url": "https://lapor.example.com/f/lampu.jpg"}, "https://lapor.example.com/f/2.pdf"],
}  # fmt: skip
TOPICS = [{"id": 3, "parent": None, "topic_name": "Infrastruktur"}, {"id": 12, "parent": 3, "topic_name": "Jalan"}]


def page(**reports: dict[str, Any]) -> str:
    return json.dumps({"status": 200, "topics": TOPICS, "reports": reports})


def stream_of(folder: Path, mapping: str = "lapor_json") -> Stream:
    return Stream(
        "lapor", "api", "export", with_mapping({"inbox": ".", "settle_seconds": 0}, KNOWN[mapping]), str(folder)
    )


def read(folder: Path, content: str, name: str = "1.json", mapping: str = "lapor_json") -> list[tuple[Message, Draft]]:
    (folder / name).write_text(content, "utf-8")
    stream = stream_of(folder, mapping)
    found = [m for batch in export.pull(stream, None, now=lambda: NOW) for m in batch.messages]
    return [(m, export.decode(m, stream)) for m in found]


def changed(**fields: Any) -> dict[str, Any]:
    report = copy.deepcopy(REPORT)
    for name, value in fields.items():
        report[name] = report[name] | value if isinstance(value, dict) else value
    return report


def test_a_nested_report_is_read_to_its_last_field(tmp_path: Path) -> None:
    [(message, draft)] = read(tmp_path, page(**{"9100301": REPORT}))
    assert message.source_ref == "9100301"
    assert message.edited_at == datetime(2026, 11, 6, 3, 0, tzinfo=UTC)
    assert draft == Draft(
        text="Lampu jalan padam & gelap.", title="Lampu padam", occurred_at=datetime(2026, 11, 5, 2, 12, 44, tzinfo=UTC),
        author_ref="7001", author_name="Sari Contoh", contact_email="sari@example.com", contact_phone="0812-0000-1201",
        category_reported="Jalan", agency_reported="Dinas Bina Marga", status_reported="Proses",
        kelurahan_reported="Meruya Utara", lat=-6.19551, lon=106.744,
        attachments=[
            {"type": "image/jpeg", "name": "lampu.jpg", "url": "https://lapor.example.com/f/lampu.jpg"},
            {"type": "application/pdf", "name": "2.pdf", "url": "https://lapor.example.com/f/2.pdf"},
        ],
    )  # fmt: skip


def test_an_anonymous_reporter_has_no_name_and_a_private_report_says_so(tmp_path: Path) -> None:
    hidden, private, bare = (draft for _, draft in read(tmp_path, page(
        **{"1": changed(laporan={"anonim": True}), "2": changed(laporan={"rahasia": 1}),
           "3": {k: v for k, v in REPORT.items() if k != "pelapor"}}
    )))  # fmt: skip
    assert (hidden.author_name, hidden.contact_email, hidden.contact_phone) == (None, None, None)
    assert (hidden.sender_level, hidden.author_ref) == ("anonymous", "7001")
    assert (private.private, private.author_name, private.sender_level) == (True, "Sari Contoh", None)
    assert (bare.author_name, bare.author_ref, bare.private) == (None, None, False)


def test_a_new_status_is_a_new_version_and_what_officials_wrote_goes_no_further_than_landing(tmp_path: Path) -> None:
    later = changed(status="Selesai", TanggalLaporanAktivitasTerakhir="2026-11-08 10:00:00")
    read(tmp_path, page(**{"9100301": REPORT}))
    (before, draft), (after, done) = read(tmp_path, page(**{"9100301": later}), "2.json")
    assert before.source_ref == after.source_ref and before.version != after.version
    assert (draft.status_reported, done.status_reported) == ("Proses", "Selesai")
    assert b"Petugas Misal" in after.payload
    assert "Petugas Misal" not in str(done)
    history = changed(tindak_lanjut=[])
    assert read(tmp_path, page(**{"9100301": history}), "3.json")[2][0].version == before.version


def test_reports_in_a_list_are_read_as_well(tmp_path: Path) -> None:
    content = json.dumps({"reports": [REPORT | {"TrackingID": 9100301}]})
    [(message, _)] = read(tmp_path, content)
    assert message.source_ref == "9100301"


@pytest.mark.parametrize("content", ['{"topics": []}', '{"reports": "x"}', page(**{"1": REPORT})[:-40]])
def test_a_page_that_is_none_or_is_cut_off_waits_in_quarantine(content: str, tmp_path: Path) -> None:
    with pytest.raises(RejectedMessage, match=r"1\.json"):
        read(tmp_path, content)


def test_the_open_datas_columns_are_read_and_rows_without_a_text_wait(tmp_path: Path) -> None:
    head = (
        "id,TrackingID,KategoriID,category,related_department,status,AreaID,Area,TanggalLaporanMasuk,TanggalDisposisi"
    )
    row = "1,9100301,12,Jalan,Dinas Bina Marga,Selesai,129,Meruya Utara,2014-05-04 10:00:00,"
    with pytest.raises(RejectedMessage, match="tidak berisi isi laporan"):
        read(tmp_path, f"{head}\n{row}\n", "lapor.csv", "lapor_csv")
    [(_, draft)] = read(tmp_path, f"{head},IsiLaporanAwal\n{row},Lampu padam\n", "lapor.csv", "lapor_csv")
    assert (draft.text, draft.kelurahan_reported, draft.status_reported) == ("Lampu padam", "Meruya Utara", "Selesai")
