"""Runs as operators see them."""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from twelvefold.core import RunStatus, Settlement
from twelvefold.web.schemas.objects import Answer
from twelvefold.web.schemas.types import RequestObject

RunAction = Literal["cancel", "retry", "resume", "answer", "settle", "fork"]
CallName = Annotated[str, Meta(max_length=255, description="A call as the run has it, `12.0`.")]


class AdminUsage(Answer):
    """Tokens of a run, and their cost if the prices of its models are known."""

    input_tokens: int
    output_tokens: int
    cost_usd: float | None


class AdminRun(Struct):
    """A run of any principal.

    `id` is the id of its first response, `thread` that of its conversation, `run` its number there.
    `attempts` counts the claims since its last entry. `parent` is the run that started it.
    """

    id: str
    object: Literal["admin.run"]
    thread: str
    run: int
    workflow: str
    principal: str
    status: RunStatus
    error: str
    attempts: int
    created_at: float
    updated_at: float
    finished_at: float | None
    usage: AdminUsage
    parent: str | None
    release: str
    background: bool
    leased: bool
    cancel_requested: bool


class AdminRunList(Answer):
    """A page of runs. It may have fewer than `limit` although there are more.

    `next` is the value of `after` for the next page, null at the end.
    """

    object: Literal["list"]
    data: list[AdminRun]
    first_id: str | None
    last_id: str | None
    has_more: bool
    next: str | None


class Span(Answer):
    """One part of a run: a model call, a tool call, a wait, or time without a process.

    `name` is that of the model or the tool, or what the run waits for. `ended_at` is null while it
    lasts. `position` is that of its entry in the journal, 0 if it has none yet.
    """

    kind: Literal["model", "tool", "wait", "queue"]
    name: str
    started_at: float
    ended_at: float | None
    status: str
    input_tokens: int
    output_tokens: int
    attempts: int
    call_id: str | None
    position: int


class ToolFault(Answer):
    """An exception of a tool in the run, with the place in the tool's code."""

    tool: str
    call_id: str
    position: int
    type: str
    message: str
    file: str
    line: int


class Failure(Answer):
    """Why a run failed: `reason` as in its last entry, `tool_errors` the last ones of its tools."""

    reason: str
    error: str
    tool_errors: list[ToolFault]


class OpenCall(Answer):
    """A call that waits for a person; `id` is what `POST /v1/admin/inbox/answers` takes.

    `run` has the call; it may be below the run that is shown. An unknown outcome has no `id`:
    `POST /v1/admin/runs/{run}/settle` settles it. `expires_at` is when it is denied.
    """

    id: str | None
    kind: Literal["approval", "question", "unknown"]
    run: str
    thread: str
    workflow: str
    principal: str
    person: str
    call_id: str
    tool: str
    arguments: str
    question: str | None
    schema: dict[str, Any] | None
    asked_at: float
    expires_at: float | None


class OpenCallList(Answer):
    """A page of calls that wait, of the newest runs first; see `AdminRunList` for `next`."""

    object: Literal["list"]
    data: list[OpenCall]
    has_more: bool
    next: str | None


class AdminRunDetail(AdminRun):
    """A run with what it did, what it waits for, the runs below it, and what can be done.

    `timeline` has the first 1,000 spans; `timeline_is_cut` is true if there are more. `children`
    has the runs at every depth below it; each names its `parent`.
    """

    timeline: list[Span]
    timeline_is_cut: bool
    waiting: list[OpenCall]
    failure: Failure | None
    children: list[AdminRun]
    actions: list[RunAction]


class ExportedEntry(Struct):
    """An entry of the journal with its body as it is stored; `thread` only for runs below."""

    position: int
    run: int
    type: str
    version: int
    at_us: int
    body: dict[str, Any]
    thread: str | UnsetType = UNSET


class AdminAction(Answer):
    """What an action led to: the run, or the new run or conversation that it made."""

    object: Literal["admin.action"]
    id: str
    thread: str
    status: RunStatus | None


class ApprovalOutput(RequestObject):
    """The answer to a call that waits for approval."""

    approve: bool
    reason: Annotated[str, Meta(max_length=10_000)] | None = None
    arguments: (
        Annotated[str, Meta(description="A JSON object in place of the model's arguments.")] | None
    ) = None


class ResumeRun(ApprovalOutput):
    """The answer to a call that waits for approval; without `call_id` to the first one."""

    call_id: CallName | None = None


class SettleRun(RequestObject):
    """What a person found out about a call whose outcome is unknown."""

    settled: Settlement
    call_id: CallName | None = None
    result: Annotated[str, Meta(description="What the model reads.")] | None = None


class ForkRun(RequestObject):
    """Where the new conversation begins to differ; by default at the end of the run."""

    position: Annotated[int, Meta(ge=1, le=2**53)] | None = None
