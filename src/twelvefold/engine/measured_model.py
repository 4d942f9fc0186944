"""A model that reports its time, in a process that serves metrics."""

import time

from twelvefold.core import Listener, Model, ModelReply, ModelRequest, NullListener
from twelvefold.observe.metrics import Metrics


class MeasuredModel:
    """Implements `Model` with `model`, whose name in MODELS is `name`."""

    def __init__(self, name: str, model: Model, metrics: Metrics) -> None:
        self._name = name
        self._model = model
        self._metrics = metrics

    async def reply(self, request: ModelRequest, listener: Listener) -> ModelReply:
        started_at, error = time.monotonic(), ""
        timed = _FirstText(listener)
        try:
            return await self._model.reply(request, timed)
        except BaseException as raised:
            error = type(raised).__name__
            raise
        finally:
            first_s = timed.first_at - started_at if timed.first_at else None
            self._metrics.model(self._name, time.monotonic() - started_at, first_s, error)

    async def close(self) -> None:
        await self._model.close()


class _FirstText(NullListener):
    """Passes everything on to a listener, and records when the first piece of text came."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self.first_at = 0.0

    def text(self, delta: str) -> None:
        self.first_at = self.first_at or time.monotonic()
        self._listener.text(delta)

    def restarted(self, why: str) -> None:
        self._listener.restarted(why)
