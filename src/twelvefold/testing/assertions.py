"""Assertions on the calls of a run and on rows, with messages that show what was found."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from twelvefold.app.run import Run, ToolCall


def assert_called(
    run: Run[Any], tool: str, /, *, times: int | None = None, **arguments: Any
) -> None:
    """Assert that a run has called a tool, with at least these arguments.

    `times`: so many calls, not one or more. Calls that failed count, too, also those that a gate
    closed or that the tool refused.

    Example:
        import asyncio

        from examples.shopping import workflow
        from twelvefold.testing import TestApp, assert_called, call

        async def main() -> None:
            async with TestApp([workflow]) as app:
                app.model.replies(call("add_item", item="milk"), "Done.")
                run = await app.run(workflow, "Milk, please")
                assert_called(run, "add_item", times=1, item="milk")

        asyncio.run(main())
    """
    found = sum(one.tool == tool and _has(one.arguments, arguments) for one in run.calls)
    if found == times or (times is None and found):
        return
    wanted = "a call" if times is None else f"{times} calls"
    raise AssertionError(
        f"{wanted} expected, {found} found: {_shown(tool, arguments)}\n{_calls_of(run)}"
    )


def assert_not_called(run: Run[Any], tool: str, /, **arguments: Any) -> None:
    """Assert that a run has not called a tool, or not with these arguments.

    Every call of the model counts, also one that failed or that a gate closed.

    Example:
        import asyncio

        from examples.shopping import workflow
        from twelvefold.testing import TestApp, assert_not_called

        async def main() -> None:
            async with TestApp([workflow]) as app:
                app.model.replies("Which milk?")
                run = await app.run(workflow, "Milk, please")
                assert_not_called(run, "add_item")

        asyncio.run(main())
    """
    assert_called(run, tool, times=0, **arguments)


def assert_rows(found: Sequence[Mapping[str, Any]], expected: Iterable[Mapping[str, Any]]) -> None:
    """Assert that rows are those expected, in this order; the message shows the differences.

    Example:
        from twelvefold.testing import assert_rows

        assert_rows([{"item": "milk"}], [{"item": "milk"}])
    """
    rows, wanted = [dict(row) for row in found], [dict(row) for row in expected]
    if rows == wanted:
        return
    lines = [f"missing: {row}" for row in wanted if row not in rows]
    lines += [f"not expected: {row}" for row in rows if row not in wanted]
    lines = lines or [f"in another order, or another number: {rows}, not {wanted}"]
    raise AssertionError("\n".join([f"{len(rows)} rows, {len(wanted)} expected", *lines]))


def _has(arguments: Mapping[str, Any], expected: Mapping[str, Any]) -> bool:
    return all(name in arguments and arguments[name] == expected[name] for name in expected)


def _calls_of(run: Run[Any]) -> str:
    lines = [f"  {_shown(one.tool, one.arguments)} -> {_result_of(one)}" for one in run.calls]
    why = f" ({run.error})" if run.error else ""
    head = f"the calls of {run.id}, which is {run.status}{why}:"
    return "\n".join([head, *(lines or ["  none"])])


def _result_of(call: ToolCall) -> str:
    return f"{call.failure}: {call.result}" if call.failure else call.result


def _shown(tool: str, arguments: Mapping[str, Any]) -> str:
    return f"{tool}({', '.join(f'{name}={value!r}' for name, value in arguments.items())})"
