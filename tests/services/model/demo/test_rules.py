"""The rules of the demo model: requests of the Responses API to messages and calls."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twelvefold.core.events import Item
from twelvefold.services.model.demo.enrolment import HELP
from twelvefold.services.model.demo.rules import NOTICE, reply
from twelvefold.services.model.items import text_of

OPEN = ("find_courses", "get_course", "my_enrolments", "drop")
ALL = (*OPEN, "enrol", "find_alternatives", "send_welcome")
DB_101 = {"code": "DB-101", "title": "Relational Databases", "price_usd": 240.0, "seats_left": 0}
DB_102 = {"code": "DB-102", "title": "Practical SQL", "price_usd": 190.0, "seats_left": 3}
FOUND = {"courses": [DB_101, DB_102]}
FULL = "Error: DB-101 is full; find_alternatives gives courses with seats"


def section(id: str, **more: object) -> dict[str, Any]:
    row = {
        "section": id,
        "course": id[:-2],
        "title": "Practical SQL",
        "price_usd": 190.0,
    }
    return {**row, "seats_left": 3, "status": "open", "starts": "2027-01-04", **more}


def course(*sections: dict[str, Any]) -> dict[str, Any]:
    code = sections[0]["course"]
    return {"code": code, "title": "Practical SQL", "description": "SQL.", "sections": sections}


def user(text: str) -> list[Item]:
    return [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}]


def assistant(text: str) -> list[Item]:
    return [{"type": "message", "role": "assistant", "content": text}]


def call_with_result(tool: str, arguments: Mapping[str, Any], output: object) -> list[Item]:
    text = output if isinstance(output, str) else json.dumps(output)
    call = {"call_id": f"c{text}", "name": tool, "arguments": json.dumps(arguments)}
    return [
        {"type": "function_call", **call},
        {"type": "function_call_output", "call_id": call["call_id"], "output": text},
    ]


def reply_to(items: Sequence[Item], tools: Sequence[str] = ALL) -> Item:
    offered = [{"type": "function", "name": name, "parameters": {}} for name in tools]
    (item,) = reply({"model": "demo", "input": list(items), "tools": offered})
    return item


def call(items: Sequence[Item], tools: Sequence[str] = ALL) -> tuple[str, dict[str, Any]]:
    """Return the next call with its arguments."""
    item = reply_to(items, tools)
    assert item["type"] == "function_call", text_of(item.get("content"))
    return item["name"], json.loads(item["arguments"])


def words(items: Sequence[Item], tools: Sequence[str] = ALL) -> str:
    """Return the text of the next message."""
    item = reply_to(items, tools)
    assert item["type"] == "message", item
    return text_of(item["content"])


# Messages of the user


def test_the_first_reply_says_that_this_is_the_demo_model() -> None:
    first = words(user("hello"))

    assert first == f"{NOTICE}Hello! {HELP}"
    assert "OPENAI_API_KEY" in NOTICE
    assert words([*user("hello"), *assistant(first), *user("what can you do?")]) == HELP


def test_the_first_reply_after_tool_calls_says_it_too() -> None:
    text = words(
        [
            *user("What am I enrolled in?"),
            *call_with_result("my_enrolments", {}, {"enrolments": []}),
        ]
    )

    assert text == f"{NOTICE}You are not enrolled in any course."


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("I want to learn databases", {"text": "databases", "highest_price_usd": None}),
        ("Something on machine learning?", {"text": "machine learning", "highest_price_usd": None}),
        ("python for less than $200 please", {"text": "python", "highest_price_usd": 200.0}),
        ("sign me up for a SQL course under 99.5", {"text": "sql", "highest_price_usd": 99.5}),
        ("Spanish, 150 dollars or less", {"text": "spanish", "highest_price_usd": 150.0}),
    ],
)
def test_a_topic_is_searched(text: str, arguments: dict[str, Any]) -> None:
    assert call(user(text)) == ("find_courses", {"topic": None, **arguments})


@pytest.mark.parametrize(
    ("text", "highest"), [("something cheaper than 200", 200.0), ("anything cheaper?", 189.0)]
)
def test_a_price_alone_narrows_the_last_search(text: str, highest: float) -> None:
    before = [*user("databases"), *call_with_result("find_courses", {"text": "databases"}, FOUND)]

    name, arguments = call([*before, *assistant("…"), *user(text)])

    assert name == "find_courses"
    assert arguments == {"text": "databases", "topic": None, "highest_price_usd": highest}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("sign me up for DB-101", "DB-101"),
        ("enrol me in db 101, if it costs under 200", "DB-101"),
        ("Tell me about PY101", "PY-101"),
        ("MATH-101-B", "MATH-101-B"),
        ("what is 0000148988?", "0000148988"),
        ("put me into practical sql", "DB-102"),
        ("tell me more about the second one", "DB-102"),
        ("the cheapest", "DB-102"),
    ],
)
def test_a_course_is_looked_up(text: str, code: str) -> None:
    before = [*user("databases"), *call_with_result("find_courses", {"text": "databases"}, FOUND)]

    assert call([*before, *assistant("…"), *user(text)]) == ("get_course", {"course_code": code})


@pytest.mark.parametrize("text", ["What am I enrolled in?", "show my courses", "my schedule"])
def test_enrolments_are_listed(text: str) -> None:
    assert call(user(text)) == ("my_enrolments", {})


@pytest.mark.parametrize(
    "text", ["hi", "", "help", "?!", "who are you", "thanks!", "no", "ok", "\ud800", "x" * 100_000]
)
def test_any_message_has_an_answer(text: str) -> None:
    assert reply_to(user(text))


# Enrolling


def test_enrol_follows_a_look_up_if_that_was_the_intent() -> None:
    looked_up = call_with_result(
        "get_course", {"course_code": "DB-102"}, course(section("DB-102-A"))
    )

    assert call([*user("sign me up for DB-102"), *looked_up]) == (
        "enrol",
        {"course_code": "DB-102"},
    )
    assert "Shall I sign you up for DB-102?" in words([*user("how much is DB-102"), *looked_up])


def test_the_student_chooses_among_several_sections() -> None:
    both = course(section("DB-102-A"), section("DB-102-B"))
    looked_up = call_with_result("get_course", {"course_code": "DB-102"}, both)
    question = words([*user("sign me up for DB-102"), *looked_up])
    one = call_with_result("get_course", {"course_code": "DB-102-B"}, course(section("DB-102-B")))
    answer = [*user("sign me up"), *looked_up, *assistant(question), *user("the second"), *one]

    assert question.endswith("Which section do you want?")
    assert call(answer) == ("enrol", {"course_code": "DB-102-B"})


def test_a_welcome_and_a_summary_follow_an_enrolment() -> None:
    enrolled = [*user("enrol me in DB-102"), *call_with_result("enrol", {}, section("DB-102-A"))]
    welcomed = call_with_result("send_welcome", {}, {"sent_to": "you@students.example"})

    assert call(enrolled) == ("send_welcome", {"course_code": "DB-102"})
    text = words([*enrolled, *welcomed])
    assert text.endswith("A welcome mail is on its way to you@students.example.")
    assert "You are enrolled in DB-102-A Practical SQL, $190, starts 2027-01-04" in text


FULL_TURN = (
    *call_with_result(
        "get_course", {"course_code": "DB-101"}, course(section("DB-101-A", seats_left=0))
    ),
    *call_with_result("enrol", {"course_code": "DB-101"}, FULL),
)
ALTERNATIVES = call_with_result(
    "find_alternatives", {"course_code": "DB-101"}, {"alternatives": [section("DB-102-A")]}
)


def test_alternatives_are_searched_after_a_full_course() -> None:
    turn = [*user("sign me up for DB-101"), *FULL_TURN]

    assert call(turn[:3]) == ("enrol", {"course_code": "DB-101"})
    assert call(turn) == ("find_alternatives", {"course_code": "DB-101"})


def test_an_alternative_is_offered_and_a_yes_takes_it() -> None:
    turn = [*user("sign me up for DB-101"), *FULL_TURN, *ALTERNATIVES]
    offer = words(turn)

    assert "DB-101 is full" in offer
    assert offer.endswith("Shall I take DB-102-A, Practical SQL?")
    yes = [*turn, *assistant(offer), *user("Yes, please!")]
    assert call(yes) == ("get_course", {"course_code": "DB-102-A"})


@pytest.mark.parametrize(
    "permission",
    ["if it is full, take whatever is closest", "or something similar", "otherwise SQL"],
)
def test_an_alternative_is_taken_if_the_user_allowed_it(permission: str) -> None:
    turn = [*user(f"sign me up for DB-101, {permission}"), *FULL_TURN, *ALTERNATIVES]
    taken = call_with_result("enrol", {"course_code": "DB-102-A"}, section("DB-102-A"))
    welcomed = call_with_result("send_welcome", {}, {"sent_to": "you@students.example"})

    assert call(turn) == ("enrol", {"course_code": "DB-102-A"})
    text = words([*turn, *taken, *welcomed])
    assert "DB-101 is full, so I took the nearest. You are enrolled in DB-102-A" in text


def test_a_second_refusal_ends_the_attempts() -> None:
    refused_again = call_with_result(
        "enrol", {"course_code": "DB-102-A"}, FULL.replace("101", "102")
    )
    turn = [*user("DB-101, or something similar"), *FULL_TURN, *ALTERNATIVES, *refused_again]

    assert words(turn).endswith("I could not enrol you: DB-102 is full.")


def test_an_unknown_course_is_reported_without_the_advice_for_models() -> None:
    refused = call_with_result(
        "get_course", {}, "Error: there is no course 'XX-9'; find_courses gives the codes"
    )

    text = words([*user("enrol me in XX-900"), *refused])

    assert text.endswith("There is no course 'XX-9'. Tell me what you want to learn, and I search.")


def test_a_yes_to_a_list_asks_which() -> None:
    before = [*user("databases"), *call_with_result("find_courses", {"text": "databases"}, FOUND)]

    assert words([*before, *assistant("…"), *user("yes")]).startswith("Which course do you mean?")


# Dropping


def test_it_refers_to_the_last_enrolment() -> None:
    before = [*user("enrol me in DB-102"), *call_with_result("enrol", {}, section("DB-102-A"))]

    assert call([*before, *assistant("…"), *user("drop it")]) == ("drop", {"course_code": "DB-102"})


def test_the_only_course_is_dropped_and_several_need_a_choice() -> None:
    one = call_with_result("my_enrolments", {}, {"enrolments": [{"course": "DB-102"}]})
    two = call_with_result(
        "my_enrolments", {}, {"enrolments": [{"course": "DB-102"}, {"course": "PY-101"}]}
    )
    start = user("drop my course, whichever")

    assert call(start) == ("my_enrolments", {})
    assert call([*start, *one]) == ("drop", {"course_code": "DB-102"})
    question = words([*start, *two]).removeprefix(NOTICE)
    assert question.startswith("Which of these shall I drop?")
    answer = [*start, *two, *assistant(question), *user("PY-101")]
    assert call(answer) == ("drop", {"course_code": "PY-101"})


# What holds always


def test_an_unavailable_tool_is_not_called() -> None:
    turn = [*user("sign me up for DB-101"), *FULL_TURN[:2]]

    assert "I would call enrol now, but it is not on offer." in words(turn, OPEN)


def test_the_same_request_has_the_same_reply_and_another_has_another_call_id() -> None:
    one, same, other = (reply_to(user(text)) for text in ("databases", "databases", "python"))

    assert one == same
    assert one["call_id"] != other["call_id"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "courses",
                    "alternatives",
                    "enrolments",
                    "sections",
                    "section",
                    "code",
                    "price_usd",
                ]
            ),
            inner,
            max_size=3,
        )
    ),
)


@given(
    text=st.sampled_from(
        ["yes", "drop it", "cheaper", "databases", "enrol me in DB-101", "the second"]
    ),
    again=st.sampled_from(["", "yes", "drop it", "anything cheaper?", "tell me more about it"]),
    calls=st.lists(st.tuples(st.sampled_from(ALL), JSON), max_size=4),
)
def test_any_tool_result_has_an_answer(text: str, again: str, calls: list[tuple[str, Any]]) -> None:
    answered = [item for tool, output in calls for item in call_with_result(tool, {}, output)]
    later = [*assistant("…"), *user(again)] if again else []

    assert reply_to([*user(text), *answered, *later])


# Another workflow's tools


def text_of_schema(*names: str, kind: str = "string") -> dict[str, Any]:
    return {"type": "object", "properties": {name: {"type": kind} for name in names}}


NOTES = [
    {"name": "add_note", "description": "Write a note down.", "parameters": text_of_schema("text")},
    {"name": "list_notes", "description": "All notes.", "parameters": text_of_schema()},
    {
        "name": "roll",
        "description": "Roll a die.",
        "parameters": {
            "properties": {
                "sides": {"type": "integer"},
                "label": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            }
        },
    },
    {"name": "send", "description": "Send a letter.", "parameters": text_of_schema("to", "text")},
]
WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather in a city.",
    "parameters": {"type": "object", "properties": {"location": {"type": "string"}}},
}
REFUND = {
    "name": "refund",
    "description": "Refund an order.",
    "parameters": text_of_schema("number", "cents", kind="integer"),
}


def other(*items: Item) -> Item:
    (item,) = reply({"input": list(items), "tools": NOTES})
    return item


@pytest.mark.parametrize(
    ("text", "tool", "arguments"),
    [
        ("Add a note: buy milk", "add_note", {"text": "buy milk"}),
        ('write down "call Bob"', "add_note", {"text": "call Bob"}),
        ("please note that I like tea", "add_note", {"text": "I like tea"}),
        ("Write buy more tea down, please.", "add_note", {"text": "buy more tea"}),
        ("Write 2 eggs down", "add_note", {"text": "2 eggs"}),
        ("write", "add_note", {"text": "write"}),
        ("show my notes", "list_notes", {}),
        ("roll a die with 6 sides", "roll", {"sides": 6, "label": None}),
        ("roll a die with 6.5 sides", "roll", {"sides": 6, "label": None}),
        (f"roll {'9' * 400} sides", "roll", {"sides": int("9" * 400), "label": None}),
        ('send "Ann" a letter: "It rains."', "send", {"to": "Ann", "text": "It rains."}),
    ],
)
def test_the_tool_named_by_the_words_is_called(
    text: str, tool: str, arguments: dict[str, Any]
) -> None:
    item = other(*user(text))

    assert (item["name"], json.loads(item["arguments"])) == (tool, arguments)


@pytest.mark.parametrize("text", ["hello", "send a letter", "roll a die", ""])
def test_a_message_without_a_matching_rule_is_reported(text: str) -> None:
    answer = text_of(other(*user(text))["content"])

    assert answer.startswith(NOTICE)
    assert "There are: add_note, list_notes, roll, send." in answer


def test_numbers_are_filled_in_in_the_order_of_the_parameters() -> None:
    (item,) = reply({"input": "Refund 1 700", "tools": [REFUND]})

    assert (item["name"], json.loads(item["arguments"])) == ("refund", {"number": 1, "cents": 700})


@pytest.mark.parametrize(
    ("text", "tool", "missing"),
    [
        ("Refund 1", REFUND, "cents of refund"),
        ("Refund it", REFUND, "number and cents of refund"),
        ('send "Ann" a letter', NOTES[3], "text of send"),
        (
            "get weather",
            {**WEATHER, "parameters": text_of_schema("at", kind="array")},
            "at of get_",
        ),
    ],
)
def test_parameters_without_a_value_in_the_text_are_named(
    text: str, tool: dict[str, Any], missing: str
) -> None:
    (item,) = reply({"input": text, "tools": [tool]})

    assert f"My rules find no value for {missing}" in text_of(item["content"])


def test_the_result_of_another_tool_is_shown() -> None:
    text = text_of(
        other(*user("show my notes"), *call_with_result("list_notes", {}, '["tea"]'))["content"]
    )

    assert text.endswith('list_notes says: ["tea"]')


def test_a_request_without_tools_has_an_answer() -> None:
    (item,) = reply({"input": "hello"})

    assert "no tool" in text_of(item["content"])


# A caller's own tools


FORM = {
    "type": "function",
    "name": "fill_in",
    "parameters": {
        "type": "object",
        "properties": {
            "size": {"enum": ["s", "l"]},
            "name": {"type": "string"},
            "count": {"type": "integer"},
            "sure": {"type": "boolean"},
            "tags": {"type": "array"},
            "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        },
    },
}
IN_PARIS = "What is the weather like in Paris?"


def with_own(
    items: Sequence[Item],
    *own: Mapping[str, Any],
    tools: Sequence[str] = ALL,
    choice: object = None,
) -> Item:
    """Return the reply to a request with the caller's tools."""
    offered = [*({"type": "function", "name": name, "parameters": {}} for name in tools), *own]
    (item,) = reply({"input": list(items), "tools": offered, "tool_choice": choice})
    return item


