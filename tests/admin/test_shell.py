"""The Python prompt runs statements in the services' event loop."""

import asyncio
from typing import Any

import pytest

from twelvefold.admin.shell import Shell


async def type_lines(shell: Shell, *lines: str) -> None:
    """Push lines from a thread, as the prompt does."""
    for line in lines:
        await asyncio.to_thread(shell.push, line)


@pytest.fixture
async def shell() -> Any:
    return Shell({"given": 20}, asyncio.get_running_loop())


async def test_await_works_and_names_stay(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    await type_lines(shell, "import asyncio", "more = await asyncio.sleep(0, 1)", "given + more")

    assert capsys.readouterr().out == "21\n"


async def test_an_exception_is_shown_and_the_prompt_continues(
    shell: Shell, capsys: pytest.CaptureFixture[str]
) -> None:
    await type_lines(shell, "1/0", "given")

    captured = capsys.readouterr()
    assert "ZeroDivisionError: division by zero" in captured.err
    assert captured.out == "20\n"


async def test_a_statement_can_be_interrupted(
    shell: Shell, capsys: pytest.CaptureFixture[str]
) -> None:
    waiting = asyncio.ensure_future(type_lines(shell, "import asyncio", "await asyncio.sleep(60)"))
    while shell._running is None:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    shell.interrupt()
    await waiting

    assert "CancelledError" in capsys.readouterr().err


async def test_exit_ends_the_prompt(shell: Shell) -> None:
    with pytest.raises(SystemExit):
        await type_lines(shell, "raise SystemExit")
