"""Waits of calls: what ends them, and when time does. Pure: the state comes from the database."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

from twelvefold.core.answers import schema_of
from twelvefold.core.children import ChildAnswer, end_children, is_joined
from twelvefold.core.events import (
    ApprovalAnswered,
    ChildrenStarted,
    Event,
    ToolFailed,
    ToolSucceeded,
    WaitEnded,
    WaitStarted,
)
from twelvefold.core.ids import CallId, RunId
from twelvefold.core.ports import SignalKey, WaitState
from twelvefold.core.thread import Call, Thread
from twelvefold.core.waiting import Ask, Wait

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST_US = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)


def time_of(at_us: int) -> datetime:
    """Return the time of microseconds since 1970, in UTC."""
    return _EPOCH + timedelta(microseconds=at_us)


def us_of(at: datetime) -> int:
    """Return the microseconds since 1970 of a time with a zone."""
    return (at - _EPOCH) // timedelta(microseconds=1)


def start_wait(call: CallId, tool: str, result: Wait | Ask, began_us: int) -> WaitStarted:
    """Return the entry of a call that returned `result`.

    `began_us` is the database's time at the start of the call, in microseconds since 1970. Raises
    ValueError if the type of an answer has no JSON Schema, or an invalid one.
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
        return min(max(us_of(until), 1), _LATEST_US)
    return _after_us(began_us, until)


def _after_us(began_us: int, delay: timedelta | None) -> int:
    """Return when a delay is over, at least 1; 0 without one."""
    if delay is None:
        return 0
    return min(max(began_us + delay // timedelta(microseconds=1), 1), _LATEST_US)


def due_us(calls: Iterable[Call]) -> int | None:
    """Return when time ends the first of these waits, in microseconds since 1970; None: never."""
    times = [time for call in calls if (time := _limit_us(call))]
    return min(times, default=None)


def _limit_us(call: Call) -> int:
    if call.state == "asked":
        return call.expires_us
    return call.wait.until_us if isinstance(call.wait, WaitStarted) else 0


def signals_of(thread: Thread, calls: Iterable[Call]) -> dict[str, Call]:
    """Return the calls that wait for an event, by the event's id."""
    return {
        signal_key(thread, call.wait).id: call
        for call in calls
        if isinstance(call.wait, WaitStarted) and call.wait.event
    }


def signal_key(thread: Thread, wait: WaitStarted) -> SignalKey:
    """Return the name of the event that a run of this thread waits for."""
    return SignalKey(thread.workflow, thread.principal, wait.event)


def joined_calls(calls: Iterable[Call], state: WaitState) -> tuple[Call, ...]:
    """Return the calls that wait for other runs no longer."""
    return tuple(
        call
        for call in calls
        if isinstance(call.wait, ChildrenStarted) and is_joined(call.wait, state.runs)
    )


def ended_waits(
    thread: Thread,
    calls: Iterable[Call],
    state: WaitState,
    answers: Mapping[RunId, ChildAnswer] | None = None,
) -> tuple[Event, ...]:
    """Return the entries of the waits that are over, in the order of the calls.

    `answers` are those of the runs that `joined_calls` waited for.
    """
    events: list[Event] = []
    for call in calls:
        if call.state == "asked":
            events += _expired_approval(call, state.now_us)
        elif isinstance(call.wait, WaitStarted):
            events += _ended_wait(thread, call, call.wait, state)
        elif isinstance(call.wait, ChildrenStarted) and is_joined(call.wait, state.runs):
            events += end_children(call, call.wait, answers or {})
    return tuple(events)


def _expired_approval(call: Call, now_us: int) -> tuple[Event, ...]:
    if now_us < call.expires_us:
        return ()
    denied = ApprovalAnswered(call.id, approved=False, by="", reason="expired")
    message = "Error: not approved in time"
    return denied, ToolFailed(call.id, call.tool, "denied", message)


def _ended_wait(
    thread: Thread, call: Call, wait: WaitStarted, state: WaitState
) -> tuple[Event, ...]:
    is_due = 0 < wait.until_us <= state.now_us
    if wait.event:
        sent = state.signals.get(signal_key(thread, wait).id)
        if sent and not 0 < wait.until_us < sent.at_us:
            ended = WaitEnded(call.id, "event", sent.sender)
            return ended, ToolSucceeded(call.id, call.tool, sent.payload)
    if not is_due:
        return ()
    if not wait.event and not wait.question:
        result = time_of(wait.until_us).isoformat()
        return WaitEnded(call.id, "time"), ToolSucceeded(call.id, call.tool, result)
    return WaitEnded(call.id, "timeout"), ToolFailed(call.id, call.tool, "expired", _late(wait))


def _late(wait: WaitStarted) -> str:
    what = f"the event {wait.event!r}" if wait.event else "an answer"
    return f"Error: {what} did not come in time"
