"""The console script: parse the command line, run the command, return its exit status.

`--help` must be fast, so this imports little; `cli.command` imports the rest.
"""

import errno
import gc
import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper

from twelvefold.cli.parser import build_parser

GC_THRESHOLD = 100_000
CLOSED_PIPE = 141
"""The status that shells report for a process ended by SIGPIPE."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    _open_streams()
    try:
        status = _run_command(argv)
        sys.stdout.flush()
    except KeyboardInterrupt:  # while starting, when there is nothing to clean up
        return 130
    except OSError as error:
        from twelvefold.cli.output import NO_OUTPUT

        if error.errno not in NO_OUTPUT:
            raise
        # Otherwise the interpreter flushes again at exit and fails.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno == errno.EPIPE:
            return CLOSED_PIPE
        print(f"twelvefold: cannot write the output: {error.strerror}", file=sys.stderr)
        return 1
    return status


def _open_streams() -> None:
    """Replace streams closed by `>&-`, and characters that a terminal's encoding lacks."""
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115 - open until exit
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115 - open until exit
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")


def _run_command(argv: Sequence[str] | None) -> int:
    try:
        arguments = vars(build_parser().parse_args(argv))
    except SystemExit as stop:  # after --help, and after bad usage
        return int(stop.code or 0)
    handler, parser = arguments.pop("handler"), arguments.pop("parser")
    if handler is None:
        parser.print_help(sys.stderr)
        return 2

    # Imported modules are never garbage. Collecting every 700 objects, the default, takes a sixth
    # of the start.
    gc.set_threshold(GC_THRESHOLD)
    from twelvefold.cli.command import call_handler, set_up_process

    if argv is None:  # not called by another program within its own process
        set_up_process()
    return call_handler(handler, arguments)
