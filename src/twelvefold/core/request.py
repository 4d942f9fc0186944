"""The next model request of a run: instructions, the conversation, the tools that are open now."""

from dataclasses import dataclass

from twelvefold.core.budget import Limits
from twelvefold.core.compaction import compact
from twelvefold.core.events import size_of
from twelvefold.core.gates import open_tools
from twelvefold.core.ports import ModelRequest
from twelvefold.core.request_options import build_options, client_tools
from twelvefold.core.thread import Thread
from twelvefold.core.workflow import Workflow


@dataclass(frozen=True, slots=True)
class CompactedRequest:
    """A request, and how many results and turns were left out so that it fits the window."""

    request: ModelRequest
    results_left_out: int = 0
    turns_left_out: int = 0


def build_request(thread: Thread, workflow: Workflow, limits: Limits) -> CompactedRequest:
    """Return the next request to the model.

    Raises RequestError if the part of it that must be sent is longer than the window.
    """
    options = thread.options
    tools = (*(tool.spec for tool in open_tools(thread, workflow)), *client_tools(options))
    instructions = "\n\n".join(filter(None, (workflow.instructions, options.instructions)))
    fixed_bytes = size_of(instructions) + sum(tool.size for tool in tools)
    compaction = compact(thread, fixed_bytes, limits)
    request = ModelRequest(
        instructions,
        compaction.items,
        tools,
        build_options(options, tools, first=thread.steps == 0),
        options.hops,
    )
    return CompactedRequest(request, compaction.results_left_out, compaction.turns_left_out)
