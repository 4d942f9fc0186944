"""The events of a thread, and their form in the journal as versioned JSON.

Events are facts in the past tense, without code positions and class paths, so that a newer release
reads what an older one wrote. `type` and `version` are columns, the rest is `body`. msgspec structs
take a third of the time of dataclasses to read and write, and leave out defaults.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal, cast

import msgspec
from msgspec import Struct

from twelvefold.core.ids import CallId
from twelvefold.errors import StoreRefused

Item = dict[str, Any]
"""An item in the Responses API's shape: message, function_call, reasoning, …

Source: the `input` and `output` unions of the OpenAI Responses API.
"""

FinalStatus = Literal["completed", "incomplete", "failed", "cancelled"]
ReplyEnd = Literal["completed", "max_output_tokens", "content_filter"]
Failure = Literal[
    "arguments",
    "unknown_tool",
    "not_open",
    "repeated",
    "refused",
    "denied",
    "fault",
    "settled",
    "expired",
    "child",
]
Settlement = Literal["done", "retry", "failed"]
WaitEnd = Literal["time", "event", "answer", "children", "timeout"]
Join = Literal["", "all", "first", "quorum"]


class Usage(msgspec.Struct, frozen=True, omit_defaults=True):
    """Tokens of one or more replies; `input_tokens` includes `cached_tokens`.

    `estimated`: the server did not report all of them, and the rest was estimated.
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

    def __sub__(self, other: "Usage") -> "Usage":
        return Usage(
            self.input_tokens - other.input_tokens,
            self.output_tokens - other.output_tokens,
            self.cached_tokens - other.cached_tokens,
            self.reasoning_tokens - other.reasoning_tokens,
            self.estimated,
        )

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens


class RequestOptions(msgspec.Struct, frozen=True, omit_defaults=True):
    """The options of a request beside its input; names and values as in `POST /responses`.

    `tools` are the caller's own functions, which the caller runs. `stream`: pieces of the text are
    stored while the reply arrives, for readers of the stream. `echo` are parameters without an
    effect, which the response repeats. `previous` is the response that this one continues. `hops`
    counts the instances of Twelvefold that the request has passed. `tool_items` is how calls of the
    server's tools are shown, "" as in the settings. `stop` are the texts at which Chat Completions
    ends the answer. `choice_holds`: `tool_choice` applies to every reply of the run, not only to
    the first. `model` is the name of a model that the workflow allows, "" for the workflow's own.
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
    model: str = ""

    @property
    def allowed_tools(self) -> frozenset[str] | None:
        """The names of the tools that `tool_choice` allows in the run; None: all."""
        choice = self.tool_choice
        if choice == "none":
            return frozenset()
        if isinstance(choice, dict) and choice.get("type") == "allowed_tools":
            return frozenset(str(tool.get("name", "")) for tool in choice.get("tools", ()))
        return None

    @property
    def client_tools(self) -> tuple[Item, ...]:
        """The caller's own tools that may be called in the run, in the caller's order."""
        if not self.tools or (names := self.allowed_tools) is None:
            return self.tools
        return tuple(tool for tool in self.tools if tool.get("name", "") in names)

    @property
    def client_tool_names(self) -> frozenset[str]:
        """The names of `client_tools`."""
        return frozenset(str(tool.get("name", "")) for tool in self.client_tools)


DEFAULT_OPTIONS = RequestOptions()
"""No options. The journal leaves out this object, by identity."""


class ChildLimits(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a run that another one started may use: its part of what that one had left.

    `deadline_s` bounds each drive of the run. None: as the settings say.
    """

    tokens: int | None = None
    micro_usd: int | None = None
    deadline_s: float | None = None


class Ancestry(msgspec.Struct, frozen=True, omit_defaults=True):
    """The runs above a run that another one started.

    `root` is the id of the first of them, which a caller started, and `depth` counts the runs from
    there: 1 for a child of the root. `workflow` is that of the parent, and `root_workflow` that of
    the root, "" if it is the same.
    """

    root: str
    depth: int
    workflow: str
    limits: ChildLimits = ChildLimits()
    root_workflow: str = ""


class RunStarted(msgspec.Struct, frozen=True, omit_defaults=True):
    """A caller requested a turn with `items` as the input.

    `parent` is the id of the run whose call `parent_call` started this one, "" if a caller did;
    `ancestry` is None then. `key_id` is the API key of the request, "" without one; a run that
    another one started has the key of that one. `allowed_tools` are the names of the tools that the
    key allows in the run and in those below it; None: all. `trace` is the `traceparent` of the
    caller's request, "" without one; a run that another one started has that of its parent.
    `sampled`: whether the trace is exported, as the process decided that started the run; None if
    it had no traces.
    """

    items: tuple[Item, ...]
    principal: str
    workflow: str
    release: str
    options: RequestOptions = msgspec.field(default=DEFAULT_OPTIONS, name="asked")
    parent: str = ""
    parent_call: str = ""
    ancestry: Ancestry | None = None
    key_id: str = ""
    allowed_tools: tuple[str, ...] | None = None
    trace: str = ""
    sampled: bool | None = None


