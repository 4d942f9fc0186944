"""The models that `open_services` opens, and what it checks before."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.services.model.builders import RecordingListener
from tests.services.model.mock_server import MockServer, refuses, streams
from tests.services.model.streams import FakeReply, chat_events, responses_events
from twelvefold import Settings, open_services
from twelvefold.admin.doctor import examine
from twelvefold.core.budget import Price
from twelvefold.core.conversation.attachments import ALL_INPUTS
from twelvefold.core.events import DEFAULT_OPTIONS
from twelvefold.core.models import ModelProfile
from twelvefold.core.ports import ModelRequest
from twelvefold.engine.services import prepare
from twelvefold.errors import ModelTooLarge, ModelUnavailable, SettingsError
from twelvefold.services.model.scripted import ScriptedModel, in_turn

FLOW = """
from twelvefold import Fallback, Workflow
{name} = Workflow("{name}", "Help.", (), {models})
"""
REQUEST = ModelRequest("", ({"type": "message", "role": "user", "content": "Hi"},))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def settings_with(models: object, **environ: str) -> Settings:
    return Settings.from_environ({"MODELS": json.dumps(models), **environ})


def flow(here: Path, name: str, models: str) -> str:
    (here / f"{name}.py").write_text(FLOW.format(name=name, models=models))
    return f"{name}:{name}"


async def test_a_workflow_that_names_an_unknown_model_is_an_error_at_start(here: Path) -> None:
    paths = [
        flow(here, "first", 'model=Fallback("fats", "default")'),
        flow(here, "second", 'models=("sonnet",)'),
    ]
    settings = settings_with({"fast": {"model": "m"}}, WORKFLOWS=",".join(paths))

    with pytest.raises(SettingsError) as raised:
        async with open_services(settings):
            pass

    assert raised.value.problems == (
        "WORKFLOWS: workflow first: there is no model 'fats' in MODELS; did you mean 'fast'?",
        "WORKFLOWS: workflow second: there is no model 'sonnet' in MODELS; there are default, fast",
    )


async def test_named_models_are_opened_when_they_are_used(here: Path) -> None:
    path = flow(here, "third", 'model="fast"')
    models = {"fast": {"model": "m"}, "unused": {"model": "m"}}

    async with open_services(settings_with(models, WORKFLOWS=path)) as services:
        assert list(services.models) == ["fast", "unused"]
        assert vars(services.models)["_open"] == {}
        prepare(services)
        assert list(vars(services.models)["_open"]) == ["fast"]
        reply = await services.models["fast"].reply(REQUEST, RecordingListener())
    assert reply.items


async def test_a_named_model_replies_over_its_own_server(here: Path) -> None:
    async with MockServer() as server:
        server.will(streams(chat_events(FakeReply("Hi"))))
        fast: dict[str, object] = {
            "url": server.url,
            "key": "sk-1",
            "model": "small-1",
            "api": "chat",
        }
        fast |= {"max_output_tokens": 77, "temperature": 0.5, "headers": {"X-Team": "a"}}
        settings = settings_with({"fast": fast}, OPENAI_API_KEY="sk-default")

        async with open_services(settings) as services:
            await services.models["fast"].reply(REQUEST, RecordingListener())

        (call,) = server.calls
        assert call.path == "/v1/chat/completions"
        assert call.headers["authorization"] == "Bearer sk-1"
        assert call.headers["x-team"] == "a"
        assert call.body["model"] == "small-1"
        assert call.body["temperature"] == 0.5


async def test_a_model_without_a_url_is_on_the_server_of_the_default_one(here: Path) -> None:
    async with MockServer() as server:
        server.will(
            streams(responses_events(FakeReply("Hi"))), streams(responses_events(FakeReply("Hi")))
        )
        settings = settings_with(
            {"fast": {"model": "small-1"}}, OPENAI_API_KEY="sk-1", OPENAI_BASE_URL=server.url
        )

        async with open_services(settings) as services:
            await services.model.reply(REQUEST, RecordingListener())
            await services.models["fast"].reply(REQUEST, RecordingListener())

        assert [call.body["model"] for call in server.calls] == ["gpt-5-mini", "small-1"]
        assert {call.headers["authorization"] for call in server.calls} == {"Bearer sk-1"}
        assert server.connections == 1


async def test_errors_of_a_named_model_name_its_fields(here: Path) -> None:
    async with MockServer() as server:
        server.will(
            refuses(401, {"message": "no"}), refuses(400, {"message": "prompt is too long"})
        )
        settings = settings_with({"fast": {"url": server.url, "key": "sk-123456", "model": "m"}})

        async with open_services(settings) as services:
            model = services.models["fast"]
            with pytest.raises(
                ModelUnavailable, match=r"MODELS: fast\.key is refused by"
            ) as refused:
                await model.reply(REQUEST, RecordingListener())
            with pytest.raises(ModelTooLarge, match=r"set MODELS: fast\.window to the size"):
                await model.reply(REQUEST, RecordingListener())

    assert "MODELS: fast.key" in refused.value.log_text


async def test_each_model_has_its_window_price_and_kinds_of_input(here: Path) -> None:
    models = {
        "fast": {"url": "http://h", "model": "gpt-5-nano", "accepts": ["file"]},
        "own": {
            "url": "http://h",
            "model": "mine",
            "window": 9_000,
            "price": {"input": 1, "output": 2},
        },
        "other": {"url": "http://h", "model": "other", "price": {"input": 1, "output": 2}},
    }
    settings = settings_with(models, OPENAI_API_KEY="k", RUN_BUDGET_USD="1")

    async with open_services(settings) as services:
        fast = services.profile("fast")
        assert fast.window_tokens == 272_000
        assert fast.accepts == {"file", "anywhere", "file_url"}
        own = Price(1_000_000, 1_000_000, 2_000_000)
        assert services.profile("own") == ModelProfile(9_000, own)
        assert services.profile("other").window_tokens == 128_000
        assert services.limits.prices["own"] == own
        assert services.limits.prices["default"] == services.limits.price
        (workflow,) = services.workflows.values()
        chosen = replace(workflow, model="fast")
        assert services.inputs(chosen, DEFAULT_OPTIONS)[0] == {"file", "anywhere", "file_url"}


async def test_a_named_model_without_any_server_is_the_demo_model(here: Path) -> None:
    async with open_services(settings_with({"fast": {"model": "m"}})) as services:
        assert services.profile("fast").accepts == ALL_INPUTS
        assert services.profile("fast").price is None


async def test_given_models_replace_those_of_the_settings(here: Path) -> None:
    path = flow(here, "fourth", 'model=Fallback("fast", "own")')
    settings = settings_with({"fast": {"model": "m"}, "other": {"model": "m"}}, WORKFLOWS=path)
    fast, own = ScriptedModel(in_turn()), ScriptedModel(in_turn())

    async with open_services(settings, models={"fast": fast, "own": own}) as services:
        assert list(services.models) == ["fast", "other", "own"]
        assert len(services.models) == 3
        assert services.models["fast"] is fast
        assert services.models["own"] is own


@pytest.mark.parametrize(
    ("models", "warns"),
    [("", True), ('model="fast"', False), ('model="fast", models=("default",)', True)],
)
async def test_the_demo_model_is_a_warning_if_a_workflow_uses_it(
    here: Path, caplog: pytest.LogCaptureFixture, models: str, warns: bool
) -> None:
    path = flow(here, f"flow_{len(models)}", models)
    settings = settings_with({"fast": {"url": "http://127.0.0.1:9", "model": "m"}}, WORKFLOWS=path)

    async with open_services(settings) as services:
        findings = [one async for one in examine(settings, services)]

    assert ("demo_model" in caplog.messages) is warns
    assert ("model" in [finding.what for finding in findings]) is warns


async def test_prices_are_found_by_the_names_of_models(here: Path) -> None:
    models = {
        "own": {"url": "http://h", "model": "mine", "price": {"input": 1, "output": 2}},
        "known": {"url": "http://h", "model": "gpt-5-nano"},
        "unknown": {"url": "http://h", "model": "mine"},
        "capped": {"model": "gpt-4o-mini", "max_output_tokens": 300},
    }
    price = '{"input": 3, "cached": 1, "output": 4}'
    settings = settings_with(models, OPENAI_API_KEY="k", OPENAI_PRICE=price)

    async with open_services(settings, models={"given": ScriptedModel(in_turn())}) as services:
        find = services.find_price
        assert find("default") == Price(3_000_000, 1_000_000, 4_000_000)
        assert find("own") == Price(1_000_000, 1_000_000, 2_000_000)
        assert find("known") == Price(50_000, 5_000, 400_000)
        assert (find("unknown"), find("given")) == (None, None)
        assert services.profile("capped").max_output_tokens == 300
        assert services.profile("own").price is None  # only RUN_BUDGET_USD needs it


async def test_the_demo_model_is_free(here: Path) -> None:
    async with open_services(settings_with({"fast": {"model": "m"}})) as services:
        free = Price(0, 0, 0)
        assert (services.find_price("default"), services.find_price("fast")) == (free, free)
