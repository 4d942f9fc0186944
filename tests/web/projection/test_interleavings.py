"""Live, resumed and replayed streams have the same events, whenever a reader reads."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.web.journals import RUN, State, histories, read_on, view
from tests.web.sdk import check_events, check_items
from tests.web.whole import item_list
from twelvefold.core.events import RunStarted
from twelvefold.web.ids import ResponseId
from twelvefold.web.projection.parts import split_parts
from twelvefold.web.projection.response import ResponseProjection
from twelvefold.web.schemas.types import Json, ToolItems


@settings(max_examples=300, deadline=None)
@given(
    history=histories(),
    data=st.data(),
    tool_items=st.sampled_from(("mcp_call", "function", "hidden")),
    background=st.booleans(),
)
def test_a_reader_gets_the_events_of_the_finished_journal(
    history: tuple[State, ...], data: st.DataObject, tool_items: ToolItems, background: bool
) -> None:
    start = history[-1].entries[0].event
    assert isinstance(start, RunStarted)
    shown = view(start, tool_items=tool_items, background=background)
    for part in range(len(split_parts(history[-1].entries))):
        replay, live = (ResponseProjection(ResponseId(RUN, part), shown) for _ in range(2))
        events = read_on(replay, history[-1])

        read = _read_along(live, history, data)

        assert read == events
        assert live.response() == replay.response() == events[-1]["response"]
        check_events(events)


def _read_along(
    live: ResponseProjection, history: tuple[State, ...], data: st.DataObject
) -> list[Json]:
    """A reader that reads at random moments; the journal may grow between its two reads."""
    events: list[Json] = []
    moment, last = 0, len(history) - 1
    steps = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3)), max_size=last)
    for while_reading, until_the_next in data.draw(steps):
        earlier, moment = moment, min(moment + while_reading, last)
        events += read_on(live, history[moment], history[earlier])
        moment = min(moment + until_the_next, last)
    return events + read_on(live, history[-1])


@settings(max_examples=100, deadline=None)
@given(history=histories(), tool_items=st.sampled_from(("mcp_call", "function", "hidden")))
def test_a_conversation_lists_the_items_of_its_responses(
    history: tuple[State, ...], tool_items: ToolItems
) -> None:
    entries = history[-1].entries
    start = entries[0].event
    assert isinstance(start, RunStarted)

    items = item_list(RUN.thread, entries, tool_items=tool_items)

    check_items(items)
    check_items(items, conversation=True)
    listed = {item["id"] for item in items}
    for part in range(len(split_parts(entries))):
        one = ResponseProjection(ResponseId(RUN, part), view(start, tool_items=tool_items))
        read_on(one, history[-1])
        for item in one.response()["output"]:
            # An abandoned draft is no item of the conversation.
            assert item["id"] in listed or ("x" in item["id"] and item["status"] == "incomplete")
