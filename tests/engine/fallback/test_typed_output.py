"""A chain whose workflow has a typed output: text is held back until it is valid."""

from dataclasses import dataclass, replace
from typing import Any

import pytest

from tests.engine.fallback.stories import BreaksOff, Models, Talks, process_with, replies
from tests.engine.reading import read_events
from tests.engine.stage import SHOP, RecordingListener, Stage, start
from twelvefold.core.events import RequestOptions
from twelvefold.core.models import Fallback
from twelvefold.core.workflow import Workflow
from twelvefold.engine.drive import drive


@dataclass
class Answer:
    """The answer of the shop."""

    text: str


@pytest.mark.parametrize("stream", [False, True])
async def test_text_of_the_model_that_failed_is_never_shown(
    stage: Stage, frequent_deltas: None, stream: bool
) -> None:
    models: Models = {
        "fast": BreaksOff('{"text": "I wi', pause_s=0.01),
        "careful": Talks('{"text": ', '"Hello."}'),
    }
    chain = Fallback("fast", "careful")
    workflow: Workflow[Any] = Workflow("shop", "Sell.", SHOP.tools, model=chain, output=Answer)
    services = replace(process_with(stage, chain, models), workflows={"shop": workflow})
    listener = RecordingListener()
    held = await start(services, options=RequestOptions(stream=stream))

    outcome = await drive(services, held, listener)

    (reply,) = await replies(stage, held.run)
    assert (outcome.status, reply.problems, reply.named) == ("completed", (), "careful")
    texts = [str(event[3]) for event in await read_events(stage, held.run) if event[0] == "text"]
    assert "".join(texts) == '{"text": "Hello."}'
    assert "I wi" not in "".join(listener.texts)
