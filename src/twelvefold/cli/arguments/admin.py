"""The arguments of the commands of an administrator, and of mail, events and usage."""

from twelvefold.cli.arguments.common import (
    LOCAL,
    SECONDS_PER_UNIT,
    add_json,
    add_limit,
    add_workflow,
    parse_duration,
    parse_name,
)
from twelvefold.cli.subcommands import Commands, Parser

MESSAGE_STATES = ("waiting", "sent", "dead")
SHELLS = ("bash", "zsh", "fish")
USAGE_GROUPS = ("day", "workflow", "principal")


def add_usage(command: Parser) -> None:
    command.add_argument(
        "--by",
        action="append",
        default=[],
        choices=USAGE_GROUPS,
        help="a line for each of these; repeatable; default: day",
    )
    command.add_argument(
        "--since",
        type=parse_duration,
        default=7 * SECONDS_PER_UNIT["d"],
        dest="since_s",
        metavar="7d",
        help="how far back, in whole days, today included; default: 7d",
    )
    command.add_argument("--workflow", default="", metavar="W", help="only runs of this workflow")
    command.add_argument("--principal", default="", metavar="P", help="only runs of this principal")
    add_limit(command, default=1_000)
    add_json(command)


def add_outbox(parser: Parser) -> None:
    commands, outbox = Commands(parser), "twelvefold.cli.outbox"
    commands.add("list", f"{outbox}:list_messages", "list the newest messages", _add_messages)
    commands.add("retry", f"{outbox}:retry", "retry unsent messages now", _add_retry)


def _add_messages(command: Parser) -> None:
    command.add_argument("--state", choices=MESSAGE_STATES, help="only messages in this state")
    add_limit(command)
    add_json(command)


def _add_retry(command: Parser) -> None:
    selection = command.add_mutually_exclusive_group(required=True)
    # argparse allows no positional argument without a default in such a group.
    selection.add_argument("ids", metavar="ID", nargs="*", default=(), help="from `outbox list`")
    selection.add_argument("--dead", action="store_true", help="all dead messages")


def add_signal(command: Parser) -> None:
    command.add_argument("key", metavar="KEY", help="the name of the event")
    command.add_argument("payload", nargs="?", default="null", metavar="PAYLOAD", help="JSON")
    command.add_argument("--workflow", metavar="NAME", help="default: the only one in WORKFLOWS")
    command.add_argument(
        "--principal",
        default=LOCAL,
        metavar="NAME",
        type=parse_name,
        help=f"the principal whose runs wait; default: {LOCAL}",
    )


def add_migrate(command: Parser) -> None:
    command.add_argument("--sql", action="store_true", help="print the SQL, change nothing")
    command.add_argument(
        "--since",
        default="base",
        metavar="REVISION",
        help="with --sql: the database's revision, from `doctor`; default: an empty database",
    )
    command.add_argument(
        "--finish",
        action="store_true",
        help="no process of an older release works on the database any more",
    )


def add_version(command: Parser) -> None:
    command.add_argument(
        "--history", action="store_true", help="list the releases installed on the database"
    )
    add_limit(command)
    add_json(command)


def add_seed(command: Parser) -> None:
    add_workflow(command)
    command.add_argument(
        "--file", metavar="F", help="JSON Lines, also .gz; default: the workflow's own records"
    )


def add_completion(command: Parser) -> None:
    command.add_argument("shell", choices=SHELLS, help="the shell")


def add_factors(command: Parser) -> None:
    command.add_argument("numbers", metavar="N", nargs="*", help="I to XII; default: all")
    add_json(command)


def add_prune(command: Parser) -> None:
    command.add_argument(
        "--older-than",
        required=True,
        type=parse_duration,
        dest="older_than_s",
        metavar="30d",
        help="minimum age: a number and s, m, h, d or w",
    )
