"""The ids of the API. Each names a place in the journal, so no table of ids is stored.

| id | of |
|---|---|
| `resp_<thread><run>` | a run's first response; with `c1`, `c2` …: those after a wait |
| `conv_<thread>` | a conversation |
| `msg_<thread><position>` | a reply's message; with `_1`, `_2` …: further ones |
| `msg_<thread><position>x<number>` | a streamed message, by the number of its first delta |
| `msg_<thread><position>i<index>` | an input item; `fc_`, `rs_` … for other types |
| `mcp_`, `fc_`, `fco_<thread><call>` | a call, and its result if that is a separate item |
| `mcpr_`, `mcpa_<thread><call>` | a request for approval, and its answer |
| `ask_<thread><call>` | a question of a tool, as an item and as its `call_id` |

A streamed message always has its `x`: it may be abandoned later, and the reply that then follows at
the same position needs another id.
"""

import re
from dataclasses import dataclass
from typing import Self

from twelvefold.core import THREAD_ID_LENGTH, CallId, RunId, ThreadId, call_id, parse_thread_id
from twelvefold.errors import NotFound

_PART = re.compile(r"c[1-9][0-9]{0,8}")
_NUMBER = r"(?:0|[1-9][0-9]{0,8})"
_ITEM = re.compile(
    rf"(?P<prefix>[a-z]+)_(?P<thread>[0-9a-f]{{{THREAD_ID_LENGTH}}})(?P<position>[1-9][0-9]{{0,17}})"
    rf"(?:i(?P<input>{_NUMBER})|\.(?P<call>{_NUMBER})|x(?P<delta>[1-9][0-9]{{0,8}})"
    r"|_(?P<further>[1-9][0-9]{0,8}))?"
)
_PREFIXES = {
    "message": "msg",
    "function_call": "fc",
    "function_call_output": "fco",
    "reasoning": "rs",
    "mcp_call": "mcp",
    "mcp_list_tools": "mcpl",
    "mcp_approval_request": "mcpr",
    "mcp_approval_response": "mcpa",
    "question": "ask",
}


@dataclass(frozen=True, slots=True)
class ResponseId:
    """A response: a run up to its end or its next wait; `part` counts the waits before it."""

    run: RunId
    part: int = 0

    def __str__(self) -> str:
        return f"{self.run}c{self.part}" if self.part else str(self.run)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `resp_<thread><run>[c<part>]`. Raises NotFound."""
        # The thread is hexadecimal, so it may contain a `c`.
        start = len("resp_") + THREAD_ID_LENGTH
        run, mark, part = text[start:].partition("c")
        if not text.startswith("resp_") or (mark and not _PART.fullmatch(mark + part)):
            raise NotFound(f"no response {text!r}")
        try:
            return cls(RunId.parse(text[:start] + run), int(part or 0))
        except NotFound:
            raise NotFound(f"no response {text!r}") from None


def conversation_id(thread: ThreadId) -> str:
    return f"conv_{thread}"


def parse_conversation_id(text: str) -> ThreadId:
    """Read `conv_<thread>`. Raises NotFound."""
    if not text.startswith("conv_"):
        raise NotFound(f"no conversation {text!r}")
    try:
        return parse_thread_id(text)
    except NotFound:
        raise NotFound(f"no conversation {text!r}") from None


def message_id(thread: ThreadId, position: int, index: int = 0, first_delta: int = 0) -> str:
    """Return the id of a reply's message; `index` is that among the reply's messages.

    `first_delta`: the number of a streamed message's first delta, else 0.
    """
    if first_delta:
        return f"msg_{thread}{position}x{first_delta}"
    return f"msg_{thread}{position}_{index}" if index else f"msg_{thread}{position}"


def input_id(thread: ThreadId, position: int, index: int, type: str) -> str:
    """Return the id of the input item with this index in the entry at `position`."""
    return f"{_PREFIXES.get(type, 'in')}_{thread}{position}i{index}"


def tool_call_id(thread: ThreadId, call: CallId) -> str:
    return f"mcp_{thread}{call}"


def function_call_id(thread: ThreadId, call: CallId) -> str:
    return f"fc_{thread}{call}"


def function_output_id(thread: ThreadId, call: CallId) -> str:
    return f"fco_{thread}{call}"


def own_call_id(thread: ThreadId, call: CallId) -> str:
    """Return the `call_id` of a server's call that is shown as a function call.

    The model's own id is not unique: it may use one twice in a conversation.
    """
    return f"call_{thread}{call}"


def parse_own_call_id(text: str) -> CallId | None:
    """Return the call that an id of `own_call_id` names, of any thread; None for another id."""
    call = text[len("call_") + THREAD_ID_LENGTH :]
    return CallId(call) if text.startswith("call_") and call else None


def approval_id(thread: ThreadId, call: CallId) -> str:
    return f"mcpr_{thread}{call}"


def approval_answer_id(thread: ThreadId, call: CallId) -> str:
    return f"mcpa_{thread}{call}"


def question_id(thread: ThreadId, call: CallId) -> str:
    return f"ask_{thread}{call}"


def parse_approval_id(text: str) -> tuple[ThreadId, CallId]:
    """Read `mcpr_<thread><call>` or `ask_<thread><call>`. Raises NotFound."""
    found = _ITEM.fullmatch(text)
    if found is None or found["prefix"] not in ("mcpr", "ask") or found["call"] is None:
        raise NotFound(f"no approval request {text!r}")
    return ThreadId(found["thread"]), call_id(int(found["position"]), int(found["call"]))


@dataclass(frozen=True, slots=True)
class ItemLocation:
    """The place that an item's id names. `is_streamed`: the id is that of a streamed message.

    Such a message may have been abandoned; then the journal's entry does not have it.
    """

    thread: ThreadId
    position: int
    is_streamed: bool


def parse_item_id(text: str) -> ItemLocation:
    """Read the id of any item. Raises NotFound for a text that cannot be one."""
    found = _ITEM.fullmatch(text)
    if found is None or found["prefix"] not in (*_PREFIXES.values(), "in"):
        raise NotFound(f"no item {text!r}")
    return ItemLocation(
        ThreadId(found["thread"]), int(found["position"]), found["delta"] is not None
    )
