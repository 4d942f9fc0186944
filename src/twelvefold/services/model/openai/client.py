"""A client of the OpenAI API. It always streams, and it is the only place that retries."""

import asyncio
import math
from collections.abc import Sequence
from hashlib import sha256

from msgspec import structs

from twelvefold.backoff import Backoff
from twelvefold.core import Item, Listener, ModelReply, ModelRequest, Usage
from twelvefold.errors import ModelRejected, ModelUnavailable, ServiceFault
from twelvefold.observe import metrics
from twelvefold.observe.log import get_logger
from twelvefold.services.model.errors import ErrorReceived, RetryableError
from twelvefold.services.model.http import (
    ConnectionDropped,
    HTTPTransport,
    Response,
    ServerUnreachable,
    Transport,
)
from twelvefold.services.model.openai.api_format import ReplyReader
from twelvefold.services.model.openai.attempts import (
    PROBE,
    PROBE_TOKENS,
    Attempt,
    PartsRefused,
    PendingRequest,
)
from twelvefold.services.model.openai.chat import CHAT
from twelvefold.services.model.openai.decoding import ResponseBody, with_estimates
from twelvefold.services.model.openai.encoding import (
    EncodedItems,
    OptionalPart,
    encode_known,
    refused_parts,
)
from twelvefold.services.model.openai.failures import (
    ErrorResponse,
    RequestContext,
    classify,
    not_an_api,
    parse_error_response,
)
from twelvefold.services.model.openai.provider_fields import (
    items_for_provider,
    mark_items,
    provider_of,
)
from twelvefold.services.model.openai.responses import RESPONSES
from twelvefold.services.model.openai.settings import ModelSettings

log = get_logger(__name__)
_FORMATS = {"responses": RESPONSES, "chat": CHAT}
_UNREACHABLE_ATTEMPTS = 3
_MAX_REPLACEABLE_DELAY_S = 5.0
"""The longest delay that a server may request if another model can be asked instead."""
_STATUSES_NOT_ABOUT_THE_BODY = (401, 402, 403, 407, 408, 409, 413, 425, 429, 502, 503, 504)
_MAX_ERROR_BYTES = 16 << 20
HOPS_HEADER = "x-twelvefold-hops"
"""Counts the instances of Twelvefold that a request passed through, so that a loop ends."""


