"""The console script: help is fast, and errors have exit statuses."""

import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Twelvefold, child, child_environ
from twelvefold import __version__
from twelvefold.cli import help_texts
from twelvefold.cli.command import BAD_USAGE, DONE, FAILED, INTERRUPTED, TRY_AGAIN, describe_error
from twelvefold.cli.main import CLOSED_PIPE
from twelvefold.config import list_variables
from twelvefold.errors import (
    Conflict,
    LeaseLost,
    ModelRejected,
    ModelUnavailable,
    NotFound,
    SettingsError,
    StoreRefused,
    StoreUnavailable,
    TooLate,
    TwelvefoldError,
    WorkflowError,
)

HEAVY = "asyncio", "pydantic", "aiohttp", "msgspec", "logging", "typing", "dataclasses"
COMMANDS = (
    [],
    *(["chat"], ["run"], ["web"], ["worker"], ["migrate"], ["seed"], ["settings"], ["doctor"]),
    *(["factors"], ["prune"], ["shell"]),
    ["runs"],
    *(["runs", word] for word in ("list", "show", "events", "export", "fork")),
    *(["runs", word] for word in ("cancel", "resume", "approve", "settle")),
)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help(tw: Twelvefold, command: list[str]) -> None:
    done = tw(*command, "--help")

    assert (done.status, done.err) == (0, "")
    assert done.out.startswith(" ".join(["usage: twelvefold", *command]))


def test_every_exit_status_is_in_the_help(tw: Twelvefold) -> None:
    text = tw("--help").out.partition("exit status:")[2]

    assert set(re.findall(r"\d+", text)) == {
        str(status) for status in (DONE, FAILED, BAD_USAGE, TRY_AGAIN, INTERRUPTED, CLOSED_PIPE)
    }


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from twelvefold.cli.main import main; status = main(['--help']); "
        f"print([name for name in {HEAVY} if name in sys.modules]); sys.exit(status)"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], env=child_environ(), capture_output=True, text=True
    )

    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == "[]"


def test_help_takes_at_most_four_times_as_long_as_python() -> None:
    def cpu_s(code: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [sys.executable, "-c", code]
        subprocess.run(command, env=child_environ(), capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    show_help = "from twelvefold.cli.main import main; main(['--help'])"
    pairs = [(cpu_s(show_help), cpu_s("pass")) for _ in range(7)]

    assert min(ours for ours, _ in pairs) <= 4 * min(bare for _, bare in pairs)


def test_the_version_is_the_version_of_the_package(tw: Twelvefold) -> None:
    assert tw("--version").out == f"twelvefold {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rnu"], "twelvefold: unknown command 'rnu'; did you mean 'run'?"),
        (["xyzzy"], "twelvefold: unknown command 'xyzzy'; commands are chat, run, web, worker,"),
        (["help"], "unknown command 'help'; commands are chat, run, web, worker,"),
        (["nonsense"], "unknown command 'nonsense'; commands are chat, run, web, worker,"),
        (["runs", "lsit"], "twelvefold runs: unknown command 'lsit'; did you mean 'list'?"),
        (["run"], "twelvefold run: the following arguments are required: TEXT"),
        (["runs", "list", "--limit", "0"], "'0': use a whole number, 1 to 10000"),
        (["prune", "--older-than", "soon"], "'soon': use a number and s, m, h, d or w, as in 30d"),
        (["run", "hi", "--as", ""], "'': use 1 to 255 printable characters"),
        (["run", "hi", "--as", "ann "], "'ann ': use 1 to 255 printable characters, without a"),
        (["keys", "create", "a", "--principal", " ann"], "' ann': use 1 to 255 printable"),
    ],
)
def test_bad_usage_is_reported_with_a_hint(
    tw: Twelvefold, arguments: list[str], message: str
) -> None:
    done = tw(*arguments)

    assert (done.status, done.out) == (2, "")
    assert message in done.err


