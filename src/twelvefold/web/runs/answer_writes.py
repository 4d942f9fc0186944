"""Writes the answer of a person, once, while other processes may hold the run."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TypeVar, cast

from twelvefold.core import CallId, ChildAnswered, Item, Principal
from twelvefold.core.answers import parse_answer
from twelvefold.engine import answer, answer_below, answer_question, retry_unavailable
from twelvefold.errors import Conflict, InvalidAnswer, NotFound, RequestError, TooLate
from twelvefold.web.http import ApiError, abbreviate, raise_invalid
from twelvefold.web.runs.polling import poll_until
from twelvefold.web.runs.waiting_call import WaitingCall, load_waiting
from twelvefold.web.schemas import ANSWER, TurnRequest, answered_id, merge_options
from twelvefold.web.state import Web

Result = TypeVar("Result")
NOT_PENDING = "approval_not_pending"
POLL_INTERVAL_S = 0.02
"""How often to try again while another process holds the run: it does for a moment only."""


async def write_answer(
    web: Web, principal: Principal, request: TurnRequest, waiting: WaitingCall, index: int
) -> None:
    """Append the answer, with the options that are valid from there on.

    Raises ApiError if the call was answered meanwhile or its run cancelled, and Conflict if the run
    is held for longer than `Waits.take_s`.
    """
    item = request.items[index]
    id = answered_id(item)
    write = _question_write if waiting.question else _approval_write
    append_answer = write(web, principal, request, waiting, item)
    if waiting.parent_call is not None:
        append_answer = _write_below(web, principal, request, waiting, item)

    async def attempt() -> None:
        try:
            await append_answer()
        except Conflict as error:
            # The process that has written another answer now drives the run and holds it.
            if await _is_answered(web, principal, id, waiting):
                raise TooLate(str(error)) from error
            raise

    try:
        await retry_while_held(web, attempt)
    except TooLate as error:
        raise not_pending(item, index) from error
    except InvalidAnswer as error:
        raise_invalid(str(error), f"input[{index}].output", "invalid_answer")
    except RequestError as error:
        if isinstance(error, Conflict) or not item.get("arguments"):
            raise
        raise_invalid(str(error), f"input[{index}].arguments")


def _approval_write(
    web: Web,
    principal: Principal,
    request: TurnRequest,
    waiting: WaitingCall,
    item: Item,
    *,
    keeps_options: bool = False,
) -> Callable[[], Awaitable[None]]:
    return partial(
        answer,
        web.services,
        waiting.run,
        approved=item["approve"],
        by=principal.id,
        reason=item.get("reason", ""),
        arguments=item.get("arguments", ""),
        call=waiting.call,
        options=None if keeps_options else merge_options(waiting.options, request),
        background=request.background,
        request=request.key,
        claims=not request.background,
        key_id=principal.key_id,
    )


def _write_below(
    web: Web, principal: Principal, request: TurnRequest, waiting: WaitingCall, item: Item
) -> Callable[[], Awaitable[None]]:
    """Return what writes the answer of a run below, and to the caller's run that there is one."""
    plain = replace(request, key=None, background=True)  # any process may continue that run
    if waiting.question:
        write = _question_write(web, principal, plain, waiting, item)
    else:
        write = _approval_write(web, principal, plain, waiting, item, keeps_options=True)
    answered = ChildAnswered(
        cast("CallId", waiting.parent_call),
        str(waiting.run),
        waiting.call,
        principal.id,
        waiting.question is None,
        bool(item.get("approve")),
        item.get("reason", ""),
        merge_options(waiting.options, request),
        request.background,
        principal.key_id,
    )
    claims = not request.background
    root = waiting.next.run
    return partial(
        answer_below, web.services, root, answered, write, request=request.key, claims=claims
    )


def _question_write(
    web: Web, principal: Principal, request: TurnRequest, waiting: WaitingCall, item: Item
) -> Callable[[], Awaitable[None]]:
    """Return what writes the answer to a question. The run keeps its options."""
    output, schema = item["output"], waiting.question.schema if waiting.question else None
    if not isinstance(output, str):
        output = "".join(str(part.get("text", "")) for part in output)
    return partial(
        answer_question,
        web.services,
        waiting.run,
        parse_answer(schema, output),
        by=principal.id,
        principal=principal.id,
        call=waiting.call,
        request=request.key,
        claims=not request.background,
        key_id=principal.key_id,
    )


async def _is_answered(web: Web, principal: Principal, id: str, waiting: WaitingCall) -> bool:
    """Return whether the call waits no longer. Loads the thread only if it has new entries."""
    store, thread = web.services.store, waiting.run.thread
    with suppress(NotFound):
        if (await retry_unavailable(partial(store.thread, thread))).head == waiting.head:
            return False
    return await load_waiting(web, principal, id) is None


def not_pending(item: Item, index: int) -> ApiError:
    message = f"no call waits for the answer to {abbreviate(answered_id(item))}"
    param = f"input[{index}].{'approval_request_id' if item['type'] == ANSWER else 'call_id'}"
    return ApiError(400, message, code=NOT_PENDING, param=param)


async def retry_while_held(web: Web, attempt: Callable[[], Awaitable[Result]]) -> Result:
    """Do something with a run, again for `Waits.take_s` while another request holds it.

    Raises Conflict.
    """
    end = asyncio.get_running_loop().time() + web.waits.take_s
    while True:
        try:
            return await attempt()
        except TooLate:
            raise
        except Conflict:
            if not await poll_until(end, POLL_INTERVAL_S):
                raise
