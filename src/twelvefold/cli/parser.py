"""The commands, their arguments and their help. Imports nothing that `--help` can do without.

Each command's `handler` names its function as module:function. `main` calls it with the environment
and the arguments by name.
"""

import argparse
import re

from twelvefold import __version__
from twelvefold.cli import help_texts as texts
from twelvefold.cli.subcommands import Commands, HelpFormatter, Parser

LOCAL = "local"
"""The principal of the person at this machine, also on the page of a server without keys."""
SCOPES = ("runs", "approve", "signal", "admin")
SECONDS_PER_UNIT = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
SETTLEMENTS = (
    ("done", "the call happened"),
    ("retry", "run the call again"),
    ("failed", "the call did not happen"),
)
MESSAGE_STATES = ("waiting", "sent", "dead")
SHELLS = ("bash", "zsh", "fish")
USAGE_GROUPS = ("day", "workflow", "principal")
STATUSES = ("queued", "running", "waiting", "completed", "incomplete", "failed", "cancelled")


def build_parser() -> Parser:
    """Return the parser of the whole command line."""
    parser = Parser(
        prog="twelvefold",
        description=texts.DESCRIPTION,
        epilog=texts.EPILOG,
        formatter_class=HelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"twelvefold {__version__}")
    commands = Commands(parser)
    _add_runtime_commands(commands)
    _add_admin_commands(commands)
    return parser


def _add_runtime_commands(commands: Commands) -> None:
    cli = "twelvefold.cli"
    chat, worker = "chat with a workflow", "execute background runs and send mail"
    commands.add("chat", f"{cli}.chat.command:chat", chat, _add_chat, texts.CHAT_EPILOG)
    commands.add("run", f"{cli}.run:run", "run one turn of a workflow", _add_run, texts.RUN_EPILOG)
    web = "serve the OpenAI API and the page"
    commands.add("web", f"{cli}.web:web", web, epilog=texts.WEB_EPILOG)
    commands.add("worker", f"{cli}.worker:worker", worker, _add_worker, texts.WORKER_EPILOG)
    commands.add("runs", None, "list, show and control runs", _add_runs)
    usage = "tokens and cost of the runs that have ended"
    commands.add("usage", f"{cli}.usage:usage", usage, _add_usage, texts.USAGE_EPILOG)
    commands.add("outbox", None, "list and retry mail", _add_outbox, texts.OUTBOX_EPILOG)
    commands.add("keys", None, "create, list, rotate and revoke API keys", _add_keys)
    budgets = "set, list and remove budgets of tokens and USD"
    commands.add("budgets", None, budgets, _add_budgets, texts.BUDGETS_EPILOG)


def _add_admin_commands(commands: Commands) -> None:
    admin = "twelvefold.cli.admin"
    migrate = "migrate the database to the schema of this release"
    commands.add("migrate", f"{admin}:migrate", migrate, _add_migrate)
    commands.add("seed", f"{admin}:seed", "fill the tables of a workflow", _add_seed)
    signal = "send an event to runs that wait for it"
    commands.add("signal", "twelvefold.cli.events:signal", signal, _add_signal, texts.SIGNAL_EPILOG)
    settings = "list all settings and their values"
    commands.add("settings", f"{admin}:settings", settings, _add_json)
    doctor = "check the configuration and the services"
    commands.add("doctor", f"{admin}:doctor", doctor, _add_json)
    version = "print this release, or the releases that were installed on the database"
    commands.add("version", "twelvefold.cli.version:version", version, _add_version)
    handler, factors = "twelvefold.cli.factors:factors", "check the twelve factors on this release"
    commands.add("factors", handler, factors, _add_factors, texts.FACTORS_EPILOG)
    prune = "remove old conversations"
    commands.add("prune", f"{admin}:prune", prune, _add_prune, texts.PRUNE_EPILOG)
    commands.add("shell", f"{admin}:shell", "open a Python prompt with the services")
    handler, completion = (
        "twelvefold.cli.completion:completion",
        "print a shell's completion script",
    )
    commands.add("completion", handler, completion, _add_completion, texts.COMPLETION_EPILOG)


def _add_worker(worker: Parser) -> None:
    meaning = "end when no run waits and no mail is due"
    worker.add_argument("--until-idle", action="store_true", help=meaning)


def _add_chat(chat: Parser) -> None:
    _add_turn(chat)
    chat.add_argument("--sample", action="store_true", help="play the sample conversation and exit")
    chat.add_argument(
        "--no-history",
        action="store_false",
        dest="keeps_history",
        help="do not store the messages for the arrow keys of later chats",
    )


