"""A model behind the OpenAI API: our own client, and the one place that decides to try again.

Always streams. `responses` and `chat` know the two APIs, `transport` the connections, `faults`
what a refusal means.
"""

import asyncio
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Literal

from twelvefold.core.events import Usage
from twelvefold.core.ports import Listener, ModelReply, ModelRequest
from twelvefold.errors import ModelRejected, ModelUnavailable, ServiceFault
from twelvefold.observe.log import get_logger
from twelvefold.services.model.http.connection_errors import Dropped, Unreachable
from twelvefold.services.model.http.endpoint import Endpoint
from twelvefold.services.model.http.proxies import NO_PROXIES, Proxies
from twelvefold.services.model.http.transport import Answer, HttpTransport, Transport
from twelvefold.services.model.openai.attempts import (
    PROBE,
    PROBE_TOKENS,
    Attempt,
    PartsRefused,
    Sending,
)
from twelvefold.services.model.openai.chat import CHAT
from twelvefold.services.model.openai.decoding.body import Body
from twelvefold.services.model.openai.decoding.reply_limits import REPLY_LIMITS, ReplyLimits
from twelvefold.services.model.openai.decoding.usage import estimated
from twelvefold.services.model.openai.encoding.optional_parts import Part, refused_parts
from twelvefold.services.model.openai.failures.classify import (
    Asked,
    Refusal,
    fault_of,
    no_api,
    refusal,
)
from twelvefold.services.model.openai.provider_fields import for_provider, marked, provider_of
from twelvefold.services.model.openai.responses import RESPONSES
from twelvefold.services.model.openai.wire import ErrorSent, Reply, TryAgain

log = get_logger(__name__)
Api = Literal["responses", "chat"]
_WIRES = {"responses": RESPONSES, "chat": CHAT}
_LONGEST_BACKOFF_S = 8.0
_UNREACHABLE_ATTEMPTS = 3
_NOT_OF_THE_BODY = (401, 402, 403, 407, 408, 409, 413, 425, 429, 502, 503, 504)
"""Statuses that say nothing about a request's parameters."""
_LONGEST_BODY = 16 << 20
"""Of an answer that is no stream."""
HOPS = "x-twelvefold-hops"
"""How many instances of Twelvefold a request has come through, so that a circle of them ends."""


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """Where the model is, and how patient to be with it.

    `first_token_timeout_s` bounds the silence of a model that may be thinking,
    `between_tokens_timeout_s` that of one in the middle of a text or a call. A finished reply is
    taken `last_words_timeout_s` after its end, although the server has not ended the stream; a
    quarter of that where its usage is known.
    """

    base_url: str
    api_key: str = field(repr=False)
    model: str
    api: Api = "responses"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    proxies: Proxies = NO_PROXIES
    ca_file: str = ""
    temperature: float | None = None
    max_output_tokens: int | None = None
    connect_timeout_s: float = 10.0
    first_token_timeout_s: float = 120.0
    between_tokens_timeout_s: float = 60.0
    last_words_timeout_s: float = 2.0
    max_attempts: int = 6
    backoff_s: float = 0.5
    reply_limits: ReplyLimits = REPLY_LIMITS

    @property
    def endpoint(self) -> Endpoint:
        """Where the server is, and what every request to it carries."""
        return Endpoint(self.base_url, self.api_key, self.headers, self.proxies, self.ca_file)