class ModelAttempt(msgspec.Struct, frozen=True, omit_defaults=True):
    """A model of a fallback chain that gave no reply; `usage` is the usage of its attempts."""

    model: str
    error: str
    usage: Usage = Usage()


class ModelReplied(msgspec.Struct, frozen=True, omit_defaults=True):
    """A complete reply; `request_hash` is the SHA-256, in hex, of the request's body.

    `model` is the name that the server reports. `named` is the name of the model in MODELS, "" for
    a run that has the default model alone.

    `first_delta` is the number of the first piece of its text that was published before the reply
    was complete, 0 if none was. `cuts` are the lengths of those pieces in characters; the rest of
    the text is the last piece. `attempts` are the models that were requested before, in order;
    their usage is no part of `usage`. `problems`: the text is no valid output of the workflow;
    callers do not see it. If the reply has no calls, the model is called again. `took_us` is how
    long the reply took, with all attempts, in microseconds; 0: not measured.
    """

    items: tuple[Item, ...]
    usage: Usage
    model: str
    request_hash: str
    ended: ReplyEnd = "completed"
    first_delta: int = 0
    cuts: tuple[int, ...] = ()
    named: str = ""
    attempts: tuple[ModelAttempt, ...] = ()
    problems: tuple[str, ...] = ()
    took_us: int = 0

    @property
    def total_usage(self) -> Usage:
        """The usage of the reply and of the attempts before it."""
        usage = self.usage
        for attempt in self.attempts:
            usage += attempt.usage
        return usage


class ToolSucceeded(msgspec.Struct, frozen=True, omit_defaults=True):
    """The tool ran; the model reads `result`.

    `took_us` is how long the tool ran, in microseconds; 0: not measured, or the result came after a
    wait.
    """

    call: CallId
    tool: str
    result: str
    took_us: int = 0


class ToolError(msgspec.Struct, frozen=True, omit_defaults=True):
    """The exception that a tool raised; `file` and `line` are the place in the tool's own code."""

    type: str
    message: str
    file: str = ""
    line: int = 0


class ToolFailed(msgspec.Struct, frozen=True, omit_defaults=True):
    """The call did not succeed; the model reads `message`.

    The rows of a transactional tool were rolled back; an effect of an idempotent or unsafe one may
    remain. `error` is the exception of a fault, for the operator. `took_us` is as in ToolSucceeded.
    """

    call: CallId
    tool: str
    failure: Failure
    message: str
    error: ToolError | None = None
    took_us: int = 0


class ApprovalAsked(msgspec.Struct, frozen=True, omit_defaults=True):
    """The call needs the approval of a person; the run waits.

    `expires_us`: microseconds since 1970 by the server's clock, when the call is denied; 0: never.
    `arguments` are those that the person sees, with the defaults that apply, as the text of a JSON
    object; "": they are those of the model.
    """

    call: CallId
    tool: str
    expires_us: int = 0
    arguments: str = ""


class ApprovalAnswered(msgspec.Struct, frozen=True, omit_defaults=True):
    """A person approved or denied the call.

    The run continues with `options`, if the answer was a request with options, else with those that
    it has. `background`: it continues in the background. `arguments` replace those of the model, as
    the text of a JSON object; "" leaves them. `key_id` is the API key of the answer, "" without
    one.
    """

    call: CallId
    approved: bool
    by: str
    reason: str = ""
    options: RequestOptions | None = msgspec.field(default=None, name="asked")
    background: bool = False
    arguments: str = ""
    key_id: str = ""


class WaitStarted(msgspec.Struct, frozen=True, omit_defaults=True):
    """The call's tool ran, and its result will come later; the run waits.

    It waits for the time `until_us`, or for the event `event`, or for a person's answer to
    `question`, of the JSON Schema `schema`. `until_us` is microseconds since 1970 by the server's
    clock; an event or an answer that comes later does not count; 0: no limit. `person` may answer;
    "": the run's principal. `took_us` is how long the tool ran, in microseconds; 0: not measured.
    """

    call: CallId
    tool: str
    until_us: int = 0
    event: str = ""
    question: str = ""
    schema: Item | None = None
    person: str = ""
    took_us: int = 0


