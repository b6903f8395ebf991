"""The intake's routes: /kirim/CHANNEL/STREAM for every webhook stream, /lapor/CHANNEL/STREAM for every web form,
/health and /metrics for those who run it.

A request passes in this order: known stream, address, rate, method, size, proof, what it holds,
landing; only then it is answered. Whoever is refused learns that and no more. Neither logs nor
answers hold what was sent, who sent it, or a secret.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from pipelines.contracts import Message, Stream, report_id_of
from pipelines.errors import KanalError, RejectedMessage
from pipelines.intake import signatures
from pipelines.intake.committer import Committer
from pipelines.intake.forms import DRAINED, MAX_BYTES, Page
from pipelines.intake.limits import Address, Buckets, Networks, Room, address_of, inside, networks
from pipelines.intake.maps import Areas
from pipelines.intake.metrics import Metrics
from pipelines.intake.parts import Parts
from pipelines.settings import Settings, secret
from pipelines.sinks.landing import Landing
from pipelines.sources import form, webhook
from pipelines.sources.dialects import Dialect, of_stream

T = TypeVar("T")
log = logging.getLogger(__name__)

HEADER_BYTES = 16_384
_SLOWEST = 8_000  # bytes a second: a photo may take its time
_BODIES = 64_000_000  # bytes of bodies in memory at once, of forms and of webhooks each
_LONG = 64_000  # bytes beyond which a body is taken apart in a thread: others must not wait meanwhile
_LOOPBACK = networks(("127.0.0.0/8", "::1"))
_HEADERS = {"cache-control": "no-store", "x-content-type-options": "nosniff"}


class Refused(Exception):  # noqa: N818 - an answer, not a fault
    """status and reason: what is answered; the reason is counted too."""

    def __init__(self, status: int, reason: str, *, wait: float | None = None, detail: str = "") -> None:
        super().__init__(reason)
        self.status, self.reason, self.wait, self.detail = status, reason, wait, detail


@dataclass(slots=True)
class Door:
    """One webhook stream's way in."""

    stream: Stream
    dialect: Dialect
    way: Mapping[str, Any]
    allowed: Networks
    parts: Parts
    one_by_one: asyncio.Lock