def test_a_callers_tool_named_by_the_words_is_called() -> None:
    item = with_own(user(IN_PARIS), WEATHER)

    assert (item["type"], item["name"]) == ("function_call", "get_weather")
    assert "Paris" in json.loads(item["arguments"])["location"]


def test_the_result_of_a_callers_tool_is_shown() -> None:
    item = with_own([*user(IN_PARIS), *call_with_result("get_weather", {}, "sunny")], WEATHER)

    assert text_of(item["content"]).endswith("get_weather says: sunny")


@pytest.mark.parametrize("own", [(), (WEATHER,), (FORM,)])
def test_other_messages_are_about_courses(own: Sequence[Mapping[str, Any]]) -> None:
    item = with_own(user("fill in: what am I enrolled in?"), *own)

    assert item["name"] == "my_enrolments"


@pytest.mark.parametrize("tools", [ALL, []])
def test_a_required_call_is_made(tools: Sequence[str]) -> None:
    named = {"type": "function", "name": "fill_in"}

    item = with_own(user("hello 3"), FORM, WEATHER, tools=tools, choice=named)

    assert item["name"] == "fill_in"
    assert json.loads(item["arguments"]) == {
        "size": "s",
        "name": "hello 3",
        "count": 0,
        "sure": False,
        "tags": [],
        "note": None,
    }
    assert with_own(user(IN_PARIS), FORM, WEATHER, choice="required")["name"] == "get_weather"


