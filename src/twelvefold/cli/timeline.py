"""The timeline of a run for a person: what took how long, with tokens, and the runs it started."""

from collections.abc import Sequence

from twelvefold.cli.output import abbreviate, print_table
from twelvefold.core import Entry, OperatedRun, RunRecord, Usage
from twelvefold.core.budget import Price, cost_micro_usd
from twelvefold.core.timeline import Span, timeline

HEADS = ("  AT", "TOOK", "KIND", "WHAT", "STATUS", "TOKENS")


def print_timeline(
    entries: Sequence[Entry], record: RunRecord, children: Sequence[OperatedRun]
) -> None:
    """Print a line for each model call, tool call, wait and time in the queue, then the children.

    `entries` are those of the run.
    """
    spans = timeline(entries, record.status, leased=record.leased)
    if spans:
        print("\ntimeline:")
        # The time of an entry may be before that of the row, which the database wrote later.
        began_us = min(record.created_at_us, spans[0].started_us)
        print_table(HEADS, (_cells(span, began_us) for span in spans))
    if children:
        print("\nruns that it has started:")
        rows = (_child_cells(child.record) for child in children)
        print_table(("  RUN", "STATUS", "WORKFLOW", "TOOK", "TOKENS", "ERROR"), rows)


def cost_text(usage: Usage, price: Price | None) -> str:
    """Return the cost of a run in USD; "" if it cost nothing, or the price is unknown."""
    cost = cost_micro_usd(usage, price) if price else 0
    return f"{cost / 1_000_000:.4f} USD" if cost else ""


def duration_text(duration_us: int | None) -> str:
    """Return a duration as a person reads it: 30 ms, 4.2 s, 3 min 20 s, 2 h 5 min."""
    if duration_us is None:
        return "…"
    seconds = duration_us / 1_000_000
    if seconds < 1:
        return f"{duration_us / 1_000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = round(seconds) // 60
    if minutes < 60:
        return f"{minutes} min {round(seconds) % 60} s"
    return f"{minutes // 60} h {minutes % 60} min"


def _cells(span: Span, began_us: int) -> Sequence[str]:
    ended = None if span.ended_us is None else max(0, span.ended_us - span.started_us)
    attempts = f" after {span.attempts} attempts" if span.attempts > 1 else ""
    has_tokens = span.input_tokens or span.output_tokens
    return (
        f"  +{duration_text(span.started_us - began_us)}",
        duration_text(ended),
        span.kind,
        abbreviate(f"{span.name} ({span.call})" if span.call else span.name, 60),
        f"{span.status}{attempts}",
        f"{span.input_tokens} in, {span.output_tokens} out" if has_tokens else "",
    )


def _child_cells(record: RunRecord) -> Sequence[str]:
    took = None
    if record.finished_at_us is not None:
        took = max(0, record.finished_at_us - record.created_at_us)
    return (
        f"  {record.run}",
        record.status,
        record.workflow,
        duration_text(took),
        str(record.usage.total_tokens),
        abbreviate(record.error, 60),
    )
