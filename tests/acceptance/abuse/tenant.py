"""The other tenant: ordinary requests at a fixed rate, each with the time that it took.

Requests begin when they are due, whether or not earlier ones have been answered, and their time
counts from then on: a service that stands still delays all that were due meanwhile.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from tests.acceptance.abuse.client import LOST, Answer, Connection, request
from tests.acceptance.abuse.prepare import ENROLMENT, turn

WAIT_S = 30.0
"""After that an answer is given up, and counts as this long and as an error."""
POLL_S = 0.05
SAID = ("what am I enrolled in", "I want to learn databases", "what can you do")


@dataclass(frozen=True, slots=True)
class Sample:
    """One request of a kind; `error` is "" for a good answer."""

    kind: str
    took_ms: float
    error: str = ""


@dataclass
class Tenant:
    """`rate` is in requests a second, over all kinds in turn."""

    port: int
    key: str
    rate: float
    samples: list[Sample] = field(default_factory=list)
    _idle: list[Connection] = field(default_factory=list)
    _conversation: str = ""
    _response: str = ""

    async def prepare(self) -> None:
        """Make the conversation and the response that later requests are about."""
        made = await self._ask("POST", "/v1/conversations", {"metadata": {"of": "tenant"}})
        self._conversation = made.json()["id"]
        await self._turn(0, conversation=self._conversation)
        answer = await self._ask("POST", "/v1/responses", turn(SAID[1]))
        self._response = answer.json()["id"]

    async def work(self, seconds: float) -> list[Sample]:
        """Make requests for so long; returns those that were due then, when all are answered."""
        self.samples = []
        kinds = list(self._kinds().items())
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with asyncio.TaskGroup() as group:
            for number in range(int(seconds * self.rate)):
                due = began + number / self.rate
                await asyncio.sleep(max(0.0, due - loop.time()))
                kind, act = kinds[number % len(kinds)]
                group.create_task(self._measured(kind, act, number, due))
        return self.samples

    def close(self) -> None:
        for connection in self._idle:
            connection.close()

    def _kinds(self) -> dict[str, Callable[[int], Awaitable[str]]]:
        """What is asked for in turn; each returns what was wrong, "" for nothing."""
        about, response = f"/v1/conversations/{self._conversation}", self._response
        return {
            "turn": self._turn,
            "list": lambda _: self._read("/v1/conversations?limit=20"),
            "stream": self._stream,
            "items": lambda _: self._read(f"{about}/items?limit=20"),
            "background": self._background,
            "journal": lambda _: self._read(f"{about}/journal?limit=50"),
            "chat": self._chat,
            "response": lambda _: self._read(f"/v1/responses/{response}"),
        }

    async def _measured(
        self, kind: str, act: Callable[[int], Awaitable[str]], number: int, due: float
    ) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout_at(due + WAIT_S):
                error = await act(number)
        except TimeoutError:
            error = "no answer"
        except LOST as lost:
            error = type(lost).__name__
        self.samples.append(Sample(kind, (loop.time() - due) * 1_000, error))

    async def _turn(self, number: int, **more: Any) -> str:
        body = turn(SAID[number % len(SAID)]) | more
        return _completed(await self._ask("POST", "/v1/responses", body))

    async def _stream(self, number: int) -> str:
        body = turn(SAID[number % len(SAID)]) | {"stream": True}
        answer = await self._ask("POST", "/v1/responses", body)
        if answer.status == 200 and b"event: response.completed" not in answer.body:
            return "not completed"
        return _refused(answer)

    async def _chat(self, number: int) -> str:
        messages = [{"role": "user", "content": SAID[number % len(SAID)]}]
        body = {"model": ENROLMENT, "messages": messages}
        return _refused(await self._ask("POST", "/v1/chat/completions", body))

    async def _background(self, number: int) -> str:
        body = turn(SAID[number % len(SAID)]) | {"background": True}
        answer = await self._ask("POST", "/v1/responses", body)
        while answer.status == 200 and answer.json()["status"] in ("queued", "in_progress"):
            await asyncio.sleep(POLL_S)
            answer = await self._ask("GET", f"/v1/responses/{answer.json()['id']}")
        return _completed(answer)

    async def _read(self, path: str) -> str:
        return _refused(await self._ask("GET", path))

    async def _ask(self, method: str, path: str, body: Any = None) -> Answer:
        connection = self._idle.pop() if self._idle else Connection(self.port)
        try:
            answer = await connection.ask(request(method, path, self.key, body))
        except BaseException:
            connection.close()
            raise
        self._idle.append(connection)
        return answer


def _refused(answer: Answer) -> str:
    return "" if answer.status == 200 else str(answer.status)


def _completed(answer: Answer) -> str:
    if answer.status == 200 and answer.json()["status"] != "completed":
        return str(answer.json()["status"])
    return _refused(answer)


@dataclass
class Probe:
    """How long `/healthz` takes, asked as a machine does: over a new connection each time."""

    port: int
    took_ms: list[float] = field(default_factory=list)

    async def work(self, every_s: float) -> None:
        """Ask until cancelled."""
        while True:
            began = time.monotonic()
            with suppress(TimeoutError, *LOST):
                async with asyncio.timeout(WAIT_S), Connection(self.port) as connection:
                    await connection.ask(request("GET", "/healthz"))
            self.took_ms.append((time.monotonic() - began) * 1_000)
            await asyncio.sleep(every_s)
