import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders import assistant, function_call, output, user
from twelvefold.core.conversation.sendable import (
    NO_RESULT,
    NO_TEXT,
    NOT_RUN,
    arguments_text,
    make_sendable,
    sanitize_name,
)
from twelvefold.core.events import Item

REASONING: Item = {"type": "reasoning", "id": "rs_1", "summary": []}


@pytest.mark.parametrize(
    "arguments", ["{}", '{"a": 1}', ' {"a":[1,{"b":null}]} ', '{"big": 123456789012345678901234}']
)
def test_a_json_object_stays_unchanged(arguments: str) -> None:
    assert arguments_text(arguments) == arguments


@pytest.mark.parametrize("arguments", ["", "  \n", None])
def test_missing_arguments_become_an_empty_object(arguments: object) -> None:
    assert arguments_text(arguments) == "{}"


@pytest.mark.parametrize(
    "arguments",
    [
        '{"a": 1, "b": ',
        "[1, 2]",
        "null",
        "7",
        '"text"',
        "please add 1 and 2",
        '{"a": NaN}',
        '{"a": Infinity}',
        '{"a": 1e999}',
        "{'a': 1}",
        '{"a": 1}{"b": 2}',
        '{"a": "\\ud83d"}',
        '{"a":' * 65 + "1" + "}" * 65,
        '{"a":' + "[" * 100_000,
        "\ufeff{}",
        '<function=add>{"a": 1}</function>',
    ],
    ids=lambda text: text[:12],
)
def test_arguments_that_are_no_json_object_are_put_into_one(arguments: str) -> None:
    assert json.loads(arguments_text(arguments)) == {"_raw": arguments}


def test_brackets_in_a_string_do_not_count_as_depth() -> None:
    arguments = json.dumps({"pattern": "[" * 500 + '\\"{'})

    assert arguments_text(arguments) == arguments


def test_objects_side_by_side_do_not_count_as_depth() -> None:
    arguments = json.dumps({"rows": [{"a": 1}] * 200})

    assert arguments_text(arguments) == arguments


@pytest.mark.parametrize(
    ("arguments", "sent"),
    [
        ('{"a": 1, "a": 2}', {"a": 2}),
        ('{"rows": [{"a": 1, "a": 2}], "b": {"c": 1}}', {"rows": [{"a": 2}], "b": {"c": 1}}),
    ],
)
def test_the_last_value_of_a_duplicate_key_is_kept(arguments: str, sent: object) -> None:
    assert json.loads(arguments_text(arguments)) == sent
    assert arguments_text(arguments).count('"a"') == 1


def test_arguments_that_are_an_object_become_json_text() -> None:
    assert json.loads(arguments_text({"a": "é"})) == {"a": "é"}


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("look_up-2", "look_up-2"),
        ("look up", "look_up"),
        ("functions.look", "functions_look"),
        ("näher", "n_her"),
        ("x" * 65, "x" * 64),
        ("", "unknown"),
        (None, "unknown"),
        ("搜索", "__"),
        ('look"}', "look__"),
    ],
)
def test_an_invalid_name_is_made_valid(name: object, sent: str) -> None:
    assert sanitize_name(name) == sent


def ids(*items: Item) -> list[str]:
    return [item["call_id"] for item in make_sendable(items) if "call_id" in item]


@pytest.mark.parametrize(
    "id", ["call_1", "functions.add:0", "AbC123xyz", "toolu_01|x", "c__thought__EjQ+" + "a" * 900]
)
def test_a_valid_call_id_is_kept(id: str) -> None:
    assert ids(function_call("add", id), output(id, "3")) == [id, id]


@pytest.mark.parametrize(("id", "sent"), [("", "call"), ("a b\n", "a_b_"), ("ü1", "_1")])
def test_an_invalid_call_id_is_replaced_in_the_call_and_its_result(id: str, sent: str) -> None:
    assert ids(function_call("add", id), output(id, "3")) == [sent, sent]


def test_a_call_id_of_several_replies_becomes_several_ids() -> None:
    round = (function_call("add", "c"), output("c", "3"))

    assert ids(*round, *round, *round) == ["c", "c", "c_2", "c_2", "c_3", "c_3"]


def test_a_call_id_that_occurs_twice_in_one_reply_becomes_two_ids() -> None:
    sent = make_sendable(
        [
            *(function_call("add", "c"), function_call("look", "c")),
            *(output("c", "of add"), output("c", "of look")),
        ]
    )

    assert sent == (
        *(function_call("add", "c"), function_call("look", "c_2")),
        *(output("c", "of add"), output("c_2", "of look")),
    )


