"""The console script: which command is meant, and what its end means to the shell.

Imports as little as it can: `--help` must be quick, so the rest is imported by `process`.
"""

import errno
import gc
import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper

from twelvefold.cli.parser import build_parser

GC_OBJECTS = 100_000
CLOSED_PIPE = 141
"""As if the signal SIGPIPE had ended the process, which is what a shell expects."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    _open_streams()
    try:
        status = _called(argv)
        sys.stdout.flush()
    except KeyboardInterrupt:  # before there is anything to end
        return 130
    except OSError as error:
        from twelvefold.cli.output import NO_OUTPUT

        if error.errno not in NO_OUTPUT:
            raise
        # The interpreter must not try to flush once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno == errno.EPIPE:  # whoever read has read enough
            return CLOSED_PIPE
        print(f"twelvefold: what came of it cannot be written: {error.strerror}", file=sys.stderr)
        return 1
    return status


def _open_streams() -> None:
    """Have somewhere to write: `>&-` leaves nothing, and a terminal cannot show everything."""
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115 - open to the end
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115 - open to the end
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")


def _called(argv: Sequence[str] | None) -> int:
    try:
        arguments = vars(build_parser().parse_args(argv))
    except SystemExit as stop:  # after --help, and after bad usage
        return int(stop.code or 0)
    handler, parser = arguments.pop("handler"), arguments.pop("parser")
    if handler is None:
        parser.print_help(sys.stderr)
        return 2

    # Hundreds of modules are all kept: to look for garbage among them every 700 objects, the
    # default, is a sixth of what a start costs.
    gc.set_threshold(GC_OBJECTS)
    from twelvefold.cli.command import call, take_over

    if argv is None:  # no other program has started the command within its own process
        take_over()
    return call(handler, arguments)
