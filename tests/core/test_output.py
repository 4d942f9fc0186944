"""Typed output: the schema, the check of a reply, and what follows from an invalid one."""

import json
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

import pytest
from msgspec import structs
from pydantic import BaseModel, Field, RootModel, TypeAdapter, field_validator
from typing_extensions import TypedDict

from tests.builders import (
    asked,
    assistant,
    called,
    entries,
    finished,
    function_call,
    own_tool,
    replied,
    said,
    succeeded,
    thread_of,
)
from twelvefold.core.budget import Limits
from twelvefold.core.decide import CallModel, Finish, RunTools, Stop, decide
from twelvefold.core.events import ModelReplied, RequestOptions, Usage, encode
from twelvefold.core.failures import invalid_output_sentence
from twelvefold.core.output import (
    BESIDE_CALLS,
    MAX_PROBLEM_CHARS,
    MAX_PROBLEMS,
    BadOutput,
    OutputType,
    find_problems,
    output_of,
)
from twelvefold.core.ports import ReadOnly
from twelvefold.core.request import build_request
from twelvefold.core.thread import fold
from twelvefold.core.tools.tool import tool
from twelvefold.core.workflow import Workflow
from twelvefold.errors import WorkflowError
from twelvefold.services.model.openai.chat.request import CHAT
from twelvefold.services.model.openai.responses.request import RESPONSES


class Booking(BaseModel):
    """A table for some guests."""

    day: date
    guests: int = Field(ge=1)
    note: str = ""


@dataclass
class Refusal:
    why: str


class Weather(TypedDict):
    celsius: float


class Tree(BaseModel):
    name: str
    children: list["Tree"] = []


LEAF = Tree(name="b")


class Broken(BaseModel):
    name: str

    @field_validator("name")
    @classmethod
    def check(cls, name: str) -> str:
        return {"known": name}[name]


class Loud(BaseModel):
    name: str

    @field_validator("name")
    @classmethod
    def check(cls, name: str) -> str:
        raise ValueError("no! " * 1_000)


@tool
async def look(db: ReadOnly) -> str:
    """Look."""
    return ""


BOOKING = Workflow[Any]("academy", "Help.", (look,), output=Booking, output_corrections=2)
GOOD = '{"day": "2030-01-02", "guests": 4, "note": ""}'
BAD = '{"day": "2030-01-02", "guests": 0}'
TOO_FEW = "guests: Input should be greater than or equal to 1"


def rejected(text: str = BAD, *problems: str) -> ModelReplied:
    reply = said(text)
    return ModelReplied(
        reply.items, reply.usage, "m-1", reply.request_hash, problems=problems or (TOO_FEW,)
    )


# --- the type -------------------------------------------------------------------------------------


def test_a_model_is_sent_as_a_strict_schema() -> None:
    assert OutputType("table", Booking).format == {
        "type": "json_schema",
        "name": "Booking",
        "strict": True,
        "schema": {
            "type": "object",
            "description": "A table for some guests.",
            "properties": {
                "day": {"type": "string", "format": "date"},
                "guests": {"type": "integer", "minimum": 1},
                "note": {"type": "string"},
            },
            "required": ["day", "guests", "note"],
            "additionalProperties": False,
        },
    }


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (Booking, GOOD, Booking(day=date(2030, 1, 2), guests=4)),
        (Refusal, '{"why": "full"}', Refusal("full")),
        (Weather, '{"celsius": 20}', {"celsius": 20.0}),
        (Tree, '{"name": "a", "children": [{"name": "b"}]}', Tree(name="a", children=[LEAF])),
        (Booking | Refusal, '{"output": {"why": "full"}}', Refusal("full")),
        (list[Weather], '{"output": [{"celsius": 1}]}', [{"celsius": 1.0}]),
        (RootModel[list[int]], '{"output": [1, 2]}', RootModel[list[int]]([1, 2])),
        (Literal["yes", "no"], '{"output": "no"}', "no"),
    ],
)  # fmt: skip
def test_a_text_becomes_a_value_of_the_type_and_back(kind: Any, text: str, value: object) -> None:
    output = OutputType("table", kind)

    assert output.schema["type"] == "object"
    assert output.strict
    assert output.parse(text) == value
    assert output.parse(output.dump(value)) == value


def test_a_type_that_strict_mode_does_not_accept_is_not_strict() -> None:
    assert OutputType("table", dict[str, int]).format["strict"] is False


def test_a_type_without_a_valid_name_has_one() -> None:
    assert OutputType("table", Booking | Refusal).name == "output"
    assert OutputType("table", RootModel[list[int]]).name == "RootModel_list_int__"


