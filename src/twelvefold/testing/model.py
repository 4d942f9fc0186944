"""Models for tests: replies that the test writes, or those of a recorded conversation."""

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from twelvefold.core import (
    DEFAULT_MODEL,
    DEFAULT_OPTIONS,
    Item,
    Listener,
    Model,
    ModelReply,
    ModelRequest,
    Workflow,
    models_of,
)
from twelvefold.errors import ModelRejected, ModelUnavailable
from twelvefold.services.model import scripted
from twelvefold.services.model.cassette import CassetteModel


@dataclass(frozen=True)
class ScriptedCall:
    """A call of a tool in a scripted reply; `call` makes one."""

    tool: str
    arguments: Mapping[str, Any] | str = field(default_factory=dict)


Part = str | ScriptedCall
Reply = Part | Sequence[Part] | Exception | Callable[[ModelRequest], Any]
"""A scripted reply: a text, a call, several of them, an error, or a function that returns one."""
ANY = ""
"""The replies to the requests of any workflow."""
Prepared = scripted.Scripted | Callable[[ModelRequest], Any]


def call(tool: str, text: str = "", /, **arguments: Any) -> ScriptedCall:
    """Return a call of a tool for a scripted reply, with these arguments.

    `text` replaces the arguments, for a model that writes invalid JSON.

    Example:
        from twelvefold.testing import ScriptedModel, call

        model = ScriptedModel(call("find_order", id=7), "Your order is on its way.")
        broken = ScriptedModel(call("find_order", '{"id": '), "I could not find it.")
    """
    return ScriptedCall(tool, text or arguments)


def outage(message: str = "the model server does not respond") -> Exception:
    """Return a scripted reply that fails as a model server that is not available.

    Example:
        from twelvefold.testing import ScriptedModel, outage

        model = ScriptedModel(outage(), "Here I am again.")
    """
    return ModelUnavailable(message)


def refusal(message: str = "the model server rejects the request") -> Exception:
    """Return a scripted reply that fails as a model server that rejects the request for good.

    Example:
        from twelvefold.testing import ScriptedModel, refusal

        model = ScriptedModel(refusal("unknown model"))
    """
    return ModelRejected(message)


class ScriptedModel:
    """A model that gives the replies of a test, in order.

    A reply is a text, a `call`, a sequence of both, an exception, or a function from the request
    to one of them. A request after the last reply is rejected, so the run fails. `requests` are
    the requests so far.

    Example:
        from twelvefold.testing import ScriptedModel, call

        model = ScriptedModel(call("find_order", id=7))
        model.replies([call("cancel_order", id=7), call("send_mail", id=7)], "Cancelled.")
        assert model.remaining == 3
    """

    name = "scripted"

    def __init__(self, *replies: Reply) -> None:
        self._queues: dict[str, deque[Prepared]] = defaultdict(deque)
        self._workflows: list[Workflow[Any]] = []
        self._given = 0
        self._model: Model = scripted.ScriptedModel(self._next)
        self.requests: list[ModelRequest] = []
        self.replies(*replies)

    @property
    def remaining(self) -> int:
        """How many replies are left."""
        return sum(map(len, self._queues.values()))

    @property
    def outputs(self) -> list[str]:
        """The results of tools that the last request has, oldest first, as the model reads them."""
        items = self.requests[-1].items if self.requests else ()
        return [str(one["output"]) for one in items if one.get("type") == "function_call_output"]

    def replies(self, *replies: Reply, to: Workflow[Any] | None = None) -> None:
        """Add replies after those that are left. Raises TypeError for any other value.

        `to`: they are for the requests of this workflow, whose instructions are a text; so that
        runs of several workflows may go on at once.
        """
        if to is not None:
            self._workflows.append(to)
        queue = self._queues[to.name if to else ANY]
        queue.extend([one if callable(one) else as_scripted(one) for one in replies])

    def plays(self, export: Path | str | Iterable[str]) -> None:
        """Replay a recorded conversation from now on, as `cassette` does."""
        self._model = cassette(export)

    async def reply(self, request: ModelRequest, listener: Listener) -> ModelReply:
        """Return the next reply. Raises ModelRejected after the last one."""
        self.requests.append(request)
        return await self._model.reply(request, listener)

    async def close(self) -> None:
        """Do nothing: there is no connection."""

    def _next(self, request: ModelRequest) -> scripted.Scripted:
        queue = self._queues[workflow_of(request, self._workflows)] or self._queues[ANY]
        if not queue:
            return scripted.exhausted(self._given)
        self._given += 1
        reply = queue.popleft()
        return as_scripted(reply(request)) if callable(reply) else reply


def cassette(export: Path | str | Iterable[str]) -> Model:
    """Return a model that replays a recorded conversation, which `twelvefold runs export` prints.

    `export` is the file's path, or its lines. The tools run for real. A request with more or fewer
    results of tools than the recording had fails the run.

    Example:
        from twelvefold.testing import cassette

        model = cassette(['{"position": 1, "run": 1, "type": "RunFinished", "version": 1, '
                          '"body": {"status": "completed"}}'])
    """
    lines = Path(export).read_text().splitlines() if isinstance(export, Path | str) else export
    return CassetteModel.from_export(lines)


def models_for(workflows: Sequence[Workflow[Any]], model: Model) -> dict[str, Model]:
    """Return `model` for each model of MODELS that one of these workflows names."""
    names = {
        name
        for workflow in workflows
        for name in (*models_of(workflow.model, DEFAULT_OPTIONS), *workflow.models)
    }
    return {name: model for name in names if name != DEFAULT_MODEL}


def workflow_of(request: ModelRequest, workflows: Sequence[Workflow[Any]]) -> str:
    """Return the name of the workflow that made a request, by its instructions; "" if unknown."""
    for workflow in workflows:
        instructions = workflow.instructions
        if isinstance(instructions, str) and request.instructions.startswith(instructions):
            return workflow.name
    return ANY


def as_scripted(reply: Any) -> scripted.Scripted:
    """Return a reply of a test as a reply of the scripted model."""
    if isinstance(reply, Exception | ModelReply):
        return reply
    return as_items(reply)


def as_items(reply: Reply) -> list[Item]:
    """Return a reply of texts and calls as items. Raises TypeError for any other value."""
    parts = [reply] if isinstance(reply, str | ScriptedCall) else reply
    if not isinstance(parts, Sequence):
        raise TypeError(f"a scripted reply has texts and calls, not {type(reply).__name__}")
    return [item for part in parts for item in _items_of(part)]


def _items_of(part: object) -> list[Item]:
    match part:
        case str():
            return scripted.says(part)
        case ScriptedCall():
            return scripted.calls((part.tool, part.arguments))
        case dict() if "type" in part:
            return [part]
        case _:
            kind = type(part).__name__
            raise TypeError(f"a scripted reply has texts and calls, not {kind}")