def test_without_a_command_the_help_is_printed(tw: Twelvefold) -> None:
    for command in ([], ["runs"]):
        done = tw(*command)

        assert (done.status, done.out) == (2, "")
        assert "commands:" in done.err


def test_all_invalid_settings_are_reported_together(
    here: Path, tw: Twelvefold, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAX_STEPS", "x")
    (here / ".env").write_text("TWELVEFOLD_PROT=1\nOPENAI_API=soap\n")

    done = tw("run", "hello")

    assert (done.status, done.out) == (2, "")
    assert done.err.splitlines() == [
        "twelvefold: OPENAI_API: 'soap': use responses or chat",
        "twelvefold: MAX_STEPS: 'x': use a whole number, 1 to 100000",
        "twelvefold: TWELVEFOLD_PROT: unknown variable; did you mean PORT?",
    ]


def test_the_environment_takes_precedence_over_the_file(
    here: Path, tw: Twelvefold, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAX_STEPS", "7")
    (here / ".env").write_text("MAX_STEPS=x\nMAX_RUNS=x\n")

    assert tw("run", "hello").err == "twelvefold: MAX_RUNS: 'x': use a whole number, 1 to 100000\n"


def test_a_bad_line_of_the_file_is_reported_by_number(here: Path, tw: Twelvefold) -> None:
    (here / ".env").write_text("secret\n")

    done = tw("settings")

    assert (done.status, done.err) == (2, "twelvefold: .env, line 1: not KEY=VALUE\n")


def test_an_unexpected_error_is_logged_with_its_traceback(
    here: Path, tw: Twelvefold, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("twelvefold.app.opening.open_services", broken)

    done = tw("runs", "list")

    assert (done.status, done.out) == (1, "")
    assert '"event": "unexpected_error"' in done.err
    assert "in test_an_unexpected_error_is_logged_with_its_traceback" in done.err
    assert "RuntimeError" in done.err
    assert "a bug" not in done.err


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (SettingsError("a", "b"), 2),
        (WorkflowError("a"), 2),
        (NotFound("a"), 2),
        (Conflict("a"), 75),
        (TooLate("a"), 1),
        (LeaseLost("a"), 75),
        (StoreUnavailable("a"), 75),
        (ModelUnavailable("a"), 75),
        (StoreRefused("a"), 1),
        (ModelRejected("a"), 1),
    ],
)
def test_each_kind_of_error_has_its_exit_status(error: TwelvefoldError, status: int) -> None:
    assert describe_error(error)[0] == status


def test_a_closed_pipe_ends_the_command_quietly(here: Path) -> None:
    command = f"'{sys.executable}' -m twelvefold settings | true; exit ${{PIPESTATUS[0]}}"

    done = subprocess.run(
        ["bash", "-c", command], env=child_environ(), capture_output=True, text=True, cwd=here
    )

    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_a_command_works_without_an_output(here: Path, closed: str) -> None:
    done = subprocess.run(
        ["sh", "-c", f'exec "$0" -m twelvefold runs list --json {closed}', sys.executable],
        env=child_environ(),
        cwd=here,
        check=False,
    )

    assert done.returncode == DONE


def test_a_full_disk_is_an_error_message(here: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "twelvefold", "settings"],
            env=child_environ(),
            cwd=here,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )

    assert done.returncode == FAILED
    assert done.stderr == "twelvefold: cannot write the output: No space left on device\n"


def test_a_terminal_without_utf8_gets_replacement_characters(here: Path) -> None:
    done = child(here, "runs", "show", "--help", PYTHONIOENCODING="ascii")

    assert (done.status, done.err) == (0, "")
    assert "resp_?, or conv_? for the last run of a conversation" in done.out


def test_no_help_names_a_file_that_an_installed_package_lacks() -> None:
    texts = [text for text in vars(help_texts).values() if isinstance(text, str)]
    texts += [variable.meaning for variable in list_variables()]

    assert len(texts) > 50
    assert [text for text in texts if re.search(r"\bdocs/|\.md\b", text)] == []
