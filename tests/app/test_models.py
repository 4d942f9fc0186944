"""The models of an app: given by name, chosen by a caller, and a fallback chain."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.app.shop import Blocking, scripted, shop, shop_settings
from tests.engine.fallback.stories import BreaksOff, Talks
from twelvefold import App, Fallback, SyncApp
from twelvefold.app.stream import RunEnded, TextDelta, TextRestarted
from twelvefold.core import Model
from twelvefold.errors import RequestError, SettingsError
from twelvefold.services.model.scripted import says

CHOICE = replace(shop, models=("cheap",))
CHAIN = replace(shop, model=Fallback("fast", "careful"))


async def test_a_caller_chooses_a_model_of_the_workflow(tmp_path: Path) -> None:
    models = {"cheap": scripted(says("Cheap."))}
    settings = shop_settings(tmp_path)
    async with App([CHOICE], settings=settings, model=scripted(says("Own.")), models=models) as app:
        chosen = await app.run(CHOICE, "hello", model="cheap", key="k1")
        again = await app.run(CHOICE, "hello", model="cheap", key="k1")
        own = await app.run(CHOICE, "hello")

        assert (chosen.text, own.text, again.id) == ("Cheap.", "Own.", chosen.id)
        with pytest.raises(RequestError, match="the key was used for another request"):
            await app.run(CHOICE, "hello", key="k1")
        with pytest.raises(RequestError, match="has no model 'fast' for callers; there are cheap"):
            await app.run(CHOICE, "hello", model="fast")


async def test_a_stream_of_a_chain_restarts_its_text(tmp_path: Path) -> None:
    models: dict[str, Model] = {
        "fast": BreaksOff("I will ", pause_s=0.01),
        "careful": Talks("Hello ", "Ann."),
    }
    async with App([CHAIN], settings=shop_settings(tmp_path), models=models) as app:
        events = [event async for event in app.stream(CHAIN, "hello")]

    texts: list[str] = []
    for event in events:
        if isinstance(event, TextDelta):
            texts.append(event.text)
        elif isinstance(event, TextRestarted):
            texts.clear()
    (ended,) = [event for event in events if isinstance(event, RunEnded)]
    assert "".join(texts) == ended.run.text == "Hello Ann."
    assert any(isinstance(event, TextRestarted) for event in events)
    assert ended.run.usage.input_tokens == 900 + 100


async def test_a_workflow_that_names_an_unknown_model_does_not_open(tmp_path: Path) -> None:
    app = App([CHAIN], settings=shop_settings(tmp_path), models={"fast": Blocking()})

    with pytest.raises(SettingsError, match="there is no model 'careful' in MODELS"):
        await app.open()


def test_a_sync_app_takes_models_by_name(tmp_path: Path) -> None:
    models = {"cheap": scripted(says("Cheap."))}
    with SyncApp([CHOICE], settings=shop_settings(tmp_path), models=models) as app:
        assert app.run(CHOICE, "hello", model="cheap").text == "Cheap."
