"""Chat completions with tools of the client, and with stop sequences."""

import json
from typing import Any

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from tests.engine.stage import Stage
from tests.web.asking import chunks
from tests.web.serving import USAGE, Json, Rules, Serve, Served
from twelvefold.core.ports import Listener, ModelReply, ModelRequest
from twelvefold.services.model.scripted import calls, says

WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
ASK: Any = [{"role": "user", "content": "call get_weather"}]


class Script(Rules):
    """A model that gives these replies, one after the other, each text in its pieces."""

    def __init__(self, *replies: list[Any]) -> None:
        super().__init__()
        self._replies = list(replies)

    async def reply(self, request: ModelRequest, listener: Listener) -> ModelReply:
        items = []
        for item in self._replies[len(self.requests)]:
            if isinstance(item, list):
                for piece in item:
                    listener.text(piece)
                item = says("".join(item))[0]
            items.append(item)
        self.requests.append(request)
        return ModelReply(tuple(items), USAGE, "script", "ab" * 32)


def joined(stream: list[Json]) -> Json:
    """The message that a stream's chunks make, put together as clients do."""
    message: Json = {"content": "", "tool_calls": {}}
    for chunk in stream:
        for choice in chunk["choices"]:
            delta = choice["delta"]
            message["content"] += delta.get("content") or ""
            message["finish"] = choice["finish_reason"]
            for piece in delta.get("tool_calls", []):
                call = message["tool_calls"].setdefault(piece["index"], {"arguments": ""})
                call |= {key: piece[key] for key in ("id", "type") if key in piece}
                function = piece["function"]
                call["name"] = call.get("name", "") + function.get("name", "")
                call["arguments"] += function.get("arguments", "")
    return message


async def answered(api: Served, stream: bool, **body: Any) -> Json:
    """The one message of an answer, in the shape of `joined`."""
    if stream:
        read = await chunks(api, **body)
        for chunk in read:
            ChatCompletionChunk.model_validate(chunk, strict=True)
        return joined(read)
    answer = await api.post("/chat/completions", {"model": "shop", **body})
    assert answer.status_code == 200, answer.text
    ChatCompletion.model_validate(answer.json(), strict=True)
    [choice] = answer.json()["choices"]
    found = enumerate(choice["message"].get("tool_calls", []))
    told_calls = {
        n: {key: one[key] for key in ("id", "type")} | one["function"] for n, one in found
    }
    content = choice["message"]["content"]
    return {
        "content": content or "",
        "tool_calls": told_calls,
        "finish": choice["finish_reason"],
    }


both = pytest.mark.parametrize("stream", [False, True])


# --- tools ----------------------------------------------------------------------------------------


@both
async def test_a_clients_tool_is_called_by_the_client(api: Served, stream: bool) -> None:
    first = await answered(api, stream, messages=ASK, tools=[WEATHER])
    [call] = first["tool_calls"].values()
    asked = {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {
                "id": call["id"],
                "type": "function",
                "function": {"name": call["name"], "arguments": call["arguments"]},
            }
        ],
    }
    result = {"role": "tool", "tool_call_id": call["id"], "content": "sunny"}
    second = await answered(api, stream, messages=[*ASK, asked, result], tools=[WEATHER])

    assert (first["content"], first["finish"], call["type"]) == ("", "tool_calls", "function")
    assert (call["name"], json.loads(call["arguments"])) == ("get_weather", {"city": "Rome"})
    assert (second["content"], second["finish"]) == ("The tool says: sunny", "stop")
    assert [item["type"] for item in api.model.requests[-1].items] == [
        *("message", "function_call", "function_call_output"),
    ]


async def test_a_message_without_a_text_has_null_for_it(api: Served) -> None:
    answer = await api.post(
        "/chat/completions", {"model": "shop", "messages": ASK, "tools": [WEATHER]}
    )

    assert answer.json()["choices"][0]["message"]["content"] is None


