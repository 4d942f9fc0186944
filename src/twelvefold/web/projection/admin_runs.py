"""Runs as the objects of `/v1/admin`."""

from twelvefold.core import OperatedRun, RunRecord, Usage
from twelvefold.core.budget import Price, cost_micro_usd
from twelvefold.web.ids import conversation_id
from twelvefold.web.schemas import Json

MICRO = 1_000_000


def admin_run(found: OperatedRun, price: Price | None) -> Json:
    """Return a run as lists and its own path have it; `price` is that of its model, if known."""
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
        "usage": _usage(record, price),
        "parent": str(found.parent) if found.parent else None,
        "release": record.release,
        "background": record.background,
        "leased": record.leased,
        "cancel_requested": record.cancel_asked,
    }


def _usage(record: RunRecord, price: Price | None) -> Json:
    usage = record.usage
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cost_usd": _cost_usd(usage, price),
    }


def _cost_usd(usage: Usage, price: Price | None) -> float | None:
    return None if price is None else cost_micro_usd(usage, price) / MICRO
