"""Real shells as they complete a command line."""

import os
import pty
import select
import subprocess
import time
from pathlib import Path

from tests.apt import program

COMPLETE_TIMEOUT_S = 60
PROMPT, BEGIN, END = "ready:", "<<<", ">>>"
ZSHRC = f"""
PROMPT='{PROMPT}' RPROMPT= PROMPT_EOL_MARK=
fpath=("$ZDOTDIR" $fpath)
autoload -Uz compinit && compinit -u -D
bindkey '^I' complete-word
begin_offers() {{ print -r -- $'\\n{BEGIN}' }}
end_offers() {{ print -r -- '{END}'; exit }}
compprefuncs=(begin_offers)
comppostfuncs=(end_offers)
compadd() {{
  if [[ ${{@[1,(i)(-|--)]}} == *-(O|A|D)\\ * ]]; then builtin compadd "$@"; return; fi
  local -a matches
  builtin compadd -A matches "$@"
  (( $#matches )) || return 1
  print -rl -- $matches
  builtin compadd "$@"
}}
"""
"""Prints what the completion function offers, one a line, between two marks, and ends the shell."""


class ShellError(Exception):
    """A shell did not complete a line; the message has its output."""


def fish_offers(directory: Path, line: str) -> set[str]:
    """Return what fish offers for a line; `directory` has its script as `twelvefold.fish`."""
    done = subprocess.run(
        [
            program("fish"),
            "--no-config",
            "-c",
            "source twelvefold.fish; complete -C $argv[1]",
            line,
        ],
        env=_environ(directory),
        cwd=directory,
        capture_output=True,
        text=True,
        check=True,
        timeout=COMPLETE_TIMEOUT_S,
    )
    if done.stderr:
        raise ShellError(done.stderr)
    return {one.partition("\t")[0] for one in done.stdout.splitlines()}


def zsh_offers(directory: Path, line: str) -> set[str]:
    """Return what zsh offers for a line; `directory` has its script as `_twelvefold`."""
    (directory / ".zshrc").write_text(ZSHRC)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [program("zsh"), "-i"],
        env=_environ(directory) | {"ZDOTDIR": str(directory), "TERM": "dumb"},
        cwd=directory,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        _read_until(ours, PROMPT)
        os.write(ours, f"{line}\t".encode())
        output = _read_until(ours, END)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    offers = output.partition(BEGIN)[2].partition(END)[0]
    return {one.strip() for one in offers.splitlines() if one.strip()}


def _read_until(terminal: int, mark: str) -> str:
    output, deadline = b"", time.monotonic() + COMPLETE_TIMEOUT_S
    while mark.encode() not in output:
        ready, _, _ = select.select([terminal], [], [], max(0, deadline - time.monotonic()))
        if not ready:
            raise ShellError(f"no {mark!r} in {output!r}")
        output += os.read(terminal, 4096)
    return output.decode()


def _environ(directory: Path) -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(directory), "LC_ALL": "C.UTF-8"}
