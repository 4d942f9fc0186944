"""Recorded conversations of real models, replayed by a server that injects faults.

The server counts the items of a conversation and rejects one that differs from the recording, so
that an error in storing or sending a reply shows in the next request.
"""

import asyncio
import gzip
import json
import os
import random
import re
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.services.model.builders import RecordingListener, fast_settings, output, user
from twelvefold.core.events import Item
from twelvefold.core.ports import ModelRequest
from twelvefold.services.model.openai import Api, OpenAIModel

SHARED = Path(os.environ.get("TWELVEFOLD_SHARED") or Path(__file__).parents[5] / "shared")
TAUBENCH = SHARED / "taubench"
RECORDED = TAUBENCH / "recorded"
FAULTS = "429=0.1,500=0.1,502=0.05,503=0.05,reset=0.1,cut=0.1,truncate=0.1,slow=0.1:1,hang=0.05:1"
FLAGS = ("parallel", "text_with_calls", "dup_call_ids")

pytestmark = pytest.mark.skipif(
    not TAUBENCH.exists(), reason=f"{TAUBENCH} is absent; TWELVEFOLD_SHARED names its folder"
)


@pytest.fixture(scope="module")
def runs() -> list[dict[str, Any]]:
    """Three recorded runs of each difficult kind."""
    index = [json.loads(line) for line in (RECORDED / "index.jsonl").read_text().splitlines()]
    wanted: set[str] = set()
    for flag in FLAGS:
        flagged = [one["run_id"] for one in index if flag in one["flags"]]
        wanted.update(random.Random(12).sample(flagged, 3))
    found = []
    for path in sorted(RECORDED.glob("*.jsonl.gz")):
        with gzip.open(path, "rt") as lines:
            found += [run for line in lines if (run := json.loads(line))["run_id"] in wanted]
    return found


@pytest.fixture
async def url(runs: list[dict[str, Any]], tmp_path: Path) -> AsyncIterator[str]:
    (tmp_path / "runs.jsonl").write_text("\n".join(map(json.dumps, runs)))
    command = [sys.executable, str(TAUBENCH / "replay_server.py"), "--port", "0"]
    process = await asyncio.create_subprocess_exec(
        *command, "--runs", str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    ready = await process.stdout.readline()
    port = re.search(rb"port (\d+)", ready)
    assert port is not None, ready
    yield f"http://127.0.0.1:{int(port[1])}/v1"
    process.terminate()
    await process.communicate()


@pytest.mark.parametrize("api", ["responses", "chat"])
@pytest.mark.parametrize("faults", ["", FAULTS])
async def test_recorded_conversations_are_replayed_exactly(
    url: str, api: Api, faults: str, runs: list[dict[str, Any]]
) -> None:
    replies = await asyncio.gather(*(replay(url, api, run, faults) for run in runs))

    assert replies == [replies_of(run) for run in runs]


@pytest.mark.parametrize("api", ["responses", "chat"])
async def test_a_reply_truncated_by_length_is_replayed(
    url: str, api: Api, runs: list[dict[str, Any]]
) -> None:
    model = model_of(url, api, runs[0], "length=1,max=9")

    reply = await model.reply(ModelRequest("", opening(runs[0])), RecordingListener())
    await model.close()

    assert reply.ended == "max_output_tokens"
    assert reply.items


async def replay(url: str, api: Api, run: dict[str, Any], faults: str) -> list[Any]:
    """Replay a run with the recorded outputs. Returns the texts and calls of the model."""
    model, listener = model_of(url, api, run, faults), RecordingListener()
    items, replies = list(opening(run)), []
    for turn in turns(run):
        listener.text_now = ""
        reply = await model.reply(ModelRequest("", tuple(items)), listener)
        replies.append(text_and_calls(reply.items))
        assert listener.text_now == replies[-1][0]
        items += [*reply.items, *turn]
    await model.close()
    return replies


def model_of(url: str, api: Api, run: dict[str, Any], faults: str) -> OpenAIModel:
    name = f"replay:{run['run_id']};faults={faults},seed=1,retry_after=0.01"
    patience = {"first_token_timeout_s": 0.4, "connect_timeout_s": 0.4}
    return OpenAIModel(fast_settings(url, model=name, api=api, max_attempts=8, **patience))


def opening(run: dict[str, Any]) -> tuple[Item, ...]:
    first = next(i for i, m in enumerate(run["messages"]) if m["role"] == "assistant")
    return tuple(user(message["content"]) for message in run["messages"][:first])


def turns(run: dict[str, Any]) -> list[list[Item]]:
    """Return the items after each of the model's replies."""
    following: list[list[Item]] = []
    for message in run["messages"]:
        if message["role"] == "assistant":
            following.append([])
        elif following and message["role"] == "tool":
            following[-1].append(output(message["tool_call_id"], message["content"]))
        elif following:
            following[-1].append(user(message["content"]))
    return following


def replies_of(run: dict[str, Any]) -> list[Any]:
    return [
        (
            message["content"] or "",
            [
                (call["id"], call["function"]["name"], call["function"]["arguments"])
                for call in message.get("tool_calls") or ()
            ],
        )
        for message in run["messages"]
        if message["role"] == "assistant"
    ]


def text_and_calls(items: Sequence[Item]) -> tuple[str, list[Any]]:
    texts = [part["text"] for i in items if i["type"] == "message" for part in i["content"]]
    calls = [i for i in items if i["type"] == "function_call"]
    return "".join(texts), [(call["call_id"], call["name"], call["arguments"]) for call in calls]