class Intake:
    """What all requests share. Streams of the settings whose source is webhook have a door each."""

    def __init__(
        self,
        settings: Settings,
        categories: Sequence[tuple[str, str]],
        areas: Areas,
        *,
        run_id: str,
        now: Callable[[], datetime],
    ) -> None:
        self.settings, self.now, self._run_id = settings, now, run_id
        self.metrics = Metrics()
        self.landing = Landing(settings.landing_dir)
        self.buckets = Buckets(settings.intake.per_second, settings.intake.burst)
        self.room, self.form_room = Room(_BODIES), Room(_BODIES)  # what anybody may send must not fill the vendors'
        self.trusted = networks(settings.intake.trusted_proxies)
        self.monitors = (*_LOOPBACK, *networks(settings.intake.monitors))
        self.committers: dict[str, Committer] = {}
        self.doors = {s.key: self._door(s) for s in settings.streams if s.source == "webhook"}
        self.pages = {s.key: self._page(s, categories, areas) for s in settings.streams if s.source == "form"}

    def _committer(self, stream: Stream, version: str) -> Committer:
        made = Committer(self.landing, stream, self.metrics, source_version=version, run_id=self._run_id, now=self.now)
        return self.committers.setdefault(stream.key, made)

    def _page(self, stream: Stream, categories: Sequence[tuple[str, str]], areas: Areas) -> Page:
        form.check(stream)
        _secret(stream, "secret_env")
        self._committer(stream, form.VERSION)
        return Page(stream, categories, areas)

    def _door(self, stream: Stream) -> Door:
        """SettingsError where the stream's options will not do, or a secret it names is not set."""
        webhook.check(stream)
        dialect = of_stream(stream)
        for option in ("secret_env", "verify_token_env"):
            if option in stream.options:
                _secret(stream, option)
        self._committer(stream, webhook.VERSION)
        allowed = networks(stream.options.get("allow_from", ()))
        return Door(stream, dialect, webhook.way_of(stream, dialect), allowed, Parts(stream, dialect), asyncio.Lock())

    # --- a webhook ---

    async def receive(self, request: Request) -> Response:
        return await self._answered(request, self.doors, self._receive)

    async def fill_in(self, request: Request) -> Response:
        return await self._answered(request, self.pages, self._fill_in)

    async def _answered(
        self, request: Request, among: Mapping[str, T], receive: Callable[[Request, T], Awaitable[tuple[Response, str]]]
    ) -> Response:
        """Any answer a sender gets."""
        key = f"{request.path_params['channel']}/{request.path_params['stream']}"
        place = among.get(key)
        try:
            if place is None:
                key = ""
                self._limited(self._address(request), ())
                raise Refused(404, "unknown")
            if sum(len(name) + len(value) for name, value in request.scope["headers"]) > HEADER_BYTES:
                raise Refused(431, "headers")
            answer, outcome = await receive(request, place)
        except Refused as error:
            outcome = error.reason
            headers = _HEADERS | ({"retry-after": str(max(1, round(error.wait)))} if error.wait else {})
            answer = _refusal(place, error.status, error.detail or error.reason, headers)
        except ClientDisconnect:
            outcome, answer = "gone", Response(status_code=400)
        except Exception as error:  # noqa: BLE001 - its text may quote what was sent, and goes nowhere
            where = traceback.extract_tb(error.__traceback__)[-1]
            at = f"{Path(where.filename).name} line {where.lineno}"
            log.error("%s: %s in %s", key, type(error).__name__, at)  # noqa: TRY400 - no traceback: it quotes too
            outcome, answer = "error", _refusal(place, 500, "try again", _HEADERS | {"retry-after": "5"})
        self.metrics.count("requests", stream=key, outcome=outcome)
        return answer

    async def _receive(self, request: Request, door: Door) -> tuple[Response, str]:
        address = self._address(request)
        if door.allowed and not inside(address, door.allowed):
            raise Refused(403, "refused")
        self._limited(address, door.allowed)
        query = bytes(request.scope["query_string"])
        challenge = door.dialect.table.get("challenge")
        if request.method == "GET" and challenge:
            return self._challenged(door, challenge, query)
        if request.method not in door.dialect.methods:
            raise Refused(405, "method")
        body = await self._body(request, self.room, self.settings.intake.max_body_bytes)
        try:
            return await self._taken(request, door, query, body)
        finally:
            self.room.give(len(body))

    async def _taken(self, request: Request, door: Door, query: bytes, body: bytes) -> tuple[Response, str]:
        stream = door.stream
        if stream.options.get("secret_env"):
            public = self.settings.intake.public_url
            path = request.scope["raw_path"].decode("latin-1")
            asked = signatures.Request(
                request.method,
                f"{public}{path}{'?' if query else ''}{query.decode('latin-1')}" if public else None,
                query,
                request.headers,
                body,
            )
            if not signatures.proved(door.way, _secret(stream, "secret_env"), asked, self.now()):
                raise Refused(403, "refused")
            self.buckets.give(self._address(request))  # some vendors send no second time what was one too many
        try:
            received = webhook.Received(request.method, query, body)
            if len(body) > _LONG or door.dialect.inlines:  # a small picture may be of many pixels
                taken = await asyncio.to_thread(webhook.take, door.dialect, received, self.now())
            else:
                taken = webhook.take(door.dialect, received, self.now())
        except RejectedMessage as error:  # in words for a partner who can mend it
            raise Refused(400, "malformed", detail=error.reason) from None
        messages = [await self._grown(door, message) for message in taken.messages]
        await self._land(stream, messages)
        if taken.skipped:
            self.metrics.count("messages", taken.skipped, stream=stream.key, outcome="skipped")
        return _answer(door, messages), "accepted" if messages else "nothing"

    async def _grown(self, door: Door, message: Message) -> Message:
        if not door.parts.is_part(message):
            return message
        async with door.one_by_one:
            if not door.parts.ready:
                await asyncio.to_thread(door.parts.recall, self.landing, self.now())
            return door.parts.grown(message)

    def _challenged(self, door: Door, challenge: Mapping[str, Any], query: bytes) -> tuple[Response, str]:
        found = signatures.challenged(
            challenge,
            query,
            secret=_secret(door.stream, "secret_env"),
            word=_secret(door.stream, "verify_token_env") if challenge["kind"] == "echo" else "",
        )
        if found is None:
            raise Refused(403, "refused")
        return Response(found[1], 200, _HEADERS, found[0]), "challenge"

    # --- the web form ---

    async def _fill_in(self, request: Request, page: Page) -> tuple[Response, str]:
        self._limited(self._address(request), ())
        key = _secret(page.stream, "secret_env")
        if request.method != "POST":
            number, area = (request.query_params.get(name) for name in ("diterima", "peta"))
            if area is not None:
                found = await asyncio.to_thread(page.picture, area, request.query_params.get("lebar", ""))
            else:
                found = page.blank(key, self.now()) if number is None else page.thanks(number)
            if found is None:
                raise Refused(404, "unknown")
            return found, "page"
        body = await self._body(request, self.form_room, MAX_BYTES, drained=DRAINED)
        try:
            try:  # photos are large: others must not wait while they are looked through
                kind, cut = request.headers.get("content-type", ""), len(body) > MAX_BYTES
                message = await asyncio.to_thread(lambda: page.sent(form.read(body, kind, cut=cut), key, self.now()))
            except ValueError:
                raise Refused(400, "malformed") from None
            if isinstance(message, Response):
                return message, "to mend" if message.status_code == 422 else "page"
            await self._land(page.stream, [message])
        finally:
            self.form_room.give(len(body))
        return page.to_thanks(message), "accepted"

    async def _land(self, stream: Stream, messages: Sequence[Message]) -> None:
        try:
            repeated = await self.committers[stream.key].land(messages)
        except KanalError as error:
            raise Refused(503, "busy", wait=getattr(error, "retry_after", None) or 5) from None
        if repeated:
            self.metrics.count("messages", repeated, stream=stream.key, outcome="repeated")

    async def _body(self, request: Request, room: Room, most: int, *, drained: int = 0) -> bytes:
        """The body, while there is room and time. Whoever calls gives its room back.

        drained: a body up to this size is read to its end, and what it has beyond `most` dropped: browsers show no
        answer before they have sent all. What comes back is longer than `most` then.
        """
        held, came, chunks = 0, 0, []
        declared = request.headers.get("content-length", "0")
        if not declared.isdecimal() or int(declared) > max(most, drained):
            raise Refused(413, "too large")
        clock, patience = asyncio.get_running_loop().time, self.settings.intake.patience_seconds
        end = clock() + patience
        try:
            async with asyncio.timeout_at(end) as limit:
                async for chunk in request.stream():
                    came += len(chunk)
                    if came > max(most, drained):
                        raise Refused(413, "too large")
                    # What came fast buys no rest: whoever holds room goes on sending, or gives it back.
                    end = min(end + len(chunk) / _SLOWEST, clock() + patience)
                    limit.reschedule(end)
                    if held > most:
                        continue
                    if not room.take(len(chunk)):
                        raise Refused(503, "busy", wait=2)
                    held += len(chunk)
                    chunks.append(chunk)
        except TimeoutError:
            room.give(held)
            raise Refused(408, "slow") from None
        except BaseException:  # a sender that left too: what it took of the room must not stay taken
            room.give(held)
            raise
        return b"".join(chunks)

    def _address(self, request: Request) -> Address:
        peer = request.client.host if request.client else None
        return address_of(peer, request.headers.getlist("x-forwarded-for"), self.trusted)

    def _limited(self, address: Address, known: Networks) -> None:
        if not known and (wait := self.buckets.take(address, time.monotonic())):
            raise Refused(429, "too many", wait=wait)

    # --- for those who run it ---

    async def health(self, request: Request) -> Response:
        """200 where messages can be landed, else 503; counts, and no word of anything that came."""
        if not inside(self._address(request), self.monitors):
            return Response("not found\n", 404, _HEADERS, "text/plain")
        root = self.landing.root
        found = next(p for p in (root, *root.parents) if p.exists())
        writable = os.access(found, os.W_OK | os.X_OK)
        broken = sorted(key for key, committer in self.committers.items() if committer.broken)
        told = {
            "ok": writable and not broken,
            "landing_writable": writable,
            "streams": len(self.committers),
            "failing": broken,
            "waiting": sum(committer.waiting for committer in self.committers.values()),
            "oldest_waiting_seconds": round(self._oldest(), 3),
        }
        return JSONResponse(told, 200 if told["ok"] else 503, _HEADERS)

    async def figures(self, request: Request) -> Response:
        if not inside(self._address(request), self.monitors):
            return Response("not found\n", 404, _HEADERS, "text/plain")
        waiting = sum(committer.waiting for committer in self.committers.values())
        return Response(self.metrics.text(waiting, self._oldest()), 200, _HEADERS, "text/plain; version=0.0.4")

    def _oldest(self) -> float:
        return max((committer.oldest for committer in self.committers.values()), default=0.0)

    @asynccontextmanager
    async def running(self, _: Starlette) -> AsyncIterator[None]:
        """Committers from start to end; at the end what was accepted lands."""
        tasks = [asyncio.create_task(committer.run()) for committer in self.committers.values()]
        try:
            yield
        finally:
            for committer in self.committers.values():
                committer.close()
            await asyncio.gather(*tasks)


