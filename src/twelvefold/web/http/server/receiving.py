"""Time limits and flow control while a request is received."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from uvicorn.protocols.http.flow_control import FlowControl

from twelvefold.web.http.server.framing import FramingLimits
from twelvefold.web.http.token_buckets import TokenBuckets


@dataclass(frozen=True, slots=True)
class ReceiveLimits:
    """What a client may take, in bytes and seconds, to send one request.

    `progress_bytes` of a body have to arrive within each `progress_s`, unless this server does not
    read it. `discard_bytes` are read of a refused body, for clients that read an answer only when
    they have sent everything. `linger_s` is how long a refused connection stays open to be read.
    `refusals` are malformed requests of one client that are answered at once; further ones are
    answered after `refusal_delay_s`.
    """

    head_s: float = 15.0
    body_s: float = 60.0
    progress_s: float = 10.0
    progress_bytes: int = 1_024
    linger_s: float = 1.0
    discard_bytes: int = 256 * 1024 * 1024
    refusals: TokenBuckets = field(default_factory=lambda: TokenBuckets(20, 1))
    refusal_delay_s: float = 1.0
    framing: FramingLimits = field(default_factory=FramingLimits)


class ReceiveTimer:
    """Calls `expire` when a head or a body takes too long to arrive."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        limits: ReceiveLimits,
        is_paused: Callable[[], bool],
        expire: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._limits = limits
        self._is_paused = is_paused
        self._expire = expire
        self._timer: asyncio.TimerHandle | None = None
        self._is_body = False
        self._body_end = 0.0
        self._received = 0

    def begin_head(self) -> None:
        """Give the head its time; a head that has begun already does not get more."""
        if self._timer is None:
            self._timer = self._loop.call_later(self._limits.head_s, self._expire)

    def begin_body(self) -> None:
        """The head is complete: the body has its own time, from the first call on."""
        if self._is_body:
            return
        self.end()
        self._is_body = True
        self._body_end = self._loop.time() + self._limits.body_s
        self._begin_window()

    def count(self, received: int) -> None:
        """Note so many bytes of the body."""
        self._received += received

    def end(self) -> None:
        """The request has arrived."""
        self._is_body = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def close(self) -> None:
        """End for good, and let go of the connection: a cycle would need the garbage collector."""
        self.end()
        self._is_paused, self._expire = bool, _do_nothing

    def _begin_window(self) -> None:
        self._received = 0
        until = min(self._loop.time() + self._limits.progress_s, self._body_end)
        self._timer = self._loop.call_at(until, self._end_window)

    def _end_window(self) -> None:
        is_slow = self._received < self._limits.progress_bytes and not self._is_paused()
        if is_slow or self._loop.time() >= self._body_end:
            self._expire()
        else:
            self._begin_window()


def _do_nothing() -> None:
    """What happens when a connection that is closed would be too slow."""


class HeldFlow(FlowControl):
    """Flow control that also stops reading while bytes wait behind the request in progress."""

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__(transport)
        self._is_held = False
        self._is_wanted = True

    def pause_reading(self) -> None:
        """The request in progress has enough."""
        self._is_wanted = False
        super().pause_reading()

    def resume_reading(self) -> None:
        """The request in progress wants more."""
        self._is_wanted = True
        if not self._is_held:
            super().resume_reading()

    def hold(self, held: bool) -> None:
        """Read nothing while held, whatever the request in progress wants."""
        if held == self._is_held:
            return
        self._is_held = held
        if held:
            super().pause_reading()
        elif self._is_wanted:
            super().resume_reading()
