"""How each outlet of the day is spoken to: what a citizen, a clerk or another system does at a real peer.

An Outlet turns the day's Items into turns, each a part of the day and what is told then, and tells them.
Times are the real clock's. Not here: what is said (script), who starts the peers (city).
"""

from __future__ import annotations

import csv
import io
import json
import re
import threading
import time
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime
from html import escape, unescape
from pathlib import Path
from typing import Any

import openpyxl
import requests

from benchmarks.day.script import Item
from pipelines import desk, knowledge
from pipelines.contracts import WIB
from pipelines.settings import Settings, default_models_dir
from tests.intake.conftest import by_meta, by_partner, whatsapp
from tests.peers.dovecot import Mailbox
from tests.peers.gammu import Gammu, text_parts
from tests.peers.graph_emulator import GraphEmulator, facebook_time
from tests.peers.intake import Intake
from tests.peers.kannel import Kannel, parts
from tests.peers.paper import Paper, entry
from tests.peers.x_emulator import XEmulator, post, snowflake
from tests.pictures import picture

OWN = "dki@jakarta.example.com"
HASHTAG = "#aduanuji"
_OPEN_SECONDS = 3.2  # a form that is sent sooner after its page was opened is not a person's
Turn = tuple[float, list[Item]]


def now() -> datetime:
    return datetime.now(UTC)


def phone(number: int) -> str:
    return f"+6281200{number:06d}"


def photo(number: int) -> bytes:
    return picture(size=(8 + number % 97, 6 + number % 89))


class Outlet(ABC):
    """One way into a channel. `tell` hands over what is due; whoever calls it keeps the time."""

    def turns(self, items: list[Item]) -> Iterator[Turn]:
        """One by one, as they come."""
        yield from ((i.at, [i]) for i in items)

    @abstractmethod
    def tell(self, items: list[Item]) -> None:
        """These are said now."""


# --- files ----------------------------------------------------------------------------------


def put(path: Path, data: bytes) -> None:
    """A file as a careful exporter puts it there: whole, by renaming."""
    part = path.with_name(f".{path.name}")
    part.write_bytes(data)
    part.rename(path)


class Export(Outlet):
    """Another system's export, every hour what came since the last. layout: jaki, qlue or lapor."""

    def __init__(self, folder: Path, layout: str) -> None:
        self.folder, self.write = folder, getattr(self, f"_{layout}")
        self.names = knowledge.taxonomy(default_models_dir()).names
        self.files, self.said = 0, dict[int, str]()

    def turns(self, items: list[Item]) -> Iterator[Turn]:
        hours: dict[int, list[Item]] = defaultdict(list)
        for item in items:
            hours[min(24, int(item.at * 24) + 1)].append(item)
        yield from ((hour / 24, found) for hour, found in sorted(hours.items()))

    def tell(self, items: list[Item]) -> None:
        self.files += 1
        suffix, data = self.write(items)
        put(self.folder / f"ekspor-{self.files:03d}.{suffix}", data.encode("utf-8"))

    def _jaki(self, items: list[Item]) -> tuple[str, str]:
        at, rows = now().astimezone(WIB), []
        for i in items:
            lat, lon = (v.replace(".", ",") for v in (i.lat, i.lon))
            said = self.said.setdefault(i.number, f"{at:%d/%m/%Y %H:%M}")
            edited = f"{at:%d/%m/%Y %H:%M:%S}" if i.kind == "edit" else ""
            rows.append([f"JK{at:%y%m%d}{i.number:04d}", said, self.names[i.category], i.text, lat, lon, edited])
        header = ["No Laporan", "Tanggal Laporan", "Kategori", "Isi Laporan", "Lintang", "Bujur", "Terakhir Diubah"]
        return "csv", _sheet(";", header, rows)

    def _qlue(self, items: list[Item]) -> tuple[str, str]:
        rows = [
            [i.number, now().astimezone(WIB).isoformat(), i.text, self.names[i.category], i.lat, i.lon] for i in items
        ]
        return "csv", _sheet(",", ["ID", "Waktu Lapor", "Deskripsi", "Label", "Latitude", "Longitude"], rows)

    def _lapor(self, items: list[Item]) -> tuple[str, str]:
        at = now().astimezone(WIB).isoformat(timespec="seconds")
        lines = [
            {"tracking_id": i.number, "tanggal_laporan_masuk": at, "judul": i.text[:40], "isi": i.text} for i in items
        ]
        return "jsonl", "".join(json.dumps(line) + "\n" for line in lines)


def _sheet(separator: str, header: list[str], rows: Iterable[list[Any]]) -> str:
    out = io.StringIO()
    csv.writer(out, delimiter=separator).writerows([header, *rows])
    return out.getvalue()


