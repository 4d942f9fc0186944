"""One request to a model's server and the tries that it takes, with what each of them costs."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from twelvefold.core.events import Usage
from twelvefold.core.ports import ModelReply, ModelRequest
from twelvefold.errors import ModelRejected, ModelUnavailable, ServiceFault
from twelvefold.services.model.openai.decoding.usage import estimated
from twelvefold.services.model.openai.encoding.optional_parts import Part
from twelvefold.services.model.openai.failures.classify import Suspect
from twelvefold.services.model.openai.wire import Reply, TryAgain

PROBE_TOKENS = 16
PROBE = ModelRequest(
    "",
    ({"type": "message", "role": "user", "content": "ping"},),
    (),
    {"max_output_tokens": PROBE_TOKENS},
)
"""A request that every server which works answers."""
_SUSPECT_ATTEMPTS = 2


@dataclass(slots=True)
class Sending:
    """A request as it is sent; `optional` are the parts that it could do without, `without` the
    names of those that it has not.

    `lost` is what the attempts took that broke off. `only_500`: each of them was answered with
    HTTP 500, which is also what a server says that fails on this very request.
    """

    body: bytes
    headers: Mapping[str, str]
    optional: tuple[Part, ...]
    without: frozenset[str]
    lost: Usage
    attempts: int = 0
    only_500: bool = True

    def failed(self, attempt: "Attempt", fault: TryAgain | ServiceFault) -> None:
        """Count an attempt that failed."""
        self.lost += attempt.lost(self.body)
        self.only_500 = self.only_500 and isinstance(fault, TryAgain) and fault.status == 500

    def is_hopeless(self, fault: TryAgain) -> bool:
        """Whether another attempt would be answered as these were."""
        return isinstance(fault, Suspect) and self.attempts >= _SUSPECT_ATTEMPTS

    def counted(self, attempt: "Attempt", reply: ModelReply) -> ModelReply:
        """The reply with its usage whole: what the server did not report, and what was lost."""
        usage = estimated(reply.usage, self.body, attempt.reply.received)
        return replace(reply, usage=usage + self.lost, lost=self.lost)

    def with_usage(self, fault: ServiceFault) -> ServiceFault:
        """The fault with what was lost, where it can say so."""
        if isinstance(fault, ModelUnavailable | ModelRejected) and self.lost.total_tokens:
            fault.usage = self.lost
        return fault


@dataclass(slots=True)
class Attempt:
    """One try at a reply. `begun`: the server may have read the request with its model."""

    reply: Reply
    begun: bool = False

    def lost(self, request: bytes) -> Usage:
        """What the try took, if it broke off."""
        reply = self.reply
        if self.begun or reply.received or reply.usage.total_tokens:
            return estimated(reply.usage, request, reply.received)
        return Usage()


class PartsRefused(Exception):
    """The server refuses these parts of the request, which can be left out."""

    def __init__(self, parts: tuple[Part, ...]) -> None:
        super().__init__(", ".join(part.name for part in parts))
        self.parts = parts
