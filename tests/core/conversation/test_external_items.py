import pytest

from tests.builders import assistant, function_call, output, user
from twelvefold.core.conversation.external_items import convert_items, convert_reply
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


def read(*items: Item) -> list[Item]:
    """The items as the model reads them."""
    return list(convert_items(items))


def test_what_is_plain_stays_as_it_is() -> None:
    items = [user("hello"), {"role": "user", "content": [{"type": "input_text", "text": "hi"}]}]
    items += [function_call("look"), output("c1", "there")]

    assert read(*items) == items


def test_ids_and_states_are_the_senders_own() -> None:
    own = {"id": "msg_1", "status": "completed"}

    assert read(assistant("Hi.") | own, function_call("look") | own) == [
        assistant("Hi."),
        function_call("look"),
    ]


def test_reasoning_is_known_by_its_id() -> None:
    reasoning: Item = {"type": "reasoning", "id": "rs_1", "encrypted_content": "gAAA"}

    assert read(reasoning, reasoning | {"status": "completed"}) == [reasoning, reasoning]


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        ({}, "3 seats"),
        ({"output": None}, ""),
        ({"error": "it is closed"}, "it is closed"),
        ({"error": {"type": "mcp_tool_execution_error", "message": "closed"}}, "closed"),
        ({"error": {"content": ["é"]}}, '{"content": ["é"]}'),
    ],
)
def test_a_call_that_another_server_ran_is_a_call_with_its_result(outcome: Item, said: str) -> None:
    assert read(MCP_CALL | outcome) == [
        function_call("look", "mcp_1", '{"code":"A"}'),
        output("mcp_1", said),
    ]


def test_a_call_that_another_server_ran_without_arguments_has_some() -> None:
    assert read(MCP_CALL | {"arguments": ""})[0] == function_call("look", "mcp_1", "{}")


@pytest.mark.parametrize(
    "type", ["mcp_list_tools", "mcp_approval_request", "mcp_approval_response"]
)
def test_what_another_server_says_of_its_tools_is_left_out(type: str) -> None:
    assert read({"type": type, "id": "x"}, user("hi")) == [user("hi")]


def test_an_image_is_sent_as_it_is() -> None:
    image: Item = {"type": "input_image", "image_url": "data:image/png;base64,iVBO"}
    said: Item = {"role": "user", "content": [{"type": "input_text", "text": "look"}, image]}
    result: Item = {"type": "function_call_output", "call_id": "c", "output": [image]}

    assert read(said, result) == [said, result]


def test_parts_that_are_none_are_not_touched() -> None:
    odd: Item = {"role": "user", "content": ["x", 1]}

    assert read(odd) == [odd]


def test_of_our_own_models_reply_only_what_other_servers_did_is_put_differently() -> None:
    reply = [assistant("Hm.") | {"status": "incomplete"}, MCP_CALL, {"type": "mcp_list_tools"}]

    assert list(convert_reply(reply)) == [
        reply[0],
        function_call("look", "mcp_1", '{"code":"A"}'),
        output("mcp_1", "3 seats"),
    ]
