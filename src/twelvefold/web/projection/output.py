"""A response's output as it grows: its items, and an event for each change.

Items and events are numbered in order. The fields of an event never change afterwards.

The first call of a reply is shown as soon as it is certain that it needs no approval, which the
commit of the reply says; each other call when the journal has its result. A call of a client's own
tool is shown when the run has ended, because only then it is the client's turn.
"""

from dataclasses import dataclass, field

import msgspec

from twelvefold.core import (
    ApprovalAnswered,
    ApprovalAsked,
    CallId,
    ChildAnswered,
    ChildAsked,
    ChildrenStarted,
    Event,
    ModelReplied,
    OutcomeSettled,
    OutcomeUnknown,
    RunId,
    ThreadId,
    ToolFailed,
    ToolSucceeded,
    WaitStarted,
    call_id,
)
from twelvefold.web import ids
from twelvefold.web.projection import call_items, objects
from twelvefold.web.schemas import ItemStatus, Json

NOT_KNOWN = "it is not known whether this call was done; an operator has to find out"


@dataclass(slots=True)
class StreamedMessage:
    """A message that is streamed; `first` is the number of its first delta."""

    id: str
    index: int
    first: int
    pieces: list[str] = field(default_factory=list)
    length: int = 0


class Output:
    """The items so far, and the events that `take` has not returned yet."""

    def __init__(self) -> None:
        self.draft: StreamedMessage | None = None
        self._items: list[Json] = []
        self._events: list[Json] = []
        self._number = 0

    def items(self) -> list[Json]:
        """Return all items as they are now, in the order in which they were added."""
        items = list(self._items)
        if self.draft:
            part = objects.output_text("".join(self.draft.pieces))
            items[self.draft.index] = objects.message(self.draft.id, "in_progress", [part])
        return items

    def take(self) -> list[Json]:
        """Return the events since the last call, in order."""
        events, self._events = self._events, []
        return events

    def emit(self, type: str, **fields: object) -> None:
        """Add an event with the next number."""
        self._events.append({"type": type, "sequence_number": self._number, **fields})
        self._number += 1

    # --- items -------------------------------------------------------------------------------

    def begin(self, item: Json) -> int:
        """Add an item that is not done yet; return its index in the output."""
        index = len(self._items)
        self._items.append(item)
        self.emit("response.output_item.added", output_index=index, item=item)
        return index

    def done(self, index: int, item: Json) -> None:
        """Replace the item that was begun by its final state."""
        self._items[index] = item
        self.emit("response.output_item.done", output_index=index, item=item)

    def add(self, item: Json) -> None:
        """Add an item that is done at once."""
        self.done(self.begin(item), item)

    def update(self, index: int, item: Json) -> None:
        """Change an item that is not done, without an event."""
        self._items[index] = item

    # --- messages ----------------------------------------------------------------------------

    def open_draft(self, id: str, first: int) -> StreamedMessage:
        index = self.begin(objects.message(id, "in_progress", []))
        self.draft = draft = StreamedMessage(id, index, first)
        self._emit_part("response.content_part.added", draft.id, index, 0, objects.output_text(""))
        return draft

    def write(self, draft: StreamedMessage, text: str) -> None:
        draft.pieces.append(text)
        draft.length += len(text)
        self._emit_text(draft.id, draft.index, 0, text)

    def abandon_draft(self) -> None:
        """End the draft, if there is one, as incomplete: its message never came."""
        if self.draft:
            part = objects.output_text("".join(self.draft.pieces))
            self.close_draft(part, "incomplete")

    def close_draft(self, part: Json, status: ItemStatus, phase: str | None = None) -> None:
        if draft := self.draft:
            self.draft = None
            self._emit_part_done(draft.id, draft.index, 0, part)
            self.done(draft.index, objects.message(draft.id, status, [part], phase))

    def add_message(self, item: Json) -> None:
        """Add a message that was not streamed."""
        id: str = item["id"]
        index = self.begin(objects.message(id, "in_progress", []))
        for at, part in enumerate(item["content"]):
            empty = part | ({"text": ""} if part["type"] == "output_text" else {"refusal": ""})
            self._emit_part("response.content_part.added", id, index, at, empty)
            self._emit_whole_part(id, index, at, part)
        self.done(index, item)

    def _emit_whole_part(self, id: str, index: int, at: int, part: Json) -> None:
        if part["type"] == "output_text" and part["text"]:
            self._emit_text(id, index, at, part["text"])
        elif part["type"] == "refusal":
            fields = {"item_id": id, "output_index": index, "content_index": at}
            self.emit("response.refusal.delta", **fields, delta=part["refusal"])
        self._emit_part_done(id, index, at, part)

    def _emit_text(self, id: str, index: int, at: int, text: str) -> None:
        fields = {"item_id": id, "output_index": index, "content_index": at}
        self.emit("response.output_text.delta", **fields, delta=text, logprobs=[])

    def _emit_part(self, type: str, id: str, index: int, at: int, part: Json) -> None:
        self.emit(type, item_id=id, output_index=index, content_index=at, part=part)

    def _emit_part_done(self, id: str, index: int, at: int, part: Json) -> None:
        fields = {"item_id": id, "output_index": index, "content_index": at}
        if part["type"] == "refusal":
            self.emit("response.refusal.done", **fields, refusal=part["refusal"])
        else:
            self.emit("response.output_text.done", **fields, text=part["text"], logprobs=[])
        self._emit_part("response.content_part.done", id, index, at, part)


