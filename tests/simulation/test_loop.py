"""Virtual time: loops that are stopped, ended, and slower than others."""

import asyncio

from tests.simulation.loop import Timeline, VirtualLoop


class Story:
    """Loops on one timeline; `events` have the virtual time."""

    def __init__(self) -> None:
        self.timeline = Timeline()
        self.events: list[tuple[float, str]] = []

    def loop(self, *, rate: float = 1.0) -> VirtualLoop:
        return VirtualLoop(self.timeline, None, rate=rate)

    def tell(self, what: str) -> None:
        self.events.append((round(self.timeline.now, 3), what))

    async def sleep(self, seconds: float, what: str) -> None:
        await asyncio.sleep(seconds)
        self.tell(what)

    def run(self, end: float = 100.0) -> None:
        self.timeline.run(until=lambda: False, end=end)


def test_time_advances_only_when_no_loop_has_work() -> None:
    story = Story()
    one, other = story.loop(), story.loop()
    one.create_task(story.sleep(3.0, "three"))
    other.create_task(story.sleep(1.0, "one"))
    other.create_task(story.sleep(2.0, "two"))

    story.run()

    assert story.events == [(1.0, "one"), (2.0, "two"), (3.0, "three")]


def test_a_stopped_loop_runs_its_timers_late() -> None:
    story = Story()
    loop = story.loop()
    loop.create_task(story.sleep(1.0, "late"))
    story.timeline.at(0.5, loop.stop_for, 4.0)

    story.run()

    assert story.events == [(4.5, "late")]


def test_a_loop_reads_answers_before_it_runs_timers() -> None:
    story = Story()
    loop = story.loop()
    loop.call_later(1.0, story.tell, "timer")
    story.timeline.at(0.5, loop.stop_for, 4.0)
    story.timeline.at(2.0, loop.call_soon, story.tell, "answer")

    story.run()

    assert story.events == [(4.5, "answer"), (4.5, "timer")]


def test_a_killed_loop_runs_nothing_more() -> None:
    story = Story()
    loop = story.loop()
    loop.create_task(story.sleep(1.0, "never"))
    loop.call_later(2.0, story.tell, "never")
    left: list[asyncio.Task[object]] = []
    story.timeline.at(0.5, lambda: left.extend(loop.kill()))

    story.run()

    assert story.events == []
    assert len(left) == 1
    left[0]._log_destroy_pending = False  # type: ignore[attr-defined]


def test_clocks_run_at_their_own_rates() -> None:
    story = Story()
    story.loop(rate=2.0).create_task(story.sleep(2.0, "fast"))
    story.loop(rate=0.5).create_task(story.sleep(1.0, "slow"))

    story.run()

    assert story.events == [(1.0, "fast"), (2.0, "slow")]


def test_a_timeout_cancels_at_its_time() -> None:
    story = Story()

    async def limited() -> None:
        try:
            async with asyncio.timeout(2.0):
                await asyncio.sleep(10.0)
        except TimeoutError:
            story.tell("timed out")

    story.loop().create_task(limited())
    story.run()

    assert story.events == [(2.0, "timed out")]


def test_an_endless_loop_is_a_fault() -> None:
    story = Story()
    story.timeline = Timeline(most_steps=100)
    loop = story.loop()

    def again() -> None:
        loop.call_soon(again)

    again()
    story.run()

    assert story.timeline.faults == ["more than 100 steps by 0.000 s"]


def test_an_exception_in_a_callback_is_a_fault() -> None:
    story = Story()
    story.loop().call_soon(_fail)

    story.run()

    assert len(story.timeline.faults) == 1
    assert "ZeroDivisionError" in story.timeline.faults[0]


def _fail() -> None:
    raise ZeroDivisionError
