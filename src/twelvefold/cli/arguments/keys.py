"""The arguments of `keys`."""

import argparse

from twelvefold.cli import help_texts as texts
from twelvefold.cli.arguments.common import (
    add_long_list,
    parse_count,
    parse_duration,
    parse_name,
)
from twelvefold.cli.subcommands import Commands, Parser

SCOPES = ("runs", "approve", "signal", "admin")


def add_keys(parser: Parser) -> None:
    commands, keys = Commands(parser), "twelvefold.cli.keys"
    create = "create a key and print it, once"
    commands.add("create", f"{keys}:create", create, _add_key, texts.KEYS_EPILOG)
    commands.add("list", f"{keys}:list_keys", "list keys without their secrets", add_long_list)
    rotate = "give a key a new secret and print it, once"
    commands.add("rotate", f"{keys}:rotate", rotate, _add_rotate)
    limit = "change the requests, runs and priority of a key"
    commands.add("limit", f"{keys}:limit", limit, _add_limit_key)
    revoke = "revoke a key; servers apply it within seconds"
    commands.add("revoke", f"{keys}:revoke", revoke, _add_revoke)


def _add_key(command: Parser) -> None:
    command.add_argument("name", metavar="NAME", type=parse_name, help="a unique name for the key")
    command.add_argument(
        "--principal",
        metavar="P",
        type=parse_name,
        help="the principal to act for; default: the name of the key",
    )
    command.add_argument(
        "--scope",
        action="append",
        choices=SCOPES,
        dest="scopes",
        help="what the key allows; repeatable; default: all but admin",
    )
    _add_expires(command, "the key is refused after this time; default: never")
    for name in ("workflow", "tool"):
        command.add_argument(
            f"--{name}",
            action="append",
            dest=f"{name}s",
            metavar="NAME",
            help=f"a {name} that the key allows; repeatable; default: all",
        )

    _add_share(command)


def _add_share(command: Parser) -> None:
    settings = "default: as the settings say"
    command.add_argument(
        "--rate-per-minute",
        type=parse_share,
        metavar="N",
        help=f"maximum requests a minute; {settings}",
    )
    command.add_argument(
        "--max-runs", type=parse_count, metavar="N", help=f"maximum runs at once; {settings}"
    )
    command.add_argument(
        "--priority",
        type=int,
        choices=range(10),
        default=0,
        metavar="0..9",
        help="head start of its runs in the queue, in minutes; default: 0",
    )


def _add_limit_key(command: Parser) -> None:
    command.add_argument("key_name", metavar="NAME", help="the name or the id of the key")
    _add_share(command)


def _add_rotate(command: Parser) -> None:
    command.add_argument("key_name", metavar="NAME", help="the name or the id of the key")
    command.add_argument(
        "--overlap",
        type=parse_duration,
        default=0.0,
        dest="overlap_s",
        metavar="1d",
        help="how long the old secret still works; default: not at all",
    )
    _add_expires(command, "the key is refused after this time; default: as before")


def _add_expires(command: Parser, summary: str) -> None:
    command.add_argument(
        "--expires", type=parse_duration, dest="expires_s", metavar="90d", help=summary
    )


def _add_revoke(command: Parser) -> None:
    command.add_argument("key_id", metavar="ID", help="from `keys list`")


def parse_share(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 100_000_000:
        raise argparse.ArgumentTypeError(f"{text!r}: use a whole number, 1 to 100000000")
    return int(text)
