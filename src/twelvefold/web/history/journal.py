"""A conversation's journal as the page shows it: each entry with its time and how long it took.

Not part of the OpenAI API. Each entry is complete: a result has the arguments of its call.
"""

from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing

import msgspec

from twelvefold.core import (
    ApprovalAnswered,
    ApprovalAsked,
    CallId,
    ChildAnswered,
    ChildAsked,
    ChildrenStarted,
    Entry,
    Item,
    ItemRemoved,
    ItemsAdded,
    ModelReplied,
    OutcomeSettled,
    OutcomeUnknown,
    RunFinished,
    RunId,
    RunStarted,
    Store,
    ToolFailed,
    ToolSucceeded,
    WaitEnded,
    WaitStarted,
    Workflow,
    call_id,
    calls_of,
    position_of,
)
from twelvefold.engine import retry_unavailable
from twelvefold.web.history.thread_reader import PAGE_BYTES, ThreadReader, take_page
from twelvefold.web.ids import ResponseId, tool_call_id
from twelvefold.web.projection.input_parts import shown_items
from twelvefold.web.projection.objects import content_of, label_of, shorten_result
from twelvefold.web.projection.output import makes_wait
from twelvefold.web.schemas import InputFiles, Json, ToolOutputs

_SECOND_US = 1_000_000
_INPUT = RunStarted | ItemsAdded | ItemRemoved
"""Events that no work precedes, so that the time before them was not spent on them."""
_OF_CALL = (
    ToolSucceeded
    | ToolFailed
    | ApprovalAsked
    | ApprovalAnswered
    | WaitStarted
    | ChildrenStarted
    | ChildAsked
    | ChildAnswered
    | WaitEnded
    | OutcomeUnknown
    | OutcomeSettled
)


