"""A worker whose one tool blocks the event loop, as `time.sleep` or `requests.get` do.

    DATABASE_URL=mysql://… python -m tests.acceptance.blocking_worker FOLDER TIMEOUT_S

Each start of the tool is a line in FOLDER/starts. The call goes on once FOLDER/go is there.
"""

import asyncio
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

from twelvefold import CallKey, Tool, Workflow, tool
from twelvefold.boot import open_services, read_environment
from twelvefold.config import Settings
from twelvefold.observe.log import start_logging
from twelvefold.services.model.scripted import ScriptedModel, calls, says
from twelvefold.worker.loop import Worker


def blocking(folder: Path, timeout_s: float) -> Tool:
    @tool(timeout_s=timeout_s)
    async def block(key: CallKey) -> str:
        """Block the event loop until there is a file."""
        with (folder / "starts").open("a") as starts:
            starts.write(f"{key}\n")
        while not (folder / "go").exists():
            time.sleep(0.01)  # noqa: ASYNC251
        return "done"

    return block


def workflow(folder: Path, timeout_s: float) -> Workflow:
    return Workflow("blocking", "Block.", (blocking(folder, timeout_s),))


def model() -> ScriptedModel:
    """Calls the tool, and ends when it has answered, whichever process asks."""
    return ScriptedModel(
        lambda request: (
            says("Done.")
            if any(item.get("type") == "function_call_output" for item in request.items)
            else calls(("block", {}))
        )
    )


async def main(folder: Path, timeout_s: float) -> None:
    settings = Settings.from_environ(environ := read_environment())
    start_logging(sys.stderr, format="json", level="info")
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with open_services(settings, with_model=False) as services:
        flow = workflow(folder, timeout_s)
        services = replace(services, workflows={flow.name: flow}, model=model())
        assert environ["DATABASE_URL"].startswith("mysql")
        await Worker(services, 10, 0.05, grace_s=1.0).run(stop)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), float(sys.argv[2])))
