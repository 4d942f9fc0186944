"""The arguments of `budgets`."""

import argparse
import re

from twelvefold.cli import help_texts as texts
from twelvefold.cli.arguments.common import add_long_list
from twelvefold.cli.subcommands import Commands, Parser


def add_budgets(parser: Parser) -> None:
    commands, budgets = Commands(parser), "twelvefold.cli.budgets"
    set_one = "set the budget of a scope, in place of an earlier one"
    commands.add("set", f"{budgets}:set_one", set_one, _add_budget, texts.BUDGETS_EPILOG)
    list_all = "list budgets and what was spent"
    commands.add("list", f"{budgets}:list_all", list_all, add_long_list)
    commands.add("remove", f"{budgets}:remove", "remove a budget", _add_budget_to_remove)


def _add_budget(command: Parser) -> None:
    _add_scope(command)
    window = "when the budget renews, in UTC; default: day"
    command.add_argument("--window", choices=("day", "month"), default="day", help=window)
    tokens = "maximum tokens, input and output"
    command.add_argument("--tokens", type=parse_tokens, metavar="N", help=tokens)
    usd = "maximum cost; every model that is covered needs a known price"
    command.add_argument("--usd", type=parse_usd, metavar="X", help=usd)
    over = "what happens to a run that finds it used up: it fails, or waits; default: refuse"
    command.add_argument(
        "--over", choices=("refuse", "wait"), default="refuse", dest="policy", help=over
    )


def _add_budget_to_remove(command: Parser) -> None:
    _add_scope(command)
    window = "only this one; default: both"
    command.add_argument("--window", choices=("day", "month"), help=window)


def _add_scope(command: Parser) -> None:
    meaning = "all, or principal:P, key:ID, workflow:W; several together: runs with all of them"
    command.add_argument("scope", nargs="+", metavar="SCOPE", help=meaning)


def parse_tokens(text: str) -> int:
    digits = text.replace("_", "").replace(",", "")
    if not (digits.isascii() and digits.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r}: use a number of tokens, as in 1000000")
    return int(digits)


def parse_usd(text: str) -> float:
    if not re.fullmatch(r"\d{1,9}(\.\d{1,6})?", text):
        raise argparse.ArgumentTypeError(f"{text!r}: use an amount of dollars, as in 25 or 0.5")
    return float(text)
