"""What a caller of an app gives, as a request of the engine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, TypedDict

import msgspec

from twelvefold.app.texts import user_message
from twelvefold.core import (
    KEY_RULE,
    OVER,
    IdempotentRequest,
    Item,
    Principal,
    RequestOptions,
    RunId,
    Workflow,
    abbreviate,
    is_request_key,
    name_problem,
    parse_thread_id,
)
from twelvefold.core.waiting import check_text
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
        """The input as items. Raises RequestError if it is invalid or empty."""
        given: object = self.input
        if isinstance(given, str):
            return [user_message(given)]
        if not isinstance(given, Sequence) or isinstance(given, bytes | bytearray):
            raise RequestError(f"input is {abbreviate(given)}; pass a text or a list of items")
        if not given:
            raise RequestError("the input is empty; pass a text or a list of items")
        from twelvefold.web.schemas import parse_items  # it imports Starlette

        return parse_items(given, is_new=not (self.conversation or self.previous))

    @property
    def idempotent_request(self) -> IdempotentRequest | None:
        """The key, and a hash of all that a repeated request must have in common."""
        if self.key == "":
            return None
        if not is_request_key(self.key):
            raise RequestError(f"key is {abbreviate(self.key)}; use {KEY_RULE}")
        # The input as it was given: a later release may keep items in another form.
        items = self.items if isinstance(self.input, str) else [*self.input]
        body = [self.workflow, items, self.conversation, self.previous, self.metadata or {}]
        body += [self.model] if self.model else []
        return IdempotentRequest(self.key, sha256(msgspec.json.encode(body)).hexdigest())


def name_of(services: Services, workflow: str | Workflow[Any]) -> str:
    """Return the name of a workflow of the app. Raises RequestError."""
    if isinstance(workflow, str):
        return workflow
    if not isinstance(workflow, Workflow):
        raise RequestError(f"workflow is {abbreviate(workflow)}; pass a workflow or its name")
    if services.workflows.get(workflow.name) is not workflow:
        raise RequestError(f"the app was opened without this workflow {workflow.name!r}")
    return workflow.name


async def run_request(services: Services, turn: Turn) -> RunRequest:
    """Return the request of a turn. Raises RequestError, NotFound and Conflict."""
    _check(turn)
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


def _check(turn: Turn) -> None:
    """Raise RequestError for an invalid option. The items are checked where they are made."""
    if problem := name_problem("principal", turn.principal):
        raise RequestError(problem)
    check_texts(conversation=turn.conversation, previous=turn.previous, model=turn.model)
    if turn.conversation and turn.previous:
        raise RequestError("pass `conversation` or `previous`, not both")
    if turn.metadata:
        if not isinstance(turn.metadata, Mapping):
            raise RequestError(f"metadata is {abbreviate(turn.metadata)}; pass a mapping of texts")
        from twelvefold.web.schemas import check_metadata  # it imports Starlette

        check_metadata(turn.metadata)


def check_texts(**texts: object) -> None:
    """Raise RequestError for a value that is no text; each has the name of its argument."""
    for name, value in texts.items():
        try:
            check_text(name, value)
        except ValueError as error:
            raise RequestError(str(error)) from error


def check_principal(principal: str | None) -> None:
    """Raise RequestError for an invalid principal; None: the caller may see the runs of anyone."""
    if principal is not None and (problem := name_problem("principal", principal)):
        raise RequestError(problem)