def test_the_problems_of_a_text_name_their_fields() -> None:
    with pytest.raises(BadOutput) as caught:
        OutputType("table", Booking).parse('{"guests": 0}')

    assert caught.value.problems == ("day: Field required", TOO_FEW)


def test_a_text_that_is_no_json_is_a_problem() -> None:
    with pytest.raises(BadOutput, match=r"^Invalid JSON: "):
        OutputType("table", Booking).parse("A table for four.")


def test_a_validator_that_raises_is_a_problem() -> None:
    with pytest.raises(BadOutput, match=r"^it cannot be checked, KeyError$"):
        OutputType("table", Broken).parse('{"name": "other"}')


def test_problems_are_few_and_short() -> None:
    with pytest.raises(BadOutput) as many:
        OutputType("table", list[Booking]).parse(f'{{"output": [{", ".join(["{}"] * 50)}]}}')
    with pytest.raises(BadOutput) as long:
        OutputType("table", Loud).parse('{"name": "a"}')

    assert len(many.value.problems) == MAX_PROBLEMS
    [problem] = long.value.problems
    assert len(problem) == MAX_PROBLEM_CHARS
    assert problem.endswith("…")


@pytest.mark.parametrize("kind", [Booking, Tree, Weather])
def test_a_schema_of_the_same_type_in_another_form_is_the_same(kind: Any) -> None:
    output = OutputType("table", kind)

    assert output.has_schema(output.schema)
    assert output.has_schema(TypeAdapter(kind).json_schema())


@pytest.mark.parametrize(
    "schema", [{}, {"type": "object"}, {"properties": []}, {"$defs": 1}, {"$ref": "#/$defs/A"}]
)
def test_another_schema_is_not_the_same(schema: dict[str, Any]) -> None:
    assert not OutputType("table", Booking).has_schema(schema)


def test_a_schema_that_is_too_deep_is_not_the_same() -> None:
    deep: dict[str, Any] = {}
    for _ in range(5_000):
        deep = {"items": deep}

    assert not OutputType("table", Booking).has_schema(deep)


def test_a_schema_that_would_grow_exponentially_is_not_expanded() -> None:
    defs = {
        f"d{level}": {
            "anyOf": [{"$ref": f"#/$defs/d{level + 1}", "description": at} for at in "ab"]
        }
        for level in range(200)
    }

    assert not OutputType("table", Booking).has_schema({"$ref": "#/$defs/d0", "$defs": defs})


# --- the declaration ------------------------------------------------------------------------------


class Plain: ...


def test_a_type_without_a_schema_is_an_error_on_import() -> None:
    with pytest.raises(
        WorkflowError, match=r"^workflow table: output has the type Plain, which has"
    ):
        Workflow("table", "Help.", output=Plain)


def test_the_name_of_a_type_is_an_error_on_import() -> None:
    name: Any = "Booking"

    with pytest.raises(WorkflowError, match=r"^workflow table: output is a type, not its name$"):
        Workflow("table", "Help.", output=name)


@pytest.mark.parametrize("most", [-1, True, 1.5])
def test_the_number_of_corrections_is_an_integer_from_zero(most: Any) -> None:
    with pytest.raises(WorkflowError, match="output_corrections is an integer from 0, not"):
        Workflow("table", "Help.", output=Booking, output_corrections=most)


def test_a_type_may_refer_to_one_that_is_defined_later() -> None:
    class Early(BaseModel):
        later: "Later"

    workflow = Workflow("table", "Help.", output=Early)

    class Later(BaseModel):
        name: str

    assert workflow.output_type is not None
    with pytest.raises(WorkflowError):
        workflow.output_type.prepare()
    Early.model_rebuild(_types_namespace={"Later": Later})
    workflow.output_type.prepare()


def test_only_a_workflow_with_a_type_needs_the_gate() -> None:
    assert BOOKING.needs_gate
    assert not Workflow("academy", "Help.").needs_gate


# --- the check of a reply -------------------------------------------------------------------------


def problems(reply: ModelReplied) -> tuple[str, ...]:
    return find_problems(reply, OutputType("table", Booking))


def test_a_reply_is_checked_unless_it_has_no_text() -> None:
    refusal = {
        "type": "message",
        "role": "assistant",
        "content": [{"type": "refusal", "refusal": "no"}],
    }

    assert problems(said(GOOD)) == ()
    assert problems(said(BAD)) == (TOO_FEW,)
    assert problems(replied({"type": "message", "role": "assistant", "content": BAD})) == (TOO_FEW,)
    assert problems(called("look")) == problems(replied()) == problems(replied(refusal)) == ()


