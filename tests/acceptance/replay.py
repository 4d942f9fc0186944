"""Recorded conversations, played back through the real engine, model client and database.

    python -m tests.acceptance.replay --runs DIR [--limit N] [--faults SPEC] [--api chat|responses]
                                      [--via engine|http]

A server stands in for the recorded model, and says what the recorded user said; each conversation
has a database state of its own, and several go on at once. Every tool output and every final state
is compared with the expected one. Exit 1 if any differs.
"""

import argparse
import asyncio
import json
import logging
import operator
import os
import re
import secrets
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import aiohttp
import uvloop

from examples.retail.load import taubench
from examples.retail.workflow import workflow
from tests.acceptance.recordings import Recording, recordings_in
from tests.acceptance.replay_http import Counter, counter, outputs_told
from tests.acceptance.shop import DocumentKey, Initial, Shop, open_shop
from twelvefold import Principal
from twelvefold.core.budget import Limits
from twelvefold.core.events import Entry, Item, ModelReplied, ToolFailed, ToolSucceeded
from twelvefold.core.ids import ThreadId, call_id
from twelvefold.core.ports import NullListener
from twelvefold.engine.commands import RunRequest, start_run
from twelvefold.engine.drive import drive
from twelvefold.engine.services import Services
from twelvefold.errors import TwelvefoldError
from twelvefold.services.model.http import Endpoint, HTTPTransport, Response
from twelvefold.services.model.openai import Api, ModelSettings, OpenAIModel

Via = Literal["engine", "http"]
DONE = "###DONE###"
"""What the replay server says in the model's place once the recording is over."""
WHO = Principal("replay")
# Recordings are long, and nothing may be left out of them to save room.
LIMITS = Limits(max_steps=1_000, deadline_s=300, context_tokens=100_000_000)
DIFFERENCES_SHOWN = 5


class CannotReplay(Exception):
    """Nothing was played; the message says what is in the way."""


@dataclass(frozen=True, slots=True)
class Result:
    """How one conversation came out; `problems` says what was otherwise than expected.

    `state_equal` is None where the recording does not say what to expect.
    """

    run_id: str
    outputs: int
    outputs_equal: int
    state_equal: bool | None
    problems: tuple[str, ...]


async def replay(
    recordings: Sequence[Recording],
    folder: Path,
    database_url: str,
    *,
    api: Api = "responses",
    faults: str = "",
    via: Via = "engine",
    lanes: int = 8,
    progress: Callable[[int], None] = lambda done: None,
) -> list[Result]:
    """Play the folder's recordings, as many at once as there are lanes."""
    waiting = iter(recordings)
    results: list[Result] = []

    async def lane(shop: Shop) -> None:
        async with _talk(via, shop, peer, api) as talk:
            for recording in waiting:
                results.append(await play(recording, shop, talk))
                progress(len(results))

    async with AsyncExitStack() as stack:
        peer = await stack.enter_async_context(replay_server(folder, faults))
        shops = await _open_shops(stack, database_url, min(lanes, len(recordings)))
        async with asyncio.TaskGroup() as tasks:
            for shop in shops:
                tasks.create_task(lane(shop))
    return results


async def _open_shops(stack: AsyncExitStack, database_url: str, count: int) -> list[Shop]:
    initial = Initial()
    names = (f"twelvefold_replay_{os.getpid()}_{number}" for number in range(count))
    # One after another: Alembic migrates one database of a process at a time.
    return [
        await stack.enter_async_context(open_shop(database_url, name, initial)) for name in names
    ]


Talk = Callable[[str], Awaitable[tuple[str, tuple[Entry, ...]]]]
"""Talks until the recorded user or model is done: why it ended early, and the whole journal."""


@asynccontextmanager
async def _talk(via: Via, shop: Shop, peer: "Peer", api: Api) -> AsyncIterator[Talk]:
    if via == "engine":
        yield lambda run_id: converse(run_id, shop, peer, api)
        return
    async with counter(shop, workflow, RandomIds(), LIMITS) as serving:
        yield lambda run_id: converse_over_http(run_id, serving, peer, api)


