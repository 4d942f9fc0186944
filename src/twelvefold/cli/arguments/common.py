"""Arguments that several commands take, and the values that they may have."""

import argparse
import re

from twelvefold.cli.subcommands import Parser

LOCAL = "local"
"""The principal of the person at this machine, also on the page of a server without keys."""
SECONDS_PER_UNIT = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


def add_limit(command: Parser, default: int = 20) -> None:
    meaning = f"maximum number; default: {default}"
    command.add_argument("--limit", type=parse_count, default=default, metavar="N", help=meaning)


def add_long_list(command: Parser) -> None:
    add_limit(command, 100)
    add_json(command)


def add_json(command: Parser, summary: str = "print one JSON object per line") -> None:
    command.add_argument("--json", action="store_true", dest="as_json", help=summary)


def add_workflow(command: Parser) -> None:
    command.add_argument(
        "--workflow", metavar="W", help="name of the workflow; default: the first of WORKFLOWS"
    )


def add_principal(command: Parser, summary: str, default: str | None = LOCAL) -> None:
    command.add_argument(
        "--as",
        dest="principal",
        default=default,
        metavar="NAME",
        type=parse_name,
        help=f"{summary}; default: {LOCAL}",
    )


def parse_count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 10_000:
        raise argparse.ArgumentTypeError(f"{text!r}: use a whole number, 1 to 10000")
    return int(text)


def parse_name(text: str) -> str:
    from twelvefold.core import NAME_RULE, is_name  # too long an import for `--help`

    if not is_name(text):
        raise argparse.ArgumentTypeError(f"{text!r}: use {NAME_RULE}")
    return text


def parse_duration(text: str) -> float:
    """Return the seconds that a text such as 30d stands for."""
    match = re.fullmatch(r"(\d{1,6})([smhdw])", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r}: use a number and s, m, h, d or w, as in 30d")
    return float(match[1]) * SECONDS_PER_UNIT[match[2]]