class Sheet(Outlet):
    """A desk's XLSX, the template filled in, at noon and once more, with what came since, in the evening."""

    def __init__(self, settings: Settings, office: desk.Office, folder: Path) -> None:
        self.folder, self.blank = folder, folder.parent / f".{folder.name}.xlsx"
        desk.write(settings, office, self.blank)
        self.told: list[tuple[datetime, Item]] = []

    def turns(self, items: list[Item]) -> Iterator[Turn]:
        yield 0.5, [i for i in items if i.at < 0.5]
        yield 0.75, [i for i in items if i.at >= 0.5]

    def tell(self, items: list[Item]) -> None:
        self.told += [(now().astimezone(WIB), i) for i in items]
        book = openpyxl.load_workbook(self.blank)
        sheet = book["Laporan"]
        column = {cell.value: cell.column for cell in sheet[2]}
        for row, (at, item) in enumerate(self.told):
            cells = {
                "No Register": row + 1,
                "Tanggal": f"{at:%d/%m/%Y}",
                "Jam": f"{at:%H.%M}",
                "Uraian Laporan": item.text,
            }
            for name, value in cells.items():
                sheet.cell(4 + row, column[name], value)
        out = io.BytesIO()
        book.save(out)
        if self.told:
            put(self.folder / "buku.xlsx", out.getvalue())


class Letters(Outlet):
    """A scan, and two hours later what somebody typed of it. The scan alone waits in quarantine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def turns(self, items: list[Item]) -> Iterator[Turn]:
        for i in items:
            yield i.at * 0.9, [replace(i, kind="scan")]
            yield i.at * 0.9 + 2 / 24, [i]

    def tell(self, items: list[Item]) -> None:
        for i in items:
            path = self.folder / f"{now().astimezone(WIB):%Y-%m-%d}_agenda-{i.number}.pdf"
            if i.kind == "scan":
                put(path, b"%%PDF-1.4\n%% %d\n%%%%EOF" % i.number)
            else:
                head = f"Pengirim: Warga Contoh {i.number}\nPerihal: Permohonan\n\n"
                put(path.with_suffix(".txt"), (head + i.text).encode("utf-8"))


# --- people at servers ----------------------------------------------------------------------


class Mails(Outlet):
    """Citizens' mails into a mailbox, one in three with a photo; noise is our own answer."""

    def __init__(self, box: Mailbox) -> None:
        self.box = box

    def tell(self, items: list[Item]) -> None:
        for i in items:
            mail = EmailMessage()
            mail["From"] = OWN if i.kind == "noise" else f"Warga Contoh {i.number} <warga{i.number}@example.com>"
            mail["To"], mail["Subject"], mail["Date"] = OWN, f"Laporan warga {i.number}", format_datetime(now())
            mail["Message-ID"] = f"<{i.kind}-{i.number}@example.com>"
            mail.set_content(i.text)
            if i.number % 3 == 0 and i.kind == "new":
                mail.add_attachment(photo(i.number), maintype="image", subtype="jpeg", filename="foto.jpg")
            self.box.add(mail.as_bytes())


class Phones(Outlet):
    """SMS to Gammu's modem, long ones in parts; noise is advertising."""

    def __init__(self, gammu: Gammu) -> None:
        self.gammu = gammu

    def tell(self, items: list[Item]) -> None:
        for i in items:
            sender = "TELKOMSEL" if i.kind == "noise" else phone(i.number)
            self.gammu.deliver(sender, text_parts(i.text, i.number % 256), now())


class Network(Outlet):
    """SMS to Kannel, long ones in parts that come last part first."""

    def __init__(self, kannel: Kannel) -> None:
        self.kannel = kannel

    def tell(self, items: list[Item]) -> None:
        for i in items:
            if len(i.text) <= 150:
                self.kannel.deliver(f"{phone(i.number)} 1708 text {i.text}")
            else:
                words = [i.text[n : n + 140] for n in range(0, len(i.text), 140)]
                self.kannel.deliver(*parts(phone(i.number), words, i.number % 256)[::-1])


class Hooks(Outlet):
    """Signed webhooks: WhatsApp as Meta sends it, or a partner's JSON."""

    def __init__(self, intake: Intake, *, partner: bool = False) -> None:
        self.intake, self.partner = intake, partner

    def tell(self, items: list[Item]) -> None:
        for i in items:
            if self.partner:
                call = by_partner({"id": f"M-{i.number}", "text": i.text, "time": now().isoformat()})
            else:
                said = {
                    "from": phone(i.number)[1:],
                    "id": f"wamid.{i.number}",
                    "timestamp": f"{now():%s}",
                    "type": "text",
                }
                call = by_meta("sms/whatsapp", whatsapp(said | {"text": {"body": i.text}}))
            status, _, body = call.to(self.intake)
            if status != 200:
                raise RuntimeError(f"webhook answered {status}: {body!r}")