@both
async def test_text_and_several_calls_are_one_message(serve: Serve, stream: bool) -> None:
    two = [
        item | {"call_id": f"c{n}"}
        for n, item in enumerate(calls(("get_weather", {"city": "Rome"}), ("get_weather", {})))
    ]
    api = await serve(model=Script([["Let me ", "look."], *two]))

    message = await answered(api, stream, messages=ASK, tools=[WEATHER])

    assert (message["content"], message["finish"]) == ("Let me look.", "tool_calls")
    assert [call["id"] for call in message["tool_calls"].values()] == ["c0", "c1"]
    assert [json.loads(call["arguments"]) for call in message["tool_calls"].values()] == [
        {"city": "Rome"},
        {},
    ]


@both
@pytest.mark.parametrize("shown", ["mcp_call", "function", "hidden"])
async def test_the_servers_tools_run_and_are_not_shown(
    serve: Serve, stage: Stage, stream: bool, shown: str
) -> None:
    api = await serve(tool_items=shown)

    message = await answered(
        api, stream, messages=[{"role": "user", "content": "buy a lamp"}], tools=[WEATHER]
    )

    assert message["tool_calls"] == {}
    assert (message["content"], message["finish"]) == ("The tool says: bought a lamp", "stop")
    assert await stage.bought() == ["a lamp"]


@both
async def test_the_servers_calls_of_a_reply_run_and_the_clients_are_passed_on(
    serve: Serve, stage: Stage, stream: bool
) -> None:
    asked = [
        item | {"call_id": f"c{n}"}
        for n, item in enumerate(calls(("get_weather", {"city": "Rome"}), ("buy", {"item": "it"})))
    ]
    api = await serve(model=Script(asked))

    message = await answered(api, stream, messages=ASK, tools=[WEATHER])

    assert [call["name"] for call in message["tool_calls"].values()] == ["get_weather"]
    assert message["finish"] == "tool_calls"
    assert await stage.bought() == ["it"]


@pytest.mark.parametrize(
    ("body", "offered", "choice"),
    [
        ({}, True, None),
        ({"tool_choice": "auto"}, True, None),
        ({"tool_choice": "none"}, False, None),
        ({"tool_choice": "required"}, True, "required"),
        (
            {"tool_choice": {"type": "function", "function": {"name": "get_weather"}}},
            True,
            {"type": "function", "name": "get_weather"},
        ),
    ],
)
async def test_a_choice_of_tools_binds_the_model(
    api: Served, body: Json, offered: bool, choice: object
) -> None:
    message = [{"role": "user", "content": "hi"}]
    await answered(api, False, messages=message, tools=[WEATHER], parallel_tool_calls=False, **body)

    [request] = api.model.requests
    assert ("get_weather" in [tool.name for tool in request.tools]) is offered
    assert request.options.get("tool_choice") == choice
    assert request.options.get("parallel_tool_calls") == (False if offered else None)


@both
async def test_a_required_call_is_of_a_clients_tool(serve: Serve, stream: bool) -> None:
    look = calls(("look", {"item": "a lamp"}))
    api = await serve(model=Script(look, calls(("get_weather", {}))))

    message = await answered(api, stream, messages=ASK, tools=[WEATHER], tool_choice="required")

    assert [call["name"] for call in message["tool_calls"].values()] == ["get_weather"]
    wanted = [request.options.get("tool_choice") for request in api.model.requests]
    assert wanted == ["required", "required"]


@pytest.mark.parametrize(
    ("tools", "choice", "holds"),
    [
        ([], "required", False),
        ([WEATHER], "required", True),
        ([WEATHER], "auto", False),
        ([WEATHER], {"type": "function", "function": {"name": "look"}}, False),
        ([WEATHER], ["look"], False),
        ([WEATHER], ["look", "get_weather"], True),
    ],
)
async def test_a_required_call_ends_with_a_clients_call_or_after_one_reply(
    serve: Serve, tools: list[Any], choice: Any, holds: bool
) -> None:
    if isinstance(choice, list):
        named = [{"type": "function", "function": {"name": name}} for name in choice]
        allowed = {"mode": "required", "tools": named}
        choice = {"type": "allowed_tools", "allowed_tools": allowed}
    last = calls(("get_weather", {})) if holds else [["Done."]]
    api = await serve(model=Script(calls(("look", {"item": "a lamp"})), last))

    await answered(api, False, messages=ASK, tools=tools, tool_choice=choice)

    assert ("tool_choice" in api.model.requests[1].options) is holds


