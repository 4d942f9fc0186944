"""The model and the mail server of the simulation, which fail by a schedule."""

import asyncio
import json
import random
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

from tests.simulation.faults import AtMail, AtModel, Schedule
from tests.simulation.workload import Outside, Turn
from twelvefold.core.events import Item, Usage
from twelvefold.core.ids import ThreadId, family_of
from twelvefold.core.ports import Listener, Mail, ModelReply, ModelRequest
from twelvefold.errors import MailRejected, MailUnavailable, ModelRejected, ModelUnavailable
from twelvefold.services.model.items import text_of

INPUT_TOKENS = 100
PIECES = 3
"""The number of pieces of a text."""


class SimulatedModel:
    """Replies by a turn's plan; shared by all processes, so that faults are counted over all."""

    def __init__(
        self,
        turns: Mapping[str, Turn],
        outside: Outside,
        schedule: Schedule,
        rng: random.Random,
    ) -> None:
        self._turns = turns
        self._outside = outside
        self._faults = {one.nth: one for one in schedule if isinstance(one, AtModel)}
        self._random = rng
        self._asked = 0

    async def reply(self, request: ModelRequest, listener: Listener) -> ModelReply:
        turn, index = self._place(request.items)
        self._asked += 1
        fault = self._faults.get(self._asked)
        await asyncio.sleep(self._random.choice([0.01, 0.1, 0.5, 1.5]))
        if fault and fault.does == "error":
            raise ModelUnavailable("the model's server answers 503")
        if fault and fault.does == "rejected":
            raise ModelRejected("the model refuses the request")
        items = turn.reply(index)
        for piece in _pieces(items):
            listener.text(piece)
            await asyncio.sleep(self._random.choice([0, 0.03, 0.2]))
        if fault and fault.does == "late":
            await asyncio.sleep(fault.for_s)
        self._outside.paid[f"{turn.name}.{index}"] += 1
        if fault and fault.does == "lost":
            listener.restarted("the connection was lost")
            raise ModelUnavailable("the connection was lost")
        digest = sha256(f"{turn.name}.{index}".encode()).hexdigest()
        return ModelReply(tuple(items), Usage(INPUT_TOKENS, 10), "simulated", digest)

    async def close(self) -> None:
        """Nothing is open."""

    def _place(self, items: Sequence[Item]) -> tuple[Turn, int]:
        """The turn, and how many of its replies are in the conversation."""
        name, index = "", 0
        for item in items:
            if item.get("role") == "user":
                name, index = text_of(item["content"]), 0
            elif item["type"] == "function_call":
                index = int(json.loads(item["arguments"])["item"].split(".")[2]) + 1
        return self._turns[name], index


def _pieces(items: Sequence[Item]) -> list[str]:
    text = "".join(text_of(item["content"]) for item in items if item["type"] == "message")
    size = len(text) // PIECES + 1
    return [text[start : start + size] for start in range(0, len(text), size)]


class SimulatedMailServer:
    """Accepts mail; shared by all processes."""

    def __init__(
        self, outside: Outside, schedule: Schedule, rng: random.Random, clock: Any
    ) -> None:
        self._outside = outside
        self._faults = {one.nth: one for one in schedule if isinstance(one, AtMail)}
        self._random = rng
        self._clock = clock
        self._sent = 0

    async def send(self, mail: Mail) -> None:
        self._sent += 1
        fault = self._faults.get(self._sent)
        await asyncio.sleep(0.02 + 0.2 * self._random.random())
        does = fault.does if fault else ""
        if fault:
            self._outside.faults_s.append(self._clock.now)
        if fault and does == "slow":
            await asyncio.sleep(fault.for_s)
        if does == "temporary":
            raise MailUnavailable("451 try again later")
        if does == "permanent":
            raise MailRejected("550 no such user")
        self._outside.mails[mail.id].append(self._clock.now)
        if does == "lost":
            raise MailUnavailable("the connection was lost after the message")

    async def check(self) -> None:
        """Always there."""

    async def close(self) -> None:
        """Nothing is open."""


class NumberedIds:
    """The same ids in every run of a seed."""

    def __init__(self) -> None:
        self._made = 0

    def thread(self) -> ThreadId:
        self._made += 1
        return ThreadId(f"{self._made:044x}")

    def thread_in_family(self, of: ThreadId) -> ThreadId:
        self._made += 1
        return ThreadId(f"{family_of(of)}{self._made:024x}")
