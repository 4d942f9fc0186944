"""`twelvefold runs`, the commands that act on one: cancel, resume, approve, settle."""

from twelvefold.cli.command import DONE, FAILED, CommandContext, command
from twelvefold.cli.output import tell
from twelvefold.cli.run import drive_to_rest
from twelvefold.cli.runs import find_run
from twelvefold.core.events import Settlement
from twelvefold.core.ids import CallId, RunId
from twelvefold.core.ports import OVER
from twelvefold.engine.commands import answer, cancel, settle, take
from twelvefold.errors import RequestError


@command()
async def cancel_run(desk: CommandContext, *, run_id: str) -> int:
    """End a run; a process that drives it stops as soon as it sees that."""
    run = await find_run(desk.services.store, run_id)
    status = await cancel(desk.services, run)
    if status == "cancelled":
        print(f"{run} cancelled")
        return DONE
    if status in OVER:
        tell(f"run {run} is over already: {status}")
        return FAILED
    print(f"{run} is being cancelled by somebody else; it commits nothing more")
    return DONE


@command(with_model=True)
async def resume(desk: CommandContext, *, run_id: str) -> int:
    """Take up a run that nobody drives, and print what it comes to."""
    return await _go_on(desk, await find_run(desk.services.store, run_id), detach=False)


@command(with_model=True)
async def approve(
    desk: CommandContext,
    *,
    run_id: str,
    deny: bool,
    reason: str,
    call: str,
    detach: bool,
    principal: str,
) -> int:
    """Allow a call that waits, or not, and go on with its run."""
    run = await find_run(desk.services.store, run_id)
    _check_workflow(desk, (await desk.services.store.run(run)).workflow, detach)
    await answer(
        desk.services,
        run,
        approved=not deny,
        by=principal,
        reason=reason,
        call=CallId(call),
    )
    return await _go_on(desk, run, detach=detach)


@command(with_model=True)
async def settle_call(
    desk: CommandContext,
    *,
    run_id: str,
    settled: Settlement,
    result: str,
    call: str,
    detach: bool,
    principal: str,
) -> int:
    """Say what became of a call that nobody knew about, and go on with its run."""
    run = await find_run(desk.services.store, run_id)
    _check_workflow(desk, (await desk.services.store.run(run)).workflow, detach)
    await settle(
        desk.services,
        run,
        settled=settled,
        by=principal,
        result=result,
        call=CallId(call),
    )
    return await _go_on(desk, run, detach=detach)


def _check_workflow(desk: CommandContext, workflow: str, detach: bool) -> None:
    """Raises RequestError, before anything is written, where this process could not go on."""
    if not detach and workflow not in desk.services.workflows:
        raise RequestError(
            f"the run is of workflow {workflow!r}, which WORKFLOWS does not name; "
            "with --detach a worker goes on with it"
        )


async def _go_on(desk: CommandContext, run: RunId, *, detach: bool) -> int:
    if detach:
        return DONE
    return await drive_to_rest(desk.services, await take(desk.services, run))
