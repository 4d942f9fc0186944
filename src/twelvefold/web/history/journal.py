"""A conversation's journal as the page reads it: what was done, when, and how long it took.

Our own, no part of the OpenAI API. Each entry stands for itself: a result has its call's arguments.
"""

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing

import msgspec

from twelvefold.core.conversation.call_results import called
from twelvefold.core.events import (
    ApprovalAnswered,
    ApprovalAsked,
    Entry,
    ItemRemoved,
    ItemsAdded,
    ModelReplied,
    OutcomeSettled,
    OutcomeUnknown,
    RunFinished,
    RunStarted,
    ToolFailed,
    ToolSucceeded,
)
from twelvefold.core.ids import CallId, RunId, call_id, position_of
from twelvefold.core.ports import Store
from twelvefold.core.workflow import Workflow
from twelvefold.engine.retry import retry_unavailable
from twelvefold.web.history.thread_reader import PAGE_BYTES, ThreadReader, cut
from twelvefold.web.ids import ResponseId, tool_call_id
from twelvefold.web.projection.objects import content_of, result_shown
from twelvefold.web.projection.response import makes_wait
from twelvefold.web.schemas.types import Json, ToolOutputs

_SECOND_US = 1_000_000
_FROM_OUTSIDE = RunStarted | ItemsAdded | ItemRemoved
"""Nobody was at work before one of these, so nothing took that long."""
_OF_A_CALL = (
    ToolSucceeded | ToolFailed | ApprovalAsked | ApprovalAnswered | OutcomeUnknown | OutcomeSettled
)


class Journal:
    """The entries of a conversation, those included that it had when it was forked."""

    def __init__(
        self, reader: ThreadReader, store: Store, workflow: Workflow | None, outputs: ToolOutputs
    ) -> None:
        self._reader = reader
        self._store = store
        self._workflow = workflow
        self._outputs = outputs
        self._earlier: Entry | None = None
        self._calls: dict[CallId, Json] = {}
        self._waits: dict[int, int] = {}

    async def page(self, after: int, limit: int, size: int = PAGE_BYTES) -> Json:
        """So many of the entries behind a position, oldest first; fewer if they are large."""
        data, has_more = await cut(self._entries(after), limit, size)
        return {
            "object": "list",
            "data": data,
            "last": data[-1]["position"] if data else after,
            "has_more": has_more,
        }

    async def _entries(self, after: int) -> AsyncGenerator[tuple[Json, int], None]:
        async with aclosing(self._reader.entries(after=after)) as entries:
            async for entry in entries:
                if not await self._reader.is_gone(entry):
                    yield await self._shown(entry), entry.size
                self._earlier = entry

    async def _shown(self, entry: Entry) -> Json:
        return {
            "position": entry.position,
            "type": type(entry.event).__name__,
            "run": entry.run,
            "response": await self._response(entry),
            "inherited": entry.position <= self._reader.head.forked_at,
            "at": entry.at_us / _SECOND_US,
            "took_ms": await self._took_ms(entry),
            **await self._told(entry),
        }

    async def _took_ms(self, entry: Entry) -> float | None:
        if isinstance(entry.event, _FROM_OUTSIDE):
            return None
        earlier = self._earlier or await self._reader.entry(entry.position - 1)
        return max(entry.at_us - earlier.at_us, 0) / 1_000 if earlier else None

    async def _response(self, entry: Entry) -> str | None:
        """Which response an entry is of; None for what is of none, or of another thread's."""
        if isinstance(entry.event, ItemsAdded | ItemRemoved):
            return None
        head = self._reader.head
        if entry.position <= head.forked_at:
            return None
        run, store = RunId(head.id, entry.run), self._store
        if entry.run not in self._waits:
            before = entry.position
            self._waits = {
                entry.run: await retry_unavailable(lambda: store.waits(run, before=before))
            }
        number = self._waits[entry.run]
        if makes_wait(entry.event):
            self._waits[entry.run] += 1
        return str(ResponseId(run, number))

    async def _told(self, entry: Entry) -> Json:
        match entry.event:
            case RunStarted(items=items, workflow=workflow, release=release):
                return {"model": workflow, "release": release, "items": list(items)}
            case ItemsAdded(items=items):
                return {"items": list(items)}
            case ItemRemoved(item=item):
                return {"item": item}
            case ModelReplied() as reply:
                self._calls = dict(_calls_of(entry.position, reply))
                return _replied(entry.position, reply)
            case RunFinished(status=status, reason=reason, error=error):
                return {"status": status, "reason": reason, "error": error}
            case event:
                return await self._of_a_call(event)

    async def _of_a_call(self, event: _OF_A_CALL) -> Json:
        call = await self._call(event.call)
        about = {
            "call": event.call,
            "item": tool_call_id(self._reader.head.id, event.call),
            "tool": call.get("tool"),
            "arguments": call.get("arguments"),
            "effect": self._effect(call.get("tool", "")),
        }
        return about | self._came_of_it(event)

    async def _call(self, id: CallId) -> Json:
        """A call as its reply has it, which may stand before the page."""
        if id not in self._calls:
            position = position_of(id)
            reply = await self._reader.entry(position)
            self._calls = {id: {}}
            if reply and isinstance(reply.event, ModelReplied):
                self._calls |= dict(_calls_of(position, reply.event))
        return self._calls[id]

    def _came_of_it(self, event: _OF_A_CALL) -> Json:
        match event:
            case ToolSucceeded(result=result):
                return {"result": result_shown(result, self._outputs)}
            case ToolFailed(failure=failure, message=message, error=error):
                told = {"failure": failure, "result": result_shown(message, self._outputs)}
                return told | {"error": msgspec.to_builtins(error)} if error else told
            case ApprovalAnswered(approved=approved, by=by, reason=reason):
                return {"approved": approved, "by": by, "reason": reason}
            case OutcomeSettled(settled=settled, by=by, result=result):
                shown = result_shown(result, self._outputs)
                return {"settled": settled, "by": by, "result": shown}
            case _:
                return {}

    def _effect(self, tool: str) -> str | None:
        found = self._workflow.by_name.get(tool) if self._workflow else None
        return found.effect if found else None


def _replied(position: int, reply: ModelReplied) -> Json:
    said = (content_of(item) for item in reply.items if item.get("type") == "message")
    text = (part.get("text") or part.get("refusal") or "" for parts in said for part in parts)
    usage = msgspec.to_builtins(reply.usage) | {"total_tokens": reply.usage.total_tokens}
    return {
        "model": reply.model,
        "usage": usage,
        "text": "\n".join(text),
        "calls": [call for _, call in _calls_of(position, reply)],
    }


def _calls_of(position: int, reply: ModelReplied) -> Iterator[tuple[CallId, Json]]:
    for index, item in enumerate(called(reply)):
        id = call_id(position, index)
        yield id, {"id": id, "tool": item.get("name"), "arguments": item.get("arguments")}
