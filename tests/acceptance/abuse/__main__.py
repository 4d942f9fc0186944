"""Two tenants on one service, of which one is abusive: what does the other one notice?

    python -m tests.acceptance.abuse [WAY…] [--alone 30] [--each 8] [--together 120]

One `web` and one `worker` on the server of DATABASE_URL, the demo model, two keys. The other tenant
makes ordinary requests at a fixed rate: alone, beside each way of abuse, beside all at once. Exit 1
unless its p99 stays within three times that alone, none of its requests fails, and `web` stays
under 300 MiB.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.acceptance.abuse.arena import Arena, arena
from tests.acceptance.abuse.machine import Watch
from tests.acceptance.abuse.tenant import Probe, Tenant
from tests.acceptance.abuse.verdict import Phase, answers, faults, kinds_table, table
from tests.acceptance.abuse.ways import WAYS

POLL_INTERVAL_S = 0.1
PROBE_S = 0.5
WARM_UP_S = 4.0
SETTLE_S = 60.0
"""How long what a way has begun may go on after it, before the next one begins."""
TOGETHER = "all at once"
UNFINISHED = "select count(*) as n from runs where status in ('queued', 'running')"


@dataclass(frozen=True, slots=True)
class Plan:
    """How long each phase takes, and how much there is of what the abuser prepares."""

    alone_s: float = 30.0
    each_s: float = 8.0
    together_s: float = 120.0
    rate: float = 10.0
    threads: int = 4_000
    item_bytes: int = 4_000_000
    settings: Mapping[str, str] = field(default_factory=dict)


SHORT = Plan(alone_s=10.0, each_s=0.0, together_s=20.0, threads=200)
"""For the slow suite: all ways at once, none by itself."""


@dataclass(frozen=True, slots=True)
class Report:
    """All phases; the first is the one alone, the last is judged."""

    phases: Sequence[Phase]

    @property
    def faults(self) -> list[str]:
        return faults(self.phases[0], self.phases[-1])

    def __str__(self) -> str:
        alone, *others = self.phases
        parts = [table(alone, others), kinds_table([alone, others[-1]]), answers(self.phases)]
        return "\n\n".join([*parts, "\n".join(self.faults) or "good"])


async def measure(server_url: str, plan: Plan, ways: Sequence[str], logs: Path) -> Report:
    """Play all phases."""
    async with arena(
        server_url, logs, threads=plan.threads, item_bytes=plan.item_bytes, settings=plan.settings
    ) as made:
        tenant = Tenant(made.port, made.keys[0], plan.rate)
        await tenant.prepare()
        await tenant.work(WARM_UP_S)
        phases = [await _phase(made, tenant, "alone", [], plan.alone_s)]
        if plan.each_s:
            for way in ways:
                await _prepare(made, [way])
                phases.append(await _phase(made, tenant, way, [way], plan.each_s))
                await _settled(made)
        if plan.together_s:
            await _prepare(made, ways)
            phases.append(await _phase(made, tenant, TOGETHER, ways, plan.together_s))
        tenant.close()
        return Report(phases)


async def _prepare(made: Arena, ways: Sequence[str]) -> None:
    told = await made.tell("prepare", ways)
    if told["took_s"] > 1:
        print(f"abuse: prepared {told}", file=sys.stderr, flush=True)


async def _settled(made: Arena) -> None:
    """Wait until the runs of the last way are over, but for the one that others follow."""
    with suppress(TimeoutError):
        async with asyncio.timeout(SETTLE_S):
            while await made.admin.number(UNFINISHED) > 1:
                await asyncio.sleep(0.5)


async def _phase(
    made: Arena, tenant: Tenant, name: str, ways: Sequence[str], seconds: float
) -> Phase:
    watch, probe = Watch(made.pids()), Probe(made.port)
    before, began = await made.statements(), time.monotonic()
    beside = [
        asyncio.create_task(watch.work(POLL_INTERVAL_S)),
        asyncio.create_task(probe.work(PROBE_S)),
    ]
    await made.tell("begin", ways)
    samples = await tenant.work(seconds)
    told = await made.tell("end")
    for task in beside:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    statements_s = (await made.statements() - before) / (time.monotonic() - began)
    phase = Phase(
        name,
        samples,
        probe.took_ms,
        watch.most_mib,
        watch.cpu,
        statements_s,
        told["counts"],
        told["broken"],
    )
    print(f"abuse: {name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return phase


def main(environ: Mapping[str, str]) -> int:
    standard = Plan()
    parser = argparse.ArgumentParser(prog="make abuse", description=__doc__)
    parser.add_argument("ways", nargs="*", metavar="WAY", help=f"of {', '.join(WAYS)}")
    parser.add_argument("--alone", type=float, default=standard.alone_s, help="seconds")
    parser.add_argument("--each", type=float, default=standard.each_s, help="0: none by itself")
    parser.add_argument("--together", type=float, default=standard.together_s, help="0: never")
    parser.add_argument("--rate", type=float, default=standard.rate, help="requests a second")
    parser.add_argument("--threads", type=int, default=standard.threads, help="that are not kept")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--keep", type=Path, help="a directory for the processes' logs")
    given = parser.parse_args()
    if unknown := set(given.ways) - set(WAYS):
        parser.error(f"no way {', '.join(sorted(unknown))}; there are {', '.join(WAYS)}")
    url = environ.get("DATABASE_URL", "")
    if not url.startswith(("mysql", "mariadb")):
        parser.error("DATABASE_URL names no MySQL; python -m tests.servers run -- … starts one")
    plan = Plan(
        given.alone,
        given.each,
        given.together,
        given.rate,
        given.threads,
        settings=dict(one.split("=", 1) for one in given.set),
    )
    with ExitStack() as stack:
        logs = given.keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="abuse-")))
        logs.mkdir(parents=True, exist_ok=True)
        report = asyncio.run(measure(url, plan, given.ways or list(WAYS), logs))
    print(report)
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main(os.environ))
