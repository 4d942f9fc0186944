"""One request to the server and its attempts, with the usage of each failed attempt."""

from collections.abc import Awaitable, Callable, Mapping

from msgspec import Struct, structs

from twelvefold.core import ModelReply, ModelRequest, Usage
from twelvefold.errors import ModelRejected, ModelUnavailable, ServiceFault
from twelvefold.services.model.errors import RetryableError
from twelvefold.services.model.openai.api_format import ReplyReader
from twelvefold.services.model.openai.decoding import with_estimates
from twelvefold.services.model.openai.encoding import OptionalPart
from twelvefold.services.model.openai.failures import SuspectedRequestError

BeforeRetry = Callable[[Usage], Awaitable[bool]]
PROBE_TOKENS = 16
PROBE = ModelRequest(
    "",
    ({"type": "message", "role": "user", "content": "ping"},),
    (),
    {"max_output_tokens": PROBE_TOKENS},
)
"""A minimal request, which every working server answers."""
_ATTEMPTS_IF_SUSPECTED = 2


class PendingRequest(Struct):
    """An encoded request. `optional_parts` may be left out; `omitted` names those left out.

    `lost_usage` is the usage of the failed attempts. `only_status_500`: every attempt so far got
    HTTP 500, which may mean that the server fails on this request only. `max_attempts` is the limit
    of a request that another model can answer, 0 for that of the settings. `current` is the attempt
    whose usage is not part of `lost_usage` yet. `before_retry` is that of the ModelRequest.
    """

    body: bytes
    headers: Mapping[str, str]
    optional_parts: tuple[OptionalPart, ...]
    omitted: frozenset[str]
    lost_usage: Usage
    max_attempts: int = 0
    attempts: int = 0
    only_status_500: bool = True
    current: "Attempt | None" = None
    before_retry: BeforeRetry | None = None

    def cancellation_cause(self) -> ServiceFault | None:
        """Return the cause of a cancellation, with the usage so far; None if there is none."""
        if self.current is not None:
            self.lost_usage += self.current.usage_if_failed(self.body)
        if not self.lost_usage.total_tokens:
            return None
        return self.with_lost_usage(ModelUnavailable("the reply was cancelled"))

    def record_failure(self, attempt: "Attempt", fault: RetryableError | ServiceFault) -> None:
        """Add the usage of a failed attempt."""
        is_500 = isinstance(fault, RetryableError) and fault.status == 500
        self.current = None
        self.lost_usage += attempt.usage_if_failed(self.body)
        self.only_status_500 = self.only_status_500 and is_500

    def will_fail_again(self, fault: RetryableError) -> bool:
        """Return whether another attempt would get the same error."""
        is_suspected = isinstance(fault, SuspectedRequestError)
        return is_suspected and self.attempts >= _ATTEMPTS_IF_SUSPECTED

    async def may_retry(self) -> bool:
        """Return whether the caller allows another attempt; without one there is no probe, too."""
        is_allowed = self.before_retry is None or await self.before_retry(self.lost_usage)
        self.only_status_500 = self.only_status_500 and is_allowed
        return is_allowed

    def with_total_usage(self, attempt: "Attempt", reply: ModelReply) -> ModelReply:
        """Return the reply with estimates for missing usage, and the usage of failed attempts."""
        usage = with_estimates(reply.usage, self.body, attempt.reader.received_bytes)
        if usage is reply.usage and self.lost_usage == Usage():
            return reply
        return structs.replace(reply, usage=usage + self.lost_usage, lost=self.lost_usage)

    def with_lost_usage(self, fault: ServiceFault) -> ServiceFault:
        """Attach the usage of failed attempts to the error, if its type has a field for it."""
        if isinstance(fault, ModelUnavailable | ModelRejected) and self.lost_usage.total_tokens:
            fault.usage = self.lost_usage
        return fault


class Attempt(Struct):
    """One attempt. `may_be_billed`: the model may have read the request."""

    reader: ReplyReader
    may_be_billed: bool = False

    def usage_if_failed(self, request: bytes) -> Usage:
        """Return the estimated usage of this attempt if it failed."""
        reader = self.reader
        if self.may_be_billed or reader.received_bytes or reader.usage.total_tokens:
            return with_estimates(reader.usage, request, reader.received_bytes)
        return Usage()


class PartsRefused(Exception):
    """The server refuses optional parts of the request."""

    def __init__(self, parts: tuple[OptionalPart, ...]) -> None:
        super().__init__(", ".join(part.name for part in parts))
        self.parts = parts