def makes_wait(event: Event) -> bool:
    """Return whether a run waits for a person after this event, so that its response ends."""
    match event:
        case OutcomeUnknown(final=final):
            return not final
        case WaitStarted(question=question):
            return bool(question)
        case _:
            return isinstance(event, ApprovalAsked | ChildAsked)


# --- calls --------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Call:
    """A call without a result; `index` is that of its item in the output, once there is one."""

    id: CallId
    tool: str
    arguments: str
    wire_id: str
    approved: bool = False
    index: int | None = None


class CallProjection:
    """The calls that have no result yet. Adds no item while `is_shown` is False.

    `children`: the runs that calls have started, also of calls with a result.
    """

    def __init__(self, thread: ThreadId, view: objects.ResponseView, output: Output) -> None:
        self.is_shown = False
        self.children: dict[CallId, ChildrenStarted] = {}
        self._thread = thread
        self._view = view
        self._output = output
        self._client_tools = view.started.options.client_tool_names
        self._open: dict[CallId, _Call] = {}
        self._next: _Call | None = None

    def apply(self, position: int, event: Event) -> None:
        """Apply the run's next event, and emit the changes that it makes final."""
        if not makes_wait(event) or isinstance(event, OutcomeUnknown | ChildAsked):
            self.begin_next()
        match event:
            case ModelReplied():
                self._add(position, event)
            case ApprovalAsked():
                self._request_approval(event)
            case WaitStarted(question=question) if question:
                self._ask(event)
            case ApprovalAnswered():
                self._apply_approval(event)
            case ChildAsked() | ChildAnswered():
                self._apply_child(event)
            case ChildrenStarted(call=id):
                self.children[id] = event
            case OutcomeSettled(call=id, settled="retry"):
                self._continue(id)
            case ToolSucceeded() | ToolFailed() | OutcomeUnknown():
                self._take_result(event)
            case _:
                pass

    def begin_next(self) -> None:
        """Show the call that is certain to run now, if there is one."""
        call, self._next = self._next, None
        if call:
            self._begin(call)

    def _add(self, position: int, reply: ModelReplied) -> None:
        self._open.clear()
        if reply.ended != "completed":
            # Their arguments may be incomplete: none of them runs.
            return
        items = [item for item in reply.items if item.get("type") == "function_call"]
        for index, item in enumerate(items):
            id, name = call_id(position, index), str(item.get("name", ""))
            wire_id = str(item.get("call_id", ""))
            self._open[id] = _Call(id, name, str(item.get("arguments", "")), wire_id)
        own = (call for call in self._open.values() if call.tool not in self._client_tools)
        self._next = next(own, None)

    def _request_approval(self, asked: ApprovalAsked) -> None:
        self._next = None
        call = self._open.get(asked.call)
        if call and self.is_shown:
            request = ids.approval_id(self._thread, call.id)
            shown = asked.arguments or call.arguments
            label = self._view.label
            self._output.add(call_items.approval_request(request, label, call.tool, shown))

    def _ask(self, wait: WaitStarted) -> None:
        """Show a question as a call of a function that the client answers with an output."""
        self._next = None
        if wait.call in self._open and self.is_shown:
            self._add_question(self._thread, wait.call, wait)

    def _add_question(self, thread: ThreadId, id: CallId, asked: WaitStarted | ChildAsked) -> None:
        item = ids.question_id(thread, id)
        question = {"question": asked.question, "schema": asked.schema}
        arguments = msgspec.json.encode(question).decode()
        self._add_function_call(_Call(id, asked.tool, arguments, item), item, item_id=item)

    def _apply_approval(self, event: ApprovalAnswered) -> None:
        if event.options is not None:
            self._client_tools |= event.options.client_tool_names
        if event.approved:
            self._continue(event.call, approved=True, arguments=event.arguments)

    def _apply_child(self, event: ChildAsked | ChildAnswered) -> None:
        if isinstance(event, ChildAsked):
            if self.is_shown and not event.is_unknown:
                self._ask_below(event)
        elif event.options is not None:
            self._client_tools |= event.options.client_tool_names

    def _ask_below(self, asked: ChildAsked) -> None:
        """Show what a run below waits for; the id of the item names the call of that run."""
        thread = RunId.parse(asked.run).thread
        if asked.question:
            self._add_question(thread, asked.child_call, asked)
            return
        request = ids.approval_id(thread, asked.child_call)
        item = call_items.approval_request(request, asked.workflow, asked.tool, asked.arguments)
        self._output.add(item)

    def _continue(self, id: CallId, *, approved: bool = False, arguments: str = "") -> None:
        if call := self._open.get(id):
            call.arguments = arguments or call.arguments
            call.approved = call.approved or approved
            self._next = call

    def _take_result(self, event: ToolSucceeded | ToolFailed | OutcomeUnknown) -> None:
        call = self._open.get(event.call)
        if call is None:
            return
        if isinstance(event, OutcomeUnknown):
            # An operator's answer may still follow.
            self._end(call, "failed", NOT_KNOWN)
            return
        del self._open[event.call]
        if isinstance(event, ToolSucceeded):
            self._end(call, "completed", event.result)
        elif event.failure != "denied":
            # A denied call never began.
            self._end(call, "failed", event.message)

    def leave_children(self) -> None:
        """Forget the runs of calls without a result: a later response has the calls again."""
        for id in self._open:
            self.children.pop(id, None)

    def close(self, *, completed: bool) -> None:
        """End all calls; those that a completed run leaves are for the client."""
        for call in self._open.values():
            if call.index is not None:
                self._end(call, "incomplete")
        if completed and self.is_shown:
            self._add_client_calls()

    def _add_client_calls(self) -> None:
        known: set[str] = set()
        for call in self._open.values():
            # Clients tell calls apart by the model's own id, so a second one with it is left out.
            if call.tool in self._client_tools and call.wire_id not in known:
                known.add(call.wire_id)
                self._add_function_call(call, call.wire_id)

    def _begin(self, call: _Call) -> None:
        if not self.is_shown or call.index is not None:
            return
        match self._view.tool_items:
            case "mcp_call":
                self._begin_mcp_call(call)
            case "function":
                call.index = self._add_function_call(call, ids.own_call_id(self._thread, call.id))
            case "hidden":
                pass

    def _begin_mcp_call(self, call: _Call) -> None:
        id = ids.tool_call_id(self._thread, call.id)
        approval = ids.approval_id(self._thread, call.id) if call.approved else None
        label = self._view.label
        begun = objects.mcp_call(id, label, call.tool, "", approval=approval)
        call.index = index = self._output.begin(begun)
        place = {"item_id": id, "output_index": index}
        self._output.emit("response.mcp_call.in_progress", **place)
        if call.arguments:
            self._output.emit("response.mcp_call_arguments.delta", **place, delta=call.arguments)
        self._output.emit("response.mcp_call_arguments.done", **place, arguments=call.arguments)
        self._output.update(index, begun | {"arguments": call.arguments})

    def _add_function_call(self, call: _Call, as_call_id: str, *, item_id: str = "") -> int:
        id = item_id or ids.function_call_id(self._thread, call.id)
        name, arguments = call.tool, call.arguments
        begun = call_items.function_call(id, as_call_id, name, "", "in_progress")
        index = self._output.begin(begun)
        place = {"item_id": id, "output_index": index}
        kind = "response.function_call_arguments"
        if arguments:
            self._output.emit(f"{kind}.delta", **place, delta=arguments)
        self._output.emit(f"{kind}.done", **place, name=name, arguments=arguments)
        self._output.done(index, call_items.function_call(id, as_call_id, name, arguments))
        return index

    def _end(self, call: _Call, status: ItemStatus, text: str = "") -> None:
        self._begin(call)
        if not self.is_shown or call.index is None:
            return
        result = objects.shorten_result(text, self._view.tool_outputs)
        if self._view.tool_items == "mcp_call":
            self._end_mcp_call(call, call.index, status, result)
        elif status != "incomplete":
            id = ids.function_output_id(self._thread, call.id)
            self._output.add(
                call_items.function_output(id, ids.own_call_id(self._thread, call.id), result)
            )
        call.index = None

    def _end_mcp_call(self, call: _Call, index: int, status: ItemStatus, result: str) -> None:
        id = ids.tool_call_id(self._thread, call.id)
        if status != "incomplete":
            self._output.emit(f"response.mcp_call.{status}", item_id=id, output_index=index)
        item = objects.mcp_call(
            id,
            self._view.label,
            call.tool,
            call.arguments,
            status=status,
            output=result if status == "completed" else None,
            error=result if status == "failed" else None,
            approval=ids.approval_id(self._thread, call.id) if call.approved else None,
        )
        self._output.done(index, item)