class Journal:
    """The entries of a conversation, also those from before it was forked."""

    def __init__(
        self,
        reader: ThreadReader,
        store: Store,
        workflow: Workflow | None,
        outputs: ToolOutputs,
        files: InputFiles = "full",
    ) -> None:
        self._reader = reader
        self._store = store
        self._workflow = workflow
        self._outputs = outputs
        # The items of the conversation have the data; the journal is read again after each step.
        self._files: InputFiles = "none" if files == "none" else "summary"
        self._earlier: Entry | None = None
        self._calls: dict[CallId, Json] = {}
        self._waits: dict[int, int] = {}

    async def page(
        self, after: int, limit: int, max_bytes: int = PAGE_BYTES, *, to: int | None = None
    ) -> Json:
        """Return up to `limit` entries after a position, oldest first; fewer if they are large.

        `to`: none after this position.
        """
        data, has_more = await take_page(self._entries(after, to), limit, max_bytes)
        return {
            "object": "list",
            "data": data,
            "last": data[-1]["position"] if data else after,
            "has_more": has_more,
        }

    async def _entries(self, after: int, to: int | None) -> AsyncGenerator[tuple[Json, int], None]:
        async with aclosing(self._reader.entries(after=after, to=to)) as entries:
            async for entry in entries:
                if not await self._reader.is_deleted(entry):
                    yield await self._describe(entry), entry.size
                self._earlier = entry

    async def _describe(self, entry: Entry) -> Json:
        return {
            "position": entry.position,
            "type": type(entry.event).__name__,
            "run": entry.run,
            "response": await self._response_id(entry),
            "inherited": entry.position <= self._reader.head.forked_at,
            "at": entry.at_us / _SECOND_US,
            "took_ms": await self._took_ms(entry),
            **await self._details(entry),
        }

    async def _took_ms(self, entry: Entry) -> float | None:
        if isinstance(entry.event, _INPUT):
            return None
        if took_us := getattr(entry.event, "took_us", 0):
            return float(took_us) / 1_000
        earlier = self._earlier or await self._reader.entry(entry.position - 1)
        return max(entry.at_us - earlier.at_us, 0) / 1_000 if earlier else None

    async def _response_id(self, entry: Entry) -> str | None:
        """Return the response of an entry; None if it has none, or that of another thread."""
        if isinstance(entry.event, ItemsAdded | ItemRemoved):
            return None
        head = self._reader.head
        if entry.position <= head.forked_at:
            return None
        run, store = RunId(head.id, entry.run), self._store
        if entry.run not in self._waits:
            before = entry.position
            self._waits = {
                entry.run: await retry_unavailable(lambda: store.count_waits(run, before=before))
            }
        number = self._waits[entry.run]
        if makes_wait(entry.event):
            self._waits[entry.run] += 1
        return str(ResponseId(run, number))

    async def _details(self, entry: Entry) -> Json:
        match entry.event:
            case RunStarted(items=items, workflow=workflow, release=release, options=options):
                return {
                    "model": label_of(workflow, options),
                    "release": release,
                    "items": self._items(items),
                }
            case ItemsAdded(items=items):
                return {"items": self._items(items)}
            case ItemRemoved(item=item):
                return {"item": item}
            case ModelReplied() as reply:
                self._calls = dict(_calls_of(entry.position, reply))
                return _reply_details(entry.position, reply)
            case RunFinished(status=status, reason=reason, error=error):
                return {"status": status, "reason": reason, "error": error}
            case event:
                return await self._call_details(entry, event)

    def _items(self, items: Sequence[Item]) -> list[Json]:
        return shown_items(items, self._files)

    async def _call_details(self, entry: Entry, event: _OF_CALL) -> Json:
        call = await self._load_call(event.call, entry.position)
        if isinstance(event, ApprovalAnswered) and event.arguments:
            self._calls[event.call] = call | {"arguments": event.arguments}
        details = {
            "call": event.call,
            "item": tool_call_id(self._reader.head.id, event.call),
            "tool": call.get("tool"),
            "arguments": call.get("arguments"),
            "effect": self._effect(call.get("tool", "")),
        }
        return details | self._result_details(event)

    async def _load_call(self, id: CallId, before: int) -> Json:
        """Return a call from its reply, which may stand before the page.

        It has the arguments with which a person has approved it before a position.
        """
        if id not in self._calls:
            position = position_of(id)
            self._calls = {id: {}}
            async with aclosing(self._reader.entries(after=position - 1, to=before - 1)) as entries:
                async for entry in entries:
                    self._note_call(entry)
        return self._calls[id]

    def _note_call(self, entry: Entry) -> None:
        match entry.event:
            case ModelReplied() as reply:
                self._calls |= dict(_calls_of(entry.position, reply))
            case ApprovalAnswered(call=call, arguments=arguments) if arguments:
                self._calls[call] = self._calls.get(call, {}) | {"arguments": arguments}
            case _:
                pass

    def _result_details(self, event: _OF_CALL) -> Json:
        match event:
            case ToolSucceeded(result=result):
                return {"result": shorten_result(result, self._outputs)}
            case ToolFailed(failure=failure, message=message, error=error):
                details = {"failure": failure, "result": shorten_result(message, self._outputs)}
                return details | {"error": msgspec.to_builtins(error)} if error else details
            case ApprovalAsked(expires_us=expires_us, arguments=arguments):
                asked: Json = {"expires_at": expires_us / _SECOND_US} if expires_us else {}
                return asked | ({"arguments": arguments} if arguments else {})
            case ApprovalAnswered(approved=approved, by=by, reason=reason, arguments=arguments):
                answer = {"approved": approved, "by": by, "reason": reason, **_key(event)}
                return answer | {"arguments_given": arguments} if arguments else answer
            case OutcomeSettled(settled=settled, by=by, result=result):
                shown = shorten_result(result, self._outputs)
                return {"settled": settled, "by": by, "result": shown, **_key(event)}
            case WaitStarted() | ChildrenStarted() | WaitEnded():
                wait: Json = msgspec.to_builtins(event)
                wait.pop("took_us", None)  # it is `took_ms` of the entry
                return wait
            case ChildAsked():
                below: Json = msgspec.to_builtins(event)
                tool, arguments = below.pop("tool"), below.pop("arguments", "")
                child = {"child_run": below.pop("run"), "child_tool": tool}
                return below | child | {"child_arguments": arguments}
            case ChildAnswered(run=run, child_call=child_call, by=by, approved=approved):
                answered: Json = {"child_run": run, "child_call": child_call, "by": by}
                answered |= _key(event)
                return answered | ({"approved": approved} if event.is_approval else {})
            case _:
                return {}

    def _effect(self, name: str) -> str | None:
        tool = self._workflow.by_name.get(name) if self._workflow else None
        return tool.effect if tool else None


def _key(event: ApprovalAnswered | OutcomeSettled | ChildAnswered) -> Json:
    """Return the API key of an answer, if it has one."""
    return {"key_id": event.key_id} if event.key_id else {}


def _reply_details(position: int, reply: ModelReplied) -> Json:
    contents = (content_of(item) for item in reply.items if item.get("type") == "message")
    parts = (part for content in contents for part in content)
    texts = (part.get("text") or part.get("refusal") or "" for part in parts)
    usage = msgspec.to_builtins(reply.usage) | {"total_tokens": reply.usage.total_tokens}
    problems = {"problems": list(reply.problems)} if reply.problems else {}
    return {
        "model": reply.model,
        "usage": usage,
        "text": "\n".join(texts),
        "calls": [call for _, call in _calls_of(position, reply)],
        **problems,
        **_model_details(reply),
    }


def _model_details(reply: ModelReplied) -> Json:
    """Return the named model of a reply, and the models of its chain that gave none."""
    if not reply.named:
        return {}
    return {"named": reply.named, "attempts": msgspec.to_builtins(reply.attempts)}


def _calls_of(position: int, reply: ModelReplied) -> Iterator[tuple[CallId, Json]]:
    for index, item in enumerate(calls_of(reply)):
        id = call_id(position, index)
        yield id, {"id": id, "tool": item.get("name"), "arguments": item.get("arguments")}
