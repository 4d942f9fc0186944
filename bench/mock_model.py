"""A model's server that is much faster than any client: fixed bytes for each reply of a turn.

    python -m bench.mock_model          prints its port, ends with its standard input

It answers `/v1/responses` and `/v1/chat/completions`, streamed or whole, each on a connection
that is kept. A turn is four replies: `get_course`, `enrol`, `send_welcome`, then a text; the
number of tool outputs since the last user message selects it. A course `CR-…` in that
message goes into the calls. A model named `delay-300` answers after 300 ms.
"""

import asyncio
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import uvloop

TOOLS = ("get_course", "enrol", "send_welcome")
TEXT = "You are enrolled, and a mail with all that you need to know is on its way. Have fun!"
COURSE = "CR-0"
_COURSE_SAID = re.compile(rb"CR-\d+")
_DELAY = re.compile(rb'"model":\s*"delay-(\d+)"')
_STREAMED = re.compile(rb'"stream":\s*true')
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: "
_STREAM_HEAD = _HEAD + b"text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Api:
    """One of the two APIs: its replies as bytes, and what a tool's output looks like in a body."""

    output: bytes
    streamed: Sequence[bytes]
    whole: Sequence[bytes]

    def answer(self, body: bytes) -> bytes:
        """The whole HTTP response to a request's body."""
        said = body.rfind(b'"user"')
        number = body.count(self.output, said)
        course = _COURSE_SAID.search(body, said)
        replies = self.streamed if _STREAMED.search(body) else self.whole
        reply = replies[number].replace(COURSE.encode(), course[0] if course else b"CR-1")
        if replies is self.streamed:
            return b"%s%x\r\n%s\r\n0\r\n\r\n" % (_STREAM_HEAD, len(reply), reply)
        head = b"%sapplication/json\r\nContent-Length: %d\r\n\r\n" % (_HEAD, len(reply))
        return head + reply


class Connection(asyncio.Protocol):
    """One client's connection; requests come one after the other."""

    def __init__(self, apis: Mapping[bytes, Api], later: Callable[..., object]) -> None:
        self._apis = apis
        self._later = later
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports write, but are no asyncio.WriteTransport.
        self._transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, blank, body = self._received.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not blank or not length or len(body) < int(length[1]):
            return
        self._received = b""
        answer = self._apis[head.split(b" ", 2)[1]].answer(body)
        if delay := _DELAY.search(body):
            self._later(int(delay[1]) / 1000, self._transport.write, answer)
        else:
            self._transport.write(answer)


def responses() -> Api:
    items = [_call_item(number, tool) for number, tool in enumerate(TOOLS)]
    items.append(_message_item())
    return Api(
        output=b'"function_call_output"',
        streamed=[_sse(_response_events(item)) for item in items],
        whole=[json.dumps(_response(item)).encode() for item in items],
    )


def _call_item(number: int, tool: str) -> Event:
    arguments = json.dumps({"course_code": COURSE})
    named = {"id": f"fc_{number}", "call_id": f"call_{number}", "name": tool}
    return {"type": "function_call", "status": "completed", "arguments": arguments, **named}


def _message_item() -> Event:
    content = [{"type": "output_text", "text": TEXT, "annotations": [], "logprobs": []}]
    said = {"id": "msg_0", "type": "message", "role": "assistant", "content": content}
    return {**said, "status": "completed"}


def _response(item: Event, status: str = "completed") -> Event:
    usage = {
        "input_tokens": 900,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 20,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 920,
    }
    over = status == "completed"
    return {
        **{"id": "resp_0", "object": "response", "created_at": 1, "model": "mock"},
        **{"status": status, "error": None, "incomplete_details": None, "instructions": None},
        **{"metadata": {}, "parallel_tool_calls": True, "temperature": 1.0, "top_p": 1.0},
        **{"tool_choice": "auto", "tools": [], "output": [item] if over else []},
        "usage": usage if over else None,
    }


