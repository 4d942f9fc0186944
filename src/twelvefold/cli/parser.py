"""The commands, their arguments and their help. Imports nothing that `--help` can do without.

Each command's `handler` names its function as module:function. `main` calls it with the environment
and the arguments by name.
"""

from twelvefold import __version__
from twelvefold.cli import help_texts as texts
from twelvefold.cli.arguments.admin import (
    add_completion,
    add_factors,
    add_migrate,
    add_outbox,
    add_prune,
    add_seed,
    add_signal,
    add_usage,
    add_version,
)
from twelvefold.cli.arguments.budgets import add_budgets
from twelvefold.cli.arguments.common import add_json, add_principal, add_workflow
from twelvefold.cli.arguments.keys import add_keys
from twelvefold.cli.arguments.runs import add_runs
from twelvefold.cli.subcommands import Commands, HelpFormatter, Parser


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
    commands.add("runs", None, "list, show and control runs", add_runs)
    usage = "tokens and cost of the runs that have ended"
    commands.add("usage", f"{cli}.usage:usage", usage, add_usage, texts.USAGE_EPILOG)
    commands.add("outbox", None, "list and retry mail", add_outbox, texts.OUTBOX_EPILOG)
    commands.add("keys", None, "create, list, rotate and revoke API keys", add_keys)
    budgets = "set, list and remove budgets of tokens and USD"
    commands.add("budgets", None, budgets, add_budgets, texts.BUDGETS_EPILOG)


def _add_admin_commands(commands: Commands) -> None:
    admin = "twelvefold.cli.admin"
    migrate = "migrate the database to the schema of this release"
    commands.add("migrate", f"{admin}:migrate", migrate, add_migrate)
    commands.add("seed", f"{admin}:seed", "fill the tables of a workflow", add_seed)
    signal = "send an event to runs that wait for it"
    commands.add("signal", "twelvefold.cli.events:signal", signal, add_signal, texts.SIGNAL_EPILOG)
    settings = "list all settings and their values"
    commands.add("settings", f"{admin}:settings", settings, add_json)
    doctor = "check the configuration and the services"
    commands.add("doctor", f"{admin}:doctor", doctor, add_json)
    version = "print this release, or the releases that were installed on the database"
    commands.add("version", "twelvefold.cli.version:version", version, add_version)
    handler, factors = "twelvefold.cli.factors:factors", "check the twelve factors on this release"
    commands.add("factors", handler, factors, add_factors, texts.FACTORS_EPILOG)
    prune = "remove old conversations"
    commands.add("prune", f"{admin}:prune", prune, add_prune, texts.PRUNE_EPILOG)
    commands.add("shell", f"{admin}:shell", "open a Python prompt with the services")
    handler, completion = (
        "twelvefold.cli.completion:completion",
        "print a shell's completion script",
    )
    commands.add("completion", handler, completion, add_completion, texts.COMPLETION_EPILOG)


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
    add_json(run, "print the outcome as JSON")


def _add_attachment(run: Parser, kind: str, meaning: str) -> None:
    run.add_argument(
        f"--{kind}",
        metavar="FILE_OR_URL",
        action="append",
        default=[],
        help=f"{meaning}; may be repeated",
    )


def _add_turn(turn: Parser) -> None:
    add_workflow(turn)
    turn.add_argument("--model", metavar="M", help="one of the workflow's `models`")
    turn.add_argument("--thread", metavar="T", help="the conversation to continue")
    add_principal(turn, "the principal to act for", default=None)
