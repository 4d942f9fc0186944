"""Runs as the objects of `/v1/admin`."""

from twelvefold.core import OperatedRun, RunRecord, Usage
from twelvefold.core.budget import Limits, cost_micro_usd
from twelvefold.web.ids import conversation_id
from twelvefold.web.schemas import Json

MICRO = 1_000_000


def admin_run(found: OperatedRun, limits: Limits) -> Json:
    """Return a run as lists and its own path have it."""
    record = found.record
    return {
        "id": str(record.run),
        "object": "admin.run",
        "thread": conversation_id(record.run.thread),
        "run": record.run.ordinal,
        "workflow": record.workflow,
        "principal": record.principal,
        "status": record.status,
        "error": record.error,
        "attempts": found.attempts,
        "created_at": record.created_at_us / MICRO,
        "updated_at": found.updated_at_us / MICRO,
        "finished_at": record.finished_at_us / MICRO if record.finished_at_us else None,
        "usage": _usage(record, limits),
        "parent": str(found.parent) if found.parent else None,
        "release": record.release,
        "background": record.background,
        "leased": record.leased,
        "cancel_requested": record.cancel_asked,
    }


def _usage(record: RunRecord, limits: Limits) -> Json:
    usage = record.usage
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cost_usd": _cost_usd(usage, limits),
    }


def _cost_usd(usage: Usage, limits: Limits) -> float | None:
    """Return the cost; None if there is no price, or several models with prices of their own."""
    if limits.price is None or limits.prices:
        return None
    return cost_micro_usd(usage, limits.price) / MICRO
