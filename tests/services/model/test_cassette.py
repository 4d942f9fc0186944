import json
from collections.abc import Sequence

import pytest
from msgspec import structs

from tests.services.model.builders import RecordingListener, model_request, output, user
from twelvefold.core.events import (
    Event,
    Item,
    ModelAttempt,
    ModelReplied,
    ReplyEnd,
    RunFinished,
    RunStarted,
    ToolSucceeded,
    Usage,
    encode,
)
from twelvefold.core.ids import CallId
from twelvefold.errors import ModelRejected, ModelUnavailable
from twelvefold.services.model.cassette import CassetteModel
from twelvefold.services.model.scripted import calls, says

CALL = [item | {"call_id": "c1"} for item in calls(("enrol", {"course": "x"}))]


def replied(items: Sequence[Item], ended: ReplyEnd = "completed") -> ModelReplied:
    return ModelReplied(tuple(items), Usage(7, 3), "gpt-test", "ab" * 32, ended)


def export(*events: Event) -> list[str]:
    lines = []
    for position, event in enumerate(events, 1):
        kind, version, body = encode(event)
        line = {"position": position, "run": 1, "type": kind, "version": version, "at_us": 1}
        lines.append(json.dumps({**line, "body": json.loads(body)}))
    return lines


TAPE = export(
    RunStarted((user("enrol me"),), "ann", "enrolment", "1"),
    replied(CALL),
    ToolSucceeded(CallId("2.0"), "enrol", "ok"),
    replied(says("You are in.")),
    RunFinished("completed"),
)


async def test_an_exported_journal_is_replayed_in_order() -> None:
    model = CassetteModel.from_export([*TAPE, ""])
    listener = RecordingListener()

    first = await model.reply(model_request(user("enrol me")), listener)
    second = await model.reply(model_request(user("enrol me"), *CALL, output("c1", "ok")), listener)

    assert (first.items, second.items) == (tuple(CALL), tuple(says("You are in.")))
    assert second.usage == Usage(7, 3)
    assert listener.deltas == ["You are in."]


async def test_a_request_with_other_tool_outputs_is_rejected() -> None:
    model = CassetteModel.from_export(TAPE)
    await model.reply(model_request(user("enrol me")), RecordingListener())

    with pytest.raises(
        ModelRejected, match="its reply 2 of 2 follows 1 tool outputs, the request has 0"
    ):
        await model.reply(model_request(user("enrol me")), RecordingListener())


async def test_the_check_can_be_disabled() -> None:
    model = CassetteModel.from_export(TAPE, check=False)

    await model.reply(model_request(), RecordingListener())
    await model.reply(model_request(), RecordingListener())


async def test_calls_of_a_truncated_reply_have_no_outputs() -> None:
    model = CassetteModel.from_export(
        export(replied(CALL, "max_output_tokens"), replied(says("hi")))
    )

    await model.reply(model_request(user("a")), RecordingListener())
    await model.reply(model_request(user("a"), user("b")), RecordingListener())


async def test_a_request_after_the_last_reply_is_rejected() -> None:
    model = CassetteModel.from_export(export(replied(says("hi"))))
    await model.reply(model_request(), RecordingListener())

    with pytest.raises(ModelRejected, match="the cassette is over: it has 1 replies"):
        await model.reply(model_request(), RecordingListener())


@pytest.mark.parametrize(
    "line", ["{", '{"position": 1}', TAPE[0].replace("RunStarted", "RunDreamt")]
)
def test_an_invalid_line_is_reported_by_number(line: str) -> None:
    with pytest.raises(ModelRejected, match="the cassette's line 2 cannot be read"):
        CassetteModel.from_export([TAPE[0], line])


async def test_each_model_of_a_chain_has_its_own_replies_and_failures() -> None:
    broken = ModelAttempt("fast", "it broke off", Usage(900, 100))
    tape = export(
        RunStarted((user("enrol me"),), "ann", "enrolment", "1"),
        structs.replace(replied(CALL), named="fast"),
        ToolSucceeded(CallId("2.0"), "enrol", "enrolled"),
        structs.replace(replied(says("Done.")), named="careful", attempts=(broken,)),
        RunFinished("completed"),
    )
    fast = CassetteModel.from_export(tape, model="fast")
    careful = CassetteModel.from_export(tape, model="careful")
    first = model_request(user("enrol me"))
    second = model_request(user("enrol me"), *CALL, output("c1", "enrolled"))

    assert (await fast.reply(first, RecordingListener())).items == tuple(CALL)
    with pytest.raises(ModelUnavailable, match="it broke off") as raised:
        await fast.reply(second, RecordingListener())
    assert raised.value.usage == Usage(900, 100)
    assert (await careful.reply(second, RecordingListener())).items == tuple(says("Done."))
    with pytest.raises(ModelRejected, match="the cassette is over: it has 1 replies"):
        await careful.reply(second, RecordingListener())
