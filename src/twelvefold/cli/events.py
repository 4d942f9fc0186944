"""`twelvefold signal`: send an event to runs that wait for it."""

from twelvefold.cli.command import DONE, FAILED, CommandContext, command
from twelvefold.cli.output import print_notice
from twelvefold.cli.run import default_workflow
from twelvefold.core.answers import decode_value
from twelvefold.engine import send_signal


@command()
async def signal(
    context: CommandContext, *, key: str, payload: str, workflow: str | None, principal: str
) -> int:
    """Send an event. The status is 1 if it was sent before."""
    services = context.services
    name = workflow or default_workflow(services)
    value = decode_value(payload, "PAYLOAD")
    if await send_signal(
        services, key, value, workflow=name, principal=principal, sender="twelvefold signal"
    ):
        print("sent")
        return DONE
    print_notice(f"the event {key!r} was sent before; its first delivery counts")
    return FAILED