async def test_the_official_client_puts_the_calls_of_a_stream_together(api: Served) -> None:
    async with api.sdk.chat.completions.stream(
        model="shop", messages=ASK, tools=[WEATHER], stream_options={"include_usage": True}
    ) as client_stream:
        async for _ in client_stream:
            pass
        final = await client_stream.get_final_completion()

    [choice] = final.choices
    [call] = choice.message.tool_calls or []
    assert (choice.finish_reason, call.function.name) == ("tool_calls", "get_weather")
    assert json.loads(call.function.arguments) == {"city": "Rome"}
    assert final.usage is not None


async def test_results_that_are_in_the_history_twice_are_sent_once(api: Served) -> None:
    function = {"name": "get_weather", "arguments": "{}"}
    call = {"id": "c", "type": "function", "function": function}
    asked = {"role": "assistant", "tool_calls": [call]}
    result = {"role": "tool", "tool_call_id": "c", "content": "sunny"}

    message = await answered(api, False, messages=[*ASK, asked, result, result], tools=[WEATHER])

    assert message["content"] == "The tool says: sunny"
    assert len(api.model.requests[0].items) == 3


# --- stop sequences -------------------------------------------------------------------------------


@both
@pytest.mark.parametrize(
    ("stop", "kept"),
    [
        ("one", "You said: "),
        (["three", "two"], "You said: one "),
        ("You", ""),
        ("five", "You said: one two three"),
        ("e t", "You said: on"),
        (["\n", "d: o"], "You sai"),
    ],
)
async def test_a_text_ends_before_its_first_stop_sequence(
    serve: Serve, stream: bool, stop: object, kept: str
) -> None:
    api = await serve(model=Rules(chars=1))

    message = await answered(
        api, stream, messages=[{"role": "user", "content": "one two three"}], stop=stop
    )

    assert (message["content"], message["finish"]) == (kept, "stop")


@both
async def test_the_separator_of_two_messages_is_no_stop_sequence(
    serve: Serve, stream: bool
) -> None:
    buy = calls(("buy", {"item": "a lamp"}))
    api = await serve(model=Script([["I buy", " it."], *buy], [["Do", "ne.\n", "\nBye."]]))

    message = await answered(api, stream, messages=ASK, stop="\n\n")

    assert message["content"] == "I buy it.\n\nDone."


@both
async def test_tools_run_although_the_text_stops(serve: Serve, stage: Stage, stream: bool) -> None:
    buy = calls(("buy", {"item": "a lamp"}))
    api = await serve(model=Script([["I buy. ST", "OP"], *buy], [["Done."]]))

    message = await answered(api, stream, messages=ASK, stop=["STOP"])

    assert (message["content"], message["finish"]) == ("I buy. ", "stop")
    assert await stage.bought() == ["a lamp"]


@both
async def test_no_call_follows_a_stop(serve: Serve, stream: bool) -> None:
    call = calls(("get_weather", {"city": "Rome"}))
    api = await serve(model=Script([["Look. Obser", "vation: x"], *call]))

    message = await answered(api, stream, messages=ASK, tools=[WEATHER], stop=["Observation:"])

    assert message == {"content": "Look. ", "tool_calls": {}, "finish": "stop"}


async def test_stop_sequences_are_sent_to_the_model(api: Served) -> None:
    await answered(api, False, messages=[{"role": "user", "content": "hi"}], stop="x")

    assert api.model.requests[0].options["stop"] == ["x"]


@pytest.mark.parametrize("kind", ["json_object", "json_schema"])
async def test_a_format_is_sent_to_the_model(api: Served, kind: str) -> None:
    schema = {"json_schema": {"name": "a", "schema": {"type": "object"}}}
    form = {"type": kind} | (schema if kind == "json_schema" else {})
    await answered(api, False, messages=[{"role": "user", "content": "hi"}], response_format=form)

    assert api.model.requests[0].options["text"]["format"]["type"] == kind
