"""The commands, their arguments and their help; imports nothing that a help text can do without.

Each command's `handler` names its function as module:function, which `main` calls with the
environment and, by name, the arguments.
"""

import argparse
import os
import re
from collections.abc import Callable

from twelvefold import __version__
from twelvefold.cli.help_texts import (
    APPROVE_EPILOG,
    CHAT_EPILOG,
    DESCRIPTION,
    EPILOG,
    FACTORS_EPILOG,
    KEYS_EPILOG,
    OUTBOX_EPILOG,
    PRUNE_EPILOG,
    RUN_EPILOG,
    SETTLE_EPILOG,
    WEB_EPILOG,
    WORKER_EPILOG,
)

TYPE_CHECKING = False  # as in typing, whose import would be a third of what `--help` costs
if TYPE_CHECKING:
    from typing import Any, NoReturn

SCOPES = ("runs", "approve")
WIDTH = 100
UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
SETTLEMENTS = (("done", "it happened"), ("retry", "try it again"), ("failed", "it did not"))
LETTER_STATES = ("waiting", "sent", "dead")
STATUSES = ("queued", "running", "waiting", "completed", "incomplete", "failed", "cancelled")


class Help(argparse.RawDescriptionHelpFormatter):
    """As wide as the terminal, up to `WIDTH`, and asks for that without importing shutil."""

    def __init__(self, prog: str) -> None:
        try:
            columns = os.get_terminal_size().columns
        except OSError:
            columns = WIDTH
        super().__init__(prog, width=min(columns, WIDTH) - 2)


class Parser(argparse.ArgumentParser):
    """Adds its arguments when they are needed, and says which command may have been meant."""

    fill: "Fill | None" = None
    commands: tuple[str, ...] = ()

    def parse_known_args(self, args: "Any" = None, namespace: "Any" = None) -> "Any":
        if self.fill:
            self.fill(self)
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> "NoReturn":
        unknown = re.search(r"invalid choice: '([^']*)'", message)
        if unknown and "COMMAND" in message:
            message = f"there is no command {unknown[1]!r}{self._meant(unknown[1])}"
        self.exit(2, f"{self.prog}: {message}\nTry: {self.prog} --help\n")

    def _meant(self, word: str) -> str:
        from difflib import get_close_matches

        close = get_close_matches(word, self.commands, n=1, cutoff=0.5)
        return (
            f"; did you mean {close[0]!r}?" if close else f"; there are {', '.join(self.commands)}"
        )


Fill = Callable[[Parser], None]


class Commands:
    """The commands below a parser; without one of them it shows its help."""

    def __init__(self, parser: Parser) -> None:
        parser.set_defaults(handler=None, parser=parser)
        self._parser = parser
        self._commands = parser.add_subparsers(
            title="commands", metavar="COMMAND", parser_class=Parser
        )

    def add(
        self, name: str, handler: str | None, does: str, fill: Fill | None = None, epilog: str = ""
    ) -> None:
        """A command; `fill` adds its arguments, if it is the one that was called."""
        self._parser.commands += (name,)
        made = self._commands.add_parser(
            name,
            help=does,
            description=f"{does[0].upper()}{does[1:]}.",
            epilog=epilog,
            formatter_class=Help,
            allow_abbrev=False,
        )
        made.fill = fill
        made.set_defaults(handler=handler)


