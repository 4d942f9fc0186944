"""Wake-ups without a broker: they obey the port, in one process."""

from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

MAIL = "mail"


@dataclass
class FakeSubscription:
    """What has arrived and is not settled is in `waiting`, by number."""

    topics: Collection[str]
    wake: Callable[[], None]
    is_connected: bool = True
    received: int = 0
    room: int = 0
    waiting: dict[int, str] = field(default_factory=dict)
    acknowledged: list[str] = field(default_factory=list)
    returned: list[str] = field(default_factory=list)
    on_settle: Callable[[], None] = lambda: None

    def settle(self, last: int, *, used: int, room: int) -> None:
        self.on_settle()
        self.room = room
        runs = 0
        for number, topic in list(self.waiting.items()):
            runs += topic != MAIL
            if number <= last and (room or topic == MAIL or runs <= used):
                self.acknowledged.append(self.waiting.pop(number))
            elif not room and topic != MAIL:
                self.returned.append(self.waiting.pop(number))

    def deliver(self, topic: str) -> None:
        self.received += 1
        self.waiting[self.received] = topic
        self.wake()

    def connect(self, connected: bool) -> None:
        self.is_connected = connected
        self.wake()


@dataclass
class FakeWakeUps:
    """Delivers to the subscriptions that are connected and have room, else keeps in `queue`.

    `sent` has every wake-up in order; `loses` of them are lost.
    """

    loses: bool = False
    sent: list[str] = field(default_factory=list)
    queue: deque[str] = field(default_factory=deque)
    subscriptions: list[FakeSubscription] = field(default_factory=list)

    def run_queued(self, workflow: str) -> None:
        self.send([workflow])

    def mail_queued(self) -> None:
        self.send([MAIL])

    def send(self, topics: Iterable[str]) -> None:
        for topic in topics:
            self.sent.append(topic)
            if not self.loses:
                self._deliver(topic)

    def _deliver(self, topic: str) -> None:
        for one in self.subscriptions:
            if topic in one.topics and one.is_connected and (one.room or topic == MAIL):
                one.deliver(topic)
                return
        self.queue.append(topic)

    @asynccontextmanager
    async def subscribe(
        self, workflows: Collection[str], *, mail: bool, wake: Callable[[], None]
    ) -> AsyncIterator[FakeSubscription]:
        subscription = FakeSubscription([*workflows, *([MAIL] if mail else [])], wake)
        self.subscriptions.append(subscription)
        yield subscription
        self.subscriptions.remove(subscription)
