"""Ids as they go over the wire: each says where in the journal to look, so there is no table.

| id | of |
|---|---|
| `resp_<thread><run>` | a run's first response; `c1`, `c2` … behind it for those after a wait |
| `conv_<thread>` | a conversation |
| `msg_<thread><position>` | a reply's message; `_1`, `_2` … behind it for further ones |
| `msg_<thread><position>x<number>` | one shown as it came, by the number of its first delta |
| `msg_<thread><position>i<index>` | what a caller said; `fc_`, `rs_` … for other types |
| `mcp_`, `fc_`, `fco_<thread><call>` | a call, and its result where that is an item of its own |
| `mcpr_`, `mcpa_<thread><call>` | a request for approval, and its answer |

A message shown as it came always has its `x`: whoever reads along cannot know whether it will be
given up, and the reply that then comes at the same position needs a name of its own.
"""

import re
from dataclasses import dataclass
from typing import Self

from twelvefold.core.ids import (
    THREAD_ID_LENGTH,
    CallId,
    RunId,
    ThreadId,
    call_id,
    parse_thread_id,
)
from twelvefold.errors import NotFound

_PART = re.compile(r"c[1-9][0-9]{0,8}")
_NUMBER = r"(?:0|[1-9][0-9]{0,8})"
_ITEM = re.compile(
    rf"(?P<prefix>[a-z]+)_(?P<thread>[0-9a-f]{{{THREAD_ID_LENGTH}}})(?P<position>[1-9][0-9]{{0,18}})"
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
}


@dataclass(frozen=True, slots=True)
class ResponseId:
    """A response: what a run did until it was over or had to wait; `part` counts the waits."""

    run: RunId
    part: int = 0

    def __str__(self) -> str:
        return f"{self.run}c{self.part}" if self.part else str(self.run)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `resp_<thread><run>[c<part>]`. Raises NotFound, as for one that is not there."""
        # The thread is hexadecimal, so a `c` may be in it.
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
    """Read `conv_<thread>`. Raises NotFound, as for a conversation that is not there."""
    if not text.startswith("conv_"):
        raise NotFound(f"no conversation {text!r}")
    try:
        return parse_thread_id(text)
    except NotFound:
        raise NotFound(f"no conversation {text!r}") from None


def message_id(thread: ThreadId, position: int, index: int = 0, first_delta: int = 0) -> str:
    """A reply's message; `index` counts the reply's messages, `first_delta` is 0 if none came."""
    if first_delta:
        return f"msg_{thread}{position}x{first_delta}"
    return f"msg_{thread}{position}_{index}" if index else f"msg_{thread}{position}"


def input_id(thread: ThreadId, position: int, index: int, type: str) -> str:
    """The item of this index among those that the entry at `position` brought along."""
    return f"{_PREFIXES.get(type, 'in')}_{thread}{position}i{index}"


def tool_call_id(thread: ThreadId, call: CallId) -> str:
    return f"mcp_{thread}{call}"


def function_call_id(thread: ThreadId, call: CallId) -> str:
    return f"fc_{thread}{call}"


def function_output_id(thread: ThreadId, call: CallId) -> str:
    return f"fco_{thread}{call}"


def own_call_id(thread: ThreadId, call: CallId) -> str:
    """The call id under which a call of the server's own is shown as a function call.

    The model's own would not do: it may use one again in the same conversation.
    """
    return f"call_{thread}{call}"


def parse_own_call_id(text: str) -> CallId | None:
    """The call that `own_call_id` names, in whichever thread; None for any other id."""
    call = text[len("call_") + THREAD_ID_LENGTH :]
    return CallId(call) if text.startswith("call_") and call else None


def approval_id(thread: ThreadId, call: CallId) -> str:
    return f"mcpr_{thread}{call}"


def approval_answer_id(thread: ThreadId, call: CallId) -> str:
    return f"mcpa_{thread}{call}"


def parse_approval_id(text: str) -> tuple[ThreadId, CallId]:
    """Read `mcpr_<thread><call>`. Raises NotFound, as for a request that was never made."""
    found = _ITEM.fullmatch(text)
    if found is None or found["prefix"] != "mcpr" or found["call"] is None:
        raise NotFound(f"no approval request {text!r}")
    return ThreadId(found["thread"]), call_id(int(found["position"]), int(found["call"]))


@dataclass(frozen=True, slots=True)
class ItemPlace:
    """Where an item's id says that it is. `shown` is True for a message shown as it came.

    Such a message may have been given up; then the journal's entry does not know it.
    """

    thread: ThreadId
    position: int
    shown: bool


def parse_item_id(text: str) -> ItemPlace:
    """Read the id of any item of ours. Raises NotFound for what cannot be one."""
    found = _ITEM.fullmatch(text)
    if found is None or found["prefix"] not in (*_PREFIXES.values(), "in"):
        raise NotFound(f"no item {text!r}")
    return ItemPlace(ThreadId(found["thread"]), int(found["position"]), found["delta"] is not None)
