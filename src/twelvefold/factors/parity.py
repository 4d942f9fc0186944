"""X, dev/prod parity: the database is of the kind and version that the release was tested on."""

import json
import re
import socket
from typing import Any

from twelvefold.factors.scene import Scene
from twelvefold.factors.witness import Witness

TESTED = {"MariaDB": ((10, 11),), "MySQL": ((9,),)}
"""What the tests run on, by the first numbers of a version."""
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
    found = next(one["found"] for one in findings if one["what"] == "database")
    _same_kind(found, witness)
    await _refuses_unfit(scene, witness, url)


async def _examined(scene: Scene, url: str) -> list[dict[str, Any]]:
    done = await scene.release.done("doctor", "--json", settings={"DATABASE_URL": url})
    return [json.loads(line) for line in done.answer.splitlines()]


def _same_kind(found: str, witness: Witness) -> None:
    """`found` is as doctor says it: the kind, then the server's own version."""
    kind, _, version = found.partition(" ")
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    tested = TESTED.get(kind, ())
    listed = ", ".join(".".join(map(str, one)) for one in tested)
    if any(numbers[: len(one)] == one for one in tested):
        witness.saw(f"the server is {kind} {version}; this release is tested on {kind} {listed}")
    else:
        witness.leave(f"the server is {found}; of {kind} this release is tested on {listed} alone")


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