def _add_run(run: Parser) -> None:
    _add_turn(run)
    _add_attachment(run, "image", "PNG, JPEG, WebP or GIF to send")
    _add_attachment(run, "file", "PDF or text file to send")
    run.add_argument("text", metavar="TEXT", help="the user message; - reads standard input")
    _add_json(run, "print the outcome as JSON")


def _add_attachment(run: Parser, kind: str, meaning: str) -> None:
    run.add_argument(
        f"--{kind}",
        metavar="FILE_OR_URL",
        action="append",
        default=[],
        help=f"{meaning}; may be repeated",
    )


def _add_turn(turn: Parser) -> None:
    _add_workflow(turn)
    turn.add_argument("--model", metavar="M", help="one of the workflow's `models`")
    turn.add_argument("--thread", metavar="T", help="the conversation to continue")
    _add_principal(turn, "the principal to act for", default=None)


def _add_runs(parser: Parser) -> None:
    commands, runs = Commands(parser), "twelvefold.cli.runs"
    find = "list the newest runs"
    commands.add("list", "twelvefold.cli.run_list:list_runs", find, _add_list, texts.LIST_EPILOG)
    commands.add("show", f"{runs}:show", "show a run: its timeline and its transcript", _add_id)
    events = "print the journal of a run, one entry per line"
    commands.add("events", f"{runs}:events", events, _add_events)
    follow = "show a run while it proceeds, until it has ended"
    commands.add("follow", "twelvefold.cli.follow:follow", follow, _add_id, texts.FOLLOW_EPILOG)
    export = "export a whole conversation as JSON Lines"
    commands.add("export", f"{runs}:export", export, _add_id)
    fork = "start a new conversation from an earlier entry of another"
    commands.add("fork", f"{runs}:fork", fork, _add_fork)
    commands.add("cancel", f"{runs}:cancel_run", "cancel a run", _add_id)
    retry = "run the input of a run again that did not complete"
    commands.add("retry", f"{runs}:retry", retry, _add_retried, texts.RETRY_EPILOG)
    commands.add("resume", f"{runs}:resume", "continue a run that no process is driving", _add_id)
    approve = "approve or deny a call"
    commands.add("approve", f"{runs}:approve", approve, _add_approve, texts.APPROVE_EPILOG)
    answer = "answer the question of a call"
    commands.add("answer", f"{runs}:answer_call", answer, _add_answer_value, texts.ANSWER_EPILOG)
    settle = "record the outcome of a call"
    commands.add("settle", f"{runs}:settle_call", settle, _add_settle, texts.SETTLE_EPILOG)


def _add_list(command: Parser) -> None:
    status = command.add_mutually_exclusive_group()
    status.add_argument("--status", choices=STATUSES, help="only runs with this status")
    status.add_argument(
        "--failed",
        action="store_const",
        const="failed",
        dest="status",
        help="the same as --status failed",
    )
    command.add_argument("--workflow", default="", metavar="W", help="only runs of this workflow")
    command.add_argument("--principal", default="", metavar="P", help="only runs of this principal")
    _add_age(command, "--since", "only runs that started less than this ago")
    _add_age(command, "--until", "only runs that started more than this ago")
    command.add_argument(
        "--search",
        default="",
        metavar="TEXT",
        help="the beginning of an id, or a part of the error of a failed run",
    )
    _add_limit(command)
    _add_json(command)


def _add_age(command: Parser, option: str, summary: str) -> None:
    command.add_argument(
        option, type=_parse_duration, dest=f"{option[2:]}_s", metavar="1h", help=summary
    )


def _add_limit(command: Parser, default: int = 20) -> None:
    meaning = f"maximum number; default: {default}"
    command.add_argument("--limit", type=_parse_count, default=default, metavar="N", help=meaning)


def _add_long_list(command: Parser) -> None:
    _add_limit(command, 100)
    _add_json(command)


def _add_usage(command: Parser) -> None:
    command.add_argument(
        "--by",
        action="append",
        default=[],
        choices=USAGE_GROUPS,
        help="a line for each of these; repeatable; default: day",
    )
    command.add_argument(
        "--since",
        type=_parse_duration,
        default=7 * SECONDS_PER_UNIT["d"],
        dest="since_s",
        metavar="7d",
        help="how far back, in whole days, today included; default: 7d",
    )
    command.add_argument("--workflow", default="", metavar="W", help="only runs of this workflow")
    command.add_argument("--principal", default="", metavar="P", help="only runs of this principal")
    _add_limit(command, default=1_000)
    _add_json(command)