def test_a_text_beside_calls_is_never_the_output() -> None:
    assert problems(replied(assistant(GOOD), function_call("look"))) == (BESIDE_CALLS,)


def test_a_reply_that_was_cut_off_is_checked_without_its_calls() -> None:
    [problem] = problems(
        replied(assistant('{"day":'), function_call("look"), ended="max_output_tokens")
    )

    assert problem.startswith("Invalid JSON: ")


# --- what follows ---------------------------------------------------------------------------------


def test_the_model_is_asked_again_until_there_are_too_many_invalid_outputs() -> None:
    story: list[Any] = [asked(), rejected()]

    assert decide(thread_of(*story), BOOKING, Limits()) == CallModel()
    assert decide(thread_of(*story, rejected()), BOOKING, Limits()) == CallModel()
    assert decide(thread_of(*story, said(GOOD)), BOOKING, Limits()) == Finish()
    assert decide(thread_of(*story, rejected(), rejected()), BOOKING, Limits()) == Stop(
        "failed",
        "invalid_output",
        f"the model's output was invalid three times; the last problems: {TOO_FEW}",
    )


def test_invalid_outputs_count_over_the_whole_run_and_not_beyond() -> None:
    story: list[Any] = [asked(), rejected(), called("look"), succeeded("3.0", "look"), rejected()]

    assert thread_of(*story).invalid_outputs == 2
    assert thread_of(*story, finished(), asked()).invalid_outputs == 0


def test_the_limits_of_a_run_hold_for_corrections() -> None:
    thread = thread_of(asked(), rejected())

    assert decide(thread, BOOKING, Limits(max_steps=1)) == Stop("incomplete", "max_steps")


def test_calls_run_though_their_text_is_no_output() -> None:
    reply = called("look")
    with_text = ModelReplied(
        (assistant(GOOD), *reply.items), Usage(), "m-1", "", problems=(BESIDE_CALLS,)
    )

    thread = thread_of(asked(), with_text)

    assert thread.invalid_outputs == 0
    assert isinstance(decide(thread, BOOKING, Limits()), RunTools)


def test_an_invalid_output_that_was_cut_off_ends_the_run_as_usual() -> None:
    cut = ModelReplied((assistant("{"),), Usage(), "m-1", "", "max_output_tokens", problems=("no",))

    assert decide(thread_of(asked(), cut), BOOKING, Limits()) == Stop(
        "incomplete", "max_output_tokens"
    )


def test_there_is_no_sentence_without_an_invalid_output() -> None:
    assert invalid_output_sentence(entries(asked(), said())) == ""


# --- the request ----------------------------------------------------------------------------------


def texts(*events: Any, workflow: Workflow[Any] = BOOKING) -> list[str]:
    request = build_request(thread_of(*events), workflow, Limits()).request
    return [_text(item) for item in request.items]


def _text(item: dict[str, Any]) -> str:
    content = item.get("content")
    return content if isinstance(content, str) else content[0]["text"] if content else item["type"]


CORRECTION = (
    f"This is no valid output:\n- {TOO_FEW}\n"
    "Send the whole output again, corrected: JSON alone, without any other text."
)


def test_a_correction_has_the_invalid_output_and_its_problems() -> None:
    assert texts(asked("hi"), rejected()) == ["hi", BAD, CORRECTION]


def test_corrections_are_sent_as_long_as_their_run_lasts() -> None:
    story: list[Any] = [asked("hi"), rejected(), called("look"), succeeded("3.0", "look", "ok")]

    assert texts(*story) == ["hi", BAD, CORRECTION, "function_call", "function_call_output"]


def test_only_the_last_invalid_output_is_sent() -> None:
    story = [
        asked("hi"),
        rejected(),
        called("look"),
        succeeded("3.0", "look", "ok"),
        rejected("no"),
    ]

    calls = ["function_call", "function_call_output"]
    assert texts(*story) == ["hi", *calls, "no", CORRECTION]
    assert texts(*story, rejected("never")) == ["hi", *calls, "never", CORRECTION]


@pytest.mark.parametrize("last", [(said(GOOD), finished()), (finished("failed"),)])
def test_corrections_of_earlier_runs_are_left_out(last: tuple[Any, ...]) -> None:
    answer = [GOOD] if len(last) == 2 else []
    story: list[Any] = [asked("hi"), rejected(), *last, asked("again")]

    assert texts(*story) == ["hi", *answer, "again"]
    thread = thread_of(*story[:-1])
    _ = thread.history.sent
    later = thread.after(*entries(*story)[-1:])
    assert [_text(item) for turn in later.turns for item in turn.items] == ["hi", *answer, "again"]


