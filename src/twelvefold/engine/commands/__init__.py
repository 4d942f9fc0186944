"""The commands of entry points: start, claim, answer, settle, cancel, fork and delete."""

from twelvefold.engine.commands.answers import answer, answer_question, settle
from twelvefold.engine.commands.answers_below import answer_below
from twelvefold.engine.commands.claim import cancel, cancel_children, fail_run, give_back, take
from twelvefold.engine.commands.signals import send_signal
from twelvefold.engine.commands.start import (
    INPUT_BYTES,
    RUN_ENTRIES,
    RunRequest,
    check_room,
    enqueue_run,
    start_run,
)
from twelvefold.engine.commands.threads import delete_thread, fork_at

__all__ = [
    "INPUT_BYTES",
    "RUN_ENTRIES",
    "RunRequest",
    "answer",
    "answer_below",
    "answer_question",
    "cancel",
    "cancel_children",
    "check_room",
    "delete_thread",
    "enqueue_run",
    "fail_run",
    "fork_at",
    "give_back",
    "send_signal",
    "settle",
    "start_run",
    "take",
]
