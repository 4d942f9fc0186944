"""Items that a conversation has sent before are encoded once, and the body is the same."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings

from tests.builders import asked, called, entries, finished, replied, said, succeeded
from tests.core.journals import WORKFLOW, journals
from tests.services.model.builders import FixedSettings, RecordingListener, fast_settings
from tests.services.model.mock_server import MockServer, streams
from tests.services.model.streams import FakeReply, chat_events, responses_events
from twelvefold.core.budget import Limits
from twelvefold.core.events import Event, Item
from twelvefold.core.ports import ModelRequest
from twelvefold.core.request import build_request
from twelvefold.core.thread import Thread
from twelvefold.services.model.items import function_call, message
from twelvefold.services.model.openai import Api, OpenAIModel
from twelvefold.services.model.openai.api_format import ApiFormat
from twelvefold.services.model.openai.chat import CHAT
from twelvefold.services.model.openai.encoding import EncodedItems, encode_known
from twelvefold.services.model.openai.provider_fields import items_for_provider
from twelvefold.services.model.openai.responses import RESPONSES

EVENTS = {"responses": responses_events, "chat": chat_events}
PROVIDER = "here"
FOREIGN: Item = {"type": "web_search_call", "id": "ws_1", "provider": "elsewhere"}
RUN = (
    asked(),
    called("look", id="c1"),
    succeeded("2.0", "look", "two"),
    replied({"type": "reasoning", "id": "r", "summary": [], "content": []}, FOREIGN, message("b")),
    finished(),
)
SYSTEM: Item = {"type": "message", "role": "system", "content": "Be kind."}


def requests_of(events: Sequence[Event]) -> Iterator[ModelRequest]:
    """Yield the request after each of the entries, as one process makes them."""
    thread = Thread()
    for entry in entries(*events):
        thread = thread.after(entry)
        yield build_request(thread, WORKFLOW, Limits()).request


def last_request_of(*events: Event) -> ModelRequest:
    *_, request = requests_of(events)
    return request


def encode_whole(api: ApiFormat, request: ModelRequest, omitted: frozenset[str]) -> bytes:
    items = items_for_provider(request.items, PROVIDER)
    return api.encode(replace(request, items=items), FixedSettings(), omitted)


def encode_in_parts(
    api: ApiFormat, request: ModelRequest, omitted: frozenset[str], parts: list[int] | None = None
) -> bytes:
    """Return the body as the client encodes it; `parts` gets the number of items of each part."""

    def encode(items: Sequence[Item]) -> EncodedItems:
        if parts is not None:
            parts.append(len(items))
        return api.encode_items(items_for_provider(items, PROVIDER))

    if request.history is None:
        return api.encode_body(request, FixedSettings(), omitted, encode(request.items))
    known = encode_known(request.items, request.history, api.path, encode)
    new = encode(request.items[request.history.count :])
    return api.encode_body(request, FixedSettings(), omitted, known + new)


@pytest.mark.parametrize("api", [RESPONSES, CHAT], ids=["responses", "chat"])
@given(events=journals)
@settings(deadline=None)
def test_a_body_in_parts_is_the_body_of_the_whole(api: ApiFormat, events: list[Event]) -> None:
    nothing = frozenset[str]()

    for request in requests_of([*RUN, *events]):
        assert encode_in_parts(api, request, nothing) == encode_whole(api, request, nothing)


@pytest.mark.parametrize("api", [RESPONSES, CHAT], ids=["responses", "chat"])
def test_parts_may_be_omitted_from_the_list_and_beside_it(api: ApiFormat) -> None:
    request = last_request_of(asked("a", SYSTEM), said(), finished(), *RUN, asked("b"))

    for names in ({part.name} for part in api.optional_parts):
        omitted = frozenset(names)
        assert encode_in_parts(api, request, omitted) == encode_whole(api, request, omitted)


@pytest.mark.parametrize("api", [RESPONSES, CHAT], ids=["responses", "chat"])
def test_the_items_of_a_run_are_encoded_as_known_items_once(api: ApiFormat) -> None:
    parts: list[int] = []
    for request in requests_of([*RUN, *RUN, asked("again")]):
        encode_in_parts(api, request, frozenset(), parts)

    # Each run alone until its end, then once as the items before the next run.
    assert parts == [1, 3, 3, 6, 6, 6, 1, 3, 3, 6, 6, 6, 1]


@pytest.mark.parametrize("api", ["responses", "chat"])
async def test_the_client_sends_the_same_body_with_and_without_known_items(
    server: MockServer, api: Api
) -> None:
    server.will(*[streams(EVENTS[api](FakeReply("Hello")))] * 2)
    request = last_request_of(*RUN, asked("again"), replied(function_call("c9", "look", "{}")))
    model = OpenAIModel(fast_settings(server.url, api=api))

    in_parts = await model.reply(request, RecordingListener())
    whole = await model.reply(replace(request, history=None), RecordingListener())
    await model.close()

    first, second = server.calls
    assert request.history is not None
    assert first.body == second.body
    assert in_parts.request_hash == whole.request_hash
