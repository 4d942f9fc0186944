"""`twelvefold outbox`: look at mail that has left or has not, and have it sent again."""

from collections.abc import Sequence

from twelvefold.admin.outbox import LetterState, facts, state_of
from twelvefold.cli.command import DONE, CommandContext, command
from twelvefold.cli.output import print_json, print_table, shortened, when
from twelvefold.core.ports import OutboxMessage


@command()
async def list_letters(
    desk: CommandContext, *, state: LetterState | None, limit: int, as_json: bool
) -> int:
    """Print the newest letters."""
    letters = await desk.services.store.messages(limit=limit, state=state)
    if as_json:
        for letter in letters:
            print_json(facts(letter))
    else:
        heads = ("ID", "STATE", "TO", "SUBJECT", "TRIED", "SENT OR DUE (UTC)", "ERROR")
        print_table(heads, map(_cells, letters))
    return DONE


def _cells(letter: OutboxMessage) -> Sequence[str]:
    known, state = facts(letter), state_of(letter)
    at_us = {"sent": letter.sent_at_us, "waiting": letter.due_at_us, "dead": None}[state]
    return (
        letter.id,
        state,
        shortened(known["to"], 40),
        shortened(known["subject"], 40),
        str(letter.attempts),
        when(at_us),
        shortened(letter.error, 60),
    )


@command()
async def retry(desk: CommandContext, *, ids: Sequence[str], dead: bool) -> int:
    """Make letters due now, these or all dead ones; a worker sends them."""
    if dead:
        print(f"{await desk.services.store.retry_dead()} dead letters are due now")
    for id in ids:
        await desk.services.store.retry_message(id)
        print(f"{id} is due now")
    if not desk.settings.smtp_url:
        print("SMTP_URL is not set here; a worker that has it will send what is due")
    return DONE
