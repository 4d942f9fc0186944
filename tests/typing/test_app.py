"""The types of `App` and `SyncApp`: mypy and pyright must accept this file."""

from dataclasses import dataclass
from typing import Any, assert_type

from twelvefold import App, Run, RunEvent, SyncApp, Workflow


@dataclass(frozen=True)
class Booking:
    """A typed output."""

    seat: str


booking = Workflow("booking", "Book a seat.", output=Booking)
support = Workflow("support", "Help.")


async def use_app(app: App) -> None:
    """The output has the workflow's type; by name it can be anything."""
    run = await app.run(booking, "a seat", principal="ann", key="1", metadata={"order": "7"})
    assert_type(run, Run[Booking])
    assert_type(run.output, Booking | None)
    assert_type(await app.run(support, "hi"), Run[None])
    assert_type(await app.start(booking, [{"type": "message"}]), Run[Booking])
    assert_type(await app.run("booking", "hi"), Run[Any])
    assert_type(await app.get(run.id), Run[Any])
    await app.run(booking, "a seat", princpal="ann")  # type: ignore[call-overload]  # misspelt
    await app.run(booking, 7)  # type: ignore[call-overload]  # no input


async def use_stream(app: App) -> None:
    """`kind` tells the events apart."""
    async for event in app.stream(booking, "a seat"):
        assert_type(event, RunEvent[Booking])
        if event.kind == "text":
            assert_type(event.text, str)
        elif event.kind == "tool_finished":
            assert_type(event.call.result, str)
        elif event.kind == "finished":
            assert_type(event.run.output, Booking | None)


def use_sync_app(app: SyncApp) -> None:
    """The same types without await."""
    assert_type(app.run(booking, "a seat"), Run[Booking])
    for event in app.stream(booking, "a seat"):
        if event.kind == "waiting":
            assert_type(event.run, Run[Booking])
