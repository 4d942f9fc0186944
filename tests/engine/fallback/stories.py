"""Runs of workflows with named models and fallback chains."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

from tests.builders import HASH, SPENT, assistant
from tests.engine.stage import LIMITS, SHOP, Stage, Trouble, scripted
from twelvefold.core.budget import Limits
from twelvefold.core.events import ModelReplied, Usage
from twelvefold.core.ids import RunId
from twelvefold.core.models import Fallback, ModelProfile
from twelvefold.core.ports import Listener, Model, ModelReply, ModelRequest
from twelvefold.engine.services import Services
from twelvefold.errors import ModelTooLarge, ModelUnavailable
from twelvefold.services.model.scripted import Scripted, ScriptedModel

PAID = Usage(input_tokens=900, output_tokens=100)
Models = Mapping[str, Model | Sequence[Scripted]]
"""Named models, each a model or its replies in order."""


def broken(problem: str = "it broke off", usage: Usage | None = PAID) -> ModelUnavailable:
    error = ModelUnavailable(problem).loggable()
    error.usage = usage
    return error


def too_large() -> ModelTooLarge:
    return ModelTooLarge("8192 tokens are the most").loggable()


def process_with(
    stage: Stage,
    model: str | Fallback,
    models: Models,
    *,
    default: Model | Sequence[Scripted] = (),
    limits: Limits = LIMITS,
    profiles: Mapping[str, ModelProfile] | None = None,
    trouble: Trouble | None = None,
    choices: tuple[str, ...] = (),
) -> Services:
    """Return a process whose workflow has this model; each of `models` gives its replies."""
    services = stage.process(
        model=_model(default),
        limits=limits,
        workflow=replace(SHOP, model=model, models=choices),
        trouble=trouble,
    )
    named = {name: _model(given) for name, given in models.items()}
    return replace(services, models=named, profiles=profiles or {})


def _model(given: Model | Sequence[Scripted]) -> Model:
    return ScriptedModel(scripted(*given)) if isinstance(given, Sequence) else given


def requests_of(services: Services, name: str) -> list[ModelRequest]:
    model = services.models[name]
    assert isinstance(model, ScriptedModel)
    return model.requests


async def replies(stage: Stage, run: RunId) -> list[ModelReplied]:
    return [event for event in await stage.journal(run) if isinstance(event, ModelReplied)]


class Slow:
    """A model that says these texts, and then does nothing more until it is cancelled.

    Its usage is that of `PAID`, as a model reports it.
    """

    def __init__(self, *texts: str, pause_s: float = 0.0) -> None:
        self._texts = texts
        self._pause_s = pause_s

    async def reply(self, request: ModelRequest, listener: Listener) -> ModelReply:
        try:
            for text in self._texts:
                listener.text(text)
                await asyncio.sleep(self._pause_s)
            await asyncio.Event().wait()
        except asyncio.CancelledError as cancelled:
            cancelled.__cause__ = broken("the reply was cancelled")
            raise
        raise AssertionError("it was not cancelled")

    async def close(self) -> None:
        """Nothing is open."""


class BreaksOff:
    """A model that says these texts, and then fails."""

    def __init__(self, *texts: str, pause_s: float = 0.0) -> None:
        self._texts = texts
        self._pause_s = pause_s

    async def reply(self, request: ModelRequest, listener: Listener) -> ModelReply:
        for text in self._texts:
            listener.text(text)
            await asyncio.sleep(self._pause_s)
        raise broken()

    async def close(self) -> None:
        """Nothing is open."""


class Talks:
    """A model that replies with these texts, or whose process dies before the reply is complete."""

    def __init__(self, *texts: str, trouble: Trouble | None = None, pause_s: float = 0.0) -> None:
        self._texts = texts
        self._trouble = trouble
        self._pause_s = pause_s

    async def reply(self, request: ModelRequest, listener: Listener) -> ModelReply:
        for text in self._texts:
            listener.text(text)
            await asyncio.sleep(self._pause_s)
        if self._trouble is not None:
            self._trouble.die()
        return ModelReply((assistant("".join(self._texts)),), SPENT, "m-1", HASH)

    async def close(self) -> None:
        """Nothing is open."""
