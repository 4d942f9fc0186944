"""The tool calls of a response: when each is shown, and as what.

The first call of a reply is shown as soon as it is certain that it does not ask for approval,
which the journal says in the reply's own commit; the others when it says what came of them. What
the client is to run itself is shown when the run has ended, since only then it is its turn.
"""

from dataclasses import dataclass

from twelvefold.core.events import (
    ApprovalAnswered,
    ApprovalAsked,
    Event,
    ModelReplied,
    OutcomeSettled,
    OutcomeUnknown,
    ToolFailed,
    ToolSucceeded,
)
from twelvefold.core.ids import CallId, ThreadId, call_id
from twelvefold.core.request_options import client_names
from twelvefold.web import ids
from twelvefold.web.projection import objects as shapes
from twelvefold.web.projection.output import Output
from twelvefold.web.projection.view import View
from twelvefold.web.schemas.types import ItemStatus

NOT_KNOWN = "it is not known whether this call was done; an operator has to find out"


@dataclass(slots=True)
class _Call:
    """A call without a result; `index` is its place in the output once it is shown."""

    id: CallId
    tool: str
    arguments: str
    wire_id: str
    approved: bool = False
    index: int | None = None


class Calls:
    """Calls that have no result yet. Nothing is shown before `shown` is True."""

    def __init__(self, thread: ThreadId, view: View, output: Output) -> None:
        self.shown = False
        self._thread = thread
        self._view = view
        self._output = output
        self._theirs = client_names(view.started.options)
        self._open: dict[CallId, _Call] = {}
        self._next: _Call | None = None

    def apply(self, position: int, event: Event) -> None:
        """Take the run's next entry, and show what it makes certain."""
        if not isinstance(event, ApprovalAsked):
            self.begin_next()
        match event:
            case ModelReplied():
                self._add(position, event)
            case ApprovalAsked(call=id):
                self._ask(id)
            case ApprovalAnswered(call=id):
                if event.options is not None:
                    self._theirs |= client_names(event.options)
                if event.approved:
                    self._go_on(id, approved=True)
            case OutcomeSettled(call=id, settled="retry"):
                self._go_on(id)
            case ToolSucceeded() | ToolFailed() | OutcomeUnknown():
                self._take_result(event)
            case _:
                pass

    def begin_next(self) -> None:
        """Show the call that is certain to be under way, if there is one."""
        call, self._next = self._next, None
        if call:
            self._begin(call)

    def _add(self, position: int, reply: ModelReplied) -> None:
        self._open.clear()
        if reply.ended != "completed":
            # They may lack half of their arguments: none of them runs.
            return
        asked = [item for item in reply.items if item.get("type") == "function_call"]
        for index, item in enumerate(asked):
            id, name = call_id(position, index), str(item.get("name", ""))
            wire_id = str(item.get("call_id", ""))
            self._open[id] = _Call(id, name, str(item.get("arguments", "")), wire_id)
        ours = (call for call in self._open.values() if call.tool not in self._theirs)
        self._next = next(ours, None)

    def _ask(self, id: CallId) -> None:
        self._next = None
        call = self._open.get(id)
        if call and self.shown:
            request = ids.approval_id(self._thread, id)
            label = self._view.label
            self._output.whole(shapes.approval_request(request, label, call.tool, call.arguments))

    def _go_on(self, id: CallId, *, approved: bool = False) -> None:
        if call := self._open.get(id):
            call.approved = call.approved or approved
            self._next = call

    def _take_result(self, event: ToolSucceeded | ToolFailed | OutcomeUnknown) -> None:
        call = self._open.get(event.call)
        if call is None:
            return
        if isinstance(event, OutcomeUnknown):
            # What a person finds out is still to come.
            self._end(call, "failed", NOT_KNOWN)
            return
        del self._open[event.call]
        if isinstance(event, ToolSucceeded):
            self._end(call, "completed", event.result)
        elif event.failure != "denied":
            # One that was not allowed never began.
            self._end(call, "failed", event.message)

    def close(self, *, completed: bool) -> None:
        """Leave no call under way; if the run is completed, those left are for the client."""
        for call in self._open.values():
            if call.index is not None:
                self._end(call, "incomplete")
        if completed and self.shown:
            self._hand_over()

    def _hand_over(self) -> None:
        given: set[str] = set()
        for call in self._open.values():
            # A client tells its calls apart by the model's own id; the second of two is not one.
            if call.tool in self._theirs and call.wire_id not in given:
                given.add(call.wire_id)
                self._function_call(call, call.wire_id)

    def _begin(self, call: _Call) -> None:
        if not self.shown or call.index is not None:
            return
        match self._view.tool_items:
            case "mcp_call":
                self._begin_mcp_call(call)
            case "function":
                call.index = self._function_call(call, ids.own_call_id(self._thread, call.id))
            case "hidden":
                pass

    def _begin_mcp_call(self, call: _Call) -> None:
        id = ids.tool_call_id(self._thread, call.id)
        approval = ids.approval_id(self._thread, call.id) if call.approved else None
        label = self._view.label
        begun = shapes.mcp_call(id, label, call.tool, "", approval=approval)
        call.index = index = self._output.begin(begun)
        place = {"item_id": id, "output_index": index}
        self._output.tell("response.mcp_call.in_progress", **place)
        if call.arguments:
            self._output.tell("response.mcp_call_arguments.delta", **place, delta=call.arguments)
        self._output.tell("response.mcp_call_arguments.done", **place, arguments=call.arguments)
        self._output.update(index, begun | {"arguments": call.arguments})

    def _function_call(self, call: _Call, as_call_id: str) -> int:
        id = ids.function_call_id(self._thread, call.id)
        name, arguments = call.tool, call.arguments
        begun = shapes.function_call(id, as_call_id, name, "", "in_progress")
        index = self._output.begin(begun)
        place = {"item_id": id, "output_index": index}
        kind = "response.function_call_arguments"
        if arguments:
            self._output.tell(f"{kind}.delta", **place, delta=arguments)
        self._output.tell(f"{kind}.done", **place, name=name, arguments=arguments)
        self._output.done(index, shapes.function_call(id, as_call_id, name, arguments))
        return index

    def _end(self, call: _Call, status: ItemStatus, said: str = "") -> None:
        self._begin(call)
        if not self.shown or call.index is None:
            return
        shown = shapes.result_shown(said, self._view.tool_outputs)
        if self._view.tool_items == "mcp_call":
            self._end_mcp_call(call, call.index, status, shown)
        elif status != "incomplete":
            id = ids.function_output_id(self._thread, call.id)
            self._output.whole(
                shapes.function_output(id, ids.own_call_id(self._thread, call.id), shown)
            )
        call.index = None

    def _end_mcp_call(self, call: _Call, index: int, status: ItemStatus, shown: str) -> None:
        id = ids.tool_call_id(self._thread, call.id)
        if status != "incomplete":
            self._output.tell(f"response.mcp_call.{status}", item_id=id, output_index=index)
        item = shapes.mcp_call(
            id,
            self._view.label,
            call.tool,
            call.arguments,
            status=status,
            output=shown if status == "completed" else None,
            error=shown if status == "failed" else None,
            approval=ids.approval_id(self._thread, call.id) if call.approved else None,
        )
        self._output.done(index, item)