def _add_outbox(parser: Parser) -> None:
    commands, outbox = Commands(parser), "twelvefold.cli.outbox"
    commands.add("list", f"{outbox}:list_messages", "list the newest messages", _add_messages)
    commands.add("retry", f"{outbox}:retry", "retry unsent messages now", _add_retry)


def _add_messages(command: Parser) -> None:
    command.add_argument("--state", choices=MESSAGE_STATES, help="only messages in this state")
    _add_limit(command)
    _add_json(command)


def _add_retry(command: Parser) -> None:
    selection = command.add_mutually_exclusive_group(required=True)
    # argparse allows no positional argument without a default in such a group.
    selection.add_argument("ids", metavar="ID", nargs="*", default=(), help="from `outbox list`")
    selection.add_argument("--dead", action="store_true", help="all dead messages")


def _add_id(command: Parser) -> None:
    command.add_argument(
        "run_id", metavar="ID", help="resp_…, or conv_… for the last run of a conversation"
    )


def _add_retried(command: Parser) -> None:
    _add_id(command)
    command.add_argument("--detach", action="store_true", help="leave the run to a worker")


def _add_events(command: Parser) -> None:
    _add_id(command)
    command.add_argument("--follow", action="store_true", help="continue until the run has ended")


def _add_fork(command: Parser) -> None:
    command.add_argument(
        "position", metavar="ID@N", help="a conversation or run, and the number of an entry"
    )


def _add_approve(command: Parser) -> None:
    _add_id(command)
    command.add_argument("--deny", action="store_true", help="deny the call")
    command.add_argument("--reason", default="", metavar="TEXT", help="passed to the model")
    command.add_argument(
        "--arguments", default="", metavar="JSON", help="run the call with these arguments instead"
    )
    _add_answer(command)


def _add_answer_value(command: Parser) -> None:
    _add_id(command)
    command.add_argument("value", metavar="VALUE", help="JSON; a text may be without quotes")
    _add_answer(command)


def _add_settle(command: Parser) -> None:
    _add_id(command)
    outcome = command.add_mutually_exclusive_group(required=True)
    for word, meaning in SETTLEMENTS:
        outcome.add_argument(
            f"--{word}", action="store_const", const=word, dest="settled", help=meaning
        )
    command.add_argument("--result", default="", metavar="TEXT", help="passed to the model")
    _add_answer(command)


def _add_answer(command: Parser) -> None:
    # Required: when the answer arrives, another call may be waiting that the person has not seen.
    command.add_argument("--call", required=True, metavar="C", help="the call's id, as in 12.0")
    command.add_argument("--detach", action="store_true", help="leave the run to a worker")
    _add_principal(command, "the person who answers")


def _add_signal(command: Parser) -> None:
    command.add_argument("key", metavar="KEY", help="the name of the event")
    command.add_argument("payload", nargs="?", default="null", metavar="PAYLOAD", help="JSON")
    command.add_argument("--workflow", metavar="NAME", help="default: the only one in WORKFLOWS")
    command.add_argument(
        "--principal",
        default=LOCAL,
        metavar="NAME",
        type=_parse_name,
        help=f"the principal whose runs wait; default: {LOCAL}",
    )


def _add_keys(parser: Parser) -> None:
    commands, keys = Commands(parser), "twelvefold.cli.keys"
    create = "create a key and print it, once"
    commands.add("create", f"{keys}:create", create, _add_key, texts.KEYS_EPILOG)
    commands.add("list", f"{keys}:list_keys", "list keys without their secrets", _add_long_list)
    rotate = "give a key a new secret and print it, once"
    commands.add("rotate", f"{keys}:rotate", rotate, _add_rotate)
    limit = "change the requests, runs and priority of a key"
    commands.add("limit", f"{keys}:limit", limit, _add_limit_key)
    revoke = "revoke a key; servers apply it within seconds"
    commands.add("revoke", f"{keys}:revoke", revoke, _add_revoke)


def _add_key(command: Parser) -> None:
    command.add_argument("name", metavar="NAME", type=_parse_name, help="a unique name for the key")
    command.add_argument(
        "--principal",
        metavar="P",
        type=_parse_name,
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
        type=_parse_share,
        metavar="N",
        help=f"maximum requests a minute; {settings}",
    )
    command.add_argument(
        "--max-runs", type=_parse_count, metavar="N", help=f"maximum runs at once; {settings}"
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
        type=_parse_duration,
        default=0.0,
        dest="overlap_s",
        metavar="1d",
        help="how long the old secret still works; default: not at all",
    )
    _add_expires(command, "the key is refused after this time; default: as before")


