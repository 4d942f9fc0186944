"""What can have happened in a thread, and its form as versioned JSON.

Facts in the past tense, never code positions or class paths: a newer release reads what an
older one wrote. `type` and `version` stand in columns of their own, the rest is `body`.
Structs of msgspec, not dataclasses: read and written in a third of the time, defaults left out.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, cast

import msgspec

from twelvefold.core.ids import CallId
from twelvefold.errors import StoreRefused

Item = dict[str, Any]
"""One item in the Responses API's own shape: message, function_call, reasoning, …

Source: the `input` and `output` unions of the OpenAI Responses API.
"""

FinalStatus = Literal["completed", "incomplete", "failed", "cancelled"]
ReplyEnd = Literal["completed", "max_output_tokens", "content_filter"]
Failure = Literal[
    "arguments", "unknown_tool", "not_open", "repeated", "refused", "denied", "fault", "settled"
]
Settlement = Literal["done", "retry", "failed"]


class Usage(msgspec.Struct, frozen=True, omit_defaults=True):
    """Tokens of one or more replies; `input_tokens` includes the cached ones.

    `estimated`: a part of them was estimated, because the server did not report it.
    Source: the `usage` object of the Responses API.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cached_tokens + other.cached_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
            self.estimated or other.estimated,
        )

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens


