"""Factor VI, processes: they share nothing except the database."""

import asyncio

from twelvefold.factors.harness import FakeModelServer, Process, Report, TestBed

TURNS = 4


async def check_processes(bed: TestBed, report: Report) -> None:
    url = await bed.databases.create_migrated()
    async with FakeModelServer().serve() as model, asyncio.TaskGroup() as tasks:
        settings = bed.process_settings(url, model)
        starts = [tasks.create_task(bed.processes.start_web(settings)) for _ in range(2)]
        pair = [await start for start in starts]
        if response_id := await _alternate(pair, report):
            await _compare(pair, response_id, report)


async def _alternate(pair: list[Process], report: Report) -> str:
    """Send the turns of a conversation to both processes in turn; returns the last response."""
    previous = None
    for turn in range(TURNS):
        web = pair[turn % 2]
        response = await web.http.post(
            "/v1/responses", model="bookings", input=f"turn {turn}", previous_response_id=previous
        )
        text = response.output_text
        if response.status != 200 or f"user messages: {turn + 1};" not in text:
            report.fail(
                f"turn {turn + 1}, at process {turn % 2 + 1}, after a turn at the other one: "
                f"HTTP {response.status}, {text or response.text[:200]!r}"
            )
            return ""
        previous = response.body["id"]
    report.record(
        f"two web processes alternately answered {TURNS} turns of one conversation, by "
        f"previous_response_id; the last request to the model had all {TURNS}"
    )
    return str(previous)


async def _compare(pair: list[Process], response_id: str, report: Report) -> None:
    first, second = [await web.http.get(f"/v1/responses/{response_id}") for web in pair]
    report.expect(
        first.status == 200 and first.body == second.body,
        "both processes return the same last response",
        f"the last response differs: HTTP {first.status} from one process and {second.status} "
        "from the other",
    )
