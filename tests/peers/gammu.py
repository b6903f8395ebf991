"""A real SMS gateway: Gammu SMSD with a modem that is a folder, its inbox in SQLite.

`gateway` starts it once a file of tests (0.2 s): what `deliver` puts into the folder it reads, joins
and writes as it does with a modem's messages. Its clock is Jakarta's. `smsd` starts it with another
backend (gammu_backends.py). `text_parts` cuts a text as phones do. `create` and `insert` make an inbox
by hand, for what a gateway cannot be made to write.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import pytest

from pipelines.contracts import WIB
from tests.peers import need

PHONE_ID = "gerbang-uji"
CODINGS = {"Default": "Default_No_Compression", "Unicode": "Unicode_No_Compression"}
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
{service}
logfile = {base}/smsd.log
debuglevel = 1
commtimeout = 1
receivefrequency = 0
loopsleep = {rest}
multiparttimeout = 1
checksecurity = 0
checkbattery = 0
checksignal = 0
checknetwork = 0
statusfrequency = 0
"""

_SQLITE = """service = sql
driver = sqlite3
dbdir = {base}/
database = smsd.db"""

# As Gammu's documentation has it, triggers, indexes and checks left out. UpdatedInDB is UTC in 17.
_TABLES = """
CREATE TABLE gammu (Version INTEGER NOT NULL DEFAULT 0 PRIMARY KEY);
CREATE TABLE inbox (
  UpdatedInDB NUMERIC NOT NULL DEFAULT (datetime({now})), ReceivingDateTime NUMERIC NOT NULL DEFAULT (datetime({now})),
  Text TEXT NOT NULL, SenderNumber TEXT NOT NULL DEFAULT '', Coding TEXT NOT NULL DEFAULT 'Default_No_Compression',
  UDH TEXT NOT NULL, SMSCNumber TEXT NOT NULL DEFAULT '', Class INTEGER NOT NULL DEFAULT -1,
  TextDecoded TEXT NOT NULL DEFAULT '', ID INTEGER PRIMARY KEY AUTOINCREMENT, {extra}
  RecipientID TEXT NOT NULL, Processed TEXT NOT NULL DEFAULT 'false', Status INTEGER NOT NULL DEFAULT -1
);
CREATE TABLE outbox (
  UpdatedInDB NUMERIC NOT NULL DEFAULT (datetime({now})), InsertIntoDB NUMERIC NOT NULL DEFAULT (datetime({now})),
  SendingDateTime NUMERIC NOT NULL DEFAULT (datetime({now})), SendBefore time NOT NULL DEFAULT '23:59:59',
  SendAfter time NOT NULL DEFAULT '00:00:00', Text TEXT, DestinationNumber TEXT NOT NULL DEFAULT '',
  Coding TEXT NOT NULL DEFAULT 'Default_No_Compression', UDH TEXT, Class INTEGER DEFAULT -1,
  TextDecoded TEXT NOT NULL DEFAULT '', ID INTEGER PRIMARY KEY AUTOINCREMENT, MultiPart TEXT NOT NULL DEFAULT 'false',
  RelativeValidity INTEGER DEFAULT -1, SenderID TEXT, SendingTimeOut NUMERIC NOT NULL DEFAULT (datetime({now})),
  DeliveryReport TEXT DEFAULT 'default', CreatorID TEXT NOT NULL, Retries INTEGER DEFAULT 0,
  Priority INTEGER DEFAULT 0, Status TEXT NOT NULL DEFAULT 'Reserved', StatusCode INTEGER NOT NULL DEFAULT -1
);
CREATE TABLE outbox_multipart (
  Text TEXT, Coding TEXT NOT NULL DEFAULT 'Default_No_Compression', UDH TEXT, Class INTEGER DEFAULT -1,
  TextDecoded TEXT, ID INTEGER, SequencePosition INTEGER NOT NULL DEFAULT 1,
  Status TEXT NOT NULL DEFAULT 'Reserved', StatusCode INTEGER NOT NULL DEFAULT -1, PRIMARY KEY (ID, SequencePosition)
);
CREATE TABLE phones (
  ID TEXT NOT NULL, UpdatedInDB NUMERIC NOT NULL DEFAULT (datetime({now})),
  InsertIntoDB NUMERIC NOT NULL DEFAULT (datetime({now})), TimeOut NUMERIC NOT NULL DEFAULT (datetime({now})),
  Send TEXT NOT NULL DEFAULT 'no', Receive TEXT NOT NULL DEFAULT 'no', IMEI TEXT PRIMARY KEY NOT NULL,
  IMSI TEXT NOT NULL, NetCode TEXT DEFAULT 'ERROR', NetName TEXT DEFAULT 'ERROR', Client TEXT NOT NULL,
  Battery INTEGER NOT NULL DEFAULT -1, Signal INTEGER NOT NULL DEFAULT -1, Sent INTEGER NOT NULL DEFAULT 0,
  Received INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE sentitems (
  UpdatedInDB NUMERIC NOT NULL DEFAULT (datetime({now})), InsertIntoDB NUMERIC NOT NULL DEFAULT (datetime({now})),
  SendingDateTime NUMERIC NOT NULL DEFAULT (datetime({now})), DeliveryDateTime NUMERIC, Text TEXT NOT NULL,
  DestinationNumber TEXT NOT NULL DEFAULT '', Coding TEXT NOT NULL DEFAULT 'Default_No_Compression', UDH TEXT NOT NULL,
  SMSCNumber TEXT NOT NULL DEFAULT '', Class INTEGER NOT NULL DEFAULT -1, TextDecoded TEXT NOT NULL DEFAULT '',
  ID INTEGER, SenderID TEXT NOT NULL, SequencePosition INTEGER NOT NULL DEFAULT 1,
  Status TEXT NOT NULL DEFAULT 'SendingOK', StatusError INTEGER NOT NULL DEFAULT -1, TPMR INTEGER NOT NULL DEFAULT -1,
  RelativeValidity INTEGER NOT NULL DEFAULT -1, CreatorID TEXT NOT NULL, StatusCode INTEGER NOT NULL DEFAULT -1,
  PRIMARY KEY (ID, SequencePosition)
);
"""
_EXTRA_18 = """
  MessageID INTEGER NOT NULL DEFAULT 0, SequencePosition INTEGER NOT NULL DEFAULT 1,
  PartCount INTEGER NOT NULL DEFAULT 1,"""