async def play(recording: Recording, shop: Shop, talk: Talk) -> Result:
    """Play one recording on a shop in its initial state, and leave it in that."""
    ended, entries = await talk(recording.run_id)
    outputs = outputs_of(entries)
    problems = [f"ended early: {ended}"] if ended else []
    problems += differences(outputs, recording.outputs)
    changed = await shop.changed(shop.initial.suspects(ids_in(entries) | recording.changed_ids))
    nothing_else = await shop.put_back(changed)
    if not nothing_else:
        problems.append("something changed that no call has named")
    diff = diff_of(changed, shop.initial)
    state_equal = None
    if recording.diff_sha256:
        state_equal = nothing_else and sha256(diff.encode()).hexdigest() == recording.diff_sha256
    if state_equal is False:
        problems.append(f"another final state than expected: {diff[:2_000]}")
    return Result(
        run_id=recording.run_id,
        outputs=len(recording.outputs),
        outputs_equal=sum(map(operator.eq, outputs, recording.outputs)),
        state_equal=state_equal,
        problems=tuple(problems),
    )


def diff_of(changed: Mapping[DocumentKey, Any], initial: Initial) -> str:
    """The documents that differ in value, not just in the order of their keys, as hashed."""
    return canonical(
        [
            {"table": table, "id": id, "record": document}
            for (table, id), document in sorted(changed.items())
            if canonical(document) != canonical(json.loads(initial.texts[table, id]))
        ]
    )


async def converse(
    run_id: str, shop: Shop, peer: "Peer", api: Api
) -> tuple[str, tuple[Entry, ...]]:
    """As `Talk` says, on the engine itself."""
    services = Services(
        store=shop.store,
        model=peer.model(run_id, api),
        workflows={workflow.name: workflow},
        ids=RandomIds(),
        limits=LIMITS,
        release="replay",
    )
    thread: ThreadId | None = None
    entries: tuple[Entry, ...] = ()
    while (said := await peer.user_says(run_id, replies_in(entries))) is not None:
        item: Item = {"type": "message", "role": "user", "content": said}
        try:
            started = await start_run(
                services,
                RunRequest(workflow=workflow.name, principal=WHO, items=[item], thread=thread),
            )
            outcome = await drive(services, started, NullListener())
        except TwelvefoldError as error:
            return f"{type(error).__name__}: {error}", entries
        thread, entries = outcome.run.thread, outcome.thread.entries
        if outcome.status != "completed":
            return f"{outcome.status} {outcome.error}", entries
        if said_last(entries) == DONE:
            break
    return "", entries


async def converse_over_http(
    run_id: str, serving: Counter, peer: "Peer", api: Api
) -> tuple[str, tuple[Entry, ...]]:
    """The same through the service; what it tells of the tools has to be what the journal has."""
    serving.model.now = peer.model(run_id, api)
    told: list[str] = []
    entries: tuple[Entry, ...] = ()
    previous = ""
    while (said := await peer.user_says(run_id, replies_in(entries))) is not None:
        stream = len(entries) % 2 == 0
        response = await serving.turn(workflow.name, said, previous, stream=stream)
        previous, entries = response["id"], await serving.entries(response)
        told += outputs_told(response)
        if response["status"] != "completed":
            return f"{response['status']} {response['error']}", entries
        if told != outputs_of(entries):
            return "the response tells of other outputs than the journal", entries
        if said_last(entries) == DONE:
            break
    return "", entries


def replies_in(entries: Sequence[Entry]) -> int:
    return sum(isinstance(entry.event, ModelReplied) for entry in entries)


def said_last(entries: Sequence[Entry]) -> str:
    """The text of the model's latest reply."""
    replies = [entry.event for entry in entries if isinstance(entry.event, ModelReplied)]
    parts = [part for item in replies[-1].items for part in item.get("content") or ()]
    return "".join(part.get("text", "") for part in parts)


