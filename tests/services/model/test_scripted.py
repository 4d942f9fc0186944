import pytest

from tests.services.model.builders import RecordingListener, model_request, user
from twelvefold.core.events import Usage
from twelvefold.core.ports import ModelReply
from twelvefold.errors import ModelRejected, ModelUnavailable
from twelvefold.services.model.scripted import ScriptedModel, calls, in_turn, says


async def test_a_script_receives_each_request() -> None:
    model = ScriptedModel(lambda request: says(request.items[-1]["content"].upper()))

    reply = await model.reply(model_request(user("hello")), RecordingListener())

    assert list(reply.items) == says("HELLO")
    assert model.requests == [model_request(user("hello"))]


async def test_calls_get_ids_that_depend_on_the_request_alone() -> None:
    model = ScriptedModel(lambda _: calls(("enrol", {"course": "x"}), ("enrol", "no JSON")))

    first = await model.reply(model_request(user("a")), RecordingListener())
    again = await model.reply(model_request(user("a")), RecordingListener())
    other = await model.reply(model_request(user("b")), RecordingListener())

    ids = [item["call_id"] for item in (*first.items, *other.items)]
    assert len(set(ids)) == 4
    assert again == first
    assert [item["arguments"] for item in first.items] == ['{"course":"x"}', "no JSON"]


async def test_a_script_may_return_a_whole_reply_or_an_error() -> None:
    whole = ModelReply((), Usage(1, 2), "gpt-test", "0" * 64, "content_filter")
    model = ScriptedModel(in_turn(whole, ModelUnavailable("it sleeps")))

    assert await model.reply(model_request(), RecordingListener()) == whole
    with pytest.raises(ModelUnavailable, match="it sleeps"):
        await model.reply(model_request(), RecordingListener())


async def test_a_request_after_the_last_scripted_reply_is_rejected() -> None:
    model = ScriptedModel(in_turn(says("only this")))

    await model.reply(model_request(), RecordingListener())
    with pytest.raises(ModelRejected, match="the script is over: it has 1 replies"):
        await model.reply(model_request(), RecordingListener())
