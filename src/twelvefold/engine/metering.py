"""Model calls under budgets: reserved before the call, settled after it.

Each budget has one row, and each reservation and settlement is a transaction of its own. A call
whose process dies, or that is cancelled, is never settled by it. It is charged in full: by the next
call of its run, at the end of the run, or by a worker. A later settlement then changes nothing.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from twelvefold.core import (
    Listener,
    Model,
    ModelReply,
    ModelRequest,
    Price,
    Usage,
)
from twelvefold.core.ports.budgets import NOTHING, Amount, Budget, Reservation, Used
from twelvefold.core.spending import (
    affordable_output,
    charge,
    highest_cost,
    input_bound,
    least_output,
    output_cap,
)
from twelvefold.engine.budget_errors import budget_error, until_settled
from twelvefold.engine.held_run import NO_USAGE, HeldRun
from twelvefold.engine.services import Services
from twelvefold.engine.uninterrupted import run_uninterrupted
from twelvefold.errors import ModelRejected, ModelUnavailable
from twelvefold.observe.log import get_logger

log = get_logger(__name__)
MAX_TRIES = 5
"""How often a reservation is tried with a lower cap, while other calls use the same budgets."""


@dataclass(slots=True)
class Meter:
    """One call of one model, with all attempts that its client makes."""

    services: Services
    held: HeldRun
    model_name: str
    budgets: Sequence[Budget]
    price: Price | None = None
    amount: Amount = NOTHING
    settled: Usage = NO_USAGE
    reserved: list[Reservation] = field(default_factory=list)

    async def reply(self, model: Model, request: ModelRequest, listener: Listener) -> ModelReply:
        """Ask the model, as `Model.reply` does, with an output cap that the budgets allow.

        Raises InsufficientQuota if a budget has no room for the call, and PriceUnknown; the model
        is not asked then.
        """
        try:
            if self.held.claimed or self.held.unrecorded.has_lost_call:
                await charge_lost(self.services, self.held)
            wait_s = self.services.timings.settlement_s
            cap = await until_settled(self.services, partial(self._reserve, request), wait_s)
            options = {**request.options, "max_output_tokens": cap}
            request = replace(request, options=options, before_retry=self._renew)
            return await self._ask(model, request, listener)
        except BaseException:
            # It may have been interrupted at any await, also at that of a reservation.
            self.held.unrecorded.has_lost_call = True
            raise

    async def _ask(self, model: Model, request: ModelRequest, listener: Listener) -> ModelReply:
        try:
            reply = await model.reply(request, listener)
        except (ModelUnavailable, ModelRejected) as error:
            await self._settle(error.usage or NO_USAGE, is_complete=False)
            raise
        await self._settle(reply.usage, is_complete=True)
        return reply

    # --- reserving --------------------------------------------------------------------------------

    async def _reserve(self, request: ModelRequest) -> int:
        """Reserve the call in every budget; return its output cap. Raises InsufficientQuota."""
        services = self.services
        configured = services.profile(self.model_name).max_output_tokens
        cap = output_cap(request.options.get("max_output_tokens"), configured)
        least, input_tokens = least_output(cap), input_bound(request)
        for last in (*[False] * MAX_TRIES, True):
            cap = least if last else cap
            self.price = await services.budgets.price(self.model_name, self.budgets)
            self.amount = highest_cost(input_tokens, cap, self.price)
            if (full := await self._reserve_amount()) is None:
                return cap
            budget, used = full
            room = affordable_output(budget, used.total, input_tokens, self.price)
            if room is not None and room < least:
                break
            cap = cap if room is None else min(cap, room)
        needed = highest_cost(input_tokens, least, self.price)
        raise budget_error(budget, needed, used, services.budgets.now_us)

    async def _reserve_amount(self) -> tuple[Budget, Used] | None:
        """Reserve the amount in every budget, or in none; return the budget without room for it.

        The budget is read again then: it may have been raised.
        """
        unrecorded, held = self.held.unrecorded, self.held
        unrecorded.model_calls += 1
        attempt = f"{held.lease.token}-{unrecorded.model_calls}"
        book = self.services.budgets
        for budget in self.budgets:
            period = budget.period(book.now_us)
            reservation = Reservation(
                held.run, held.thread.head + 1, attempt, budget.id, period.began_us, self.amount
            )
            used = await self._write(budget, reservation)
            if used is not None:
                await self._release()
                await book.refresh()
                self.budgets = await book.covering(held.thread)
                return self._current(budget), used
            self.reserved.append(reservation)
        return None

    def _current(self, budget: Budget) -> Budget:
        """Return the budget as it is now; without a limit if it was removed."""
        removed = replace(budget, tokens=None, micro_usd=None)
        return next((one for one in self.budgets if one.id == budget.id), removed)

    async def _write(self, budget: Budget, reservation: Reservation) -> Used | None:
        services = self.services
        return await services.retry(
            lambda: run_uninterrupted(
                services.store.reserve(budget, reservation), services.exit_limit
            ),
            math.inf,
        )

    async def _renew(self, lost: Usage) -> bool:
        """Settle an attempt that failed and reserve the next one; False if there is no room for it.

        `lost` is the usage of all failed attempts.
        """
        await self._settle(lost, is_complete=False)
        self.settled = lost
        return await self._reserve_amount() is None

    # --- settling ---------------------------------------------------------------------------------

    async def _settle(self, usage: Usage, *, is_complete: bool) -> None:
        """Settle the attempt; `usage` is that of the whole call."""
        usage = usage - self.settled
        cost = charge(self.amount, usage, self.price, is_complete=is_complete)
        await self._release(cost)

    async def _release(self, cost: Amount = NOTHING) -> None:
        while self.reserved:
            await _write_cost(self.services, self.reserved[-1], cost)
            self.reserved.pop()


async def charge_lost(services: Services, held: HeldRun) -> None:
    """Charge in full the calls of the run that nothing will settle.

    Their process has died, or they were cancelled.
    """
    for lost in await services.retry(lambda: services.store.reservations(held.run), math.inf):
        log.warning("model_call_charged_in_full", budget=lost.budget, tokens=lost.amount.tokens)
        await _write_cost(services, lost, lost.amount)
    held.unrecorded.has_lost_call = False


async def _write_cost(services: Services, reservation: Reservation, cost: Amount) -> None:
    await services.retry(
        lambda: run_uninterrupted(services.store.settle(reservation, cost), services.exit_limit),
        math.inf,
    )