class OpenAIModel:
    """A model reached over HTTP, or over whatever transport is given."""

    def __init__(self, settings: ModelSettings, transport: Transport | None = None) -> None:
        self.name = settings.model
        self._settings = settings
        self._wire = _WIRES[settings.api]
        self._transport = transport or HttpTransport(
            settings.endpoint, connect_timeout_s=settings.connect_timeout_s
        )
        self._asked = Asked(
            self._transport.name,
            self._wire.path,
            settings.api_key,
            settings.model,
            tuple(settings.headers.values()),
        )
        self._provider = provider_of(settings.base_url, settings.model)
        self._refused: frozenset[Part] = frozenset()

    async def reply(self, request: ModelRequest, listener: Listener) -> ModelReply:
        """As `twelvefold.core.ports.Model` says; parts that the server refuses are left out."""
        without = self._refused
        lost = Usage()
        items = for_provider(request.items, self._provider)
        request = replace(request, items=items)
        while True:
            names = frozenset(part.name for part in without)
            body = self._wire.encode(request, self._settings, names)
            optional = tuple(part for part in self._wire.optional if part not in without)
            sending = Sending(body, {HOPS: str(request.hops + 1)}, optional, names, lost)
            try:
                reply = await self._insist(sending, listener)
            except PartsRefused as refused:
                without |= {*refused.parts}
                lost = sending.lost
            else:
                self._refused |= {part for part in without if part.always}
                return replace(reply, items=marked(reply.items, self._provider))

    def prepare(self) -> None:
        """Import the HTTP client, if replies come over HTTP."""
        if isinstance(self._transport, HttpTransport):
            self._transport.prepare()

    async def close(self) -> None:
        await self._transport.close()

    async def _insist(self, sending: Sending, listener: Listener) -> ModelReply:
        request_hash = sha256(sending.body).hexdigest()
        while True:
            attempt = Attempt(self._wire.reply(listener.text))
            sending.attempts += 1
            try:
                await self._receive(sending, attempt)
                whole = attempt.reply.whole(request_hash, self._settings.model)
                self._settings.reply_limits.check_whole(whole.items)
                return sending.counted(attempt, whole)
            except (TryAgain, ServiceFault) as fault:
                sending.failed(attempt, fault)
                if attempt.reply.shown:
                    listener.restarted(str(fault))
                if not isinstance(fault, TryAgain):
                    raise sending.with_usage(fault) from None
                wait_s = await self._wait_s(fault, sending)
                log.warning("model_asked_again", attempt=sending.attempts, why=fault, wait_s=wait_s)
            await asyncio.sleep(wait_s)

    async def _receive(self, sending: Sending, attempt: Attempt) -> None:
        reply = attempt.reply
        patience_s = self._settings.connect_timeout_s + self._patience_s(reply)
        try:
            async with (
                asyncio.timeout(patience_s) as silence,
                self._transport.post(self._wire.path, sending.body, sending.headers) as answer,
            ):
                if not 200 <= answer.status < 300:
                    raise await self._fault(answer, sending)
                await self._read(answer, attempt, silence)
        except TimeoutError:
            attempt.begun = True  # for all we know
            if not reply.finished:
                raise TryAgain(f"not a word in {self._patience_s(reply):g} s").loggable() from None
        except TryAgain:
            # What broke behind a whole reply does not matter any more.
            if not reply.finished:
                raise
        except ErrorSent as sent:
            attempt.begun = False
            raise self._fault_of(Refusal(200, sent.error, {}), sending) from None

    async def _read(self, answer: Answer, attempt: Attempt, silence: asyncio.Timeout) -> None:
        reply = attempt.reply
        now = asyncio.get_running_loop().time
        limits = self._settings.reply_limits
        body = Body(answer.headers.get("content-type", ""))
        ends_at, received = math.inf, 0
        while not (reply.over or body.over):
            piece = await answer.read()
            received += len(piece)
            limits.check_stream(received)
            found = body.feed(piece) if piece else body.end()
            if body.kind == "page":
                raise no_api(self._asked)
            for data in found:
                reply.add(data)
            limits.check(reply)
            if not piece:
                return
            attempt.begun = True
            if reply.finished:
                # Usage may follow, or nothing but heartbeats.
                ends_at = min(ends_at, now() + self._last_words_s(reply))
            silence.reschedule(min(now() + self._patience_s(reply), ends_at))

    async def _fault(self, answer: Answer, sending: Sending) -> Exception:
        return self._fault_of(refusal(answer.status, answer.headers, await _body(answer)), sending)

    def _fault_of(self, refused: Refusal, sending: Sending) -> Exception:
        if refused.status not in _NOT_OF_THE_BODY:
            parts = refused_parts(refused.error, sending.body, sending.optional)
            if parts:
                names = ", ".join(part.name for part in parts)
                log.warning("request_part_left_out", parts=names, status=refused.status)
                return PartsRefused(parts)
        return fault_of(refused, self._asked)

    def _last_words_s(self, reply: Reply) -> float:
        wait_s = self._settings.last_words_timeout_s
        return wait_s / 4 if reply.usage.output_tokens else wait_s

    def _patience_s(self, reply: Reply) -> float:
        if reply.flowing:
            return self._settings.between_tokens_timeout_s
        return self._settings.first_token_timeout_s

    async def _wait_s(self, fault: TryAgain, sending: Sending) -> float:
        """How long to wait before the next attempt. Raises a ServiceFault if there is none."""
        attempt = sending.attempts
        attempts = self._settings.max_attempts
        if isinstance(fault, Unreachable):
            attempts = min(attempts, _UNREACHABLE_ATTEMPTS)
        if sending.is_hopeless(fault):
            raise sending.with_usage(self._rejected(fault)) from None
        if attempt >= attempts:
            raise sending.with_usage(await self._given_up(fault, sending)) from None
        if fault.after_s is not None:
            return fault.after_s
        if isinstance(fault, Dropped) and attempt == 1:
            return 0.0
        backoff_s = min(self._settings.backoff_s * 2.0 ** (attempt - 1), _LONGEST_BACKOFF_S)
        return backoff_s * random.uniform(0.5, 1.0)  # noqa: S311 - it keeps no secret

    async def _given_up(self, fault: TryAgain, sending: Sending) -> ServiceFault:
        """The error when no attempt is left.

        A server that answers this request with HTTP 500 each time, and another one at once, will
        never take it: then no process is to ask again.
        """
        if sending.only_500 and await self._answers_a_probe(sending):
            return self._rejected(fault)
        verb = "cannot reach" if isinstance(fault, Unreachable) else "no reply from"
        failed = f"{verb} {self._asked.server} in {sending.attempts} attempts"
        return ModelUnavailable(f"{failed}: {fault.why}").loggable(f"{failed}: {fault.logged}")

    def _rejected(self, fault: TryAgain) -> ModelRejected:
        failed = f"{self._asked.server} fails on this request each time"
        return ModelRejected(f"{failed}: {fault.why}").loggable(f"{failed}: {fault.logged}")

    async def _answers_a_probe(self, sending: Sending) -> bool:
        body = self._wire.encode(PROBE, self._settings, sending.without)
        try:
            async with (
                asyncio.timeout(self._settings.first_token_timeout_s),
                self._transport.post(self._wire.path, body, sending.headers) as answer,
            ):
                answers = 200 <= answer.status < 300
        except (TimeoutError, TryAgain, ServiceFault):
            return False
        if answers:
            sending.lost += estimated(Usage(output_tokens=PROBE_TOKENS), body, 0)
        return answers


async def _body(answer: Answer) -> bytes:
    body = bytearray()
    while len(body) < _LONGEST_BODY and (piece := await answer.read()):
        body += piece
    return bytes(body)
