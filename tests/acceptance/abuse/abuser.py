"""The abusive tenant, a process of its own: lines of JSON say what it does.

    python -m tests.acceptance.abuse.abuser '{"port": 8000, "key": "tw_…", …}'

Reads `{"do": "prepare" | "begin", "ways": […]}` and `{"do": "end"}`, and answers each by a line;
the last has what the service has answered. It ends with its standard input, and runs at the lowest
priority: in earnest it would have a machine of its own.
"""

import asyncio
import json
import os
import resource
import sys
import time
from collections import Counter as Tally
from typing import Any

from tests.acceptance.abuse.lane import Lane, Target
from tests.acceptance.abuse.ways import lanes_of, prepare_of

NICE = 19


class Abuser:
    """What is under way, by the name of its way."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._prepared: set[Any] = set()
        self._lanes: dict[str, list[Lane]] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def do(self, what: str, ways: list[str]) -> dict[str, Any]:
        """Do what a line says; returns what the answer is."""
        match what:
            case "prepare":
                return await self._prepare(ways)
            case "begin":
                return self._begin(ways)
            case _:
                return await self._end()

    async def _prepare(self, ways: list[str]) -> dict[str, Any]:
        began = time.monotonic()
        for name in ways:
            prepare = prepare_of(name)
            if prepare is not None and prepare not in self._prepared:
                self._prepared.add(prepare)
                await prepare(self._target)
        found = {name: str(what)[:200] for name, what in self._target.found.items()}
        return {"took_s": round(time.monotonic() - began, 1), "found": found}

    def _begin(self, ways: list[str]) -> dict[str, Any]:
        for name in ways:
            lanes = lanes_of(name, self._target)
            self._lanes[name] = [lane for lane, _ in lanes]
            self._tasks += [asyncio.create_task(lane.repeat(act)) for lane, act in lanes]
        return {"lanes": len(self._tasks)}

    async def _end(self) -> dict[str, Any]:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        broken = [task for task in self._tasks if not task.cancelled() and task.exception()]
        counts = {
            name: dict(sum((lane.tally for lane in lanes), Tally()))
            for name, lanes in self._lanes.items()
        }
        self._tasks, self._lanes = [], {}
        return {"counts": counts, "broken": [repr(task.exception()) for task in broken][:5]}


async def main(config: dict[str, Any]) -> None:
    abuser = Abuser(Target(**config))
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        asked = json.loads(line)
        said = await abuser.do(asked["do"], asked.get("ways", []))
        sys.stdout.write(json.dumps(said) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    os.nice(NICE)
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    asyncio.run(main(json.loads(sys.argv[1])))
