"""What a tool returns to let its run wait: `Wait` for time or an event, `Ask` for a person.

They are results, not places in the code: the tool is not called again. The time, the payload of the
event or the person's answer becomes the result of its call.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from twelvefold.core.events import Item, WaitStarted
from twelvefold.core.ids import CallId
from twelvefold.core.tools.strict_mode import simplify

MAX_KEY_CHARS = 255
"""The longest name of an event, workflow or principal."""
MAX_QUESTION_CHARS = 4_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PLAIN: Mapping[Any, str] = {str: "string", int: "integer", float: "number", bool: "boolean"}


@dataclass(frozen=True, slots=True)
class Wait:
    """Let the run wait for a time, or for an event.

    `until` is a time with a zone, or how long after the start of the call by the database's clock;
    the model then reads the time in ISO 8601. `event` is the name of an event of this workflow and
    principal: the model reads its payload, JSON. If it does not come within `timeout`, the call
    fails, and the model reads that. Raises ValueError for anything else.

    Example:
        @tool(effect="pure")
        async def remind_me(minutes: int) -> Wait:
            \"\"\"Wait some minutes.\"\"\"
            return Wait(until=timedelta(minutes=minutes))
    """

    until: datetime | timedelta | None = None
    event: str = ""
    timeout: timedelta | None = None

    def __post_init__(self) -> None:
        if (self.until is None) == (not self.event):
            raise ValueError("a Wait has either until= or event=")
        if self.until is not None and self.timeout is not None:
            raise ValueError("timeout= is for event=; a Wait with until= ends by itself")
        if isinstance(self.until, datetime) and self.until.tzinfo is None:
            raise ValueError(f"until={self.until!r} has no time zone; write datetime.now(UTC) + …")
        check_key("event", self.event)


@dataclass(frozen=True, slots=True)
class Ask:
    """Let the run wait for a person's answer to a question.

    `schema` is the type of the answer: anything that Pydantic has a JSON Schema for, or a JSON
    Schema; a text by default. An answer that does not fit is refused, and the run goes on waiting.
    The model reads the answer as JSON. `person` is the principal who may answer, by default that of
    the run. If no answer comes within `timeout`, the call fails, and the model reads that. Raises
    ValueError for a question that is empty or too long.

    Example:
        @tool(effect="pure")
        async def ask_colour() -> Ask:
            \"\"\"Ask the customer for a colour.\"\"\"
            return Ask("Which colour?", schema=Literal["red", "blue"])
    """

    question: str
    schema: Any = None
    person: str = ""
    timeout: timedelta | None = None

    def __post_init__(self) -> None:
        if not 0 < len(self.question.strip()) <= MAX_QUESTION_CHARS:
            most = f"1 to {MAX_QUESTION_CHARS} characters"
            raise ValueError(f"a question has {most}, not {len(self.question)}")
        check_key("person", self.person)


WAITS = (Wait, Ask)


def check_key(name: str, value: str) -> None:
    """Raise ValueError if a key is longer than the database stores."""
    if len(value) > MAX_KEY_CHARS:
        raise ValueError(f"{name} has {len(value)} characters; {MAX_KEY_CHARS} is the most")


def declares_wait(returns: Any) -> bool:
    """Return whether a return annotation names `Wait` or `Ask`."""
    return any(one in WAITS for one in _members(returns))


def _members(annotation: Any) -> Iterator[Any]:
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _members(get_args(annotation)[0])
    elif origin in (Union, UnionType):
        for one in get_args(annotation):
            yield from _members(one)
    else:
        # `type Result = str | Wait` of Python 3.12.
        value = getattr(annotation, "__value__", None)
        yield from _members(value) if value is not None else (annotation,)


def start_wait(call: CallId, tool: str, result: Wait | Ask, began_us: int) -> WaitStarted:
    """Return the entry of a call that returned `result`.

    `began_us` is the database's time at the start of the call, in microseconds since 1970. Raises
    TypeError or ValueError if the type of an answer has no JSON Schema.
    """
    if isinstance(result, Ask):
        until_us = _after_us(began_us, result.timeout)
        schema = schema_of(result.schema)
        return WaitStarted(call, tool, until_us, "", result.question, schema, result.person)
    if result.event:
        return WaitStarted(call, tool, _after_us(began_us, result.timeout), result.event)
    return WaitStarted(call, tool, _until_us(began_us, result.until))


def _until_us(began_us: int, until: datetime | timedelta | None) -> int:
    if isinstance(until, datetime):
        return max((until - _EPOCH) // timedelta(microseconds=1), 1)
    return _after_us(began_us, until)


def _after_us(began_us: int, delay: timedelta | None) -> int:
    """Return when a delay is over, at least 1; 0 without one."""
    if delay is None:
        return 0
    latest = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)
    return min(max(began_us + delay // timedelta(microseconds=1), 1), latest)


def schema_of(answer: Any) -> Item:
    """Return the JSON Schema of an answer's type; a text if it is None."""
    if answer is None:
        return {"type": "string"}
    if isinstance(answer, Mapping):
        return dict(answer)
    if isinstance(answer, type) and answer in _PLAIN:
        return {"type": _PLAIN[answer]}
    from pydantic import TypeAdapter

    return simplify(TypeAdapter(answer).json_schema())