def build_parser() -> Parser:
    """The whole command line."""
    top = Parser(
        prog="twelvefold",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=Help,
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"twelvefold {__version__}")
    commands = Commands(top)
    home = "twelvefold.cli"
    commands.add(
        "chat", f"{home}.chat.command:chat", "talk with a workflow", _fill_chat, CHAT_EPILOG
    )
    commands.add("run", f"{home}.run:run", "run one turn of a workflow", _fill_run, RUN_EPILOG)
    commands.add("web", f"{home}.web:web", "serve the OpenAI API and the page", None, WEB_EPILOG)
    does = "drive background runs and send mail"
    commands.add("worker", f"{home}.worker:worker", does, None, WORKER_EPILOG)
    commands.add("runs", None, "look at runs and act on them", _fill_runs)
    commands.add("outbox", None, "look at mail and send it again", _fill_outbox, OUTBOX_EPILOG)
    commands.add("keys", None, "make, list and revoke API keys", _fill_keys)
    home += ".admin"
    commands.add("migrate", f"{home}:migrate", "bring the database to this release", _fill_migrate)
    commands.add("seed", f"{home}:seed", "fill a workflow's tables", _fill_seed)
    commands.add("settings", f"{home}:settings", "list every setting and its value", _fill_json)
    commands.add("doctor", f"{home}:doctor", "look whether everything is fit to work", _fill_json)
    does = "say which release this is, and which were put in place before"
    commands.add("version", "twelvefold.cli.version:version", does, _fill_version)
    does = "try each of the twelve factors on this release"
    commands.add("factors", "twelvefold.cli.factors:factors", does, _fill_factors, FACTORS_EPILOG)
    does = "remove conversations that are over"
    commands.add("prune", f"{home}:prune", does, _fill_prune, PRUNE_EPILOG)
    commands.add("shell", f"{home}:shell", "open a Python prompt with the services at hand")
    return top


def _fill_chat(chat: Parser) -> None:
    _fill_turn(chat)
    chat.add_argument("--sample", action="store_true", help="play the sample conversation and end")


def _fill_run(run: Parser) -> None:
    _fill_turn(run)
    run.add_argument("text", metavar="TEXT", help="what is said; - reads standard input")
    _fill_json(run, "print the outcome as JSON")


def _fill_turn(turn: Parser) -> None:
    _fill_workflow(turn)
    turn.add_argument("--thread", metavar="T", help="the conversation to go on with")
    _fill_principal(turn, "on whose behalf")


def _fill_runs(parser: Parser) -> None:
    runs = Commands(parser)
    home = "twelvefold.cli.runs"
    runs.add("list", f"{home}:list_runs", "list the newest runs", _fill_list)
    runs.add("show", f"{home}:show", "show a run and what was said in it", _fill_id)
    runs.add("events", f"{home}:events", "print a run's journal, a line an entry", _fill_events)
    runs.add("export", f"{home}:export", "write a whole conversation as JSON Lines", _fill_id)
    runs.add("fork", f"{home}:fork", "begin another conversation at an earlier entry", _fill_fork)
    home = "twelvefold.cli.acts"
    runs.add("cancel", f"{home}:cancel_run", "end a run now", _fill_id)
    runs.add("resume", f"{home}:resume", "go on with a run that nobody drives", _fill_id)
    approve = "answer a call that waits for a person"
    runs.add("approve", f"{home}:approve", approve, _fill_approve, APPROVE_EPILOG)
    settle = "say what became of a call"
    runs.add("settle", f"{home}:settle_call", settle, _fill_settle, SETTLE_EPILOG)


def _fill_list(command: Parser) -> None:
    command.add_argument("--status", choices=STATUSES, help="only those")
    _fill_limit(command)
    _fill_json(command)


def _fill_limit(command: Parser) -> None:
    command.add_argument(
        "--limit", type=_count, default=20, metavar="N", help="how many; default 20"
    )


def _fill_outbox(parser: Parser) -> None:
    outbox = Commands(parser)
    home = "twelvefold.cli.outbox"
    outbox.add("list", f"{home}:list_letters", "list the newest letters", _fill_letters)
    outbox.add("retry", f"{home}:retry", "send letters that have not left now", _fill_retry)


def _fill_letters(command: Parser) -> None:
    command.add_argument("--state", choices=LETTER_STATES, help="only those")
    _fill_limit(command)
    _fill_json(command)


def _fill_retry(command: Parser) -> None:
    which = command.add_mutually_exclusive_group(required=True)
    # With a default, since one that is required may not be in such a group.
    which.add_argument("ids", metavar="ID", nargs="*", default=(), help="as `outbox list` has it")
    which.add_argument("--dead", action="store_true", help="all that are dead")


def _fill_id(command: Parser) -> None:
    command.add_argument("run_id", metavar="ID", help="resp_…, or conv_… for its last run")


def _fill_events(command: Parser) -> None:
    _fill_id(command)
    command.add_argument("--follow", action="store_true", help="go on until the run is over")


def _fill_fork(command: Parser) -> None:
    command.add_argument("place", metavar="ID@N", help="a conversation or run, an entry's number")


