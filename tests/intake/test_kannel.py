"""A real Kannel hands what the network brings to a real intake."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from urllib.parse import quote

import pytest

from pipelines.contracts import Draft, Message
from pipelines.errors import RejectedMessage
from pipelines.settings import Settings
from pipelines.sources import webhook
from tests.intake.conftest import SECRETS, STREAMS, UNLIMITED, write_settings
from tests.peers.intake import Intake, landed, start
from tests.peers.kannel import Kannel, parts, running_kannel

KEY = "sms/kannel"
FIRST, SECOND, THIRD = "+6281200000001", "+6281200000002", "+6281200000003"


class Gateway:
    """Kannel and the intake it sends to, which may be started anew on its port."""

    def __init__(self, kannel: Kannel, intake: Intake, settings: Settings) -> None:
        self.kannel, self.intake, self.settings = kannel, intake, settings

    def wait(self, done: Callable[[list[Message]], bool]) -> list[Message]:
        end = time.monotonic() + 40
        while not done(found := landed(self.settings, KEY)):
            assert time.monotonic() < end, [m.payload for m in found] + [self.kannel.log()]
            time.sleep(0.1)
        return found

    def draft(self, message: Message) -> Draft:
        return webhook.decode(message, self.settings.streams[0])


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    settings = write_settings(tmp_path_factory.mktemp("kannel"), UNLIMITED, {KEY: STREAMS[KEY]})
    secrets = {"UJI_KANNEL": SECRETS["UJI_KANNEL"]}
    intake = start(settings, secrets)
    try:
        with running_kannel(f"{intake.url}/kirim/{KEY}", secrets["UJI_KANNEL"], combine=2) as kannel:
            found = Gateway(kannel, intake, settings)
            yield found
            intake = found.intake
    finally:
        intake.kill()


def from_(sender: str, messages: list[Message]) -> list[Message]:
    return [m for m in messages if quote(sender, safe="").encode() in m.payload]


def test_what_the_network_brings_comes_letter_by_letter(gateway: Gateway) -> None:
    emoji = "Banjir 😀 sepaha † di Kp. Contoh"
    gateway.kannel.deliver(
        "+6281200000011 1708 text Pohon tumbang di Jl. Kenanga {RT 03} & 50% + [tutup] @ _x_ ~",
        f"081200000012 1708 ucs2 {quote(emoji.encode('utf-16-be'))}",
        "PENGIRIM 1708 text Nama",
        *parts("+6281200000013", ["dua bagian ", "yang disatukan gerbang"], 7)[::-1],
    )
    found = gateway.wait(lambda messages: len(messages) >= 4)
    told = [gateway.draft(m) for m in found]
    assert sorted((d.author_ref, d.contact_phone, d.text, d.sender_level) for d in told) == sorted(
        [
            (
                "+6281200000011",
                "+6281200000011",
                "Pohon tumbang di Jl. Kenanga {RT 03} & 50% + [tutup] @ _x_ ~",
                "claimed",
            ),
            ("081200000012", "081200000012", emoji, "claimed"),
            ("PENGIRIM", None, "Nama", "claimed"),
            ("+6281200000013", "+6281200000013", "dua bagian yang disatukan gerbang", "claimed"),
        ]
    )
    assert all(d.extra == {"recipient": "1708", "gateway": "FAKE1"} for d in told)
    assert all(abs((m.fetched_at - m.occurred_at).total_seconds()) < 60 for m in found if m.occurred_at)
    assert SECRETS["UJI_KANNEL"].encode() not in b"".join(m.payload for m in found)


def test_a_part_that_comes_late_makes_the_sms_whole_even_after_a_restart(gateway: Gateway) -> None:
    one, two, three = parts(FIRST, ["satu, ", "dua, ", "tiga"], 0xAB)
    gateway.kannel.deliver(three, one)
    held = from_(FIRST, gateway.wait(lambda messages: len(from_(FIRST, messages)) == 2))
    with pytest.raises(RejectedMessage, match="bagian 2 dari 3"):
        gateway.draft(held[-1])
    assert gateway.intake.stop() == 0
    gateway.intake = start(gateway.settings, {"UJI_KANNEL": SECRETS["UJI_KANNEL"]}, port=gateway.intake.port)
    gateway.kannel.deliver(two)
    found = from_(FIRST, gateway.wait(lambda messages: len(from_(FIRST, messages)) == 3))
    assert gateway.draft(found[-1]).text == "satu, dua, tiga"
    assert {m.source_ref for m in found} == {found[0].source_ref}
    assert len({m.version for m in found}) == 3


def test_while_the_intake_is_down_kannel_keeps_what_it_has(gateway: Gateway) -> None:
    gateway.intake.kill()
    gateway.kannel.deliver(f"{SECOND} 1708 text Selama gerbang mati")
    time.sleep(1)
    gateway.intake = start(gateway.settings, {"UJI_KANNEL": SECRETS["UJI_KANNEL"]}, port=gateway.intake.port)
    [message] = from_(SECOND, gateway.wait(lambda messages: len(from_(SECOND, messages)) == 1))
    assert gateway.draft(message).text == "Selama gerbang mati"
