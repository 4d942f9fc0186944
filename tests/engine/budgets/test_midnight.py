"""A budget whose period ends while a model call is in progress."""

from collections.abc import Sequence
from datetime import UTC, datetime

from tests.engine.budgets.stories import SPENT_TOKENS, answers, capped, of_ann, set_budget
from tests.engine.stage import Stage
from twelvefold.core.ports import Listener, ModelReply, ModelRequest, NullListener
from twelvefold.core.ports.budgets import DAY_US, NOTHING, Amount, Budget, Used
from twelvefold.engine.commands import start_run
from twelvefold.engine.drive import drive
from twelvefold.engine.services import Services

MIDNIGHT_US = round(datetime(2026, 3, 1, tzinfo=UTC).timestamp()) * 1_000_000


class Clock:
    """The clock of the database, and one of a process that has another idea of the time."""

    def __init__(self, services: Services) -> None:
        self.now_us = MIDNIGHT_US - 1_000
        self._read = services.store.budgets
        services.store.budgets = self.budgets  # type: ignore[method-assign]

    async def budgets(self) -> tuple[int, Sequence[Budget]]:
        return self.now_us, (await self._read())[1]


async def used_on(services: Services, budget: Budget, began_us: int) -> Used:
    key = (budget.id, began_us)
    return (await services.store.used([key])).get(key, Used())


async def test_a_call_is_charged_to_the_day_on_which_it_began(stage: Stage) -> None:
    budget = await set_budget(stage, of_ann())
    seen = []

    class Slow:
        async def reply(self, request: ModelRequest, listener: Listener) -> ModelReply:
            seen.append(await used_on(services, budget, MIDNIGHT_US - DAY_US))
            clock.now_us = MIDNIGHT_US + 1_000
            await services.budgets.refresh()
            return answers()

        async def close(self) -> None: ...

    services = stage.process(model=Slow(), monotonic=lambda: 1_000_000.0)
    clock = Clock(services)

    await drive(services, await start_run(services, capped()), NullListener())

    [during] = seen
    assert during.spent == NOTHING
    assert during.reserved.tokens > 0
    before = await used_on(services, budget, MIDNIGHT_US - DAY_US)
    assert before == Used(Amount(SPENT_TOKENS), NOTHING)
    assert await used_on(services, budget, MIDNIGHT_US) == Used()


async def test_the_clock_of_the_database_decides_the_day(stage: Stage) -> None:
    budget = await set_budget(stage, of_ann())
    early, late = [
        stage.process(answers(), monotonic=clock) for clock in (lambda: 5.0, lambda: 9_999_999.0)
    ]
    for services in (early, late):
        Clock(services)
        await drive(services, await start_run(services, capped()), NullListener())

    charged = await used_on(early, budget, MIDNIGHT_US - DAY_US)
    assert charged == Used(Amount(2 * SPENT_TOKENS), NOTHING)