class WebForm(Outlet):
    """The page opened, read, filled in and sent; every second one with a photo."""

    def __init__(self, intake: Intake) -> None:
        self.address = f"{intake.url}/lapor/balai_warga/web"

    def tell(self, items: list[Item]) -> None:
        for i in items:
            page = requests.get(self.address, timeout=20).text
            token = unescape(re.findall(r'name="tanda" value="([^"]*)"', page)[0])
            time.sleep(_OPEN_SECONDS)
            sent: list[tuple[str, Any]] = [("tanda", (None, token)), ("uraian", (None, i.text))]
            if i.number % 2 == 0:
                sent.append(("foto", ("foto.jpg", photo(i.number), "image/jpeg")))
            answer = requests.post(self.address, files=sent, timeout=20)
            if answer.status_code != 200 or "diterima=" not in answer.url:
                raise RuntimeError(f"the form answered {answer.status_code}")


class Posts(Outlet):
    """Posts that mention an account, every fourth found by search alone; edits are new posts, noise reposts."""

    def __init__(self, x: XEmulator, *, searched: bool) -> None:
        self.x, self.searched, self.serial = x, searched, 0
        self.first: dict[int, dict[str, Any]] = {}

    def tell(self, items: list[Item]) -> None:
        for i in items:
            self.serial += 1
            at, author, more = now(), str(3000 + i.number), dict[str, Any]()
            found = self.searched and i.number % 4 == 0
            if i.kind == "edit":
                history = [self.first[i.number]["id"], snowflake(at, self.serial)]
                more = {"edit_history_tweet_ids": history, "conversation_id": history[0]}
            elif i.kind == "noise":
                more = {"referenced_tweets": [{"type": "retweeted", "id": self.first[i.number]["id"]}]}
                author = "4000"
            made = post(at, f"{i.text} {HASHTAG}" if found else i.text, self.serial, author_id=author, **more)
            self.x.other["users"].append({"id": author, "name": "Warga Contoh", "username": f"warga{author}"})
            posts = self.x.public if found else self.x.posts
            posts.append(made)
            if i.kind == "edit":  # X tells the newest version alone
                posts.remove(self.first[i.number])
            self.first.setdefault(i.number, made)


class Page(Outlet):
    """A page: visitors' posts, every third a comment under one, every fifth a private message; noise is its own reply."""

    def __init__(self, graph: GraphEmulator, items: list[Item]) -> None:
        self.graph, self.objects = graph, dict[int, dict[str, Any]]()
        self.open = {i.number for i in items if i.kind != "new"}  # what is edited or answered later is a post

    def tell(self, items: list[Item]) -> None:
        for i in items:
            at, own = facebook_time(now()), self.graph.page_id
            said = {"message": i.text, "created_time": at, "from": {"id": f"5{i.number}", "name": "Warga Contoh"}}
            feed = self.graph.lists["feed"]
            if i.kind == "edit":
                self.objects[i.number]["message"] = i.text
            elif i.kind == "noise":
                answered = self.objects[i.number]["id"]
                reply = said | {"id": f"{answered}_balas", "from": {"id": own, "name": "Dinas"}}
                self.graph.comments.setdefault(answered, []).append(reply)
            elif i.number % 5 == 4 and i.number not in self.open:
                said["to"] = {"data": [{"id": own, "name": "Dinas"}]}
                self.graph.messages[f"t_{i.number}"] = [said | {"id": f"m_{i.number}"}]
                self.graph.lists["conversations"].append(
                    {"id": f"t_{i.number}", "message_count": 1, "updated_time": at}
                )
            elif i.number % 3 == 1 and feed and i.number not in self.open:
                self.graph.comments.setdefault(feed[-1]["id"], []).append(said | {"id": f"k_{i.number}"})
            else:
                self.objects[i.number] = said | {"id": f"{own}_{i.number}"}
                feed.append(self.objects[i.number])


class Readers(Outlet):
    """A paper's feed of readers' letters."""

    def __init__(self, paper: Paper) -> None:
        self.paper, self.entries = paper, dict[int, str]()
        self.paper.next()

    def tell(self, items: list[Item]) -> None:
        for i in items:
            self.entries[i.number] = entry(i.number, escape(i.text), format_datetime(now()))
        self.paper.publish(*self.entries.values(), etag=f'"{time.time_ns()}"')


class Teller(threading.Thread):
    """Tells an outlet's turns when they are due. arrived: number -> Unix time at which the telling began."""

    def __init__(self, outlet: Outlet, items: list[Item], begin: float, length: float, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.outlet, self.begin, self.length, self.stopped = outlet, begin, length, stop
        self.due = sorted(outlet.turns(items), key=lambda turn: turn[0])
        self.arrived: dict[int, float] = {}
        self.failed: list[str] = []

    def run(self) -> None:
        for at, items in self.due:
            if self.stopped.wait(max(0.0, self.begin + at * self.length - time.time())):
                return
            told = time.time()
            try:
                self.outlet.tell(items)
            except Exception as error:  # noqa: BLE001 - told in the figures; the other outlets go on
                self.failed.append(f"{type(self.outlet).__name__}: {error!r}")
                continue
            self.arrived |= {i.number: told for i in items if i.kind == "new"}