def _fill_approve(command: Parser) -> None:
    _fill_id(command)
    command.add_argument("--deny", action="store_true", help="do not allow it")
    command.add_argument("--reason", default="", metavar="TEXT", help="the model reads it")
    _fill_act(command)


def _fill_settle(command: Parser) -> None:
    _fill_id(command)
    outcome = command.add_mutually_exclusive_group(required=True)
    for word, does in SETTLEMENTS:
        outcome.add_argument(
            f"--{word}", action="store_const", const=word, dest="settled", help=does
        )
    command.add_argument("--result", default="", metavar="TEXT", help="the model reads it")
    _fill_act(command)


def _fill_act(command: Parser) -> None:
    # Always: by the time of the answer another call may wait, which nobody has looked at.
    command.add_argument("--call", required=True, metavar="C", help="which, as in 12.0")
    command.add_argument("--detach", action="store_true", help="do not go on with the run here")
    _fill_principal(command, "who says so")


def _fill_keys(parser: Parser) -> None:
    keys = Commands(parser)
    home = "twelvefold.cli.keys"
    keys.add("create", f"{home}:create", "make a key and show it, once", _fill_key, KEYS_EPILOG)
    keys.add("list", f"{home}:list_keys", "list every key, without the keys themselves", _fill_json)
    keys.add("revoke", f"{home}:revoke", "end a key; the server sees it within seconds", _fill_end)


def _fill_key(command: Parser) -> None:
    command.add_argument(
        "name", metavar="NAME", type=_name, help="what it is for; each has its own"
    )
    command.add_argument(
        "--principal", metavar="P", type=_name, help="on whose behalf; default: the key's name"
    )
    command.add_argument(
        "--scope",
        action="append",
        choices=SCOPES,
        dest="scopes",
        help="what it may do; can be given twice; default: both",
    )


def _fill_end(command: Parser) -> None:
    command.add_argument("key_id", metavar="ID", help="as `keys list` shows it")


def _fill_migrate(command: Parser) -> None:
    command.add_argument("--sql", action="store_true", help="print the SQL and touch nothing")
    command.add_argument(
        "--since",
        default="base",
        metavar="REVISION",
        help="with --sql: where the database is, as `doctor` says; default: nothing is there yet",
    )


def _fill_version(command: Parser) -> None:
    command.add_argument(
        "--history", action="store_true", help="those that were put in place on the database"
    )
    _fill_limit(command)
    _fill_json(command)


def _fill_seed(command: Parser) -> None:
    _fill_workflow(command)
    command.add_argument(
        "--file", metavar="F", help="JSON Lines, .gz too; default: the workflow's own records"
    )


def _fill_factors(command: Parser) -> None:
    command.add_argument("numbers", metavar="N", nargs="*", help="I to XII; default: all")
    _fill_json(command)


def _fill_prune(command: Parser) -> None:
    command.add_argument(
        "--older-than",
        required=True,
        type=_seconds,
        dest="older_than_s",
        metavar="30d",
        help="a number and s, m, h, d or w",
    )


def _fill_json(command: Parser, does: str = "a JSON object a line") -> None:
    command.add_argument("--json", action="store_true", dest="as_json", help=does)


def _fill_workflow(command: Parser) -> None:
    command.add_argument(
        "--workflow", metavar="W", help="its name; default: the first of WORKFLOWS"
    )


def _fill_principal(command: Parser, does: str) -> None:
    command.add_argument(
        "--as",
        dest="principal",
        default="you",
        metavar="NAME",
        type=_name,
        help=f"{does}; default: you",
    )


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 10_000:
        raise argparse.ArgumentTypeError(f"{text!r}: use a whole number, 1 to 10000")
    return int(text)


def _name(text: str) -> str:
    # MySQL compares text without the spaces at its end: "ann" and "ann " would be the same.
    if not text or text != text.strip() or not text.isprintable() or len(text) > 255:
        what = "1 to 255 printable characters, without a space at either end"
        raise argparse.ArgumentTypeError(f"{text!r}: use {what}")
    return text


def _seconds(text: str) -> float:
    match = re.fullmatch(r"(\d{1,6})([smhdw])", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r}: use a number and s, m, h, d or w, as in 30d")
    return float(match[1]) * UNITS_S[match[2]]
