"""What a tool returns to let its run wait: `Wait` for time or an event, `Ask` for a person.

They are results, not places in the code: the tool is not called again. The time, the payload of the
event or the person's answer becomes the result of its call.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from twelvefold.core.names import abbreviate, name_problem

MAX_KEY_CHARS = 255
"""The longest name of an event or workflow."""
MAX_QUESTION_CHARS = 4_000


@dataclass(frozen=True, slots=True)
class Wait:
    """Let the run wait for a time, or for an event.

    `until` is a time with a zone, or how long after the start of the call by the database's clock;
    the model then reads the time in ISO 8601. `event` is the name of an event of this workflow and
    principal: the model reads its payload, JSON. If it does not come within `timeout`, the call
    fails, and the model reads that. Raises ValueError for anything else.

    Example:
        import asyncio
        from datetime import timedelta

        from twelvefold import Wait, tool

        @tool(effect="pure")
        async def remind_me(minutes: int) -> Wait:
            \"\"\"Wait some minutes.\"\"\"
            return Wait(until=timedelta(minutes=minutes))

        assert asyncio.run(remind_me(5)).until == timedelta(minutes=5)
    """

    until: datetime | timedelta | None = None
    event: str = ""
    timeout: timedelta | None = None

    def __post_init__(self) -> None:
        if (self.until is None) == (self.event == ""):
            raise ValueError("a Wait has either until= or event=")
        if self.until is not None and self.timeout is not None:
            raise ValueError("timeout= is for event=; a Wait with until= ends by itself")
        _check_timeout(self.timeout)
        if self.until is None:
            check_key("event", self.event)
        else:
            _check_until(self.until)


@dataclass(frozen=True, slots=True)
class Ask:
    """Let the run wait for a person's answer to a question.

    `schema` is the type of the answer: anything that Pydantic has a JSON Schema for, or a JSON
    Schema; a text by default. An answer that does not fit is refused, and the run still waits.
    The model reads the answer as JSON. `person` is the principal who may answer, by default that of
    the run. If no answer comes within `timeout`, the call fails, and the model reads that. Raises
    ValueError for a question that is empty or too long, or a person that is no principal.

    Example:
        import asyncio
        from typing import Literal

        from twelvefold import Ask, tool

        @tool(effect="pure")
        async def ask_colour() -> Ask:
            \"\"\"Ask the customer for a colour.\"\"\"
            return Ask("Which colour?", schema=Literal["red", "blue"])

        assert asyncio.run(ask_colour()).question == "Which colour?"
    """

    question: str
    schema: Any = None
    person: str = ""
    timeout: timedelta | None = None

    def __post_init__(self) -> None:
        check_text("question", self.question)
        if not 0 < len(self.question.strip()) <= MAX_QUESTION_CHARS:
            most = f"1 to {MAX_QUESTION_CHARS} characters"
            raise ValueError(f"a question has {most}, not {len(self.question)}")
        if self.person != "" and (problem := name_problem("person", self.person)):
            raise ValueError(problem)
        _check_timeout(self.timeout)


WAITS = (Wait, Ask)


def _check_until(until: object) -> None:
    """Raise ValueError unless it is a time with a zone, or a delay."""
    if isinstance(until, datetime):
        # A zone may know no offset of this time.
        if until.utcoffset() is None:
            raise ValueError(f"until={until!r} has no time zone; write datetime.now(UTC) + …")
    elif not isinstance(until, timedelta):
        raise ValueError(f"until={abbreviate(until)} is neither a datetime nor a timedelta")


def _check_timeout(timeout: object) -> None:
    if timeout is not None and not isinstance(timeout, timedelta):
        raise ValueError(f"timeout={abbreviate(timeout)} is no timedelta")


def check_key(name: str, value: Any) -> None:
    """Raise ValueError if a key is no text, blank, or longer than the database stores."""
    check_text(name, value)
    if not value.strip():
        raise ValueError(f"{name} is {value!r}; it needs a visible character")
    if len(value) > MAX_KEY_CHARS:
        raise ValueError(f"{name} has {len(value)} characters; {MAX_KEY_CHARS} is the most")


def check_text(name: str, value: object) -> None:
    """Raise ValueError if a value is no text that UTF-8 can encode."""
    if not isinstance(value, str):
        raise ValueError(f"{name} is a text, not {value!r}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{name} is no text: it holds half of a surrogate pair") from None


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
