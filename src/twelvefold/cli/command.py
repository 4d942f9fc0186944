"""What every command has in common: settings and logs at its start, signals, errors at its end."""

import asyncio
import resource
import signal
import sys
import traceback
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TextIO

from twelvefold.admin.migrate import prepare
from twelvefold.boot import environment, open_services, release_of
from twelvefold.cli.dotenv import read_dotenv
from twelvefold.cli.output import NO_OUTPUT, tell
from twelvefold.cli.signals import end_by_force
from twelvefold.config import Settings, misspelt, unused
from twelvefold.engine.services import Services
from twelvefold.engine.shield import ExitLimit
from twelvefold.errors import (
    Conflict,
    ModelUnavailable,
    RequestError,
    SettingsError,
    StaleRun,
    StoreUnavailable,
    TooLate,
    TwelvefoldError,
    WorkflowError,
)
from twelvefold.observe.log import Threshold, get_logger, start_logging
from twelvefold.observe.uncaught import log_uncaught

log = get_logger(__name__)
P = ParamSpec("P")
DONE, FAILED, BAD_USAGE, TRY_AGAIN, INTERRUPTED = 0, 1, 2, 75, 130
_STATUS_OF: tuple[tuple[type[TwelvefoldError], int], ...] = (
    (StaleRun, TRY_AGAIN),
    (StoreUnavailable, TRY_AGAIN),
    (ModelUnavailable, TRY_AGAIN),
    (TooLate, FAILED),
    (Conflict, TRY_AGAIN),
    (SettingsError, BAD_USAGE),
    (WorkflowError, BAD_USAGE),
    (RequestError, BAD_USAGE),
)


def call(handler: str, arguments: Mapping[str, Any]) -> int:
    """Call a command's function; what it raises becomes a sentence and an exit status."""
    _log_before_settings()
    try:
        given = read_dotenv(Path(".env"))
        for sentence in misspelt(given):
            tell(f".env: {sentence}")
        environ = {**given, **environment()}
        for sentence in unused(environ):
            tell(sentence)
        module, _, name = handler.partition(":")
        status = int(getattr(import_module(module), name)(environ, **arguments))
    except TwelvefoldError as error:
        status, sentences = complaint(error)
        for sentence in sentences:
            tell(sentence)
    except (KeyboardInterrupt, asyncio.CancelledError):
        return INTERRUPTED
    except Exception as error:
        if isinstance(error, OSError) and error.errno in NO_OUTPUT:
            raise
        log.exception("unexpected_error")
        if sys.stderr.isatty():  # where nothing is logged unless LOG_LEVEL is set
            tell(f"an error that was not expected, {_described(error)}")
        return FAILED
    return status


def take_over() -> None:
    """Set up a process that runs one command and nothing else, for its whole life."""
    log_uncaught()
    # A core dump holds keys and prompts. An operator can raise the limit again with `prlimit`.
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    with suppress(OSError, ValueError):  # a sandbox may forbid it, and then sets its own
        resource.setrlimit(resource.RLIMIT_CORE, (0, most))


def _log_before_settings() -> None:
    """Send warnings to standard error until `begin` knows the settings; nothing to a terminal."""
    is_terminal = sys.stderr.isatty()
    start_logging(sys.stderr, level="none" if is_terminal else "warning")


def _described(error: Exception) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{frame.filename}, line {frame.lineno}"
    return f"{type(error).__name__}: {error} ({where}); LOG_LEVEL=error shows how it came to it"


def complaint(error: TwelvefoldError) -> tuple[int, tuple[str, ...]]:
    """The exit status that an error means, and what to tell of it: a sentence a problem."""
    status = next((status for kind, status in _STATUS_OF if isinstance(error, kind)), FAILED)
    return status, error.problems if isinstance(error, SettingsError) else (str(error),)


def begin(
    environ: Mapping[str, str], *, level: Threshold | None = None, stream: TextIO | None = None
) -> Settings:
    """Read the settings and send the log to standard error, or elsewhere. Raises SettingsError.

    `level` keeps what is said below it out of a conversation, unless LOG_LEVEL asks for it.
    """
    settings, stream = Settings.from_environ(environ), stream or sys.stderr
    start_logging(
        stream,
        format=settings.log_format or ("text" if stream.isatty() else "json"),
        level=settings.log_level if level is None or environ.get("LOG_LEVEL") else level,
        release=release_of(settings),
        colour=has_colour(stream, environ),
    )
    return settings


def has_colour(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether colour is wanted there. Source: no-color.org."""
    return stream.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"


@asynccontextmanager
async def ready_services(
    settings: Settings, *, with_model: bool = True, limit: ExitLimit | None = None
) -> AsyncIterator[Services]:
    """The services, the database being fit for them. Raises SettingsError if it is not.

    `limit` is the process's own, which begins with SIGTERM.
    """
    async with open_services(settings, with_model=with_model) as services:
        await prepare(settings, services)
        yield replace(services, exit_limit=limit or services.exit_limit)


@dataclass(frozen=True, slots=True)
class CommandContext:
    """What a command works with."""

    environ: Mapping[str, str]
    settings: Settings
    services: Services


Work = Callable[Concatenate[CommandContext, P], Coroutine[Any, Any, int]]


def command(
    *, with_model: bool = False, prepared: bool = True
) -> Callable[[Work[P]], Callable[Concatenate[Mapping[str, str], P], int]]:
    """Make a command of an async function: open the services for it, and wait for its end.

    Unless `prepared`, the database is not checked. On a terminal nothing is logged unless LOG_LEVEL
    is set: errors are printed as sentences. Elsewhere a command without a model logs warnings.
    """

    def made(function: Work[P]) -> Callable[Concatenate[Mapping[str, str], P], int]:
        def called(environ: Mapping[str, str], /, *args: P.args, **kwargs: P.kwargs) -> int:
            settings = begin(environ, level=_level(with_model=with_model))
            limit = ExitLimit()

            async def work() -> int:
                opened = partial(ready_services, limit=limit) if prepared else open_services
                async with opened(settings, with_model=with_model) as services:
                    return await function(
                        CommandContext(environ, settings, services), *args, **kwargs
                    )

            return run_async(work(), grace_s=settings.grace_s, limit=limit)

        return called

    return made


def _level(*, with_model: bool) -> Threshold | None:
    if sys.stderr.isatty():
        return "none"
    return None if with_model else "warning"


def run_async(
    work: Coroutine[Any, Any, int], *, grace_s: float, limit: ExitLimit | None = None
) -> int:
    """Run a command that waits for services; SIGTERM and SIGINT cancel it, once.

    After a SIGTERM it has `grace_s` to end, and a moment to let go; `limit` begins then. A second
    one, or the end of that, ends the process at once, like a crash.
    """
    with asyncio.Runner() as runner:
        return runner.run(_until_sigterm(work, grace_s, limit or ExitLimit()))


async def _until_sigterm(work: Coroutine[Any, Any, int], grace_s: float, limit: ExitLimit) -> int:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()

    def stop() -> None:
        loop.remove_signal_handler(signal.SIGTERM)
        end_by_force(grace_s)
        limit.begin(grace_s)
        if task is not None:
            task.cancel()

    loop.add_signal_handler(signal.SIGTERM, stop)
    try:
        return await work
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
