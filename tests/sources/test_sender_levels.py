"""How sure a sender is, by every way of mail, SMS and webhook: the table in docs/channels.md, row by row."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

from pipelines.contracts import Draft, Message, Stream
from pipelines.sources import mail, playsms, sms
from tests.conftest import ROOT
from tests.sources.test_webhook import read, whatsapp

AT = datetime(2026, 10, 6, 1, 0, tzinfo=UTC)
ROW = {
    "ID": 1, "ReceivingDateTime": "2026-10-06 08:00:00", "Text": "00480061006C006F", "SenderNumber": "+6281200000001",
    "Coding": "Default_No_Compression", "UDH": "", "Class": -1, "RecipientID": "", "Status": -1,
}  # fmt: skip


def by_mail(head: str) -> Draft:
    stream = Stream("email", "dki", "imap", {"trusted_authserv": "mx.example"})
    return mail.decode(Message("a", "a", f"{head}Subject: a\n\nLampu mati.".encode(), "message/rfc822", AT), stream)


def by_gammu(**cells: Any) -> Draft:
    payload = json.dumps({"rows": [ROW | cells]}).encode()
    return sms.decode(Message("a", "a", payload, "application/json", AT), Stream("sms", "a", "sms", {}))


def by_playsms(src: str) -> Draft:
    payload = json.dumps({"id": "1", "src": src, "msg": "Halo"}).encode()
    return playsms.decode(Message("a", "a", payload, "application/json", AT), Stream("sms", "a", "playsms", {}))


def partner(**more: Any) -> Draft:
    return read("json", {"reports": [{"id": "1", "text": "Halo"} | more]})


FROM = "From: sari@example.com\n"
CHECKED = "Authentication-Results: mx.example; dmarc=pass header.from=example.com\n"
TWILIO = b"MessageSid=SM1&Body=Halo&From="
CASES: dict[str, tuple[str, list[Draft]]] = {
    "e-mail whose sender our own server has checked": ("verified", [by_mail(CHECKED + FROM)]),
    "e-mail otherwise": ("claimed", [by_mail(FROM), by_mail(CHECKED.replace("mx.", "mx2.") + FROM)]),
    "e-mail without a sender": ("anonymous", [by_mail("")]),
    "SMS of a number, short code or name": (
        "claimed",
        [
            *(by_gammu(SenderNumber=sender) for sender in ("+6281200000001", "1708", "TELKOMSEL")),
            *(by_playsms(sender) for sender in ("081200000001", "1708", "TELKOMSEL")),
            read("kannel", b"id=1&from=%2B6281200000001&bin=Halo&coding=0", "GET"),
            read("jasmin", b"id=1&from=081200000001&to=1708&origin-connector=c&content=Halo"),
            read("twilio", TWILIO + b"%2B6281200000001"),
        ],
    ),
    "SMS without a sender": ("anonymous", [by_gammu(SenderNumber=""), by_playsms("")]),
    "WhatsApp, from Meta itself": (
        "verified",
        [read("whatsapp", whatsapp({"type": "text", "text": {"body": "Halo"}}))],
    ),
    "WhatsApp by Twilio": ("claimed", [read("twilio", TWILIO + b"whatsapp%3A%2B6281200000001")]),
    "a partner's JSON that says so": ("verified", [partner(sender={"id": "u1", "level": "verified"})]),
    "a partner's JSON with a sender": ("claimed", [partner(sender={"id": "u1"}), partner(sender={"phone": "0812"})]),
    "a partner's JSON without one": ("anonymous", [partner()]),
}


def test_each_way_gives_the_level_it_says() -> None:
    told = {who: {draft.sender_level for draft in drafts} for who, (_, drafts) in CASES.items()}
    assert told == {who: {level} for who, (level, _) in CASES.items()}


def test_the_table_in_the_docs_says_the_same() -> None:
    section = (
        (ROOT / "docs/channels.md").read_text("utf-8").partition("## How sure a sender is")[2].partition("\n## ")[0]
    )
    rows = re.findall(r"^\| (.+?) \| (verified|claimed|anonymous) \|$", section, re.MULTILINE)
    assert len(rows) == len(CASES)
    for (written, level), (who, (expected, _)) in zip(rows, CASES.items(), strict=True):
        assert (written.startswith(who), level) == (True, expected), written
