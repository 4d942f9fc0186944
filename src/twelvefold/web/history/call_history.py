"""The calls of a conversation, read from its journal a window at a time."""

from twelvefold.web.history.thread_reader import ThreadReader
from twelvefold.web.schemas.call_results import CallHistory, CallHistoryBuilder


async def history_of(
    reader: ThreadReader, *, to: int | None = None, with_deleted: bool = False
) -> CallHistory:
    """Return the calls of a conversation up to a position (None: all).

    `with_deleted`: also the calls of responses that were deleted.
    """
    builder = CallHistoryBuilder()
    async for entry in reader.entries(to=to):
        if with_deleted or not await reader.is_gone(entry):
            builder.add(entry)
    return builder.history()
