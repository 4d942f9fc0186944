"""What a caller of an app gives, as a request of the engine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, TypedDict

import msgspec

from twelvefold.app.texts import user_message
from twelvefold.core import (
    OVER,
    IdempotentRequest,
    Item,
    Principal,
    RequestOptions,
    RunId,
    Workflow,
    parse_thread_id,
)
from twelvefold.engine import RunRequest, Services
from twelvefold.errors import Conflict, NotFound, Repeated, RequestError

Input = str | Sequence[Item]
"""A user message, or items in the format of the Responses API."""


UNSET: Any = object()
"""The value of an answer that was not given; None is an answer."""
LOCAL = "local"
"""The principal of runs without another one, as of commands and on a server without keys."""


class TurnOptions(TypedDict, total=False):
    """The options of `App.run`, `start` and `stream`; each may be left out."""

    principal: str
    """The user or service that the run acts for: tools get it, the model cannot change it."""
    conversation: str
    """Continues at the end of this conversation, `conv_…`."""
    previous: str
    """Continues after this run, `resp_…`; on a fork if another run has followed it."""
    key: str
    """The same request with the same key returns the same run, for a day."""
    model: str
    """One of the workflow's `models`, instead of the workflow's own model."""
    metadata: Mapping[str, str]
    """Texts that are stored with the run and shown by the API."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of a workflow, with the values of `TurnOptions`."""

    workflow: str
    input: Input
    principal: str = LOCAL
    conversation: str = ""
    previous: str = ""
    key: str = ""
    model: str = ""
    metadata: Mapping[str, str] | None = None
    stream: bool = False

    @property
    def items(self) -> list[Item]:
        """The input as items. Raises RequestError if it is empty."""
        items = [user_message(self.input)] if isinstance(self.input, str) else [*self.input]
        if not items:
            raise RequestError("the input is empty; pass a text or a list of items")
        return items

    @property
    def idempotent_request(self) -> IdempotentRequest | None:
        """The key, and a hash of all that a repeated request must have in common."""
        if not self.key:
            return None
        body = [self.workflow, self.items, self.conversation, self.previous, self.metadata or {}]
        body += [self.model] if self.model else []
        return IdempotentRequest(self.key, sha256(msgspec.json.encode(body)).hexdigest())


def name_of(services: Services, workflow: str | Workflow[Any]) -> str:
    """Return the name of a workflow of the app. Raises RequestError."""
    if isinstance(workflow, str):
        return workflow
    if services.workflows.get(workflow.name) is not workflow:
        raise RequestError(f"the app was opened without this workflow {workflow.name!r}")
    return workflow.name


async def run_request(services: Services, turn: Turn) -> RunRequest:
    """Return the request of a turn. Raises RequestError, NotFound and Conflict."""
    if turn.conversation and turn.previous:
        raise RequestError("pass `conversation` or `previous`, not both")
    _check_metadata(turn.metadata)
    options = RequestOptions(
        stream=turn.stream,
        metadata=dict(turn.metadata or {}),
        previous=turn.previous,
        model=turn.model,
    )
    request = RunRequest(
        workflow=turn.workflow,
        principal=Principal(turn.principal),
        items=turn.items,
        options=options,
        key=turn.idempotent_request,
    )
    if turn.conversation:
        return replace(request, thread=parse_thread_id(turn.conversation))
    return await _after(services, turn, request) if turn.previous else request


async def _after(services: Services, turn: Turn, request: RunRequest) -> RunRequest:
    """Return the request that continues after a run, on a fork if the run is not the last one."""
    run = RunId.parse(turn.previous)
    record = await services.retry(lambda: services.store.run(run))
    if record.principal != turn.principal:
        raise NotFound(f"no run {run}")
    if record.status not in OVER:
        raise Conflict(f"run {run} is not over: {record.status}")
    head = await services.retry(lambda: services.store.thread(run.thread))
    end = head.head if record.last_position is None else record.last_position
    return replace(request, thread=run.thread, position=end, fork=end != head.head)


def repeated_run(repeated: Repeated, request: RunRequest) -> RunId:
    """Return the run of the same request. Raises RequestError if the key was used for another."""
    if request.key is None or repeated.body_hash != request.key.body_hash:
        raise RequestError("the key was used for another request; use a new one") from repeated
    return RunId.parse(repeated.run)


def _check_metadata(metadata: Mapping[str, str] | None) -> None:
    """Raise RequestError unless names and values are texts."""
    for name, value in (metadata or {}).items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise RequestError(f"metadata {name!r}: names and values are texts")
