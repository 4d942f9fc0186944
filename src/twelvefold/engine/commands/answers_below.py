"""A person's answer to a run that another one has started, given through the run of the caller."""

from collections.abc import Awaitable, Callable

from msgspec import structs

from twelvefold.core import ChildAnswered, IdempotentRequest, RunId
from twelvefold.engine.commands.claim import claimed, write_once
from twelvefold.engine.commands.start import check_storable
from twelvefold.engine.services import Services
from twelvefold.errors import CancelAsked, Conflict, DuplicateRow, StaleRun


async def answer_below(
    services: Services,
    root: RunId,
    answered: ChildAnswered,
    write_answer: Callable[[], Awaitable[None]],
    *,
    request: IdempotentRequest | None = None,
    claims: bool = False,
) -> None:
    """Write an answer to the run that waits, then `answered` to the run `root` of the caller.

    `write_answer` is `answer` or `answer_question` of the run that waits; it decides whether the
    answer counts. The root is held meanwhile, so no other entry comes between; if the process dies
    there, the root goes on without the entry. `request` and `claims` are as for `answer`. Raises
    what `write_answer` raises, NotFound, TooLate if the root is over, and Conflict if it is held
    or the request was made before.
    """
    answered = structs.replace(answered, key_id=await services.gate.if_open(answered.key_id))
    check_storable(answered)
    async with claimed(services, root) as held:
        await write_answer()
        try:
            await write_once(services, held, (answered,), "queued", request=request)
        except (CancelAsked, DuplicateRow, StaleRun) as error:
            raise Conflict(str(error)) from error
    if not claims:
        services.wake_ups.run_queued(held.thread.workflow)