def create(path: Path, schema: int) -> None:
    """An empty SMSD database of schema 17 or 18; another number gets the tables of 17."""
    newer = schema == 18
    with closing(sqlite3.connect(path)) as con:
        con.execute("PRAGMA synchronous = off")
        con.executescript(
            _TABLES.format(now="'now', 'localtime'" if newer else "'now'", extra=_EXTRA_18 if newer else "")
        )
        con.execute("INSERT INTO gammu VALUES (?)", [schema])
        con.commit()


@dataclass(frozen=True, slots=True)
class Piece:
    """One SMS as it goes over the air: text, or octets in hex where coding is 8bit; UDH in hex."""

    text: str
    coding: str
    udh: str = ""

    @property
    def written(self) -> str:
        """As Gammu writes it."""
        return self.text if self.coding == "8bit" else _hexadecimal(self.text)


def insert(path: Path, sender: str, pieces: Sequence[Piece], at: datetime, **cells: object) -> None:
    """Add rows as SMSD does, whole text in the first one's TextDecoded; at: aware. cells: what else they say."""
    texts = ["" if piece.coding == "8bit" else piece.text for piece in pieces]
    first = "".join(texts).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    with closing(sqlite3.connect(path, timeout=10)) as con:
        con.execute("PRAGMA synchronous = off")
        for number, piece in enumerate(pieces):
            row: dict[str, object] = {
                "ReceivingDateTime": f"{at.astimezone(WIB):%Y-%m-%d %H:%M:%S}",
                "Text": piece.written,
                "SenderNumber": sender,
                "Coding": CODINGS.get(piece.coding, piece.coding),
                "UDH": piece.udh,
                "SMSCNumber": "+62812000",
                "TextDecoded": "" if number else first,
                "RecipientID": PHONE_ID,
            } | cells
            names, marks = ", ".join(row), ", ".join("?" * len(row))
            con.execute(f"INSERT INTO inbox ({names}) VALUES ({marks})", list(row.values()))
        con.commit()