def _add_expires(command: Parser, summary: str) -> None:
    command.add_argument(
        "--expires", type=_parse_duration, dest="expires_s", metavar="90d", help=summary
    )


def _add_revoke(command: Parser) -> None:
    command.add_argument("key_id", metavar="ID", help="from `keys list`")


def _add_budgets(parser: Parser) -> None:
    commands, budgets = Commands(parser), "twelvefold.cli.budgets"
    set_one = "set the budget of a scope, in place of an earlier one"
    commands.add("set", f"{budgets}:set_one", set_one, _add_budget, texts.BUDGETS_EPILOG)
    list_all = "list budgets and what was spent"
    commands.add("list", f"{budgets}:list_all", list_all, _add_long_list)
    commands.add("remove", f"{budgets}:remove", "remove a budget", _add_budget_to_remove)


def _add_budget(command: Parser) -> None:
    _add_scope(command)
    window = "when the budget renews, in UTC; default: day"
    command.add_argument("--window", choices=("day", "month"), default="day", help=window)
    tokens = "maximum tokens, input and output"
    command.add_argument("--tokens", type=_parse_tokens, metavar="N", help=tokens)
    usd = "maximum cost; every model that is covered needs a known price"
    command.add_argument("--usd", type=_parse_usd, metavar="X", help=usd)
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


def _add_migrate(command: Parser) -> None:
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


def _add_version(command: Parser) -> None:
    command.add_argument(
        "--history", action="store_true", help="list the releases installed on the database"
    )
    _add_limit(command)
    _add_json(command)


def _add_seed(command: Parser) -> None:
    _add_workflow(command)
    command.add_argument(
        "--file", metavar="F", help="JSON Lines, also .gz; default: the workflow's own records"
    )


def _add_completion(command: Parser) -> None:
    command.add_argument("shell", choices=SHELLS, help="the shell")


def _add_factors(command: Parser) -> None:
    command.add_argument("numbers", metavar="N", nargs="*", help="I to XII; default: all")
    _add_json(command)


def _add_prune(command: Parser) -> None:
    command.add_argument(
        "--older-than",
        required=True,
        type=_parse_duration,
        dest="older_than_s",
        metavar="30d",
        help="minimum age: a number and s, m, h, d or w",
    )


def _add_json(command: Parser, summary: str = "print one JSON object per line") -> None:
    command.add_argument("--json", action="store_true", dest="as_json", help=summary)


def _add_workflow(command: Parser) -> None:
    command.add_argument(
        "--workflow", metavar="W", help="name of the workflow; default: the first of WORKFLOWS"
    )


def _add_principal(command: Parser, summary: str, default: str | None = LOCAL) -> None:
    command.add_argument(
        "--as",
        dest="principal",
        default=default,
        metavar="NAME",
        type=_parse_name,
        help=f"{summary}; default: {LOCAL}",
    )


def _parse_count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 10_000:
        raise argparse.ArgumentTypeError(f"{text!r}: use a whole number, 1 to 10000")
    return int(text)


def _parse_share(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 100_000_000:
        raise argparse.ArgumentTypeError(f"{text!r}: use a whole number, 1 to 100000000")
    return int(text)


def _parse_name(text: str) -> str:
    # MySQL ignores trailing spaces in comparisons: "ann" and "ann " would be the same name.
    if not text or text != text.strip() or not text.isprintable() or len(text) > 255:
        rule = "1 to 255 printable characters, without a space at either end"
        raise argparse.ArgumentTypeError(f"{text!r}: use {rule}")
    return text


def _parse_duration(text: str) -> float:
    """Return the seconds that a text such as 30d stands for."""
    match = re.fullmatch(r"(\d{1,6})([smhdw])", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r}: use a number and s, m, h, d or w, as in 30d")
    return float(match[1]) * SECONDS_PER_UNIT[match[2]]


def _parse_tokens(text: str) -> int:
    digits = text.replace("_", "").replace(",", "")
    if not (digits.isascii() and digits.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r}: use a number of tokens, as in 1000000")
    return int(digits)


def _parse_usd(text: str) -> float:
    if not re.fullmatch(r"\d{1,9}(\.\d{1,6})?", text):
        raise argparse.ArgumentTypeError(f"{text!r}: use an amount of dollars, as in 25 or 0.5")
    return float(text)