def test_a_call_id_that_equals_a_replacement_stays_unique() -> None:
    rounds = [
        one for id in ("c", "c", "c_2", "c") for one in (function_call("add", id), output(id, "3"))
    ]

    assert ids(*rounds)[::2] == ["c", "c_2", "c_2_2", "c_3"]


def test_a_result_follows_its_call_directly() -> None:
    sent = make_sendable([function_call("add"), user("and?"), output("c1", "3")])

    assert sent == (function_call("add"), output("c1", "3"), user("and?"))


def test_a_call_without_a_result_gets_a_note() -> None:
    assert make_sendable([function_call("add"), user("and?")])[1] == output("c1", NOT_RUN)


def test_a_result_without_a_call_and_a_second_result_are_dropped() -> None:
    sent = make_sendable(
        [output("c0", "1"), function_call("add"), output("c1", "3"), output("c1", "4")]
    )

    assert sent == (function_call("add"), output("c1", "3"))


def test_alternating_calls_and_results_keep_their_order() -> None:
    items = (
        *(function_call("add", "a"), output("a", "1")),
        *(function_call("add", "b"), output("b", "2")),
    )

    assert make_sendable(items) == items


def test_text_after_a_call_moves_before_it_with_its_reasoning() -> None:
    call, text = function_call("add"), assistant("One moment.")

    assert make_sendable([call, text])[:2] == (text, call)
    assert make_sendable([call, REASONING, text])[:3] == (REASONING, text, call)
    assert make_sendable([REASONING, call, text])[:3] == (text, REASONING, call)


@pytest.mark.parametrize("output", [None, "", " \n", [], [{"type": "input_text", "text": ""}]])
def test_an_empty_result_becomes_a_note(output: object) -> None:
    result = {"type": "function_call_output", "call_id": "c1", "output": output}

    assert make_sendable([function_call("add"), result])[1]["output"] == NO_RESULT


@pytest.mark.parametrize(
    ("output", "sent"),
    [
        ({"a": "é"}, '{"a": "é"}'),
        (0, "0"),
        (
            [{"type": "input_text", "text": ""}, {"type": "input_text", "text": "3"}],
            [{"type": "input_text", "text": "3"}],
        ),
    ],
)
def test_a_result_of_any_shape_is_sent(output: object, sent: object) -> None:
    result = {"type": "function_call_output", "call_id": "c1", "output": output}

    assert make_sendable([function_call("add"), result])[1]["output"] == sent


@pytest.mark.parametrize("content", ["", " \n", None, [], [{"type": "output_text", "text": ""}]])
@pytest.mark.parametrize("role", ["assistant", "system", "developer"])
def test_an_empty_message_is_dropped(role: str, content: object) -> None:
    empty = {"type": "message", "role": role, "content": content}

    assert make_sendable([user("hi"), empty, user("hello?")]) == (user("hi"), user("hello?"))


@pytest.mark.parametrize("content", ["", " ", None, [], [{"type": "input_text", "text": " "}]])
def test_an_empty_user_message_becomes_a_note(content: object) -> None:
    empty = {"type": "message", "role": "user", "content": content}

    assert make_sendable([empty]) == (user(NO_TEXT),)


def test_empty_parts_of_a_message_are_dropped() -> None:
    image = {"type": "input_image", "image_url": "data:x"}
    parts = [{"type": "input_text", "text": ""}, image, None]

    (sent,) = make_sendable([{"type": "message", "role": "user", "content": parts}])

    assert sent["content"] == [image]


def test_a_refusal_is_not_empty() -> None:
    refusal = {"role": "assistant", "content": [{"type": "refusal", "refusal": "I cannot."}]}

    assert make_sendable([refusal]) == (refusal,)


def test_items_of_other_types_stay_unchanged() -> None:
    unknown = {"type": "web_search_call", "id": "ws_1"}

    assert make_sendable([user("hi"), unknown, assistant("Hm.")])[1] == unknown


@settings(max_examples=40)
@given(st.text('{}[]":,\\ a1é\x00\ud83d', max_size=20))
def test_arguments_always_become_a_json_object(text: str) -> None:
    value = json.loads(arguments_text(text))

    assert isinstance(value, dict)
    assert value in ({}, {"_raw": text}) or value == json.loads(text)