@dataclass(frozen=True, slots=True)
class Gammu:
    """A running gateway. read: what its inbox holds, by ID."""

    base: Path
    read: Callable[[], list[dict[str, object]]]
    slots: Iterator[int] = field(default_factory=lambda: count(1))

    @property
    def database(self) -> Path:
        return self.base / "smsd.db"

    def deliver(self, sender: str, pieces: Sequence[Piece], at: datetime) -> None:
        """Hand pieces to the modem in this order and wait until they are in the inbox. at: aware."""
        before = len(self.inbox())
        for piece in pieces:
            scratch = self.base / "piece"
            scratch.write_text(backup(sender, piece, at))
            scratch.rename(self.base / "modem/sms/1" / str(next(self.slots)))  # never read half-written
        end = time.monotonic() + _SECONDS
        while len(self.inbox()) < before + len(pieces):
            if time.monotonic() > end:
                raise RuntimeError(f"Gammu took no SMS in:\n{(self.base / 'smsd.log').read_text()[-2000:]}")
            time.sleep(0.05)

    def inbox(self) -> list[dict[str, object]]:
        return self.read()


def _rows(database: Path) -> list[dict[str, object]]:
    with closing(sqlite3.connect(database, timeout=10)) as con:
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


def backup(sender: str, piece: Piece, at: datetime) -> str:
    """One SMS in Gammu's backup format, which is what its folder modem holds."""
    written = piece.written
    lines = [
        "[SMSBackup000]",
        'SMSC = "+62812000"',
        f"SMSCUnicode = {_hexadecimal('+62812000')}",
        "PDU = Deliver",
        f"DateTime = {at.astimezone(UTC):%Y%m%dT%H%M%S}",
        "State = UnRead",
        f'Number = "{sender}"',
        f"NumberUnicode = {_hexadecimal(sender)}",
        'Name = ""',
        "NameUnicode = ",
    ]
    lines += [f"UDH = {piece.udh}"] if piece.udh else []
    lines += [f"Text{n:02d} = {written[i : i + 200]}" for n, i in enumerate(range(0, max(len(written), 1), 200))]
    length = len(written) // (2 if piece.coding == "8bit" else 4)
    lines += [
        f"Coding = {piece.coding}",
        "Folder = 1",
        f"Length = {length}",
        "Class = -1",
        "ReplySMSC = False",
        "RejectDuplicates = False",
        "ReplaceMessage = 0",
        "MessageReference = 0",
    ]
    return "\n".join(lines) + "\n"


def _hexadecimal(text: str) -> str:
    return text.encode("utf-16-be", "surrogatepass").hex().upper()


@pytest.fixture(name="gateway", scope="module")
def running_gammu() -> Iterator[Gammu]:
    """Gammu SMSD for one file of tests: it never rests, so it should not outlive them."""
    with gammu_server() as gammu:
        yield gammu


@contextmanager
def gammu_server(*, rest: int = 0) -> Iterator[Gammu]:
    """A gateway of its own over SQLite. rest: seconds between two looks at the modem; 0 takes a core for itself."""
    with gateway_folder() as base:
        create(base / "smsd.db", 17)
        with smsd(base, _SQLITE.format(base=base), rest=rest):
            yield Gammu(base, lambda: _rows(base / "smsd.db"))


@contextmanager
def gateway_folder() -> Iterator[Path]:
    """A folder of its own, with an empty modem in it."""
    base = Path(tempfile.mkdtemp(prefix="gammu"))
    try:
        for folder in range(1, 6):
            (base / "modem/sms" / str(folder)).mkdir(parents=True)
        yield base
    finally:
        shutil.rmtree(base, ignore_errors=True)


@contextmanager
def smsd(base: Path, service: str, *, rest: int = 0) -> Iterator[None]:
    """Gammu SMSD with the modem in `base`, while inside. service: lines of its settings that name the backend."""
    program = need("gammu-smsd", "gammu")
    (base / "smsdrc").write_text(_CONF.format(base=base, phone_id=PHONE_ID, service=service, rest=rest))
    with (base / "stderr").open("wb") as noise:
        process = subprocess.Popen(
            ["nice", "-n", "19", str(program), "-c", str(base / "smsdrc")],
            stdout=noise,
            stderr=noise,
            env=os.environ | {"TZ": "Asia/Jakarta"},
        )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
