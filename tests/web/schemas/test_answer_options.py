"""The options of a run that an answer to an approval changes, for each field and each key."""

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import replace as replaced
from typing import Any

import pytest
from msgspec.structs import replace

from tests.engine.stage import SHOP, Stage
from tests.web.asking import WEATHER, answer_to, approval, error
from tests.web.serving import Json, Serve, Served
from twelvefold.core.events import DEFAULT_OPTIONS, ApprovalAnswered, RequestOptions, decode, encode
from twelvefold.core.ids import RunId
from twelvefold.core.ports import ApiKey
from twelvefold.core.thread import fold
from twelvefold.engine.commands import answer as record_answer
from twelvefold.web.http.authentication import hash_of
from twelvefold.web.http.errors import ApiError
from twelvefold.web.schemas.answer_options import UNCHANGING, changed_options, merge_options
from twelvefold.web.schemas.decode import TOOL_ITEMS
from twelvefold.web.schemas.responses import CreateResponse
from twelvefold.web.schemas.turns import TurnRequest, parse_turn

ANSWER = {
    "type": "mcp_approval_response",
    "approval_request_id": "mcpr_" + "0" * 44 + "2.0",
    "approve": True,
}
MAP = {**WEATHER, "name": "draw_map"}
JSON_TEXT = {"format": {"type": "json_object"}}
PARAMETERS = {*CreateResponse.__struct_fields__, *CreateResponse.UNSUPPORTED}
APPROVER, BOTH = "tw_" + "a" * 43, "tw_" + "b" * 43


@dataclass(frozen=True)
class Option:
    """A field of `RequestOptions`: the run's value, what an answer gives and what holds then.

    `reset` is what holds after null; `free`: a key with `approve` alone may give it.
    """

    run: Any
    gives: Mapping[str, Any]
    then: Any
    reset: Any
    free: bool = False


NAMED = {"type": "function", "name": "get_weather"}
OPTIONS: Mapping[str, Option] = {
    "instructions": Option("Be kind.", {"instructions": "Be brief."}, "Be brief.", ""),
    "tools": Option((WEATHER,), {"tools": [WEATHER, MAP]}, ("get_weather", "draw_map"), ()),
    "tool_choice": Option(NAMED, {"tool_choice": "auto"}, "auto", None),
    "parallel_tool_calls": Option(False, {"parallel_tool_calls": True}, True, None),
    "max_tool_calls": Option(2, {"max_tool_calls": 9}, 9, None),
    "max_output_tokens": Option(100, {"max_output_tokens": 200}, 200, None),
    "temperature": Option(0.5, {"temperature": 1.0}, 1.0, None),
    "top_p": Option(0.5, {"top_p": 1.0}, 1.0, None),
    "text": Option(JSON_TEXT, {"text": {}}, {}, None),
    "reasoning": Option(
        {"effort": "low"}, {"reasoning": {"effort": "high"}}, {"effort": "high"}, None
    ),
    "metadata": Option({"a": "1"}, {"metadata": {"b": "2"}}, {"b": "2"}, {}),
    "echo": Option(
        {"user": "ann", "truncation": "auto"},
        {"user": "bob"},
        {"user": "bob", "truncation": "auto"},
        {"truncation": "auto"},
    ),
    "choice_holds": Option(True, {"tool_choice": "required"}, False, False),
    # How this response is delivered, and what the run is: no option of an answer's.
    "tool_items": Option("function", {TOOL_ITEMS: "hidden"}, "hidden", "function", free=True),
    "stream": Option(False, {"stream": True}, True, False, free=True),
    "store": Option(True, {"store": True}, True, True, free=True),
    "conversation": Option(True, {"conversation": "conv_1"}, True, True, free=True),
    "previous": Option("", {"previous_response_id": "resp_1"}, "resp_1", "", free=True),
    "hops": Option(4, {"x-twelvefold-hops": "1"}, 4, 4, free=True),
    "stop": Option(("END",), {}, ("END",), ("END",), free=True),
    "model": Option("fast", {}, "fast", "fast", free=True),
}
RUN = RequestOptions(**{name: option.run for name, option in OPTIONS.items()})


def answer(given: Mapping[str, Any]) -> TurnRequest:
    """An answer that gives these parameters and headers."""
    headers = {name: one for name, one in given.items() if name not in PARAMETERS and one}
    body = {name: one for name, one in given.items() if name in PARAMETERS}
    return parse_turn({"model": "shop", "input": [ANSWER], **body}, headers, {"shop": SHOP})


def held(options: RequestOptions, name: str) -> Any:
    value = getattr(options, name)
    return tuple(tool["name"] for tool in value) if name == "tools" else value


