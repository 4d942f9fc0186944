import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders import asked, replied, said, succeeded
from tests.core.journals import scrambled
from twelvefold.core.events import KINDS, Event, RunFinished, Usage, decode, encode
from twelvefold.errors import StoreRefused

RECORDED: list[tuple[str, str]] = [
    (
        "RunStarted",
        '{"items":[{"type":"message","role":"user","content":"hi"}],"principal":"ann",'
        '"workflow":"academy","release":"0.1.0"}',
    ),
    (
        "RunStarted",
        '{"items":[{"role":"user","content":[{"type":"input_text","text":"é\\u0001"}]}],'
        '"principal":"ann","workflow":"academy","release":"0.1.0","asked":{"instructions":"Be '
        'brief.","tools":[{"type":"function","name":"get_time","parameters":null}],'
        '"tool_choice":{"type":"function","name":"look"},"parallel_tool_calls":false,'
        '"max_tool_calls":2,"max_output_tokens":100,"temperature":0.5,"top_p":1.0,'
        '"text":{"format":{"type":"text"}},"reasoning":{"effort":"low"},"stream":true,'
        '"store":false,"metadata":{"a":"b"},"echo":{"user":"u"},"conversation":true,'
        '"previous":"resp_1","hops":1,"tool_items":"hidden","stop":["x"],"choice_holds":true}}',
    ),
    (
        "ModelReplied",
        '{"items":[{"type":"function_call","call_id":"c1","name":"look","arguments":"{}"}],'
        '"usage":{},"model":"m-1","request_hash":"abab"}',
    ),
    (
        "ModelReplied",
        '{"items":[{"type":"reasoning","id":"rs_1","summary":[]}],"usage":{"input_tokens":1,'
        '"output_tokens":2,"cached_tokens":3,"reasoning_tokens":4,"estimated":true},"model":"m-1",'
        '"request_hash":"abab","ended":"max_output_tokens","first_delta":3,"cuts":[5,7]}',
    ),
    ("ToolSucceeded", '{"call":"2.0","tool":"look","result":"3 seats"}'),
    ("ToolFailed", '{"call":"2.0","tool":"look","failure":"refused","message":"Error: full"}'),
    (
        "ToolFailed",
        '{"call":"2.0","tool":"look","failure":"fault","message":"Error","error":{"type":'
        '"KeyError","message":"\'x\'","file":"/shop.py","line":12}}',
    ),
    ("ApprovalAsked", '{"call":"2.0","tool":"refund"}'),
    ("ApprovalAnswered", '{"call":"2.0","approved":true,"by":"bob"}'),
    (
        "ApprovalAnswered",
        '{"call":"2.0","approved":false,"by":"bob","reason":"no","asked":{"stream":true},'
        '"background":true}',
    ),
    ("ApprovalAsked", '{"call":"2.0","tool":"refund","expires_us":5}'),
    ("ApprovalAnswered", '{"call":"2.0","approved":true,"by":"bob","arguments":"{}"}'),
    ("WaitStarted", '{"call":"2.0","tool":"sleep","until_us":5}'),
    (
        "WaitStarted",
        '{"call":"2.0","tool":"ask","event":"e","question":"Why?","schema":{"type":"string"},'
        '"person":"bob"}',
    ),
    ("ChildrenStarted", '{"call":"2.0","tool":"billing","runs":["resp_1"]}'),
    (
        "ChildrenStarted",
        '{"call":"2.0","tool":"billing","runs":["resp_1"],"join":"quorum","quorum":1,'
        '"hand_off":true}',
    ),
    (
        "ChildAsked",
        '{"call":"2.0","tool":"pay","run":"resp_1","child_call":"2.1","workflow":"billing",'
        '"arguments":"{}"}',
    ),
    (
        "ChildAsked",
        '{"call":"2.0","tool":"ask","run":"resp_1","child_call":"2.1","workflow":"billing",'
        '"question":"Which?","schema":{"type":"string"}}',
    ),
    (
        "ChildAsked",
        '{"call":"2.0","tool":"pay","run":"resp_1","child_call":"2.1","workflow":"billing",'
        '"is_unknown":true}',
    ),
    (
        "ChildAnswered",
        '{"call":"2.0","run":"resp_1","child_call":"2.1","by":"bob","is_approval":true,'
        '"approved":true,"background":true}',
    ),
    ("ChildAnswered", '{"call":"2.0","run":"resp_1","child_call":"2.1","by":"bob"}'),
    ("WaitEnded", '{"call":"2.0","reason":"time"}'),
    ("WaitEnded", '{"call":"2.0","reason":"event","by":"bob"}'),
    ("OutcomeUnknown", '{"call":"2.0","tool":"pay"}'),
    ("OutcomeUnknown", '{"call":"2.0","tool":"pay","final":true}'),
    ("OutcomeSettled", '{"call":"2.0","settled":"retry","by":"bob"}'),
    ("OutcomeSettled", '{"call":"2.0","settled":"done","by":"bob","result":"paid"}'),
    ("RunFinished", '{"status":"completed"}'),
    ("RunFinished", '{"status":"failed","reason":"tool_faults","error":"tool `x` raised"}'),
    ("ItemsAdded", '{"items":[{"role":"user","content":"more"}]}'),
    ("ItemRemoved", '{"item":"msg_01i0"}'),
]
"""Bodies as release 0.1.0 writes them: each type with its defaults, and with all fields."""


