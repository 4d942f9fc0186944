"""SQLAlchemy's ORM session in the thread of a tool; imported only when a tool uses it.

SQLAlchemy switches to another greenlet when it awaits the driver. Here that greenlet is in the same
thread, and lets the event loop run the statement. `__sqlalchemy_greenlet_provider__` is no public
API: `tests/services/store/contract/test_sync_session.py` fails if it changes.
"""

import inspect
import sys
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any

from greenlet import getcurrent, greenlet  # type: ignore[import-untyped]  # it has no types
from sqlalchemy.orm import Session

from twelvefold.core import BlockingWait


def call_blocking(function: Callable[[], object], wait: BlockingWait) -> object:
    """Call a function in this thread. `wait` runs each coroutine that SQLAlchemy awaits in it."""
    context = _BlockingGreenlet(function)
    context.gr_context = getcurrent().gr_context  # the context variables of this thread
    result = context.switch()
    while not context.dead:
        try:
            answer = _wait_for(result, wait)
        except BaseException:
            result = context.throw(*sys.exc_info())
        else:
            result = context.switch(answer)
    return result


def _wait_for(coroutine: Coroutine[Any, Any, Any], wait: BlockingWait) -> Any:
    try:
        return wait(lambda: coroutine)
    except BaseException:
        if inspect.getcoroutinestate(coroutine) == inspect.CORO_CREATED:
            coroutine.close()  # it was refused
        raise


class _BlockingGreenlet(greenlet):  # type: ignore[misc]  # it has no types
    """The greenlet of SQLAlchemy's `greenlet_spawn`, for a thread without an event loop."""

    __sqlalchemy_greenlet_provider__ = True


class BlockingSession(Session):
    """`SavepointSession` for a function in a thread."""

    def close(self) -> None:
        if self.in_transaction() and self.is_active:
            self.commit()
        super().close()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self.rollback()
        self.close()