class OpenAIModel:
    """A model reached over HTTP or over another transport."""

    def __init__(self, settings: ModelSettings, transport: Transport | None = None) -> None:
        self.name = settings.model
        self._settings = settings
        self._format = _FORMATS[settings.api]
        self._transport = transport or HTTPTransport(
            settings.endpoint, connect_timeout_s=settings.connect_timeout_s
        )
        self._endpoint = settings.endpoint
        self._provider = provider_of(settings.base_url, settings.model)
        self._refused: frozenset[OptionalPart] = frozenset()

    @property
    def _context(self) -> RequestContext:
        model, secrets = self._settings.model, self._endpoint.secrets
        has_key = bool(self._settings.api_key)
        return RequestContext(
            self._transport.name, self._format.path, model, secrets, has_key=has_key
        )

    async def reply(self, request: ModelRequest, listener: Listener) -> ModelReply:
        """Implement `Model.reply`. Leaves out the optional parts that the server refuses."""
        omitted = self._refused
        lost_usage = Usage()
        items = self._encode_items(request)
        while True:
            pending = self._encode(request, items, omitted, lost_usage)
            try:
                reply = await self._send_with_retries(pending, listener)
            except PartsRefused as refused:
                omitted |= {*refused.parts}
                lost_usage = pending.lost_usage
            else:
                self._refused |= {part for part in omitted if part.permanent}
                marked = mark_items(reply.items, self._provider)
                return reply if marked == reply.items else structs.replace(reply, items=marked)

    def prepare(self) -> None:
        """Prepare the HTTP client, if replies come over HTTP."""
        if isinstance(self._transport, HTTPTransport):
            self._transport.prepare()

    async def close(self) -> None:
        await self._transport.close()

    def _encode_items(self, request: ModelRequest) -> EncodedItems:
        """Return the items of the request, of which only those are encoded that are new."""
        known = request.history
        if known is None:
            return self._encode_part(request.items)
        key = f"{self._format.path} {self._provider}"
        history = encode_known(request.items, known, key, self._encode_part)
        return history + self._encode_part(request.items[known.count :])

    def _encode_part(self, items: Sequence[Item]) -> EncodedItems:
        """Encode items that no item before or after them changes."""
        return self._format.encode_items(items_for_provider(items, self._provider))

    def _encode(
        self,
        request: ModelRequest,
        items: EncodedItems,
        omitted: frozenset[OptionalPart],
        lost_usage: Usage,
    ) -> PendingRequest:
        names = frozenset(part.name for part in omitted)
        body = self._format.encode_body(request, self._settings, names, items)
        optional = self._format.optional_parts
        if omitted:
            optional = tuple(part for part in optional if part not in omitted)
        headers = {HOPS_HEADER: str(request.hops + 1)}
        return PendingRequest(
            *(body, headers, optional, names, lost_usage, request.attempts),
            before_retry=request.before_retry,
        )

    async def _send_with_retries(self, pending: PendingRequest, listener: Listener) -> ModelReply:
        try:
            return await self._send_until_complete(pending, listener)
        except asyncio.CancelledError as cancelled:
            cancelled.__cause__ = pending.cancellation_cause()
            raise

    async def _send_until_complete(self, pending: PendingRequest, listener: Listener) -> ModelReply:
        request_hash = sha256(pending.body).hexdigest()
        while True:
            attempt = pending.current = Attempt(self._format.new_reader(listener.text))
            pending.attempts += 1
            try:
                await self._send(pending, attempt)
                reply = attempt.reader.build(request_hash, self._settings.model)
                self._settings.reply_limits.check_items(reply.items)
                return pending.with_total_usage(attempt, reply)
            except (RetryableError, ServiceFault) as fault:
                pending.record_failure(attempt, fault)
                if attempt.reader.has_shown_text:
                    listener.restarted(str(fault))
                if not isinstance(fault, RetryableError):
                    raise pending.with_lost_usage(fault) from None
                wait_s = await self._retry_delay_s(fault, pending)
                if metrics.active is not None:
                    metrics.active.retried("model")
                log.warning(
                    "model_request_retried", attempt=pending.attempts, why=fault, wait_s=wait_s
                )
            await asyncio.sleep(wait_s)

    async def _send(self, pending: PendingRequest, attempt: Attempt) -> None:
        reader = attempt.reader
        timeout_s = self._settings.connect_timeout_s + self._read_timeout_s(reader)
        try:
            async with (
                asyncio.timeout(timeout_s) as timeout,
                self._transport.post(self._format.path, pending.body, pending.headers) as response,
            ):
                if not 200 <= response.status < 300:
                    raise await self._error_of_response(response, pending)
                await self._read(response, attempt, timeout)
        except TimeoutError:
            attempt.may_be_billed = True
            if not reader.is_complete:
                problem = f"no data for {self._read_timeout_s(reader):g} s"
                raise RetryableError(problem).loggable() from None
        except RetryableError:
            # A failure after a complete reply does not matter.
            if not reader.is_complete:
                raise
        except ErrorReceived as received:
            attempt.may_be_billed = False
            raise self._error(ErrorResponse(200, received.error, {}), pending) from None

    async def _read(self, response: Response, attempt: Attempt, timeout: asyncio.Timeout) -> None:
        reader = attempt.reader
        now = asyncio.get_running_loop().time
        limits = self._settings.reply_limits
        body = ResponseBody(response.headers.get("content-type", ""))
        ends_at, received_bytes = math.inf, 0
        while not (reader.is_closed or body.is_complete):
            piece = await response.read()
            received_bytes += len(piece)
            limits.check_stream(received_bytes)
            events = body.feed(piece) if piece else body.end()
            if body.kind == "html":
                raise not_an_api(self._context)
            for data in events:
                reader.add(data)
            limits.check(reader)
            if not piece:
                return
            attempt.may_be_billed = True
            if reader.is_complete:
                # The server may send the usage, or only heartbeats.
                ends_at = min(ends_at, now() + self._trailing_timeout_s(reader))
            timeout.reschedule(min(now() + self._read_timeout_s(reader), ends_at))

    async def _error_of_response(self, response: Response, pending: PendingRequest) -> Exception:
        body = await _read_error_body(response)
        return self._error(parse_error_response(response.status, response.headers, body), pending)

    def _error(self, response: ErrorResponse, pending: PendingRequest) -> Exception:
        if response.status not in _STATUSES_NOT_ABOUT_THE_BODY:
            parts = refused_parts(response.error, pending.body, pending.optional_parts)
            if parts:
                names = ", ".join(part.name for part in parts)
                log.warning("request_part_left_out", parts=names, status=response.status)
                return PartsRefused(parts)
        return classify(response, self._context)

    def _trailing_timeout_s(self, reader: ReplyReader) -> float:
        timeout_s = self._settings.trailing_usage_timeout_s
        return timeout_s / 4 if reader.usage.output_tokens else timeout_s

    def _read_timeout_s(self, reader: ReplyReader) -> float:
        if reader.is_writing:
            return self._settings.between_tokens_timeout_s
        return self._settings.first_token_timeout_s

    async def _retry_delay_s(self, fault: RetryableError, pending: PendingRequest) -> float:
        """Return the delay before the next attempt. Raises ServiceFault if there is none."""
        if pending.will_fail_again(fault):
            raise pending.with_lost_usage(self._rejected(fault)) from None
        if self._is_last_attempt(fault, pending) or not await pending.may_retry():
            raise pending.with_lost_usage(await self._final_error(fault, pending)) from None
        if fault.retry_after_s is not None:
            return fault.retry_after_s
        if isinstance(fault, ConnectionDropped) and pending.attempts == 1:
            return 0.0
        settings = self._settings
        return Backoff(settings.backoff_s, settings.max_backoff_s).pause_s(pending.attempts)

    def _is_last_attempt(self, fault: RetryableError, pending: PendingRequest) -> bool:
        max_attempts = pending.max_attempts or self._settings.max_attempts
        if isinstance(fault, ServerUnreachable):
            max_attempts = min(max_attempts, _UNREACHABLE_ATTEMPTS)
        is_long = (fault.retry_after_s or 0.0) > _MAX_REPLACEABLE_DELAY_S
        return pending.attempts >= max_attempts or (pending.max_attempts > 0 and is_long)

    async def _final_error(self, fault: RetryableError, pending: PendingRequest) -> ServiceFault:
        """Return the error after the last attempt.

        If the server returned HTTP 500 each time and answers a probe, it will never accept this
        request, and no other process should retry it.
        """
        if (
            pending.only_status_500
            and not pending.max_attempts
            and await self._answers_probe(pending)
        ):
            return self._rejected(fault)
        verb = "cannot reach" if isinstance(fault, ServerUnreachable) else "no reply from"
        failed = f"{verb} {self._context.server} in {pending.attempts} attempts"
        return ModelUnavailable(f"{failed}: {fault.reason}").loggable(f"{failed}: {fault.logged}")

    def _rejected(self, fault: RetryableError) -> ModelRejected:
        failed = f"{self._context.server} fails on every attempt of this request"
        return ModelRejected(f"{failed}: {fault.reason}").loggable(f"{failed}: {fault.logged}")

    async def _answers_probe(self, pending: PendingRequest) -> bool:
        body = self._format.encode(PROBE, self._settings, pending.omitted)
        try:
            async with (
                asyncio.timeout(self._settings.first_token_timeout_s),
                self._transport.post(self._format.path, body, pending.headers) as response,
            ):
                is_answered = 200 <= response.status < 300
        except (TimeoutError, RetryableError, ServiceFault):
            return False
        if is_answered:
            pending.lost_usage += with_estimates(Usage(output_tokens=PROBE_TOKENS), body, 0)
        return is_answered


async def _read_error_body(response: Response) -> bytes:
    body = bytearray()
    while len(body) < _MAX_ERROR_BYTES and (piece := await response.read()):
        body += piece
    return bytes(body)
