"""The arguments of `runs`."""

from twelvefold.cli import help_texts as texts
from twelvefold.cli.arguments.common import add_json, add_limit, add_principal, parse_duration
from twelvefold.cli.subcommands import Commands, Parser

SETTLEMENTS = (
    ("done", "the call happened"),
    ("retry", "run the call again"),
    ("failed", "the call did not happen"),
)
STATUSES = ("queued", "running", "waiting", "completed", "incomplete", "failed", "cancelled")


def add_runs(parser: Parser) -> None:
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
    questions, asked = "twelvefold.cli.questions:list_questions", "list the questions for a person"
    commands.add("questions", questions, asked, _add_questions, texts.QUESTIONS_EPILOG)
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
    add_age(command, "--since", "only runs that started less than this ago")
    add_age(command, "--until", "only runs that started more than this ago")
    command.add_argument(
        "--search",
        default="",
        metavar="TEXT",
        help="the beginning of an id, or a part of the error of a failed run",
    )
    add_limit(command)
    add_json(command)


def add_age(command: Parser, option: str, summary: str) -> None:
    command.add_argument(
        option, type=parse_duration, dest=f"{option[2:]}_s", metavar="1h", help=summary
    )


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


def _add_questions(command: Parser) -> None:
    add_principal(command, "the person whose answers are missing")
    add_limit(command)
    add_json(command)


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
    add_principal(command, "the person who answers")