def calls_in(reply: ModelReplied) -> list[Item]:
    return [item for item in reply.items if item["type"] == "function_call"]


def outputs_of(entries: Sequence[Entry]) -> list[str]:
    """What the model was answered, call by call in the order in which it called."""
    answers = {}
    for entry in entries:
        match entry.event:
            case ToolSucceeded(call=call, result=text) | ToolFailed(call=call, message=text):
                answers[call] = text
            case _:
                pass
    return [
        answers.get(call_id(entry.position, index), "(no answer)")
        for entry in entries
        if isinstance(entry.event, ModelReplied)
        for index in range(len(calls_in(entry.event)))
    ]


def ids_in(entries: Sequence[Entry]) -> set[str]:
    """Whatever is quoted in the arguments of calls: among it are the ids of what they change."""
    replies = [entry.event for entry in entries if isinstance(entry.event, ModelReplied)]
    arguments = [call["arguments"] for reply in replies for call in calls_in(reply)]
    return {word for text in arguments for word in text.split('"')}


def differences(got: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """A line for the first output that differs, and one if there are too many or too few."""
    found = []
    pairs = enumerate(zip(got, wanted, strict=False))
    first = next((place for place, (mine, theirs) in pairs if mine != theirs), None)
    if first is not None:
        found.append(f"output {first} is {got[first][:500]!r}, expected {wanted[first][:500]!r}")
    if len(got) != len(wanted):
        found.append(f"{len(got)} outputs, expected {len(wanted)}")
    return found


def canonical(value: object) -> str:
    """JSON as the expected hashes are made of it."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


class RandomIds:
    """Obeys `twelvefold.core.ports.Ids`."""

    def thread(self) -> ThreadId:
        return ThreadId(secrets.token_hex(22))


EMPTY_RESULT = re.compile(r'("(?:output|content)":)"\(no result\)"')


class AsRecorded(HTTPTransport):
    """Sends a conversation as it was recorded, with what strict servers refuse.

    Some real models used a call id twice, and a tool returned nothing. What is sent has a number
    behind the second id, and a note in place of nothing; the replay server wants neither.
    """

    def post(
        self, path: str, body: bytes, headers: Mapping[str, str]
    ) -> AbstractAsyncContextManager[Response]:
        return super().post(path, as_recorded(body), headers)


def as_recorded(body: bytes) -> bytes:
    """The body of a request, its call ids not made unique and its empty results left empty."""
    text = body.decode()
    ids = set(re.findall(r'"call_id":"([^"]+)"|"(?:tool_call_id|id)":"([^"]+)"', text))
    known = {one or other for one, other in ids}
    for numbered in sorted(known, key=len, reverse=True):
        first, _, number = numbered.rpartition("_")
        if number.isdecimal() and first in known:
            text = text.replace(f'"{numbered}"', f'"{first}"')
    return EMPTY_RESULT.sub(r'\1""', text).encode()


class Peer:
    """The replay server: the recorded model, and the recorded user."""

    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        self._url = url
        self._http = http
        self._transport = AsRecorded(Endpoint(f"{url}/v1", "unused"), connect_timeout_s=10)

    def model(self, run_id: str, api: Api) -> OpenAIModel:
        """The model of one recording; the connections are those of all."""
        settings = ModelSettings(
            base_url=f"{self._url}/v1",
            api_key="unused",
            model=f"replay:{run_id}",
            api=api,
            max_attempts=8,
            backoff_s=0.02,
        )
        return OpenAIModel(settings, self._transport)

    async def user_says(self, run_id: str, replies: int) -> str | None:
        """What the user says after so many replies; None if nothing more is to be answered."""
        path = f"/replay/runs/{quote(run_id, safe='')}/user/{replies}"
        async with self._http.get(self._url + path, raise_for_status=True) as response:
            turn = await response.json()
        # What is said behind the last reply is recorded, but the model never answered it.
        said: str | None = None if turn["end"] else turn["content"]
        return said

    async def close(self) -> None:
        await self._transport.close()


@asynccontextmanager
async def replay_server(folder: Path, faults: str) -> AsyncIterator[Peer]:
    """A replay server of our own, on a free port."""
    server = taubench() / "replay_server.py"
    command = [sys.executable, str(server), "--port", "0", "--runs", str(folder)]
    command += ["--faults", faults, "--check", "outputs"]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout is not None
        line = (await process.stdout.readline()).decode()
        if not line:
            raise CannotReplay(f"{server} ended at once; what it says about it stands above")
        async with AsyncExitStack() as stack:
            http = await stack.enter_async_context(aiohttp.ClientSession())
            peer = Peer(f"http://127.0.0.1:{line.split()[-1]}", http)
            stack.push_async_callback(peer.close)
            yield peer
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def report(results: Sequence[Result]) -> str:
    """The differences, the first few of them in full, and the line of totals."""
    lines = []
    different = sorted((one for one in results if one.problems), key=lambda one: one.run_id)
    for result in different[:DIFFERENCES_SHOWN]:
        lines += [f"{result.run_id}: {problem}" for problem in result.problems]
    if len(different) > DIFFERENCES_SHOWN:
        lines.append(f"and {len(different) - DIFFERENCES_SHOWN} more conversations that differ")
    outputs = f"{sum(r.outputs_equal for r in results)}/{sum(r.outputs for r in results)}"
    compared = [r.state_equal for r in results if r.state_equal is not None]
    states = f"{sum(compared)}/{len(compared)}"
    lines.append(
        f"runs {len(results)} · tool outputs {outputs} equal · final states {states} equal"
    )
    return "\n".join(lines)


def arguments_of(words: Sequence[str]) -> argparse.Namespace:
    """The command line. An empty value means that `make` was given none."""
    parser = argparse.ArgumentParser(prog="python -m tests.acceptance.replay")
    parser.add_argument("--runs", type=Path, required=True, help="the folder of recordings")
    parser.add_argument("--domain", default="retail", type=_or("retail"), choices=["retail"])
    parser.add_argument("--limit", type=_or(None, int), help="play only so many")
    parser.add_argument("--faults", default="", help="what the model's server shall do wrong")
    parser.add_argument(
        "--api", default="responses", type=_or("responses"), choices=["responses", "chat"]
    )
    parser.add_argument("--via", default="engine", type=_or("engine"), choices=["engine", "http"])
    parser.add_argument("--lanes", default=8, type=_or(8, int), help="so many at once")
    parser.add_argument("--database", default=os.environ.get("DATABASE_URL"), type=_or(None))
    return parser.parse_args(words)


def _or(unset: object, parse: Callable[[str], object] = str) -> Callable[[str], object]:
    return lambda text: parse(text) if text else unset


async def main(words: Sequence[str]) -> int:
    logging.getLogger().setLevel(logging.ERROR)
    arguments = arguments_of(words)
    began = time.monotonic()
    try:
        results = await _play_all(arguments)
    except (CannotReplay, TwelvefoldError) as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{time.monotonic() - began:.0f} s", file=sys.stderr)
    print(report(results))
    return 1 if any(result.problems for result in results) else 0


async def _play_all(arguments: argparse.Namespace) -> list[Result]:
    recordings = recordings_in(arguments.runs, arguments.domain)[: arguments.limit]
    if not recordings:
        raise CannotReplay(f"no {arguments.domain} recordings in {arguments.runs}")
    return await replay(
        recordings,
        arguments.runs,
        arguments.database or "sqlite://",
        api=arguments.api,
        faults=arguments.faults,
        via=arguments.via,
        lanes=max(1, arguments.lanes),
        progress=_show_progress if sys.stderr.isatty() else lambda done: None,
    )


def _show_progress(done: int) -> None:
    print(f"\r{done} ", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(uvloop.run(main(sys.argv[1:])))
