"""`twelvefold completion`: the scripts, and bash as it completes with its script."""

import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import child

COMPLETE = """
source "$1"
shift
COMP_WORDS=(twelvefold "$@")
COMP_CWORD=$#
COMP_LINE="${COMP_WORDS[*]}"
COMP_POINT=${#COMP_LINE}
$(complete -p twelvefold | sed 's/.*-F \\([^ ]*\\).*/\\1/') twelvefold "${!#}" "${COMP_WORDS[$#-1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""
"""Calls the function that the script has registered, as bash does when Tab is pressed."""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    here = tmp_path_factory.mktemp("completion")
    done = child(here, "completion", "bash")
    assert (done.status, done.err) == (0, "")
    (here / "twelvefold.bash").write_text(done.out)
    return here / "twelvefold.bash"


def completed(script: Path, *words: str) -> set[str]:
    """Return what bash offers for the last word of the command line."""
    done = subprocess.run(
        ["bash", "--norc", "--noprofile", "-c", COMPLETE, "bash", str(script), *words],
        check=True,
        capture_output=True,
        text=True,
        cwd=script.parent,
    )
    assert done.stderr == ""
    return {line.strip() for line in done.stdout.splitlines() if line.strip()}


def test_bash_completes_commands(script: Path) -> None:
    assert completed(script, "ru") == {"run", "runs"}
    assert {"list", "show", "export", "approve"} <= completed(script, "runs", "")


def test_bash_completes_options_and_their_values(script: Path) -> None:
    assert {"--status", "--json"} <= completed(script, "runs", "list", "--")
    assert completed(script, "outbox", "list", "--state", "d") == {"dead"}
    assert completed(script, "completion", "") == {"bash", "zsh", "fish"}


def test_bash_completes_files(script: Path) -> None:
    (script.parent / "receipt.png").touch()

    assert completed(script, "run", "--image", "rec") == {"receipt.png"}


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_have_a_script_with_every_command(tmp_path: Path, shell: str) -> None:
    done = child(tmp_path, "completion", shell)

    assert done.status == 0
    assert all(word in done.out for word in ("runs", "outbox", "--status", "completion"))


def test_an_unknown_shell_is_bad_usage(tmp_path: Path) -> None:
    assert child(tmp_path, "completion", "powershell").status == 2


@pytest.mark.parametrize(
    ("shell", "path"),
    [
        ("bash", "~/.local/share/bash-completion/completions/twelvefold"),
        ("zsh", '"${fpath[1]}/_twelvefold"'),
        ("fish", "~/.config/fish/completions/twelvefold.fish"),
    ],
)
def test_a_script_says_where_to_put_it_as_the_help_does(
    tmp_path: Path, shell: str, path: str
) -> None:
    printed = child(tmp_path, "completion", shell).out
    comments = [line for line in printed.splitlines() if line.startswith("# ")]

    install = f"  twelvefold completion {shell} >{path}"
    assert "# Usage:" not in comments
    assert comments[1:3] == ["# Install it with:", f"# {install}"]
    assert install in child(tmp_path, "completion", "--help").out.splitlines()
