"""What all commands share: settings and logging at the start, signals, errors as exit statuses."""

import asyncio
import resource
import signal
import sys
import traceback
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TextIO

from msgspec import Struct

from twelvefold.app.opening import open_checked_services
from twelvefold.boot import open_services, read_environment, release_of
from twelvefold.cli.dotenv import read_dotenv
from twelvefold.cli.output import NO_OUTPUT, print_notice
from twelvefold.cli.signals import schedule_forced_exit
from twelvefold.config import Settings, key_variables, misspelt, unused
from twelvefold.engine import ExitLimit, Services
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
_EXIT_STATUSES: tuple[tuple[type[TwelvefoldError], int], ...] = (
    (StaleRun, TRY_AGAIN),
    (StoreUnavailable, TRY_AGAIN),
    (ModelUnavailable, TRY_AGAIN),
    (TooLate, FAILED),
    (Conflict, TRY_AGAIN),
    (SettingsError, BAD_USAGE),
    (WorkflowError, BAD_USAGE),
    (RequestError, BAD_USAGE),
)


def call_handler(handler: str, arguments: Mapping[str, Any]) -> int:
    """Call a command's function and return its exit status; an error is printed as a message."""
    _start_early_logging()
    try:
        dotenv, process = read_dotenv(Path(".env")), read_environment()
        environ = {**dotenv, **process}
        for warning in _warnings(dotenv, process):
            print_notice(warning)
        module, _, name = handler.partition(":")
        return int(getattr(import_module(module), name)(environ, **arguments))
    except TwelvefoldError as error:
        status, messages = describe_error(error)
        for message in messages:
            print_notice(message)
        return status
    except (KeyboardInterrupt, asyncio.CancelledError):
        return INTERRUPTED
    except Exception as error:
        if isinstance(error, OSError) and error.errno in NO_OUTPUT:
            raise
        log.exception("unexpected_error")
        if sys.stderr.isatty():  # a terminal shows no log unless LOG_LEVEL is set
            print_notice(_unexpected_error_text(error))
        return FAILED


def _warnings(dotenv: Mapping[str, str], process: Mapping[str, str]) -> Iterator[str]:
    """Return warnings about the variables of `.env` and of the environment."""
    keys = key_variables({**dotenv, **process})
    for warning in misspelt(dotenv, keys):
        yield f".env: {warning}"
    for warning in misspelt(sorted(process.keys() - dotenv.keys()), keys):
        yield f"environment: {warning}"
    yield from unused({**dotenv, **process})


def set_up_process() -> None:
    """Set up a process that runs one command: hooks for uncaught errors, no core dumps."""
    log_uncaught()
    # A core dump holds keys and prompts. An operator can raise the limit again with `prlimit`.
    _, hard_limit = resource.getrlimit(resource.RLIMIT_CORE)
    with suppress(OSError, ValueError):  # a sandbox may forbid it
        resource.setrlimit(resource.RLIMIT_CORE, (0, hard_limit))


def _start_early_logging() -> None:
    """Log warnings to standard error until `configure` reads the settings; not to a terminal."""
    is_terminal = sys.stderr.isatty()
    start_logging(sys.stderr, level="none" if is_terminal else "warning")


def _unexpected_error_text(error: Exception) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{frame.filename}, line {frame.lineno}"
    return (
        f"unexpected {type(error).__name__}: {error} ({place}); LOG_LEVEL=error logs the traceback"
    )


def describe_error(error: TwelvefoldError) -> tuple[int, tuple[str, ...]]:
    """Return the exit status of an error, and its messages: one for each problem."""
    status = next((status for kind, status in _EXIT_STATUSES if isinstance(error, kind)), FAILED)
    return status, error.problems if isinstance(error, SettingsError) else (str(error),)


def configure(
    environ: Mapping[str, str], *, level: Threshold | None = None, stream: TextIO | None = None
) -> Settings:
    """Return the settings and start logging, by default to standard error.

    `level` applies unless LOG_LEVEL is set. `stream` is that of a server, which prints nothing
    else. Raises SettingsError.
    """
    settings, is_server, stream = Settings.from_environ(environ), bool(stream), stream or sys.stderr
    start_logging(
        stream,
        format=settings.log_format or ("text" if stream.isatty() else "json"),
        level=settings.log_level if level is None or environ.get("LOG_LEVEL") else level,
        release=release_of(settings),
        colour=has_colour(stream, environ),
        per_turn=is_server,
    )
    return settings


def has_colour(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Return whether to write colours to the stream. Source: no-color.org."""
    return stream.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"


class CommandContext(Struct, frozen=True):
    """What a command works with."""

    environ: Mapping[str, str]
    settings: Settings
    services: Services


Work = Callable[Concatenate[CommandContext, P], Coroutine[Any, Any, int]]


def command(
    *, with_model: bool = False, prepared: bool = True
) -> Callable[[Work[P]], Callable[Concatenate[Mapping[str, str], P], int]]:
    """Make a command of an async function, which gets open services in its `CommandContext`.

    Unless `prepared`, the database is not checked. On a terminal nothing is logged unless LOG_LEVEL
    is set: errors are printed as messages. Elsewhere a command without a model logs warnings.
    """

    def decorate(function: Work[P]) -> Callable[Concatenate[Mapping[str, str], P], int]:
        def run_command(environ: Mapping[str, str], /, *args: P.args, **kwargs: P.kwargs) -> int:
            settings = configure(environ, level=_default_level(with_model=with_model))
            limit = ExitLimit()

            async def work() -> int:
                opened = partial(open_checked_services, limit=limit) if prepared else open_services
                async with opened(settings, with_model=with_model) as services:
                    context = CommandContext(environ, settings, services)
                    return await function(context, *args, **kwargs)

            return run_async(work(), grace_s=settings.grace_s, limit=limit)

        return run_command

    return decorate


def _default_level(*, with_model: bool) -> Threshold | None:
    if sys.stderr.isatty():
        return "none"
    return None if with_model else "warning"


def run_async(
    work: Coroutine[Any, Any, int], *, grace_s: float, limit: ExitLimit | None = None
) -> int:
    """Run a coroutine and return its exit status. The first SIGTERM or SIGINT cancels it.

    SIGTERM also starts `limit`: `grace_s` seconds plus a margin. Then, or at a second signal, the
    process ends at once, as in a crash.
    """
    with asyncio.Runner() as runner:
        return runner.run(_cancel_on_sigterm(work, grace_s, limit or ExitLimit()))


async def _cancel_on_sigterm(
    work: Coroutine[Any, Any, int], grace_s: float, limit: ExitLimit
) -> int:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()

    def stop() -> None:
        loop.remove_signal_handler(signal.SIGTERM)
        schedule_forced_exit(grace_s)
        limit.begin(grace_s)
        if task is not None:
            task.cancel()

    loop.add_signal_handler(signal.SIGTERM, stop)
    try:
        return await work
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