class ChildrenStarted(msgspec.Struct, frozen=True, omit_defaults=True):
    """The call started runs of other workflows, by id; the run waits for them.

    `join`: for all of them, for the first that completes, or for `quorum` that complete; "": the
    call's result is the answer of its only run. `hand_off`: the child's answer is that of this run.
    `limits` are those of each child.
    """

    call: CallId
    tool: str
    runs: tuple[str, ...]
    join: Join = ""
    quorum: int = 0
    hand_off: bool = False
    limits: ChildLimits = ChildLimits()


class ChildAsked(msgspec.Struct, frozen=True, omit_defaults=True):
    """A run below this one waits for a person, who answers it through this run.

    Only the run that a caller started has it. `call` is the call of this run that waits for that
    run or for one above it. `child_call` of the run `run`, a call of `tool`, needs an approval, an
    answer to `question`, of the JSON Schema `schema`, or, with `is_unknown`, a person who settles
    its outcome. `arguments` are those that the person sees.
    """

    call: CallId
    tool: str
    run: str
    child_call: CallId
    workflow: str
    arguments: str = ""
    question: str = ""
    schema: Item | None = None
    is_unknown: bool = False


class ChildAnswered(msgspec.Struct, frozen=True, omit_defaults=True):
    """A person answered a run below this one, through this run; the answer is in that run.

    `call`, `run` and `child_call` are those of the ChildAsked; `options`, `background` and `key_id`
    are as in ApprovalAnswered. `approved` and `reason` are of an approval; `is_approval` is false
    for the answer to a question.
    """

    call: CallId
    run: str
    child_call: CallId
    by: str
    is_approval: bool = False
    approved: bool = False
    reason: str = ""
    options: RequestOptions | None = msgspec.field(default=None, name="asked")
    background: bool = False
    key_id: str = ""


class WaitEnded(msgspec.Struct, frozen=True, omit_defaults=True):
    """The wait of a call is over; the call's result follows.

    `by` sent the event or the answer. `usage` is that of the runs that the call started, which
    counts as usage of this run; `usage_by_model` is the part of it whose model is known. `key_id`
    is that of an answer, as in ApprovalAnswered.
    """

    call: CallId
    reason: WaitEnd
    by: str = ""
    usage: Usage = Usage()
    usage_by_model: Mapping[str, Usage] = {}
    key_id: str = ""


class OutcomeUnknown(msgspec.Struct, frozen=True, omit_defaults=True):
    """A call may have happened: its process died, or the call was stopped.

    `final`: the run ends with it, so no person has to settle it.
    """

    call: CallId
    tool: str
    final: bool = False


class OutcomeSettled(msgspec.Struct, frozen=True, omit_defaults=True):
    """A person settled an unknown outcome: `done` (with `result`), `retry` it, or `failed`.

    `key_id` as in ApprovalAnswered.
    """

    call: CallId
    settled: Settlement
    by: str
    result: str = ""
    key_id: str = ""


class RunFinished(msgspec.Struct, frozen=True, omit_defaults=True):
    """The run is over; `reason` is the cause where the status alone does not name it.

    `error` is the cause as a text for people: the error of the tool, the model or the database.
    """

    status: FinalStatus
    reason: str = ""
    error: str = ""


class ItemsAdded(msgspec.Struct, frozen=True, omit_defaults=True):
    """Items were added to the conversation outside any run."""

    items: tuple[Item, ...]


class ItemRemoved(msgspec.Struct, frozen=True, omit_defaults=True):
    """An item was removed from the conversation; `item` is its id in the API."""

    item: str


Event = (
    RunStarted
    | ModelReplied
    | ToolSucceeded
    | ToolFailed
    | ApprovalAsked
    | ApprovalAnswered
    | WaitStarted
    | ChildrenStarted
    | ChildAsked
    | ChildAnswered
    | WaitEnded
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
        WaitStarted,
        ChildrenStarted,
        ChildAsked,
        ChildAnswered,
        WaitEnded,
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


class Entry(Struct, frozen=True):
    """An entry of the journal. `position` counts from 1 in the thread, without gaps.

    `size` is the length of the body in bytes of UTF-8; `at_us` is microseconds since 1970 by the
    clock of the process that wrote it.
    """

    position: int
    run: int
    event: Event
    size: int
    at_us: int = 0


def encode(event: Event) -> tuple[str, int, str]:
    """Return the event as (type, version, body); the body is JSON text that is never rewritten."""
    return type(event).__name__, 1, _ENCODER.encode(event).decode()


def size_of(text: str) -> int:
    """Return the length of a text in bytes of UTF-8."""
    # Most texts are ASCII, and for those Python need not encode.
    return len(text) if text.isascii() else len(text.encode())


def decode(type: str, version: int, body: str | bytes) -> Event:
    """Return the event of a journal entry.

    Raises StoreRefused if this release does not know its type and version or cannot read its body.
    """
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
