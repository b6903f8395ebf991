"""The intake under load: 200 senders for a minute, then the same while it is killed twenty times.

Each sender sends one signed WhatsApp notification after the other and waits for the answer, as webhooks
do; a request that fails is sent again with the same id. Prints requests a second, the time to an
answer (which is the time to a durable batch) and how many of those answered 200 are not in landing.

Usage: python -m benchmarks.intake [--senders 200] [--seconds 60] [--kills 20]
"""

from __future__ import annotations

import argparse
import asyncio
import hmac
import os
import random
import tempfile
import time
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import psutil

from pipelines.settings import Settings, load
from tests.peers.intake import Intake, landed, start

KEY, SECRET = "sms/whatsapp", "kunci-ukur"
TEXT = "Lampu jalan mati di Jl. Kenanga RT 03 RW 05, gelap sekali tiap malam dan sudah dua minggu begini"
CONFIG = """
[kanal]
data_dir = "data"
[intake]
per_second = 100000
burst = 1000000
[[stream]]
channel = "sms"
name = "whatsapp"
source = "webhook"
dialect = "whatsapp"
secret_env = "UKUR_KUNCI"
verify_token_env = "UKUR_KUNCI"
"""


@dataclass
class Seen:
    """What the senders saw. answered: ids; seconds: of each answer of 200."""

    answered: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    failed: int = 0


def request(own: str) -> bytes:
    body = (
        '{"object":"whatsapp_business_account","entry":[{"id":"1","changes":[{"field":"messages","value":{"messages":[{'
        f'"from":"6281200000001","id":"{own}","timestamp":"{int(time.time())}","type":"text","text":{{"body":"{TEXT}"}}'
        "}]}}]}]}"
    ).encode()
    proof = hmac.new(SECRET.encode(), body, sha256).hexdigest()
    head = f"POST /kirim/{KEY} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\nX-Hub-Signature-256: sha256={proof}\r\n\r\n"
    return head.encode() + body


async def sender(me: int, port: int, end: float, seen: Seen) -> None:
    number, reader, writer = 0, None, None
    while time.monotonic() < end:
        own, begin = f"w{me}-{number}", time.monotonic()
        try:
            if reader is None or writer is None:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request(own))
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
            status = int(head[9:12])
            length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(length)
        except (OSError, EOFError, TimeoutError, ValueError):
            status = 0
        if status == 200:
            seen.answered.append(own)
            seen.seconds.append(time.monotonic() - begin)
            number += 1
        else:
            seen.failed += 1
            if writer:
                writer.close()
            reader = writer = None
            await asyncio.sleep(0.1)
    if writer:
        writer.close()


async def send(senders: int, port: int, seconds: float, seen: Seen) -> None:
    end = time.monotonic() + seconds
    await asyncio.gather(*(sender(n, port, end, seen) for n in range(senders)))


async def killing(settings: Settings, intake: Intake, kills: int, rng: random.Random) -> Intake:
    for _ in range(kills):
        await asyncio.sleep(rng.uniform(0.5, 2.0))
        await asyncio.to_thread(intake.kill)
        intake = await asyncio.to_thread(start, settings, {"UKUR_KUNCI": SECRET}, port=intake.port)
    await asyncio.sleep(1)
    return intake


def lost(settings: Settings, seen: Seen) -> str:
    there = {m.source_ref for m in landed(settings, KEY)}
    files = sum(1 for _ in settings.landing_dir.rglob("*.parquet"))
    missing = len(set(seen.answered) - there)
    return f"{len(seen.answered):,} answered, {missing} of them not in landing; {files:,} files"


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--senders", type=int, default=200)
    arguments.add_argument("--seconds", type=float, default=60)
    arguments.add_argument("--kills", type=int, default=20)
    arguments.add_argument("--seed", type=int, default=20261126)
    given = arguments.parse_args()
    print(f"load before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "kanal.toml").write_text(CONFIG)
        settings = load(Path(folder) / "kanal.toml")
        seen = Seen()
        intake = start(settings, {"UKUR_KUNCI": SECRET})
        try:
            asyncio.run(send(given.senders, intake.port, given.seconds, seen))
            process = psutil.Process(intake.process.pid)
            cpu, memory = sum(process.cpu_times()[:2]), process.memory_info().rss
        finally:
            intake.kill()
        p50, p99 = (1000 * percentile(seen.seconds, share) for share in (0.5, 0.99))
        print(
            f"{given.senders} senders, {given.seconds:.0f} s: {len(seen.answered) / given.seconds:,.0f} requests a second, p50"
            f" {p50:.0f} ms, p99 {p99:.0f} ms, slowest {1000 * max(seen.seconds):.0f} ms; {seen.failed} failed; server"
            f" {1e6 * cpu / len(seen.answered):.0f} us of CPU a request, {memory / 2**20:.0f} MiB"
        )
        print(lost(settings, seen))
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "kanal.toml").write_text(CONFIG)
        settings = load(Path(folder) / "kanal.toml")
        seen, rng = Seen(), random.Random(given.seed)
        print(f"seed {given.seed}")
        intake = start(settings, {"UKUR_KUNCI": SECRET})

        async def both() -> Intake:
            sending = asyncio.create_task(send(given.senders, intake.port, 10**6, seen))
            last = await killing(settings, intake, given.kills, rng)
            sending.cancel()
            return last

        last = asyncio.run(both())
        last.kill()
        print(
            f"{given.kills} SIGKILLs while {given.senders} send: {lost(settings, seen)}; {seen.failed:,} failed and were sent again"
        )


if __name__ == "__main__":
    main()
