"""Lists of items: the input of a request, and the items of a conversation."""

from tests.builders import (
    allowed,
    approval_asked,
    asked,
    assistant,
    called,
    entries,
    finished,
    function_call,
    outcome_unknown,
    output,
    said,
    settled,
    succeeded,
    user,
)
from tests.web.journals import THREAD, started
from tests.web.sdk import check_items
from tests.web.whole import item_list
from twelvefold.core.events import Entry, Event, Item, ItemRemoved, ItemsAdded
from twelvefold.web.projection.items import input_items


def _brought(*items: Item) -> list[Item]:
    return input_items(THREAD, entries(started(*items))[0])


def test_a_conversation_lists_input_and_output_in_order() -> None:
    story = entries(asked("enrol me"), called("enrol"), succeeded(), said(), finished())

    items = item_list(THREAD, story)

    check_items(items)
    check_items(items, conversation=True)
    assert [(item["type"], item["id"]) for item in items] == [
        ("message", f"msg_{THREAD}1i0"),
        ("mcp_call", f"mcp_{THREAD}2.0"),
        ("message", f"msg_{THREAD}4"),
    ]
    assert items[0]["content"] == [{"type": "input_text", "text": "enrol me"}]
    assert items[1]["server_label"] == "academy"


def test_approvals_are_listed_with_their_answers() -> None:
    story = entries(asked(), called("enrol"), approval_asked(), allowed(), succeeded())

    items = item_list(THREAD, story)

    check_items(items, conversation=True)
    kinds = ["message", "mcp_approval_request", "mcp_approval_response", "mcp_call"]
    assert [item["type"] for item in items] == kinds
    assert items[2]["approval_request_id"] == items[1]["id"] == items[3]["approval_request_id"]


def test_a_settled_call_is_listed_once_with_its_result() -> None:
    story = entries(asked(), called("ship"), outcome_unknown(), settled(), succeeded())

    [_, call] = item_list(THREAD, story)

    assert (call["status"], call["output"]) == ("completed", "done")


def test_items_added_between_runs_stand_between_them() -> None:
    turn: tuple[Event, ...] = (asked("one"), said("two"), finished())
    story = entries(*turn, ItemsAdded((user("three"),)), asked("four"))

    texts = [item["content"][0]["text"] for item in item_list(THREAD, story)]

    assert texts == ["one", "two", "three", "four"]


def test_items_added_before_any_run_are_listed() -> None:
    added = Entry(1, 0, ItemsAdded((user("hello"), assistant("hi"))), 0)

    items = item_list(THREAD, [added])

    check_items(items, conversation=True)
    assert [item["id"] for item in items] == [f"msg_{THREAD}1i0", f"msg_{THREAD}1i1"]


def test_a_removed_item_is_not_listed() -> None:
    turn: tuple[Event, ...] = (asked("one"), said("two"), finished())
    removed = ItemRemoved(f"msg_{THREAD}1i0")

    items = item_list(THREAD, entries(*turn, removed, ItemRemoved("msg_unknown")))

    assert [item["id"] for item in items] == [f"msg_{THREAD}2"]


def test_results_are_listed_as_the_settings_allow() -> None:
    story = entries(asked(), called("enrol"), succeeded(result="secret"), said(), finished())

    assert item_list(THREAD, story, tool_outputs="none")[1]["output"] == ""
    hidden = item_list(THREAD, story, tool_items="hidden")
    assert [item["type"] for item in hidden] == ["message", "message"]


def test_input_items_get_all_required_fields() -> None:
    image: Item = {"type": "input_image", "image_url": "data:image/png;base64,AA=="}
    tool: Item = {"name": "enrol", "input_schema": {"type": "object"}}
    items = _brought(
        {"role": "user", "content": "hi"},
        {"role": "developer", "content": [{"type": "input_text", "text": "hi"}, image]},
        {"role": "assistant", "content": "hello"},
        assistant("hello"),
        function_call("weather") | {"id": "fc_theirs"},
        output("c1", "sunny"),
        {"type": "reasoning", "id": "rs_1", "encrypted_content": "…"},
        {"type": "mcp_list_tools", "id": "m1", "server_label": "academy", "tools": [tool]},
        {"type": "mcp_call", "server_label": "l", "name": "n", "arguments": "{}", "output": "o"},
    )

    check_items(items)
    check_items(items, conversation=True)
    prefixes = [item["id"].split("_")[0] for item in items]
    assert prefixes == ["msg", "msg", "msg", "msg", "fc", "fco", "rs", "mcpl", "mcp"]
    assert len({item["id"] for item in items}) == len(items)
    assert items[1]["content"][1]["detail"] == "auto"
    assert items[2]["content"][0]["type"] == "output_text"


def test_the_input_of_a_response_after_an_approval_is_the_answer() -> None:
    [_, _, _, answered] = entries(asked(), called("enrol"), approval_asked(), allowed())

    [item] = input_items(THREAD, answered)

    assert (item["type"], item["approve"]) == ("mcp_approval_response", True)
    assert item["approval_request_id"] == f"mcpr_{THREAD}2.0"


def test_other_entries_have_no_input_items() -> None:
    assert input_items(THREAD, entries(asked(), said())[1]) == []