def test_every_option_of_a_run_is_decided() -> None:
    assert set(OPTIONS) == set(RequestOptions.__struct_fields__)


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_that_an_answer_omits_keeps_the_runs_value(name: str) -> None:
    merged = merge_options(RUN, answer({}))

    assert held(merged, name) == held(RUN, name)
    assert not changed_options(answer({}))


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_that_an_answer_gives_changes_that_option_alone(name: str) -> None:
    option = OPTIONS[name]

    merged = merge_options(RUN, answer(option.gives))

    assert held(merged, name) == option.then
    linked = {"tool_choice", "choice_holds"} if "tool_choice" in option.gives else {name}
    others = [one for one in OPTIONS if one not in linked]
    assert [held(merged, one) for one in others] == [held(RUN, one) for one in others]


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_that_an_answer_sets_to_null_has_its_default(name: str) -> None:
    option = OPTIONS[name]
    # The tool that it names goes with the tools.
    run = replace(RUN, tool_choice=None) if name == "tools" else RUN

    merged = merge_options(run, answer(dict.fromkeys(option.gives)))

    assert held(merged, name) == option.reset


@pytest.mark.parametrize("name", OPTIONS)
def test_an_answer_with_an_option_needs_the_scope_runs(name: str) -> None:
    option = OPTIONS[name]

    assert bool(changed_options(answer(option.gives))) is not option.free


@pytest.mark.parametrize("name", sorted(PARAMETERS - UNCHANGING))
def test_a_default_or_null_that_is_given_counts_as_a_change(name: str) -> None:
    if name in CreateResponse.UNSUPPORTED:
        assert changed_options(answer({name: None})) == {name}
        return
    defaults = {
        **{"instructions": "", "tools": [], "tool_choice": "auto", "parallel_tool_calls": True},
        **{"temperature": 1.0, "top_p": 1.0, "text": {}, "reasoning": {}, "metadata": {}},
    }
    for value in (defaults.get(name), None):
        assert changed_options(answer({name: value})) == {name}


def test_an_unknown_parameter_of_an_answer_counts_as_a_change() -> None:
    undecided = answer({}).given | {"something_new"}

    assert PARAMETERS > UNCHANGING
    assert changed_options(replaced(answer({}), given=undecided)) == {"something_new"}


def test_the_choice_of_an_answer_may_name_the_runs_own_tools() -> None:
    merged = merge_options(
        replace(RUN, tool_choice=None), answer({"tool_choice": NAMED | {"name": "get_weather"}})
    )

    assert merged.tool_choice == NAMED


@pytest.mark.parametrize(
    ("gives", "at"),
    [
        ({"tool_choice": {"type": "function", "name": "fly"}}, "tool_choice.name"),
        ({"tools": []}, "tool_choice.name"),
        ({"tools": [MAP]}, "tool_choice.name"),
        (
            {
                "tool_choice": {
                    "type": "allowed_tools",
                    "mode": "auto",
                    "tools": [{"type": "function", "name": "fly"}],
                }
            },
            "tool_choice.tools[0].name",
        ),
    ],
)
def test_a_choice_of_a_tool_that_the_answer_removes_is_invalid(gives: Json, at: str) -> None:
    with pytest.raises(ApiError) as caught:
        merge_options(RUN, answer(gives))

    assert (caught.value.status, caught.value.param) == (400, at)


def test_an_answer_without_options_is_not_checked_against_a_choice_of_an_older_release() -> None:
    gone = replace(RUN, tool_choice={"type": "function", "name": "gone"})

    assert merge_options(gone, answer({})).tool_choice == gone.tool_choice


# --- over HTTP ------------------------------------------------------------------------------------


ASKED: Json = {
    "instructions": "Be kind.",
    "tools": [WEATHER],
    "tool_choice": {
        "type": "allowed_tools",
        "mode": "auto",
        "tools": [{"type": "function", "name": "refund"}],
    },
    "parallel_tool_calls": False,
    "max_tool_calls": 3,
    "max_output_tokens": 100,
    "temperature": 0.5,
    "top_p": 0.25,
    "text": {"format": {"type": "json_object"}, "verbosity": "low"},
    "reasoning": {"effort": "low"},
    "metadata": {"turn": "1"},
    "truncation": "auto",
    "user": "ann",
}


async def keys(api: Served) -> Mapping[str, Json]:
    """Request arguments for a key with `approve` alone and for one with both scopes.

    Other requests are made with the latter: once there is a key, each request needs one.
    """
    store = api.web.services.store
    scopes = {APPROVER: ("approve",), BOTH: ("runs", "approve")}
    for token, allowed in scopes.items():
        await store.add_key(
            ApiKey(f"key_{token[3]}", token[3], "local", allowed, hash_of(token), 1)
        )
    headers = {token: {"headers": {"authorization": f"Bearer {token}"}} for token in scopes}
    api.http.headers.update(headers[BOTH]["headers"])
    return {"approver": headers[APPROVER], "both": headers[BOTH]}


