"""What a request handler works with, opened once a process and handed in through the app."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from starlette.requests import Request

from twelvefold.config import Settings
from twelvefold.engine.commit import HeldRun
from twelvefold.engine.memory_budget import MemoryBudget, Reservation
from twelvefold.engine.services import Services
from twelvefold.web.http.admission import AdmissionControl
from twelvefold.web.http.authentication import Authenticator
from twelvefold.web.http.body_limit import RateLimiter
from twelvefold.web.http.client_watch import ClientWatch
from twelvefold.web.http.key_watch import KeyWatch

if TYPE_CHECKING:
    from twelvefold.web.probes import Readiness
    from twelvefold.web.runs.executor import RunExecutor
    from twelvefold.web.runs.queue_limit import QueueLimiter
    from twelvefold.web.streaming.notifier import RunNotifier


@dataclass(frozen=True, slots=True)
class Waits:
    """The longest waits of a web process, in seconds.

    `undriven_s`: for a run that no process drives and this one has no place for. `stalled_s`: for
    a client that takes no byte of its answer. `key_poll_s`: between two checks of a key whose
    request waits; a revoked key is known for two seconds more.
    """

    undriven_s: float = 30.0
    stalled_s: float = 60.0
    key_poll_s: float = 0.5


WAITS = Waits()
READ_BYTES, READ_SHARE_BYTES = 16 * 1024 * 1024, 4 * 1024 * 1024
"""Bytes of conversations whose responses are being read at once, of all and of one principal."""


def _reads() -> MemoryBudget:
    return MemoryBudget(READ_BYTES, READ_SHARE_BYTES)


@dataclass(frozen=True)
class Web:
    """One web process.

    `wake` tells a worker in this process that there is a run to take; without one it does nothing.
    `serving` is set when requests are answered, for what may wait until then.
    `draining` is set when the process is about to end: streams end after their current event,
    and what waits for a run waits only until its step in hand is over.
    `reads` bounds the bytes of the conversations whose responses are being read.
    """

    services: Services
    settings: Settings
    authenticator: Authenticator
    executor: "RunExecutor"
    queue: "QueueLimiter"
    news: "RunNotifier"
    rate: RateLimiter
    admission: AdmissionControl
    readiness: "Readiness"
    keys: KeyWatch
    waits: Waits = WAITS
    reads: MemoryBudget = field(default_factory=_reads)
    wake: Callable[[], None] = lambda: None
    draining: asyncio.Event = field(default_factory=asyncio.Event)
    serving: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def takes_images(self) -> bool:
        """Whether the model is sent images: only the demo model is, which sees none."""
        return not self.settings.model_base_url

    def drive(self, driven: HeldRun, reservation: Reservation | None = None) -> None:
        """Drive a run here, which keeps the reservation; notify its readers at the drive's end."""
        task = self.executor.start(driven, self.news.listener(driven.run), reservation)
        task.add_done_callback(lambda _: self.news.notify(driven.run))


def web_of(request: Request) -> Web:
    """The process that this request has come to."""
    web: Web = request.app.state.web
    return web


def client_watch(request: Request) -> ClientWatch:
    """Return the watch of the client that waits for this request's answer."""
    web = web_of(request)
    return ClientWatch(web.authenticator, web.keys, request)
