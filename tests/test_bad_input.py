"""Bad input at every source, in one run: the batch goes on, the item is set aside for a reason a clerk understands."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import openpyxl
from typer.testing import CliRunner

from pipelines.audit import audit
from pipelines.cli import app
from pipelines.commands.common import PARTIAL
from pipelines.settings import Settings
from tests.conftest import stream_toml
from tests.made_up import HEADER, JAKI, ROWS, write
from tests.peers.gammu import create, insert, text_parts

MAIL = (
    "From: Warga <warga{n}@example.com>\r\nTo: dki@example.com\r\nSubject: {s}\r\nMessage-ID: <m{n}@example.com>\r\n"
    "Date: Mon, 05 Oct 2026 10:00:00 +0700\r\n"
)


def _files(inbox: Path) -> None:
    write(inbox / "01 baik.csv", ROWS[:3])
    book = openpyxl.Workbook()
    for row in (HEADER, *([r.get(h, "") for h in HEADER] for r in ROWS[3:5])):
        book.active.append(row)  # type: ignore[union-attr]
    whole = io.BytesIO()
    book.save(whole)
    (inbox / "02 baik.xlsx").write_bytes(whole.getvalue())
    (inbox / "03 terpotong.xlsx").write_bytes(whole.getvalue()[: len(whole.getvalue()) // 2])
    (inbox / "04 bukan utf8.csv").write_bytes("nomor;tanggal;isi\nJK1;01/10/2026;Café di trotoar\n".encode("utf-16-be"))
    (inbox / "05 tanpa kolom.csv").write_text("nama;umur\nSari;30\n")
    write(inbox / "06 sangat panjang.csv", [ROWS[5] | {"nomor": "JK2610050001", "isi": "banjir " * 1_500_000}, ROWS[5]])
    (inbox / "07 kosong.csv").write_bytes(b"")
    wide = ["nomor", "tanggal", "isi", *(f"k{n}" for n in range(4_997))]
    (inbox / "08 lebar.csv").write_text(
        f"{';'.join(wide)}\nJK2610050002;05/10/2026 08:00;Trotoar rusak di Kelurahan Senen{';' * 4_997}\n"
    )
    (inbox / "09 kurang sel.csv").write_text(f"{';'.join(HEADER)}\nJK2610050003;05/10/2026\n")
    (inbox / "10 bukan zip.zip").write_bytes(b"PK\x03\x04" + b"\0" * 40)


def _mails(folder: Path) -> None:
    folder.mkdir()
    body = "Content-Type: text/plain; charset=utf-8\r\n\r\nLampu jalan mati di Jalan Kenanga, Kelurahan Senen\r\n"
    (folder / "1.eml").write_text(MAIL.format(n=1, s="Lampu") + body, newline="")
    # Cut off in the middle of its photo: what can be read is a report.
    broken = (
        'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\n'
        "Pohon tumbang di Jalan Melati, Kelurahan Tebet Barat\r\n--b\r\nContent-Type: image/jpeg; name=foto.jpg\r\n"
        "Content-Transfer-Encoding: base64\r\n\r\n/9j/4AAQ@@@"
    )
    (folder / "2.eml").write_text(MAIL.format(n=2, s="") + broken, newline="")
    (folder / "3.eml").write_text(
        MAIL.format(n=3, s="") + 'Content-Type: multipart/mixed; boundary=""\r\n\r\n', newline=""
    )


def _messages(path: Path) -> None:
    create(path, 17)
    at = datetime(2026, 10, 6, 1, 0, tzinfo=UTC)
    insert(
        path, "+6281200000001", text_parts("Sampah menumpuk di TPS Jalan Melati Kelurahan Senen sudah empat hari"), at
    )
    whole = text_parts(
        "Saluran mampet dan air meluap ke rumah warga setiap hujan turun walau sebentar. " * 4, reference=7
    )
    insert(path, "+6281200000002", [whole[0], whole[2]], at)


def test_bad_input_at_every_source_is_set_aside_and_the_rest_goes_on(
    tmp_path: Path, make_settings: Callable[..., Settings]
) -> None:
    (tmp_path / "jaki").mkdir()
    _files(tmp_path / "jaki")
    _mails(tmp_path / "surat")
    _messages(tmp_path / "sms.db")
    email = stream_toml("email", "dki", "imap", source_dir="surat", own_addresses=["dki@example.com"])
    optional = 'optional = ["category", "lat", "lon", "kelurahan", "author_name", "contact_phone", "status", "edited_at", "external_ref"]'
    lenient = JAKI.replace("settle_seconds = 0", f"settle_seconds = 0\n{optional}")
    settings = make_settings(lenient + email + stream_toml("sms", "pusat", "sms", database="sms.db"))
    result = CliRunner().invoke(app, ["run", "--json", "--config", str(settings.path)])
    assert result.exit_code == PARTIAL
    found = json.loads(result.stdout)
    assert found["failures"] == {}
    with duckdb.connect(str(settings.analytics.resolve()), read_only=True) as snapshot:
        good = snapshot.execute("SELECT channel, count(*) FROM reports GROUP BY 1 ORDER BY 1").fetchall()
        aside = snapshot.execute("SELECT channel, reason FROM quarantine ORDER BY channel, sequence, row").fetchall()
    # Of the mails all but the empty one; 3 + 2 of the good files, 1 beside the row of 10 MB, 1 of the sheet with 5,000 columns.
    assert good == [("email", 2), ("jaki", 7), ("sms", 1)]
    assert [channel for channel, _ in aside] == ["email", *["jaki"] * 7, "sms"]
    told = "\n".join(reason for _, reason in aside)
    for words in (
        "03 terpotong.xlsx", "04 bukan utf8.csv", "05 tanpa kolom.csv", "07 kosong.csv", "10 bukan zip.zip", "bagian", "1.000.000",
    ):  # fmt: skip
        assert words in told, told
    assert all(20 < len(reason) < 400 for _, reason in aside)
    assert audit(settings).exact
    again = CliRunner().invoke(app, ["run", "--json", "--config", str(settings.path)])
    assert (again.exit_code, sum(s["pulled"] for s in json.loads(again.stdout)["streams"])) == (0, 0)
