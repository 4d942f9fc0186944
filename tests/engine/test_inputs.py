"""Images and files of a run: refused before it is written, and kept whatever happens after."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from tests.attachments import PNG, file, image, message
from tests.engine.stage import (
    ANN,
    SHOP,
    Crash,
    Stage,
    Trouble,
    drive_new,
    kill,
    resume,
    scripted,
    start,
)
from twelvefold.core.events import RunFinished, RunStarted
from twelvefold.core.models import Fallback, ModelProfile
from twelvefold.core.ports import NullListener
from twelvefold.engine import RunRequest, Services, enqueue_run, start_run
from twelvefold.engine.drive import drive
from twelvefold.errors import InputRefused
from twelvefold.services.model.scripted import ScriptedModel, calls, says

LOOK = message({"type": "input_text", "text": "What is this?"}, image())
LAMP = {"item": "a lamp"}
TEXT_ALONE: frozenset[str] = frozenset()


def request(*items: dict[str, Any], **more: Any) -> RunRequest:
    return RunRequest("shop", ANN, items or (LOOK,), **more)


def with_models(services: Services, chain: Fallback, **accepts: set[str]) -> Services:
    """Return a process whose workflow has a chain of models, each with what it accepts."""
    profiles = {name: ModelProfile(accepts=frozenset(kinds)) for name, kinds in accepts.items()}
    models = {name: ScriptedModel(scripted(says(name))) for name in accepts}
    workflow = replace(SHOP, model=chain)
    return replace(services, profiles=profiles, models=models, workflows={"shop": workflow})


@pytest.mark.parametrize("write", [start_run, enqueue_run])
@pytest.mark.parametrize(
    ("item", "accepts", "message"),
    [
        (LOOK, TEXT_ALONE, "the model takes no images; if it does, add image to OPENAI_ACCEPTS or"),
        (message(image("data:x")), {"image"}, r"item 0, content\[0\].image_url: must be base64"),
        (message(file(PNG)), {"file"}, r"item 0, content\[0\].file_data: must be base64"),
    ],
)
async def test_an_image_that_cannot_be_sent_is_refused_before_the_run_is_written(
    stage: Stage, write: Any, item: dict[str, Any], accepts: frozenset[str], message: str
) -> None:
    services = stage.process(accepts=frozenset(accepts))

    with pytest.raises(InputRefused, match=message):
        await write(services, request(item))

    assert await services.store.threads(ANN.id, limit=5, after=None, newest_first=True) == []


async def test_an_earlier_image_is_refused_with_the_turn_that_follows(stage: Stage) -> None:
    seeing = stage.process(says("A cat."))
    first = await drive(seeing, await start_run(seeing, request()), NullListener())
    text_alone = stage.process(says("No."), accepts=TEXT_ALONE)

    with pytest.raises(InputRefused, match="an earlier turn of the conversation") as caught:
        await start(text_alone, "and?", thread=first.run.thread)

    assert caught.value.earlier
    assert caught.value.code == "unsupported_value"
    assert await stage.journal(first.run) == [entry.event for entry in first.thread.entries]


async def test_a_run_whose_model_takes_no_images_any_more_fails(stage: Stage) -> None:
    run, _ = await enqueue_run(stage.process(), request())

    outcome = await resume(stage.process(says("?"), accepts=TEXT_ALONE), run)

    assert outcome.status == "failed"
    assert "takes no images" in outcome.error
    assert stage.requests == []
    last = (await stage.journal(run))[-1]
    assert isinstance(last, RunFinished)
    assert last.reason == "rejected"


async def test_models_of_a_chain_that_do_not_take_the_image_are_skipped(stage: Stage) -> None:
    chain = Fallback("small", "large", "other")
    services = with_models(
        stage.process(), chain, small=set(), large={"image"}, other={"image", "file"}
    )

    pictures = await drive(services, await start_run(services, request()), NullListener())
    both = request(message(image(), file()))
    files = await drive(services, await start_run(services, both), NullListener())
    text = await drive_new(services)

    named = [
        [event.named for event in await stage.journal(one.run) if hasattr(event, "named")]
        for one in (pictures, files, text)
    ]
    assert named == [["large"], ["other"], ["small"]]


async def test_a_chain_without_a_model_that_takes_all_is_refused(stage: Stage) -> None:
    chain = Fallback("pictures", "papers")
    services = with_models(stage.process(), chain, pictures={"image"}, papers={"file"})

    with pytest.raises(InputRefused, match="OPENAI_ACCEPTS"):
        await start_run(services, request(message(image(), file())))


@pytest.mark.parametrize("place", ["before a reply", "amid a reply", "before a step's commit"])
async def test_a_killed_run_is_resumed_with_its_image(stage: Stage, place: str) -> None:
    replies = calls(("buy", LAMP)), says("Done.")
    services = stage.process(*replies, trouble=Trouble(kill, places=[place]))
    held = await start_run(services, request())
    task = asyncio.ensure_future(drive(services, held, NullListener()))
    await asyncio.wait([task])
    assert isinstance(task.exception(), Crash)
    await stage.let_leases_run_out()

    outcome = await resume(stage.process(*replies), held.run)

    assert outcome.status == "completed"
    assert await stage.bought() == ["a lamp"]
    assert all(sent.items[0]["content"] == LOOK["content"] for sent in stage.requests)
    started = [one for one in await stage.journal(held.run) if isinstance(one, RunStarted)]
    assert started[0].items == (LOOK,)