def test_the_text_beside_calls_stays_in_the_conversation() -> None:
    beside = ModelReplied(
        (assistant("Let me look."), *called("look").items),
        Usage(),
        "m",
        "",
        problems=(BESIDE_CALLS,),
    )
    story: list[Any] = [asked("hi"), beside, succeeded("2.0", "look", "ok")]

    assert texts(*story) == ["hi", "Let me look.", "function_call", "function_call_output"]
    assert texts(*story, said(GOOD), finished(), asked("again"))[1] == "Let me look."


def test_both_apis_alternate_the_roles_of_a_correction() -> None:
    request = build_request(
        thread_of(
            asked("hi"), rejected(), rejected(), finished("failed"), asked("again"), rejected()
        ),
        BOOKING,
        Limits(),
    ).request

    for api in (CHAT, RESPONSES):
        encoded: Any = api.encode_items(request.items)
        body = b",".join(encoded.parts).decode()
        roles = [one.partition('"')[0] for one in body.split('"role":"')[1:]]
        assert roles == ["user", "assistant", "user"]


def test_the_format_is_sent_with_the_callers_other_options() -> None:
    text = {"verbosity": "low", "format": {"type": "text"}}
    options = RequestOptions(text=text, temperature=0.5)
    plain = build_request(thread_of(asked()), BOOKING, Limits()).request
    verbose = build_request(
        thread_of(structs.replace(asked(), options=options)), BOOKING, Limits()
    ).request
    assert BOOKING.output_type is not None
    form = BOOKING.output_type.format

    assert plain.options == {"text": {"format": form}}
    assert verbose.options == {"text": {"verbosity": "low", "format": form}, "temperature": 0.5}


def test_a_correction_has_the_schema_in_its_instructions_too() -> None:
    first = build_request(thread_of(asked()), BOOKING, Limits()).request
    second = build_request(thread_of(asked(), rejected()), BOOKING, Limits()).request
    later = build_request(
        thread_of(asked(), rejected(), said(GOOD), finished(), asked()), BOOKING, Limits()
    ).request
    assert BOOKING.output_type is not None

    assert first.instructions == later.instructions == "Help."
    head, _, schema = second.instructions.rpartition("\n")
    assert head == (
        "Help.\n\nThe output is JSON that fits this JSON Schema, without any other text:"
    )
    assert json.loads(schema) == BOOKING.output_type.schema


def test_the_schema_counts_towards_the_window() -> None:
    without = Workflow("academy", "Help.", (look,))
    story: list[Any] = [asked("x" * 2_200), said(), finished(), asked()]
    limits = Limits(context_tokens=1_000)

    assert build_request(thread_of(*story), without, limits).turns_left_out == 0
    assert build_request(thread_of(*story), BOOKING, limits).turns_left_out == 1


def test_a_correction_is_never_left_out_to_save_room() -> None:
    story: list[Any] = [asked("x" * 3_000), said(), finished(), asked("hi"), rejected()]

    compacted = build_request(thread_of(*story), BOOKING, Limits(context_tokens=1_000))

    assert compacted.turns_left_out == 1
    assert [_text(item) for item in compacted.request.items] == ["hi", BAD, CORRECTION]


# --- the output -----------------------------------------------------------------------------------


def test_the_output_is_the_value_of_the_last_reply() -> None:
    thread = thread_of(asked(), rejected(), said(GOOD), finished())

    assert output_of(thread, BOOKING) == Booking(day=date(2030, 1, 2), guests=4)
    assert output_of(thread, Workflow("academy", "Help.")) is None


@pytest.mark.parametrize(
    "story",
    [
        [asked()],
        [asked(), finished()],
        [asked(), rejected(), finished()],
        [asked(), rejected(), finished("failed")],
        [asked(tools=(own_tool("own"),)), called("own"), finished()],
        [asked(), replied(), finished()],
    ],
)
def test_a_run_that_did_not_end_with_an_output_has_none(story: list[Any]) -> None:
    assert output_of(thread_of(*story), BOOKING) is None


def test_a_type_that_has_changed_since_is_an_error() -> None:
    thread = thread_of(asked(), said('{"old": 1}'), finished())

    with pytest.raises(BadOutput):
        output_of(thread, BOOKING)


def test_the_journal_of_a_run_without_problems_does_not_mention_them() -> None:
    assert "problems" not in encode(said())[2]
    assert RequestOptions() == fold(entries(asked())).options