@pytest.mark.parametrize("choice", ["auto", {"type": "function", "name": "other"}])
def test_a_required_call_without_a_matching_tool_is_not_made(choice: object) -> None:
    assert with_own(user("hello"), WEATHER, choice=choice)["type"] == "message"
    assert with_own(user("hello"), tools=[], choice="required")["type"] == "message"


def test_a_required_call_prefers_the_callers_tool() -> None:
    assert with_own(user("New task: rain?"), WEATHER, choice="required")["name"] == "get_weather"


def test_an_agent_with_a_required_call_in_each_step_ends() -> None:
    answer = {"type": "object", "properties": {"answer": {"type": "string"}}}
    last = {"type": "function", "name": "final_answer", "parameters": answer}

    item = with_own(user("Observation:\n18 degrees\n"), WEATHER, last, choice="required")

    assert item["name"] == "final_answer"
    assert json.loads(item["arguments"]) == {"answer": "18 degrees"}


GREETER = {
    "type": "function",
    "name": "say_hello",
    "description": "Say hello to a person.",
    "parameters": {"type": "object", "properties": {"name": {"type": "string"}}},
}


@pytest.mark.parametrize(
    "text",
    ["hello", "Hello!", "hi there", "hey", "Good morning", "Hello demo, how are you today?", "HI"],
)
@pytest.mark.parametrize("tools", [[], [GREETER], [GREETER, WEATHER]])
def test_a_greeting_is_answered_and_calls_no_tool(text: str, tools: list[Item]) -> None:
    item = reply({"input": text, "tools": tools})[0]

    assert text_of(item["content"]).startswith(f"{NOTICE}Hello! ")


def test_a_greeting_in_the_enrolment_workflow_is_answered() -> None:
    assert "Hello!" in words(user("hello"))
    assert with_own(user("hello"), GREETER)["type"] == "message"


@pytest.mark.parametrize("text", ["say hello to Ann", "hello: Ann", "hi, say hello to Ann"])
def test_a_sentence_that_names_a_tool_is_not_a_greeting(text: str) -> None:
    item = reply({"input": text, "tools": [GREETER]})[0]

    assert item["name"] == "say_hello"


def test_a_greeting_does_not_undo_a_demand() -> None:
    item = reply({"input": "hello", "tools": [GREETER], "tool_choice": "required"})[0]

    assert item["name"] == "say_hello"