class RequestOptions(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a caller may say beside the input; names and values as in `POST /responses`.

    `tools` are the caller's own functions, which the caller runs. `stream`: pieces of the text
    are kept as they come, for whoever reads along. `echo` is what changes nothing and is only
    said again. `previous` is the response that this one goes on from, `hops` how many instances
    of Twelvefold the request came through. `tool_items` is how the caller wants the server's calls
    shown, "" as set; `stop` are the texts at which Chat Completions ends the answer.
    `choice_holds`: `tool_choice` is for every reply of the run, not for the first alone.
    """

    instructions: str = ""
    tools: tuple[Item, ...] = ()
    tool_choice: str | Item | None = None
    parallel_tool_calls: bool | None = None
    max_tool_calls: int | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    text: Item | None = None
    reasoning: Item | None = None
    stream: bool = False
    store: bool = True
    metadata: dict[str, str] = {}
    echo: Item = {}
    conversation: bool = False
    previous: str = ""
    hops: int = 0
    tool_items: str = ""
    stop: tuple[str, ...] = ()
    choice_holds: bool = False


DEFAULT_OPTIONS = RequestOptions()
"""Nothing beside the input; this very object is left out of the journal."""


class RunStarted(msgspec.Struct, frozen=True, omit_defaults=True):
    """A caller asked for a turn; `items` is what was said."""

    items: tuple[Item, ...]
    principal: str
    workflow: str
    release: str
    options: RequestOptions = msgspec.field(default=DEFAULT_OPTIONS, name="asked")


class ModelReplied(msgspec.Struct, frozen=True, omit_defaults=True):
    """A whole reply; `request_hash` is the SHA-256 of the body it answered, in hex.

    `first_delta` is the number of the first piece of its text that was shown before it was whole,
    0 if none was; `cuts` are the lengths of those pieces in characters. What they leave of the
    text is the last piece.
    """

    items: tuple[Item, ...]
    usage: Usage
    model: str
    request_hash: str
    ended: ReplyEnd = "completed"
    first_delta: int = 0
    cuts: tuple[int, ...] = ()


class ToolSucceeded(msgspec.Struct, frozen=True, omit_defaults=True):
    """The tool ran and `result` is the text that the model reads."""

    call: CallId
    tool: str
    result: str


class ToolError(msgspec.Struct, frozen=True, omit_defaults=True):
    """The exception that a tool raised; `file` and `line` are where its own code did."""

    type: str
    message: str
    file: str = ""
    line: int = 0


class ToolFailed(msgspec.Struct, frozen=True, omit_defaults=True):
    """The call did not succeed; `message` is what the model reads.

    A transactional tool left nothing behind; what an idempotent or unsafe one did may stand.
    `error` is the exception behind a fault, for the operator.
    """

    call: CallId
    tool: str
    failure: Failure
    message: str
    error: ToolError | None = None


class ApprovalAsked(msgspec.Struct, frozen=True, omit_defaults=True):
    """The call waits for a person."""

    call: CallId
    tool: str


class ApprovalAnswered(msgspec.Struct, frozen=True, omit_defaults=True):
    """A person allowed the call or did not.

    `options` and `background` say how the run is to go on, where the answer was a request of its
    own; without `options` it goes on as it began.
    """

    call: CallId
    approved: bool
    by: str
    reason: str = ""
    options: RequestOptions | None = msgspec.field(default=None, name="asked")
    background: bool = False


class OutcomeUnknown(msgspec.Struct, frozen=True, omit_defaults=True):
    """A call may or may not have happened: its process died, or it was stopped in mid-call.

    `final`: the run ends with it, so nobody is asked.
    """

    call: CallId
    tool: str
    final: bool = False


class OutcomeSettled(msgspec.Struct, frozen=True, omit_defaults=True):
    """A person looked: it is `done` (with this result), to `retry`, or `failed`."""

    call: CallId
    settled: Settlement
    by: str
    result: str = ""


class RunFinished(msgspec.Struct, frozen=True, omit_defaults=True):
    """The turn is over; `reason` says why where the status alone does not.

    `error` is the same for a person: the error of the tool, the model or the database.
    """

    status: FinalStatus
    reason: str = ""
    error: str = ""


class ItemsAdded(msgspec.Struct, frozen=True, omit_defaults=True):
    """Items were put into the conversation outside any run."""

    items: tuple[Item, ...]


class ItemRemoved(msgspec.Struct, frozen=True, omit_defaults=True):
    """An item, by its id on the wire, was taken out of the conversation."""

    item: str


Event = (
    RunStarted
    | ModelReplied
    | ToolSucceeded
    | ToolFailed
    | ApprovalAsked
    | ApprovalAnswered
    | OutcomeUnknown
    | OutcomeSettled
    | RunFinished
    | ItemsAdded
    | ItemRemoved
)
KINDS: dict[tuple[str, int], Any] = {
    (kind.__name__, 1): kind
    for kind in (
        RunStarted,
        ModelReplied,
        ToolSucceeded,
        ToolFailed,
        ApprovalAsked,
        ApprovalAnswered,
        OutcomeUnknown,
        OutcomeSettled,
        RunFinished,
        ItemsAdded,
        ItemRemoved,
    )
}
_DECODERS: dict[tuple[str, int], Callable[[str | bytes], object]] = {
    name: msgspec.json.Decoder(kind).decode for name, kind in KINDS.items()
}
_ENCODER = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the journal. `position` counts from 1 along the thread, without gaps.

    `size` is the length of the body in bytes of UTF-8; `at_us` is microseconds since 1970, by the
    clock of the process that wrote it.
    """

    position: int
    run: int
    event: Event
    size: int
    at_us: int = 0


def encode(event: Event) -> tuple[str, int, str]:
    """The event as (type, version, body), body being JSON text that we never rewrite."""
    return type(event).__name__, 1, _ENCODER.encode(event).decode()


def size_of(text: str) -> int:
    """Its length in bytes of UTF-8."""
    # Python knows of each text whether it is ASCII, which most are.
    return len(text) if text.isascii() else len(text.encode())


def decode(type: str, version: int, body: str | bytes) -> Event:
    """Read an event back. Raises StoreRefused for one that this release does not know."""
    try:
        return cast("Event", _DECODERS[type, version](body))
    except KeyError:
        raise StoreRefused(
            f"the journal holds {type} version {version}, which this release does not know; "
            "run a release that does"
        ).loggable() from None
    except (msgspec.DecodeError, RecursionError) as error:
        problem = f"the journal holds a {type} that cannot be read"
        raise StoreRefused(f"{problem}: {error}").loggable(problem) from error
