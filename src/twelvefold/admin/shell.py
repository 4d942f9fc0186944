"""A Python prompt with the services; `await` works at its top level."""

import ast
import asyncio
import code
import inspect
import signal
import threading
import traceback
from collections.abc import Mapping
from types import CodeType, FunctionType
from typing import Any

from twelvefold.engine import Services
from twelvefold.observe.escape import escape_prose


async def open_shell(services: Services, banner: str) -> None:
    """Run statements from standard input in this event loop until the input ends."""
    names = {"services": services, "store": services.store, "workflows": services.workflows}
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()
    shell = Shell(names, loop)

    def interact() -> None:
        try:
            shell.interact(banner=banner, exitmsg="")
        except SystemExit:
            pass
        finally:
            loop.call_soon_threadsafe(ended.set_result, None)

    # A daemon thread: a thread that waits for a line cannot be stopped.
    threading.Thread(target=interact, name="shell", daemon=True).start()
    loop.add_signal_handler(signal.SIGINT, shell.interrupt)
    try:
        await ended
    finally:
        loop.remove_signal_handler(signal.SIGINT)


class Shell(code.InteractiveConsole):
    """A console that reads in its own thread and runs statements in the services' event loop.

    Source: the prompt of `python -m asyncio` works in the same way.
    """

    def __init__(self, names: Mapping[str, Any], loop: asyncio.AbstractEventLoop) -> None:
        self._names = {"__name__": "__console__", "__doc__": None, **names}
        super().__init__(self._names)
        self.compile.compiler.flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        self._loop = loop
        self._running: asyncio.Task[Any] | None = None

    def runcode(self, code: CodeType) -> None:
        error = asyncio.run_coroutine_threadsafe(self._run(code), self._loop).result()
        if isinstance(error, SystemExit):
            raise error
        if error is not None:
            self._show(error)

    def interrupt(self) -> None:
        """Cancel the current statement."""
        if self._running is not None:
            self._running.cancel()

    async def _run(self, code: CodeType) -> BaseException | None:
        self._running = asyncio.current_task()
        try:
            result = FunctionType(code, self._names)()
            if inspect.isawaitable(result):
                await result
        except BaseException as error:  # the prompt shows it
            return error
        finally:
            self._running = None
        return None

    def _show(self, error: BaseException) -> None:
        # Unlike a log, the prompt may show the message.
        self.write(escape_prose("".join(traceback.format_exception(error))))
