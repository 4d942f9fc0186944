"""A Python prompt with the services at hand; `await` works at its top level."""

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

from twelvefold.engine.services import Services
from twelvefold.observe.escape import escape_prose


async def open_shell(services: Services, banner: str) -> None:
    """Read statements from standard input until it ends, and run them in this event loop."""
    names = {"services": services, "store": services.store, "workflows": services.workflows}
    loop = asyncio.get_running_loop()
    over: asyncio.Future[None] = loop.create_future()
    shell = Shell(names, loop)

    def talk() -> None:
        try:
            shell.interact(banner=banner, exitmsg="")
        except SystemExit:
            pass
        finally:
            loop.call_soon_threadsafe(over.set_result, None)

    # A daemon, since a thread that waits for a line cannot be asked to end.
    threading.Thread(target=talk, name="shell", daemon=True).start()
    loop.add_signal_handler(signal.SIGINT, shell.interrupt)
    try:
        await over
    finally:
        loop.remove_signal_handler(signal.SIGINT)


class Shell(code.InteractiveConsole):
    """Reads in its own thread, runs what it read in the loop of the services.

    Source: `python -m asyncio` has a prompt that works in the same way.
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
        """End the statement that runs, as Ctrl-C does at any other prompt."""
        if self._running is not None:
            self._running.cancel()

    async def _run(self, code: CodeType) -> BaseException | None:
        self._running = asyncio.current_task()
        try:
            result = FunctionType(code, self._names)()
            if inspect.isawaitable(result):
                await result
        except BaseException as error:  # whatever it is, it belongs to the prompt
            return error
        finally:
            self._running = None
        return None

    def _show(self, error: BaseException) -> None:
        # The hook for uncaught exceptions keeps messages out of the log; this is no log.
        self.write(escape_prose("".join(traceback.format_exception(error))))
