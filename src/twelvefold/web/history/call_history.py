"""Reads the calls of a conversation, and which of them have a result, from its journal."""

from collections.abc import Sequence

from twelvefold.core import (
    ApprovalAnswered,
    CallId,
    ChildAnswered,
    Entry,
    Item,
    ItemsAdded,
    ModelReplied,
    OutcomeUnknown,
    RunStarted,
    ToolFailed,
    ToolSucceeded,
    call_id,
    calls_of,
)
from twelvefold.web.history.thread_reader import ThreadReader
from twelvefold.web.schemas import RESULT, Call, CallHistory, call_of, message_digest


async def load_call_history(
    reader: ThreadReader, *, to: int | None = None, with_deleted: bool = False
) -> CallHistory:
    """Return the calls of a conversation up to a position (None: all).

    `with_deleted`: also the calls of deleted responses.
    """
    builder = CallHistoryBuilder()
    async for entry in reader.entries(to=to):
        if with_deleted or not await reader.is_deleted(entry):
            builder.add(entry)
    return builder.history()


class CallHistoryBuilder:
    """Collects the calls of a conversation from its entries, in order."""

    def __init__(self) -> None:
        self.awaited: set[str] = set()
        self.answered: set[str] = set()
        self.run_here: set[CallId] = set()
        self.calls: set[Call] = set()
        self.messages: set[bytes] = set()
        self._client_tools: frozenset[str] = frozenset()
        self._wire_ids: dict[CallId, str] = {}

    def history(self) -> CallHistory:
        return CallHistory(
            frozenset(self.awaited),
            frozenset(self.answered),
            frozenset(self.run_here),
            frozenset(self.calls),
            frozenset(self.messages),
        )

    def add(self, entry: Entry) -> None:
        match entry.event:
            case RunStarted(items=items, options=options):
                self._add_items(items)
                self._client_tools = options.client_tool_names
            case ItemsAdded(items=items):
                self._add_items(items)
            case ApprovalAnswered() | ChildAnswered() as answer if answer.options is not None:
                self._client_tools = answer.options.client_tool_names
            case ModelReplied() as reply:
                self._add_reply(entry.position, reply)
            case ToolSucceeded(call=call) | ToolFailed(call=call) | OutcomeUnknown(call=call):
                self.run_here.add(call)
                self.answered |= {self._wire_ids[call]} if call in self._wire_ids else set()
            case _:
                pass

    def _add_items(self, items: Sequence[Item]) -> None:
        self.calls |= {call_of(item) for item in items if item.get("type") == "function_call"}
        results = {str(item.get("call_id")) for item in items if item.get("type") == RESULT}
        if not results & self.awaited:
            self.messages.clear()
        self.messages |= {message_digest(item) for item in items if item.get("type") == "message"}
        self.answered |= results
        self.awaited -= results

    def _add_reply(self, position: int, reply: ModelReplied) -> None:
        for index, call in enumerate(calls_of(reply)):
            wire_id = str(call.get("call_id", ""))
            self.calls.add(call_of(call))
            if call.get("name") in self._client_tools:
                # A model may use an id again: the later call is the one without a result.
                self.awaited.add(wire_id)
                self.answered.discard(wire_id)
            else:
                self._wire_ids[call_id(position, index)] = wire_id
