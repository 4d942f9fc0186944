"""Virtual time, and event loops that run on it in one thread.

Each simulated thread of each simulated process has an event loop. A loop runs its callbacks in
the order of asyncio. Loops affect each other only through the timeline, in the order of its times.
"""

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context
from itertools import count
from typing import Any, TypeVar

Result = TypeVar("Result")


MOST_STEPS = 400_000
"""A simulation takes a few thousand steps; one that takes so many is in a loop."""


class Timeline:
    """The events of virtual time, which advances only when no loop has work."""

    def __init__(self, most_steps: int = MOST_STEPS) -> None:
        self._most_steps = most_steps
        self.now = 0.0
        self.current: VirtualLoop | None = None
        self.faults: list[str] = []
        """Exceptions that reached an event loop: each is a bug of the code under test."""
        self._queue: list[tuple[float, int, asyncio.Handle | None, Callable[..., object], Any]] = []
        self._numbers = count()
        self._active: deque[VirtualLoop] = deque()
        self._steps = 0

    def at(self, when: float, call: Callable[..., object], *args: Any, timer: Any = None) -> None:
        """Call at that time. A cancelled `timer` is skipped and does not advance the time."""
        heapq.heappush(self._queue, (max(when, self.now), next(self._numbers), timer, call, args))

    def later(self, delay_s: float, call: Callable[..., object], *args: Any) -> None:
        """Call after so many seconds."""
        self.at(self.now + delay_s, call, *args)

    def activate(self, loop: "VirtualLoop") -> None:
        """Run the loop before time advances."""
        self._active.append(loop)

    def run(self, *, until: Callable[[], bool], end: float) -> bool:
        """Run until the condition holds; False if it does not hold at time `end`."""
        while not until():
            self._steps += 1
            if self._steps > self._most_steps:
                self.faults.append(f"more than {self._most_steps} steps by {self.now:.3f} s")
                return False
            if self._active:
                self._run_loop(self._active.popleft())
            elif not self._advance(end):
                return False
        return True

    def _run_loop(self, loop: "VirtualLoop") -> None:
        self.current = loop
        asyncio.events._set_running_loop(loop)
        try:
            loop.run_once()
        finally:
            asyncio.events._set_running_loop(None)
            self.current = None

    def _advance(self, end: float) -> bool:
        while self._queue:
            when, _, timer, call, args = heapq.heappop(self._queue)
            if timer is not None and timer.cancelled():
                continue
            if when > end:
                return False
            self.now = when
            call(*args)
            return True
        return False


class NumberedTask(asyncio.Task[Result]):
    """A task whose hash is its number, so that sets of tasks have the same order in every run."""

    number: int

    def __hash__(self) -> int:
        return self.number


_AnyLoop: Any = asyncio.AbstractEventLoop
"""Most of its methods are about I/O, which does not exist here."""


class VirtualLoop(_AnyLoop):  # type: ignore[misc]
    """An event loop of a simulated process, without I/O.

    `offset_s` is what its monotonic clock was at time 0, `rate` how fast that clock runs.
    """

    def __init__(
        self, timeline: Timeline, process: Any, *, offset_s: float = 0.0, rate: float = 1.0
    ) -> None:
        self.process = process
        self._timeline = timeline
        self._offset_s = offset_s
        self._rate = rate
        self._ready: deque[asyncio.Handle] = deque()
        self._expired: deque[asyncio.Handle] = deque()
        self._is_active = False
        self._stopped = 0
        self.is_dead = False
        self._numbers = count()

    # --- what the simulation does to it -------------------------------------------------------

    def run_once(self) -> None:
        """Run the callbacks that are ready now, as one iteration of a real loop."""
        self._is_active = False
        for _ in range(len(self._ready)):
            if self._stopped or not self._ready:
                return
            handle = self._ready.popleft()
            if not handle.cancelled():
                handle._run()
        self._activate()

    def stop_for(self, seconds: float) -> None:
        """Run nothing for so long, like a blocked loop or a process after SIGSTOP."""
        self._stopped += 1
        self._timeline.later(seconds, self._go_on)

    def _go_on(self) -> None:
        self._stopped -= 1
        if not self._stopped:
            # A real loop reads its sockets first, then looks at its timers.
            self._ready.extend(self._expired)
            self._expired.clear()
            self._activate()

    def kill(self) -> list[asyncio.Task[Any]]:
        """Stop for good; return the tasks that have not ended."""
        self.is_dead = True
        self._stopped += 1
        self._ready.clear()
        self._expired.clear()
        return [task for task in asyncio.all_tasks(self) if not task.done()]

    def _activate(self) -> None:
        if self._ready and not self._is_active and not self._stopped:
            self._is_active = True
            self._timeline.activate(self)

    # --- what asyncio asks of it --------------------------------------------------------------

    def time(self) -> float:
        return self._timeline.now * self._rate + self._offset_s

    def call_soon(
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        if not self.is_dead:
            self._ready.append(handle)
            self._activate()
        return handle

    call_soon_threadsafe = call_soon

    def call_later(
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        self._timeline.at((when - self._offset_s) / self._rate, self._expire, timer, timer=timer)
        return timer

    def _expire(self, timer: asyncio.TimerHandle) -> None:
        if self.is_dead:
            return
        if self._stopped:
            self._expired.append(timer)
        else:
            self._ready.append(timer)
            self._activate()

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """The timeline skips it."""

    def create_future(self) -> "asyncio.Future[Any]":
        return asyncio.Future(loop=self)

    def create_task(
        self,
        coro: Any,
        *,
        name: str | None = None,
        context: Context | None = None,
        **options: Any,
    ) -> "asyncio.Task[Any]":
        # The number first: the constructor already puts the task into a set.
        task: NumberedTask[Any] = NumberedTask.__new__(NumberedTask)
        task.number = next(self._numbers)
        task.__init__(coro, loop=self, name=name, context=context, **options)  # type: ignore[misc]
        return task

    def run_in_executor(
        self, executor: object, func: Callable[..., Any], *args: Any
    ) -> "asyncio.Future[Any]":
        """Call the function a moment later; it must not wait."""
        future = self.create_future()
        self._timeline.later(0.0, self._execute, future, func, args)
        return future

    def _execute(self, future: "asyncio.Future[Any]", func: Callable[..., Any], args: Any) -> None:
        if not self.is_dead:
            self.call_soon(_set, future, func(*args))

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        task, error = context.get("task") or context.get("future"), context.get("exception")
        name = getattr(getattr(task, "get_coro", lambda: task)(), "__qualname__", "")
        where = getattr(self.process, "name", "")
        self._timeline.faults.append(f"{context['message']} in {where}: {name} {error!r}")


def _set(future: "asyncio.Future[Any]", result: object) -> None:
    if not future.done():
        future.set_result(result)


def run_now(work: Coroutine[Any, Any, Result]) -> Result:
    """Return the result of a coroutine that does not wait."""
    try:
        work.send(None)
    except StopIteration as end:
        result: Result = end.value
        return result
    work.close()
    raise AssertionError("the coroutine waits for something")
