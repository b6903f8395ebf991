"""Gammu SMSD on its other backends: PostgreSQL (native_pgsql), and files with inboxformat = detail.

`postgres_gateway` and `files_gateway` run it while inside. `create_postgres` and `insert_postgres` make an
inbox by hand, as `create` and `insert` of gammu.py do in SQLite.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psycopg
from psycopg.rows import dict_row

from pipelines.contracts import WIB
from tests.peers.gammu import CODINGS, PHONE_ID, Gammu, Piece, backup, gateway_folder, smsd

_NOW = "timestamp(0) WITHOUT time zone NOT NULL DEFAULT LOCALTIMESTAMP(0)"
_CODING = "varchar(255) NOT NULL DEFAULT 'Default_No_Compression'"
# As Gammu's documentation has it, triggers, indexes and checks left out.
_TABLES = f"""
CREATE TABLE gammu ("Version" smallint NOT NULL DEFAULT 0 PRIMARY KEY);
CREATE TABLE inbox (
  "UpdatedInDB" {_NOW}, "ReceivingDateTime" {_NOW}, "Text" text NOT NULL,
  "SenderNumber" varchar(20) NOT NULL DEFAULT '', "Coding" {_CODING}, "UDH" text NOT NULL,
  "SMSCNumber" varchar(20) NOT NULL DEFAULT '', "Class" integer NOT NULL DEFAULT -1,
  "TextDecoded" text NOT NULL DEFAULT '', "ID" serial PRIMARY KEY, %s
  "RecipientID" text NOT NULL, "Processed" boolean NOT NULL DEFAULT false, "Status" integer NOT NULL DEFAULT -1
);
CREATE TABLE outbox (
  "UpdatedInDB" {_NOW}, "InsertIntoDB" {_NOW}, "SendingDateTime" {_NOW},
  "SendBefore" time NOT NULL DEFAULT '23:59:59', "SendAfter" time NOT NULL DEFAULT '00:00:00', "Text" text,
  "DestinationNumber" varchar(20) NOT NULL DEFAULT '', "Coding" {_CODING}, "UDH" text, "Class" integer DEFAULT -1,
  "TextDecoded" text NOT NULL DEFAULT '', "ID" serial PRIMARY KEY, "MultiPart" boolean NOT NULL DEFAULT false,
  "RelativeValidity" integer DEFAULT -1, "SenderID" varchar(255), "SendingTimeOut" {_NOW},
  "DeliveryReport" varchar(10) DEFAULT 'default', "CreatorID" text NOT NULL, "Retries" integer DEFAULT 0,
  "Priority" integer DEFAULT 0, "Status" varchar(255) NOT NULL DEFAULT 'Reserved',
  "StatusCode" integer NOT NULL DEFAULT -1
);
CREATE TABLE outbox_multipart (
  "Text" text, "Coding" {_CODING}, "UDH" text, "Class" integer DEFAULT -1, "TextDecoded" text, "ID" serial,
  "SequencePosition" integer NOT NULL DEFAULT 1, "Status" varchar(255) NOT NULL DEFAULT 'Reserved',
  "StatusCode" integer NOT NULL DEFAULT -1, PRIMARY KEY ("ID", "SequencePosition")
);
CREATE TABLE phones (
  "ID" text NOT NULL, "UpdatedInDB" {_NOW}, "InsertIntoDB" {_NOW}, "TimeOut" {_NOW},
  "Send" boolean NOT NULL DEFAULT false, "Receive" boolean NOT NULL DEFAULT false,
  "IMEI" varchar(35) PRIMARY KEY NOT NULL, "IMSI" varchar(35) NOT NULL, "NetCode" varchar(10) DEFAULT 'ERROR',
  "NetName" varchar(35) DEFAULT 'ERROR', "Client" text NOT NULL, "Battery" integer NOT NULL DEFAULT -1,
  "Signal" integer NOT NULL DEFAULT -1, "Sent" integer NOT NULL DEFAULT 0, "Received" integer NOT NULL DEFAULT 0
);
CREATE TABLE sentitems (
  "UpdatedInDB" {_NOW}, "InsertIntoDB" {_NOW}, "SendingDateTime" {_NOW}, "DeliveryDateTime" timestamp(0),
  "Text" text NOT NULL, "DestinationNumber" varchar(20) NOT NULL DEFAULT '', "Coding" {_CODING},
  "UDH" text NOT NULL, "SMSCNumber" varchar(20) NOT NULL DEFAULT '', "Class" integer NOT NULL DEFAULT -1,
  "TextDecoded" text NOT NULL DEFAULT '', "ID" serial, "SenderID" varchar(255) NOT NULL,
  "SequencePosition" integer NOT NULL DEFAULT 1, "Status" varchar(255) NOT NULL DEFAULT 'SendingOK',
  "StatusError" integer NOT NULL DEFAULT -1, "TPMR" integer NOT NULL DEFAULT -1,
  "RelativeValidity" integer NOT NULL DEFAULT -1, "CreatorID" text NOT NULL, "StatusCode" integer NOT NULL DEFAULT -1,
  PRIMARY KEY ("ID", "SequencePosition")
);
"""
_EXTRA_18 = f"""
  "InsertIntoDB" {_NOW}, "MessageID" integer NOT NULL DEFAULT 0, "SequencePosition" integer NOT NULL DEFAULT 1,
  "PartCount" integer NOT NULL DEFAULT 1,"""


def create_postgres(url: str, schema: int) -> None:
    """Empty SMSD tables of schema 17 or 18; another number gets the tables of 17."""
    with psycopg.connect(url) as con:
        con.execute(_TABLES % (_EXTRA_18 if schema == 18 else ""))
        con.execute("INSERT INTO gammu VALUES (%s)", [schema])


def insert_postgres(con: psycopg.Connection, sender: str, pieces: Sequence[Piece], at: datetime) -> None:
    """Add rows as SMSD does. at: aware."""
    for piece in pieces:
        con.execute(
            'INSERT INTO inbox ("ReceivingDateTime", "Text", "SenderNumber", "Coding", "UDH", "SMSCNumber",'
            ' "RecipientID") VALUES (%s, %s, %s, %s, %s, %s, %s)',
            [
                f"{at.astimezone(WIB):%Y-%m-%d %H:%M:%S}",
                piece.written,
                sender,
                CODINGS.get(piece.coding, piece.coding),
                piece.udh,
                "+62812000",
                PHONE_ID,
            ],
        )


def saved(sender: str, *pieces: Piece, at: datetime) -> str:
    """A file as the files backend writes it, the pieces of one SMS in it."""
    written = []
    for number, piece in enumerate(pieces):
        text = backup(sender, piece, at).replace("[SMSBackup000]", f"[SMSBackup{number:03d}]\n; {piece.text[:60]!r} = ")
        stamp = f"DateTime = {at.astimezone(UTC):%Y%m%dT%H%M%S}"
        coding = f"Coding = {CODINGS.get(piece.coding, piece.coding)}"
        written.append(text.replace(stamp, f"{stamp}Z").replace(f"Coding = {piece.coding}", coding))
    return "; This file format was designed for Gammu\n\n" + "\n".join(written)


@contextmanager
def postgres_gateway(url: str) -> Iterator[Gammu]:
    """Gammu on an empty database of a PostgreSQL on a unix socket."""
    create_postgres(url, 17)
    parts = urlsplit(url)
    host, name = parse_qs(parts.query)["host"][0], parts.path.lstrip("/")
    service = f"service = sql\ndriver = native_pgsql\nhost = {host}\nuser = {parts.username}\ndatabase = {name}"

    def rows() -> list[dict[str, object]]:
        with psycopg.connect(url, row_factory=dict_row) as con:
            return con.execute('SELECT * FROM inbox ORDER BY "ID"').fetchall()

    with gateway_folder() as base, smsd(base, f"{service}\npassword = tidak-dipakai"):
        yield Gammu(base, rows)


@contextmanager
def files_gateway(formatted: str = "detail") -> Iterator[Gammu]:
    """Gammu with a folder of files, base/inbox; a row is an SMS of a file."""
    with gateway_folder() as base:
        (base / "inbox").mkdir()
        service = f"service = files\ninboxpath = {base}/inbox/\ninboxformat = {formatted}"

        def rows() -> list[dict[str, object]]:
            files = sorted(Path(base, "inbox").glob("IN*"))
            return [{"file": f.name} for f in files for _ in range(max(1, f.read_text().count("[SMSBackup")))]

        with smsd(base, service):
            yield Gammu(base, rows)
