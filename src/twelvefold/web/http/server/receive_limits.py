"""Limits of the time and the bytes that a client takes to send a request."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from twelvefold.web.http.rate_limit import TokenBuckets
from twelvefold.web.http.server.framing import FramingLimits


@dataclass(frozen=True, slots=True)
class ReceiveLimits:
    """Limits for the client of one request.

    The head must arrive within `head_s`, the body within `body_s`, and `progress_bytes` of the body
    within each `progress_s`, except while the server does not read. Up to `discard_bytes` of a
    body are read and dropped after its request was answered, because some clients read the
    response only after they have sent everything. `linger_s` is how long a connection stays open
    after an error response, so that the client can read it. `rejections` are the malformed
    requests of one client that are answered immediately; further ones are answered after
    `rejection_delay_s`.
    """

    head_s: float = 15.0
    body_s: float = 60.0
    progress_s: float = 10.0
    progress_bytes: int = 1_024
    linger_s: float = 1.0
    discard_bytes: int = 256 * 1024 * 1024
    rejections: TokenBuckets = field(default_factory=lambda: TokenBuckets(20, 1))
    rejection_delay_s: float = 1.0
    framing: FramingLimits = field(default_factory=FramingLimits)


class ReceiveTimer:
    """Calls `expire` if the head or the body of a request arrives too slowly."""

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
        self._body_deadline = 0.0
        self._received_bytes = 0

    def begin_head(self) -> None:
        """Start the timer of the head. Further calls for the same head do nothing."""
        if self._timer is None:
            self._timer = self._loop.call_later(self._limits.head_s, self._expire)

    def begin_body(self) -> None:
        """Start the timer of the body. Further calls for the same body do nothing."""
        if self._is_body:
            return
        self.end()
        self._is_body = True
        self._body_deadline = self._loop.time() + self._limits.body_s
        self._begin_window()

    def count(self, size: int) -> None:
        """Count received bytes of the body."""
        self._received_bytes += size

    def end(self) -> None:
        """Stop the timer: the request is complete."""
        self._is_body = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def close(self) -> None:
        """Stop the timer and drop its callbacks: a reference cycle would keep the connection."""
        self.end()
        self._is_paused, self._expire = bool, _do_nothing

    def _begin_window(self) -> None:
        self._received_bytes = 0
        until = min(self._loop.time() + self._limits.progress_s, self._body_deadline)
        self._timer = self._loop.call_at(until, self._end_window)

    def _end_window(self) -> None:
        is_slow = self._received_bytes < self._limits.progress_bytes and not self._is_paused()
        if is_slow or self._loop.time() >= self._body_deadline:
            self._expire()
        else:
            self._begin_window()


def _do_nothing() -> None:
    """Replace `expire` after the connection is closed."""