@pytest.mark.parametrize(("kind", "body"), RECORDED)
def test_an_entry_of_an_older_release_is_read_and_written_byte_for_byte(
    kind: str, body: str
) -> None:
    assert encode(decode(kind, 1, body)) == (kind, 1, body)


def test_every_type_of_event_has_a_recorded_entry() -> None:
    assert {(kind, 1) for kind, _ in RECORDED} == KINDS.keys()


@settings(max_examples=20)
@given(scrambled)
def test_an_event_is_read_as_it_was_written(events: list[Event]) -> None:
    assert [decode(*encode(event)) for event in events] == events


@settings(max_examples=20)
@given(st.lists(st.integers(0, 0x10FFFF - 0x800)))
def test_any_text_that_utf_8_can_carry_is_read_as_it_was_written(points: list[int]) -> None:
    # Without the surrogates, which UTF-8 cannot carry.
    text = "".join(chr(one if one < 0xD800 else one + 0x800) for one in points)

    assert decode(*encode(succeeded(result=text))) == succeeded(result=text)


@pytest.mark.parametrize("text", ["", "\x00", "\u2028", "\U0001f600", "ß" * 3000, '"\\', "\x7f"])
def test_unusual_text_is_read_as_it_was_written(text: str) -> None:
    events: list[Event] = [asked(text), said(text), succeeded(result=text)]

    assert [decode(*encode(event)) for event in events] == events


def test_the_writer_refuses_half_of_a_surrogate_pair() -> None:
    with pytest.raises(UnicodeEncodeError, match="surrogates not allowed"):
        encode(asked("\ud83d"))


def test_items_keep_the_order_of_their_keys() -> None:
    event = replied({"z": 1, "a": {"y": None, "b": [1.5, True]}})

    assert decode(*encode(event)) == event
    assert '"z":1,"a":{"y":null,"b":[1.5,true]}' in encode(event)[2]


def test_fields_of_newer_releases_are_ignored() -> None:
    body = '{"status":"failed","reason":"rejected","added_later":[1]}'

    assert decode("RunFinished", 1, body) == RunFinished("failed", "rejected")


@pytest.mark.parametrize("name", [("RunStarted", 2), ("RunPaused", 1), ("", 0)])
def test_the_error_for_an_event_of_a_newer_release_names_it(name: tuple[str, int]) -> None:
    with pytest.raises(StoreRefused, match=f"the journal holds {name[0]} version {name[1]}, which"):
        decode(*name, "{}")


@pytest.mark.parametrize("kind", sorted(kind for kind, _ in KINDS))
def test_the_error_for_an_unreadable_body_names_its_type(kind: str) -> None:
    for body in ("", "[]", "{", '{"items":1,"call":2,"status":"?","item":3}', "[" * 5000):
        with pytest.raises(StoreRefused, match=f"the journal holds a {kind} that cannot be read: "):
            decode(kind, 1, body)


def test_usage_is_added_by_kind() -> None:
    assert Usage(1, 2, 3, 4) + Usage(10, 20, 30, 40) == Usage(11, 22, 33, 44)
    assert Usage(1, 2, 3, 4).total_tokens == 3