def _refusal(place: object, status: int, told: str, headers: Mapping[str, str]) -> Response:
    """What a sender reads who is refused: a word for machines, a page for citizens."""
    if isinstance(place, Page):
        return place.refused(status, headers)
    return Response(f"{told}\n", status, dict(headers), "text/plain")


def _secret(stream: Stream, option: str) -> str:
    return secret(stream.options.get(option), what=f"{stream.key}: {option}").strip()


def _answer(door: Door, messages: Sequence[Message]) -> Response:
    answer = door.dialect.table["answer"]
    if answer.get("ids"):
        ids = [report_id_of(door.stream.channel, door.stream.name, m.source_ref) for m in messages]
        return JSONResponse({"reports": ids}, answer["status"], _HEADERS)
    return Response(answer["body"], answer["status"], _HEADERS, answer["type"])


def build(
    settings: Settings,
    categories: Sequence[tuple[str, str]],
    areas: Areas,
    *,
    run_id: str,
    now: Callable[[], datetime],
) -> Starlette:
    """The application. categories: (id, name), and areas, for citizens to choose from.

    SettingsError where a stream's options or secrets are not in order.
    """
    intake = Intake(settings, categories, areas, run_id=run_id, now=now)
    routes = [
        Route("/kirim/{channel}/{stream}", intake.receive, methods=["GET", "POST"]),
        Route("/lapor/{channel}/{stream}", intake.fill_in, methods=["GET", "POST"]),
        Route("/health", intake.health),
        Route("/metrics", intake.figures),
    ]
    return Starlette(routes=routes, lifespan=intake.running)