def _response_events(item: Event) -> list[Event]:
    begun = _response(item, "in_progress")
    where: Event = {"item_id": item["id"], "output_index": 0}
    inside = _text_events(item, where) if item["type"] == "message" else _call_events(item, where)
    empty: Event = {"content": []} if item["type"] == "message" else {"arguments": ""}
    added = {**item, "status": "in_progress", **empty}
    events: list[Event] = [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
        {"type": "response.output_item.added", "output_index": 0, "item": added},
        *inside,
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": _response(item)},
    ]
    return [{**event, "sequence_number": number} for number, event in enumerate(events)]


def _call_events(item: Event, where: Event) -> list[Event]:
    kind, arguments = "response.function_call_arguments", item["arguments"]
    deltas: list[Event] = [
        {"type": f"{kind}.delta", **where, "delta": piece} for piece in _pieces(arguments)
    ]
    return [
        *deltas,
        {"type": f"{kind}.done", **where, "arguments": arguments, "name": item["name"]},
    ]


def _text_events(item: Event, where: Event) -> list[Event]:
    where = {**where, "content_index": 0}
    (part,) = item["content"]
    kind, text = "response.output_text", part["text"]
    return [
        {"type": "response.content_part.added", **where, "part": {**part, "text": ""}},
        *({"type": f"{kind}.delta", **where, "delta": p, "logprobs": []} for p in _pieces(text)),
        {"type": f"{kind}.done", **where, "text": text, "logprobs": []},
        {"type": "response.content_part.done", **where, "part": part},
    ]


def chat_completions() -> Api:
    messages: list[Event] = [
        {"role": "assistant", "content": None, "tool_calls": [_chat_call(number, tool)]}
        for number, tool in enumerate(TOOLS)
    ]
    messages.append({"role": "assistant", "content": TEXT})
    return Api(
        output=b'"tool"',
        streamed=[_sse(_chunks(message)) + b"data: [DONE]\n\n" for message in messages],
        whole=[json.dumps(_completion(message)).encode() for message in messages],
    )


def _chat_call(number: int, tool: str) -> Event:
    arguments = json.dumps({"course_code": COURSE})
    function = {"name": tool, "arguments": arguments}
    return {"id": f"call_{number}", "type": "function", "function": function}


_CHAT: Event = {"id": "chatcmpl-0", "created": 1, "model": "mock"}
_CHAT_USAGE = {"prompt_tokens": 900, "completion_tokens": 20, "total_tokens": 920}


def _completion(message: Event) -> Event:
    reason = "tool_calls" if message.get("tool_calls") else "stop"
    choice = {"index": 0, "message": message, "finish_reason": reason}
    return {**_CHAT, "object": "chat.completion", "choices": [choice], "usage": _CHAT_USAGE}


def _chunks(message: Event) -> list[Event]:
    calls = message.get("tool_calls", ())
    deltas: list[Event] = [{"role": "assistant", "content": None if calls else ""}]
    for index, call in enumerate(calls):
        named: Event = {**call["function"], "arguments": ""}
        deltas.append({"tool_calls": [{**call, "index": index, "function": named}]})
        deltas += [
            {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}
            for piece in _pieces(call["function"]["arguments"])
        ]
    deltas += [{"content": piece} for piece in _pieces(message["content"] or "")]
    chunk: Event = {**_CHAT, "object": "chat.completion.chunk"}
    reason = "tool_calls" if calls else "stop"
    choices: list[Event] = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    choices.append({"index": 0, "delta": {}, "finish_reason": reason})
    return [
        *({**chunk, "choices": [choice]} for choice in choices),
        {**chunk, "choices": [], "usage": _CHAT_USAGE},
    ]


def _pieces(text: str) -> list[str]:
    # A course's code stays in one piece: it is put in when the reply is sent.
    return [piece for piece in re.split(r"(CR-\d+)|(?<=\W)", text) if piece]


def _sse(events: Sequence[Event]) -> bytes:
    return b"".join(_framed(event) for event in events)


def _framed(event: Event) -> bytes:
    name = f"event: {event['type']}\n" if "type" in event else ""
    return f"{name}data: {json.dumps(event, separators=(',', ':'))}\n\n".encode()


async def serve() -> None:
    """Serve until standard input ends."""
    apis = {b"/v1/responses": responses(), b"/v1/chat/completions": chat_completions()}
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Connection(apis, loop.call_later), "127.0.0.1", 0, backlog=4096
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    uvloop.run(serve())
