"""VI, processes that share nothing but the database; VII, each a server at a port of its own."""

import asyncio

from twelvefold.factors.harness import workflow as clerk
from twelvefold.factors.harness.http_client import get, post
from twelvefold.factors.harness.processes import Running
from twelvefold.factors.harness.report import Witness
from twelvefold.factors.harness.testbed import Scene

TURNS = 4
ELSEWHERE = "127.0.0.2"
"""Loopback, too, but not the address at which web listens unless HOST says so."""


async def processes(scene: Scene, witness: Witness) -> None:
    url = await scene.scratch.migrated()
    async with scene.model() as model, asyncio.TaskGroup() as tasks:
        settings = scene.clerk(url, model)
        starts = [tasks.create_task(scene.release.web(settings)) for _ in range(2)]
        pair = [await start for start in starts]
        await _in_turn(pair, witness)


async def _in_turn(pair: list[Running], witness: Witness) -> None:
    """One conversation whose turns go to one process and the other."""
    previous, last = None, None
    for turn in range(TURNS):
        web = pair[turn % 2]
        body = {"model": "clerk", "input": f"turn {turn}", "previous_response_id": previous}
        last = await post(web.port, "/v1/responses", **body)
        wanted = f"{turn + 1} turns were told"
        if last.status != 200 or wanted not in last.said:
            witness.fail(
                f"turn {turn + 1} at process {turn % 2 + 1} of a conversation that the other had "
                f"before: HTTP {last.status}, {last.said or last.text[:200]!r}"
            )
            return
        previous = last.body["id"]
    witness.saw(
        f"two web processes answered {TURNS} turns of one conversation in turn, by "
        f"previous_response_id; at the last the model was told all {TURNS}"
    )
    told = [await get(web.port, f"/v1/responses/{previous}") for web in pair]
    witness.expect(
        told[0].status == 200 and told[0].body == told[1].body,
        "the last response, read at the process that did not write it, is the same",
        f"the last response is {told[0].status} at one process and {told[1].status} at the other, "
        "or not the same",
    )


async def port_binding(scene: Scene, witness: Witness) -> None:
    url = await scene.scratch.migrated()
    async with scene.model() as model:
        inner = await scene.release.web(scene.clerk(url, model))
        health, page = await get(inner.port, "/healthz"), await get(inner.port, "/")
        witness.expect(
            (health.status, page.status) == (200, 200) and "<html" in page.text,
            f"web bound PORT {inner.port} and answered HTTP there, with no server in front of it: "
            "/healthz, and the page at /",
            f"at PORT {inner.port} /healthz gives {health.status} and / gives {page.status}",
        )
        witness.expect(
            not await _listens(ELSEWHERE, inner.port),
            f"it listens at 127.0.0.1 alone: {ELSEWHERE} refuses",
            f"it listens at {ELSEWHERE}, too, which HOST does not say",
        )
        await _model_of_another(scene, witness, url, inner)


async def _listens(host: str, port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    writer.close()
    return True


async def _model_of_another(scene: Scene, witness: Witness, url: str, inner: Running) -> None:
    settings = {
        "DATABASE_URL": url,
        "WORKFLOWS": clerk.IMPORT_PATH.replace(":workflow", ":relay"),
        "OPENAI_BASE_URL": f"http://127.0.0.1:{inner.port}/v1",
        "OPENAI_MODEL": "clerk",
        "WEB_DRIVES": "foreground",
    }
    outer = await scene.release.web(settings)
    answer = await post(outer.port, "/v1/responses", model="relay", input="hand this on")
    witness.expect(
        "that was hand this on." in answer.said,
        "a second instance whose OPENAI_BASE_URL is the first was answered through it: one "
        "instance is the other's model",
        f"an instance with the first as its model answered HTTP {answer.status}, "
        f"{answer.said or answer.text[:200]!r}",
    )
