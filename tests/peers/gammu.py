"""A real SMS gateway: Gammu SMSD with a modem that is a folder, its inbox in SQLite, one a test process.

`gammu` starts it once: what `deliver` puts into the folder it reads, joins and writes as it does
with a modem's messages. Its clock is Jakarta's. `text_parts` cuts a text as phones do.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import pytest

from tests.peers import need

PHONE_ID = "gerbang-uji"
_SCHEMA = Path("/usr/share/doc/gammu-smsd/examples/sqlite.sql")
_SECONDS = 30.0
# GSM 03.38: what a phone sends with 7 bits; anything else makes it send the whole text in UCS-2.
_GSM = set(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿"
    "abcdefghijklmnopqrstuvwxyzäöñüà"
)

_CONF = """
[gammu]
model = dummy
connection = none
port = {base}/modem
gammuloc = /dev/null

[smsd]
phoneid = {phone_id}
service = sql
driver = sqlite3
dbdir = {base}/
database = smsd.db
logfile = {base}/smsd.log
debuglevel = 1
commtimeout = 1
receivefrequency = 1
loopsleep = 1
multiparttimeout = 1
checksecurity = 0
checkbattery = 0
checksignal = 0
checknetwork = 0
statusfrequency = 0
"""


@dataclass(frozen=True, slots=True)
class Piece:
    """One SMS as it goes over the air: text, or octets in hex where coding is 8bit; UDH in hex."""

    text: str
    coding: str
    udh: str = ""


@dataclass(frozen=True, slots=True)
class Gammu:
    """A running gateway."""

    base: Path
    slots: Iterator[int] = field(default_factory=lambda: count(1))

    @property
    def database(self) -> Path:
        return self.base / "smsd.db"

    def deliver(self, sender: str, pieces: Sequence[Piece], at: datetime) -> None:
        """Hand pieces to the modem in this order and wait until they are in the inbox. at: aware."""
        before = len(self.inbox())
        for piece in pieces:
            scratch = self.base / "piece"
            scratch.write_text(_backup(sender, piece, at))
            scratch.rename(self.base / "modem/sms/1" / str(next(self.slots)))  # never read half-written
        end = time.monotonic() + _SECONDS
        while len(self.inbox()) < before + len(pieces):
            if time.monotonic() > end:
                raise RuntimeError(f"Gammu took no SMS in:\n{(self.base / 'smsd.log').read_text()[-2000:]}")
            time.sleep(0.05)

    def inbox(self) -> list[dict[str, object]]:
        """The inbox as it stands, by ID."""
        with closing(sqlite3.connect(self.database, timeout=10)) as con:
            con.row_factory = sqlite3.Row
            return [dict(row) for row in con.execute("SELECT * FROM inbox ORDER BY ID")]


def text_parts(text: str, reference: int = 0) -> list[Piece]:
    """A text as a phone sends it: whole, or in parts with an 8-bit reference, cut by UTF-16 unit."""
    plain = set(text) <= _GSM
    coding, whole, room = ("Default", 160, 153) if plain else ("Unicode", 70, 67)
    units = text.encode("utf-16-be")
    cut = [units[i : i + 2 * room] for i in range(0, len(units), 2 * room)]
    if len(units) <= 2 * whole:
        return [Piece(text, coding)]
    # Half a surrogate pair may end one part and begin the next.
    return [
        Piece(data.decode("utf-16-be", "surrogatepass"), coding, f"050003{reference:02X}{len(cut):02X}{number:02X}")
        for number, data in enumerate(cut, 1)
    ]


def _backup(sender: str, piece: Piece, at: datetime) -> str:
    """One SMS in Gammu's backup format, which is what its folder modem holds."""
    written = piece.text if piece.coding == "8bit" else _hexadecimal(piece.text)
    lines = [
        "[SMSBackup000]", 'SMSC = "+62812000"', f"SMSCUnicode = {_hexadecimal('+62812000')}", "PDU = Deliver",
        f"DateTime = {at.astimezone(UTC):%Y%m%dT%H%M%S}", "State = UnRead", f'Number = "{sender}"',
        f"NumberUnicode = {_hexadecimal(sender)}", 'Name = ""', "NameUnicode = ",
    ]
    lines += [f"UDH = {piece.udh}"] if piece.udh else []
    lines += [f"Text{n:02d} = {written[i : i + 200]}" for n, i in enumerate(range(0, max(len(written), 1), 200))]
    length = len(written) // (2 if piece.coding == "8bit" else 4)
    lines += [
        f"Coding = {piece.coding}", "Folder = 1", f"Length = {length}", "Class = -1", "ReplySMSC = False",
        "RejectDuplicates = False", "ReplaceMessage = 0", "MessageReference = 0",
    ]
    return "\n".join(lines) + "\n"


def _hexadecimal(text: str) -> str:
    return text.encode("utf-16-be", "surrogatepass").hex().upper()


@pytest.fixture(scope="session")
def gammu() -> Iterator[Gammu]:
    """Gammu SMSD for this test process."""
    program = need("gammu-smsd", "gammu")
    if not _SCHEMA.is_file():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{_SCHEMA} is missing, which gammu-smsd brings")
    base = Path(tempfile.mkdtemp(prefix="gammu"))
    try:
        for folder in range(1, 6):
            (base / "modem/sms" / str(folder)).mkdir(parents=True)
        (base / "smsdrc").write_text(_CONF.format(base=base, phone_id=PHONE_ID))
        with closing(sqlite3.connect(base / "smsd.db")) as con:
            con.executescript(_SCHEMA.read_text())
        with (base / "stderr").open("wb") as noise:
            process = subprocess.Popen(
                [str(program), "-c", str(base / "smsdrc")], stdout=noise, stderr=noise,
                env=os.environ | {"TZ": "Asia/Jakarta"},
            )
        try:
            yield Gammu(base)
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)
    finally:
        shutil.rmtree(base, ignore_errors=True)
