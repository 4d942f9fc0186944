"""X, dev/prod parity: the database is of the kind and version that the release was tested on."""

import json
import socket
from typing import Any

from twelvefold.factors.harness import workflow as clerk
from twelvefold.factors.harness.report import Witness
from twelvefold.factors.harness.testbed import Scene

TRY_AGAIN, BAD_SETTINGS = 75, 2


async def parity(scene: Scene, witness: Witness) -> None:
    url = await scene.scratch.migrated()
    findings = await _examined(scene, url)
    unfit = [f"{one['what']}: {one['found']}" for one in findings if one["level"] == "fail"]
    witness.expect(
        not unfit,
        "`twelvefold doctor` finds nothing unfit in what is attached",
        f"`twelvefold doctor` says {'; '.join(unfit)}",
    )
    await _no_other_in_its_place(scene, witness)
    if scene.scratch.embedded:
        witness.leave(
            "the database is the embedded SQLite, which is for a first try and no parity with the "
            "MySQL or MariaDB of a deploy: set DATABASE_URL"
        )
        return
    _same_kind(findings, witness)
    await _refuses_unfit(scene, witness, url)


async def _examined(scene: Scene, url: str) -> list[dict[str, Any]]:
    # On a database of the check's own, so with the workflow whose tables it has.
    settings = {"DATABASE_URL": url, "WORKFLOWS": clerk.IMPORT_PATH}
    done = await scene.release.done("doctor", "--json", settings=settings)
    return [json.loads(line) for line in done.answer.splitlines()]


def _same_kind(findings: list[dict[str, Any]], witness: Witness) -> None:
    """The doctor knows what the release was tested on, and names each way this is unlike it."""
    found = next(one["found"] for one in findings if one["what"] == "database")
    told = [one for one in findings if one["what"] == "parity"]
    said = "; ".join(one["found"] for one in told)
    if not told:
        witness.fail(f"the server is {found}, and the doctor holds it against nothing")
    elif all(one["level"] == "ok" for one in told):
        witness.saw(f"the server is {found}: {said}")
    else:
        witness.leave(f"the server is {found}: {said}")


async def _no_other_in_its_place(scene: Scene, witness: Witness) -> None:
    """A server that does not answer is no reason to work on anything else."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"mysql://nobody:nothing@127.0.0.1:{port}/nowhere"
    done = await scene.release.done("run", "hello", settings={"DATABASE_URL": url})
    witness.expect(
        done.status == TRY_AGAIN,
        f"with no server at DATABASE_URL `run` ends with {TRY_AGAIN}, and takes no other database",
        f"with no server at DATABASE_URL `run` ends with {done.status}: {done.last}",
    )


async def _refuses_unfit(scene: Scene, witness: Witness, url: str) -> None:
    """A session that the tests never had: its character set would cut what it cannot hold."""
    settings = {"DATABASE_URL": f"{url}{'&' if '?' in url else '?'}charset=latin1"}
    done = await scene.release.done("run", "hello", settings=settings)
    witness.expect(
        done.status == BAD_SETTINGS and "utf8mb4" in done.last,
        f"a session in another character set is refused: {done.last}",
        f"a session in another character set is taken: status {done.status}, {done.last}",
    )
