import pytest

from tests.builders import assistant, function_call, output, user
from twelvefold.core.conversation.sendable import convert_items, convert_reply
from twelvefold.core.events import Item

MCP_CALL: Item = {
    "type": "mcp_call",
    "id": "mcp_1",
    "server_label": "academy",
    "name": "look",
    "arguments": '{"code":"A"}',
    "output": "3 seats",
    "error": None,
    "status": "completed",
}


def converted(*items: Item) -> list[Item]:
    """Return the items in the form of a request."""
    return list(convert_items(items))


def test_plain_items_stay_unchanged() -> None:
    items = [user("hello"), {"role": "user", "content": [{"type": "input_text", "text": "hi"}]}]
    items += [function_call("look"), output("c1", "there")]

    assert converted(*items) == items


def test_ids_and_states_of_the_sender_are_dropped() -> None:
    own = {"id": "msg_1", "status": "completed"}

    assert converted(assistant("Hi.") | own, function_call("look") | own) == [
        assistant("Hi."),
        function_call("look"),
    ]


def test_reasoning_keeps_its_id() -> None:
    reasoning: Item = {"type": "reasoning", "id": "rs_1", "encrypted_content": "gAAA"}

    assert converted(reasoning, reasoning | {"status": "completed"}) == [reasoning, reasoning]


@pytest.mark.parametrize(
    ("outcome", "text"),
    [
        ({}, "3 seats"),
        ({"output": None}, ""),
        ({"error": "it is closed"}, "it is closed"),
        ({"error": {"type": "mcp_tool_execution_error", "message": "closed"}}, "closed"),
        ({"error": {"content": ["é"]}}, '{"content": ["é"]}'),
    ],
)
def test_an_mcp_call_becomes_a_call_and_its_result(outcome: Item, text: str) -> None:
    assert converted(MCP_CALL | outcome) == [
        function_call("look", "mcp_1", '{"code":"A"}'),
        output("mcp_1", text),
    ]


def test_an_mcp_call_without_arguments_gets_an_empty_object() -> None:
    assert converted(MCP_CALL | {"arguments": ""})[0] == function_call("look", "mcp_1", "{}")


@pytest.mark.parametrize(
    "type", ["mcp_list_tools", "mcp_approval_request", "mcp_approval_response"]
)
def test_other_mcp_items_are_dropped(type: str) -> None:
    assert converted({"type": type, "id": "x"}, user("hi")) == [user("hi")]


def test_an_image_stays_unchanged() -> None:
    image: Item = {"type": "input_image", "image_url": "data:image/png;base64,iVBO"}
    message: Item = {"role": "user", "content": [{"type": "input_text", "text": "look"}, image]}
    result: Item = {"type": "function_call_output", "call_id": "c", "output": [image]}

    assert converted(message, result) == [message, result]


def test_invalid_parts_stay_unchanged() -> None:
    odd: Item = {"role": "user", "content": ["x", 1]}

    assert converted(odd) == [odd]


def test_only_the_mcp_items_of_a_reply_are_converted() -> None:
    reply = [assistant("Hm.") | {"status": "incomplete"}, MCP_CALL, {"type": "mcp_list_tools"}]

    assert list(convert_reply(reply)) == [
        reply[0],
        function_call("look", "mcp_1", '{"code":"A"}'),
        output("mcp_1", "3 seats"),
    ]
