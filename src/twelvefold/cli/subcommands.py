"""An argparse parser with subcommands that add their arguments only when they are used.

Imports nothing that `--help` can do without.
"""

import argparse
import os
import re
from collections.abc import Callable

TYPE_CHECKING = False  # importing typing would take a third of the time of `--help`
if TYPE_CHECKING:
    from typing import Any, NoReturn

MAX_WIDTH = 100


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Formats help for the width of the terminal, at most `MAX_WIDTH`, without importing shutil."""

    def __init__(self, prog: str) -> None:
        try:
            columns = os.get_terminal_size().columns
        except OSError:
            columns = MAX_WIDTH
        super().__init__(prog, width=min(columns, MAX_WIDTH) - 2)


class Parser(argparse.ArgumentParser):
    """A parser that adds its arguments on use and suggests a command for a misspelt one."""

    add_arguments: "AddArguments | None" = None
    commands: tuple[str, ...] = ()

    def parse_known_args(self, args: "Any" = None, namespace: "Any" = None) -> "Any":
        if self.add_arguments:
            self.add_arguments(self)
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> "NoReturn":
        unknown = re.search(r"invalid choice: '([^']*)'", message)
        if unknown and "COMMAND" in message:
            message = f"unknown command {unknown[1]!r}; {self._suggest(unknown[1])}"
        self.exit(2, f"{self.prog}: {message}\nTry: {self.prog} --help\n")

    def _suggest(self, word: str) -> str:
        from difflib import get_close_matches

        # By similarity alone, `help` would be near to `shell`.
        candidates = [one for one in self.commands if one[0] == word[:1]]
        close = get_close_matches(word, candidates, n=1)
        return (
            f"did you mean {close[0]!r}?" if close else f"commands are {', '.join(self.commands)}"
        )


AddArguments = Callable[[Parser], None]


class Commands:
    """The commands below a parser. Without a command, the parser prints its help."""

    def __init__(self, parser: Parser) -> None:
        parser.set_defaults(handler=None, parser=parser)
        self._parser = parser
        self._commands = parser.add_subparsers(
            title="commands", metavar="COMMAND", parser_class=Parser
        )

    def add(
        self,
        name: str,
        handler: str | None,
        summary: str,
        add_arguments: AddArguments | None = None,
        epilog: str = "",
    ) -> None:
        """Add a command; `handler` is its function as module:function."""
        self._parser.commands += (name,)
        command = self._commands.add_parser(
            name,
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.",
            epilog=epilog,
            formatter_class=HelpFormatter,
            allow_abbrev=False,
            add_help=False,  # argparse would search a translation of its text for each command
        )
        command.add_arguments = _with_help(add_arguments)
        command.set_defaults(handler=handler)


def _with_help(add_arguments: AddArguments | None) -> AddArguments:
    def add(command: Parser) -> None:
        command.add_argument("-h", "--help", action="help", help="show this help message and exit")
        if add_arguments:
            add_arguments(command)

    return add