@pytest.mark.parametrize("how", ["approver", "both", "stream", "background", "previous", "turn"])
async def test_a_run_keeps_its_options_after_an_answer_by_any_key(serve: Serve, how: str) -> None:
    api = await serve(worker=True)
    place: Json = {}
    if how == "turn":
        place = {"conversation": (await api.post("/conversations")).json()["id"]}
    first, request = await approval(api, **ASKED, **place)
    body: Json = {"model": "shop", "input": answer_to(request, True), **place}
    body |= {"stream": True} if how == "stream" else {}
    body |= {"background": True} if how == "background" else {}
    body |= {"previous_response_id": first["id"]} if how == "previous" else {}

    by = await keys(api)

    answered = await api.post("/responses", body, **by["both" if how == "both" else "approver"])

    assert answered.status_code == 200
    second = await api.settled(f"{first['id']}c1")
    wanted = [*ASKED, "conversation"]
    assert {name: second[name] for name in wanted} == {name: first[name] for name in wanted}
    before, after = api.model.requests[-2:]
    assert after.instructions == before.instructions
    assert {t.name for t in after.tools} == {t.name for t in before.tools}
    kept = ("max_output_tokens", "temperature", "top_p", "text", "reasoning")
    assert {one: after.options[one] for one in kept} == {one: before.options[one] for one in kept}


@pytest.mark.parametrize(
    "given",
    [
        *({"tool_choice": "auto"}, {"instructions": ""}, {"instructions": None}, {"tools": []}),
        *({"max_tool_calls": None}, {"max_output_tokens": 100}, {"metadata": {}}, {"user": "eve"}),
        *({"text": None}, {"temperature": 1.0}, {"truncation": "disabled"}, {"reasoning": {}}),
    ],
    ids=str,
)
async def test_only_a_key_with_both_scopes_changes_an_option(serve: Serve, given: Json) -> None:
    api = await serve()
    _, request = await approval(api)
    body = {"model": "shop", "input": answer_to(request, True), **given}

    by = await keys(api)

    refused = await api.post("/responses", body, **by["approver"])
    taken = await api.post("/responses", body, **by["both"])

    assert error(refused) == (403, "missing_scope", None)
    assert taken.status_code == 200


async def test_a_run_keeps_its_options_after_an_answer_on_the_command_line(
    serve: Serve,
) -> None:
    api = await serve(worker=True)
    first, _ = await approval(api, **ASKED)
    run = RunId.parse(first["id"])

    await record_answer(api.web.services, run, approved=True, by="boss")
    api.web.wake()

    second = await api.settled(f"{first['id']}c1")
    assert {name: second[name] for name in ASKED} == {name: first[name] for name in ASKED}


async def test_a_repeated_answer_has_the_options_of_the_first(serve: Serve) -> None:
    api = await serve()
    _, request = await approval(api, **ASKED)
    body = {"model": "shop", "input": answer_to(request, True)}

    key = {"headers": (await keys(api))["approver"]["headers"] | {"Idempotency-Key": "once"}}

    first, again = [await api.post("/responses", body, **key) for _ in range(2)]

    assert first.json() == again.json()
    assert first.json()["instructions"] == "Be kind."


async def test_the_options_of_an_answer_hold_for_the_next_approval(api: Served) -> None:
    _, one = await approval(api, **ASKED)
    second = await api.ask(answer_to(one, False), instructions="Be brief.")
    _, two = await approval(api, previous_response_id=second["id"], instructions="Be brief.")

    third = await api.ask(answer_to(two, True))

    assert second["metadata"] == {"turn": "1"}
    assert third["instructions"] == "Be brief."


async def test_a_run_that_is_not_stored_cannot_continue_in_the_background(api: Served) -> None:
    _, request = await approval(api, store=False)
    body = {"model": "shop", "input": answer_to(request, True), "background": True}

    refused = await api.post("/responses", body)

    assert error(refused) == (400, "unsupported_value", "background")
    assert (await api.ask(answer_to(request, True)))["status"] == "completed"


# --- journals of the release before --------------------------------------------------------------


async def test_an_answer_in_a_journal_of_the_last_release_has_the_same_effect(
    api: Served, stage: Stage
) -> None:
    """It reset what it omitted, and its journal says so by leaving that out."""
    first, request = await approval(api, **ASKED)
    second = await api.ask(answer_to(request, True))
    record = await api.web.services.store.load(RunId.parse(first["id"]).thread)
    old = [
        replace_event(entry, options=DEFAULT_OPTIONS)
        if isinstance(entry.event, ApprovalAnswered)
        else entry
        for entry in record.entries
    ]

    assert fold(record.entries).options.instructions == "Be kind."
    assert second["instructions"] == "Be kind."
    assert fold(old).options == RequestOptions()


def replace_event(entry: Any, **fields: Any) -> Any:
    return replace(entry, event=decode(*encode(replace(entry.event, **fields))))
