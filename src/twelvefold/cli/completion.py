"""`twelvefold completion`: the completion script of a shell, made from the parser."""

import argparse
import re
from collections.abc import Mapping

from twelvefold.cli.command import DONE
from twelvefold.cli.help_texts import COMPLETION_EPILOG
from twelvefold.cli.parser import build_parser
from twelvefold.cli.subcommands import Parser

FILES = ("FILE_OR_URL", "F")
"""The metavars of arguments that take a file."""
USAGE = re.compile(r"^# Usage:\n(?:#.*\n)+", re.MULTILINE)
"""The comment of shtab that says where to put a script."""


def completion(environ: Mapping[str, str], *, shell: str) -> int:
    """Print the completion script of a shell."""
    import shtab

    parser = build_parser()
    _add_arguments(parser)
    for action in _actions(parser):
        if action.metavar in FILES:
            action.complete = shtab.FILE  # type: ignore[attr-defined] # read by shtab
    print(USAGE.sub(lambda _: _usage(shell), shtab.complete(parser, shell), count=1))
    return DONE


def _usage(shell: str) -> str:
    """Return a comment that has the command of the help that installs the script."""
    [install] = (line for line in COMPLETION_EPILOG.splitlines() if f"completion {shell} " in line)
    return f"# Install it with:\n# {install}\n"


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of all commands, which are otherwise added on use."""
    if isinstance(parser, Parser) and parser.add_arguments:
        parser.add_arguments(parser)
    for command in _commands(parser):
        _add_arguments(command)


def _actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    below = [action for command in _commands(parser) for action in _actions(command)]
    return [*parser._actions, *below]


def _commands(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    return [
        command
        for action in parser._actions
        if isinstance(action, argparse._SubParsersAction)
        for command in action.choices.values()
    ]
